/* Messages as a person reads them in a transcript. */
#ifndef GODWIT_BENCH_SIM_TRANSCRIPT_H
#define GODWIT_BENCH_SIM_TRANSCRIPT_H

#include "bench/sim/world.h"
#include "proto/wire.h"

/* "who < other task_start 0.1.1/0#1"; nothing without a transcript. Heartbeats are left out. */
void sim_say_body(struct sim_world *world, const char *who, const char *arrow, const char *other,
		  const Godwit__Body *body);

/* A link's own envelope: what it is, and the epochs by which the two links know each other. */
void sim_say_envelope(struct sim_world *world, const char *who, const uint8_t *bytes, size_t size);
/* "scheduler journal task_placed 0.1.1: 0#1 on s1n1 ..." */
void sim_say_record(struct sim_world *world, const Godwit__Record *record);

#endif
