/* Secrets in files: what is read, what is refused, and what a scheduler knows after a restart. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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

#include "transport/clock.h"
#include "transport/curve.h"
#include "transport/file.h"
#include "transport/identity.h"

static char directory[64];

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/godwit-test-XXXXXX");
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in(const char *name)
{
	static char path[GW_PATH_BYTES];

	assert_int_equal(gw_file_path(path, sizeof(path), directory, name), 0);
	return path;
}

static void write_text(const char *name, const char *text)
{
	struct gw_fault fault;

	assert_int_equal(gw_file_write(in(name), 0600, false, text, strlen(text), &fault), 0);
}

static void keys_come_back(void **state)
{
	struct gw_keys *made;
	struct gw_keys *loaded;
	struct gw_fault fault;
	struct stat status;

	(void)state;
	assert_int_equal(gw_keys_create(in("keys"), &made, &fault), 0);
	assert_int_equal(stat(in("keys"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(gw_keys_load(in("keys"), &loaded, &fault), 0);
	assert_memory_equal(made, loaded, sizeof(*made));
	gw_keys_free(loaded);
	assert_int_equal(gw_keys_create(in("keys"), &loaded, &fault), -EEXIST);
	assert_int_equal(gw_keys_create(in("keys2"), &loaded, &fault), 0);
	assert_memory_not_equal(made->signing_key, loaded->signing_key, GW_KEY_BYTES);
	assert_memory_not_equal(made->exchange_key, loaded->exchange_key, GW_KEY_BYTES);
	gw_keys_free(made);
	gw_keys_free(loaded);
}

static void secrets_open_to_others_are_refused(void **state)
{
	static const mode_t modes[] = {0644, 0640, 0604, 0660, 0622, 0601};
	struct gw_keys *keys;
	struct gw_fault fault;
	char expected[16];

	(void)state;
	assert_int_equal(gw_keys_create(in("keys"), &keys, &fault), 0);
	gw_keys_free(keys);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(in("keys"), modes[i]), 0);
		assert_int_equal(gw_keys_load(in("keys"), &keys, &fault), -EPERM);
		(void)snprintf(expected, sizeof(expected), "mode %04o", modes[i]);
		assert_non_null(strstr(fault.text, expected));
	}
	assert_int_equal(chmod(in("keys"), 0400), 0);
	assert_int_equal(gw_keys_load(in("keys"), &keys, &fault), 0);
	gw_keys_free(keys);
}

static void secrets_by_detours_are_refused(void **state)
{
	char target[GW_PATH_BYTES];
	struct gw_keys *keys;
	struct gw_fault fault;

	(void)state;
	assert_int_equal(gw_keys_create(in("keys"), &keys, &fault), 0);
	gw_keys_free(keys);
	(void)snprintf(target, sizeof(target), "%s", in("keys"));
	assert_int_equal(symlink(target, in("link")), 0);
	assert_int_equal(gw_keys_load(in("link"), &keys, &fault), -EPERM);
	assert_non_null(strstr(fault.text, "symbolic link"));
	assert_int_equal(mkfifo(in("fifo"), 0600), 0);
	assert_int_equal(gw_keys_load(in("fifo"), &keys, &fault), -EPERM); /* and does not wait */
	assert_int_equal(gw_keys_load(in("absent"), &keys, &fault), -ENOENT);
	if (geteuid() == 0) {
		assert_int_equal(chown(in("keys"), 65534, 65534), 0);
		assert_int_equal(gw_keys_load(in("keys"), &keys, &fault), -EPERM);
		assert_non_null(strstr(fault.text, "belongs to user 65534"));
	}
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void other_files_are_not_keys(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} rows[] = {
		{"", "keys:1: expected the line"},
		{"godwit-keys 2\n", "keys:1: expected the line"},
		{"godwit-keys 1\nsigning-seed " HEX64 "\n", "keys:3: expected a line"},
		{"godwit-keys 1\nsigning-seed 12\nexchange-secret " HEX64 "\n", "64 hexadecimal"},
		{"godwit-keys 1\nsigning-seed " HEX64 "\nexchange-secret " HEX64, "keys:3"},
		{"godwit-keys 1\nsigning-seed " HEX64 "\nexchange-secret " HEX64 "\nx", "keys:4"},
	};
	struct gw_keys *keys;
	struct gw_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_text("keys", rows[i].text);
		assert_int_equal(gw_keys_load(in("keys"), &keys, &fault), -EINVAL);
		if (!strstr(fault.text, rows[i].says))
			fail_msg("row %zu says: %s", i, fault.text);
		assert_null(strstr(fault.text, "0123456789")); /* secrets are not printed */
	}
	write_text("keys", "godwit-keys 1\nsigning-seed " HEX64 "\nexchange-secret " HEX64 "\n");
	assert_int_equal(gw_keys_load(in("keys"), &keys, &fault), 0);
	gw_keys_free(keys);
}

static void regions_come_back(void **state)
{
	struct gw_region region = {.name = "cn-south", .schedulers = {.version = 77}};
	struct gw_region loaded;
	struct gw_fault fault;

	(void)state;
	memset(region.signing_key, 1, GW_KEY_BYTES);
	memset(region.exchange_key, 2, GW_KEY_BYTES);
	for (uint32_t count = 0; count <= GW_SCHEDULERS_MAX; count++) {
		region.schedulers.count = count;
		assert_int_equal(gw_region_save(in("region"), &region, &fault), 0);
		assert_int_equal(gw_region_load(in("region"), &loaded, &fault), 0);
		assert_memory_equal(&region, &loaded, sizeof(region));
		if (count == GW_SCHEDULERS_MAX)
			break;
		/* As long as they may be: the file still fits. */
		memset(region.schedulers.places[count].state, 's', GW_ENDPOINT_BYTES_MAX);
		memset(region.schedulers.places[count].heartbeat, 'h', GW_ENDPOINT_BYTES_MAX);
	}
}

#define REGION_KEYS "name x\nsigning-key " HEX64 "\nexchange-key " HEX64 "\n"

/* What releases before lists of schedulers wrote. */
static void regions_of_the_first_form_load(void **state)
{
	struct gw_region region;
	struct gw_fault fault;

	(void)state;
	write_text("region", "godwit-region 1\n" REGION_KEYS
			     "state tcp://10.0.0.1:7100\nheartbeat tcp://10.0.0.1:7101\n");
	assert_int_equal(gw_region_load(in("region"), &region, &fault), 0);
	assert_int_equal(region.schedulers.count, 1);
	assert_int_equal(region.schedulers.version, 0);
	assert_string_equal(region.schedulers.places[0].state, "tcp://10.0.0.1:7100");
	assert_string_equal(region.schedulers.places[0].heartbeat, "tcp://10.0.0.1:7101");
	/* A scheduler's own: it said of itself where it listens only when it ran. */
	write_text("region", "godwit-region 1\n" REGION_KEYS "state \nheartbeat \n");
	assert_int_equal(gw_region_load(in("region"), &region, &fault), 0);
	assert_int_equal(region.schedulers.count, 0);
}

static void other_files_are_not_regions(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} rows[] = {
		{"godwit-region 3\n" REGION_KEYS, "region:1: expected the line"},
		{"godwit-region 1\n" REGION_KEYS "state a\nheartbeat b\nstate c\nheartbeat d\n",
		 "region:7: expected the file's end"},
		{"godwit-region 2\n" REGION_KEYS "version 1\nstate a\n", "region:7: expected"},
		{"godwit-region 2\n" REGION_KEYS "version x\n", "whole number"},
	};
	struct gw_region region;
	struct gw_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_text("region", rows[i].text);
		assert_int_equal(gw_region_load(in("region"), &region, &fault), -EINVAL);
		if (!strstr(fault.text, rows[i].says))
			fail_msg("row %zu says: %s", i, fault.text);
	}
}

static void endpoints_are_checked(void **state)
{
	static const struct {
		const char *endpoint;
		bool good;
	} rows[] = {
		{"tcp://10.0.0.1:7100", true},   {"tcp://[fd00::1]:1", true},
		{"tcp://10.0.0.1:", false},      {"tcp://10.0.0.1", false},
		{"tcp://:7100", false},          {"ipc://x:1", false},
		{"tcp://a:1\nstate b:2", false}, {"tcp://a b:1", false},
		{"tcp://a:123456", false},       {"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (gw_endpoint_valid(rows[i].endpoint) != rows[i].good)
			fail_msg("row %zu", i);
	}
}

/* A list that was told ends in a region file, whose numbers are signed. */
static void versions_of_lists_are_checked(void **state)
{
	Godwit__SchedulerPlace place = GODWIT__SCHEDULER_PLACE__INIT;
	Godwit__SchedulerPlace *places[] = {&place};
	Godwit__SchedulerList message = GODWIT__SCHEDULER_LIST__INIT;
	struct gw_scheduler_list list;
	char endpoint[] = "tcp://10.0.0.1:7100";

	(void)state;
	place.state = endpoint;
	place.heartbeat = endpoint;
	message.places = places;
	message.n_places = 1;
	message.version = INT64_MAX;
	assert_true(gw_schedulers_read(&message, &list));
	message.version = (uint64_t)INT64_MAX + 1;
	assert_false(gw_schedulers_read(&message, &list));
	message.version = GW_SCHEDULERS_PINNED;
	assert_false(gw_schedulers_read(&message, &list));
}

static void endpoints_change_ports(void **state)
{
	char endpoint[GW_ENDPOINT_BYTES_MAX + 1];

	(void)state;
	assert_int_equal(gw_endpoint_with_port("tcp://[fd00::1]:7100", 9, endpoint), 0);
	assert_string_equal(endpoint, "tcp://[fd00::1]:9");
	assert_int_equal(gw_endpoint_with_port("tcp://10.0.0.1:7100", 65535, endpoint), 0);
	assert_string_equal(endpoint, "tcp://10.0.0.1:65535");
	assert_int_equal(gw_endpoint_with_port("ipc://x:1", 9, endpoint), -EINVAL);
	assert_int_equal(gw_endpoint_with_port("tcp:", 9, endpoint), -EINVAL);
}

static void issue(const struct gw_keys *region, const struct gw_keys *keys, const char *name,
		  uint8_t *bytes, size_t *size)
{
	struct gw_cert cert = {.region = "test", .roles = 2, .not_after_wall_us = INT64_MAX};

	(void)snprintf(cert.name, sizeof(cert.name), "%s", name);
	memcpy(cert.signing_key, keys->signing_key, GW_KEY_BYTES);
	memcpy(cert.exchange_key, keys->exchange_key, GW_KEY_BYTES);
	assert_int_equal(gw_cert_issue(&cert, region->signing_secret, bytes, size), 0);
}

static void identities_last(void **state)
{
	uint8_t bytes[GW_CERT_BYTES_MAX];
	struct gw_identities *identities;
	struct gw_keys *region;
	struct gw_keys *a;
	struct gw_keys *b;
	struct gw_fault fault;
	size_t size;

	(void)state;
	assert_int_equal(gw_keys_create(in("r"), &region, &fault), 0);
	assert_int_equal(gw_keys_create(in("a"), &a, &fault), 0);
	assert_int_equal(gw_keys_create(in("b"), &b, &fault), 0);
	assert_int_equal(gw_identities_open(directory, region->signing_key, &identities, &fault),
			 0);
	issue(region, a, "alice", bytes, &size);
	assert_int_equal(gw_identities_add(identities, bytes, size, &fault), 0);
	assert_int_equal(gw_identities_add(identities, bytes, size, &fault), -EEXIST);
	issue(region, b, "alice", bytes, &size);
	assert_int_equal(gw_identities_add(identities, bytes, size, &fault), -EEXIST);
	issue(b, b, "bob", bytes, &size);
	assert_int_equal(gw_identities_add(identities, bytes, size, &fault), -EINVAL);
	issue(region, b, "bob", bytes, &size);
	assert_int_equal(gw_identities_add(identities, bytes, size, &fault), 0);
	assert_int_equal(gw_identities_revoke(identities, a->node), 0);
	assert_int_equal(gw_identities_revoke(identities, a->node), 0);
	assert_int_equal(gw_identities_revoke(identities, region->node), -ENOENT);
	assert_false(gw_identity_good(gw_identities_find(identities, a->node), gw_clock_wall_us()));
	assert_null(gw_identities_find_name(identities, "alice")); /* the name is free again */
	gw_identities_free(identities);

	assert_int_equal(gw_identities_open(directory, region->signing_key, &identities, &fault),
			 0);
	assert_true(gw_identities_find(identities, a->node)->revoked);
	assert_ptr_equal(gw_identities_find_key(identities, b->exchange_key),
			 gw_identities_find(identities, b->node));
	assert_true(gw_identity_good(gw_identities_find(identities, b->node), gw_clock_wall_us()));
	assert_null(gw_identities_find(identities, region->node));
	gw_identities_free(identities);

	/* A file that is not the region's word stops the start. */
	write_text("certs/00.cert", "not a certificate");
	assert_int_equal(gw_identities_open(directory, region->signing_key, &identities, &fault),
			 -EINVAL);
	assert_non_null(strstr(fault.text, "00.cert"));
	gw_keys_free(a);
	gw_keys_free(b);
	gw_keys_free(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_come_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(secrets_open_to_others_are_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(secrets_by_detours_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_files_are_not_keys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(regions_come_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(regions_of_the_first_form_load, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_files_are_not_regions, set_up, tear_down),
		cmocka_unit_test(endpoints_are_checked),
		cmocka_unit_test(versions_of_lists_are_checked),
		cmocka_unit_test(endpoints_change_ports),
		cmocka_unit_test_setup_teardown(identities_last, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
