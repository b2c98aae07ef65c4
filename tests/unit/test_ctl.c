/*
 * scheduler/ctl without a scheduler: this file stands in for transport/client, so that links break
 * and tasks restart exactly when a test says so. Then what a terminal and a program are shown.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "scheduler/ctl/ctl.h"

/* One answer of the stand-in, in the order of the calls. */
struct answer {
	int error;        /* of the call itself */
	uint32_t task;    /* what the read must ask for */
	uint64_t offset;  /* likewise */
	uint32_t attempt; /* what comes back */
	uint64_t at;      /* offset of the data */
	const char *data;
	bool end;
	const char *refused;
};

static struct {
	const struct answer *answers;
	size_t count;
	size_t next;
	uint64_t ended_after; /* the job has ended once so many answers were given */
	uint32_t looks;
	Godwit__Body body;
	Godwit__LogData log;
	Godwit__AttemptRef ref;
	Godwit__JobsReply jobs;
	Godwit__JobInfo info;
	Godwit__JobInfo *list[1];
	char text[256];
	char error[128];
} fake;

static int give_log(const Godwit__LogRead *read, struct gw_fault *fault)
{
	const struct answer *answer = &fake.answers[fake.next];

	assert_true(fake.next < fake.count);
	fake.next++;
	assert_int_equal(read->attempt->task_index, answer->task);
	assert_int_equal(read->offset, answer->offset);
	assert_int_equal(read->attempt->attempt, 0);
	if (answer->error < 0) {
		(void)snprintf(fault->text, sizeof(fault->text), "the link is gone");
		return answer->error;
	}
	godwit__log_data__init(&fake.log);
	godwit__attempt_ref__init(&fake.ref);
	fake.ref.attempt = answer->attempt;
	fake.log.attempt = &fake.ref;
	fake.log.offset = answer->at;
	fake.log.end = answer->end;
	(void)snprintf(fake.text, sizeof(fake.text), "%s", answer->data ? answer->data : "");
	(void)snprintf(fake.error, sizeof(fake.error), "%s",
		       answer->refused ? answer->refused : "");
	fake.log.data.data = (uint8_t *)fake.text;
	fake.log.data.len = strlen(fake.text);
	fake.log.error = fake.error;
	fake.body.kind_case = GODWIT__BODY__KIND_LOG_DATA;
	fake.body.log_data = &fake.log;
	return 0;
}

static int give_job(void)
{
	fake.looks++;
	godwit__jobs_reply__init(&fake.jobs);
	godwit__job_info__init(&fake.info);
	fake.info.ended_wall_us = fake.next >= fake.ended_after;
	fake.list[0] = &fake.info;
	fake.jobs.jobs = fake.list;
	fake.jobs.n_jobs = 1;
	fake.body.kind_case = GODWIT__BODY__KIND_JOBS_REPLY;
	fake.body.jobs_reply = &fake.jobs;
	return 0;
}

int gw_client_call(struct gw_client *client, const Godwit__Body *request, uint64_t limit_us,
		   const Godwit__Body **ret_reply, struct gw_fault *fault)
{
	int result;

	(void)client;
	(void)limit_us;
	godwit__body__init(&fake.body);
	if (request->kind_case == GODWIT__BODY__KIND_LOG_READ)
		result = give_log(request->log_read, fault);
	else
		result = give_job();
	*ret_reply = &fake.body;
	return result;
}

int gw_client_open(const struct gw_client_options *options, uint64_t limit_us,
		   struct gw_client **ret_client, struct gw_fault *fault)
{
	(void)options;
	(void)limit_us;
	(void)ret_client;
	(void)fault;
	return -ENOSYS;
}

int gw_client_open_directory(const char *directory, gw_stop_f *stop, gw_waiting_f *waiting,
			     uint64_t limit_us, struct gw_client **ret_client,
			     struct gw_fault *fault)
{
	(void)directory;
	(void)stop;
	(void)waiting;
	(void)limit_us;
	(void)ret_client;
	(void)fault;
	return -ENOSYS;
}

struct gw_client *gw_client_close(struct gw_client *client)
{
	(void)client;
	return NULL;
}

int gw_identity_load(const char *directory, struct gw_keys **ret_keys, struct gw_region *ret_region,
		     struct gw_cert *ret_cert, struct gw_fault *fault)
{
	(void)directory;
	(void)ret_keys;
	(void)ret_region;
	(void)ret_cert;
	(void)fault;
	return -ENOSYS;
}

/* Follows the stdout of `task_count` tasks through the answers; what was written, to be freed. */
static char *follow(const struct answer *answers, size_t count, size_t ended_after,
		    uint32_t task_count, bool goes_on, int *ret_code)
{
	const struct ctl_options options = {.timeout_us = GW_US_PER_S};
	struct ctl_follow_options output = {
		.task_count = task_count, .stdout_wanted = true, .follow = goes_on};
	struct ctl ctl;
	char *text = NULL;
	size_t size = 0;

	memset(&fake, 0, sizeof(fake));
	fake.answers = answers;
	fake.count = count;
	fake.ended_after = ended_after;
	output.stdout_file = open_memstream(&text, &size);
	output.stderr_file = output.stdout_file;
	assert_non_null(output.stdout_file);
	ctl_init(&ctl, &options);
	*ret_code = ctl_follow(&ctl, &output);
	ctl_close(&ctl);
	assert_int_equal(fclose(output.stdout_file), 0);
	assert_int_equal(fake.next, count);
	return text;
}

/* A broken link costs a pause and no byte; the next read goes on at the same offset. */
static void test_broken_link(void **state)
{
	static const struct answer answers[] = {
		{.attempt = 1, .data = "one\ntw"},
		{.offset = 6, .error = -ETIMEDOUT},
		{.offset = 6, .error = -ECONNRESET},
		{.offset = 6, .attempt = 1, .at = 6, .data = "o\n"},
		{.offset = 8, .attempt = 1, .at = 8, .end = true},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 5, 1, true, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_string_equal(text, "one\ntwo\n");
	free(text);
}

/* A second attempt is read from its start, whatever the first had written. */
static void test_new_attempt(void **state)
{
	static const struct answer answers[] = {
		{.attempt = 1, .data = "first "},
		{.offset = 6, .attempt = 2, .at = 6, .data = "never shown"},
		{.offset = 0, .attempt = 2, .data = "second\n", .end = true},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 3, 1, true, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_string_equal(text, "first second\n");
	free(text);
}

/* Before a task has a place its reads are refused; that is waited out while the job goes on. */
static void test_waits_for_start(void **state)
{
	static const struct answer answers[] = {
		{.refused = "not placed yet"},
		{.refused = "not placed yet"},
		{.attempt = 1, .data = "x\n", .end = true},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 3, 1, true, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_string_equal(text, "x\n");
	free(text);
}

/* A task that never ran has no output to wait for once its job has ended. */
static void test_never_started(void **state)
{
	static const struct answer answers[] = {
		{.refused = "not placed yet"},
		{.refused = "not placed yet"},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 1, 1, true, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_string_equal(text, "");
	free(text);
}

/* Two tasks: whole lines, each with its task; an unended last line is shown too. */
static void test_labels(void **state)
{
	static const struct answer answers[] = {
		{.task = 0, .attempt = 1, .data = "a1\na"},
		{.task = 1, .attempt = 1, .data = "b1\n\n"},
		{.task = 0, .offset = 4, .attempt = 1, .at = 4, .data = "2\n", .end = true},
		{.task = 1, .offset = 4, .attempt = 1, .at = 4, .data = "b2", .end = true},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 4, 2, true, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_string_equal(text, "[0] a1\n[1] b1\n[1]\n[0] a2\n[1] b2\n");
	free(text);
}

/* Without following: what is there, and not a look at the job. */
static void test_snapshot(void **state)
{
	static const struct answer answers[] = {
		{.attempt = 3, .at = 100, .data = "tail\n"},
		{.offset = 105, .attempt = 3, .at = 105},
	};
	int code;
	char *text = follow(answers, GW_ARRAY_COUNT(answers), 99, 1, false, &code);

	(void)state;
	assert_int_equal(code, 0);
	assert_int_equal(fake.looks, 0);
	assert_string_equal(text, "tail\n");
	free(text);
}

static void test_human(void **state)
{
	(void)state;
	assert_string_equal(ctl_duration(0).text, "0 us");
	assert_string_equal(ctl_duration(999).text, "999 us");
	assert_string_equal(ctl_duration(1200).text, "1.2 ms");
	assert_string_equal(ctl_duration(59900000).text, "59.9 s");
	assert_string_equal(ctl_duration(3599 * GW_US_PER_S).text, "59 min 59 s");
	assert_string_equal(ctl_duration(86399 * GW_US_PER_S).text, "23 h 59 min");
	assert_string_equal(ctl_duration(90000 * GW_US_PER_S).text, "1 d 1 h");
	assert_string_equal(ctl_bytes(0).text, "0 B");
	assert_string_equal(ctl_bytes(1023).text, "1023 B");
	assert_string_equal(ctl_bytes(1024).text, "1 KiB");
	assert_string_equal(ctl_bytes((1u << 20) - 1).text, "1 MiB");
	assert_string_equal(ctl_bytes(3435973837).text, "3.2 GiB");
	assert_string_equal(ctl_rate(125000000).text, "125 MB/s");
	assert_string_equal(ctl_rate(999600).text, "1 MB/s");
	assert_string_equal(ctl_share(51234).text, "5.12 %");
	assert_string_equal(ctl_milli(1500).text, "1.5");
}

static const struct {
	const char *job_state;
	uint32_t exits[2];
	uint32_t signals[2];
	int code;
} exits[] = {
	{"succeeded", {0, 0}, {0, 0}, 0},    {"failed", {1, 3}, {0, 0}, 3},
	{"failed", {0, 0}, {9, 0}, 137},     {"failed", {200, 0}, {0, 1}, 200},
	{"cancelled", {0, 0}, {0, 15}, 143}, {"cancelled", {0, 0}, {0, 0}, 1},
	{"failed", {1000, 0}, {0, 0}, 255},
};

static void test_exit_codes(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(exits); i++) {
		Godwit__TaskInfo tasks[2] = {GODWIT__TASK_INFO__INIT, GODWIT__TASK_INFO__INIT};
		Godwit__TaskInfo *list[2] = {&tasks[0], &tasks[1]};
		Godwit__JobInfo job = GODWIT__JOB_INFO__INIT;
		char text[16];

		(void)snprintf(text, sizeof(text), "%s", exits[i].job_state);
		job.state = text;
		job.tasks = list;
		job.n_tasks = 2;
		for (size_t j = 0; j < 2; j++) {
			tasks[j].exit_code = exits[i].exits[j];
			tasks[j].signal = exits[i].signals[j];
		}
		assert_int_equal(ctl_job_exit(&job), exits[i].code);
	}
}

static void test_clean(void **state)
{
	char text[] = "a\033[2Jb\nc\x7f";

	(void)state;
	ctl_clean(text);
	assert_string_equal(text, "a?[2Jb?c?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broken_link),     cmocka_unit_test(test_new_attempt),
		cmocka_unit_test(test_waits_for_start), cmocka_unit_test(test_never_started),
		cmocka_unit_test(test_labels),          cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_human),           cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_clean),
	};

	return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
