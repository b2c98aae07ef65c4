/* Certificates and signatures: what is accepted, and that everything else is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/cert.h"
#include "proto/wire.h"

#define NOW_US 1000000000

struct keys {
	uint8_t secret[GW_SIGNING_SECRET_BYTES];
	uint8_t key[GW_KEY_BYTES];
};

static void make_keys(struct keys *keys, uint8_t number)
{
	uint8_t seed[GW_KEY_BYTES] = {number};

	(void)crypto_sign_seed_keypair(keys->key, keys->secret, seed);
}

static struct gw_cert example(const struct keys *subject)
{
	struct gw_cert cert = {
		.name = "node-1",
		.site = "gz",
		.region = "cn-south",
		.provider = "p",
		.roles = 1u << GODWIT__ROLE__ROLE_AGENT | 1u << GODWIT__ROLE__ROLE_USER,
		.tenant = {{4}},
		.not_before_wall_us = NOW_US - 10,
		.not_after_wall_us = NOW_US + 10,
		.serial = 99,
	};

	memcpy(cert.signing_key, subject->key, GW_KEY_BYTES);
	memset(cert.exchange_key, 6, GW_KEY_BYTES);
	return cert;
}

static void issue(const struct gw_cert *cert, const struct keys *issuer, uint8_t *bytes,
		  size_t *size)
{
	assert_int_equal(gw_cert_issue(cert, issuer->secret, bytes, size), 0);
}

static void carries_what_was_said(void **state)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct keys region;
	struct keys node;
	struct gw_cert cert;
	struct gw_cert got;
	size_t size;

	(void)state;
	make_keys(&region, 1);
	make_keys(&node, 2);
	cert = example(&node);
	issue(&cert, &region, bytes, &size);
	assert_int_equal(gw_cert_verify(bytes, size, region.key, NOW_US, &got), GW_CERT_GOOD);
	cert.node = gw_cert_node_id(node.key);
	assert_true(gw_id_equal(got.node.id, cert.node.id));
	assert_true(gw_id_equal(got.tenant, cert.tenant));
	assert_string_equal(got.name, "node-1");
	assert_string_equal(got.site, "gz");
	assert_string_equal(got.region, "cn-south");
	assert_string_equal(got.provider, "p");
	assert_int_equal(got.roles, cert.roles);
	assert_memory_equal(got.signing_key, cert.signing_key, GW_KEY_BYTES);
	assert_memory_equal(got.exchange_key, cert.exchange_key, GW_KEY_BYTES);
	assert_int_equal(got.serial, 99);
}

/* BLAKE2b-256 of 32 zero bytes, from the b2sum tool: the id is its first half. */
static void node_ids_are_stable(void **state)
{
	static const uint8_t zeros[GW_KEY_BYTES];
	char text[GW_ID_TEXT_BYTES];

	(void)state;
	gw_id_format_hex(gw_cert_node_id(zeros).id, text);
	assert_string_equal(text, "89eb0d6a8a691dae2cd15ed0369931ce");
}

static void validity_is_half_open(void **state)
{
	static const struct {
		int64_t wall_us;
		enum gw_cert_result result;
	} rows[] = {{NOW_US - 11, GW_CERT_EXPIRED},
		    {NOW_US - 10, GW_CERT_GOOD},
		    {NOW_US + 9, GW_CERT_GOOD},
		    {NOW_US + 10, GW_CERT_EXPIRED}};

	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct keys region;
	struct keys node;
	struct gw_cert cert;
	struct gw_cert got;
	size_t size;

	(void)state;
	make_keys(&region, 1);
	make_keys(&node, 2);
	cert = example(&node);
	issue(&cert, &region, bytes, &size);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(gw_cert_verify(bytes, size, region.key, rows[i].wall_us, &got),
				 rows[i].result);
}

static void another_region_is_refused(void **state)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct keys region;
	struct keys other;
	struct gw_cert cert;
	struct gw_cert got;
	size_t size;

	(void)state;
	make_keys(&region, 1);
	make_keys(&other, 3);
	cert = example(&other);
	issue(&cert, &other, bytes, &size);
	assert_int_equal(gw_cert_verify(bytes, size, region.key, NOW_US, &got),
			 GW_CERT_WRONG_ISSUER);
}

/* Each bit matters: of the certificate, its signature, its issuer. */
static void any_changed_bit_is_refused(void **state)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct keys region;
	struct keys node;
	struct gw_cert cert;
	struct gw_cert got;
	size_t size;

	(void)state;
	make_keys(&region, 1);
	make_keys(&node, 2);
	cert = example(&node);
	issue(&cert, &region, bytes, &size);
	for (size_t i = 0; i < 8 * size; i++) {
		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_not_equal(gw_cert_verify(bytes, size, region.key, NOW_US, &got),
				     GW_CERT_GOOD);
		bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	for (size_t i = 0; i < size; i++)
		assert_int_not_equal(gw_cert_verify(bytes, i, region.key, NOW_US, &got),
				     GW_CERT_GOOD);
}

/* Signed by the region, and still not good: a node id that is not the key's, a name that is not. */
static void signed_nonsense_is_refused(void **state)
{
	Godwit__SignedCertificate outer = GODWIT__SIGNED_CERTIFICATE__INIT;
	Godwit__Certificate inner = GODWIT__CERTIFICATE__INIT;
	uint8_t signature[GW_SIGNATURE_BYTES];
	uint8_t bytes[GW_CERT_BYTES_MAX];
	uint8_t content[GW_CERT_BYTES_MAX];
	char bad_name[] = "a/b";
	char name[] = "a";
	struct gw_id tenant = {{0}};
	struct keys region;
	struct gw_cert got;
	struct gw_node_id node;

	(void)state;
	make_keys(&region, 1);
	node = gw_cert_node_id(region.key);
	inner.version = 1;
	inner.name = name;
	inner.region = name;
	inner.node_id = gw_wire_id(&node.id);
	inner.tenant = gw_wire_id(&tenant);
	inner.signing_key = (ProtobufCBinaryData){GW_KEY_BYTES, region.key};
	inner.exchange_key = inner.signing_key;
	inner.not_after_wall_us = NOW_US + 1;
	outer.certificate.data = content;
	outer.signature = (ProtobufCBinaryData){sizeof(signature), signature};
	outer.issuer_key = inner.signing_key;
	for (int i = 0; i < 4; i++) {
		if (i == 1)
			inner.name = bad_name;
		if (i == 2) {
			inner.name = name;
			node.id.bytes[0] ^= 1;
		}
		if (i == 3) {
			node.id.bytes[0] ^= 1;
			inner.version = 2;
		}
		outer.certificate.len = gw_wire_size(&inner.base);
		gw_wire_encode(&inner.base, content);
		gw_sign("godwit certificate 1", content, outer.certificate.len, region.secret,
			signature);
		gw_wire_encode(&outer.base, bytes);
		assert_int_equal(
			gw_cert_verify(bytes, gw_wire_size(&outer.base), region.key, NOW_US, &got),
			i == 0 ? GW_CERT_GOOD : GW_CERT_MALFORMED);
	}
}

static void names(void **state)
{
	static const char *const good[] = {"a", "A-1", "node.gz_2", "0"};
	static const char *const bad[] = {"", "-a", ".a", "a b", "a/b", "ä", "a\n"};
	char longest[GW_NAME_BYTES_MAX + 2] = {0};
	struct keys region;
	struct gw_cert cert;
	uint8_t bytes[GW_CERT_BYTES_MAX];
	size_t size;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(gw_cert_name_valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(gw_cert_name_valid(bad[i]));
	memset(longest, 'a', GW_NAME_BYTES_MAX);
	assert_true(gw_cert_name_valid(longest));
	longest[GW_NAME_BYTES_MAX] = 'a';
	assert_false(gw_cert_name_valid(longest));
	make_keys(&region, 1);
	cert = example(&region);
	cert.site[0] = '/';
	assert_int_equal(gw_cert_issue(&cert, region.secret, bytes, &size), -EINVAL);
	cert = example(&region);
	cert.roles = 0;
	assert_int_equal(gw_cert_issue(&cert, region.secret, bytes, &size), -EINVAL);
}

static void a_signature_is_for_one_domain(void **state)
{
	static const uint8_t bytes[] = "offer";
	uint8_t signature[GW_SIGNATURE_BYTES];
	struct keys keys;

	(void)state;
	make_keys(&keys, 1);
	gw_sign("godwit a", bytes, sizeof(bytes), keys.secret, signature);
	assert_true(gw_sign_verify("godwit a", bytes, sizeof(bytes), keys.key, signature));
	assert_false(gw_sign_verify("godwit b", bytes, sizeof(bytes), keys.key, signature));
	assert_false(gw_sign_verify("godwit a", bytes, sizeof(bytes) - 1, keys.key, signature));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_what_was_said),
		cmocka_unit_test(node_ids_are_stable),
		cmocka_unit_test(validity_is_half_open),
		cmocka_unit_test(another_region_is_refused),
		cmocka_unit_test(any_changed_bit_is_refused),
		cmocka_unit_test(signed_nonsense_is_refused),
		cmocka_unit_test(names),
		cmocka_unit_test(a_signature_is_for_one_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
