/*
 * Known identities: files on disk, and two tables over them. A revoked identity stays known as
 * revoked, an expired one until another takes its key or name. Entries are never freed before the
 * end: sessions point at their names.
 */
#include "transport/identity.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	struct by_key *next; /* among those replaced */
};

struct gw_identities {
	char directory[GW_PATH_BYTES - 128]; /* room for the longest name below it */
	uint8_t region_key[GW_KEY_BYTES];
	struct gw_table by_node; /* of struct gw_identity */
	struct gw_table by_key;
	struct by_key *replaced; /* in no table any more */
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

/* Validity is asked at each use, not here: what is revoked stays revoked when it has expired, and a
 * clock that is wrong at the start costs nobody his identity. */
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
	if (result != GW_CERT_GOOD && result != GW_CERT_EXPIRED) {
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
	while (identities->replaced) {
		struct by_key *key = identities->replaced;

		identities->replaced = key->next;
		free(key->identity);
		free(key);
	}
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

const struct gw_identity *gw_identities_at(const struct gw_identities *identities, uint32_t index)
{
	return index < identities->by_node.count ? identities->by_node.entries[index] : NULL;
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

static bool in_the_way(const struct gw_identity *identity, const struct gw_cert *cert)
{
	return gw_id_equal(identity->node.id, cert->node.id) ||
	       memcmp(identity->cert.exchange_key, cert->exchange_key, GW_KEY_BYTES) == 0 ||
	       (!identity->revoked && strcmp(identity->cert.name, cert->name) == 0);
}

static bool replaceable(const struct gw_identity *identity, int64_t wall_us)
{
	return !identity->revoked && wall_us >= identity->cert.not_after_wall_us;
}

int gw_identities_check_free(const struct gw_identities *identities, const struct gw_cert *cert,
			     int64_t wall_us, struct gw_fault *fault)
{
	for (uint32_t i = 0; i < identities->by_node.count; i++) {
		const struct gw_identity *identity = identities->by_node.entries[i];

		if (!in_the_way(identity, cert) || replaceable(identity, wall_us))
			continue;
		if (identity->revoked)
			gw_fault_set(fault, "this key was revoked; make new keys to join");
		else if (strcmp(identity->cert.name, cert->name) == 0 &&
			 !gw_id_equal(identity->node.id, cert->node.id))
			gw_fault_set(fault, "the name \"%s\" is taken in this region", cert->name);
		else
			gw_fault_set(
				fault,
				"this key has an identity in this region; make new keys to join");
		return -EEXIST;
	}
	return 0;
}

/* Takes an expired identity out. Its file goes first: it is of no use, even if no other follows. */
static int replace(struct gw_identities *identities, const struct gw_identity *identity,
		   struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	struct by_key *key;
	int error;

	cert_path(identities, CERTS, identity->node, path);
	if (unlink(path) < 0 && errno != ENOENT) {
		error = -errno;
		gw_fault_set(fault, "cannot remove %s: %s", path, strerror(-error));
		return error;
	}
	key = gw_table_remove(&identities->by_key, identity->cert.exchange_key);
	CHECK(key);
	(void)gw_table_remove(&identities->by_node, &identity->node);
	key->next = identities->replaced;
	identities->replaced = key;
	return 0;
}

/* Takes out the expired identities that are in the way; all of them when there is no room. */
static int make_room(struct gw_identities *identities, const struct gw_cert *cert, int64_t wall_us,
		     struct gw_fault *fault)
{
	bool full = identities->by_node.count >= GW_NODES_MAX;
	uint32_t i = 0;
	int error = 0;

	while (error == 0 && i < identities->by_node.count) {
		const struct gw_identity *identity = identities->by_node.entries[i];

		if (replaceable(identity, wall_us) && (full || in_the_way(identity, cert)))
			error = replace(identities, identity, fault); /* the last takes place i */
		else
			i++;
	}
	if (error == 0 && identities->by_node.count >= GW_NODES_MAX) {
		gw_fault_set(fault, "the region has %u identities, its limit", GW_NODES_MAX);
		return -ENOBUFS;
	}
	return error;
}

int gw_identities_add(struct gw_identities *identities, const uint8_t *bytes, size_t size,
		      struct gw_fault *fault)
{
	int64_t wall_us = gw_clock_wall_us();
	enum gw_cert_result result;
	struct gw_cert cert;
	char path[GW_PATH_BYTES];
	int error;

	result = gw_cert_verify(bytes, size, identities->region_key, wall_us, &cert);
	if (result != GW_CERT_GOOD) {
		gw_fault_set(fault, "%s", gw_cert_result_text(result));
		return -EINVAL;
	}
	error = gw_identities_check_free(identities, &cert, wall_us, fault);
	if (error == 0)
		error = make_room(identities, &cert, wall_us, fault);
	if (error < 0)
		return error;
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
