/*
 * A binary min-heap of timers, intrusive: the item lives in the caller's struct and knows its
 * place, so that moving or cancelling costs O(log n). Ties go by `order`, which makes the sequence
 * of equal times depend on the caller's numbering and never on addresses.
 */
#ifndef GODWIT_PROTO_BASE_HEAP_H
#define GODWIT_PROTO_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct gw_heap_item {
	uint64_t at_us;
	uint64_t order;    /* tie-break, unique among equal times */
	uint32_t position; /* 1 + place in the heap; 0: not in it */
};

struct gw_heap {
	struct gw_heap_item **items; /* [count] */
	uint32_t count;
	uint32_t capacity;
	uint32_t limit;
};

void gw_heap_init(struct gw_heap *heap, uint32_t limit);
void gw_heap_deinit(struct gw_heap *heap);
/* Puts the item in, or moves it if it is in. 0; -ENOBUFS at the limit; -ENOMEM. */
int gw_heap_set(struct gw_heap *heap, struct gw_heap_item *item, uint64_t at_us);
/* Takes the item out; nothing happens if it is not in. */
void gw_heap_remove(struct gw_heap *heap, struct gw_heap_item *item);
/* The earliest item, left in place; NULL: empty. */
struct gw_heap_item *gw_heap_first(const struct gw_heap *heap);

#endif
