/*
 * Messages, records and faults as a person reads them in a transcript: a line each, with the time,
 * who it happens to, and names instead of ids. What repeats without end (heartbeats, a user's
 * looking) is left out. `grep` finds what concerns a host ("s1n2") or a job ("1.17/").
 */
#ifndef GODWIT_BENCH_SIM_TRANSCRIPT_H
#define GODWIT_BENCH_SIM_TRANSCRIPT_H

#include "bench/sim/world.h"
#include "proto/wire.h"

struct sim_grid;

/* "who < other task_start 1.1/0#1"; nothing without a transcript. */
void sim_say_body(struct sim_world *world, const char *who, const char *arrow, const char *other,
		  const Godwit__Body *body);

/* A link's own envelope: what it is, and the epochs by which the two links know each other. */
void sim_say_envelope(struct sim_world *world, const char *who, const uint8_t *bytes, size_t size);
/* "journal task_placed 1.1/0#1 on s1n1, 1.1/1#1 on s2n1" */
void sim_say_record(struct sim_grid *grid, const Godwit__Record *record);

#endif
