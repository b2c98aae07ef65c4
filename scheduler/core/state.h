/*
 * The scheduler's state, shared by the files of this folder and by nobody else.
 *
 * Three kinds of members, marked: durable (written by apply alone), derived (follows from durable,
 * kept by apply too), soft (liveness, telemetry, timers; gone with the process).
 */
#ifndef GODWIT_SCHEDULER_CORE_STATE_H
#define GODWIT_SCHEDULER_CORE_STATE_H

#include "proto/base/heap.h"
#include "proto/base/limits.h"
#include "proto/base/refusal.h"
#include "proto/base/table.h"
#include "proto/step.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/place/plan.h"

#define TASK_LOSSES_MAX 16u /* attempts lost with their node until a task has failed */
#define GANG_TASKS_MAX GW_GRID_TASKS_MAX
#define PRIORITY_MAX 1000u
#define USERS_MAX 100000u
#define STRAYS_MAX 10000u
#define LABELS_MAX 60000u /* different labels, and different device types */
#define LOG_REQUESTS_MAX 1024u
#define QUERY_PLANS_MAX 16u        /* dry runs and explanations under way */
#define PEERS_MAX 512u             /* in one PeerTable */
#define INFO_BYTES_MAX (16u << 10) /* of one node's info, and of its telemetry */
#define LEASE_US_MIN (10 * GW_US_PER_S)
#define PEERS_DELAY_US GW_US_PER_S /* between a change of sites and the new peer tables */
#define LOG_WAIT_US_MAX (30 * GW_US_PER_S)
#define LOG_GRACE_US (10 * GW_US_PER_S)
#define ERROR_BYTES_MAX 500u /* of a task's error text kept */
#define NOTE_BYTES_MAX 200u  /* of one limit that a node cannot hold */
#define NOTES_MAX 16u
#define EARLIER_MAX 8u /* of a task: attempts before the last whose output can be found */
#define DECLINED_US_MIN GW_US_PER_S        /* that a node takes nothing after it has declined */
#define DECLINED_US_MAX (64 * GW_US_PER_S) /* doubled each time until something starts there */
#define REBOOTED "its host was rebooted"
#define EPOCHS_MAX 64u                 /* closed ones that are remembered */
#define RECORDS_LOST_MAX 1000u         /* times that it is put on record */
#define TERM_SEEN_MAX (UINT64_MAX / 2) /* none is later that a leader has ever had */
#define SNAPSHOT_VERSION 1u

enum task_state {
	TASK_WAITING,   /* no attempt holds a place */
	TASK_PLACED,    /* an attempt has a place; its node has not said that it runs */
	TASK_RUNNING,   /* its node said so */
	TASK_SUCCEEDED, /* an attempt ended with exit 0 */
	TASK_FAILED,    /* no try is left */
	TASK_CANCELLED, /* the job was cancelled, or its gang failed */
};

#define TASK_STATES 6u

enum job_state {
	JOB_WAITING,   /* all tasks wait */
	JOB_RUNNING,   /* some task has, or had, a place */
	JOB_ENDING,    /* cancelled or failed, and attempts still hold places */
	JOB_SUCCEEDED, /* all tasks succeeded */
	JOB_FAILED,    /* ended, not all succeeded */
	JOB_CANCELLED, /* cancelled, nothing runs */
};

#define JOB_STATES 6u

enum node_state {
	NODE_UNKNOWN, /* silent, or not heard since this scheduler started */
	NODE_JOINING, /* a session, but its inventory is not complete */
	NODE_UP,
	NODE_DRAINING, /* up, takes nothing new */
	NODE_LOST,     /* silent, and no attempt on it can still run */
	NODE_REVOKED,
};

enum timer_kind {
	TIMER_NODE,
	TIMER_TASK,
	TIMER_LOG,
	TIMER_PEERS,
};

struct timer {
	struct gw_heap_item item; /* first */
	enum timer_kind kind;
};

struct site {
	char name[GW_NAME_BYTES_MAX + 1]; /* key, zero-padded */
	uint32_t index;
	struct node *nodes; /* derived: through site_next, as admitted */
	struct node *nodes_last;
	uint32_t node_count;
	struct node *prober; /* soft: whom the others probe, and who probes them */
};

struct node {
	struct gw_node_id id; /* key */
	/* durable */
	char name[GW_NAME_BYTES_MAX + 1];
	char provider[GW_NAME_BYTES_MAX + 1];
	struct gw_id boot_id; /* of its host, by its last inventory; zero: none yet */
	struct site *site;
	bool revoked;
	/* derived */
	uint32_t index; /* in the table, from which no node is ever taken */
	struct node *site_next;
	struct task *tasks; /* that hold a place here, through next and prev */
	uint32_t task_count;
	uint32_t cpu_milli_used;
	uint64_t memory_bytes_used;
	uint64_t ports_used[GW_GRID_PORT_WORDS]; /* within the range that info gives */
	uint16_t devices_used;
	/* soft: what it is */
	uint8_t *info_bytes; /* encoded NodeInfo; NULL: none yet */
	size_t info_size;
	uint8_t *telemetry_bytes;
	size_t telemetry_size;
	struct gw_grid_node total; /* its capacity as the grid sees it, all free */
	char *device_uuids[GW_GRID_DEVICES_MAX];
	struct label *labels[GW_GRID_LABELS_MAX + GW_GRID_DEVICES_MAX]; /* that total refers to */
	uint32_t label_count;
	char address[GW_NAME_BYTES_MAX + 1];
	uint32_t probe_port;
	bool draining;
	char *reason;               /* why it takes no work, as it last said; NULL: it did not */
	uint64_t declined_until_us; /* it has declined a start, and gets none until then; 0: not */
	uint64_t declined_us; /* how long that was, the last time; 0: something started since */
	bool shrunk;          /* it has less than its tasks hold already */
	char *not_enforced;   /* what it last said of limits that it cannot hold, one a line */
	/* soft: how it is */
	enum node_state state;
	bool session;
	bool reconciled; /* this session's inventory is complete */
	bool silent;
	bool rebooted;       /* its host was, before this session's inventory */
	bool loss_told;      /* a loss of records was found in this session */
	uint64_t unheard_us; /* how long it was, last time; 0: never for long */
	uint64_t back_us;    /* since when it is back */
	bool was_rebooted;   /* its host was, then */
	uint32_t inventory;  /* number of the exchange, so that tasks can be marked */
	uint32_t inventory_part;
	uint32_t stray_count;
	uint64_t heard_us;
	uint64_t answered_us;       /* when a heartbeat was last answered: leases count from here */
	uint64_t heartbeat_mono_us; /* that heartbeat's own time, by the agent's clock; 0: none
				       yet in this session, so nothing is started there */
	uint32_t rtt_us;
	uint64_t received; /* state bodies of this session, to compare with what it says it sent */
	uint64_t sent;
	uint64_t received_mark; /* `received`, and what it had received, at its last heartbeat */
	uint64_t sent_mark;
	uint64_t progress_us; /* when the state channel last was level with that, or moved on */
	uint64_t peers_hash;  /* of the peer table it has; 0: none */
	struct log_request *logs;
	struct timer timer;
};

/* What an attempt used, as its node said at its end. */
struct usage {
	uint64_t wall_us;
	uint64_t cpu_user_us;
	uint64_t cpu_system_us;
	uint64_t memory_peak_bytes;
	uint64_t output_bytes;
};

/* An attempt that was given up for its node's silence, and may come back. Durable. */
struct former {
	struct node *node;
	uint32_t attempt;
	uint32_t rtt_us;
	uint16_t port;
	uint16_t port_count;
	char *devices;
	int64_t started_wall_us; /* 0: it was never heard to run */
};

/* Where attempts before the last one ran. Durable. */
struct earlier {
	uint32_t count;

	struct {
		struct node *node;
		uint32_t attempt;
	} ran[EARLIER_MAX]; /* oldest first */
};

struct task {
	struct job *job;
	struct task *next; /* of its job's waiting list, or of its node's list, by state */
	struct task *prev;
	/* durable */
	struct node *node; /* of the latest attempt; NULL: never placed */
	uint32_t index;
	uint32_t attempt;      /* that counts */
	uint32_t attempt_last; /* highest number given */
	uint32_t failures;
	uint32_t losses;
	uint8_t state; /* enum task_state */
	bool ended;    /* the end of its attempt is on record */
	bool unheard;  /* its attempt was lost by silence alone */
	bool declined; /* its node did not begin its attempt */
	uint16_t port;
	uint16_t port_count;
	uint32_t rtt_us;
	uint32_t exit_code;
	uint32_t signal;
	char *devices; /* uuids, comma after each; NULL: none */
	char *error;
	struct usage usage;
	int64_t started_wall_us; /* 0: the attempt was not heard to run */
	struct former *former;   /* NULL: none */
	struct earlier *earlier; /* NULL: none */
	/* soft */
	uint64_t sent_us;   /* when its start was decided: the lease counts from here at least */
	uint32_t inventory; /* number of the exchange that named it */
	bool sent;          /* the start may have left */
	bool due;           /* in the due list */
	bool over_time;     /* killed for its time limit */
	struct task *due_next;
	struct timer timer; /* of the time limit */
};

struct job {
	struct gw_job_id id; /* key */
	/* durable */
	char name[GW_NAME_BYTES_MAX + 1];
	char owner_name[GW_NAME_BYTES_MAX + 1];
	struct gw_node_id owner;
	struct gw_id tenant;
	struct gw_id nonce;  /* zero: none */
	uint8_t *spec_bytes; /* encoded JobSpec */
	size_t spec_size;
	int64_t submitted_wall_us;
	int64_t ended_wall_us;
	bool cancelled;
	bool doomed;       /* a gang without tries left */
	bool restarting;   /* a gang whose attempts must all end before it starts again */
	uint32_t failures; /* of a gang */
	uint8_t state;     /* enum job_state */
	struct gw_prediction prediction;
	char *bottleneck;   /* the text that it points at */
	struct task *tasks; /* [task_count] */
	/* derived: hot parts of the spec */
	uint32_t task_count;
	bool gang;
	enum gw_spread spread;
	struct gw_need need;
	uint32_t priority;
	uint32_t attempts_max;
	uint32_t rtt_us_max;
	uint64_t lease_us;
	uint64_t lost_after_us; /* 0: the lease */
	uint8_t replace;        /* Godwit__Replace */
	uint8_t reconcile;      /* Godwit__Reconcile */
	uint64_t time_limit_us;
	uint64_t grace_us;
	struct gw_serve_model model;
	/* derived */
	uint32_t counts[TASK_STATES];
	struct task *waiting; /* first and last of the waiting list */
	struct task *waiting_last;
	uint64_t order; /* of acceptance */
	bool queued;    /* in its share's queue */
	struct job *queue_next;
	struct job *queue_prev;
	struct job *ended_next;
	struct job *newer;
	struct job *older;
	struct share *share;
	struct nonce *nonce_entry;
	/* soft */
	char *wait_reason; /* NULL: none */
};

/* An owner of jobs that are kept. Derived. */
struct user {
	struct gw_node_id id; /* key */
	struct share *shares;
	uint32_t jobs;
	uint32_t waiting;        /* tasks */
	uint64_t cpu_milli_held; /* by tasks that hold places; and below */
	uint64_t memory_bytes_held;
	uint64_t devices_held;
};

/* The jobs of one user and priority that want a plan, first come first. Derived, but for the
 * cursor. */
struct share {
	struct user *user;
	struct share *user_next;
	uint32_t priority;
	struct job *first;
	struct job *last;
	struct share *next; /* of its priority, while it has jobs */
	struct share *prev;
	/* soft */
	struct job *cursor; /* what the next plan looks at; NULL: all were looked at */
	struct job *deep;   /* where it goes on after head_left more jobs, if that is not 0 */
	uint32_t head_left;
	uint32_t picked;      /* in this plan */
	uint64_t pass;        /* that the cursor knows of; in a newer one it begins at the head */
	uint64_t plan_resume; /* plan that set the cursor back */
};

/* An identity that may speak no more. Durable. */
struct revoked {
	struct gw_node_id id; /* key */
};

struct nonce_key {
	struct gw_node_id owner;
	struct gw_id nonce;
};

struct nonce {
	struct nonce_key key;
	struct job *job;
};

struct stray_key {
	struct gw_attempt_id attempt;
	struct gw_node_id node;
};

/* An attempt that a node runs and that the scheduler no longer counts on. */
struct stray {
	struct stray_key key;
	struct node *node;
	bool killed;
};

/* Texts as numbers, for the grid. */
struct label {
	uint64_t hash;   /* key: of the text; equal hashes are compared below */
	uint32_t number; /* from 1 */
	uint32_t nodes;  /* that have it, as often as they say it */
	char *text;
};

struct log_request {
	uint64_t number;  /* key */
	uint64_t request; /* of the client */
	struct node *node;
	struct log_request *next;
	struct log_request *prev;
	struct timer timer;
};

enum plan_kind {
	PLAN_SCHEDULE,
	PLAN_DRY_RUN,
	PLAN_EXPLAIN,
};

struct plan_open {
	uint64_t number; /* key */
	enum plan_kind kind;
	uint64_t request;
	struct gw_job_id job;
	char text[GW_PLAN_REASON_BYTES]; /* explain: of the job as a whole */
};

struct pair {
	uint32_t rtt_us; /* GW_GRID_RTT_UNKNOWN_US: not measured */
	uint32_t loss_ppm;
	uint64_t at_us;
};

struct out_item {
	struct out_item *next;
	struct gw_effect effect;
	uint8_t bytes[];
};

struct scheduler {
	struct gw_node node; /* first */
	struct gw_scheduler_config config;
	char region[GW_NAME_BYTES_MAX + 1];

	/* durable */
	uint64_t seq; /* of the last record */
	uint64_t term;
	uint32_t epoch;
	uint64_t next_job; /* counter of ids within the epoch */

	struct {
		uint64_t next_job;
		uint32_t epoch;
	} epochs[EPOCHS_MAX]; /* closed ones, oldest first */

	uint32_t epoch_count;
	uint32_t records_lost; /* times that a node knew what records should have told */
	char records_lost_text[ERROR_BYTES_MAX + 1];
	struct gw_table jobs;
	struct gw_table nodes;
	struct gw_table sites;
	struct gw_table revoked;

	/* derived */
	struct gw_table nonces;
	struct gw_table users;
	struct share *queues[PRIORITY_MAX + 1]; /* shares with jobs, in no order that matters */
	struct job *newest;                     /* of all, through older: the table has no order */
	struct job *ended_first;                /* oldest first, for eviction */
	struct job *ended_last;
	uint32_t task_total; /* of all jobs, and of the ended ones among them */
	uint32_t task_total_ended;
	uint32_t ended_count;
	uint64_t job_order;

	/* while pieces of a snapshot are taken */
	struct {
		uint32_t part;      /* next */
		uint32_t task_next; /* of the job under way */
		uint64_t held;      /* tasks linked to nodes */
		bool counted;       /* jobs are complete, and lists may follow */
		bool open;          /* the last piece has not come: no record may be applied */
	} restore;

	/* soft */
	struct gw_table labels;
	uint32_t label_number; /* the last given */
	struct gw_table strays;
	struct gw_table logs;
	struct gw_table plans;
	struct gw_heap timers;
	uint64_t timer_order;
	struct pair *pairs; /* [pair_sites][pair_sites] */
	uint32_t pair_sites;
	struct timer peers_timer;
	uint64_t peers_generation;
	uint32_t peers_next; /* node whose table is next in the round under way; 0: none is */
	bool peers_again;    /* sites changed during the round */
	uint64_t plan_pass;  /* grows when capacity has changed: each share begins at its head */
	bool plan_wanted;    /* some cursor may stand at a job */
	bool plan_running;
	uint64_t plan_number;
	uint64_t log_number;
	uint32_t cpu_milli_max; /* of any node, for admission */
	uint64_t memory_bytes_max;
	uint64_t cpu_milli_total; /* of all nodes, for fair shares */
	uint64_t memory_bytes_total;
	uint64_t devices_total;
	bool maxima_stale;
	struct task *due_first;
	struct task *due_last;

	uint64_t term_seen; /* the latest that a node has heard a leader of */
	bool started;
	bool leader;
	bool stopped;
	uint64_t started_us;
	struct gw_now now;
	int error;                  /* the process must stop */
	struct gw_effects *effects; /* during a step */
	struct out_item *out_first; /* what did not fit there */
	struct out_item *out_last;
	struct gw_arena arena;      /* of one step's texts and messages */
	struct gw_arena spec_arena; /* of the one decoded spec */
	const Godwit__JobSpec *spec;
	struct gw_job_id spec_job;
};

/* Generated structs have no const: for texts and messages that the callee only reads. */
static inline char *unconst(const char *text)
{
	union {
		const char *from;
		char *to;
	} pointer = {.from = text};

	return pointer.to;
}

/* outbox.c: what a step wants done; after_seq is the last record's. */
void out_append(struct scheduler *s, uint64_t seq, const uint8_t *bytes, size_t size);
void out_send(struct scheduler *s, struct node *node, const Godwit__Body *body);
void out_heartbeat(struct scheduler *s, struct node *node, const Godwit__Body *body);
/* Also to a peer that is not a node of ours. */
void out_refuse_peer(struct scheduler *s, struct gw_node_id peer, uint32_t code, uint64_t request,
		     const char *text);
void out_reply(struct scheduler *s, uint64_t request, const Godwit__Body *body);
/* Of what no record changes: also while the journal hangs. */
void out_reply_at_once(struct scheduler *s, uint64_t request, const Godwit__Body *body);
void out_refuse(struct scheduler *s, uint64_t request, uint32_t code, const char *text);
void out_revoke(struct scheduler *s, struct gw_node_id node);
void out_plan(struct scheduler *s, uint64_t plan, struct gw_grid *grid);
void out_flush(struct scheduler *s);
void out_clear(struct scheduler *s);
/* Room to begin something that can wait. */
bool out_room(struct scheduler *s);
/* Text in the step's arena; "" when it is full. */
char *out_text(struct scheduler *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void out_failed(struct scheduler *s, int error);

/* apply.c: the only writer of durable state. A record is appended and applied at once. */
void apply_commit(struct scheduler *s, Godwit__Record *record);
int apply_bytes(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size);
/* `attempt` is the one that counts, or its task's former one that has ended. */
void apply_task_changed(struct scheduler *s, struct gw_attempt_id attempt,
			Godwit__TaskChange change, const Godwit__TaskStatus *status,
			const char *error);
/* Given up for its node's silence. */
void apply_task_unheard(struct scheduler *s, struct task *task, const char *error);
/* The former attempt counts again. */
void apply_task_kept(struct scheduler *s, struct task *task);
void former_free(struct task *task);
/* The node of an attempt; NULL: not known any more, or it never was. */
struct node *attempt_node(const struct task *task, uint32_t attempt);

/* jobs.c */
/* Bounds that the state itself stands on; admission asks for more. */
bool job_spec_sound(const Godwit__JobSpec *spec);
/* `spec_bytes` (copied) are `spec` encoded. Its tasks wait, and stand in no list yet. */
struct job *job_new(struct gw_job_id id, const Godwit__JobSpec *spec, const uint8_t *spec_bytes,
		    size_t spec_size);
/* All tasks wait, in order. */
void job_link_tasks(struct job *job);
void job_free(struct job *job);
/* 0; -ENOMEM. */
int job_note_prediction(struct job *job, const Godwit__Prediction *prediction);
/* apply and restore only. Takes the job. 0; negative errno. */
int job_add(struct scheduler *s, struct job *job);
/* The oldest ended jobs make room, for one job among `jobs_max` and its tasks. */
void jobs_evict(struct scheduler *s, uint32_t jobs_max, uint32_t task_count);
struct job *job_find(const struct scheduler *s, struct gw_job_id id);
/* The decoded spec, valid until the next call. NULL: out of memory (the step fails). */
const Godwit__JobSpec *job_spec(struct scheduler *s, const struct job *job);
bool job_ended(const struct job *job);
/* Brings state, queue and ended list in line with the counts; apply calls it after each change. */
void job_settle(struct scheduler *s, struct job *job, int64_t wall_us);
/* Does it want a plan? */
bool job_wants(const struct job *job);
/* Puts the job last in the list. False: it does not belong there, or is there. */
bool job_link_ended(struct scheduler *s, struct job *job);
bool job_link_queued(struct scheduler *s, struct job *job);
/* restore only: what follows from the counts of its tasks. False: no job can be so. */
bool job_restored(struct job *job);
const char *job_state_name(enum job_state state);
bool job_may_follow(enum job_state from, enum job_state to);
const char *job_invariant(enum job_state state);

/* tasks.c */
const char *task_state_name(enum task_state state);
bool task_may_follow(enum task_state from, enum task_state to);
const char *task_invariant(enum task_state state);
bool task_held(const struct task *task);
bool task_kill_wanted(const struct task *task);
struct gw_attempt_id task_attempt(const struct task *task);
/* NULL: no such job or index. */
struct task *task_find(const struct scheduler *s, struct gw_attempt_id attempt);
/* apply only: moves between states and lists, and accounts on the node. */
void task_set_state(struct task *task, enum task_state state);
/* To the end of its job's waiting list; to the head of its node's, and on its account. */
void task_link_waiting(struct task *task);
void task_link_held(struct task *task);
void task_note_usage(struct task *task, const Godwit__Usage *usage);
void task_usage(const struct task *task, Godwit__Usage *ret_usage);
void task_due(struct scheduler *s, struct task *task);
void tasks_due_kills(struct scheduler *s, struct job *job);
void tasks_run_due(struct scheduler *s);
void task_status(struct scheduler *s, struct node *node, const Godwit__TaskStatus *status);
void task_lost(struct scheduler *s, struct task *task, const char *why);
void task_forget(struct scheduler *s, struct node *node, struct gw_attempt_id attempt);
void task_timer(struct scheduler *s, struct task *task);
/* After a restart: the rest of a running task's time limit. */
void task_timer_resume(struct scheduler *s, struct task *task);
/* What follows from a committed change of a task: kills, timers, plans. */
void task_after(struct scheduler *s, struct task *task);

/* starts.c */
/* The uuids of the task's devices, in the step's arena. */
char **task_devices(struct scheduler *s, const struct task *task, size_t *ret_count);
void start_send(struct scheduler *s, struct task *task);

/* sites.c */
struct node *node_find(const struct scheduler *s, struct gw_node_id id);
struct site *site_find(const struct scheduler *s, const char *name);
/* apply only. NULL: past a limit. */
struct node *node_admit(struct scheduler *s, const Godwit__NodeAdmitted *admitted);
void node_free(struct node *node);
/* apply and restore only. NULL: no memory, or past a limit. */
struct node *node_new(struct scheduler *s, struct gw_node_id id);
struct site *site_admit(struct scheduler *s, const char *name);
void site_add(struct site *site, struct node *node);
/* apply and restore only. 0; -ENOMEM; -EPROTO: it is revoked already. */
int node_revoke(struct scheduler *s, struct gw_node_id id);
/* It speaks: if it was unheard for long, for how long is kept in mind. */
void node_note_back(struct scheduler *s, struct node *node);
/* What its inventory says of its host. */
void node_boot(struct scheduler *s, struct node *node, ProtobufCBinaryData boot_id);
bool node_ready(const struct node *node);
const char *node_state_name(enum node_state state);
void node_update(struct scheduler *s, struct node *node);
/* It did not begin an attempt, and why: for a while it is given none. */
void node_declined(struct scheduler *s, struct node *node, const char *why);
void node_peer_up(struct scheduler *s, const struct gw_peer *peer, bool resumed);
void node_peer_down(struct scheduler *s, struct gw_node_id id);
void node_info(struct scheduler *s, struct node *node, const Godwit__NodeInfo *info);
void node_telemetry(struct scheduler *s, struct node *node, const Godwit__Telemetry *telemetry);
/* Puts a task's resources on the node's account, or takes them off. */
void node_account(struct node *node, const struct task *task, bool add);
/* Does this need fit besides what the node holds? Ports and devices by name. */
bool node_fits(const struct node *node, const struct gw_need *need, uint32_t port,
	       uint16_t devices);
/* Which of a task's devices and how many of its ports are among those that the node now has. */
uint32_t node_ports_of(const struct node *node, const struct task *task);
uint16_t node_device_bits(const struct node *node, const char *uuids);
/* GW_LABEL_UNKNOWN: no node has it. */
uint32_t node_label_number(const struct scheduler *s, const char *text);
void node_maxima(struct scheduler *s);

/* paths.c: RTT between sites and who probes whom. */
struct pair *pair_of(const struct scheduler *s, uint32_t from, uint32_t to);
void paths_report(struct scheduler *s, struct node *node, const Godwit__PathReport *report);
void paths_sites_changed(struct scheduler *s);
void paths_send_tables(struct scheduler *s);

/* losses.c: signs that records were lost. */
void loss_of_attempt(struct scheduler *s, struct node *node, struct gw_attempt_id attempt);
void loss_of_term(struct scheduler *s, struct node *node, uint64_t term_seen);
/* apply only. */
void epoch_close(struct scheduler *s);

/* leases.c */
void lease_heartbeat(struct scheduler *s, struct node *node, const Godwit__Heartbeat *heartbeat);
void lease_check(struct scheduler *s, struct node *node);
/* When the attempt is called lost if its node stays silent: not before its lease has certainly
 * ended, unless its job permits a double. */
uint64_t lease_lost_us(const struct scheduler *s, const struct task *task);
/* The same, if its job replaces it then; else GW_NEVER_US. */
uint64_t lease_give_up_us(const struct scheduler *s, const struct task *task);
void timer_set(struct scheduler *s, struct timer *timer, uint64_t at_us);
void timer_clear(struct scheduler *s, struct timer *timer);

/* reconcile.c */
void reconcile_begin(struct scheduler *s, struct node *node);
void reconcile_part(struct scheduler *s, struct node *node, const Godwit__Inventory *inventory);
/* An attempt that a node reports and that is not the one counted on. */
void stray_report(struct scheduler *s, struct node *node, struct gw_attempt_id attempt,
		  const Godwit__TaskStatus *status);
void strays_of_task(struct scheduler *s, const struct task *task);
void strays_of_node(struct scheduler *s, struct node *node);

/* plans.c */
void plans_run(struct scheduler *s);
void plans_planned(struct scheduler *s, uint64_t number, struct gw_plan_result *plan);
void plans_dry_run(struct scheduler *s, uint64_t request, const Godwit__JobSpec *spec);
void plans_explain(struct scheduler *s, uint64_t request, struct job *job);

/* A job to be planned, and how many of its waiting tasks. */
struct pick {
	const struct job *job;
	uint32_t task_count; /* of a gang: all */
};

/* fair.c: which jobs the next plan looks at. */
void fair_wake(struct scheduler *s);
/* Moves the cursors over what is picked, in ret_list [GW_GRID_REQUESTS_MAX]; returns the count. */
uint32_t fair_pick(struct scheduler *s, struct pick *ret_list);
/* The next plan goes on with this job, or with the one after it. */
void fair_resume(struct scheduler *s, struct job *job, bool after, uint64_t plan);
/* apply and restore only. NULL: no memory, or past the limit of users. */
struct share *share_ref(struct scheduler *s, struct gw_node_id owner, uint32_t priority);
void share_unref(struct scheduler *s, struct share *share);
void user_free(struct user *user);
void share_add(struct scheduler *s, struct share *share, struct job *job);
void share_remove(struct scheduler *s, struct share *share, struct job *job);
void share_account(struct share *share, const struct gw_need *need, bool add);

/* grids.c: the snapshot for a plan of these. */
struct gw_grid *grid_make(struct scheduler *s, const struct pick *picks, uint32_t pick_count);

/* admit.c */
void admit_submit(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		  const Godwit__SubmitRequest *submit);
/* One sentence in ret_text why the spec cannot be accepted; NULL: it can. */
const char *admit_check(struct scheduler *s, const Godwit__JobSpec *spec);

/* snapshot.c, restore.c */
int snapshot_write(const struct gw_node *node, gw_snapshot_f *piece, void *context);
int restore_piece(struct gw_node *node, const uint8_t *bytes, size_t size);

/* check.c */
uint64_t check_digest(const struct gw_node *node);

/* query.c */
void query_submit(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		  const Godwit__Body *body);
bool query_may_see(const struct gw_peer *user, const struct job *job);
void query_prediction(const struct gw_prediction *prediction, Godwit__Prediction *ret);

/* logs.c */
void logs_read(struct scheduler *s, uint64_t request, const struct gw_peer *user,
	       const Godwit__LogRead *read);
void logs_data(struct scheduler *s, struct node *node, uint64_t number,
	       const Godwit__LogData *data);
/* The node refuses to read: the client learns why. */
void logs_refused(struct scheduler *s, struct node *node, uint64_t number, const char *text);
void logs_node_gone(struct scheduler *s, struct node *node);
void logs_timer(struct scheduler *s, struct log_request *log);

#endif
