/*
 * The session with one peer: transcripts, refusals, and a seeded property: whatever the connection
 * loses, repeats or brings late across reconnects, each body arrives once and in order as long as
 * both links live.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/prng.h"
#include "proto/wire.h"
#include "transport/link.h"

#define WIRE_MAX 4096u
#define SEEDS 300u

static struct gw_node_id node(uint8_t number)
{
	struct gw_node_id id = {0};

	id.id.bytes[0] = number;
	return id;
}

/* One direction of a connection: encoded envelopes on their way. */
struct wire {
	struct gw_buf messages[WIRE_MAX];
	uint32_t first;
	uint32_t count;
};

struct side {
	struct gw_link *link;
	struct wire in;
	uint32_t sent;     /* bodies given to the link in this session, numbered from 1 */
	uint32_t received; /* the last one that came */
	uint32_t session;  /* of this side, told in its bodies */
	uint32_t heard;    /* the session told by the peer's bodies; 0: none yet in this session */
	uint32_t ups;
	uint32_t resumes;
	enum gw_link_result last;
	char text[400];
};

struct pair {
	struct side client;
	struct side server;
	struct gw_now now;
	struct gw_arena arena;
	uint64_t epoch;   /* last given out */
	uint32_t session; /* last given out */
};

/* What a body begins with. */
struct content {
	uint32_t number;
	uint32_t session;
};

static void wire_clear(struct wire *wire)
{
	for (uint32_t i = 0; i < wire->count; i++)
		gw_buf_deinit(&wire->messages[(wire->first + i) % WIRE_MAX]);
	wire->first = 0;
	wire->count = 0;
}

static void wire_push(struct wire *wire, const struct gw_buf *bytes)
{
	struct gw_buf *at = &wire->messages[(wire->first + wire->count) % WIRE_MAX];

	assert_true(wire->count < WIRE_MAX);
	gw_buf_init(at, GW_MESSAGE_BYTES_MAX);
	assert_int_equal(gw_buf_append(at, bytes->bytes, bytes->size), 0);
	wire->count++;
}

static struct gw_link *link_for(struct pair *pair, bool client, uint32_t protocol_min,
				uint32_t protocol_max)
{
	const struct gw_link_options options = {
		.self = node(client ? 1 : 2),
		.peer = node(client ? 2 : 1),
		.epoch = ++pair->epoch,
		.client = client,
		.protocol_min = protocol_min,
		.protocol_max = protocol_max,
	};

	return gw_link_new(&options);
}

static struct pair *pair_new(void)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->now.mono_us = 1000;
	gw_arena_init(&pair->arena, 2 * (size_t)GW_MESSAGE_BYTES_MAX);
	pair->client.link = link_for(pair, true, 0, 0);
	pair->server.link = link_for(pair, false, 0, 0);
	return pair;
}

static void pair_free(struct pair *pair)
{
	gw_link_free(pair->client.link);
	gw_link_free(pair->server.link);
	wire_clear(&pair->client.in);
	wire_clear(&pair->server.in);
	gw_arena_deinit(&pair->arena);
	free(pair);
}

static void flush(struct pair *pair, struct side *from, struct side *to)
{
	struct gw_buf out;

	gw_buf_init(&out, GW_MESSAGE_BYTES_MAX);
	while (gw_link_next(from->link, &pair->now, &out)) {
		wire_push(&to->in, &out);
		out.size = 0;
	}
	gw_buf_deinit(&out);
}

/* Takes one message; checks that bodies come in order, each once. */
static void take(struct pair *pair, struct side *side, const struct gw_buf *bytes)
{
	struct gw_link_delivery delivery;
	struct content content;

	gw_arena_reset(&pair->arena);
	side->last = gw_link_receive(side->link, &pair->now, &pair->arena, bytes->bytes,
				     bytes->size, &delivery);
	if (side->last == GW_LINK_UP) {
		side->ups++;
		side->resumes += delivery.resumed;
		if (!delivery.resumed) {
			side->received = 0;
			side->heard = 0;
			side->sent = 0;
			side->session = ++pair->session;
		}
	}
	if (side->last == GW_LINK_REFUSED)
		(void)snprintf(side->text, sizeof(side->text), "%s", delivery.text);
	if (side->last != GW_LINK_BODY)
		return;
	assert_true(delivery.size >= sizeof(content));
	memcpy(&content, delivery.body, sizeof(content));
	assert_int_equal(content.number, side->received + 1);
	assert_true(side->heard == 0 || side->heard == content.session);
	side->received = content.number;
	side->heard = content.session;
}

static bool take_next(struct pair *pair, struct side *side)
{
	struct gw_buf bytes;

	if (side->in.count == 0)
		return false;
	bytes = side->in.messages[side->in.first];
	side->in.first = (side->in.first + 1) % WIRE_MAX;
	side->in.count--;
	take(pair, side, &bytes);
	gw_buf_deinit(&bytes);
	return true;
}

/* Runs until nothing moves, time standing still but for acknowledgements. */
static void settle(struct pair *pair)
{
	for (;;) {
		bool moved = false;

		flush(pair, &pair->client, &pair->server);
		flush(pair, &pair->server, &pair->client);
		moved |= take_next(pair, &pair->client);
		moved |= take_next(pair, &pair->server);
		if (!moved)
			break;
	}
}

static void connect_pair(struct pair *pair)
{
	gw_link_connected(pair->client.link, &pair->now);
	gw_link_connected(pair->server.link, &pair->now);
}

static void cut_pair(struct pair *pair)
{
	wire_clear(&pair->client.in);
	wire_clear(&pair->server.in);
	gw_link_disconnected(pair->client.link);
	gw_link_disconnected(pair->server.link);
}

static enum gw_link_sent send_body(struct pair *pair, struct side *side, size_t size)
{
	uint8_t *body = calloc(1, size);
	const struct content content = {.number = side->sent + 1, .session = side->session};
	enum gw_link_sent sent;

	assert_non_null(body);
	memcpy(body, &content, sizeof(content));
	sent = gw_link_send(side->link, &pair->now, 7, body, size);
	if (sent == GW_LINK_QUEUED)
		side->sent++;
	free(body);
	return sent;
}

static void opens_and_carries(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	assert_int_equal(send_body(pair, &pair->client, 16), GW_LINK_CLOSED);
	connect_pair(pair);
	settle(pair);
	assert_int_equal(pair->client.ups, 1);
	assert_int_equal(pair->server.ups, 1);
	assert_int_equal(pair->client.resumes, 0);
	assert_int_equal(gw_link_protocol(pair->server.link), GW_PROTOCOL_MAX);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(send_body(pair, &pair->client, 16), GW_LINK_QUEUED);
		assert_int_equal(send_body(pair, &pair->server, 16), GW_LINK_QUEUED);
	}
	settle(pair);
	assert_int_equal(pair->server.received, 100);
	assert_int_equal(pair->client.received, 100);
	assert_true(gw_link_wake_us(pair->client.link) > pair->now.mono_us);
	pair->now.mono_us += GW_US_PER_S; /* the acknowledgement's delay is over */
	gw_link_tick(pair->client.link, &pair->now);
	gw_link_tick(pair->server.link, &pair->now);
	settle(pair);
	assert_int_equal(gw_link_queued_bytes(pair->client.link), 0);
	assert_int_equal(gw_link_queued_bytes(pair->server.link), 0);
	/* At rest there is nothing to wake for. */
	assert_true(gw_link_wake_us(pair->client.link) == GW_NEVER_US);
	assert_true(gw_link_wake_us(pair->server.link) == GW_NEVER_US);
	pair_free(pair);
}

static void resumes_what_was_lost(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	connect_pair(pair);
	settle(pair);
	for (int i = 0; i < 10; i++)
		(void)send_body(pair, &pair->client, 16);
	flush(pair, &pair->client, &pair->server);
	for (int i = 0; i < 4; i++)
		assert_true(take_next(pair, &pair->server));
	cut_pair(pair); /* six are lost, and all acknowledgements */
	assert_int_equal(send_body(pair, &pair->client, 16), GW_LINK_QUEUED); /* waits */
	connect_pair(pair);
	settle(pair);
	assert_int_equal(pair->server.received, 11);
	assert_int_equal(pair->client.resumes, 1);
	assert_int_equal(pair->server.resumes, 1);
	pair_free(pair);
}

static void new_epoch_is_a_new_session(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	connect_pair(pair);
	settle(pair);
	for (int i = 0; i < 5; i++)
		(void)send_body(pair, &pair->client, 16);
	cut_pair(pair);
	gw_link_free(pair->server.link); /* the scheduler restarts */
	pair->server.link = link_for(pair, false, 0, 0);
	pair->server.received = 0;
	connect_pair(pair);
	settle(pair);
	assert_int_equal(pair->client.ups, 2);
	assert_int_equal(pair->client.resumes, 0);
	assert_int_equal(pair->server.received, 0); /* the old session's bodies are not its own */
	(void)send_body(pair, &pair->client, 16);
	settle(pair);
	assert_int_equal(pair->server.received, 1);
	pair_free(pair);
}

/* N talks to N-1: the version before is agreed on, whoever the older one is. */
static void talks_to_the_version_before(void **state)
{
	(void)state;
	for (int older = 0; older < 2; older++) {
		struct pair *pair = pair_new();
		struct side *side = older ? &pair->server : &pair->client;

		gw_link_free(side->link);
		side->link = link_for(pair, !older, GW_PROTOCOL_MAX - 1, GW_PROTOCOL_MAX - 1);
		connect_pair(pair);
		settle(pair);
		assert_int_equal(gw_link_protocol(pair->client.link), GW_PROTOCOL_MAX - 1);
		assert_int_equal(gw_link_protocol(pair->server.link), GW_PROTOCOL_MAX - 1);
		assert_int_equal(send_body(pair, &pair->client, 16), GW_LINK_QUEUED);
		assert_int_equal(send_body(pair, &pair->server, 16), GW_LINK_QUEUED);
		settle(pair);
		assert_int_equal(pair->client.received, 1);
		assert_int_equal(pair->server.received, 1);
		pair_free(pair);
	}
}

/* Both sides hear why, in one sentence that names both ranges. */
static void refuses_without_common_protocol(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	gw_link_free(pair->client.link);
	pair->client.link = link_for(pair, true, 3, 4);
	connect_pair(pair);
	settle(pair);
	assert_int_equal(pair->client.last, GW_LINK_REFUSED);
	assert_int_equal(pair->server.last, GW_LINK_REFUSED);
	assert_non_null(strstr(pair->client.text, "speaks 1 to 2"));
	assert_non_null(strstr(pair->client.text, "3 to 4"));
	assert_int_equal(send_body(pair, &pair->client, 16), GW_LINK_CLOSED);
	assert_false(gw_link_is_open(pair->server.link));
	pair_free(pair);
}

static void takes_the_highest_common_protocol(void **state)
{
	static const struct {
		uint32_t client_min, client_max, server_min, server_max, agreed;
	} rows[] = {{1, 3, 2, 5, 3}, {1, 1, 1, 1, 1}, {2, 9, 1, 4, 4}, {1, 2, 3, 4, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair *pair = pair_new();

		gw_link_free(pair->client.link);
		gw_link_free(pair->server.link);
		pair->client.link = link_for(pair, true, rows[i].client_min, rows[i].client_max);
		pair->server.link = link_for(pair, false, rows[i].server_min, rows[i].server_max);
		connect_pair(pair);
		settle(pair);
		assert_int_equal(gw_link_protocol(pair->client.link), rows[i].agreed);
		assert_int_equal(gw_link_protocol(pair->server.link), rows[i].agreed);
		pair_free(pair);
	}
}

static void bounds_queue_and_window(void **state)
{
	struct pair *pair = pair_new();
	size_t in_flight = 0;
	uint32_t queued = 0;

	(void)state;
	connect_pair(pair);
	settle(pair);
	while (send_body(pair, &pair->client, 64 << 10) == GW_LINK_QUEUED)
		queued++;
	assert_int_equal(send_body(pair, &pair->client, 64 << 10), GW_LINK_FULL);
	assert_true(gw_link_queued_bytes(pair->client.link) <= GW_LINK_QUEUE_BYTES_MAX);
	assert_true(gw_link_queued_bytes(pair->client.link) >
		    GW_LINK_QUEUE_BYTES_MAX - (128 << 10));
	assert_int_equal(send_body(pair, &pair->client, GW_LINK_BODY_BYTES_MAX + 1),
			 GW_LINK_TOO_LARGE);
	flush(pair, &pair->client, &pair->server);
	for (uint32_t i = 0; i < pair->server.in.count; i++)
		in_flight += pair->server.in.messages[i].size;
	assert_true(in_flight <= GW_LINK_WINDOW_BYTES + (64 << 10));
	settle(pair);
	assert_int_equal(pair->server.received, queued); /* the window moved on by itself */
	pair->now.mono_us += GW_US_PER_S; /* the last acknowledgement's delay is over */
	assert_int_equal(send_body(pair, &pair->client, GW_LINK_BODY_BYTES_MAX), GW_LINK_QUEUED);
	settle(pair);
	assert_int_equal(pair->server.received, queued + 1);
	pair_free(pair);
}

static void drops_duplicates_and_asks_at_gaps(void **state)
{
	struct pair *pair = pair_new();
	struct gw_buf held;

	(void)state;
	connect_pair(pair);
	settle(pair);
	(void)send_body(pair, &pair->client, 16);
	(void)send_body(pair, &pair->client, 16);
	flush(pair, &pair->client, &pair->server);
	held = pair->server.in.messages[pair->server.in.first];
	pair->server.in.first = (pair->server.in.first + 1) % WIRE_MAX;
	pair->server.in.count--;
	assert_true(take_next(pair, &pair->server)); /* the second, without the first */
	assert_int_equal(pair->server.received, 0);
	assert_int_equal(gw_link_counts(pair->server.link)->gaps, 1);
	settle(pair); /* the server asked; both come again */
	assert_int_equal(pair->server.received, 2);
	take(pair, &pair->server, &held); /* the first, late */
	assert_int_equal(gw_link_counts(pair->server.link)->duplicates, 1);
	assert_int_equal(pair->server.received, 2);
	gw_buf_deinit(&held);
	pair_free(pair);
}

static void asks_again_without_answer(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	connect_pair(pair);
	flush(pair, &pair->client, &pair->server);
	wire_clear(&pair->server.in); /* the HELLO is lost though the connection stands */
	for (int i = 0; i < 3 && pair->server.ups == 0; i++) {
		pair->now.mono_us = gw_link_wake_us(pair->client.link);
		gw_link_tick(pair->client.link, &pair->now);
		settle(pair);
	}
	assert_int_equal(pair->server.ups, 1);
	assert_int_equal(pair->client.ups, 1);
	pair_free(pair);
}

static Godwit__Envelope envelope_of(const struct gw_node_id *sender, uint64_t epoch,
				    uint64_t peer_epoch)
{
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;

	envelope.sender = gw_wire_id(&sender->id);
	envelope.protocol_min = 1;
	envelope.protocol_max = 1;
	envelope.epoch = epoch;
	envelope.peer_epoch = peer_epoch;
	return envelope;
}

static enum gw_link_result give(struct pair *pair, struct side *side,
				const Godwit__Envelope *envelope)
{
	struct gw_buf bytes;
	void *at;

	gw_buf_init(&bytes, GW_MESSAGE_BYTES_MAX);
	at = gw_buf_grow(&bytes, gw_wire_size(&envelope->base));
	assert_non_null(at);
	gw_wire_encode(&envelope->base, at);
	take(pair, side, &bytes);
	gw_buf_deinit(&bytes);
	return side->last;
}

static void refuses_hostile_envelopes(void **state)
{
	struct pair *pair = pair_new();
	struct gw_node_id client = node(1);
	struct gw_node_id stranger = node(9);
	Godwit__Envelope envelope;
	struct gw_link_delivery delivery;
	uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0x0f};

	(void)state;
	connect_pair(pair);
	settle(pair);
	assert_int_equal(gw_link_receive(pair->server.link, &pair->now, &pair->arena, garbage,
					 sizeof(garbage), &delivery),
			 GW_LINK_MALFORMED);
	envelope = envelope_of(&stranger, 1, 2);
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_SPOOFED);
	envelope = envelope_of(&client, 1, 2);
	envelope.sender.len = 15;
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_MALFORMED);
	envelope = envelope_of(&client, 1, 2);
	envelope.acknowledged = 1; /* of what was never sent */
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_MALFORMED);
	envelope.control = GODWIT__LINK_CONTROL__LINK_HELLO;
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_MALFORMED);
	envelope = envelope_of(&client, 1, 2);
	envelope.control = 99;
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_MALFORMED);
	envelope = envelope_of(&client, 1, 2);
	envelope.protocol_min = 2;
	assert_int_equal(give(pair, &pair->server, &envelope), GW_LINK_MALFORMED);
	/* Nothing of it disturbed the session. */
	(void)send_body(pair, &pair->client, 16);
	settle(pair);
	assert_int_equal(pair->server.received, 1);
	pair_free(pair);
}

static size_t heartbeat_body(uint64_t number, uint8_t *ret_bytes)
{
	Godwit__Heartbeat heartbeat = GODWIT__HEARTBEAT__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;

	heartbeat.number = number;
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT;
	body.heartbeat = &heartbeat;
	gw_wire_encode_body(&body, ret_bytes);
	return gw_wire_body_size(&body);
}

/* Stamped with the state channel's sequences; one that stands still is asked for. */
static void heartbeats_watch_the_state_channel(void **state)
{
	struct pair *pair = pair_new();
	struct gw_link_delivery delivery;
	const Godwit__Body *body;
	struct gw_buf out;
	uint8_t bytes[64];

	(void)state;
	gw_buf_init(&out, GW_MESSAGE_BYTES_MAX);
	assert_false(gw_link_heartbeat(pair->client.link, &pair->now, &pair->arena, 7, bytes,
				       heartbeat_body(1, bytes), &out));
	connect_pair(pair);
	settle(pair);
	(void)send_body(pair, &pair->client, 16);
	flush(pair, &pair->client, &pair->server);
	wire_clear(&pair->server.in); /* handed over, and never arrives */
	for (uint64_t i = 1; i <= 2; i++) {
		gw_arena_reset(&pair->arena);
		out.size = 0;
		assert_true(gw_link_heartbeat(pair->client.link, &pair->now, &pair->arena, 7, bytes,
					      heartbeat_body(i, bytes), &out));
		gw_arena_reset(&pair->arena);
		assert_int_equal(gw_link_receive_heartbeat(pair->server.link, &pair->now,
							   &pair->arena, out.bytes, out.size,
							   &delivery),
				 GW_LINK_BODY);
		body = gw_wire_decode_body(&pair->arena, delivery.body, delivery.size);
		assert_non_null(body);
		assert_int_equal(body->heartbeat->number, i);
		assert_int_equal(body->heartbeat->state_sequence, 1);
		assert_int_equal(delivery.term, 7);
	}
	settle(pair);
	assert_int_equal(pair->server.received, 1);
	gw_buf_deinit(&out);
	pair_free(pair);
}

/* A connection that breaks at any point: of what was on its way a first part still arrives, maybe
 * late, beside the next connection's messages. */
static void break_connection(struct pair *pair, struct gw_prng *prng, struct side *side,
			     struct wire *late)
{
	uint64_t arrive = gw_prng_below(prng, side->in.count + 1ull);

	for (uint64_t i = 0; i < arrive; i++) {
		if (gw_prng_chance_ppm(prng, 500000)) {
			(void)take_next(pair, side);
			continue;
		}
		wire_push(late, &side->in.messages[side->in.first]);
		gw_buf_deinit(&side->in.messages[side->in.first]);
		side->in.first = (side->in.first + 1) % WIRE_MAX;
		side->in.count--;
	}
	wire_clear(&side->in);
}

static void take_late(struct pair *pair, struct side *side, struct wire *late)
{
	if (late->count == 0)
		return;
	take(pair, side, &late->messages[late->first]);
	gw_buf_deinit(&late->messages[late->first]);
	late->first = (late->first + 1) % WIRE_MAX;
	late->count--;
}

static void random_action(struct pair *pair, struct gw_prng *prng, struct wire *late_client,
			  struct wire *late_server)
{
	switch (gw_prng_below(prng, 12)) {
	case 0:
		break_connection(pair, prng, &pair->client, late_client);
		break_connection(pair, prng, &pair->server, late_server);
		gw_link_disconnected(pair->client.link);
		if (gw_prng_chance_ppm(prng, 500000)) /* a ROUTER may not notice */
			gw_link_disconnected(pair->server.link);
		gw_link_connected(pair->client.link, &pair->now);
		break;
	case 1:
		take_late(pair, &pair->client, late_client);
		break;
	case 2:
		take_late(pair, &pair->server, late_server);
		break;
	case 3:
		pair->now.mono_us += gw_prng_below(prng, 10 * GW_US_PER_S);
		gw_link_tick(pair->client.link, &pair->now);
		gw_link_tick(pair->server.link, &pair->now);
		break;
	case 4:
	case 5:
		(void)send_body(pair, &pair->client, 8 + gw_prng_below(prng, 3000));
		break;
	case 6:
		(void)send_body(pair, &pair->server, 8 + gw_prng_below(prng, 3000));
		break;
	case 7:
		flush(pair, &pair->client, &pair->server);
		break;
	case 8:
		flush(pair, &pair->server, &pair->client);
		break;
	default:
		(void)take_next(pair,
				gw_prng_chance_ppm(prng, 500000) ? &pair->client : &pair->server);
		break;
	}
}

/* One side's process ends, with everything in it; another takes its place. */
static void restart(struct pair *pair, struct side *side, bool client)
{
	gw_link_free(side->link);
	side->link = link_for(pair, client, 0, 0);
	side->received = 0;
	side->heard = 0;
	side->sent = 0;
	side->session = 0;
}

static void restart_one(struct pair *pair, struct gw_prng *prng, struct wire *late)
{
	bool client = gw_prng_chance_ppm(prng, 500000);

	break_connection(pair, prng, &pair->client, &late[0]);
	break_connection(pair, prng, &pair->server, &late[1]);
	restart(pair, client ? &pair->client : &pair->server, client);
	gw_link_disconnected(pair->client.link);
	gw_link_disconnected(pair->server.link);
	gw_link_connected(pair->client.link, &pair->now);
}

static void let_time_pass(struct pair *pair)
{
	for (int i = 0; i < 20; i++) {
		settle(pair);
		pair->now.mono_us += 61 * GW_US_PER_S;
		gw_link_tick(pair->client.link, &pair->now);
		gw_link_tick(pair->server.link, &pair->now);
	}
}

/* In the end the connection stands, and what is late comes. */
static void come_to_rest(struct pair *pair, struct wire *late)
{
	while (late[0].count > 0)
		take_late(pair, &pair->client, &late[0]);
	while (late[1].count > 0)
		take_late(pair, &pair->server, &late[1]);
	let_time_pass(pair);
	/* What is said to a peer that is gone is lost with its session; afterwards nothing is. */
	for (int i = 0; i < 2; i++) {
		(void)send_body(pair, &pair->client, 8);
		(void)send_body(pair, &pair->server, 8);
		let_time_pass(pair);
	}
	assert_true(gw_link_is_open(pair->client.link));
	assert_true(gw_link_is_open(pair->server.link));
	assert_int_equal(pair->server.received, pair->client.sent);
	assert_int_equal(pair->client.received, pair->server.sent);
	assert_int_equal(pair->server.heard, pair->client.session);
	assert_int_equal(pair->client.heard, pair->server.session);
	assert_int_equal(gw_link_queued_bytes(pair->client.link), 0);
	assert_int_equal(gw_link_queued_bytes(pair->server.link), 0);
}

static void one_seed(uint64_t seed, uint32_t restart_ppm)
{
	struct wire *late = calloc(2, sizeof(*late));
	struct pair *pair = pair_new();
	struct gw_prng prng;

	assert_non_null(late);
	gw_prng_init(&prng, seed);
	connect_pair(pair); /* not settled: the opening may be cut as well */
	for (int i = 0; i < 400; i++) {
		if (gw_prng_chance_ppm(&prng, restart_ppm))
			restart_one(pair, &prng, late);
		random_action(pair, &prng, &late[0], &late[1]);
	}
	come_to_rest(pair, late);
	if (restart_ppm == 0) { /* one session all along, so each body came */
		assert_int_equal(pair->client.ups - pair->client.resumes, 1);
		assert_int_equal(pair->server.ups - pair->server.resumes, 1);
	}
	wire_clear(&late[0]);
	wire_clear(&late[1]);
	free(late);
	pair_free(pair);
}

static uint64_t seed_in_hand;

/* cmocka leaves a failed test by longjmp, so the seed is printed by the group's end. */
static void one_seed_named(uint64_t seed, uint32_t restart_ppm)
{
	seed_in_hand = seed;
	one_seed(seed, restart_ppm);
	seed_in_hand = 0;
}

static int print_seed(void **state)
{
	(void)state;
	if (seed_in_hand != 0)
		print_error("failed with GODWIT_SEED=%llu\n", (unsigned long long)seed_in_hand);
	return 0;
}

static void all_seeds(uint32_t restart_ppm)
{
	const char *only = getenv("GODWIT_SEED");

	for (uint64_t seed = 1; seed <= SEEDS && !only; seed++)
		one_seed_named(seed, restart_ppm);
	if (only)
		one_seed_named(strtoull(only, NULL, 10), restart_ppm);
}

static void delivers_each_body_once_in_order(void **state)
{
	(void)state;
	all_seeds(0);
}

/* Processes end too, and what the former ones said comes late: no body of one session is ever taken
 * for one of another, and the living find each other. */
static void restarts_never_mix_sessions(void **state)
{
	(void)state;
	all_seeds(30000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_and_carries),
		cmocka_unit_test(resumes_what_was_lost),
		cmocka_unit_test(new_epoch_is_a_new_session),
		cmocka_unit_test(talks_to_the_version_before),
		cmocka_unit_test(refuses_without_common_protocol),
		cmocka_unit_test(takes_the_highest_common_protocol),
		cmocka_unit_test(bounds_queue_and_window),
		cmocka_unit_test(drops_duplicates_and_asks_at_gaps),
		cmocka_unit_test(asks_again_without_answer),
		cmocka_unit_test(refuses_hostile_envelopes),
		cmocka_unit_test(heartbeats_watch_the_state_channel),
		cmocka_unit_test_teardown(delivers_each_body_once_in_order, print_seed),
		cmocka_unit_test_teardown(restarts_never_mix_sessions, print_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
