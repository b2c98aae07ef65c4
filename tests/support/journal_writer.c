/*
 * A program that does nothing but keep a journal, to be killed: it appends records, a number of them
 * always under way, and says on stdout which sequence lasts. Snapshots are made as they become due.
 *
 *	journal_writer write FOLDER [plain]	until it is killed; a line "SEQ" for each that lasts
 *	journal_writer check FOLDER	opens it; "last SEQ snapshot SEQ cut BYTES", or the fault, 1
 *	journal_writer speed FOLDER ROUNDS [plain]	appends a second of a new journal, beside a floor
 *	journal_writer fixture FOLDER	the journal that tests/golden/journal keeps of this format
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "tests/unit/test_journal_fixture.h"
#include "transport/clock.h"
#include "transport/journal_file.h"
#include "transport/journal_format.h"
#include "transport/reactor.h"

#define SNAPSHOT_BYTES (128u << 10) /* so that a short life sees some */
#define BALLAST_BYTES 50000u
#define FIXTURE_BALLAST_BYTES 9000u
#define UNDER_WAY 64u
#define SLICE_US (200 * GW_US_PER_MS)

struct writer {
	struct gw_reactor *reactor;
	struct tally tally;
	struct gw_journal_file *file;
	struct gw_journal *journal;
	struct gw_journal_found found;
	uint64_t durable;
	bool quiet;
};

static void durable(void *context, uint64_t seq)
{
	struct writer *writer = context;
	char line[32];
	int size = snprintf(line, sizeof(line), "%" PRIu64 "\n", seq);

	writer->durable = seq;
	if (!writer->quiet && write(1, line, (size_t)size) != size)
		exit(1); /* nobody listens any more */
}

static void failed(void *context, int error, const char *text)
{
	(void)context;
	(void)fprintf(stderr, "%s (%d)\n", text, error);
	exit(1);
}

static void open_journal(struct writer *writer, const char *folder, bool plain,
			 uint64_t snapshot_bytes, uint64_t ballast_bytes)
{
	const struct gw_journal_file_options options = {.reactor = writer->reactor,
							.directory = folder,
							.snapshot_bytes = snapshot_bytes,
							.plain = plain,
							.durable = durable,
							.failed = failed,
							.context = writer};
	struct gw_fault fault;

	tally_init(&writer->tally, ballast_bytes);
	if (gw_journal_file_open(&options, &writer->tally.node, &writer->file, &writer->found,
				 &fault) != 0) {
		(void)printf("%s\n", fault.text);
		exit(1);
	}
	writer->journal = gw_journal_file_journal(writer->file);
	writer->durable = writer->found.last_seq;
	if (writer->tally.seq != writer->found.last_seq ||
	    writer->tally.digest != tally_digest_of(writer->tally.seq)) {
		(void)printf("the state is not that of record %" PRIu64 "\n",
			     writer->found.last_seq);
		exit(1);
	}
}

static void append_one(struct writer *writer)
{
	uint8_t bytes[TALLY_RECORD_BYTES_MAX];
	uint64_t seq = writer->tally.seq + 1;
	size_t size = tally_record(seq, bytes);

	CHECK(writer->journal->append(writer->journal, seq, bytes, size) == 0);
	CHECK(gw_node_apply(&writer->tally.node, seq, bytes, size) == 0);
}

static void turn(struct writer *writer)
{
	while (writer->tally.seq < writer->durable + UNDER_WAY)
		append_one(writer);
	if (gw_journal_file_due(writer->file))
		CHECK(gw_journal_file_snapshot(writer->file, &writer->tally.node) == 0);
	CHECK(gw_reactor_turn(writer->reactor, GW_NEVER_US) == 0);
}

/* Writes of `bytes` each with fdatasync, for a while, and nothing else: what the disk allows. Returns
 * how long it took. */
static uint64_t floor_run(int fd, size_t bytes, uint64_t slice_us, uint64_t *syncs)
{
	static uint8_t buffer[1u << 20];
	uint64_t start_us = gw_clock_mono_us();

	CHECK(bytes <= sizeof(buffer));
	memset(buffer, 'x', bytes);
	while (gw_clock_mono_us() - start_us < slice_us) {
		CHECK(pwrite(fd, buffer, bytes, (off_t)(*syncs * bytes)) == (ssize_t)bytes);
		CHECK(fdatasync(fd) == 0);
		(*syncs)++;
	}
	return gw_clock_mono_us() - start_us;
}

/* Turns about, so that both see the same disk. */
static void speed(struct writer *writer, const char *folder, uint32_t rounds)
{
	const struct gw_journal_file_counts *counts = gw_journal_file_counts(writer->file);
	uint64_t journal_us = 0;
	uint64_t floor_us = 0;
	uint64_t syncs = 0;
	char path[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/floor", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	writer->quiet = true;
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t start_us = gw_clock_mono_us();

		while (gw_clock_mono_us() - start_us < SLICE_US)
			turn(writer);
		while (writer->durable < writer->tally.seq)
			CHECK(gw_reactor_turn(writer->reactor, GW_NEVER_US) == 0);
		journal_us += gw_clock_mono_us() - start_us;
		floor_us += floor_run(fd, counts->bytes / counts->batches, SLICE_US, &syncs);
	}
	(void)close(fd);
	(void)unlink(path);
	(void)printf("%s: %.0f records/s in %.0f batches/s of %.0f records and %.0f bytes, %" PRIu64
		     " snapshots; floor: %.0f writes with fdatasync/s of that size\n",
		     writer->found.plain ? "plain" : "io_uring",
		     (double)writer->durable * 1e6 / (double)journal_us,
		     (double)counts->batches * 1e6 / (double)journal_us,
		     (double)writer->durable / (double)counts->batches,
		     (double)counts->bytes / (double)counts->batches, counts->snapshots,
		     (double)syncs * 1e6 / (double)floor_us);
}

/* Two generations: records 1 to 40, their snapshot, 41 to 60, theirs, and 61 to 70. */
static void fixture(struct writer *writer)
{
	static const uint64_t ends[] = {40, 60, 70};

	for (size_t i = 0; i < GW_ARRAY_COUNT(ends); i++) {
		uint64_t snapshots = gw_journal_file_counts(writer->file)->snapshots;

		while (writer->durable < ends[i]) {
			for (int j = 0; j < 5; j++)
				append_one(writer);
			while (writer->durable < writer->tally.seq)
				CHECK(gw_reactor_turn(writer->reactor, GW_NEVER_US) == 0);
		}
		if (i + 1 == GW_ARRAY_COUNT(ends))
			break;
		CHECK(gw_journal_file_snapshot(writer->file, &writer->tally.node) == 0);
		while (gw_journal_file_counts(writer->file)->snapshots == snapshots)
			CHECK(gw_reactor_turn(writer->reactor, GW_NEVER_US) == 0);
	}
}

int main(int argc, char **argv)
{
	struct writer writer = {0};
	const char *what = argc >= 3 ? argv[1] : "";
	bool plain = argc > 3 && strcmp(argv[argc - 1], "plain") == 0;

	if (gw_reactor_new(&writer.reactor) < 0)
		return 1;
	if (strcmp(what, "write") == 0) {
		open_journal(&writer, argv[2], plain, SNAPSHOT_BYTES, BALLAST_BYTES);
		for (;;)
			turn(&writer);
	} else if (strcmp(what, "check") == 0) {
		open_journal(&writer, argv[2], true, SNAPSHOT_BYTES, BALLAST_BYTES);
		(void)printf("last %" PRIu64 " snapshot %" PRIu64 " cut %" PRIu64 "\n",
			     writer.found.last_seq, writer.found.snapshot_seq,
			     writer.found.cut_bytes);
	} else if (strcmp(what, "speed") == 0 && argc > 3) {
		open_journal(&writer, argv[2], plain, 0, BALLAST_BYTES);
		speed(&writer, argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
	} else if (strcmp(what, "fixture") == 0) {
		writer.quiet = true;
		open_journal(&writer, argv[2], true, UINT64_MAX, FIXTURE_BALLAST_BYTES);
		fixture(&writer);
	} else {
		(void)fprintf(stderr,
			      "usage: journal_writer write|check|speed|fixture FOLDER ...\n");
		return 2;
	}
	gw_journal_file_close(writer.file);
	gw_reactor_free(writer.reactor);
	return 0;
}
