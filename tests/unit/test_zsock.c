/*
 * Real sockets with real CURVE on loopback: who gets in, who does not, and that a hostile peer
 * disturbs nobody else. Each refusal is a sentence at the other end or a count at this one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "tests/unit/transport_fixture.h"
#include "tests/unit/transport_relay.h"
#include "transport/clock.h"
#include "transport/link.h"
#include "transport/zsock.h"

/* A peer below the session: a bare socket with an identity's keys. */
struct bare {
	struct gw_zsock *zsock;
	uint32_t ups;
	uint32_t downs;
	uint32_t refused;
	uint32_t strange;
	struct gw_buf last; /* message received */
	uint32_t messages;
};

static void bare_received(void *context, const struct gw_zmessage *message)
{
	struct bare *bare = context;

	bare->last.size = 0;
	assert_int_equal(gw_buf_append(&bare->last, message->bytes, message->size), 0);
	bare->messages++;
}

static void bare_connection(void *context, enum gw_connection state, int fd)
{
	struct bare *bare = context;

	(void)fd;
	bare->ups += state == GW_CONNECTION_UP;
	bare->downs += state == GW_CONNECTION_DOWN;
	bare->refused += state == GW_CONNECTION_REFUSED;
	bare->strange += state == GW_CONNECTION_STRANGE;
}

static void bare_open(struct test_region *region, const struct test_identity *identity,
		      const char *endpoint, struct bare *bare)
{
	const struct gw_zsock_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.keys = identity->keys,
		.server_key = region->region.exchange_key,
		.endpoint = endpoint,
		.received = bare_received,
		.connection = bare_connection,
		.context = bare,
	};
	struct gw_fault fault;

	*bare = (struct bare){0};
	gw_buf_init(&bare->last, GW_MESSAGE_BYTES_MAX);
	assert_int_equal(gw_zsock_open(&options, &bare->zsock, &fault), 0);
}

static void bare_close(struct bare *bare)
{
	gw_zsock_close(bare->zsock);
	gw_buf_deinit(&bare->last);
}

static void send_envelope(struct bare *bare, const Godwit__Envelope *envelope)
{
	size_t size = gw_wire_size(&envelope->base);
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	gw_wire_encode(&envelope->base, bytes);
	assert_int_equal(gw_zsock_send(bare->zsock, NULL, bytes, size), 0);
	free(bytes);
}

static Godwit__Envelope hello_from(const struct gw_node_id *sender)
{
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;

	envelope.sender = gw_wire_id(&sender->id);
	envelope.protocol_min = GW_PROTOCOL_MIN;
	envelope.protocol_max = GW_PROTOCOL_MAX;
	envelope.epoch = 77;
	envelope.control = GODWIT__LINK_CONTROL__LINK_HELLO;
	return envelope;
}

/* The refusal's sentence in the last message; fails when it is not one. */
static void assert_refused(const struct bare *bare, uint32_t code, const char *part)
{
	const Godwit__Envelope *envelope;
	const Godwit__Refusal *refusal;
	struct gw_arena arena;

	gw_arena_init(&arena, 1 << 20);
	envelope = gw_wire_decode_envelope(&arena, bare->last.bytes, bare->last.size);
	assert_non_null(envelope);
	assert_int_equal(envelope->control, GODWIT__LINK_CONTROL__LINK_REFUSE);
	refusal = gw_wire_decode(&godwit__refusal__descriptor, &arena, envelope->body.data,
				 envelope->body.len);
	assert_non_null(refusal);
	assert_int_equal(refusal->code, code);
	assert_non_null(strstr(refusal->text, part));
	gw_arena_deinit(&arena);
}

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

/* That the region still serves: an honest user's visit. */
static void assert_serves(struct test_region *region)
{
	static uint32_t number;
	struct test_identity user;
	struct test_visit visit = {.identity = &user};
	char name[32];

	(void)snprintf(name, sizeof(name), "honest-%u", ++number);
	test_identity_init(region, &user, name, GODWIT__ROLE__ROLE_USER, false);
	test_visit(region, &visit);
	if (visit.error < 0)
		print_error("%s\n", visit.fault.text);
	assert_int_equal(visit.error, 0);
	assert_int_equal(visit.protocol_max, 17);
	test_identity_deinit(&user);
}

static void right_key_gets_in(void **state)
{
	assert_serves(*state);
	assert_serves(*state);
}

static void unknown_key_is_refused(void **state)
{
	struct test_region *region = *state;
	struct test_identity stranger;
	struct test_visit visit = {.identity = &stranger};

	test_identity_init(region, &stranger, "stranger", GODWIT__ROLE__ROLE_USER, true);
	test_visit(region, &visit);
	assert_int_equal(visit.error, -EACCES);
	assert_non_null(strstr(visit.fault.text, "refuses this key"));
	assert_true(gw_zap_refused_count(region->zap) > 0);
	test_identity_deinit(&stranger);
	assert_serves(region);
}

static void wrong_server_key_is_seen(void **state)
{
	struct test_region *region = *state;
	struct test_identity user;
	struct test_visit visit = {.identity = &user, .limit_us = GW_US_PER_S};

	test_identity_init(region, &user, "user", GODWIT__ROLE__ROLE_USER, false);
	memcpy(user.region.exchange_key, user.keys->exchange_key, GW_KEY_BYTES);
	test_visit(region, &visit);
	assert_int_equal(visit.error, -EPROTO);
	assert_non_null(strstr(visit.fault.text, "another key"));
	test_identity_deinit(&user);
}

static void nobody_there_is_said(void **state)
{
	struct test_region *region = *state;
	struct test_identity user;
	struct test_visit visit = {.identity = &user, .limit_us = 300 * GW_US_PER_MS};

	test_identity_init(region, &user, "user", GODWIT__ROLE__ROLE_USER, false);
	memcpy(user.region.schedulers.places[0].state, "tcp://127.0.0.1:9", 18);
	test_visit(region, &visit);
	assert_int_equal(visit.error, -ETIMEDOUT);
	assert_non_null(strstr(visit.fault.text, "127.0.0.1:9"));
	test_identity_deinit(&user);
}

static void expired_certificate_is_refused(void **state)
{
	struct test_region *region = *state;
	struct test_identity user;
	struct test_visit visit = {.identity = &user};
	struct gw_identity *identity;

	union {
		const struct gw_identity *from;
		struct gw_identity *to;
	} pointer;

	test_identity_init(region, &user, "user", GODWIT__ROLE__ROLE_USER, false);
	pointer.from = gw_identities_find(region->identities, user.keys->node);
	identity = pointer.to;
	identity->cert.not_after_wall_us = 1;
	test_visit(region, &visit);
	assert_int_equal(visit.error, -EACCES);
	test_identity_deinit(&user);
}

struct revocation {
	struct test_identity operator_identity;
	struct gw_node_id node;
	int error;
	struct gw_fault fault;
};

static void revoke_call(void *context)
{
	struct revocation *revocation = context;
	const struct gw_client_options options = {
		.keys = revocation->operator_identity.keys,
		.cert = &revocation->operator_identity.cert,
		.region = &revocation->operator_identity.region,
	};
	Godwit__RevokeRequest request = GODWIT__REVOKE_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	char text[GW_ID_TEXT_BYTES];
	const Godwit__Body *reply;
	struct gw_client *client;

	gw_id_format_hex(revocation->node.id, text);
	request.node = text;
	body.kind_case = GODWIT__BODY__KIND_REVOKE_REQUEST;
	body.revoke_request = &request;
	revocation->error = gw_client_open(&options, DEADLINE_US, &client, &revocation->fault);
	if (revocation->error < 0)
		return;
	revocation->error = gw_client_call(client, &body, DEADLINE_US, &reply, &revocation->fault);
	gw_client_close(client);
}

/* The agent's session stands; then its connection is shut, its messages are refused, and it never
 * gets in again, also after a restart of the scheduler. */
static void revoked_key_loses_its_live_link(void **state)
{
	struct test_region *region = *state;
	static struct revocation revocation; /* large */
	struct gw_event more = {.kind = GW_EVENT_CONTINUE};
	struct gw_identities *again;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;
	struct bare bare;
	struct gw_fault fault;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	test_identity_init(region, &revocation.operator_identity, "operator",
			   GODWIT__ROLE__ROLE_OPERATOR, false);
	host = test_agent_new(region, &agent, &core, NULL);
	bare_open(region, &agent, region->region.schedulers.places[0].heartbeat, &bare);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1 && bare.ups == 1));
	revocation.node = agent.keys->node;
	test_beside(region, revoke_call, &revocation);
	assert_int_equal(revocation.error, 0);
	assert_true(TEST_UNTIL(region, core.downs == 1 && region->core.downs == 1));
	/* Its heartbeat connection still stands: the first word on it is refused, and shuts it. */
	assert_int_equal(bare.downs, 0);
	assert_int_equal(gw_zsock_send(bare.zsock, NULL, (const uint8_t *)"x", 1), 0);
	assert_true(TEST_UNTIL(region, bare.downs == 1));
	assert_int_equal(gw_host_counts(region->host)->refused_identity, 1);
	assert_true(TEST_UNTIL(region, bare.refused > 0)); /* the ZAP handler, at the new try */
	core.telemetry_to_send = 1;
	gw_host_feed(host, &more);
	assert_int_equal(region->core.messages, 0);
	assert_int_equal(core.ups, 1);
	assert_int_equal(
		gw_identities_open(region->directory, region->keys->signing_key, &again, &fault),
		0);
	assert_true(gw_identities_find(again, agent.keys->node)->revoked);
	gw_identities_free(again);
	bare_close(&bare);
	gw_host_free(host);
	assert_serves(region);
	test_identity_deinit(&agent);
	test_identity_deinit(&revocation.operator_identity);
}

/* A good key, but an envelope in another's name. */
static void spoofed_sender_is_refused(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	struct test_identity victim;
	Godwit__Envelope envelope;
	struct bare bare;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	test_identity_init(region, &victim, "victim", GODWIT__ROLE__ROLE_AGENT, false);
	bare_open(region, &agent, region->region.schedulers.places[0].state, &bare);
	assert_true(TEST_UNTIL(region, bare.ups == 1));
	envelope = hello_from(&victim.keys->node);
	send_envelope(&bare, &envelope);
	assert_true(TEST_UNTIL(region, bare.messages == 1));
	assert_refused(&bare, GW_REFUSAL_IDENTITY, "not the owner of the key");
	assert_int_equal(gw_host_counts(region->host)->refused_identity, 1);
	assert_int_equal(region->core.ups, 0);
	bare_close(&bare);
	assert_serves(region);
	test_identity_deinit(&agent);
	test_identity_deinit(&victim);
}

static void no_common_protocol_is_said(void **state)
{
	struct test_region *region = *state;
	struct test_identity agent;
	Godwit__Envelope envelope;
	struct bare bare;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	bare_open(region, &agent, region->region.schedulers.places[0].state, &bare);
	assert_true(TEST_UNTIL(region, bare.ups == 1));
	envelope = hello_from(&agent.keys->node);
	envelope.protocol_min = GW_PROTOCOL_MAX + 1;
	envelope.protocol_max = GW_PROTOCOL_MAX + 2;
	send_envelope(&bare, &envelope);
	assert_true(TEST_UNTIL(region, bare.messages == 1));
	assert_refused(&bare, GW_REFUSAL_PROTOCOL, "no common protocol version");
	assert_int_equal(gw_host_counts(region->host)->refused_protocol, 1);
	assert_int_equal(region->core.ups, 0);
	bare_close(&bare);
	assert_serves(region);
	test_identity_deinit(&agent);
}

/* Every prefix of an envelope, and every envelope whose body is a prefix of a body. */
static void truncated_messages_are_refused(void **state)
{
	struct test_region *region = *state;
	uint8_t body[] = {0xc2, 0x3e, 0x04, 0x0a, 0x10, 0x01}; /* a bytes field cut short */
	struct test_identity agent;
	Godwit__Envelope envelope;
	uint8_t bytes[512];
	struct bare bare;
	uint32_t sent = 0;
	size_t size;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	bare_open(region, &agent, region->region.schedulers.places[0].state, &bare);
	assert_true(TEST_UNTIL(region, bare.ups == 1));
	envelope = hello_from(&agent.keys->node);
	size = gw_wire_size(&envelope.base);
	gw_wire_encode(&envelope.base, bytes);
	for (size_t i = 0; i < 20; i++, sent++) /* before the protocol range is in it */
		assert_int_equal(gw_zsock_send(bare.zsock, NULL, bytes, i), 0);
	assert_true(TEST_UNTIL(region, bare.messages == sent));
	assert_refused(&bare, GW_REFUSAL_MALFORMED, "not a message");
	assert_int_equal(gw_zsock_send(bare.zsock, NULL, bytes, size), 0);
	assert_true(TEST_UNTIL(region, region->core.ups == 1 && bare.messages == sent + 1));
	/* Now inside the session: the envelope is whole, its body is not. */
	{
		const Godwit__Envelope *welcome;
		struct gw_arena arena;

		gw_arena_init(&arena, 1 << 20);
		welcome = gw_wire_decode_envelope(&arena, bare.last.bytes, bare.last.size);
		assert_non_null(welcome);
		envelope.peer_epoch = welcome->epoch;
		gw_arena_deinit(&arena);
	}
	envelope.control = GODWIT__LINK_CONTROL__LINK_DATA;
	envelope.sequence = 1;
	envelope.body.data = body;
	envelope.body.len = sizeof(body);
	send_envelope(&bare, &envelope);
	assert_true(TEST_UNTIL(region, bare.messages >= sent + 2));
	assert_int_equal(gw_host_counts(region->host)->refused_malformed, sent + 1);
	assert_int_equal(region->core.messages, 0);
	bare_close(&bare);
	assert_serves(region);
	test_identity_deinit(&agent);
}

static long peak_kib(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/* From an authenticated peer's connection, in the middle of its session. */
static void gibibyte_message_costs_only_its_sender(void **state)
{
	struct test_region *region = *state;
	struct gw_region at = region->region;
	struct test_identity agent;
	struct test_relay relay;
	struct test_core core;
	struct gw_host *host;
	long before_kib;

	test_relay_start(&relay, gw_host_state_port(region->host));
	(void)snprintf(at.schedulers.places[0].state, sizeof(at.schedulers.places[0].state),
		       "tcp://127.0.0.1:%u", relay.port);
	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	host = test_agent_new(region, &agent, &core, &at);
	assert_true(TEST_UNTIL(region, core.ups == 1 && region->core.ups == 1));
	before_kib = peak_kib();
	atomic_store(&relay.flood, true);
	assert_true(TEST_UNTIL(region, atomic_load(&relay.server_closed)));
	test_relay_stop(&relay);
	assert_true(atomic_load(&relay.flooded_bytes) <
		    64u << 20); /* cut off long before its end */
	assert_true(peak_kib() - before_kib < 32 << 10);
	assert_serves(region);
	gw_host_free(host);
	test_identity_deinit(&agent);
}

/* The same claim by a stranger, before any handshake. */
static void gibibyte_claim_by_a_stranger(void **state)
{
	static const uint8_t greeting[64] = {0xff, 0, 0, 0,   0,   0,   0,   0,  0,
					     0x7f, 3, 0, 'C', 'U', 'R', 'V', 'E'};
	struct test_region *region = *state;
	struct test_relay flood = {0};
	long before_kib = peak_kib();
	int fd = test_connect_loopback(gw_host_state_port(region->host));

	assert_true(fd >= 0);
	assert_int_equal(send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL), sizeof(greeting));
	test_flood(&flood, fd);
	assert_true(atomic_load(&flood.server_closed));
	assert_true(peak_kib() - before_kib < 32 << 10);
	(void)close(fd);
	assert_serves(region);
}

/* A message larger than the limit that libzmq's own sender sends. */
static void large_message_drops_the_connection(void **state)
{
	struct test_region *region = *state;
	size_t size = 4 * (size_t)GW_MESSAGE_BYTES_MAX;
	uint8_t *bytes = calloc(1, size);
	struct test_identity agent;
	struct bare bare;

	assert_non_null(bytes);
	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	bare_open(region, &agent, region->region.schedulers.places[0].state, &bare);
	assert_true(TEST_UNTIL(region, bare.ups == 1));
	assert_int_equal(gw_zsock_send(bare.zsock, NULL, bytes, size), 0);
	assert_true(TEST_UNTIL(region, bare.downs > 0));
	assert_int_equal(region->core.messages, 0);
	bare_close(&bare);
	free(bytes);
	assert_serves(region);
	test_identity_deinit(&agent);
}

static bool stopped; /* written and read in the calling thread */

static bool is_stopped(void)
{
	return stopped;
}

struct interruption {
	const struct test_identity *identity;
	int first;
	int second;
	int opened;
};

static void interrupt_call(void *context)
{
	struct interruption *it = context;
	const struct gw_client_options options = {
		.keys = it->identity->keys,
		.cert = &it->identity->cert,
		.region = &it->identity->region,
		.stop = is_stopped,
	};
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT;
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__Body *reply;
	struct gw_client *client;
	struct gw_fault fault;

	stopped = true;
	it->opened = gw_client_open(&options, DEADLINE_US, &client, &fault);
	stopped = false;
	if (gw_client_open(&options, DEADLINE_US, &client, &fault) < 0)
		return;
	stopped = true;
	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST; /* which the core never answers */
	body.jobs_request = &jobs;
	it->first = gw_client_call(client, &body, GW_NEVER_US / 2, &reply, &fault);
	stopped = false;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &version;
	it->second = gw_client_call(client, &body, DEADLINE_US, &reply, &fault);
	gw_client_close(client);
}

static void a_signal_ends_a_call(void **state)
{
	struct test_region *region = *state;
	struct test_identity user;
	struct interruption it = {.identity = &user, .first = 1, .second = 1, .opened = 1};

	test_identity_init(region, &user, "user", GODWIT__ROLE__ROLE_USER, false);
	test_beside(region, interrupt_call, &it);
	assert_int_equal(it.opened, -EINTR);
	assert_int_equal(it.first, -EINTR);
	assert_int_equal(it.second, 0); /* the session is as good as before */
	test_identity_deinit(&user);
}

/* A scheduler that is full: everything is answered with a refusal. */
struct full {
	struct gw_zsock *zsock;
	struct gw_node_id self;
	struct gw_reactor *reactor;
	uint32_t greetings;
};

static void full_received(void *context, const struct gw_zmessage *message)
{
	struct full *full = context;
	const struct gw_link_options self = {.self = full->self};
	struct gw_now now = gw_reactor_now(full->reactor);
	struct gw_buf out;

	full->greetings++;
	gw_buf_init(&out, 4096);
	gw_link_refusal(&self, &now, GW_REFUSAL_OVERLOAD, "full", &out);
	assert_int_equal(gw_zsock_send(full->zsock, &message->route, out.bytes, out.size), 0);
	gw_buf_deinit(&out);
}

/* The connection stands, so nothing but the agent itself would make it try again. */
static void a_refused_agent_asks_again(void **state)
{
	struct test_region *region = *state;
	struct full full = {.reactor = region->reactor, .self = region->keys->node};
	const struct gw_zsock_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.keys = region->keys,
		.domain = GW_ZAP_STATE,
		.endpoint = "tcp://127.0.0.1:*",
		.received = full_received,
		.context = &full,
	};
	struct gw_region at = region->region;
	struct test_identity agent;
	struct test_core core;
	struct gw_host *host;
	struct gw_fault fault;

	test_identity_init(region, &agent, "agent", GODWIT__ROLE__ROLE_AGENT, false);
	assert_int_equal(gw_zsock_open(&options, &full.zsock, &fault), 0);
	(void)snprintf(at.schedulers.places[0].state, sizeof(at.schedulers.places[0].state),
		       "tcp://127.0.0.1:%u", gw_zsock_port(full.zsock));
	host = test_agent_new(region, &agent, &core, &at);
	assert_true(TEST_UNTIL(region, full.greetings == 3));
	assert_int_equal(core.ups, 0);
	gw_host_free(host);
	gw_zsock_close(full.zsock);
	test_identity_deinit(&agent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(right_key_gets_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_key_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wrong_server_key_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_there_is_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(expired_certificate_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_key_loses_its_live_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signal_ends_a_call, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_refused_agent_asks_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(spoofed_sender_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_common_protocol_is_said, set_up, tear_down),
		cmocka_unit_test_setup_teardown(truncated_messages_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gibibyte_message_costs_only_its_sender, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(gibibyte_claim_by_a_stranger, set_up, tear_down),
		cmocka_unit_test_setup_teardown(large_message_drops_the_connection, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
