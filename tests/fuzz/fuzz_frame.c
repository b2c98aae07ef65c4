/*
 * Arbitrary bytes as a frame of the inference ring, header then row records. Whatever comes: a
 * sentence, or a header within its limits whose payload has the size that its kind says.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/loss/frame.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const struct gw_frame_limits limits = {.hidden = 128, .rows = 4, .slots = 8, .stages = 3};
	struct gw_frame_header header;
	struct gw_model_row rows[4];
	uint8_t again[GW_FRAME_HEADER_BYTES];
	size_t rest;

	if (size < GW_FRAME_HEADER_BYTES || gw_frame_header_decode(bytes, &limits, &header))
		return 0;
	CHECK(header.rows <= limits.rows);
	CHECK(header.group < GW_FRAME_GROUPS_MAX);
	CHECK(header.payload_bytes ==
	      gw_frame_payload_bytes(header.kind, header.rows, limits.hidden));
	gw_frame_header_encode(&header, again);
	CHECK(memcmp(again, bytes, sizeof(again)) == 0);
	rest = (size - GW_FRAME_HEADER_BYTES) / GW_FRAME_ROW_BYTES;
	if (rest > header.rows)
		rest = header.rows;
	memcpy(rows, bytes + GW_FRAME_HEADER_BYTES, rest * GW_FRAME_ROW_BYTES);
	if (!gw_frame_rows_check(rows, (uint32_t)rest, &limits))
		for (size_t i = 0; i < rest; i++)
			CHECK(rows[i].slot < limits.slots);
	return 0;
}
