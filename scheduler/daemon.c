/*
 * godwit-scheduler run: one process and what lasts as long as it.
 *
 *	start:	options, the region's keys, the identities; ZAP handler; the journal, and with it
 *		the core; enrolment, which is open whoever leads
 *	run:	one reactor; planners on a thread of their own. While this scheduler leads: state
 *		and heartbeat sockets (leader.c)
 *	stop:	SIGTERM or SIGINT: STOP to the core, what is queued goes out, a standby is let in,
 *		the process ends. Running tasks need no scheduler.
 */
#include "scheduler/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/step.h"
#include "scheduler/region.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/identity.h"
#include "transport/journal.h"
#include "transport/log.h"
#include "transport/zap.h"
#include "transport/zsock.h"

#define STOP_US (GW_US_PER_S / 2) /* for the last words to go out */

void gw_daemon_fail(struct daemon *daemon, const char *why)
{
	gw_log("failed", "why=\"%s\"", why);
	daemon->failed = true;
	gw_reactor_stop(daemon->reactor);
}

static void stop_signal(void *context, int number)
{
	struct daemon *daemon = context;

	gw_log("stopping", "signal=%d", number);
	gw_reactor_stop(daemon->reactor);
}

void gw_daemon_observed(void *context, enum gw_observed what, const char *who, const char *why)
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

/* Says when the journal does not keep up, and when it does again; a line a second at most. */
static void watch_stall(struct daemon *daemon, uint64_t now_us)
{
	const char *why = daemon->host && daemon->journal->stalled
				  ? daemon->journal->stalled(daemon->journal, now_us)
				  : NULL;

	if ((why != NULL) == daemon->slow || now_us - daemon->slow_logged_us < GW_US_PER_S)
		return;
	daemon->slow = why != NULL;
	daemon->slow_logged_us = now_us;
	if (why)
		gw_log("journal_slow", "why=\"%s\"", why);
	else
		gw_log("journal_well", "seq=%" PRIu64,
		       daemon->core ? gw_node_seq(daemon->core) : 0);
}

static bool watch_journal(void *context)
{
	struct daemon *daemon = context;
	uint64_t now_us = gw_reactor_now(daemon->reactor).mono_us;
	struct gw_fault fault = {""};

	watch_stall(daemon, now_us);
	if (!daemon->host)
		return false;
	if (gw_leader_catch_up(daemon, now_us, &fault) != 0)
		gw_daemon_fail(daemon, fault.text);
	if (daemon->file)
		gw_embedded_snapshot(daemon);
	else
		gw_standby_snapshot(daemon);
	return false;
}

static int open_enrolment(struct daemon *daemon, struct gw_fault *fault)
{
	const struct run_options *options = daemon->options;
	char endpoint[GW_ENDPOINT_BYTES_MAX + 1];
	const struct gw_enrol_options joining = {
		.reactor = daemon->reactor,
		.zmq = daemon->zmq,
		.keys = daemon->keys,
		.region = daemon->region.name,
		.identities = daemon->identities,
		.state_directory = options->common.state,
		.endpoint = endpoint,
		.state_port = (uint16_t)options->port,
		.heartbeat_port = (uint16_t)(options->port + 1),
		/* A standby's journal takes no records, but its certificates go the same way. */
		.journal = daemon->standby ? NULL : daemon->journal,
		.keep = daemon->standby ? gw_standby_keep : NULL,
		.observe = gw_daemon_observed,
		.context = daemon,
	};
	int r = gw_listen_endpoint(options->listen, options->port + 2, endpoint, fault);

	return r == 0 ? gw_enrol_new(&joining, &daemon->enrol, fault) : r;
}

static int make_daemon(struct daemon *daemon, struct gw_fault *fault)
{
	static const int signals[] = {SIGTERM, SIGINT};
	const char *state = daemon->options->common.state;
	int r = gw_region_open(state, &daemon->keys, &daemon->region, fault);

	if (r == 0)
		r = gw_file_lock(state, fault);
	if (r == 0)
		r = gw_leader_read_epoch(daemon, fault);
	if (r == 0)
		r = gw_identities_open(state, daemon->keys->signing_key, &daemon->identities,
				       fault);
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
	r = gw_zap_new(daemon->reactor, daemon->zmq, daemon->identities, &daemon->zap, fault);
	if (r != 0)
		return r;
	gw_zap_observe(daemon->zap, gw_daemon_observed, daemon);
	r = daemon->options->etcd ? gw_standby_begin(daemon, fault)
				  : gw_embedded_begin(daemon, fault);
	if (r == 0)
		r = open_enrolment(daemon, fault);
	if (r != 0)
		return r;
	daemon->watch = (struct gw_prepare){.prepare = watch_journal, .context = daemon};
	gw_reactor_prepare_add(daemon->reactor, &daemon->watch);
	return 0;
}

static void free_daemon(struct daemon *daemon)
{
	if (daemon->watch.prepare)
		gw_reactor_prepare_remove(daemon->reactor, &daemon->watch);
	gw_enrol_free(daemon->enrol);
	daemon->host = gw_host_free(daemon->host);
	gw_embedded_end(daemon);
	gw_standby_end(daemon);
	gw_leader_end(daemon);
	gw_zap_free(daemon->zap);
	gw_zmq_free(daemon->zmq);
	gw_reactor_free(daemon->reactor);
	gw_identities_free(daemon->identities);
	gw_keys_free(daemon->keys);
}

static void stop_orderly(struct daemon *daemon)
{
	uint64_t until_us;

	if (daemon->host)
		gw_host_stop(daemon->host);
	if (daemon->standby) {
		gw_standby_hand_over(daemon);
		return;
	}
	until_us = gw_reactor_now(daemon->reactor).mono_us + STOP_US;
	while (gw_reactor_now(daemon->reactor).mono_us < until_us &&
	       gw_reactor_turn(daemon->reactor, until_us) == 0)
		;
}

/* -EINVAL, and stderr says why. */
static int check_options(const struct run_options *run)
{
	if (gw_listen_check("listen", run->listen) != 0 ||
	    (run->advertise && gw_listen_check("advertise", run->advertise) != 0))
		return -EINVAL;
	if (run->etcd || (!run->advertise && !run->etcd_prefix && !run->etcd_ca &&
			  !run->etcd_certificate && !run->etcd_key && !run->etcd_user_file))
		return 0;
	(void)fprintf(stderr, "godwit-scheduler: --advertise and the options that begin with "
			      "--etcd- mean nothing without --etcd\n");
	return -EINVAL;
}

int gw_command_run(const struct gw_command *command, void *options, int operand_count,
		   char **operands)
{
	const struct run_options *run = options;
	struct daemon daemon = {.options = run};
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (check_options(run) != 0)
		return EXIT_USAGE;
	if (make_daemon(&daemon, &fault) != 0) {
		free_daemon(&daemon);
		return gw_complain(&fault);
	}
	(void)printf("region %s listens on %s, ports %u to %u\n", daemon.region.name, run->listen,
		     (unsigned)run->port, gw_enrol_port(daemon.enrol));
	(void)fflush(stdout);
	gw_log("ready", "region=%s journal=%s", daemon.region.name, run->etcd ? "etcd" : "local");
	if (gw_reactor_run(daemon.reactor) != 0)
		daemon.failed = true;
	if (!daemon.failed)
		stop_orderly(&daemon);
	gw_log("stopped", "good=%d", !daemon.failed);
	free_daemon(&daemon);
	return daemon.failed ? 1 : 0;
}
