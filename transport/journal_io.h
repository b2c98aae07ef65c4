/*
 * One write at a time that lasts when it is reported: the bytes, then fdatasync of their file, then,
 * when a name in the folder is new, fsync of the folder. Through io_uring as linked requests; where
 * the kernel refuses io_uring, pwrite and fdatasync on a thread beside the loop.
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_IO_H
#define GODWIT_TRANSPORT_JOURNAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_reactor;
struct gw_journal_io;

struct gw_journal_write {
	int fd;
	int folder_fd; /* -1: no name is new */
	uint64_t offset;
	const uint8_t *bytes; /* must stay until it is reported */
	size_t size;
};

/* Both 0: it lasts. `write_error`: negative errno, nothing was synced and the same write may be asked
 * for again. `sync_error`: nobody knows what lasts, and asking again would be answered with 0 for
 * pages that the kernel has thrown away: the file must not be written any more. */
struct gw_journal_written {
	int write_error;
	int sync_error;
};

/* From the loop, never from within gw_journal_io_write. May ask for the next write. */
typedef void gw_journal_written_f(void *context, const struct gw_journal_written *written);

/* `plain`: no io_uring though it may be there. 0; negative errno. */
int gw_journal_io_new(struct gw_reactor *reactor, bool plain, gw_journal_written_f *written,
		      void *context, struct gw_journal_io **ret_io);
/* None may be in flight. */
struct gw_journal_io *gw_journal_io_free(struct gw_journal_io *io);
bool gw_journal_io_plain(const struct gw_journal_io *io);
/* None may be in flight. 0: it will be reported; negative errno: it will not. */
int gw_journal_io_write(struct gw_journal_io *io, const struct gw_journal_write *write);
/* Blocks until nothing is in flight; what was is reported from here. */
void gw_journal_io_wait(struct gw_journal_io *io);

#endif
