/*
 * A host's sessions with its peers: sockets, links and the connections that they use. A server has
 * one session for each agent (it outlives connections) and one for each connection of a client; a
 * client has one, with its scheduler. Who speaks is checked here for every message.
 */
#ifndef GODWIT_TRANSPORT_SESSION_H
#define GODWIT_TRANSPORT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/step.h"
#include "transport/host.h"
#include "transport/link.h"

struct gw_sessions;

struct gw_session_key {
	struct gw_node_id node;
	uint64_t connection; /* of a client's session; 0: an agent's or the scheduler's */
};

/* Calls come from the reactor, never from within a call to the functions below. */
struct gw_session_calls {
	void (*up)(void *context, const struct gw_peer *peer, bool resumed);
	void (*down)(void *context, struct gw_node_id node, const char *reason);
	/* False: not a body. */
	bool (*body)(void *context, struct gw_session_key from, const struct gw_peer *peer,
		     enum gw_channel channel, const struct gw_link_delivery *delivery);
	void (*notice)(void *context, const char *text);
	/* Server: whether this process may still speak for the region. Asked for every message. */
	bool (*may_speak)(void *context);
	void *context;
};

int gw_sessions_new(const struct gw_host_options *options, const struct gw_session_calls *calls,
		    struct gw_host_counts *counts, struct gw_sessions **ret_sessions,
		    struct gw_fault *fault);
struct gw_sessions *gw_sessions_free(struct gw_sessions *sessions);

/* Server: whether this client may have one more request under way: each that has some may have its
 * share of GW_HOST_REQUESTS_MAX, with one share left for who comes next. */
bool gw_sessions_has_room(const struct gw_sessions *sessions, struct gw_session_key key);
/* Counts a request of this client, and its end. */
void gw_sessions_begin_request(struct gw_sessions *sessions, struct gw_session_key key);
void gw_sessions_end_request(struct gw_sessions *sessions, struct gw_session_key key);
/* Server: told to all peers that speak protocol 2, to those to come when they open a session. */
void gw_sessions_set_list(struct gw_sessions *sessions, const struct gw_scheduler_list *list);
/* Client: takes a newer list into use. False: it is not newer. */
bool gw_sessions_take_list(struct gw_sessions *sessions, const struct gw_scheduler_list *list);
/* GW_LINK_CLOSED also when there is no such session. */
enum gw_link_sent gw_sessions_send(struct gw_sessions *sessions, struct gw_session_key to,
				   enum gw_channel channel, uint64_t term, const uint8_t *body,
				   size_t size);
/* The core's word was lost on this peer: forget the session, so that a new one tells it all. */
void gw_sessions_restart(struct gw_sessions *sessions, struct gw_session_key key,
			 const char *reason);
/* Ends one client's session and its connection; the reason is told with `down`. */
void gw_sessions_end(struct gw_sessions *sessions, struct gw_session_key key, const char *reason);
/* Ends all sessions of this identity and shuts their connections. */
void gw_sessions_shut(struct gw_sessions *sessions, struct gw_node_id node);
uint16_t gw_sessions_state_port(const struct gw_sessions *sessions);
uint16_t gw_sessions_heartbeat_port(const struct gw_sessions *sessions);

#endif
