/*
 * Independent tasks. Sites are taken one after the other, nearest to the first one first, and
 * within a site nodes by best fit: big holes stay whole for big tasks, and the tasks of one job,
 * which tend to share data, stay near each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/place/plan.h"

struct site_choice {
	struct gw_candidate *candidates; /* [candidate_count] best first */
	uint32_t candidate_count;
	uint64_t room_total; /* tasks that fit */
	uint32_t room;       /* the same, at most the request's count */
	uint32_t site;
	uint32_t rtt_us; /* from the first site */
};

/* Looks at every site. False: no memory. */
static bool survey(struct gw_grid *grid, const struct gw_request *request, struct gw_work *work,
		   struct site_choice *choices)
{
	for (uint32_t site = 0; site < grid->site_count; site++) {
		struct site_choice *choice = &choices[site];

		choice->site = site;
		choice->room_total = 0;
		choice->candidates = gw_grid_alloc(grid, grid->sites[site].node_count,
						   sizeof(*choice->candidates));
		if (!choice->candidates)
			return false;
		choice->candidate_count = gw_plan_candidates(
			grid, request, site, request->task_count, work, choice->candidates);
		for (uint32_t i = 0; i < choice->candidate_count; i++)
			choice->room_total += choice->candidates[i].room;
		if (request->spread == GW_SPREAD_SITE && choice->room_total > 1)
			choice->room_total = 1;
		choice->room = choice->room_total < request->task_count
				       ? (uint32_t)choice->room_total
				       : request->task_count;
	}
	return true;
}

/* Held sites first, then the smallest room that takes all, then the largest. */
static bool better_first(const struct gw_request *request, const struct site_choice *a,
			 const struct site_choice *b)
{
	uint32_t held_a = request->site_held[a->site];
	uint32_t held_b = request->site_held[b->site];

	if (held_a != held_b)
		return held_a > held_b;
	if (a->room != b->room)
		return a->room > b->room;
	return a->room == request->task_count && a->room_total < b->room_total;
}

static uint32_t first_site(const struct gw_grid *grid, const struct gw_request *request,
			   const struct site_choice *choices)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < grid->site_count; i++) {
		if (better_first(request, &choices[i], &choices[best]))
			best = i;
	}
	return best;
}

static int compare_sites(const void *a, const void *b)
{
	const struct site_choice *x = a;
	const struct site_choice *y = b;

	if (x->rtt_us != y->rtt_us)
		return x->rtt_us < y->rtt_us ? -1 : 1;
	if (x->room != y->room)
		return x->room > y->room ? -1 : 1;
	return x->site < y->site ? -1 : x->site > y->site;
}

/* Orders the sites by distance from `first`. */
static void order_from(const struct gw_grid *grid, uint32_t first, struct site_choice *choices)
{
	for (uint32_t i = 0; i < grid->site_count; i++)
		choices[i].rtt_us = gw_grid_rtt_us(grid, first, choices[i].site);
	qsort(choices, grid->site_count, sizeof(*choices), compare_sites);
}

static bool near_enough(const struct gw_grid *grid, const struct gw_request *request, uint32_t a,
			uint32_t b)
{
	return gw_grid_rtt_us(grid, a, b) <= request->rtt_us_max &&
	       gw_grid_rtt_us(grid, b, a) <= request->rtt_us_max;
}

/* Within the RTT limit of every site that holds the job or was chosen before? */
static bool site_within(const struct gw_grid *grid, const struct gw_request *request,
			const struct site_choice *choices, const bool *taken, uint32_t index)
{
	uint32_t site = choices[index].site;

	if (request->rtt_us_max == 0)
		return true;
	for (uint32_t i = 0; i < grid->site_count; i++) {
		bool counts = taken[i] || request->site_held[choices[i].site] > 0;

		if (counts && !near_enough(grid, request, site, choices[i].site))
			return false;
	}
	return true;
}

/* Marks the sites to be used, in order, until all tasks have room; returns that room. */
static uint32_t take_sites(const struct gw_grid *grid, const struct gw_request *request,
			   const struct site_choice *choices, struct gw_work *work, bool *taken)
{
	uint32_t room = 0;

	memset(taken, 0, grid->site_count * sizeof(*taken));
	for (uint32_t i = 0; i < grid->site_count && room < request->task_count; i++) {
		if (request->spread == GW_SPREAD_PACK && i > 0)
			break;
		if (choices[i].room == 0 ||
		    !gw_work_spend(work, request->rtt_us_max > 0 ? grid->site_count : 1) ||
		    !site_within(grid, request, choices, taken, i))
			continue;
		taken[i] = true;
		room += choices[i].room;
	}
	return room < request->task_count ? room : request->task_count;
}

/* With an RTT limit the first site decides what is in reach: tries each and keeps the best. */
static uint32_t best_start(const struct gw_grid *grid, const struct gw_request *request,
			   struct site_choice *choices, struct gw_work *work, bool *taken)
{
	uint32_t best = first_site(grid, request, choices);
	uint32_t best_room;

	if (request->rtt_us_max == 0)
		return best;
	order_from(grid, best, choices);
	best_room = take_sites(grid, request, choices, work, taken);
	for (uint32_t site = 0; site < grid->site_count && best_room < request->task_count;
	     site++) {
		uint32_t room;

		order_from(grid, site, choices);
		room = take_sites(grid, request, choices, work, taken);
		if (room > best_room) {
			best_room = room;
			best = site;
		}
	}
	return best;
}

static void fill_site(struct gw_grid *grid, const struct gw_request *request,
		      const struct site_choice *choice, struct gw_plan_job *job)
{
	uint32_t left = choice->room;

	for (uint32_t i = 0; i < choice->candidate_count && left > 0; i++) {
		const struct gw_candidate *candidate = &choice->candidates[i];

		for (uint32_t n = 0; n < candidate->room && left > 0; n++) {
			if (job->place_count == request->task_count ||
			    !gw_plan_put(grid, request, candidate->node, choice->rtt_us, job))
				break;
			left--;
		}
	}
}

void gw_batch_place(struct gw_grid *grid, const struct gw_request *request, struct gw_work *work,
		    struct gw_plan_job *job)
{
	struct site_choice *choices = gw_grid_alloc(grid, grid->site_count, sizeof(*choices));
	bool *taken = gw_grid_alloc(grid, grid->site_count, sizeof(*taken));

	CHECK(!request->gang);
	if (!choices || !taken || !survey(grid, request, work, choices)) {
		job->unfinished = true;
		return;
	}
	if (grid->site_count > 0) {
		uint64_t reserve = (uint64_t)grid->site_count * grid->site_count;

		/* For the pass that places; the search may use up the rest. */
		if (reserve > work->units_left / 2)
			reserve = work->units_left / 2;
		if (request->rtt_us_max == 0)
			reserve = 0;
		work->units_left -= reserve;
		order_from(grid, best_start(grid, request, choices, work, taken), choices);
		work->units_left += reserve;
		(void)take_sites(grid, request, choices, work, taken); /* what counts is `taken` */
	}
	for (uint32_t i = 0; i < grid->site_count; i++) {
		if (taken[i])
			fill_site(grid, request, &choices[i], job);
	}
	if (job->place_count == request->task_count)
		return;
	job->unfinished = work->units_left == 0;
	(void)snprintf(job->reason, sizeof(job->reason), "%u of %u waiting tasks fit now",
		       job->place_count, request->task_count);
}
