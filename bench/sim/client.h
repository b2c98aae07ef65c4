/*
 * A user: submits a stream of jobs, cancels some, follows the output of some, and asks what became
 * of all of them. Requests and answers may be lost, by fault or with the scheduler; it then asks
 * again, a submission with the same nonce. What it was told is held against what it is told later.
 */
#ifndef GODWIT_BENCH_SIM_CLIENT_H
#define GODWIT_BENCH_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/world.h"
#include "proto/base/table.h"
#include "proto/step.h"

struct sim_grid;
struct sim_client;

enum sim_request_kind {
	SIM_REQUEST_SUBMIT,
	SIM_REQUEST_CANCEL,
	SIM_REQUEST_LOOK,   /* at one job, with tasks */
	SIM_REQUEST_FOLLOW, /* a piece of a task's output */
};

/* A job as its user knows it. */
struct sim_order {
	uint32_t number;
	struct gw_id nonce;
	struct gw_job_id id; /* once acknowledged */
	bool acknowledged;
	bool refused; /* the scheduler would not have it, with a reason */
	bool cancel;  /* is to be cancelled, at some time */
	bool cancel_asked;
	bool ended; /* was seen to have ended */
	bool follow;
	bool gang;
	bool fails;
	bool stubborn;
	bool at_once; /* a task whose node is silent may run twice: its policy says so */
	uint32_t reconcile;
	uint64_t lost_after_us; /* 0: the job states no policy */
	bool busy;              /* a request is under way */
	uint32_t task_count;
	uint32_t cpu_milli;
	uint32_t device_count;
	uint64_t memory_bytes;
	uint64_t run_us;
	uint64_t output_bps;
	uint64_t offset;  /* of the output read so far */
	uint32_t attempt; /* whose output that is */
	char told[320];   /* its state and why it waits, when last looked at */
};

/* A request under way, or an answer; freed when answered or given up. */
struct sim_request {
	struct sim_request *next;
	struct sim_request *previous;
	struct sim_client *client;
	struct sim_timer timer; /* arrives at the scheduler; then: is given up */
	uint64_t handle;
	enum sim_request_kind kind;
	uint32_t order;
	bool sent;
};

struct sim_client {
	struct sim_grid *grid;
	struct gw_peer user;
	struct sim_order **orders; /* [order_count] */
	uint32_t order_count;
	uint32_t order_capacity;
	struct sim_request *requests;
	uint64_t handle;
	uint64_t until_us; /* no submission after this */
	uint64_t delay_us; /* to the scheduler */
	uint32_t looked;   /* order last looked at */
	uint64_t followed_bytes;
	uint64_t answered_count;
	struct sim_timer submit;
	struct sim_timer look;
	struct sim_fifo answers; /* on their way back */
	struct sim_timer answer;
};

void sim_client_init(struct sim_client *client, struct sim_grid *grid);
void sim_client_deinit(struct sim_client *client);
void sim_client_start(struct sim_client *client);
/* A REPLY effect of the scheduler. */
void sim_client_reply(struct sim_client *client, uint64_t request, const uint8_t *bytes,
		      size_t size);
/* All its jobs are acknowledged or refused, and every one was seen to end. */
bool sim_client_done(const struct sim_client *client);
/* Looks at every job once more, now; sim_check_reply sees the answers. */
void sim_client_audit(struct sim_client *client);
/* One sentence on the first job that is not, or NULL. */
const char *sim_client_undone(const struct sim_client *client, char *ret_text, size_t size);

#endif
