/*
 * One planner run: all requests of a grid, in their order, each by its kind's planner (batch,
 * serve). A run is pure and counts its work in units (one unit: one node or pair of sites looked
 * at), so that the same grid, units and seed give the same plan on every machine. When the units
 * end, what was found stands and the rest is marked unfinished.
 */
#ifndef GODWIT_SCHEDULER_PLACE_PLAN_H
#define GODWIT_SCHEDULER_PLACE_PLAN_H

#include "scheduler/place/grid.h"
#include "scheduler/place/predict.h"

#define GW_PLAN_REASON_BYTES 320u

struct gw_plan_place {
	struct gw_node_id node;
	uint32_t task_index;
	uint32_t site;
	uint32_t rtt_us;  /* the distance that the decision used: see the planner */
	uint16_t port;    /* first; 0: none needed */
	uint16_t devices; /* bit set over the node's devices */
};

struct gw_plan_verdict {
	bool chosen;
	const char *reason; /* one sentence */
};

struct gw_plan_job {
	struct gw_job_id job;
	struct gw_plan_place *places; /* [place_count] */
	uint32_t place_count;         /* for a gang: all or 0 */
	bool unfinished;              /* the work units ended first */
	struct gw_prediction prediction;
	char reason[GW_PLAN_REASON_BYTES]; /* why not all were placed; empty: they were */
	struct gw_plan_verdict *verdicts;  /* [site_count], or NULL if none were wanted */
};

struct gw_plan_result {
	struct gw_arena arena;    /* of all below */
	struct gw_plan_job *jobs; /* [job_count] as requested */
	uint32_t job_count;
	uint32_t site_count;
};

struct gw_work {
	uint64_t units_left;
	uint64_t seed;
};

/* Spends units; false, with nothing left, when there are not enough. */
bool gw_work_spend(struct gw_work *work, uint64_t units);
/* A number for breaking ties, the same for the same seed and index. */
uint64_t gw_work_tie(const struct gw_work *work, uint32_t index);

/* A gw_plan_f (proto/step): `snapshot` is a struct gw_grid, which is freed; the result is a struct
 * gw_plan, or NULL when out of memory. */
void *gw_plan_run(void *snapshot, uint64_t work_units, uint64_t seed);
struct gw_plan_result *gw_plan_free(struct gw_plan_result *plan);

/*
 * The planners. Each fills `job` (its job id is set, its places have room for all tasks) and takes
 * from the grid what it gives.
 *
 * batch: independent tasks, as many as fit. They go to the site that holds the job already, else to
 * the smallest that takes them all, else to the roomiest, then on to the nearest sites by RTT;
 * within a site to the nodes that are left with least. rtt_us of a place: from the first site.
 *
 * serve: the stages of a pipeline, all or none. One site if it fits and the spread allows it; else
 * consecutive stages over a ring of sites with the least loop RTT (branch and bound, anytime), and
 * then only within the job's loss budget, unless the spread asked for several sites. rtt_us of a
 * place: the whole loop's.
 */
void gw_batch_place(struct gw_grid *grid, const struct gw_request *request, struct gw_work *work,
		    struct gw_plan_job *job);
void gw_serve_place(struct gw_grid *grid, const struct gw_request *request, struct gw_work *work,
		    struct gw_plan_job *job);
/* Fills `verdicts` [site_count], texts in `arena`, for a job as placed. False: no memory. */
bool gw_explain(const struct gw_grid *grid, const struct gw_request *request,
		const struct gw_plan_job *job, struct gw_arena *arena,
		struct gw_plan_verdict *verdicts);

/* Shared by the planners: places the request's next task on this node. False: it does not fit. */
bool gw_plan_put(struct gw_grid *grid, const struct gw_request *request, uint32_t node,
		 uint32_t rtt_us, struct gw_plan_job *job);

/* A node that could take tasks of a request, and how well. */
struct gw_candidate {
	double leftover; /* share of the node that would stay unused: less is better */
	uint64_t tie;
	uint32_t node;
	uint32_t room;
};

/* The candidates of one site, best first, in ret_list [node_count of the site]. `room_max` bounds
 * each one's room. Returns their count; spends a unit for each node. */
uint32_t gw_plan_candidates(const struct gw_grid *grid, const struct gw_request *request,
			    uint32_t site, uint32_t room_max, struct gw_work *work,
			    struct gw_candidate *ret_list);

#endif
