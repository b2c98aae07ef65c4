/* The pipeline model; see the header. */
#include "bench/loss/theory.h"

double gw_theory_rate(const struct gw_theory *theory)
{
	double loop_s = theory->stages * theory->stage_s + theory->loop_rtt_s;
	double by_loop = theory->groups / loop_s;
	double by_stage = 1 / theory->stage_s;

	return theory->batch * (by_loop < by_stage ? by_loop : by_stage);
}

double gw_theory_loss_percent(const struct gw_theory *theory, double single_rate)
{
	return 100 * (1 - gw_theory_rate(theory) / single_rate);
}

double gw_theory_rtt_at_loss_s(const struct gw_theory *theory, double single_rate, double percent)
{
	double rate = single_rate * (1 - percent / 100);
	double rtt_s;

	if (theory->batch / theory->stage_s < rate)
		return 0;
	rtt_s = (double)theory->groups * theory->batch / rate - theory->stages * theory->stage_s;
	return rtt_s > 0 ? rtt_s : 0;
}

void gw_theory_best(struct gw_theory *theory, const struct gw_accelerator *accelerator,
		    uint32_t slots, uint32_t batch_max, uint32_t groups_max)
{
	struct gw_theory best = *theory;
	double best_rate = -1;

	for (uint32_t m = theory->stages ? theory->stages : 1; m <= groups_max && m <= slots; m++) {
		struct gw_theory one = *theory;

		one.groups = m;
		one.batch = slots / m < batch_max ? slots / m : batch_max;
		one.stage_s = gw_accelerator_stage_s(accelerator, one.batch, one.batch);
		if (gw_theory_rate(&one) > best_rate) {
			best_rate = gw_theory_rate(&one);
			best = one;
		}
	}
	*theory = best;
}
