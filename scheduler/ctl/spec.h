/*
 * A job as a person writes it: in YAML, or as options of `godwit run`. Both fill a gw_spec through
 * the same shapes (type, unit, range, default, help stand once, below); gw_spec_build then checks
 * what no single key can know and makes the message that a scheduler takes. Each value keeps its
 * mark, so that a contradiction is shown with file:line:column.
 */
#ifndef GODWIT_SCHEDULER_CTL_SPEC_H
#define GODWIT_SCHEDULER_CTL_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/limits.h"
#include "proto/base/time.h"
#include "proto/option.h"
#include "proto/schema.h"
#include "proto/wire.h"

#define GW_SPEC_ARENA_BYTES (8u << 20) /* for one spec of GW_SPEC_BYTES_MAX, unfolded */

/* An element of a list of texts. */
struct gw_spec_text {
	const char *text;
	struct gw_mark mark;
};

struct gw_spec_resources {
	uint64_t cpu_milli;
	uint64_t memory_bytes;
	uint64_t device_count;
	const char *device_type;
	struct gw_mark device_type_mark;
	uint64_t port_count;
	uint64_t process_count;
};

struct gw_spec_model {
	uint64_t stage_us;
	uint64_t micro_batches;
	uint64_t batch;
	uint64_t activation_bytes;
	uint64_t loss_budget_ppm;
};

struct gw_spec_disconnect {
	uint64_t lost_after_us;
	struct gw_mark lost_after_mark;
	uint64_t replace; /* as Godwit__Replace */
	struct gw_mark replace_mark;
	uint64_t reconcile; /* as Godwit__Reconcile */
	struct gw_mark reconcile_mark;
};

struct gw_spec {
	const char *name;
	struct gw_mark name_mark;
	uint64_t kind; /* enum gw_spec_kind */
	struct gw_mark kind_mark;
	uint64_t count;
	struct gw_mark count_mark;
	uint64_t stages;
	struct gw_mark stages_mark;
	struct gw_schema_list command; /* of struct gw_spec_text */
	struct gw_mark command_mark;
	struct gw_schema_list env; /* of "NAME=value" */
	struct gw_mark env_mark;
	const char *directory;
	struct gw_mark directory_mark;
	const char *user;
	struct gw_mark user_mark;
	struct gw_spec_resources resources;
	struct gw_schema_list rlimits; /* of "NAME=value" */
	struct gw_mark rlimits_mark;
	struct gw_schema_list sites; /* of struct gw_spec_text, as the next two */
	struct gw_schema_list not_sites;
	struct gw_schema_list residency;
	struct gw_schema_list labels; /* of "NAME=value" */
	struct gw_mark labels_mark;
	uint64_t spread; /* as Godwit__Spread */
	struct gw_mark spread_mark;
	uint64_t priority;
	uint64_t attempts;
	uint64_t lease_us;
	struct gw_mark lease_mark;
	struct gw_spec_disconnect disconnect;
	uint64_t time_limit_us;
	uint64_t grace_us;
	struct gw_spec_model model;
	struct gw_mark model_mark;
	uint64_t rtt_us_max;
};

enum gw_spec_kind {
	GW_SPEC_TASK,
	GW_SPEC_SERVE,
	GW_SPEC_TRAIN,
};

extern const char *const gw_spec_kinds[];
extern const char *const gw_spec_spreads[];
extern const char *const gw_spec_replaces[];
extern const char *const gw_spec_reconciles[];
extern const struct gw_schema gw_spec_text_item; /* a non-empty text with its mark */
extern const struct gw_schema gw_spec_fields[];
extern const struct gw_format gw_spec_format; /* godwit-job(5) */

/* Shapes that the file and `godwit run` share; key, offset and mark are each table's own. */
#define GW_SPEC_COUNT                                                                              \
	.type = GW_SCHEMA_COUNT, .fallback = "1", .min = 1, .max = GW_TASKS_PER_JOB_MAX,           \
	.help = "number of tasks; each finds its number in GODWIT_TASK_INDEX"
#define GW_SPEC_CPU                                                                                \
	.type = GW_SCHEMA_MILLI, .fallback = "1", .max = 4000000,                                  \
	.help = "processors of each task, in thousandths at the finest; 0: no share and no limit"
#define GW_SPEC_MEMORY                                                                             \
	.type = GW_SCHEMA_BYTES, .fallback = "256 MiB", .min = 1u << 20, .max = 1ull << 46,        \
	.help = "memory of each task"
#define GW_SPEC_DEVICES .type = GW_SCHEMA_COUNT, .max = 64, .help = "accelerators of each task"
#define GW_SPEC_DEVICE_TYPE                                                                        \
	.type = GW_SCHEMA_TEXT, .min = 1, .max = GW_NAME_BYTES_MAX,                                \
	.help = "type of the accelerators, as shown by \"godwit sites\"; any if absent"
#define GW_SPEC_DIRECTORY                                                                          \
	.type = GW_SCHEMA_TEXT, .min = 1, .max = 4095,                                             \
	.help = "absolute folder to start in; a fresh folder of the task's own if absent"
#define GW_SPEC_USER                                                                               \
	.type = GW_SCHEMA_TEXT, .min = 1, .max = GW_NAME_BYTES_MAX,                                \
	.help = "user to run as on the node; the agent's if absent"
#define GW_SPEC_SPREAD                                                                             \
	.type = GW_SCHEMA_CHOICE, .choices = gw_spec_spreads, .fallback = "none",                  \
	.help = "none: where it fits best; pack: all tasks in one site; site, node: no two tasks " \
		"in one site, on one node"
#define GW_SPEC_PRIORITY                                                                           \
	.type = GW_SCHEMA_COUNT, .fallback = "500", .max = 1000, .help = "higher goes first"
#define GW_SPEC_ATTEMPTS                                                                           \
	.type = GW_SCHEMA_COUNT, .fallback = "1", .min = 1, .max = 100,                            \
	.help = "tries of a task that fails"
#define GW_SPEC_TIME_LIMIT                                                                         \
	.type = GW_SCHEMA_DURATION, .min = GW_US_PER_S, .max = 366 * 86400 * GW_US_PER_S,          \
	.help = "longest run of a task, then it is ended; none if absent"
#define GW_SPEC_GRACE                                                                              \
	.type = GW_SCHEMA_DURATION, .fallback = "10 s", .max = 3600 * GW_US_PER_S,                 \
	.help = "time between the signals TERM and KILL"

/*
 * Checks the whole and makes the message in the arena, where it points at the spec's texts. 0;
 * -EINVAL with the mark of the value to blame.
 */
int gw_spec_build(const struct gw_spec *spec, struct gw_arena *arena,
		  const Godwit__JobSpec **ret_message, struct gw_parse_error *ret_error);

/* Both steps for a document: bytes to message. */
int gw_spec_read(const char *text, size_t size, struct gw_arena *arena,
		 const Godwit__JobSpec **ret_message, struct gw_parse_error *ret_error);

#endif
