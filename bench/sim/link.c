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
#define FRAME_BYTES 66u /* headers of a small message on the wire */

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
	if (!conn->wanted)
		return;
	if (conn->path->cut) {
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
			sim_packet_free(world, packet);
			continue;
		}
		keep--;
		packet->at_us = world->now_us + sim_between(world, 0, STRAGGLE_US);
		if (flow->late.last && packet->at_us < flow->late.last->at_us)
			packet->at_us = flow->late.last->at_us;
		sim_fifo_push(&flow->late, packet);
	}
	flow->busy_until_us = 0;
	flow->last_arrival_us = 0;
	if (flow->late.first && flow->straggle.item.position == 0)
		sim_timer_set(world, &flow->straggle, flow->late.first->at_us);
}

void sim_conn_break(struct sim_conn *conn)
{
	if (!conn->up)
		return;
	conn->up = false;
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

bool sim_conn_send(struct sim_conn *conn, enum sim_end from, const uint8_t *bytes, size_t size)
{
	struct sim_flow *flow = &conn->flows[from == SIM_DIALER ? SIM_LISTENER : SIM_DIALER];
	struct sim_path *path = conn->path;
	struct sim_world *world = conn->world;
	struct sim_packet *packet;
	uint64_t sent_us = world->now_us;

	if (!conn->up)
		return false;
	packet = sim_packet_new(world, bytes, size);
	packet->generation = conn->generation;
	if (sent_us < flow->busy_until_us)
		sent_us = flow->busy_until_us;
	if (path->rate_bps > 0)
		sent_us += (size + FRAME_BYTES) * 8 * GW_US_PER_S / path->rate_bps;
	flow->busy_until_us = sent_us;
	packet->at_us =
		sent_us + path->delay_us + path->spike_us + sim_between(world, 0, path->jitter_us);
	if (sim_chance_ppm(world, path->loss_ppm))
		packet->at_us += RETRANSMISSION_US + 2 * path->delay_us;
	if (packet->at_us < flow->last_arrival_us)
		packet->at_us = flow->last_arrival_us;
	flow->last_arrival_us = packet->at_us;
	flow->waiting_count++;
	sim_fifo_push(&flow->waiting, packet);
	if (!path->cut && flow->waiting.first == packet)
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
	struct sim_packet *packet = sim_fifo_pop(&flow->waiting);

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
	struct sim_packet *packet = sim_fifo_pop(&flow->late);

	CHECK(packet);
	if (flow->late.first)
		sim_timer_set(conn->world, timer, flow->late.first->at_us);
	hand_up(conn, end, packet);
}

void sim_path_cut(struct sim_world *world, struct sim_path *path, bool breaks)
{
	if (path->cut)
		return;
	path->cut = true;
	path->cut_at_us = world->now_us;
	for (struct sim_conn *conn = path->conns; conn; conn = conn->path_next) {
		if (breaks) {
			sim_conn_break(conn);
			continue;
		}
		sim_timer_clear(world, &conn->flows[SIM_DIALER].arrival);
		sim_timer_clear(world, &conn->flows[SIM_LISTENER].arrival);
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

void sim_path_heal(struct sim_world *world, struct sim_path *path)
{
	uint64_t lasted_us = world->now_us - path->cut_at_us;

	if (!path->cut)
		return;
	path->cut = false;
	for (struct sim_conn *conn = path->conns; conn; conn = conn->path_next) {
		uint64_t from_us =
			world->now_us + path->delay_us + sim_between(world, 0, lasted_us);

		resume_flow(world, &conn->flows[SIM_DIALER], from_us);
		resume_flow(world, &conn->flows[SIM_LISTENER], from_us);
	}
}
