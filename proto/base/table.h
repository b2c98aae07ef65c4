/*
 * A bounded map from fixed-size keys to entries that the caller owns. An entry's first bytes are
 * its key. Entries stand in a dense array (so iteration is a plain loop, in an order that depends
 * only on the calls made, never on addresses) with an open-addressing index beside it.
 *
 *	for (uint32_t i = 0; i < table.count; i++)
 *		struct site *site = table.entries[i];
 */
#ifndef GODWIT_PROTO_BASE_TABLE_H
#define GODWIT_PROTO_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct gw_table_slot {
	uint32_t position; /* 1 + position in entries; 0: free */
	uint32_t hash;     /* of the key there: entries of other keys are rarely looked at */
};

struct gw_table {
	void **entries; /* [count] dense; removal moves the last entry into the hole */
	uint32_t count;
	uint32_t limit;              /* count never exceeds this */
	struct gw_table_slot *index; /* [index_size] */
	uint32_t index_size;         /* a power of two, or 0 */
	uint32_t capacity;           /* of entries */
	uint32_t key_bytes;
	uint64_t hash_key; /* mixed into the hash: peers cannot aim at one chain */
};

/* `hash_key` comes from the caller (kernel randomness in a daemon, the seed in a simulation). */
void gw_table_init(struct gw_table *table, uint32_t key_bytes, uint32_t limit, uint64_t hash_key);
/* Frees the table, not the entries. */
void gw_table_deinit(struct gw_table *table);
/* The entry with this key, or NULL. */
void *gw_table_find(const struct gw_table *table, const void *key);
/* 0; -EEXIST: the key is there; -ENOBUFS: at the limit; -ENOMEM. Nothing changed on error. */
int gw_table_add(struct gw_table *table, void *entry);
/* Takes the entry out and returns it; NULL: not there. */
void *gw_table_remove(struct gw_table *table, const void *key);

#endif
