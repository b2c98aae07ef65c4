/*
 * The joiner's side: one request over a connection made with the new keys, one answer, three files.
 * A reactor of its own, driven until the answer or the limit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/clock.h"
#include "transport/dial.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/reactor.h"
#include "transport/zsock.h"

#define RETRY_US GW_US_PER_S
#define DECODE_BYTES_MAX (64u << 10)
#define MESSAGE_BYTES_MAX 1024u /* keys, token, proof and name: about 350 */

struct join {
	const struct gw_ticket *ticket;
	struct gw_keys *keys;
	const char *name;
	struct gw_reactor *reactor;
	struct gw_dial *dial;
	void *zmq;
	struct gw_timer retry;
	struct gw_fault *fault;
	bool done;
	bool busy;    /* it refused for overload, so far */
	bool strange; /* the last try met something else than the scheduler */
	int error;
	uint8_t certificate[GW_CERT_BYTES_MAX];
	size_t certificate_size;
	struct gw_scheduler_list schedulers; /* told by the one that answered */
};

static ProtobufCBinaryData field(const uint8_t *bytes, size_t size)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} pointer = {.from = bytes}; /* protobuf-c has no const; nothing writes through it */

	return (ProtobufCBinaryData){.len = size, .data = pointer.to};
}

static void send_request(void *context)
{
	struct join *join = context;
	const struct gw_keys *keys = join->keys;
	Godwit__JoinRequest request = GODWIT__JOIN_REQUEST__INIT;
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	uint8_t signature[GW_SIGNATURE_BYTES];
	uint8_t proof[GW_JOIN_PROOF_BYTES];
	uint8_t bytes[MESSAGE_BYTES_MAX];
	uint8_t message[MESSAGE_BYTES_MAX];
	char name[GW_NAME_BYTES_MAX + 1];

	memcpy(name, join->name, strlen(join->name) + 1);
	gw_join_proof_bytes(join->ticket->token, keys->signing_key, keys->exchange_key, proof);
	gw_sign(GW_JOIN_DOMAIN, proof, sizeof(proof), keys->signing_secret, signature);
	request.token = field(join->ticket->token, GW_TOKEN_BYTES);
	request.name = name;
	request.signing_key = field(keys->signing_key, GW_KEY_BYTES);
	request.exchange_key = field(keys->exchange_key, GW_KEY_BYTES);
	request.proof = field(signature, sizeof(signature));
	body.kind_case = GODWIT__BODY__KIND_JOIN_REQUEST;
	body.join_request = &request;
	envelope.sender = gw_wire_id(&keys->node.id);
	envelope.protocol_min = GW_PROTOCOL_MIN;
	envelope.protocol_max = GW_PROTOCOL_MAX;
	envelope.sent_wall_us = gw_clock_wall_us();
	envelope.body = field(bytes, gw_wire_body_size(&body));
	CHECK(envelope.body.len <= sizeof(bytes));
	gw_wire_encode_body(&body, bytes);
	CHECK(gw_wire_size(&envelope.base) <= sizeof(message));
	gw_wire_encode(&envelope.base, message);
	/* Without a connection it is sent when there is one. */
	(void)gw_dial_send_state(join->dial, message, gw_wire_size(&envelope.base));
	/* Each holds the token. */
	sodium_memzero(proof, sizeof(proof));
	sodium_memzero(bytes, sizeof(bytes));
	sodium_memzero(message, sizeof(message));
}

static void finish(struct join *join, int error)
{
	join->done = true;
	join->error = error;
}

static void receive_refusal(struct join *join, struct gw_arena *arena,
			    const Godwit__Envelope *envelope)
{
	const Godwit__Refusal *refusal = gw_wire_decode(&godwit__refusal__descriptor, arena,
							envelope->body.data, envelope->body.len);

	gw_fault_set(join->fault, "the scheduler refuses: %.400s",
		     refusal ? refusal->text : "it does not say why");
	if (refusal && refusal->code == GW_REFUSAL_OVERLOAD) {
		join->busy = true;
		gw_reactor_timer_set(join->reactor, &join->retry, gw_clock_mono_us() + RETRY_US);
		return;
	}
	finish(join, -EACCES);
}

/* All of them as told, or the one that answered at the ports it told. */
static bool read_schedulers(struct join *join, const Godwit__JoinReply *reply)
{
	struct gw_scheduler_list list = {.count = 1};
	const char *endpoint = gw_dial_endpoint(join->dial);
	bool good;

	if (reply->schedulers)
		good = gw_schedulers_read(reply->schedulers, &list);
	else
		good = gw_endpoint_with_port(endpoint, (uint16_t)reply->state_port,
					     list.places[0].state) == 0 &&
		       gw_endpoint_with_port(endpoint, (uint16_t)reply->heartbeat_port,
					     list.places[0].heartbeat) == 0;
	if (good)
		join->schedulers = list;
	else
		gw_fault_set(join->fault, "the scheduler's answer does not say where it listens");
	return good;
}

static void receive_reply(struct join *join, struct gw_arena *arena,
			  const Godwit__Envelope *envelope)
{
	const Godwit__Body *body =
		gw_wire_decode_body(arena, envelope->body.data, envelope->body.len);
	const Godwit__JoinReply *reply;
	size_t size;

	if (!body || body->kind_case != GODWIT__BODY__KIND_JOIN_REPLY ||
	    !body->join_reply->certificate || body->join_reply->state_port > UINT16_MAX ||
	    body->join_reply->heartbeat_port > UINT16_MAX) {
		gw_fault_set(join->fault, "the scheduler's answer is not one to a join request");
		finish(join, -EPROTO);
		return;
	}
	reply = body->join_reply;
	size = gw_wire_size(&reply->certificate->base);
	if (size > sizeof(join->certificate)) {
		gw_fault_set(join->fault, "the scheduler sent a certificate that is too large");
		finish(join, -EPROTO);
		return;
	}
	/* What is signed is inside, as opaque bytes: writing the outer message anew is harmless. */
	gw_wire_encode(&reply->certificate->base, join->certificate);
	join->certificate_size = size;
	finish(join, read_schedulers(join, reply) ? 0 : -EPROTO);
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct join *join = context;
	const Godwit__Envelope *envelope;
	struct gw_arena arena;

	if (join->done)
		return;
	gw_dial_answered(join->dial);
	gw_arena_init(&arena, DECODE_BYTES_MAX);
	envelope = gw_wire_decode_envelope(&arena, message->bytes, message->size);
	if (envelope && envelope->control == GODWIT__LINK_CONTROL__LINK_REFUSE)
		receive_refusal(join, &arena, envelope);
	else if (envelope)
		receive_reply(join, &arena, envelope);
	gw_arena_deinit(&arena);
}

static void connection(void *context, enum gw_connection state, int fd)
{
	struct join *join = context;

	(void)fd; /* there is only one */
	switch (state) {
	case GW_CONNECTION_UP:
		join->strange = false;
		send_request(join);
		break;
	case GW_CONNECTION_DOWN:
	case GW_CONNECTION_ABSENT:
		break; /* the request is sent again when there is a connection again */
	case GW_CONNECTION_REFUSED:
	case GW_CONNECTION_STRANGE:
		join->strange = true; /* or the connection broke in its handshake: try on */
		break;
	}
}

static int ask(struct join *join, uint64_t limit_us)
{
	const struct gw_ticket *ticket = join->ticket;
	struct gw_scheduler_list list = {.count = ticket->enrol_count};
	struct gw_dial_options options = {
		.reactor = join->reactor,
		.zmq = join->zmq,
		.keys = join->keys,
		.server_key = ticket->region.exchange_key,
		.schedulers = &list,
		.received = received,
		.connection = connection,
		.context = join,
	};
	uint64_t until_us = gw_clock_mono_us() + limit_us;
	int error;

	for (uint32_t i = 0; i < list.count; i++)
		memcpy(list.places[i].state, ticket->enrol_endpoints[i],
		       sizeof(list.places[i].state));
	randombytes_buf(&options.seed, sizeof(options.seed));
	error = gw_dial_new(&options, &join->dial, join->fault);

	while (error == 0 && !join->done && gw_clock_mono_us() < until_us)
		error = gw_reactor_turn(join->reactor, until_us);
	if (error < 0)
		return error;
	if (!join->done && join->strange) {
		gw_fault_set(join->fault,
			     "what answers at %s is not the scheduler that the ticket names: it "
			     "has another key",
			     gw_dial_endpoint(join->dial));
		return -EPROTO;
	}
	if (!join->done && join->busy)
		return -EACCES; /* its sentence stands */
	if (!join->done) {
		gw_fault_set(join->fault, "no scheduler answers at %s%s",
			     gw_dial_endpoint(join->dial),
			     list.count > 1 ? " or at the region's other places" : "");
		return -ETIMEDOUT;
	}
	return join->error;
}

/* Certificate and region, once the answer is seen to be the region's word about our keys. */
static int keep(struct join *join, const char *directory)
{
	struct gw_region region = join->ticket->region;
	char path[GW_PATH_BYTES];
	struct gw_cert cert;
	enum gw_cert_result result = gw_cert_verify(join->certificate, join->certificate_size,
						    region.signing_key, gw_clock_wall_us(), &cert);
	int error;

	if (result != GW_CERT_GOOD || !gw_id_equal(cert.node.id, join->keys->node.id) ||
	    memcmp(cert.exchange_key, join->keys->exchange_key, GW_KEY_BYTES) != 0) {
		gw_fault_set(join->fault, "the scheduler sent a certificate that will not do: %s",
			     result != GW_CERT_GOOD ? gw_cert_result_text(result)
						    : "it is for other keys");
		return -EPROTO;
	}
	region.schedulers = join->schedulers;
	error = gw_file_path(path, sizeof(path), directory, GW_CERTIFICATE_FILE);
	if (error == 0)
		error = gw_file_write(path, 0644, false, join->certificate, join->certificate_size,
				      join->fault);
	if (error == 0)
		error = gw_file_path(path, sizeof(path), directory, GW_REGION_FILE);
	/* Last: an identity is complete when its region file is there. */
	return error < 0 ? error : gw_region_save(path, &region, join->fault);
}

/* True: this folder has a good certificate of the ticket's region. */
static bool joined_already(const char *directory, const struct gw_ticket *ticket)
{
	char region_path[GW_PATH_BYTES];
	char certificate_path[GW_PATH_BYTES];
	struct gw_region region;
	struct gw_cert cert;

	return gw_file_path(region_path, sizeof(region_path), directory, GW_REGION_FILE) == 0 &&
	       gw_file_path(certificate_path, sizeof(certificate_path), directory,
			    GW_CERTIFICATE_FILE) == 0 &&
	       gw_region_load(region_path, &region, NULL) == 0 &&
	       memcmp(region.signing_key, ticket->region.signing_key, GW_KEY_BYTES) == 0 &&
	       gw_certificate_load(certificate_path, &region, gw_clock_wall_us(), &cert, NULL) == 0;
}

/* The folder's keys, made if there are none. */
static int open_keys(const char *directory, struct gw_keys **ret_keys, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	int error = gw_file_path(path, sizeof(path), directory, GW_KEYS_FILE);

	if (error < 0)
		return error;
	if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
		error = -errno;
		gw_fault_set(fault, "cannot make %s: %s", directory, strerror(-error));
		return error;
	}
	error = gw_keys_create(path, ret_keys, fault);
	return error == -EEXIST ? gw_keys_load(path, ret_keys, fault) : error;
}

static int join_region(struct join *join, const char *directory, uint64_t limit_us)
{
	int error;

	join->retry.fired = send_request;
	join->retry.context = join;
	error = open_keys(directory, &join->keys, join->fault);
	if (error == 0)
		error = gw_reactor_new(&join->reactor);
	if (error == 0) {
		join->zmq = gw_zmq_new();
		error = join->zmq ? ask(join, limit_us) : -ENOMEM;
	}
	if (error == 0)
		error = keep(join, directory);
	gw_dial_free(join->dial);
	gw_zmq_free(join->zmq);
	gw_reactor_free(join->reactor);
	gw_keys_free(join->keys);
	return error;
}

int gw_join(const char *directory, const struct gw_ticket *ticket, const char *name,
	    uint64_t limit_us, struct gw_fault *fault)
{
	struct join *join;
	int error;

	if (joined_already(directory, ticket))
		return 0;
	if (!gw_cert_name_valid(name)) {
		gw_fault_set(fault,
			     "\"%.80s\" is not a name: at most %u letters, digits, '.', "
			     "'_', '-', beginning with a letter or digit",
			     name, GW_NAME_BYTES_MAX);
		return -EINVAL;
	}
	join = calloc(1, sizeof(*join)); /* too large for the stack */
	if (!join)
		return -ENOMEM;
	join->ticket = ticket;
	join->name = name;
	join->fault = fault;
	error = join_region(join, directory, limit_us);
	free(join);
	return error;
}
