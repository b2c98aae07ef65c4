/* Attempts as messages: what clients are told and what lies on disk are the same KeeperStatus. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/attempts.h"
#include "agent/keeper/orphans.h"
#include "proto/base/check.h"
#include "proto/wire.h"

#define RECORD_FORMAT 1u
#define DECODE_BYTES_MAX ((size_t)4 * GW_STORE_RECORD_BYTES_MAX)

static void live_usage(const struct gw_attempt *attempt, Godwit__Usage *usage)
{
	char name[GW_STORE_NAME_BYTES];
	struct gw_cgroup_usage group;

	gw_store_name(&attempt->id, name);
	gw_cgroup_usage(&attempt->set->cgroup, name, &group);
	usage->wall_us = gw_loop_now_us() - attempt->started_us;
	if (group.has_cpu) {
		usage->cpu_user_us = group.cpu_user_us;
		usage->cpu_system_us = group.cpu_system_us;
	} else {
		(void)gw_orphans_cpu_us(attempt->pid, &usage->cpu_user_us, &usage->cpu_system_us);
	}
	if (group.has_memory)
		usage->memory_peak_bytes = group.memory_peak_bytes;
	usage->output_bytes = 0;
	for (unsigned i = 0; i < 2; i++)
		usage->output_bytes +=
			attempt->outputs[i].end_offset + attempt->outputs[i].lost_bytes;
}

void gw_attempt_status(const struct gw_attempt *attempt, bool live,
		       struct gw_attempt_status *ret_status)
{
	Godwit__KeeperStatus *status = &ret_status->status;
	Godwit__TaskStatus *task = &ret_status->task;

	godwit__keeper_status__init(status);
	godwit__task_status__init(task);
	gw_wire_attempt(&attempt->id, &ret_status->ref);
	ret_status->usage = attempt->usage;
	if (live && attempt->has_child)
		live_usage(attempt, &ret_status->usage);
	task->attempt = &ret_status->ref;
	task->usage = &ret_status->usage;
	task->state = attempt->state;
	task->pid = (uint32_t)attempt->pid;
	task->exit_code = attempt->exit_code;
	task->signal = attempt->signal;
	task->n_not_enforced = attempt->not_enforced.count;
	/* protobuf-c only reads what it encodes */
	task->not_enforced = (char **)(uintptr_t)attempt->not_enforced.texts;
	if (attempt->error)
		task->error = attempt->error;
	status->task = task;
	status->started_wall_us = attempt->started_wall_us;
	status->ended_wall_us = attempt->ended_wall_us;
	status->boot_id = gw_wire_id(&attempt->boot_id);
	status->acknowledged = attempt->acknowledged_order > 0;
	status->kept_bytes = gw_output_kept_bytes(&attempt->outputs[0]) +
			     gw_output_kept_bytes(&attempt->outputs[1]);
	status->oom = attempt->oom;
}

int gw_attempt_write(const struct gw_attempt *attempt)
{
	struct gw_attempt_status status;
	Godwit__KeeperRecord record = GODWIT__KEEPER_RECORD__INIT;
	uint8_t *bytes;
	size_t size;
	int result;

	gw_attempt_status(attempt, false, &status);
	record.format = RECORD_FORMAT;
	record.status = &status.status;
	record.start_ticks = attempt->start_ticks;
	record.acknowledged_order = attempt->acknowledged_order;
	record.output_bytes_max = attempt->output_bytes_max;
	size = gw_wire_size(&record.base);
	CHECK(size <= GW_STORE_RECORD_BYTES_MAX);
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	gw_wire_encode(&record.base, bytes);
	result = gw_store_write(attempt->folder_fd, bytes, size);
	free(bytes);
	return result;
}

static bool plausible(const Godwit__KeeperRecord *record, const struct gw_attempt_id *id)
{
	const Godwit__KeeperStatus *status = record->status;
	struct gw_attempt_id attempt;

	if (record->format != RECORD_FORMAT || !status || !status->task || !status->task->usage)
		return false;
	if (record->output_bytes_max && (record->output_bytes_max < GW_OUTPUT_BYTES_MIN ||
					 record->output_bytes_max > GW_OUTPUT_BYTES_MAX))
		return false;
	return gw_wire_read_attempt(status->task->attempt, &attempt) &&
	       gw_attempt_id_equal(attempt, *id) && status->boot_id.len == GW_ID_BYTES;
}

static int take_record(struct gw_attempt *attempt, const Godwit__KeeperRecord *record)
{
	const Godwit__KeeperStatus *status = record->status;
	const Godwit__TaskStatus *task = status->task;

	attempt->state = task->state;
	attempt->pid = (pid_t)task->pid;
	attempt->exit_code = task->exit_code;
	attempt->signal = task->signal;
	attempt->usage = *task->usage;
	attempt->usage.base.n_unknown_fields = 0; /* they live in the arena */
	attempt->usage.base.unknown_fields = NULL;
	attempt->started_wall_us = status->started_wall_us;
	attempt->ended_wall_us = status->ended_wall_us;
	attempt->oom = status->oom;
	attempt->start_ticks = record->start_ticks;
	attempt->acknowledged_order = record->acknowledged_order;
	attempt->output_bytes_max = record->output_bytes_max;
	(void)gw_wire_read_id(status->boot_id, &attempt->boot_id);
	for (size_t i = 0; i < task->n_not_enforced; i++)
		gw_notes_add(&attempt->not_enforced, "%s", task->not_enforced[i]);
	if (task->error && *task->error) {
		attempt->error = strdup(task->error);
		if (!attempt->error)
			return -ENOMEM;
	}
	return 0;
}

int gw_attempt_load(struct gw_attempt *attempt)
{
	const Godwit__KeeperRecord *record;
	struct gw_arena arena;
	uint8_t *bytes = malloc(GW_STORE_RECORD_BYTES_MAX);
	size_t size;
	int result;

	if (!bytes)
		return -ENOMEM;
	gw_arena_init(&arena, DECODE_BYTES_MAX);
	result = gw_store_read(attempt->folder_fd, bytes, &size);
	if (!result) {
		record = gw_wire_decode(&godwit__keeper_record__descriptor, &arena, bytes, size);
		result = record && plausible(record, &attempt->id) ? take_record(attempt, record)
								   : -EPROTO;
	}
	gw_arena_deinit(&arena);
	free(bytes);
	return result;
}
