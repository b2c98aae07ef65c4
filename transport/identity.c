/*
 * Known identities: files on disk, and two tables over them. Entries are never freed before the
 * end, since a revoked identity must stay known as revoked.
 */
#include "transport/identity.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/table.h"
#include "transport/clock.h"
#include "transport/file.h"

#define CERTS "certs"
#define REVOKED "revoked"
#define SUFFIX ".cert"

struct by_key {
	uint8_t exchange_key[GW_KEY_BYTES]; /* first */
	struct gw_identity *identity;
};

struct gw_identities {
	char directory[GW_PATH_BYTES - 128]; /* room for the longest name below it */
	uint8_t region_key[GW_KEY_BYTES];
	struct gw_table by_node; /* of struct gw_identity */
	struct gw_table by_key;
};

static void cert_path(const struct gw_identities *identities, const char *folder,
		      struct gw_node_id node, char ret_path[GW_PATH_BYTES])
{
	char text[GW_ID_TEXT_BYTES];

	gw_id_format_hex(node.id, text);
	(void)snprintf(ret_path, GW_PATH_BYTES, "%s/%s/%s" SUFFIX, identities->directory, folder,
		       text);
}

/* Puts a verified certificate in both tables. */
static int insert(struct gw_identities *identities, const struct gw_cert *cert, bool revoked)
{
	struct gw_identity *identity = calloc(1, sizeof(*identity));
	struct by_key *key = calloc(1, sizeof(*key));
	int error = -ENOMEM;

	if (!identity || !key)
		goto out;
	identity->node = cert->node;
	identity->cert = *cert;
	identity->revoked = revoked;
	memcpy(key->exchange_key, cert->exchange_key, GW_KEY_BYTES);
	key->identity = identity;
	error = gw_table_add(&identities->by_node, identity);
	if (error < 0)
		goto out;
	error = gw_table_add(&identities->by_key, key);
	if (error < 0) {
		(void)gw_table_remove(&identities->by_node, &cert->node);
		goto out;
	}
	return 0;
out:
	free(identity);
	free(key);
	return error;
}

/* An expired certificate is skipped: its key is a stranger's again. */
static int load_file(struct gw_identities *identities, const char *path, bool revoked,
		     struct gw_fault *fault)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	enum gw_cert_result result;
	struct gw_cert cert;
	size_t size;
	int error = gw_file_read(path, false, sizeof(bytes), bytes, &size, fault);

	if (error < 0)
		return error;
	result = gw_cert_verify(bytes, size, identities->region_key, gw_clock_wall_us(), &cert);
	if (result == GW_CERT_EXPIRED)
		return 0;
	if (result != GW_CERT_GOOD) {
		gw_fault_set(fault, "%s: %s; remove the file, or restore it", path,
			     gw_cert_result_text(result));
		return -EINVAL;
	}
	error = insert(identities, &cert, revoked);
	if (error < 0)
		gw_fault_set(fault, "%s: cannot take this identity: %s", path, strerror(-error));
	return error;
}

static bool has_suffix(const char *name)
{
	size_t size = strlen(name);

	return size > strlen(SUFFIX) && strcmp(name + size - strlen(SUFFIX), SUFFIX) == 0;
}

static int load_folder(struct gw_identities *identities, const char *folder, bool revoked,
		       struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	struct dirent *entry;
	DIR *directory;
	int error = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", identities->directory, folder);
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		error = -errno;
		gw_fault_set(fault, "cannot make %s: %s", path, strerror(-error));
		return error;
	}
	directory = opendir(path);
	if (!directory) {
		error = -errno;
		gw_fault_set(fault, "cannot read %s: %s", path, strerror(-error));
		return error;
	}
	while (error == 0 && (entry = readdir(directory))) {
		if (!has_suffix(entry->d_name))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s/%.96s", identities->directory, folder,
			       entry->d_name);
		error = load_file(identities, path, revoked, fault);
	}
	(void)closedir(directory); /* only read */
	return error;
}

int gw_identities_open(const char *state_directory, const uint8_t region_key[GW_KEY_BYTES],
		       struct gw_identities **ret_identities, struct gw_fault *fault)
{
	struct gw_identities *identities = calloc(1, sizeof(*identities));
	uint64_t hash_key;
	int size;
	int error;

	if (!identities)
		return -ENOMEM;
	randombytes_buf(&hash_key, sizeof(hash_key));
	memcpy(identities->region_key, region_key, GW_KEY_BYTES);
	gw_table_init(&identities->by_node, GW_ID_BYTES, GW_NODES_MAX, hash_key);
	gw_table_init(&identities->by_key, GW_KEY_BYTES, GW_NODES_MAX, hash_key);
	size = snprintf(identities->directory, sizeof(identities->directory), "%s",
			state_directory);
	error = size < 0 || (size_t)size >= sizeof(identities->directory) ? -ENAMETOOLONG : 0;
	if (error == 0)
		error = load_folder(identities, REVOKED, true, fault);
	if (error == 0)
		error = load_folder(identities, CERTS, false, fault);
	if (error < 0) {
		gw_identities_free(identities);
		return error;
	}
	*ret_identities = identities;
	return 0;
}

struct gw_identities *gw_identities_free(struct gw_identities *identities)
{
	if (!identities)
		return NULL;
	for (uint32_t i = 0; i < identities->by_node.count; i++)
		free(identities->by_node.entries[i]);
	for (uint32_t i = 0; i < identities->by_key.count; i++)
		free(identities->by_key.entries[i]);
	gw_table_deinit(&identities->by_node);
	gw_table_deinit(&identities->by_key);
	free(identities);
	return NULL;
}

const struct gw_identity *gw_identities_find(const struct gw_identities *identities,
					     struct gw_node_id node)
{
	return gw_table_find(&identities->by_node, &node);
}

const struct gw_identity *gw_identities_find_key(const struct gw_identities *identities,
						 const uint8_t exchange_key[GW_KEY_BYTES])
{
	const struct by_key *key = gw_table_find(&identities->by_key, exchange_key);

	return key ? key->identity : NULL;
}

const struct gw_identity *gw_identities_find_name(const struct gw_identities *identities,
						  const char *name)
{
	for (uint32_t i = 0; i < identities->by_node.count; i++) {
		const struct gw_identity *identity = identities->by_node.entries[i];

		if (!identity->revoked && strcmp(identity->cert.name, name) == 0)
			return identity;
	}
	return NULL;
}

bool gw_identity_good(const struct gw_identity *identity, int64_t wall_us)
{
	return identity && !identity->revoked && wall_us >= identity->cert.not_before_wall_us &&
	       wall_us < identity->cert.not_after_wall_us;
}

int gw_identities_add(struct gw_identities *identities, const uint8_t *bytes, size_t size,
		      struct gw_fault *fault)
{
	enum gw_cert_result result;
	struct gw_cert cert;
	char path[GW_PATH_BYTES];
	int error;

	result = gw_cert_verify(bytes, size, identities->region_key, gw_clock_wall_us(), &cert);
	if (result != GW_CERT_GOOD) {
		gw_fault_set(fault, "%s", gw_cert_result_text(result));
		return -EINVAL;
	}
	if (gw_identities_find(identities, cert.node) ||
	    gw_identities_find_key(identities, cert.exchange_key)) {
		gw_fault_set(fault, "this key has an identity in the region already");
		return -EEXIST;
	}
	if (gw_identities_find_name(identities, cert.name)) {
		gw_fault_set(fault, "the name \"%s\" is taken in this region", cert.name);
		return -EEXIST;
	}
	if (identities->by_node.count >= GW_NODES_MAX) {
		gw_fault_set(fault, "the region has %u identities, its limit", GW_NODES_MAX);
		return -ENOBUFS;
	}
	cert_path(identities, CERTS, cert.node, path);
	error = gw_file_write(path, 0600, false, bytes, size, fault);
	return error < 0 ? error : insert(identities, &cert, false);
}

int gw_identities_revoke(struct gw_identities *identities, struct gw_node_id node)
{
	struct gw_identity *identity = gw_table_find(&identities->by_node, &node);
	char from[GW_PATH_BYTES];
	char to[GW_PATH_BYTES];

	if (!identity)
		return -ENOENT;
	if (identity->revoked)
		return 0;
	/* Refused from now on, whatever the disk says: an error below is the operator's to hear. */
	identity->revoked = true;
	cert_path(identities, CERTS, node, from);
	cert_path(identities, REVOKED, node, to);
	return gw_file_rename(from, to);
}

int gw_identities_read(const struct gw_identities *identities, struct gw_node_id node,
		       uint8_t ret_bytes[GW_CERT_BYTES_MAX], size_t *ret_size)
{
	char path[GW_PATH_BYTES];

	cert_path(identities, CERTS, node, path);
	return gw_file_read(path, false, GW_CERT_BYTES_MAX, ret_bytes, ret_size, NULL);
}
