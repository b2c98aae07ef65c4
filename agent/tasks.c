/*
 * The list of orders and the talk with the keeper's client. Everything that is fed to the core
 * comes from pump(), which the reactor calls: never from within gw_tasks_effect.
 */
#include "agent/tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent/keeper/client.h"
#include "agent/keeper/protocol.h"
#include "proto/base/check.h"
#include "proto/base/table.h"
#include "transport/log.h"
#include "transport/reactor.h"

#define START_LIMIT_US (10 * GW_US_PER_S) /* a keeper that takes longer is met when it listens */
#define SILENT_US (5 * GW_US_PER_S)       /* a keeper answers within a disk's sync or two */
#define RETRY_US_MIN 10000u               /* until there is a keeper; doubled each time */
#define RETRY_US_MAX GW_US_PER_S

struct order {
	uint64_t request; /* key; first */
	enum gw_effect_kind kind;
	struct gw_attempt_id attempt;
	uint64_t since_us;
	struct order *next;
	struct order *previous;
	uint8_t *bytes; /* SPAWN: encoded TaskStart, [size] */
	size_t size;
	char *refusal;     /* why it is not to be carried out; NULL: it is */
	uint64_t grace_us; /* KILL; and the next */
	bool lease_ended;
	uint64_t stream; /* STREAM */
	uint64_t offset;
	uint32_t number;
	uint32_t bytes_max;
	uint32_t wait_us;
};

struct usage {
	uint32_t count;
	Godwit__TaskUsage *list[GW_KEEPER_RUNNING_MAX];
	Godwit__TaskUsage tasks[GW_KEEPER_RUNNING_MAX];
	struct gw_attempt_id attempts[GW_KEEPER_RUNNING_MAX];
};

struct gw_tasks {
	struct gw_tasks_options options;
	struct gw_keeper_client *client;
	struct gw_watch watch;
	struct gw_timer reconnect; /* connect again; while one starts: it took too long; once
				    * connected, until it has told what it holds: it is silent */
	struct gw_keeper_starter starter;
	struct gw_watch starter_watch;
	uint64_t retry_us;
	char why[512]; /* as last logged: there is no keeper */
	struct gw_deferred pump;
	bool connected;
	bool listed; /* since the connection: orders may be sent */
	bool ready;  /* once since the start */
	uint64_t requests_given;
	uint64_t usage_request; /* 0: not asked */
	uint64_t usage_us;      /* when it was */
	uint64_t lost_us;       /* when the connection was; of one that is there, meaningless */
	uint64_t heard_us;      /* when the keeper last said anything, or was connected to */
	uint64_t renewed_us;
	bool renew_due; /* the keeper is to be told renewed_us */
	struct gw_table orders;
	struct order *first;
	struct order *last;
	struct order *unsent; /* it and all after it */
	uint32_t starts;      /* orders SPAWN that the keeper is to answer */
	uint32_t refusals;    /* orders that it never hears of */
	struct usage *usage;  /* made at the first use */
};

static void feed(struct gw_tasks *tasks, struct gw_event *event)
{
	tasks->options.feed(tasks->options.context, event);
}

static void feed_not_spawned(struct gw_tasks *tasks, const struct order *order, const char *why)
{
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	event.spawned.attempt = order->attempt;
	event.spawned.error = why;
	event.spawned.declined = order->refusal != NULL;
	feed(tasks, &event);
}

static void feed_no_output(struct gw_tasks *tasks, const struct order *order, const char *why)
{
	struct gw_event event = {.kind = GW_EVENT_OUTPUT};

	event.output.stream = order->stream;
	event.output.offset = order->offset;
	event.output.error = why;
	feed(tasks, &event);
}

/* Takes the order out; it is the caller's to free. */
static void unlink_order(struct gw_tasks *tasks, struct order *order)
{
	CHECK(gw_table_remove(&tasks->orders, &order->request) == order);
	if (order->refusal)
		tasks->refusals--;
	else if (order->kind == GW_EFFECT_SPAWN)
		tasks->starts--;
	if (tasks->unsent == order)
		tasks->unsent = order->next;
	if (order->previous)
		order->previous->next = order->next;
	else
		tasks->first = order->next;
	if (order->next)
		order->next->previous = order->previous;
	else
		tasks->last = order->previous;
}

static void order_free(struct order *order)
{
	free(order->bytes);
	free(order->refusal);
	free(order);
}

/* An order that will not be carried out: the core hears so where it waits for an answer. */
static void refuse_order(struct gw_tasks *tasks, struct order *order, const char *why)
{
	char text[GW_ATTEMPT_TEXT_BYTES];

	unlink_order(tasks, order);
	gw_attempt_format(order->attempt, text);
	if (order->kind == GW_EFFECT_SPAWN) {
		feed_not_spawned(tasks, order, why);
	} else if (order->kind == GW_EFFECT_STREAM) {
		feed_no_output(tasks, order, why);
	} else {
		gw_log("refused_by_keeper", "order=%s attempt=%s why=\"%s\"",
		       order->kind == GW_EFFECT_KILL ? "kill" : "forget", text, why);
	}
	order_free(order);
}

/* 0; -ENOBUFS or -ENOTCONN: later; another: never. */
static int send_order(struct gw_tasks *tasks, const struct order *order)
{
	struct gw_keeper_client *client = tasks->client;

	switch ((int)order->kind) {
	case GW_EFFECT_SPAWN:
		return gw_keeper_spawn_bytes(client, order->request, order->bytes, order->size);
	case GW_EFFECT_KILL:
		return gw_keeper_kill(client, order->request, &order->attempt, order->grace_us,
				      order->lease_ended);
	case GW_EFFECT_FORGET:
		/* Acknowledged, not wiped: the keeper lets it go when it needs the room (D6). */
		return gw_keeper_acknowledge(client, order->request, &order->attempt, false);
	default:
		return gw_keeper_read(client, order->request, &order->attempt, order->number,
				      order->offset, order->bytes_max, order->wait_us);
	}
}

static void flush(struct gw_tasks *tasks)
{
	/* Before any order: what is started must not be without somebody who ends its lease. */
	if (tasks->listed && tasks->renew_due)
		tasks->renew_due = gw_keeper_renew(tasks->client, ++tasks->requests_given,
						   tasks->renewed_us) != 0;
	while (tasks->listed && tasks->unsent) {
		struct order *order = tasks->unsent;
		int r = order->refusal ? 0 : send_order(tasks, order);

		if (r == -ENOBUFS || r == -ENOTCONN)
			return;
		if (r != 0)
			refuse_order(tasks, order,
				     "the keeper does not take an order of that form");
		else
			tasks->unsent = order->next;
	}
}

/* They wait for no keeper: there may be none. What is fed may add others, for the next time. */
static void flush_refusals(struct gw_tasks *tasks)
{
	struct order *next;

	for (struct order *order = tasks->first; order && tasks->refusals > 0; order = next) {
		next = order->next;
		if (order->refusal)
			refuse_order(tasks, order, order->refusal);
	}
}

static struct order *order_of(struct gw_tasks *tasks, uint64_t request)
{
	return request ? gw_table_find(&tasks->orders, &request) : NULL;
}

static void answered(struct gw_tasks *tasks, struct order *order)
{
	if (!order)
		return;
	unlink_order(tasks, order);
	order_free(order);
}

static void note_usage(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	const Godwit__Usage *usage = told->status->task->usage;
	struct usage *all = tasks->usage;
	Godwit__TaskUsage *task;

	if (told->kind != GW_KEEPER_SPAWNED || told->error || !usage ||
	    all->count == GW_KEEPER_RUNNING_MAX)
		return;
	task = &all->tasks[all->count];
	all->attempts[all->count] = told->attempt;
	*task = (Godwit__TaskUsage)GODWIT__TASK_USAGE__INIT;
	task->job = gw_wire_id(&all->attempts[all->count].job.id);
	task->task_index = told->attempt.task_index;
	task->attempt = told->attempt.attempt;
	task->cpu_us = usage->cpu_user_us + usage->cpu_system_us;
	task->memory_peak_bytes = usage->memory_peak_bytes;
	task->output_bytes = usage->output_bytes;
	all->list[all->count++] = task;
}

static void tell_usage(struct gw_tasks *tasks)
{
	tasks->usage_request = 0;
	tasks->options.usage(tasks->options.context, tasks->usage->list, tasks->usage->count);
}

static void take_spawned(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	const Godwit__TaskStatus *task = told->status->task;
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	event.spawned.attempt = told->attempt;
	event.spawned.pid = task->pid;
	event.spawned.error = told->error;
	event.spawned.declined = task->declined;
	event.spawned.not_enforced = (const char *const *)task->not_enforced;
	event.spawned.not_enforced_count = task->n_not_enforced;
	feed(tasks, &event);
}

/* Asked for by the agent before this one: left out, its attempt would be missed and started anew.
 */
static void take_starting(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	event.spawned.attempt = told->attempt;
	event.spawned.starting = true;
	feed(tasks, &event);
}

static void take_exited(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	const Godwit__TaskStatus *task = told->status->task;
	struct gw_event event = {.kind = GW_EVENT_EXITED};

	event.exited.attempt = told->attempt;
	event.exited.state = task->state;
	event.exited.exit_code = task->exit_code;
	event.exited.signal = task->signal;
	event.exited.error = told->error;
	event.exited.usage = task->usage;
	feed(tasks, &event);
}

static void take_status(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	struct order *order = order_of(tasks, told->request);
	bool forgotten = order && order->kind == GW_EFFECT_FORGET;

	if (tasks->usage_request && told->request == tasks->usage_request) {
		note_usage(tasks, told);
		return;
	}
	answered(tasks, order);
	/* The core knows no more of what it forgot; the keeper keeps it for its output (D6). */
	if (forgotten || (told->request == 0 && told->status->acknowledged))
		return;
	if (told->kind == GW_KEEPER_SPAWNED)
		take_spawned(tasks, told);
	else
		take_exited(tasks, told);
}

static void take_output(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	struct order *order = order_of(tasks, told->request);
	const Godwit__LogData *log = told->output->log;
	struct gw_event event = {.kind = GW_EVENT_OUTPUT};

	if (!order || order->kind != GW_EFFECT_STREAM)
		return;
	event.output.stream = order->stream;
	event.output.offset = log->offset;
	event.output.bytes = log->data.data;
	event.output.size = log->data.len;
	event.output.end = log->end;
	event.output.error = log->error[0] ? log->error : NULL;
	answered(tasks, order);
	feed(tasks, &event);
}

static void take_listed(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	if (tasks->usage_request && told->request == tasks->usage_request) {
		tell_usage(tasks);
		return;
	}
	if (told->request) {
		answered(tasks, order_of(tasks, told->request));
		return;
	}
	tasks->listed = true;
	gw_reactor_timer_cancel(tasks->options.reactor, &tasks->reconnect);
	tasks->retry_us = RETRY_US_MIN;
	tasks->why[0] = '\0';
	tasks->renew_due = true;
	tasks->unsent = tasks->first;
	if (tasks->ready)
		return;
	tasks->ready = true;
	tasks->options.ready(tasks->options.context);
}

static void take_refused(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	struct order *order = order_of(tasks, told->request);
	const char *why = told->error ? told->error : "the keeper gives no reason";

	if (tasks->usage_request && told->request == tasks->usage_request)
		tell_usage(tasks);
	else if (order)
		refuse_order(tasks, order, why);
	else
		gw_log("refused_by_keeper", "why=\"%s\"", why);
}

static void try_again(struct gw_tasks *tasks)
{
	tasks->retry_us = tasks->retry_us * 2 < RETRY_US_MAX ? tasks->retry_us * 2 : RETRY_US_MAX;
	gw_reactor_timer_set(tasks->options.reactor, &tasks->reconnect,
			     gw_reactor_now(tasks->options.reactor).mono_us + tasks->retry_us);
}

static void take_closed(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	gw_log("keeper_gone", "why=\"%s\"", told->error ? told->error : "");
	gw_reactor_unwatch(tasks->options.reactor, &tasks->watch);
	tasks->connected = false;
	tasks->lost_us = gw_reactor_now(tasks->options.reactor).mono_us;
	tasks->listed = false;
	tasks->usage_request = 0;
	try_again(tasks);
}

static void take_hello(const struct gw_keeper_event *told)
{
	gw_log("keeper", "pid=%u version=%s", told->hello->pid, told->hello->program_version);
	for (size_t i = 0; i < told->hello->n_not_enforced; i++)
		gw_log("not_enforced", "limit=\"%s\"", told->hello->not_enforced[i]);
}

static void take(struct gw_tasks *tasks, const struct gw_keeper_event *told)
{
	tasks->heard_us = gw_reactor_now(tasks->options.reactor).mono_us;
	switch (told->kind) {
	case GW_KEEPER_HELLO:
		take_hello(told);
		return;
	case GW_KEEPER_NOTED: /* what becomes of it is told unasked */
		answered(tasks, order_of(tasks, told->request));
		if (!told->request)
			take_starting(tasks, told);
		return;
	case GW_KEEPER_SPAWNED:
	case GW_KEEPER_EXITED:
		take_status(tasks, told);
		return;
	case GW_KEEPER_OUTPUT:
		take_output(tasks, told);
		return;
	case GW_KEEPER_LISTED:
		take_listed(tasks, told);
		return;
	case GW_KEEPER_REFUSED:
		take_refused(tasks, told);
		return;
	case GW_KEEPER_CLOSED:
		take_closed(tasks, told);
		return;
	case GW_KEEPER_NONE:
		return;
	}
}

/* Says what waits, hears what came. */
static void pump(void *context)
{
	struct gw_tasks *tasks = context;
	struct gw_keeper_event told;

	flush_refusals(tasks);
	while (tasks->connected) {
		flush(tasks);
		gw_keeper_client_next(tasks->client, &told);
		if (told.kind == GW_KEEPER_NONE)
			break;
		take(tasks, &told);
	}
	if (tasks->connected)
		(void)gw_reactor_watch_change(
			tasks->options.reactor, &tasks->watch,
			EPOLLIN | (gw_keeper_client_wants_write(tasks->client) ? EPOLLOUT : 0u));
}

static void ready(void *context, uint32_t events)
{
	(void)events; /* an error shows itself in reading */
	pump(context);
}

/* 0; negative errno: nobody listens. */
static int connect_keeper(struct gw_tasks *tasks)
{
	int r = gw_keeper_client_connect(tasks->client, tasks->options.keeper.socket);

	if (r != 0)
		return r;
	tasks->watch.fd = gw_keeper_client_fd(tasks->client);
	r = gw_reactor_watch(tasks->options.reactor, &tasks->watch, EPOLLIN | EPOLLOUT);
	if (r != 0)
		return r;
	tasks->connected = true;
	tasks->heard_us = gw_reactor_now(tasks->options.reactor).mono_us;
	gw_reactor_timer_set(tasks->options.reactor, &tasks->reconnect,
			     gw_reactor_now(tasks->options.reactor).mono_us + SILENT_US);
	return 0;
}

/* The same sentence again and again is said once. */
static void log_why(struct gw_tasks *tasks, const char *why)
{
	if (strcmp(why, tasks->why) == 0)
		return;
	(void)snprintf(tasks->why, sizeof(tasks->why), "%s", why); /* cut */
	gw_log("no_keeper", "why=\"%s\"", why);
}

/* The starter has ended, or took too long: a keeper listens now, or it is tried again. */
static void end_start(struct gw_tasks *tasks)
{
	gw_reactor_unwatch(tasks->options.reactor, &tasks->starter_watch);
	if (gw_keeper_starter_end(&tasks->starter) != 0 && !tasks->starter.met)
		log_why(tasks, tasks->starter.text);
	if (connect_keeper(tasks) != 0)
		try_again(tasks);
}

static void starter_ready(void *context, uint32_t events)
{
	(void)events; /* it has ended */
	end_start(context);
}

/* Nothing here waits: the scheduler must hear of us, and what runs needs no keeper to run on. */
static void reconnect(void *context)
{
	struct gw_tasks *tasks = context;
	struct gw_reactor *reactor = tasks->options.reactor;
	int r;

	if (tasks->starter.pid != 0) {
		end_start(tasks);
		return;
	}
	if (tasks->connected) {
		log_why(tasks, "its keeper does not answer"); /* it may, when it goes on */
		return;
	}
	if (connect_keeper(tasks) == 0)
		return;
	r = gw_keeper_starter_begin(&tasks->starter, &tasks->options.keeper);
	if (r == 0) {
		tasks->starter_watch.fd = tasks->starter.fd;
		r = gw_reactor_watch(reactor, &tasks->starter_watch, EPOLLIN);
		if (r != 0)
			(void)gw_keeper_starter_end(&tasks->starter); /* it is killed */
	}
	if (r != 0) {
		log_why(tasks, strerror(-r));
		try_again(tasks);
		return;
	}
	gw_reactor_timer_set(reactor, &tasks->reconnect,
			     gw_reactor_now(reactor).mono_us + START_LIMIT_US);
}

/* At the agent's start there is nothing else to do than to wait, and somebody to tell. */
static int first_connect(struct gw_tasks *tasks, struct gw_fault *fault)
{
	char text[512];
	int r = gw_keeper_start(&tasks->options.keeper, text, sizeof(text));

	if (r != 0) {
		gw_fault_set(fault, "%s", text);
		return r;
	}
	r = connect_keeper(tasks);
	if (r != 0)
		gw_fault_set(fault, "nobody listens at %s: %s", tasks->options.keeper.socket,
			     strerror(-r));
	return r;
}

int gw_tasks_new(const struct gw_tasks_options *options, struct gw_tasks **ret_tasks,
		 struct gw_fault *fault)
{
	struct gw_tasks *tasks = calloc(1, sizeof(*tasks));
	int r;

	if (!tasks)
		return -ENOMEM;
	tasks->options = *options;
	tasks->watch = (struct gw_watch){.fd = -1, .ready = ready, .context = tasks};
	tasks->reconnect = (struct gw_timer){.fired = reconnect, .context = tasks};
	tasks->starter_watch = (struct gw_watch){.ready = starter_ready, .context = tasks};
	tasks->retry_us = RETRY_US_MIN;
	tasks->pump = (struct gw_deferred){.call = pump, .context = tasks};
	gw_table_init(&tasks->orders, sizeof(uint64_t), GW_TASKS_ORDERS_MAX, 0);
	tasks->client = gw_keeper_client_new();
	r = tasks->client ? first_connect(tasks, fault) : -ENOMEM;
	if (r != 0) {
		(void)gw_tasks_free(tasks);
		return r;
	}
	*ret_tasks = tasks;
	return 0;
}

struct gw_tasks *gw_tasks_free(struct gw_tasks *tasks)
{
	struct order *next;

	if (!tasks)
		return NULL;
	gw_reactor_undefer(tasks->options.reactor, &tasks->pump);
	gw_reactor_timer_cancel(tasks->options.reactor, &tasks->reconnect);
	if (tasks->starter.pid != 0) {
		gw_reactor_unwatch(tasks->options.reactor, &tasks->starter_watch);
		(void)gw_keeper_starter_end(&tasks->starter); /* nobody is left to tell */
	}
	if (tasks->connected)
		gw_reactor_unwatch(tasks->options.reactor, &tasks->watch);
	for (struct order *order = tasks->first; order; order = next) {
		next = order->next;
		order_free(order);
	}
	gw_table_deinit(&tasks->orders);
	(void)gw_keeper_client_free(tasks->client);
	free(tasks->usage);
	free(tasks);
	return NULL;
}

/* At the list's end: what is fed to the core keeps the order of its effects. */
static void add_order(struct gw_tasks *tasks, struct order *order)
{
	order->request = ++tasks->requests_given;
	order->since_us = gw_reactor_now(tasks->options.reactor).mono_us;
	if (order->refusal)
		tasks->refusals++;
	else if (order->kind == GW_EFFECT_SPAWN)
		tasks->starts++;
	CHECK(gw_table_add(&tasks->orders, order) == 0);
	order->previous = tasks->last;
	if (tasks->last)
		tasks->last->next = order;
	else
		tasks->first = order;
	tasks->last = order;
	if (!tasks->unsent)
		tasks->unsent = order;
	gw_reactor_defer(tasks->options.reactor, &tasks->pump);
}

static void fill_order(struct order *order, const struct gw_effect *effect)
{
	order->kind = effect->kind;
	switch ((int)effect->kind) {
	case GW_EFFECT_SPAWN:
		order->attempt = effect->spawn.attempt;
		order->bytes = malloc(effect->spawn.size);
		CHECK(order->bytes);
		memcpy(order->bytes, effect->spawn.bytes, effect->spawn.size);
		order->size = effect->spawn.size;
		return;
	case GW_EFFECT_KILL:
		order->attempt = effect->kill.attempt;
		order->grace_us = effect->kill.grace_us;
		order->lease_ended = effect->kill.lease_ended;
		return;
	case GW_EFFECT_FORGET:
		order->attempt = effect->forget.attempt;
		return;
	default:
		CHECK(effect->kind == GW_EFFECT_STREAM);
		order->attempt = effect->stream.attempt;
		order->stream = effect->stream.stream;
		order->number = effect->stream.number;
		order->offset = effect->stream.offset;
		order->bytes_max = effect->stream.bytes_max;
		order->wait_us = effect->stream.wait_us;
	}
}

void gw_tasks_effect(struct gw_tasks *tasks, const struct gw_effect *effect)
{
	bool answered = effect->kind == GW_EFFECT_SPAWN || effect->kind == GW_EFFECT_STREAM;
	struct order *order;

	if (effect->kind == GW_EFFECT_SPAWN && tasks->starts >= GW_TASKS_STARTS_MAX) {
		gw_tasks_refuse(tasks, effect, "as many starts as may wait for its keeper do");
		return;
	}
	/* The core has no more SPAWN and STREAM open than its own limits; they always have room. */
	if (!answered && tasks->orders.count >= GW_TASKS_ORDERS_MAX / 2) {
		gw_log("order_dropped", "why=\"%u orders wait for the keeper\"",
		       tasks->orders.count);
		return;
	}
	/* Without this much memory neither an order nor its refusal can be kept: as if the kernel
	 * had ended the agent, after which everything is asked anew. */
	order = calloc(1, sizeof(*order));
	CHECK(order);
	fill_order(order, effect);
	add_order(tasks, order);
}

void gw_tasks_refuse(struct gw_tasks *tasks, const struct gw_effect *spawn, const char *why)
{
	struct order *order = calloc(1, sizeof(*order));

	CHECK(order);
	order->kind = GW_EFFECT_SPAWN;
	order->attempt = spawn->spawn.attempt;
	order->refusal = strdup(why);
	CHECK(order->refusal);
	add_order(tasks, order);
}

void gw_tasks_renew(struct gw_tasks *tasks, uint64_t renewed_us)
{
	tasks->renewed_us = renewed_us;
	tasks->renew_due = true;
	gw_reactor_defer(tasks->options.reactor, &tasks->pump);
}

/* When the oldest of what is to be answered at once was asked; GW_NEVER_US: nothing is. */
static uint64_t asked_us(const struct gw_tasks *tasks)
{
	uint64_t asked_us = tasks->usage_request ? tasks->usage_us : GW_NEVER_US;

	for (const struct order *order = tasks->first; order; order = order->next) {
		if (order->kind == GW_EFFECT_STREAM || order->refusal) /* it may be held open */
			continue;
		return order->since_us < asked_us ? order->since_us : asked_us;
	}
	return asked_us;
}

/* One that answers others keeps an order waiting because it has much to do. */
const char *gw_tasks_trouble(const struct gw_tasks *tasks)
{
	uint64_t now_us = gw_reactor_now(tasks->options.reactor).mono_us;
	uint64_t since_us = asked_us(tasks);

	if (!tasks->connected)
		return now_us - tasks->lost_us < SILENT_US ? NULL
		       : tasks->why[0]                     ? tasks->why
							   : "its keeper does not come up";
	if (since_us < tasks->heard_us)
		since_us = tasks->heard_us;
	if (since_us != GW_NEVER_US && now_us - since_us >= SILENT_US)
		return "its keeper does not answer";
	return NULL;
}

bool gw_tasks_ask_usage(struct gw_tasks *tasks)
{
	if (!tasks->listed || tasks->usage_request)
		return false;
	if (!tasks->usage)
		tasks->usage = malloc(sizeof(*tasks->usage));
	if (!tasks->usage || gw_keeper_list(tasks->client, tasks->requests_given + 1) != 0)
		return false;
	tasks->usage->count = 0;
	tasks->usage_request = ++tasks->requests_given;
	tasks->usage_us = gw_reactor_now(tasks->options.reactor).mono_us;
	gw_reactor_defer(tasks->options.reactor, &tasks->pump);
	return true;
}
