/* godwit version: of this program, and of the region's scheduler where one is reached. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/limits.h"
#include "proto/json.h"
#include "scheduler/ctl/ctl.h"

static const Godwit__VersionReply *ask(struct ctl *ctl)
{
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	struct gw_fault fault;
	const Godwit__Body *body;
	char directory[4096];

	request.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	request.version_request = &version;
	if (!ctl_directory(ctl->options, directory, sizeof(directory)) ||
	    gw_client_open_directory(directory, NULL, NULL, ctl->options->timeout_us, &ctl->client,
				     &fault) < 0 ||
	    ctl_try(ctl, &request, GODWIT__BODY__KIND_VERSION_REPLY, ctl->options->timeout_us,
		    &body, &fault) < 0)
		return NULL;
	return body->version_reply;
}

/* A scheduler that is not reached is no failure: what was asked of this program is answered. */
static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct ctl_options *common = options;
	struct ctl ctl = {.options = common};
	const Godwit__VersionReply *reply = ask(&ctl);
	int code = 0;

	(void)command;
	(void)operand_count;
	(void)operands;
	if (common->json) {
		code = ctl_print_json(json_pack(
			"{s:s, s:i, s:i, s:o}", "version", GODWIT_VERSION, "protocol_min",
			(int)GW_PROTOCOL_MIN, "protocol_max", (int)GW_PROTOCOL_MAX, "scheduler",
			reply ? gw_json_message(&reply->base) : json_null()));
	} else {
		(void)printf("godwit %s, protocol %u to %u\n", GODWIT_VERSION, GW_PROTOCOL_MIN,
			     GW_PROTOCOL_MAX);
		if (reply)
			(void)printf("scheduler of region %s: %s, protocol %" PRIu32 " to %" PRIu32
				     "\n",
				     reply->region, reply->version, reply->protocol_min,
				     reply->protocol_max);
		else
			(void)printf("no scheduler reached\n");
	}
	ctl_close(&ctl);
	return code;
}

const struct gw_command ctl_cmd_version = {
	.name = "version",
	.summary = "Print the versions of this program and of the scheduler.",
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
