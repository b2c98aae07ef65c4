/* The seam's small mechanics: the effects list and the calls through a core's table. */
#include "proto/step.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"

int gw_effects_init(struct gw_effects *effects, uint32_t capacity, size_t arena_bytes)
{
	CHECK(capacity > 0);
	CHECK(arena_bytes >= GW_MESSAGE_BYTES_MAX);
	*effects = (struct gw_effects){.capacity = capacity};
	effects->list = calloc(capacity, sizeof(*effects->list));
	if (!effects->list)
		return -ENOMEM;
	gw_arena_init(&effects->arena, arena_bytes);
	return 0;
}

void gw_effects_deinit(struct gw_effects *effects)
{
	if (!effects)
		return;
	free(effects->list);
	gw_arena_deinit(&effects->arena);
	*effects = (struct gw_effects){0};
}

void gw_effects_clear(struct gw_effects *effects)
{
	effects->count = 0;
	effects->more = false;
	gw_arena_reset(&effects->arena);
}

struct gw_effect *gw_effects_add(struct gw_effects *effects, enum gw_effect_kind kind,
				 uint64_t after_seq)
{
	struct gw_effect *effect;

	if (effects->count == effects->capacity) {
		effects->more = true;
		return NULL;
	}
	effect = &effects->list[effects->count++];
	memset(effect, 0, sizeof(*effect));
	effect->kind = kind;
	effect->after_seq = after_seq;
	return effect;
}

bool gw_effects_room(const struct gw_effects *effects, uint32_t count)
{
	return effects->capacity - effects->count >= count &&
	       effects->arena.limit_bytes - effects->arena.used_bytes >= GW_MESSAGE_BYTES_MAX;
}

const uint8_t **gw_effect_bytes(struct gw_effect *effect, size_t *ret_size)
{
	switch (effect->kind) {
	case GW_EFFECT_SEND:
		*ret_size = effect->send.size;
		return &effect->send.bytes;
	case GW_EFFECT_APPEND:
		*ret_size = effect->append.size;
		return &effect->append.bytes;
	case GW_EFFECT_SPAWN:
		*ret_size = effect->spawn.size;
		return &effect->spawn.bytes;
	case GW_EFFECT_PROBE:
		*ret_size = effect->probe.size;
		return &effect->probe.bytes;
	case GW_EFFECT_REPLY:
		*ret_size = effect->reply.size;
		return &effect->reply.bytes;
	case GW_EFFECT_KILL:
	case GW_EFFECT_FORGET:
	case GW_EFFECT_STREAM:
	case GW_EFFECT_PLAN:
	case GW_EFFECT_REVOKE:
		break;
	}
	*ret_size = 0;
	return NULL;
}

/* Encodes into the list's arena; NULL: no room. */
static const uint8_t *encode_body(struct gw_effects *effects, const Godwit__Body *body,
				  size_t *ret_size)
{
	size_t size = gw_wire_body_size(body);
	uint8_t *bytes;

	CHECK(size <= GW_MESSAGE_BYTES_MAX);
	bytes = gw_arena_alloc(&effects->arena, size ? size : 1);
	if (!bytes) {
		effects->more = true;
		return NULL;
	}
	gw_wire_encode_body(body, bytes);
	*ret_size = size;
	return bytes;
}

bool gw_effects_send(struct gw_effects *effects, struct gw_node_id peer, enum gw_channel channel,
		     uint64_t after_seq, const Godwit__Body *body)
{
	struct gw_effect *effect = gw_effects_add(effects, GW_EFFECT_SEND, after_seq);

	if (!effect)
		return false;
	effect->send.peer = peer;
	effect->send.channel = channel;
	effect->send.bytes = encode_body(effects, body, &effect->send.size);
	if (!effect->send.bytes) {
		effects->count--;
		return false;
	}
	return true;
}

bool gw_effects_reply(struct gw_effects *effects, uint64_t request, uint64_t after_seq,
		      const Godwit__Body *body)
{
	struct gw_effect *effect = gw_effects_add(effects, GW_EFFECT_REPLY, after_seq);

	if (!effect)
		return false;
	effect->reply.request = request;
	effect->reply.bytes = encode_body(effects, body, &effect->reply.size);
	if (!effect->reply.bytes) {
		effects->count--;
		return false;
	}
	return true;
}

int gw_node_step(struct gw_node *node, const struct gw_event *event, struct gw_effects *effects)
{
	return node->ops->step(node, event, effects);
}

uint64_t gw_node_wake_us(const struct gw_node *node)
{
	return node->ops->wake_us(node);
}

int gw_node_apply(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size)
{
	return node->ops->apply(node, seq, bytes, size);
}

int gw_node_snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	return node->ops->snapshot(node, piece, context);
}

int gw_node_restore(struct gw_node *node, const uint8_t *bytes, size_t size)
{
	return node->ops->restore(node, bytes, size);
}

uint64_t gw_node_seq(const struct gw_node *node)
{
	return node->ops->seq(node);
}

uint64_t gw_node_digest(const struct gw_node *node)
{
	return node->ops->digest(node);
}

void gw_node_free(struct gw_node *node)
{
	if (node)
		node->ops->free(node);
}
