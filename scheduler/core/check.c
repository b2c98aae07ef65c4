/*
 * What must hold after every step, and the hash of the durable state. It recomputes from the tasks
 * what the core keeps as counts and lists, and compares.
 */
#include "scheduler/core/check.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/core/state.h"

#define FAIL(...)                                                                                  \
	do {                                                                                       \
		(void)snprintf(ret_text, GW_CHECK_TEXT_BYTES, __VA_ARGS__);                        \
		return false;                                                                      \
	} while (0)

/* Multiply and fold, a word at a time. */
static uint64_t mix_u64(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0xd6e8feb86659fd93ull;
	return hash ^ hash >> 32;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	hash = mix_u64(hash, size);
	while (size > 0) {
		uint64_t word = 0;
		size_t length = size < sizeof(word) ? size : sizeof(word);

		memcpy(&word, at, length);
		hash = mix_u64(hash, word);
		at += length;
		size -= length;
	}
	return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
	return text ? mix(hash, text, strlen(text)) : mix_u64(hash, 0);
}

static uint64_t mix_usage(uint64_t hash, const struct usage *usage)
{
	hash = mix_u64(hash, usage->wall_us);
	hash = mix_u64(hash, usage->cpu_user_us);
	hash = mix_u64(hash, usage->cpu_system_us);
	hash = mix_u64(hash, usage->memory_peak_bytes);
	return mix_u64(hash, usage->output_bytes);
}

static uint64_t mix_former(uint64_t hash, const struct former *former)
{
	hash = mix_u64(hash, former->attempt | (uint64_t)former->node->index << 32);
	hash = mix_u64(hash, former->port | (uint64_t)former->port_count << 32);
	hash = mix_u64(hash, former->rtt_us);
	hash = mix_u64(hash, (uint64_t)former->started_wall_us);
	return mix_text(hash, former->devices);
}

static uint64_t mix_earlier(uint64_t hash, const struct earlier *earlier)
{
	for (uint32_t i = 0; i < earlier->count; i++)
		hash = mix_u64(hash, earlier->ran[i].attempt | (uint64_t)earlier->ran[i].node->index
								       << 32);
	return hash;
}

static uint64_t mix_task(uint64_t hash, const struct task *task)
{
	hash = mix_u64(hash, task->state | (uint64_t)task->attempt << 32);
	hash = mix_u64(hash, task->failures | (uint64_t)task->losses << 32);
	if (task->attempt == 0)
		return hash;
	hash = mix_u64(hash, task->port | (uint64_t)task->port_count << 32);
	hash = mix_u64(hash, task->exit_code | (uint64_t)task->signal << 32);
	hash = mix_u64(hash, task->rtt_us);
	hash = mix_u64(hash, (uint64_t)task->started_wall_us);
	hash = mix_usage(hash, &task->usage);
	hash = mix_text(hash, task->devices);
	hash = mix_text(hash, task->error);
	hash = mix_u64(hash, (task->unheard | (uint64_t)task->ended << 1 |
			      (uint64_t)task->declined << 2 | (uint64_t)task->attempt_last << 32));
	if (task->earlier)
		hash = mix_earlier(hash, task->earlier);
	if (task->former)
		hash = mix_former(hash, task->former);
	return mix(hash, &task->node->id, sizeof(task->node->id));
}

static uint64_t mix_prediction(uint64_t hash, const struct gw_prediction *prediction)
{
	if (!prediction->present)
		return mix_u64(hash, 0);
	hash = mix(hash, &prediction->tokens_per_s, sizeof(prediction->tokens_per_s));
	hash = mix(hash, &prediction->single_site_tokens_per_s,
		   sizeof(prediction->single_site_tokens_per_s));
	hash = mix(hash, &prediction->tpot_us, sizeof(prediction->tpot_us));
	hash = mix(hash, &prediction->loss_ppm, sizeof(prediction->loss_ppm));
	hash = mix_u64(hash, prediction->rtt_us);
	return mix_text(hash, prediction->bottleneck);
}

static uint64_t mix_job(uint64_t hash, const struct job *job)
{
	hash = mix(hash, &job->id, sizeof(job->id));
	hash = mix(hash, &job->owner, sizeof(job->owner));
	hash = mix_text(hash, job->owner_name);
	hash = mix(hash, &job->tenant, sizeof(job->tenant));
	hash = mix(hash, &job->nonce, sizeof(job->nonce));
	hash = mix(hash, job->spec_bytes, job->spec_size);
	hash = mix_u64(hash, (uint64_t)job->submitted_wall_us);
	hash = mix_u64(hash, (uint64_t)job->ended_wall_us);
	hash = mix_u64(hash, (uint64_t)job->cancelled << 2 | (uint64_t)job->doomed << 1 |
				     (uint64_t)job->restarting);
	hash = mix_u64(hash, job->failures);
	hash = mix_u64(hash, job->state);
	hash = mix_prediction(hash, &job->prediction);
	for (uint32_t i = 0; i < job->task_count; i++)
		hash = mix_task(hash, &job->tasks[i]);
	for (const struct task *task = job->waiting; task; task = task->next)
		hash = mix_u64(hash, task->index);
	hash = mix_u64(hash, job->queued);
	return job->queue_prev ? mix(hash, &job->queue_prev->id, sizeof(job->id)) : hash;
}

/* The lists, whose orders behaviour depends on. */
static uint64_t mix_lists(uint64_t hash, const struct scheduler *s)
{
	for (const struct job *job = s->ended_first; job; job = job->ended_next)
		hash = mix(hash, &job->id, sizeof(job->id));
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		for (const struct task *task = node->tasks; task; task = task->next)
			hash = mix_u64(mix(hash, &task->job->id, sizeof(task->job->id)),
				       task->index);
	}
	for (uint32_t i = 0; i < s->sites.count; i++) {
		const struct site *site = s->sites.entries[i];

		hash = mix_text(hash, site->name);
		for (const struct node *node = site->nodes; node; node = node->site_next)
			hash = mix_u64(hash, node->index);
	}
	return hash;
}

uint64_t check_digest(const struct gw_node *node)
{
	const struct scheduler *s = (const struct scheduler *)node;
	uint64_t hash = 1469598103934665603ull;

	hash = mix_u64(hash, s->seq);
	hash = mix_u64(hash, s->term);
	hash = mix_u64(hash, s->epoch);
	hash = mix_u64(hash, s->next_job);
	for (const struct job *job = s->newest; job; job = job->older)
		hash = mix_job(hash, job);
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *n = s->nodes.entries[i];

		hash = mix(hash, &n->id, sizeof(n->id));
		hash = mix_text(hash, n->name);
		hash = mix_text(hash, n->provider);
		hash = mix_u64(hash, n->revoked);
		hash = mix(hash, &n->boot_id, sizeof(n->boot_id));
	}
	for (uint32_t i = 0; i < s->epoch_count; i++)
		hash = mix_u64(mix_u64(hash, s->epochs[i].epoch), s->epochs[i].next_job);
	hash = mix_text(mix_u64(hash, s->records_lost), s->records_lost_text);
	for (uint32_t i = 0; i < s->revoked.count; i++)
		hash = mix(hash, s->revoked.entries[i], sizeof(struct revoked));
	return mix_lists(hash, s);
}

static bool check_job_counts(const struct job *job, char *ret_text)
{
	uint32_t counts[TASK_STATES] = {0};
	uint32_t listed = 0;

	for (uint32_t i = 0; i < job->task_count; i++) {
		const struct task *task = &job->tasks[i];

		if (task->state >= TASK_STATES)
			FAIL("task %u of %s is in no state", i, job->name);
		counts[task->state]++;
		if (task_held(task) && (!task->node || task->attempt == 0))
			FAIL("task %u of %s holds a place without a node or attempt", i, job->name);
	}
	if (memcmp(counts, job->counts, sizeof(counts)) != 0)
		FAIL("the counts of %s do not agree with its tasks", job->name);
	for (const struct task *task = job->waiting; task; task = task->next) {
		if (task->state != TASK_WAITING || task->job != job)
			FAIL("the waiting list of %s holds one that does not wait", job->name);
		listed++;
	}
	if (listed != counts[TASK_WAITING])
		FAIL("%u tasks of %s wait and %u are listed", counts[TASK_WAITING], job->name,
		     listed);
	return true;
}

static bool check_job(const struct job *job, char *ret_text)
{
	uint32_t held = job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
	bool wants = job->counts[TASK_WAITING] > 0 && !job->restarting &&
		     (!job->gang || job->counts[TASK_WAITING] == job->task_count);

	if (!check_job_counts(job, ret_text))
		return false;
	if (job->queued != wants)
		FAIL("%s %s the queue", job->name, wants ? "is missing from" : "stands idly in");
	if (job_ended(job) && held + job->counts[TASK_WAITING] > 0)
		FAIL("%s has ended with tasks that have not", job->name);
	if (job->gang && held > 0 && job->counts[TASK_WAITING] > 0 && !job->restarting)
		FAIL("gang %s is placed in part", job->name);
	if ((job->cancelled || job->doomed) && job->counts[TASK_WAITING] > 0)
		FAIL("%s is ending and tasks of it wait", job->name);
	return true;
}

/* Ports and devices twice given show as a count that does not add up. */
static bool check_node(const struct node *node, char *ret_text)
{
	uint64_t cpu_milli = 0;
	uint64_t memory_bytes = 0;
	uint32_t tasks = 0;
	uint32_t ports = 0;
	uint32_t ports_used = 0;
	uint32_t devices = 0;

	for (const struct task *task = node->tasks; task; task = task->next) {
		if (!task_held(task) || task->node != node)
			FAIL("node %s lists a task that is not its", node->name);
		tasks++;
		cpu_milli += task->job->need.cpu_milli;
		memory_bytes += task->job->need.memory_bytes;
		devices += (uint32_t)__builtin_popcount(node_device_bits(node, task->devices));
		ports += node_ports_of(node, task);
	}
	for (uint32_t i = 0; i < GW_GRID_PORT_WORDS; i++)
		ports_used += (uint32_t)__builtin_popcountll(node->ports_used[i]);
	if (tasks != node->task_count || cpu_milli != node->cpu_milli_used ||
	    memory_bytes != node->memory_bytes_used)
		FAIL("the accounts of node %s do not agree with its tasks", node->name);
	if (!node->info_bytes)
		return true;
	if (cpu_milli > node->total.cpu_milli && !node->shrunk)
		FAIL("node %s is oversold: %llu of %u mCPU", node->name,
		     (unsigned long long)cpu_milli, node->total.cpu_milli);
	if (memory_bytes > node->total.memory_bytes && !node->shrunk)
		FAIL("node %s is oversold in memory", node->name);
	if (ports != ports_used)
		FAIL("node %s: its tasks hold %u ports, and %u are marked", node->name, ports,
		     ports_used);
	if (devices != (uint32_t)__builtin_popcount(node->devices_used))
		FAIL("node %s: its tasks hold %u devices, and %d are marked", node->name, devices,
		     __builtin_popcount(node->devices_used));
	return true;
}

/* A cursor that looks at the head once more has some of it left to look at. */
static bool check_user(const struct user *user, char *ret_text)
{
	for (const struct share *share = user->shares; share; share = share->user_next) {
		if (share->head_left > 0 && (!share->cursor || share->cursor == share->deep))
			FAIL("the queue of a user at priority %u would hide its next job",
			     share->priority);
	}
	return true;
}

bool gw_scheduler_check(const struct gw_node *scheduler, char *ret_text)
{
	const struct scheduler *s = (const struct scheduler *)scheduler;
	uint64_t held = 0;
	uint64_t on_nodes = 0;

	for (uint32_t i = 0; i < s->jobs.count; i++) {
		const struct job *job = s->jobs.entries[i];

		held += job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
		if (!check_job(job, ret_text))
			return false;
	}
	for (uint32_t i = 0; i < s->users.count; i++) {
		if (!check_user(s->users.entries[i], ret_text))
			return false;
	}
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		on_nodes += node->task_count;
		if (!check_node(node, ret_text))
			return false;
	}
	if (held != on_nodes)
		FAIL("%llu tasks hold places and nodes list %llu", (unsigned long long)held,
		     (unsigned long long)on_nodes);
	ret_text[0] = '\0';
	return true;
}

void gw_scheduler_count(const struct gw_node *scheduler, struct gw_scheduler_counts *ret_counts)
{
	const struct scheduler *s = (const struct scheduler *)scheduler;

	*ret_counts = (struct gw_scheduler_counts){.records_lost = s->records_lost};
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		ret_counts->nodes_up += node->state == NODE_UP;
	}
	for (uint32_t i = 0; i < s->jobs.count; i++) {
		const struct job *job = s->jobs.entries[i];

		ret_counts->jobs_active += !job_ended(job);
		ret_counts->tasks_waiting += job->counts[TASK_WAITING];
		ret_counts->tasks_held += job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
		ret_counts->tasks_succeeded += job->counts[TASK_SUCCEEDED];
		ret_counts->tasks_failed += job->counts[TASK_FAILED];
		ret_counts->tasks_cancelled += job->counts[TASK_CANCELLED];
	}
}

bool gw_scheduler_holds(const struct gw_node *scheduler, struct gw_node_id node,
			struct gw_attempt_id attempt)
{
	const struct task *task = task_find((const struct scheduler *)scheduler, attempt);

	return task && task_held(task) && task->attempt == attempt.attempt &&
	       gw_id_equal(task->node->id.id, node.id);
}
