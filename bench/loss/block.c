/*
 * The saturated decode block: m micro-batches of b sequences, all prefilled before the window, then
 * decoded round after round without a pause. The window opens when micro-batch 0 comes back for the
 * WARM_ROUNDS-th time and closes when it does so again after the last round: between these two
 * moments exactly rounds x m x b tokens are decoded in steady state, with no edge to account for.
 */
#include <stdlib.h>

#include "bench/loss/head.h"
#include "proto/base/check.h"

#define WARM_ROUNDS 3u /* until the micro-batches have found their spacing */
#define PREFILL_IN_FLIGHT 4u
#define FNV_BASIS 0xcbf29ce484222325ull

struct gw_block {
	struct gw_block_order order;
	uint32_t prefilled; /* sequences handed out */
	uint32_t in_flight; /* prefill batches, then micro-batches */
	uint64_t rounds[GW_FRAME_GROUPS_MAX];
	uint64_t last_ns[GW_FRAME_GROUPS_MAX]; /* when it came back */
	uint64_t opened_ns;                    /* the window; 0: not yet */
	uint64_t target;                       /* rounds of each micro-batch, warm ones included */
};

struct gw_block *gw_block_new(const struct gw_block_order *order)
{
	struct gw_block *block = calloc(1, sizeof(*block));

	if (!block)
		return NULL;
	block->order = *order;
	block->target = order->rounds ? order->rounds + WARM_ROUNDS : UINT64_MAX;
	return block;
}

struct gw_block *gw_block_free(struct gw_block *block)
{
	free(block);
	return NULL;
}

/* Fills the frame with whole prompts, not much heavier than a decode batch, so that prefill loads
 * the links no more than what is timed after it. False: none left. */
static bool prefill(struct gw_head *head, struct gw_frame *frame)
{
	struct gw_block *block = head->block;
	uint32_t all = block->order.groups * block->order.batch;
	uint32_t rows_max = block->order.batch < GW_HEAD_PROMPT_TOKENS ? GW_HEAD_PROMPT_TOKENS
								       : block->order.batch;
	uint32_t rows = 0;

	for (; block->prefilled < all && rows + GW_HEAD_PROMPT_TOKENS <= rows_max;
	     block->prefilled++) {
		head->sequences[block->prefilled].hash = FNV_BASIS;
		gw_prompt_tokens(block->prefilled, GW_HEAD_PROMPT_TOKENS, frame->tokens + rows);
		for (uint32_t i = 0; i < GW_HEAD_PROMPT_TOKENS; i++, rows++)
			frame->rows[rows] =
				(struct gw_model_row){.position = i,
						      .slot = (uint16_t)block->prefilled,
						      .sample = i == GW_HEAD_PROMPT_TOKENS - 1};
	}
	frame->header = (struct gw_frame_header){.rows = rows};
	return rows > 0;
}

static void prepare(struct gw_head *head)
{
	for (uint32_t i = 0; i < PREFILL_IN_FLIGHT; i++) {
		struct gw_frame *frame = gw_stage_take(head->stage);

		CHECK(frame);
		if (!prefill(head, frame)) {
			gw_stage_release(head->stage, frame);
			break;
		}
		head->block->in_flight++;
		gw_stage_submit(head->stage, frame, gw_stage_now_ns());
	}
}

static void decode(struct gw_head *head, struct gw_frame *frame, uint32_t group, uint64_t now_ns)
{
	const struct gw_block_order *order = &head->block->order;
	uint32_t base = group * order->batch;

	for (uint32_t i = 0; i < order->batch; i++) {
		const struct gw_sequence *sequence = &head->sequences[base + i];

		frame->tokens[i] = sequence->token;
		frame->rows[i] = (struct gw_model_row){
			.position = sequence->position, .slot = (uint16_t)(base + i), .sample = 1};
	}
	frame->header = (struct gw_frame_header){
		.rows = order->batch,
		.group = group,
		.stage_time_ns = gw_head_stage_time_ns(head, order->batch, order->batch,
						       order->stage_time_scale),
	};
	gw_stage_submit(head->stage, frame, now_ns);
}

static void run(struct gw_head *head, uint64_t now_ns)
{
	const struct gw_block_order *order = &head->block->order;

	head->result->stage_time_s = (double)gw_head_stage_time_ns(head, order->batch, order->batch,
								   order->stage_time_scale) *
				     1e-9;
	head->block->in_flight = order->groups;
	for (uint32_t group = 0; group < order->groups; group++) {
		struct gw_frame *frame = gw_stage_take(head->stage);

		CHECK(frame);
		decode(head, frame, group, now_ns);
	}
}

static void finish(struct gw_head *head, uint64_t now_ns)
{
	const struct gw_block *block = head->block;
	struct gw_head_result *result = head->result;
	uint64_t all = (uint64_t)block->order.groups * block->order.batch;

	result->counted_tokens = all * block->target;
	result->checksum_tokens = all * (block->target + 1); /* prefill gives one each */
	for (uint32_t i = 0; i < all; i++)
		result->checksum += gw_sequence_checksum(&head->sequences[i], i);
	gw_head_next(head, now_ns);
}

/* Micro-batch 0 keeps the window. */
static void window(struct gw_head *head, uint64_t now_ns)
{
	struct gw_block *block = head->block;
	struct gw_head_result *result = head->result;

	if (block->rounds[0] == WARM_ROUNDS)
		block->opened_ns = now_ns;
	if (block->rounds[0] <= WARM_ROUNDS)
		return;
	result->seconds = (double)(now_ns - block->opened_ns) * 1e-9;
	if (block->target == UINT64_MAX && result->seconds >= block->order.seconds)
		block->target = block->rounds[0];
	result->rounds = block->rounds[0] - WARM_ROUNDS;
	result->tokens = result->rounds * block->order.groups * block->order.batch;
}

static void decoded(struct gw_head *head, struct gw_frame *frame, uint64_t now_ns)
{
	struct gw_block *block = head->block;
	uint32_t group = frame->header.group;

	if (group >= block->order.groups) { /* a ring that answers for a batch never sent */
		gw_stage_release(head->stage, frame);
		return;
	}
	block->rounds[group]++;
	if (block->rounds[group] > WARM_ROUNDS)
		gw_samples_add(&head->result->loop_s,
			       (double)(now_ns - block->last_ns[group]) * 1e-9);
	block->last_ns[group] = now_ns;
	if (group == 0)
		window(head, now_ns);
	if (block->rounds[group] < block->target) {
		decode(head, frame, group, now_ns);
		return;
	}
	gw_stage_release(head->stage, frame);
	if (--block->in_flight == 0)
		finish(head, now_ns);
}

static void returned(struct gw_head *head, struct gw_frame *frame, uint64_t now_ns)
{
	if (head->phase == GW_HEAD_RUN) {
		decoded(head, frame, now_ns);
		return;
	}
	if (prefill(head, frame)) {
		gw_stage_submit(head->stage, frame, now_ns);
		return;
	}
	gw_stage_release(head->stage, frame);
	if (--head->block->in_flight == 0)
		gw_head_next(head, now_ns);
}

static uint64_t tick(struct gw_head *head, uint64_t now_ns)
{
	(void)head;
	(void)now_ns;
	return UINT64_MAX;
}

const struct gw_workload gw_block_workload = {
	.prepare = prepare, .run = run, .returned = returned, .tick = tick};
