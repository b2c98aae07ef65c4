/* The agent's shell without its sockets: what an agent of before remembered, and how options become settings. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/core/agent.h"
#include "agent/options.h"
#include "agent/upgrade.h"

static char folder[64];
static char path[96];

static int make_folder(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/test_agent_shell.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/file", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	(void)unlink(path); /* a test may not have made it */
	return rmdir(folder);
}

static void put(const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A journal that only counts, and can refuse. */
struct paper {
	struct gw_journal journal; /* first */
	uint64_t count;
	int error;
};

static int append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct paper *paper = (struct paper *)journal;

	assert_non_null(bytes);
	assert_true(size > 0);
	assert_int_equal(seq, paper->count + 1);
	if (paper->error == 0)
		paper->count++;
	return paper->error;
}

static struct gw_node *new_core(void)
{
	const struct gw_agent_config config = gw_agent_config_default();
	struct gw_node *core = gw_agent_new(&config);

	assert_non_null(core);
	return core;
}

/* As an agent of before the journal left it. */
static const char former[] = "godwit-agent-memory 1\n"
			     "term 7\n"
			     "boot 00000001000000020000000000000003\n"
			     "renewed-us 123456789\n"
			     "lease-us 60000000\n";

static void former_memory_becomes_records(void **state)
{
	struct paper paper = {.journal.append = append};
	struct gw_node *core = new_core();
	struct gw_agent_memory memory;
	struct gw_fault fault = {""};
	uint64_t seq;

	(void)state;
	assert_int_equal(gw_upgrade(path, core, &paper.journal, &seq, &fault), 0);
	assert_int_equal(seq, 0); /* no file: nothing to take */
	assert_int_equal(paper.count, 0);
	put(former);
	assert_int_equal(gw_upgrade(path, core, &paper.journal, &seq, &fault), 0);
	assert_int_equal(seq, 2);
	assert_int_equal(paper.count, 2);
	memory = gw_agent_memory(core);
	assert_int_equal(memory.term, 7);
	assert_true(gw_id_equal(memory.boot_id, gw_id_make(1, 2, 3)));
	assert_int_equal(memory.renewed_us, 123456789);
	assert_int_equal(memory.lease_us, 60000000);
	/* The agent ended before it could remove the file: it is not taken twice. */
	assert_int_equal(gw_upgrade(path, core, &paper.journal, &seq, &fault), 0);
	assert_int_equal(seq, 2);
	assert_int_equal(paper.count, 2);
	gw_node_free(core);
	core = new_core();
	paper = (struct paper){.journal.append = append, .error = -EIO};
	assert_int_equal(gw_upgrade(path, core, &paper.journal, &seq, &fault), -EIO);
	assert_non_null(strstr(fault.text, path));
	gw_node_free(core);
}

static void damaged_memory_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"godwit-agent-memory 2\nterm 1\n",
		"godwit-agent-memory 1\nterm x\n",
		"godwit-agent-memory 1\nterm 1\nboot 12\nrenewed-us 1\nlease-us 1\n",
		"godwit-agent-memory 1\nterm -1\nboot 00000000000000000000000000000000\n"
		"renewed-us 1\nlease-us 1\n",
		"godwit-agent-memory 1\nterm 1\nboot 00000000000000000000000000000000\n"
		"renewed-us 1\nlease-us 1\nmore 1\n",
	};
	struct paper paper = {.journal.append = append};
	struct gw_node *core = new_core();
	struct gw_fault fault;
	uint64_t seq;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put(texts[i]);
		assert_int_equal(gw_upgrade(path, core, &paper.journal, &seq, &fault), -EINVAL);
		assert_non_null(strstr(fault.text, path));
	}
	assert_int_equal(paper.count, 0);
	gw_node_free(core);
}

static int read_options(struct gw_agent_options *options, struct gw_agent_settings *settings,
			struct gw_parse_error *error)
{
	static struct gw_arena arena;
	const char *file;

	gw_arena_deinit(&arena);
	gw_arena_init(&arena, 1u << 20);
	return gw_agent_options_read(options, &arena, settings, &file, error);
}

static void options_become_settings(void **state)
{
	struct gw_agent_options options = {.state.value = "/s",
					   .scheduler.value = "tcp://[::1]:7100",
					   .data_address.value = "fd00::1",
					   .ports.value = "100-199",
					   .labels.value = "zone=a,disk=ssd",
					   .residency.value = "CN-GZ"};
	struct gw_agent_settings settings;
	struct gw_parse_error error;

	(void)state;
	assert_int_equal(read_options(&options, &settings, &error), 0);
	assert_int_equal(settings.port_first, 100);
	assert_int_equal(settings.port_count, 100);
	assert_int_equal(settings.label_count, 2);
	assert_string_equal(settings.labels[1], "disk=ssd");
}

/* The command line goes before the file; a fault in the file has its place. */
static void file_and_line_merge(void **state)
{
	const struct gw_agent_options given = {
		.config.value = path, .ports = {"1-2", {3, 1}}, .telemetry_us = {5000000, {0, 0}}};
	struct gw_agent_options options = given;
	struct gw_agent_settings settings;
	struct gw_parse_error error;

	(void)state;
	put("state: /s\nports: 5-6\ntelemetry: 2 s\nresidency: xx\n");
	assert_int_equal(read_options(&options, &settings, &error), -EINVAL);
	assert_int_equal(error.mark.line, 4);
	assert_int_equal(error.mark.column, 12);
	put("state: /s\nports: 5-6\ntelemetry: 2 s\n");
	options = given;
	assert_int_equal(read_options(&options, &settings, &error), 0);
	assert_string_equal(settings.state, "/s");
	assert_int_equal(settings.port_first, 1);
	assert_int_equal(settings.telemetry_us, 2000000);
}

static void wrong_options_are_refused(void **state)
{
	static const struct {
		const char *ports;
		const char *labels;
		const char *residency;
		const char *address;
		const char *words;
	} cases[] = {
		{"5", NULL, NULL, NULL, "ports"},
		{"0-5", NULL, NULL, NULL, "ports"},
		{"9-5", NULL, NULL, NULL, "ports"},
		{"1-65536", NULL, NULL, NULL, "ports"},
		{"1-2x", NULL, NULL, NULL, "ports"},
		{NULL, "a", NULL, NULL, "labels"},
		{NULL, "a=b,,", NULL, NULL, "labels"},
		{NULL, "a=b c", NULL, NULL, "labels"},
		{NULL, NULL, "C", NULL, "residency"},
		{NULL, NULL, "CN-", NULL, "residency"},
		{NULL, NULL, "cn", NULL, "residency"},
		{NULL, NULL, "CN-GZHO", NULL, "residency"},
		{NULL, NULL, NULL, "host", "data-address"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct gw_agent_options options = {.state.value = "/s",
						   .ports.value = cases[i].ports,
						   .labels.value = cases[i].labels,
						   .residency.value = cases[i].residency,
						   .data_address.value = cases[i].address};
		struct gw_agent_settings settings;
		struct gw_parse_error error;

		assert_int_equal(read_options(&options, &settings, &error), -EINVAL);
		assert_memory_equal(error.text, cases[i].words, strlen(cases[i].words));
	}
}

static void root_is_said_twice(void **state)
{
	struct gw_agent_options options = {.state.value = "/s"};
	struct gw_agent_settings settings;
	struct gw_parse_error error;

	(void)state;
	assert_int_equal(read_options(&options, &settings, &error), 0);
	if (geteuid() == 0)
		assert_string_equal(settings.task_user, "nobody");
	else
		assert_null(settings.task_user);
	options.task_user.value = "root";
	assert_int_equal(read_options(&options, &settings, &error), -EINVAL);
	assert_non_null(strstr(error.text, "which is root"));
	options.task_users.value = "daemon,root";
	assert_int_equal(read_options(&options, &settings, &error), 0);
	assert_string_equal(settings.task_user, "root");
	assert_int_equal(settings.task_user_count, 2);
	options.task_users.value = "daemon,,root";
	assert_int_equal(read_options(&options, &settings, &error), -EINVAL);
	options.task_users.value = NULL;
	options.task_user.value = "no such user";
	assert_int_equal(read_options(&options, &settings, &error), -EINVAL);
	assert_non_null(strstr(error.text, "expected a user of this host"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(former_memory_becomes_records, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(damaged_memory_is_refused, make_folder,
						remove_folder),
		cmocka_unit_test(options_become_settings),
		cmocka_unit_test(root_is_said_twice),
		cmocka_unit_test_setup_teardown(file_and_line_merge, make_folder, remove_folder),
		cmocka_unit_test(wrong_options_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
