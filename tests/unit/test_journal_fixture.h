/*
 * A core for tests of the journal: its durable state is how many records it took and a digest of
 * them, and a ballast that makes its snapshots as large as a test wants. Record `seq` follows from
 * its number, so whoever reads a journal knows what has to stand there.
 */
#ifndef GODWIT_TESTS_JOURNAL_FIXTURE_H
#define GODWIT_TESTS_JOURNAL_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/step.h"

#define TALLY_RECORD_BYTES_MAX 2048u

struct tally {
	struct gw_node node; /* first */
	uint64_t seq;
	uint64_t digest;
	uint64_t ballast_bytes; /* of its snapshots, beyond the state; every byte is checked */
	uint64_t ballast_taken;
	int snapshot_error; /* returned by the snapshot */
};

void tally_init(struct tally *tally, uint64_t ballast_bytes);
/* Record `seq`; its size. */
size_t tally_record(uint64_t seq, uint8_t ret_bytes[TALLY_RECORD_BYTES_MAX]);
/* The digest after records 1 to `seq`. */
uint64_t tally_digest_of(uint64_t seq);

#endif
