/*
 * Two ways to one result. io_uring: write, fdatasync and perhaps fsync as a chain of linked requests,
 * completions through an eventfd on the loop; the first that fails (a short write too) cancels the
 * rest. Plain: the same three as calls on a thread, which passes its result through a pipe. Short and
 * interrupted writes go on from where they ended; a sync is never asked for twice.
 */
#include "transport/journal_io.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <liburing.h>

#include "proto/base/check.h"
#include "transport/reactor.h"

#define WRITE_BYTES_MAX (1u << 30) /* of one request: its result is an int */

enum stage {
	STAGE_WRITE,
	STAGE_DATA,
	STAGE_FOLDER,
	STAGE_COUNT,
};

struct gw_journal_io {
	struct gw_reactor *reactor;
	gw_journal_written_f *written;
	void *context;
	struct gw_watch watch; /* of the eventfd */
	bool plain;
	bool busy;
	struct gw_journal_write write; /* what is left of it */
	struct io_uring ring;
	int results[STAGE_COUNT];
	uint32_t pending; /* requests of the chain without a completion */
	pthread_t thread;
	bool thread_runs;
	bool stopping;
	pthread_mutex_t lock; /* of wanted, done and stopping; the rest changes hands with them */
	pthread_cond_t changed;
	bool wanted;
	bool done;
	struct gw_journal_written outcome; /* of the thread */
};

static void report(struct gw_journal_io *io, struct gw_journal_written outcome)
{
	io->busy = false;
	io->written(io->context, &outcome);
}

/* -- io_uring -- */

static int chain_submit(struct gw_journal_io *io)
{
	const struct gw_journal_write *write = &io->write;
	unsigned int size =
		(unsigned int)(write->size < WRITE_BYTES_MAX ? write->size : WRITE_BYTES_MAX);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
	int count;

	CHECK(sqe); /* the ring is larger than a chain, and empty */
	io_uring_prep_write(sqe, write->fd, write->bytes, size, write->offset);
	io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
	io_uring_sqe_set_data64(sqe, STAGE_WRITE);
	sqe = io_uring_get_sqe(&io->ring);
	CHECK(sqe);
	io_uring_prep_fsync(sqe, write->fd, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_data64(sqe, STAGE_DATA);
	io->pending = 2;
	io->results[STAGE_FOLDER] = 0;
	if (write->folder_fd >= 0) {
		io_uring_sqe_set_flags(sqe, IOSQE_IO_LINK);
		sqe = io_uring_get_sqe(&io->ring);
		CHECK(sqe);
		io_uring_prep_fsync(sqe, write->folder_fd, 0);
		io_uring_sqe_set_data64(sqe, STAGE_FOLDER);
		io->pending = 3;
	}
	do
		count = io_uring_submit(&io->ring);
	while (count == -EINTR);
	if (count < 0)
		return count;
	return count == (int)io->pending ? 0 : -EIO; /* a chain is taken as a whole */
}

/* All requests of the chain have completed. */
static void chain_end(struct gw_journal_io *io)
{
	struct gw_journal_written outcome = {0};
	int result = io->results[STAGE_WRITE];
	bool again = result == -EINTR || result == -EAGAIN;

	if (result == 0) /* a regular file takes at least a byte, or says why not */
		outcome.write_error = -EIO;
	else if (again || (result > 0 && (size_t)result < io->write.size)) {
		size_t put = again ? 0 : (size_t)result;

		io->write.bytes += put;
		io->write.offset += put;
		io->write.size -= put;
		outcome.write_error = chain_submit(io);
		if (outcome.write_error == 0)
			return;
	} else if (result < 0)
		outcome.write_error = result;
	else
		outcome.sync_error = io->results[STAGE_DATA] < 0 ? io->results[STAGE_DATA]
								 : io->results[STAGE_FOLDER];
	report(io, outcome);
}

static void completions_take(struct gw_journal_io *io)
{
	struct io_uring_cqe *cqe;

	while (io->pending > 0 && io_uring_peek_cqe(&io->ring, &cqe) == 0) {
		uint64_t stage = io_uring_cqe_get_data64(cqe);

		CHECK(stage < STAGE_COUNT);
		io->results[stage] = cqe->res;
		io_uring_cqe_seen(&io->ring, cqe);
		io->pending--;
	}
	if (io->pending == 0)
		chain_end(io);
}

/* -- the thread -- */

static struct gw_journal_written write_plainly(const struct gw_journal_write *write)
{
	size_t put = 0;

	while (put < write->size) {
		ssize_t got = pwrite(write->fd, write->bytes + put, write->size - put,
				     (off_t)(write->offset + put));

		if (got < 0 && errno != EINTR)
			return (struct gw_journal_written){.write_error = -errno};
		if (got == 0)
			return (struct gw_journal_written){.write_error = -EIO};
		if (got > 0)
			put += (size_t)got;
	}
	if (fdatasync(write->fd) < 0 || (write->folder_fd >= 0 && fsync(write->folder_fd) < 0))
		return (struct gw_journal_written){.sync_error = -errno};
	return (struct gw_journal_written){0};
}

static void *run(void *context)
{
	struct gw_journal_io *io = context;
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&io->lock);
	for (;;) {
		while (!io->wanted && !io->stopping)
			(void)pthread_cond_wait(&io->changed, &io->lock);
		if (!io->wanted)
			break;
		io->wanted = false;
		(void)pthread_mutex_unlock(&io->lock);
		io->outcome = write_plainly(&io->write);
		(void)pthread_mutex_lock(&io->lock);
		io->done = true;
		(void)pthread_cond_broadcast(&io->changed);
		(void)!write(io->watch.fd, &one, sizeof(one)); /* takes 2^64 - 2 of these */
	}
	(void)pthread_mutex_unlock(&io->lock);
	return NULL;
}

/* `wait`: until it is done. */
static void outcome_take(struct gw_journal_io *io, bool wait)
{
	bool done;

	(void)pthread_mutex_lock(&io->lock);
	while (wait && !io->done)
		(void)pthread_cond_wait(&io->changed, &io->lock);
	done = io->done;
	io->done = false;
	(void)pthread_mutex_unlock(&io->lock);
	if (done)
		report(io, io->outcome);
}

static int thread_start(struct gw_journal_io *io)
{
	int error = -pthread_create(&io->thread, NULL, run, io);

	io->thread_runs = error == 0;
	return error;
}

/* -- both -- */

static void ready(void *context, uint32_t events)
{
	struct gw_journal_io *io = context;
	uint64_t count;

	(void)events; /* readable is all that it can be */
	if (read(io->watch.fd, &count, sizeof(count)) < 0 || !io->busy)
		return; /* gw_journal_io_wait() was there first */
	if (io->plain)
		outcome_take(io, false);
	else
		completions_take(io);
}

int gw_journal_io_new(struct gw_reactor *reactor, bool plain, gw_journal_written_f *written,
		      void *context, struct gw_journal_io **ret_io)
{
	struct gw_journal_io *io = calloc(1, sizeof(*io));
	int error;

	if (!io)
		return -ENOMEM;
	io->reactor = reactor;
	io->written = written;
	io->context = context;
	(void)pthread_mutex_init(&io->lock, NULL); /* default ones do not fail on Linux */
	(void)pthread_cond_init(&io->changed, NULL);
	io->watch.ready = ready;
	io->watch.context = io;
	io->plain = plain || io_uring_queue_init(2 * STAGE_COUNT, &io->ring, 0) < 0;
	io->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = io->watch.fd < 0 ? -errno : gw_reactor_watch(reactor, &io->watch, EPOLLIN);
	if (error == 0)
		error = io->plain ? thread_start(io)
				  : io_uring_register_eventfd(&io->ring, io->watch.fd);
	if (error < 0) {
		gw_journal_io_free(io);
		return error;
	}
	*ret_io = io;
	return 0;
}

struct gw_journal_io *gw_journal_io_free(struct gw_journal_io *io)
{
	if (!io)
		return NULL;
	CHECK(!io->busy);
	if (io->thread_runs) {
		(void)pthread_mutex_lock(&io->lock);
		io->stopping = true;
		(void)pthread_cond_broadcast(&io->changed);
		(void)pthread_mutex_unlock(&io->lock);
		(void)pthread_join(io->thread, NULL);
	}
	if (!io->plain)
		io_uring_queue_exit(&io->ring);
	if (io->watch.fd >= 0) {
		gw_reactor_unwatch(io->reactor, &io->watch);
		(void)close(io->watch.fd);
	}
	(void)pthread_cond_destroy(&io->changed);
	(void)pthread_mutex_destroy(&io->lock);
	free(io);
	return NULL;
}

bool gw_journal_io_plain(const struct gw_journal_io *io)
{
	return io->plain;
}

int gw_journal_io_write(struct gw_journal_io *io, const struct gw_journal_write *write)
{
	int error = 0;

	CHECK(!io->busy);
	CHECK(write->size > 0);
	io->write = *write;
	if (io->plain) {
		(void)pthread_mutex_lock(&io->lock);
		io->wanted = true;
		(void)pthread_cond_broadcast(&io->changed);
		(void)pthread_mutex_unlock(&io->lock);
	} else
		error = chain_submit(io);
	io->busy = error == 0;
	return error;
}

void gw_journal_io_wait(struct gw_journal_io *io)
{
	struct io_uring_cqe *cqe;

	while (io->busy) {
		if (io->plain)
			outcome_take(io, true);
		else if (io_uring_wait_cqe(&io->ring, &cqe) == 0)
			completions_take(io);
	}
}
