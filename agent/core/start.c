/* What a TaskStart must be before it reaches the keeper: in bounds and complete, each fault with
 * its sentence. Whether the host can do it is the keeper's to say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/state.h"
#include "proto/base/limits.h"
#include "proto/rlimit.h"

#define DEVICES_MAX 64u
#define PATH_BYTES_MAX GW_PATH_BYTES_MAX

static int fault(char *ret_text, size_t size, const char *text)
{
	(void)snprintf(ret_text, size, "%s", text); /* cut at the size: still a sentence */
	return -EINVAL;
}

static int check_environment(const Godwit__TaskStart *start, char *ret_text, size_t size)
{
	for (size_t i = 0; i < start->n_environment; i++) {
		const char *equals = strchr(start->environment[i], '=');

		if (!equals || equals == start->environment[i]) {
			(void)snprintf(ret_text, size, /* cut at the size */
				       "environment entry %zu is not NAME=value", i);
			return -EINVAL;
		}
	}
	return 0;
}

static bool may_name(const struct gw_agent_config *config, const char *user)
{
	if (config->task_user && !strcmp(user, config->task_user))
		return true;
	for (uint32_t i = 0; i < config->task_user_count; i++)
		if (!strcmp(user, config->task_users[i]))
			return true;
	return false;
}

int gw_start_check(const Godwit__TaskStart *start, const struct gw_agent_config *config,
		   char *ret_text, size_t size)
{
	struct gw_rlimit limits[GW_RLIMITS_MAX];
	char text[GW_RLIMIT_ERROR_BYTES];

	if (start->n_arguments == 0 || start->arguments[0][0] == '\0')
		return fault(ret_text, size, "the start names no program");
	if (start->n_arguments > GW_ARGS_MAX)
		return fault(ret_text, size, "the start has more than 256 arguments");
	if (start->n_environment > GW_ENV_MAX)
		return fault(ret_text, size, "the start has more than 256 environment entries");
	if (start->n_device_uuids > DEVICES_MAX)
		return fault(ret_text, size, "the start has more than 64 devices");
	if (strlen(start->working_directory) > PATH_BYTES_MAX)
		return fault(ret_text, size, "the working directory's path is too long");
	if (start->working_directory[0] != '\0' && start->working_directory[0] != '/')
		return fault(ret_text, size, "the working directory is not an absolute path");
	if (strlen(start->user) > GW_NAME_BYTES_MAX)
		return fault(ret_text, size, "the user's name is too long");
	if (start->user[0] != '\0' && !may_name(config, start->user)) {
		(void)snprintf(ret_text, size, "this node lets no task run as user \"%s\"",
			       start->user);
		return -EINVAL;
	}
	if (gw_rlimits_parse(start->rlimits, start->n_rlimits, limits, text) < 0)
		return fault(ret_text, size, text);
	if (gw_wire_size(&start->base) > config->start_bytes_max)
		return fault(ret_text, size, "the start is larger than the keeper takes");
	return check_environment(start, ret_text, size);
}
