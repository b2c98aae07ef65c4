/* The attempts' life cycle: the table against the rules that it must keep, and its printed form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/run.h"

static const char *states_path;

/* An end never becomes a life again, except where a tombstone turns out to run. */
static void ends_are_final(void **state)
{
	(void)state;
	for (unsigned s = 0; s < GW_RUN_STATES; s++)
		for (unsigned i = 0; i < GW_RUN_INPUTS; i++) {
			struct gw_run_transition t = gw_run_transition(s, i);

			if (!gw_run_ended(s) || !gw_run_alive(t.next))
				continue;
			assert_int_equal(s, GW_RUN_TOMBSTONE);
			assert_int_equal(i, GW_RUN_SPAWNED);
			assert_int_equal(t.next, GW_RUN_ENDING);
			assert_int_equal(t.actions, GW_RUN_DO_KILL);
		}
}

/* Only a START of something unknown spawns; a second one never does. */
static void starts_once(void **state)
{
	(void)state;
	for (unsigned s = 0; s < GW_RUN_STATES; s++)
		for (unsigned i = 0; i < GW_RUN_INPUTS; i++)
			assert_int_equal(!!(gw_run_transition(s, i).actions & GW_RUN_DO_SPAWN),
					 s == GW_RUN_ABSENT && i == GW_RUN_START);
}

/* Nothing is forgotten alive, and only FORGET forgets. */
static void forgets_only_ends(void **state)
{
	(void)state;
	for (unsigned s = 0; s < GW_RUN_STATES; s++)
		for (unsigned i = 0; i < GW_RUN_INPUTS; i++) {
			struct gw_run_transition t = gw_run_transition(s, i);

			if (t.next == GW_RUN_ABSENT && s != GW_RUN_ABSENT) {
				assert_int_equal(i, GW_RUN_FORGET);
				assert_true(gw_run_ended(s));
			}
			if (t.actions & GW_RUN_DO_FORGET)
				assert_int_equal(t.next, GW_RUN_ABSENT);
		}
}

/* Every change that the scheduler must know of is told, and every command is answered. */
static void changes_are_told(void **state)
{
	(void)state;
	for (unsigned s = 0; s < GW_RUN_STATES; s++)
		for (unsigned i = 0; i < GW_RUN_INPUTS; i++) {
			struct gw_run_transition t = gw_run_transition(s, i);

			if (t.next != s && gw_run_ended(t.next))
				assert_true(t.actions & GW_RUN_DO_STATUS);
			if (i == GW_RUN_START || i == GW_RUN_KILL)
				assert_true(t.actions);
		}
}

/* STATES.md is the table; GODWIT_UPDATE=1 writes it. */
static void printed(void **state)
{
	struct gw_buf out;
	char *found;
	FILE *file;
	size_t size;

	(void)state;
	gw_buf_init(&out, 64u << 10);
	assert_int_equal(gw_run_print_states(&out), 0);
	if (getenv("GODWIT_UPDATE")) {
		file = fopen(states_path, "we");
		assert_non_null(file);
		assert_int_equal(fwrite(out.bytes, 1, out.size, file), out.size);
		assert_int_equal(fclose(file), 0);
	}
	file = fopen(states_path, "re");
	assert_non_null(file);
	found = calloc(1, 64u << 10);
	assert_non_null(found);
	size = fread(found, 1, 64u << 10, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(size, out.size);
	assert_memory_equal(found, out.bytes, size);
	free(found);
	gw_buf_deinit(&out);
}

static struct gw_attempt_id id_of(uint64_t job, uint32_t attempt)
{
	return (struct gw_attempt_id){.job = {gw_id_make(1, 1, job)}, .attempt = attempt};
}

static void rivals(void **state)
{
	struct gw_runs runs;
	struct gw_run *run;

	(void)state;
	gw_runs_init(&runs, 2, 1);
	run = gw_runs_add(&runs, id_of(1, 3));
	assert_non_null(run);
	(void)gw_runs_take(&runs, run, GW_RUN_START);
	assert_ptr_equal(gw_runs_rival(&runs, id_of(1, 4)), run); /* it runs */
	assert_ptr_equal(gw_runs_rival(&runs, id_of(1, 2)), run);
	assert_null(gw_runs_rival(&runs, id_of(2, 1)));
	(void)gw_runs_take(&runs, run, GW_RUN_KEEPER_EXITED);
	assert_null(gw_runs_rival(&runs, id_of(1, 4)));           /* it ended */
	assert_ptr_equal(gw_runs_rival(&runs, id_of(1, 2)), run); /* it is newer */
	assert_non_null(gw_runs_add(&runs, id_of(2, 1)));
	assert_null(gw_runs_add(&runs, id_of(3, 1))); /* the limit */
	gw_runs_deinit(&runs);
}

static void texts_are_cut(void **state)
{
	struct gw_run run = {0};
	char text[1000];
	const char *notes[20];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < 20; i++)
		notes[i] = text;
	assert_int_equal(gw_run_set_error(&run, text), 0);
	assert_int_equal(strlen(run.error), GW_RUN_ERROR_BYTES_MAX);
	assert_int_equal(gw_run_set_notes(&run, notes, 20), 0);
	assert_int_equal(run.note_count, GW_RUN_NOTES_MAX);
	assert_int_equal(gw_run_set_error(&run, NULL), 0);
	assert_null(run.error);
	assert_int_equal(gw_run_set_notes(&run, NULL, 0), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_are_final),    cmocka_unit_test(starts_once),
		cmocka_unit_test(forgets_only_ends), cmocka_unit_test(changes_are_told),
		cmocka_unit_test(printed),           cmocka_unit_test(rivals),
		cmocka_unit_test(texts_are_cut),
	};

	if (argc != 2) {
		(void)fprintf(stderr, "usage: test_agent_run STATES.md\n");
		return 2;
	}
	states_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
