/*
 * The model's arithmetic. Weights are drawn per layer from (seed, layer), so a stage draws only its
 * own and every cut has the same ones. Matrix products go to OpenBLAS in tiles of a fixed number of
 * rows; everything else is plain C whose order of additions is written out (GW_LANES partial sums),
 * so that the compiler may vectorise it but not reorder it.
 *
 * Not here: threads, sockets, time.
 */
#include "bench/loss/model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"

#define TILE GW_MODEL_TILE_ROWS
#define LANES 16u /* partial sums of a dot product */
#define ALIGN 64u /* of every array, so that no kernel peels differently */
#define HEAD_LAYER                                                                                 \
	GW_MODEL_LAYERS_MAX /* seeds of what is no layer: embedding, final norm and head */

struct layer {
	float *qkv;    /* [hidden][hidden + 2 kv] */
	float *out;    /* [hidden][hidden] */
	float *up;     /* [hidden][2 ffn]: gate, then up */
	float *down;   /* [ffn][hidden] */
	float *keys;   /* [slots][kv_heads][window][d] */
	float *values; /* like keys */
};

struct gw_model {
	struct gw_model_config config;
	uint32_t first;
	uint32_t count;
	uint32_t head_size;   /* d: hidden / heads */
	uint32_t kv;          /* kv_heads * d */
	struct layer *layers; /* [count] */
	float *embedding;     /* [vocabulary][hidden] */
	float *unembed;       /* [hidden][vocabulary] */
	float *normed;        /* [rows][hidden] */
	float *wide;          /* [rows][max(hidden + 2 kv, 2 ffn, vocabulary)] */
	float *gated;         /* [rows][ffn] */
	float *delta;         /* [rows][hidden]: what a half-layer adds */
	float *scores;        /* [window] */
	float *angles;        /* [rows][d]: cosines, then sines, of a row's position */
	size_t bytes;
};

const char *gw_model_config_check(const struct gw_model_config *c)
{
	if (c->heads == 0 || c->kv_heads == 0 || c->heads % c->kv_heads != 0)
		return "heads must be a multiple of kv_heads, both at least 1";
	if (c->hidden == 0 || c->hidden > GW_MODEL_HIDDEN_MAX ||
	    c->hidden % (LANES * c->heads) != 0)
		return "hidden must be a multiple of 16 per head, at most 4096";
	if (c->ffn == 0 || c->ffn > 4 * GW_MODEL_HIDDEN_MAX || c->ffn % LANES != 0)
		return "ffn must be a multiple of 16, at most 16384";
	if (c->layers == 0 || c->layers > GW_MODEL_LAYERS_MAX)
		return "layers must be 1 to 128";
	if (c->window == 0 || c->window > GW_MODEL_WINDOW_MAX)
		return "window must be 1 to 4096";
	if (c->slots == 0 || c->slots > GW_MODEL_SLOTS_MAX)
		return "slots must be 1 to 4096";
	if (c->rows == 0 || c->rows > GW_MODEL_ROWS_MAX)
		return "rows must be 1 to 512";
	return NULL;
}

void gw_model_cut(uint32_t layers, uint32_t stages, uint32_t index, uint32_t *ret_first,
		  uint32_t *ret_count)
{
	uint32_t each = layers / stages;
	uint32_t longer = layers % stages;

	*ret_first = index * each + (index < longer ? index : longer);
	*ret_count = each + (index < longer ? 1 : 0);
}

/* Zeroed, hence touched: the first timed batch meets no page fault. */
static float *floats_new(struct gw_model *model, size_t count)
{
	size_t bytes = (count * sizeof(float) + ALIGN - 1) / ALIGN * ALIGN;
	float *array = aligned_alloc(ALIGN, bytes);

	if (!array)
		return NULL;
	memset(array, 0, bytes);
	model->bytes += bytes;
	return array;
}

/* Uniform weights with variance 1 / fan_in. */
static void fill(float *array, size_t count, uint32_t fan_in, struct gw_prng *prng)
{
	double width = sqrt(12.0 / fan_in);

	for (size_t i = 0; i < count; i++)
		array[i] = (float)((gw_prng_unit(prng) - 0.5) * width);
}

static int layer_init(struct gw_model *model, struct layer *layer, uint32_t index)
{
	const struct gw_model_config *c = &model->config;
	size_t hidden = c->hidden;
	size_t cache = (size_t)c->slots * c->kv_heads * c->window * model->head_size;
	struct gw_prng prng;

	layer->qkv = floats_new(model, hidden * (hidden + 2 * model->kv));
	layer->out = floats_new(model, hidden * hidden);
	layer->up = floats_new(model, hidden * 2 * c->ffn);
	layer->down = floats_new(model, (size_t)c->ffn * hidden);
	layer->keys = floats_new(model, cache);
	layer->values = floats_new(model, cache);
	if (!layer->qkv || !layer->out || !layer->up || !layer->down || !layer->keys ||
	    !layer->values)
		return -ENOMEM;
	gw_prng_init(&prng, c->seed ^ (uint64_t)(index + 1) << 32);
	fill(layer->qkv, hidden * (hidden + 2 * model->kv), c->hidden, &prng);
	fill(layer->out, hidden * hidden, c->hidden, &prng);
	fill(layer->up, hidden * 2 * c->ffn, c->hidden, &prng);
	fill(layer->down, (size_t)c->ffn * hidden, c->ffn, &prng);
	return 0;
}

/* y[count][out] = x[count][in] w[in][out]; count is rounded up to whole tiles. */
static void multiply(const float *x, const float *w, uint32_t count, uint32_t in, uint32_t out,
		     float *y)
{
	for (uint32_t row = 0; row < count; row += TILE)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)TILE, (int)out, (int)in,
			    1.0f, x + (size_t)row * in, (int)in, w, (int)out, 0.0f,
			    y + (size_t)row * out, (int)out);
}

/* One row in every place of a tile, among different neighbours, must give the same bits. */
static bool product_ignores_place(struct gw_model *model, const float *w, uint32_t in, uint32_t out)
{
	float *x = aligned_alloc(ALIGN, sizeof(float) * TILE * in);
	float *y = aligned_alloc(ALIGN, sizeof(float) * TILE * out);
	float *first = aligned_alloc(ALIGN, sizeof(float) * TILE * out);
	bool same = x && y && first;
	struct gw_prng prng;

	for (uint32_t place = 0; same && place < TILE; place++) {
		gw_prng_init(&prng, model->config.seed + place);
		fill(x, (size_t)TILE * in, in, &prng);
		gw_prng_init(&prng, ~model->config.seed);
		fill(x + (size_t)place * in, in, in, &prng);
		multiply(x, w, TILE, in, out, y);
		if (place == 0)
			memcpy(first, y, sizeof(float) * out);
		same = memcmp(first, y + (size_t)place * out, sizeof(float) * out) == 0;
	}
	free(x);
	free(y);
	free(first);
	return same;
}

static bool tiles_are_sound(struct gw_model *model)
{
	const struct gw_model_config *c = &model->config;
	const struct layer *layer = &model->layers[0];

	return product_ignores_place(model, layer->qkv, c->hidden, c->hidden + 2 * model->kv) &&
	       product_ignores_place(model, layer->out, c->hidden, c->hidden) &&
	       product_ignores_place(model, layer->up, c->hidden, 2 * c->ffn) &&
	       product_ignores_place(model, layer->down, c->ffn, c->hidden) &&
	       product_ignores_place(model, model->unembed, c->hidden, GW_MODEL_VOCABULARY);
}

static int model_init(struct gw_model *model)
{
	const struct gw_model_config *c = &model->config;
	size_t rows = (size_t)(c->rows + TILE - 1) / TILE * TILE;
	size_t qkv = (size_t)c->hidden + 2 * model->kv;
	size_t wide = qkv > 2 * c->ffn ? qkv : 2 * (size_t)c->ffn;
	size_t table = (size_t)GW_MODEL_VOCABULARY * c->hidden;
	struct gw_prng prng;

	model->layers = calloc(model->count, sizeof(*model->layers));
	model->embedding = floats_new(model, table);
	model->unembed = floats_new(model, table);
	model->normed = floats_new(model, rows * c->hidden);
	if (wide < GW_MODEL_VOCABULARY)
		wide = GW_MODEL_VOCABULARY;
	model->wide = floats_new(model, rows * wide);
	model->gated = floats_new(model, rows * c->ffn);
	model->delta = floats_new(model, rows * c->hidden);
	model->scores = floats_new(model, c->window);
	model->angles = floats_new(model, rows * model->head_size);
	if (!model->layers || !model->embedding || !model->unembed || !model->normed ||
	    !model->wide || !model->gated || !model->delta || !model->scores || !model->angles)
		return -ENOMEM;
	gw_prng_init(&prng, c->seed ^ (uint64_t)(HEAD_LAYER + 1) << 32);
	fill(model->embedding, table, 1, &prng);
	fill(model->unembed, table, c->hidden, &prng);
	for (uint32_t i = 0; i < model->count; i++)
		if (layer_init(model, &model->layers[i], model->first + i) < 0)
			return -ENOMEM;
	return tiles_are_sound(model) ? 0 : -ENOTSUP;
}

int gw_model_new(const struct gw_model_config *config, uint32_t first, uint32_t count,
		 struct gw_model **ret_model)
{
	struct gw_model *model;
	int r;

	if (gw_model_config_check(config) || count == 0 || first >= config->layers ||
	    count > config->layers - first)
		return -EINVAL;
	model = calloc(1, sizeof(*model));
	if (!model)
		return -ENOMEM;
	model->config = *config;
	model->first = first;
	model->count = count;
	model->head_size = config->hidden / config->heads;
	model->kv = config->kv_heads * model->head_size;
	r = model_init(model);
	if (r < 0) {
		gw_model_free(model);
		return r;
	}
	*ret_model = model;
	return 0;
}

struct gw_model *gw_model_free(struct gw_model *model)
{
	if (!model)
		return NULL;
	for (uint32_t i = 0; model->layers && i < model->count; i++) {
		free(model->layers[i].qkv);
		free(model->layers[i].out);
		free(model->layers[i].up);
		free(model->layers[i].down);
		free(model->layers[i].keys);
		free(model->layers[i].values);
	}
	free(model->layers);
	free(model->embedding);
	free(model->unembed);
	free(model->normed);
	free(model->wide);
	free(model->gated);
	free(model->delta);
	free(model->scores);
	free(model->angles);
	free(model);
	return NULL;
}

size_t gw_model_bytes(const struct gw_model *model)
{
	return model->bytes;
}

/* Sums in LANES separate lanes, folded in a fixed order; size is a multiple of LANES. */
static float dot(const float *a, const float *b, uint32_t size)
{
	float lanes[LANES] = {0};
	float sum = 0;

	for (uint32_t i = 0; i < size; i += LANES)
		for (uint32_t lane = 0; lane < LANES; lane++)
			lanes[lane] += a[i + lane] * b[i + lane];
	for (uint32_t lane = 0; lane < LANES; lane++)
		sum += lanes[lane];
	return sum;
}

/* RMSNorm with unit weights (Zhang and Sennrich 2019). */
static void normalise(const float *x, uint32_t count, uint32_t size, float *y)
{
	for (uint32_t row = 0; row < count; row++, x += size, y += size) {
		float scale = 1.0f / sqrtf(dot(x, x, size) / (float)size + 1e-5f);

		for (uint32_t i = 0; i < size; i++)
			y[i] = x[i] * scale;
	}
}

/* Rotary positions (Su et al. 2021), base 10000; pairs are (i, i + d/2). */
static void angles_set(const struct gw_model *model, uint32_t position, float *ret)
{
	uint32_t half = model->head_size / 2;

	for (uint32_t i = 0; i < half; i++) {
		double angle = position * pow(10000.0, -2.0 * i / model->head_size);

		ret[i] = (float)cos(angle);
		ret[half + i] = (float)sin(angle);
	}
}

static void rotate(const struct gw_model *model, const float *angles, float *x, uint32_t heads)
{
	uint32_t half = model->head_size / 2;
	const float *cosine = angles;
	const float *sine = angles + half;

	for (uint32_t head = 0; head < heads; head++, x += model->head_size) {
		for (uint32_t i = 0; i < half; i++) {
			float a = x[i];
			float b = x[half + i];

			x[i] = a * cosine[i] - b * sine[i];
			x[half + i] = a * sine[i] + b * cosine[i];
		}
	}
}

/* One query head over `seen` cached positions; the cache's order does not matter to attention, but
 * is the same in every cut, so neither does it to the bits. */
static void attend(struct gw_model *model, const float *query, const float *keys,
		   const float *values, uint32_t seen, float *ret)
{
	uint32_t d = model->head_size;
	float scale = 1.0f / sqrtf((float)d);
	float largest = -INFINITY;
	float sum = 0;

	for (uint32_t i = 0; i < seen; i++) {
		model->scores[i] = dot(query, keys + (size_t)i * d, d) * scale;
		largest = fmaxf(largest, model->scores[i]);
	}
	memset(ret, 0, d * sizeof(*ret));
	for (uint32_t i = 0; i < seen; i++) {
		float weight = expf(model->scores[i] - largest);

		sum += weight;
		for (uint32_t k = 0; k < d; k++)
			ret[k] += weight * values[(size_t)i * d + k];
	}
	for (uint32_t k = 0; k < d; k++)
		ret[k] /= sum;
}

/* Stores the row's key and value, then attends; so a later row of the same batch and slot sees it,
 * and a full ring loses exactly the position that left the window. */
static void attend_row(struct gw_model *model, const struct layer *layer,
		       const struct gw_model_row *row, const float *angles, float *qkv, float *ret)
{
	const struct gw_model_config *c = &model->config;
	uint32_t d = model->head_size;
	uint32_t at = row->position % c->window;
	uint32_t seen = row->position < c->window ? row->position + 1 : c->window;
	uint32_t group = c->heads / c->kv_heads;
	size_t slot = (size_t)row->slot * c->kv_heads * c->window * d;

	rotate(model, angles, qkv, c->heads);
	rotate(model, angles, qkv + c->hidden, c->kv_heads);
	for (uint32_t head = 0; head < c->kv_heads; head++) {
		float *keys = layer->keys + slot + (size_t)head * c->window * d;
		float *values = layer->values + slot + (size_t)head * c->window * d;

		memcpy(keys + (size_t)at * d, qkv + c->hidden + head * d, d * sizeof(float));
		memcpy(values + (size_t)at * d, qkv + c->hidden + model->kv + head * d,
		       d * sizeof(float));
		for (uint32_t i = head * group; i < (head + 1) * group; i++)
			attend(model, qkv + i * d, keys, values, seen, ret + i * d);
	}
}

static void add(float *x, const float *delta, size_t count)
{
	for (size_t i = 0; i < count; i++)
		x[i] += delta[i];
}

static void attention(struct gw_model *model, const struct layer *layer,
		      const struct gw_model_row *rows, uint32_t count, float *hidden)
{
	uint32_t size = model->config.hidden;
	uint32_t width = size + 2 * model->kv;

	normalise(hidden, count, size, model->normed);
	multiply(model->normed, layer->qkv, count, size, width, model->wide);
	for (uint32_t i = 0; i < count; i++)
		attend_row(model, layer, &rows[i], model->angles + (size_t)i * model->head_size,
			   model->wide + (size_t)i * width, model->normed + (size_t)i * size);
	multiply(model->normed, layer->out, count, size, size, model->delta);
	add(hidden, model->delta, (size_t)count * size);
}

static void mlp(struct gw_model *model, const struct layer *layer, uint32_t count, float *hidden)
{
	uint32_t size = model->config.hidden;
	uint32_t ffn = model->config.ffn;

	normalise(hidden, count, size, model->normed);
	multiply(model->normed, layer->up, count, size, 2 * ffn, model->wide);
	for (uint32_t row = 0; row < count; row++) {
		const float *gate = model->wide + (size_t)row * 2 * ffn;
		float *gated = model->gated + (size_t)row * ffn;

		for (uint32_t i = 0; i < ffn; i++)
			gated[i] = gate[i] / (1.0f + expf(-gate[i])) * gate[ffn + i];
	}
	multiply(model->gated, layer->down, count, ffn, size, model->delta);
	add(hidden, model->delta, (size_t)count * size);
}

/* To the nearest bfloat16, ties to even: the upper half of a float's bits. */
static void round_all(float *x, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, &x[i], sizeof(bits));
		bits += 0x7fffu + (bits >> 16 & 1);
		bits &= 0xffff0000u;
		memcpy(&x[i], &bits, sizeof(bits));
	}
}

void gw_model_pack(const float *hidden, size_t count, uint16_t *ret_packed)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, &hidden[i], sizeof(bits));
		ret_packed[i] = (uint16_t)(bits >> 16);
	}
}

void gw_model_unpack(const uint16_t *packed, size_t count, float *ret_hidden)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits = (uint32_t)packed[i] << 16;

		memcpy(&ret_hidden[i], &bits, sizeof(bits));
	}
}

void gw_model_embed(const struct gw_model *model, const uint32_t *tokens, uint32_t count,
		    float *ret_hidden)
{
	uint32_t size = model->config.hidden;

	for (uint32_t i = 0; i < count; i++) {
		CHECK(tokens[i] < GW_MODEL_VOCABULARY);
		memcpy(ret_hidden + (size_t)i * size, model->embedding + (size_t)tokens[i] * size,
		       size * sizeof(float));
	}
}

void gw_model_forward(struct gw_model *model, const struct gw_model_row *rows, uint32_t count,
		      float *hidden)
{
	CHECK(count <= model->config.rows);
	for (uint32_t i = 0; i < count; i++) {
		CHECK(rows[i].slot < model->config.slots);
		angles_set(model, rows[i].position, model->angles + (size_t)i * model->head_size);
	}
	for (uint32_t i = 0; i < model->count; i++) {
		attention(model, &model->layers[i], rows, count, hidden);
		mlp(model, &model->layers[i], count, hidden);
		round_all(hidden, (size_t)count * model->config.hidden);
	}
}

void gw_model_sample(struct gw_model *model, const struct gw_model_row *rows, uint32_t count,
		     const float *hidden, uint32_t *ret_tokens)
{
	uint32_t size = model->config.hidden;

	CHECK(count <= model->config.rows);
	normalise(hidden, count, size, model->normed);
	multiply(model->normed, model->unembed, count, size, GW_MODEL_VOCABULARY, model->wide);
	for (uint32_t i = 0; i < count; i++) {
		const float *logits = model->wide + (size_t)i * GW_MODEL_VOCABULARY;
		uint32_t best = 0;

		for (uint32_t token = 1; rows[i].sample && token < GW_MODEL_VOCABULARY; token++)
			if (logits[token] > logits[best])
				best = token;
		ret_tokens[i] = best;
	}
}
