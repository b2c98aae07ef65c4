/*
 * Requests to etcd 3.4's JSON gateway as text, and its answers read back. The answers come from
 * another program over the network: sizes and counts are bounded, whatever is not as the gateway
 * writes it gives an unknown result with a sentence, since what was asked may have been done.
 */
#ifndef GODWIT_TRANSPORT_ETCD_JSON_H
#define GODWIT_TRANSPORT_ETCD_JSON_H

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "transport/store.h"

#define GW_ETCD_DECODE_BYTES_MAX (24u << 20) /* an answer's keys, values and text */

/* What of a request is needed to read its answer. */
struct gw_etcd_asked {
	enum gw_store_kind kind;
	uint32_t op_count;
	uint32_t else_op_count;
};

/* "/v3/..." */
const char *gw_etcd_path(enum gw_store_kind kind);
/* 0; -ENOBUFS past the buffer's limit; -ENOMEM. */
int gw_etcd_encode(const struct gw_store_request *request, struct gw_buf *ret_text);
/* `status`: HTTP's. The answer's pointers go into the arena. *ret_unauthorised: the token of the
 * request is no good (any more). */
void gw_etcd_decode(const struct gw_etcd_asked *asked, long status, const char *text, size_t size,
		    struct gw_arena *arena, struct gw_store_answer *ret_answer,
		    bool *ret_unauthorised);
/* A member of the answer's object that is text, copied into the arena; NULL: none. */
char *gw_etcd_decode_text(const char *text, size_t size, const char *name, struct gw_arena *arena);

#endif
