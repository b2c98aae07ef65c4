/* 128-bit ids: making, comparing, and their two text forms. Pure. */
#include "proto/base/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/bytes.h"

struct gw_id gw_id_make(uint32_t region, uint32_t epoch, uint64_t counter)
{
	struct gw_id id;

	gw_put_be(id.bytes, region, 4);
	gw_put_be(id.bytes + 4, epoch, 4);
	gw_put_be(id.bytes + 8, counter, 8);
	return id;
}

uint64_t gw_id_counter(struct gw_id id)
{
	return gw_get_be(id.bytes + 8, 8);
}

bool gw_id_is_zero(struct gw_id id)
{
	static const struct gw_id zero;

	return gw_id_equal(id, zero);
}

bool gw_id_equal(struct gw_id a, struct gw_id b)
{
	return gw_id_compare(a, b) == 0;
}

int gw_id_compare(struct gw_id a, struct gw_id b)
{
	return memcmp(a.bytes, b.bytes, GW_ID_BYTES);
}

bool gw_id_from_bytes(const void *bytes, size_t size, struct gw_id *ret_id)
{
	if (size != GW_ID_BYTES)
		return false;
	memcpy(ret_id->bytes, bytes, GW_ID_BYTES);
	return true;
}

void gw_id_format_hex(struct gw_id id, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < GW_ID_BYTES; i++) {
		ret_text[2 * i] = digits[id.bytes[i] >> 4];
		ret_text[2 * i + 1] = digits[id.bytes[i] & 15];
	}
	ret_text[2 * GW_ID_BYTES] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool gw_id_parse_hex(const char *text, struct gw_id *ret_id)
{
	struct gw_id id;

	if (strlen(text) != 2 * (size_t)GW_ID_BYTES)
		return false;
	for (size_t i = 0; i < GW_ID_BYTES; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*ret_id = id;
	return true;
}

void gw_id_format(struct gw_id id, char *ret_text)
{
	(void)snprintf(ret_text, GW_ID_TEXT_BYTES, "%08" PRIx64 ".%" PRIu64 ".%" PRIu64,
		       gw_get_be(id.bytes, 4), gw_get_be(id.bytes + 4, 4),
		       gw_get_be(id.bytes + 8, 8));
}

/* One unsigned field up to `end`; the whole field must be digits of the base and fit `max`. */
static bool parse_field(const char *text, size_t size, int base, uint64_t max, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (size == 0 || size > 20)
		return false;
	for (size_t i = 0; i < size; i++) {
		int digit = hex_digit(text[i]);
		uint64_t next;

		if (digit < 0 || digit >= base)
			return false;
		if (__builtin_mul_overflow(value, (uint64_t)base, &next) ||
		    __builtin_add_overflow(next, (uint64_t)digit, &value) || value > max)
			return false;
	}
	*ret_value = value;
	return true;
}

bool gw_id_parse(const char *text, struct gw_id *ret_id)
{
	const char *first = strchr(text, '.');
	const char *second = first ? strchr(first + 1, '.') : NULL;
	uint64_t region = 0;
	uint64_t epoch = 0;
	uint64_t counter;

	if (!first) {
		if (!parse_field(text, strlen(text), 10, UINT64_MAX, &counter))
			return false;
	} else {
		if (!second ||
		    !parse_field(text, (size_t)(first - text), 16, UINT32_MAX, &region) ||
		    !parse_field(first + 1, (size_t)(second - first - 1), 10, UINT32_MAX, &epoch) ||
		    !parse_field(second + 1, strlen(second + 1), 10, UINT64_MAX, &counter))
			return false;
	}
	*ret_id = gw_id_make((uint32_t)region, (uint32_t)epoch, counter);
	return true;
}

bool gw_attempt_id_equal(struct gw_attempt_id a, struct gw_attempt_id b)
{
	return gw_id_equal(a.job.id, b.job.id) && a.task_index == b.task_index &&
	       a.attempt == b.attempt;
}
