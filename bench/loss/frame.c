/* Encoding and checking of the ring's frames; see the header. */
#include "bench/loss/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define MAGIC 0x314c5747u /* "GWL1" */

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");
static_assert(sizeof(struct gw_model_row) == GW_FRAME_ROW_BYTES, "row records have no padding");
static_assert(sizeof(struct gw_stage_report) == 128, "reports travel as they are");

struct wire_header {
	uint32_t magic;
	uint16_t kind;
	uint16_t rows;
	uint32_t payload_bytes;
	uint32_t group;
	uint64_t stage_time_ns;
	uint64_t stamp;
};

static_assert(sizeof(struct wire_header) == GW_FRAME_HEADER_BYTES, "the header has no padding");

uint32_t gw_frame_payload_bytes(enum gw_frame_kind kind, uint32_t rows, uint32_t hidden)
{
	switch (kind) {
	case GW_FRAME_HIDDEN:
	case GW_FRAME_PROBE:
		return rows * hidden * (uint32_t)sizeof(uint16_t);
	case GW_FRAME_TOKENS:
		return rows * (uint32_t)sizeof(uint32_t);
	case GW_FRAME_REPORT:
		return rows * (uint32_t)sizeof(struct gw_stage_report);
	case GW_FRAME_CONGESTION:
		return 16;
	case GW_FRAME_HELLO:
	case GW_FRAME_RESET:
	case GW_FRAME_DELAY:
		return 0;
	}
	return 0;
}

void gw_frame_header_encode(const struct gw_frame_header *header, uint8_t *ret_bytes)
{
	struct wire_header wire = {
		.magic = MAGIC,
		.kind = (uint16_t)header->kind,
		.rows = (uint16_t)header->rows,
		.payload_bytes = header->payload_bytes,
		.group = header->group,
		.stage_time_ns = header->stage_time_ns,
		.stamp = header->stamp,
	};

	memcpy(ret_bytes, &wire, sizeof(wire));
}

static bool carries_rows(enum gw_frame_kind kind)
{
	return kind == GW_FRAME_HIDDEN || kind == GW_FRAME_TOKENS;
}

const char *gw_frame_header_decode(const uint8_t *bytes, const struct gw_frame_limits *limits,
				   struct gw_frame_header *ret_header)
{
	struct wire_header wire;
	enum gw_frame_kind kind;

	memcpy(&wire, bytes, sizeof(wire));
	if (wire.magic != MAGIC)
		return "it does not speak the ring's protocol";
	if (wire.kind < GW_FRAME_HELLO || wire.kind > GW_FRAME_DELAY)
		return "it sent a frame of unknown kind";
	kind = (enum gw_frame_kind)wire.kind;
	if (carries_rows(kind) && (wire.rows == 0 || wire.rows > limits->rows))
		return "it sent a batch of more rows than agreed, or of none";
	if (kind == GW_FRAME_REPORT && wire.rows > limits->stages)
		return "it sent more reports than there are stages";
	if (kind == GW_FRAME_PROBE && wire.rows > limits->rows)
		return "it sent a probe heavier than a batch";
	if (!carries_rows(kind) && kind != GW_FRAME_REPORT && kind != GW_FRAME_PROBE &&
	    wire.rows != 0)
		return "it sent rows in a frame that has none";
	if (wire.payload_bytes != gw_frame_payload_bytes(kind, wire.rows, limits->hidden))
		return "its payload size does not fit its row count";
	if (wire.group >= GW_FRAME_GROUPS_MAX)
		return "it sent a micro-batch number past the limit";
	if (wire.stage_time_ns > GW_FRAME_STAGE_TIME_NS_MAX)
		return "it asked for a stage time past the limit";
	*ret_header = (struct gw_frame_header){
		.kind = kind,
		.rows = wire.rows,
		.payload_bytes = wire.payload_bytes,
		.group = wire.group,
		.stage_time_ns = wire.stage_time_ns,
		.stamp = wire.stamp,
	};
	return NULL;
}

const char *gw_frame_rows_check(const struct gw_model_row *rows, uint32_t count,
				const struct gw_frame_limits *limits)
{
	for (uint32_t i = 0; i < count; i++) {
		if (rows[i].slot >= limits->slots)
			return "it named a slot past the limit";
		if (rows[i].sample > 1)
			return "it sent a malformed row record";
	}
	return NULL;
}
