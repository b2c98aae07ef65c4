/*
 * A client's datagram becomes a request that has been checked in full, or a sentence why not.
 * Nothing behind this point looks at hostile bytes.
 */
#ifndef GODWIT_AGENT_KEEPER_REQUEST_H
#define GODWIT_AGENT_KEEPER_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include <keeper.pb-c.h>

#include "proto/base/arena.h"
#include "proto/base/id.h"

#define GW_REQUEST_ERROR_BYTES 256u
#define GW_REQUEST_GRACE_US_MAX 86400000000ull

enum gw_request_kind {
	GW_REQUEST_HELLO,
	GW_REQUEST_SPAWN,
	GW_REQUEST_KILL,
	GW_REQUEST_READ,
	GW_REQUEST_ACKNOWLEDGE,
	GW_REQUEST_LIST,
	GW_REQUEST_RENEW,
};

struct gw_request {
	enum gw_request_kind kind;
	uint32_t version; /* 0 in a hello */
	uint64_t request;
	struct gw_attempt_id attempt;         /* of all but hello, list and renew */
	const Godwit__KeeperMessage *message; /* in the arena */
};

/* 0; -EPROTO with a sentence in ret_error [GW_REQUEST_ERROR_BYTES] (ret_request->request is then
 * what the client sent, or 0). */
int gw_request_decode(struct gw_arena *arena, const uint8_t *bytes, size_t size,
		      struct gw_request *ret_request, char *ret_error);

#endif
