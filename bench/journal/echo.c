/*
 * The floor of durable submissions: a server that knows nothing of jobs. It takes what its CURVE
 * clients send, writes the messages of one turn of its loop to a file, syncs it once, and sends
 * each message back. No session, no decoding, no decision.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/journal/journal.h"
#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "transport/curve.h"
#include "transport/file.h"
#include "transport/identity.h"
#include "transport/reactor.h"
#include "transport/zap.h"
#include "transport/zsock.h"

#define TURN_BYTES_MAX (64u << 20)

struct echo {
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_keys *keys;
	struct gw_identities *identities;
	struct gw_zap *zap;
	struct gw_zsock *zsock;
	struct gw_deferred commit;
	struct gw_buf batch; /* of {route, size, bytes} */
	int fd;
	int error;
};

struct echo_head {
	struct gw_route route;
	uint32_t size;
};

static void stop_with(struct echo *echo, int error)
{
	echo->error = error;
	gw_reactor_stop(echo->reactor);
}

static void commit(void *context)
{
	struct echo *echo = context;
	size_t at = 0;

	if (write(echo->fd, echo->batch.bytes, echo->batch.size) != (ssize_t)echo->batch.size ||
	    fdatasync(echo->fd) != 0) {
		stop_with(echo, errno ? -errno : -EIO);
		return;
	}
	while (at < echo->batch.size) {
		struct echo_head head;

		memcpy(&head, echo->batch.bytes + at, sizeof(head));
		at += sizeof(head);
		/* Its high water is above what all clients have under way. */
		if (gw_zsock_send(echo->zsock, &head.route, echo->batch.bytes + at, head.size) != 0)
			stop_with(echo, -ENOBUFS);
		at += head.size;
	}
	echo->batch.size = 0;
}

static void received(void *context, const struct gw_zmessage *message)
{
	struct echo *echo = context;
	struct echo_head head = {.route = message->route, .size = (uint32_t)message->size};

	if (gw_buf_append(&echo->batch, &head, sizeof(head)) != 0 ||
	    gw_buf_append(&echo->batch, message->bytes, message->size) != 0)
		stop_with(echo, -ENOBUFS);
	gw_reactor_defer(echo->reactor, &echo->commit);
}

static void stop_signal(void *context, int number)
{
	(void)number;
	gw_reactor_stop(((struct echo *)context)->reactor);
}

static int open_echo(struct echo *echo, const struct echo_options *options, struct gw_fault *fault)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct gw_zsock_options zsock = {
		.domain = GW_ZAP_STATE,
		.endpoint = options->endpoint,
		.high_water = 100000,
		.received = received,
		.context = echo,
	};
	char path[GW_PATH_BYTES];
	int r = gw_file_path(path, sizeof(path), options->state, GW_KEYS_FILE);

	if (r == 0)
		r = gw_keys_load(path, &echo->keys, fault);
	if (r == 0)
		r = gw_identities_open(options->state, echo->keys->signing_key, &echo->identities,
				       fault);
	if (r == 0)
		r = gw_reactor_new(&echo->reactor);
	if (r == 0)
		r = gw_reactor_signals(echo->reactor, signals, GW_ARRAY_COUNT(signals), stop_signal,
				       echo);
	if (r != 0)
		return r;
	echo->zmq = gw_zmq_new();
	echo->fd = open(options->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (!echo->zmq || echo->fd < 0) {
		gw_fault_set(fault, "%s: %s", options->file, strerror(errno));
		return -EIO;
	}
	r = gw_zap_new(echo->reactor, echo->zmq, echo->identities, &echo->zap, fault);
	zsock.reactor = echo->reactor;
	zsock.zmq = echo->zmq;
	zsock.keys = echo->keys;
	if (r == 0)
		r = gw_zsock_open(&zsock, &echo->zsock, fault);
	return r;
}

int journal_echo(const struct echo_options *options)
{
	struct echo echo = {.fd = -1};
	struct gw_fault fault = {""};
	int r;

	gw_buf_init(&echo.batch, TURN_BYTES_MAX);
	echo.commit.call = commit;
	echo.commit.context = &echo;
	r = open_echo(&echo, options, &fault);
	if (r == 0) {
		(void)printf("ready\n");
		(void)fflush(stdout);
		r = gw_reactor_run(echo.reactor);
	}
	if (r == 0)
		r = echo.error;
	if (r != 0)
		(void)fprintf(stderr, "godwit-journal: echo: %s\n",
			      fault.text[0] ? fault.text : strerror(-r));
	gw_zsock_close(echo.zsock);
	gw_zap_free(echo.zap);
	gw_zmq_free(echo.zmq);
	gw_reactor_free(echo.reactor);
	gw_identities_free(echo.identities);
	gw_keys_free(echo.keys);
	gw_buf_deinit(&echo.batch);
	if (echo.fd >= 0)
		(void)close(echo.fd); /* what counts was synced */
	return r != 0;
}
