/*
 * start: the agent's link says HELLO when its connection stands; the scheduler's end makes a link
 * at the first envelope. run: bodies through gw_link, envelopes through sim_conn; the listener
 *        answers on the connection that brought the last HELLO or WELCOME. stop: a process vanishes
 *        with its links; a body that finds no room ends the session, and the next one begins with
 *        inventories.
 */
#include "bench/sim/session.h"

#include <string.h>

#include "bench/sim/skew.h"
#include "bench/sim/transcript.h"
#include "proto/base/check.h"
#include "proto/wire.h"

static void on_up(struct sim_conn *conn);
static void on_down(struct sim_conn *conn);
static void on_receive(struct sim_conn *conn, enum sim_end end, const uint8_t *bytes, size_t size);
static void on_wake(struct sim_timer *timer);
static void on_sweep(struct sim_timer *timer);

static bool on_defer(const struct sim_conn *conn, enum sim_end end, struct sim_timer *timer);

static const struct sim_conn_ops conn_ops = {on_up, on_down, on_receive, on_defer};

static void init_side(struct sim_session *session, enum sim_end end, struct sim_host *host)
{
	struct sim_side *side = &session->sides[end];

	side->session = session;
	side->end = end;
	side->host = host;
	sim_timer_init(&side->wake, on_wake, side);
	sim_timer_init(&side->sweep, on_sweep, side);
}

void sim_session_init(struct sim_session *session, struct sim_host *agent,
		      struct sim_host *scheduler, struct sim_path *path)
{
	*session = (struct sim_session){.revoked = false};
	init_side(session, SIM_DIALER, agent);
	init_side(session, SIM_LISTENER, scheduler);
	sim_conn_init(&session->state, agent->world, path, &conn_ops, session, agent->name);
	sim_conn_init(&session->heartbeat, agent->world, path, &conn_ops, session, agent->name);
}

static void clear_side(struct sim_side *side)
{
	side->link = gw_link_free(side->link);
	side->up = false;
	side->down_reason = NULL;
	side->state_generation = 0;
	side->heartbeat_generation = 0;
	sim_timer_clear(side->host->world, &side->wake);
	sim_timer_clear(side->host->world, &side->sweep);
}

void sim_session_deinit(struct sim_session *session)
{
	clear_side(&session->sides[SIM_DIALER]);
	clear_side(&session->sides[SIM_LISTENER]);
	sim_conn_deinit(&session->state);
	sim_conn_deinit(&session->heartbeat);
}

static struct sim_side *other(const struct sim_side *side)
{
	return &side->session->sides[side->end == SIM_DIALER ? SIM_LISTENER : SIM_DIALER];
}

/* The daemons draw epochs from the kernel's randomness, so they are in no order here either. */
static void make_link(struct sim_side *side)
{
	struct gw_link_options options = {
		.self = side->host->peer.node,
		.peer = other(side)->host->peer.node,
		.epoch = gw_prng_next(&side->host->world->prng) | 1,
		.client = side->end == SIM_DIALER,
		.protocol_min = GW_PROTOCOL_MIN,
		.protocol_max = side->host->old ? GW_PROTOCOL_MAX - 1 : GW_PROTOCOL_MAX,
	};

	CHECK(!side->link);
	side->link = gw_link_new(&options);
	CHECK(side->link);
}

static void now_at(const struct sim_side *side, struct gw_now *ret_now)
{
	sim_clock_now(&side->host->clock, side->host->world->now_us, ret_now);
}

/* The connection is of no use any more; the core hears of it in a moment, unless it comes back. */
static void set_down(struct sim_side *side, const char *reason)
{
	gw_link_disconnected(side->link);
	side->state_generation = 0;
	sim_timer_clear(side->host->world, &side->wake);
	if (!side->down_reason)
		side->down_reason = reason;
	sim_timer_set(side->host->world, &side->sweep, side->host->world->now_us);
}

static void on_sweep(struct sim_timer *timer)
{
	struct sim_side *side = timer->owner;
	struct gw_event event = {.kind = GW_EVENT_PEER_DOWN};
	bool told = side->up && side->down_reason;

	if (sim_host_defer(side->host, timer))
		return;
	event.peer_down.node = other(side)->host->peer.node;
	event.peer_down.reason = side->down_reason;
	if (side->down_reason)
		side->up = false;
	side->down_reason = NULL;
	if (side->session->revoked) {
		sim_conn_close(&side->session->state);
		sim_conn_close(&side->session->heartbeat);
	}
	if (!told)
		return;
	sim_say(side->host->world, side->host->name, "< PEER_DOWN %s: %s", other(side)->host->name,
		event.peer_down.reason);
	sim_host_step(side->host, &event);
}

static bool reachable(const struct sim_side *side)
{
	const struct sim_conn *conn = &side->session->state;

	return side->end == SIM_DIALER || (conn->up && conn->generation == side->state_generation);
}

/* Hands what the link has to say to the connection, and sets the link's timer. */
static void flush(struct sim_side *side)
{
	struct sim_host *host = side->host;
	struct gw_buf *out = &host->shared->envelope;
	struct gw_now now;

	now_at(side, &now);
	for (;;) {
		out->size = 0;
		if ((side->end == SIM_LISTENER && side->state_generation == 0) ||
		    !gw_link_next(side->link, &now, out))
			break;
		if (!reachable(side)) {
			set_down(side, "its connection is gone");
			return;
		}
		/* A dialler's message without a connection is lost; the link sends it again. */
		(void)sim_conn_send(&side->session->state, side->end, out->bytes, out->size);
	}
	sim_timer_set(host->world, &side->wake,
		      sim_clock_true(&host->clock, gw_link_wake_us(side->link)));
}

static void on_wake(struct sim_timer *timer)
{
	struct sim_side *side = timer->owner;
	struct gw_now now;

	if (!side->link || sim_host_defer(side->host, timer))
		return;
	now_at(side, &now);
	gw_link_tick(side->link, &now);
	flush(side);
}

static void set_up(struct sim_side *side, bool resumed)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP};

	/* Down and up again before the core heard of it: to it nothing happened. */
	side->down_reason = NULL;
	if (side->up && resumed)
		return;
	side->up = true;
	event.peer_up.peer = &other(side)->host->peer;
	event.peer_up.resumed = resumed;
	sim_say(side->host->world, side->host->name, "< PEER_UP %s%s", other(side)->host->name,
		resumed ? ", resumed" : "");
	sim_host_step(side->host, &event);
}

static void deliver(struct sim_side *side, enum gw_channel channel,
		    const struct gw_link_delivery *delivery)
{
	struct sim_host *host = side->host;
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};
	Godwit__Body body;

	event.message.peer = &other(side)->host->peer;
	event.message.channel = channel;
	event.message.term = delivery->term;
	event.message.body =
		gw_wire_decode_body(&host->shared->arena, delivery->body, delivery->size);
	if (!event.message.body) {
		sim_world_fail(host->world, "%s: a body that its peer sent cannot be decoded",
			       host->name);
		return;
	}
	if (side->end == SIM_DIALER && delivery->term > host->term)
		host->term = delivery->term;
	side->session->delivered_count++;
	sim_trace_bytes(host->world, delivery->body, delivery->size);
	sim_say_body(host->world, host->name, "<", other(side)->host->name, event.message.body);
	if (host->old || other(side)->host->old) {
		body = *event.message.body;
		sim_skew_strip(&body.base);
		event.message.body = &body;
		if (body.kind_case == GODWIT__BODY__KIND__NOT_SET)
			return; /* a kind that one of them does not know */
	}
	sim_host_step(host, &event);
}

static void received_state(struct sim_side *side, const uint8_t *bytes, size_t size)
{
	struct sim_host *host = side->host;
	struct gw_link_delivery delivery;
	enum gw_link_result result;
	struct gw_now now;

	now_at(side, &now);
	gw_arena_reset(&host->shared->arena);
	result = gw_link_receive(side->link, &now, &host->shared->arena, bytes, size, &delivery);
	sim_say_envelope(host->world, host->name, bytes, size);
	if (delivery.agreed || side->state_generation == 0)
		side->state_generation = side->session->state.received_generation;
	switch (result) {
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_BODY:
		deliver(side, GW_CHANNEL_STATE, &delivery);
		break;
	case GW_LINK_UP:
		set_up(side, delivery.resumed);
		break;
	case GW_LINK_REFUSED:
		sim_world_fail(host->world, "%s: a session was refused: %s", host->name,
			       delivery.text);
		break;
	case GW_LINK_MALFORMED:
	case GW_LINK_SPOOFED:
		sim_world_fail(host->world, "%s: its link does not take what its peer's link made",
			       host->name);
		sim_say_envelope(host->world, host->name, bytes, size);
		break;
	}
}

static void received_heartbeat(struct sim_side *side, const uint8_t *bytes, size_t size)
{
	struct sim_host *host = side->host;
	struct gw_link_delivery delivery;
	enum gw_link_result result;
	struct gw_now now;

	now_at(side, &now);
	gw_arena_reset(&host->shared->arena);
	result = gw_link_receive_heartbeat(side->link, &now, &host->shared->arena, bytes, size,
					   &delivery);
	if (result == GW_LINK_BODY) {
		side->heartbeat_generation = side->session->heartbeat.received_generation;
		if (side->up)
			deliver(side, GW_CHANNEL_HEARTBEAT, &delivery);
	} else if (result != GW_LINK_NOTHING) {
		sim_world_fail(host->world, "%s: its link does not take a heartbeat", host->name);
	}
}

static void on_receive(struct sim_conn *conn, enum sim_end end, const uint8_t *bytes, size_t size)
{
	struct sim_session *session = conn->owner;
	struct sim_side *side = &session->sides[end];

	if (!side->host->node || session->revoked)
		return;
	if (!side->link) {
		if (end == SIM_DIALER || conn == &session->heartbeat)
			return; /* a heartbeat opens no session */
		make_link(side);
	}
	if (conn == &session->state)
		received_state(side, bytes, size);
	else
		received_heartbeat(side, bytes, size);
	flush(side);
}

static bool on_defer(const struct sim_conn *conn, enum sim_end end, struct sim_timer *timer)
{
	const struct sim_session *session = conn->owner;

	return sim_host_defer(session->sides[end].host, timer);
}

static void on_up(struct sim_conn *conn)
{
	struct sim_session *session = conn->owner;
	struct sim_side *side = &session->sides[SIM_DIALER];
	struct gw_now now;

	if (conn != &session->state || !side->link)
		return;
	now_at(side, &now);
	gw_link_connected(side->link, &now);
	flush(side);
}

static void on_down(struct sim_conn *conn)
{
	struct sim_session *session = conn->owner;
	struct sim_side *side = &session->sides[SIM_DIALER];

	if (conn == &session->state && side->link)
		set_down(side, "the connection to the scheduler is lost");
}

void sim_session_dial(struct sim_session *session)
{
	make_link(&session->sides[SIM_DIALER]);
	sim_conn_open(&session->state);
	sim_conn_open(&session->heartbeat);
}

void sim_session_vanish(struct sim_session *session, enum sim_end end)
{
	clear_side(&session->sides[end]);
	if (end == SIM_DIALER) {
		sim_conn_close(&session->state);
		sim_conn_close(&session->heartbeat);
	} else {
		sim_conn_break(&session->state);
		sim_conn_break(&session->heartbeat);
	}
}

/* No room: the session ends here and a new one begins, with inventories. */
static void restart(struct sim_side *side)
{
	struct gw_now now;

	side->link = gw_link_free(side->link);
	make_link(side);
	side->down_reason = "its queue is full";
	sim_timer_set(side->host->world, &side->sweep, side->host->world->now_us);
	now_at(side, &now);
	if (side->end == SIM_DIALER || side->state_generation != 0)
		gw_link_connected(side->link, &now);
	flush(side);
}

static void send_heartbeat(struct sim_side *side, const struct gw_effect *effect)
{
	struct sim_host *host = side->host;
	const struct sim_conn *conn = &side->session->heartbeat;
	struct gw_buf *out = &host->shared->envelope;
	struct gw_now now;

	if (side->end == SIM_LISTENER && side->heartbeat_generation != conn->generation)
		return; /* to a connection that is gone */
	now_at(side, &now);
	out->size = 0;
	gw_arena_reset(&host->shared->arena);
	if (gw_link_heartbeat(side->link, &now, &host->shared->arena, host->term,
			      effect->send.bytes, effect->send.size, out))
		/* Newest matters, may be lost: the next one comes. */
		(void)sim_conn_send(&side->session->heartbeat, side->end, out->bytes, out->size);
}

void sim_session_send(struct sim_session *session, enum sim_end from,
		      const struct gw_effect *effect)
{
	struct sim_side *side = &session->sides[from];
	struct sim_host *host = side->host;
	enum gw_link_sent sent = GW_LINK_CLOSED;
	struct gw_now now;

	if (side->link && effect->send.channel == GW_CHANNEL_HEARTBEAT) {
		send_heartbeat(side, effect);
		return;
	}
	now_at(side, &now);
	if (side->link)
		sent = gw_link_send(side->link, &now, host->term, effect->send.bytes,
				    effect->send.size);
	if (sent == GW_LINK_QUEUED) {
		flush(side);
		return;
	}
	if (effect->send.channel == GW_CHANNEL_STATE)
		session->dropped_count++;
	if (sent == GW_LINK_FULL || sent == GW_LINK_TOO_LARGE)
		restart(side);
}

void sim_session_revoke(struct sim_session *session)
{
	struct sim_side *side = &session->sides[SIM_LISTENER];

	session->revoked = true;
	if (!side->link)
		return;
	set_down(side, "its identity was revoked");
	sim_timer_set(side->host->world, &side->sweep, side->host->world->now_us);
}
