/* The order to start an attempt: what the job asks, and what the task learns by its environment. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "scheduler/core/state.h"

/* Where the task listens, in the form that separates an IPv6 address from its port. */
static int print_address(struct gw_buf *text, const struct task *task)
{
	return gw_buf_printf(text, "[%s]:%u", task->node->address, task->port);
}

/* "GODWIT_PEERS=[address]:port,..." of all tasks of a gang by index; NULL: no memory. */
static char *peers(struct scheduler *s, const struct job *job)
{
	struct gw_buf text;
	char *copy = NULL;
	int result;

	gw_buf_init(&text, GW_SPEC_BYTES_MAX);
	result = gw_buf_printf(&text, "GODWIT_PEERS=");
	for (uint32_t i = 0; i < job->task_count && result == 0; i++) {
		if (i > 0)
			result = gw_buf_printf(&text, ",");
		if (result == 0)
			result = print_address(&text, &job->tasks[i]);
	}
	if (result == 0)
		copy = gw_arena_copy(&s->arena, text.bytes, text.size + 1);
	if (!copy)
		out_failed(s, -ENOMEM);
	gw_buf_deinit(&text);
	return copy;
}

/* The job's own entries, then ours: a later one wins, so ours cannot be forged. */
static char **environment(struct scheduler *s, const struct task *task, const Godwit__JobSpec *spec,
			  size_t *ret_count)
{
	const struct job *job = task->job;
	char **list =
		gw_arena_alloc(&s->arena, (spec->n_environment + GW_ENV_OWN_MAX) * sizeof(*list));
	size_t n = spec->n_environment;
	char id[GW_ID_TEXT_BYTES];

	if (!list) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		list[i] = spec->environment[i];
	gw_id_format(job->id.id, id);
	list[n++] = out_text(s, "GODWIT_JOB=%s", id);
	list[n++] = out_text(s, "GODWIT_TASK_INDEX=%u", task->index);
	list[n++] = out_text(s, "GODWIT_TASK_COUNT=%u", job->task_count);
	list[n++] = out_text(s, "GODWIT_ATTEMPT=%u", task->attempt);
	list[n++] = out_text(s, "GODWIT_SITE=%s", task->node->site->name);
	list[n++] = out_text(s, "GODWIT_NODE=%s", task->node->name);
	list[n++] = out_text(s, "GODWIT_PORTS=%u %u", task->port, task->port_count);
	if (task->devices) {
		int length = (int)strlen(task->devices) - 1; /* without the last comma */

		list[n++] = out_text(s, "GODWIT_DEVICES=%.*s", length, task->devices);
		list[n++] = out_text(s, "CUDA_VISIBLE_DEVICES=%.*s", length, task->devices);
	}
	if (job->gang) {
		list[n] = peers(s, job);
		if (!list[n++])
			return NULL;
	}
	*ret_count = n;
	return list;
}

char **task_devices(struct scheduler *s, const struct task *task, size_t *ret_count)
{
	char **list = gw_arena_alloc(&s->arena, GW_GRID_DEVICES_MAX * sizeof(*list));
	const char *at = task->devices;
	const char *comma;
	size_t count = 0;

	*ret_count = 0;
	if (!at || !list)
		return list;
	for (; (comma = strchr(at, ',')) && count < GW_GRID_DEVICES_MAX; at = comma + 1)
		list[count++] = out_text(s, "%.*s", (int)(comma - at), at);
	*ret_count = count;
	return list;
}

void start_send(struct scheduler *s, struct task *task)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	const Godwit__JobSpec *spec = job_spec(s, task->job);
	struct gw_attempt_id attempt = task_attempt(task);
	Godwit__AttemptRef ref;

	if (!spec)
		return;
	CHECK(task->state == TASK_PLACED);
	gw_wire_attempt(&attempt, &ref);
	start.attempt = &ref;
	start.n_arguments = spec->n_arguments;
	start.arguments = spec->arguments;
	start.environment = environment(s, task, spec, &start.n_environment);
	start.device_uuids = task_devices(s, task, &start.n_device_uuids);
	if (!start.environment)
		return;
	start.working_directory = spec->working_directory;
	start.user = spec->user;
	start.resources = spec->resources;
	start.n_rlimits = spec->n_rlimits;
	start.rlimits = spec->rlimits;
	start.lease_us = task->job->lease_us;
	start.lease_from_us = task->node->heartbeat_mono_us;
	start.grace_us = task->job->grace_us;
	start.tenant = gw_wire_id(&task->job->tenant);
	start.provider = task->node->provider;
	body.kind_case = GODWIT__BODY__KIND_TASK_START;
	body.task_start = &start;
	out_send(s, task->node, &body);
}
