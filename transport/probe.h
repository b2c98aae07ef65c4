/*
 * Path measurement with STAMP (RFC 8762), unauthenticated base packets of 44 bytes over UDP. The
 * reflector is stateless and answers with as many bytes as it got, at a limited rate. The sender
 * probes each peer of its table at a steady pace and keeps a sliding window for each: RTT is
 * (T4 - T1) - (T3 - T2), so the reflector's own delay does not count, with the kernel's receive
 * stamps at both ends.
 */
#ifndef GODWIT_TRANSPORT_PROBE_H
#define GODWIT_TRANSPORT_PROBE_H

#include <stdint.h>

#include "proto/wire.h"
#include "transport/fault.h"

#define GW_PROBE_PEERS_MAX 2000u /* GW_SITES_MAX: one node of each other site */
#define GW_PROBE_WINDOW 128u     /* packets of the sliding window */

struct gw_probe;
struct gw_reactor;

typedef void gw_probe_report_f(void *context, const Godwit__PathReport *report);

struct gw_probe_options {
	struct gw_reactor *reactor;
	const char *address;       /* reflector, numeric; NULL or "": all addresses */
	uint16_t port;             /* of the reflector; 0: any */
	uint64_t interval_us;      /* between packets to one peer; 0: 1 s */
	uint64_t wait_us;          /* an answer later than this is a loss; 0: 3 s */
	uint64_t report_us;        /* between reports; 0: 5 s. The first comes after 3 packets */
	gw_probe_report_f *report; /* NULL: only reflect */
	void *context;
};

int gw_probe_new(const struct gw_probe_options *options, struct gw_probe **ret_probe,
		 struct gw_fault *fault);
struct gw_probe *gw_probe_free(struct gw_probe *probe);
uint16_t gw_probe_port(const struct gw_probe *probe);
/* From now on these peers, an encoded PeerTable (GW_EFFECT_PROBE). A peer that stays keeps its
 * window. -EINVAL: not a table, or too many peers; the old table stays. */
int gw_probe_set_peers(struct gw_probe *probe, const uint8_t *bytes, size_t size);

#endif
