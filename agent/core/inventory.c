/*
 * All that this node knows of attempts, in parts that each fit a message. Attempts are marked when
 * the scheduler asks; each part takes the next marked ones, so the table may change in between.
 */
#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

/* With the longest texts (8 notes and an error of 255 bytes) a part stays under a message. */
#define PART_ATTEMPTS_MAX 256u

void gw_agent_ask_inventory(struct gw_agent *agent)
{
	for (uint32_t i = 0; i < agent->runs.table.count; i++) {
		struct gw_run *run = agent->runs.table.entries[i];

		run->inventory_due = true;
	}
	agent->inventory_due = true;
	agent->inventory_part = 0;
}

bool gw_agent_say_inventory(struct gw_agent *agent, struct gw_effects *effects)
{
	while (agent->inventory_due) {
		Godwit__Body body = GODWIT__BODY__INIT;
		Godwit__Inventory inventory = GODWIT__INVENTORY__INIT;
		struct gw_run *taken[PART_ATTEMPTS_MAX];
		struct gw_run_status *statuses;
		Godwit__TaskStatus **list;
		uint32_t count = 0;
		uint32_t i = 0;

		for (; i < agent->runs.table.count && count < PART_ATTEMPTS_MAX; i++) {
			struct gw_run *run = agent->runs.table.entries[i];

			if (run->inventory_due)
				taken[count++] = run;
		}
		statuses = gw_arena_alloc(&effects->arena, PART_ATTEMPTS_MAX * sizeof(*statuses));
		list = gw_arena_alloc(&effects->arena, PART_ATTEMPTS_MAX * sizeof(struct gw_run *));
		if (!statuses || !list) {
			effects->more = true;
			return false;
		}
		for (uint32_t k = 0; k < count; k++) {
			gw_run_status(taken[k], &statuses[k]);
			list[k] = &statuses[k].task;
		}
		inventory.n_attempts = count;
		inventory.attempts = list;
		inventory.capacity_version = agent->info.version;
		inventory.boot_id = gw_wire_id(&agent->now.boot_id);
		inventory.term_seen = agent->memory.term;
		inventory.part = agent->inventory_part;
		inventory.last = i == agent->runs.table.count;
		body.kind_case = GODWIT__BODY__KIND_INVENTORY;
		body.inventory = &inventory;
		if (!gw_agent_send(agent, effects, &body))
			return false;
		for (uint32_t k = 0; k < count; k++)
			taken[k]->inventory_due = false;
		agent->inventory_part++;
		agent->inventory_due = !inventory.last;
	}
	return true;
}
