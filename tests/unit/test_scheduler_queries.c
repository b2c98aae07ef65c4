/* What is refused and how; who may ask what; sites, distances, output, revocation, life cycles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define TASK GODWIT__JOB_KIND__JOB_TASK
#define SERVE GODWIT__JOB_KIND__JOB_SERVE

static char *text(const char *from)
{
	union {
		const char *from;
		char *to;
	} pointer = {.from = from}; /* protobuf-c has no const */

	return pointer.to;
}

/* Each row makes one thing wrong; the sentence must say these words. */
enum wrong {
	NOTHING,
	NO_NAME,
	BAD_NAME,
	NO_KIND,
	TRAIN,
	NO_TASKS,
	BILLION_TASKS,
	LONG_PIPELINE,
	NO_PROGRAM,
	MANY_ARGUMENTS,
	MANY_VARIABLES,
	NO_PATH,
	BAD_ENVIRONMENT,
	OWN_ENVIRONMENT,
	HUGE_MEMORY,
	HUGE_CPU,
	MANY_DEVICES,
	MANY_PORTS,
	UNKNOWN_SITE,
	UNKNOWN_NOT_SITE,
	NO_SITE_LEFT,
	MORE_STAGES_THAN_SITES,
	BAD_RESIDENCY,
	BAD_SPREAD,
	HIGH_PRIORITY,
	MANY_ATTEMPTS,
	SHORT_LEASE,
	LONG_LEASE,
	HASTY_REPLACE,
	LONG_GRACE,
	SHORT_LIMIT,
	MODEL_OF_TASK,
	LARGE_BUDGET,
	UNKNOWN_FIELD,
	WRONGS,
};

static uint8_t later_value[] = {1};
static ProtobufCMessageUnknownField later_field = {
	.tag = 999, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = later_value};
static char *arguments[GW_ARGS_MAX + 1];
static char *one_text[1];

static void make_wrong_shape(struct spec *spec, int wrong)
{
	Godwit__JobSpec *s = &spec->spec;

	switch (wrong) {
	case NO_NAME:
		s->name = text("");
		break;
	case BAD_NAME:
		s->name = text("a job");
		break;
	case NO_KIND:
		s->kind = GODWIT__JOB_KIND__JOB_NONE;
		break;
	case TRAIN:
		s->kind = GODWIT__JOB_KIND__JOB_TRAIN;
		break;
	case NO_TASKS:
		s->task_count = 0;
		break;
	case BILLION_TASKS:
		s->task_count = 1000000000;
		break;
	case LONG_PIPELINE:
		s->kind = SERVE;
		s->task_count = 1025;
		break;
	case BAD_SPREAD:
		s->spread = (Godwit__Spread)9;
		break;
	case HIGH_PRIORITY:
		s->priority = 1001;
		break;
	case MANY_ATTEMPTS:
		s->attempts_max = 1001;
		break;
	default:
		break;
	}
}

static void make_wrong_command(struct spec *spec, int wrong)
{
	Godwit__JobSpec *s = &spec->spec;

	switch (wrong) {
	case NO_PROGRAM:
		s->n_arguments = 0;
		break;
	case MANY_ARGUMENTS:
		s->n_arguments = GW_ARRAY_COUNT(arguments);
		s->arguments = arguments;
		break;
	case MANY_VARIABLES:
		s->n_environment = GW_ENV_JOB_MAX + 1;
		s->environment = arguments;
		break;
	case NO_PATH:
		s->working_directory = text("srv");
		break;
	case BAD_ENVIRONMENT:
	case OWN_ENVIRONMENT:
		one_text[0] = text(wrong == BAD_ENVIRONMENT ? "COLOUR" : "GODWIT_JOB=1");
		s->n_environment = 1;
		s->environment = one_text;
		break;
	case HUGE_MEMORY:
		spec->resources.memory_bytes = 9 * WORLD_GIB;
		break;
	case HUGE_CPU:
		spec->resources.cpu_milli = 4001;
		break;
	case MANY_DEVICES:
		spec->resources.device_count = 17;
		break;
	case MANY_PORTS:
		spec->resources.port_count = 513;
		break;
	default:
		break;
	}
}

static void make_wrong_where(struct spec *spec, int wrong)
{
	Godwit__JobSpec *s = &spec->spec;

	switch (wrong) {
	case UNKNOWN_SITE:
		one_text[0] = text("atlantis");
		s->n_sites = 1;
		s->sites = one_text;
		break;
	case UNKNOWN_NOT_SITE:
	case NO_SITE_LEFT:
		one_text[0] = text(wrong == NO_SITE_LEFT ? "east" : "atlantis");
		s->n_not_sites = 1;
		s->not_sites = one_text;
		break;
	case MORE_STAGES_THAN_SITES:
		s->kind = SERVE;
		s->task_count = 2;
		s->spread = GODWIT__SPREAD__SPREAD_SITE;
		break;
	case BAD_RESIDENCY:
		one_text[0] = text("moon");
		s->n_residency = 1;
		s->residency = one_text;
		break;
	default:
		break;
	}
}

static void make_wrong_time(struct spec *spec, int wrong)
{
	Godwit__JobSpec *s = &spec->spec;

	switch (wrong) {
	case SHORT_LEASE:
		s->lease_us = 1;
		break;
	case LONG_LEASE:
		s->lease_us = UINT64_MAX;
		break;
	case HASTY_REPLACE:
		spec->disconnect.lost_after_us = 1;
		break;
	case LONG_GRACE:
		s->grace_us = UINT64_MAX;
		break;
	case SHORT_LIMIT:
		s->time_limit_us = 1;
		break;
	case MODEL_OF_TASK:
		s->model = &spec->model;
		break;
	case UNKNOWN_FIELD:
		s->base.n_unknown_fields = 1;
		s->base.unknown_fields = &later_field;
		break;
	case LARGE_BUDGET:
		s->kind = SERVE;
		s->model = &spec->model;
		spec->model.loss_budget_ppm = 1000001;
		break;
	default:
		break;
	}
}

static void make_wrong(struct spec *spec, enum wrong wrong)
{
	for (size_t i = 0; i < GW_ARRAY_COUNT(arguments); i++)
		arguments[i] = text("x");
	make_wrong_shape(spec, (int)wrong);
	make_wrong_command(spec, (int)wrong);
	make_wrong_where(spec, (int)wrong);
	make_wrong_time(spec, (int)wrong);
}

static void each_absurd_spec_has_its_sentence(void **state)
{
	static const char *const words[WRONGS] = {
		[NOTHING] = NULL,
		[NO_NAME] = "name is 1 to",
		[BAD_NAME] = "name is 1 to",
		[NO_KIND] = "task or serve",
		[TRAIN] = "train are not supported",
		[NO_TASKS] = "at least one task",
		[BILLION_TASKS] = "1000000000 tasks",
		[LONG_PIPELINE] = "at most 1024",
		[NO_PROGRAM] = "no program",
		[MANY_ARGUMENTS] = "257 arguments",
		[MANY_VARIABLES] = "241 entries",
		[NO_PATH] = "not an absolute path",
		[BAD_ENVIRONMENT] = "NAME=value",
		[OWN_ENVIRONMENT] = "scheduler's own",
		[HUGE_MEMORY] = "largest node has 8.00 GiB",
		[HUGE_CPU] = "largest node has 4",
		[MANY_DEVICES] = "17 devices",
		[MANY_PORTS] = "513 ports",
		[UNKNOWN_SITE] = "'atlantis' is not known",
		[UNKNOWN_NOT_SITE] = "'atlantis' is not known",
		[NO_SITE_LEFT] = "no site of this region",
		[MORE_STAGES_THAN_SITES] = "as many different sites",
		[BAD_RESIDENCY] = "'moon' is not an ISO 3166 code",
		[BAD_SPREAD] = "spread",
		[HIGH_PRIORITY] = "1001",
		[MANY_ATTEMPTS] = "1001 attempts",
		[SHORT_LEASE] = "lease is between",
		[LONG_LEASE] = "lease is between",
		[HASTY_REPLACE] = "lost_after is at least",
		[LONG_GRACE] = "one hour",
		[SHORT_LIMIT] = "millisecond",
		[MODEL_OF_TASK] = "kind serve have a model",
		[UNKNOWN_FIELD] = "does not know",
		[LARGE_BUDGET] = "100 %",
	};
	struct world *w = world_new(64);

	(void)state;
	(void)world_add(w, "east");
	for (unsigned i = 0; i < WRONGS; i++) {
		uint32_t records = w->record_count;
		struct spec spec;
		const char *refusal;

		spec_init(&spec, TASK, 1);
		make_wrong(&spec, (enum wrong)i);
		refusal = world_refusal(w, &spec.spec);
		if (!words[i]) {
			assert_null(refusal);
			continue;
		}
		if (!refusal || !strstr(refusal, words[i]))
			fail_msg("row %u: wanted '%s', got '%s'", i, words[i],
				 refusal ? refusal : "no refusal");
		assert_int_equal(w->record_count, records); /* nothing else is disturbed */
	}
	world_free(w);
}

static void waiting_tasks_are_bounded_by_user(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, GW_TASKS_PER_JOB_MAX);
	(void)world_submit(w, &spec);
	spec_init(&spec, TASK, 6); /* four have started */
	assert_non_null(strstr(world_refusal(w, &spec.spec), "cancel some"));
	attempt = world_started(w, 0); /* one ends, so one more starts: room for one */
	world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
	assert_non_null(world_refusal(w, &spec.spec));
	spec_init(&spec, TASK, 5);
	assert_null(world_refusal(w, &spec.spec));
	assert_non_null(world_refusal(w, &spec.spec));
	w->user.node.id = gw_id_make(9, 9, 5); /* another user is not in the way */
	assert_null(world_refusal(w, &spec.spec));
	world_free(w);
}

static const char *refused(struct world *w, const struct gw_peer *user, Godwit__Body *body)
{
	const Godwit__Body *answer = world_ask(w, user, body);

	assert_non_null(answer);
	return answer->kind_case == GODWIT__BODY__KIND_REFUSAL ? answer->refusal->text : NULL;
}

static void roles_bound_what_is_asked(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__RevokeRequest revoke = GODWIT__REVOKE_REQUEST__INIT;
	struct gw_event stop = {.kind = GW_EVENT_ROLE, .role = {.leader = false}};
	const Godwit__Body *answer;

	(void)state;
	(void)world_add(w, "east");
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &version;
	assert_null(refused(w, &w->user, &body));
	assert_non_null(refused(w, &w->nodes[0].peer, &body)); /* an agent is no user */
	world_say(w, 0, &body);                                /* nor by its own channel */
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_REFUSAL));
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	assert_non_null(refused(w, &w->user, &body));
	body.kind_case = GODWIT__BODY__KIND_REVOKE_REQUEST;
	body.revoke_request = &revoke;
	revoke.node = text("n0");
	answer = world_ask(w, &w->user, &body);
	assert_non_null(strstr(answer->revoke_reply->error, "operator"));
	assert_int_equal(w->revoked_count, 0);
	world_step(w, &stop);
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &version;
	assert_non_null(strstr(refused(w, &w->user, &body), "leader"));
	world_free(w);
}

static void a_revoked_node_is_out_at_once(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__RevokeRequest revoke = GODWIT__REVOKE_REQUEST__INIT;
	struct gw_peer chief = w->user;
	struct spec spec;
	const Godwit__Body *answer;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	chief.node.id = gw_id_make(9, 9, 3);
	chief.roles = 1u << GODWIT__ROLE__ROLE_OPERATOR;
	body.kind_case = GODWIT__BODY__KIND_REVOKE_REQUEST;
	body.revoke_request = &revoke;
	revoke.node = text("n0");
	revoke.reason = text("stolen");
	answer = world_ask(w, &chief, &body);
	assert_string_equal(answer->revoke_reply->error, "");
	assert_int_equal(answer->revoke_reply->node_id.len, GW_ID_BYTES);
	assert_int_equal(w->revoked_count, 1);
	for (uint32_t i = 0; i < 2; i++) { /* a new leader's host is told again */
		struct gw_event role = {.kind = GW_EVENT_ROLE,
					.role = {.leader = i == 1, .term = 7}};

		world_step(w, &role);
		assert_int_equal(w->revoked_count, 1 + i);
	}
	answer = world_ask(w, &chief, &body);
	assert_non_null(strstr(answer->revoke_reply->error, "already"));
	world_forget_messages(w);
	world_heartbeat(w, 0);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_HEARTBEAT_REPLY));
	spec_init(&spec, TASK, 8);
	job = world_submit(w, &spec);
	assert_int_equal(world_job(w, job)->running, 4); /* on the other alone */
	world_restart(w);                                /* the host learns it again */
	assert_int_equal(w->revoked_count, 3);
	world_up(w, 0, false);
	assert_int_equal(w->revoked_count, 4);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_INVENTORY_REQUEST));

	/* The name came back with another key: it is this one that is meant now. */
	(void)strcpy(w->nodes[world_know(w, "east")].name, "n0");
	world_up(w, 2, false);
	answer = world_ask(w, &chief, &body);
	assert_string_equal(answer->revoke_reply->error, "");
	assert_memory_equal(answer->revoke_reply->node_id.data, w->nodes[2].peer.node.id.bytes,
			    GW_ID_BYTES);
	answer = world_ask(w, &chief, &body);
	assert_non_null(strstr(answer->revoke_reply->error, "already"));
	world_free(w);
}

static const Godwit__SitesReply *sites(struct world *w, bool with_nodes, uint32_t offset,
				       uint32_t count_max)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SitesRequest request = GODWIT__SITES_REQUEST__INIT;

	request.with_nodes = with_nodes;
	request.offset = offset;
	request.count_max = count_max;
	body.kind_case = GODWIT__BODY__KIND_SITES_REQUEST;
	body.sites_request = &request;
	return world_ask(w, &w->user, &body)->sites_reply;
}

static void sites_and_their_distances(void **state)
{
	struct world *w = world_new(64);
	const Godwit__SitesReply *reply;
	const Godwit__Body *table;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	world_live(w, 3 * GW_US_PER_S, 7);
	/* One node of each site probes one of each other site. */
	table = world_take(w, 0, GODWIT__BODY__KIND_PEER_TABLE);
	assert_non_null(table);
	assert_int_equal(table->peer_table->n_peers, 1);
	assert_string_equal(table->peer_table->peers[0]->site, "west");
	assert_string_equal(table->peer_table->peers[0]->address, "10.0.0.3");
	assert_int_equal(table->peer_table->peers[0]->probe_port, 7000);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_PEER_TABLE));
	world_forget_messages(w);
	/* The prober goes: another takes its place, and the far site learns of it. */
	world_down(w, 0);
	world_live(w, 3 * GW_US_PER_S, 6);
	assert_non_null(world_take(w, 1, GODWIT__BODY__KIND_PEER_TABLE));
	table = world_take(w, 2, GODWIT__BODY__KIND_PEER_TABLE);
	assert_string_equal(table->peer_table->peers[0]->address, "10.0.0.2");
	world_rtt(w, 1, 2, 2400);
	reply = sites(w, true, 0, 0);
	assert_string_equal(reply->region, "test");
	assert_int_equal(reply->total, 3);
	assert_int_equal(reply->n_nodes, 3);
	assert_int_equal(reply->nodes[1]->info->cpu_count, 4);
	assert_int_equal(reply->n_pairs, 1);
	assert_string_equal(reply->pairs[0]->from, "east");
	assert_string_equal(reply->pairs[0]->to, "west");
	assert_int_equal(reply->pairs[0]->rtt_us, 2400);
	reply = sites(w, false, 1, 1);
	assert_int_equal(reply->n_nodes, 1);
	assert_string_equal(reply->nodes[0]->name, "n1");
	assert_int_equal(sites(w, false, 7, 1)->n_nodes, 0);
	world_free(w);
}

/* Measured distances decide: a gang that fits no site waits for them, then obeys the budget. */
static void a_pipeline_across_sites(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	spec_init(&spec, SERVE, 2);
	spec.spec.spread = GODWIT__SPREAD__SPREAD_SITE;
	spec.spec.model = &spec.model;
	spec.model.stage_us = 20000;
	spec.model.micro_batches = 2;
	spec.model.batch = 4;
	job = world_submit(w, &spec);
	assert_int_equal(world_job(w, job)->waiting, 2);
	assert_non_null(strstr(world_job(w, job)->wait_reason, "measured"));
	world_rtt(w, 0, 1, 2400);
	assert_int_equal(world_job(w, job)->running, 2);
	assert_true(world_job(w, job)->prediction->present);
	assert_int_equal(world_job(w, job)->prediction->rtt_us, 2400);
	assert_true(world_job(w, job)->prediction->loss_ppm > 56000);
	assert_true(world_job(w, job)->prediction->loss_ppm < 57000);
	assert_string_not_equal(world_job(w, job)->prediction->bottleneck, "");
	world_restart(w);
	assert_int_equal(world_job(w, job)->prediction->rtt_us, 2400);
	assert_string_not_equal(world_job(w, job)->prediction->bottleneck, "");
	world_free(w);
}

static uint64_t ask_log(struct world *w, struct gw_attempt_id attempt, uint32_t stream)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	struct gw_event event = {.kind = GW_EVENT_SUBMIT};
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	read.attempt = &ref;
	read.stream = stream;
	read.bytes_max = UINT32_MAX;
	read.wait_us = UINT32_MAX;
	body.kind_case = GODWIT__BODY__KIND_LOG_READ;
	body.log_read = &read;
	event.submit.request = ++w->request;
	event.submit.user = &w->user;
	event.submit.body = &body;
	world_step(w, &event);
	return w->request;
}

static void output_is_read_where_it_lies(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_attempt_id attempt;
	struct gw_attempt_id latest;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogData data = GODWIT__LOG_DATA__INIT;
	const Godwit__Body *read;
	const Godwit__Body *answer;
	uint64_t first;
	uint64_t second;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	latest = attempt;
	latest.attempt = 0;
	first = ask_log(w, latest, 1);
	second = ask_log(w, attempt, 2);
	read = world_take(w, 0, GODWIT__BODY__KIND_LOG_READ);
	assert_int_equal(read->log_read->attempt->attempt, 1);
	assert_int_equal(read->log_read->bytes_max, GW_LOG_CHUNK_BYTES_MAX);
	assert_int_equal(read->log_read->wait_us, 30 * GW_US_PER_S);
	assert_null(world_answer(w, first));
	data.data.data = (uint8_t *)text("hello");
	data.data.len = 5;
	body.kind_case = GODWIT__BODY__KIND_LOG_DATA;
	body.log_data = &data;
	body.request = read->request;
	world_say(w, 0, &body);
	answer = world_answer(w, first);
	assert_int_equal(answer->log_data->data.len, 5);
	world_say(w, 0, &body); /* again: nobody waits for it */
	world_down(w, 0);
	answer = world_answer(w, second);
	assert_non_null(strstr(answer->log_data->error, "silent"));
	answer = world_answer(w, ask_log(w, attempt, 1));
	assert_non_null(strstr(answer->log_data->error, "unknown"));
	attempt.attempt = 9;
	answer = world_answer(w, ask_log(w, attempt, 1));
	assert_non_null(strstr(answer->log_data->error, "latest is 1"));
	answer = world_answer(w, ask_log(w, attempt, 3));
	assert_non_null(strstr(answer->log_data->error, "stream"));
	world_free(w);
}

static void an_unanswered_read_ends(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_attempt_id attempt;
	uint64_t request;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	attempt = world_started(w, 0);
	request = ask_log(w, attempt, 1);
	world_live(w, 39 * GW_US_PER_S, 1);
	assert_null(world_answer(w, request));
	world_live(w, 2 * GW_US_PER_S, 1);
	assert_non_null(strstr(world_answer(w, request)->log_data->error, "in time"));
	world_free(w);
}

static void lists_come_in_pages(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__JobsRequest request = GODWIT__JOBS_REQUEST__INIT;
	const Godwit__JobsReply *reply;
	struct gw_job_id jobs[5];
	struct gw_id id;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	for (uint32_t i = 0; i < 5; i++) {
		spec_init(&spec, TASK, 300);
		jobs[i] = world_submit(w, &spec);
	}
	request.offset = 1;
	request.count_max = 2;
	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	body.jobs_request = &request;
	reply = world_ask(w, &w->user, &body)->jobs_reply;
	assert_int_equal(reply->total, 5);
	assert_int_equal(reply->n_jobs, 2);
	assert_true(gw_wire_read_id(reply->jobs[0]->job, &id));
	assert_true(gw_id_equal(id, jobs[3].id)); /* newest first */
	request.job = gw_wire_id(&jobs[0].id);
	request.with_tasks = true;
	request.offset = 290;
	request.count_max = 0;
	reply = world_ask(w, &w->user, &body)->jobs_reply;
	assert_int_equal(reply->total, 300);
	assert_int_equal(reply->jobs[0]->n_tasks, 10);
	assert_int_equal(reply->jobs[0]->tasks[0]->task_index, 290);
	request.offset = 0;
	reply = world_ask(w, &w->user, &body)->jobs_reply;
	assert_int_equal(reply->jobs[0]->n_tasks, 200); /* a page */
	world_free(w);
}

static void check_size(const struct message *message)
{
	assert_true(message->size <= GW_MESSAGE_BYTES_MAX);
}

/* As many sites as there may be, with the longest names: the core checks its messages' size. */
static void the_largest_answers_fit_a_message(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitRequest request = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__ExplainRequest explain = GODWIT__EXPLAIN_REQUEST__INIT;
	struct gw_job_id job;
	struct spec spec;
	char site[64];

	(void)state;
	for (uint32_t i = 0; i < GW_SITES_MAX; i++) {
		(void)snprintf(site, sizeof(site), "%063u", i);
		world_up(w, world_know(w, site), false);
		world_info(w, i, 4, 8 * WORLD_GIB);
		world_inventory(w, i, NULL, 0);
		world_forget_messages(w);
	}
	world_up(w, world_know(w, "one-too-many"), false);
	assert_non_null(world_take(w, GW_SITES_MAX, GODWIT__BODY__KIND_REFUSAL));
	for (uint32_t i = 1; i < GW_SITES_MAX; i++)
		world_rtt(w, 0, i, 1000 + i);
	assert_true(sites(w, true, 0, 0)->n_nodes > 500);
	spec_init(&spec, SERVE, 1024);
	request.spec = &spec.spec;
	request.dry_run = true;
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &request;
	assert_int_equal(world_ask(w, &w->user, &body)->submit_reply->n_placements, 1024);
	spec_init(&spec, TASK, 10000);
	job = world_submit(w, &spec);
	for (uint32_t i = 0; i < w->message_count; i++)
		check_size(&w->messages[i]);
	assert_int_equal(world_job(w, job)->running, 8000);
	explain.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REQUEST;
	body.explain_request = &explain;
	assert_true(world_ask(w, &w->user, &body)->explain_reply->n_verdicts > 1000);
	world_free(w);
}

/* The printed life cycles are those of the code. GODWIT_REWRITE=1 prints them anew. */
static void the_life_cycles_are_as_printed(void **state)
{
	const char *path = getenv("GODWIT_STATES");
	static char printed[16384];
	static char written[16384];
	uint32_t length = gw_scheduler_states(printed, sizeof(printed));
	FILE *file;

	(void)state;
	assert_true(length < sizeof(printed));
	assert_non_null(path);
	if (getenv("GODWIT_REWRITE")) {
		file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(fwrite(printed, 1, length, file), length);
		assert_int_equal(fclose(file), 0);
	}
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s is missing: run this test with GODWIT_REWRITE=1", path);
	written[fread(written, 1, sizeof(written) - 1, file)] = '\0';
	assert_int_equal(fclose(file), 0);
	assert_string_equal(written, printed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_absurd_spec_has_its_sentence),
		cmocka_unit_test(waiting_tasks_are_bounded_by_user),
		cmocka_unit_test(roles_bound_what_is_asked),
		cmocka_unit_test(a_revoked_node_is_out_at_once),
		cmocka_unit_test(sites_and_their_distances),
		cmocka_unit_test(a_pipeline_across_sites),
		cmocka_unit_test(output_is_read_where_it_lies),
		cmocka_unit_test(an_unanswered_read_ends),
		cmocka_unit_test(lists_come_in_pages),
		cmocka_unit_test(the_largest_answers_fit_a_message),
		cmocka_unit_test(the_life_cycles_are_as_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
