/* Network namespaces: enter, fill, empty. See netns.h. */
#include "bench/wan/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"

#define FOLDER "/run/netns/"
#define POLL_MS 10

int gw_netns_may(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 ? 0 : errno);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* It dies with us: a lab that is taken down after a kill -9 must not go on growing. */
static void run_ip(const char *name, int input_fd)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(input_fd, STDIN_FILENO) < 0)
		_exit(126);
	if (name)
		(void)execlp("ip", "ip", "-n", name, "-batch", "-", (char *)NULL);
	else
		(void)execlp("ip", "ip", "-batch", "-", (char *)NULL);
	(void)fprintf(stderr, "godwit-lab: running ip (package iproute2): %s\n", strerror(errno));
	_exit(127);
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t written = write(fd, text, left);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			left -= (size_t)written;
		}
	}
	return 0;
}

int gw_netns_ip(const char *name, const char *lines)
{
	int ends[2];
	int status = 0;
	int error;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		run_ip(name, ends[0]);
	(void)close(ends[0]);
	error = pid < 0 ? -errno : write_all(ends[1], lines);
	(void)close(ends[1]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (error < 0)
		return error;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

int gw_netns_enter(const char *name)
{
	char path[PATH_MAX];
	int error = 0;
	int fd;

	if (snprintf(path, sizeof(path), FOLDER "%s", name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (setns(fd, CLONE_NEWNET) < 0)
		error = -errno;
	(void)close(fd);
	return error;
}

int gw_netns_visit(const char *name, int (*work)(void *context), void *context)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int error;

	if (home < 0)
		return -errno;
	error = gw_netns_enter(name);
	if (error == 0) {
		error = work(context);
		CHECK(setns(home, CLONE_NEWNET) == 0);
	}
	(void)close(home);
	return error;
}

int gw_netns_sysctl(const char *path, const char *value)
{
	char full[PATH_MAX];
	int error;
	int fd;

	if (snprintf(full, sizeof(full), "/proc/sys/net/%s", path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = write_all(fd, value);
	(void)close(fd);
	return error;
}

int gw_netns_offloads_off(const char *interface)
{
	static const uint32_t offloads[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO,
					    ETHTOOL_STXCSUM};
	struct ifreq request = {0};
	int error = 0;
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(interface) >= sizeof(request.ifr_name))
		error = -ENAMETOOLONG;
	else
		strcpy(request.ifr_name, interface);
	for (size_t i = 0; i < GW_ARRAY_COUNT(offloads) && error == 0; i++) {
		struct ethtool_value value = {.cmd = offloads[i]};

		request.ifr_data = (void *)&value;
		if (ioctl(fd, SIOCETHTOOL, &request) < 0)
			error = -errno;
	}
	(void)close(fd);
	return error;
}

int gw_netns_each(const char *prefix, void (*visit)(const char *name, void *context), void *context)
{
	DIR *folder = opendir(FOLDER);
	const struct dirent *entry;
	int count = 0;

	if (!folder)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(folder))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		count++;
		if (visit)
			visit(entry->d_name, context);
	}
	(void)closedir(folder);
	return count;
}

struct process_hunt {
	struct stat namespace;
	int signal;
	int count;
};

static void hunt_in(const char *name, void *context)
{
	struct process_hunt *hunt = context;
	DIR *processes = opendir("/proc");
	const struct dirent *entry;
	char path[PATH_MAX];
	struct stat found;

	(void)snprintf(path, sizeof(path), FOLDER "%s", name);
	if (stat(path, &hunt->namespace) < 0 || !processes)
		goto out;
	while ((entry = readdir(processes))) {
		long pid = strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || pid == getpid())
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%ld/ns/net", pid);
		if (stat(path, &found) < 0 || found.st_ino != hunt->namespace.st_ino ||
		    found.st_dev != hunt->namespace.st_dev)
			continue;
		hunt->count++;
		(void)kill((pid_t)pid, hunt->signal); /* gone meanwhile: as wished */
	}
out:
	if (processes)
		(void)closedir(processes);
}

int gw_netns_end_processes(const char *prefix, int grace_ms)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	struct process_hunt hunt = {.signal = SIGTERM};

	for (int waited_ms = 0; waited_ms < 2 * grace_ms; waited_ms += POLL_MS) {
		hunt.count = 0;
		(void)gw_netns_each(prefix, hunt_in, &hunt);
		if (hunt.count == 0)
			return 0;
		hunt.signal = waited_ms < grace_ms ? 0 : SIGKILL;
		(void)nanosleep(&pause, NULL);
	}
	return hunt.count;
}

int gw_netns_delete(const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), FOLDER "%s", name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	(void)umount2(path, MNT_DETACH); /* not mounted: a half-made one, only its file is there */
	return unlink(path) < 0 ? -errno : 0;
}
