/*
 * One ZeroMQ socket on a reactor: CURVE always, the options that make 4.3.4 behave, one frame a
 * message. A server binds a ROUTER in a ZAP domain; a client connects a DEALER to one server. Both
 * hear of their connections' state. Peers' routing ids are libzmq's own numbers, so they name a
 * connection and nothing else: who speaks is the User-Id that the ZAP handler gave to the key.
 */
#ifndef GODWIT_TRANSPORT_ZSOCK_H
#define GODWIT_TRANSPORT_ZSOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/cert.h"
#include "transport/fault.h"

struct gw_keys;
struct gw_reactor;
struct gw_zsock;

#define GW_ROUTE_BYTES 5u /* a routing id made by libzmq: NUL and a counter */

struct gw_route {
	uint8_t bytes[GW_ROUTE_BYTES];
};

struct gw_zmessage {
	struct gw_route route; /* server: the connection it came by */
	const char *user_id;   /* server: as the ZAP handler said; NULL: missing */
	int fd;                /* of the TCP connection when it came; -1: unknown */
	const void *frame;     /* libzmq's */
	const uint8_t *bytes;  /* valid during the call */
	size_t size;
};

enum gw_connection {
	GW_CONNECTION_UP,      /* handshake done */
	GW_CONNECTION_DOWN,    /* lost; a client's libzmq tries again */
	GW_CONNECTION_REFUSED, /* the server refuses this key (ZAP said no); libzmq tries again */
	GW_CONNECTION_ABSENT,  /* client: nobody listens there; libzmq tries again */
	GW_CONNECTION_STRANGE, /* what answers is not a server with the expected key */
};

typedef void gw_zmessage_f(void *context, const struct gw_zmessage *message);
/* `fd` is what the connection had: closed by now, and perhaps another connection's already. */
typedef void gw_connection_f(void *context, enum gw_connection state, int fd);

struct gw_zsock_options {
	struct gw_reactor *reactor;
	void *zmq; /* the process's one context */
	const struct gw_keys *keys;
	const uint8_t *server_key; /* client: the server's X25519 public key; NULL: a server */
	const char *domain;        /* server: ZAP domain */
	const char *endpoint;      /* tcp://ADDRESS:PORT, numeric */
	int high_water;            /* messages to send, per connection; 0: 1000 */
	int64_t bytes_max;         /* of a message received; 0: GW_MESSAGE_BYTES_MAX */
	gw_zmessage_f *received;
	gw_connection_f *connection; /* may be NULL; a server hears of DOWN only */
	void *context;
};

/* A context with one I/O thread and the limits set; NULL: out of memory. */
void *gw_zmq_new(void);
/* Waits until sockets have lingered; all sockets must be closed. NULL is fine. */
void gw_zmq_free(void *zmq);

/* 0; negative errno with a sentence. */
int gw_zsock_open(const struct gw_zsock_options *options, struct gw_zsock **ret_zsock,
		  struct gw_fault *fault);
struct gw_zsock *gw_zsock_close(struct gw_zsock *zsock);

/* 0: handed to libzmq. -EAGAIN: its queue is full or there is no connection; -EHOSTUNREACH:
 * that connection is gone. `route` is NULL on a client. The bytes are copied. */
int gw_zsock_send(struct gw_zsock *zsock, const struct gw_route *route, const uint8_t *bytes,
		  size_t size);
/* Server: the numeric address of the connection that it came by; NULL: unknown. */
const char *gw_zmessage_peer_address(const struct gw_zmessage *message);
/* The port bound, when the endpoint's was 0 or '*'. */
uint16_t gw_zsock_port(const struct gw_zsock *zsock);

#endif
