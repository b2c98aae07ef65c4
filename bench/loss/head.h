/*
 * The head of the ring: it decides what stage 0 computes next and measures what comes back. One
 * order at a time is carried out, in phases; a workload (block.c, serve.c) fills two of them:
 *
 *	PREPARE (workload: prefill, unpaced) -> IDLE_RTT (probes through the empty ring) -> RESET
 *	-> RUN (workload; probes go on between its frames) -> DRAIN -> REPORT -> done
 *
 * Everything here runs in the stage's I/O thread, except gw_head_order, which the control thread
 * calls and which blocks until the order is done.
 */
#ifndef GODWIT_BENCH_LOSS_HEAD_H
#define GODWIT_BENCH_LOSS_HEAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/loss/frame.h"
#include "bench/loss/pace.h"
#include "bench/loss/stage.h"

#define GW_HEAD_SAMPLES_MAX 4000000u
#define GW_HEAD_SECONDS_MAX 3600.0
#define GW_HEAD_REQUESTS_MAX 200000u
#define GW_HEAD_PROMPT_TOKENS 32u /* of each sequence of a block */

/* A growable list of figures with a stated limit; what does not fit is counted. */
struct gw_samples {
	double *values;
	size_t count;
	size_t capacity;
	uint64_t dropped;
};

struct gw_block_order {
	uint32_t groups; /* m */
	uint32_t batch;  /* b */
	uint64_t rounds; /* 0: as many as fit `seconds` */
	double seconds;
	double stage_time_scale; /* of the accelerator's time; 0: unpaced (REAL) */
};

struct gw_serve_order {
	uint32_t groups;
	uint32_t batch;
	double rate_per_s; /* offered, Poisson */
	double seconds;    /* of arrivals, the first `warm_s` of them not measured */
	double warm_s;
	uint64_t seed;
	uint32_t prompt_min; /* tokens, uniform */
	uint32_t prompt_max;
	uint32_t output_min;
	uint32_t output_max;
	double stage_time_scale;
	double ttft_limit_s; /* the objective that goodput counts */
	double tpot_limit_s;
};

enum gw_head_op {
	GW_HEAD_BLOCK,
	GW_HEAD_SERVE,
	GW_HEAD_CONGESTION,
	GW_HEAD_DELAY,
};

struct gw_head_order {
	enum gw_head_op op;
	struct gw_block_order block;
	struct gw_serve_order serve;
	char congestion[16];
	uint64_t delay_us; /* of each hop's simulated link */
};

/* What an order gave. Samples belong to the result: gw_head_result_deinit. */
struct gw_head_result {
	uint64_t tokens;   /* decoded inside the window */
	double seconds;    /* of the window */
	uint64_t rounds;   /* block: of each micro-batch inside the window */
	uint64_t checksum; /* over all decoded tokens, independent of m, b and cut */
	uint64_t checksum_tokens;
	uint64_t counted_tokens;      /* decoded since the stages' counters were reset */
	double stage_time_s;          /* asked of each stage for a full decode batch; 0: unpaced */
	struct gw_samples loop_s;     /* block: time between two tokens of a sequence */
	struct gw_samples rtt_idle_s; /* around the whole ring, a header's weight */
	struct gw_samples rtt_bulk_s; /* the same with a micro-batch's activations */
	struct gw_samples rtt_load_s; /* a header's weight, beside the running batches */
	struct gw_samples ttft_s;     /* serve */
	struct gw_samples tpot_s;     /* serve: mean of each request */
	uint64_t requests;            /* serve: measured, completed */
	uint64_t requests_all;        /* serve: completed, warm-up included */
	uint64_t good;                /* serve: measured and within the objective */
	uint64_t refused;             /* serve: the waiting queue was full */
	double window_s;              /* serve: measured arrivals came within this */
	double offered_tokens_per_s;  /* serve: of what arrived while measured */
	uint32_t report_count;
	struct gw_stage_report reports[GW_FRAME_STAGES_MAX];
};

struct gw_head;

/* A sequence being decoded, by slot. */
struct gw_sequence {
	uint64_t hash; /* FNV-1a over its tokens */
	uint32_t token;
	uint32_t position; /* of `token` */
};

/* A workload: the two phases of an order that differ. All in the I/O thread. */
struct gw_workload {
	void (*prepare)(struct gw_head *head); /* ends with gw_head_next, now or later */
	void (*run)(struct gw_head *head, uint64_t now_ns); /* the RUN phase begins */
	/* A batch has come back (PREPARE or RUN), its tokens already in head->sequences; the frame
	 * is the workload's. */
	void (*returned)(struct gw_head *head, struct gw_frame *frame, uint64_t now_ns);
	uint64_t (*tick)(struct gw_head *head, uint64_t now_ns); /* RUN only; next wake */
};

enum gw_head_phase {
	GW_HEAD_WAITING, /* for an order */
	GW_HEAD_PREPARE,
	GW_HEAD_IDLE_RTT,
	GW_HEAD_RESET,
	GW_HEAD_RUN,
	GW_HEAD_REPORT,
	GW_HEAD_SETTING, /* congestion control or delay, once round the ring */
};

struct gw_block;
struct gw_serve;

struct gw_head {
	struct gw_stage *stage;
	struct gw_accelerator accelerator;
	struct gw_sequence *sequences; /* [slots] */
	enum gw_head_phase phase;
	const struct gw_workload *workload;
	struct gw_block *block; /* of the order under way */
	struct gw_serve *serve;
	uint32_t probes_left; /* of IDLE_RTT */
	bool probe_out;       /* one at a time */
	uint64_t next_probe_ns;
	const struct gw_head_order *order; /* owned by the caller of gw_head_order */
	struct gw_head_result *result;
	atomic_bool mail; /* an order waits to be begun */
	int wake_fd;      /* an order has come */
	int done_fd;      /* it is done */
};

int gw_head_new(struct gw_stage *stage, const struct gw_accelerator *accelerator,
		struct gw_head **ret_head);
struct gw_head *gw_head_free(struct gw_head *head);
struct gw_stage_driver gw_head_driver(struct gw_head *head);

/* NULL, or a sentence that says why the order cannot be carried out with this ring's sizes. */
const char *gw_head_check(const struct gw_head *head, const struct gw_head_order *order);
/* Blocking, from another thread, one caller at a time. The order must have passed gw_head_check.
 * NULL, or a sentence. */
const char *gw_head_order(struct gw_head *head, const struct gw_head_order *order,
			  struct gw_head_result *ret_result);
void gw_head_result_deinit(struct gw_head_result *result);

/* For workloads. */
void gw_head_next(struct gw_head *head, uint64_t now_ns); /* PREPARE or RUN is over */
uint64_t gw_head_stage_time_ns(const struct gw_head *head, uint32_t rows, uint32_t sequences,
			       double scale);
/* A sequence's contribution to the checksum; the sum of these does not depend on their order. */
uint64_t gw_sequence_checksum(const struct gw_sequence *sequence, uint64_t number);
void gw_samples_add(struct gw_samples *samples, double value);

extern const struct gw_workload gw_block_workload;
extern const struct gw_workload gw_serve_workload;
/* Memory of a workload for one order, made by the control thread; NULL: none left. */
struct gw_block *gw_block_new(const struct gw_block_order *order);
struct gw_block *gw_block_free(struct gw_block *block);
struct gw_serve *gw_serve_new(const struct gw_serve_order *order);
struct gw_serve *gw_serve_free(struct gw_serve *serve);

#endif
