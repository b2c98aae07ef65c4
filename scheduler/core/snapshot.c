/*
 * Writes the durable state as pieces (proto/msg/snapshot.proto) for restore.c. What follows from
 * them (counts, accounts, states of jobs) is left out; orders that behaviour depends on (of waiting
 * tasks, of the queue, of a node's tasks, of ended jobs) are in.
 *
 * It only reads the state and allocates, so that a child made by fork can write while its parent
 * goes on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define PIECE_BYTES (128u << 10) /* about; a piece with one large spec has more */
#define ITEM_BYTES_MIN 32u       /* counted for each item, so that the lists below hold them all */
#define ITEMS_MAX (PIECE_BYTES / ITEM_BYTES_MIN)
#define JOB_BYTES 512u  /* at most, beside its spec and lists */
#define TASK_BYTES 192u /* at most, beside its texts */
#define FORMER_BYTES 64u
#define EARLIER_BYTES (2 * EARLIER_MAX * NUMBER_BYTES)
#define NUMBER_BYTES 5u /* of one in a packed list */
#define NUMBERS_MAX (PIECE_BYTES / NUMBER_BYTES + 2)

struct writer {
	const struct scheduler *s;
	gw_snapshot_f *piece;
	void *context;
	const struct job **jobs; /* [s->jobs.count] as accepted, ascending in `order` */
	uint8_t *bytes;          /* [capacity] of the encoded piece */
	size_t capacity;
	/* the piece being made */
	uint32_t part;
	size_t size; /* estimated, never too low by more than a fixed head */
	Godwit__Snapshot message;
	Godwit__SnapshotHead head;
	Godwit__SnapshotEpoch epochs[EPOCHS_MAX], *epoch_list[EPOCHS_MAX];
	Godwit__SnapshotNode nodes[ITEMS_MAX], *node_list[ITEMS_MAX];
	Godwit__SnapshotSite sites[ITEMS_MAX], *site_list[ITEMS_MAX];
	Godwit__SnapshotJob jobs_out[ITEMS_MAX], *job_list[ITEMS_MAX];
	Godwit__SnapshotTask tasks[ITEMS_MAX], *task_list[ITEMS_MAX];
	Godwit__SnapshotHeld held[ITEMS_MAX], *held_list[ITEMS_MAX];
	Godwit__Usage usages[ITEMS_MAX];
	Godwit__SnapshotFormer formers[ITEMS_MAX];
	uint32_t earlier[ITEMS_MAX][2 * EARLIER_MAX];
	Godwit__Prediction predictions[ITEMS_MAX];
	ProtobufCBinaryData revoked[ITEMS_MAX];
	uint32_t task_count;
	uint32_t numbers[NUMBERS_MAX];
	uint32_t others[NUMBERS_MAX]; /* second number of a pair */
	uint32_t number_count;
};

static void piece_begin(struct writer *w)
{
	godwit__snapshot__init(&w->message);
	w->message.version = SNAPSHOT_VERSION;
	w->message.part = w->part++;
	w->message.nodes = w->node_list;
	w->message.sites = w->site_list;
	w->message.jobs = w->job_list;
	w->message.held = w->held_list;
	w->message.revoked = w->revoked;
	w->size = 0;
	w->task_count = 0;
	w->number_count = 0;
}

static int piece_end(struct writer *w)
{
	size_t size = gw_wire_size(&w->message.base);

	CHECK(size <= GW_MESSAGE_BYTES_MAX);
	if (size > w->capacity) {
		uint8_t *bytes = realloc(w->bytes, size);

		if (!bytes)
			return -ENOMEM;
		w->bytes = bytes;
		w->capacity = size;
	}
	gw_wire_encode(&w->message.base, w->bytes);
	return w->piece(w->context, w->bytes, size);
}

/* Makes room for one more item of about this size. 0; negative errno. */
static int make_room(struct writer *w, size_t size)
{
	int result = 0;

	size += ITEM_BYTES_MIN;
	if (w->size > 0 && w->size + size > PIECE_BYTES) {
		result = piece_end(w);
		piece_begin(w);
	}
	w->size += size;
	return result;
}

static int write_nodes(struct writer *w)
{
	const struct scheduler *s = w->s;
	int result = 0;

	for (uint32_t i = 0; i < s->nodes.count && result == 0; i++) {
		const struct node *node = s->nodes.entries[i];
		Godwit__SnapshotNode *out;

		result = make_room(w, 2 * sizeof(node->id) + strlen(node->name) +
					      strlen(node->provider));
		out = &w->nodes[w->message.n_nodes];
		godwit__snapshot_node__init(out);
		out->node = gw_wire_id(&node->id.id);
		out->name = unconst(node->name);
		out->provider = unconst(node->provider);
		out->boot_id = gw_wire_id(&node->boot_id);
		w->node_list[w->message.n_nodes++] = out;
	}
	return result;
}

static int write_site(struct writer *w, const struct site *site)
{
	Godwit__SnapshotSite *out;
	int result = make_room(w, strlen(site->name) + site->node_count * NUMBER_BYTES);

	out = &w->sites[w->message.n_sites];
	godwit__snapshot_site__init(out);
	out->name = unconst(site->name);
	out->nodes = &w->numbers[w->number_count];
	for (const struct node *node = site->nodes; node; node = node->site_next)
		out->nodes[out->n_nodes++] = node->index;
	w->number_count += (uint32_t)out->n_nodes;
	w->site_list[w->message.n_sites++] = out;
	return result;
}

static int write_who(struct writer *w)
{
	const struct scheduler *s = w->s;
	int result = write_nodes(w);

	for (uint32_t i = 0; i < s->sites.count && result == 0; i++)
		result = write_site(w, s->sites.entries[i]);
	for (uint32_t i = 0; i < s->revoked.count && result == 0; i++) {
		const struct revoked *revoked = s->revoked.entries[i];

		result = make_room(w, sizeof(revoked->id));
		w->revoked[w->message.n_revoked++] = gw_wire_id(&revoked->id.id);
	}
	return result;
}

/* --- jobs ------------------------------------------------------------------------------------ */

static Godwit__SnapshotJob *job_begin(struct writer *w)
{
	Godwit__SnapshotJob *out = &w->jobs_out[w->message.n_jobs];

	godwit__snapshot_job__init(out);
	out->tasks = &w->task_list[w->task_count];
	out->waiting = &w->numbers[w->number_count];
	w->job_list[w->message.n_jobs++] = out;
	return out;
}

/* The job message that an item of this size goes into: `out`, or one that goes on with it in the
 * next piece. NULL: failed, with the error in *result. */
static Godwit__SnapshotJob *job_room(struct writer *w, Godwit__SnapshotJob *out, size_t size,
				     int *result)
{
	uint32_t part = w->part;

	*result = make_room(w, size);
	return w->part == part ? out : job_begin(w);
}

static void fill_job(struct writer *w, const struct job *job, Godwit__SnapshotJob *out)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} spec = {.from = job->spec_bytes};

	Godwit__Prediction *prediction = &w->predictions[w->message.n_jobs - 1];

	out->job = gw_wire_id(&job->id.id);
	out->spec = (ProtobufCBinaryData){.len = job->spec_size, .data = spec.to};
	out->owner = gw_wire_id(&job->owner.id);
	out->owner_name = unconst(job->owner_name);
	out->tenant = gw_wire_id(&job->tenant);
	if (!gw_id_is_zero(job->nonce))
		out->nonce = gw_wire_id(&job->nonce);
	out->submitted_wall_us = job->submitted_wall_us;
	out->ended_wall_us = job->ended_wall_us;
	out->cancelled = job->cancelled;
	out->doomed = job->doomed;
	out->restarting = job->restarting;
	out->failures = job->failures;
	if (!job->prediction.present)
		return;
	query_prediction(&job->prediction, prediction);
	out->prediction = prediction;
}

static bool untouched(const struct task *task)
{
	return task->state == TASK_WAITING && task->attempt == 0;
}

static size_t text_size(const char *text)
{
	return text ? strlen(text) : 0;
}

static void fill_former(const struct former *former, Godwit__SnapshotFormer *out)
{
	godwit__snapshot_former__init(out);
	out->attempt = former->attempt;
	out->node = former->node->index;
	out->port = former->port;
	out->port_count = former->port_count;
	out->rtt_us = former->rtt_us;
	if (former->devices)
		out->devices = former->devices;
	out->started_wall_us = former->started_wall_us;
}

static void fill_earlier(const struct earlier *earlier, uint32_t *numbers,
			 Godwit__SnapshotTask *out)
{
	out->earlier = numbers;
	for (uint32_t i = 0; i < earlier->count; i++) {
		numbers[out->n_earlier++] = earlier->ran[i].attempt;
		numbers[out->n_earlier++] = earlier->ran[i].node->index;
	}
}

/* About, and not too little. */
static size_t task_size(const struct task *task)
{
	size_t size = TASK_BYTES + text_size(task->devices) + text_size(task->error);

	if (task->earlier)
		size += EARLIER_BYTES;
	return task->former ? size + FORMER_BYTES + text_size(task->former->devices) : size;
}

static void fill_task(struct writer *w, const struct task *task, Godwit__SnapshotTask *out)
{
	Godwit__Usage *usage = &w->usages[w->task_count];

	godwit__snapshot_task__init(out);
	out->index = task->index;
	out->state = task->state;
	out->attempt = task->attempt;
	out->failures = task->failures;
	out->losses = task->losses;
	out->node = task->node ? task->node->index + 1 : 0;
	out->port = task->port;
	out->port_count = task->port_count;
	out->rtt_us = task->rtt_us;
	out->exit_code = task->exit_code;
	out->signal = task->signal;
	if (task->devices)
		out->devices = task->devices;
	if (task->error)
		out->error = task->error;
	out->started_wall_us = task->started_wall_us;
	out->unheard = task->unheard;
	out->ended = task->ended;
	out->declined = task->declined;
	if (task->earlier)
		fill_earlier(task->earlier, w->earlier[w->task_count], out);
	if (task->attempt_last != task->attempt)
		out->attempt_last = task->attempt_last;
	if (task->former) {
		out->former = &w->formers[w->task_count];
		fill_former(task->former, out->former);
	}
	task_usage(task, usage);
	out->usage = usage;
}

static bool waits_in_order(const struct job *job)
{
	for (const struct task *task = job->waiting; task; task = task->next) {
		if (task->next && task->next < task)
			return false;
	}
	return true;
}

static int write_waiting(struct writer *w, const struct job *job, Godwit__SnapshotJob *out)
{
	const struct task *task = job->waiting;
	int result = 0;

	while (task && result == 0) {
		uint32_t first = task->index;
		uint32_t count = 1;

		while (task->next == task + 1) {
			task = task->next;
			count++;
		}
		task = task->next;
		out = job_room(w, out, (size_t)2 * NUMBER_BYTES, &result);
		out->waiting[out->n_waiting++] = first;
		out->waiting[out->n_waiting++] = count;
		w->number_count += 2;
	}
	return result;
}

static int write_job(struct writer *w, const struct job *job)
{
	Godwit__SnapshotJob *out;
	int result = make_room(w, job->spec_size + JOB_BYTES);

	out = job_begin(w);
	fill_job(w, job, out);
	for (uint32_t i = 0; i < job->task_count && result == 0; i++) {
		const struct task *task = &job->tasks[i];

		if (untouched(task))
			continue;
		out = job_room(w, out, task_size(task), &result);
		fill_task(w, task, &w->tasks[w->task_count]);
		w->task_list[w->task_count] = &w->tasks[w->task_count];
		w->task_count++;
		out->n_tasks++;
	}
	if (result == 0 && !waits_in_order(job))
		result = write_waiting(w, job, out);
	return result;
}

static int write_jobs(struct writer *w)
{
	uint32_t count = w->s->jobs.count;
	int result = 0;

	for (const struct job *job = w->s->newest; job; job = job->older) {
		CHECK(count > 0);
		w->jobs[--count] = job;
	}
	for (uint32_t i = 0; i < w->s->jobs.count && result == 0; i++)
		result = write_job(w, w->jobs[i]);
	return result;
}

/* --- lists ----------------------------------------------------------------------------------- */

static uint32_t job_index(const struct writer *w, const struct job *job)
{
	uint32_t low = 0;
	uint32_t high = w->s->jobs.count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (w->jobs[middle]->order < job->order)
			low = middle + 1;
		else
			high = middle;
	}
	CHECK(low < w->s->jobs.count && w->jobs[low] == job);
	return low;
}

static int write_ended(struct writer *w)
{
	int result = 0;

	for (const struct job *job = w->s->ended_first; job && result == 0; job = job->ended_next) {
		result = make_room(w, NUMBER_BYTES);
		w->message.ended = w->numbers;
		w->message.ended[w->message.n_ended++] = job_index(w, job);
	}
	return result;
}

static int write_share(struct writer *w, const struct share *share)
{
	int result = 0;

	for (const struct job *job = share->first; job && result == 0; job = job->queue_next) {
		result = make_room(w, NUMBER_BYTES);
		w->message.queued = w->others;
		w->message.queued[w->message.n_queued++] = job_index(w, job);
	}
	return result;
}

static int write_queued(struct writer *w)
{
	int result = 0;

	for (uint32_t p = PRIORITY_MAX + 1; p-- > 0 && result == 0;) {
		for (const struct share *share = w->s->queues[p]; share && result == 0;
		     share = share->next)
			result = write_share(w, share);
	}
	return result;
}

static int write_held(struct writer *w, const struct node *node)
{
	const struct task *before = NULL;
	Godwit__SnapshotHeld *out;
	int result;

	if (node->task_count == 0)
		return 0;
	result = make_room(w, (size_t)node->task_count * 2 * NUMBER_BYTES);
	out = &w->held[w->message.n_held];
	godwit__snapshot_held__init(out);
	out->node = node->index;
	out->jobs = &w->numbers[w->number_count];
	out->tasks = &w->others[w->number_count];
	for (const struct task *task = node->tasks; task; task = task->next) {
		out->jobs[out->n_jobs] = before && before->job == task->job
						 ? out->jobs[out->n_jobs - 1]
						 : job_index(w, task->job);
		out->n_jobs++;
		out->tasks[out->n_tasks++] = task->index;
		before = task;
	}
	w->number_count += node->task_count;
	w->held_list[w->message.n_held++] = out;
	return result;
}

/* Each list begins a piece of its own, because they share the memory of their numbers. */
static int piece_next(struct writer *w)
{
	int result = piece_end(w);

	piece_begin(w);
	return result;
}

static int write_lists(struct writer *w)
{
	int result = piece_next(w);

	if (result == 0)
		result = write_ended(w);
	if (result == 0)
		result = piece_next(w);
	if (result == 0)
		result = write_queued(w);
	if (result == 0)
		result = piece_next(w);
	for (uint32_t i = 0; i < w->s->nodes.count && result == 0; i++)
		result = write_held(w, w->s->nodes.entries[i]);
	return result;
}

static void write_head(struct writer *w)
{
	const struct scheduler *s = w->s;

	godwit__snapshot_head__init(&w->head);
	w->head.seq = s->seq;
	w->head.term = s->term;
	w->head.epoch = s->epoch;
	w->head.next_job = s->next_job;
	w->head.records_lost = s->records_lost;
	w->head.records_lost_text = unconst(s->records_lost_text);
	w->head.epochs = w->epoch_list;
	for (uint32_t i = 0; i < s->epoch_count; i++) {
		godwit__snapshot_epoch__init(&w->epochs[i]);
		w->epochs[i].epoch = s->epochs[i].epoch;
		w->epochs[i].next_job = s->epochs[i].next_job;
		w->epoch_list[w->head.n_epochs++] = &w->epochs[i];
	}
	w->message.head = &w->head;
	w->size = sizeof(w->head) + sizeof(w->epochs);
}

static int write_all(struct writer *w)
{
	int result;

	piece_begin(w);
	write_head(w);
	result = write_who(w);
	if (result == 0)
		result = write_jobs(w);
	if (result == 0)
		result = write_lists(w);
	if (result != 0)
		return result;
	w->message.last = true;
	return piece_end(w);
}

int snapshot_write(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	const struct scheduler *s = (const struct scheduler *)node;
	struct writer *w = calloc(1, sizeof(*w));
	int result = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->s = s;
	w->piece = piece;
	w->context = context;
	w->jobs = calloc((size_t)s->jobs.count + 1, sizeof(const struct job *));
	if (w->jobs)
		result = write_all(w);
	free(w->bytes);
	free(w->jobs);
	free(w);
	return result;
}
