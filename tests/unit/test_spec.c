/* scheduler/ctl/spec: job specs and what becomes of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "scheduler/ctl/spec.h"

/* What was built survives the wire. */
static const Godwit__JobSpec *over_the_wire(const Godwit__JobSpec *job, struct gw_arena *arena)
{
	size_t size = gw_wire_size(&job->base);
	uint8_t *bytes = malloc(size);
	const Godwit__JobSpec *read;

	assert_non_null(bytes);
	gw_wire_encode(&job->base, bytes);
	read = gw_wire_decode(&godwit__job_spec__descriptor, arena, bytes, size);
	free(bytes);
	assert_non_null(read);
	return read;
}

static void test_task(void **state)
{
	static const char text[] =
		"name: digits\n"
		"command: [/bin/sh, -c, 'echo $A', '']\n"
		"count: 10\n"
		"env: {A: 1, B_2: x}\n"
		"directory: /srv\n"
		"user: nobody\n"
		"resources: {cpu: 0.5, memory: 64 MiB, devices: 2, device_type: h100,\n"
		"            ports: 3, processes: 7}\n"
		"sites: [a, b]\n"
		"not_sites: [c]\n"
		"residency: [CN, US-CA]\n"
		"labels: {rack: '7'}\n"
		"spread: node\n"
		"priority: 1000\n"
		"attempts: 3\n"
		"lease: 1 min\n"
		"disconnect: {lost_after: 30 s, replace: at_once, reconcile: keep_original}\n"
		"time_limit: 1 h\n"
		"grace: 5 s\n"
		"rtt_max: 10 ms\n";
	const Godwit__JobSpec *job;
	struct gw_parse_error error;
	struct gw_arena arena;

	(void)state;
	gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
	assert_int_equal(gw_spec_read(text, strlen(text), &arena, &job, &error), 0);
	assert_string_equal(job->name, "digits");
	assert_int_equal(job->kind, GODWIT__JOB_KIND__JOB_TASK);
	assert_int_equal(job->task_count, 10);
	assert_int_equal(job->n_arguments, 4);
	assert_string_equal(job->arguments[2], "echo $A");
	assert_string_equal(job->arguments[3], "");
	assert_int_equal(job->n_environment, 2);
	assert_string_equal(job->environment[1], "B_2=x");
	assert_string_equal(job->working_directory, "/srv");
	assert_string_equal(job->user, "nobody");
	assert_int_equal(job->resources->cpu_milli, 500);
	assert_int_equal(job->resources->memory_bytes, 64 << 20);
	assert_int_equal(job->resources->device_count, 2);
	assert_string_equal(job->resources->device_type, "h100");
	assert_int_equal(job->resources->port_count, 3);
	assert_int_equal(job->resources->process_count, 7);
	assert_int_equal(job->n_sites, 2);
	assert_string_equal(job->not_sites[0], "c");
	assert_string_equal(job->residency[1], "US-CA");
	assert_string_equal(job->labels[0], "rack=7");
	assert_int_equal(job->spread, GODWIT__SPREAD__SPREAD_NODE);
	assert_int_equal(job->priority, 1000);
	assert_int_equal(job->attempts_max, 3);
	assert_int_equal(job->lease_us, 60000000);
	assert_int_equal(job->disconnect->lost_after_us, 30000000);
	assert_int_equal(job->disconnect->replace, GODWIT__REPLACE__REPLACE_AT_ONCE);
	assert_int_equal(job->disconnect->reconcile, GODWIT__RECONCILE__RECONCILE_KEEP_ORIGINAL);
	assert_int_equal(job->time_limit_us, 3600000000);
	assert_int_equal(job->grace_us, 5000000);
	assert_int_equal(job->rtt_us_max, 10000);
	assert_null(job->model);
	job = over_the_wire(job, &arena);
	assert_string_equal(job->sites[1], "b");
	gw_arena_deinit(&arena);
}

static void test_serve_and_defaults(void **state)
{
	static const char text[] =
		"name: chat\n"
		"kind: serve\n"
		"stages: 2\n"
		"command: [/opt/stage]\n"
		"model: {stage_time: 8 ms, activation: 16 KiB, micro_batches: 4}\n";
	const Godwit__JobSpec *job;
	struct gw_parse_error error;
	struct gw_arena arena;

	(void)state;
	gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
	assert_int_equal(gw_spec_read(text, strlen(text), &arena, &job, &error), 0);
	assert_int_equal(job->kind, GODWIT__JOB_KIND__JOB_SERVE);
	assert_int_equal(job->task_count, 2);
	assert_int_equal(job->model->stage_us, 8000);
	assert_int_equal(job->model->micro_batches, 4);
	assert_int_equal(job->model->batch, 1);
	assert_int_equal(job->model->activation_bytes, 16384);
	assert_int_equal(job->model->loss_budget_ppm, 50000);
	assert_int_equal(job->resources->cpu_milli, 1000);
	assert_int_equal(job->resources->memory_bytes, 256 << 20);
	assert_int_equal(job->priority, 500);
	assert_int_equal(job->attempts_max, 1);
	assert_int_equal(job->lease_us, 0);
	assert_int_equal(job->grace_us, 10000000);
	assert_string_equal(job->user, "");
	gw_arena_deinit(&arena);
}

static void test_rlimits(void **state)
{
	static const char text[] = "name: a\ncommand: [x]\n"
				   "rlimits: {nofile: 1024, core: 0:unlimited}\n";
	const Godwit__JobSpec *job;
	struct gw_parse_error error;
	struct gw_arena arena;

	(void)state;
	gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
	assert_int_equal(gw_spec_read(text, strlen(text), &arena, &job, &error), 0);
	assert_int_equal(job->n_rlimits, 2);
	assert_string_equal(job->rlimits[0], "nofile=1024");
	assert_string_equal(job->rlimits[1], "core=0:unlimited");
	gw_arena_deinit(&arena);
}

#define HEAD "name: a\ncommand: [x]\n"
#define MODEL "model: {stage_time: 1 ms, activation: 1 KB}\n"

static const struct {
	const char *text;
	const char *error;
} bad[] = {
	{"command: [x]\n", "job:1:1: the key \"name\" is missing"},
	{"name: a\n", "job:1:1: the key \"command\" is missing"},
	{"name: a b\ncommand: [x]\n", "job:1:7: \"a b\" is no name of a job: a name has letters, "
				      "digits, \".\", \"-\" and \"_\", "
				      "beginning with a letter or digit"},
	{"name: a\ncommand: []\n", "job:2:1: \"command\" has 0 entries, expected at least 1"},
	{"name: a\ncommand: ['']\n", "job:2:1: \"command\" names no program"},
	{"name: a\ncommand: sleep 10\n",
	 "job:2:10: \"command\": found \"sleep 10\", expected a list"},
	{HEAD "kind: train\n",
	 "job:3:7: kind \"train\" is not run yet by this version; \"task\" and \"serve\" are"},
	{HEAD "stages: 2\n",
	 "job:3:9: \"stages\" belongs to kind \"serve\"; a task job has \"count\""},
	{HEAD MODEL "",
	 "job:3:1: \"model\" belongs to kind \"serve\"; this job is of kind \"task\""},
	{HEAD "kind: serve\ncount: 2\nstages: 2\n",
	 "job:4:8: \"count\" belongs to kind \"task\"; a serve job has \"stages\""},
	{HEAD "kind: serve\n", "job:3:7: a serve job needs \"stages\""},
	{HEAD "kind: serve\nstages: 2\n",
	 "job:4:9: \"stages\" without \"model\": its times and sizes decide the placement"},
	{HEAD "kind: serve\nstages: 2\nmodel: {stage_time: 1 ms}\n",
	 "job:5:1: \"model\" lacks the key \"activation\""},
	{HEAD "count: 1000000000\n",
	 "job:3:8: \"count\": found \"1000000000\", expected 1 to 100000"},
	{HEAD "count: -1\n", "job:3:8: \"count\": found \"-1\", expected a whole number"},
	{HEAD "lease: 5 s\n",
	 "job:3:8: \"lease\" is 5 s, expected more than \"grace\", which is 10 s"},
	{HEAD "lease: 10 ms\n", "job:3:8: \"lease\": found \"10 ms\", expected 1 s to 30 d"},
	{HEAD "lease: 1 min\ndisconnect: {lost_after: 30 s}\n",
	 "job:4:26: \"lost_after\" is 30 s, shorter than \"lease\", which is 1 min: the task "
	 "could run twice, which \"replace: at_once\" permits"},
	{HEAD "disconnect: {replace: at_once}\n",
	 "job:3:23: \"replace: at_once\" needs \"lost_after\" beside it: from when on may the "
	 "task run twice?"},
	{HEAD "disconnect: {replace: never, reconcile: keep_original}\n",
	 "job:3:41: \"reconcile\" says which of two stays, and with \"replace: never\" there is "
	 "one"},
	{HEAD "disconnect: {replace: sometimes}\n",
	 "job:3:23: \"replace\": found \"sometimes\", expected one of after_lease, at_once, "
	 "never"},
	{HEAD "replace_after: 30 s\n",
	 "job:3:1: \"replace_after\" is no key any more: write disconnect: {lost_after: DURATION}, "
	 "and replace: at_once beside it if the task may run twice"},
	{HEAD "allow_double: true\n",
	 "job:3:1: \"allow_double\" is no key any more: write disconnect: {lost_after: DURATION, "
	 "replace: at_once}"},
	{HEAD "sites: [a, b, a]\n", "job:3:15: \"a\" stands in \"sites\" twice"},
	{HEAD "sites: [a]\nnot_sites:\n- b\n- a\n",
	 "job:6:3: \"a\" stands in \"sites\" and in \"not_sites\""},
	{HEAD "sites: [a/b]\n", "job:3:9: \"a/b\" is no name of a site: a name has letters, "
				"digits, \".\", \"-\" and \"_\", "
				"beginning with a letter or digit"},
	{HEAD "count: 3\nspread: site\nsites: [a, b]\n",
	 "job:4:9: \"spread\" is \"site\", but 3 tasks have only 2 sites"},
	{HEAD "residency: [China]\n",
	 "job:3:13: \"China\" is no code of ISO 3166-2, as CN or CN-GZ"},
	{HEAD "residency: [CN-]\n", "job:3:13: \"CN-\" is no code of ISO 3166-2, as CN or CN-GZ"},
	{HEAD "env: {1A: x}\n", "job:3:1: \"1A\" in \"env\" is no name of a variable: a name has "
				"letters, digits and \"_\""},
	{HEAD "rlimits: {core: 0, nofiles: 1}\n",
	 "job:3:1: \"nofiles\" is no resource limit; there are as core cpu data fsize memlock "
	 "msgqueue nice nofile nproc rtprio rttime sigpending stack"},
	{HEAD "rlimits: {nofile: 1 KiB}\n",
	 "job:3:1: the resource limit \"nofile=1 KiB\" is not of the form NAME=SOFT[:HARD], each "
	 "a whole number or \"unlimited\""},
	{HEAD "rlimits: {nofile: 2:1}\n",
	 "job:3:1: the resource limit \"nofile=2:1\" has a soft limit above its hard one"},
	{HEAD "directory: here\n",
	 "job:3:12: \"directory\" is \"here\", expected an absolute path"},
	{HEAD "user: a b\n", "job:3:7: \"a b\" is no name of a user"},
	{HEAD "resources: {device_type: h100}\n",
	 "job:3:26: \"device_type\" without \"devices\": how many?"},
	{HEAD "resources: {cpus: 1}\n", "job:3:13: unknown key \"cpus\"; did you mean \"cpu\"?"},
	{HEAD "resources: {cpu: 4001}\n", "job:3:18: \"cpu\": found \"4001\", expected 0 to 4000"},
	{HEAD "resources: {memory: 1 KB}\n",
	 "job:3:21: \"memory\": found \"1 KB\", expected 1 MiB to 64 TiB"},
	{HEAD "laese: 1 h\n", "job:3:1: unknown key \"laese\"; did you mean \"lease\"?"},
	{HEAD "spread: rack\n",
	 "job:3:9: \"spread\": found \"rack\", expected one of none, pack, site, node"},
	{HEAD "env: &e {A: 1}\nlabels: *e\n", "job:3:6: anchors (\"&name\") are not allowed"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(bad); i++) {
		const Godwit__JobSpec *job;
		struct gw_parse_error error;
		struct gw_arena arena;
		char text[600];

		gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
		assert_int_equal(
			gw_spec_read(bad[i].text, strlen(bad[i].text), &arena, &job, &error),
			-EINVAL);
		gw_parse_error_format(&error, "job", text, sizeof(text));
		assert_string_equal(text, bad[i].error);
		gw_arena_deinit(&arena);
	}
}

/* Small keys, large texts: refused by what it would cost a scheduler, not by the count of keys. */
static void test_large(void **state)
{
	static char text[GW_SPEC_BYTES_MAX + 2];
	const Godwit__JobSpec *job;
	struct gw_parse_error error;
	struct gw_arena arena;
	int length;

	(void)state;
	length = snprintf(text, sizeof(text), "name: a\ncommand: [x, \"");
	memset(text + length, 'y', sizeof(text) - (size_t)length);
	gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
	assert_int_equal(gw_spec_read(text, GW_SPEC_BYTES_MAX + 1, &arena, &job, &error), -EINVAL);
	assert_string_equal(error.text, "the spec has more than 262144 bytes");
	memcpy(text + GW_SPEC_BYTES_MAX / 2 - 2, "\"]", 2);
	assert_int_equal(gw_spec_read(text, GW_SPEC_BYTES_MAX / 2, &arena, &job, &error), 0);
	gw_arena_deinit(&arena);
}

/* Every key has a line of help, and the page says its default and range. */
static void test_documented(void **state)
{
	static const char *const exits[] = {"0 success", NULL};
	static const struct gw_command commands[] = {{.name = "godwit", .summary = ""},
						     {.name = NULL}};
	static const struct gw_program program = {.name = "godwit",
						  .summary = "",
						  .commands = commands,
						  .exit_codes = exits,
						  .section = 1};
	struct gw_buf out;

	(void)state;
	for (const struct gw_schema *field = gw_spec_fields; field->key; field++)
		assert_true((field->help != NULL) != (field->gone != NULL));
	gw_buf_init(&out, 1u << 20);
	assert_int_equal(gw_format_man(&program, &gw_spec_format, &out), 0);
	assert_non_null(strstr((char *)out.bytes, ".It Cm \"resources.memory\"\n"
						  "memory of each task\n"
						  "(size, 1 MiB to 64 TiB; default 256 MiB)\n"));
	assert_null(strstr((char *)out.bytes, "allow_double"));
	gw_buf_deinit(&out);
}

/* The examples of the manual page are good specs. */
static void test_examples(void **state)
{
	(void)state;
	for (const char *const *example = gw_spec_format.examples; *example; example++) {
		const Godwit__JobSpec *job;
		struct gw_parse_error error;
		struct gw_arena arena;

		gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
		assert_int_equal(gw_spec_read(*example, strlen(*example), &arena, &job, &error), 0);
		gw_arena_deinit(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_task),
		cmocka_unit_test(test_rlimits),
		cmocka_unit_test(test_serve_and_defaults),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_documented),
		cmocka_unit_test(test_examples),
	};

	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
