/*
 * A folder of two snapshots and two segments, written by real appends and closed, with one thing
 * wrong in it, drawn by a seed. Reading it either refuses, or gives the state of a beginning of what
 * was appended; and all of it, unless the end of the last segment is gone with everything that could
 * have told of it. With several things wrong it still never gives a wrong state.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"
#include "test_journal_fixture.h"
#include "transport/file.h"
#include "transport/journal_file.h"
#include "transport/journal_folder.h"

#define SEEDS 1200u
#define FILES 4u
#define LAST_SEGMENT 1u /* in `names` */
#define LAST_SEQ 70u

static const char *const names[FILES] = {
	"segment-00000000000000000041", "segment-00000000000000000061",
	"snapshot-00000000000000000040", "snapshot-00000000000000000060"};

enum damage {
	FLIP,
	ZERO_SECTOR,
	ZERO_BLOCK,
	MISDIRECT, /* a block of some file over one of another */
	MISNAME,   /* a file's contents under another's name */
	GARBAGE,   /* behind the end */
	TRUNCATE,
	DELETE,
	DAMAGES,
};

struct folder {
	char path[64];
	struct gw_journal_bytes whole[FILES];
	struct gw_journal_bytes files[FILES]; /* bytes NULL: deleted */
	bool written[FILES];                  /* so they stand on disk */
};

static int set_up(void **state)
{
	struct folder *folder = calloc(1, sizeof(*folder));
	const char *golden = getenv("GODWIT_GOLDEN");
	const char *temporary = getenv("TMPDIR");
	char path[512];

	if (!folder || !golden)
		return -1;
	for (size_t i = 0; i < FILES; i++) {
		(void)snprintf(path, sizeof(path), "%s/journal/v1/%s", golden, names[i]);
		if (gw_journal_bytes_read(path, false, &folder->whole[i]) != 0)
			return -1;
	}
	(void)snprintf(folder->path, sizeof(folder->path), "%s/damage-XXXXXX",
		       temporary && strlen(temporary) < 32 ? temporary : "/tmp");
	*state = folder;
	return mkdtemp(folder->path) ? 0 : -1;
}

static void copy(struct gw_journal_bytes *to, const struct gw_journal_bytes *from)
{
	free(to->bytes);
	to->size = from->size;
	to->bytes = malloc(from->size + GW_JOURNAL_BLOCK); /* room for garbage */
	assert_non_null(to->bytes);
	memcpy(to->bytes, from->bytes, from->size);
}

static bool is_whole(const struct folder *folder, size_t i)
{
	const struct gw_journal_bytes *file = &folder->files[i];

	return file->bytes && file->size == folder->whole[i].size &&
	       memcmp(file->bytes, folder->whole[i].bytes, file->size) == 0;
}

static void mend(struct folder *folder)
{
	for (size_t i = 0; i < FILES; i++) {
		if (is_whole(folder, i))
			continue;
		copy(&folder->files[i], &folder->whole[i]);
		folder->written[i] = false;
	}
}

static int tear_down(void **state)
{
	struct folder *folder = *state;
	char path[128];

	for (size_t i = 0; i < FILES; i++) {
		gw_journal_bytes_deinit(&folder->whole[i]);
		gw_journal_bytes_deinit(&folder->files[i]);
		(void)snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
		(void)unlink(path);
	}
	(void)snprintf(path, sizeof(path), "%s/" GW_JOURNAL_MARK_NAME, folder->path);
	(void)unlink(path);
	(void)rmdir(folder->path);
	free(folder);
	return 0;
}

static size_t below(struct gw_prng *prng, size_t bound)
{
	return (size_t)gw_prng_below(prng, bound);
}

static void damage(struct folder *folder, struct gw_prng *prng, enum damage what, size_t victim)
{
	struct gw_journal_bytes *file = &folder->files[victim];
	const struct gw_journal_bytes *other =
		&folder->whole[(victim + 1 + below(prng, FILES - 1)) % FILES];
	size_t block = below(prng, file->size / GW_JOURNAL_BLOCK) * GW_JOURNAL_BLOCK;
	size_t sector = block + below(prng, 8) * 512;

	folder->written[victim] = false;
	switch (what) {
	case FLIP:
		file->bytes[below(prng, file->size)] ^= (uint8_t)(1u << below(prng, 8));
		break;
	case ZERO_SECTOR:
		memset(file->bytes + sector, 0, 512);
		break;
	case ZERO_BLOCK:
		memset(file->bytes + block, 0, GW_JOURNAL_BLOCK);
		break;
	case MISDIRECT:
		memcpy(file->bytes + block,
		       other->bytes +
			       below(prng, other->size / GW_JOURNAL_BLOCK) * GW_JOURNAL_BLOCK,
		       GW_JOURNAL_BLOCK);
		break;
	case MISNAME:
		copy(file, other);
		break;
	case GARBAGE:
		for (size_t i = 0; i < 700; i++)
			file->bytes[file->size++] = (uint8_t)gw_prng_next(prng);
		break;
	case TRUNCATE:
		file->size = below(prng, file->size);
		break;
	case DELETE:
		gw_journal_bytes_deinit(file);
		break;
	case DAMAGES:
		break;
	}
}

static int take(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_node *node = context;

	return snapshot ? gw_node_restore(node, bytes, size)
			: gw_node_apply(node, seq, bytes, size);
}

/* Reads the folder as it is now. 0 or -EUCLEAN, and no other answer. */
static int read_back(struct folder *folder, struct tally *tally, uint64_t seed)
{
	struct gw_journal_found found;
	struct gw_fault fault = {.text = ""};
	char path[128];
	int error;

	for (size_t i = 0; i < FILES; i++) {
		if (folder->written[i])
			continue;
		folder->written[i] = true;
		(void)snprintf(path, sizeof(path), "%s/%s", folder->path, names[i]);
		(void)unlink(path); /* a file cut to be written anew is flushed by some disks */
		if (folder->files[i].bytes) {
			FILE *file = fopen(path, "wb");

			assert_non_null(file);
			assert_int_equal(
				fwrite(folder->files[i].bytes, 1, folder->files[i].size, file),
				folder->files[i].size);
			assert_int_equal(fclose(file), 0);
		}
	}
	tally_init(tally, 0);
	error = gw_journal_file_read(folder->path, take, &tally->node, &found, &fault);
	if (error != 0 && (error != -EUCLEAN || strlen(fault.text) < 40))
		fail_msg("seed %llu: %d: %s", (unsigned long long)seed, error, fault.text);
	if (error == 0 &&
	    (tally->seq != found.last_seq || tally->digest != tally_digest_of(found.last_seq)))
		fail_msg("seed %llu: a wrong state", (unsigned long long)seed);
	return error;
}

/* As a later version keeps it beside these files. */
static void mark_write(struct folder *folder)
{
	struct gw_journal_header header = {.kind = GW_JOURNAL_MARK, .seq = LAST_SEQ};
	struct gw_buf block;
	struct gw_fault fault;
	char path[128];

	memcpy(header.id.id.bytes, folder->whole[0].bytes + 16, GW_ID_BYTES);
	gw_buf_init(&block, GW_JOURNAL_BLOCK);
	assert_int_equal(gw_journal_header_encode(&header, &block), 0);
	(void)snprintf(path, sizeof(path), "%s/" GW_JOURNAL_MARK_NAME, folder->path);
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &fault), 0);
	gw_buf_deinit(&block);
}

/* How often less than all was read and nothing was said. */
static uint32_t damage_one(struct folder *folder)
{
	uint32_t refused[DAMAGES] = {0};
	uint32_t complete[DAMAGES] = {0};
	uint32_t shortened = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct gw_prng prng;
		struct tally tally;
		enum damage what = (enum damage)(seed % DAMAGES);
		size_t victim;

		gw_prng_init(&prng, seed);
		victim = below(&prng, FILES);
		mend(folder);
		damage(folder, &prng, what, victim);
		if (read_back(folder, &tally, seed) != 0)
			refused[what]++;
		else if (tally.seq == LAST_SEQ)
			complete[what]++;
		else if (victim == LAST_SEGMENT && (what == TRUNCATE || what == DELETE))
			shortened++;
		else
			fail_msg("seed %llu: damage %d of %s lost records up to %u, and only %llu "
				 "are there",
				 (unsigned long long)seed, what, names[victim], LAST_SEQ,
				 (unsigned long long)tally.seq);
	}
	/* What goes missing alone is in the older generation too, or nothing tells of it. */
	for (uint32_t i = 0; i < DAMAGES; i++) {
		if (i != TRUNCATE && i != DELETE)
			assert_int_equal(refused[i] > 0, i <= MISNAME);
		assert_true(complete[i] > 0);
	}
	return shortened;
}

static void one_thing_wrong(void **state)
{
	assert_true(damage_one(*state) > 0);
}

static void one_thing_wrong_beside_a_mark(void **state)
{
	mark_write(*state);
	assert_int_equal(damage_one(*state), 0);
}

static void several_things_wrong(void **state)
{
	struct folder *folder = *state;
	uint32_t refused = 0;
	uint32_t read = 0;

	for (uint64_t seed = 1; seed <= SEEDS / 3; seed++) {
		struct gw_prng prng;
		struct tally tally;
		size_t count;

		gw_prng_init(&prng, SEEDS + seed);
		mend(folder);
		count = 2 + below(&prng, 3);
		for (size_t i = 0; i < count; i++) {
			size_t victim = below(&prng, FILES);

			if (folder->files[victim].size >= GW_JOURNAL_BLOCK)
				damage(folder, &prng, (enum damage)below(&prng, DAMAGES), victim);
		}
		if (read_back(folder, &tally, SEEDS + seed) != 0)
			refused++;
		else
			read++;
	}
	assert_true(refused > 0);
	assert_true(read > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_thing_wrong, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_thing_wrong_beside_a_mark, set_up, tear_down),
		cmocka_unit_test_setup_teardown(several_things_wrong, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
