/*
 * One thread, one epoll: file descriptors, timers, signals, deferred calls, and hooks that run
 * before each sleep (libzmq's descriptor is edge-triggered and must be asked then). All structs are
 * the caller's memory, must stay until taken out, and may be taken out from within any callback.
 * Nothing polls: a reactor with nothing to do sleeps.
 */
#ifndef GODWIT_TRANSPORT_REACTOR_H
#define GODWIT_TRANSPORT_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/heap.h"
#include "proto/base/time.h"

struct gw_reactor;

typedef void gw_call_f(void *context);
typedef void gw_ready_f(void *context, uint32_t events); /* EPOLLIN, EPOLLOUT, ... */
typedef void gw_signal_f(void *context, int number);
typedef bool gw_prepare_f(void *context); /* true: there is more to do, do not sleep */

struct gw_watch {
	int fd; /* stays the caller's to close, after gw_reactor_unwatch */
	gw_ready_f *ready;
	void *context;
};

struct gw_timer {
	struct gw_heap_item item; /* first: the heap's item is the timer */
	gw_call_f *fired;
	void *context;
};

struct gw_deferred {
	struct gw_deferred *next;
	bool pending;
	gw_call_f *call;
	void *context;
};

struct gw_prepare {
	struct gw_prepare *next;
	gw_prepare_f *prepare;
	void *context;
};

/* 0; negative errno. */
int gw_reactor_new(struct gw_reactor **ret_reactor);
struct gw_reactor *gw_reactor_free(struct gw_reactor *reactor);

struct gw_now gw_reactor_now(struct gw_reactor *reactor);

/* fd, ready and context are filled in by the caller. 0; negative errno. */
int gw_reactor_watch(struct gw_reactor *reactor, struct gw_watch *watch, uint32_t events);
int gw_reactor_watch_change(struct gw_reactor *reactor, struct gw_watch *watch, uint32_t events);
void gw_reactor_unwatch(struct gw_reactor *reactor, struct gw_watch *watch);

/* Fires once, at mono time `at_us` (CLOCK_BOOTTIME) or soon after; setting again moves it;
 * GW_NEVER_US takes it out. A zeroed timer with fired and context is ready to be set. */
void gw_reactor_timer_set(struct gw_reactor *reactor, struct gw_timer *timer, uint64_t at_us);
void gw_reactor_timer_cancel(struct gw_reactor *reactor, struct gw_timer *timer);

/* Calls once, after the callback that runs now, before the next sleep. Twice is once. */
void gw_reactor_defer(struct gw_reactor *reactor, struct gw_deferred *deferred);
void gw_reactor_undefer(struct gw_reactor *reactor, struct gw_deferred *deferred);

void gw_reactor_prepare_add(struct gw_reactor *reactor, struct gw_prepare *prepare);
void gw_reactor_prepare_remove(struct gw_reactor *reactor, struct gw_prepare *prepare);

/* Blocks these signals in this thread (start others after it) and delivers them as calls. Once per
 * reactor. 0; negative errno. */
int gw_reactor_signals(struct gw_reactor *reactor, const int *numbers, size_t count,
		       gw_signal_f *received, void *context);

/* Runs until gw_reactor_stop. 0; negative errno: epoll failed. */
int gw_reactor_run(struct gw_reactor *reactor);
/* One turn; it sleeps, at most until `until_us`, only when there was nothing to do (what blocks
 * drives a reactor of its own with this). */
int gw_reactor_turn(struct gw_reactor *reactor, uint64_t until_us);
/* Ends gw_reactor_run; nothing when it does not run. */
void gw_reactor_stop(struct gw_reactor *reactor);

#endif
