/*
 * Joining, over real sockets: one-time tokens, proofs, names, versions, and the files that it all
 * comes to.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/wire.h"
#include "tests/unit/transport_fixture.h"
#include "transport/clock.h"
#include "transport/enrol.h"
#include "transport/file.h"
#include "transport/journal.h"
#include "transport/link.h"
#include "transport/zsock.h"

struct enrolment {
	struct test_region *region;
	struct gw_enrol *enrol;
	struct gw_ticket ticket;
};

struct join {
	char directory[512];
	const char *name;
	struct gw_ticket ticket;
	uint64_t limit_us;
	int error;
	struct gw_fault fault;
};

static struct gw_grant grant_for(enum _Godwit__Role role)
{
	struct gw_grant grant = {
		.role = role,
		.site = "here",
		.provider = "p1",
		.expires_wall_us = gw_clock_wall_us() + 600 * (int64_t)GW_US_PER_S,
		.certificate_life_us = 3600 * GW_US_PER_S,
	};

	return grant;
}

static int set_up(void **state)
{
	struct enrolment *it = calloc(1, sizeof(*it));
	struct gw_enrol_options options;
	struct gw_fault fault;

	assert_non_null(it);
	it->region = test_region_new();
	options = (struct gw_enrol_options){
		.reactor = it->region->reactor,
		.zmq = it->region->zmq,
		.keys = it->region->keys,
		.region = "test",
		.identities = it->region->identities,
		.state_directory = it->region->directory,
		.endpoint = "tcp://127.0.0.1:*",
		.state_port = gw_host_state_port(it->region->host),
		.heartbeat_port = gw_host_heartbeat_port(it->region->host),
	};
	assert_int_equal(gw_enrol_new(&options, &it->enrol, &fault), 0);
	it->ticket.region = it->region->region;
	it->ticket.role = GODWIT__ROLE__ROLE_AGENT;
	it->ticket.enrol_count = 1;
	(void)snprintf(it->ticket.enrol_endpoints[0], sizeof(it->ticket.enrol_endpoints[0]),
		       "tcp://127.0.0.1:%u", gw_enrol_port(it->enrol));
	*state = it;
	return 0;
}

static int tear_down(void **state)
{
	struct enrolment *it = *state;

	gw_enrol_free(it->enrol);
	test_region_free(it->region);
	free(it);
	return 0;
}

static void make_token(struct enrolment *it, const struct gw_grant *grant)
{
	struct gw_fault fault = {""};

	if (gw_token_create(it->region->directory, grant, it->ticket.token, &fault) < 0)
		fail_msg("%s", fault.text);
}

static void join_call(void *context)
{
	struct join *join = context;

	join->error =
		gw_join(join->directory, &join->ticket, join->name, join->limit_us, &join->fault);
}

/* Joins with the token in hand, in a folder of its own. */
static int join_within(struct enrolment *it, struct join *join, const char *folder,
		       const char *name, uint64_t limit_us)
{
	*join = (struct join){.name = name, .ticket = it->ticket, .limit_us = limit_us};
	(void)snprintf(join->directory, sizeof(join->directory), "%s/join-%s",
		       it->region->directory, folder);
	test_beside(it->region, join_call, join);
	return join->error;
}

static int join_as(struct enrolment *it, struct join *join, const char *folder, const char *name)
{
	return join_within(it, join, folder, name, DEADLINE_US);
}

static void visit_call(void *context)
{
	struct join *join = context;
	struct gw_client *client;

	join->error = gw_client_open_directory(join->directory, NULL, NULL, DEADLINE_US, &client,
					       &join->fault);
	if (join->error == 0)
		gw_client_close(client);
}

static void joins_and_gets_in(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	const struct gw_identity *identity;
	struct join join;

	grant.tenant.bytes[3] = 9;
	make_token(it, &grant);
	if (join_as(it, &join, "a", "alice") < 0)
		fail_msg("%s", join.fault.text);
	identity = gw_identities_find_name(it->region->identities, "alice");
	assert_non_null(identity);
	assert_int_equal(identity->cert.roles, 1u << GODWIT__ROLE__ROLE_USER);
	assert_string_equal(identity->cert.site, "here");
	assert_string_equal(identity->cert.provider, "p1");
	assert_string_equal(identity->cert.region, "test");
	assert_int_equal(identity->cert.tenant.bytes[3], 9);
	test_beside(it->region, visit_call, &join);
	if (join.error < 0)
		fail_msg("%s", join.fault.text);
}

static void a_token_works_once(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct join join;

	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice"), 0);
	assert_int_equal(join_as(it, &join, "b", "bob"), -EACCES);
	assert_non_null(strstr(join.fault.text, "used up"));
	assert_null(gw_identities_find_name(it->region->identities, "bob"));
	/* The same folder again is the same identity, asked or not. */
	assert_int_equal(join_as(it, &join, "a", "alice"), 0);
}

/* The answer was lost: keys are there, the certificate is not. The same keys may ask again. */
static void a_lost_answer_may_be_asked_for(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_AGENT);
	char path[GW_PATH_BYTES];
	struct join join;

	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "node-1"), 0);
	assert_int_equal(gw_file_path(path, sizeof(path), join.directory, GW_CERTIFICATE_FILE), 0);
	assert_int_equal(unlink(path), 0);
	if (join_as(it, &join, "a", "node-1") < 0)
		fail_msg("%s", join.fault.text);
	assert_int_equal(access(path, R_OK), 0);
}

/* Two processes of a scheduler's machine, or two requests: the rename decides. */
static void only_one_of_two_uses_a_token(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct gw_node_id first = {{{1}}};
	struct gw_node_id second = {{{2}}};
	struct gw_grant got;
	struct gw_fault fault;
	int64_t now_us = gw_clock_wall_us();
	const char *directory = it->region->directory;

	make_token(it, &grant);
	assert_int_equal(gw_token_look(directory, it->ticket.token, first, now_us, &got, &fault),
			 0);
	assert_int_equal(gw_token_look(directory, it->ticket.token, second, now_us, &got, &fault),
			 0);
	assert_int_equal(gw_token_use(directory, it->ticket.token, second, now_us, &got, &fault),
			 0);
	assert_int_equal(gw_token_use(directory, it->ticket.token, first, now_us, &got, &fault),
			 -EACCES);
	assert_int_equal(gw_token_use(directory, it->ticket.token, second, now_us, &got, &fault),
			 0);
}

static void expired_and_unknown_tokens_are_refused(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct join join;

	grant.expires_wall_us = gw_clock_wall_us() - 1;
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice"), -EACCES);
	assert_non_null(strstr(join.fault.text, "expired"));
	it->ticket.token[0] ^= 1;
	assert_int_equal(join_as(it, &join, "b", "alice"), -EACCES);
	assert_non_null(strstr(join.fault.text, "unknown"));
}

/* A mistake costs no token. */
static void a_taken_name_is_refused(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct join join;

	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice"), 0);
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "b", "alice"), -EACCES);
	assert_non_null(strstr(join.fault.text, "taken"));
	assert_int_equal(join_as(it, &join, "b", "../alice"), -EINVAL);
	assert_int_equal(join_as(it, &join, "b", "bob"), 0);
}

static void a_token_may_pin_the_name(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_AGENT);
	struct join join;

	memcpy(grant.name, "node-9", 7);
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "anything"), 0);
	assert_non_null(gw_identities_find_name(it->region->identities, "node-9"));
	assert_null(gw_identities_find_name(it->region->identities, "anything"));
}

static void a_false_scheduler_is_seen(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct join join;

	make_token(it, &grant);
	it->ticket.region.exchange_key[5] ^= 1;
	assert_int_equal(join_within(it, &join, "a", "alice", GW_US_PER_S), -EPROTO);
	assert_non_null(strstr(join.fault.text, "another key"));
	it->ticket.region.exchange_key[5] ^= 1;
	it->ticket.region.signing_key[5] ^= 1; /* the right server, but not the region's key */
	assert_int_equal(join_as(it, &join, "b", "alice"), -EPROTO);
	assert_non_null(strstr(join.fault.text, "another region"));
}

static void revoked_keys_do_not_join_again(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	const struct gw_identity *identity;
	char path[GW_PATH_BYTES];
	struct join join;

	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice"), 0);
	identity = gw_identities_find_name(it->region->identities, "alice");
	assert_int_equal(gw_identities_revoke(it->region->identities, identity->node), 0);
	assert_int_equal(gw_file_path(path, sizeof(path), join.directory, GW_CERTIFICATE_FILE), 0);
	assert_int_equal(unlink(path), 0);
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice2"), -EACCES);
	assert_non_null(strstr(join.fault.text, "revoked"));
}

/* The enrolment again, with other parts. */
/* Where certificates are kept for the region's other schedulers. */
struct keeper {
	struct enrolment *it;
	struct gw_deferred later;
	uint64_t handle;
	unsigned asked;
	bool works;
	bool refuses;
};

static void kept(void *context)
{
	struct keeper *keeper = context;

	gw_enrol_kept(keeper->it->enrol, keeper->handle);
}

static int keep(void *context, struct gw_node_id node, const uint8_t *bytes, size_t size,
		uint64_t handle)
{
	struct keeper *keeper = context;

	assert_true(size > 0 && bytes && !gw_id_is_zero(node.id));
	keeper->asked++;
	keeper->handle = handle;
	if (keeper->works)
		gw_reactor_defer(keeper->it->region->reactor, &keeper->later);
	return keeper->refuses ? -ENOBUFS : 0;
}

static void restart_with(struct enrolment *it, struct gw_identities *identities,
			 struct gw_journal *journal, struct keeper *keeper)
{
	const struct gw_enrol_options options = {
		.reactor = it->region->reactor,
		.zmq = it->region->zmq,
		.keys = it->region->keys,
		.region = "test",
		.identities = identities,
		.state_directory = it->region->directory,
		.endpoint = "tcp://127.0.0.1:*",
		.state_port = gw_host_state_port(it->region->host),
		.heartbeat_port = gw_host_heartbeat_port(it->region->host),
		.journal = journal,
		.keep = keeper ? keep : NULL,
		.context = keeper,
	};
	struct gw_fault fault = {""};

	gw_enrol_free(it->enrol);
	assert_int_equal(gw_enrol_new(&options, &it->enrol, &fault), 0);
	(void)snprintf(it->ticket.enrol_endpoints[0], sizeof(it->ticket.enrol_endpoints[0]),
		       "tcp://127.0.0.1:%u", gw_enrol_port(it->enrol));
}

/* As after a restart: identities as the disk has them. */
static void restart(struct enrolment *it, struct gw_identities **ret_identities)
{
	struct gw_fault fault = {""};

	if (gw_identities_open(it->region->directory, it->region->keys->signing_key, ret_identities,
			       &fault) < 0)
		fail_msg("%s", fault.text);
	restart_with(it, *ret_identities, NULL, NULL);
}

/* Joins for a second, and waits until that is over. */
static void join_briefly(struct enrolment *it, const char *folder, const char *name)
{
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	const struct gw_identity *identity;
	struct join join;

	grant.certificate_life_us = GW_US_PER_S;
	make_token(it, &grant);
	(void)join_as(it, &join, folder, name); /* on a slow machine it is over already */
	identity = gw_identities_find_name(it->region->identities, name);
	if (!identity)
		fail_msg("%s", join.fault.text);
	assert_true(TEST_UNTIL(it->region, !gw_identity_good(identity, gw_clock_wall_us())));
}

/* Neither the certificate's expiry nor a restart makes a revoked key a stranger's again. */
static void revoked_is_for_good(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct gw_identities *identities;
	const struct gw_identity *identity;
	struct gw_node_id node;
	struct join join;

	join_briefly(it, "a", "alice");
	identity = gw_identities_find_name(it->region->identities, "alice");
	node = identity->node;
	assert_int_equal(gw_identities_revoke(it->region->identities, node), 0);
	restart(it, &identities);
	identity = gw_identities_find(identities, node);
	assert_non_null(identity);
	assert_true(identity->revoked);
	assert_int_equal(join_as(it, &join, "a", "alice"), -EACCES); /* the old token */
	assert_non_null(strstr(join.fault.text, "revoked"));
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "a", "alice"), -EACCES);
	assert_non_null(strstr(join.fault.text, "revoked"));
	assert_null(gw_identities_find_name(identities, "alice"));
	it->enrol = gw_enrol_free(it->enrol);
	gw_identities_free(identities);
}

static void used_tokens_expire_too(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	const char *directory = it->region->directory;
	const uint8_t *token = it->ticket.token;
	int64_t at_us = grant.expires_wall_us;
	struct gw_node_id node = {{{1}}};
	struct gw_grant got;
	struct gw_fault fault;

	make_token(it, &grant);
	assert_int_equal(gw_token_use(directory, token, node, at_us - 1, &got, &fault), 0);
	assert_int_equal(gw_token_look(directory, token, node, at_us - 1, &got, &fault), 1);
	assert_int_equal(gw_token_look(directory, token, node, at_us, &got, &fault), -EACCES);
	assert_non_null(strstr(fault.text, "expired"));
	assert_int_equal(gw_token_use(directory, token, node, at_us, &got, &fault), -EACCES);
}

/* The same keys, or others under the name, may take an expired identity's place: with a new token.
 */
static void expired_identities_make_room(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct gw_identities *identities;
	struct gw_node_id bob;
	struct join join;

	join_briefly(it, "a", "alice");
	assert_int_equal(join_as(it, &join, "a", "alice"), -EACCES);
	assert_non_null(strstr(join.fault.text, "used up"));
	make_token(it, &grant);
	if (join_as(it, &join, "a", "alice") < 0)
		fail_msg("%s", join.fault.text);
	join_briefly(it, "b", "bob");
	bob = gw_identities_find_name(it->region->identities, "bob")->node;
	make_token(it, &grant);
	assert_int_equal(join_as(it, &join, "c", "alice"), -EACCES); /* hers is good */
	if (join_as(it, &join, "c", "bob") < 0)
		fail_msg("%s", join.fault.text);
	assert_null(gw_identities_find(it->region->identities, bob));
	assert_non_null(gw_identities_find_name(it->region->identities, "bob"));
	restart(it, &identities); /* the disk says the same */
	assert_null(gw_identities_find(identities, bob));
	assert_true(
		gw_identity_good(gw_identities_find_name(identities, "bob"), gw_clock_wall_us()));
	it->enrol = gw_enrol_free(it->enrol);
	gw_identities_free(identities);
}

static void grants_are_checked(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_AGENT);
	uint8_t token[GW_TOKEN_BYTES];
	struct gw_fault fault;

	grant.site[0] = '\0';
	assert_int_equal(gw_token_create(it->region->directory, &grant, token, &fault), -EINVAL);
	assert_non_null(strstr(fault.text, "needs a site"));
	grant = grant_for(GODWIT__ROLE__ROLE_SCHEDULER);
	assert_int_equal(gw_token_create(it->region->directory, &grant, token, &fault), -EINVAL);
	grant = grant_for(GODWIT__ROLE__ROLE_USER);
	memcpy(grant.name, "a b", 4);
	assert_int_equal(gw_token_create(it->region->directory, &grant, token, &fault), -EINVAL);
}

static void tickets_are_secrets(void **state)
{
	struct enrolment *it = *state;
	struct gw_ticket ticket;
	char path[GW_PATH_BYTES];
	struct gw_fault fault;

	memset(it->ticket.token, 7, sizeof(it->ticket.token));
	assert_int_equal(gw_file_path(path, sizeof(path), it->region->directory, "ticket"), 0);
	assert_int_equal(gw_ticket_save(path, &it->ticket, &fault), 0);
	assert_int_equal(gw_ticket_save(path, &it->ticket, &fault), -EEXIST);
	assert_int_equal(gw_ticket_load(path, &ticket, &fault), 0);
	assert_int_equal(ticket.role, GODWIT__ROLE__ROLE_AGENT);
	assert_memory_equal(ticket.token, it->ticket.token, sizeof(ticket.token));
	assert_string_equal(ticket.enrol_endpoints[0], it->ticket.enrol_endpoints[0]);
	assert_memory_equal(ticket.region.signing_key, it->ticket.region.signing_key, GW_KEY_BYTES);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(gw_ticket_load(path, &ticket, &fault), -EPERM);
	assert_non_null(strstr(fault.text, "0640"));
}

/* A region with several schedulers: all are in the ticket; one alone is as it was in older tickets. */
static void tickets_name_schedulers(void **state)
{
	struct enrolment *it = *state;
	struct gw_ticket ticket;
	char path[GW_PATH_BYTES];
	char text[2048];
	struct gw_fault fault;
	size_t size;

	for (uint32_t count = 1; count <= GW_SCHEDULERS_MAX; count++) {
		it->ticket.enrol_count = count;
		memset(it->ticket.enrol_endpoints[count - 1], 'e', GW_ENDPOINT_BYTES_MAX);
		assert_int_equal(gw_file_path(path, sizeof(path), it->region->directory, "ticket"),
				 0);
		assert_int_equal(gw_ticket_save(path, &it->ticket, &fault), 0);
		assert_int_equal(gw_file_read(path, true, sizeof(text), text, &size, &fault), 0);
		assert_memory_equal(text, count == 1 ? "godwit-ticket 1\n" : "godwit-ticket 2\n",
				    16);
		assert_int_equal(gw_ticket_load(path, &ticket, &fault), 0);
		assert_int_equal(ticket.enrol_count, count);
		assert_memory_equal(ticket.enrol_endpoints, it->ticket.enrol_endpoints,
				    sizeof(ticket.enrol_endpoints));
		assert_int_equal(unlink(path), 0);
	}
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* As a release before lists of schedulers wrote it. */
static void tickets_of_the_first_form_load(void **state)
{
	static const char text[] =
		"godwit-ticket 1\nregion r\nsigning-key " HEX64 "\nexchange-key " HEX64
		"\nenrol tcp://10.0.0.1:7102\nrole user\ntoken " HEX64 "\n";
	struct enrolment *it = *state;
	struct gw_ticket ticket;
	char path[GW_PATH_BYTES];
	struct gw_fault fault;

	assert_int_equal(gw_file_path(path, sizeof(path), it->region->directory, "old"), 0);
	assert_int_equal(gw_file_write(path, 0600, true, text, sizeof(text) - 1, &fault), 0);
	assert_int_equal(gw_ticket_load(path, &ticket, &fault), 0);
	assert_int_equal(ticket.enrol_count, 1);
	assert_string_equal(ticket.enrol_endpoints[0], "tcp://10.0.0.1:7102");
	assert_int_equal(ticket.role, GODWIT__ROLE__ROLE_USER);
}

/* The first that the ticket names is not there; who answers tells where all of them are. */
static void joins_whoever_answers(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_AGENT);
	struct gw_scheduler_list list = {
		.version = 8,
		.count = 2,
		.places = {{"tcp://10.0.0.1:7100", "tcp://10.0.0.1:7101"},
			   {"tcp://10.0.0.2:7100", "tcp://10.0.0.2:7101"}}};
	static struct gw_region region;
	static struct join join;
	char path[GW_PATH_BYTES];
	struct gw_fault fault;

	make_token(it, &grant);
	gw_enrol_set_endpoints(it->enrol, &list);
	it->ticket.enrol_count = 2;
	memcpy(it->ticket.enrol_endpoints[1], it->ticket.enrol_endpoints[0],
	       sizeof(it->ticket.enrol_endpoints[0]));
	(void)snprintf(it->ticket.enrol_endpoints[0], sizeof(it->ticket.enrol_endpoints[0]),
		       "tcp://127.0.0.1:1");
	if (join_as(it, &join, "a", "node-1") < 0)
		fail_msg("%s", join.fault.text);
	assert_int_equal(gw_file_path(path, sizeof(path), join.directory, GW_REGION_FILE), 0);
	assert_int_equal(gw_region_load(path, &region, &fault), 0);
	assert_int_equal(region.schedulers.version, 8);
	assert_int_equal(region.schedulers.count, 2);
	assert_string_equal(region.schedulers.places[1].heartbeat, "tcp://10.0.0.2:7101");
}

static const char *full_disk(const struct gw_journal *journal, uint64_t mono_us)
{
	(void)journal;
	(void)mono_us;
	return "the disk is full";
}

/* Who joins becomes work for the journal: not while it is stalled, and the token is not spent. */
static void nobody_joins_a_stalled_journal(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct gw_journal journal = {.stalled = full_disk};
	struct join join;

	make_token(it, &grant);
	restart_with(it, it->region->identities, &journal, NULL);
	assert_int_equal(join_within(it, &join, "a", "alice", GW_US_PER_S), -EACCES);
	assert_non_null(strstr(join.fault.text, "the disk is full"));
	journal.stalled = NULL;
	assert_int_equal(join_as(it, &join, "a", "alice"), 0);
}

/* What reaches the socket without gw_join's care. */
struct knock {
	struct gw_zsock *zsock;
	uint32_t ups;
	uint32_t answers;
	uint32_t refusals[8]; /* by code */
};

static void knock_received(void *context, const struct gw_zmessage *message)
{
	struct knock *knock = context;
	const Godwit__Envelope *envelope;
	const Godwit__Refusal *refusal;
	struct gw_arena arena;

	gw_arena_init(&arena, 1 << 16);
	envelope = gw_wire_decode_envelope(&arena, message->bytes, message->size);
	assert_non_null(envelope);
	assert_int_equal(envelope->control, GODWIT__LINK_CONTROL__LINK_REFUSE);
	refusal = gw_wire_decode(&godwit__refusal__descriptor, &arena, envelope->body.data,
				 envelope->body.len);
	assert_non_null(refusal);
	assert_true(refusal->code < 8);
	knock->refusals[refusal->code]++;
	knock->answers++;
	gw_arena_deinit(&arena);
}

static void knock_connection(void *context, enum gw_connection state, int fd)
{
	struct knock *knock = context;

	(void)fd;
	knock->ups += state == GW_CONNECTION_UP;
}

static void send_knock(struct knock *knock, const Godwit__Envelope *envelope)
{
	uint8_t bytes[2048];

	assert_true(gw_wire_size(&envelope->base) <= sizeof(bytes));
	gw_wire_encode(&envelope->base, bytes);
	assert_int_equal(gw_zsock_send(knock->zsock, NULL, bytes, gw_wire_size(&envelope->base)),
			 0);
}

/* Garbage, another version, another body, another's exchange key, a false proof, a flood. */
/* A joiner has its certificate once all schedulers can have it, and not before. */
static void certificates_are_kept_first(void **state)
{
	struct enrolment *it = *state;
	struct gw_grant grant = grant_for(GODWIT__ROLE__ROLE_USER);
	struct keeper keeper = {.it = it, .later = {.call = kept, .context = &keeper}};
	struct join join;

	restart_with(it, it->region->identities, NULL, &keeper);
	make_token(it, &grant);
	assert_int_equal(join_within(it, &join, "a", "alice", GW_US_PER_S / 2), -ETIMEDOUT);
	assert_true(keeper.asked > 0);
	gw_enrol_kept(it->enrol, keeper.handle); /* its connection is gone */
	gw_enrol_kept(it->enrol, keeper.handle + 9);
	keeper.works = true;
	if (join_as(it, &join, "a", "alice") < 0)
		fail_msg("%s", join.fault.text);
	assert_non_null(gw_identities_find_name(it->region->identities, "alice"));
	keeper = (struct keeper){.it = it, .refuses = true};
	make_token(it, &grant);
	assert_true(join_within(it, &join, "b", "bob", GW_US_PER_S / 2) < 0);
	assert_true(keeper.asked > 0);
}

static void knocks_are_refused(void **state)
{
	struct enrolment *it = *state;
	struct test_identity stranger;
	struct knock knock = {0};
	const struct gw_zsock_options options = {
		.reactor = it->region->reactor,
		.zmq = it->region->zmq,
		.keys = (test_identity_init(it->region, &stranger, "s", GODWIT__ROLE__ROLE_USER,
					    true),
			 stranger.keys),
		.server_key = it->region->keys->exchange_key,
		.endpoint = it->ticket.enrol_endpoints[0],
		.received = knock_received,
		.connection = knock_connection,
		.context = &knock,
	};
	Godwit__JoinRequest request = GODWIT__JOIN_REQUEST__INIT;
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	uint8_t zeros[GW_SIGNATURE_BYTES] = {0};
	uint8_t bytes[1024];
	struct gw_fault fault;

	assert_int_equal(gw_zsock_open(&options, &knock.zsock, &fault), 0);
	assert_true(TEST_UNTIL(it->region, knock.ups == 1));
	assert_int_equal(gw_zsock_send(knock.zsock, NULL, (const uint8_t *)"hello", 5), 0);
	envelope.protocol_min = GW_PROTOCOL_MAX + 1;
	envelope.protocol_max = GW_PROTOCOL_MAX + 1;
	send_knock(&knock, &envelope);
	envelope.protocol_min = GW_PROTOCOL_MIN;
	envelope.protocol_max = GW_PROTOCOL_MAX;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &version;
	envelope.body.data = bytes;
	envelope.body.len = gw_wire_body_size(&body);
	gw_wire_encode_body(&body, bytes);
	send_knock(&knock, &envelope);
	body.kind_case = GODWIT__BODY__KIND_JOIN_REQUEST;
	body.join_request = &request;
	request.token = (ProtobufCBinaryData){GW_TOKEN_BYTES, zeros};
	request.signing_key = (ProtobufCBinaryData){GW_KEY_BYTES, stranger.keys->signing_key};
	request.exchange_key = (ProtobufCBinaryData){GW_KEY_BYTES, zeros};
	request.proof = (ProtobufCBinaryData){GW_SIGNATURE_BYTES, zeros};
	envelope.body.len = gw_wire_body_size(&body);
	gw_wire_encode_body(&body, bytes);
	send_knock(&knock, &envelope); /* not the connection's key */
	request.exchange_key.data = stranger.keys->exchange_key;
	gw_wire_encode_body(&body, bytes);
	send_knock(&knock, &envelope); /* not signed */
	assert_true(TEST_UNTIL(it->region, knock.answers == 5));
	assert_int_equal(knock.refusals[GW_REFUSAL_MALFORMED], 2);
	assert_int_equal(knock.refusals[GW_REFUSAL_PROTOCOL], 1);
	assert_int_equal(knock.refusals[GW_REFUSAL_IDENTITY], 2);
	for (int i = 0; i < 200; i++) /* four times the burst */
		send_knock(&knock, &envelope);
	assert_true(TEST_UNTIL(it->region, knock.refusals[GW_REFUSAL_OVERLOAD] > 0));
	gw_zsock_close(knock.zsock);
	test_identity_deinit(&stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(joins_and_gets_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_token_works_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_answer_may_be_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_one_of_two_uses_a_token, set_up, tear_down),
		cmocka_unit_test_setup_teardown(expired_and_unknown_tokens_are_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_taken_name_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_token_may_pin_the_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_false_scheduler_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_keys_do_not_join_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(revoked_is_for_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(used_tokens_expire_too, set_up, tear_down),
		cmocka_unit_test_setup_teardown(expired_identities_make_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(grants_are_checked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tickets_are_secrets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tickets_name_schedulers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tickets_of_the_first_form_load, set_up, tear_down),
		cmocka_unit_test_setup_teardown(joins_whoever_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_joins_a_stalled_journal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(certificates_are_kept_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(knocks_are_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
