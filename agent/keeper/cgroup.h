/*
 * Control groups, v1 and v2 behind one interface: a group per attempt, under a parent of the
 * keeper's own. A host that refuses something is no error here; it is a sentence in the notes.
 *
 * On v1 each controller is a hierarchy of its own (ROOT/memory, ROOT/pids, ...); on v2 there is one
 * (ROOT). v2 is taken only where v1's are not mounted, as systemd's hybrid layout wants it.
 */
#ifndef GODWIT_AGENT_KEEPER_CGROUP_H
#define GODWIT_AGENT_KEEPER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/notes.h"

#define GW_CGROUP_ROOT "/sys/fs/cgroup"

enum gw_cgroup_controller {
	GW_CGROUP_CPU,
	GW_CGROUP_MEMORY,
	GW_CGROUP_PIDS,
	GW_CGROUP_CPUACCT, /* v1: a hierarchy of its own; v2: always there */
	GW_CGROUP_FREEZER, /* likewise */
	GW_CGROUP_CONTROLLERS,
};

struct gw_cgroup {
	int version; /* 0: no groups here; 1; 2 */
	char root[256];
	char parent[256];
	int parents[GW_CGROUP_CONTROLLERS];   /* folders of the keeper's own group; -1: none */
	char why[GW_CGROUP_CONTROLLERS][160]; /* there is none */
};

struct gw_cgroup_limits {
	uint32_t cpu_milli; /* thousandths of a CPU; 0: no limit; here and below */
	uint32_t process_count;
	uint64_t memory_bytes;
};

struct gw_cgroup_usage {
	bool has_cpu;
	bool has_memory;
	bool oom; /* the memory limit ended a process */
	uint64_t cpu_user_us;
	uint64_t cpu_system_us;
	uint64_t memory_peak_bytes;
};

/*
 * Looks at what `root` offers and makes the group `parent` ("godwit/name") in each hierarchy.
 * parent NULL: uses no groups at all.
 */
void gw_cgroup_init(struct gw_cgroup *cgroup, const char *root, const char *parent);
/* Removes the parent, if it is empty. */
void gw_cgroup_deinit(struct gw_cgroup *cgroup);
/* A sentence for each limit that this host cannot hold. */
void gw_cgroup_describe(const struct gw_cgroup *cgroup, struct gw_notes *notes);

/* Makes the group and sets the limits; what fails is noted, and the attempt runs without. */
void gw_cgroup_make(const struct gw_cgroup *cgroup, const char *name,
		    const struct gw_cgroup_limits *limits, struct gw_notes *notes);
/* Moves a process in, before it runs anything of the task; each controller that does not take it is
 * noted. False: it is in none. */
bool gw_cgroup_enter(const struct gw_cgroup *cgroup, const char *name, pid_t pid,
		     struct gw_notes *notes);
void gw_cgroup_usage(const struct gw_cgroup *cgroup, const char *name,
		     struct gw_cgroup_usage *ret_usage);
/* One pass of SIGKILL over all of it. Gives the number of processes that were still there. */
unsigned gw_cgroup_kill(const struct gw_cgroup *cgroup, const char *name);
/* 0: gone (or never was); -EBUSY: a process has not ended yet. */
int gw_cgroup_remove(const struct gw_cgroup *cgroup, const char *name);

/* Names of the groups under the parent, left by an earlier keeper: calls `found` for each. */
void gw_cgroup_each(const struct gw_cgroup *cgroup, void (*found)(void *data, const char *name),
		    void *data);
#endif
