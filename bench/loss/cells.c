/*
 * What a campaign measures: the pilot that fixes the number of pairs, the plan of cells (from the
 * longest delay down, so that no congestion control remembers a shorter one), and the sweep of m.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/loss/campaign.h"
#include "bench/loss/model.h"
#include "proto/base/check.h"

#define PILOT_PAIRS 4u
#define LOSSES_PLANNED 30.0 /* of data; lost acknowledgements come on top */
#define SEGMENT_BYTES 1428.0
#define CLAIM_PAIRS 0u /* in a plan: as many as a claim needs */
#define PILOT_BLOCK_S 5.0
#define BLOCK_OVERHEAD_S 0.8 /* prefill, idle probes, the pipe's filling and emptying */
#define GROUPS_SWEPT 4u      /* m = S .. S + 3 */
#define GROUPS_MAX 16u
#define SWEEP_BATCH 30u
#define SWEEP_BLOCK_S 5.0
#define OUTPUT_TOKENS_MEAN ((GW_CAMPAIGN_OUTPUT_MIN + GW_CAMPAIGN_OUTPUT_MAX) / 2.0)
#define QUICK_PAIRS 2u      /* of the headline, its baselines and REAL: one quad */
#define SERVE_BLOCKS 1.5    /* a serving block lasts so many blocks in a quick campaign */
#define SERVE_WARM 1.3      /* with its arrivals before and after the measured ones */
#define SERVE_DRAIN_S 4.0   /* until the last request is answered */
#define QUICK_SWEEP_S 90.0  /* the least budget that has room for the sweep of m */
#define QUICK_BLOCK_S 1.0   /* the shortest block */
#define REAL_OVERHEAD_S 3.0 /* more of an unpaced block: its prompts take their real time */
#define SWEEP_TRIES 3u      /* of a block of the sweep that is void */
#define REAL_PROBE_BATCH 32u

/* What a short budget keeps longest comes first. */
enum weight {
	WEIGHT_HEADLINE,
	WEIGHT_ZERO,
	WEIGHT_SERVE,
	WEIGHT_CONTROL,
	WEIGHT_SWEEP,
	WEIGHT_NULL,
	WEIGHT_REAL,
	WEIGHT_BESIDE,
};

/* Whether a name is on the list of cells that were asked for; no list asks for all. */
static bool chosen(const struct gw_campaign *c, const char *name)
{
	size_t length = strlen(name);
	const char *at = c->options.cells;

	if (!at || !at[0])
		return true;
	for (;;) {
		size_t word = strcspn(at, ",");

		if (word == length && memcmp(at, name, length) == 0)
			return true;
		if (at[word] == '\0')
			return false;
		at += word + 1;
	}
}

/* Whether there is time for the sweep of m. */
static bool sweeps(const struct gw_campaign *c)
{
	return chosen(c, "group_sweep") &&
	       (!c->options.quick || (double)c->options.budget_us * 1e-6 >= QUICK_SWEEP_S);
}

static bool is_headline(const struct gw_campaign *c, double rtt_ms)
{
	return fabs(rtt_ms - c->options.headline_ms) < 1e-9;
}

static struct gw_side side(struct gw_campaign *c, struct gw_ring_client *ring, double scale)
{
	bool emulated = ring != &c->single && ring != &c->single_real;

	return (struct gw_side){.ring = ring,
				.site = emulated ? "cross" : "single",
				.scale = scale,
				.emulated = emulated && c->options.emulator};
}

/* The best (m, b) under the memory that the ring has, at a loop delay. */
static void shape(const struct gw_campaign *c, struct gw_side *s, double rtt_ms)
{
	struct gw_theory theory = {.stages = s->ring->stages, .loop_rtt_s = rtt_ms * 1e-3};
	uint32_t batch_max = s->ring->rows;

	gw_theory_best(&theory, &c->accelerator, s->ring->slots, batch_max, GROUPS_MAX);
	s->groups = theory.groups;
	s->batch = theory.batch;
	if (c->options.batch > 0) {
		s->groups = s->ring->stages;
		s->batch = (uint32_t)c->options.batch;
	}
}

static struct gw_cell *add(struct gw_campaign *c, enum weight weight, double rtt_ms,
			   struct gw_side a, struct gw_side b, uint32_t pairs)
{
	struct gw_cell *cell = &c->cells[c->cell_count++];

	CHECK(c->cell_count <= GW_CAMPAIGN_CELLS_MAX);
	cell->kind = GW_CELL_RATE;
	cell->weight = (int)weight;
	cell->rtt_ms = rtt_ms;
	cell->a = a;
	cell->b = b;
	cell->congestion = c->options.congestion;
	cell->pairs_wanted = pairs;
	cell->claims = !c->options.quick && pairs == CLAIM_PAIRS;
	if (pairs == CLAIM_PAIRS)
		cell->pairs_wanted = c->options.quick ? QUICK_PAIRS : (uint32_t)c->options.pairs;
	cell->block_s = (double)c->options.block_us * 1e-6;
	return cell;
}

static void name(struct gw_cell *cell, const char *suffix)
{
	(void)snprintf(cell->name, sizeof(cell->name), "%gkm%s",
		       cell->rtt_ms * GW_CAMPAIGN_KM_PER_RTT_MS, suffix);
}

/* The single site against the ring across, each with its best m. */
static void plan_distance(struct gw_campaign *c, double rtt_ms)
{
	struct gw_side a = side(c, &c->single, 1);
	struct gw_side b = side(c, &c->cross, 1);
	bool headline = is_headline(c, rtt_ms);
	uint32_t sweep_pairs = c->options.quick ? 1 : (uint32_t)c->options.sweep_pairs;
	bool brief = c->options.quick && !sweeps(c);
	uint32_t pairs = headline || (rtt_ms <= 0 && !brief) ? CLAIM_PAIRS : sweep_pairs;
	enum weight weight = headline ? WEIGHT_HEADLINE : rtt_ms <= 0 ? WEIGHT_ZERO : WEIGHT_SWEEP;

	shape(c, &a, 0);
	shape(c, &b, rtt_ms);
	name(add(c, weight, rtt_ms, a, b, pairs), "");
	if (a.groups == b.groups && a.batch == b.batch)
		return;
	b.groups = a.groups;
	b.batch = a.batch;
	name(add(c, WEIGHT_BESIDE, rtt_ms, a, b, pairs), "_equal");
}

/* The same ring beside itself, its stage time raised by `scale`: what is put in must be read. */
static void plan_control(struct gw_campaign *c, const char *title, double scale)
{
	struct gw_side a = side(c, c->cross.client.fd >= 0 ? &c->cross : &c->single, 1);
	struct gw_side b = a;
	struct gw_cell *cell;

	shape(c, &a, 0);
	shape(c, &b, 0);
	b.scale = scale;
	cell = add(c, WEIGHT_CONTROL, 0, a, b, c->options.quick ? 1 : CLAIM_PAIRS);
	(void)snprintf(cell->name, sizeof(cell->name), "%s", title);
}

/* The headline with the links' own loss, and as many pairs as enough losses take. */
static void plan_lossy(struct gw_campaign *c, double rtt_ms)
{
	struct gw_side a = side(c, &c->single, 1);
	struct gw_side b = side(c, &c->cross, 1);
	double hidden = json_number_value(
		json_object_get(json_object_get(c->single.info, "model"), "hidden"));
	struct gw_theory theory = {.stages = c->cross.stages, .loop_rtt_s = rtt_ms * 1e-3};
	struct gw_cell *cell;
	double packets_per_s;
	double pairs;

	shape(c, &a, 0);
	shape(c, &b, rtt_ms);
	theory.groups = b.groups;
	theory.batch = b.batch;
	theory.stage_s = gw_accelerator_stage_s(&c->accelerator, b.batch, b.batch);
	packets_per_s = gw_theory_rate(&theory) / b.batch * b.ring->stages *
			ceil(2 * hidden * b.batch / SEGMENT_BYTES);
	cell = add(c, WEIGHT_BESIDE, rtt_ms, a, b, 1);
	name(cell, "_lossy");
	cell->link_loss_percent = gw_wanlink_own_loss_percent(c);
	pairs = ceil(LOSSES_PLANNED /
		     (packets_per_s * cell->link_loss_percent / 100 * cell->block_s));
	if (cell->link_loss_percent <= 0)
		cell->failed = "its links have no random loss of their own";
	else if (!(pairs <= GW_CAMPAIGN_PAIRS_MAX))
		cell->failed = "its links lose so little that 64 pairs would not see 30 losses";
	else if (!c->options.quick)
		cell->pairs_wanted = pairs > (double)c->options.pairs ? (uint32_t)pairs
								      : (uint32_t)c->options.pairs;
}

static void plan_headline(struct gw_campaign *c, double rtt_ms)
{
	bool twin = c->cross_twin.client.fd >= 0;
	struct gw_side a = side(c, &c->cross, 1);
	struct gw_side b = side(c, twin ? &c->cross_twin : &c->cross, 1);
	struct gw_theory theory = {.stages = c->single.stages};
	struct gw_cell *cell;

	shape(c, &a, rtt_ms);
	shape(c, &b, rtt_ms);
	cell = add(c, WEIGHT_NULL, rtt_ms, a, b, CLAIM_PAIRS);
	(void)snprintf(cell->name, sizeof(cell->name), "control_null");

	b = a;
	a = side(c, &c->single, 1);
	shape(c, &a, 0);
	cell = add(c, WEIGHT_SERVE, rtt_ms, a, b, c->options.quick ? 1 : CLAIM_PAIRS);
	name(cell, "_serve");
	cell->kind = GW_CELL_SERVE;
	cell->block_s *= c->options.quick ? SERVE_BLOCKS : 1;
	theory.groups = a.groups;
	theory.batch = a.batch;
	theory.stage_s = gw_accelerator_stage_s(&c->accelerator, a.batch, a.batch);
	cell->rate_per_s = c->options.load * gw_theory_rate(&theory) / OUTPUT_TOKENS_MEAN;

	if (c->options.congestion_beside && c->options.congestion_beside[0] && !c->options.quick) {
		cell = add(c, WEIGHT_BESIDE, rtt_ms, a, b, (uint32_t)c->options.sweep_pairs);
		name(cell, "_beside");
		cell->congestion = c->options.congestion_beside;
	}
}

/* Unpaced, two stages, a core each; b is set by shape_real once the machine's speed is known. */
static void plan_real(struct gw_campaign *c, double rtt_ms)
{
	struct gw_side a = side(c, &c->single_real, 0);
	struct gw_side b = side(c, &c->cross_real, 0);

	a.groups = b.groups = a.ring->stages;
	a.batch = b.batch = 1;
	name(add(c, WEIGHT_REAL, rtt_ms, a, b, CLAIM_PAIRS), "_real");
}

static void plan(struct gw_campaign *c)
{
	for (uint32_t i = c->rtt_count; i-- > 0;) {
		double rtt_ms = c->rtts_ms[i];

		plan_distance(c, rtt_ms);
		if (is_headline(c, rtt_ms)) {
			plan_headline(c, rtt_ms);
			if (c->options.lossy)
				plan_lossy(c, rtt_ms);
			plan_real(c, rtt_ms);
		}
	}
	plan_control(c, "control_1pct", 1.01);
	plan_control(c, "control_3pct", 1.03);
}

/* Every word of --cells must name a cell: a slip would cost a whole campaign. */
static int check_chosen(struct gw_campaign *c)
{
	const char *at = c->options.cells ? c->options.cells : "";

	while (*at) {
		size_t length = strcspn(at, ",");
		bool known =
			length == strlen("group_sweep") && memcmp(at, "group_sweep", length) == 0;

		for (uint32_t i = 0; i < c->cell_count && !known; i++)
			known = strlen(c->cells[i].name) == length &&
				memcmp(at, c->cells[i].name, length) == 0;
		if (!known) {
			(void)snprintf(c->error, sizeof(c->error),
				       "--cells: no cell of this campaign is called '%.*s'",
				       (int)(length < 40 ? length : 40), at);
			return -EINVAL;
		}
		at += at[length] ? length + 1 : length;
	}
	return 0;
}

/* --- time --- */

/* Delays that some cell still visits. */
static uint32_t visits(const struct gw_campaign *c)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < c->cell_count; i++) {
		bool seen = c->cells[i].failed != NULL;

		for (uint32_t k = 0; k < i && !seen; k++)
			seen = !c->cells[k].failed &&
			       fabs(c->cells[k].rtt_ms - c->cells[i].rtt_ms) < 1e-9;
		count += !seen;
	}
	return count;
}

static double ageing_s(const struct gw_campaign *c)
{
	double age_s = (double)c->options.age_us * 1e-6 + BLOCK_OVERHEAD_S;
	double fall_s = GW_CAMPAIGN_QUICK_AGE_S + BLOCK_OVERHEAD_S;

	return c->options.quick ? age_s + fall_s * visits(c) : age_s * (visits(c) + 4);
}

/* Seconds of the whole campaign if an ordinary block took `block_s`; 0: as the cells are planned.
 */
static double total_s(const struct gw_campaign *c, double block_s)
{
	double swept_s = block_s > 0 && block_s < SWEEP_BLOCK_S ? block_s : SWEEP_BLOCK_S;
	double sum = ageing_s(c);

	if (sweeps(c))
		sum += (GROUPS_SWEPT + 4) * (swept_s + BLOCK_OVERHEAD_S);
	for (uint32_t i = 0; i < c->cell_count; i++) {
		const struct gw_cell *cell = &c->cells[i];
		bool serve = cell->kind == GW_CELL_SERVE;
		bool real = cell->a.scale <= 0;
		double one_s = block_s > 0 ? block_s * (serve ? SERVE_BLOCKS : 1) : cell->block_s;

		if (cell->failed)
			continue;
		one_s = BLOCK_OVERHEAD_S + (real ? REAL_OVERHEAD_S : 0) +
			(serve ? one_s * SERVE_WARM + SERVE_DRAIN_S : one_s);
		sum += 2 * cell->pairs_wanted * one_s + (real ? 2 * one_s : 0);
	}
	return sum;
}

static struct gw_cell *heaviest(struct gw_campaign *c)
{
	struct gw_cell *found = NULL;

	for (uint32_t i = 0; i < c->cell_count; i++)
		if (!c->cells[i].failed && (!found || c->cells[i].weight > found->weight))
			found = &c->cells[i];
	return found;
}

/* A quick campaign is told how long it may take: what does not fit is left out, said so, and the
 * rest shares the time. */
static void fit_budget(struct gw_campaign *c)
{
	double budget_s = (double)c->options.budget_us * 1e-6;
	double block_s = 10;
	struct gw_cell *last = heaviest(c);

	while (last && last->weight > WEIGHT_ZERO && total_s(c, QUICK_BLOCK_S) > budget_s) {
		last->failed = "left out: the budget of this quick campaign is too short";
		last = heaviest(c);
	}
	while (block_s > QUICK_BLOCK_S && total_s(c, block_s) > budget_s)
		block_s -= 0.1;
	c->options.block_us = (uint64_t)(block_s * 1e6);
	for (uint32_t i = 0; i < c->cell_count; i++)
		c->cells[i].block_s =
			block_s * (c->cells[i].kind == GW_CELL_SERVE ? SERVE_BLOCKS : 1);
}

/* What will not run, and why. */
static void leave_out(struct gw_campaign *c)
{
	for (uint32_t i = 0; i < c->cell_count; i++) {
		struct gw_cell *cell = &c->cells[i];

		if (cell->failed)
			continue; /* its plan says why */
		if (!chosen(c, cell->name))
			cell->failed = "not chosen in this campaign";
		else if (cell->a.ring->client.fd < 0 || cell->b.ring->client.fd < 0)
			cell->failed = "the ring that it needs was not given";
		else if (cell->rtt_ms > 0 && !c->options.emulator && !c->options.simulate)
			cell->failed = "there is no link emulator to set the delay";
	}
	if (c->options.quick)
		fit_budget(c);
}

static void say_plan(struct gw_campaign *c)
{
	const struct gw_cell *first = &c->cells[0];
	bool pilot_ahead = !c->options.quick && !c->pilot;
	uint32_t cells = 0;

	for (uint32_t i = 0; i < c->cell_count; i++)
		cells += c->cells[i].failed == NULL;
	c->planned_s = gw_campaign_now_s() - c->began_s +
		       total_s(c, c->options.quick ? (double)c->options.block_us * 1e-6 : 0) +
		       (pilot_ahead ? 2 * PILOT_PAIRS * (PILOT_BLOCK_S + BLOCK_OVERHEAD_S) : 0);
	(void)fprintf(stderr, "campaign: %u cells of %u, about %.0f min %02.0f s, seed %llu%s\n",
		      cells, c->cell_count, floor(c->planned_s / 60), fmod(c->planned_s, 60),
		      (unsigned long long)c->options.seed,
		      c->options.quick ? " (quick: carries no claim)" : "");
	(void)fprintf(stderr,
		      "stage: %.1f GB of weights, N = %u sequences, b = %u: t = %.2f ms; S = %u\n",
		      c->accelerator.layers_held * gw_accelerator_weight_bytes(&c->accelerator) /
			      1e9,
		      c->single.slots, first->a.batch,
		      gw_accelerator_stage_s(&c->accelerator, first->a.batch, first->a.batch) * 1e3,
		      c->single.stages);
	for (uint32_t i = 0; i < c->cell_count; i++) {
		const struct gw_cell *cell = &c->cells[i];

		if (cell->failed)
			continue;
		(void)fprintf(
			stderr,
			"  %-14s R %4.1f ms  m %u/%u  b %u/%u  %u pairs of %.1f s blocks  %s\n",
			cell->name, cell->rtt_ms, cell->a.groups, cell->b.groups, cell->a.batch,
			cell->b.batch, cell->pairs_wanted, cell->block_s, cell->congestion);
	}
}

/* --- the pilot --- */

/* A/A pairs in the single site: their spread fixes the number of pairs before anything else. */
static int run_pilot(struct gw_campaign *c)
{
	struct gw_cell pilot = {.name = "pilot",
				.a = side(c, &c->single, 1),
				.congestion = c->options.congestion,
				.pairs_wanted = PILOT_PAIRS,
				.block_s = PILOT_BLOCK_S};
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	double sd_points;
	uint32_t needed;
	int r;

	shape(c, &pilot.a, 0);
	pilot.b = pilot.a;
	r = gw_runner_cell(c, &pilot);
	if (r == 0) {
		sd_points =
			100 * gw_stats_sd(ratios, gw_cell_ratios(&pilot, GW_METRIC_RATE, ratios));
		needed = gw_stats_pairs(sd_points, GW_CAMPAIGN_CLAIM_PAIRS);
		(void)fprintf(stderr, "pilot: spread %.3f points, %u pairs needed\n", sd_points,
			      needed);
		c->pairs_needed = needed;
		if (needed > c->options.pairs)
			c->options.pairs =
				needed < GW_CAMPAIGN_PAIRS_MAX ? needed : GW_CAMPAIGN_PAIRS_MAX;
		c->pilot = json_pack("{s:f, s:I, s:I, s:O}", "sd_points", sd_points, "pairs_needed",
				     (json_int_t)needed, "pairs_used", (json_int_t)c->options.pairs,
				     "blocks", pilot.blocks);
	}
	gw_cell_deinit(&pilot);
	return r;
}

/* --- REAL's batch --- */

/* b so that the unpaced ring's loop takes as long as the paced one's: the same distance then costs
 * both the same share, and the two figures can stand beside each other. */
static int shape_real(struct gw_campaign *c, struct gw_cell *cell)
{
	struct gw_side probe = cell->a;
	struct gw_cell warm = {.name = "real_speed", .kind = GW_CELL_RATE};
	double wanted_s;
	struct gw_outcome outcome;
	char checksum[48];
	uint32_t most = cell->a.ring->slots / cell->a.groups;
	double batch;
	int r;

	if (cell->a.ring->client.fd < 0 || cell->b.ring->client.fd < 0)
		return 0; /* the runner says so */
	probe.batch = REAL_PROBE_BATCH;
	warm.a = warm.b = probe;
	warm.block_s = 2;
	r = gw_runner_block(c, &warm, &probe, 0, c->other_blocks, &outcome, checksum);
	if (r < 0)
		return r;
	wanted_s =
		c->single.stages *
		gw_accelerator_stage_s(&c->accelerator, c->cells[0].a.batch, c->cells[0].a.batch) /
		cell->a.ring->stages;
	batch = REAL_PROBE_BATCH * wanted_s / outcome.stage_s;
	if (most > cell->a.ring->rows)
		most = cell->a.ring->rows;
	batch = floor(batch / GW_MODEL_TILE_ROWS) * GW_MODEL_TILE_ROWS;
	cell->a.batch = batch < 1 ? 1 : batch < most ? (uint32_t)batch : most;
	cell->b.batch = cell->a.batch;
	return 0;
}

/* --- the sweep of m --- */

static int sweep_one(struct gw_campaign *c, struct gw_ring_client *ring, uint32_t groups,
		     uint32_t batch, struct gw_outcome *ret)
{
	struct gw_cell cell = {.name = "group_sweep",
			       .kind = GW_CELL_RATE,
			       .a = side(c, ring, 1),
			       .rtt_ms = c->rtt_ms,
			       .congestion = c->options.congestion};
	double block_s = (double)c->options.block_us * 1e-6;
	uint32_t tries = c->options.quick ? 1 : SWEEP_TRIES;
	char checksum[48];
	int r = 0;

	cell.a.groups = groups;
	cell.a.batch = batch;
	cell.b = cell.a;
	cell.block_s = block_s < SWEEP_BLOCK_S ? block_s : SWEEP_BLOCK_S;
	for (uint32_t i = 0; i < tries && r == 0 && (i == 0 || ret->is_void); i++)
		r = gw_runner_block(c, &cell, &cell.a, 0, c->other_blocks, ret, checksum);
	return r;
}

static json_t *sweep_row(const struct gw_campaign *c, const struct gw_outcome *one,
			 const struct gw_theory *theory, const struct gw_outcome *single,
			 const char *memory)
{
	double rate = one->metrics[GW_METRIC_RATE];
	double single_rate = single->metrics[GW_METRIC_RATE];

	return json_pack("{s:i, s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:b}", "m",
			 (int)theory->groups, "b", (int)theory->batch, "memory", memory,
			 "tokens_per_s", rate, "loss_percent", 100 * (1 - rate / single_rate),
			 "theory_percent", gw_theory_loss_percent(theory, single_rate),
			 "stage_time_ms", one->stage_s * 1e3, "rtt_load_ms", one->rtt_load_s * 1e3,
			 "rtt_ms_asked", c->rtt_ms, "void", one->is_void || single->is_void);
}

/* One row of the sweep: the ring across at (m, b). */
static int sweep_row_add(struct gw_campaign *c, uint32_t groups, uint32_t batch,
			 const struct gw_outcome *single, const char *memory)
{
	struct gw_outcome one;
	struct gw_theory theory = {.stages = c->cross.stages, .groups = groups, .batch = batch};
	int r = sweep_one(c, &c->cross, groups, batch, &one);

	if (r < 0)
		return r;
	theory.stage_s = one.stage_s;
	theory.loop_rtt_s = one.rtt_load_s + one.carry_s;
	(void)json_array_append_new(c->group_sweep, sweep_row(c, &one, &theory, single, memory));
	return 0;
}

/* At the headline's delay: m = S .. S + 3 at one b ("more memory" past S), then at full memory. */
static int sweep_groups(struct gw_campaign *c)
{
	uint32_t stages = c->single.stages;
	uint32_t most = c->single.slots / (stages + GROUPS_SWEPT - 1);
	uint32_t batch = most < SWEEP_BATCH ? most : SWEEP_BATCH;
	uint32_t full = c->single.slots / stages;
	struct gw_outcome single;
	int r = 0;

	if (batch == 0 || c->cross.client.fd < 0)
		return 0;
	r = sweep_one(c, &c->single, stages, batch, &single);
	for (uint32_t i = 0; i < GROUPS_SWEPT && r == 0 && !*c->interrupted; i++)
		r = sweep_row_add(c, stages + i, batch, &single, i == 0 ? "equal" : "more");
	if (full > c->single.rows)
		full = c->single.rows;
	if (r == 0)
		r = sweep_one(c, &c->single, stages, full, &single);
	for (uint32_t i = 0; i < 2 && r == 0 && !*c->interrupted; i++)
		r = sweep_row_add(c, stages + i,
				  c->single.slots / (stages + i) < full
					  ? c->single.slots / (stages + i)
					  : full,
				  &single, "full, equal");
	return r;
}

int gw_cells_run(struct gw_campaign *c)
{
	int r = 0;

	c->began_s = gw_campaign_now_s();
	plan(c);
	r = check_chosen(c);
	leave_out(c);
	if (r == 0)
		say_plan(c);
	if (r == 0 && !c->options.quick) {
		r = run_pilot(c);
		for (uint32_t i = 0; i < c->cell_count; i++)
			if (c->cells[i].claims || (c->cells[i].link_loss_percent > 0 &&
						   c->cells[i].pairs_wanted < c->options.pairs))
				c->cells[i].pairs_wanted = (uint32_t)c->options.pairs;
		say_plan(c);
	}
	for (uint32_t i = 0; i < c->cell_count; i++) {
		struct gw_cell *cell = &c->cells[i];

		if (r < 0 && !cell->failed)
			cell->failed = "the campaign broke off before it";
		if (r == 0 && cell->a.ring == &c->single_real && !cell->failed)
			r = shape_real(c, cell);
		if (r == 0)
			r = gw_runner_cell(c, cell);
		if (r == 0 && cell->failed)
			(void)fprintf(stderr, "%s: not run: %s\n", cell->name, cell->failed);
		if (r == 0 && cell->weight == WEIGHT_HEADLINE && !cell->failed && sweeps(c) &&
		    !*c->interrupted)
			r = sweep_groups(c);
	}
	return r;
}
