/* The loop, the threads beside it, and the path probe on loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/clock.h"
#include "transport/probe.h"
#include "transport/reactor.h"
#include "transport/worker.h"

#define DEADLINE_US (20 * GW_US_PER_S)

static struct gw_reactor *reactor;

static int set_up(void **state)
{
	(void)state;
	return gw_reactor_new(&reactor);
}

static int tear_down(void **state)
{
	(void)state;
	reactor = gw_reactor_free(reactor);
	return 0;
}

/* Drives the loop until *count reaches `wanted`; false: the deadline came first. */
static bool until(const uint32_t *count, uint32_t wanted)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	while (*count < wanted && gw_clock_mono_us() < deadline_us)
		assert_int_equal(gw_reactor_turn(reactor, deadline_us), 0);
	return *count >= wanted;
}

static void clocks_tell_the_boot(void **state)
{
	struct gw_clock clock;
	struct gw_clock again;
	struct gw_now first;
	struct gw_now second;

	(void)state;
	assert_int_equal(gw_clock_init(&clock), 0);
	assert_int_equal(gw_clock_init(&again), 0);
	first = gw_clock_now(&clock);
	second = gw_clock_now(&again);
	assert_true(second.mono_us >= first.mono_us);
	assert_false(gw_id_is_zero(first.boot_id));
	assert_true(gw_id_equal(first.boot_id, second.boot_id));
}

struct order {
	char text[16];
	size_t size;
};

struct step {
	struct gw_timer timer;
	struct gw_deferred deferred;
	struct order *order;
	char name;
	uint32_t count;
};

static void stepped(void *context)
{
	struct step *step = context;

	step->count++;
	if (step->order->size < sizeof(step->order->text) - 1)
		step->order->text[step->order->size++] = step->name;
}

static void step_init(struct step *step, struct order *order, char name)
{
	*step = (struct step){.order = order, .name = name};
	step->timer.fired = stepped;
	step->timer.context = step;
	step->deferred.call = stepped;
	step->deferred.context = step;
}

static void timers_fire_in_order(void **state)
{
	struct order order = {0};
	struct step steps[4];
	uint64_t now_us = gw_clock_mono_us();

	(void)state;
	for (int i = 0; i < 4; i++)
		step_init(&steps[i], &order, (char)('a' + i));
	gw_reactor_timer_set(reactor, &steps[2].timer, now_us + 3000);
	gw_reactor_timer_set(reactor, &steps[0].timer, now_us + 1000);
	gw_reactor_timer_set(reactor, &steps[1].timer, now_us + 1000); /* equal: as they were set */
	gw_reactor_timer_set(reactor, &steps[3].timer, now_us + 2000);
	gw_reactor_timer_cancel(reactor, &steps[3].timer);
	assert_true(until(&steps[2].count, 1));
	assert_string_equal(order.text, "abc");
	assert_true(gw_clock_mono_us() >= now_us + 3000);
	gw_reactor_timer_set(reactor, &steps[3].timer, now_us);
	gw_reactor_timer_set(reactor, &steps[3].timer, GW_NEVER_US);
	assert_int_equal(gw_reactor_turn(reactor, 0), 0);
	assert_string_equal(order.text, "abc");
}

static void deferred_calls_come_once(void **state)
{
	struct order order = {0};
	struct step steps[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		step_init(&steps[i], &order, (char)('a' + i));
	gw_reactor_defer(reactor, &steps[0].deferred);
	gw_reactor_defer(reactor, &steps[1].deferred);
	gw_reactor_defer(reactor, &steps[0].deferred);
	gw_reactor_defer(reactor, &steps[2].deferred);
	gw_reactor_undefer(reactor, &steps[1].deferred);
	gw_reactor_undefer(reactor, &steps[1].deferred);
	assert_int_equal(gw_reactor_turn(reactor, 0), 0);
	assert_string_equal(order.text, "ac");
}

struct end {
	struct gw_watch watch;
	struct end *other;
	uint32_t count;
};

static void end_ready(void *context, uint32_t events)
{
	struct end *end = context;

	assert_true(events & EPOLLIN);
	end->count++;
	gw_reactor_unwatch(reactor, &end->other->watch); /* ready too, in the same batch */
	gw_reactor_unwatch(reactor, &end->watch);
}

static void unwatched_is_not_called(void **state)
{
	struct end ends[2] = {0};
	int pipes[2][2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pipe(pipes[i]), 0);
		ends[i].watch.fd = pipes[i][0];
		ends[i].watch.ready = end_ready;
		ends[i].watch.context = &ends[i];
		ends[i].other = &ends[1 - i];
		assert_int_equal(gw_reactor_watch(reactor, &ends[i].watch, EPOLLIN), 0);
		assert_int_equal(write(pipes[i][1], "x", 1), 1);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(gw_reactor_turn(reactor, 0), 0);
	assert_int_equal(ends[0].count + ends[1].count, 1);
	for (int i = 0; i < 4; i++)
		(void)close(pipes[i / 2][i % 2]);
}

static void signal_received(void *context, int number)
{
	assert_int_equal(number, SIGUSR1);
	(*(uint32_t *)context)++;
	gw_reactor_stop(reactor);
}

static void signals_are_calls(void **state)
{
	static const int numbers[] = {SIGUSR1};
	uint32_t count = 0;
	uint64_t until_us;

	(void)state;
	assert_int_equal(gw_reactor_signals(reactor, numbers, 1, signal_received, &count), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(gw_reactor_run(reactor), 0);
	assert_int_equal(count, 1);
	/* Stopped twice, turns still sleep: what a daemon has to say last must not burn a core. */
	gw_reactor_stop(reactor);
	until_us = gw_clock_mono_us() + 10 * GW_US_PER_MS;
	assert_int_equal(gw_reactor_turn(reactor, until_us), 0);
	assert_true(gw_clock_mono_us() >= until_us);
}

struct results {
	uint32_t count;
	uint64_t plans[GW_WORKER_QUEUE_MAX];
	uintptr_t sum;
};

static void planned(void *context, uint64_t plan, void *result)
{
	struct results *results = context;

	assert_true(results->count < GW_WORKER_QUEUE_MAX);
	results->plans[results->count++] = plan;
	results->sum += (uintptr_t)result;
}

static atomic_bool hold;

/* Its "snapshot" is a number; the result is that number and the units. */
static void *add_units(void *snapshot, uint64_t work_units, uint64_t seed)
{
	(void)seed;
	while (atomic_load(&hold))
		(void)sched_yield();
	return (void *)((uintptr_t)snapshot + work_units);
}

static void workers_bound_their_queue(void **state)
{
	struct results results = {0};
	struct gw_worker *worker;
	struct gw_plan plan = {.run = add_units, .snapshot = (void *)(uintptr_t)1, .work_units = 2};

	(void)state;
	atomic_store(&hold, true);
	assert_int_equal(gw_worker_new(reactor, 1, planned, &results, &worker), 0);
	for (uint64_t i = 0; i < GW_WORKER_QUEUE_MAX; i++) {
		plan.plan = i;
		assert_int_equal(gw_worker_run(worker, &plan), 0);
	}
	assert_int_equal(gw_worker_run(worker, &plan), -ENOBUFS);
	assert_int_equal(results.count, 0);
	atomic_store(&hold, false);
	assert_true(until(&results.count, GW_WORKER_QUEUE_MAX));
	for (uint64_t i = 0; i < GW_WORKER_QUEUE_MAX; i++)
		assert_int_equal(results.plans[i], i); /* one thread: in order */
	assert_int_equal(results.sum, 3 * GW_WORKER_QUEUE_MAX);
	results = (struct results){0};
	assert_int_equal(gw_worker_run(worker, &plan), 0);
	assert_int_equal(gw_worker_run(worker, &plan), 0);
	gw_worker_free(worker);
	assert_int_equal(results.count, 2); /* ended, not lost */
}

struct reports {
	uint32_t count;
	uint32_t paths;
	Godwit__PathReport__Path path; /* the first of the last report */
};

static void reported(void *context, const Godwit__PathReport *report)
{
	struct reports *reports = context;

	reports->count++;
	reports->paths = (uint32_t)report->n_paths;
	reports->path = *report->paths[0];
}

static struct gw_probe *probe_new(struct reports *reports)
{
	const struct gw_probe_options options = {
		.reactor = reactor,
		.interval_us = 2 * GW_US_PER_MS,
		.wait_us = 20 * GW_US_PER_MS,
		.report_us = 40 * GW_US_PER_MS,
		.report = reports ? reported : NULL,
		.context = reports,
	};
	struct gw_fault fault = {""};
	struct gw_probe *probe;

	if (gw_probe_new(&options, &probe, &fault) < 0)
		fail_msg("%s", fault.text);
	return probe;
}

static int set_peer(struct gw_probe *probe, const char *address, uint32_t port)
{
	struct gw_id node = gw_id_make(1, 2, 3);
	Godwit__PeerTable table = GODWIT__PEER_TABLE__INIT;
	Godwit__PeerTable__Peer peer = GODWIT__PEER_TABLE__PEER__INIT;
	Godwit__PeerTable__Peer *peers[] = {&peer};
	char text[64];
	uint8_t bytes[256];

	(void)snprintf(text, sizeof(text), "%s", address);
	peer.node = gw_wire_id(&node);
	peer.address = text;
	peer.probe_port = port;
	table.n_peers = 1;
	table.peers = peers;
	table.generation = 4;
	gw_wire_encode(&table.base, bytes);
	return gw_probe_set_peers(probe, bytes, gw_wire_size(&table.base));
}

static void measure(const char *address)
{
	struct reports reports = {0};
	struct gw_probe *far = probe_new(NULL);
	struct gw_probe *near = probe_new(&reports);

	assert_int_equal(set_peer(near, address, gw_probe_port(far)), 0);
	assert_true(until(&reports.count, 4));
	assert_int_equal(reports.paths, 1);
	assert_true(reports.path.samples >= 10);
	assert_true(reports.path.rtt_us_min > 0);
	assert_true(reports.path.rtt_us_min <= reports.path.rtt_us_p50);
	assert_true(reports.path.rtt_us_p50 <= reports.path.rtt_us_p99);
	assert_true(reports.path.rtt_us_p99 < 20 * GW_US_PER_MS);
	gw_probe_free(near);
	gw_probe_free(far);
}

static void probes_measure_loopback(void **state)
{
	int six = socket(AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	(void)state;
	measure("127.0.0.1");
	if (six >= 0 && bind(six, (struct sockaddr *)&address, sizeof(address)) == 0)
		measure("::1");
	else
		print_message("no IPv6 on this host: measured over IPv4 alone\n");
	if (six >= 0)
		(void)close(six);
}

static void silence_is_loss(void **state)
{
	struct reports reports = {0};
	struct gw_probe *near = probe_new(&reports);
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int silent = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	assert_int_equal(bind(silent, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(set_peer(near, "127.0.0.1", ntohs(address.sin_port)), 0);
	assert_true(until(&reports.count, 2));
	assert_true(reports.path.samples > 0);
	assert_int_equal(reports.path.loss_ppm, 1000000);
	assert_int_equal(reports.path.rtt_us_p50, 0);
	(void)close(silent);
	gw_probe_free(near);
}

static void bad_tables_change_nothing(void **state)
{
	struct reports reports = {0};
	struct gw_probe *far = probe_new(NULL);
	struct gw_probe *near = probe_new(&reports);

	(void)state;
	assert_int_equal(set_peer(near, "127.0.0.1", gw_probe_port(far)), 0);
	assert_int_equal(set_peer(near, "not an address", 7), -EINVAL);
	assert_int_equal(set_peer(near, "127.0.0.1", 0), -EINVAL);
	assert_int_equal(set_peer(near, "127.0.0.1", 65536), -EINVAL);
	assert_int_equal(gw_probe_set_peers(near, (const uint8_t *)"\xff", 1), -EINVAL);
	assert_true(until(&reports.count, 2));
	assert_int_equal(reports.paths, 1);
	gw_probe_free(near);
	gw_probe_free(far);
}

/* RFC 8762: as many bytes back as came, the sender's fields echoed, T2 not after T3; and nothing
 * for a packet too short. */
static void the_reflector_keeps_to_the_rfc(void **state)
{
	struct gw_probe *far = probe_new(NULL);
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(gw_probe_port(far)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint8_t packet[60] = {0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 1, 0xab, 0xcd};
	uint8_t answer[128];
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ssize_t size = -1;

	(void)state;
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, packet, 43, 0), 43);
	assert_int_equal(send(fd, packet, sizeof(packet), 0), sizeof(packet));
	while (size < 0 && gw_clock_mono_us() < deadline_us) {
		assert_int_equal(gw_reactor_turn(reactor, gw_clock_mono_us() + 1000), 0);
		size = recv(fd, answer, sizeof(answer), 0);
	}
	assert_int_equal(size, sizeof(packet)); /* the first answer is to the second packet */
	assert_memory_equal(answer, packet, 4);
	assert_memory_equal(answer + 14, packet + 14, 2);
	assert_memory_equal(answer + 24, packet, 14);
	assert_true(memcmp(answer + 16, answer + 4, 8) <= 0);
	assert_true(answer[40] > 0); /* TTL */
	assert_int_equal(recv(fd, answer, sizeof(answer), 0), -1);
	(void)close(fd);
	gw_probe_free(far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_tell_the_boot),
		cmocka_unit_test_setup_teardown(timers_fire_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(deferred_calls_come_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unwatched_is_not_called, set_up, tear_down),
		cmocka_unit_test_setup_teardown(signals_are_calls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(workers_bound_their_queue, set_up, tear_down),
		cmocka_unit_test_setup_teardown(probes_measure_loopback, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silence_is_loss, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_tables_change_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_reflector_keeps_to_the_rfc, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
