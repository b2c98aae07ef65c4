/*
 * The snapshot for planners: sites with their nodes, what is free on each, the distances, and what
 * some jobs ask. It holds copies and numbers only, so that a planner may work on it on another
 * thread while the state goes on.
 */
#include <errno.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

static enum gw_grid_state grid_state(const struct node *node)
{
	if (node->state == NODE_DRAINING)
		return GW_GRID_DRAINING;
	if (node->state == NODE_UP)
		return node_ready(node) ? GW_GRID_READY : GW_GRID_JOINING;
	return node->state == NODE_JOINING ? GW_GRID_JOINING : GW_GRID_SILENT;
}

static void copy_node(const struct node *node, struct gw_grid_node *to)
{
	const struct gw_grid_node *total = &node->total;

	*to = *total;
	to->id = node->id;
	to->site = node->site->index;
	to->state = grid_state(node);
	to->devices_free = total->devices_free & (uint16_t)~node->devices_used;
	memcpy(to->ports_used, node->ports_used, sizeof(to->ports_used));
	/* Capacity may have shrunk below what is given out. */
	to->cpu_milli_free = total->cpu_milli > node->cpu_milli_used
				     ? total->cpu_milli - node->cpu_milli_used
				     : 0;
	to->memory_bytes_free = total->memory_bytes > node->memory_bytes_used
					? total->memory_bytes - node->memory_bytes_used
					: 0;
	to->slots_free =
		GW_GRID_SLOTS_MAX > node->task_count ? GW_GRID_SLOTS_MAX - node->task_count : 0;
}

static void copy_sites(const struct scheduler *s, struct gw_grid *grid)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->sites.count; i++) {
		const struct site *site = s->sites.entries[i];
		struct gw_grid_site *to = &grid->sites[i];

		memcpy(to->name, site->name, sizeof(to->name));
		to->node_first = n;
		for (const struct node *node = site->nodes; node; node = node->site_next) {
			if (!node->revoked)
				copy_node(node, &grid->nodes[n++]);
		}
		to->node_count = n - to->node_first;
	}
	CHECK(n <= grid->node_count);
	grid->node_count = n;
}

/* One way measured is taken for both until the other is. */
static void copy_pairs(const struct scheduler *s, struct gw_grid *grid)
{
	for (uint32_t from = 0; from < grid->site_count; from++) {
		for (uint32_t to = 0; to < grid->site_count; to++) {
			const struct pair *there = pair_of(s, from, to);
			const struct pair *back = pair_of(s, to, from);
			uint32_t rtt_us = GW_GRID_RTT_UNKNOWN_US;

			if (there && there->rtt_us != GW_GRID_RTT_UNKNOWN_US)
				rtt_us = there->rtt_us;
			else if (back)
				rtt_us = back->rtt_us;
			grid->rtt_us[(size_t)from * grid->site_count + to] = rtt_us;
		}
	}
}

static bool copy_sites_allowed(const struct scheduler *s, struct gw_grid *grid,
			       const Godwit__JobSpec *spec, struct gw_request *request)
{
	request->site_allowed =
		gw_grid_alloc(grid, grid->site_count, sizeof(*request->site_allowed));
	request->site_held = gw_grid_alloc(grid, grid->site_count, sizeof(*request->site_held));
	if (!request->site_allowed || !request->site_held)
		return false;
	memset(request->site_allowed, spec->n_sites == 0, grid->site_count);
	for (size_t i = 0; i < spec->n_sites; i++) {
		const struct site *site = site_find(s, spec->sites[i]);

		if (site)
			request->site_allowed[site->index] = true;
	}
	for (size_t i = 0; i < spec->n_not_sites; i++) {
		const struct site *site = site_find(s, spec->not_sites[i]);

		if (site)
			request->site_allowed[site->index] = false;
	}
	return true;
}

static bool copy_texts(struct scheduler *s, struct gw_grid *grid, const Godwit__JobSpec *spec,
		       struct gw_request *request)
{
	request->labels = gw_grid_alloc(grid, spec->n_labels, sizeof(*request->labels));
	request->residency = gw_grid_alloc(grid, spec->n_residency, sizeof(*request->residency));
	if (!request->labels || !request->residency)
		return false;
	for (size_t i = 0; i < spec->n_labels; i++)
		request->labels[request->label_count++] = node_label_number(s, spec->labels[i]);
	for (size_t i = 0; i < spec->n_residency; i++) {
		const char *code = gw_arena_copy(&grid->arena, spec->residency[i],
						 strlen(spec->residency[i]) + 1);

		if (!code)
			return false;
		request->residency[request->residency_count++] = code;
	}
	return true;
}

static uint32_t grid_index(const struct gw_grid *grid, const struct node *node)
{
	const struct gw_grid_site *site = &grid->sites[node->site->index];

	for (uint32_t i = 0; i < site->node_count; i++) {
		if (gw_id_equal(grid->nodes[site->node_first + i].id.id, node->id.id))
			return site->node_first + i;
	}
	return UINT32_MAX;
}

/* Where the job has places already; looked at only if its constraints depend on it. */
static bool copy_held(const struct job *job, struct gw_grid *grid, struct gw_request *request)
{
	uint32_t held = job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];

	if (held == 0 || (job->spread == GW_SPREAD_NONE && job->rtt_us_max == 0))
		return true;
	if (job->spread == GW_SPREAD_NODE) {
		request->nodes_held = gw_grid_alloc(grid, held, sizeof(*request->nodes_held));
		if (!request->nodes_held)
			return false;
	}
	for (uint32_t i = 0; i < job->task_count; i++) {
		const struct task *task = &job->tasks[i];
		uint32_t index;

		if (!task_held(task))
			continue;
		request->site_held[task->node->site->index]++;
		if (job->spread != GW_SPREAD_NODE)
			continue;
		index = grid_index(grid, task->node);
		if (index != UINT32_MAX)
			request->nodes_held[request->nodes_held_count++] = index;
	}
	return true;
}

static bool copy_tasks(const struct job *job, uint32_t count, struct gw_grid *grid,
		       struct gw_request *request)
{
	request->tasks = gw_grid_alloc(grid, count, sizeof(*request->tasks));
	if (!request->tasks)
		return false;
	if (job->gang) {
		for (uint32_t i = 0; i < count; i++) /* a gang waits whole, and its order counts */
			request->tasks[request->task_count++] = i;
		return true;
	}
	for (const struct task *task = job->waiting; task && request->task_count < count;
	     task = task->next)
		request->tasks[request->task_count++] = task->index;
	return true;
}

static bool copy_job(struct scheduler *s, const struct pick *pick, struct gw_grid *grid,
		     struct gw_request *request)
{
	const struct job *job = pick->job;
	const Godwit__JobSpec *spec = job_spec(s, job);

	if (!spec)
		return false;
	request->job = job->id;
	request->gang = job->gang;
	request->spread = job->spread;
	request->need = job->need;
	request->rtt_us_max = job->rtt_us_max;
	request->model = job->model;
	if (spec->resources && spec->resources->device_type[0])
		request->need.device_type = node_label_number(s, spec->resources->device_type);
	return copy_sites_allowed(s, grid, spec, request) && copy_texts(s, grid, spec, request) &&
	       copy_held(job, grid, request) && copy_tasks(job, pick->task_count, grid, request);
}

struct gw_grid *grid_make(struct scheduler *s, const struct pick *picks, uint32_t pick_count)
{
	struct gw_grid *grid = gw_grid_new(s->sites.count, s->nodes.count, pick_count);

	if (!grid) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	copy_sites(s, grid);
	copy_pairs(s, grid);
	for (uint32_t i = 0; i < pick_count; i++) {
		if (!copy_job(s, &picks[i], grid, &grid->requests[i])) {
			out_failed(s, -ENOMEM);
			return gw_grid_free(grid);
		}
	}
	return grid;
}
