/*
 * Forming the ring. Start: listen, then connect with retries, then accept and check hellos until
 * the right neighbour has come or the deadline has passed. See the header.
 */
#include "bench/loss/ring.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_US 100000
#define HELLO_WAIT_US 5000000ull /* for a caller to say who it is */

static uint64_t mono_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int fail(char *ret_error, int r, const char *what, const char *who)
{
	(void)snprintf(ret_error, GW_RING_ERROR_BYTES, "%s %s: %s", what, who, strerror(-r));
	return r;
}

/* One entry, modified in place. */
static const char *parse_peer(char *entry, struct gw_ring_address *ret)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char *colon = strrchr(entry, ':');
	char *host = entry;
	size_t length = strlen(entry);

	if (length >= sizeof(ret->text) || !colon || colon == entry || colon[1] == '\0')
		return "each peer must read [address]:port";
	memcpy(ret->text, entry, length + 1);
	*colon = '\0';
	if (host[0] == '[') {
		if (colon[-1] != ']')
			return "each peer must read [address]:port";
		colon[-1] = '\0';
		host++;
	}
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return "a peer's address or port is not a numeric one";
	memcpy(&ret->storage, found->ai_addr, found->ai_addrlen);
	ret->size = found->ai_addrlen;
	freeaddrinfo(found);
	return NULL;
}

const char *gw_ring_parse_peers(const char *text, uint32_t count, struct gw_ring_address *ret_peers)
{
	char *copy = strdup(text);
	char *rest = copy;
	const char *wrong = NULL;
	uint32_t n = 0;

	if (!copy)
		return "out of memory";
	for (char *entry = strsep(&rest, ","); entry && !wrong; entry = strsep(&rest, ",")) {
		if (n == count)
			wrong = "there are more peers than tasks";
		else
			wrong = parse_peer(entry, &ret_peers[n++]);
	}
	if (!wrong && n < count)
		wrong = "there are fewer peers than tasks";
	free(copy);
	return wrong;
}

int gw_ring_set_congestion(int fd, const char *name)
{
	char found[16] = "";
	socklen_t size = sizeof(found);

	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0)
		return -errno;
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, found, &size) < 0)
		return -errno;
	return strncmp(found, name, sizeof(found)) == 0 ? 0 : -ENOTSUP;
}

void gw_ring_info(int fd, uint64_t *ret_retransmits, uint64_t *ret_rtt_us, char *ret_name)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);
	socklen_t name_size = 16;

	memset(ret_name, 0, 16);
	(void)getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, ret_name, &name_size);
	ret_name[15] = '\0';
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return;
	*ret_retransmits = info.tcpi_total_retrans;
	*ret_rtt_us = info.tcpi_rtt;
}

static int prepare(int fd, const char *congestion)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		return -errno;
	return gw_ring_set_congestion(fd, congestion);
}

static int listen_at(const struct gw_ring_address *address, int *ret_fd)
{
	const struct sockaddr *to = (const struct sockaddr *)&address->storage;
	int on = 1;
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, to, address->size) == 0 && listen(fd, 8) == 0) {
		*ret_fd = fd;
		return 0;
	}
	r = -errno;
	(void)close(fd);
	return r;
}

static int wait_for(int fd, short events, uint64_t until_us)
{
	struct pollfd item = {.fd = fd, .events = events};
	uint64_t now = mono_us();
	int r = poll(&item, 1, until_us > now ? (int)((until_us - now) / 1000 + 1) : 0);

	if (r < 0)
		return -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

static int connect_once(const struct gw_ring_address *address, const char *congestion,
			uint64_t until_us, int *ret_fd)
{
	const struct sockaddr *to = (const struct sockaddr *)&address->storage;
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t size = sizeof(error);
	int r;

	if (fd < 0)
		return -errno;
	r = prepare(fd, congestion);
	if (r == 0 && connect(fd, to, address->size) < 0)
		r = errno == EINPROGRESS ? wait_for(fd, POLLOUT, until_us) : -errno;
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
		r = -error;
	if (r == 0)
		*ret_fd = fd;
	else
		(void)close(fd);
	return r;
}

/* A neighbour that is not up yet refuses or cannot be reached; anything else is final. */
static int connect_until(const struct gw_ring_address *address, const char *congestion,
			 uint64_t until_us, int *ret_fd)
{
	const struct timespec pause = {.tv_nsec = RETRY_US * 1000};
	int r;

	for (;;) {
		r = connect_once(address, congestion, until_us, ret_fd);
		if (r != -ECONNREFUSED && r != -EHOSTUNREACH && r != -ENETUNREACH &&
		    r != -EADDRNOTAVAIL && r != -ECONNRESET)
			return r;
		if (mono_us() + RETRY_US >= until_us)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
}

static int send_hello(const struct gw_ring_options *options, int fd)
{
	const struct gw_frame_header hello = {
		.kind = GW_FRAME_HELLO, .group = options->index, .stamp = options->digest};
	uint8_t bytes[GW_FRAME_HEADER_BYTES];
	ssize_t n;

	gw_frame_header_encode(&hello, bytes);
	n = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return n == (ssize_t)sizeof(bytes) ? 0 : -EIO; /* an empty send buffer takes 32 bytes */
}

/* Whether the caller is the stage before this one; NULL or a sentence. */
static const char *check_hello(const struct gw_ring_options *options, int fd, uint64_t until_us)
{
	const struct gw_frame_limits limits = {.stages = options->count};
	struct gw_frame_header hello;
	uint8_t bytes[GW_FRAME_HEADER_BYTES];
	size_t have = 0;
	const char *wrong;

	while (have < sizeof(bytes)) {
		ssize_t n = recv(fd, bytes + have, sizeof(bytes) - have, MSG_DONTWAIT);

		if (n == 0)
			return "it hung up";
		if (n < 0 && (errno != EAGAIN || wait_for(fd, POLLIN, until_us) < 0))
			return "it said nothing in time";
		have += n > 0 ? (size_t)n : 0;
	}
	wrong = gw_frame_header_decode(bytes, &limits, &hello);
	if (wrong)
		return wrong;
	if (hello.kind != GW_FRAME_HELLO)
		return "it did not say hello first";
	if (hello.group != (options->index + options->count - 1) % options->count)
		return "it is not the stage before this one";
	if (hello.stamp != options->digest)
		return "its model, stage count or limits differ from this stage's";
	return NULL;
}

static int accept_until(const struct gw_ring_options *options, int listen_fd, uint64_t until_us,
			int *ret_fd)
{
	for (;;) {
		int r = wait_for(listen_fd, POLLIN, until_us);
		uint64_t hello_until = mono_us() + HELLO_WAIT_US;
		const char *wrong;
		int fd;

		if (r < 0)
			return r;
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		wrong = check_hello(options, fd, hello_until < until_us ? hello_until : until_us);
		if (!wrong && prepare(fd, options->congestion) == 0) {
			*ret_fd = fd;
			return 0;
		}
		(void)fprintf(stderr, "godwit-stage: turned a caller away: %s\n",
			      wrong ? wrong : "its socket could not be set up");
		(void)close(fd);
	}
}

int gw_ring_open(const struct gw_ring_options *options, struct gw_ring *ret_ring, char *ret_error)
{
	const struct gw_ring_address *own = &options->peers[options->index];
	const struct gw_ring_address *next = &options->peers[(options->index + 1) % options->count];
	uint64_t until_us = mono_us() + options->deadline_us;
	struct gw_ring ring = {.up_fd = -1, .down_fd = -1};
	int listen_fd = -1;
	int r;

	r = listen_at(own, &listen_fd);
	if (r < 0)
		return fail(ret_error, r, "cannot listen at", own->text);
	r = connect_until(next, options->congestion, until_us, &ring.down_fd);
	if (r == 0)
		r = send_hello(options, ring.down_fd);
	if (r < 0) {
		(void)fail(ret_error, r, "cannot connect to the next stage at", next->text);
		goto out;
	}
	r = accept_until(options, listen_fd, until_us, &ring.up_fd);
	if (r < 0)
		(void)fail(ret_error, r, "the stage before this one did not call at", own->text);
out:
	(void)close(listen_fd);
	if (r < 0)
		gw_ring_close(&ring);
	else
		*ret_ring = ring;
	return r;
}

void gw_ring_close(struct gw_ring *ring)
{
	if (ring->up_fd >= 0)
		(void)close(ring->up_fd);
	if (ring->down_fd >= 0)
		(void)close(ring->down_fd);
	ring->up_fd = -1;
	ring->down_fd = -1;
}
