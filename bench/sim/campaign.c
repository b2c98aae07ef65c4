/* Counting outcomes as they come, and the three ways to tell them: as they come, as a table, as
 * JSON. */
#include "bench/sim/campaign.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

#define TOLD_FAILURES_MAX 20u
#define KEYS_MAX 64u /* different sentences counted; the rest is counted under the last */
#define LISTED_FAILURES_MAX 10000u
#define TERMINAL_EVERY_S 0.5
#define FILE_EVERY_S 60.0

volatile sig_atomic_t sim_campaign_stop;

static void on_signal(int number)
{
	(void)number;
	sim_campaign_stop = 1;
}

void sim_campaign_catch(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	(void)sigaction(SIGINT, &action, NULL); /* cannot fail for these */
	(void)sigaction(SIGTERM, &action, NULL);
}

/* Failures that seem to be the same. */
struct group {
	char key[SIM_KEY_BYTES];
	uint64_t count;
	uint64_t seed; /* the first that was seen */
};

struct tally {
	const struct sim_campaign *campaign;
	struct sim_campaign_result result;
	struct sim_coverage_sum coverage;
	struct group *groups; /* [KEYS_MAX] */
	uint32_t group_count;
	uint64_t attempts;
	uint64_t again;
	uint64_t jobs;
	uint64_t hash;    /* of all, in whatever order */
	uint32_t *cpu_us; /* [clean_count + failed_count] */
	double began_s;
	double told_s;
	bool terminal;
	json_t *failures;
};

static double clock_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t done_count(const struct tally *tally)
{
	return tally->result.clean_count + tally->result.failed_count;
}

static void tell_progress(struct tally *tally)
{
	uint64_t all = tally->campaign->last - tally->campaign->first + 1;
	uint64_t done = done_count(tally);
	double now_s = clock_s();
	double rate = (double)done / (now_s - tally->began_s + 1e-9);
	double left_s = (double)(all - done) / (rate + 1e-9);

	if (now_s - tally->told_s < (tally->terminal ? TERMINAL_EVERY_S : FILE_EVERY_S))
		return;
	tally->told_s = now_s;
	(void)fprintf(stderr,
		      "%s%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64
		      " failed, %.1f a second, %.0f min %02.0f s left%s",
		      tally->terminal ? "\r" : "", done, all, tally->result.failed_count, rate,
		      (double)((uint64_t)left_s / 60), (double)((uint64_t)left_s % 60),
		      tally->terminal ? "\033[K" : "\n");
}

static void group_failure(struct tally *tally, const struct sim_outcome *outcome)
{
	char key[SIM_KEY_BYTES];
	uint32_t i = 0;

	sim_fault_key(outcome->fault, key);
	while (i < tally->group_count && strcmp(tally->groups[i].key, key) != 0)
		i++;
	if (i == KEYS_MAX)
		i--;
	if (i == tally->group_count) {
		tally->group_count++;
		memcpy(tally->groups[i].key, key, sizeof(key));
		tally->groups[i].seed = outcome->seed;
	}
	tally->groups[i].count++;
}

static void tell_failure(struct tally *tally, const struct sim_outcome *outcome)
{
	char replay[512];

	(void)snprintf(replay, sizeof(replay),
		       "godwit-sim --scenario %s --seed %" PRIu64 " --transcript",
		       tally->campaign->given, outcome->seed); /* cut is fine */
	if (tally->result.failed_count <= TOLD_FAILURES_MAX)
		(void)fprintf(stderr, "%sseed %" PRIu64 ": %s\n  replay: %s\n",
			      tally->terminal ? "\r\033[K" : "", outcome->seed, outcome->fault,
			      replay);
	else if (tally->result.failed_count == TOLD_FAILURES_MAX + 1)
		(void)fprintf(stderr, "further failures are only counted\n");
	if (json_array_size(tally->failures) < LISTED_FAILURES_MAX)
		(void)json_array_append_new(tally->failures, /* or lacks it */
					    json_pack("{s:I,s:s,s:s}", "seed",
						      (json_int_t)outcome->seed, "fault",
						      outcome->fault, "replay", replay));
	group_failure(tally, outcome);
}

static void count(const struct sim_outcome *outcome, void *context)
{
	struct tally *tally = context;

	tally->cpu_us[done_count(tally)] =
		outcome->cpu_us < UINT32_MAX ? (uint32_t)outcome->cpu_us : UINT32_MAX;
	tally->result.clean_count += outcome->good;
	tally->result.failed_count += !outcome->good;
	tally->attempts += outcome->attempts;
	tally->again += outcome->again;
	tally->jobs += outcome->jobs;
	tally->hash += outcome->hash;
	if (outcome->finished)
		sim_coverage_add(&tally->coverage, &outcome->coverage);
	if (!outcome->good)
		tell_failure(tally, outcome);
	tell_progress(tally);
}

/* --- the end --- */

static int compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct tally *tally)
{
	uint64_t done = done_count(tally);

	qsort(tally->cpu_us, done, sizeof(*tally->cpu_us), compare_times);
	if (done > 0) {
		tally->result.cpu_us_median = tally->cpu_us[done / 2];
		tally->result.cpu_us_max = tally->cpu_us[done - 1];
	}
}

static void print_coverage(const struct sim_coverage_sum *sum)
{
	(void)printf("\n%-36s %10s %12s %12s\n", "what struck", "in seeds", "times", "left alone");
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		(void)printf("%-36s %10" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n",
			     sim_fault_name((enum sim_fault_kind)i), sum->struck_runs[i],
			     sum->struck[i], sum->left[i]);
	(void)printf("\n%-36s %10s %12s\n", "what came of it", "in seeds", "times");
	for (unsigned i = 0; i < SIM_SAW_COUNT; i++)
		(void)printf("%-36s %10" PRIu64 " %12" PRIu64 "\n",
			     sim_sight_name((enum sim_sight)i), sum->seen_runs[i], sum->seen[i]);
}

static void print_summary(const struct tally *tally)
{
	const struct sim_campaign *campaign = tally->campaign;

	(void)printf("%s, seeds %" PRIu64 "..%" PRIu64 ": %" PRIu64 " clean, %" PRIu64
		     " failed, %" PRIu64 " not run; hash of all %016" PRIx64 "\n",
		     campaign->scenario->name, campaign->first, campaign->last,
		     tally->result.clean_count, tally->result.failed_count,
		     campaign->last - campaign->first + 1 - done_count(tally), tally->hash);
	(void)printf("CPU of a seed: median %.3f s, most %.3f s; %.0f s in all by the clock\n",
		     (double)tally->result.cpu_us_median / 1e6,
		     (double)tally->result.cpu_us_max / 1e6, clock_s() - tally->began_s);
	(void)printf("%" PRIu64 " jobs, %" PRIu64 " attempts, %" PRIu64
		     " of them not the first of their task\n",
		     tally->jobs, tally->attempts, tally->again);
	for (uint32_t i = 0; i < tally->group_count; i++)
		(void)printf("failed %" PRIu64 " times, first seen with seed %" PRIu64 ": %s\n",
			     tally->groups[i].count, tally->groups[i].seed, tally->groups[i].key);
	print_coverage(&tally->coverage);
}

static json_t *coverage_json(const struct sim_coverage_sum *sum)
{
	json_t *faults = json_object();
	json_t *seen = json_object();

	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
		(void)json_object_set_new(faults, sim_fault_name((enum sim_fault_kind)i),
					  json_pack("{s:I,s:I,s:I}", "seeds",
						    (json_int_t)sum->struck_runs[i], "struck",
						    (json_int_t)sum->struck[i], "left_alone",
						    (json_int_t)sum->left[i]));
	for (unsigned i = 0; i < SIM_SAW_COUNT; i++)
		(void)json_object_set_new(seen, sim_sight_name((enum sim_sight)i),
					  json_pack("{s:I,s:I}", "seeds",
						    (json_int_t)sum->seen_runs[i], "times",
						    (json_int_t)sum->seen[i]));
	return json_pack("{s:o,s:o}", "faults", faults, "seen", seen);
}

/* False: it could not be written. */
static bool print_json(const struct tally *tally)
{
	const struct sim_campaign *campaign = tally->campaign;
	json_t *value = json_pack(
		"{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:O,s:o}", "scenario",
		campaign->scenario->name, "first", (json_int_t)campaign->first, "last",
		(json_int_t)campaign->last, "clean", (json_int_t)tally->result.clean_count,
		"failed", (json_int_t)tally->result.failed_count, "jobs", (json_int_t)tally->jobs,
		"attempts", (json_int_t)tally->attempts, "again", (json_int_t)tally->again,
		"cpu_s_median", (double)tally->result.cpu_us_median / 1e6, "cpu_s_max",
		(double)tally->result.cpu_us_max / 1e6, "wall_s", clock_s() - tally->began_s,
		"failures", tally->failures, "coverage", coverage_json(&tally->coverage));
	bool good = value && json_dumpf(value, stdout, JSON_INDENT(2)) == 0 && putchar('\n') >= 0;

	json_decref(value);
	return good;
}

int sim_campaign_run(const struct sim_campaign *campaign, bool quiet,
		     struct sim_campaign_result *ret_result)
{
	uint64_t all = campaign->last - campaign->first + 1;
	struct tally tally = {.campaign = campaign,
			      .began_s = clock_s(),
			      .told_s = clock_s(),
			      .terminal = isatty(STDERR_FILENO) == 1,
			      .failures = json_array()};
	struct sim_sweep sweep = {.scenario = campaign->scenario,
				  .first = campaign->first,
				  .last = campaign->last,
				  .bug = campaign->bug,
				  .process_count = campaign->process_count,
				  .limit_s = campaign->limit_s,
				  .done = count,
				  .context = &tally,
				  .stop = &sim_campaign_stop};
	int result;

	CHECK(all > 0);
	CHECK(all <= SIM_CAMPAIGN_SEEDS_MAX);
	tally.cpu_us = calloc(all, sizeof(*tally.cpu_us));
	tally.groups = calloc(KEYS_MAX, sizeof(*tally.groups));
	CHECK(tally.cpu_us);
	CHECK(tally.groups);
	(void)fflush(stdout); /* before the forks */
	result = sim_sweep_run(&sweep);
	if (tally.terminal)
		(void)fprintf(stderr, "\r\033[K");
	measure(&tally);
	if (!quiet && campaign->json && !print_json(&tally))
		result = result < 0 ? result : -EIO;
	if (!quiet && !campaign->json)
		print_summary(&tally);
	*ret_result = tally.result;
	json_decref(tally.failures);
	free(tally.groups);
	free(tally.cpu_us);
	return result;
}
