/*
 * The making of a region and of tickets: `init` makes the keys, once; `token` writes a ticket with
 * which one node or user joins, also while the scheduler runs, since tokens are files.
 */
#include "scheduler/region.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "proto/cert.h"
#include "scheduler/options.h"
#include "transport/clock.h"
#include "transport/enrol.h"
#include "transport/file.h"

const char *const gw_role_names[] = {"agent", "user", "operator", NULL};
static const Godwit__Role roles[] = {GODWIT__ROLE__ROLE_AGENT, GODWIT__ROLE__ROLE_USER,
				     GODWIT__ROLE__ROLE_OPERATOR};

int gw_complain(const struct gw_fault *fault)
{
	(void)fprintf(stderr, "godwit-scheduler: %s\n", fault->text);
	return 1;
}

int gw_listen_endpoint(const char *address, uint64_t port,
		       char ret_endpoint[GW_ENDPOINT_BYTES_MAX + 1], struct gw_fault *fault)
{
	bool bare_v6 = strchr(address, ':');
	int length = snprintf(ret_endpoint, GW_ENDPOINT_BYTES_MAX + 1,
			      bare_v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", address, (unsigned)port);

	if (length > 0 && (unsigned)length <= GW_ENDPOINT_BYTES_MAX)
		return 0;
	gw_fault_set(fault, "--listen %s is too long for an address", address);
	return -EINVAL;
}

int gw_listen_check(const char *option, const char *address)
{
	uint8_t bytes[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1)
		return 0;
	(void)fprintf(stderr,
		      "godwit-scheduler: --%s: found \"%s\", expected an IP address like "
		      "10.0.0.1 or fd00::1\n",
		      option, address);
	return -EINVAL;
}

int gw_region_open(const char *state, struct gw_keys **ret_keys, struct gw_region *ret_region,
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

int gw_command_init(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	const struct init_options *init = options;
	struct gw_region region = {.name = ""};
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (make_region(init, &region, &fault) != 0)
		return gw_complain(&fault);
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
	r = gw_listen_endpoint(options->listen, options->port + 2, ticket.enrol_endpoints[0],
			       fault);
	if (r != 0)
		return r;
	r = gw_region_open(options->common.state, &keys, &ticket.region, fault);
	if (r != 0)
		return r;
	gw_keys_free(keys);
	ticket.region.schedulers.count = 0;
	ticket.enrol_count = 1;
	r = gw_token_create(options->common.state, &grant, ticket.token, fault);
	if (r == 0)
		r = gw_ticket_save(options->ticket, &ticket, fault);
	sodium_memzero(&ticket, sizeof(ticket));
	return r;
}

int gw_command_token(const struct gw_command *command, void *options, int operand_count,
		     char **operands)
{
	const struct token_options *token = options;
	struct gw_fault fault = {""};

	(void)command;
	(void)operand_count;
	(void)operands;
	if (gw_listen_check("listen", token->listen) != 0)
		return EXIT_USAGE;
	if (access(token->ticket, F_OK) == 0) { /* before a token is made for it */
		gw_fault_set(&fault, "%s exists and is not overwritten", token->ticket);
		return gw_complain(&fault);
	}
	if (make_ticket(token, &fault) != 0)
		return gw_complain(&fault);
	(void)printf("Wrote %s, a ticket for one %s. It is a secret until used: carry it to its "
		     "host and run %s join there.\n",
		     token->ticket, gw_role_names[token->role],
		     roles[token->role] == GODWIT__ROLE__ROLE_AGENT ? "godwit-agent" : "godwit");
	return 0;
}
