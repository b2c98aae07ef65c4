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
static uint32_t hash_bytes(const struct gw_table *table, const uint8_t *key)
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
	return (uint32_t)(hash ^ hash >> 32);
}

/* The index slot that holds `key`, or the free slot where it would go. */
static struct gw_table_slot *find_slot(const struct gw_table *table, const void *key, uint32_t hash)
{
	uint32_t mask = table->index_size - 1;
	uint32_t at = hash & mask;

	for (;; at = (at + 1) & mask) {
		struct gw_table_slot *slot = &table->index[at];

		if (slot->position == 0 ||
		    (slot->hash == hash &&
		     memcmp(table->entries[slot->position - 1], key, table->key_bytes) == 0))
			return slot;
	}
}

void *gw_table_find(const struct gw_table *table, const void *key)
{
	const struct gw_table_slot *slot;

	if (table->count == 0)
		return NULL;
	slot = find_slot(table, key, hash_bytes(table, key));
	return slot->position ? table->entries[slot->position - 1] : NULL;
}

/* Moves every slot to where it goes in a larger index; all keys differ. */
static void rehash(const struct gw_table *table, struct gw_table_slot *index, uint32_t index_size)
{
	for (uint32_t i = 0; i < table->index_size; i++) {
		uint32_t at = table->index[i].hash & (index_size - 1);

		if (table->index[i].position == 0)
			continue;
		while (index[at].position != 0)
			at = (at + 1) & (index_size - 1);
		index[at] = table->index[i];
	}
}

static int grow(struct gw_table *table)
{
	uint32_t capacity = table->capacity ? table->capacity * 2 : 8;
	void **entries = realloc(table->entries, capacity * sizeof(*entries));
	struct gw_table_slot *index;

	if (!entries)
		return -ENOMEM;
	table->entries = entries;
	index = calloc(2 * (size_t)capacity, sizeof(*index));
	if (!index)
		return -ENOMEM;
	rehash(table, index, 2 * capacity);
	free(table->index);
	table->index = index;
	table->index_size = 2 * capacity;
	table->capacity = capacity;
	return 0;
}

int gw_table_add(struct gw_table *table, void *entry)
{
	uint32_t hash = hash_bytes(table, entry);
	struct gw_table_slot *slot;

	if (table->count > 0 && find_slot(table, entry, hash)->position != 0)
		return -EEXIST;
	if (table->count >= table->limit)
		return -ENOBUFS;
	if (table->count == table->capacity) {
		int error = grow(table);

		if (error < 0)
			return error;
	}
	slot = find_slot(table, entry, hash);
	table->entries[table->count++] = entry;
	*slot = (struct gw_table_slot){.position = table->count, .hash = hash};
	return 0;
}

/* Closes the hole at `at`: moves back each later entry of the run that may stand there. */
static void close_hole(struct gw_table *table, uint32_t at)
{
	uint32_t mask = table->index_size - 1;
	uint32_t next = (at + 1) & mask;

	while (table->index[next].position != 0) {
		uint32_t home = table->index[next].hash & mask;

		if (((next - home) & mask) >= ((next - at) & mask)) {
			table->index[at] = table->index[next];
			at = next;
		}
		next = (next + 1) & mask;
	}
	table->index[at].position = 0;
}

void *gw_table_remove(struct gw_table *table, const void *key)
{
	const struct gw_table_slot *slot;
	uint32_t position;
	void *entry;

	if (table->count == 0)
		return NULL;
	slot = find_slot(table, key, hash_bytes(table, key));
	if (slot->position == 0)
		return NULL;
	position = slot->position - 1;
	entry = table->entries[position];
	close_hole(table, (uint32_t)(slot - table->index));
	if (position != table->count - 1) {
		void *last = table->entries[table->count - 1];

		find_slot(table, last, hash_bytes(table, last))->position = position + 1;
		table->entries[position] = last;
	}
	table->count--;
	return entry;
}
