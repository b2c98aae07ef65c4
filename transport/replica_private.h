/*
 * The inside of a replica, shared by its three parts: replica.c (life, lease and role),
 * replica_read.c (what comes from etcd) and replica_write.c (what goes there).
 *
 * A replica has a few lanes. Each has at most one request in flight and makes its next one from the
 * state as it then is, so a request whose result is unknown is followed by one that means the same.
 */
#ifndef GODWIT_TRANSPORT_REPLICA_PRIVATE_H
#define GODWIT_TRANSPORT_REPLICA_PRIVATE_H

#include "proto/base/buf.h"
#include "proto/base/time.h"
#include "transport/replica.h"
#include "transport/replica_layout.h"

#define ROSTER_US (500 * GW_US_PER_MS) /* from one look at it to the next */

enum lane_kind {
	LANE_LEASE,
	LANE_RECORDS, /* follower: reads; leader: appends */
	LANE_UPLOAD,  /* leader: snapshots, and what may go after one */
	LANE_ROSTER,  /* members and certificates */
	LANE_CERT,    /* certificates to keep */
	LANE_COUNT,
};

struct lane {
	bool in_flight;
	uint64_t id; /* of the request in flight */
	uint64_t sent_us;
	uint64_t at_us; /* not before this time */
	uint32_t tries; /* unknown results in a row */
	struct gw_store_request request;
};

enum lease_state { LEASE_NONE, LEASE_HELD, LEASE_GIVING_BACK };

enum reading { READING_MANIFEST, READING_CHUNKS, READING_RECORDS, READING_CAMPAIGN };

enum upload_state {
	UPLOAD_IDLE,
	UPLOAD_BEGIN,
	UPLOAD_CHUNKS,
	UPLOAD_MANIFEST,
	UPLOAD_COLLECT,
	UPLOAD_COMPACT,
};

enum roster_state { ROSTER_LOOK, ROSTER_JOIN, ROSTER_CERTS };

/* Records for one key, as they will lie there. */
struct batch {
	struct batch *next;
	uint64_t first_seq;
	uint64_t last_seq;
	uint64_t since_us; /* when the first was appended */
	bool sent;         /* stays as it is: a try may yet be carried out */
	size_t size;
	size_t capacity;
	uint8_t bytes[];
};

#define MARK_COUNT 256u
#define MARK_BYTES (GW_REPLICA_STORE_BYTES_MAX / MARK_COUNT) /* from one to the next */

/* When a snapshot is there its last record is in the past: the bytes behind it are reckoned from the
 * last mark before it. */
struct mark {
	uint64_t seq;
	uint64_t bytes; /* total_bytes with the batch that ends at `seq` */
};

struct cert {
	struct cert *next;
	uint64_t handle;
	bool drops; /* to be taken out of etcd, if it is these bytes */
	char node[GW_REPLICA_NAME_BYTES];
	size_t size;
	uint8_t bytes[];
};

struct gw_replica {
	char prefix[GW_REPLICA_PREFIX_BYTES];
	char name[GW_REPLICA_NAME_BYTES];
	char leader_value[GW_REPLICA_NAME_BYTES + GW_REPLICA_ADDRESS_BYTES]; /* "NAME ADDRESS" */
	struct gw_replica_options options; /* strings of it are not used after new */
	struct lane lanes[LANE_COUNT];
	uint64_t request_count; /* ever: the next id */
	enum gw_replica_role role;
	uint64_t term; /* create revision of the own leader key; 0: not held */
	uint64_t heard_us;
	char trouble[200]; /* what etcd answered instead of doing it; "": nothing */
	bool full;         /* etcd refuses for its quota */
	char refusal[300]; /* why it refuses appends; "": it does not */
	bool failed;
	bool stopping;
	uint64_t stop_us; /* then it is stopped at the latest */

	enum lease_state lease_state;
	int64_t lease;
	uint64_t lease_ttl_us;
	uint64_t lease_until_us; /* what the last renewal is good for, by the own clock */

	enum reading reading;
	uint64_t seq;      /* follower: last told; leader: last durable */
	uint64_t last_seq; /* in etcd, as last heard */
	bool gap;          /* records after `seq` were not there: a newer snapshot must have them */
	bool torn;         /* chunks of `manifest` were not there: a newer manifest must be */
	uint32_t read_halvings;             /* of how much one read asks for */
	struct gw_layout_manifest manifest; /* of the snapshot in etcd; seq 0: none */
	uint32_t chunk;                     /* next to read */
	uint64_t chunk_bytes;               /* read so far */
	uint8_t hash[GW_LAYOUT_HASH_BYTES]; /* of the chunks read so far */
	struct gw_buf piece;                /* a frame that is not whole yet */
	char leader[GW_REPLICA_ADDRESS_BYTES];
	bool following; /* said of `leader` */

	struct batch *batch_first; /* in flight, when the lane's request is */
	struct batch *batch_last;
	uint64_t appended_seq;
	size_t queue_bytes;
	uint64_t allowance; /* records that may still come, in millionths */
	uint64_t allowance_us;
	uint64_t total_bytes;          /* of batches, since the first read */
	struct mark marks[MARK_COUNT]; /* a ring of how total_bytes grew */
	uint32_t mark_count;           /* ever */
	uint64_t since_bytes; /* of records after the snapshot, or a mark's distance more */
	uint64_t due_bytes;   /* of records since a snapshot was last begun */

	enum upload_state upload;
	struct gw_layout_manifest upload_manifest; /* of the snapshot that is being uploaded */
	uint32_t upload_chunk;
	uint32_t upload_count;                        /* ever */
	uint64_t upload_due_bytes;                    /* due_bytes when it was begun */
	uint8_t upload_hash[GW_LAYOUT_HASH_BYTES];    /* of the chunks before upload_chunk */
	uint8_t *upload_bytes;                        /* [GW_REPLICA_CHUNK_BYTES] */
	bool upload_filled;                           /* with upload_chunk */
	struct gw_replica_source source;              /* read NULL: none */
	char marker[GW_LAYOUT_SNAPSHOT_BYTES];        /* in etcd's upload key as last heard */
	char upload_marker[GW_LAYOUT_SNAPSHOT_BYTES]; /* of this upload */
	char manifest_text[GW_LAYOUT_MANIFEST_BYTES];
	char collect_end[GW_STORE_KEY_BYTES]; /* before which batches go next; "": none known yet */
	int64_t collected_revision;

	enum roster_state roster;
	uint64_t join_us; /* not again before this time */
	bool left_out;    /* there are more members than are read */
	struct gw_replica_member members[GW_REPLICA_MEMBERS_MAX];
	size_t member_count;
	int64_t certs_seen;   /* revision up to which all certificates were told */
	int64_t certs_target; /* while they are read */
	char certs_from[GW_STORE_KEY_BYTES];
	struct cert *cert_first;
	struct cert *cert_last;
	uint32_t cert_count;

	char sequence_text[2]
			  [GW_LAYOUT_SEQUENCE_BYTES]; /* of the append in flight: before, after */
};

/* Requests. */
struct gw_store_op *add_range(struct gw_store_request *request, const char *key, const char *end,
			      int64_t limit);
struct gw_store_op *add_op(struct gw_store_request *request, enum gw_store_op_kind kind,
			   const char *key);
/* The transaction is refused unless this replica's leader key is there. */
void compare_leader(const struct gw_replica *replica, struct gw_store_request *request);

/* replica.c */
/* Of a member or a node. */
bool name_good(const char *name);
void fail(struct gw_replica *replica, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Leader or candidate no more; `reason` NULL: not to be told. */
void step_down(struct gw_replica *replica, uint64_t now_us, const char *reason);
void lease_gone(struct gw_replica *replica, uint64_t now_us);
bool lease_good(const struct gw_replica *replica, uint64_t now_us);

/* A batch up to `seq` is in etcd. */
void count_bytes(struct gw_replica *replica, uint64_t seq, size_t size);
/* A snapshot up to `seq` is: since_bytes from now on. */
void count_since(struct gw_replica *replica, uint64_t seq);
/* Nothing was read or appended, beyond a snapshot up to `seq`. */
void count_anew(struct gw_replica *replica, uint64_t seq);

/* replica_read.c: the RECORDS lane of a follower, and ROSTER. */
void make_read(struct gw_replica *replica, struct gw_store_request *request);
void answer_read(struct gw_replica *replica, uint64_t now_us, const struct gw_store_answer *answer);
void make_roster(struct gw_replica *replica, struct gw_store_request *request);
void answer_roster(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer);
/* What a key that holds one value has; NULL: it is not there. */
const struct gw_store_kv *only_kv(const struct gw_store_found *found);

/* replica_write.c */
void make_append(struct gw_replica *replica, struct gw_store_request *request);
void answer_append(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer);
void drop_batches(struct gw_replica *replica);
/* Starts the upload lane for deleting what the manifest's snapshot replaced. */
void begin_collect(struct gw_replica *replica);
/* Whether the upload lane has something to send. */
bool upload_waits(const struct gw_replica *replica);
/* False: the source failed and the upload was given up. */
bool make_upload(struct gw_replica *replica, struct gw_store_request *request);
void answer_upload(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer);
void drop_upload(struct gw_replica *replica);
/* Certificates. */
void make_cert(struct gw_replica *replica, struct gw_store_request *request);
void answer_cert(struct gw_replica *replica, const struct gw_store_answer *answer);
void drop_certs(struct gw_replica *replica);

#endif
