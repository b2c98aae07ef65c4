/*
 * Arbitrary bytes as what an etcd server answers: each line is the answer to the next request of a
 * replica. What can be read goes on into the replica, as if an etcd had said it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/etcd_json.h"
#include "transport/replica.h"

#define REQUESTS_MAX 16u
#define STEP_US 10000u

struct owner {
	struct gw_replica *replica;
	uint64_t now_us;
	uint64_t seq;
	bool failed;
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void on_reset(void *context)
{
	struct owner *owner = context;

	owner->seq = 0;
}

static int on_piece(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	(void)context;
	(void)seq;
	CHECK(size == 0 || bytes);
	CHECK(size <= GW_REPLICA_RECORD_BYTES_MAX);
	return 0;
}

static int on_record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct owner *owner = context;

	CHECK(size == 0 || bytes);
	CHECK(seq > owner->seq);
	owner->seq = seq;
	return 0;
}

static void on_following(void *context, const char *leader, uint64_t seq)
{
	(void)context;
	(void)seq;
	CHECK(strlen(leader) < GW_REPLICA_ADDRESS_BYTES);
}

static void on_leader(void *context, uint64_t term, uint64_t seq)
{
	struct owner *owner = context;

	CHECK(term > 0);
	CHECK(gw_replica_append(owner->replica, owner->now_us, seq + 1, (const uint8_t *)"x", 1) ==
	      0);
}

static void on_text(void *context, const char *reason)
{
	(void)context;
	CHECK(reason[0] != '\0');
}

static void on_durable(void *context, uint64_t seq)
{
	(void)context;
	(void)seq;
}

static void on_failed(void *context, int error, const char *text)
{
	struct owner *owner = context;

	CHECK(error < 0);
	CHECK(text[0] != '\0');
	CHECK(!owner->failed);
	owner->failed = true;
}

static void on_members(void *context, const struct gw_replica_member *members, size_t count,
		       bool more, uint64_t revision)
{
	(void)revision;
	(void)more;
	(void)context;
	CHECK(count <= GW_REPLICA_MEMBERS_MAX);
	for (size_t i = 0; i < count; i++)
		CHECK(members[i].name[0] != '\0');
}

static void on_cert(void *context, const char *node, const uint8_t *bytes, size_t size)
{
	(void)context;
	CHECK(strlen(node) < GW_REPLICA_NAME_BYTES);
	CHECK(size == 0 || bytes);
}

static void on_cert_kept(void *context, uint64_t handle)
{
	(void)context;
	CHECK(handle == 1);
}

static void answer(struct owner *owner, const struct gw_store_request *request, const char *text,
		   size_t size)
{
	const struct gw_etcd_asked asked = {.kind = request->kind,
					    .op_count = request->op_count,
					    .else_op_count = request->else_op_count};
	struct gw_store_answer found;
	struct gw_arena arena;
	bool unauthorised;

	gw_arena_init(&arena, GW_ETCD_DECODE_BYTES_MAX);
	gw_etcd_decode(&asked, 200, text, size, &arena, &found, &unauthorised);
	CHECK(found.result == GW_STORE_DONE || found.text);
	gw_replica_answer(owner->replica, owner->now_us, request->id, &found);
	gw_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct owner owner = {.now_us = 1};
	const struct gw_replica_options options = {
		.prefix = "/p",
		.name = "a",
		.address = "b",
		.calls = {.reset = on_reset,
			  .piece = on_piece,
			  .record = on_record,
			  .following = on_following,
			  .leader = on_leader,
			  .lost = on_text,
			  .durable = on_durable,
			  .failed = on_failed,
			  .members = on_members,
			  .cert = on_cert,
			  .cert_kept = on_cert_kept,
			  .context = &owner},
	};
	const struct gw_store_request *request;
	const char *at = (const char *)bytes;
	const char *end = at + size;

	CHECK(gw_replica_new(&options, owner.now_us, &owner.replica) == 0);
	CHECK(gw_replica_put_cert(owner.replica, "n", bytes, size < 8 ? size : 8, 1) == 0);
	while (at < end && !owner.failed) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		size_t line = line_end ? (size_t)(line_end - at) : (size_t)(end - at);

		if (gw_replica_next(owner.replica, owner.now_us, &request)) {
			answer(&owner, request, at, line);
			at += line_end ? line + 1 : line;
		} else {
			owner.now_us += STEP_US;
			CHECK(gw_replica_wake_us(owner.replica) != UINT64_MAX);
		}
	}
	gw_replica_free(owner.replica);
	return 0;
}
