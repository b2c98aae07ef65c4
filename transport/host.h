/*
 * Runs a core (proto/step) on a reactor and real sockets: events in, effects out. A server binds
 * two ROUTERs, state and heartbeat, for the identities of its region; a client connects two DEALERs
 * to its scheduler. What the host does not know how to do (SPAWN, KILL, FORGET, STREAM, PROBE) it
 * gives to the daemon's callback.
 *
 * Effects for the state channel of one peer, and those for one attempt, are carried out in the order
 * given, whatever records they wait for; others pass those that wait.
 *
 * Records: the journal is the daemon's. Without one, records count as durable one turn of the loop
 * later, so a core sees the same order of events as with a disk.
 *
 * Clients of a scheduler (roles USER and OPERATOR) have a session for each connection; a body
 * becomes SUBMIT with a handle, and the REPLY goes back with the client's own request number.
 * Agents have one session for each node. A full queue is a Refusal with GW_REFUSAL_OVERLOAD, and so
 * is new work while the journal is stalled, and every request while it keeps no record at all; a client whose answers queue up unread loses its session.
 * libzmq's ROUTER reads its connections in turn, message by message, so none of them waits for
 * another's flood.
 */
#ifndef GODWIT_TRANSPORT_HOST_H
#define GODWIT_TRANSPORT_HOST_H

#include <stdint.h>

#include "proto/step.h"
#include "transport/curve.h"
#include "transport/fault.h"
#include "transport/journal.h"
#include "transport/observe.h"

#define GW_HOST_CLIENTS_MAX 1024u  /* client sessions */
#define GW_HOST_REQUESTS_MAX 4096u /* requests of all clients not yet answered */
#define GW_HOST_REQUESTS_PER_CLIENT_MAX 64u
#define GW_HOST_ANSWERS_BYTES_MAX (256u << 20) /* queued for all clients */

struct gw_host;
struct gw_identities;
struct gw_reactor;

/* Carries out SPAWN, KILL, FORGET, STREAM or PROBE. The bytes are valid during the call. It must
 * not call gw_host_feed; what happens at once is fed from a deferred call. */
typedef void gw_host_effect_f(void *context, const struct gw_effect *effect);
/* The host cannot go on: no event reaches the core and nothing is said from now on. -ESTALE: the
 * journal says that another process leads; else the core or its journal failed and the daemon must
 * end. Called once, from within a step: free the host later. */
typedef void gw_host_failed_f(void *context, int error);
/* Client: the leader told a newer list of its region's schedulers, for the region file. */
typedef void gw_host_schedulers_f(void *context, const struct gw_scheduler_list *list);
/* Client: what the connection to the scheduler is doing, for the log. One sentence. */
typedef void gw_host_notice_f(void *context, const char *text);

struct gw_host_options {
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_node *core; /* stays the caller's; freed after the host */
	const struct gw_keys *keys;
	const struct gw_cert *cert;       /* client: its own certificate */
	const struct gw_region *region;   /* the region; a client's scheduler and endpoints */
	struct gw_identities *identities; /* server; NULL: a client */
	const char *state_endpoint;       /* server: to bind */
	const char *heartbeat_endpoint;
	struct gw_journal *journal; /* NULL: in memory */
	uint64_t last_seq;          /* of the records that the core was made from */
	uint64_t term;              /* server: of this leader; ROLE says it to the core */
	uint32_t worker_count;      /* threads for PLAN; a core that plans needs one */
	gw_host_effect_f *effect;   /* NULL: such effects are a broken invariant */
	gw_host_failed_f *failed;
	gw_host_notice_f *notice;         /* may be NULL */
	gw_host_schedulers_f *schedulers; /* client; may be NULL */
	gw_observe_f *observe;            /* server: sessions and revocations; may be NULL */
	void *context;                    /* of the five above */
};

struct gw_host_counts {
	uint64_t messages; /* bodies that reached the core */
	uint64_t
		refused_identity; /* no or another User-Id than the envelope's sender, or revoked */
	uint64_t refused_malformed; /* not an envelope, or not a body */
	uint64_t refused_overload;  /* requests past a limit */
	uint64_t refused_protocol;  /* no common version */
	uint64_t slow_readers;      /* client sessions ended since their answers queued up */
	uint64_t dropped;           /* bodies for a peer without session or with a full queue; the
				       session is then started anew, so that inventories tell */
};

/* Binds or connects. Nothing is fed to the core before gw_host_start. */
int gw_host_new(const struct gw_host_options *options, struct gw_host **ret_host,
		struct gw_fault *fault);
struct gw_host *gw_host_free(struct gw_host *host);

/* Feeds START, and on a server ROLE. */
void gw_host_start(struct gw_host *host);
/* Feeds an event of the daemon's own (SAMPLE, SPAWNED, EXITED, OUTPUT, OBSERVED, ...); `now` is
 * filled in here. What it points at must stay during the call only. */
void gw_host_feed(struct gw_host *host, struct gw_event *event);
/* Server: leads in this term from now on, later than the one before; feeds ROLE. */
void gw_host_lead(struct gw_host *host, uint64_t term);
/* Records up to `seq` last. */
void gw_host_durable(struct gw_host *host, uint64_t seq);
/* Server: where this region's schedulers listen, told to agents and clients, those of now and those
 * to come. A list that is not newer changes nothing. */
void gw_host_set_endpoints(struct gw_host *host, const struct gw_scheduler_list *list);
/* Feeds STOP and sends what the core has left to say. */
void gw_host_stop(struct gw_host *host);

const struct gw_host_counts *gw_host_counts(const struct gw_host *host);
/* Server: ports bound. */
uint16_t gw_host_state_port(const struct gw_host *host);
uint16_t gw_host_heartbeat_port(const struct gw_host *host);

#endif
