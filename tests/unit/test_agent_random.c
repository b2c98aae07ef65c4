/*
 * Random sequences of events against the agent's core, with a model of keeper and scheduler. The
 * seed is printed; the same seed is the same run. After every step the core's own invariants are
 * checked, and beside them what the world may rely on:
 *  - an attempt is spawned at most once while the keeper has any trace of it;
 *  - no two attempts of one task run at once;
 *  - where records last late, nothing is carried out that a crash could make unknown: neither the
 *    term under which it was ordered nor the lease of what it started;
 *  - at the end, after reconciliation, every end has been told and forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/agent.h"
#include "proto/base/limits.h"
#include "proto/base/prng.h"
#include "tests/unit/test_agent_fixture.h"

#define JOBS 6u
#define ATTEMPTS 3u
#define SLOTS (JOBS * ATTEMPTS)
#define STEPS 20000u

enum kept {
	KEPT_NOT,   /* the keeper never heard of it */
	KEPT_ASKED, /* SPAWN is there, not begun */
	KEPT_RUNNING,
	KEPT_ENDED,
	KEPT_FENCED, /* a tombstone, or forgotten: never again */
};

struct model {
	struct fixture f;
	struct gw_prng prng;
	enum kept kept[SLOTS];
	bool killed[SLOTS]; /* KILL came for it */
	bool heard_end
		[SLOTS]; /* a TaskStatus told the scheduler of its end, or that it is declined */
	uint32_t rounds[JOBS]; /* a job all of whose attempts are over gives way to a new one */
	uint64_t heartbeat;    /* number of the last one */
	uint32_t spawns;
	uint32_t declined;
	bool open;
};

static struct gw_attempt_id id_of(const struct model *m, uint32_t slot)
{
	uint32_t job = slot / ATTEMPTS;

	return fixture_attempt(1 + job + (uint64_t)JOBS * m->rounds[job], 1 + slot % ATTEMPTS);
}

/* What waited for the disk may speak of a job that has given way since. */
static bool stale(const struct model *m, struct gw_attempt_id id)
{
	uint64_t number = gw_id_counter(id.job.id) - 1;

	return m->f.slow && number / JOBS < m->rounds[number % JOBS];
}

static uint32_t slot_of(const struct model *m, struct gw_attempt_id id)
{
	uint64_t number = gw_id_counter(id.job.id) - 1;
	uint32_t job = (uint32_t)(number % JOBS);

	assert_int_equal(number / JOBS, m->rounds[job]); /* nothing is said of the forgotten */
	assert_in_range(id.attempt, 1, ATTEMPTS);
	return job * ATTEMPTS + id.attempt - 1;
}

static bool kept_alive(enum kept kept)
{
	return kept == KEPT_ASKED || kept == KEPT_RUNNING;
}

static void see_spawn(struct model *m, uint32_t slot)
{
	assert_int_equal(m->kept[slot], KEPT_NOT);
	for (uint32_t other = slot - slot % ATTEMPTS; other < slot - slot % ATTEMPTS + ATTEMPTS;
	     other++)
		assert_false(kept_alive(m->kept[other]));
	m->kept[slot] = KEPT_ASKED;
	m->spawns++;
}

static void see(void *context, const struct gw_effect *effect, const Godwit__Body *body)
{
	struct model *m = context;
	struct gw_attempt_id id;
	uint32_t slot;

	if (effect->kind == GW_EFFECT_SPAWN) {
		see_spawn(m, slot_of(m, effect->spawn.attempt));
	} else if (effect->kind == GW_EFFECT_KILL) {
		if (stale(m, effect->kill.attempt))
			return;
		slot = slot_of(m, effect->kill.attempt);
		m->killed[slot] = true;
		if (m->kept[slot] == KEPT_NOT)
			m->kept[slot] = KEPT_FENCED;
	} else if (effect->kind == GW_EFFECT_FORGET) {
		if (stale(m, effect->forget.attempt))
			return;
		slot = slot_of(m, effect->forget.attempt);
		assert_false(kept_alive(m->kept[slot]));
		m->kept[slot] = KEPT_FENCED;
	} else if (body && body->kind_case == GODWIT__BODY__KIND_HEARTBEAT) {
		assert_true(m->open);
		m->heartbeat = body->heartbeat->number;
	} else if (body && body->kind_case == GODWIT__BODY__KIND_TASK_STATUS) {
		assert_true(m->open || m->f.slow);
		if (!m->open)
			return; /* said in time, but it lasted too late: the host drops it */
		assert_true(gw_wire_read_attempt(body->task_status->attempt, &id));
		if (stale(m, id))
			return;
		slot = slot_of(m, id);
		if (body->task_status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED) {
			assert_int_equal(m->kept[slot], KEPT_ENDED);
			m->heard_end[slot] = true;
		} else if (body->task_status->declined) {
			assert_int_equal(body->task_status->state,
					 GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START);
			m->heard_end[slot] = true;
		}
	}
}

static void end_attempt(struct model *m, uint32_t slot)
{
	m->kept[slot] = KEPT_ENDED;
	fixture_exited(&m->f, id_of(m, slot), GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
}

static void keeper_moves(struct model *m, uint32_t slot)
{
	if (m->kept[slot] == KEPT_ASKED && !m->killed[slot] &&
	    gw_prng_chance_ppm(&m->prng, 100000)) {
		m->kept[slot] = KEPT_NOT;
		fixture_declined(&m->f, id_of(m, slot), "its disk is full");
		m->declined++;
	} else if (m->kept[slot] == KEPT_ASKED) {
		m->kept[slot] = KEPT_RUNNING;
		fixture_spawned(&m->f, id_of(m, slot), NULL);
	} else if (m->kept[slot] == KEPT_RUNNING &&
		   (m->killed[slot] || gw_prng_chance_ppm(&m->prng, 300000))) {
		end_attempt(m, slot);
	}
}

/* The agent dies and comes back; the keeper tells it all that it holds. */
static void restart(struct model *m)
{
	bool alive = false;

	m->open = false;
	fixture_restart(&m->f);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		alive = alive || kept_alive(m->kept[slot]);
	assert_true(!alive || gw_agent_memory(m->f.node).lease_us != 0);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		if (kept_alive(m->kept[slot])) {
			m->kept[slot] = KEPT_RUNNING;
			fixture_spawned(&m->f, id_of(m, slot), NULL);
		} else if (m->kept[slot] == KEPT_ENDED) {
			fixture_exited(&m->f, id_of(m, slot), GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED,
				       0);
		}
	}
	fixture_begin(&m->f);
}

/* The scheduler does not start what the keeper's fence would refuse; START of a fenced attempt is
 * the keeper's test. Here only starts of attempts that are unknown, or known to the agent. */
static void scheduler_moves(struct model *m, uint32_t slot)
{
	switch (gw_prng_below(&m->prng, 4)) {
	case 0:
		/* A FORGET may be on its way to the disk. */
		if (m->kept[slot] != KEPT_FENCED && !(m->f.slow && m->heard_end[slot]))
			fixture_start(&m->f, id_of(m, slot),
				      (1 + gw_prng_below(&m->prng, 100)) * GW_US_PER_S);
		break;
	case 1:
		if (gw_prng_chance_ppm(&m->prng, 300000))
			fixture_kill(&m->f, id_of(m, slot));
		break;
	case 2:
		if (m->heard_end[slot])
			fixture_forget(&m->f, id_of(m, slot));
		break;
	default:
		fixture_reply(&m->f, m->heartbeat, (1 + gw_prng_below(&m->prng, 60)) * GW_US_PER_S);
	}
}

/* A job whose attempts all are over makes room for a fresh one. */
static void renew(struct model *m, uint32_t job)
{
	uint32_t over = 0;

	for (uint32_t slot = job * ATTEMPTS; slot < (job + 1) * ATTEMPTS; slot++)
		over += m->kept[slot] == KEPT_FENCED ||
			(m->kept[slot] == KEPT_ENDED && m->heard_end[slot]);
	if (over < ATTEMPTS)
		return;
	for (uint32_t slot = job * ATTEMPTS; slot < (job + 1) * ATTEMPTS; slot++) {
		fixture_forget(&m->f, id_of(m, slot));
		m->kept[slot] = KEPT_NOT;
		m->killed[slot] = false;
		m->heard_end[slot] = false;
	}
	m->rounds[job]++;
}

static void move(struct model *m)
{
	uint32_t slot = (uint32_t)gw_prng_below(&m->prng, SLOTS);

	switch (gw_prng_below(&m->prng, 8)) {
	case 0:
	case 1:
		keeper_moves(m, slot);
		break;
	case 2:
		fixture_pass(&m->f, gw_prng_below(&m->prng, 3 * GW_US_PER_S));
		break;
	case 3:
		if (gw_prng_chance_ppm(&m->prng, 100000))
			restart(m);
		break;
	case 4:
		if (m->open && gw_prng_chance_ppm(&m->prng, 200000)) {
			m->open = false;
			fixture_down(&m->f);
		} else if (!m->open) {
			m->open = true;
			fixture_up(&m->f, false);
			fixture_ask_inventory(&m->f);
		}
		break;
	case 5:
		if (m->f.slow && gw_prng_chance_ppm(&m->prng, 500000))
			fixture_durable(&m->f);
		else if (gw_prng_chance_ppm(&m->prng, 20000))
			m->f.term++; /* another leader */
		break;
	default:
		if (!m->open)
			break;
		scheduler_moves(m, slot);
		renew(m, slot / ATTEMPTS);
	}
	gw_buf_consume(&m->f.lines, m->f.lines.size);
}

/* Calm: what runs ends, the session opens anew, the scheduler forgets what it heard. */
static void settle(struct model *m)
{
	if (m->open)
		fixture_down(&m->f);
	m->f.slow = false;
	fixture_durable(&m->f);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		if (kept_alive(m->kept[slot]))
			end_attempt(m, slot);
	m->open = true;
	fixture_up(&m->f, false);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		fixture_forget(&m->f, id_of(m, slot));
	assert_int_equal(gw_agent_counts(m->f.node).attempts, 0);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		assert_true(m->kept[slot] != KEPT_ENDED || m->heard_end[slot]);
}

static uint32_t run_seed(uint64_t seed)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	gw_prng_init(&m.prng, seed);
	fixture_init(&m.f, 3 + (uint32_t)gw_prng_below(&m.prng, 6));
	m.f.slow = gw_prng_chance_ppm(&m.prng, 500000);
	m.f.see = see;
	m.f.context = &m;
	fixture_begin(&m.f);
	for (uint32_t i = 0; i < STEPS; i++)
		move(&m);
	settle(&m);
	assert_true(m.declined > 0);
	fixture_deinit(&m.f);
	return m.spawns;
}

static void random_sequences(void **state)
{
	const char *given = getenv("GODWIT_SEED");
	uint64_t first = given ? strtoull(given, NULL, 0) : 1;
	uint64_t last = given ? first : 60;
	uint32_t spawns = 0;

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		(void)printf("seed %llu\n", (unsigned long long)seed);
		(void)fflush(stdout);
		spawns += run_seed(seed);
	}
	(void)printf("%u spawns\n", spawns);
	assert_true(spawns > 0); /* a run that starts nothing shows nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_sequences)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
