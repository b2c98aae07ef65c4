/*
 * The keeper's socket: at most GW_KEEPER_CLIENTS_MAX clients of the keeper's own uid. Nothing is
 * queued for a client but one message: it is told changes from the list that the attempts keep
 * themselves, as fast as it takes them, and while an answer waits to be taken nothing more is read
 * from it. So a client that sleeps costs one message, and one that floods waits for itself.
 */
#ifndef GODWIT_AGENT_KEEPER_SERVER_H
#define GODWIT_AGENT_KEEPER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/attempts.h"
#include "agent/keeper/leases.h"
#include "agent/keeper/protocol.h"

struct gw_server_client {
	struct gw_source source; /* fd -1: a free place */
	struct gw_server *server;
	uint32_t version; /* agreed; 0: no hello yet */
	bool busy;        /* a request of it is being carried out: its answer goes first */
	bool broken;      /* to be closed at its next turn */
	bool listing;     /* every attempt is being told, then LISTED */
	uint64_t list_request;
	uint64_t list_change; /* the list has come up to this change */
	uint64_t change;      /* changes up to this one were told */
	uint8_t *pending;     /* [pending_size] an answer that the socket did not take yet */
	size_t pending_size;
};

/* A read that is held open. */
struct gw_server_waiter {
	struct gw_timer timer;
	struct gw_server_client *client; /* NULL: a free place */
	struct gw_attempt_id attempt;
	uint64_t request;
	uint64_t offset;
	uint32_t stream;
	uint32_t bytes_max;
	bool due; /* to be answered with whatever is there */
};

struct gw_server {
	struct gw_attempts *attempts;
	struct gw_loop *loop;
	struct gw_source listener;
	struct gw_server_client clients[GW_KEEPER_CLIENTS_MAX];
	struct gw_server_waiter waiters[GW_KEEPER_WAITERS_MAX];
	struct gw_leases leases;
	char path[108];
};

/* Listens at `path`, whose place is taken: the caller holds the state folder's lock. 0; negative
 * errno with a sentence in ret_error [GW_ATTEMPTS_ERROR_BYTES]. Hooks itself into `attempts`. */
int gw_server_init(struct gw_server *server, struct gw_attempts *attempts, const char *path,
		   char *ret_error);
void gw_server_deinit(struct gw_server *server);

#endif
