/*
 * Pieces gather in a buffer; a batch is sealed and written once it is large, and an END says that all
 * are there. Checking is the scan that a start would make.
 */
#include "transport/journal_pieces.h"

#include <errno.h>

#include "transport/journal_folder.h"

#define WRITE_BYTES (1u << 20) /* a batch is written once it is so large */

struct writing {
	struct gw_journal_encoder encoder;
	struct gw_buf buf;
	int fd;
};

static int write_out(struct writing *writing)
{
	int error = gw_journal_snapshot_put(writing->fd, writing->buf.bytes, writing->buf.size);

	writing->buf.size = 0;
	return error;
}

static int piece_write(void *context, const uint8_t *bytes, size_t size)
{
	struct writing *writing = context;
	int error = gw_journal_encode_record(&writing->encoder, &writing->buf, bytes, size);

	if (error == 0 && writing->buf.size >= WRITE_BYTES) {
		error = gw_journal_encode_seal(&writing->encoder, &writing->buf, 0);
		if (error == 0)
			error = write_out(writing);
	}
	return error;
}

static int file_write(const void *context, int fd, const struct gw_node *node)
{
	const struct gw_journal_header *header = context;
	struct writing writing = {.fd = fd};
	int error;

	gw_buf_init(&writing.buf, GW_JOURNAL_BUF_BYTES_MAX);
	gw_journal_encoder_init(&writing.encoder, header, GW_JOURNAL_BLOCK, 1);
	error = gw_journal_header_encode(header, &writing.buf);
	if (error == 0)
		error = write_out(&writing);
	if (error == 0)
		error = gw_node_snapshot(node, piece_write, &writing);
	if (error == 0 && writing.encoder.count > 0)
		error = gw_journal_encode_seal(&writing.encoder, &writing.buf, 0);
	if (error == 0)
		error = gw_journal_encode_end(&writing.encoder, &writing.buf);
	if (error == 0)
		error = write_out(&writing);
	gw_buf_deinit(&writing.buf);
	return error;
}

static int file_check(const void *context, const char *path)
{
	const struct gw_journal_header *header = context;
	const struct gw_journal_expect expect = {
		.id = &header->id, .kind = GW_JOURNAL_SNAPSHOT, .seq = header->seq};
	struct gw_journal_bytes file;
	struct gw_journal_scan scan;
	struct gw_journal_record piece;
	int error = gw_journal_bytes_read(path, true, &file);

	if (error < 0)
		return error;
	gw_journal_scan_init(&scan, file.bytes, file.size, &expect);
	while (gw_journal_scan_next(&scan, &piece))
		;
	gw_journal_bytes_deinit(&file);
	return scan.verdict == GW_JOURNAL_WHOLE ? 0 : -EIO;
}

struct gw_journal_snapshot_form gw_journal_pieces_form(const struct gw_journal_header *header)
{
	return (struct gw_journal_snapshot_form){
		.write = file_write, .check = file_check, .context = header};
}
