/*
 * A journal that several schedulers of one region share, in etcd: transport/replica on
 * transport/etcd. Each of them starts as a follower and is told of every piece and record; one of
 * them at a time leads and appends.
 *
 *	new	from the next turn of the loop: calls.reset, piece, record, following
 *	lead	calls.leader(term, seq): make the host with this journal, last_seq = seq and the term
 *	lost	calls.lost(reason): free the host and the core; calls.reset comes with the next reading
 *	stop	gw_journal_etcd_stop, then wait for calls.stopped, then free
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_ETCD_H
#define GODWIT_TRANSPORT_JOURNAL_ETCD_H

#include "transport/etcd.h"
#include "transport/journal.h"
#include "transport/replica.h"

struct gw_journal_etcd;
struct gw_node;

struct gw_journal_etcd_options {
	/* `answer` and `context` of these are ignored; notice gets calls.context. */
	struct gw_etcd_options etcd;
	/* calls.leader may make a host and step it; calls.lost may free it. */
	struct gw_replica_options replica;
	/* Of this process alone. A snapshot lies there until it is in etcd. */
	const char *directory;
	/* Of records since the last snapshot until one is due; 0: 64 MiB. */
	uint64_t snapshot_bytes;
};

/* 0; negative errno with the sentence in `fault`. */
int gw_journal_etcd_new(const struct gw_journal_etcd_options *options,
			struct gw_journal_etcd **ret_journal, struct gw_fault *fault);
/* Not from one of its calls. */
struct gw_journal_etcd *gw_journal_etcd_free(struct gw_journal_etcd *journal);

/* For gw_host_options. Appends are taken only between calls.leader and calls.lost. */
struct gw_journal *gw_journal_etcd_journal(struct gw_journal_etcd *journal);
/* Leader: a snapshot is worth making, and none is under way. */
bool gw_journal_etcd_due(const struct gw_journal_etcd *journal);
/* Leader: begins one of the durable state of `node`, all of whose records were appended: a child
 * process writes it from its copy of the core, then it is uploaded. It takes effect in etcd only
 * after those records. 0; negative errno: not begun; a failure later is said in a notice, and it is
 * due again after a while. */
int gw_journal_etcd_snapshot(struct gw_journal_etcd *journal, const struct gw_node *node);
/* Keeps a certificate for all schedulers of the region; calls.cert_kept(handle) when it lasts. As
 * gw_replica_put_cert. */
int gw_journal_etcd_put_cert(struct gw_journal_etcd *journal, const char *node,
			     const uint8_t *bytes, size_t size, uint64_t handle);
/* As gw_replica_drop_cert. */
int gw_journal_etcd_drop_cert(struct gw_journal_etcd *journal, const char *node,
			      const uint8_t *bytes, size_t size);
/* Begins to stop in order: a leader's standby takes over at once. */
void gw_journal_etcd_stop(struct gw_journal_etcd *journal);
void gw_journal_etcd_status(const struct gw_journal_etcd *journal,
			    struct gw_replica_status *ret_status);

#endif
