/* A walk over /proc. It races with forks by its nature; callers walk again until it finds none. */
#include "agent/keeper/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/launch.h"
#include "agent/keeper/store.h"

struct process_stat {
	char state;
	pid_t session;
	uint64_t user_ticks;   /* with waited-for children */
	uint64_t system_ticks; /* likewise */
	uint64_t start_ticks;
};

static ssize_t read_proc(pid_t pid, const char *file, char *ret_bytes, size_t size)
{
	char path[64];
	ssize_t count;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	count = read(fd, ret_bytes, size - 1);
	(void)close(fd);
	ret_bytes[count > 0 ? count : 0] = '\0';
	return count;
}

static bool read_stat(pid_t pid, struct process_stat *ret_stat)
{
	char text[1024];
	uint64_t own[2];
	uint64_t children[2];
	const char *at;

	if (read_proc(pid, "stat", text, sizeof(text)) <= 0)
		return false;
	at = strrchr(text, ')'); /* the name before it may hold anything */
	if (!at || sscanf(at + 1,
			  " %c %*d %*d %d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			  " %" SCNu64 " %" SCNu64 " %*d %*d %*d %*d %" SCNu64,
			  &ret_stat->state, &ret_stat->session, &own[0], &own[1], &children[0],
			  &children[1], &ret_stat->start_ticks) != 7)
		return false;
	ret_stat->user_ticks = own[0] + children[0];
	ret_stat->system_ticks = own[1] + children[1];
	return true;
}

static bool ended(const struct process_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X';
}

uint64_t gw_orphans_start_ticks(pid_t pid)
{
	struct process_stat stat;

	return read_stat(pid, &stat) && !ended(&stat) ? stat.start_ticks : 0;
}

bool gw_orphans_cpu_us(pid_t pid, uint64_t *ret_user_us, uint64_t *ret_system_us)
{
	uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
	struct process_stat stat;

	if (!read_stat(pid, &stat))
		return false;
	*ret_user_us = stat.user_ticks * 1000000 / ticks_per_s;
	*ret_system_us = stat.system_ticks * 1000000 / ticks_per_s;
	return true;
}

/* Whether the environment that the process was started with names this attempt. The mark is put
 * first (launch.c), so the first bytes will do. */
static bool marked(pid_t pid, const char *attempt)
{
	static const char name[] = GW_LAUNCH_MARK "=";
	char text[4096];
	ssize_t count = read_proc(pid, "environ", text, sizeof(text));

	for (const char *at = text; count > 0 && at < text + count; at += strlen(at) + 1)
		if (!strncmp(at, name, sizeof(name) - 1))
			return !strcmp(at + sizeof(name) - 1, attempt);
	return false;
}

unsigned gw_orphans_kill(pid_t session, const char *attempt)
{
	DIR *folder = opendir("/proc");
	const struct dirent *entry;
	unsigned count = 0;

	if (!folder)
		return 0;
	while ((entry = readdir(folder))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		struct process_stat stat;

		if (pid <= 1 || pid == getpid() || !read_stat(pid, &stat) || ended(&stat))
			continue;
		if (stat.session != session && !marked(pid, attempt))
			continue;
		(void)kill(pid, SIGKILL);
		count++;
	}
	(void)closedir(folder);
	return count;
}
