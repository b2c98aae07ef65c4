/* Messages as JSON, by their descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/json.h"
#include "proto/wire.h"

/* Every kind of field once: nested, repeated, absent, ids, bytes, enums. */
static void every_kind_of_field(void **state)
{
	struct gw_id id = gw_id_make(1, 2, 3);
	uint8_t node[2] = {0xab, 0x01};
	char bad[] = "\xff";
	Godwit__Usage usage = GODWIT__USAGE__INIT;
	Godwit__TaskInfo task = GODWIT__TASK_INFO__INIT;
	Godwit__TaskInfo *tasks[] = {&task, &task};
	Godwit__JobInfo job = GODWIT__JOB_INFO__INIT;
	json_t *value;
	json_t *first;

	(void)state;
	usage.wall_us = 5000000000;
	task.usage = &usage;
	task.node = (ProtobufCBinaryData){2, node};
	task.error = bad;
	job.job = gw_wire_id(&id);
	job.kind = GODWIT__JOB_KIND__JOB_SERVE;
	job.n_tasks = 2;
	job.tasks = tasks;
	job.submitted_wall_us = -1;
	value = gw_json_message(&job.base);
	assert_string_equal(json_string_value(json_object_get(value, "job")), "00000001.2.3");
	assert_string_equal(json_string_value(json_object_get(value, "kind")), "job_serve");
	assert_int_equal(json_integer_value(json_object_get(value, "submitted_wall_us")), -1);
	assert_true(json_is_null(json_object_get(value, "prediction")));
	assert_int_equal(json_array_size(json_object_get(value, "tasks")), 2);
	first = json_array_get(json_object_get(value, "tasks"), 1);
	assert_string_equal(json_string_value(json_object_get(first, "node")), "ab01");
	assert_string_equal(json_string_value(json_object_get(first, "error")), "ff");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(first, "usage"), "wall_us")),
		5000000000);
	json_decref(value);
}

/* The members of a oneof share their memory. */
static void only_the_member_that_is_set(void **state)
{
	struct gw_id job = gw_id_make(1, 2, 3);
	struct gw_id by = gw_id_make(4, 5, 6);
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__JobCancelled cancelled = GODWIT__JOB_CANCELLED__INIT;
	json_t *value;
	json_t *inner;

	(void)state;
	value = gw_json_message(&record.base);
	assert_int_equal(json_object_size(value), 2); /* version and time */
	json_decref(value);
	cancelled.job = gw_wire_id(&job);
	cancelled.by = gw_wire_id(&by);
	record.version = 1;
	record.kind_case = GODWIT__RECORD__KIND_JOB_CANCELLED;
	record.job_cancelled = &cancelled;
	value = gw_json_message(&record.base);
	assert_int_equal(json_object_size(value), 3);
	inner = json_object_get(value, "job_cancelled");
	assert_string_equal(json_string_value(json_object_get(inner, "job")), "00000001.2.3");
	assert_string_equal(json_string_value(json_object_get(inner, "by")),
			    "00000004000000050000000000000006");
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_field),
		cmocka_unit_test(only_the_member_that_is_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
