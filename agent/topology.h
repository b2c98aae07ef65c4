/* The machine's shape by hwloc, read once at the start. */
#ifndef GODWIT_AGENT_TOPOLOGY_H
#define GODWIT_AGENT_TOPOLOGY_H

#include <stdint.h>

struct gw_topology {
	uint32_t cpus; /* that this process may run on */
	uint32_t packages;
	uint32_t cores;
	uint32_t threads;
	uint32_t numa_nodes;
	char text[96]; /* "1 package, 2 cores, 4 threads, 1 NUMA node" */
};

/*
 * Reads the topology in a child process that ends at once: hwloc's tables and libraries would stay
 * in the agent's memory for good. Call it before threads are started. Where hwloc has no answer the
 * figures are what sched_getaffinity says. 0; negative errno: no child can be made.
 */
int gw_topology_read(struct gw_topology *ret_topology);

#endif
