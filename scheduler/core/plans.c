/*
 * Planning, which never blocks a step: a snapshot goes out with PLAN, and what PLANNED brings back
 * is checked against the state of that moment before it becomes a fact. One plan for placing is
 * under way at a time; dry runs and explanations run beside it.
 *
 * Which jobs a plan looks at, GW_GRID_REQUESTS_MAX at most, is fair.c's to say. A job that did not
 * fit is passed by (so small jobs fill what a large one leaves), and looked at again once something
 * has changed that could let it in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define VERDICT_BYTES_MAX (600u << 10) /* in one answer, beside its placements */

static struct plan_open *plan_open(struct scheduler *s, enum plan_kind kind, uint64_t request)
{
	struct plan_open *open = calloc(1, sizeof(*open));

	if (!open) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	open->number = ++s->plan_number;
	open->kind = kind;
	open->request = request;
	if (gw_table_add(&s->plans, open) != 0) {
		free(open);
		return NULL;
	}
	return open;
}

void plans_run(struct scheduler *s)
{
	struct pick picks[GW_GRID_REQUESTS_MAX];
	struct plan_open *open;
	struct gw_grid *grid;
	uint32_t count;

	if (s->plan_running || s->nodes.count == 0 || !out_room(s))
		return;
	count = fair_pick(s, picks);
	if (count == 0)
		return;
	grid = grid_make(s, picks, count);
	if (!grid)
		return;
	open = plan_open(s, PLAN_SCHEDULE, 0);
	if (!open) {
		gw_grid_free(grid);
		return;
	}
	s->plan_running = true;
	out_plan(s, open->number, grid);
}

/* Still true when it comes back: the task waits, the node is ready, the place is free? */
static struct node *place_check(const struct scheduler *s, const struct job *job,
				const struct gw_plan_place *place)
{
	struct node *node = node_find(s, place->node);

	if (!node || !node_ready(node) || place->task_index >= job->task_count ||
	    job->tasks[place->task_index].state != TASK_WAITING ||
	    !node_fits(node, &job->need, place->port, place->devices))
		return NULL;
	return node;
}

static bool fill_placed(struct scheduler *s, const struct job *job, const struct node *node,
			const struct gw_plan_place *place, Godwit__TaskPlaced__Placed *placed)
{
	godwit__task_placed__placed__init(placed);
	placed->task_index = place->task_index;
	placed->attempt = job->tasks[place->task_index].attempt_last + 1;
	placed->node = gw_wire_id(&node->id.id);
	placed->port = place->port;
	placed->port_count = job->need.port_count;
	placed->rtt_us = place->rtt_us;
	if (place->devices == 0)
		return true;
	placed->device_uuids =
		gw_arena_alloc(&s->arena, GW_GRID_DEVICES_MAX * sizeof(*placed->device_uuids));
	if (!placed->device_uuids)
		return false;
	for (uint32_t i = 0; i < node->total.device_count; i++) {
		if (place->devices >> i & 1)
			placed->device_uuids[placed->n_device_uuids++] = node->device_uuids[i];
	}
	return true;
}

static void commit_placed(struct scheduler *s, struct job *job, const struct gw_plan_job *planned,
			  Godwit__TaskPlaced__Placed **list, size_t count)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TaskPlaced placed = GODWIT__TASK_PLACED__INIT;
	Godwit__Prediction prediction;

	query_prediction(&planned->prediction, &prediction);
	placed.job = gw_wire_id(&job->id.id);
	placed.n_tasks = count;
	placed.tasks = list;
	if (prediction.present)
		placed.prediction = &prediction;
	record.kind_case = GODWIT__RECORD__KIND_TASK_PLACED;
	record.task_placed = &placed;
	apply_commit(s, &record);
	for (size_t i = 0; i < count; i++) {
		struct task *task = &job->tasks[list[i]->task_index];

		task->sent = false;
		task->inventory = 0; /* numbers are of one node: the last one's mean nothing here */
		task->sent_us = s->now.mono_us;
		task_due(s, task);
	}
}

/* Do a gang's places stand together, two on one node included? Takes them on trial. */
static bool gang_fits(const struct scheduler *s, const struct job *job,
		      const struct gw_plan_job *planned)
{
	struct task trial = {.job = NULL};
	struct job shape = {.need = job->need};
	uint32_t taken = 0;
	bool fits = true;

	trial.job = &shape;
	trial.port_count = (uint16_t)job->need.port_count;
	for (; taken < planned->place_count; taken++) {
		const struct gw_plan_place *place = &planned->places[taken];
		struct node *node = place_check(s, job, place);

		if (!node) {
			fits = false;
			break;
		}
		trial.port = place->port;
		node_account(node, &trial, true);
		node->devices_used |= place->devices;
	}
	while (taken-- > 0) {
		const struct gw_plan_place *place = &planned->places[taken];
		struct node *node = node_find(s, place->node);

		trial.port = place->port;
		node_account(node, &trial, false);
		node->devices_used &= (uint16_t)~place->devices;
	}
	return fits;
}

/* Each task by itself: a record may hold several, so each is taken before the next is checked. */
static void commit_tasks(struct scheduler *s, struct job *job, const struct gw_plan_job *planned)
{
	for (uint32_t i = 0; i < planned->place_count && s->error == 0; i++) {
		const struct gw_plan_place *place = &planned->places[i];
		const struct node *node = place_check(s, job, place);
		Godwit__TaskPlaced__Placed placed;
		Godwit__TaskPlaced__Placed *list[] = {&placed};

		if (!node) {
			fair_wake(s);
			continue;
		}
		if (!fill_placed(s, job, node, place, &placed)) {
			out_failed(s, -ENOMEM);
			return;
		}
		commit_placed(s, job, planned, list, 1);
	}
}

static void commit_gang(struct scheduler *s, struct job *job, const struct gw_plan_job *planned)
{
	uint32_t count = planned->place_count;
	Godwit__TaskPlaced__Placed **list =
		gw_arena_alloc(&s->arena, count * sizeof(Godwit__TaskPlaced__Placed *));
	Godwit__TaskPlaced__Placed *placed = gw_arena_alloc(&s->arena, count * sizeof(*placed));

	if (!list || !placed) {
		out_failed(s, -ENOMEM);
		return;
	}
	if (job->restarting || count != job->task_count || !gang_fits(s, job, planned)) {
		fair_wake(s);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		const struct gw_plan_place *place = &planned->places[i];

		list[i] = &placed[i];
		if (!fill_placed(s, job, node_find(s, place->node), place, list[i])) {
			out_failed(s, -ENOMEM);
			return;
		}
	}
	commit_placed(s, job, planned, list, count);
}

/*
 * Does the next plan go on with this job? It does if all that was asked of this one was placed and
 * more waits (a large array), or if the work units ended before it; but a job that had all the
 * units and still found nothing is passed by.
 */
static void resume(struct scheduler *s, const struct gw_plan_job *planned, struct job *job,
		   bool was_first, uint64_t plan)
{
	bool more = planned->place_count > 0 && planned->reason[0] == '\0';

	if (job->queued && (more || planned->unfinished))
		fair_resume(s, job, !more && was_first, plan);
}

static void note_reason(struct scheduler *s, struct job *job, const char *reason)
{
	if (job->wait_reason && strcmp(job->wait_reason, reason) == 0)
		return;
	free(job->wait_reason);
	job->wait_reason = reason[0] ? strdup(reason) : NULL;
	if (reason[0] && !job->wait_reason)
		out_failed(s, -ENOMEM);
}

static void take_plan(struct scheduler *s, const struct gw_plan_result *plan, uint64_t number)
{
	for (uint32_t i = 0; i < plan->job_count && s->error == 0; i++) {
		const struct gw_plan_job *planned = &plan->jobs[i];
		struct job *job = job_find(s, planned->job);

		if (!job || job_ended(job) || job->cancelled)
			continue;
		note_reason(s, job, planned->reason);
		if (planned->place_count > 0 && job->gang)
			commit_gang(s, job, planned);
		else if (planned->place_count > 0)
			commit_tasks(s, job, planned);
		resume(s, planned, job, i == 0, number);
	}
}

static Godwit__SiteVerdict **verdicts(struct scheduler *s, const struct gw_plan_result *plan,
				      size_t *ret_count)
{
	const struct gw_plan_job *job = &plan->jobs[0];
	Godwit__SiteVerdict **list =
		gw_arena_alloc(&s->arena, (plan->site_count + 1) * sizeof(Godwit__SiteVerdict *));

	size_t size = 0;

	*ret_count = 0;
	if (!list || !job->verdicts)
		return NULL;
	for (uint32_t i = 0; i < plan->site_count && size < VERDICT_BYTES_MAX; i++) {
		const struct site *site = s->sites.entries[i];
		Godwit__SiteVerdict *verdict = gw_arena_alloc(&s->arena, sizeof(*verdict));

		if (!verdict)
			break;
		godwit__site_verdict__init(verdict);
		verdict->site = out_text(s, "%s", site->name);
		verdict->chosen = job->verdicts[i].chosen;
		verdict->reason = out_text(s, "%s", job->verdicts[i].reason);
		size += gw_wire_size(&verdict->base);
		list[(*ret_count)++] = verdict;
	}
	return list;
}

static Godwit__Placement **placements(struct scheduler *s, const struct gw_plan_job *job,
				      size_t *ret_count)
{
	Godwit__Placement **list =
		gw_arena_alloc(&s->arena, (job->place_count + 1) * sizeof(Godwit__Placement *));

	*ret_count = 0;
	for (uint32_t i = 0; list && i < job->place_count; i++) {
		const struct gw_plan_place *place = &job->places[i];
		const struct node *node = node_find(s, place->node);
		Godwit__Placement *placement = gw_arena_alloc(&s->arena, sizeof(*placement));

		if (!placement || !node)
			break;
		godwit__placement__init(placement);
		placement->task_index = place->task_index;
		placement->node = gw_wire_id(&node->id.id);
		placement->node_name = out_text(s, "%s", node->name);
		placement->site = out_text(s, "%s", node->site->name);
		placement->port = place->port;
		placement->address = out_text(s, "%s", node->address);
		list[(*ret_count)++] = placement;
	}
	return list;
}

static void reply_dry_run(struct scheduler *s, const struct plan_open *open,
			  const struct gw_plan_result *plan)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitReply reply = GODWIT__SUBMIT_REPLY__INIT;
	const struct gw_plan_job *job = &plan->jobs[0];
	Godwit__Prediction prediction;

	query_prediction(&job->prediction, &prediction);
	reply.prediction = &prediction;
	reply.placements = placements(s, job, &reply.n_placements);
	reply.verdicts = verdicts(s, plan, &reply.n_verdicts);
	if (job->reason[0])
		reply.error = out_text(s, "it would wait: %s", job->reason);
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REPLY;
	body.submit_reply = &reply;
	out_reply(s, open->request, &body);
}

static void reply_explain(struct scheduler *s, const struct plan_open *open,
			  const struct gw_plan_result *plan)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__ExplainReply reply = GODWIT__EXPLAIN_REPLY__INIT;
	const struct gw_plan_job *job = &plan->jobs[0];

	reply.text = job->reason[0] ? out_text(s, "%s: %s", open->text, job->reason)
				    : out_text(s, "%s", open->text);
	reply.verdicts = verdicts(s, plan, &reply.n_verdicts);
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REPLY;
	body.explain_reply = &reply;
	out_reply(s, open->request, &body);
}

void plans_planned(struct scheduler *s, uint64_t number, struct gw_plan_result *plan)
{
	struct plan_open *open = gw_table_remove(&s->plans, &number);

	if (open && open->kind == PLAN_SCHEDULE)
		s->plan_running = false;
	if (!plan) {
		out_failed(s, -ENOMEM);
	} else if (open) {
		CHECK(plan->job_count > 0);
		if (open->kind == PLAN_SCHEDULE)
			take_plan(s, plan, number);
		else if (open->kind == PLAN_DRY_RUN)
			reply_dry_run(s, open, plan);
		else
			reply_explain(s, open, plan);
	}
	free(open);
	gw_plan_free(plan);
}

/* A plan for one job, with verdicts. False: too many are under way, or no memory. */
static bool plan_query(struct scheduler *s, enum plan_kind kind, uint64_t request, struct job *job,
		       const char *text)
{
	uint32_t waiting = job->counts[TASK_WAITING];
	struct pick pick = {.job = job,
			    .task_count =
				    waiting < GW_GRID_TASKS_MAX ? waiting : GW_GRID_TASKS_MAX};
	struct plan_open *open = NULL;
	struct gw_grid *grid = NULL;

	if (s->plans.count < QUERY_PLANS_MAX)
		grid = grid_make(s, &pick, 1);
	if (grid)
		open = plan_open(s, kind, request);
	if (!open) {
		gw_grid_free(grid);
		return false;
	}
	(void)strncpy(open->text, text, sizeof(open->text) - 1);
	grid->explain = true;
	out_plan(s, open->number, grid);
	return true;
}

void plans_dry_run(struct scheduler *s, uint64_t request, const Godwit__JobSpec *spec)
{
	struct gw_job_id id = {{{0xff}}}; /* of no region */
	size_t size = gw_wire_size(&spec->base);
	uint8_t *bytes = gw_arena_alloc(&s->arena, size ? size : 1);
	struct job *job;

	if (bytes)
		gw_wire_encode(&spec->base, bytes);
	job = bytes ? job_new(id, spec, bytes, size) : NULL;
	if (!job) {
		out_failed(s, -ENOMEM);
		return;
	}
	job_link_tasks(job);
	if (!plan_query(s, PLAN_DRY_RUN, request, job, ""))
		out_refuse(s, request, GW_REFUSAL_OVERLOAD,
			   "too many plans are being made now; try again in a second");
	if (gw_id_equal(s->spec_job.id, id.id))
		s->spec = NULL;
	job_free(job);
}

void plans_explain(struct scheduler *s, uint64_t request, struct job *job)
{
	const char *text =
		out_text(s, "%u of %u tasks wait", job->counts[TASK_WAITING], job->task_count);

	if (!plan_query(s, PLAN_EXPLAIN, request, job, text))
		out_refuse(s, request, GW_REFUSAL_OVERLOAD,
			   "too many plans are being made now; try again in a second");
}
