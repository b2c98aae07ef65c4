/*
 * Three members of the journal in etcd against a model of etcd, under seeded faults: requests and
 * answers lost, carried out late, members killed, paused and cut off, clocks that run unlike, an
 * etcd that is full. `test_replica FIRST LAST` runs those seeds.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"
#include "proto/base/time.h"
#include "tests/unit/replica_model.h"
#include "transport/replica.h"
#include "transport/replica_layout.h"

#define MEMBERS 3u
#define FLIGHTS_MAX 512u
#define SEQ_MAX 60000u
#define SEEDS 15u
#define RUN_US (25 * GW_US_PER_S)
#define SETTLE_US (20 * GW_US_PER_S)
#define ACTOR_US (10 * GW_US_PER_MS)
#define SNAPSHOT_BYTES (40u << 10)
#define DRIFT_PPM 20000 /* of a member's clock, either way */
#define NEVER GW_NEVER_US

struct world;

struct member {
	struct world *world;
	struct gw_replica *replica; /* NULL: down */
	uint32_t number;
	uint32_t life; /* counts restarts */
	int64_t drift_ppm;
	uint64_t up_us;     /* when down: starts again */
	uint64_t paused_us; /* until then it runs nothing */
	uint64_t cut_us;    /* until then etcd is out of its reach */
	bool stopping;
	bool leads;
	uint64_t seq; /* of its core: applied or appended */
	uint64_t durable_seq;
	uint64_t *chains; /* [SEQ_MAX] hash of all records up to seq; 0: unknown */
	uint32_t piece_count;
	uint64_t certs; /* bit set of those told */
	uint8_t *snapshot;
	uint64_t snapshot_size;
};

/* A request under way. */
struct flight {
	struct gw_arena arena;
	struct gw_store_request *request; /* NULL: free */
	struct member *member;
	uint32_t life;
	uint64_t id;
	uint64_t do_us;   /* when etcd carries it out; NEVER: not, or done */
	uint64_t tell_us; /* when the member hears; NEVER: not, or done */
	bool unknown;     /* what it hears */
	struct gw_store_answer answer;
};

struct world {
	struct gw_prng prng;
	uint64_t now_us;
	struct replica_model etcd;
	bool calm; /* no more faults */
	uint64_t full_us;
	struct member members[MEMBERS];
	struct flight *flights; /* [FLIGHTS_MAX] */
	uint64_t acked_seq;
	uint64_t *truth; /* [SEQ_MAX] the chain of what was acknowledged */
	uint64_t last_term;
	uint64_t kept_certs; /* bit set */
	uint64_t kept_us[64];
	uint64_t put_certs;
	uint64_t leaders;
	uint64_t snapshots;
	uint64_t restores;
	uint64_t losses;
	bool dead; /* something said `failed` */
};

static uint64_t below(struct world *world, uint64_t bound)
{
	return gw_prng_below(&world->prng, bound);
}

static bool chance(struct world *world, uint32_t ppm)
{
	return !world->calm && gw_prng_chance_ppm(&world->prng, ppm);
}

static uint64_t local_us(const struct member *member)
{
	uint64_t now_us = member->world->now_us;

	return now_us + (uint64_t)((int64_t)now_us * member->drift_ppm / 1000000);
}

/* The world's time at which the member's clock shows `at_us`, or a little later. */
static uint64_t world_us(const struct member *member, uint64_t at_us)
{
	if (at_us == NEVER)
		return NEVER;
	return at_us * 1000000u / (uint64_t)(1000000 + member->drift_ppm) + 2;
}

static uint64_t mix(uint64_t chain, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		chain = (chain ^ bytes[i]) * 0x100000001b3u; /* FNV-1a */
	return (chain ^ size) * 0x100000001b3u | 1;
}

/* What a member has up to `seq` is what was acknowledged, as far as both are known: what lies
 * inside a snapshot is known by its end alone. */
static void check_truth(const struct member *member, uint64_t seq)
{
	uint64_t truth = member->world->truth[seq];

	if (seq > 0 && truth != 0 && member->chains[seq] != 0)
		assert_int_equal(member->chains[seq], truth);
}

/* From now on it must stay: it was acknowledged, or a leader built on it. */
static void make_truth(const struct member *member, uint64_t seq)
{
	struct world *world = member->world;

	check_truth(member, seq);
	if (world->truth[seq] == 0)
		world->truth[seq] = member->chains[seq];
	if (seq > world->acked_seq)
		world->acked_seq = seq;
}

static void on_reset(void *context)
{
	struct member *member = context;

	assert_false(member->leads);
	memset(member->chains, 0, SEQ_MAX * sizeof(*member->chains));
	member->chains[0] = 1;
	member->seq = 0;
	member->piece_count = 0;
}

/* A snapshot: the chain, then fillers whose number and bytes follow from the sequence. */
static size_t filler_size(uint64_t seq, uint32_t piece)
{
	return (size_t)((seq * 7919 + piece * 104729u) % 90000);
}

static uint32_t filler_count(uint64_t seq)
{
	return (uint32_t)(seq % 13);
}

static int on_piece(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct member *member = context;

	assert_true(seq <= member->world->acked_seq);
	if (member->piece_count == 0) {
		assert_int_equal(size, 8);
		memcpy(&member->chains[seq], bytes, 8);
		check_truth(member, seq);
		member->world->restores++;
	} else {
		assert_int_equal(size, filler_size(seq, member->piece_count));
		for (size_t i = 0; i < size; i++)
			assert_int_equal(bytes[i], (uint8_t)(seq + member->piece_count));
	}
	if (member->piece_count++ == filler_count(seq))
		member->seq = seq;
	return 0;
}

static int on_record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct member *member = context;

	assert_int_equal(seq, member->seq + 1);
	member->chains[seq] = mix(member->chains[seq - 1], bytes, size);
	member->seq = seq;
	check_truth(member, seq);
	return 0;
}

static void on_following(void *context, const char *leader, uint64_t seq)
{
	struct member *member = context;

	(void)leader;
	assert_int_equal(seq, member->seq);
}

/* A leader's last read was before its answer came: what was kept in between it knows a look later. */
static void check_certs(const struct member *member)
{
	const struct world *world = member->world;

	for (uint32_t i = 0; i < 64; i++) {
		if (world->kept_certs >> i & 1 && world->kept_us[i] + GW_US_PER_S < world->now_us)
			assert_true(member->certs >> i & 1);
	}
}

static void on_leader(void *context, uint64_t term, uint64_t seq)
{
	struct member *member = context;
	struct world *world = member->world;

	assert_int_equal(seq, member->seq);
	assert_true(term > world->last_term);
	assert_true(seq >= world->acked_seq);
	make_truth(member, seq);
	check_certs(member);
	world->last_term = term;
	world->leaders++;
	member->leads = true;
	member->durable_seq = seq;
}

static void on_lost(void *context, const char *reason)
{
	struct member *member = context;

	assert_true(member->leads);
	assert_true(strlen(reason) > 10);
	member->leads = false;
	member->world->losses++;
}

static void on_durable(void *context, uint64_t seq)
{
	struct member *member = context;

	assert_true(member->leads);
	assert_true(seq <= member->seq);
	for (uint64_t i = member->durable_seq + 1; i <= seq; i++)
		make_truth(member, i);
	member->durable_seq = seq;
}

static void on_failed(void *context, int error, const char *text)
{
	struct member *member = context;

	print_message("member %u failed: %d %s\n", member->number, error, text);
	member->world->dead = true;
}

static void on_members(void *context, const struct gw_replica_member *list, size_t count, bool more,
		       uint64_t revision)
{
	(void)revision;
	(void)more;
	(void)context;
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(list[i - 1].name, list[i].name) < 0);
	assert_true(count <= MEMBERS);
}

static void on_cert(void *context, const char *node, const uint8_t *bytes, size_t size)
{
	struct member *member = context;

	assert_int_equal(size, 1);
	assert_int_equal(bytes[0], strtoul(node + 1, NULL, 10));
	member->certs |= 1ull << bytes[0];
}

static void on_cert_kept(void *context, uint64_t handle)
{
	struct member *member = context;

	member->world->kept_certs |= 1ull << handle;
	member->world->kept_us[handle] = member->world->now_us;
}

static void on_stopped(void *context)
{
	struct member *member = context;

	assert_true(member->stopping);
	member->up_us = 0; /* the world frees it, then starts it again */
}

static void start_member(struct member *member)
{
	char name[8];
	const struct gw_replica_options options = {
		.prefix = "/godwit/test",
		.name = name,
		.address = "tcp://somewhere",
		.lease_ttl_s = 1,
		.chunk_interval_us = 40 * GW_US_PER_MS,
		.collect_after_us = 300 * GW_US_PER_MS,
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
			  .stopped = on_stopped,
			  .context = member},
	};

	(void)snprintf(name, sizeof(name), "m%u", member->number);
	member->life++;
	member->leads = false;
	member->stopping = false;
	member->certs = 0;
	member->paused_us = 0;
	member->up_us = NEVER;
	assert_int_equal(gw_replica_new(&options, local_us(member), &member->replica), 0);
}

static void end_member(struct member *member, uint64_t up_us)
{
	member->replica = gw_replica_free(member->replica);
	member->leads = false;
	member->up_us = up_us;
	free(member->snapshot);
	member->snapshot = NULL;
}

static void free_flight(struct flight *flight)
{
	gw_arena_deinit(&flight->arena);
	*flight = (struct flight){0};
}

static void settle_flight(struct flight *flight)
{
	if (flight->do_us == NEVER && flight->tell_us == NEVER)
		free_flight(flight);
}

/* What becomes of a request: see struct flight. */
static void send(struct member *member, const struct gw_store_request *request)
{
	struct world *world = member->world;
	uint64_t deadline_us = world->now_us + request->deadline_us;
	struct flight *flight = world->flights;

	while (flight->request)
		flight++;
	assert_true(flight < world->flights + FLIGHTS_MAX - 1);
	gw_arena_init(&flight->arena, 64u << 20);
	flight->request = replica_model_copy(request, &flight->arena);
	flight->member = member;
	flight->life = member->life;
	flight->id = request->id;
	flight->do_us = world->now_us + 200 + below(world, 3000);
	if (chance(world, 30000))
		flight->do_us += below(world, 1500000);
	flight->tell_us = flight->do_us + 200 + below(world, 3000);
	if (chance(world, 30000))
		flight->tell_us += below(world, 400000);
	if (member->cut_us > world->now_us && !world->calm) {
		flight->do_us = NEVER;
		flight->tell_us = deadline_us;
		flight->unknown = true;
	} else if (chance(world, 10000)) { /* its answer is lost, at once or by silence */
		flight->tell_us = below(world, 2) ? flight->do_us : deadline_us;
		flight->unknown = true;
	} else if (chance(world, 30000)) { /* given up, and carried out long after */
		flight->do_us = world->now_us + below(world, 5 * GW_US_PER_S);
		flight->unknown = true;
	}
	if (flight->tell_us > deadline_us) {
		flight->tell_us = deadline_us;
		flight->unknown = true;
	}
}

static bool runs(const struct member *member)
{
	return member->replica && member->paused_us <= member->world->now_us;
}

/* Lets a member do all that it has to do now. */
static void pump(struct member *member)
{
	const struct gw_store_request *request;

	if (!runs(member))
		return;
	while (gw_replica_next(member->replica, local_us(member), &request))
		send(member, request);
	if (member->stopping && member->up_us == 0)
		end_member(member, member->world->now_us + below(member->world, GW_US_PER_S));
}

static void run_flight(struct flight *flight)
{
	struct world *world = flight->member->world;
	struct member *member = flight->member;

	if (flight->do_us <= world->now_us) {
		flight->do_us = NEVER;
		replica_model_ask(&world->etcd, world->now_us, flight->request, &flight->arena,
				  &flight->answer);
	}
	if (flight->tell_us <= world->now_us) {
		struct gw_store_answer unknown = {.result = GW_STORE_UNKNOWN, .text = "lost"};
		bool same = member->replica && member->life == flight->life;

		if (same && !runs(member)) {
			flight->tell_us = member->paused_us;
			return;
		}
		flight->tell_us = NEVER;
		if (same)
			gw_replica_answer(member->replica, local_us(member), flight->id,
					  flight->unknown ? &unknown : &flight->answer);
		pump(member);
	}
	settle_flight(flight);
}

static int read_snapshot(void *context, uint64_t offset, uint8_t *ret_bytes, size_t size)
{
	const struct member *member = context;

	assert_true(offset + size <= member->snapshot_size);
	memcpy(ret_bytes, member->snapshot + offset, size);
	return 0;
}

static void end_snapshot(void *context, bool kept)
{
	struct member *member = context;

	member->world->snapshots += kept;
	free(member->snapshot);
	member->snapshot = NULL;
}

static void begin_snapshot(struct member *member)
{
	const struct gw_replica_source source = {
		.read = read_snapshot, .ended = end_snapshot, .context = member};
	uint64_t seq = member->seq;
	uint8_t *at;

	member->snapshot_size = GW_LAYOUT_FRAME_BYTES + 8;
	for (uint32_t i = 1; i <= filler_count(seq); i++)
		member->snapshot_size += GW_LAYOUT_FRAME_BYTES + filler_size(seq, i);
	at = member->snapshot = malloc(member->snapshot_size);
	assert_non_null(at);
	gw_layout_frame(8, at);
	memcpy(at + GW_LAYOUT_FRAME_BYTES, &member->chains[seq], 8);
	at += GW_LAYOUT_FRAME_BYTES + 8;
	for (uint32_t i = 1; i <= filler_count(seq); i++) {
		size_t size = filler_size(seq, i);

		gw_layout_frame(size, at);
		memset(at + GW_LAYOUT_FRAME_BYTES, (int)(uint8_t)(seq + i), size);
		at += GW_LAYOUT_FRAME_BYTES + size;
	}
	assert_int_equal(gw_replica_snapshot(member->replica, seq, member->snapshot_size, &source),
			 0);
}

static void append(struct member *member)
{
	struct world *world = member->world;
	size_t size = 8 + (size_t)below(world, below(world, 200) == 0 ? 90000 : 200);
	uint8_t *bytes = calloc(1, size);
	uint64_t word = gw_prng_next(&world->prng);

	assert_non_null(bytes);
	assert_true(member->seq + 1 < SEQ_MAX);
	memcpy(bytes, &word, 8);
	member->seq++;
	member->chains[member->seq] = mix(member->chains[member->seq - 1], bytes, size);
	assert_int_equal(
		gw_replica_append(member->replica, local_us(member), member->seq, bytes, size), 0);
	free(bytes);
}

/* What a leader's owner does. */
static void work(struct member *member)
{
	struct world *world = member->world;
	uint64_t count = below(world, 8);

	if (!member->leads || !gw_replica_valid(member->replica, local_us(member)) ||
	    gw_replica_stalled(member->replica, local_us(member)) || member->stopping)
		return;
	if (world->now_us / GW_US_PER_S % 2 == 0 && !world->calm)
		count = 0; /* quiet seconds, in which a late append meets no newer record */
	for (uint64_t i = 0; i < count; i++)
		append(member);
	if (!member->snapshot && gw_replica_snapshot_due(member->replica, SNAPSHOT_BYTES) &&
	    member->seq > 0)
		begin_snapshot(member);
	if (!world->calm && world->put_certs < 60 && below(world, 100) == 0) {
		char node[8];
		uint8_t byte = (uint8_t)world->put_certs++;

		(void)snprintf(node, sizeof(node), "n%u", byte);
		assert_int_equal(gw_replica_put_cert(member->replica, node, &byte, 1, byte), 0);
	}
}

/* What a member has under way is held up in the network, and comes to etcd later. */
static void hold_flights(const struct member *member)
{
	struct world *world = member->world;

	for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *flight = &world->flights[i];

		if (!flight->request || flight->member != member || flight->do_us == NEVER)
			continue;
		flight->do_us = world->now_us + below(world, 5 * GW_US_PER_S);
		flight->unknown = true;
	}
}

static void hurt(struct world *world)
{
	struct member *member = &world->members[below(world, MEMBERS)];
	uint64_t what = chance(world, 12000) ? 1 + below(world, 3) : 0;

	if (what != 0 && below(world, 2))
		hold_flights(member);
	if (what == 1 && member->replica)
		end_member(member, world->now_us + below(world, 3 * GW_US_PER_S));
	if (what == 2)
		member->paused_us = world->now_us + below(world, 4 * GW_US_PER_S);
	if (what == 3)
		member->cut_us = world->now_us + below(world, 3 * GW_US_PER_S);
	if (chance(world, 2000) && runs(member) && !member->stopping) {
		member->stopping = true;
		gw_replica_stop(member->replica, local_us(member));
	}
	if (chance(world, 1500))
		world->full_us = world->now_us + below(world, 3 * GW_US_PER_S);
	world->etcd.full = !world->calm && world->full_us > world->now_us;
}

static void act(struct world *world)
{
	for (uint32_t i = 0; i < MEMBERS; i++) {
		struct member *member = &world->members[i];

		if (!member->replica && member->up_us <= world->now_us)
			start_member(member);
		if (runs(member))
			work(member);
		pump(member);
	}
	hurt(world); /* while what was just sent is under way */
}

/* By its own clock each member must know when it may no longer speak. */
static void check_leaders(const struct world *world)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < MEMBERS; i++) {
		const struct member *member = &world->members[i];

		if (member->replica && gw_replica_valid(member->replica, local_us(member)))
			count++;
	}
	assert_true(count <= 1);
}

static uint64_t next_us(const struct world *world, uint64_t until_us)
{
	for (uint32_t i = 0; i < MEMBERS; i++) {
		const struct member *member = &world->members[i];
		uint64_t at_us = member->replica
					 ? world_us(member, gw_replica_wake_us(member->replica))
					 : NEVER;

		if (at_us < member->paused_us)
			at_us = member->paused_us;
		if (at_us < until_us)
			until_us = at_us;
	}
	for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
		const struct flight *flight = &world->flights[i];

		if (!flight->request)
			continue;
		if (flight->do_us < until_us)
			until_us = flight->do_us;
		if (flight->tell_us < until_us)
			until_us = flight->tell_us;
	}
	return until_us > world->now_us ? until_us : world->now_us + 1;
}

static void run_world(struct world *world, uint64_t until_us)
{
	uint64_t act_us = world->now_us;

	while (world->now_us < until_us && !world->dead) {
		if (world->now_us >= act_us) {
			act_us = world->now_us + ACTOR_US;
			act(world);
		}
		world->now_us = next_us(world, act_us);
		replica_model_expire(&world->etcd, world->now_us);
		check_leaders(world);
		for (uint32_t i = 0; i < MEMBERS; i++)
			pump(&world->members[i]);
		for (uint32_t i = 0; i < FLIGHTS_MAX; i++) {
			if (world->flights[i].request)
				run_flight(&world->flights[i]);
		}
		check_leaders(world);
	}
}

static void init_world(struct world *world, uint64_t seed)
{
	*world = (struct world){.now_us = 1000 * GW_US_PER_S};
	gw_prng_init(&world->prng, seed);
	replica_model_init(&world->etcd);
	world->truth = calloc(SEQ_MAX, sizeof(*world->truth));
	world->flights = calloc(FLIGHTS_MAX, sizeof(*world->flights));
	assert_non_null(world->truth);
	assert_non_null(world->flights);
	for (uint32_t i = 0; i < MEMBERS; i++) {
		struct member *member = &world->members[i];

		member->world = world;
		member->number = i;
		member->drift_ppm = (int64_t)below(world, 2 * DRIFT_PPM + 1) - DRIFT_PPM;
		member->chains = calloc(SEQ_MAX, sizeof(*member->chains));
		assert_non_null(member->chains);
		start_member(member);
	}
}

static void deinit_world(struct world *world)
{
	for (uint32_t i = 0; i < MEMBERS; i++) {
		end_member(&world->members[i], NEVER);
		free(world->members[i].chains);
	}
	for (uint32_t i = 0; i < FLIGHTS_MAX; i++)
		free_flight(&world->flights[i]);
	free(world->flights);
	free(world->truth);
	replica_model_deinit(&world->etcd);
}

/* Without faults: one leads, all have the same, nothing acknowledged is missing. */
static void check_settled(struct world *world)
{
	const struct member *leader = NULL;

	for (uint32_t i = 0; i < MEMBERS; i++) {
		if (world->members[i].leads)
			leader = &world->members[i];
	}
	assert_non_null(leader);
	assert_int_equal(leader->durable_seq, world->acked_seq);
	for (uint32_t i = 0; i < MEMBERS; i++) {
		const struct member *member = &world->members[i];

		assert_non_null(member->replica);
		assert_true(member->seq + 200 > world->acked_seq); /* as fresh as a poll is */
		check_truth(member, member->seq);
		assert_int_equal(world->kept_certs & ~member->certs, 0);
	}
	/* What snapshots replaced is gone: few chunks and batches stay. */
	assert_true(world->etcd.count < 400);
}

static void one_seed(uint64_t seed)
{
	struct world world;
	uint64_t before_seq;

	print_message("seed %" PRIu64 ":", seed);
	init_world(&world, seed);
	run_world(&world, world.now_us + RUN_US);
	before_seq = world.acked_seq;
	world.calm = true;
	for (uint32_t i = 0; i < MEMBERS; i++)
		world.members[i].cut_us = 0;
	run_world(&world, world.now_us + SETTLE_US);
	assert_false(world.dead);
	assert_true(world.acked_seq > before_seq + 1000);
	check_settled(&world);
	print_message(" %" PRIu64 " records, %" PRIu64 " leaders, %" PRIu64 " lost, %" PRIu64
		      " snapshots, %" PRIu64 " restores, %zu keys\n",
		      world.acked_seq, world.leaders, world.losses, world.snapshots, world.restores,
		      world.etcd.count);
	deinit_world(&world);
}

static uint64_t seed_first = 1;
static uint64_t seed_last = SEEDS;

static void members_under_faults(void **state)
{
	(void)state;
	for (uint64_t seed = seed_first; seed <= seed_last; seed++)
		one_seed(seed);
}

int main(int count, char **arguments)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_under_faults),
	};

	if (count == 3) {
		seed_first = strtoull(arguments[1], NULL, 10);
		seed_last = strtoull(arguments[2], NULL, 10);
	}
	return cmocka_run_group_tests_name("replica", tests, NULL, NULL);
}
