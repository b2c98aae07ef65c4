/* Transcripts of the agent's core in virtual time: what it says, line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/agent.h"
#include "proto/base/limits.h"
#include "tests/unit/test_agent_fixture.h"

#define HOUR_US (3600 * GW_US_PER_S)
#define GRACE_US (10 * GW_US_PER_S) /* of a start that names none */
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED

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

static void sample(struct fixture *f, const Godwit__Telemetry *telemetry,
		   const Godwit__NodeInfo *info)
{
	struct gw_event event = {.kind = GW_EVENT_SAMPLE};

	event.sample.telemetry = telemetry;
	event.sample.info = info;
	fixture_step(f, event);
}

static void runs_a_task(void **state)
{
	struct fixture *f = *state;
	const char *note = "memory: the host has no cgroups";
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\n");
	fixture_ask_inventory(f);
	fixture_expect(f, "inventory part=0 count=0 last\n");
	fixture_start(f, id(1), HOUR_US);
	fixture_expect(f, "SPAWN 1/0/1\n");
	event.spawned.attempt = id(1);
	event.spawned.not_enforced = &note;
	event.spawned.not_enforced_count = 1;
	fixture_step(f, event);
	fixture_expect(f, "status 1/0/1 RUNNING [memory: the host has no cgroups]\n");
	fixture_start(f, id(1), HOUR_US); /* said twice: done once, answered twice */
	fixture_expect(f, "status 1/0/1 RUNNING [memory: the host has no cgroups]\n");
	fixture_exited(f, id(1), EXITED, 3);
	fixture_expect(f, "status 1/0/1 EXITED exit=3 [memory: the host has no cgroups]\n");
	fixture_forget(f, id(1));
	fixture_expect(f, "FORGET 1/0/1\n");
	assert_int_equal(gw_agent_counts(f->node).attempts, 0);
	fixture_pass(f, GW_US_PER_S);
	fixture_expect(f, "heartbeat 2\n");
}

static void kill_leaves_a_tombstone(void **state)
{
	struct fixture *f = *state;
	struct gw_event end = {.kind = GW_EVENT_EXITED};

	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\n");
	fixture_kill(f, id(1));
	fixture_expect(f, "KILL 1/0/1\nstatus 1/0/1 TOMBSTONE\n");
	fixture_start(f, id(1), 0); /* late */
	fixture_expect(f, "status 1/0/1 TOMBSTONE\n");
	fixture_start(f, id(2), 0);
	fixture_kill(f, id(2));
	fixture_expect(f, "SPAWN 2/0/1\nKILL 2/0/1\n");
	fixture_spawned(f, id(2), NULL);
	fixture_expect(f, "status 2/0/1 RUNNING\n");
	end.exited.attempt = id(2);
	end.exited.state = EXITED;
	end.exited.error = "output 1 is lost: No space left on device";
	fixture_step(f, end);
	fixture_expect(f, "status 2/0/1 EXITED (output 1 is lost: No space left on device)\n");
	fixture_forget(f, id(9)); /* unknown here: the keeper may have it */
	fixture_expect(f, "FORGET 9/0/1\n");
}

static void told_again_until_acknowledged(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), 0);
	fixture_start(f, id(2), 0);
	fixture_spawned(f, id(1), NULL);
	fixture_spawned(f, id(2), "no such program");
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nSPAWN 2/0/1\n"
			  "status 1/0/1 RUNNING\n"
			  "status 2/0/1 FAILED_TO_START (no such program)\n");
	fixture_down(f);
	fixture_exited(f, id(1), EXITED, 0); /* unheard as yet */
	fixture_pass(f, 30 * GW_US_PER_S);   /* no heartbeats without a session */
	fixture_expect(f, "");
	fixture_up(f, true); /* resumed: only what was not said */
	fixture_expect(f, "heartbeat 2\nstatus 1/0/1 EXITED\n");
	fixture_down(f);
	fixture_up(f, false); /* new: all ends again */
	fixture_expect(f, "heartbeat 3\nstatus 1/0/1 EXITED\n"
			  "status 2/0/1 FAILED_TO_START (no such program)\n");
	fixture_ask_inventory(f);
	fixture_expect(f, "inventory part=0 count=2 last ; 1/0/1 EXITED ; "
			  "2/0/1 FAILED_TO_START (no such program)\n");
	fixture_forget(f, id(1));
	fixture_forget(f, id(2));
	fixture_expect(f, "FORGET 1/0/1\nFORGET 2/0/1\n");
	fixture_down(f);
	fixture_up(f, false);
	fixture_expect(f, "heartbeat 4\n");
}

static void adopts_after_a_restart(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), 0);
	fixture_spawned(f, id(1), NULL);
	fixture_reply(f, 1, 24 * HOUR_US);
	fixture_restart(f);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nstatus 1/0/1 RUNNING\n");
	fixture_spawned(f, id(1), NULL); /* the keeper tells */
	fixture_exited(f, id(2), EXITED, 7);
	fixture_begin(f);
	fixture_expect(f, "");
	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\nstatus 1/0/1 RUNNING\n"
			  "status 2/0/1 EXITED exit=7\n");
	fixture_start(f, id(1), 0); /* a scheduler that forgot it said so */
	fixture_expect(f, "status 1/0/1 RUNNING\n");
}

/* The agent died between its SPAWN and the program's first moment: the next one must not call the
 * attempt unknown, or it is started elsewhere. */
static void adopts_what_is_just_starting(void **state)
{
	struct fixture *f = *state;
	struct gw_event starting = {.kind = GW_EVENT_SPAWNED,
				    .spawned = {.attempt = id(1), .starting = true}};

	fixture_restart(f);
	fixture_step(f, starting);
	fixture_begin(f);
	fixture_up(f, false);
	fixture_ask_inventory(f);
	fixture_expect(f, "heartbeat 1\ninventory part=0 count=1 last ; 1/0/1 STARTING\n");
	fixture_start(f, id(1), 0);
	fixture_expect(f, "status 1/0/1 STARTING\n");
	fixture_spawned(f, id(1), NULL);
	fixture_step(f, starting); /* said late, it changes nothing */
	fixture_expect(f, "status 1/0/1 RUNNING\n");
}

static void lease_ends_unheard(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), HOUR_US);
	fixture_start(f, id(2), 2 * HOUR_US);
	fixture_spawned(f, id(1), NULL);
	fixture_spawned(f, id(2), NULL);
	fixture_down(f);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nSPAWN 2/0/1\n"
			  "status 1/0/1 RUNNING\nstatus 2/0/1 RUNNING\n");
	fixture_pass(f, HOUR_US - GRACE_US - 1); /* gone by the lease's end: killed before */
	fixture_expect(f, "");
	fixture_pass(f, 1);
	fixture_expect(f, "END LEASE 1/0/1\n");
	fixture_pass(f, HOUR_US);
	fixture_expect(f, "END LEASE 2/0/1\n");
	fixture_exited(f, id(1), EXITED, 0);
	fixture_exited(f, id(2), EXITED, 0);
	fixture_pass(f, 24 * HOUR_US);
	fixture_expect(f, "");
	assert_int_equal(gw_node_wake_us(f->node), GW_NEVER_US);
}

/* Renewed from when the heartbeat was sent, by the lesser of the two leases. */
static void lease_is_renewed_from_the_sending(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false); /* sends heartbeat 1 */
	fixture_start(f, id(1), 60 * GW_US_PER_S);
	fixture_pass(f, GW_US_PER_S / 2);
	fixture_reply(f, 1, 10 * GW_US_PER_S);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\n");
	fixture_pass(f, GW_US_PER_S / 2); /* sends heartbeat 2 */
	fixture_pass(f, GW_US_PER_S / 4);
	fixture_reply(f, 2, 10 * GW_US_PER_S);
	fixture_reply(f, 2, 10 * GW_US_PER_S); /* twice, and one never sent: nothing changes */
	fixture_reply(f, 99, 1000 * GW_US_PER_S);
	fixture_down(f);
	fixture_expect(f, "heartbeat 2\n");
	/* Half of so short a lease is the task's; it counts from the sending, not the answer. */
	fixture_pass(f, 5 * GW_US_PER_S - GW_US_PER_S / 4 - 1);
	fixture_expect(f, "");
	fixture_pass(f, 1);
	fixture_expect(f, "END LEASE 1/0/1\n");
}

static void adopted_lease_goes_on(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), 60 * GW_US_PER_S);
	fixture_spawned(f, id(1), NULL);
	fixture_reply(f, 1, 24 * HOUR_US);
	fixture_down(f);
	fixture_pass(f, 40 * GW_US_PER_S);
	fixture_restart(f);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nstatus 1/0/1 RUNNING\n");
	fixture_spawned(f, id(1), NULL);
	fixture_begin(f);
	fixture_pass(f, 10 * GW_US_PER_S - 1);
	fixture_expect(f, "");
	fixture_pass(f, 1); /* a grace before 60 s after the heartbeat answered, by the agent before
			       this one */
	fixture_expect(f, "END LEASE 1/0/1\n");
}

static void refuses_starts(void **state)
{
	struct fixture *f = *state;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	struct gw_attempt_id attempt = id(1);
	Godwit__AttemptRef ref;
	char program[] = "/bin/true";
	char relative[] = "tmp";
	char nameless[] = "=x";
	char unlimited[] = "nofile=";
	char *rlimits[] = {unlimited};
	char *arguments[] = {program};
	char *environment[] = {nameless};

	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\n");
	body.kind_case = GODWIT__BODY__KIND_TASK_START;
	body.task_start = &start;
	fixture_message(f, &body);
	fixture_expect(f, "refusal 4 (a start names no attempt)\n");
	gw_wire_attempt(&attempt, &ref);
	start.attempt = &ref;
	fixture_message(f, &body);
	fixture_expect(f, "status 1/0/1 FAILED_TO_START (the start names no program)\n");
	start.n_arguments = 1;
	start.arguments = arguments;
	start.n_environment = 1;
	start.environment = environment;
	fixture_message(f, &body);
	fixture_expect(f, "status 1/0/1 FAILED_TO_START (environment entry 0 is not "
			  "NAME=value)\n");
	start.n_environment = 0;
	start.working_directory = relative;
	fixture_message(f, &body);
	fixture_expect(f, "status 1/0/1 FAILED_TO_START (the working directory is not an "
			  "absolute path)\n");
	start.working_directory = program;
	start.n_rlimits = 1;
	start.rlimits = rlimits;
	fixture_message(f, &body);
	fixture_expect(f, "status 1/0/1 FAILED_TO_START (the resource limit \"nofile=\" is not of "
			  "the form NAME=SOFT[:HARD], each a whole number or \"unlimited\")\n");
	start.n_rlimits = 0;
	start.lease_us = 10 * GW_US_PER_S;
	start.lease_from_us = f->now.mono_us - 5 * GW_US_PER_S;
	fixture_message(f, &body);
	fixture_expect(f,
		       "status 1/0/1 FAILED_TO_START declined (the start came when its lease was "
		       "over)\n");
	start.lease_from_us = f->now.mono_us + 1;
	fixture_message(f, &body);
	fixture_expect(f,
		       "status 1/0/1 FAILED_TO_START declined (the lease begins after now, by this "
		       "node's clock)\n");
	start.lease_from_us = f->now.mono_us - 4 * GW_US_PER_S;
	fixture_message(f, &body);
	fixture_expect(f, "SPAWN 1/0/1\n");
	fixture_start(f, fixture_attempt(1, 2), 0);
	fixture_expect(
		f, "status 1/0/2 FAILED_TO_START declined (attempt 1 of this task is starting on "
		   "this node)\n");
	assert_int_equal(gw_agent_counts(f->node).attempts, 1);
}

static void see_user(void *context, const struct gw_effect *effect, const Godwit__Body *body)
{
	char *user = context;
	const ProtobufCMessageDescriptor *kind = &godwit__task_start__descriptor;
	struct gw_arena arena;
	const Godwit__TaskStart *start;

	(void)body;
	if (effect->kind != GW_EFFECT_SPAWN)
		return;
	gw_arena_init(&arena, 1u << 20);
	start = (const Godwit__TaskStart *)gw_wire_decode(kind, &arena, effect->spawn.bytes,
							  effect->spawn.size);
	assert_non_null(start);
	(void)snprintf(user, 16, "%s", start->user);
	gw_arena_deinit(&arena);
}

static void start_as(struct fixture *f, uint64_t job, const char *name)
{
	char user[16];
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	char program[] = "true";
	char *arguments[] = {program};
	struct gw_attempt_id attempt = id(job);
	Godwit__AttemptRef ref;

	(void)snprintf(user, sizeof(user), "%s", name);
	gw_wire_attempt(&attempt, &ref);
	start.attempt = &ref;
	start.arguments = arguments;
	start.n_arguments = 1;
	start.user = user;
	body.kind_case = GODWIT__BODY__KIND_TASK_START;
	body.task_start = &start;
	fixture_message(f, &body);
}

/* Which users tasks get is the node's to say: one of its own, and those that it lists. */
static void runs_tasks_as_allowed_users(void **state)
{
	struct fixture *f = *state;
	char ada[] = "ada";
	char nobody[] = "nobody";
	char *users[] = {ada};
	char seen[16] = "";

	f->config.task_user = nobody;
	f->config.task_users = users;
	f->config.task_user_count = 1;
	fixture_restart(f);
	f->see = see_user;
	f->context = seen;
	fixture_begin(f);
	fixture_up(f, false);
	start_as(f, 1, "");
	assert_string_equal(seen, "nobody");
	start_as(f, 2, "ada");
	assert_string_equal(seen, "ada");
	start_as(f, 3, "nobody");
	assert_string_equal(seen, "nobody");
	start_as(f, 4, "root");
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\nSPAWN 2/0/1\nSPAWN 3/0/1\n"
			  "status 4/0/1 FAILED_TO_START (this node lets no task run as user "
			  "\"root\")\n");
}

/* What a node does not begin for reasons of its own is told apart from what a task brings on itself. */
static void declines_starts(void **state)
{
	struct fixture *f = *state;

	fixture_up(f, false);
	fixture_start(f, id(1), 0);
	fixture_declined(f, id(1), "its keeper does not answer");
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\n"
			  "status 1/0/1 FAILED_TO_START declined (its keeper does not answer)\n");
	fixture_down(f);
	fixture_up(f, false); /* told again, until it is forgotten */
	fixture_expect(f, "heartbeat 2\n"
			  "status 1/0/1 FAILED_TO_START declined (its keeper does not answer)\n");
	fixture_forget(f, id(1));
	fixture_step(f, (struct gw_event){.kind = GW_EVENT_STOP});
	fixture_start(f, id(2), 0);
	fixture_expect(f, "FORGET 1/0/1\n"
			  "status 2/0/1 FAILED_TO_START declined (the agent is stopping)\n");
}

static void refuses_past_its_limit(void **state)
{
	struct fixture *f = *state;

	f->config.attempts_max = 1;
	fixture_restart(f);
	fixture_begin(f);
	fixture_up(f, false);
	fixture_start(f, id(1), 0);
	fixture_start(f, id(2), 0);
	fixture_expect(
		f, "heartbeat 1\nSPAWN 1/0/1\n"
		   "status 2/0/1 FAILED_TO_START declined (this node keeps 1 attempts, its limit, "
		   "until ended ones are acknowledged)\n");
	fixture_kill(f, id(3)); /* the keeper's fence stands though the table is full */
	fixture_expect(f, "KILL 3/0/1\nstatus 3/0/1 TOMBSTONE\n");
	fixture_exited(f, id(1), EXITED, 0);
	fixture_forget(f, id(1));
	fixture_start(f, id(2), 0);
	fixture_expect(f, "status 1/0/1 EXITED\nFORGET 1/0/1\nSPAWN 2/0/1\n");
}

static void refuses_old_terms_and_strangers(void **state)
{
	struct fixture *f = *state;
	struct gw_node_id scheduler = f->scheduler.node;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__VersionRequest request = GODWIT__VERSION_REQUEST__INIT;

	fixture_up(f, false);
	f->term = 5;
	fixture_start(f, id(1), 60 * GW_US_PER_S);
	assert_int_equal(gw_agent_memory(f->node).term, 5);
	f->term = 4;
	fixture_kill(f, id(1));
	fixture_reply(f, 1, HOUR_US);
	fixture_expect(f, "heartbeat 1\nSPAWN 1/0/1\n"
			  "refusal 5 (this agent has heard a leader of a later term)\n");
	assert_int_equal(gw_agent_memory(f->node).renewed_us, 0);
	fixture_restart(f); /* the term outlives the process */
	fixture_begin(f);
	fixture_up(f, false);
	fixture_kill(f, id(1));
	fixture_expect(f, "heartbeat 1\n"
			  "refusal 5 (this agent has heard a leader of a later term)\n");
	f->term = 5;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &request;
	fixture_message(f, &body);
	fixture_expect(f, "refusal 2 (an agent does not answer this kind of message)\n");
	f->scheduler.node.id = gw_id_make(6, 6, 6);
	fixture_start(f, id(2), 0);
	fixture_up(f, false);
	fixture_expect(f, "");
	f->scheduler.node = scheduler;
}

static void read_log(struct fixture *f, uint64_t request, uint32_t stream)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	struct gw_attempt_id attempt = id(1);
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	read.attempt = &ref;
	read.stream = stream;
	read.offset = 5;
	read.bytes_max = 1u << 30;
	body.kind_case = GODWIT__BODY__KIND_LOG_READ;
	body.log_read = &read;
	body.request = request;
	fixture_message(f, &body);
}

static void output(struct fixture *f, uint64_t stream, const char *text)
{
	struct gw_event event = {.kind = GW_EVENT_OUTPUT};

	event.output.stream = stream;
	event.output.offset = 5;
	event.output.bytes = (const uint8_t *)text;
	event.output.size = strlen(text);
	event.output.end = true;
	fixture_step(f, event);
}

static void reads_logs(void **state)
{
	struct fixture *f = *state;

	f->config.reads_max = 2;
	fixture_restart(f);
	fixture_begin(f);
	fixture_up(f, false);
	read_log(f, 77, 1);
	read_log(f, 78, 3);
	read_log(f, 79, 2);
	read_log(f, 80, 2);
	fixture_expect(f, "heartbeat 1\nSTREAM 1/0/1 handle=1 max=65536\n"
			  "log request=78 1/0/1 at=5 \"\"a stream is 1 (stdout) or 2 (stderr)\n"
			  "STREAM 1/0/1 handle=2 max=65536\n"
			  "log request=80 1/0/1 at=5 \"\"this node has 2 log reads open, its "
			  "limit\n");
	output(f, 2, "hello");
	fixture_expect(f, "log request=79 1/0/1 at=5 \"hello\" end \n");
	output(f, 2, "again"); /* answered once */
	output(f, 0, "never");
	fixture_down(f);
	fixture_up(f, true);
	output(f, 1, "late"); /* its session is gone */
	fixture_expect(f, "heartbeat 2\n");
	assert_int_equal(gw_agent_counts(f->node).reads, 0);
}

static void thins_telemetry(void **state)
{
	struct fixture *f = *state;
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;

	telemetry.memory_available_bytes = 1000;
	info.cpu_count = 4;
	sample(f, &telemetry, &info); /* no session: kept (info) and dropped (figures) */
	fixture_up(f, false);
	fixture_expect(f, "heartbeat 1\ninfo version=1700000000\n");
	sample(f, &telemetry, &info);
	fixture_expect(f, "telemetry\n");
	fixture_reply(f, 1, HOUR_US);
	f->now.mono_us += 10 * GW_US_PER_S;
	telemetry.memory_available_bytes = 990; /* about the same */
	sample(f, &telemetry, NULL);
	fixture_expect(f, "heartbeat 2\n");
	telemetry.memory_available_bytes = 900;
	sample(f, &telemetry, NULL);
	fixture_expect(f, "telemetry\n");
	telemetry.memory_available_bytes = 100; /* too soon after the last */
	sample(f, &telemetry, NULL);
	fixture_expect(f, "");
	assert_int_equal(gw_agent_counts(f->node).samples_thinned, 2);
	info.cpu_count = 5;
	sample(f, NULL, &info);
	fixture_expect(f, "info version=1700000001\n");
	f->now.mono_us += 60 * GW_US_PER_S;
	telemetry.memory_available_bytes = 900; /* unchanged, but it is time */
	sample(f, &telemetry, &info);
	fixture_expect(f, "telemetry\nheartbeat 3\n");
	fixture_step(f, (struct gw_event){.kind = GW_EVENT_STOP});
	fixture_expect(f, "info version=1700000001 draining\n");
	assert_int_equal(gw_node_wake_us(f->node), GW_NEVER_US);
}

static void reports_paths(void **state)
{
	struct fixture *f = *state;
	Godwit__PathReport report = GODWIT__PATH_REPORT__INIT;
	Godwit__PathReport__Path path = GODWIT__PATH_REPORT__PATH__INIT;
	Godwit__PathReport__Path *paths[] = {&path};
	struct gw_id peer = gw_id_make(3, 3, 3);
	struct gw_event event = {.kind = GW_EVENT_OBSERVED};

	path.node = gw_wire_id(&peer);
	path.rtt_us_p50 = 2400;
	report.n_paths = 1;
	report.paths = paths;
	event.observed.paths = &report;
	fixture_up(f, false);
	fixture_step(f, event);
	fixture_step(f, event); /* the same again */
	path.rtt_us_p50 = 2450; /* within a step */
	fixture_step(f, event);
	fixture_expect(f, "heartbeat 1\npath_report\n");
	path.rtt_us_p50 = 2600;
	fixture_step(f, event);
	fixture_expect(f, "path_report\n");
	path.loss_ppm = 1;
	fixture_step(f, event);
	fixture_expect(f, "path_report\n");
	f->now.mono_us += 60 * GW_US_PER_S;
	fixture_step(f, event);
	fixture_expect(f, "path_report\nheartbeat 2\n");
}

static void takes_peer_tables(void **state)
{
	struct fixture *f = *state;
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__PeerTable table = GODWIT__PEER_TABLE__INIT;
	Godwit__PeerTable__Peer peer = GODWIT__PEER_TABLE__PEER__INIT;
	Godwit__PeerTable__Peer *peers[] = {&peer};
	struct gw_id node = gw_id_make(3, 3, 3);

	body.kind_case = GODWIT__BODY__KIND_PEER_TABLE;
	body.peer_table = &table;
	table.n_peers = 1;
	table.peers = peers;
	peer.node = gw_wire_id(&node);
	fixture_up(f, false);
	fixture_message(f, &body);
	fixture_expect(f, "heartbeat 1\n"
			  "refusal 4 (the peer table has a peer without id or probe port)\n");
	peer.probe_port = 4000;
	fixture_message(f, &body);
	fixture_expect(f, "PROBE\n");
}

/* A list of few effects loses nothing, and a large inventory comes in parts. */
static void says_all_through_a_small_list(void **state)
{
	static struct fixture f; /* larger than a frame should be */
	uint32_t lines = 0;
	const char *text;

	(void)state;
	fixture_init(&f, 3);
	for (uint32_t job = 1; job <= 600; job++)
		fixture_exited(&f, id(job), EXITED, 0);
	fixture_begin(&f);
	fixture_up(&f, false);
	for (size_t i = 0; i < f.lines.size; i++)
		lines += f.lines.bytes[i] == '\n';
	assert_int_equal(lines, 601); /* a heartbeat and every end */
	gw_buf_consume(&f.lines, f.lines.size);
	fixture_ask_inventory(&f);
	assert_int_equal(gw_buf_append(&f.lines, "", 1), 0);
	text = (const char *)f.lines.bytes;
	assert_non_null(strstr(text, "inventory part=0 count=256 ;"));
	assert_non_null(strstr(text, "inventory part=1 count=256 ;"));
	assert_non_null(strstr(text, "inventory part=2 count=88 last ;"));
	fixture_deinit(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(runs_a_task),
		TEST(kill_leaves_a_tombstone),
		TEST(told_again_until_acknowledged),
		TEST(adopts_after_a_restart),
		TEST(adopts_what_is_just_starting),
		TEST(lease_ends_unheard),
		TEST(lease_is_renewed_from_the_sending),
		TEST(adopted_lease_goes_on),
		TEST(refuses_starts),
		TEST(runs_tasks_as_allowed_users),
		TEST(declines_starts),
		TEST(refuses_past_its_limit),
		TEST(refuses_old_terms_and_strangers),
		TEST(reads_logs),
		TEST(thins_telemetry),
		TEST(reports_paths),
		TEST(takes_peer_tables),
		cmocka_unit_test(says_all_through_a_small_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
