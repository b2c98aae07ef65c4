/*
 * Sessions: from a message on a socket to a body from a known peer, and back. The checks, in order:
 * the connection's User-Id names an identity; that identity is good now (a revoked one loses its
 * connection here, whatever the ZAP handler said when it was made); the envelope's sender is that
 * identity (the link's check).
 *
 *	start: an agent's HELLO makes its session, and later ones move it to a new connection;
 *	run:   bodies go to the host; what a link wants sent goes to the session's connection;
 *	stop:  a session ends by revocation or, a client's, by being idle. Sessions are freed in a
 *	       deferred call, so that none vanishes under the function that uses it.
 */
#include "transport/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "transport/identity.h"
#include "transport/session_state.h"
#include "transport/zap.h"

#define CLIENT_IDLE_US (120 * GW_US_PER_S)
#define ASK_US (2 * GW_US_PER_S)  /* of silence, while heartbeats go out */
#define LIST_BYTES_MAX (4u << 10) /* eight places */
#define SLOW_READER "it does not read its answers"
#define ARENA_KEEP_BYTES (256u << 10) /* a larger one is given back after use */
#define CLIENT_ROLES (1u << GODWIT__ROLE__ROLE_USER | 1u << GODWIT__ROLE__ROLE_OPERATOR)
#define AGENT_ROLE (1u << GODWIT__ROLE__ROLE_AGENT)

void gw_session_down(struct session *session, const char *reason)
{
	gw_link_disconnected(session->link);
	session->has_state_route = false;
	session->has_heartbeat_route = false;
	gw_reactor_timer_cancel(session->sessions->options.reactor, &session->timer);
	gw_reactor_timer_cancel(session->sessions->options.reactor, &session->greeting);
	if (!session->down_reason)
		session->down_reason = reason;
	gw_reactor_defer(session->sessions->options.reactor, &session->sessions->sweep);
}

static bool may_speak(const struct gw_sessions *sessions)
{
	return !is_server(sessions) || sessions->calls.may_speak(sessions->calls.context);
}

static int send_state(struct gw_sessions *sessions, const struct gw_route *route)
{
	const struct gw_buf *out = &sessions->out;

	return is_server(sessions) ? gw_zsock_send(sessions->state, route, out->bytes, out->size)
				   : gw_dial_send_state(sessions->dial, out->bytes, out->size);
}

/* Keeps the sum of what waits for clients; past its limit the slowest reader goes. */
static void count_queued(struct session *session)
{
	struct gw_sessions *sessions = session->sessions;
	size_t queued = gw_link_queued_bytes(session->link);
	struct session *slowest = session;

	if (session->key.connection == 0)
		return;
	sessions->client_queued_bytes += queued - session->queued_bytes;
	session->queued_bytes = queued;
	if (sessions->client_queued_bytes <= GW_HOST_ANSWERS_BYTES_MAX)
		return;
	for (uint32_t i = 0; i < sessions->table.count; i++) {
		struct session *other = sessions->table.entries[i];

		if (other->queued_bytes > slowest->queued_bytes && !other->ended)
			slowest = other;
	}
	gw_sessions_end(sessions, slowest->key, SLOW_READER);
}

void gw_session_flush(struct session *session)
{
	struct gw_sessions *sessions = session->sessions;
	struct gw_now now = now_of(sessions);

	if (!may_speak(sessions)) { /* for good */
		gw_reactor_timer_cancel(sessions->options.reactor, &session->timer);
		return;
	}
	for (;;) {
		int error;

		sessions->out.size = 0;
		if ((is_server(sessions) && !session->has_state_route) ||
		    !gw_link_next(session->link, &now, &sessions->out))
			break;
		error = send_state(sessions, &session->state_route);
		if (error == -EHOSTUNREACH) {
			gw_session_down(session, "its connection is gone");
			break;
		}
		/* -EAGAIN: the link sends it again when no acknowledgement comes. */
	}
	if (sessions->out.capacity > ARENA_KEEP_BYTES)
		gw_buf_deinit(&sessions->out);
	gw_reactor_timer_set(sessions->options.reactor, &session->timer,
			     gw_link_wake_us(session->link));
	if (is_server(sessions))
		count_queued(session);
	else
		gw_dial_expect(sessions->dial, gw_link_unanswered_bytes(session->link));
}

static void timer_fired(void *context)
{
	struct session *session = context;
	struct gw_now now = now_of(session->sessions);

	gw_link_tick(session->link, &now);
	gw_session_flush(session);
}

static struct gw_link *make_link(const struct session *session)
{
	const struct gw_host_options *options = &session->sessions->options;
	struct gw_link_options link_options = {
		.self = options->keys->node,
		.peer = session->key.node,
		.client = !is_server(session->sessions),
	};

	if (options->cert)
		link_options.tenant = options->cert->tenant;
	while (link_options.epoch == 0)
		randombytes_buf(&link_options.epoch, sizeof(link_options.epoch));
	return gw_link_new(&link_options);
}

static void free_session(struct session *session)
{
	gw_reactor_timer_cancel(session->sessions->options.reactor, &session->timer);
	gw_reactor_timer_cancel(session->sessions->options.reactor, &session->greeting);
	gw_link_free(session->link);
	session->sessions->client_queued_bytes -= session->queued_bytes;
	session->sessions->busy_count -= session->request_count > 0;
	free(session);
}

struct session *gw_session_add(struct gw_sessions *sessions, struct gw_session_key key,
			       const struct gw_peer *peer)
{
	struct session *session = calloc(1, sizeof(*session));
	struct gw_now now = now_of(sessions);

	if (!session)
		return NULL;
	session->key = key;
	session->sessions = sessions;
	session->peer = *peer;
	session->tcp.fd = -1;
	session->used_us = now.mono_us;
	session->timer.fired = timer_fired;
	session->timer.context = session;
	session->greeting.fired = gw_session_greet;
	session->greeting.context = session;
	session->link = make_link(session);
	if (!session->link || gw_table_add(&sessions->table, session) < 0) {
		free_session(session);
		return NULL;
	}
	if (key.connection != 0 && sessions->client_count++ == 0)
		gw_reactor_timer_set(sessions->options.reactor, &sessions->idle_timer,
				     now.mono_us + CLIENT_IDLE_US);
	return session;
}

static void idle_timer_fired(void *context)
{
	struct gw_sessions *sessions = context;
	uint64_t now_us = now_of(sessions).mono_us;

	for (uint32_t i = 0; i < sessions->table.count; i++) {
		struct session *session = sessions->table.entries[i];

		if (session->key.connection != 0 && now_us - session->used_us >= CLIENT_IDLE_US)
			session->ended = true;
	}
	gw_reactor_defer(sessions->options.reactor, &sessions->sweep);
	if (sessions->client_count > 0)
		gw_reactor_timer_set(sessions->options.reactor, &sessions->idle_timer,
				     now_us + CLIENT_IDLE_US);
}

/* Tells the core of sessions that went down, and frees those that ended. */
static void sweep(void *context)
{
	struct gw_sessions *sessions = context;
	uint32_t i = 0;

	while (i < sessions->table.count) {
		struct session *session = sessions->table.entries[i];
		const char *reason = session->down_reason;
		bool told = session->up && reason;

		session->down_reason = NULL;
		if (reason)
			session->up = false;
		if (reason && session->key.connection != 0)
			session->ended = true; /* a client opens a new one */
		if (told)
			sessions->calls.down(sessions->calls.context, session->key.node, reason);
		if (!session->ended) {
			i++;
			continue;
		}
		(void)gw_table_remove(&sessions->table, &session->key); /* the last takes place i */
		if (session->key.connection != 0)
			sessions->client_count--;
		free_session(session);
	}
}

/* Notes the connection that the session uses from now on. */
static void take_connection(struct session *session, const struct gw_zmessage *message)
{
	session->state_route = message->route;
	session->has_state_route = true;
	gw_tcp_take(&session->tcp, message->fd);
}

/* The good identity behind a message; NULL: refused and counted. */
static const struct gw_identity *identify(struct gw_sessions *sessions,
					  const struct gw_zmessage *message)
{
	const struct gw_identity *identity = NULL;
	struct gw_node_id node;

	if (message->user_id && gw_id_parse_hex(message->user_id, &node.id))
		identity = gw_identities_find(sessions->options.identities, node);
	if (gw_identity_good(identity, now_of(sessions).wall_us))
		return identity;
	sessions->counts->refused_identity++;
	if (identity && gw_tcp_is_of(message->fd, gw_zmessage_peer_address(message)))
		gw_tcp_shut(message->fd);
	return NULL;
}

static uint64_t route_number(const struct gw_route *route)
{
	uint64_t number = 1; /* so that no route is 0 */

	for (size_t i = 0; i < GW_ROUTE_BYTES; i++)
		number = number << 8 | route->bytes[i];
	return number;
}

static struct gw_session_key key_for(const struct gw_identity *identity,
				     const struct gw_route *route)
{
	struct gw_session_key key = {.node = identity->node};

	if (!(identity->cert.roles & AGENT_ROLE))
		key.connection = route_number(route);
	return key;
}

static void send_refusal(struct gw_sessions *sessions, const struct gw_zmessage *message,
			 enum gw_refusal code, const char *text)
{
	const struct gw_link_options self = {.self = sessions->options.keys->node};
	struct gw_now now = now_of(sessions);

	if (!may_speak(sessions))
		return;
	sessions->out.size = 0;
	gw_link_refusal(&self, &now, code, text, &sessions->out);
	/* One that cannot be reached needs no reason. */
	(void)send_state(sessions, &message->route);
}

/* The session that this message belongs to, made if need be; NULL: refused. */
static struct session *session_for(struct gw_sessions *sessions, const struct gw_zmessage *message)
{
	const struct gw_identity *identity;
	struct gw_session_key key;
	struct gw_peer peer;
	struct session *session;

	if (!is_server(sessions))
		return sessions->only;
	identity = identify(sessions, message);
	if (!identity)
		return NULL;
	key = key_for(identity, &message->route);
	session = gw_table_find(&sessions->table, &key);
	if (session && session->peer.name != identity->cert.name) {
		/* The identity expired and was replaced: what it may do is another matter now. */
		gw_session_down(session, "its identity was replaced");
		session->ended = true;
	}
	if (session)
		return session->ended ? NULL : session;
	peer = (struct gw_peer){
		.node = identity->node,
		.tenant = identity->cert.tenant,
		.roles = identity->cert.roles,
		.name = identity->cert.name,
		.site = identity->cert.site,
		.region = identity->cert.region,
		.provider = identity->cert.provider,
	};
	if (key.connection == 0 ||
	    (sessions->client_count < GW_HOST_CLIENTS_MAX && identity->cert.roles & CLIENT_ROLES))
		session = gw_session_add(sessions, key, &peer);
	if (!session) {
		sessions->counts->refused_overload++;
		send_refusal(sessions, message, GW_REFUSAL_OVERLOAD,
			     "the scheduler has as many sessions as it may; try again later");
	}
	return session;
}

static void malformed(struct gw_sessions *sessions, const struct gw_zmessage *message)
{
	sessions->counts->refused_malformed++;
	send_refusal(sessions, message, GW_REFUSAL_MALFORMED,
		     "this is not a message of the protocol and session agreed on");
}

static void give_body(struct session *session, const struct gw_zmessage *message,
		      enum gw_channel channel, const struct gw_link_delivery *delivery)
{
	struct gw_sessions *sessions = session->sessions;

	if (!sessions->calls.body(sessions->calls.context, session->key, &session->peer, channel,
				  delivery))
		malformed(sessions, message);
}

/* Where the schedulers are, if this peer has not been told and would understand. */
static void tell_list(struct session *session)
{
	struct gw_sessions *sessions = session->sessions;
	struct gw_now now = now_of(sessions);
	struct gw_buf body;

	if (sessions->list.version <= session->told_version || !gw_link_is_open(session->link) ||
	    gw_link_protocol(session->link) < 2)
		return;
	gw_buf_init(&body, LIST_BYTES_MAX);
	/* What does not go now goes with the next session. */
	if (gw_schedulers_encode(&sessions->list, &body) == 0 &&
	    gw_link_send(session->link, &now, sessions->options.term, body.bytes, body.size) ==
		    GW_LINK_QUEUED)
		session->told_version = sessions->list.version;
	gw_buf_deinit(&body);
}

static void set_up(struct session *session, bool resumed)
{
	struct gw_sessions *sessions = session->sessions;

	if (!resumed)
		session->told_version = 0;
	tell_list(session);

	/* Down and up again before the core heard of either: to it nothing happened, unless what
	 * was lost in between must be told. */
	session->down_reason = NULL;
	if (session->up && resumed)
		return;
	session->up = true;
	sessions->calls.up(sessions->calls.context, &session->peer, resumed);
}

static void refused(struct session *session, const struct gw_link_delivery *delivery)
{
	struct gw_sessions *sessions = session->sessions;

	if (delivery->code == GW_REFUSAL_PROTOCOL)
		sessions->counts->refused_protocol++;
	if (sessions->calls.notice)
		sessions->calls.notice(sessions->calls.context, delivery->text);
	gw_session_flush(session); /* the reason, while there is a connection */
	gw_session_down(session, "one side refused the other");
	if (!is_server(sessions))
		gw_session_greet_later(session);
}

static void release_arena(struct gw_sessions *sessions)
{
	if (sessions->arena.used_bytes > ARENA_KEEP_BYTES)
		gw_arena_deinit(&sessions->arena);
	else
		gw_arena_reset(&sessions->arena);
}

void gw_session_state_received(void *context, const struct gw_zmessage *message)
{
	struct gw_sessions *sessions = context;
	struct session *session = session_for(sessions, message);
	struct gw_link_delivery delivery;
	enum gw_link_result result;
	struct gw_now now;

	if (!session)
		return;
	now = now_of(sessions);
	session->used_us = now.mono_us;
	result = gw_link_receive(session->link, &now, &sessions->arena, message->bytes,
				 message->size, &delivery);
	if (is_server(sessions) && result != GW_LINK_SPOOFED && result != GW_LINK_MALFORMED &&
	    (delivery.agreed || !session->has_state_route))
		take_connection(session, message);
	else if (!is_server(sessions) && (delivery.agreed || result == GW_LINK_REFUSED))
		gw_dial_answered(sessions->dial);
	switch (result) {
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_BODY:
		give_body(session, message, GW_CHANNEL_STATE, &delivery);
		break;
	case GW_LINK_UP:
		set_up(session, delivery.resumed);
		break;
	case GW_LINK_REFUSED:
		refused(session, &delivery);
		break;
	case GW_LINK_MALFORMED:
		malformed(sessions, message);
		break;
	case GW_LINK_SPOOFED:
		sessions->counts->refused_identity++;
		send_refusal(sessions, message, GW_REFUSAL_IDENTITY,
			     "the sender that this message names is not the owner of the key");
		break;
	}
	gw_session_flush(session);
	release_arena(sessions);
}

void gw_session_heartbeat_received(void *context, const struct gw_zmessage *message)
{
	struct gw_sessions *sessions = context;
	struct session *session = sessions->only;
	struct gw_link_delivery delivery;
	enum gw_link_result result;
	struct gw_now now = now_of(sessions);

	if (is_server(sessions)) {
		const struct gw_identity *identity = identify(sessions, message);
		struct gw_session_key key;

		if (!identity)
			return;
		key = key_for(identity, &message->route);
		session = gw_table_find(&sessions->table, &key);
	}
	if (!session || session->ended)
		return; /* no session yet: it will beat again */
	result = gw_link_receive_heartbeat(session->link, &now, &sessions->arena, message->bytes,
					   message->size, &delivery);
	if (result == GW_LINK_SPOOFED) {
		sessions->counts->refused_identity++;
	} else if (result == GW_LINK_MALFORMED) {
		sessions->counts->refused_malformed++;
	} else if (result == GW_LINK_BODY) {
		session->heartbeat_route = message->route;
		session->has_heartbeat_route = true;
		if (session->up &&
		    !sessions->calls.body(sessions->calls.context, session->key, &session->peer,
					  GW_CHANNEL_HEARTBEAT, &delivery))
			sessions->counts->refused_malformed++;
	}
	gw_session_flush(session);
	release_arena(sessions);
}

/* A TCP connection ended; whichever session used it is down. */
static void server_connection(void *context, enum gw_connection state, int fd)
{
	struct gw_sessions *sessions = context;

	if (state != GW_CONNECTION_DOWN)
		return;
	for (uint32_t i = 0; i < sessions->table.count; i++) {
		struct session *session = sessions->table.entries[i];

		if (session->tcp.fd == fd && !gw_tcp_stands(&session->tcp)) {
			session->tcp.fd = -1;
			gw_session_down(session, "its connection ended");
		}
	}
}

static int bind_sockets(struct gw_sessions *sessions, struct gw_fault *fault)
{
	const struct gw_host_options *options = &sessions->options;
	struct gw_zsock_options zsock_options = {
		.reactor = options->reactor,
		.zmq = options->zmq,
		.keys = options->keys,
		.domain = GW_ZAP_STATE,
		.endpoint = options->state_endpoint,
		.received = gw_session_state_received,
		.connection = server_connection,
		.context = sessions,
	};
	int error = gw_zsock_open(&zsock_options, &sessions->state, fault);

	if (error < 0)
		return error;
	zsock_options.domain = GW_ZAP_HEARTBEAT;
	zsock_options.endpoint = options->heartbeat_endpoint;
	zsock_options.received = gw_session_heartbeat_received;
	zsock_options.connection = NULL;
	return gw_zsock_open(&zsock_options, &sessions->heartbeat, fault);
}

int gw_sessions_new(const struct gw_host_options *options, const struct gw_session_calls *calls,
		    struct gw_host_counts *counts, struct gw_sessions **ret_sessions,
		    struct gw_fault *fault)
{
	struct gw_sessions *sessions = calloc(1, sizeof(*sessions));
	uint64_t hash_key;
	int error;

	if (!sessions)
		return -ENOMEM;
	randombytes_buf(&hash_key, sizeof(hash_key));
	sessions->options = *options;
	sessions->calls = *calls;
	sessions->counts = counts;
	sessions->sweep.call = sweep;
	sessions->sweep.context = sessions;
	sessions->idle_timer.fired = idle_timer_fired;
	sessions->idle_timer.context = sessions;
	gw_table_init(&sessions->table, sizeof(struct gw_session_key),
		      GW_NODES_MAX + GW_HOST_CLIENTS_MAX, hash_key);
	gw_arena_init(&sessions->arena, 2 * (size_t)GW_MESSAGE_BYTES_MAX);
	gw_buf_init(&sessions->out, GW_MESSAGE_BYTES_MAX);
	error = is_server(sessions) ? bind_sockets(sessions, fault)
				    : gw_session_dial(sessions, fault);
	if (error < 0) {
		gw_sessions_free(sessions);
		return error;
	}
	*ret_sessions = sessions;
	return 0;
}

struct gw_sessions *gw_sessions_free(struct gw_sessions *sessions)
{
	if (!sessions)
		return NULL;
	gw_zsock_close(sessions->state);
	gw_zsock_close(sessions->heartbeat);
	gw_dial_free(sessions->dial);
	gw_reactor_undefer(sessions->options.reactor, &sessions->sweep);
	gw_reactor_timer_cancel(sessions->options.reactor, &sessions->idle_timer);
	for (uint32_t i = 0; i < sessions->table.count; i++)
		free_session(sessions->table.entries[i]);
	gw_table_deinit(&sessions->table);
	gw_arena_deinit(&sessions->arena);
	gw_buf_deinit(&sessions->out);
	free(sessions);
	return NULL;
}

static enum gw_link_sent send_heartbeat(struct session *session, uint64_t term, const uint8_t *body,
					size_t size)
{
	struct gw_sessions *sessions = session->sessions;
	struct gw_now now = now_of(sessions);
	struct gw_arena arena;
	bool made;
	int error;

	if (is_server(sessions) && !(session->has_heartbeat_route && may_speak(sessions)))
		return GW_LINK_CLOSED;
	if (!is_server(sessions) && gw_dial_silent_us(sessions->dial) > ASK_US) {
		gw_link_ask(session->link); /* the link answers, whatever the core does */
		gw_session_flush(session);
	}
	gw_arena_init(&arena, GW_DECODE_BYTES_MAX); /* the shared one may hold the body answered */
	sessions->out.size = 0;
	made = gw_link_heartbeat(session->link, &now, &arena, term, body, size, &sessions->out);
	gw_arena_deinit(&arena);
	if (!made)
		return GW_LINK_CLOSED;
	if (is_server(sessions))
		error = gw_zsock_send(sessions->heartbeat, &session->heartbeat_route,
				      sessions->out.bytes, sessions->out.size);
	else
		error = gw_dial_send_heartbeat(sessions->dial, sessions->out.bytes,
					       sessions->out.size);
	/* Newest matters, may be lost: the next one comes. */
	return error < 0 ? GW_LINK_CLOSED : GW_LINK_QUEUED;
}

enum gw_link_sent gw_sessions_send(struct gw_sessions *sessions, struct gw_session_key to,
				   enum gw_channel channel, uint64_t term, const uint8_t *body,
				   size_t size)
{
	struct session *session = gw_table_find(&sessions->table, &to);
	enum gw_link_sent sent;
	struct gw_now now;

	if (!session || session->ended)
		return GW_LINK_CLOSED;
	if (channel == GW_CHANNEL_HEARTBEAT)
		return send_heartbeat(session, term, body, size);
	now = now_of(sessions);
	session->used_us = now.mono_us;
	sent = gw_link_send(session->link, &now, term, body, size);
	if (sent == GW_LINK_QUEUED)
		gw_session_flush(session);
	return sent;
}

void gw_sessions_restart(struct gw_sessions *sessions, struct gw_session_key key,
			 const char *reason)
{
	struct session *session = gw_table_find(&sessions->table, &key);
	struct gw_link *link = session ? make_link(session) : NULL;

	if (!link)
		return;
	gw_link_free(session->link);
	session->link = link;
	session->down_reason = reason;
	gw_reactor_defer(sessions->options.reactor, &sessions->sweep);
	if (!is_server(sessions) || session->has_state_route)
		gw_session_greet(session);
	else
		gw_session_flush(session);
}

void gw_sessions_end(struct gw_sessions *sessions, struct gw_session_key key, const char *reason)
{
	struct session *session = gw_table_find(&sessions->table, &key);

	if (!session || session->ended)
		return;
	CHECK(key.connection != 0);
	sessions->counts->slow_readers++;
	if (gw_tcp_stands(&session->tcp))
		gw_tcp_shut(session->tcp.fd);
	gw_session_down(session, reason);
	session->ended = true;
}

bool gw_sessions_has_room(const struct gw_sessions *sessions, struct gw_session_key key)
{
	const struct session *session = gw_table_find(&sessions->table, &key);
	uint32_t share;

	if (!session)
		return false;
	share = GW_HOST_REQUESTS_MAX / (sessions->busy_count + (session->request_count == 0) + 1);
	return session->request_count < share &&
	       session->request_count < GW_HOST_REQUESTS_PER_CLIENT_MAX;
}

void gw_sessions_begin_request(struct gw_sessions *sessions, struct gw_session_key key)
{
	struct session *session = gw_table_find(&sessions->table, &key);

	CHECK(session); /* it has just spoken */
	if (session->request_count++ == 0)
		sessions->busy_count++;
}

void gw_sessions_end_request(struct gw_sessions *sessions, struct gw_session_key key)
{
	struct session *session = gw_table_find(&sessions->table, &key);

	/* None, or none of this request: the session that asked is gone. */
	if (session && session->request_count > 0 && --session->request_count == 0)
		sessions->busy_count--;
}

void gw_sessions_set_list(struct gw_sessions *sessions, const struct gw_scheduler_list *list)
{
	CHECK(is_server(sessions));
	CHECK(list->count <= GW_SCHEDULERS_MAX);
	if (list->version <= sessions->list.version)
		return;
	sessions->list = *list;
	for (uint32_t i = 0; i < sessions->table.count; i++) {
		struct session *session = sessions->table.entries[i];

		tell_list(session);
		gw_session_flush(session);
	}
}

void gw_sessions_shut(struct gw_sessions *sessions, struct gw_node_id node)
{
	for (uint32_t i = 0; i < sessions->table.count; i++) {
		struct session *session = sessions->table.entries[i];

		if (!gw_id_equal(session->key.node.id, node.id))
			continue;
		if (gw_tcp_stands(&session->tcp))
			gw_tcp_shut(session->tcp.fd);
		gw_session_down(session, "its identity was revoked");
		session->ended = true;
	}
}

uint16_t gw_sessions_state_port(const struct gw_sessions *sessions)
{
	return gw_zsock_port(sessions->state);
}

uint16_t gw_sessions_heartbeat_port(const struct gw_sessions *sessions)
{
	return gw_zsock_port(sessions->heartbeat);
}
