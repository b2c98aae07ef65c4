/* The run over all requests, and what the planners share: candidates by best fit, and putting. */
#include "scheduler/place/plan.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

bool gw_work_spend(struct gw_work *work, uint64_t units)
{
	if (work->units_left < units) {
		work->units_left = 0;
		return false;
	}
	work->units_left -= units;
	return true;
}

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014) over seed and index. */
uint64_t gw_work_tie(const struct gw_work *work, uint32_t index)
{
	uint64_t x = work->seed + 0x9e3779b97f4a7c15ull * ((uint64_t)index + 1);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

struct gw_plan_result *gw_plan_free(struct gw_plan_result *plan)
{
	if (plan)
		gw_arena_deinit(&plan->arena);
	free(plan);
	return NULL;
}

static double share_left(uint64_t free_amount, uint64_t need, uint64_t total)
{
	return total == 0 ? 0 : (double)(free_amount - need) / (double)total;
}

/* Best fit over cpu and memory; a node with free devices is kept for those who need them. */
static double leftover(const struct gw_grid_node *node, const struct gw_need *need)
{
	double left = share_left(node->cpu_milli_free, need->cpu_milli, node->cpu_milli) +
		      share_left(node->memory_bytes_free, need->memory_bytes, node->memory_bytes);

	if (need->device_count == 0 && node->devices_free != 0)
		left += 2;
	return left;
}

static int compare_candidates(const void *a, const void *b)
{
	const struct gw_candidate *x = a;
	const struct gw_candidate *y = b;

	if (x->leftover < y->leftover || x->leftover > y->leftover)
		return x->leftover < y->leftover ? -1 : 1;
	if (x->tie != y->tie)
		return x->tie < y->tie ? -1 : 1;
	return x->node < y->node ? -1 : x->node > y->node;
}

static bool node_held(const struct gw_request *request, uint32_t node)
{
	for (uint32_t i = 0; i < request->nodes_held_count; i++) {
		if (request->nodes_held[i] == node)
			return true;
	}
	return false;
}

uint32_t gw_plan_candidates(const struct gw_grid *grid, const struct gw_request *request,
			    uint32_t site, uint32_t room_max, struct gw_work *work,
			    struct gw_candidate *ret_list)
{
	const struct gw_grid_site *from = &grid->sites[site];
	uint32_t count = 0;

	if (!request->site_allowed[site])
		return 0;
	if (request->spread == GW_SPREAD_SITE && request->site_held[site] > 0)
		return 0;
	for (uint32_t i = 0; i < from->node_count; i++) {
		uint32_t node = from->node_first + i;
		uint32_t room;

		if (!gw_work_spend(work, 1 + request->nodes_held_count / 8))
			break;
		if (request->spread == GW_SPREAD_NODE && node_held(request, node))
			continue;
		room = gw_grid_room(grid, request, node,
				    request->spread == GW_SPREAD_NODE ? 1 : room_max);
		if (room == 0)
			continue;
		ret_list[count++] = (struct gw_candidate){
			.node = node,
			.room = room,
			.leftover = leftover(&grid->nodes[node], &request->need),
			.tie = gw_work_tie(work, node),
		};
	}
	qsort(ret_list, count, sizeof(*ret_list), compare_candidates);
	return count;
}

bool gw_plan_put(struct gw_grid *grid, const struct gw_request *request, uint32_t node,
		 uint32_t rtt_us, struct gw_plan_job *job)
{
	struct gw_grid_node *on = &grid->nodes[node];
	struct gw_plan_place *place = &job->places[job->place_count];

	CHECK(job->place_count < request->task_count);
	if (!gw_grid_take(on, &request->need, &place->port, &place->devices))
		return false;
	place->node = on->id;
	place->task_index = request->tasks[job->place_count];
	place->site = on->site;
	place->rtt_us = rtt_us;
	job->place_count++;
	return true;
}

/* Room for the answers of all requests, in the plan's own memory. */
static bool plan_prepare(struct gw_plan_result *plan, const struct gw_grid *grid)
{
	plan->job_count = grid->request_count;
	plan->site_count = grid->site_count;
	plan->jobs = gw_arena_alloc(&plan->arena, (plan->job_count + 1) * sizeof(*plan->jobs));
	if (!plan->jobs)
		return false;
	for (uint32_t i = 0; i < plan->job_count; i++) {
		struct gw_plan_job *job = &plan->jobs[i];
		size_t count = grid->requests[i].task_count + 1;

		memset(job, 0, sizeof(*job));
		job->job = grid->requests[i].job;
		job->places = gw_arena_alloc(&plan->arena, count * sizeof(*job->places));
		if (!job->places)
			return false;
		if (!grid->explain)
			continue;
		job->verdicts = gw_arena_alloc(&plan->arena,
					       (grid->site_count + 1) * sizeof(*job->verdicts));
		if (!job->verdicts)
			return false;
	}
	return true;
}

void *gw_plan_run(void *snapshot, uint64_t work_units, uint64_t seed)
{
	struct gw_grid *grid = snapshot;
	struct gw_plan_result *plan = calloc(1, sizeof(*plan));
	struct gw_work work = {.units_left = work_units, .seed = seed};

	if (!plan)
		goto out;
	gw_arena_init(&plan->arena, GW_GRID_BYTES_MAX);
	if (!plan_prepare(plan, grid)) {
		plan = gw_plan_free(plan);
		goto out;
	}
	for (uint32_t i = 0; i < plan->job_count; i++) {
		struct gw_plan_job *job = &plan->jobs[i];

		if (grid->requests[i].gang)
			gw_serve_place(grid, &grid->requests[i], &work, job);
		else
			gw_batch_place(grid, &grid->requests[i], &work, job);
		if (job->verdicts &&
		    !gw_explain(grid, &grid->requests[i], job, &plan->arena, job->verdicts))
			job->verdicts = NULL;
	}
out:
	gw_grid_free(grid);
	return plan;
}
