/*
 * The set of attempts: which are known, which are fenced, what an earlier keeper left. An earlier
 * keeper's tasks cannot be taken over (their pipes and their exit status went with it), so they
 * are ended and told as lost; better one that is surely gone than one that may run twice.
 */
#include "agent/keeper/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/orphans.h"
#include "agent/keeper/protocol.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define RECOVERY_US (5 * GW_US_PER_S) /* for one lost attempt's processes to go */

struct fence {
	struct gw_job_id job; /* these two are the key */
	uint32_t task_index;
	uint32_t attempt; /* this one and older ones never start here */
	uint64_t order;
};

#define FENCE_KEY_BYTES (GW_ID_BYTES + 4u)

/* --- fences --- */

static struct fence *find_fence(const struct gw_attempts *set, const struct gw_attempt_id *id)
{
	return gw_table_find(&set->fences, id); /* an attempt's id begins with the key */
}

bool gw_attempts_fenced(const struct gw_attempts *set, const struct gw_attempt_id *id)
{
	const struct fence *fence = find_fence(set, id);

	return fence && fence->attempt >= id->attempt;
}

static void drop_oldest_fence(struct gw_attempts *set)
{
	struct fence *oldest = NULL;

	for (uint32_t i = 0; i < set->fences.count; i++) {
		struct fence *fence = set->fences.entries[i];

		if (!oldest || fence->order < oldest->order)
			oldest = fence;
	}
	if (oldest)
		free(gw_table_remove(&set->fences, oldest));
}

static int remember_fence(struct gw_attempts *set, const struct gw_attempt_id *id)
{
	struct fence *fence = find_fence(set, id);

	if (!fence) {
		fence = calloc(1, sizeof(*fence));
		if (!fence)
			return -ENOMEM;
		fence->job = id->job;
		fence->task_index = id->task_index;
		if (set->fences.count >= GW_KEEPER_FENCES_MAX)
			drop_oldest_fence(set);
		if (gw_table_add(&set->fences, fence)) {
			free(fence);
			return -ENOMEM;
		}
	}
	if (id->attempt > fence->attempt)
		fence->attempt = id->attempt;
	fence->order = ++set->order_last;
	return 0;
}

/* Writes those that count to a new file, once the old one is twice as long as it need be. */
static int compact_fences(struct gw_attempts *set)
{
	struct gw_attempt_id *ids;
	int result;

	if (set->fences_written < 2 * GW_KEEPER_FENCES_MAX)
		return 0;
	ids = calloc(set->fences.count, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	for (uint32_t i = 0; i < set->fences.count; i++) {
		const struct fence *fence = set->fences.entries[i];

		ids[i] = (struct gw_attempt_id){fence->job, fence->task_index, fence->attempt};
	}
	result = gw_store_rewrite_fences(&set->store, ids, set->fences.count);
	free(ids);
	if (!result)
		set->fences_written = set->fences.count;
	return result;
}

static int add_fence(struct gw_attempts *set, const struct gw_attempt_id *id)
{
	int result = gw_attempts_fenced(set, id) ? 0 : gw_store_fence(&set->store, id);

	if (result)
		return result;
	set->fences_written++;
	result = remember_fence(set, id);
	return result ? result : compact_fences(set);
}

static void found_fence(void *data, const struct gw_attempt_id *id)
{
	struct gw_attempts *set = data;

	set->fences_written++;
	if (remember_fence(set, id))
		(void)fprintf(stderr, "out of memory: a fence is forgotten\n");
}

/* --- what an earlier keeper left --- */

static void end_leftovers(struct gw_attempt *attempt)
{
	uint64_t deadline_us = gw_loop_now_us() + RECOVERY_US;
	bool alive = gw_id_equal(attempt->boot_id, attempt->set->boot_id) &&
		     gw_orphans_start_ticks(attempt->pid) == attempt->start_ticks &&
		     attempt->start_ticks != 0;
	/* A pid that now names another process is no session of ours; the mark still tells. */
	pid_t session = alive ? attempt->pid : -1;
	char name[GW_STORE_NAME_BYTES];
	unsigned count;

	gw_store_name(&attempt->id, name);
	for (;;) {
		count = gw_cgroup_kill(&attempt->set->cgroup, name) +
			gw_orphans_kill(session, name);
		if ((!count && !gw_cgroup_remove(&attempt->set->cgroup, name)) ||
		    gw_loop_now_us() > deadline_us)
			break;
		(void)poll(NULL, 0, 2); /* SIGKILL is on its way; nobody is served yet */
	}
	if (count)
		gw_attempt_note_error(attempt, "%u of its processes did not end", count);
}

static void take_lost(struct gw_attempt *attempt)
{
	bool same_boot = gw_id_equal(attempt->boot_id, attempt->set->boot_id);
	int result;

	gw_attempt_note_error(attempt,
			      same_boot ? "lost with the keeper that ran it" : "host rebooted");
	end_leftovers(attempt);
	gw_attempt_set_state(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_LOST);
	attempt->ended_wall_us = gw_loop_wall_us();
	result = gw_attempt_write(attempt);
	if (result) /* the next keeper comes to the same result */
		(void)fprintf(stderr, "a lost attempt cannot be written down: %s\n",
			      strerrordesc_np(-result));
}

static void take_damaged(struct gw_attempt *attempt)
{
	godwit__usage__init(&attempt->usage);
	attempt->state = GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING;
	attempt->boot_id = attempt->set->boot_id;
	attempt->output_bytes_max = 0;
	gw_attempt_note_error(attempt, "its record is damaged");
}

static struct gw_attempt *new_attempt(struct gw_attempts *set, const struct gw_attempt_id *id)
{
	struct gw_attempt *attempt = calloc(1, sizeof(*attempt));

	if (!attempt)
		return NULL;
	attempt->id = *id;
	attempt->set = set;
	attempt->folder_fd = attempt->start_pipe.fd = -1;
	attempt->outputs[0].fd = attempt->outputs[1].fd = -1;
	attempt->streams[0].pipe.fd = attempt->streams[1].pipe.fd = -1;
	if (!gw_table_add(&set->attempts, attempt))
		return attempt;
	free(attempt);
	return NULL;
}

static void found_attempt(void *data, const struct gw_attempt_id *id)
{
	struct gw_attempts *set = data;
	struct gw_attempt *attempt = new_attempt(set, id);
	int result;

	if (!attempt) {
		(void)fprintf(stderr, "an attempt on disk is left aside: no room\n");
		return;
	}
	attempt->folder_fd = gw_store_open_attempt(&set->store, id);
	result = attempt->folder_fd < 0 ? attempt->folder_fd : gw_attempt_load(attempt);
	if (result == -ENOENT) {
		/* Its record was never written, so its child was never let go. */
		(void)gw_table_remove(&set->attempts, id);
		gw_attempt_free(attempt);
		(void)gw_store_remove(&set->store, id);
		return;
	}
	if (result)
		take_damaged(attempt);
	for (unsigned i = 0; i < 2 && attempt->folder_fd >= 0; i++) {
		gw_output_init(&attempt->outputs[i], attempt->folder_fd, i + 1,
			       attempt->output_bytes_max);
		(void)gw_output_load(&attempt->outputs[i]); /* unreadable: no output */
	}
	if (!gw_attempt_ended(attempt))
		take_lost(attempt);
	if (attempt->acknowledged_order > set->order_last)
		set->order_last = attempt->acknowledged_order;
	if (attempt->folder_fd >= 0)
		(void)close(attempt->folder_fd);
	attempt->folder_fd = -1;
	if (!attempt->acknowledged_order)
		gw_attempt_touch(attempt);
}

static void found_group(void *data, const char *name)
{
	struct gw_attempts *set = data;

	/* Its attempt is told already, or was never let go; an empty one is only removed. */
	(void)gw_cgroup_kill(&set->cgroup, name);
	(void)gw_cgroup_remove(&set->cgroup, name);
}

static void read_boot_id(struct gw_id *ret_id)
{
	char text[GW_ID_TEXT_BYTES] = "";
	char hex[GW_ID_TEXT_BYTES] = "";
	size_t used = 0;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	*ret_id = (struct gw_id){0};
	if (!file)
		return;
	if (fgets(text, sizeof(text), file))
		for (const char *at = text; *at; at++)
			if (*at != '-' && *at != '\n')
				hex[used++] = *at;
	(void)fclose(file);
	(void)gw_id_parse_hex(hex, ret_id);
}

/* --- the set --- */

int gw_attempts_init(struct gw_attempts *set, struct gw_loop *loop,
		     const struct gw_attempts_options *options, char *ret_error)
{
	char parent[256];
	uint64_t hash_key = 0;
	int result;

	*set = (struct gw_attempts){.loop = loop, .kept_bytes_max = options->kept_bytes_max};
	(void)!getrandom(&hash_key, sizeof(hash_key), 0); /* a known key only costs speed */
	gw_table_init(&set->attempts, sizeof(struct gw_attempt_id), GW_KEEPER_ATTEMPTS_MAX,
		      hash_key);
	gw_table_init(&set->fences, FENCE_KEY_BYTES, GW_KEEPER_FENCES_MAX, hash_key);
	TAILQ_INIT(&set->changes);
	read_boot_id(&set->boot_id);
	result = gw_store_open(&set->store, options->state, ret_error, GW_ATTEMPTS_ERROR_BYTES);
	if (result)
		return result;
	/* Keepers of several state folders share a host, each with a group of its own. */
	(void)snprintf(parent, sizeof(parent), "%s/%" PRIx64 "-%" PRIx64,
		       options->cgroup_parent ? options->cgroup_parent : "", set->store.device,
		       set->store.inode);
	gw_cgroup_init(&set->cgroup, options->cgroup_root, options->cgroup_parent ? parent : NULL);
	result = gw_pump_init(&set->pump, loop, options->pump_mode);
	if (!result)
		result = gw_store_each_fence(&set->store, found_fence, set);
	if (!result)
		result = gw_store_each(&set->store, found_attempt, set);
	if (result) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "%s cannot be used: %s",
			       options->state, strerrordesc_np(-result));
		gw_attempts_deinit(set);
		return result;
	}
	gw_cgroup_each(&set->cgroup, found_group, set);
	gw_attempts_trim(set);
	return 0;
}

void gw_attempts_deinit(struct gw_attempts *set)
{
	gw_pump_deinit(&set->pump);
	while (set->attempts.count > 0) {
		struct gw_attempt *attempt = set->attempts.entries[set->attempts.count - 1];

		(void)gw_table_remove(&set->attempts, &attempt->id);
		gw_attempt_free(attempt);
	}
	while (set->fences.count > 0)
		free(gw_table_remove(&set->fences, set->fences.entries[0]));
	gw_table_deinit(&set->attempts);
	gw_table_deinit(&set->fences);
	gw_cgroup_deinit(&set->cgroup);
	gw_store_close(&set->store);
}

struct gw_attempt *gw_attempts_find(const struct gw_attempts *set, const struct gw_attempt_id *id)
{
	return gw_table_find(&set->attempts, id);
}

/* Takes a known, ended attempt out of the world; a fence keeps its place. */
static int forget(struct gw_attempts *set, struct gw_attempt *attempt)
{
	struct gw_attempt_id id = attempt->id;
	int result = add_fence(set, &id);

	if (!result)
		result = gw_store_remove(&set->store, &id);
	if (result)
		return result;
	(void)gw_table_remove(&set->attempts, &id);
	gw_attempt_free(attempt);
	return 0;
}

static struct gw_attempt *oldest_acknowledged(const struct gw_attempts *set)
{
	struct gw_attempt *oldest = NULL;

	for (uint32_t i = 0; i < set->attempts.count; i++) {
		struct gw_attempt *attempt = set->attempts.entries[i];

		if (attempt->acknowledged_order &&
		    (!oldest || attempt->acknowledged_order < oldest->acknowledged_order))
			oldest = attempt;
	}
	return oldest;
}

static uint64_t kept_bytes(const struct gw_attempts *set)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < set->attempts.count; i++) {
		const struct gw_attempt *attempt = set->attempts.entries[i];

		if (gw_attempt_ended(attempt))
			total += gw_output_kept_bytes(&attempt->outputs[0]) +
				 gw_output_kept_bytes(&attempt->outputs[1]);
	}
	return total;
}

void gw_attempts_trim(struct gw_attempts *set)
{
	while (kept_bytes(set) > set->kept_bytes_max) {
		struct gw_attempt *oldest = oldest_acknowledged(set);

		if (!oldest || forget(set, oldest))
			return; /* what nobody noted yet stays, whatever its size */
	}
}

/* What nobody has noted yet is never dropped: at a bound new work is refused. */
static int make_room(struct gw_attempts *set, char *ret_error)
{
	struct gw_attempt *oldest;
	uint64_t bytes;

	if (set->stopping) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "the keeper is stopping");
		return -ESHUTDOWN;
	}
	if (set->running_count >= GW_KEEPER_RUNNING_MAX) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES,
			       "%u tasks run here already, the most that a keeper holds",
			       set->running_count);
		return -ENOBUFS;
	}
	gw_attempts_trim(set);
	bytes = kept_bytes(set);
	if (bytes > set->kept_bytes_max) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES,
			       "%" PRIu64 " bytes of output of ended attempts wait to be "
			       "acknowledged; this keeper keeps %" PRIu64,
			       bytes, set->kept_bytes_max);
		return -ENOBUFS;
	}
	if (set->attempts.count < GW_KEEPER_ATTEMPTS_MAX)
		return 0;
	oldest = oldest_acknowledged(set);
	if (oldest && !forget(set, oldest))
		return 0;
	(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES,
		       "%u ended attempts wait to be acknowledged, the most that a keeper holds",
		       set->attempts.count);
	return -ENOBUFS;
}

int gw_attempts_spawn(struct gw_attempts *set, const struct gw_attempt_id *id,
		      const Godwit__KeeperSpawn *spawn, struct gw_attempt **ret_attempt,
		      char *ret_error)
{
	struct gw_attempt *attempt = gw_attempts_find(set, id);
	int result;

	if (attempt) {
		*ret_attempt = attempt;
		return 0;
	}
	if (gw_attempts_fenced(set, id)) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES,
			       "attempt %" PRIu32 " of task %" PRIu32
			       " was killed or is over here and is not started again",
			       id->attempt, id->task_index);
		return -ESTALE;
	}
	result = make_room(set, ret_error);
	if (result)
		return result;
	attempt = new_attempt(set, id);
	if (!attempt) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "the keeper is out of memory");
		return -ENOMEM;
	}
	result = gw_attempt_begin(attempt, spawn, ret_error);
	if (result) {
		(void)gw_table_remove(&set->attempts, id);
		gw_attempt_free(attempt);
		(void)gw_store_remove(&set->store, id);
		return result;
	}
	set->running_count++;
	gw_attempt_touch(attempt);
	*ret_attempt = attempt;
	return 0;
}

int gw_attempts_kill(struct gw_attempts *set, const struct gw_attempt_id *id, uint64_t grace_us,
		     bool lease_ended)
{
	struct gw_attempt *attempt = gw_attempts_find(set, id);

	if (!attempt)
		return add_fence(set, id);
	if (lease_ended)
		gw_attempt_end_lease(attempt, grace_us);
	else
		gw_attempt_terminate(attempt, grace_us);
	return 0;
}

int gw_attempts_acknowledge(struct gw_attempts *set, const struct gw_attempt_id *id,
			    bool with_forget)
{
	struct gw_attempt *attempt = gw_attempts_find(set, id);
	int result = 0;

	if (!attempt)
		return -ENOENT;
	if (!gw_attempt_ended(attempt))
		return -EBUSY;
	if (with_forget)
		return forget(set, attempt);
	if (attempt->acknowledged_order)
		return 0;
	attempt->folder_fd = gw_store_open_attempt(&set->store, id);
	if (attempt->folder_fd < 0)
		return attempt->folder_fd;
	attempt->acknowledged_order = ++set->order_last;
	result = gw_attempt_write(attempt);
	(void)close(attempt->folder_fd);
	attempt->folder_fd = -1;
	if (result)
		attempt->acknowledged_order = 0;
	else
		gw_attempt_untouch(attempt);
	return result;
}

static struct gw_attempt *find_child(const struct gw_attempts *set, pid_t pid)
{
	for (uint32_t i = 0; i < set->attempts.count; i++) {
		struct gw_attempt *attempt = set->attempts.entries[i];

		if (attempt->has_child && attempt->pid == pid)
			return attempt;
	}
	return NULL;
}

void gw_attempts_reap(struct gw_attempts *set)
{
	for (;;) {
		siginfo_t info = {0};
		struct gw_attempt *attempt;
		struct rusage usage;
		int status;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		attempt = find_child(set, info.si_pid);
		/* While the leader is a zombie, its pid still names its session. */
		if (attempt)
			(void)gw_attempt_kill_all(attempt);
		if (wait4(info.si_pid, &status, WNOHANG, &usage) != info.si_pid)
			return;
		if (attempt)
			gw_attempt_exited(attempt, status, &usage);
		else
			gw_store_reaped(&set->store, info.si_pid);
	}
}

void gw_attempts_stop(struct gw_attempts *set)
{
	set->stopping = true;
	set->loop->stop = set->running_count == 0;
	for (uint32_t i = 0; i < set->attempts.count; i++) {
		struct gw_attempt *attempt = set->attempts.entries[i];

		if (!gw_attempt_ended(attempt))
			gw_attempt_terminate(attempt, attempt->grace_us);
	}
}
