/* Requests to etcd's JSON gateway and its answers, as text; the layout of keys and values. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "transport/etcd.h"
#include "transport/etcd_json.h"
#include "transport/reactor.h"
#include "transport/replica_layout.h"

#define HEADER "\"header\":{\"revision\":\"7\"}"

static struct gw_arena arena;

static int set_up(void **state)
{
	(void)state;
	gw_arena_init(&arena, GW_ETCD_DECODE_BYTES_MAX);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gw_arena_deinit(&arena);
	return 0;
}

static struct gw_store_bytes bytes_of(const char *text)
{
	return (struct gw_store_bytes){.bytes = (const uint8_t *)text, .size = strlen(text)};
}

static void requests_as_text(void **state)
{
	static const struct gw_store_request txn = {
		.kind = GW_STORE_TXN,
		.compare_count = 2,
		.op_count = 2,
		.else_op_count = 1,
		.compares = {{.key = "a", .create_revision = 5},
			     {.key = "b", .by_value = true, .value = {(const uint8_t *)"v", 1}}},
		.ops = {{.kind = GW_STORE_PUT,
			 .key = "c",
			 .value = {(const uint8_t *)"w", 1},
			 .lease = -3},
			{.kind = GW_STORE_DELETE, .key = "d", .end = "e"}},
		.else_ops = {{.kind = GW_STORE_RANGE,
			      .key = "f",
			      .end = "g",
			      .limit = 2,
			      .min_mod_revision = 9}},
	};
	static const struct gw_store_request grant = {.kind = GW_STORE_LEASE_GRANT, .ttl_s = 3};
	struct gw_buf buf;

	(void)state;
	gw_buf_init(&buf, 4096);
	assert_int_equal(gw_etcd_encode(&txn, &buf), 0);
	assert_string_equal(
		(const char *)buf.bytes,
		"{\"compare\":[{\"key\":\"YQ==\",\"target\":\"CREATE\",\"create_revision\":\"5\"},"
		"{\"key\":\"Yg==\",\"target\":\"VALUE\",\"value\":\"dg==\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"Yw==\",\"lease\":\"-3\",\"value\":\"dw=="
		"\"}},"
		"{\"request_delete_range\":{\"key\":\"ZA==\",\"range_end\":\"ZQ==\"}}],"
		"\"failure\":[{\"request_range\":{\"key\":\"Zg==\",\"range_end\":\"Zw==\","
		"\"limit\":\"2\",\"min_mod_revision\":\"9\"}}]}");
	buf.size = 0;
	assert_int_equal(gw_etcd_encode(&grant, &buf), 0);
	assert_string_equal((const char *)buf.bytes, "{\"TTL\":\"3\"}");
	gw_buf_deinit(&buf);
	gw_buf_init(&buf, 100);
	assert_int_equal(gw_etcd_encode(&txn, &buf), -ENOBUFS);
	gw_buf_deinit(&buf);
	assert_string_equal(gw_etcd_path(GW_STORE_COMPACT), "/v3/kv/compaction");
}

static struct gw_store_answer decode(enum gw_store_kind kind, uint32_t ops, long status,
				     const char *text)
{
	const struct gw_etcd_asked asked = {.kind = kind, .op_count = ops, .else_op_count = 1};
	struct gw_store_answer answer;
	bool unauthorised;

	gw_etcd_decode(&asked, status, text, strlen(text), &arena, &answer, &unauthorised);
	return answer;
}

static void answers_of_etcd(void **state)
{
	struct gw_store_answer answer = decode(
		GW_STORE_TXN, 2, 200,
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}},"
		"{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"2\","
		"\"mod_revision\":\"3\",\"value\":\"AAE=\",\"lease\":\"4\"},{\"key\":\"Yg==\"}],"
		"\"more\":true,\"count\":\"9\"}}]}");

	(void)state;
	assert_int_equal(answer.result, GW_STORE_DONE);
	assert_true(answer.succeeded);
	assert_int_equal(answer.revision, 7);
	assert_int_equal(answer.found_count, 2);
	assert_int_equal(answer.found[0].count, 0);
	assert_int_equal(answer.found[1].count, 2);
	assert_true(answer.found[1].more);
	assert_string_equal(answer.found[1].kvs[0].key, "a");
	assert_int_equal(answer.found[1].kvs[0].value.size, 2);
	assert_memory_equal(answer.found[1].kvs[0].value.bytes, "\0\1", 2);
	assert_int_equal(answer.found[1].kvs[0].mod_revision, 3);
	assert_int_equal(answer.found[1].kvs[0].lease, 4);
	assert_int_equal(answer.found[1].kvs[1].value.size, 0);
	answer = decode(GW_STORE_TXN, 2, 200,
			"{" HEADER ",\"responses\":[{\"response_range\":{}}]}");
	assert_int_equal(answer.result, GW_STORE_DONE);
	assert_false(answer.succeeded); /* etcd leaves out what is false */
	answer = decode(GW_STORE_LEASE_GRANT, 0, 200, "{" HEADER ",\"ID\":\"12\",\"TTL\":\"2\"}");
	assert_int_equal(answer.result, GW_STORE_DONE);
	assert_int_equal(answer.lease, 12);
	assert_int_equal(answer.ttl_s, 2);
	answer = decode(GW_STORE_LEASE_KEEPALIVE, 0, 200,
			"{\"result\":{" HEADER ",\"ID\":\"12\"}}\n{\"result\":{}}");
	assert_int_equal(answer.result, GW_STORE_DONE);
	assert_int_equal(answer.ttl_s, 0); /* gone */
}

static void errors_of_etcd(void **state)
{
	static const struct {
		long status;
		const char *text;
		enum gw_store_result result;
	} errors[] = {
		{404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}",
		 GW_STORE_NO_LEASE},
		{429, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}",
		 GW_STORE_NO_SPACE},
		{429, "{\"error\":\"etcdserver: too many requests\",\"code\":8}", GW_STORE_UNKNOWN},
		{400,
		 "{\"error\":\"etcdserver: mvcc: required revision has been compacted\","
		 "\"code\":11}",
		 GW_STORE_REFUSED},
		{403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", GW_STORE_REFUSED},
		{503, "{\"error\":\"etcdserver: request timed out\",\"code\":14}",
		 GW_STORE_UNKNOWN},
		{200, "{\"error\":{\"grpc_code\":14,\"message\":\"no leader\"}}", GW_STORE_UNKNOWN},
		{502, "<html>bad gateway</html>", GW_STORE_UNKNOWN},
		{404, "404 page not found", GW_STORE_UNKNOWN},
		{500, "{\"error\":17}", GW_STORE_UNKNOWN},
	};

	bool unauthorised;
	struct gw_store_answer answer;
	const struct gw_etcd_asked asked = {.kind = GW_STORE_COMPACT};
	const char *text = "{\"error\":\"etcdserver: invalid auth token\\n\",\"code\":16}";

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(errors); i++) {
		answer = decode(GW_STORE_TXN, 1, errors[i].status, errors[i].text);
		assert_int_equal(answer.result, errors[i].result);
		assert_true(strlen(answer.text) > 5);
	}
	gw_etcd_decode(&asked, 401, text, strlen(text), &arena, &answer, &unauthorised);
	assert_true(unauthorised);
	assert_int_equal(answer.result, GW_STORE_UNKNOWN);
	assert_string_equal(answer.text, "etcdserver: invalid auth token?"); /* fit for a log */
	/* A user was changed meanwhile: a new token is all that it takes. */
	text = "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}";
	gw_etcd_decode(&asked, 400, text, strlen(text), &arena, &answer, &unauthorised);
	assert_true(unauthorised);
	assert_int_equal(answer.result, GW_STORE_UNKNOWN);
	text = "{\"error\":\"etcdserver: duplicate key given in txn request\",\"code\":3}";
	gw_etcd_decode(&asked, 400, text, strlen(text), &arena, &answer, &unauthorised);
	assert_false(unauthorised);
	assert_int_equal(answer.result, GW_STORE_REFUSED);
}

/* Whatever is not as etcd writes it: the result is unknown, and said. */
static void odd_answers(void **state)
{
	static const char *const odd[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		"{\"header\":[]}",
		"{\"header\":{\"revision\":\"x\"},\"succeeded\":true,\"responses\":[{}]}",
		"{\"header\":{\"revision\":\"99999999999999999999\"},\"succeeded\":true,"
		"\"responses\":[{}]}",
		"{" HEADER ",\"succeeded\":true}",
		"{" HEADER ",\"succeeded\":true,\"responses\":{}}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{},{}]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[7]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":7}}]}",
		"{" HEADER
		",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[7]}}]}",
		"{" HEADER
		",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{}]}}]}",
		/* A key that is no base64, that has a NUL, a value that is a number. */
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":"
		"[{\"key\":\"*\"}]}}]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":"
		"[{\"key\":\"YQBi\"}]}}]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":"
		"[{\"key\":\"YQ==\",\"value\":1}]}}]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":"
		"[{\"key\":\"YQ==\",\"lease\":\"1x\"}]}}]}",
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(odd); i++) {
		struct gw_store_answer answer = decode(GW_STORE_TXN, 1, 200, odd[i]);

		assert_int_equal(answer.result, GW_STORE_UNKNOWN);
		assert_non_null(strstr(answer.text, "etcd"));
	}
	assert_int_equal(decode(GW_STORE_LEASE_GRANT, 0, 200, "{" HEADER ",\"ID\":\"12\"}").result,
			 GW_STORE_UNKNOWN);
	assert_int_equal(
		decode(GW_STORE_LEASE_GRANT, 0, 200, "{" HEADER ",\"ID\":\"12\",\"TTL\":\"-1\"}")
			.result,
		GW_STORE_UNKNOWN);
}

static void manifests(void **state)
{
	const struct gw_layout_manifest manifest = {
		.seq = 10, .term = 3, .attempt = 2, .chunk_count = 5, .size = 99, .hash = {1, 2}};
	struct gw_layout_manifest read;
	char text[GW_LAYOUT_MANIFEST_BYTES];
	size_t size = gw_layout_manifest(&manifest, text);
	uint64_t seq;

	(void)state;
	assert_true(gw_layout_read_manifest(bytes_of(text), &read));
	assert_memory_equal(&read, &manifest, sizeof(read));
	for (size_t i = 0; i < size; i++) {
		char changed[GW_LAYOUT_MANIFEST_BYTES];

		memcpy(changed, text, sizeof(changed));
		changed[i] = '*';
		assert_false(gw_layout_read_manifest(bytes_of(changed), &read));
		changed[i] = '\0';
		assert_false(gw_layout_read_manifest(
			(struct gw_store_bytes){.bytes = (const uint8_t *)changed, .size = size},
			&read));
		assert_false(gw_layout_read_manifest(bytes_of(changed), &read));
	}
	(void)snprintf(text + size, sizeof(text) - size, "0");
	assert_false(gw_layout_read_manifest(bytes_of(text), &read));
	assert_true(gw_layout_read_sequence(bytes_of("00000000000000ff"), &seq));
	assert_int_equal(seq, 255);
	assert_false(gw_layout_read_sequence(bytes_of("00000000000000fg"), &seq));
	assert_false(gw_layout_read_sequence(bytes_of("00000000000000f"), &seq));
}

static void batches(void **state)
{
	uint8_t bytes[64];
	struct gw_store_kv kv = {.key = "/p/batch/0000000000000006", .value = {.bytes = bytes}};
	struct gw_layout_batch batch;
	size_t size = GW_LAYOUT_BATCH_HEADER_BYTES;

	(void)state;
	gw_layout_batch_header(5, bytes);
	for (int i = 0; i < 2; i++) {
		gw_layout_frame(3, bytes + size);
		memcpy(bytes + size + GW_LAYOUT_FRAME_BYTES, "abc", 3);
		size += GW_LAYOUT_FRAME_BYTES + 3;
	}
	kv.value.size = size;
	assert_true(gw_layout_read_batch("/p", &kv, &batch));
	assert_int_equal(batch.first_seq, 5);
	assert_int_equal(batch.last_seq, 6);
	for (kv.value.size = 0; kv.value.size < size; kv.value.size++)
		assert_false(gw_layout_read_batch("/p", &kv, &batch));
	assert_false(gw_layout_read_batch("/q", &kv, &batch));
	kv.key = "/p/batch/0000000000000007"; /* one record more than there is */
	assert_false(gw_layout_read_batch("/p", &kv, &batch));
	kv.key = "/p/batch/0000000000000006";
	bytes[0]++; /* a newer version */
	assert_false(gw_layout_read_batch("/p", &kv, &batch));
}

static void nothing_answered(void *context, uint64_t id, const struct gw_store_answer *answer)
{
	(void)context;
	(void)id;
	(void)answer;
}

static void endpoints(void **state)
{
	static const char *const bad[] = {
		"",
		"localhost:2379",
		"ftp://a:1",
		"http://",
		"http:////",
		"http://a:1/v3",
		"http://a:1,,http://b:1",
		"http://a,http://b,http://c,http://d,http://e,http://f,http://g,http://h,http://i,"
		"http://j"};
	struct gw_etcd_options options = {.answer = nothing_answered};
	struct gw_etcd *etcd = NULL;
	struct gw_fault fault;
	const char *folder = getenv("TMPDIR");
	char key[512];
	int fd;

	(void)state;
	(void)snprintf(key, sizeof(key), "%s/godwit-key-XXXXXX", folder ? folder : "/tmp");
	assert_int_equal(gw_reactor_new(&options.reactor), 0);
	for (size_t i = 0; i < GW_ARRAY_COUNT(bad); i++) {
		options.endpoints = bad[i];
		assert_int_equal(gw_etcd_new(&options, &etcd, &fault), -EINVAL);
		assert_non_null(strstr(fault.text, "etcd"));
	}
	options.endpoints = "http://127.0.0.1:2379/,https://host:1";
	assert_int_equal(gw_etcd_new(&options, &etcd, &fault), 0);
	etcd = gw_etcd_free(etcd);
	options.user_file = "/nonexistent";
	assert_int_equal(gw_etcd_new(&options, &etcd, &fault),
			 -EINVAL); /* a password in the clear */
	options.endpoints = "https://host:1";
	assert_int_equal(gw_etcd_new(&options, &etcd, &fault), -ENOENT);
	options.user_file = NULL;
	options.key = key;
	fd = mkstemp(key);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(gw_etcd_new(&options, &etcd, &fault), -EPERM);
	assert_non_null(strstr(fault.text, "chmod 600"));
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(gw_etcd_new(&options, &etcd, &fault), 0);
	etcd = gw_etcd_free(etcd);
	(void)unlink(key);
	(void)close(fd);
	gw_reactor_free(options.reactor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_as_text),
		cmocka_unit_test_setup_teardown(answers_of_etcd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors_of_etcd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(odd_answers, set_up, tear_down),
		cmocka_unit_test(manifests),
		cmocka_unit_test(batches),
		cmocka_unit_test(endpoints),
	};

	return cmocka_run_group_tests_name("etcd", tests, NULL, NULL);
}
