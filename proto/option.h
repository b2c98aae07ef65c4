/*
 * Command lines by tables: the parser, --help, the man page (mdoc) and shell completion come from
 * the same entries. Values use the types and units of proto/schema. Pure: text in, text out; the
 * program prints and exits.
 */
#ifndef GODWIT_PROTO_OPTION_H
#define GODWIT_PROTO_OPTION_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/schema.h"

struct gw_option {
	struct gw_schema value; /* key: the long name without dashes; BOOL takes no argument */
	char letter;            /* short form, or 0 */
	const char *argument;   /* how --help names the argument, "FILE"; NULL for BOOL */
};

struct gw_example {
	const char *command;
	const char *help;
};

struct gw_command {
	const char *name; /* "submit"; the program's own name for a program without sub-commands */
	const char *summary;  /* one line */
	const char *operands; /* "SPEC.yaml", "[JOB ...]", "-- COMMAND [ARGUMENT ...]", or NULL */
	unsigned operands_min;
	unsigned operands_max;
	const struct gw_option *options;   /* ends with a value.key of NULL; NULL: none */
	const char *const *details;        /* paragraphs, NULL-ended; NULL: none */
	const struct gw_example *examples; /* ends with a command of NULL; NULL: none */
	int (*run)(const struct gw_command *command, void *options, int operand_count,
		   char **operands);
	size_t options_bytes; /* sizeof the struct that the options fill; zeroed, then defaults */
};

/* A file format that the program reads; gets a man page of section 5. */
struct gw_format {
	const char *name; /* "godwit-job" */
	const char *summary;
	const char *const *details;     /* paragraphs, NULL-ended; NULL: none */
	const struct gw_schema *fields; /* the table that the parser uses */
	const char *const *examples;    /* whole files, NULL-ended; NULL: none */
};

struct gw_program {
	const char *name;
	const char *summary;
	const char *const *details;
	const struct gw_command *commands; /* ends with a name of NULL; one command with the
					      program's own name: no sub-commands */
	const struct gw_option *common;    /* options of every command; may be NULL */
	const char *const *exit_codes;     /* "0 success", NULL-ended */
	const char *const *files;          /* "PATH what", NULL-ended; may be NULL */
	const char *const *see_also;       /* "godwit-agent(8)"; may be NULL */
	int section;                       /* of the manual: 1 or 8 */
	const struct gw_format *formats;   /* ends with a name of NULL; may be NULL */
};

/*
 * The whole of a main(): finds the command, parses, runs it and returns the exit code. --help and
 * --version print to stdout and give 0; `--man` prints the man page (`--man NAME` that of a
 * format),
 * `--completion bash` the completion script; a usage error prints one sentence and the usage line
 * to stderr and gives 2. A command's options struct begins with the struct of the common options.
 * Common options may stand before the command's name.
 */
int gw_program_main(const struct gw_program *program, int argc, char **argv);

/* The pieces, for tests and other outputs. Texts are appended to `out`. 0; -ENOBUFS, -ENOMEM. */
int gw_program_help(const struct gw_program *program, const struct gw_command *command,
		    struct gw_buf *out); /* command NULL: of the program */
int gw_program_usage(const struct gw_program *program, const struct gw_command *command,
		     struct gw_buf *out); /* its first line alone */
int gw_program_man(const struct gw_program *program, struct gw_buf *out);
int gw_format_man(const struct gw_program *program, const struct gw_format *format,
		  struct gw_buf *out);
int gw_program_completion(const struct gw_program *program, struct gw_buf *out);
/* True: the program has sub-commands. */
bool gw_program_has_commands(const struct gw_program *program);

/*
 * Parses argv (without program and command names) into ret_options and the operands, in place.
 * 0, or -EINVAL with a sentence. Everything after "--" is an operand; where the command's
 * `operands` begin with "--", everything from the first operand on is one. A LIST option may be
 * given several times, and its text then stands in the elements; a mark kept beside a value has a
 * line of 0 unless the option was given.
 */
int gw_command_parse(const struct gw_program *program, const struct gw_command *command, int argc,
		     char **argv, void *ret_options, int *ret_operand_count, char ***ret_operands,
		     struct gw_arena *arena, struct gw_parse_error *ret_error);

#endif
