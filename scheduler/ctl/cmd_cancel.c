/* godwit cancel: ends jobs. */
#include <stdio.h>

#include "scheduler/ctl/ctl.h"

static int cancel_all(struct ctl *ctl, int count, char **names, json_t *cancelled)
{
	int code = 0;

	for (int i = 0; i < count && code == 0; i++) {
		char text[GW_ID_TEXT_BYTES];
		struct gw_id id;

		if (!ctl_find_job(ctl, names[i], &id))
			return 1;
		code = ctl_cancel(ctl, &id);
		if (code != 0)
			break;
		gw_id_format(id, text);
		if (cancelled)
			(void)json_array_append_new(cancelled, json_string(text));
		else
			(void)printf("Cancelled %s.\n", text);
	}
	return code;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct ctl_options *common = options;
	json_t *cancelled = common->json ? json_array() : NULL;
	struct ctl ctl;
	int code = ctl_open(&ctl, common);

	(void)command;
	if (code == 0)
		code = cancel_all(&ctl, operand_count, operands, cancelled);
	if (code == 0 && common->json)
		code = ctl_print_json(json_pack("{s:O}", "cancelled", cancelled));
	json_decref(cancelled);
	ctl_close(&ctl);
	return code;
}

static const char *const details[] = {
	"A JOB is its id, the last number of its id, or its name (then the newest of that name). "
	"Tasks "
	"that run get the signal TERM, and KILL after the job's grace.",
	NULL,
};

const struct gw_command ctl_cmd_cancel = {
	.name = "cancel",
	.summary = "End jobs.",
	.operands = "JOB ...",
	.operands_min = 1,
	.operands_max = 1000,
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
