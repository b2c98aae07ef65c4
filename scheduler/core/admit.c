/*
 * Admission: what is refused is refused at once, with one sentence that says what was found, what
 * was expected, and what to do. What is accepted can run, sooner or later, on what the region has
 * now; a region without nodes accepts anything within its bounds.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/rlimit.h"
#include "scheduler/core/state.h"
#include "scheduler/place/residency.h"

#define LIST_MAX 256u
#define TRIES_MAX 1000u
#define GRACE_US_DEFAULT (10 * GW_US_PER_S)
#define GRACE_US_MAX (3600 * GW_US_PER_S)
#define LOSS_BUDGET_PPM_DEFAULT 50000u
#define MODEL_COUNT_MAX 1000000u
/* What a start holds beside parts of the spec: ids and times, names of node and site, and three
 * times its devices, of less than 800 bytes. In a gang also every peer's "[address]:port,". */
#define START_OWN_BYTES_MAX 4096u
#define PEER_BYTES_MAX (GW_NAME_BYTES_MAX + sizeof("[]:65535,") - 1)

static bool name_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t size = strlen(name);

	return size > 0 && size <= GW_NAME_BYTES_MAX && strspn(name, letters) == size &&
	       name[0] != '.' && name[0] != '-' && name[0] != '_';
}

static const char *check_shape(struct scheduler *s, const Godwit__JobSpec *spec)
{
	bool gang = spec->kind == GODWIT__JOB_KIND__JOB_SERVE;
	uint32_t count_max = gang ? GANG_TASKS_MAX : GW_TASKS_PER_JOB_MAX;

	if (!name_valid(spec->name))
		return out_text(s,
				"a job's name is 1 to %u letters, digits, '.', '_' or '-', "
				"and begins with a letter or digit",
				GW_NAME_BYTES_MAX);
	if (spec->kind == GODWIT__JOB_KIND__JOB_TRAIN)
		return "jobs of kind train are not supported by this version; task and serve are";
	if (!gang && spec->kind != GODWIT__JOB_KIND__JOB_TASK)
		return "a job's kind is task or serve";
	if (spec->task_count == 0)
		return "a job has at least one task";
	if (spec->task_count > count_max)
		return out_text(s,
				"%u tasks were asked for, and a job of kind %s has at most %u; "
				"split it into several jobs",
				spec->task_count, gang ? "serve" : "task", count_max);
	if ((unsigned)spec->spread > GODWIT__SPREAD__SPREAD_NODE)
		return "the job's spread is none that this version knows";
	if (spec->priority > PRIORITY_MAX)
		return out_text(s, "priority %u is above the highest, %u", spec->priority,
				PRIORITY_MAX);
	if (spec->attempts_max > TRIES_MAX)
		return out_text(s, "%u attempts are more than the %u that a task may have",
				spec->attempts_max, TRIES_MAX);
	return NULL;
}

static const char *check_command(struct scheduler *s, const Godwit__JobSpec *spec)
{
	if (spec->n_arguments == 0 || spec->arguments[0][0] == '\0')
		return "the job names no program to run";
	if (spec->n_arguments > GW_ARGS_MAX)
		return out_text(s, "the command has %zu arguments, and at most %u are taken",
				spec->n_arguments, GW_ARGS_MAX);
	if (spec->n_environment > GW_ENV_JOB_MAX)
		return out_text(s, "the environment has %zu entries, and at most %u are taken",
				spec->n_environment, GW_ENV_JOB_MAX);
	for (size_t i = 0; i < spec->n_environment; i++) {
		const char *entry = spec->environment[i];

		if (strchr(entry, '=') == NULL || entry[0] == '=')
			return out_text(s, "environment entry %zu is not of the form NAME=value",
					i + 1);
		if (strncmp(entry, "GODWIT_", 7) == 0)
			return "environment names that begin with GODWIT_ are the scheduler's own";
	}
	if (gw_wire_size(&spec->base) > GW_SPEC_BYTES_MAX)
		return out_text(s, "the job spec has %zu bytes, and at most %u are taken",
				gw_wire_size(&spec->base), GW_SPEC_BYTES_MAX);
	return NULL;
}

/* What a node would refuse to start must not wait for a place. */
static const char *check_start(struct scheduler *s, const Godwit__JobSpec *spec)
{
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	struct gw_rlimit limits[GW_RLIMITS_MAX];
	char text[GW_RLIMIT_ERROR_BYTES];
	size_t size;

	if (strlen(spec->working_directory) > GW_PATH_BYTES_MAX)
		return out_text(s, "the working directory's path has more than %u bytes",
				GW_PATH_BYTES_MAX);
	if (spec->working_directory[0] != '\0' && spec->working_directory[0] != '/')
		return "the working directory is not an absolute path";
	if (strlen(spec->user) > GW_NAME_BYTES_MAX)
		return out_text(s, "the user's name has more than %u bytes", GW_NAME_BYTES_MAX);
	if (gw_rlimits_parse(spec->rlimits, spec->n_rlimits, limits, text) < 0)
		return out_text(s, "%s", text);
	start.n_arguments = spec->n_arguments;
	start.arguments = spec->arguments;
	start.n_environment = spec->n_environment;
	start.environment = spec->environment;
	start.working_directory = spec->working_directory;
	start.user = spec->user;
	start.resources = spec->resources;
	start.n_rlimits = spec->n_rlimits;
	start.rlimits = spec->rlimits;
	size = gw_wire_size(&start.base) + START_OWN_BYTES_MAX;
	if (spec->kind == GODWIT__JOB_KIND__JOB_SERVE)
		size += (size_t)spec->task_count * PEER_BYTES_MAX;
	if (size > GW_START_BYTES_MAX)
		return out_text(s,
				"command and environment, with what the scheduler adds, may take "
				"%zu bytes, and a node takes at most %u; put the rest in a file",
				size, GW_START_BYTES_MAX);
	return NULL;
}

static const char *check_need(struct scheduler *s, const Godwit__Resources *need)
{
	if (!need)
		return NULL;
	node_maxima(s);
	if (need->device_count > GW_GRID_DEVICES_MAX)
		return out_text(s, "%u devices a task are more than the %u that one node gives out",
				need->device_count, GW_GRID_DEVICES_MAX);
	if (need->port_count > GW_GRID_PORTS_MAX)
		return out_text(s, "%u ports a task are more than the %u that one node gives out",
				need->port_count, GW_GRID_PORTS_MAX);
	if (strlen(need->device_type) > GW_NAME_BYTES_MAX)
		return out_text(s, "the device type has more than %u characters",
				GW_NAME_BYTES_MAX);
	if (s->memory_bytes_max > 0 && need->memory_bytes > s->memory_bytes_max)
		return out_text(s,
				"a task asks for %.2f GiB of memory, and the largest node has "
				"%.2f GiB; ask for less or split the work",
				(double)need->memory_bytes / (1u << 30),
				(double)s->memory_bytes_max / (1u << 30));
	if (s->cpu_milli_max > 0 && need->cpu_milli > s->cpu_milli_max)
		return out_text(s,
				"a task asks for %.3g CPUs, and the largest node has %.3g; ask "
				"for less or split the work",
				need->cpu_milli / 1e3, s->cpu_milli_max / 1e3);
	return NULL;
}

static const char *check_sites(struct scheduler *s, char *const *names, size_t count)
{
	if (count > GW_SITES_MAX)
		return out_text(s, "%zu sites are named, and a region has at most %u", count,
				GW_SITES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (!site_find(s, names[i]))
			return out_text(s,
					"site '%.63s' is not known in this region; see the list "
					"of sites",
					names[i]);
	}
	return NULL;
}

static bool named(char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* How many sites the job allows, of those known. */
static uint32_t sites_allowed(const struct scheduler *s, const Godwit__JobSpec *spec)
{
	uint32_t allowed = 0;

	for (uint32_t i = 0; i < s->sites.count; i++) {
		const struct site *site = s->sites.entries[i];

		allowed += (spec->n_sites == 0 || named(spec->sites, spec->n_sites, site->name)) &&
			   !named(spec->not_sites, spec->n_not_sites, site->name);
	}
	return allowed;
}

static const char *check_where(struct scheduler *s, const Godwit__JobSpec *spec)
{
	const char *error = check_sites(s, spec->sites, spec->n_sites);
	uint32_t allowed;

	if (!error)
		error = check_sites(s, spec->not_sites, spec->n_not_sites);
	if (error)
		return error;
	if (spec->n_labels > LIST_MAX || spec->n_residency > LIST_MAX)
		return out_text(s, "a job names at most %u labels and residency codes", LIST_MAX);
	for (size_t i = 0; i < spec->n_residency; i++) {
		if (!gw_residency_valid(spec->residency[i]))
			return out_text(s,
					"residency '%.15s' is not an ISO 3166 code such as CN "
					"or CN-GZ",
					spec->residency[i]);
	}
	if (s->sites.count == 0)
		return NULL;
	allowed = sites_allowed(s, spec);
	if (allowed == 0)
		return "the job allows no site of this region";
	if (spec->spread == GODWIT__SPREAD__SPREAD_SITE && spec->task_count > allowed)
		return out_text(s,
				"%u tasks are to stand on as many different sites, and the job "
				"allows %u of this region's",
				spec->task_count, allowed);
	return NULL;
}

static const char *check_times(struct scheduler *s, const Godwit__JobSpec *spec)
{
	if (spec->lease_us > 0 &&
	    (spec->lease_us < LEASE_US_MIN || spec->lease_us > s->config.lease_us_max))
		return out_text(s, "the lease is between %llu s and %llu s",
				LEASE_US_MIN / GW_US_PER_S,
				(unsigned long long)s->config.lease_us_max / GW_US_PER_S);
	if (spec->grace_us > GRACE_US_MAX)
		return "the grace between TERM and KILL is at most one hour";
	if (spec->time_limit_us > 0 && spec->time_limit_us < GW_US_PER_MS)
		return "the time limit is less than a millisecond";
	if (spec->time_limit_us > 10 * 365 * 24 * 3600 * GW_US_PER_S)
		return "the time limit is more than ten years";
	return NULL;
}

static const char *check_disconnect(struct scheduler *s, const Godwit__JobSpec *spec)
{
	const Godwit__DisconnectPolicy *policy = spec->disconnect;

	if (!policy)
		return NULL;
	if ((unsigned)policy->replace > GODWIT__REPLACE__REPLACE_NEVER ||
	    (unsigned)policy->reconcile > GODWIT__RECONCILE__RECONCILE_KEEP_LONGEST)
		return "the job's disconnect policy is none that this version knows";
	if (policy->lost_after_us > 0 && policy->lost_after_us < s->config.unknown_after_us)
		return out_text(s,
				"lost_after is at least %llu ms: a node is not called silent "
				"earlier",
				(unsigned long long)s->config.unknown_after_us / GW_US_PER_MS);
	if (policy->lost_after_us > 2 * s->config.lease_us_max)
		return "lost_after is longer than twice the longest lease";
	if (policy->replace == GODWIT__REPLACE__REPLACE_AT_ONCE && policy->lost_after_us == 0)
		return "replace: at_once needs lost_after: from when on may the task run twice?";
	if (policy->reconcile == GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT)
		return NULL;
	if (policy->replace == GODWIT__REPLACE__REPLACE_NEVER)
		return "reconcile says which of two attempts stays, and with replace: never there "
		       "is one";
	if (spec->kind == GODWIT__JOB_KIND__JOB_SERVE)
		return "a serve job starts again as a whole: its replacement stays, so reconcile "
		       "has no other choice";
	return NULL;
}

static const char *check_model(struct scheduler *s, const Godwit__JobSpec *spec)
{
	const Godwit__ServeModel *model = spec->model;

	if (!model)
		return NULL;
	if (spec->kind != GODWIT__JOB_KIND__JOB_SERVE)
		return "only jobs of kind serve have a model";
	if (model->micro_batches > MODEL_COUNT_MAX || model->batch > MODEL_COUNT_MAX)
		return out_text(s, "micro_batches and batch are at most %u", MODEL_COUNT_MAX);
	if (model->loss_budget_ppm > 1000000)
		return "the loss budget is at most 100 %";
	return NULL;
}

/* Ignoring what is not understood could mean to run a job where it must not run. */
static bool has_unknown(const Godwit__JobSpec *spec)
{
	return spec->base.n_unknown_fields > 0 ||
	       (spec->resources && spec->resources->base.n_unknown_fields > 0) ||
	       (spec->disconnect && spec->disconnect->base.n_unknown_fields > 0) ||
	       (spec->model && spec->model->base.n_unknown_fields > 0);
}

const char *admit_check(struct scheduler *s, const Godwit__JobSpec *spec)
{
	const char *error;

	if (!spec)
		return "the submission holds no job spec";
	if (has_unknown(spec))
		return "the job spec has fields that this scheduler's version does not know; what "
		       "they ask could not be kept";
	error = check_shape(s, spec);
	if (!error)
		error = check_command(s, spec);
	if (!error)
		error = check_start(s, spec);
	if (!error)
		error = check_need(s, spec->resources);
	if (!error)
		error = check_where(s, spec);
	if (!error)
		error = check_times(s, spec);
	if (!error)
		error = check_disconnect(s, spec);
	return error ? error : check_model(s, spec);
}

static const char *check_room(struct scheduler *s, const struct gw_peer *user,
			      const Godwit__JobSpec *spec)
{
	const struct user *known = gw_table_find(&s->users, &user->node);
	uint32_t waiting = known ? known->waiting : 0;
	uint32_t jobs = s->jobs.count - s->ended_count;
	uint32_t tasks = s->task_total - s->task_total_ended;

	if (!known && s->users.count >= USERS_MAX)
		return "the scheduler keeps jobs of as many users as it can; try again later";
	if (waiting + spec->task_count > s->config.waiting_tasks_per_user_max)
		return out_text(s,
				"%u tasks of yours wait already, and with these %u they would be "
				"more than the %u allowed; wait until some have started, or "
				"cancel some",
				waiting, spec->task_count, s->config.waiting_tasks_per_user_max);
	if (jobs >= s->config.jobs_max || tasks + spec->task_count > GW_TASKS_MAX)
		return out_text(s,
				"the scheduler holds %u jobs with %u tasks that have not ended, "
				"as many as it can; try again later",
				jobs, tasks);
	return NULL;
}

static void reply(struct scheduler *s, uint64_t request, const struct gw_job_id *job,
		  const char *error)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitReply submitted = GODWIT__SUBMIT_REPLY__INIT;

	if (job)
		submitted.job = gw_wire_id(&job->id);
	if (error)
		submitted.error = out_text(s, "%s", error);
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REPLY;
	body.submit_reply = &submitted;
	out_reply(s, request, &body);
}

/* The spec with every default written out: what is recorded does not change with the version. */
struct full_spec {
	Godwit__JobSpec spec;
	Godwit__Resources resources;
	Godwit__ServeModel model;
};

static void complete(const struct scheduler *s, const Godwit__JobSpec *spec, struct full_spec *full)
{
	full->spec = *spec;
	if (spec->resources)
		full->resources = *spec->resources;
	else
		godwit__resources__init(&full->resources);
	full->spec.resources = &full->resources;
	if (spec->model) {
		full->model = *spec->model;
		full->spec.model = &full->model;
		if (full->model.loss_budget_ppm == 0)
			full->model.loss_budget_ppm = LOSS_BUDGET_PPM_DEFAULT;
	}
	if (full->spec.attempts_max == 0)
		full->spec.attempts_max = 1;
	if (full->spec.lease_us == 0)
		full->spec.lease_us = s->config.lease_us;
	if (full->spec.grace_us == 0)
		full->spec.grace_us = GRACE_US_DEFAULT;
	/* Stages find each other by address and port. */
	if (spec->kind == GODWIT__JOB_KIND__JOB_SERVE && full->resources.port_count == 0)
		full->resources.port_count = 1;
}

static struct gw_job_id accept(struct scheduler *s, const struct gw_peer *user,
			       const Godwit__JobSpec *spec, const struct gw_id *nonce)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__JobAccepted accepted = GODWIT__JOB_ACCEPTED__INIT;
	struct gw_job_id id = {gw_id_make(s->config.region_id, s->epoch, s->next_job)};
	struct full_spec full;

	complete(s, spec, &full);
	accepted.job = gw_wire_id(&id.id);
	accepted.spec = &full.spec;
	accepted.owner = gw_wire_id(&user->node.id);
	accepted.owner_name = out_text(s, "%s", user->name);
	accepted.tenant = gw_wire_id(&user->tenant);
	if (!gw_id_is_zero(*nonce))
		accepted.nonce = gw_wire_id(nonce);
	accepted.jobs_max = s->config.jobs_max;
	record.kind_case = GODWIT__RECORD__KIND_JOB_ACCEPTED;
	record.job_accepted = &accepted;
	apply_commit(s, &record);
	return id;
}

void admit_submit(struct scheduler *s, uint64_t request, const struct gw_peer *user,
		  const Godwit__SubmitRequest *submit)
{
	struct nonce_key key = {.owner = user->node};
	const struct nonce *known;
	struct gw_job_id id;
	const char *error;

	if (submit->nonce.len != 0 && !gw_wire_read_id(submit->nonce, &key.nonce)) {
		reply(s, request, NULL, "a submission's nonce has 16 bytes");
		return;
	}
	known = gw_id_is_zero(key.nonce) ? NULL : gw_table_find(&s->nonces, &key);
	if (known && !submit->dry_run) {
		reply(s, request, &known->job->id, NULL);
		return;
	}
	error = admit_check(s, submit->spec);
	if (!error && submit->dry_run) {
		struct full_spec full;

		complete(s, submit->spec, &full);
		plans_dry_run(s, request, &full.spec);
		return;
	}
	if (!error)
		error = check_room(s, user, submit->spec);
	if (error) {
		reply(s, request, NULL, error);
		return;
	}
	id = accept(s, user, submit->spec, &key.nonce);
	reply(s, request, &id, NULL);
}
