/* CPU accounting of the host around a block; see the header. */
#include "bench/loss/host.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define KTHREADD 2 /* parent of all kernel threads */

static int read_totals(struct gw_host_snapshot *ret, double tick_s)
{
	unsigned long long v[8] = {0};
	char line[512];
	FILE *file = fopen("/proc/stat", "re");
	int r = -EIO;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file) && strncmp(line, "cpu", 3) == 0) {
		if (line[3] != ' ') {
			ret->cores++;
			continue;
		}
		if (sscanf(line, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2],
			   &v[3], &v[4], &v[5], &v[6], &v[7]) == 8)
			r = 0;
	}
	(void)fclose(file); /* only read */
	ret->user_s = (double)(v[0] + v[1]) * tick_s;
	ret->system_s = (double)v[2] * tick_s;
	ret->idle_s = (double)(v[3] + v[4]) * tick_s;
	ret->irq_s = (double)(v[5] + v[6]) * tick_s;
	ret->steal_s = (double)v[7] * tick_s;
	return r;
}

/* One process's time to the group that its name belongs to. Processes that end between two
 * snapshots are lost here, not in the totals: they count as foreign. */
static void add_process(struct gw_host_snapshot *ret, const char *pid, double tick_s)
{
	unsigned long long user = 0;
	unsigned long long system = 0;
	int parent = 0;
	char path[64];
	char line[1024];
	const char *name;
	const char *rest;
	double time_s;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return; /* it ended meanwhile */
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	(void)fclose(file); /* only read */
	name = strchr(line, '(');
	rest = strrchr(line, ')');
	if (!name || !rest ||
	    sscanf(rest, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &parent, &user,
		   &system) != 3)
		return;
	time_s = (double)(user + system) * tick_s;
	if (strncmp(name, "(godwit-stage", 13) == 0)
		ret->stages_s += time_s;
	else if (strncmp(name, "(godwit-link", 12) == 0)
		ret->emulator_s += time_s;
	else if (strncmp(name, "(godwit-agent", 13) == 0 ||
		 strncmp(name, "(godwit-keeper", 14) == 0 ||
		 strncmp(name, "(godwit-schedul", 15) == 0) /* the kernel keeps 15 bytes */
		ret->agents_s += time_s;
	else if (strncmp(name, "(godwit-", 8) == 0)
		ret->tools_s += time_s;
	else if (parent == KTHREADD)
		ret->kernel_s += time_s;
}

int gw_host_snapshot(struct gw_host_snapshot *ret)
{
	double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
	struct gw_host_snapshot snapshot = {0};
	struct timespec now;
	struct dirent *entry;
	DIR *folder;
	int r = read_totals(&snapshot, tick_s);

	if (r < 0)
		return r;
	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	snapshot.wall_s = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
	folder = opendir("/proc");
	if (!folder)
		return -errno;
	while ((entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0]))
			add_process(&snapshot, entry->d_name, tick_s);
	(void)closedir(folder);
	*ret = snapshot;
	return 0;
}

/* A process that ends takes its time with it; then what is left of ours counts as foreign, which
 * makes a block void rather than good. */
static double grown(double from, double to)
{
	return to > from ? to - from : 0;
}

struct gw_host_delta gw_host_delta(const struct gw_host_snapshot *from,
				   const struct gw_host_snapshot *to)
{
	double seconds = to->wall_s - from->wall_s;
	double busy = grown(from->user_s, to->user_s) + grown(from->system_s, to->system_s);
	double ours = grown(from->tools_s, to->tools_s) + grown(from->kernel_s, to->kernel_s);
	struct gw_host_delta delta = {
		.seconds = seconds,
		.user_s = grown(from->user_s, to->user_s),
		.system_s = grown(from->system_s, to->system_s),
		.irq_s = grown(from->irq_s, to->irq_s),
		.idle_s = grown(from->idle_s, to->idle_s),
		.steal_s = grown(from->steal_s, to->steal_s),
		.stages_s = grown(from->stages_s, to->stages_s),
		.emulator_s = grown(from->emulator_s, to->emulator_s),
		.agents_s = grown(from->agents_s, to->agents_s),
	};
	double foreign = busy - ours - delta.stages_s - delta.emulator_s - delta.agents_s;

	if (seconds > 0 && to->cores > 0) {
		delta.steal_percent =
			100 * (to->steal_s - from->steal_s) / (seconds * (double)to->cores);
		delta.foreign_percent = foreign > 0 ? 100 * foreign / seconds : 0;
	}
	return delta;
}

json_t *gw_host_delta_json(const struct gw_host_delta *delta)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "seconds",
			 delta->seconds, "user_s", delta->user_s, "system_s", delta->system_s,
			 "irq_s", delta->irq_s, "idle_s", delta->idle_s, "steal_s", delta->steal_s,
			 "steal_percent", delta->steal_percent, "foreign_cpu_percent",
			 delta->foreign_percent, "stages_cpu_s", delta->stages_s, "emulator_cpu_s",
			 delta->emulator_s, "agents_cpu_s", delta->agents_s);
}

/* The first line of a file that begins with `prefix`, from its `separator` on. */
static void read_line(const char *path, const char *prefix, char separator, char *ret, size_t size)
{
	char line[2048];
	FILE *file = fopen(path, "re");

	ret[0] = '\0';
	while (file && fgets(line, sizeof(line), file)) {
		const char *value = separator ? strchr(line, separator) : line;

		if (strncmp(line, prefix, strlen(prefix)) != 0 || !value)
			continue;
		value += separator ? 1 : 0;
		value += strspn(value, " \t");
		(void)snprintf(ret, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	if (file)
		(void)fclose(file); /* only read */
}

json_t *gw_host_describe(void)
{
	struct utsname name = {0};
	char command_line[2048];
	char model[256];

	(void)uname(&name); /* on failure the fields stay empty */
	read_line("/proc/cmdline", "", '\0', command_line, sizeof(command_line));
	read_line("/proc/cpuinfo", "model name", ':', model, sizeof(model));
	return json_pack("{s:s, s:s, s:s, s:I}", "kernel", name.release, "kernel_command_line",
			 command_line, "cpu_model", model, "cores",
			 (json_int_t)sysconf(_SC_NPROCESSORS_ONLN));
}
