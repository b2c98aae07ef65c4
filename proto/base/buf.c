/* A growable, bounded run of bytes: doubling, never past the limit. */
#include "proto/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

void gw_buf_init(struct gw_buf *buf, size_t limit)
{
	*buf = (struct gw_buf){.limit = limit};
}

void gw_buf_deinit(struct gw_buf *buf)
{
	if (!buf)
		return;
	free(buf->bytes);
	*buf = (struct gw_buf){.limit = buf->limit};
}

/* Room for `size` bytes and a NUL after them. */
static int reserve(struct gw_buf *buf, size_t size)
{
	size_t needed;
	size_t capacity = buf->capacity ? buf->capacity : 64;
	uint8_t *bytes;

	if (size > buf->limit - buf->size)
		return -ENOBUFS;
	needed = buf->size + size + 1;
	if (needed <= buf->capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;
	bytes = realloc(buf->bytes, capacity);
	if (!bytes)
		return -ENOMEM;
	buf->bytes = bytes;
	buf->capacity = capacity;
	return 0;
}

void *gw_buf_grow(struct gw_buf *buf, size_t size)
{
	void *at;

	if (reserve(buf, size) < 0)
		return NULL;
	at = buf->bytes + buf->size;
	buf->size += size;
	return at;
}

int gw_buf_append(struct gw_buf *buf, const void *bytes, size_t size)
{
	int error = reserve(buf, size);

	if (error < 0)
		return error;
	if (size > 0)
		memcpy(buf->bytes + buf->size, bytes, size);
	buf->size += size;
	buf->bytes[buf->size] = '\0';
	return 0;
}

int gw_buf_printf(struct gw_buf *buf, const char *format, ...)
{
	va_list args;
	int length;
	int error;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	CHECK(length >= 0);
	error = reserve(buf, (size_t)length);
	if (error < 0)
		return error;
	va_start(args, format);
	(void)vsnprintf((char *)buf->bytes + buf->size, (size_t)length + 1, format, args);
	va_end(args);
	buf->size += (size_t)length;
	return 0;
}

void gw_buf_consume(struct gw_buf *buf, size_t size)
{
	CHECK(size <= buf->size);
	buf->size -= size;
	if (buf->size > 0)
		memmove(buf->bytes, buf->bytes + size, buf->size);
}
