/*
 * Keys and values of the journal in etcd; the layout is in transport/README.md. Values that were
 * read are checked whole before anything of them is used.
 */
#ifndef GODWIT_TRANSPORT_REPLICA_LAYOUT_H
#define GODWIT_TRANSPORT_REPLICA_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/store.h"

#define GW_LAYOUT_VERSION 1u
#define GW_LAYOUT_HASH_BYTES 32u
#define GW_LAYOUT_BATCH_HEADER_BYTES 9u /* version, first sequence */
#define GW_LAYOUT_FRAME_BYTES 4u        /* length before each record or piece, big-endian */
#define GW_LAYOUT_SEQUENCE_BYTES 17u    /* 16 hexadecimal digits and a NUL */
#define GW_LAYOUT_MANIFEST_BYTES 192u   /* text and NUL */
#define GW_LAYOUT_SNAPSHOT_BYTES 43u    /* a snapshot's name and NUL */

/* Of the newest whole snapshot. */
struct gw_layout_manifest {
	uint64_t seq;     /* of the last record in it */
	uint64_t term;    /* of the leader that made it */
	uint32_t attempt; /* of that leader, so that no two uploads share a key */
	uint32_t chunk_count;
	uint64_t size; /* bytes of all chunks */
	uint8_t hash[GW_LAYOUT_HASH_BYTES];
};

/* ret_key has GW_STORE_KEY_BYTES. "PREFIX/WORD". */
void gw_layout_key(const char *prefix, const char *word, char *ret_key);
/* "PREFIX/batch/SEQ": of the batch whose last record is `seq`. */
void gw_layout_batch_key(const char *prefix, uint64_t seq, char *ret_key);
/* What tells this snapshot from every other. */
void gw_layout_snapshot_name(const struct gw_layout_manifest *manifest,
			     char ret_name[GW_LAYOUT_SNAPSHOT_BYTES]);
void gw_layout_chunk_key(const char *prefix, const struct gw_layout_manifest *manifest,
			 uint32_t chunk, char *ret_key);
/* Before the first and after the last key of this snapshot. */
void gw_layout_chunk_bounds(const char *prefix, const struct gw_layout_manifest *manifest,
			    char *ret_first, char *ret_end);

void gw_layout_sequence(uint64_t seq, char ret_text[GW_LAYOUT_SEQUENCE_BYTES]);
bool gw_layout_read_sequence(struct gw_store_bytes value, uint64_t *ret_seq);

/* Length of the text without the NUL. */
size_t gw_layout_manifest(const struct gw_layout_manifest *manifest,
			  char ret_text[GW_LAYOUT_MANIFEST_BYTES]);
/* False: not a manifest of this version. */
bool gw_layout_read_manifest(struct gw_store_bytes value, struct gw_layout_manifest *ret_manifest);
/* The hash of the chunks up to this one, from the hash of those before it (zero at the first). */
void gw_layout_hash(uint8_t hash[GW_LAYOUT_HASH_BYTES], const uint8_t *chunk, size_t size);

void gw_layout_batch_header(uint64_t first_seq, uint8_t ret_bytes[GW_LAYOUT_BATCH_HEADER_BYTES]);
void gw_layout_frame(size_t size, uint8_t ret_bytes[GW_LAYOUT_FRAME_BYTES]);
/* The frame at the front of `bytes`. False: it is not all there (yet), or longer than
 * `size_max`, and then *ret_size is the length that it states. */
bool gw_layout_read_frame(struct gw_store_bytes bytes, size_t size_max,
			  struct gw_store_bytes *ret_frame, size_t *ret_size);

/* A batch that was read: its records are frames in `frames`. */
struct gw_layout_batch {
	uint64_t first_seq;
	uint64_t last_seq;
	struct gw_store_bytes frames; /* exactly last_seq - first_seq + 1 of them */
};

/* False: the key or the value is not a batch of this version. */
bool gw_layout_read_batch(const char *prefix, const struct gw_store_kv *kv,
			  struct gw_layout_batch *ret_batch);

#endif
