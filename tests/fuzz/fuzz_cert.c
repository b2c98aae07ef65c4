/*
 * Arbitrary bytes as a signed certificate; and as the certificate inside one, signed by the region,
 * so that what lies behind the signature is reached. What is good has valid names.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/cert.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void verify(const uint8_t *bytes, size_t size, const uint8_t *key)
{
	struct gw_cert cert;

	if (gw_cert_verify(bytes, size, key, 1000, &cert) != GW_CERT_GOOD)
		return;
	CHECK(gw_cert_name_valid(cert.name));
	CHECK(gw_cert_name_valid(cert.region));
	CHECK(gw_id_equal(cert.node.id, gw_cert_node_id(cert.signing_key).id));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t seed[GW_KEY_BYTES] = {1};
	Godwit__SignedCertificate outer = GODWIT__SIGNED_CERTIFICATE__INIT;
	uint8_t secret[GW_SIGNING_SECRET_BYTES];
	uint8_t signature[GW_SIGNATURE_BYTES];
	uint8_t content[GW_CERT_BYTES_MAX];
	uint8_t signed_bytes[2 * GW_CERT_BYTES_MAX];
	uint8_t key[GW_KEY_BYTES];

	(void)crypto_sign_seed_keypair(key, secret, seed);
	verify(bytes, size, key);
	if (size > sizeof(content))
		return 0;
	memcpy(content, bytes, size);
	gw_sign("godwit certificate 1", content, size, secret, signature);
	outer.certificate = (ProtobufCBinaryData){size, content};
	outer.signature = (ProtobufCBinaryData){sizeof(signature), signature};
	outer.issuer_key = (ProtobufCBinaryData){sizeof(key), key};
	gw_wire_encode(&outer.base, signed_bytes);
	verify(signed_bytes, gw_wire_size(&outer.base), key);
	return 0;
}
