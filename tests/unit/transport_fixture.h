/*
 * A region on loopback for tests: a scheduler's host with a small core, its ZAP handler, its state
 * in a temporary folder; and identities to speak to it with. Everything on one reactor; what blocks
 * (a client's calls, a join) runs in a thread while the reactor is driven.
 */
#ifndef GODWIT_TESTS_UNIT_TRANSPORT_FIXTURE_H
#define GODWIT_TESTS_UNIT_TRANSPORT_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/step.h"
#include "transport/client.h"
#include "transport/curve.h"
#include "transport/host.h"
#include "transport/identity.h"
#include "transport/reactor.h"
#include "transport/zap.h"

#define DEADLINE_US (20 * GW_US_PER_S)

/* Answers VersionRequest at once, CancelRequest and SubmitRequest after a record lasts, RevokeRequest by revoking the
 * node named in hexadecimal, and JobsRequest never; counts everything else. */
struct test_core {
	struct gw_node node;
	struct gw_node_id peer; /* of the last event that named one */
	uint32_t starts;
	uint32_t roles;
	uint32_t messages;
	uint32_t heartbeats;
	uint32_t ups;
	uint32_t resumes;
	uint32_t downs;
	uint32_t durables;
	uint32_t planned;
	int64_t last_wall_us; /* of the last Telemetry: they must count up from 1 */
	bool out_of_order;
	uint64_t seq;
	uint64_t wake_us;
	uint32_t answer_bytes; /* of a VersionReply, about; 0: as short as it can be */
	/* On CONTINUE: sent to `peer`. */
	uint32_t telemetry_to_send;
	bool record_to_append; /* before it; the first waits for the record, the others for none */
	int64_t telemetry_sent;
	bool heartbeat_to_send;
	bool plan_to_run;
};

struct test_identity {
	char directory[512];
	struct gw_keys *keys;
	struct gw_cert cert;
	struct gw_region region;
};

struct test_region {
	char directory[256];
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_keys *keys;
	struct gw_region region; /* endpoints filled in */
	struct gw_identities *identities;
	struct gw_zap *zap;
	struct gw_host *host;
	struct test_core core;
};

void test_core_init(struct test_core *core);

struct test_region *test_region_new(void);
void test_region_free(struct test_region *region);
/* Keys and certificate, known to the scheduler unless `stranger`. */
void test_identity_init(struct test_region *region, struct test_identity *identity,
			const char *name, uint32_t role, bool stranger);
void test_identity_deinit(struct test_identity *identity);
/* An agent's host with a core of its own, on the region's reactor. */
struct gw_host *test_agent_new(struct test_region *region, const struct test_identity *identity,
			       struct test_core *core, const struct gw_region *at);
/* The same in two steps, for a test that sets more. */
struct gw_host_options test_agent_options(struct test_region *region,
					  const struct test_identity *identity,
					  struct test_core *core, const struct gw_region *at);
struct gw_host *test_agent_open(const struct gw_host_options *options);

/* Drives the reactor until the condition holds; false: DEADLINE_US have passed. */
#define TEST_UNTIL(region, condition)                                                              \
	__extension__({                                                                            \
		uint64_t until_us_ = gw_reactor_now((region)->reactor).mono_us + DEADLINE_US;      \
		bool held_ = false;                                                                \
		while (!(held_ = (condition)) &&                                                   \
		       gw_reactor_now((region)->reactor).mono_us < until_us_)                      \
			test_turn(region);                                                         \
		held_;                                                                             \
	})
void test_turn(struct test_region *region);

/* Runs `call` in a thread while the reactor is driven. */
void test_beside(struct test_region *region, void (*call)(void *context), void *context);
/* The same in steps, for a test that does more meanwhile. */
struct test_call;
struct test_call *test_call_start(void (*call)(void *context), void *context);
bool test_call_done(struct test_call *running);
void test_call_join(struct test_call *running);

/* A client's whole visit: open, one VersionRequest, close. Its results in the struct. */
struct test_visit {
	const struct test_identity *identity;
	const struct gw_region *region;
	uint64_t limit_us;
	int error;
	struct gw_fault fault;
	uint32_t protocol_max; /* of the reply */
};

void test_visit(struct test_region *region, struct test_visit *visit);

#endif
