/*
 * A region with several schedulers, on real sockets: clients and agents find the one that leads,
 * follow when another one does, and learn where all of them are. And what a host does when its
 * journal says that it leads no more, or cannot keep up.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "tests/unit/transport_fixture.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/zsock.h"

/* A journal that a test holds back, and whose word on who leads it sets. */
struct test_journal {
	struct gw_journal journal;
	uint64_t seq;
	const char *stalled;
	bool invalid;
};

static int append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	(void)bytes;
	(void)size;
	((struct test_journal *)journal)->seq = seq;
	return 0;
}

static const char *stalled(const struct gw_journal *journal, uint64_t mono_us)
{
	(void)mono_us;
	return ((const struct test_journal *)journal)->stalled;
}

static bool valid(const struct gw_journal *journal, uint64_t mono_us)
{
	(void)mono_us;
	return !((const struct test_journal *)journal)->invalid;
}

static const struct gw_journal calls = {.append = append, .stalled = stalled, .valid = valid};

/* One more scheduler of the region. */
struct scheduler {
	struct test_core core;
	struct test_journal journal;
	struct gw_host *host;
	struct gw_scheduler_place place;
	uint32_t failures;
	int error;
};

static void failed(void *context, int error)
{
	struct scheduler *scheduler = context;

	scheduler->failures++;
	scheduler->error = error;
}

/* Leads from now on, where its place says, or anywhere when that is empty. */
static void lead(struct test_region *region, struct scheduler *scheduler)
{
	const char *any = "tcp://127.0.0.1:*";
	struct gw_scheduler_place *place = &scheduler->place;
	const struct gw_host_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.core = &scheduler->core.node,
		.keys = region->keys,
		.region = &region->region,
		.identities = region->identities,
		.state_endpoint = place->state[0] ? place->state : any,
		.heartbeat_endpoint = place->state[0] ? place->heartbeat : any,
		.journal = &scheduler->journal.journal,
		.term = 7,
		.failed = failed,
		.context = scheduler,
	};
	struct gw_fault fault = {""};
	int error = -EADDRINUSE;

	test_core_init(&scheduler->core);
	scheduler->journal = (struct test_journal){.journal = calls};
	/* libzmq gives a port of its last owner back from its own thread. */
	(void)TEST_UNTIL(region,
			 (error = gw_host_new(&options, &scheduler->host, &fault)) != -EADDRINUSE);
	if (error != 0)
		fail_msg("%s", fault.text);
	(void)snprintf(place->state, sizeof(place->state), "tcp://127.0.0.1:%u",
		       gw_host_state_port(scheduler->host));
	(void)snprintf(place->heartbeat, sizeof(place->heartbeat), "tcp://127.0.0.1:%u",
		       gw_host_heartbeat_port(scheduler->host));
	gw_host_start(scheduler->host);
}

static void leave(struct scheduler *scheduler)
{
	scheduler->host = gw_host_free(scheduler->host);
}

struct world {
	struct test_region *region;
	struct scheduler a;
	struct scheduler b;
	struct gw_region at; /* names both, `a` first */
};

/* Both have a place; `a` leads. */
static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->region = test_region_new();
	lead(world->region, &world->b);
	lead(world->region, &world->a);
	leave(&world->b);
	world->at = world->region->region;
	world->at.schedulers =
		(struct gw_scheduler_list){.count = 2, .places = {world->a.place, world->b.place}};
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	leave(&world->a);
	leave(&world->b);
	test_region_free(world->region);
	free(world);
	return 0;
}

static void say_more(struct gw_host *host)
{
	struct gw_event more = {.kind = GW_EVENT_CONTINUE};

	gw_host_feed(host, &more);
}

static void an_agent_follows_the_leader(void **state)
{
	struct world *world = *state;
	struct test_region *region = world->region;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, &world->at);
	assert_true(TEST_UNTIL(region, core.ups == 1 && world->a.core.ups == 1));
	for (uint32_t round = 1; round <= 4; round++) {
		struct scheduler *from = round % 2 ? &world->a : &world->b;
		struct scheduler *to = round % 2 ? &world->b : &world->a;

		leave(from);
		assert_true(TEST_UNTIL(region, core.downs == round));
		lead(region, to);
		assert_true(TEST_UNTIL(region, core.ups == round + 1 && to->core.ups == 1));
		core.telemetry_sent = 0;
		core.telemetry_to_send = 10;
		say_more(host);
		assert_true(TEST_UNTIL(region, to->core.messages == 10));
		/* Heartbeats go there too; one may be lost while their connection is made. */
		assert_true(TEST_UNTIL(region, (core.heartbeat_to_send = true, say_more(host),
						to->core.heartbeats > 0)));
	}
	assert_int_equal(core.resumes, 0); /* each leader began a session of its own */
	gw_host_free(host);
	test_identity_deinit(&agent);
}

/* One that leads no more (a process that was stopped past its lease) holds its connections and says
 * nothing; its host fails once. */
static void a_silent_leader_is_left(void **state)
{
	struct world *world = *state;
	struct test_region *region = world->region;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, &world->at);
	assert_true(TEST_UNTIL(region, core.ups == 1 && world->a.core.ups == 1));
	world->a.journal.invalid = true;
	lead(region, &world->b);
	core.telemetry_to_send = 1;
	say_more(host);
	assert_true(TEST_UNTIL(region, core.ups == 2 && world->b.core.ups == 1));
	assert_int_equal(world->a.failures, 1);
	assert_int_equal(world->a.error, -ESTALE);
	assert_int_equal(world->a.core.messages, 0);
	gw_host_free(host);
	test_identity_deinit(&agent);
}

/* Nothing is told that had waited for its record when the lease ran out. */
static void what_waited_is_not_told(void **state)
{
	struct world *world = *state;
	struct gw_event submit = {.kind = GW_EVENT_SUBMIT};
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const struct gw_peer user = {.name = "u", .site = "", .region = "", .provider = ""};

	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &cancel;
	submit.submit.user = &user;
	submit.submit.body = &body;
	gw_host_feed(world->a.host, &submit);
	assert_int_equal(world->a.journal.seq, 1);
	world->a.journal.invalid = true;
	gw_host_durable(world->a.host, 1);
	gw_host_feed(world->a.host, &submit);
	gw_host_stop(world->a.host);
	assert_int_equal(world->a.core.durables, 0); /* nor does the core hear more */
	assert_int_equal(world->a.journal.seq, 1);
	assert_int_equal(world->a.failures, 1);
}

struct visits {
	struct world *world;
	struct test_identity user;
	char directory[320];
	struct gw_client *client;
	Godwit__Body__KindCase kind;
	bool with_nonce;
	int error;
	struct gw_fault fault;
	uint64_t limit_us;
};

static atomic_uint waitings;

static void count_waiting(void)
{
	atomic_fetch_add(&waitings, 1);
}

static void visits_init(struct visits *visits, struct world *world)
{
	*visits = (struct visits){.world = world, .limit_us = DEADLINE_US};
	test_identity_init(world->region, &visits->user, "user", GODWIT__ROLE__ROLE_USER, false);
	visits->user.region = world->at;
	atomic_store(&waitings, 0);
}

static void open_call(void *context)
{
	struct visits *visits = context;
	const struct gw_client_options options = {.keys = visits->user.keys,
						  .cert = &visits->user.cert,
						  .region = &visits->user.region,
						  .waiting = count_waiting};

	visits->error = gw_client_open(&options, visits->limit_us, &visits->client, &visits->fault);
}

static void one_call(void *context)
{
	struct visits *visits = context;
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	Godwit__SubmitRequest submit = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const struct gw_id nonce = {{1}};
	const Godwit__Body *reply;

	body.kind_case = visits->kind;
	if (visits->kind == GODWIT__BODY__KIND_SUBMIT_REQUEST)
		body.submit_request = &submit;
	else if (visits->kind == GODWIT__BODY__KIND_CANCEL_REQUEST)
		body.cancel_request = &cancel;
	else
		body.version_request = &version;
	if (visits->with_nonce)
		submit.nonce = gw_wire_id(&nonce);
	visits->error =
		gw_client_call(visits->client, &body, visits->limit_us, &reply, &visits->fault);
}

static int call(struct visits *visits, Godwit__Body__KindCase kind)
{
	visits->kind = kind;
	test_beside(visits->world->region, one_call, visits);
	return visits->error;
}

static void visits_end(struct visits *visits)
{
	gw_client_close(visits->client);
	test_identity_deinit(&visits->user);
}

/* The second in the list leads, at the first nobody listens. */
static void a_client_finds_the_leader(void **state)
{
	struct world *world = *state;
	struct visits visits;

	leave(&world->a);
	lead(world->region, &world->b);
	visits_init(&visits, world);
	test_beside(world->region, open_call, &visits);
	assert_int_equal(visits.error, 0);
	assert_int_equal(call(&visits, GODWIT__BODY__KIND_VERSION_REQUEST), 0);
	visits_end(&visits);
}

/* One line of a region file that cannot be meant does not keep a client from the others. */
static void a_bad_place_is_passed_over(void **state)
{
	struct world *world = *state;
	struct visits visits;

	world->at.schedulers.places[1] = world->at.schedulers.places[0];
	(void)snprintf(world->at.schedulers.places[0].state, GW_ENDPOINT_BYTES_MAX, "nowhere");
	visits_init(&visits, world);
	test_beside(world->region, open_call, &visits);
	if (visits.error != 0)
		fail_msg("%s", visits.fault.text);
	visits.client = gw_client_close(visits.client);
	visits.user.region.schedulers.count = 1;
	test_beside(world->region, open_call, &visits);
	assert_int_equal(visits.error, -EINVAL);
	assert_non_null(strstr(visits.fault.text, "cannot connect to nowhere"));
	visits_end(&visits);
}

static void nobody_leads_is_said(void **state)
{
	struct world *world = *state;
	struct visits visits;

	leave(&world->a);
	visits_init(&visits, world);
	visits.limit_us = GW_US_PER_S;
	test_beside(world->region, open_call, &visits);
	assert_int_equal(visits.error, -ETIMEDOUT);
	assert_string_equal(visits.fault.text,
			    "none of the 2 schedulers of region test answered in 1000 ms");
	assert_int_equal(atomic_load(&waitings), 1);
	visits_end(&visits);
}

/* The thread calls; the leader goes once it has the request, and the other one comes. */
static void take_over_within_a_call(struct visits *visits, Godwit__Body__KindCase kind)
{
	struct world *world = visits->world;
	struct test_region *region = world->region;
	struct test_call *running;

	visits->kind = kind;
	running = test_call_start(one_call, visits);
	assert_true(TEST_UNTIL(region, world->a.journal.seq == 1));
	leave(&world->a);
	assert_true(TEST_UNTIL(region, atomic_load(&waitings) == 1));
	lead(region, &world->b);
	while (!test_call_done(running)) {
		test_turn(region);
		gw_host_durable(world->b.host, world->b.journal.seq);
	}
	test_call_join(running);
}

static void a_call_survives_a_take_over(void **state)
{
	struct world *world = *state;
	struct visits visits;

	visits_init(&visits, world);
	test_beside(world->region, open_call, &visits);
	assert_int_equal(visits.error, 0);
	take_over_within_a_call(&visits, GODWIT__BODY__KIND_CANCEL_REQUEST);
	if (visits.error != 0)
		fail_msg("%s", visits.fault.text);
	assert_int_equal(world->b.journal.seq, 1); /* asked there, once */
	assert_int_equal(atomic_load(&waitings), 1);
	assert_int_equal(call(&visits, GODWIT__BODY__KIND_VERSION_REQUEST), 0);
	visits_end(&visits);
}

/* A submission without a nonce might become two jobs. */
static void what_may_not_be_repeated_is_not(void **state)
{
	struct world *world = *state;
	struct visits visits;

	visits_init(&visits, world);
	test_beside(world->region, open_call, &visits);
	take_over_within_a_call(&visits, GODWIT__BODY__KIND_SUBMIT_REQUEST);
	assert_int_equal(visits.error, -ECONNRESET);
	assert_int_equal(world->b.journal.seq, 0);
	visits_end(&visits);
}

/* A journal that cannot keep up: no new work, with its sentence; the rest goes on. */
static void a_stalled_journal_takes_no_new_work(void **state)
{
	struct world *world = *state;
	struct visits visits;

	visits_init(&visits, world);
	test_beside(world->region, open_call, &visits);
	world->a.journal.stalled = "the disk is full";
	visits.with_nonce = true;
	assert_int_equal(call(&visits, GODWIT__BODY__KIND_SUBMIT_REQUEST), -EACCES);
	assert_non_null(strstr(visits.fault.text, "the disk is full"));
	assert_int_equal(world->a.journal.seq, 0);
	assert_int_equal(call(&visits, GODWIT__BODY__KIND_VERSION_REQUEST), 0);
	visits.limit_us = 100 * GW_US_PER_MS;
	assert_int_equal(call(&visits, GODWIT__BODY__KIND_CANCEL_REQUEST), -ETIMEDOUT);
	assert_int_equal(world->a.journal.seq, 1); /* it reached the core */
	visits_end(&visits);
}

static struct gw_scheduler_list told; /* last */
static uint32_t told_count;

static void note_list(void *context, const struct gw_scheduler_list *list)
{
	(void)context;
	told = *list;
	told_count++;
}

/* Now and later sessions hear of a newer list, of an older one nobody does. */
static void agents_are_told_where_schedulers_are(void **state)
{
	struct world *world = *state;
	struct test_region *region = world->region;
	struct gw_scheduler_list list = world->at.schedulers;
	struct gw_region at = world->at;
	static struct test_identity agent; /* large */
	struct test_core core;
	struct gw_host_options options;
	struct gw_host *host;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	at.schedulers.count = 1; /* all that it was told when it joined */
	options = test_agent_options(region, &agent, &core, &at);
	options.schedulers = note_list;
	told_count = 0;
	host = test_agent_open(&options);
	assert_true(TEST_UNTIL(region, core.ups == 1));
	assert_int_equal(told_count, 0);
	list.version = 5;
	gw_host_set_endpoints(world->a.host, &list);
	assert_true(TEST_UNTIL(region, told_count == 1));
	assert_int_equal(told.version, 5);
	assert_int_equal(told.count, 2);
	assert_string_equal(told.places[1].state, world->b.place.state);
	list.version = 4;
	list.count = 1;
	gw_host_set_endpoints(world->a.host, &list);
	/* It is of use at once: the other one is found. It tells the same, which is nothing new. */
	leave(&world->a);
	lead(region, &world->b);
	gw_host_set_endpoints(world->b.host, &told);
	assert_true(TEST_UNTIL(region, core.ups == 2));
	told.version = 6;
	gw_host_set_endpoints(world->b.host, &told);
	assert_true(TEST_UNTIL(region, told.version == 6 && told_count == 2));
	assert_int_equal(core.messages, 0); /* the core heard of none */
	gw_host_free(host);
	test_identity_deinit(&agent);
}

static void directory_call(void *context)
{
	struct visits *visits = context;

	visits->error = gw_client_open_directory(visits->directory, NULL, NULL, DEADLINE_US,
						 &visits->client, &visits->fault);
	if (visits->error == 0)
		one_call(visits);
}

/* A user's region file is kept as new as the leader's word. */
static void a_region_file_follows(void **state)
{
	struct world *world = *state;
	struct gw_scheduler_list list = world->at.schedulers;
	static struct gw_region region;
	uint8_t bytes[GW_CERT_BYTES_MAX];
	static struct visits visits; /* large */
	struct gw_fault fault;
	char path[512];
	size_t size;

	region = world->at;
	visits_init(&visits, world);
	(void)snprintf(visits.directory, sizeof(visits.directory), "%s/user",
		       world->region->directory);
	assert_int_equal(mkdir(visits.directory, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", visits.directory, GW_KEYS_FILE);
	visits.user.keys = gw_keys_free(visits.user.keys);
	assert_int_equal(gw_keys_create(path, &visits.user.keys, &fault), 0);
	memcpy(visits.user.cert.signing_key, visits.user.keys->signing_key, GW_KEY_BYTES);
	memcpy(visits.user.cert.exchange_key, visits.user.keys->exchange_key, GW_KEY_BYTES);
	visits.user.cert.node = visits.user.keys->node;
	(void)snprintf(visits.user.cert.name, sizeof(visits.user.cert.name), "user2");
	assert_int_equal(
		gw_cert_issue(&visits.user.cert, world->region->keys->signing_secret, bytes, &size),
		0);
	assert_int_equal(gw_identities_add(world->region->identities, bytes, size, &fault), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", visits.directory, GW_CERTIFICATE_FILE);
	assert_int_equal(gw_file_write(path, 0644, false, bytes, size, &fault), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", visits.directory, GW_REGION_FILE);
	region.schedulers.count = 1;
	assert_int_equal(gw_region_save(path, &region, &fault), 0);
	list.version = 3;
	gw_host_set_endpoints(world->a.host, &list);
	visits.kind = GODWIT__BODY__KIND_VERSION_REQUEST;
	test_beside(world->region, directory_call, &visits);
	if (visits.error != 0)
		fail_msg("%s", visits.fault.text);
	assert_int_equal(gw_region_load(path, &region, &fault), 0);
	assert_int_equal(region.schedulers.version, 3);
	assert_int_equal(region.schedulers.count, 2);
	visits_end(&visits);
}

/* A peer below the session, of a version that it states. */
struct old_peer {
	struct gw_zsock *zsock;
	uint32_t ups;
	uint32_t lists;
	uint32_t welcomes;
};

static void old_received(void *context, const struct gw_zmessage *message)
{
	struct old_peer *peer = context;
	const Godwit__Envelope *envelope;
	const Godwit__Body *body = NULL;
	struct gw_arena arena;

	gw_arena_init(&arena, 1 << 20);
	envelope = gw_wire_decode_envelope(&arena, message->bytes, message->size);
	assert_non_null(envelope);
	peer->welcomes += envelope->control == GODWIT__LINK_CONTROL__LINK_WELCOME;
	if (envelope->body.len > 0)
		body = gw_wire_decode_body(&arena, envelope->body.data, envelope->body.len);
	peer->lists += body && body->kind_case == GODWIT__BODY__KIND_SCHEDULER_LIST;
	gw_arena_deinit(&arena);
}

static void old_connection(void *context, enum gw_connection state, int fd)
{
	(void)fd;
	((struct old_peer *)context)->ups += state == GW_CONNECTION_UP;
}

static void greet_as(struct world *world, const struct test_identity *identity,
		     struct old_peer *peer, uint32_t protocol_max)
{
	const struct gw_zsock_options options = {
		.reactor = world->region->reactor,
		.zmq = world->region->zmq,
		.keys = identity->keys,
		.server_key = world->at.exchange_key,
		.endpoint = world->a.place.state,
		.received = old_received,
		.connection = old_connection,
		.context = peer,
	};
	Godwit__Envelope hello = GODWIT__ENVELOPE__INIT;
	uint8_t bytes[256];
	struct gw_fault fault;

	assert_int_equal(gw_zsock_open(&options, &peer->zsock, &fault), 0);
	assert_true(TEST_UNTIL(world->region, peer->ups == 1));
	hello.sender = gw_wire_id(&identity->keys->node.id);
	hello.protocol_min = 1;
	hello.protocol_max = protocol_max;
	hello.epoch = 77;
	hello.control = GODWIT__LINK_CONTROL__LINK_HELLO;
	assert_true(gw_wire_size(&hello.base) <= sizeof(bytes));
	gw_wire_encode(&hello.base, bytes);
	assert_int_equal(gw_zsock_send(peer->zsock, NULL, bytes, gw_wire_size(&hello.base)), 0);
	assert_true(TEST_UNTIL(world->region, peer->welcomes == 1));
}

/* A peer of protocol 1 would not understand the list, and is not sent it. */
static void an_older_peer_is_told_nothing_new(void **state)
{
	struct world *world = *state;
	struct gw_scheduler_list list = world->at.schedulers;
	struct old_peer peers[2] = {{0}, {0}};
	static struct test_identity agents[2]; /* large */

	test_identity_init(world->region, &agents[0], "old", GODWIT__ROLE__ROLE_AGENT, false);
	test_identity_init(world->region, &agents[1], "new", GODWIT__ROLE__ROLE_AGENT, false);
	greet_as(world, &agents[0], &peers[0], 1);
	greet_as(world, &agents[1], &peers[1], 2);
	list.version = 1;
	gw_host_set_endpoints(world->a.host, &list);
	assert_true(TEST_UNTIL(world->region, peers[1].lists == 1));
	list.version = 2;
	gw_host_set_endpoints(world->a.host, &list);
	assert_true(TEST_UNTIL(world->region, peers[1].lists == 2));
	assert_int_equal(peers[0].lists, 0);
	for (int i = 0; i < 2; i++) {
		gw_zsock_close(peers[i].zsock);
		test_identity_deinit(&agents[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_agent_follows_the_leader),
		TEST(a_silent_leader_is_left),
		TEST(what_waited_is_not_told),
		TEST(a_client_finds_the_leader),
		TEST(a_bad_place_is_passed_over),
		TEST(nobody_leads_is_said),
		TEST(a_call_survives_a_take_over),
		TEST(what_may_not_be_repeated_is_not),
		TEST(a_stalled_journal_takes_no_new_work),
		TEST(agents_are_told_where_schedulers_are),
		TEST(a_region_file_follows),
		TEST(an_older_peer_is_told_nothing_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
