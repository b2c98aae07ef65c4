/* xoshiro256** with splitmix64 seeding; see the header for sources. */
#include "proto/base/prng.h"

#include "proto/base/check.h"

__extension__ typedef unsigned __int128 u128;

static uint64_t rotate_left(uint64_t value, int count)
{
	return value << count | value >> (64 - count);
}

void gw_prng_init(struct gw_prng *prng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15ull);

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		prng->state[i] = z ^ z >> 31;
	}
}

uint64_t gw_prng_next(struct gw_prng *prng)
{
	uint64_t *s = prng->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t gw_prng_below(struct gw_prng *prng, uint64_t bound)
{
	uint64_t threshold;
	u128 product;

	CHECK(bound > 0);
	threshold = (0 - bound) % bound;
	do {
		product = (u128)gw_prng_next(prng) * bound;
	} while ((uint64_t)product < threshold);
	return (uint64_t)(product >> 64);
}

bool gw_prng_chance_ppm(struct gw_prng *prng, uint32_t ppm)
{
	return gw_prng_below(prng, 1000000) < ppm;
}

double gw_prng_unit(struct gw_prng *prng)
{
	return (double)(gw_prng_next(prng) >> 11) * 0x1p-53;
}
