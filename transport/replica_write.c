/*
 * What a replica gives to etcd. Appends: one transaction in flight, records gathered into batches
 * meanwhile, each fenced by the own leader key's create revision and by the sequence before it. The
 * same transaction again is how an unknown result is resolved: its other branch reads the sequence
 * key, which says whether the first try was carried out.
 *
 * Snapshots: the upload key is set to this upload's name, chunks go under that name, then, once the
 * last record in it lasts, the manifest; what it replaces is deleted, the upload key with it, and
 * etcd compacted. Each of these transactions compares the upload key: a try of an earlier upload
 * that is carried out late must neither bring back an old manifest nor delete chunks of the present
 * one. Deletions compare the manifest too, since one that comes late may find the upload key as it
 * was, absent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/replica_private.h"

#define SLOW_US GW_US_PER_S /* the oldest record waits longer: stalled */
#define MICRO 1000000ull
#define COLLECT_BATCHES 500 /* deleted by one request: some milliseconds of etcd's */

static void add_else_range(struct gw_store_request *request, const char *key)
{
	struct gw_store_op *op;

	CHECK(request->else_op_count < GW_STORE_OPS_MAX);
	op = &request->else_ops[request->else_op_count++];
	op->kind = GW_STORE_RANGE;
	(void)snprintf(op->key, sizeof(op->key), "%s", key);
	op->limit = 1;
}

/* Records that may come now, in millionths: refilled at the rate, up to a second's worth. */
static uint64_t allowance_now(const struct gw_replica *replica, uint64_t now_us)
{
	const uint64_t most = GW_REPLICA_RECORDS_PER_S * MICRO;
	uint64_t past_us = now_us - replica->allowance_us;
	uint64_t more = past_us < GW_US_PER_S ? past_us * GW_REPLICA_RECORDS_PER_S : most;

	return replica->allowance + more < most ? replica->allowance + more : most;
}

/* The batch that takes `size` more bytes; NULL: no memory. */
static struct batch *open_batch(struct gw_replica *replica, uint64_t now_us, uint64_t seq,
				size_t size)
{
	struct batch *last = replica->batch_last;
	struct batch *batch;
	size_t capacity = GW_LAYOUT_BATCH_HEADER_BYTES + size;

	if (last && !last->sent && size <= last->capacity - last->size)
		return last;
	if (capacity < GW_REPLICA_BATCH_BYTES)
		capacity = GW_REPLICA_BATCH_BYTES;
	batch = malloc(sizeof(*batch) + capacity);
	if (!batch)
		return NULL;
	*batch = (struct batch){.first_seq = seq,
				.since_us = now_us,
				.size = GW_LAYOUT_BATCH_HEADER_BYTES,
				.capacity = capacity};
	gw_layout_batch_header(seq, batch->bytes);
	if (last)
		last->next = batch;
	else
		replica->batch_first = batch;
	replica->batch_last = batch;
	return batch;
}

int gw_replica_append(struct gw_replica *replica, uint64_t now_us, uint64_t seq,
		      const uint8_t *bytes, size_t size)
{
	uint64_t allowance = allowance_now(replica, now_us);
	struct batch *batch;

	if (replica->role != GW_REPLICA_LEADER)
		return 0; /* lost, and told so: what it appends is nobody's any more */
	CHECK(seq == replica->appended_seq + 1);
	if (size > GW_REPLICA_RECORD_BYTES_MAX)
		return -EMSGSIZE;
	if (size > GW_REPLICA_QUEUE_BYTES_MAX - replica->queue_bytes)
		return -ENOBUFS;
	batch = open_batch(replica, now_us, seq, GW_LAYOUT_FRAME_BYTES + size);
	if (!batch)
		return -ENOMEM;
	gw_layout_frame(size, batch->bytes + batch->size);
	memcpy(batch->bytes + batch->size + GW_LAYOUT_FRAME_BYTES, bytes, size);
	batch->size += GW_LAYOUT_FRAME_BYTES + size;
	batch->last_seq = seq;
	replica->appended_seq = seq;
	replica->queue_bytes += size;
	replica->allowance_us = now_us;
	replica->allowance = allowance > MICRO ? allowance - MICRO : 0;
	return 0;
}

static size_t payload_bytes(const struct batch *batch)
{
	uint64_t count = batch->last_seq - batch->first_seq + 1;

	return batch->size - GW_LAYOUT_BATCH_HEADER_BYTES - (size_t)count * GW_LAYOUT_FRAME_BYTES;
}

static void drop_first_batch(struct gw_replica *replica)
{
	struct batch *batch = replica->batch_first;

	replica->queue_bytes -= payload_bytes(batch);
	replica->batch_first = batch->next;
	if (!replica->batch_first)
		replica->batch_last = NULL;
	free(batch);
}

void drop_batches(struct gw_replica *replica)
{
	while (replica->batch_first)
		drop_first_batch(replica);
}

void make_append(struct gw_replica *replica, struct gw_store_request *request)
{
	struct batch *batch = replica->batch_first;
	struct gw_store_compare *sequence = &request->compares[1];
	char key[GW_STORE_KEY_BYTES];
	struct gw_store_op *op;

	batch->sent = true;
	compare_leader(replica, request);
	request->compare_count = 2;
	gw_layout_key(replica->prefix, "sequence", sequence->key);
	gw_layout_sequence(batch->first_seq - 1, replica->sequence_text[0]);
	gw_layout_sequence(batch->last_seq, replica->sequence_text[1]);
	if (batch->first_seq > 1) { /* else the key must be absent */
		sequence->by_value = true;
		sequence->value.bytes = (const uint8_t *)replica->sequence_text[0];
		sequence->value.size = GW_LAYOUT_SEQUENCE_BYTES - 1;
	}
	gw_layout_batch_key(replica->prefix, batch->last_seq, key);
	op = add_op(request, GW_STORE_PUT, key);
	op->value.bytes = batch->bytes;
	op->value.size = batch->size;
	op = add_op(request, GW_STORE_PUT, sequence->key);
	op->value.bytes = (const uint8_t *)replica->sequence_text[1];
	op->value.size = GW_LAYOUT_SEQUENCE_BYTES - 1;
	add_else_range(request, request->compares[0].key);
	add_else_range(request, sequence->key);
}

static void durable(struct gw_replica *replica)
{
	size_t size = replica->batch_first->size;

	replica->seq = replica->batch_first->last_seq;
	replica->last_seq = replica->seq;
	count_bytes(replica, replica->seq, size);
	replica->due_bytes += size;
	drop_first_batch(replica);
	replica->options.calls.durable(replica->options.calls.context, replica->seq);
}

void answer_append(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer)
{
	const struct gw_store_kv *leader;
	const struct gw_store_kv *sequence;
	uint64_t last_seq = 0;

	if (answer->result == GW_STORE_REFUSED)
		(void)snprintf(
			replica->refusal, sizeof(replica->refusal),
			"etcd refuses to keep records (%s); look at the user and the role that "
			"this scheduler has there",
			replica->trouble);
	if (answer->result != GW_STORE_DONE)
		return; /* the same again, later */
	replica->refusal[0] = '\0';
	if (answer->succeeded) {
		durable(replica);
		return;
	}
	leader = only_kv(&answer->found[0]);
	sequence = only_kv(&answer->found[1]);
	if (!leader || (uint64_t)leader->create_revision != replica->term) {
		step_down(replica, now_us,
			  "an append was refused: the leader key in etcd is gone or another's");
		return;
	}
	if (sequence && !gw_layout_read_sequence(sequence->value, &last_seq))
		last_seq = 0;
	if (last_seq == replica->batch_first->last_seq) {
		durable(replica); /* an earlier try was carried out */
		return;
	}
	fail(replica, -EUCLEAN,
	     "etcd ends at record %llu, and this leader left it at %llu: something else writes "
	     "under "
	     "%s; give this region a prefix of its own",
	     (unsigned long long)last_seq, (unsigned long long)replica->seq, replica->prefix);
}

const char *gw_replica_stalled(const struct gw_replica *replica, uint64_t now_us)
{
	const struct batch *first = replica->batch_first;
	bool slow = first && now_us - first->since_us > SLOW_US;

	if (replica->role != GW_REPLICA_LEADER)
		return "this scheduler does not lead its region; ask the one that does";
	if (replica->full)
		return "etcd is full: compact it, defragment it and disarm its alarm (etcdctl "
		       "compact, "
		       "defrag, alarm disarm), or give it a larger --quota-backend-bytes";
	if (replica->refusal[0] != '\0')
		return replica->refusal;
	if (replica->manifest.size + replica->since_bytes > GW_REPLICA_STORE_BYTES_MAX)
		return "the journal in etcd is larger than the 1 GiB that etcd is used for; let "
		       "jobs "
		       "end, or move the region to a journal of its own machine";
	if (slow && replica->lanes[LANE_RECORDS].tries > 0)
		return "etcd does not answer; look at its members (etcdctl endpoint status) and "
		       "the "
		       "network to them";
	if (slow)
		return "etcd takes more than a second to keep a record; look at its disk "
		       "(etcd_disk_wal_fsync_duration_seconds) and its load";
	if (allowance_now(replica, now_us) < MICRO)
		return "more than 20,000 records a second, which etcd is not used for here; try "
		       "again "
		       "in a second";
	return NULL;
}

/* What the journal in etcd takes. */

static void add_mark(struct gw_replica *replica, uint64_t seq)
{
	replica->marks[replica->mark_count++ % MARK_COUNT] =
		(struct mark){.seq = seq, .bytes = replica->total_bytes};
}

void count_bytes(struct gw_replica *replica, uint64_t seq, size_t size)
{
	const struct mark *last = &replica->marks[(replica->mark_count - 1) % MARK_COUNT];

	replica->total_bytes += size;
	replica->since_bytes += size;
	if (replica->total_bytes - last->bytes >= MARK_BYTES)
		add_mark(replica, seq);
}

void count_since(struct gw_replica *replica, uint64_t seq)
{
	uint32_t kept = replica->mark_count < MARK_COUNT ? replica->mark_count : MARK_COUNT;
	uint64_t before_bytes = 0;

	for (uint32_t i = replica->mark_count - kept; i < replica->mark_count; i++) {
		if (replica->marks[i % MARK_COUNT].seq <= seq)
			before_bytes = replica->marks[i % MARK_COUNT].bytes;
	}
	replica->since_bytes = replica->total_bytes - before_bytes;
}

void count_anew(struct gw_replica *replica, uint64_t seq)
{
	replica->total_bytes = 0;
	replica->since_bytes = 0;
	replica->mark_count = 0;
	add_mark(replica, seq);
}

/* Snapshots. */

bool gw_replica_snapshot_due(const struct gw_replica *replica, uint64_t bytes)
{
	return replica->role == GW_REPLICA_LEADER && replica->upload == UPLOAD_IDLE &&
	       replica->due_bytes >= bytes;
}

static void begin_upload(struct gw_replica *replica, const struct gw_replica_source *source)
{
	replica->upload = UPLOAD_BEGIN;
	replica->upload_manifest.term = replica->term;
	replica->upload_manifest.attempt = replica->upload_count++;
	gw_layout_snapshot_name(&replica->upload_manifest, replica->upload_marker);
	replica->upload_chunk = 0;
	replica->upload_filled = false;
	memset(replica->upload_hash, 0, sizeof(replica->upload_hash));
	replica->source = *source;
}

int gw_replica_snapshot(struct gw_replica *replica, uint64_t seq, uint64_t size,
			const struct gw_replica_source *source)
{
	if (replica->role != GW_REPLICA_LEADER || replica->upload != UPLOAD_IDLE)
		return -EBUSY;
	if (size > GW_REPLICA_STORE_BYTES_MAX)
		return -EFBIG;
	CHECK(seq > 0);
	CHECK(seq <= replica->appended_seq);
	replica->upload_manifest = (struct gw_layout_manifest){
		.seq = seq,
		.chunk_count =
			(uint32_t)((size + GW_REPLICA_CHUNK_BYTES - 1) / GW_REPLICA_CHUNK_BYTES),
		.size = size,
	};
	replica->upload_due_bytes = replica->due_bytes;
	replica->due_bytes = 0;
	begin_upload(replica, source);
	return 0;
}

static void end_source(struct gw_replica *replica, bool kept)
{
	struct gw_replica_source source = replica->source;

	replica->source = (struct gw_replica_source){0};
	source.ended(source.context, kept);
}

void drop_upload(struct gw_replica *replica)
{
	replica->upload = UPLOAD_IDLE;
	if (!replica->source.read)
		return;
	replica->due_bytes += replica->upload_due_bytes; /* it is due as it was */
	end_source(replica, false);
}

void begin_collect(struct gw_replica *replica)
{
	replica->upload = UPLOAD_COLLECT;
	replica->collect_end[0] = '\0';
}

/* Its chunks go at once: to delete is all that a full etcd takes, and what would keep it full. */
static void give_up_upload(struct gw_replica *replica)
{
	drop_upload(replica);
	begin_collect(replica);
}

bool upload_waits(const struct gw_replica *replica)
{
	if (replica->upload == UPLOAD_MANIFEST)
		return replica->seq >= replica->upload_manifest.seq;
	return replica->upload != UPLOAD_IDLE;
}

static size_t upload_chunk_size(const struct gw_replica *replica)
{
	uint64_t rest = replica->upload_manifest.size -
			(uint64_t)replica->upload_chunk * GW_REPLICA_CHUNK_BYTES;

	return rest < GW_REPLICA_CHUNK_BYTES ? (size_t)rest : GW_REPLICA_CHUNK_BYTES;
}

static bool make_chunk(struct gw_replica *replica, struct gw_store_request *request)
{
	uint64_t offset = (uint64_t)replica->upload_chunk * GW_REPLICA_CHUNK_BYTES;
	size_t size = upload_chunk_size(replica);
	char key[GW_STORE_KEY_BYTES];
	struct gw_store_op *op;

	if (!replica->upload_filled && replica->source.read(replica->source.context, offset,
							    replica->upload_bytes, size) < 0) {
		give_up_upload(replica);
		return false;
	}
	replica->upload_filled = true;
	gw_layout_chunk_key(replica->prefix, &replica->upload_manifest, replica->upload_chunk, key);
	op = add_op(request, GW_STORE_PUT, key);
	op->value.bytes = replica->upload_bytes;
	op->value.size = size;
	return true;
}

static void add_delete(struct gw_store_request *request, const char *key, const char *end)
{
	struct gw_store_op *op = add_op(request, GW_STORE_DELETE, key);

	(void)snprintf(op->end, sizeof(op->end), "%s", end);
}

/* Batches whose last record the manifest's snapshot has. */
static void replaced_batches(const struct gw_replica *replica, char ret_first[GW_STORE_KEY_BYTES],
			     char ret_end[GW_STORE_KEY_BYTES])
{
	gw_layout_batch_key(replica->prefix, 0, ret_first);
	gw_layout_batch_key(replica->prefix, replica->manifest.seq + 1, ret_end);
}

/* Everything that the manifest's snapshot replaces: other snapshots, and batches, a slice at a
 * time, since etcd answers nothing else while it deletes. Each request also looks which batches
 * make the next slice. */
static void make_collect(const struct gw_replica *replica, struct gw_store_request *request)
{
	char first[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES];
	char own_first[GW_STORE_KEY_BYTES];
	char own_end[GW_STORE_KEY_BYTES];

	replaced_batches(replica, first, end);
	if (replica->collect_end[0] != '\0')
		add_delete(request, first, replica->collect_end);
	add_range(request, first, end, COLLECT_BATCHES)->keys_only = true;
	gw_layout_key(replica->prefix, "upload", own_first);
	add_delete(request, own_first, "");
	gw_layout_key(replica->prefix, "snapshot/", first);
	gw_layout_key(replica->prefix, "snapshot0", end);
	if (replica->manifest.seq == 0) {
		add_delete(request, first, end);
		return;
	}
	gw_layout_chunk_bounds(replica->prefix, &replica->manifest, own_first, own_end);
	add_delete(request, first, own_first);
	add_delete(request, own_end, end);
}

/* That the key has this text; "": that it is absent. */
static void compare_text(const struct gw_replica *replica, struct gw_store_request *request,
			 const char *word, const char *text)
{
	struct gw_store_compare *compare;

	CHECK(request->compare_count < GW_STORE_COMPARES_MAX);
	compare = &request->compares[request->compare_count++];
	gw_layout_key(replica->prefix, word, compare->key);
	if (text[0] == '\0')
		return;
	compare->by_value = true;
	compare->value.bytes = (const uint8_t *)text;
	compare->value.size = strlen(text);
}

static void add_put(const struct gw_replica *replica, struct gw_store_request *request,
		    const char *word, const char *text)
{
	char key[GW_STORE_KEY_BYTES];
	struct gw_store_op *op;

	gw_layout_key(replica->prefix, word, key);
	op = add_op(request, GW_STORE_PUT, key);
	op->value.bytes = (const uint8_t *)text;
	op->value.size = strlen(text);
}

bool make_upload(struct gw_replica *replica, struct gw_store_request *request)
{
	if (replica->upload == UPLOAD_COMPACT) {
		request->kind = GW_STORE_COMPACT;
		request->revision = replica->collected_revision;
		return true;
	}
	compare_leader(replica, request);
	compare_text(replica, request, "upload", replica->marker);
	add_else_range(request, request->compares[0].key);
	add_else_range(request, request->compares[1].key);
	switch (replica->upload) {
	case UPLOAD_BEGIN:
		add_put(replica, request, "upload", replica->upload_marker);
		break;
	case UPLOAD_CHUNKS:
		return make_chunk(replica, request);
	case UPLOAD_MANIFEST:
		memcpy(replica->upload_manifest.hash, replica->upload_hash,
		       sizeof(replica->upload_hash));
		(void)gw_layout_manifest(&replica->upload_manifest, replica->manifest_text);
		add_put(replica, request, "manifest", replica->manifest_text);
		break;
	case UPLOAD_COLLECT:
		replica->manifest_text[0] = '\0';
		if (replica->manifest.seq > 0)
			(void)gw_layout_manifest(&replica->manifest, replica->manifest_text);
		compare_text(replica, request, "manifest", replica->manifest_text);
		make_collect(replica, request);
		break;
	case UPLOAD_IDLE:
	case UPLOAD_COMPACT:
		break;
	}
	return true;
}

static void begun(struct gw_replica *replica)
{
	memcpy(replica->marker, replica->upload_marker, sizeof(replica->marker));
	replica->upload =
		replica->upload_manifest.chunk_count == 0 ? UPLOAD_MANIFEST : UPLOAD_CHUNKS;
}

static void chunk_kept(struct gw_replica *replica)
{
	struct lane *lane = &replica->lanes[LANE_UPLOAD];

	gw_layout_hash(replica->upload_hash, replica->upload_bytes, upload_chunk_size(replica));
	replica->upload_filled = false;
	replica->upload_chunk++;
	if (replica->upload_chunk == replica->upload_manifest.chunk_count)
		replica->upload = UPLOAD_MANIFEST;
	else if (lane->at_us < lane->sent_us + replica->options.chunk_interval_us)
		lane->at_us = lane->sent_us + replica->options.chunk_interval_us;
}

static void manifest_kept(struct gw_replica *replica, uint64_t now_us)
{
	replica->lanes[LANE_UPLOAD].at_us = now_us + replica->options.collect_after_us;
	replica->manifest = replica->upload_manifest;
	count_since(replica, replica->manifest.seq);
	begin_collect(replica);
	end_source(replica, true);
}

static void collected(struct gw_replica *replica, const struct gw_store_answer *answer)
{
	struct lane *lane = &replica->lanes[LANE_UPLOAD];
	const struct gw_store_found *left = &answer->found[replica->collect_end[0] ? 1 : 0];
	const char *last = left->count > 0 ? left->kvs[left->count - 1].key : NULL;
	char first[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES];

	memset(replica->marker, 0, sizeof(replica->marker));
	replaced_batches(replica, first, end);
	if (!last || strcmp(last, first) < 0 || strcmp(last, end) >= 0) {
		replica->collected_revision = answer->revision;
		replica->upload = UPLOAD_COMPACT;
		return;
	}
	/* '!' sorts before every character of a key of ours, so this is just behind the last. */
	(void)snprintf(replica->collect_end, sizeof(replica->collect_end), "%.*s!",
		       (int)sizeof(replica->collect_end) - 2, last);
	if (lane->at_us < lane->sent_us + replica->options.chunk_interval_us)
		lane->at_us = lane->sent_us + replica->options.chunk_interval_us;
}

/* A compare did not hold: of the leader key, or of the upload key. */
static void upload_refused(struct gw_replica *replica, uint64_t now_us,
			   const struct gw_store_answer *answer)
{
	const struct gw_store_kv *leader = only_kv(&answer->found[0]);
	const struct gw_store_kv *marker = only_kv(&answer->found[1]);
	char before[GW_LAYOUT_SNAPSHOT_BYTES];
	bool same;

	if (!leader || (uint64_t)leader->create_revision != replica->term) {
		step_down(replica, now_us, "the leader key in etcd is gone or another's");
		return;
	}
	memcpy(before, replica->marker, sizeof(before));
	memset(replica->marker, 0, sizeof(replica->marker));
	if (marker && marker->value.size < sizeof(replica->marker))
		memcpy(replica->marker, marker->value.bytes, marker->value.size);
	same = strcmp(replica->marker, before) == 0;
	replica->lanes[LANE_UPLOAD].at_us = now_us + replica->options.chunk_interval_us;
	if (replica->upload == UPLOAD_BEGIN && strcmp(replica->marker, replica->upload_marker) == 0)
		begun(replica); /* an earlier try was carried out */
	else if (replica->upload == UPLOAD_CHUNKS || replica->upload == UPLOAD_MANIFEST || same)
		drop_upload(replica); /* an earlier upload's begin or manifest came late */
	/* Else the marker was another's, or this deletion's earlier try took it: again without. */
}

void answer_upload(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer)
{
	if (replica->upload == UPLOAD_COMPACT && answer->result != GW_STORE_UNKNOWN) {
		replica->upload = UPLOAD_IDLE; /* refused: it was compacted further already */
		return;
	}
	if (answer->result == GW_STORE_NO_SPACE || answer->result == GW_STORE_REFUSED) {
		/* The snapshot there is stays. */
		if (replica->upload == UPLOAD_COLLECT)
			drop_upload(replica);
		else
			give_up_upload(replica);
		return;
	}
	if (answer->result != GW_STORE_DONE)
		return; /* the same again, later */
	if (!answer->succeeded) {
		upload_refused(replica, now_us, answer);
		return;
	}
	switch (replica->upload) {
	case UPLOAD_BEGIN:
		begun(replica);
		break;
	case UPLOAD_CHUNKS:
		chunk_kept(replica);
		break;
	case UPLOAD_MANIFEST:
		manifest_kept(replica, now_us);
		break;
	case UPLOAD_COLLECT:
		collected(replica, answer);
		break;
	case UPLOAD_IDLE:
	case UPLOAD_COMPACT:
		break;
	}
}

/* Certificates. */

static int queue_cert(struct gw_replica *replica, const char *node, const uint8_t *bytes,
		      size_t size, uint64_t handle, bool drops)
{
	struct cert *cert;

	if (!name_good(node))
		return -EINVAL;
	if (size > GW_REPLICA_CERT_BYTES_MAX)
		return -EMSGSIZE;
	if (replica->cert_count >= GW_REPLICA_CERTS_WAITING_MAX)
		return -ENOBUFS;
	cert = malloc(sizeof(*cert) + size);
	if (!cert)
		return -ENOMEM;
	*cert = (struct cert){.handle = handle, .drops = drops, .size = size};
	(void)snprintf(cert->node, sizeof(cert->node), "%s", node);
	if (size > 0) /* none to drop one whatever it is */
		memcpy(cert->bytes, bytes, size);
	if (replica->cert_last)
		replica->cert_last->next = cert;
	else
		replica->cert_first = cert;
	replica->cert_last = cert;
	replica->cert_count++;
	return 0;
}

int gw_replica_put_cert(struct gw_replica *replica, const char *node, const uint8_t *bytes,
			size_t size, uint64_t handle)
{
	return queue_cert(replica, node, bytes, size, handle, false);
}

int gw_replica_drop_cert(struct gw_replica *replica, const char *node, const uint8_t *bytes,
			 size_t size)
{
	/* Room is left for those that joiners wait for. */
	if (replica->cert_count >= GW_REPLICA_CERTS_WAITING_MAX / 2)
		return -ENOBUFS;
	return queue_cert(replica, node, bytes, size, 0, true);
}

static void drop_first_cert(struct gw_replica *replica)
{
	struct cert *cert = replica->cert_first;

	replica->cert_first = cert->next;
	if (!replica->cert_first)
		replica->cert_last = NULL;
	replica->cert_count--;
	free(cert);
}

void drop_certs(struct gw_replica *replica)
{
	while (replica->cert_first)
		drop_first_cert(replica);
}

void make_cert(struct gw_replica *replica, struct gw_store_request *request)
{
	const struct cert *cert = replica->cert_first;
	char word[GW_REPLICA_NAME_BYTES + 16];
	char key[GW_STORE_KEY_BYTES];
	struct gw_store_op *op;

	(void)snprintf(word, sizeof(word), "certs/%s", cert->node);
	gw_layout_key(replica->prefix, word, key);
	if (cert->drops) {
		struct gw_store_compare *compare = &request->compares[request->compare_count++];

		memcpy(compare->key, key, sizeof(key));
		compare->by_value = true;
		compare->value.bytes = cert->bytes;
		compare->value.size = cert->size;
		add_delete(request, key, "");
		return;
	}
	op = add_op(request, GW_STORE_PUT, key);
	op->value.bytes = cert->bytes;
	op->value.size = cert->size;
	gw_layout_key(replica->prefix, "certs-changed", key);
	(void)add_op(request, GW_STORE_PUT, key); /* its modification revision is the counter */
}

void answer_cert(struct gw_replica *replica, const struct gw_store_answer *answer)
{
	uint64_t handle = replica->cert_first->handle;
	bool drops = replica->cert_first->drops;

	if (answer->result != GW_STORE_DONE)
		return; /* the same again, later */
	drop_first_cert(replica);
	if (!drops)
		replica->options.calls.cert_kept(replica->options.calls.context, handle);
}
