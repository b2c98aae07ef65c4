/*
 * The bytes of a journal: what a segment and a snapshot look like in a file, and what a file that a
 * crash or a bad disk left behind still says. Pure: the folder of a daemon (transport/journal_file)
 * and the disks of a simulation hold the same bytes.
 *
 * A file is a header and then batches, each at a multiple of GW_JOURNAL_BLOCK, so that a write
 * never touches a block that holds earlier bytes. All numbers are little-endian.
 *
 *	file header, one block; its first 64 bytes keep this form in every version:
 *		0 magic "GODWITJ\n" · 8 u32 version · 12 u32 kind · 16 journal id · 32 u64 sequence
 *		40 zero · 56 u64 XXH3 of bytes 0..55; zero to the end of the block
 *	batch header, 80 bytes, then the body, then zero to the end of the block:
 *		0 magic "GWBATCH\n" · 8 u64 XXH3 of bytes 16..79 · 16 u64 XXH3 of the body
 *		24 journal id · 40 u64 first sequence · 48 u64 durable sequence
 *		56 u64 offset of this batch in its file · 64 u32 kind · 68 u32 records
 *		72 u32 bytes of the body · 76 zero
 *	body: for each record u32 size and the bytes
 *
 * A segment's batches are RECORDS. Each says which sequence was the last known to be durable when
 * it was written; that is what tells a torn tail (what follows the damage was never durable, so
 * nobody was told) from corruption (it was). A batch without records says only that.
 *
 * A snapshot's batches are PIECES, numbered from 1 in place of a sequence, with the snapshot's
 * sequence as the durable one, and then one END, whose body is u64 number of pieces and u64 chained
 * XXH3 of the batch headers before it. Without END it was never finished.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_FORMAT_H
#define GODWIT_TRANSPORT_JOURNAL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/limits.h"

#define GW_JOURNAL_VERSION 1u  /* written; all from 1 on are read */
#define GW_JOURNAL_BLOCK 4096u /* what disks write whole, and the page cache writes back */
#define GW_JOURNAL_BATCH_HEADER_BYTES 80u
#define GW_JOURNAL_RECORD_BYTES_MAX GW_MESSAGE_BYTES_MAX
#define GW_JOURNAL_BATCH_BYTES_MAX (64u << 20) /* of a body */
/* Limit of a buffer that holds one batch of any size. */
#define GW_JOURNAL_BUF_BYTES_MAX (GW_JOURNAL_BATCH_BYTES_MAX + 2 * (size_t)GW_JOURNAL_BLOCK)

/* 16 random bytes, drawn when a journal is begun: a file of another one is never taken for it. */
struct gw_journal_id {
	struct gw_id id;
};

enum gw_journal_kind {
	GW_JOURNAL_SEGMENT = 1,
	GW_JOURNAL_SNAPSHOT = 2,
	GW_JOURNAL_MARK = 3, /* a header and nothing else: records up to its sequence last */
};

struct gw_journal_header {
	struct gw_journal_id id;
	uint64_t seq; /* segment: of its first record; else the last one that it holds or marks */
	enum gw_journal_kind kind;
	uint32_t version; /* read only: GW_JOURNAL_VERSION is written */
};

/* Appends the block. 0; -ENOBUFS or -ENOMEM of `buf`. */
int gw_journal_header_encode(const struct gw_journal_header *header, struct gw_buf *buf);

/*
 * Writing. An encoder knows where in its file the next batch goes; the bytes of the batch go to the
 * buffer that the caller names, which must be the same from the first add to the seal and otherwise
 * is the caller's to empty. What fails changes nothing.
 */
struct gw_journal_encoder {
	struct gw_journal_header header;
	uint64_t offset; /* of the next batch, or of the one under construction */
	uint64_t next;   /* sequence of the next record, or number of the next piece */
	uint64_t chain;  /* of the headers sealed */
	size_t start;    /* in the buffer, of the batch under construction */
	uint32_t count;  /* records in it; 0: none is under construction */
};

/* `next`: sequence of the next record; of a snapshot 1. The caller writes the file header. */
void gw_journal_encoder_init(struct gw_journal_encoder *encoder,
			     const struct gw_journal_header *header, uint64_t offset,
			     uint64_t next);
/* Adds a record (a piece) to the batch under construction, or begins one. 0; -EMSGSIZE: more than
 * GW_JOURNAL_RECORD_BYTES_MAX; -ENOBUFS: the batch is full (seal it); -ENOMEM. */
int gw_journal_encode_record(struct gw_journal_encoder *encoder, struct gw_buf *buf,
			     const uint8_t *bytes, size_t size);
/* Ends the batch under construction, or makes one without records. The bytes from the old
 * encoder->offset on are then to be written there. `durable_seq`: the last sequence known to be
 * durable, below the batch's first; of a snapshot it is ignored. 0; -ENOBUFS; -ENOMEM. */
int gw_journal_encode_seal(struct gw_journal_encoder *encoder, struct gw_buf *buf,
			   uint64_t durable_seq);
/* The END of a snapshot, after the last seal. 0; -ENOBUFS; -ENOMEM. */
int gw_journal_encode_end(struct gw_journal_encoder *encoder, struct gw_buf *buf);

/*
 * Reading: the bytes of a file, as they are, and what is known of it from elsewhere.
 *
 *	gw_journal_scan_init(&scan, bytes, size, &expect);
 *	while (gw_journal_scan_next(&scan, &record))
 *		...
 *	switch (scan.verdict)
 */
struct gw_journal_expect {
	const struct gw_journal_id *id; /* NULL: any */
	enum gw_journal_kind kind;
	uint64_t seq;         /* of the file header; 0: any */
	uint64_t durable_seq; /* segment: known to have been durable, from other files */
};

enum gw_journal_verdict {
	GW_JOURNAL_READING, /* more may come */
	GW_JOURNAL_WHOLE,   /* nothing is behind the last batch */
	GW_JOURNAL_TORN,    /* what is behind `end` was never durable and is to be cut. A snapshot:
			       never finished, all of it is to be ignored */
	GW_JOURNAL_CORRUPT, /* what was durable is not there; `text` says what was found */
	GW_JOURNAL_NEWER,   /* written by a newer program, `text` says so */
};

struct gw_journal_record {
	uint64_t seq; /* of a piece: its number */
	const uint8_t *bytes;
	size_t size;
};

struct gw_journal_scan {
	const uint8_t *bytes;
	size_t size;
	struct gw_journal_expect expect;
	struct gw_journal_header header; /* zero until it was read */
	uint64_t end;         /* behind the last good batch: where the next goes, or the cut */
	uint64_t next;        /* sequence, or piece, that comes next */
	uint64_t durable_seq; /* the highest that this file declares, or 0 */
	uint64_t batches;
	uint64_t chain;
	const uint8_t *body; /* what is left of the batch at hand */
	size_t body_bytes;
	uint32_t body_count;
	bool ended; /* the END was met */
	enum gw_journal_verdict verdict;
	char text[400]; /* CORRUPT, NEWER, TORN: a sentence that begins with the offset */
};

/* `bytes` must stay as long as the scan. */
void gw_journal_scan_init(struct gw_journal_scan *scan, const uint8_t *bytes, size_t size,
			  const struct gw_journal_expect *expect);
/* The next record of a batch that is good as a whole. False: the verdict is final. */
bool gw_journal_scan_next(struct gw_journal_scan *scan, struct gw_journal_record *ret_record);

#endif
