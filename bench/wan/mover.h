/*
 * The packet mover: takes frames from one veth end, holds each until its link model says that it
 * is due, and puts it on the other end. One thread moves all links of a lab.
 *
 * Packets come in through a memory-mapped ring per end (TPACKET_V2) with the kernel's own arrival
 * time, so a late wake-up does not add to a delay; they wait in a bounded pool of slots taken at
 * the start; they leave in batches (sendmmsg). Whatever is lost is counted by its cause, and the
 * causes that nobody asked for (ring, pool, oversize, refused by the kernel) stand apart.
 *
 * Life: open, add links, then turn() for ever; a turn sleeps until a packet is due or comes in.
 */
#ifndef GODWIT_BENCH_WAN_MOVER_H
#define GODWIT_BENCH_WAN_MOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/wan/histogram.h"
#include "bench/wan/link.h"

#define GW_MOVER_LINKS_MAX 64u
#define GW_MOVER_FRAME_BYTES_MAX 2016u /* one Ethernet frame; the lab's MTU is 1500 */

struct gw_mover_counters {
	uint64_t packets_in;  /* taken from the ring: every other counter is a part of these, */
	uint64_t bytes_in;    /* but for dropped_ring, which never came in */
	uint64_t packets_out; /* handed to the kernel */
	uint64_t bytes_out;
	uint64_t dropped_loss;     /* asked for */
	uint64_t dropped_queue;    /* as a router would */
	uint64_t dropped_cut;      /* asked for */
	uint64_t dropped_ring;     /* not asked for: the receive ring was full, we came too late */
	uint64_t dropped_pool;     /* not asked for: no free slot */
	uint64_t dropped_oversize; /* not asked for: an offload was left on */
	uint64_t dropped_send;     /* not asked for: the kernel refused it */
	uint64_t reordered;
	struct gw_histogram lateness; /* end of the sending call minus due time, per packet */
};

struct gw_mover_fifo {
	uint32_t first; /* slot + 1; 0: empty */
	uint32_t last;
};

struct gw_mover_direction {
	struct gw_link link;
	struct gw_mover_fifo passed; /* both by due time */
	struct gw_mover_fifo held;
	struct gw_mover_counters counters;
};

struct gw_mover_port {
	int fd;            /* packet socket bound to one veth end; -1: none */
	uint32_t position; /* next frame of the ring */
	uint8_t *ring;
};

struct gw_mover_link {
	char name[64];
	struct gw_mover_port ports[2];
	struct gw_mover_direction directions[2]; /* [0]: port 0 to port 1, [1]: back */
};

struct gw_mover {
	struct gw_mover_slot *slots;
	uint32_t slot_count;
	uint32_t free_slot; /* slot + 1; 0: none */
	uint32_t free_count;
	uint32_t free_low; /* least free_count since the last reset */
	uint32_t link_count;
	uint32_t turns;
	int poll_fd; /* epoll: ports and whatever the owner adds */
	struct gw_mover_link links[GW_MOVER_LINKS_MAX];
};

/* 0; negative errno. */
int gw_mover_open(struct gw_mover *mover, uint32_t slot_count);
void gw_mover_close(struct gw_mover *mover);
/* Opens the ring of both ends; `seed` gives each direction its own stream. On failure *ret_fault
 * says which step failed. 0; -ENOSPC; negative errno. */
int gw_mover_add(struct gw_mover *mover, const char *name, const char *const port_names[2],
		 const struct gw_link_params params[2], uint64_t seed, const char **ret_fault);
/* The link of that name; NULL: none. */
struct gw_mover_link *gw_mover_find(struct gw_mover *mover, const char *name);
/* Moves what can be moved, or sleeps until something is due, comes in, or one of the owner's
 * descriptors is ready: true then, for the owner to look at it. */
bool gw_mover_turn(struct gw_mover *mover);
/* Adds the kernel's count of ring drops to the counters (the kernel's own count starts anew). */
void gw_mover_collect(struct gw_mover *mover);
void gw_mover_reset(struct gw_mover *mover);
/* CLOCK_MONOTONIC, the mover's time. */
uint64_t gw_mover_now_ns(void);

#endif
