/*
 * The host with a small core on real sockets: sessions through cuts and restarts, effects held back
 * until their record lasts, plans, heartbeats, clients and their limits.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/transport_fixture.h"
#include "tests/unit/transport_relay.h"

static int set_up(void **state)
{
	*state = test_region_new();
	return 0;
}

static int tear_down(void **state)
{
	test_region_free(*state);
	return 0;
}

static void say_more(struct gw_host *host)
{
	struct gw_event more = {.kind = GW_EVENT_CONTINUE};

	gw_host_feed(host, &more);
}

static void starts_and_leads(void **state)
{
	struct test_region *region = *state;

	assert_int_equal(region->core.starts, 1);
	assert_int_equal(region->core.roles, 1);
}

/* Cuts at any moment: each message arrives once, in order, both ways, and the session resumes. */
static void carries_through_cuts(void **state)
{
	struct test_region *region = *state;
	struct gw_region at = region->region;
	struct test_identity agent;
	struct test_relay relay;
	struct test_core core;
	struct gw_host *host;

	test_relay_start(&relay, gw_host_state_port(region->host));
	(void)snprintf(at.schedulers.places[0].state, sizeof(at.schedulers.places[0].state),
		       "tcp://127.0.0.1:%u", relay.port);
	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, &at);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	for (uint32_t round = 1; round <= 5; round++) {
		core.telemetry_to_send = 1000;
		region->core.telemetry_to_send = 1000;
		say_more(host);
		say_more(region->host);
		for (uint32_t i = 0; i < round; i++)
			test_turn(region);
		atomic_fetch_add(&relay.cut, 1);
		assert_true(TEST_UNTIL(region, core.downs == round));
		assert_true(TEST_UNTIL(region, region->core.last_wall_us == 1000 * (int64_t)round));
		assert_true(TEST_UNTIL(region, core.last_wall_us == 1000 * (int64_t)round));
	}
	assert_false(region->core.out_of_order);
	assert_false(core.out_of_order);
	assert_int_equal(core.ups, 6);
	assert_int_equal(core.resumes, 5);
	assert_int_equal(region->core.ups - region->core.resumes, 1);
	assert_int_equal(gw_host_counts(host)->dropped, 0);
	gw_host_free(host);
	test_relay_stop(&relay);
	test_identity_deinit(&agent);
}

/* A new process on either side is a new session: cores are told, so that inventories follow. */
static void restarted_agent_is_a_new_session(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, NULL);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	core.telemetry_to_send = 3;
	say_more(host);
	assert_true(TEST_UNTIL(region, region->core.messages == 3));
	gw_host_free(host);
	region->core.last_wall_us = 0;
	host = test_agent_new(region, &agent, &core, NULL);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 2));
	assert_true(region->core.downs <= 1); /* the new one may be heard before the end */
	assert_int_equal(region->core.resumes, 0);
	core.telemetry_to_send = 3;
	say_more(host);
	assert_true(TEST_UNTIL(region, region->core.messages == 6));
	assert_false(region->core.out_of_order);
	gw_host_free(host);
	test_identity_deinit(&agent);
}

/* A connection's end is heard at once, not by silence; and what was said before it counts. */
static void an_end_is_heard_at_once(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, NULL);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	core.telemetry_to_send = 50;
	say_more(host);
	gw_host_free(host);
	assert_true(TEST_UNTIL(region, region->core.downs == 1));
	assert_int_equal(region->core.messages, 50);
	assert_false(region->core.out_of_order);
	test_identity_deinit(&agent);
}

static void heartbeats_go_both_ways(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, NULL);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	/* May be lost while the second connection is made: the core beats again. */
	assert_true(TEST_UNTIL(region, (core.heartbeat_to_send = true, say_more(host),
					region->core.heartbeats > 0)));
	region->core.heartbeat_to_send = true;
	say_more(region->host);
	assert_true(TEST_UNTIL(region, core.heartbeats == 1));
	assert_int_equal(core.messages, 0);
	gw_host_free(host);
	test_identity_deinit(&agent);
}

static void plans_beside_the_loop(void **state)
{
	struct test_region *region = *state;

	region->core.plan_to_run = true;
	say_more(region->host);
	assert_int_equal(region->core.planned, 0); /* never within the step */
	assert_true(TEST_UNTIL(region, region->core.planned == 1));
}

static void ticks_when_asked(void **state)
{
	struct test_region *region = *state;

	region->core.wake_us = gw_reactor_now(region->reactor).mono_us + 20 * GW_US_PER_MS;
	say_more(region->host);
	assert_true(TEST_UNTIL(region, region->core.wake_us == GW_NEVER_US));
}

struct held_journal;

/* What a thread does with a client, and what came of it. */
struct calls {
	struct test_region *region;
	struct test_identity user;
	struct gw_region at;
	struct test_relay *relay;
	struct held_journal *held;
	int errors[4];
	struct gw_fault fault;
	uint32_t durables; /* seen when the reply came */
};

static struct gw_client *open_client(struct calls *calls)
{
	const struct gw_client_options options = {
		.keys = calls->user.keys, .cert = &calls->user.cert, .region = &calls->at};
	struct gw_client *client = NULL;

	calls->errors[0] = gw_client_open(&options, DEADLINE_US, &client, &calls->fault);
	return client;
}

static int call(struct gw_client *client, Godwit__Body__KindCase kind, uint64_t limit_us,
		struct gw_fault *fault)
{
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__Body *reply;

	body.kind_case = kind;
	if (kind == GODWIT__BODY__KIND_CANCEL_REQUEST)
		body.cancel_request = &cancel;
	else if (kind == GODWIT__BODY__KIND_JOBS_REQUEST)
		body.jobs_request = &jobs;
	else
		body.version_request = &version;
	return gw_client_call(client, &body, limit_us, &reply, fault);
}

static void calls_init(struct calls *calls, struct test_region *region)
{
	*calls = (struct calls){.region = region, .at = region->region};
	test_identity_init(region, &calls->user, "user", GODWIT__ROLE__ROLE_USER, false);
}

static void cancel_calls(void *context)
{
	struct calls *calls = context;
	struct gw_client *client = open_client(calls);

	if (!client)
		return;
	for (int i = 1; i < 4; i++)
		calls->errors[i] =
			call(client, GODWIT__BODY__KIND_CANCEL_REQUEST, DEADLINE_US, &calls->fault);
	gw_client_close(client);
}

/* A reply that rests on a record comes after that record lasts: here, a turn of the loop later. */
static void replies_wait_for_their_record(void **state)
{
	struct test_region *region = *state;
	struct calls calls;

	calls_init(&calls, region);
	test_beside(region, cancel_calls, &calls);
	for (int i = 0; i < 4; i++)
		assert_int_equal(calls.errors[i], 0);
	assert_int_equal(region->core.durables, 3);
	test_identity_deinit(&calls.user);
}

/* What waits for no record does not pass what does, to the same peer. */
static void order_is_kept_behind_a_record(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, NULL);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	core.record_to_append = true;
	core.telemetry_to_send = 3;
	say_more(host);
	assert_true(TEST_UNTIL(region, region->core.messages == 3));
	assert_false(region->core.out_of_order);
	gw_host_free(host);
	test_identity_deinit(&agent);
}

/* A journal that a test holds back. */
struct held_journal {
	struct gw_journal journal;
	uint64_t seq;
	const char *_Atomic why; /* NULL: it is not stalled, as far as it knows */
};

static const char *held_stalled(const struct gw_journal *journal, uint64_t mono_us)
{
	(void)mono_us;
	return ((const struct held_journal *)journal)->why;
}

static int held_append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	(void)bytes;
	(void)size;
	((struct held_journal *)journal)->seq = seq;
	return 0;
}

static void held_call(void *context)
{
	struct calls *calls = context;
	struct gw_client *client = open_client(calls);

	if (!client)
		return;
	calls->errors[1] =
		call(client, GODWIT__BODY__KIND_CANCEL_REQUEST, 200 * GW_US_PER_MS, &calls->fault);
	calls->errors[2] =
		call(client, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
	calls->held->why = "the disk is full";
	calls->errors[3] =
		call(client, GODWIT__BODY__KIND_JOBS_REQUEST, DEADLINE_US, &calls->fault);
	gw_client_close(client);
}

static void nothing_is_told_before_it_lasts(void **state)
{
	struct test_region *region = *state;
	struct held_journal journal = {.journal = {.append = held_append, .stalled = held_stalled}};
	struct test_core core;
	const struct gw_host_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.core = &core.node,
		.keys = region->keys,
		.region = &region->region,
		.identities = region->identities,
		.state_endpoint = "tcp://127.0.0.1:*",
		.heartbeat_endpoint = "tcp://127.0.0.1:*",
		.journal = &journal.journal,
	};
	struct gw_fault fault;
	struct gw_host *host;
	struct calls calls;

	test_core_init(&core);
	assert_int_equal(gw_host_new(&options, &host, &fault), 0);
	gw_host_start(host);
	calls_init(&calls, region);
	(void)snprintf(calls.at.schedulers.places[0].state,
		       sizeof(calls.at.schedulers.places[0].state), "tcp://127.0.0.1:%u",
		       gw_host_state_port(host));
	calls.held = &journal;
	test_beside(region, held_call, &calls);
	assert_int_equal(calls.errors[0], 0);
	assert_int_equal(calls.errors[1], -ETIMEDOUT);
	assert_int_equal(calls.errors[2], 0); /* what rests on nothing is told */
	assert_int_equal(calls.errors[3], -EACCES);
	assert_non_null(strstr(calls.fault.text, "the disk is full"));
	assert_int_equal(journal.seq, 1);
	assert_int_equal(core.durables, 0);
	gw_host_durable(host, 1);
	assert_int_equal(core.durables, 1);
	gw_host_free(host);
	test_identity_deinit(&calls.user);
}

static void many_calls(void *context)
{
	struct calls *calls = context;
	struct gw_client *client = open_client(calls);

	if (!client)
		return;
	for (uint32_t i = 0; i < GW_HOST_REQUESTS_PER_CLIENT_MAX; i++)
		calls->errors[1] =
			call(client, GODWIT__BODY__KIND_JOBS_REQUEST, 1000, &calls->fault);
	calls->errors[2] =
		call(client, GODWIT__BODY__KIND_JOBS_REQUEST, DEADLINE_US, &calls->fault);
	gw_client_close(client);
}

/* The core never answers these: past the limit the host does, with a reason. */
static void too_many_requests_are_refused(void **state)
{
	struct test_region *region = *state;
	struct calls calls;

	calls_init(&calls, region);
	test_beside(region, many_calls, &calls);
	assert_int_equal(calls.errors[0], 0);
	assert_int_equal(calls.errors[1], -ETIMEDOUT);
	assert_int_equal(calls.errors[2], -EACCES);
	assert_non_null(strstr(calls.fault.text, "too many requests"));
	assert_int_equal(gw_host_counts(region->host)->refused_overload, 1);
	test_identity_deinit(&calls.user);
}

static void two_calls(void *context)
{
	struct calls *calls = context;
	struct gw_client *first = open_client(calls);
	struct gw_client *second = open_client(calls);

	if (first && second) {
		calls->errors[1] =
			call(first, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
		calls->errors[2] = call(second, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US,
					&calls->fault);
		calls->errors[3] =
			call(first, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
	}
	gw_client_close(first);
	gw_client_close(second);
}

static void one_user_may_have_two_clients(void **state)
{
	struct test_region *region = *state;
	struct calls calls;

	calls_init(&calls, region);
	calls.errors[1] = -1;
	test_beside(region, two_calls, &calls);
	for (int i = 0; i < 4; i++)
		assert_int_equal(calls.errors[i], 0);
	test_identity_deinit(&calls.user);
}

static void cut_calls(void *context)
{
	struct calls *calls = context;
	struct gw_client *client = open_client(calls);

	if (!client)
		return;
	calls->errors[1] =
		call(client, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
	atomic_fetch_add(&calls->relay->cut, 1);
	/* A client's session is its connection's: cut, it may have to ask again, and is told. */
	calls->errors[2] =
		call(client, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
	calls->errors[3] =
		call(client, GODWIT__BODY__KIND_VERSION_REQUEST, DEADLINE_US, &calls->fault);
	gw_client_close(client);
}

static void a_client_survives_a_cut(void **state)
{
	struct test_region *region = *state;
	struct test_relay relay;
	struct calls calls;

	test_relay_start(&relay, gw_host_state_port(region->host));
	calls_init(&calls, region);
	calls.relay = &relay;
	(void)snprintf(calls.at.schedulers.places[0].state,
		       sizeof(calls.at.schedulers.places[0].state), "tcp://127.0.0.1:%u",
		       relay.port);
	test_beside(region, cut_calls, &calls);
	assert_int_equal(calls.errors[0], 0);
	assert_int_equal(calls.errors[1], 0);
	assert_true(calls.errors[2] == 0 || calls.errors[2] == -ECONNRESET);
	assert_int_equal(calls.errors[3], 0);
	test_relay_stop(&relay);
	test_identity_deinit(&calls.user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(starts_and_leads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(carries_through_cuts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(restarted_agent_is_a_new_session, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_end_is_heard_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(heartbeats_go_both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(plans_beside_the_loop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ticks_when_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(replies_wait_for_their_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(order_is_kept_behind_a_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_told_before_it_lasts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_many_requests_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_user_may_have_two_clients, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_survives_a_cut, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
