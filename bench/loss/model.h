/*
 * The reference inference model: a decoder-only transformer of the Llama family (RMSNorm, rotary
 * positions, grouped-query attention, SwiGLU), byte-level tokens, seeded weights, greedy decode.
 * A model object holds a run of whole layers, so that a pipeline stage is one object.
 *
 * Work arrives as *rows*: one token of one sequence at one position. Prefill is many rows of a
 * slot, decode one row of many slots; a batch may mix them. The result of a row depends on the rows
 * that came before it in its own slot and on nothing else, bit for bit: matrix products run in
 * tiles of a fixed shape (GW_MODEL_TILE_ROWS), so neither the batch nor the cut changes the order
 * of a sum. gw_model_new proves that for the BLAS kernels of this CPU and refuses to start
 * otherwise.
 *
 * Attention looks back `window` positions (the cache of a slot is a ring), so a sequence may run
 * for any time in constant memory and at constant cost.
 */
#ifndef GODWIT_BENCH_LOSS_MODEL_H
#define GODWIT_BENCH_LOSS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_MODEL_VOCABULARY 256u /* a token is a byte */
#define GW_MODEL_TILE_ROWS 16u   /* rows of every matrix product */
#define GW_MODEL_HIDDEN_MAX 4096u
#define GW_MODEL_LAYERS_MAX 128u
#define GW_MODEL_WINDOW_MAX 4096u
#define GW_MODEL_SLOTS_MAX 4096u
#define GW_MODEL_ROWS_MAX 512u

struct gw_model_config {
	uint32_t hidden; /* a multiple of 16 * heads */
	uint32_t ffn;    /* of the gated MLP; a multiple of 16 */
	uint32_t heads;  /* a multiple of kv_heads */
	uint32_t kv_heads;
	uint32_t layers; /* of the whole model */
	uint32_t window; /* positions that attention sees */
	uint32_t slots;  /* sequences held at a time */
	uint32_t rows;   /* largest batch, <= GW_MODEL_ROWS_MAX */
	uint64_t seed;   /* of the weights */
};

struct gw_model_row {
	uint32_t position; /* from 0; a slot starts over whenever its caller says 0 */
	uint16_t slot;
	uint16_t sample; /* 1: the next token of this row is wanted */
};

struct gw_model;

/* NULL: sound; else a sentence that says what is wrong with the sizes. */
const char *gw_model_config_check(const struct gw_model_config *config);

/* Layers [first, first + count) with their weights and cache, all of it touched. 0; -EINVAL (sizes
 * or layers out of range), -ENOMEM, -ENOTSUP (a row's sums depend on its place in a tile here). */
int gw_model_new(const struct gw_model_config *config, uint32_t first, uint32_t count,
		 struct gw_model **ret_model);
struct gw_model *gw_model_free(struct gw_model *model);

/* tokens[count] -> hidden[count][config.hidden]. */
void gw_model_embed(const struct gw_model *model, const uint32_t *tokens, uint32_t count,
		    float *ret_hidden);
/* Activations at a layer's border are bfloat16 values (kept as floats in memory), in every cut: so
 * a stage can send half the bytes and lose nothing. Exact for such values. */
void gw_model_pack(const float *hidden, size_t count, uint16_t *ret_packed);
void gw_model_unpack(const uint16_t *packed, size_t count, float *ret_hidden);
/* Runs the layers over the rows, in place, in order: hidden[count][config.hidden]. `hidden` must
 * have room for count rounded up to GW_MODEL_TILE_ROWS; slots and count within the config. */
void gw_model_forward(struct gw_model *model, const struct gw_model_row *rows, uint32_t count,
		      float *hidden);
/* Final norm, logits, largest: ret_tokens[count], 0 for rows that do not sample. Room as above. */
void gw_model_sample(struct gw_model *model, const struct gw_model_row *rows, uint32_t count,
		     const float *hidden, uint32_t *ret_tokens);

/* Bytes of weights and of cache that the object holds. */
size_t gw_model_bytes(const struct gw_model *model);

/* Layers of stage `index` of `stages`: whole layers, the first (layers % stages) one longer. */
void gw_model_cut(uint32_t layers, uint32_t stages, uint32_t index, uint32_t *ret_first,
		  uint32_t *ret_count);

/* The text that prompts are cut from, and its length in bytes. */
const char *gw_prompt_text(size_t *ret_size);
/* The prompt of a sequence: ret_tokens[count], bytes of the text from a place set by `sequence`. */
void gw_prompt_tokens(uint64_t sequence, uint32_t count, uint32_t *ret_tokens);

#endif
