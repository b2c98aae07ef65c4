/* The agent core's insides, shared by its files only. */
#ifndef GODWIT_AGENT_CORE_STATE_H
#define GODWIT_AGENT_CORE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/agent.h"
#include "agent/core/run.h"
#include "proto/base/arena.h"
#include "proto/base/refusal.h"
#include "proto/step.h"

#define GW_HEARTBEATS_OPEN_MAX 64u /* unanswered heartbeats whose send time is remembered */

/* A heartbeat's send time is looked up by its number, never taken from the answer's echo: a lease
 * must not be longer because a peer says so. */
struct gw_pulse {
	uint64_t number; /* of the last one sent */
	uint64_t answered;
	uint64_t sent_us[GW_HEARTBEATS_OPEN_MAX]; /* by number modulo size; 0: answered or never */
	uint64_t next_us;
	uint32_t rtt_us;
};

/* What the host is, as last told by the sampler. `info` is decoded in `arena`. */
struct gw_info {
	struct gw_arena arena;
	Godwit__NodeInfo *info; /* NULL: no sample yet */
	const uint8_t *plain;   /* [plain_size] encoded without version: to see a change */
	size_t plain_size;
	uint64_t version;
	bool draining; /* the agent is stopping */
	bool due;
};

/* The figures of the last telemetry sent that decide whether the next is worth sending. */
struct gw_told {
	uint64_t at_us;
	bool valid;                /* in this session */
	Godwit__Telemetry figures; /* scalars only */
	Godwit__Pressure pressure;
	uint64_t devices_hash; /* of utilisation and memory in coarse steps */
	uint64_t tasks_hash;   /* of which tasks there are */
};

struct gw_path_told {
	struct gw_id node;
	uint32_t rtt_us;
	uint32_t loss_ppm;
};

struct gw_paths_told {
	uint64_t at_us;
	bool valid;
	uint64_t generation;
	uint32_t count;
	struct gw_path_told *paths; /* [count] */
};

/* A log read handed to the keeper and not yet answered. */
struct gw_read {
	uint64_t stream; /* 0: free */
	uint64_t request;
	struct gw_attempt_id attempt;
	uint32_t number;
};

struct gw_agent {
	struct gw_node node; /* first */
	struct gw_agent_config config;
	struct gw_now now;
	struct gw_agent_memory memory; /* memory.c is its only writer */
	uint64_t seq;                  /* of the last record in it */
	uint64_t term_seq;   /* of the record that raised the term; 0: of an earlier agent */
	uint64_t renewed_us; /* when the last heartbeat answered was sent; 0: none by this agent */
	uint64_t lease_us;   /* shortest among the attempts alive; 0: none is */
	struct gw_runs runs;
	struct gw_pulse pulse;
	uint64_t lease_check_us;   /* no lease ends before this */
	uint64_t renewed_lease_us; /* what the last answer granted; 0: none yet */
	bool started;
	bool stopped;
	bool open; /* a session with the scheduler */
	bool inventory_due;
	uint32_t inventory_part;
	struct gw_info info;
	struct gw_told told;
	struct gw_paths_told paths;
	struct gw_read *reads; /* [config.reads_max] */
	uint32_t read_count;
	uint64_t streams_given;
	uint64_t refused;
	uint64_t thinned;
};

/* The agent inside a gw_node. */
const struct gw_agent *gw_agent_of(const struct gw_node *node);

/* A body on the state channel. False: no room, nothing sent. */
bool gw_agent_send(struct gw_agent *agent, struct gw_effects *effects, const Godwit__Body *body);
/* A Refusal: the first thing that a step says, so there is room. */
void gw_agent_refuse(struct gw_agent *agent, struct gw_effects *effects, enum gw_refusal code,
		     uint64_t request, const char *text);

/* commands.c: what the scheduler orders, and leases. */
void gw_agent_start_task(struct gw_agent *agent, const Godwit__TaskStart *ordered,
			 struct gw_effects *effects);
void gw_agent_kill_task(struct gw_agent *agent, const Godwit__TaskKill *kill,
			struct gw_effects *effects);
void gw_agent_forget_task(struct gw_agent *agent, const Godwit__TaskForget *forget,
			  struct gw_effects *effects);
/* Kills what is past its lease, and finds when to look again. */
void gw_agent_check_leases(struct gw_agent *agent);
/* mono_us at which this attempt's lease ends. */
uint64_t gw_agent_lease_end_us(const struct gw_agent *agent, const struct gw_run *run);
/* Says what is due of each attempt. False: no room for all of it. */
bool gw_agent_say_runs(struct gw_agent *agent, struct gw_effects *effects);

/* memory.c: the durable state. As the seam's operations of these names. */
int gw_agent_apply(struct gw_agent *agent, uint64_t seq, const uint8_t *bytes, size_t size);
int gw_agent_snapshot(const struct gw_agent *agent, gw_snapshot_f *piece, void *context);
int gw_agent_restore(struct gw_agent *agent, const uint8_t *bytes, size_t size);
/* Makes a term that is no lower than the last durable; it is the first thing that a step says. */
void gw_agent_take_term(struct gw_agent *agent, uint64_t term, struct gw_effects *effects);
/* Makes the renewal durable where it is due. False: no room, it is due still. */
bool gw_agent_say_renewal(struct gw_agent *agent, struct gw_effects *effects);

/* start.c: 0, or -EINVAL with the sentence for the scheduler. */
int gw_start_check(const Godwit__TaskStart *start, const struct gw_agent_config *config,
		   char *ret_text, size_t size);

/* inventory.c */
void gw_agent_ask_inventory(struct gw_agent *agent);
bool gw_agent_say_inventory(struct gw_agent *agent, struct gw_effects *effects);

/* telemetry.c */
int gw_agent_take_sample(struct gw_agent *agent, const Godwit__Telemetry *telemetry,
			 const Godwit__NodeInfo *info, struct gw_effects *effects);
bool gw_agent_say_info(struct gw_agent *agent, struct gw_effects *effects);
int gw_agent_take_paths(struct gw_agent *agent, const Godwit__PathReport *paths,
			struct gw_effects *effects);
void gw_agent_take_peers(struct gw_agent *agent, const Godwit__PeerTable *table,
			 struct gw_effects *effects);

/* logs.c */
void gw_agent_read_log(struct gw_agent *agent, uint64_t request, const Godwit__LogRead *read,
		       struct gw_effects *effects);
void gw_agent_take_output(struct gw_agent *agent, const struct gw_event *event,
			  struct gw_effects *effects);
void gw_agent_drop_reads(struct gw_agent *agent);

#endif
