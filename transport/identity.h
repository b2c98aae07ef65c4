/*
 * The identities that a scheduler knows: each certificate that it issued is a file in
 * STATE/certs/, a revoked one is in STATE/revoked/. In memory they are found by key and by node.
 * A change is on disk before it is in memory.
 */
#ifndef GODWIT_TRANSPORT_IDENTITY_H
#define GODWIT_TRANSPORT_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/cert.h"
#include "transport/fault.h"

struct gw_identities;

struct gw_identity {
	struct gw_node_id node; /* key; first */
	struct gw_cert cert;
	bool revoked;
};

/* Reads STATE's certificates, making the folders when absent. A file that does not verify is
 * named in `fault` and refuses the start. 0; negative errno. */
int gw_identities_open(const char *state_directory, const uint8_t region_key[GW_KEY_BYTES],
		       struct gw_identities **ret_identities, struct gw_fault *fault);
struct gw_identities *gw_identities_free(struct gw_identities *identities);

/* By node, or by CURVE key; revoked ones too. NULL: unknown. Valid until gw_identities_free. */
const struct gw_identity *gw_identities_find(const struct gw_identities *identities,
					     struct gw_node_id node);
const struct gw_identity *gw_identities_find_key(const struct gw_identities *identities,
						 const uint8_t exchange_key[GW_KEY_BYTES]);
/* The index-th, revoked ones too; NULL: there are no more. One that is added meanwhile in place of
 * an expired one may change the order. */
const struct gw_identity *gw_identities_at(const struct gw_identities *identities, uint32_t index);
/* The one of that name that is not revoked. */
const struct gw_identity *gw_identities_find_name(const struct gw_identities *identities,
						  const char *name);
/* True: known, not revoked, within its validity at `wall_us`. */
bool gw_identity_good(const struct gw_identity *identity, int64_t wall_us);

/* Whether this certificate's node, key and name are free: not revoked (a name is free then), nor
 * another's who has not expired. 0; -EEXIST with a sentence. */
int gw_identities_check_free(const struct gw_identities *identities, const struct gw_cert *cert,
			     int64_t wall_us, struct gw_fault *fault);
/* In place of expired identities of the same node, key or name. 0; -EEXIST: one of these is taken;
 * -ENOBUFS: GW_NODES_MAX; other negative errno: disk. */
int gw_identities_add(struct gw_identities *identities, const uint8_t *bytes, size_t size,
		      struct gw_fault *fault);
/* 0, also when it was revoked before; -ENOENT; other negative errno: disk. */
int gw_identities_revoke(struct gw_identities *identities, struct gw_node_id node);
/* The signed bytes as issued. 0; negative errno. */
int gw_identities_read(const struct gw_identities *identities, struct gw_node_id node,
		       uint8_t ret_bytes[GW_CERT_BYTES_MAX], size_t *ret_size);

#endif
