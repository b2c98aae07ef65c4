/*
 * Keys and what is public beside them, in files. A process has one Ed25519 key (signs) and one
 * X25519 key (CURVE now, the overlay later), made from the kernel's randomness. Secrets live in a
 * file of mode 0600 owned by the user that reads it, and in guarded, locked memory; libzmq keeps
 * a copy of its own. A scheduler's signing key is its region's key.
 */
#ifndef GODWIT_TRANSPORT_CURVE_H
#define GODWIT_TRANSPORT_CURVE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/cert.h"
#include "transport/fault.h"
#include "transport/schedulers.h"

struct gw_keys {
	uint8_t signing_secret[GW_SIGNING_SECRET_BYTES];
	uint8_t exchange_secret[GW_KEY_BYTES];
	uint8_t signing_key[GW_KEY_BYTES];
	uint8_t exchange_key[GW_KEY_BYTES];
	struct gw_node_id node; /* of the signing key */
};

/* What everybody may know of a region, and where its schedulers listen. */
struct gw_region {
	char name[GW_NAME_BYTES_MAX + 1];
	uint8_t signing_key[GW_KEY_BYTES];
	uint8_t exchange_key[GW_KEY_BYTES]; /* of its schedulers */
	struct gw_scheduler_list schedulers;
};

/* Files of a folder that belongs to one identity. */
#define GW_KEYS_FILE "keys"               /* secret */
#define GW_CERTIFICATE_FILE "certificate" /* SignedCertificate */
#define GW_REGION_FILE "region"

/* Makes keys and a new file; -EEXIST: there is one. */
int gw_keys_create(const char *path, struct gw_keys **ret_keys, struct gw_fault *fault);
/* Reads them. -EPERM: a mode, owner or kind of file that would let others read or change it;
 * -EINVAL: not a key file. */
int gw_keys_load(const char *path, struct gw_keys **ret_keys, struct gw_fault *fault);
/* Wipes and frees. */
struct gw_keys *gw_keys_free(struct gw_keys *keys);

int gw_region_save(const char *path, const struct gw_region *region, struct gw_fault *fault);
/* Also a file of the first form, with one scheduler. */
int gw_region_load(const char *path, struct gw_region *ret_region, struct gw_fault *fault);

/* Reads a certificate and verifies it with the region's key at `wall_us`. 0; negative errno. */
int gw_certificate_load(const char *path, const struct gw_region *region, int64_t wall_us,
			struct gw_cert *ret_cert, struct gw_fault *fault);

#endif
