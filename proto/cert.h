/*
 * Identities: a node's or user's keys bound to a name by its region's signature. The signed bytes
 * are kept and forwarded as they are. Uses libsodium's pure functions; makes no keys (transport
 * does, from the kernel's randomness).
 */
#ifndef GODWIT_PROTO_CERT_H
#define GODWIT_PROTO_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/id.h"
#include "proto/base/limits.h"

#define GW_KEY_BYTES 32u /* Ed25519 and X25519 public keys, X25519 secret, Ed25519 seed */
#define GW_SIGNING_SECRET_BYTES 64u /* libsodium's Ed25519 secret key */
#define GW_SIGNATURE_BYTES 64u
#define GW_CERT_BYTES_MAX 2048u /* an encoded SignedCertificate */

struct gw_cert {
	struct gw_node_id node;
	struct gw_id tenant;
	char name[GW_NAME_BYTES_MAX + 1];
	char site[GW_NAME_BYTES_MAX + 1];
	char region[GW_NAME_BYTES_MAX + 1];
	char provider[GW_NAME_BYTES_MAX + 1];
	uint32_t roles; /* bit set: 1 << Godwit__Role */
	uint8_t signing_key[GW_KEY_BYTES];
	uint8_t exchange_key[GW_KEY_BYTES];
	int64_t not_before_wall_us;
	int64_t not_after_wall_us;
	uint64_t serial;
};

enum gw_cert_result {
	GW_CERT_GOOD,
	GW_CERT_MALFORMED,
	GW_CERT_BAD_SIGNATURE,
	GW_CERT_WRONG_ISSUER,
	GW_CERT_EXPIRED, /* or not yet valid */
};

struct gw_node_id gw_cert_node_id(const uint8_t signing_key[GW_KEY_BYTES]);
/* A name is 1–63 of [A-Za-z0-9._-], beginning with a letter or digit. */
bool gw_cert_name_valid(const char *name);
/* Signs `cert`; its node id is computed. 0 with the encoded SignedCertificate in ret_bytes
 * [GW_CERT_BYTES_MAX]; -EINVAL: a name is not valid. */
int gw_cert_issue(const struct gw_cert *cert, const uint8_t issuer_secret[GW_SIGNING_SECRET_BYTES],
		  uint8_t *ret_bytes, size_t *ret_size);
/* Checks form, issuer, signature, node id, names and validity at `wall_us`, in that order.
 * ret_cert is written when good, and when only the validity is wrong. */
enum gw_cert_result gw_cert_verify(const uint8_t *bytes, size_t size,
				   const uint8_t issuer_key[GW_KEY_BYTES], int64_t wall_us,
				   struct gw_cert *ret_cert);
const char *gw_cert_result_text(enum gw_cert_result result);

/* Detached signatures over a domain string and bytes: Ed25519(BLAKE2b-512(domain NUL bytes)). */
void gw_sign(const char *domain, const uint8_t *bytes, size_t size,
	     const uint8_t secret[GW_SIGNING_SECRET_BYTES],
	     uint8_t ret_signature[GW_SIGNATURE_BYTES]);
bool gw_sign_verify(const char *domain, const uint8_t *bytes, size_t size,
		    const uint8_t key[GW_KEY_BYTES], const uint8_t signature[GW_SIGNATURE_BYTES]);

#endif
