/*
 * What a step wants done. Effects go into the host's list; what finds no room there waits here, in
 * order, and leaves with the CONTINUE events that the host owes us while `more` is set. Only the
 * bounded answer to one event can wait here: work that has no bound (starts and kills of large
 * jobs) stays in the due list until out_room.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

void out_failed(struct scheduler *s, int error)
{
	CHECK(error < 0);
	if (s->error == 0)
		s->error = error;
}

/* Copies an effect and its bytes into the waiting list. */
static void out_wait(struct scheduler *s, const struct gw_effect *effect, const uint8_t *bytes,
		     size_t size)
{
	struct out_item *item = malloc(sizeof(*item) + size);

	if (!item) {
		out_failed(s, -ENOMEM);
		return;
	}
	item->next = NULL;
	item->effect = *effect;
	if (size > 0)
		memcpy(item->bytes, bytes, size);
	if (s->out_last)
		s->out_last->next = item;
	else
		s->out_first = item;
	s->out_last = item;
}

/* The effect's bytes go where its kind keeps them. */
static void out_bytes(struct gw_effect *effect, const uint8_t *bytes, size_t size)
{
	if (effect->kind == GW_EFFECT_APPEND) {
		effect->append.bytes = bytes;
		effect->append.size = size;
	} else if (effect->kind == GW_EFFECT_SEND) {
		effect->send.bytes = bytes;
		effect->send.size = size;
	} else if (effect->kind == GW_EFFECT_REPLY) {
		effect->reply.bytes = bytes;
		effect->reply.size = size;
	}
}

static size_t out_size(const struct gw_effect *effect)
{
	if (effect->kind == GW_EFFECT_APPEND)
		return effect->append.size;
	if (effect->kind == GW_EFFECT_SEND)
		return effect->send.size;
	return effect->kind == GW_EFFECT_REPLY ? effect->reply.size : 0;
}

/* False: no room in the host's list. */
static bool out_try(struct scheduler *s, const struct gw_effect *effect, const uint8_t *bytes,
		    size_t size)
{
	struct gw_effect *added;
	uint8_t *copy = NULL;

	if (s->effects->count == s->effects->capacity)
		return false;
	if (size > 0) {
		copy = gw_arena_copy(&s->effects->arena, bytes, size);
		if (!copy)
			return false;
	}
	added = gw_effects_add(s->effects, effect->kind, effect->after_seq);
	CHECK(added);
	*added = *effect;
	out_bytes(added, copy, size);
	return true;
}

static void out_add(struct scheduler *s, struct gw_effect *effect, const uint8_t *bytes,
		    size_t size)
{
	out_bytes(effect, bytes, size);
	if (s->out_first || !out_try(s, effect, bytes, size))
		out_wait(s, effect, bytes, size);
}

void out_flush(struct scheduler *s)
{
	while (s->out_first) {
		struct out_item *item = s->out_first;

		if (!out_try(s, &item->effect, item->bytes, out_size(&item->effect))) {
			s->effects->more = true;
			return;
		}
		s->out_first = item->next;
		if (!s->out_first)
			s->out_last = NULL;
		free(item);
	}
}

void out_clear(struct scheduler *s)
{
	while (s->out_first) {
		struct out_item *item = s->out_first;

		s->out_first = item->next;
		free(item);
	}
	s->out_last = NULL;
}

bool out_room(struct scheduler *s)
{
	if (!s->out_first && gw_effects_room(s->effects, 8))
		return true;
	s->effects->more = true;
	return false;
}

void out_append(struct scheduler *s, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct gw_effect effect = {.kind = GW_EFFECT_APPEND, .append = {.seq = seq}};

	out_add(s, &effect, bytes, size);
}

/* Encodes into the step's arena; NULL when out of memory, with the step failed. */
static uint8_t *encode(struct scheduler *s, const Godwit__Body *body, size_t *ret_size)
{
	size_t size = gw_wire_body_size(body);
	uint8_t *bytes;

	CHECK(size <= GW_MESSAGE_BYTES_MAX);
	bytes = gw_arena_alloc(&s->arena, size ? size : 1);
	if (!bytes) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	gw_wire_encode_body(body, bytes);
	*ret_size = size;
	return bytes;
}

static void send(struct scheduler *s, struct gw_node_id peer, enum gw_channel channel,
		 uint64_t after_seq, const Godwit__Body *body)
{
	struct gw_effect effect = {.kind = GW_EFFECT_SEND, .after_seq = after_seq};
	size_t size = 0;
	uint8_t *bytes = encode(s, body, &size);

	if (!bytes)
		return;
	effect.send.peer = peer;
	effect.send.channel = channel;
	out_add(s, &effect, bytes, size);
}

void out_send(struct scheduler *s, struct node *node, const Godwit__Body *body)
{
	node->sent++;
	send(s, node->id, GW_CHANNEL_STATE, s->seq, body);
}

/* Nothing durable hangs on a heartbeat's answer, and its lateness costs a lease. */
void out_heartbeat(struct scheduler *s, struct node *node, const Godwit__Body *body)
{
	send(s, node->id, GW_CHANNEL_HEARTBEAT, 0, body);
}

void out_refuse_peer(struct scheduler *s, struct gw_node_id peer, uint32_t code, uint64_t request,
		     const char *text)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;

	refusal.text = unconst(text);
	refusal.code = code;
	body.kind_case = GODWIT__BODY__KIND_REFUSAL;
	body.refusal = &refusal;
	body.request = request;
	send(s, peer, GW_CHANNEL_STATE, s->seq, &body);
}

static void reply_after(struct scheduler *s, uint64_t request, uint64_t after_seq,
			const Godwit__Body *body)
{
	struct gw_effect effect = {.kind = GW_EFFECT_REPLY, .after_seq = after_seq};
	size_t size = 0;
	uint8_t *bytes = encode(s, body, &size);

	if (!bytes)
		return;
	effect.reply.request = request;
	out_add(s, &effect, bytes, size);
}

void out_reply(struct scheduler *s, uint64_t request, const Godwit__Body *body)
{
	reply_after(s, request, s->seq, body);
}

void out_reply_at_once(struct scheduler *s, uint64_t request, const Godwit__Body *body)
{
	reply_after(s, request, 0, body);
}

void out_refuse(struct scheduler *s, uint64_t request, uint32_t code, const char *text)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;

	refusal.text = unconst(text);
	refusal.code = code;
	body.kind_case = GODWIT__BODY__KIND_REFUSAL;
	body.refusal = &refusal;
	out_reply(s, request, &body);
}

void out_revoke(struct scheduler *s, struct gw_node_id node)
{
	struct gw_effect effect = {.kind = GW_EFFECT_REVOKE, .after_seq = s->seq};

	effect.revoke.node = node;
	out_add(s, &effect, NULL, 0);
}

void out_plan(struct scheduler *s, uint64_t plan, struct gw_grid *grid)
{
	struct gw_effect effect = {.kind = GW_EFFECT_PLAN};

	effect.plan.plan = plan;
	effect.plan.run = gw_plan_run;
	effect.plan.snapshot = grid;
	effect.plan.work_units = s->config.plan_work_units;
	effect.plan.seed = s->config.seed ^ plan;
	out_add(s, &effect, NULL, 0);
}

char *out_text(struct scheduler *s, const char *format, ...)
{
	char text[GW_TEXT_BYTES_MAX];
	char *copy;
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	copy = gw_arena_copy(&s->arena, text, strlen(text) + 1);
	return copy ? copy : unconst("");
}
