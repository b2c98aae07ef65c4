/* Accelerators through a stand-in for the driver's library, and without any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/gpu.h"

static const char *fake_path;

static void devices_are_told(void **state)
{
	struct gw_gpus *gpus;
	Godwit__Device **devices;
	Godwit__DeviceSample **samples;
	uint32_t count;

	(void)state;
	assert_int_equal(gw_gpus_new(fake_path, &gpus), 0);
	assert_null(gw_gpus_reason(gpus));
	assert_int_equal(gw_gpus_count(gpus), 3);
	devices = gw_gpus_devices(gpus);
	assert_string_equal(devices[0]->type, "nvidia-test-a-80gb");
	assert_string_equal(devices[0]->uuid, "GPU-0");
	assert_int_equal(devices[0]->memory_bytes, 80ull << 30);
	assert_string_equal(devices[0]->unavailable, "");
	assert_string_equal(devices[1]->uuid, "index-1");
	assert_string_equal(devices[1]->unavailable, "it cannot be opened: GPU is lost");
	assert_string_equal(devices[2]->unavailable, "");

	samples = gw_gpus_sample(gpus, &count);
	assert_int_equal(count, 2);
	assert_string_equal(samples[0]->uuid, "GPU-0");
	assert_int_equal(samples[0]->utilisation_ppm, 350000);
	assert_int_equal(samples[0]->memory_used_bytes, 20ull << 30);
	assert_int_equal(samples[0]->temperature_c, 41);
	assert_int_equal(samples[0]->power_mw, 70500);
	assert_string_equal(samples[1]->uuid, "GPU-2");
	assert_int_equal(samples[1]->utilisation_ppm, 0); /* it does not say */
	assert_int_equal(samples[1]->power_mw, 0);
	(void)gw_gpus_free(gpus);
}

static void no_driver_is_an_empty_list(void **state)
{
	struct gw_gpus *gpus;
	uint32_t count;

	(void)state;
	assert_int_equal(setenv("FAKE_NVML", "broken", 1), 0);
	assert_int_equal(gw_gpus_new(fake_path, &gpus), 0);
	assert_int_equal(unsetenv("FAKE_NVML"), 0);
	assert_int_equal(gw_gpus_count(gpus), 0);
	assert_string_equal(gw_gpus_reason(gpus),
			    "the accelerators' library cannot start: Driver Not Loaded");
	(void)gw_gpus_sample(gpus, &count);
	assert_int_equal(count, 0);
	(void)gw_gpus_free(gpus);
}

static void no_library_is_an_empty_list(void **state)
{
	struct gw_gpus *gpus;

	(void)state;
	assert_int_equal(gw_gpus_new("libgodwit-has-no-such-library.so", &gpus), 0);
	assert_int_equal(gw_gpus_count(gpus), 0);
	assert_null(gw_gpus_reason(gpus));
	(void)gw_gpus_free(gpus);
}

/* Another library under that name: a reason, no crash. */
static void a_strange_library_is_refused(void **state)
{
	struct gw_gpus *gpus;

	(void)state;
	assert_int_equal(gw_gpus_new("libc.so.6", &gpus), 0);
	assert_int_equal(gw_gpus_count(gpus), 0);
	assert_string_equal(gw_gpus_reason(gpus), "the accelerators' library has no nvmlInit_v2");
	(void)gw_gpus_free(gpus);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_told),
		cmocka_unit_test(no_driver_is_an_empty_list),
		cmocka_unit_test(no_library_is_an_empty_list),
		cmocka_unit_test(a_strange_library_is_refused),
	};

	if (argc != 2) {
		(void)fprintf(stderr, "usage: test_agent_gpu FAKE_LIBRARY\n");
		return 2;
	}
	fake_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
