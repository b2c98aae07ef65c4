/* godwit join: a ticket becomes an identity of its region. */
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "proto/cert.h"
#include "scheduler/ctl/ctl.h"
#include "transport/curve.h"
#include "transport/enrol.h"
#include "transport/file.h"

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
		   .help = "name in the region, where the ticket leaves it open; your login if "
			   "absent, for root the host's name"},
	 .argument = "NAME"},
	{.value = {.key = NULL}},
};

/* The name asked for when none is given. False: it cannot be one. */
static bool default_name(char *ret_name, size_t size)
{
	const struct passwd *user = getuid() == 0 ? NULL : getpwuid(getuid());

	if (user)
		(void)snprintf(ret_name, size, "%s", user->pw_name);
	else if (gethostname(ret_name, size) < 0)
		return false;
	ret_name[size - 1] = '\0';
	return gw_cert_name_valid(ret_name);
}

static int say_joined(const struct ctl_options *common, const char *directory,
		      struct gw_fault *fault)
{
	struct gw_region region;
	struct gw_keys *keys;
	struct gw_cert cert;
	char node[GW_ID_TEXT_BYTES];

	if (gw_identity_load(directory, &keys, &region, &cert, fault) < 0)
		return ctl_fail(common, "%s", fault->text);
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
	char name[GW_NAME_BYTES_MAX + 1];
	struct gw_ticket ticket;
	char directory[GW_PATH_BYTES];

	(void)command;
	(void)operand_count;
	if (join->name)
		(void)snprintf(name, sizeof(name), "%s", join->name);
	if (join->name ? !gw_cert_name_valid(name) : !default_name(name, sizeof(name)))
		return ctl_misuse(&join->common,
				  "--name: a name has letters, digits, \".\", \"-\" and \"_\", "
				  "beginning with a letter or digit.");
	if (!ctl_directory(&join->common, directory, sizeof(directory)))
		return ctl_fail(&join->common, "the path of the configuration folder is too long.");
	if (gw_ticket_load(operands[0], &ticket, &fault) < 0)
		return ctl_fail(&join->common, "%s", fault.text);
	if (ticket.role == GODWIT__ROLE__ROLE_AGENT) /* before the token is spent */
		return ctl_fail(&join->common,
				"%s is a ticket for a node, not for a person: use it with "
				"godwit-agent join on that node.",
				operands[0]);
	if (gw_join(directory, &ticket, name, join->common.timeout_us, &fault) < 0)
		return ctl_fail(&join->common, "%s", fault.text);
	return say_joined(&join->common, directory, &fault);
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
