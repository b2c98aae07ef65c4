/* Reads both blocks and takes the higher; writes over the other one. */
#include "transport/journal_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "transport/file.h"
#include "transport/journal_folder.h"

#define SLOTS 2u

static bool is_blank(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Takes what stands in a slot, if it is higher. NULL, or why it is none. */
static const char *slot_read(const struct gw_journal_bytes *file, uint32_t slot,
			     struct gw_journal_mark *mark, struct gw_journal_scan *scan)
{
	const struct gw_journal_expect expect = {.kind = GW_JOURNAL_MARK};
	size_t offset = (size_t)slot * GW_JOURNAL_BLOCK;
	size_t size = file->size > offset ? file->size - offset : 0;
	struct gw_journal_record record;

	if (size > GW_JOURNAL_BLOCK)
		size = GW_JOURNAL_BLOCK;
	if (is_blank(file->bytes + offset, size))
		return NULL;
	gw_journal_scan_init(scan, file->bytes + offset, size, &expect);
	(void)gw_journal_scan_next(scan, &record); /* there is none in a header */
	if (scan->verdict != GW_JOURNAL_WHOLE)
		return scan->text;
	if (scan->header.seq > mark->seq)
		*mark = (struct gw_journal_mark){
			.id = scan->header.id, .seq = scan->header.seq, .slot = slot};
	return NULL;
}

int gw_journal_mark_read(const char *directory, bool settle, struct gw_journal_mark *ret_mark,
			 struct gw_fault *fault)
{
	struct gw_journal_mark mark = {.seq = 0};
	struct gw_journal_bytes file;
	struct gw_journal_scan scan;
	const char *why = NULL;
	char path[GW_PATH_BYTES];
	int error = gw_file_path(path, sizeof(path), directory, GW_JOURNAL_MARK_NAME);

	if (error == 0)
		error = gw_journal_bytes_read(path, settle, &file);
	if (error == 0) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			const char *bad = slot_read(&file, slot, &mark, &scan);

			why = bad ? bad : why;
		}
		gw_journal_bytes_deinit(&file);
	} else if (error != -ENOENT)
		gw_fault_set(fault, "cannot read %s/" GW_JOURNAL_MARK_NAME ": %s", directory,
			     strerror(-error));
	if (error < 0 && error != -ENOENT)
		return error;
	if (why && mark.seq == 0) {
		gw_fault_set(fault,
			     "%s/" GW_JOURNAL_MARK_NAME ", which tells how far the records go, is "
			     "damaged at %s. Nothing was changed. Put back a good copy of the "
			     "folder, or remove that file to go on with the records that are there",
			     directory, why);
		return -EUCLEAN;
	}
	*ret_mark = mark;
	return 0;
}

void gw_journal_marker_init(struct gw_journal_marker *marker)
{
	*marker = (struct gw_journal_marker){.fd = -1};
	gw_buf_init(&marker->block, GW_JOURNAL_BLOCK);
}

void gw_journal_marker_deinit(struct gw_journal_marker *marker)
{
	if (marker->fd >= 0)
		(void)close(marker->fd); /* what counts was synced */
	marker->fd = -1;
	gw_buf_deinit(&marker->block);
}

int gw_journal_marker_write(struct gw_journal_marker *marker, const char *directory, int folder_fd,
			    const struct gw_journal_id *id, uint64_t seq,
			    struct gw_journal_write *ret_write)
{
	const struct gw_journal_header header = {.id = *id, .kind = GW_JOURNAL_MARK, .seq = seq};
	bool first = marker->mark.seq == 0;
	char path[GW_PATH_BYTES];
	int error = gw_file_path(path, sizeof(path), directory, GW_JOURNAL_MARK_NAME);

	if (error == 0 && marker->fd < 0) {
		marker->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		error = marker->fd < 0 ? -errno : 0;
	}
	marker->block.size = 0;
	if (error == 0)
		error = gw_journal_header_encode(&header, &marker->block);
	if (error < 0)
		return error;
	*ret_write = (struct gw_journal_write){
		.fd = marker->fd,
		.folder_fd = first ? folder_fd : -1, /* the name is new */
		.offset = first ? 0 : (uint64_t)(1 - marker->mark.slot) * GW_JOURNAL_BLOCK,
		.bytes = marker->block.bytes,
		.size = marker->block.size,
	};
	return 0;
}

void gw_journal_marker_written(struct gw_journal_marker *marker, const struct gw_journal_id *id,
			       uint64_t seq)
{
	uint32_t slot = marker->mark.seq == 0 ? 0 : 1 - marker->mark.slot;

	marker->mark = (struct gw_journal_mark){.id = *id, .seq = seq, .slot = slot};
}
