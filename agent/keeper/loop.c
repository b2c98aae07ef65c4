/* epoll over sources, one timerfd over a heap of timers. The timerfd is armed only while there is a
 * timer, for the earliest. */
#include "agent/keeper/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/protocol.h"
#include "proto/base/time.h"

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now); /* cannot fail for these clocks */
	return (uint64_t)now.tv_sec * GW_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

uint64_t gw_loop_now_us(void)
{
	return clock_us(CLOCK_BOOTTIME);
}

int64_t gw_loop_wall_us(void)
{
	return (int64_t)clock_us(CLOCK_REALTIME);
}

static void rearm(struct gw_loop *loop)
{
	const struct gw_heap_item *first = gw_heap_first(&loop->timers);
	uint64_t at_us = first ? (first->at_us ? first->at_us : 1) : 0; /* 0 would disarm */
	struct itimerspec spec = {
		.it_value = {.tv_sec = (time_t)(at_us / GW_US_PER_S),
			     .tv_nsec = (long)(at_us % GW_US_PER_S) * 1000},
	};

	(void)timerfd_settime(loop->clock.fd, TFD_TIMER_ABSTIME, &spec, NULL); /* valid by make */
}

static void clock_ready(struct gw_source *source, uint32_t events)
{
	struct gw_loop *loop = GW_CONTAINER_OF(source, struct gw_loop, clock);
	uint64_t now_us = gw_loop_now_us();
	uint64_t ticks;

	(void)events;
	(void)!read(source->fd, &ticks, sizeof(ticks)); /* the heap knows what is due */
	for (;;) {
		struct gw_heap_item *first = gw_heap_first(&loop->timers);
		struct gw_timer *timer;

		if (!first || first->at_us > now_us)
			break;
		timer = GW_CONTAINER_OF(first, struct gw_timer, item);
		gw_heap_remove(&loop->timers, first);
		timer->due(timer); /* a timer that rearms itself is set after now */
	}
	rearm(loop);
}

int gw_loop_init(struct gw_loop *loop)
{
	int result;

	*loop = (struct gw_loop){.epoll_fd = -1, .clock = {.fd = -1, .ready = clock_ready}};
	gw_heap_init(&loop->timers, GW_KEEPER_ATTEMPTS_MAX + GW_KEEPER_WAITERS_MAX + 8);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->clock.fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	result = loop->clock.fd < 0 ? -errno : gw_loop_add(loop, &loop->clock, EPOLLIN);
	if (result)
		gw_loop_deinit(loop);
	return result;
}

void gw_loop_deinit(struct gw_loop *loop)
{
	if (loop->clock.fd >= 0)
		(void)close(loop->clock.fd);
	if (loop->epoll_fd >= 0)
		(void)close(loop->epoll_fd);
	gw_heap_deinit(&loop->timers);
	loop->clock.fd = loop->epoll_fd = -1;
}

int gw_loop_add(struct gw_loop *loop, struct gw_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) ? -errno : 0;
}

int gw_loop_change(struct gw_loop *loop, struct gw_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) ? -errno : 0;
}

void gw_loop_close(struct gw_loop *loop, struct gw_source *source)
{
	if (source->fd < 0)
		return;
	/* Not every descriptor is watched; and closing alone would not do while a child that has
	 * not come to its exec yet holds a copy. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	(void)close(source->fd);
	source->fd = -1;
}

int gw_loop_set(struct gw_loop *loop, struct gw_timer *timer, uint64_t at_us)
{
	int result;

	if (!timer->item.order)
		timer->item.order = ++loop->order;
	result = gw_heap_set(&loop->timers, &timer->item, at_us);
	rearm(loop);
	return result;
}

void gw_loop_cancel(struct gw_loop *loop, struct gw_timer *timer)
{
	gw_heap_remove(&loop->timers, &timer->item);
	rearm(loop);
}

int gw_loop_run(struct gw_loop *loop)
{
	while (!loop->stop) {
		struct epoll_event event;
		int count = epoll_wait(loop->epoll_fd, &event, 1, -1);
		struct gw_source *source;

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count <= 0)
			continue;
		source = event.data.ptr;
		source->ready(source, event.events);
	}
	return 0;
}
