/*
 * What the parts of the daemon share. daemon.c owns the process and what lasts as long as it;
 * leader.c is the core and the sockets around it while this scheduler leads its region; embedded.c
 * and standby.c are the two kinds of journal that decide when it does: a folder of this machine,
 * and one in etcd that several schedulers follow.
 */
#ifndef GODWIT_SCHEDULER_DAEMON_H
#define GODWIT_SCHEDULER_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/options.h"
#include "transport/curve.h"
#include "transport/fault.h"
#include "transport/observe.h"
#include "transport/reactor.h"

struct gw_enrol;
struct gw_host;
struct gw_identities;
struct gw_journal;
struct gw_journal_file;
struct gw_node;
struct gw_zap;
struct standby;

/* Lines of one kind of event: a stranger who knocks fast must not fill a disk. */
struct log_limit {
	uint64_t second_us; /* its begin */
	uint32_t lines;     /* in it */
	uint64_t left_out;  /* since the last line */
};

struct daemon {
	const struct run_options *options;
	struct gw_keys *keys;
	struct gw_region region;
	struct gw_identities *identities;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_zap *zap;
	struct gw_enrol *enrol;
	struct gw_node *core; /* made from the journal; not started unless there is a host */
	struct gw_host *host; /* while this scheduler leads */
	struct gw_journal *journal;
	struct gw_journal_file *file; /* one of these two */
	struct standby *standby;
	struct gw_prepare watch; /* of the journal, before each sleep */
	struct log_limit log_limits[GW_OBSERVED_KINDS];
	uint64_t slow_logged_us;
	uint64_t caught_up_us; /* a term was begun because a node obeys a later one */
	uint32_t epoch;        /* counted in STATE/epoch */
	bool slow;             /* as last logged */
	bool failed;
};

/* daemon.c: ends the process with a failure, from the loop. */
void gw_daemon_fail(struct daemon *daemon, const char *why);
void gw_daemon_observed(void *context, enum gw_observed what, const char *who, const char *why);

/* leader.c. A core without history, in place of the one that is there. 0; negative errno with a
 * sentence. */
int gw_leader_core(struct daemon *daemon, struct gw_fault *fault);
/* The core holds all records: counts the start, opens the sockets, START and ROLE. `term`: the
 * least that it may be. 0; negative errno with a sentence. */
int gw_leader_begin(struct daemon *daemon, uint64_t term, struct gw_fault *fault);
/* A node obeys a later term than this leader's: the leader begins one after that. 0; negative errno
 * with a sentence. */
int gw_leader_catch_up(struct daemon *daemon, uint64_t now_us, struct gw_fault *fault);
/* Frees host and core; nothing more is said. */
void gw_leader_end(struct daemon *daemon);
/* Reads STATE/epoch. */
int gw_leader_read_epoch(struct daemon *daemon, struct gw_fault *fault);

/* embedded.c: opens STATE/journal, leads at once. */
int gw_embedded_begin(struct daemon *daemon, struct gw_fault *fault);
/* Leader: makes a snapshot if one is due. */
void gw_embedded_snapshot(struct daemon *daemon);
void gw_embedded_end(struct daemon *daemon);

/* standby.c: follows the journal in etcd and leads when nobody does. */
int gw_standby_begin(struct daemon *daemon, struct gw_fault *fault);
/* Leader: makes a snapshot if one is due. */
void gw_standby_snapshot(struct daemon *daemon);
/* -EEXIST, with a sentence: this state folder's journal is in etcd. */
int gw_standby_marked(const char *state, struct gw_fault *fault);
/* For gw_enrol_options: what is issued is put into etcd first. */
int gw_standby_keep(void *context, struct gw_node_id node, const uint8_t *bytes, size_t size,
		    uint64_t handle);
/* Hands over: returns when what was appended lasts and another may lead, or its time is up. */
void gw_standby_hand_over(struct daemon *daemon);
void gw_standby_end(struct daemon *daemon);

#endif
