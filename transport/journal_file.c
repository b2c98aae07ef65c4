/*
 * Writing a folder. Two buffers: one is in flight, the other takes what is appended meanwhile; when
 * the first lasts, they change places. At most one batch is in flight, so what a crash tears is always
 * the last. A new segment begins with the batch that follows a snapshot's fork.
 *
 * The last batch has nothing behind it that declares it durable, so damage to it would pass for a torn
 * tail; once the journal is idle, and when it is closed, a batch without records says it. The mark,
 * which tells of the loss of the file's end too, follows within a second, and at each new segment.
 */
#include "transport/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_folder.h"
#include "transport/journal_io.h"
#include "transport/journal_pieces.h"
#include "transport/journal_snapshot.h"
#include "transport/log.h"
#include "transport/reactor.h"

#define SNAPSHOT_BYTES (64ull << 20)
#define SPACE_BYTES (1u << 20) /* written in advance, */
#define SPACE_BATCH_BYTES_MAX                                                                      \
	(64u << 10)               /* with batches that are not larger: it doubles the bytes */
#define BUF_KEEP_BYTES (4u << 20) /* a larger buffer is given back once it is empty */
#define FULL_RETRY_US GW_US_PER_S
#define TIGHT_US (60 * GW_US_PER_S)
#define IDLE_US GW_US_PER_S
#define MARK_US GW_US_PER_S /* the mark may be behind for so long */
#define SNAPSHOT_RETRY_US (60 * GW_US_PER_S)
#define TEXT_BYTES 1400u /* a path and a sentence */

struct gw_journal_file {
	struct gw_journal journal; /* first */
	struct gw_journal_file_options options;
	char directory[GW_PATH_BYTES];
	int folder_fd;
	int fd; /* of the segment */
	struct gw_journal_io *io;
	struct gw_journal_encoder encoder; /* of the batch that is filled */
	struct gw_buf filling;
	struct gw_buf flying;
	uint64_t filling_since_us; /* its first record was appended; 0: it has none */
	uint64_t flying_since_us;
	uint64_t flying_offset;
	size_t flying_bytes;       /* of the batch; zeros may follow it */
	uint64_t flying_seq;       /* last record in it */
	uint64_t declared_seq;     /* as durable, by the last batch */
	uint64_t tight_until_us;   /* no space is taken in advance before */
	uint64_t space;            /* the segment was written so far, zeros in advance included */
	uint64_t log_bytes;        /* since the last snapshot began */
	uint64_t log_bytes_before; /* when it began; given back if it fails */
	struct gw_deferred flush;
	struct gw_timer timer; /* the next try on a full disk, or idleness */
	struct gw_journal_marker marker;
	uint64_t marking_seq; /* the write in flight is of this mark; 0: it is not of one */
	uint64_t mark_at_us;  /* one is to be written; 0: what lasts is marked */
	bool busy;            /* a write is in flight, or the flying batch waits for a full disk */
	bool full;            /* it waits */
	bool rotate;          /* the next batch begins a segment */
	bool sync_folder;     /* the next batch makes names last too */
	bool syncing_folder;  /* the one in flight does */
	bool declare;         /* a batch is wanted even without records */
	bool failed;
	bool closing;
	struct gw_journal_snapshot *snapshot; /* under way; NULL: none */
	bool renamed;                         /* it has its name, which does not last yet */
	uint64_t snapshot_seq;                /* of the newest that lasts; 0: none */
	uint64_t snapshot_size;
	uint64_t snapshot_retry_us;
	struct gw_journal_file_counts counts;
	char full_text[TEXT_BYTES];
	char slow_text[TEXT_BYTES];
	char queue_text[TEXT_BYTES];
};

static void fail(struct gw_journal_file *file, int error, const char *what)
{
	char text[TEXT_BYTES];

	file->failed = true;
	(void)snprintf(text, sizeof(text),
		       "%s in the journal folder %s failed: %s. What lasts is not known any more; "
		       "look after the disk, then start again: the journal is read anew from it",
		       what, file->directory, strerror(-error));
	if (!file->closing)
		file->options.failed(file->options.context, error, text);
	else
		gw_log("journal_failed", "text=\"%s\"", text);
}

/* -- segments -- */

static int path_of(const struct gw_journal_file *file, enum gw_journal_kind kind, uint64_t seq,
		   char ret_path[GW_PATH_BYTES])
{
	char name[GW_JOURNAL_NAME_BYTES];

	gw_journal_name(kind, seq, name);
	return gw_file_path(ret_path, GW_PATH_BYTES, file->directory, name);
}

/* Opens a segment and empties it. One may be there, whose header, and no more than `size_max` bytes,
 * was being written when the process was killed; anything else is not ours to empty. */
static int segment_open(const char *path, uint64_t size_max, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat status;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		error = -errno;
	else if ((uint64_t)status.st_size > size_max)
		error = -EUCLEAN;
	else if (ftruncate(fd, 0) < 0)
		error = -errno;
	if (error < 0)
		(void)close(fd); /* nothing was written */
	else
		*ret_fd = fd;
	return error;
}

/* Makes the segment of the batch that is filled, with its header; neither is synced yet. */
static int segment_begin(struct gw_journal_file *file, uint64_t size_max)
{
	struct gw_journal_encoder *encoder = &file->encoder;
	struct gw_journal_header header = encoder->header;
	struct gw_buf block;
	char path[GW_PATH_BYTES];
	ssize_t put;
	int fd = -1;
	int error;

	header.seq = encoder->next - encoder->count;
	if (file->fd >= 0 && encoder->header.seq == header.seq)
		return 0; /* the one at hand has no record yet */
	error = path_of(file, GW_JOURNAL_SEGMENT, header.seq, path);
	if (error < 0)
		return error;
	error = segment_open(path, size_max, &fd);
	if (error < 0)
		return error;
	gw_buf_init(&block, GW_JOURNAL_BLOCK);
	error = gw_journal_header_encode(&header, &block);
	if (error == 0) {
		put = pwrite(fd, block.bytes, block.size, 0);
		if (put != (ssize_t)block.size)
			error = put < 0 ? -errno : -ENOSPC; /* no room for all of it */
	}
	gw_buf_deinit(&block);
	if (error < 0) {
		(void)close(fd); /* the next try opens it again */
		return error;
	}
	if (file->fd >= 0) {
		(void)!ftruncate(file->fd, (off_t)encoder->offset); /* the space only */
		(void)close(file->fd);                              /* all of it was synced */
	}
	file->fd = fd;
	file->space = GW_JOURNAL_BLOCK;
	encoder->header = header;
	encoder->offset = GW_JOURNAL_BLOCK;
	return 0;
}

/* Writes zeros behind a small batch where the next ones will go. A sync of blocks that were written
 * before is a sync of data alone; new blocks, reserved by fallocate or not, also commit the file
 * system's own journal (README, the journal). */
static void space_take(struct gw_journal_file *file)
{
	uint64_t end = file->encoder.offset;
	uint8_t *zeros;

	if (end <= file->space)
		return;
	file->space = end;
	if (file->filling.size > SPACE_BATCH_BYTES_MAX || gw_clock_mono_us() < file->tight_until_us)
		return;
	zeros = gw_buf_grow(&file->filling, SPACE_BYTES);
	if (!zeros)
		return; /* it is a help, no more */
	memset(zeros, 0, SPACE_BYTES);
	file->space += SPACE_BYTES;
}

/* -- batches -- */

static void flying_write(struct gw_journal_file *file)
{
	const struct gw_journal_write write = {.fd = file->fd,
					       .folder_fd =
						       file->syncing_folder ? file->folder_fd : -1,
					       .offset = file->flying_offset,
					       .bytes = file->flying.bytes,
					       .size = file->flying.size};
	int error = gw_journal_io_write(file->io, &write);

	if (error < 0)
		fail(file, error, "a write");
}

static bool disk_is_full(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

/* A mark that finds no room comes later: it is not what the records wait for. */
static void mark_written(struct gw_journal_file *file, int error)
{
	if (error < 0 && !disk_is_full(error)) {
		fail(file, error, "a write");
		return;
	}
	if (error == 0)
		gw_journal_marker_written(&file->marker, &file->encoder.header.id,
					  file->marking_seq);
	file->mark_at_us = error == 0 ? 0 : gw_clock_mono_us() + MARK_US;
	file->marking_seq = 0;
	if (!file->full)
		gw_reactor_timer_set(file->options.reactor, &file->timer,
				     gw_clock_mono_us() + IDLE_US);
}

static void wait_for_space(struct gw_journal_file *file, int error)
{
	if (!file->full)
		gw_log("journal_full", "folder=%s error=\"%s\"", file->directory, strerror(-error));
	file->full = true;
	(void)snprintf(
		file->full_text, sizeof(file->full_text),
		"the disk of the journal folder %s is full (%s): make room there; it is tried "
		"again each second",
		file->directory, strerror(-error));
	gw_reactor_timer_set(file->options.reactor, &file->timer,
			     gw_clock_mono_us() + FULL_RETRY_US);
}

static void mark_write(struct gw_journal_file *file)
{
	struct gw_journal_write write;
	int error;

	file->marking_seq = file->counts.durable_seq;
	error = gw_journal_marker_write(&file->marker, file->directory, file->folder_fd,
					&file->encoder.header.id, file->marking_seq, &write);
	if (error == 0)
		error = gw_journal_io_write(file->io, &write);
	file->busy = error == 0;
	if (error < 0)
		mark_written(file, error);
}

/* A disk that is nearly full has no room for zeros in advance; the records may still fit. False:
 * there were none. */
static bool space_give(struct gw_journal_file *file)
{
	if (file->flying.size == file->flying_bytes)
		return false;
	file->flying.size = file->flying_bytes;
	file->space = file->flying_offset + file->flying_bytes;
	file->tight_until_us = gw_clock_mono_us() + TIGHT_US;
	(void)!ftruncate(file->fd, (off_t)file->space); /* else the next write meets them */
	return true;
}

/* Sends what is filled on its way, unless a write is. */
static void flush(void *context)
{
	struct gw_journal_file *file = context;
	struct gw_journal_encoder *encoder = &file->encoder;
	struct gw_buf empty = file->flying;
	bool wanted = encoder->count > 0 || file->rotate || file->sync_folder || file->declare;
	int error = 0;

	if (file->busy || file->failed)
		return;
	if (file->mark_at_us != 0 && gw_clock_mono_us() >= file->mark_at_us) {
		mark_write(file);
		return;
	}
	if (!wanted)
		return;
	if (file->rotate)
		error = segment_begin(file, GW_JOURNAL_BLOCK);
	if (disk_is_full(error)) {
		wait_for_space(file, error);
		return;
	}
	if (error == 0) {
		file->sync_folder |= file->rotate;
		file->rotate = false;
		file->flying_offset = encoder->offset;
		file->declared_seq = file->counts.durable_seq;
		error = gw_journal_encode_seal(encoder, &file->filling, file->declared_seq);
	}
	if (error < 0) {
		fail(file, error, "a write");
		return;
	}
	file->flying_bytes = file->filling.size;
	file->log_bytes += file->filling.size;
	space_take(file);
	file->flying = file->filling;
	file->flying_since_us = file->filling_since_us;
	file->flying_seq = encoder->next - 1;
	file->filling = empty;
	file->filling_since_us = 0;
	file->syncing_folder = file->sync_folder;
	file->sync_folder = false;
	file->declare = false;
	file->busy = true;
	flying_write(file);
}

static void superseded_delete(struct gw_journal_file *file, uint64_t seq);

/* The snapshot's name lasts now. */
static void snapshot_end(struct gw_journal_file *file)
{
	uint64_t superseded = file->snapshot_seq;

	file->snapshot_seq = gw_journal_snapshot_seq(file->snapshot);
	file->snapshot_size = gw_journal_snapshot_size(file->snapshot);
	file->snapshot = gw_journal_snapshot_free(file->snapshot);
	file->renamed = false;
	file->counts.snapshots++;
	gw_log("journal_snapshot", "folder=%s seq=%" PRIu64 " bytes=%" PRIu64, file->directory,
	       file->snapshot_seq, file->snapshot_size);
	superseded_delete(file, superseded);
}

static void snapshot_again_later(struct gw_journal_file *file, uint64_t seq, int error)
{
	gw_log("journal_snapshot_failed", "folder=%s seq=%" PRIu64 " error=\"%s\"", file->directory,
	       seq, strerror(-error));
	file->snapshot_retry_us = gw_clock_mono_us() + SNAPSHOT_RETRY_US;
	file->counts.snapshots_failed++;
}

static void snapshot_failed(struct gw_journal_file *file, int error)
{
	snapshot_again_later(file, gw_journal_snapshot_seq(file->snapshot), error);
	file->snapshot = gw_journal_snapshot_free(file->snapshot);
	file->log_bytes += file->log_bytes_before;
}

/* Gives the snapshot its name once it is whole and the segment behind it lasts; then all of its
 * records do, since they were written before. The name declares them durable. */
static void snapshot_advance(struct gw_journal_file *file)
{
	char path[GW_PATH_BYTES];
	uint64_t seq;
	int error;

	if (!file->snapshot || file->renamed || !gw_journal_snapshot_whole(file->snapshot))
		return;
	if (file->rotate || file->sync_folder || file->syncing_folder)
		return;
	seq = gw_journal_snapshot_seq(file->snapshot);
	CHECK(file->counts.durable_seq >= seq);
	error = path_of(file, GW_JOURNAL_SNAPSHOT, seq, path);
	if (error == 0)
		error = gw_journal_snapshot_name(file->snapshot, path);
	if (error < 0) {
		snapshot_failed(file, error);
		return;
	}
	file->renamed = true;
	file->sync_folder = true;
	gw_reactor_defer(file->options.reactor, &file->flush);
}

static void snapshot_done(void *context, int error)
{
	struct gw_journal_file *file = context;

	if (error < 0)
		snapshot_failed(file, error);
	else
		snapshot_advance(file);
}

static void buf_empty(struct gw_buf *buf)
{
	if (buf->capacity > BUF_KEEP_BYTES)
		gw_buf_deinit(buf);
	buf->size = 0;
}

static void written(void *context, const struct gw_journal_written *written)
{
	struct gw_journal_file *file = context;
	bool named = file->syncing_folder && file->renamed;
	bool advanced = file->flying_seq > file->counts.durable_seq;

	if (written->sync_error < 0) {
		fail(file, written->sync_error, "a sync");
		return;
	}
	if (file->marking_seq > 0) {
		file->busy = false;
		mark_written(file, written->write_error);
		flush(file);
		return;
	}
	if (disk_is_full(written->write_error)) {
		if (space_give(file))
			flying_write(file);
		else
			wait_for_space(file, written->write_error);
		return;
	}
	if (written->write_error < 0) {
		fail(file, written->write_error, "a write");
		return;
	}
	file->counts.batches++;
	file->counts.bytes += file->flying_bytes;
	file->counts.durable_seq = file->flying_seq;
	if (file->syncing_folder) /* a segment or a snapshot is new */
		file->mark_at_us = gw_clock_mono_us();
	else if (advanced && file->mark_at_us == 0)
		file->mark_at_us = gw_clock_mono_us() + MARK_US;
	file->busy = false;
	file->full = false;
	file->syncing_folder = false;
	file->flying_since_us = 0;
	buf_empty(&file->flying);
	if (named)
		snapshot_end(file);
	gw_reactor_timer_set(file->options.reactor, &file->timer, gw_clock_mono_us() + IDLE_US);
	if (!file->closing && advanced)
		file->options.durable(file->options.context, file->flying_seq);
	snapshot_advance(file);
	flush(file);
}

static void timer_fired(void *context)
{
	struct gw_journal_file *file = context;

	if (file->failed)
		return;
	if (file->busy && file->full)
		flying_write(file);
	else if (file->declared_seq < file->counts.durable_seq)
		file->declare = true;
	flush(file);
}

/* -- the journal's interface -- */

static int append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_journal_file *file = (struct gw_journal_file *)journal;
	int error;

	CHECK(seq == file->encoder.next);
	if (file->failed)
		return -EIO;
	error = gw_journal_encode_record(&file->encoder, &file->filling, bytes, size);
	if (error < 0)
		return error;
	if (file->filling_since_us == 0)
		file->filling_since_us = gw_clock_mono_us();
	if (!file->busy)
		gw_reactor_defer(file->options.reactor, &file->flush);
	return 0;
}

static const char *stalled(const struct gw_journal *journal, uint64_t mono_us)
{
	const struct gw_journal_file *file = (const struct gw_journal_file *)journal;
	uint64_t since_us =
		file->flying_since_us != 0 ? file->flying_since_us : file->filling_since_us;

	if (file->failed)
		return "the journal failed, and the process is about to stop";
	if (file->full)
		return file->full_text;
	if (file->filling.size > GW_JOURNAL_QUEUE_BYTES_MAX / 2)
		return file->queue_text;
	if (since_us != 0 && mono_us > since_us && mono_us - since_us > GW_JOURNAL_SLOW_US)
		return file->slow_text;
	return NULL;
}

struct gw_journal *gw_journal_file_journal(struct gw_journal_file *file)
{
	return &file->journal;
}

const struct gw_journal_file_counts *gw_journal_file_counts(const struct gw_journal_file *file)
{
	return &file->counts;
}

/* -- snapshots -- */

bool gw_journal_file_due(const struct gw_journal_file *file)
{
	uint64_t wanted = file->options.snapshot_bytes;

	if (wanted < file->snapshot_size)
		wanted = file->snapshot_size;
	return !file->snapshot && !file->failed && file->log_bytes >= wanted &&
	       gw_clock_mono_us() >= file->snapshot_retry_us;
}

int gw_journal_file_snapshot(struct gw_journal_file *file, const struct gw_node *node)
{
	const struct gw_journal_header header = {.id = file->encoder.header.id,
						 .kind = GW_JOURNAL_SNAPSHOT,
						 .seq = gw_node_seq(node)};
	const struct gw_journal_snapshot_form form = gw_journal_pieces_form(&header);
	int error;

	CHECK(header.seq < file->encoder.next);
	if (file->snapshot || header.seq == file->snapshot_seq)
		return -EALREADY;
	error = gw_journal_snapshot_new(file->options.reactor, file->directory, header.seq, &form,
					node, snapshot_done, file, &file->snapshot);
	if (error < 0) {
		snapshot_again_later(file, header.seq, error);
		return error;
	}
	file->log_bytes_before = file->log_bytes;
	file->log_bytes = 0;
	file->rotate = true;
	gw_reactor_defer(file->options.reactor, &file->flush);
	return 0;
}

/* Deletes what a folder without it would say just as well: snapshots before `seq`, which is one that
 * lasts, and segments whose records it holds. Nothing depends on it, so what fails stays for the next
 * time. */
static void superseded_delete(struct gw_journal_file *file, uint64_t seq)
{
	struct gw_journal_files files;
	char path[GW_PATH_BYTES];

	if (seq == 0)
		return;
	if (gw_journal_files_list(file->directory, GW_JOURNAL_SEGMENT, &files) == 0) {
		for (size_t i = 0; i + 1 < files.count && files.seqs[i + 1] <= seq + 1; i++) {
			if (path_of(file, GW_JOURNAL_SEGMENT, files.seqs[i], path) == 0)
				(void)unlink(path);
		}
		gw_journal_files_deinit(&files);
	}
	if (gw_journal_files_list(file->directory, GW_JOURNAL_SNAPSHOT, &files) == 0) {
		for (size_t i = 0; i < files.count && files.seqs[i] < seq; i++) {
			if (path_of(file, GW_JOURNAL_SNAPSHOT, files.seqs[i], path) == 0)
				(void)unlink(path);
		}
		gw_journal_files_deinit(&files);
	}
}

/* -- open and close -- */

static int take(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_node *node = context;

	return snapshot ? gw_node_restore(node, bytes, size)
			: gw_node_apply(node, seq, bytes, size);
}

/* The folder itself, and its name, on disk. */
static int folder_open(struct gw_journal_file *file)
{
	char parent[GW_PATH_BYTES + 3];
	bool made = mkdir(file->directory, 0700) == 0;
	int error = 0;
	int fd;

	if (!made && errno != EEXIST)
		return -errno;
	file->folder_fd = open(file->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file->folder_fd < 0 || fsync(file->folder_fd) < 0)
		return -errno;
	if (!made)
		return 0;
	(void)snprintf(parent, sizeof(parent), "%s/..", file->directory);
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		error = -errno;
	if (fd >= 0)
		(void)close(fd); /* only synced */
	return error;
}

/* The first segment of a new journal. */
static int begin_new(struct gw_journal_file *file)
{
	struct gw_journal_header header = {.kind = GW_JOURNAL_SEGMENT, .seq = 1};
	int error;

	if (getrandom(header.id.id.bytes, GW_ID_BYTES, 0) != (ssize_t)GW_ID_BYTES)
		return -EIO;
	gw_journal_encoder_init(&file->encoder, &header, GW_JOURNAL_BLOCK, 1);
	error = segment_begin(file, GW_JOURNAL_BLOCK);
	if (error == 0 && (fdatasync(file->fd) < 0 || fsync(file->folder_fd) < 0))
		error = -errno;
	return error;
}

/* Cuts a torn tail off the last segment, on disk, before anything is written there. */
static int go_on(struct gw_journal_file *file, const struct gw_journal_tail *tail,
		 const struct gw_journal_found *found)
{
	const struct gw_journal_header header = {
		.id = tail->id, .kind = GW_JOURNAL_SEGMENT, .seq = tail->segment_seq};
	char path[GW_PATH_BYTES];
	int error = path_of(file, GW_JOURNAL_SEGMENT, tail->segment_seq, path);

	file->counts.durable_seq = found->last_seq;
	file->declared_seq = tail->durable_seq;
	file->snapshot_seq = found->snapshot_seq;
	file->snapshot_size = tail->snapshot_size;
	file->marker.mark = tail->mark;
	file->log_bytes = tail->log_bytes;
	file->space = tail->end;
	gw_journal_encoder_init(&file->encoder, &header,
				tail->end > 0 ? tail->end : GW_JOURNAL_BLOCK, found->last_seq + 1);
	if (error == 0 && tail->end == 0)
		error = segment_begin(file, tail->size); /* seen to hold nothing that lasted */
	else if (error == 0) {
		file->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (file->fd < 0 || ftruncate(file->fd, (off_t)tail->end) < 0)
			error = -errno;
	}
	if (error == 0 && fdatasync(file->fd) < 0)
		error = -errno;
	return error;
}

static struct gw_journal_file *file_new(const struct gw_journal_file_options *options)
{
	struct gw_journal_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->journal = (struct gw_journal){.append = append, .stalled = stalled};
	file->options = *options;
	if (file->options.snapshot_bytes == 0)
		file->options.snapshot_bytes = SNAPSHOT_BYTES;
	file->fd = -1;
	file->folder_fd = -1;
	gw_journal_marker_init(&file->marker);
	file->flush = (struct gw_deferred){.call = flush, .context = file};
	file->timer = (struct gw_timer){.fired = timer_fired, .context = file};
	gw_buf_init(&file->filling, GW_JOURNAL_BUF_BYTES_MAX);
	gw_buf_init(&file->flying, GW_JOURNAL_BUF_BYTES_MAX);
	(void)snprintf(file->directory, sizeof(file->directory), "%s", options->directory);
	(void)snprintf(file->slow_text, sizeof(file->slow_text),
		       "the disk of the journal folder %s is slow, records wait for more than %llu "
		       "s: find what else writes to it, or try again later",
		       file->directory, GW_JOURNAL_SLOW_US / GW_US_PER_S);
	(void)snprintf(file->queue_text, sizeof(file->queue_text),
		       "the disk of the journal folder %s is slow, more than %u MiB of records "
		       "wait: find what else writes to it, or try again later",
		       file->directory, GW_JOURNAL_QUEUE_BYTES_MAX / 2 >> 20);
	return file;
}

int gw_journal_file_open(const struct gw_journal_file_options *options, struct gw_node *node,
			 struct gw_journal_file **ret_file, struct gw_journal_found *ret_found,
			 struct gw_fault *fault)
{
	struct gw_journal_file *file;
	struct gw_journal_found found;
	struct gw_journal_tail tail;
	int error;

	if (strlen(options->directory) >= GW_PATH_BYTES - GW_JOURNAL_NAME_BYTES) {
		gw_fault_set(fault, "%s is too long a path", options->directory);
		return -ENAMETOOLONG;
	}
	file = file_new(options);
	if (!file)
		return -ENOMEM;
	error = folder_open(file);
	if (error == 0) {
		error = gw_journal_folder_read(file->directory, true, take, node, &found, &tail,
					       fault);
		if (error < 0) {
			gw_journal_file_close(file);
			return error;
		}
		if (found.damaged_snapshots > 0)
			gw_log("journal_snapshot_damaged", "folder=%s count=%" PRIu32,
			       file->directory, found.damaged_snapshots);
		error = gw_journal_snapshot_sweep(file->directory);
	}
	if (error == 0)
		error = tail.empty ? begin_new(file) : go_on(file, &tail, &found);
	if (error == 0)
		error = gw_journal_io_new(options->reactor, options->plain, written, file,
					  &file->io);
	if (error < 0) {
		gw_fault_set(fault, "cannot open the journal folder %s: %s", file->directory,
			     strerror(-error));
		gw_journal_file_close(file);
		return error;
	}
	if (file->counts.durable_seq > file->marker.mark.seq) {
		file->mark_at_us = gw_clock_mono_us();
		gw_reactor_defer(options->reactor, &file->flush);
	}
	found.plain = gw_journal_io_plain(file->io);
	*ret_found = found;
	*ret_file = file;
	return 0;
}

/* Writes what was appended, and then what declares it durable. A full disk is not waited for: a user
 * or peer was told of nothing that is lost so. */
static void drain(struct gw_journal_file *file)
{
	file->closing = true;
	gw_journal_io_wait(file->io);
	while (!file->failed && !file->full &&
	       (file->encoder.count > 0 || file->declared_seq < file->counts.durable_seq)) {
		file->declare = true;
		flush(file);
		gw_journal_io_wait(file->io);
	}
	if (!file->failed && !file->full && file->counts.durable_seq > file->marker.mark.seq) {
		file->mark_at_us = gw_clock_mono_us();
		flush(file);
		gw_journal_io_wait(file->io);
	}
	if (!file->failed && !file->full)
		(void)!ftruncate(file->fd, (off_t)file->encoder.offset); /* the space only */
}

struct gw_journal_file *gw_journal_file_close(struct gw_journal_file *file)
{
	if (!file)
		return NULL;
	if (file->io)
		drain(file);
	gw_journal_snapshot_free(file->snapshot);
	gw_reactor_undefer(file->options.reactor, &file->flush);
	gw_reactor_timer_cancel(file->options.reactor, &file->timer);
	gw_journal_io_free(file->io);
	if (file->fd >= 0)
		(void)close(file->fd); /* all of it was synced */
	if (file->folder_fd >= 0)
		(void)close(file->folder_fd);
	gw_journal_marker_deinit(&file->marker);
	gw_buf_deinit(&file->filling);
	gw_buf_deinit(&file->flying);
	free(file);
	return NULL;
}
