/*
 * An etcd in memory for the journal kept in etcd: what transport/store asks, done as etcd would do
 * it, at the time given. It loses and delays nothing; who uses it does that to requests and
 * answers. Keys, values and leases are bounded only by memory.
 */
#ifndef GODWIT_TESTS_REPLICA_MODEL_H
#define GODWIT_TESTS_REPLICA_MODEL_H

#include "proto/base/arena.h"
#include "transport/store.h"

struct replica_model_kv {
	char key[GW_STORE_KEY_BYTES];
	uint8_t *value;
	size_t size;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t lease;
};

struct replica_model_lease {
	int64_t id;
	int64_t ttl_s;
	uint64_t until_us;
};

struct replica_model {
	struct replica_model_kv *kvs; /* [count], by key */
	size_t count;
	size_t capacity;
	struct replica_model_lease *leases; /* [lease_count] */
	size_t lease_count;
	size_t lease_capacity;
	int64_t revision;
	int64_t lease_ids;
	int64_t compacted;
	uint64_t bytes;        /* of values */
	uint64_t old_bytes;    /* of values replaced or deleted, until they are compacted */
	uint64_t quota_bytes;  /* of both; a put past it raises the alarm; 0: no quota */
	bool full;             /* the NOSPACE alarm, until somebody disarms it: puts are refused */
	uint64_t deleted_most; /* keys, by one request */
	uint64_t requests;
	uint64_t puts; /* requests that put */
};

void replica_model_init(struct replica_model *model);
void replica_model_deinit(struct replica_model *model);
/* Ends the leases that ran out, with their keys. */
void replica_model_expire(struct replica_model *model, uint64_t now_us);
/* Carries the request out. The answer's pointers are into the arena. */
void replica_model_ask(struct replica_model *model, uint64_t now_us,
		       const struct gw_store_request *request, struct gw_arena *arena,
		       struct gw_store_answer *ret_answer);
/* The key's entry; NULL: none. */
const struct replica_model_kv *replica_model_find(const struct replica_model *model,
						  const char *key);

/* A request whose values stay as they are now, for one that is carried out later. */
struct gw_store_request *replica_model_copy(const struct gw_store_request *request,
					    struct gw_arena *arena);

#endif
