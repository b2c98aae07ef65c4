/* The present smallest scenario, and attempts to make it smaller. An attempt that does not fail in
 * the same way changes nothing. */
#include "bench/sim/shrink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/plan.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define SEEDS_TRIED 6u /* of a candidate */
#define MARGIN_US (5 * GW_US_PER_S)

struct state {
	const struct sim_shrink *shrink;
	struct sim_scenario best;
	struct sim_outcome outcome;     /* of best with its seed */
	struct sim_fault_event *events; /* [SIM_EVENTS_MAX] of the candidate */
	struct sim_fault_event *kept;   /* [SIM_EVENTS_MAX] of best */
	char key[SIM_KEY_BYTES];
	uint32_t run_count;
	int error;
};

/* --- one candidate --- */

struct attempt {
	const char *key; /* NULL: any failure will do */
	volatile sig_atomic_t found;
	struct sim_outcome outcome;
};

static void look(const struct sim_outcome *outcome, void *context)
{
	struct attempt *attempt = context;
	char key[SIM_KEY_BYTES];

	if (outcome->good || attempt->found)
		return;
	sim_fault_key(outcome->fault, key);
	if (attempt->key && strcmp(key, attempt->key) != 0)
		return;
	attempt->outcome = *outcome;
	attempt->found = 1;
}

static bool spent(const struct state *state)
{
	const volatile sig_atomic_t *stop = state->shrink->stop;

	return state->error < 0 || state->run_count >= state->shrink->runs_max || (stop && *stop);
}

/* Runs seeds until one fails in the wanted way. */
static bool fails(struct state *state, const struct sim_scenario *scenario, uint64_t first,
		  uint64_t last, struct attempt *attempt)
{
	struct sim_sweep sweep = {.scenario = scenario,
				  .first = first,
				  .last = last,
				  .bug = state->shrink->bug,
				  .process_count = state->shrink->process_count,
				  .limit_s = state->shrink->limit_s,
				  .done = look,
				  .context = attempt,
				  .stop = &attempt->found};
	int result;

	state->run_count += (uint32_t)(last - first + 1);
	result = sim_sweep_run(&sweep);
	if (result < 0 && result != -EINTR)
		state->error = result;
	return attempt->found;
}

/* Takes the candidate if it fails as the seed did. Its events are in state->events or the best's
 * own. */
static bool take(struct state *state, const struct sim_scenario *candidate)
{
	struct attempt attempt = {.key = state->key};
	uint64_t seed = state->best.seed;
	size_t bytes = candidate->events.count * sizeof(*state->kept);

	if (spent(state))
		return false;
	if (!fails(state, candidate, seed, seed, &attempt) && state->error == 0 &&
	    !fails(state, candidate, 1, SEEDS_TRIED, &attempt))
		return false;
	if (!attempt.found)
		return false;
	if (candidate->events.items != state->kept && bytes > 0)
		memcpy(state->kept, candidate->events.items, bytes);
	state->best = *candidate;
	state->best.events.items = state->kept;
	state->best.seed = attempt.outcome.seed;
	state->outcome = attempt.outcome;
	return true;
}

static void tell(const struct state *state, const char *what)
{
	const struct sim_scenario *best = &state->best;

	if (state->shrink->progress)
		(void)fprintf(state->shrink->progress,
			      "run %5" PRIu32 ": %3" PRIu32 " events, %" PRIu64 " x %" PRIu64
			      " nodes, %.1f s, seed %" PRIu64 "; %s\n",
			      state->run_count, best->events.count, best->sites, best->nodes,
			      (double)best->duration_us / 1e6, best->seed, what);
}

/* --- events --- */

/* The best without events [from, from + count). */
static bool drop_events(struct state *state, uint32_t from, uint32_t count)
{
	struct sim_scenario candidate = state->best;
	uint32_t rest = state->best.events.count - from - count;

	memcpy(state->events, state->kept, from * sizeof(*state->events));
	memcpy(state->events + from, state->kept + from + count, rest * sizeof(*state->events));
	candidate.events = (struct gw_schema_list){.items = state->events, .count = from + rest};
	return take(state, &candidate);
}

/* Ever smaller parts are left out, until no single one can be. True: some were. */
static bool shrink_events(struct state *state)
{
	uint32_t part = state->best.events.count;
	bool any = false;

	while (part > 0 && !spent(state)) {
		uint32_t at = 0;

		while (at < state->best.events.count) {
			uint32_t left = state->best.events.count - at;

			if (drop_events(state, at, part < left ? part : left)) {
				any = true;
				tell(state, "events left out");
			} else {
				at += part;
			}
		}
		part /= 2;
	}
	return any;
}

/* --- numbers --- */

struct number {
	const char *name;
	size_t offset;
	uint64_t least;
};

#define AT(field) offsetof(struct sim_scenario, field)

static const struct number numbers[] = {
	{"sites", AT(sites), 1},
	{"nodes", AT(nodes), 1},
	{"devices", AT(devices), 0},
	{"spread", AT(spread_km), 0},
	{"jitter", AT(jitter_us), 0},
	{"loss", AT(loss_ppm), 0},
	{"drift", AT(drift_ppm), 0},
	{"writes' time", AT(write_us), 100},
	{"plans' time", AT(plan_us), 100},
	{"tasks", AT(jobs.tasks), 1},
	{"attempts", AT(jobs.attempts), 1},
	{"CPUs", AT(jobs.cpu_milli), 1000},
	{"failures", AT(jobs.fail_ppm), 0},
	{"gangs", AT(jobs.gang_ppm), 0},
	{"cancellations", AT(jobs.cancel_ppm), 0},
	{"stubbornness", AT(jobs.stubborn_ppm), 0},
	{"followers", AT(jobs.follow_ppm), 0},
	{"lost requests", AT(jobs.lost_ppm), 0},
	{"replacements at once", AT(jobs.at_once_ppm), 0},
	{"run times", AT(jobs.run_max_us), 1000},
};

/* Drops what the smaller grid or the shorter time has no place for. */
static void fit_events(struct state *state, struct sim_scenario *candidate)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < state->best.events.count; i++) {
		const struct sim_fault_event *event = &state->kept[i];

		if (event->at_us <= candidate->duration_us &&
		    sim_fault_fits(event, candidate->sites, candidate->sites * candidate->nodes))
			state->events[count++] = *event;
	}
	candidate->events = (struct gw_schema_list){.items = state->events, .count = count};
}

static bool set_number(struct state *state, size_t offset, uint64_t value)
{
	struct sim_scenario candidate = state->best;

	*(uint64_t *)(void *)((char *)&candidate + offset) = value;
	if (candidate.jobs.run_min_us > candidate.jobs.run_max_us)
		candidate.jobs.run_min_us = candidate.jobs.run_max_us;
	if (sim_plan_load_ppm(&candidate) > SIM_LOAD_PPM_MAX &&
	    sim_plan_load_ppm(&candidate) > sim_plan_load_ppm(&state->best))
		return false; /* it would fail to settle, and rightly */
	fit_events(state, &candidate);
	return take(state, &candidate);
}

/* To its least, or half the way, again and again. */
static bool shrink_number(struct state *state, const struct number *number)
{
	const uint64_t *now = (const void *)((const char *)&state->best + number->offset);
	bool any = false;

	while (*now > number->least && !spent(state)) {
		uint64_t half = number->least + (*now - number->least) / 2;

		if (!set_number(state, number->offset, number->least) &&
		    (half == number->least || !set_number(state, number->offset, half)))
			break;
		any = true;
		tell(state, number->name);
	}
	return any;
}

/* To just behind the fault, then half and half again. Fewer jobs: the time between two doubled. */
static bool shrink_time(struct state *state)
{
	uint64_t behind_us = state->outcome.virtual_us + MARGIN_US;
	bool any = false;

	if (behind_us < state->best.duration_us && set_number(state, AT(duration_us), behind_us)) {
		any = true;
		tell(state, "duration");
	}
	while (state->best.duration_us / 2 > GW_US_PER_S &&
	       set_number(state, AT(duration_us), state->best.duration_us / 2)) {
		any = true;
		tell(state, "duration");
	}
	while (state->best.jobs.every_us < state->best.duration_us &&
	       set_number(state, AT(jobs.every_us), 2 * state->best.jobs.every_us)) {
		any = true;
		tell(state, "jobs");
	}
	return any;
}

int sim_shrink_run(const struct sim_shrink *shrink, struct gw_arena *arena,
		   struct sim_scenario *ret_scenario, struct sim_outcome *ret_outcome)
{
	size_t bytes = SIM_EVENTS_MAX * sizeof(struct sim_fault_event);
	struct state state = {.shrink = shrink};
	struct attempt first = {.key = NULL};
	bool any = true;

	state.events = gw_arena_alloc(arena, bytes);
	state.kept = gw_arena_alloc(arena, bytes);
	CHECK(state.events);
	CHECK(state.kept);
	sim_plan_draw(shrink->scenario, shrink->seed, arena, &state.best);
	CHECK(state.best.events.count <= SIM_EVENTS_MAX);
	if (state.best.events.count > 0)
		memcpy(state.kept, state.best.events.items,
		       state.best.events.count * sizeof(*state.kept));
	state.best.events.items = state.kept;
	if (!fails(&state, &state.best, shrink->seed, shrink->seed, &first))
		return state.error < 0 ? state.error : 1;
	state.outcome = first.outcome;
	sim_fault_key(first.outcome.fault, state.key);
	tell(&state, first.outcome.fault);
	while (any && !spent(&state)) {
		any = shrink_events(&state);
		any |= shrink_time(&state);
		for (size_t i = 0; i < GW_ARRAY_COUNT(numbers); i++)
			any |= shrink_number(&state, &numbers[i]);
	}
	*ret_scenario = state.best;
	*ret_outcome = state.outcome;
	return state.error;
}
