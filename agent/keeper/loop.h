/*
 * The keeper's one thread: descriptors that became ready and deadlines that came, nothing else, so
 * that a keeper at rest is never woken. One event is taken at a time, because a handler may free
 * what another ready descriptor belongs to.
 */
#ifndef GODWIT_AGENT_KEEPER_LOOP_H
#define GODWIT_AGENT_KEEPER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/heap.h"

#define GW_CONTAINER_OF(pointer, type, member)                                                     \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct gw_source {
	int fd; /* -1: none */
	void (*ready)(struct gw_source *source, uint32_t events);
};

struct gw_timer {
	struct gw_heap_item item;
	void (*due)(struct gw_timer *timer);
};

struct gw_loop {
	int epoll_fd;
	struct gw_source clock; /* timerfd */
	struct gw_heap timers;
	uint64_t order;
	bool stop; /* set by a handler: gw_loop_run returns */
};

/* 0; negative errno. */
int gw_loop_init(struct gw_loop *loop);
void gw_loop_deinit(struct gw_loop *loop);

/* Watches source->fd for EPOLLIN, EPOLLOUT (level). 0; negative errno. */
int gw_loop_add(struct gw_loop *loop, struct gw_source *source, uint32_t events);
int gw_loop_change(struct gw_loop *loop, struct gw_source *source, uint32_t events);
/* Stops watching and closes the descriptor; nothing happens if it is -1. */
void gw_loop_close(struct gw_loop *loop, struct gw_source *source);

/* (Re)arms the timer. 0; -ENOBUFS, -ENOMEM. */
int gw_loop_set(struct gw_loop *loop, struct gw_timer *timer, uint64_t at_us);
void gw_loop_cancel(struct gw_loop *loop, struct gw_timer *timer);

uint64_t gw_loop_now_us(void); /* CLOCK_BOOTTIME */
int64_t gw_loop_wall_us(void);

/* Until `stop`. 0; negative errno. */
int gw_loop_run(struct gw_loop *loop);

#endif
