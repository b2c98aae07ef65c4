/* One sorted array of keys, one of leases; a transaction is its compares, then its ops in order, at
 * one new revision when any op writes. */
#include "tests/unit/replica_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

void replica_model_init(struct replica_model *model)
{
	*model = (struct replica_model){.revision = 1};
}

void replica_model_deinit(struct replica_model *model)
{
	for (size_t i = 0; i < model->count; i++)
		free(model->kvs[i].value);
	free(model->kvs);
	free(model->leases);
	replica_model_init(model);
}

/* Where the key is, or would be. */
static size_t place_of(const struct replica_model *model, const char *key)
{
	size_t low = 0;
	size_t high = model->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(model->kvs[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct replica_model_kv *find(struct replica_model *model, const char *key)
{
	size_t place = place_of(model, key);

	if (place == model->count || strcmp(model->kvs[place].key, key) != 0)
		return NULL;
	return &model->kvs[place];
}

const struct replica_model_kv *replica_model_find(const struct replica_model *model,
						  const char *key)
{
	size_t place = place_of(model, key);

	if (place == model->count || strcmp(model->kvs[place].key, key) != 0)
		return NULL;
	return &model->kvs[place];
}

static struct replica_model_lease *find_lease(struct replica_model *model, int64_t id)
{
	for (size_t i = 0; i < model->lease_count; i++) {
		if (model->leases[i].id == id)
			return &model->leases[i];
	}
	return NULL;
}

/* Keys from place `from` up to before `to`. */
static void delete_places(struct replica_model *model, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		model->bytes -= model->kvs[i].size;
		model->old_bytes += model->kvs[i].size;
		free(model->kvs[i].value);
	}
	if (from < to)
		memmove(&model->kvs[from], &model->kvs[to],
			(model->count - to) * sizeof(*model->kvs));
	model->count -= to - from;
}

static void end_lease(struct replica_model *model, struct replica_model_lease *lease)
{
	int64_t id = lease->id;
	bool deleted = false;

	*lease = model->leases[--model->lease_count];
	for (size_t i = model->count; i-- > 0;) {
		if (model->kvs[i].lease != id)
			continue;
		delete_places(model, i, i + 1);
		deleted = true;
	}
	model->revision += deleted;
}

void replica_model_expire(struct replica_model *model, uint64_t now_us)
{
	for (size_t i = model->lease_count; i-- > 0;) {
		if (model->leases[i].until_us <= now_us)
			end_lease(model, &model->leases[i]);
	}
}

static bool holds(struct replica_model *model, const struct gw_store_compare *compare)
{
	const struct replica_model_kv *kv = find(model, compare->key);

	if (!compare->by_value)
		return (kv ? kv->create_revision : 0) == compare->create_revision;
	return kv && kv->size == compare->value.size &&
	       memcmp(kv->value, compare->value.bytes, kv->size) == 0;
}

static void put(struct replica_model *model, const struct gw_store_op *op, int64_t revision)
{
	struct replica_model_kv *kv = find(model, op->key);

	if (!kv) {
		size_t place = place_of(model, op->key);

		if (model->count == model->capacity) {
			model->capacity = 2 * model->capacity + 16;
			model->kvs = realloc(model->kvs, model->capacity * sizeof(*model->kvs));
			CHECK(model->kvs);
		}
		memmove(&model->kvs[place + 1], &model->kvs[place],
			(model->count - place) * sizeof(*model->kvs));
		model->count++;
		kv = &model->kvs[place];
		*kv = (struct replica_model_kv){.create_revision = revision};
		(void)snprintf(kv->key, sizeof(kv->key), "%s", op->key);
	}
	model->bytes += op->value.size;
	model->bytes -= kv->size;
	model->old_bytes += kv->size;
	free(kv->value);
	kv->value = malloc(op->value.size + 1);
	CHECK(kv->value);
	if (op->value.size > 0)
		memcpy(kv->value, op->value.bytes, op->value.size);
	kv->size = op->value.size;
	kv->mod_revision = revision;
	kv->lease = op->lease;
}

static void range(const struct replica_model *model, const struct gw_store_op *op,
		  struct gw_arena *arena, struct gw_store_found *ret_found)
{
	size_t from = place_of(model, op->key);
	struct gw_store_kv *kvs = gw_arena_alloc(arena, (size_t)op->limit * sizeof(*kvs));

	CHECK(kvs);
	*ret_found = (struct gw_store_found){.kvs = kvs};
	for (size_t i = from; i < model->count; i++) {
		const struct replica_model_kv *kv = &model->kvs[i];
		bool in = op->end[0] == '\0' ? strcmp(kv->key, op->key) == 0
					     : strcmp(kv->key, op->end) < 0;

		if (!in)
			break;
		if (kv->mod_revision < op->min_mod_revision)
			continue;
		ret_found->more = ret_found->count == (size_t)op->limit;
		if (ret_found->more)
			break;
		kvs[ret_found->count++] = (struct gw_store_kv){
			.key = gw_arena_copy(arena, kv->key, strlen(kv->key) + 1),
			.value = {.bytes = gw_arena_copy(arena, kv->value, kv->size),
				  .size = op->keys_only ? 0 : kv->size},
			.create_revision = kv->create_revision,
			.mod_revision = kv->mod_revision,
			.lease = kv->lease,
		};
	}
}

/* Whether any of the ops puts; adds up what. */
static bool has_puts(const struct gw_store_op *ops, uint32_t count, uint64_t *bytes)
{
	bool any = false;

	for (uint32_t i = 0; i < count; i++) {
		if (ops[i].kind != GW_STORE_PUT)
			continue;
		any = true;
		*bytes += ops[i].value.size;
	}
	return any;
}

static void refuse(struct gw_store_answer *answer, enum gw_store_result result, const char *text)
{
	answer->result = result;
	answer->text = text;
}

static void txn(struct replica_model *model, const struct gw_store_request *request,
		struct gw_arena *arena, struct gw_store_answer *answer)
{
	const struct gw_store_op *ops = request->ops;
	int64_t revision = model->revision + 1;
	uint64_t deleted = model->count;
	uint64_t bytes = 0;
	bool written = false;
	bool any;

	/* etcd looks at the whole request, not at the branch taken. */
	any = has_puts(request->ops, request->op_count, &bytes);
	any |= has_puts(request->else_ops, request->else_op_count, &bytes);
	if (any) {
		model->puts++;
		model->full |= model->quota_bytes > 0 &&
			       model->bytes + model->old_bytes + bytes > model->quota_bytes;
	}
	if (model->full && any) {
		refuse(answer, GW_STORE_NO_SPACE, "etcdserver: mvcc: database space exceeded");
		return;
	}
	answer->succeeded = true;
	for (uint32_t i = 0; i < request->compare_count; i++)
		answer->succeeded &= holds(model, &request->compares[i]);
	answer->found_count = answer->succeeded ? request->op_count : request->else_op_count;
	if (!answer->succeeded)
		ops = request->else_ops;
	for (uint32_t i = 0; i < answer->found_count; i++) {
		if (ops[i].kind == GW_STORE_PUT && ops[i].lease != 0 &&
		    !find_lease(model, ops[i].lease)) {
			refuse(answer, GW_STORE_NO_LEASE, "etcdserver: requested lease not found");
			return;
		}
	}
	for (uint32_t i = 0; i < answer->found_count; i++) {
		size_t from = place_of(model, ops[i].key);

		switch (ops[i].kind) {
		case GW_STORE_RANGE:
			range(model, &ops[i], arena, &answer->found[i]);
			break;
		case GW_STORE_PUT:
			put(model, &ops[i], revision);
			written = true;
			break;
		case GW_STORE_DELETE:
			if (ops[i].end[0] != '\0')
				delete_places(model, from, place_of(model, ops[i].end));
			else if (find(model, ops[i].key))
				delete_places(model, from, from + 1);
			written = true;
			break;
		}
	}
	if (model->count < deleted && deleted - model->count > model->deleted_most)
		model->deleted_most = deleted - model->count;
	model->revision += written;
}

static void grant(struct replica_model *model, uint64_t now_us,
		  const struct gw_store_request *request, struct gw_store_answer *answer)
{
	struct replica_model_lease *lease;

	if (model->full) {
		refuse(answer, GW_STORE_NO_SPACE, "etcdserver: mvcc: database space exceeded");
		return;
	}
	if (model->lease_count == model->lease_capacity) {
		model->lease_capacity = 2 * model->lease_capacity + 16;
		model->leases =
			realloc(model->leases, model->lease_capacity * sizeof(*model->leases));
		CHECK(model->leases);
	}
	lease = &model->leases[model->lease_count++];
	*lease = (struct replica_model_lease){
		.id = ++model->lease_ids,
		.ttl_s = request->ttl_s,
		.until_us = now_us + (uint64_t)request->ttl_s * GW_US_PER_S,
	};
	answer->lease = lease->id;
	answer->ttl_s = lease->ttl_s;
}

void replica_model_ask(struct replica_model *model, uint64_t now_us,
		       const struct gw_store_request *request, struct gw_arena *arena,
		       struct gw_store_answer *ret_answer)
{
	struct replica_model_lease *lease;

	replica_model_expire(model, now_us);
	model->requests++;
	*ret_answer = (struct gw_store_answer){.result = GW_STORE_DONE};
	lease = find_lease(model, request->lease);
	switch (request->kind) {
	case GW_STORE_TXN:
		txn(model, request, arena, ret_answer);
		break;
	case GW_STORE_LEASE_GRANT:
		grant(model, now_us, request, ret_answer);
		break;
	case GW_STORE_LEASE_KEEPALIVE:
		if (!lease)
			break; /* a TTL of zero says so */
		lease->until_us = now_us + (uint64_t)lease->ttl_s * GW_US_PER_S;
		ret_answer->lease = lease->id;
		ret_answer->ttl_s = lease->ttl_s;
		break;
	case GW_STORE_LEASE_REVOKE:
		if (lease)
			end_lease(model, lease);
		else
			refuse(ret_answer, GW_STORE_NO_LEASE,
			       "etcdserver: requested lease not found");
		break;
	case GW_STORE_COMPACT:
		if (request->revision <= model->compacted)
			refuse(ret_answer, GW_STORE_REFUSED,
			       "etcdserver: mvcc: required revision has been compacted");
		else
			model->compacted = request->revision;
		model->old_bytes = 0; /* as if it were defragmented at once */
		break;
	}
	ret_answer->revision = model->revision;
}

static void copy_value(struct gw_store_bytes *value, struct gw_arena *arena)
{
	if (value->size == 0)
		return;
	value->bytes = gw_arena_copy(arena, value->bytes, value->size);
	CHECK(value->bytes);
}

struct gw_store_request *replica_model_copy(const struct gw_store_request *request,
					    struct gw_arena *arena)
{
	struct gw_store_request *copy = gw_arena_copy(arena, request, sizeof(*request));

	CHECK(copy);
	for (uint32_t i = 0; i < copy->compare_count; i++)
		copy_value(&copy->compares[i].value, arena);
	for (uint32_t i = 0; i < copy->op_count; i++)
		copy_value(&copy->ops[i].value, arena);
	return copy;
}
