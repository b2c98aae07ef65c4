/*
 * Parsing of command lines, and the frame of every main(). Long options take "--name VALUE" or
 * "--name=VALUE", short ones "-n VALUE", "-nVALUE" and bundles of flags ("-fv"). Options and
 * operands may be mixed, except where the operands are another program's command line.
 */
#include "proto/option.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/program.h"

#define TEXT_BYTES_MAX (1u << 20) /* of a help text, a man page, a command line's values */
#define OPTIONS_BYTES_MAX 4096u

static const struct gw_mark no_mark;

/* The state of one parse. */
struct line {
	const struct gw_program *program;
	const struct gw_command *command;
	int argc;
	char **argv;
	int next;
	uint8_t *values; /* the options struct */
	struct gw_arena *arena;
	struct gw_parse_error *error;
};

/* The operands are another program's command line: its options are not ours. */
static bool takes_foreign(const struct gw_command *command)
{
	return command && command->operands && strncmp(command->operands, "--", 2) == 0;
}

bool gw_program_has_commands(const struct gw_program *program)
{
	return strcmp(program->commands[0].name, program->name) != 0;
}

static const struct gw_option *find_in(const struct gw_option *options, const char *name,
				       size_t length, char letter)
{
	for (; options && options->value.key; options++) {
		if (letter ? options->letter == letter
			   : strlen(options->value.key) == length &&
				     strncmp(options->value.key, name, length) == 0)
			return options;
	}
	return NULL;
}

/* By name, or by letter where it is not 0. `command` may be NULL: common options only. */
static const struct gw_option *find_option(const struct gw_program *program,
					   const struct gw_command *command, const char *name,
					   size_t length, char letter)
{
	const struct gw_option *option = find_in(program->common, name, length, letter);

	return option || !command ? option : find_in(command->options, name, length, letter);
}

static void nearest_in(const struct gw_option *options, const char *name, const char **best,
		       uint32_t *best_distance)
{
	for (; options && options->value.key; options++) {
		uint32_t distance = gw_text_distance(name, options->value.key);

		if (distance < *best_distance) {
			*best = options->value.key;
			*best_distance = distance;
		}
	}
}

static int unknown_option(struct line *line, const char *argument)
{
	uint32_t distance = UINT32_MAX;
	const char *nearest = NULL;
	char name[64];

	if (strncmp(argument, "--", 2) == 0) {
		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(argument + 2, "="),
			       argument + 2);
		nearest_in(line->program->common, name, &nearest, &distance);
		nearest_in(line->command->options, name, &nearest, &distance);
	}
	if (nearest)
		return gw_parse_error_set(line->error, no_mark,
					  "unknown option \"%.60s\"; did you mean \"--%s\"?",
					  argument, nearest);
	return gw_parse_error_set(line->error, no_mark, "unknown option \"%.60s\"", argument);
}

/* Stores one value; `text` NULL: a flag without argument. */
static int store(struct line *line, const struct gw_option *option, const char *text)
{
	const struct gw_schema *field = &option->value;
	const struct gw_mark given = {(uint32_t)line->next + 1, 1};
	struct gw_parse_error error;
	uint8_t *at = line->values + field->offset;
	int result;

	if (field->mark_offset > 0)
		memcpy(line->values + field->mark_offset, &given, sizeof(given));
	if (field->type == GW_SCHEMA_LIST) {
		uint64_t limit = field->max > 0 ? field->max : GW_SCHEMA_ITEMS_MAX;
		uint8_t *item = gw_schema_list_add((struct gw_schema_list *)(void *)at,
						   field->item_bytes, line->arena);

		if (!item || ((struct gw_schema_list *)(void *)at)->count > limit)
			return gw_parse_error_set(line->error, no_mark, "--%s: too many of them",
						  option->value.key);
		field = field->item;
		at = item + field->offset;
	}
	result = gw_schema_parse_value(field, text ? text : "true", line->arena, at, &error);
	if (result < 0)
		return gw_parse_error_set(line->error, no_mark, "--%s: %.440s", option->value.key,
					  error.text);
	return 0;
}

/* The argument of an option: what stands behind it in the same word, or the next word. */
static int store_with_argument(struct line *line, const struct gw_option *option,
			       const char *behind)
{
	if (!behind) {
		if (line->next + 1 >= line->argc)
			return gw_parse_error_set(line->error, no_mark,
						  "--%s needs an argument: %s", option->value.key,
						  option->argument);
		behind = line->argv[++line->next];
	}
	return store(line, option, behind);
}

static int read_long(struct line *line)
{
	const char *argument = line->argv[line->next];
	size_t length = strcspn(argument + 2, "=");
	const char *behind = argument[2 + length] == '=' ? argument + 3 + length : NULL;
	const struct gw_option *option =
		find_option(line->program, line->command, argument + 2, length, 0);

	if (!option)
		return unknown_option(line, argument);
	if (option->value.type != GW_SCHEMA_BOOL)
		return store_with_argument(line, option, behind);
	if (behind)
		return gw_parse_error_set(line->error, no_mark, "--%s takes no argument",
					  option->value.key);
	return store(line, option, NULL);
}

static int read_letters(struct line *line)
{
	const char *argument = line->argv[line->next];

	for (const char *at = argument + 1; *at; at++) {
		const struct gw_option *option =
			find_option(line->program, line->command, "", 0, *at);
		int result;

		if (!option)
			return unknown_option(line, argument);
		if (option->value.type != GW_SCHEMA_BOOL)
			return store_with_argument(line, option, at[1] ? at + 1 : NULL);
		result = store(line, option, NULL);
		if (result < 0)
			return result;
	}
	return 0;
}

static int fill_defaults(struct line *line, const struct gw_option *options)
{
	struct gw_parse_error error;

	for (; options && options->value.key; options++) {
		if (!options->value.fallback)
			continue;
		if (gw_schema_parse_value(&options->value, options->value.fallback, line->arena,
					  line->values + options->value.offset, &error) < 0)
			return gw_parse_error_set(line->error, no_mark, "--%s: default: %.440s",
						  options->value.key, error.text);
	}
	return 0;
}

/* An option that must be there: a text is not NULL then, a list not empty; others need a mark. */
static int check_required(struct line *line, const struct gw_option *options)
{
	for (; options && options->value.key; options++) {
		struct gw_mark mark;

		if (!options->value.required)
			continue;
		CHECK(options->value.mark_offset > 0);
		memcpy(&mark, line->values + options->value.mark_offset, sizeof(mark));
		if (mark.line == 0)
			return gw_parse_error_set(line->error, no_mark, "--%s %s is needed",
						  options->value.key, options->argument);
	}
	return 0;
}

static int check_operands(struct line *line, unsigned count)
{
	const struct gw_command *command = line->command;

	if (count < command->operands_min)
		return gw_parse_error_set(line->error, no_mark, "%s is missing",
					  strncmp(command->operands, "-- ", 3) == 0
						  ? command->operands + 3
						  : command->operands);
	if (count > command->operands_max)
		return gw_parse_error_set(line->error, no_mark, "unexpected \"%.60s\"",
					  line->argv[command->operands_max]);
	return 0;
}

int gw_command_parse(const struct gw_program *program, const struct gw_command *command, int argc,
		     char **argv, void *ret_options, int *ret_operand_count, char ***ret_operands,
		     struct gw_arena *arena, struct gw_parse_error *ret_error)
{
	struct line line = {program, command, argc, argv, 0, ret_options, arena, ret_error};
	int count = 0; /* operands move to the front: never past what was read */
	int result;

	if ((result = fill_defaults(&line, program->common)) < 0 ||
	    (result = fill_defaults(&line, command->options)) < 0)
		return result;
	for (; line.next < argc; line.next++) {
		char *word = argv[line.next];

		if (strcmp(word, "--") == 0) {
			line.next++;
			break;
		}
		if (word[0] != '-' || word[1] == '\0') {
			if (takes_foreign(command))
				break;
			argv[count++] = word;
			continue;
		}
		result = word[1] == '-' ? read_long(&line) : read_letters(&line);
		if (result < 0)
			return result;
	}
	while (line.next < argc)
		argv[count++] = argv[line.next++];
	if ((result = check_operands(&line, (unsigned)count)) < 0 ||
	    (result = check_required(&line, program->common)) < 0 ||
	    (result = check_required(&line, command->options)) < 0)
		return result;
	*ret_operand_count = count;
	*ret_operands = argv;
	return 0;
}

static int print_man(const struct gw_program *program, const char *name)
{
	const struct gw_format *format = program->formats;
	struct gw_buf text;
	char error[120];

	gw_buf_init(&text, TEXT_BYTES_MAX);
	if (!name)
		return gw_program_print(gw_program_man(program, &text), &text);
	for (; format && format->name; format++) {
		if (strcmp(format->name, name) == 0)
			return gw_program_print(gw_format_man(program, format, &text), &text);
	}
	(void)snprintf(error, sizeof(error), "no manual page \"%.60s\" here", name);
	return gw_program_fail(program, NULL, error);
}

static int print_completion(const struct gw_program *program, const char *shell)
{
	struct gw_buf text;

	if (!shell || strcmp(shell, "bash") != 0)
		return gw_program_fail(program, NULL, "--completion needs an argument: bash");
	gw_buf_init(&text, TEXT_BYTES_MAX);
	return gw_program_print(gw_program_completion(program, &text), &text);
}

/* How many words an option takes, its argument included. */
static int option_words(const struct gw_program *program, const struct gw_command *command,
			const char *word)
{
	bool is_long = word[1] == '-';
	bool is_builtin = strcmp(word, "--man") == 0 || strcmp(word, "--completion") == 0;
	const struct gw_option *option =
		is_long ? find_option(program, command, word + 2, strlen(word + 2), 0)
			: find_option(program, command, "", 0, word[1]);

	if (!is_builtin && (!option || option->value.type == GW_SCHEMA_BOOL))
		return 1;
	return is_long || word[2] == '\0' ? 2 : 1;
}

/*
 * The options that every program has. They go before all others, so that "--help" also answers a
 * line that is wrong. True: done, with the exit code.
 */
static bool run_builtin(const struct gw_program *program, const struct gw_command *command,
			int argc, char **argv, int *ret_code)
{
	struct gw_buf text;

	gw_buf_init(&text, TEXT_BYTES_MAX);
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0;) {
		const char *behind = i + 1 < argc ? argv[i + 1] : NULL;

		if (argv[i][0] != '-' || argv[i][1] == '\0') {
			if (takes_foreign(command))
				return false;
			i++;
			continue;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			*ret_code =
				gw_program_print(gw_program_help(program, command, &text), &text);
		else if (strcmp(argv[i], "--version") == 0)
			*ret_code = gw_program_print(
				gw_buf_printf(&text, "%s %s\n", program->name, GODWIT_VERSION),
				&text);
		else if (strcmp(argv[i], "--man") == 0)
			*ret_code = print_man(program, behind);
		else if (strcmp(argv[i], "--completion") == 0)
			*ret_code = print_completion(program, behind);
		else {
			i += option_words(program, command, argv[i]);
			continue;
		}
		return true;
	}
	return false;
}

/* The index of the command's name: the first word that is neither an option nor its argument. */
static int find_name(const struct gw_program *program, int argc, char **argv)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0')
		i += option_words(program, NULL, argv[i]);
	return i;
}

/* What stands where a command's name should be; `before`: the word in front of it, or NULL. */
static int unknown_command(const struct gw_program *program, const char *before, const char *name)
{
	uint32_t best_distance = UINT32_MAX;
	const char *best = NULL;
	char text[200];

	if (before && before[0] == '-' && option_words(program, NULL, before) == 1) {
		(void)snprintf(text, sizeof(text),
			       "\"%.60s\" stands before the command; a command's options come "
			       "behind its name",
			       before);
		return gw_program_fail(program, NULL, text);
	}
	for (const struct gw_command *command = program->commands; command->name; command++) {
		uint32_t distance = gw_text_distance(name, command->name);

		if (distance < best_distance) {
			best = command->name;
			best_distance = distance;
		}
	}
	(void)snprintf(text, sizeof(text), "unknown command \"%.60s\"%s%s%s", name,
		       best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
	return gw_program_fail(program, NULL, text);
}

static int run_command(const struct gw_program *program, const struct gw_command *command, int argc,
		       char **argv)
{
	_Alignas(max_align_t) uint8_t options[OPTIONS_BYTES_MAX] = {0};
	struct gw_parse_error error;
	struct gw_arena arena;
	char **operands;
	int operand_count;
	int code;

	CHECK(command->options_bytes <= sizeof(options));
	gw_arena_init(&arena, TEXT_BYTES_MAX);
	if (gw_command_parse(program, command, argc, argv, options, &operand_count, &operands,
			     &arena, &error) < 0)
		code = gw_program_fail(program, command, error.text);
	else
		code = command->run(command, options, operand_count, operands);
	gw_arena_deinit(&arena);
	return code;
}

int gw_program_main(const struct gw_program *program, int argc, char **argv)
{
	const struct gw_command *command = program->commands;
	int code;

	if (gw_program_has_commands(program)) {
		int name = find_name(program, argc, argv);

		if (name >= argc)
			return run_builtin(program, NULL, argc - 1, argv + 1, &code)
				       ? code
				       : gw_program_fail(program, NULL, "a command is missing");
		if (run_builtin(program, NULL, name, argv, &code))
			return code;
		while (command->name && strcmp(command->name, argv[name]) != 0)
			command++;
		if (!command->name)
			return unknown_command(program, name > 1 ? argv[name - 1] : NULL,
					       argv[name]);
		memmove(argv + 2, argv + 1, (size_t)(name - 1) * sizeof(*argv));
		argc--;
		argv++;
	}
	if (argc > 1 && run_builtin(program, command, argc - 1, argv + 1, &code))
		return code;
	return run_command(program, command, argc > 0 ? argc - 1 : 0, argv + 1);
}
