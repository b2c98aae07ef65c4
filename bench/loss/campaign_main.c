/*
 * godwit-loss: measures cross-region loss. It finds rings that are already up (by their heads'
 * control sockets) and a link emulator, runs the campaign, and writes its figures; it starts and
 * stops nothing.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/loss/campaign.h"
#include "proto/option.h"

static volatile bool interrupted;

#define OPTION(name, kind, field, low, high, standard, word, text)                                 \
	{                                                                                          \
		.value = {.key = name,                                                             \
			  .type = GW_SCHEMA_##kind,                                                \
			  .offset = offsetof(struct gw_campaign_options, field),                   \
			  .min = low,                                                              \
			  .max = high,                                                             \
			  .fallback = standard,                                                    \
			  .help = text},                                                           \
		.argument = word,                                                                  \
	}
#define SOCKET(name, field, text) OPTION(name, TEXT, field, 0, 107, NULL, "PATH", text)

static const struct gw_option options_table[] = {
	SOCKET("single", single, "control socket of the ring inside one site, on plain links"),
	SOCKET("cross", cross, "control socket of the ring across sites"),
	SOCKET("cross-twin", cross_twin, "of a second ring across them: the negative control"),
	SOCKET("single-real", single_real, "of a two-stage ring in one site, for unpaced blocks"),
	SOCKET("cross-real", cross_real, "of a two-stage ring across sites"),
	SOCKET("emulator", emulator, "control socket of the link emulator"),
	OPTION("simulate", BOOL, simulate, 0, 0, NULL, NULL,
	       "without an emulator: the stages hold back what they send; carries no claim"),
	OPTION("links", TEXT, links, 0, 255, "a-b=0.25,b-c=0.25,a-c=0.5", "LIST",
	       "emulated links, each with its one-way share of the loop's delay"),
	OPTION("rtt", TEXT, rtts_ms, 1, 255, "0,1,2.4,5,10,20", "LIST", "loop delays to visit, ms"),
	OPTION("headline", REAL, headline_ms, 0, 0, "2.4", "MS", "the loop delay that is claimed"),
	OPTION("cells", TEXT, cells, 0, 511, NULL, "LIST",
	       "only these cells, by name, as '240km,0km,control_null,group_sweep'; standard: all"),
	OPTION("lossy", BOOL, lossy, 0, 0, NULL, NULL,
	       "one more cell at the headline's delay with the links' own random loss, with as "
	       "many pairs as 30 losses take; all others run without loss"),
	OPTION("quick", BOOL, quick, 0, 0, NULL, NULL, "short blocks, few pairs: carries no claim"),
	OPTION("budget", DURATION, budget_us, 20000000, 86400000000ull, "150 s", "DURATION",
	       "how long a quick campaign may take"),
	OPTION("block", DURATION, block_us, 1000000, 600000000, "20 s", "DURATION", "of a block"),
	OPTION("age", DURATION, age_us, 1000000, 600000000, "11 s", "DURATION",
	       "of a connection under load after its delay has changed"),
	OPTION("pairs", COUNT, pairs, 1, GW_CAMPAIGN_PAIRS_MAX, "10", "N",
	       "of a cell that carries a claim; the pilot may raise it"),
	OPTION("sweep-pairs", COUNT, sweep_pairs, 1, GW_CAMPAIGN_PAIRS_MAX, "2", "N",
	       "of the other distances"),
	OPTION("batch", COUNT, batch, 0, 512, "0", "N",
	       "sequences of a micro-batch with m = S; 0: the best m under full memory"),
	OPTION("seed", COUNT, seed, 0, INT64_MAX, "1", "N", "of orders, arrivals and intervals"),
	OPTION("load", REAL, load, 0, 0, "0.4", "SHARE",
	       "offered in latency cells, as a share of the single site's decode rate"),
	OPTION("ttft-limit", DURATION, ttft_limit_us, 1000, 600000000, "500 ms", "DURATION",
	       "objective that goodput counts: time to first token"),
	OPTION("tpot-limit", DURATION, tpot_limit_us, 1000, 600000000, "150 ms", "DURATION",
	       "objective that goodput counts: time per output token"),
	OPTION("congestion", TEXT, congestion, 1, 15, "bbr", "NAME", "TCP congestion control"),
	OPTION("congestion-beside", TEXT, congestion_beside, 0, 15, "cubic", "NAME",
	       "another one, in one more cell at the headline's delay"),
	OPTION("commit", TEXT, commit, 0, 64, "unknown", "ID", "of the tree, for the record"),
	OPTION("output", TEXT, output, 0, 4095, NULL, "FILE", "where the campaign's JSON goes"),
	OPTION("rows", TEXT, rows, 0, 4095, "-", "FILE", "where the rows go; -: standard output"),
	{.value = {.key = NULL}},
};

static void on_signal(int number)
{
	(void)number;
	interrupted = true;
}

static int write_json(const json_t *value, const char *path)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdout : fopen(path, "we");
	int r = -EIO;

	if (file && json_dumpf(value, file, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
	    fputc('\n', file) != EOF && fflush(file) == 0)
		r = 0;
	if (file && !standard && fclose(file) != 0)
		r = -EIO;
	if (r < 0)
		(void)fprintf(stderr, "godwit-loss: cannot write %s: %s\n", path, strerror(errno));
	return r;
}

static int check(const struct gw_campaign_options *options)
{
	const char *fault = NULL;

	if (!options->single || !options->single[0])
		fault = "--single: a campaign needs at least the ring inside one site";
	else if (!(options->load > 0 && options->load < 1))
		fault = "--load must lie between 0 and 1";
	else if (!(options->headline_ms >= 0))
		fault = "--headline must be a delay in ms";
	if (fault)
		(void)fprintf(stderr, "godwit-loss: %s\n", fault);
	return fault ? 2 : 0;
}

static int run_campaign(struct gw_campaign *campaign)
{
	const struct gw_campaign_options *options = &campaign->options;
	json_t *rows;
	json_t *report;
	int written = 0;
	int r = gw_campaign_open(campaign);

	if (r < 0) {
		(void)fprintf(stderr, "godwit-loss: %s\n", campaign->error);
		return 1;
	}
	r = gw_cells_run(campaign);
	if (r < 0) /* what was measured until then is written all the same */
		(void)fprintf(stderr, "godwit-loss: broke off: %s\n",
			      campaign->error[0] ? campaign->error : strerror(-r));
	rows = gw_report_rows(campaign);
	report = gw_report_json(campaign, rows);
	if (options->output && options->output[0])
		written = write_json(report, options->output);
	if (written == 0 && options->rows && options->rows[0])
		written = write_json(rows, options->rows);
	json_decref(report);
	json_decref(rows);
	return r < 0 || written < 0 || interrupted ? 1 : 0;
}

static int run(const struct gw_command *command, void *data, int operand_count, char **operands)
{
	const struct sigaction action = {
		.sa_handler = on_signal,
		.sa_flags = (int)SA_RESETHAND}; /* a second one ends it at once */
	struct gw_campaign *campaign;
	int r = check(data);

	(void)command;
	(void)operand_count;
	(void)operands;
	if (r != 0)
		return r;
	campaign = calloc(1, sizeof(*campaign));
	if (!campaign)
		return 1;
	campaign->options = *(const struct gw_campaign_options *)data;
	campaign->interrupted = &interrupted;
	(void)sigaction(SIGINT, &action, NULL); /* these cannot fail for these signals */
	(void)sigaction(SIGTERM, &action, NULL);
	r = run_campaign(campaign);
	gw_campaign_close(campaign);
	free(campaign);
	return r;
}

static const char *const details[] = {
	"Compares the same inference job inside one site and across sites, in pairs of adjacent "
	"blocks of random order, with negative and positive controls, at the delays asked for.",
	"It takes rings that are already up and starts nothing. On an interrupt it ends the block "
	"under way, writes what it has, and marks what was not run.",
	NULL,
};

static const struct gw_command commands[] = {
	{.name = "godwit-loss",
	 .summary = "measure cross-region loss",
	 .options = options_table,
	 .details = details,
	 .run = run,
	 .options_bytes = sizeof(struct gw_campaign_options)},
	{.name = NULL},
};

static const char *const exit_codes[] = {"0 the campaign ended and was written",
					 "1 a ring is gone, or it was interrupted",
					 "2 wrong options", NULL};

static const struct gw_program program = {
	.name = "godwit-loss",
	.summary = "measure cross-region loss",
	.details = details,
	.commands = commands,
	.exit_codes = exit_codes,
	.section = 8,
};

int main(int argc, char **argv)
{
	return gw_program_main(&program, argc, argv);
}
