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
#define JOURNAL_BYTES_MAX (1u << 30)
#define CONTINUES_MAX 100000u /* a core that never has enough is a bug */
#define WRITE_US_MIN 50u

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
static void written(struct sim_timer *timer);

void sim_host_init(struct sim_host *host, struct sim_shared *shared, const struct sim_host_ops *ops,
		   void *owner)
{
	host->shared = shared;
	host->world = shared->world;
	host->ops = ops;
	host->owner = owner;
	gw_buf_init(&host->journal.bytes, JOURNAL_BYTES_MAX);
	sim_timer_init(&host->tick, tick, host);
	sim_timer_init(&host->write, written, host);
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
	sim_timer_clear(host->world, &host->write);
	gw_buf_deinit(&host->journal.bytes);
	free(host->journal.ends);
}

static void start_write(struct sim_host *host)
{
	struct sim_journal *journal = &host->journal;

	if (host->write.item.position != 0 || journal->durable_count == journal->count)
		return;
	journal->writing_count = journal->count;
	sim_timer_set(host->world, &host->write,
		      host->world->now_us +
			      sim_between(host->world, WRITE_US_MIN, host->write_us_max));
}

static void append(struct sim_host *host, const struct gw_effect *effect)
{
	struct sim_journal *journal = &host->journal;

	if (effect->append.seq != (uint64_t)journal->count + 1) {
		sim_world_fail(host->world,
			       "%s: a record numbered %" PRIu64 " follows number %" PRIu32
			       " in the journal",
			       host->name, effect->append.seq, journal->count);
		return;
	}
	if (journal->count == journal->capacity) {
		journal->capacity = journal->capacity ? journal->capacity * 2 : 256;
		journal->ends = realloc(journal->ends, journal->capacity * sizeof(*journal->ends));
		CHECK(journal->ends);
	}
	CHECK(gw_buf_append(&journal->bytes, effect->append.bytes, effect->append.size) == 0);
	journal->ends[journal->count++] = journal->bytes.size;
	start_write(host);
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
	       host->held_first->effect.after_seq <= host->journal.durable_count) {
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
			 (host->held_first || effect->after_seq > host->journal.durable_count))
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
	sim_timer_set(host->world, &host->tick,
		      sim_clock_true(&host->clock, gw_node_wake_us(host->node)));
}

static void tick(struct sim_timer *timer)
{
	struct gw_event event = {.kind = GW_EVENT_TICK};

	sim_host_step(timer->owner, &event);
}

static void written(struct sim_timer *timer)
{
	struct sim_host *host = timer->owner;
	struct gw_event event = {.kind = GW_EVENT_DURABLE};

	host->journal.durable_count = host->journal.writing_count;
	release_held(host);
	event.durable.seq = host->journal.durable_count;
	sim_host_step(host, &event);
	start_write(host);
}

static void replay(struct sim_host *host, struct gw_node *node, uint32_t count)
{
	size_t from = 0;

	for (uint32_t i = 0; i < count; i++) {
		size_t to = host->journal.ends[i];
		bool hole = host->shared->bug == SIM_BUG_JOURNAL_HOLE && i == count / 2;
		int error = 0;

		if (!hole)
			error = gw_node_apply(node, (uint64_t)i + 1,
					      host->journal.bytes.bytes + from, to - from);
		if (error < 0)
			sim_world_fail(host->world, "%s: record %" PRIu32 " cannot be replayed: %s",
				       host->name, i + 1, strerror(-error));
		from = to;
	}
}

void sim_host_start(struct sim_host *host)
{
	struct gw_event event = {.kind = GW_EVENT_START};

	CHECK(!host->node);
	host->epoch++;
	host->node = host->ops->make(host);
	sim_say(host->world, host->name, "START epoch %" PRIu64 ", %" PRIu32 " records replayed",
		host->epoch, host->journal.count);
	replay(host, host->node, host->journal.count);
	host->ops->adopt(host);
	sim_host_step(host, &event);
	host->ops->started(host);
}

void sim_host_crash(struct sim_host *host)
{
	struct sim_journal *journal = &host->journal;

	if (!host->node)
		return;
	sim_say(host->world, host->name, "CRASH, %" PRIu32 " records were not durable",
		journal->count - journal->durable_count);
	gw_node_free(host->node);
	host->node = NULL;
	drop_held(host);
	sim_timer_clear(host->world, &host->tick);
	sim_timer_clear(host->world, &host->write);
	/* A write in flight may have reached the disk, wholly or in part. */
	journal->count = (uint32_t)sim_between(host->world, journal->durable_count, journal->count);
	journal->durable_count = journal->count;
	journal->bytes.size = journal->count ? journal->ends[journal->count - 1] : 0;
	host->ops->crashed(host);
}

void sim_host_check_replay(struct sim_host *host)
{
	struct gw_node *twin;

	if (!host->node)
		return;
	twin = host->ops->make(host);
	replay(host, twin, host->journal.count);
	if (gw_node_digest(twin) != gw_node_digest(host->node))
		sim_world_fail(host->world,
			       "%s: replaying its %" PRIu32
			       " records gives another state than the one it has",
			       host->name, host->journal.count);
	gw_node_free(twin);
	host->digest_checks++;
}
