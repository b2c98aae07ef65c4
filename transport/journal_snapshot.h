/*
 * One snapshot in the making. A child process writes it from its copy of the core, so the loop goes
 * on meanwhile; it is whole once the child has synced it, read it back from disk and ended with 0.
 * What the file looks like is the form's: transport/journal_pieces for a folder,
 * transport/journal_frames for etcd.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_SNAPSHOT_H
#define GODWIT_TRANSPORT_JOURNAL_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/step.h"

struct gw_reactor;
struct gw_journal_snapshot;

/* Both are called in the child, which has no descriptor of its parent's but the standard three.
 * 0; negative errno. */
struct gw_journal_snapshot_form {
	int (*write)(const void *context, int fd, const struct gw_node *node);
	/* Reads the file from disk, not from memory, and says whether it is whole. */
	int (*check)(const void *context, const char *path);
	const void *context; /* as it is at the fork */
};

/* 0: it is whole; negative errno: it is not, and is to be freed. May free it. */
typedef void gw_journal_snapshot_done_f(void *context, int error);

/* Forks. The file stands in `directory` under a name that gw_journal_snapshot_sweep knows. 0;
 * negative errno. */
int gw_journal_snapshot_new(struct gw_reactor *reactor, const char *directory, uint64_t seq,
			    const struct gw_journal_snapshot_form *form, const struct gw_node *node,
			    gw_journal_snapshot_done_f *done, void *context,
			    struct gw_journal_snapshot **ret_snapshot);
/* Ends the child, and removes the file unless it has its name. */
struct gw_journal_snapshot *gw_journal_snapshot_free(struct gw_journal_snapshot *snapshot);
uint64_t gw_journal_snapshot_seq(const struct gw_journal_snapshot *snapshot);
uint64_t gw_journal_snapshot_size(const struct gw_journal_snapshot *snapshot); /* once whole */
bool gw_journal_snapshot_whole(const struct gw_journal_snapshot *snapshot);
const char *gw_journal_snapshot_path(const struct gw_journal_snapshot *snapshot);
/* Gives it its name, which lasts once the folder is synced. 0; negative errno. */
int gw_journal_snapshot_name(struct gw_journal_snapshot *snapshot, const char *path);

/* Removes what children of earlier processes left unfinished. 0; negative errno. */
int gw_journal_snapshot_sweep(const char *directory);

/* For forms: all of the bytes. 0; negative errno. */
int gw_journal_snapshot_put(int fd, const uint8_t *bytes, size_t size);

#endif
