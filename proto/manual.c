/*
 * Manual pages in mdoc, from the tables of commands and of file formats. The pages carry no date,
 * so that two builds of one source are equal.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/option.h"

static const char page_date[] = "November 20, 2026";

/* A page is long and no step of it can be mended, so the first error sticks. */
struct page {
	struct gw_buf *out;
	int result;
};

static void raw(struct page *page, const char *text)
{
	if (page->result == 0)
		page->result = gw_buf_append(page->out, text, strlen(text));
}

/* Text that roff must not read as its own: backslashes, and a dot or quote at the start. */
static void text(struct page *page, const char *words)
{
	if (*words == '.' || *words == '\'')
		raw(page, "\\&");
	for (; *words && page->result == 0; words++) {
		if (*words == '\\')
			raw(page, "\\e");
		else if (*words == '-')
			raw(page, "\\-");
		else
			page->result = gw_buf_append(page->out, words, 1);
		if (*words == '\n' && (words[1] == '.' || words[1] == '\''))
			raw(page, "\\&");
	}
}

/* A macro with one argument of plain text, quoted: ".Ar \"text\"". */
static void macro(struct page *page, const char *name, const char *argument)
{
	raw(page, ".");
	raw(page, name);
	raw(page, " \"");
	for (; *argument && page->result == 0; argument++) {
		if (*argument == '"')
			raw(page, "\\(dq");
		else if (*argument == '\\')
			raw(page, "\\e");
		else if (*argument == '-')
			raw(page, "\\-");
		else
			page->result = gw_buf_append(page->out, argument, 1);
	}
	raw(page, "\"\n");
}

/* The first paragraph needs no break before it where it begins a section. */
static void paragraphs(struct page *page, const char *const *details, bool first)
{
	for (; details && *details; details++) {
		if (!first)
			raw(page, ".Pp\n");
		first = false;
		text(page, *details);
		raw(page, "\n");
	}
}

/* A section must not be empty: without details the summary stands in. */
static void description(struct page *page, const char *summary, const char *const *details)
{
	raw(page, ".Sh DESCRIPTION\n");
	paragraphs(page, details, true);
	if (!details || !*details) {
		text(page, summary);
		raw(page, "\n");
	}
}

static void head(struct page *page, const char *name, int section, const char *summary)
{
	char line[160];
	char upper[64];
	size_t i;

	for (i = 0; name[i] && i + 1 < sizeof(upper); i++)
		upper[i] = (char)toupper((unsigned char)name[i]);
	upper[i] = '\0';
	(void)snprintf(line, sizeof(line), ".Dd %s\n.Dt %s %d\n.Os Godwit %s\n.Sh NAME\n",
		       page_date, upper, section, GODWIT_VERSION);
	raw(page, line);
	macro(page, "Nm", name);
	macro(page, "Nd", summary);
}

/* "(type and range; default; required)", as far as there is something to say. */
static void shape_and_default(struct page *page, const struct gw_schema *field, bool option)
{
	const char *separator = "\n(";
	char shape[240] = "";

	if (option && field->type == GW_SCHEMA_LIST)
		(void)snprintf(shape, sizeof(shape), "may be repeated");
	else if (!(option && (field->type == GW_SCHEMA_TEXT || field->type == GW_SCHEMA_BOOL)))
		gw_schema_describe(field, shape, sizeof(shape));
	if (*shape) {
		raw(page, separator);
		text(page, shape);
		separator = "; ";
	}
	if (field->fallback) {
		raw(page, separator);
		raw(page, "default ");
		text(page, field->fallback);
		separator = "; ";
	}
	if (field->required) {
		raw(page, separator);
		raw(page, "required");
		separator = "; ";
	}
	raw(page, *separator == ';' ? ")\n" : "\n");
}

static void options(struct page *page, const struct gw_option *option)
{
	if (!option || !option->value.key)
		return;
	raw(page, ".Bl -tag -width Ds\n");
	for (; option->value.key; option++) {
		char letter[16] = "";

		if (option->letter)
			(void)snprintf(letter, sizeof(letter), "Fl %c , ", option->letter);
		raw(page, ".It ");
		raw(page, letter);
		raw(page, "Fl \\-");
		text(page, option->value.key);
		if (option->argument) {
			raw(page, " Ar ");
			raw(page, option->argument);
		}
		raw(page, "\n");
		text(page, option->value.help);
		shape_and_default(page, &option->value, true);
	}
	raw(page, ".El\n");
}

static void examples(struct page *page, const struct gw_example *example)
{
	for (; example && example->command; example++) {
		raw(page, ".Pp\n");
		text(page, example->help);
		raw(page, "\n.Dl ");
		text(page, example->command);
		raw(page, "\n");
	}
}

static bool has_examples(const struct gw_program *program)
{
	for (const struct gw_command *command = program->commands; command->name; command++) {
		if (command->examples && command->examples->command)
			return true;
	}
	return false;
}

static void synopsis(struct page *page, const struct gw_program *program)
{
	raw(page, ".Sh SYNOPSIS\n");
	for (const struct gw_command *command = program->commands; command->name; command++) {
		macro(page, "Nm", program->name);
		if (gw_program_has_commands(program))
			macro(page, "Cm", command->name);
		raw(page, ".Op Ar OPTION ...\n");
		if (command->operands)
			macro(page, "Ar", command->operands);
		if (command[1].name)
			raw(page, ".Pp\n");
	}
}

static void commands(struct page *page, const struct gw_program *program)
{
	raw(page, ".Sh COMMANDS\n");
	for (const struct gw_command *command = program->commands; command->name; command++) {
		macro(page, "Ss", command->name);
		text(page, command->summary);
		raw(page, "\n");
		paragraphs(page, command->details, false);
		options(page, command->options);
	}
}

/* "0 success": the first word is the tag. */
static void tagged(struct page *page, const char *title, const char *tag, const char *const *lines)
{
	if (!lines)
		return;
	macro(page, "Sh", title);
	raw(page, ".Bl -tag -width Ds\n");
	for (; *lines; lines++) {
		size_t length = strcspn(*lines, " ");
		char word[128];

		(void)snprintf(word, sizeof(word), "%.*s", (int)length, *lines);
		raw(page, ".It ");
		raw(page, tag);
		text(page, word);
		raw(page, "\n");
		text(page, *lines + length + strspn(*lines + length, " "));
		raw(page, "\n");
	}
	raw(page, ".El\n");
}

/* "godwit-agent(8)" as a cross reference. */
static void see_also(struct page *page, const char *const *names)
{
	if (!names)
		return;
	raw(page, ".Sh SEE ALSO\n");
	for (; *names; names++) {
		size_t length = strcspn(*names, "(");
		char line[128];

		(void)snprintf(line, sizeof(line), ".Xr %.*s %.1s%s\n", (int)length, *names,
			       (*names)[length] ? *names + length + 1 : "7", names[1] ? " ," : "");
		raw(page, line);
	}
}

static const struct gw_option builtin[] = {
	{.value = {.key = "help", .type = GW_SCHEMA_BOOL, .help = "print a short help and leave"},
	 .letter = 'h'},
	{.value = {.key = "version",
		   .type = GW_SCHEMA_BOOL,
		   .help = "print the version and leave"}},
	{.value = {.key = "man",
		   .type = GW_SCHEMA_BOOL,
		   .help = "print this page in mdoc and leave"}},
	{.value = {.key = "completion",
		   .type = GW_SCHEMA_TEXT,
		   .help = "print a completion script for this shell and leave; bash is known"},
	 .argument = "SHELL"},
	{.value = {.key = NULL}},
};

int gw_program_man(const struct gw_program *program, struct gw_buf *out)
{
	bool has_commands = gw_program_has_commands(program);
	struct page page = {out, 0};

	head(&page, program->name, program->section, program->summary);
	synopsis(&page, program);
	if (has_commands) {
		description(&page, program->summary, program->details);
		commands(&page, program);
		raw(&page, ".Sh COMMON OPTIONS\n");
	} else {
		description(&page, program->commands->summary, program->details);
		paragraphs(&page, program->commands->details, false);
		raw(&page, ".Sh OPTIONS\n");
		options(&page, program->commands->options);
	}
	options(&page, program->common);
	options(&page, builtin);
	tagged(&page, "FILES", "Pa ", program->files);
	tagged(&page, "EXIT STATUS", "", program->exit_codes);
	if (has_examples(program)) {
		raw(&page, ".Sh EXAMPLES\n");
		for (const struct gw_command *command = program->commands; command->name; command++)
			examples(&page, command->examples);
	}
	see_also(&page, program->see_also);
	return page.result;
}

/* Where the walk through nested tables stands. */
struct level {
	const struct gw_schema *field;
	size_t prefix; /* length of the path's part above this level */
};

/* The table below a field, if it has one; `ret_list`: it describes a list's elements. */
static const struct gw_schema *below(const struct gw_schema *field, bool *ret_list)
{
	*ret_list = field->type == GW_SCHEMA_LIST && field->item->type == GW_SCHEMA_MAP;
	if (*ret_list)
		return field->item->fields;
	return field->type == GW_SCHEMA_MAP ? field->fields : NULL;
}

/* Every key by its full path, "resources.cpu" or "sites[].name", depth first. */
static void keys(struct page *page, const struct gw_schema *fields)
{
	struct level stack[GW_SCHEMA_DEPTH_MAX] = {{fields, 0}};
	char path[256];
	uint32_t depth = 1;

	raw(page, ".Bl -tag -width Ds\n");
	while (depth > 0 && page->result == 0) {
		struct level *level = &stack[depth - 1];
		const struct gw_schema *field = level->field++;
		const struct gw_schema *nested;
		bool list;

		if (!field->key) {
			depth--;
			continue;
		}
		if (field->gone)
			continue;
		(void)snprintf(path + level->prefix, sizeof(path) - level->prefix, "%s",
			       field->key);
		macro(page, "It Cm", path);
		text(page, field->help ? field->help : "");
		shape_and_default(page, field, false);
		nested = below(field, &list);
		if (nested) {
			size_t length = strlen(path);

			CHECK(depth < GW_SCHEMA_DEPTH_MAX);
			CHECK(length + 4 < sizeof(path));
			(void)snprintf(path + length, sizeof(path) - length, list ? "[]." : ".");
			stack[depth++] = (struct level){nested, length + (list ? 3 : 1)};
		}
	}
	raw(page, ".El\n");
}

int gw_format_man(const struct gw_program *program, const struct gw_format *format,
		  struct gw_buf *out)
{
	struct page page = {out, 0};
	char line[128];

	head(&page, format->name, 5, format->summary);
	description(&page, format->summary, format->details);
	raw(&page, ".Sh KEYS\n");
	keys(&page, format->fields);
	if (format->examples) {
		raw(&page, ".Sh EXAMPLES\n");
		for (const char *const *example = format->examples; *example; example++) {
			raw(&page, ".Bd -literal -offset indent\n");
			text(&page, *example);
			raw(&page, ".Ed\n");
		}
	}
	(void)snprintf(line, sizeof(line), ".Sh SEE ALSO\n.Xr %s %d\n", program->name,
		       program->section);
	raw(&page, line);
	return page.result;
}
