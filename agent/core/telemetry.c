/*
 * What is worth telling of the host and its paths. A sample that says about the same as the last
 * one sent is dropped (thinned); after refresh_us anything is sent again. Telemetry is soft state:
 * with no session there is nothing to keep, the next sample is told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

/* Steps that a reader of the figures would act upon. */
#define SHARE_STEP_PPM 50000u   /* processor, pressure: 5 % */
#define DEVICE_STEP_PPM 100000u /* an accelerator: 10 % */
#define RATE_STEP_BPS 8000000u  /* disk and network: 8 Mb/s and a quarter */
#define LOAD_STEP_MILLI 500u
#define ROOM_STEP_DIVISOR 20u /* memory and disk: a twentieth of what was told */
#define RTT_STEP_US 100u      /* and a twentieth */
#define LOSS_STEP_PPM 1000u
#define INFO_BYTES_MAX (256u << 10)

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static bool room_moved(uint64_t told, uint64_t now)
{
	return apart(told, now) > told / ROOM_STEP_DIVISOR;
}

static bool rate_moved(uint64_t told, uint64_t now)
{
	return apart(told, now) > RATE_STEP_BPS && apart(told, now) > told / 4;
}

static bool share_moved(uint32_t told, uint32_t now)
{
	return apart(told, now) > SHARE_STEP_PPM;
}

/* FNV-1a over words: only ever compared with itself. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
	return (hash ^ word) * 0x100000001b3ull;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text; text++)
		hash = mix(hash, (uint8_t)*text);
	return hash;
}

static uint64_t hash_devices(const Godwit__Telemetry *telemetry)
{
	uint64_t hash = telemetry->n_devices;

	for (size_t i = 0; i < telemetry->n_devices; i++) {
		const Godwit__DeviceSample *device = telemetry->devices[i];

		hash = hash_text(hash, device->uuid);
		hash = mix(hash, device->utilisation_ppm / DEVICE_STEP_PPM);
		hash = mix(hash, device->memory_used_bytes >> 30);
	}
	return hash;
}

static uint64_t hash_tasks(const Godwit__Telemetry *telemetry)
{
	uint64_t hash = telemetry->n_tasks;

	for (size_t i = 0; i < telemetry->n_tasks; i++) {
		const Godwit__TaskUsage *task = telemetry->tasks[i];

		for (size_t k = 0; k < task->job.len; k++)
			hash = mix(hash, task->job.data[k]);
		hash = mix(hash, (uint64_t)task->task_index << 32 | task->attempt);
	}
	return hash;
}

static bool worth_telling(const struct gw_agent *agent, const Godwit__Telemetry *telemetry,
			  const Godwit__Pressure *pressure)
{
	const struct gw_told *told = &agent->told;
	const Godwit__Telemetry *before = &told->figures;

	if (!told->valid || agent->now.mono_us - told->at_us >= agent->config.refresh_us)
		return true;
	/* A timer's lateness must not make every second sample too early. */
	if (agent->now.mono_us - told->at_us < agent->config.telemetry_us * 9 / 10)
		return false;
	return share_moved(before->cpu_busy_ppm, telemetry->cpu_busy_ppm) ||
	       share_moved(before->cpu_steal_ppm, telemetry->cpu_steal_ppm) ||
	       share_moved(told->pressure.cpu_ppm, pressure->cpu_ppm) ||
	       share_moved(told->pressure.memory_ppm, pressure->memory_ppm) ||
	       share_moved(told->pressure.io_ppm, pressure->io_ppm) ||
	       room_moved(before->memory_available_bytes, telemetry->memory_available_bytes) ||
	       room_moved(before->disk_free_bytes, telemetry->disk_free_bytes) ||
	       rate_moved(before->disk_read_bps, telemetry->disk_read_bps) ||
	       rate_moved(before->disk_write_bps, telemetry->disk_write_bps) ||
	       rate_moved(before->network_receive_bps, telemetry->network_receive_bps) ||
	       rate_moved(before->network_send_bps, telemetry->network_send_bps) ||
	       apart(before->load1_milli, telemetry->load1_milli) > LOAD_STEP_MILLI ||
	       told->devices_hash != hash_devices(telemetry) ||
	       told->tasks_hash != hash_tasks(telemetry);
}

static void tell(struct gw_agent *agent, const Godwit__Telemetry *telemetry,
		 struct gw_effects *effects)
{
	static const Godwit__Pressure no_pressure = GODWIT__PRESSURE__INIT;
	const Godwit__Pressure *pressure = telemetry->pressure ? telemetry->pressure : &no_pressure;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Telemetry copy = *telemetry;

	if (!agent->open)
		return;
	if (!worth_telling(agent, telemetry, pressure)) {
		agent->thinned++;
		return;
	}
	body.kind_case = GODWIT__BODY__KIND_TELEMETRY;
	body.telemetry = &copy;
	CHECK(gw_agent_send(agent, effects, &body)); /* first of its step: there is room */
	agent->told.at_us = agent->now.mono_us;
	agent->told.valid = true;
	agent->told.figures = *telemetry;
	agent->told.pressure = *pressure;
	agent->told.devices_hash = hash_devices(telemetry);
	agent->told.tasks_hash = hash_tasks(telemetry);
	/* Scalars only: what the message points to ends with the event. */
	agent->told.figures.pressure = NULL;
	agent->told.figures.n_devices = 0;
	agent->told.figures.devices = NULL;
	agent->told.figures.n_tasks = 0;
	agent->told.figures.tasks = NULL;
}

/* Notes the host's description if it is another than before. 0; -EMSGSIZE; -ENOMEM. */
static int take_info(struct gw_agent *agent, const Godwit__NodeInfo *info)
{
	Godwit__NodeInfo plain = *info;
	size_t size;
	uint8_t *bytes;
	int r = 0;

	plain.capacity_version = 0;
	size = gw_wire_size(&plain.base);
	if (size > INFO_BYTES_MAX)
		return -EMSGSIZE;
	bytes = malloc(size ? size : 1);
	if (!bytes)
		return -ENOMEM;
	gw_wire_encode(&plain.base, bytes);
	if (agent->info.info && size == agent->info.plain_size &&
	    memcmp(bytes, agent->info.plain, size) == 0)
		goto out;

	gw_arena_reset(&agent->info.arena);
	agent->info.plain = gw_arena_copy(&agent->info.arena, bytes, size);
	agent->info.plain_size = size;
	agent->info.info = NULL;
	if (agent->info.plain) {
		/* Ours to change: the arena is the agent's. */
		union {
			const void *from;
			Godwit__NodeInfo *to;
		} decoded = {.from = gw_wire_decode(&godwit__node_info__descriptor,
						    &agent->info.arena, bytes, size)};

		agent->info.info = decoded.to;
	}
	if (!agent->info.info) {
		r = -ENOMEM;
		goto out;
	}
	/* Versions grow over restarts too: a new agent starts from the wall clock's seconds. */
	agent->info.version++;
	if (agent->info.version == 1 && agent->now.wall_us > 0)
		agent->info.version = (uint64_t)agent->now.wall_us / GW_US_PER_S;
	agent->info.due = true;
out:
	free(bytes);
	return r;
}

int gw_agent_take_sample(struct gw_agent *agent, const Godwit__Telemetry *telemetry,
			 const Godwit__NodeInfo *info, struct gw_effects *effects)
{
	int r = info ? take_info(agent, info) : 0;

	if (r == 0 && telemetry)
		tell(agent, telemetry, effects);
	return r;
}

bool gw_agent_say_info(struct gw_agent *agent, struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__NodeInfo *info = agent->info.info;

	if (!agent->info.due || !info || !agent->open)
		return true;
	info->capacity_version = agent->info.version;
	if (agent->info.draining)
		info->draining = true;
	body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
	body.node_info = info;
	if (!gw_agent_send(agent, effects, &body))
		return false;
	agent->info.due = false;
	return true;
}

static bool paths_moved(const struct gw_agent *agent, const Godwit__PathReport *report)
{
	const struct gw_paths_told *told = &agent->paths;

	if (!told->valid || agent->now.mono_us - told->at_us >= agent->config.refresh_us)
		return true;
	if (told->generation != report->generation || told->count != report->n_paths)
		return true;
	for (uint32_t i = 0; i < told->count; i++) {
		const Godwit__PathReport__Path *path = report->paths[i];
		const struct gw_path_told *before = &told->paths[i];
		struct gw_id id;

		if (!gw_wire_read_id(path->node, &id) || !gw_id_equal(id, before->node))
			return true;
		if (apart(before->rtt_us, path->rtt_us_p50) > RTT_STEP_US &&
		    room_moved(before->rtt_us, path->rtt_us_p50))
			return true;
		if (apart(before->loss_ppm, path->loss_ppm) > LOSS_STEP_PPM ||
		    (before->loss_ppm == 0) != (path->loss_ppm == 0))
			return true;
	}
	return false;
}

int gw_agent_take_paths(struct gw_agent *agent, const Godwit__PathReport *report,
			struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__PathReport copy = *report;
	struct gw_path_told *paths;

	CHECK(report->n_paths <= GW_SITES_MAX);
	if (!agent->open || !paths_moved(agent, report))
		return 0;
	paths = calloc(report->n_paths + 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	for (size_t i = 0; i < report->n_paths; i++) {
		CHECK(gw_wire_read_id(report->paths[i]->node, &paths[i].node));
		paths[i].rtt_us = report->paths[i]->rtt_us_p50;
		paths[i].loss_ppm = report->paths[i]->loss_ppm;
	}
	free(agent->paths.paths);
	agent->paths = (struct gw_paths_told){.at_us = agent->now.mono_us,
					      .valid = true,
					      .generation = report->generation,
					      .count = (uint32_t)report->n_paths,
					      .paths = paths};
	body.kind_case = GODWIT__BODY__KIND_PATH_REPORT;
	body.path_report = &copy;
	CHECK(gw_agent_send(agent, effects, &body)); /* first of its step: there is room */
	return 0;
}

void gw_agent_take_peers(struct gw_agent *agent, const Godwit__PeerTable *table,
			 struct gw_effects *effects)
{
	size_t size = gw_wire_size(&table->base);
	struct gw_effect *effect;
	uint8_t *bytes;

	if (table->n_peers > GW_SITES_MAX) {
		gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, 0,
				"the peer table is larger than 2000 sites");
		return;
	}
	for (size_t i = 0; i < table->n_peers; i++) {
		const Godwit__PeerTable__Peer *peer = table->peers[i];

		if (peer->node.len != GW_ID_BYTES || peer->probe_port == 0 ||
		    peer->probe_port > UINT16_MAX) {
			gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, 0,
					"the peer table has a peer without id or probe port");
			return;
		}
	}
	effect = gw_effects_add(effects, GW_EFFECT_PROBE, agent->term_seq);
	bytes = gw_arena_alloc(&effects->arena, size ? size : 1);
	CHECK(effect); /* the list was empty: a message fits */
	CHECK(bytes);
	gw_wire_encode(&table->base, bytes);
	effect->probe.bytes = bytes;
	effect->probe.size = size;
}
