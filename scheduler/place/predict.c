/* Throughput and time per output token of a pipeline with a WAN in its loop. */
#include "scheduler/place/predict.h"

#include "proto/base/check.h"

static double larger(double a, double b)
{
	return a > b ? a : b;
}

struct gw_prediction gw_predict(const struct gw_serve_model *model, uint32_t stage_count,
				uint32_t rtt_us)
{
	double m = model->micro_batches > 0 ? model->micro_batches : 1;
	double b = model->batch > 0 ? model->batch : 1;
	double busy_us = m * model->stage_us;
	double round_us = (double)stage_count * model->stage_us;
	struct gw_prediction prediction = {0};
	double single_us;

	CHECK(stage_count > 0);
	if (model->stage_us == 0)
		return prediction;
	single_us = larger(busy_us, round_us);
	prediction.present = true;
	prediction.rtt_us = rtt_us;
	prediction.tpot_us = larger(busy_us, round_us + rtt_us);
	prediction.tokens_per_s = m * b * 1e6 / prediction.tpot_us;
	prediction.single_site_tokens_per_s = m * b * 1e6 / single_us;
	prediction.loss_ppm = 1e6 * (1 - single_us / prediction.tpot_us);
	if (busy_us >= round_us + rtt_us)
		prediction.bottleneck = "compute: enough micro-batches are in flight";
	else if (rtt_us > 0)
		prediction.bottleneck = "distance: stages idle while a round is on its way";
	else
		prediction.bottleneck = "depth: fewer micro-batches in flight than stages";
	return prediction;
}
