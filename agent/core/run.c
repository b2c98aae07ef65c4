/*
 * The life cycle of an attempt. `cycle` below is the whole of it; agent/core/STATES.md is printed
 * from it by a test. Nothing else writes gw_run.state.
 */
#include "agent/core/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

#define SPAWN GW_RUN_DO_SPAWN
#define KILL GW_RUN_DO_KILL
#define FORGET GW_RUN_DO_FORGET
#define STATUS GW_RUN_DO_STATUS

/*
 * [state][input]. A command that finds its work done says the state again (STATUS), so that a
 * repeated command is answered like the first. Three lines are less plain:
 * a tombstone that nevertheless runs (the keeper had it before the KILL came) is killed again;
 * a keeper's exit overrules a tombstone, for the keeper saw it;
 * a keeper's tombstone ends what this side believed to be starting.
 */
static const struct gw_run_transition cycle[GW_RUN_STATES][GW_RUN_INPUTS] =
	{
		[GW_RUN_ABSENT] =
			{
				[GW_RUN_START] = {GW_RUN_STARTING, SPAWN},
				[GW_RUN_KILL] = {GW_RUN_TOMBSTONE, KILL | STATUS},
				[GW_RUN_SPAWNED] = {GW_RUN_RUNNING, STATUS},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_FAILED, STATUS},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_FORGET] = {GW_RUN_ABSENT, FORGET},
				[GW_RUN_LEASE_END] = {GW_RUN_ABSENT, 0},
			},
		[GW_RUN_STARTING] =
			{
				[GW_RUN_START] = {GW_RUN_STARTING, STATUS},
				[GW_RUN_KILL] = {GW_RUN_ENDING, KILL},
				[GW_RUN_SPAWNED] = {GW_RUN_RUNNING, STATUS},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_FAILED, STATUS},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_FORGET] = {GW_RUN_STARTING, STATUS},
				[GW_RUN_LEASE_END] = {GW_RUN_ENDING, KILL},
			},
		[GW_RUN_RUNNING] =
			{
				[GW_RUN_START] = {GW_RUN_RUNNING, STATUS},
				[GW_RUN_KILL] = {GW_RUN_ENDING, KILL},
				[GW_RUN_SPAWNED] = {GW_RUN_RUNNING, 0},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_RUNNING, 0},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_FORGET] = {GW_RUN_RUNNING, STATUS},
				[GW_RUN_LEASE_END] = {GW_RUN_ENDING, KILL},
			},
		[GW_RUN_ENDING] =
			{
				[GW_RUN_START] = {GW_RUN_ENDING, STATUS},
				[GW_RUN_KILL] = {GW_RUN_ENDING, KILL},
				[GW_RUN_SPAWNED] = {GW_RUN_ENDING, STATUS},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_FAILED, STATUS},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_FORGET] = {GW_RUN_ENDING, STATUS},
				[GW_RUN_LEASE_END] = {GW_RUN_ENDING, 0},
			},
		[GW_RUN_EXITED] =
			{
				[GW_RUN_START] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KILL] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_SPAWNED] = {GW_RUN_EXITED, 0},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_EXITED, 0},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, 0},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_EXITED, 0},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_EXITED, 0},
				[GW_RUN_FORGET] = {GW_RUN_ABSENT, FORGET},
				[GW_RUN_LEASE_END] = {GW_RUN_EXITED, 0},
			},
		[GW_RUN_FAILED] =
			{
				[GW_RUN_START] = {GW_RUN_FAILED, STATUS},
				[GW_RUN_KILL] = {GW_RUN_FAILED, STATUS},
				[GW_RUN_SPAWNED] = {GW_RUN_FAILED, 0},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_FAILED, 0},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_FAILED, 0},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_FAILED, 0},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_FAILED, 0},
				[GW_RUN_FORGET] = {GW_RUN_ABSENT, FORGET},
				[GW_RUN_LEASE_END] = {GW_RUN_FAILED, 0},
			},
		[GW_RUN_LOST] =
			{
				[GW_RUN_START] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KILL] = {GW_RUN_LOST, STATUS},
				[GW_RUN_SPAWNED] = {GW_RUN_LOST, 0},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_LOST, 0},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_LOST, 0},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, 0},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_LOST, 0},
				[GW_RUN_FORGET] = {GW_RUN_ABSENT, FORGET},
				[GW_RUN_LEASE_END] = {GW_RUN_LOST, 0},
			},
		[GW_RUN_TOMBSTONE] =
			{
				[GW_RUN_START] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_KILL] = {GW_RUN_TOMBSTONE, STATUS},
				[GW_RUN_SPAWNED] = {GW_RUN_ENDING, KILL},
				[GW_RUN_NOT_SPAWNED] = {GW_RUN_TOMBSTONE, 0},
				[GW_RUN_KEEPER_EXITED] = {GW_RUN_EXITED, STATUS},
				[GW_RUN_KEEPER_LOST] = {GW_RUN_LOST, STATUS},
				[GW_RUN_KEEPER_TOMB] = {GW_RUN_TOMBSTONE, 0},
				[GW_RUN_FORGET] = {GW_RUN_ABSENT, FORGET},
				[GW_RUN_LEASE_END] = {GW_RUN_TOMBSTONE, 0},
			},
};

static const char *const state_names[GW_RUN_STATES] = {
	"absent", "starting", "running", "ending", "exited", "failed", "lost", "tombstone",
};

static const char *const input_names[GW_RUN_INPUTS] = {
	"start", "kill",      "spawned", "not spawned", "exit",
	"lost",  "tombstone", "forget",  "lease end",
};

struct gw_run_transition gw_run_transition(enum gw_run_state state, enum gw_run_input input)
{
	CHECK(state < GW_RUN_STATES);
	CHECK(input < GW_RUN_INPUTS);
	return cycle[state][input];
}

bool gw_run_alive(enum gw_run_state state)
{
	return state == GW_RUN_STARTING || state == GW_RUN_RUNNING || state == GW_RUN_ENDING;
}

bool gw_run_ended(enum gw_run_state state)
{
	return state != GW_RUN_ABSENT && !gw_run_alive(state);
}

const char *gw_run_state_name(enum gw_run_state state)
{
	CHECK(state < GW_RUN_STATES);
	return state_names[state];
}

const char *gw_run_input_name(enum gw_run_input input)
{
	CHECK(input < GW_RUN_INPUTS);
	return input_names[input];
}

static int print_cell(struct gw_buf *out, struct gw_run_transition cell, enum gw_run_state from)
{
	static const char *const names[] = {"SPAWN", "KILL", "FORGET", "status"};
	int r = gw_buf_printf(out, " %s", cell.next == from ? "·" : state_names[cell.next]);

	for (unsigned i = 0; i < GW_ARRAY_COUNT(names) && r == 0; i++)
		if (cell.actions & 1u << i)
			r = gw_buf_printf(out, " +%s", names[i]);
	return r ? r : gw_buf_printf(out, " |");
}

int gw_run_print_states(struct gw_buf *out)
{
	int r = gw_buf_printf(out, "# Life cycle of an attempt on its node\n\nPrinted from "
				   "`agent/core/run.c` by its test. `·` is no change of state; "
				   "after `+` what the transition does.\n\n| state |");

	for (unsigned input = 0; input < GW_RUN_INPUTS && r == 0; input++)
		r = gw_buf_printf(out, " %s |", input_names[input]);
	if (r == 0)
		r = gw_buf_printf(out, "\n|---|");
	for (unsigned input = 0; input < GW_RUN_INPUTS && r == 0; input++)
		r = gw_buf_printf(out, "---|");
	for (unsigned state = 0; state < GW_RUN_STATES && r == 0; state++) {
		r = gw_buf_printf(out, "\n| **%s** |", state_names[state]);
		for (unsigned input = 0; input < GW_RUN_INPUTS && r == 0; input++)
			r = print_cell(out, cycle[state][input], state);
	}
	return r ? r : gw_buf_printf(out, "\n");
}

void gw_runs_init(struct gw_runs *runs, uint32_t limit, uint64_t hash_key)
{
	*runs = (struct gw_runs){0};
	gw_table_init(&runs->table, sizeof(struct gw_attempt_id), limit, hash_key);
}

static struct gw_run *run_free(struct gw_run *run)
{
	if (!run)
		return NULL;
	for (uint32_t i = 0; i < run->note_count; i++)
		free(run->notes[i]);
	free(run->error);
	free(run);
	return NULL;
}

void gw_runs_deinit(struct gw_runs *runs)
{
	for (uint32_t i = 0; i < runs->table.count; i++)
		(void)run_free(runs->table.entries[i]);
	gw_table_deinit(&runs->table);
}

struct gw_run *gw_runs_find(const struct gw_runs *runs, struct gw_attempt_id id)
{
	return gw_table_find(&runs->table, &id);
}

const struct gw_run *gw_runs_rival(const struct gw_runs *runs, struct gw_attempt_id id)
{
	for (uint32_t i = 0; i < runs->table.count; i++) {
		const struct gw_run *run = runs->table.entries[i];

		if (run->id.task_index != id.task_index || run->id.attempt == id.attempt ||
		    !gw_id_equal(run->id.job.id, id.job.id))
			continue;
		if (gw_run_alive(run->state) || run->id.attempt > id.attempt)
			return run;
	}
	return NULL;
}

struct gw_run *gw_runs_add(struct gw_runs *runs, struct gw_attempt_id id)
{
	struct gw_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->id = id;
	if (gw_table_add(&runs->table, run) != 0)
		return run_free(run);
	return run;
}

void gw_runs_due(struct gw_runs *runs, struct gw_run *run, uint8_t actions)
{
	run->due |= actions;
	if (!run->due || run->queued)
		return;
	run->queued = true;
	run->next_queued = NULL;
	if (runs->queue_last)
		runs->queue_last->next_queued = run;
	else
		runs->queue_first = run;
	runs->queue_last = run;
}

struct gw_run *gw_runs_pop(struct gw_runs *runs)
{
	struct gw_run *run = runs->queue_first;

	if (!run)
		return NULL;
	runs->queue_first = run->next_queued;
	if (!runs->queue_first)
		runs->queue_last = NULL;
	run->next_queued = NULL;
	run->queued = false;
	return run;
}

uint8_t gw_runs_take(struct gw_runs *runs, struct gw_run *run, enum gw_run_input input)
{
	struct gw_run_transition change = gw_run_transition(run->state, input);

	if (gw_run_alive(change.next) && !gw_run_alive(run->state))
		runs->alive++;
	if (!gw_run_alive(change.next) && gw_run_alive(run->state))
		runs->alive--;
	/* An attempt that is forgotten stays in the table, ended, until FORGET went out. */
	if (change.next != GW_RUN_ABSENT)
		run->state = change.next;
	gw_runs_due(runs, run, change.actions & (uint8_t)~SPAWN);
	return change.actions;
}

void gw_runs_remove(struct gw_runs *runs, struct gw_run *run)
{
	CHECK(!run->queued);
	CHECK(!gw_run_alive(run->state));
	CHECK(gw_table_remove(&runs->table, &run->id) == run);
	(void)run_free(run);
}

static char *cut(const char *text)
{
	return strndup(text, GW_RUN_ERROR_BYTES_MAX);
}

int gw_run_set_error(struct gw_run *run, const char *error)
{
	char *copy = error && *error ? cut(error) : NULL;

	if (error && *error && !copy)
		return -ENOMEM;
	free(run->error);
	run->error = copy;
	return 0;
}

int gw_run_set_notes(struct gw_run *run, const char *const *notes, size_t count)
{
	while (run->note_count > 0)
		free(run->notes[--run->note_count]);
	for (size_t i = 0; i < count && i < GW_RUN_NOTES_MAX; i++) {
		char *copy = cut(notes[i]);

		if (!copy)
			return -ENOMEM;
		run->notes[run->note_count++] = copy;
	}
	return 0;
}

static Godwit__AttemptState wire_state(enum gw_run_state state)
{
	switch (state) {
	case GW_RUN_STARTING:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING;
	case GW_RUN_RUNNING:
	case GW_RUN_ENDING:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING;
	case GW_RUN_EXITED:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED;
	case GW_RUN_FAILED:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
	case GW_RUN_LOST:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_LOST;
	case GW_RUN_TOMBSTONE:
		return GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;
	case GW_RUN_ABSENT:
	case GW_RUN_STATES:
		break;
	}
	return GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN;
}

void gw_run_status(struct gw_run *run, struct gw_run_status *ret_status)
{
	ret_status->task = (Godwit__TaskStatus)GODWIT__TASK_STATUS__INIT;
	gw_wire_attempt(&run->id, &ret_status->ref);
	ret_status->task.attempt = &ret_status->ref;
	ret_status->task.state = wire_state(run->state);
	ret_status->task.pid = run->pid;
	ret_status->task.exit_code = run->exit_code;
	ret_status->task.signal = run->signal;
	ret_status->task.declined = run->declined;
	if (run->error)
		ret_status->task.error = run->error;
	if (run->has_usage)
		ret_status->task.usage = &run->usage;
	ret_status->task.n_not_enforced = run->note_count;
	ret_status->task.not_enforced = run->notes;
}
