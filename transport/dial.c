/*
 * The search and the sockets. Sockets are opened and closed from the timer only, never from within
 * their own callbacks. With one scheduler, which the sockets are open to, there is nothing to
 * search: the timer rests and libzmq connects again by itself.
 */
#include "transport/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/reactor.h"
#include "transport/seek.h"

/* What is sent is acknowledged in a round trip and 20 ms; TCP may need a second and more to repair a
 * loss, and large bodies pass a thin path slowly. */
#define SILENCE_US (3 * GW_US_PER_S)
#define BYTES_PER_S_MIN (16u << 10)

struct gw_dial {
	struct gw_dial_options options;
	struct gw_scheduler_list list;
	struct gw_seek seek;
	struct gw_scheduler_place place; /* that the sockets are open to, or last were */
	struct gw_zsock *state;          /* NULL: in a pause of the search */
	struct gw_zsock *heartbeat;
	bool up;              /* the connection stands, and the user knows */
	bool answered;        /* and is the leader's */
	uint64_t heard_us;    /* last */
	uint64_t expected_us; /* an answer is, until then; GW_NEVER_US: none is */
	struct gw_timer timer;
};

static uint64_t now_us(const struct gw_dial *dial)
{
	return gw_reactor_now(dial->options.reactor).mono_us;
}

static bool same_place(const struct gw_scheduler_place *a, const struct gw_scheduler_place *b)
{
	return strcmp(a->state, b->state) == 0 && strcmp(a->heartbeat, b->heartbeat) == 0;
}

/* Nowhere else to go. */
static bool is_alone(const struct gw_dial *dial)
{
	return dial->list.count == 1 && dial->state &&
	       same_place(&dial->place, &dial->list.places[0]);
}

/* When the timer is to look again. */
static void set_timer(struct gw_dial *dial)
{
	uint64_t at_us;

	if (is_alone(dial))
		at_us = GW_NEVER_US;
	else if (!dial->state)
		at_us = dial->seek.began_us;
	else if (!dial->answered)
		at_us = gw_seek_until_us(&dial->seek);
	else
		at_us = dial->expected_us;
	gw_reactor_timer_set(dial->options.reactor, &dial->timer, at_us);
}

static void heard(struct gw_dial *dial)
{
	dial->heard_us = now_us(dial);
	dial->expected_us = GW_NEVER_US; /* the timer finds out */
}

static void state_received(void *context, const struct gw_zmessage *message)
{
	struct gw_dial *dial = context;

	heard(dial);
	dial->options.received(dial->options.context, message);
}

static void heartbeat_received(void *context, const struct gw_zmessage *message)
{
	struct gw_dial *dial = context;

	heard(dial);
	dial->options.heartbeat_received(dial->options.context, message);
}

static void lost(struct gw_dial *dial)
{
	if (dial->answered)
		gw_seek_begin(&dial->seek, now_us(dial));
	dial->answered = false;
	heard(dial);
	if (!dial->up)
		return;
	dial->up = false;
	dial->options.connection(dial->options.context, GW_CONNECTION_DOWN, -1);
}

static void connection(void *context, enum gw_connection state, int fd)
{
	struct gw_dial *dial = context;

	switch (state) {
	case GW_CONNECTION_UP:
		dial->up = true;
		dial->options.connection(dial->options.context, state, fd);
		break;
	case GW_CONNECTION_DOWN:
		lost(dial);
		set_timer(dial);
		break;
	case GW_CONNECTION_ABSENT:
		if (!is_alone(dial) && !dial->answered)
			gw_reactor_timer_set(dial->options.reactor, &dial->timer, now_us(dial));
		break;
	case GW_CONNECTION_REFUSED:
	case GW_CONNECTION_STRANGE:
		dial->options.connection(dial->options.context, state, fd);
		break;
	}
}

static void close_sockets(struct gw_dial *dial)
{
	dial->state = gw_zsock_close(dial->state);
	dial->heartbeat = gw_zsock_close(dial->heartbeat);
}

/* Connects to the scheduler whose turn it is. */
static int open_sockets(struct gw_dial *dial, struct gw_fault *fault)
{
	struct gw_zsock_options options = {
		.reactor = dial->options.reactor,
		.zmq = dial->options.zmq,
		.keys = dial->options.keys,
		.server_key = dial->options.server_key,
		.received = state_received,
		.connection = connection,
		.context = dial,
	};
	int error;

	dial->place = dial->list.places[dial->seek.at];
	options.endpoint = dial->place.state;
	error = gw_zsock_open(&options, &dial->state, fault);
	if (error == 0 && dial->options.heartbeat_received) {
		options.endpoint = dial->place.heartbeat;
		options.received = heartbeat_received;
		options.connection = NULL;
		error = gw_zsock_open(&options, &dial->heartbeat, fault);
	}
	if (error < 0)
		close_sockets(dial);
	return error;
}

/* A try is over, a pause is, or the leader is silent: whatever the time says. */
static void timer_fired(void *context)
{
	struct gw_dial *dial = context;

	if (dial->state && dial->answered && dial->expected_us > now_us(dial)) {
		set_timer(dial);
		return;
	}
	if (dial->state) {
		lost(dial);
		close_sockets(dial);
		(void)gw_seek_next(&dial->seek, now_us(dial));
	}
	/* One that cannot be opened is passed over when its time is up, as one that is not there. */
	if (dial->seek.began_us <= now_us(dial) && open_sockets(dial, NULL) < 0)
		(void)gw_seek_next(&dial->seek, gw_seek_until_us(&dial->seek));
	set_timer(dial);
}

int gw_dial_new(const struct gw_dial_options *options, struct gw_dial **ret_dial,
		struct gw_fault *fault)
{
	struct gw_dial *dial;
	int error;

	if (options->schedulers->count == 0) {
		gw_fault_set(fault, "the region file names no scheduler; join the region");
		return -EINVAL;
	}
	CHECK(options->schedulers->count <= GW_SCHEDULERS_MAX);
	dial = calloc(1, sizeof(*dial));
	if (!dial)
		return -ENOMEM;
	dial->options = *options;
	dial->list = *options->schedulers;
	dial->expected_us = GW_NEVER_US;
	dial->timer.fired = timer_fired;
	dial->timer.context = dial;
	gw_seek_init(&dial->seek, dial->list.count, options->seed, now_us(dial));
	error = open_sockets(dial, fault);
	if (error < 0 && dial->list.count == 1) {
		gw_dial_free(dial);
		return error;
	}
	if (error < 0) /* as when its time was up */
		(void)gw_seek_next(&dial->seek, now_us(dial));
	set_timer(dial);
	*ret_dial = dial;
	return 0;
}

struct gw_dial *gw_dial_free(struct gw_dial *dial)
{
	if (!dial)
		return NULL;
	close_sockets(dial);
	gw_reactor_timer_cancel(dial->options.reactor, &dial->timer);
	free(dial);
	return NULL;
}

int gw_dial_send_state(struct gw_dial *dial, const uint8_t *bytes, size_t size)
{
	return dial->state ? gw_zsock_send(dial->state, NULL, bytes, size) : -EAGAIN;
}

int gw_dial_send_heartbeat(struct gw_dial *dial, const uint8_t *bytes, size_t size)
{
	return dial->heartbeat ? gw_zsock_send(dial->heartbeat, NULL, bytes, size) : -EAGAIN;
}

void gw_dial_expect(struct gw_dial *dial, size_t bytes)
{
	if (bytes == 0 || !dial->answered) {
		dial->expected_us = GW_NEVER_US;
	} else if (dial->expected_us == GW_NEVER_US) {
		dial->expected_us =
			now_us(dial) + SILENCE_US + bytes * GW_US_PER_S / BYTES_PER_S_MIN;
		set_timer(dial);
	}
}

uint64_t gw_dial_silent_us(const struct gw_dial *dial)
{
	return dial->answered ? now_us(dial) - dial->heard_us : 0;
}

void gw_dial_answered(struct gw_dial *dial)
{
	if (dial->answered || !dial->up)
		return;
	dial->answered = true;
	gw_seek_answered(&dial->seek, now_us(dial));
	set_timer(dial);
}

bool gw_dial_set_list(struct gw_dial *dial, const struct gw_scheduler_list *list)
{
	CHECK(list->count > 0);
	CHECK(list->count <= GW_SCHEDULERS_MAX);
	if (list->version <= dial->list.version)
		return false;
	dial->list = *list;
	dial->seek.count = list->count;
	dial->seek.at = 0;
	for (uint32_t i = 0; i < list->count; i++) {
		if (same_place(&dial->place, &list->places[i]))
			dial->seek.at = i;
	}
	set_timer(dial);
	return true;
}

const char *gw_dial_endpoint(const struct gw_dial *dial)
{
	return dial->place.state;
}
