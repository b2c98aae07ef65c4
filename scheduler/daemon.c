/*
 * godwit-scheduler run: the daemon around scheduler/core.
 *
 *	start:	options, the region's keys, the identities; ZAP handler, sockets (state, heartbeat,
 *		enrolment); START and ROLE to the core
 *	run:	one reactor; planners on a thread of their own
 *	stop:	SIGTERM or SIGINT: STOP to the core, what is queued goes out, the process ends.
 *		Running tasks need no scheduler.
 *
 * The journal is in memory: a scheduler that starts again knows its identities and nothing of jobs.
 * A count of starts, kept on disk, makes sure that it never gives an id out twice.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/base/check.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/options.h"
#include "scheduler/region.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/identity.h"
#include "transport/log.h"
#include "transport/reactor.h"
#include "transport/zap.h"
#include "transport/zsock.h"

#define EPOCH_FILE "epoch"
#define STOP_US (GW_US_PER_S / 2) /* for the last words to go out */

/* Lines of one kind of event: a stranger who knocks fast must not fill a disk. */
struct log_limit {
	uint64_t second_us; /* its begin */
	uint32_t lines;     /* in it */
	uint64_t left_out;  /* since the last line */
};

struct daemon {
	struct log_limit log_limits[GW_OBSERVED_KINDS];
	struct gw_keys *keys;
	struct gw_region region;
	struct gw_identities *identities;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_zap *zap;
	struct gw_node *core;
	struct gw_host *host;
	struct gw_enrol *enrol;
	bool failed;
};

/* Counts this start, on disk before anything is given out under it. */
static int count_start(const char *state, uint32_t *ret_epoch, struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char text[32] = {0};
	size_t size = 0;
	unsigned long epoch;
	int r;

	(void)gw_file_path(path, sizeof(path), state, EPOCH_FILE); /* shorter than the keys' path */
	r = gw_file_read(path, false, sizeof(text) - 1, text, &size, fault);
	if (r != 0 && r != -ENOENT)
		return r;
	epoch = strtoul(text, NULL, 10) + 1;
	if (epoch >= UINT32_MAX || (size > 0 && epoch == 1)) {
		gw_fault_set(fault, "%s: expected the count of this scheduler's starts", path);
		return -EINVAL;
	}
	(void)snprintf(text, sizeof(text), "%lu\n", epoch);
	r = gw_file_write(path, 0600, false, text, strlen(text), fault);
	if (r == 0)
		*ret_epoch = (uint32_t)epoch;
	return r;
}

/* Ids of different regions differ: the first field is the head of the region's own id. */
static uint32_t region_number(const struct gw_keys *keys)
{
	const uint8_t *bytes = keys->node.id.bytes;

	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

static int make_core(struct daemon *daemon, const struct run_options *options, uint32_t epoch,
		     struct gw_fault *fault)
{
	struct gw_scheduler_config config;

	gw_scheduler_config_defaults(&config);
	config.region = daemon->region.name;
	config.region_id = region_number(daemon->keys);
	config.epoch_min = epoch;
	config.unknown_after_us = options->unknown_after_us;
	config.lost_after_us = options->lost_after_us;
	config.lease_us = options->lease_us;
	config.waiting_tasks_per_user_max = (uint32_t)options->waiting_tasks_max;
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

	gw_log("failed", "why=\"%s\"", strerror(-error));
	daemon->failed = true;
	gw_reactor_stop(daemon->reactor);
}

static void stop_signal(void *context, int number)
{
	struct daemon *daemon = context;

	gw_log("stopping", "signal=%d", number);
	gw_reactor_stop(daemon->reactor);
}

static void observed(void *context, enum gw_observed what, const char *who, const char *why)
{
	static const struct {
		const char *event;
		uint32_t lines_per_s_max;
	} kinds[GW_OBSERVED_KINDS] = {
		[GW_OBSERVED_SESSION_OPEN] = {"session_open", 50},
		[GW_OBSERVED_SESSION_CLOSED] = {"session_closed", 50},
		[GW_OBSERVED_KEY_REFUSED] = {"key_refused", 1},
		[GW_OBSERVED_JOINED] = {"joined", 50},
		[GW_OBSERVED_JOIN_REFUSED] = {"join_refused", 1},
		[GW_OBSERVED_REVOKED] = {"revoked", 50},
	};
	struct daemon *daemon = context;
	struct log_limit *limit = &daemon->log_limits[what];
	uint64_t now_us = gw_reactor_now(daemon->reactor).mono_us;

	if (now_us - limit->second_us >= GW_US_PER_S) {
		limit->second_us = now_us;
		limit->lines = 0;
	}
	if (limit->lines >= kinds[what].lines_per_s_max) {
		limit->left_out++;
		return;
	}
	if (limit->left_out > 0)
		gw_log(kinds[what].event, "left_out=%" PRIu64, limit->left_out);
	gw_log(kinds[what].event, "name=%s%s%s%s", who, *why ? " why=\"" : "", why,
	       *why ? "\"" : "");
	limit->lines++;
	limit->left_out = 0;
}

static int make_sockets(struct daemon *daemon, const struct run_options *options, uint32_t epoch,
			struct gw_fault *fault)
{
	char state[GW_ENDPOINT_BYTES_MAX + 1];
	char heartbeat[GW_ENDPOINT_BYTES_MAX + 1];
	char enrol[GW_ENDPOINT_BYTES_MAX + 1];
	const struct gw_host_options host = {
		.reactor = daemon->reactor,
		.zmq = daemon->zmq,
		.core = daemon->core,
		.keys = daemon->keys,
		.region = &daemon->region,
		.identities = daemon->identities,
		.state_endpoint = state,
		.heartbeat_endpoint = heartbeat,
		.term = epoch,
		.worker_count = (uint32_t)options->workers,
		.failed = core_failed,
		.observe = observed,
		.context = daemon,
	};
	struct gw_enrol_options joining = {
		.reactor = daemon->reactor,
		.zmq = daemon->zmq,
		.keys = daemon->keys,
		.region = daemon->region.name,
		.identities = daemon->identities,
		.state_directory = options->common.state,
		.endpoint = enrol,
		.observe = observed,
		.context = daemon,
	};
	int r = gw_listen_endpoint(options->listen, options->port, state, fault);

	if (r == 0)
		r = gw_listen_endpoint(options->listen, options->port + 1, heartbeat, fault);
	if (r == 0)
		r = gw_listen_endpoint(options->listen, options->port + 2, enrol, fault);
	if (r == 0)
		r = gw_host_new(&host, &daemon->host, fault);
	if (r != 0)
		return r;
	joining.state_port = gw_host_state_port(daemon->host);
	joining.heartbeat_port = gw_host_heartbeat_port(daemon->host);
	return gw_enrol_new(&joining, &daemon->enrol, fault);
}

static int make_daemon(struct daemon *daemon, const struct run_options *options,
		       struct gw_fault *fault)
{
	static const int signals[] = {SIGTERM, SIGINT};
	uint32_t epoch = 0;
	int r = gw_region_open(options->common.state, &daemon->keys, &daemon->region, fault);

	if (r == 0)
		r = gw_file_lock(options->common.state, fault);
	if (r == 0)
		r = count_start(options->common.state, &epoch, fault);
	if (r == 0)
		r = gw_identities_open(options->common.state, daemon->keys->signing_key,
				       &daemon->identities, fault);
	if (r != 0)
		return r;
	r = gw_reactor_new(&daemon->reactor);
	if (r == 0)
		r = gw_reactor_signals(daemon->reactor, signals, GW_ARRAY_COUNT(signals),
				       stop_signal, daemon);
	daemon->zmq = gw_zmq_new(); /* after the signals: its threads inherit their mask */
	if (r != 0 || !daemon->zmq) {
		gw_fault_set(fault, "cannot begin: %s", strerror(r ? -r : errno));
		return r ? r : -ENOMEM;
	}
	r = make_core(daemon, options, epoch, fault);
	if (r == 0)
		r = gw_zap_new(daemon->reactor, daemon->zmq, daemon->identities, &daemon->zap,
			       fault);
	if (r != 0)
		return r;
	gw_zap_observe(daemon->zap, observed, daemon);
	return make_sockets(daemon, options, epoch, fault);
}

static void free_daemon(struct daemon *daemon)
{
	gw_enrol_free(daemon->enrol);
	gw_host_free(daemon->host);
	gw_node_free(daemon->core);
	gw_zap_free(daemon->zap);
	gw_zmq_free(daemon->zmq);
	gw_reactor_free(daemon->reactor);
	gw_identities_free(daemon->identities);
	gw_keys_free(daemon->keys);
}

static void stop_orderly(struct daemon *daemon)
{
	uint64_t until_us = gw_reactor_now(daemon->reactor).mono_us + STOP_US;

	gw_host_stop(daemon->host);
	while (gw_reactor_now(daemon->reactor).mono_us < until_us &&
	       gw_reactor_turn(daemon->reactor, until_us) == 0)
		;
}

int gw_command_run(const struct gw_command *command, void *options, int operand_count,
		   char **operands)
{
	const struct run_options *run = options;
	struct daemon daemon = {.failed = false};
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (gw_listen_check(run->listen) != 0)
		return EXIT_USAGE;
	if (make_daemon(&daemon, run, &fault) != 0) {
		free_daemon(&daemon);
		return gw_complain(&fault);
	}
	(void)printf("region %s listens on %s, ports %u to %u\n", daemon.region.name, run->listen,
		     gw_host_state_port(daemon.host), gw_enrol_port(daemon.enrol));
	(void)fflush(stdout);
	gw_log("ready", "region=%s", daemon.region.name);
	gw_host_start(daemon.host);
	if (gw_reactor_run(daemon.reactor) != 0)
		daemon.failed = true;
	if (!daemon.failed)
		stop_orderly(&daemon);
	gw_log("stopped", "good=%d", !daemon.failed);
	free_daemon(&daemon);
	return daemon.failed ? 1 : 0;
}
