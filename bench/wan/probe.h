/*
 * What looks at an emulated link from outside, each in a child process inside a host's namespace:
 * pings (ICMPv6 with the kernel's receive times), requests and replies over one TCP connection,
 * iperf3 streams, the kernel's packet counters, and processes that keep every core busy. Pings and
 * requests run SCHED_FIFO 40, below the emulator: beside busy cores their own waiting for a core
 * would otherwise be taken for the link's.
 */
#ifndef GODWIT_BENCH_WAN_PROBE_H
#define GODWIT_BENCH_WAN_PROBE_H

#include <stdint.h>
#include <sys/types.h>

#define GW_PROBE_COUNT_MAX 20000u
#define GW_PROBE_BUSY_MAX 64u

struct gw_probe_rtt {
	uint32_t sent;
	uint32_t received;
	double mean_us;
	double p50_us;
	double p99_us;
	double max_us;
};

/* `count` (<= GW_PROBE_COUNT_MAX) pings from `host` of the lab, one each `interval_us`. 0; negative
 * errno. */
int gw_probe_ping(const char *lab, const char *host, const char *address, uint32_t count,
		  uint32_t interval_us, struct gw_probe_rtt *ret_rtt);
/* `count` requests of 256 bytes from `client` to an echo server on `server`, one after the other.
 * 0; negative errno. */
int gw_probe_tcp(const char *lab, const char *client, const char *server, const char *address,
		 uint32_t count, struct gw_probe_rtt *ret_rtt);

struct gw_probe_stream {
	double goodput_bps; /* at the receiver */
	uint64_t retransmits;
};

/* An iperf3 server on `host`; ends with the lab, or by kill. Its pid; negative errno. */
pid_t gw_probe_stream_server(const char *lab, const char *host);
/* One TCP stream for `seconds` after `warm_seconds` uncounted ones, from `host` to the server, or
 * back if `reverse`. 0; -EIO: iperf3 said why on stderr; negative errno. */
int gw_probe_stream(const char *lab, const char *host, const char *address, uint32_t warm_seconds,
		    uint32_t seconds, int reverse, struct gw_probe_stream *ret_stream);

struct gw_probe_counters {
	uint64_t sent;     /* packets given to the interface */
	uint64_t received; /* IPv6 packets that came in by it, counted by the IP layer */
};

/* The kernel's counters of an interface: they know nothing of the emulator. 0; negative errno. */
int gw_probe_counters(const char *lab, const char *host, const char *interface,
		      struct gw_probe_counters *ret_counters);

/* One spinning process pinned to each core, at most GW_PROBE_BUSY_MAX. Returns how many. */
uint32_t gw_probe_busy_start(pid_t ret_pids[GW_PROBE_BUSY_MAX]);
/* Ends and reaps `count` processes. */
void gw_probe_end(const pid_t *pids, uint32_t count);

#endif
