/*
 * One sentence for each site: why a request's tasks go there or do not. Of a site's nodes the one
 * that came nearest to taking a task gives the reason.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/place/plan.h"

#define GIB 1073741824.0

/* What stands out among a site's nodes. */
struct site_facts {
	enum gw_misfit nearest;
	uint32_t room;
	uint32_t silent;
	uint32_t draining;
	uint32_t joining;
	uint32_t cpu_milli_free_max;
	uint32_t cpu_milli_max;
	uint64_t memory_bytes_free_max;
	uint64_t memory_bytes_max;
	char residency[GW_GRID_RESIDENCY_BYTES];
};

static void node_facts(const struct gw_grid *grid, const struct gw_request *request, uint32_t index,
		       struct site_facts *facts)
{
	const struct gw_grid_node *node = &grid->nodes[index];
	enum gw_misfit misfit = gw_grid_misfit(grid, request, index);

	if (misfit > facts->nearest)
		facts->nearest = misfit;
	memcpy(facts->residency, node->residency, sizeof(facts->residency));
	facts->silent += node->state == GW_GRID_SILENT;
	facts->draining += node->state == GW_GRID_DRAINING;
	facts->joining += node->state == GW_GRID_JOINING;
	if (node->state != GW_GRID_READY)
		return;
	facts->room += gw_grid_room(grid, request, index, request->task_count);
	if (node->cpu_milli_free > facts->cpu_milli_free_max)
		facts->cpu_milli_free_max = node->cpu_milli_free;
	if (node->cpu_milli > facts->cpu_milli_max)
		facts->cpu_milli_max = node->cpu_milli;
	if (node->memory_bytes_free > facts->memory_bytes_free_max)
		facts->memory_bytes_free_max = node->memory_bytes_free;
	if (node->memory_bytes > facts->memory_bytes_max)
		facts->memory_bytes_max = node->memory_bytes;
}

static struct site_facts gather(const struct gw_grid *grid, const struct gw_request *request,
				uint32_t site)
{
	const struct gw_grid_site *at = &grid->sites[site];
	struct site_facts facts = {.nearest = GW_MISFIT_SITE};

	for (uint32_t i = 0; i < at->node_count; i++)
		node_facts(grid, request, at->node_first + i, &facts);
	return facts;
}

/* A task would fit by itself; what else stands against the site? */
static void say_fits(const struct gw_request *request, const struct site_facts *facts,
		     const struct gw_plan_job *job, uint32_t held, char *text, size_t size)
{
	if (held > 0 && request->spread == GW_SPREAD_SITE)
		(void)snprintf(text, size, "holds a task of the job, which wants no two in a site");
	else if (job->place_count == request->task_count)
		(void)snprintf(text, size, "has room for %u, and was not needed", facts->room);
	else if (request->gang)
		(void)snprintf(text, size, "has room for %u of %u; %s", facts->room,
			       request->task_count, job->reason);
	else if (request->rtt_us_max > 0)
		(void)snprintf(text, size,
			       "has room for %u, but is not known to lie within %.1f ms of the "
			       "other tasks",
			       facts->room, request->rtt_us_max / 1e3);
	else
		(void)snprintf(text, size, "has room for %u, which the job's spread does not allow",
			       facts->room);
}

static void say_misfit(const struct gw_request *request, const struct site_facts *facts, char *text,
		       size_t size)
{
	const struct gw_need *need = &request->need;

	switch (facts->nearest) {
	case GW_MISFIT_SITE:
		(void)snprintf(text, size, "the job does not allow this site");
		break;
	case GW_MISFIT_RESIDENCY:
		(void)snprintf(text, size, "lies in %s, where the job may not run",
			       facts->residency[0] ? facts->residency : "no stated place");
		break;
	case GW_MISFIT_LABEL:
		(void)snprintf(text, size, "no node has all the labels that the job needs");
		break;
	case GW_MISFIT_STATE:
		(void)snprintf(text, size, "no node is ready: %u silent, %u draining, %u joining",
			       facts->silent, facts->draining, facts->joining);
		break;
	case GW_MISFIT_DEVICE:
		(void)snprintf(text, size, "no node has %u such devices free", need->device_count);
		break;
	case GW_MISFIT_MEMORY:
		(void)snprintf(text, size,
			       "needs %.2f GiB of memory on a node; at most %.2f of %.2f are free",
			       (double)need->memory_bytes / GIB,
			       (double)facts->memory_bytes_free_max / GIB,
			       (double)facts->memory_bytes_max / GIB);
		break;
	case GW_MISFIT_CPU:
		(void)snprintf(text, size,
			       "needs %.3g CPUs on a node; at most %.3g of %.3g are free",
			       need->cpu_milli / 1e3, facts->cpu_milli_free_max / 1e3,
			       facts->cpu_milli_max / 1e3);
		break;
	case GW_MISFIT_PORT:
		(void)snprintf(text, size, "no node has %u ports in a row free", need->port_count);
		break;
	case GW_MISFIT_SLOT:
		(void)snprintf(text, size, "every node runs as many tasks as it may (%u)",
			       GW_GRID_SLOTS_MAX);
		break;
	case GW_MISFIT_NONE:
		break;
	}
}

static uint32_t chosen_count(const struct gw_plan_job *job, uint32_t site)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < job->place_count; i++)
		count += job->places[i].site == site;
	return count;
}

bool gw_explain(const struct gw_grid *grid, const struct gw_request *request,
		const struct gw_plan_job *job, struct gw_arena *arena,
		struct gw_plan_verdict *verdicts)
{
	for (uint32_t site = 0; site < grid->site_count; site++) {
		struct site_facts facts = gather(grid, request, site);
		uint32_t chosen = chosen_count(job, site);
		char text[GW_PLAN_REASON_BYTES + 64];

		if (chosen > 0)
			(void)snprintf(text, sizeof(text), "%u of %u tasks go here", chosen,
				       request->task_count);
		else if (grid->sites[site].node_count == 0)
			(void)snprintf(text, sizeof(text), "has no nodes");
		else if (facts.nearest == GW_MISFIT_NONE)
			say_fits(request, &facts, job, request->site_held[site], text,
				 sizeof(text));
		else
			say_misfit(request, &facts, text, sizeof(text));
		verdicts[site].chosen = chosen > 0;
		verdicts[site].reason = gw_arena_copy(arena, text, strlen(text) + 1);
		if (!verdicts[site].reason)
			return false;
	}
	return true;
}
