/* The stated accelerator's times; see the header for the formulas. */
#include "bench/loss/pace.h"

double gw_accelerator_weight_bytes(const struct gw_accelerator *a)
{
	double h = a->hidden;

	return 2 * (2 * h * h + 2 * h * a->kv_width + 3 * h * a->ffn);
}

double gw_accelerator_cache_bytes(const struct gw_accelerator *a)
{
	return 2 * 2 * a->kv_width * a->context;
}

double gw_accelerator_flops_per_token(const struct gw_accelerator *a)
{
	double h = a->hidden;

	return 4 * h * h + 4 * h * a->kv_width + 4 * h * a->context + 6 * h * a->ffn;
}

double gw_accelerator_stage_s(const struct gw_accelerator *a, uint32_t rows, uint32_t sequences)
{
	double compute_s =
		gw_accelerator_flops_per_token(a) * rows / (a->flops_efficiency * a->flops_per_s);
	double memory_s =
		(gw_accelerator_weight_bytes(a) + sequences * gw_accelerator_cache_bytes(a)) /
		(a->bytes_efficiency * a->bytes_per_s);

	return a->layers_held * (compute_s > memory_s ? compute_s : memory_s) + a->overhead_s;
}

uint32_t gw_accelerator_slots(const struct gw_accelerator *a)
{
	double left = a->memory_bytes - a->layers_held * gw_accelerator_weight_bytes(a);
	double slots = left / (a->layers_held * gw_accelerator_cache_bytes(a));

	if (!(slots >= 1))
		return 0;
	return slots > 1e6 ? 1000000 : (uint32_t)slots;
}

uint64_t gw_pace_due_ns(uint64_t arrival_ns, uint64_t last_due_ns, uint64_t stage_time_ns)
{
	return (arrival_ns > last_due_ns ? arrival_ns : last_due_ns) + stage_time_ns;
}
