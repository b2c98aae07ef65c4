/*
 * The loop: timers that are due, deferred calls, prepare hooks, then epoll. A turn handles what was
 * ready when it began, so no source can starve the others: deferred calls made during a turn's
 * deferred calls wait for the next. A turn that called anything does not sleep.
 */
#include "transport/reactor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "transport/clock.h"

#define TIMERS_MAX 100000u
#define BATCH_MAX 64
#define SLEEP_US_MAX (3600 * GW_US_PER_S) /* keeps the time-out in a timespec's range */

struct gw_reactor {
	int epoll_fd;
	bool running; /* gw_reactor_run is */
	bool stopped; /* it is to end */
	struct gw_clock clock;
	struct gw_heap timers;
	uint64_t timer_order; /* equal times fire in the order in which they were set */
	struct gw_deferred *deferred_first;
	struct gw_deferred *deferred_last;
	struct gw_prepare *prepares;
	struct gw_prepare *prepare_next; /* the walk's next; moves on when that one is removed */
	struct epoll_event batch[BATCH_MAX];
	int batch_count;
	struct gw_watch signal_watch;
	gw_signal_f *signal_received;
	void *signal_context;
};

int gw_reactor_new(struct gw_reactor **ret_reactor)
{
	struct gw_reactor *reactor = calloc(1, sizeof(*reactor));
	int error;

	if (!reactor)
		return -ENOMEM;
	gw_heap_init(&reactor->timers, TIMERS_MAX);
	reactor->signal_watch.fd = -1;
	reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	error = reactor->epoll_fd < 0 ? -errno : gw_clock_init(&reactor->clock);
	if (error < 0) {
		gw_reactor_free(reactor);
		return error;
	}
	*ret_reactor = reactor;
	return 0;
}

struct gw_reactor *gw_reactor_free(struct gw_reactor *reactor)
{
	if (!reactor)
		return NULL;
	if (reactor->signal_watch.fd >= 0)
		(void)close(reactor->signal_watch.fd); /* nothing was written */
	if (reactor->epoll_fd >= 0)
		(void)close(reactor->epoll_fd);
	gw_heap_deinit(&reactor->timers);
	free(reactor);
	return NULL;
}

struct gw_now gw_reactor_now(struct gw_reactor *reactor)
{
	return gw_clock_now(&reactor->clock);
}

int gw_reactor_watch(struct gw_reactor *reactor, struct gw_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

int gw_reactor_watch_change(struct gw_reactor *reactor, struct gw_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(reactor->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

void gw_reactor_unwatch(struct gw_reactor *reactor, struct gw_watch *watch)
{
	/* Fails only when it is not watched: then there is nothing to do. */
	(void)epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	for (int i = 0; i < reactor->batch_count; i++) {
		if (reactor->batch[i].data.ptr == watch)
			reactor->batch[i].data.ptr = NULL;
	}
}

void gw_reactor_timer_set(struct gw_reactor *reactor, struct gw_timer *timer, uint64_t at_us)
{
	int error;

	if (at_us == GW_NEVER_US) {
		gw_heap_remove(&reactor->timers, &timer->item);
		return;
	}
	timer->item.order = ++reactor->timer_order;
	error = gw_heap_set(&reactor->timers, &timer->item, at_us);
	CHECK(error == 0); /* timers are members of bounded things; TIMERS_MAX is above their sum */
}

void gw_reactor_timer_cancel(struct gw_reactor *reactor, struct gw_timer *timer)
{
	gw_heap_remove(&reactor->timers, &timer->item);
}

void gw_reactor_defer(struct gw_reactor *reactor, struct gw_deferred *deferred)
{
	if (deferred->pending)
		return;
	deferred->pending = true;
	deferred->next = NULL;
	if (reactor->deferred_last)
		reactor->deferred_last->next = deferred;
	else
		reactor->deferred_first = deferred;
	reactor->deferred_last = deferred;
}

void gw_reactor_undefer(struct gw_reactor *reactor, struct gw_deferred *deferred)
{
	struct gw_deferred **link = &reactor->deferred_first;
	struct gw_deferred *last = NULL;

	if (!deferred->pending)
		return;
	while (*link != deferred) {
		CHECK(*link);
		last = *link;
		link = &last->next;
	}
	*link = deferred->next;
	if (reactor->deferred_last == deferred)
		reactor->deferred_last = last;
	deferred->pending = false;
}

void gw_reactor_prepare_add(struct gw_reactor *reactor, struct gw_prepare *prepare)
{
	prepare->next = reactor->prepares;
	reactor->prepares = prepare;
}

void gw_reactor_prepare_remove(struct gw_reactor *reactor, struct gw_prepare *prepare)
{
	struct gw_prepare **link = &reactor->prepares;

	while (*link && *link != prepare)
		link = &(*link)->next;
	if (*link)
		*link = prepare->next;
	if (reactor->prepare_next == prepare)
		reactor->prepare_next = prepare->next;
}

static void signal_ready(void *context, uint32_t events)
{
	struct gw_reactor *reactor = context;
	struct signalfd_siginfo info;

	(void)events; /* readable is all that a signalfd can be */
	while (read(reactor->signal_watch.fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		reactor->signal_received(reactor->signal_context, (int)info.ssi_signo);
}

int gw_reactor_signals(struct gw_reactor *reactor, const int *numbers, size_t count,
		       gw_signal_f *received, void *context)
{
	sigset_t set;
	int error;

	CHECK(reactor->signal_watch.fd < 0);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		(void)sigaddset(&set, numbers[i]); /* a bad number is seen by its absence */
	error = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (error != 0)
		return -error;
	reactor->signal_received = received;
	reactor->signal_context = context;
	reactor->signal_watch.ready = signal_ready;
	reactor->signal_watch.context = reactor;
	reactor->signal_watch.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (reactor->signal_watch.fd < 0)
		return -errno;
	return gw_reactor_watch(reactor, &reactor->signal_watch, EPOLLIN);
}

/* Those due now; one that sets itself again for the past waits for the next turn. */
static bool fire_timers(struct gw_reactor *reactor)
{
	uint64_t now_us = gw_clock_mono_us();
	uint64_t order_max = reactor->timer_order;
	struct gw_heap_item *item;
	bool fired = false;

	while ((item = gw_heap_first(&reactor->timers)) && item->at_us <= now_us &&
	       item->order <= order_max) {
		struct gw_timer *timer = (struct gw_timer *)item;

		fired = true;
		gw_heap_remove(&reactor->timers, item);
		timer->fired(timer->context);
	}
	return fired;
}

static bool call_deferred(struct gw_reactor *reactor)
{
	struct gw_deferred *last = reactor->deferred_last;
	bool more = last != NULL;

	while (more && reactor->deferred_first) {
		struct gw_deferred *deferred = reactor->deferred_first;

		more = deferred != last;
		gw_reactor_undefer(reactor, deferred);
		deferred->call(deferred->context);
	}
	return last != NULL;
}

static bool run_prepares(struct gw_reactor *reactor)
{
	struct gw_prepare *prepare = reactor->prepares;
	bool busy = false;

	while (prepare) {
		reactor->prepare_next = prepare->next;
		if (prepare->prepare(prepare->context))
			busy = true;
		prepare = reactor->prepare_next;
	}
	return busy;
}

/* How long epoll may sleep. Hooks may have set timers or deferred calls, so it is asked last. */
static uint64_t sleep_us(const struct gw_reactor *reactor, bool busy, uint64_t until_us)
{
	const struct gw_heap_item *first = gw_heap_first(&reactor->timers);
	uint64_t now_us = gw_clock_mono_us();

	if (busy || reactor->deferred_first || reactor->stopped)
		return 0;
	if (first && first->at_us < until_us)
		until_us = first->at_us;
	if (until_us <= now_us)
		return 0;
	return until_us - now_us < SLEEP_US_MAX ? until_us - now_us : SLEEP_US_MAX;
}

int gw_reactor_turn(struct gw_reactor *reactor, uint64_t until_us)
{
	struct timespec limit;
	uint64_t wait_us;
	bool busy;

	busy = fire_timers(reactor);
	busy |= call_deferred(reactor);
	busy |= run_prepares(reactor);
	wait_us = sleep_us(reactor, busy, until_us);
	limit.tv_sec = (time_t)(wait_us / GW_US_PER_S);
	limit.tv_nsec = (long)(wait_us % GW_US_PER_S) * 1000;
	reactor->batch_count =
		epoll_pwait2(reactor->epoll_fd, reactor->batch, BATCH_MAX, &limit, NULL);
	if (reactor->batch_count < 0) {
		reactor->batch_count = 0;
		return errno == EINTR ? 0 : -errno;
	}
	for (int i = 0; i < reactor->batch_count; i++) {
		struct gw_watch *watch = reactor->batch[i].data.ptr;

		if (watch)
			watch->ready(watch->context, reactor->batch[i].events);
	}
	reactor->batch_count = 0;
	return 0;
}

int gw_reactor_run(struct gw_reactor *reactor)
{
	int error = 0;

	reactor->running = true;
	while (!reactor->stopped && error == 0)
		error = gw_reactor_turn(reactor, GW_NEVER_US);
	reactor->running = false;
	reactor->stopped = false; /* turns that follow sleep as any other */
	return error;
}

void gw_reactor_stop(struct gw_reactor *reactor)
{
	reactor->stopped = reactor->running;
}
