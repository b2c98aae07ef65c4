/*
 * Where the schedulers of a region listen: in region files, in what a joiner and a session are told,
 * and in a client's hands that looks for the one that leads.
 */
#ifndef GODWIT_TRANSPORT_SCHEDULERS_H
#define GODWIT_TRANSPORT_SCHEDULERS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/limits.h"
#include "proto/wire.h"

/* Where one scheduler listens. */
struct gw_scheduler_place {
	char state[GW_ENDPOINT_BYTES_MAX + 1];
	char heartbeat[GW_ENDPOINT_BYTES_MAX + 1];
};

/* Where the schedulers of a region listen. One of them leads; all have the region's keys. */
struct gw_scheduler_list {
	uint64_t version; /* only growing; 0: as joined */
	uint32_t count;
	struct gw_scheduler_place places[GW_SCHEDULERS_MAX];
};

/* No list told replaces one of this version: an operator said where to look. */
#define GW_SCHEDULERS_PINNED UINT64_MAX

/* The list as a message, in the arena; NULL: past its limit. */
const Godwit__SchedulerList *gw_schedulers_message(const struct gw_scheduler_list *list,
						   struct gw_arena *arena);
/* Appends it as an encoded Body. 0; -ENOMEM. */
int gw_schedulers_encode(const struct gw_scheduler_list *list, struct gw_buf *out);
/* False: no place, too many, what is not an endpoint, or no version that one may have. */
bool gw_schedulers_read(const Godwit__SchedulerList *message, struct gw_scheduler_list *ret_list);

/* tcp://, an address, a port. */
bool gw_endpoint_valid(const char *endpoint);
/* "tcp://[fd00::1]:7100" with another port. -EINVAL: not an endpoint. */
int gw_endpoint_with_port(const char *endpoint, uint16_t port,
			  char ret_endpoint[GW_ENDPOINT_BYTES_MAX + 1]);

#endif
