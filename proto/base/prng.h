/*
 * Seeded generator (xoshiro256**, Blackman and Vigna 2018; seeded by splitmix64). For simulation,
 * tie-breaks and test data; never for a key, a token or a nonce. Pure, same stream everywhere.
 */
#ifndef GODWIT_PROTO_BASE_PRNG_H
#define GODWIT_PROTO_BASE_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct gw_prng {
	uint64_t state[4];
};

void gw_prng_init(struct gw_prng *prng, uint64_t seed);
uint64_t gw_prng_next(struct gw_prng *prng);
/* Uniform in [0, bound), bound > 0, without modulo bias (Lemire 2019). */
uint64_t gw_prng_below(struct gw_prng *prng, uint64_t bound);
/* True with probability ppm / 1e6. */
bool gw_prng_chance_ppm(struct gw_prng *prng, uint32_t ppm);
/* Uniform in [0, 1) with 53 bits. */
double gw_prng_unit(struct gw_prng *prng);

#endif
