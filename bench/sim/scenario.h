/*
 * What a run is asked to be: the grid, the stream of jobs, the faults and the time to come to rest
 * afterwards. Read from YAML (bench/sim/scenarios/NAME.yaml); the table in scenario.c says every
 * key. Faults are written as kinds from which a seed draws (`faults`, see plan.h), or one by one
 * (`events`); a scenario without the former is concrete, and only such a one is run.
 */
#ifndef GODWIT_BENCH_SIM_SCENARIO_H
#define GODWIT_BENCH_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/sim/faults.h"
#include "proto/base/arena.h"
#include "proto/schema.h"

/* Faults of one kind, to be drawn. */
struct sim_fault_draw {
	uint64_t kind; /* enum sim_fault_kind */
	uint64_t count;
	uint64_t lasts_min_us;
	uint64_t lasts_max_us;
	const char *amount_min; /* in the kind's own unit; "": the kind's own bounds */
	const char *amount_max;
	uint64_t amounts[2]; /* the two above, read */
};

struct sim_scenario {
	const char *name;
	const char *about;
	uint64_t seed; /* to be run with, unless another is asked for */
	bool swarm; /* a seed leaves kinds of faults out and draws the numbers below up to theirs */
	uint64_t duration_us; /* jobs and faults happen within this */
	uint64_t settle_us;   /* after which everything must rest within this */
	uint64_t sites;
	uint64_t nodes; /* a site */
	uint64_t cpus;  /* a node */
	uint64_t memory_bytes;
	uint64_t devices;
	uint64_t spread_km; /* sites lie in a square of this side; 1 ms of RTT for 100 km */
	uint64_t jitter_us;
	uint64_t rate_bps;
	uint64_t loss_ppm;
	uint64_t drift_ppm; /* clocks run fast or slow by up to this */
	uint64_t write_us;  /* the journal's disk takes up to this */
	uint64_t plan_us;   /* a planner takes up to this */
	bool once;          /* no fault here may make a task run a second time */

	struct {
		uint64_t every_us; /* mean time between two submissions */
		uint64_t tasks;    /* at most, of a job */
		uint64_t run_min_us;
		uint64_t run_max_us;
		uint64_t cpu_milli; /* at most, of a task */
		uint64_t memory_bytes;
		uint64_t lease_us;
		uint64_t grace_us;
		uint64_t fail_ppm;     /* tasks that exit with 1 */
		uint64_t gang_ppm;     /* jobs of kind serve */
		uint64_t cancel_ppm;   /* jobs cancelled while under way */
		uint64_t stubborn_ppm; /* tasks that ignore TERM */
		uint64_t attempts;     /* tries of a task that fails */
		uint64_t at_once_ppm;  /* jobs that are replaced at once, and so may run twice */
		uint64_t follow_ppm;   /* jobs whose output is followed */
		uint64_t lost_ppm;     /* of the client's requests and of the answers */
	} jobs;
	struct gw_schema_list faults; /* of struct sim_fault_draw */
	struct gw_schema_list events; /* of struct sim_fault_event */
};

#define SIM_EVENTS_MAX 10000u /* of a scenario, drawn ones included */

/* Reads a scenario by file name, or by the name of one that is built in. Texts live in the arena.
 * 0; -EINVAL or another negative errno with the sentence in ret_text [size]. */
int sim_scenario_read(const char *name, struct gw_arena *arena, struct sim_scenario *ret_scenario,
		      char *ret_text, size_t size);
/* "link-cut of s2" */
void sim_scenario_format_event(const struct sim_scenario *scenario,
			       const struct sim_fault_event *event, char *ret_text, size_t size);
/* Writes it as a file that reads as the same scenario; only what differs from the defaults. */
void sim_scenario_write(const struct sim_scenario *scenario, FILE *file);
/* As sim_scenario_read, of text in memory. `file` is its name in sentences. */
int sim_scenario_parse(const char *file, const char *bytes, size_t length, struct gw_arena *arena,
		       struct sim_scenario *ret_scenario, char *ret_text, size_t size);

#endif
