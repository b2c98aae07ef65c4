/*
 * Which jobs the next plan looks at. Higher priorities first; among the users of one priority, the
 * one served least: dominant resource fairness (Ghodsi et al., NSDI 2011) over what their tasks
 * hold now, in the region as a whole; among the jobs of one user, the first to come.
 *
 * Each share (one user's jobs of one priority) keeps a cursor. Once capacity has changed it begins
 * at the head again, but with half of its part of a plan at most: then it goes on where it was, so
 * that jobs behind many that do not fit are looked at too, however often capacity changes. A new
 * job is looked at by itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define PPM 1000000u

__extension__ typedef unsigned __int128 u128;

/* --- shares ---------------------------------------------------------------------------------- */

static struct user *user_make(struct scheduler *s, struct gw_node_id id)
{
	struct user *user = gw_table_find(&s->users, &id);

	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->id = id;
	if (gw_table_add(&s->users, user) != 0) {
		free(user);
		return NULL;
	}
	return user;
}

struct share *share_ref(struct scheduler *s, struct gw_node_id owner, uint32_t priority)
{
	struct user *user = user_make(s, owner);
	struct share *share = user ? user->shares : NULL;

	while (share && share->priority != priority)
		share = share->user_next;
	if (!share && user) {
		share = calloc(1, sizeof(*share));
		if (!share)
			return NULL; /* the process stops */
		share->user = user;
		share->priority = priority;
		share->user_next = user->shares;
		user->shares = share;
	}
	if (share)
		user->jobs++;
	return share;
}

void user_free(struct user *user)
{
	while (user->shares) {
		struct share *share = user->shares;

		user->shares = share->user_next;
		free(share);
	}
	free(user);
}

/* The shares of a user go with its last job. */
void share_unref(struct scheduler *s, struct share *share)
{
	struct user *user = share->user;

	CHECK(user->jobs > 0);
	if (--user->jobs > 0)
		return;
	CHECK(gw_table_remove(&s->users, &user->id) == user);
	user_free(user);
}

void share_add(struct scheduler *s, struct share *share, struct job *job)
{
	struct share **head = &s->queues[share->priority];

	if (!share->first) {
		share->prev = NULL;
		share->next = *head;
		if (share->next)
			share->next->prev = share;
		*head = share;
	}
	job->queue_prev = share->last;
	if (share->last)
		share->last->queue_next = job;
	else
		share->first = job;
	share->last = job;
	job->queued = true;
	if (share->head_left > 0 && !share->deep)
		share->deep = job;
	else if (share->pass == s->plan_pass && !share->cursor)
		share->cursor = job;
	s->plan_wanted = true;
}

void share_remove(struct scheduler *s, struct share *share, struct job *job)
{
	if (!job->queued)
		return;
	if (share->cursor == job)
		share->cursor = job->queue_next;
	if (share->deep == job)
		share->deep = job->queue_next;
	if (job->queue_prev)
		job->queue_prev->queue_next = job->queue_next;
	else
		share->first = job->queue_next;
	if (job->queue_next)
		job->queue_next->queue_prev = job->queue_prev;
	else
		share->last = job->queue_prev;
	job->queue_next = NULL;
	job->queue_prev = NULL;
	job->queued = false;
	if (!share->first || share->cursor == share->deep)
		share->head_left = 0;
	if (share->first)
		return;
	if (share->prev)
		share->prev->next = share->next;
	else
		s->queues[share->priority] = share->next;
	if (share->next)
		share->next->prev = share->prev;
}

void share_account(struct share *share, const struct gw_need *need, bool add)
{
	struct user *user = share->user;

	if (add) {
		user->cpu_milli_held += need->cpu_milli;
		user->memory_bytes_held += need->memory_bytes;
		user->devices_held += need->device_count;
		return;
	}
	user->cpu_milli_held -= need->cpu_milli;
	user->memory_bytes_held -= need->memory_bytes;
	user->devices_held -= need->device_count;
}

/* --- picking --------------------------------------------------------------------------------- */

void fair_wake(struct scheduler *s)
{
	s->plan_pass++;
	s->plan_wanted = true;
}

static struct job *cursor(const struct scheduler *s, const struct share *share)
{
	return share->pass == s->plan_pass || share->cursor ? share->cursor : share->first;
}

/* Back to the head for `count` jobs, if capacity has changed; 0: not in this plan. */
static void to_head(const struct scheduler *s, struct share *share, uint32_t count)
{
	if (share->pass == s->plan_pass || (share->cursor && count == 0))
		return;
	share->pass = s->plan_pass;
	if (share->head_left == 0)
		share->deep = share->cursor;
	share->head_left = share->cursor ? count : 0;
	share->cursor = share->first;
}

/* The cursor goes on by one job. */
static void advance(struct share *share)
{
	share->cursor = share->cursor->queue_next;
	if (share->head_left == 0)
		return;
	if (share->cursor == share->deep || !share->cursor)
		share->head_left = 0;
	else if (--share->head_left == 0)
		share->cursor = share->deep;
}

/* What a user holds of what the region has, in its scarcest kind. */
static uint64_t dominant_ppm(const struct scheduler *s, const struct user *user,
			     const struct gw_need *need, uint32_t more)
{
	const uint64_t held[] = {
		user->cpu_milli_held + (uint64_t)need->cpu_milli * more,
		user->memory_bytes_held + need->memory_bytes * more,
		user->devices_held + (uint64_t)need->device_count * more,
	};
	const uint64_t total[] = {s->cpu_milli_total, s->memory_bytes_total, s->devices_total};
	uint64_t most = 0;

	for (uint32_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		u128 part = total[i] ? (u128)held[i] * PPM / total[i] : 0;

		if (part > most)
			most = (uint64_t)part;
	}
	return most;
}

/* One that stands in line for this plan. */
struct contender {
	struct share *share;
	struct job *job;
	uint64_t served_ppm; /* what its user holds, and what this plan may add */
};

/* A total order, so that the list's own order never shows. */
static bool before(const struct contender *a, const struct contender *b)
{
	if (a->served_ppm != b->served_ppm)
		return a->served_ppm < b->served_ppm;
	return a->job->order < b->job->order;
}

/* A binary heap, least served on top. */
static void sift_down(struct contender *heap, uint32_t count, uint32_t at)
{
	for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
		struct contender moved = heap[at];

		if (child + 1 < count && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &heap[at]))
			return;
		heap[at] = heap[child];
		heap[child] = moved;
		at = child;
	}
}

/* The shares of a priority with jobs still to be looked at, as a heap in the step's arena. */
static struct contender *line_up(struct scheduler *s, uint32_t priority, uint32_t *ret_count)
{
	struct contender *heap;
	uint32_t count = 0;
	uint32_t head;

	*ret_count = 0;
	for (struct share *share = s->queues[priority]; share; share = share->next)
		count += cursor(s, share) != NULL;
	if (count == 0)
		return NULL;
	heap = gw_arena_alloc(&s->arena, count * sizeof(*heap));
	if (!heap) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	head = count < GW_GRID_REQUESTS_MAX ? GW_GRID_REQUESTS_MAX / count / 2
					    : (uint32_t)(s->plan_number & 1);
	for (struct share *share = s->queues[priority]; share; share = share->next) {
		struct job *job;

		to_head(s, share, head);
		share->picked = 0;
		job = cursor(s, share);
		if (job)
			heap[(*ret_count)++] = (struct contender){
				.share = share,
				.job = job,
				.served_ppm = dominant_ppm(s, share->user, &job->need, 0),
			};
	}
	for (uint32_t i = count; i-- > 0;)
		sift_down(heap, count, i);
	return heap;
}

struct picks {
	struct pick *list; /* [GW_GRID_REQUESTS_MAX] */
	uint32_t count;
	uint32_t room; /* for tasks */
};

/* Takes the job of the first in line. False: it is a gang that finds no room in this plan. */
static bool pick(const struct scheduler *s, struct contender *first, uint32_t slice,
		 struct picks *picks)
{
	struct job *job = first->job;
	uint32_t tasks = job->counts[TASK_WAITING];

	if (!job->gang && tasks > slice)
		tasks = slice;
	if (!job->gang && tasks > picks->room)
		tasks = picks->room;
	if (tasks > picks->room)
		return false;
	picks->list[picks->count++] = (struct pick){.job = job, .task_count = tasks};
	picks->room -= tasks;
	first->served_ppm += dominant_ppm(s, first->share->user, &job->need, tasks) -
			     dominant_ppm(s, first->share->user, &job->need, 0);
	first->share->picked++;
	advance(first->share);
	first->job = first->share->cursor;
	return true;
}

/* When several users contend, each has its slice of the plan, in tasks and in jobs, and no more. */
static void pick_priority(struct scheduler *s, uint32_t priority, struct picks *picks)
{
	uint32_t count;
	struct contender *heap = line_up(s, priority, &count);
	uint32_t users = count < GW_GRID_REQUESTS_MAX ? count : GW_GRID_REQUESTS_MAX;
	uint32_t slice = users > 0 ? GW_GRID_TASKS_MAX / users : 0;
	uint32_t jobs = users > 0 ? GW_GRID_REQUESTS_MAX / users : 0;

	while (count > 0 && picks->count < GW_GRID_REQUESTS_MAX && picks->room > 0) {
		if (!pick(s, &heap[0], slice, picks) || !heap[0].job ||
		    heap[0].share->picked == jobs)
			heap[0] = heap[--count];
		sift_down(heap, count, 0);
	}
}

uint32_t fair_pick(struct scheduler *s, struct pick *ret_list)
{
	struct picks picks = {.list = ret_list, .room = GW_GRID_TASKS_MAX};

	if (!s->plan_wanted)
		return 0;
	node_maxima(s);
	for (uint32_t p = PRIORITY_MAX + 1; p-- > 0;) {
		if (s->queues[p])
			pick_priority(s, p, &picks);
	}
	s->plan_wanted = picks.count > 0;
	return picks.count;
}

void fair_resume(struct scheduler *s, struct job *job, bool after, uint64_t plan)
{
	struct share *share = job->share;

	if (share->plan_resume == plan)
		return; /* set back to an earlier job */
	share->plan_resume = plan;
	s->plan_wanted = true;
	share->head_left = 0;
	share->cursor = after ? job->queue_next : job;
}
