/*
 * The two places where a program's frame (proto/option) prints: the one exception to floor 0's
 * purity, kept in a file and a library of its own.
 */
#ifndef GODWIT_PROTO_PROGRAM_H
#define GODWIT_PROTO_PROGRAM_H

struct gw_buf;
struct gw_command;
struct gw_program;

/* Prints the text to stdout if `result`, of building it, is 0; frees it. Returns the exit code. */
int gw_program_print(int result, struct gw_buf *text);
/* Prints a usage error and the usage line to stderr. Returns the exit code. */
int gw_program_fail(const struct gw_program *program, const struct gw_command *command,
		    const char *text);

#endif
