/*
 * One of several schedulers of a region that share the journal in etcd. It follows: each record
 * goes into a core that is not started. When nobody leads and it has read all, it leads: the core
 * starts and the sockets open (leader.c). When it leads no more, both are freed, and it follows from
 * the beginning.
 *
 *	follower --(leader key taken, all read)--> leader --(lease or key lost)--> follower
 *	                                             '--(SIGTERM: all written, lease given back)--> end
 *
 * Certificates go both ways: what this scheduler issued is put into etcd before the joiner has it,
 * and what others issued becomes an identity here. Tokens are this scheduler's own.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/table.h"
#include "proto/step.h"
#include "scheduler/daemon.h"
#include "scheduler/region.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/identity.h"
#include "transport/journal_etcd.h"
#include "transport/log.h"

#define MARK_FILE "etcd"
#define SILENCE_US (2 * GW_US_PER_S) /* of etcd, after which nobody is kept waiting for it */
#define OVER_US (30ll * 24 * 3600 * (int64_t)GW_US_PER_S)
#define OWN_CERT 0u /* handle of those put at the start; enrolment's begin with 1 */

#define SPREAD_US GW_US_PER_S /* in which the leader has read a certificate, and more */

/* A joiner here, whom the leader may not know yet. */
struct spreading {
	uint64_t handle; /* of enrolment */
	uint64_t at_us;
};

/* A certificate that etcd has. */
struct shared {
	struct gw_node_id node; /* key; first */
};

struct standby {
	struct daemon *daemon;
	struct gw_journal_etcd *etcd;
	char prefix[GW_REPLICA_PREFIX_BYTES];
	char name[GW_REPLICA_NAME_BYTES];
	char address[GW_REPLICA_ADDRESS_BYTES];
	struct gw_scheduler_list list;
	struct gw_table shared;
	struct gw_timer spread;
	struct spreading spreading[GW_ENROL_WAITING_MAX]; /* the first is due first */
	uint32_t spreading_count;
	uint32_t next_own; /* identity to be looked at */
	bool own_waits;    /* one of them is on its way */
	bool marked;       /* STATE/etcd is written */
	bool stopped;
};

static void fail_with(struct standby *standby, const struct gw_fault *fault)
{
	gw_daemon_fail(standby->daemon, fault->text);
}

/* --- the journal, read ---------------------------------------------------------------------- */

static void reset(void *context)
{
	struct standby *standby = context;
	struct gw_fault fault = {""};

	gw_leader_end(standby->daemon);
	if (gw_leader_core(standby->daemon, &fault) != 0)
		fail_with(standby, &fault);
}

static int piece(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct standby *standby = context;

	(void)seq;
	return standby->daemon->core ? gw_node_restore(standby->daemon->core, bytes, size)
				     : -ENOMEM;
}

static int record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct standby *standby = context;

	return standby->daemon->core ? gw_node_apply(standby->daemon->core, seq, bytes, size)
				     : -ENOMEM;
}

static void failed(void *context, int error, const char *text)
{
	struct standby *standby = context;

	(void)error;
	gw_daemon_fail(standby->daemon, text);
}

/* --- roles ---------------------------------------------------------------------------------- */

static void tell_list(struct standby *standby)
{
	if (standby->list.count == 0)
		return;
	if (standby->daemon->enrol)
		gw_enrol_set_endpoints(standby->daemon->enrol, &standby->list);
	if (standby->daemon->host)
		gw_host_set_endpoints(standby->daemon->host, &standby->list);
}

static void put_own(struct standby *standby);

/*
 * A state folder's journal is in one place for good: the other would begin without the region's
 * jobs, and agents would end what it does not know. Etcd was read, so it is that one.
 */
static int mark(struct standby *standby)
{
	char path[GW_PATH_BYTES];
	char text[GW_REPLICA_PREFIX_BYTES + 1];
	struct gw_fault fault = {""};
	int r;

	if (standby->marked)
		return 0;
	(void)gw_file_path(path, sizeof(path), standby->daemon->options->common.state, MARK_FILE);
	(void)snprintf(text, sizeof(text), "%s\n", standby->prefix);
	r = gw_file_write(path, 0600, false, text, strlen(text), &fault);
	if (r == 0)
		standby->marked = true;
	else
		fail_with(standby, &fault);
	return r;
}

static void following(void *context, const char *leader, uint64_t seq)
{
	struct standby *standby = context;

	gw_log("following", "seq=%" PRIu64 " leader=\"%s\"", seq, leader[0] ? leader : "none yet");
	if (mark(standby) == 0)
		put_own(standby);
}

static void leader(void *context, uint64_t term, uint64_t seq)
{
	struct standby *standby = context;
	struct gw_fault fault = {""};

	CHECK(gw_node_seq(standby->daemon->core) == seq);
	if (mark(standby) != 0)
		return;
	put_own(standby);
	if (gw_leader_begin(standby->daemon, term, &fault) != 0)
		fail_with(standby, &fault);
	else
		tell_list(standby);
}

static void lost(void *context, const char *reason)
{
	struct standby *standby = context;

	gw_log("deposed", "why=\"%s\"", reason);
	gw_leader_end(standby->daemon);
}

static void durable(void *context, uint64_t seq)
{
	struct standby *standby = context;

	if (standby->daemon->host)
		gw_host_durable(standby->daemon->host, seq);
}

static void stopped(void *context)
{
	((struct standby *)context)->stopped = true;
}

/* --- who there is --------------------------------------------------------------------------- */

/* "STATE HEARTBEAT", the two endpoints; false: written by something else. */
static bool read_place(const char *address, struct gw_scheduler_place *ret_place)
{
	const char *blank = strchr(address, ' ');

	if (!blank || blank - address > (ptrdiff_t)GW_ENDPOINT_BYTES_MAX ||
	    strlen(blank + 1) > GW_ENDPOINT_BYTES_MAX)
		return false;
	memcpy(ret_place->state, address, (size_t)(blank - address));
	ret_place->state[blank - address] = '\0';
	memcpy(ret_place->heartbeat, blank + 1, strlen(blank + 1) + 1);
	return gw_endpoint_valid(ret_place->state) && gw_endpoint_valid(ret_place->heartbeat);
}

static bool list_holds(const struct gw_scheduler_list *list, const struct gw_scheduler_place *place)
{
	for (uint32_t i = 0; i < list->count; i++)
		if (strcmp(list->places[i].state, place->state) == 0 &&
		    strcmp(list->places[i].heartbeat, place->heartbeat) == 0)
			return true;
	return false;
}

/* False: there is no room for it. */
static bool list_add(struct gw_scheduler_list *list, const struct gw_scheduler_place *place)
{
	if (list_holds(list, place))
		return true;
	if (list->count == GW_SCHEDULERS_MAX)
		return false;
	list->places[list->count++] = *place;
	return true;
}

/* The leader first, then those of now, then those that were seen and are away: they may well come
 * back, and an agent that looks for a leader must not have forgotten them. */
static void members(void *context, const struct gw_replica_member *list, size_t count, bool more,
		    uint64_t revision)
{
	struct standby *standby = context;
	struct gw_scheduler_list now = {.count = 0};
	struct gw_scheduler_place place;
	uint32_t present;

	for (size_t i = 0; i < count; i++)
		if (list[i].leader && read_place(list[i].address, &place))
			(void)list_add(&now, &place); /* the first has room */
	for (size_t i = 0; i < count; i++)
		if (read_place(list[i].address, &place) && !list_add(&now, &place))
			more = true;
	present = now.count;
	for (uint32_t i = 0; i < standby->list.count; i++)
		(void)list_add(&now,
			       &standby->list.places[i]); /* those that are away may fall out */
	gw_log("schedulers", "present=%" PRIu32 "%s known=%" PRIu32, present, more ? "+" : "",
	       now.count);
	if (more)
		gw_log("schedulers_left_out",
		       "why=\"more than %u schedulers of this region run; agents and users are "
		       "told "
		       "of %u: stop some\"",
		       GW_SCHEDULERS_MAX, GW_SCHEDULERS_MAX);
	now.version = revision; /* lists of several schedulers, one after the other leader */
	standby->list = now;
	tell_list(standby);
}

/* --- certificates --------------------------------------------------------------------------- */

static bool remember_shared(struct standby *standby, struct gw_node_id node)
{
	struct shared *shared;

	if (gw_table_find(&standby->shared, &node))
		return true;
	shared = malloc(sizeof(*shared));
	if (!shared)
		return false;
	shared->node = node;
	if (gw_table_add(&standby->shared, shared) == 0)
		return true;
	free(shared);
	return false;
}

/* Expired for so long that no clock is to blame. */
static bool is_over(const struct standby *standby, const uint8_t *bytes, size_t size)
{
	const struct daemon *daemon = standby->daemon;
	int64_t wall_us = gw_reactor_now(daemon->reactor).wall_us;
	struct gw_cert cert;

	/* EXPIRED is also what is not valid yet. */
	return gw_cert_verify(bytes, size, daemon->keys->signing_key, wall_us, &cert) ==
		       GW_CERT_EXPIRED &&
	       wall_us - OVER_US > cert.not_after_wall_us;
}

static void cert(void *context, const char *node, const uint8_t *bytes, size_t size)
{
	struct standby *standby = context;
	struct gw_identities *identities = standby->daemon->identities;
	struct gw_fault fault = {""};
	struct gw_node_id id;
	int r;

	if (!gw_id_parse_hex(node, &id.id))
		return;
	(void)remember_shared(standby, id); /* else it is put once more, which changes nothing */
	r = gw_identities_add(identities, bytes, size, &fault);
	if (r == 0)
		return;
	if (is_over(standby, bytes, size))
		(void)gw_journal_etcd_drop_cert(standby->etcd, node, bytes,
						size);                /* or a later start */
	else if (r != -EINVAL && !gw_identities_find(identities, id)) /* known, or just expired */
		gw_log("certificate_refused", "node=%s why=\"%s\"", node, fault.text);
}

static int put(const struct standby *standby, struct gw_node_id node, const uint8_t *bytes,
	       size_t size, uint64_t handle)
{
	char text[GW_ID_TEXT_BYTES];

	gw_id_format_hex(node.id, text);
	return gw_journal_etcd_put_cert(standby->etcd, text, bytes, size, handle);
}

int gw_standby_keep(void *context, struct gw_node_id node, const uint8_t *bytes, size_t size,
		    uint64_t handle)
{
	const struct daemon *daemon = context;
	struct gw_replica_status status;

	CHECK(handle != OWN_CERT);
	gw_journal_etcd_status(daemon->standby->etcd, &status);
	if (gw_reactor_now(daemon->reactor).mono_us - status.heard_us > SILENCE_US)
		return -EAGAIN;
	return put(daemon->standby, node, bytes, size, handle);
}

/* Puts the next certificate that is here and not in etcd, one at a time. */
static void put_own(struct standby *standby)
{
	const struct gw_identities *identities = standby->daemon->identities;
	const struct gw_identity *identity;
	int64_t wall_us = gw_reactor_now(standby->daemon->reactor).wall_us;
	uint8_t bytes[GW_CERT_BYTES_MAX];
	size_t size;

	if (standby->own_waits)
		return;
	while ((identity = gw_identities_at(identities, standby->next_own))) {
		if (!identity->revoked && identity->cert.not_after_wall_us > wall_us &&
		    !gw_table_find(&standby->shared, &identity->node) &&
		    gw_identities_read(identities, identity->node, bytes, &size) == 0) {
			if (put(standby, identity->node, bytes, size, OWN_CERT) != 0)
				return; /* too many wait: again with the next that is kept */
			standby->own_waits = true;
			standby->next_own++;
			return;
		}
		standby->next_own++;
	}
}

/* Tells the joiners whose time has come. */
static void spread(void *context)
{
	struct standby *standby = context;
	uint64_t now_us = gw_reactor_now(standby->daemon->reactor).mono_us;
	uint32_t n = 0;

	for (; n < standby->spreading_count && standby->spreading[n].at_us <= now_us; n++)
		gw_enrol_kept(standby->daemon->enrol, standby->spreading[n].handle);
	standby->spreading_count -= n;
	memmove(standby->spreading, standby->spreading + n,
		standby->spreading_count * sizeof(*standby->spreading));
	if (standby->spreading_count > 0)
		gw_reactor_timer_set(standby->daemon->reactor, &standby->spread,
				     standby->spreading[0].at_us);
}

/* A leader knows at once whom it enrolled. One who joined at a standby goes to the leader next, which
 * reads new certificates twice a second: the answer waits for that. */
static void cert_kept(void *context, uint64_t handle)
{
	struct standby *standby = context;
	struct daemon *daemon = standby->daemon;

	if (handle == OWN_CERT) {
		standby->own_waits = false;
		put_own(standby);
		return;
	}
	CHECK(daemon->enrol); /* it gave the handle */
	CHECK(standby->spreading_count < GW_ENROL_WAITING_MAX);
	standby->spreading[standby->spreading_count++] = (struct spreading){
		.handle = handle,
		.at_us = gw_reactor_now(daemon->reactor).mono_us + (daemon->host ? 0 : SPREAD_US),
	};
	if (standby->spreading_count == 1)
		gw_reactor_timer_set(daemon->reactor, &standby->spread,
				     standby->spreading[0].at_us);
}

/* --- start and end -------------------------------------------------------------------------- */

static void notice(void *context, const char *text)
{
	(void)context;
	gw_log("etcd", "what=\"%s\"", text);
}

static int make_names(struct standby *standby, struct gw_fault *fault)
{
	const struct run_options *options = standby->daemon->options;
	char state[GW_ENDPOINT_BYTES_MAX + 1];
	char heartbeat[GW_ENDPOINT_BYTES_MAX + 1];
	const char *address = options->advertise ? options->advertise : options->listen;
	uint8_t name[(GW_REPLICA_NAME_BYTES - 1) / 2];
	int length;
	int r = gw_listen_endpoint(address, options->port, state, fault);

	if (r == 0)
		r = gw_listen_endpoint(address, options->port + 1, heartbeat, fault);
	if (r != 0)
		return r;
	if (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0) {
		gw_fault_set(fault,
			     "--listen %s is no address to reach this scheduler at: give "
			     "--advertise one, for agents and users to find it",
			     address);
		return -EINVAL;
	}
	length = options->etcd_prefix ? snprintf(standby->prefix, sizeof(standby->prefix), "%s",
						 options->etcd_prefix)
				      : snprintf(standby->prefix, sizeof(standby->prefix),
						 "/godwit/%s", standby->daemon->region.name);
	if (length >= (int)sizeof(standby->prefix)) {
		gw_fault_set(fault, "--etcd-prefix has %d bytes, expected up to %zu", length,
			     sizeof(standby->prefix) - 1);
		return -EINVAL;
	}
	randombytes_buf(name, sizeof(name)); /* the keys are the region's, so they name nobody */
	(void)sodium_bin2hex(standby->name, sizeof(standby->name), name, sizeof(name));
	(void)snprintf(standby->address, sizeof(standby->address), "%s %s", state, heartbeat);
	return 0;
}

/* 0; -EEXIST: the mark names another prefix, where the region's jobs are. */
static int check_mark(const struct standby *standby, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char text[GW_REPLICA_PREFIX_BYTES + 2] = "";
	size_t size = 0;
	int r;

	(void)gw_file_path(path, sizeof(path), standby->daemon->options->common.state, MARK_FILE);
	r = gw_file_read(path, false, sizeof(text) - 1, text, &size, fault);
	if (r == -ENOENT)
		return 0;
	if (r != 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, standby->prefix) == 0)
		return 0;
	gw_fault_set(
		fault,
		"%s says that this region's journal is in etcd under \"%s\", and --etcd-prefix "
		"is \"%s\": start with the former, or remove the file to leave its jobs behind",
		path, text, standby->prefix);
	return -EEXIST;
}

static int check_place(const struct standby *standby, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];

	(void)gw_file_path(path, sizeof(path), standby->daemon->options->common.state,
			   GW_JOURNAL_DIRECTORY); /* as short as the keys' */
	if (access(path, F_OK) != 0)
		return 0;
	gw_fault_set(fault,
		     "%s holds this region's journal, and the one in etcd would begin without its "
		     "jobs: start without --etcd, or move the folder away to leave them behind",
		     path);
	return -EEXIST;
}

int gw_standby_marked(const char *state, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];

	if (gw_file_path(path, sizeof(path), state, MARK_FILE) != 0)
		return -ENAMETOOLONG;
	if (access(path, F_OK) != 0)
		return 0;
	gw_fault_set(fault,
		     "%s says that this region's journal is in etcd, and one on this machine would "
		     "begin without its jobs: start with --etcd, or remove the file to leave them "
		     "behind",
		     path);
	return -EEXIST;
}

static int open_etcd(struct standby *standby, struct gw_fault *fault)
{
	const struct run_options *options = standby->daemon->options;
	const struct gw_journal_etcd_options etcd = {
		.etcd = {.reactor = standby->daemon->reactor,
			 .endpoints = options->etcd,
			 .ca = options->etcd_ca,
			 .certificate = options->etcd_certificate,
			 .key = options->etcd_key,
			 .user_file = options->etcd_user_file,
			 .notice = notice},
		.replica = {.prefix = standby->prefix,
			    .name = standby->name,
			    .address = standby->address,
			    .lease_ttl_s = (uint32_t)((options->etcd_lease_us + GW_US_PER_S - 1) /
						      GW_US_PER_S),
			    .calls = {.reset = reset,
				      .piece = piece,
				      .record = record,
				      .following = following,
				      .leader = leader,
				      .lost = lost,
				      .durable = durable,
				      .failed = failed,
				      .members = members,
				      .cert = cert,
				      .cert_kept = cert_kept,
				      .stopped = stopped,
				      .context = standby}},
		.directory = options->common.state,
		.snapshot_bytes = options->snapshot_bytes,
	};
	int r = gw_journal_etcd_new(&etcd, &standby->etcd, fault);

	if (r == 0)
		standby->daemon->journal = gw_journal_etcd_journal(standby->etcd);
	return r;
}

int gw_standby_begin(struct daemon *daemon, struct gw_fault *fault)
{
	struct standby *standby = calloc(1, sizeof(*standby));
	int r;

	if (!standby) {
		gw_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	daemon->standby = standby;
	standby->daemon = daemon;
	standby->spread = (struct gw_timer){.fired = spread, .context = standby};
	gw_table_init(&standby->shared, sizeof(struct gw_node_id), GW_NODES_MAX,
		      randombytes_random());
	r = make_names(standby, fault);
	if (r == 0)
		r = check_place(standby, fault);
	if (r == 0)
		r = check_mark(standby, fault);
	return r == 0 ? open_etcd(standby, fault) : r;
}

void gw_standby_snapshot(struct daemon *daemon)
{
	struct standby *standby = daemon->standby;

	if (gw_journal_etcd_due(standby->etcd))
		(void)gw_journal_etcd_snapshot(standby->etcd, daemon->core); /* else due again */
}

void gw_standby_hand_over(struct daemon *daemon)
{
	struct standby *standby = daemon->standby;

	gw_journal_etcd_stop(standby->etcd);
	while (!standby->stopped && !daemon->failed &&
	       gw_reactor_turn(daemon->reactor, GW_NEVER_US) == 0)
		;
}

void gw_standby_end(struct daemon *daemon)
{
	struct standby *standby = daemon->standby;

	if (!standby)
		return;
	gw_journal_etcd_free(standby->etcd);
	gw_reactor_timer_cancel(daemon->reactor, &standby->spread);
	for (uint32_t i = 0; i < standby->shared.count; i++)
		free(standby->shared.entries[i]);
	gw_table_deinit(&standby->shared);
	free(standby);
	daemon->standby = NULL;
}
