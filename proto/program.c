/* What a program's frame prints: texts to stdout, usage errors to stderr. */
#include "proto/program.h"

#include <errno.h>
#include <stdio.h>

#include "proto/base/buf.h"
#include "proto/option.h"

#define USAGE_BYTES_MAX 4096u

enum exit_code {
	EXIT_GOOD = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

int gw_program_fail(const struct gw_program *program, const struct gw_command *command,
		    const char *text)
{
	struct gw_buf usage;

	gw_buf_init(&usage, USAGE_BYTES_MAX);
	(void)fprintf(stderr, "%s: %s\n", program->name, text);
	if (gw_program_usage(program, command, &usage) == 0)
		(void)fprintf(stderr, "%sTry --help.\n", usage.bytes);
	gw_buf_deinit(&usage);
	return EXIT_USAGE;
}

int gw_program_print(int result, struct gw_buf *text)
{
	if (result == 0 &&
	    (fwrite(text->bytes, 1, text->size, stdout) != text->size || fflush(stdout) != 0))
		result = -EIO;
	gw_buf_deinit(text);
	return result < 0 ? EXIT_FAILED : EXIT_GOOD;
}
