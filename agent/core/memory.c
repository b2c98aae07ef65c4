/*
 * What of the agent must outlive its process, as records of a journal: the highest term heard, and
 * from when leases count. take_record() is its only writer, both when a record is made and when it
 * is replayed.
 *
 * A renewal is written coarsely: an old one only ends leases sooner. An agent without attempts
 * writes nothing.
 */
#include <errno.h>

#include <agent_record.pb-c.h>

#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

#define RECORD_BYTES_MAX 4096u        /* decoded; the records of today take a tenth */
#define RENEWAL_US (60 * GW_US_PER_S) /* a renewal is written this seldom */
#define RENEWALS_PER_LEASE 4u         /* or, with short leases, this often in one */

/* Empty: the zero id, of an agent that was never renewed. */
static bool read_boot_id(ProtobufCBinaryData field, struct gw_id *ret_id)
{
	*ret_id = (struct gw_id){0};
	return field.len == 0 || gw_wire_read_id(field, ret_id);
}

static int take_renewal(struct gw_agent_memory *memory, const Godwit__LeaseRenewed *renewed)
{
	struct gw_id boot_id;

	if (!renewed || !read_boot_id(renewed->boot_id, &boot_id))
		return -EPROTO;
	memory->boot_id = boot_id;
	memory->renewed_us = renewed->renewed_us;
	memory->lease_us = renewed->lease_us;
	return 0;
}

static int take_record(struct gw_agent *agent, uint64_t seq, const Godwit__AgentRecord *record)
{
	int r = -EPROTO;

	if (record->version != GW_AGENT_RECORD_VERSION || seq != agent->seq + 1)
		return -EPROTO;
	switch (record->kind_case) {
	case GODWIT__AGENT_RECORD__KIND_TERM_SEEN:
		if (record->term_seen->term > agent->memory.term) {
			agent->memory.term = record->term_seen->term;
			r = 0;
		}
		break;
	case GODWIT__AGENT_RECORD__KIND_LEASE_RENEWED:
		r = take_renewal(&agent->memory, record->lease_renewed);
		break;
	case GODWIT__AGENT_RECORD__KIND__NOT_SET:
	case _GODWIT__AGENT_RECORD__KIND__CASE_IS_INT_SIZE:
		break;
	}
	if (r == 0)
		agent->seq = seq;
	return r;
}

int gw_agent_apply(struct gw_agent *agent, uint64_t seq, const uint8_t *bytes, size_t size)
{
	const Godwit__AgentRecord *record;
	struct gw_arena arena;
	int r;

	CHECK(!agent->started);
	gw_arena_init(&arena, RECORD_BYTES_MAX);
	record = gw_wire_decode(&godwit__agent_record__descriptor, &arena, bytes, size);
	r = record ? take_record(agent, seq, record) : -EPROTO;
	gw_arena_deinit(&arena);
	return r;
}

static void fill_renewal(const struct gw_agent_memory *memory, Godwit__LeaseRenewed *renewed)
{
	godwit__lease_renewed__init(renewed);
	renewed->boot_id = gw_wire_id(&memory->boot_id);
	renewed->renewed_us = memory->renewed_us;
	renewed->lease_us = memory->lease_us;
}

int gw_agent_snapshot(const struct gw_agent *agent, gw_snapshot_f *piece, void *context)
{
	Godwit__AgentSnapshot snapshot = GODWIT__AGENT_SNAPSHOT__INIT;
	Godwit__LeaseRenewed renewed;
	uint8_t bytes[RECORD_BYTES_MAX];
	size_t size;

	fill_renewal(&agent->memory, &renewed);
	snapshot.version = GW_AGENT_RECORD_VERSION;
	snapshot.seq = agent->seq;
	snapshot.term = agent->memory.term;
	snapshot.renewed = &renewed;
	size = gw_wire_size(&snapshot.base);
	CHECK(size <= sizeof(bytes));
	gw_wire_encode(&snapshot.base, bytes);
	return piece(context, bytes, size);
}

int gw_agent_restore(struct gw_agent *agent, const uint8_t *bytes, size_t size)
{
	const Godwit__AgentSnapshot *snapshot;
	struct gw_arena arena;
	int r = -EPROTO;

	if (agent->started || agent->seq != 0) /* it is one piece, before any record */
		return -EPROTO;
	gw_arena_init(&arena, RECORD_BYTES_MAX);
	snapshot = gw_wire_decode(&godwit__agent_snapshot__descriptor, &arena, bytes, size);
	if (snapshot && snapshot->version == GW_AGENT_RECORD_VERSION && snapshot->seq > 0)
		r = take_renewal(&agent->memory, snapshot->renewed);
	if (r == 0) {
		agent->memory.term = snapshot->term;
		agent->seq = snapshot->seq;
	}
	gw_arena_deinit(&arena);
	return r;
}

/* False: no room, nothing happened. */
static bool commit(struct gw_agent *agent, Godwit__AgentRecord *record, struct gw_effects *effects)
{
	struct gw_effect *effect;
	uint8_t *bytes;
	size_t size;

	record->version = GW_AGENT_RECORD_VERSION;
	size = gw_wire_size(&record->base);
	bytes = gw_arena_alloc(&effects->arena, size);
	effect = bytes ? gw_effects_add(effects, GW_EFFECT_APPEND, 0) : NULL;
	if (!effect) {
		effects->more = true;
		return false;
	}
	gw_wire_encode(&record->base, bytes);
	effect->append.seq = agent->seq + 1;
	effect->append.bytes = bytes;
	effect->append.size = size;
	CHECK(take_record(agent, agent->seq + 1, record) == 0); /* a record that we made */
	return true;
}

void gw_agent_take_term(struct gw_agent *agent, uint64_t term, struct gw_effects *effects)
{
	Godwit__AgentRecord record = GODWIT__AGENT_RECORD__INIT;
	Godwit__TermSeen seen = GODWIT__TERM_SEEN__INIT;

	if (term == agent->memory.term)
		return;
	seen.term = term;
	record.kind_case = GODWIT__AGENT_RECORD__KIND_TERM_SEEN;
	record.term_seen = &seen;
	CHECK(commit(agent, &record, effects)); /* first of its step: there is room */
	agent->term_seq = agent->seq;
}

/* A renewal later than another by this is worth telling. */
static uint64_t renewal_step_us(uint64_t lease_us)
{
	return lease_us / RENEWALS_PER_LEASE < RENEWAL_US ? lease_us / RENEWALS_PER_LEASE
							  : RENEWAL_US;
}

static bool renewal_due(const struct gw_agent *agent)
{
	const struct gw_agent_memory *kept = &agent->memory;

	if (agent->lease_us == 0)
		return false;
	if (agent->lease_us != kept->lease_us)
		return true;
	if (agent->renewed_us == 0)
		return false;
	return !gw_id_equal(kept->boot_id, agent->now.boot_id) ||
	       agent->renewed_us - kept->renewed_us >= renewal_step_us(agent->lease_us);
}

uint64_t gw_agent_keeper_renewal_us(const struct gw_node *node, uint64_t told_us)
{
	const struct gw_agent *agent = (const struct gw_agent *)node;
	uint64_t renewed_us = agent->renewed_us;
	uint64_t now_us = agent->now.mono_us;

	if (renewed_us == 0 && gw_id_equal(agent->memory.boot_id, agent->now.boot_id))
		renewed_us = agent->memory.renewed_us; /* the agent's before this one */
	if (renewed_us <= told_us || agent->lease_us == 0)
		return 0;
	if (renewed_us - told_us < renewal_step_us(agent->lease_us) &&
	    now_us - told_us < agent->lease_us / 2)
		return 0;
	return renewed_us;
}

bool gw_agent_say_renewal(struct gw_agent *agent, struct gw_effects *effects)
{
	struct gw_agent_memory memory = agent->memory;
	Godwit__AgentRecord record = GODWIT__AGENT_RECORD__INIT;
	Godwit__LeaseRenewed renewed;

	if (!renewal_due(agent))
		return true;
	memory.lease_us = agent->lease_us;
	if (agent->renewed_us != 0) { /* else the agent's before this one still counts */
		memory.boot_id = agent->now.boot_id;
		memory.renewed_us = agent->renewed_us;
	}
	fill_renewal(&memory, &renewed);
	record.kind_case = GODWIT__AGENT_RECORD__KIND_LEASE_RENEWED;
	record.lease_renewed = &renewed;
	return commit(agent, &record, effects);
}
