/*
 * The one predicate on where things may be. Codes are ISO 3166-1 or 3166-2 ("CN", "CN-GZ"); an
 * allowed code covers itself and its subdivisions.
 */
#ifndef GODWIT_SCHEDULER_PLACE_RESIDENCY_H
#define GODWIT_SCHEDULER_PLACE_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

/* True if `place` is within one of `allowed` [allowed_count], or if nothing is asked (count 0). A
 * place without a code is within none. */
bool gw_residency_allows(const char *const *allowed, uint32_t allowed_count, const char *place);
/* A country's two letters, then perhaps a dash and one to three letters or digits. */
bool gw_residency_valid(const char *code);

#endif
