/*
 * Runs a cell: sets the delay, ages the connections under load, then pairs of adjacent blocks in
 * random ABBA quads. Whether a block is void is decided from the host's and the emulator's counters
 * before its figures are read.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/loss/campaign.h"
#include "proto/base/check.h"

#define STEAL_PERCENT_MAX 0.5
#define FOREIGN_PERCENT_MAX 2.0
#define OVERRUN_SHARE_MAX 0.001
#define HEAVY_SHARE_MAX 0.001
#define HEAVY_MIN 2 /* a single batch never makes a block void */
#define ORDER_MARGIN_MS 120000
#define REPLACEMENT_SHARE 5 /* one pair in so many may be run again for a void one */
#define QUICK_REPLACE_SHARE 0.6
#define WARM_SHARE 0.15 /* of a serving block, before and after what is measured */

double gw_campaign_now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double figure(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* --- orders --- */

static double stage_s(const struct gw_campaign *campaign, const struct gw_side *side)
{
	return gw_accelerator_stage_s(&campaign->accelerator, side->batch, side->batch) *
	       side->scale;
}

/* Whole rounds, so that both sides of a pair decode the same tokens: as many as the faster side
 * needs for the block. Unpaced rings say how fast they are only when they run: then by the clock.
 */
static uint64_t rounds_for(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	double t = stage_s(campaign, &cell->a);
	double by_stage = cell->a.groups * t;
	double by_loop = cell->a.ring->stages * t;

	if (t <= 0)
		return 0;
	return (uint64_t)ceil(cell->block_s / (by_stage > by_loop ? by_stage : by_loop));
}

static json_t *order_for(const struct gw_campaign *campaign, const struct gw_cell *cell,
			 const struct gw_side *side, uint64_t number)
{
	const struct gw_campaign_options *o = &campaign->options;
	const char *mode = side->scale > 0 ? "paced" : "real";
	double scale = side->scale > 0 ? side->scale : 1;
	uint64_t rounds = rounds_for(campaign, cell);

	if (cell->kind == GW_CELL_SERVE)
		return json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:I, s:f, s:f, s:f, s:s, s:[i, "
				 "i], s:[i, i]}",
				 "op", "serve", "m", (int)side->groups, "b", (int)side->batch,
				 "rate_per_s", cell->rate_per_s, "seconds",
				 cell->block_s * (1 + WARM_SHARE), "warm_s",
				 cell->block_s * WARM_SHARE, "seed",
				 (json_int_t)(o->seed % INT32_MAX + number), "ttft_limit_ms",
				 (double)o->ttft_limit_us * 1e-3, "tpot_limit_ms",
				 (double)o->tpot_limit_us * 1e-3, "stage_time_scale", scale, "mode",
				 mode, "prompt", GW_CAMPAIGN_PROMPT_MIN, GW_CAMPAIGN_PROMPT_MAX,
				 "output", GW_CAMPAIGN_OUTPUT_MIN, GW_CAMPAIGN_OUTPUT_MAX);
	if (rounds > 0)
		return json_pack("{s:s, s:i, s:i, s:I, s:f, s:s}", "op", "block", "m",
				 (int)side->groups, "b", (int)side->batch, "rounds",
				 (json_int_t)rounds, "stage_time_scale", scale, "mode", mode);
	return json_pack("{s:s, s:i, s:i, s:f, s:s}", "op", "block", "m", (int)side->groups, "b",
			 (int)side->batch, "seconds", cell->block_s, "mode", mode);
}

/* --- what a block gave --- */

/* Priority and core of every stage, as it found them itself. */
static void read_places(const json_t *stages, struct gw_outcome *ret)
{
	const json_t *stage;
	const json_t *other;
	size_t i;
	size_t k;

	json_array_foreach(stages, i, stage)
	{
		json_int_t core = json_integer_value(json_object_get(stage, "core"));
		uint32_t alike = 0;

		ret->no_fifo |= json_integer_value(json_object_get(stage, "fifo")) <= 0;
		ret->unpinned |= !json_is_integer(json_object_get(stage, "core")) || core < 0;
		json_array_foreach(stages, k, other) alike +=
			json_integer_value(json_object_get(other, "core")) == core;
		if (alike > ret->stages_per_core)
			ret->stages_per_core = alike;
	}
}

/* Batches whose work took more than 60 % of the stage time, all stages together. */
static double heavy_batches(const json_t *answer)
{
	const json_t *stage;
	double sum = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "stages"), i, stage) sum +=
		json_number_value(json_object_get(stage, "work_over_60_percent"));
	return sum;
}

static void read_outcome(const struct gw_cell *cell, const json_t *answer,
			 const struct gw_host_delta *host, struct gw_outcome *ret)
{
	const json_t *ttft = json_object_get(answer, "ttft_ms");
	const json_t *tpot = json_object_get(answer, "tpot_ms");
	const json_t *rtt_idle = json_object_get(answer, "rtt_idle_ms");
	const json_t *rtt_load = json_object_get(answer, "rtt_load_ms");
	double tokens = figure(answer, "checksum_tokens");

	ret->metrics[GW_METRIC_RATE] = figure(answer, "tokens_per_s");
	ret->metrics[GW_METRIC_TTFT_MEAN] = figure(ttft, "mean");
	ret->metrics[GW_METRIC_TTFT_P50] = figure(ttft, "p50");
	ret->metrics[GW_METRIC_TTFT_P99] = figure(ttft, "p99");
	ret->metrics[GW_METRIC_TPOT_MEAN] = figure(tpot, "mean");
	ret->metrics[GW_METRIC_TPOT_P50] = figure(tpot, "p50");
	ret->metrics[GW_METRIC_TPOT_P99] = figure(tpot, "p99");
	ret->metrics[GW_METRIC_GOODPUT] =
		cell->kind == GW_CELL_SERVE ? figure(answer, "goodput_per_s") : (double)NAN;
	ret->stage_s = figure(answer, "stage_time_ms") * 1e-3;
	ret->rtt_idle_s = figure(rtt_idle, "p50") * 1e-3;
	ret->rtt_load_s = figure(rtt_load, "mean") * 1e-3;
	ret->carry_s =
		figure(json_object_get(answer, "rtt_bulk_ms"), "p50") * 1e-3 - ret->rtt_idle_s;
	ret->stages_cpu_us = figure(answer, "cpu_us_per_token");
	ret->agents_cpu_us = host->agents_s * 1e6 / tokens;
	ret->emulator_cpu_us = host->emulator_s * 1e6 / tokens;
	ret->rtt_bulk_s = ret->carry_s + ret->rtt_idle_s;
	ret->retransmits = (uint64_t)figure(answer, "retransmits");
	read_places(json_object_get(answer, "stages"), ret);
}

static void add_reason(json_t *reasons, const char *text, double value)
{
	char sentence[160];

	(void)snprintf(sentence, sizeof(sentence), "%s (%.3g)", text, value);
	(void)json_array_append_new(reasons, json_string(sentence));
}

/* The rules that can be judged without the block's result. */
static void judge(const struct gw_side *side, const json_t *answer,
		  const struct gw_host_delta *host, struct gw_outcome *outcome, json_t *reasons)
{
	double heavy = heavy_batches(answer);

	outcome->overruns = (uint64_t)figure(answer, "overruns");
	outcome->frames = (uint64_t)figure(answer, "frames");
	if (host->steal_percent > STEAL_PERCENT_MAX)
		add_reason(reasons, "steal above 0.5 %", host->steal_percent);
	if (host->foreign_percent > FOREIGN_PERCENT_MAX)
		add_reason(reasons, "foreign CPU above 2 % of a core", host->foreign_percent);
	if (side->scale > 0 &&
	    (double)outcome->overruns > OVERRUN_SHARE_MAX * (double)outcome->frames)
		add_reason(reasons, "overruns above 0.1 % of batches", (double)outcome->overruns);
	if (side->scale > 0 && heavy >= HEAVY_MIN &&
	    heavy > HEAVY_SHARE_MAX * (double)outcome->frames)
		add_reason(reasons, "work above 60 % of the stage time in over 0.1 % of batches",
			   heavy);
	outcome->is_void = json_array_size(reasons) > 0;
}

static int block_error(struct gw_campaign *campaign, const char *text)
{
	(void)snprintf(campaign->error, sizeof(campaign->error), "%s", text);
	return -EIO;
}

int gw_runner_block(struct gw_campaign *campaign, const struct gw_cell *cell,
		    const struct gw_side *side, uint64_t number, json_t *blocks,
		    struct gw_outcome *ret, char *ret_checksum)
{
	char error[GW_CLIENT_ERROR_BYTES];
	struct gw_host_snapshot before;
	struct gw_host_snapshot after;
	struct gw_host_delta host;
	json_t *order = order_for(campaign, cell, side, number);
	json_t *reasons = json_array();
	json_t *links;
	json_t *answer;
	bool unfit = false;

	memset(ret, 0, sizeof(*ret));
	if (gw_host_snapshot(&before) < 0)
		return block_error(campaign, "/proc cannot be read");
	gw_wanlink_reset(campaign);
	answer = gw_client_ask(&side->ring->client, json_incref(order),
			       (int)(cell->block_s * 4e3) + ORDER_MARGIN_MS, error);
	links = side->emulated ? gw_wanlink_read(campaign, reasons, &unfit) : json_array();
	if (!answer || gw_host_snapshot(&after) < 0) {
		json_decref(order);
		json_decref(reasons);
		json_decref(links);
		return block_error(campaign, answer ? "/proc cannot be read" : error);
	}
	host = gw_host_delta(&before, &after);
	judge(side, answer, &host, ret, reasons);
	read_outcome(cell, answer, &host, ret);
	(void)snprintf(ret_checksum, 48, "%s/%.0f",
		       json_string_value(json_object_get(answer, "checksum")),
		       figure(answer, "checksum_tokens"));
	(void)json_array_append_new(
		blocks,
		json_pack("{s:s, s:s, s:f, s:b, s:o, s:o, s:o, s:o, s:o}", "cell", cell->name,
			  "site", side->site, "at_s", gw_campaign_now_s() - campaign->began_s,
			  "emulator_unfit", unfit, "void", reasons, "order", order, "answer",
			  answer, "host", gw_host_delta_json(&host), "links", links));
	return 0;
}

/* --- before a cell --- */

static int age(struct gw_campaign *campaign, const struct gw_cell *cell, const struct gw_side *side)
{
	struct gw_cell warm = {.kind = GW_CELL_RATE, .a = *side, .b = *side};
	struct gw_outcome outcome;
	char checksum[48];
	int r;

	if (side->ring->aged)
		return 0;
	(void)snprintf(warm.name, sizeof(warm.name), "ageing");
	warm.block_s = side->ring->age_s;
	warm.rtt_ms = cell->rtt_ms;
	r = gw_runner_block(campaign, &warm, side, 0, campaign->other_blocks, &outcome, checksum);
	side->ring->aged = r == 0;
	return r;
}

static int set_congestion(struct gw_campaign *campaign, struct gw_side *side, const char *name)
{
	char error[GW_CLIENT_ERROR_BYTES];
	json_t *answer;

	if (strcmp(side->ring->congestion, name) == 0)
		return 0;
	answer = gw_client_ask(&side->ring->client,
			       json_pack("{s:s, s:s}", "op", "congestion", "name", name),
			       ORDER_MARGIN_MS, error);
	if (!answer)
		return block_error(campaign, error);
	json_decref(answer);
	(void)snprintf(side->ring->congestion, sizeof(side->ring->congestion), "%s", name);
	side->ring->aged = false;
	return 0;
}

/* A falling delay reaches a congestion control at once, a rising one only after its memory of the
 * least delay (10 s in BBR) has passed; so quick campaigns, which run from the longest delay down,
 * age in full only for the first. */
static int set_links(struct gw_campaign *campaign, double rtt_ms, bool lossy)
{
	struct gw_ring_client *rings[] = {&campaign->cross, &campaign->cross_twin,
					  &campaign->cross_real};
	bool falling = campaign->rtt_ms >= rtt_ms;
	int r = gw_wanlink_set(campaign, rtt_ms, lossy);

	for (size_t i = 0; i < GW_ARRAY_COUNT(rings); i++) {
		rings[i]->aged = false;
		rings[i]->age_s = campaign->options.quick && falling
					  ? GW_CAMPAIGN_QUICK_AGE_S
					  : (double)campaign->options.age_us * 1e-6;
	}
	return r;
}

int gw_runner_prepare(struct gw_campaign *campaign, struct gw_cell *cell)
{
	bool lossy = cell->link_loss_percent > 0;
	int r = 0;

	if (campaign->rtt_ms < 0 || fabs(campaign->rtt_ms - cell->rtt_ms) > 1e-9 ||
	    campaign->lossy != lossy)
		r = set_links(campaign, cell->rtt_ms, lossy);
	if (r == 0)
		r = set_congestion(campaign, &cell->a, cell->congestion);
	if (r == 0)
		r = set_congestion(campaign, &cell->b, cell->congestion);
	if (r == 0)
		r = age(campaign, cell, &cell->a);
	if (r == 0)
		r = age(campaign, cell, &cell->b);
	return r;
}

/* --- pairs --- */

static void say(const struct gw_campaign *campaign, const struct gw_cell *cell,
		const struct gw_pair *pair)
{
	double spent_s = gw_campaign_now_s() - campaign->began_s;
	double left_s = campaign->planned_s - spent_s;
	enum gw_metric metric = cell->kind == GW_CELL_SERVE ? GW_METRIC_TPOT_MEAN : GW_METRIC_RATE;

	(void)fprintf(
		stderr, "%5.0f s  %-20s pair %2u/%-2u  A %9.2f  B %9.2f %s%s  (%.0f s left)\n",
		spent_s, cell->name, cell->pair_count, cell->pairs_wanted, pair->a.metrics[metric],
		pair->b.metrics[metric], cell->kind == GW_CELL_SERVE ? "ms/token" : "tokens/s",
		pair->a.is_void || pair->b.is_void ? "  void" : "", left_s > 0 ? left_s : 0);
}

/* Why the last two blocks are void, where they are. */
static void say_reasons(const struct gw_cell *cell)
{
	size_t count = json_array_size(cell->blocks);

	for (size_t i = count - 2; i < count; i++) {
		const json_t *block = json_array_get(cell->blocks, i);
		const json_t *reason = json_array_get(json_object_get(block, "void"), 0);

		if (reason)
			(void)fprintf(stderr, "         void, %s: %s\n",
				      json_string_value(json_object_get(block, "site")),
				      json_string_value(reason));
	}
}

/* Two adjacent blocks, B first if `swapped`. */
static int run_pair(struct gw_campaign *campaign, struct gw_cell *cell, bool swapped)
{
	struct gw_pair *pair = &cell->pairs[cell->pair_count];
	char checksum[2][48];
	int r = 0;

	for (int i = 0; i < 2 && r == 0; i++) {
		bool second = (i == 1) != swapped;

		r = gw_runner_block(campaign, cell, second ? &cell->b : &cell->a, cell->pair_count,
				    cell->blocks, second ? &pair->b : &pair->a, checksum[i]);
	}
	if (r < 0)
		return r;
	cell->pair_count++;
	cell->blocks_run += 2;
	cell->blocks_void += (uint32_t)pair->a.is_void + (uint32_t)pair->b.is_void;
	if (cell->a.scale > 0 && cell->a.groups * cell->a.batch == cell->b.groups * cell->b.batch) {
		cell->compared++;
		cell->differing += strcmp(checksum[0], checksum[1]) != 0;
	}
	say(campaign, cell, pair);
	say_reasons(cell);
	return 0;
}

static uint32_t valid_pairs(const struct gw_cell *cell)
{
	uint32_t valid = 0;

	for (uint32_t i = 0; i < cell->pair_count; i++)
		valid += !cell->pairs[i].a.is_void && !cell->pairs[i].b.is_void;
	return valid;
}

/* A quick campaign runs void pairs again only while most of its time is still before it. */
static bool may_replace(const struct gw_campaign *campaign)
{
	double spent_s = gw_campaign_now_s() - campaign->began_s;

	return !campaign->options.quick ||
	       spent_s < (double)campaign->options.budget_us * 1e-6 * QUICK_REPLACE_SHARE;
}

/* The number of pairs is fixed before; only void ones are run again, and only so many. */
static int run_pairs(struct gw_campaign *campaign, struct gw_cell *cell)
{
	uint32_t spare = cell->pairs_wanted / REPLACEMENT_SHARE;
	uint32_t most = cell->pairs_wanted + (spare > 0 ? spare : 1);
	bool swapped = false;
	int r = 0;

	CHECK(cell->pairs_wanted <= GW_CAMPAIGN_PAIRS_MAX);
	if (most > GW_CAMPAIGN_PAIRS_MAX)
		most = GW_CAMPAIGN_PAIRS_MAX;
	for (uint32_t i = 0; i < most && r == 0; i++) {
		if (*campaign->interrupted ||
		    (i >= cell->pairs_wanted &&
		     (valid_pairs(cell) >= cell->pairs_wanted || !may_replace(campaign))))
			break;
		/* ABBA or BAAB: the second pair of a quad mirrors the first */
		swapped = i % 2 == 0 ? gw_prng_below(&campaign->prng, 2) == 1 : !swapped;
		r = run_pair(campaign, cell, swapped);
	}
	return r;
}

static void note_unfit(struct gw_cell *cell)
{
	const json_t *block;
	size_t i;

	json_array_foreach(cell->blocks, i, block) cell->emulator_unfit |=
		json_is_true(json_object_get(block, "emulator_unfit"));
}

void gw_cell_deinit(struct gw_cell *cell)
{
	json_decref(cell->blocks);
	free(cell->pairs);
	cell->blocks = NULL;
	cell->pairs = NULL;
}

int gw_runner_cell(struct gw_campaign *campaign, struct gw_cell *cell)
{
	int r;

	cell->blocks = json_array();
	cell->pairs = calloc(GW_CAMPAIGN_PAIRS_MAX, sizeof(*cell->pairs));
	if (!cell->pairs)
		return -ENOMEM;
	if (cell->failed)
		return 0; /* the plan left it out */
	if (cell->a.ring->client.fd < 0 || cell->b.ring->client.fd < 0) {
		cell->failed = "the ring that it needs was not given";
		return 0;
	}
	if (*campaign->interrupted) {
		cell->failed = "the campaign was interrupted before it";
		return 0;
	}
	r = gw_runner_prepare(campaign, cell);
	if (r == -ENOTSUP) {
		cell->failed = "there is no link emulator to set the delay";
		return 0;
	}
	if (r == 0)
		r = run_pairs(campaign, cell);
	note_unfit(cell);
	return r;
}
