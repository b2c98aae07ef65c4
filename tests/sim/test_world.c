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
		struct sim_clock clock = {.boot_us = 7, .drift_ppm = drifts[i]};

		for (uint64_t mono_us = 10000000; mono_us < 10002000; mono_us++) {
			uint64_t true_us = sim_clock_true(&clock, mono_us);

			assert_true(sim_clock_mono(&clock, true_us) >= mono_us);
			if (true_us > clock.boot_us)
				assert_true(sim_clock_mono(&clock, true_us - 1) < mono_us);
		}
	}
}

/* A receiver that notes the numbers that arrive. */
struct listener {
	uint32_t numbers[256];
	uint32_t count;
	uint32_t downs;
	uint32_t ups;
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

	assert_int_equal(end, SIM_LISTENER);
	assert_int_equal(size, sizeof(uint32_t));
	assert_true(listener->count < 256);
	memcpy(&listener->numbers[listener->count++], bytes, size);
}

static const struct sim_conn_ops listener_ops = {on_up, on_down, on_receive};

static void send_numbers(struct sim_conn *conn, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		sim_conn_send(conn, SIM_DIALER, (const uint8_t *)&i, sizeof(i));
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
		sim_path_cut(&world, &path, false);
		send_numbers(&conn, 20, 40);
		sim_world_run(&world, 5000000);
		assert_int_equal(listener.count, 0);
		sim_path_heal(&world, &path);
		sim_world_run(&world, 20000000);
		assert_int_equal(listener.count, 40);
		for (uint32_t i = 0; i < 40; i++)
			assert_int_equal(listener.numbers[i], i);
		send_numbers(&conn, 40, 60);
		sim_path_cut(&world, &path, true);
		assert_int_equal(listener.downs, 1);
		sim_world_run(&world, 30000000);
		before = listener.count;
		for (uint32_t i = 40; i < before; i++)
			assert_int_equal(listener.numbers[i], i);
		assert_int_equal(listener.ups, 1);
		sim_path_heal(&world, &path);
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

static const struct gw_node_ops toy_node_ops = {
	.step = toy_step,
	.wake_us = toy_wake_us,
	.apply = toy_apply,
	.digest = toy_digest,
	.free = toy_free,
};

struct toy_run {
	uint32_t effects;
	uint32_t early; /* carried out before they were durable */
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
	if (effect->after_seq > host->journal.durable_count)
		run->early++;
}

static const struct sim_host_ops toy_ops = {toy_make,    toy_nothing, toy_nothing,
					    toy_stepped, toy_effect,  toy_nothing};

struct toy_result {
	struct toy_run run;
	uint64_t hash;
	uint32_t records;
	char fault[512];
};

static struct toy_result toy_world(uint64_t seed, enum sim_bug bug)
{
	struct sim_host host = {.name = "toy", .write_us_max = 5000};
	struct toy_result result = {.hash = 0};
	struct sim_world world;
	struct sim_shared shared;

	sim_world_init(&world, seed, NULL);
	assert_int_equal(sim_shared_init(&shared, &world), 0);
	shared.bug = bug;
	sim_host_init(&host, &shared, &toy_ops, &result.run);
	for (unsigned i = 1; i <= 5; i++) {
		sim_host_start(&host);
		sim_world_run(&world, i * 100000);
		sim_host_check_replay(&host);
		sim_host_crash(&host);
		assert_int_equal(host.journal.count, host.journal.durable_count);
	}
	result.hash = world.hash;
	result.records = host.journal.count;
	memcpy(result.fault, world.fault, sizeof(result.fault));
	sim_host_deinit(&host);
	sim_shared_deinit(&shared);
	sim_world_deinit(&world);
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
	assert_true(first.records > 1000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_inverts),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_host_keeps_the_seam),
		cmocka_unit_test(test_planted_host_bugs_show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
