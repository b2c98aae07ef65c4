/*
 * The seam: how one code base runs in two worlds. A core (agent or scheduler) is a gw_node: events
 * go in, effects come out, and nothing else. The daemons run it on sockets and disk
 * (transport/host), the simulator on virtual time (bench/sim); the core cannot tell which.
 *
 * Rules for a core: no I/O, no clock, no randomness of its own; `now` comes with every event.
 * Rules for a host:
 *  - an effect is carried out only when everything up to its after_seq is durable;
 *  - APPEND records become durable in order; the host then feeds GW_EVENT_DURABLE;
 *  - while effects.more is set after a step, the host feeds GW_EVENT_CONTINUE (once the effects of
 *    that step were taken) until it is clear: a full list loses nothing;
 *  - at gw_node_wake_us() at the latest, the host feeds GW_EVENT_TICK.
 * Start of a core: new, then gw_node_restore for each piece of the newest snapshot, gw_node_apply
 * for each journaled record after it, then for an agent SPAWNED and EXITED for what the keeper
 * holds, then START.
 */
#ifndef GODWIT_PROTO_STEP_H
#define GODWIT_PROTO_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/id.h"
#include "proto/base/time.h"
#include "proto/wire.h"

enum gw_event_kind {
	GW_EVENT_START,
	GW_EVENT_MESSAGE, /* a body from a peer, in order, once */
	GW_EVENT_TICK,    /* the time asked for by wake_us has come */
	GW_EVENT_DURABLE, /* records up to seq are durable */
	GW_EVENT_SAMPLE,  /* agent: fresh telemetry */
	GW_EVENT_SPAWNED, /* agent: an attempt runs, or could not be started, or is about to run */
	GW_EVENT_EXITED,  /* agent: an attempt ended */
	GW_EVENT_OUTPUT,  /* agent: answer to a STREAM effect */
	GW_EVENT_SUBMIT,  /* scheduler: a client's request */
	GW_EVENT_PLANNED, /* scheduler: a planner's result */
	GW_EVENT_PEER_UP, /* a session with a peer is open */
	GW_EVENT_PEER_DOWN, /* it is not */
	GW_EVENT_ROLE,      /* scheduler: leader of this term, or follower */
	GW_EVENT_OBSERVED,  /* agent: facts of the data plane, path measurements */
	GW_EVENT_CONTINUE,  /* room for more effects */
	GW_EVENT_STOP,      /* orderly end: say goodbye, then wake_us returns GW_NEVER_US */
};

/* An authenticated peer, as its certificate says. Strings are valid during the step. */
struct gw_peer {
	struct gw_node_id node;
	struct gw_id tenant;
	uint32_t roles; /* bit set: 1 << Godwit__Role */
	const char *name;
	const char *site;
	const char *region;
	const char *provider;
};

enum gw_channel {
	GW_CHANNEL_STATE,     /* sequenced, in order, once per session */
	GW_CHANNEL_HEARTBEAT, /* unsequenced, newest matters, may be lost */
};

struct gw_event {
	enum gw_event_kind kind;
	struct gw_now now;

	union {
		struct {
			const struct gw_peer *peer;
			enum gw_channel channel;
			const Godwit__Body
				*body; /* decoded, within limits; valid during the step */
			uint64_t term; /* of the envelope */
		} message;

		struct {
			uint64_t seq;
		} durable;

		struct {
			const Godwit__Telemetry *telemetry; /* tasks' usage included */
			const Godwit__NodeInfo *info;       /* NULL: unchanged since last time */
		} sample;

		struct {
			struct gw_attempt_id attempt;
			uint32_t pid;
			bool starting;                   /* neither yet, told to a new agent */
			const char *error;               /* NULL: it runs */
			bool declined;                   /* the error is not the task's doing */
			const char *const *not_enforced; /* [not_enforced_count] "memory: why" */
			size_t not_enforced_count;
		} spawned;

		struct {
			struct gw_attempt_id attempt;
			enum _Godwit__AttemptState state; /* EXITED, LOST or TOMBSTONE */
			uint32_t exit_code;
			uint32_t signal;
			const char *error; /* what the keeper remarks on the end; NULL: nothing */
			const Godwit__Usage *usage;
		} exited;

		struct {
			uint64_t stream; /* of the STREAM effect */
			uint64_t offset;
			const uint8_t *bytes;
			size_t size;
			bool end;
			const char *error; /* NULL: none */
		} output;

		struct {
			uint64_t request; /* handle of the host, echoed in REPLY */
			const struct gw_peer *user;
			const Godwit__Body *body;
		} submit;

		struct {
			uint64_t plan;
			void *result; /* made by the plan's function; the core frees it */
		} planned;

		struct {
			const struct gw_peer *peer;
			bool resumed; /* same epoch pair: nothing was lost in between */
		} peer_up;

		struct {
			struct gw_node_id node;
			const char *reason;
		} peer_down;

		struct {
			bool leader;
			uint64_t term;
		} role;

		struct {
			const Godwit__PathReport *paths;
		} observed;
	};
};

enum gw_effect_kind {
	GW_EFFECT_SEND,   /* a body to a peer */
	GW_EFFECT_APPEND, /* a record to the journal */
	GW_EFFECT_SPAWN,  /* agent: start an attempt */
	GW_EFFECT_KILL,   /* agent: end an attempt (a tombstone if it never came) */
	GW_EFFECT_FORGET, /* agent: the scheduler has it; exit record and output may go */
	GW_EFFECT_STREAM, /* agent: read a task's output, answer with OUTPUT */
	GW_EFFECT_PROBE,  /* agent: probe these peers from now on */
	GW_EFFECT_REPLY,  /* scheduler: answer a client */
	GW_EFFECT_PLAN,   /* scheduler: run a planner on a worker, answer with PLANNED */
	GW_EFFECT_REVOKE, /* scheduler: refuse this identity from now on, shut its connection */
};

/* Runs on a worker thread, reads only `snapshot`, counts its work, reads no clock. Returns the
 * result for PLANNED. The snapshot is the function's to free. */
typedef void *gw_plan_f(void *snapshot, uint64_t work_units, uint64_t seed);

struct gw_effect {
	enum gw_effect_kind kind;
	uint64_t after_seq; /* carried out once this sequence is durable; 0: at once */

	union {
		struct {
			struct gw_node_id peer;
			enum gw_channel channel;
			const uint8_t
				*bytes; /* encoded Body; here and below: in the list's arena */
			size_t size;
		} send;

		struct {
			uint64_t seq;
			const uint8_t *bytes; /* encoded Record */
			size_t size;
		} append;

		struct {
			struct gw_attempt_id attempt;
			const uint8_t *bytes; /* encoded TaskStart */
			size_t size;
		} spawn;

		struct {
			struct gw_attempt_id attempt;
			uint64_t grace_us;
			bool lease_ended; /* nobody ordered it: the end is told as LOST */
		} kill;

		struct {
			struct gw_attempt_id attempt;
		} forget;

		struct {
			uint64_t stream; /* handle of the core, echoed in OUTPUT */
			struct gw_attempt_id attempt;
			uint32_t number; /* 1 stdout, 2 stderr */
			uint64_t offset;
			uint32_t bytes_max;
			uint32_t wait_us;
		} stream;

		struct {
			const uint8_t *bytes; /* encoded PeerTable */
			size_t size;
		} probe;

		struct {
			uint64_t request;
			const uint8_t *bytes; /* encoded Body */
			size_t size;
		} reply;

		struct {
			uint64_t plan;
			gw_plan_f *run;
			void *snapshot;
			uint64_t work_units;
			uint64_t seed;
		} plan;

		struct {
			struct gw_node_id node;
		} revoke;
	};
};

/* What one step wants done. The host owns the memory and empties it after each step. */
struct gw_effects {
	struct gw_effect *list; /* [capacity] */
	uint32_t count;
	uint32_t capacity;
	struct gw_arena arena; /* of the bytes in list */
	bool more;             /* the core has more to say: feed CONTINUE */
};

/* 0; -ENOMEM. `arena_bytes` must hold at least one message of GW_MESSAGE_BYTES_MAX. */
int gw_effects_init(struct gw_effects *effects, uint32_t capacity, size_t arena_bytes);
void gw_effects_deinit(struct gw_effects *effects);
void gw_effects_clear(struct gw_effects *effects);
/* The next free effect, zeroed, of this kind; NULL: full (set `more`, keep the work dirty). */
struct gw_effect *gw_effects_add(struct gw_effects *effects, enum gw_effect_kind kind,
				 uint64_t after_seq);
/* True while at least `count` effects and a message of the largest size still fit. */
bool gw_effects_room(const struct gw_effects *effects, uint32_t count);
/* Adds a SEND or REPLY with the encoded body. False: no room, nothing added. */
bool gw_effects_send(struct gw_effects *effects, struct gw_node_id peer, enum gw_channel channel,
		     uint64_t after_seq, const Godwit__Body *body);
bool gw_effects_reply(struct gw_effects *effects, uint64_t request, uint64_t after_seq,
		      const Godwit__Body *body);

/* Where the effect points at its bytes, so that a host that keeps a copy can point it there; NULL:
 * it has none. */
const uint8_t **gw_effect_bytes(struct gw_effect *effect, size_t *ret_size);

struct gw_node;

/* Takes one piece of a snapshot, of up to GW_MESSAGE_BYTES_MAX. 0; negative errno ends it. */
typedef int gw_snapshot_f(void *context, const uint8_t *bytes, size_t size);

struct gw_node_ops {
	/* 0; negative errno: the core cannot go on and the process must stop. */
	int (*step)(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects);
	uint64_t (*wake_us)(const struct gw_node *node);
	/* Replays one record. 0; -EPROTO: not a record that this version knows. */
	int (*apply)(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size);
	/* Writes the durable state as pieces for restore, in order. Changes nothing. */
	int (*snapshot)(const struct gw_node *node, gw_snapshot_f *piece, void *context);
	/* Takes the next piece, before any apply. 0; -EPROTO: not one that this version knows, or
	 * out of place; -ENOMEM. */
	int (*restore)(struct gw_node *node, const uint8_t *bytes, size_t size);
	/* Sequence of the last record in the durable state; 0: none. */
	uint64_t (*seq)(const struct gw_node *node);
	/* A hash of the durable state: equal states, equal digests. */
	uint64_t (*digest)(const struct gw_node *node);
	void (*free)(struct gw_node *node);
};

/* First member of every core. */
struct gw_node {
	const struct gw_node_ops *ops;
};

int gw_node_step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects);
/* Next mono_us at which the core wants a TICK; GW_NEVER_US: none. */
uint64_t gw_node_wake_us(const struct gw_node *node);
int gw_node_apply(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size);
/* 0; negative errno of `piece`, or -ENOMEM. Safe in a child after fork: it only allocates. */
int gw_node_snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context);
int gw_node_restore(struct gw_node *node, const uint8_t *bytes, size_t size);
uint64_t gw_node_seq(const struct gw_node *node);
uint64_t gw_node_digest(const struct gw_node *node);
void gw_node_free(struct gw_node *node); /* NULL is fine */

#endif
