/*
 * The daemon around agent/core.
 *
 *	start:	options, identity, the host's shape, the keeper; the core hears of every attempt
 *		that the keeper holds, and only then is there a host, START and a connection: an
 *		inventory told before that would call running attempts lost
 *	run:	one reactor: sockets, keeper, probes, a sample of the host every ten seconds
 *	stop:	SIGTERM or SIGINT: STOP to the core ("draining"), what is queued goes out, the
 *		process ends. Tasks and keeper live on.
 */
#include "agent/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/core/agent.h"
#include "agent/devices.h"
#include "agent/keeper/protocol.h"
#include "agent/options.h"
#include "agent/sample.h"
#include "agent/tasks.h"
#include "agent/topology.h"
#include "agent/upgrade.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "transport/clock.h"
#include "transport/curve.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/journal_file.h"
#include "transport/log.h"
#include "transport/probe.h"
#include "transport/reactor.h"
#include "transport/zsock.h"

#define STOP_US (GW_US_PER_S / 2) /* for the last words to go out */
#define SNAPSHOT_BYTES (1u << 20) /* of records: some months of renewals */
#define DISK_BYTES_MIN (1u << 20) /* free for a node that takes work, and twice to take it again */
#define PATH_BYTES 4096u
#define ADOPT_EFFECTS 4u

struct agent {
	struct gw_agent_settings settings;
	struct gw_topology topology;
	struct gw_keys *keys;
	struct gw_region region;
	struct gw_cert cert;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_node *core;
	struct gw_host *host;
	struct gw_tasks *tasks;
	struct gw_probe *probe;
	struct gw_sampler *sampler;
	struct gw_devices *devices;
	struct gw_timer sample_timer;
	struct gw_prepare prepare;
	struct gw_journal_file *journal;
	uint64_t told_us;     /* renewal that the keeper heard of */
	uint64_t upgrade_seq; /* once it lasts, the file at upgrade_path goes; 0: there is none */
	bool info_due;        /* the host's description is new, or may be another than before */
	bool connected;       /* as last logged */
	bool failed;
	bool stopping;
	bool disk_full;
	bool trouble_due;  /* it is to be told that this is new */
	char trouble[256]; /* why it takes no work; empty: it does */
	char hostname[GW_NAME_BYTES_MAX + 1];
	char journal_path[PATH_BYTES];
	char upgrade_path[PATH_BYTES];
	char keeper_state[PATH_BYTES];
	char keeper_socket[PATH_BYTES];
};

static void log_fault(const char *event, const struct gw_fault *fault)
{
	gw_log(event, "why=\"%s\"", fault->text);
}

/* --- what must outlive the process ------------------------------------------------------------ */

static void journal_durable(void *context, uint64_t seq)
{
	struct agent *agent = context;

	if (agent->upgrade_seq != 0 && seq >= agent->upgrade_seq) {
		(void)unlink(agent->upgrade_path); /* else the next agent does */
		gw_log("upgraded", "file=\"%s\" records=%" PRIu64, agent->upgrade_path,
		       agent->upgrade_seq);
		agent->upgrade_seq = 0;
	}
	if (agent->host)
		gw_host_durable(agent->host, seq);
}

static void journal_failed(void *context, int error, const char *text)
{
	struct agent *agent = context;

	gw_log("failed", "why=\"%s\" error=\"%s\"", text, strerror(-error));
	agent->failed = true;
	gw_reactor_stop(agent->reactor);
}

static int open_journal(struct agent *agent, struct gw_fault *fault)
{
	const struct gw_journal_file_options options = {
		.reactor = agent->reactor,
		.directory = agent->journal_path,
		.snapshot_bytes = SNAPSHOT_BYTES,
		.durable = journal_durable,
		.failed = journal_failed,
		.context = agent,
	};
	struct gw_journal_found found;
	int r = gw_journal_file_open(&options, agent->core, &agent->journal, &found, fault);

	if (r != 0)
		return r;
	gw_log("journal",
	       "last_seq=%" PRIu64 " replayed=%" PRIu64 " cut_bytes=%" PRIu64 " term=%" PRIu64,
	       found.last_seq, found.records, found.cut_bytes, gw_agent_memory(agent->core).term);
	return gw_upgrade(agent->upgrade_path, agent->core, gw_journal_file_journal(agent->journal),
			  &agent->upgrade_seq, fault);
}

/* The keeper must not end what the scheduler has renewed. */
static void tell_renewal(struct agent *agent)
{
	uint64_t renewed_us = gw_agent_keeper_renewal_us(agent->core, agent->told_us);

	if (renewed_us == 0)
		return;
	agent->told_us = renewed_us;
	gw_tasks_renew(agent->tasks, renewed_us);
}

/* NULL: this node can take work. */
static const char *find_trouble(struct agent *agent)
{
	struct gw_journal *journal = gw_journal_file_journal(agent->journal);
	const char *why = NULL;

	if (journal->stalled)
		why = journal->stalled(journal, gw_reactor_now(agent->reactor).mono_us);
	if (!why && agent->disk_full) /* as last looked at */
		why = "the disk of its state folder has less than 1 MiB left";
	return why || !agent->tasks ? why : gw_tasks_trouble(agent->tasks);
}

static void look_at_disk(struct agent *agent)
{
	uint64_t least_bytes = agent->disk_full ? 2 * DISK_BYTES_MIN : DISK_BYTES_MIN;

	agent->disk_full = gw_sampler_disk_free_bytes(agent->sampler) < least_bytes;
}

/* Told to the scheduler at once: it offers this node no more, and says why. */
static void note_trouble(struct agent *agent)
{
	const char *why = find_trouble(agent);

	if (strncmp(why ? why : "", agent->trouble, sizeof(agent->trouble) - 1) == 0)
		return;
	(void)snprintf(agent->trouble, sizeof(agent->trouble), "%s", why ? why : ""); /* cut */
	gw_log(why ? "takes_no_work" : "takes_work", "why=\"%s\"", agent->trouble);
	agent->info_due = true;
	agent->trouble_due = true;
	if (agent->host)
		gw_reactor_timer_set(agent->reactor, &agent->sample_timer, 0);
}

static bool prepare(void *context)
{
	struct agent *agent = context;
	struct gw_agent_counts counts = gw_agent_counts(agent->core);

	if (agent->tasks)
		tell_renewal(agent);
	note_trouble(agent);
	if (gw_journal_file_due(agent->journal))
		(void)gw_journal_file_snapshot(agent->journal, agent->core); /* tried again */
	if (counts.connected != agent->connected) {
		agent->connected = counts.connected;
		gw_log(agent->connected ? "session_open" : "session_lost", "attempts=%u alive=%u",
		       counts.attempts, counts.alive);
		if (agent->connected) /* a scheduler that knows nothing of us should soon */
			gw_reactor_timer_set(agent->reactor, &agent->sample_timer, 0);
	}
	return false;
}

/* --- effects -------------------------------------------------------------------------------- */

static void log_order(const char *event, struct gw_attempt_id attempt)
{
	char text[GW_ATTEMPT_TEXT_BYTES];

	gw_attempt_format(attempt, text);
	gw_log(event, "attempt=%s", text);
}

static void carry_out(void *context, const struct gw_effect *effect)
{
	struct agent *agent = context;

	switch ((int)effect->kind) {
	case GW_EFFECT_PROBE:
		if (gw_probe_set_peers(agent->probe, effect->probe.bytes, effect->probe.size) != 0)
			gw_log("peers_refused", "why=\"not a table that can be probed\"");
		return;
	case GW_EFFECT_SPAWN:
		look_at_disk(agent); /* a disk fills faster than it is sampled */
		note_trouble(agent);
		if (agent->trouble[0]) {
			gw_tasks_refuse(agent->tasks, effect, agent->trouble);
			return;
		}
		log_order("spawn", effect->spawn.attempt);
		break;
	case GW_EFFECT_KILL:
		log_order("kill", effect->kill.attempt);
		break;
	case GW_EFFECT_FORGET:
		log_order("forget", effect->forget.attempt);
		break;
	default:
		CHECK(effect->kind == GW_EFFECT_STREAM);
	}
	gw_tasks_effect(agent->tasks, effect);
}

static void core_failed(void *context, int error)
{
	struct agent *agent = context;

	gw_log("failed", "why=\"%s\"", strerror(-error));
	agent->failed = true;
	gw_reactor_stop(agent->reactor);
}

static void notice(void *context, const char *text)
{
	(void)context;
	gw_log("scheduler", "note=\"%s\"", text);
}

/* Known to the next agent too, which may start when the scheduler of now is gone. */
static void take_schedulers(void *context, const struct gw_scheduler_list *list)
{
	struct agent *agent = context;
	struct gw_fault fault = {""};
	char path[PATH_BYTES];

	agent->region.schedulers = *list;
	(void)gw_file_path(path, sizeof(path), agent->settings.state, GW_REGION_FILE); /* it fits */
	if (gw_region_save(path, &agent->region, &fault) != 0)
		log_fault("schedulers_not_saved", &fault);
	else
		gw_log("schedulers", "count=%u version=%" PRIu64, list->count, list->version);
}

/* --- events --------------------------------------------------------------------------------- */

static void log_task(const struct gw_event *event)
{
	char text[GW_ATTEMPT_TEXT_BYTES];

	if (event->kind == GW_EVENT_SPAWNED) {
		gw_attempt_format(event->spawned.attempt, text);
		if (event->spawned.starting)
			gw_log("starting", "attempt=%s", text);
		else if (event->spawned.error)
			gw_log("not_spawned", "attempt=%s why=\"%s\"", text, event->spawned.error);
		else
			gw_log("spawned", "attempt=%s pid=%u", text, event->spawned.pid);
	} else if (event->kind == GW_EVENT_EXITED) {
		gw_attempt_format(event->exited.attempt, text);
		gw_log("exited", "attempt=%s state=%d exit=%u signal=%u", text,
		       (int)event->exited.state, event->exited.exit_code, event->exited.signal);
	}
}

/* What the keeper held before the core's START: taken in, nothing comes of it as yet. */
static void adopt(struct agent *agent, struct gw_event *event)
{
	struct gw_effects effects;
	int r = gw_effects_init(&effects, ADOPT_EFFECTS, GW_MESSAGE_BYTES_MAX);

	event->now = gw_reactor_now(agent->reactor);
	if (r == 0)
		r = gw_node_step(agent->core, event, &effects);
	CHECK(r != 0 || effects.count == 0); /* no session, no START: nobody to tell */
	gw_effects_deinit(&effects);
	if (r != 0)
		core_failed(agent, r);
}

static void feed(void *context, struct gw_event *event)
{
	struct agent *agent = context;

	log_task(event);
	if (agent->host)
		gw_host_feed(agent->host, event);
	else
		adopt(agent, event);
}

static void paths_observed(void *context, const Godwit__PathReport *report)
{
	struct agent *agent = context;
	struct gw_event event = {.kind = GW_EVENT_OBSERVED};

	event.observed.paths = report;
	gw_host_feed(agent->host, &event);
}

/* protobuf-c has no const in its structs. */
static char *unconst(const char *text)
{
	union {
		const char *from;
		char *to;
	} pointer = {.from = text ? text : ""};

	return pointer.to;
}

static void fill_info(struct agent *agent, const struct gw_now *now, Godwit__NodeInfo *info)
{
	const struct gw_agent_settings *settings = &agent->settings;

	info->hostname = agent->hostname;
	info->agent_version = unconst(GODWIT_VERSION);
	info->cpu_count = settings->cpus ? settings->cpus : agent->topology.cpus;
	info->memory_bytes = settings->memory_bytes ? settings->memory_bytes
						    : gw_sampler_memory_bytes(agent->sampler);
	info->devices = gw_devices_list(agent->devices, &info->n_devices);
	info->topology = agent->topology.text;
	info->numa_nodes = agent->topology.numa_nodes;
	info->packages = agent->topology.packages;
	info->cores = agent->topology.cores;
	info->data_address = unconst(settings->data_address);
	info->port_first = settings->port_first;
	info->port_count = settings->port_count;
	info->probe_port = gw_probe_port(agent->probe);
	info->n_labels = settings->label_count;
	info->labels = agent->settings.labels;
	info->residency = unconst(settings->residency);
	info->boot_id = gw_wire_id(&now->boot_id);
	info->draining = agent->trouble[0] != '\0';
	info->draining_reason = agent->trouble;
}

static void feed_sample(void *context, Godwit__TaskUsage **tasks, size_t count)
{
	struct agent *agent = context;
	struct gw_now now = gw_reactor_now(agent->reactor);
	struct gw_event event = {.kind = GW_EVENT_SAMPLE};
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;

	gw_sampler_take(agent->sampler, &now, &telemetry);
	telemetry.devices = gw_devices_samples(agent->devices, &telemetry.n_devices);
	telemetry.tasks = tasks;
	telemetry.n_tasks = count;
	event.sample.telemetry = &telemetry;
	if (agent->info_due) {
		fill_info(agent, &now, &info);
		event.sample.info = &info;
		agent->info_due = false;
	}
	gw_host_feed(agent->host, &event);
}

static void sample(void *context)
{
	struct agent *agent = context;
	uint64_t now_us = gw_reactor_now(agent->reactor).mono_us;
	bool at_once = agent->trouble_due;

	agent->trouble_due = false;
	gw_reactor_timer_set(agent->reactor, &agent->sample_timer,
			     now_us + agent->settings.telemetry_us);
	look_at_disk(agent);
	gw_devices_read(agent->devices);
	/* With tasks the sample is taken when the keeper has told their usage; but that it takes no
	 * work cannot wait for a keeper that is silent. */
	if (!at_once && gw_agent_counts(agent->core).alive > 0 && gw_tasks_ask_usage(agent->tasks))
		return;
	feed_sample(agent, NULL, 0);
}

static int make_host(struct agent *agent, struct gw_fault *fault)
{
	const struct gw_host_options options = {
		.reactor = agent->reactor,
		.zmq = agent->zmq,
		.core = agent->core,
		.keys = agent->keys,
		.cert = &agent->cert,
		.region = &agent->region,
		.journal = gw_journal_file_journal(agent->journal),
		.last_seq = gw_node_seq(agent->core),
		.effect = carry_out,
		.failed = core_failed,
		.notice = notice,
		.schedulers = take_schedulers,
		.context = agent,
	};

	return gw_host_new(&options, &agent->host, fault);
}

/* The keeper has told of everything that it holds. */
static void tasks_ready(void *context)
{
	struct agent *agent = context;
	struct gw_agent_counts counts = gw_agent_counts(agent->core);
	struct gw_fault fault = {""};

	if (make_host(agent, &fault) != 0) {
		log_fault("failed", &fault);
		agent->failed = true;
		gw_reactor_stop(agent->reactor);
		return;
	}
	gw_log("ready", "attempts=%u alive=%u", counts.attempts, counts.alive);
	gw_host_start(agent->host);
	sample(agent);
}

static void stop_signal(void *context, int number)
{
	struct agent *agent = context;

	gw_log("stopping", "signal=%d", number);
	agent->stopping = true;
	gw_reactor_stop(agent->reactor);
}

/* --- start and stop ------------------------------------------------------------------------- */

/* Another address for the region's scheduler; its heartbeat port is the region's. */
static int pin_scheduler(struct agent *agent, struct gw_fault *fault)
{
	struct gw_scheduler_list *list = &agent->region.schedulers;
	struct gw_scheduler_place *place = &list->places[0];
	uint16_t port = (uint16_t)strtoul(strrchr(place->heartbeat, ':') + 1, NULL, 10);

	(void)snprintf(place->state, sizeof(place->state), "%s", agent->settings.scheduler);
	list->count = 1;
	list->version = GW_SCHEDULERS_PINNED;
	if (gw_endpoint_with_port(place->state, port, place->heartbeat) == 0)
		return 0;
	gw_fault_set(fault, "scheduler: found \"%s\", expected tcp://ADDRESS:PORT",
		     agent->settings.scheduler);
	return -EINVAL;
}

static int load_identity(struct agent *agent, struct gw_fault *fault)
{
	const char *state = agent->settings.state;
	char path[PATH_BYTES];
	int r;

	(void)gw_file_path(path, sizeof(path), state, GW_KEYS_FILE); /* the folder's name fits */
	r = gw_keys_load(path, &agent->keys, fault);
	if (r != 0)
		return r;
	(void)gw_file_path(path, sizeof(path), state, GW_REGION_FILE);
	r = gw_region_load(path, &agent->region, fault);
	if (r != 0)
		return r;
	(void)gw_file_path(path, sizeof(path), state, GW_CERTIFICATE_FILE);
	r = gw_certificate_load(path, &agent->region, gw_clock_wall_us(), &agent->cert, fault);
	if (r != 0)
		return r;
	if (agent->settings.name && strcmp(agent->settings.name, agent->cert.name) != 0) {
		gw_fault_set(fault, "the certificate in %s is of \"%s\", not of \"%s\"", state,
			     agent->cert.name, agent->settings.name);
		return -EINVAL;
	}
	if (!(agent->cert.roles & 1u << GODWIT__ROLE__ROLE_AGENT)) {
		gw_fault_set(fault, "the certificate in %s is not an agent's", state);
		return -EINVAL;
	}
	if (!agent->settings.scheduler)
		return 0;
	return pin_scheduler(agent, fault);
}

static int make_paths(struct agent *agent, struct gw_fault *fault)
{
	char *state = realpath(agent->settings.state, NULL);

	if (!state || strlen(state) > PATH_BYTES - 64) {
		gw_fault_set(fault, "%s: %s", agent->settings.state,
			     state ? "the path is too long" : strerror(errno));
		free(state);
		return -EINVAL;
	}
	(void)snprintf(agent->journal_path, PATH_BYTES, "%s/journal", state);
	(void)snprintf(agent->upgrade_path, PATH_BYTES, "%s/" GW_UPGRADE_FILE, state);
	(void)snprintf(agent->keeper_state, PATH_BYTES, "%s/keeper", state);
	(void)snprintf(agent->keeper_socket, PATH_BYTES, "%s/keeper.socket", state);
	free(state);
	return 0;
}

static int make_core(struct agent *agent, struct gw_fault *fault)
{
	struct gw_agent_config config = gw_agent_config_default();

	if (getrandom(&config.hash_key, sizeof(config.hash_key), 0) !=
	    (ssize_t)sizeof(config.hash_key)) {
		gw_fault_set(fault, "the kernel gives no randomness: %s", strerror(errno));
		return -EIO;
	}
	/* A scheduler's signing key is its region's. */
	config.scheduler = gw_cert_node_id(agent->region.signing_key);
	config.heartbeat_us = agent->settings.heartbeat_us;
	config.telemetry_us = agent->settings.telemetry_us;
	config.task_user = agent->settings.task_user;
	config.task_users = agent->settings.task_users;
	config.task_user_count = agent->settings.task_user_count;
	config.attempts_max = GW_KEEPER_ATTEMPTS_MAX;
	agent->core = gw_agent_new(&config);
	if (!agent->core) {
		gw_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	return 0;
}

static int make_probe(struct agent *agent, struct gw_fault *fault)
{
	const struct gw_probe_options options = {
		.reactor = agent->reactor,
		.address = agent->settings.data_address,
		.port = agent->settings.probe_port,
		.report = paths_observed,
		.context = agent,
	};

	return gw_probe_new(&options, &agent->probe, fault);
}

static int make_tasks(struct agent *agent, struct gw_fault *fault)
{
	const struct gw_tasks_options options = {
		.reactor = agent->reactor,
		.keeper = {.program = agent->settings.keeper,
			   .state = agent->keeper_state,
			   .socket = agent->keeper_socket},
		.feed = feed,
		.ready = tasks_ready,
		.usage = feed_sample,
		.context = agent,
	};

	return gw_tasks_new(&options, &agent->tasks, fault);
}

static int make_reactor(struct agent *agent, struct gw_fault *fault)
{
	static const int signals[] = {SIGTERM, SIGINT};
	int r = gw_reactor_new(&agent->reactor);

	if (r == 0)
		r = gw_reactor_signals(agent->reactor, signals, GW_ARRAY_COUNT(signals),
				       stop_signal, agent);
	if (r != 0) {
		gw_fault_set(fault, "the event loop cannot be made: %s", strerror(-r));
		return r;
	}
	agent->zmq = gw_zmq_new();
	if (!agent->zmq) {
		gw_fault_set(fault, "out of memory");
		return -ENOMEM;
	}
	agent->sample_timer = (struct gw_timer){.fired = sample, .context = agent};
	agent->prepare = (struct gw_prepare){.prepare = prepare, .context = agent};
	return 0;
}

static void devices_read(void *context)
{
	struct agent *agent = context;

	agent->info_due = true; /* the core sees whether it is another than before */
}

static int make_sensors(struct agent *agent, struct gw_fault *fault)
{
	int r = gw_sampler_new("/proc", agent->settings.state, &agent->sampler);

	if (r == 0)
		r = gw_devices_new(agent->reactor, devices_read, agent, &agent->devices);
	if (r != 0)
		gw_fault_set(fault, "the host's sensors cannot be opened: %s", strerror(-r));
	agent->info_due = true;
	return r;
}

static int begin(struct agent *agent, struct gw_fault *fault)
{
	int r = gw_topology_read(&agent->topology); /* forks: before there are threads */

	if (r != 0) {
		gw_fault_set(fault, "the machine's shape cannot be read: %s", strerror(-r));
		return r;
	}
	if ((r = make_paths(agent, fault)) != 0 || (r = load_identity(agent, fault)) != 0 ||
	    (r = gw_file_lock(agent->settings.state, fault)) != 0 ||
	    (r = make_core(agent, fault)) != 0 || (r = make_reactor(agent, fault)) != 0 ||
	    (r = open_journal(agent, fault)) != 0 || (r = make_sensors(agent, fault)) != 0 ||
	    (r = make_probe(agent, fault)) != 0)
		return r;
	gw_reactor_prepare_add(agent->reactor, &agent->prepare);
	gw_log("agent", "name=%s site=%s region=%s scheduler=%s probe_port=%u topology=\"%s\"",
	       agent->cert.name, agent->cert.site, agent->cert.region,
	       agent->region.schedulers.places[0].state, gw_probe_port(agent->probe),
	       agent->topology.text);
	return make_tasks(agent, fault);
}

/* Says goodbye, and gives it time to go out. */
static void finish(struct agent *agent)
{
	uint64_t until_us = gw_reactor_now(agent->reactor).mono_us + STOP_US;

	if (!agent->host)
		return;
	gw_host_stop(agent->host);
	while (gw_reactor_now(agent->reactor).mono_us < until_us)
		if (gw_reactor_turn(agent->reactor, until_us) != 0)
			return;
}

static void end(struct agent *agent)
{
	(void)gw_tasks_free(agent->tasks);
	(void)gw_host_free(agent->host);
	(void)gw_probe_free(agent->probe);
	if (agent->reactor) {
		gw_reactor_timer_cancel(agent->reactor, &agent->sample_timer);
		gw_reactor_prepare_remove(agent->reactor, &agent->prepare);
	}
	(void)gw_devices_free(agent->devices);
	(void)gw_journal_file_close(agent->journal);
	gw_node_free(agent->core);
	(void)gw_sampler_free(agent->sampler);
	gw_zmq_free(agent->zmq);
	(void)gw_reactor_free(agent->reactor);
	(void)gw_keys_free(agent->keys);
}

int gw_agent_serve(const struct gw_agent_settings *settings)
{
	static struct agent agent; /* one a process; larger than a frame should be */
	struct gw_fault fault = {""};
	int r;

	agent.settings = *settings;
	(void)gethostname(agent.hostname, sizeof(agent.hostname) - 1); /* else it is empty */
	r = begin(&agent, &fault);
	if (r != 0) {
		(void)fprintf(stderr, "godwit-agent: %s\n", fault.text);
		end(&agent);
		return EXIT_FAILURE;
	}
	(void)malloc_trim(0);
	r = gw_reactor_run(agent.reactor);
	if (r == 0 && agent.stopping)
		finish(&agent);
	end(&agent);
	gw_log("stopped", "good=%d", r == 0 && !agent.failed);
	return r == 0 && !agent.failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
