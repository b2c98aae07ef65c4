/*
 * The packet mover of mover.h.
 *
 * A turn: drain each ring (at most BATCH frames an end, so that no end starves another), admit
 * each frame to its direction's model, send what is due, and if nothing moved, sleep in epoll.
 * A turn that moved something is followed by a pause of MODERATION_NS in which arrivals wake
 * nobody, as a network card moderates its interrupts: one wake-up then serves a few packets, here
 * and in the receiver (in a virtual machine each wake-up of another core costs about 10 us). It
 * makes a packet that is due within that pause late by at most as much; arrival times stay the
 * kernel's.
 *
 * Due times within one FIFO only grow: delay and order-keeping make the passed ones so, and the
 * constant hold the reordered ones; hence two lists a direction and no heap.
 *
 * It is not a switch: no addresses are looked at, a frame goes from one end to the other.
 */
#include "bench/wan/mover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"

#define BATCH 32u
#define RING_FRAMES 4096u
#define RING_FRAME_BYTES 2048u
#define RING_BLOCK_BYTES (64u << 10)
#define RING_BYTES ((size_t)RING_FRAMES * RING_FRAME_BYTES)
#define TURNS_PER_LOOK 256u /* the owner's descriptors are looked at this often under full load */
#define MODERATION_NS 50000u
#define SOCKET_SEND_BYTES (8 << 20)
#define NS_PER_S 1000000000ull
#define NEVER_NS UINT64_MAX

struct gw_mover_slot {
	uint64_t due_ns;
	uint32_t next; /* slot + 1; 0: last */
	uint32_t size; /* of the frame */
	uint8_t frame[GW_MOVER_FRAME_BYTES_MAX];
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	CHECK(clock_gettime(clock, &now) == 0);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t gw_mover_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int gw_mover_open(struct gw_mover *mover, uint32_t slot_count)
{
	memset(mover, 0, sizeof(*mover));
	mover->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (mover->poll_fd < 0)
		return -errno;
	mover->slots = calloc(slot_count, sizeof(*mover->slots));
	if (!mover->slots) {
		gw_mover_close(mover);
		return -ENOMEM;
	}
	mover->slot_count = slot_count;
	for (uint32_t i = slot_count; i > 0; i--) {
		mover->slots[i - 1].next = mover->free_slot;
		mover->free_slot = i;
	}
	mover->free_count = slot_count;
	mover->free_low = slot_count;
	return 0;
}

static void port_close(struct gw_mover_port *port)
{
	if (port->ring)
		(void)munmap(port->ring, RING_BYTES);
	if (port->fd >= 0)
		(void)close(port->fd);
	*port = (struct gw_mover_port){.fd = -1};
}

void gw_mover_close(struct gw_mover *mover)
{
	for (uint32_t i = 0; i < mover->link_count; i++) {
		port_close(&mover->links[i].ports[0]);
		port_close(&mover->links[i].ports[1]);
	}
	mover->link_count = 0;
	free(mover->slots);
	mover->slots = NULL;
	if (mover->poll_fd >= 0)
		(void)close(mover->poll_fd);
	mover->poll_fd = -1;
}

static int port_options(int fd, const char **ret_fault)
{
	const struct tpacket_req ring = {
		.tp_block_size = RING_BLOCK_BYTES,
		.tp_block_nr = (unsigned int)(RING_BYTES / RING_BLOCK_BYTES),
		.tp_frame_size = RING_FRAME_BYTES,
		.tp_frame_nr = RING_FRAMES,
	};

	const struct {
		const char *fault;
		const void *value;
		int level;
		int name;
		socklen_t size;
	} options[] = {
		/* Our own frames would come back to us and run round for ever. */
		{"PACKET_IGNORE_OUTGOING", &(int){1}, SOL_PACKET, PACKET_IGNORE_OUTGOING,
		 sizeof(int)},
		{"PACKET_VERSION", &(int){TPACKET_V2}, SOL_PACKET, PACKET_VERSION, sizeof(int)},
		{"PACKET_RX_RING", &ring, SOL_PACKET, PACKET_RX_RING, sizeof(ring)},
		{"PACKET_QDISC_BYPASS", &(int){1}, SOL_PACKET, PACKET_QDISC_BYPASS, sizeof(int)},
		{"SO_SNDBUFFORCE", &(int){SOCKET_SEND_BYTES}, SOL_SOCKET, SO_SNDBUFFORCE,
		 sizeof(int)},
	};

	for (size_t i = 0; i < GW_ARRAY_COUNT(options); i++) {
		*ret_fault = options[i].fault;
		if (setsockopt(fd, options[i].level, options[i].name, options[i].value,
			       options[i].size) < 0)
			return -errno;
	}
	return 0;
}

/* Bound last, so that nothing comes in before the ring is there. */
static int port_open(struct gw_mover_port *port, const char *name, const char **ret_fault)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	void *ring;
	int error;

	*ret_fault = "no such interface";
	if (address.sll_ifindex == 0)
		return -ENODEV;
	*ret_fault = "socket";
	port->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (port->fd < 0)
		return -errno;
	error = port_options(port->fd, ret_fault);
	if (error < 0)
		return error;
	*ret_fault = "mmap of the ring";
	ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
	if (ring == MAP_FAILED)
		return -errno;
	port->ring = ring;
	*ret_fault = "bind";
	if (bind(port->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return 0;
}

int gw_mover_add(struct gw_mover *mover, const char *name, const char *const port_names[2],
		 const struct gw_link_params params[2], uint64_t seed, const char **ret_fault)
{
	struct gw_mover_link *link = &mover->links[mover->link_count];
	int error = 0;

	*ret_fault = "too many links, or a name too long";
	if (mover->link_count == GW_MOVER_LINKS_MAX || strlen(name) >= sizeof(link->name))
		return -ENOSPC;
	memset(link, 0, sizeof(*link));
	strcpy(link->name, name);
	for (uint32_t i = 0; i < 2; i++) {
		link->ports[i].fd = -1;
		gw_link_init(&link->directions[i].link, &params[i], seed + i);
	}
	for (uint32_t i = 0; i < 2 && error == 0; i++) {
		struct epoll_event event = {.events = EPOLLIN};

		error = port_open(&link->ports[i], port_names[i], ret_fault);
		if (error == 0 &&
		    epoll_ctl(mover->poll_fd, EPOLL_CTL_ADD, link->ports[i].fd, &event) < 0)
			error = -errno;
	}
	if (error < 0) {
		port_close(&link->ports[0]);
		port_close(&link->ports[1]);
		return error;
	}
	mover->link_count++;
	return 0;
}

struct gw_mover_link *gw_mover_find(struct gw_mover *mover, const char *name)
{
	for (uint32_t i = 0; i < mover->link_count; i++) {
		if (strcmp(mover->links[i].name, name) == 0)
			return &mover->links[i];
	}
	return NULL;
}

static void fifo_put(struct gw_mover *mover, struct gw_mover_fifo *fifo, uint32_t slot)
{
	mover->slots[slot - 1].next = 0;
	if (fifo->last > 0)
		mover->slots[fifo->last - 1].next = slot;
	else
		fifo->first = slot;
	fifo->last = slot;
}

static uint32_t fifo_take(struct gw_mover *mover, struct gw_mover_fifo *fifo)
{
	uint32_t slot = fifo->first;

	fifo->first = mover->slots[slot - 1].next;
	if (fifo->first == 0)
		fifo->last = 0;
	return slot;
}

static uint64_t fifo_due_ns(const struct gw_mover *mover, const struct gw_mover_fifo *fifo)
{
	return fifo->first > 0 ? mover->slots[fifo->first - 1].due_ns : NEVER_NS;
}

static void slot_free(struct gw_mover *mover, uint32_t slot)
{
	mover->slots[slot - 1].next = mover->free_slot;
	mover->free_slot = slot;
	mover->free_count++;
}

/* Copies the frame into a slot and queues it by the verdict. */
static void keep(struct gw_mover *mover, struct gw_mover_direction *direction, const uint8_t *frame,
		 uint32_t size, uint64_t due_ns, bool held)
{
	uint32_t slot = mover->free_slot;

	if (slot == 0) {
		direction->counters.dropped_pool++;
		return;
	}
	mover->free_slot = mover->slots[slot - 1].next;
	mover->free_count--;
	if (mover->free_count < mover->free_low)
		mover->free_low = mover->free_count;
	mover->slots[slot - 1].due_ns = due_ns;
	mover->slots[slot - 1].size = size;
	memcpy(mover->slots[slot - 1].frame, frame, size);
	fifo_put(mover, held ? &direction->held : &direction->passed, slot);
	direction->counters.reordered += held;
}

static void admit(struct gw_mover *mover, struct gw_mover_direction *direction,
		  const uint8_t *frame, uint32_t size, uint64_t at_ns)
{
	struct gw_mover_counters *counters = &direction->counters;
	uint64_t due_ns = 0;

	counters->packets_in++;
	counters->bytes_in += size;
	if (size > GW_MOVER_FRAME_BYTES_MAX || size < ETH_HLEN) {
		counters->dropped_oversize++;
		return;
	}
	switch (gw_link_admit(&direction->link, at_ns, size - ETH_HLEN, &due_ns)) {
	case GW_LINK_PASS:
		keep(mover, direction, frame, size, due_ns, false);
		break;
	case GW_LINK_HOLD:
		keep(mover, direction, frame, size, due_ns, true);
		break;
	case GW_LINK_LOST:
		counters->dropped_loss++;
		break;
	case GW_LINK_QUEUE_FULL:
		counters->dropped_queue++;
		break;
	case GW_LINK_CUT:
		counters->dropped_cut++;
		break;
	}
}

/* Takes at most BATCH frames from a port's ring. `wall_minus_mono_ns` turns the ring's times, which
 * are wall time, into ours; a stepped wall clock is held between the last packet and now. */
static uint32_t drain(struct gw_mover *mover, struct gw_mover_port *port,
		      struct gw_mover_direction *direction, uint64_t now_ns,
		      uint64_t wall_minus_mono_ns)
{
	uint32_t count;

	for (count = 0; count < BATCH; count++) {
		uint8_t *at = port->ring + (size_t)port->position * RING_FRAME_BYTES;
		struct tpacket2_hdr *header = (void *)at;
		uint64_t at_ns;

		if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		at_ns = (uint64_t)header->tp_sec * NS_PER_S + header->tp_nsec - wall_minus_mono_ns;
		if (at_ns > now_ns)
			at_ns = now_ns;
		admit(mover, direction, at + header->tp_mac,
		      header->tp_snaplen < header->tp_len ? UINT32_MAX : header->tp_len, at_ns);
		__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		port->position = (port->position + 1) % RING_FRAMES;
	}
	return count;
}

/* Of both lists the head that is due first, taken off; 0: none is due. */
static uint32_t take_due(struct gw_mover *mover, struct gw_mover_direction *direction,
			 uint64_t now_ns)
{
	uint64_t passed_ns = fifo_due_ns(mover, &direction->passed);
	uint64_t held_ns = fifo_due_ns(mover, &direction->held);

	if (passed_ns > now_ns && held_ns > now_ns)
		return 0;
	return fifo_take(mover, held_ns < passed_ns ? &direction->held : &direction->passed);
}

/* Hands the batch over; what the kernel refuses is counted, not tried again: later it would be
 * late. */
static void send_batch(struct gw_mover *mover, int fd, struct gw_mover_counters *counters,
		       const uint32_t slots[BATCH], uint32_t count)
{
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	uint32_t done = 0;
	uint64_t sent_ns;

	memset(messages, 0, sizeof(messages));
	for (uint32_t i = 0; i < count; i++) {
		struct gw_mover_slot *slot = &mover->slots[slots[i] - 1];

		vectors[i] = (struct iovec){.iov_base = slot->frame, .iov_len = slot->size};
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < count) {
		int sent = sendmmsg(fd, messages + done, count - done, MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		sent_ns = gw_mover_now_ns();
		for (uint32_t i = done; sent > 0 && i < done + (uint32_t)sent; i++) {
			const struct gw_mover_slot *slot = &mover->slots[slots[i] - 1];

			gw_histogram_add(&counters->lateness, sent_ns - slot->due_ns);
			counters->packets_out++;
			counters->bytes_out += slot->size;
		}
		counters->dropped_send += sent <= 0;
		done += sent > 0 ? (uint32_t)sent : 1;
	}
	for (uint32_t i = 0; i < count; i++)
		slot_free(mover, slots[i]);
}

/* Sends at most BATCH packets of a direction. Returns how many left the queue. */
static uint32_t deliver(struct gw_mover *mover, int fd, struct gw_mover_direction *direction,
			uint64_t now_ns)
{
	uint32_t slots[BATCH];
	uint32_t taken;
	uint32_t count = 0;

	for (taken = 0; taken < BATCH; taken++) {
		uint32_t slot = take_due(mover, direction, now_ns);

		if (slot == 0)
			break;
		if (gw_link_is_cut(&direction->link, mover->slots[slot - 1].due_ns)) {
			direction->counters.dropped_cut++;
			slot_free(mover, slot);
			continue;
		}
		slots[count++] = slot;
	}
	if (count > 0)
		send_batch(mover, fd, &direction->counters, slots, count);
	return taken;
}

static uint64_t earliest_due_ns(const struct gw_mover *mover)
{
	uint64_t due_ns = NEVER_NS;

	for (uint32_t i = 0; i < 2 * mover->link_count; i++) {
		const struct gw_mover_direction *direction = &mover->links[i / 2].directions[i % 2];
		uint64_t passed_ns = fifo_due_ns(mover, &direction->passed);
		uint64_t held_ns = fifo_due_ns(mover, &direction->held);

		due_ns = passed_ns < due_ns ? passed_ns : due_ns;
		due_ns = held_ns < due_ns ? held_ns : due_ns;
	}
	return due_ns;
}

static void sleep_until(uint64_t at_ns)
{
	const struct timespec at = {.tv_sec = (time_t)(at_ns / NS_PER_S),
				    .tv_nsec = (long)(at_ns % NS_PER_S)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL); /* a signal: go on */
}

/* Sleeps until the earliest due time or a ready descriptor; `only_look` does not sleep. Events
 * carry no data for ports: the rings say for themselves who has frames. True: one of the owner's
 * descriptors is ready. */
static bool sleep_until_due(const struct gw_mover *mover, bool only_look)
{
	struct epoll_event events[8];
	struct timespec timeout = {0};
	uint64_t due_ns = earliest_due_ns(mover);
	uint64_t now_ns = gw_mover_now_ns();
	bool owners = false;
	int count;

	if (due_ns != NEVER_NS && due_ns > now_ns && !only_look) {
		timeout.tv_sec = (time_t)((due_ns - now_ns) / NS_PER_S);
		timeout.tv_nsec = (long)((due_ns - now_ns) % NS_PER_S);
	}
	count = epoll_pwait2(mover->poll_fd, events, (int)GW_ARRAY_COUNT(events),
			     due_ns == NEVER_NS && !only_look ? NULL : &timeout, NULL);
	for (int i = 0; i < count; i++)
		owners |= events[i].data.u64 != 0;
	return owners;
}

bool gw_mover_turn(struct gw_mover *mover)
{
	uint64_t start_ns = gw_mover_now_ns();
	uint64_t wall_minus_mono_ns = clock_ns(CLOCK_REALTIME) - start_ns;
	uint64_t now_ns;
	uint32_t moved = 0;
	uint32_t most = 0;

	for (uint32_t i = 0; i < 2 * mover->link_count; i++) {
		struct gw_mover_link *link = &mover->links[i / 2];
		uint32_t count = drain(mover, &link->ports[i % 2], &link->directions[i % 2],
				       start_ns, wall_minus_mono_ns);

		moved += count;
		most = count > most ? count : most;
	}
	now_ns = gw_mover_now_ns();
	for (uint32_t i = 0; i < 2 * mover->link_count; i++) {
		struct gw_mover_link *link = &mover->links[i / 2];
		uint32_t count =
			deliver(mover, link->ports[1 - i % 2].fd, &link->directions[i % 2], now_ns);

		moved += count;
		most = count > most ? count : most;
	}
	if (moved == 0)
		return sleep_until_due(mover, false);
	if (most < BATCH)
		sleep_until(start_ns + MODERATION_NS);
	return ++mover->turns % TURNS_PER_LOOK == 0 && sleep_until_due(mover, true);
}

void gw_mover_collect(struct gw_mover *mover)
{
	for (uint32_t i = 0; i < 2 * mover->link_count; i++) {
		struct gw_mover_link *link = &mover->links[i / 2];
		struct tpacket_stats stats = {0};
		socklen_t size = sizeof(stats);

		if (getsockopt(link->ports[i % 2].fd, SOL_PACKET, PACKET_STATISTICS, &stats,
			       &size) == 0)
			link->directions[i % 2].counters.dropped_ring += stats.tp_drops;
	}
}

void gw_mover_reset(struct gw_mover *mover)
{
	gw_mover_collect(mover);
	for (uint32_t i = 0; i < 2 * mover->link_count; i++)
		memset(&mover->links[i / 2].directions[i % 2].counters, 0,
		       sizeof(struct gw_mover_counters));
	mover->free_low = mover->free_count;
}
