/*
 * A link's parameters in their two written forms: keys and units of the scenario file (a schema
 * table, also used for `godwit-lab set LINK key=value`), and the JSON of the emulator's control
 * socket, whose keys are the same with the stored unit behind ("delay_us", "rate_bps").
 */
#ifndef GODWIT_BENCH_WAN_PARAMS_H
#define GODWIT_BENCH_WAN_PARAMS_H

#include <jansson.h>

#include "bench/wan/link.h"
#include "proto/schema.h"

/* The keys, for embedding at offset 0 of a struct; ends with a key of NULL. */
#define GW_PARAMS_SCHEMA_ENTRIES 10
extern const struct gw_schema gw_params_schema[GW_PARAMS_SCHEMA_ENTRIES + 1];

/* A queue that was not given holds 5 ms of the rate, at least 64 KiB. */
void gw_params_default_queue(struct gw_link_params *params);
/* A new object. NULL: out of memory. */
json_t *gw_params_to_json(const struct gw_link_params *params);
/* Takes over the keys that are there and leaves the others alone. NULL: good, otherwise the
 * fault in words (then *params may hold part of them). */
const char *gw_params_from_json(const json_t *object, struct gw_link_params *params);
/* "delay=1.2ms" into `object` under the JSON key. 0; -EINVAL with ret_error. */
int gw_params_set_text(json_t *object, const char *assignment, struct gw_parse_error *ret_error);

#endif
