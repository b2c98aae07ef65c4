/*
 * A blocking client: a reactor of its own, driven until the answer is there or the time is up.
 * The session is an ordinary link, so a lost connection in the middle of a call is taken up again;
 * in a new session (the scheduler has noticed the loss, or another one leads) the request is sent
 * again under the same number.
 */
#include "transport/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/clock.h"
#include "transport/dial.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/reactor.h"
#include "transport/zsock.h"

#define WAITING_US (500 * GW_US_PER_MS) /* without a session, before that is said */
#define GREET_US GW_US_PER_S            /* after a refusal for overload */
#define STOP_US (100 * GW_US_PER_MS)    /* how late a signal caught just before a sleep is seen */

struct gw_client {
	struct gw_keys *own_keys; /* loaded here; NULL: the caller's are used */
	const struct gw_keys *keys;
	struct gw_cert cert;
	struct gw_region region;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_dial *dial;
	struct gw_link *link;
	struct gw_timer timer;           /* the link's */
	struct gw_timer greeting;        /* a HELLO after a refusal for overload */
	char region_path[GW_PATH_BYTES]; /* the region file; empty: there is none */
	struct gw_arena arena;           /* of the envelope in hand */
	struct gw_arena answer;          /* of the body given to the caller */
	struct gw_buf out;
	struct gw_buf request;     /* the last, encoded; empty: answered or given up */
	bool repeatable;           /* it is */
	bool sent;                 /* in some session */
	uint64_t number;           /* its */
	const Godwit__Body *reply; /* to it */
	uint64_t closed_us;        /* since when there is no session; GW_NEVER_US: there is one */
	bool waiting_said;         /* since then */
	int error;                 /* what ends a wait */
	bool strange;              /* the last try met something else than the scheduler */
	gw_stop_f *stop;
	gw_waiting_f *waiting;
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
		(void)gw_dial_send_state(client->dial, client->out.bytes, client->out.size);
		client->out.size = 0;
	}
	gw_dial_expect(client->dial, gw_link_unanswered_bytes(client->link));
	gw_reactor_timer_set(client->reactor, &client->timer, gw_link_wake_us(client->link));
}

static void timer_fired(void *context)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);

	gw_link_tick(client->link, &now);
	flush(client);
}

static void greet(void *context)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);

	gw_link_connected(client->link, &now);
	flush(client);
}

/* What does the same again, or nothing, when it is carried out twice. */
static bool may_repeat(const Godwit__Body *request)
{
	static const Godwit__Body__KindCase kinds[] = {
		GODWIT__BODY__KIND_LOG_READ,        GODWIT__BODY__KIND_JOBS_REQUEST,
		GODWIT__BODY__KIND_CANCEL_REQUEST,  GODWIT__BODY__KIND_SITES_REQUEST,
		GODWIT__BODY__KIND_EXPLAIN_REQUEST, GODWIT__BODY__KIND_VERSION_REQUEST,
		GODWIT__BODY__KIND_REVOKE_REQUEST,
	};

	if (request->kind_case == GODWIT__BODY__KIND_SUBMIT_REQUEST)
		return request->submit_request->nonce.len > 0 || request->submit_request->dry_run;
	for (size_t i = 0; i < GW_ARRAY_COUNT(kinds); i++) {
		if (request->kind_case == kinds[i])
			return true;
	}
	return false;
}

/* Hands the request to the link: the first time, or in a new session. */
static void send_request(struct gw_client *client)
{
	struct gw_now now = gw_reactor_now(client->reactor);

	if (client->sent && !client->repeatable) {
		gw_fault_set(&client->fault,
			     "the connection was lost before the answer came: whether the "
			     "request was carried out is not known; ask again");
		fail(client, -ECONNRESET);
		return;
	}
	switch (gw_link_send(client->link, &now, 0, client->request.bytes, client->request.size)) {
	case GW_LINK_QUEUED:
		client->sent = true;
		break;
	case GW_LINK_CLOSED:
		break; /* there is no session, and UP brings it here again */
	case GW_LINK_FULL:
		gw_fault_set(&client->fault,
			     "requests that were given up fill this connection's "
			     "queue, and the scheduler takes none; try again later");
		fail(client, -ENOBUFS);
		break;
	case GW_LINK_TOO_LARGE:
		gw_fault_set(&client->fault, "the request is larger than a message may be");
		fail(client, -EINVAL);
		break;
	}
}

static void set_up(struct gw_client *client, bool resumed)
{
	client->closed_us = GW_NEVER_US;
	client->waiting_said = false;
	/* A new session has forgotten what was queued for the last one. */
	if (client->request.size > 0 && !client->reply && !(resumed && client->sent))
		send_request(client);
}

static void set_down(struct gw_client *client)
{
	if (client->closed_us == GW_NEVER_US)
		client->closed_us = gw_clock_mono_us();
}

static void take_list(struct gw_client *client, const Godwit__SchedulerList *message)
{
	struct gw_scheduler_list list;

	if (!gw_schedulers_read(message, &list) || !gw_dial_set_list(client->dial, &list))
		return;
	client->region.schedulers = list;
	/* A folder that cannot be written to serves as it is. */
	if (client->region_path[0])
		(void)gw_region_save(client->region_path, &client->region, NULL);
}

static void take_body(struct gw_client *client, const struct gw_link_delivery *delivery)
{
	const Godwit__Body *body;

	gw_arena_reset(&client->answer);
	body = gw_wire_decode_body(&client->answer, delivery->body, delivery->size);
	if (!body) {
		gw_fault_set(&client->fault, "the scheduler's answer cannot be read");
		fail(client, -EPROTO);
	} else if (body->kind_case == GODWIT__BODY__KIND_SCHEDULER_LIST) {
		take_list(client, body->scheduler_list);
	} else if (body->request == client->number && client->request.size > 0) {
		client->reply = body;
	}
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct gw_client *client = context;
	struct gw_now now = gw_reactor_now(client->reactor);
	struct gw_link_delivery delivery;
	enum gw_link_result result;

	gw_arena_reset(&client->arena);
	result = gw_link_receive(client->link, &now, &client->arena, message->bytes, message->size,
				 &delivery);
	if (delivery.agreed || result == GW_LINK_REFUSED)
		gw_dial_answered(client->dial);
	switch (result) {
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_BODY:
		if (!client->reply)
			take_body(client, &delivery);
		break;
	case GW_LINK_UP:
		set_up(client, delivery.resumed);
		break;
	case GW_LINK_REFUSED:
		set_down(client);
		if (delivery.code == GW_REFUSAL_OVERLOAD) {
			gw_reactor_timer_set(client->reactor, &client->greeting,
					     now.mono_us + GREET_US);
			break;
		}
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

	(void)fd; /* there is only one */
	switch (state) {
	case GW_CONNECTION_UP:
		client->strange = false;
		greet(client);
		break;
	case GW_CONNECTION_DOWN:
		gw_link_disconnected(client->link);
		gw_reactor_timer_cancel(client->reactor, &client->greeting);
		set_down(client);
		break;
	case GW_CONNECTION_ABSENT:
		break; /* looked for elsewhere, or again */
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
	struct gw_dial_options dial_options = {
		.reactor = client->reactor,
		.zmq = client->zmq,
		.keys = client->keys,
		.server_key = client->region.exchange_key,
		.schedulers = &client->region.schedulers,
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
	randombytes_buf(&dial_options.seed, sizeof(dial_options.seed));
	client->link = gw_link_new(&link_options);
	if (!client->link)
		return -ENOMEM;
	return gw_dial_new(&dial_options, &client->dial, fault);
}

static int time_out(const struct gw_client *client, uint64_t limit_us, struct gw_fault *fault)
{
	if (client->strange) {
		gw_fault_set(fault,
			     "what answers at %s is not the scheduler of region %s: it has another "
			     "key, or speaks something else",
			     gw_dial_endpoint(client->dial), client->region.name);
		return -EPROTO;
	}
	if (client->region.schedulers.count > 1 && !gw_link_is_open(client->link))
		gw_fault_set(fault, "none of the %u schedulers of region %s answered in %llu ms",
			     client->region.schedulers.count, client->region.name,
			     (unsigned long long)(limit_us / GW_US_PER_MS));
	else
		gw_fault_set(fault, "the scheduler at %s did not %s in %llu ms",
			     gw_dial_endpoint(client->dial),
			     gw_link_is_open(client->link) ? "reply" : "answer",
			     (unsigned long long)(limit_us / GW_US_PER_MS));
	return -ETIMEDOUT;
}

/* Says once that nobody answers; until when to sleep otherwise. */
static uint64_t say_waiting(struct gw_client *client, uint64_t now_us)
{
	if (client->closed_us == GW_NEVER_US || client->waiting_said || !client->waiting)
		return GW_NEVER_US;
	if (now_us < client->closed_us + WAITING_US)
		return client->closed_us + WAITING_US;
	client->waiting_said = true;
	client->waiting();
	return GW_NEVER_US;
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
		uint64_t waiting_us;
		int error;

		if (now_us >= until_us)
			return time_out(client, limit_us, fault);
		if (client->stop && client->stop()) {
			gw_fault_set(fault, "interrupted before the scheduler replied");
			return -EINTR;
		}
		waiting_us = say_waiting(client, now_us);
		if (waiting_us < turn_us)
			turn_us = waiting_us;
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
		       const char *region_path, uint64_t limit_us, struct gw_client **ret_client,
		       struct gw_fault *fault)
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
	client->waiting = options->waiting;
	client->closed_us = gw_clock_mono_us();
	(void)snprintf(client->region_path, sizeof(client->region_path), "%s", region_path);
	client->timer.fired = timer_fired;
	client->timer.context = client;
	client->greeting.fired = greet;
	client->greeting.context = client;
	gw_buf_init(&client->request, GW_MESSAGE_BYTES_MAX);
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
	return open_client(options, NULL, "", limit_us, ret_client, fault);
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

int gw_client_open_directory(const char *directory, gw_stop_f *stop, gw_waiting_f *waiting,
			     uint64_t limit_us, struct gw_client **ret_client,
			     struct gw_fault *fault)
{
	struct gw_client_options options;
	struct gw_keys *keys = NULL;
	struct gw_region region;
	struct gw_cert cert;
	char path[GW_PATH_BYTES];
	int error = gw_identity_load(directory, &keys, &region, &cert, fault);

	if (error < 0)
		return error;
	(void)gw_file_path(path, sizeof(path), directory, GW_REGION_FILE); /* it was loaded */
	options = (struct gw_client_options){
		.keys = keys, .cert = &cert, .region = &region, .stop = stop, .waiting = waiting};
	return open_client(&options, keys, path, limit_us, ret_client, fault);
}

struct gw_client *gw_client_close(struct gw_client *client)
{
	if (!client)
		return NULL;
	gw_dial_free(client->dial);
	gw_zmq_free(client->zmq);
	gw_link_free(client->link);
	gw_reactor_free(client->reactor);
	gw_arena_deinit(&client->arena);
	gw_arena_deinit(&client->answer);
	gw_buf_deinit(&client->out);
	gw_buf_deinit(&client->request);
	gw_keys_free(client->own_keys);
	free(client);
	return NULL;
}

int gw_client_call(struct gw_client *client, const Godwit__Body *request, uint64_t limit_us,
		   const Godwit__Body **ret_reply, struct gw_fault *fault)
{
	Godwit__Body numbered = *request;
	uint8_t *bytes;
	int error;

	numbered.request = ++client->number;
	client->reply = NULL;
	client->error = 0;
	client->request.size = 0;
	client->repeatable = may_repeat(request);
	client->sent = false;
	if (gw_wire_body_size(&numbered) > GW_LINK_BODY_BYTES_MAX) {
		gw_fault_set(fault, "the request is larger than a message may be");
		return -EINVAL;
	}
	bytes = gw_buf_grow(&client->request, gw_wire_body_size(&numbered));
	if (!bytes)
		return -ENOMEM;
	gw_wire_encode_body(&numbered, bytes);
	if (gw_link_is_open(client->link))
		send_request(client);
	flush(client);
	error = wait_for(client, false, limit_us, fault);
	client->request.size = 0;
	if (error < 0)
		return error;
	if (client->reply->kind_case == GODWIT__BODY__KIND_REFUSAL) {
		gw_fault_set(fault, "the scheduler refuses: %.500s", client->reply->refusal->text);
		return -EACCES;
	}
	*ret_reply = client->reply;
	return 0;
}
