/* hwloc in a short-lived child; its answer comes through a pipe as one struct. */
#include "agent/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hwloc.h>

static uint32_t count_of(hwloc_topology_t topology, hwloc_obj_type_t type)
{
	int count = hwloc_get_nbobjs_by_type(topology, type);

	return count > 0 ? (uint32_t)count : 0;
}

static void read_hwloc(struct gw_topology *topology)
{
	hwloc_topology_t hwloc;

	if (hwloc_topology_init(&hwloc) != 0)
		return;
	if (hwloc_topology_load(hwloc) == 0) {
		topology->packages = count_of(hwloc, HWLOC_OBJ_PACKAGE);
		topology->cores = count_of(hwloc, HWLOC_OBJ_CORE);
		topology->threads = count_of(hwloc, HWLOC_OBJ_PU);
		topology->numa_nodes = count_of(hwloc, HWLOC_OBJ_NUMANODE);
	}
	hwloc_topology_destroy(hwloc);
}

static int read_in_child(struct gw_topology *topology)
{
	struct gw_topology answer = {0};
	int ends[2];
	ssize_t size;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	child = fork();
	if (child < 0) {
		int error = errno;

		(void)close(ends[0]);
		(void)close(ends[1]);
		return -error;
	}
	if (child == 0) {
		read_hwloc(&answer);
		/* A short or failed write is an answer of nothing. */
		_exit(write(ends[1], &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
	}
	(void)close(ends[1]);
	do
		size = read(ends[0], &answer, sizeof(answer)); /* below PIPE_BUF: whole or not */
	while (size < 0 && errno == EINTR);
	(void)close(ends[0]);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (size == (ssize_t)sizeof(answer))
		*topology = answer;
	return 0;
}

static uint32_t affinity_count(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (uint32_t)CPU_COUNT(&set);
	return 1;
}

static const char *plural(uint32_t count)
{
	return count == 1 ? "" : "s";
}

int gw_topology_read(struct gw_topology *ret_topology)
{
	struct gw_topology topology = {0};
	int r = read_in_child(&topology);

	if (r != 0)
		return r;
	topology.cpus = affinity_count();
	if (topology.threads == 0)
		topology.threads = topology.cpus;
	(void)snprintf(topology.text, sizeof(topology.text), /* four counts always fit */
		       "%u package%s, %u core%s, %u thread%s, %u NUMA node%s", topology.packages,
		       plural(topology.packages), topology.cores, plural(topology.cores),
		       topology.threads, plural(topology.threads), topology.numa_nodes,
		       plural(topology.numa_nodes));
	*ret_topology = topology;
	return 0;
}
