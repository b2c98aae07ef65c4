/* Intrusive binary min-heap of timers. */
#include "proto/base/heap.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/base/check.h"

void gw_heap_init(struct gw_heap *heap, uint32_t limit)
{
	*heap = (struct gw_heap){.limit = limit};
}

void gw_heap_deinit(struct gw_heap *heap)
{
	if (!heap)
		return;
	free(heap->items);
	*heap = (struct gw_heap){.limit = heap->limit};
}

static bool earlier(const struct gw_heap_item *a, const struct gw_heap_item *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void put(struct gw_heap *heap, uint32_t position, struct gw_heap_item *item)
{
	heap->items[position] = item;
	item->position = position + 1;
}

/* Moves the item from a place that is free to where it belongs. */
static void settle(struct gw_heap *heap, uint32_t position, struct gw_heap_item *item)
{
	while (position > 0) {
		uint32_t parent = (position - 1) / 2;

		if (!earlier(item, heap->items[parent]))
			break;
		put(heap, position, heap->items[parent]);
		position = parent;
	}
	for (;;) {
		uint32_t child = 2 * position + 1;

		if (child >= heap->count)
			break;
		if (child + 1 < heap->count && earlier(heap->items[child + 1], heap->items[child]))
			child++;
		if (!earlier(heap->items[child], item))
			break;
		put(heap, position, heap->items[child]);
		position = child;
	}
	put(heap, position, item);
}

int gw_heap_set(struct gw_heap *heap, struct gw_heap_item *item, uint64_t at_us)
{
	if (item->position == 0) {
		if (heap->count >= heap->limit)
			return -ENOBUFS;
		if (heap->count == heap->capacity) {
			uint32_t capacity = heap->capacity ? heap->capacity * 2 : 16;
			struct gw_heap_item **items =
				realloc(heap->items, capacity * sizeof(struct gw_heap_item *));

			if (!items)
				return -ENOMEM;
			heap->items = items;
			heap->capacity = capacity;
		}
		heap->count++;
		item->position = heap->count;
	}
	item->at_us = at_us;
	settle(heap, item->position - 1, item);
	return 0;
}

void gw_heap_remove(struct gw_heap *heap, struct gw_heap_item *item)
{
	struct gw_heap_item *last;
	uint32_t hole;

	if (item->position == 0)
		return;
	hole = item->position - 1;
	CHECK(hole < heap->count);
	CHECK(heap->items[hole] == item);
	heap->count--;
	last = heap->items[heap->count];
	item->position = 0;
	if (last != item)
		settle(heap, hole, last);
}

struct gw_heap_item *gw_heap_first(const struct gw_heap *heap)
{
	return heap->count > 0 ? heap->items[0] : NULL;
}
