/* The simulated world itself: clocks, connections, and the host's rules on a toy core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/sim/host.h"
#include "bench/sim/link.h"
#include "bench/sim/world.h"
#include "proto/base/check.h"

static void test_clock_inverts(void **state)
{
	static const int32_t drifts[] = {0, 50, -50, 1000, -1000};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(drifts); i++) {
		struct sim_clock clock = {.from_us = 7, .drift_ppm = drifts[i]};

		for (uint64_t mono_us = 10000000; mono_us < 10002000; mono_us++) {
			uint64_t true_us = sim_clock_true(&clock, mono_us);

			assert_true(sim_clock_mono(&clock, true_us) >= mono_us);
			if (true_us > clock.from_us)
				assert_true(sim_clock_mono(&clock, true_us - 1) < mono_us);
		}
	}
}

/* A new rate changes nothing of what was shown, and a boot all. */
static void test_clock_drifts(void **state)
{
	struct sim_clock clock = {.drift_ppm = 100};
	uint64_t before_us = sim_clock_mono(&clock, 5000000);
	struct gw_id boot = gw_id_make(1, 2, 3);

	(void)state;
	sim_clock_drift(&clock, 5000000, -400);
	assert_int_equal(sim_clock_mono(&clock, 5000000), before_us);
	assert_int_equal(sim_clock_mono(&clock, 15000000), before_us + 9996000);
	assert_int_equal(sim_clock_true(&clock, before_us + 9996000), 15000000);
	sim_clock_boot(&clock, 20000000, boot);
	assert_true(sim_clock_mono(&clock, 20000000) < before_us);
	assert_true(gw_id_equal(clock.boot_id, boot));
}

/* A receiver that notes the numbers that arrive. */
struct listener {
	uint32_t numbers[256];
	uint32_t count;
	uint32_t downs;
	uint32_t ups;
	uint32_t back;       /* arrived at the other end */
	uint64_t last_at_us; /* when the newest arrived */
};

static void on_up(struct sim_conn *conn)
{
	((struct listener *)conn->owner)->ups++;
}

static void on_down(struct sim_conn *conn)
{
	((struct listener *)conn->owner)->downs++;
}

static void on_receive(struct sim_conn *conn, enum sim_end end, const uint8_t *bytes, size_t size)
{
	struct listener *listener = conn->owner;

	if (end == SIM_DIALER) {
		listener->back++;
		return;
	}
	assert_int_equal(size, sizeof(uint32_t));
	assert_true(listener->count < 256);
	listener->last_at_us = conn->world->now_us;
	memcpy(&listener->numbers[listener->count++], bytes, size);
}

static bool on_defer(const struct sim_conn *conn, enum sim_end end, struct sim_timer *timer)
{
	(void)conn;
	(void)end;
	(void)timer;
	return false;
}

static const struct sim_conn_ops listener_ops = {on_up, on_down, on_receive, on_defer};

static void send_numbers(struct sim_conn *conn, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		sim_conn_send(conn, SIM_DIALER, (const uint8_t *)&i, sizeof(i));
}

static void cut(struct sim_world *world, struct sim_path *path, bool breaks)
{
	sim_path_cut(world, path, SIM_DIALER, breaks);
	sim_path_cut(world, path, SIM_LISTENER, breaks);
}

static void heal(struct sim_world *world, struct sim_path *path)
{
	sim_path_heal(world, path, SIM_DIALER);
	sim_path_heal(world, path, SIM_LISTENER);
}

/* In order while connected; a stall delays, a break loses all but a first part. */
static void test_connection(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct sim_path path = {.delay_us = 5000,
					.jitter_us = 9000,
					.rate_bps = 1000000,
					.loss_ppm = 100000};
		struct listener listener = {.count = 0};
		struct sim_world world;
		struct sim_conn conn;
		uint32_t before;

		sim_world_init(&world, seed, NULL);
		sim_conn_init(&conn, &world, &path, &listener_ops, &listener, "test");
		sim_conn_open(&conn);
		sim_world_run(&world, 1000000);
		assert_int_equal(listener.ups, 1);
		send_numbers(&conn, 0, 20);
		cut(&world, &path, false);
		send_numbers(&conn, 20, 40);
		sim_world_run(&world, 5000000);
		assert_int_equal(listener.count, 0);
		heal(&world, &path);
		sim_world_run(&world, 20000000);
		assert_int_equal(listener.count, 40);
		for (uint32_t i = 0; i < 40; i++)
			assert_int_equal(listener.numbers[i], i);
		send_numbers(&conn, 40, 60);
		cut(&world, &path, true);
		assert_int_equal(listener.downs, 1);
		sim_world_run(&world, 30000000);
		before = listener.count;
		for (uint32_t i = 40; i < before; i++)
			assert_int_equal(listener.numbers[i], i);
		assert_int_equal(listener.ups, 1);
		heal(&world, &path);
		sim_world_run(&world, 40000000);
		assert_int_equal(listener.ups, 2);
		send_numbers(&conn, 100, 101);
		sim_world_run(&world, 50000000);
		assert_int_equal(listener.count, before + 1);
		assert_int_equal(listener.numbers[before], 100);
		sim_conn_deinit(&conn);
		sim_world_deinit(&world);
	}
}

/* A path, a connection over it and what came through, for one fault. */
struct lane {
	struct sim_world world;
	struct sim_path path;
	struct sim_conn conn;
	struct listener listener;
};

static void lane_init(struct lane *lane, uint64_t seed)
{
	*lane = (struct lane){.path = {.delay_us = 5000, .rate_bps = 10000000}};
	sim_world_init(&lane->world, seed, NULL);
	sim_conn_init(&lane->conn, &lane->world, &lane->path, &listener_ops, &lane->listener,
		      "test");
	sim_conn_open(&lane->conn);
	sim_world_run(&lane->world, GW_US_PER_S);
	assert_int_equal(lane->listener.ups, 1);
}

/* Sends 200 numbers, waits for all, and returns how long the last one took. */
static uint64_t lane_run(struct lane *lane)
{
	uint64_t began_us = lane->world.now_us;

	send_numbers(&lane->conn, 0, 200);
	sim_world_run(&lane->world, began_us + 60 * GW_US_PER_S);
	assert_int_equal(lane->listener.count, 200);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(lane->listener.numbers[i], i);
	return lane->listener.last_at_us - began_us;
}

static void lane_deinit(struct lane *lane)
{
	sim_conn_deinit(&lane->conn);
	sim_world_deinit(&lane->world);
}

/* Cut towards one end, the other still hears. */
static void test_one_way_cut(void **state)
{
	struct lane lane;
	uint8_t byte = 1;

	(void)state;
	lane_init(&lane, 1);
	sim_path_cut(&lane.world, &lane.path, SIM_LISTENER, false);
	send_numbers(&lane.conn, 0, 3);
	assert_true(sim_conn_send(&lane.conn, SIM_LISTENER, &byte, 1));
	sim_world_run(&lane.world, 10 * GW_US_PER_S);
	assert_int_equal(lane.listener.count, 0);
	assert_int_equal(lane.listener.back, 1);
	sim_path_heal(&lane.world, &lane.path, SIM_LISTENER);
	sim_world_run(&lane.world, 60 * GW_US_PER_S);
	assert_int_equal(lane.listener.count, 3);
	lane_deinit(&lane);
}

/* What each trouble does to a stream: it stays whole and in order, and gets later. */
static void test_troubled_stream(void **state)
{
	static const struct {
		struct sim_trouble trouble;
		enum sim_sight sight;
		uint64_t later_us; /* than without, at least */
	} cases[] = {
		{{.spike_us = 300000}, SIM_SAW_COUNT, 300000},
		{{.rate_bps = 20000}, SIM_SAW_QUEUE_FULL, 5000000},
		{{.loss_ppm = 300000}, SIM_SAW_PACKET_RESENT, 200000},
		{{.duplicate_ppm = 1000000}, SIM_SAW_PACKET_DOUBLED, 5000},
		{{.reorder_ppm = 500000}, SIM_SAW_PACKET_OVERTAKEN, 1000},
	};
	struct lane lane;
	uint64_t calm_us;

	(void)state;
	lane_init(&lane, 1);
	calm_us = lane_run(&lane);
	lane_deinit(&lane);
	for (size_t i = 0; i < GW_ARRAY_COUNT(cases); i++) {
		lane_init(&lane, 1);
		lane.path.trouble = cases[i].trouble;
		assert_true(lane_run(&lane) >= calm_us + cases[i].later_us);
		if (cases[i].sight < SIM_SAW_COUNT)
			assert_true(lane.world.coverage.seen[cases[i].sight] > 0);
		lane_deinit(&lane);
	}
}

/* A datagram meets the same as it is: gone, or late, or behind the next one. */
static void test_troubled_datagrams(void **state)
{
	struct lane lane;
	uint32_t lost = 0;
	uint32_t overtaken = 0;
	uint64_t last_us = 0;

	(void)state;
	lane_init(&lane, 1);
	lane.path.trouble = (struct sim_trouble){.loss_ppm = 300000, .reorder_ppm = 300000};
	for (uint32_t i = 0; i < 1000; i++) {
		uint64_t took_us = 0;

		if (!sim_path_datagram(&lane.world, &lane.path, SIM_LISTENER, 44, &took_us)) {
			lost++;
			continue;
		}
		overtaken += lane.world.now_us + took_us < last_us;
		last_us = lane.world.now_us + took_us;
		sim_world_run(&lane.world, lane.world.now_us + 200);
	}
	assert_in_range(lost, 200, 400);
	assert_in_range(overtaken, 50, 400);
	lane.path.trouble = (struct sim_trouble){.rate_bps = 4000};
	for (lost = 0; lost < 1000; lost++) {
		uint64_t took_us;

		if (!sim_path_datagram(&lane.world, &lane.path, SIM_LISTENER, 44, &took_us))
			break;
	}
	assert_in_range(lost, 10, 999); /* the queue is full */
	sim_path_cut(&lane.world, &lane.path, SIM_DIALER, false);
	assert_false(sim_path_datagram(&lane.world, &lane.path, SIM_DIALER, 44, &last_us));
	assert_false(sim_path_is_calm(&lane.path));
	lane_deinit(&lane);
}

/*
 * A core that writes a record for each tick and asks for an effect (KILL, for it carries no bytes)
 * once that record is durable. It says what it has to say one effect a step, to see CONTINUE.
 */
struct toy {
	struct gw_node node;
	uint64_t seq;
	uint64_t told;
	uint64_t sum; /* of what was applied */
	uint64_t wake_us;
};

static int toy_apply(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct toy *toy = (struct toy *)node;

	assert_int_equal(size, 1);
	toy->seq = toy->told = seq;
	toy->sum = toy->sum * 31 + bytes[0];
	return 0;
}

static int toy_step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects)
{
	struct toy *toy = (struct toy *)node;

	if (event->kind == GW_EVENT_START)
		toy->wake_us = event->now.mono_us + 1000;
	if (event->kind == GW_EVENT_TICK && event->now.mono_us >= toy->wake_us) {
		uint8_t byte = (uint8_t)(event->now.mono_us & 0xff);
		struct gw_effect *effect;

		for (unsigned i = 0; i < 3; i++) {
			uint64_t told = toy->told;

			effect = gw_effects_add(effects, GW_EFFECT_APPEND, 0);
			effect->append.seq = toy->seq + 1;
			effect->append.bytes = gw_arena_copy(&effects->arena, &byte, 1);
			effect->append.size = 1;
			(void)toy_apply(node, toy->seq + 1, &byte, 1);
			toy->told = told;
		}
		toy->wake_us += 1000;
	}
	if (toy->told < toy->seq) {
		toy->told++;
		(void)gw_effects_add(effects, GW_EFFECT_KILL, toy->told);
		effects->more = toy->told < toy->seq;
	}
	return 0;
}

static uint64_t toy_wake_us(const struct gw_node *node)
{
	return ((const struct toy *)node)->wake_us;
}

static uint64_t toy_digest(const struct gw_node *node)
{
	return ((const struct toy *)node)->sum;
}

static void toy_free(struct gw_node *node)
{
	free(node);
}

static int toy_snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	const struct toy *toy = (const struct toy *)node;
	const uint64_t state[2] = {toy->seq, toy->sum};

	return piece(context, (const uint8_t *)state, sizeof(state));
}

static int toy_restore(struct gw_node *node, const uint8_t *bytes, size_t size)
{
	struct toy *toy = (struct toy *)node;
	uint64_t state[2];

	assert_int_equal(size, sizeof(state));
	memcpy(state, bytes, size);
	toy->seq = toy->told = state[0];
	toy->sum = state[1];
	return 0;
}

static uint64_t toy_seq(const struct gw_node *node)
{
	return ((const struct toy *)node)->seq;
}

static const struct gw_node_ops toy_node_ops = {
	.step = toy_step,
	.wake_us = toy_wake_us,
	.apply = toy_apply,
	.snapshot = toy_snapshot,
	.restore = toy_restore,
	.seq = toy_seq,
	.digest = toy_digest,
	.free = toy_free,
};

struct toy_run {
	uint32_t effects;
	uint32_t early; /* carried out before they were durable */
	uint64_t told;  /* highest that an effect waited for */
	uint64_t records;
	uint32_t losses; /* starts that lacked what was durable */
};

static struct gw_node *toy_make(struct sim_host *host)
{
	struct toy *toy = calloc(1, sizeof(*toy));

	(void)host;
	assert_non_null(toy);
	toy->node.ops = &toy_node_ops;
	toy->wake_us = GW_NEVER_US;
	return &toy->node;
}

static void toy_nothing(struct sim_host *host)
{
	(void)host;
}

static void toy_stepped(struct sim_host *host, const struct gw_event *event)
{
	(void)host;
	(void)event;
}

static void toy_effect(struct sim_host *host, const struct gw_effect *effect)
{
	struct toy_run *run = host->owner;

	assert_int_equal(effect->kind, GW_EFFECT_KILL);
	run->effects++;
	if (effect->after_seq > host->journal.durable_seq)
		run->early++;
	if (effect->after_seq > run->told)
		run->told = effect->after_seq;
}

static void toy_record(struct sim_host *host, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct toy_run *run = host->owner;

	(void)bytes;
	assert_int_equal(size, 1);
	assert_int_equal(seq, run->records + 1);
	run->records++;
}

static void toy_lost(struct sim_host *host, uint64_t seq)
{
	struct toy_run *run = host->owner;

	assert_true(seq < run->records);
	run->records = seq;
	run->losses++;
}

static const struct sim_host_ops toy_ops = {toy_make,   toy_nothing, toy_nothing, toy_stepped,
					    toy_effect, toy_nothing, toy_record,  toy_lost};

/* A toy on a host of its own. */
struct bench {
	struct sim_world world;
	struct sim_shared shared;
	struct sim_host host;
	struct toy_run run;
};

static void bench_init(struct bench *bench, uint64_t seed, enum sim_bug bug)
{
	*bench = (struct bench){.host = {.name = "toy"}};
	sim_world_init(&bench->world, seed, NULL);
	assert_int_equal(sim_shared_init(&bench->shared, &bench->world), 0);
	bench->shared.bug = bug;
	sim_host_init(&bench->host, &bench->shared, &toy_ops, &bench->run);
	bench->host.disk.write_us_max = 5000;
	bench->host.journal.snapshot_bytes = 64 << 10;
	sim_host_start(&bench->host);
}

static void bench_run(struct bench *bench, uint64_t for_us)
{
	sim_world_run(&bench->world, bench->world.now_us + for_us);
}

static void bench_deinit(struct bench *bench)
{
	sim_host_deinit(&bench->host);
	sim_shared_deinit(&bench->shared);
	sim_world_deinit(&bench->world);
}

struct toy_result {
	struct toy_run run;
	uint64_t hash;
	uint64_t snapshots; /* from which a start began */
	char fault[512];
};

static struct toy_result toy_world(uint64_t seed, enum sim_bug bug)
{
	struct toy_result result = {.hash = 0};
	struct bench bench;

	bench_init(&bench, seed, bug);
	for (unsigned i = 1; i <= 5; i++) {
		bench_run(&bench, 100000);
		sim_host_check_replay(&bench.host);
		sim_host_crash(&bench.host);
		sim_host_start(&bench.host);
		if (bug != SIM_BUG_NONE)
			continue;
		/* Whatever was told is there; a part of what was not, perhaps. */
		assert_true(bench.host.journal.last_seq >= bench.run.told);
		assert_int_equal(bench.run.records, bench.host.journal.last_seq);
	}
	result.run = bench.run;
	result.hash = bench.world.hash;
	result.snapshots = bench.world.coverage.seen[SIM_SAW_SNAPSHOT_READ];
	memcpy(result.fault, bench.world.fault, sizeof(result.fault));
	bench_deinit(&bench);
	return result;
}

static void test_host_keeps_the_seam(void **state)
{
	struct toy_result first = toy_world(1, SIM_BUG_NONE);
	struct toy_result again = toy_world(1, SIM_BUG_NONE);
	struct toy_result other = toy_world(2, SIM_BUG_NONE);

	(void)state;
	assert_string_equal(first.fault, "");
	assert_int_equal(first.run.early, 0);
	assert_true(first.run.effects > 1000);
	assert_true(first.run.records > 1000);
	assert_true(first.snapshots > 0);
	assert_int_equal(first.run.losses, 0);
	assert_true(first.hash == again.hash);
	assert_true(first.hash != other.hash);
}

static void test_planted_host_bugs_show(void **state)
{
	struct toy_result early = toy_world(1, SIM_BUG_EARLY_EFFECTS);
	struct toy_result hole = toy_world(1, SIM_BUG_JOURNAL_HOLE);

	(void)state;
	assert_true(early.run.early > 0);
	assert_non_null(strstr(hole.fault, "replaying"));
}

/* A power cut takes what was not synced, wholly, in part or not at all, and nothing else. */
static void test_power_cuts(void **state)
{
	uint64_t lost_bytes = 0;
	uint64_t tails = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct bench bench;

		bench_init(&bench, seed, SIM_BUG_NONE);
		for (unsigned i = 0; i < 5; i++) {
			bench_run(&bench, sim_between(&bench.world, 0, 100000));
			sim_host_power_cut(&bench.host);
			sim_host_start(&bench.host);
			assert_false(bench.host.refused);
			if (bench.host.journal.last_seq < bench.run.told)
				fail_msg("seed %u cut %u: %u told %u", (unsigned)seed, i,
					 (unsigned)bench.host.journal.last_seq,
					 (unsigned)bench.run.told);
			sim_host_check_replay(&bench.host);
		}
		assert_string_equal(bench.world.fault, "");
		assert_int_equal(bench.run.losses, 0);
		lost_bytes += bench.host.disk.lost_bytes;
		tails += bench.world.coverage.seen[SIM_SAW_TAIL_CUT];
		bench_deinit(&bench);
	}
	assert_true(lost_bytes > 0);
	assert_true(tails > 10);
}

/* What came of a damaged disk: each seed is refused, or loses records and says so, or neither. */
struct damage {
	uint32_t refused;
	uint32_t losses;
};

static struct damage damage_disks(void (*harm)(struct bench *bench))
{
	struct damage damage = {.refused = 0};

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct bench bench;
		uint64_t told;

		bench_init(&bench, seed, SIM_BUG_NONE);
		bench.host.journal.snapshot_bytes = 1 << 20; /* which would heal */
		bench_run(&bench, 50000);
		harm(&bench);
		told = bench.run.told;
		if (bench.host.node)
			sim_host_power_cut(&bench.host);
		sim_host_start(&bench.host);
		damage.refused += bench.host.refused;
		damage.losses += bench.run.losses;
		/* Never silent. */
		if (!bench.host.refused && bench.run.losses == 0)
			assert_true(bench.host.journal.last_seq >= told);
		assert_string_equal(bench.world.fault, "");
		bench_deinit(&bench);
	}
	return damage;
}

static void lie(struct bench *bench)
{
	bench->host.disk.sync_lies = true;
	bench_run(bench, 50000);
}

static void misdirect(struct bench *bench)
{
	bench->host.disk.misdirect_bytes = GW_JOURNAL_BLOCK;
	bench_run(bench, 50000);
}

static void rot(struct bench *bench)
{
	assert_true(sim_disk_rot(&bench->host.disk, gw_prng_next(&bench->world.prng)));
}

static void test_damaged_disks(void **state)
{
	struct damage lied = damage_disks(lie);
	struct damage misdirected = damage_disks(misdirect);
	struct damage rotten = damage_disks(rot);

	(void)state;
	assert_true(lied.losses > 10);
	assert_true(misdirected.refused > 30);
	assert_true(rotten.refused > 0); /* a block is hardly filled, so most bits are of none */
}

/* A failed sync ends the process; what it had written counts for nothing. */
static void test_failed_sync(void **state)
{
	struct bench bench;

	(void)state;
	bench_init(&bench, 1, SIM_BUG_NONE);
	bench_run(&bench, 50000);
	bench.host.disk.sync_fails = true;
	bench_run(&bench, 20000);
	assert_null(bench.host.node);
	assert_int_equal(bench.world.coverage.seen[SIM_SAW_SYNC_FAILED], 1);
	bench_run(&bench, 2 * GW_US_PER_S); /* it was started again */
	assert_non_null(bench.host.node);
	assert_int_equal(bench.run.losses, 0);
	sim_host_power_cut(&bench.host);
	sim_host_start(&bench.host);
	assert_false(bench.host.refused);
	assert_true(bench.host.journal.last_seq >= bench.run.told);
	assert_string_equal(bench.world.fault, "");
	bench_deinit(&bench);
}

/* A full disk makes all wait, and new work is refused; then it goes on. */
static void test_full_disk(void **state)
{
	struct bench bench;
	uint64_t durable;

	(void)state;
	bench_init(&bench, 1, SIM_BUG_NONE);
	bench_run(&bench, 50000);
	assert_null(sim_journal_stalled(&bench.host.journal));
	bench.host.disk.full = true;
	bench_run(&bench, 10000);
	durable = bench.host.journal.durable_seq;
	bench_run(&bench, 5 * GW_US_PER_S);
	assert_int_equal(bench.host.journal.durable_seq, durable);
	assert_non_null(strstr(sim_journal_stalled(&bench.host.journal), "full"));
	bench.host.disk.full = false;
	bench_run(&bench, 2 * GW_US_PER_S);
	assert_true(bench.host.journal.durable_seq > durable + 1000);
	assert_null(sim_journal_stalled(&bench.host.journal));
	assert_string_equal(bench.world.fault, "");
	bench_deinit(&bench);
}

/* A process that is stopped gets to nothing; one on a slow CPU to less. */
static void test_slow_process(void **state)
{
	struct bench bench;
	uint64_t before;
	uint64_t fast;

	(void)state;
	bench_init(&bench, 1, SIM_BUG_NONE);
	bench_run(&bench, 100000);
	fast = bench.host.journal.last_seq;
	bench.host.free_us = bench.world.now_us + GW_US_PER_S;
	bench_run(&bench, GW_US_PER_S - 1);
	assert_int_equal(bench.host.journal.last_seq, fast);
	bench_run(&bench, 100000);
	assert_true(bench.host.journal.last_seq > fast);
	before = bench.host.journal.last_seq;
	bench.host.step_us = 5000;
	bench_run(&bench, 100000);
	assert_true(bench.host.journal.last_seq > before);
	assert_true(bench.host.journal.last_seq < before + fast / 2);
	bench_deinit(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_inverts),
		cmocka_unit_test(test_clock_drifts),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_one_way_cut),
		cmocka_unit_test(test_troubled_stream),
		cmocka_unit_test(test_troubled_datagrams),
		cmocka_unit_test(test_host_keeps_the_seam),
		cmocka_unit_test(test_planted_host_bugs_show),
		cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_damaged_disks),
		cmocka_unit_test(test_failed_sync),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_slow_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
