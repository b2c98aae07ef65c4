/* The head's phases, probes and mailbox; see the header. The workloads are block.c and serve.c. */
#include "bench/loss/head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/check.h"

#define IDLE_PROBES 22u /* every other one heavy */
#define PROBE_INTERVAL_NS 50000000ull

void gw_samples_add(struct gw_samples *samples, double value)
{
	if (samples->count == samples->capacity) {
		size_t capacity = samples->capacity ? samples->capacity * 2 : 4096;
		double *grown = capacity <= GW_HEAD_SAMPLES_MAX
					? realloc(samples->values, capacity * sizeof(*grown))
					: NULL;

		if (!grown) {
			samples->dropped++;
			return;
		}
		samples->values = grown;
		samples->capacity = capacity;
	}
	samples->values[samples->count++] = value;
}

void gw_head_result_deinit(struct gw_head_result *result)
{
	free(result->loop_s.values);
	free(result->rtt_idle_s.values);
	free(result->rtt_bulk_s.values);
	free(result->rtt_load_s.values);
	free(result->ttft_s.values);
	free(result->tpot_s.values);
	memset(result, 0, sizeof(*result));
}

uint64_t gw_sequence_checksum(const struct gw_sequence *sequence, uint64_t number)
{
	uint64_t z = sequence->hash + number * 0x9e3779b97f4a7c15ull; /* splitmix64's mixer */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t gw_head_stage_time_ns(const struct gw_head *head, uint32_t rows, uint32_t sequences,
			       double scale)
{
	return (uint64_t)(gw_accelerator_stage_s(&head->accelerator, rows, sequences) * scale *
			  1e9);
}

/* --- control frames --- */

static struct gw_frame *control_frame(struct gw_head *head, enum gw_frame_kind kind, uint64_t stamp)
{
	struct gw_frame *frame = gw_stage_take(head->stage);

	CHECK(frame); /* there are more frames than micro-batches and control frames together */
	frame->header = (struct gw_frame_header){
		.kind = kind,
		.stamp = stamp,
		.payload_bytes = gw_frame_payload_bytes(kind, 0, 0),
	};
	return frame;
}

/* `rows`: as heavy as a batch of so many; the group says so when it comes back. */
static void probe(struct gw_head *head, uint64_t now_ns, uint32_t rows)
{
	struct gw_frame *frame = control_frame(head, GW_FRAME_PROBE, now_ns);

	frame->header.rows = rows;
	frame->header.group = rows > 0;
	head->probe_out = true;
	gw_stage_control(head->stage, frame);
}

static uint32_t batch_of(const struct gw_head_order *order)
{
	return order->op == GW_HEAD_BLOCK ? order->block.batch : order->serve.batch;
}

static void send_control(struct gw_head *head, enum gw_frame_kind kind)
{
	struct gw_frame *frame = control_frame(head, kind, 0);

	if (kind == GW_FRAME_CONGESTION)
		memcpy(frame->packed, head->order->congestion, sizeof(head->order->congestion));
	if (kind == GW_FRAME_DELAY)
		frame->header.stage_time_ns = head->order->delay_us * 1000;
	gw_stage_control(head->stage, frame);
}

/* --- phases --- */

static void order_done(struct gw_head *head)
{
	const uint64_t one = 1;

	head->phase = GW_HEAD_WAITING;
	CHECK(write(head->done_fd, &one, sizeof(one)) == sizeof(one));
}

static void order_begin(struct gw_head *head)
{
	if (head->order->op == GW_HEAD_CONGESTION || head->order->op == GW_HEAD_DELAY) {
		head->phase = GW_HEAD_SETTING;
		send_control(head, head->order->op == GW_HEAD_DELAY ? GW_FRAME_DELAY
								    : GW_FRAME_CONGESTION);
		return;
	}
	head->phase = GW_HEAD_PREPARE;
	head->workload->prepare(head);
}

void gw_head_next(struct gw_head *head, uint64_t now_ns)
{
	if (head->phase == GW_HEAD_PREPARE) {
		head->phase = GW_HEAD_IDLE_RTT;
		head->probes_left = IDLE_PROBES;
		probe(head, now_ns, 0);
		return;
	}
	CHECK(head->phase == GW_HEAD_RUN);
	head->phase = GW_HEAD_REPORT;
	if (!head->probe_out)
		send_control(head, GW_FRAME_REPORT);
}

static void probe_returned(struct gw_head *head, const struct gw_frame *frame)
{
	double rtt_s = (double)(frame->arrival_ns - frame->header.stamp) * 1e-9;

	head->probe_out = false;
	switch (head->phase) {
	case GW_HEAD_RUN:
		gw_samples_add(&head->result->rtt_load_s, rtt_s);
		head->next_probe_ns = frame->header.stamp + PROBE_INTERVAL_NS;
		return;
	case GW_HEAD_REPORT:
		send_control(head, GW_FRAME_REPORT); /* it waited for the ring to be empty */
		return;
	case GW_HEAD_IDLE_RTT:
		break;
	case GW_HEAD_WAITING:
	case GW_HEAD_PREPARE:
	case GW_HEAD_RESET:
	case GW_HEAD_SETTING:
		return;
	}
	gw_samples_add(frame->header.group ? &head->result->rtt_bulk_s : &head->result->rtt_idle_s,
		       rtt_s);
	if (--head->probes_left > 0) {
		probe(head, gw_stage_now_ns(), head->probes_left % 2 ? batch_of(head->order) : 0);
		return;
	}
	head->phase = GW_HEAD_RESET;
	send_control(head, GW_FRAME_RESET);
}

static void control_returned(struct gw_head *head, const struct gw_frame *frame)
{
	const struct gw_frame_header *header = &frame->header;

	if (header->kind == GW_FRAME_PROBE) {
		probe_returned(head, frame);
	} else if (header->kind == GW_FRAME_RESET && head->phase == GW_HEAD_RESET) {
		head->phase = GW_HEAD_RUN;
		head->next_probe_ns = frame->arrival_ns + PROBE_INTERVAL_NS;
		head->workload->run(head, frame->arrival_ns);
	} else if (header->kind == GW_FRAME_REPORT && head->phase == GW_HEAD_REPORT) {
		head->result->report_count = header->rows;
		memcpy(head->result->reports, frame->packed,
		       header->rows * sizeof(head->result->reports[0]));
		order_done(head);
	} else if ((header->kind == GW_FRAME_CONGESTION || header->kind == GW_FRAME_DELAY) &&
		   head->phase == GW_HEAD_SETTING) {
		order_done(head);
	}
}

/* Tokens of the rows that sampled go to their sequences. */
static void absorb(struct gw_head *head, const struct gw_frame *frame)
{
	for (uint32_t i = 0; i < frame->header.rows; i++) {
		struct gw_sequence *sequence = &head->sequences[frame->rows[i].slot];

		if (!frame->rows[i].sample)
			continue;
		sequence->token = frame->tokens[i] % GW_MODEL_VOCABULARY;
		sequence->position = frame->rows[i].position + 1;
		sequence->hash = (sequence->hash ^ sequence->token) * 0x100000001b3ull;
	}
}

static void returned(void *self, struct gw_frame *frame)
{
	struct gw_head *head = self;

	if (frame->header.kind == GW_FRAME_TOKENS &&
	    (head->phase == GW_HEAD_PREPARE || head->phase == GW_HEAD_RUN)) {
		absorb(head, frame);
		head->workload->returned(head, frame, frame->arrival_ns);
		return;
	}
	if (frame->header.kind != GW_FRAME_TOKENS)
		control_returned(head, frame);
	gw_stage_release(head->stage, frame);
}

static uint64_t tick(void *self, uint64_t now_ns)
{
	struct gw_head *head = self;
	uint64_t wake_ns;

	if (atomic_exchange(&head->mail, false))
		order_begin(head);
	if (head->phase != GW_HEAD_RUN)
		return UINT64_MAX;
	if (!head->probe_out && now_ns >= head->next_probe_ns)
		probe(head, now_ns, 0);
	wake_ns = head->workload->tick(head, now_ns);
	if (head->phase == GW_HEAD_RUN && !head->probe_out && head->next_probe_ns < wake_ns)
		wake_ns = head->next_probe_ns;
	return wake_ns;
}

/* --- the control thread's side --- */

int gw_head_new(struct gw_stage *stage, const struct gw_accelerator *accelerator,
		struct gw_head **ret_head)
{
	struct gw_head *head = calloc(1, sizeof(*head));

	if (!head)
		return -ENOMEM;
	head->stage = stage;
	head->accelerator = *accelerator;
	head->sequences = calloc(gw_stage_config(stage)->model.slots, sizeof(*head->sequences));
	head->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	head->done_fd = eventfd(0, EFD_CLOEXEC);
	if (!head->sequences || head->wake_fd < 0 || head->done_fd < 0) {
		gw_head_free(head);
		return -ENOMEM;
	}
	*ret_head = head;
	return 0;
}

struct gw_head *gw_head_free(struct gw_head *head)
{
	if (!head)
		return NULL;
	if (head->wake_fd >= 0)
		(void)close(head->wake_fd);
	if (head->done_fd >= 0)
		(void)close(head->done_fd);
	free(head->sequences);
	free(head);
	return NULL;
}

struct gw_stage_driver gw_head_driver(struct gw_head *head)
{
	return (struct gw_stage_driver){
		.self = head, .returned = returned, .tick = tick, .wake_fd = head->wake_fd};
}

static const char *check_shape(const struct gw_head *head, uint32_t groups, uint32_t batch,
			       double scale)
{
	const struct gw_model_config *model = &gw_stage_config(head->stage)->model;

	if (groups == 0 || groups > GW_FRAME_GROUPS_MAX)
		return "m must be 1 to 32";
	if (batch == 0 || batch > model->rows)
		return "b must be at least 1 and fit the rows of a batch";
	if ((uint64_t)groups * batch > model->slots)
		return "m times b is more than the sequences that fit in memory";
	if (!(scale >= 0 && scale <= 100))
		return "stage_time_scale must be 0 to 100";
	if (gw_head_stage_time_ns(head, model->rows, batch, scale) > GW_FRAME_STAGE_TIME_NS_MAX)
		return "the stage time is past the limit";
	return NULL;
}

static const char *check_block(const struct gw_head *head, const struct gw_block_order *order)
{
	if (order->rounds == 0 && !(order->seconds > 0 && order->seconds <= GW_HEAD_SECONDS_MAX))
		return "a block needs rounds, or seconds up to 3600";
	if (order->rounds > 1000000)
		return "a block has at most 1000000 rounds";
	if (gw_stage_config(head->stage)->model.rows < GW_HEAD_PROMPT_TOKENS)
		return "a batch must have room for a prompt of 32 tokens";
	return check_shape(head, order->groups, order->batch, order->stage_time_scale);
}

static const char *check_serve(const struct gw_head *head, const struct gw_serve_order *order)
{
	const struct gw_model_config *model = &gw_stage_config(head->stage)->model;

	if (!(order->seconds > 0 && order->seconds <= GW_HEAD_SECONDS_MAX))
		return "seconds must be up to 3600";
	if (!(order->warm_s >= 0 && order->warm_s < order->seconds))
		return "warm_s must be less than seconds";
	if (!(order->rate_per_s > 0 &&
	      order->rate_per_s * order->seconds < GW_HEAD_REQUESTS_MAX / 2))
		return "rate_per_s times seconds is past the limit, or not positive";
	if (order->prompt_min == 0 || order->prompt_min > order->prompt_max)
		return "prompt lengths must be at least 1, the smaller first";
	if (order->prompt_max > model->rows - order->batch)
		return "the longest prompt must fit a batch beside b decodes";
	if (order->output_min < 2 || order->output_min > order->output_max ||
	    order->output_max > 100000)
		return "output lengths must be 2 to 100000, the smaller first";
	return check_shape(head, order->groups, order->batch, order->stage_time_scale);
}

static const char *check_congestion(const char *name)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool known;

	if (fd < 0)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	known = fd >= 0 && name[0] && gw_ring_set_congestion(fd, name) == 0;
	if (fd >= 0)
		(void)close(fd);
	return known ? NULL : "the kernel has no such congestion control";
}

const char *gw_head_check(const struct gw_head *head, const struct gw_head_order *order)
{
	const char *wrong = NULL;

	switch (order->op) {
	case GW_HEAD_BLOCK:
		wrong = check_block(head, &order->block);
		break;
	case GW_HEAD_SERVE:
		if (order->serve.batch >= gw_stage_config(head->stage)->model.rows)
			return "b must leave room for prompts in a batch";
		wrong = check_serve(head, &order->serve);
		break;
	case GW_HEAD_CONGESTION:
		wrong = check_congestion(order->congestion);
		break;
	case GW_HEAD_DELAY:
		break;
	}
	return wrong;
}

const char *gw_head_order(struct gw_head *head, const struct gw_head_order *order,
			  struct gw_head_result *ret_result)
{
	const uint64_t one = 1;
	uint64_t count;

	memset(ret_result, 0, sizeof(*ret_result));
	head->block = order->op == GW_HEAD_BLOCK ? gw_block_new(&order->block) : NULL;
	head->serve = order->op == GW_HEAD_SERVE ? gw_serve_new(&order->serve) : NULL;
	if ((order->op == GW_HEAD_BLOCK && !head->block) ||
	    (order->op == GW_HEAD_SERVE && !head->serve))
		return "out of memory";
	head->workload = head->block ? &gw_block_workload : &gw_serve_workload;
	head->result = ret_result;
	head->order = order;
	atomic_store(&head->mail, true);
	CHECK(write(head->wake_fd, &one, sizeof(one)) == sizeof(one));
	while (read(head->done_fd, &count, sizeof(count)) != sizeof(count))
		CHECK(errno == EINTR);
	head->block = gw_block_free(head->block);
	head->serve = gw_serve_free(head->serve);
	return NULL;
}
