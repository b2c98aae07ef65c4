/*
 * The grid: one flat snapshot of nodes, sites, distances and requests, on which planners work. It
 * is a copy: a planner takes from it what it gives out, and the scheduler's own state is not
 * touched until a plan comes back and is checked against it. Labels and device types are numbers
 * given out by the caller; a planner compares them and never reads their text.
 */
#ifndef GODWIT_SCHEDULER_PLACE_GRID_H
#define GODWIT_SCHEDULER_PLACE_GRID_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/id.h"
#include "proto/base/limits.h"

#define GW_GRID_PORTS_MAX 512u /* of one node that are given out */
#define GW_GRID_PORT_WORDS (GW_GRID_PORTS_MAX / 64)
#define GW_GRID_DEVICES_MAX 16u /* of one node that are given out */
#define GW_GRID_LABELS_MAX 16u  /* of one node that count */
#define GW_GRID_SLOTS_MAX 1024u /* tasks on one node */
#define GW_GRID_RESIDENCY_BYTES 8u
#define GW_GRID_REQUESTS_MAX 64u
#define GW_GRID_TASKS_MAX 1024u /* places given by one plan, gangs whole */
#define GW_GRID_RTT_UNKNOWN_US UINT32_MAX
#define GW_GRID_BYTES_MAX (256u << 20)

enum gw_grid_state {
	GW_GRID_READY,
	GW_GRID_SILENT,
	GW_GRID_DRAINING,
	GW_GRID_JOINING, /* its inventory is not known yet */
};

struct gw_grid_node {
	struct gw_node_id id;
	uint64_t memory_bytes_free;
	uint64_t memory_bytes;
	uint64_t ports_used[GW_GRID_PORT_WORDS]; /* bit set, from port_first */
	uint32_t cpu_milli_free;
	uint32_t cpu_milli;
	uint32_t slots_free;
	uint32_t site;
	uint32_t labels[GW_GRID_LABELS_MAX];        /* [label_count] */
	uint32_t device_types[GW_GRID_DEVICES_MAX]; /* [device_count] */
	uint16_t devices_free;                      /* bit set */
	uint16_t port_first;
	uint16_t port_count; /* <= GW_GRID_PORTS_MAX */
	uint8_t device_count;
	uint8_t label_count;
	enum gw_grid_state state;
	char residency[GW_GRID_RESIDENCY_BYTES];
};

struct gw_grid_site {
	char name[GW_NAME_BYTES_MAX + 1];
	uint32_t node_first; /* its nodes stand together in the grid */
	uint32_t node_count;
};

#define GW_DEVICE_TYPE_ANY 0u             /* types are numbered from 1 */
#define GW_DEVICE_TYPE_UNKNOWN UINT32_MAX /* no node has it */
#define GW_LABEL_UNKNOWN UINT32_MAX

struct gw_need {
	uint64_t memory_bytes;
	uint32_t cpu_milli;
	uint32_t device_count;
	uint32_t device_type;
	uint32_t port_count;
};

enum gw_spread {
	GW_SPREAD_NONE,
	GW_SPREAD_PACK, /* all in one site */
	GW_SPREAD_SITE, /* no two in one site */
	GW_SPREAD_NODE, /* no two on one node */
};

struct gw_serve_model {
	uint32_t stage_us; /* 0: none stated */
	uint32_t micro_batches;
	uint32_t batch;
	uint32_t loss_budget_ppm;
};

struct gw_request {
	struct gw_job_id job;
	bool gang; /* all tasks or none, in pipeline order */
	enum gw_spread spread;
	struct gw_need need; /* of each task */
	uint32_t *tasks;     /* [task_count] indexes that want a place, ascending for a gang */
	uint32_t task_count;
	uint32_t rtt_us_max;  /* between any two tasks; 0: any */
	bool *site_allowed;   /* [site_count] */
	uint32_t *site_held;  /* [site_count] tasks of the job that have a place there already */
	uint32_t *nodes_held; /* [nodes_held_count] grid indexes, when spread is by node */
	uint32_t nodes_held_count;
	uint32_t *labels; /* [label_count] all needed */
	uint32_t label_count;
	const char **residency; /* [residency_count] allowed */
	uint32_t residency_count;
	struct gw_serve_model model;
};

struct gw_grid {
	struct gw_arena arena; /* of all below */
	struct gw_grid_site *sites;
	struct gw_grid_node *nodes;
	uint32_t *rtt_us; /* [site_count][site_count], from row to column */
	struct gw_request *requests;
	uint32_t site_count;
	uint32_t node_count;
	uint32_t request_count;
	bool explain; /* a verdict for each site is wanted */
};

/* Why a task cannot go on a node, nearest to success last. */
enum gw_misfit {
	GW_MISFIT_SITE,
	GW_MISFIT_RESIDENCY,
	GW_MISFIT_LABEL,
	GW_MISFIT_STATE,
	GW_MISFIT_DEVICE,
	GW_MISFIT_MEMORY,
	GW_MISFIT_CPU,
	GW_MISFIT_PORT,
	GW_MISFIT_SLOT,
	GW_MISFIT_NONE, /* it can */
};

/* An empty grid with room for these counts, everything zeroed, distances unknown. NULL: no memory.
 */
struct gw_grid *gw_grid_new(uint32_t site_count, uint32_t node_count, uint32_t request_count);
struct gw_grid *gw_grid_free(struct gw_grid *grid);
/* Zeroed memory that lives as long as the grid; NULL: past its limit. */
void *gw_grid_alloc(struct gw_grid *grid, size_t count, size_t size);

/* RTT between sites, 0 within one. */
uint32_t gw_grid_rtt_us(const struct gw_grid *grid, uint32_t from, uint32_t to);
enum gw_misfit gw_grid_misfit(const struct gw_grid *grid, const struct gw_request *request,
			      uint32_t node);
/* How many tasks of this request the node can take now, at most `count_max`; 0 on a misfit. */
uint32_t gw_grid_room(const struct gw_grid *grid, const struct gw_request *request, uint32_t node,
		      uint32_t count_max);
/* Takes one task's need from the node. False: it does not fit, nothing taken. ret_port is 0 when
 * none is needed. */
bool gw_grid_take(struct gw_grid_node *node, const struct gw_need *need, uint16_t *ret_port,
		  uint16_t *ret_devices);

/* Bit sets of ports, shared with the scheduler's own accounts. First run of `count` free ports
 * among `port_count`, or -1. */
int gw_ports_find(const uint64_t *used, uint32_t port_count, uint32_t count);
bool gw_ports_free(const uint64_t *used, uint32_t first, uint32_t count);
void gw_ports_set(uint64_t *used, uint32_t first, uint32_t count, bool value);

#endif
