/* Numbers in network byte order, 1 to 8 bytes. */
#ifndef GODWIT_PROTO_BASE_BYTES_H
#define GODWIT_PROTO_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* The lowest `size` bytes of the value, most significant first. */
static inline void gw_put_be(uint8_t *out, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static inline uint64_t gw_get_be(const uint8_t *in, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | in[i];
	return value;
}

#endif
