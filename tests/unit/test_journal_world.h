/*
 * For tests of the journal of a folder, on a real disk: one journal with the counting core, and what a
 * test does with it. Writes and syncs of the plain path, and fork, are intercepted, so that they fail
 * when a test wants it.
 */
#ifndef GODWIT_TESTS_JOURNAL_WORLD_H
#define GODWIT_TESTS_JOURNAL_WORLD_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "test_journal_fixture.h"
#include "transport/journal_file.h"
#include "transport/journal_folder.h"
#include "transport/reactor.h"

#define DEADLINE_US (20 * GW_US_PER_S)

extern struct disk {
	atomic_llong room;      /* no file may grow beyond it */
	atomic_int write_error; /* of each pwrite, positive; 0: as it comes */
	atomic_int sync_error;
	sem_t sync_gate; /* syncs of this process wait for it while they are held */
	pid_t sync_held;
	bool fork_fails;
} disk;

struct world {
	struct gw_reactor *reactor;
	char directory[64]; /* removed afterwards, with what is in it */
	char folder[80];    /* the journal */
	struct tally tally;
	struct gw_journal_file *file;
	struct gw_journal *journal;
	struct gw_journal_found found;
	struct gw_fault fault;
	uint64_t appended;
	uint64_t durable;
	int failed;
	char failed_text[2000];
};

int world_set_up(void **state);
int world_tear_down(void **state);

/* 0; negative errno with the sentence in world->fault. */
int world_open_as(struct world *world, bool plain, uint64_t snapshot_bytes);
void world_open_good(struct world *world, bool plain);
void world_close(struct world *world);
int world_append_one(struct world *world);
void world_append(struct world *world, uint32_t count);
void world_turn(struct world *world);
/* Until all that was appended lasts. */
void world_settle(struct world *world);
/* In so many batches. */
void world_append_batches(struct world *world, uint32_t batches, uint32_t records);
void world_snapshot(struct world *world);

void world_path_of(const struct world *world, enum gw_journal_kind kind, uint64_t seq,
		   char ret_path[160]);
bool world_is_there(const struct world *world, enum gw_journal_kind kind, uint64_t seq);
void world_each_file(const char *folder, void (*call)(const char *path, void *context),
		     void *context);
/* Flips a bit of the byte at `at`; twice is never. */
void world_damage(const struct world *world, enum gw_journal_kind kind, uint64_t seq, off_t at);
/* Opening is refused with this error and text, and changes nothing. */
void world_refused(struct world *world, int error, const char *text);
void world_mark_path(const struct world *world, char ret_path[160]);
void world_mark_remove(const struct world *world);
uint64_t world_mark_of(struct world *world);

#endif
