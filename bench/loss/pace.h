/*
 * The accelerator that a paced stage stands for, and the clock rule that makes a stage take exactly
 * its time. Formulas: the roofline of one pipeline stage, decode and prefill in one batch:
 *
 *	t = k max(F rows / (eta FLOPS), (W + sequences ctx KV) / (e BW)) + overhead
 *
 * k layers held; F = 4 h^2 + 4 h kv + 4 h ctx + 6 h f, FLOPs of a layer per token (attention
 * projections, scores, gated MLP); W bytes of a layer's weights; KV = 4 kv bytes of a layer's cache
 * per position (fp16 keys and values). Pure.
 */
#ifndef GODWIT_BENCH_LOSS_PACE_H
#define GODWIT_BENCH_LOSS_PACE_H

#include <stdint.h>

struct gw_accelerator {
	double flops_per_s;
	double flops_efficiency; /* eta */
	double bytes_per_s;      /* memory */
	double bytes_efficiency; /* e */
	double memory_bytes;
	double overhead_s; /* per batch: launches, sampling */
	/* the model it serves */
	double hidden;
	double ffn;
	double kv_width;    /* kv heads x head size */
	double layers_held; /* k */
	double context;     /* mean positions of a sequence */
};

double gw_accelerator_weight_bytes(const struct gw_accelerator *a);    /* of one layer, fp16 */
double gw_accelerator_cache_bytes(const struct gw_accelerator *a);     /* one layer, one sequence */
double gw_accelerator_flops_per_token(const struct gw_accelerator *a); /* of one layer */
/* Seconds for a batch of `rows` tokens of `sequences` sequences. */
double gw_accelerator_stage_s(const struct gw_accelerator *a, uint32_t rows, uint32_t sequences);
/* N: sequences whose cache fits beside the weights; 0: the weights alone do not fit. */
uint32_t gw_accelerator_slots(const struct gw_accelerator *a);

/* When a frame that came at arrival_ns is complete, if the one before it was complete at
 * last_due_ns: a server that is busy stage_time_ns for each frame, in order. */
uint64_t gw_pace_due_ns(uint64_t arrival_ns, uint64_t last_due_ns, uint64_t stage_time_ns);

#endif
