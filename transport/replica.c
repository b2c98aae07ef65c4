/*
 * Life, lease and role of a replica, and the dispatch of answers to lanes.
 *
 *	FOLLOWER -> CANDIDATE	the leader key holds the own lease
 *	CANDIDATE -> LEADER	all records and certificates up to then are read
 *	CANDIDATE, LEADER -> FOLLOWER
 *		the lease ran out by the own clock, or etcd says that the lease or the key is gone
 *	any -> STOPPED		asked, or etcd holds what cannot be read
 *
 * The lease is counted from when its renewal was sent, less a tenth for clocks that run unlike
 * etcd's: this replica is silent before etcd lets another one lead. Who steps down gives the lease
 * back before it asks for a new one, so that a key of an earlier leadership is never taken for a
 * new one.
 */
#include "transport/replica.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/replica_private.h"

#define LEASE_TTL_S_DEFAULT 3u
#define LEASE_TTL_S_MAX 60u
#define LEASE_MARGIN_DIVISOR 10u /* of the TTL */
#define LEASE_RENEWALS 4u        /* in one TTL */
#define LEASE_REQUESTS 3u        /* of it, one after the other, have an answer in one TTL */
#define POLL_US_DEFAULT (50 * GW_US_PER_MS)
#define CHUNK_INTERVAL_US_DEFAULT (30 * GW_US_PER_MS) /* 8 MiB/s */
#define COLLECT_AFTER_US_DEFAULT (5 * GW_US_PER_S)
#define BACKOFF_US (10 * GW_US_PER_MS)
#define BACKOFF_DOUBLINGS 5u
#define REFUSED_US (500 * GW_US_PER_MS) /* until what was refused is tried again */
#define READ_DEADLINE_US GW_US_PER_S
#define CATCH_UP_DEADLINE_US (5 * GW_US_PER_S) /* of a read that may be large */
#define WRITE_DEADLINE_US (3 * GW_US_PER_S)
#define NAME_CHARACTERS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_."

bool name_good(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < GW_REPLICA_NAME_BYTES && strspn(name, NAME_CHARACTERS) == size;
}

static bool options_good(const struct gw_replica_options *options)
{
	size_t prefix = options->prefix ? strlen(options->prefix) : 0;

	return prefix > 1 && prefix < GW_REPLICA_PREFIX_BYTES && options->prefix[0] == '/' &&
	       options->prefix[prefix - 1] != '/' &&
	       strspn(options->prefix, "/" NAME_CHARACTERS) == prefix && options->name &&
	       name_good(options->name) && options->address &&
	       strlen(options->address) < GW_REPLICA_ADDRESS_BYTES &&
	       options->lease_ttl_s <= LEASE_TTL_S_MAX;
}

int gw_replica_new(const struct gw_replica_options *options, uint64_t now_us,
		   struct gw_replica **ret_replica)
{
	struct gw_replica *replica;

	if (!options_good(options))
		return -EINVAL;
	replica = calloc(1, sizeof(*replica));
	if (!replica)
		return -ENOMEM;
	replica->upload_bytes = malloc(GW_REPLICA_CHUNK_BYTES);
	if (!replica->upload_bytes) {
		free(replica);
		return -ENOMEM;
	}
	replica->options = *options;
	(void)snprintf(replica->prefix, sizeof(replica->prefix), "%s", options->prefix);
	(void)snprintf(replica->name, sizeof(replica->name), "%s", options->name);
	(void)snprintf(replica->leader_value, sizeof(replica->leader_value), "%s %s", options->name,
		       options->address);
	if (replica->options.lease_ttl_s == 0)
		replica->options.lease_ttl_s = LEASE_TTL_S_DEFAULT;
	if (replica->options.poll_us == 0)
		replica->options.poll_us = POLL_US_DEFAULT;
	if (replica->options.chunk_interval_us == 0)
		replica->options.chunk_interval_us = CHUNK_INTERVAL_US_DEFAULT;
	if (replica->options.collect_after_us == 0)
		replica->options.collect_after_us = COLLECT_AFTER_US_DEFAULT;
	replica->lease_ttl_us = replica->options.lease_ttl_s * GW_US_PER_S;
	gw_buf_init(&replica->piece, GW_REPLICA_RECORD_BYTES_MAX + GW_LAYOUT_FRAME_BYTES +
					     2 * (size_t)GW_REPLICA_CHUNK_BYTES);
	replica->allowance_us = now_us;
	*ret_replica = replica;
	return 0;
}

struct gw_replica *gw_replica_free(struct gw_replica *replica)
{
	if (!replica)
		return NULL;
	drop_batches(replica);
	drop_certs(replica);
	gw_buf_deinit(&replica->piece);
	free(replica->upload_bytes);
	free(replica);
	return NULL;
}

struct gw_store_op *add_op(struct gw_store_request *request, enum gw_store_op_kind kind,
			   const char *key)
{
	struct gw_store_op *op;

	CHECK(request->op_count < GW_STORE_OPS_MAX);
	op = &request->ops[request->op_count++];
	op->kind = kind;
	(void)snprintf(op->key, sizeof(op->key), "%s", key);
	return op;
}

struct gw_store_op *add_range(struct gw_store_request *request, const char *key, const char *end,
			      int64_t limit)
{
	struct gw_store_op *op = add_op(request, GW_STORE_RANGE, key);

	(void)snprintf(op->end, sizeof(op->end), "%s", end);
	op->limit = limit;
	return op;
}

void compare_leader(const struct gw_replica *replica, struct gw_store_request *request)
{
	struct gw_store_compare *compare;

	CHECK(request->compare_count < GW_STORE_COMPARES_MAX);
	compare = &request->compares[request->compare_count++];
	gw_layout_key(replica->prefix, "leader", compare->key);
	compare->create_revision = (int64_t)replica->term;
}

void fail(struct gw_replica *replica, int error, const char *format, ...)
{
	char text[400];
	va_list arguments;

	if (replica->failed)
		return;
	replica->failed = true;
	replica->role = GW_REPLICA_STOPPED;
	drop_upload(replica);
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	replica->options.calls.failed(replica->options.calls.context, error, text);
}

bool lease_good(const struct gw_replica *replica, uint64_t now_us)
{
	return replica->lease_state == LEASE_HELD && now_us < replica->lease_until_us;
}

void step_down(struct gw_replica *replica, uint64_t now_us, const char *reason)
{
	bool led = replica->role == GW_REPLICA_LEADER;

	replica->role = replica->stopping ? GW_REPLICA_STOPPED : GW_REPLICA_FOLLOWER;
	replica->term = 0;
	replica->reading = READING_MANIFEST;
	replica->gap = false;
	replica->torn = false;
	replica->lanes[LANE_RECORDS].in_flight = false; /* its answer finds nobody */
	replica->lanes[LANE_RECORDS].at_us = now_us;
	replica->lanes[LANE_UPLOAD].in_flight = false;
	drop_upload(replica);
	drop_batches(replica);
	if (replica->lease_state == LEASE_HELD) {
		replica->lease_state = LEASE_GIVING_BACK;
		replica->lanes[LANE_LEASE].in_flight = false;
		replica->lanes[LANE_LEASE].at_us = now_us;
	}
	if (led && reason)
		replica->options.calls.lost(replica->options.calls.context, reason);
}

void lease_gone(struct gw_replica *replica, uint64_t now_us)
{
	replica->lease_state = LEASE_NONE;
	replica->lanes[LANE_LEASE].in_flight = false;
	replica->lanes[LANE_LEASE].at_us = now_us;
	if (replica->role == GW_REPLICA_LEADER || replica->role == GW_REPLICA_CANDIDATE)
		step_down(replica, now_us,
			  "etcd says that the lease ran out: another scheduler may lead");
}

static void make_lease(const struct gw_replica *replica, struct gw_store_request *request)
{
	request->deadline_us = replica->lease_ttl_us / LEASE_REQUESTS;
	request->lease = replica->lease;
	switch (replica->lease_state) {
	case LEASE_NONE:
		request->kind = GW_STORE_LEASE_GRANT;
		request->ttl_s = replica->options.lease_ttl_s;
		request->lease = 0;
		break;
	case LEASE_HELD:
		request->kind = GW_STORE_LEASE_KEEPALIVE;
		break;
	case LEASE_GIVING_BACK:
		request->kind = GW_STORE_LEASE_REVOKE;
		break;
	}
}

static void answer_lease(struct gw_replica *replica, uint64_t now_us,
			 const struct gw_store_answer *answer)
{
	struct lane *lane = &replica->lanes[LANE_LEASE];
	bool gone = answer->result == GW_STORE_NO_LEASE;

	switch (replica->lease_state) {
	case LEASE_NONE:
		if (answer->result != GW_STORE_DONE)
			return;
		replica->lease = answer->lease;
		replica->lease_state = LEASE_HELD;
		break;
	case LEASE_HELD:
		if (gone || (answer->result == GW_STORE_DONE && answer->ttl_s <= 0)) {
			lease_gone(replica, now_us);
			return;
		}
		if (answer->result != GW_STORE_DONE)
			return;
		break;
	case LEASE_GIVING_BACK:
		if (gone || answer->result == GW_STORE_DONE)
			lease_gone(replica, now_us);
		return;
	}
	replica->lease_ttl_us = (uint64_t)answer->ttl_s * GW_US_PER_S;
	replica->lease_until_us = lane->sent_us + replica->lease_ttl_us -
				  replica->lease_ttl_us / LEASE_MARGIN_DIVISOR;
	lane->at_us = lane->sent_us + replica->lease_ttl_us / LEASE_RENEWALS;
}

/* When this lane may have a request; GW_NEVER_US: it waits for something else. */
static uint64_t due_us(const struct gw_replica *replica, enum lane_kind kind)
{
	const struct lane *lane = &replica->lanes[kind];
	bool stopped = replica->role == GW_REPLICA_STOPPED;
	bool wanted = false;

	if (lane->in_flight || replica->failed)
		return GW_NEVER_US;
	switch (kind) {
	case LANE_LEASE:
		wanted = !stopped || replica->lease_state == LEASE_GIVING_BACK;
		break;
	case LANE_RECORDS:
		wanted = replica->role == GW_REPLICA_LEADER ? replica->batch_first != NULL
							    : !stopped;
		break;
	case LANE_UPLOAD:
		wanted = replica->role == GW_REPLICA_LEADER && upload_waits(replica);
		break;
	case LANE_ROSTER:
		wanted = !stopped && !replica->stopping;
		break;
	case LANE_CERT:
		wanted = !stopped && replica->cert_first;
		break;
	case LANE_COUNT:
		break;
	}
	return wanted ? lane->at_us : GW_NEVER_US;
}

/* A poll by who has read all is short, and soon tells of an endpoint that is cut off. */
static uint64_t read_deadline_us(const struct gw_replica *replica)
{
	bool caught_up = replica->following && replica->seq == replica->last_seq;

	return caught_up && replica->read_halvings == 0 ? READ_DEADLINE_US : CATCH_UP_DEADLINE_US;
}

static bool make(struct gw_replica *replica, enum lane_kind kind, uint64_t now_us)
{
	struct lane *lane = &replica->lanes[kind];
	struct gw_store_request *request = &lane->request;

	memset(request, 0, sizeof(*request));
	request->kind = GW_STORE_TXN;
	request->deadline_us = WRITE_DEADLINE_US;
	switch (kind) {
	case LANE_LEASE:
		make_lease(replica, request);
		break;
	case LANE_RECORDS:
		if (replica->role == GW_REPLICA_LEADER) {
			make_append(replica, request);
		} else {
			request->deadline_us = read_deadline_us(replica);
			make_read(replica, request);
		}
		break;
	case LANE_UPLOAD:
		if (!make_upload(replica, request))
			return false;
		break;
	case LANE_ROSTER:
		request->deadline_us = READ_DEADLINE_US;
		make_roster(replica, request);
		break;
	case LANE_CERT:
		make_cert(replica, request);
		break;
	case LANE_COUNT:
		break;
	}
	request->id = ++replica->request_count;
	lane->id = request->id;
	lane->in_flight = true;
	lane->sent_us = now_us;
	return true;
}

/* A lease that ran out is never taken up again, whatever is answered later: its owner fell silent
 * then, and agents may have heard of another leader. */
static void expire(struct gw_replica *replica, uint64_t now_us)
{
	bool leads = replica->role == GW_REPLICA_LEADER || replica->role == GW_REPLICA_CANDIDATE;

	if (leads && !lease_good(replica, now_us))
		step_down(replica, now_us,
			  "etcd did not renew the lease in time: another scheduler may lead");
}

/* What time alone changes. */
static void advance(struct gw_replica *replica, uint64_t now_us)
{
	expire(replica, now_us);
	if (!replica->stopping || replica->failed)
		return;
	if (replica->role != GW_REPLICA_STOPPED &&
	    (!replica->batch_first || now_us >= replica->stop_us)) {
		/* An etcd that takes no records still takes the lease back, given time to. */
		if (now_us >= replica->stop_us)
			replica->stop_us = now_us + replica->lease_ttl_us / LEASE_REQUESTS;
		step_down(replica, now_us, NULL);
	}
	if (replica->stop_us != GW_NEVER_US && replica->role == GW_REPLICA_STOPPED &&
	    (replica->lease_state == LEASE_NONE || now_us >= replica->stop_us)) {
		replica->stop_us = GW_NEVER_US;
		replica->options.calls.stopped(replica->options.calls.context);
	}
}

bool gw_replica_next(struct gw_replica *replica, uint64_t now_us,
		     const struct gw_store_request **ret_request)
{
	advance(replica, now_us);
	for (enum lane_kind kind = 0; kind < LANE_COUNT; kind++) {
		if (due_us(replica, kind) <= now_us && make(replica, kind, now_us)) {
			*ret_request = &replica->lanes[kind].request;
			return true;
		}
	}
	return false;
}

uint64_t gw_replica_wake_us(const struct gw_replica *replica)
{
	bool leads = replica->role == GW_REPLICA_LEADER || replica->role == GW_REPLICA_CANDIDATE;
	uint64_t wake_us = leads ? replica->lease_until_us : GW_NEVER_US;

	if (replica->stopping && !replica->failed && replica->stop_us < wake_us)
		wake_us = replica->stop_us;
	for (enum lane_kind kind = 0; kind < LANE_COUNT; kind++) {
		uint64_t at_us = due_us(replica, kind);

		if (at_us < wake_us)
			wake_us = at_us;
	}
	return wake_us;
}

/* When the lane may send again, as far as the result alone says; the lane's own may say more. */
static void note_result(struct gw_replica *replica, struct lane *lane, uint64_t now_us,
			const struct gw_store_answer *answer)
{
	uint32_t doublings = lane->tries < BACKOFF_DOUBLINGS ? lane->tries : BACKOFF_DOUBLINGS;

	if (answer->result == GW_STORE_UNKNOWN) {
		lane->tries++;
		lane->at_us = now_us + (BACKOFF_US << doublings);
	} else {
		lane->tries = 0;
		lane->at_us = now_us;
		replica->heard_us = now_us;
	}
	if (answer->result == GW_STORE_NO_SPACE || answer->result == GW_STORE_REFUSED)
		lane->at_us = now_us + REFUSED_US;
	if (answer->result == GW_STORE_NO_SPACE)
		replica->full = true;
	if (answer->result == GW_STORE_DONE && answer->succeeded &&
	    lane->request.ops[0].kind == GW_STORE_PUT)
		replica->full = false;
	(void)snprintf(replica->trouble, sizeof(replica->trouble), "%s",
		       answer->result == GW_STORE_DONE || !answer->text ? "" : answer->text);
}

void gw_replica_answer(struct gw_replica *replica, uint64_t now_us, uint64_t id,
		       const struct gw_store_answer *answer)
{
	enum lane_kind kind = 0;
	struct lane *lane;

	expire(replica, now_us);
	while (kind < LANE_COUNT &&
	       !(replica->lanes[kind].in_flight && replica->lanes[kind].id == id))
		kind++;
	if (kind == LANE_COUNT || replica->failed)
		return;
	lane = &replica->lanes[kind];
	lane->in_flight = false;
	note_result(replica, lane, now_us, answer);
	switch (kind) {
	case LANE_LEASE:
		answer_lease(replica, now_us, answer);
		break;
	case LANE_RECORDS:
		if (replica->role == GW_REPLICA_LEADER)
			answer_append(replica, now_us, answer);
		else
			answer_read(replica, now_us, answer);
		break;
	case LANE_UPLOAD:
		answer_upload(replica, now_us, answer);
		break;
	case LANE_ROSTER:
		if (answer->result == GW_STORE_DONE)
			lane->at_us = now_us + ROSTER_US;
		answer_roster(replica, now_us, answer);
		break;
	case LANE_CERT:
		answer_cert(replica, answer);
		break;
	case LANE_COUNT:
		break;
	}
}

bool gw_replica_valid(const struct gw_replica *replica, uint64_t now_us)
{
	return replica->role == GW_REPLICA_LEADER && lease_good(replica, now_us);
}

void gw_replica_stop(struct gw_replica *replica, uint64_t now_us)
{
	if (replica->stopping)
		return;
	replica->stopping = true;
	replica->stop_us = now_us + replica->lease_ttl_us;
}

void gw_replica_status(const struct gw_replica *replica, struct gw_replica_status *ret_status)
{
	*ret_status = (struct gw_replica_status){
		.role = replica->role,
		.term = replica->term,
		.seq = replica->seq,
		.last_seq = replica->last_seq,
		.snapshot_seq = replica->manifest.seq,
		.store_bytes = replica->manifest.size + replica->since_bytes,
		.queue_bytes = replica->queue_bytes,
		.heard_us = replica->heard_us,
		.trouble = replica->trouble,
	};
}
