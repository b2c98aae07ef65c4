/*
 * A journal in a folder: segments of checksummed batches and snapshots beside them, in the format
 * of transport/journal_format. Records of one turn of the loop become one batch: one write and one
 * fdatasync, linked, through io_uring; where the kernel refuses io_uring, pwrite and fdatasync.
 *
 *	open:	newest whole snapshot, then the records after it, into a core without history; a
 *torn tail is cut and reported, damage before it refuses the start with file, offset and what to do
 *	run:	append; the durable callback from the loop; when gw_journal_file_due, a snapshot is
 *		written by a child process from its copy of the core, and takes effect when whole
 *	close:	waits for the write in flight
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_FILE_H
#define GODWIT_TRANSPORT_JOURNAL_FILE_H

#include "proto/step.h"
#include "transport/fault.h"
#include "transport/journal.h"

struct gw_reactor;
struct gw_journal_file;

struct gw_journal_file_options {
	struct gw_reactor *reactor;
	const char *directory; /* made when absent */
	uint64_t
		snapshot_bytes; /* of records since the last snapshot until one is due; 0: 64 MiB */
	bool plain;             /* pwrite though io_uring may be there */
	gw_journal_durable_f *durable;
	gw_journal_failed_f *failed;
	void *context; /* of the two above */
};

/* What opening found. */
struct gw_journal_found {
	uint64_t snapshot_seq; /* 0: no snapshot */
	uint64_t last_seq;     /* 0: an empty journal */
	uint64_t records;      /* replayed after the snapshot */
	uint64_t cut_bytes;    /* of a torn tail; 0: none */
	uint32_t version;      /* of the oldest file read */
	bool plain;            /* no io_uring */
};

/* 0; -EUCLEAN: damaged before the tail, with the sentence in `fault`; other negative errno. `node`
 * may then be half filled and must be freed. */
int gw_journal_file_open(const struct gw_journal_file_options *options, struct gw_node *node,
			 struct gw_journal_file **ret_file, struct gw_journal_found *ret_found,
			 struct gw_fault *fault);
struct gw_journal_file *gw_journal_file_close(struct gw_journal_file *file);
/* For gw_host_options. */
struct gw_journal *gw_journal_file_journal(struct gw_journal_file *file);
/* True: a snapshot is worth making, and none is under way. */
bool gw_journal_file_due(const struct gw_journal_file *file);
/* Begins one of the durable state of `node`, all of whose records were appended. 0; negative
 * errno: not begun; a failure later is logged and tried again. */
int gw_journal_file_snapshot(struct gw_journal_file *file, const struct gw_node *node);

/* Reads a journal without changing it and calls `record` for each piece and record, in order.
 * `snapshot`: it is a piece of the snapshot, and seq is the snapshot's. `record` may be NULL (a
 * check only). 0, and what opening would find; -EUCLEAN; other negative errno, also from `record`.
 */
typedef int gw_journal_record_f(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes,
				size_t size);
int gw_journal_file_read(const char *directory, gw_journal_record_f *record, void *context,
			 struct gw_journal_found *ret_found, struct gw_fault *fault);

#endif
