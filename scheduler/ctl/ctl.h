/*
 * What every command shares: the common options, the connection, errors in one form, and what a
 * terminal shows. A command is one file, cmd_NAME.c, with its options and its run function.
 *
 * With --json stdout carries exactly one JSON value, also for a failure: {"error": "..."}.
 */
#ifndef GODWIT_SCHEDULER_CTL_CTL_H
#define GODWIT_SCHEDULER_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "proto/base/time.h"
#include "proto/option.h"
#include "proto/wire.h"
#include "transport/client.h"

#define CTL_REPLY_MARGIN_US (5 * GW_US_PER_S) /* on top of a wait that a request itself asks */

#define CTL_EXIT_INTERRUPTED 130 /* left by ^C */

/* First member of every command's options. */
struct ctl_options {
	bool json;
	const char *config;
	struct gw_mark config_mark;
	uint64_t timeout_us;
};

struct ctl {
	const struct ctl_options *options;
	struct gw_client *client;
	struct gw_arena arena; /* what a command keeps */
};

extern const struct gw_command ctl_cmd_cancel;
extern const struct gw_command ctl_cmd_explain;
extern const struct gw_command ctl_cmd_jobs;
extern const struct gw_command ctl_cmd_join;
extern const struct gw_command ctl_cmd_keygen;
extern const struct gw_command ctl_cmd_logs;
extern const struct gw_command ctl_cmd_plan;
extern const struct gw_command ctl_cmd_revoke;
extern const struct gw_command ctl_cmd_run;
extern const struct gw_command ctl_cmd_sites;
extern const struct gw_command ctl_cmd_submit;
extern const struct gw_command ctl_cmd_version;

/* The folder of this user's identity: --config, GODWIT_CONFIG, ~/.config/godwit. False: its path
 * is too long. */
bool ctl_directory(const struct ctl_options *options, char *ret_path, size_t size);

/* Says what failed, in one sentence, and gives the exit code 1. */
int ctl_fail(const struct ctl_options *options, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same for a line that cannot be meant: exit code 2. */
int ctl_misuse(const struct ctl_options *options, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void ctl_init(struct ctl *ctl, const struct ctl_options *options);
/* 0, or an exit code once the sentence is said. ctl_close follows in both cases. */
int ctl_connect(struct ctl *ctl);
/* Both. */
int ctl_open(struct ctl *ctl, const struct ctl_options *options);
void ctl_close(struct ctl *ctl);

/* Asks and waits; asks again when the scheduler has restarted (every request may be repeated).
 * NULL: failed and said so. `kind` is what the answer must be; valid until the next call. */
const Godwit__Body *ctl_call(struct ctl *ctl, const Godwit__Body *request, int kind);
/* One try, nothing said: 0 or gw_client_call's error. */
int ctl_try(struct ctl *ctl, const Godwit__Body *request, int kind, uint64_t wait_us,
	    const Godwit__Body **ret_reply, struct gw_fault *fault);

/* A job by its id, by the last number of it, or by its name (the newest one). False: said so. */
bool ctl_find_job(struct ctl *ctl, const char *text, struct gw_id *ret_id);
/* One page of tasks of a job, from `offset`; NULL: failed and said so, or no such job. */
const Godwit__JobInfo *ctl_job(struct ctl *ctl, const struct gw_id *id, uint32_t offset);
/* The job with all its tasks, in the arena. */
const Godwit__JobInfo *ctl_whole_job(struct ctl *ctl, const struct gw_id *id);
bool ctl_job_ended(const Godwit__JobInfo *job);
/* What `run` and `submit --wait` exit with: the largest exit code of a task, 128 + signal for one
 * ended by a signal; 1 where a job failed and no task says why. */
int ctl_job_exit(const Godwit__JobInfo *job);
/* Tasks in none of the message's counts. */
uint32_t ctl_job_cancelled(const Godwit__JobInfo *job);
/* 0, or an exit code once said. */
int ctl_cancel(struct ctl *ctl, const struct gw_id *id);
/* Submits, or with `dry_run` asks for the plan only. The reply is valid until the next call; NULL:
 * failed or refused, and said so (a dry run's refusal is left to the caller). */
const Godwit__SubmitReply *ctl_submit(struct ctl *ctl, const Godwit__JobSpec *spec, bool dry_run);
/* A job spec from a file ("-": stdin). NULL: said so. */
const Godwit__JobSpec *ctl_read_spec(struct ctl *ctl, const char *path);

/* ^C and TERM are counted instead of ending the program; one that nobody has asked for yet ends a
 * wait for the scheduler with -EINTR. */
void ctl_catch_interrupts(void);
unsigned ctl_interrupts(void);
/* Whether one came since ctl_interrupts was last asked: a failure is of its making then. */
bool ctl_interrupted(void);

/* json.c: prints and frees; the exit code. */
int ctl_print_json(json_t *value);
int ctl_print_message(const ProtobufCMessage *message);

/* human.c: numbers as a person reads them. */
struct ctl_text {
	char text[GW_ID_TEXT_BYTES];
};

struct ctl_text ctl_duration(uint64_t us);
struct ctl_text ctl_bytes(uint64_t bytes);
struct ctl_text ctl_rate(uint64_t bytes_per_s);
struct ctl_text ctl_share(double ppm);
struct ctl_text ctl_milli(uint64_t milli);
struct ctl_text ctl_job_id(ProtobufCBinaryData id);
struct ctl_text ctl_since(int64_t wall_us); /* time passed until now */
/* Bytes that would steer a terminal become '?'; in place. */
void ctl_clean(char *text);

/* table.c: aligned columns; colours only on a terminal. */
struct ctl_table {
	struct gw_arena arena;
	struct gw_schema_list cells; /* of const char *, row by row */
	const char *const *headings; /* NULL-ended; "-" first: aligned right */
	uint32_t columns;
	bool full; /* a cell found no room */
};

void ctl_table_init(struct ctl_table *table, const char *const *headings);
void ctl_table_cell(struct ctl_table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Prints to stdout and frees. */
void ctl_table_print(struct ctl_table *table);
bool ctl_is_terminal(FILE *file);

/* show.c: parts of answers that several commands print. */
void ctl_show_placements(size_t count, Godwit__Placement *const *placements);
void ctl_show_prediction(const Godwit__Prediction *prediction);
void ctl_show_verdicts(size_t count, Godwit__SiteVerdict *const *verdicts);
void ctl_show_job(const Godwit__JobInfo *job);
void ctl_show_tasks(const Godwit__JobInfo *job);
/* On stderr: what became of the tasks that did not succeed, a line each, the first few. */
void ctl_show_failures(const Godwit__JobInfo *job);

/* follow.c: a job's output, as it comes. */
#define CTL_FOLLOWED_MAX 1000u /* tasks whose output is followed at once */

struct ctl_follow_options {
	struct gw_id job;
	uint32_t task_first;
	uint32_t task_count;
	uint32_t attempt; /* 0: the latest, and those after it */
	bool stdout_wanted;
	bool stderr_wanted;
	bool follow;  /* until the job has ended; otherwise: what is there */
	bool cancels; /* the first ^C cancels the job, the second leaves; otherwise the first leaves
		       */
	FILE *stdout_file; /* where they go */
	FILE *stderr_file;
};

/* 0; 130: left by ^C; 1: failed and said so. Several tasks: each line begins with its task. */
int ctl_follow(struct ctl *ctl, const struct ctl_follow_options *options);

/* Waits until the job has ended, showing its counts on stderr. As above. */
int ctl_wait(struct ctl *ctl, const struct gw_id *id);

#endif
