/* godwit plan: where a job would run now, what is predicted, and why other sites would not do. */
#include <stdio.h>

#include "scheduler/ctl/ctl.h"

static int plan(struct ctl *ctl, const Godwit__JobSpec *spec)
{
	const Godwit__SubmitReply *reply = ctl_submit(ctl, spec, true);
	int code;

	if (!reply)
		return 1;
	code = *reply->error != '\0';
	if (ctl->options->json)
		return ctl_print_message(&reply->base) != 0 ? 1 : code;
	if (code != 0)
		(void)ctl_fail(ctl->options, "no plan: %s.", reply->error);
	ctl_show_placements(reply->n_placements, reply->placements);
	ctl_show_prediction(reply->prediction);
	ctl_show_verdicts(reply->n_verdicts, reply->verdicts);
	return code;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const Godwit__JobSpec *spec;
	struct ctl ctl;
	int code = 1;

	(void)command;
	(void)operand_count;
	ctl_init(&ctl, options);
	spec = ctl_read_spec(&ctl, operands[0]);
	if (spec)
		code = ctl_connect(&ctl);
	if (spec && code == 0)
		code = plan(&ctl, spec);
	ctl_close(&ctl);
	return code;
}

static const char *const details[] = {
	"Nothing is submitted and nothing is reserved: a moment later the plan may be another.",
	NULL,
};

const struct gw_command ctl_cmd_plan = {
	.name = "plan",
	.summary = "Show where a job spec would run now, and what it would lose to distance.",
	.operands = "SPEC",
	.operands_min = 1,
	.operands_max = 1,
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
