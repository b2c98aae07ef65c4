/*
 * One snapshot in the making. A child process writes it from its copy of the core, so the loop goes
 * on meanwhile; it is whole once the child has synced it, read it back from disk and ended with 0.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_SNAPSHOT_H
#define GODWIT_TRANSPORT_JOURNAL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/step.h"
#include "transport/journal_format.h"

struct gw_reactor;
struct gw_journal_snapshot;

/* 0: it is whole; negative errno: it is not, and is to be freed. May free it. */
typedef void gw_journal_snapshot_done_f(void *context, int error);

/* Forks. `header`: kind, id and sequence. 0; negative errno. */
int gw_journal_snapshot_new(struct gw_reactor *reactor, const char *directory,
			    const struct gw_journal_header *header, const struct gw_node *node,
			    gw_journal_snapshot_done_f *done, void *context,
			    struct gw_journal_snapshot **ret_snapshot);
/* Ends the child, and removes the file unless it has its name. */
struct gw_journal_snapshot *gw_journal_snapshot_free(struct gw_journal_snapshot *snapshot);
uint64_t gw_journal_snapshot_seq(const struct gw_journal_snapshot *snapshot);
uint64_t gw_journal_snapshot_size(const struct gw_journal_snapshot *snapshot); /* once whole */
bool gw_journal_snapshot_whole(const struct gw_journal_snapshot *snapshot);
/* Gives it its name, which lasts once the folder is synced. 0; negative errno. */
int gw_journal_snapshot_name(struct gw_journal_snapshot *snapshot, const char *path);

/* Removes what children of earlier processes left unfinished. 0; negative errno. */
int gw_journal_snapshot_sweep(const char *directory);

#endif
