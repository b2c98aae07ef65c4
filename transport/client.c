/*
 * A blocking client: a reactor of its own, driven until the answer is there or the time is up.
 * The session is an ordinary link, so a lost connection in the middle of a call is taken up again.
 */
#include "transport/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/reactor.h"
#include "transport/zsock.h"

#define STOP_US (100 * GW_US_PER_MS) /* how late a signal caught just before a sleep is seen */

struct gw_client {
	struct gw_keys *own_keys; /* loaded here; NULL: the caller's are used */
	const struct gw_keys *keys;
	struct gw_cert cert;
	struct gw_region region;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_zsock *zsock;
	struct gw_link *link;
	struct gw_timer timer;
	struct gw_arena arena;  /* of the envelope in hand */
	struct gw_arena answer; /* of the body given to the caller */
	struct gw_buf out;
	uint64_t number;           /* of the last request */
	const Godwit__Body *reply; /* to it */
	int error;                 /* what ends a wait */
	bool strange;              /* the last try met something else than the scheduler */
	gw_stop_f *stop;
	struct gw_fault fault;
};

static void fail(struct gw_client *client, int error)
{
	if (client->error == 0)
		client->error = error;
}

static void flush(struct gw_client *client)
{
	struct gw_now now = gw_reactor_now(client->reactor);

	client->out.size = 0;
	while (gw_link_next(client->link, &now, &client->out)) {
		/* Not taken: the link sends it again. */
		(void)gw_zsock_send(client->zsock, NULL, client->out.bytes, client->out.size);
		client->out.size = 0;
	}
	gw_reactor_timer_set(client->reactor, &client->timer, gw_link_wake_us(client->link));
}

static void timer_fired(void *context)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);

	gw_link_tick(client->link, &now);
	flush(client);
}

static void take_body(struct gw_client *client, const struct gw_link_delivery *delivery)
{
	const Godwit__Body *body;

	gw_arena_reset(&client->answer);
	body = gw_wire_decode_body(&client->answer, delivery->body, delivery->size);
	if (!body) {
		gw_fault_set(&client->fault, "the scheduler's answer cannot be read");
		fail(client, -EPROTO);
	} else if (body->request == client->number && !client->reply) {
		client->reply = body;
	}
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);
	struct gw_link_delivery delivery;
	bool was_known = gw_link_protocol(client->link) != 0;

	gw_arena_reset(&client->arena);
	switch (gw_link_receive(client->link, &now, &client->arena, message->bytes, message->size,
				&delivery)) {
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_BODY:
		if (!client->reply)
			take_body(client, &delivery);
		break;
	case GW_LINK_UP:
		if (was_known && !delivery.resumed) {
			gw_fault_set(&client->fault,
				     "the connection was lost before the answer came: whether the "
				     "request was carried out is not known; ask again");
			fail(client, -ECONNRESET);
		}
		break;
	case GW_LINK_REFUSED:
		gw_fault_set(&client->fault, "the scheduler refuses: %s", delivery.text);
		fail(client, -EACCES);
		break;
	case GW_LINK_MALFORMED:
	case GW_LINK_SPOOFED:
		gw_fault_set(&client->fault, "the scheduler sent what is not a message of it");
		fail(client, -EPROTO);
		break;
	}
	flush(client);
}

static void connection(void *context, enum gw_connection state, int fd)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);

	(void)fd; /* there is only one */
	switch (state) {
	case GW_CONNECTION_UP:
		client->strange = false;
		gw_link_connected(client->link, &now);
		flush(client);
		break;
	case GW_CONNECTION_DOWN:
		gw_link_disconnected(client->link);
		break;
	case GW_CONNECTION_REFUSED:
		gw_fault_set(&client->fault,
			     "the scheduler of region %s refuses this key: it is unknown there, "
			     "or revoked",
			     client->region.name);
		fail(client, -EACCES);
		break;
	case GW_CONNECTION_STRANGE:
		client->strange = true; /* or the connection broke in its handshake: try on */
		break;
	}
}

static int start(struct gw_client *client, struct gw_fault *fault)
{
	const struct gw_zsock_options zsock_options = {
		.reactor = client->reactor,
		.zmq = client->zmq,
		.keys = client->keys,
		.server_key = client->region.exchange_key,
		.endpoint = client->region.state_endpoint,
		.received = received,
		.connection = connection,
		.context = client,
	};
	struct gw_link_options link_options = {
		.self = client->keys->node,
		.peer = gw_cert_node_id(client->region.signing_key),
		.tenant = client->cert.tenant,
		.client = true,
	};

	while (link_options.epoch == 0)
		randombytes_buf(&link_options.epoch, sizeof(link_options.epoch));
	client->link = gw_link_new(&link_options);
	if (!client->link)
		return -ENOMEM;
	return gw_zsock_open(&zsock_options, &client->zsock, fault);
}

static int time_out(const struct gw_client *client, uint64_t limit_us, struct gw_fault *fault)
{
	if (client->strange) {
		gw_fault_set(fault,
			     "what answers at %s is not the scheduler of region %s: it has another "
			     "key, or speaks something else",
			     client->region.state_endpoint, client->region.name);
		return -EPROTO;
	}
	gw_fault_set(fault, "the scheduler at %s did not %s in %llu ms",
		     client->region.state_endpoint,
		     gw_link_is_open(client->link) ? "reply" : "answer",
		     (unsigned long long)(limit_us / GW_US_PER_MS));
	return -ETIMEDOUT;
}

/* Runs until there is an answer (or, without a request, a session), an error or no time left. */
static int wait_for(struct gw_client *client, bool session, uint64_t limit_us,
		    struct gw_fault *fault)
{
	uint64_t until_us = gw_clock_mono_us() + limit_us;

	while (client->error == 0 &&
	       !(session ? gw_link_is_open(client->link) : client->reply != NULL)) {
		uint64_t now_us = gw_clock_mono_us();
		uint64_t turn_us = until_us;
		int error;

		if (now_us >= until_us)
			return time_out(client, limit_us, fault);
		if (client->stop && client->stop()) {
			gw_fault_set(fault, "interrupted before the scheduler replied");
			return -EINTR;
		}
		if (client->stop && turn_us - now_us > STOP_US)
			turn_us = now_us + STOP_US;
		error = gw_reactor_turn(client->reactor, turn_us);
		if (error < 0)
			return error;
	}
	if (client->error < 0)
		gw_fault_set(fault, "%s", client->fault.text);
	return client->error;
}

/* Takes over own_keys, also when it fails. */
static int open_client(const struct gw_client_options *options, struct gw_keys *own_keys,
		       uint64_t limit_us, struct gw_client **ret_client, struct gw_fault *fault)
{
	struct gw_client *client = calloc(1, sizeof(*client));
	int error;

	if (!client) {
		gw_keys_free(own_keys);
		return -ENOMEM;
	}
	client->own_keys = own_keys;
	client->keys = options->keys;
	client->cert = *options->cert;
	client->region = *options->region;
	client->stop = options->stop;
	client->timer.fired = timer_fired;
	client->timer.context = client;
	gw_arena_init(&client->arena, 2 * (size_t)GW_MESSAGE_BYTES_MAX);
	gw_arena_init(&client->answer, GW_DECODE_BYTES_MAX);
	gw_buf_init(&client->out, GW_MESSAGE_BYTES_MAX);
	client->zmq = gw_zmq_new();
	error = client->zmq ? gw_reactor_new(&client->reactor) : -ENOMEM;
	if (error == 0)
		error = start(client, fault);
	if (error == 0)
		error = wait_for(client, true, limit_us, fault);
	if (error < 0) {
		gw_client_close(client);
		return error;
	}
	*ret_client = client;
	return 0;
}

int gw_client_open(const struct gw_client_options *options, uint64_t limit_us,
		   struct gw_client **ret_client, struct gw_fault *fault)
{
	return open_client(options, NULL, limit_us, ret_client, fault);
}

int gw_identity_load(const char *directory, struct gw_keys **ret_keys, struct gw_region *ret_region,
		     struct gw_cert *ret_cert, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	int error = gw_file_path(path, sizeof(path), directory, GW_REGION_FILE);

	if (error == 0)
		error = gw_region_load(path, ret_region, fault);
	if (error == 0)
		error = gw_file_path(path, sizeof(path), directory, GW_CERTIFICATE_FILE);
	if (error == 0)
		error = gw_certificate_load(path, ret_region, gw_clock_wall_us(), ret_cert, fault);
	if (error == 0)
		error = gw_file_path(path, sizeof(path), directory, GW_KEYS_FILE);
	if (error == 0)
		error = gw_keys_load(path, ret_keys, fault);
	if (error == 0 && !gw_id_equal((*ret_keys)->node.id, ret_cert->node.id)) {
		gw_fault_set(fault, "%s: keys and certificate are not of the same identity",
			     directory);
		*ret_keys = gw_keys_free(*ret_keys);
		error = -EINVAL;
	}
	return error;
}

int gw_client_open_directory(const char *directory, gw_stop_f *stop, uint64_t limit_us,
			     struct gw_client **ret_client, struct gw_fault *fault)
{
	struct gw_client_options options;
	struct gw_keys *keys = NULL;
	struct gw_region region;
	struct gw_cert cert;
	int error = gw_identity_load(directory, &keys, &region, &cert, fault);

	if (error < 0)
		return error;
	options = (struct gw_client_options){
		.keys = keys, .cert = &cert, .region = &region, .stop = stop};
	return open_client(&options, keys, limit_us, ret_client, fault);
}

struct gw_client *gw_client_close(struct gw_client *client)
{
	if (!client)
		return NULL;
	gw_zsock_close(client->zsock);
	gw_zmq_free(client->zmq);
	gw_link_free(client->link);
	gw_reactor_free(client->reactor);
	gw_arena_deinit(&client->arena);
	gw_arena_deinit(&client->answer);
	gw_buf_deinit(&client->out);
	gw_keys_free(client->own_keys);
	free(client);
	return NULL;
}

int gw_client_call(struct gw_client *client, const Godwit__Body *request, uint64_t limit_us,
		   const Godwit__Body **ret_reply, struct gw_fault *fault)
{
	struct gw_now now = gw_reactor_now(client->reactor);
	Godwit__Body numbered = *request;
	enum gw_link_sent sent;
	uint8_t *bytes;
	size_t size;
	int error;

	numbered.request = ++client->number;
	client->reply = NULL;
	client->error = 0;
	size = gw_wire_body_size(&numbered);
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	gw_wire_encode_body(&numbered, bytes);
	sent = gw_link_send(client->link, &now, 0, bytes, size);
	free(bytes);
	if (sent != GW_LINK_QUEUED) {
		gw_fault_set(fault, sent == GW_LINK_CLOSED
					    ? "the scheduler has refused this session"
					    : "the request is larger than a message may be");
		return sent == GW_LINK_CLOSED ? -EACCES : -EINVAL;
	}
	flush(client);
	error = wait_for(client, false, limit_us, fault);
	if (error < 0)
		return error;
	if (client->reply->kind_case == GODWIT__BODY__KIND_REFUSAL) {
		gw_fault_set(fault, "the scheduler refuses: %.500s", client->reply->refusal->text);
		return -EACCES;
	}
	*ret_reply = client->reply;
	return 0;
}
