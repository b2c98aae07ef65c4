/*
 * A simulated host: drives one core exactly as the daemons' host does, by the rules of
 * proto/step.h. Its journal lies on its disk; effects wait for it; a full effects list is answered
 * with CONTINUE; TICK comes at wake_us by the host's own clock. A crash takes the core and the
 * effects held back; a restart makes a new epoch. A start may fail (the disk does not sync) and is
 * tried again, or be refused (what was durable is damaged), and then the host stays down.
 *
 * Whatever reaches a process does so by a timer, and begins with sim_host_defer: a process that is
 * stopped, or still at work on a slow CPU, gets to it later.
 */
#ifndef GODWIT_BENCH_SIM_HOST_H
#define GODWIT_BENCH_SIM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sim/clock.h"
#include "bench/sim/disk.h"
#include "bench/sim/journal.h"
#include "bench/sim/link.h"
#include "bench/sim/world.h"
#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/step.h"

struct sim_host;

/* What a host is: the core that it makes and what becomes of the effects that only it knows. */
struct sim_host_ops {
	/* A fresh core, before any apply. Never NULL. */
	struct gw_node *(*make)(struct sim_host *host);
	/* The core was made and its journal applied: whatever comes before START. */
	void (*adopt)(struct sim_host *host);
	/* START is done: connect, and ask for what comes after. */
	void (*started)(struct sim_host *host);
	/* After every step, before its effects are carried out. */
	void (*stepped)(struct sim_host *host, const struct gw_event *event);
	/* Carries an effect out; APPEND is the host's own. */
	void (*effect)(struct sim_host *host, const struct gw_effect *effect);
	/* The process is gone. */
	void (*crashed)(struct sim_host *host);
	/* A record lasts from now on, in order. NULL: nobody watches. */
	void (*record)(struct sim_host *host, uint64_t seq, const uint8_t *bytes, size_t size);
	/* A start found records up to `seq`, and more had been called durable. NULL: as above. */
	void (*lost)(struct sim_host *host, uint64_t seq);
};

/* Planted bugs, for the tests that show that the checker can fail. */
enum sim_bug {
	SIM_BUG_NONE,
	SIM_BUG_EARLY_EFFECTS,  /* the host carries effects out before they are durable */
	SIM_BUG_KEEPER_FORGETS, /* a keeper loses an attempt that runs */
	SIM_BUG_WRONG_EXIT,     /* a keeper says that all went well, however it ended */
	SIM_BUG_SLOW_CLOCK,     /* clocks run slower than the bound that leases count on */
	SIM_BUG_JOURNAL_HOLE,   /* a record is lost at replay */
	SIM_BUG_NO_SYNC,        /* a journal calls durable what it did not sync */
	SIM_BUG_COUNT,
};

/* What hosts of one world share. */
struct sim_shared {
	struct sim_world *world;
	struct gw_effects effects;       /* steps do not nest, so one list serves all */
	struct gw_arena arena;           /* of what one event is decoded into */
	struct gw_buf envelope;          /* being sent */
	void (*plan_free)(void *result); /* of a planner's result that no core wants any more */
	bool stepping; /* no core is stepped from inside another's step, for they share the list */
	enum sim_bug bug;
};

struct sim_host {
	struct sim_shared *shared;
	struct sim_world *world;
	const struct sim_host_ops *ops;
	void *owner;
	struct gw_node *node; /* NULL: down */
	struct sim_clock clock;
	int32_t drift_ppm;   /* of its clock, when no fault changes it */
	struct gw_peer peer; /* who it is */
	char name[32];
	uint32_t number;
	uint32_t boots;
	bool rebooting;   /* its next start is in a new boot */
	bool refused;     /* its journal is damaged: it stays down */
	bool old;         /* it runs the version before */
	uint64_t epoch;   /* of its process; grows with each start */
	uint64_t term;    /* of the leader, as this host knows it */
	uint64_t free_us; /* its process gets to nothing before */
	uint64_t step_us; /* that a step costs, on a slow CPU */
	struct sim_disk disk;
	struct sim_journal journal;
	struct sim_held *held_first; /* effects that wait for the journal */
	struct sim_held *held_last;
	struct sim_timer tick;
	struct sim_timer durable; /* to be told to the core */
	struct sim_timer revive;  /* the next start */
	uint64_t digest_checks;
};

int sim_shared_init(struct sim_shared *shared, struct sim_world *world);
void sim_shared_deinit(struct sim_shared *shared);

void sim_host_init(struct sim_host *host, struct sim_shared *shared, const struct sim_host_ops *ops,
		   void *owner);
void sim_host_deinit(struct sim_host *host);

/* Starts the process: core, journal, adoption, START. */
void sim_host_start(struct sim_host *host);
/* The same at a later time, unless it runs by then. */
void sim_host_revive(struct sim_host *host, uint64_t at_us);
/* kill -9. */
void sim_host_crash(struct sim_host *host);
/* The machine loses its power: what was not durable on its disk is at stake. */
void sim_host_power_cut(struct sim_host *host);
/* SIGSTOP, and SIGCONT at that time. False: it is not running anyway. */
bool sim_host_stop(struct sim_host *host, uint64_t until_us);
/* True: the process gets to it later, and the timer is set to then. */
bool sim_host_defer(const struct sim_host *host, struct sim_timer *timer);
/* Feeds an event (its `now` is filled in here) and carries the effects out, CONTINUE included. A
 * host that is down drops it. */
void sim_host_step(struct sim_host *host, struct gw_event *event);
/* A second core made from the journal must have the first one's digest. */
void sim_host_check_replay(struct sim_host *host);

#endif
