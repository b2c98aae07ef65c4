/*
 * A host's journal on its simulated disk: the bytes of transport/journal_format, written as
 * transport/journal_file does. Records of one turn become one batch, one batch is in flight, and
 * what is appended meanwhile waits for the next; a full disk makes the write wait and try again, a
 * failed sync ends the process. A snapshot gets its name once it is whole; the segments before it
 * then go.
 *
 *	open:	newest snapshot and the records after it, into a core without history; a torn tail
 *		is cut, damage before it refuses the start
 *	run:	append; flush after each turn; the durable callback
 *	stop:	kill (a first part of the write in flight may have reached the page cache)
 */
#ifndef GODWIT_BENCH_SIM_JOURNAL_H
#define GODWIT_BENCH_SIM_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/disk.h"
#include "bench/sim/world.h"
#include "proto/base/buf.h"
#include "proto/step.h"
#include "transport/journal_format.h"

struct sim_journal;

struct sim_journal_ops {
	/* This record lasts now; in order. */
	void (*record)(void *context, uint64_t seq, const uint8_t *bytes, size_t size);
	/* Up to here all do. */
	void (*durable)(void *context, uint64_t seq);
	/* The process must stop. */
	void (*failed)(void *context, const char *why);
};

enum sim_open {
	SIM_OPEN_GOOD,
	SIM_OPEN_FAILED,  /* the disk does not do now what the start needs: to be tried again */
	SIM_OPEN_REFUSED, /* what was durable is damaged */
};

struct sim_journal {
	struct sim_world *world;
	struct sim_disk *disk;
	const struct sim_journal_ops *ops;
	void *context;
	uint64_t snapshot_bytes; /* of segments until a snapshot is due */
	bool skips_sync;         /* a planted bug */
	struct gw_journal_encoder encoder;
	char segment[SIM_FILE_NAME_BYTES]; /* "": the next batch begins one */
	bool begins; /* with the batch under construction, which then has the file header before it */
	struct gw_buf building; /* the batch under construction, a file header before it */
	struct gw_buf writing;  /* in flight */
	char writing_segment[SIM_FILE_NAME_BYTES];
	uint64_t writing_offset;
	uint64_t writing_seq; /* last in flight */
	uint64_t last_seq;    /* appended */
	uint64_t durable_seq;
	uint64_t declared_seq;  /* as durable, by the last batch */
	uint64_t told_seq;      /* highest that was ever called durable, by any process */
	uint64_t log_bytes;     /* of segments since the snapshot */
	struct gw_buf recent;   /* u32 size and bytes of each record that is not durable */
	uint64_t since_us;      /* when the oldest of them was appended */
	struct gw_buf snapshot; /* being written; empty: none is */
	uint64_t snapshot_seq;
	struct sim_timer write;
	struct sim_timer save; /* of the snapshot */
	struct sim_timer idle;
	char text[512]; /* why a start was refused */
};

void sim_journal_init(struct sim_journal *journal, struct sim_disk *disk,
		      const struct sim_journal_ops *ops, void *context);
void sim_journal_deinit(struct sim_journal *journal);

/* Fills the core. The sentence is in journal->text unless good. `hole`: a planted bug, a record in
 * the middle is left out. */
enum sim_open sim_journal_open(struct sim_journal *journal, struct gw_node *node, bool hole);
/* Fills a second core with all that the first one holds, undurable records too; changes nothing.
 * False: the disk has not what it should, journal->text says why. */
bool sim_journal_copy(struct sim_journal *journal, struct gw_node *node, bool hole);

void sim_journal_append(struct sim_journal *journal, const uint8_t *bytes, size_t size);
/* The turn is over: begins a write, and a snapshot of `node` when it is due. */
void sim_journal_flush(struct sim_journal *journal, const struct gw_node *node);
/* NULL: it keeps up; else why new work is to be refused. */
const char *sim_journal_stalled(const struct sim_journal *journal);
/* The process is gone. */
void sim_journal_kill(struct sim_journal *journal);

#endif
