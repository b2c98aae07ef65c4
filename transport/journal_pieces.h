/*
 * The snapshot of a journal in a folder: pieces in batches, as transport/journal_format draws them.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_PIECES_H
#define GODWIT_TRANSPORT_JOURNAL_PIECES_H

#include "transport/journal_format.h"
#include "transport/journal_snapshot.h"

/* `header`: kind, id and sequence; must stay until the fork. */
struct gw_journal_snapshot_form gw_journal_pieces_form(const struct gw_journal_header *header);

#endif
