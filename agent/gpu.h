/*
 * Accelerators by NVIDIA's management library (NVML), loaded at run time: no build needs it. Only
 * its stable C functions are used, declared in gpu.c. No library or no driver is an empty list; a
 * device that cannot be read is listed with the reason.
 */
#ifndef GODWIT_AGENT_GPU_H
#define GODWIT_AGENT_GPU_H

#include <stdint.h>

#include "proto/wire.h"

#define GW_GPU_LIBRARY "libnvidia-ml.so.1"
#define GW_GPUS_MAX 64u

struct gw_gpus;

/* 0, with a list that may be empty; -ENOMEM. `library` as for dlopen. */
int gw_gpus_new(const char *library, struct gw_gpus **ret_gpus);
struct gw_gpus *gw_gpus_free(struct gw_gpus *gpus);

/* Why the list is empty; NULL: it is not, or there is no library. */
const char *gw_gpus_reason(const struct gw_gpus *gpus);
uint32_t gw_gpus_count(const struct gw_gpus *gpus);
/* What NodeInfo tells; [count], valid as long as `gpus`. */
Godwit__Device **gw_gpus_devices(struct gw_gpus *gpus);
/* Reads the figures of the devices that can be read: [ret_count], valid until the next call. */
Godwit__DeviceSample **gw_gpus_sample(struct gw_gpus *gpus, uint32_t *ret_count);

#endif
