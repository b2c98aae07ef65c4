/* Every field of every request against its range. */
#include "agent/keeper/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/keeper/launch.h"
#include "agent/keeper/output.h"
#include "agent/keeper/protocol.h"
#include "proto/base/limits.h"
#include "proto/wire.h"

#define PATH_BYTES_MAX 4095u

__attribute__((format(printf, 2, 3))) static int refuse(char *ret_error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(ret_error, GW_REQUEST_ERROR_BYTES, format, arguments);
	va_end(arguments);
	return -EPROTO;
}

static int check_strings(const char *what, char *const *texts, size_t count, size_t count_max,
			 char *ret_error)
{
	if (count > count_max)
		return refuse(ret_error, "a task has %zu %s, but at most %zu are allowed", count,
			      what, count_max);
	for (size_t i = 0; i < count; i++)
		if (!texts[i])
			return refuse(ret_error, "one of the %s is missing", what);
	return 0;
}

static int check_environment(const Godwit__TaskStart *start, char *ret_error)
{
	int result = check_strings("environment entries", start->environment, start->n_environment,
				   GW_ENV_MAX, ret_error);

	for (size_t i = 0; !result && i < start->n_environment; i++) {
		const char *equals = strchr(start->environment[i], '=');

		if (!equals || equals == start->environment[i])
			result =
				refuse(ret_error, "environment entry %zu is not NAME=value", i + 1);
	}
	return result;
}

/* Absolute and without "..", or empty. */
static int check_folder(const char *path, char *ret_error)
{
	if (!path || !*path)
		return 0;
	if (path[0] != '/')
		return refuse(ret_error, "the working folder must be an absolute path");
	if (strlen(path) > PATH_BYTES_MAX)
		return refuse(ret_error, "the working folder's path is longer than %u bytes",
			      PATH_BYTES_MAX);
	for (const char *at = path; (at = strstr(at, "/..")); at += 3)
		if (at[3] == '/' || at[3] == '\0')
			return refuse(ret_error,
				      "the working folder's path may not contain \"..\"");
	return 0;
}

static int check_rlimits(const Godwit__KeeperSpawn *spawn, char *ret_error)
{
	if (spawn->n_rlimits > GW_RLIMITS_MAX)
		return refuse(ret_error, "more than %u resource limits", GW_RLIMITS_MAX);
	for (size_t i = 0; i < spawn->n_rlimits; i++) {
		const Godwit__KeeperRlimit *rlimit = spawn->rlimits[i];

		if (!rlimit->name || gw_rlimit_find(rlimit->name, strlen(rlimit->name), NULL) < 0)
			return refuse(ret_error,
				      "resource limit %zu has a name that setrlimit(2) "
				      "does not know",
				      i + 1);
		if (rlimit->soft > rlimit->hard)
			return refuse(ret_error, "resource limit %s is softer than hard allows",
				      rlimit->name);
	}
	return 0;
}

static int check_spawn(const Godwit__KeeperSpawn *spawn, char *ret_error)
{
	const Godwit__TaskStart *start = spawn->start;
	int result;

	if (start->n_arguments == 0 || !start->arguments[0] || !*start->arguments[0])
		return refuse(ret_error, "a task needs a program to run");
	result = check_strings("arguments", start->arguments, start->n_arguments, GW_ARGS_MAX,
			       ret_error);
	if (!result)
		result = check_environment(start, ret_error);
	if (!result)
		result = check_folder(start->working_directory, ret_error);
	if (!result)
		result = check_rlimits(spawn, ret_error);
	if (result)
		return result;
	if (start->user && strlen(start->user) > GW_NAME_BYTES_MAX)
		return refuse(ret_error, "the user's name is longer than %u bytes",
			      GW_NAME_BYTES_MAX);
	if (start->output_bytes_max && (start->output_bytes_max < GW_OUTPUT_BYTES_MIN ||
					start->output_bytes_max > GW_OUTPUT_BYTES_MAX))
		return refuse(ret_error, "output_bytes_max must lie between %llu and %llu",
			      GW_OUTPUT_BYTES_MIN, GW_OUTPUT_BYTES_MAX);
	if (start->grace_us > GW_REQUEST_GRACE_US_MAX)
		return refuse(ret_error, "the grace is longer than a day");
	return 0;
}

static int check_read(const Godwit__LogRead *read, char *ret_error)
{
	if (read->stream != 1 && read->stream != 2)
		return refuse(ret_error, "stream %u is neither 1 (stdout) nor 2 (stderr)",
			      read->stream);
	if (read->bytes_max == 0 || read->bytes_max > GW_KEEPER_READ_BYTES_MAX)
		return refuse(ret_error, "a read asks for 1 to %u bytes, not %u",
			      GW_KEEPER_READ_BYTES_MAX, read->bytes_max);
	if (read->wait_us > GW_KEEPER_WAIT_US_MAX)
		return refuse(ret_error, "a read waits at most %llu us", GW_KEEPER_WAIT_US_MAX);
	return 0;
}

static int check_attempt(const Godwit__AttemptRef *ref, struct gw_request *request, char *ret_error)
{
	if (!gw_wire_read_attempt(ref, &request->attempt))
		return refuse(ret_error, "the attempt's job id does not have 16 bytes");
	if (request->attempt.attempt == 0)
		return refuse(ret_error, "attempts are numbered from 1");
	return 0;
}

static int check_kind(struct gw_request *request, char *ret_error)
{
	const Godwit__KeeperMessage *message = request->message;
	int result;

	switch (message->kind_case) {
	case GODWIT__KEEPER_MESSAGE__KIND_HELLO:
		request->kind = GW_REQUEST_HELLO;
		if (message->hello->version_min == 0 ||
		    message->hello->version_min > message->hello->version_max)
			return refuse(ret_error, "the hello's versions are not a range");
		return 0;
	case GODWIT__KEEPER_MESSAGE__KIND_SPAWN:
		request->kind = GW_REQUEST_SPAWN;
		if (!message->spawn->start)
			return refuse(ret_error, "a spawn without a task");
		result = check_attempt(message->spawn->start->attempt, request, ret_error);
		return result ? result : check_spawn(message->spawn, ret_error);
	case GODWIT__KEEPER_MESSAGE__KIND_KILL:
		request->kind = GW_REQUEST_KILL;
		if (message->kill->grace_us > GW_REQUEST_GRACE_US_MAX)
			return refuse(ret_error, "the grace is longer than a day");
		return check_attempt(message->kill->attempt, request, ret_error);
	case GODWIT__KEEPER_MESSAGE__KIND_READ:
		request->kind = GW_REQUEST_READ;
		result = check_attempt(message->read->attempt, request, ret_error);
		return result ? result : check_read(message->read, ret_error);
	case GODWIT__KEEPER_MESSAGE__KIND_ACKNOWLEDGE:
		request->kind = GW_REQUEST_ACKNOWLEDGE;
		return check_attempt(message->acknowledge->attempt, request, ret_error);
	case GODWIT__KEEPER_MESSAGE__KIND_LIST:
		request->kind = GW_REQUEST_LIST;
		return 0;
	case GODWIT__KEEPER_MESSAGE__KIND_RENEW:
		request->kind = GW_REQUEST_RENEW;
		return 0;
	case GODWIT__KEEPER_MESSAGE__KIND__NOT_SET:
	case GODWIT__KEEPER_MESSAGE__KIND_STATUS:
	case GODWIT__KEEPER_MESSAGE__KIND_OUTPUT:
	case GODWIT__KEEPER_MESSAGE__KIND_REFUSAL:
	case GODWIT__KEEPER_MESSAGE__KIND_LISTED:
	case _GODWIT__KEEPER_MESSAGE__KIND__CASE_IS_INT_SIZE:
		break;
	}
	return refuse(ret_error, "this is not a request that a keeper knows");
}

int gw_request_decode(struct gw_arena *arena, const uint8_t *bytes, size_t size,
		      struct gw_request *ret_request, char *ret_error)
{
	const Godwit__KeeperMessage *message;

	*ret_request = (struct gw_request){0};
	if (size > GW_KEEPER_MESSAGE_BYTES_MAX)
		return refuse(ret_error, "a message of %zu bytes; at most %u are allowed", size,
			      GW_KEEPER_MESSAGE_BYTES_MAX);
	message = gw_wire_decode(&godwit__keeper_message__descriptor, arena, bytes, size);
	if (!message)
		return refuse(ret_error, "a message of %zu bytes that is not a KeeperMessage",
			      size);
	ret_request->message = message;
	ret_request->request = message->request;
	ret_request->version = message->version;
	return check_kind(ret_request, ret_error);
}
