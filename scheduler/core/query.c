/*
 * What users ask and order. Each request is answered by one REPLY, here or, where a planner or an
 * agent must be asked first, later. A user sees the jobs of his own tenant, an operator all.
 */
#include <errno.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define JOBS_PAGE_MAX 1000u
#define TASKS_PAGE_MAX 200u
#define PAIRS_MAX 10000u
#define PAIR_BYTES_MAX (400u << 10) /* in the first page of sites, and with its nodes: */
#define SITES_BYTES_MAX (900u << 10)

static bool is_operator(const struct gw_peer *user)
{
	return (user->roles & 1u << GODWIT__ROLE__ROLE_OPERATOR) != 0;
}

bool query_may_see(const struct gw_peer *user, const struct job *job)
{
	return is_operator(user) || gw_id_equal(user->tenant, job->tenant);
}

/* The job, if there is one that this user may see; others do not exist for him. */
static struct job *job_of(struct scheduler *s, const struct gw_peer *user,
			  ProtobufCBinaryData field)
{
	struct gw_job_id id;
	struct job *job = gw_wire_read_id(field, &id.id) ? job_find(s, id) : NULL;

	return job && query_may_see(user, job) ? job : NULL;
}

void query_prediction(const struct gw_prediction *prediction, Godwit__Prediction *ret)
{
	godwit__prediction__init(ret);
	ret->present = prediction->present;
	ret->tokens_per_s = prediction->tokens_per_s;
	ret->single_site_tokens_per_s = prediction->single_site_tokens_per_s;
	ret->tpot_us = prediction->tpot_us;
	ret->loss_ppm = prediction->loss_ppm;
	ret->rtt_us = prediction->rtt_us;
	ret->bottleneck = unconst(prediction->bottleneck ? prediction->bottleneck : "");
}

static const char *reason_of(const struct node *node)
{
	return node->reason ? node->reason : "as its operator wants";
}

/* What takes no work now, with an example each: it may be why a job waits. "": all do. */
static const char *away_text(struct scheduler *s)
{
	const struct node *draining = NULL;
	const struct node *unheard = NULL;
	uint32_t draining_count = 0;
	uint32_t unheard_count = 0;
	const char *text = "";

	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		if (node->state == NODE_DRAINING && draining_count++ == 0)
			draining = node;
		if ((node->state == NODE_UNKNOWN || node->state == NODE_LOST) &&
		    unheard_count++ == 0)
			unheard = node;
	}
	if (draining)
		text = out_text(s, "; %u of %u nodes draining (%s: %s)", draining_count,
				s->nodes.count, draining->name, reason_of(draining));
	if (unheard)
		text = out_text(s, "%s; %u of %u nodes cut off or down (%s)", text, unheard_count,
				s->nodes.count, unheard->name);
	return text;
}

static void job_info(struct scheduler *s, const struct job *job, const char *away,
		     Godwit__JobInfo *ret_info)
{
	godwit__job_info__init(ret_info);
	ret_info->job = gw_wire_id(&job->id.id);
	ret_info->name = out_text(s, "%s", job->name);
	ret_info->kind = job->gang ? GODWIT__JOB_KIND__JOB_SERVE : GODWIT__JOB_KIND__JOB_TASK;
	ret_info->state = out_text(s, "%s", job_state_name((enum job_state)job->state));
	ret_info->task_count = job->task_count;
	ret_info->waiting = job->counts[TASK_WAITING];
	ret_info->running = job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
	ret_info->succeeded = job->counts[TASK_SUCCEEDED];
	ret_info->failed = job->counts[TASK_FAILED];
	ret_info->submitted_wall_us = job->submitted_wall_us;
	ret_info->ended_wall_us = job->ended_wall_us;
	ret_info->owner = out_text(s, "%s", job->owner_name);
	if (job->counts[TASK_WAITING] > 0)
		ret_info->wait_reason =
			s->nodes.count == 0 ? out_text(s, "no node has joined the region yet")
			: job->wait_reason  ? out_text(s, "%s%s", job->wait_reason, away)
					    : out_text(s, "%s", "");
	ret_info->disconnect = gw_arena_alloc(&s->arena, sizeof(*ret_info->disconnect));
	if (ret_info->disconnect) {
		godwit__disconnect_policy__init(ret_info->disconnect);
		ret_info->disconnect->lost_after_us =
			job->lost_after_us ? job->lost_after_us : job->lease_us;
		ret_info->disconnect->replace = (Godwit__Replace)job->replace;
		ret_info->disconnect->reconcile = (Godwit__Reconcile)job->reconcile;
	}
	if (job->prediction.present) {
		ret_info->prediction = gw_arena_alloc(&s->arena, sizeof(*ret_info->prediction));
		if (ret_info->prediction)
			query_prediction(&job->prediction, ret_info->prediction);
	}
}

/* One text a line into a list. */
static char **split_lines(struct scheduler *s, const char *text, size_t *ret_count)
{
	char **list = gw_arena_alloc(&s->arena, NOTES_MAX * sizeof(*list));
	const char *end;

	*ret_count = 0;
	for (; list && text && (end = strchr(text, '\n')) && *ret_count < NOTES_MAX; text = end + 1)
		list[(*ret_count)++] = out_text(s, "%.*s", (int)(end - text), text);
	return list;
}

static char *span_text(struct scheduler *s, uint64_t us)
{
	uint64_t seconds = us / GW_US_PER_S;

	if (seconds < 120)
		return out_text(s, "%llu s", (unsigned long long)seconds);
	if (seconds < 7200)
		return out_text(s, "%llu min", (unsigned long long)(seconds / 60));
	return out_text(s, "%llu h", (unsigned long long)(seconds / 3600));
}

static char *unheard_what(struct scheduler *s, const struct job *job, const char *left)
{
	if (job->replace == GODWIT__REPLACE__REPLACE_NEVER)
		return out_text(s, "the job waits for it to come back");
	if (job->replace == GODWIT__REPLACE__REPLACE_AT_ONCE)
		return out_text(s, "it is replaced in %s, though it may go on there", left);
	return out_text(s, "it goes on there until its lease ends, in %s at the latest", left);
}

/* Why nobody hears of the attempt, and how long that can last. */
static void unheard_info(struct scheduler *s, const struct task *task, Godwit__TaskInfo *ret_info)
{
	const struct node *node = task->node;
	uint64_t since_us = node->heard_us > s->started_us ? node->heard_us : s->started_us;
	uint64_t until_us = lease_lost_us(s, task);
	uint64_t left_us = until_us > s->now.mono_us ? until_us - s->now.mono_us : 0;

	if (task->job->replace == GODWIT__REPLACE__REPLACE_NEVER && left_us == 0)
		ret_info->state = unconst("unknown");
	ret_info->error =
		out_text(s, "its node is %s, silent for %s; %s", node_state_name(node->state),
			 span_text(s, s->now.mono_us - since_us),
			 unheard_what(s, task->job, span_text(s, left_us)));
}

static void task_info(struct scheduler *s, const struct task *task, Godwit__TaskInfo *ret_info)
{
	const struct node *node = task->node;

	godwit__task_info__init(ret_info);
	ret_info->task_index = task->index;
	ret_info->state = out_text(s, "%s", task_state_name((enum task_state)task->state));
	ret_info->attempt = task->attempt;
	ret_info->exit_code = task->exit_code;
	ret_info->signal = task->signal;
	ret_info->error = out_text(s, "%s", task->error ? task->error : "");
	ret_info->usage = gw_arena_alloc(&s->arena, sizeof(*ret_info->usage));
	if (ret_info->usage)
		task_usage(task, ret_info->usage);
	if (!node)
		return;
	ret_info->node = gw_wire_id(&node->id.id);
	ret_info->node_name = out_text(s, "%s", node->name);
	ret_info->site = out_text(s, "%s", node->site->name);
	ret_info->port = task->port;
	ret_info->address = out_text(s, "%s", node->address);
	if (task_held(task))
		ret_info->not_enforced =
			split_lines(s, node->not_enforced, &ret_info->n_not_enforced);
	if (task_held(task) && node->state != NODE_UP && node->state != NODE_DRAINING)
		unheard_info(s, task, ret_info);
}

static bool fill_tasks(struct scheduler *s, const struct job *job, const Godwit__JobsRequest *asked,
		       Godwit__JobInfo *info)
{
	uint32_t count_max = asked->count_max && asked->count_max < TASKS_PAGE_MAX
				     ? asked->count_max
				     : TASKS_PAGE_MAX;

	info->tasks = gw_arena_alloc(&s->arena, count_max * sizeof(Godwit__TaskInfo *));
	for (uint32_t i = asked->offset; info->tasks && i < job->task_count; i++) {
		Godwit__TaskInfo *task;

		if (info->n_tasks == count_max)
			break;
		task = gw_arena_alloc(&s->arena, sizeof(*task));
		if (!task)
			return false;
		task_info(s, &job->tasks[i], task);
		info->tasks[info->n_tasks++] = task;
	}
	return info->tasks != NULL;
}

/* One job, with a page of its tasks if asked. */
static void one_job(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		    const Godwit__JobsRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__JobsReply reply = GODWIT__JOBS_REPLY__INIT;
	Godwit__JobInfo info;
	Godwit__JobInfo *list[] = {&info};
	const struct job *job = job_of(s, user, asked->job);

	if (job) {
		job_info(s, job, away_text(s), &info);
		if (asked->with_tasks && !fill_tasks(s, job, asked, &info))
			out_failed(s, -ENOMEM);
		reply.n_jobs = 1;
		reply.jobs = list;
		reply.total = asked->with_tasks ? job->task_count : 1;
	} else {
		reply.error = out_text(s, "no such job");
	}
	body.kind_case = GODWIT__BODY__KIND_JOBS_REPLY;
	body.jobs_reply = &reply;
	out_reply(s, request, &body);
}

/* A page of jobs, newest first. It looks at every job: their number is bounded, and nobody waits
 * for less than a list. */
static void many_jobs(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		      const Godwit__JobsRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__JobsReply reply = GODWIT__JOBS_REPLY__INIT;
	uint32_t count_max = asked->count_max && asked->count_max < JOBS_PAGE_MAX ? asked->count_max
										  : JOBS_PAGE_MAX;
	const char *away = away_text(s);

	reply.jobs = gw_arena_alloc(&s->arena, count_max * sizeof(*reply.jobs));
	for (const struct job *job = s->newest; reply.jobs && job; job = job->older) {
		if (!query_may_see(user, job) || (asked->active_only && job_ended(job)))
			continue;
		if (reply.total++ < asked->offset || reply.n_jobs == count_max)
			continue;
		reply.jobs[reply.n_jobs] = gw_arena_alloc(&s->arena, sizeof(**reply.jobs));
		if (!reply.jobs[reply.n_jobs])
			break;
		job_info(s, job, away, reply.jobs[reply.n_jobs++]);
	}
	body.kind_case = GODWIT__BODY__KIND_JOBS_REPLY;
	body.jobs_reply = &reply;
	out_reply(s, request, &body);
}

static void cancel(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		   const Godwit__CancelRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelReply reply = GODWIT__CANCEL_REPLY__INIT;
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__JobCancelled cancelled = GODWIT__JOB_CANCELLED__INIT;
	struct job *job = job_of(s, user, asked->job);

	if (!job) {
		reply.error = out_text(s, "no such job");
	} else if (job_ended(job)) {
		reply.error = out_text(s, "the job has ended already: it is %s",
				       job_state_name((enum job_state)job->state));
	} else if (!job->cancelled) {
		cancelled.job = gw_wire_id(&job->id.id);
		cancelled.by = gw_wire_id(&user->node.id);
		record.kind_case = GODWIT__RECORD__KIND_JOB_CANCELLED;
		record.job_cancelled = &cancelled;
		apply_commit(s, &record);
		tasks_due_kills(s, job);
		fair_wake(s);
	}
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REPLY;
	body.cancel_reply = &reply;
	out_reply(s, request, &body);
}

static void node_info_of(struct scheduler *s, const struct node *node, bool with_info,
			 Godwit__NodeState *ret_state)
{
	union {
		const void *from;
		void *to;
	} message; /* protobuf-c has no const */

	godwit__node_state__init(ret_state);
	ret_state->node = gw_wire_id(&node->id.id);
	ret_state->name = out_text(s, "%s", node->name);
	ret_state->site = out_text(s, "%s", node->site->name);
	ret_state->state = out_text(s, "%s", node_state_name(node->state));
	if (node->state == NODE_DRAINING || node->draining) /* the latter as it last said */
		ret_state->reason = out_text(s, "%s", reason_of(node));
	ret_state->cpu_milli_used = node->cpu_milli_used;
	ret_state->memory_bytes_used = node->memory_bytes_used;
	ret_state->tasks_running = node->task_count;
	ret_state->rtt_us = node->rtt_us;
	if (node->heard_us > 0)
		ret_state->silent_us = s->now.mono_us - node->heard_us;
	if (node->back_us > 0) {
		ret_state->away_us = node->unheard_us;
		ret_state->back_us = s->now.mono_us - node->back_us;
		ret_state->rebooted = node->was_rebooted;
	}
	if (!with_info)
		return;
	if (node->info_bytes) {
		message.from = gw_wire_decode(&godwit__node_info__descriptor, &s->arena,
					      node->info_bytes, node->info_size);
		ret_state->info = message.to;
	}
	if (node->telemetry_bytes) {
		message.from = gw_wire_decode(&godwit__telemetry__descriptor, &s->arena,
					      node->telemetry_bytes, node->telemetry_size);
		ret_state->telemetry = message.to;
	}
}

/* Returns their size. */
static size_t fill_pairs(struct scheduler *s, Godwit__SitesReply *reply)
{
	size_t size = 0;

	reply->pairs = gw_arena_alloc(&s->arena, PAIRS_MAX * sizeof(*reply->pairs));
	for (uint32_t from = 0; reply->pairs && from < s->sites.count; from++) {
		for (uint32_t to = 0;
		     to < s->sites.count && reply->n_pairs < PAIRS_MAX && size < PAIR_BYTES_MAX;
		     to++) {
			const struct pair *pair = pair_of(s, from, to);
			const struct site *a = s->sites.entries[from];
			const struct site *b = s->sites.entries[to];
			Godwit__SitePair *out;

			if (!pair || pair->rtt_us == GW_GRID_RTT_UNKNOWN_US)
				continue;
			out = gw_arena_alloc(&s->arena, sizeof(*out));
			if (!out)
				return size;
			godwit__site_pair__init(out);
			out->from = out_text(s, "%s", a->name);
			out->to = out_text(s, "%s", b->name);
			out->rtt_us = pair->rtt_us;
			out->loss_ppm = pair->loss_ppm;
			out->age_us = s->now.mono_us - pair->at_us;
			size += gw_wire_size(&out->base) + 4;
			reply->pairs[reply->n_pairs++] = out;
		}
	}
	return size;
}

/* Nodes from the offset on, as many as one message holds; the distances with the first page. */
static void sites(struct scheduler *s, uint64_t request, const Godwit__SitesRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SitesReply reply = GODWIT__SITES_REPLY__INIT;
	uint32_t left = asked->offset < s->nodes.count ? s->nodes.count - asked->offset : 0;
	size_t size = 0;

	if (asked->count_max && asked->count_max < left)
		left = asked->count_max;
	if (asked->offset == 0)
		size = fill_pairs(s, &reply);
	reply.region = s->region;
	reply.total = s->nodes.count;
	reply.records_lost = s->records_lost;
	reply.records_lost_text = s->records_lost_text;
	reply.nodes = gw_arena_alloc(&s->arena, (left + 1) * sizeof(*reply.nodes));
	while (reply.nodes && reply.n_nodes < left) {
		const struct node *node = s->nodes.entries[asked->offset + reply.n_nodes];
		Godwit__NodeState *state = gw_arena_alloc(&s->arena, sizeof(*state));

		if (!state)
			break;
		node_info_of(s, node, asked->with_nodes, state);
		size += gw_wire_size(&state->base) + 8;
		if (size > SITES_BYTES_MAX)
			break;
		reply.nodes[reply.n_nodes++] = state;
	}
	body.kind_case = GODWIT__BODY__KIND_SITES_REPLY;
	body.sites_reply = &reply;
	out_reply(s, request, &body);
}

/* What its disconnect policy makes of a task that nobody hears. */
static const char *policy_text(const struct job *job)
{
	switch ((Godwit__Replace)job->replace) {
	case GODWIT__REPLACE__REPLACE_AT_ONCE:
		return "are replaced once called lost, though they may run on";
	case GODWIT__REPLACE__REPLACE_NEVER:
		return "are waited for";
	case GODWIT__REPLACE__REPLACE_AFTER_LEASE:
	case _GODWIT__REPLACE_IS_INT_SIZE:
		break;
	}
	return "are replaced once their leases have ended";
}

/* A job without waiting tasks needs no planner to say where it is. */
static void explain_placed(struct scheduler *s, uint64_t request, const struct job *job)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__ExplainReply reply = GODWIT__EXPLAIN_REPLY__INIT;
	uint32_t count = s->sites.count;
	uint32_t *held = gw_arena_alloc(&s->arena, (count + 1) * sizeof(*held));
	uint32_t unheard = 0;

	reply.verdicts = gw_arena_alloc(&s->arena, (count + 1) * sizeof(Godwit__SiteVerdict *));
	if (!held || !reply.verdicts) {
		out_failed(s, -ENOMEM);
		return;
	}
	memset(held, 0, count * sizeof(*held));
	for (uint32_t i = 0; i < job->task_count; i++) {
		const struct task *task = &job->tasks[i];

		if (task->node)
			held[task->node->site->index]++;
		unheard += task_held(task) && task->node->state != NODE_UP &&
			   task->node->state != NODE_DRAINING;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct site *site = s->sites.entries[i];
		Godwit__SiteVerdict *verdict = gw_arena_alloc(&s->arena, sizeof(*verdict));

		if (!verdict)
			break;
		godwit__site_verdict__init(verdict);
		verdict->site = out_text(s, "%s", site->name);
		verdict->chosen = held[i] > 0;
		verdict->reason = verdict->chosen ? out_text(s, "%u of %u tasks went here", held[i],
							     job->task_count)
						  : out_text(s, "no task went here");
		reply.verdicts[reply.n_verdicts++] = verdict;
	}
	reply.text = out_text(s, "no task waits: the job is %s",
			      job_state_name((enum job_state)job->state));
	if (unheard > 0)
		reply.text =
			out_text(s, "%s; %u of its tasks are on nodes that nobody hears, and %s",
				 reply.text, unheard, policy_text(job));
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REPLY;
	body.explain_reply = &reply;
	out_reply(s, request, &body);
}

static void explain(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		    const Godwit__ExplainRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__ExplainReply reply = GODWIT__EXPLAIN_REPLY__INIT;
	struct job *job = job_of(s, user, asked->job);

	if (job && job->queued) {
		plans_explain(s, request, job);
	} else if (job && job->restarting) {
		reply.text = out_text(s, "the gang waits until the attempts of its last start have "
					 "all ended");
	} else if (job) {
		explain_placed(s, request, job);
	} else {
		reply.error = out_text(s, "no such job");
	}
	if (job && !job->restarting)
		return;
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REPLY;
	body.explain_reply = &reply;
	out_reply(s, request, &body);
}

static void version(struct scheduler *s, uint64_t request)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__VersionReply reply = GODWIT__VERSION_REPLY__INIT;

	reply.version = unconst(GODWIT_VERSION);
	reply.protocol_min = GW_PROTOCOL_MIN;
	reply.protocol_max = GW_PROTOCOL_MAX;
	reply.region = s->region;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REPLY;
	body.version_reply = &reply;
	out_reply_at_once(s, request, &body);
}

/* Takes the id if the names match. True: and it may still speak, so no other is looked for. */
static bool match_identity(const struct scheduler *s, const char *name, const char *text,
			   struct gw_node_id id, struct gw_node_id *ret_id, bool *ret_found)
{
	if (strcmp(name, text) != 0)
		return false;
	*ret_id = id;
	*ret_found = true;
	return !gw_table_find(&s->revoked, &id);
}

/* By id, or by the name of a node or of a user who has submitted. A name may have been given again
 * after its first holder was revoked: it means the one who is not. */
static bool find_identity(const struct scheduler *s, const char *text, struct gw_node_id *ret_id)
{
	bool found = false;

	if (gw_id_parse_hex(text, &ret_id->id))
		return true;
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		if (match_identity(s, node->name, text, node->id, ret_id, &found))
			return true;
	}
	for (const struct job *job = s->newest; job; job = job->older) {
		if (match_identity(s, job->owner_name, text, job->owner, ret_id, &found))
			return true;
	}
	return found;
}

static void commit_revoked(struct scheduler *s, const struct gw_peer *user,
			   const struct gw_node_id *id, const char *reason)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__NodeRevoked revoked = GODWIT__NODE_REVOKED__INIT;
	struct node *node = node_find(s, *id);

	revoked.node = gw_wire_id(&id->id);
	revoked.by = gw_wire_id(&user->node.id);
	revoked.reason = out_text(s, "%.*s", (int)ERROR_BYTES_MAX, reason);
	record.kind_case = GODWIT__RECORD__KIND_NODE_REVOKED;
	record.node_revoked = &revoked;
	apply_commit(s, &record);
	out_revoke(s, *id);
	if (!node)
		return;
	node->session = false;
	node->reconciled = false;
	strays_of_node(s, node);
	node_update(s, node);
}

static void revoke(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		   const Godwit__RevokeRequest *asked)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__RevokeReply reply = GODWIT__REVOKE_REPLY__INIT;
	struct gw_node_id id;

	if (!is_operator(user))
		reply.error = out_text(s, "only an operator may revoke an identity");
	else if (!find_identity(s, asked->node, &id))
		reply.error = out_text(s,
				       "no identity '%.63s' is known; a node's id has 32 "
				       "hexadecimal digits",
				       asked->node);
	else if (gw_id_equal(id.id, user->node.id))
		reply.error = out_text(s, "an operator cannot revoke itself");
	else if (gw_table_find(&s->revoked, &id))
		reply.error = out_text(s, "it is revoked already");
	else
		commit_revoked(s, user, &id, asked->reason);
	if (!reply.error[0])
		reply.node_id = gw_wire_id(&id.id);
	body.kind_case = GODWIT__BODY__KIND_REVOKE_REPLY;
	body.revoke_reply = &reply;
	out_reply(s, request, &body);
}

/* Why this user may not ask; NULL: he may. */
static const char *may_ask(const struct scheduler *s, const struct gw_peer *user)
{
	uint32_t roles = 1u << GODWIT__ROLE__ROLE_USER | 1u << GODWIT__ROLE__ROLE_OPERATOR;

	if (!(user->roles & roles))
		return "this is for users and operators to ask, and the certificate says neither";
	if (gw_table_find(&s->revoked, &user->node))
		return "this identity has been revoked";
	if (!s->leader)
		return "this scheduler is not the region's leader; ask the leader";
	return NULL;
}

void query_submit(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		  const Godwit__Body *body)
{
	const char *refusal = may_ask(s, user);

	if (refusal)
		out_refuse(s, request, GW_REFUSAL_IDENTITY, refusal);
	else if (body->kind_case == GODWIT__BODY__KIND_SUBMIT_REQUEST)
		admit_submit(s, request, user, body->submit_request);
	else if (body->kind_case == GODWIT__BODY__KIND_JOBS_REQUEST && body->jobs_request->job.len)
		one_job(s, request, user, body->jobs_request);
	else if (body->kind_case == GODWIT__BODY__KIND_JOBS_REQUEST)
		many_jobs(s, request, user, body->jobs_request);
	else if (body->kind_case == GODWIT__BODY__KIND_CANCEL_REQUEST)
		cancel(s, request, user, body->cancel_request);
	else if (body->kind_case == GODWIT__BODY__KIND_SITES_REQUEST)
		sites(s, request, body->sites_request);
	else if (body->kind_case == GODWIT__BODY__KIND_EXPLAIN_REQUEST)
		explain(s, request, user, body->explain_request);
	else if (body->kind_case == GODWIT__BODY__KIND_LOG_READ)
		logs_read(s, request, user, body->log_read);
	else if (body->kind_case == GODWIT__BODY__KIND_REVOKE_REQUEST)
		revoke(s, request, user, body->revoke_request);
	else if (body->kind_case == GODWIT__BODY__KIND_VERSION_REQUEST)
		version(s, request);
	else
		out_refuse(s, request, GW_REFUSAL_IDENTITY,
			   "a user may not send this; it is for agents or schedulers");
}
