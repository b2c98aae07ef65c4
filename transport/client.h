/*
 * A program's side of a scheduler's state channel: send a request, wait for its answer. Blocking.
 * Every failure is one sentence.
 *
 * A region may have several schedulers, of which one leads. When the leader or the connection to it
 * is lost, a new one is looked for, and a request that may be repeated (a submission has a nonce;
 * what looks, cancels or revokes does the same again) is sent to it, until the call's time is up.
 */
#ifndef GODWIT_TRANSPORT_CLIENT_H
#define GODWIT_TRANSPORT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/wire.h"
#include "transport/curve.h"
#include "transport/fault.h"

struct gw_client;

/* True: stop waiting (a signal was caught). Asked several times a second, and at once when a signal
 * has come. */
typedef bool gw_stop_f(void);

/* Nobody has answered for a while, and the call goes on waiting: said once until somebody does. */
typedef void gw_waiting_f(void);

struct gw_client_options {
	const struct gw_keys *keys;
	const struct gw_cert *cert;
	const struct gw_region *region;
	gw_stop_f *stop;       /* may be NULL */
	gw_waiting_f *waiting; /* may be NULL */
};

/* Opens a session within `limit_us`. 0; -EACCES: the scheduler refuses this key or its protocol
 * version; -ETIMEDOUT: nobody answers; -EPROTO: what answers is not this region's scheduler, all
 * the time; -EINTR: stopped. */
int gw_client_open(const struct gw_client_options *options, uint64_t limit_us,
		   struct gw_client **ret_client, struct gw_fault *fault);
/* The same from an identity's folder (keys, certificate, region). Its region file is kept as new as
 * the leader's word. */
int gw_client_open_directory(const char *directory, gw_stop_f *stop, gw_waiting_f *waiting,
			     uint64_t limit_us, struct gw_client **ret_client,
			     struct gw_fault *fault);
/* An identity's folder: keys, region and certificate, and that they belong together. */
int gw_identity_load(const char *directory, struct gw_keys **ret_keys, struct gw_region *ret_region,
		     struct gw_cert *ret_cert, struct gw_fault *fault);
struct gw_client *gw_client_close(struct gw_client *client);

/* Sends `request` (its number is set here) and waits for the answer. 0 with a body that is valid
 * until the next call; -EACCES: refused, with the scheduler's sentence; -ETIMEDOUT; -ECONNRESET: the
 * session was lost before the answer came, and the request may not be repeated; -EPROTO; -EINTR:
 * stopped, and whether it was carried out is not known; -EINVAL: too large. */
int gw_client_call(struct gw_client *client, const Godwit__Body *request, uint64_t limit_us,
		   const Godwit__Body **ret_reply, struct gw_fault *fault);

#endif
