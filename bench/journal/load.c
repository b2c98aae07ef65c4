/*
 * Many clients that submit: each has a CURVE connection of its own and so many submissions under
 * way; an answer makes room for the next. With `plain` the same bodies go to an echo server without
 * a session around them: the floor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "bench/journal/journal.h"
#include "proto/base/check.h"
#include "proto/wire.h"
#include "transport/client.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/reactor.h"
#include "transport/zsock.h"

#define OPEN_US (30 * GW_US_PER_S)

struct load;

struct load_client {
	struct load *load;
	struct gw_keys *keys;
	struct gw_cert cert;
	struct gw_region region;
	struct gw_zsock *zsock;
	struct gw_link *link; /* NULL: plain */
	struct gw_timer timer;
	bool up;
	uint64_t sent_us[JOURNAL_IN_FLIGHT_MAX]; /* by request number modulo in_flight */
};

struct load {
	const struct load_options *options;
	struct gw_reactor *reactor;
	void *zmq;
	struct load_client *clients; /* [options->clients] */
	uint32_t up_count;
	uint64_t sent;
	uint64_t answered;
	uint64_t begun_us; /* when the warm part was over */
	uint64_t ended_us;
	uint32_t *latency_us; /* [options->count] */
	struct gw_arena envelope;
	struct gw_arena answer;
	struct gw_buf out;
	struct gw_buf body;
	char fault[512]; /* "": none */
};

static void stop(struct load *load, const char *text)
{
	if (!load->fault[0])
		(void)snprintf(load->fault, sizeof(load->fault), "%s", text);
	gw_reactor_stop(load->reactor);
}

static void flush(struct load_client *client)
{
	struct load *load = client->load;
	struct gw_now now = gw_reactor_now(load->reactor);

	load->out.size = 0;
	while (gw_link_next(client->link, &now, &load->out)) {
		(void)gw_zsock_send(client->zsock, NULL, load->out.bytes,
				    load->out.size); /* not taken: the link sends it again */
		load->out.size = 0;
	}
	gw_reactor_timer_set(load->reactor, &client->timer, gw_link_wake_us(client->link));
}

static void timer_fired(void *context)
{
	struct load_client *client = context;
	struct gw_now now = gw_reactor_now(client->load->reactor);

	gw_link_tick(client->link, &now);
	flush(client);
}

static void encode_submission(struct gw_buf *out, uint64_t number)
{
	static char name[] = "durable";
	static char program[] = "/bin/true";
	char *arguments[] = {program};
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;
	Godwit__JobSpec spec = GODWIT__JOB_SPEC__INIT;
	Godwit__SubmitRequest submit = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	uint8_t nonce[GW_ID_BYTES];
	uint8_t *bytes;

	randombytes_buf(nonce, sizeof(nonce));
	resources.cpu_milli = 1000;
	resources.memory_bytes = 256u << 20;
	spec.name = name;
	spec.kind = GODWIT__JOB_KIND__JOB_TASK;
	spec.task_count = 1;
	spec.arguments = arguments;
	spec.n_arguments = 1;
	spec.resources = &resources;
	spec.priority = 500;
	spec.attempts_max = 1;
	spec.grace_us = 10 * GW_US_PER_S;
	submit.spec = &spec;
	submit.nonce.data = nonce;
	submit.nonce.len = sizeof(nonce);
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &submit;
	body.request = number;
	out->size = 0;
	bytes = gw_buf_grow(out, gw_wire_body_size(&body));
	CHECK(bytes);
	gw_wire_encode_body(&body, bytes);
}

static void submit(struct load_client *client, uint64_t number)
{
	struct load *load = client->load;
	struct gw_now now = gw_reactor_now(load->reactor);

	encode_submission(&load->body, number);
	client->sent_us[number % load->options->in_flight] = now.mono_us;
	load->sent++;
	if (!client->link) {
		if (gw_zsock_send(client->zsock, NULL, load->body.bytes, load->body.size) != 0)
			stop(load, "the echo server does not take a request");
		return;
	}
	if (gw_link_send(client->link, &now, 0, load->body.bytes, load->body.size) !=
	    GW_LINK_QUEUED)
		stop(load, "the session takes no request");
}

static void client_up(struct load_client *client)
{
	struct load *load = client->load;

	if (client->up)
		return;
	client->up = true;
	if (++load->up_count < load->options->clients)
		return;
	for (uint32_t i = 0; i < load->options->clients; i++) { /* all together */
		for (uint64_t k = 1; k <= load->options->in_flight; k++)
			submit(&load->clients[i], k);
		if (load->clients[i].link)
			flush(&load->clients[i]);
	}
}

static void take_body(struct load_client *client, const uint8_t *bytes, size_t size)
{
	struct load *load = client->load;
	uint64_t now_us = gw_clock_mono_us();
	const Godwit__Body *body;
	uint64_t sent_us;

	gw_arena_reset(&load->answer);
	body = gw_wire_decode_body(&load->answer, bytes, size);
	if (!body || body->request == 0) {
		stop(load, "an answer cannot be read");
		return;
	}
	if (body->kind_case == GODWIT__BODY__KIND_REFUSAL ||
	    (body->kind_case == GODWIT__BODY__KIND_SUBMIT_REPLY && body->submit_reply->error[0])) {
		stop(load, body->kind_case == GODWIT__BODY__KIND_REFUSAL
				   ? body->refusal->text
				   : body->submit_reply->error);
		return;
	}
	sent_us = client->sent_us[body->request % load->options->in_flight];
	if (load->answered == load->options->warm)
		load->begun_us = now_us;
	if (load->answered >= load->options->warm)
		load->latency_us[load->answered - load->options->warm] =
			(uint32_t)(now_us - sent_us);
	if (++load->answered == load->options->warm + load->options->count) {
		load->ended_us = now_us;
		gw_reactor_stop(load->reactor);
	} else if (load->sent < load->options->warm + load->options->count) {
		submit(client, body->request + load->options->in_flight);
	}
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct load_client *client = context;
	struct load *load = client->load;
	struct gw_now now = gw_reactor_now(load->reactor);
	struct gw_link_delivery delivery;

	if (!client->link) {
		take_body(client, message->bytes, message->size);
		return;
	}
	gw_arena_reset(&load->envelope);
	switch (gw_link_receive(client->link, &now, &load->envelope, message->bytes, message->size,
				&delivery)) {
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_BODY:
		take_body(client, delivery.body, delivery.size);
		break;
	case GW_LINK_UP:
		client_up(client);
		break;
	case GW_LINK_REFUSED:
		stop(load, delivery.text);
		break;
	case GW_LINK_MALFORMED:
	case GW_LINK_SPOOFED:
		stop(load, "the scheduler sent what is not a message of it");
		break;
	}
	flush(client);
}

static void connection(void *context, enum gw_connection state, int fd)
{
	struct load_client *client = context;
	struct gw_now now = gw_reactor_now(client->load->reactor);

	(void)fd; /* there is only one */
	if (state == GW_CONNECTION_REFUSED) {
		stop(client->load, "the server refuses a client's key");
	} else if (state == GW_CONNECTION_UP && client->link) {
		gw_link_connected(client->link, &now);
		flush(client);
	} else if (state == GW_CONNECTION_UP) {
		client_up(client);
	}
}

static int open_client(struct load_client *client, uint32_t number, struct gw_fault *fault)
{
	struct load *load = client->load;
	struct gw_zsock_options zsock = {
		.reactor = load->reactor,
		.zmq = load->zmq,
		.received = received,
		.connection = connection,
		.context = client,
	};
	struct gw_link_options link = {.client = true};
	char path[GW_PATH_BYTES];
	int r;

	client->timer.fired = timer_fired;
	client->timer.context = client;
	(void)snprintf(path, sizeof(path), "%s/%u", load->options->identities, number);
	r = gw_identity_load(path, &client->keys, &client->region, &client->cert, fault);
	if (r != 0)
		return r;
	link.self = client->keys->node;
	link.peer = gw_cert_node_id(client->region.signing_key);
	link.tenant = client->cert.tenant;
	while (link.epoch == 0)
		randombytes_buf(&link.epoch, sizeof(link.epoch));
	client->link = load->options->plain ? NULL : gw_link_new(&link);
	if (!client->link && !load->options->plain)
		return -ENOMEM;
	zsock.keys = client->keys;
	zsock.server_key = client->region.exchange_key;
	zsock.endpoint = client->region.schedulers.places[0].state;
	return gw_zsock_open(&zsock, &client->zsock, fault);
}

static int by_value(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static int print_result(struct load *load)
{
	uint64_t count = load->options->count;
	double seconds = (double)(load->ended_us - load->begun_us) / 1e6;

	if (load->fault[0] || load->answered < load->options->warm + count) {
		(void)fprintf(stderr, "godwit-journal: %s\n",
			      load->fault[0] ? load->fault : "not all requests were answered");
		return 1;
	}
	qsort(load->latency_us, count, sizeof(*load->latency_us), by_value);
	(void)printf("{\"clients\": %llu, \"in_flight\": %llu, \"count\": %llu, \"seconds\": %.6f, "
		     "\"per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
		     (unsigned long long)load->options->clients,
		     (unsigned long long)load->options->in_flight, (unsigned long long)count,
		     seconds, (double)count / seconds, load->latency_us[count / 2] / 1e3,
		     load->latency_us[count - 1 - count / 100] / 1e3);
	return 0;
}

static void give_up(void *context)
{
	stop(context, "not all clients could connect in 30 s, or answers stopped coming");
}

static int open_all(struct load *load, struct gw_fault *fault)
{
	int r = gw_reactor_new(&load->reactor);

	load->zmq = gw_zmq_new();
	load->clients = calloc(load->options->clients, sizeof(*load->clients));
	load->latency_us = calloc(load->options->count, sizeof(*load->latency_us));
	gw_arena_init(&load->envelope, 2 * (size_t)GW_MESSAGE_BYTES_MAX);
	gw_arena_init(&load->answer, GW_DECODE_BYTES_MAX);
	gw_buf_init(&load->out, GW_MESSAGE_BYTES_MAX);
	gw_buf_init(&load->body, GW_MESSAGE_BYTES_MAX);
	if (r != 0 || !load->zmq || !load->clients || !load->latency_us) {
		gw_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < load->options->clients && r == 0; i++) {
		load->clients[i].load = load;
		r = open_client(&load->clients[i], i, fault);
	}
	return r;
}

static void close_all(struct load *load)
{
	for (uint32_t i = 0; load->clients && i < load->options->clients; i++) {
		gw_zsock_close(load->clients[i].zsock);
		if (load->clients[i].link)
			gw_reactor_timer_cancel(load->reactor, &load->clients[i].timer);
		gw_link_free(load->clients[i].link);
		gw_keys_free(load->clients[i].keys);
	}
	gw_zmq_free(load->zmq);
	gw_reactor_free(load->reactor);
	free(load->clients);
	free(load->latency_us);
	gw_arena_deinit(&load->envelope);
	gw_arena_deinit(&load->answer);
	gw_buf_deinit(&load->out);
	gw_buf_deinit(&load->body);
}

int journal_load(const struct load_options *options)
{
	struct load load = {.options = options};
	struct gw_fault fault = {""};
	struct gw_timer limit = {.fired = give_up, .context = &load};
	int code = 1;

	if (open_all(&load, &fault) != 0) {
		(void)fprintf(stderr, "godwit-journal: %s\n", fault.text);
	} else {
		/* Long enough for any machine; a hang ends all the same. */
		gw_reactor_timer_set(load.reactor, &limit,
				     gw_clock_mono_us() + OPEN_US + options->count * 1000);
		if (gw_reactor_run(load.reactor) == 0)
			code = print_result(&load);
		gw_reactor_timer_cancel(load.reactor, &limit);
	}
	close_all(&load);
	return code;
}
