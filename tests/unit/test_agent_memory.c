/* What of the agent's core lasts, and what waits for it: transcripts in virtual time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/core/agent.h"
#include "proto/base/limits.h"
#include "tests/unit/test_agent_fixture.h"

#define HOUR_US (3600 * GW_US_PER_S)
#define MINUTE_US (60 * GW_US_PER_S)
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define LOST GODWIT__ATTEMPT_STATE__ATTEMPT_LOST

static int setup(void **state)
{
	static struct fixture fixture;

	fixture_init(&fixture, 64);
	fixture_begin(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	fixture_deinit(*state);
	return 0;
}

static struct gw_attempt_id id(uint64_t job)
{
	return fixture_attempt(job, 1);
}

/* A scheduler that answers every heartbeat for so long; the heartbeats' lines are dropped. */
static void be_heard(struct fixture *f, uint64_t *number, uint64_t us)
{
	for (uint64_t passed_us = 0; passed_us < us; passed_us += GW_US_PER_S) {
		fixture_reply(f, *number, 24 * HOUR_US);
		fixture_pass(f, GW_US_PER_S);
		++*number;
	}
	gw_buf_consume(&f->lines, f->lines.size);
}

/* What a leader of a later term orders is done, and told, once the term lasts; heartbeats go on. */
static void a_term_lasts_before_what_it_orders(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\n");
	f->slow = true;
	f->term = 2;
	fixture_ask_inventory(f);
	fixture_start(f, id(1), HOUR_US);
	fixture_kill(f, id(2));
	fixture_pass(f, GW_US_PER_S);
	fixture_expect(f, "heartbeat 2\n");
	fixture_durable(f);
	fixture_expect(f, "inventory part=0 count=0 last\nSPAWN 1/0/1\nKILL 2/0/1\n"
			  "status 2/0/1 TOMBSTONE\n");
	f->term = 3;
	fixture_kill(f, id(1));
	fixture_expect(f, "");
	fixture_restart(
		f); /* before it lasts: nothing of it was done, and the leader says it again */
	assert_int_equal(gw_agent_memory(f->node).term, 2);
}

/* A lease shorter than any lasts before its task runs, or the next agent would let it run longer;
 * what is to become of that task waits with it, what has nothing to do with it does not. */
static void a_lease_lasts_before_its_task(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), HOUR_US);
	fixture_spawned(f, id(1), NULL);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nstatus 1/0/1 RUNNING\n");
	f->slow = true;
	fixture_start(f, id(2), 2 * HOUR_US); /* no record: the shortest lease is what it was */
	fixture_expect(f, "SPAWN 2/0/1\n");
	fixture_start(f, id(3), MINUTE_US);
	fixture_kill(f, id(3));
	fixture_kill(f, id(1));
	fixture_exited(f, id(1), EXITED, 0);
	fixture_expect(f, "KILL 1/0/1\nstatus 1/0/1 EXITED\n");
	fixture_durable(f);
	fixture_expect(f, "SPAWN 3/0/1\nKILL 3/0/1\n");
	assert_int_equal(gw_agent_memory(f->node).lease_us, MINUTE_US);
}

static void renewals_are_written_seldom(void **state)
{
	struct fixture *f = *state;
	uint64_t number = 1;
	uint32_t before;

	fixture_up(f, false);
	be_heard(f, &number, HOUR_US);
	assert_int_equal(f->record_count, 1); /* the term: an agent at rest writes nothing */
	fixture_start(f, id(1), HOUR_US);
	fixture_spawned(f, id(1), NULL);
	before = f->record_count;
	be_heard(f, &number, HOUR_US);
	assert_in_range(f->record_count - before, 58, 60);
	fixture_exited(f, id(1), EXITED, 0);
	before = f->record_count;
	be_heard(f, &number, HOUR_US);
	fixture_start(f, id(2), HOUR_US);
	assert_int_equal(f->record_count - before, 1); /* the renewal had become old */
	fixture_restart(f);
	assert_true(f->now.mono_us - gw_agent_memory(f->node).renewed_us <= 2 * GW_US_PER_S);
}

/* Renewals of another boot say nothing of this one's clock. */
static void a_reboot_begins_leases_anew(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), MINUTE_US);
	fixture_spawned(f, id(1), NULL);
	fixture_reply(f, 1, HOUR_US);
	fixture_restart(f);
	gw_buf_consume(&f->lines, f->lines.size);
	f->now.boot_id = gw_id_make(8, 8, 8);
	f->now.mono_us = 10 * GW_US_PER_S;
	fixture_spawned(f, id(1), NULL);
	fixture_begin(f);
	fixture_pass(f, 50 * GW_US_PER_S - 1);
	fixture_expect(f, "");
	fixture_pass(f, 1);
	fixture_expect(f, "END LEASE 1/0/1\n");
}

static int keep_piece(void *context, const uint8_t *bytes, size_t size)
{
	return gw_node_restore(context, bytes, size);
}

static void a_snapshot_is_the_state(void **state)
{
	struct fixture *f = *state;
	struct gw_node *twin = gw_agent_new(&f->config);
	uint64_t number = 1;

	fixture_up(f, false);
	f->term = 9;
	fixture_start(f, id(1), HOUR_US);
	be_heard(f, &number, 5 * MINUTE_US);
	assert_non_null(twin);
	assert_int_equal(gw_node_snapshot(f->node, keep_piece, twin), 0);
	assert_int_equal(gw_node_digest(twin), gw_node_digest(f->node));
	assert_int_equal(gw_node_seq(twin), f->record_count);
	assert_int_equal(gw_agent_memory(twin).term, 9);
	/* A second piece, a record out of order and noise are none of ours. */
	assert_int_equal(gw_node_snapshot(f->node, keep_piece, twin), -EPROTO);
	assert_int_equal(gw_node_apply(twin, f->record_count + 2, f->journal.bytes, f->ends[0]),
			 -EPROTO);
	assert_int_equal(gw_node_apply(twin, f->record_count + 1, f->journal.bytes, f->ends[0]),
			 -EPROTO); /* a lower term */
	assert_int_equal(gw_node_apply(twin, f->record_count + 1, (const uint8_t *)"noise", 5),
			 -EPROTO);
	assert_int_equal(gw_node_digest(twin), gw_node_digest(f->node));
	gw_node_free(twin);
}

/* Cut off for a minute in which tasks end: nothing is said into the void, each end is handed over
 * when the scheduler is back, once, and forgotten only when it says so. */
static void a_cut_off_node_hands_over_once(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	for (uint64_t job = 1; job <= 3; job++) {
		fixture_start(f, id(job), HOUR_US);
		fixture_spawned(f, id(job), NULL);
	}
	fixture_down(f);
	gw_buf_consume(&f->lines, f->lines.size);
	fixture_pass(f, 20 * GW_US_PER_S);
	fixture_exited(f, id(1), EXITED, 3);
	fixture_pass(f, 20 * GW_US_PER_S);
	fixture_exited(f, id(2), LOST, 0);
	fixture_pass(f, 20 * GW_US_PER_S);
	fixture_expect(f, "");
	fixture_up(f, false);
	fixture_ask_inventory(f);
	fixture_expect(f, "heartbeat 2\nstatus 1/0/1 EXITED exit=3\nstatus 2/0/1 LOST\n"
			  "inventory part=0 count=3 last ; 1/0/1 EXITED exit=3 ; 2/0/1 LOST ; "
			  "3/0/1 RUNNING\n");
	fixture_down(f);
	fixture_pass(f, GW_US_PER_S);
	fixture_up(f, true); /* the same session: what was said in it has arrived */
	fixture_expect(f, "heartbeat 3\n");
	fixture_forget(f, id(1));
	fixture_expect(f, "FORGET 1/0/1\n");
	fixture_down(f);
	fixture_up(f, false); /* another: only what was not acknowledged is said again */
	fixture_forget(f, id(2));
	fixture_expect(f, "heartbeat 4\nstatus 2/0/1 LOST\nFORGET 2/0/1\n");
	fixture_pass(f, MINUTE_US);
	assert_int_equal(gw_agent_counts(f->node).alive, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_term_lasts_before_what_it_orders),
		TEST(a_lease_lasts_before_its_task),
		TEST(renewals_are_written_seldom),
		TEST(a_reboot_begins_leases_anew),
		TEST(a_snapshot_is_the_state),
		TEST(a_cut_off_node_hands_over_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
