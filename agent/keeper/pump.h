/*
 * Moves bytes from tasks' pipes to their files, and never waits for either. On io_uring a stream
 * is one read that waits in the kernel, then one write, then the read again; buffers come from a
 * small pool that is shared by all, so a thousand silent tasks cost none. Where the host refuses
 * io_uring (seccomp, sysctl), non-blocking reads and plain writes do the same; a slow disk can then
 * hold up the keeper, though not for longer than its tasks' pipes bear.
 */
#ifndef GODWIT_AGENT_KEEPER_PUMP_H
#define GODWIT_AGENT_KEEPER_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include <liburing.h>

#include "agent/keeper/loop.h"
#include "agent/keeper/output.h"

#define GW_PUMP_BUFFERS 8u /* a power of two */
#define GW_PUMP_BUFFER_BYTES (32u << 10)

enum gw_pump_mode {
	GW_PUMP_AUTO, /* io_uring, or plain where it is refused */
	GW_PUMP_URING,
	GW_PUMP_PLAIN,
};

struct gw_pump;

struct gw_pump_stream {
	struct gw_source pipe; /* read end; fd -1: ended */
	struct gw_pump *pump;
	struct gw_output *output;
	struct gw_pump_stream *next_starved;
	uint32_t buffer;  /* index in the pool, while size > written */
	uint32_t size;    /* bytes in the buffer */
	uint32_t written; /* of them */
	bool reading;     /* a read is with the kernel */
	bool stopping;
	void (*moved)(struct gw_pump_stream *stream); /* new bytes are in the output */
	void (*ended)(struct gw_pump_stream *stream); /* nothing will come any more; may be freed */
};

struct gw_pump {
	struct gw_loop *loop;
	bool uring;
	struct gw_source source; /* the ring */
	struct io_uring ring;
	struct io_uring_buf_ring *free_buffers;
	uint8_t *buffers;                     /* [GW_PUMP_BUFFERS][GW_PUMP_BUFFER_BYTES] */
	struct gw_pump_stream *starved_first; /* wait for a buffer, in order */
	struct gw_pump_stream *starved_last;
};

/* 0; negative errno (with GW_PUMP_AUTO only for lack of memory). */
int gw_pump_init(struct gw_pump *pump, struct gw_loop *loop, enum gw_pump_mode mode);
void gw_pump_deinit(struct gw_pump *pump);

/* Takes the pipe over. `moved` and `ended` are set by the caller before. 0; negative errno, and
 * the pipe is closed. */
int gw_pump_start(struct gw_pump *pump, struct gw_pump_stream *stream, int pipe_fd,
		  struct gw_output *output);
/* Ends the stream though its pipe is still open somewhere; `ended` may come from within. */
void gw_pump_stop(struct gw_pump_stream *stream);

#endif
