/*
 * A ZeroMQ socket on the reactor. ZMQ_FD is edge-triggered and also signals what only concerns
 * libzmq, so it only wakes the loop; before each sleep the prepare hook receives until there is
 * nothing, which is also what arms the edge again. A turn takes a bounded number of messages, so
 * one busy socket leaves room for the rest.
 *
 * ROUTER_HANDOVER stays off: routing ids are the peer's word, and with it any peer could take over
 * another's traffic by naming its id. Ids that libzmq made itself are the only ones accepted.
 */
#include "transport/zsock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <zmq.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/curve.h"
#include "transport/reactor.h"

#define BATCH_MAX 256u /* all of them find room in one group commit */
#define HIGH_WATER 1000
/* Of a connection, read ahead of the loop: with messages of the largest size that is memory, so few
 * are; past it the sender's TCP waits. */
#define RECEIVE_HIGH_WATER 32
#define LINGER_MS 250
#define HANDSHAKE_MS 10000
#define RECONNECT_MS_MIN 100
#define RECONNECT_MS_MAX 5000
#define KEEPALIVE_IDLE_S 20
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 4
#define TCP_MAXRT_MS 20000

struct gw_zsock {
	struct gw_zsock_options options;
	void *socket;
	void *monitor; /* PAIR of connection events; NULL: nobody wants them */
	struct gw_watch watch;
	struct gw_watch monitor_watch;
	struct gw_prepare prepare;
	uint16_t port;
};

void *gw_zmq_new(void)
{
	void *zmq = zmq_ctx_new();

	if (!zmq)
		return NULL;
	(void)zmq_ctx_set(zmq, ZMQ_IO_THREADS, 1); /* valid options cannot fail before use */
	(void)zmq_ctx_set(zmq, ZMQ_IPV6, 1);
	return zmq;
}

void gw_zmq_free(void *zmq)
{
	while (zmq && zmq_ctx_term(zmq) < 0 && errno == EINTR)
		;
}

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_common(const struct gw_zsock_options *options, void *socket)
{
	int high_water = options->high_water ? options->high_water : HIGH_WATER;
	const int values[][2] = {
		{ZMQ_LINGER, LINGER_MS},
		{ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS},
		{ZMQ_SNDHWM, high_water},
		{ZMQ_RCVHWM, high_water < RECEIVE_HIGH_WATER ? high_water : RECEIVE_HIGH_WATER},
		{ZMQ_IPV6, 1},
		{ZMQ_TCP_KEEPALIVE, 1},
		{ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
		{ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_INTERVAL_S},
		{ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT},
		{ZMQ_TCP_MAXRT, TCP_MAXRT_MS},
		{ZMQ_IMMEDIATE, 1},
		{ZMQ_RECONNECT_IVL, RECONNECT_MS_MIN},
		{ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX},
	};
	const int64_t bytes_max = options->bytes_max ? options->bytes_max : GW_MESSAGE_BYTES_MAX;

	for (size_t i = 0; i < GW_ARRAY_COUNT(values); i++) {
		int error = set_int(socket, values[i][0], values[i][1]);

		if (error < 0)
			return error;
	}
	return zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) < 0 ? -errno
											 : 0;
}

static int set_key(void *socket, int option, const uint8_t key[GW_KEY_BYTES])
{
	return zmq_setsockopt(socket, option, key, GW_KEY_BYTES) < 0 ? -errno : 0;
}

static int set_server(const struct gw_zsock_options *options, void *socket)
{
	int error = set_int(socket, ZMQ_CURVE_SERVER, 1);

	if (error == 0)
		error = set_key(socket, ZMQ_CURVE_SECRETKEY, options->keys->exchange_secret);
	if (error == 0)
		error = set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
	if (error == 0 &&
	    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, options->domain, strlen(options->domain)) < 0)
		error = -errno;
	return error;
}

static int set_client(const struct gw_zsock_options *options, void *socket)
{
	int error = set_key(socket, ZMQ_CURVE_SERVERKEY, options->server_key);

	if (error == 0)
		error = set_key(socket, ZMQ_CURVE_PUBLICKEY, options->keys->exchange_key);
	if (error == 0)
		error = set_key(socket, ZMQ_CURVE_SECRETKEY, options->keys->exchange_secret);
	return error;
}

/* Connection events come over a PAIR of their own. */
static int open_monitor(struct gw_zsock *zsock)
{
	const int events = zsock->options.server_key
				   ? ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
					     ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
					     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
					     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
				   : ZMQ_EVENT_DISCONNECTED;
	char endpoint[64];

	(void)snprintf(endpoint, sizeof(endpoint), "inproc://monitor-%" PRIxPTR,
		       (uintptr_t)zsock->socket);
	if (zmq_socket_monitor(zsock->socket, endpoint, events) < 0)
		return -errno;
	zsock->monitor = zmq_socket(zsock->options.zmq, ZMQ_PAIR);
	if (!zsock->monitor || set_int(zsock->monitor, ZMQ_LINGER, 0) < 0 ||
	    zmq_connect(zsock->monitor, endpoint) < 0)
		return -errno;
	return 0;
}

static uint16_t bound_port(void *socket)
{
	char endpoint[GW_ENDPOINT_BYTES_MAX + 1];
	size_t size = sizeof(endpoint);
	const char *colon;

	if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) < 0)
		return 0;
	colon = strrchr(endpoint, ':');
	return colon ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
}

static void woken(void *context, uint32_t events)
{
	(void)context; /* the prepare hook asks what there is */
	(void)events;
}

static int watch_socket(struct gw_zsock *zsock, void *socket, struct gw_watch *watch)
{
	size_t size = sizeof(watch->fd);

	watch->ready = woken;
	watch->context = zsock;
	if (zmq_getsockopt(socket, ZMQ_FD, &watch->fd, &size) < 0)
		return -errno;
	return gw_reactor_watch(zsock->options.reactor, watch, EPOLLIN);
}

/* Reads the rest of a message that has more frames than it may. */
static void discard_frames(void *socket, zmq_msg_t *frame)
{
	while (zmq_msg_more(frame) && zmq_msg_recv(frame, socket, ZMQ_DONTWAIT) >= 0)
		;
}

/* A message is [route] payload; all of its frames are there or none. False: there is no message. */
static bool receive_one(struct gw_zsock *zsock)
{
	bool server = !zsock->options.server_key;
	struct gw_zmessage message = {.fd = -1};
	bool refused = false;
	zmq_msg_t frame;

	(void)zmq_msg_init(&frame); /* cannot fail */
	if (zmq_msg_recv(&frame, zsock->socket, ZMQ_DONTWAIT) < 0) {
		(void)zmq_msg_close(&frame);
		return false;
	}
	if (server) {
		const uint8_t *route = zmq_msg_data(&frame);

		refused = zmq_msg_size(&frame) != GW_ROUTE_BYTES || route[0] != 0;
		if (!refused)
			memcpy(message.route.bytes, route, GW_ROUTE_BYTES);
		if (!zmq_msg_more(&frame) || zmq_msg_recv(&frame, zsock->socket, ZMQ_DONTWAIT) < 0)
			refused = true;
	}
	if (zmq_msg_more(&frame)) {
		discard_frames(zsock->socket, &frame);
		refused = true;
	}
	if (!refused) {
		message.user_id = server ? zmq_msg_gets(&frame, "User-Id") : NULL;
		message.fd = zmq_msg_get(&frame, ZMQ_SRCFD);
		message.frame = &frame;
		message.bytes = zmq_msg_data(&frame);
		message.size = zmq_msg_size(&frame);
		zsock->options.received(zsock->options.context, &message);
	}
	(void)zmq_msg_close(&frame);
	return true;
}

static void tell_connection(struct gw_zsock *zsock, uint16_t event, uint32_t value)
{
	enum gw_connection state;

	if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
		state = GW_CONNECTION_UP;
	else if (event == ZMQ_EVENT_DISCONNECTED)
		state = GW_CONNECTION_DOWN;
	else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
		state = GW_CONNECTION_REFUSED;
	else if (event == ZMQ_EVENT_CLOSED) /* before there was a connection */
		state = GW_CONNECTION_ABSENT;
	else
		state = GW_CONNECTION_STRANGE;
	zsock->options.connection(zsock->options.context, state,
				  event == ZMQ_EVENT_DISCONNECTED ? (int)value : -1);
}

/* The first frame is 16 bits of event and 32 of value; the second is the address. False: there is
 * no event. */
static bool receive_event(struct gw_zsock *zsock)
{
	zmq_msg_t frame;
	uint16_t event = 0;
	uint32_t value = 0;
	bool got;

	(void)zmq_msg_init(&frame); /* cannot fail */
	got = zmq_msg_recv(&frame, zsock->monitor, ZMQ_DONTWAIT) >= 0;
	if (got && zmq_msg_size(&frame) == sizeof(event) + sizeof(value)) {
		const uint8_t *bytes = zmq_msg_data(&frame);

		memcpy(&event, bytes, sizeof(event));
		memcpy(&value, bytes + sizeof(event), sizeof(value));
	}
	if (got)
		discard_frames(zsock->monitor, &frame);
	(void)zmq_msg_close(&frame);
	if (got && event != 0)
		tell_connection(zsock, event, value);
	return got;
}

static uint32_t take_events(struct gw_zsock *zsock)
{
	uint32_t handled = 0;

	while (zsock->monitor && handled < BATCH_MAX && receive_event(zsock))
		handled++;
	return handled;
}

static uint32_t take_messages(struct gw_zsock *zsock)
{
	uint32_t handled = 0;

	while (handled < BATCH_MAX && receive_one(zsock))
		handled++;
	return handled;
}

/*
 * What comes over a client's new connection must find it announced: events first. A server hears
 * only of ends: messages first, so that a peer's last words count. Busy after any work: a callback
 * may have used another socket, and so eaten that one's edge.
 */
static bool prepare(void *context)
{
	struct gw_zsock *zsock = context;
	bool server = !zsock->options.server_key;
	uint32_t events = server ? 0 : take_events(zsock);
	uint32_t messages = take_messages(zsock);

	if (server && messages < BATCH_MAX)
		events = take_events(zsock);
	return events + messages > 0;
}

static int start(struct gw_zsock *zsock)
{
	const struct gw_zsock_options *options = &zsock->options;
	bool server = !options->server_key;
	int error = set_common(options, zsock->socket);

	if (error == 0)
		error = server ? set_server(options, zsock->socket)
			       : set_client(options, zsock->socket);
	if (error == 0 && options->connection)
		error = open_monitor(zsock);
	if (error == 0)
		error = watch_socket(zsock, zsock->socket, &zsock->watch);
	if (error == 0 && zsock->monitor)
		error = watch_socket(zsock, zsock->monitor, &zsock->monitor_watch);
	if (error < 0)
		return error;
	if ((server ? zmq_bind(zsock->socket, options->endpoint)
		    : zmq_connect(zsock->socket, options->endpoint)) < 0)
		return -errno;
	zsock->port = server ? bound_port(zsock->socket) : 0;
	zsock->prepare.prepare = prepare;
	zsock->prepare.context = zsock;
	gw_reactor_prepare_add(options->reactor, &zsock->prepare);
	return 0;
}

int gw_zsock_open(const struct gw_zsock_options *options, struct gw_zsock **ret_zsock,
		  struct gw_fault *fault)
{
	struct gw_zsock *zsock = calloc(1, sizeof(*zsock));
	int error = -ENOMEM;

	if (!zsock)
		return error;
	zsock->options = *options;
	zsock->watch.fd = -1;
	zsock->monitor_watch.fd = -1;
	zsock->socket = zmq_socket(options->zmq, options->server_key ? ZMQ_DEALER : ZMQ_ROUTER);
	if (zsock->socket)
		error = start(zsock);
	if (error < 0) {
		gw_fault_set(fault, "cannot %s %s: %s", options->server_key ? "connect to" : "bind",
			     options->endpoint, zmq_strerror(-error));
		gw_zsock_close(zsock);
		return error;
	}
	*ret_zsock = zsock;
	return 0;
}

struct gw_zsock *gw_zsock_close(struct gw_zsock *zsock)
{
	if (!zsock)
		return NULL;
	gw_reactor_prepare_remove(zsock->options.reactor, &zsock->prepare);
	if (zsock->watch.fd >= 0)
		gw_reactor_unwatch(zsock->options.reactor, &zsock->watch);
	if (zsock->monitor_watch.fd >= 0)
		gw_reactor_unwatch(zsock->options.reactor, &zsock->monitor_watch);
	if (zsock->monitor) {
		(void)zmq_socket_monitor(zsock->socket, NULL, 0); /* stops it; nothing to lose */
		(void)zmq_close(zsock->monitor);
	}
	if (zsock->socket)
		(void)zmq_close(zsock->socket); /* valid sockets close; sending goes on to linger */
	free(zsock);
	return NULL;
}

int gw_zsock_send(struct gw_zsock *zsock, const struct gw_route *route, const uint8_t *bytes,
		  size_t size)
{
	CHECK((route != NULL) == !zsock->options.server_key);
	if (route &&
	    zmq_send(zsock->socket, route->bytes, GW_ROUTE_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return -errno;
	return zmq_send(zsock->socket, bytes, size, ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

const char *gw_zmessage_peer_address(const struct gw_zmessage *message)
{
	return zmq_msg_gets(message->frame, "Peer-Address");
}

uint16_t gw_zsock_port(const struct gw_zsock *zsock)
{
	return zsock->port;
}
