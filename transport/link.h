/*
 * The session with one peer: pure (no I/O, no clock), the same in the daemons and in bench/sim.
 * Bodies go in at one side and come out at the other once and in order, as long as both links
 * live, through any number of lost connections. A link is named by its epoch; when the peer's
 * epoch is a new one the old session is over, what was queued for it is forgotten, and the cores
 * exchange inventories.
 *
 *	start: a side that is told of a connection says HELLO (a client is; a server usually hears
 *	       the client's first); the other answers WELCOME. Both carry epoch, the epoch they
 *	       know of the peer, and what they have received; both sides then send again whatever
 *	       was not received. A gap, a foreign epoch or missing acknowledgements make either
 *	       side say HELLO again.
 *	run:   bodies with sequence numbers; acknowledgements ride on them, or go alone after a
 *	       bounded delay.
 *	stop:  none. A link may vanish at any time, with its process.
 *
 * The caller pulls envelopes with gw_link_next until there are none, after each call that says so,
 * and calls gw_link_tick at gw_link_wake_us.
 */
#ifndef GODWIT_TRANSPORT_LINK_H
#define GODWIT_TRANSPORT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/limits.h"
#include "proto/base/refusal.h"
#include "proto/base/time.h"

/* Largest body: an envelope around it still fits GW_MESSAGE_BYTES_MAX, sealed by CURVE too. */
#define GW_LINK_BODY_BYTES_MAX (GW_MESSAGE_BYTES_MAX - 512u)

struct gw_link;

struct gw_link_options {
	struct gw_node_id self;
	struct gw_node_id peer;
	struct gw_id tenant;   /* of self; zero: the region's own */
	uint64_t epoch;        /* of this link, not 0, random: never used before by this node */
	bool client;           /* the one that connects; the other one names sessions */
	uint32_t protocol_min; /* both 0: GW_PROTOCOL_MIN and GW_PROTOCOL_MAX */
	uint32_t protocol_max;
};

enum gw_link_result {
	GW_LINK_NOTHING,   /* taken (or a duplicate); nothing for the core */
	GW_LINK_BODY,      /* `delivery.body` is for the core */
	GW_LINK_UP,        /* the session is open; `delivery.resumed` */
	GW_LINK_REFUSED,   /* one side refused the other: `delivery.text`, `delivery.code` */
	GW_LINK_MALFORMED, /* not an envelope of this session */
	GW_LINK_SPOOFED,   /* its sender is not the peer */
};

struct gw_link_delivery {
	const uint8_t *body; /* in the caller's arena */
	size_t size;
	uint64_t term;
	bool resumed;
	bool agreed;      /* a HELLO or WELCOME was taken: this connection is the one to use */
	uint32_t code;    /* enum gw_refusal */
	const char *text; /* valid until the next call on the link */
};

enum gw_link_sent {
	GW_LINK_QUEUED,
	GW_LINK_FULL,      /* GW_LINK_QUEUE_BYTES_MAX wait already: refuse the work, say so */
	GW_LINK_TOO_LARGE, /* over GW_LINK_BODY_BYTES_MAX */
	GW_LINK_CLOSED,    /* no session was ever open, or it was refused */
};

struct gw_link_counts {
	uint64_t duplicates;
	uint64_t gaps;
	uint64_t foreign; /* envelopes of another epoch */
	uint64_t sent_again;
};

/* NULL: out of memory. */
struct gw_link *gw_link_new(const struct gw_link_options *options);
struct gw_link *gw_link_free(struct gw_link *link);

/* A connection to the peer stands (a HELLO goes out), or is lost. */
void gw_link_connected(struct gw_link *link, const struct gw_now *now);
void gw_link_disconnected(struct gw_link *link);

/* Queues a body; it goes out when the session is open and the window has room. While the session
 * is interrupted bodies wait: they are sent when it resumes, forgotten when it does not. */
enum gw_link_sent gw_link_send(struct gw_link *link, const struct gw_now *now, uint64_t term,
			       const uint8_t *body, size_t size);
/* One encoded envelope from the peer. The arena is the caller's, reset by it before the call. */
enum gw_link_result gw_link_receive(struct gw_link *link, const struct gw_now *now,
				    struct gw_arena *arena, const uint8_t *bytes, size_t size,
				    struct gw_link_delivery *ret_delivery);
/* The next envelope to hand to the connection is appended to `out`; false: none now. */
bool gw_link_next(struct gw_link *link, const struct gw_now *now, struct gw_buf *out);
/* The time for gw_link_tick; GW_NEVER_US. */
uint64_t gw_link_wake_us(const struct gw_link *link);
void gw_link_tick(struct gw_link *link, const struct gw_now *now);
/* Asks the peer where it stands: whoever lives answers at once. */
void gw_link_ask(struct gw_link *link);
/* Bytes handed to the connection that the peer has not answered yet, a HELLO included; 0: none. */
size_t gw_link_unanswered_bytes(const struct gw_link *link);

/*
 * The heartbeat channel of the same peer: an envelope that is not sequenced. A Heartbeat or
 * HeartbeatReply is stamped with the state channel's sequences on its way out; on its way in they
 * are compared, and a state channel that stands still makes the link say HELLO. False: no session,
 * or not a body.
 */
bool gw_link_heartbeat(struct gw_link *link, const struct gw_now *now, struct gw_arena *arena,
		       uint64_t term, const uint8_t *body, size_t size, struct gw_buf *out);
/* GW_LINK_BODY, GW_LINK_NOTHING (no session is open), MALFORMED or SPOOFED. */
enum gw_link_result gw_link_receive_heartbeat(struct gw_link *link, const struct gw_now *now,
					      struct gw_arena *arena, const uint8_t *bytes,
					      size_t size, struct gw_link_delivery *ret_delivery);

bool gw_link_is_open(const struct gw_link *link);
/* Version agreed on; 0: no session yet. */
uint32_t gw_link_protocol(const struct gw_link *link);
size_t gw_link_queued_bytes(const struct gw_link *link);
const struct gw_link_counts *gw_link_counts(const struct gw_link *link);

/* A REFUSE for a peer with whom there is no link. */
void gw_link_refusal(const struct gw_link_options *options, const struct gw_now *now,
		     enum gw_refusal code, const char *text, struct gw_buf *out);

#endif
