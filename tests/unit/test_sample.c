/* Texts of /proc, good and bad, and a sampler over a folder of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/parse.h"
#include "agent/sample.h"
#include "agent/topology.h"
#include "proto/base/prng.h"

static const char stat_text[] = "cpu  100 10 50 800 20 5 5 10 7 0\n"
				"cpu0 100 10 50 800 20 5 5 10 7 0\nintr 5 6\n";
static const char memory_text[] = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n"
				  "MemAvailable:    8192000 kB\nBuffers: 1 kB\n";
static const char disk_text[] = "   7       0 loop0 1 0 8 0 9 0 16 0 0 0 0 0 0 0 0 0 0\n"
				"   8       0 sda 100 0 2000 5 50 0 1000 5 0 5 10\n"
				"   8       1 sda1 90 0 1900 5 40 0 900 5 0 5 10\n"
				" 259       0 nvme0n1 100 0 4000 5 50 0 3000 5 0 5 10 0 0 0 0 0 0\n"
				" 259       1 nvme0n1p1 90 0 3900 5 40 0 2900 5 0 5 10\n"
				" 253       0 dm-0 90 0 3900 5 40 0 2900 5 0 5 10\n"
				"   8      16 sdaa 1 0 1 5 1 0 1 5 0 5 10\n";
static const char net_text[] =
	"Inter-|   Receive                                                |  Transmit\n"
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes packets\n"
	"    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
	"  eth0: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n"
	"wlan0:10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n";

static void stat_is_read(void **state)
{
	struct gw_cpu_ticks ticks = {0};

	(void)state;
	assert_true(gw_parse_stat(stat_text, &ticks));
	assert_int_equal(ticks.total, 1000);
	assert_int_equal(ticks.busy, 180);
	assert_int_equal(ticks.steal, 10);
	assert_false(gw_parse_stat("", &ticks));
	assert_false(gw_parse_stat("cpu0 1 2 3 4 5 6 7 8\n", &ticks));
	assert_false(gw_parse_stat("cpu  1 2 3 4 5 6 7\n", &ticks));
	assert_false(gw_parse_stat("cpu  1 2 3 x 5 6 7 8\n", &ticks));
	assert_false(gw_parse_stat("cpu  99999999999999999999 2 3 4 5 6 7 8\n", &ticks));
	assert_false(gw_parse_stat("cpu  18446744073709551615 2 3 4 5 6 7 8\n", &ticks));
	assert_int_equal(ticks.total, 1000); /* untouched */
}

static void meminfo_is_read(void **state)
{
	struct gw_memory memory = {0};

	(void)state;
	assert_true(gw_parse_meminfo(memory_text, &memory));
	assert_int_equal(memory.total_bytes, 16384000ull * 1024);
	assert_int_equal(memory.available_bytes, 8192000ull * 1024);
	assert_false(gw_parse_meminfo("", &memory));
	assert_false(gw_parse_meminfo("MemTotal: 5 kB\n", &memory));
	assert_false(gw_parse_meminfo("MemTotal: 5 MB\nMemAvailable: 5 kB\n", &memory));
	assert_false(gw_parse_meminfo("MemTotal: 18446744073709551615 kB\nMemAvailable: 5 kB\n",
				      &memory));
}

static void pressure_and_load_are_read(void **state)
{
	uint32_t ppm = 0;
	uint32_t milli = 0;

	(void)state;
	assert_true(gw_parse_pressure("some avg10=12.34 avg60=0.00 avg300=0.00 total=5\n", &ppm));
	assert_int_equal(ppm, 123400);
	assert_true(gw_parse_pressure("some avg10=100.00 avg60=", &ppm));
	assert_int_equal(ppm, 1000000);
	assert_false(gw_parse_pressure("some avg10=100.01 avg60=", &ppm));
	assert_false(gw_parse_pressure("full avg10=1.00", &ppm));
	assert_false(gw_parse_pressure("some avg10=", &ppm));
	assert_false(gw_parse_pressure("", &ppm));
	assert_true(gw_parse_loadavg("1.25 0.50 0.10 1/200 999\n", &milli));
	assert_int_equal(milli, 1250);
	assert_true(gw_parse_loadavg("0.00", &milli));
	assert_int_equal(milli, 0);
	assert_false(gw_parse_loadavg("12", &milli));
	assert_false(gw_parse_loadavg("-1.00", &milli));
	assert_false(gw_parse_loadavg("4294967296.00", &milli));
}

static void traffic_is_summed(void **state)
{
	struct gw_traffic traffic = {0};

	(void)state;
	assert_true(gw_parse_diskstats(disk_text, &traffic)); /* sda, nvme0n1, sdaa */
	assert_int_equal(traffic.in_bytes, (2000 + 4000 + 1) * 512);
	assert_int_equal(traffic.out_bytes, (1000 + 3000 + 1) * 512);
	assert_true(gw_parse_net_dev(net_text, &traffic)); /* all but lo */
	assert_int_equal(traffic.in_bytes, 1010);
	assert_int_equal(traffic.out_bytes, 2020);
	assert_true(gw_parse_diskstats("", &traffic));
	assert_int_equal(traffic.in_bytes, 0);
	assert_false(gw_parse_diskstats("   8       0 sda 100 0 2000\n", &traffic));
	assert_false(gw_parse_diskstats("   8       0\n", &traffic));
	assert_false(gw_parse_diskstats("sda\n", &traffic));
	assert_false(gw_parse_net_dev("", &traffic));
	assert_false(gw_parse_net_dev("a\nb\n  eth0 1 2\n", &traffic));
	assert_false(gw_parse_net_dev("a\nb\n  eth0: 1 2\n", &traffic));
	assert_false(gw_parse_net_dev("a\nb\n: 1 2 3 4 5 6 7 8 9\n", &traffic));
}

/* Damaged texts may be refused or read, and never more. Reads past the end show under ASan. */
static void damage_is_harmless(void **state)
{
	const char *const texts[] = {
		stat_text,    memory_text, disk_text, net_text, "some avg10=12.34 avg60=0.00\n",
		"1.25 0.50\n"};
	struct gw_prng prng;

	(void)state;
	gw_prng_init(&prng, 7);
	for (unsigned round = 0; round < 20000; round++) {
		const char *text = texts[gw_prng_below(&prng, 6)];
		size_t size = (size_t)gw_prng_below(&prng, strlen(text) + 1);
		char *copy = strndup(text, size);
		struct gw_cpu_ticks ticks;
		struct gw_memory memory;
		struct gw_traffic traffic;
		uint32_t number;

		assert_non_null(copy);
		for (uint64_t k = gw_prng_below(&prng, 4); k > 0 && size > 0; k--)
			copy[gw_prng_below(&prng, size)] = (char)gw_prng_below(&prng, 256);
		(void)gw_parse_stat(copy, &ticks);
		(void)gw_parse_meminfo(copy, &memory);
		(void)gw_parse_diskstats(copy, &traffic);
		(void)gw_parse_net_dev(copy, &traffic);
		(void)gw_parse_pressure(copy, &number);
		(void)gw_parse_loadavg(copy, &number);
		free(copy);
	}
}

struct folder {
	char path[64];
};

static void put(const struct folder *folder, const char *name, const char *text)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder->path, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
	static struct folder folder;
	char path[128];

	(void)snprintf(folder.path, sizeof(folder.path), "/tmp/test_sample.XXXXXX");
	if (!mkdtemp(folder.path))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/net", folder.path);
	if (mkdir(path, 0700) != 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/pressure", folder.path);
	*state = &folder;
	return mkdir(path, 0700);
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"stat",         "meminfo",  "loadavg",
					    "diskstats",    "net/dev",  "net",
					    "pressure/cpu", "pressure", ""};
	const struct folder *folder = *state;
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
		if (remove(path) != 0)
			return -1;
	}
	return 0;
}

static void samples_a_host(void **state)
{
	const struct folder *folder = *state;
	struct gw_sampler *sampler;
	Godwit__Telemetry first = GODWIT__TELEMETRY__INIT;
	Godwit__Telemetry second = GODWIT__TELEMETRY__INIT;
	struct gw_now now = {.mono_us = 5000000, .wall_us = 77};

	put(folder, "stat", stat_text);
	put(folder, "meminfo", memory_text);
	put(folder, "loadavg", "1.25 0.50 0.10 1/200 999\n");
	put(folder, "diskstats", disk_text);
	put(folder, "net/dev", net_text);
	put(folder, "pressure/cpu", "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\n");
	/* pressure/memory and pressure/io are missing: an older kernel. */
	assert_int_equal(gw_sampler_new(folder->path, "/", &sampler), 0);
	gw_sampler_take(sampler, &now, &first);
	assert_int_equal(first.at_wall_us, 77);
	assert_int_equal(first.cpu_busy_ppm, 0); /* no time has passed */
	assert_int_equal(first.network_receive_bps, 0);
	assert_int_equal(first.memory_available_bytes, 8192000ull * 1024);
	assert_int_equal(first.load1_milli, 1250);
	assert_non_null(first.pressure);
	assert_int_equal(first.pressure->cpu_ppm, 10000);
	assert_int_equal(first.pressure->io_ppm, 0);
	assert_true(first.disk_free_bytes > 0);
	assert_int_equal(gw_sampler_memory_bytes(sampler), 16384000ull * 1024);

	put(folder, "stat", "cpu  150 10 50 850 20 5 5 10 7 0\n"); /* 100 ticks, 50 busy */
	put(folder, "net/dev", "a\nb\n  eth0: 2010 1 0 0 0 0 0 0 1020 1 0 0 0 0 0 0\n");
	now.mono_us += 2000000;
	gw_sampler_take(sampler, &now, &second);
	assert_int_equal(second.interval_us, 2000000);
	assert_int_equal(second.cpu_busy_ppm, 500000);
	assert_int_equal(second.network_receive_bps, 1000 * 8 / 2);
	assert_int_equal(second.network_send_bps, 0); /* an interface left: its count went back */
	put(folder, "stat", stat_text);
	now.mono_us += 3000; /* too soon for a share of anything */
	gw_sampler_take(sampler, &now, &first);
	assert_int_equal(first.cpu_busy_ppm, 500000);
	assert_int_equal(first.network_receive_bps, 4000);
	(void)gw_sampler_free(sampler);
}

static void absent_files_are_no_error(void **state)
{
	struct gw_sampler *sampler;
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	struct gw_now now = {.mono_us = 1};

	(void)state;
	assert_int_equal(gw_sampler_new("/nonexistent", "/nonexistent", &sampler), 0);
	gw_sampler_take(sampler, &now, &telemetry);
	assert_int_equal(telemetry.memory_available_bytes, 0);
	assert_null(telemetry.pressure);
	(void)gw_sampler_free(sampler);
}

static void this_host_has_a_shape(void **state)
{
	struct gw_topology topology;

	(void)state;
	assert_int_equal(gw_topology_read(&topology), 0);
	assert_true(topology.cpus >= 1);
	assert_true(topology.threads >= topology.cores);
	assert_non_null(strstr(topology.text, "core"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_is_read),
		cmocka_unit_test(meminfo_is_read),
		cmocka_unit_test(pressure_and_load_are_read),
		cmocka_unit_test(traffic_is_summed),
		cmocka_unit_test(damage_is_harmless),
		cmocka_unit_test_setup_teardown(samples_a_host, make_folder, remove_folder),
		cmocka_unit_test(absent_files_are_no_error),
		cmocka_unit_test(this_host_has_a_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
