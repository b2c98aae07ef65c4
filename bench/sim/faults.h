/*
 * What can break. A fault is an explicit event: kind, time, length, victim and amount are all said,
 * so that a list of faults can be stored, replayed and shrunk; nothing about a fault is drawn when
 * it strikes, save what the world draws anyway (which packet is lost, which sector is torn).
 */
#ifndef GODWIT_BENCH_SIM_FAULTS_H
#define GODWIT_BENCH_SIM_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_grid;

enum sim_fault_kind {
	/* A site's WAN link. */
	SIM_FAULT_LINK_CUT,     /* carries nothing; amount 1: connections break, 0: they stall */
	SIM_FAULT_LINK_CUT_OUT, /* carries nothing out of the site; amount as above */
	SIM_FAULT_LINK_CUT_IN,  /* carries nothing into the site; amount as above */
	SIM_FAULT_DELAY_SPIKE,  /* amount: one-way microseconds added */
	SIM_FAULT_SLOW_RATE,    /* amount: bits a second, behind a bounded queue */
	SIM_FAULT_LOSS_BURST,   /* amount: lost packets, ppm */
	SIM_FAULT_DUPLICATION,  /* amount: packets that arrive twice, ppm */
	SIM_FAULT_REORDERING,   /* amount: packets that are overtaken, ppm */
	/* An agent. */
	SIM_FAULT_CONNECTION_LOST, /* amount 1: state, 2: heartbeat, 3: both are reset */
	SIM_FAULT_AGENT_KILLED,    /* kill -9; keeper and tasks live on */
	SIM_FAULT_KEEPER_KILLED,   /* kill -9 of the keeper: a new one finds what still runs */
	/* The scheduler. */
	SIM_FAULT_SCHEDULER_KILLED,
	/* A host: the scheduler's (target 0) or an agent's. */
	SIM_FAULT_HOST_REBOOT,      /* orderly for its disk: everything written is kept */
	SIM_FAULT_POWER_CUT,        /* unsynced writes are dropped, kept or torn, by sector */
	SIM_FAULT_STOPPED,          /* SIGSTOP of the daemon, then SIGCONT */
	SIM_FAULT_SLOW_CPU,         /* amount: microseconds that a step costs */
	SIM_FAULT_CLOCK_FORWARD,    /* the wall clock is set ahead by amount microseconds */
	SIM_FAULT_CLOCK_BACK,       /* and back; both stay */
	SIM_FAULT_CLOCK_FAST,       /* the monotonic clock runs fast by amount ppm */
	SIM_FAULT_CLOCK_SLOW,       /* or slow; at most SIM_DRIFT_PPM_MAX */
	SIM_FAULT_DISK_SLOW,        /* amount: microseconds that a write takes at most */
	SIM_FAULT_DISK_FULL,        /* writes are refused */
	SIM_FAULT_DISK_SYNC_FAILS,  /* the next sync returns an error: the process must stop */
	SIM_FAULT_DISK_SYNC_LIES,   /* syncs say durable and are not: a power cut shows it */
	SIM_FAULT_DISK_MISDIRECTED, /* the next write lands `amount` bytes before its place */
	SIM_FAULT_DISK_BIT_ROT,     /* a bit of what is stored flips; amount: which, modulo size */
	SIM_FAULT_VERSION_OLD,      /* restarted as the version before, later upgraded again */
	SIM_FAULT_COUNT,
};

/* What `target` numbers. */
enum sim_fault_scope {
	SIM_SCOPE_SITE,      /* 0 to sites - 1 */
	SIM_SCOPE_AGENT,     /* 1 to agents */
	SIM_SCOPE_SCHEDULER, /* 0 */
	SIM_SCOPE_HOST,      /* 0: the scheduler's, else the agent's number */
};

/* What `amount` counts. */
enum sim_fault_unit {
	SIM_UNIT_NONE,
	SIM_UNIT_CHOICE, /* a small number, see the kind */
	SIM_UNIT_US,
	SIM_UNIT_BPS,
	SIM_UNIT_PPM,
	SIM_UNIT_BYTES,
	SIM_UNIT_COUNT,
};

struct sim_fault_class {
	enum sim_fault_scope scope;
	enum sim_fault_unit unit;
	uint64_t amount_min; /* a draw without other bounds takes one in between */
	uint64_t amount_max;
	bool lasts;   /* false: it strikes once, lasts_us says nothing */
	bool damages; /* the only copy of a record may be lost by it: a stated answer is demanded */
};

struct sim_fault_event {
	enum sim_fault_kind kind;
	uint64_t at_us;
	uint64_t lasts_us; /* of a kill: until the restart */
	uint64_t target;
	uint64_t amount;
};

/* With a host's own drift it stays below half of what leases allow two clocks to differ by. */
#define SIM_DRIFT_PPM_MAX 400u

const struct sim_fault_class *sim_fault_class(enum sim_fault_kind kind);
const char *sim_fault_name(enum sim_fault_kind kind);
/* By kind, then NULL, for a schema's choices. */
extern const char *const sim_fault_names[SIM_FAULT_COUNT + 1];

/* Its target exists in a grid of so many sites and agents. */
bool sim_fault_fits(const struct sim_fault_event *event, uint64_t sites, uint64_t agents);

/* Sets a timer for each event; the list is copied. Before the run. Each event fits. */
void sim_faults_set(struct sim_grid *grid, const struct sim_fault_event *events, size_t count);
/* Carries one out now, whatever its at_us says. A victim that is broken already in a way that
 * leaves no room for this fault is left alone. */
void sim_fault_begin(struct sim_grid *grid, const struct sim_fault_event *event);
/* Ends every fault under way and forgets those to come: nothing is broken from now on. */
void sim_faults_end(struct sim_grid *grid);

#endif
