/* The campaign as JSON: rows of the bench form, and everything that they come from. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/loss/campaign.h"

#define THEORY_POINTS_MAX 1.0
#define SIDE_MEAN(cell, b, field) gw_cell_mean(cell, b, offsetof(struct gw_outcome, field))

static const char *const metric_names[GW_METRIC_COUNT] = {
	"tokens_per_s", "ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms",
	"tpot_mean_ms", "tpot_p50_ms",  "tpot_p99_ms", "goodput_per_s"};

/* JSON knows no NAN. */
static json_t *real_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static void beside(json_t *list, const char *name, double value)
{
	(void)json_array_append_new(
		list, json_pack("{s:s, s:o}", "name", name, "value", real_or_null(value)));
}

static void beside_text(json_t *list, const char *name, const char *value)
{
	(void)json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "value", value));
}

static json_t *estimate_json(const struct gw_estimate *e)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "mean", real_or_null(e->mean),
			 "low", real_or_null(e->low), "high", real_or_null(e->high), "median",
			 real_or_null(e->median), "median_low", real_or_null(e->median_low),
			 "median_high", real_or_null(e->median_high), "sd", real_or_null(e->sd),
			 "pairs", (json_int_t)e->count);
}

static double mean_of(const struct gw_cell *cell, bool b, enum gw_metric metric)
{
	return gw_cell_mean(cell, b,
			    offsetof(struct gw_outcome, metrics) + metric * sizeof(double));
}

static struct gw_theory theory_of(const struct gw_cell *cell)
{
	return (struct gw_theory){
		.stages = cell->b.ring->stages,
		.groups = cell->b.groups,
		.batch = cell->b.batch,
		.stage_s = SIDE_MEAN(cell, true, stage_s),
		.loop_rtt_s = SIDE_MEAN(cell, true, rtt_load_s) + SIDE_MEAN(cell, true, carry_s),
	};
}

static double theory_percent(const struct gw_cell *cell)
{
	struct gw_theory theory = theory_of(cell);

	return gw_theory_loss_percent(&theory, mean_of(cell, false, GW_METRIC_RATE));
}

/* REAL and PACED against each other, as measured: NULL, or why not. */
static const char *real_disagrees(const struct gw_campaign *campaign)
{
	char name[32];
	const struct gw_cell *paced;
	const struct gw_cell *real;
	struct gw_estimate p;
	struct gw_estimate r;

	(void)snprintf(name, sizeof(name), "%gkm",
		       campaign->options.headline_ms * GW_CAMPAIGN_KM_PER_RTT_MS);
	paced = gw_campaign_cell(campaign, name);
	(void)snprintf(name, sizeof(name), "%gkm_real",
		       campaign->options.headline_ms * GW_CAMPAIGN_KM_PER_RTT_MS);
	real = gw_campaign_cell(campaign, name);
	if (!paced || !real)
		return "there is no REAL figure to stand beside it";
	p = gw_cell_loss(campaign, paced);
	r = gw_cell_loss(campaign, real);
	if (!isfinite(p.mean) || !isfinite(r.mean))
		return "there is no REAL figure to stand beside it";
	if (fabs(r.mean - p.mean) > hypot((p.high - p.low) / 2, (r.high - r.low) / 2))
		return "PACED and REAL disagree beyond their joint interval";
	return NULL;
}

static const char *no_claim(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	const char *why = gw_cell_no_claim(campaign, cell);

	if (why || cell->kind != GW_CELL_RATE || cell->a.ring == cell->b.ring || cell->a.scale <= 0)
		return why;
	if (fabs(gw_cell_loss(campaign, cell).mean - theory_percent(cell)) > THEORY_POINTS_MAX)
		return "it is more than 1 point off theory";
	return NULL;
}

/* Over all its blocks, void ones too. */
static uint64_t retransmits(const struct gw_cell *cell, bool b)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < cell->pair_count; i++)
		sum += b ? cell->pairs[i].b.retransmits : cell->pairs[i].a.retransmits;
	return sum;
}

/* What each row of a cell shows: mode, shapes, times, costs. */
static json_t *cell_beside(const struct gw_cell *cell)
{
	json_t *list = json_array();

	beside_text(list, "mode", cell->a.scale > 0 ? "paced" : "real");
	beside_text(list, "congestion", cell->congestion);
	beside(list, "rtt_asked_ms", cell->rtt_ms);
	beside(list, "link_loss_asked_percent", cell->link_loss_percent);
	beside(list, "rtt_idle_ms", SIDE_MEAN(cell, true, rtt_idle_s) * 1e3);
	beside(list, "rtt_load_ms", SIDE_MEAN(cell, true, rtt_load_s) * 1e3);
	beside(list, "rtt_bulk_ms", SIDE_MEAN(cell, true, rtt_bulk_s) * 1e3);
	beside(list, "rtt_bulk_single_ms", SIDE_MEAN(cell, false, rtt_bulk_s) * 1e3);
	beside(list, "carry_ms", SIDE_MEAN(cell, true, carry_s) * 1e3);
	beside(list, "rtt_idle_single_ms", SIDE_MEAN(cell, false, rtt_idle_s) * 1e3);
	beside(list, "stages", cell->b.ring->stages);
	beside(list, "m_single", cell->a.groups);
	beside(list, "b_single", cell->a.batch);
	beside(list, "m_cross", cell->b.groups);
	beside(list, "b_cross", cell->b.batch);
	beside(list, "slots", cell->b.ring->slots);
	beside(list, "stage_time_ms", SIDE_MEAN(cell, true, stage_s) * 1e3);
	beside(list, "stages_per_core", SIDE_MEAN(cell, true, stages_per_core));
	beside(list, "retransmits_single", (double)retransmits(cell, false));
	beside(list, "retransmits_cross", (double)retransmits(cell, true));
	beside(list, "stages_cpu_us_per_token", SIDE_MEAN(cell, true, stages_cpu_us));
	beside(list, "agents_cpu_us_per_token", SIDE_MEAN(cell, true, agents_cpu_us));
	beside(list, "emulator_cpu_us_per_token", SIDE_MEAN(cell, true, emulator_cpu_us));
	return list;
}

/* One row; `value` NAN gives null, then `why` must say why. */
struct row {
	const char *name;
	const char *unit;
	const char *better;
	double value;
	double low;
	double high;
	double bar;  /* NAN: none */
	bool judged; /* `holds` counts although there is no bar */
	bool holds;  /* null wherever there is a `why` */
	size_t runs;
	const char *why;
	json_t *beside; /* taken over; NULL: none */
};

static void row_add(json_t *rows, const struct row *row)
{
	bool known = isfinite(row->value);
	json_t *object = json_pack(
		"{s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I}", "name", row->name, "value",
		real_or_null(row->value), "unit", row->unit, "better", row->better, "bar",
		real_or_null(row->bar), "holds",
		known && !row->why && (isfinite(row->bar) || row->judged) ? json_boolean(row->holds)
									  : json_null(),
		"beside", row->beside ? row->beside : json_array(), "min",
		known ? real_or_null(row->low) : json_null(), "max",
		known ? real_or_null(row->high) : json_null(), "runs", (json_int_t)row->runs);

	(void)json_object_set_new(object, "claim", json_boolean(known && !row->why));
	if (!known || row->why)
		(void)json_object_set_new(
			object, "why",
			json_string(row->why ? row->why : "there is nothing to compute it from"));
	(void)json_array_append_new(rows, object);
}

static void row_missing(json_t *rows, const char *name, const char *unit, const char *why)
{
	const struct row row = {.name = name,
				.unit = unit,
				.better = "lower",
				.value = (double)NAN,
				.bar = (double)NAN,
				.why = why};

	row_add(rows, &row);
}

/* Against each baseline by itself, and in goodput: what the row's own value is chosen from. */
static void loss_beside(const struct gw_campaign *campaign, const struct gw_cell *cell,
			json_t *list)
{
	const struct gw_cell *zero = gw_campaign_cell(campaign, "0km");
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	struct gw_theory theory = theory_of(cell);
	double single = mean_of(cell, false, GW_METRIC_RATE);
	double to_zero =
		zero && cell->a.ring == &campaign->single
			? mean_of(zero, true, GW_METRIC_RATE) / mean_of(zero, false, GW_METRIC_RATE)
			: (double)NAN;
	double rate = mean_of(cell, true, GW_METRIC_RATE);
	size_t count = gw_cell_ratios(cell, GW_METRIC_RATE, ratios);

	beside(list, "median", -100 * expm1(gw_stats_percentile(ratios, count, 0.5)));
	beside(list, "theory_percent", gw_theory_loss_percent(&theory, single));
	beside(list, "single_tokens_per_s", single);
	beside(list, "cross_tokens_per_s", rate);
	beside(list, "against_plain_veth_percent", 100 * (1 - rate / single));
	beside(list, "against_emulator_at_zero_percent", 100 * (1 - rate / (single * to_zero)));
	beside(list, "tpot_single_ms", mean_of(cell, false, GW_METRIC_TPOT_MEAN));
	beside(list, "tpot_cross_ms", mean_of(cell, true, GW_METRIC_TPOT_MEAN));
}

/* The loss of the cell that is called like the headline's with a suffix, beside it. */
static void beside_cell(const struct gw_campaign *campaign, const char *headline,
			const char *suffix, json_t *list)
{
	const struct gw_cell *cell;
	struct gw_estimate loss;
	char name[64];

	(void)snprintf(name, sizeof(name), "%s%s", headline, suffix);
	cell = gw_campaign_cell(campaign, name);
	if (!cell || cell->failed) {
		beside_text(list, name, "not run");
		return;
	}
	loss = gw_cell_loss(campaign, cell);
	(void)snprintf(name, sizeof(name), "%s%s_%s_percent", headline, suffix, cell->congestion);
	beside(list, name, loss.mean);
}

static void loss_row(const struct gw_campaign *campaign, double km, json_t *rows)
{
	const struct gw_cell *cell;
	struct gw_estimate loss;
	struct row row;
	char name[64];
	char cell_name[32];
	bool headline = fabs(km - campaign->options.headline_ms * GW_CAMPAIGN_KM_PER_RTT_MS) < 1e-6;

	(void)snprintf(cell_name, sizeof(cell_name), "%gkm", km);
	(void)snprintf(name, sizeof(name), "loss.%gkm.percent", km);
	cell = gw_campaign_cell(campaign, cell_name);
	if (!cell || cell->failed) {
		row_missing(rows, name, "%",
			    cell ? cell->failed : "this distance was not among those asked for");
		return;
	}
	loss = gw_cell_loss(campaign, cell);
	row = (struct row){.name = name,
			   .unit = "%",
			   .better = "lower",
			   .value = loss.mean,
			   .low = loss.low,
			   .high = loss.high,
			   .bar = headline ? GW_CAMPAIGN_BUDGET_PERCENT : (double)NAN,
			   .holds = loss.high <= GW_CAMPAIGN_BUDGET_PERCENT,
			   .runs = loss.count,
			   .why = no_claim(campaign, cell),
			   .beside = cell_beside(cell)};
	if (headline && !row.why)
		row.why = real_disagrees(campaign);
	loss_beside(campaign, cell, row.beside);
	if (headline) {
		beside_cell(campaign, cell_name, "_beside", row.beside);
		beside_cell(campaign, cell_name, "_lossy", row.beside);
	}
	row_add(rows, &row);
}

static struct gw_estimate gain(const struct gw_campaign *campaign, const struct gw_cell *cell,
			       enum gw_metric metric)
{
	double ratios[GW_CAMPAIGN_PAIRS_MAX];
	size_t count = gw_cell_ratios(cell, metric, ratios);
	struct gw_estimate estimate;

	if (gw_stats_bootstrap(ratios, count, campaign->options.seed, &estimate) < 0)
		(void)gw_stats_bootstrap(NULL, 0, 0, &estimate); /* all NAN */
	return gw_stats_gain_percent(&estimate);
}

/* TTFT or TPOT at equal offered load: `mean` and the two metrics after it, p50 and p99. */
static void latency_row(const struct gw_campaign *campaign, const struct gw_cell *cell,
			const char *name, enum gw_metric mean, json_t *rows)
{
	struct gw_estimate inflation;
	struct row row;

	if (!cell || cell->failed) {
		row_missing(rows, name, "%", cell ? cell->failed : "there is no such cell");
		return;
	}
	inflation = gain(campaign, cell, mean);
	row = (struct row){.name = name,
			   .unit = "%",
			   .better = "lower",
			   .value = inflation.mean,
			   .low = inflation.low,
			   .high = inflation.high,
			   .bar = (double)NAN,
			   .runs = inflation.count,
			   .why = no_claim(campaign, cell),
			   .beside = cell_beside(cell)};
	beside(row.beside, "offered_per_s", cell->rate_per_s);
	for (enum gw_metric i = mean; i <= mean + 2; i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "single_%s", metric_names[i]);
		beside(row.beside, text, mean_of(cell, false, i));
		(void)snprintf(text, sizeof(text), "cross_%s", metric_names[i]);
		beside(row.beside, text, mean_of(cell, true, i));
		(void)snprintf(text, sizeof(text), "%s_inflation_percent", metric_names[i]);
		beside(row.beside, text, gain(campaign, cell, i).mean);
	}
	beside(row.beside, "single_goodput_per_s", mean_of(cell, false, GW_METRIC_GOODPUT));
	beside(row.beside, "cross_goodput_per_s", mean_of(cell, true, GW_METRIC_GOODPUT));
	beside(row.beside, "goodput_loss_percent", -gain(campaign, cell, GW_METRIC_GOODPUT).mean);
	row_add(rows, &row);
}

static void identical_row(const struct gw_campaign *campaign, json_t *rows)
{
	uint32_t compared = 0;
	uint32_t differing = 0;
	struct row row;

	for (uint32_t i = 0; i < campaign->cell_count; i++) {
		compared += campaign->cells[i].compared;
		differing += campaign->cells[i].differing;
	}
	row = (struct row){.name = "loss.tokens_identical",
			   .unit = "",
			   .better = "higher",
			   .value = compared ? (differing == 0 ? 1 : 0) : (double)NAN,
			   .low = (double)NAN,
			   .high = (double)NAN,
			   .bar = 1,
			   .holds = differing == 0,
			   .runs = compared,
			   .why = compared ? NULL : "no two blocks decoded the same sequences"};
	row_add(rows, &row);
}

/* What was put in and what was read, in points. */
static void control_row(const struct gw_campaign *campaign, const struct gw_control_cell *control,
			json_t *rows)
{
	const struct gw_cell *cell = gw_campaign_cell(campaign, control->name);
	struct gw_estimate read;
	bool holds;
	struct row row;

	if (!cell || cell->failed) {
		row_missing(rows, control->row, "points",
			    cell ? cell->failed : "there is no such cell");
		return;
	}
	read = gw_control_read(campaign, cell, control->put_in, &holds);
	row = (struct row){.name = control->row,
			   .unit = "points",
			   .better = "lower",
			   .value = read.mean,
			   .low = read.low,
			   .high = read.high,
			   .bar = control->put_in > 0 ? (double)NAN : 0.3,
			   .judged = true,
			   .holds = holds,
			   .runs = read.count,
			   .why = no_claim(campaign, cell),
			   .beside = cell_beside(cell)};
	beside(row.beside, "asked", control->put_in);
	if (control->put_in <= 0)
		beside_text(row.beside, "links",
			    cell->a.ring == cell->b.ring ? "one ring as both sides"
							 : "two rings over the same links");
	row_add(rows, &row);
}

static void one_cell_row(const struct gw_campaign *campaign, const char *cell_name,
			 const char *name, json_t *rows)
{
	const struct gw_cell *cell = gw_campaign_cell(campaign, cell_name);
	struct gw_estimate loss;
	struct row row;

	if (!cell || cell->failed) {
		row_missing(rows, name, "%", cell ? cell->failed : "there is no such cell");
		return;
	}
	loss = gw_cell_loss(campaign, cell);
	row = (struct row){.name = name,
			   .unit = "%",
			   .better = "lower",
			   .value = loss.mean,
			   .low = loss.low,
			   .high = loss.high,
			   .bar = (double)NAN,
			   .runs = loss.count,
			   .why = no_claim(campaign, cell),
			   .beside = cell_beside(cell)};
	loss_beside(campaign, cell, row.beside);
	row_add(rows, &row);
}

json_t *gw_report_rows(const struct gw_campaign *campaign)
{
	const double distances[] = {0, 100, 240, 500, 1000, 2000};
	json_t *rows = json_array();
	const struct gw_cell *serve;
	double km = campaign->options.headline_ms * GW_CAMPAIGN_KM_PER_RTT_MS;
	char cell_name[32];
	char name[64];

	for (size_t i = 0; i < sizeof(distances) / sizeof(distances[0]); i++)
		loss_row(campaign, distances[i], rows);
	(void)snprintf(cell_name, sizeof(cell_name), "%gkm_serve", km);
	serve = gw_campaign_cell(campaign, cell_name);
	(void)snprintf(name, sizeof(name), "loss.%gkm.ttft_inflation_percent", km);
	latency_row(campaign, serve, name, GW_METRIC_TTFT_MEAN, rows);
	(void)snprintf(name, sizeof(name), "loss.%gkm.tpot_inflation_percent", km);
	latency_row(campaign, serve, name, GW_METRIC_TPOT_MEAN, rows);
	identical_row(campaign, rows);
	for (size_t i = 0; i < GW_CAMPAIGN_CONTROLS; i++)
		control_row(campaign, &gw_control_cells[i], rows);
	(void)snprintf(cell_name, sizeof(cell_name), "%gkm_real", km);
	(void)snprintf(name, sizeof(name), "loss.%gkm.real_percent", km);
	one_cell_row(campaign, cell_name, name, rows);
	(void)snprintf(cell_name, sizeof(cell_name), "%gkm_lossy", km);
	(void)snprintf(name, sizeof(name), "loss.%gkm.lossy_percent", km);
	if (campaign->options.lossy)
		one_cell_row(campaign, cell_name, name, rows);
	else
		row_missing(rows, name, "%", "not run: --lossy was not asked for");
	return rows;
}

/* --- the campaign's own JSON --- */

static json_t *side_json(const struct gw_cell *cell, bool b)
{
	const struct gw_side *side = b ? &cell->b : &cell->a;
	json_t *object = json_pack(
		"{s:s, s:i, s:i, s:f, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "site",
		side->site, "m", (int)side->groups, "b", (int)side->batch, "stage_time_scale",
		side->scale, "stages", (int)side->ring->stages, "slots", (int)side->ring->slots,
		"stage_time_ms", real_or_null(SIDE_MEAN(cell, b, stage_s) * 1e3), "rtt_idle_ms",
		real_or_null(SIDE_MEAN(cell, b, rtt_idle_s) * 1e3), "rtt_load_ms",
		real_or_null(SIDE_MEAN(cell, b, rtt_load_s) * 1e3), "carry_ms",
		real_or_null(SIDE_MEAN(cell, b, carry_s) * 1e3), "stages_cpu_us_per_token",
		real_or_null(SIDE_MEAN(cell, b, stages_cpu_us)), "agents_cpu_us_per_token",
		real_or_null(SIDE_MEAN(cell, b, agents_cpu_us)), "emulator_cpu_us_per_token",
		real_or_null(SIDE_MEAN(cell, b, emulator_cpu_us)));
	uint64_t overruns = 0;
	uint64_t frames = 0;

	for (uint32_t i = 0; i < cell->pair_count; i++) {
		const struct gw_outcome *one = b ? &cell->pairs[i].b : &cell->pairs[i].a;

		overruns += one->overruns;
		frames += one->frames;
	}
	for (int i = 0; i < GW_METRIC_COUNT; i++)
		(void)json_object_set_new(object, metric_names[i],
					  real_or_null(mean_of(cell, b, (enum gw_metric)i)));
	(void)json_object_set_new(object, "batches", json_integer((json_int_t)frames));
	(void)json_object_set_new(object, "overruns", json_integer((json_int_t)overruns));
	(void)json_object_set_new(object, "retransmits",
				  json_integer((json_int_t)retransmits(cell, b)));
	return object;
}

static json_t *estimates_json(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	json_t *object = json_object();

	for (int i = 0; i < GW_METRIC_COUNT; i++) {
		struct gw_estimate change = gain(campaign, cell, (enum gw_metric)i);

		if (change.count > 0)
			(void)json_object_set_new(object, metric_names[i], estimate_json(&change));
	}
	return object;
}

static json_t *cell_json(const struct gw_campaign *campaign, const struct gw_cell *cell)
{
	struct gw_estimate loss = gw_cell_loss(campaign, cell);
	const char *why = no_claim(campaign, cell);
	bool lossy;
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:f, s:s, s:f, s:f, s:i, s:b}", "name", cell->name, "kind",
		cell->kind == GW_CELL_SERVE ? "serve" : "block", "mode",
		cell->a.scale > 0 ? "paced" : "real", "rtt_ms_asked", cell->rtt_ms, "congestion",
		cell->congestion, "link_loss_asked_percent", cell->link_loss_percent, "block_s",
		cell->block_s, "pairs_wanted", (int)cell->pairs_wanted, "claim", why == NULL);

	if (why)
		(void)json_object_set_new(object, "why", json_string(why));
	if (cell->failed)
		return object;
	(void)json_object_set_new(object, "packets_lost",
				  json_integer((json_int_t)gw_cell_losses(cell, &lossy)));
	(void)json_object_update_new(
		object,
		json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:O}", "pairs",
			  (int)cell->pair_count, "blocks_run", (int)cell->blocks_run, "blocks_void",
			  (int)cell->blocks_void, "pairs_compared", (int)cell->compared,
			  "pairs_differing", (int)cell->differing, "a", side_json(cell, false), "b",
			  side_json(cell, true), "loss_percent", estimate_json(&loss),
			  "change_percent", estimates_json(campaign, cell), "theory_percent",
			  cell->kind == GW_CELL_RATE && cell->pair_count > 0
				  ? real_or_null(theory_percent(cell))
				  : json_null(),
			  "blocks", cell->blocks));
	return object;
}

/* Where the loss passes the budget: between two measured distances, and by theory. */
static json_t *budget_json(const struct gw_campaign *campaign)
{
	const struct gw_cell *last = NULL;
	double last_loss = (double)NAN; /* upper bounds: only they keep a budget */
	double broken_km = (double)NAN;
	struct gw_theory theory;
	double theory_km = (double)NAN;

	for (uint32_t i = 0; i < campaign->rtt_count && !isfinite(broken_km); i++) {
		double km = campaign->rtts_ms[i] * GW_CAMPAIGN_KM_PER_RTT_MS;
		const struct gw_cell *cell;
		char name[32];
		double loss;

		(void)snprintf(name, sizeof(name), "%gkm", km);
		cell = gw_campaign_cell(campaign, name);
		loss = cell && !cell->failed ? gw_cell_loss(campaign, cell).high : (double)NAN;
		if (!isfinite(loss))
			continue;
		if (loss > GW_CAMPAIGN_BUDGET_PERCENT && last)
			broken_km = km - (km - last->rtt_ms * GW_CAMPAIGN_KM_PER_RTT_MS) *
						 (loss - GW_CAMPAIGN_BUDGET_PERCENT) /
						 (loss - last_loss);
		else if (loss > GW_CAMPAIGN_BUDGET_PERCENT)
			broken_km = km;
		theory = theory_of(cell);
		theory_km = 1e3 * GW_CAMPAIGN_KM_PER_RTT_MS *
			    gw_theory_rtt_at_loss_s(&theory, mean_of(cell, false, GW_METRIC_RATE),
						    GW_CAMPAIGN_BUDGET_PERCENT);
		last = cell;
		last_loss = loss;
	}
	return json_pack("{s:f, s:o, s:o}", "percent", GW_CAMPAIGN_BUDGET_PERCENT, "broken_at_km",
			 real_or_null(broken_km), "theory_broken_at_km", real_or_null(theory_km));
}

/* The activations that the model stood for would send, beside those that were sent: the lab carries
 * the small model's, so a link's rate is no part of the claim and its cost is stated here. */
static json_t *volume_json(const struct gw_campaign *campaign)
{
	const struct gw_cell *cell = &campaign->cells[0];
	const json_t *model = json_object_get(campaign->single.info, "model");
	double sent = 2 * json_number_value(json_object_get(model, "hidden"));
	double stood_for = 2 * campaign->accelerator.hidden;
	double bits = 8 * stood_for * cell->a.batch;

	return json_pack("{s:f, s:f, s:i, s:{s:f, s:f, s:f}}", "bytes_per_token_sent", sent,
			 "bytes_per_token_stood_for", stood_for, "b", (int)cell->a.batch,
			 "ms_per_crossing_stood_for", "1_gbps", bits / 1e6, "10_gbps", bits / 1e7,
			 "100_gbps", bits / 1e8);
}

json_t *gw_report_json(const struct gw_campaign *campaign, const json_t *rows)
{
	const struct gw_campaign_options *o = &campaign->options;
	json_t *cells = json_array();
	json_t *object;

	for (uint32_t i = 0; i < campaign->cell_count; i++)
		(void)json_array_append_new(cells, cell_json(campaign, &campaign->cells[i]));
	object = json_pack("{s:s, s:b, s:I, s:s, s:f, s:f, s:f, s:{s:f, s:f, s:f}}", "schema",
			   "godwit-loss/1", "quick", (int)o->quick, "seed", (json_int_t)o->seed,
			   "commit", o->commit ? o->commit : "unknown", "seconds",
			   gw_campaign_now_s() - campaign->began_s, "planned_s",
			   campaign->planned_s, "headline_rtt_ms", o->headline_ms, "objective",
			   "ttft_limit_ms", (double)o->ttft_limit_us * 1e-3, "tpot_limit_ms",
			   (double)o->tpot_limit_us * 1e-3, "load", o->load);
	(void)json_object_set(object, "host", campaign->host);
	(void)json_object_set(object, "ring", campaign->single.info);
	if (campaign->single_real.info)
		(void)json_object_set(object, "ring_real", campaign->single_real.info);
	if (campaign->pilot)
		(void)json_object_set(object, "pilot", campaign->pilot);
	(void)json_object_set_new(object, "budget", budget_json(campaign));
	(void)json_object_set_new(object, "volume", volume_json(campaign));
	(void)json_object_set(object, "group_sweep", campaign->group_sweep);
	(void)json_object_set_new(object, "cells", cells);
	(void)json_object_set(object, "other_blocks", campaign->other_blocks);
	(void)json_object_set_new(object, "rows", json_deep_copy(rows));
	return object;
}
