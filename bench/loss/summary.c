/* From pairs to figures: ratios, means, what forbids a claim, and the loss against the faster
 * baseline. Pure. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/loss/campaign.h"

#define VOID_SHARE_MAX 0.2
#define LOSSES_MIN 30u /* fewer say nothing about a lossy link */
#define NULL_MEAN_MAX 0.3
#define CONTROL_OFF_MAX 0.5
#define RTT_OFF_MS_MAX 0.3
#define RTT_OFF_SHARE_MAX 0.02
#define WIRE_BYTES 1500.0    /* of a full IPv6 packet */
#define SEGMENT_BYTES 1428.0 /* of it TCP's payload, with timestamps */

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

/* The rates that its emulated links were asked for, Mb/s; an unlimited one is infinitely fast. */
static void link_rates(const struct gw_cell *cell, double *ret_least, double *ret_most)
{
	const json_t *block;
	const json_t *link;
	const json_t *direction;
	size_t i;
	size_t k;
	size_t n;

	*ret_least = (double)INFINITY;
	*ret_most = 0;
	json_array_foreach(cell->blocks, i, block)
		json_array_foreach(json_object_get(block, "links"), k, link)
			json_array_foreach(json_object_get(link, "directions"), n, direction)
	{
		const json_t *params = json_object_get(direction, "params");
		double rate = json_number_value(json_object_get(params, "rate_bps")) * 1e-6;

		rate = rate > 0 ? rate : (double)INFINITY;
		*ret_least = fmin(*ret_least, rate);
		*ret_most = fmax(*ret_most, rate);
	}
}

/* Whether the loop's idle delay, by probes as heavy as a micro-batch, is what was asked for: the
 * single site's own, the delay asked, and the time that the bytes take at the links' rate. */
static bool rtt_is_off(const struct gw_cell *cell)
{
	const struct gw_side *b = &cell->b;
	const json_t *model = json_object_get(b->ring->info, "model");
	double bytes = 2 * json_number_value(json_object_get(model, "hidden")) * b->batch;
	double wire = bytes * WIRE_BYTES / SEGMENT_BYTES;
	double slowest;
	double fastest;
	double asked;
	double off;

	if (cell->kind != GW_CELL_RATE || cell->a.emulated || !b->emulated)
		return false;
	link_rates(cell, &slowest, &fastest);
	asked = gw_cell_mean(cell, false, offsetof(struct gw_outcome, rtt_bulk_s)) * 1e3 +
		cell->rtt_ms + b->ring->stages * 8 * wire / (slowest * 1e3);
	off = gw_cell_mean(cell, true, offsetof(struct gw_outcome, rtt_bulk_s)) * 1e3 - asked;
	return !(fabs(off) <= RTT_OFF_MS_MAX + RTT_OFF_SHARE_MAX * cell->rtt_ms);
}

/* What the machine did to a cell's blocks. */
static const char *unfit_host(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	bool no_fifo = false;
	bool unpinned = false;
	double slowest;
	double fastest;

	for (uint32_t i = 0; i < cell->pair_count; i++) {
		no_fifo |= cell->pairs[i].a.no_fifo || cell->pairs[i].b.no_fifo;
		unpinned |= cell->pairs[i].a.unpinned || cell->pairs[i].b.unpinned;
	}
	if (no_fifo)
		return "a stage had no real-time priority";
	if (unpinned)
		return "a stage was not pinned to a core";
	if (cell->emulator_unfit)
		return "the link emulator had no real-time priority or no locked memory";
	link_rates(cell, &slowest, &fastest);
	if (!isfinite(campaign->limit_mbps))
		return "the link emulator's limit on this host is not known: run ./bench/run wan "
		       "first";
	if (fastest > campaign->limit_mbps)
		return "a link's rate is above what the emulator proved here: run ./bench/run wan "
		       "first, or ask for less";
	return NULL;
}

/* What speaks against the cell's own blocks. */
static const char *own_no_claim(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	size_t pairs = gw_cell_ratios(cell, GW_METRIC_RATE, ratios);
	const char *why;
	bool lossy;

	if (cell->failed)
		return cell->failed;
	if (pairs == 0)
		return "every pair of blocks was void, or none was run";
	if (campaign->options.simulate)
		return "the distance is simulated over loopback: no claim";
	if (!campaign->options.emulator || !campaign->options.emulator[0])
		return "there is no link emulator: no claim";
	if (campaign->options.quick)
		return "a quick campaign: short blocks and few pairs carry no claim";
	if (cell->block_s < GW_CAMPAIGN_CLAIM_BLOCK_S)
		return "its blocks are shorter than 20 s";
	if (cell->pairs_wanted < GW_CAMPAIGN_CLAIM_PAIRS)
		return "a sweep's cell: fewer than 10 pairs carry no claim";
	if (cell->pairs_wanted < campaign->pairs_needed)
		return "the pilot's spread asks for more pairs than it has";
	if (cell->blocks_void > VOID_SHARE_MAX * cell->blocks_run)
		return "more than 20 % of its blocks were void";
	if (pairs < GW_CAMPAIGN_CLAIM_PAIRS)
		return "fewer than 10 of its pairs are not void";
	if (pairs < campaign->pairs_needed)
		return "fewer of its pairs are not void than the pilot's spread asks for";
	why = unfit_host(campaign, cell);
	if (why)
		return why;
	if (cell->differing > 0)
		return "the two sides' tokens differ";
	if (gw_cell_losses(cell, &lossy) < LOSSES_MIN && lossy)
		return "its links lose packets, but fewer than 30 fell into its blocks";
	if (rtt_is_off(cell))
		return "its loop's delay is not what was asked for";
	return NULL;
}

const struct gw_control_cell gw_control_cells[GW_CAMPAIGN_CONTROLS] = {
	{.name = "control_null",
	 .row = "loss.control_null_points",
	 .no_claim = "control_null, which must stand beside it, was not run or carries no claim",
	 .broken = "control_null reads a difference between two rings alike"},
	{.name = "control_1pct",
	 .row = "loss.control_1pct_read",
	 .put_in = 1,
	 .no_claim = "control_1pct, which must stand beside it, was not run or carries no claim",
	 .broken = "control_1pct does not read the 1 % that was put in"},
	{.name = "control_3pct",
	 .row = "loss.control_3pct_read",
	 .put_in = 3,
	 .no_claim = "control_3pct, which must stand beside it, was not run or carries no claim",
	 .broken = "control_3pct does not read the 3 % that was put in"},
};

/* x % more stage time: the rate falls to 1 / (1 + x). */
static double more_time(double loss_percent)
{
	return 100 * (100 / (100 - loss_percent) - 1);
}

struct gw_estimate gw_control_read(const struct gw_campaign *campaign, const struct gw_cell *cell,
				   double put_in, bool *ret_holds)
{
	struct gw_estimate read = gw_cell_loss(campaign, cell);

	if (put_in > 0) {
		read.mean = more_time(read.mean);
		read.low = more_time(read.low);
		read.high = more_time(read.high);
		*ret_holds = fabs(read.mean - put_in) <= CONTROL_OFF_MAX;
		return read;
	}
	*ret_holds = fabs(read.mean) <= NULL_MEAN_MAX && read.low <= 0 && read.high >= 0 &&
		     (read.high - read.low) / 2 <= CONTROL_OFF_MAX;
	return read;
}

static const char *control_fault(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	const char *fault = NULL;

	for (uint32_t i = 0; i < GW_CAMPAIGN_CONTROLS; i++)
		if (strcmp(cell->name, gw_control_cells[i].name) == 0)
			return NULL; /* it speaks for itself */
	for (uint32_t i = 0; i < GW_CAMPAIGN_CONTROLS && !fault; i++) {
		const struct gw_control_cell *one = &gw_control_cells[i];
		const struct gw_cell *control = gw_campaign_cell(campaign, one->name);
		bool holds = false;

		if (!control || own_no_claim(campaign, control))
			fault = one->no_claim;
		else
			(void)gw_control_read(campaign, control, one->put_in, &holds);
		if (!fault && !holds)
			fault = one->broken;
	}
	return fault;
}

const char *gw_cell_no_claim(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	const struct gw_cell *zero = gw_campaign_cell(campaign, "0km");
	const char *why = own_no_claim(campaign, cell);

	if (!why)
		why = control_fault(campaign, cell);
	if (!why && cell->kind == GW_CELL_RATE && cell->a.ring == &campaign->single &&
	    (!zero || own_no_claim(campaign, zero)))
		why = "its second baseline, 0km through the emulator, was not run or carries no "
		      "claim";
	return why;
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
