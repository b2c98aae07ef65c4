/* Dense array of entries with an open-addressing index; deletion by backward shift. */
#include "proto/base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

__extension__ typedef unsigned __int128 u128;

void gw_table_init(struct gw_table *table, uint32_t key_bytes, uint32_t limit, uint64_t hash_key)
{
	CHECK(key_bytes > 0);
	*table = (struct gw_table){.key_bytes = key_bytes, .limit = limit, .hash_key = hash_key};
}

void gw_table_deinit(struct gw_table *table)
{
	if (!table)
		return;
	free(table->entries);
	free(table->index);
	*table = (struct gw_table){
		.key_bytes = table->key_bytes, .limit = table->limit, .hash_key = table->hash_key};
}

/* Multiply-and-fold over 8-byte words, keyed; every word is mixed with the key before it. */
static uint64_t hash_bytes(const struct gw_table *table, const uint8_t *key)
{
	uint64_t hash = table->hash_key ^ 0x9e3779b97f4a7c15ull;
	uint32_t left = table->key_bytes;

	while (left > 0) {
		uint64_t word = 0;
		uint32_t size = left < 8 ? left : 8;
		u128 product;

		memcpy(&word, key, size);
		product = (u128)(hash ^ word) * 0xd6e8feb86659fd93ull;
		hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ table->hash_key;
		key += size;
		left -= size;
	}
	return hash ^ hash >> 32;
}

/* The index slot that holds `key`, or the free slot where it would go. */
static uint32_t find_slot(const struct gw_table *table, const void *key)
{
	uint32_t mask = table->index_size - 1;
	uint32_t slot = (uint32_t)hash_bytes(table, key) & mask;

	while (table->index[slot] != 0 &&
	       memcmp(table->entries[table->index[slot] - 1], key, table->key_bytes) != 0)
		slot = (slot + 1) & mask;
	return slot;
}

void *gw_table_find(const struct gw_table *table, const void *key)
{
	uint32_t slot;

	if (table->count == 0)
		return NULL;
	slot = find_slot(table, key);
	return table->index[slot] ? table->entries[table->index[slot] - 1] : NULL;
}

static int grow(struct gw_table *table)
{
	uint32_t capacity = table->capacity ? table->capacity * 2 : 8;
	void **entries = realloc(table->entries, capacity * sizeof(*entries));
	uint32_t *index;

	if (!entries)
		return -ENOMEM;
	table->entries = entries;
	index = calloc(2 * (size_t)capacity, sizeof(*index));
	if (!index)
		return -ENOMEM;
	free(table->index);
	table->index = index;
	table->index_size = 2 * capacity;
	table->capacity = capacity;
	for (uint32_t i = 0; i < table->count; i++)
		index[find_slot(table, entries[i])] = i + 1;
	return 0;
}

int gw_table_add(struct gw_table *table, void *entry)
{
	uint32_t slot;

	if (gw_table_find(table, entry))
		return -EEXIST;
	if (table->count >= table->limit)
		return -ENOBUFS;
	if (table->count == table->capacity) {
		int error = grow(table);

		if (error < 0)
			return error;
	}
	slot = find_slot(table, entry);
	table->entries[table->count++] = entry;
	table->index[slot] = table->count;
	return 0;
}

/* Closes the hole at `slot`: moves back each later entry of the run that may stand there. */
static void close_hole(struct gw_table *table, uint32_t slot)
{
	uint32_t mask = table->index_size - 1;
	uint32_t next = (slot + 1) & mask;

	while (table->index[next] != 0) {
		uint32_t home =
			(uint32_t)hash_bytes(table, table->entries[table->index[next] - 1]) & mask;

		if (((next - home) & mask) >= ((next - slot) & mask)) {
			table->index[slot] = table->index[next];
			slot = next;
		}
		next = (next + 1) & mask;
	}
	table->index[slot] = 0;
}

void *gw_table_remove(struct gw_table *table, const void *key)
{
	uint32_t slot;
	uint32_t position;
	void *entry;

	if (table->count == 0)
		return NULL;
	slot = find_slot(table, key);
	if (table->index[slot] == 0)
		return NULL;
	position = table->index[slot] - 1;
	entry = table->entries[position];
	close_hole(table, slot);
	if (position != table->count - 1) {
		void *last = table->entries[table->count - 1];

		table->index[find_slot(table, last)] = position + 1;
		table->entries[position] = last;
	}
	table->count--;
	return entry;
}
