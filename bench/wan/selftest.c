/*
 * The self-test of the lab. A lab of two sites and one link is set to what is to be checked, and
 * looked at from outside (probe.h), once idle and once with a spinning process on every core:
 *
 *   rtt    pings from both ends, and requests over a TCP connection; the median holds if it is
 *          within 0.3 ms + 2 % of twice the delay;
 *   rate   one iperf3 stream each way; its goodput holds if it is within 3 % of the rate's payload
 *          share. The limit is the highest rate of the ladder at which this is so, idle and busy,
 *          both ways, and the routers' own counters show every packet sent to have come in;
 *   loss   1 % on a TCP stream and on pings, each way, counted by the routers; holds if the asked
 *          share lies in the 99 % interval (Wilson 1927) of each cell, the 1 % being shared out
 *          among the cells (Bonferroni): else a sound emulator would fail one run in twelve.
 */
#include "bench/wan/selftest.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/wan/lab.h"
#include "bench/wan/params.h"
#include "bench/wan/probe.h"
#include "proto/base/check.h"

#define CELLS_MAX 64u
#define PAYLOAD_SHARE (1428.0 / 1500.0) /* TCP with timestamps over IPv6, MTU 1500 */
#define QUEUE_BYTES (16u << 20)         /* above TCP's largest window: no loss by a full queue */
#define RTT_SLACK_US 300.0
#define RTT_SLACK_SHARE 0.02
#define RATE_SLACK_PERCENT 3.0
#define HEADLINE_DELAY_US 1200u /* 240 km */
#define LOSS_PPM 10000u
#define LOSS_CELLS 8u /* idle and busy, stream and pings, there and back */
#define LOSS_Z 3.2272 /* two-sided 1 % / LOSS_CELLS */
#define LOSS_PING_RATE_BPS 1000000000u
#define DRAIN_TRIES 200
#define DRAIN_PAUSE_MS 10

enum cell_kind { CELL_RTT, CELL_RATE, CELL_LOSS };

struct cell {
	enum cell_kind kind;
	char name[96];
	double asked;
	double seen;
	double error_percent; /* of asked; loss: 0 */
	double low;           /* loss: the interval */
	double high;
	bool holds;
};

struct selftest {
	const volatile bool *interrupted;
	bool quick;
	bool json;
	char lab[GW_LAB_NAME_BYTES_MAX + 1];
	char address[2][64]; /* of a1 and b1 */
	const char *load;    /* "idle" or "busy" */
	pid_t busy[GW_PROBE_BUSY_MAX];
	uint32_t busy_count;
	double limit_mbps;         /* 0: none of the ladder holds */
	double lateness_us[3];     /* p50, p99, p99.9 at the limit, the worse of idle and busy */
	double emulator_cpu_share; /* at the limit, the higher */
	uint32_t count;
	struct cell cells[CELLS_MAX];
};

static const char *const hosts[2] = {"a1", "b1"};
static const char *const routers[2] = {"a.router", "b.router"};
static const char *const ways[2] = {"there", "back"};

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000L};

	(void)nanosleep(&time, NULL); /* shorter after a signal: callers count tries */
}

static int set_link(const struct selftest *test, const struct gw_link_params *params)
{
	json_t *request = json_pack("{s:s, s:s, s:o}", "op", "set", "link", "a-b", "params",
				    gw_params_to_json(params));
	json_t *answer = gw_lab_ask(test->lab, request);
	int error = answer ? 0 : -EIO;

	json_decref(request);
	json_decref(answer);
	return error;
}

/* The emulator's stats, once nothing waits in it. NULL: it does not come to rest. */
static json_t *stats_at_rest(const struct selftest *test, bool reset)
{
	json_t *request = json_pack("{s:s, s:b}", "op", "stats", "reset", (int)reset);
	json_t *stats = NULL;

	for (int i = 0; i < DRAIN_TRIES; i++) {
		json_decref(stats);
		stats = gw_lab_ask(test->lab, request);
		if (!stats || json_integer_value(json_object_get(stats, "slots_used")) == 0)
			break;
		pause_ms(DRAIN_PAUSE_MS);
	}
	json_decref(request);
	return stats;
}

static void set_load(struct selftest *test, bool busy)
{
	gw_probe_end(test->busy, test->busy_count);
	test->busy_count = busy ? gw_probe_busy_start(test->busy) : 0;
	test->load = busy ? "busy" : "idle";
}

static void add_cell(struct selftest *test, const struct cell *cell)
{
	static const char *const units[] = {"ms", "Mb/s", "%"};

	CHECK(test->count < CELLS_MAX);
	test->cells[test->count++] = *cell;
	if (test->json)
		return;
	(void)printf("%-44s asked %9.3f  seen %9.3f %-4s  %s\n", cell->name, cell->asked,
		     cell->seen, units[cell->kind], cell->holds ? "holds" : "DOES NOT HOLD");
	(void)fflush(stdout); /* progress only */
}

static void add_rtt(struct selftest *test, const char *what, uint64_t delay_us,
		    const struct gw_probe_rtt *rtt)
{
	double asked_us = 2.0 * (double)delay_us;
	double error_us = rtt->p50_us - asked_us;
	struct cell cell = {
		.kind = CELL_RTT,
		.asked = asked_us / 1e3,
		.seen = rtt->p50_us / 1e3,
		.error_percent = asked_us > 0 ? fabs(error_us) / asked_us * 100 : 0,
		.holds = rtt->received == rtt->sent && rtt->sent > 0 &&
			 fabs(error_us) <= RTT_SLACK_US + RTT_SLACK_SHARE * asked_us,
	};

	(void)snprintf(cell.name, sizeof(cell.name), "%s rtt %.1f ms, %s", test->load,
		       asked_us / 1e3, what);
	add_cell(test, &cell);
}

static int measure_rtt(struct selftest *test)
{
	static const uint64_t delays_us[] = {0, HEADLINE_DELAY_US, 10000, 50000};
	size_t delay_count = test->quick ? 3 : 4;
	uint32_t count = test->quick ? 200 : 1000;
	int error = 0;

	for (size_t i = 0; i < delay_count && error == 0; i++) {
		const struct gw_link_params params = {.delay_us = delays_us[i]};
		uint32_t requests = delays_us[i] > 5000 ? count / 5 : count;
		struct gw_probe_rtt rtt;

		error = set_link(test, &params);
		for (uint32_t k = 0; k < 2 && error == 0; k++) {
			error = gw_probe_ping(test->lab, hosts[k], test->address[1 - k], count,
					      2000, &rtt);
			add_rtt(test, k ? "ping from b" : "ping from a", delays_us[i], &rtt);
		}
		if (error == 0)
			error = gw_probe_tcp(test->lab, hosts[0], hosts[1], test->address[1],
					     requests, &rtt);
		if (error == 0)
			add_rtt(test, "TCP requests from a", delays_us[i], &rtt);
		if (*test->interrupted)
			error = -EINTR;
	}
	return error;
}

static double number_at(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static const json_t *direction_of(const json_t *stats, uint32_t way)
{
	const json_t *link = json_array_get(json_object_get(stats, "links"), 0);

	return json_array_get(json_object_get(link, "directions"), way);
}

static double max_of(double a, double b)
{
	return a > b ? a : b;
}

/* What passed a link in one direction, by the routers' own counters. */
struct passage {
	struct gw_probe_counters before[2];
	double sent;
	double received;
};

static int passage_begin(const struct selftest *test, struct passage *passage)
{
	json_t *stats = stats_at_rest(test, true);
	int error = stats ? 0 : -EIO;

	json_decref(stats);
	for (uint32_t i = 0; i < 2 && error == 0; i++)
		error = gw_probe_counters(test->lab, routers[i], "wan0", &passage->before[i]);
	return error;
}

static int passage_end(const struct selftest *test, uint32_t way, struct passage *passage,
		       json_t **ret_stats)
{
	struct gw_probe_counters after[2];
	json_t *stats = stats_at_rest(test, false);
	int error = stats ? 0 : -EIO;

	for (uint32_t i = 0; i < 2 && error == 0; i++)
		error = gw_probe_counters(test->lab, routers[i], "wan0", &after[i]);
	if (error < 0) {
		json_decref(stats);
		return error;
	}
	passage->sent = (double)(after[way].sent - passage->before[way].sent);
	passage->received = (double)(after[1 - way].received - passage->before[1 - way].received);
	*ret_stats = stats;
	return 0;
}

/* One stream at one rate. *ret_cell holds if the goodput does, and no packet is missing. */
static int measure_rate(const struct selftest *test, double mbps, uint32_t way,
			struct cell *ret_cell, json_t **ret_stats)
{
	const struct gw_link_params params = {.delay_us = HEADLINE_DELAY_US,
					      .rate_bps = (uint64_t)(mbps * 1e6),
					      .queue_bytes = QUEUE_BYTES};
	double asked = mbps * PAYLOAD_SHARE;
	struct gw_probe_stream stream = {0};
	struct passage passage;
	int error = set_link(test, &params);

	if (error == 0)
		error = passage_begin(test, &passage);
	if (error == 0)
		error = gw_probe_stream(test->lab, "a1", test->address[1], 1, test->quick ? 2 : 10,
					way == 1, &stream);
	if (error == 0)
		error = passage_end(test, way, &passage, ret_stats);
	if (error < 0)
		return error;
	*ret_cell =
		(struct cell){.kind = CELL_RATE, .asked = asked, .seen = stream.goodput_bps / 1e6};
	ret_cell->error_percent = fabs(ret_cell->seen / asked - 1) * 100;
	ret_cell->holds = ret_cell->error_percent <= RATE_SLACK_PERCENT &&
			  passage.sent == passage.received &&
			  json_is_true(json_object_get(*ret_stats, "fifo"));
	(void)snprintf(ret_cell->name, sizeof(ret_cell->name),
		       "%s rate %.0f Mb/s %s, %.0f packets missing", test->load, mbps, ways[way],
		       passage.sent - passage.received);
	return *test->interrupted ? -EINTR : 0;
}

/* All four cells of a rate. 0; 1: one does not hold, nothing is added; negative errno. */
static int try_rate(struct selftest *test, double mbps)
{
	uint32_t count = test->count;
	double lateness_us[3] = {0};
	double cpu_share = 0;

	for (uint32_t i = 0; i < 4; i++) {
		struct cell cell;
		json_t *stats = NULL;
		const json_t *late;
		int error;

		if (i % 2 == 0)
			set_load(test, i == 2);
		error = measure_rate(test, mbps, i % 2, &cell, &stats);
		if (error < 0)
			return error;
		late = json_object_get(direction_of(stats, i % 2), "lateness_us");
		lateness_us[0] = max_of(lateness_us[0], number_at(late, "p50"));
		lateness_us[1] = max_of(lateness_us[1], number_at(late, "p99"));
		lateness_us[2] = max_of(lateness_us[2], number_at(late, "p99.9"));
		cpu_share = max_of(cpu_share,
				   number_at(stats, "cpu_us") / number_at(stats, "elapsed_us"));
		json_decref(stats);
		add_cell(test, &cell);
		if (!cell.holds) {
			test->count = count; /* not a rate that we claim; the limit is below it */
			return 1;
		}
	}
	memcpy(test->lateness_us, lateness_us, sizeof(lateness_us));
	test->emulator_cpu_share = cpu_share;
	return 0;
}

static int find_limit(struct selftest *test)
{
	static const double ladder_mbps[] = {1000, 800, 600, 400, 200, 100, 50};

	for (size_t i = 0; i < GW_ARRAY_COUNT(ladder_mbps); i++) {
		int result = try_rate(test, ladder_mbps[i]);

		if (result < 0)
			return result;
		if (result == 0) {
			test->limit_mbps = ladder_mbps[i];
			return 0;
		}
	}
	return 0;
}

static void add_loss(struct selftest *test, const char *what, uint32_t way,
		     const struct passage *passage)
{
	double n = passage->sent;
	double p = LOSS_PPM / 1e6;
	double seen = n > 0 ? 1 - passage->received / n : 0;
	double z2 = LOSS_Z * LOSS_Z;
	double middle = (seen + z2 / (2 * n)) / (1 + z2 / n);
	double half = LOSS_Z / (1 + z2 / n) * sqrt(seen * (1 - seen) / n + z2 / (4 * n * n));
	struct cell cell = {
		.kind = CELL_LOSS,
		.asked = p * 100,
		.seen = seen * 100,
		.low = (middle - half) * 100,
		.high = (middle + half) * 100,
		.holds = n > 0 && p >= middle - half && p <= middle + half,
	};

	(void)snprintf(cell.name, sizeof(cell.name), "%s loss %s, %s, of %.0f packets", test->load,
		       ways[way], what, n);
	add_cell(test, &cell);
}

static int measure_loss_stream(struct selftest *test, uint32_t way)
{
	struct gw_probe_stream stream;
	struct passage passage;
	json_t *stats = NULL;
	int error = passage_begin(test, &passage);

	if (error == 0)
		error = gw_probe_stream(test->lab, "a1", test->address[1], 0, test->quick ? 2 : 10,
					way == 1, &stream);
	if (error == 0)
		error = passage_end(test, way, &passage, &stats);
	json_decref(stats);
	if (error == 0)
		add_loss(test, "TCP stream", way, &passage);
	return error;
}

/* Both directions of the same pings: replies are as many as requests that arrived. */
static int measure_loss_pings(struct selftest *test)
{
	struct passage passages[2];
	struct gw_probe_rtt rtt;
	json_t *stats = NULL;
	int error = passage_begin(test, &passages[0]);

	passages[1] = passages[0];
	if (error == 0)
		error = gw_probe_ping(test->lab, "a1", test->address[1],
				      test->quick ? 5000 : GW_PROBE_COUNT_MAX, 200, &rtt);
	for (uint32_t way = 0; way < 2 && error == 0; way++) {
		error = passage_end(test, way, &passages[way], &stats);
		if (error < 0)
			break;
		json_decref(stats);
		add_loss(test, "pings", way, &passages[way]);
	}
	return error;
}

static int measure_loss(struct selftest *test)
{
	double mbps = test->limit_mbps > 0 ? test->limit_mbps : 50;
	const struct gw_link_params params = {.delay_us = HEADLINE_DELAY_US,
					      .rate_bps = (uint64_t)(mbps * 1e6),
					      .queue_bytes = QUEUE_BYTES,
					      .loss_ppm = LOSS_PPM};
	int error = set_link(test, &params);

	for (uint32_t way = 0; way < 2 && error == 0; way++)
		error = measure_loss_stream(test, way);
	if (error == 0)
		error = measure_loss_pings(test);
	return *test->interrupted ? -EINTR : error;
}

static int measure(struct selftest *test)
{
	int error = 0;

	for (uint32_t busy = 0; busy < 2 && error == 0; busy++) {
		set_load(test, busy);
		error = measure_rtt(test);
	}
	if (error == 0)
		error = find_limit(test);
	for (uint32_t busy = 0; busy < 2 && error == 0; busy++) {
		set_load(test, busy);
		error = measure_loss(test);
	}
	set_load(test, false);
	return error;
}

/* A row's cells, and whether all of them hold. */
static bool collect(const struct selftest *test, enum cell_kind kind, json_t *beside)
{
	bool holds = true;
	uint32_t count = 0;

	for (uint32_t i = 0; i < test->count; i++) {
		const struct cell *cell = &test->cells[i];

		if (cell->kind != kind)
			continue;
		count++;
		holds &= cell->holds;
		(void)json_array_append_new(
			beside, json_pack("{s:s, s:f, s:f, s:f, s:f, s:b}", "name", cell->name,
					  "value", cell->seen, "asked", cell->asked, "low",
					  cell->low, "high", cell->high, "holds", cell->holds));
	}
	return holds && count > 0;
}

/* The row of a kind: its value is the worst cell's error; for RTT among the cells of 2.4 ms, since
 * 0.3 ms + 2 % is another share of each delay (every cell is held to its own). */
static json_t *error_row(const struct selftest *test, const char *name, enum cell_kind kind,
			 double bar, double asked)
{
	json_t *beside = json_array();
	bool holds = collect(test, kind, beside);
	double least = HUGE_VAL;
	double most = 0;
	int runs = 0;

	for (uint32_t i = 0; i < test->count; i++) {
		const struct cell *cell = &test->cells[i];

		if (cell->kind != kind || (asked > 0 && cell->asked != asked))
			continue;
		runs++;
		most = max_of(most, cell->error_percent);
		least = cell->error_percent < least ? cell->error_percent : least;
	}
	if (runs == 0)
		return json_pack("{s:s, s:n, s:s, s:s, s:f, s:b, s:o, s:s}", "name", name, "value",
				 "unit", "%", "better", "lower", "bar", bar, "holds", 0, "beside",
				 beside, "why", "no rate of the ladder holds on this machine");
	return json_pack("{s:s, s:f, s:s, s:s, s:f, s:b, s:o, s:f, s:f, s:i}", "name", name,
			 "value", most, "unit", "%", "better", "lower", "bar", bar, "holds", holds,
			 "beside", beside, "min", least, "max", most, "runs", runs);
}

static json_t *loss_row(const struct selftest *test)
{
	json_t *beside = json_array();
	int holds = collect(test, CELL_LOSS, beside);

	return json_pack("{s:s, s:i, s:s, s:s, s:i, s:b, s:o, s:i, s:i, s:i}", "name",
			 "wan.loss_in_interval", "value", holds, "unit", "1 or 0", "better",
			 "higher", "bar", 1, "holds", holds, "beside", beside, "min", holds, "max",
			 holds, "runs", (int)LOSS_CELLS);
}

static json_t *limit_row(const struct selftest *test)
{
	json_t *beside = json_pack(
		"[{s:s, s:f}, {s:s, s:f}, {s:s, s:f}, {s:s, s:f}]", "name",
		"lateness_us_p50 at the limit", "value", test->lateness_us[0], "name",
		"lateness_us_p99 at the limit", "value", test->lateness_us[1], "name",
		"lateness_us_p99.9 at the limit", "value", test->lateness_us[2], "name",
		"emulator's share of a core at the limit", "value", test->emulator_cpu_share);

	return json_pack("{s:s, s:f, s:s, s:s, s:n, s:b, s:o, s:f, s:f, s:i}", "name",
			 "wan.limit_mbps", "value", test->limit_mbps, "unit", "Mb/s", "better",
			 "higher", "bar", "holds", test->limit_mbps > 0, "beside", beside, "min",
			 test->limit_mbps, "max", test->limit_mbps, "runs", 4);
}

static int report(const struct selftest *test)
{
	double bar = (RTT_SLACK_US / (2.0 * HEADLINE_DELAY_US) + RTT_SLACK_SHARE) * 100;
	json_t *rows = json_pack(
		"[o, o, o, o]",
		error_row(test, "wan.rtt_error_percent", CELL_RTT, bar,
			  2.0 * HEADLINE_DELAY_US / 1e3),
		error_row(test, "wan.rate_error_percent", CELL_RATE, RATE_SLACK_PERCENT, 0),
		loss_row(test), limit_row(test));
	int error = rows ? 0 : -ENOMEM;
	const json_t *row;
	size_t i;

	if (rows && json_dump_file(rows, GW_LAB_FOLDER "/selftest.json", JSON_INDENT(2)) < 0)
		error = -EIO;
	if (rows && test->json && (json_dumpf(rows, stdout, JSON_INDENT(2)) < 0 || puts("") < 0))
		error = -EIO;
	json_array_foreach(rows, i, row)
	{
		if (!test->json)
			(void)printf("%-28s %10.3f %-7s %s\n",
				     json_string_value(json_object_get(row, "name")),
				     number_at(row, "value"),
				     json_string_value(json_object_get(row, "unit")),
				     json_is_true(json_object_get(row, "holds")) ? "holds"
										 : "DOES NOT HOLD");
	}
	json_decref(rows);
	return error;
}

static int bring_up(struct selftest *test)
{
	static const char text[] = "name: selftest\n"
				   "sites: [{name: a}, {name: b}]\n"
				   "links: [{between: [a, b], there: {delay: 1ms}}]\n";
	struct gw_scenario scenario;
	struct gw_arena arena;
	struct gw_parse_error fault;
	json_t *state;
	int error;

	gw_arena_init(&arena, 1u << 20);
	CHECK(gw_scenario_parse(&scenario, &arena, text, sizeof(text) - 1, &fault) == 0);
	(void)snprintf(test->lab, sizeof(test->lab), "selftest-%d", (int)getpid());
	error = gw_lab_up(&scenario, test->lab, getpid(), test->interrupted);
	gw_arena_deinit(&arena);
	if (error < 0)
		return error;
	state = gw_lab_state(test->lab);
	for (size_t i = 0; i < 2; i++) {
		const json_t *site = json_array_get(json_object_get(state, "sites"), i);
		const json_t *host = json_array_get(json_object_get(site, "hosts"), 0);
		const char *address = json_string_value(json_object_get(host, "address"));

		CHECK(address && strlen(address) < sizeof(test->address[i]));
		strcpy(test->address[i], address);
	}
	json_decref(state);
	return 0;
}

int gw_selftest(bool quick, bool json, const volatile bool *interrupted)
{
	static struct selftest test;
	pid_t server;
	int error;

	test = (struct selftest){.interrupted = interrupted, .quick = quick, .json = json};
	error = bring_up(&test);
	if (error < 0)
		return error;
	server = gw_probe_stream_server(test.lab, "b1");
	error = server < 0 ? server : measure(&test);
	gw_probe_end(test.busy, test.busy_count);
	if (server > 0)
		gw_probe_end(&server, 1);
	(void)gw_lab_down(test.lab);
	if (error == 0)
		error = report(&test);
	else
		(void)fprintf(stderr, "godwit-lab: the self-test stopped: %s\n", strerror(-error));
	return error;
}
