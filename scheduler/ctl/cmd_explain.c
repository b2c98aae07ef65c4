/* godwit explain: why a job is where it is, or is not. */
#include <stdio.h>

#include "scheduler/ctl/ctl.h"

static int explain(struct ctl *ctl, const char *job)
{
	Godwit__ExplainRequest ask = GODWIT__EXPLAIN_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__ExplainReply *reply;
	const Godwit__Body *body;
	struct gw_id id;

	if (!ctl_find_job(ctl, job, &id))
		return 1;
	ask.job = gw_wire_id(&id);
	request.kind_case = GODWIT__BODY__KIND_EXPLAIN_REQUEST;
	request.explain_request = &ask;
	body = ctl_call(ctl, &request, GODWIT__BODY__KIND_EXPLAIN_REPLY);
	if (!body)
		return 1;
	reply = body->explain_reply;
	if (*reply->error)
		return ctl_fail(ctl->options, "%s.", reply->error);
	if (ctl->options->json)
		return ctl_print_message(&reply->base);
	(void)printf("%s\n", reply->text);
	ctl_show_verdicts(reply->n_verdicts, reply->verdicts);
	return 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	struct ctl ctl;
	int code = ctl_open(&ctl, options);

	(void)command;
	(void)operand_count;
	if (code == 0)
		code = explain(&ctl, operands[0]);
	ctl_close(&ctl);
	return code;
}

const struct gw_command ctl_cmd_explain = {
	.name = "explain",
	.summary = "Say why a job runs where it does, or why it waits.",
	.operands = "JOB",
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
