/*
 * A simulated disk: a folder of files as a process sees them, and what of them would be there after
 * a power cut. Writes and changes of the folder last once synced; until then a power cut keeps,
 * drops or tears them by the sector, and undoes the newest changes of the folder. It can be slow or
 * full, fail a sync (the pages then count as clean: a later sync does not bring them to the disk,
 * as in Linux), say synced of what is not, write to the wrong place, and lose a bit.
 */
#ifndef GODWIT_BENCH_SIM_DISK_H
#define GODWIT_BENCH_SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sim/world.h"
#include "proto/base/buf.h"

#define SIM_SECTOR_BYTES 512u
#define SIM_FILE_NAME_BYTES 40u

/* What a write replaced, until it is durable. */
struct sim_undo {
	struct sim_undo *next; /* an older one */
	uint64_t offset;
	uint64_t old_size;  /* of the file */
	uint32_t size;      /* written */
	uint32_t old_bytes; /* of them there were so many before */
	bool clean;         /* its sync failed: no later one counts */
	uint8_t old[];
};

struct sim_file {
	struct sim_file *next;
	char name[SIM_FILE_NAME_BYTES];
	struct gw_buf bytes;    /* as it reads now */
	struct sim_undo *undos; /* newest first */
};

/* A change of the folder that is not durable yet. */
struct sim_move {
	struct sim_move *next;          /* an older one */
	char from[SIM_FILE_NAME_BYTES]; /* "": the file was made */
	char to[SIM_FILE_NAME_BYTES];   /* "": it was removed */
	struct sim_file *gone;          /* what `to` or the removal displaced; NULL: nothing */
};

struct sim_disk {
	struct sim_world *world;
	const char *name; /* for the transcript */
	struct sim_file *files;
	struct sim_move *moves; /* newest first */
	uint64_t write_us_max;  /* a write and its sync take up to this */
	uint64_t slow_us;       /* and this besides, while it is slow */
	uint64_t
		misdirect_bytes; /* the next write lands so far before its place; 0: where it should */
	bool full;
	bool sync_fails; /* the next one, once */
	bool sync_lies;
	bool lied;           /* of what is written, some was called synced and was not */
	bool damaged;        /* a bit was lost, or a write went astray */
	uint64_t lost_bytes; /* by power cuts: written and not there any more */
};

void sim_disk_init(struct sim_disk *disk, struct sim_world *world, const char *name);
void sim_disk_deinit(struct sim_disk *disk);

/* How long the next write with its sync takes. */
uint64_t sim_disk_delay_us(struct sim_disk *disk);

/* By name; NULL: there is none. */
struct sim_file *sim_disk_find(const struct sim_disk *disk, const char *name);
/* Makes it if it is not there. NULL: the disk is full. */
struct sim_file *sim_disk_open(struct sim_disk *disk, const char *name);
/* Over what is there, and beyond. 0; -ENOSPC, nothing written. */
int sim_disk_write(struct sim_disk *disk, struct sim_file *file, uint64_t offset,
		   const uint8_t *bytes, size_t size);
/* Cuts the file to `size`, durably: the only caller cuts a tail and syncs. */
void sim_disk_cut(struct sim_disk *disk, struct sim_file *file, uint64_t size);
/* 0: all that was written to the file lasts, if the disk is honest; -EIO. */
int sim_disk_sync(struct sim_disk *disk, struct sim_file *file);
/* At a start: what reads from now on lasts, and comes from the disk rather than from pages whose
 * sync failed. 0; -EIO. */
int sim_disk_settle(struct sim_disk *disk, struct sim_file *file);
/* What stands under `to` is displaced. */
void sim_disk_rename(struct sim_disk *disk, const char *from, const char *to);
void sim_disk_remove(struct sim_disk *disk, const char *name);
/* The same for the changes of the folder. */
int sim_disk_sync_folder(struct sim_disk *disk);

/* What was not durable is kept, dropped or torn. */
void sim_disk_power_cut(struct sim_disk *disk);
/* Flips a bit of what is stored, the `which`-th modulo all. False: nothing is stored. */
bool sim_disk_rot(struct sim_disk *disk, uint64_t which);
uint64_t sim_disk_bytes(const struct sim_disk *disk);

#endif
