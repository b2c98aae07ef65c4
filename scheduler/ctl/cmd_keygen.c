/* godwit keygen: keys without a certificate yet. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "scheduler/ctl/ctl.h"
#include "transport/curve.h"
#include "transport/file.h"

/* Every folder of the path, as mkdir -p; the last one is private. */
static int make_folders(char *path)
{
	for (char *at = path + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct ctl_options *common = options;
	struct gw_fault fault = {""};
	struct gw_keys *keys;
	char directory[2000];
	char path[2100];
	char node[GW_ID_TEXT_BYTES];

	(void)command;
	(void)operand_count;
	(void)operands;
	if (!ctl_directory(common, directory, sizeof(directory)) ||
	    gw_file_path(path, sizeof(path), directory, GW_KEYS_FILE) < 0)
		return ctl_fail(common, "the path of the configuration folder is too long.");
	if (make_folders(directory) < 0)
		return ctl_fail(common, "the folder %s cannot be made: %s.", directory,
				strerror(errno));
	if (gw_keys_create(path, &keys, &fault) < 0)
		return ctl_fail(common, "%s", fault.text);
	gw_id_format_hex(keys->node.id, node);
	keys = gw_keys_free(keys);
	if (common->json)
		return ctl_print_json(json_pack("{s:s, s:s}", "id", node, "file", path));
	(void)printf("Made %s, identity %s.\n", path, node);
	return 0;
}

static const char *const details[] = {
	"\"godwit join\" makes keys by itself where there are none; this command is for keys that "
	"are "
	"made before there is a ticket. Keys that are there are never overwritten.",
	NULL,
};

const struct gw_command ctl_cmd_keygen = {
	.name = "keygen",
	.summary = "Make keys in the configuration folder.",
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
