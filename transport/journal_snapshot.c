/*
 * The child: has the form write a file beside the journal's, syncs it, and has it read back with the
 * page cache out of the way. It touches nothing of the parent's (libzmq, the ring, the loop) and
 * closes the descriptors that it inherited: a socket that it held would keep its address in use and
 * its peer waiting. It ends by _exit, or with the parent. The parent watches a pidfd.
 */
#include "transport/journal_snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/file.h"
#include "transport/journal_folder.h"
#include "transport/reactor.h"

#define SUFFIX ".new"
#define NICENESS 10 /* the loop goes first */

struct gw_journal_snapshot {
	struct gw_reactor *reactor;
	gw_journal_snapshot_done_f *done;
	void *context;
	uint64_t seq;
	uint64_t size;
	struct gw_watch watch; /* of the child's pidfd; -1: it ended */
	bool whole;
	bool named;
	char path[GW_PATH_BYTES];
};

/* -- the child -- */

int gw_journal_snapshot_put(int fd, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t put = write(fd, bytes, size);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0) {
			bytes += put;
			size -= (size_t)put;
		}
	}
	return 0;
}

static int child_run(const char *path, const struct gw_journal_snapshot_form *form,
		     const struct gw_node *node)
{
	int error;
	int fd;

	if (close_range(STDERR_FILENO + 1, UINT_MAX, 0) < 0)
		return -errno;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	error = form->write(form->context, fd, node);
	if (error == 0 && fsync(fd) < 0)
		error = -errno;
	(void)close(fd); /* synced */
	return error < 0 ? error : form->check(form->context, path);
}

/* -- the parent -- */

static void child_take(struct gw_journal_snapshot *snapshot, int *ret_error)
{
	siginfo_t info = {0};
	int error;

	do
		error = waitid(P_PIDFD, (id_t)snapshot->watch.fd, &info, WEXITED) < 0 ? -errno : 0;
	while (error == -EINTR);
	gw_reactor_unwatch(snapshot->reactor, &snapshot->watch);
	(void)close(snapshot->watch.fd);
	snapshot->watch.fd = -1;
	if (error == 0 && info.si_code != CLD_EXITED)
		error = -EOWNERDEAD; /* a signal ended it */
	*ret_error = error < 0 ? error : -info.si_status;
}

static void ended(void *context, uint32_t events)
{
	struct gw_journal_snapshot *snapshot = context;
	struct stat status;
	int error;

	(void)events; /* readable: it ended */
	child_take(snapshot, &error);
	if (error == 0 && stat(snapshot->path, &status) < 0)
		error = -errno;
	if (error == 0) {
		snapshot->size = (uint64_t)status.st_size;
		snapshot->whole = true;
	}
	snapshot->done(snapshot->context, error);
}

/* While SIGCHLD is ignored, as whoever started the program may have left it, the kernel throws away
 * how a child ended. */
static void ends_keep(void)
{
	struct sigaction action;

	if (sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
		(void)signal(SIGCHLD, SIG_DFL);
}

static int child_start(struct gw_journal_snapshot *snapshot,
		       const struct gw_journal_snapshot_form *form, const struct gw_node *node)
{
	pid_t parent = getpid();
	pid_t child;
	int error;

	ends_keep();
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(ECHILD);
		(void)!nice(NICENESS); /* a wish */
		_exit(-child_run(snapshot->path, form, node));
	}
	snapshot->watch.fd = pidfd_open(child, 0);
	error = snapshot->watch.fd < 0
			? -errno
			: gw_reactor_watch(snapshot->reactor, &snapshot->watch, EPOLLIN);
	if (snapshot->watch.fd < 0) {
		(void)kill(child, SIGKILL);
		(void)waitpid(child, NULL, 0);
	}
	return error;
}

int gw_journal_snapshot_new(struct gw_reactor *reactor, const char *directory, uint64_t seq,
			    const struct gw_journal_snapshot_form *form, const struct gw_node *node,
			    gw_journal_snapshot_done_f *done, void *context,
			    struct gw_journal_snapshot **ret_snapshot)
{
	struct gw_journal_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	char name[GW_JOURNAL_NAME_BYTES + sizeof(SUFFIX)];
	int error;

	if (!snapshot)
		return -ENOMEM;
	snapshot->reactor = reactor;
	snapshot->done = done;
	snapshot->context = context;
	snapshot->seq = seq;
	snapshot->watch = (struct gw_watch){.fd = -1, .ready = ended, .context = snapshot};
	gw_journal_name(GW_JOURNAL_SNAPSHOT, seq, name);
	(void)strcat(name, SUFFIX);
	error = gw_file_path(snapshot->path, sizeof(snapshot->path), directory, name);
	if (error == 0)
		error = child_start(snapshot, form, node);
	if (error < 0) {
		gw_journal_snapshot_free(snapshot);
		return error;
	}
	*ret_snapshot = snapshot;
	return 0;
}

struct gw_journal_snapshot *gw_journal_snapshot_free(struct gw_journal_snapshot *snapshot)
{
	int error;

	if (!snapshot)
		return NULL;
	if (snapshot->watch.fd >= 0) {
		(void)pidfd_send_signal(snapshot->watch.fd, SIGKILL, NULL, 0);
		child_take(snapshot, &error);
	}
	if (!snapshot->named)
		(void)unlink(snapshot->path); /* else swept by the next process */
	free(snapshot);
	return NULL;
}

uint64_t gw_journal_snapshot_seq(const struct gw_journal_snapshot *snapshot)
{
	return snapshot->seq;
}

uint64_t gw_journal_snapshot_size(const struct gw_journal_snapshot *snapshot)
{
	return snapshot->size;
}

bool gw_journal_snapshot_whole(const struct gw_journal_snapshot *snapshot)
{
	return snapshot->whole;
}

const char *gw_journal_snapshot_path(const struct gw_journal_snapshot *snapshot)
{
	return snapshot->path;
}

int gw_journal_snapshot_name(struct gw_journal_snapshot *snapshot, const char *path)
{
	if (rename(snapshot->path, path) < 0)
		return -errno;
	snapshot->named = true;
	return 0;
}

int gw_journal_snapshot_sweep(const char *directory)
{
	DIR *folder = opendir(directory);
	struct dirent *entry;
	int error = 0;

	if (!folder)
		return -errno;
	while (error == 0 && (entry = readdir(folder)) != NULL) {
		size_t size = strlen(entry->d_name);

		if (strncmp(entry->d_name, "snapshot-", 9) == 0 && size > strlen(SUFFIX) &&
		    strcmp(entry->d_name + size - strlen(SUFFIX), SUFFIX) == 0 &&
		    unlinkat(dirfd(folder), entry->d_name, 0) < 0)
			error = -errno;
	}
	(void)closedir(folder); /* only read */
	return error;
}
