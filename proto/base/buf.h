/*
 * A growable run of bytes with a stated limit. Growth past the limit fails and changes nothing.
 */
#ifndef GODWIT_PROTO_BASE_BUF_H
#define GODWIT_PROTO_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct gw_buf {
	uint8_t *bytes;
	size_t size;     /* bytes in use */
	size_t capacity; /* bytes allocated */
	size_t limit;    /* size never exceeds this */
};

void gw_buf_init(struct gw_buf *buf, size_t limit);
void gw_buf_deinit(struct gw_buf *buf);
/* Makes room for `size` more bytes and returns where they go (size is advanced); NULL: past the
 * limit (or out of memory), nothing changed. */
void *gw_buf_grow(struct gw_buf *buf, size_t size);
/* 0; -ENOBUFS past the limit; -ENOMEM. */
int gw_buf_append(struct gw_buf *buf, const void *bytes, size_t size);
/* As printf; 0, or as gw_buf_append. No NUL is counted, but one always follows the text. */
int gw_buf_printf(struct gw_buf *buf, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Drops `size` bytes from the front. */
void gw_buf_consume(struct gw_buf *buf, size_t size);

#endif
