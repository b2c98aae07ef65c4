/*
 * A client's side of its one session: who is looked for, what the connection's state means, and when
 * to greet again.
 */
#include <errno.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "transport/session_state.h"

#define GREET_US_MIN GW_US_PER_S /* after a refusal; doubles */
#define GREET_US_MAX (60 * GW_US_PER_S)

void gw_session_greet(void *context)
{
	struct session *session = context;
	struct gw_now now = now_of(session->sessions);

	gw_reactor_timer_cancel(session->sessions->options.reactor, &session->greeting);
	gw_link_connected(session->link, &now);
	gw_session_flush(session);
}

void gw_session_greet_later(struct session *session)
{
	uint64_t now_us = now_of(session->sessions).mono_us;
	bool again = session->refused_us != 0 && now_us - session->refused_us < 2 * GREET_US_MAX;

	session->greet_delay_us = again ? 2 * session->greet_delay_us : GREET_US_MIN;
	if (session->greet_delay_us > GREET_US_MAX)
		session->greet_delay_us = GREET_US_MAX;
	session->refused_us = now_us;
	gw_reactor_timer_set(session->sessions->options.reactor, &session->greeting,
			     now_us + session->greet_delay_us);
}

/* Said once, until a connection stands again: libzmq tries every few seconds. */
static void notice(struct gw_sessions *sessions, const char *text)
{
	if (sessions->noticed == text || !sessions->calls.notice)
		return;
	sessions->noticed = text;
	sessions->calls.notice(sessions->calls.context, text);
}

static void client_connection(void *context, enum gw_connection state, int fd)
{
	struct gw_sessions *sessions = context;

	(void)fd; /* there is only one */
	switch (state) {
	case GW_CONNECTION_UP:
		sessions->noticed = NULL;
		gw_session_greet(sessions->only);
		break;
	case GW_CONNECTION_DOWN:
		gw_session_down(sessions->only, "the connection to the scheduler is lost");
		break;
	case GW_CONNECTION_ABSENT:
		break; /* libzmq and the search go on */
	case GW_CONNECTION_REFUSED:
		notice(sessions, "the scheduler refuses this key: it is unknown there, or revoked");
		break;
	case GW_CONNECTION_STRANGE:
		notice(sessions,
		       "what answers in the scheduler's place broke off the handshake: it "
		       "has another key, or speaks something else");
		break;
	}
}

int gw_session_dial(struct gw_sessions *sessions, struct gw_fault *fault)
{
	const struct gw_region *region = sessions->options.region;
	struct gw_dial_options dial_options = {
		.reactor = sessions->options.reactor,
		.zmq = sessions->options.zmq,
		.keys = sessions->options.keys,
		.server_key = region->exchange_key,
		.schedulers = &region->schedulers,
		.received = gw_session_state_received,
		.heartbeat_received = gw_session_heartbeat_received,
		.connection = client_connection,
		.context = sessions,
	};
	const struct gw_peer peer = {
		.node = gw_cert_node_id(region->signing_key),
		.roles = 1u << GODWIT__ROLE__ROLE_SCHEDULER,
		.name = region->name,
		.site = "",
		.region = region->name,
		.provider = "",
	};
	const struct gw_session_key key = {.node = peer.node};

	randombytes_buf(&dial_options.seed, sizeof(dial_options.seed));
	sessions->only = gw_session_add(sessions, key, &peer);
	return sessions->only ? gw_dial_new(&dial_options, &sessions->dial, fault) : -ENOMEM;
}

bool gw_sessions_take_list(struct gw_sessions *sessions, const struct gw_scheduler_list *list)
{
	CHECK(!is_server(sessions));
	return gw_dial_set_list(sessions->dial, list);
}
