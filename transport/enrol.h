/*
 * How a stranger becomes an identity. An operator makes a one-time token on the scheduler's machine
 * (it works while the scheduler runs: tokens are files) and carries it, in a ticket file, to the
 * new node or user. The joiner proves that it holds its signing key (signature) and its exchange
 * key (the CURVE connection itself); the scheduler uses the token up, then issues the certificate.
 *
 *	STATE/tokens/HASH        what the token gives; HASH = BLAKE2b-256 of it
 *	STATE/tokens/HASH.NODE   used up by that node; the same node may ask again (its answer may
 *	                         have been lost) and gets the same certificate
 */
#ifndef GODWIT_TRANSPORT_ENROL_H
#define GODWIT_TRANSPORT_ENROL_H

#include <stdint.h>

#include "proto/cert.h"
#include "proto/wire.h"
#include "transport/curve.h"
#include "transport/fault.h"
#include "transport/observe.h"

#define GW_TOKEN_BYTES 32u

struct gw_identities;
struct gw_journal;
struct gw_reactor;

/* What a token gives to whoever brings it. */
struct gw_grant {
	enum _Godwit__Role role;
	char name[GW_NAME_BYTES_MAX + 1]; /* empty: as the joiner asks */
	char site[GW_NAME_BYTES_MAX + 1]; /* agents need one */
	char provider[GW_NAME_BYTES_MAX + 1];
	struct gw_id tenant;
	int64_t expires_wall_us;      /* of the token */
	uint64_t certificate_life_us; /* of the certificate */
};

struct gw_ticket {
	struct gw_region region; /* without schedulers */
	enum _Godwit__Role role; /* what the token gives: the joiner's program sees if it is its */
	uint32_t enrol_count;    /* 1 or more */
	char enrol_endpoints[GW_SCHEDULERS_MAX][GW_ENDPOINT_BYTES_MAX + 1];
	uint8_t token[GW_TOKEN_BYTES];
};

/* Scheduler's machine, offline. 0; negative errno with a sentence. */
int gw_token_create(const char *state_directory, const struct gw_grant *grant,
		    uint8_t ret_token[GW_TOKEN_BYTES], struct gw_fault *fault);
/* What the token would give this node now. 0; 1: this node has used it; -EACCES: unknown, used up
 * by another, or expired (used or not), with a sentence; other negative errno: disk. */
int gw_token_look(const char *state_directory, const uint8_t token[GW_TOKEN_BYTES],
		  struct gw_node_id node, int64_t wall_us, struct gw_grant *ret_grant,
		  struct gw_fault *fault);
/* Uses it up for this node: of several at once, one gets 0. 0 also when this node has used it. */
int gw_token_use(const char *state_directory, const uint8_t token[GW_TOKEN_BYTES],
		 struct gw_node_id node, int64_t wall_us, struct gw_grant *ret_grant,
		 struct gw_fault *fault);
/* A ticket is a secret until used: mode 0600, checked when read. -EEXIST: a file is there. */
int gw_ticket_save(const char *path, const struct gw_ticket *ticket, struct gw_fault *fault);
int gw_ticket_load(const char *path, struct gw_ticket *ret_ticket, struct gw_fault *fault);

/* Scheduler, running. */
struct gw_enrol;

#define GW_ENROL_WAITING_MAX 64u /* joiners whose certificate is not yet kept */

/* Keeps a certificate where the region's other schedulers find it. When it lasts, gw_enrol_kept is
 * called with the handle, never from here. 0; negative errno: refused, the joiner asks again. */
typedef int gw_enrol_keep_f(void *context, struct gw_node_id node, const uint8_t *bytes,
			    size_t size, uint64_t handle);

struct gw_enrol_options {
	struct gw_reactor *reactor;
	void *zmq;
	const struct gw_keys *keys; /* of the scheduler; its signing key is the region's */
	const char *region;
	struct gw_identities *identities;
	const char *state_directory;
	const char *endpoint; /* to bind */
	uint16_t state_port;  /* told to who joined */
	uint16_t heartbeat_port;
	struct gw_journal *journal; /* while it is stalled nobody joins; NULL: none */
	gw_enrol_keep_f *keep; /* before the joiner is told; NULL: this machine's disk is enough */
	gw_observe_f *observe; /* who joined and who may not; may be NULL */
	void *context;         /* of the two above */
};

int gw_enrol_new(const struct gw_enrol_options *options, struct gw_enrol **ret_enrol,
		 struct gw_fault *fault);
struct gw_enrol *gw_enrol_free(struct gw_enrol *enrol);
uint16_t gw_enrol_port(const struct gw_enrol *enrol);
/* The certificate of this handle (from 1) lasts. */
void gw_enrol_kept(struct gw_enrol *enrol, uint64_t handle);
/* All schedulers of the region, told to who joins from now on. */
void gw_enrol_set_endpoints(struct gw_enrol *enrol, const struct gw_scheduler_list *list);

/* What a JoinRequest's proof signs: token, signing key, exchange key. */
#define GW_JOIN_DOMAIN "godwit join 1"
#define GW_JOIN_PROOF_BYTES (GW_TOKEN_BYTES + 2 * GW_KEY_BYTES)
void gw_join_proof_bytes(const uint8_t token[GW_TOKEN_BYTES],
			 const uint8_t signing_key[GW_KEY_BYTES],
			 const uint8_t exchange_key[GW_KEY_BYTES],
			 uint8_t ret_bytes[GW_JOIN_PROOF_BYTES]);

/*
 * Joiner: blocks up to `limit_us`. `directory` becomes (or already is) an identity's folder: keys
 * are made if absent, then certificate and region are written. Called again it is harmless. 0;
 * -EACCES: refused, the sentence says why; -ETIMEDOUT; other negative errno.
 */
int gw_join(const char *directory, const struct gw_ticket *ticket, const char *name,
	    uint64_t limit_us, struct gw_fault *fault);

#endif
