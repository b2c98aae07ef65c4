/*
 * Keys and public facts in text files of "word value" lines, read strictly: the lines that are
 * expected, in their order, and nothing else. Text, so that a person can see what a file is, and
 * can compare two public keys.
 */
#include "transport/curve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "transport/file.h"
#include "transport/lines.h"

#define KEYS_HEADER "godwit-keys 1"
#define REGION_HEADER "godwit-region 2"
#define REGION_HEADER_1 "godwit-region 1" /* one scheduler, its two lines perhaps empty */
#define FILE_BYTES_MAX 4096u
#define HEX_BYTES (2 * GW_KEY_BYTES + 1)

struct gw_keys *gw_keys_free(struct gw_keys *keys)
{
	sodium_free(keys); /* wipes first; NULL is fine */
	return NULL;
}

/* Everything follows from the Ed25519 seed and the X25519 secret. NULL: no memory for secrets. */
static struct gw_keys *derive(const uint8_t seed[GW_KEY_BYTES],
			      const uint8_t exchange_secret[GW_KEY_BYTES])
{
	struct gw_keys *keys = sodium_malloc(sizeof(*keys));

	if (!keys)
		return NULL;
	(void)crypto_sign_seed_keypair(keys->signing_key, keys->signing_secret, seed);
	memcpy(keys->exchange_secret, exchange_secret, GW_KEY_BYTES);
	(void)crypto_scalarmult_base(keys->exchange_key, exchange_secret);
	keys->node = gw_cert_node_id(keys->signing_key);
	return keys;
}

/* In one locked allocation, so that no secret is left on a stack. */
struct secrets {
	uint8_t seed[GW_KEY_BYTES];
	uint8_t exchange_secret[GW_KEY_BYTES];
	char seed_hex[HEX_BYTES];
	char exchange_hex[HEX_BYTES];
	char file[FILE_BYTES_MAX + 1];
};

static struct secrets *secrets_new(struct gw_fault *fault)
{
	struct secrets *secrets = NULL;

	if (sodium_init() >= 0)
		secrets = sodium_malloc(sizeof(*secrets));
	if (!secrets)
		gw_fault_set(fault, "no locked memory for secrets");
	return secrets;
}

int gw_keys_create(const char *path, struct gw_keys **ret_keys, struct gw_fault *fault)
{
	struct secrets *secrets = secrets_new(fault);
	struct gw_keys *keys;
	int size;
	int error;

	if (!secrets)
		return -ENOMEM;
	randombytes_buf(secrets->seed, GW_KEY_BYTES);
	randombytes_buf(secrets->exchange_secret, GW_KEY_BYTES);
	(void)sodium_bin2hex(secrets->seed_hex, HEX_BYTES, secrets->seed, GW_KEY_BYTES);
	(void)sodium_bin2hex(secrets->exchange_hex, HEX_BYTES, secrets->exchange_secret,
			     GW_KEY_BYTES);
	size = snprintf(secrets->file, sizeof(secrets->file),
			KEYS_HEADER "\nsigning-seed %s\nexchange-secret %s\n", secrets->seed_hex,
			secrets->exchange_hex);
	keys = derive(secrets->seed, secrets->exchange_secret);
	CHECK(size > 0);
	error = keys ? gw_file_write(path, 0600, true, secrets->file, (size_t)size, fault)
		     : -ENOMEM;
	sodium_free(secrets);
	if (error < 0) {
		gw_keys_free(keys);
		return error;
	}
	*ret_keys = keys;
	return 0;
}

int gw_keys_load(const char *path, struct gw_keys **ret_keys, struct gw_fault *fault)
{
	struct secrets *secrets = secrets_new(fault);
	struct gw_keys *keys = NULL;
	struct gw_lines lines;
	size_t size;
	int error;

	if (!secrets)
		return -ENOMEM;
	error = gw_file_read(path, true, FILE_BYTES_MAX, secrets->file, &size, fault);
	if (error == 0) {
		secrets->file[size] = '\0';
		gw_lines_init(&lines, secrets->file, KEYS_HEADER);
		gw_lines_key(&lines, "signing-seed", secrets->seed);
		gw_lines_key(&lines, "exchange-secret", secrets->exchange_secret);
		error = gw_lines_end(&lines, path, fault);
	}
	if (error == 0) {
		keys = derive(secrets->seed, secrets->exchange_secret);
		error = keys ? 0 : -ENOMEM;
	}
	sodium_free(secrets);
	if (error == 0)
		*ret_keys = keys;
	return error;
}

int gw_region_save(const char *path, const struct gw_region *region, struct gw_fault *fault)
{
	const struct gw_scheduler_list *list = &region->schedulers;
	char signing[HEX_BYTES];
	char exchange[HEX_BYTES];
	char file[FILE_BYTES_MAX];
	int size;

	CHECK(list->count <= GW_SCHEDULERS_MAX);
	(void)sodium_bin2hex(signing, sizeof(signing), region->signing_key, GW_KEY_BYTES);
	(void)sodium_bin2hex(exchange, sizeof(exchange), region->exchange_key, GW_KEY_BYTES);
	size = snprintf(file, sizeof(file),
			REGION_HEADER "\nname %s\nsigning-key %s\nexchange-key %s\nversion %" PRIu64
				      "\n",
			region->name, signing, exchange, list->version);
	for (uint32_t i = 0; i < list->count; i++)
		size += snprintf(file + size, sizeof(file) - (size_t)size,
				 "state %s\nheartbeat %s\n", list->places[i].state,
				 list->places[i].heartbeat);
	CHECK(size > 0);
	CHECK((size_t)size < sizeof(file)); /* 8 places of 2 endpoints are 2.2 KB */
	return gw_file_write(path, 0644, false, file, (size_t)size, fault);
}

static void read_place(struct gw_lines *lines, struct gw_scheduler_place *ret_place)
{
	gw_lines_text(lines, "state", ret_place->state, sizeof(ret_place->state));
	gw_lines_text(lines, "heartbeat", ret_place->heartbeat, sizeof(ret_place->heartbeat));
}

int gw_region_load(const char *path, struct gw_region *ret_region, struct gw_fault *fault)
{
	struct gw_region region = {0};
	struct gw_scheduler_list *list = &region.schedulers;
	char file[FILE_BYTES_MAX + 1];
	int64_t version = 0;
	struct gw_lines lines;
	bool first_form;
	size_t size;
	int error = gw_file_read(path, false, FILE_BYTES_MAX, file, &size, fault);

	if (error < 0)
		return error;
	file[size] = '\0';
	first_form = gw_lines_is(file, REGION_HEADER_1);
	gw_lines_init(&lines, file, first_form ? REGION_HEADER_1 : REGION_HEADER);
	gw_lines_name(&lines, "name", false, region.name);
	gw_lines_key(&lines, "signing-key", region.signing_key);
	gw_lines_key(&lines, "exchange-key", region.exchange_key);
	if (first_form) {
		read_place(&lines, &list->places[0]);
		list->count = list->places[0].state[0] ? 1 : 0;
	} else {
		gw_lines_number(&lines, "version", &version);
		while (list->count < GW_SCHEDULERS_MAX && gw_lines_has(&lines, "state"))
			read_place(&lines, &list->places[list->count++]);
	}
	list->version = (uint64_t)version;
	error = gw_lines_end(&lines, path, fault);
	if (error == 0)
		*ret_region = region;
	return error;
}

int gw_certificate_load(const char *path, const struct gw_region *region, int64_t wall_us,
			struct gw_cert *ret_cert, struct gw_fault *fault)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	enum gw_cert_result result;
	size_t size;
	int error = gw_file_read(path, false, sizeof(bytes), bytes, &size, fault);

	if (error < 0)
		return error;
	result = gw_cert_verify(bytes, size, region->signing_key, wall_us, ret_cert);
	if (result != GW_CERT_GOOD) {
		gw_fault_set(fault, "%s: %s", path, gw_cert_result_text(result));
		return -EINVAL;
	}
	return 0;
}
