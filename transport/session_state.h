/*
 * What session.c and session_client.c share: the sessions' own structs. Nobody else includes this.
 */
#ifndef GODWIT_TRANSPORT_SESSION_STATE_H
#define GODWIT_TRANSPORT_SESSION_STATE_H

#include "proto/base/table.h"
#include "transport/dial.h"
#include "transport/reactor.h"
#include "transport/session.h"
#include "transport/tcp.h"
#include "transport/zsock.h"

struct session {
	struct gw_session_key key; /* first */
	struct gw_sessions *sessions;
	struct gw_link *link;
	struct gw_peer peer;
	struct gw_timer timer;    /* the link's */
	struct gw_timer greeting; /* client: a HELLO after a refusal */
	uint64_t greet_delay_us;
	uint64_t refused_us; /* last; 0: never */
	struct gw_route state_route;
	struct gw_route heartbeat_route;
	bool has_state_route;
	bool has_heartbeat_route;
	bool up;                 /* the core was told */
	bool ended;              /* to be freed */
	const char *down_reason; /* the core is to be told; static text */
	uint64_t used_us;
	uint64_t told_version;  /* of the schedulers' list, in this session */
	size_t queued_bytes;    /* as counted in client_queued_bytes */
	uint32_t request_count; /* under way */
	struct gw_tcp tcp;      /* its connection, as of the last HELLO */
};

struct gw_sessions {
	struct gw_host_options options;
	struct gw_session_calls calls;
	struct gw_host_counts *counts;
	struct gw_zsock *state; /* server */
	struct gw_zsock *heartbeat;
	struct gw_dial *dial; /* client */
	struct gw_table table;
	uint32_t client_count;
	uint32_t busy_count; /* clients with requests under way */
	size_t client_queued_bytes;
	struct gw_scheduler_list list; /* server: told to peers */
	struct gw_timer idle_timer;    /* runs while there are clients */
	struct gw_deferred sweep;
	struct gw_arena arena;
	struct gw_buf out;
	struct session *only; /* client: the scheduler's */
	const char *noticed;  /* the last thing said */
};

static inline bool is_server(const struct gw_sessions *sessions)
{
	return sessions->options.identities != NULL;
}

static inline struct gw_now now_of(const struct gw_sessions *sessions)
{
	return gw_reactor_now(sessions->options.reactor);
}

/* session.c */
/* NULL: at a limit, or out of memory. */
struct session *gw_session_add(struct gw_sessions *sessions, struct gw_session_key key,
			       const struct gw_peer *peer);
/* The core hears of it from a deferred call, and only if it knew the session as up. */
void gw_session_down(struct session *session, const char *reason);
/* Hands the connection whatever the link has to say. */
void gw_session_flush(struct session *session);
void gw_session_state_received(void *context, const struct gw_zmessage *message);
void gw_session_heartbeat_received(void *context, const struct gw_zmessage *message);

/* session_client.c */
/* The one session of a client, with whichever scheduler of its region leads. */
int gw_session_dial(struct gw_sessions *sessions, struct gw_fault *fault);
/* Says HELLO on the connection that stands. `context`: the session. */
void gw_session_greet(void *context);
/* What the peer refuses now (it is full, or of another version) it may take later, and the
 * connection may stand all the while. */
void gw_session_greet_later(struct session *session);

#endif
