/*
 * What the scheduler orders: start, kill, forget; and the leases under which attempts run without
 * it. A command is idempotent: said twice, it is done once and answered twice.
 */
#include <stdio.h>

#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

#define GRACE_US_DEFAULT (10 * GW_US_PER_S)

/* A start that was refused leaves nothing behind, so its answer is made on the spot. */
static void refuse_start(struct gw_agent *agent, struct gw_attempt_id id, bool declined, char *text,
			 struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&id, &ref);
	status.attempt = &ref;
	status.state = GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
	status.error = text;
	status.declined = declined;
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	agent->refused++;
	CHECK(gw_agent_send(agent, effects, &body));
}

/* Counted from the start, or from the newest heartbeat answered since, for the attempt's own length
 * or the one then granted to the node, whichever is less. */
static void find_lease(const struct gw_agent *agent, const struct gw_run *run,
		       uint64_t *ret_from_us, uint64_t *ret_length_us)
{
	bool renewed = agent->renewed_lease_us != 0 && agent->renewed_us >= run->granted_us;

	*ret_from_us = renewed ? agent->renewed_us : run->granted_us;
	*ret_length_us = renewed && agent->renewed_lease_us < run->lease_us
				 ? agent->renewed_lease_us
				 : run->lease_us;
}

uint64_t gw_agent_lease_end_us(const struct gw_agent *agent, const struct gw_run *run)
{
	uint64_t from_us;
	uint64_t length_us;

	find_lease(agent, run, &from_us, &length_us);
	return from_us + length_us;
}

/* An attempt is ended its grace before its lease, so that it is gone by then: the scheduler may run
 * the task elsewhere from that moment on. Half of the lease is left to the task in any case. */
static uint64_t working_time_us(uint64_t lease_us, uint64_t grace_us)
{
	return lease_us - (grace_us < lease_us / 2 ? grace_us : lease_us / 2);
}

static uint64_t lease_kill_us(const struct gw_agent *agent, const struct gw_run *run)
{
	uint64_t from_us;
	uint64_t length_us;

	find_lease(agent, run, &from_us, &length_us);
	return from_us + working_time_us(length_us, run->grace_us);
}

/* The lease is as good as over: kills with what grace it leaves. */
static void end_lease(struct gw_agent *agent, struct gw_run *run)
{
	uint64_t end_us = gw_agent_lease_end_us(agent, run);
	uint64_t left_us = end_us > agent->now.mono_us ? end_us - agent->now.mono_us : 0;

	if (run->grace_us > left_us)
		run->grace_us = left_us;
	run->lease_ended = true;
	(void)gw_runs_take(&agent->runs, run, GW_RUN_LEASE_END);
}

void gw_agent_check_leases(struct gw_agent *agent)
{
	uint64_t next_us = GW_NEVER_US;
	uint64_t shortest_us = 0;

	for (uint32_t i = 0; i < agent->runs.table.count; i++) {
		struct gw_run *run = agent->runs.table.entries[i];
		uint64_t kill_us;

		if (!gw_run_alive(run->state))
			continue;
		if (shortest_us == 0 || run->lease_us < shortest_us)
			shortest_us = run->lease_us;
		if (run->state == GW_RUN_ENDING)
			continue;
		kill_us = lease_kill_us(agent, run);
		if (kill_us <= agent->now.mono_us)
			end_lease(agent, run);
		else if (kill_us < next_us)
			next_us = kill_us;
	}
	agent->lease_check_us = next_us;
	agent->lease_us = shortest_us;
}

static uint64_t grace_us(const Godwit__TaskStart *start)
{
	return start->grace_us ? start->grace_us : GRACE_US_DEFAULT;
}

/* True: this node can start it. Else the sentence why not, which is no fault of the task's: it was
 * sent here too late, or is to be started elsewhere. */
static bool can_start(const struct gw_agent *agent, struct gw_attempt_id id,
		      const Godwit__TaskStart *start, uint64_t lease_us, char *ret_text,
		      size_t size)
{
	const struct gw_run *rival = gw_runs_rival(&agent->runs, id);
	uint64_t now_us = agent->now.mono_us;

	if (agent->stopped)
		(void)snprintf(ret_text, size, "the agent is stopping");
	else if (start->lease_from_us > now_us)
		(void)snprintf(ret_text, size, "the lease begins after now, by this node's clock");
	else if (start->lease_from_us &&
		 start->lease_from_us + working_time_us(lease_us, grace_us(start)) <= now_us)
		(void)snprintf(ret_text, size, "the start came when its lease was over");
	else if (rival)
		(void)snprintf(ret_text, size, "attempt %u of this task is %s on this node",
			       rival->id.attempt, gw_run_state_name(rival->state));
	else if (agent->runs.table.count >= agent->config.attempts_max)
		(void)snprintf(ret_text, size,
			       "this node keeps %u attempts, its limit, until ended ones are "
			       "acknowledged",
			       agent->runs.table.count);
	else
		return true;
	return false;
}

/* The lease lasts before the task runs: the next agent must know how long it may. */
static void spawn(struct gw_agent *agent, struct gw_run *run, const Godwit__TaskStart *start,
		  struct gw_effects *effects)
{
	size_t size = gw_wire_size(&start->base);
	struct gw_effect *effect;
	uint8_t *bytes;

	if (lease_kill_us(agent, run) < agent->lease_check_us)
		agent->lease_check_us = lease_kill_us(agent, run);
	if (agent->runs.alive == 1 || run->lease_us < agent->lease_us)
		agent->lease_us = run->lease_us;
	CHECK(gw_agent_say_renewal(agent, effects)); /* the list was empty: it all fits */
	run->spawn_seq = agent->seq;
	bytes = gw_arena_alloc(&effects->arena, size);
	effect = gw_effects_add(effects, GW_EFFECT_SPAWN, run->spawn_seq);
	CHECK(bytes);
	CHECK(effect);
	gw_wire_encode(&start->base, bytes);
	effect->spawn.attempt = run->id;
	effect->spawn.bytes = bytes;
	effect->spawn.size = size;
}

void gw_agent_start_task(struct gw_agent *agent, const Godwit__TaskStart *ordered,
			 struct gw_effects *effects)
{
	Godwit__TaskStart own = *ordered;
	const Godwit__TaskStart *start = &own;
	struct gw_attempt_id id;
	struct gw_run *run;
	uint64_t lease_us = start->lease_us ? start->lease_us : agent->config.lease_us;
	char text[GW_RUN_ERROR_BYTES_MAX + 1];

	if (!gw_wire_read_attempt(start->attempt, &id) || id.attempt == 0) {
		gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, 0,
				"a start names no attempt");
		return;
	}
	run = gw_runs_find(&agent->runs, id);
	if (run) {
		(void)gw_runs_take(&agent->runs, run, GW_RUN_START);
		return;
	}
	if (own.user[0] == '\0' && agent->config.task_user)
		own.user = agent->config.task_user;
	if (lease_us > GW_AGENT_LEASE_US_MAX)
		lease_us = GW_AGENT_LEASE_US_MAX;
	if (gw_start_check(start, &agent->config, text, sizeof(text)) != 0) {
		refuse_start(agent, id, false, text, effects);
		return;
	}
	if (!can_start(agent, id, start, lease_us, text, sizeof(text))) {
		refuse_start(agent, id, true, text, effects);
		return;
	}
	run = gw_runs_add(&agent->runs, id);
	if (!run) {
		(void)snprintf(text, sizeof(text), "the agent is out of memory");
		refuse_start(agent, id, true, text, effects);
		return;
	}
	run->lease_us = lease_us;
	run->granted_us = start->lease_from_us ? start->lease_from_us : agent->now.mono_us;
	run->grace_us = grace_us(start);
	CHECK(gw_runs_take(&agent->runs, run, GW_RUN_START) == GW_RUN_DO_SPAWN);
	spawn(agent, run, start, effects);
}

/* No room for a tombstone in the table: the keeper has its own. */
static void kill_untracked(struct gw_agent *agent, struct gw_attempt_id id,
			   struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	struct gw_run grave = {.id = id, .state = GW_RUN_TOMBSTONE};
	struct gw_run_status status;
	struct gw_effect *effect = gw_effects_add(effects, GW_EFFECT_KILL, agent->term_seq);

	CHECK(effect);
	effect->kill.attempt = id;
	gw_run_status(&grave, &status);
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status.task;
	CHECK(gw_agent_send(agent, effects, &body));
}

void gw_agent_kill_task(struct gw_agent *agent, const Godwit__TaskKill *kill,
			struct gw_effects *effects)
{
	struct gw_attempt_id id;
	struct gw_run *run;

	if (!gw_wire_read_attempt(kill->attempt, &id) || id.attempt == 0) {
		gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, 0, "a kill names no attempt");
		return;
	}
	run = gw_runs_find(&agent->runs, id);
	if (!run)
		run = gw_runs_add(&agent->runs, id);
	if (!run) {
		kill_untracked(agent, id, effects);
		return;
	}
	if (kill->grace_us || run->grace_us == 0)
		run->grace_us = kill->grace_us;
	(void)gw_runs_take(&agent->runs, run, GW_RUN_KILL);
}

void gw_agent_forget_task(struct gw_agent *agent, const Godwit__TaskForget *forget,
			  struct gw_effects *effects)
{
	struct gw_attempt_id id;
	struct gw_run *run;
	struct gw_effect *effect;

	if (!gw_wire_read_attempt(forget->attempt, &id)) {
		gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, 0,
				"a forget names no attempt");
		return;
	}
	run = gw_runs_find(&agent->runs, id);
	if (run) {
		(void)gw_runs_take(&agent->runs, run, GW_RUN_FORGET);
		return;
	}
	/* Unknown here (the agent is new, or it was refused); the keeper may yet hold a record. */
	effect = gw_effects_add(effects, GW_EFFECT_FORGET, agent->term_seq);
	CHECK(effect);
	effect->forget.attempt = id;
}

/* Says what is due of one attempt and takes it from the queue. False: no room, it stays. */
static bool say_run(struct gw_agent *agent, struct gw_run *run, struct gw_effects *effects)
{
	struct gw_run_status status;
	Godwit__Body body = GODWIT__BODY__INIT;
	struct gw_effect *effect;
	uint64_t after_seq = run->spawn_seq > agent->term_seq ? run->spawn_seq : agent->term_seq;

	if (run->due & GW_RUN_DO_KILL) {
		effect = gw_effects_add(effects, GW_EFFECT_KILL, after_seq);
		if (!effect)
			return false;
		effect->kill.attempt = run->id;
		effect->kill.grace_us = run->grace_us;
		effect->kill.lease_ended = run->lease_ended;
		run->due &= (uint8_t)~GW_RUN_DO_KILL;
	}
	if (run->due & GW_RUN_DO_FORGET) {
		effect = gw_effects_add(effects, GW_EFFECT_FORGET, after_seq);
		if (!effect)
			return false;
		effect->forget.attempt = run->id;
		CHECK(gw_runs_pop(&agent->runs) == run);
		gw_runs_remove(&agent->runs, run);
		return true;
	}
	if (run->due & GW_RUN_DO_STATUS && agent->open) {
		gw_run_status(run, &status);
		body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
		body.task_status = &status.task;
		if (!gw_agent_send(agent, effects, &body))
			return false;
		run->due &= (uint8_t)~GW_RUN_DO_STATUS;
	}
	CHECK(gw_runs_pop(&agent->runs) == run);
	return true;
}

bool gw_agent_say_runs(struct gw_agent *agent, struct gw_effects *effects)
{
	while (agent->runs.queue_first)
		if (!say_run(agent, agent->runs.queue_first, effects))
			return false;
	return true;
}
