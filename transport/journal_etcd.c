/*
 * Ties a replica to etcd and to the loop: its requests are sent, its answers and its time given to
 * it. A snapshot is written by a child, which has the core as it was at the fork, into a file
 * without a name; the replica then reads it in chunks.
 */
#include "transport/journal_etcd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/step.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/reactor.h"
#include "transport/replica_layout.h"

#define SNAPSHOT_BYTES_DEFAULT (64ull << 20)
#define SNAPSHOT_RETRY_US (30 * GW_US_PER_S)

struct gw_journal_etcd {
	struct gw_journal journal; /* first */
	struct gw_reactor *reactor;
	struct gw_etcd *etcd;
	struct gw_replica *replica;
	struct gw_timer timer;
	struct gw_deferred pump;
	gw_etcd_notice_f *notice;
	void *context;
	char directory[GW_PATH_BYTES];
	uint64_t snapshot_bytes;
	uint64_t snapshot_after_us; /* none before: the last one failed */
	int snapshot_fd;            /* -1: none under way */
	uint64_t snapshot_seq;
	uint64_t snapshot_term; /* of the leadership whose state it is */
	pid_t child;            /* that writes it; 0: none */
	struct gw_watch ended;  /* its pidfd */
};

static void say(const struct gw_journal_etcd *journal, const char *text)
{
	if (journal->notice)
		journal->notice(journal->context, text);
}

/* Sends what the replica has, and sleeps until it may have more. */
static void pump(void *context)
{
	struct gw_journal_etcd *journal = context;
	const struct gw_store_request *request;

	while (gw_replica_next(journal->replica, gw_clock_mono_us(), &request))
		gw_etcd_send(journal->etcd, request);
	gw_reactor_timer_set(journal->reactor, &journal->timer,
			     gw_replica_wake_us(journal->replica));
}

static void answered(void *context, uint64_t id, const struct gw_store_answer *answer)
{
	struct gw_journal_etcd *journal = context;

	gw_replica_answer(journal->replica, gw_clock_mono_us(), id, answer);
	pump(journal);
}

static void noticed(void *context, const char *text)
{
	say(context, text);
}

static struct gw_journal_etcd *of(struct gw_journal *journal)
{
	return (struct gw_journal_etcd *)journal;
}

static const struct gw_journal_etcd *of_const(const struct gw_journal *journal)
{
	return (const struct gw_journal_etcd *)journal;
}

static int append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_journal_etcd *etcd = of(journal);

	/* Sent from the next turn: the records of one turn make one batch. */
	gw_reactor_defer(etcd->reactor, &etcd->pump);
	return gw_replica_append(etcd->replica, gw_clock_mono_us(), seq, bytes, size);
}

static const char *stalled(const struct gw_journal *journal, uint64_t mono_us)
{
	return gw_replica_stalled(of_const(journal)->replica, mono_us);
}

static bool valid(const struct gw_journal *journal, uint64_t mono_us)
{
	return gw_replica_valid(of_const(journal)->replica, mono_us);
}

static int open_parts(struct gw_journal_etcd *journal,
		      const struct gw_journal_etcd_options *options, struct gw_fault *fault)
{
	struct gw_etcd_options etcd = options->etcd;
	int error;

	etcd.answer = answered;
	etcd.notice = noticed;
	etcd.context = journal;
	if (strlen(options->directory) >= sizeof(journal->directory)) {
		gw_fault_set(fault, "%.100s...: the name of the folder is too long",
			     options->directory);
		return -ENAMETOOLONG;
	}
	(void)snprintf(journal->directory, sizeof(journal->directory), "%s", options->directory);
	error = gw_replica_new(&options->replica, gw_clock_mono_us(), &journal->replica);
	if (error < 0) {
		gw_fault_set(
			fault,
			"etcd: the prefix \"%s\", the name \"%s\" or the address \"%s\" cannot be "
			"used: a prefix begins with / and does not end with it; letters, digits, "
			"-_. in both; a lease lasts up to 60 s",
			options->replica.prefix, options->replica.name, options->replica.address);
		return error;
	}
	return gw_etcd_new(&etcd, &journal->etcd, fault);
}

int gw_journal_etcd_new(const struct gw_journal_etcd_options *options,
			struct gw_journal_etcd **ret_journal, struct gw_fault *fault)
{
	struct gw_journal_etcd *journal = calloc(1, sizeof(*journal));
	int error;

	if (!journal)
		return -ENOMEM;
	journal->journal =
		(struct gw_journal){.append = append, .stalled = stalled, .valid = valid};
	journal->reactor = options->etcd.reactor;
	journal->notice = options->etcd.notice;
	journal->context = options->replica.calls.context;
	journal->snapshot_bytes =
		options->snapshot_bytes > 0 ? options->snapshot_bytes : SNAPSHOT_BYTES_DEFAULT;
	journal->snapshot_fd = -1;
	journal->ended.fd = -1;
	journal->timer.fired = pump;
	journal->timer.context = journal;
	journal->pump.call = pump;
	journal->pump.context = journal;
	error = open_parts(journal, options, fault);
	if (error < 0) {
		gw_journal_etcd_free(journal);
		return error;
	}
	gw_reactor_defer(journal->reactor, &journal->pump);
	*ret_journal = journal;
	return 0;
}

static void unwatch_child(struct gw_journal_etcd *journal)
{
	journal->child = 0;
	if (journal->ended.fd < 0)
		return;
	gw_reactor_unwatch(journal->reactor, &journal->ended);
	(void)close(journal->ended.fd);
	journal->ended.fd = -1;
}

/* Ends the child, if there is one, and closes the file. */
static void drop_snapshot(struct gw_journal_etcd *journal)
{
	if (journal->child > 0) {
		(void)kill(journal->child, SIGKILL); /* not reaped yet, so the pid is its own */
		(void)waitpid(journal->child, NULL, 0);
	}
	unwatch_child(journal);
	if (journal->snapshot_fd >= 0)
		(void)close(journal->snapshot_fd);
	journal->snapshot_fd = -1;
}

struct gw_journal_etcd *gw_journal_etcd_free(struct gw_journal_etcd *journal)
{
	if (!journal)
		return NULL;
	drop_snapshot(journal);
	gw_etcd_free(journal->etcd);
	gw_replica_free(journal->replica);
	gw_reactor_undefer(journal->reactor, &journal->pump);
	gw_reactor_timer_cancel(journal->reactor, &journal->timer);
	free(journal);
	return NULL;
}

struct gw_journal *gw_journal_etcd_journal(struct gw_journal_etcd *journal)
{
	return &journal->journal;
}

bool gw_journal_etcd_due(const struct gw_journal_etcd *journal)
{
	return journal->snapshot_fd < 0 &&
	       gw_replica_snapshot_due(journal->replica, journal->snapshot_bytes) &&
	       gw_clock_mono_us() >= journal->snapshot_after_us;
}

static void snapshot_failed(struct gw_journal_etcd *journal, int error)
{
	char text[200];

	(void)snprintf(
		text, sizeof(text),
		"a snapshot of the journal in etcd could not be made (%s); it is tried again",
		strerror(error));
	say(journal, text);
	journal->snapshot_after_us = gw_clock_mono_us() + SNAPSHOT_RETRY_US;
	drop_snapshot(journal);
}

static uint64_t term_of(const struct gw_journal_etcd *journal)
{
	struct gw_replica_status status;

	gw_replica_status(journal->replica, &status);
	return status.term;
}

static int source_read(void *context, uint64_t offset, uint8_t *ret_bytes, size_t size)
{
	const struct gw_journal_etcd *journal = context;

	while (size > 0) {
		ssize_t got = pread(journal->snapshot_fd, ret_bytes, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		ret_bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

static void source_ended(void *context, bool kept)
{
	if (kept)
		drop_snapshot(context);
	else
		snapshot_failed(context, ECANCELED);
}

static void child_ended(void *context, uint32_t events)
{
	struct gw_journal_etcd *journal = context;
	const struct gw_replica_source source = {
		.read = source_read, .ended = source_ended, .context = journal};
	struct stat stat = {0};
	int status = 0;
	int error;

	(void)events; /* readable: it ended */
	(void)waitpid(journal->child, &status, 0);
	unwatch_child(journal);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		snapshot_failed(journal, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR);
		return;
	}
	/* A leadership that was lost may have had records that etcd never got. */
	error = journal->snapshot_term == term_of(journal) ? 0 : -ECANCELED;
	if (error == 0 && fstat(journal->snapshot_fd, &stat) < 0)
		error = -errno;
	error = error < 0 ? error
			  : gw_replica_snapshot(journal->replica, journal->snapshot_seq,
						(uint64_t)stat.st_size, &source);
	if (error < 0)
		snapshot_failed(journal, -error); /* too large, or not leader any more */
	pump(journal);
}

static int write_piece(void *context, const uint8_t *bytes, size_t size)
{
	uint8_t frame[GW_LAYOUT_FRAME_BYTES];
	FILE *file = context;

	gw_layout_frame(size, frame);
	if (fwrite(frame, sizeof(frame), 1, file) != 1 ||
	    (size > 0 && fwrite(bytes, size, 1, file) != 1))
		return -errno;
	return 0;
}

/* In the child: exits with 0 or the errno. */
static void write_snapshot(int fd, const struct gw_node *node)
{
	FILE *file;
	int error;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody else would want the file */
	file = fdopen(fd, "w");
	if (!file)
		_exit(errno);
	error = gw_node_snapshot(node, write_piece, file);
	if (error == 0 && fclose(file) != 0)
		error = -errno;
	_exit(-error);
}

static int open_unnamed(const char *directory)
{
	char path[GW_PATH_BYTES + 24];
	int fd;

	/* Not O_TMPFILE: overlay file systems refuse it. */
	(void)snprintf(path, sizeof(path), "%s/.snapshot-XXXXXX", directory);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)unlink(path); /* it is ours, and just made */
	return fd;
}

int gw_journal_etcd_snapshot(struct gw_journal_etcd *journal, const struct gw_node *node)
{
	int error;

	if (journal->snapshot_fd >= 0)
		return -EBUSY;
	journal->snapshot_fd = open_unnamed(journal->directory);
	if (journal->snapshot_fd < 0) {
		error = journal->snapshot_fd;
		snapshot_failed(journal, -error);
		return error;
	}
	journal->snapshot_seq = gw_node_seq(node);
	journal->snapshot_term = term_of(journal);
	CHECK(journal->snapshot_seq > 0); /* nothing to keep: it would not be due */
	journal->child = fork();
	if (journal->child == 0)
		write_snapshot(journal->snapshot_fd, node);
	error = journal->child < 0 ? -errno : 0;
	if (error == 0) {
		journal->ended = (struct gw_watch){
			.fd = (int)syscall(SYS_pidfd_open, journal->child, 0),
			.ready = child_ended,
			.context = journal,
		};
		error = journal->ended.fd < 0
				? -errno
				: gw_reactor_watch(journal->reactor, &journal->ended, EPOLLIN);
	}
	if (error < 0)
		snapshot_failed(journal, -error);
	return error;
}

int gw_journal_etcd_put_cert(struct gw_journal_etcd *journal, const char *node,
			     const uint8_t *bytes, size_t size, uint64_t handle)
{
	gw_reactor_defer(journal->reactor, &journal->pump);
	return gw_replica_put_cert(journal->replica, node, bytes, size, handle);
}

void gw_journal_etcd_stop(struct gw_journal_etcd *journal)
{
	gw_replica_stop(journal->replica, gw_clock_mono_us());
	gw_reactor_defer(journal->reactor, &journal->pump);
}

void gw_journal_etcd_status(const struct gw_journal_etcd *journal,
			    struct gw_replica_status *ret_status)
{
	gw_replica_status(journal->replica, ret_status);
}
