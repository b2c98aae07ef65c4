/*
 * What a ring of S balanced stages gives, by the pipeline model: a micro-batch goes round in
 * S t + R, and no stage passes more than one in t, so
 *
 *	X = b min(1 / t, m / (S t + R))
 *
 * with R the delay of the whole loop. No loss as soon as m >= S + R / t. Pure.
 */
#ifndef GODWIT_BENCH_LOSS_THEORY_H
#define GODWIT_BENCH_LOSS_THEORY_H

#include <stdint.h>

#include "bench/loss/pace.h"

struct gw_theory {
	uint32_t stages;   /* S */
	uint32_t groups;   /* m */
	uint32_t batch;    /* b */
	double stage_s;    /* t */
	double loop_rtt_s; /* R */
};

/* Tokens per second. */
double gw_theory_rate(const struct gw_theory *theory);
/* Per cent lost against a measured rate. */
double gw_theory_loss_percent(const struct gw_theory *theory, double single_rate);
/* The delay at which the loss against `single_rate` reaches `percent`; 0: it always does. */
double gw_theory_rtt_at_loss_s(const struct gw_theory *theory, double single_rate, double percent);
/* m (from S to groups_max) with the highest rate under m b <= slots, b filling the memory and at
 * most batch_max, t by the accelerator. Fills groups, batch and stage_s of `theory`. */
void gw_theory_best(struct gw_theory *theory, const struct gw_accelerator *accelerator,
		    uint32_t slots, uint32_t batch_max, uint32_t groups_max);

#endif
