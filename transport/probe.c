/*
 * STAMP, both ends. Layout of the 44 bytes, big-endian (RFC 8762 §4.2.1, §4.3.1):
 *
 *	offset  sender                  reflector
 *	 0      sequence                sequence (stateless: the sender's)
 *	 4      T1, NTP timestamp       T3
 *	12      error estimate          error estimate
 *	14      SSID (RFC 8972 §3)      the same
 *	16      zero                    T2
 *	24      zero                    sender's sequence, T1, error estimate
 *	40      zero                    TTL as received
 *
 * The SSID is the peer's place in our table; an answer must also come from that peer's address.
 * The sender's clock and the reflector's are never compared: T4 - T1 and T3 - T2 are differences.
 */
#include "transport/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/clock.h"
#include "transport/reactor.h"

#define PACKET_BYTES 44u
#define DATAGRAM_BYTES_MAX 1500u
#define ERROR_ESTIMATE 1u /* S = 0 (no claim of synchronisation), Z = 0 (NTP), multiplier 1 */
#define NTP_EPOCH_S 2208988800ull /* 1970 counted from 1900 */
#define REFLECT_PER_S 4000u
#define REFLECT_BURST 1000u
#define FIRST_REPORT_PACKETS 3u
#define BATCH_MAX 64

enum { SEQUENCE = 0, STAMP = 4, ERROR = 12, SSID = 14, RECEIVE = 16, SENDER = 24, TTL = 40 };

enum sample_state { SAMPLE_NONE, SAMPLE_WAITING, SAMPLE_ANSWERED };

struct sample {
	uint64_t sent_us; /* mono */
	uint32_t rtt_us;
	enum sample_state state;
};

struct peer {
	struct gw_node_id node;
	struct sockaddr_storage address;
	socklen_t address_size;
	struct gw_probe *probe;
	uint16_t ssid;
	struct gw_timer timer;
	uint32_t sequence;                     /* of the next packet */
	struct sample window[GW_PROBE_WINDOW]; /* at sequence % GW_PROBE_WINDOW */
};

/* One UDP socket. */
struct end {
	struct gw_watch watch;
	sa_family_t family;
};

struct gw_probe {
	struct gw_probe_options options;
	struct end reflector;
	struct end sender;
	uint16_t port;
	uint32_t reflect_allowance;
	uint64_t reflect_allowance_us;
	struct gw_timer report_timer;
	uint64_t generation;
	struct peer **peers; /* [peer_count]; a peer's SSID is its index + 1 */
	uint32_t peer_count;
};

/* A datagram with what the kernel says of it. */
struct datagram {
	uint8_t bytes[DATAGRAM_BYTES_MAX];
	size_t size;
	struct sockaddr_storage from;
	socklen_t from_size;
	struct timespec received; /* CLOCK_REALTIME */
	uint8_t ttl;
};

/* NTP's 64-bit format: seconds since 1900, and a fraction of 2^-32 s (RFC 5905 §6). */
static uint64_t ntp_stamp(const struct timespec *at)
{
	uint64_t fraction = ((uint64_t)at->tv_nsec << 32) / 1000000000u;

	return ((uint64_t)at->tv_sec + NTP_EPOCH_S) << 32 | fraction;
}

static struct timespec wall_now(void)
{
	struct timespec at = {0};

	(void)clock_gettime(CLOCK_REALTIME, &at); /* cannot fail */
	return at;
}

static int64_t us_between(const struct timespec *from, const struct timespec *to)
{
	return (int64_t)(to->tv_sec - from->tv_sec) * 1000000 +
	       (to->tv_nsec - from->tv_nsec) / 1000;
}

static void read_controls(struct msghdr *header, struct datagram *datagram)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		int value = 0;

		if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&datagram->received, CMSG_DATA(control), sizeof(datagram->received));
		} else if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL) ||
			   (control->cmsg_level == IPPROTO_IPV6 &&
			    control->cmsg_type == IPV6_HOPLIMIT)) {
			memcpy(&value, CMSG_DATA(control), sizeof(value));
			datagram->ttl = (uint8_t)value;
		}
	}
}

/* False: nothing there. */
static bool receive(int fd, struct datagram *datagram)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[128];
	} controls;
	struct iovec part = {.iov_base = datagram->bytes, .iov_len = sizeof(datagram->bytes)};
	struct msghdr header = {
		.msg_name = &datagram->from,
		.msg_namelen = sizeof(datagram->from),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &controls,
		.msg_controllen = sizeof(controls),
	};
	ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT);

	if (size < 0)
		return false;
	datagram->size = (size_t)size;
	datagram->from_size = header.msg_namelen;
	datagram->received = wall_now(); /* unless the kernel says better */
	datagram->ttl = 0;
	read_controls(&header, datagram);
	return true;
}

static bool may_reflect(struct gw_probe *probe)
{
	uint64_t now_us = gw_clock_mono_us();
	uint64_t gained = (now_us - probe->reflect_allowance_us) * REFLECT_PER_S / GW_US_PER_S;

	if (gained > 0) {
		probe->reflect_allowance_us = now_us;
		probe->reflect_allowance = gained + probe->reflect_allowance > REFLECT_BURST
						   ? REFLECT_BURST
						   : probe->reflect_allowance + (uint32_t)gained;
	}
	if (probe->reflect_allowance == 0)
		return false;
	probe->reflect_allowance--;
	return true;
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
	/* sin_port and sin6_port stand at the same place. */
	return ntohs(((const struct sockaddr_in *)address)->sin_port);
}

/* The answer has the request's size, so there is nothing to gain by a false source address; and a
 * reflector never answers a reflector's port, so two of them cannot be set talking. */
static void reflect(struct gw_probe *probe, struct datagram *datagram)
{
	uint8_t *bytes = datagram->bytes;
	struct timespec now;

	if (datagram->size < PACKET_BYTES || port_of(&datagram->from) == probe->port ||
	    !may_reflect(probe))
		return;
	memmove(bytes + SENDER, bytes, 14);
	gw_put_be(bytes + RECEIVE, ntp_stamp(&datagram->received), 8);
	gw_put_be(bytes + ERROR, ERROR_ESTIMATE, 2);
	gw_put_be(bytes + SENDER + 14, 0, 2);
	bytes[TTL] = datagram->ttl;
	gw_put_be(bytes + TTL + 1, 0, 3);
	now = wall_now();
	gw_put_be(bytes + STAMP, ntp_stamp(&now), 8);
	/* Lost is lost: that is what is measured. */
	(void)sendto(probe->reflector.watch.fd, bytes, datagram->size, MSG_DONTWAIT,
		     (const struct sockaddr *)&datagram->from, datagram->from_size);
}

static void reflector_ready(void *context, uint32_t events)
{
	struct gw_probe *probe = context;
	struct datagram datagram;

	(void)events; /* an error is read as one */
	for (int i = 0; i < BATCH_MAX && receive(probe->reflector.watch.fd, &datagram); i++)
		reflect(probe, &datagram);
}

static bool same_address(const struct peer *peer, const struct datagram *datagram)
{
	const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&peer->address;
	const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)&datagram->from;

	if (peer->address.ss_family != datagram->from.ss_family ||
	    port_of(&peer->address) != port_of(&datagram->from))
		return false;
	if (peer->address.ss_family == AF_INET6)
		return memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(a->sin6_addr)) == 0;
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
	       ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/* Time between the kernel's receipt and now is not the path's. */
static uint64_t received_mono_us(const struct datagram *datagram)
{
	struct timespec now = wall_now();
	int64_t age_us = us_between(&datagram->received, &now);
	uint64_t mono_us = gw_clock_mono_us();

	if (age_us < 0 || age_us > (int64_t)GW_US_PER_S)
		age_us = 0; /* the wall clock was set meanwhile */
	return mono_us - (uint64_t)age_us;
}

static void take_answer(struct gw_probe *probe, const struct datagram *datagram)
{
	const uint8_t *bytes = datagram->bytes;
	uint64_t ssid;
	uint64_t held;
	uint64_t held_us;
	uint64_t received_us;
	uint32_t sequence;
	struct sample *sample;
	struct peer *peer;

	if (datagram->size < PACKET_BYTES)
		return;
	ssid = gw_get_be(bytes + SSID, 2);
	if (ssid == 0 || ssid > probe->peer_count)
		return;
	peer = probe->peers[ssid - 1];
	sequence = (uint32_t)gw_get_be(bytes + SENDER, 4);
	if (!same_address(peer, datagram) || peer->sequence - sequence - 1 >= GW_PROBE_WINDOW)
		return;
	sample = &peer->window[sequence % GW_PROBE_WINDOW];
	received_us = received_mono_us(datagram);
	if (sample->state != SAMPLE_WAITING || received_us < sample->sent_us ||
	    received_us - sample->sent_us > probe->options.wait_us)
		return;
	held = gw_get_be(bytes + STAMP, 8) - gw_get_be(bytes + RECEIVE, 8);
	if (held > 10ull << 32)
		return; /* ten seconds, or negative: not an honest reflector */
	held_us = held * GW_US_PER_S >> 32;
	if (held_us > received_us - sample->sent_us)
		return;
	sample->rtt_us = (uint32_t)(received_us - sample->sent_us - held_us);
	sample->state = SAMPLE_ANSWERED;
}

static void sender_ready(void *context, uint32_t events)
{
	struct gw_probe *probe = context;
	struct datagram datagram;

	(void)events; /* an error is read as one */
	for (int i = 0; i < BATCH_MAX && receive(probe->sender.watch.fd, &datagram); i++)
		take_answer(probe, &datagram);
}

static void send_probe(void *context)
{
	struct peer *peer = context;
	struct gw_probe *probe = peer->probe;
	struct sample *sample = &peer->window[peer->sequence % GW_PROBE_WINDOW];
	uint8_t bytes[PACKET_BYTES] = {0};
	struct timespec now = wall_now();

	gw_put_be(bytes + SEQUENCE, peer->sequence, 4);
	gw_put_be(bytes + STAMP, ntp_stamp(&now), 8);
	gw_put_be(bytes + ERROR, ERROR_ESTIMATE, 2);
	gw_put_be(bytes + SSID, peer->ssid, 2);
	*sample = (struct sample){.sent_us = gw_clock_mono_us(), .state = SAMPLE_WAITING};
	peer->sequence++;
	/* A packet that the kernel does not take is one that does not arrive. */
	(void)sendto(probe->sender.watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT,
		     (const struct sockaddr *)&peer->address, peer->address_size);
	gw_reactor_timer_set(probe->options.reactor, &peer->timer,
			     sample->sent_us + probe->options.interval_us);
}

static int compare_rtt(const void *a, const void *b)
{
	const uint32_t *left = a;
	const uint32_t *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* Figures of a peer's window; false: nothing is known yet. */
static bool describe(const struct peer *peer, uint64_t now_us, Godwit__PathReport__Path *ret_path)
{
	uint32_t rtts_us[GW_PROBE_WINDOW];
	uint64_t deviation_us = 0;
	uint64_t sum_us = 0;
	uint32_t answered = 0;
	uint32_t lost = 0;
	uint64_t mean_us;

	for (uint32_t i = 0; i < GW_PROBE_WINDOW; i++) {
		const struct sample *sample = &peer->window[i];

		if (sample->state == SAMPLE_ANSWERED)
			rtts_us[answered++] = sample->rtt_us;
		else if (sample->state == SAMPLE_WAITING &&
			 now_us - sample->sent_us > peer->probe->options.wait_us)
			lost++;
	}
	if (answered + lost == 0)
		return false;
	ret_path->samples = answered + lost;
	ret_path->loss_ppm = (uint32_t)((uint64_t)lost * 1000000 / (answered + lost));
	if (answered == 0)
		return true;
	for (uint32_t i = 0; i < answered; i++)
		sum_us += rtts_us[i];
	mean_us = sum_us / answered;
	for (uint32_t i = 0; i < answered; i++)
		deviation_us += rtts_us[i] > mean_us ? rtts_us[i] - mean_us : mean_us - rtts_us[i];
	qsort(rtts_us, answered, sizeof(rtts_us[0]), compare_rtt);
	ret_path->rtt_us_min = rtts_us[0];
	ret_path->rtt_us_p50 = rtts_us[(answered - 1) / 2];
	ret_path->rtt_us_p99 = rtts_us[(answered * 99 + 99) / 100 - 1]; /* nearest rank */
	ret_path->jitter_us = (uint32_t)(deviation_us / answered);
	return true;
}

static void report(void *context)
{
	struct gw_probe *probe = context;
	Godwit__PathReport message = GODWIT__PATH_REPORT__INIT;
	Godwit__PathReport__Path *paths = calloc(probe->peer_count + 1, sizeof(*paths));
	Godwit__PathReport__Path **list =
		calloc(probe->peer_count + 1, sizeof(Godwit__PathReport__Path *));
	uint64_t now_us = gw_clock_mono_us();

	gw_reactor_timer_set(probe->options.reactor, &probe->report_timer,
			     probe->peer_count ? now_us + probe->options.report_us : GW_NEVER_US);
	for (uint32_t i = 0; paths && list && i < probe->peer_count; i++) {
		Godwit__PathReport__Path path = GODWIT__PATH_REPORT__PATH__INIT;

		if (!describe(probe->peers[i], now_us, &path))
			continue;
		path.node = gw_wire_id(&probe->peers[i]->node.id);
		paths[message.n_paths] = path;
		list[message.n_paths] = &paths[message.n_paths];
		message.n_paths++;
	}
	message.generation = probe->generation;
	message.paths = list;
	if (message.n_paths > 0)
		probe->options.report(probe->options.context, &message);
	free(list);
	free(paths);
}

/* A numeric address as the socket's family wants it. False: not one. */
static bool parse_address(sa_family_t family, const char *text, uint16_t port,
			  struct sockaddr_storage *ret_address, socklen_t *ret_size)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	char mapped[INET6_ADDRSTRLEN + 8];

	memset(ret_address, 0, sizeof(*ret_address));
	if (family == AF_INET) {
		*ret_size = sizeof(four);
		if (inet_pton(AF_INET, text, &four.sin_addr) != 1)
			return false;
		memcpy(ret_address, &four, sizeof(four));
		return true;
	}
	*ret_size = sizeof(six);
	(void)snprintf(mapped, sizeof(mapped), "::ffff:%.40s", text);
	if (inet_pton(AF_INET6, text, &six.sin6_addr) != 1 &&
	    inet_pton(AF_INET6, mapped, &six.sin6_addr) != 1)
		return false;
	memcpy(ret_address, &six, sizeof(six));
	return true;
}

/* IPv6 that takes IPv4 too; IPv4 alone where the host has no IPv6. */
static int open_end(struct gw_probe *probe, struct end *end, gw_ready_f *ready, const char *text,
		    uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t size;
	const int on = 1;
	const int off = 0;

	end->watch.ready = ready;
	end->watch.context = probe;
	end->family = AF_INET6;
	end->watch.fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (end->watch.fd < 0) {
		end->family = AF_INET;
		end->watch.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (end->watch.fd < 0)
		return -errno;
	/* Better stamps and TTL where the kernel gives them; V6ONLY off is Linux's default anyway.
	 */
	(void)setsockopt(end->watch.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	(void)setsockopt(end->watch.fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
	if (end->family == AF_INET6) {
		(void)setsockopt(end->watch.fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof(on));
		(void)setsockopt(end->watch.fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	}
	if (!text || !text[0])
		text = end->family == AF_INET6 ? "::" : "0.0.0.0";
	if (!parse_address(end->family, text, port, &address, &size))
		return -EINVAL;
	if (bind(end->watch.fd, (struct sockaddr *)&address, size) < 0)
		return -errno;
	return gw_reactor_watch(probe->options.reactor, &end->watch, EPOLLIN);
}

static void close_end(struct gw_probe *probe, struct end *end)
{
	if (end->watch.fd < 0)
		return;
	gw_reactor_unwatch(probe->options.reactor, &end->watch);
	(void)close(end->watch.fd); /* datagrams are not kept */
}

int gw_probe_new(const struct gw_probe_options *options, struct gw_probe **ret_probe,
		 struct gw_fault *fault)
{
	struct gw_probe *probe = calloc(1, sizeof(*probe));
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	int error;

	if (!probe)
		return -ENOMEM;
	probe->options = *options;
	if (options->interval_us == 0)
		probe->options.interval_us = GW_US_PER_S;
	if (options->wait_us == 0)
		probe->options.wait_us = 3 * GW_US_PER_S;
	if (options->report_us == 0)
		probe->options.report_us = 5 * GW_US_PER_S;
	probe->report_timer.fired = report;
	probe->report_timer.context = probe;
	probe->reflect_allowance = REFLECT_BURST;
	probe->reflect_allowance_us = gw_clock_mono_us();
	probe->sender.watch.fd = -1;
	error = open_end(probe, &probe->reflector, reflector_ready, options->address,
			 options->port);
	if (error == 0 && options->report)
		error = open_end(probe, &probe->sender, sender_ready, options->address, 0);
	if (error == 0 &&
	    getsockname(probe->reflector.watch.fd, (struct sockaddr *)&bound, &size) < 0)
		error = -errno;
	if (error < 0) {
		gw_fault_set(fault, "cannot open the path probe on UDP port %u: %s", options->port,
			     strerror(-error));
		gw_probe_free(probe);
		return error;
	}
	probe->port = port_of(&bound);
	*ret_probe = probe;
	return 0;
}

static void free_peers(struct gw_probe *probe, struct peer **peers, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (peers[i])
			gw_reactor_timer_cancel(probe->options.reactor, &peers[i]->timer);
		free(peers[i]);
	}
	free(peers);
}

struct gw_probe *gw_probe_free(struct gw_probe *probe)
{
	if (!probe)
		return NULL;
	gw_reactor_timer_cancel(probe->options.reactor, &probe->report_timer);
	free_peers(probe, probe->peers, probe->peer_count);
	close_end(probe, &probe->reflector);
	close_end(probe, &probe->sender);
	free(probe);
	return NULL;
}

uint16_t gw_probe_port(const struct gw_probe *probe)
{
	return probe->port;
}

/* The old table's peer at this address, taken out of it; or a new one. NULL: out of memory. */
static struct peer *keep_or_make(struct gw_probe *probe, const struct peer *wanted)
{
	struct peer *peer;

	for (uint32_t i = 0; i < probe->peer_count; i++) {
		peer = probe->peers[i];
		if (peer && gw_id_equal(peer->node.id, wanted->node.id) &&
		    peer->address_size == wanted->address_size &&
		    memcmp(&peer->address, &wanted->address, wanted->address_size) == 0) {
			probe->peers[i] = NULL;
			return peer;
		}
	}
	peer = malloc(sizeof(*peer));
	if (peer)
		*peer = *wanted;
	return peer;
}

/* What the table says, checked before anything changes. False: not a table to work with. */
static bool read_peer(const struct gw_probe *probe, const Godwit__PeerTable__Peer *from,
		      struct peer *ret_peer)
{
	memset(ret_peer, 0, sizeof(*ret_peer));
	return gw_wire_read_id(from->node, &ret_peer->node.id) && from->probe_port > 0 &&
	       from->probe_port <= UINT16_MAX &&
	       parse_address(probe->sender.family, from->address, (uint16_t)from->probe_port,
			     &ret_peer->address, &ret_peer->address_size);
}

/* Peers take their places; new ones begin spread over one interval. */
static void start_peers(struct gw_probe *probe)
{
	uint64_t now_us = gw_clock_mono_us();

	for (uint32_t i = 0; i < probe->peer_count; i++) {
		struct peer *peer = probe->peers[i];

		peer->ssid = (uint16_t)(i + 1);
		if (peer->timer.item.position != 0)
			continue;
		peer->probe = probe;
		peer->timer.fired = send_probe;
		peer->timer.context = peer;
		gw_reactor_timer_set(probe->options.reactor, &peer->timer,
				     now_us + probe->options.interval_us * i / probe->peer_count);
	}
	if (probe->peer_count == 0)
		gw_reactor_timer_cancel(probe->options.reactor, &probe->report_timer);
	else if (probe->report_timer.item.position == 0)
		gw_reactor_timer_set(probe->options.reactor, &probe->report_timer,
				     now_us + FIRST_REPORT_PACKETS * probe->options.interval_us);
}

static int take_table(struct gw_probe *probe, const Godwit__PeerTable *table)
{
	struct peer **peers = calloc(table->n_peers + 1, sizeof(struct peer *));
	struct peer wanted;

	for (size_t i = 0; peers && i < table->n_peers; i++) {
		if (!read_peer(probe, table->peers[i], &wanted)) {
			free(peers);
			return -EINVAL;
		}
	}
	if (!peers)
		return -ENOMEM;
	for (size_t i = 0; i < table->n_peers; i++) {
		(void)read_peer(probe, table->peers[i], &wanted); /* true, as just now */
		peers[i] = keep_or_make(probe, &wanted);
		CHECK(peers[i]); /* a few kilobytes; half a table would be worse */
	}
	free_peers(probe, probe->peers, probe->peer_count);
	probe->peers = peers;
	probe->peer_count = (uint32_t)table->n_peers;
	probe->generation = table->generation;
	start_peers(probe);
	return 0;
}

int gw_probe_set_peers(struct gw_probe *probe, const uint8_t *bytes, size_t size)
{
	const Godwit__PeerTable *table;
	struct gw_arena arena;
	int error = -EINVAL;

	CHECK(probe->options.report);
	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	table = gw_wire_decode(&godwit__peer_table__descriptor, &arena, bytes, size);
	if (table && table->n_peers <= GW_PROBE_PEERS_MAX)
		error = take_table(probe, table);
	gw_arena_deinit(&arena);
	return error;
}
