/*
 * The ZAP handler: a REP socket inside the process that libzmq asks at each handshake. What it says
 * holds for the connection; what may change later (revocation, expiry) is asked again for each
 * message by the host.
 */
#include "transport/zap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <sodium.h>
#include <zmq.h>

#include "proto/base/check.h"
#include "transport/clock.h"
#include "transport/identity.h"
#include "transport/reactor.h"

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_VERSION "1.0"
#define REQUEST_FRAMES 7u /* version, id, domain, address, routing id, mechanism, key */
#define FRAME_BYTES_MAX 255u
#define USER_ID_BYTES (2 * GW_KEY_BYTES + 1)

struct frame {
	size_t size;
	uint8_t bytes[FRAME_BYTES_MAX];
};

struct request {
	struct frame frames[REQUEST_FRAMES];
	uint32_t count;
	bool oversize;
};

enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, ROUTING_ID, MECHANISM, KEY };

struct gw_zap {
	struct gw_reactor *reactor;
	const struct gw_identities *identities;
	void *socket;
	struct gw_watch watch;
	struct gw_prepare prepare;
	uint64_t refused_count;
	gw_observe_f *observe; /* NULL: nobody listens */
	void *context;
};

static bool frame_is(const struct frame *frame, const char *text)
{
	return frame->size == strlen(text) && memcmp(frame->bytes, text, frame->size) == 0;
}

/* NULL with the User-Id: this key may enter this domain; otherwise why not. */
static const char *admit(const struct gw_zap *zap, const struct request *request,
			 char ret_user_id[USER_ID_BYTES])
{
	const struct frame *frames = request->frames;
	const struct gw_identity *identity;

	if (request->oversize || request->count != REQUEST_FRAMES ||
	    !frame_is(&frames[VERSION], ZAP_VERSION) || !frame_is(&frames[MECHANISM], "CURVE") ||
	    frames[KEY].size != GW_KEY_BYTES)
		return "not a CURVE handshake";
	if (frame_is(&frames[DOMAIN], GW_ZAP_ENROL)) {
		(void)sodium_bin2hex(ret_user_id, USER_ID_BYTES, frames[KEY].bytes, GW_KEY_BYTES);
		return NULL;
	}
	if (!frame_is(&frames[DOMAIN], GW_ZAP_STATE) &&
	    !frame_is(&frames[DOMAIN], GW_ZAP_HEARTBEAT))
		return "not a socket of this scheduler";
	identity = gw_identities_find_key(zap->identities, frames[KEY].bytes);
	if (!gw_identity_good(identity, gw_clock_wall_us()))
		return !identity           ? "unknown key"
		       : identity->revoked ? "revoked"
					   : "its certificate is not valid now";
	gw_id_format_hex(identity->node.id, ret_user_id);
	return NULL;
}

static void observe_refusal(const struct gw_zap *zap, const struct request *request,
			    const char *why)
{
	const struct frame *key = &request->frames[KEY];
	const struct frame *address = &request->frames[ADDRESS];
	const struct gw_identity *identity = NULL;
	char key_text[USER_ID_BYTES] = "";
	struct gw_fault text;

	if (!zap->observe)
		return;
	if (key->size == GW_KEY_BYTES) {
		identity = gw_identities_find_key(zap->identities, key->bytes);
		(void)sodium_bin2hex(key_text, sizeof(key_text), key->bytes, GW_KEY_BYTES);
	}
	gw_fault_set(&text, "%s, from %.*s", why, (int)address->size, (const char *)address->bytes);
	zap->observe(zap->context, GW_OBSERVED_KEY_REFUSED,
		     identity ? identity->cert.name : key_text, text.text);
}

/* False: nothing there. */
static bool receive_request(struct gw_zap *zap, struct request *request)
{
	int more = 1;

	*request = (struct request){0};
	while (more) {
		struct frame extra = {0};
		bool fits = request->count < REQUEST_FRAMES;
		struct frame *frame = fits ? &request->frames[request->count] : &extra;
		size_t more_size = sizeof(more);
		int size = zmq_recv(zap->socket, frame->bytes, sizeof(frame->bytes), ZMQ_DONTWAIT);

		if (size < 0)
			return false;
		if (!fits || (size_t)size > sizeof(frame->bytes))
			request->oversize = true;
		frame->size =
			(size_t)size < sizeof(frame->bytes) ? (size_t)size : sizeof(frame->bytes);
		request->count++;
		if (zmq_getsockopt(zap->socket, ZMQ_RCVMORE, &more, &more_size) < 0)
			return false;
	}
	return true;
}

static void reply(struct gw_zap *zap, const struct request *request, const char *user_id)
{
	const struct frame *id = &request->frames[REQUEST_ID];

	const struct {
		const void *bytes;
		size_t size;
	} frames[] = {
		{ZAP_VERSION, strlen(ZAP_VERSION)},
		{id->bytes, id->size},
		{user_id ? "200" : "400", 3},
		{user_id ? "OK" : "unknown or revoked key", user_id ? 2 : 22},
		{user_id, user_id ? strlen(user_id) : 0},
		{NULL, 0},
	};

	for (size_t i = 0; i < GW_ARRAY_COUNT(frames); i++) {
		bool last = i + 1 == GW_ARRAY_COUNT(frames);

		/* Inside the process to a peer that waits: it fails only while the context ends. */
		if (zmq_send(zap->socket, frames[i].bytes, frames[i].size,
			     ZMQ_DONTWAIT | (last ? 0 : ZMQ_SNDMORE)) < 0)
			return;
	}
}

static bool readable(struct gw_zap *zap)
{
	int events = 0;
	size_t size = sizeof(events);

	return zmq_getsockopt(zap->socket, ZMQ_EVENTS, &events, &size) == 0 && events & ZMQ_POLLIN;
}

static bool prepare(void *context)
{
	struct gw_zap *zap = context;
	struct request request;
	bool worked = false;

	while (readable(zap) && receive_request(zap, &request)) {
		char user_id[USER_ID_BYTES];
		const char *why = admit(zap, &request, user_id);

		worked = true;
		if (why) {
			zap->refused_count++;
			observe_refusal(zap, &request, why);
		}
		reply(zap, &request, why ? NULL : user_id);
	}
	return worked;
}

static void woken(void *context, uint32_t events)
{
	(void)context; /* the prepare hook asks what there is */
	(void)events;
}

static int start(struct gw_zap *zap, void *zmq)
{
	size_t size = sizeof(zap->watch.fd);
	int none = 0;

	zap->socket = zmq_socket(zmq, ZMQ_REP);
	if (!zap->socket || zmq_setsockopt(zap->socket, ZMQ_LINGER, &none, sizeof(none)) < 0 ||
	    zmq_bind(zap->socket, ZAP_ENDPOINT) < 0 ||
	    zmq_getsockopt(zap->socket, ZMQ_FD, &zap->watch.fd, &size) < 0)
		return -errno;
	zap->watch.ready = woken;
	zap->prepare.prepare = prepare;
	zap->prepare.context = zap;
	gw_reactor_prepare_add(zap->reactor, &zap->prepare);
	return gw_reactor_watch(zap->reactor, &zap->watch, EPOLLIN);
}

int gw_zap_new(struct gw_reactor *reactor, void *zmq, const struct gw_identities *identities,
	       struct gw_zap **ret_zap, struct gw_fault *fault)
{
	struct gw_zap *zap = calloc(1, sizeof(*zap));
	int error;

	if (!zap)
		return -ENOMEM;
	zap->reactor = reactor;
	zap->identities = identities;
	zap->watch.fd = -1;
	error = start(zap, zmq);
	if (error < 0) {
		gw_fault_set(fault, "cannot start the ZAP handler: %s", zmq_strerror(-error));
		gw_zap_free(zap);
		return error;
	}
	*ret_zap = zap;
	return 0;
}

struct gw_zap *gw_zap_free(struct gw_zap *zap)
{
	if (!zap)
		return NULL;
	gw_reactor_prepare_remove(zap->reactor, &zap->prepare);
	if (zap->watch.fd >= 0)
		gw_reactor_unwatch(zap->reactor, &zap->watch);
	if (zap->socket)
		(void)zmq_close(zap->socket);
	free(zap);
	return NULL;
}

void gw_zap_observe(struct gw_zap *zap, gw_observe_f *observe, void *context)
{
	zap->observe = observe;
	zap->context = context;
}

uint64_t gw_zap_refused_count(const struct gw_zap *zap)
{
	return zap->refused_count;
}
