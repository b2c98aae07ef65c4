/*
 * In which order and at what pace a client tries the schedulers of its region: in turn, the one
 * that answered last first, each for a bounded time. Pure: times and the jitter's seed come in.
 *
 * A try lasts 300 ms, or three times what the last answer took, and doubles with each round. When a
 * round brought no answer there is a pause, a quarter of the time spent looking (100 ms to 5 s,
 * jittered): a new leader is found that much later than it could be at most, and a region without
 * one is not stormed.
 */
#ifndef GODWIT_TRANSPORT_SEEK_H
#define GODWIT_TRANSPORT_SEEK_H

#include <stdint.h>

#include "proto/base/prng.h"

struct gw_seek {
	uint32_t count;      /* schedulers */
	uint32_t at;         /* the one that is tried, or that answered */
	uint32_t tries;      /* ended without an answer since `since_us` */
	uint64_t since_us;   /* when the search began */
	uint64_t began_us;   /* this try; perhaps later than now */
	uint64_t opening_us; /* what the last answer took; 0: there was none yet */
	struct gw_prng jitter;
};

/* `count` > 0. The first try begins now. */
void gw_seek_init(struct gw_seek *seek, uint32_t count, uint64_t seed, uint64_t now_us);
/* The one that had answered is lost: it is tried again first. */
void gw_seek_begin(struct gw_seek *seek, uint64_t now_us);
/* When the try in hand is over, unless an answer came. */
uint64_t gw_seek_until_us(const struct gw_seek *seek);
/* It brought none: `at` is the next. Returns when to begin with it: now, or after a pause. */
uint64_t gw_seek_next(struct gw_seek *seek, uint64_t now_us);
/* `at` answered. */
void gw_seek_answered(struct gw_seek *seek, uint64_t now_us);

#endif
