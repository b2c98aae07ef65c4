/*
 * One pipeline stage at run time: an I/O thread (real-time where permitted) that receives frames,
 * paces them and sends them on, and a compute thread at normal priority that runs the layers. Both
 * sit on the same core; because the I/O thread preempts, neither pacing nor forwarding waits for
 * anybody's computation.
 *
 * Paced: a frame that arrives at time a is complete at max(a, completion of the one before) + its
 * stage time, an absolute time; its work must fit, and what did not is counted as an overrun.
 * Unpaced (stage time 0): a frame is complete when computed.
 *
 * Stage 0 is the head: frames that come back to it go to its driver (head.h), which decides what
 * is computed next. All functions below run in the I/O thread, gw_stage_new, _run and _free aside.
 */
#ifndef GODWIT_BENCH_LOSS_STAGE_H
#define GODWIT_BENCH_LOSS_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/loss/frame.h"
#include "bench/loss/model.h"
#include "bench/loss/ring.h"

#define GW_STAGE_FRAMES (GW_FRAME_GROUPS_MAX + 8u) /* batches plus control frames */
#define GW_STAGE_FIFO_PRIORITY 40                  /* below the link emulator's 50 */

struct gw_stage_config {
	struct gw_model_config model;
	struct gw_ring_options ring;
	int core; /* to pin to; -1: any */
};

/* A frame in memory; owned by exactly one of: free list, compute thread, queues, driver. */
struct gw_frame {
	struct gw_frame_header header;
	struct gw_model_row *rows; /* [limits.rows] */
	uint32_t *tokens;          /* [limits.rows] */
	uint16_t *packed; /* [limits.rows][hidden] activations; control frames: their payload */
	uint64_t arrival_ns;
	uint64_t due_ns;
	uint64_t leave_ns; /* may be sent from then on */
	uint64_t ready_ns; /* computed */
	uint64_t work_ns;  /* CPU time of it */
};

struct gw_stage;

/* The driver of a head, called in the I/O thread. */
struct gw_stage_driver {
	void *self;
	/* A frame has come back: the driver owns it now (submit, send or release it). */
	void (*returned)(void *self, struct gw_frame *frame);
	/* Something may be due; returns when to be called again at the latest (CLOCK_MONOTONIC ns,
	 * UINT64_MAX: only when a frame returns). */
	uint64_t (*tick)(void *self, uint64_t now_ns);
	int wake_fd; /* readable: call tick */
};

/* Model, frames and core placement; prints what was not obtained. 0, or negative errno with a
 * sentence on stderr. */
int gw_stage_new(const struct gw_stage_config *config, struct gw_stage **ret_stage);
struct gw_stage *gw_stage_free(struct gw_stage *stage);
/* Forms the ring, then serves it until a neighbour leaves or breaks the protocol, which is said on
 * stderr; returns negative errno. `driver` for stage 0 only. */
int gw_stage_run(struct gw_stage *stage, const struct gw_stage_driver *driver);

const struct gw_stage_config *gw_stage_config(const struct gw_stage *stage);
uint64_t gw_stage_now_ns(void);
/* A frame to fill; NULL: all are in use. */
struct gw_frame *gw_stage_take(struct gw_stage *stage);
void gw_stage_release(struct gw_stage *stage, struct gw_frame *frame);
/* Hands a batch (rows, tokens, header.rows, .group, .stage_time_ns filled) to this stage's
 * computation, as arrived at arrival_ns. */
void gw_stage_submit(struct gw_stage *stage, struct gw_frame *frame, uint64_t arrival_ns);
/* Sends a control frame to the next stage, applying it to this stage first. */
void gw_stage_control(struct gw_stage *stage, struct gw_frame *frame);

#endif
