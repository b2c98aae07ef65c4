/*
 * The two ends of one agent's talk with the scheduler: the session logic of transport/link at each
 * end, over two simulated connections (state and heartbeat), handled as transport/session handles
 * it over sockets. Certificates are given: whoever holds an end is who the world says.
 */
#ifndef GODWIT_BENCH_SIM_SESSION_H
#define GODWIT_BENCH_SIM_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/host.h"
#include "bench/sim/link.h"
#include "transport/link.h"

struct sim_session;

/* What one end keeps. */
struct sim_side {
	struct sim_session *session;
	enum sim_end end;
	struct sim_host *host;
	struct gw_link *link;
	struct sim_timer wake;
	struct sim_timer sweep;  /* tells the core of what went down, from outside its step */
	const char *down_reason; /* what it is to be told; NULL: nothing */
	bool up;                 /* the core was told */
	/* Listener: the connections to answer on, by the last HELLO and the last heartbeat. */
	uint32_t state_generation;
	uint32_t heartbeat_generation;
};

struct sim_session {
	struct sim_side sides[2]; /* by end: the agent dials, the scheduler listens */
	struct sim_conn state;
	struct sim_conn heartbeat;
	bool revoked;
	uint64_t delivered_count;
	uint64_t dropped_count; /* bodies for which there was no session or no room */
};

void sim_session_init(struct sim_session *session, struct sim_host *agent,
		      struct sim_host *scheduler, struct sim_path *path);
void sim_session_deinit(struct sim_session *session);
/* The agent's process began: dial. */
void sim_session_dial(struct sim_session *session);
/* The process at this end is gone. */
void sim_session_vanish(struct sim_session *session, enum sim_end end);
/* A SEND effect of the host at `from`. */
void sim_session_send(struct sim_session *session, enum sim_end from,
		      const struct gw_effect *effect);
/* The scheduler refuses the agent from now on. */
void sim_session_revoke(struct sim_session *session);

#endif
