/*
 * The host's figures, cheaply: each file of /proc is opened once and read again with pread; a
 * figure that this kernel does not give stays zero. Rates are over the time since the sample
 * before.
 */
#ifndef GODWIT_AGENT_SAMPLE_H
#define GODWIT_AGENT_SAMPLE_H

#include <stdint.h>

#include "proto/base/time.h"
#include "proto/wire.h"

struct gw_sampler;

/* `proc` is "/proc" (a test has its own), `disk` a path on the file system whose room is told.
 * 0; -ENOMEM. A file that is not there is not an error. */
int gw_sampler_new(const char *proc, const char *disk, struct gw_sampler **ret_sampler);
struct gw_sampler *gw_sampler_free(struct gw_sampler *sampler);

/* Fills the host's part of `telemetry` (initialised by the caller; devices and tasks are not
 * touched). `pressure` belongs to the sampler and is valid until the next call. */
void gw_sampler_take(struct gw_sampler *sampler, const struct gw_now *now,
		     Godwit__Telemetry *telemetry);
/* Room left for us on the file system of `disk`, now; 0 also when it cannot be told. */
uint64_t gw_sampler_disk_free_bytes(const struct gw_sampler *sampler);
/* MemTotal at the last sample; 0: none yet. */
uint64_t gw_sampler_memory_bytes(const struct gw_sampler *sampler);

#endif
