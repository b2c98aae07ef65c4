/* What --json prints: one value on stdout. */
#include "proto/json.h"

#include <stdio.h>

#include "scheduler/ctl/ctl.h"

int ctl_print_json(json_t *value)
{
	int result = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;

	json_decref(value);
	if (result < 0 || fputc('\n', stdout) == EOF || fflush(stdout) != 0) {
		(void)fprintf(stderr, "godwit: the answer could not be printed\n");
		return 1;
	}
	return 0;
}

int ctl_print_message(const ProtobufCMessage *message)
{
	return ctl_print_json(gw_json_message(message));
}
