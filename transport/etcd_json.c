/*
 * The gateway maps etcd's protobuf messages to JSON: 64-bit numbers are strings, bytes are base64,
 * and members that are zero or empty are absent. An error is {"error": TEXT, "code": gRPC's code};
 * on streams (keepalive) the result stands in "result" and an error is an object of its own.
 */
#include "transport/etcd_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "proto/base/check.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL
#define HTTP_OK 200
#define TEXT_BYTES 160u

/* gRPC's codes (grpc/status.h). */
enum {
	CODE_INVALID_ARGUMENT = 3,
	CODE_NOT_FOUND = 5,
	CODE_PERMISSION_DENIED = 7,
	CODE_RESOURCE_EXHAUSTED = 8,
	CODE_FAILED_PRECONDITION = 9,
	CODE_OUT_OF_RANGE = 11,
	CODE_UNIMPLEMENTED = 12,
	CODE_UNAUTHENTICATED = 16,
};

const char *gw_etcd_path(enum gw_store_kind kind)
{
	switch (kind) {
	case GW_STORE_TXN:
		break;
	case GW_STORE_LEASE_GRANT:
		return "/v3/lease/grant";
	case GW_STORE_LEASE_KEEPALIVE:
		return "/v3/lease/keepalive";
	case GW_STORE_LEASE_REVOKE:
		return "/v3/lease/revoke";
	case GW_STORE_COMPACT:
		return "/v3/kv/compaction";
	}
	return "/v3/kv/txn";
}

static int add_base64(struct gw_buf *buf, const char *name, const void *bytes, size_t size)
{
	size_t length = sodium_base64_ENCODED_LEN(size, BASE64); /* with its NUL */
	int error = gw_buf_printf(buf, "\"%s\":\"", name);
	char *at;

	if (error < 0)
		return error;
	at = gw_buf_grow(buf, length);
	if (!at)
		return -ENOBUFS;
	(void)sodium_bin2base64(at, length, bytes, size, BASE64);
	buf->size--;
	return gw_buf_append(buf, "\"", 1);
}

static int add_compare(struct gw_buf *buf, const struct gw_store_compare *compare)
{
	int error = gw_buf_append(buf, "{", 1);

	error = error < 0 ? error : add_base64(buf, "key", compare->key, strlen(compare->key));
	if (error < 0)
		return error;
	if (!compare->by_value)
		return gw_buf_printf(buf,
				     ",\"target\":\"CREATE\",\"create_revision\":\"%" PRId64 "\"}",
				     compare->create_revision);
	error = gw_buf_printf(buf, ",\"target\":\"VALUE\",");
	error = error < 0 ? error
			  : add_base64(buf, "value", compare->value.bytes, compare->value.size);
	return error < 0 ? error : gw_buf_append(buf, "}", 1);
}

static int add_op(struct gw_buf *buf, const struct gw_store_op *op)
{
	static const char *const names[] = {[GW_STORE_RANGE] = "request_range",
					    [GW_STORE_PUT] = "request_put",
					    [GW_STORE_DELETE] = "request_delete_range"};
	int error = gw_buf_printf(buf, "{\"%s\":{", names[op->kind]);

	error = error < 0 ? error : add_base64(buf, "key", op->key, strlen(op->key));
	if (error >= 0 && op->end[0] != '\0') {
		error = gw_buf_append(buf, ",", 1);
		error = error < 0 ? error : add_base64(buf, "range_end", op->end, strlen(op->end));
	}
	if (error >= 0 && op->kind == GW_STORE_RANGE)
		error = gw_buf_printf(
			buf, ",\"limit\":\"%" PRId64 "\",\"min_mod_revision\":\"%" PRId64 "\"",
			op->limit, op->min_mod_revision);
	if (error >= 0 && op->keys_only)
		error = gw_buf_printf(buf, ",\"keys_only\":true");
	if (error >= 0 && op->kind == GW_STORE_PUT) {
		error = gw_buf_printf(buf, ",\"lease\":\"%" PRId64 "\",", op->lease);
		error = error < 0 ? error
				  : add_base64(buf, "value", op->value.bytes, op->value.size);
	}
	return error < 0 ? error : gw_buf_append(buf, "}}", 2);
}

static int add_ops(struct gw_buf *buf, const char *name, const struct gw_store_op *ops,
		   uint32_t count)
{
	int error = gw_buf_printf(buf, ",\"%s\":[", name);

	for (uint32_t i = 0; i < count && error >= 0; i++) {
		error = i > 0 ? gw_buf_append(buf, ",", 1) : 0;
		error = error < 0 ? error : add_op(buf, &ops[i]);
	}
	return error < 0 ? error : gw_buf_append(buf, "]", 1);
}

static int encode_txn(const struct gw_store_request *request, struct gw_buf *buf)
{
	int error = gw_buf_printf(buf, "{\"compare\":[");

	for (uint32_t i = 0; i < request->compare_count && error >= 0; i++) {
		error = i > 0 ? gw_buf_append(buf, ",", 1) : 0;
		error = error < 0 ? error : add_compare(buf, &request->compares[i]);
	}
	error = error < 0 ? error : gw_buf_append(buf, "]", 1);
	error = error < 0 ? error : add_ops(buf, "success", request->ops, request->op_count);
	error = error < 0 ? error
			  : add_ops(buf, "failure", request->else_ops, request->else_op_count);
	return error < 0 ? error : gw_buf_append(buf, "}", 1);
}

int gw_etcd_encode(const struct gw_store_request *request, struct gw_buf *ret_text)
{
	switch (request->kind) {
	case GW_STORE_TXN:
		break;
	case GW_STORE_LEASE_GRANT:
		return gw_buf_printf(ret_text, "{\"TTL\":\"%" PRId64 "\"}", request->ttl_s);
	case GW_STORE_LEASE_KEEPALIVE:
	case GW_STORE_LEASE_REVOKE:
		return gw_buf_printf(ret_text, "{\"ID\":\"%" PRId64 "\"}", request->lease);
	case GW_STORE_COMPACT:
		return gw_buf_printf(ret_text, "{\"revision\":\"%" PRId64 "\"}", request->revision);
	}
	return encode_txn(request, ret_text);
}

/* A number that may be absent (0), a string of digits or a JSON integer. False: something else. */
static bool read_number(const json_t *object, const char *name, int64_t *ret_number)
{
	const json_t *value = json_object_get(object, name);
	const char *text = json_string_value(value);
	long long number = 0;
	char *end = NULL;

	*ret_number = json_is_integer(value) ? (int64_t)json_integer_value(value) : 0;
	if (!value || json_is_integer(value))
		return true;
	if (!text || text[0] == '\0')
		return false;
	errno = 0;
	number = strtoll(text, &end, 10);
	*ret_number = number;
	return errno == 0 && *end == '\0';
}

/* Absent is empty. A NUL is put behind the bytes. False: not base64, or no room. */
static bool read_bytes(const json_t *object, const char *name, struct gw_arena *arena,
		       struct gw_store_bytes *ret_bytes)
{
	const json_t *value = json_object_get(object, name);
	const char *text = value ? json_string_value(value) : "";
	size_t length = value ? json_string_length(value) : 0;
	size_t room = length / 4 * 3 + 3;
	uint8_t *bytes;
	size_t size = 0;

	if (!text)
		return false;
	bytes = gw_arena_alloc(arena, room + 1);
	if (!bytes)
		return false;
	if (length > 0 &&
	    sodium_base642bin(bytes, room, text, length, NULL, &size, NULL, BASE64) < 0)
		return false;
	bytes[size] = '\0';
	ret_bytes->bytes = bytes;
	ret_bytes->size = size;
	return true;
}

static bool read_kv(const json_t *object, struct gw_arena *arena, struct gw_store_kv *ret_kv)
{
	struct gw_store_bytes key;

	if (!json_is_object(object) || !read_bytes(object, "key", arena, &key) ||
	    !read_bytes(object, "value", arena, &ret_kv->value) ||
	    !read_number(object, "create_revision", &ret_kv->create_revision) ||
	    !read_number(object, "mod_revision", &ret_kv->mod_revision) ||
	    !read_number(object, "lease", &ret_kv->lease))
		return false;
	/* Keys are text here: one with a NUL, or longer than any of ours, is not what was asked. */
	if (key.size == 0 || key.size >= GW_STORE_KEY_BYTES || memchr(key.bytes, '\0', key.size))
		return false;
	ret_kv->key = (const char *)key.bytes;
	return true;
}

static bool read_found(const json_t *response, struct gw_arena *arena,
		       struct gw_store_found *ret_found)
{
	const json_t *range = json_object_get(response, "response_range");
	const json_t *list = json_object_get(range, "kvs");
	const json_t *more = json_object_get(range, "more");
	size_t count = json_array_size(list);
	struct gw_store_kv *kvs;

	*ret_found = (struct gw_store_found){.more = json_is_true(more)};
	if (!json_is_object(response) || (list && !json_is_array(list)) || count > GW_STORE_KVS_MAX)
		return false;
	if (count == 0)
		return true;
	kvs = gw_arena_alloc(arena, count * sizeof(*kvs));
	for (size_t i = 0; i < count && kvs; i++) {
		if (!read_kv(json_array_get(list, i), arena, &kvs[i]))
			return false;
	}
	ret_found->kvs = kvs;
	ret_found->count = count;
	return kvs != NULL;
}

static bool read_txn(const struct gw_etcd_asked *asked, const json_t *root, struct gw_arena *arena,
		     struct gw_store_answer *answer)
{
	const json_t *responses = json_object_get(root, "responses");
	uint32_t wanted;

	answer->succeeded = json_is_true(json_object_get(root, "succeeded"));
	wanted = answer->succeeded ? asked->op_count : asked->else_op_count;
	if ((responses && !json_is_array(responses)) || json_array_size(responses) != wanted)
		return false;
	answer->found_count = wanted;
	for (uint32_t i = 0; i < wanted; i++) {
		if (!read_found(json_array_get(responses, i), arena, &answer->found[i]))
			return false;
	}
	return true;
}

static bool read_answer(const struct gw_etcd_asked *asked, const json_t *root,
			struct gw_arena *arena, struct gw_store_answer *answer)
{
	const json_t *body =
		asked->kind == GW_STORE_LEASE_KEEPALIVE ? json_object_get(root, "result") : root;
	const json_t *header = json_object_get(body, "header");

	if (!json_is_object(body) || !json_is_object(header) ||
	    !read_number(header, "revision", &answer->revision))
		return false;
	switch (asked->kind) {
	case GW_STORE_TXN:
		return read_txn(asked, body, arena, answer);
	case GW_STORE_LEASE_GRANT:
	case GW_STORE_LEASE_KEEPALIVE:
		if (!read_number(body, "ID", &answer->lease) ||
		    !read_number(body, "TTL", &answer->ttl_s))
			return false;
		if (answer->ttl_s < 0 || answer->ttl_s > INT32_MAX)
			return false;
		return asked->kind == GW_STORE_LEASE_KEEPALIVE ||
		       (answer->lease != 0 && answer->ttl_s > 0);
	case GW_STORE_LEASE_REVOKE:
	case GW_STORE_COMPACT:
		break;
	}
	return true;
}

/* What an error means. Only what etcd states to have refused counts as not done. */
static enum gw_store_result classify(int64_t code, const char *text)
{
	switch (code) {
	case CODE_NOT_FOUND:
		return strstr(text, "lease not found") ? GW_STORE_NO_LEASE : GW_STORE_REFUSED;
	case CODE_RESOURCE_EXHAUSTED:
		return strstr(text, "space exceeded") ? GW_STORE_NO_SPACE : GW_STORE_UNKNOWN;
	case CODE_INVALID_ARGUMENT:
	case CODE_PERMISSION_DENIED:
	case CODE_FAILED_PRECONDITION:
	case CODE_OUT_OF_RANGE:
	case CODE_UNIMPLEMENTED:
		return GW_STORE_REFUSED;
	default:
		return GW_STORE_UNKNOWN;
	}
}

static void set_text(struct gw_store_answer *answer, struct gw_arena *arena, const char *text)
{
	char cut[TEXT_BYTES];

	(void)snprintf(cut, sizeof(cut), "%s", text);
	for (char *at = cut; *at != '\0'; at++) {
		if ((unsigned char)*at < ' ' || (unsigned char)*at > '~')
			*at = '?'; /* it goes into a log */
	}
	answer->text = gw_arena_copy(arena, cut, strlen(cut) + 1);
}

static void read_error(const json_t *root, long status, struct gw_arena *arena,
		       struct gw_store_answer *answer, bool *ret_unauthorised)
{
	const json_t *error = json_object_get(root, "error");
	const json_t *from = json_is_object(error) ? error : root;
	const char *text = json_string_value(
		json_is_object(error) ? json_object_get(error, "message") : error);
	char plain[TEXT_BYTES];
	int64_t code = 0;

	if (!text || !read_number(from, json_is_object(error) ? "grpc_code" : "code", &code)) {
		(void)snprintf(
			plain, sizeof(plain),
			"it answered with HTTP status %ld and no error of etcd's: is this the "
			"address of an etcd 3.4 or later?",
			status);
		set_text(answer, arena, plain);
		return;
	}
	/* Users or roles changed since the token was given: a new one has what they are now. */
	*ret_unauthorised = code == CODE_UNAUTHENTICATED ||
			    (code == CODE_INVALID_ARGUMENT && strstr(text, "auth store is old"));
	answer->result = *ret_unauthorised ? GW_STORE_UNKNOWN : classify(code, text);
	set_text(answer, arena, text);
}

void gw_etcd_decode(const struct gw_etcd_asked *asked, long status, const char *text, size_t size,
		    struct gw_arena *arena, struct gw_store_answer *ret_answer,
		    bool *ret_unauthorised)
{
	json_error_t where;
	/* A stream's answers follow each other; the first is the one asked for. */
	size_t flags = asked->kind == GW_STORE_LEASE_KEEPALIVE ? JSON_DISABLE_EOF_CHECK : 0;
	json_t *root = json_loadb(text, size, flags, &where);

	*ret_answer = (struct gw_store_answer){.result = GW_STORE_UNKNOWN};
	*ret_unauthorised = false;
	if (status != HTTP_OK || json_object_get(root, "error")) {
		read_error(root, status, arena, ret_answer, ret_unauthorised);
	} else if (!root || !read_answer(asked, root, arena, ret_answer)) {
		*ret_answer = (struct gw_store_answer){.result = GW_STORE_UNKNOWN};
		set_text(ret_answer, arena,
			 "its answer is not what an etcd 3.4 or later gives: is another program at "
			 "this address?");
	} else {
		ret_answer->result = GW_STORE_DONE;
	}
	json_decref(root);
}

char *gw_etcd_decode_text(const char *text, size_t size, const char *name, struct gw_arena *arena)
{
	json_t *root = json_loadb(text, size, 0, NULL);
	const json_t *value = json_object_get(root, name);
	char *found = NULL;

	if (json_is_string(value))
		found = gw_arena_copy(arena, json_string_value(value),
				      json_string_length(value) + 1);
	json_decref(root);
	return found;
}
