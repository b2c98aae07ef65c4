/*
 * The snapshot of a journal in etcd, as a file until it is uploaded: pieces one after the other, each
 * behind its length (gw_layout_frame), and then an end of GW_JOURNAL_FRAMES_END_BYTES:
 *
 *	0 magic "GWFRAMES" · 8 u64 bytes of the frames, big-endian · 16 gw_layout_hash of them, chunk
 *	for chunk
 *
 * That hash is the one that the manifest will state, so whoever reads the chunks knows at the last
 * one whether they are what the child wrote.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_FRAMES_H
#define GODWIT_TRANSPORT_JOURNAL_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "transport/journal_snapshot.h"
#include "transport/replica_layout.h"

#define GW_JOURNAL_FRAMES_END_BYTES (16u + GW_LAYOUT_HASH_BYTES)

extern const struct gw_journal_snapshot_form gw_journal_frames_form;

struct gw_journal_frames {
	int fd;
	uint64_t size;                      /* of the frames */
	uint64_t read;                      /* of them, so far */
	uint8_t hash[GW_LAYOUT_HASH_BYTES]; /* of those */
	uint8_t wanted[GW_LAYOUT_HASH_BYTES];
};

/* 0; -EUCLEAN: it has no end, or not there; other negative errno. */
int gw_journal_frames_open(const char *path, struct gw_journal_frames *ret_frames);
void gw_journal_frames_close(struct gw_journal_frames *frames);
/* The next chunk: GW_REPLICA_CHUNK_BYTES, or what is left. 0; -EUCLEAN: it was the last, and they
 * are not what was written; other negative errno. */
int gw_journal_frames_read(struct gw_journal_frames *frames, uint8_t *ret_bytes, size_t size);

#endif
