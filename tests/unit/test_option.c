/* proto/option: one program with two commands, its texts letter by letter, and lines to parse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/option.h"

struct common {
	bool json;
	const char *config;
};

struct fly_options {
	struct common common;
	uint64_t count;
	uint64_t wait_us;
	uint64_t mode;
	bool fast;
	bool verbose;
	struct gw_schema_list sites; /* of const char * */
	const char *name;
	struct gw_mark name_mark;
};

static const char *const modes[] = {"low", "high", NULL};
static const struct gw_schema text_item = {.type = GW_SCHEMA_TEXT, .min = 1};

static const struct gw_option common[] = {
	{.value = {.key = "json",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct common, json),
		   .help = "print one JSON value"}},
	{.value = {.key = "config",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct common, config),
		   .help = "folder of keys",
		   .fallback = "here"},
	 .argument = "DIR"},
	{.value = {.key = NULL}},
};

static const struct gw_option fly_option[] = {
	{.value = {.key = "count",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct fly_options, count),
		   .help = "how many birds",
		   .fallback = "1",
		   .min = 1,
		   .max = 9},
	 .letter = 'n',
	 .argument = "N"},
	{.value = {.key = "wait",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct fly_options, wait_us),
		   .help = "time before the start"},
	 .argument = "TIME"},
	{.value = {.key = "mode",
		   .type = GW_SCHEMA_CHOICE,
		   .offset = offsetof(struct fly_options, mode),
		   .choices = modes,
		   .help = "how high"},
	 .argument = "MODE"},
	{.value =
		 {.key = "fast",
		  .type = GW_SCHEMA_BOOL,
		  .offset = offsetof(struct fly_options, fast),
		  .help = "do not stop, neither for food nor for rest nor for the view of the sea"},
	 .letter = 'f'},
	{.value = {.key = "verbose",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct fly_options, verbose),
		   .help = "say more"},
	 .letter = 'v'},
	{.value = {.key = "site",
		   .type = GW_SCHEMA_LIST,
		   .offset = offsetof(struct fly_options, sites),
		   .item = &text_item,
		   .item_bytes = sizeof(char *),
		   .max = 2,
		   .help = "where to"},
	 .letter = 's',
	 .argument = "SITE"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct fly_options, name),
		   .mark_offset = offsetof(struct fly_options, name_mark),
		   .help = "of the flock",
		   .required = true},
	 .argument = "NAME"},
	{.value = {.key = NULL}},
};

static const char *const fly_details[] = {"The birds leave at dusk.", NULL};
static const struct gw_example fly_examples[] = {
	{"birds fly --name a -n 3 south", "Three birds fly south."},
	{NULL, NULL},
};

static int ran;

static int run_fly(const struct gw_command *command, void *options, int operand_count,
		   char **operands)
{
	const struct fly_options *fly = options;

	(void)command;
	(void)operands;
	ran++;
	return (int)fly->count * 10 + operand_count;
}

static int run_shell(const struct gw_command *command, void *options, int operand_count,
		     char **operands)
{
	(void)command;
	(void)options;
	(void)operands;
	ran++;
	return 40 + operand_count;
}

static const struct gw_command commands[] = {
	{.name = "fly",
	 .summary = "Fly somewhere.",
	 .operands = "[PLACE ...]",
	 .operands_max = 2,
	 .options = fly_option,
	 .details = fly_details,
	 .examples = fly_examples,
	 .run = run_fly,
	 .options_bytes = sizeof(struct fly_options)},
	{.name = "shell",
	 .summary = "Run a command.",
	 .operands = "-- COMMAND [ARGUMENT ...]",
	 .operands_min = 1,
	 .operands_max = 100,
	 .run = run_shell,
	 .options_bytes = sizeof(struct common)},
	{.name = NULL},
};

static const char *const exit_codes[] = {"0 it flew", "2 wrong usage", NULL};
static const char *const files[] = {"~/.birds what is known of birds", NULL};
static const char *const see_also[] = {"birds-agent(8)", NULL};
static const struct gw_program program = {
	.name = "birds",
	.summary = "birds over the sea",
	.commands = commands,
	.common = common,
	.exit_codes = exit_codes,
	.files = files,
	.see_also = see_also,
	.section = 1,
};

static const char help_program[] = "Usage: birds COMMAND [OPTION ...]\n"
				   "birds over the sea\n"
				   "\n"
				   "Commands:\n"
				   "  fly       Fly somewhere.\n"
				   "  shell     Run a command.\n"
				   "\n"
				   "Common options:\n"
				   "      --json              print one JSON value\n"
				   "      --config DIR        folder of keys (default here)\n"
				   "\n"
				   "\"birds COMMAND --help\" tells more of a command.\n"
				   "\n"
				   "Exit codes:\n"
				   "  0  it flew\n"
				   "  2  wrong usage\n"
				   "\n"
				   "Files:\n"
				   "  ~/.birds  what is known of birds\n";

static const char help_fly[] =
	"Usage: birds fly [OPTION ...] [PLACE ...]\n"
	"Fly somewhere.\n"
	"\n"
	"The birds leave at dusk.\n"
	"\n"
	"Options:\n"
	"  -n, --count N           how many birds (whole number, 1 to 9; default 1)\n"
	"      --wait TIME         time before the start (duration)\n"
	"      --mode MODE         how high (one of low, high)\n"
	"  -f, --fast              do not stop, neither for food nor for rest nor for the\n"
	"                          view of the sea\n"
	"  -v, --verbose           say more\n"
	"  -s, --site SITE         where to (may be repeated)\n"
	"      --name NAME         of the flock\n"
	"\n"
	"Common options:\n"
	"      --json              print one JSON value\n"
	"      --config DIR        folder of keys (default here)\n"
	"\n"
	"Examples:\n"
	"  birds fly --name a -n 3 south\n"
	"      Three birds fly south.\n";

static void test_help(void **state)
{
	struct gw_buf out;

	(void)state;
	gw_buf_init(&out, 65536);
	assert_int_equal(gw_program_help(&program, NULL, &out), 0);
	assert_string_equal((char *)out.bytes, help_program);
	out.size = 0;
	assert_int_equal(gw_program_help(&program, &commands[0], &out), 0);
	assert_string_equal((char *)out.bytes, help_fly);
	gw_buf_deinit(&out);
	gw_buf_init(&out, 100); /* a full buffer is an error, never a cut text */
	assert_int_equal(gw_program_help(&program, NULL, &out), -ENOBUFS);
	gw_buf_deinit(&out);
}

/* Splits a line at single spaces and parses it for a command. */
static int parse(const struct gw_command *command, const char *line, struct fly_options *ret,
		 int *ret_count, char ***ret_operands, struct gw_arena *arena,
		 struct gw_parse_error *error)
{
	static char copy[200];
	static char *argv[40];
	char *rest = copy;
	int argc = 0;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	memset(ret, 0, sizeof(*ret));
	return gw_command_parse(&program, command, argc, argv, ret, ret_count, ret_operands, arena,
				error);
}

static void test_parse(void **state)
{
	struct gw_parse_error error;
	struct fly_options fly;
	struct gw_arena arena;
	char **operands;
	int count;

	(void)state;
	gw_arena_init(&arena, 65536);
	assert_int_equal(parse(&commands[0],
			       "a --name=x -fvn3 b --json --wait 1.5s --mode high -s p -sq", &fly,
			       &count, &operands, &arena, &error),
			 0);
	assert_int_equal(count, 2);
	assert_string_equal(operands[0], "a");
	assert_string_equal(operands[1], "b");
	assert_string_equal(fly.name, "x");
	assert_true(fly.fast && fly.verbose && fly.common.json);
	assert_int_equal(fly.count, 3);
	assert_int_equal(fly.wait_us, 1500000);
	assert_int_equal(fly.mode, 1);
	assert_string_equal(fly.common.config, "here");
	assert_int_equal(fly.sites.count, 2);
	assert_string_equal(((char **)fly.sites.items)[1], "q");

	assert_int_equal(parse(&commands[0], "--name x -- -n --json", &fly, &count, &operands,
			       &arena, &error),
			 0);
	assert_int_equal(count, 2);
	assert_string_equal(operands[0], "-n");
	assert_false(fly.common.json);
	assert_int_equal(fly.count, 1);

	assert_int_equal(
		parse(&commands[1], "--json ls --json -n", &fly, &count, &operands, &arena, &error),
		0);
	assert_int_equal(count, 3);
	assert_true(fly.common.json);
	assert_string_equal(operands[1], "--json");
	gw_arena_deinit(&arena);
}

static const struct {
	unsigned command;
	const char *line;
	const char *error;
} bad[] = {
	{0, "", "--name NAME is needed"},
	{0, "--nmae x", "unknown option \"--nmae\"; did you mean \"--name\"?"},
	{0, "--zzzzzzzz=1", "unknown option \"--zzzzzzzz=1\""},
	{0, "-x", "unknown option \"-x\""},
	{0, "-fx", "unknown option \"-fx\""},
	{0, "--name", "--name needs an argument: NAME"},
	{0, "--name x -n", "--count needs an argument: N"},
	{0, "--name x -n ten", "--count: found \"ten\", expected a whole number"},
	{0, "--name x -n 10", "--count: found \"10\", expected 1 to 9"},
	{0, "--name x --mode up", "--mode: found \"up\", expected one of low, high"},
	{0, "--name x --fast=1", "--fast takes no argument"},
	{0, "--name x --site=", "--site: found a text of 0 bytes, expected at least 1"},
	{0, "--name x -s 1 -s 2 -s 3", "--site: too many of them"},
	{0, "--name x a b c", "unexpected \"c\""},
	{1, "--json", "COMMAND [ARGUMENT ...] is missing"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(bad); i++) {
		struct gw_parse_error error;
		struct fly_options fly;
		struct gw_arena arena;
		char **operands;
		int count;

		gw_arena_init(&arena, 65536);
		assert_int_equal(parse(&commands[bad[i].command], bad[i].line, &fly, &count,
				       &operands, &arena, &error),
				 -EINVAL);
		assert_string_equal(error.text, bad[i].error);
		gw_arena_deinit(&arena);
	}
}

static const struct {
	const char *line;
	int code;
	int ran;
} mains[] = {
	{"birds", 2, 0},
	{"birds --help", 0, 0},
	{"birds --version", 0, 0},
	{"birds --man", 0, 0},
	{"birds --completion bash", 0, 0},
	{"birds --completion", 2, 0},
	{"birds --completion csh", 2, 0},
	{"birds --man birds-nest", 2, 0},
	{"birds fyl", 2, 0},
	{"birds fly", 2, 0},
	{"birds fly --help", 0, 0},
	{"birds fly --name x -n 2 south", 21, 1},
	{"birds --json --config d fly --name x", 10, 1},
	{"birds --json shell --json ls --help", 42, 1},
	{"birds shell -- ls --help", 42, 1},
	{"birds shell --help ls", 0, 0},
};

static void test_main(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(mains); i++) {
		char copy[100];
		char *argv[12];
		char *rest = copy;
		int argc = 0;

		(void)snprintf(copy, sizeof(copy), "%s", mains[i].line);
		for (char *word = strtok_r(copy, " ", &rest); word;
		     word = strtok_r(NULL, " ", &rest))
			argv[argc++] = word;
		argv[argc] = NULL;
		ran = 0;
		if (gw_program_main(&program, argc, argv) != mains[i].code || ran != mains[i].ran)
			fail_msg("line %zu: %s", i, mains[i].line);
	}
}

struct nest {
	uint64_t eggs;
	struct gw_schema_list twigs;
};

static const struct gw_schema twig_fields[] = {
	{.key = "length", .type = GW_SCHEMA_COUNT, .help = "in mm", .required = true, .max = 300},
	{.key = NULL},
};
static const struct gw_schema twig_item = {.type = GW_SCHEMA_MAP, .fields = twig_fields};
static const struct gw_schema nest_fields[] = {
	{.key = "eggs", .type = GW_SCHEMA_COUNT, .help = "how many", .fallback = "4", .max = 9},
	{.key = "twigs", .type = GW_SCHEMA_LIST, .help = "what it is made of", .item = &twig_item},
	{.key = NULL},
};
static const char *const nest_examples[] = {"eggs: 3\n.dotted\n", NULL};
static const struct gw_format nest = {
	.name = "birds-nest",
	.summary = "a nest",
	.fields = nest_fields,
	.examples = nest_examples,
};

static const char man_nest[] = ".Dd November 20, 2026\n"
			       ".Dt BIRDS-NEST 5\n"
			       ".Os Godwit " GODWIT_VERSION "\n"
			       ".Sh NAME\n"
			       ".Nm \"birds\\-nest\"\n"
			       ".Nd \"a nest\"\n"
			       ".Sh DESCRIPTION\n"
			       "a nest\n"
			       ".Sh KEYS\n"
			       ".Bl -tag -width Ds\n"
			       ".It Cm \"eggs\"\n"
			       "how many\n"
			       "(whole number, 0 to 9; default 4)\n"
			       ".It Cm \"twigs\"\n"
			       "what it is made of\n"
			       "(list of maps)\n"
			       ".It Cm \"twigs[].length\"\n"
			       "in mm\n"
			       "(whole number, 0 to 300; required)\n"
			       ".El\n"
			       ".Sh EXAMPLES\n"
			       ".Bd -literal -offset indent\n"
			       "eggs: 3\n"
			       "\\&.dotted\n"
			       ".Ed\n"
			       ".Sh SEE ALSO\n"
			       ".Xr birds 1\n";

static void test_man(void **state)
{
	struct gw_buf out;

	(void)state;
	gw_buf_init(&out, 65536);
	assert_int_equal(gw_format_man(&program, &nest, &out), 0);
	assert_string_equal((char *)out.bytes, man_nest);
	out.size = 0;
	assert_int_equal(gw_program_man(&program, &out), 0);
	assert_non_null(strstr((char *)out.bytes, ".It Fl n , Fl \\-count Ar N\n"));
	assert_non_null(strstr((char *)out.bytes, ".Xr birds-agent 8\n"));
	assert_non_null(strstr((char *)out.bytes, ".Dl birds fly \\-\\-name a \\-n 3 south\n"));
	gw_buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_help), cmocka_unit_test(test_parse),
		cmocka_unit_test(test_bad),  cmocka_unit_test(test_main),
		cmocka_unit_test(test_man),
	};

	return cmocka_run_group_tests_name("option", tests, NULL, NULL);
}
