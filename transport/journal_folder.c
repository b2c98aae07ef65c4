/*
 * Reading a folder: the newest snapshot that is whole, or none where the segments reach back to the
 * first record; then the segments from there on, each of which must end where the next begins. A
 * snapshot has its name only once it is whole, and once all that it holds is in segments too; so one
 * that is not whole was damaged, and its name still says what was durable. So does the mark.
 */
#include "transport/journal_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "transport/file.h"

#define WHAT_TO_DO                                                                                 \
	"Nothing was changed. Put back a good copy of the file, or move the folder away to "       \
	"begin without its records"

struct reading {
	const char *directory;
	bool settle;
	gw_journal_record_f *record;
	void *context;
	struct gw_fault *fault;
	struct gw_journal_files snapshots;
	struct gw_journal_files segments;
	struct gw_journal_found found;
	struct gw_journal_tail tail; /* with the mark */
	bool id_known;
	uint64_t named_seq; /* durable, as the names of the snapshots declare */
};

void gw_journal_name(enum gw_journal_kind kind, uint64_t seq, char *ret_name)
{
	(void)snprintf(ret_name, GW_JOURNAL_NAME_BYTES, "%s-%020" PRIu64,
		       kind == GW_JOURNAL_SNAPSHOT ? "snapshot" : "segment", seq);
}

static bool name_parse(const char *name, enum gw_journal_kind kind, uint64_t *ret_seq)
{
	char again[GW_JOURNAL_NAME_BYTES];
	const char *dash = strchr(name, '-');

	if (!dash)
		return false;
	*ret_seq = strtoull(dash + 1, NULL, 10);
	gw_journal_name(kind, *ret_seq, again);
	return *ret_seq > 0 && strcmp(again, name) == 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

int gw_journal_files_list(const char *directory, enum gw_journal_kind kind,
			  struct gw_journal_files *ret_files)
{
	DIR *folder = opendir(directory);
	struct gw_journal_files files = {0};
	struct dirent *entry;
	uint64_t seq;
	int error = 0;

	if (!folder)
		return -errno;
	while (error == 0 && (entry = readdir(folder)) != NULL) {
		uint64_t *seqs;

		if (!name_parse(entry->d_name, kind, &seq))
			continue;
		seqs = realloc(files.seqs, (files.count + 1) * sizeof(*seqs));
		if (!seqs)
			error = -ENOMEM;
		else {
			files.seqs = seqs;
			files.seqs[files.count++] = seq;
		}
	}
	(void)closedir(folder); /* only read */
	if (error < 0) {
		gw_journal_files_deinit(&files);
		return error;
	}
	if (files.count > 0)
		qsort(files.seqs, files.count, sizeof(*files.seqs), compare);
	*ret_files = files;
	return 0;
}

int gw_journal_folder_holds(const char *directory)
{
	static const enum gw_journal_kind kinds[] = {GW_JOURNAL_SEGMENT, GW_JOURNAL_SNAPSHOT};

	size_t count = 0;

	for (size_t i = 0; i < GW_ARRAY_COUNT(kinds); i++) {
		struct gw_journal_files files;
		int error = gw_journal_files_list(directory, kinds[i], &files);

		if (error < 0)
			return error == -ENOENT ? 0 : error;
		count += files.count;
		gw_journal_files_deinit(&files);
	}
	return count > 0;
}

void gw_journal_files_deinit(struct gw_journal_files *files)
{
	free(files->seqs);
	*files = (struct gw_journal_files){0};
}

static int read_whole(int fd, uint8_t *bytes, size_t size, size_t *ret_size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t count = pread(fd, bytes + got, size - got, (off_t)got);

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count == 0)
			break; /* it became shorter meanwhile */
		if (count > 0)
			got += (size_t)count;
	}
	*ret_size = got;
	return 0;
}

int gw_journal_bytes_read(const char *path, bool settle, struct gw_journal_bytes *ret_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct gw_journal_bytes file = {0};
	struct stat status;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0 || (settle && fdatasync(fd) < 0))
		error = -errno;
	if (error == 0 && settle) /* pages that could not be written are clean, and lie */
		error = -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (error == 0) {
		file.bytes = malloc(status.st_size > 0 ? (size_t)status.st_size : 1);
		error = file.bytes ? 0 : -ENOMEM;
	}
	if (error == 0)
		error = read_whole(fd, file.bytes, (size_t)status.st_size, &file.size);
	(void)close(fd); /* only read */
	if (error < 0)
		gw_journal_bytes_deinit(&file);
	else
		*ret_bytes = file;
	return error;
}

void gw_journal_bytes_deinit(struct gw_journal_bytes *bytes)
{
	free(bytes->bytes);
	*bytes = (struct gw_journal_bytes){0};
}

/* Loads a file and begins its scan. */
static int load(struct reading *reading, enum gw_journal_kind kind, uint64_t seq,
		uint64_t durable_seq, struct gw_journal_bytes *ret_bytes,
		struct gw_journal_scan *ret_scan)
{
	const struct gw_journal_expect expect = {.id = reading->id_known ? &reading->tail.id : NULL,
						 .kind = kind,
						 .seq = seq,
						 .durable_seq = durable_seq};
	const struct gw_journal_files *segments = &reading->segments;
	/* Snapshots and the segments before the last were synced before the process went on. */
	bool last = kind == GW_JOURNAL_SEGMENT && seq == segments->seqs[segments->count - 1];
	char name[GW_JOURNAL_NAME_BYTES];
	char path[GW_PATH_BYTES];
	int error;

	gw_journal_name(kind, seq, name);
	error = gw_file_path(path, sizeof(path), reading->directory, name);
	if (error == 0)
		error = gw_journal_bytes_read(path, reading->settle && last, ret_bytes);
	if (error < 0) {
		gw_fault_set(reading->fault, "cannot read %s/%s: %s", reading->directory, name,
			     strerror(-error));
		return error;
	}
	gw_journal_scan_init(ret_scan, ret_bytes->bytes, ret_bytes->size, &expect);
	return 0;
}

static int refuse(struct reading *reading, enum gw_journal_kind kind, uint64_t seq,
		  const struct gw_journal_scan *scan)
{
	char name[GW_JOURNAL_NAME_BYTES];

	gw_journal_name(kind, seq, name);
	if (scan->verdict == GW_JOURNAL_NEWER)
		gw_fault_set(reading->fault, "%s/%s, %s. Start the version that wrote it",
			     reading->directory, name, scan->text);
	else
		gw_fault_set(reading->fault, "%s/%s is damaged at %s. " WHAT_TO_DO,
			     reading->directory, name, scan->text);
	return -EUCLEAN;
}

static void note_header(struct reading *reading, const struct gw_journal_scan *scan)
{
	if (scan->header.version == 0)
		return;
	reading->tail.id = scan->header.id;
	reading->id_known = true;
	if (reading->found.version == 0 || scan->header.version < reading->found.version)
		reading->found.version = scan->header.version;
}

/* Gives out the pieces of a snapshot that was seen to be whole. */
static int pieces_give(struct reading *reading, uint64_t seq, const struct gw_journal_bytes *file)
{
	const struct gw_journal_expect expect = {.kind = GW_JOURNAL_SNAPSHOT, .seq = seq};
	struct gw_journal_scan scan;
	struct gw_journal_record piece;
	int error = 0;

	gw_journal_scan_init(&scan, file->bytes, file->size, &expect);
	while (error == 0 && gw_journal_scan_next(&scan, &piece))
		error = reading->record(reading->context, true, seq, piece.bytes, piece.size);
	if (error < 0)
		gw_fault_set(reading->fault,
			     "%s: the snapshot of sequence %" PRIu64
			     " is whole, but this program cannot take its piece %" PRIu64 " (%s)",
			     reading->directory, seq, piece.seq, strerror(-error));
	return error;
}

/* 0: *ret_whole says whether this snapshot was taken; negative errno. */
static int snapshot_try(struct reading *reading, uint64_t seq, bool *ret_whole)
{
	struct gw_journal_bytes file;
	struct gw_journal_scan scan;
	struct gw_journal_record piece;
	int error = load(reading, GW_JOURNAL_SNAPSHOT, seq, 0, &file, &scan);

	if (error < 0)
		return error;
	while (gw_journal_scan_next(&scan, &piece))
		;
	*ret_whole = scan.verdict == GW_JOURNAL_WHOLE;
	if (*ret_whole) {
		note_header(reading, &scan);
		reading->found.snapshot_seq = seq;
		reading->tail.snapshot_size = file.size;
		if (reading->record)
			error = pieces_give(reading, seq, &file);
	} else {
		error = refuse(reading, GW_JOURNAL_SNAPSHOT, seq, &scan);
		if (scan.verdict != GW_JOURNAL_NEWER)
			error = 0;
		reading->found.damaged_snapshots++;
	}
	gw_journal_bytes_deinit(&file);
	return error;
}

/* The newest whole snapshot, or none if the segments reach back to the first record. */
static int snapshots_read(struct reading *reading)
{
	size_t count = reading->snapshots.count;
	bool whole = false;
	int error = 0;

	reading->named_seq = count > 0 ? reading->snapshots.seqs[count - 1] : 0;
	for (size_t i = count; i > 0 && !whole && error == 0; i--)
		error = snapshot_try(reading, reading->snapshots.seqs[i - 1], &whole);
	if (error == 0 && count > 0 && !whole &&
	    (reading->segments.count == 0 || reading->segments.seqs[0] != 1))
		return -EUCLEAN; /* the fault is that of the oldest snapshot */
	return error;
}

static uint64_t torn_bytes(const struct gw_journal_scan *scan)
{
	size_t size = scan->size;

	while (size > scan->end && scan->bytes[size - 1] == 0)
		size--;
	return size - scan->end;
}

static int records_give(struct reading *reading, uint64_t seq, struct gw_journal_scan *scan)
{
	struct gw_journal_record record;
	char name[GW_JOURNAL_NAME_BYTES];
	int error;

	gw_journal_name(GW_JOURNAL_SEGMENT, seq, name);
	while (gw_journal_scan_next(scan, &record)) {
		if (record.seq <= reading->found.snapshot_seq)
			continue;
		error = !reading->record ? 0
					 : reading->record(reading->context, false, record.seq,
							   record.bytes, record.size);
		if (error < 0) {
			gw_fault_set(reading->fault,
				     "%s/%s: record %" PRIu64
				     " is whole, but this program cannot take it (%s)",
				     reading->directory, name, record.seq, strerror(-error));
			return error;
		}
		reading->found.records++;
		reading->found.last_seq = record.seq;
	}
	return 0;
}

static uint64_t known_seq(const struct reading *reading)
{
	return reading->tail.mark.seq > reading->named_seq ? reading->tail.mark.seq
							   : reading->named_seq;
}

/* Without the mark, what the file says would be taken for all that there was. */
static bool only_mark_tells(const struct reading *reading, const struct gw_journal_scan *scan)
{
	struct gw_journal_expect expect = scan->expect;
	struct gw_journal_record record;
	struct gw_journal_scan again;

	if (scan->verdict != GW_JOURNAL_CORRUPT || expect.durable_seq != reading->tail.mark.seq)
		return false;
	expect.durable_seq = reading->named_seq;
	gw_journal_scan_init(&again, scan->bytes, scan->size, &expect);
	while (gw_journal_scan_next(&again, &record))
		;
	return again.verdict == GW_JOURNAL_WHOLE || again.verdict == GW_JOURNAL_TORN;
}

static int refuse_short(const struct reading *reading)
{
	gw_fault_set(reading->fault,
		     "%s: the records end with %" PRIu64 ", and all up to %" PRIu64
		     " was durable, as the file " GW_JOURNAL_MARK_NAME
		     " there says. Nothing was changed. Put back what is missing, or remove that "
		     "file to go on without it",
		     reading->directory, reading->found.last_seq, known_seq(reading));
	return -EUCLEAN;
}

static int segment_refuse(struct reading *reading, uint64_t seq, const struct gw_journal_scan *scan)
{
	return only_mark_tells(reading, scan) ? refuse_short(reading)
					      : refuse(reading, GW_JOURNAL_SEGMENT, seq, scan);
}

/* A journal's first header is on disk before anything is written behind it, so a file that goes on
 * behind an unreadable one is not what a crash leaves. */
static bool is_begun(const struct reading *reading, const struct gw_journal_scan *scan)
{
	return scan->header.version != 0 || reading->id_known || scan->size <= GW_JOURNAL_BLOCK;
}

/* `next_seq`: the first of the segment behind this one; 0: this is the last. */
static int segment_read(struct reading *reading, uint64_t seq, uint64_t next_seq)
{
	uint64_t durable_seq = next_seq > 0 ? next_seq - 1 : known_seq(reading);
	struct gw_journal_bytes file;
	struct gw_journal_scan scan;
	int error = load(reading, GW_JOURNAL_SEGMENT, seq, durable_seq, &file, &scan);

	if (error < 0)
		return error;
	error = records_give(reading, seq, &scan);
	if (error == 0 && ((scan.verdict != GW_JOURNAL_WHOLE && scan.verdict != GW_JOURNAL_TORN) ||
			   !is_begun(reading, &scan)))
		error = segment_refuse(reading, seq, &scan);
	if (error == 0 && next_seq > 0 && scan.next != next_seq) {
		gw_fault_set(reading->fault,
			     "%s: the segment of sequence %" PRIu64 " goes on to %" PRIu64
			     ", and another begins with %" PRIu64 ". " WHAT_TO_DO,
			     reading->directory, seq, scan.next - 1, next_seq);
		error = -EUCLEAN;
	}
	if (error == 0) {
		note_header(reading, &scan);
		reading->tail.log_bytes += scan.end;
		reading->tail.segment_seq = seq;
		reading->tail.end = scan.end;
		reading->tail.size = scan.size;
		reading->tail.durable_seq = scan.durable_seq;
		reading->found.cut_bytes = scan.verdict == GW_JOURNAL_TORN ? torn_bytes(&scan) : 0;
	}
	gw_journal_bytes_deinit(&file);
	return error;
}

static int segments_read(struct reading *reading)
{
	const struct gw_journal_files *segments = &reading->segments;
	uint64_t base = reading->found.snapshot_seq;
	size_t first = segments->count;
	int error = 0;

	while (first > 0 && (first == segments->count || segments->seqs[first] > base + 1))
		first--;
	if (segments->count == 0 || segments->seqs[first] > base + 1) {
		gw_fault_set(reading->fault,
			     "%s: a segment is missing: none holds record %" PRIu64
			     "%s. Nothing was changed. Put it back, or move the folder away to "
			     "begin without its records",
			     reading->directory, base + 1,
			     segments->count > 0 ? ", and later ones are there" : "");
		return -EUCLEAN;
	}
	reading->found.last_seq = base;
	for (size_t i = first; i < segments->count && error == 0; i++)
		error = segment_read(reading, segments->seqs[i],
				     i + 1 < segments->count ? segments->seqs[i + 1] : 0);
	return error == 0 && reading->found.last_seq < reading->tail.mark.seq
		       ? refuse_short(reading)
		       : error;
}

static int folder_read(struct reading *reading)
{
	/* The mark first: beside a running writer the records may only be more. */
	int error = gw_journal_mark_read(reading->directory, reading->settle, &reading->tail.mark,
					 reading->fault);

	if (error < 0)
		return error;
	reading->tail.id = reading->tail.mark.id;
	reading->id_known = reading->tail.mark.seq > 0;
	error = gw_journal_files_list(reading->directory, GW_JOURNAL_SNAPSHOT, &reading->snapshots);
	if (error == 0)
		error = gw_journal_files_list(reading->directory, GW_JOURNAL_SEGMENT,
					      &reading->segments);
	if (error < 0) {
		gw_fault_set(reading->fault, "cannot read the journal folder %s: %s",
			     reading->directory, strerror(-error));
		return error;
	}
	reading->tail.empty = reading->snapshots.count == 0 && reading->segments.count == 0;
	if (reading->tail.empty)
		return reading->id_known ? refuse_short(reading) : 0;
	error = snapshots_read(reading);
	if (error == 0)
		error = segments_read(reading);
	/* Its first file was never finished. */
	if (error == 0 && !reading->id_known)
		reading->tail.empty = true;
	return error;
}

int gw_journal_folder_read(const char *directory, bool settle, gw_journal_record_f *record,
			   void *context, struct gw_journal_found *ret_found,
			   struct gw_journal_tail *ret_tail, struct gw_fault *fault)
{
	struct reading reading = {.directory = directory,
				  .settle = settle,
				  .record = record,
				  .context = context,
				  .fault = fault};
	int error = folder_read(&reading);

	gw_journal_files_deinit(&reading.snapshots);
	gw_journal_files_deinit(&reading.segments);
	if (error < 0)
		return error;
	reading.found.durable_seq = known_seq(&reading);
	*ret_found = reading.found;
	if (ret_tail)
		*ret_tail = reading.tail;
	return 0;
}

int gw_journal_file_read(const char *directory, gw_journal_record_f *record, void *context,
			 struct gw_journal_found *ret_found, struct gw_fault *fault)
{
	return gw_journal_folder_read(directory, false, record, context, ret_found, NULL, fault);
}
