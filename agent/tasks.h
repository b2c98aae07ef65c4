/*
 * Carries the core's orders (SPAWN, KILL, FORGET, STREAM) to the keeper, and the keeper's word back
 * as events. An order stays on the list until the keeper has answered it; after a keeper that went
 * away is back, what was not answered is said again, in order: every order is idempotent there.
 *
 *	start:	gw_tasks_new starts or finds the keeper and connects; SPAWNED and EXITED are fed for
 *		what it holds, then `ready` is called, once
 *	run:	gw_tasks_effect for each effect of the four kinds
 *	stop:	gw_tasks_free; keeper and tasks live on
 */
#ifndef GODWIT_AGENT_TASKS_H
#define GODWIT_AGENT_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/starter.h"
#include "proto/step.h"
#include "transport/fault.h"

#define GW_TASKS_ORDERS_MAX 16384u /* not yet answered by the keeper */
#define GW_TASKS_STARTS_MAX 256u   /* of them SPAWN; more are declined, and told so at once */

struct gw_reactor;
struct gw_tasks;

struct gw_tasks_options {
	struct gw_reactor *reactor;
	struct gw_keeper_options keeper; /* its texts must outlive the tasks */
	void (*feed)(void *context, struct gw_event *event);
	void (*ready)(void *context);
	/* The answer to gw_tasks_ask_usage: valid during the call. */
	void (*usage)(void *context, Godwit__TaskUsage **tasks, size_t count);
	void *context;
};

/* 0; negative errno with a sentence. */
int gw_tasks_new(const struct gw_tasks_options *options, struct gw_tasks **ret_tasks,
		 struct gw_fault *fault);
struct gw_tasks *gw_tasks_free(struct gw_tasks *tasks);
/* May be called from within a step's effects: nothing is fed before it returns. */
void gw_tasks_effect(struct gw_tasks *tasks, const struct gw_effect *effect);
/* A SPAWN that the agent itself refuses: the core hears so, the keeper nothing. Same rule. */
void gw_tasks_refuse(struct gw_tasks *tasks, const struct gw_effect *spawn, const char *why);
/* From when leases count (mono_us of this boot): the keeper ends what outlives its lease while
 * there is no agent. Same rule as for effects. */
void gw_tasks_renew(struct gw_tasks *tasks, uint64_t renewed_us);
/* Why starts would not be answered now: there has been no keeper for a while, or it is silent. NULL:
 * all is well. Valid until the next call. */
const char *gw_tasks_trouble(const struct gw_tasks *tasks);
/* Asks the keeper for the usage of what runs. False: it cannot be asked now. */
bool gw_tasks_ask_usage(struct gw_tasks *tasks);

#endif
