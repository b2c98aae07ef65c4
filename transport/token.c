/* Tokens and tickets: files that stand for a permission to join, each used once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/lines.h"

#define TOKEN_HEADER "godwit-token 1"
#define TICKET_HEADER "godwit-ticket 1"
#define TICKET_HEADER_2 "godwit-ticket 2" /* has more than one line "enrol" */
#define FILE_BYTES_MAX 2048u
#define HEX_BYTES (2 * GW_KEY_BYTES + 1)

_Static_assert(GW_TOKEN_BYTES == GW_KEY_BYTES, "tokens are read as keys are");

/* STATE/tokens/HASH, and that with the node that used it. The token itself is nowhere on disk. */
static int token_paths(const char *state_directory, const uint8_t token[GW_TOKEN_BYTES],
		       const struct gw_node_id *node, char ret_path[GW_PATH_BYTES],
		       char ret_used[GW_PATH_BYTES])
{
	uint8_t hash[crypto_generichash_BYTES];
	char hash_text[2 * sizeof(hash) + 1];
	char node_text[GW_ID_TEXT_BYTES] = "";
	int size;

	(void)crypto_generichash(hash, sizeof(hash), token, GW_TOKEN_BYTES, NULL, 0);
	(void)sodium_bin2hex(hash_text, sizeof(hash_text), hash, sizeof(hash));
	if (node)
		gw_id_format_hex(node->id, node_text);
	(void)snprintf(ret_path, GW_PATH_BYTES, "%s/tokens/%s", state_directory, hash_text);
	size = snprintf(ret_used, GW_PATH_BYTES, "%s/tokens/%s.%s", state_directory, hash_text,
			node_text);
	return size < 0 || (size_t)size >= GW_PATH_BYTES ? -ENAMETOOLONG : 0;
}

static const char *or_dash(const char *name)
{
	return name[0] ? name : "-";
}

static int check_grant(const struct gw_grant *grant, struct gw_fault *fault)
{
	const char *names[] = {grant->name, grant->site, grant->provider};

	for (size_t i = 0; i < GW_ARRAY_COUNT(names); i++) {
		if (names[i][0] && !gw_cert_name_valid(names[i])) {
			gw_fault_set(fault,
				     "\"%s\" is not a name: at most %u letters, digits, '.', '_', "
				     "'-', beginning with a letter or digit",
				     names[i], GW_NAME_BYTES_MAX);
			return -EINVAL;
		}
	}
	if (grant->role != GODWIT__ROLE__ROLE_AGENT && grant->role != GODWIT__ROLE__ROLE_USER &&
	    grant->role != GODWIT__ROLE__ROLE_OPERATOR) {
		gw_fault_set(fault, "a token is for an agent, a user or an operator");
		return -EINVAL;
	}
	if (grant->role == GODWIT__ROLE__ROLE_AGENT && !grant->site[0]) {
		gw_fault_set(fault, "an agent's token needs a site");
		return -EINVAL;
	}
	return 0;
}

int gw_token_create(const char *state_directory, const struct gw_grant *grant,
		    uint8_t ret_token[GW_TOKEN_BYTES], struct gw_fault *fault)
{
	char tenant[GW_ID_TEXT_BYTES];
	char path[GW_PATH_BYTES];
	char used[GW_PATH_BYTES];
	char file[FILE_BYTES_MAX];
	int size;
	int error = check_grant(grant, fault);

	if (error < 0)
		return error;
	if (sodium_init() < 0)
		return -EIO;
	randombytes_buf(ret_token, GW_TOKEN_BYTES);
	error = token_paths(state_directory, ret_token, NULL, path, used);
	if (error < 0)
		return error;
	(void)snprintf(used, sizeof(used), "%s/tokens", state_directory);
	if (mkdir(used, 0700) < 0 && errno != EEXIST) {
		error = -errno;
		gw_fault_set(fault, "cannot make %s: %s", used, strerror(-error));
		return error;
	}
	gw_id_format_hex(grant->tenant, tenant);
	size = snprintf(file, sizeof(file),
			TOKEN_HEADER "\nrole %d\nname %s\nsite %s\nprovider %s\ntenant %s\n"
				     "expires-us %lld\ncertificate-life-us %lld\n",
			(int)grant->role, or_dash(grant->name), or_dash(grant->site),
			or_dash(grant->provider), tenant, (long long)grant->expires_wall_us,
			(long long)grant->certificate_life_us);
	CHECK(size > 0);
	CHECK((size_t)size < sizeof(file));
	return gw_file_write(path, 0600, true, file, (size_t)size, fault);
}

static int read_grant(const char *path, struct gw_grant *ret_grant, struct gw_fault *fault)
{
	struct gw_grant grant = {0};
	char file[FILE_BYTES_MAX + 1];
	int64_t role = 0;
	int64_t life_us = 0;
	struct gw_lines lines;
	size_t size;
	int error = gw_file_read(path, true, FILE_BYTES_MAX, file, &size, fault);

	if (error < 0)
		return error;
	file[size] = '\0';
	gw_lines_init(&lines, file, TOKEN_HEADER);
	gw_lines_number(&lines, "role", &role);
	gw_lines_name(&lines, "name", true, grant.name);
	gw_lines_name(&lines, "site", true, grant.site);
	gw_lines_name(&lines, "provider", true, grant.provider);
	gw_lines_id(&lines, "tenant", &grant.tenant);
	gw_lines_number(&lines, "expires-us", &grant.expires_wall_us);
	gw_lines_number(&lines, "certificate-life-us", &life_us);
	error = gw_lines_end(&lines, path, fault);
	if (error < 0)
		return error;
	grant.role = (enum _Godwit__Role)role;
	grant.certificate_life_us = (uint64_t)life_us;
	error = check_grant(&grant, fault);
	if (error == 0)
		*ret_grant = grant;
	return error;
}

int gw_token_look(const char *state_directory, const uint8_t token[GW_TOKEN_BYTES],
		  struct gw_node_id node, int64_t wall_us, struct gw_grant *ret_grant,
		  struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char used[GW_PATH_BYTES];
	int error = token_paths(state_directory, token, &node, path, used);

	bool is_used = false;

	if (error == 0)
		error = read_grant(path, ret_grant, fault);
	if (error == -ENOENT) {
		is_used = true;
		error = read_grant(used, ret_grant, fault);
	}
	if (error == -ENOENT) {
		gw_fault_set(fault, "the token is unknown or used up; ask for a new one");
		return -EACCES;
	}
	if (error < 0)
		return error;
	if (wall_us >= ret_grant->expires_wall_us) {
		gw_fault_set(fault, "the token has expired; ask for a new one");
		return -EACCES;
	}
	return is_used;
}

int gw_token_use(const char *state_directory, const uint8_t token[GW_TOKEN_BYTES],
		 struct gw_node_id node, int64_t wall_us, struct gw_grant *ret_grant,
		 struct gw_fault *fault)
{
	char path[GW_PATH_BYTES];
	char used[GW_PATH_BYTES];
	int error = gw_token_look(state_directory, token, node, wall_us, ret_grant, fault);

	if (error != 0)
		return error < 0 ? error : 0;
	error = token_paths(state_directory, token, &node, path, used);
	if (error == 0)
		error = gw_file_rename(path, used);
	if (error == -ENOENT) { /* another used it in this moment */
		gw_fault_set(fault, "the token is used up; ask for a new one");
		return -EACCES;
	}
	if (error < 0)
		gw_fault_set(fault, "cannot use up the token: %s", strerror(-error));
	return error;
}

static const char *const ticket_roles[] = {
	[GODWIT__ROLE__ROLE_AGENT] = "agent",
	[GODWIT__ROLE__ROLE_USER] = "user",
	[GODWIT__ROLE__ROLE_OPERATOR] = "operator",
};

static void ticket_role(struct gw_lines *lines, enum _Godwit__Role *ret_role)
{
	char text[16] = "";

	gw_lines_text(lines, "role", text, sizeof(text));
	for (size_t i = 0; i < GW_ARRAY_COUNT(ticket_roles); i++)
		if (ticket_roles[i] && strcmp(text, ticket_roles[i]) == 0) {
			*ret_role = (enum _Godwit__Role)i;
			return;
		}
	if (!lines->error.text[0])
		gw_fault_set(&lines->error, "\"role\" must be agent, user or operator");
}

int gw_ticket_save(const char *path, const struct gw_ticket *ticket, struct gw_fault *fault)
{
	const struct gw_region *region = &ticket->region;
	char signing[HEX_BYTES];
	char exchange[HEX_BYTES];
	char token[HEX_BYTES];
	char file[FILE_BYTES_MAX];
	int size;
	int error;

	CHECK(ticket->enrol_count > 0);
	CHECK(ticket->enrol_count <= GW_SCHEDULERS_MAX);
	CHECK(ticket->role > GODWIT__ROLE__ROLE_NONE);
	CHECK((size_t)ticket->role < GW_ARRAY_COUNT(ticket_roles));
	CHECK(ticket_roles[ticket->role]);
	(void)sodium_bin2hex(signing, sizeof(signing), region->signing_key, GW_KEY_BYTES);
	(void)sodium_bin2hex(exchange, sizeof(exchange), region->exchange_key, GW_KEY_BYTES);
	(void)sodium_bin2hex(token, sizeof(token), ticket->token, GW_TOKEN_BYTES);
	/* One endpoint: the first form, which older programs read too. */
	size = snprintf(file, sizeof(file), "%s\nregion %s\nsigning-key %s\nexchange-key %s\n",
			ticket->enrol_count > 1 ? TICKET_HEADER_2 : TICKET_HEADER, region->name,
			signing, exchange);
	for (uint32_t i = 0; i < ticket->enrol_count; i++)
		size += snprintf(file + size, sizeof(file) - (size_t)size, "enrol %s\n",
				 ticket->enrol_endpoints[i]);
	size += snprintf(file + size, sizeof(file) - (size_t)size, "role %s\ntoken %s\n",
			 ticket_roles[ticket->role], token);
	CHECK(size > 0);
	CHECK((size_t)size < sizeof(file));
	error = gw_file_write(path, 0600, true, file, (size_t)size, fault);
	sodium_memzero(token, sizeof(token));
	sodium_memzero(file, sizeof(file));
	return error;
}

int gw_ticket_load(const char *path, struct gw_ticket *ret_ticket, struct gw_fault *fault)
{
	struct gw_ticket ticket = {0};
	char file[FILE_BYTES_MAX + 1];
	struct gw_lines lines;
	bool second_form;
	size_t size;
	int error = gw_file_read(path, true, FILE_BYTES_MAX, file, &size, fault);

	if (error < 0)
		return error;
	file[size] = '\0';
	second_form = gw_lines_is(file, TICKET_HEADER_2);
	gw_lines_init(&lines, file, second_form ? TICKET_HEADER_2 : TICKET_HEADER);
	gw_lines_name(&lines, "region", false, ticket.region.name);
	gw_lines_key(&lines, "signing-key", ticket.region.signing_key);
	gw_lines_key(&lines, "exchange-key", ticket.region.exchange_key);
	do
		gw_lines_text(&lines, "enrol", ticket.enrol_endpoints[ticket.enrol_count++],
			      sizeof(ticket.enrol_endpoints[0]));
	while (second_form && ticket.enrol_count < GW_SCHEDULERS_MAX &&
	       gw_lines_has(&lines, "enrol"));
	ticket_role(&lines, &ticket.role);
	gw_lines_key(&lines, "token", ticket.token);
	error = gw_lines_end(&lines, path, fault);
	sodium_memzero(file, sizeof(file));
	if (error == 0)
		*ret_ticket = ticket;
	sodium_memzero(&ticket, sizeof(ticket));
	return error;
}

void gw_join_proof_bytes(const uint8_t token[GW_TOKEN_BYTES],
			 const uint8_t signing_key[GW_KEY_BYTES],
			 const uint8_t exchange_key[GW_KEY_BYTES],
			 uint8_t ret_bytes[GW_JOIN_PROOF_BYTES])
{
	memcpy(ret_bytes, token, GW_TOKEN_BYTES);
	memcpy(ret_bytes + GW_TOKEN_BYTES, signing_key, GW_KEY_BYTES);
	memcpy(ret_bytes + GW_TOKEN_BYTES + GW_KEY_BYTES, exchange_key, GW_KEY_BYTES);
}
