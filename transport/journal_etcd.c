/*
 * Ties a replica to etcd and to the loop: its requests are sent, its answers and its time given to
 * it. A snapshot is written by a child (transport/journal_snapshot), which has the core as it was at
 * the fork; the replica then reads its file, which has no name any more, in chunks.
 */
#include "transport/journal_etcd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/step.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_frames.h"
#include "transport/journal_snapshot.h"
#include "transport/reactor.h"

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
	uint64_t snapshot_after_us;           /* none before: the last one failed */
	struct gw_journal_snapshot *snapshot; /* being written; NULL: none */
	uint64_t snapshot_term;               /* of the leadership whose state it is */
	struct gw_journal_frames frames;      /* being uploaded; fd -1: none */
};

static void say(const struct gw_journal_etcd *journal, const char *text)
{
	if (journal->notice)
		journal->notice(journal->context, text);
}

static bool leads(const struct gw_journal_etcd *journal, uint64_t term)
{
	struct gw_replica_status status;

	gw_replica_status(journal->replica, &status);
	return status.role == GW_REPLICA_LEADER && status.term == term;
}

/* Sends what the replica has, and sleeps until it may have more. */
static void pump(void *context)
{
	struct gw_journal_etcd *journal = context;
	const struct gw_store_request *request;

	while (gw_replica_next(journal->replica, gw_clock_mono_us(), &request))
		gw_etcd_send(journal->etcd, request);
	/* What a leadership that was lost appended may never have reached etcd, so its state is
	 * nobody's. */
	if (journal->snapshot && !leads(journal, journal->snapshot_term))
		journal->snapshot = gw_journal_snapshot_free(journal->snapshot);
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
	journal->frames.fd = -1;
	journal->timer.fired = pump;
	journal->timer.context = journal;
	journal->pump.call = pump;
	journal->pump.context = journal;
	error = open_parts(journal, options, fault);
	if (error == 0) {
		error = gw_journal_snapshot_sweep(journal->directory);
		if (error < 0)
			gw_fault_set(fault, "cannot use the folder %s: %s", journal->directory,
				     strerror(-error));
	}
	if (error < 0) {
		gw_journal_etcd_free(journal);
		return error;
	}
	gw_reactor_defer(journal->reactor, &journal->pump);
	*ret_journal = journal;
	return 0;
}

static void drop_snapshot(struct gw_journal_etcd *journal)
{
	journal->snapshot = gw_journal_snapshot_free(journal->snapshot);
	gw_journal_frames_close(&journal->frames);
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
	return !journal->snapshot && journal->frames.fd < 0 &&
	       gw_replica_snapshot_due(journal->replica, journal->snapshot_bytes) &&
	       gw_clock_mono_us() >= journal->snapshot_after_us;
}

static void snapshot_failed(struct gw_journal_etcd *journal, int error)
{
	char text[200];

	(void)snprintf(
		text, sizeof(text),
		"a snapshot of the journal in etcd could not be made (%s); it is tried again",
		strerror(-error));
	say(journal, text);
	journal->snapshot_after_us = gw_clock_mono_us() + SNAPSHOT_RETRY_US;
	drop_snapshot(journal);
}

static int source_read(void *context, uint64_t offset, uint8_t *ret_bytes, size_t size)
{
	struct gw_journal_etcd *journal = context;

	CHECK(offset == journal->frames.read); /* each chunk once */
	return gw_journal_frames_read(&journal->frames, ret_bytes, size);
}

static void source_ended(void *context, bool kept)
{
	if (kept)
		drop_snapshot(context);
	else
		snapshot_failed(context, -ECANCELED);
}

/* The child ended. */
static void written(void *context, int error)
{
	struct gw_journal_etcd *journal = context;
	const struct gw_replica_source source = {
		.read = source_read, .ended = source_ended, .context = journal};
	uint64_t seq = gw_journal_snapshot_seq(journal->snapshot);

	if (error == 0)
		error = gw_journal_frames_open(gw_journal_snapshot_path(journal->snapshot),
					       &journal->frames);
	journal->snapshot = gw_journal_snapshot_free(journal->snapshot); /* and the file's name */
	if (error == 0 && !leads(journal, journal->snapshot_term))
		error = -ECANCELED;
	if (error == 0)
		error = gw_replica_snapshot(journal->replica, seq, journal->frames.size, &source);
	if (error < 0)
		snapshot_failed(journal, error); /* too large, for one */
	pump(journal);
}

int gw_journal_etcd_snapshot(struct gw_journal_etcd *journal, const struct gw_node *node)
{
	struct gw_replica_status status;
	int error;

	if (journal->snapshot || journal->frames.fd >= 0)
		return -EBUSY;
	gw_replica_status(journal->replica, &status);
	journal->snapshot_term = status.term;
	CHECK(gw_node_seq(node) > 0); /* nothing to keep: it would not be due */
	error = gw_journal_snapshot_new(journal->reactor, journal->directory, gw_node_seq(node),
					&gw_journal_frames_form, node, written, journal,
					&journal->snapshot);
	if (error < 0)
		snapshot_failed(journal, error);
	return error;
}

int gw_journal_etcd_put_cert(struct gw_journal_etcd *journal, const char *node,
			     const uint8_t *bytes, size_t size, uint64_t handle)
{
	gw_reactor_defer(journal->reactor, &journal->pump);
	return gw_replica_put_cert(journal->replica, node, bytes, size, handle);
}

int gw_journal_etcd_drop_cert(struct gw_journal_etcd *journal, const char *node,
			      const uint8_t *bytes, size_t size)
{
	int error = gw_replica_drop_cert(journal->replica, node, bytes, size);

	gw_reactor_defer(journal->reactor, &journal->pump);
	return error;
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
