/*
 * Building and running the grid. An agent's host samples and probes every ten seconds; the world's
 * own distances answer the probes. A planner runs at once, on the simulator's thread, and its
 * result comes a little later.
 */
#include "bench/sim/grid.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/wire.h"
#include "scheduler/core/check.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/place/plan.h"

#define SAMPLE_US (10 * GW_US_PER_S)
#define SCAN_US (5 * GW_US_PER_S)
#define US_PER_KM 5u /* one way, in glass */
#define LOCAL_US 50u /* inside a site */
#define WALL_US 1800000000000000ll
#define WALL_ERROR_US 20000u
#define USAGES_MAX 64u /* more are not told: enough for the cores to see usage */
#define PATHS_MAX 1024u
#define WAITING_PER_CPU 5u
#define AGENT_SNAPSHOT_BYTES (16u << 10) /* an agent's state is one small piece */
#define PROBES 10u                       /* between two reports, to each peer */
#define PROBE_BYTES 44u                  /* STAMP, unauthenticated (RFC 8762, 4.2.1) */

static const struct sim_keeper_ops keeper_ops = {sim_check_began, sim_check_ended};

static struct gw_node_id node_id(uint32_t number)
{
	return (struct gw_node_id){gw_id_make(0x9d, 1, number)};
}

struct sim_agent *sim_grid_agent(struct sim_grid *grid, struct gw_node_id node)
{
	uint64_t number = gw_id_counter(node.id);

	if (number == 0 || number > grid->agent_count ||
	    !gw_id_equal(node.id, node_id((uint32_t)number).id))
		return NULL;
	return &grid->agents[number - 1];
}

static uint64_t distance_us(const struct sim_site *a, const struct sim_site *b)
{
	int64_t x = a->x_km - b->x_km;
	int64_t y = a->y_km - b->y_km;
	uint64_t square = (uint64_t)(x * x + y * y);
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit > 0; bit >>= 1) {
		if ((root + bit) * (root + bit) <= square)
			root += bit;
	}
	return LOCAL_US + root * US_PER_KM;
}

/* --- agents --- */

static struct gw_node *agent_make(struct sim_host *host)
{
	struct sim_agent *agent = host->owner;
	struct gw_agent_config config = gw_agent_config_default();
	struct gw_node *node;

	config.scheduler = agent->grid->scheduler.peer.node;
	config.hash_key = agent->grid->seed + agent->number;
	node = gw_agent_new(&config);
	CHECK(node);
	return node;
}

static void agent_adopt(struct sim_host *host)
{
	struct sim_agent *agent = host->owner;

	sim_keeper_revive(&agent->keeper); /* an agent without a keeper starts one */
	sim_keeper_adopt(&agent->keeper);
}

static void take_sample(struct sim_timer *timer);

static void agent_started(struct sim_host *host)
{
	struct sim_agent *agent = host->owner;

	agent->info_version = 0;
	agent->told_us = 0;
	take_sample(&agent->sample);
	sim_session_dial(&agent->session);
}

/* The keeper hears of renewals when the core says so, as in the daemon. */
static void agent_stepped(struct sim_host *host, const struct gw_event *event)
{
	struct sim_agent *agent = host->owner;
	uint64_t renewed_us = gw_agent_keeper_renewal_us(host->node, agent->told_us);

	(void)event;
	if (renewed_us != 0) {
		agent->told_us = renewed_us;
		sim_keeper_renew(&agent->keeper, renewed_us);
	}
	sim_check_agent(&agent->grid->check, host);
}

static void take_probes(struct sim_agent *agent, const struct gw_effect *effect)
{
	struct sim_grid *grid = agent->grid;
	const Godwit__PeerTable *table;

	gw_arena_reset(&grid->shared.arena);
	table = gw_wire_decode(&godwit__peer_table__descriptor, &grid->shared.arena,
			       effect->probe.bytes, effect->probe.size);
	if (!table) {
		sim_world_fail(&grid->world, "%s: PROBE carries bytes that are no PeerTable",
			       agent->host.name);
		return;
	}
	agent->probe_generation = table->generation;
	agent->probe_count = 0;
	for (size_t i = 0; i < table->n_peers && agent->probe_count < PATHS_MAX; i++) {
		struct gw_node_id id;
		struct sim_agent *other = NULL;

		if (gw_wire_read_id(table->peers[i]->node, &id.id))
			other = sim_grid_agent(grid, id);
		if (!other || other == agent) {
			sim_world_fail(&grid->world, "%s is to probe a node that is none",
				       agent->host.name);
			return;
		}
		agent->probes[agent->probe_count++] = other->number;
	}
	sim_timer_set(&grid->world, &agent->observe,
		      grid->world.now_us + sim_between(&grid->world, SAMPLE_US / 2, SAMPLE_US));
}

static void agent_effect(struct sim_host *host, const struct gw_effect *effect)
{
	struct sim_agent *agent = host->owner;

	switch (effect->kind) {
	case GW_EFFECT_SEND:
		sim_session_send(&agent->session, SIM_DIALER, effect);
		break;
	case GW_EFFECT_SPAWN:
	case GW_EFFECT_KILL:
	case GW_EFFECT_FORGET:
	case GW_EFFECT_STREAM:
		sim_keeper_effect(&agent->keeper, effect);
		break;
	case GW_EFFECT_PROBE:
		take_probes(agent, effect);
		break;
	case GW_EFFECT_APPEND:
	case GW_EFFECT_REPLY:
	case GW_EFFECT_PLAN:
	case GW_EFFECT_REVOKE:
		sim_world_fail(host->world, "%s: an agent asks for a scheduler's effect (%d)",
			       host->name, (int)effect->kind);
	}
}

static void agent_crashed(struct sim_host *host)
{
	struct sim_agent *agent = host->owner;

	sim_session_vanish(&agent->session, SIM_DIALER);
	sim_keeper_orphan(&agent->keeper);
	sim_timer_clear(host->world, &agent->sample);
	sim_timer_clear(host->world, &agent->observe);
	agent->probe_count = 0;
}

static const struct sim_host_ops agent_ops = {
	.make = agent_make,
	.adopt = agent_adopt,
	.started = agent_started,
	.stepped = agent_stepped,
	.effect = agent_effect,
	.crashed = agent_crashed,
};

static void fill_devices(const struct sim_scenario *scenario, Godwit__Device *devices,
			 Godwit__Device **list, char texts[][16], Godwit__NodeInfo *info)
{
	static char type[] = "nvidia-sim-80g";

	for (uint64_t i = 0; i < scenario->devices; i++) {
		godwit__device__init(&devices[i]);
		(void)snprintf(texts[i], 16, "GPU-%u", (unsigned)i);
		devices[i].type = type;
		devices[i].uuid = texts[i];
		devices[i].memory_bytes = 80ull << 30;
		list[i] = &devices[i];
	}
	info->n_devices = scenario->devices;
	info->devices = list;
}

static void feed_sample(struct sim_agent *agent, const Godwit__NodeInfo *info)
{
	struct sim_keeper *keeper = &agent->keeper;
	const struct sim_scenario *scenario = agent->grid->scenario;
	Godwit__TaskUsage usages[USAGES_MAX];
	Godwit__TaskUsage *list[USAGES_MAX];
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	struct gw_event event = {.kind = GW_EVENT_SAMPLE};
	uint64_t cpu_milli = scenario->cpus * 1000;
	uint32_t count = sim_keeper_usage(keeper, usages, USAGES_MAX);

	for (uint32_t i = 0; i < count; i++)
		list[i] = &usages[i];
	telemetry.at_wall_us =
		agent->host.clock.wall_offset_us + (int64_t)agent->grid->world.now_us;
	telemetry.interval_us = SAMPLE_US;
	telemetry.cpu_busy_ppm = (uint32_t)(keeper->cpu_milli_used * 1000000 / cpu_milli);
	telemetry.memory_available_bytes =
		scenario->memory_bytes > keeper->memory_bytes_used
			? scenario->memory_bytes - keeper->memory_bytes_used
			: 0;
	telemetry.n_tasks = count;
	telemetry.tasks = list;
	event.sample.telemetry = &telemetry;
	event.sample.info = info;
	sim_host_step(&agent->host, &event);
}

static void take_sample(struct sim_timer *timer)
{
	struct sim_agent *agent = timer->owner;
	const struct sim_scenario *scenario = agent->grid->scenario;
	static char version[] = "sim";
	static char address[] = "127.0.0.1";
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	Godwit__Device devices[16];
	Godwit__Device *list[16];
	char texts[16][16];

	if (sim_host_defer(&agent->host, timer))
		return;
	info.hostname = agent->host.name;
	info.agent_version = version;
	info.cpu_count = (uint32_t)scenario->cpus;
	info.memory_bytes = scenario->memory_bytes;
	info.data_address = address;
	info.port_first = 20000;
	info.port_count = 256;
	info.probe_port = 7000;
	info.boot_id = gw_wire_id(&agent->host.clock.boot_id);
	fill_devices(scenario, devices, list, texts, &info);
	sim_timer_set(&agent->grid->world, timer, agent->grid->world.now_us + SAMPLE_US);
	feed_sample(agent, agent->info_version++ == 0 ? &info : NULL);
}

static int order_us(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

/* There and back, over both sites' links. */
static bool probe(struct sim_world *world, struct sim_site *from, struct sim_site *to,
		  uint32_t *ret_us)
{
	uint64_t us[4];

	if (!sim_path_datagram(world, &from->path, SIM_LISTENER, PROBE_BYTES, &us[0]) ||
	    !sim_path_datagram(world, &to->path, SIM_DIALER, PROBE_BYTES, &us[1]) ||
	    !sim_path_datagram(world, &to->path, SIM_LISTENER, PROBE_BYTES, &us[2]) ||
	    !sim_path_datagram(world, &from->path, SIM_DIALER, PROBE_BYTES, &us[3]))
		return false;
	/* A path is the way to the scheduler's site: what it adds to its own length is the link's.
	 */
	*ret_us = (uint32_t)(us[0] + us[1] + us[2] + us[3] + 2 * distance_us(from, to) -
			     2 * from->path.delay_us - 2 * to->path.delay_us);
	return true;
}

/* Each probe for itself, over links that are in trouble. */
static void probe_troubled(struct sim_agent *agent, const struct sim_agent *other,
			   Godwit__PathReport__Path *path)
{
	uint32_t rtt_us[PROBES];
	uint32_t count = 0;

	path->samples = PROBES;
	for (uint32_t i = 0; i < PROBES; i++)
		count += other->host.node &&
			 probe(&agent->grid->world, agent->site, other->site, &rtt_us[count]);
	path->loss_ppm = (PROBES - count) * (1000000 / PROBES);
	if (count == 0)
		return;
	qsort(rtt_us, count, sizeof(rtt_us[0]), order_us);
	path->rtt_us_min = rtt_us[0];
	path->rtt_us_p50 = rtt_us[count / 2];
	path->rtt_us_p99 = rtt_us[count - 1];
	path->jitter_us = (rtt_us[count - 1] - rtt_us[0]) / 2;
}

/* As many probes over calm links would say it. */
static void probe_calm(const struct sim_agent *agent, const struct sim_agent *other,
		       Godwit__PathReport__Path *path)
{
	const struct sim_scenario *scenario = agent->grid->scenario;

	path->rtt_us_min = (uint32_t)(2 * distance_us(agent->site, other->site));
	path->jitter_us = (uint32_t)scenario->jitter_us;
	path->rtt_us_p50 = path->rtt_us_min + path->jitter_us;
	path->rtt_us_p99 = path->rtt_us_min + 2 * path->jitter_us;
	path->loss_ppm = other->host.node ? (uint32_t)scenario->loss_ppm : 1000000;
	path->samples = PROBES;
}

static void observe(struct sim_timer *timer)
{
	struct sim_agent *agent = timer->owner;
	struct sim_grid *grid = agent->grid;
	Godwit__PathReport report = GODWIT__PATH_REPORT__INIT;
	struct gw_event event = {.kind = GW_EVENT_OBSERVED};
	Godwit__PathReport__Path *paths;
	Godwit__PathReport__Path **list;

	if (sim_host_defer(&agent->host, timer))
		return;
	paths = calloc(agent->probe_count + 1, sizeof(*paths));
	list = calloc(agent->probe_count + 1, sizeof(struct path *));
	CHECK(paths);
	CHECK(list);
	for (uint32_t i = 0; i < agent->probe_count; i++) {
		const struct sim_agent *other = &grid->agents[agent->probes[i] - 1];

		godwit__path_report__path__init(&paths[i]);
		paths[i].node = gw_wire_id(&other->host.peer.node.id);
		if (sim_path_is_calm(&agent->site->path) && sim_path_is_calm(&other->site->path))
			probe_calm(agent, other, &paths[i]);
		else
			probe_troubled(agent, other, &paths[i]);
		list[i] = &paths[i];
	}
	report.generation = agent->probe_generation;
	report.n_paths = agent->probe_count;
	report.paths = list;
	event.observed.paths = &report;
	sim_timer_set(&grid->world, timer, grid->world.now_us + SAMPLE_US);
	sim_host_step(&agent->host, &event);
	free(list);
	free(paths);
}

/* --- the scheduler --- */

static struct gw_node *scheduler_make(struct sim_host *host)
{
	struct sim_grid *grid = host->owner;
	struct gw_scheduler_config config;
	struct gw_node *node;

	gw_scheduler_config_defaults(&config);
	config.region = "sim";
	config.region_id = 7;
	config.seed = grid->seed;
	config.waiting_tasks_per_user_max = grid->check.unplaced_max;
	config.epoch_min =
		(uint32_t)host->epoch; /* the daemon counts its starts in a file of its own */
	node = gw_scheduler_new(&config);
	CHECK(node);
	return node;
}

static void scheduler_adopt(struct sim_host *host)
{
	(void)host;
}

static void scheduler_started(struct sim_host *host)
{
	struct gw_event event = {.kind = GW_EVENT_ROLE, .role = {.leader = true}};

	host->term++;
	event.role.term = host->term;
	sim_host_step(host, &event);
}

static void scheduler_stepped(struct sim_host *host, const struct gw_event *event)
{
	(void)host;
	(void)event;
}

static void scheduler_record(struct sim_host *host, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct sim_grid *grid = host->owner;

	sim_check_record(&grid->check, seq, bytes, size);
}

static void scheduler_lost(struct sim_host *host, uint64_t seq)
{
	struct sim_grid *grid = host->owner;

	sim_check_lost(&grid->check, seq);
}

static void planned(struct sim_timer *timer)
{
	struct sim_plan *plan = timer->owner;
	struct sim_grid *grid = plan->grid;
	struct gw_event event = {.kind = GW_EVENT_PLANNED};

	if (sim_host_defer(&grid->scheduler, timer))
		return;
	for (struct sim_plan **at = &grid->plans; *at; at = &(*at)->next) {
		if (*at == plan) {
			*at = plan->next;
			break;
		}
	}
	event.planned.plan = plan->plan;
	event.planned.result = plan->result;
	free(plan);
	sim_host_step(&grid->scheduler, &event);
}

static void run_plan(struct sim_grid *grid, const struct gw_effect *effect)
{
	struct sim_plan *plan = calloc(1, sizeof(*plan));

	CHECK(plan);
	plan->grid = grid;
	plan->plan = effect->plan.plan;
	plan->result =
		effect->plan.run(effect->plan.snapshot, effect->plan.work_units, effect->plan.seed);
	plan->next = grid->plans;
	grid->plans = plan;
	sim_timer_init(&plan->timer, planned, plan);
	sim_timer_set(&grid->world, &plan->timer,
		      grid->world.now_us + sim_between(&grid->world, 100, grid->scenario->plan_us));
}

static void drop_plans(struct sim_grid *grid)
{
	while (grid->plans) {
		struct sim_plan *plan = grid->plans;

		grid->plans = plan->next;
		sim_timer_clear(&grid->world, &plan->timer);
		grid->shared.plan_free(plan->result);
		free(plan);
	}
}

static void scheduler_effect(struct sim_host *host, const struct gw_effect *effect)
{
	struct sim_grid *grid = host->owner;
	struct sim_agent *agent = NULL;

	if (effect->kind == GW_EFFECT_SEND)
		agent = sim_grid_agent(grid, effect->send.peer);
	if (effect->kind == GW_EFFECT_REVOKE)
		agent = sim_grid_agent(grid, effect->revoke.node);
	switch (effect->kind) {
	case GW_EFFECT_SEND:
		CHECK(agent);
		sim_session_send(&agent->session, SIM_LISTENER, effect);
		break;
	case GW_EFFECT_REPLY:
		sim_client_reply(&grid->client, effect->reply.request, effect->reply.bytes,
				 effect->reply.size);
		break;
	case GW_EFFECT_PLAN:
		run_plan(grid, effect);
		break;
	case GW_EFFECT_REVOKE:
		if (agent)
			sim_session_revoke(&agent->session);
		break;
	case GW_EFFECT_APPEND:
	case GW_EFFECT_SPAWN:
	case GW_EFFECT_KILL:
	case GW_EFFECT_FORGET:
	case GW_EFFECT_STREAM:
	case GW_EFFECT_PROBE:
		sim_world_fail(host->world, "the scheduler asks for an agent's effect (%d)",
			       (int)effect->kind);
	}
}

static void scheduler_crashed(struct sim_host *host)
{
	struct sim_grid *grid = host->owner;

	drop_plans(grid);
	for (uint32_t i = 0; i < grid->agent_count; i++)
		sim_session_vanish(&grid->agents[i].session, SIM_LISTENER);
}

static const struct sim_host_ops scheduler_ops = {
	.make = scheduler_make,
	.adopt = scheduler_adopt,
	.started = scheduler_started,
	.stepped = scheduler_stepped,
	.effect = scheduler_effect,
	.crashed = scheduler_crashed,
	.record = scheduler_record,
	.lost = scheduler_lost,
};

/* --- building and running --- */

static void set_clock(struct sim_grid *grid, struct sim_host *host, uint32_t number)
{
	uint64_t drift_ppm = grid->scenario->drift_ppm;

	host->drift_ppm = (int32_t)sim_between(&grid->world, 0, 2 * drift_ppm) - (int32_t)drift_ppm;
	if (grid->shared.bug == SIM_BUG_SLOW_CLOCK && number > 0)
		host->drift_ppm = -600000;
	host->clock.drift_ppm = host->drift_ppm;
	host->clock.wall_error_us = WALL_ERROR_US;
	host->clock.wall_offset_us = WALL_US +
				     (int64_t)sim_between(&grid->world, 0, 2ull * WALL_ERROR_US) -
				     (int64_t)WALL_ERROR_US;
	host->clock.boot_id = gw_id_make(number, 1, 1);
}

static void build_sites(struct sim_grid *grid)
{
	const struct sim_scenario *scenario = grid->scenario;

	grid->site_count = (uint32_t)scenario->sites;
	grid->sites = calloc(grid->site_count, sizeof(*grid->sites));
	CHECK(grid->sites);
	for (uint32_t i = 0; i < grid->site_count; i++) {
		struct sim_site *site = &grid->sites[i];

		site->x_km = (int64_t)sim_between(&grid->world, 0, scenario->spread_km);
		site->y_km = (int64_t)sim_between(&grid->world, 0, scenario->spread_km);
		(void)snprintf(site->name, sizeof(site->name), "s%u", i + 1);
		/* The scheduler lives in the first site. */
		site->path.delay_us = distance_us(&grid->sites[0], site);
		site->path.jitter_us = scenario->jitter_us;
		site->path.rate_bps = scenario->rate_bps;
		site->path.loss_ppm = scenario->loss_ppm;
	}
}

static void build_scheduler(struct sim_grid *grid)
{
	struct sim_host *host = &grid->scheduler;

	(void)snprintf(host->name, sizeof(host->name), "scheduler");
	host->peer.node = node_id(0xffffff);
	host->peer.roles = 1u << GODWIT__ROLE__ROLE_SCHEDULER;
	host->peer.name = host->name;
	host->peer.site = grid->sites[0].name;
	host->peer.region = "sim";
	host->peer.provider = "sim";
	set_clock(grid, host, 0);
	sim_host_init(host, &grid->shared, &scheduler_ops, grid);
	host->disk.write_us_max = grid->scenario->write_us;
}

static void build_agent(struct sim_grid *grid, uint32_t index)
{
	struct sim_agent *agent = &grid->agents[index];
	struct sim_host *host = &agent->host;
	uint64_t nodes = grid->scenario->nodes;

	agent->grid = grid;
	agent->number = index + 1;
	agent->site = &grid->sites[index / nodes];
	agent->probes = calloc(PATHS_MAX, sizeof(*agent->probes));
	CHECK(agent->probes);
	(void)snprintf(host->name, sizeof(host->name), "%sn%u", agent->site->name,
		       (unsigned)(index % nodes) + 1);
	host->peer.node = node_id(agent->number);
	host->peer.roles = 1u << GODWIT__ROLE__ROLE_AGENT;
	host->peer.name = host->name;
	host->peer.site = agent->site->name;
	host->peer.region = "sim";
	host->peer.provider = "sim";
	set_clock(grid, host, agent->number);
	sim_host_init(host, &grid->shared, &agent_ops, agent);
	host->number = agent->number;
	host->disk.write_us_max = grid->scenario->write_us;
	host->journal.snapshot_bytes = AGENT_SNAPSHOT_BYTES;
	sim_keeper_init(&agent->keeper, host, &keeper_ops);
	sim_session_init(&agent->session, host, &grid->scheduler, &agent->site->path);
	sim_timer_init(&agent->sample, take_sample, agent);
	sim_timer_init(&agent->observe, observe, agent);
}

static void free_plan(void *result)
{
	(void)gw_plan_free(result);
}

static void scan(struct sim_timer *timer)
{
	struct sim_grid *grid = timer->owner;

	sim_check_scan(&grid->check);
	sim_timer_set(&grid->world, timer, grid->world.now_us + SCAN_US);
}

struct sim_grid *sim_grid_new(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			      FILE *transcript)
{
	struct sim_grid *grid = calloc(1, sizeof(*grid));

	CHECK(grid);
	CHECK(scenario->faults.count == 0);
	grid->scenario = scenario;
	grid->seed = seed;
	sim_world_init(&grid->world, seed, transcript);
	CHECK(sim_shared_init(&grid->shared, &grid->world) == 0);
	grid->shared.plan_free = free_plan;
	grid->shared.bug = bug;
	build_sites(grid);
	build_scheduler(grid);
	grid->agent_count = (uint32_t)(scenario->sites * scenario->nodes);
	grid->agents = calloc(grid->agent_count, sizeof(*grid->agents));
	CHECK(grid->agents);
	for (uint32_t i = 0; i < grid->agent_count; i++)
		build_agent(grid, i);
	sim_check_init(&grid->check, grid);
	/* Few enough that a grid which is cut off for long refuses work. */
	grid->check.unplaced_max = (uint32_t)(WAITING_PER_CPU * grid->agent_count * scenario->cpus +
					      scenario->jobs.tasks);
	sim_client_init(&grid->client, grid);
	sim_timer_init(&grid->scan, scan, grid);
	return grid;
}

struct sim_grid *sim_grid_free(struct sim_grid *grid)
{
	if (!grid)
		return NULL;
	drop_plans(grid);
	sim_client_deinit(&grid->client);
	for (uint32_t i = 0; i < grid->agent_count; i++) {
		sim_session_deinit(&grid->agents[i].session);
		sim_keeper_deinit(&grid->agents[i].keeper);
		sim_host_deinit(&grid->agents[i].host);
		free(grid->agents[i].probes);
	}
	sim_host_deinit(&grid->scheduler);
	sim_check_deinit(&grid->check);
	sim_shared_deinit(&grid->shared);
	sim_world_deinit(&grid->world);
	free(grid->agents);
	free(grid->sites);
	while (grid->faults) {
		struct sim_fault *fault = grid->faults;

		grid->faults = fault->next;
		free(fault);
	}
	free(grid);
	return NULL;
}

uint32_t sim_grid_refused(const struct sim_grid *grid)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < grid->agent_count; i++)
		count += grid->agents[i].host.refused;
	return count;
}

/* Nothing is left to happen but the daemons' own rhythm. */
static bool at_rest(const struct sim_grid *grid)
{
	struct gw_scheduler_counts counts;

	if (grid->scheduler.refused)
		return true;
	if (!grid->scheduler.node)
		return false;
	gw_scheduler_count(grid->scheduler.node, &counts);
	if (counts.nodes_up + sim_grid_refused(grid) != grid->agent_count)
		return false;
	for (uint32_t i = 0; i < grid->agent_count; i++) {
		if (grid->agents[i].keeper.attempts.count > 0)
			return false;
	}
	return sim_client_done(&grid->client);
}

bool sim_grid_run(struct sim_grid *grid)
{
	struct sim_world *world = &grid->world;
	uint64_t end_us = grid->scenario->duration_us + grid->scenario->settle_us;

	sim_host_start(&grid->scheduler);
	for (uint32_t i = 0; i < grid->agent_count; i++)
		sim_host_revive(&grid->agents[i].host, sim_between(world, 0, GW_US_PER_S));
	sim_client_start(&grid->client);
	sim_faults_set(grid, grid->scenario->events.items, grid->scenario->events.count);
	sim_timer_set(world, &grid->scan, SCAN_US);
	sim_world_run(world, grid->scenario->duration_us);
	sim_faults_end(grid);
	while (!world->stopped && world->now_us < end_us && !at_rest(grid))
		sim_world_run(world, world->now_us + GW_US_PER_S);
	if (!world->stopped)
		sim_check_rest(&grid->check);
	return world->fault[0] == '\0';
}
