/*
 * What is asked of etcd and what it answers, as plain data: transport/etcd carries it over HTTP, a
 * model carries it in tests and simulations. Every read and write is a transaction; one without
 * compares always succeeds. Keys are ASCII text, values are bytes. Nothing here owns memory.
 */
#ifndef GODWIT_TRANSPORT_STORE_H
#define GODWIT_TRANSPORT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_STORE_KEY_BYTES 160u /* longest key, NUL included */
#define GW_STORE_COMPARES_MAX 3u
#define GW_STORE_OPS_MAX 6u   /* of one branch */
#define GW_STORE_KVS_MAX 500u /* of one range; every range sets a limit up to this */
#define GW_STORE_ANSWER_BYTES_MAX (24u << 20) /* as JSON */

enum gw_store_kind {
	GW_STORE_TXN,
	GW_STORE_LEASE_GRANT,
	GW_STORE_LEASE_KEEPALIVE,
	GW_STORE_LEASE_REVOKE,
	GW_STORE_COMPACT,
};

struct gw_store_bytes {
	const uint8_t *bytes;
	size_t size;
};

/* Equality is the only comparison used. */
struct gw_store_compare {
	char key[GW_STORE_KEY_BYTES];
	bool by_value; /* else by create revision; 0: the key is absent */
	int64_t create_revision;
	struct gw_store_bytes value; /* a missing key equals no value */
};

enum gw_store_op_kind { GW_STORE_RANGE, GW_STORE_PUT, GW_STORE_DELETE };

struct gw_store_op {
	enum gw_store_op_kind kind;
	char key[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES]; /* range, delete: up to before this key; "": one key */
	int64_t limit;                /* range: 1 .. GW_STORE_KVS_MAX */
	int64_t min_mod_revision;     /* range: changed since; 0: all */
	bool keys_only;               /* range: without their values */
	int64_t lease;                /* put; 0: none */
	struct gw_store_bytes value;  /* put */
};

struct gw_store_request {
	uint64_t id; /* comes back with the answer */
	enum gw_store_kind kind;
	uint64_t deadline_us; /* from sending; then its result is unknown */
	uint32_t compare_count;
	uint32_t op_count;      /* when all compares hold */
	uint32_t else_op_count; /* when not */
	struct gw_store_compare compares[GW_STORE_COMPARES_MAX];
	struct gw_store_op ops[GW_STORE_OPS_MAX];
	struct gw_store_op else_ops[GW_STORE_OPS_MAX];
	int64_t lease;    /* keepalive, revoke */
	int64_t ttl_s;    /* grant */
	int64_t revision; /* compact */
};

enum gw_store_result {
	GW_STORE_DONE,
	GW_STORE_UNKNOWN,  /* it may have been carried out, may yet be, or never */
	GW_STORE_NO_SPACE, /* refused: etcd's quota is used up */
	GW_STORE_NO_LEASE, /* refused: the lease is not there */
	GW_STORE_REFUSED,  /* refused for another reason, in `text` */
};

struct gw_store_kv {
	const char *key;
	struct gw_store_bytes value;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t lease; /* 0: none */
};

/* Of one op; empty for puts and deletes. */
struct gw_store_found {
	const struct gw_store_kv *kvs; /* [count], by key */
	size_t count;
	bool more; /* the limit cut it */
};

struct gw_store_answer {
	enum gw_store_result result;
	const char *text; /* unless done: a sentence */
	int64_t revision; /* the store's, of this answer */
	bool succeeded;   /* txn: all compares held */
	uint32_t found_count;
	struct gw_store_found found[GW_STORE_OPS_MAX]; /* one for each op of the branch taken */
	int64_t lease;                                 /* grant, keepalive */
	int64_t ttl_s;                                 /* grant, keepalive; 0: the lease is gone */
};

#endif
