/*
 * A journal's bytes and what is left of them after each single damage: truncation, a flipped byte, a
 * zeroed, repeated or swapped block, at every place there is. The model knows which batch each block
 * belongs to; what a scan may answer follows from the first batch that was touched.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"
#include "transport/journal_format.h"

#define BATCHES 9u
#define BLOCK GW_JOURNAL_BLOCK
#define RECORD_MAX (BLOCK + 200u)

static const struct gw_journal_id journal_id = {{.bytes = "0123456789abcdef"}};
static const struct gw_journal_id other_id = {{.bytes = "fedcba9876543210"}};

/* A file as it was written, and where its batches stand in it. */
struct model {
	struct gw_buf file;
	enum gw_journal_kind kind;
	size_t start[BATCHES + 2];   /* of each batch; then of what follows the last */
	size_t used[BATCHES + 1];    /* bytes of each that a checksum covers */
	uint64_t first[BATCHES + 2]; /* sequence, or piece */
	uint32_t count;              /* of batches */
};

/* Record `seq`: its size and bytes follow from its number. */
static size_t record_make(uint64_t seq, uint8_t bytes[RECORD_MAX])
{
	size_t size = seq % 7 == 0 ? BLOCK + 100 : (size_t)(seq * 37 % 300);

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seq * 31 + i * 7);
	return size;
}

static void batch_add(struct model *model, struct gw_journal_encoder *encoder, uint32_t records)
{
	uint8_t bytes[RECORD_MAX];
	size_t used = GW_JOURNAL_BATCH_HEADER_BYTES;

	model->start[model->count] = model->file.size;
	model->first[model->count] = encoder->next;
	for (uint32_t i = 0; i < records; i++) {
		size_t size = record_make(encoder->next, bytes);

		assert_int_equal(gw_journal_encode_record(encoder, &model->file, bytes, size), 0);
		used += 4 + size;
	}
	assert_int_equal(
		gw_journal_encode_seal(encoder, &model->file, model->first[model->count] - 1), 0);
	model->used[model->count] = used;
	model->count++;
	model->start[model->count] = model->file.size;
	model->first[model->count] = encoder->next;
	assert_int_equal(encoder->offset, model->file.size);
}

static void model_init(struct model *model, enum gw_journal_kind kind, uint64_t seq)
{
	const struct gw_journal_header header = {.id = journal_id, .seq = seq, .kind = kind};
	struct gw_journal_encoder encoder;

	memset(model, 0, sizeof(*model));
	model->kind = kind;
	gw_buf_init(&model->file, GW_JOURNAL_BUF_BYTES_MAX);
	assert_int_equal(gw_journal_header_encode(&header, &model->file), 0);
	gw_journal_encoder_init(&encoder, &header, BLOCK, kind == GW_JOURNAL_SNAPSHOT ? 1 : seq);
	for (uint32_t i = 0; i < BATCHES; i++)
		batch_add(model, &encoder, i == 4 ? 0 : 1 + i * 3 % 5);
	if (kind == GW_JOURNAL_SNAPSHOT)
		assert_int_equal(gw_journal_encode_end(&encoder, &model->file), 0);
}

static void model_deinit(struct model *model)
{
	gw_buf_deinit(&model->file);
}

/* Scans and checks that what it yields is what was written, in order from the first. */
static struct gw_journal_scan scan_all(const struct model *model, const uint8_t *bytes, size_t size,
				       uint64_t durable_seq)
{
	const struct gw_journal_expect expect = {
		.id = &journal_id,
		.kind = model->kind,
		.seq = model->kind == GW_JOURNAL_SNAPSHOT ? 0 : model->first[0],
		.durable_seq = durable_seq};
	struct gw_journal_scan scan;
	struct gw_journal_record record;
	uint64_t next = model->first[0];
	uint8_t wanted[RECORD_MAX];

	gw_journal_scan_init(&scan, bytes, size, &expect);
	while (gw_journal_scan_next(&scan, &record)) {
		assert_int_equal(record.seq, next);
		assert_int_equal(record.size, record_make(next, wanted));
		assert_memory_equal(record.bytes, wanted, record.size);
		next++;
	}
	assert_int_not_equal(scan.verdict, GW_JOURNAL_READING);
	assert_true(scan.header.version == 0 || scan.next == next);
	return scan;
}

/* The batch whose checksums cover the byte; -1: the file header; model->count: none does. */
static int batch_of(const struct model *model, size_t at)
{
	if (at < 64)
		return -1;
	for (uint32_t i = 0; i < model->count; i++) {
		if (at >= model->start[i] && at < model->start[i] + model->used[i])
			return (int)i;
	}
	return (int)model->count;
}

/* What a scan has to say when `batch` is the first one that is not as it was written, and the last
 * batches of the file are there or are not. */
static void check_segment(const struct model *model, const struct gw_journal_scan *scan, int batch,
			  bool rest)
{
	uint64_t lost = model->first[batch < 0 ? 0 : batch];
	bool declared =
		rest && batch + 1 < (int)model->count && model->first[model->count - 1] > lost;

	if (batch == (int)model->count) {
		assert_int_equal(scan->verdict, GW_JOURNAL_WHOLE);
		assert_int_equal(scan->end, model->file.size);
		return;
	}
	assert_int_equal(scan->end, batch < 0 ? 0 : model->start[batch]);
	assert_int_equal(scan->verdict, declared ? GW_JOURNAL_CORRUPT : GW_JOURNAL_TORN);
}

static void whole_files_are_read(void **state)
{
	struct model model;
	struct gw_journal_scan scan;
	uint8_t *longer;

	(void)state;
	model_init(&model, GW_JOURNAL_SEGMENT, 11);
	scan = scan_all(&model, model.file.bytes, model.file.size, 0);
	assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
	assert_int_equal(scan.batches, BATCHES);
	assert_int_equal(scan.next, model.first[BATCHES]);
	assert_int_equal(scan.durable_seq, model.first[BATCHES - 1] - 1);
	longer = calloc(1, model.file.size + 3 * BLOCK + 5); /* space taken in advance */
	assert_non_null(longer);
	memcpy(longer, model.file.bytes, model.file.size);
	scan = scan_all(&model, longer, model.file.size + 3 * BLOCK + 5, model.first[BATCHES] - 1);
	assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
	assert_int_equal(scan.end, model.file.size);
	free(longer);
	model_deinit(&model);

	model_init(&model, GW_JOURNAL_SNAPSHOT, 11);
	model.first[0] = 1;
	scan = scan_all(&model, model.file.bytes, model.file.size, 0);
	assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
	assert_int_equal(scan.header.seq, 11);
	model_deinit(&model);
}

static void each_truncation(void **state)
{
	struct model model;

	(void)state;
	model_init(&model, GW_JOURNAL_SEGMENT, 11);
	for (size_t size = 0; size < model.file.size; size++) {
		struct gw_journal_scan scan = scan_all(&model, model.file.bytes, size, 0);
		uint32_t whole = 0; /* batches */

		while (whole < model.count && model.start[whole] + model.used[whole] <= size)
			whole++;
		/* Between batches nothing shows that there was more. */
		if (size >= BLOCK && size <= model.start[whole])
			assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
		else if (whole == model.count)
			assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
		else if (size < 64)
			assert_int_equal(scan.verdict, GW_JOURNAL_TORN);
		if (size >= 64 && size < BLOCK)
			assert_int_equal(scan.end, BLOCK);
		if (size >= 64)
			assert_int_equal(scan.next, model.first[whole]);
		if (size > model.start[whole] && whole < model.count)
			assert_int_equal(scan.verdict, GW_JOURNAL_TORN);
		/* Unless somebody else knows. */
		scan = scan_all(&model, model.file.bytes, size, model.first[model.count] - 1);
		assert_int_equal(scan.verdict,
				 whole == model.count ? GW_JOURNAL_WHOLE : GW_JOURNAL_CORRUPT);
	}
	model_deinit(&model);
}

static void each_byte(void **state)
{
	struct model model;

	(void)state;
	model_init(&model, GW_JOURNAL_SEGMENT, 11);
	for (size_t at = 0; at < model.file.size; at++) {
		uint8_t was = model.file.bytes[at];
		int batch = batch_of(&model, at);
		struct gw_journal_scan scan;

		if (batch == (int)model.count)
			continue; /* padding: below, by the block */
		model.file.bytes[at] ^= (uint8_t)(1u << at % 8);
		scan = scan_all(&model, model.file.bytes, model.file.size, 0);
		check_segment(&model, &scan, batch, true);
		model.file.bytes[at] = was;
	}
	model_deinit(&model);
}

static void each_block(void **state)
{
	static uint8_t saved[BLOCK];
	struct model model;
	uint8_t *bytes;

	(void)state;
	model_init(&model, GW_JOURNAL_SEGMENT, 11);
	bytes = model.file.bytes;
	for (size_t at = 0; at < model.file.size; at += BLOCK) {
		int batch = batch_of(&model, at);
		struct gw_journal_scan scan;

		memcpy(saved, bytes + at, BLOCK);
		memset(bytes + at, 0, BLOCK); /* never written, as far as the disk says */
		scan = scan_all(&model, bytes, model.file.size, 0);
		if (at + BLOCK == model.file.size && at == model.start[model.count - 1])
			assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE); /* one batch less */
		else
			check_segment(&model, &scan, batch, true);
		memcpy(bytes + at, saved, BLOCK);
		for (size_t from = 0; from < model.file.size; from += BLOCK) { /* misdirected */
			if (from == at)
				continue;
			memcpy(bytes + at, bytes + from, BLOCK);
			scan = scan_all(&model, bytes, model.file.size, 0);
			check_segment(&model, &scan, batch, true);
			memcpy(bytes + at, saved, BLOCK);
		}
	}
	model_deinit(&model);
}

static void each_swap(void **state)
{
	static uint8_t saved[BLOCK];
	static uint8_t other[BLOCK];
	struct model model;
	uint8_t *bytes;

	(void)state;
	model_init(&model, GW_JOURNAL_SEGMENT, 11);
	bytes = model.file.bytes;
	for (size_t a = 0; a < model.file.size; a += BLOCK) {
		for (size_t b = a + BLOCK; b < model.file.size; b += BLOCK) {
			struct gw_journal_scan scan;

			memcpy(saved, bytes + a, BLOCK);
			memcpy(other, bytes + b, BLOCK);
			memcpy(bytes + a, other, BLOCK);
			memcpy(bytes + b, saved, BLOCK);
			scan = scan_all(&model, bytes, model.file.size, 0);
			/* The last batch may be the one that moved: then nothing declares. */
			if (b < model.start[model.count - 1])
				check_segment(&model, &scan, batch_of(&model, a), true);
			assert_int_equal(scan.end, a == 0 ? 0 : model.start[batch_of(&model, a)]);
			memcpy(bytes + a, saved, BLOCK);
			memcpy(bytes + b, other, BLOCK);
		}
	}
	model_deinit(&model);
}

/* A snapshot is taken whole or not at all, and one that was whole is told from one that was not. */
static void snapshots_are_all_or_nothing(void **state)
{
	struct model model;

	(void)state;
	model_init(&model, GW_JOURNAL_SNAPSHOT, 11);
	for (size_t at = 0; at < model.file.size; at++) {
		uint8_t was = model.file.bytes[at];
		struct gw_journal_scan scan = scan_all(&model, model.file.bytes, at, 0);
		bool covered = batch_of(&model, at) < (int)model.count;
		size_t end = model.start[model.count];

		if (at < end + GW_JOURNAL_BATCH_HEADER_BYTES)
			assert_int_equal(scan.verdict, GW_JOURNAL_TORN);
		else if (at < end + GW_JOURNAL_BATCH_HEADER_BYTES + 16) /* no write ends there */
			assert_int_equal(scan.verdict, GW_JOURNAL_CORRUPT);
		else
			assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
		model.file.bytes[at] ^= 0x10;
		scan = scan_all(&model, model.file.bytes, model.file.size, 0);
		if (covered)
			assert_int_equal(scan.verdict, GW_JOURNAL_CORRUPT);
		else if (at >= end && at < end + GW_JOURNAL_BATCH_HEADER_BYTES)
			assert_int_equal(scan.verdict, GW_JOURNAL_TORN);
		else if (at >= end && at < end + GW_JOURNAL_BATCH_HEADER_BYTES + 16)
			assert_int_equal(scan.verdict, GW_JOURNAL_CORRUPT);
		else
			assert_int_equal(scan.verdict, GW_JOURNAL_WHOLE);
		model.file.bytes[at] = was;
	}
	model_deinit(&model);
}

/* A file with a good checksum that is not the one expected is refused, not cut. */
static void other_files_are_refused(void **state)
{
	static const struct {
		struct gw_journal_header header;
		enum gw_journal_kind kind;
		uint64_t seq;
		const char *text;
	} cases[] = {
		{{.id = other_id, .seq = 5, .kind = GW_JOURNAL_SEGMENT},
		 GW_JOURNAL_SEGMENT,
		 5,
		 "another journal"},
		{{.id = journal_id, .seq = 5, .kind = GW_JOURNAL_SEGMENT},
		 GW_JOURNAL_SEGMENT,
		 6,
		 "renamed"},
		{{.id = journal_id, .seq = 5, .kind = GW_JOURNAL_SNAPSHOT},
		 GW_JOURNAL_SEGMENT,
		 5,
		 "where a segment is expected"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(cases); i++) {
		const struct gw_journal_expect expect = {
			.id = &journal_id, .kind = cases[i].kind, .seq = cases[i].seq};
		struct gw_journal_scan scan;
		struct gw_journal_record record;
		struct gw_buf file;

		gw_buf_init(&file, BLOCK);
		assert_int_equal(gw_journal_header_encode(&cases[i].header, &file), 0);
		gw_journal_scan_init(&scan, file.bytes, file.size, &expect);
		assert_false(gw_journal_scan_next(&scan, &record));
		assert_int_equal(scan.verdict, GW_JOURNAL_CORRUPT);
		assert_non_null(strstr(scan.text, cases[i].text));
		gw_buf_deinit(&file);
	}
}

static void limits_hold(void **state)
{
	const struct gw_journal_header header = {
		.id = journal_id, .seq = 1, .kind = GW_JOURNAL_SEGMENT};
	struct gw_journal_encoder encoder;
	uint8_t *bytes = calloc(1, GW_JOURNAL_RECORD_BYTES_MAX + 1);
	struct gw_buf small;
	struct gw_buf buf;
	int error;

	(void)state;
	assert_non_null(bytes);
	gw_buf_init(&buf, GW_JOURNAL_BUF_BYTES_MAX);
	gw_buf_init(&small, 100);
	gw_journal_encoder_init(&encoder, &header, BLOCK, 1);
	assert_int_equal(gw_journal_encode_record(&encoder, &small, bytes, 17), -ENOBUFS);
	assert_int_equal(gw_journal_encode_seal(&encoder, &small, 0), -ENOBUFS);
	assert_int_equal(small.size, 0);
	assert_int_equal(encoder.next, 1);
	assert_int_equal(
		gw_journal_encode_record(&encoder, &buf, bytes, GW_JOURNAL_RECORD_BYTES_MAX + 1),
		-EMSGSIZE);
	do
		error = gw_journal_encode_record(&encoder, &buf, bytes,
						 GW_JOURNAL_RECORD_BYTES_MAX);
	while (error == 0);
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(encoder.next - 1,
			 GW_JOURNAL_BATCH_BYTES_MAX / (GW_JOURNAL_RECORD_BYTES_MAX + 4));
	assert_int_equal(gw_journal_encode_seal(&encoder, &buf, 0), 0);
	assert_int_equal(encoder.offset, BLOCK + buf.size);
	gw_buf_deinit(&small);
	gw_buf_deinit(&buf);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_files_are_read),
		cmocka_unit_test(each_truncation),
		cmocka_unit_test(each_byte),
		cmocka_unit_test(each_block),
		cmocka_unit_test(each_swap),
		cmocka_unit_test(snapshots_are_all_or_nothing),
		cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
