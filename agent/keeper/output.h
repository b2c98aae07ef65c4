/*
 * One stream of a task's output on disk: equal segments, the oldest removed when there would be
 * more than GW_OUTPUT_SEGMENTS. Every byte keeps its absolute offset in the stream for ever, so a
 * reader that comes late is told what it missed. A segment's name is its stream and offset,
 * "1.0000000000004000"; what is on disk after a restart says all.
 */
#ifndef GODWIT_AGENT_KEEPER_OUTPUT_H
#define GODWIT_AGENT_KEEPER_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GW_OUTPUT_SEGMENTS 4u
#define GW_OUTPUT_BYTES_DEFAULT (16ull << 20)
#define GW_OUTPUT_BYTES_MIN (64ull << 10)
#define GW_OUTPUT_BYTES_MAX (1ull << 40)

struct gw_output {
	int folder_fd;   /* of the attempt; not owned */
	int fd;          /* segment being written, or -1 */
	uint32_t number; /* 1 stdout, 2 stderr */
	uint64_t segment_bytes;
	uint64_t first_offset; /* of the oldest byte kept; a multiple of segment_bytes */
	uint64_t end_offset;   /* bytes written so far, kept or not */
	uint64_t lost_bytes;   /* that the disk refused; they have no offset */
};

/* A new stream that keeps at most bytes_max, or the default for 0. */
void gw_output_init(struct gw_output *output, int folder_fd, uint32_t number, uint64_t bytes_max);
void gw_output_deinit(struct gw_output *output);
/* After init: takes up what an earlier keeper left in the folder. 0; negative errno. */
int gw_output_load(struct gw_output *output);

/*
 * Where the next bytes go: opens (and rotates) as needed. ret_room > 0 bytes fit there.
 * 0; negative errno of the disk.
 */
int gw_output_place(struct gw_output *output, int *ret_fd, uint64_t *ret_file_offset,
		    size_t *ret_room);
/* `size` bytes were written at that place. */
void gw_output_wrote(struct gw_output *output, size_t size);

/* Reads from the first kept byte at or after `offset`. ret_offset: of the first byte read. Gives
 * the bytes read (0: none there yet) or negative errno. */
ssize_t gw_output_read(const struct gw_output *output, uint64_t offset, uint8_t *ret_bytes,
		       size_t size, uint64_t *ret_offset);
uint64_t gw_output_kept_bytes(const struct gw_output *output);

#endif
