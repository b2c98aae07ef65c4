/* What a pipeline's cut over a WAN costs, from its stated costs and the measured RTT. */
#ifndef GODWIT_SCHEDULER_PLACE_PREDICT_H
#define GODWIT_SCHEDULER_PLACE_PREDICT_H

#include "scheduler/place/grid.h"

struct gw_prediction {
	bool present; /* a model was stated */
	double tokens_per_s;
	double single_site_tokens_per_s;
	double tpot_us;
	double loss_ppm; /* 1 - tokens_per_s / single_site_tokens_per_s */
	uint32_t rtt_us; /* of the loop over all stages and back */
	const char *bottleneck;
};

/*
 * A balanced pipeline of `stage_count` stages, t = model->stage_us each, m micro-batches of b
 * sequences in flight, loop RTT R: a micro-batch comes round after S t + R, and a stage is busy m t
 * of it, so TPOT = max(m t, S t + R), throughput X = m b / TPOT, and no token is lost to the
 * distance once m >= S + R/t. The time to send an activation is not counted: the grid knows no
 * link rates yet.
 */
struct gw_prediction gw_predict(const struct gw_serve_model *model, uint32_t stage_count,
				uint32_t rtt_us);

#endif
