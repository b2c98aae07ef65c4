/*
 * The simulated world: true time, one queue of timers, one seeded generator, one running hash of
 * everything that happened. Nothing in the simulator knows another clock or another randomness, so
 * a seed names a run: same seed, same hash.
 */
#ifndef GODWIT_BENCH_SIM_WORLD_H
#define GODWIT_BENCH_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/sim/coverage.h"
#include "proto/base/heap.h"
#include "proto/base/id.h"
#include "proto/base/prng.h"

struct sim_timer;
typedef void sim_fire_f(struct sim_timer *timer);

/* Intrusive: stands in the struct that it wakes. `item` is first, the queue casts back. */
struct sim_timer {
	struct gw_heap_item item;
	sim_fire_f *fire;
	void *owner;
};

/* A message in flight or held back; recycled by size class, so that the hot path allocates nothing.
 */
struct sim_packet {
	struct sim_packet *next;
	uint64_t at_us; /* when it arrives */
	uint32_t size;
	uint32_t size_class;
	uint32_t generation; /* of the connection that carries it */
	uint8_t bytes[];
};

struct sim_fifo {
	struct sim_packet *first;
	struct sim_packet *last;
};

#define SIM_PACKET_CLASSES 3u

struct sim_world {
	uint64_t now_us; /* true time since the beginning */
	uint64_t order;  /* of the last timer set: ties go first come, first served */
	uint64_t hash;   /* over every event and effect */
	uint64_t event_count;
	struct gw_heap queue;
	struct gw_prng prng;
	struct sim_packet *spare[SIM_PACKET_CLASSES];
	FILE *transcript; /* NULL: none */
	struct sim_coverage coverage;
	bool stopped;
	char fault[512]; /* the broken invariant, one sentence; "": none */
};

void sim_world_init(struct sim_world *world, uint64_t seed, FILE *transcript);
void sim_world_deinit(struct sim_world *world);

void sim_timer_init(struct sim_timer *timer, sim_fire_f *fire, void *owner);
/* Sets or moves the timer; a time in the past means now. GW_NEVER_US clears it. */
void sim_timer_set(struct sim_world *world, struct sim_timer *timer, uint64_t at_us);
void sim_timer_clear(struct sim_world *world, struct sim_timer *timer);
/* Runs timers until true time `until_us`, or until the world is stopped. */
void sim_world_run(struct sim_world *world, uint64_t until_us);

/* Notes the first broken invariant and stops the world. */
void sim_world_fail(struct sim_world *world, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Uniform in [low, high]. */
uint64_t sim_between(struct sim_world *world, uint64_t low, uint64_t high);
bool sim_chance_ppm(struct sim_world *world, uint64_t ppm);

/* Mixes into the trace hash. */
void sim_trace(struct sim_world *world, uint64_t word);
void sim_trace_bytes(struct sim_world *world, const void *bytes, size_t size);
/* One line of the transcript, after the time and `who`; costs nothing without a transcript. */
#define sim_say(world, who, ...)                                                                   \
	do {                                                                                       \
		if ((world)->transcript)                                                           \
			sim_transcribe(world, who, __VA_ARGS__);                                   \
	} while (0)
void sim_transcribe(struct sim_world *world, const char *who, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A packet with a copy of the bytes, or for NULL with room for them; never NULL. */
struct sim_packet *sim_packet_new(struct sim_world *world, const void *bytes, size_t size);
void sim_packet_free(struct sim_world *world, struct sim_packet *packet);
void sim_fifo_push(struct sim_fifo *fifo, struct sim_packet *packet);
struct sim_packet *sim_fifo_pop(struct sim_fifo *fifo); /* NULL: empty */
void sim_fifo_drop(struct sim_world *world, struct sim_fifo *fifo);

/* "1.3", epoch and counter, for a job of the one region; `ret_text` has GW_ID_TEXT_BYTES. */
void sim_format_job(struct gw_job_id job, char *ret_text);
/* "1.3/0#1" for an attempt; `ret_text` has GW_ID_TEXT_BYTES + 24. */
void sim_format_attempt(const struct gw_attempt_id *attempt, char *ret_text);

#endif
