/*
 * Lengths and amounts are drawn by their order of magnitude first: a kill of 3 ms meets other code
 * than one of 3 s, and a uniform draw would hardly ever give the former.
 */
#include "bench/sim/plan.h"

#include <stdlib.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"
#include "proto/base/time.h"

#define PLAN_SALT 0x706c616e /* the world's own generator begins at the seed itself */
#define LASTS_LEAST_US 1000u
#define DAY_US (86400 * GW_US_PER_S)

/* Uniform in [low, high]. */
static uint64_t between(struct gw_prng *prng, uint64_t low, uint64_t high)
{
	return high <= low ? low : low + gw_prng_below(prng, high - low + 1);
}

/* In [low, high], each order of magnitude (of two) as likely as the next; low > 0. */
static uint64_t magnitude(struct gw_prng *prng, uint64_t low, uint64_t high)
{
	uint64_t span;

	CHECK(low > 0);
	if (high <= low)
		return low;
	span = 63u - (uint64_t)__builtin_clzll(high / low);
	low <<= between(prng, 0, span);
	return between(prng, low, high / 2 < low ? high : 2 * low - 1);
}

static bool coin(struct gw_prng *prng)
{
	return gw_prng_below(prng, 2) == 0;
}

/* Nothing, or up to `most`. */
static uint64_t share(struct gw_prng *prng, uint64_t most)
{
	return coin(prng) ? 0 : between(prng, 0, most);
}

static void draw_numbers(struct gw_prng *prng, struct sim_scenario *scenario)
{
	scenario->sites = between(prng, 1, scenario->sites);
	scenario->nodes = between(prng, 1, scenario->nodes);
	scenario->devices = between(prng, 0, scenario->devices);
	scenario->spread_km = between(prng, 0, scenario->spread_km);
	scenario->jitter_us = share(prng, scenario->jitter_us);
	scenario->loss_ppm = share(prng, scenario->loss_ppm);
	scenario->drift_ppm = share(prng, scenario->drift_ppm);
	scenario->rate_bps = magnitude(prng, scenario->rate_bps / 100 + 1, scenario->rate_bps);
	scenario->write_us = magnitude(prng, scenario->write_us / 100 + 1, scenario->write_us);
	scenario->plan_us = magnitude(prng, scenario->plan_us / 100 + 1, scenario->plan_us);
	scenario->jobs.every_us =
		between(prng, scenario->jobs.every_us, 3 * scenario->jobs.every_us);
	scenario->jobs.tasks = between(prng, 1, scenario->jobs.tasks);
	scenario->jobs.run_max_us = magnitude(prng, scenario->jobs.run_min_us + LASTS_LEAST_US,
					      scenario->jobs.run_max_us);
	scenario->jobs.lease_us = coin(prng) ? DAY_US : scenario->jobs.lease_us;
	scenario->jobs.fail_ppm = share(prng, scenario->jobs.fail_ppm);
	scenario->jobs.gang_ppm = share(prng, scenario->jobs.gang_ppm);
	scenario->jobs.cancel_ppm = share(prng, scenario->jobs.cancel_ppm);
	scenario->jobs.stubborn_ppm = share(prng, scenario->jobs.stubborn_ppm);
	scenario->jobs.follow_ppm = share(prng, scenario->jobs.follow_ppm);
	scenario->jobs.lost_ppm = share(prng, scenario->jobs.lost_ppm);
	scenario->jobs.at_once_ppm = share(prng, scenario->jobs.at_once_ppm);
	scenario->jobs.attempts = between(prng, 1, scenario->jobs.attempts);
	while (sim_plan_load_ppm(scenario) > SIM_LOAD_PPM_MAX)
		scenario->jobs.every_us *= 2;
}

uint64_t sim_plan_load_ppm(const struct sim_scenario *scenario)
{
	uint64_t room_milli = scenario->sites * scenario->nodes * scenario->cpus * 1000;
	uint64_t run_us = (scenario->jobs.run_min_us + scenario->jobs.run_max_us) / 2;
	uint64_t task_milli = scenario->jobs.cpu_milli / 2 + 1;
	uint64_t tasks_ppm = (scenario->jobs.tasks + 1) * 500000 *
			     (scenario->jobs.fail_ppm ? scenario->jobs.attempts : 1);
	double load = (double)tasks_ppm * (double)run_us / (double)scenario->jobs.every_us *
		      (double)task_milli / (double)room_milli;

	return load < 1e18 ? (uint64_t)load : UINT64_MAX;
}

/* A third of what may strike any host strikes the scheduler's. */
static uint64_t draw_target(struct gw_prng *prng, const struct sim_scenario *scenario,
			    enum sim_fault_scope scope)
{
	uint64_t agents = scenario->sites * scenario->nodes;

	switch (scope) {
	case SIM_SCOPE_SITE:
		return between(prng, 0, scenario->sites - 1);
	case SIM_SCOPE_AGENT:
		return between(prng, 1, agents);
	case SIM_SCOPE_HOST:
		return between(prng, 0, 2) == 0 ? 0 : between(prng, 1, agents);
	case SIM_SCOPE_SCHEDULER:
		break;
	}
	return 0;
}

static uint64_t draw_amount(struct gw_prng *prng, const struct sim_fault_draw *draw)
{
	enum sim_fault_unit unit = sim_fault_class((enum sim_fault_kind)draw->kind)->unit;

	if (unit == SIM_UNIT_NONE)
		return 0;
	if (unit == SIM_UNIT_CHOICE || unit == SIM_UNIT_COUNT || draw->amounts[0] == 0)
		return between(prng, draw->amounts[0], draw->amounts[1]);
	return magnitude(prng, draw->amounts[0], draw->amounts[1]);
}

static struct sim_fault_event draw_event(struct gw_prng *prng, const struct sim_scenario *scenario,
					 const struct sim_fault_draw *draw)
{
	struct sim_fault_event event = {.kind = (enum sim_fault_kind)draw->kind};
	const struct sim_fault_class *class = sim_fault_class(event.kind);

	event.at_us = between(prng, GW_US_PER_S, scenario->duration_us);
	if (class->lasts && draw->lasts_max_us <= LASTS_LEAST_US)
		event.lasts_us = between(prng, draw->lasts_min_us, draw->lasts_max_us);
	else if (class->lasts)
		event.lasts_us = magnitude(prng,
					   draw->lasts_min_us < LASTS_LEAST_US ? LASTS_LEAST_US
									       : draw->lasts_min_us,
					   draw->lasts_max_us);
	event.target = draw_target(prng, scenario, class->scope);
	event.amount = draw_amount(prng, draw);
	return event;
}

/* Damage to the only copy ends much of what can be demanded afterwards, so few seeds have it. */
static uint64_t draw_count(struct gw_prng *prng, const struct sim_fault_draw *draw)
{
	bool damages = sim_fault_class((enum sim_fault_kind)draw->kind)->damages;
	bool has = between(prng, 0, damages ? 7 : 1) == 0;

	return has ? between(prng, 1, draw->count) : 0;
}

static int by_time(const void *a, const void *b)
{
	const struct sim_fault_event *x = a;
	const struct sim_fault_event *y = b;

	if (x->at_us != y->at_us)
		return x->at_us < y->at_us ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->target < y->target ? -1 : x->target > y->target;
}

void sim_plan_draw(const struct sim_scenario *scenario, uint64_t seed, struct gw_arena *arena,
		   struct sim_scenario *ret_concrete)
{
	const struct sim_fault_draw *draws = scenario->faults.items;
	struct sim_fault_event *events;
	uint64_t room = scenario->events.count;
	struct gw_prng prng;

	*ret_concrete = *scenario;
	ret_concrete->seed = seed;
	if (scenario->faults.count == 0 && !scenario->swarm)
		return;
	gw_prng_init(&prng, seed ^ PLAN_SALT);
	if (scenario->swarm)
		draw_numbers(&prng, ret_concrete);
	for (uint32_t i = 0; i < scenario->faults.count; i++)
		room += draws[i].count;
	events = gw_arena_alloc(arena, (room + 1) * sizeof(*events));
	CHECK(events);
	for (uint32_t i = 0; i < scenario->events.count; i++)
		events[i] = ((const struct sim_fault_event *)scenario->events.items)[i];
	room = scenario->events.count;
	for (uint32_t i = 0; i < scenario->faults.count; i++) {
		uint64_t count = draws[i].count;

		if (scenario->swarm)
			count = draw_count(&prng, &draws[i]);
		while (count-- > 0)
			events[room++] = draw_event(&prng, ret_concrete, &draws[i]);
	}
	qsort(events, room, sizeof(*events), by_time);
	ret_concrete->events = (struct gw_schema_list){.items = events, .count = (uint32_t)room};
	ret_concrete->faults = (struct gw_schema_list){.count = 0};
	ret_concrete->swarm = false;
}
