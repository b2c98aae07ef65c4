/* godwit join: a ticket becomes an identity of its region. */
#include <stddef.h>
#include <stdio.h>

#include "proto/cert.h"
#include "scheduler/ctl/ctl.h"
#include "transport/curve.h"
#include "transport/enrol.h"

struct join_options {
	struct ctl_options common;
	const char *name;
};

static const struct gw_option option[] = {
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct join_options, name),
		   .min = 1,
		   .max = GW_NAME_BYTES_MAX,
		   .help = "your name in the region, where the ticket leaves it open"},
	 .argument = "NAME"},
	{.value = {.key = NULL}},
};

static int say_joined(const struct ctl_options *common, const char *directory)
{
	struct gw_fault fault = {""};
	struct gw_region region;
	struct gw_keys *keys;
	struct gw_cert cert;
	char node[GW_ID_TEXT_BYTES];

	if (gw_identity_load(directory, &keys, &region, &cert, &fault) < 0)
		return ctl_fail(common, "%s", fault.text);
	keys = gw_keys_free(keys);
	gw_id_format_hex(cert.node.id, node);
	if (common->json)
		return ctl_print_json(json_pack("{s:s, s:s, s:s, s:s}", "name", cert.name, "id",
						node, "region", cert.region, "directory",
						directory));
	(void)printf("Joined region %s as %s, identity %s. Try \"godwit sites\".\n", cert.region,
		     cert.name, node);
	return 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct join_options *join = options;
	struct gw_fault fault = {""};
	struct gw_ticket ticket;
	char directory[2000];

	(void)command;
	(void)operand_count;
	if (join->name && !gw_cert_name_valid(join->name))
		return ctl_misuse(&join->common,
				  "--name: a name has letters, digits, \".\", \"-\" and \"_\", "
				  "beginning with a letter or digit.");
	if (!ctl_directory(&join->common, directory, sizeof(directory)))
		return ctl_fail(&join->common, "the path of the configuration folder is too long.");
	if (gw_ticket_load(operands[0], &ticket, &fault) < 0 ||
	    gw_join(directory, &ticket, join->name ? join->name : "", join->common.timeout_us,
		    &fault) < 0)
		return ctl_fail(&join->common, "%s", fault.text);
	return say_joined(&join->common, directory);
}

static const struct gw_example examples[] = {
	{"godwit join --name ada ticket", "Become the user \"ada\" of the ticket's region."},
	{NULL, NULL},
};

const struct gw_command ctl_cmd_join = {
	.name = "join",
	.summary = "Become a user of a region, by a ticket from its operator.",
	.operands = "TICKET",
	.operands_min = 1,
	.operands_max = 1,
	.options = option,
	.examples = examples,
	.run = run,
	.options_bytes = sizeof(struct join_options),
};
