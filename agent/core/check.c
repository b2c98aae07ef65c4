/* The invariants of struct gw_run and struct gw_agent, walked through in full. */
#include "agent/core/check.h"

#include <stdio.h>

#include "agent/core/state.h"

static bool has_twin(const struct gw_agent *agent, const struct gw_run *run)
{
	for (uint32_t i = 0; i < agent->runs.table.count; i++) {
		const struct gw_run *other = agent->runs.table.entries[i];

		if (other != run && gw_run_alive(other->state) &&
		    other->id.task_index == run->id.task_index &&
		    gw_id_equal(other->id.job.id, run->id.job.id))
			return true;
	}
	return false;
}

static const char *check_run(const struct gw_agent *agent, const struct gw_run *run)
{
	if (run->state == GW_RUN_ABSENT || run->state >= GW_RUN_STATES)
		return "an attempt in the table has no state";
	if (run->due & ~(GW_RUN_DO_KILL | GW_RUN_DO_FORGET | GW_RUN_DO_STATUS))
		return "an attempt has something due that nobody says";
	if (run->due && !run->queued && (run->due != GW_RUN_DO_STATUS || agent->open))
		return "an attempt has something due and is not in the queue";
	if (run->due & GW_RUN_DO_FORGET && !gw_run_ended(run->state))
		return "an attempt is to be forgotten alive";
	if (gw_run_alive(run->state) && run->lease_us == 0)
		return "an attempt is alive without a lease";
	if (gw_run_alive(run->state) && run->state != GW_RUN_ENDING && agent->started &&
	    gw_agent_lease_end_us(agent, run) <= agent->now.mono_us)
		return "an attempt runs past its lease";
	if (gw_run_alive(run->state) && has_twin(agent, run))
		return "two attempts of one task are alive on this node";
	return NULL;
}

static const char *check_queue(const struct gw_agent *agent, uint32_t queued)
{
	uint32_t count = 0;

	for (const struct gw_run *run = agent->runs.queue_first; run; run = run->next_queued) {
		if (!run->queued || count++ > agent->runs.table.count)
			return "the queue of attempts is broken";
		if (!run->next_queued && run != agent->runs.queue_last)
			return "the queue of attempts does not end with its last";
	}
	return count == queued ? NULL : "an attempt is marked as queued and is not in the queue";
}

static const char *check(const struct gw_agent *agent)
{
	uint32_t alive = 0;
	uint32_t queued = 0;
	uint32_t reads = 0;

	if (agent->runs.table.count > agent->config.attempts_max)
		return "there are more attempts than the limit";
	for (uint32_t i = 0; i < agent->runs.table.count; i++) {
		const struct gw_run *run = agent->runs.table.entries[i];
		const char *text = check_run(agent, run);

		if (text)
			return text;
		alive += gw_run_alive(run->state);
		queued += run->queued;
	}
	if (alive != agent->runs.alive)
		return "the count of attempts alive is wrong";
	for (uint32_t i = 0; i < agent->config.reads_max; i++)
		reads += agent->reads[i].stream != 0;
	if (reads != agent->read_count)
		return "the count of log reads is wrong";
	if (reads > 0 && !agent->open)
		return "a log read outlived its session";
	if (agent->pulse.answered > agent->pulse.number)
		return "a heartbeat was answered before it was sent";
	if (agent->term_seq > agent->seq)
		return "what is said waits for a record that was not made";
	if (agent->started && agent->lease_us != 0 && agent->memory.lease_us == 0)
		return "an attempt is alive whose lease is not in the journal";
	return check_queue(agent, queued);
}

bool gw_agent_check(const struct gw_node *node, char *ret_text, size_t size)
{
	const char *text = check(gw_agent_of(node));

	if (!text)
		return true;
	(void)snprintf(ret_text, size, "%s", text); /* cut at the size */
	return false;
}
