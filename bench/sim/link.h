/*
 * The simulated WAN. A path joins two places: delay, jitter, rate, a bounded queue, loss,
 * duplication, reordering, and cuts in each direction. A datagram meets all of that as it is. A
 * connection runs over a path and behaves as ZeroMQ over TCP does: in order and whole while it
 * lives; loss and a full queue show as a late packet (a retransmission) and never as a missing one,
 * a duplicate as bytes on the wire, reordering as waiting for the one overtaken. When the
 * connection breaks, what was in flight is gone, but for a first part that had already reached the
 * other kernel and is still handed up a little later, perhaps beside the next connection's first
 * messages. The dialling end tries again by itself. Neither end is told more than libzmq tells.
 */
#ifndef GODWIT_BENCH_SIM_LINK_H
#define GODWIT_BENCH_SIM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sim/world.h"

/* By receiving end; over a site's path SIM_LISTENER is out of the site, SIM_DIALER into it. */
enum sim_end {
	SIM_DIALER,
	SIM_LISTENER,
};

/* What faults add to a path, in both directions. */
struct sim_trouble {
	uint64_t spike_us;      /* one way */
	uint64_t rate_bps;      /* 0: none; else the path is no faster, behind a bounded queue */
	uint64_t loss_ppm;      /* of packets */
	uint64_t duplicate_ppm; /* arrive twice */
	uint64_t reorder_ppm;   /* are overtaken */
};

/* One direction of a path. */
struct sim_way {
	bool cut;
	uint64_t cut_at_us;
	uint64_t busy_until_us; /* the wire, of all connections together */
};

struct sim_path {
	uint64_t delay_us;  /* one way */
	uint64_t jitter_us; /* added, uniform */
	uint64_t rate_bps;  /* 0: unlimited */
	uint64_t loss_ppm;  /* of packets: each costs a stream a retransmission */
	struct sim_trouble trouble;
	struct sim_way ways[2];
	struct sim_conn *conns; /* over this path */
};

struct sim_conn;

struct sim_conn_ops {
	/* The connection stands (again); the listener is not told. */
	void (*up)(struct sim_conn *conn);
	/* The dialling end sees that it broke. */
	void (*down)(struct sim_conn *conn);
	/* `end` receives. */
	void (*receive)(struct sim_conn *conn, enum sim_end end, const uint8_t *bytes, size_t size);
	/* True: the process at `end` gets to nothing now, and the timer is set to when it may. */
	bool (*defer)(const struct sim_conn *conn, enum sim_end end, struct sim_timer *timer);
};

/* One direction. */
struct sim_flow {
	struct sim_fifo waiting;   /* sent, not yet arrived, in order */
	struct sim_fifo late;      /* of connections that broke, still in the receiver's kernel */
	struct sim_timer arrival;  /* of the first of `waiting` */
	struct sim_timer straggle; /* of the first of `late` */
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

/* Nothing passes any more towards `end`. `breaks`: connections over it break at once; else they
 * stall, and what was sent arrives after the heal. */
void sim_path_cut(struct sim_world *world, struct sim_path *path, enum sim_end end, bool breaks);
void sim_path_heal(struct sim_world *world, struct sim_path *path, enum sim_end end);
/* Neither cut nor troubled. */
bool sim_path_is_calm(const struct sim_path *path);
/* One datagram of this size towards `end`: no one sends it again. False: it is lost. True: it takes
 * *ret_us. */
bool sim_path_datagram(struct sim_world *world, struct sim_path *path, enum sim_end end,
		       size_t size, uint64_t *ret_us);

#endif
