/*
 * Small files read whole and written whole: a write is a new file that takes the old one's place,
 * on disk before its name is. Secrets are only read from a regular file of mode 0600 (or less) that
 * belongs to the reader, never through a symbolic link.
 */
#ifndef GODWIT_TRANSPORT_FILE_H
#define GODWIT_TRANSPORT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/fault.h"

#define GW_PATH_BYTES 1024u /* longest path that we make, NUL included */

/* 0; -EPERM: `secret` and not kept like one; -EFBIG: more than `bytes_max`; other negative errno.
 * ret_bytes has bytes_max. */
int gw_file_read(const char *path, bool secret, size_t bytes_max, void *ret_bytes, size_t *ret_size,
		 struct gw_fault *fault);
/* `keep`: -EEXIST when the file is there, also when two write at once. */
int gw_file_write(const char *path, mode_t mode, bool keep, const void *bytes, size_t size,
		  struct gw_fault *fault);
/* Both names in one file system; the new name lasts when it returns. 0; negative errno. */
int gw_file_rename(const char *from, const char *to);
/*
 * Takes directory/lock for as long as this process lives: of two daemons on one state folder the
 * second is refused. A record lock, since children do not inherit it and the kernel names its
 * holder; it ends when any descriptor of the file is closed, so the file is opened nowhere else. 0;
 * -EBUSY with the holder's pid in the sentence; other negative errno.
 */
int gw_file_lock(const char *directory, struct gw_fault *fault);
/* "directory/name" as text; -ENAMETOOLONG. */
int gw_file_path(char *ret_path, size_t path_bytes, const char *directory, const char *name);

#endif
