/*
 * The journal in a folder of this machine, STATE/journal: the scheduler that holds the folder's lock
 * leads, from its start to its end.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <unistd.h>

#include "proto/step.h"
#include "scheduler/daemon.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/journal_file.h"
#include "transport/journal_folder.h"
#include "transport/log.h"

static void durable(void *context, uint64_t seq)
{
	struct daemon *daemon = context;

	if (daemon->host)
		gw_host_durable(daemon->host, seq);
}

static void failed(void *context, int error, const char *text)
{
	(void)error;
	gw_daemon_fail(context, text);
}

/* One that has led has a journal. Without it agents would end every task that they run, within a
 * second: too late for a warning. */
static int check_there(const struct daemon *daemon, const char *directory, struct gw_fault *fault)
{
	int there = gw_journal_folder_holds(directory);

	if (there != 0 || daemon->epoch == 0)
		return there < 0 ? there : 0;
	if (daemon->options->begin_anew) {
		gw_log("journal_missing",
		       "why=\"it begins anew, as --begin-anew says: agents end the tasks of jobs "
		       "that it does not know\"");
		return 0;
	}
	gw_fault_set(fault,
		     "%s holds no journal, though this scheduler has led before: put the folder "
		     "back, or mount its disk; --begin-anew starts without its jobs, and agents "
		     "then end their tasks",
		     directory);
	return -ENODATA;
}

static void log_found(const struct gw_journal_found *found, const struct gw_fault *fault)
{
	gw_log("journal",
	       "snapshot_seq=%" PRIu64 " records=%" PRIu64 " last_seq=%" PRIu64 " version=%" PRIu32
	       " io_uring=%d",
	       found->snapshot_seq, found->records, found->last_seq, found->version, !found->plain);
	if (found->damaged_snapshots > 0)
		gw_log("journal_damaged", "snapshots=%" PRIu32 " why=\"%s\"",
		       found->damaged_snapshots, fault->text);
	if (found->cut_bytes > 0)
		gw_log("journal_cut",
		       "bytes=%" PRIu64 " why=\"the end of the last segment is not whole: a write "
		       "had not ended when the last scheduler did. All up to record %" PRIu64
		       " was known to last, and is there\"",
		       found->cut_bytes, found->durable_seq);
}

int gw_embedded_begin(struct daemon *daemon, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	const struct gw_journal_file_options options = {
		.reactor = daemon->reactor,
		.directory = path,
		.snapshot_bytes = daemon->options->snapshot_bytes,
		.durable = durable,
		.failed = failed,
		.context = daemon,
	};
	struct gw_journal_found found;
	int r = gw_file_path(path, sizeof(path), daemon->options->common.state,
			     GW_JOURNAL_DIRECTORY);

	if (r != 0) {
		gw_fault_set(fault, "--state %s is too long a path", daemon->options->common.state);
		return r;
	}
	r = gw_standby_marked(daemon->options->common.state, fault);
	if (r == 0)
		r = check_there(daemon, path, fault);
	if (r == 0)
		r = gw_leader_core(daemon, fault);
	if (r == 0)
		r = gw_journal_file_open(&options, daemon->core, &daemon->file, &found, fault);
	if (r != 0)
		return r;
	log_found(&found, fault);
	daemon->journal = gw_journal_file_journal(daemon->file);
	return gw_leader_begin(daemon, 0, fault);
}

void gw_embedded_snapshot(struct daemon *daemon)
{
	if (gw_journal_file_due(daemon->file))
		(void)gw_journal_file_snapshot(daemon->file, daemon->core); /* else due again */
}

void gw_embedded_end(struct daemon *daemon)
{
	daemon->file = gw_journal_file_close(daemon->file);
}
