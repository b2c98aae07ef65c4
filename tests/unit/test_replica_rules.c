/* The rules of a member of the journal in etcd, one by one: time of a lease, batches, what stalls
 * it, what it refuses to read. A model of etcd answers at once, or not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/time.h"
#include "tests/unit/replica_model.h"
#include "transport/replica.h"
#include "transport/replica_layout.h"

#define START_US (5000 * GW_US_PER_S)
#define PREFIX "/godwit/test"

struct world {
	struct replica_model etcd;
	struct gw_replica *replica;
	uint64_t now_us;
	bool silent; /* etcd answers nothing */
	bool refuses;
	uint64_t term; /* 0: it does not lead */
	uint64_t durable_seq;
	uint32_t durable_calls;
	uint32_t resets;
	uint32_t kept_certs;
	size_t members;
	bool more_members;
	uint32_t snapshots_kept;
	uint32_t snapshots_dropped;
	char reason[400]; /* of lost or failed */
};

static struct world world;

static void on_reset(void *context)
{
	(void)context;
	world.resets++;
}

static int on_piece(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	(void)context;
	(void)seq;
	return size == 1 && bytes[0] == '!' ? -EPROTO : 0;
}

static int on_record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	return on_piece(context, seq, bytes, size);
}

static void on_following(void *context, const char *leader, uint64_t seq)
{
	(void)context;
	(void)leader;
	(void)seq;
}

static void on_leader(void *context, uint64_t term, uint64_t seq)
{
	(void)context;
	world.term = term;
	world.durable_seq = seq;
}

static void on_lost(void *context, const char *reason)
{
	(void)context;
	world.term = 0;
	(void)snprintf(world.reason, sizeof(world.reason), "%s", reason);
}

static void on_durable(void *context, uint64_t seq)
{
	(void)context;
	world.durable_seq = seq;
	world.durable_calls++;
}

static void on_failed(void *context, int error, const char *text)
{
	(void)context;
	assert_true(error < 0);
	(void)snprintf(world.reason, sizeof(world.reason), "%s", text);
}

static void on_members(void *context, const struct gw_replica_member *list, size_t count, bool more,
		       uint64_t revision)
{
	(void)revision;
	(void)more;
	(void)context;
	(void)list;
	world.members = count;
	world.more_members = more;
}

static void on_cert(void *context, const char *node, const uint8_t *bytes, size_t size)
{
	(void)context;
	(void)node;
	(void)bytes;
	(void)size;
}

static void on_cert_kept(void *context, uint64_t handle)
{
	(void)context;
	(void)handle;
	world.kept_certs++;
}

static void on_stopped(void *context)
{
	(void)context;
	(void)snprintf(world.reason, sizeof(world.reason), "stopped");
}

static const struct gw_replica_options good = {
	.prefix = PREFIX,
	.name = "a",
	.address = "b",
	.lease_ttl_s = 10,
	.calls = {.reset = on_reset,
		  .piece = on_piece,
		  .record = on_record,
		  .following = on_following,
		  .leader = on_leader,
		  .lost = on_lost,
		  .durable = on_durable,
		  .failed = on_failed,
		  .members = on_members,
		  .cert = on_cert,
		  .cert_kept = on_cert_kept,
		  .stopped = on_stopped},
};

static int set_up(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	world.now_us = START_US;
	replica_model_init(&world.etcd);
	return gw_replica_new(&good, world.now_us, &world.replica);
}

static int tear_down(void **state)
{
	(void)state;
	gw_replica_free(world.replica);
	replica_model_deinit(&world.etcd);
	return 0;
}

/* What is due now, with its answers. */
static void pump(void)
{
	const struct gw_store_request *request;
	const struct gw_store_answer refused = {.result = GW_STORE_REFUSED,
						.text = "permission denied"};

	while (gw_replica_next(world.replica, world.now_us, &request)) {
		struct gw_store_answer answer;
		struct gw_arena arena;
		uint64_t id = request->id;

		if (world.silent)
			continue;
		gw_arena_init(&arena, 64u << 20);
		if (world.refuses)
			answer = refused;
		else
			replica_model_ask(&world.etcd, world.now_us, request, &arena, &answer);
		gw_replica_answer(world.replica, world.now_us, id, &answer);
		gw_arena_deinit(&arena);
	}
}

static void run_to(uint64_t until_us)
{
	while (world.now_us < until_us) {
		uint64_t wake_us;

		pump();
		wake_us = gw_replica_wake_us(world.replica);
		if (wake_us > until_us)
			wake_us = until_us;
		world.now_us = wake_us > world.now_us ? wake_us : world.now_us + 1;
	}
	pump();
}

static void lead(void)
{
	run_to(START_US + GW_US_PER_S);
	assert_true(world.term > 0);
}

static int append(uint64_t seq, size_t size)
{
	static uint8_t bytes[GW_REPLICA_RECORD_BYTES_MAX + 1];

	return gw_replica_append(world.replica, world.now_us, seq, bytes, size);
}

static void put(const char *word, const void *value, size_t size)
{
	struct gw_store_request request = {.kind = GW_STORE_TXN, .op_count = 1};
	struct gw_store_answer answer;
	struct gw_arena arena;

	request.ops[0].kind = GW_STORE_PUT;
	request.ops[0].value = (struct gw_store_bytes){.bytes = value, .size = size};
	(void)snprintf(request.ops[0].key, sizeof(request.ops[0].key), PREFIX "/%s", word);
	gw_arena_init(&arena, 1u << 20);
	replica_model_ask(&world.etcd, world.now_us, &request, &arena, &answer);
	assert_int_equal(answer.result, GW_STORE_DONE);
	gw_arena_deinit(&arena);
}

static void says(const char *words)
{
	if (!strstr(world.reason, words))
		fail_msg("expected \"%s\", found \"%s\"", words, world.reason);
}

static void stalls(const char *words)
{
	const char *why = gw_replica_stalled(world.replica, world.now_us);

	if (!words && why)
		fail_msg("stalled: %s", why);
	else if (words && (!why || !strstr(why, words)))
		fail_msg("expected \"%s\", found \"%s\"", words, why ? why : "nothing");
}

static void a_lease_runs_out_early(void **state)
{
	uint64_t until_us;

	(void)state;
	lead();
	assert_true(gw_replica_valid(world.replica, world.now_us));
	/* The last renewal went out at some time before now; it is good for 9 of its 10 s. */
	world.silent = true;
	until_us = world.now_us;
	while (gw_replica_valid(world.replica, until_us))
		until_us += GW_US_PER_MS;
	assert_true(until_us <= world.now_us + 9 * GW_US_PER_S);
	assert_true(until_us > world.now_us + 6 * GW_US_PER_S); /* renewed each 2.5 s */
	assert_true(gw_replica_wake_us(world.replica) <= until_us);
	world.now_us = until_us - GW_US_PER_MS - 1;
	pump();
	assert_true(world.term > 0);
	world.now_us = until_us;
	pump();
	assert_int_equal(world.term, 0);
	says("did not renew the lease in time");
	assert_int_equal(append(1, 10), 0); /* a step in hand may end; nobody keeps it */
	stalls("does not lead");
}

static void records_gather_while_one_is_under_way(void **state)
{
	const struct gw_store_request *request;

	(void)state;
	lead();
	world.silent = true;
	assert_int_equal(append(1, 10), 0);
	assert_true(gw_replica_next(world.replica, world.now_us, &request));
	assert_int_equal(request->compare_count, 2);
	for (uint64_t seq = 2; seq <= 50; seq++)
		assert_int_equal(append(seq, 10), 0);
	assert_false(gw_replica_next(world.replica, world.now_us, &request));
	assert_int_equal(world.durable_calls, 0);
	/* Its result never comes: the same again, then the rest as one batch. */
	gw_replica_answer(world.replica, world.now_us, request->id,
			  &(struct gw_store_answer){.result = GW_STORE_UNKNOWN, .text = "lost"});
	world.silent = false;
	run_to(world.now_us + GW_US_PER_S);
	assert_int_equal(world.durable_seq, 50);
	assert_int_equal(world.durable_calls, 2);
	assert_non_null(replica_model_find(&world.etcd, PREFIX "/batch/0000000000000001"));
	assert_non_null(replica_model_find(&world.etcd, PREFIX "/batch/0000000000000032"));
}

static void what_stalls_it(void **state)
{
	(void)state;
	lead();
	stalls(NULL);
	world.refuses = true;
	assert_int_equal(append(1, 10), 0);
	pump();
	stalls("permission denied");
	world.refuses = false;
	run_to(world.now_us + GW_US_PER_S);
	stalls(NULL);
	world.etcd.full = true;
	assert_int_equal(append(2, 10), 0);
	pump();
	stalls("alarm disarm");
	world.etcd.full = false;
	run_to(world.now_us + 2 * GW_US_PER_S);
	stalls(NULL);
	world.silent = true;
	assert_int_equal(append(3, 10), 0);
	world.now_us += GW_US_PER_S / 2;
	pump();
	stalls(NULL);
	world.now_us += GW_US_PER_S;
	pump();
	stalls("more than a second");
}

/* etcd got full by another's write and nothing waits to be appended: it must notice the end. */
static void full_ends_by_itself(void **state)
{
	const uint8_t byte = 1;

	(void)state;
	lead();
	world.etcd.full = true;
	assert_int_equal(gw_replica_put_cert(world.replica, "n", &byte, 1, 1), 0);
	pump();
	stalls("etcd is full");
	world.etcd.full = false;
	run_to(world.now_us + 3 * GW_US_PER_S);
	stalls(NULL);
}

static void limits_of_appends(void **state)
{
	uint64_t seq = 0;

	(void)state;
	lead();
	world.silent = true;
	assert_int_equal(append(1, GW_REPLICA_RECORD_BYTES_MAX + 1), -EMSGSIZE);
	for (uint32_t i = 0; i < GW_REPLICA_RECORDS_PER_S; i++)
		assert_int_equal(append(++seq, 1), 0);
	stalls("20,000 records a second");
	world.now_us += GW_US_PER_MS;
	stalls(NULL);
	while (append(seq + 1, GW_REPLICA_RECORD_BYTES_MAX) == 0)
		seq++;
	assert_int_equal(append(seq + 1, GW_REPLICA_RECORD_BYTES_MAX), -ENOBUFS);
	assert_true(seq - GW_REPLICA_RECORDS_PER_S <= 64);
	for (uint32_t i = 0; i < GW_REPLICA_CERTS_WAITING_MAX; i++)
		assert_int_equal(gw_replica_put_cert(world.replica, "n", NULL, 0, i), 0);
	assert_int_equal(gw_replica_put_cert(world.replica, "n", NULL, 0, 1), -ENOBUFS);
	assert_int_equal(gw_replica_put_cert(world.replica, "n/m", NULL, 0, 1), -EINVAL);
}

static void damage_is_refused(void **state)
{
	static const struct {
		const char *word;
		const char *value;
		const char *says;
	} damages[] = {
		{"manifest", "what", "manifest is not a snapshot's"},
		{"manifest",
		 "godwit-snapshot 1 0000000000000004-0000000000000003-00000000 00000001 "
		 "0000000000000007 "
		 "0000000000000000000000000000000000000000000000000000000000000000",
		 "chunk 0 of 1 of the snapshot up to record 4 is missing"},
		{"sequence", "17", "sequence is not 16 hexadecimal digits"},
		{"sequence", "0000000000000009", "the records after 0 are missing"},
		{"batch/0000000000000001", "\2", "not a batch of records"},
		{"batch/0000000000000001", "", "not a batch of records"},
	};

	for (size_t i = 0; i < GW_ARRAY_COUNT(damages); i++) {
		assert_int_equal(set_up(state), 0);
		put(damages[i].word, damages[i].value, strlen(damages[i].value));
		run_to(START_US + GW_US_PER_S);
		says(damages[i].says);
		assert_int_equal(world.term, 0);
		assert_true(gw_replica_wake_us(world.replica) == GW_NEVER_US);
		tear_down(state);
	}
	assert_int_equal(set_up(state), 0);
}

static void etcd_set_back(void **state)
{
	(void)state;
	put("leader", "z y", 3); /* another leads, so this one only reads */
	put("sequence", "0000000000000001", 16);
	put("batch/0000000000000001", "\1\0\0\0\0\0\0\0\1\0\0\0\1x", 14);
	run_to(START_US + GW_US_PER_S);
	assert_int_equal(world.resets, 1);
	put("sequence", "0000000000000000", 16);
	run_to(START_US + 2 * GW_US_PER_S);
	says("set back or emptied");
}

/* The core's own refusal of a record ends it with the number and the reason. */
static void record_of_another_version(void **state)
{
	(void)state;
	put("sequence", "0000000000000001", 16);
	put("batch/0000000000000001", "\1\0\0\0\0\0\0\0\1\0\0\0\1!", 14);
	run_to(START_US + GW_US_PER_S);
	says("record 1 from etcd is not one that this version reads");
}

static void bad_options(void **state)
{
	static const char *const prefixes[] = {"", "/", "godwit", "/godwit/", "/god wit"};
	struct gw_replica *replica = NULL;
	struct gw_replica_options options = good;

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(prefixes); i++) {
		options.prefix = prefixes[i];
		assert_int_equal(gw_replica_new(&options, 0, &replica), -EINVAL);
	}
	options = good;
	options.name = "a/b";
	assert_int_equal(gw_replica_new(&options, 0, &replica), -EINVAL);
	options = good;
	options.lease_ttl_s = 3600;
	assert_int_equal(gw_replica_new(&options, 0, &replica), -EINVAL);
}

static void stops_without_etcd(void **state)
{
	(void)state;
	lead();
	world.silent = true;
	assert_int_equal(append(1, 10), 0);
	gw_replica_stop(world.replica, world.now_us);
	run_to(world.now_us + 11 * GW_US_PER_S);
	says("stopped");
}

/* Its lease is renewed all the while, so time alone does not end it. */
static void stops_while_etcd_is_full(void **state)
{
	uint64_t requests;

	(void)state;
	lead();
	world.etcd.full = true;
	assert_int_equal(append(1, 10), 0);
	gw_replica_stop(world.replica, world.now_us);
	requests = world.etcd.requests;
	run_to(world.now_us + 9 * GW_US_PER_S);
	assert_true(world.term > 0); /* it may yet be written */
	run_to(world.now_us + 4 * GW_US_PER_S);
	says("stopped");
	assert_null(replica_model_find(&world.etcd, PREFIX "/leader")); /* given back */
	assert_true(world.etcd.requests < requests + 100);
	assert_true(gw_replica_wake_us(world.replica) == GW_NEVER_US);
}

/* An answer that was on its way when the lease ran out by the own clock. */
static void a_late_renewal_revives_nobody(void **state)
{
	const struct gw_store_request *request;
	struct gw_store_answer answer;
	struct gw_arena arena;

	(void)state;
	lead();
	while (!gw_replica_next(world.replica, world.now_us, &request) ||
	       request->kind != GW_STORE_LEASE_KEEPALIVE)
		world.now_us += GW_US_PER_MS;
	gw_arena_init(&arena, 1u << 20);
	replica_model_ask(&world.etcd, world.now_us, request, &arena, &answer);
	assert_int_equal(answer.result, GW_STORE_DONE);
	while (gw_replica_valid(world.replica, world.now_us))
		world.now_us += GW_US_PER_MS;
	gw_replica_answer(world.replica, world.now_us, request->id, &answer);
	assert_false(gw_replica_valid(world.replica, world.now_us));
	assert_int_equal(world.term, 0);
	says("did not renew the lease in time");
	gw_arena_deinit(&arena);
}

static int read_zeros(void *context, uint64_t offset, uint8_t *ret_bytes, size_t size)
{
	(void)context;
	(void)offset;
	memset(ret_bytes, 0, size);
	return 0;
}

static void end_zeros(void *context, bool kept)
{
	(void)context;
	world.snapshots_kept += kept;
	world.snapshots_dropped += !kept;
}

static const struct gw_replica_source zeros = {.read = read_zeros, .ended = end_zeros};

static uint64_t append_many(uint64_t seq, uint64_t count, size_t size)
{
	for (uint64_t i = 0; i < count; i++) {
		assert_int_equal(append(++seq, size), 0);
		if (i % 16 == 15)
			run_to(world.now_us + 10 * GW_US_PER_MS);
	}
	run_to(world.now_us + 100 * GW_US_PER_MS);
	assert_int_equal(world.durable_seq, seq);
	return seq;
}

static size_t count_keys(const char *word)
{
	size_t count = 0;

	for (size_t i = 0; i < world.etcd.count; i++)
		count += strncmp(world.etcd.kvs[i].key, word, strlen(word)) == 0;
	return count;
}

static void an_upload_that_etcd_has_no_room_for(void **state)
{
	const uint64_t size = 8u << 20;
	uint64_t seq;

	(void)state;
	lead();
	seq = append_many(0, 64, 64u << 10);
	assert_true(gw_replica_snapshot_due(world.replica, 4u << 20));
	world.etcd.quota_bytes = 8u << 20;
	assert_int_equal(gw_replica_snapshot(world.replica, seq, size, &zeros), 0);
	run_to(world.now_us + 2 * GW_US_PER_S);
	assert_int_equal(world.snapshots_dropped, 1);
	/* What it left would keep etcd full, and it is wanted as much as before. */
	assert_int_equal(count_keys(PREFIX "/snapshot/"), 0);
	assert_int_equal(count_keys(PREFIX "/batch/"), 64);
	assert_true(gw_replica_snapshot_due(world.replica, 4u << 20));
	world.etcd.quota_bytes = 64u << 20;
	world.etcd.full = false;
	run_to(world.now_us + 2 * GW_US_PER_S);
	assert_int_equal(gw_replica_snapshot(world.replica, seq, size, &zeros), 0);
	run_to(world.now_us + 10 * GW_US_PER_S);
	assert_int_equal(world.snapshots_kept, 1);
	assert_int_equal(count_keys(PREFIX "/snapshot/"), 32);
	assert_int_equal(count_keys(PREFIX "/batch/"), 0);
	assert_false(gw_replica_snapshot_due(world.replica, 1));
}

static void deletes_in_slices(void **state)
{
	uint64_t seq;

	(void)state;
	lead();
	for (seq = 0; seq < 1700;) {
		assert_int_equal(append(++seq, 10), 0);
		pump();
	}
	assert_int_equal(count_keys(PREFIX "/batch/"), 1700);
	assert_int_equal(gw_replica_snapshot(world.replica, 1650, 100, &zeros), 0);
	run_to(world.now_us + 8 * GW_US_PER_S);
	assert_int_equal(world.snapshots_kept, 1);
	assert_int_equal(count_keys(PREFIX "/batch/"), 50);
	assert_true(world.etcd.deleted_most > 400);
	assert_true(world.etcd.deleted_most <= 500 + 1); /* and the upload key */
}

/* Records that came while a snapshot was made are not in it. */
static void counts_what_a_snapshot_lacks(void **state)
{
	const uint64_t half = 32u << 20;
	struct gw_replica_status status;
	uint64_t seq;

	(void)state;
	lead();
	seq = append_many(0, 512, 64u << 10);
	(void)append_many(seq, 512, 64u << 10);
	assert_int_equal(gw_replica_snapshot(world.replica, seq, 100, &zeros), 0);
	run_to(world.now_us + 2 * GW_US_PER_S);
	assert_int_equal(world.snapshots_kept, 1);
	gw_replica_status(world.replica, &status);
	assert_true(status.store_bytes >= half);
	assert_true(status.store_bytes < half + (6u << 20));
	/* A member that begins with the snapshot comes to the same. */
	gw_replica_free(world.replica);
	assert_int_equal(gw_replica_new(&good, world.now_us, &world.replica), 0);
	run_to(world.now_us + 5 * GW_US_PER_S);
	gw_replica_status(world.replica, &status);
	assert_true(status.store_bytes >= half);
	assert_true(status.store_bytes < half + (6u << 20));
}

/* 20 members with names that sort before this one's. */
static void more_members_than_are_read(void **state)
{
	uint64_t puts;

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		char word[32];

		(void)snprintf(word, sizeof(word), "members/A%02u", i);
		put(word, "x", 1);
	}
	lead();
	assert_int_equal(world.members, GW_REPLICA_MEMBERS_MAX);
	assert_true(world.more_members);
	puts = world.etcd.puts;
	run_to(world.now_us + 10 * GW_US_PER_S);
	assert_int_equal(world.etcd.puts, puts); /* it has joined, and knows it */
}

static void a_certificate_goes_unless_another_came(void **state)
{
	const uint8_t old = 'o';
	const uint8_t new = 'n';

	(void)state;
	put("certs/x", &old, 1);
	put("certs/y", &new, 1);
	lead();
	assert_int_equal(gw_replica_drop_cert(world.replica, "x", &old, 1), 0);
	assert_int_equal(gw_replica_drop_cert(world.replica, "y", &old, 1), 0);
	run_to(world.now_us + GW_US_PER_S);
	assert_null(replica_model_find(&world.etcd, PREFIX "/certs/x"));
	assert_non_null(replica_model_find(&world.etcd, PREFIX "/certs/y"));
	assert_int_equal(world.kept_certs, 0);
	world.silent = true;
	while (gw_replica_drop_cert(world.replica, "x", &old, 1) == 0)
		;
	assert_int_equal(gw_replica_put_cert(world.replica, "x", &old, 1, 1), 0);
}

/* Answers that are large take longer than one read may on a thin path. */
static void reads_less_of_a_slow_etcd(void **state)
{
	const struct gw_store_request *request;
	int64_t limit = 0;

	(void)state;
	put("leader", "z y", 3);
	run_to(START_US + GW_US_PER_S);
	put("sequence", "0000000000000001", 16);
	world.silent = true;
	for (uint32_t i = 0; i < 12; i++) {
		while (!gw_replica_next(world.replica, world.now_us, &request) ||
		       request->op_count != 5)
			world.now_us += 10 * GW_US_PER_MS;
		limit = request->ops[2].limit;
		gw_replica_answer(
			world.replica, world.now_us, request->id,
			&(struct gw_store_answer){.result = GW_STORE_UNKNOWN, .text = "slow"});
	}
	assert_int_equal(limit, 1);
	assert_true(request->deadline_us >= 3 * GW_US_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lease_runs_out_early, set_up, tear_down),
		cmocka_unit_test_setup_teardown(records_gather_while_one_is_under_way, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_stalls_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(full_ends_by_itself, set_up, tear_down),
		cmocka_unit_test_setup_teardown(limits_of_appends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_is_refused, NULL, tear_down),
		cmocka_unit_test_setup_teardown(etcd_set_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(record_of_another_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_options, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stops_without_etcd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(stops_while_etcd_is_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_late_renewal_revives_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_upload_that_etcd_has_no_room_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(deletes_in_slices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(counts_what_a_snapshot_lacks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(more_members_than_are_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_certificate_goes_unless_another_came, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(reads_less_of_a_slow_etcd, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("replica_rules", tests, NULL, NULL);
}
