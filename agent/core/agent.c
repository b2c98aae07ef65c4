/*
 * The agent's switch over events, its session with the scheduler and its heartbeats. A step takes
 * the event, with whatever answer must be made on the spot (the list is empty then, so it fits),
 * and afterwards says what is due until the list is full; the rest waits in state for CONTINUE.
 */
#include "agent/core/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

/* The most effects that one event's direct answer takes. */
#define ANSWER_EFFECTS_MAX 3u

struct gw_agent_config gw_agent_config_default(void)
{
	return (struct gw_agent_config){
		.heartbeat_us = GW_US_PER_S,
		.telemetry_us = 10 * GW_US_PER_S,
		.refresh_us = 60 * GW_US_PER_S,
		.lease_us = 24ull * 3600 * GW_US_PER_S,
		.attempts_max = 4096,
		.reads_max = 48,
		.start_bytes_max = GW_START_BYTES_MAX,
	};
}

const struct gw_agent *gw_agent_of(const struct gw_node *node)
{
	return (const struct gw_agent *)node; /* node is its first member */
}

static struct gw_agent *agent_of(struct gw_node *node)
{
	return (struct gw_agent *)node;
}

bool gw_agent_send(struct gw_agent *agent, struct gw_effects *effects, const Godwit__Body *body)
{
	return gw_effects_send(effects, agent->config.scheduler, GW_CHANNEL_STATE, agent->term_seq,
			       body);
}

void gw_agent_refuse(struct gw_agent *agent, struct gw_effects *effects, enum gw_refusal code,
		     uint64_t request, const char *text)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;
	char copy[256];

	(void)strncpy(copy, text, sizeof(copy) - 1); /* cut: our own sentences are shorter */
	copy[sizeof(copy) - 1] = '\0';
	refusal.code = code;
	if (code == GW_REFUSAL_TERM)
		refusal.term = agent->memory.term;
	refusal.text = copy;
	body.kind_case = GODWIT__BODY__KIND_REFUSAL;
	body.refusal = &refusal;
	body.request = request;
	agent->refused++;
	CHECK(gw_agent_send(agent, effects, &body));
}

static bool is_scheduler(const struct gw_agent *agent, struct gw_node_id id)
{
	return gw_id_equal(agent->config.scheduler.id, id.id);
}

/* A session opens. With a new one nothing said before counts as heard. */
static void take_peer_up(struct gw_agent *agent, const struct gw_event *event)
{
	CHECK(agent->started); /* an inventory without what the keeper holds would lose it */
	if (!is_scheduler(agent, event->peer_up.peer->node))
		return;
	agent->open = true;
	agent->pulse.next_us = agent->now.mono_us;
	if (!event->peer_up.resumed) {
		agent->info.due = true;
		agent->told.valid = false;
		agent->paths.valid = false;
		agent->inventory_due = false;
	}
	for (uint32_t i = 0; i < agent->runs.table.count; i++) {
		struct gw_run *run = agent->runs.table.entries[i];
		bool again = !event->peer_up.resumed && gw_run_ended(run->state);

		gw_runs_due(&agent->runs, run, again ? GW_RUN_DO_STATUS : 0);
	}
}

static void take_peer_down(struct gw_agent *agent, const struct gw_event *event)
{
	if (!is_scheduler(agent, event->peer_down.node))
		return;
	agent->open = false;
	agent->inventory_due = false;
	gw_agent_drop_reads(agent);
}

/* A heartbeat answered renews all leases, from when it was sent. */
static void take_pulse(struct gw_agent *agent, const Godwit__HeartbeatReply *reply)
{
	struct gw_pulse *pulse = &agent->pulse;
	uint64_t *sent_us = &pulse->sent_us[reply->number % GW_HEARTBEATS_OPEN_MAX];

	if (reply->number > pulse->number || reply->number <= pulse->answered ||
	    pulse->number - reply->number >= GW_HEARTBEATS_OPEN_MAX || *sent_us == 0)
		return;
	pulse->answered = reply->number;
	pulse->rtt_us = (uint32_t)(agent->now.mono_us - *sent_us);
	if (reply->lease_us == 0)
		return;
	agent->lease_check_us = 0; /* a grant may also be shorter than the one before */
	agent->renewed_lease_us =
		reply->lease_us < GW_AGENT_LEASE_US_MAX ? reply->lease_us : GW_AGENT_LEASE_US_MAX;
	agent->renewed_us = *sent_us;
	*sent_us = 0;
}

static void take_body(struct gw_agent *agent, const Godwit__Body *body, struct gw_effects *effects)
{
	switch ((int)body->kind_case) { /* an agent answers these; the rest it refuses */
	case GODWIT__BODY__KIND_TASK_START:
		gw_agent_start_task(agent, body->task_start, effects);
		return;
	case GODWIT__BODY__KIND_TASK_KILL:
		gw_agent_kill_task(agent, body->task_kill, effects);
		return;
	case GODWIT__BODY__KIND_TASK_FORGET:
		gw_agent_forget_task(agent, body->task_forget, effects);
		return;
	case GODWIT__BODY__KIND_LOG_READ:
		gw_agent_read_log(agent, body->request, body->log_read, effects);
		return;
	case GODWIT__BODY__KIND_PEER_TABLE:
		gw_agent_take_peers(agent, body->peer_table, effects);
		return;
	case GODWIT__BODY__KIND_INVENTORY_REQUEST:
		gw_agent_ask_inventory(agent);
		return;
	case GODWIT__BODY__KIND_REFUSAL: /* the host has logged it; answering one never ends */
		return;
	default:
		gw_agent_refuse(agent, effects, GW_REFUSAL_IDENTITY, body->request,
				"an agent does not answer this kind of message");
	}
}

static void take_message(struct gw_agent *agent, const struct gw_event *event,
			 struct gw_effects *effects)
{
	const Godwit__Body *body = event->message.body;

	if (!is_scheduler(agent, event->message.peer->node) || !agent->open)
		return;
	if (event->message.term < agent->memory.term) {
		if (event->message.channel == GW_CHANNEL_STATE)
			gw_agent_refuse(agent, effects, GW_REFUSAL_TERM, body->request,
					"this agent has heard a leader of a later term");
		return;
	}
	gw_agent_take_term(agent, event->message.term, effects);
	if (event->message.channel == GW_CHANNEL_STATE)
		take_body(agent, body, effects);
	else if (body->kind_case == GODWIT__BODY__KIND_HEARTBEAT_REPLY)
		take_pulse(agent, body->heartbeat_reply);
}

/* An attempt that this agent did not start: the keeper had it before the agent came. Its lease
 * goes on from the last renewal known, at the shortest length that was alive. */
static struct gw_run *adopt(struct gw_agent *agent, struct gw_attempt_id id)
{
	const struct gw_agent_memory *before = &agent->memory;
	struct gw_run *run = gw_runs_add(&agent->runs, id);

	if (!run) {
		agent->refused++;
		return NULL;
	}
	run->lease_us = before->lease_us ? before->lease_us : agent->config.lease_us;
	run->granted_us = agent->now.mono_us;
	if (before->renewed_us != 0 && before->renewed_us < run->granted_us &&
	    gw_id_equal(before->boot_id, agent->now.boot_id))
		run->granted_us = before->renewed_us;
	run->grace_us = 10 * GW_US_PER_S;
	agent->lease_check_us = 0;
	return run;
}

/* The attempt of a keeper's event. NULL: not in the table, which is full (the keeper's own bound is
 * the same, so a daemon never sees it). */
static struct gw_run *run_of(struct gw_agent *agent, struct gw_attempt_id id)
{
	struct gw_run *run = gw_runs_find(&agent->runs, id);

	return run ? run : adopt(agent, id);
}

static int take_spawned(struct gw_agent *agent, const struct gw_event *event)
{
	struct gw_run *run = run_of(agent, event->spawned.attempt);
	int r;

	if (!run)
		return 0;
	if (event->spawned.starting) {
		if (run->state == GW_RUN_ABSENT) /* the keeper was asked by the agent before */
			(void)gw_runs_take(&agent->runs, run, GW_RUN_START);
		return 0;
	}
	if (event->spawned.error) {
		if (!gw_run_ended(run->state) && run->state != GW_RUN_RUNNING) {
			r = gw_run_set_error(run, event->spawned.error);
			if (r != 0)
				return r;
			run->declined = event->spawned.declined;
		}
		(void)gw_runs_take(&agent->runs, run, GW_RUN_NOT_SPAWNED);
		return 0;
	}
	run->pid = event->spawned.pid;
	r = gw_run_set_notes(run, event->spawned.not_enforced, event->spawned.not_enforced_count);
	if (r != 0)
		return r;
	(void)gw_runs_take(&agent->runs, run, GW_RUN_SPAWNED);
	return 0;
}

static enum gw_run_input exit_input(Godwit__AttemptState state)
{
	if (state == GODWIT__ATTEMPT_STATE__ATTEMPT_LOST)
		return GW_RUN_KEEPER_LOST;
	if (state == GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE)
		return GW_RUN_KEEPER_TOMB;
	return GW_RUN_KEEPER_EXITED;
}

static int take_exited(struct gw_agent *agent, const struct gw_event *event)
{
	struct gw_run *run = run_of(agent, event->exited.attempt);
	enum gw_run_input input = exit_input(event->exited.state);
	int r = 0;

	if (!run)
		return 0;
	/* Told again after a reconnect: the first word stands. */
	if (!gw_run_ended(run->state) || run->state == GW_RUN_TOMBSTONE) {
		run->exit_code = event->exited.exit_code;
		run->signal = event->exited.signal;
		run->has_usage = event->exited.usage != NULL;
		if (run->has_usage)
			run->usage = *event->exited.usage;
		r = gw_run_set_error(run, event->exited.error);
	}
	(void)gw_runs_take(&agent->runs, run, input);
	agent->lease_check_us = 0; /* the shortest lease alive may be another now */
	return r;
}

static void take_stop(struct gw_agent *agent)
{
	agent->info.draining = true; /* no new tasks here; those that run, run on */
	agent->info.due = true;
	agent->stopped = true;
}

static int take(struct gw_agent *agent, const struct gw_event *event, struct gw_effects *effects)
{
	switch (event->kind) {
	case GW_EVENT_START:
		agent->started = true;
		return 0;
	case GW_EVENT_MESSAGE:
		take_message(agent, event, effects);
		return 0;
	case GW_EVENT_SAMPLE:
		return gw_agent_take_sample(agent, event->sample.telemetry, event->sample.info,
					    effects);
	case GW_EVENT_SPAWNED:
		return take_spawned(agent, event);
	case GW_EVENT_EXITED:
		return take_exited(agent, event);
	case GW_EVENT_OUTPUT:
		gw_agent_take_output(agent, event, effects);
		return 0;
	case GW_EVENT_PEER_UP:
		take_peer_up(agent, event);
		return 0;
	case GW_EVENT_PEER_DOWN:
		take_peer_down(agent, event);
		return 0;
	case GW_EVENT_OBSERVED:
		return gw_agent_take_paths(agent, event->observed.paths, effects);
	case GW_EVENT_STOP:
		take_stop(agent);
		return 0;
	case GW_EVENT_TICK:
	case GW_EVENT_CONTINUE:
	case GW_EVENT_DURABLE: /* the rest is the scheduler's */
	case GW_EVENT_SUBMIT:
	case GW_EVENT_PLANNED:
	case GW_EVENT_ROLE:
		return 0;
	}
	return -EINVAL;
}

static bool say_heartbeat(struct gw_agent *agent, struct gw_effects *effects)
{
	struct gw_pulse *pulse = &agent->pulse;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Heartbeat heartbeat = GODWIT__HEARTBEAT__INIT;

	if (!agent->open || agent->stopped || agent->now.mono_us < pulse->next_us)
		return true;
	heartbeat.number = pulse->number + 1;
	heartbeat.sent_mono_us = agent->now.mono_us;
	heartbeat.rtt_us = pulse->rtt_us; /* the link puts in the state channel's sequences */
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT;
	body.heartbeat = &heartbeat;
	if (!gw_effects_send(effects, agent->config.scheduler, GW_CHANNEL_HEARTBEAT, 0, &body))
		return false;
	pulse->number++;
	pulse->sent_us[pulse->number % GW_HEARTBEATS_OPEN_MAX] = agent->now.mono_us;
	pulse->next_us += agent->config.heartbeat_us;
	if (pulse->next_us <= agent->now.mono_us) /* late: no burst to catch up */
		pulse->next_us = agent->now.mono_us + agent->config.heartbeat_us;
	return true;
}

static int step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects)
{
	struct gw_agent *agent = agent_of(node);
	int r;

	CHECK(gw_effects_room(effects, ANSWER_EFFECTS_MAX));
	CHECK(event->now.mono_us >= agent->now.mono_us);
	agent->now = event->now;
	r = take(agent, event, effects);
	if (r != 0)
		return r;
	if (agent->started && agent->now.mono_us >= agent->lease_check_us)
		gw_agent_check_leases(agent);
	/* Heartbeats first: their lateness is a lease's. Each says false when the list is full. */
	if (!say_heartbeat(agent, effects) ||
	    (agent->started && !gw_agent_say_renewal(agent, effects)) ||
	    !gw_agent_say_info(agent, effects) || !gw_agent_say_runs(agent, effects) ||
	    !gw_agent_say_inventory(agent, effects))
		CHECK(effects->more);
	return 0;
}

static uint64_t wake_us(const struct gw_node *node)
{
	const struct gw_agent *agent = gw_agent_of(node);
	uint64_t wake_us = GW_NEVER_US;

	if (!agent->started || agent->stopped)
		return GW_NEVER_US;
	if (agent->open)
		wake_us = agent->pulse.next_us;
	if (agent->lease_check_us < wake_us)
		wake_us = agent->lease_check_us;
	return wake_us;
}

static int apply(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size)
{
	return gw_agent_apply(agent_of(node), seq, bytes, size);
}

static int snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	return gw_agent_snapshot(gw_agent_of(node), piece, context);
}

static int restore(struct gw_node *node, const uint8_t *bytes, size_t size)
{
	return gw_agent_restore(agent_of(node), bytes, size);
}

static uint64_t seq(const struct gw_node *node)
{
	return gw_agent_of(node)->seq;
}

static uint64_t digest(const struct gw_node *node)
{
	const struct gw_agent *agent = gw_agent_of(node);
	const struct gw_agent_memory *memory = &agent->memory;
	const uint64_t words[] = {agent->seq, memory->term, memory->renewed_us, memory->lease_us};
	uint64_t hash = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < GW_ARRAY_COUNT(words); i++)
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < GW_ID_BYTES; i++)
		hash = (hash ^ memory->boot_id.bytes[i]) * 0x9e3779b97f4a7c15ull;
	return hash;
}

static void agent_free(struct gw_node *node)
{
	struct gw_agent *agent = agent_of(node);

	gw_runs_deinit(&agent->runs);
	gw_arena_deinit(&agent->info.arena);
	free(agent->paths.paths);
	free(agent->reads);
	free(agent);
}

struct gw_node *gw_agent_new(const struct gw_agent_config *config)
{
	static const struct gw_node_ops ops = {
		.step = step,
		.wake_us = wake_us,
		.apply = apply,
		.snapshot = snapshot,
		.restore = restore,
		.seq = seq,
		.digest = digest,
		.free = agent_free,
	};
	struct gw_agent *agent = calloc(1, sizeof(*agent));

	CHECK(config->heartbeat_us > 0);
	CHECK(config->attempts_max > 0);
	CHECK(config->start_bytes_max < GW_MESSAGE_BYTES_MAX);
	if (!agent)
		return NULL;
	agent->reads = calloc(config->reads_max + 1u, sizeof(*agent->reads));
	if (!agent->reads) {
		free(agent);
		return NULL;
	}
	agent->node.ops = &ops;
	agent->config = *config;
	agent->lease_check_us = GW_NEVER_US;
	gw_arena_init(&agent->info.arena, GW_DECODE_BYTES_MAX);
	gw_runs_init(&agent->runs, config->attempts_max, config->hash_key);
	return &agent->node;
}

struct gw_agent_memory gw_agent_memory(const struct gw_node *node)
{
	return gw_agent_of(node)->memory;
}

struct gw_agent_counts gw_agent_counts(const struct gw_node *node)
{
	const struct gw_agent *agent = gw_agent_of(node);

	return (struct gw_agent_counts){
		.attempts = agent->runs.table.count,
		.alive = agent->runs.alive,
		.reads = agent->read_count,
		.refused = agent->refused,
		.samples_thinned = agent->thinned,
		.rtt_us = agent->pulse.rtt_us,
		.connected = agent->open,
	};
}
