/*
 * Connections: one fifo and one timer for each direction, so that a message costs one packet from a
 * free list and one timer. A stalled connection comes back as TCP does: its next retransmission
 * after the heal comes after a wait of up to the length of the cut.
 */
#include "bench/sim/link.h"

#include "proto/base/check.h"
#include "proto/base/time.h"

#define DIAL_FIRST_US (100 * GW_US_PER_MS) /* libzmq's RECONNECT_IVL as the daemons set it */
#define DIAL_MAX_US (5 * GW_US_PER_S)
#define RETRANSMISSION_US (200 * GW_US_PER_MS) /* the least RTO of Linux */
#define STRAGGLE_US (300 * GW_US_PER_MS)
#define RETRANSMISSIONS_MAX 6u /* of one packet: 12.6 s; the kernel itself would go on longer */
#define FRAME_BYTES 66u        /* headers of a small message on the wire */
#define QUEUE_BYTES (8u << 10) /* before a slow link, at least: a small router's */
#define QUEUE_US (200 * GW_US_PER_MS)

static void arrive(struct sim_timer *timer);
static void straggle(struct sim_timer *timer);
static void dial(struct sim_timer *timer);

void sim_conn_init(struct sim_conn *conn, struct sim_world *world, struct sim_path *path,
		   const struct sim_conn_ops *ops, void *owner, const char *name)
{
	*conn = (struct sim_conn){
		.world = world, .path = path, .ops = ops, .owner = owner, .name = name};
	conn->path_next = path->conns;
	path->conns = conn;
	sim_timer_init(&conn->dial, dial, conn);
	for (unsigned end = 0; end < 2; end++) {
		sim_timer_init(&conn->flows[end].arrival, arrive, conn);
		sim_timer_init(&conn->flows[end].straggle, straggle, conn);
	}
}

void sim_conn_deinit(struct sim_conn *conn)
{
	sim_timer_clear(conn->world, &conn->dial);
	for (unsigned end = 0; end < 2; end++) {
		sim_timer_clear(conn->world, &conn->flows[end].arrival);
		sim_timer_clear(conn->world, &conn->flows[end].straggle);
		sim_fifo_drop(conn->world, &conn->flows[end].waiting);
		sim_fifo_drop(conn->world, &conn->flows[end].late);
	}
}

/* A handshake takes three one-way trips, and CURVE's two more. */
static void plan_dial(struct sim_conn *conn, bool again)
{
	uint64_t wait_us = again ? DIAL_FIRST_US << (conn->tries < 6 ? conn->tries : 6) : 0;

	if (wait_us > DIAL_MAX_US)
		wait_us = DIAL_MAX_US;
	conn->tries++;
	sim_timer_set(conn->world, &conn->dial,
		      conn->world->now_us + sim_between(conn->world, wait_us / 2, wait_us) +
			      5 * conn->path->delay_us);
}

void sim_conn_open(struct sim_conn *conn)
{
	conn->wanted = true;
	if (!conn->up && conn->dial.item.position == 0)
		plan_dial(conn, false);
}

static void dial(struct sim_timer *timer)
{
	struct sim_conn *conn = timer->owner;

	CHECK(!conn->up);
	if (!conn->wanted || conn->ops->defer(conn, SIM_DIALER, timer) ||
	    conn->ops->defer(conn, SIM_LISTENER, timer)) /* the handshake is the process's */
		return;
	if (conn->path->ways[SIM_DIALER].cut || conn->path->ways[SIM_LISTENER].cut) {
		plan_dial(conn, true);
		return;
	}
	conn->up = true;
	conn->generation++;
	conn->tries = 0;
	sim_trace(conn->world, conn->generation);
	sim_say(conn->world, conn->name, "connected (%u)", conn->generation);
	conn->ops->up(conn);
}

/* What had reached the receiver's kernel is still handed up; the rest is lost. */
static void strand(struct sim_conn *conn, struct sim_flow *flow)
{
	struct sim_world *world = conn->world;
	uint64_t keep = sim_between(world, 0, flow->waiting_count);
	struct sim_packet *packet;

	sim_timer_clear(world, &flow->arrival);
	flow->waiting_count = 0;
	while ((packet = sim_fifo_pop(&flow->waiting))) {
		if (keep == 0 || packet->at_us > world->now_us + conn->path->delay_us) {
			keep = 0;
			world->coverage.seen[SIM_SAW_MESSAGE_LOST]++;
			sim_packet_free(world, packet);
			continue;
		}
		keep--;
		packet->at_us = world->now_us + sim_between(world, 0, STRAGGLE_US);
		if (flow->late.last && packet->at_us < flow->late.last->at_us)
			packet->at_us = flow->late.last->at_us;
		sim_fifo_push(&flow->late, packet);
	}
	flow->last_arrival_us = 0;
	if (flow->late.first && flow->straggle.item.position == 0)
		sim_timer_set(world, &flow->straggle, flow->late.first->at_us);
}

void sim_conn_break(struct sim_conn *conn)
{
	if (!conn->up)
		return;
	conn->up = false;
	conn->world->coverage.seen[SIM_SAW_CONNECTION_BROKEN]++;
	strand(conn, &conn->flows[SIM_DIALER]);
	strand(conn, &conn->flows[SIM_LISTENER]);
	sim_say(conn->world, conn->name, "connection broke (%u)", conn->generation);
	conn->ops->down(conn);
	if (conn->wanted && conn->dial.item.position == 0)
		plan_dial(conn, true);
}

void sim_conn_close(struct sim_conn *conn)
{
	conn->wanted = false;
	sim_timer_clear(conn->world, &conn->dial);
	sim_conn_break(conn);
	conn->tries = 0;
}

/* Microseconds that so many bytes are on the wire, and its queue when full; 0: no limit. */
static uint64_t path_rate(const struct sim_path *path)
{
	const struct sim_trouble *trouble = &path->trouble;

	if (trouble->rate_bps > 0 && (path->rate_bps == 0 || trouble->rate_bps < path->rate_bps))
		return trouble->rate_bps;
	return path->rate_bps;
}

static bool queue_full(const struct sim_path *path, const struct sim_way *way, uint64_t at_us)
{
	uint64_t rate_bps = path_rate(path);
	uint64_t queue_us = rate_bps ? QUEUE_BYTES * 8ull * GW_US_PER_S / rate_bps : 0;

	if (queue_us < QUEUE_US)
		queue_us = QUEUE_US;
	return way->busy_until_us > at_us + queue_us;
}

/* Puts the bytes on the wire, and returns when the last one has left. One that is sent at a later
 * time counts in today's backlog, so that it takes its share of the rate and yet lets others pass. */
static uint64_t occupy(const struct sim_world *world, const struct sim_path *path,
		       struct sim_way *way, size_t size, uint64_t at_us)
{
	uint64_t rate_bps = path_rate(path);
	uint64_t wire_us = rate_bps ? (size + FRAME_BYTES) * 8 * GW_US_PER_S / rate_bps : 0;

	if (way->busy_until_us < world->now_us)
		way->busy_until_us = world->now_us;
	way->busy_until_us += wire_us;
	return way->busy_until_us > at_us + wire_us ? way->busy_until_us : at_us + wire_us;
}

/* One-way time beyond the wire. */
static uint64_t fly(struct sim_world *world, const struct sim_path *path)
{
	uint64_t fly_us =
		path->delay_us + path->trouble.spike_us + sim_between(world, 0, path->jitter_us);

	if (sim_chance_ppm(world, path->trouble.reorder_ppm)) {
		world->coverage.seen[SIM_SAW_PACKET_OVERTAKEN]++;
		fly_us += sim_between(world, 0, path->delay_us + GW_US_PER_MS);
	}
	return fly_us;
}

/* When a packet of a stream arrives that leaves now. */
static uint64_t travel_us(struct sim_world *world, const struct sim_path *path, struct sim_way *way,
			  size_t size)
{
	uint64_t wait_us = RETRANSMISSION_US + 2 * path->delay_us;
	uint64_t at_us = world->now_us;

	for (uint32_t tries = 0; tries < RETRANSMISSIONS_MAX; tries++, wait_us *= 2) {
		if (queue_full(path, way, at_us)) {
			world->coverage.seen[SIM_SAW_QUEUE_FULL]++;
		} else if (sim_chance_ppm(world, path->loss_ppm + path->trouble.loss_ppm)) {
			(void)occupy(world, path, way, size, at_us); /* lost behind the wire */
			world->coverage.seen[SIM_SAW_PACKET_RESENT]++;
		} else {
			break;
		}
		at_us += wait_us;
	}
	at_us = occupy(world, path, way, size, at_us);
	if (sim_chance_ppm(world, path->trouble.duplicate_ppm)) {
		world->coverage.seen[SIM_SAW_PACKET_DOUBLED]++;
		(void)occupy(world, path, way, size, at_us); /* the wire carries it in vain */
	}
	return at_us + fly(world, path);
}

bool sim_path_datagram(struct sim_world *world, struct sim_path *path, enum sim_end end,
		       size_t size, uint64_t *ret_us)
{
	struct sim_way *way = &path->ways[end];
	uint64_t at_us;

	if (way->cut)
		return false;
	if (queue_full(path, way, world->now_us)) {
		world->coverage.seen[SIM_SAW_QUEUE_FULL]++;
		return false;
	}
	at_us = occupy(world, path, way, size, world->now_us);
	if (sim_chance_ppm(world, path->loss_ppm + path->trouble.loss_ppm))
		return false;
	*ret_us = at_us + fly(world, path) - world->now_us;
	return true;
}

bool sim_path_is_calm(const struct sim_path *path)
{
	const struct sim_trouble *trouble = &path->trouble;

	return !path->ways[SIM_DIALER].cut && !path->ways[SIM_LISTENER].cut &&
	       trouble->spike_us == 0 && trouble->rate_bps == 0 && trouble->loss_ppm == 0 &&
	       trouble->duplicate_ppm == 0 && trouble->reorder_ppm == 0;
}

bool sim_conn_send(struct sim_conn *conn, enum sim_end from, const uint8_t *bytes, size_t size)
{
	enum sim_end end = from == SIM_DIALER ? SIM_LISTENER : SIM_DIALER;
	struct sim_flow *flow = &conn->flows[end];
	struct sim_way *way = &conn->path->ways[end];
	struct sim_world *world = conn->world;
	struct sim_packet *packet;

	if (!conn->up)
		return false;
	packet = sim_packet_new(world, bytes, size);
	packet->generation = conn->generation;
	packet->at_us = travel_us(world, conn->path, way, size);
	if (packet->at_us < flow->last_arrival_us)
		packet->at_us = flow->last_arrival_us;
	flow->last_arrival_us = packet->at_us;
	flow->waiting_count++;
	sim_fifo_push(&flow->waiting, packet);
	if (!way->cut && flow->waiting.first == packet)
		sim_timer_set(world, &flow->arrival, packet->at_us);
	return true;
}

static void hand_up(struct sim_conn *conn, enum sim_end end, struct sim_packet *packet)
{
	conn->received_generation = packet->generation;
	conn->ops->receive(conn, end, packet->bytes, packet->size);
	sim_packet_free(conn->world, packet);
}

static void arrive(struct sim_timer *timer)
{
	struct sim_conn *conn = timer->owner;
	enum sim_end end = timer == &conn->flows[SIM_DIALER].arrival ? SIM_DIALER : SIM_LISTENER;
	struct sim_flow *flow = &conn->flows[end];
	struct sim_packet *packet;

	if (conn->ops->defer(conn, end, timer))
		return;
	packet = sim_fifo_pop(&flow->waiting);
	CHECK(packet);
	flow->waiting_count--;
	if (flow->waiting.first)
		sim_timer_set(conn->world, timer, flow->waiting.first->at_us);
	hand_up(conn, end, packet);
}

static void straggle(struct sim_timer *timer)
{
	struct sim_conn *conn = timer->owner;
	enum sim_end end = timer == &conn->flows[SIM_DIALER].straggle ? SIM_DIALER : SIM_LISTENER;
	struct sim_flow *flow = &conn->flows[end];
	struct sim_packet *packet;

	if (conn->ops->defer(conn, end, timer))
		return;
	packet = sim_fifo_pop(&flow->late);
	CHECK(packet);
	if (flow->late.first)
		sim_timer_set(conn->world, timer, flow->late.first->at_us);
	hand_up(conn, end, packet);
}

void sim_path_cut(struct sim_world *world, struct sim_path *path, enum sim_end end, bool breaks)
{
	if (path->ways[end].cut)
		return;
	path->ways[end].cut = true;
	path->ways[end].cut_at_us = world->now_us;
	for (struct sim_conn *conn = path->conns; conn; conn = conn->path_next) {
		if (breaks)
			sim_conn_break(conn);
		else
			sim_timer_clear(world, &conn->flows[end].arrival);
	}
}

static void resume_flow(struct sim_world *world, struct sim_flow *flow, uint64_t from_us)
{
	for (struct sim_packet *packet = flow->waiting.first; packet; packet = packet->next) {
		if (packet->at_us < from_us)
			packet->at_us = from_us;
	}
	if (flow->last_arrival_us < from_us)
		flow->last_arrival_us = from_us;
	if (flow->waiting.first)
		sim_timer_set(world, &flow->arrival, flow->waiting.first->at_us);
}

void sim_path_heal(struct sim_world *world, struct sim_path *path, enum sim_end end)
{
	struct sim_way *way = &path->ways[end];
	uint64_t lasted_us = world->now_us - way->cut_at_us;

	if (!way->cut)
		return;
	way->cut = false;
	for (struct sim_conn *conn = path->conns; conn; conn = conn->path_next)
		resume_flow(world, &conn->flows[end],
			    world->now_us + path->delay_us + sim_between(world, 0, lasted_us));
}
