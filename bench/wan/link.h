/*
 * One direction of an emulated link, as arithmetic: a packet of a size comes in at a time, and out
 * comes the time at which it is due at the far end, or the reason why it never gets there. No I/O
 * and no clock, so that the model is tested packet by packet.
 *
 * The model is a router's output port and the fibre behind it, in this order:
 *   cut      a packet that comes in during a cut is gone; whoever delivers it asks
 *            gw_link_is_cut() again at its due time, so that a cut also takes what is under way;
 *   queue    a bounded byte queue before the wire: tail drop;
 *   rate     packets leave one after the other; a packet counts with its IP bytes (no Ethernet
 *            header), so a rate of R carries R (1428 / 1500) of TCP payload over IPv6;
 *   loss     independent, and in bursts by the Gilbert-Elliott chain (one step a packet; Gilbert
 *            1960, Elliott 1963); a lost packet has used the wire;
 *   delay    constant, plus jitter uniform in [-jitter, +jitter]; order is kept;
 *   reorder  a chosen packet is held for `reorder_hold_us` more while others pass it.
 */
#ifndef GODWIT_BENCH_WAN_LINK_H
#define GODWIT_BENCH_WAN_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/prng.h"

#define GW_LINK_CUTS_MAX 64u
#define GW_LINK_QUEUE_BYTES_LIMIT (1ull << 30)
#define GW_LINK_DELAY_US_LIMIT 10000000ull

/* As in the scenario file: schema tables fill it (params.h), hence one integer type. */
struct gw_link_params {
	uint64_t rate_bps;        /* 0: no rate, no queue */
	uint64_t queue_bytes;     /* waiting before the wire, at most */
	uint64_t delay_us;        /* one way */
	uint64_t jitter_us;       /* at most delay_us */
	uint64_t loss_ppm;        /* independent */
	uint64_t burst_enter_ppm; /* good -> bad, per packet */
	uint64_t burst_leave_ppm; /* bad -> good, per packet */
	uint64_t burst_loss_ppm;  /* loss while bad */
	uint64_t reorder_ppm;
	uint64_t reorder_hold_us;
};

struct gw_link_cut {
	uint64_t from_ns;  /* the caller's clock */
	uint64_t until_ns; /* exclusive */
};

enum gw_link_verdict {
	GW_LINK_PASS, /* due after all packets passed before */
	GW_LINK_HOLD, /* due later: others may overtake it; in order among held packets */
	GW_LINK_LOST, /* the loss that was asked for */
	GW_LINK_QUEUE_FULL,
	GW_LINK_CUT,
};

struct gw_link {
	struct gw_link_params params;
	uint64_t wire_free_ns; /* the last bit of the last packet is on the wire */
	uint64_t last_in_ns;   /* time never runs backwards */
	uint64_t last_pass_ns; /* last due time given to a passed packet */
	uint64_t last_hold_ns; /* and to a held one */
	bool burst_bad;        /* state of the Gilbert-Elliott chain */
	struct gw_prng loss;   /* one stream for loss, one for timing: the packets that are lost */
	struct gw_prng timing; /* depend on the seed and their number alone */
	uint32_t cut_count;
	struct gw_link_cut cuts[GW_LINK_CUTS_MAX]; /* by from_ns, not overlapping */
};

void gw_link_init(struct gw_link *link, const struct gw_link_params *params, uint64_t seed);
/* Parameters hold from the next packet on; what is under way keeps its due time. */
void gw_link_set(struct gw_link *link, const struct gw_link_params *params);
/* Why the parameters cannot be met, in words; NULL: they are good. */
const char *gw_link_params_fault(const struct gw_link_params *params);
/* Adds a cut; cuts that have ended by `now_ns` make room. 0; -ENOSPC: GW_LINK_CUTS_MAX lie ahead;
 * -EINVAL: empty, or it overlaps another. */
int gw_link_add_cut(struct gw_link *link, uint64_t now_ns, struct gw_link_cut cut);
void gw_link_clear_cuts(struct gw_link *link);
bool gw_link_is_cut(const struct gw_link *link, uint64_t at_ns);
/* Decides over a packet of `ip_bytes` that came in at `at_ns`. *ret_due_ns is written on
 * GW_LINK_PASS and GW_LINK_HOLD only. */
enum gw_link_verdict gw_link_admit(struct gw_link *link, uint64_t at_ns, uint32_t ip_bytes,
				   uint64_t *ret_due_ns);

#endif
