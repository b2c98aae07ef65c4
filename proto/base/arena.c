/* Bounded region allocator: a chain of blocks, bump pointers. */
#include "proto/base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES_MIN 4096u
#define ALIGNMENT 16u

struct gw_arena_block {
	struct gw_arena_block *next;
	size_t used;
	size_t capacity;
	_Alignas(ALIGNMENT) uint8_t bytes[];
};

void gw_arena_init(struct gw_arena *arena, size_t limit_bytes)
{
	*arena = (struct gw_arena){.limit_bytes = limit_bytes};
}

void gw_arena_deinit(struct gw_arena *arena)
{
	if (!arena)
		return;
	while (arena->blocks) {
		struct gw_arena_block *block = arena->blocks;

		arena->blocks = block->next;
		free(block);
	}
	arena->used_bytes = 0;
}

void gw_arena_reset(struct gw_arena *arena)
{
	struct gw_arena_block *kept = arena->blocks;

	if (kept) {
		arena->blocks = kept->next;
		kept->next = NULL;
		kept->used = 0;
	}
	gw_arena_deinit(arena);
	arena->blocks = kept;
}

void *gw_arena_alloc(struct gw_arena *arena, size_t size)
{
	struct gw_arena_block *block = arena->blocks;
	size_t rounded;
	void *at;

	if (size > arena->limit_bytes - arena->used_bytes)
		return NULL;
	rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	if (rounded > arena->limit_bytes - arena->used_bytes)
		return NULL;
	if (!block || block->capacity - block->used < rounded) {
		size_t capacity = block ? block->capacity * 2 : BLOCK_BYTES_MIN;

		if (capacity > arena->limit_bytes)
			capacity = arena->limit_bytes;
		if (capacity < rounded)
			capacity = rounded;
		block = malloc(sizeof(*block) + capacity);
		if (!block)
			return NULL;
		block->next = arena->blocks;
		block->used = 0;
		block->capacity = capacity;
		arena->blocks = block;
	}
	at = block->bytes + block->used;
	block->used += rounded;
	arena->used_bytes += rounded;
	return at;
}

void *gw_arena_copy(struct gw_arena *arena, const void *bytes, size_t size)
{
	void *at = gw_arena_alloc(arena, size ? size : 1);

	if (at && size > 0)
		memcpy(at, bytes, size);
	return at;
}
