/* Pipes to files, by io_uring or by hand. */
#include "agent/keeper/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/check.h"

#define RING_ENTRIES 64u
#define BUFFER_GROUP 0
#define TAG_WRITE 1u /* low bit of user_data: set for a write, clear for a read */
#define PLAIN_ROUNDS 4

static void finish(struct gw_pump_stream *stream)
{
	gw_loop_close(stream->pump->loop, &stream->pipe);
	stream->ended(stream);
}

/* --- io_uring --- */

static struct io_uring_sqe *take_sqe(struct gw_pump *pump)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&pump->ring);

	if (!sqe) {
		(void)io_uring_submit(&pump->ring); /* full: hand over what is there */
		sqe = io_uring_get_sqe(&pump->ring);
	}
	CHECK(sqe);
	return sqe;
}

static void uring_read(struct gw_pump_stream *stream)
{
	struct io_uring_sqe *sqe = take_sqe(stream->pump);

	io_uring_prep_read(sqe, stream->pipe.fd, NULL, GW_PUMP_BUFFER_BYTES, (uint64_t)-1);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)stream);
	stream->reading = true;
}

static void offer_buffer(struct gw_pump *pump, uint32_t index)
{
	io_uring_buf_ring_add(pump->free_buffers,
			      pump->buffers + (size_t)index * GW_PUMP_BUFFER_BYTES,
			      GW_PUMP_BUFFER_BYTES, (unsigned short)index,
			      io_uring_buf_ring_mask(GW_PUMP_BUFFERS), 0);
	io_uring_buf_ring_advance(pump->free_buffers, 1);
}

static void starve(struct gw_pump_stream *stream)
{
	struct gw_pump *pump = stream->pump;

	stream->next_starved = NULL;
	if (pump->starved_last)
		pump->starved_last->next_starved = stream;
	else
		pump->starved_first = stream;
	pump->starved_last = stream;
}

static bool unstarve(struct gw_pump_stream *stream)
{
	struct gw_pump *pump = stream->pump;
	struct gw_pump_stream *before = NULL;
	struct gw_pump_stream *at = pump->starved_first;

	while (at && at != stream) {
		before = at;
		at = at->next_starved;
	}
	if (!at)
		return false;
	if (before)
		before->next_starved = at->next_starved;
	else
		pump->starved_first = at->next_starved;
	if (pump->starved_last == at)
		pump->starved_last = before;
	return true;
}

static void release_buffer(struct gw_pump_stream *stream)
{
	struct gw_pump *pump = stream->pump;
	struct gw_pump_stream *first = pump->starved_first;

	offer_buffer(pump, stream->buffer);
	stream->size = stream->written = 0;
	if (first && unstarve(first))
		uring_read(first);
}

/* The buffer is empty, or the disk will not have the rest of it. */
static void next_round(struct gw_pump_stream *stream)
{
	stream->output->lost_bytes += stream->size - stream->written;
	release_buffer(stream);
	if (!stream->stopping)
		uring_read(stream);
	stream->moved(stream);
	if (stream->stopping)
		finish(stream);
}

static void uring_write(struct gw_pump_stream *stream)
{
	struct io_uring_sqe *sqe;
	uint64_t file_offset;
	size_t room;
	int fd;
	const uint8_t *bytes = stream->pump->buffers +
			       (size_t)stream->buffer * GW_PUMP_BUFFER_BYTES + stream->written;
	size_t left = stream->size - stream->written;

	if (!left || gw_output_place(stream->output, &fd, &file_offset, &room)) {
		next_round(stream);
		return;
	}
	sqe = take_sqe(stream->pump);
	io_uring_prep_write(sqe, fd, bytes, (unsigned)(left < room ? left : room), file_offset);
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)stream | TAG_WRITE);
}

static void read_done(struct gw_pump_stream *stream, int result, uint32_t flags)
{
	stream->reading = false;
	if (flags & IORING_CQE_F_BUFFER)
		stream->buffer = flags >> IORING_CQE_BUFFER_SHIFT;
	if (result > 0) {
		stream->size = (uint32_t)result;
		stream->written = 0;
		uring_write(stream);
		return;
	}
	if (flags & IORING_CQE_F_BUFFER)
		release_buffer(stream);
	if (stream->stopping)
		finish(stream);
	else if (result == -ENOBUFS)
		starve(stream);
	else if (result == -EINTR || result == -EAGAIN)
		uring_read(stream);
	else
		finish(stream);
}

static void write_done(struct gw_pump_stream *stream, int result)
{
	if (result <= 0) {
		next_round(stream);
		return;
	}
	stream->written += (uint32_t)result;
	gw_output_wrote(stream->output, (size_t)result);
	uring_write(stream);
}

static void ring_ready(struct gw_source *source, uint32_t events)
{
	struct gw_pump *pump = GW_CONTAINER_OF(source, struct gw_pump, source);
	struct io_uring_cqe *cqe;

	(void)events;
	while (!io_uring_peek_cqe(&pump->ring, &cqe)) {
		uint64_t data = io_uring_cqe_get_data64(cqe);
		int result = cqe->res;
		uint32_t flags = cqe->flags;
		uintptr_t address = (uintptr_t)(data & ~(uint64_t)TAG_WRITE);
		struct gw_pump_stream *stream = (struct gw_pump_stream *)address;

		io_uring_cqe_seen(&pump->ring, cqe);
		if (!stream)
			continue; /* a cancellation's own result; the read's tells */
		if (data & TAG_WRITE)
			write_done(stream, result);
		else
			read_done(stream, result, flags);
	}
	(void)io_uring_submit(&pump->ring); /* what it does not take now it takes next time */
}

static int init_buffers(struct gw_pump *pump)
{
	size_t ring_bytes = GW_PUMP_BUFFERS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg registration = {.ring_entries = GW_PUMP_BUFFERS,
						.bgid = BUFFER_GROUP};
	void *memory = mmap(NULL, ring_bytes + GW_PUMP_BUFFERS * GW_PUMP_BUFFER_BYTES + 4096,
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int result;

	if (memory == MAP_FAILED)
		return -errno;
	pump->free_buffers = memory;
	pump->buffers = (uint8_t *)memory + 4096; /* the ring fits the first page */
	CHECK(ring_bytes <= 4096);
	registration.ring_addr = (uint64_t)(uintptr_t)memory;
	result = io_uring_register_buf_ring(&pump->ring, &registration, 0);
	if (result)
		return result;
	io_uring_buf_ring_init(pump->free_buffers);
	for (uint32_t i = 0; i < GW_PUMP_BUFFERS; i++)
		offer_buffer(pump, i);
	return 0;
}

static int init_uring(struct gw_pump *pump)
{
	int result = io_uring_queue_init(RING_ENTRIES, &pump->ring, 0);

	if (result)
		return result;
	pump->uring = true;
	/* A child between fork and exec shares no ring. */
	result = io_uring_ring_dontfork(&pump->ring);
	if (!result)
		result = init_buffers(pump);
	if (!result) {
		pump->source = (struct gw_source){.fd = pump->ring.ring_fd, .ready = ring_ready};
		result = gw_loop_add(pump->loop, &pump->source, EPOLLIN);
	}
	if (result)
		gw_pump_deinit(pump);
	return result;
}

/* --- by hand --- */

static void plain_write(struct gw_pump_stream *stream, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		uint64_t file_offset;
		size_t room;
		ssize_t count = -1;
		int fd;

		if (!gw_output_place(stream->output, &fd, &file_offset, &room))
			count = pwrite(fd, bytes, size < room ? size : room, (off_t)file_offset);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			stream->output->lost_bytes += size;
			return;
		}
		gw_output_wrote(stream->output, (size_t)count);
		bytes += count;
		size -= (size_t)count;
	}
}

static void pipe_ready(struct gw_source *source, uint32_t events)
{
	struct gw_pump_stream *stream = GW_CONTAINER_OF(source, struct gw_pump_stream, pipe);

	(void)events;
	for (int i = 0; i < PLAIN_ROUNDS; i++) {
		ssize_t count = read(source->fd, stream->pump->buffers, GW_PUMP_BUFFER_BYTES);

		if (count < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (count <= 0) {
			finish(stream);
			return;
		}
		plain_write(stream, stream->pump->buffers, (size_t)count);
		stream->moved(stream);
	}
}

static int init_plain(struct gw_pump *pump)
{
	void *memory = mmap(NULL, GW_PUMP_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	pump->buffers = memory;
	return 0;
}

/* --- both --- */

int gw_pump_init(struct gw_pump *pump, struct gw_loop *loop, enum gw_pump_mode mode)
{
	int result = -ENOSYS;

	*pump = (struct gw_pump){.loop = loop, .source = {.fd = -1}};
	if (mode != GW_PUMP_PLAIN)
		result = init_uring(pump);
	if (result && mode != GW_PUMP_URING)
		result = init_plain(pump);
	return result;
}

void gw_pump_deinit(struct gw_pump *pump)
{
	/* Its memory goes with the process: the kernel may still be writing from it. */
	if (pump->uring)
		io_uring_queue_exit(&pump->ring);
	pump->uring = false;
}

int gw_pump_start(struct gw_pump *pump, struct gw_pump_stream *stream, int pipe_fd,
		  struct gw_output *output)
{
	int result = 0;

	stream->pump = pump;
	stream->output = output;
	stream->pipe = (struct gw_source){.fd = pipe_fd, .ready = pipe_ready};
	if (pump->uring) {
		uring_read(stream);
		(void)io_uring_submit(&pump->ring);
		return 0;
	}
	if (fcntl(pipe_fd, F_SETFL, O_RDONLY | O_NONBLOCK))
		result = -errno;
	if (!result)
		result = gw_loop_add(pump->loop, &stream->pipe, EPOLLIN);
	if (result)
		gw_loop_close(pump->loop, &stream->pipe);
	return result;
}

void gw_pump_stop(struct gw_pump_stream *stream)
{
	struct gw_pump *pump = stream->pump;

	if (stream->pipe.fd < 0 || stream->stopping)
		return;
	stream->stopping = true;
	if (!pump->uring || unstarve(stream)) {
		finish(stream);
		return;
	}
	if (stream->reading) {
		struct io_uring_sqe *sqe = take_sqe(pump);

		io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)stream, 0);
		io_uring_sqe_set_data64(sqe, 0);
		(void)io_uring_submit(&pump->ring);
	}
}
