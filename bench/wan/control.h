/*
 * The emulator's control socket: a UNIX SEQPACKET socket, one JSON object a packet each way.
 *   {"op":"stats","reset":true,"buckets":true}   (both may be absent; buckets: the lateness of all
 *                                                packets, not only its quantiles)
 *   {"op":"set","link":"a-b","direction":0,"params":{"delay_us":1200},"cut_for_us":2000000}
 * ("direction" 0: as the link's name reads, 1: back, absent: both; all but "link" may be absent;
 * "cut_for_us" 0 ends the cuts.) An answer holds "error", a sentence, or what was asked for.
 * Requests are read between two turns of the mover, so an answer costs the packets then due the
 * time of building it (about 0.1 ms): they count it as their lateness.
 */
#ifndef GODWIT_BENCH_WAN_CONTROL_H
#define GODWIT_BENCH_WAN_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "bench/wan/mover.h"

#define GW_CONTROL_CLIENTS_MAX 8u

struct gw_control {
	struct gw_mover *mover;
	int listen_fd;
	int client_fds[GW_CONTROL_CLIENTS_MAX]; /* -1: free */
	bool fifo;                              /* SCHED_FIFO was obtained */
	bool locked;                            /* memory is locked */
	uint64_t since_ns;                      /* last reset */
	uint64_t cpu_ns;                        /* the process's CPU time then */
	uint64_t softnet_dropped;               /* the host's count then */
};

/* Binds `path` (mode 0600) and joins the mover's epoll. 0; negative errno. */
int gw_control_open(struct gw_control *control, struct gw_mover *mover, const char *path);
void gw_control_close(struct gw_control *control);
/* Answers whatever is waiting; never blocks. */
void gw_control_serve(struct gw_control *control);

/* The client's side: one request, one answer (a new object), within `wait_ms`. NULL: errno says
 * why. */
json_t *gw_control_ask(const char *path, const json_t *request, int wait_ms);

#endif
