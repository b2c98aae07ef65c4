/*
 * Pipelines. The first rule: never put the WAN in the token loop when the pipeline fits a site. If
 * it does not, or the job asks for several sites, consecutive stages stand on a ring of sites, and
 * each token travels the ring once: the sum of the one-way delays between neighbours, the way back
 * of the sampled token included. The shortest ring is sought by nearest neighbour from each site,
 * then by branch and bound until the work units end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/place/plan.h"

#define FAR_US (1u << 30)      /* longer than any distance: a pair that may not be used */
#define UNMEASURED_US 1000000u /* what an unmeasured pair counts where no promise hangs on it */

struct site_room {
	struct gw_candidate *candidates;
	uint32_t candidate_count;
	uint32_t room; /* stages that fit, at most all */
	uint64_t room_total;
};

struct ring {
	uint32_t *sites; /* [count] in pipeline order */
	uint32_t count;
	uint32_t room;
	uint64_t way_us; /* sum of RTTs from each to the next, without the way back: twice the delay
			  */
};

struct search {
	struct gw_grid *grid;
	const struct gw_request *request;
	struct gw_work *work;
	struct site_room *rooms; /* [site_count] */
	uint32_t depth_max;
	struct ring best;      /* count 0: none found */
	uint64_t best_loop_us; /* twice the delay, way back included */
	bool unmeasured;       /* a pair was left out because nobody has measured it */
};

static uint32_t distance(struct search *search, uint32_t from, uint32_t to)
{
	const struct gw_request *request = search->request;
	uint32_t rtt_us = gw_grid_rtt_us(search->grid, from, to);

	if (rtt_us == GW_GRID_RTT_UNKNOWN_US) {
		if (request->model.stage_us == 0 && request->rtt_us_max == 0)
			return UNMEASURED_US;
		search->unmeasured = true;
		return FAR_US;
	}
	if (request->rtt_us_max > 0 && rtt_us > request->rtt_us_max)
		return FAR_US;
	return rtt_us;
}

/* May this site follow in the ring? The RTT limit holds between all, not only neighbours. */
static bool may_follow(struct search *search, const struct ring *ring, uint32_t site)
{
	if (search->rooms[site].room == 0)
		return false;
	for (uint32_t i = 0; i < ring->count; i++) {
		if (ring->sites[i] == site)
			return false;
		if ((search->request->rtt_us_max > 0 || i == ring->count - 1) &&
		    distance(search, ring->sites[i], site) == FAR_US)
			return false;
	}
	return true;
}

static void push(struct search *search, struct ring *ring, uint32_t site)
{
	if (ring->count > 0)
		ring->way_us += distance(search, ring->sites[ring->count - 1], site);
	ring->room += search->rooms[site].room;
	ring->sites[ring->count++] = site;
}

static void pop(struct search *search, struct ring *ring)
{
	uint32_t site = ring->sites[--ring->count];

	ring->room -= search->rooms[site].room;
	if (ring->count > 0)
		ring->way_us -= distance(search, ring->sites[ring->count - 1], site);
}

/* Keeps the ring if it holds all stages and is shorter than the best. */
static void offer(struct search *search, const struct ring *ring)
{
	uint32_t back_us = distance(search, ring->sites[ring->count - 1], ring->sites[0]);
	uint64_t loop_us = ring->way_us + back_us;

	if (ring->room < search->request->task_count || back_us == FAR_US ||
	    loop_us >= search->best_loop_us)
		return;
	memcpy(search->best.sites, ring->sites, ring->count * sizeof(*ring->sites));
	search->best.count = ring->count;
	search->best_loop_us = loop_us;
}

/* From this site always on to the nearest, until all stages have room. */
static void search_greedy(struct search *search, struct ring *ring, uint32_t start)
{
	ring->count = 0;
	ring->room = 0;
	ring->way_us = 0;
	push(search, ring, start);
	while (ring->room < search->request->task_count && ring->count < search->depth_max) {
		uint32_t last = ring->sites[ring->count - 1];
		uint32_t nearest = UINT32_MAX;

		if (!gw_work_spend(search->work, search->grid->site_count))
			return;
		for (uint32_t site = 0; site < search->grid->site_count; site++) {
			if (may_follow(search, ring, site) &&
			    (nearest == UINT32_MAX ||
			     distance(search, last, site) < distance(search, last, nearest)))
				nearest = site;
		}
		if (nearest == UINT32_MAX)
			return;
		push(search, ring, nearest);
	}
	offer(search, ring);
}

/*
 * All rings that begin at their lowest-numbered site (a ring turned is the same ring), depth first,
 * cut where the way so far is already longer than the best loop. `next` [depth_max + 1] is the next
 * site to try at each depth.
 */
static void search_all(struct search *search, struct ring *ring, uint32_t *next)
{
	ring->count = 0;
	ring->room = 0;
	ring->way_us = 0;
	next[0] = 0;
	while (gw_work_spend(search->work, 1)) {
		uint32_t site = next[ring->count]++;

		if (site >= search->grid->site_count) {
			if (ring->count == 0)
				return;
			pop(search, ring);
			continue;
		}
		if (!may_follow(search, ring, site))
			continue;
		push(search, ring, site);
		if (ring->room >= search->request->task_count)
			offer(search, ring);
		if (ring->room >= search->request->task_count || ring->count == search->depth_max ||
		    ring->way_us >= search->best_loop_us)
			pop(search, ring);
		else
			next[ring->count] = ring->sites[0] + 1;
	}
}

/* False: no memory. */
static bool survey(struct search *search)
{
	for (uint32_t site = 0; site < search->grid->site_count; site++) {
		struct site_room *room = &search->rooms[site];
		uint32_t stage_count = search->request->task_count;

		room->candidates = gw_grid_alloc(search->grid, search->grid->sites[site].node_count,
						 sizeof(*room->candidates));
		if (!room->candidates)
			return false;
		room->candidate_count =
			gw_plan_candidates(search->grid, search->request, site, stage_count,
					   search->work, room->candidates);
		for (uint32_t i = 0; i < room->candidate_count; i++)
			room->room_total += room->candidates[i].room;
		if (search->request->spread == GW_SPREAD_SITE && room->room_total > 1)
			room->room_total = 1;
		room->room =
			room->room_total < stage_count ? (uint32_t)room->room_total : stage_count;
	}
	return true;
}

/* The site with the smallest room that holds the whole pipeline; UINT32_MAX: none does. */
static uint32_t single_site(const struct search *search)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t site = 0; site < search->grid->site_count; site++) {
		if (search->rooms[site].room == search->request->task_count &&
		    (best == UINT32_MAX ||
		     search->rooms[site].room_total < search->rooms[best].room_total))
			best = site;
	}
	return best;
}

static bool find_ring(struct search *search)
{
	struct gw_grid *grid = search->grid;
	uint32_t depth_max = search->depth_max;
	struct ring ring = {.sites = gw_grid_alloc(grid, depth_max + 1, sizeof(*ring.sites))};
	uint32_t *next = gw_grid_alloc(grid, depth_max + 1, sizeof(*next));

	search->best.sites = gw_grid_alloc(grid, depth_max + 1, sizeof(*search->best.sites));
	search->best_loop_us = UINT64_MAX;
	if (!ring.sites || !next || !search->best.sites)
		return false;
	for (uint32_t site = 0; site < grid->site_count; site++) {
		if (search->rooms[site].room > 0)
			search_greedy(search, &ring, site);
	}
	search_all(search, &ring, next);
	return search->best.count > 0;
}

static void fill(struct search *search, const struct ring *ring, uint32_t loop_rtt_us,
		 struct gw_plan_job *job)
{
	uint32_t stage_count = search->request->task_count;

	for (uint32_t i = 0; i < ring->count; i++) {
		const struct site_room *room = &search->rooms[ring->sites[i]];
		uint32_t left = room->room;

		for (uint32_t c = 0; c < room->candidate_count; c++) {
			for (uint32_t n = 0; n < room->candidates[c].room; n++) {
				if (left == 0 || job->place_count == stage_count ||
				    !gw_plan_put(search->grid, search->request,
						 room->candidates[c].node, loop_rtt_us, job))
					break;
				left--;
			}
		}
	}
	if (job->place_count < stage_count)
		job->place_count = 0; /* all or none */
}

static void say_no(const struct search *search, struct gw_plan_job *job)
{
	uint32_t stage_count = search->request->task_count;
	uint64_t room = 0;

	for (uint32_t site = 0; site < search->grid->site_count; site++)
		room += search->rooms[site].room;
	job->unfinished = search->work->units_left == 0;
	if (room < stage_count)
		(void)snprintf(job->reason, sizeof(job->reason),
			       "the gang needs %u places at once and %llu are free", stage_count,
			       (unsigned long long)room);
	else if (search->request->spread == GW_SPREAD_PACK)
		(void)snprintf(job->reason, sizeof(job->reason),
			       "no single site has %u places free at once", stage_count);
	else if (search->unmeasured)
		(void)snprintf(
			job->reason, sizeof(job->reason),
			"no single site has %u places free, and the RTT between sites is not "
			"all measured yet",
			stage_count);
	else
		(void)snprintf(job->reason, sizeof(job->reason),
			       "no sites with %u places together lie within the job's RTT limit",
			       stage_count);
}

/* Crossing sites is accepted within the loss budget, or where the job asked for it. */
static bool within_budget(const struct search *search, struct gw_plan_job *job)
{
	const struct gw_serve_model *model = &search->request->model;

	if (!job->prediction.present || search->request->spread == GW_SPREAD_SITE ||
	    job->prediction.loss_ppm <= model->loss_budget_ppm)
		return true;
	(void)snprintf(job->reason, sizeof(job->reason),
		       "the best placement now, over %u sites with a loop of %.1f ms, would lose "
		       "%.1f %% to the distance; the job's budget is %.1f %%",
		       search->best.count, job->prediction.rtt_us / 1e3,
		       job->prediction.loss_ppm / 1e4, model->loss_budget_ppm / 1e4);
	return false;
}

void gw_serve_place(struct gw_grid *grid, const struct gw_request *request, struct gw_work *work,
		    struct gw_plan_job *job)
{
	struct search search = {.grid = grid, .request = request, .work = work};
	uint32_t stage_count = request->task_count;
	uint32_t single;

	CHECK(request->gang);
	CHECK(stage_count > 0);
	search.depth_max = stage_count < grid->site_count ? stage_count : grid->site_count;
	search.rooms = gw_grid_alloc(grid, grid->site_count, sizeof(*search.rooms));
	if (!search.rooms || !survey(&search)) {
		job->unfinished = true;
		return;
	}
	single = single_site(&search);
	if (single != UINT32_MAX) {
		struct ring alone = {.sites = &single, .count = 1};

		job->prediction = gw_predict(&request->model, stage_count, 0);
		fill(&search, &alone, 0, job);
		return;
	}
	if (request->spread == GW_SPREAD_PACK || !find_ring(&search)) {
		say_no(&search, job);
		return;
	}
	job->prediction =
		gw_predict(&request->model, stage_count, (uint32_t)(search.best_loop_us / 2));
	if (within_budget(&search, job))
		fill(&search, &search.best, (uint32_t)(search.best_loop_us / 2), job);
}
