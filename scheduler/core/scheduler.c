/*
 * The switch over events. A step takes its event to the file that knows the noun, then does what
 * has become due: timers, commands, plans, as far as the host's list has room.
 */
#include "scheduler/core/scheduler.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define STEP_BYTES_MAX (64u << 20)
#define DEAF_US_MIN GW_US_PER_S /* later than asked for by this much: the process stood still */
#define TIMERS_MAX (GW_NODES_MAX + GW_TASKS_MAX + LOG_REQUESTS_MAX + 1)

void gw_scheduler_config_defaults(struct gw_scheduler_config *ret_config)
{
	*ret_config = (struct gw_scheduler_config){
		.region = "region",
		.unknown_after_us = 5 * GW_US_PER_S,
		.lost_after_us = 60 * GW_US_PER_S,
		.stall_after_us = 15 * GW_US_PER_S,
		.lease_us = 24 * 3600 * GW_US_PER_S,
		.lease_us_max = 30 * 24 * 3600 * GW_US_PER_S,
		.drift_ppm = 1000,
		.plan_work_units = 4000000,
		.waiting_tasks_per_user_max = GW_TASKS_PER_JOB_MAX,
		.jobs_max = GW_JOBS_MAX,
	};
}

/* Every leadership has an epoch of ids of its own, whatever the host says of its term. */
static void begin_term(struct scheduler *s, uint64_t term)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TermStarted started = GODWIT__TERM_STARTED__INIT;

	if (term <= s->term)
		term = s->term + 1;
	started.term = term > s->config.epoch_min ? term : s->config.epoch_min;
	started.epoch = s->epoch + 1 > s->config.epoch_min ? s->epoch + 1 : s->config.epoch_min;
	record.kind_case = GODWIT__RECORD__KIND_TERM_STARTED;
	record.term_started = &started;
	apply_commit(s, &record);
}

/* The host must know (again) who is refused. */
static void tell_revoked(struct scheduler *s)
{
	for (uint32_t i = 0; i < s->revoked.count; i++) {
		const struct revoked *revoked = s->revoked.entries[i];

		out_revoke(s, revoked->id);
	}
}

/* After the replay: nobody has been heard. It leads, or does not, from the first ROLE on. */
static void on_start(struct scheduler *s)
{
	if (s->restore.open) {
		out_failed(s, -EPROTO); /* half a snapshot is no state */
		return;
	}
	s->started = true;
	s->started_us = s->now.mono_us;
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		struct node *node = s->nodes.entries[i];

		node->heard_us = s->started_us;
		node->progress_us = s->started_us;
		node->state = node->revoked ? NODE_REVOKED : NODE_UNKNOWN;
		for (struct task *task = node->tasks; task; task = task->next)
			task_timer_resume(s, task);
		lease_check(s, node);
	}
}

/* What was said in an earlier term may have been refused. */
static void ask_again(struct scheduler *s)
{
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		struct node *node = s->nodes.entries[i];

		if (node->session && !node->reconciled)
			reconcile_begin(s, node);
	}
}

static void on_role(struct scheduler *s, const struct gw_event *event)
{
	bool led = s->leader;

	s->leader = event->role.leader;
	if (s->leader && (!led || event->role.term > s->term))
		begin_term(s, event->role.term);
	if (s->leader && !led)
		tell_revoked(s);
	else if (s->leader)
		ask_again(s);
}

static void refuse(struct scheduler *s, struct node *node, uint64_t request)
{
	node->sent++;
	out_refuse_peer(s, node->id, GW_REFUSAL_IDENTITY, request,
			"an agent may not ask this of a scheduler");
}

static void on_refusal(struct scheduler *s, struct node *node, const Godwit__Body *body)
{
	if (body->refusal->code == GW_REFUSAL_TERM)
		loss_of_term(s, node, body->refusal->term);
	logs_refused(s, node, body->request, body->refusal->text);
}

static void on_state(struct scheduler *s, struct node *node, const Godwit__Body *body)
{
	node->received++;
	/* A node's kinds are few; whatever else it sends is for a user or a scheduler to send. */
	if (body->kind_case == GODWIT__BODY__KIND_TASK_STATUS)
		task_status(s, node, body->task_status);
	else if (body->kind_case == GODWIT__BODY__KIND_INVENTORY)
		reconcile_part(s, node, body->inventory);
	else if (body->kind_case == GODWIT__BODY__KIND_NODE_INFO)
		node_info(s, node, body->node_info);
	else if (body->kind_case == GODWIT__BODY__KIND_TELEMETRY)
		node_telemetry(s, node, body->telemetry);
	else if (body->kind_case == GODWIT__BODY__KIND_PATH_REPORT)
		paths_report(s, node, body->path_report);
	else if (body->kind_case == GODWIT__BODY__KIND_LOG_DATA)
		logs_data(s, node, body->request, body->log_data);
	else if (body->kind_case == GODWIT__BODY__KIND_REFUSAL)
		on_refusal(s, node, body);
	else
		refuse(s, node, body->request);
}

static void on_message(struct scheduler *s, const struct gw_event *event)
{
	const struct gw_peer *peer = event->message.peer;
	struct node *node = node_find(s, peer->node);

	if (!node || node->revoked || !(peer->roles & 1u << GODWIT__ROLE__ROLE_AGENT))
		return;
	if (event->message.channel == GW_CHANNEL_STATE)
		on_state(s, node, event->message.body);
	else if (event->message.body->kind_case == GODWIT__BODY__KIND_HEARTBEAT)
		lease_heartbeat(s, node, event->message.body->heartbeat);
}

static void run_timer(struct scheduler *s, struct timer *timer)
{
	char *at = (char *)timer;

	timer_clear(s, timer);
	switch (timer->kind) {
	case TIMER_NODE:
		lease_check(s, (struct node *)(void *)(at - offsetof(struct node, timer)));
		break;
	case TIMER_TASK:
		task_timer(s, (struct task *)(void *)(at - offsetof(struct task, timer)));
		break;
	case TIMER_LOG:
		logs_timer(s, (struct log_request *)(void *)(at -
							     offsetof(struct log_request, timer)));
		break;
	case TIMER_PEERS:
		paths_send_tables(s);
		break;
	}
}

static void run_timers(struct scheduler *s)
{
	struct gw_heap_item *first;

	while (s->error == 0 && (first = gw_heap_first(&s->timers)) &&
	       first->at_us <= s->now.mono_us && out_room(s))
		run_timer(s, (struct timer *)(void *)first);
}

static void dispatch(struct scheduler *s, const struct gw_event *event)
{
	switch (event->kind) {
	case GW_EVENT_START:
		on_start(s);
		break;
	case GW_EVENT_MESSAGE:
		on_message(s, event);
		break;
	case GW_EVENT_SUBMIT:
		query_submit(s, event->submit.request, event->submit.user, event->submit.body);
		break;
	case GW_EVENT_PLANNED:
		plans_planned(s, event->planned.plan, event->planned.result);
		break;
	case GW_EVENT_PEER_UP:
		node_peer_up(s, event->peer_up.peer, event->peer_up.resumed);
		break;
	case GW_EVENT_PEER_DOWN:
		node_peer_down(s, event->peer_down.node);
		break;
	case GW_EVENT_ROLE:
		on_role(s, event);
		break;
	case GW_EVENT_STOP:
		s->stopped = true; /* running tasks need no scheduler */
		break;
	case GW_EVENT_TICK:
	case GW_EVENT_DURABLE:
	case GW_EVENT_CONTINUE:
		break;
	case GW_EVENT_SAMPLE:
	case GW_EVENT_SPAWNED:
	case GW_EVENT_EXITED:
	case GW_EVENT_OUTPUT:
	case GW_EVENT_OBSERVED:
		CHECK(event->kind == GW_EVENT_START); /* an agent's, never fed to a scheduler */
		break;
	}
}

static uint64_t wake_us(const struct gw_node *node)
{
	const struct scheduler *s = (const struct scheduler *)node;
	const struct gw_heap_item *first = gw_heap_first(&s->timers);

	return s->stopped || !first ? GW_NEVER_US : first->at_us;
}

/* A core that was not run in time (its process was stopped, its host slept) has heard nobody since
 * its last step: that is its own deafness, and no node's silence. Leases are not moved by it. */
static void forgive_silence(struct scheduler *s, const struct gw_now *now)
{
	uint64_t deaf_us = now->mono_us - s->now.mono_us;
	uint64_t due_us = wake_us(&s->node);

	if (due_us == GW_NEVER_US || now->mono_us < due_us || now->mono_us - due_us < DEAF_US_MIN)
		return;
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		struct node *entry = s->nodes.entries[i];

		if (entry->heard_us == 0)
			continue; /* never: the time since the start counts */
		entry->heard_us += deaf_us;
		entry->progress_us += deaf_us;
	}
}

static int step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects)
{
	struct scheduler *s = (struct scheduler *)node;

	CHECK(s->started || event->kind == GW_EVENT_START);
	if (s->started)
		forgive_silence(s, &event->now);
	s->now = event->now;
	s->effects = effects;
	out_flush(s);
	dispatch(s, event);
	if (!s->stopped) {
		run_timers(s);
		tasks_run_due(s);
		if (s->leader && s->error == 0)
			plans_run(s);
	}
	out_flush(s);
	gw_arena_reset(&s->arena);
	s->effects = NULL;
	return s->error;
}

static void free_entries(struct gw_table *table, void (*free_entry)(void *))
{
	for (uint32_t i = 0; i < table->count; i++)
		free_entry(table->entries[i]);
	gw_table_deinit(table);
}

static void free_job(void *entry)
{
	job_free(entry);
}

static void free_node(void *entry)
{
	node_free(entry);
}

static void free_user(void *entry)
{
	user_free(entry);
}

static void free_label(void *entry)
{
	struct label *label = entry;

	free(label->text);
	free(label);
}

static void scheduler_free(struct gw_node *node)
{
	struct scheduler *s = (struct scheduler *)node;

	out_clear(s);
	free_entries(&s->jobs, free_job);
	free_entries(&s->nodes, free_node);
	free_entries(&s->sites, free);
	free_entries(&s->revoked, free);
	free_entries(&s->nonces, free);
	free_entries(&s->users, free_user);
	free_entries(&s->strays, free);
	free_entries(&s->logs, free);
	free_entries(&s->plans, free);
	free_entries(&s->labels, free_label);
	free(s->pairs);
	gw_heap_deinit(&s->timers);
	gw_arena_deinit(&s->arena);
	gw_arena_deinit(&s->spec_arena);
	free(s);
}

static uint64_t seq(const struct gw_node *node)
{
	return ((const struct scheduler *)node)->seq;
}

static const struct gw_node_ops ops = {
	.step = step,
	.wake_us = wake_us,
	.apply = apply_bytes,
	.snapshot = snapshot_write,
	.restore = restore_piece,
	.seq = seq,
	.digest = check_digest,
	.free = scheduler_free,
};

struct gw_node *gw_scheduler_new(const struct gw_scheduler_config *config)
{
	struct scheduler *s = calloc(1, sizeof(*s));
	uint64_t hash_key = config->seed;

	if (!s)
		return NULL;
	CHECK(config->unknown_after_us > 0);
	CHECK(config->lease_us <= config->lease_us_max);
	CHECK(config->jobs_max > 0 && config->jobs_max <= GW_JOBS_MAX);
	s->node.ops = &ops;
	s->config = *config;
	strncpy(s->region, config->region, GW_NAME_BYTES_MAX);
	s->config.region = s->region;
	gw_table_init(&s->jobs, sizeof(struct gw_job_id), GW_JOBS_MAX, hash_key);
	gw_table_init(&s->nodes, sizeof(struct gw_node_id), GW_NODES_MAX, hash_key);
	gw_table_init(&s->sites, GW_NAME_BYTES_MAX + 1, GW_SITES_MAX, hash_key);
	gw_table_init(&s->revoked, sizeof(struct gw_node_id), UINT32_MAX / 4, hash_key);
	gw_table_init(&s->nonces, sizeof(struct nonce_key), GW_JOBS_MAX, hash_key);
	gw_table_init(&s->users, sizeof(struct gw_node_id), USERS_MAX, hash_key);
	gw_table_init(&s->strays, sizeof(struct stray_key), STRAYS_MAX, hash_key);
	gw_table_init(&s->logs, sizeof(uint64_t), LOG_REQUESTS_MAX, hash_key);
	gw_table_init(&s->plans, sizeof(uint64_t), QUERY_PLANS_MAX + 1, hash_key);
	gw_table_init(&s->labels, sizeof(uint64_t), LABELS_MAX, hash_key);
	gw_heap_init(&s->timers, TIMERS_MAX);
	gw_arena_init(&s->arena, STEP_BYTES_MAX);
	gw_arena_init(&s->spec_arena, GW_DECODE_BYTES_MAX);
	s->peers_timer.kind = TIMER_PEERS;
	s->epoch = 0;
	s->next_job = 1;
	return &s->node;
}

uint64_t gw_scheduler_term_seen(const struct gw_node *scheduler)
{
	const struct scheduler *s = (const struct scheduler *)scheduler;

	return s->term_seen > s->term ? s->term_seen : 0;
}

void gw_scheduler_term(const struct gw_node *scheduler, uint64_t *ret_term, uint32_t *ret_epoch)
{
	const struct scheduler *s = (const struct scheduler *)scheduler;

	*ret_term = s->term;
	*ret_epoch = s->epoch;
}
