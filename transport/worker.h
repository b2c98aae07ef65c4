/*
 * A few threads that run planners, so that planning never blocks a step. Results come back as calls
 * on the reactor's thread.
 */
#ifndef GODWIT_TRANSPORT_WORKER_H
#define GODWIT_TRANSPORT_WORKER_H

#include <stdint.h>

#include "proto/step.h"

#define GW_WORKER_QUEUE_MAX 64u

struct gw_reactor;
struct gw_worker;

typedef void gw_planned_f(void *context, uint64_t plan, void *result);

struct gw_plan {
	uint64_t plan; /* handle, echoed */
	gw_plan_f *run;
	void *snapshot;
	uint64_t work_units;
	uint64_t seed;
};

int gw_worker_new(struct gw_reactor *reactor, uint32_t thread_count, gw_planned_f *planned,
		  void *context, struct gw_worker **ret_worker);
/* Waits for the plans that run; those still queued run with no work units. All results, those
 * not yet delivered too, are delivered before it returns; none may ask for another plan. */
struct gw_worker *gw_worker_free(struct gw_worker *worker);
/* 0; -ENOBUFS: GW_WORKER_QUEUE_MAX wait already, nothing was taken. */
int gw_worker_run(struct gw_worker *worker, const struct gw_plan *plan);

#endif
