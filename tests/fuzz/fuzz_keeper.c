/*
 * Arbitrary bytes as a client's datagram to the keeper. Whatever comes: a request whose every field
 * is in its range, or a sentence.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/keeper/protocol.h"
#include "agent/keeper/request.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/rlimit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_spawn(const Godwit__KeeperSpawn *spawn)
{
	const Godwit__TaskStart *start = spawn->start;

	CHECK(start->n_arguments >= 1);
	CHECK(start->n_arguments <= GW_ARGS_MAX);
	for (size_t i = 0; i < start->n_arguments; i++)
		CHECK(strlen(start->arguments[i]) < GW_KEEPER_MESSAGE_BYTES_MAX);
	CHECK(start->n_environment <= GW_ENV_MAX);
	for (size_t i = 0; i < start->n_environment; i++)
		CHECK(strchr(start->environment[i], '=') > start->environment[i]);
	CHECK(!*start->working_directory || start->working_directory[0] == '/');
	CHECK(!strstr(start->working_directory, "/../"));
	CHECK(strlen(start->user) <= GW_NAME_BYTES_MAX);
	CHECK(spawn->n_rlimits <= GW_RLIMITS_MAX);
	for (size_t i = 0; i < spawn->n_rlimits; i++)
		CHECK(gw_rlimit_find(spawn->rlimits[i]->name, strlen(spawn->rlimits[i]->name),
				     NULL) >= 0);
}

static void check_read(const Godwit__LogRead *read)
{
	CHECK(read->stream == 1 || read->stream == 2);
	CHECK(read->bytes_max >= 1);
	CHECK(read->bytes_max <= GW_KEEPER_READ_BYTES_MAX);
	CHECK(read->wait_us <= GW_KEEPER_WAIT_US_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char error[GW_REQUEST_ERROR_BYTES] = "";
	struct gw_request request;
	struct gw_arena arena;

	gw_arena_init(&arena, GW_KEEPER_DECODE_BYTES_MAX);
	if (gw_request_decode(&arena, bytes, size, &request, error)) {
		CHECK(error[0] != '\0');
	} else {
		if (request.kind != GW_REQUEST_HELLO && request.kind != GW_REQUEST_LIST)
			CHECK(request.attempt.attempt > 0);
		if (request.kind == GW_REQUEST_SPAWN)
			check_spawn(request.message->spawn);
		if (request.kind == GW_REQUEST_READ)
			check_read(request.message->read);
	}
	CHECK(arena.used_bytes <= GW_KEEPER_DECODE_BYTES_MAX);
	gw_arena_deinit(&arena);
	return 0;
}
