/* Reading of /proc and statvfs; the texts' meaning is parse.c's. */
#include "agent/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/parse.h"
#include "proto/base/buf.h"

#define TEXT_BYTES_MAX (1u << 20) /* of one file; a longer one gives no figure */
#define READ_BYTES 4096u
#define RATE_US_MIN (GW_US_PER_S / 2) /* the kernel's ticks are 10 ms */

enum source {
	SOURCE_STAT,
	SOURCE_MEMINFO,
	SOURCE_LOADAVG,
	SOURCE_DISKSTATS,
	SOURCE_NET_DEV,
	SOURCE_PRESSURE_CPU,
	SOURCE_PRESSURE_MEMORY,
	SOURCE_PRESSURE_IO,
	SOURCES,
};

static const char *const source_paths[SOURCES] = {
	"stat",         "meminfo",         "loadavg",
	"diskstats",    "net/dev", /* of this process: its network namespace */
	"pressure/cpu", "pressure/memory", "pressure/io",
};

struct gw_sampler {
	int fds[SOURCES]; /* -1: this kernel has none */
	char *disk;
	struct gw_buf text;
	uint64_t at_us; /* of the last counts; 0: none */
	uint64_t memory_bytes;
	struct gw_cpu_ticks cpu;
	struct gw_traffic disk_traffic;
	struct gw_traffic network;
	Godwit__Telemetry rates; /* the last figures over time */
	Godwit__Pressure pressure;
};

int gw_sampler_new(const char *proc, const char *disk, struct gw_sampler **ret_sampler)
{
	struct gw_sampler *sampler = calloc(1, sizeof(*sampler));
	char path[4096];

	if (!sampler)
		return -ENOMEM;
	sampler->disk = strdup(disk);
	if (!sampler->disk) {
		free(sampler);
		return -ENOMEM;
	}
	gw_buf_init(&sampler->text, TEXT_BYTES_MAX);
	for (unsigned i = 0; i < SOURCES; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", proc, source_paths[i]);
		sampler->fds[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
	*ret_sampler = sampler;
	return 0;
}

struct gw_sampler *gw_sampler_free(struct gw_sampler *sampler)
{
	if (!sampler)
		return NULL;
	for (unsigned i = 0; i < SOURCES; i++)
		if (sampler->fds[i] >= 0)
			(void)close(sampler->fds[i]);
	gw_buf_deinit(&sampler->text);
	free(sampler->disk);
	free(sampler);
	return NULL;
}

/* The whole text now, ended by a NUL; NULL: it cannot be read. /proc gives a part at a time. */
static const char *read_source(struct gw_sampler *sampler, enum source source)
{
	struct gw_buf *text = &sampler->text;

	if (sampler->fds[source] < 0)
		return NULL;
	gw_buf_consume(text, text->size);
	for (;;) {
		size_t start = text->size;
		uint8_t *room = gw_buf_grow(text, READ_BYTES + 1);
		ssize_t size;

		if (!room)
			return NULL;
		size = pread(sampler->fds[source], room, READ_BYTES, (off_t)start);
		if (size < 0)
			return NULL;
		text->size = start + (size_t)size;
		if (size == 0) {
			room[0] = '\0';
			return (const char *)text->bytes;
		}
		/* The processors' sum is all that is wanted of a long text. */
		if (source == SOURCE_STAT) {
			room[size] = '\0';
			return (const char *)text->bytes;
		}
	}
}

static uint32_t share_ppm(uint64_t part, uint64_t whole)
{
	if (whole == 0 || part > whole)
		return whole == 0 ? 0 : 1000000;
	return (uint32_t)(part * 1000000u / whole);
}

/* Bit/s from two counts of bytes. A count that went back (an interface left) gives 0. */
static uint64_t rate_bps(uint64_t before, uint64_t now, uint64_t elapsed_us)
{
	uint64_t elapsed_ms = elapsed_us / GW_US_PER_MS;

	if (now < before || elapsed_ms == 0)
		return 0;
	return (now - before) * 8u * 1000u / elapsed_ms; /* up to 2 PB between two samples */
}

static void take_cpu(struct gw_sampler *sampler, Godwit__Telemetry *telemetry)
{
	const char *text = read_source(sampler, SOURCE_STAT);
	struct gw_cpu_ticks now;

	if (!text || !gw_parse_stat(text, &now))
		return;
	/* The kernel's idle time may go back a tick. */
	if (sampler->at_us && now.total > sampler->cpu.total && now.busy >= sampler->cpu.busy &&
	    now.steal >= sampler->cpu.steal) {
		uint64_t total = now.total - sampler->cpu.total;

		telemetry->cpu_busy_ppm = share_ppm(now.busy - sampler->cpu.busy, total);
		telemetry->cpu_steal_ppm = share_ppm(now.steal - sampler->cpu.steal, total);
	}
	sampler->cpu = now;
}

static void take_traffic(struct gw_sampler *sampler, uint64_t elapsed_us,
			 Godwit__Telemetry *telemetry)
{
	struct gw_traffic now;
	const char *text = read_source(sampler, SOURCE_DISKSTATS);

	if (text && gw_parse_diskstats(text, &now)) {
		telemetry->disk_read_bps =
			rate_bps(sampler->disk_traffic.in_bytes, now.in_bytes, elapsed_us);
		telemetry->disk_write_bps =
			rate_bps(sampler->disk_traffic.out_bytes, now.out_bytes, elapsed_us);
		sampler->disk_traffic = now;
	}
	text = read_source(sampler, SOURCE_NET_DEV);
	if (text && gw_parse_net_dev(text, &now)) {
		telemetry->network_receive_bps =
			rate_bps(sampler->network.in_bytes, now.in_bytes, elapsed_us);
		telemetry->network_send_bps =
			rate_bps(sampler->network.out_bytes, now.out_bytes, elapsed_us);
		sampler->network = now;
	}
}

static void take_pressure(struct gw_sampler *sampler, Godwit__Telemetry *telemetry)
{
	static const Godwit__Pressure none = GODWIT__PRESSURE__INIT;
	uint32_t *const figures[] = {&sampler->pressure.cpu_ppm, &sampler->pressure.memory_ppm,
				     &sampler->pressure.io_ppm};

	sampler->pressure = none;
	for (unsigned i = 0; i < 3; i++) {
		const char *text =
			read_source(sampler, (enum source)(SOURCE_PRESSURE_CPU + (int)i));

		if (text && gw_parse_pressure(text, figures[i]))
			telemetry->pressure = &sampler->pressure;
	}
}

/* What counts over time. Too soon after the sample before it says nothing: that one's is told. */
static void take_rates(struct gw_sampler *sampler, uint64_t now_us, Godwit__Telemetry *telemetry)
{
	uint64_t elapsed_us = sampler->at_us ? now_us - sampler->at_us : 0;

	if (!sampler->at_us || elapsed_us >= RATE_US_MIN) {
		sampler->rates = (Godwit__Telemetry)GODWIT__TELEMETRY__INIT;
		sampler->rates.interval_us =
			elapsed_us < UINT32_MAX ? (uint32_t)elapsed_us : UINT32_MAX;
		take_cpu(sampler, &sampler->rates);
		take_traffic(sampler, elapsed_us, &sampler->rates);
		sampler->at_us = now_us;
	}
	telemetry->interval_us = sampler->rates.interval_us;
	telemetry->cpu_busy_ppm = sampler->rates.cpu_busy_ppm;
	telemetry->cpu_steal_ppm = sampler->rates.cpu_steal_ppm;
	telemetry->disk_read_bps = sampler->rates.disk_read_bps;
	telemetry->disk_write_bps = sampler->rates.disk_write_bps;
	telemetry->network_receive_bps = sampler->rates.network_receive_bps;
	telemetry->network_send_bps = sampler->rates.network_send_bps;
}

void gw_sampler_take(struct gw_sampler *sampler, const struct gw_now *now,
		     Godwit__Telemetry *telemetry)
{
	struct gw_memory memory;
	const char *text;

	telemetry->at_wall_us = now->wall_us;
	take_rates(sampler, now->mono_us, telemetry);
	text = read_source(sampler, SOURCE_MEMINFO);
	if (text && gw_parse_meminfo(text, &memory)) {
		sampler->memory_bytes = memory.total_bytes;
		telemetry->memory_available_bytes = memory.available_bytes;
	}
	text = read_source(sampler, SOURCE_LOADAVG);
	if (text)
		(void)gw_parse_loadavg(text, &telemetry->load1_milli); /* else it stays 0 */
	take_pressure(sampler, telemetry);
	telemetry->disk_free_bytes = gw_sampler_disk_free_bytes(sampler);
}

uint64_t gw_sampler_disk_free_bytes(const struct gw_sampler *sampler)
{
	struct statvfs disk;

	return statvfs(sampler->disk, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}

uint64_t gw_sampler_memory_bytes(const struct gw_sampler *sampler)
{
	return sampler->memory_bytes;
}
