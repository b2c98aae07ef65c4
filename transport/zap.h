/*
 * The ZAP handler (RFC 27/ZAP): says who a CURVE key is. Deny by default: mechanism CURVE only,
 * known domains only. In "state" and "heartbeat" the key must be that of a good identity, and the
 * User-Id is its node id in hexadecimal; in "enrol" any key may knock, and the User-Id is the key.
 */
#ifndef GODWIT_TRANSPORT_ZAP_H
#define GODWIT_TRANSPORT_ZAP_H

#include <stdint.h>

#include "transport/fault.h"
#include "transport/observe.h"

#define GW_ZAP_STATE "state"
#define GW_ZAP_HEARTBEAT "heartbeat"
#define GW_ZAP_ENROL "enrol"

struct gw_identities;
struct gw_reactor;
struct gw_zap;

/* One per context, before any server socket. 0; negative errno with a sentence. */
int gw_zap_new(struct gw_reactor *reactor, void *zmq, const struct gw_identities *identities,
	       struct gw_zap **ret_zap, struct gw_fault *fault);
struct gw_zap *gw_zap_free(struct gw_zap *zap);
/* Keys refused are told there from now on. */
void gw_zap_observe(struct gw_zap *zap, gw_observe_f *observe, void *context);
uint64_t gw_zap_refused_count(const struct gw_zap *zap);

#endif
