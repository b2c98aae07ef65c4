/*
 * A client's sockets with its scheduler: with one scheduler in the list just that, kept connected by
 * libzmq; with several, they are tried in turn until one answers as leader (transport/seek), and
 * again when that one is lost or says nothing to what it is sent.
 *
 *	start: gw_dial_new begins to look;
 *	run:   the user says what a message meant: gw_dial_answered for the peer's WELCOME (or its
 *	       refusal: it is the leader all the same), gw_dial_expect when an answer is due; any
 *	       message counts as a sign of life;
 *	stop:  gw_dial_free.
 */
#ifndef GODWIT_TRANSPORT_DIAL_H
#define GODWIT_TRANSPORT_DIAL_H

#include <stddef.h>
#include <stdint.h>

#include "transport/curve.h"
#include "transport/zsock.h"

struct gw_dial;

struct gw_dial_options {
	struct gw_reactor *reactor;
	void *zmq;
	const struct gw_keys *keys;
	const uint8_t *server_key; /* of all of them */
	const struct gw_scheduler_list *schedulers;
	uint64_t seed; /* of the search's jitter */
	gw_zmessage_f *received;
	gw_zmessage_f *heartbeat_received; /* NULL: no heartbeat socket */
	/* Of the state socket. DOWN also when the search leaves a connection that stood. */
	gw_connection_f *connection;
	void *context;
};

/* 0; negative errno with a sentence: no scheduler is in the list, or its only one cannot be. */
int gw_dial_new(const struct gw_dial_options *options, struct gw_dial **ret_dial,
		struct gw_fault *fault);
struct gw_dial *gw_dial_free(struct gw_dial *dial);

/* As gw_zsock_send; -EAGAIN also while there is no socket. */
int gw_dial_send_state(struct gw_dial *dial, const uint8_t *bytes, size_t size);
int gw_dial_send_heartbeat(struct gw_dial *dial, const uint8_t *bytes, size_t size);
/* The peer owes an answer to this many bytes handed to the connection (gw_link_unanswered_bytes); 0:
 * none. A leader that is silent for too long is left. */
void gw_dial_expect(struct gw_dial *dial, size_t bytes);
/* How long ago anything came from the scheduler that leads; 0: from none now. */
uint64_t gw_dial_silent_us(const struct gw_dial *dial);
/* The scheduler connected to is the one that leads. */
void gw_dial_answered(struct gw_dial *dial);
/* Takes a newer list; a connection that stands is kept. False: it is not newer. */
bool gw_dial_set_list(struct gw_dial *dial, const struct gw_scheduler_list *list);
/* The state endpoint in use or tried next. */
const char *gw_dial_endpoint(const struct gw_dial *dial);

#endif
