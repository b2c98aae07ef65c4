/*
 * What a command table looks like to a person at a terminal (--help) and to bash (completion).
 */
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/option.h"

#define WIDTH 80u
#define INDENT 2u
#define OPTION_INDENT 26u

/* Text wrapped between column `indent` and WIDTH; begins at column `column`. */
static int wrap(struct gw_buf *out, const char *text, size_t indent, size_t column)
{
	int result = 0;

	while (*text && result == 0) {
		size_t length = strcspn(text, " ");

		if (column < indent) {
			result = gw_buf_printf(out, "%*s", (int)(indent - column), "");
			column = indent;
		} else if (column > indent && column + 1 + length > WIDTH) {
			result = gw_buf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			result = gw_buf_append(out, " ", 1);
			column++;
		}
		if (result == 0)
			result = gw_buf_append(out, text, length);
		column += length;
		text += length;
		text += strspn(text, " ");
	}
	return result < 0 ? result : gw_buf_append(out, "\n", 1);
}

static int wrap_details(struct gw_buf *out, const char *const *details)
{
	int result = 0;

	for (; details && *details && result == 0; details++) {
		result = gw_buf_append(out, "\n", 1);
		if (result == 0)
			result = wrap(out, *details, 0, 0);
	}
	return result;
}

/* Help, range and default of an option, in one sentence. */
static void option_sentence(const struct gw_option *option, char *ret_text, size_t size)
{
	const struct gw_schema *field = &option->value;
	char shape[240] = "";

	if (field->type != GW_SCHEMA_TEXT && field->type != GW_SCHEMA_BOOL &&
	    !(field->type == GW_SCHEMA_LIST && field->item->type == GW_SCHEMA_TEXT))
		gw_schema_describe(field, shape, sizeof(shape));
	if (field->type == GW_SCHEMA_LIST && !*shape)
		(void)snprintf(shape, sizeof(shape), "may be repeated");
	(void)snprintf(ret_text, size, "%s%s%s%s%s%s%s", field->help,
		       *shape || field->fallback ? " (" : "", shape,
		       *shape && field->fallback ? "; " : "", field->fallback ? "default " : "",
		       field->fallback ? field->fallback : "",
		       *shape || field->fallback ? ")" : "");
}

static int help_line(struct gw_buf *out, const char *head, const char *text, size_t column)
{
	size_t length = strlen(head);
	int result = gw_buf_printf(out, "%*s%s", (int)INDENT, "", head);

	if (result == 0 && INDENT + length + 2 > column) {
		result = gw_buf_append(out, "\n", 1);
		return result < 0 ? result : wrap(out, text, column, 0);
	}
	return result < 0 ? result : wrap(out, text, column, INDENT + length);
}

static int help_options(struct gw_buf *out, const char *title, const struct gw_option *options)
{
	int result;

	if (!options || !options->value.key)
		return 0;
	result = gw_buf_printf(out, "\n%s:\n", title);
	for (; options->value.key && result == 0; options++) {
		char letter[5] = "    ";
		char sentence[500];
		char head[100];

		if (options->letter)
			(void)snprintf(letter, sizeof(letter), "-%c, ", options->letter);
		(void)snprintf(head, sizeof(head), "%s--%s%s%s", letter, options->value.key,
			       options->argument ? " " : "",
			       options->argument ? options->argument : "");
		option_sentence(options, sentence, sizeof(sentence));
		result = help_line(out, head, sentence, OPTION_INDENT);
	}
	return result;
}

static int help_examples(struct gw_buf *out, const struct gw_example *examples)
{
	int result;

	if (!examples || !examples->command)
		return 0;
	result = gw_buf_printf(out, "\nExamples:\n");
	for (; examples->command && result == 0; examples++) {
		result = gw_buf_printf(out, "  %s\n", examples->command);
		if (result == 0)
			result = wrap(out, examples->help, 6, 0);
	}
	return result;
}

int gw_program_usage(const struct gw_program *program, const struct gw_command *command,
		     struct gw_buf *out)
{
	bool has_commands = gw_program_has_commands(program);

	if (!command && has_commands)
		return gw_buf_printf(out, "Usage: %s COMMAND [OPTION ...]\n", program->name);
	if (!command)
		command = program->commands;
	return gw_buf_printf(out, "Usage: %s%s%s%s%s%s\n", program->name, has_commands ? " " : "",
			     has_commands ? command->name : "",
			     command->options || program->common ? " [OPTION ...]" : "",
			     command->operands ? " " : "",
			     command->operands ? command->operands : "");
}

static int help_command(const struct gw_program *program, const struct gw_command *command,
			struct gw_buf *out)
{
	int result = wrap(out, command->summary, 0, 0);

	if (result == 0)
		result = wrap_details(out, command->details);
	if (result == 0)
		result = help_options(out, "Options", command->options);
	if (result == 0)
		result = help_options(out, command->options ? "Common options" : "Options",
				      program->common);
	return result < 0 ? result : help_examples(out, command->examples);
}

static int help_commands(const struct gw_program *program, struct gw_buf *out)
{
	int result = wrap(out, program->summary, 0, 0);
	size_t widest = 8;

	for (const struct gw_command *command = program->commands; command->name; command++)
		widest = strlen(command->name) > widest ? strlen(command->name) : widest;
	if (result == 0)
		result = wrap_details(out, program->details);
	if (result == 0)
		result = gw_buf_printf(out, "\nCommands:\n");
	for (const struct gw_command *command = program->commands; command->name && result == 0;
	     command++)
		result = help_line(out, command->name, command->summary, INDENT + widest + 2);
	if (result == 0)
		result = help_options(out, "Common options", program->common);
	return result < 0 ? result
			  : gw_buf_printf(out, "\n\"%s COMMAND --help\" tells more of a command.\n",
					  program->name);
}

/* "0 success": the first word stands in a column of its own. */
static int help_texts(struct gw_buf *out, const char *title, const char *const *texts)
{
	size_t widest = 0;
	int result;

	if (!texts)
		return 0;
	for (const char *const *text = texts; *text; text++)
		widest = strcspn(*text, " ") > widest ? strcspn(*text, " ") : widest;
	result = gw_buf_printf(out, "\n%s:\n", title);
	for (; *texts && result == 0; texts++) {
		size_t length = strcspn(*texts, " ");
		char word[128];

		(void)snprintf(word, sizeof(word), "%.*s", (int)length, *texts);
		result = help_line(out, word, *texts + length + strspn(*texts + length, " "),
				   INDENT + widest + 2);
	}
	return result;
}

int gw_program_help(const struct gw_program *program, const struct gw_command *command,
		    struct gw_buf *out)
{
	bool has_commands = gw_program_has_commands(program);
	int result = gw_program_usage(program, command, out);

	if (!command && !has_commands)
		command = program->commands;
	if (result == 0)
		result =
			command ? help_command(program, command, out) : help_commands(program, out);
	if (result == 0 && (!command || !has_commands))
		result = help_texts(out, "Exit codes", program->exit_codes);
	if (result == 0 && (!command || !has_commands))
		result = help_texts(out, "Files", program->files);
	return result;
}

/* The words that bash offers for a table of options. */
static int completion_words(struct gw_buf *out, const struct gw_option *options)
{
	int result = 0;

	for (; options && options->value.key && result == 0; options++)
		result = gw_buf_printf(out, " --%s", options->value.key);
	return result;
}

/* "--kind) choices ;;" for every option whose argument is one of a few words. */
static int completion_choices(struct gw_buf *out, const struct gw_option *options)
{
	int result = 0;

	for (; options && options->value.key && result == 0; options++) {
		if (options->value.type != GW_SCHEMA_CHOICE)
			continue;
		result = gw_buf_printf(out, "\t--%s) words=\"", options->value.key);
		for (const char *const *choice = options->value.choices; *choice && result == 0;
		     choice++)
			result = gw_buf_printf(
				out, "%s%s", choice == options->value.choices ? "" : " ", *choice);
		if (result == 0)
			result = gw_buf_printf(out, "\" ;;\n");
	}
	return result;
}

static int completion_case(const struct gw_program *program, const struct gw_command *command,
			   struct gw_buf *out)
{
	int result = gw_buf_printf(out, "\t%s) words=\"--help", command->name);

	if (result == 0)
		result = completion_words(out, command->options);
	if (result == 0)
		result = completion_words(out, program->common);
	return result < 0 ? result : gw_buf_printf(out, "\" ;;\n");
}

/* A shell function's name has no dash. */
static void function_name(const struct gw_program *program, char *ret_text, size_t size)
{
	(void)snprintf(ret_text, size, "_%s", program->name);
	for (char *at = ret_text; *at; at++) {
		if (*at == '-')
			*at = '_';
	}
}

static int completion_head(const struct gw_program *program, const char *name, struct gw_buf *out)
{
	int result = gw_buf_printf(out,
				   "# bash completion of %s; made by \"%s --completion bash\"\n"
				   "%s()\n{\n\tlocal word=${COMP_WORDS[COMP_CWORD]} "
				   "before=${COMP_WORDS[COMP_CWORD-1]}\n"
				   "\tlocal words command=%s i\n",
				   program->name, program->name, name, program->name);

	if (result < 0 || !gw_program_has_commands(program))
		return result;
	result = gw_buf_printf(out, "\tcommand=\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
				    "\t\tcase ${COMP_WORDS[i]} in\n\t\t");
	for (const struct gw_command *command = program->commands; command->name && result == 0;
	     command++)
		result = gw_buf_printf(out, "%s%s", command == program->commands ? "" : "|",
				       command->name);
	return result < 0 ? result
			  : gw_buf_printf(out, ") command=${COMP_WORDS[i]}; break ;;\n"
					       "\t\tesac\n\tdone\n");
}

int gw_program_completion(const struct gw_program *program, struct gw_buf *out)
{
	const struct gw_command *command;
	char name[80];
	int result;

	function_name(program, name, sizeof(name));
	result = completion_head(program, name, out);
	if (result == 0)
		result = gw_buf_printf(out, "\tcase $command in\n");
	for (command = program->commands; command->name && result == 0; command++)
		result = completion_case(program, command, out);
	if (result == 0 && gw_program_has_commands(program)) {
		result = gw_buf_printf(out, "\t*) words=\"--help --version");
		for (command = program->commands; command->name && result == 0; command++)
			result = gw_buf_printf(out, " %s", command->name);
		if (result == 0)
			result = gw_buf_printf(out, "\" ;;\n");
	}
	if (result == 0)
		result = gw_buf_printf(out, "\tesac\n\tcase $before in\n");
	if (result == 0)
		result = completion_choices(out, program->common);
	for (command = program->commands; command->name && result == 0; command++)
		result = completion_choices(out, command->options);
	return result < 0 ? result
			  : gw_buf_printf(
				    out,
				    "\tesac\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
				    "\"$word\")\n}\ncomplete -o default -F %s %s\n",
				    name, program->name);
}
