/*
 * Open-loop serving: requests arrive as a Poisson process whether or not the system keeps up, wait
 * in one bounded queue, and are decoded with continuous batching: whenever a micro-batch comes back
 * to the head, finished sequences leave it, waiting prompts join it (their prefill rows ride beside
 * the others' decode rows), and it goes round again. All draws are made before the run, from the
 * seed, so two cells serve the very same requests.
 *
 * Arrivals go on for warm_s before and after the measured ones, so that these meet a steady load.
 */
#include <math.h>
#include <stdlib.h>

#include "bench/loss/head.h"
#include "proto/base/check.h"
#include "proto/base/prng.h"

#define WAITING_MAX 4096u
#define NOBODY UINT32_MAX
#define FNV_BASIS 0xcbf29ce484222325ull

struct request {
	uint64_t arrival_ns; /* after the run's start */
	uint64_t first_ns;   /* its first token, likewise */
	uint32_t prompt;     /* tokens */
	uint32_t output;
	uint32_t have; /* tokens so far */
	bool refused;
};

struct gw_serve {
	struct gw_serve_order order;
	struct request *requests; /* [count], by arrival */
	uint32_t count;
	uint32_t arrived;
	uint32_t admitted; /* requests before this one are placed or refused */
	uint32_t waiting;
	uint32_t ended; /* completed or refused */
	uint64_t began_ns;
	uint32_t owner[GW_MODEL_SLOTS_MAX]; /* request of a slot, or NOBODY */
	bool busy[GW_FRAME_GROUPS_MAX];     /* the micro-batch is under way */
};

static uint32_t draw(struct gw_prng *prng, uint32_t min, uint32_t max)
{
	return min + (uint32_t)gw_prng_below(prng, (uint64_t)max - min + 1);
}

struct gw_serve *gw_serve_new(const struct gw_serve_order *order)
{
	struct gw_serve *serve = calloc(1, sizeof(*serve));
	double at_s = 0;
	struct gw_prng prng;

	if (!serve)
		return NULL;
	serve->order = *order;
	serve->requests = calloc(GW_HEAD_REQUESTS_MAX, sizeof(*serve->requests));
	if (!serve->requests)
		return gw_serve_free(serve);
	gw_prng_init(&prng, order->seed);
	while (serve->count < GW_HEAD_REQUESTS_MAX) {
		at_s -= log(1 - gw_prng_unit(&prng)) / order->rate_per_s;
		if (at_s >= order->seconds + order->warm_s)
			break;
		serve->requests[serve->count++] = (struct request){
			.arrival_ns = (uint64_t)(at_s * 1e9),
			.prompt = draw(&prng, order->prompt_min, order->prompt_max),
			.output = draw(&prng, order->output_min, order->output_max)};
	}
	for (uint32_t i = 0; i < GW_MODEL_SLOTS_MAX; i++)
		serve->owner[i] = NOBODY;
	return serve;
}

struct gw_serve *gw_serve_free(struct gw_serve *serve)
{
	if (serve)
		free(serve->requests);
	free(serve);
	return NULL;
}

static bool measured(const struct gw_serve *serve, const struct request *request)
{
	double at_s = (double)request->arrival_ns * 1e-9;

	return at_s >= serve->order.warm_s && at_s < serve->order.seconds;
}

/* The next request that waits, or NULL. */
static struct request *next_waiting(struct gw_serve *serve)
{
	while (serve->admitted < serve->arrived && serve->requests[serve->admitted].refused)
		serve->admitted++;
	return serve->admitted < serve->arrived ? &serve->requests[serve->admitted] : NULL;
}

static uint32_t add_prompt(struct gw_head *head, struct gw_frame *frame, uint32_t rows,
			   uint32_t slot)
{
	struct gw_serve *serve = head->serve;
	const struct request *request = &serve->requests[serve->admitted];

	serve->owner[slot] = serve->admitted;
	head->sequences[slot] = (struct gw_sequence){.hash = FNV_BASIS};
	gw_prompt_tokens(serve->admitted, request->prompt, frame->tokens + rows);
	for (uint32_t i = 0; i < request->prompt; i++)
		frame->rows[rows + i] = (struct gw_model_row){
			.position = i, .slot = (uint16_t)slot, .sample = i == request->prompt - 1};
	serve->admitted++;
	serve->waiting--;
	return rows + request->prompt;
}

/* Decode rows of the micro-batch's sequences, then prompts into its free slots while a batch has
 * room. Returns the rows; *ret_sequences counts the sequences among them. */
static uint32_t compose(struct gw_head *head, struct gw_frame *frame, uint32_t group,
			uint32_t *ret_sequences)
{
	struct gw_serve *serve = head->serve;
	uint32_t base = group * serve->order.batch;
	uint32_t rows_max = gw_stage_config(head->stage)->model.rows;
	uint32_t rows = 0;
	uint32_t sequences = 0;

	for (uint32_t slot = base; slot < base + serve->order.batch; slot++) {
		const struct gw_sequence *sequence = &head->sequences[slot];

		if (serve->owner[slot] == NOBODY)
			continue;
		frame->tokens[rows] = sequence->token;
		frame->rows[rows++] = (struct gw_model_row){
			.position = sequence->position, .slot = (uint16_t)slot, .sample = 1};
		sequences++;
	}
	for (uint32_t slot = base; slot < base + serve->order.batch; slot++) {
		const struct request *request = next_waiting(serve);

		if (!request || rows + request->prompt > rows_max)
			break;
		if (serve->owner[slot] != NOBODY)
			continue;
		rows = add_prompt(head, frame, rows, slot);
		sequences++;
	}
	*ret_sequences = sequences;
	return rows;
}

/* Sends the micro-batch round once more, or lets it rest when it is empty. Owns the frame. */
static void launch(struct gw_head *head, struct gw_frame *frame, uint32_t group, uint64_t now_ns)
{
	struct gw_serve *serve = head->serve;
	uint32_t sequences;
	uint32_t rows = compose(head, frame, group, &sequences);

	serve->busy[group] = rows > 0;
	if (rows == 0) {
		gw_stage_release(head->stage, frame);
		return;
	}
	frame->header = (struct gw_frame_header){
		.rows = rows,
		.group = group,
		.stage_time_ns =
			gw_head_stage_time_ns(head, rows, sequences, serve->order.stage_time_scale),
	};
	gw_stage_submit(head->stage, frame, now_ns);
}

static void complete(struct gw_head *head, uint32_t number, uint32_t slot, uint64_t at_ns)
{
	struct gw_serve *serve = head->serve;
	struct gw_head_result *result = head->result;
	const struct request *request = &serve->requests[number];
	double ttft_s = (double)(request->first_ns - request->arrival_ns) * 1e-9;
	double tpot_s = (double)(at_ns - request->first_ns) * 1e-9 / (request->output - 1);

	serve->owner[slot] = NOBODY;
	serve->ended++;
	result->requests_all++;
	result->counted_tokens += request->output;
	result->checksum_tokens += request->output;
	result->checksum += gw_sequence_checksum(&head->sequences[slot], number);
	if (!measured(serve, request))
		return;
	result->requests++;
	result->tokens += request->output;
	result->good += ttft_s <= serve->order.ttft_limit_s && tpot_s <= serve->order.tpot_limit_s;
	gw_samples_add(&result->ttft_s, ttft_s);
	gw_samples_add(&result->tpot_s, tpot_s);
}

static void returned(struct gw_head *head, struct gw_frame *frame, uint64_t now_ns)
{
	struct gw_serve *serve = head->serve;
	uint64_t at_ns = now_ns - serve->began_ns;

	for (uint32_t i = 0; i < frame->header.rows; i++) {
		uint32_t slot = frame->rows[i].slot;
		uint32_t number = serve->owner[slot];
		struct request *request;

		if (!frame->rows[i].sample || number == NOBODY)
			continue;
		request = &serve->requests[number];
		if (request->have++ == 0)
			request->first_ns = at_ns;
		if (request->have == request->output)
			complete(head, number, slot, at_ns);
	}
	if (frame->header.group >= serve->order.groups) {
		gw_stage_release(head->stage, frame);
		return;
	}
	launch(head, frame, frame->header.group, now_ns);
}

static void admit(struct gw_serve *serve, uint64_t at_ns)
{
	for (; serve->arrived < serve->count; serve->arrived++) {
		struct request *request = &serve->requests[serve->arrived];

		if (request->arrival_ns > at_ns)
			return;
		request->refused = serve->waiting == WAITING_MAX;
		serve->waiting += !request->refused;
		serve->ended += request->refused;
	}
}

static void finish(struct gw_head *head, uint64_t now_ns)
{
	struct gw_serve *serve = head->serve;
	struct gw_head_result *result = head->result;

	result->window_s = serve->order.seconds - serve->order.warm_s;
	result->seconds = (double)(now_ns - serve->began_ns) * 1e-9;
	for (uint32_t i = 0; i < serve->count; i++) {
		const struct request *request = &serve->requests[i];

		result->refused += request->refused;
		if (measured(serve, request))
			result->offered_tokens_per_s += request->output / result->window_s;
	}
	gw_head_next(head, now_ns);
}

static uint64_t tick(struct gw_head *head, uint64_t now_ns)
{
	struct gw_serve *serve = head->serve;

	admit(serve, now_ns - serve->began_ns);
	for (uint32_t group = 0; group < serve->order.groups && serve->waiting > 0; group++) {
		struct gw_frame *frame;

		if (serve->busy[group])
			continue;
		frame = gw_stage_take(head->stage);
		CHECK(frame);
		launch(head, frame, group, now_ns);
	}
	if (serve->ended == serve->count) {
		finish(head, now_ns);
		return UINT64_MAX;
	}
	return serve->arrived < serve->count
		       ? serve->began_ns + serve->requests[serve->arrived].arrival_ns
		       : UINT64_MAX;
}

static void run(struct gw_head *head, uint64_t now_ns)
{
	head->serve->began_ns = now_ns;
	head->result->stage_time_s =
		(double)gw_head_stage_time_ns(head, head->serve->order.batch,
					      head->serve->order.batch,
					      head->serve->order.stage_time_scale) *
		1e-9;
}

static void prepare(struct gw_head *head)
{
	gw_head_next(head, gw_stage_now_ns());
}

const struct gw_workload gw_serve_workload = {
	.prepare = prepare, .run = run, .returned = returned, .tick = tick};
