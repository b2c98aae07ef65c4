/* A region on loopback; see the header. */
#include "tests/unit/transport_fixture.h"

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "transport/clock.h"
#include "transport/file.h"
#include "transport/zsock.h"

static void reply_version(struct test_core *core, struct gw_effects *effects, uint64_t request,
			  uint64_t after_seq)
{
	Godwit__VersionReply reply = GODWIT__VERSION_REPLY__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;

	char *region = calloc(1, core->answer_bytes + 1);

	assert_non_null(region);
	memset(region, 'x', core->answer_bytes);
	reply.protocol_max = 17;
	reply.region = region;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REPLY;
	body.version_reply = &reply;
	assert_true(gw_effects_reply(effects, request, after_seq, &body));
	free(region);
}

static void submit(struct test_core *core, const struct gw_event *event, struct gw_effects *effects)
{
	const Godwit__Body *body = event->submit.body;
	struct gw_effect *effect;

	core->peer = event->submit.user->node;
	if (body->kind_case == GODWIT__BODY__KIND_VERSION_REQUEST) {
		reply_version(core, effects, event->submit.request, 0);
	} else if (body->kind_case == GODWIT__BODY__KIND_CANCEL_REQUEST ||
		   body->kind_case == GODWIT__BODY__KIND_SUBMIT_REQUEST) {
		effect = gw_effects_add(effects, GW_EFFECT_APPEND, 0);
		assert_non_null(effect);
		effect->append.seq = ++core->seq;
		reply_version(core, effects, event->submit.request, core->seq);
	} else if (body->kind_case == GODWIT__BODY__KIND_REVOKE_REQUEST) {
		effect = gw_effects_add(effects, GW_EFFECT_REVOKE, 0);
		assert_non_null(effect);
		assert_true(gw_id_parse_hex(body->revoke_request->node, &effect->revoke.node.id));
		reply_version(core, effects, event->submit.request, 0);
	}
}

static void message(struct test_core *core, const struct gw_event *event)
{
	core->peer = event->message.peer->node;
	if (event->message.channel == GW_CHANNEL_HEARTBEAT) {
		core->heartbeats++;
		return;
	}
	core->messages++;
	if (event->message.body->kind_case == GODWIT__BODY__KIND_TELEMETRY) {
		int64_t number = event->message.body->telemetry->at_wall_us;

		if (number != core->last_wall_us + 1)
			core->out_of_order = true;
		core->last_wall_us = number;
	}
}

static void *plan(void *snapshot, uint64_t work_units, uint64_t seed)
{
	(void)work_units;
	(void)seed;
	return snapshot;
}

static void say(struct test_core *core, struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	Godwit__Heartbeat heartbeat = GODWIT__HEARTBEAT__INIT;
	uint64_t after_seq = 0;

	body.kind_case = GODWIT__BODY__KIND_TELEMETRY;
	body.telemetry = &telemetry;
	if (core->record_to_append) {
		struct gw_effect *effect = gw_effects_add(effects, GW_EFFECT_APPEND, 0);

		assert_non_null(effect);
		core->record_to_append = false;
		after_seq = effect->append.seq = ++core->seq;
	}
	for (; core->telemetry_to_send > 0; after_seq = 0) {
		telemetry.at_wall_us = core->telemetry_sent + 1;
		if (!gw_effects_send(effects, core->peer, GW_CHANNEL_STATE, after_seq, &body)) {
			effects->more = true;
			return;
		}
		core->telemetry_sent++;
		core->telemetry_to_send--;
	}
	if (core->heartbeat_to_send) {
		core->heartbeat_to_send = false;
		body.kind_case = GODWIT__BODY__KIND_HEARTBEAT;
		body.heartbeat = &heartbeat;
		assert_true(gw_effects_send(effects, core->peer, GW_CHANNEL_HEARTBEAT, 0, &body));
	}
	if (core->plan_to_run) {
		struct gw_effect *effect = gw_effects_add(effects, GW_EFFECT_PLAN, 0);

		assert_non_null(effect);
		core->plan_to_run = false;
		effect->plan.plan = 5;
		effect->plan.run = plan;
		effect->plan.snapshot = core;
	}
}

static int step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects)
{
	struct test_core *core = (struct test_core *)node;

	switch (event->kind) {
	case GW_EVENT_START:
		core->starts++;
		break;
	case GW_EVENT_ROLE:
		core->roles += event->role.leader && event->role.term == 7;
		break;
	case GW_EVENT_MESSAGE:
		message(core, event);
		break;
	case GW_EVENT_SUBMIT:
		submit(core, event, effects);
		break;
	case GW_EVENT_PEER_UP:
		core->ups++;
		core->resumes += event->peer_up.resumed;
		core->peer = event->peer_up.peer->node;
		break;
	case GW_EVENT_PEER_DOWN:
		core->downs++;
		break;
	case GW_EVENT_DURABLE:
		core->durables++;
		break;
	case GW_EVENT_PLANNED:
		core->planned += event->planned.result == core && event->planned.plan == 5;
		break;
	case GW_EVENT_CONTINUE:
		say(core, effects);
		break;
	case GW_EVENT_TICK:
		core->wake_us = GW_NEVER_US;
		break;
	case GW_EVENT_SAMPLE:
	case GW_EVENT_SPAWNED:
	case GW_EVENT_EXITED:
	case GW_EVENT_OUTPUT:
	case GW_EVENT_OBSERVED:
	case GW_EVENT_STOP:
		break;
	}
	return 0;
}

static uint64_t wake_us(const struct gw_node *node)
{
	return ((const struct test_core *)node)->wake_us;
}

void test_core_init(struct test_core *core)
{
	static const struct gw_node_ops ops = {.step = step, .wake_us = wake_us};

	*core = (struct test_core){.node.ops = &ops, .wake_us = GW_NEVER_US};
}

static void open_host(struct test_region *region)
{
	const struct gw_host_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.core = &region->core.node,
		.keys = region->keys,
		.region = &region->region,
		.identities = region->identities,
		.state_endpoint = "tcp://127.0.0.1:*",
		.heartbeat_endpoint = "tcp://127.0.0.1:*",
		.term = 7,
		.worker_count = 1,
	};
	struct gw_scheduler_place *place;
	struct gw_fault fault;

	assert_int_equal(gw_host_new(&options, &region->host, &fault), 0);
	place = &region->region.schedulers.places[0];
	(void)snprintf(place->state, sizeof(place->state), "tcp://127.0.0.1:%u",
		       gw_host_state_port(region->host));
	(void)snprintf(place->heartbeat, sizeof(place->heartbeat), "tcp://127.0.0.1:%u",
		       gw_host_heartbeat_port(region->host));
	region->region.schedulers.count = 1;
	gw_host_start(region->host);
}

struct test_region *test_region_new(void)
{
	struct test_region *region = calloc(1, sizeof(*region));
	char path[GW_PATH_BYTES];
	struct gw_fault fault;

	assert_non_null(region);
	(void)snprintf(region->directory, sizeof(region->directory), "/tmp/godwit-test-XXXXXX");
	assert_non_null(mkdtemp(region->directory));
	assert_int_equal(gw_file_path(path, sizeof(path), region->directory, GW_KEYS_FILE), 0);
	assert_int_equal(gw_keys_create(path, &region->keys, &fault), 0);
	memcpy(region->region.name, "test", 5);
	memcpy(region->region.signing_key, region->keys->signing_key, GW_KEY_BYTES);
	memcpy(region->region.exchange_key, region->keys->exchange_key, GW_KEY_BYTES);
	assert_int_equal(gw_identities_open(region->directory, region->keys->signing_key,
					    &region->identities, &fault),
			 0);
	assert_int_equal(gw_reactor_new(&region->reactor), 0);
	region->zmq = gw_zmq_new();
	assert_non_null(region->zmq);
	assert_int_equal(
		gw_zap_new(region->reactor, region->zmq, region->identities, &region->zap, &fault),
		0);
	test_core_init(&region->core);
	open_host(region);
	return region;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

void test_region_free(struct test_region *region)
{
	gw_host_free(region->host);
	gw_zap_free(region->zap);
	gw_zmq_free(region->zmq);
	gw_reactor_free(region->reactor);
	gw_identities_free(region->identities);
	gw_keys_free(region->keys);
	(void)nftw(region->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(region);
}

void test_identity_init(struct test_region *region, struct test_identity *identity,
			const char *name, uint32_t role, bool stranger)
{
	char path[GW_PATH_BYTES];
	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct gw_fault fault;
	size_t size;

	*identity = (struct test_identity){0};
	(void)snprintf(identity->directory, sizeof(identity->directory), "%s/id-%s",
		       region->directory, name);
	(void)snprintf(path, sizeof(path), "%s.keys", identity->directory);
	assert_int_equal(gw_keys_create(path, &identity->keys, &fault), 0);
	identity->region = region->region;
	identity->cert = (struct gw_cert){.roles = 1u << role};
	(void)snprintf(identity->cert.name, sizeof(identity->cert.name), "%s", name);
	memcpy(identity->cert.site, "here", 5);
	memcpy(identity->cert.region, "test", 5);
	memcpy(identity->cert.signing_key, identity->keys->signing_key, GW_KEY_BYTES);
	memcpy(identity->cert.exchange_key, identity->keys->exchange_key, GW_KEY_BYTES);
	identity->cert.node = identity->keys->node;
	identity->cert.not_after_wall_us = gw_clock_wall_us() + 3600 * (int64_t)GW_US_PER_S;
	assert_int_equal(gw_cert_issue(&identity->cert, region->keys->signing_secret, bytes, &size),
			 0);
	if (!stranger)
		assert_int_equal(gw_identities_add(region->identities, bytes, size, &fault), 0);
}

void test_identity_deinit(struct test_identity *identity)
{
	identity->keys = gw_keys_free(identity->keys);
}

struct gw_host_options test_agent_options(struct test_region *region,
					  const struct test_identity *identity,
					  struct test_core *core, const struct gw_region *at)
{
	return (struct gw_host_options){
		.reactor = region->reactor,
		.zmq = region->zmq,
		.core = &core->node,
		.keys = identity->keys,
		.cert = &identity->cert,
		.region = at ? at : &region->region,
	};
}

struct gw_host *test_agent_open(const struct gw_host_options *options)
{
	struct gw_fault fault;
	struct gw_host *host;

	test_core_init((struct test_core *)options->core);
	assert_int_equal(gw_host_new(options, &host, &fault), 0);
	gw_host_start(host);
	return host;
}

struct gw_host *test_agent_new(struct test_region *region, const struct test_identity *identity,
			       struct test_core *core, const struct gw_region *at)
{
	const struct gw_host_options options = test_agent_options(region, identity, core, at);

	return test_agent_open(&options);
}

void test_turn(struct test_region *region)
{
	/* Short sleeps only bound how late a condition of another thread is seen. */
	uint64_t until_us = gw_reactor_now(region->reactor).mono_us + 10 * GW_US_PER_MS;

	assert_int_equal(gw_reactor_turn(region->reactor, until_us), 0);
}

struct test_call {
	pthread_t thread;
	void (*call)(void *context);
	void *context;
	atomic_bool done;
};

static void *call_main(void *context)
{
	struct test_call *running = context;

	running->call(running->context);
	atomic_store(&running->done, true);
	return NULL;
}

struct test_call *test_call_start(void (*call)(void *context), void *context)
{
	struct test_call *running = calloc(1, sizeof(*running));

	assert_non_null(running);
	running->call = call;
	running->context = context;
	assert_int_equal(pthread_create(&running->thread, NULL, call_main, running), 0);
	return running;
}

bool test_call_done(struct test_call *running)
{
	return atomic_load(&running->done);
}

void test_call_join(struct test_call *running)
{
	assert_int_equal(pthread_join(running->thread, NULL), 0);
	free(running);
}

void test_beside(struct test_region *region, void (*call)(void *context), void *context)
{
	struct test_call *running = test_call_start(call, context);

	while (!test_call_done(running))
		test_turn(region); /* the call has a limit of its own */
	test_call_join(running);
}

static void visit_call(void *context)
{
	struct test_visit *visit = context;
	const struct gw_client_options options = {
		.keys = visit->identity->keys,
		.cert = &visit->identity->cert,
		.region = visit->region ? visit->region : &visit->identity->region,
	};
	Godwit__VersionRequest request = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__Body *reply;
	struct gw_client *client;

	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &request;
	visit->error = gw_client_open(&options, visit->limit_us, &client, &visit->fault);
	if (visit->error < 0)
		return;
	visit->error = gw_client_call(client, &body, visit->limit_us, &reply, &visit->fault);
	if (visit->error == 0 && reply->kind_case == GODWIT__BODY__KIND_VERSION_REPLY)
		visit->protocol_max = reply->version_reply->protocol_max;
	gw_client_close(client);
}

void test_visit(struct test_region *region, struct test_visit *visit)
{
	if (visit->limit_us == 0)
		visit->limit_us = DEADLINE_US;
	visit->error = 0;
	visit->fault.text[0] = '\0';
	test_beside(region, visit_call, visit);
}
