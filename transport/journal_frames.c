/*
 * Frames gather in a buffer of one chunk, which is hashed and written when it is full.
 */
#include "transport/journal_frames.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "transport/replica.h"

#define MAGIC "GWFRAMES"
#define MAGIC_BYTES 8u

struct writing {
	int fd;
	uint64_t size; /* written and in the buffer */
	size_t filled;
	uint8_t hash[GW_LAYOUT_HASH_BYTES];
	uint8_t chunk[GW_REPLICA_CHUNK_BYTES];
};

static int write_out(struct writing *writing)
{
	int error = gw_journal_snapshot_put(writing->fd, writing->chunk, writing->filled);

	if (writing->filled > 0)
		gw_layout_hash(writing->hash, writing->chunk, writing->filled);
	writing->filled = 0;
	return error;
}

static int put(struct writing *writing, const uint8_t *bytes, size_t size)
{
	int error = 0;

	while (size > 0 && error == 0) {
		size_t room = sizeof(writing->chunk) - writing->filled;
		size_t part = size < room ? size : room;

		memcpy(writing->chunk + writing->filled, bytes, part);
		writing->filled += part;
		writing->size += part;
		bytes += part;
		size -= part;
		if (writing->filled == sizeof(writing->chunk))
			error = write_out(writing);
	}
	return error;
}

static int piece_write(void *context, const uint8_t *bytes, size_t size)
{
	uint8_t frame[GW_LAYOUT_FRAME_BYTES];
	int error;

	gw_layout_frame(size, frame);
	error = put(context, frame, sizeof(frame));
	return error < 0 ? error : put(context, bytes, size);
}

static int file_write(const void *context, int fd, const struct gw_node *node)
{
	struct writing *writing = calloc(1, sizeof(*writing));
	uint8_t end[GW_JOURNAL_FRAMES_END_BYTES] = MAGIC;
	uint64_t size;
	int error;

	(void)context;
	if (!writing)
		return -ENOMEM;
	writing->fd = fd;
	error = gw_node_snapshot(node, piece_write, writing);
	if (error == 0)
		error = write_out(writing);
	size = htobe64(writing->size);
	memcpy(end + MAGIC_BYTES, &size, sizeof(size));
	memcpy(end + 16, writing->hash, sizeof(writing->hash));
	free(writing);
	return error < 0 ? error : gw_journal_snapshot_put(fd, end, sizeof(end));
}

static int file_check(const void *context, const char *path)
{
	uint8_t *chunk = malloc(GW_REPLICA_CHUNK_BYTES);
	struct gw_journal_frames frames;
	int error;

	(void)context;
	if (!chunk)
		return -ENOMEM;
	error = gw_journal_frames_open(path, &frames);
	if (error == 0) { /* it was synced, so its pages can be thrown away, and are read anew */
		error = -posix_fadvise(frames.fd, 0, 0, POSIX_FADV_DONTNEED);
		while (error == 0 && frames.read < frames.size) {
			uint64_t left = frames.size - frames.read;

			error = gw_journal_frames_read(&frames, chunk,
						       left < GW_REPLICA_CHUNK_BYTES
							       ? (size_t)left
							       : GW_REPLICA_CHUNK_BYTES);
		}
		gw_journal_frames_close(&frames);
	}
	free(chunk);
	return error;
}

const struct gw_journal_snapshot_form gw_journal_frames_form = {.write = file_write,
								.check = file_check};

static int read_at(int fd, uint64_t offset, uint8_t *bytes, size_t size)
{
	while (size > 0) {
		ssize_t got = pread(fd, bytes, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EUCLEAN; /* it became shorter */
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

static int end_read(struct gw_journal_frames *frames)
{
	uint8_t end[GW_JOURNAL_FRAMES_END_BYTES];
	struct stat status;
	uint64_t size;
	int error;

	if (fstat(frames->fd, &status) < 0)
		return -errno;
	if (status.st_size < (off_t)sizeof(end))
		return -EUCLEAN;
	frames->size = (uint64_t)status.st_size - sizeof(end);
	error = read_at(frames->fd, frames->size, end, sizeof(end));
	if (error < 0)
		return error;
	memcpy(&size, end + MAGIC_BYTES, sizeof(size));
	memcpy(frames->wanted, end + 16, sizeof(frames->wanted));
	return memcmp(end, MAGIC, MAGIC_BYTES) == 0 && be64toh(size) == frames->size ? 0 : -EUCLEAN;
}

int gw_journal_frames_open(const char *path, struct gw_journal_frames *ret_frames)
{
	struct gw_journal_frames frames = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
	int error = frames.fd < 0 ? -errno : end_read(&frames);

	if (error < 0)
		gw_journal_frames_close(&frames);
	else
		*ret_frames = frames;
	return error;
}

void gw_journal_frames_close(struct gw_journal_frames *frames)
{
	if (frames->fd >= 0)
		(void)close(frames->fd); /* only read */
	frames->fd = -1;
}

int gw_journal_frames_read(struct gw_journal_frames *frames, uint8_t *ret_bytes, size_t size)
{
	int error;

	CHECK(size <= GW_REPLICA_CHUNK_BYTES);
	CHECK(size <= frames->size - frames->read);
	error = read_at(frames->fd, frames->read, ret_bytes, size);
	if (error < 0)
		return error;
	gw_layout_hash(frames->hash, ret_bytes, size);
	frames->read += size;
	return frames->read < frames->size ||
			       memcmp(frames->hash, frames->wanted, sizeof(frames->hash)) == 0
		       ? 0
		       : -EUCLEAN;
}
