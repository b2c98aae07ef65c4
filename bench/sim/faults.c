/*
 * Carrying faults out. What is wrong with a link is worked out anew from all faults under way
 * whenever one begins or ends, so faults may overlap in any way. A process that is down is left
 * alone. When the scenario's duration is over everything is mended, so that what remains is the
 * grid's own recovery.
 */
#include "bench/sim/faults.h"

#include <stdlib.h>

#include "bench/sim/grid.h"
#include "proto/base/check.h"

#define MS 1000ull
#define S 1000000ull

const char *const sim_fault_names[SIM_FAULT_COUNT + 1] = {
	[SIM_FAULT_LINK_CUT] = "link-cut",
	[SIM_FAULT_LINK_CUT_OUT] = "link-cut-out",
	[SIM_FAULT_LINK_CUT_IN] = "link-cut-in",
	[SIM_FAULT_DELAY_SPIKE] = "delay-spike",
	[SIM_FAULT_SLOW_RATE] = "slow-rate",
	[SIM_FAULT_LOSS_BURST] = "loss-burst",
	[SIM_FAULT_DUPLICATION] = "duplication",
	[SIM_FAULT_REORDERING] = "reordering",
	[SIM_FAULT_CONNECTION_LOST] = "connection-lost",
	[SIM_FAULT_AGENT_KILLED] = "agent-killed",
	[SIM_FAULT_KEEPER_KILLED] = "keeper-killed",
	[SIM_FAULT_SCHEDULER_KILLED] = "scheduler-killed",
	[SIM_FAULT_HOST_REBOOT] = "host-reboot",
	[SIM_FAULT_POWER_CUT] = "power-cut",
	[SIM_FAULT_STOPPED] = "stopped",
	[SIM_FAULT_SLOW_CPU] = "slow-cpu",
	[SIM_FAULT_CLOCK_FORWARD] = "clock-forward",
	[SIM_FAULT_CLOCK_BACK] = "clock-back",
	[SIM_FAULT_CLOCK_FAST] = "clock-fast",
	[SIM_FAULT_CLOCK_SLOW] = "clock-slow",
	[SIM_FAULT_DISK_SLOW] = "disk-slow",
	[SIM_FAULT_DISK_FULL] = "disk-full",
	[SIM_FAULT_DISK_SYNC_FAILS] = "disk-sync-fails",
	[SIM_FAULT_DISK_SYNC_LIES] = "disk-sync-lies",
	[SIM_FAULT_DISK_MISDIRECTED] = "disk-misdirected",
	[SIM_FAULT_DISK_BIT_ROT] = "disk-bit-rot",
	[SIM_FAULT_VERSION_OLD] = "version-old",
};

static const struct sim_fault_class classes[SIM_FAULT_COUNT] = {
	[SIM_FAULT_LINK_CUT] = {SIM_SCOPE_SITE, SIM_UNIT_CHOICE, 0, 1, true, false},
	[SIM_FAULT_LINK_CUT_OUT] = {SIM_SCOPE_SITE, SIM_UNIT_CHOICE, 0, 1, true, false},
	[SIM_FAULT_LINK_CUT_IN] = {SIM_SCOPE_SITE, SIM_UNIT_CHOICE, 0, 1, true, false},
	[SIM_FAULT_DELAY_SPIKE] = {SIM_SCOPE_SITE, SIM_UNIT_US, 10 * MS, 4 * S, true, false},
	[SIM_FAULT_SLOW_RATE] = {SIM_SCOPE_SITE, SIM_UNIT_BPS, 20000, 1000000, true, false},
	[SIM_FAULT_LOSS_BURST] = {SIM_SCOPE_SITE, SIM_UNIT_PPM, 10000, 600000, true, false},
	[SIM_FAULT_DUPLICATION] = {SIM_SCOPE_SITE, SIM_UNIT_PPM, 10000, 600000, true, false},
	[SIM_FAULT_REORDERING] = {SIM_SCOPE_SITE, SIM_UNIT_PPM, 10000, 600000, true, false},
	[SIM_FAULT_CONNECTION_LOST] = {SIM_SCOPE_AGENT, SIM_UNIT_CHOICE, 1, 3, false, false},
	[SIM_FAULT_AGENT_KILLED] = {SIM_SCOPE_AGENT, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_KEEPER_KILLED] = {SIM_SCOPE_AGENT, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_SCHEDULER_KILLED] = {SIM_SCOPE_SCHEDULER, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_HOST_REBOOT] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_POWER_CUT] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_STOPPED] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_SLOW_CPU] = {SIM_SCOPE_HOST, SIM_UNIT_US, 100, 20 * MS, true, false},
	[SIM_FAULT_CLOCK_FORWARD] = {SIM_SCOPE_HOST, SIM_UNIT_US, 1 * MS, 3600 * S, false, false},
	[SIM_FAULT_CLOCK_BACK] = {SIM_SCOPE_HOST, SIM_UNIT_US, 1 * MS, 3600 * S, false, false},
	[SIM_FAULT_CLOCK_FAST] = {SIM_SCOPE_HOST, SIM_UNIT_PPM, 1, SIM_DRIFT_PPM_MAX, true, false},
	[SIM_FAULT_CLOCK_SLOW] = {SIM_SCOPE_HOST, SIM_UNIT_PPM, 1, SIM_DRIFT_PPM_MAX, true, false},
	[SIM_FAULT_DISK_SLOW] = {SIM_SCOPE_HOST, SIM_UNIT_US, 10 * MS, 2 * S, true, false},
	[SIM_FAULT_DISK_FULL] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_DISK_SYNC_FAILS] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
	[SIM_FAULT_DISK_SYNC_LIES] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, true},
	[SIM_FAULT_DISK_MISDIRECTED] = {SIM_SCOPE_HOST, SIM_UNIT_BYTES, 1, 65536, true, true},
	[SIM_FAULT_DISK_BIT_ROT] = {SIM_SCOPE_HOST, SIM_UNIT_COUNT, 0, UINT32_MAX, false, true},
	[SIM_FAULT_VERSION_OLD] = {SIM_SCOPE_HOST, SIM_UNIT_NONE, 0, 0, true, false},
};

const struct sim_fault_class *sim_fault_class(enum sim_fault_kind kind)
{
	CHECK(kind < SIM_FAULT_COUNT);
	return &classes[kind];
}

const char *sim_fault_name(enum sim_fault_kind kind)
{
	CHECK(kind < SIM_FAULT_COUNT);
	return sim_fault_names[kind];
}

/* --- links --- */

/* What each direction of a link suffers. */
struct link_cut {
	bool cut[2];
	bool breaks[2];
};

static void add_trouble(const struct sim_fault_event *event, struct sim_trouble *trouble,
			struct link_cut *cut)
{
	bool both = event->kind == SIM_FAULT_LINK_CUT;

	if (event->kind == SIM_FAULT_DELAY_SPIKE)
		trouble->spike_us += event->amount;
	if (event->kind == SIM_FAULT_SLOW_RATE &&
	    (trouble->rate_bps == 0 || event->amount < trouble->rate_bps))
		trouble->rate_bps = event->amount;
	if (event->kind == SIM_FAULT_LOSS_BURST)
		trouble->loss_ppm += event->amount;
	if (event->kind == SIM_FAULT_DUPLICATION)
		trouble->duplicate_ppm += event->amount;
	if (event->kind == SIM_FAULT_REORDERING)
		trouble->reorder_ppm += event->amount;
	if (both || event->kind == SIM_FAULT_LINK_CUT_OUT) {
		cut->cut[SIM_LISTENER] = true;
		cut->breaks[SIM_LISTENER] |= event->amount != 0;
	}
	if (both || event->kind == SIM_FAULT_LINK_CUT_IN) {
		cut->cut[SIM_DIALER] = true;
		cut->breaks[SIM_DIALER] |= event->amount != 0;
	}
}

/* The link as all faults under way make it. */
static bool set_link(struct sim_grid *grid, uint64_t site)
{
	struct sim_path *path = &grid->sites[site].path;
	struct link_cut cut = {.cut = {false, false}};

	path->trouble = (struct sim_trouble){.spike_us = 0};
	for (const struct sim_fault *fault = grid->faults; fault; fault = fault->next) {
		if (fault->under_way && fault->event.target == site &&
		    sim_fault_class(fault->event.kind)->scope == SIM_SCOPE_SITE)
			add_trouble(&fault->event, &path->trouble, &cut);
	}
	for (unsigned i = 0; i < 2; i++) {
		enum sim_end end = i == 0 ? SIM_DIALER : SIM_LISTENER;

		if (cut.cut[end])
			sim_path_cut(&grid->world, path, end, cut.breaks[end]);
		else
			sim_path_heal(&grid->world, path, end);
	}
	return true;
}

static bool lose_connection(struct sim_agent *agent, uint64_t which)
{
	bool up = agent->session.state.up || agent->session.heartbeat.up;

	if (which & 1)
		sim_conn_break(&agent->session.state);
	if (which & 2)
		sim_conn_break(&agent->session.heartbeat);
	return up;
}

/* --- hosts --- */

#define DRIFT_PPM_MAX 500     /* of a host: half of what leases allow two clocks to differ by */
#define KEEPER_US_MAX (2 * S) /* an agent, or a service manager, soon starts another */
#define UPGRADE_US (200 * MS)

static struct sim_agent *agent_of(struct sim_grid *grid, uint64_t target)
{
	CHECK(target > 0);
	CHECK(target <= grid->agent_count);
	return &grid->agents[target - 1];
}

static struct sim_host *host_of(struct sim_grid *grid, uint64_t target)
{
	return target > 0 ? &grid->agents[target - 1].host : &grid->scheduler;
}

static void add_slowness(const struct sim_fault_event *event, struct sim_host *host,
			 int64_t *drift_ppm)
{
	if (event->kind == SIM_FAULT_DISK_SLOW)
		host->disk.slow_us += event->amount;
	if (event->kind == SIM_FAULT_DISK_FULL)
		host->disk.full = true;
	if (event->kind == SIM_FAULT_DISK_SYNC_LIES)
		host->disk.sync_lies = true;
	if (event->kind == SIM_FAULT_SLOW_CPU)
		host->step_us += event->amount;
	if (event->kind == SIM_FAULT_CLOCK_FAST)
		*drift_ppm += (int64_t)event->amount;
	if (event->kind == SIM_FAULT_CLOCK_SLOW)
		*drift_ppm -= (int64_t)event->amount;
}

/* The host as all faults under way make it. */
static bool set_host(struct sim_grid *grid, uint64_t target)
{
	struct sim_host *host = host_of(grid, target);
	int64_t drift_ppm = 0;

	host->disk.slow_us = 0;
	host->disk.full = false;
	host->disk.sync_lies = false;
	host->step_us = 0;
	for (const struct sim_fault *fault = grid->faults; fault; fault = fault->next) {
		if (fault->under_way && fault->event.target == target &&
		    sim_fault_class(fault->event.kind)->scope == SIM_SCOPE_HOST)
			add_slowness(&fault->event, host, &drift_ppm);
	}
	if (drift_ppm != 0) {
		drift_ppm += host->drift_ppm;
		if (drift_ppm > DRIFT_PPM_MAX)
			drift_ppm = DRIFT_PPM_MAX;
		if (drift_ppm < -DRIFT_PPM_MAX)
			drift_ppm = -DRIFT_PPM_MAX;
	} else {
		drift_ppm = host->drift_ppm;
	}
	if (drift_ppm != host->clock.drift_ppm)
		sim_clock_drift(&host->clock, grid->world.now_us, (int32_t)drift_ppm);
	return true;
}

/* These answer: was there anything to break? */
static bool kill_process(struct sim_grid *grid, uint64_t target, uint64_t lasts_us)
{
	struct sim_host *host = host_of(grid, target);

	if (!host->node)
		return false;
	sim_host_check_replay(host);
	sim_host_crash(host);
	sim_host_revive(host, grid->world.now_us + lasts_us);
	return true;
}

static bool reboot(struct sim_grid *grid, uint64_t target, uint64_t lasts_us, bool power)
{
	struct sim_host *host = host_of(grid, target);

	if (host->node)
		sim_host_check_replay(host);
	if (power)
		sim_host_power_cut(host);
	else
		sim_host_crash(host);
	host->rebooting = true;
	if (target > 0)
		sim_keeper_reboot(&agent_of(grid, target)->keeper);
	sim_host_revive(host, grid->world.now_us + lasts_us);
	return true;
}

/* Restarted as the version before, or as this one again. */
static bool set_version(struct sim_grid *grid, uint64_t target, bool old)
{
	struct sim_host *host = host_of(grid, target);
	bool new = host->old != old;

	host->old = old;
	return kill_process(grid, target, UPGRADE_US) || new;
}

static bool step_wall(struct sim_host *host, int64_t by_us)
{
	host->clock.wall_offset_us += by_us;
	return true;
}

/* --- beginning and ending --- */

static bool strike(struct sim_grid *grid, const struct sim_fault_event *event)
{
	struct sim_host *host = host_of(grid, event->target);

	switch (event->kind) {
	case SIM_FAULT_LINK_CUT:
	case SIM_FAULT_LINK_CUT_OUT:
	case SIM_FAULT_LINK_CUT_IN:
	case SIM_FAULT_DELAY_SPIKE:
	case SIM_FAULT_SLOW_RATE:
	case SIM_FAULT_LOSS_BURST:
	case SIM_FAULT_DUPLICATION:
	case SIM_FAULT_REORDERING:
		return set_link(grid, event->target);
	case SIM_FAULT_CONNECTION_LOST:
		return lose_connection(agent_of(grid, event->target), event->amount);
	case SIM_FAULT_KEEPER_KILLED:
		return sim_keeper_kill(&agent_of(grid, event->target)->keeper);
	case SIM_FAULT_AGENT_KILLED:
	case SIM_FAULT_SCHEDULER_KILLED:
		return kill_process(grid, event->target, event->lasts_us);
	case SIM_FAULT_HOST_REBOOT:
	case SIM_FAULT_POWER_CUT:
		return reboot(grid, event->target, event->lasts_us,
			      event->kind == SIM_FAULT_POWER_CUT);
	case SIM_FAULT_STOPPED:
		return sim_host_stop(host, grid->world.now_us + event->lasts_us);
	case SIM_FAULT_CLOCK_FORWARD:
		return step_wall(host, (int64_t)event->amount);
	case SIM_FAULT_CLOCK_BACK:
		return step_wall(host, -(int64_t)event->amount);
	case SIM_FAULT_SLOW_CPU:
	case SIM_FAULT_CLOCK_FAST:
	case SIM_FAULT_CLOCK_SLOW:
	case SIM_FAULT_DISK_SLOW:
	case SIM_FAULT_DISK_FULL:
	case SIM_FAULT_DISK_SYNC_LIES:
		return set_host(grid, event->target);
	case SIM_FAULT_DISK_SYNC_FAILS:
		host->disk.sync_fails = true;
		return true;
	case SIM_FAULT_DISK_MISDIRECTED:
		host->disk.misdirect_bytes = event->amount;
		return true;
	case SIM_FAULT_DISK_BIT_ROT:
		return sim_disk_rot(&host->disk, event->amount);
	case SIM_FAULT_VERSION_OLD:
		return set_version(grid, event->target, true);
	case SIM_FAULT_COUNT:
		break;
	}
	CHECK(!"a kind of fault");
}

/* What has ended by itself, or ends by a timer of its own, needs nothing. */
static void mend(struct sim_grid *grid, const struct sim_fault_event *event)
{
	struct sim_host *host = host_of(grid, event->target);
	enum sim_fault_scope scope = sim_fault_class(event->kind)->scope;

	if (scope == SIM_SCOPE_SITE)
		(void)set_link(grid, event->target); /* always there */
	else if (event->kind == SIM_FAULT_KEEPER_KILLED)
		sim_keeper_revive(&agent_of(grid, event->target)->keeper);
	else if (event->kind == SIM_FAULT_VERSION_OLD)
		(void)set_version(grid, event->target, false); /* down: it starts as the new one */
	else if (event->kind == SIM_FAULT_DISK_SYNC_FAILS)
		host->disk.sync_fails = false;
	else if (event->kind == SIM_FAULT_DISK_MISDIRECTED)
		host->disk.misdirect_bytes = 0;
	else if (scope == SIM_SCOPE_HOST)
		(void)set_host(grid, event->target); /* always there */
}

static void end(struct sim_fault *fault)
{
	struct sim_grid *grid = fault->grid;

	fault->under_way = false;
	sim_timer_clear(&grid->world, &fault->timer);
	mend(grid, &fault->event);
}

static void begin(struct sim_fault *fault)
{
	struct sim_grid *grid = fault->grid;
	const struct sim_fault_event *event = &fault->event;
	struct sim_world *world = &grid->world;
	uint64_t lasts_us = event->lasts_us;
	char text[96];

	if (event->kind == SIM_FAULT_KEEPER_KILLED && lasts_us > KEEPER_US_MAX)
		lasts_us = KEEPER_US_MAX;
	sim_scenario_format_event(grid->scenario, event, text, sizeof(text));
	sim_say(world, "fault", "%s for %llu ms, amount %llu", text,
		(unsigned long long)(event->lasts_us / MS), (unsigned long long)event->amount);
	fault->under_way = sim_fault_class(event->kind)->lasts;
	if (fault->under_way)
		sim_timer_set(world, &fault->timer, world->now_us + lasts_us);
	if (strike(grid, event))
		world->coverage.struck[event->kind]++;
	else
		world->coverage.left[event->kind]++;
}

static void fire(struct sim_timer *timer)
{
	struct sim_fault *fault = timer->owner;

	if (fault->under_way)
		end(fault);
	else
		begin(fault);
}

static struct sim_fault *add_fault(struct sim_grid *grid, const struct sim_fault_event *event)
{
	struct sim_fault *fault = calloc(1, sizeof(*fault));

	CHECK(fault);
	CHECK(event->kind < SIM_FAULT_COUNT);
	fault->grid = grid;
	fault->event = *event;
	fault->next = grid->faults;
	grid->faults = fault;
	sim_timer_init(&fault->timer, fire, fault);
	return fault;
}

/* A list may be written by hand: what it names must be there. */
bool sim_fault_fits(const struct sim_fault_event *event, uint64_t sites, uint64_t agents)
{
	const struct sim_fault_class *class = sim_fault_class(event->kind);

	switch (class->scope) {
	case SIM_SCOPE_SITE:
		return event->target < sites;
	case SIM_SCOPE_AGENT:
		return event->target >= 1 && event->target <= agents;
	case SIM_SCOPE_SCHEDULER:
		return event->target == 0;
	case SIM_SCOPE_HOST:
		return event->target <= agents;
	}
	return false;
}

void sim_faults_set(struct sim_grid *grid, const struct sim_fault_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct sim_fault *fault;

		CHECK(sim_fault_fits(&events[i], grid->site_count, grid->agent_count));
		fault = add_fault(grid, &events[i]);
		sim_timer_set(&grid->world, &fault->timer, events[i].at_us);
	}
}

void sim_fault_begin(struct sim_grid *grid, const struct sim_fault_event *event)
{
	CHECK(sim_fault_fits(event, grid->site_count, grid->agent_count));
	begin(add_fault(grid, event));
}

/* Fires a timer at once if it is set. */
static void hasten(struct sim_world *world, struct sim_timer *timer)
{
	if (timer->item.position != 0)
		sim_timer_set(world, timer, world->now_us);
}

void sim_faults_end(struct sim_grid *grid)
{
	for (struct sim_fault *fault = grid->faults; fault; fault = fault->next) {
		if (fault->under_way)
			end(fault);
		sim_timer_clear(&grid->world, &fault->timer);
	}
	for (uint32_t i = 0; i < grid->agent_count; i++)
		hasten(&grid->world, &grid->agents[i].host.revive);
	hasten(&grid->world, &grid->scheduler.revive);
}
