/* godwit revoke: an operator ends an identity. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/ctl/ctl.h"

struct revoke_options {
	struct ctl_options common;
	const char *reason;
};

static const struct gw_option option[] = {
	{.value = {.key = "reason",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct revoke_options, reason),
		   .max = 200,
		   .fallback = "revoked by an operator",
		   .help = "why, for the scheduler's record"},
	 .argument = "TEXT"},
	{.value = {.key = NULL}},
};

static int revoke(struct ctl *ctl, char *node, const char *reason)
{
	Godwit__RevokeRequest ask = GODWIT__REVOKE_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__RevokeReply *reply;
	const Godwit__Body *body;

	ask.node = node;
	ask.reason = gw_arena_copy(&ctl->arena, reason, strlen(reason) + 1);
	if (!ask.reason)
		return ctl_fail(ctl->options, "out of memory");
	request.kind_case = GODWIT__BODY__KIND_REVOKE_REQUEST;
	request.revoke_request = &ask;
	body = ctl_call(ctl, &request, GODWIT__BODY__KIND_REVOKE_REPLY);
	if (!body)
		return 1;
	reply = body->revoke_reply;
	if (*reply->error)
		return ctl_fail(ctl->options, "%s.", reply->error);
	if (ctl->options->json)
		return ctl_print_message(&reply->base);
	(void)printf("Revoked %s.\n", node);
	return 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct revoke_options *revoked = options;
	struct ctl ctl;
	int code = ctl_open(&ctl, &revoked->common);

	(void)command;
	(void)operand_count;
	if (code == 0)
		code = revoke(&ctl, operands[0], revoked->reason);
	ctl_close(&ctl);
	return code;
}

static const char *const details[] = {
	"The identity is refused on its next message and its connection is shut. This needs the "
	"role "
	"of an operator.",
	NULL,
};

const struct gw_command ctl_cmd_revoke = {
	.name = "revoke",
	.summary = "Refuse a node or user from now on.",
	.operands = "NODE",
	.operands_min = 1,
	.operands_max = 1,
	.options = option,
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct revoke_options),
};
