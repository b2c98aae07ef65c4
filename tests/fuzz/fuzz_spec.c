/* Arbitrary bytes as a job spec: an error with a text, or a message that a scheduler would decode.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/base/check.h"
#include "scheduler/ctl/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_parse_error error = {0};
	const Godwit__JobSpec *job;
	struct gw_arena arena;

	gw_arena_init(&arena, GW_SPEC_ARENA_BYTES);
	if (gw_spec_read((const char *)data, size, &arena, &job, &error) < 0) {
		CHECK(error.text[0] != '\0');
	} else {
		size_t encoded = gw_wire_size(&job->base);
		uint8_t *bytes = malloc(encoded);

		CHECK(bytes != NULL);
		CHECK(encoded <= GW_SPEC_BYTES_MAX);
		CHECK(job->task_count >= 1 && job->task_count <= GW_TASKS_PER_JOB_MAX);
		gw_wire_encode(&job->base, bytes);
		CHECK(gw_wire_decode(&godwit__job_spec__descriptor, &arena, bytes, encoded) !=
		      NULL);
		free(bytes);
	}
	gw_arena_deinit(&arena);
	return 0;
}
