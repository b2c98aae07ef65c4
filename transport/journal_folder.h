/*
 * The files of a journal folder and what they say together: which snapshot counts, which segments
 * follow it, where the records end. Reads and judges; changes nothing.
 *
 *	segment-SEQ	batches of records, the first of which is SEQ (20 digits)
 *	snapshot-SEQ	the durable state after record SEQ; takes this name once it is whole on disk
 *	durable		the mark: how far the records are known to go (transport/journal_mark)
 *	*.new		a snapshot in the making, of nobody once its process is gone
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_FOLDER_H
#define GODWIT_TRANSPORT_JOURNAL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/fault.h"
#include "transport/journal_file.h"
#include "transport/journal_format.h"
#include "transport/journal_mark.h"

#define GW_JOURNAL_NAME_BYTES 48u

/* In the form above; `ret_name` has GW_JOURNAL_NAME_BYTES. */
void gw_journal_name(enum gw_journal_kind kind, uint64_t seq, char *ret_name);

/* One kind's files of a folder, by sequence. */
struct gw_journal_files {
	uint64_t *seqs; /* [count], ascending */
	size_t count;
};

/* 1: there is a segment or a snapshot; 0: none, or no such folder; negative errno. */
int gw_journal_folder_holds(const char *directory);
/* 0; negative errno. */
int gw_journal_files_list(const char *directory, enum gw_journal_kind kind,
			  struct gw_journal_files *ret_files);
void gw_journal_files_deinit(struct gw_journal_files *files);

/* A file's bytes, read rather than mapped: a disk that cannot read then answers with an errno, and
 * not with a signal. */
struct gw_journal_bytes {
	uint8_t *bytes;
	size_t size;
};

/* `settle`: what is read is on disk, and was read from there. Needed before anything is told on
 * account of it: a process that was killed may have left records that only memory holds. 0; negative
 * errno. */
int gw_journal_bytes_read(const char *path, bool settle, struct gw_journal_bytes *ret_bytes);
void gw_journal_bytes_deinit(struct gw_journal_bytes *bytes);

/* Where writing goes on. */
struct gw_journal_tail {
	bool empty; /* there is no journal yet; nothing below counts */
	struct gw_journal_id id;
	uint64_t segment_seq; /* the segment to write to */
	uint64_t end;         /* offset of the next batch; 0: not even its header is good */
	uint64_t size;        /* of that file */
	uint64_t durable_seq; /* that it declares */
	uint64_t log_bytes;   /* of the segments behind the snapshot */
	uint64_t snapshot_size;
	struct gw_journal_mark mark;
};

/* As gw_journal_file_read. */
int gw_journal_folder_read(const char *directory, bool settle, gw_journal_record_f *record,
			   void *context, struct gw_journal_found *ret_found,
			   struct gw_journal_tail *ret_tail, struct gw_fault *fault);

#endif
