/*
 * One image of each file, as it reads now, and a list of what writes replaced: the durable image is
 * the former with the latter undone. A journal's writes are synced soon, so the list is short.
 */
#include "bench/sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

#define FILE_BYTES_MAX ((size_t)1 << 30)
#define WRITE_US_MIN 50u

enum cut_mode {
	CUT_DROPS,
	CUT_KEEPS,
	CUT_TEARS,
};

void sim_disk_init(struct sim_disk *disk, struct sim_world *world, const char *name)
{
	*disk = (struct sim_disk){.world = world, .name = name};
}

static void drop_undos(struct sim_file *file)
{
	while (file->undos) {
		struct sim_undo *undo = file->undos;

		file->undos = undo->next;
		free(undo);
	}
}

static struct sim_file *file_free(struct sim_file *file)
{
	if (!file)
		return NULL;
	drop_undos(file);
	gw_buf_deinit(&file->bytes);
	free(file);
	return NULL;
}

static void drop_moves(struct sim_disk *disk)
{
	while (disk->moves) {
		struct sim_move *move = disk->moves;

		disk->moves = move->next;
		(void)file_free(move->gone);
		free(move);
	}
}

void sim_disk_deinit(struct sim_disk *disk)
{
	drop_moves(disk);
	while (disk->files) {
		struct sim_file *file = disk->files;

		disk->files = file->next;
		(void)file_free(file);
	}
}

uint64_t sim_disk_delay_us(struct sim_disk *disk)
{
	uint64_t us = sim_between(disk->world, WRITE_US_MIN, disk->write_us_max);

	return us + sim_between(disk->world, disk->slow_us / 2, disk->slow_us);
}

struct sim_file *sim_disk_find(const struct sim_disk *disk, const char *name)
{
	for (struct sim_file *file = disk->files; file; file = file->next) {
		if (strcmp(file->name, name) == 0)
			return file;
	}
	return NULL;
}

static void set_name(char *name, const char *from)
{
	size_t size = strlen(from) + 1;

	CHECK(size <= SIM_FILE_NAME_BYTES);
	memcpy(name, from, size);
}

static void note_move(struct sim_disk *disk, const char *from, const char *to,
		      struct sim_file *gone)
{
	struct sim_move *move = calloc(1, sizeof(*move));

	CHECK(move);
	set_name(move->from, from);
	set_name(move->to, to);
	move->gone = gone;
	move->next = disk->moves;
	disk->moves = move;
}

struct sim_file *sim_disk_open(struct sim_disk *disk, const char *name)
{
	struct sim_file *file = sim_disk_find(disk, name);

	if (file)
		return file;
	if (disk->full) {
		disk->world->coverage.seen[SIM_SAW_WRITE_REFUSED]++;
		return NULL;
	}
	file = calloc(1, sizeof(*file));
	CHECK(file);
	set_name(file->name, name);
	gw_buf_init(&file->bytes, FILE_BYTES_MAX);
	file->next = disk->files;
	disk->files = file;
	note_move(disk, "", name, NULL);
	return file;
}

/* Takes it out of the folder; NULL: it is not there. */
static struct sim_file *take_file(struct sim_disk *disk, const char *name)
{
	for (struct sim_file **at = &disk->files; *at; at = &(*at)->next) {
		struct sim_file *file = *at;

		if (strcmp(file->name, name) == 0) {
			*at = file->next;
			return file;
		}
	}
	return NULL;
}

void sim_disk_rename(struct sim_disk *disk, const char *from, const char *to)
{
	struct sim_file *gone = take_file(disk, to);
	struct sim_file *file = sim_disk_find(disk, from);

	CHECK(file);
	set_name(file->name, to);
	note_move(disk, from, to, gone);
}

void sim_disk_remove(struct sim_disk *disk, const char *name)
{
	struct sim_file *file = take_file(disk, name);

	CHECK(file);
	note_move(disk, name, "", file);
}

static void grow(struct sim_file *file, uint64_t size)
{
	uint64_t more = size > file->bytes.size ? size - file->bytes.size : 0;
	void *room = gw_buf_grow(&file->bytes, more);

	CHECK(room || more == 0);
	if (more > 0)
		memset(room, 0, more);
}

static void note_undo(struct sim_file *file, uint64_t offset, size_t size)
{
	uint64_t there = file->bytes.size > offset ? file->bytes.size - offset : 0;
	uint32_t old_bytes = (uint32_t)(there < size ? there : size);
	struct sim_undo *undo = malloc(sizeof(*undo) + old_bytes);

	CHECK(undo);
	*undo = (struct sim_undo){.next = file->undos,
				  .offset = offset,
				  .old_size = file->bytes.size,
				  .size = (uint32_t)size,
				  .old_bytes = old_bytes};
	if (old_bytes > 0)
		memcpy(undo->old, file->bytes.bytes + offset, old_bytes);
	/* A page written again is dirty again, so the next sync counts for it. */
	for (struct sim_undo *older = file->undos; older; older = older->next) {
		if (older->offset < offset + size && offset < older->offset + older->size)
			older->clean = false;
	}
	file->undos = undo;
}

int sim_disk_write(struct sim_disk *disk, struct sim_file *file, uint64_t offset,
		   const uint8_t *bytes, size_t size)
{
	if (disk->full) {
		disk->world->coverage.seen[SIM_SAW_WRITE_REFUSED]++;
		return -ENOSPC;
	}
	if (size == 0)
		return 0;
	if (disk->misdirect_bytes > 0 && offset > 0) {
		sim_say(disk->world, disk->name, "a write lands at the wrong place");
		offset -= disk->misdirect_bytes < offset ? disk->misdirect_bytes : offset;
		disk->misdirect_bytes = 0;
		disk->damaged = true;
	}
	note_undo(file, offset, size);
	grow(file, offset + size);
	memcpy(file->bytes.bytes + offset, bytes, size);
	return 0;
}

void sim_disk_cut(struct sim_disk *disk, struct sim_file *file, uint64_t size)
{
	(void)disk; /* a lie about a cut changes nothing: the tail is cut again at the next start */
	CHECK(size <= file->bytes.size);
	file->bytes.size = size;
	for (struct sim_undo **at = &file->undos; *at;) {
		struct sim_undo *undo = *at;

		if (undo->old_size > size)
			undo->old_size = size;
		if (undo->offset < size) {
			at = &undo->next;
			continue;
		}
		*at = undo->next;
		free(undo);
	}
}

/* True: the sync fails, this once. */
static bool fail_sync(struct sim_disk *disk)
{
	if (!disk->sync_fails)
		return false;
	disk->sync_fails = false;
	disk->world->coverage.seen[SIM_SAW_SYNC_FAILED]++;
	sim_say(disk->world, disk->name, "a sync fails");
	return true;
}

int sim_disk_sync(struct sim_disk *disk, struct sim_file *file)
{
	bool fails = fail_sync(disk);

	if (!fails && disk->sync_lies) {
		disk->lied = true;
		return 0;
	}
	for (struct sim_undo **at = &file->undos; *at;) {
		struct sim_undo *undo = *at;

		if (fails || undo->clean) {
			undo->clean = true;
			at = &undo->next;
			continue;
		}
		*at = undo->next;
		free(undo);
	}
	return fails ? -EIO : 0;
}

int sim_disk_sync_folder(struct sim_disk *disk)
{
	if (fail_sync(disk))
		return -EIO;
	if (disk->sync_lies)
		disk->lied = true;
	else
		drop_moves(disk);
	return 0;
}

/* --- power cuts --- */

/* The newest changes of the folder did not last. */
static void undo_move(struct sim_disk *disk, const struct sim_move *move)
{
	if (move->to[0] != '\0') {
		struct sim_file *file = take_file(disk, move->to);

		CHECK(file);
		if (move->from[0] == '\0') {
			(void)file_free(file);
		} else {
			set_name(file->name, move->from);
			file->next = disk->files;
			disk->files = file;
		}
	}
	if (move->gone) {
		move->gone->next = disk->files;
		disk->files = move->gone;
	}
}

static void cut_folder(struct sim_disk *disk)
{
	uint64_t count = 0;
	uint64_t undone;

	for (const struct sim_move *move = disk->moves; move; move = move->next)
		count++;
	undone = sim_between(disk->world, 0, count);
	for (; undone > 0; undone--) {
		struct sim_move *move = disk->moves;

		disk->moves = move->next;
		undo_move(disk, move);
		free(move);
	}
	drop_moves(disk);
}

/* All that was written to a sector since it was last durable is there, or none of it. */
static bool sector_lasts(uint64_t salt, uint64_t sector, enum cut_mode mode)
{
	uint64_t mixed = (sector ^ salt) * 0x9e3779b97f4a7c15ull;

	if (mode != CUT_TEARS)
		return mode == CUT_KEEPS;
	return (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ull >> 63;
}

/* Puts back what the sectors that did not last held before, and returns up to where the file
 * reaches by those that did. */
static uint64_t undo_write(struct sim_disk *disk, struct sim_file *file,
			   const struct sim_undo *undo, uint64_t salt, enum cut_mode mode)
{
	uint64_t end = undo->offset + undo->size;
	uint64_t reach = undo->old_size;

	for (uint64_t at = undo->offset; at < end;) {
		uint64_t sector = at / SIM_SECTOR_BYTES;
		uint64_t until = (sector + 1) * SIM_SECTOR_BYTES;
		uint64_t place = at - undo->offset;
		uint64_t size;

		if (until > end)
			until = end;
		size = until - at;
		at = until;
		if (sector_lasts(salt, sector, undo->clean ? CUT_DROPS : mode)) {
			if (until > reach)
				reach = until;
			continue;
		}
		disk->lost_bytes += size;
		memset(file->bytes.bytes + undo->offset + place, 0, size);
		if (place < undo->old_bytes)
			memcpy(file->bytes.bytes + undo->offset + place, undo->old + place,
			       size < undo->old_bytes - place ? size : undo->old_bytes - place);
	}
	return reach;
}

static void cut_file(struct sim_disk *disk, struct sim_file *file, enum cut_mode mode)
{
	uint64_t salt = gw_prng_next(&disk->world->prng);
	uint64_t reach = 0;

	if (!file->undos)
		return;
	for (const struct sim_undo *undo = file->undos; undo; undo = undo->next) {
		uint64_t up_to = undo_write(disk, file, undo, salt, mode);

		/* An older write says how long the file was; a newer one, how far it got. */
		if (!undo->next || up_to > undo->old_size)
			reach = up_to > reach ? up_to : reach;
	}
	file->bytes.size = reach < file->bytes.size ? reach : file->bytes.size;
	drop_undos(file);
}

int sim_disk_settle(struct sim_disk *disk, struct sim_file *file)
{
	int error = sim_disk_sync(disk, file);

	if (error == 0 && !disk->sync_lies)
		cut_file(disk, file, CUT_KEEPS); /* those left are clean, and do not last */
	return error;
}

void sim_disk_power_cut(struct sim_disk *disk)
{
	uint64_t before = disk->lost_bytes;

	for (struct sim_file *file = disk->files; file; file = file->next)
		cut_file(disk, file, (enum cut_mode)sim_between(disk->world, CUT_DROPS, CUT_TEARS));
	cut_folder(disk);
	if (disk->lost_bytes > before)
		sim_say(disk->world, disk->name, "the power cut took %llu bytes that were written",
			(unsigned long long)(disk->lost_bytes - before));
}

/* --- */

uint64_t sim_disk_bytes(const struct sim_disk *disk)
{
	uint64_t bytes = 0;

	for (const struct sim_file *file = disk->files; file; file = file->next)
		bytes += file->bytes.size;
	return bytes;
}

bool sim_disk_rot(struct sim_disk *disk, uint64_t which)
{
	uint64_t bits = sim_disk_bytes(disk) * 8;

	if (bits == 0)
		return false;
	which %= bits;
	for (struct sim_file *file = disk->files; file; file = file->next) {
		if (which < file->bytes.size * 8) {
			disk->damaged = true;
			file->bytes.bytes[which / 8] ^= (uint8_t)(1u << which % 8);
			sim_say(disk->world, disk->name, "bit %llu of %s flips",
				(unsigned long long)which, file->name);
			return true;
		}
		which -= file->bytes.size * 8;
	}
	return false;
}
