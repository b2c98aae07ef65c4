/*
 * The host of a core. One step at a time: an event goes in, its effects are carried out or, where
 * they wait for a record to last, copied and kept in order; CONTINUE follows while the core has
 * more. Nothing feeds the core from within a step: what effects cause comes back from the reactor.
 *
 * It is not the place of any policy: silence, leases and admission are the core's.
 */
#include "transport/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/table.h"
#include "transport/identity.h"
#include "transport/reactor.h"
#include "transport/session.h"
#include "transport/worker.h"

#define EFFECTS_MAX 256u
#define EFFECTS_BYTES_MAX (4u << 20)
#define EFFECTS_KEEP_BYTES (256u << 10)
#define ANSWER_KEEP_BYTES (256u << 10)
#define REFUSAL_BYTES_MAX 400u
#define WAITING_BYTES_MAX (64u << 20) /* effects whose record does not last yet */
#define LAG_US (200 * GW_US_PER_MS)   /* without a record made durable: replies do not come now */
#define CLIENT_ROLES (1u << GODWIT__ROLE__ROLE_USER | 1u << GODWIT__ROLE__ROLE_OPERATOR)

/* An effect that waits for its record, with a copy of its bytes behind it. */
struct waiting {
	struct waiting *next;
	struct gw_effect effect;
	size_t size;
	uint8_t bytes[];
};

/* A client's request that the core has not answered. */
struct request {
	uint64_t handle; /* first */
	struct gw_session_key from;
	uint64_t number; /* the client's own */
};

struct gw_host {
	struct gw_host_options options;
	struct gw_sessions *sessions;
	struct gw_worker *worker;
	struct gw_effects effects;
	struct gw_arena arena; /* of the body in hand */
	struct gw_buf answer;  /* being sent */
	struct gw_timer tick;
	struct gw_deferred durable_later;
	struct gw_host_counts counts;
	bool stepping;
	bool failed;
	bool ending;   /* being freed */
	uint64_t term; /* the leader's as far as known; a server's own */
	uint64_t appended_seq;
	uint64_t durable_seq;
	uint64_t lag_us; /* since when the record after durable_seq is awaited */
	struct waiting *waiting_first;
	struct waiting *waiting_last;
	size_t waiting_bytes;
	struct gw_table requests;
	uint64_t request_count; /* ever, the next handle */
};

static bool is_server(const struct gw_host *host)
{
	return host->options.identities != NULL;
}

static void fail(struct gw_host *host, int error)
{
	if (host->failed)
		return;
	host->failed = true;
	gw_reactor_timer_cancel(host->options.reactor, &host->tick);
	if (host->options.failed)
		host->options.failed(host->options.context, error);
}

/* Whether this process is still the one that may speak; once it is not, the host has failed. */
static bool is_valid(struct gw_host *host)
{
	struct gw_journal *journal = host->options.journal;

	if (!host->failed && journal && journal->valid &&
	    !journal->valid(journal, gw_reactor_now(host->options.reactor).mono_us))
		fail(host, -ESTALE);
	return !host->failed;
}

/* Keeps a copy until the record that it waits for lasts. */
static void keep_waiting(struct gw_host *host, struct gw_effect *effect)
{
	size_t size;
	const uint8_t **from = gw_effect_bytes(effect, &size);
	struct waiting *waiting;
	const uint8_t **to;

	if (size + sizeof(*waiting) > WAITING_BYTES_MAX - host->waiting_bytes) {
		fail(host, -ENOBUFS); /* a disk that lags that far has failed */
		return;
	}
	waiting = malloc(sizeof(*waiting) + size);
	if (!waiting) {
		fail(host, -ENOMEM);
		return;
	}
	waiting->next = NULL;
	waiting->effect = *effect;
	waiting->size = size;
	to = gw_effect_bytes(&waiting->effect, &size);
	if (from && to) {
		memcpy(waiting->bytes, *from, size);
		*to = waiting->bytes;
	}
	host->waiting_bytes += size + sizeof(*waiting);
	if (host->waiting_last)
		host->waiting_last->next = waiting;
	else
		host->waiting_first = waiting;
	host->waiting_last = waiting;
}

static void drop_waiting(struct gw_host *host)
{
	struct waiting *waiting = host->waiting_first;

	host->waiting_first = waiting->next;
	if (!host->waiting_first)
		host->waiting_last = NULL;
	host->waiting_bytes -= waiting->size + sizeof(*waiting);
	free(waiting);
}

static void send_to_peer(struct gw_host *host, const struct gw_effect *effect)
{
	const struct gw_session_key to = {.node = effect->send.peer};

	switch (gw_sessions_send(host->sessions, to, effect->send.channel, host->term,
				 effect->send.bytes, effect->send.size)) {
	case GW_LINK_QUEUED:
		return;
	case GW_LINK_CLOSED:
		break; /* the core knows, or will in a moment */
	case GW_LINK_FULL:
	case GW_LINK_TOO_LARGE:
		gw_sessions_restart(host->sessions, to, "its queue is full");
		break;
	}
	if (effect->send.channel == GW_CHANNEL_STATE)
		host->counts.dropped++;
}

/* Sends an encoded Body to a client, with its own request number. */
static void answer(struct gw_host *host, const struct gw_session_key *to, uint64_t number,
		   const uint8_t *bytes, size_t size)
{
	Godwit__Body tail = GODWIT__BODY__INIT;
	struct gw_buf *out = &host->answer;
	uint8_t *at;

	/* Encoded messages that stand one after the other are one message, the last field of a
	 * number the one that counts (protobuf's encoding guide): nothing is decoded here. */
	tail.request = number;
	out->size = 0;
	at = gw_buf_grow(out, size + gw_wire_body_size(&tail));
	if (!at) {
		fail(host, -ENOMEM);
		return;
	}
	memcpy(at, bytes, size);
	gw_wire_encode_body(&tail, at + size);
	switch (gw_sessions_send(host->sessions, *to, GW_CHANNEL_STATE, host->term, out->bytes,
				 out->size)) {
	case GW_LINK_QUEUED:
		break;
	case GW_LINK_CLOSED:
	case GW_LINK_TOO_LARGE:         /* never: reply_to_client saw to it */
		host->counts.dropped++; /* a client that is gone is not owed an answer */
		break;
	case GW_LINK_FULL:
		gw_sessions_end(host->sessions, *to, "it does not read its answers");
		break;
	}
	if (out->capacity > ANSWER_KEEP_BYTES)
		gw_buf_deinit(out);
}

static void answer_refusal(struct gw_host *host, const struct gw_session_key *to, uint64_t number,
			   enum gw_refusal code, const char *text)
{
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	uint8_t bytes[REFUSAL_BYTES_MAX + 32];
	char copy[REFUSAL_BYTES_MAX];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	refusal.text = copy;
	refusal.code = code;
	body.kind_case = GODWIT__BODY__KIND_REFUSAL;
	body.refusal = &refusal;
	CHECK(gw_wire_body_size(&body) <= sizeof(bytes));
	gw_wire_encode_body(&body, bytes);
	answer(host, to, number, bytes, gw_wire_body_size(&body));
}

static void reply_to_client(struct gw_host *host, const struct gw_effect *effect)
{
	struct request *request = gw_table_remove(&host->requests, &effect->reply.request);

	if (!request)
		return; /* answered already */
	gw_sessions_end_request(host->sessions, request->from);
	if (effect->reply.size > GW_LINK_BODY_BYTES_MAX - 16)
		answer_refusal(host, &request->from, request->number, GW_REFUSAL_OVERLOAD,
			       "the answer is larger than a message may be; ask for less");
	else
		answer(host, &request->from, request->number, effect->reply.bytes,
		       effect->reply.size);
	free(request);
}

static void append_record(struct gw_host *host, const struct gw_effect *effect)
{
	struct gw_journal *journal = host->options.journal;
	int error;

	CHECK(effect->append.seq > host->appended_seq);
	if (host->durable_seq == host->appended_seq)
		host->lag_us = gw_reactor_now(host->options.reactor).mono_us;
	host->appended_seq = effect->append.seq;
	if (!journal) {
		gw_reactor_defer(host->options.reactor, &host->durable_later);
		return;
	}
	error = journal->append(journal, effect->append.seq, effect->append.bytes,
				effect->append.size);
	if (error < 0)
		fail(host, error);
}

static const struct gw_identity *find_identity(const struct gw_host *host, struct gw_node_id node)
{
	return is_server(host) ? gw_identities_find(host->options.identities, node) : NULL;
}

static void observe(const struct gw_host *host, enum gw_observed what, struct gw_node_id node,
		    const char *why)
{
	const struct gw_identity *identity = find_identity(host, node);

	if (identity && host->options.observe)
		host->options.observe(host->options.context, what, identity->cert.name, why);
}

static void revoke(struct gw_host *host, const struct gw_effect *effect)
{
	int error;

	CHECK(is_server(host));
	error = gw_identities_revoke(host->options.identities, effect->revoke.node);
	observe(host, GW_OBSERVED_REVOKED, effect->revoke.node, "");
	gw_sessions_shut(host->sessions, effect->revoke.node);
	if (error < 0 && error != -ENOENT)
		fail(host, error); /* it must not come back with the next start */
}

static void run_plan(struct gw_host *host, const struct gw_effect *effect)
{
	const struct gw_plan plan = {
		.plan = effect->plan.plan,
		.run = effect->plan.run,
		.snapshot = effect->plan.snapshot,
		.work_units = effect->plan.work_units,
		.seed = effect->plan.seed,
	};
	int error;

	if (host->ending) {
		(void)plan.run(plan.snapshot, 0,
			       plan.seed); /* frees the snapshot; nobody asks more */
		return;
	}
	CHECK(host->worker);
	error = gw_worker_run(host->worker, &plan);
	CHECK(error == 0); /* cores keep fewer plans in flight than GW_WORKER_QUEUE_MAX */
}

static void carry_out(struct gw_host *host, const struct gw_effect *effect)
{
	switch (effect->kind) {
	case GW_EFFECT_SEND:
		send_to_peer(host, effect);
		break;
	case GW_EFFECT_APPEND:
		append_record(host, effect);
		break;
	case GW_EFFECT_REPLY:
		reply_to_client(host, effect);
		break;
	case GW_EFFECT_PLAN:
		run_plan(host, effect);
		break;
	case GW_EFFECT_REVOKE:
		revoke(host, effect);
		break;
	case GW_EFFECT_SPAWN:
	case GW_EFFECT_KILL:
	case GW_EFFECT_FORGET:
	case GW_EFFECT_STREAM:
	case GW_EFFECT_PROBE:
		CHECK(host->options.effect);
		host->options.effect(host->options.context, effect);
		break;
	}
}

/* Of what is about attempts on this node; NULL: something else. */
static const struct gw_attempt_id *attempt_of(const struct gw_effect *effect)
{
	switch (effect->kind) {
	case GW_EFFECT_SPAWN:
		return &effect->spawn.attempt;
	case GW_EFFECT_KILL:
		return &effect->kill.attempt;
	case GW_EFFECT_FORGET:
		return &effect->forget.attempt;
	case GW_EFFECT_SEND:
	case GW_EFFECT_APPEND:
	case GW_EFFECT_REPLY:
	case GW_EFFECT_PLAN:
	case GW_EFFECT_REVOKE:
	case GW_EFFECT_STREAM:
	case GW_EFFECT_PROBE:
		break;
	}
	return NULL;
}

static bool same_destination(const struct gw_effect *a, const struct gw_effect *b)
{
	const struct gw_attempt_id *of_a = attempt_of(a);
	const struct gw_attempt_id *of_b = attempt_of(b);

	if (of_a && of_b)
		return memcmp(of_a, of_b, sizeof(*of_a)) == 0;
	return a->kind == GW_EFFECT_SEND && b->kind == GW_EFFECT_SEND &&
	       a->send.channel == GW_CHANNEL_STATE && b->send.channel == GW_CHANNEL_STATE &&
	       gw_id_equal(a->send.peer.id, b->send.peer.id);
}

/* Whether an earlier effect waits that this one must not overtake. A scheduler's effects wait for all
 * its records or for none, so only an agent's few are looked through. */
static bool is_behind(const struct gw_host *host, const struct gw_effect *effect)
{
	bool ordered = attempt_of(effect) ||
		       (effect->kind == GW_EFFECT_SEND && effect->send.channel == GW_CHANNEL_STATE);
	const struct waiting *waiting = ordered ? host->waiting_first : NULL;

	while (waiting && !same_destination(&waiting->effect, effect))
		waiting = waiting->next;
	return waiting != NULL;
}

static void take_effects(struct gw_host *host)
{
	for (uint32_t i = 0; i < host->effects.count && !host->failed; i++) {
		struct gw_effect *effect = &host->effects.list[i];

		if (effect->after_seq > host->durable_seq || is_behind(host, effect))
			keep_waiting(host, effect);
		else
			carry_out(host, effect);
	}
	if (host->effects.arena.used_bytes > EFFECTS_KEEP_BYTES)
		gw_arena_deinit(&host->effects.arena);
	gw_effects_clear(&host->effects);
}

/* One event, and CONTINUE until the core has said all. */
static void step(struct gw_host *host, struct gw_event *event)
{
	struct gw_event more = {.kind = GW_EVENT_CONTINUE};
	bool again = true;

	CHECK(!host->stepping);
	host->stepping = true;
	while (again && is_valid(host)) {
		int error;

		event->now = gw_reactor_now(host->options.reactor);
		error = gw_node_step(host->options.core, event, &host->effects);
		again = host->effects.more;
		if (error < 0)
			fail(host, error);
		take_effects(host);
		event = &more;
	}
	host->stepping = false;
	if (!host->failed)
		gw_reactor_timer_set(host->options.reactor, &host->tick,
				     gw_node_wake_us(host->options.core));
}

void gw_host_feed(struct gw_host *host, struct gw_event *event)
{
	if (!host->failed)
		step(host, event);
}

static void tick(void *context)
{
	struct gw_event event = {.kind = GW_EVENT_TICK};

	gw_host_feed(context, &event);
}

void gw_host_durable(struct gw_host *host, uint64_t seq)
{
	struct gw_event event = {.kind = GW_EVENT_DURABLE, .durable.seq = seq};

	CHECK(!host->stepping);
	CHECK(seq <= host->appended_seq);
	if (seq <= host->durable_seq)
		return;
	host->durable_seq = seq;
	host->lag_us = gw_reactor_now(host->options.reactor).mono_us;
	while (host->waiting_first && host->waiting_first->effect.after_seq <= seq &&
	       is_valid(host)) {
		carry_out(host, &host->waiting_first->effect);
		drop_waiting(host);
	}
	gw_host_feed(host, &event);
}

static void durable_later(void *context)
{
	struct gw_host *host = context;

	gw_host_durable(host, host->appended_seq);
}

static void session_up(void *context, const struct gw_peer *peer, bool resumed)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP,
				 .peer_up = {.peer = peer, .resumed = resumed}};

	observe(context, GW_OBSERVED_SESSION_OPEN, peer->node, resumed ? "resumed" : "");
	if (!(peer->roles & CLIENT_ROLES))
		gw_host_feed(context, &event);
}

static void session_down(void *context, struct gw_node_id node, const char *reason)
{
	struct gw_host *host = context;
	struct gw_event event = {.kind = GW_EVENT_PEER_DOWN,
				 .peer_down = {.node = node, .reason = reason}};
	const struct gw_identity *identity = find_identity(host, node);

	observe(host, GW_OBSERVED_SESSION_CLOSED, node, reason);
	if (!identity || !(identity->cert.roles & CLIENT_ROLES))
		gw_host_feed(host, &event);
}

/*
 * Why the journal is not to be given more of this kind; NULL: it may. While records still last, only
 * new work is refused: what ends work or looks at it goes on. Once they do not, nobody would be
 * answered before they do again, since an answer tells nothing that may be lost: better a reason now.
 */
static const char *stall(const struct gw_host *host, const Godwit__Body *body)
{
	const struct gw_journal *journal = host->options.journal;
	uint64_t now_us = gw_reactor_now(host->options.reactor).mono_us;
	bool hangs = host->durable_seq < host->appended_seq && now_us - host->lag_us > LAG_US;
	bool adds = body->kind_case == GODWIT__BODY__KIND_SUBMIT_REQUEST &&
		    !body->submit_request->dry_run;

	if (!journal || !journal->stalled || body->kind_case == GODWIT__BODY__KIND_VERSION_REQUEST)
		return NULL;
	return adds || hangs ? journal->stalled(journal, now_us) : NULL;
}

/* Why this request is not to reach the core now; NULL: it may. */
static const char *overload(const struct gw_host *host, const struct gw_session_key *from,
			    const Godwit__Body *body)
{
	if (host->requests.count >= GW_HOST_REQUESTS_MAX ||
	    !gw_sessions_has_room(host->sessions, *from))
		return "too many requests wait for an answer; try again later";
	return stall(host, body);
}

static void submit(struct gw_host *host, const struct gw_session_key *from,
		   const struct gw_peer *peer, const Godwit__Body *body)
{
	struct gw_event event = {.kind = GW_EVENT_SUBMIT};
	const char *why = overload(host, from, body);
	struct request *request;

	if (why) {
		host->counts.refused_overload++;
		answer_refusal(host, from, body->request, GW_REFUSAL_OVERLOAD, why);
		return;
	}
	request = malloc(sizeof(*request));
	if (!request) {
		fail(host, -ENOMEM);
		return;
	}
	request->handle = ++host->request_count;
	request->from = *from;
	request->number = body->request;
	if (gw_table_add(&host->requests, request) < 0) {
		free(request);
		fail(host, -ENOMEM);
		return;
	}
	gw_sessions_begin_request(host->sessions, *from);
	event.submit.request = request->handle;
	event.submit.user = peer;
	event.submit.body = body;
	gw_host_feed(host, &event);
}

/* A client of ours follows its scheduler's term; a scheduler has its own. */
static void note_term(struct gw_host *host, uint64_t term)
{
	if (!is_server(host) && term > host->term)
		host->term = term;
}

static bool session_may_speak(void *context)
{
	return is_valid(context);
}

/* The leader told where its region's schedulers are. False: it did not. */
static bool take_list(struct gw_host *host, const Godwit__SchedulerList *message)
{
	struct gw_scheduler_list list;

	if (is_server(host) || !gw_schedulers_read(message, &list))
		return false;
	if (gw_sessions_take_list(host->sessions, &list) && host->options.schedulers)
		host->options.schedulers(host->options.context, &list);
	return true;
}

static bool session_body(void *context, struct gw_session_key from, const struct gw_peer *peer,
			 enum gw_channel channel, const struct gw_link_delivery *delivery)
{
	struct gw_host *host = context;
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};
	const Godwit__Body *body =
		gw_wire_decode_body(&host->arena, delivery->body, delivery->size);
	bool good = body != NULL;

	if (body && body->kind_case == GODWIT__BODY__KIND_SCHEDULER_LIST) {
		good = take_list(host, body->scheduler_list);
	} else if (body) {
		host->counts.messages++;
		note_term(host, delivery->term);
		event.message.peer = peer;
		event.message.channel = channel;
		event.message.body = body;
		event.message.term = delivery->term;
		if (peer->roles & CLIENT_ROLES)
			submit(host, &from, peer, body);
		else
			gw_host_feed(host, &event);
	}
	if (host->arena.used_bytes > EFFECTS_KEEP_BYTES)
		gw_arena_deinit(&host->arena);
	gw_arena_reset(&host->arena);
	return good;
}

static void session_notice(void *context, const char *text)
{
	struct gw_host *host = context;

	if (host->options.notice)
		host->options.notice(host->options.context, text);
}

static void planned(void *context, uint64_t plan, void *result)
{
	struct gw_event event = {.kind = GW_EVENT_PLANNED,
				 .planned = {.plan = plan, .result = result}};

	/* After a failure the result is leaked: the process ends. */
	gw_host_feed(context, &event);
}

static int start(struct gw_host *host, struct gw_fault *fault)
{
	const struct gw_host_options *options = &host->options;
	const struct gw_session_calls calls = {
		.up = session_up,
		.down = session_down,
		.body = session_body,
		.notice = session_notice,
		.may_speak = session_may_speak,
		.context = host,
	};
	int error = gw_effects_init(&host->effects, EFFECTS_MAX, EFFECTS_BYTES_MAX);

	if (error == 0 && options->worker_count > 0)
		error = gw_worker_new(options->reactor, options->worker_count, planned, host,
				      &host->worker);
	if (error == 0)
		error = gw_sessions_new(options, &calls, &host->counts, &host->sessions, fault);
	return error;
}

int gw_host_new(const struct gw_host_options *options, struct gw_host **ret_host,
		struct gw_fault *fault)
{
	struct gw_host *host = calloc(1, sizeof(*host));
	uint64_t hash_key;
	int error;

	if (!host)
		return -ENOMEM;
	randombytes_buf(&hash_key, sizeof(hash_key));
	host->options = *options;
	host->term = options->term;
	host->appended_seq = options->last_seq;
	host->durable_seq = options->last_seq;
	host->tick.fired = tick;
	host->tick.context = host;
	host->durable_later.call = durable_later;
	host->durable_later.context = host;
	gw_arena_init(&host->arena, GW_DECODE_BYTES_MAX);
	gw_buf_init(&host->answer, GW_MESSAGE_BYTES_MAX);
	gw_table_init(&host->requests, sizeof(uint64_t), GW_HOST_REQUESTS_MAX, hash_key);
	error = start(host, fault);
	if (error < 0) {
		gw_host_free(host);
		return error;
	}
	*ret_host = host;
	return 0;
}

struct gw_host *gw_host_free(struct gw_host *host)
{
	if (!host)
		return NULL;
	host->ending = true;
	host->worker = gw_worker_free(host->worker); /* its results still reach the core */
	gw_sessions_free(host->sessions);
	gw_reactor_timer_cancel(host->options.reactor, &host->tick);
	gw_reactor_undefer(host->options.reactor, &host->durable_later);
	while (host->waiting_first)
		drop_waiting(host);
	for (uint32_t i = 0; i < host->requests.count; i++)
		free(host->requests.entries[i]);
	gw_table_deinit(&host->requests);
	gw_effects_deinit(&host->effects);
	gw_arena_deinit(&host->arena);
	gw_buf_deinit(&host->answer);
	free(host);
	return NULL;
}

void gw_host_start(struct gw_host *host)
{
	struct gw_event begin = {.kind = GW_EVENT_START};
	struct gw_event role = {.kind = GW_EVENT_ROLE,
				.role = {.leader = true, .term = host->options.term}};

	gw_host_feed(host, &begin);
	if (is_server(host))
		gw_host_feed(host, &role);
}

void gw_host_lead(struct gw_host *host, uint64_t term)
{
	struct gw_event role = {.kind = GW_EVENT_ROLE, .role = {.leader = true, .term = term}};

	CHECK(is_server(host));
	CHECK(term > host->term);
	host->term = term;
	gw_host_feed(host, &role);
}

void gw_host_set_endpoints(struct gw_host *host, const struct gw_scheduler_list *list)
{
	gw_sessions_set_list(host->sessions, list);
}

void gw_host_stop(struct gw_host *host)
{
	struct gw_event event = {.kind = GW_EVENT_STOP};

	gw_host_feed(host, &event);
}

const struct gw_host_counts *gw_host_counts(const struct gw_host *host)
{
	return &host->counts;
}

uint16_t gw_host_state_port(const struct gw_host *host)
{
	return gw_sessions_state_port(host->sessions);
}

uint16_t gw_host_heartbeat_port(const struct gw_host *host)
{
	return gw_sessions_heartbeat_port(host->sessions);
}
