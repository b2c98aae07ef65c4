/* Segments of one stream. Pure bookkeeping around openat, unlinkat and pread; who writes the bytes,
 * and how, is pump's. */
#include "agent/keeper/output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"

#define NAME_BYTES 24
#define SEGMENT_ALIGN 4096u

static void segment_name(const struct gw_output *output, uint64_t offset, char *ret_name)
{
	(void)snprintf(ret_name, NAME_BYTES, "%" PRIu32 ".%016" PRIx64, output->number, offset);
}

void gw_output_init(struct gw_output *output, int folder_fd, uint32_t number, uint64_t bytes_max)
{
	if (!bytes_max)
		bytes_max = GW_OUTPUT_BYTES_DEFAULT;
	CHECK(bytes_max >= GW_OUTPUT_BYTES_MIN);
	CHECK(bytes_max <= GW_OUTPUT_BYTES_MAX);
	*output = (struct gw_output){
		.folder_fd = folder_fd,
		.fd = -1,
		.number = number,
		.segment_bytes = bytes_max / GW_OUTPUT_SEGMENTS / SEGMENT_ALIGN * SEGMENT_ALIGN,
	};
}

void gw_output_deinit(struct gw_output *output)
{
	if (output->fd >= 0)
		(void)close(output->fd);
	output->fd = -1;
}

static bool parse_name(const struct gw_output *output, const char *name, uint64_t *ret_offset)
{
	char expected[NAME_BYTES];
	uint32_t number;

	if (sscanf(name, "%" SCNu32 ".%" SCNx64, &number, ret_offset) != 2)
		return false;
	segment_name(output, *ret_offset, expected);
	return !strcmp(name, expected) && *ret_offset % output->segment_bytes == 0;
}

int gw_output_load(struct gw_output *output)
{
	int fd = openat(output->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool found = false;

	if (!folder) {
		int result = -errno;

		if (fd >= 0)
			(void)close(fd);
		return result;
	}
	while ((entry = readdir(folder))) {
		uint64_t offset;
		struct stat stat;

		if (!parse_name(output, entry->d_name, &offset) ||
		    fstatat(output->folder_fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW))
			continue;
		if (!found || offset < output->first_offset)
			output->first_offset = offset;
		if (offset + (uint64_t)stat.st_size > output->end_offset)
			output->end_offset = offset + (uint64_t)stat.st_size;
		found = true;
	}
	(void)closedir(folder);
	return 0;
}

static void remove_oldest(struct gw_output *output)
{
	char name[NAME_BYTES];

	segment_name(output, output->first_offset, name);
	(void)unlinkat(output->folder_fd, name, 0); /* a segment that is not there holds nothing */
	output->first_offset += output->segment_bytes;
}

static int next_segment(struct gw_output *output)
{
	char name[NAME_BYTES];

	gw_output_deinit(output);
	while (output->end_offset - output->first_offset >=
	       GW_OUTPUT_SEGMENTS * output->segment_bytes)
		remove_oldest(output);
	segment_name(output, output->end_offset, name);
	output->fd = openat(output->folder_fd, name,
			    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return output->fd < 0 ? -errno : 0;
}

int gw_output_place(struct gw_output *output, int *ret_fd, uint64_t *ret_file_offset,
		    size_t *ret_room)
{
	uint64_t within = output->end_offset % output->segment_bytes;

	if (output->fd < 0 || within == 0) {
		int result = within ? -EBADF : next_segment(output);

		if (result)
			return result;
	}
	*ret_fd = output->fd;
	*ret_file_offset = within;
	*ret_room = output->segment_bytes - within;
	return 0;
}

void gw_output_wrote(struct gw_output *output, size_t size)
{
	CHECK(size <= output->segment_bytes - output->end_offset % output->segment_bytes);
	output->end_offset += size;
}

ssize_t gw_output_read(const struct gw_output *output, uint64_t offset, uint8_t *ret_bytes,
		       size_t size, uint64_t *ret_offset)
{
	uint64_t start;
	uint64_t room;
	char name[NAME_BYTES];
	ssize_t count;
	int fd;

	if (offset < output->first_offset)
		offset = output->first_offset;
	*ret_offset = offset;
	if (offset >= output->end_offset)
		return 0;
	start = offset / output->segment_bytes * output->segment_bytes;
	room = start + output->segment_bytes - offset;
	if (room > output->end_offset - offset)
		room = output->end_offset - offset;
	segment_name(output, start, name);
	fd = openat(output->folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	count = pread(fd, ret_bytes, size < room ? size : room, (off_t)(offset - start));
	if (count < 0)
		count = -errno;
	(void)close(fd);
	return count;
}

uint64_t gw_output_kept_bytes(const struct gw_output *output)
{
	return output->end_offset - output->first_offset;
}
