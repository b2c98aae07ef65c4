/*
 * The keeper's table and timers. Everything that it says to the agent is said from a timer, so that
 * the agent's core is never stepped from inside its own effects.
 */
#include "bench/sim/keeper.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/wire.h"

#define ATTEMPTS_MAX 4096u
#define FENCES_MAX 1000000u
#define SPAWN_US_MIN (1 * GW_US_PER_MS)
#define SPAWN_US_MAX (20 * GW_US_PER_MS)
#define REPORT_US_MIN 30u
#define REPORT_US_MAX 2000u
#define TERM_US_MAX (200 * GW_US_PER_MS) /* an obedient task's last words */
#define READ_POLL_US (200 * GW_US_PER_MS)
#define SPAWN_FAILS_PPM 2000u

struct sim_fence {
	uint8_t task[20]; /* first: the table's key: job id, index */
	uint32_t attempt; /* newest seen */
};

struct sim_read {
	struct sim_read *next;
	struct sim_keeper *keeper;
	struct sim_timer timer;
	uint64_t stream;
	struct gw_attempt_id attempt;
	uint32_t number;
	uint64_t offset;
	uint32_t bytes_max;
	uint64_t until_us;
};

/* An order that waits for a keeper. */
struct sim_errand {
	struct sim_errand *next;
	struct gw_effect effect;
	struct sim_packet *packet; /* its bytes; NULL: it has none */
};

static void live(struct sim_timer *timer);
static void slay(struct sim_timer *timer);
static void lease_end(struct sim_timer *timer);
static void report(struct sim_timer *timer);
static void watch_lease(struct sim_attempt *attempt);

void sim_keeper_init(struct sim_keeper *keeper, struct sim_host *host,
		     const struct sim_keeper_ops *ops)
{
	*keeper = (struct sim_keeper){.host = host, .ops = ops};
	gw_table_init(&keeper->attempts, sizeof(struct gw_attempt_id), ATTEMPTS_MAX, 1);
	gw_table_init(&keeper->fences, sizeof(((struct sim_fence *)0)->task), FENCES_MAX, 2);
}

static void attempt_free(struct sim_keeper *keeper, struct sim_attempt *attempt)
{
	struct sim_world *world = keeper->host->world;

	sim_timer_clear(world, &attempt->life);
	sim_timer_clear(world, &attempt->kill);
	sim_timer_clear(world, &attempt->lease);
	sim_timer_clear(world, &attempt->report);
	free(attempt);
}

void sim_keeper_deinit(struct sim_keeper *keeper)
{
	sim_keeper_orphan(keeper);
	for (uint32_t i = 0; i < keeper->attempts.count; i++)
		attempt_free(keeper, keeper->attempts.entries[i]);
	for (uint32_t i = 0; i < keeper->fences.count; i++)
		free(keeper->fences.entries[i]);
	gw_table_deinit(&keeper->attempts);
	gw_table_deinit(&keeper->fences);
}

static void report_soon(struct sim_attempt *attempt)
{
	struct sim_world *world = attempt->keeper->host->world;

	if (attempt->keeper->down)
		return; /* a new keeper tells all that it finds */
	sim_timer_set(world, &attempt->report,
		      world->now_us + sim_between(world, REPORT_US_MIN, REPORT_US_MAX));
}

static struct sim_attempt *attempt_new(struct sim_keeper *keeper, struct gw_attempt_id id)
{
	struct sim_attempt *attempt = calloc(1, sizeof(*attempt));

	CHECK(attempt);
	attempt->id = id;
	attempt->keeper = keeper;
	sim_timer_init(&attempt->life, live, attempt);
	sim_timer_init(&attempt->kill, slay, attempt);
	sim_timer_init(&attempt->lease, lease_end, attempt);
	sim_timer_init(&attempt->report, report, attempt);
	CHECK(gw_table_add(&keeper->attempts, attempt) == 0);
	return attempt;
}

static void drop(struct sim_attempt *attempt)
{
	(void)gw_table_remove(&attempt->keeper->attempts, &attempt->id); /* it is there */
	attempt_free(attempt->keeper, attempt);
}

/* True: an attempt as new as any seen of this task. Notes it. */
static bool pass_fence(struct sim_keeper *keeper, const struct gw_attempt_id *id)
{
	struct sim_fence key;
	struct sim_fence *fence;

	memcpy(key.task, &id->job, sizeof(id->job));
	memcpy(key.task + sizeof(id->job), &id->task_index, sizeof(id->task_index));
	fence = gw_table_find(&keeper->fences, &key);
	if (!fence) {
		fence = calloc(1, sizeof(*fence));
		CHECK(fence);
		memcpy(fence->task, key.task, sizeof(key.task));
		CHECK(gw_table_add(&keeper->fences, fence) == 0);
	}
	if (id->attempt < fence->attempt)
		return false;
	fence->attempt = id->attempt;
	return true;
}

static void read_command(struct sim_attempt *attempt, const Godwit__TaskStart *start)
{
	size_t count = start->n_arguments;

	if (count > 1)
		attempt->run_us = strtoull(start->arguments[1], NULL, 10);
	if (count > 2)
		attempt->exit_code = (uint32_t)strtoul(start->arguments[2], NULL, 10);
	if (count > 3)
		attempt->output_bps = strtoull(start->arguments[3], NULL, 10);
	attempt->stubborn = count > 4 && strcmp(start->arguments[4], "stubborn") == 0;
	attempt->grace_us = start->grace_us;
	attempt->lease_us = start->lease_us;
	attempt->lease_from_us = start->lease_from_us;
	if (start->resources) {
		attempt->cpu_milli = start->resources->cpu_milli;
		attempt->memory_bytes = start->resources->memory_bytes;
		attempt->device_count = start->resources->device_count;
	}
}

static void spawn(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	struct sim_world *world = keeper->host->world;
	struct gw_attempt_id id = effect->spawn.attempt;
	struct sim_attempt *attempt = gw_table_find(&keeper->attempts, &id);
	const Godwit__TaskStart *start;

	if (attempt) {
		report_soon(attempt);
		return;
	}
	attempt = attempt_new(keeper, id);
	gw_arena_reset(&keeper->host->shared->arena);
	start = gw_wire_decode(&godwit__task_start__descriptor, &keeper->host->shared->arena,
			       effect->spawn.bytes, effect->spawn.size);
	if (!start) {
		sim_world_fail(world, "%s: the keeper was given bytes that are no TaskStart",
			       keeper->host->name);
		return;
	}
	read_command(attempt, start);
	keeper->spawned_count++;
	if (!pass_fence(keeper, &id)) {
		attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;
		report_soon(attempt);
		return;
	}
	attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING;
	sim_timer_set(world, &attempt->life,
		      world->now_us + sim_between(world, SPAWN_US_MIN, SPAWN_US_MAX));
}

static void end(struct sim_attempt *attempt, Godwit__AttemptState state, uint32_t signal)
{
	struct sim_keeper *keeper = attempt->keeper;
	struct sim_world *world = keeper->host->world;

	sim_timer_clear(world, &attempt->life);
	sim_timer_clear(world, &attempt->kill);
	sim_timer_clear(world, &attempt->lease);
	attempt->ended_us = world->now_us;
	attempt->state = attempt->lease_ended ? GODWIT__ATTEMPT_STATE__ATTEMPT_LOST : state;
	attempt->signal = signal;
	keeper->cpu_milli_used -= attempt->cpu_milli;
	keeper->memory_bytes_used -= attempt->memory_bytes;
	keeper->device_used -= attempt->device_count;
	keeper->running_count--;
	keeper->ops->ended(keeper, attempt);
	if (keeper->host->shared->bug == SIM_BUG_WRONG_EXIT)
		attempt->exit_code = 0;
	if (keeper->down) { /* how it ended, nobody will know */
		attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_LOST;
		attempt->signal = 0;
	}
	if (attempt->forgotten)
		drop(attempt);
	else
		report_soon(attempt);
}

/* TERM, and KILL after the grace. Said again it may only come sooner. */
static void term(struct sim_attempt *attempt)
{
	struct sim_world *world = attempt->keeper->host->world;
	uint64_t end_us = world->now_us + sim_between(world, 0, TERM_US_MAX);
	uint64_t kill_us = world->now_us + attempt->grace_us;

	if (!attempt->stubborn && attempt->signal == 0 && end_us < attempt->life.item.at_us) {
		attempt->signal = 15;
		sim_timer_set(world, &attempt->life, end_us);
	}
	if (attempt->kill.item.position == 0 || kill_us < attempt->kill.item.at_us)
		sim_timer_set(world, &attempt->kill, kill_us);
}

/* By the host's own clock, with all renewals heard. */
static uint64_t lease_end_us(const struct sim_attempt *attempt)
{
	const struct sim_keeper *keeper = attempt->keeper;

	return attempt->lease_us + (attempt->lease_from_us > keeper->renewed_us
					    ? attempt->lease_from_us
					    : keeper->renewed_us);
}

static bool lease_over(const struct sim_attempt *attempt)
{
	const struct sim_keeper *keeper = attempt->keeper;

	return attempt->lease_us > 0 && attempt->lease_from_us > 0 &&
	       sim_clock_true(&keeper->host->clock, lease_end_us(attempt)) <=
		       keeper->host->world->now_us;
}

/* Began to run, or came to its own end. */
static void live(struct sim_timer *timer)
{
	struct sim_attempt *attempt = timer->owner;
	struct sim_keeper *keeper = attempt->keeper;
	struct sim_world *world = keeper->host->world;

	if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING) {
		end(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, attempt->signal);
		return;
	}
	attempt->declined = lease_over(attempt);
	if (attempt->declined || sim_chance_ppm(world, SPAWN_FAILS_PPM)) {
		attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
		attempt->ended_us = world->now_us;
		keeper->ops->ended(keeper, attempt);
		report_soon(attempt);
		return;
	}
	attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING;
	attempt->started_us = world->now_us;
	keeper->cpu_milli_used += attempt->cpu_milli;
	keeper->memory_bytes_used += attempt->memory_bytes;
	keeper->device_used += attempt->device_count;
	keeper->running_count++;
	keeper->ops->began(keeper, attempt);
	sim_timer_set(world, &attempt->life, world->now_us + attempt->run_us);
	watch_lease(attempt);
	report_soon(attempt);
	if (attempt->doomed)
		term(attempt);
}

static void slay(struct sim_timer *timer)
{
	end(timer->owner, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 9);
}

static void lease_end(struct sim_timer *timer)
{
	struct sim_attempt *attempt = timer->owner;

	sim_say(attempt->keeper->host->world, attempt->keeper->host->name,
		"a lease ends, and its agent has not seen to it");
	attempt->keeper->host->world->coverage.seen[SIM_SAW_LEASE_ENDED]++;
	attempt->lease_ended = true;
	if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
		end(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 9);
}

/* Leases are the agent's to end, a grace before; the keeper ends what is left: of an agent that is
 * dead, or stopped. */
static void watch_lease(struct sim_attempt *attempt)
{
	const struct sim_keeper *keeper = attempt->keeper;
	bool due = !keeper->down && attempt->ended_us == 0 && attempt->lease_us > 0;

	sim_timer_set(keeper->host->world, &attempt->lease,
		      due ? sim_clock_true(&keeper->host->clock, lease_end_us(attempt))
			  : GW_NEVER_US);
}

void sim_keeper_renew(struct sim_keeper *keeper, uint64_t renewed_us)
{
	if (renewed_us <= keeper->renewed_us)
		return;
	keeper->renewed_us = renewed_us;
	for (uint32_t i = 0; i < keeper->attempts.count; i++)
		watch_lease(keeper->attempts.entries[i]);
}

static void kill(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	struct gw_attempt_id id = effect->kill.attempt;
	struct sim_attempt *attempt = gw_table_find(&keeper->attempts, &id);

	if (!attempt) {
		attempt = attempt_new(keeper, id);
		attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;
		(void)pass_fence(keeper, &id); /* older ones are refused from now on */
		report_soon(attempt);
		return;
	}
	attempt->grace_us = effect->kill.grace_us;
	attempt->lease_ended |= effect->kill.lease_ended;
	if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
		term(attempt);
	else if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING)
		attempt->doomed = true;
	else
		report_soon(attempt);
}

static void forget(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	struct gw_attempt_id id = effect->forget.attempt;
	struct sim_attempt *attempt = gw_table_find(&keeper->attempts, &id);

	if (!attempt)
		return;
	if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING ||
	    attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING)
		sim_world_fail(keeper->host->world,
			       "%s: an attempt is forgotten while it is at work",
			       keeper->host->name);
	else
		drop(attempt);
}

/* Tells the agent's core the attempt's state. */
static void tell(struct sim_attempt *attempt)
{
	struct sim_keeper *keeper = attempt->keeper;
	uint64_t until_us = attempt->ended_us ? attempt->ended_us : keeper->host->world->now_us;
	Godwit__Usage usage = GODWIT__USAGE__INIT;
	struct gw_event event = {0};

	if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING ||
	    attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING ||
	    attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START) {
		event.kind = GW_EVENT_SPAWNED;
		event.spawned.attempt = attempt->id;
		event.spawned.pid = 1000;
		event.spawned.starting = attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING;
		if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START)
			event.spawned.error =
				attempt->declined ? "its lease was over when it came to be started"
						  : "the program cannot be run: out of processes";
		event.spawned.declined = attempt->declined;
	} else {
		event.kind = GW_EVENT_EXITED;
		event.exited.attempt = attempt->id;
		event.exited.state = attempt->state;
		event.exited.exit_code = attempt->signal ? 0 : attempt->exit_code;
		event.exited.signal = attempt->signal;
		if (attempt->started_us && attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED)
			usage.wall_us = usage.cpu_user_us = until_us - attempt->started_us;
		usage.memory_peak_bytes = attempt->memory_bytes;
		event.exited.usage = &usage;
	}
	if (keeper->host->world->transcript) {
		char text[GW_ID_TEXT_BYTES + 24];

		sim_format_attempt(&attempt->id, text);
		sim_transcribe(keeper->host->world, keeper->host->name, "keeper says %s: %s%s",
			       text, event.kind == GW_EVENT_SPAWNED ? "spawned" : "exited",
			       attempt->signal ? " by a signal" : "");
	}
	sim_host_step(keeper->host, &event);
}

static void report(struct sim_timer *timer)
{
	struct sim_attempt *attempt = timer->owner;

	if (!sim_host_defer(attempt->keeper->host, timer))
		tell(attempt);
}

/* The planted bug: the table loses what runs, the process does not. */
static void forget_running(struct sim_keeper *keeper)
{
	for (uint32_t i = 0; i < keeper->attempts.count; i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];

		if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING) {
			drop(attempt);
			return;
		}
	}
}

void sim_keeper_adopt(struct sim_keeper *keeper)
{
	if (keeper->host->shared->bug == SIM_BUG_KEEPER_FORGETS)
		forget_running(keeper);
	for (uint32_t i = 0; i < keeper->attempts.count; i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];

		sim_timer_clear(keeper->host->world, &attempt->report);
		tell(attempt);
	}
}

static void drop_errands(struct sim_keeper *keeper)
{
	while (keeper->errands_first) {
		struct sim_errand *errand = keeper->errands_first;

		keeper->errands_first = errand->next;
		if (errand->packet)
			sim_packet_free(keeper->host->world, errand->packet);
		free(errand);
	}
	keeper->errands_last = NULL;
}

static void put_off(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	struct sim_errand *errand = calloc(1, sizeof(*errand));
	const uint8_t **bytes;
	size_t size;

	CHECK(errand);
	errand->effect = *effect;
	bytes = gw_effect_bytes(&errand->effect, &size);
	if (bytes) {
		errand->packet = sim_packet_new(keeper->host->world, *bytes, size);
		*bytes = errand->packet->bytes;
	}
	if (keeper->errands_last)
		keeper->errands_last->next = errand;
	else
		keeper->errands_first = errand;
	keeper->errands_last = errand;
}

bool sim_keeper_kill(struct sim_keeper *keeper)
{
	struct sim_world *world = keeper->host->world;

	if (keeper->down)
		return false;
	sim_say(world, keeper->host->name, "its keeper is killed");
	keeper->down = true;
	for (uint32_t i = 0; i < keeper->attempts.count; i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];

		sim_timer_clear(world, &attempt->kill);
		sim_timer_clear(world, &attempt->lease);
		sim_timer_clear(world, &attempt->report);
		if (attempt->state != GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING)
			continue;
		sim_timer_clear(world, &attempt->life); /* the child dies with its parent */
		attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_LOST;
	}
	return true;
}

void sim_keeper_revive(struct sim_keeper *keeper)
{
	struct sim_errand *errand;

	if (!keeper->down)
		return;
	sim_say(keeper->host->world, keeper->host->name, "a new keeper");
	keeper->down = false;
	for (uint32_t i = 0; i < keeper->attempts.count; i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];

		if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
			end(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_LOST, 0);
		else
			report_soon(attempt);
	}
	while ((errand = keeper->errands_first)) {
		keeper->errands_first = errand->next;
		sim_keeper_effect(keeper, &errand->effect);
		if (errand->packet)
			sim_packet_free(keeper->host->world, errand->packet);
		free(errand);
	}
	keeper->errands_last = NULL;
}

void sim_keeper_reboot(struct sim_keeper *keeper)
{
	sim_keeper_orphan(keeper);
	keeper->renewed_us = 0; /* its clock begins anew */
	for (uint32_t i = 0; i < keeper->attempts.count; i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];

		sim_timer_clear(keeper->host->world, &attempt->report);
		sim_timer_clear(keeper->host->world, &attempt->lease);
		if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING) {
			end(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_LOST, 0);
		} else if (attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING) {
			sim_timer_clear(keeper->host->world, &attempt->life);
			attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_LOST;
		}
		sim_timer_clear(keeper->host->world, &attempt->report);
	}
	keeper->down = false;
}

uint8_t sim_output_byte(const struct gw_attempt_id *attempt, uint32_t stream, uint64_t offset)
{
	uint64_t line = offset / 32;

	if (offset % 32 == 31)
		return '\n';
	return (uint8_t)('a' +
			 (attempt->task_index + attempt->attempt + stream + line + offset) % 26);
}

static void answer_read(struct sim_read *read, const struct sim_attempt *attempt, uint64_t end,
			bool closed)
{
	struct sim_keeper *keeper = read->keeper;
	static const char *const gone = "no such attempt here";
	struct gw_event event = {.kind = GW_EVENT_OUTPUT};
	uint8_t *bytes = NULL;
	uint64_t size = end > read->offset ? end - read->offset : 0;

	if (size > read->bytes_max)
		size = read->bytes_max;
	event.output.stream = read->stream;
	event.output.offset = read->offset;
	if (size > 0) {
		bytes = malloc(size);
		CHECK(bytes);
		for (uint64_t i = 0; i < size; i++)
			bytes[i] = sim_output_byte(&read->attempt, read->number, read->offset + i);
	}
	event.output.bytes = bytes;
	event.output.size = size;
	event.output.end = closed && read->offset + size >= end;
	event.output.error = attempt ? NULL : gone;
	for (struct sim_read **at = &keeper->reads; *at; at = &(*at)->next) {
		if (*at == read) {
			*at = read->next;
			break;
		}
	}
	free(read);
	sim_host_step(keeper->host, &event);
	free(bytes);
}

static void poll_read(struct sim_timer *timer)
{
	struct sim_read *read = timer->owner;
	struct sim_world *world = read->keeper->host->world;
	const struct sim_attempt *attempt = gw_table_find(&read->keeper->attempts, &read->attempt);
	uint64_t end = 0;
	bool closed = !attempt || attempt->ended_us != 0 ||
		      attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;

	if (sim_host_defer(read->keeper->host, timer))
		return;
	if (read->keeper->down) {
		sim_timer_set(world, timer, world->now_us + READ_POLL_US);
		return;
	}
	if (attempt && attempt->started_us) {
		uint64_t until_us = attempt->ended_us ? attempt->ended_us : world->now_us;

		end = (until_us - attempt->started_us) * attempt->output_bps / GW_US_PER_S;
	}
	if (end <= read->offset && !closed && world->now_us < read->until_us)
		sim_timer_set(world, timer, world->now_us + READ_POLL_US);
	else
		answer_read(read, attempt, end, closed);
}

static void stream(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	struct sim_world *world = keeper->host->world;
	struct sim_read *read = calloc(1, sizeof(*read));

	CHECK(read);
	read->next = keeper->reads;
	keeper->reads = read;
	read->keeper = keeper;
	read->stream = effect->stream.stream;
	read->attempt = effect->stream.attempt;
	read->number = effect->stream.number;
	read->offset = effect->stream.offset;
	read->bytes_max = effect->stream.bytes_max;
	read->until_us = world->now_us + effect->stream.wait_us;
	sim_timer_init(&read->timer, poll_read, read);
	sim_timer_set(world, &read->timer, world->now_us + REPORT_US_MIN);
}

void sim_keeper_orphan(struct sim_keeper *keeper)
{
	drop_errands(keeper);
	while (keeper->reads) {
		struct sim_read *read = keeper->reads;

		keeper->reads = read->next;
		sim_timer_clear(keeper->host->world, &read->timer);
		free(read);
	}
}

void sim_keeper_effect(struct sim_keeper *keeper, const struct gw_effect *effect)
{
	if (keeper->down) {
		put_off(keeper, effect);
		return;
	}
	switch (effect->kind) {
	case GW_EFFECT_SPAWN:
		spawn(keeper, effect);
		break;
	case GW_EFFECT_KILL:
		kill(keeper, effect);
		break;
	case GW_EFFECT_FORGET:
		forget(keeper, effect);
		break;
	case GW_EFFECT_STREAM:
		stream(keeper, effect);
		break;
	case GW_EFFECT_SEND:
	case GW_EFFECT_APPEND:
	case GW_EFFECT_PROBE:
	case GW_EFFECT_REPLY:
	case GW_EFFECT_PLAN:
	case GW_EFFECT_REVOKE:
		CHECK(!"an effect for the keeper");
	}
}

uint32_t sim_keeper_usage(const struct sim_keeper *keeper, Godwit__TaskUsage *ret_usage,
			  uint32_t usage_max)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < keeper->attempts.count && count < usage_max && !keeper->down;
	     i++) {
		struct sim_attempt *attempt = keeper->attempts.entries[i];
		Godwit__TaskUsage *usage;

		if (attempt->state != GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
			continue;
		usage = &ret_usage[count++];
		godwit__task_usage__init(usage);
		usage->job = gw_wire_id(&attempt->id.job.id);
		usage->task_index = attempt->id.task_index;
		usage->attempt = attempt->id.attempt;
		usage->cpu_us = keeper->host->world->now_us - attempt->started_us;
		usage->memory_bytes = usage->memory_peak_bytes = attempt->memory_bytes;
	}
	return count;
}
