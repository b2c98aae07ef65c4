/*
 * The host's loop, in virtual time. Effects that wait for the journal keep their order among
 * themselves, and are released before DURABLE is fed; one whose time has come overtakes them.
 */
#include "bench/sim/host.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"

#define EFFECTS_CAPACITY 256u
#define EFFECTS_ARENA_BYTES (4u << 20)
#define CONTINUES_MAX 100000u  /* a core that never has enough is a bug */
#define RESTART_US GW_US_PER_S /* between two starts, when one failed */
#define SNAPSHOT_BYTES (256u << 10)

struct sim_held {
	struct sim_held *next;
	struct gw_effect effect;
	struct sim_packet *packet; /* its bytes; NULL: it has none */
};

int sim_shared_init(struct sim_shared *shared, struct sim_world *world)
{
	*shared = (struct sim_shared){.world = world};
	gw_arena_init(&shared->arena, GW_DECODE_BYTES_MAX);
	gw_buf_init(&shared->envelope, GW_MESSAGE_BYTES_MAX);
	return gw_effects_init(&shared->effects, EFFECTS_CAPACITY, EFFECTS_ARENA_BYTES);
}

void sim_shared_deinit(struct sim_shared *shared)
{
	gw_effects_deinit(&shared->effects);
	gw_arena_deinit(&shared->arena);
	gw_buf_deinit(&shared->envelope);
}

static void tick(struct sim_timer *timer);
static void tell_durable(struct sim_timer *timer);
static void revive(struct sim_timer *timer);
static void on_record(void *context, uint64_t seq, const uint8_t *bytes, size_t size);
static void on_durable(void *context, uint64_t seq);
static void on_failed(void *context, const char *why);

static const struct sim_journal_ops journal_ops = {on_record, on_durable, on_failed};

void sim_host_init(struct sim_host *host, struct sim_shared *shared, const struct sim_host_ops *ops,
		   void *owner)
{
	host->shared = shared;
	host->world = shared->world;
	host->ops = ops;
	host->owner = owner;
	host->boots = 1;
	sim_disk_init(&host->disk, shared->world, host->name);
	sim_journal_init(&host->journal, &host->disk, &journal_ops, host);
	host->journal.snapshot_bytes = SNAPSHOT_BYTES;
	host->journal.skips_sync = shared->bug == SIM_BUG_NO_SYNC;
	sim_timer_init(&host->tick, tick, host);
	sim_timer_init(&host->durable, tell_durable, host);
	sim_timer_init(&host->revive, revive, host);
}

bool sim_host_defer(const struct sim_host *host, struct sim_timer *timer)
{
	if (host->world->now_us >= host->free_us)
		return false;
	sim_timer_set(host->world, timer, host->free_us);
	return true;
}

static void hold(struct sim_host *host, const struct gw_effect *effect)
{
	struct sim_held *held = calloc(1, sizeof(*held));
	const uint8_t **bytes;
	size_t size;

	CHECK(held);
	held->effect = *effect;
	bytes = gw_effect_bytes(&held->effect, &size);
	if (bytes) {
		held->packet = sim_packet_new(host->world, *bytes, size);
		*bytes = held->packet->bytes;
	}
	if (host->held_last)
		host->held_last->next = held;
	else
		host->held_first = held;
	host->held_last = held;
}

static struct sim_held *take_held(struct sim_host *host)
{
	struct sim_held *held = host->held_first;

	if (held) {
		host->held_first = held->next;
		if (!host->held_first)
			host->held_last = NULL;
	}
	return held;
}

static void free_held(struct sim_host *host, struct sim_held *held)
{
	if (held->packet)
		sim_packet_free(host->world, held->packet);
	free(held);
}

static void drop_held(struct sim_host *host)
{
	struct sim_held *held;

	while ((held = take_held(host))) {
		if (held->effect.kind ==
		    GW_EFFECT_PLAN) /* the snapshot is the function's to free */
			host->shared->plan_free(
				held->effect.plan.run(held->effect.plan.snapshot, 0, 0));
		free_held(host, held);
	}
}

void sim_host_deinit(struct sim_host *host)
{
	gw_node_free(host->node);
	host->node = NULL;
	drop_held(host);
	sim_timer_clear(host->world, &host->tick);
	sim_timer_clear(host->world, &host->durable);
	sim_timer_clear(host->world, &host->revive);
	sim_journal_deinit(&host->journal);
	sim_disk_deinit(&host->disk);
}

static void append(struct sim_host *host, const struct gw_effect *effect)
{
	if (effect->append.seq != host->journal.last_seq + 1) {
		sim_world_fail(host->world,
			       "%s: a record numbered %" PRIu64 " follows number %" PRIu64
			       " in the journal",
			       host->name, effect->append.seq, host->journal.last_seq);
		return;
	}
	sim_journal_append(&host->journal, effect->append.bytes, effect->append.size);
}

static void carry_out(struct sim_host *host, const struct gw_effect *effect)
{
	struct gw_effect copy = *effect;
	size_t size;
	const uint8_t **bytes = gw_effect_bytes(&copy, &size);

	sim_trace(host->world, (uint64_t)effect->kind);
	if (bytes)
		sim_trace_bytes(host->world, *bytes, size);
	host->ops->effect(host, effect);
}

static void release_held(struct sim_host *host)
{
	while (host->held_first &&
	       host->held_first->effect.after_seq <= host->journal.durable_seq) {
		struct sim_held *held = take_held(host);

		carry_out(host, &held->effect);
		free_held(host, held);
	}
}

static void take_effects(struct sim_host *host)
{
	struct gw_effects *effects = &host->shared->effects;
	bool early = host->shared->bug == SIM_BUG_EARLY_EFFECTS;

	for (uint32_t i = 0; i < effects->count; i++) {
		const struct gw_effect *effect = &effects->list[i];

		if (effect->kind == GW_EFFECT_APPEND)
			append(host, effect);
		else if (!early &&
			 (host->held_first || effect->after_seq > host->journal.durable_seq))
			hold(host, effect);
		else
			carry_out(host, effect);
	}
}

static void step_once(struct sim_host *host, struct gw_event *event)
{
	struct gw_effects *effects = &host->shared->effects;
	int error;

	gw_effects_clear(effects);
	sim_clock_now(&host->clock, host->world->now_us, &event->now);
	error = gw_node_step(host->node, event, effects);
	if (error < 0)
		sim_world_fail(host->world, "%s: its core gave up: %s", host->name,
			       strerror(-error));
	host->ops->stepped(host, event);
	take_effects(host);
	if (host->step_us > 0)
		host->free_us = (host->free_us > host->world->now_us ? host->free_us
								     : host->world->now_us) +
				host->step_us;
}

void sim_host_step(struct sim_host *host, struct gw_event *event)
{
	uint32_t continues = 0;

	if (!host->node || host->world->stopped)
		return;
	CHECK(!host->shared->stepping);
	host->shared->stepping = true;
	sim_trace(host->world, host->epoch << 8 | (uint64_t)event->kind);
	sim_trace(host->world, host->world->now_us);
	step_once(host, event);
	while (host->shared->effects.more && !host->world->stopped) {
		struct gw_event more = {.kind = GW_EVENT_CONTINUE};

		if (++continues > CONTINUES_MAX) {
			sim_world_fail(host->world, "%s: its core never has enough of CONTINUE",
				       host->name);
			break;
		}
		step_once(host, &more);
	}
	host->shared->stepping = false;
	sim_journal_flush(&host->journal, host->node);
	sim_timer_set(host->world, &host->tick,
		      sim_clock_true(&host->clock, gw_node_wake_us(host->node)));
}

static void tick(struct sim_timer *timer)
{
	struct gw_event event = {.kind = GW_EVENT_TICK};

	if (!sim_host_defer(timer->owner, timer))
		sim_host_step(timer->owner, &event);
}

/* --- the journal --- */

static void on_record(void *context, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct sim_host *host = context;

	if (host->ops->record)
		host->ops->record(host, seq, bytes, size);
}

static void on_durable(void *context, uint64_t seq)
{
	struct sim_host *host = context;

	(void)seq; /* the journal says the same when its time has come */
	tell_durable(&host->durable);
}

static void tell_durable(struct sim_timer *timer)
{
	struct sim_host *host = timer->owner;
	struct gw_event event = {.kind = GW_EVENT_DURABLE};

	if (sim_host_defer(host, timer))
		return;
	release_held(host);
	event.durable.seq = host->journal.durable_seq;
	sim_host_step(host, &event);
}

static void on_failed(void *context, const char *why)
{
	struct sim_host *host = context;

	sim_say(host->world, host->name, "STOPS: %s", why);
	sim_host_crash(host);
	sim_host_revive(host, host->world->now_us + RESTART_US);
}

/* --- start and stop --- */

/* What became durable and is not there any more. */
static void note_loss(struct sim_host *host)
{
	struct sim_journal *journal = &host->journal;

	if (journal->last_seq >= journal->told_seq)
		return;
	sim_say(host->world, host->name, "%" PRIu64 " records that were durable are lost",
		journal->told_seq - journal->last_seq);
	if (!host->disk.lied && !host->disk.damaged)
		sim_world_fail(host->world,
			       "%s: %" PRIu64
			       " records that were durable are lost, by no fault of its disk",
			       host->name, journal->told_seq - journal->last_seq);
	if (host->ops->lost)
		host->ops->lost(host, journal->last_seq);
	journal->told_seq = journal->last_seq;
}

static bool open_journal(struct sim_host *host)
{
	bool hole = host->shared->bug == SIM_BUG_JOURNAL_HOLE;

	switch (sim_journal_open(&host->journal, host->node, hole)) {
	case SIM_OPEN_GOOD:
		return true;
	case SIM_OPEN_FAILED:
		sim_say(host->world, host->name, "cannot start: its disk does not sync");
		sim_host_revive(host, host->world->now_us + RESTART_US);
		break;
	case SIM_OPEN_REFUSED:
		sim_say(host->world, host->name, "refuses to start: %s", host->journal.text);
		host->refused = true;
		break;
	}
	gw_node_free(host->node);
	host->node = NULL;
	return false;
}

void sim_host_start(struct sim_host *host)
{
	struct gw_event event = {.kind = GW_EVENT_START};

	CHECK(!host->node);
	if (host->rebooting) {
		host->boots++;
		sim_clock_boot(&host->clock, host->world->now_us,
			       gw_id_make(host->number, host->boots, host->world->now_us));
		host->rebooting = false;
	}
	host->epoch++;
	host->node = host->ops->make(host);
	if (!open_journal(host))
		return;
	sim_say(host->world, host->name, "START epoch %" PRIu64 ", %" PRIu64 " records",
		host->epoch, host->journal.last_seq);
	note_loss(host);
	host->ops->adopt(host);
	sim_host_step(host, &event);
	host->ops->started(host);
}

static void revive(struct sim_timer *timer)
{
	struct sim_host *host = timer->owner;

	if (!host->node && !host->refused)
		sim_host_start(host);
}

void sim_host_revive(struct sim_host *host, uint64_t at_us)
{
	sim_timer_set(host->world, &host->revive, at_us);
}

void sim_host_crash(struct sim_host *host)
{
	struct sim_journal *journal = &host->journal;

	if (!host->node)
		return;
	sim_say(host->world, host->name, "CRASH, %" PRIu64 " records were not durable",
		journal->last_seq - journal->durable_seq);
	gw_node_free(host->node);
	host->node = NULL;
	host->free_us = 0;
	drop_held(host);
	sim_timer_clear(host->world, &host->tick);
	sim_timer_clear(host->world, &host->durable);
	sim_journal_kill(journal);
	host->ops->crashed(host);
}

bool sim_host_stop(struct sim_host *host, uint64_t until_us)
{
	if (!host->node || until_us <= host->free_us)
		return false;
	host->free_us = until_us;
	return true;
}

void sim_host_power_cut(struct sim_host *host)
{
	sim_host_crash(host);
	sim_disk_power_cut(&host->disk);
}

void sim_host_check_replay(struct sim_host *host)
{
	struct gw_node *twin;
	bool whole;

	if (!host->node || host->disk.damaged)
		return;
	twin = host->ops->make(host);
	whole = sim_journal_copy(&host->journal, twin, host->shared->bug == SIM_BUG_JOURNAL_HOLE);
	if (!whole)
		sim_world_fail(host->world, "%s: its journal cannot be read back: %s", host->name,
			       host->journal.text);
	else if (gw_node_digest(twin) != gw_node_digest(host->node))
		sim_world_fail(host->world,
			       "%s: replaying its %" PRIu64
			       " records gives another state than the one it has",
			       host->name, host->journal.last_seq);
	gw_node_free(twin);
	host->digest_checks++;
}
