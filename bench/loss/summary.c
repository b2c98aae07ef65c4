/* From pairs to figures: ratios, means, what forbids a claim, and the loss against the faster
 * baseline. Pure. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/loss/campaign.h"

#define VOID_SHARE_MAX 0.2
#define LOSSES_MIN 30u /* fewer say nothing about a lossy link */

const struct gw_cell *gw_campaign_cell(const struct gw_campaign *campaign, const char *name)
{
	for (uint32_t i = 0; i < campaign->cell_count; i++)
		if (strcmp(campaign->cells[i].name, name) == 0)
			return &campaign->cells[i];
	return NULL;
}

size_t gw_cell_ratios(const struct gw_cell *cell, enum gw_metric metric,
		      double ret[GW_CAMPAIGN_PAIRS_MAX])
{
	size_t count = 0;

	for (uint32_t i = 0; i < cell->pair_count; i++) {
		const struct gw_pair *pair = &cell->pairs[i];
		double ratio = pair->b.metrics[metric] / pair->a.metrics[metric];

		if (!pair->a.is_void && !pair->b.is_void && isfinite(ratio) && ratio > 0)
			ret[count++] = log(ratio);
	}
	return count;
}

double gw_cell_mean(const struct gw_cell *cell, bool side_b, size_t offset)
{
	double sum = 0;
	uint32_t count = 0;

	for (uint32_t i = 0; i < cell->pair_count; i++) {
		const struct gw_outcome *one = side_b ? &cell->pairs[i].b : &cell->pairs[i].a;
		double value;

		if (one->is_void)
			continue;
		memcpy(&value, (const char *)one + offset, sizeof(value));
		sum += value;
		count++;
	}
	return count ? sum / count : (double)NAN;
}

static void add_losses(const json_t *direction, uint64_t *losses, bool *asked)
{
	const json_t *params = json_object_get(direction, "params");

	*losses += (uint64_t)json_integer_value(json_object_get(direction, "dropped_loss"));
	*asked = *asked || json_integer_value(json_object_get(params, "loss_ppm")) > 0 ||
		 json_integer_value(json_object_get(params, "burst_enter_ppm")) > 0;
}

uint64_t gw_cell_losses(const struct gw_cell *cell, bool *ret_asked)
{
	uint64_t losses = 0;
	const json_t *block;
	const json_t *link;
	const json_t *direction;
	size_t i;
	size_t k;
	size_t n;

	*ret_asked = false;
	json_array_foreach(cell->blocks, i, block)
		json_array_foreach(json_object_get(block, "links"), k, link)
			json_array_foreach(json_object_get(link, "directions"), n, direction)
				add_losses(direction, &losses, ret_asked);
	return losses;
}

const char *gw_cell_no_claim(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	bool lossy;

	if (cell->failed)
		return cell->failed;
	if (gw_cell_ratios(cell, GW_METRIC_RATE, ratios) == 0)
		return "every pair of blocks was void, or none was run";
	if (campaign->options.simulate)
		return "the distance is simulated over loopback: no claim";
	if (campaign->options.quick)
		return "a quick campaign: short blocks and few pairs carry no claim";
	if (cell->block_s < GW_CAMPAIGN_CLAIM_BLOCK_S)
		return "its blocks are shorter than 20 s";
	if (cell->pairs_wanted < GW_CAMPAIGN_CLAIM_PAIRS)
		return "a sweep's cell: fewer than 10 pairs carry no claim";
	if (cell->blocks_void > VOID_SHARE_MAX * cell->blocks_run)
		return "more than 20 % of its blocks were void";
	if (gw_cell_ratios(cell, GW_METRIC_RATE, ratios) < GW_CAMPAIGN_CLAIM_PAIRS)
		return "fewer than 10 of its pairs are not void";
	if (cell->emulator_unfit)
		return "the link emulator had no real-time priority or no locked memory";
	if (cell->differing > 0)
		return "the two sides' tokens differ";
	if (gw_cell_losses(cell, &lossy) < LOSSES_MIN && lossy)
		return "its links lose packets, but fewer than 30 fell into its blocks";
	return NULL;
}

struct gw_estimate gw_cell_loss(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	const struct gw_cell *zero = gw_campaign_cell(campaign, "0km");
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	double base[GW_CAMPAIGN_PAIRS_MAX];
	size_t count = gw_cell_ratios(cell, GW_METRIC_RATE, ratios);
	size_t base_count = 0;
	struct gw_estimate estimate;

	if (zero && zero != cell && cell->a.ring == &campaign->single)
		base_count = gw_cell_ratios(zero, GW_METRIC_RATE, base);
	if (base_count > 0 && gw_stats_mean(base, base_count) <= 0)
		base_count = 0; /* plain veth is the faster one: the pairs were run against it */
	for (size_t i = 0; i < base_count; i++)
		base[i] = -base[i];
	if (gw_stats_bootstrap_sum(ratios, count, base, base_count, campaign->options.seed,
				   &estimate) < 0)
		(void)gw_stats_bootstrap_sum(NULL, 0, NULL, 0, 0, &estimate); /* all NAN */
	return gw_stats_loss_percent(&estimate);
}
