/*
 * Encoding and reading of journal files; the header draws the bytes. Reading trusts nothing: a
 * batch is taken only when its header, its place, its sequence and its body all fit. What does not
 * fit is damage, and the blocks behind it are searched for headers that declare the missing
 * sequence to have been durable: if one does, or the caller knows it, it is corruption, and a torn
 * tail otherwise.
 */
#include "transport/journal_format.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "proto/base/check.h"

#define FILE_MAGIC "GODWITJ\n"
#define BATCH_MAGIC "GWBATCH\n"
#define MAGIC_BYTES 8u
#define FILE_HEADER_BYTES 64u
#define END_BYTES 16u

enum batch_kind {
	BATCH_RECORDS = 1,
	BATCH_PIECES = 2,
	BATCH_END = 3,
};

struct batch {
	uint64_t body_sum;
	struct gw_id id;
	uint64_t first;
	uint64_t durable_seq;
	uint64_t offset;
	uint32_t kind; /* as it stands there, perhaps none of enum batch_kind */
	uint32_t count;
	uint32_t body_bytes;
};

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static uint64_t to_block(uint64_t offset)
{
	return (offset + GW_JOURNAL_BLOCK - 1) / GW_JOURNAL_BLOCK * GW_JOURNAL_BLOCK;
}

static int grow(struct gw_buf *buf, size_t size, uint8_t **ret_at)
{
	bool full = size > buf->limit - buf->size;
	uint8_t *at = gw_buf_grow(buf, size);

	if (!at)
		return full ? -ENOBUFS : -ENOMEM;
	memset(at, 0, size);
	*ret_at = at;
	return 0;
}

int gw_journal_header_encode(const struct gw_journal_header *header, struct gw_buf *buf)
{
	uint8_t *at;
	int error = grow(buf, GW_JOURNAL_BLOCK, &at);

	if (error < 0)
		return error;
	memcpy(at, FILE_MAGIC, MAGIC_BYTES);
	put32(at + 8, GW_JOURNAL_VERSION);
	put32(at + 12, (uint32_t)header->kind);
	memcpy(at + 16, header->id.id.bytes, GW_ID_BYTES);
	put64(at + 32, header->seq);
	put64(at + 56, XXH3_64bits(at, 56));
	return 0;
}

void gw_journal_encoder_init(struct gw_journal_encoder *encoder,
			     const struct gw_journal_header *header, uint64_t offset, uint64_t next)
{
	CHECK(offset % GW_JOURNAL_BLOCK == 0);
	CHECK(next > 0);
	*encoder = (struct gw_journal_encoder){.header = *header, .offset = offset, .next = next};
}

int gw_journal_encode_record(struct gw_journal_encoder *encoder, struct gw_buf *buf,
			     const uint8_t *bytes, size_t size)
{
	size_t before = buf->size;
	size_t start = encoder->count > 0 ? encoder->start : before;
	size_t fresh = encoder->count > 0 ? 0 : GW_JOURNAL_BATCH_HEADER_BYTES;
	uint8_t *at;
	int error;

	CHECK(start <= before);
	if (size > GW_JOURNAL_RECORD_BYTES_MAX)
		return -EMSGSIZE;
	if (before - start + fresh + 4 + size >
	    GW_JOURNAL_BATCH_BYTES_MAX + GW_JOURNAL_BATCH_HEADER_BYTES)
		return -ENOBUFS;
	error = grow(buf, fresh + 4 + size, &at);
	if (error < 0)
		return error;
	put32(at + fresh, (uint32_t)size);
	if (size > 0)
		memcpy(at + fresh + 4, bytes, size);
	encoder->start = start;
	encoder->count++;
	encoder->next++;
	return 0;
}

/* Fills in the header of the batch that ends the buffer, after padding it to a block. */
static int seal(struct gw_journal_encoder *encoder, struct gw_buf *buf, size_t start,
		enum batch_kind kind, uint64_t durable_seq)
{
	size_t bytes = buf->size - start;
	uint8_t *at;
	int error = grow(buf, to_block(bytes) - bytes, &at);

	if (error < 0)
		return error;
	at = buf->bytes + start;
	memcpy(at, BATCH_MAGIC, MAGIC_BYTES);
	put64(at + 16, XXH3_64bits(at + GW_JOURNAL_BATCH_HEADER_BYTES,
				   bytes - GW_JOURNAL_BATCH_HEADER_BYTES));
	memcpy(at + 24, encoder->header.id.id.bytes, GW_ID_BYTES);
	put64(at + 40, encoder->next - encoder->count);
	put64(at + 48, durable_seq);
	put64(at + 56, encoder->offset);
	put32(at + 64, (uint32_t)kind);
	put32(at + 68, encoder->count);
	put32(at + 72, (uint32_t)(bytes - GW_JOURNAL_BATCH_HEADER_BYTES));
	put64(at + 8, XXH3_64bits(at + 16, GW_JOURNAL_BATCH_HEADER_BYTES - 16));
	encoder->chain = XXH3_64bits_withSeed(at, GW_JOURNAL_BATCH_HEADER_BYTES, encoder->chain);
	encoder->offset += to_block(bytes);
	encoder->count = 0;
	return 0;
}

int gw_journal_encode_seal(struct gw_journal_encoder *encoder, struct gw_buf *buf,
			   uint64_t durable_seq)
{
	bool snapshot = encoder->header.kind == GW_JOURNAL_SNAPSHOT;
	size_t before = buf->size;
	size_t start = encoder->count > 0 ? encoder->start : before;
	uint8_t *at;
	int error = 0;

	if (encoder->count == 0)
		error = grow(buf, GW_JOURNAL_BATCH_HEADER_BYTES, &at);
	CHECK(snapshot || durable_seq < encoder->next - encoder->count);
	if (error == 0)
		error = seal(encoder, buf, start, snapshot ? BATCH_PIECES : BATCH_RECORDS,
			     snapshot ? encoder->header.seq : durable_seq);
	if (error < 0)
		buf->size = before;
	return error;
}

int gw_journal_encode_end(struct gw_journal_encoder *encoder, struct gw_buf *buf)
{
	size_t start = buf->size;
	uint8_t *at;
	int error;

	CHECK(encoder->header.kind == GW_JOURNAL_SNAPSHOT);
	CHECK(encoder->count == 0);
	error = grow(buf, GW_JOURNAL_BATCH_HEADER_BYTES + END_BYTES, &at);
	if (error == 0) {
		put64(at + GW_JOURNAL_BATCH_HEADER_BYTES, encoder->next - 1);
		put64(at + GW_JOURNAL_BATCH_HEADER_BYTES + 8, encoder->chain);
		error = seal(encoder, buf, start, BATCH_END, encoder->header.seq);
	}
	if (error < 0)
		buf->size = start;
	return error;
}

void gw_journal_scan_init(struct gw_journal_scan *scan, const uint8_t *bytes, size_t size,
			  const struct gw_journal_expect *expect)
{
	*scan = (struct gw_journal_scan){.bytes = bytes, .size = size, .expect = *expect};
}

static void judge(struct gw_journal_scan *scan, enum gw_journal_verdict verdict, const char *format,
		  ...) __attribute__((format(printf, 3, 4)));

static void judge(struct gw_journal_scan *scan, enum gw_journal_verdict verdict, const char *format,
		  ...)
{
	va_list args;

	scan->verdict = verdict;
	va_start(args, format);
	(void)vsnprintf(scan->text, sizeof(scan->text), format, args);
	va_end(args);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	/* Each byte equals the one before it, and the first is zero. */
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Reads the batch header at `offset`. NULL, or why it is none. Its place in the file is checked,
 * its place in the sequence is not. */
static const char *batch_decode(const struct gw_journal_scan *scan, uint64_t offset,
				struct batch *ret_batch)
{
	const uint8_t *at = scan->bytes + offset;

	if (scan->size - offset < GW_JOURNAL_BATCH_HEADER_BYTES)
		return "the file ends inside a batch header";
	if (memcmp(at, BATCH_MAGIC, MAGIC_BYTES) != 0)
		return "there is no batch header";
	if (get64(at + 8) != XXH3_64bits(at + 16, GW_JOURNAL_BATCH_HEADER_BYTES - 16))
		return "the batch header does not fit its checksum";
	ret_batch->body_sum = get64(at + 16);
	memcpy(ret_batch->id.bytes, at + 24, GW_ID_BYTES);
	ret_batch->first = get64(at + 40);
	ret_batch->durable_seq = get64(at + 48);
	ret_batch->offset = get64(at + 56);
	ret_batch->kind = get32(at + 64);
	ret_batch->count = get32(at + 68);
	ret_batch->body_bytes = get32(at + 72);
	if (ret_batch->offset != offset)
		return "the batch was written for another place in the file";
	return NULL;
}

/* Whether the body is `count` records and nothing else. */
static bool body_adds_up(const uint8_t *body, size_t size, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes;

		if (size < 4)
			return false;
		bytes = get32(body);
		if (bytes > size - 4 || bytes > GW_JOURNAL_RECORD_BYTES_MAX)
			return false;
		body += 4 + bytes;
		size -= 4 + bytes;
	}
	return size == 0;
}

static const char *body_check(const struct gw_journal_scan *scan, const struct batch *batch)
{
	const uint8_t *body = scan->bytes + batch->offset + GW_JOURNAL_BATCH_HEADER_BYTES;

	if (batch->body_bytes > scan->size - batch->offset - GW_JOURNAL_BATCH_HEADER_BYTES)
		return "the file ends inside a batch";
	if (batch->body_sum != XXH3_64bits(body, batch->body_bytes))
		return "the body of the batch does not fit its checksum";
	if (batch->kind == BATCH_END) {
		if (batch->count != 0 || batch->body_bytes != END_BYTES ||
		    get64(body) != scan->next - 1 || get64(body + 8) != scan->chain)
			return "the end marker counts other pieces than those before it";
		return NULL;
	}
	if (!body_adds_up(body, batch->body_bytes, batch->count))
		return "the records of the batch are not as long as it says";
	return NULL;
}

/* The highest sequence that a header from `offset` on declares durable; of a snapshot, its own when
 * the END is there. */
static uint64_t declared_behind(const struct gw_journal_scan *scan, uint64_t offset)
{
	const struct gw_journal_id *id =
		scan->header.version != 0 ? &scan->header.id : scan->expect.id;
	bool snapshot = scan->expect.kind == GW_JOURNAL_SNAPSHOT;
	uint64_t highest = 0;
	struct batch batch;

	for (; offset < scan->size; offset += GW_JOURNAL_BLOCK) {
		if (batch_decode(scan, offset, &batch) != NULL ||
		    (id && !gw_id_equal(id->id, batch.id)))
			continue;
		if (batch.kind == (snapshot ? BATCH_END : BATCH_RECORDS) &&
		    (snapshot || batch.durable_seq < batch.first) && batch.durable_seq > highest)
			highest = batch.durable_seq;
	}
	return highest;
}

/* The batch (or the file header) at scan->end is not good. */
static void damaged(struct gw_journal_scan *scan, const char *why)
{
	uint64_t declared = declared_behind(scan, scan->end);
	uint64_t known = declared > scan->expect.durable_seq ? declared : scan->expect.durable_seq;
	bool snapshot = scan->expect.kind == GW_JOURNAL_SNAPSHOT;

	if (snapshot && declared > 0)
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset %" PRIu64 ": %s, though the snapshot was finished", scan->end, why);
	else if (!snapshot && known >= scan->next)
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset %" PRIu64 ": %s. Sequence %" PRIu64
		      " stood there, and all up to %" PRIu64 " was durable (%s)",
		      scan->end, why, scan->next, known,
		      known == declared ? "a later batch says so" : "another file says so");
	else
		judge(scan, GW_JOURNAL_TORN, "offset %" PRIu64 ": %s", scan->end, why);
}

/* Nothing is behind scan->end. */
static void finish(struct gw_journal_scan *scan)
{
	bool snapshot = scan->expect.kind == GW_JOURNAL_SNAPSHOT;

	if (snapshot && !scan->ended)
		judge(scan, GW_JOURNAL_TORN,
		      "offset %" PRIu64 ": the snapshot ends here without its end marker",
		      scan->end);
	else if (!snapshot && scan->expect.durable_seq >= scan->next)
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset %" PRIu64 ": the records end before sequence %" PRIu64
		      ", and all up to %" PRIu64 " was durable (another file says so)",
		      scan->end, scan->next, scan->expect.durable_seq);
	else
		judge(scan, GW_JOURNAL_WHOLE, "offset %" PRIu64 ": the end", scan->end);
}

static const char *kind_name(enum gw_journal_kind kind)
{
	switch (kind) {
	case GW_JOURNAL_SEGMENT:
		return "segment";
	case GW_JOURNAL_SNAPSHOT:
		return "snapshot";
	case GW_JOURNAL_MARK:
		return "mark";
	}
	return "file";
}

/* A header with a good checksum says what this file is; that it is not what the caller expects is
 * never the work of a crash. */
static bool header_fits(struct gw_journal_scan *scan)
{
	const struct gw_journal_header *header = &scan->header;
	const struct gw_journal_expect *expect = &scan->expect;

	if (header->version > GW_JOURNAL_VERSION)
		judge(scan, GW_JOURNAL_NEWER,
		      "offset 0: format version %" PRIu32
		      ", and this program reads up to %u: a newer one wrote it",
		      header->version, GW_JOURNAL_VERSION);
	else if (header->kind != expect->kind)
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset 0: a file of kind %u stands where a %s "
		      "is expected",
		      (unsigned int)header->kind, kind_name(expect->kind));
	else if (expect->id && !gw_id_equal(header->id.id, expect->id->id))
		judge(scan, GW_JOURNAL_CORRUPT, "offset 0: this %s belongs to another journal",
		      kind_name(expect->kind));
	else if (header->version == 0 || header->seq == 0 ||
		 (expect->seq != 0 && header->seq != expect->seq))
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset 0: this %s is of sequence %" PRIu64 ", and %" PRIu64
		      " is expected: files were renamed",
		      kind_name(expect->kind), header->seq, expect->seq);
	return scan->verdict == GW_JOURNAL_READING;
}

static bool header_read(struct gw_journal_scan *scan)
{
	const uint8_t *at = scan->bytes;
	const char *why = NULL;

	if (scan->size < FILE_HEADER_BYTES)
		why = "the file ends inside its header";
	else if (memcmp(at, FILE_MAGIC, MAGIC_BYTES) != 0)
		why = "there is no journal file header";
	else if (get64(at + 56) != XXH3_64bits(at, 56))
		why = "the file header does not fit its checksum";
	if (why) {
		scan->next = scan->expect.seq != 0 ? scan->expect.seq : 1;
		damaged(scan, why);
		return false;
	}
	scan->header.version = get32(at + 8);
	scan->header.kind = (enum gw_journal_kind)get32(at + 12);
	memcpy(scan->header.id.id.bytes, at + 16, GW_ID_BYTES);
	scan->header.seq = get64(at + 32);
	if (!header_fits(scan))
		return false;
	scan->next = scan->header.kind == GW_JOURNAL_SNAPSHOT ? 1 : scan->header.seq;
	scan->end = GW_JOURNAL_BLOCK;
	return true;
}

/* Where the batch stands among the others. NULL, or why it does not belong there. */
static const char *order_check(const struct gw_journal_scan *scan, const struct batch *batch)
{
	bool snapshot = scan->header.kind == GW_JOURNAL_SNAPSHOT;

	if (scan->ended)
		return "bytes stand behind the end marker";
	if (snapshot ? batch->kind != BATCH_PIECES && batch->kind != BATCH_END
		     : batch->kind != BATCH_RECORDS)
		return "the batch is of a kind that has no place in this file";
	if (batch->first != scan->next || batch->count > UINT64_MAX - scan->next)
		return "the batch is out of sequence";
	if (snapshot ? batch->durable_seq != scan->header.seq : batch->durable_seq >= batch->first)
		return snapshot ? "the batch is of another snapshot"
				: "the batch declares itself durable";
	return NULL;
}

/* Takes the batch at scan->end. False: the verdict is final. */
static bool batch_read(struct gw_journal_scan *scan)
{
	struct batch batch;
	const char *why;

	if (scan->end >= scan->size ||
	    is_zero(scan->bytes + scan->end, scan->size - (size_t)scan->end)) {
		finish(scan);
		return false;
	}
	why = batch_decode(scan, scan->end, &batch);
	if (!why && !gw_id_equal(batch.id, scan->header.id.id)) {
		judge(scan, GW_JOURNAL_CORRUPT,
		      "offset %" PRIu64 ": the batch belongs to another journal", scan->end);
		return false;
	}
	if (!why)
		why = order_check(scan, &batch);
	if (!why)
		why = body_check(scan, &batch);
	if (why) {
		damaged(scan, why);
		return false;
	}
	scan->chain = XXH3_64bits_withSeed(scan->bytes + scan->end, GW_JOURNAL_BATCH_HEADER_BYTES,
					   scan->chain);
	scan->body = scan->bytes + scan->end + GW_JOURNAL_BATCH_HEADER_BYTES;
	scan->body_bytes = batch.body_bytes;
	scan->body_count = batch.count;
	scan->ended = batch.kind == BATCH_END;
	if (batch.durable_seq > scan->durable_seq)
		scan->durable_seq = batch.durable_seq;
	scan->batches++;
	scan->end += to_block(GW_JOURNAL_BATCH_HEADER_BYTES + (uint64_t)batch.body_bytes);
	return true;
}

bool gw_journal_scan_next(struct gw_journal_scan *scan, struct gw_journal_record *ret_record)
{
	uint32_t size;

	if (scan->verdict != GW_JOURNAL_READING)
		return false;
	if (scan->header.version == 0 && !header_read(scan))
		return false;
	while (scan->body_count == 0) {
		if (!batch_read(scan))
			return false;
	}
	size = get32(scan->body); /* within the body: body_adds_up() */
	*ret_record = (struct gw_journal_record){
		.seq = scan->next, .bytes = scan->body + 4, .size = size};
	scan->body += 4 + size;
	scan->body_bytes -= 4 + size;
	scan->body_count--;
	scan->next++;
	return true;
}
