/*
 * Certificates: a region's signature over the encoded bytes of a Certificate. What was signed is
 * carried as it is and never encoded again, since protobuf is not canonical. The signature covers
 * a domain string too, so no signature made for one purpose serves another.
 */
#include "proto/cert.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/wire.h"

#define CERT_VERSION 1u
#define CERT_DOMAIN "godwit certificate 1"
#define DECODE_BYTES_MAX (16u << 10)

_Static_assert(crypto_sign_PUBLICKEYBYTES == GW_KEY_BYTES, "Ed25519 public key");
_Static_assert(crypto_box_PUBLICKEYBYTES == GW_KEY_BYTES, "X25519 public key");
_Static_assert(crypto_sign_SECRETKEYBYTES == GW_SIGNING_SECRET_BYTES, "Ed25519 secret key");
_Static_assert(crypto_sign_BYTES == GW_SIGNATURE_BYTES, "Ed25519 signature");

/* The first 16 bytes of BLAKE2b-256 of the key. */
struct gw_node_id gw_cert_node_id(const uint8_t signing_key[GW_KEY_BYTES])
{
	uint8_t hash[crypto_generichash_BYTES];
	struct gw_node_id node;

	(void)crypto_generichash(hash, sizeof(hash), signing_key, GW_KEY_BYTES, NULL, 0);
	memcpy(node.id.bytes, hash, GW_ID_BYTES);
	return node;
}

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool gw_cert_name_valid(const char *name)
{
	size_t size = strnlen(name, GW_NAME_BYTES_MAX + 1);

	if (size == 0 || size > GW_NAME_BYTES_MAX || !letter_or_digit(name[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!letter_or_digit(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}

static bool empty_or_valid(const char *name)
{
	return name[0] == '\0' || gw_cert_name_valid(name);
}

static bool names_valid(const char *name, const char *site, const char *region,
			const char *provider)
{
	return gw_cert_name_valid(name) && gw_cert_name_valid(region) && empty_or_valid(site) &&
	       empty_or_valid(provider);
}

static void hash_signed(const char *domain, const uint8_t *bytes, size_t size,
			uint8_t ret_hash[crypto_generichash_BYTES_MAX])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, crypto_generichash_BYTES_MAX);
	(void)crypto_generichash_update(&state, (const uint8_t *)domain, strlen(domain) + 1);
	(void)crypto_generichash_update(&state, bytes, size);
	(void)crypto_generichash_final(&state, ret_hash, crypto_generichash_BYTES_MAX);
}

void gw_sign(const char *domain, const uint8_t *bytes, size_t size,
	     const uint8_t secret[GW_SIGNING_SECRET_BYTES],
	     uint8_t ret_signature[GW_SIGNATURE_BYTES])
{
	uint8_t hash[crypto_generichash_BYTES_MAX];

	hash_signed(domain, bytes, size, hash);
	(void)crypto_sign_detached(ret_signature, NULL, hash, sizeof(hash), secret);
}

bool gw_sign_verify(const char *domain, const uint8_t *bytes, size_t size,
		    const uint8_t key[GW_KEY_BYTES], const uint8_t signature[GW_SIGNATURE_BYTES])
{
	uint8_t hash[crypto_generichash_BYTES_MAX];

	hash_signed(domain, bytes, size, hash);
	return crypto_sign_verify_detached(signature, hash, sizeof(hash), key) == 0;
}

/* protobuf-c has no const in its structs; nothing writes through these. */
static char *text_field(const char *text)
{
	union {
		const char *from;
		char *to;
	} pointer = {.from = text};

	return pointer.to;
}

static ProtobufCBinaryData key_field(const uint8_t *bytes)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} pointer = {.from = bytes};

	return (ProtobufCBinaryData){.len = GW_KEY_BYTES, .data = pointer.to};
}

/* The bytes to be signed. Returns their size; 0: more than GW_CERT_BYTES_MAX. */
static size_t encode_certificate(const struct gw_cert *cert, const struct gw_node_id *node,
				 uint8_t ret_bytes[GW_CERT_BYTES_MAX])
{
	Godwit__Certificate message = GODWIT__CERTIFICATE__INIT;
	Godwit__Role roles[32];
	size_t size;

	for (uint32_t role = 1; role < 32; role++) {
		if (cert->roles & 1u << role)
			roles[message.n_roles++] = (Godwit__Role)role;
	}
	message.roles = roles;
	message.version = CERT_VERSION;
	message.node_id = gw_wire_id(&node->id);
	message.name = text_field(cert->name);
	message.site = text_field(cert->site);
	message.region = text_field(cert->region);
	message.provider = text_field(cert->provider);
	message.tenant = gw_wire_id(&cert->tenant);
	message.signing_key = key_field(cert->signing_key);
	message.exchange_key = key_field(cert->exchange_key);
	message.not_before_wall_us = cert->not_before_wall_us;
	message.not_after_wall_us = cert->not_after_wall_us;
	message.serial = cert->serial;
	size = gw_wire_size(&message.base);
	if (size > GW_CERT_BYTES_MAX)
		return 0;
	gw_wire_encode(&message.base, ret_bytes);
	return size;
}

int gw_cert_issue(const struct gw_cert *cert, const uint8_t issuer_secret[GW_SIGNING_SECRET_BYTES],
		  uint8_t *ret_bytes, size_t *ret_size)
{
	Godwit__SignedCertificate message = GODWIT__SIGNED_CERTIFICATE__INIT;
	struct gw_node_id node = gw_cert_node_id(cert->signing_key);
	uint8_t certificate[GW_CERT_BYTES_MAX];
	uint8_t signature[GW_SIGNATURE_BYTES];
	size_t size;

	if (!names_valid(cert->name, cert->site, cert->region, cert->provider) || cert->roles == 0)
		return -EINVAL;
	size = encode_certificate(cert, &node, certificate);
	CHECK(size > 0);
	gw_sign(CERT_DOMAIN, certificate, size, issuer_secret, signature);
	message.certificate = (ProtobufCBinaryData){.len = size, .data = certificate};
	message.signature = (ProtobufCBinaryData){.len = sizeof(signature), .data = signature};
	/* libsodium's secret key is the seed followed by the public key. */
	message.issuer_key = key_field(issuer_secret + GW_KEY_BYTES);
	size = gw_wire_size(&message.base);
	CHECK(size <= GW_CERT_BYTES_MAX);
	gw_wire_encode(&message.base, ret_bytes);
	*ret_size = size;
	return 0;
}

static void copy_name(char *ret_name, const char *name)
{
	memcpy(ret_name, name, strlen(name) + 1);
}

/* Everything that does not need the signature's word; ret_cert only when true. */
static bool read_certificate(const Godwit__Certificate *message, struct gw_cert *ret_cert)
{
	struct gw_cert cert = {0};

	if (message->version != CERT_VERSION || message->signing_key.len != GW_KEY_BYTES ||
	    message->exchange_key.len != GW_KEY_BYTES || message->n_roles > 32 ||
	    !gw_wire_read_id(message->node_id, &cert.node.id) ||
	    !gw_wire_read_id(message->tenant, &cert.tenant) ||
	    !names_valid(message->name, message->site, message->region, message->provider))
		return false;
	for (size_t i = 0; i < message->n_roles; i++) {
		/* A role of a later version is no reason to refuse the others. */
		if (message->roles[i] > 0 && message->roles[i] < 32)
			cert.roles |= 1u << message->roles[i];
	}
	memcpy(cert.signing_key, message->signing_key.data, GW_KEY_BYTES);
	memcpy(cert.exchange_key, message->exchange_key.data, GW_KEY_BYTES);
	if (!gw_id_equal(cert.node.id, gw_cert_node_id(cert.signing_key).id))
		return false;
	copy_name(cert.name, message->name);
	copy_name(cert.site, message->site);
	copy_name(cert.region, message->region);
	copy_name(cert.provider, message->provider);
	cert.not_before_wall_us = message->not_before_wall_us;
	cert.not_after_wall_us = message->not_after_wall_us;
	cert.serial = message->serial;
	*ret_cert = cert;
	return true;
}

static enum gw_cert_result verify(struct gw_arena *arena, const uint8_t *bytes, size_t size,
				  const uint8_t issuer_key[GW_KEY_BYTES], int64_t wall_us,
				  struct gw_cert *ret_cert)
{
	const Godwit__SignedCertificate *outer;
	const Godwit__Certificate *inner;
	struct gw_cert cert;

	if (size > GW_CERT_BYTES_MAX)
		return GW_CERT_MALFORMED;
	outer = gw_wire_decode(&godwit__signed_certificate__descriptor, arena, bytes, size);
	if (!outer || outer->signature.len != GW_SIGNATURE_BYTES ||
	    outer->issuer_key.len != GW_KEY_BYTES)
		return GW_CERT_MALFORMED;
	if (memcmp(outer->issuer_key.data, issuer_key, GW_KEY_BYTES) != 0)
		return GW_CERT_WRONG_ISSUER;
	if (!gw_sign_verify(CERT_DOMAIN, outer->certificate.data, outer->certificate.len,
			    issuer_key, outer->signature.data))
		return GW_CERT_BAD_SIGNATURE;
	inner = gw_wire_decode(&godwit__certificate__descriptor, arena, outer->certificate.data,
			       outer->certificate.len);
	if (!inner || !read_certificate(inner, &cert))
		return GW_CERT_MALFORMED;
	*ret_cert = cert;
	return wall_us < cert.not_before_wall_us || wall_us >= cert.not_after_wall_us
		       ? GW_CERT_EXPIRED
		       : GW_CERT_GOOD;
}

enum gw_cert_result gw_cert_verify(const uint8_t *bytes, size_t size,
				   const uint8_t issuer_key[GW_KEY_BYTES], int64_t wall_us,
				   struct gw_cert *ret_cert)
{
	enum gw_cert_result result;
	struct gw_arena arena;

	gw_arena_init(&arena, DECODE_BYTES_MAX);
	result = verify(&arena, bytes, size, issuer_key, wall_us, ret_cert);
	gw_arena_deinit(&arena);
	return result;
}

const char *gw_cert_result_text(enum gw_cert_result result)
{
	switch (result) {
	case GW_CERT_GOOD:
		return "the certificate is good";
	case GW_CERT_MALFORMED:
		return "it is not a certificate";
	case GW_CERT_BAD_SIGNATURE:
		return "the certificate's signature is not its region's";
	case GW_CERT_WRONG_ISSUER:
		return "the certificate was issued by another region";
	case GW_CERT_EXPIRED:
		return "the certificate has expired or is not valid yet";
	}
	return "unknown result";
}
