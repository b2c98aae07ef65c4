/*
 * The file `durable` of a journal folder: the highest sequence known to last, kept apart from the
 * segments, whose own end cannot tell that there was more. Two blocks, written in turn; each is a
 * file header of kind GW_JOURNAL_MARK, and the higher one that is good counts, so a write that a
 * crash tears takes nothing back. A folder of an earlier version has none.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_MARK_H
#define GODWIT_TRANSPORT_JOURNAL_MARK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "transport/fault.h"
#include "transport/journal_format.h"
#include "transport/journal_io.h"

#define GW_JOURNAL_MARK_NAME "durable"

struct gw_journal_mark {
	struct gw_journal_id id; /* of the journal; when seq > 0 */
	uint64_t seq;            /* 0: there is no mark */
	uint32_t slot;           /* where it stands: 0 or 1 */
};

/* 0: also when there is none; -EUCLEAN: damaged, or of a newer program; other negative errno. */
int gw_journal_mark_read(const char *directory, bool settle, struct gw_journal_mark *ret_mark,
			 struct gw_fault *fault);

/* Writing it: the caller's own gw_journal_io does, one at a time. */
struct gw_journal_marker {
	struct gw_journal_mark mark; /* the last that lasts */
	int fd;                      /* -1: not opened yet */
	struct gw_buf block;
};

void gw_journal_marker_init(struct gw_journal_marker *marker);
void gw_journal_marker_deinit(struct gw_journal_marker *marker);
/* What to write so that `seq` is marked; valid until the next call. gw_journal_marker_written once
 * it lasts. 0; negative errno. */
int gw_journal_marker_write(struct gw_journal_marker *marker, const char *directory, int folder_fd,
			    const struct gw_journal_id *id, uint64_t seq,
			    struct gw_journal_write *ret_write);
void gw_journal_marker_written(struct gw_journal_marker *marker, const struct gw_journal_id *id,
			       uint64_t seq);

#endif
