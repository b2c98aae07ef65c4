/*
 * A client of etcd 3.4's JSON gateway on the reactor: libcurl's multi interface, connections kept
 * open, every request with a deadline. One of several endpoints is used until it fails, then the
 * next; what was under way there has an unknown result. It never blocks the loop (names are
 * resolved by libcurl's own thread).
 */
#ifndef GODWIT_TRANSPORT_ETCD_H
#define GODWIT_TRANSPORT_ETCD_H

#include "transport/fault.h"
#include "transport/store.h"

#define GW_ETCD_ENDPOINTS_MAX 9u

struct gw_etcd;
struct gw_reactor;

/* Called once for each request sent, from the loop, never from gw_etcd_send. */
typedef void gw_etcd_answer_f(void *context, uint64_t id, const struct gw_store_answer *answer);
/* For the log: an endpoint failed, or answers again. One sentence. */
typedef void gw_etcd_notice_f(void *context, const char *text);

struct gw_etcd_options {
	struct gw_reactor *reactor;
	const char *endpoints;   /* "http://HOST:PORT[,...]", or https */
	const char *ca;          /* file; NULL: the system's */
	const char *certificate; /* of this client, a file; NULL: none */
	const char *key;         /* file, kept like a secret */
	const char *user_file;   /* "USER:PASSWORD" in a file kept like a secret; NULL: none */
	gw_etcd_answer_f *answer;
	gw_etcd_notice_f *notice; /* may be NULL */
	void *context;
};

/* 0; -EINVAL or what a file gave, with the sentence in `fault`; -ENOMEM. */
int gw_etcd_new(const struct gw_etcd_options *options, struct gw_etcd **ret_etcd,
		struct gw_fault *fault);
/* What is under way is not answered any more. */
struct gw_etcd *gw_etcd_free(struct gw_etcd *etcd);
/* Takes what it needs of `request` before it returns. Failure to send is an answer too. */
void gw_etcd_send(struct gw_etcd *etcd, const struct gw_store_request *request);

#endif
