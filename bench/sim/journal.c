/*
 * Files: segment-SEQ, snapshot-SEQ, and snapshot.new while one is written. A batch lies in one
 * buffer while it is built and in another while it is in flight. A snapshot is captured at the
 * moment when a batch was sealed and nothing was added yet; the next batch then begins a new
 * segment, and the snapshot is written once all that it holds is durable.
 */
#include "bench/sim/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

#define SNAPSHOT_BYTES_MAX ((size_t)1 << 30)
#define RETRY_US GW_US_PER_S
#define STALL_US (2 * GW_US_PER_S)
#define IDLE_US GW_US_PER_S
#define NEW_NAME "snapshot.new"
#define SEGMENT_PREFIX "segment-"
#define SNAPSHOT_PREFIX "snapshot-"

static void written(struct sim_timer *timer);
static void save(struct sim_timer *timer);
static void declare(struct sim_timer *timer);

void sim_journal_init(struct sim_journal *journal, struct sim_disk *disk,
		      const struct sim_journal_ops *ops, void *context)
{
	*journal = (struct sim_journal){
		.world = disk->world, .disk = disk, .ops = ops, .context = context};
	gw_buf_init(&journal->building, GW_JOURNAL_BUF_BYTES_MAX);
	gw_buf_init(&journal->writing, GW_JOURNAL_BUF_BYTES_MAX);
	gw_buf_init(&journal->recent, GW_JOURNAL_BUF_BYTES_MAX);
	gw_buf_init(&journal->snapshot, SNAPSHOT_BYTES_MAX);
	sim_timer_init(&journal->write, written, journal);
	sim_timer_init(&journal->save, save, journal);
	sim_timer_init(&journal->idle, declare, journal);
}

static void empty(struct gw_buf *buf)
{
	size_t limit = buf->limit;

	gw_buf_deinit(buf);
	gw_buf_init(buf, limit);
}

void sim_journal_deinit(struct sim_journal *journal)
{
	sim_timer_clear(journal->world, &journal->write);
	sim_timer_clear(journal->world, &journal->save);
	sim_timer_clear(journal->world, &journal->idle);
	gw_buf_deinit(&journal->building);
	gw_buf_deinit(&journal->writing);
	gw_buf_deinit(&journal->recent);
	gw_buf_deinit(&journal->snapshot);
}

static void make_name(const char *prefix, uint64_t seq, char *ret_name)
{
	(void)snprintf(ret_name, SIM_FILE_NAME_BYTES, "%s%020" PRIu64, prefix, seq); /* fits */
}

/* The sequence in the name, or 0: it is none of this kind. */
static uint64_t name_seq(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(name, prefix, length) == 0 ? strtoull(name + length, NULL, 10) : 0;
}

/* The file of this kind with the lowest sequence from `from` on; NULL: none. */
static struct sim_file *next_file(const struct sim_disk *disk, const char *prefix, uint64_t from,
				  uint64_t *ret_seq)
{
	struct sim_file *next = NULL;

	for (struct sim_file *file = disk->files; file; file = file->next) {
		uint64_t seq = name_seq(file->name, prefix);

		if (seq >= from && seq > 0 && (!next || seq < *ret_seq)) {
			next = file;
			*ret_seq = seq;
		}
	}
	return next;
}

/* --- writing --- */

static void begin_segment(struct sim_journal *journal)
{
	const struct gw_journal_header header = {.id = journal->encoder.header.id,
						 .seq = journal->last_seq + 1,
						 .kind = GW_JOURNAL_SEGMENT};

	make_name(SEGMENT_PREFIX, header.seq, journal->segment);
	journal->begins = true;
	CHECK(gw_journal_header_encode(&header, &journal->building) == 0);
	gw_journal_encoder_init(&journal->encoder, &header, GW_JOURNAL_BLOCK, header.seq);
}

void sim_journal_append(struct sim_journal *journal, const uint8_t *bytes, size_t size)
{
	uint32_t bytes_32 = (uint32_t)size;

	if (journal->segment[0] == '\0')
		begin_segment(journal);
	CHECK(gw_journal_encode_record(&journal->encoder, &journal->building, bytes, size) == 0);
	if (journal->last_seq == journal->durable_seq)
		journal->since_us = journal->world->now_us;
	journal->last_seq++;
	CHECK(gw_buf_append(&journal->recent, &bytes_32, sizeof(bytes_32)) == 0);
	CHECK(gw_buf_append(&journal->recent, bytes, size) == 0);
}

/* One piece of a snapshot. */
struct capture {
	struct gw_journal_encoder encoder;
	struct gw_buf *buf;
};

static int take_piece(void *context, const uint8_t *bytes, size_t size)
{
	struct capture *capture = context;
	int error = gw_journal_encode_record(&capture->encoder, capture->buf, bytes, size);

	if (error != -ENOBUFS)
		return error;
	CHECK(gw_journal_encode_seal(&capture->encoder, capture->buf, 0) == 0);
	return gw_journal_encode_record(&capture->encoder, capture->buf, bytes, size);
}

static void capture(struct sim_journal *journal, const struct gw_node *node)
{
	const struct gw_journal_header header = {.id = journal->encoder.header.id,
						 .seq = journal->last_seq,
						 .kind = GW_JOURNAL_SNAPSHOT};
	struct capture capture = {.buf = &journal->snapshot};

	CHECK(gw_journal_header_encode(&header, capture.buf) == 0);
	gw_journal_encoder_init(&capture.encoder, &header, GW_JOURNAL_BLOCK, 1);
	CHECK(gw_node_snapshot(node, take_piece, &capture) == 0);
	if (capture.encoder.count > 0)
		CHECK(gw_journal_encode_seal(&capture.encoder, capture.buf, 0) == 0);
	CHECK(gw_journal_encode_end(&capture.encoder, capture.buf) == 0);
	journal->snapshot_seq = journal->last_seq;
	journal->segment[0] = '\0';
	journal->log_bytes = 0;
}

/* Seals what is under construction and sends it on its way. */
static void begin_write(struct sim_journal *journal)
{
	struct gw_buf other = journal->writing;

	/* A segment begins with its header; the seal moves the offset behind the batch. */
	journal->writing_offset = journal->begins ? 0 : journal->encoder.offset;
	journal->begins = false;
	journal->declared_seq = journal->durable_seq;
	CHECK(gw_journal_encode_seal(&journal->encoder, &journal->building, journal->durable_seq) ==
	      0);
	memcpy(journal->writing_segment, journal->segment, sizeof(journal->segment));
	journal->writing = journal->building;
	journal->building = other;
	journal->writing_seq = journal->last_seq;
	journal->log_bytes += journal->writing.size;
	sim_timer_set(journal->world, &journal->write,
		      journal->world->now_us + sim_disk_delay_us(journal->disk));
}

void sim_journal_flush(struct sim_journal *journal, const struct gw_node *node)
{
	if (journal->writing.size > 0 || journal->last_seq == journal->durable_seq)
		return;
	begin_write(journal);
	if (journal->log_bytes >= journal->snapshot_bytes && journal->snapshot.size == 0 &&
	    gw_node_seq(node) == journal->last_seq)
		capture(journal, node);
}

/* Nothing follows the last batch, so damage to it would pass for a torn tail: a batch without
 * records says that it was durable. */
static void declare(struct sim_timer *timer)
{
	struct sim_journal *journal = timer->owner;

	if (journal->writing.size == 0 && journal->building.size == 0 &&
	    journal->segment[0] != '\0' && journal->declared_seq < journal->durable_seq)
		begin_write(journal);
}

/* Hands the records that became durable to whoever watches. */
static void tell_records(struct sim_journal *journal)
{
	size_t at = 0;

	while (journal->durable_seq < journal->writing_seq) {
		uint32_t size;

		memcpy(&size, journal->recent.bytes + at, sizeof(size));
		at += sizeof(size);
		journal->ops->record(journal->context, ++journal->durable_seq,
				     journal->recent.bytes + at, size);
		at += size;
	}
	gw_buf_consume(&journal->recent, at);
	journal->since_us = journal->world->now_us;
	if (journal->durable_seq > journal->told_seq)
		journal->told_seq = journal->durable_seq;
}

static void written(struct sim_timer *timer)
{
	struct sim_journal *journal = timer->owner;
	struct sim_disk *disk = journal->disk;
	struct sim_file *file = sim_disk_open(disk, journal->writing_segment);
	bool advanced;

	if (!file || sim_disk_write(disk, file, journal->writing_offset, journal->writing.bytes,
				    journal->writing.size) < 0) {
		sim_timer_set(journal->world, timer, journal->world->now_us + RETRY_US);
		return;
	}
	if (!journal->skips_sync &&
	    (sim_disk_sync(disk, file) < 0 ||
	     (journal->writing_offset == 0 && sim_disk_sync_folder(disk) < 0))) {
		journal->ops->failed(journal->context, "the journal's disk failed a sync");
		return;
	}
	empty(&journal->writing);
	advanced = journal->durable_seq < journal->writing_seq;
	tell_records(journal);
	if (journal->snapshot.size > 0 && journal->save.item.position == 0)
		sim_timer_set(journal->world, &journal->save,
			      journal->world->now_us + sim_disk_delay_us(disk));
	if (journal->declared_seq < journal->durable_seq)
		sim_timer_set(journal->world, &journal->idle, journal->world->now_us + IDLE_US);
	if (advanced)
		journal->ops->durable(journal->context, journal->durable_seq);
}

/* Segments whose records are all in the snapshot, and older snapshots. */
static void sweep(struct sim_journal *journal)
{
	uint64_t seq = 0;
	struct sim_file *file;

	while ((file = next_file(journal->disk, SNAPSHOT_PREFIX, 1, &seq)) &&
	       seq < journal->snapshot_seq)
		sim_disk_remove(journal->disk, file->name);
	while ((file = next_file(journal->disk, SEGMENT_PREFIX, 1, &seq)) &&
	       seq <= journal->snapshot_seq)
		sim_disk_remove(journal->disk, file->name);
}

/* The snapshot is written: it counts from its name on. One that cannot be is tried again when
 * the next is due. */
static void save(struct sim_timer *timer)
{
	struct sim_journal *journal = timer->owner;
	struct sim_disk *disk = journal->disk;
	struct sim_file *file = sim_disk_open(disk, NEW_NAME);
	char name[SIM_FILE_NAME_BYTES];

	if (file &&
	    sim_disk_write(disk, file, 0, journal->snapshot.bytes, journal->snapshot.size) == 0 &&
	    sim_disk_sync(disk, file) == 0) {
		make_name(SNAPSHOT_PREFIX, journal->snapshot_seq, name);
		sim_disk_rename(disk, NEW_NAME, name);
		if (sim_disk_sync_folder(disk) == 0)
			sweep(journal);
	} else if (file) {
		sim_disk_remove(disk, NEW_NAME);
	}
	empty(&journal->snapshot);
}

const char *sim_journal_stalled(const struct sim_journal *journal)
{
	if (journal->last_seq == journal->durable_seq ||
	    journal->world->now_us - journal->since_us < STALL_US)
		return NULL;
	return journal->disk->full ? "the journal's disk is full" : "the journal's disk is slow";
}

void sim_journal_kill(struct sim_journal *journal)
{
	size_t size = sim_between(journal->world, 0, journal->writing.size);
	struct sim_file *file;

	journal->world->coverage.seen[SIM_SAW_RECORD_LOST] +=
		journal->last_seq - journal->durable_seq;
	/* The kernel had a first part of the write in flight. */
	if (size > 0 && (file = sim_disk_open(journal->disk, journal->writing_segment)))
		(void)sim_disk_write(journal->disk, file, journal->writing_offset,
				     journal->writing.bytes, size); /* or not even that */
	sim_timer_clear(journal->world, &journal->write);
	sim_timer_clear(journal->world, &journal->save);
	sim_timer_clear(journal->world, &journal->idle);
	empty(&journal->building);
	empty(&journal->writing);
	empty(&journal->recent);
	empty(&journal->snapshot);
}

/* --- reading --- */

struct reading {
	struct sim_journal *journal;
	struct gw_node *node;
	bool hole;
	bool opens;                      /* records not told before are */
	const struct gw_journal_id *id;  /* NULL: not known yet */
	struct gw_journal_header header; /* of the last file read */
	uint64_t snapshot_seq;
	uint64_t last_seq;
	uint64_t end; /* of the last segment */
	enum gw_journal_verdict verdict;
};

static bool refuse(struct reading *reading, const char *file, const char *why)
{
	(void)snprintf(reading->journal->text, sizeof(reading->journal->text), "%s: %s", file,
		       why); /* cut is fine */
	return false;
}

/* Feeds a file's records, from behind reading->last_seq on, or its pieces. */
static bool read_file(struct reading *reading, const struct sim_file *file,
		      const struct gw_journal_expect *expect)
{
	bool pieces = expect->kind == GW_JOURNAL_SNAPSHOT;
	struct gw_journal_record record;
	struct gw_journal_scan scan;
	int error = 0;

	gw_journal_scan_init(&scan, file->bytes.bytes, file->bytes.size, expect);
	while (error == 0 && gw_journal_scan_next(&scan, &record)) {
		if (pieces) {
			error = gw_node_restore(reading->node, record.bytes, record.size);
			continue;
		}
		if (record.seq <= reading->last_seq)
			continue;
		reading->last_seq = record.seq;
		/* It had reached the disk when its process was killed. */
		if (reading->opens && record.seq > reading->journal->told_seq) {
			reading->journal->told_seq = record.seq;
			reading->journal->ops->record(reading->journal->context, record.seq,
						      record.bytes, record.size);
		}
		if (!(reading->hole && record.seq % 64 == 32))
			error = gw_node_apply(reading->node, record.seq, record.bytes, record.size);
	}
	if (error < 0)
		sim_world_fail(reading->journal->world, "%s: %s cannot be replayed: %s",
			       reading->journal->disk->name, file->name, strerror(-error));
	reading->end = scan.end;
	reading->verdict = scan.verdict;
	if (scan.header.version > 0) {
		reading->header = scan.header;
		reading->id = &reading->header.id;
	}
	if (scan.verdict == GW_JOURNAL_WHOLE)
		return true;
	return refuse(reading, file->name, scan.text);
}

static bool read_snapshot(struct reading *reading)
{
	const struct sim_disk *disk = reading->journal->disk;
	struct gw_journal_expect expect = {.kind = GW_JOURNAL_SNAPSHOT};
	const struct sim_file *newest = NULL;
	struct sim_file *file;

	while ((file = next_file(disk, SNAPSHOT_PREFIX, expect.seq + 1, &expect.seq)))
		newest = file;
	if (!newest)
		return true;
	expect.seq = name_seq(newest->name, SNAPSHOT_PREFIX);
	if (!read_file(reading, newest, &expect))
		return false;
	disk->world->coverage.seen[SIM_SAW_SNAPSHOT_READ]++;
	reading->snapshot_seq = reading->last_seq = expect.seq;
	return true;
}

/* `ret_last`: the segment to go on with; NULL: none. */
static bool read_segments(struct reading *reading, struct sim_file **ret_last)
{
	const struct sim_disk *disk = reading->journal->disk;
	uint64_t seq = 0;
	uint64_t next_seq = 0;
	struct sim_file *file = next_file(disk, SEGMENT_PREFIX, 1, &seq);

	*ret_last = NULL;
	while (file) {
		struct sim_file *next = next_file(disk, SEGMENT_PREFIX, seq + 1, &next_seq);
		struct gw_journal_expect expect = {.id = reading->id,
						   .kind = GW_JOURNAL_SEGMENT,
						   .seq = seq,
						   .durable_seq = next ? next_seq - 1
								       : reading->snapshot_seq};

		if (seq > reading->last_seq + 1)
			return refuse(reading, file->name, "the records before it are missing");
		/* What the snapshot holds as a whole was to be removed. */
		if (!(next && next_seq <= reading->snapshot_seq + 1)) {
			*ret_last = file;
			if (!read_file(reading, file, &expect) &&
			    (next || reading->verdict != GW_JOURNAL_TORN))
				return false;
		}
		file = next;
		seq = next_seq;
	}
	return true;
}

/* Goes on where the last segment ends. */
static void adopt(struct sim_journal *journal, struct reading *reading, struct sim_file *last)
{
	journal->encoder.header = reading->header;
	if (!reading->id)
		journal->encoder.header.id.id =
			gw_id_make((uint32_t)gw_prng_next(&journal->world->prng), 1,
				   gw_prng_next(&journal->world->prng));
	journal->segment[0] = '\0';
	journal->begins = false;
	journal->last_seq = journal->durable_seq = journal->writing_seq = reading->last_seq;
	journal->declared_seq = 0;
	journal->log_bytes = last ? reading->end : 0;
	if (!last)
		return;
	if (reading->end < last->bytes.size) {
		journal->world->coverage.seen[SIM_SAW_TAIL_CUT]++;
		sim_disk_cut(journal->disk, last, reading->end);
	}
	if (reading->end == 0) {
		sim_disk_remove(journal->disk, last->name);
		return;
	}
	memcpy(journal->segment, last->name, sizeof(last->name));
	gw_journal_encoder_init(&journal->encoder, &reading->header, reading->end,
				reading->last_seq + 1);
}

enum sim_open sim_journal_open(struct sim_journal *journal, struct gw_node *node, bool hole)
{
	struct reading reading = {.journal = journal, .node = node, .hole = hole, .opens = true};
	struct sim_disk *disk = journal->disk;
	struct sim_file *last;

	for (struct sim_file *file = disk->files; file; file = file->next) {
		if (sim_disk_settle(disk, file) < 0)
			return SIM_OPEN_FAILED;
	}
	if (sim_disk_sync_folder(disk) < 0)
		return SIM_OPEN_FAILED;
	if (sim_disk_find(disk, NEW_NAME))
		sim_disk_remove(disk, NEW_NAME);
	if (!read_snapshot(&reading) || !read_segments(&reading, &last)) {
		journal->world->coverage.seen[SIM_SAW_START_REFUSED]++;
		return SIM_OPEN_REFUSED;
	}
	adopt(journal, &reading, last);
	return SIM_OPEN_GOOD;
}

bool sim_journal_copy(struct sim_journal *journal, struct gw_node *node, bool hole)
{
	struct reading reading = {.journal = journal, .node = node, .hole = hole};
	struct sim_file *last;
	uint64_t seq = journal->durable_seq;
	int error = 0;

	if (!read_snapshot(&reading) || !read_segments(&reading, &last))
		return false;
	for (size_t at = 0; at < journal->recent.size && error == 0;) {
		uint32_t size;

		memcpy(&size, journal->recent.bytes + at, sizeof(size));
		at += sizeof(size);
		if (++seq > reading.last_seq)
			error = gw_node_apply(node, seq, journal->recent.bytes + at, size);
		at += size;
	}
	return error == 0;
}
