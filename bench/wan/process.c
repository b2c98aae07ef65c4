/* Start times and paths of processes, from /proc. */
#include "bench/wan/process.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t gw_process_start(pid_t pid)
{
	char path[64];
	char text[1024];
	FILE *file;
	size_t size;
	const char *at;
	char state;
	unsigned long long start;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	size = fread(text, 1, sizeof(text) - 1, file);
	(void)fclose(file); /* only read */
	text[size] = '\0';
	at = strrchr(text, ')'); /* the name before it may hold anything, brackets too */
	if (!at || sscanf(at,
			  ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			  "%*d %*d %llu",
			  &state, &start) != 2)
		return 0;
	return state == 'Z' ? 0 : start;
}

int gw_process_sibling(const char *name, char *ret_path, size_t size)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (length < 0)
		return -errno;
	self[length] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	if (snprintf(ret_path, size, "%.*s/%s", (int)(slash - self), self, name) >= (int)size)
		return -ENAMETOOLONG;
	return 0;
}
