/* The snapshot's memory, fit of a need on a node, and the taking of it. */
#include "scheduler/place/grid.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/place/residency.h"

struct gw_grid *gw_grid_new(uint32_t site_count, uint32_t node_count, uint32_t request_count)
{
	struct gw_grid *grid = calloc(1, sizeof(*grid));
	size_t pairs = (size_t)site_count * site_count;

	if (!grid)
		return NULL;
	CHECK(request_count <= GW_GRID_REQUESTS_MAX);
	gw_arena_init(&grid->arena, GW_GRID_BYTES_MAX);
	grid->site_count = site_count;
	grid->node_count = node_count;
	grid->request_count = request_count;
	grid->sites = gw_grid_alloc(grid, site_count, sizeof(*grid->sites));
	grid->nodes = gw_grid_alloc(grid, node_count, sizeof(*grid->nodes));
	grid->requests = gw_grid_alloc(grid, request_count, sizeof(*grid->requests));
	grid->rtt_us = gw_grid_alloc(grid, pairs, sizeof(*grid->rtt_us));
	if (!grid->sites || !grid->nodes || !grid->requests || !grid->rtt_us)
		return gw_grid_free(grid);
	memset(grid->rtt_us, 0xff, pairs * sizeof(*grid->rtt_us));
	return grid;
}

struct gw_grid *gw_grid_free(struct gw_grid *grid)
{
	if (grid)
		gw_arena_deinit(&grid->arena);
	free(grid);
	return NULL;
}

void *gw_grid_alloc(struct gw_grid *grid, size_t count, size_t size)
{
	size_t bytes = count * size;
	void *memory = gw_arena_alloc(&grid->arena, bytes ? bytes : 1);

	if (memory)
		memset(memory, 0, bytes);
	return memory;
}

uint32_t gw_grid_rtt_us(const struct gw_grid *grid, uint32_t from, uint32_t to)
{
	CHECK(from < grid->site_count);
	CHECK(to < grid->site_count);
	return from == to ? 0 : grid->rtt_us[(size_t)from * grid->site_count + to];
}

static bool has_label(const struct gw_grid_node *node, uint32_t label)
{
	for (uint32_t i = 0; i < node->label_count; i++) {
		if (node->labels[i] == label)
			return true;
	}
	return false;
}

static bool has_labels(const struct gw_grid_node *node, const struct gw_request *request)
{
	for (uint32_t i = 0; i < request->label_count; i++) {
		if (!has_label(node, request->labels[i]))
			return false;
	}
	return true;
}

/* The free devices of the type asked for. */
static uint16_t devices_of(const struct gw_grid_node *node, uint32_t type)
{
	uint16_t devices = 0;

	for (uint32_t i = 0; i < node->device_count; i++) {
		if (type == GW_DEVICE_TYPE_ANY || node->device_types[i] == type)
			devices |= (uint16_t)(1u << i);
	}
	return devices & node->devices_free;
}

enum gw_misfit gw_grid_misfit(const struct gw_grid *grid, const struct gw_request *request,
			      uint32_t index)
{
	const struct gw_grid_node *node = &grid->nodes[index];
	const struct gw_need *need = &request->need;

	if (!request->site_allowed[node->site])
		return GW_MISFIT_SITE;
	if (!gw_residency_allows(request->residency, request->residency_count, node->residency))
		return GW_MISFIT_RESIDENCY;
	if (!has_labels(node, request))
		return GW_MISFIT_LABEL;
	if (node->state != GW_GRID_READY)
		return GW_MISFIT_STATE;
	if ((uint32_t)__builtin_popcount(devices_of(node, need->device_type)) < need->device_count)
		return GW_MISFIT_DEVICE;
	if (node->memory_bytes_free < need->memory_bytes)
		return GW_MISFIT_MEMORY;
	if (node->cpu_milli_free < need->cpu_milli)
		return GW_MISFIT_CPU;
	if (need->port_count > 0 &&
	    gw_ports_find(node->ports_used, node->port_count, need->port_count) < 0)
		return GW_MISFIT_PORT;
	if (node->slots_free == 0)
		return GW_MISFIT_SLOT;
	return GW_MISFIT_NONE;
}

static uint32_t min_u32(uint32_t a, uint64_t b)
{
	return b < a ? (uint32_t)b : a;
}

/* How many runs of `count` ports could be cut from what is free. */
static uint32_t port_runs(const struct gw_grid_node *node, uint32_t count, uint32_t runs_max)
{
	uint32_t runs = 0;
	uint32_t length = 0;

	for (uint32_t i = 0; i < node->port_count && runs < runs_max; i++) {
		length = gw_ports_free(node->ports_used, i, 1) ? length + 1 : 0;
		if (length == count) {
			runs++;
			length = 0;
		}
	}
	return runs;
}

uint32_t gw_grid_room(const struct gw_grid *grid, const struct gw_request *request, uint32_t index,
		      uint32_t count_max)
{
	const struct gw_grid_node *node = &grid->nodes[index];
	const struct gw_need *need = &request->need;
	uint32_t room = min_u32(count_max, node->slots_free);

	if (gw_grid_misfit(grid, request, index) != GW_MISFIT_NONE)
		return 0;
	if (need->cpu_milli > 0)
		room = min_u32(room, node->cpu_milli_free / need->cpu_milli);
	if (need->memory_bytes > 0)
		room = min_u32(room, node->memory_bytes_free / need->memory_bytes);
	if (need->device_count > 0)
		room = min_u32(room,
			       (uint32_t)__builtin_popcount(devices_of(node, need->device_type)) /
				       need->device_count);
	if (need->port_count > 0)
		room = port_runs(node, need->port_count, room);
	return room;
}

bool gw_grid_take(struct gw_grid_node *node, const struct gw_need *need, uint16_t *ret_port,
		  uint16_t *ret_devices)
{
	uint16_t candidates = devices_of(node, need->device_type);
	uint16_t devices = 0;
	int port = 0;

	if (node->cpu_milli_free < need->cpu_milli || node->slots_free == 0 ||
	    node->memory_bytes_free < need->memory_bytes ||
	    (uint32_t)__builtin_popcount(candidates) < need->device_count)
		return false;
	if (need->port_count > 0) {
		port = gw_ports_find(node->ports_used, node->port_count, need->port_count);
		if (port < 0)
			return false;
		gw_ports_set(node->ports_used, (uint32_t)port, need->port_count, true);
		port += node->port_first;
	}
	for (uint32_t i = 0; i < need->device_count; i++) {
		devices |= candidates & (uint16_t)-candidates; /* lowest bit */
		candidates &= (uint16_t)(candidates - 1);
	}
	node->devices_free &= (uint16_t)~devices;
	node->cpu_milli_free -= need->cpu_milli;
	node->memory_bytes_free -= need->memory_bytes;
	node->slots_free--;
	*ret_port = (uint16_t)port;
	*ret_devices = devices;
	return true;
}

bool gw_ports_free(const uint64_t *used, uint32_t first, uint32_t count)
{
	CHECK(first + count <= GW_GRID_PORTS_MAX);
	for (uint32_t i = first; i < first + count; i++) {
		if (used[i / 64] >> (i % 64) & 1)
			return false;
	}
	return true;
}

int gw_ports_find(const uint64_t *used, uint32_t port_count, uint32_t count)
{
	CHECK(port_count <= GW_GRID_PORTS_MAX);
	for (uint32_t first = 0; first + count <= port_count; first++) {
		if (gw_ports_free(used, first, count))
			return (int)first;
	}
	return -1;
}

void gw_ports_set(uint64_t *used, uint32_t first, uint32_t count, bool value)
{
	CHECK(first + count <= GW_GRID_PORTS_MAX);
	for (uint32_t i = first; i < first + count; i++) {
		if (value)
			used[i / 64] |= 1ull << (i % 64);
		else
			used[i / 64] &= ~(1ull << (i % 64));
	}
}
