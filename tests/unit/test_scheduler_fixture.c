/* The scheduler's test bed: see the header. */
#include "tests/unit/test_scheduler_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/limits.h"
#include "scheduler/core/check.h"
#include "scheduler/place/plan.h"

static struct message *push(struct message **list, uint32_t *count)
{
	*list = realloc(*list, (*count + 1) * sizeof(**list));
	assert_non_null(*list);
	memset(&(*list)[*count], 0, sizeof(**list));
	return &(*list)[(*count)++];
}

static void keep(struct message *message, const uint8_t *bytes, size_t size)
{
	message->bytes = malloc(size + 1);
	assert_non_null(message->bytes);
	memcpy(message->bytes, bytes, size);
	message->size = size;
}

static void keep_effect(struct world *w, const struct gw_effect *effect)
{
	struct message *message;

	assert_true(effect->after_seq <= w->record_count);
	if (effect->kind == GW_EFFECT_APPEND) {
		message = push(&w->records, &w->record_count);
		keep(message, effect->append.bytes, effect->append.size);
		assert_int_equal(effect->append.seq, w->record_count);
	} else if (effect->kind == GW_EFFECT_SEND) {
		message = push(&w->messages, &w->message_count);
		message->node = effect->send.peer;
		keep(message, effect->send.bytes, effect->send.size);
		for (uint32_t i = 0; i < w->node_count; i++) {
			if (effect->send.channel == GW_CHANNEL_STATE &&
			    gw_id_equal(w->nodes[i].peer.node.id, effect->send.peer.id))
				w->nodes[i].received++;
		}
	} else if (effect->kind == GW_EFFECT_REPLY) {
		message = push(&w->messages, &w->message_count);
		message->request = effect->reply.request;
		keep(message, effect->reply.bytes, effect->reply.size);
	} else if (effect->kind == GW_EFFECT_PLAN) {
		assert_true(w->plan_count < 64);
		w->plans[w->plan_count].plan = effect->plan.plan;
		w->plans[w->plan_count++].result = effect->plan.run(
			effect->plan.snapshot, effect->plan.work_units, effect->plan.seed);
	} else if (effect->kind == GW_EFFECT_REVOKE) {
		w->revoked_count++;
	} else {
		fail_msg("effect %d is not a scheduler's", effect->kind);
	}
}

static void step(struct world *w, struct gw_event *event)
{
	char text[GW_CHECK_TEXT_BYTES];

	event->now = w->now;
	do {
		gw_effects_clear(&w->effects);
		assert_int_equal(gw_node_step(w->core, event, &w->effects), 0);
		for (uint32_t i = 0; i < w->effects.count; i++)
			keep_effect(w, &w->effects.list[i]);
		if (!gw_scheduler_check(w->core, text))
			fail_msg("%s", text);
		*event = (struct gw_event){.kind = GW_EVENT_CONTINUE, .now = w->now};
	} while (w->effects.more);
}

void world_release_plans(struct world *w)
{
	while (w->plan_count > 0) {
		struct held_plan plan = w->plans[0];
		struct gw_event event = {.kind = GW_EVENT_PLANNED,
					 .planned = {plan.plan, plan.result}};

		w->plan_count--;
		memmove(w->plans, w->plans + 1, w->plan_count * sizeof(*w->plans));
		step(w, &event);
	}
}

void world_step(struct world *w, struct gw_event *event)
{
	step(w, event);
	if (!w->hold_plans)
		world_release_plans(w);
}

static void feed(struct world *w, enum gw_event_kind kind)
{
	struct gw_event event = {.kind = kind};

	world_step(w, &event);
}

static void lead(struct world *w)
{
	struct gw_event event = {.kind = GW_EVENT_ROLE, .role = {.leader = true}};

	feed(w, GW_EVENT_START);
	world_step(w, &event);
}

/* The records after `done`, up to `end`. */
static void replay(struct world *w, struct gw_node *core, uint32_t done, uint32_t end)
{
	for (uint32_t i = done; i < end; i++)
		assert_int_equal(
			gw_node_apply(core, i + 1, w->records[i].bytes, w->records[i].size), 0);
}

static struct gw_node *core_new(struct world *w)
{
	struct gw_node *core = gw_scheduler_new(&w->config);

	assert_non_null(core);
	return core;
}

static int restore_piece(void *context, const uint8_t *bytes, size_t size)
{
	assert_true(size < GW_MESSAGE_BYTES_MAX / 2);
	return gw_node_restore(context, bytes, size);
}

static struct gw_node *copy(struct world *w, const struct gw_node *core)
{
	struct gw_node *made = core_new(w);
	uint64_t digest = gw_node_digest(core);
	char text[GW_CHECK_TEXT_BYTES];

	assert_int_equal(gw_node_snapshot(core, restore_piece, made), 0);
	assert_int_equal(gw_node_seq(made), gw_node_seq(core));
	assert_int_equal(gw_node_digest(core), digest);
	assert_int_equal(gw_node_digest(made), digest);
	if (!gw_scheduler_check(made, text))
		fail_msg("%s", text);
	return made;
}

struct world *world_new(uint32_t effects_capacity)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	gw_scheduler_config_defaults(&w->config);
	w->config.region = "test";
	w->config.region_id = 7;
	w->config.seed = 1;
	w->now.mono_us = 1000 * GW_US_PER_S;
	w->now.wall_us = 1700000000000000;
	w->user.node.id = gw_id_make(9, 9, 1);
	w->user.tenant = gw_id_make(8, 8, 1);
	w->user.roles = 1u << GODWIT__ROLE__ROLE_USER;
	w->user.name = "ada";
	w->user.site = "";
	w->user.region = "test";
	w->user.provider = "";
	gw_arena_init(&w->arena, 256u << 20);
	assert_int_equal(gw_effects_init(&w->effects, effects_capacity, 2 * GW_MESSAGE_BYTES_MAX),
			 0);
	w->core = core_new(w);
	lead(w);
	return w;
}

void world_forget_messages(struct world *w)
{
	for (uint32_t i = 0; i < w->message_count; i++)
		free(w->messages[i].bytes);
	free(w->messages);
	w->messages = NULL;
	w->message_count = 0;
}

static void drop_plans(struct world *w)
{
	for (uint32_t i = 0; i < w->plan_count; i++)
		gw_plan_free(w->plans[i].result);
	w->plan_count = 0;
}

void world_free(struct world *w)
{
	drop_plans(w);
	gw_node_free(w->core);
	gw_effects_deinit(&w->effects);
	world_forget_messages(w);
	for (uint32_t i = 0; i < w->record_count; i++)
		free(w->records[i].bytes);
	free(w->records);
	gw_arena_deinit(&w->arena);
	free(w);
}

/* Goes on with another core of the same state. */
static void take_over(struct world *w, struct gw_node *core)
{
	assert_int_equal(gw_node_digest(core), gw_node_digest(w->core));
	drop_plans(w);
	gw_node_free(w->core);
	world_forget_messages(w);
	w->core = core;
	for (uint32_t i = 0; i < w->node_count; i++) {
		w->nodes[i].sent = 0;
		w->nodes[i].received = 0;
	}
	lead(w);
}

void world_restart_from(struct world *w, uint32_t records)
{
	struct gw_node *before = core_new(w);
	struct gw_node *core;

	replay(w, before, 0, records);
	core = copy(w, before);
	gw_node_free(before);
	replay(w, core, records, w->record_count);
	take_over(w, core);
}

void world_restart_snapshot(struct world *w)
{
	take_over(w, copy(w, w->core));
}

void world_restart(struct world *w)
{
	struct gw_node *core = core_new(w);

	replay(w, core, 0, w->record_count);
	take_over(w, core);
}

void world_pass(struct world *w, uint64_t duration_us)
{
	uint64_t end_us = w->now.mono_us + duration_us;

	while (gw_node_wake_us(w->core) <= end_us) {
		uint64_t at_us = gw_node_wake_us(w->core);

		if (at_us > w->now.mono_us) {
			w->now.wall_us += (int64_t)(at_us - w->now.mono_us);
			w->now.mono_us = at_us;
		}
		feed(w, GW_EVENT_TICK);
	}
	w->now.wall_us += (int64_t)(end_us - w->now.mono_us);
	w->now.mono_us = end_us;
}

void world_live(struct world *w, uint64_t duration_us, uint64_t nodes)
{
	for (uint64_t passed_us = 0; passed_us < duration_us; passed_us += GW_US_PER_S) {
		world_pass(w, GW_US_PER_S);
		for (uint32_t i = 0; i < w->node_count; i++) {
			if (nodes >> i & 1)
				world_heartbeat(w, i);
		}
	}
}

uint32_t world_know(struct world *w, const char *site)
{
	uint32_t index = w->node_count++;
	struct world_node *node = &w->nodes[index];

	assert_true(index < WORLD_NODES_MAX);
	(void)snprintf(node->name, sizeof(node->name), "n%u", index);
	(void)snprintf(node->site, sizeof(node->site), "%s", site);
	node->peer.node.id = gw_id_make(1, 1, index + 1);
	node->peer.roles = 1u << GODWIT__ROLE__ROLE_AGENT;
	node->peer.name = node->name;
	node->peer.site = node->site;
	node->peer.region = "test";
	node->peer.provider = "acme";
	return index;
}

uint32_t world_add(struct world *w, const char *site)
{
	uint32_t node = world_know(w, site);

	world_up(w, node, false);
	world_info(w, node, 4, 8 * WORLD_GIB);
	world_inventory(w, node, NULL, 0);
	world_forget_messages(w);
	return node;
}

void world_up(struct world *w, uint32_t node, bool resumed)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP,
				 .peer_up = {&w->nodes[node].peer, resumed}};

	if (!resumed) {
		w->nodes[node].sent = 0;
		w->nodes[node].received = 0;
	}
	world_step(w, &event);
	if (!resumed)
		world_heartbeat(w, node); /* without one the node gets no starts */
}

void world_down(struct world *w, uint32_t node)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_DOWN,
				 .peer_down = {w->nodes[node].peer.node, "cut"}};

	world_step(w, &event);
}

void world_say(struct world *w, uint32_t node, const Godwit__Body *body)
{
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};

	event.message.peer = &w->nodes[node].peer;
	event.message.channel = GW_CHANNEL_STATE;
	event.message.body = body;
	w->nodes[node].sent++;
	world_step(w, &event);
}

void world_info(struct world *w, uint32_t node, uint32_t cpu_count, uint64_t memory_bytes)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	char address[32];

	(void)snprintf(address, sizeof(address), "10.0.0.%u", node + 1);
	info.cpu_count = cpu_count;
	info.memory_bytes = memory_bytes;
	info.data_address = address;
	info.port_first = 9000;
	info.port_count = 10;
	info.probe_port = 7000;
	body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
	body.node_info = &info;
	world_say(w, node, &body);
}

void world_inventory(struct world *w, uint32_t node, Godwit__TaskStatus **list, size_t count)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Inventory inventory = GODWIT__INVENTORY__INIT;

	inventory.n_attempts = count;
	inventory.attempts = list;
	inventory.last = true;
	inventory.term_seen = w->nodes[node].term_seen;
	if (!gw_id_is_zero(w->nodes[node].boot_id))
		inventory.boot_id = gw_wire_id(&w->nodes[node].boot_id);
	body.kind_case = GODWIT__BODY__KIND_INVENTORY;
	body.inventory = &inventory;
	world_say(w, node, &body);
}

void world_heartbeat(struct world *w, uint32_t node)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Heartbeat heartbeat = GODWIT__HEARTBEAT__INIT;
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};

	heartbeat.number = ++w->nodes[node].heartbeats;
	heartbeat.sent_mono_us = 5000 + heartbeat.number;
	heartbeat.state_sequence = w->nodes[node].sent;
	heartbeat.state_received = w->nodes[node].received;
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT;
	body.heartbeat = &heartbeat;
	event.message.peer = &w->nodes[node].peer;
	event.message.channel = GW_CHANNEL_HEARTBEAT;
	event.message.body = &body;
	world_step(w, &event);
}

void world_rtt(struct world *w, uint32_t from, uint32_t to, uint32_t rtt_us)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__PathReport report = GODWIT__PATH_REPORT__INIT;
	Godwit__PathReport__Path path = GODWIT__PATH_REPORT__PATH__INIT;
	Godwit__PathReport__Path *paths[] = {&path};

	path.node = gw_wire_id(&w->nodes[to].peer.node.id);
	path.rtt_us_p50 = rtt_us;
	path.samples = 10;
	report.n_paths = 1;
	report.paths = paths;
	body.kind_case = GODWIT__BODY__KIND_PATH_REPORT;
	body.path_report = &report;
	world_say(w, from, &body);
}

void world_status(struct world *w, uint32_t node, struct gw_attempt_id attempt,
		  Godwit__AttemptState state, uint32_t exit_code)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	status.attempt = &ref;
	status.state = state;
	status.exit_code = exit_code;
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	world_say(w, node, &body);
}

static const Godwit__Body *take_at(struct world *w, uint32_t index, const Godwit__Body *body)
{
	free(w->messages[index].bytes);
	w->message_count--;
	memmove(&w->messages[index], &w->messages[index + 1],
		(w->message_count - index) * sizeof(*w->messages));
	return body;
}

const Godwit__Body *world_take(struct world *w, uint32_t node, Godwit__Body__KindCase kind)
{
	for (uint32_t i = 0; i < w->message_count; i++) {
		const struct message *message = &w->messages[i];
		const Godwit__Body *body;

		if (message->request || !gw_id_equal(message->node.id, w->nodes[node].peer.node.id))
			continue;
		body = gw_wire_decode_body(&w->arena, message->bytes, message->size);
		assert_non_null(body);
		if (body->kind_case == kind)
			return take_at(w, i, body);
	}
	return NULL;
}

const Godwit__Body *world_answer(struct world *w, uint64_t request)
{
	for (uint32_t i = 0; i < w->message_count; i++) {
		const struct message *message = &w->messages[i];
		const Godwit__Body *body;

		if (message->request != request)
			continue;
		body = gw_wire_decode_body(&w->arena, message->bytes, message->size);
		assert_non_null(body);
		return take_at(w, i, body);
	}
	return NULL;
}

const Godwit__Body *world_ask(struct world *w, const struct gw_peer *user, Godwit__Body *body)
{
	struct gw_event event = {.kind = GW_EVENT_SUBMIT};

	event.submit.request = ++w->request;
	event.submit.user = user;
	event.submit.body = body;
	world_step(w, &event);
	return world_answer(w, w->request);
}

void spec_init(struct spec *spec, Godwit__JobKind kind, uint32_t count)
{
	static char program[] = "/bin/true";

	godwit__job_spec__init(&spec->spec);
	godwit__resources__init(&spec->resources);
	godwit__serve_model__init(&spec->model);
	godwit__disconnect_policy__init(&spec->disconnect);
	spec->spec.disconnect = &spec->disconnect;
	spec->arguments[0] = program;
	spec->spec.name = program + 5;
	spec->spec.kind = kind;
	spec->spec.task_count = count;
	spec->spec.n_arguments = 1;
	spec->spec.arguments = spec->arguments;
	spec->spec.resources = &spec->resources;
	spec->resources.cpu_milli = 1000;
	spec->resources.memory_bytes = WORLD_GIB;
	spec->resources.port_count = 1;
}

static const Godwit__SubmitReply *submit(struct world *w, const Godwit__JobSpec *spec)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitRequest request = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__JobSpec copy = *spec;
	const Godwit__Body *answer;

	request.spec = &copy;
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_non_null(answer);
	assert_int_equal(answer->kind_case, GODWIT__BODY__KIND_SUBMIT_REPLY);
	return answer->submit_reply;
}

struct gw_job_id world_submit(struct world *w, struct spec *spec)
{
	const Godwit__SubmitReply *reply = submit(w, &spec->spec);
	struct gw_job_id job;

	if (reply->error[0])
		fail_msg("refused: %s", reply->error);
	assert_true(gw_wire_read_id(reply->job, &job.id));
	return job;
}

const char *world_refusal(struct world *w, const Godwit__JobSpec *spec)
{
	const Godwit__SubmitReply *reply = submit(w, spec);

	assert_true((reply->error[0] != '\0') == (reply->job.len == 0));
	return reply->error[0] ? reply->error : NULL;
}

struct gw_attempt_id world_started(struct world *w, uint32_t node)
{
	const Godwit__Body *body = world_take(w, node, GODWIT__BODY__KIND_TASK_START);
	struct gw_attempt_id attempt;

	assert_non_null(body);
	assert_true(gw_wire_read_attempt(body->task_start->attempt, &attempt));
	return attempt;
}

uint32_t world_find_start(struct world *w, struct gw_attempt_id *ret_attempt)
{
	for (uint32_t i = 0; i < w->node_count; i++) {
		const Godwit__Body *body = world_take(w, i, GODWIT__BODY__KIND_TASK_START);

		if (!body)
			continue;
		assert_true(gw_wire_read_attempt(body->task_start->attempt, ret_attempt));
		return i;
	}
	return UINT32_MAX;
}

const Godwit__JobInfo *world_job(struct world *w, struct gw_job_id job)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__JobsRequest request = GODWIT__JOBS_REQUEST__INIT;
	const Godwit__Body *answer;

	request.job = gw_wire_id(&job.id);
	request.with_tasks = true;
	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	body.jobs_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_non_null(answer);
	assert_int_equal(answer->kind_case, GODWIT__BODY__KIND_JOBS_REPLY);
	assert_string_equal(answer->jobs_reply->error, "");
	assert_int_equal(answer->jobs_reply->n_jobs, 1);
	return answer->jobs_reply->jobs[0];
}
