/*
 * The session with one peer. The model: two links, each named by an epoch that is never used twice,
 * make one session for the pair of epochs. Sequence numbers count bodies within it. A sender keeps
 * each body until it is acknowledged, so the state after any loss is "send again from the first
 * that the peer lacks", and a receiver takes only the body that comes next.
 *
 * HELLO and WELCOME are read alike: version range, epochs, acknowledgement. Messages of a
 * connection that broke may come late, beside those of the next one, also from a process that is
 * gone; so a pair of epochs must never count from 1 twice. The two roles see to that differently,
 * since two sides that both gave way would miss each other for ever:
 *
 *	client: keeps its epoch all its life, and joins the session that the other side names
 *		together with this epoch; one that it has left it never goes back to.
 *	server: begins a session for whatever epoch a client's HELLO has, each under an epoch of
 *		its own that was never used. The session goes on when the HELLO knows that epoch,
 *		or none (it was sent before our WELCOME came: beginning anew would give one number
 *		to two bodies).
 *
 * A late HELLO then costs a session, never a body.
 *
 * It is not a transport: it never loses order by itself, but holds whatever its connection does.
 */
#include "transport/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/wire.h"

#define ACK_DELAY_US (20 * GW_US_PER_MS)
#define ACK_COUNT_MAX 64u          /* received and not acknowledged: then at once */
#define ACK_BYTES_MAX (256u << 10) /* a quarter of the window, so that it never runs dry */
#define IN_FLIGHT_COUNT_MAX 256u   /* far below the socket's high-water mark, which counts */
#define RETRY_US_MIN (5 * GW_US_PER_S)
#define RETRY_US_MAX (60 * GW_US_PER_S)
#define TEXT_BYTES 320u
#define LEFT_EPOCHS 16u /* a late message is seconds late; sixteen sessions take longer */

struct queued {
	struct queued *next;
	uint64_t sequence;
	uint64_t term;
	size_t size;
	uint8_t bytes[];
};

/*
 * acknowledged <= sent <= sequence; sent <= sent_highest <= sequence
 * queue holds (acknowledged, sequence]; of these (acknowledged, sent] are in flight
 */
struct gw_link {
	struct gw_link_options options;
	bool connected;
	bool open; /* agreed on this connection */
	bool refused;
	uint32_t protocol;
	uint64_t peer_epoch;               /* 0: no session yet */
	uint64_t left_epochs[LEFT_EPOCHS]; /* client: the peer's in sessions before; 0: none */
	uint32_t left_count;               /* ever: the next goes to this, modulo LEFT_EPOCHS */

	uint64_t sequence;     /* last given to a body */
	uint64_t sent;         /* last handed to this connection */
	uint64_t sent_highest; /* last ever handed to any */
	uint64_t acknowledged; /* last that the peer has */
	struct queued *first;  /* of acknowledged + 1 */
	struct queued *last;
	struct queued *unsent; /* of sent + 1 */
	size_t queued_bytes;
	size_t in_flight_bytes;

	uint64_t received; /* last taken, in order */
	uint32_t unacknowledged_count;
	size_t unacknowledged_bytes;
	uint64_t heartbeat_received; /* `received` at the peer's last heartbeat that was ahead of it
				      */

	bool hello_due;
	bool welcome_due;
	bool refuse_due;
	uint64_t ack_due_us;
	uint64_t hello_again_us; /* a HELLO waits for its WELCOME until then */
	uint64_t retry_us;       /* in flight, no acknowledgement: then HELLO */
	uint64_t retry_delay_us; /* doubles */
	uint32_t refusal_code;
	char text[TEXT_BYTES];
	struct gw_link_counts counts;
};

struct gw_link *gw_link_new(const struct gw_link_options *options)
{
	struct gw_link *link = calloc(1, sizeof(*link));

	CHECK(options->epoch != 0);
	if (!link)
		return NULL;
	link->options = *options;
	if (options->protocol_max == 0) {
		link->options.protocol_min = GW_PROTOCOL_MIN;
		link->options.protocol_max = GW_PROTOCOL_MAX;
	}
	link->ack_due_us = GW_NEVER_US;
	link->hello_again_us = GW_NEVER_US;
	link->retry_us = GW_NEVER_US;
	link->retry_delay_us = RETRY_US_MIN;
	return link;
}

static void drop_first(struct gw_link *link)
{
	struct queued *queued = link->first;

	link->first = queued->next;
	if (!link->first)
		link->last = NULL;
	link->queued_bytes -= queued->size;
	free(queued);
}

struct gw_link *gw_link_free(struct gw_link *link)
{
	if (!link)
		return NULL;
	while (link->first)
		drop_first(link);
	free(link);
	return NULL;
}

static void no_pending(struct gw_link *link)
{
	link->hello_due = false;
	link->welcome_due = false;
	link->ack_due_us = GW_NEVER_US;
	link->hello_again_us = GW_NEVER_US;
	link->retry_us = GW_NEVER_US;
	link->retry_delay_us = RETRY_US_MIN;
}

void gw_link_connected(struct gw_link *link, const struct gw_now *now)
{
	(void)now; /* the HELLO is due at once */
	no_pending(link);
	link->connected = true;
	link->open = false;
	link->refused = false;
	link->hello_due = true;
}

void gw_link_disconnected(struct gw_link *link)
{
	no_pending(link);
	link->connected = false;
	link->open = false;
	link->refuse_due = false;
}

static bool was_left(const struct gw_link *link, uint64_t epoch)
{
	for (uint32_t i = 0; i < LEFT_EPOCHS; i++) {
		if (link->left_epochs[i] == epoch)
			return true;
	}
	return false;
}

/* A new session with the peer of this epoch: both sides count from 1. */
static void start_session(struct gw_link *link, uint64_t peer_epoch)
{
	if (link->options.client && link->peer_epoch != 0)
		link->left_epochs[link->left_count++ % LEFT_EPOCHS] = link->peer_epoch;
	while (link->first)
		drop_first(link);
	link->unsent = NULL;
	link->peer_epoch = peer_epoch;
	link->sequence = 0;
	link->sent = 0;
	link->sent_highest = 0;
	link->acknowledged = 0;
	link->in_flight_bytes = 0;
	link->received = 0;
	link->unacknowledged_count = 0;
	link->unacknowledged_bytes = 0;
	link->heartbeat_received = UINT64_MAX;
	link->ack_due_us = GW_NEVER_US;
	link->retry_us = GW_NEVER_US;
}

/* A server's name for its next session with this peer. */
static void take_new_epoch(struct gw_link *link)
{
	do
		link->options.epoch += 0x9e3779b97f4a7c15ull; /* odd: comes back after 2^64 */
	while (link->options.epoch == 0);
}

/* Everything not acknowledged goes out again. */
static void rewind_sent(struct gw_link *link)
{
	link->counts.sent_again += link->sent - link->acknowledged;
	link->sent = link->acknowledged;
	link->unsent = link->first;
	link->in_flight_bytes = 0;
	link->retry_us = GW_NEVER_US;
}

static void take_acknowledgement(struct gw_link *link, const struct gw_now *now, uint64_t upto)
{
	if (upto <= link->acknowledged)
		return;
	while (link->first && link->first->sequence <= upto) {
		if (link->unsent == link->first) /* it was to go again, and had arrived after all */
			link->unsent = link->first->next;
		else
			link->in_flight_bytes -= link->first->size;
		drop_first(link);
	}
	link->acknowledged = upto;
	if (link->sent < upto)
		link->sent = upto;
	link->retry_delay_us = RETRY_US_MIN;
	link->retry_us =
		link->sent > link->acknowledged ? now->mono_us + RETRY_US_MIN : GW_NEVER_US;
}

/* Asks the peer where it stands. One question at a time. */
static void resynchronise(struct gw_link *link)
{
	if (link->hello_again_us == GW_NEVER_US)
		link->hello_due = true;
}

enum gw_link_sent gw_link_send(struct gw_link *link, const struct gw_now *now, uint64_t term,
			       const uint8_t *body, size_t size)
{
	struct queued *queued;

	(void)now; /* it is stamped when it goes out */
	if (link->peer_epoch == 0 || link->refused)
		return GW_LINK_CLOSED;
	if (size > GW_LINK_BODY_BYTES_MAX)
		return GW_LINK_TOO_LARGE;
	if (size + sizeof(*queued) > GW_LINK_QUEUE_BYTES_MAX - link->queued_bytes)
		return GW_LINK_FULL;
	queued = malloc(sizeof(*queued) + size);
	if (!queued)
		return GW_LINK_FULL;
	queued->next = NULL;
	queued->sequence = ++link->sequence;
	queued->term = term;
	queued->size = size + sizeof(*queued); /* what it costs here */
	memcpy(queued->bytes, body, size);
	if (link->last)
		link->last->next = queued;
	else
		link->first = queued;
	link->last = queued;
	if (!link->unsent)
		link->unsent = queued;
	link->queued_bytes += queued->size;
	return GW_LINK_QUEUED;
}

static void refuse(struct gw_link *link, enum gw_refusal code)
{
	no_pending(link);
	link->open = false;
	link->refused = true;
	link->refusal_code = code;
	link->connected = true;
	link->refuse_due = true;
}

static void deliver_refusal(struct gw_link *link, struct gw_link_delivery *ret_delivery)
{
	ret_delivery->code = link->refusal_code;
	ret_delivery->text = link->text;
}

/* The peer refuses us; its sentence is kept, cut to what fits, control characters blanked. */
static enum gw_link_result receive_refuse(struct gw_link *link, struct gw_arena *arena,
					  const Godwit__Envelope *envelope,
					  struct gw_link_delivery *ret_delivery)
{
	const Godwit__Refusal *refusal = gw_wire_decode(&godwit__refusal__descriptor, arena,
							envelope->body.data, envelope->body.len);

	if (!refusal)
		return GW_LINK_MALFORMED;
	no_pending(link);
	link->open = false;
	link->refused = true;
	link->refuse_due = false;
	link->refusal_code = refusal->code;
	(void)snprintf(link->text, sizeof(link->text), "%s", refusal->text);
	for (char *c = link->text; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	}
	deliver_refusal(link, ret_delivery);
	return GW_LINK_REFUSED;
}

/* The highest version that both speak; 0: none, and link->text says so. */
static uint32_t common_protocol(struct gw_link *link, const Godwit__Envelope *envelope)
{
	const struct gw_link_options *options = &link->options;
	uint32_t low = envelope->protocol_min > options->protocol_min ? envelope->protocol_min
								      : options->protocol_min;
	uint32_t high = envelope->protocol_max < options->protocol_max ? envelope->protocol_max
								       : options->protocol_max;

	if (low <= high)
		return high;
	(void)snprintf(link->text, sizeof(link->text),
		       "no common protocol version: this side speaks %u to %u, the other %u to %u; "
		       "upgrade the older one",
		       options->protocol_min, options->protocol_max, envelope->protocol_min,
		       envelope->protocol_max);
	return 0;
}

/* Whether this HELLO or WELCOME may be agreed to, as the model above says. */
static bool may_agree(const struct gw_link *link, const Godwit__Envelope *envelope)
{
	bool knows_us = envelope->peer_epoch == link->options.epoch;

	if (link->options.client)
		return knows_us && !was_left(link, envelope->epoch);
	if (envelope->control == GODWIT__LINK_CONTROL__LINK_WELCOME)
		return knows_us && envelope->epoch == link->peer_epoch;
	return true;
}

/* HELLO or WELCOME. */
static enum gw_link_result agree(struct gw_link *link, const struct gw_now *now,
				 const Godwit__Envelope *envelope,
				 struct gw_link_delivery *ret_delivery)
{
	bool welcome = envelope->control == GODWIT__LINK_CONTROL__LINK_WELCOME;
	bool knows_us = envelope->peer_epoch == link->options.epoch;
	bool same = envelope->epoch == link->peer_epoch && (knows_us || envelope->peer_epoch == 0);
	bool was_open = link->open;
	uint32_t protocol;

	if (envelope->epoch == 0 ||
	    (same && knows_us && envelope->acknowledged > link->sent_highest))
		return GW_LINK_MALFORMED;
	if (!may_agree(link, envelope)) {
		/* Late, or the other side is in another session: our HELLO says which is ours. */
		link->counts.foreign++;
		link->connected = true;
		if (!welcome && !link->refused)
			resynchronise(link);
		return GW_LINK_NOTHING;
	}
	protocol = common_protocol(link, envelope);
	if (protocol == 0) {
		refuse(link, GW_REFUSAL_PROTOCOL);
		deliver_refusal(link, ret_delivery);
		return GW_LINK_REFUSED;
	}
	if (!same && !link->options.client && link->peer_epoch != 0)
		take_new_epoch(link);
	if (!same)
		start_session(link, envelope->epoch);
	else if (knows_us)
		take_acknowledgement(link, now, envelope->acknowledged);
	rewind_sent(link);
	link->protocol = protocol;
	link->connected = true;
	link->refused = false;
	link->refuse_due = false;
	link->open = true;
	ret_delivery->resumed = same;
	ret_delivery->agreed = true;
	link->retry_delay_us = RETRY_US_MIN;
	link->hello_due = false; /* whatever was to be asked is answered by either */
	link->hello_again_us = GW_NEVER_US;
	link->welcome_due |= !welcome;
	return same && was_open ? GW_LINK_NOTHING : GW_LINK_UP;
}

static void acknowledge_later(struct gw_link *link, const struct gw_now *now, size_t size)
{
	link->unacknowledged_count++;
	link->unacknowledged_bytes += size;
	if (link->unacknowledged_count >= ACK_COUNT_MAX ||
	    link->unacknowledged_bytes >= ACK_BYTES_MAX)
		link->ack_due_us = now->mono_us;
	else if (link->ack_due_us == GW_NEVER_US)
		link->ack_due_us = now->mono_us + ACK_DELAY_US;
}

static enum gw_link_result receive_data(struct gw_link *link, const struct gw_now *now,
					const Godwit__Envelope *envelope,
					struct gw_link_delivery *ret_delivery)
{
	if (!link->open || envelope->epoch != link->peer_epoch ||
	    envelope->peer_epoch != link->options.epoch) {
		link->counts.foreign++;
		if (!link->refused)
			resynchronise(link);
		link->connected = true;
		return GW_LINK_NOTHING;
	}
	if (envelope->acknowledged > link->sent_highest)
		return GW_LINK_MALFORMED;
	take_acknowledgement(link, now, envelope->acknowledged);
	if (envelope->sequence == 0)
		return envelope->body.len == 0 ? GW_LINK_NOTHING : GW_LINK_MALFORMED;
	if (envelope->sequence <= link->received) {
		link->counts.duplicates++;
		acknowledge_later(link, now, 0); /* its sender does not know that it came */
		return GW_LINK_NOTHING;
	}
	if (envelope->sequence != link->received + 1) {
		link->counts.gaps++;
		resynchronise(link);
		return GW_LINK_NOTHING;
	}
	link->received++;
	acknowledge_later(link, now, envelope->body.len);
	ret_delivery->body = envelope->body.data;
	ret_delivery->size = envelope->body.len;
	ret_delivery->term = envelope->term;
	return GW_LINK_BODY;
}

static bool from_peer(const struct gw_link *link, const Godwit__Envelope *envelope)
{
	struct gw_id sender;

	return gw_wire_read_id(envelope->sender, &sender) &&
	       gw_id_equal(sender, link->options.peer.id);
}

enum gw_link_result gw_link_receive(struct gw_link *link, const struct gw_now *now,
				    struct gw_arena *arena, const uint8_t *bytes, size_t size,
				    struct gw_link_delivery *ret_delivery)
{
	const Godwit__Envelope *envelope = gw_wire_decode_envelope(arena, bytes, size);

	*ret_delivery = (struct gw_link_delivery){0};
	if (!envelope)
		return GW_LINK_MALFORMED;
	if (!from_peer(link, envelope))
		return GW_LINK_SPOOFED;
	switch (envelope->control) {
	case GODWIT__LINK_CONTROL__LINK_HELLO:
	case GODWIT__LINK_CONTROL__LINK_WELCOME:
		return agree(link, now, envelope, ret_delivery);
	case GODWIT__LINK_CONTROL__LINK_REFUSE:
		return receive_refuse(link, arena, envelope, ret_delivery);
	case GODWIT__LINK_CONTROL__LINK_DATA:
		return receive_data(link, now, envelope, ret_delivery);
	case _GODWIT__LINK_CONTROL_IS_INT_SIZE:
		break;
	}
	return GW_LINK_MALFORMED; /* a control of a later version, which was not agreed on */
}

/* protobuf-c has no const in its structs; nothing writes through the field. */
static ProtobufCBinaryData bytes_field(const uint8_t *bytes, size_t size)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} pointer = {.from = bytes};

	return (ProtobufCBinaryData){.len = size, .data = pointer.to};
}

static Godwit__Envelope envelope_from(const struct gw_link_options *options,
				      const struct gw_now *now)
{
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;

	envelope.sender = gw_wire_id(&options->self.id);
	if (!gw_id_is_zero(options->tenant))
		envelope.tenant = gw_wire_id(&options->tenant);
	envelope.protocol_min = options->protocol_min;
	envelope.protocol_max = options->protocol_max;
	envelope.epoch = options->epoch;
	envelope.sent_wall_us = now->wall_us;
	return envelope;
}

static void append(const ProtobufCMessage *message, struct gw_buf *out)
{
	uint8_t *at = gw_buf_grow(out, gw_wire_size(message));

	CHECK(at); /* bodies are bounded, and the caller's buffer holds a message */
	gw_wire_encode(message, at);
}

/* Fills in what each envelope of a session says, and notes that an acknowledgement went. */
static void append_envelope(struct gw_link *link, Godwit__Envelope *envelope, struct gw_buf *out)
{
	envelope->peer_epoch = link->peer_epoch;
	envelope->acknowledged = link->received;
	link->ack_due_us = GW_NEVER_US;
	link->unacknowledged_count = 0;
	link->unacknowledged_bytes = 0;
	append(&envelope->base, out);
}

static void append_refuse(const struct gw_link_options *options, const struct gw_now *now,
			  uint32_t code, const char *text, struct gw_buf *out)
{
	Godwit__Envelope envelope = envelope_from(options, now);
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;
	uint8_t body[TEXT_BYTES + 32];
	char copy[TEXT_BYTES];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	refusal.text = copy;
	refusal.code = code;
	envelope.control = GODWIT__LINK_CONTROL__LINK_REFUSE;
	envelope.body = bytes_field(body, gw_wire_size(&refusal.base));
	CHECK(envelope.body.len <= sizeof(body));
	gw_wire_encode(&refusal.base, body);
	append(&envelope.base, out);
}

static bool window_has_room(const struct gw_link *link, const struct queued *queued)
{
	if (link->sent == link->acknowledged)
		return true; /* one always may, however large */
	return link->sent - link->acknowledged < IN_FLIGHT_COUNT_MAX &&
	       link->in_flight_bytes + queued->size <= GW_LINK_WINDOW_BYTES;
}

static void append_queued(struct gw_link *link, const struct gw_now *now, struct gw_buf *out)
{
	Godwit__Envelope envelope = envelope_from(&link->options, now);
	struct queued *queued = link->unsent;

	CHECK(queued->sequence == link->sent + 1);
	envelope.sequence = queued->sequence;
	envelope.term = queued->term;
	envelope.body = bytes_field(queued->bytes, queued->size - sizeof(*queued));
	link->unsent = queued->next;
	link->sent = queued->sequence;
	link->in_flight_bytes += queued->size;
	if (link->sent_highest < link->sent)
		link->sent_highest = link->sent;
	if (link->retry_us == GW_NEVER_US)
		link->retry_us = now->mono_us + link->retry_delay_us;
	append_envelope(link, &envelope, out);
}

bool gw_link_next(struct gw_link *link, const struct gw_now *now, struct gw_buf *out)
{
	Godwit__Envelope envelope = envelope_from(&link->options, now);

	if (!link->connected)
		return false;
	if (link->refuse_due) {
		link->refuse_due = false;
		append_refuse(&link->options, now, link->refusal_code, link->text, out);
		return true;
	}
	if (link->hello_due) {
		link->hello_due = false;
		link->hello_again_us = now->mono_us + link->retry_delay_us;
		envelope.control = GODWIT__LINK_CONTROL__LINK_HELLO;
		append_envelope(link, &envelope, out);
		return true;
	}
	if (link->welcome_due) {
		link->welcome_due = false;
		envelope.control = GODWIT__LINK_CONTROL__LINK_WELCOME;
		append_envelope(link, &envelope, out);
		return true;
	}
	if (!link->open)
		return false;
	if (link->unsent && window_has_room(link, link->unsent)) {
		append_queued(link, now, out);
		return true;
	}
	if (link->ack_due_us <= now->mono_us) {
		append_envelope(link, &envelope, out);
		return true;
	}
	return false;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t gw_link_wake_us(const struct gw_link *link)
{
	return earlier(link->ack_due_us, earlier(link->hello_again_us, link->retry_us));
}

void gw_link_tick(struct gw_link *link, const struct gw_now *now)
{
	bool lost = false;

	if (link->hello_again_us <= now->mono_us) {
		link->hello_again_us = GW_NEVER_US;
		lost = true;
	}
	if (link->retry_us <= now->mono_us) {
		link->retry_us = GW_NEVER_US;
		lost = true;
	}
	if (!lost)
		return;
	link->retry_delay_us = earlier(2 * link->retry_delay_us, RETRY_US_MAX);
	resynchronise(link);
}

void gw_link_ask(struct gw_link *link)
{
	if (!link->refused)
		resynchronise(link);
}

size_t gw_link_unanswered_bytes(const struct gw_link *link)
{
	return link->in_flight_bytes + (link->hello_again_us != GW_NEVER_US);
}

bool gw_link_heartbeat(struct gw_link *link, const struct gw_now *now, struct gw_arena *arena,
		       uint64_t term, const uint8_t *body, size_t size, struct gw_buf *out)
{
	const Godwit__Body *decoded = gw_wire_decode_body(arena, body, size);
	Godwit__Envelope envelope = envelope_from(&link->options, now);
	Godwit__Heartbeat heartbeat;
	Godwit__HeartbeatReply reply;
	Godwit__Body stamped;
	uint8_t *bytes;

	if (!decoded || link->peer_epoch == 0)
		return false;
	stamped = *decoded;
	if (stamped.kind_case == GODWIT__BODY__KIND_HEARTBEAT) {
		heartbeat = *decoded->heartbeat;
		heartbeat.state_sequence = link->sent_highest;
		heartbeat.state_received = link->received;
		stamped.heartbeat = &heartbeat;
	} else if (stamped.kind_case == GODWIT__BODY__KIND_HEARTBEAT_REPLY) {
		reply = *decoded->heartbeat_reply;
		reply.state_sequence = link->sent_highest;
		reply.state_received = link->received;
		stamped.heartbeat_reply = &reply;
	}
	size = gw_wire_body_size(&stamped);
	bytes = gw_arena_alloc(arena, size);
	if (!bytes || size > GW_LINK_BODY_BYTES_MAX)
		return false;
	gw_wire_encode_body(&stamped, bytes);
	envelope.peer_epoch = link->peer_epoch;
	envelope.term = term;
	envelope.body = bytes_field(bytes, size);
	append(&envelope.base, out);
	return true;
}

/* Two heartbeats in a row that are ahead of what came on the state channel, and nothing came in
 * between: it stands still, so ask. */
static void compare_state(struct gw_link *link, const Godwit__Body *body)
{
	uint64_t peer_sent;

	if (body->kind_case == GODWIT__BODY__KIND_HEARTBEAT)
		peer_sent = body->heartbeat->state_sequence;
	else if (body->kind_case == GODWIT__BODY__KIND_HEARTBEAT_REPLY)
		peer_sent = body->heartbeat_reply->state_sequence;
	else
		return;
	if (peer_sent <= link->received) {
		link->heartbeat_received = UINT64_MAX;
		return;
	}
	if (link->heartbeat_received == link->received)
		resynchronise(link);
	link->heartbeat_received = link->received;
}

enum gw_link_result gw_link_receive_heartbeat(struct gw_link *link, const struct gw_now *now,
					      struct gw_arena *arena, const uint8_t *bytes,
					      size_t size, struct gw_link_delivery *ret_delivery)
{
	const Godwit__Envelope *envelope = gw_wire_decode_envelope(arena, bytes, size);
	const Godwit__Body *body;

	(void)now; /* a heartbeat's time is the core's business */
	*ret_delivery = (struct gw_link_delivery){0};
	if (!envelope)
		return GW_LINK_MALFORMED;
	if (!from_peer(link, envelope))
		return GW_LINK_SPOOFED;
	if (!link->open || envelope->epoch != link->peer_epoch ||
	    envelope->peer_epoch != link->options.epoch) {
		link->counts.foreign++;
		if (!link->refused)
			resynchronise(link); /* a peer with nothing to say but that it lives */
		return GW_LINK_NOTHING;
	}
	body = gw_wire_decode_body(arena, envelope->body.data, envelope->body.len);
	if (!body)
		return GW_LINK_MALFORMED;
	compare_state(link, body);
	ret_delivery->body = envelope->body.data;
	ret_delivery->size = envelope->body.len;
	ret_delivery->term = envelope->term;
	return GW_LINK_BODY;
}

bool gw_link_is_open(const struct gw_link *link)
{
	return link->open;
}

uint32_t gw_link_protocol(const struct gw_link *link)
{
	return link->protocol;
}

size_t gw_link_queued_bytes(const struct gw_link *link)
{
	return link->queued_bytes;
}

const struct gw_link_counts *gw_link_counts(const struct gw_link *link)
{
	return &link->counts;
}

void gw_link_refusal(const struct gw_link_options *options, const struct gw_now *now,
		     enum gw_refusal code, const char *text, struct gw_buf *out)
{
	struct gw_link_options named = *options;

	if (named.protocol_max == 0) {
		named.protocol_min = GW_PROTOCOL_MIN;
		named.protocol_max = GW_PROTOCOL_MAX;
	}
	append_refuse(&named, now, code, text, out);
}
