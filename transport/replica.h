/*
 * One scheduler of several that share a journal in etcd: it follows the journal, becomes its leader
 * when there is none, appends as leader, and knows when it no longer is. Pure: requests to etcd
 * come out, answers and the time go in (transport/journal_etcd carries them; tests do it with a
 * model). Each request may be answered, refused, or end with an unknown result; every one is made
 * so that repeating it is harmless.
 *
 * Start: gw_replica_new. Then gw_replica_next until false, after every call and at
 * gw_replica_wake_us, and gw_replica_answer for each request.
 *
 * Run, as follower: reset, pieces, records, following. When the leader key is absent and all is
 * read: candidate, then leader: gw_replica_append, durable; until lost, and a follower again.
 *
 * Stop: gw_replica_stop. What was appended is written, the lease given back.
 *
 * Keys, all under the prefix: see transport/README.md, "The journal in etcd".
 */
#ifndef GODWIT_TRANSPORT_REPLICA_H
#define GODWIT_TRANSPORT_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/store.h"

#define GW_REPLICA_PREFIX_BYTES 64u    /* longest prefix, NUL included */
#define GW_REPLICA_NAME_BYTES 33u      /* of a member or a node: 32 hexadecimal digits */
#define GW_REPLICA_ADDRESS_BYTES 1024u /* text that a member advertises */
#define GW_REPLICA_MEMBERS_MAX 16u
#define GW_REPLICA_BATCH_BYTES (64u << 10) /* a larger record is a batch of its own */
#define GW_REPLICA_RECORD_BYTES_MAX (1u << 20)
#define GW_REPLICA_QUEUE_BYTES_MAX (64u << 20) /* appended, not yet written */
#define GW_REPLICA_RECORDS_PER_S 20000u
#define GW_REPLICA_STORE_BYTES_MAX (1ull << 30) /* snapshot and the records after it */
#define GW_REPLICA_CHUNK_BYTES (256u << 10)
#define GW_REPLICA_CERTS_WAITING_MAX 64u
#define GW_REPLICA_CERT_BYTES_MAX (16u << 10)

enum gw_replica_role {
	GW_REPLICA_FOLLOWER,
	GW_REPLICA_CANDIDATE, /* holds the leader key, reads what is left */
	GW_REPLICA_LEADER,
	GW_REPLICA_STOPPED,
};

struct gw_replica_member {
	char name[GW_REPLICA_NAME_BYTES];
	char address[GW_REPLICA_ADDRESS_BYTES];
	bool leader;
};

/*
 * What a replica tells its owner. All are called from gw_replica_answer, gw_replica_next or
 * gw_replica_stop. From `leader`, `durable` and `cert_kept` it may append and put; no call may
 * free or stop the replica. Pointers are valid during the call.
 */
struct gw_replica_calls {
	/* All that was told so far is void: begin with a core without history. Also the first
	 * call. */
	void (*reset)(void *context);
	/* One piece of the snapshot of `seq`, in order. Negative errno: ends in `failed`. */
	int (*piece)(void *context, uint64_t seq, const uint8_t *bytes, size_t size);
	/* The next record. Negative errno: ends in `failed`. */
	int (*record)(void *context, uint64_t seq, const uint8_t *bytes, size_t size);
	/* A follower has read all, up to `seq`; `leader`: the address of who leads, "" nobody yet.
	 * Again when that changes. */
	void (*following)(void *context, const char *leader, uint64_t seq);
	/* This one leads from now on. All records up to `seq` were told, all certificates too. */
	void (*leader)(void *context, uint64_t term, uint64_t seq);
	/* It leads no more: nothing appended since the last `durable` is sure to last. `reason`: a
	 * sentence. `reset` follows once etcd is read again. */
	void (*lost)(void *context, const char *reason);
	/* Records up to `seq` last. */
	void (*durable)(void *context, uint64_t seq);
	/* It cannot go on: what etcd holds is damaged or not ours, or the owner failed. */
	void (*failed)(void *context, int error, const char *text);
	/* Who is there, by name, the own one included; `more`: so many that others are left out;
	 * `revision`: of etcd, larger with each change, whoever is told. Told when it changes. */
	void (*members)(void *context, const struct gw_replica_member *members, size_t count,
			bool more, uint64_t revision);
	/* A certificate, old or new; one's own too. */
	void (*cert)(void *context, const char *node, const uint8_t *bytes, size_t size);
	/* The certificate put with this handle lasts. */
	void (*cert_kept)(void *context, uint64_t handle);
	/* After gw_replica_stop: all is written and the lease is given back, or the time is up. */
	void (*stopped)(void *context);
	void *context;
};

struct gw_replica_options {
	const char *prefix;         /* "/godwit/REGION": no slash at the end */
	const char *name;           /* of this scheduler, unlike any other's: 1 to 32 digits */
	const char *address;        /* told to the others; opaque */
	uint32_t lease_ttl_s;       /* 0: 3 */
	uint64_t poll_us;           /* how often a follower asks; 0: 50 ms */
	uint64_t chunk_interval_us; /* least time between two chunks of a snapshot; 0: 30 ms */
	uint64_t collect_after_us;  /* a follower may lag this far behind a new snapshot before it
				     * must begin again from it; 0: 5 s */
	struct gw_replica_calls calls;
};

struct gw_replica;

/* 0; -EINVAL: an option out of its range; -ENOMEM. */
int gw_replica_new(const struct gw_replica_options *options, uint64_t now_us,
		   struct gw_replica **ret_replica);
struct gw_replica *gw_replica_free(struct gw_replica *replica);

/* The next request to send; false: none now. It points into the replica: valid until the next call
 * of next or answer. */
bool gw_replica_next(struct gw_replica *replica, uint64_t now_us,
		     const struct gw_store_request **ret_request);
/* What became of the request `id`. One that is no longer waited for is ignored. */
void gw_replica_answer(struct gw_replica *replica, uint64_t now_us, uint64_t id,
		       const struct gw_store_answer *answer);
/* When gw_replica_next may have more without an answer; GW_NEVER_US. */
uint64_t gw_replica_wake_us(const struct gw_replica *replica);

/* Leader only: takes (copies) record `seq`, one more than the last. 0; -ENOBUFS: the queue is full;
 * -EMSGSIZE; -ENOMEM. After `lost` it is accepted and dropped, so that a step in hand may end. */
int gw_replica_append(struct gw_replica *replica, uint64_t now_us, uint64_t seq,
		      const uint8_t *bytes, size_t size);
/* As in struct gw_journal. */
const char *gw_replica_stalled(const struct gw_replica *replica, uint64_t now_us);
bool gw_replica_valid(const struct gw_replica *replica, uint64_t now_us);

/* Any role: keeps a certificate, then calls cert_kept(handle). 0; -ENOBUFS: too many wait;
 * -EMSGSIZE; -EINVAL: `node` is not a name; -ENOMEM. */
int gw_replica_put_cert(struct gw_replica *replica, const char *node, const uint8_t *bytes,
			size_t size, uint64_t handle);

/* Any role: the certificate told of `node` is of no use any more; it goes, unless another stands
 * there meanwhile. As put_cert, but nothing is called; when it fails, it stays. */
int gw_replica_drop_cert(struct gw_replica *replica, const char *node, const uint8_t *bytes,
			 size_t size);

/* Where the bytes of a snapshot come from. */
struct gw_replica_source {
	/* Reads `size` bytes from `offset` into ret_bytes. 0; negative errno gives the snapshot up.
	 */
	int (*read)(void *context, uint64_t offset, uint8_t *ret_bytes, size_t size);
	/* It is in etcd, or was given up; not read any more. From where `calls` are made. */
	void (*ended)(void *context, bool kept);
	void *context;
};

/* True: enough was appended since the last snapshot (`bytes`), and none is under way. */
bool gw_replica_snapshot_due(const struct gw_replica *replica, uint64_t bytes);
/* Leader only. Uploads a snapshot of all records up to `seq`: `size` bytes, pieces one after the
 * other, each behind its length (gw_layout_frame). 0; -EBUSY: one is under way, or not leader;
 * -EFBIG: past GW_REPLICA_STORE_BYTES_MAX. Ends with `ended`. */
int gw_replica_snapshot(struct gw_replica *replica, uint64_t seq, uint64_t size,
			const struct gw_replica_source *source);
/* Writes what was appended, for as long as a lease lasts, gives the lease (and with it the leader
 * key) back, then calls stopped; that at the latest a third of a lease later. What etcd did not take
 * until then is dropped: nobody was told of it. */
void gw_replica_stop(struct gw_replica *replica, uint64_t now_us);

struct gw_replica_status {
	enum gw_replica_role role;
	uint64_t term;         /* candidate, leader */
	uint64_t seq;          /* last record told (follower) or durable (leader) */
	uint64_t last_seq;     /* in etcd, as last heard */
	uint64_t snapshot_seq; /* of the snapshot in etcd; 0: none */
	uint64_t store_bytes;  /* snapshot and the records after it */
	uint64_t queue_bytes;  /* appended and not yet durable */
	uint64_t heard_us;     /* when etcd last answered; 0: never */
	const char *trouble;   /* what it last said instead; "": nothing */
};

void gw_replica_status(const struct gw_replica *replica, struct gw_replica_status *ret_status);

#endif
