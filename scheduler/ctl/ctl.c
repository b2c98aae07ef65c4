/*
 * The connection of a command and the requests that several commands make. Everything blocks: a
 * command does one thing. Every failure is a sentence, and the next step where there is one.
 */
#include "scheduler/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "scheduler/ctl/spec.h"
#include "transport/file.h"

#define KEPT_BYTES_MAX (256u << 20) /* the tasks of one job at their largest */
#define TRIES_MAX 3
#define PAGE 500u /* jobs or tasks asked at once; an answer stays far below a message's limit */

static volatile sig_atomic_t interrupts;
static sig_atomic_t interrupts_seen;

static void count_interrupt(int number)
{
	(void)number;
	interrupts++;
}

void ctl_catch_interrupts(void)
{
	const struct sigaction action = {.sa_handler = count_interrupt};

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

unsigned ctl_interrupts(void)
{
	interrupts_seen = interrupts;
	return (unsigned)interrupts_seen;
}

bool ctl_interrupted(void)
{
	return interrupts != interrupts_seen;
}

bool ctl_directory(const struct ctl_options *options, char *ret_path, size_t size)
{
	const char *set = options->config ? options->config : getenv("GODWIT_CONFIG");
	const char *home = getenv("HOME");
	int length;

	if (set && *set)
		length = snprintf(ret_path, size, "%s", set);
	else
		length = snprintf(ret_path, size, "%s/.config/godwit", home ? home : "");
	return length > 0 && (size_t)length < size;
}

static void say(const struct ctl_options *options, const char *text)
{
	(void)fprintf(stderr, "godwit: %s\n", text);
	if (options->json)
		(void)ctl_print_json(json_pack("{s:s}", "error", text));
}

int ctl_fail(const struct ctl_options *options, const char *format, ...)
{
	char text[GW_TEXT_BYTES_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ctl_clean(text);
	say(options, text);
	return 1;
}

int ctl_misuse(const struct ctl_options *options, const char *format, ...)
{
	char text[GW_TEXT_BYTES_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ctl_clean(text);
	say(options, text);
	return 2;
}

/* What a person can do about a connection that failed. */
static const char *advice(int error)
{
	switch (error) {
	case -EACCES:
		return " If this key should be good, ask the region's operator for a new ticket "
		       "and "
		       "run \"godwit join TICKET\".";
	case -ETIMEDOUT:
		return " Check that godwit-scheduler runs there and that this host reaches it.";
	case -EPROTO:
		return " Ask the region's operator for a new ticket: the scheduler's key is not "
		       "the "
		       "one in the region file.";
	default:
		return "";
	}
}

void ctl_init(struct ctl *ctl, const struct ctl_options *options)
{
	*ctl = (struct ctl){.options = options};
	gw_arena_init(&ctl->arena, KEPT_BYTES_MAX);
}

int ctl_open(struct ctl *ctl, const struct ctl_options *options)
{
	ctl_init(ctl, options);
	return ctl_connect(ctl);
}

/* The leader is gone and no other leads yet, or the link is broken. */
static void say_waiting(void)
{
	(void)fprintf(stderr, "godwit: waiting for a scheduler\n");
}

static bool is_missing(const char *directory, const char *name)
{
	char path[4096];

	return gw_file_path(path, sizeof(path), directory, name) == 0 && access(path, F_OK) < 0 &&
	       errno == ENOENT;
}

int ctl_connect(struct ctl *ctl)
{
	const struct ctl_options *options = ctl->options;
	struct gw_fault fault = {""};
	char directory[4000];
	int result;

	if (!ctl_directory(options, directory, sizeof(directory)))
		return ctl_fail(options, "the path of the configuration folder is too long.");
	if (is_missing(directory, GW_KEYS_FILE))
		return ctl_fail(options,
				"no identity in %s. Ask the region's operator for a ticket and run "
				"\"godwit join TICKET\", or name another folder with --config.",
				directory);
	if (is_missing(directory, GW_CERTIFICATE_FILE))
		return ctl_fail(
			options,
			"%s has keys but no certificate yet. Ask the region's operator for a "
			"ticket and run \"godwit join TICKET\".",
			directory);
	result = gw_client_open_directory(directory, ctl_interrupted, say_waiting,
					  options->timeout_us, &ctl->client, &fault);
	if (result < 0)
		return ctl_fail(options, "%s.%s", fault.text, advice(result));
	return 0;
}

void ctl_close(struct ctl *ctl)
{
	if (ctl->client)
		ctl->client = gw_client_close(ctl->client);
	gw_arena_deinit(&ctl->arena);
}

int ctl_try(struct ctl *ctl, const Godwit__Body *request, int kind, uint64_t wait_us,
	    const Godwit__Body **ret_reply, struct gw_fault *fault)
{
	int result = gw_client_call(ctl->client, request, wait_us, ret_reply, fault);

	if (result == 0 && (int)(*ret_reply)->kind_case != kind) {
		(void)snprintf(fault->text, sizeof(fault->text),
			       "the scheduler answers something else than what was asked");
		return -EPROTO;
	}
	return result;
}

const Godwit__Body *ctl_call(struct ctl *ctl, const Godwit__Body *request, int kind)
{
	struct gw_fault fault = {""};
	const Godwit__Body *reply;
	int result = -ECONNRESET;

	for (int i = 0; i < TRIES_MAX && result == -ECONNRESET; i++)
		result = ctl_try(ctl, request, kind, ctl->options->timeout_us, &reply, &fault);
	if (result == 0)
		return reply;
	(void)ctl_fail(ctl->options, "%s.%s", fault.text,
		       result == -ETIMEDOUT ? advice(result) : "");
	return NULL;
}

static const Godwit__JobsReply *ask_jobs(struct ctl *ctl, const struct gw_id *id, uint32_t offset)
{
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__Body *reply;

	if (id)
		jobs.job = gw_wire_id(id);
	jobs.with_tasks = id != NULL;
	jobs.offset = offset;
	jobs.count_max = PAGE;
	request.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	request.jobs_request = &jobs;
	reply = ctl_call(ctl, &request, GODWIT__BODY__KIND_JOBS_REPLY);
	if (reply && *reply->jobs_reply->error) {
		(void)ctl_fail(ctl->options, "%s.", reply->jobs_reply->error);
		return NULL;
	}
	return reply ? reply->jobs_reply : NULL;
}

/* Looks through all jobs, page by page; they come newest first. */
bool ctl_find_job(struct ctl *ctl, const char *text, struct gw_id *ret_id)
{
	struct gw_id wanted = {{0}};
	bool is_id = gw_id_parse(text, &wanted);
	const Godwit__JobsReply *page;
	uint32_t offset = 0;

	if (is_id && strchr(text, '.')) {
		*ret_id = wanted;
		return true;
	}
	do {
		page = ask_jobs(ctl, NULL, offset);
		if (!page)
			return false;
		for (size_t i = 0; i < page->n_jobs; i++) {
			if (!gw_wire_read_id(page->jobs[i]->job, ret_id))
				continue;
			if (strcmp(page->jobs[i]->name, text) == 0 ||
			    (is_id && gw_id_counter(*ret_id) == gw_id_counter(wanted)))
				return true;
		}
		offset += (uint32_t)page->n_jobs;
	} while (page->n_jobs > 0 && offset < page->total);
	(void)ctl_fail(ctl->options,
		       "no job has the id or name \"%.80s\"; \"godwit jobs\" lists them.", text);
	return false;
}

const Godwit__JobInfo *ctl_job(struct ctl *ctl, const struct gw_id *id, uint32_t offset)
{
	const Godwit__JobsReply *reply = ask_jobs(ctl, id, offset);

	if (!reply)
		return NULL;
	if (reply->n_jobs != 1) {
		char text[GW_ID_TEXT_BYTES];

		gw_id_format(*id, text);
		(void)ctl_fail(ctl->options, "there is no job %s; \"godwit jobs\" lists them.",
			       text);
		return NULL;
	}
	return reply->jobs[0];
}

/* A copy in the arena: encoding and decoding is a deep copy that costs no code. */
static const Godwit__JobInfo *keep_job(struct ctl *ctl, const Godwit__JobInfo *job)
{
	size_t size = gw_wire_size(&job->base);
	uint8_t *bytes = gw_arena_alloc(&ctl->arena, size);

	if (!bytes)
		return NULL;
	gw_wire_encode(&job->base, bytes);
	return gw_wire_decode(&godwit__job_info__descriptor, &ctl->arena, bytes, size);
}

const Godwit__JobInfo *ctl_whole_job(struct ctl *ctl, const struct gw_id *id)
{
	const Godwit__JobInfo *page = ctl_job(ctl, id, 0);
	Godwit__TaskInfo **tasks;
	Godwit__JobInfo *whole;
	size_t count = 0;

	if (!page)
		return NULL;
	whole = gw_arena_alloc(&ctl->arena, sizeof(*whole));
	tasks = gw_arena_alloc(&ctl->arena, (page->task_count + 1) * sizeof(*tasks));
	while (page && page->n_tasks > 0 && whole && tasks) {
		const Godwit__JobInfo *kept = keep_job(ctl, page);

		if (!kept) {
			whole = NULL;
			break;
		}
		*whole = *kept;
		for (size_t i = 0; i < kept->n_tasks && count < kept->task_count; i++)
			tasks[count++] = kept->tasks[i];
		if (count >= kept->task_count)
			break;
		page = ctl_job(ctl, id, (uint32_t)count);
	}
	if (!page)
		return NULL;
	if (!whole || !tasks || count == 0) {
		(void)ctl_fail(ctl->options, "the job's tasks could not be read.");
		return NULL;
	}
	whole->tasks = tasks;
	whole->n_tasks = count;
	return whole;
}

bool ctl_job_ended(const Godwit__JobInfo *job)
{
	return job->ended_wall_us != 0;
}

int ctl_job_exit(const Godwit__JobInfo *job)
{
	uint32_t largest = 0;

	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *task = job->tasks[i];
		uint32_t code = task->signal > 0 ? 128 + task->signal : task->exit_code;

		if (code > largest)
			largest = code;
	}
	if (largest == 0 && strcmp(job->state, "succeeded") != 0)
		largest = 1;
	return largest > 255 ? 255 : (int)largest;
}

uint32_t ctl_job_cancelled(const Godwit__JobInfo *job)
{
	return job->task_count - job->waiting - job->running - job->succeeded - job->failed;
}

int ctl_cancel(struct ctl *ctl, const struct gw_id *id)
{
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__Body *reply;

	cancel.job = gw_wire_id(id);
	request.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	request.cancel_request = &cancel;
	reply = ctl_call(ctl, &request, GODWIT__BODY__KIND_CANCEL_REPLY);
	if (!reply)
		return 1;
	if (*reply->cancel_reply->error)
		return ctl_fail(ctl->options, "%s.", reply->cancel_reply->error);
	return 0;
}

/* The nonce makes a repeated submission the same job. */
const Godwit__SubmitReply *ctl_submit(struct ctl *ctl, const Godwit__JobSpec *spec, bool dry_run)
{
	Godwit__SubmitRequest submit = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__SubmitReply *reply;
	const Godwit__Body *body;
	struct gw_id nonce;

	if (getrandom(nonce.bytes, sizeof(nonce.bytes), 0) != (ssize_t)sizeof(nonce.bytes)) {
		(void)ctl_fail(ctl->options, "the kernel gives no randomness: %s.",
			       strerror(errno));
		return NULL;
	}
	/* protobuf-c's structs know no const; nothing writes to the spec. */
	memcpy(&submit.spec, &spec, sizeof(spec));
	submit.nonce = gw_wire_id(&nonce);
	submit.dry_run = dry_run;
	request.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	request.submit_request = &submit;
	body = ctl_call(ctl, &request, GODWIT__BODY__KIND_SUBMIT_REPLY);
	if (!body)
		return NULL;
	reply = body->submit_reply;
	if (*reply->error && !dry_run) {
		(void)ctl_fail(ctl->options, "refused: %s.", reply->error);
		return NULL;
	}
	return reply;
}

static int read_stdin(uint8_t *bytes, size_t size, size_t *ret_size)
{
	*ret_size = fread(bytes, 1, size, stdin);
	return ferror(stdin) ? -EIO : 0;
}

const Godwit__JobSpec *ctl_read_spec(struct ctl *ctl, const char *path)
{
	bool is_stdin = strcmp(path, "-") == 0;
	const char *name = is_stdin ? "stdin" : path;
	uint8_t *bytes = gw_arena_alloc(&ctl->arena, GW_SPEC_BYTES_MAX + 1);
	const Godwit__JobSpec *spec;
	struct gw_parse_error error;
	struct gw_fault fault = {"standard input cannot be read"};
	char text[1024];
	size_t size;
	int result;

	if (!bytes)
		return NULL;
	result = is_stdin ? read_stdin(bytes, GW_SPEC_BYTES_MAX + 1, &size)
			  : gw_file_read(path, false, GW_SPEC_BYTES_MAX + 1, bytes, &size, &fault);
	if (result < 0) {
		(void)ctl_fail(ctl->options, "%s", fault.text);
		return NULL;
	}
	if (gw_spec_read((const char *)bytes, size, &ctl->arena, &spec, &error) < 0) {
		gw_parse_error_format(&error, name, text, sizeof(text));
		(void)ctl_fail(ctl->options, "%s", text);
		return NULL;
	}
	return spec;
}
