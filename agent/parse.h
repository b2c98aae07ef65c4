/*
 * Texts of /proc into figures. Pure: what is read, and how, is sample.c's. A text that is not of
 * the expected form gives false and leaves the figures alone; unknown lines and further fields are
 * passed over, since kernels add them.
 */
#ifndef GODWIT_AGENT_PARSE_H
#define GODWIT_AGENT_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/* /proc/stat, first line. Ticks since boot; guest time is inside user time already. */
struct gw_cpu_ticks {
	uint64_t total;
	uint64_t busy; /* all but idle and waiting for disks; steal included */
	uint64_t steal;
};

bool gw_parse_stat(const char *text, struct gw_cpu_ticks *ret_ticks);

struct gw_memory {
	uint64_t total_bytes;
	uint64_t available_bytes;
};

bool gw_parse_meminfo(const char *text, struct gw_memory *ret_memory);

/* /proc/pressure/NAME: share of the last 10 s in which some task waited. */
bool gw_parse_pressure(const char *text, uint32_t *ret_some_ppm);

bool gw_parse_loadavg(const char *text, uint32_t *ret_load1_milli);

struct gw_traffic {
	uint64_t in_bytes;  /* read, received */
	uint64_t out_bytes; /* written, sent */
};

/* /proc/diskstats, over whole disks: partitions, loop, ram, optical, and stacked (dm, md) devices
 * are not counted, so that no byte is counted twice. */
bool gw_parse_diskstats(const char *text, struct gw_traffic *ret_traffic);

/* /proc/net/dev, over all interfaces but the loopback. A byte that passes a bridge or bond is
 * counted on each interface that it passes. */
bool gw_parse_net_dev(const char *text, struct gw_traffic *ret_traffic);

#endif
