/*
 * A journal in a folder: segments of checksummed batches and snapshots beside them, in the format of
 * transport/journal_format. Records of one turn of the loop, and those that come while a write is
 * in flight, become one batch: one write and one fdatasync (transport/journal_io).
 *
 *	open:	newest whole snapshot, then the records after it, into a core without history. A torn
 *		tail is cut and reported; damage before it, and an end before what is known to
 *		have been durable, refuse the start with file, offset and what to do
 *	run:	append; the durable callback from the loop; when gw_journal_file_due, a snapshot is
 *		written by a child process from its copy of the core, and takes effect when whole
 *	close:	writes what was appended, waits for it, and cuts off the space taken in advance
 *
 * How far the records last is also kept apart from them (transport/journal_mark), a second behind at
 * most: so the loss of the end of the journal does not pass for an earlier end.
 *
 * A disk that is full is waited for. Any other failed write, and any failed sync, is the end: nobody
 * can know what lasts, so the process must stop and read the folder anew.
 *
 * The folder is this process's alone (gw_file_lock).
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_FILE_H
#define GODWIT_TRANSPORT_JOURNAL_FILE_H

#include "proto/step.h"
#include "transport/fault.h"
#include "transport/journal.h"

#define GW_JOURNAL_QUEUE_BYTES_MAX (64u << 20) /* of records that wait; half of it stalls */
#define GW_JOURNAL_SLOW_US (2 * GW_US_PER_S)   /* a record that waits so long stalls */

struct gw_reactor;
struct gw_journal_file;

struct gw_journal_file_options {
	struct gw_reactor *reactor;
	const char *directory; /* made when absent */
	/* Of records since the last snapshot, and at least the last snapshot's own size, until
	 * one is due; 0: 64 MiB. */
	uint64_t snapshot_bytes;
	bool plain; /* pwrite though io_uring may be there */
	gw_journal_durable_f *durable;
	gw_journal_failed_f *failed;
	void *context; /* of the two above */
};

/* What opening found. */
struct gw_journal_found {
	uint64_t snapshot_seq; /* 0: no snapshot */
	uint64_t last_seq;     /* 0: an empty journal */
	uint64_t records;      /* replayed after the snapshot */
	uint64_t durable_seq;  /* known to have lasted, apart from the segments; all is there */
	uint64_t cut_bytes;    /* of a torn tail; 0: none */
	uint32_t damaged_snapshots; /* passed over, since older files hold the same; the fault of
				       opening tells of the oldest */
	uint32_t version;           /* of the oldest file read; 0: an empty journal */
	bool plain;                 /* no io_uring */
};

/* 0; -EUCLEAN: damaged before the tail, or written by a newer program, with the sentence in `fault`;
 * other negative errno. `node` may then be half filled and must be freed. */
int gw_journal_file_open(const struct gw_journal_file_options *options, struct gw_node *node,
			 struct gw_journal_file **ret_file, struct gw_journal_found *ret_found,
			 struct gw_fault *fault);
struct gw_journal_file *gw_journal_file_close(struct gw_journal_file *file);
/* For gw_host_options. */
struct gw_journal *gw_journal_file_journal(struct gw_journal_file *file);
/* True: a snapshot is worth making, and none is under way. */
bool gw_journal_file_due(const struct gw_journal_file *file);
/* Begins one of the durable state of `node`, all of whose records were appended. 0; -EALREADY: one
 * is under way, or the last holds the same; other negative errno: not begun. Any failure is
 * logged and counted, and a snapshot is due again a minute after. Once it and its name are on disk, what the
 * snapshot before it had already superseded is deleted: two generations stay. */
int gw_journal_file_snapshot(struct gw_journal_file *file, const struct gw_node *node);

struct gw_journal_file_counts {
	uint64_t batches; /* written and synced */
	uint64_t bytes;   /* of them, padding included */
	uint64_t snapshots;
	uint64_t snapshots_failed;
	uint64_t durable_seq;
};

const struct gw_journal_file_counts *gw_journal_file_counts(const struct gw_journal_file *file);

/* Reads a journal without changing it and calls `record` for each piece and record, in order.
 * `snapshot`: it is a piece of the snapshot, and seq is the snapshot's. `record` may be NULL (a
 * check only). 0, and what opening would find; -EUCLEAN; other negative errno, also from `record`.
 */
typedef int gw_journal_record_f(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes,
				size_t size);
int gw_journal_file_read(const char *directory, gw_journal_record_f *record, void *context,
			 struct gw_journal_found *ret_found, struct gw_fault *fault);

#endif
