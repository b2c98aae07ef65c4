/*
 * The scheduler's side of joining: a socket of its own that any key may knock at, one request and
 * one answer. Everything is checked before the token is used up, so that a mistake (a name that is
 * taken) does not cost it. Requests past the rate are refused with a reason; the joiner tries
 * again.
 */
#include "transport/enrol.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/identity.h"
#include "transport/journal.h"
#include "transport/link.h"
#include "transport/reactor.h"
#include "transport/zap.h"
#include "transport/zsock.h"

#define RATE_PER_S                                                                                 \
	50u /* requests looked at; each costs a signature check and a few disk writes              \
	     */
#define BURST 50u
#define HIGH_WATER 64          /* per connection: one request is all that a joiner has to say */
#define REQUEST_BYTES_MAX 4096 /* keys, token, proof and name: about 350 */
#define DECODE_BYTES_MAX (64u << 10)
#define REPLY_BYTES_MAX (8u << 10)

/* A joiner whose certificate is on its way to the region's other schedulers. */
struct waiting {
	uint64_t handle; /* 0: free */
	struct gw_route route;
	struct gw_node_id node;
	size_t size;
	uint8_t bytes[GW_CERT_BYTES_MAX];
};

struct gw_enrol {
	struct gw_enrol_options options;
	struct gw_scheduler_list schedulers; /* told to who joins; none: only the ports */
	struct gw_zsock *zsock;
	struct gw_arena arena;
	struct gw_buf out;
	uint32_t allowance; /* requests that may be looked at now */
	uint64_t allowance_us;
	uint64_t handle_last;
	struct waiting waiting[GW_ENROL_WAITING_MAX];
};

/* A token bucket. False: past the rate. */
static bool allowed(struct gw_enrol *enrol, uint64_t now_us)
{
	uint64_t gained = (now_us - enrol->allowance_us) * RATE_PER_S / GW_US_PER_S;

	if (gained > 0) {
		enrol->allowance_us = now_us;
		enrol->allowance = gained + enrol->allowance > BURST
					   ? BURST
					   : enrol->allowance + (uint32_t)gained;
	}
	if (enrol->allowance == 0)
		return false;
	enrol->allowance--;
	return true;
}

static void send_out(struct gw_enrol *enrol, const struct gw_route *route)
{
	/* A joiner that is gone, or does not read, asks again. */
	(void)gw_zsock_send(enrol->zsock, route, enrol->out.bytes, enrol->out.size);
}

static void send_refusal(struct gw_enrol *enrol, const struct gw_route *route,
			 const struct gw_now *now, enum gw_refusal code, const char *text)
{
	const struct gw_link_options self = {.self = enrol->options.keys->node};

	enrol->out.size = 0;
	gw_link_refusal(&self, now, code, text, &enrol->out);
	send_out(enrol, route);
}

static void observe(const struct gw_enrol *enrol, enum gw_observed what, const char *who,
		    const char *why)
{
	if (enrol->options.observe)
		enrol->options.observe(enrol->options.context, what, who ? who : "", why);
}

/* Refuses whoever knocked with the key that the message's User-Id is. */
static void refuse(struct gw_enrol *enrol, const struct gw_zmessage *message,
		   const struct gw_now *now, enum gw_refusal code, const char *text)
{
	observe(enrol, GW_OBSERVED_JOIN_REFUSED, message->user_id, text);
	send_refusal(enrol, &message->route, now, code, text);
}

static void send_certificate(struct gw_enrol *enrol, const struct gw_route *route,
			     const struct gw_now *now, const uint8_t *bytes, size_t size)
{
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;
	Godwit__JoinReply reply = GODWIT__JOIN_REPLY__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__SignedCertificate *certificate =
		gw_wire_decode(&godwit__signed_certificate__descriptor, &enrol->arena, bytes, size);
	Godwit__SignedCertificate copy;
	Godwit__SchedulerList schedulers;
	uint8_t *at;

	CHECK(certificate); /* it was verified, here or when it was issued */
	copy = *certificate;
	reply.certificate = &copy;
	reply.state_port = enrol->options.state_port;
	reply.heartbeat_port = enrol->options.heartbeat_port;
	if (enrol->schedulers.count > 0) {
		const Godwit__SchedulerList *list =
			gw_schedulers_message(&enrol->schedulers, &enrol->arena);

		CHECK(list); /* far smaller than the arena */
		schedulers = *list;
		reply.schedulers = &schedulers;
	}
	body.kind_case = GODWIT__BODY__KIND_JOIN_REPLY;
	body.join_reply = &reply;
	envelope.sender = gw_wire_id(&enrol->options.keys->node.id);
	envelope.protocol_min = GW_PROTOCOL_MIN;
	envelope.protocol_max = GW_PROTOCOL_MAX;
	envelope.sent_wall_us = now->wall_us;
	envelope.body.len = gw_wire_body_size(&body);
	envelope.body.data = gw_arena_alloc(&enrol->arena, envelope.body.len);
	CHECK(envelope.body.data); /* a certificate is far smaller than the arena */
	gw_wire_encode_body(&body, envelope.body.data);
	enrol->out.size = 0;
	at = gw_buf_grow(&enrol->out, gw_wire_size(&envelope.base));
	CHECK(at);
	gw_wire_encode(&envelope.base, at);
	send_out(enrol, route);
}

/* Form and proofs. NULL: it is what it claims to be; otherwise why not. */
static const char *check_request(const Godwit__JoinRequest *request, const char *user_id)
{
	char key_text[2 * GW_KEY_BYTES + 1];
	uint8_t proof[GW_JOIN_PROOF_BYTES];
	bool proven;

	if (request->token.len != GW_TOKEN_BYTES || request->signing_key.len != GW_KEY_BYTES ||
	    request->exchange_key.len != GW_KEY_BYTES || request->proof.len != GW_SIGNATURE_BYTES)
		return "the join request has keys, a token or a proof of the wrong size";
	(void)sodium_bin2hex(key_text, sizeof(key_text), request->exchange_key.data, GW_KEY_BYTES);
	if (!user_id || strcmp(user_id, key_text) != 0)
		return "the exchange key is not the one that this connection was made with";
	gw_join_proof_bytes(request->token.data, request->signing_key.data,
			    request->exchange_key.data, proof);
	proven = gw_sign_verify(GW_JOIN_DOMAIN, proof, sizeof(proof), request->signing_key.data,
				request->proof.data);
	sodium_memzero(proof, sizeof(proof)); /* it holds the token */
	return proven ? NULL : "the proof is not by the signing key";
}

/* The certificate's content; -EACCES with a sentence when the name will not do. */
static int describe(const struct gw_enrol *enrol, const Godwit__JoinRequest *request,
		    const struct gw_grant *grant, const struct gw_now *now,
		    struct gw_cert *ret_cert, struct gw_fault *fault)
{
	const char *name = grant->name[0] ? grant->name : request->name;
	struct gw_cert cert = {0};

	if (!gw_cert_name_valid(name)) {
		gw_fault_set(fault, "a name must have at most %u letters, digits, '.', '_', '-'",
			     GW_NAME_BYTES_MAX);
		return -EACCES;
	}
	memcpy(cert.name, name, strlen(name) + 1);
	memcpy(cert.site, grant->site, sizeof(cert.site));
	memcpy(cert.provider, grant->provider, sizeof(cert.provider));
	memcpy(cert.region, enrol->options.region, strlen(enrol->options.region) + 1);
	memcpy(cert.signing_key, request->signing_key.data, GW_KEY_BYTES);
	memcpy(cert.exchange_key, request->exchange_key.data, GW_KEY_BYTES);
	cert.tenant = grant->tenant;
	cert.roles = 1u << grant->role;
	/* An hour back: the joiner's clock may be behind. */
	cert.not_before_wall_us = now->wall_us - (int64_t)(3600 * GW_US_PER_S);
	cert.not_after_wall_us = now->wall_us + (int64_t)grant->certificate_life_us;
	cert.node = gw_cert_node_id(cert.signing_key);
	*ret_cert = cert;
	return 0;
}

/* The certificate that this node's use of the token gave; -EACCES: it was revoked since, or has
 * expired; -ENOENT: the scheduler ended between using the token up and issuing. */
static int issued_before(const struct gw_enrol *enrol, struct gw_node_id node, int64_t wall_us,
			 uint8_t ret_bytes[GW_CERT_BYTES_MAX], size_t *ret_size,
			 struct gw_fault *fault)
{
	const struct gw_identity *known = gw_identities_find(enrol->options.identities, node);

	if (known && known->revoked) {
		gw_fault_set(fault, "this key was revoked; make new keys to join");
		return -EACCES;
	}
	if (known && !gw_identity_good(known, wall_us)) {
		gw_fault_set(fault, "the token is used up, and what it gave has expired; ask for a "
				    "new one");
		return -EACCES;
	}
	return known ? gw_identities_read(enrol->options.identities, node, ret_bytes, ret_size)
		     : -ENOENT;
}

/* 0 with the signed certificate; -EACCES: refused with a sentence; other negative errno: disk. */
static int admit(struct gw_enrol *enrol, const Godwit__JoinRequest *request,
		 const struct gw_now *now, uint8_t ret_bytes[GW_CERT_BYTES_MAX], size_t *ret_size,
		 struct gw_fault *fault)
{
	const struct gw_enrol_options *options = &enrol->options;
	struct gw_node_id node = gw_cert_node_id(request->signing_key.data);
	struct gw_grant grant;
	struct gw_cert cert;
	int used = gw_token_look(options->state_directory, request->token.data, node, now->wall_us,
				 &grant, fault);
	int error = used < 0 ? used : describe(enrol, request, &grant, now, &cert, fault);

	if (error < 0)
		return error;
	if (used) {
		error = issued_before(enrol, node, now->wall_us, ret_bytes, ret_size, fault);
		if (error != -ENOENT)
			return error;
	}
	error = gw_identities_check_free(options->identities, &cert, now->wall_us, fault);
	if (error == 0)
		error = gw_token_use(options->state_directory, request->token.data, node,
				     now->wall_us, &grant, fault);
	if (error < 0)
		return error;
	randombytes_buf(&cert.serial, sizeof(cert.serial));
	error = gw_cert_issue(&cert, options->keys->signing_secret, ret_bytes, ret_size);
	CHECK(error == 0); /* the names were checked */
	return gw_identities_add(options->identities, ret_bytes, *ret_size, fault);
}

/* The request in an envelope of a version that we speak; NULL: refused already. */
static const Godwit__JoinRequest *read_request(struct gw_enrol *enrol, const struct gw_now *now,
					       const struct gw_zmessage *message)
{
	const Godwit__Envelope *envelope =
		gw_wire_decode_envelope(&enrol->arena, message->bytes, message->size);
	const Godwit__Body *body;
	struct gw_fault text;

	if (!envelope) {
		refuse(enrol, message, now, GW_REFUSAL_MALFORMED, "this is not an envelope");
		return NULL;
	}
	if (envelope->protocol_min > GW_PROTOCOL_MAX || envelope->protocol_max < GW_PROTOCOL_MIN) {
		gw_fault_set(&text,
			     "no common protocol version: this side speaks %u to %u, the other %u "
			     "to %u; upgrade the older one",
			     GW_PROTOCOL_MIN, GW_PROTOCOL_MAX, envelope->protocol_min,
			     envelope->protocol_max);
		refuse(enrol, message, now, GW_REFUSAL_PROTOCOL, text.text);
		return NULL;
	}
	body = gw_wire_decode_body(&enrol->arena, envelope->body.data, envelope->body.len);
	if (!body || body->kind_case != GODWIT__BODY__KIND_JOIN_REQUEST) {
		refuse(enrol, message, now, GW_REFUSAL_MALFORMED,
		       "this is not a join request, and nothing else is heard here");
		return NULL;
	}
	return body->join_request;
}

static void welcome(struct gw_enrol *enrol, const struct gw_route *route, struct gw_node_id node,
		    const struct gw_now *now, const uint8_t *bytes, size_t size)
{
	const struct gw_identity *identity = gw_identities_find(enrol->options.identities, node);

	if (!identity)
		return; /* it took long to keep, and expired meanwhile */
	observe(enrol, GW_OBSERVED_JOINED, identity->cert.name, identity->cert.site);
	send_certificate(enrol, route, now, bytes, size);
}

/* False: too many wait, or it cannot be kept now. */
static bool keep(struct gw_enrol *enrol, const struct gw_route *route, struct gw_node_id node,
		 const uint8_t *bytes, size_t size)
{
	struct waiting *place = NULL;

	for (size_t i = 0; i < GW_ENROL_WAITING_MAX && !place; i++)
		if (enrol->waiting[i].handle == 0)
			place = &enrol->waiting[i];
	if (!place || enrol->options.keep(enrol->options.context, node, bytes, size,
					  enrol->handle_last + 1) < 0)
		return false;
	place->handle = ++enrol->handle_last;
	place->route = *route;
	place->node = node;
	place->size = size;
	memcpy(place->bytes, bytes, size);
	return true;
}

void gw_enrol_kept(struct gw_enrol *enrol, uint64_t handle)
{
	struct gw_now now = gw_reactor_now(enrol->options.reactor);

	CHECK(handle > 0);
	for (size_t i = 0; i < GW_ENROL_WAITING_MAX; i++) {
		struct waiting *waiting = &enrol->waiting[i];

		if (waiting->handle != handle)
			continue;
		waiting->handle = 0;
		gw_arena_reset(&enrol->arena);
		welcome(enrol, &waiting->route, waiting->node, &now, waiting->bytes, waiting->size);
	}
}

/* Why nobody may join now; NULL: they may. */
static const char *stalled_why(const struct gw_enrol *enrol, const struct gw_now *now)
{
	const struct gw_journal *journal = enrol->options.journal;

	return journal && journal->stalled ? journal->stalled(journal, now->mono_us) : NULL;
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct gw_enrol *enrol = context;
	struct gw_now now = gw_reactor_now(enrol->options.reactor);
	uint8_t bytes[GW_CERT_BYTES_MAX];
	const Godwit__JoinRequest *request;
	struct gw_fault fault = {"the scheduler cannot write the identity to its disk"};
	const char *stalled;
	struct gw_node_id node;
	const char *wrong;
	size_t size;

	if (!allowed(enrol, now.mono_us)) {
		refuse(enrol, message, &now, GW_REFUSAL_OVERLOAD,
		       "too many join at once; try again in a second");
		return;
	}
	stalled = stalled_why(enrol, &now);
	if (stalled) {
		refuse(enrol, message, &now, GW_REFUSAL_OVERLOAD, stalled);
		return;
	}
	gw_arena_reset(&enrol->arena);
	request = read_request(enrol, &now, message);
	if (!request)
		return;
	wrong = check_request(request, message->user_id);
	if (wrong) {
		refuse(enrol, message, &now, GW_REFUSAL_IDENTITY, wrong);
		return;
	}
	if (admit(enrol, request, &now, bytes, &size, &fault) < 0) {
		refuse(enrol, message, &now, GW_REFUSAL_IDENTITY, fault.text);
		return;
	}
	node = gw_cert_node_id(request->signing_key.data);
	if (!enrol->options.keep)
		welcome(enrol, &message->route, node, &now, bytes, size);
	else if (!keep(enrol, &message->route, node, bytes, size))
		refuse(enrol, message, &now, GW_REFUSAL_OVERLOAD,
		       "the region's schedulers cannot share the new identity now; try again");
}

int gw_enrol_new(const struct gw_enrol_options *options, struct gw_enrol **ret_enrol,
		 struct gw_fault *fault)
{
	struct gw_enrol *enrol = calloc(1, sizeof(*enrol));
	const struct gw_zsock_options zsock_options = {
		.reactor = options->reactor,
		.zmq = options->zmq,
		.keys = options->keys,
		.domain = GW_ZAP_ENROL,
		.endpoint = options->endpoint,
		.high_water = HIGH_WATER,
		.bytes_max = REQUEST_BYTES_MAX,
		.received = received,
		.context = enrol,
	};
	int error;

	if (!enrol)
		return -ENOMEM;
	CHECK(gw_cert_name_valid(options->region));
	enrol->options = *options;
	enrol->allowance = BURST;
	enrol->allowance_us = gw_reactor_now(options->reactor).mono_us;
	gw_arena_init(&enrol->arena, DECODE_BYTES_MAX);
	gw_buf_init(&enrol->out, REPLY_BYTES_MAX);
	error = gw_zsock_open(&zsock_options, &enrol->zsock, fault);
	if (error < 0) {
		gw_enrol_free(enrol);
		return error;
	}
	*ret_enrol = enrol;
	return 0;
}

struct gw_enrol *gw_enrol_free(struct gw_enrol *enrol)
{
	if (!enrol)
		return NULL;
	gw_zsock_close(enrol->zsock);
	gw_arena_deinit(&enrol->arena);
	gw_buf_deinit(&enrol->out);
	free(enrol);
	return NULL;
}

uint16_t gw_enrol_port(const struct gw_enrol *enrol)
{
	return gw_zsock_port(enrol->zsock);
}

void gw_enrol_set_endpoints(struct gw_enrol *enrol, const struct gw_scheduler_list *list)
{
	CHECK(list->count <= GW_SCHEDULERS_MAX);
	enrol->schedulers = *list;
}
