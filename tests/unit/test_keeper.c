/* godwit-keeper with real processes: what it promises its agent, over its socket. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "tests/unit/keeper_fixture.h"

#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define FAILED GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START
#define LOST GODWIT__ATTEMPT_STATE__ATTEMPT_LOST
#define TOMBSTONE GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE

static void tells_status_and_output(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);
	char text[4096];

	fixture_start(f);
	fixture_spawn(f, id, "echo to stdout; echo to stderr >&2; exit 7", NULL);
	assert_true(f->pid > 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, EXITED);
	assert_int_equal(f->exit_code, 7);
	assert_int_equal(f->signal, 0);
	assert_int_equal(f->output_bytes, 20);
	assert_true(f->wall_us > 0);
	assert_true(f->memory_peak_bytes > 0);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "to stdout\n");
	(void)fixture_output(f, id, 2, 3, text, sizeof(text));
	assert_string_equal(text, "stderr\n");
}

static void tells_the_signal(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(2);

	fixture_start(f);
	fixture_spawn(f, id, "kill -SEGV $$", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGSEGV);
	assert_int_equal(f->exit_code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_status_and_output, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(tells_the_signal, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
