/*
 * `check-journal` and `dump-journal`: what the journal in a folder holds, read without changing it,
 * also while its scheduler runs. The check makes a core from it, as a start would, so that what it
 * calls sound is what a scheduler can start from; the dump prints each piece and record as it lies
 * there and decides nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "proto/base/limits.h"
#include "proto/base/time.h"
#include "proto/json.h"
#include "proto/wire.h"
#include "scheduler/core/check.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/daemon.h"
#include "scheduler/options.h"
#include "scheduler/region.h"
#include "transport/file.h"
#include "transport/journal_file.h"
#include "transport/journal_folder.h"

/* An empty folder is no sound journal: a backup that copied nothing must not pass for one. */
static int check_there(const char *directory, struct gw_fault *fault)
{
	int there = gw_journal_folder_holds(directory);

	if (there > 0)
		return 0;
	gw_fault_set(fault,
		     "%s holds no journal (%s): name the folder of one, which is "
		     "STATE/" GW_JOURNAL_DIRECTORY " of a scheduler",
		     directory, there < 0 ? strerror(-there) : "no segment and no snapshot");
	return there < 0 ? there : -ENOENT;
}

/* The folder that was named, or the one of --state. Negative errno, with a sentence. */
static int find_directory(const struct inspect_options *options, int operand_count, char **operands,
			  char ret_path[GW_PATH_BYTES], struct gw_fault *fault)
{
	const char *state = options->common.state;
	int r = 0;

	if (operand_count > 0) {
		if (snprintf(ret_path, GW_PATH_BYTES, "%s", operands[0]) >= (int)GW_PATH_BYTES)
			r = -ENAMETOOLONG;
	} else {
		r = gw_standby_marked(state, fault);
		if (r == 0)
			r = gw_file_path(ret_path, GW_PATH_BYTES, state, GW_JOURNAL_DIRECTORY);
	}
	if (r == -ENAMETOOLONG)
		gw_fault_set(fault, "the journal's folder has too long a path");
	else if (r == -EEXIST)
		gw_fault_set(fault,
			     "this region's journal is in etcd, as %s/etcd says; name a folder to "
			     "read another",
			     state);
	return r == 0 ? check_there(ret_path, fault) : r;
}

/* --- check ---------------------------------------------------------------------------------- */

struct check {
	struct gw_node *core;
	struct gw_fault *fault;
};

static int check_record(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes,
			size_t size)
{
	struct check *check = context;
	int r = snapshot ? gw_node_restore(check->core, bytes, size)
			 : gw_node_apply(check->core, seq, bytes, size);

	if (r == -EPROTO)
		gw_fault_set(check->fault,
			     "%s %" PRIu64
			     " is whole, but is none that this version (" GODWIT_VERSION
			     ") can read: use the version that wrote it, or a newer one",
			     snapshot ? "the snapshot of record" : "record", seq);
	else if (r != 0)
		gw_fault_set(check->fault, "record %" PRIu64 ": %s", seq, strerror(-r));
	return r;
}

static int check_journal(const char *directory, struct gw_journal_found *found,
			 struct gw_fault *fault)
{
	struct gw_scheduler_config config;
	struct check check = {.fault = fault};
	char broken[GW_CHECK_TEXT_BYTES];
	int r;

	gw_scheduler_config_defaults(&config);
	check.core = gw_scheduler_new(&config);
	if (!check.core) {
		gw_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	r = gw_journal_file_read(directory, check_record, &check, found, fault);
	if (r == 0 && !gw_scheduler_check(check.core, broken)) {
		gw_fault_set(fault,
			     "every record is whole, but together they say what cannot be: %s",
			     broken);
		r = -EUCLEAN;
	}
	gw_node_free(check.core);
	return r;
}

static int print_json(json_t *value, size_t flags)
{
	int r = value ? json_dumpf(value, stdout, flags) : -1;

	json_decref(value);
	return r == 0 && fputc('\n', stdout) != EOF ? 0 : -EIO;
}

static void print_found(const char *directory, const struct gw_journal_found *found,
			const struct gw_fault *fault)
{
	(void)printf("The journal in %s is sound, format %" PRIu32 ".\n", directory,
		     found->version);
	if (found->last_seq == 0)
		(void)printf("It is empty.\n");
	else if (found->snapshot_seq == 0)
		(void)printf("Records 1 to %" PRIu64 ", no snapshot.\n", found->last_seq);
	else
		(void)printf("A snapshot of records 1 to %" PRIu64 ", %" PRIu64
			     " records after it, the last is %" PRIu64 ".\n",
			     found->snapshot_seq, found->records, found->last_seq);
	if (found->last_seq > 0 && found->durable_seq == 0)
		(void)printf(
			"Its file \"durable\" is missing or cannot be read: whether the end of "
			"its last segment is lost cannot be told.\n");
	if (found->damaged_snapshots > 0)
		(void)printf("%" PRIu32 " of its snapshots cannot be read, which older files make "
			     "good: %s\n",
			     found->damaged_snapshots, fault->text);
	if (found->cut_bytes > 0)
		(void)printf("Its last %" PRIu64 " bytes are a write that did not end (the next "
			     "start cuts them), or one that a running scheduler is about to end.\n",
			     found->cut_bytes);
}

int gw_command_check_journal(const struct gw_command *command, void *options, int operand_count,
			     char **operands)
{
	const struct inspect_options *inspect = options;
	struct gw_journal_found found = {.last_seq = 0};
	char directory[GW_PATH_BYTES] = "";
	struct gw_fault fault = {""};
	int r = find_directory(inspect, operand_count, operands, directory, &fault);

	(void)command;
	if (r == 0)
		r = check_journal(directory, &found, &fault);
	if (r != 0 && inspect->json)
		(void)print_json(json_pack("{s:s, s:b, s:s}", "directory", directory, "sound", 0,
					   "error", fault.text),
				 JSON_INDENT(2));
	if (r != 0)
		return gw_complain(&fault);
	if (!inspect->json) {
		print_found(directory, &found, &fault);
		return 0;
	}
	return print_json(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "directory",
				    directory, "sound", 1, "snapshot_seq",
				    (json_int_t)found.snapshot_seq, "records",
				    (json_int_t)found.records, "last_seq",
				    (json_int_t)found.last_seq, "durable_seq",
				    (json_int_t)found.durable_seq, "cut_bytes",
				    (json_int_t)found.cut_bytes, "damaged_snapshots",
				    (int)found.damaged_snapshots, "version", (int)found.version),
			  JSON_INDENT(2)) == 0
		       ? 0
		       : 1;
}

/* --- dump ----------------------------------------------------------------------------------- */

struct dump {
	struct gw_arena arena;
	struct gw_arena spec_arena;
	bool unread; /* something was no message that this version knows */
	int error;   /* of standard output */
};

/* A snapshot keeps each job's spec as the bytes that were recorded. */
static void unfold_specs(struct gw_arena *arena, const Godwit__Snapshot *snapshot, json_t *value)
{
	json_t *jobs = json_object_get(value, "jobs");

	for (size_t i = 0; i < snapshot->n_jobs; i++) {
		ProtobufCBinaryData spec = snapshot->jobs[i]->spec;
		const Godwit__JobSpec *message;

		gw_arena_reset(arena);
		message = spec.len > 0 ? gw_wire_decode(&godwit__job_spec__descriptor, arena,
							spec.data, spec.len)
				       : NULL;

		if (message)
			(void)json_object_set_new(json_array_get(jobs, i), "spec",
						  gw_json_message(&message->base));
	}
}

static json_t *piece_json(struct dump *dump, uint64_t seq, const uint8_t *bytes, size_t size)
{
	const Godwit__Snapshot *snapshot =
		gw_wire_decode(&godwit__snapshot__descriptor, &dump->arena, bytes, size);
	json_t *value;

	if (!snapshot)
		return NULL;
	value = gw_json_message(&snapshot->base);
	unfold_specs(&dump->spec_arena, snapshot, value);
	return json_pack("{s:I, s:o}", "seq", (json_int_t)seq, "snapshot", value);
}

static json_t *record_json(struct dump *dump, uint64_t seq, const uint8_t *bytes, size_t size)
{
	const Godwit__Record *record =
		gw_wire_decode(&godwit__record__descriptor, &dump->arena, bytes, size);
	char text[40] = "";
	struct tm calendar;
	time_t second;

	if (!record)
		return NULL;
	second = (time_t)(record->at_wall_us / (int64_t)GW_US_PER_S);
	if (gmtime_r(&second, &calendar))
		(void)strftime(text, sizeof(text), "%FT%TZ", &calendar);
	return json_pack("{s:I, s:s, s:o}", "seq", (json_int_t)seq, "time", text, "record",
			 gw_json_message(&record->base));
}

static int dump_record(void *context, bool snapshot, uint64_t seq, const uint8_t *bytes,
		       size_t size)
{
	struct dump *dump = context;
	json_t *value;

	gw_arena_reset(&dump->arena);
	value = snapshot ? piece_json(dump, seq, bytes, size) : record_json(dump, seq, bytes, size);
	if (!value) {
		dump->unread = true;
		value = json_pack("{s:I, s:b, s:I, s:s}", "seq", (json_int_t)seq, "snapshot",
				  (int)snapshot, "bytes", (json_int_t)size, "error",
				  "not a message that this version can read");
	}
	if (print_json(value, JSON_COMPACT) != 0)
		dump->error = errno ? -errno : -EIO;
	return dump->error;
}

int gw_command_dump_journal(const struct gw_command *command, void *options, int operand_count,
			    char **operands)
{
	struct gw_journal_found found;
	struct dump dump = {.unread = false};
	char directory[GW_PATH_BYTES] = "";
	struct gw_fault fault = {""};
	int r = find_directory(options, operand_count, operands, directory, &fault);

	(void)command;
	gw_arena_init(&dump.arena, GW_DECODE_BYTES_MAX);
	gw_arena_init(&dump.spec_arena, GW_DECODE_BYTES_MAX);
	if (r == 0)
		r = gw_journal_file_read(directory, dump_record, &dump, &found, &fault);
	gw_arena_deinit(&dump.arena);
	gw_arena_deinit(&dump.spec_arena);
	if (r == 0 && fflush(stdout) != 0)
		r = dump.error = -errno;
	if (dump.error != 0)
		gw_fault_set(&fault, "cannot write to standard output: %s", strerror(-dump.error));
	if (r != 0)
		return gw_complain(&fault);
	if (dump.unread)
		(void)fprintf(stderr, "godwit-scheduler: some records cannot be read: a newer "
				      "version wrote them, or something else did; they are "
				      "printed without their content\n");
	return dump.unread ? 1 : 0;
}
