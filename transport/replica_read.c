/*
 * What a replica takes from etcd. A follower reads the manifest, the snapshot's chunks, then asks
 * again and again for the records after the last it has; each such answer also holds the leader key,
 * the last sequence, the manifest and the certificates' counter of the same revision, so that "all
 * is read" and "nobody leads" are judged of one moment. Beside it, the roster: members and
 * certificates, whatever the role.
 *
 * Batches below a snapshot are deleted, so a reader that is slower than that finds a gap (or a
 * chunk that is gone) and begins again at the manifest. Finding the same manifest then is damage.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/replica_private.h"

#define BATCHES_A_READ 16
#define CHUNKS_A_READ 8
#define HALVINGS_MAX 4u /* then both are 1 */
#define CERTS_A_READ 500
#define CERTS_WAIT_US (5 * GW_US_PER_MS) /* a candidate's, for the roster */

/* The ops of a read of records, in order. */
enum { FOUND_LEADER, FOUND_SEQUENCE, FOUND_BATCHES, FOUND_CERTS, FOUND_MANIFEST };

/* The ops of a look at the roster. */
enum { LOOK_LEADER, LOOK_CERTS, LOOK_MEMBERS, LOOK_OWN };

static void add_read(const struct gw_replica *replica, struct gw_store_request *request,
		     const char *word)
{
	char key[GW_STORE_KEY_BYTES];

	gw_layout_key(replica->prefix, word, key);
	(void)add_range(request, key, "", 1);
}

/* How many of that size one read asks for, over a path that may be slow. */
static int64_t read_limit(const struct gw_replica *replica, int64_t most)
{
	int64_t limit = most >> replica->read_halvings;

	return limit > 0 ? limit : 1;
}

static void make_read_records(struct gw_replica *replica, struct gw_store_request *request)
{
	char key[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES];

	add_read(replica, request, "leader");
	add_read(replica, request, "sequence");
	gw_layout_batch_key(replica->prefix, replica->seq + 1, key);
	gw_layout_key(replica->prefix, "batch0", end);
	(void)add_range(request, key, end, read_limit(replica, BATCHES_A_READ));
	add_read(replica, request, "certs-changed");
	add_read(replica, request, "manifest");
}

void make_read(struct gw_replica *replica, struct gw_store_request *request)
{
	char key[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES];
	struct gw_store_op *op;

	switch (replica->reading) {
	case READING_MANIFEST:
		add_read(replica, request, "manifest");
		break;
	case READING_CHUNKS:
		gw_layout_chunk_bounds(replica->prefix, &replica->manifest, key, end);
		gw_layout_chunk_key(replica->prefix, &replica->manifest, replica->chunk, key);
		(void)add_range(request, key, end, read_limit(replica, CHUNKS_A_READ));
		break;
	case READING_RECORDS:
		make_read_records(replica, request);
		break;
	case READING_CAMPAIGN:
		CHECK(replica->term == 0);
		compare_leader(replica, request); /* create revision 0: it is absent */
		gw_layout_key(replica->prefix, "leader", key);
		op = add_op(request, GW_STORE_PUT, key);
		op->lease = replica->lease;
		op->value.bytes = (const uint8_t *)replica->leader_value;
		op->value.size = strlen(replica->leader_value);
		break;
	}
}

const struct gw_store_kv *only_kv(const struct gw_store_found *found)
{
	return found->count > 0 ? &found->kvs[0] : NULL;
}

static bool same_snapshot(const struct gw_layout_manifest *a, const struct gw_layout_manifest *b)
{
	return a->seq == b->seq && a->term == b->term && a->attempt == b->attempt;
}

/* Zeroed when there is none. False: not readable, and failed. */
static bool take_manifest(struct gw_replica *replica, const struct gw_store_found *found,
			  struct gw_layout_manifest *ret_manifest)
{
	const struct gw_store_kv *kv = only_kv(found);

	memset(ret_manifest, 0, sizeof(*ret_manifest));
	if (!kv || gw_layout_read_manifest(kv->value, ret_manifest))
		return true;
	fail(replica, -EPROTO,
	     "etcd: %s/manifest is not a snapshot's that this version reads: another program's "
	     "key, "
	     "or a newer version's; upgrade, or give this region another prefix",
	     replica->prefix);
	return false;
}

static void answer_manifest(struct gw_replica *replica, const struct gw_store_answer *answer)
{
	struct gw_layout_manifest manifest;
	bool same;

	if (!take_manifest(replica, &answer->found[0], &manifest))
		return;
	same = same_snapshot(&manifest, &replica->manifest);
	if (replica->torn && same) {
		fail(replica, -EUCLEAN,
		     "etcd: chunk %u of %u of the snapshot up to record %llu is missing or "
		     "damaged; "
		     "restore etcd from its last backup (etcdctl snapshot restore)",
		     replica->chunk, manifest.chunk_count, (unsigned long long)manifest.seq);
		return;
	}
	if (replica->gap && manifest.seq <= replica->seq) {
		fail(replica, -EUCLEAN,
		     "etcd: the records after %llu are missing, and no snapshot has them; restore "
		     "etcd from its last backup (etcdctl snapshot restore)",
		     (unsigned long long)replica->seq);
		return;
	}
	replica->manifest = manifest;
	replica->torn = false;
	replica->gap = false;
	replica->seq = 0;
	replica->last_seq = 0;
	replica->chunk = 0;
	replica->chunk_bytes = 0;
	count_anew(replica, manifest.seq);
	replica->following = false;
	replica->piece.size = 0;
	memset(replica->hash, 0, sizeof(replica->hash));
	replica->reading = manifest.chunk_count > 0 ? READING_CHUNKS : READING_RECORDS;
	replica->options.calls.reset(replica->options.calls.context);
}

/* Tells the pieces that are whole. False: failed. */
static bool tell_pieces(struct gw_replica *replica)
{
	struct gw_store_bytes rest = {.bytes = replica->piece.bytes, .size = replica->piece.size};
	struct gw_store_bytes frame;
	size_t size;

	while (gw_layout_read_frame(rest, GW_REPLICA_RECORD_BYTES_MAX, &frame, &size)) {
		int error = replica->options.calls.piece(replica->options.calls.context,
							 replica->manifest.seq, frame.bytes,
							 frame.size);

		if (error < 0) {
			fail(replica, error,
			     "a piece of the snapshot up to record %llu is not one that this "
			     "version reads: %s",
			     (unsigned long long)replica->manifest.seq, strerror(-error));
			return false;
		}
		rest.bytes = frame.bytes + frame.size;
		rest.size -= GW_LAYOUT_FRAME_BYTES + frame.size;
	}
	if (size > GW_REPLICA_RECORD_BYTES_MAX) {
		fail(replica, -EUCLEAN,
		     "etcd: the snapshot up to record %llu is damaged: a piece of %zu bytes",
		     (unsigned long long)replica->manifest.seq, size);
		return false;
	}
	gw_buf_consume(&replica->piece, replica->piece.size - rest.size);
	return true;
}

static bool snapshot_whole(const struct gw_replica *replica)
{
	return replica->piece.size == 0 && replica->chunk_bytes == replica->manifest.size &&
	       memcmp(replica->hash, replica->manifest.hash, sizeof(replica->hash)) == 0;
}

/* False: it is not the next chunk; or failed. */
static bool take_chunk(struct gw_replica *replica, const struct gw_store_kv *kv)
{
	char key[GW_STORE_KEY_BYTES];
	int error;

	gw_layout_chunk_key(replica->prefix, &replica->manifest, replica->chunk, key);
	if (strcmp(kv->key, key) != 0 || kv->value.size > GW_REPLICA_CHUNK_BYTES)
		return false;
	gw_layout_hash(replica->hash, kv->value.bytes, kv->value.size);
	replica->chunk_bytes += kv->value.size;
	replica->chunk++;
	error = gw_buf_append(&replica->piece, kv->value.bytes, kv->value.size);
	if (error < 0) {
		fail(replica, error, "no memory for a snapshot's piece");
		return false;
	}
	return tell_pieces(replica);
}

static void answer_chunks(struct gw_replica *replica, const struct gw_store_answer *answer)
{
	const struct gw_store_found *found = &answer->found[0];
	bool good = found->count > 0;

	for (size_t i = 0;
	     i < found->count && good && replica->chunk < replica->manifest.chunk_count; i++)
		good = take_chunk(replica, &found->kvs[i]);
	if (replica->failed)
		return;
	if (good && replica->chunk < replica->manifest.chunk_count)
		return; /* more to read */
	if (good && snapshot_whole(replica)) {
		replica->seq = replica->manifest.seq;
		replica->reading = READING_RECORDS;
		return;
	}
	replica->torn = true;
	replica->reading = READING_MANIFEST;
}

/* Tells the records after `seq`. False: there is a gap before them; or failed. */
static bool take_batch(struct gw_replica *replica, const struct gw_store_kv *kv)
{
	struct gw_layout_batch batch;
	struct gw_store_bytes rest;
	struct gw_store_bytes frame;
	size_t size;

	if (!gw_layout_read_batch(replica->prefix, kv, &batch)) {
		fail(replica, -EPROTO,
		     "etcd: %s is not a batch of records that this version reads: damaged, or a "
		     "newer version's; upgrade, or restore etcd from its last backup",
		     kv->key);
		return false;
	}
	if (batch.first_seq > replica->seq + 1)
		return false;
	rest = batch.frames;
	for (uint64_t seq = batch.first_seq; seq <= batch.last_seq; seq++) {
		int error = 0;

		CHECK(gw_layout_read_frame(rest, GW_REPLICA_RECORD_BYTES_MAX, &frame, &size));
		rest.bytes = frame.bytes + frame.size;
		rest.size -= GW_LAYOUT_FRAME_BYTES + frame.size;
		if (seq <= replica->seq)
			continue; /* the snapshot has it */
		error = replica->options.calls.record(replica->options.calls.context, seq,
						      frame.bytes, frame.size);
		if (error < 0) {
			fail(replica, error,
			     "record %llu from etcd is not one that this version reads: %s",
			     (unsigned long long)seq, strerror(-error));
			return false;
		}
		replica->seq = seq;
	}
	count_bytes(replica, batch.last_seq, kv->value.size);
	return true;
}

/* "NAME ADDRESS" of the leader key. */
static void leader_of(const struct gw_store_kv *kv, char *ret_name, char *ret_address)
{
	const char *text = kv ? (const char *)kv->value.bytes : "";
	size_t size = kv ? kv->value.size : 0;
	const char *space = size > 0 ? memchr(text, ' ', size) : NULL;
	size_t name = space ? (size_t)(space - text) : size;

	(void)snprintf(ret_name, GW_REPLICA_NAME_BYTES, "%.*s",
		       (int)(name < GW_REPLICA_NAME_BYTES ? name : GW_REPLICA_NAME_BYTES - 1),
		       text);
	ret_address[0] = '\0';
	if (space && size - name - 1 < GW_REPLICA_ADDRESS_BYTES)
		(void)snprintf(ret_address, GW_REPLICA_ADDRESS_BYTES, "%.*s",
			       (int)(size - name - 1), space + 1);
}

static void lead(struct gw_replica *replica, uint64_t now_us)
{
	replica->role = GW_REPLICA_LEADER;
	replica->appended_seq = replica->seq;
	replica->due_bytes = replica->since_bytes;
	replica->refusal[0] = '\0';
	replica->allowance = GW_REPLICA_RECORDS_PER_S * GW_US_PER_S;
	replica->allowance_us = now_us;
	begin_collect(replica); /* of what an earlier leader left of an upload */
	replica->lanes[LANE_UPLOAD].at_us = now_us;
	replica->options.calls.leader(replica->options.calls.context, replica->term, replica->seq);
}

/* All records are read. What follows from who holds the leader key. */
static void judge(struct gw_replica *replica, uint64_t now_us, const struct gw_store_kv *leader,
		  const struct gw_store_kv *certs)
{
	struct lane *lane = &replica->lanes[LANE_RECORDS];
	char name[GW_REPLICA_NAME_BYTES];
	char address[GW_REPLICA_ADDRESS_BYTES];

	if (replica->role == GW_REPLICA_CANDIDATE) {
		if (certs && certs->mod_revision > replica->certs_seen) {
			replica->lanes[LANE_ROSTER].at_us = now_us;
			lane->at_us = now_us + CERTS_WAIT_US;
		} else if (lease_good(replica, now_us) && !replica->stopping) {
			lead(replica, now_us);
		}
		return;
	}
	if (!leader && lease_good(replica, now_us) && !replica->stopping) {
		replica->reading = READING_CAMPAIGN;
		return;
	}
	lane->at_us = now_us + replica->options.poll_us;
	leader_of(leader, name, address);
	if (replica->following && strcmp(address, replica->leader) == 0)
		return;
	replica->following = true;
	memcpy(replica->leader, address, sizeof(address));
	replica->options.calls.following(replica->options.calls.context, replica->leader,
					 replica->seq);
}

static void note_leader(struct gw_replica *replica, uint64_t now_us,
			const struct gw_store_kv *leader)
{
	bool own = leader && replica->lease_state == LEASE_HELD &&
		   leader->lease == replica->lease && leader->create_revision > 0;

	if (own && replica->role == GW_REPLICA_FOLLOWER) {
		replica->role = GW_REPLICA_CANDIDATE;
		replica->term = (uint64_t)leader->create_revision;
	} else if (!own && replica->role == GW_REPLICA_CANDIDATE) {
		step_down(replica, now_us, NULL);
	}
}

static void answer_records(struct gw_replica *replica, uint64_t now_us,
			   const struct gw_store_answer *answer)
{
	const struct gw_store_kv *sequence = only_kv(&answer->found[FOUND_SEQUENCE]);
	const struct gw_store_kv *leader = only_kv(&answer->found[FOUND_LEADER]);
	const struct gw_store_found *batches = &answer->found[FOUND_BATCHES];
	struct gw_layout_manifest manifest;
	uint64_t last_seq = 0;
	bool good = true;

	if (sequence && !gw_layout_read_sequence(sequence->value, &last_seq)) {
		fail(replica, -EPROTO, "etcd: %s/sequence is not 16 hexadecimal digits",
		     replica->prefix);
		return;
	}
	if (last_seq < replica->seq) {
		fail(replica, -EUCLEAN,
		     "etcd ends at record %llu, and %llu was read from it before: it was set back "
		     "or emptied; restore it from its last backup, or start again to go on without "
		     "what is lost",
		     (unsigned long long)last_seq, (unsigned long long)replica->seq);
		return;
	}
	if (!take_manifest(replica, &answer->found[FOUND_MANIFEST], &manifest))
		return;
	replica->last_seq = last_seq;
	if (manifest.seq > 0 && !same_snapshot(&manifest, &replica->manifest)) {
		replica->manifest = manifest;
		count_since(replica, manifest.seq);
	}
	for (size_t i = 0; i < batches->count && good; i++)
		good = take_batch(replica, &batches->kvs[i]);
	if (replica->failed)
		return;
	if (!good || (batches->count == 0 && replica->seq < last_seq)) {
		replica->gap = true;
		replica->reading = READING_MANIFEST;
		return;
	}
	note_leader(replica, now_us, leader);
	if (replica->seq == last_seq)
		replica->read_halvings = 0;
	if (replica->seq == last_seq && replica->reading == READING_RECORDS)
		judge(replica, now_us, leader, only_kv(&answer->found[FOUND_CERTS]));
}

void answer_read(struct gw_replica *replica, uint64_t now_us, const struct gw_store_answer *answer)
{
	enum reading reading = replica->reading;

	if (reading == READING_CAMPAIGN) {
		/* Whatever its result: the next read shows who holds the key. */
		replica->reading = READING_RECORDS;
		if (answer->result == GW_STORE_NO_LEASE)
			lease_gone(replica, now_us);
		return;
	}
	if (answer->result == GW_STORE_UNKNOWN && replica->read_halvings < HALVINGS_MAX)
		replica->read_halvings++;
	if (answer->result != GW_STORE_DONE)
		return;
	switch (reading) {
	case READING_MANIFEST:
		answer_manifest(replica, answer);
		break;
	case READING_CHUNKS:
		answer_chunks(replica, answer);
		break;
	case READING_RECORDS:
		answer_records(replica, now_us, answer);
		break;
	case READING_CAMPAIGN:
		break;
	}
}

void make_roster(struct gw_replica *replica, struct gw_store_request *request)
{
	char key[GW_STORE_KEY_BYTES];
	char end[GW_STORE_KEY_BYTES];
	char word[GW_REPLICA_NAME_BYTES + 16];
	struct gw_store_op *op;

	(void)snprintf(word, sizeof(word), "members/%s", replica->name);
	switch (replica->roster) {
	case ROSTER_LOOK:
		add_read(replica, request, "leader");
		add_read(replica, request, "certs-changed");
		gw_layout_key(replica->prefix, "members/", key);
		gw_layout_key(replica->prefix, "members0", end);
		(void)add_range(request, key, end, GW_REPLICA_MEMBERS_MAX);
		add_read(replica, request, word);
		break;
	case ROSTER_JOIN:
		gw_layout_key(replica->prefix, word, key);
		op = add_op(request, GW_STORE_PUT, key);
		op->lease = replica->lease;
		op->value.bytes = (const uint8_t *)strchr(replica->leader_value, ' ') + 1;
		op->value.size = strlen((const char *)op->value.bytes);
		break;
	case ROSTER_CERTS:
		gw_layout_key(replica->prefix, "certs0", end);
		op = add_range(request, replica->certs_from, end, CERTS_A_READ);
		op->min_mod_revision = replica->certs_seen + 1;
		break;
	}
}

/* What a key has after PREFIX/WORD/; NULL: it is no name, so no key of ours. */
static const char *name_in(const struct gw_replica *replica, const char *key, const char *word)
{
	char before[GW_STORE_KEY_BYTES];
	size_t size;

	gw_layout_key(replica->prefix, word, before);
	size = strlen(before);
	return strncmp(key, before, size) == 0 && name_good(key + size) ? key + size : NULL;
}

/* The member that a key stands for; false: none that may be told. */
static bool read_member(const struct gw_replica *replica, const struct gw_store_kv *kv,
			const char *leader, struct gw_replica_member *ret_member)
{
	const char *name = name_in(replica, kv->key, "members/");

	memset(ret_member, 0, sizeof(*ret_member));
	if (!name || kv->value.size >= GW_REPLICA_ADDRESS_BYTES)
		return false;
	(void)snprintf(ret_member->name, sizeof(ret_member->name), "%s", name);
	memcpy(ret_member->address, kv->value.bytes, kv->value.size);
	ret_member->leader = strcmp(name, leader) == 0;
	return true;
}

/* Puts the member that a key stands for at `place`. Whether that changed what is there. */
static bool put_member(struct gw_replica *replica, size_t place, const struct gw_store_kv *kv,
		       const char *leader, size_t *ret_next)
{
	struct gw_replica_member member;
	bool changed;

	if (!read_member(replica, kv, leader, &member))
		return false;
	changed = place >= replica->member_count ||
		  memcmp(&replica->members[place], &member, sizeof(member)) != 0;
	replica->members[place] = member;
	*ret_next = place + 1;
	return changed;
}

/* Tells the members when they changed: the first by name, and this one whatever its name. */
static void take_members(struct gw_replica *replica, const struct gw_store_found *found,
			 const struct gw_store_kv *own, const struct gw_store_kv *leader,
			 uint64_t revision)
{
	char name[GW_REPLICA_NAME_BYTES];
	char address[GW_REPLICA_ADDRESS_BYTES];
	bool changed = found->more != replica->left_out;
	bool listed = false;
	size_t count = 0;

	leader_of(leader, name, address);
	for (size_t i = 0; i < found->count && count < GW_REPLICA_MEMBERS_MAX; i++) {
		changed |= put_member(replica, count, &found->kvs[i], name, &count);
		listed |= own && strcmp(found->kvs[i].key, own->key) == 0;
	}
	if (own && !listed) /* its name sorts behind those that were read */
		changed |= put_member(replica, count - (count == GW_REPLICA_MEMBERS_MAX), own, name,
				      &count);
	changed |= count != replica->member_count;
	replica->member_count = count;
	replica->left_out = found->more;
	if (changed)
		replica->options.calls.members(replica->options.calls.context, replica->members,
					       count, replica->left_out, revision);
}

static void answer_look(struct gw_replica *replica, uint64_t now_us,
			const struct gw_store_answer *answer)
{
	const struct gw_store_kv *leader = only_kv(&answer->found[LOOK_LEADER]);
	const struct gw_store_kv *certs = only_kv(&answer->found[LOOK_CERTS]);
	const struct gw_store_kv *own = only_kv(&answer->found[LOOK_OWN]);
	bool joined = own && own->lease == replica->lease;

	take_members(replica, &answer->found[LOOK_MEMBERS], own, leader,
		     (uint64_t)answer->revision);
	if (replica->role == GW_REPLICA_LEADER &&
	    (!leader || (uint64_t)leader->create_revision != replica->term)) {
		step_down(replica, now_us, "the leader key in etcd is gone or another's");
		return;
	}
	/* While etcd is full new work is refused, so perhaps nothing else asks whether it still is. */
	if ((!joined || replica->full) && replica->lease_state == LEASE_HELD &&
	    now_us >= replica->join_us) {
		replica->roster = ROSTER_JOIN;
		replica->join_us = now_us + ROSTER_US;
	} else if (certs && certs->mod_revision > replica->certs_seen) {
		replica->roster = ROSTER_CERTS;
		replica->certs_target = certs->mod_revision;
		gw_layout_key(replica->prefix, "certs/", replica->certs_from);
	}
	if (replica->roster != ROSTER_LOOK)
		replica->lanes[LANE_ROSTER].at_us = now_us;
}

static void answer_certs(struct gw_replica *replica, uint64_t now_us,
			 const struct gw_store_found *found)
{
	for (size_t i = 0; i < found->count; i++) {
		const struct gw_store_kv *kv = &found->kvs[i];
		const char *node = name_in(replica, kv->key, "certs/");

		if (node)
			replica->options.calls.cert(replica->options.calls.context, node,
						    kv->value.bytes, kv->value.size);
	}
	if (found->more && found->count > 0) {
		/* '!' sorts before every character of a name. */
		(void)snprintf(replica->certs_from, sizeof(replica->certs_from), "%.*s!",
			       (int)sizeof(replica->certs_from) - 2,
			       found->kvs[found->count - 1].key);
		replica->lanes[LANE_ROSTER].at_us = now_us;
		return;
	}
	replica->certs_seen = replica->certs_target;
	replica->roster = ROSTER_LOOK;
}

void answer_roster(struct gw_replica *replica, uint64_t now_us,
		   const struct gw_store_answer *answer)
{
	switch (replica->roster) {
	case ROSTER_LOOK:
		if (answer->result == GW_STORE_DONE)
			answer_look(replica, now_us, answer);
		break;
	case ROSTER_JOIN:
		replica->roster = ROSTER_LOOK;
		if (answer->result == GW_STORE_NO_LEASE)
			lease_gone(replica, now_us);
		else if (answer->result == GW_STORE_DONE)
			replica->lanes[LANE_ROSTER].at_us = now_us;
		break;
	case ROSTER_CERTS:
		if (answer->result == GW_STORE_DONE)
			answer_certs(replica, now_us, &answer->found[0]);
		break;
	}
}
