/* proto/rlimit: limits of a task, as a job states them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/rlimit.h"

static int parse(const char *text, struct gw_rlimit *ret_limit, char *ret_error)
{
	char copy[256];
	char *texts[] = {copy};

	assert_true(strlen(text) < sizeof(copy));
	(void)strcpy(copy, text);
	return gw_rlimits_parse(texts, 1, ret_limit, ret_error);
}

static void good_ones(void **state)
{
	static const struct {
		const char *text;
		struct gw_rlimit limit;
	} rows[] = {
		{"nofile=1024", {"nofile", RLIMIT_NOFILE, 1024, 1024}},
		{"core=0:unlimited", {"core", RLIMIT_CORE, 0, GW_RLIMIT_UNLIMITED}},
		{"stack=unlimited", {"stack", RLIMIT_STACK, UINT64_MAX, UINT64_MAX}},
		{"as=18446744073709551614", {"as", RLIMIT_AS, UINT64_MAX - 1, UINT64_MAX - 1}},
		{"cpu=1:1", {"cpu", RLIMIT_CPU, 1, 1}},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		char error[GW_RLIMIT_ERROR_BYTES];
		struct gw_rlimit limit;

		assert_int_equal(parse(rows[i].text, &limit, error), 0);
		assert_string_equal(limit.name, rows[i].limit.name);
		assert_int_equal(limit.resource, rows[i].limit.resource);
		assert_true(limit.soft == rows[i].limit.soft);
		assert_true(limit.hard == rows[i].limit.hard);
	}
	assert_true(RLIM_INFINITY == GW_RLIMIT_UNLIMITED);
}

static void bad_ones(void **state)
{
	static const struct {
		const char *text;
		const char *sentence; /* in it */
	} rows[] = {
		{"", "\"\" is no resource limit; there are as core "},
		{"=1", "\"\" is no resource limit"},
		{"NOFILE=1", "\"NOFILE\" is no resource limit"},
		{"nofil=1", "\"nofil\" is no resource limit"},
		{"nofile", "is not of the form"},
		{"nofile=", "is not of the form"},
		{"nofile=-1", "is not of the form"},
		{"nofile=+1", "is not of the form"},
		{"nofile= 1", "is not of the form"},
		{"nofile=1:", "is not of the form"},
		{"nofile=:1", "is not of the form"},
		{"nofile=1:2:3", "is not of the form"},
		{"nofile=1k", "is not of the form"},
		{"nofile=unlimitedly", "is not of the form"},
		{"nofile=18446744073709551615", "is not of the form"},
		{"nofile=18446744073709551616", "is not of the form"},
		{"nofile=99999999999999999999999", "is not of the form"},
		{"nofile=2:1", "a soft limit above its hard one"},
		{"nofile=unlimited:1", "a soft limit above its hard one"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		char error[GW_RLIMIT_ERROR_BYTES];
		struct gw_rlimit limit;

		assert_int_equal(parse(rows[i].text, &limit, error), -EINVAL);
		assert_non_null(strstr(error, rows[i].sentence));
	}
}

/* The longest name leaves room for the whole list of those there are. */
static void a_long_name_is_cut(void **state)
{
	char error[GW_RLIMIT_ERROR_BYTES];
	struct gw_rlimit limit;
	char text[200];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(parse(text, &limit, error), -EINVAL);
	assert_non_null(strstr(error, "x\" is no resource limit; there are as "));
	assert_string_equal(error + strlen(error) - 6, " stack");
}

static void lists(void **state)
{
	static char core[] = "core=0";
	static char cpu[] = "cpu=1";
	char *texts[] = {core, cpu, core};
	struct gw_rlimit limits[GW_RLIMITS_MAX];
	char error[GW_RLIMIT_ERROR_BYTES];

	(void)state;
	assert_int_equal(gw_rlimits_parse(NULL, 0, limits, error), 0);
	assert_int_equal(gw_rlimits_parse(texts, 2, limits, error), 0);
	assert_string_equal(limits[1].name, "cpu");
	assert_int_equal(gw_rlimits_parse(texts, 3, limits, error), -EINVAL);
	assert_string_equal(error, "the resource limit core stands there twice");
	assert_int_equal(gw_rlimits_parse(texts, GW_RLIMITS_MAX + 1, limits, error), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
		cmocka_unit_test(a_long_name_is_cut),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
