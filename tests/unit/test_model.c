/*
 * The reference model's one promise: the tokens of a sequence depend on its prompt alone. They are
 * compared over cuts, batch sizes, slots and mixtures of prefill with decode, and against a plain
 * run of one sequence by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/loss/model.h"

#define PROMPT 12u
#define STEPS 24u
#define SEQUENCES 37u

static const struct gw_model_config config = {.hidden = 64,
					      .ffn = 96,
					      .heads = 4,
					      .kv_heads = 2,
					      .layers = 12,
					      .window = 16, /* less than a run: the ring wraps */
					      .slots = 48,
					      .rows = 96,
					      .seed = 7};

struct cut {
	uint32_t stages;
	struct gw_model *models[12];
	float *hidden;
};

static void cut_init(struct cut *cut, const struct gw_model_config *c, uint32_t stages)
{
	memset(cut, 0, sizeof(*cut));
	cut->stages = stages;
	for (uint32_t i = 0; i < stages; i++) {
		uint32_t first;
		uint32_t count;

		gw_model_cut(c->layers, stages, i, &first, &count);
		assert_int_equal(gw_model_new(c, first, count, &cut->models[i]), 0);
	}
	cut->hidden = aligned_alloc(64, sizeof(float) * c->hidden * (c->rows + 16));
	assert_non_null(cut->hidden);
}

static void cut_deinit(struct cut *cut)
{
	for (uint32_t i = 0; i < cut->stages; i++)
		gw_model_free(cut->models[i]);
	free(cut->hidden);
}

static void cut_run(struct cut *cut, const struct gw_model_row *rows, uint32_t count,
		    const uint32_t *tokens, uint32_t *ret_tokens)
{
	gw_model_embed(cut->models[0], tokens, count, cut->hidden);
	for (uint32_t i = 0; i < cut->stages; i++)
		gw_model_forward(cut->models[i], rows, count, cut->hidden);
	gw_model_sample(cut->models[cut->stages - 1], rows, count, cut->hidden, ret_tokens);
}

/* Sequence q alone, one row at a time, in slot q: ret[STEPS]. */
static void reference(struct cut *cut, uint32_t q, uint32_t *ret)
{
	uint32_t prompt[PROMPT];
	uint32_t token = 0;

	gw_prompt_tokens(q, PROMPT, prompt);
	for (uint32_t i = 0; i < PROMPT + STEPS - 1; i++) {
		struct gw_model_row row = {.position = i, .slot = (uint16_t)q, .sample = 1};
		uint32_t input = i < PROMPT ? prompt[i] : token;

		cut_run(cut, &row, 1, &input, &token);
		if (i >= PROMPT - 1)
			ret[i - (PROMPT - 1)] = token;
	}
}

/* All sequences in batches of `batch`, slots turned by `shift`, prefill in one chunk a sequence. */
static void batched(struct cut *cut, uint32_t batch, uint32_t shift, uint32_t (*ret)[STEPS])
{
	for (uint32_t q = 0; q < SEQUENCES; q++) {
		struct gw_model_row rows[PROMPT];
		uint32_t tokens[PROMPT];
		uint32_t out[PROMPT];

		gw_prompt_tokens(q, PROMPT, tokens);
		for (uint32_t i = 0; i < PROMPT; i++)
			rows[i] = (struct gw_model_row){
				.position = i,
				.slot = (uint16_t)((q + shift) % config.slots),
				.sample = i == PROMPT - 1};
		cut_run(cut, rows, PROMPT, tokens, out);
		ret[q][0] = out[PROMPT - 1];
	}
	for (uint32_t step = 1; step < STEPS; step++) {
		for (uint32_t q = 0; q < SEQUENCES; q += batch) {
			struct gw_model_row rows[SEQUENCES];
			uint32_t tokens[SEQUENCES];
			uint32_t out[SEQUENCES];
			uint32_t count = 0;

			for (; count < batch && q + count < SEQUENCES; count++) {
				tokens[count] = ret[q + count][step - 1];
				rows[count] = (struct gw_model_row){
					.position = PROMPT + step - 1,
					.slot = (uint16_t)((q + count + shift) % config.slots),
					.sample = 1};
			}
			cut_run(cut, rows, count, tokens, out);
			for (uint32_t i = 0; i < count; i++)
				ret[q + i][step] = out[i];
		}
	}
}

static void test_tokens_do_not_depend_on_cut_or_batch(void **state)
{
	static uint32_t expected[SEQUENCES][STEPS];
	static uint32_t found[SEQUENCES][STEPS];
	const uint32_t batches[] = {1, 2, 7, 16, 17, 37};
	const uint32_t cuts[] = {1, 2, 3, 4, 5, 12};
	struct cut cut;

	(void)state;
	cut_init(&cut, &config, 1);
	for (uint32_t q = 0; q < SEQUENCES; q++)
		reference(&cut, q, expected[q]);
	cut_deinit(&cut);
	for (size_t i = 0; i < 6; i++) {
		cut_init(&cut, &config, cuts[i]);
		batched(&cut, batches[(i * 5) % 6], (uint32_t)i, found);
		assert_memory_equal(found, expected, sizeof(found));
		batched(&cut, batches[i], 11, found);
		assert_memory_equal(found, expected, sizeof(found));
		cut_deinit(&cut);
	}
}

/* A model that always says the same would pass the test above. */
static void test_tokens_depend_on_prompt_and_weights(void **state)
{
	struct gw_model_config other = config;
	uint32_t a[STEPS];
	uint32_t b[STEPS];
	uint32_t c[STEPS];
	uint32_t kinds = 0;
	struct cut cut;

	(void)state;
	cut_init(&cut, &config, 1);
	reference(&cut, 1, a);
	reference(&cut, 2, b);
	cut_deinit(&cut);
	other.seed = 8;
	cut_init(&cut, &other, 1);
	reference(&cut, 1, c);
	cut_deinit(&cut);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, c, sizeof(a));
	for (uint32_t i = 1; i < STEPS; i++)
		kinds += a[i] != a[i - 1];
	assert_true(kinds > STEPS / 4);
}

/* What a sequence says must change when an early token inside the window does: the cache is used.
 */
static void test_attention_looks_back(void **state)
{
	uint32_t prompt[PROMPT];
	struct gw_model_row rows[PROMPT];
	uint32_t out[PROMPT];
	float *first;
	struct cut cut;
	size_t bytes = sizeof(float) * config.hidden;

	(void)state;
	cut_init(&cut, &config, 1);
	first = malloc(bytes);
	assert_non_null(first);
	gw_prompt_tokens(0, PROMPT, prompt);
	for (uint32_t i = 0; i < PROMPT; i++)
		rows[i] = (struct gw_model_row){.position = i, .slot = 0, .sample = 1};
	cut_run(&cut, rows, PROMPT, prompt, out);
	memcpy(first, cut.hidden + (size_t)(PROMPT - 1) * config.hidden, bytes);
	prompt[0] ^= 1;
	cut_run(&cut, rows, PROMPT, prompt, out);
	assert_memory_not_equal(first, cut.hidden + (size_t)(PROMPT - 1) * config.hidden, bytes);
	free(first);
	cut_deinit(&cut);
}

/* What crosses a cut is exactly what stays inside when there is none. */
static void test_packing_loses_nothing(void **state)
{
	struct gw_model_row row = {.position = 0, .slot = 0, .sample = 1};
	uint16_t packed[64];
	float unpacked[64];
	uint32_t token = 'G';
	struct cut cut;

	(void)state;
	cut_init(&cut, &config, 2);
	gw_model_embed(cut.models[0], &token, 1, cut.hidden);
	gw_model_forward(cut.models[0], &row, 1, cut.hidden);
	gw_model_pack(cut.hidden, 64, packed);
	gw_model_unpack(packed, 64, unpacked);
	assert_memory_equal(unpacked, cut.hidden, sizeof(unpacked));
	cut_deinit(&cut);
}

static void test_sizes_are_checked(void **state)
{
	struct gw_model *model = NULL;
	struct gw_model_config c = config;

	(void)state;
	assert_null(gw_model_config_check(&c));
	c.kv_heads = 3;
	assert_non_null(gw_model_config_check(&c));
	c = config;
	c.hidden = 72;
	assert_non_null(gw_model_config_check(&c));
	c = config;
	c.slots = GW_MODEL_SLOTS_MAX + 1;
	assert_int_equal(gw_model_new(&c, 0, 1, &model), -22);
	c = config;
	assert_int_equal(gw_model_new(&c, 11, 2, &model), -22);
	assert_int_equal(gw_model_new(&c, 12, 1, &model), -22);
	assert_null(model);
}

static void test_cut_covers_every_layer_once(void **state)
{
	(void)state;
	for (uint32_t stages = 1; stages <= 12; stages++) {
		uint32_t next = 0;

		for (uint32_t i = 0; i < stages; i++) {
			uint32_t first;
			uint32_t count;

			gw_model_cut(12, stages, i, &first, &count);
			assert_int_equal(first, next);
			assert_true(count >= 12 / stages && count <= (12 + stages - 1) / stages);
			next += count;
		}
		assert_int_equal(next, 12);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_do_not_depend_on_cut_or_batch),
		cmocka_unit_test(test_tokens_depend_on_prompt_and_weights),
		cmocka_unit_test(test_attention_looks_back),
		cmocka_unit_test(test_packing_loses_nothing),
		cmocka_unit_test(test_sizes_are_checked),
		cmocka_unit_test(test_cut_covers_every_layer_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
