/*
 * The region's leader: the core, started, and the sockets around it. Before that the core is a copy
 * that journal and records fill; afterwards, when this scheduler is no longer the one, both are
 * freed whole, since what the core decided last may never have lasted.
 *
 * Ids carry an epoch that grows with every leader. It comes from the journal, and from STATE/epoch,
 * which is counted and on disk before the first id is given out: a disk that lost the journal's end,
 * or a journal that was moved away, gives out no id twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/base/check.h"
#include "proto/step.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/daemon.h"
#include "scheduler/region.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/log.h"

#define EPOCH_FILE "epoch"
#define CATCH_UP_US GW_US_PER_S /* at least, between two terms that nodes made it begin */

int gw_leader_read_epoch(struct daemon *daemon, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char text[32] = {0};
	size_t size = 0;
	unsigned long epoch;
	int r;

	/* Shorter than the keys' path, which was read. */
	(void)gw_file_path(path, sizeof(path), daemon->options->common.state, EPOCH_FILE);
	r = gw_file_read(path, false, sizeof(text) - 1, text, &size, fault);
	if (r != 0 && r != -ENOENT)
		return r;
	epoch = strtoul(text, NULL, 10);
	if (epoch >= UINT32_MAX - 1 || (size > 0 && epoch == 0)) {
		gw_fault_set(fault, "%s: expected the count of this scheduler's starts", path);
		return -EINVAL;
	}
	daemon->epoch = (uint32_t)epoch;
	return 0;
}

static int write_epoch(struct daemon *daemon, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char text[32];

	(void)gw_file_path(path, sizeof(path), daemon->options->common.state, EPOCH_FILE);
	(void)snprintf(text, sizeof(text), "%" PRIu32 "\n", daemon->epoch);
	return gw_file_write(path, 0600, false, text, strlen(text), fault);
}

/* Ids of different regions differ: the first field is the head of the region's own id. */
static uint32_t region_number(const struct gw_keys *keys)
{
	const uint8_t *bytes = keys->node.id.bytes;

	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

int gw_leader_core(struct daemon *daemon, struct gw_fault *fault)
{
	const struct run_options *options = daemon->options;
	struct gw_scheduler_config config;

	CHECK(!daemon->host);
	gw_node_free(daemon->core);
	gw_scheduler_config_defaults(&config);
	config.region = daemon->region.name;
	config.region_id = region_number(daemon->keys);
	config.epoch_min = daemon->epoch + 1;
	config.unknown_after_us = options->unknown_after_us;
	config.lost_after_us = options->lost_after_us;
	config.lease_us = options->lease_us;
	config.waiting_tasks_per_user_max = (uint32_t)options->waiting_tasks_max;
	daemon->core = NULL;
	if (getrandom(&config.seed, sizeof(config.seed), 0) != (ssize_t)sizeof(config.seed)) {
		gw_fault_set(fault, "the kernel gives no randomness: %s", strerror(errno));
		return -EIO;
	}
	daemon->core = gw_scheduler_new(&config);
	if (daemon->core)
		return 0;
	gw_fault_set(fault, "out of memory");
	return -ENOMEM;
}

static void core_failed(void *context, int error)
{
	struct daemon *daemon = context;

	if (error != -ESTALE) /* of which the journal is about to tell standby.c */
		gw_daemon_fail(daemon, strerror(-error));
}

static int open_sockets(struct daemon *daemon, uint64_t term, struct gw_fault *fault)
{
	const struct run_options *options = daemon->options;
	char state[GW_ENDPOINT_BYTES_MAX + 1];
	char heartbeat[GW_ENDPOINT_BYTES_MAX + 1];
	const struct gw_host_options host = {
		.reactor = daemon->reactor,
		.zmq = daemon->zmq,
		.core = daemon->core,
		.keys = daemon->keys,
		.region = &daemon->region,
		.identities = daemon->identities,
		.state_endpoint = state,
		.heartbeat_endpoint = heartbeat,
		.journal = daemon->journal,
		.last_seq = gw_node_seq(daemon->core),
		.term = term,
		.worker_count = (uint32_t)options->workers,
		.failed = core_failed,
		.observe = gw_daemon_observed,
		.context = daemon,
	};
	int r = gw_listen_endpoint(options->listen, options->port, state, fault);

	if (r == 0)
		r = gw_listen_endpoint(options->listen, options->port + 1, heartbeat, fault);
	if (r == 0)
		r = gw_host_new(&host, &daemon->host, fault);
	return r;
}

int gw_leader_begin(struct daemon *daemon, uint64_t term, struct gw_fault *fault)
{
	uint64_t start_term;
	uint32_t epoch;
	int r;

	/* As the core reckons at ROLE. */
	gw_scheduler_term(daemon->core, &start_term, &epoch);
	start_term = (start_term > daemon->epoch ? start_term : daemon->epoch) + 1;
	epoch = (epoch > daemon->epoch ? epoch : daemon->epoch) + 1;
	if (term < start_term)
		term = start_term;
	daemon->epoch = epoch;
	r = write_epoch(daemon, fault);
	if (r == 0)
		r = open_sockets(daemon, term, fault);
	if (r != 0)
		return r;
	gw_log("leader", "region=%s term=%" PRIu64 " seq=%" PRIu64, daemon->region.name, term,
	       gw_node_seq(daemon->core));
	gw_host_start(daemon->host);
	return 0;
}

int gw_leader_catch_up(struct daemon *daemon, uint64_t now_us, struct gw_fault *fault)
{
	const struct gw_journal *journal = daemon->journal;
	uint64_t seen = gw_scheduler_term_seen(daemon->core);
	int r;

	if (seen == 0 || now_us - daemon->caught_up_us < CATCH_UP_US ||
	    (journal->valid && !journal->valid(journal, now_us)))
		return 0;
	daemon->caught_up_us = now_us;
	gw_log("records_lost",
	       "why=\"a node obeys a leader of term %" PRIu64
	       ", which no record here knows of: the "
	       "journal is an old copy, or another scheduler has led this region. Term %" PRIu64
	       " begins; godwit sites says which node\"",
	       seen, seen + 1);
	daemon->epoch++; /* as the core counts at ROLE */
	r = write_epoch(daemon, fault);
	if (r == 0)
		gw_host_lead(daemon->host, seen + 1);
	return r;
}

void gw_leader_end(struct daemon *daemon)
{
	daemon->host = gw_host_free(daemon->host);
	gw_node_free(daemon->core);
	daemon->core = NULL;
}
