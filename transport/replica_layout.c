/*
 * The layout of the journal in etcd, both ways. Numbers in keys and text have fixed width in
 * hexadecimal, so that the order of keys is the order of numbers and reading needs no library.
 */
#include "transport/replica_layout.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "transport/replica.h"

#define MANIFEST_WORD "godwit-snapshot 1 "

/* Reads `digits` lower-case hexadecimal digits and moves past them. */
static bool take_hex(const char **at, size_t digits, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (size_t i = 0; i < digits; i++) {
		char c = (*at)[i];

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*at += digits;
	*ret_value = value;
	return true;
}

static bool take(const char **at, const char *text)
{
	size_t size = strlen(text);

	if (strncmp(*at, text, size) != 0)
		return false;
	*at += size;
	return true;
}

void gw_layout_key(const char *prefix, const char *word, char *ret_key)
{
	int size = snprintf(ret_key, GW_STORE_KEY_BYTES, "%s/%s", prefix, word);

	CHECK(size > 0);
	CHECK((size_t)size < GW_STORE_KEY_BYTES); /* prefixes and names are bounded */
}

void gw_layout_batch_key(const char *prefix, uint64_t seq, char *ret_key)
{
	char word[32];

	(void)snprintf(word, sizeof(word), "batch/%016llx", (unsigned long long)seq);
	gw_layout_key(prefix, word, ret_key);
}

void gw_layout_snapshot_name(const struct gw_layout_manifest *manifest,
			     char ret_name[GW_LAYOUT_SNAPSHOT_BYTES])
{
	(void)snprintf(ret_name, GW_LAYOUT_SNAPSHOT_BYTES, "%016llx-%016llx-%08x",
		       (unsigned long long)manifest->seq, (unsigned long long)manifest->term,
		       manifest->attempt);
}

void gw_layout_chunk_key(const char *prefix, const struct gw_layout_manifest *manifest,
			 uint32_t chunk, char *ret_key)
{
	char name[GW_LAYOUT_SNAPSHOT_BYTES];
	char word[GW_LAYOUT_SNAPSHOT_BYTES + 32];

	gw_layout_snapshot_name(manifest, name);
	(void)snprintf(word, sizeof(word), "snapshot/%s/%08x", name, chunk);
	gw_layout_key(prefix, word, ret_key);
}

void gw_layout_chunk_bounds(const char *prefix, const struct gw_layout_manifest *manifest,
			    char *ret_first, char *ret_end)
{
	char name[GW_LAYOUT_SNAPSHOT_BYTES];
	char word[GW_LAYOUT_SNAPSHOT_BYTES + 32];

	gw_layout_snapshot_name(manifest, name);
	(void)snprintf(word, sizeof(word), "snapshot/%s/", name);
	gw_layout_key(prefix, word, ret_first);
	(void)snprintf(word, sizeof(word), "snapshot/%s0", name); /* '0' follows '/' */
	gw_layout_key(prefix, word, ret_end);
}

void gw_layout_sequence(uint64_t seq, char ret_text[GW_LAYOUT_SEQUENCE_BYTES])
{
	(void)snprintf(ret_text, GW_LAYOUT_SEQUENCE_BYTES, "%016llx", (unsigned long long)seq);
}

bool gw_layout_read_sequence(struct gw_store_bytes value, uint64_t *ret_seq)
{
	char text[GW_LAYOUT_SEQUENCE_BYTES] = "";
	const char *at = text;

	if (value.size != sizeof(text) - 1)
		return false;
	memcpy(text, value.bytes, value.size);
	return take_hex(&at, value.size, ret_seq);
}

size_t gw_layout_manifest(const struct gw_layout_manifest *manifest,
			  char ret_text[GW_LAYOUT_MANIFEST_BYTES])
{
	char name[GW_LAYOUT_SNAPSHOT_BYTES];
	char hash[2 * GW_LAYOUT_HASH_BYTES + 1];
	int size;

	gw_layout_snapshot_name(manifest, name);
	(void)sodium_bin2hex(hash, sizeof(hash), manifest->hash, sizeof(manifest->hash));
	size = snprintf(ret_text, GW_LAYOUT_MANIFEST_BYTES, MANIFEST_WORD "%s %08x %016llx %s",
			name, manifest->chunk_count, (unsigned long long)manifest->size, hash);
	CHECK(size > 0);
	CHECK((size_t)size < GW_LAYOUT_MANIFEST_BYTES);
	return (size_t)size;
}

bool gw_layout_read_manifest(struct gw_store_bytes value, struct gw_layout_manifest *ret_manifest)
{
	struct gw_layout_manifest manifest = {0};
	char text[GW_LAYOUT_MANIFEST_BYTES] = "";
	const char *at = text;
	uint64_t attempt = 0;
	uint64_t chunk_count = 0;
	bool good;

	if (value.size >= sizeof(text))
		return false;
	memcpy(text, value.bytes, value.size);
	good = take(&at, MANIFEST_WORD) && take_hex(&at, 16, &manifest.seq) && take(&at, "-") &&
	       take_hex(&at, 16, &manifest.term) && take(&at, "-") && take_hex(&at, 8, &attempt) &&
	       take(&at, " ") && take_hex(&at, 8, &chunk_count) && take(&at, " ") &&
	       take_hex(&at, 16, &manifest.size) && take(&at, " ");
	for (size_t i = 0; i < sizeof(manifest.hash) && good; i++) {
		uint64_t byte = 0;

		good = take_hex(&at, 2, &byte);
		manifest.hash[i] = (uint8_t)byte;
	}
	/* A NUL among the digits stops the reading, one after them would hide what follows. */
	if (!good || at != text + value.size)
		return false;
	manifest.attempt = (uint32_t)attempt;
	manifest.chunk_count = (uint32_t)chunk_count;
	*ret_manifest = manifest;
	return true;
}

void gw_layout_hash(uint8_t hash[GW_LAYOUT_HASH_BYTES], const uint8_t *chunk, size_t size)
{
	uint8_t before[GW_LAYOUT_HASH_BYTES];

	memcpy(before, hash, sizeof(before));
	(void)crypto_generichash(hash, GW_LAYOUT_HASH_BYTES, chunk, size, before,
				 sizeof(before)); /* fails on bad sizes only */
}

void gw_layout_batch_header(uint64_t first_seq, uint8_t ret_bytes[GW_LAYOUT_BATCH_HEADER_BYTES])
{
	ret_bytes[0] = GW_LAYOUT_VERSION;
	gw_put_be(ret_bytes + 1, first_seq, 8);
}

void gw_layout_frame(size_t size, uint8_t ret_bytes[GW_LAYOUT_FRAME_BYTES])
{
	gw_put_be(ret_bytes, size, GW_LAYOUT_FRAME_BYTES);
}

bool gw_layout_read_frame(struct gw_store_bytes bytes, size_t size_max,
			  struct gw_store_bytes *ret_frame, size_t *ret_size)
{
	size_t size;

	*ret_size = 0;
	if (bytes.size < GW_LAYOUT_FRAME_BYTES)
		return false;
	size = (size_t)gw_get_be(bytes.bytes, GW_LAYOUT_FRAME_BYTES);
	*ret_size = size;
	if (size > size_max || size > bytes.size - GW_LAYOUT_FRAME_BYTES)
		return false;
	ret_frame->bytes = bytes.bytes + GW_LAYOUT_FRAME_BYTES;
	ret_frame->size = size;
	return true;
}

bool gw_layout_read_batch(const char *prefix, const struct gw_store_kv *kv,
			  struct gw_layout_batch *ret_batch)
{
	struct gw_layout_batch batch;
	struct gw_store_bytes rest;
	const char *at = kv->key;
	uint64_t count = 0;

	if (!take(&at, prefix) || !take(&at, "/batch/") || !take_hex(&at, 16, &batch.last_seq) ||
	    *at != '\0')
		return false;
	if (kv->value.size < GW_LAYOUT_BATCH_HEADER_BYTES ||
	    kv->value.bytes[0] != GW_LAYOUT_VERSION)
		return false;
	batch.first_seq = gw_get_be(kv->value.bytes + 1, 8);
	batch.frames.bytes = kv->value.bytes + GW_LAYOUT_BATCH_HEADER_BYTES;
	batch.frames.size = kv->value.size - GW_LAYOUT_BATCH_HEADER_BYTES;
	rest = batch.frames;
	while (rest.size > 0) {
		struct gw_store_bytes frame;
		size_t size;

		if (!gw_layout_read_frame(rest, GW_REPLICA_RECORD_BYTES_MAX, &frame, &size))
			return false;
		rest.bytes = frame.bytes + frame.size;
		rest.size -= GW_LAYOUT_FRAME_BYTES + frame.size;
		count++;
	}
	/* Sequences begin at 1, so the difference cannot wrap for a batch that is not empty. */
	if (batch.first_seq == 0 || count == 0 || batch.last_seq - batch.first_seq != count - 1)
		return false;
	*ret_batch = batch;
	return true;
}
