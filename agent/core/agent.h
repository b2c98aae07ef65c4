/*
 * The agent's core: what a node says to its scheduler and what it lets run. Pure (proto/step.h):
 * the daemon runs it on sockets and a keeper, bench/sim on virtual time.
 *
 *	start:	gw_agent_new; restore and apply of what the journal holds; SPAWNED and EXITED for
 *		what the keeper holds (adoption); START
 *	run:	PEER_UP opens a session with the scheduler: NodeInfo, unacknowledged ends,
 *		heartbeats, and an Inventory when asked. TaskStart becomes SPAWN, TaskKill KILL,
 *		TaskForget FORGET, LogRead STREAM, PeerTable PROBE; what the keeper and the prober
 *		answer becomes TaskStatus, LogData and PathReport.
 *	stop:	STOP says "draining" and nothing else: tasks live on under the keeper.
 *
 * Running tasks need no scheduler. Each attempt has a lease; a heartbeat answered renews them all,
 * counted from when that heartbeat was sent. An attempt whose lease ends unheard is killed here.
 */
#ifndef GODWIT_AGENT_CORE_AGENT_H
#define GODWIT_AGENT_CORE_AGENT_H

#include <stdint.h>

#include "proto/base/id.h"
#include "proto/step.h"

#define GW_AGENT_RECORD_VERSION 1u
#define GW_AGENT_LEASE_US_MAX (30ull * 24 * 3600 * GW_US_PER_S)

/* The durable state, in the journal as records (proto/msg/agent_record.proto): the little that must
 * outlive the agent's process. The renewal in it may be a minute old. `renewed_us` counts only
 * within boot_id. */
struct gw_agent_memory {
	uint64_t term;        /* highest leader term seen; lower ones are refused */
	struct gw_id boot_id; /* in which renewed_us was read; zero: never renewed */
	uint64_t renewed_us;  /* mono_us at which the last heartbeat that was answered was sent */
	uint64_t lease_us;    /* shortest lease among the attempts alive at the time */
};

struct gw_agent_config {
	struct gw_node_id scheduler; /* the only peer listened to */
	uint64_t hash_key;           /* kernel randomness in a daemon, the seed in a simulation */
	uint64_t heartbeat_us;       /* between two heartbeats */
	uint64_t telemetry_us;       /* samples closer than this to the last one sent are dropped */
	uint64_t refresh_us;         /* telemetry and paths are told at least this often */
	uint64_t lease_us;           /* of an attempt whose TaskStart names none */
	uint32_t attempts_max;       /* kept, ended and unacknowledged ones included */
	uint32_t reads_max;          /* log reads open at once */
	uint32_t start_bytes_max;    /* an encoded TaskStart: what the keeper takes */
	char *task_user;             /* of a task that names none; NULL: the keeper's own */
	char *const *task_users;     /* that tasks may name besides, [task_user_count] */
	uint32_t task_user_count;
};

/* Every field but `scheduler` and `hash_key` at its default. */
struct gw_agent_config gw_agent_config_default(void);

/* NULL: out of memory. Free with gw_node_free. */
struct gw_node *gw_agent_new(const struct gw_agent_config *config);

struct gw_agent_memory gw_agent_memory(const struct gw_node *node);

/* From when leases count, for the keeper, which ends what outlives its lease should this process be
 * stopped or dead; it was told `told_us` before (0: nothing). Once it has been told of half a lease
 * without news it is told exactly, so that it never comes before the agent. 0: it knows enough. */
uint64_t gw_agent_keeper_renewal_us(const struct gw_node *node, uint64_t told_us);

/* For logs, metrics and tests. */
struct gw_agent_counts {
	uint32_t attempts;        /* in the table */
	uint32_t alive;           /* of them starting, running or ending */
	uint32_t reads;           /* log reads open */
	uint64_t refused;         /* commands refused since the start */
	uint64_t samples_thinned; /* samples not worth sending */
	uint32_t rtt_us;          /* of the last heartbeat answered; 0: none yet */
	bool connected;
};

struct gw_agent_counts gw_agent_counts(const struct gw_node *node);

#endif
