/*
 * The TCP ring that the stages form: stage i listens for stage i - 1 and connects to stage i + 1,
 * the last to the first. Connecting is retried until a deadline, so stages may start in any order;
 * both ends then compare a digest of their configuration, and a stranger is turned away without
 * disturbing the wait. Blocking calls, before any timed work.
 */
#ifndef GODWIT_BENCH_LOSS_RING_H
#define GODWIT_BENCH_LOSS_RING_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "bench/loss/frame.h"

#define GW_RING_ERROR_BYTES 256u

struct gw_ring_address {
	struct sockaddr_storage storage;
	socklen_t size;
	char text[64];
};

struct gw_ring_options {
	uint32_t index; /* this stage */
	uint32_t count;
	struct gw_ring_address peers[GW_FRAME_STAGES_MAX];
	const char *congestion; /* "bbr" */
	uint64_t digest;        /* of everything that must agree */
	uint64_t deadline_us;   /* to have both neighbours, from the call */
};

struct gw_ring {
	int up_fd;   /* from stage i - 1 */
	int down_fd; /* to stage i + 1 */
};

/* "[addr]:port,[addr]:port,..." with numeric addresses, IPv6 or IPv4 (brackets optional for the
 * latter). Exactly `count` entries. NULL, or a sentence. */
const char *gw_ring_parse_peers(const char *text, uint32_t count,
				struct gw_ring_address *ret_peers);

/* 0 with both sockets connected, non-blocking, TCP_NODELAY, congestion control verified; negative
 * errno with a sentence in ret_error[GW_RING_ERROR_BYTES]. */
int gw_ring_open(const struct gw_ring_options *options, struct gw_ring *ret_ring, char *ret_error);
void gw_ring_close(struct gw_ring *ring);

/* 0 once the kernel says that the socket uses it; negative errno. */
int gw_ring_set_congestion(int fd, const char *name);
/* Total retransmitted segments and smoothed RTT of the socket, and its congestion control. */
void gw_ring_info(int fd, uint64_t *ret_retransmits, uint64_t *ret_rtt_us, char *ret_name);

#endif
