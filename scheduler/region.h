/* A region's folder, as its scheduler's commands use it. */
#ifndef GODWIT_SCHEDULER_REGION_H
#define GODWIT_SCHEDULER_REGION_H

#include <stdint.h>

#include "transport/curve.h"
#include "transport/fault.h"

/* Says the sentence on stderr. Returns the exit code of a failure. */
int gw_complain(const struct gw_fault *fault);
/* "tcp://[::1]:7100"; an IPv6 address is put in brackets. -EINVAL, with a sentence. */
int gw_listen_endpoint(const char *address, uint64_t port,
		       char ret_endpoint[GW_ENDPOINT_BYTES_MAX + 1], struct gw_fault *fault);
/* Names are not looked up: what the joiner reaches must not change with a name server's word. 0;
 * -EINVAL: not an IP address, and stderr says so. */
int gw_listen_check(const char *option, const char *address);
/* What `init` made. 0; negative errno with a sentence. */
int gw_region_open(const char *state, struct gw_keys **ret_keys, struct gw_region *ret_region,
		   struct gw_fault *fault);

#endif
