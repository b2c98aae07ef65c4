/*
 * The two threads of a stage. The I/O thread owns everything but the frame that is being computed;
 * frames travel between the threads through two single-producer rings, each with room for every
 * frame there is, so neither side can block the other.
 *
 *	socket -> receive -> [to_compute] -> compute -> [computed] -> pending -> (due) -> sending
 *	       -> socket
 *
 * Start: gw_stage_new, ring, threads. Run: reactor_run. Stop: a neighbour leaves; the process ends.
 */
#include "bench/loss/stage.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bench/loss/pace.h"
#include "proto/base/check.h"

#define QUEUE_SIZE 64u /* a power of two above GW_STAGE_FRAMES */
#define CONTROL_PAYLOAD_BYTES (GW_FRAME_STAGES_MAX * sizeof(struct gw_stage_report))

_Static_assert(QUEUE_SIZE > GW_STAGE_FRAMES, "a queue holds every frame");

/* First in, first out; head is moved by the reader, tail by the writer. */
struct queue {
	struct gw_frame *frames[QUEUE_SIZE];
	atomic_uint head;
	atomic_uint tail;
};

struct counters {
	struct gw_stage_report report; /* sums; cpu, rtt and the like are filled when asked for */
	uint64_t work_ns;
	uint64_t service_ns;
	uint64_t cpu_us_at_reset;
	uint64_t retransmits_at_reset;
};

struct gw_stage {
	struct gw_stage_config config;
	struct gw_frame_limits limits;
	struct gw_model *model;
	float *hidden; /* [limits.rows + a tile][hidden]: compute thread's */
	struct gw_ring ring;
	const struct gw_stage_driver *driver; /* NULL: not the head */
	struct gw_frame frames[GW_STAGE_FRAMES];
	struct queue free; /* this and the next two: I/O thread only */
	struct queue pending;
	struct queue sending;
	struct queue to_compute;
	struct queue computed;
	sem_t work;
	int computed_fd;
	struct gw_frame *incoming; /* being received */
	size_t incoming_bytes;
	size_t outgoing_bytes; /* of the first of `sending` */
	uint8_t header_in[GW_FRAME_HEADER_BYTES];
	uint64_t last_due_ns;
	uint64_t last_sent_ns;
	uint64_t delay_ns; /* a simulated link: every frame is held back so long */
	struct counters counters;
	uint32_t fifo;
	char error[GW_RING_ERROR_BYTES];
};

uint64_t gw_stage_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void push(struct queue *queue, struct gw_frame *frame)
{
	unsigned tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);

	CHECK(tail - atomic_load_explicit(&queue->head, memory_order_acquire) < QUEUE_SIZE);
	queue->frames[tail % QUEUE_SIZE] = frame;
	atomic_store_explicit(&queue->tail, tail + 1, memory_order_release);
}

static struct gw_frame *first(struct queue *queue)
{
	unsigned head = atomic_load_explicit(&queue->head, memory_order_relaxed);

	if (head == atomic_load_explicit(&queue->tail, memory_order_acquire))
		return NULL;
	return queue->frames[head % QUEUE_SIZE];
}

static struct gw_frame *pop(struct queue *queue)
{
	struct gw_frame *frame = first(queue);

	if (frame)
		(void)atomic_fetch_add_explicit(&queue->head, 1, memory_order_release);
	return frame;
}

static int fail(struct gw_stage *stage, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct gw_stage *stage, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(stage->error, sizeof(stage->error), format, args);
	va_end(args);
	return r;
}

static const char *up_text(const struct gw_stage *stage)
{
	const struct gw_ring_options *ring = &stage->config.ring;

	return ring->peers[(ring->index + ring->count - 1) % ring->count].text;
}

static const char *down_text(const struct gw_stage *stage)
{
	const struct gw_ring_options *ring = &stage->config.ring;

	return ring->peers[(ring->index + 1) % ring->count].text;
}

/* --- the compute thread --- */

static void compute(struct gw_stage *stage, struct gw_frame *frame)
{
	const struct gw_ring_options *ring = &stage->config.ring;
	uint32_t rows = frame->header.rows;
	bool last = ring->index == ring->count - 1;

	if (ring->index == 0)
		gw_model_embed(stage->model, frame->tokens, rows, stage->hidden);
	else
		gw_model_unpack(frame->packed, (size_t)rows * stage->limits.hidden, stage->hidden);
	gw_model_forward(stage->model, frame->rows, rows, stage->hidden);
	if (last)
		gw_model_sample(stage->model, frame->rows, rows, stage->hidden, frame->tokens);
	else
		gw_model_pack(stage->hidden, (size_t)rows * stage->limits.hidden, frame->packed);
	frame->header.kind = last ? GW_FRAME_TOKENS : GW_FRAME_HIDDEN;
}

static uint64_t thread_cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *compute_main(void *arg)
{
	struct gw_stage *stage = arg;

	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	for (;;) {
		const uint64_t one = 1;
		struct gw_frame *frame;
		uint64_t began_ns;

		while (sem_wait(&stage->work) < 0)
			CHECK(errno == EINTR);
		frame = pop(&stage->to_compute);
		if (!frame)
			return NULL; /* a post without a frame: the stage ends */
		began_ns = thread_cpu_ns();
		compute(stage, frame);
		frame->work_ns = thread_cpu_ns() - began_ns;
		frame->ready_ns = gw_stage_now_ns();
		push(&stage->computed, frame);
		CHECK(write(stage->computed_fd, &one, sizeof(one)) == sizeof(one));
	}
}

/* --- counters --- */

static uint64_t process_cpu_us(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	(void)fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void counters_reset(struct gw_stage *stage)
{
	struct counters *counters = &stage->counters;
	uint64_t rtt_us;
	char name[16];

	memset(counters, 0, sizeof(*counters));
	counters->cpu_us_at_reset = process_cpu_us();
	gw_ring_info(stage->ring.down_fd, &counters->retransmits_at_reset, &rtt_us, name);
}

static void counters_report(struct gw_stage *stage, struct gw_stage_report *ret)
{
	const struct counters *counters = &stage->counters;
	struct gw_stage_report report = counters->report;

	report.cpu_us = process_cpu_us() - counters->cpu_us_at_reset;
	report.work_us = counters->work_ns / 1000;
	report.service_us = counters->service_ns / 1000;
	gw_ring_info(stage->ring.down_fd, &report.retransmits, &report.rtt_us, report.congestion);
	report.retransmits -= counters->retransmits_at_reset;
	report.rss_bytes = resident_bytes();
	report.core = stage->config.core;
	report.fifo = stage->fifo;
	gw_model_cut(stage->config.model.layers, stage->config.ring.count, stage->config.ring.index,
		     &(uint32_t){0}, &report.layers);
	memcpy(ret, &report, sizeof(report));
}

/* A batch leaves for the socket. */
static void counters_sent(struct gw_stage *stage, const struct gw_frame *frame, uint64_t now_ns)
{
	struct counters *counters = &stage->counters;
	struct gw_stage_report *report = &counters->report;
	uint64_t from_ns =
		frame->arrival_ns > stage->last_sent_ns ? frame->arrival_ns : stage->last_sent_ns;
	uint64_t late_us = (now_ns - frame->due_ns) / 1000;

	stage->last_sent_ns = now_ns;
	counters->work_ns += frame->work_ns;
	counters->service_ns += now_ns - from_ns;
	report->frames++;
	report->rows += frame->header.rows;
	if (frame->work_ns / 1000 > report->work_us_max)
		report->work_us_max = frame->work_ns / 1000;
	if (frame->header.stage_time_ns == 0)
		return;
	report->overruns += frame->ready_ns > frame->due_ns;
	report->work_over_60 += frame->work_ns > frame->header.stage_time_ns / 10 * 6;
	if (late_us > report->late_us_max)
		report->late_us_max = late_us;
}

/* --- frames --- */

const struct gw_stage_config *gw_stage_config(const struct gw_stage *stage)
{
	return &stage->config;
}

struct gw_frame *gw_stage_take(struct gw_stage *stage)
{
	return pop(&stage->free);
}

void gw_stage_release(struct gw_stage *stage, struct gw_frame *frame)
{
	push(&stage->free, frame);
}

void gw_stage_submit(struct gw_stage *stage, struct gw_frame *frame, uint64_t arrival_ns)
{
	frame->arrival_ns = arrival_ns;
	frame->due_ns = gw_pace_due_ns(arrival_ns, stage->last_due_ns, frame->header.stage_time_ns);
	if (frame->header.stage_time_ns == 0)
		frame->due_ns = arrival_ns; /* unpaced: complete when computed */
	stage->last_due_ns = frame->due_ns;
	push(&stage->to_compute, frame);
	CHECK(sem_post(&stage->work) == 0);
}

/* To the next stage, at once or after the simulated link's delay. */
static void enqueue(struct gw_stage *stage, struct gw_frame *frame, uint64_t now_ns)
{
	frame->leave_ns = now_ns + stage->delay_ns;
	push(&stage->sending, frame);
}

/* What a control frame asks of this stage; 0 or negative errno. */
static int apply(struct gw_stage *stage, struct gw_frame *frame)
{
	struct gw_frame_header *header = &frame->header;
	char *payload = (char *)frame->packed;

	switch (header->kind) {
	case GW_FRAME_RESET:
		counters_reset(stage);
		return 0;
	case GW_FRAME_REPORT:
		if (header->rows >= stage->config.ring.count)
			return fail(stage, -EPROTO, "%s sent too many reports", up_text(stage));
		counters_report(stage, (struct gw_stage_report *)(void *)payload + header->rows);
		header->rows++;
		header->payload_bytes = gw_frame_payload_bytes(GW_FRAME_REPORT, header->rows, 0);
		return 0;
	case GW_FRAME_CONGESTION:
		payload[15] = '\0';
		if (gw_ring_set_congestion(stage->ring.down_fd, payload) < 0)
			return fail(stage, -ENOTSUP, "the kernel has no congestion control \"%s\"",
				    payload);
		return 0;
	case GW_FRAME_PROBE:
		if (stage->config.ring.index == stage->config.ring.count - 1)
			header->rows = 0; /* the way back to the head carries tokens only */
		header->payload_bytes =
			gw_frame_payload_bytes(GW_FRAME_PROBE, header->rows, stage->limits.hidden);
		return 0;
	case GW_FRAME_DELAY:
		stage->delay_ns = header->stage_time_ns;
		return 0;
	case GW_FRAME_HELLO:
	case GW_FRAME_HIDDEN:
	case GW_FRAME_TOKENS:
		break;
	}
	return fail(stage, -EPROTO, "%s sent a frame out of turn", up_text(stage));
}

void gw_stage_control(struct gw_stage *stage, struct gw_frame *frame)
{
	CHECK(apply(stage, frame) == 0); /* the head checks what it asks for beforehand */
	enqueue(stage, frame, gw_stage_now_ns());
}

/* A whole frame has come; ownership moves on. */
static int dispatch(struct gw_stage *stage, struct gw_frame *frame)
{
	const struct gw_ring_options *ring = &stage->config.ring;
	bool batch = frame->header.kind == GW_FRAME_HIDDEN || frame->header.kind == GW_FRAME_TOKENS;
	uint64_t now_ns = gw_stage_now_ns();
	const char *wrong;

	frame->arrival_ns = now_ns;
	if (batch) {
		wrong = gw_frame_rows_check(frame->rows, frame->header.rows, &stage->limits);
		if (wrong)
			return fail(stage, -EPROTO, "%s: %s", up_text(stage), wrong);
		if ((frame->header.kind == GW_FRAME_TOKENS) != (ring->index == 0))
			return fail(stage, -EPROTO, "%s sent a frame out of turn", up_text(stage));
	}
	if (ring->index == 0) {
		stage->driver->returned(stage->driver->self, frame);
		return 0;
	}
	if (batch) {
		gw_stage_submit(stage, frame, now_ns);
		return 0;
	}
	enqueue(stage, frame, now_ns);
	return apply(stage, frame);
}

/* The frame's bytes as they lie in memory, from `done` on; returns how many pieces are left. */
static int pieces(struct gw_frame *frame, uint8_t *header, size_t done, struct iovec *ret)
{
	bool rows = frame->header.kind == GW_FRAME_HIDDEN || frame->header.kind == GW_FRAME_TOKENS;
	bool tokens = frame->header.kind == GW_FRAME_TOKENS;
	struct iovec all[3] = {
		{header, GW_FRAME_HEADER_BYTES},
		{frame->rows, rows ? frame->header.rows * GW_FRAME_ROW_BYTES : 0},
		{tokens ? (void *)frame->tokens : (void *)frame->packed,
		 frame->header.payload_bytes},
	};
	int count = 0;

	for (int i = 0; i < 3; i++) {
		size_t skip = done < all[i].iov_len ? done : all[i].iov_len;

		done -= skip;
		if (all[i].iov_len > skip)
			ret[count++] = (struct iovec){(char *)all[i].iov_base + skip,
						      all[i].iov_len - skip};
	}
	return count;
}

/* --- the I/O thread --- */

/* Reads what there is. 0; negative errno when the neighbour is gone or hostile. */
static int receive(struct gw_stage *stage)
{
	for (;;) {
		struct iovec rest[3];
		struct gw_frame *frame = stage->incoming;
		bool headed = stage->incoming_bytes >= GW_FRAME_HEADER_BYTES;
		const char *wrong;
		ssize_t n;
		int r;

		if (!frame) {
			frame = stage->incoming = gw_stage_take(stage);
			if (!frame)
				return 0; /* the sender waits: TCP holds it back */
		}
		if (!headed)
			rest[0] = (struct iovec){stage->header_in + stage->incoming_bytes,
						 GW_FRAME_HEADER_BYTES - stage->incoming_bytes};
		n = readv(stage->ring.up_fd, rest,
			  headed ? pieces(frame, stage->header_in, stage->incoming_bytes, rest)
				 : 1);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return fail(stage, -EPIPE, "%s closed the connection", up_text(stage));
		stage->incoming_bytes += (size_t)n;
		if (stage->incoming_bytes < GW_FRAME_HEADER_BYTES)
			continue;
		if (!headed) {
			wrong = gw_frame_header_decode(stage->header_in, &stage->limits,
						       &frame->header);
			if (wrong)
				return fail(stage, -EPROTO, "%s: %s", up_text(stage), wrong);
		}
		if (pieces(frame, stage->header_in, stage->incoming_bytes, rest) > 0)
			continue;
		stage->incoming = NULL;
		stage->incoming_bytes = 0;
		r = dispatch(stage, frame);
		if (r < 0)
			return r;
	}
}

/* Moves computed frames to the queue of those that wait for their time, and due ones on. */
static void release_due(struct gw_stage *stage, uint64_t now_ns)
{
	struct gw_frame *frame;

	while ((frame = pop(&stage->computed))) {
		frame->header.payload_bytes = gw_frame_payload_bytes(
			frame->header.kind, frame->header.rows, stage->limits.hidden);
		push(&stage->pending, frame);
	}
	while ((frame = first(&stage->pending)) && frame->due_ns <= now_ns) {
		counters_sent(stage, frame, now_ns);
		(void)pop(&stage->pending);
		enqueue(stage, frame, now_ns);
	}
}

static int send_frames(struct gw_stage *stage, uint64_t now_ns)
{
	struct gw_frame *frame;

	while ((frame = first(&stage->sending)) && frame->leave_ns <= now_ns) {
		uint8_t header[GW_FRAME_HEADER_BYTES];
		struct iovec rest[3];
		struct msghdr message = {.msg_iov = rest};
		ssize_t n;

		gw_frame_header_encode(&frame->header, header);
		message.msg_iovlen = (size_t)pieces(frame, header, stage->outgoing_bytes, rest);
		n = sendmsg(stage->ring.down_fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return fail(stage, -errno, "cannot send to %s: %s", down_text(stage),
				    strerror(errno));
		if (n < 0)
			return 0;
		stage->outgoing_bytes += (size_t)n;
		if (pieces(frame, header, stage->outgoing_bytes, rest) > 0)
			continue;
		stage->outgoing_bytes = 0;
		gw_stage_release(stage, pop(&stage->sending));
	}
	return 0;
}

/* Sleeps until a socket, the compute thread or the clock has something. */
static int reactor_wait(struct gw_stage *stage, uint64_t wake_ns, bool *ret_mail)
{
	const struct gw_frame *frame = first(&stage->pending);
	const struct gw_frame *leaving = first(&stage->sending);
	uint64_t now_ns = gw_stage_now_ns();
	bool may_leave = leaving && leaving->leave_ns <= now_ns;
	struct pollfd items[4] = {
		{.fd = stage->incoming || first(&stage->free) ? stage->ring.up_fd : -1,
		 .events = POLLIN},
		{.fd = stage->ring.down_fd,
		 .events = (short)(POLLRDHUP | (may_leave ? POLLOUT : 0))},
		{.fd = stage->computed_fd, .events = POLLIN},
		{.fd = stage->driver ? stage->driver->wake_fd : -1, .events = POLLIN},
	};
	struct timespec timeout;
	uint64_t left_ns;
	uint64_t count;

	if (frame && frame->due_ns < wake_ns)
		wake_ns = frame->due_ns;
	if (leaving && !may_leave && leaving->leave_ns < wake_ns)
		wake_ns = leaving->leave_ns;
	left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
	timeout.tv_sec = (time_t)(left_ns / 1000000000u);
	timeout.tv_nsec = (long)(left_ns % 1000000000u);
	if (ppoll(items, 4, wake_ns == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
		return fail(stage, -errno, "ppoll: %s", strerror(errno));
	if (items[1].revents & (POLLERR | POLLHUP | POLLRDHUP))
		return fail(stage, -EPIPE, "%s closed the connection", down_text(stage));
	if (items[2].revents & POLLIN)
		(void)!read(stage->computed_fd, &count, sizeof(count)); /* only drains the event */
	*ret_mail = items[3].revents & POLLIN;
	return 0;
}

static int reactor_run(struct gw_stage *stage)
{
	uint64_t wake_ns = UINT64_MAX;
	uint64_t count;
	bool mail = false;
	int r;

	for (;;) {
		r = receive(stage);
		if (r < 0)
			return r;
		if (mail)
			(void)!read(stage->driver->wake_fd, &count, sizeof(count)); /* drains */
		if (stage->driver)
			wake_ns = stage->driver->tick(stage->driver->self, gw_stage_now_ns());
		release_due(stage, gw_stage_now_ns());
		r = send_frames(stage, gw_stage_now_ns());
		if (r == 0)
			r = reactor_wait(stage, wake_ns, &mail);
		if (r < 0)
			return r;
	}
}

static void *reactor_main(void *arg)
{
	struct gw_stage *stage = arg;
	const struct sched_param priority = {.sched_priority = GW_STAGE_FIFO_PRIORITY};
	int r;

	(void)prctl(PR_SET_TIMERSLACK, 1000ul);
	r = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
	stage->fifo = r == 0 ? GW_STAGE_FIFO_PRIORITY : 0;
	if (r != 0)
		(void)fprintf(stderr,
			      "godwit-stage: real-time priority not obtained (%s); pacing is "
			      "at the mercy of other load\n",
			      strerror(r));
	counters_reset(stage);
	return (void *)(intptr_t)reactor_run(stage);
}

/* --- life --- */

static int pin(int core)
{
	cpu_set_t wanted;
	cpu_set_t found;

	if (core < 0)
		return 0;
	if (core >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&wanted);
	CPU_SET((size_t)core, &wanted);
	if (sched_setaffinity(0, sizeof(wanted), &wanted) < 0 ||
	    sched_getaffinity(0, sizeof(found), &found) < 0)
		return -errno;
	return CPU_EQUAL(&wanted, &found) ? 0 : -ENOTSUP;
}

/* Zeroed, hence touched. */
static void *array_new(size_t bytes)
{
	size_t rounded = (bytes + 63) / 64 * 64;
	void *array = aligned_alloc(64, rounded);

	if (array)
		memset(array, 0, rounded);
	return array;
}

static int frame_init(struct gw_frame *frame, const struct gw_model_config *model)
{
	size_t packed = (size_t)model->rows * model->hidden * sizeof(uint16_t);

	if (packed < CONTROL_PAYLOAD_BYTES)
		packed = CONTROL_PAYLOAD_BYTES;
	frame->rows = array_new(model->rows * sizeof(*frame->rows));
	frame->tokens = array_new(model->rows * sizeof(*frame->tokens));
	frame->packed = array_new(packed);
	return frame->rows && frame->tokens && frame->packed ? 0 : -ENOMEM;
}

static int stage_init(struct gw_stage *stage)
{
	const struct gw_model_config *model = &stage->config.model;
	uint32_t first_layer;
	uint32_t layers;
	int r;

	stage->computed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stage->computed_fd < 0 || sem_init(&stage->work, 0, 0) < 0)
		return -errno;
	r = pin(stage->config.core);
	if (r < 0) {
		(void)fprintf(stderr, "godwit-stage: cannot pin to core %d: %s\n",
			      stage->config.core, strerror(-r));
		return r;
	}
	stage->hidden = array_new((size_t)(model->rows + GW_MODEL_TILE_ROWS) * model->hidden *
				  sizeof(float));
	if (!stage->hidden)
		return -ENOMEM;
	for (uint32_t i = 0; i < GW_STAGE_FRAMES; i++) {
		if (frame_init(&stage->frames[i], model) < 0)
			return -ENOMEM;
		push(&stage->free, &stage->frames[i]);
	}
	gw_model_cut(model->layers, stage->config.ring.count, stage->config.ring.index,
		     &first_layer, &layers);
	r = gw_model_new(model, first_layer, layers, &stage->model);
	if (r == -ENOTSUP)
		(void)fprintf(stderr, "godwit-stage: this CPU's BLAS kernels sum a row differently "
				      "at different places of a batch\n");
	return r;
}

int gw_stage_new(const struct gw_stage_config *config, struct gw_stage **ret_stage)
{
	struct gw_stage *stage = calloc(1, sizeof(*stage));
	int r;

	if (!stage)
		return -ENOMEM;
	stage->config = *config;
	stage->ring = (struct gw_ring){.up_fd = -1, .down_fd = -1};
	stage->computed_fd = -1;
	stage->limits = (struct gw_frame_limits){.hidden = config->model.hidden,
						 .rows = config->model.rows,
						 .slots = config->model.slots,
						 .stages = config->ring.count};
	r = stage_init(stage);
	if (r < 0)
		gw_stage_free(stage);
	else
		*ret_stage = stage;
	return r;
}

struct gw_stage *gw_stage_free(struct gw_stage *stage)
{
	if (!stage)
		return NULL;
	gw_ring_close(&stage->ring);
	if (stage->computed_fd >= 0)
		(void)close(stage->computed_fd);
	gw_model_free(stage->model);
	free(stage->hidden);
	for (uint32_t i = 0; i < GW_STAGE_FRAMES; i++) {
		free(stage->frames[i].rows);
		free(stage->frames[i].tokens);
		free(stage->frames[i].packed);
	}
	free(stage);
	return NULL;
}

int gw_stage_run(struct gw_stage *stage, const struct gw_stage_driver *driver)
{
	pthread_t compute_thread;
	pthread_t reactor_thread;
	void *result = NULL;
	int r;

	CHECK((driver != NULL) == (stage->config.ring.index == 0));
	stage->driver = driver;
	r = gw_ring_open(&stage->config.ring, &stage->ring, stage->error);
	if (r == 0)
		r = -pthread_create(&compute_thread, NULL, compute_main, stage);
	if (r == 0) {
		r = -pthread_create(&reactor_thread, NULL, reactor_main, stage);
		if (r == 0) {
			(void)pthread_join(reactor_thread, &result);
			r = (int)(intptr_t)result;
		}
		CHECK(sem_post(&stage->work) == 0);
		(void)pthread_join(compute_thread, NULL);
	}
	(void)fprintf(stderr, "godwit-stage: stage %u stops: %s\n", stage->config.ring.index,
		      stage->error[0] ? stage->error : strerror(-r));
	return r;
}
