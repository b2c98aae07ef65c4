/*
 * 128-bit ids, unique without coordination: {region, epoch, counter}. A node's id is the first 16
 * bytes of the BLAKE2b hash of its signing key instead (proto/cert). Typed ids are one-member
 * structs, so that the compiler tells a job from a node.
 */
#ifndef GODWIT_PROTO_BASE_ID_H
#define GODWIT_PROTO_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_ID_BYTES 16u
#define GW_ID_TEXT_BYTES 41u /* longest text of either form, NUL included */

struct gw_id {
	uint8_t bytes[GW_ID_BYTES];
};

struct gw_node_id {
	struct gw_id id;
};

struct gw_job_id {
	struct gw_id id;
};

/* A task is the index-th process of a job; an attempt is one try at it, numbered from 1. */
struct gw_attempt_id {
	struct gw_job_id job;
	uint32_t task_index;
	uint32_t attempt;
};

/* Big-endian fields: bytes 0–3 region, 4–7 epoch, 8–15 counter. Ids of one region sort by age. */
struct gw_id gw_id_make(uint32_t region, uint32_t epoch, uint64_t counter);
uint64_t gw_id_counter(struct gw_id id);

bool gw_id_is_zero(struct gw_id id);
bool gw_id_equal(struct gw_id a, struct gw_id b);
int gw_id_compare(struct gw_id a, struct gw_id b); /* as memcmp */

/* Reads an id from `size` bytes; false unless size is GW_ID_BYTES. */
bool gw_id_from_bytes(const void *bytes, size_t size, struct gw_id *ret_id);

/* 32 lower-case hexadecimal digits, for nodes. `ret_text` has GW_ID_TEXT_BYTES. */
void gw_id_format_hex(struct gw_id id, char *ret_text);
bool gw_id_parse_hex(const char *text, struct gw_id *ret_id);

/* "region.epoch.counter", region in 8 hexadecimal digits, the others decimal, for jobs. */
void gw_id_format(struct gw_id id, char *ret_text);
/* Reads that form; a lone counter ("17") is read with region and epoch 0. False: not an id. */
bool gw_id_parse(const char *text, struct gw_id *ret_id);

bool gw_attempt_id_equal(struct gw_attempt_id a, struct gw_attempt_id b);

#endif
