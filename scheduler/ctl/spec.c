/*
 * What no single key can know: contradictions between keys, names that are none, texts that a node
 * could not use. Then the message.
 */
#include "scheduler/ctl/spec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/cert.h"
#include "proto/rlimit.h"

struct build {
	const struct gw_spec *spec;
	struct gw_arena *arena;
	struct gw_parse_error *error;
};

#define REFUSE(build, mark, ...) gw_parse_error_set((build)->error, (mark), __VA_ARGS__)

static const char name_rule[] =
	"letters, digits, \".\", \"-\" and \"_\", beginning with a letter or digit";

static const struct gw_spec_text *texts_of(const struct gw_schema_list *list)
{
	return list->items;
}

/* 0 where no two texts are equal. Lists are bounded by GW_SITES_MAX, so all pairs are few enough.
 */
static int check_no_doubles(const struct build *build, const char *key,
			    const struct gw_schema_list *list)
{
	const struct gw_spec_text *texts = texts_of(list);

	for (uint32_t i = 1; i < list->count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (strcmp(texts[i].text, texts[j].text) == 0)
				return REFUSE(build, texts[i].mark,
					      "\"%.63s\" stands in \"%s\" twice", texts[i].text,
					      key);
		}
	}
	return 0;
}

static int check_site_names(const struct build *build, const char *key,
			    const struct gw_schema_list *list)
{
	const struct gw_spec_text *texts = texts_of(list);

	for (uint32_t i = 0; i < list->count; i++) {
		if (!gw_cert_name_valid(texts[i].text))
			return REFUSE(build, texts[i].mark,
				      "\"%.63s\" is no name of a site: a name has %s",
				      texts[i].text, name_rule);
	}
	return check_no_doubles(build, key, list);
}

static int check_sites(const struct build *build)
{
	const struct gw_spec *spec = build->spec;
	const struct gw_spec_text *sites = texts_of(&spec->sites);
	const struct gw_spec_text *not_sites = texts_of(&spec->not_sites);
	int result = check_site_names(build, "sites", &spec->sites);

	if (result == 0)
		result = check_site_names(build, "not_sites", &spec->not_sites);
	for (uint32_t i = 0; i < spec->not_sites.count && result == 0; i++) {
		for (uint32_t j = 0; j < spec->sites.count && result == 0; j++) {
			if (strcmp(sites[j].text, not_sites[i].text) == 0)
				result =
					REFUSE(build, not_sites[i].mark,
					       "\"%.63s\" stands in \"sites\" and in \"not_sites\"",
					       not_sites[i].text);
		}
	}
	return result;
}

/* ISO 3166-2: two capital letters, then perhaps a dash and one to three letters or digits. */
static bool residency_valid(const char *text)
{
	size_t length = strlen(text);

	if (length < 2 || !isupper((unsigned char)text[0]) || !isupper((unsigned char)text[1]))
		return false;
	if (length == 2)
		return true;
	if (text[2] != '-' || length < 4 || length > 6)
		return false;
	for (const char *at = text + 3; *at; at++) {
		if (!isupper((unsigned char)*at) && !isdigit((unsigned char)*at))
			return false;
	}
	return true;
}

static int check_residency(const struct build *build)
{
	const struct gw_schema_list *list = &build->spec->residency;
	const struct gw_spec_text *texts = texts_of(list);

	for (uint32_t i = 0; i < list->count; i++) {
		if (!residency_valid(texts[i].text))
			return REFUSE(build, texts[i].mark,
				      "\"%.63s\" is no code of ISO 3166-2, as CN or CN-GZ",
				      texts[i].text);
	}
	return check_no_doubles(build, "residency", list);
}

static int check_env(const struct build *build)
{
	const char *const *pairs = build->spec->env.items;

	for (uint32_t i = 0; i < build->spec->env.count; i++) {
		const char *at = pairs[i];

		while (isalnum((unsigned char)*at) || *at == '_')
			at++;
		if (*at != '=' || isdigit((unsigned char)*pairs[i]))
			return REFUSE(build, build->spec->env_mark,
				      "\"%.*s\" in \"env\" is no name of a variable: a name has "
				      "letters, digits and \"_\"",
				      (int)strcspn(pairs[i], "="), pairs[i]);
	}
	return 0;
}

static int check_rlimits(const struct build *build)
{
	const struct gw_schema_list *list = &build->spec->rlimits;
	struct gw_rlimit limits[GW_RLIMITS_MAX];
	char text[GW_RLIMIT_ERROR_BYTES];

	if (gw_rlimits_parse(list->items, list->count, limits, text) < 0)
		return REFUSE(build, build->spec->rlimits_mark, "%s", text);
	return 0;
}

static int check_process(const struct build *build)
{
	const struct gw_spec *spec = build->spec;
	const struct gw_spec_text *command = texts_of(&spec->command);

	if (spec->command.count == 0 || *command[0].text == '\0')
		return REFUSE(build, spec->command_mark, "\"command\" names no program");
	if (spec->directory && *spec->directory != '/')
		return REFUSE(build, spec->directory_mark,
			      "\"directory\" is \"%.100s\", expected an absolute path",
			      spec->directory);
	if (spec->user && !gw_cert_name_valid(spec->user))
		return REFUSE(build, spec->user_mark, "\"%.63s\" is no name of a user", spec->user);
	if (spec->resources.device_type && spec->resources.device_count == 0)
		return REFUSE(build, spec->resources.device_type_mark,
			      "\"device_type\" without \"devices\": how many?");
	return check_env(build);
}

static int check_kind(const struct build *build)
{
	const struct gw_spec *spec = build->spec;

	if (spec->kind == GW_SPEC_TRAIN)
		return REFUSE(build, spec->kind_mark,
			      "kind \"train\" is not run yet by this version; \"task\" and "
			      "\"serve\" are");
	if (spec->kind == GW_SPEC_TASK && spec->stages_mark.line > 0)
		return REFUSE(build, spec->stages_mark,
			      "\"stages\" belongs to kind \"serve\"; a task job has \"count\"");
	if (spec->kind == GW_SPEC_TASK && spec->model_mark.line > 0)
		return REFUSE(build, spec->model_mark,
			      "\"model\" belongs to kind \"serve\"; this job is of kind \"task\"");
	if (spec->kind == GW_SPEC_TASK)
		return 0;
	if (spec->count_mark.line > 0)
		return REFUSE(build, spec->count_mark,
			      "\"count\" belongs to kind \"task\"; a serve job has \"stages\"");
	if (spec->stages_mark.line == 0)
		return REFUSE(build, spec->kind_mark, "a serve job needs \"stages\"");
	if (spec->model_mark.line == 0)
		return REFUSE(build, spec->stages_mark,
			      "\"stages\" without \"model\": its times and sizes decide the "
			      "placement");
	return 0;
}

static int check_disconnect(const struct build *build)
{
	static const struct gw_schema duration = {.type = GW_SCHEMA_DURATION};
	const struct gw_spec_disconnect *policy = &build->spec->disconnect;
	uint64_t lease_us = build->spec->lease_us;
	bool chooses = policy->reconcile != GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT;
	char lost_after[32];
	char lease[32];

	if (policy->replace == GODWIT__REPLACE__REPLACE_AT_ONCE && policy->lost_after_us == 0)
		return REFUSE(build, policy->replace_mark,
			      "\"replace: at_once\" needs \"lost_after\" beside it: from when on "
			      "may the task run twice?");
	if (policy->replace == GODWIT__REPLACE__REPLACE_NEVER && chooses)
		return REFUSE(build, policy->reconcile_mark,
			      "\"reconcile\" says which of two stays, and with \"replace: never\" "
			      "there is one");
	if (build->spec->kind == GW_SPEC_SERVE && chooses)
		return REFUSE(build, policy->reconcile_mark,
			      "a serve job starts again as a whole: expected \"keep_replacement\"");
	if (policy->lost_after_us == 0 || policy->lost_after_us >= lease_us ||
	    policy->replace == GODWIT__REPLACE__REPLACE_AT_ONCE)
		return 0;
	gw_schema_format(&duration, lease_us, lease, sizeof(lease));
	gw_schema_format(&duration, policy->lost_after_us, lost_after, sizeof(lost_after));
	return REFUSE(build, policy->lost_after_mark,
		      "\"lost_after\" is %s, shorter than \"lease\", which is %s: the task could "
		      "run twice, which \"replace: at_once\" permits",
		      lost_after, lease);
}

/* A task must have ended at its lease's end: until then its node may be the only one to know. */
static int check_times(const struct build *build)
{
	static const struct gw_schema duration = {.type = GW_SCHEMA_DURATION};
	const struct gw_spec *spec = build->spec;
	char lease[32];
	char other[32];

	gw_schema_format(&duration, spec->lease_us, lease, sizeof(lease));
	if (spec->lease_us > 0 && spec->lease_us <= spec->grace_us) {
		gw_schema_format(&duration, spec->grace_us, other, sizeof(other));
		return REFUSE(build, spec->lease_mark,
			      "\"lease\" is %s, expected more than \"grace\", which is %s", lease,
			      other);
	}
	return check_disconnect(build);
}

static uint64_t task_count(const struct gw_spec *spec)
{
	return spec->kind == GW_SPEC_SERVE ? spec->stages : spec->count;
}

static int check_layout(const struct build *build)
{
	const struct gw_spec *spec = build->spec;
	const char *const *labels = spec->labels.items;

	for (uint32_t i = 0; i < spec->labels.count; i++) {
		if (strlen(labels[i]) > GW_NAME_BYTES_MAX)
			return REFUSE(build, spec->labels_mark,
				      "the label \"%.20s...\" is longer than %u bytes", labels[i],
				      GW_NAME_BYTES_MAX);
	}
	if (spec->spread == GODWIT__SPREAD__SPREAD_SITE && spec->sites.count > 0 &&
	    task_count(spec) > spec->sites.count)
		return REFUSE(build, spec->spread_mark,
			      "\"spread\" is \"site\", but %" PRIu64 " tasks have only %" PRIu32
			      " sites",
			      task_count(spec), spec->sites.count);
	return 0;
}

static int check(const struct build *build)
{
	int (*const checks[])(const struct build *) = {
		check_kind,      check_process, check_rlimits, check_sites,
		check_residency, check_times,   check_layout,
	};

	if (!gw_cert_name_valid(build->spec->name))
		return REFUSE(build, build->spec->name_mark,
			      "\"%.63s\" is no name of a job: a name has %s", build->spec->name,
			      name_rule);
	for (size_t i = 0; i < GW_ARRAY_COUNT(checks); i++) {
		int result = checks[i](build);

		if (result < 0)
			return result;
	}
	return 0;
}

/* protobuf-c's texts are not const, though nothing writes them. */
static char *mutable_text(const char *text)
{
	union {
		const char *in;
		char *out;
	} cast = {text ? text : ""};

	return cast.out;
}

/* A repeated text field from a list of texts with marks, or of plain pairs. NULL: arena full. */
static char **repeated(struct gw_arena *arena, const struct gw_schema_list *list, bool marked)
{
	char **texts = gw_arena_alloc(arena, (list->count + 1) * sizeof(*texts));

	for (uint32_t i = 0; texts && i < list->count; i++)
		texts[i] = mutable_text(marked ? texts_of(list)[i].text
					       : ((const char *const *)list->items)[i]);
	return texts;
}

static bool fill_lists(const struct build *build, Godwit__JobSpec *message)
{
	const struct gw_spec *spec = build->spec;

	message->n_arguments = spec->command.count;
	message->arguments = repeated(build->arena, &spec->command, true);
	message->n_environment = spec->env.count;
	message->environment = repeated(build->arena, &spec->env, false);
	message->n_rlimits = spec->rlimits.count;
	message->rlimits = repeated(build->arena, &spec->rlimits, false);
	message->n_sites = spec->sites.count;
	message->sites = repeated(build->arena, &spec->sites, true);
	message->n_not_sites = spec->not_sites.count;
	message->not_sites = repeated(build->arena, &spec->not_sites, true);
	message->n_residency = spec->residency.count;
	message->residency = repeated(build->arena, &spec->residency, true);
	message->n_labels = spec->labels.count;
	message->labels = repeated(build->arena, &spec->labels, false);
	return message->arguments && message->environment && message->rlimits && message->sites &&
	       message->not_sites && message->residency && message->labels;
}

static bool fill_parts(const struct build *build, Godwit__JobSpec *message)
{
	const struct gw_spec *spec = build->spec;
	Godwit__Resources *resources = gw_arena_alloc(build->arena, sizeof(*resources));
	Godwit__ServeModel *model = gw_arena_alloc(build->arena, sizeof(*model));
	Godwit__DisconnectPolicy *disconnect = gw_arena_alloc(build->arena, sizeof(*disconnect));

	if (!resources || !model || !disconnect)
		return false;
	godwit__resources__init(resources);
	resources->cpu_milli = (uint32_t)spec->resources.cpu_milli;
	resources->memory_bytes = spec->resources.memory_bytes;
	resources->device_count = (uint32_t)spec->resources.device_count;
	resources->device_type = mutable_text(spec->resources.device_type);
	resources->port_count = (uint32_t)spec->resources.port_count;
	resources->process_count = (uint32_t)spec->resources.process_count;
	message->resources = resources;
	godwit__disconnect_policy__init(disconnect);
	disconnect->lost_after_us = spec->disconnect.lost_after_us;
	disconnect->replace = (Godwit__Replace)spec->disconnect.replace;
	disconnect->reconcile = (Godwit__Reconcile)spec->disconnect.reconcile;
	if (gw_wire_size(&disconnect->base) > 0) /* else the scheduler's defaults say the same */
		message->disconnect = disconnect;
	if (spec->kind != GW_SPEC_SERVE)
		return true;
	godwit__serve_model__init(model);
	model->stage_us = (uint32_t)spec->model.stage_us;
	model->micro_batches = (uint32_t)spec->model.micro_batches;
	model->batch = (uint32_t)spec->model.batch;
	model->activation_bytes = (uint32_t)spec->model.activation_bytes;
	model->loss_budget_ppm = (uint32_t)spec->model.loss_budget_ppm;
	message->model = model;
	return true;
}

int gw_spec_build(const struct gw_spec *spec, struct gw_arena *arena,
		  const Godwit__JobSpec **ret_message, struct gw_parse_error *ret_error)
{
	const struct build build = {spec, arena, ret_error};
	Godwit__JobSpec *message = gw_arena_alloc(arena, sizeof(*message));
	int result = check(&build);

	if (result < 0)
		return result;
	if (!message)
		return REFUSE(&build, spec->name_mark, "the whole is too large");
	godwit__job_spec__init(message);
	if (!fill_lists(&build, message) || !fill_parts(&build, message))
		return REFUSE(&build, spec->name_mark, "the whole is too large");
	message->name = mutable_text(spec->name);
	message->kind = spec->kind == GW_SPEC_SERVE ? GODWIT__JOB_KIND__JOB_SERVE
						    : GODWIT__JOB_KIND__JOB_TASK;
	message->task_count = (uint32_t)task_count(spec);
	message->working_directory = mutable_text(spec->directory);
	message->user = mutable_text(spec->user);
	message->spread = (Godwit__Spread)spec->spread;
	message->priority = (uint32_t)spec->priority;
	message->attempts_max = (uint32_t)spec->attempts;
	message->lease_us = spec->lease_us;
	message->time_limit_us = spec->time_limit_us;
	message->grace_us = spec->grace_us;
	message->rtt_us_max = (uint32_t)spec->rtt_us_max;
	if (gw_wire_size(&message->base) > GW_SPEC_BYTES_MAX)
		return REFUSE(&build, spec->name_mark, "the spec has more than %u bytes",
			      GW_SPEC_BYTES_MAX);
	*ret_message = message;
	return 0;
}

int gw_spec_read(const char *text, size_t size, struct gw_arena *arena,
		 const Godwit__JobSpec **ret_message, struct gw_parse_error *ret_error)
{
	static const struct gw_mark start = {1, 1};
	struct gw_spec *spec = gw_arena_alloc(arena, sizeof(*spec));
	int result;

	if (size > GW_SPEC_BYTES_MAX || !spec)
		return gw_parse_error_set(ret_error, start, "the spec has more than %u bytes",
					  GW_SPEC_BYTES_MAX);
	memset(spec, 0, sizeof(*spec));
	result = gw_schema_parse(gw_spec_fields, spec, arena, text, size, ret_error);
	return result < 0 ? result : gw_spec_build(spec, arena, ret_message, ret_error);
}
