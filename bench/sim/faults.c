/*
 * Faults: each has a time, a victim and a length, all drawn from the seed when the run begins or
 * when its time comes. A victim that is broken already is left alone. When the scenario's duration
 * is over everything is mended, so that what remains is the grid's own recovery.
 */
#include <stdlib.h>

#include "bench/sim/grid.h"
#include "proto/base/check.h"

static void kill_agent(struct sim_grid *grid, uint64_t lasts_us, bool reboot)
{
	struct sim_agent *agent =
		&grid->agents[sim_between(&grid->world, 0, grid->agent_count - 1)];

	if (!agent->host.node)
		return;
	sim_host_crash(&agent->host);
	if (reboot) {
		agent->rebooting = true;
		sim_keeper_reboot(&agent->keeper);
	}
	sim_timer_set(&grid->world, &agent->revive, grid->world.now_us + lasts_us);
}

static void kill_scheduler(struct sim_grid *grid, uint64_t lasts_us)
{
	if (!grid->scheduler.node)
		return;
	sim_host_check_replay(&grid->scheduler);
	sim_host_crash(&grid->scheduler);
	sim_timer_set(&grid->world, &grid->scheduler_revive, grid->world.now_us + lasts_us);
}

static void mend(struct sim_timer *timer)
{
	struct sim_site *site = timer->owner;
	struct sim_world *world = site->world;

	site->path.spike_us = 0;
	sim_say(world, site->name, "the link is as before");
	sim_path_heal(world, &site->path);
}

static void break_link(struct sim_grid *grid, const struct sim_fault_plan *plan, uint64_t lasts_us)
{
	struct sim_world *world = &grid->world;
	struct sim_site *site = &grid->sites[sim_between(world, 0, grid->site_count - 1)];

	if (site->mend.item.position != 0)
		return;
	if (plan->kind == SIM_FAULT_DELAY_SPIKE)
		site->path.spike_us = plan->adds_us;
	else
		sim_path_cut(world, &site->path, sim_chance_ppm(world, 500000));
	sim_say(world, site->name, "%s for %llu ms",
		sim_fault_name((enum sim_fault_kind)plan->kind),
		(unsigned long long)(lasts_us / GW_US_PER_MS));
	sim_timer_set(world, &site->mend, world->now_us + lasts_us);
}

static void lose_connection(struct sim_grid *grid)
{
	struct sim_agent *agent =
		&grid->agents[sim_between(&grid->world, 0, grid->agent_count - 1)];

	if (sim_chance_ppm(&grid->world, 700000))
		sim_conn_break(&agent->session.state);
	if (sim_chance_ppm(&grid->world, 500000))
		sim_conn_break(&agent->session.heartbeat);
}

static void strike(struct sim_timer *timer)
{
	struct sim_fault *fault = timer->owner;
	struct sim_grid *grid = fault->grid;
	uint64_t lasts_us =
		sim_between(&grid->world, fault->plan.lasts_min_us, fault->plan.lasts_max_us);

	switch ((enum sim_fault_kind)fault->plan.kind) {
	case SIM_FAULT_LINK_CUT:
	case SIM_FAULT_DELAY_SPIKE:
		break_link(grid, &fault->plan, lasts_us);
		break;
	case SIM_FAULT_CONNECTION_LOST:
		lose_connection(grid);
		break;
	case SIM_FAULT_AGENT_KILLED:
		kill_agent(grid, lasts_us, false);
		break;
	case SIM_FAULT_SCHEDULER_KILLED:
		kill_scheduler(grid, lasts_us);
		break;
	case SIM_FAULT_HOST_REBOOT:
		kill_agent(grid, lasts_us, true);
		break;
	}
}

void sim_faults_draw(struct sim_grid *grid)
{
	const struct sim_fault_plan *plans = grid->scenario->faults.items;

	for (uint32_t i = 0; i < grid->site_count; i++) {
		grid->sites[i].world = &grid->world;
		sim_timer_init(&grid->sites[i].mend, mend, &grid->sites[i]);
	}
	for (uint32_t i = 0; i < grid->scenario->faults.count; i++)
		grid->fault_count += (uint32_t)plans[i].count;
	grid->faults = calloc(grid->fault_count + 1, sizeof(*grid->faults));
	CHECK(grid->faults);
	for (uint32_t i = 0, n = 0; i < grid->scenario->faults.count; i++) {
		for (uint64_t k = 0; k < plans[i].count; k++, n++) {
			struct sim_fault *fault = &grid->faults[n];

			fault->grid = grid;
			fault->plan = plans[i];
			sim_timer_init(&fault->timer, strike, fault);
			sim_timer_set(&grid->world, &fault->timer,
				      sim_between(&grid->world, GW_US_PER_S,
						  grid->scenario->duration_us));
		}
	}
}

/* Fires a timer at once if it is set. */
static void hasten(struct sim_world *world, struct sim_timer *timer)
{
	if (timer->item.position != 0)
		sim_timer_set(world, timer, world->now_us);
}

void sim_faults_end(struct sim_grid *grid)
{
	for (uint32_t i = 0; i < grid->fault_count; i++)
		sim_timer_clear(&grid->world, &grid->faults[i].timer);
	for (uint32_t i = 0; i < grid->site_count; i++)
		hasten(&grid->world, &grid->sites[i].mend);
	for (uint32_t i = 0; i < grid->agent_count; i++)
		hasten(&grid->world, &grid->agents[i].revive);
	hasten(&grid->world, &grid->scheduler_revive);
}
