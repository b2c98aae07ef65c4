/*
 * The keeper's folder. What is written is durable when the call returns: a record goes to a new
 * file, is synced, takes the old one's name, and the folder is synced.
 *
 *	STATE/lock              held while a keeper lives; its pid inside
 *	STATE/fences            (job, task, attempt): this attempt and older ones never start here
 *	STATE/attempts/ID/      record, and the output's segments
 *	STATE/work/ID/          working folder of a task that named none
 *	STATE/trash/            on its way out
 */
#ifndef GODWIT_AGENT_KEEPER_STORE_H
#define GODWIT_AGENT_KEEPER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/base/id.h"

#define GW_STORE_NAME_BYTES 64u /* longest text of an attempt, NUL included */
#define GW_STORE_RECORD_BYTES_MAX (64u << 10)

struct gw_store {
	int folder_fd;
	int lock_fd;
	int attempts_fd;
	int work_fd;
	int trash_fd;
	int fences_fd;        /* grows by whole entries */
	uint64_t trash_count; /* names given out in trash */
	pid_t emptying;       /* find at work on trash, or 0 */
	bool empty_again;     /* something came since it started */
	uint64_t device;      /* these two name the folder on this host */
	uint64_t inode;
};

/* "job.task.attempt", job in hexadecimal. `ret_name` has GW_STORE_NAME_BYTES. */
void gw_store_name(const struct gw_attempt_id *id, char *ret_name);
bool gw_store_parse_name(const char *name, struct gw_attempt_id *ret_id);

/*
 * Makes and opens the folder, which must be the caller's own and closed to others. 0; negative
 * errno with a sentence; -EBUSY: another keeper holds it.
 */
int gw_store_open(struct gw_store *store, const char *path, char *ret_error, size_t error_size);
void gw_store_close(struct gw_store *store);

/* The attempt's folder, made if absent, synced into its parent. Descriptor; negative errno. */
int gw_store_make(struct gw_store *store, const struct gw_attempt_id *id);
int gw_store_open_attempt(const struct gw_store *store, const struct gw_attempt_id *id);
/* Its working folder, made if absent. Descriptor; negative errno. */
int gw_store_make_work(struct gw_store *store, const struct gw_attempt_id *id);
int gw_store_write(int attempt_fd, const uint8_t *record, size_t size);
/* Puts the next write's bytes aside, so that a disk which is full by then takes it all the same. 0;
 * negative errno. */
int gw_store_reserve(int attempt_fd, size_t size);
/* Reads the record into ret_record [GW_STORE_RECORD_BYTES_MAX]. 0; negative errno. */
int gw_store_read(int attempt_fd, uint8_t *ret_record, size_t *ret_size);
/* Moves all of it out of sight at once; the bytes go by and by. 0; negative errno. */
int gw_store_remove(struct gw_store *store, const struct gw_attempt_id *id);
/* A child that was not an attempt's ended: it may have been the store's find. */
void gw_store_reaped(struct gw_store *store, pid_t pid);
/* Somebody removed the folder under us: nothing can be kept in it any more. */
bool gw_store_gone(const struct gw_store *store);
/* Calls `found` for each attempt on disk. 0; negative errno. */
int gw_store_each(const struct gw_store *store,
		  void (*found)(void *data, const struct gw_attempt_id *id), void *data);

/* Appends one fence. 0; negative errno. */
int gw_store_fence(struct gw_store *store, const struct gw_attempt_id *id);
/* Reads all fences, oldest first. 0; negative errno. */
int gw_store_each_fence(const struct gw_store *store,
			void (*found)(void *data, const struct gw_attempt_id *id), void *data);
/* Replaces the file by these [count]. 0; negative errno. */
int gw_store_rewrite_fences(struct gw_store *store, const struct gw_attempt_id *ids, size_t count);

#endif
