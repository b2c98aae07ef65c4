/*
 * What a scheduler's start costs. `make` writes the journal of one that accepted, placed, started
 * and saw the end of so many tasks, record by record as they would have come; `recover` is its
 * start; `read` is the floor under that: the same bytes read, checked and decoded, nothing applied.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/journal/journal.h"
#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/wire.h"
#include "scheduler/core/scheduler.h"
#include "transport/clock.h"
#include "transport/journal_file.h"
#include "transport/reactor.h"

#define TASKS_PER_JOB 100u
#define RUNNING_JOBS 10u /* of which tasks have begun and not ended: the last ones */
#define WINDOW_RECORDS 20000u

struct maker {
	struct gw_reactor *reactor;
	struct gw_journal_file *file;
	uint64_t seq;
	uint64_t durable_seq;
	struct gw_buf record;
	struct gw_id job;
	struct gw_id node;
	Godwit__TaskPlaced__Placed *places; /* [TASKS_PER_JOB] of one record */
	int error;
};

static void durable(void *context, uint64_t seq)
{
	((struct maker *)context)->durable_seq = seq;
}

static void failed(void *context, int error, const char *text)
{
	((struct maker *)context)->error = error;
	(void)fprintf(stderr, "godwit-journal: %s\n", text);
}

static void append(struct maker *maker, Godwit__Record *record)
{
	struct gw_journal *journal = gw_journal_file_journal(maker->file);
	uint8_t *bytes;

	record->version = 1;
	record->at_wall_us = gw_clock_wall_us();
	maker->record.size = 0;
	bytes = gw_buf_grow(&maker->record, gw_wire_size(&record->base));
	CHECK(bytes);
	gw_wire_encode(&record->base, bytes);
	if (maker->error == 0)
		maker->error = journal->append(journal, ++maker->seq, bytes, maker->record.size);
	while (maker->error == 0 && maker->seq - maker->durable_seq >= WINDOW_RECORDS)
		maker->error = gw_reactor_turn(maker->reactor, GW_NEVER_US);
}

static ProtobufCBinaryData id_bytes(struct gw_id *id)
{
	return (ProtobufCBinaryData){.len = GW_ID_BYTES, .data = id->bytes};
}

static void begin(struct maker *maker)
{
	static char name[] = "n1";
	static char site[] = "a";
	Godwit__TermStarted term = GODWIT__TERM_STARTED__INIT;
	Godwit__NodeAdmitted node = GODWIT__NODE_ADMITTED__INIT;
	Godwit__Record record = GODWIT__RECORD__INIT;

	term.term = 1;
	term.epoch = 1;
	record.kind_case = GODWIT__RECORD__KIND_TERM_STARTED;
	record.term_started = &term;
	append(maker, &record);
	memset(maker->node.bytes, 7, GW_ID_BYTES);
	node.node = id_bytes(&maker->node);
	node.name = name;
	node.site = site;
	record.kind_case = GODWIT__RECORD__KIND_NODE_ADMITTED;
	record.node_admitted = &node;
	append(maker, &record);
}

static void accept_job(struct maker *maker, uint64_t number)
{
	static char name[] = "array";
	static char program[] = "/usr/bin/work";
	static char argument[] = "--shard";
	char *arguments[] = {program, argument};
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;
	Godwit__JobSpec spec = GODWIT__JOB_SPEC__INIT;
	Godwit__JobAccepted accepted = GODWIT__JOB_ACCEPTED__INIT;
	Godwit__Record record = GODWIT__RECORD__INIT;

	maker->job = gw_id_make(1, 1, number);
	resources.cpu_milli = 1000;
	resources.memory_bytes = 256u << 20;
	spec.name = name;
	spec.kind = GODWIT__JOB_KIND__JOB_TASK;
	spec.task_count = TASKS_PER_JOB;
	spec.arguments = arguments;
	spec.n_arguments = 2;
	spec.resources = &resources;
	spec.priority = 500;
	spec.attempts_max = 1;
	accepted.job = id_bytes(&maker->job);
	accepted.spec = &spec;
	accepted.owner = id_bytes(&maker->node);
	record.kind_case = GODWIT__RECORD__KIND_JOB_ACCEPTED;
	record.job_accepted = &accepted;
	append(maker, &record);
}

/* As a plan places them: the tasks of a job in one record. */
static void place_job(struct maker *maker)
{
	Godwit__TaskPlaced__Placed *places = maker->places;
	Godwit__TaskPlaced__Placed *list[TASKS_PER_JOB];
	Godwit__TaskPlaced placed = GODWIT__TASK_PLACED__INIT;
	Godwit__Record record = GODWIT__RECORD__INIT;

	for (uint32_t i = 0; i < TASKS_PER_JOB; i++) {
		places[i] = (Godwit__TaskPlaced__Placed)GODWIT__TASK_PLACED__PLACED__INIT;
		places[i].task_index = i;
		places[i].attempt = 1;
		places[i].node = id_bytes(&maker->node);
		places[i].rtt_us = 2400;
		list[i] = &places[i];
	}
	placed.job = id_bytes(&maker->job);
	placed.tasks = list;
	placed.n_tasks = TASKS_PER_JOB;
	record.kind_case = GODWIT__RECORD__KIND_TASK_PLACED;
	record.task_placed = &placed;
	append(maker, &record);
}

static void change_task(struct maker *maker, uint32_t index, Godwit__TaskChange change)
{
	Godwit__AttemptRef attempt = GODWIT__ATTEMPT_REF__INIT;
	Godwit__Usage usage = GODWIT__USAGE__INIT;
	Godwit__TaskChanged changed = GODWIT__TASK_CHANGED__INIT;
	Godwit__Record record = GODWIT__RECORD__INIT;

	attempt.job = id_bytes(&maker->job);
	attempt.task_index = index;
	attempt.attempt = 1;
	usage.wall_us = 60 * GW_US_PER_S + index;
	usage.cpu_user_us = 59 * GW_US_PER_S;
	usage.cpu_system_us = 120 * GW_US_PER_MS;
	usage.memory_peak_bytes = 100u << 20;
	usage.output_bytes = 4096;
	changed.attempt = &attempt;
	changed.change = change;
	if (change == GODWIT__TASK_CHANGE__TASK_ENDED)
		changed.usage = &usage;
	record.kind_case = GODWIT__RECORD__KIND_TASK_CHANGED;
	record.task_changed = &changed;
	append(maker, &record);
}

static void write_jobs(struct maker *maker, uint64_t jobs)
{
	begin(maker);
	for (uint64_t i = 1; i <= jobs && maker->error == 0; i++) {
		accept_job(maker, i);
		place_job(maker);
		for (uint32_t k = 0; k < TASKS_PER_JOB; k++)
			change_task(maker, k, GODWIT__TASK_CHANGE__TASK_STARTED);
		for (uint32_t k = 0; i + RUNNING_JOBS <= jobs && k < TASKS_PER_JOB; k++)
			change_task(maker, k, GODWIT__TASK_CHANGE__TASK_ENDED);
	}
	while (maker->error == 0 && maker->durable_seq < maker->seq)
		maker->error = gw_reactor_turn(maker->reactor, GW_NEVER_US);
}

static struct gw_node *new_core(void)
{
	struct gw_scheduler_config config;

	gw_scheduler_config_defaults(&config);
	config.region = "bench";
	config.region_id = 1;
	config.seed = 1;
	return gw_scheduler_new(&config);
}

static int complain(int error, const struct gw_fault *fault)
{
	(void)fprintf(stderr, "godwit-journal: %s\n",
		      fault->text[0] ? fault->text : strerror(-error));
	return 1;
}

/* Opens the journal of `directory` into a new core. */
static int open_journal(struct maker *maker, const char *directory, struct gw_node *core,
			struct gw_journal_found *found, struct gw_fault *fault)
{
	const struct gw_journal_file_options options = {
		.reactor = maker->reactor,
		.directory = directory,
		.durable = durable,
		.failed = failed,
		.context = maker,
	};

	return gw_journal_file_open(&options, core, &maker->file, found, fault);
}

int journal_make(const struct recover_options *options)
{
	struct maker maker = {.error = 0};
	struct gw_journal_found found;
	struct gw_fault fault = {""};
	struct gw_node *core = new_core();
	int r;

	gw_buf_init(&maker.record, GW_MESSAGE_BYTES_MAX);
	maker.places = calloc(TASKS_PER_JOB, sizeof(*maker.places));
	r = core && maker.places ? gw_reactor_new(&maker.reactor) : -ENOMEM;
	if (r == 0)
		r = open_journal(&maker, options->directory, core, &found, &fault);
	if (r == 0) {
		maker.seq = found.last_seq;
		maker.durable_seq = found.last_seq;
		write_jobs(&maker, options->tasks / TASKS_PER_JOB);
		r = maker.error;
	}
	if (r == 0)
		(void)printf("{\"records\": %llu}\n", (unsigned long long)maker.seq);
	gw_journal_file_close(maker.file);
	gw_reactor_free(maker.reactor);
	gw_node_free(core);
	gw_buf_deinit(&maker.record);
	free(maker.places);
	return r == 0 ? 0 : complain(r, &fault);
}

static double rss_mib(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage); /* cannot fail for these arguments */
	return (double)usage.ru_maxrss / 1024;
}

int journal_recover(const struct recover_options *options)
{
	struct maker maker = {.error = 0};
	struct gw_journal_found found = {0};
	struct gw_fault fault = {""};
	struct gw_node *core = new_core();
	uint64_t begun_us;
	uint64_t ended_us;
	int r = core ? gw_reactor_new(&maker.reactor) : -ENOMEM;

	begun_us = gw_clock_mono_us();
	if (r == 0)
		r = open_journal(&maker, options->directory, core, &found, &fault);
	ended_us = gw_clock_mono_us();
	if (r == 0)
		(void)printf("{\"seconds\": %.6f, \"records\": %llu, \"rss_mib\": %.1f}\n",
			     (double)(ended_us - begun_us) / 1e6, (unsigned long long)found.records,
			     rss_mib());
	gw_journal_file_close(maker.file);
	gw_reactor_free(maker.reactor);
	gw_node_free(core);
	return r == 0 ? 0 : complain(r, &fault);
}

static int decode(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_arena *arena = context;
	const void *record =
		snapshot ? arena : gw_wire_decode(&godwit__record__descriptor, arena, bytes, size);

	(void)seq;
	gw_arena_reset(arena);
	return record ? 0 : -EPROTO;
}

int journal_read(const struct recover_options *options)
{
	struct gw_journal_found found;
	struct gw_fault fault = {""};
	struct gw_arena arena;
	uint64_t begun_us = gw_clock_mono_us();
	uint64_t ended_us;
	int r;

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	r = gw_journal_file_read(options->directory, decode, &arena, &found, &fault);
	ended_us = gw_clock_mono_us();
	gw_arena_deinit(&arena);
	if (r != 0)
		return complain(r, &fault);
	(void)printf("{\"seconds\": %.6f, \"records\": %llu, \"rss_mib\": %.1f}\n",
		     (double)(ended_us - begun_us) / 1e6, (unsigned long long)found.records,
		     rss_mib());
	return 0;
}
