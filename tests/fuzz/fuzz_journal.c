/*
 * Arbitrary bytes as a file of a journal. The first byte says what the reader knows of it, and whether
 * its checksums are first made to fit, so that what they protect is reached too. Whatever comes: a
 * verdict, records within the bytes and in sequence; and a tail that is cut leaves a whole file with
 * the same records.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/base/check.h"
#include "transport/journal_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum {
	FLAG_MEND = 1,
	FLAG_SNAPSHOT = 2,
	FLAG_ID = 4,
	FLAG_SEQ = 8,
	FLAG_DURABLE = 16,
	FLAG_MARK = 32,
};

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* Makes the checksums of the file header and of each batch fit. */
static void mend(uint8_t *bytes, size_t size)
{
	if (size >= 64)
		put64(bytes + 56, XXH3_64bits(bytes, 56));
	for (size_t at = GW_JOURNAL_BLOCK; at + GW_JOURNAL_BATCH_HEADER_BYTES <= size;
	     at += GW_JOURNAL_BLOCK) {
		size_t rest = size - at - GW_JOURNAL_BATCH_HEADER_BYTES;
		uint32_t body;

		if (memcmp(bytes + at, "GWBATCH\n", 8) != 0)
			continue;
		memcpy(&body, bytes + at + 72, sizeof(body));
		if (body <= rest)
			put64(bytes + at + 16,
			      XXH3_64bits(bytes + at + GW_JOURNAL_BATCH_HEADER_BYTES, body));
		put64(bytes + at + 8,
		      XXH3_64bits(bytes + at + 16, GW_JOURNAL_BATCH_HEADER_BYTES - 16));
	}
}

struct summary {
	enum gw_journal_verdict verdict;
	uint64_t end;
	uint64_t count;
	uint64_t digest;
};

static struct summary scan(const uint8_t *bytes, size_t size,
			   const struct gw_journal_expect *expect)
{
	struct gw_journal_scan reading;
	struct gw_journal_record record;
	struct summary summary = {0};
	uint64_t last = 0;

	gw_journal_scan_init(&reading, bytes, size, expect);
	while (gw_journal_scan_next(&reading, &record)) {
		CHECK(record.size == 0 || record.bytes >= bytes);
		CHECK(record.bytes + record.size <= bytes + size);
		CHECK(summary.count == 0 || record.seq == last + 1);
		last = record.seq;
		summary.count++;
		summary.digest = XXH3_64bits_withSeed(record.bytes, record.size, summary.digest);
	}
	CHECK(reading.verdict != GW_JOURNAL_READING);
	CHECK(reading.text[0] != '\0');
	CHECK(reading.end % GW_JOURNAL_BLOCK == 0);
	CHECK(!gw_journal_scan_next(&reading, &record));
	summary.verdict = reading.verdict;
	summary.end = reading.end;
	return summary;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct gw_journal_id id = {{.bytes = "0123456789abcdef"}};
	struct gw_journal_expect expect = {.kind = GW_JOURNAL_SEGMENT};
	struct summary before;
	struct summary after;
	uint8_t flags;
	uint8_t *copy;

	if (size < 1)
		return 0;
	flags = bytes[0];
	size--;
	copy = malloc(size > 0 ? size : 1);
	CHECK(copy);
	memcpy(copy, bytes + 1, size);
	if (flags & FLAG_MEND)
		mend(copy, size);
	if (flags & FLAG_SNAPSHOT)
		expect.kind = GW_JOURNAL_SNAPSHOT;
	if (flags & FLAG_MARK)
		expect.kind = GW_JOURNAL_MARK;
	if (flags & FLAG_ID)
		expect.id = &id;
	if (flags & FLAG_SEQ)
		expect.seq = 61;
	if (flags & FLAG_DURABLE)
		expect.durable_seq = 65;
	before = scan(copy, size, &expect);
	if (before.verdict == GW_JOURNAL_TORN && expect.kind == GW_JOURNAL_SEGMENT &&
	    before.end > 0) {
		after = scan(copy, before.end < size ? (size_t)before.end : size, &expect);
		CHECK(after.verdict == GW_JOURNAL_WHOLE);
		CHECK(after.count == before.count);
		CHECK(after.digest == before.digest);
	}
	free(copy);
	return 0;
}
