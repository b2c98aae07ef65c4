/*
 * Groups are files: the tables below say which file of which controller holds which limit, for v1
 * (Documentation/admin-guide/cgroup-v1) and v2 (Documentation/admin-guide/cgroup-v2.rst).
 */
#include "agent/keeper/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"

#define PATH_BYTES 512
#define PERIOD_US 100000u /* of the CPU quota */

static const char *const controller_names[GW_CGROUP_CONTROLLERS] = {
	[GW_CGROUP_CPU] = "cpu",         [GW_CGROUP_MEMORY] = "memory",   [GW_CGROUP_PIDS] = "pids",
	[GW_CGROUP_CPUACCT] = "cpuacct", [GW_CGROUP_FREEZER] = "freezer",
};

/* Opened, written once, closed: each write is one command to the kernel. */
static int write_file(int folder_fd, const char *path, const char *text)
{
	size_t size = strlen(text);
	int fd = openat(folder_fd, path, O_WRONLY | O_CLOEXEC);
	int result = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, size) != (ssize_t)size)
		result = -errno;
	(void)close(fd);
	return result;
}

/* The text of a small file, NUL-terminated; false: not readable. */
static bool read_file(int folder_fd, const char *path, char *ret_text, size_t size)
{
	int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC);
	ssize_t count = -1;

	if (fd >= 0) {
		count = read(fd, ret_text, size - 1);
		(void)close(fd);
	}
	ret_text[count > 0 ? count : 0] = '\0';
	return count >= 0;
}

static bool read_number(int folder_fd, const char *path, uint64_t *ret_number)
{
	char text[64];

	if (!read_file(folder_fd, path, text, sizeof(text)))
		return false;
	*ret_number = strtoull(text, NULL, 10);
	return true;
}

/* The number after `key` in a file of "key number" lines. */
static bool read_keyed(int folder_fd, const char *path, const char *key, uint64_t *ret_number)
{
	char text[2048];
	size_t size = strlen(key);

	if (!read_file(folder_fd, path, text, sizeof(text)))
		return false;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, size) && line[size] == ' ') {
			*ret_number = strtoull(line + size, NULL, 10);
			return true;
		}
	}
	return false;
}

/* ROOT or ROOT/controller, then mkdir -p of `parent` below it. A descriptor, or negative errno. On
 * v2 each level has to hand the controllers down. */
static int make_parent(const char *root, const char *controller, const char *parent, bool hand_down)
{
	char path[PATH_BYTES];
	char rest[PATH_BYTES];
	char *save = NULL;
	int fd;

	(void)snprintf(path, sizeof(path), "%s%s%s", root, controller ? "/" : "",
		       controller ? controller : "");
	(void)snprintf(rest, sizeof(rest), "%s", parent);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (const char *level = strtok_r(rest, "/", &save);; level = strtok_r(NULL, "/", &save)) {
		int next;

		/* A refusal shows below, when the limit's file is not there. */
		for (unsigned i = 0; hand_down && i <= GW_CGROUP_PIDS; i++) {
			(void)snprintf(path, sizeof(path), "+%s", controller_names[i]);
			(void)write_file(fd, "cgroup.subtree_control", path);
		}
		if (!level)
			return fd;
		if (mkdirat(fd, level, 0755) && errno != EEXIST) {
			int result = -errno;

			(void)close(fd);
			return result;
		}
		next = openat(fd, level, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		(void)close(fd);
		if (next < 0)
			return -errno;
		fd = next;
	}
}

static bool exists(const char *root, const char *name, const char *file)
{
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/%s/%s", root, name, file);
	return access(path, F_OK) == 0;
}

static void why_not(struct gw_cgroup *cgroup, unsigned i, const char *text, int error)
{
	(void)snprintf(cgroup->why[i], sizeof(cgroup->why[i]), "%s%s%s", text, error ? ": " : "",
		       error ? strerrordesc_np(-error) : "");
}

static void init_v1(struct gw_cgroup *cgroup, const char *root, const char *parent)
{
	cgroup->version = 1;
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		if (!exists(root, controller_names[i], "cgroup.procs")) {
			why_not(cgroup, i, "this host has no such cgroup controller", 0);
			continue;
		}
		cgroup->parents[i] = make_parent(root, controller_names[i], parent, false);
		if (cgroup->parents[i] < 0)
			why_not(cgroup, i, "no cgroup can be made", cgroup->parents[i]);
	}
}

/* Whether `word` is one of the words of the text. */
static bool has_word(const char *text, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += size)
		if ((at == text || at[-1] == ' ') && (!at[size] || strchr(" \n", at[size])))
			return true;
	return false;
}

static void init_v2(struct gw_cgroup *cgroup, const char *root, const char *parent)
{
	int fd = make_parent(root, NULL, parent, true);
	char offered[512];

	cgroup->version = 2;
	if (fd < 0 || !read_file(fd, "cgroup.controllers", offered, sizeof(offered)))
		offered[0] = '\0';
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		bool limit = i <= GW_CGROUP_PIDS;

		if (fd < 0)
			why_not(cgroup, i, "no cgroup can be made", fd);
		else if (limit && !has_word(offered, controller_names[i]))
			why_not(cgroup, i, "this cgroup is not handed that controller", 0);
		else
			cgroup->parents[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	}
	if (fd >= 0)
		(void)close(fd);
}

void gw_cgroup_init(struct gw_cgroup *cgroup, const char *root, const char *parent)
{
	*cgroup = (struct gw_cgroup){0};
	(void)snprintf(cgroup->root, sizeof(cgroup->root), "%s", root);
	(void)snprintf(cgroup->parent, sizeof(cgroup->parent), "%s", parent ? parent : "");
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		cgroup->parents[i] = -1;
		why_not(cgroup, i, parent ? "no cgroups are mounted" : "cgroups are switched off",
			0);
	}
	if (!parent)
		return;
	if (exists(root, "memory", "cgroup.procs") || exists(root, "pids", "cgroup.procs") ||
	    exists(root, "cpu", "cgroup.procs"))
		init_v1(cgroup, root, parent);
	else if (exists(root, ".", "cgroup.controllers"))
		init_v2(cgroup, root, parent);
}

/* The keeper's own group in one hierarchy, and those above it that this leaves empty. */
static void remove_parent(const struct gw_cgroup *cgroup, const char *controller)
{
	char path[2 * PATH_BYTES];
	size_t root_size = (size_t)snprintf(path, sizeof(path), "%s/%s", cgroup->root, controller);
	char *slash;

	(void)snprintf(path + root_size, sizeof(path) - root_size, "/%s", cgroup->parent);
	while ((slash = strrchr(path, '/')) >= path + root_size && rmdir(path) == 0)
		*slash = '\0';
}

void gw_cgroup_deinit(struct gw_cgroup *cgroup)
{
	for (unsigned i = 0; cgroup->version == 1 && i < GW_CGROUP_CONTROLLERS; i++)
		remove_parent(cgroup, controller_names[i]);
	if (cgroup->version == 2)
		remove_parent(cgroup, ".");
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		if (cgroup->parents[i] >= 0)
			(void)close(cgroup->parents[i]);
		cgroup->parents[i] = -1;
	}
}

void gw_cgroup_describe(const struct gw_cgroup *cgroup, struct gw_notes *notes)
{
	for (unsigned i = 0; i <= GW_CGROUP_PIDS; i++)
		if (cgroup->parents[i] < 0)
			gw_notes_add(notes, "%s: %s", controller_names[i], cgroup->why[i]);
}

/* Sets NAME/file; what is refused is noted under the controller's name. */
static bool set_limit(const struct gw_cgroup *cgroup, enum gw_cgroup_controller controller,
		      const char *name, const char *file, const char *value, struct gw_notes *notes)
{
	char path[PATH_BYTES];
	int result;

	(void)snprintf(path, sizeof(path), "%s/%s", name, file);
	result = write_file(cgroup->parents[controller], path, value);
	if (result && notes)
		gw_notes_add(notes, "%s: %s cannot be set: %s", controller_names[controller], file,
			     strerrordesc_np(-result));
	return !result;
}

static bool has(const struct gw_cgroup *cgroup, enum gw_cgroup_controller controller,
		struct gw_notes *notes)
{
	if (cgroup->parents[controller] >= 0)
		return true;
	gw_notes_add(notes, "%s: %s", controller_names[controller], cgroup->why[controller]);
	return false;
}

static void limit_cpu(const struct gw_cgroup *cgroup, const char *name, uint32_t cpu_milli,
		      struct gw_notes *notes)
{
	char value[64];
	/* The kernel takes no quota under 1 ms. */
	uint64_t quota_us = cpu_milli < 10 ? 1000 : (uint64_t)cpu_milli * (PERIOD_US / 1000);

	if (!cpu_milli || !has(cgroup, GW_CGROUP_CPU, notes))
		return;
	if (cgroup->version == 2) {
		(void)snprintf(value, sizeof(value), "%" PRIu64 " %u", quota_us, PERIOD_US);
		(void)set_limit(cgroup, GW_CGROUP_CPU, name, "cpu.max", value, notes);
		return;
	}
	(void)snprintf(value, sizeof(value), "%u", PERIOD_US);
	if (!set_limit(cgroup, GW_CGROUP_CPU, name, "cpu.cfs_period_us", value, notes))
		return;
	(void)snprintf(value, sizeof(value), "%" PRIu64, quota_us);
	(void)set_limit(cgroup, GW_CGROUP_CPU, name, "cpu.cfs_quota_us", value, notes);
}

static void limit_memory(const struct gw_cgroup *cgroup, const char *name, uint64_t memory_bytes,
			 struct gw_notes *notes)
{
	char value[32];

	if (!memory_bytes || !has(cgroup, GW_CGROUP_MEMORY, notes))
		return;
	(void)snprintf(value, sizeof(value), "%" PRIu64, memory_bytes);
	if (cgroup->version == 2) {
		if (!set_limit(cgroup, GW_CGROUP_MEMORY, name, "memory.max", value, notes))
			return;
		/* A limit that swap escapes is none; a kernel without swap has no such file. */
		(void)set_limit(cgroup, GW_CGROUP_MEMORY, name, "memory.swap.max", "0", NULL);
		(void)set_limit(cgroup, GW_CGROUP_MEMORY, name, "memory.oom.group", "1", NULL);
		return;
	}
	if (set_limit(cgroup, GW_CGROUP_MEMORY, name, "memory.limit_in_bytes", value, notes))
		(void)set_limit(cgroup, GW_CGROUP_MEMORY, name, "memory.memsw.limit_in_bytes",
				value, NULL);
}

static void limit_pids(const struct gw_cgroup *cgroup, const char *name, uint32_t process_count,
		       struct gw_notes *notes)
{
	char value[16];

	if (!process_count || !has(cgroup, GW_CGROUP_PIDS, notes))
		return;
	(void)snprintf(value, sizeof(value), "%" PRIu32, process_count);
	(void)set_limit(cgroup, GW_CGROUP_PIDS, name, "pids.max", value, notes);
}

void gw_cgroup_make(const struct gw_cgroup *cgroup, const char *name,
		    const struct gw_cgroup_limits *limits, struct gw_notes *notes)
{
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		int parent = cgroup->parents[i];

		/* Without a quota a task stays out of v1's cpu hierarchy, whose groups have no
		 * real-time budget: it could get no real-time priority there. */
		if (cgroup->version == 1 && i == GW_CGROUP_CPU && !limits->cpu_milli)
			continue;
		/* A failure shows when the limit is set, or when the process is to enter. */
		if (parent >= 0)
			(void)mkdirat(parent, name, 0755);
	}
	limit_cpu(cgroup, name, limits->cpu_milli, notes);
	limit_memory(cgroup, name, limits->memory_bytes, notes);
	limit_pids(cgroup, name, limits->process_count, notes);
}

bool gw_cgroup_enter(const struct gw_cgroup *cgroup, const char *name, pid_t pid,
		     struct gw_notes *notes)
{
	char path[PATH_BYTES];
	char text[16];
	bool entered = false;

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	(void)snprintf(text, sizeof(text), "%d", pid);
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		int result;

		if (cgroup->parents[i] < 0)
			continue;
		result = write_file(cgroup->parents[i], path, text);
		entered = entered || !result;
		if (result == -ENOENT && i == GW_CGROUP_CPU)
			continue; /* no quota was asked for, or that it failed is noted */
		if (result && i <= GW_CGROUP_PIDS) /* the others limit nothing */
			gw_notes_add(notes, "%s: its group cannot be entered: %s",
				     controller_names[i], strerrordesc_np(-result));
	}
	return entered;
}

static void usage_v1(const struct gw_cgroup *cgroup, const char *name,
		     struct gw_cgroup_usage *usage)
{
	char path[PATH_BYTES];
	int cpuacct = cgroup->parents[GW_CGROUP_CPUACCT];
	int memory = cgroup->parents[GW_CGROUP_MEMORY];
	uint64_t user_ns;
	uint64_t system_ns;
	uint64_t kills = 0;

	(void)snprintf(path, sizeof(path), "%s/cpuacct.usage_user", name);
	if (cpuacct >= 0 && read_number(cpuacct, path, &user_ns)) {
		(void)snprintf(path, sizeof(path), "%s/cpuacct.usage_sys", name);
		usage->has_cpu = read_number(cpuacct, path, &system_ns);
		usage->cpu_user_us = usage->has_cpu ? user_ns / 1000 : 0;
		usage->cpu_system_us = usage->has_cpu ? system_ns / 1000 : 0;
	}
	(void)snprintf(path, sizeof(path), "%s/memory.max_usage_in_bytes", name);
	usage->has_memory = memory >= 0 && read_number(memory, path, &usage->memory_peak_bytes);
	(void)snprintf(path, sizeof(path), "%s/memory.oom_control", name);
	usage->oom = memory >= 0 && read_keyed(memory, path, "oom_kill", &kills) && kills > 0;
}

static void usage_v2(const struct gw_cgroup *cgroup, const char *name,
		     struct gw_cgroup_usage *usage)
{
	char path[PATH_BYTES];
	int parent = cgroup->parents[GW_CGROUP_CPUACCT];
	uint64_t kills = 0;

	if (parent < 0)
		return;
	(void)snprintf(path, sizeof(path), "%s/cpu.stat", name);
	usage->has_cpu = read_keyed(parent, path, "user_usec", &usage->cpu_user_us) &&
			 read_keyed(parent, path, "system_usec", &usage->cpu_system_us);
	(void)snprintf(path, sizeof(path), "%s/memory.peak", name); /* since Linux 5.19 */
	usage->has_memory = read_number(parent, path, &usage->memory_peak_bytes);
	(void)snprintf(path, sizeof(path), "%s/memory.events", name);
	usage->oom = read_keyed(parent, path, "oom_kill", &kills) && kills > 0;
}

void gw_cgroup_usage(const struct gw_cgroup *cgroup, const char *name,
		     struct gw_cgroup_usage *ret_usage)
{
	*ret_usage = (struct gw_cgroup_usage){0};
	if (cgroup->version == 1)
		usage_v1(cgroup, name, ret_usage);
	else if (cgroup->version == 2)
		usage_v2(cgroup, name, ret_usage);
}

/* Kills each process listed in PARENT/NAME/cgroup.procs; gives their number. */
static unsigned kill_listed(int parent, const char *name)
{
	char path[PATH_BYTES];
	unsigned count = 0;
	FILE *file;
	int pid;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/cgroup.procs", name);
	fd = openat(parent, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	file = fdopen(fd, "r");
	if (!file) {
		(void)close(fd);
		return 1; /* out of memory: somebody may be there, come again */
	}
	while (fscanf(file, "%d", &pid) == 1) {
		if (pid > 1 && pid != getpid())
			(void)kill(pid, SIGKILL);
		count++;
	}
	(void)fclose(file);
	return count;
}

/* Any controller's list names all processes of the group; the freezer stops them from forking on
 * while they are counted. */
unsigned gw_cgroup_kill(const struct gw_cgroup *cgroup, const char *name)
{
	int freezer = cgroup->parents[GW_CGROUP_FREEZER];
	char path[PATH_BYTES];
	unsigned count = 0;

	if (cgroup->version == 2) {
		if (freezer < 0)
			return 0;
		(void)snprintf(path, sizeof(path), "%s/cgroup.kill", name); /* since Linux 5.14 */
		(void)write_file(freezer, path, "1");
		return kill_listed(freezer, name);
	}
	(void)snprintf(path, sizeof(path), "%s/freezer.state", name);
	if (freezer >= 0)
		(void)write_file(freezer, path, "FROZEN");
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		unsigned here = cgroup->parents[i] < 0 ? 0 : kill_listed(cgroup->parents[i], name);

		count = here > count ? here : count;
	}
	if (freezer >= 0)
		(void)write_file(freezer, path, "THAWED"); /* SIGKILL acts on waking */
	return count;
}

int gw_cgroup_remove(const struct gw_cgroup *cgroup, const char *name)
{
	int result = 0;

	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++) {
		int parent = cgroup->parents[i];

		if (parent >= 0 && unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT)
			result = -EBUSY;
	}
	return result;
}

static void each_below(int parent, void (*found)(void *data, const char *name), void *data)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!folder) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(folder)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			found(data, entry->d_name);
	(void)closedir(folder);
}

void gw_cgroup_each(const struct gw_cgroup *cgroup, void (*found)(void *data, const char *name),
		    void *data)
{
	for (unsigned i = 0; i < GW_CGROUP_CONTROLLERS; i++)
		if (cgroup->parents[i] >= 0)
			each_below(cgroup->parents[i], found, data);
}
