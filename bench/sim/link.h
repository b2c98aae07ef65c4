/*
 * The simulated WAN. A path joins two places: delay, jitter, rate, and cuts. A connection runs over
 * a path and behaves as ZeroMQ over TCP does: in order and whole while it lives; loss on the way
 * shows as a late packet (a retransmission) and never as a missing one; when the connection breaks,
 * what was in flight is gone, but for a first part that had already reached the other kernel
 * and is still handed up a little later, perhaps beside the next connection's first messages. The
 * dialling end tries again by itself. Neither end is told more than libzmq tells.
 */
#ifndef GODWIT_BENCH_SIM_LINK_H
#define GODWIT_BENCH_SIM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sim/world.h"

struct sim_path {
	uint64_t delay_us;  /* one way */
	uint64_t jitter_us; /* added, uniform */
	uint64_t rate_bps;  /* 0: unlimited */
	uint64_t loss_ppm;  /* of packets: each costs the stream a retransmission */
	uint64_t spike_us;  /* added while a delay spike lasts */
	bool cut;
	uint64_t cut_at_us;
	struct sim_conn *conns; /* over this path */
};

enum sim_end {
	SIM_DIALER,
	SIM_LISTENER,
};

struct sim_conn;

struct sim_conn_ops {
	/* The connection stands (again); the listener is not told. */
	void (*up)(struct sim_conn *conn);
	/* The dialling end sees that it broke. */
	void (*down)(struct sim_conn *conn);
	/* `end` receives. */
	void (*receive)(struct sim_conn *conn, enum sim_end end, const uint8_t *bytes, size_t size);
};

/* One direction. */
struct sim_flow {
	struct sim_fifo waiting;   /* sent, not yet arrived, in order */
	struct sim_fifo late;      /* of connections that broke, still in the receiver's kernel */
	struct sim_timer arrival;  /* of the first of `waiting` */
	struct sim_timer straggle; /* of the first of `late` */
	uint64_t busy_until_us;    /* the sender's wire */
	uint64_t last_arrival_us;
	uint32_t waiting_count;
};

struct sim_conn {
	struct sim_world *world;
	struct sim_path *path;
	struct sim_conn *path_next;
	const struct sim_conn_ops *ops;
	void *owner;
	const char *name; /* for the transcript */
	bool wanted;      /* the dialler wants it */
	bool up;
	uint32_t generation;          /* counts connections made */
	uint32_t received_generation; /* of the connection that brought the message in hand */
	uint32_t tries;               /* since the last success */
	struct sim_timer dial;
	struct sim_flow flows[2]; /* by receiving end */
};

void sim_conn_init(struct sim_conn *conn, struct sim_world *world, struct sim_path *path,
		   const struct sim_conn_ops *ops, void *owner, const char *name);
void sim_conn_deinit(struct sim_conn *conn);
/* Dials, and dials again whenever it breaks, until closed. */
void sim_conn_open(struct sim_conn *conn);
/* Either process is gone or wants no more: breaks it, for good. */
void sim_conn_close(struct sim_conn *conn);
/* A reset: what is in flight is lost, the dialler tries again. */
void sim_conn_break(struct sim_conn *conn);
/* Takes a copy. `from` sends. False: there is no connection, the message is lost. */
bool sim_conn_send(struct sim_conn *conn, enum sim_end from, const uint8_t *bytes, size_t size);

/* Nothing passes any more. `breaks`: connections over it break at once; else they stall, and what
 * was sent arrives after the heal. */
void sim_path_cut(struct sim_world *world, struct sim_path *path, bool breaks);
void sim_path_heal(struct sim_world *world, struct sim_path *path);

#endif
