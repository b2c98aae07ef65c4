/*
 * godwit-scheduler: the daemon around scheduler/core, and the making of a region and of tickets.
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
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/cert.h"
#include "proto/option.h"
#include "scheduler/core/scheduler.h"
#include "transport/clock.h"
#include "transport/curve.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/host.h"
#include "transport/identity.h"
#include "transport/log.h"
#include "transport/reactor.h"
#include "transport/zap.h"
#include "transport/zsock.h"

#define EXIT_USAGE 2
#define EPOCH_FILE "epoch"
#define STOP_US (GW_US_PER_S / 2) /* for the last words to go out */

struct common_options {
	const char *state;
};

struct init_options {
	struct common_options common;
	const char *region;
	struct gw_mark region_mark;
};

struct run_options {
	struct common_options common;
	const char *listen;
	struct gw_mark listen_mark;
	uint64_t port;
	uint64_t unknown_after_us;
	uint64_t lost_after_us;
	uint64_t lease_us;
	uint64_t waiting_tasks_max;
	uint64_t workers;
};

struct token_options {
	struct common_options common;
	const char *listen;
	struct gw_mark listen_mark;
	uint64_t port;
	const char *ticket;
	struct gw_mark ticket_mark;
	uint64_t role; /* index into role_names */
	struct gw_mark role_mark;
	const char *site;
	const char *name;
	const char *provider;
	const char *tenant;
	uint64_t token_life_us;
	uint64_t certificate_life_us;
};

static const char *const role_names[] = {"agent", "user", "operator", NULL};
static const Godwit__Role roles[] = {GODWIT__ROLE__ROLE_AGENT, GODWIT__ROLE__ROLE_USER,
				     GODWIT__ROLE__ROLE_OPERATOR};

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

static int complain(const struct gw_fault *fault)
{
	(void)fprintf(stderr, "godwit-scheduler: %s\n", fault->text);
	return 1;
}

/* "tcp://[::1]:7100"; an IPv6 address is put in brackets. -EINVAL, with a sentence. */
static int make_endpoint(const char *address, uint64_t port, char *ret_endpoint,
			 struct gw_fault *fault)
{
	bool bare_v6 = strchr(address, ':');
	int length = snprintf(ret_endpoint, GW_ENDPOINT_BYTES_MAX + 1,
			      bare_v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", address, (unsigned)port);

	if (length > 0 && (unsigned)length <= GW_ENDPOINT_BYTES_MAX)
		return 0;
	gw_fault_set(fault, "--listen %s is too long for an address", address);
	return -EINVAL;
}

/* Names are not looked up: what the joiner reaches must not change with a name server's word. */
static int check_listen(const char *address)
{
	uint8_t bytes[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1)
		return 0;
	(void)fprintf(stderr,
		      "godwit-scheduler: --listen: found \"%s\", expected an IP address like "
		      "10.0.0.1 or fd00::1\n",
		      address);
	return -EINVAL;
}

static int load_region(const char *state, struct gw_keys **ret_keys, struct gw_region *ret_region,
		       struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	int r = gw_file_path(path, sizeof(path), state, GW_KEYS_FILE);

	if (r != 0) {
		gw_fault_set(fault, "--state %s is too long a path", state);
		return r;
	}
	r = gw_keys_load(path, ret_keys, fault);
	if (r != 0)
		return r;
	(void)gw_file_path(path, sizeof(path), state, GW_REGION_FILE); /* shorter than the first */
	r = gw_region_load(path, ret_region, fault);
	if (r != 0)
		*ret_keys = gw_keys_free(*ret_keys);
	return r;
}

/* --- init ----------------------------------------------------------------------------------- */

static int make_region(const struct init_options *options, struct gw_region *region,
		       struct gw_fault *fault)
{
	const char *state = options->common.state;
	struct gw_keys *keys;
	char path[GW_PATH_BYTES];
	int r;

	if (!gw_cert_name_valid(options->region)) {
		gw_fault_set(fault,
			     "--region: a name has up to %u letters, digits, '.', '_' and "
			     "'-', and begins with a letter or digit",
			     GW_NAME_BYTES_MAX);
		return -EINVAL;
	}
	if (mkdir(state, 0700) != 0 && errno != EEXIST) {
		gw_fault_set(fault, "cannot make %s: %s", state, strerror(errno));
		return -errno;
	}
	r = gw_file_path(path, sizeof(path), state, GW_KEYS_FILE);
	if (r != 0) {
		gw_fault_set(fault, "--state %s is too long a path", state);
		return r;
	}
	r = gw_keys_create(path, &keys, fault);
	if (r != 0)
		return r;
	(void)snprintf(region->name, sizeof(region->name), "%s", options->region);
	memcpy(region->signing_key, keys->signing_key, sizeof(region->signing_key));
	memcpy(region->exchange_key, keys->exchange_key, sizeof(region->exchange_key));
	gw_keys_free(keys);
	(void)gw_file_path(path, sizeof(path), state, GW_REGION_FILE);
	return gw_region_save(path, region, fault);
}

static int run_init(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	const struct init_options *init = options;
	struct gw_region region = {.name = ""};
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (make_region(init, &region, &fault) != 0)
		return complain(&fault);
	(void)printf("Made region %s in %s. Keep %s/" GW_KEYS_FILE " safe: whoever has it is the "
		     "region.\n",
		     region.name, init->common.state, init->common.state);
	return 0;
}

/* --- token ---------------------------------------------------------------------------------- */

static int read_grant(const struct token_options *options, struct gw_grant *grant,
		      struct gw_fault *fault)
{
	bool agent = roles[options->role] == GODWIT__ROLE__ROLE_AGENT;

	grant->role = roles[options->role];
	if (options->name && !gw_cert_name_valid(options->name)) {
		gw_fault_set(fault, "--name: '%s' is not a name", options->name);
		return -EINVAL;
	}
	if (agent && (!options->site || !gw_cert_name_valid(options->site))) {
		gw_fault_set(fault, "--site: an agent's token names the site where it stands");
		return -EINVAL;
	}
	if (options->tenant && !gw_id_parse_hex(options->tenant, &grant->tenant)) {
		gw_fault_set(fault, "--tenant: an id has 32 hexadecimal digits");
		return -EINVAL;
	}
	(void)snprintf(grant->name, sizeof(grant->name), "%s", options->name ? options->name : "");
	(void)snprintf(grant->site, sizeof(grant->site), "%s", options->site ? options->site : "");
	(void)snprintf(grant->provider, sizeof(grant->provider), "%s",
		       options->provider ? options->provider : "");
	grant->expires_wall_us = gw_clock_wall_us() + (int64_t)options->token_life_us;
	grant->certificate_life_us = options->certificate_life_us;
	return 0;
}

static int make_ticket(const struct token_options *options, struct gw_fault *fault)
{
	struct gw_ticket ticket = {.role = roles[options->role]};
	struct gw_grant grant = {.role = GODWIT__ROLE__ROLE_NONE};
	struct gw_keys *keys;
	int r = read_grant(options, &grant, fault);

	if (r != 0)
		return r;
	r = make_endpoint(options->listen, options->port + 2, ticket.enrol_endpoint, fault);
	if (r != 0)
		return r;
	r = load_region(options->common.state, &keys, &ticket.region, fault);
	if (r != 0)
		return r;
	gw_keys_free(keys);
	ticket.region.state_endpoint[0] = '\0';
	ticket.region.heartbeat_endpoint[0] = '\0';
	r = gw_token_create(options->common.state, &grant, ticket.token, fault);
	if (r == 0)
		r = gw_ticket_save(options->ticket, &ticket, fault);
	sodium_memzero(&ticket, sizeof(ticket));
	return r;
}

static int run_token(const struct gw_command *command, void *options, int operand_count,
		     char **operands)
{
	const struct token_options *token = options;
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (check_listen(token->listen) != 0)
		return EXIT_USAGE;
	if (access(token->ticket, F_OK) == 0) { /* before a token is made for it */
		gw_fault_set(&fault, "%s exists and is not overwritten", token->ticket);
		return complain(&fault);
	}
	if (make_ticket(token, &fault) != 0)
		return complain(&fault);
	(void)printf("Wrote %s, a ticket for one %s. It is a secret until used: carry it to its "
		     "host and run %s join there.\n",
		     token->ticket, role_names[token->role],
		     roles[token->role] == GODWIT__ROLE__ROLE_AGENT ? "godwit-agent" : "godwit");
	return 0;
}

/* --- run ------------------------------------------------------------------------------------ */

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
	int r = make_endpoint(options->listen, options->port, state, fault);

	if (r == 0)
		r = make_endpoint(options->listen, options->port + 1, heartbeat, fault);
	if (r == 0)
		r = make_endpoint(options->listen, options->port + 2, enrol, fault);
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
	int r = load_region(options->common.state, &daemon->keys, &daemon->region, fault);

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

static int run_run(const struct gw_command *command, void *options, int operand_count,
		   char **operands)
{
	const struct run_options *run = options;
	struct daemon daemon = {.failed = false};
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (check_listen(run->listen) != 0)
		return EXIT_USAGE;
	if (make_daemon(&daemon, run, &fault) != 0) {
		free_daemon(&daemon);
		return complain(&fault);
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

/* --- states --------------------------------------------------------------------------------- */

static int run_states(const struct gw_command *command, void *options, int operand_count,
		      char **operands)
{
	char text[6000];

	(void)command;
	(void)options;
	(void)operand_count;
	(void)operands;
	CHECK(gw_scheduler_states(text, sizeof(text)) < sizeof(text));
	(void)fputs(text, stdout);
	return 0;
}

/* --- tables --------------------------------------------------------------------------------- */

static const struct gw_option common_options[] = {
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct common_options, state),
		   .fallback = "/var/lib/godwit-scheduler",
		   .help = "folder of the region's keys, certificates and tokens"},
	 .letter = 's',
	 .argument = "DIR"},
	{.value = {.key = NULL}},
};

static const struct gw_option init_table[] = {
	{.value = {.key = "region",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct init_options, region),
		   .mark_offset = offsetof(struct init_options, region_mark),
		   .required = true,
		   .max = GW_NAME_BYTES_MAX,
		   .help = "the region's name"},
	 .argument = "NAME"},
	{.value = {.key = NULL}},
};

#define LISTEN_OPTIONS(owner, what)                                                                \
	{.value = {.key = "listen",                                                                \
		   .type = GW_SCHEMA_TEXT,                                                         \
		   .offset = offsetof(struct owner, listen),                                       \
		   .mark_offset = offsetof(struct owner, listen_mark),                             \
		   .required = true,                                                               \
		   .max = 128,                                                                     \
		   .help = what},                                                                  \
	 .argument = "ADDRESS"},                                                                   \
	{                                                                                          \
		.value = {.key = "port",                                                           \
			  .type = GW_SCHEMA_COUNT,                                                 \
			  .offset = offsetof(struct owner, port),                                  \
			  .fallback = "7100",                                                      \
			  .min = 1,                                                                \
			  .max = 65533,                                                            \
			  .help = "port of the state channel; heartbeats have the next, "          \
				  "enrolment the one after it"},                                   \
		.argument = "PORT"                                                                 \
	}

static const struct gw_option run_table[] = {
	LISTEN_OPTIONS(run_options, "IP address to listen on"),
	{.value = {.key = "unknown-after",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, unknown_after_us),
		   .fallback = "5s",
		   .min = 100 * GW_US_PER_MS,
		   .max = 3600 * GW_US_PER_S,
		   .help = "silence after which a node is unknown and gets no new tasks"},
	 .argument = "DURATION"},
	{.value = {.key = "lost-after",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, lost_after_us),
		   .fallback = "60s",
		   .min = GW_US_PER_S,
		   .max = 24 * 3600 * GW_US_PER_S,
		   .help = "silence after which a node that runs nothing is called lost"},
	 .argument = "DURATION"},
	{.value = {.key = "lease",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, lease_us),
		   .fallback = "24h",
		   .min = 10 * GW_US_PER_S,
		   .max = 30 * 24 * 3600 * GW_US_PER_S,
		   .help = "how long an attempt may run unheard, for jobs that state no lease"},
	 .argument = "DURATION"},
	{.value = {.key = "waiting-tasks-max",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct run_options, waiting_tasks_max),
		   .fallback = "100000",
		   .min = 1,
		   .max = GW_TASKS_MAX,
		   .help = "tasks of one user that may wait at a time"},
	 .argument = "COUNT"},
	{.value = {.key = "workers",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct run_options, workers),
		   .fallback = "1",
		   .min = 1,
		   .max = 16,
		   .help = "threads for planners"},
	 .argument = "COUNT"},
	{.value = {.key = NULL}},
};

static const struct gw_option token_table[] = {
	LISTEN_OPTIONS(token_options, "address at which the joiner reaches the scheduler"),
	{.value = {.key = "ticket",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, ticket),
		   .mark_offset = offsetof(struct token_options, ticket_mark),
		   .required = true,
		   .help = "file to write; its mode is 0600"},
	 .argument = "FILE"},
	{.value = {.key = "role",
		   .type = GW_SCHEMA_CHOICE,
		   .offset = offsetof(struct token_options, role),
		   .mark_offset = offsetof(struct token_options, role_mark),
		   .required = true,
		   .choices = role_names,
		   .help = "what the joiner becomes"},
	 .argument = "ROLE"},
	{.value = {.key = "site",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, site),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "where an agent stands: nodes behind one WAN attachment"},
	 .argument = "NAME"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, name),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "the joiner's name; without it, as the joiner asks"},
	 .argument = "NAME"},
	{.value = {.key = "provider",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, provider),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "who owns the site"},
	 .argument = "NAME"},
	{.value = {.key = "tenant",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, tenant),
		   .help = "for whom a user acts, 32 hexadecimal digits; without it, the region"},
	 .argument = "ID"},
	{.value = {.key = "token-life",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct token_options, token_life_us),
		   .fallback = "24h",
		   .min = GW_US_PER_S,
		   .max = 30 * 24 * 3600 * GW_US_PER_S,
		   .help = "how long the ticket can be used"},
	 .argument = "DURATION"},
	{.value = {.key = "certificate-life",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct token_options, certificate_life_us),
		   .fallback = "8760h",
		   .min = 60 * GW_US_PER_S,
		   .max = 10 * 8760 * 3600 * GW_US_PER_S,
		   .help = "how long the identity is good"},
	 .argument = "DURATION"},
	{.value = {.key = NULL}},
};

static const struct gw_example run_examples[] = {
	{"godwit-scheduler run --listen 10.0.0.1", "serve the region made by init"},
	{NULL, NULL},
};

static const struct gw_example init_examples[] = {
	{"godwit-scheduler init --region north", "make the region's keys, once"},
	{NULL, NULL},
};

static const struct gw_example token_examples[] = {
	{"godwit-scheduler token --listen 10.0.0.1 --role agent --site gz1 --ticket node7.ticket",
	 "let one host of site gz1 join"},
	{"godwit-scheduler token --listen 10.0.0.1 --role user --name ada --ticket ada.ticket",
	 "let ada submit jobs"},
	{NULL, NULL},
};

static const struct gw_command commands[] = {
	{.name = "run",
	 .summary = "serve the region",
	 .options = run_table,
	 .examples = run_examples,
	 .run = run_run,
	 .options_bytes = sizeof(struct run_options)},
	{.name = "init",
	 .summary = "make a region: its keys and its folder",
	 .options = init_table,
	 .examples = init_examples,
	 .run = run_init,
	 .options_bytes = sizeof(struct init_options)},
	{.name = "token",
	 .summary = "write a ticket with which one node or user joins",
	 .options = token_table,
	 .examples = token_examples,
	 .run = run_token,
	 .options_bytes = sizeof(struct token_options)},
	{.name = "states",
	 .summary = "print the life cycles of jobs and tasks",
	 .run = run_states,
	 .options_bytes = sizeof(struct common_options)},
	{.name = NULL},
};

int main(int argc, char **argv)
{
	static const char *const details[] = {
		"The scheduler of a region: agents and users connect to it, it decides which task "
		"runs where, and keeps what became of it. Running tasks need no scheduler.",
		"The state of jobs is in memory: after a restart agents end the tasks that the new "
		"scheduler does not know.",
		NULL,
	};
	static const char *const exit_codes[] = {"0 stopped in order", "1 failure", "2 usage error",
						 NULL};
	static const char *const files[] = {
		"STATE/keys the region's secret keys, mode 0600",
		"STATE/region its name and public keys",
		"STATE/certs certificates issued",
		"STATE/revoked identities refused",
		"STATE/tokens one-time tokens not yet used",
		"STATE/epoch how often it was started",
		"STATE/lock held by the scheduler that runs",
		NULL,
	};
	static const char *const see_also[] = {"godwit(1)", "godwit-agent(8)", NULL};
	static const struct gw_program program = {
		.name = "godwit-scheduler",
		.summary = "schedule a region's jobs over its sites",
		.details = details,
		.commands = commands,
		.common = common_options,
		.exit_codes = exit_codes,
		.files = files,
		.see_also = see_also,
		.section = 8,
	};

	return gw_program_main(&program, argc, argv);
}
