/*
 * A bounded region allocator: everything is freed at once. Decoding hostile bytes draws from one,
 * so that a small message cannot unfold into much memory.
 */
#ifndef GODWIT_PROTO_BASE_ARENA_H
#define GODWIT_PROTO_BASE_ARENA_H

#include <stddef.h>

struct gw_arena_block;

struct gw_arena {
	struct gw_arena_block *blocks; /* newest first */
	size_t used_bytes;             /* handed out, rounding included */
	size_t limit_bytes;            /* used_bytes never exceeds this */
};

void gw_arena_init(struct gw_arena *arena, size_t limit_bytes);
void gw_arena_deinit(struct gw_arena *arena);
/* Forgets everything handed out; keeps one block for reuse. */
void gw_arena_reset(struct gw_arena *arena);
/* 16-byte aligned, not zeroed; valid until reset or deinit. NULL: past the limit. */
void *gw_arena_alloc(struct gw_arena *arena, size_t size);
/* Copies; NULL past the limit. A zero size gives a valid pointer. */
void *gw_arena_copy(struct gw_arena *arena, const void *bytes, size_t size);

#endif
