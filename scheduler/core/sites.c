/*
 * Nodes and sites: who they are (durable), what they have and how they are (soft), and what their
 * tasks take. A node's state is recomputed from facts in one place, node_update.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"
#include "scheduler/place/residency.h"

#define LABEL_BYTES_MAX (2 * GW_NAME_BYTES_MAX + 1)
#define DEVICE_UUID_BYTES_MAX 47u /* NVML's have 40; a gang's record holds one for each device */

struct node *node_find(const struct scheduler *s, struct gw_node_id id)
{
	return gw_table_find(&s->nodes, &id);
}

struct site *site_find(const struct scheduler *s, const char *name)
{
	char key[GW_NAME_BYTES_MAX + 1] = {0};

	if (strlen(name) > GW_NAME_BYTES_MAX)
		return NULL;
	strcpy(key, name);
	return gw_table_find(&s->sites, key);
}

struct site *site_admit(struct scheduler *s, const char *name)
{
	struct site *site = site_find(s, name);

	if (site)
		return site;
	site = calloc(1, sizeof(*site));
	if (!site)
		return NULL;
	strncpy(site->name, name, GW_NAME_BYTES_MAX);
	site->index = s->sites.count;
	if (gw_table_add(&s->sites, site) != 0) {
		free(site);
		return NULL;
	}
	return site;
}

static void site_remove(struct site *site, struct node *node)
{
	struct node **link = &site->nodes;
	struct node *before = NULL;

	while (*link != node) {
		before = *link;
		link = &before->site_next;
	}
	*link = node->site_next;
	if (site->nodes_last == node)
		site->nodes_last = before;
	site->node_count--;
	node->site_next = NULL;
	if (site->prober == node)
		site->prober = NULL;
}

void site_add(struct site *site, struct node *node)
{
	if (site->nodes_last)
		site->nodes_last->site_next = node;
	else
		site->nodes = node;
	site->nodes_last = node;
	site->node_count++;
	node->site = site;
}

struct node *node_new(struct scheduler *s, struct gw_node_id id)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->id = id;
	node->index = s->nodes.count;
	node->timer.kind = TIMER_NODE;
	if (gw_table_add(&s->nodes, node) != 0) {
		free(node);
		return NULL;
	}
	return node;
}

struct node *node_admit(struct scheduler *s, const Godwit__NodeAdmitted *admitted)
{
	struct gw_node_id id;
	struct node *node;
	struct site *site;

	if (!gw_wire_read_id(admitted->node, &id.id))
		return NULL;
	site = site_admit(s, admitted->site);
	node = node_find(s, id);
	if (!node)
		node = node_new(s, id);
	if (!site || !node)
		return NULL;
	if (node->site != site) {
		if (node->site)
			site_remove(node->site, node);
		site_add(site, node);
	}
	memset(node->name, 0, sizeof(node->name));
	memset(node->provider, 0, sizeof(node->provider));
	strncpy(node->name, admitted->name, GW_NAME_BYTES_MAX);
	strncpy(node->provider, admitted->provider, GW_NAME_BYTES_MAX);
	(void)gw_wire_read_id(admitted->boot_id, &node->boot_id); /* absent: as before */
	node->revoked = gw_table_find(&s->revoked, &id) != NULL;
	return node;
}

int node_revoke(struct scheduler *s, struct gw_node_id id)
{
	struct revoked *revoked = calloc(1, sizeof(*revoked));
	struct node *node = node_find(s, id);

	if (!revoked)
		return -ENOMEM;
	revoked->id = id;
	if (gw_table_add(&s->revoked, revoked) != 0) {
		free(revoked);
		return -EPROTO;
	}
	if (node)
		node->revoked = true;
	return 0;
}

static void info_clear(struct node *node)
{
	for (uint32_t i = 0; i < GW_GRID_DEVICES_MAX; i++) {
		free(node->device_uuids[i]);
		node->device_uuids[i] = NULL;
	}
	free(node->info_bytes);
	node->info_bytes = NULL;
	node->info_size = 0;
	memset(&node->total, 0, sizeof(node->total));
}

void node_free(struct node *node)
{
	if (!node)
		return;
	info_clear(node);
	free(node->telemetry_bytes);
	free(node->not_enforced);
	free(node->reason);
	free(node);
}

const char *node_state_name(enum node_state state)
{
	switch (state) {
	case NODE_UNKNOWN:
		return "unknown";
	case NODE_JOINING:
		return "joining";
	case NODE_UP:
		return "up";
	case NODE_DRAINING:
		return "draining";
	case NODE_LOST:
		return "lost";
	case NODE_REVOKED:
		return "revoked";
	}
	CHECK(false);
}

bool node_ready(const struct node *node)
{
	return node->state == NODE_UP && node->stray_count == 0;
}

static enum node_state state_of(const struct scheduler *s, const struct node *node)
{
	if (node->revoked)
		return NODE_REVOKED;
	if (node->silent || !node->session) {
		uint64_t since_us = node->heard_us > s->started_us ? node->heard_us : s->started_us;

		return node->task_count == 0 && s->now.mono_us - since_us >= s->config.lost_after_us
			       ? NODE_LOST
			       : NODE_UNKNOWN;
	}
	if (!node->reconciled || !node->info_bytes || node->heartbeat_mono_us == 0)
		return NODE_JOINING;
	return node->draining || node->declined_until_us != 0 ? NODE_DRAINING : NODE_UP;
}

void node_update(struct scheduler *s, struct node *node)
{
	enum node_state next = state_of(s, node);
	enum node_state before = node->state;

	node->state = next;
	if (before == next)
		return;
	if (next == NODE_UP)
		fair_wake(s);
	if (before == NODE_UP || next == NODE_UP)
		paths_sites_changed(s);
	if (next == NODE_UNKNOWN || next == NODE_LOST || next == NODE_REVOKED)
		logs_node_gone(s, node);
	lease_check(s, node);
}

static void note_reason(struct scheduler *s, struct node *node, const char *why)
{
	free(node->reason);
	node->reason = why[0] ? strndup(why, NOTE_BYTES_MAX) : NULL;
	if (why[0] && !node->reason)
		out_failed(s, -ENOMEM);
}

/* Many starts may have been on their way; what they bring back counts once. */
void node_declined(struct scheduler *s, struct node *node, const char *why)
{
	if (node->declined_until_us != 0)
		return;
	node->declined_us = node->declined_us == 0                    ? DECLINED_US_MIN
			    : node->declined_us < DECLINED_US_MAX / 2 ? 2 * node->declined_us
								      : DECLINED_US_MAX;
	node->declined_until_us = s->now.mono_us + node->declined_us;
	if (!node->draining)
		note_reason(s, node, why);
	node_update(s, node);
	lease_check(s, node); /* its timer */
}

static bool cert_changed(const struct node *node, const struct gw_peer *peer)
{
	return strcmp(node->name, peer->name) != 0 || strcmp(node->site->name, peer->site) != 0 ||
	       strcmp(node->provider, peer->provider) != 0;
}

/* A boot that is not the one on record: the host was rebooted since. */
void node_boot(struct scheduler *s, struct node *node, ProtobufCBinaryData field)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__NodeAdmitted admitted = GODWIT__NODE_ADMITTED__INIT;
	struct gw_id boot_id;

	if (!gw_wire_read_id(field, &boot_id) || gw_id_equal(boot_id, node->boot_id))
		return;
	node->rebooted = !gw_id_is_zero(node->boot_id);
	if (node->rebooted) {
		node->was_rebooted = true;
		node->back_us = s->now.mono_us;
	}
	admitted.node = gw_wire_id(&node->id.id);
	admitted.name = out_text(s, "%s", node->name);
	admitted.site = out_text(s, "%s", node->site->name);
	admitted.provider = out_text(s, "%s", node->provider);
	admitted.boot_id = gw_wire_id(&boot_id);
	record.kind_case = GODWIT__RECORD__KIND_NODE_ADMITTED;
	record.node_admitted = &admitted;
	apply_commit(s, &record);
}

/* The certificate's word, once: who this node is and where it stands. NULL: past a limit. */
static struct node *know(struct scheduler *s, const struct gw_peer *peer)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__NodeAdmitted admitted = GODWIT__NODE_ADMITTED__INIT;
	struct node *node = node_find(s, peer->node);

	if (node && !cert_changed(node, peer))
		return node;
	if (!node && s->nodes.count >= GW_NODES_MAX)
		return NULL;
	if (!site_find(s, peer->site) && s->sites.count >= GW_SITES_MAX)
		return NULL;
	admitted.node = gw_wire_id(&peer->node.id);
	admitted.name = out_text(s, "%s", peer->name);
	admitted.site = out_text(s, "%s", peer->site);
	admitted.provider = out_text(s, "%s", peer->provider);
	record.kind_case = GODWIT__RECORD__KIND_NODE_ADMITTED;
	record.node_admitted = &admitted;
	apply_commit(s, &record);
	return node_find(s, peer->node);
}

void node_note_back(struct scheduler *s, struct node *node)
{
	uint64_t unheard_us = node->heard_us > 0 ? s->now.mono_us - node->heard_us : 0;

	if (unheard_us < s->config.unknown_after_us)
		return;
	node->unheard_us = unheard_us;
	node->back_us = s->now.mono_us;
	node->was_rebooted = false;
}

void node_peer_up(struct scheduler *s, const struct gw_peer *peer, bool resumed)
{
	struct node *node;

	if (!(peer->roles & 1u << GODWIT__ROLE__ROLE_AGENT))
		return;
	if (gw_table_find(&s->revoked, &peer->node)) {
		out_revoke(s, peer->node);
		return;
	}
	node = know(s, peer);
	if (!node) {
		out_refuse_peer(s, peer->node, GW_REFUSAL_OVERLOAD, 0,
				"the scheduler has as many nodes or sites as it can");
		return;
	}
	if (!resumed) {
		node->received = 0;
		node->sent = 0;
		node->received_mark = 0;
		node->sent_mark = 0;
		node->heartbeat_mono_us = 0; /* may be of another boot, whose clock tells nothing */
	}
	node_note_back(s, node);
	node->session = true;
	node->silent = false;
	node->heard_us = s->now.mono_us;
	node->progress_us = s->now.mono_us;
	reconcile_begin(s, node);
	node_update(s, node);
}

void node_peer_down(struct scheduler *s, struct gw_node_id id)
{
	struct node *node = node_find(s, id);

	if (!node || !node->session)
		return;
	node->session = false;
	node->reconciled = false;
	node_update(s, node);
}

static uint64_t label_hash(const struct scheduler *s, const char *text)
{
	uint64_t hash = 1469598103934665603ull ^ s->config.seed; /* FNV-1a */

	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211ull;
	return hash;
}

uint32_t node_label_number(const struct scheduler *s, const char *text)
{
	uint64_t hash = label_hash(s, text);
	const struct label *label = gw_table_find(&s->labels, &hash);

	return label && strcmp(label->text, text) == 0 ? label->number : GW_LABEL_UNKNOWN;
}

/* NULL: past a limit, or no memory. */
static struct label *label_add(struct scheduler *s, const char *text)
{
	struct label *label;

	if (s->labels.count >= LABELS_MAX || strlen(text) > LABEL_BYTES_MAX ||
	    s->label_number == GW_LABEL_UNKNOWN - 1)
		return NULL;
	label = calloc(1, sizeof(*label));
	if (!label)
		return NULL;
	label->hash = label_hash(s, text);
	label->number = s->label_number + 1;
	label->text = strdup(text);
	if (!label->text || gw_table_add(&s->labels, label) != 0) {
		free(label->text);
		free(label);
		return NULL;
	}
	s->label_number++;
	return label;
}

/* The number of what the node says of itself, known from now on for as long as it does. */
static uint32_t label_ref(struct scheduler *s, struct node *node, const char *text)
{
	uint64_t hash = label_hash(s, text);
	struct label *label = gw_table_find(&s->labels, &hash);

	if (!label)
		label = label_add(s, text);
	if (!label || strcmp(label->text, text) != 0)
		return GW_LABEL_UNKNOWN;
	label->nodes++;
	node->labels[node->label_count++] = label;
	return label->number;
}

static void labels_unref(struct scheduler *s, struct node *node)
{
	while (node->label_count > 0) {
		struct label *label = node->labels[--node->label_count];

		if (--label->nodes > 0)
			continue;
		CHECK(gw_table_remove(&s->labels, &label->hash) == label);
		free(label->text);
		free(label);
	}
}

/* False: no memory, with the step failed. */
static bool keep_bytes(struct scheduler *s, const ProtobufCMessage *message, uint8_t **bytes,
		       size_t *ret_size)
{
	size_t size = gw_wire_size(message);
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy) {
		out_failed(s, -ENOMEM);
		return false;
	}
	gw_wire_encode(message, copy);
	free(*bytes);
	*bytes = copy;
	*ret_size = size;
	return true;
}

static void read_devices(struct scheduler *s, struct node *node, const Godwit__NodeInfo *info)
{
	struct gw_grid_node *total = &node->total;

	for (size_t i = 0; i < info->n_devices && total->device_count < GW_GRID_DEVICES_MAX; i++) {
		const Godwit__Device *device = info->devices[i];

		if (device->unavailable[0] || !device->uuid[0] || strchr(device->uuid, ',') ||
		    strlen(device->uuid) > DEVICE_UUID_BYTES_MAX)
			continue;
		node->device_uuids[total->device_count] = strdup(device->uuid);
		if (!node->device_uuids[total->device_count]) {
			out_failed(s, -ENOMEM);
			return;
		}
		total->device_types[total->device_count++] = label_ref(s, node, device->type);
	}
	total->devices_free = (uint16_t)((1u << total->device_count) - 1);
}

static void read_info(struct scheduler *s, struct node *node, const Godwit__NodeInfo *info)
{
	struct gw_grid_node *total = &node->total;

	total->id = node->id;
	total->cpu_milli =
		info->cpu_count > UINT32_MAX / 1000 ? UINT32_MAX : info->cpu_count * 1000;
	total->memory_bytes = info->memory_bytes;
	total->cpu_milli_free = total->cpu_milli;
	total->memory_bytes_free = total->memory_bytes;
	total->slots_free = GW_GRID_SLOTS_MAX;
	if (info->port_first > 0 && info->port_first <= UINT16_MAX) {
		uint32_t count = UINT16_MAX - info->port_first + 1;

		count = info->port_count < count ? info->port_count : count;
		total->port_first = (uint16_t)info->port_first;
		total->port_count =
			(uint16_t)(count < GW_GRID_PORTS_MAX ? count : GW_GRID_PORTS_MAX);
	}
	if (gw_residency_valid(info->residency))
		strcpy(total->residency, info->residency);
	for (size_t i = 0; i < info->n_labels && total->label_count < GW_GRID_LABELS_MAX; i++)
		total->labels[total->label_count++] = label_ref(s, node, info->labels[i]);
	read_devices(s, node, info);
	memset(node->address, 0, sizeof(node->address));
	strncpy(node->address, info->data_address, GW_NAME_BYTES_MAX);
	node->probe_port = info->probe_port;
	node->draining = info->draining;
	node->declined_until_us = 0; /* it says anew how it is */
	note_reason(s, node, info->draining ? info->draining_reason : "");
}

/* Has the grid no number for some of what the node says of itself? */
static bool labels_missing(const struct node *node, const Godwit__NodeInfo *info)
{
	const struct gw_grid_node *total = &node->total;
	bool missing = info->n_labels > total->label_count;

	for (uint32_t i = 0; i < total->label_count; i++)
		missing |= total->labels[i] == GW_LABEL_UNKNOWN;
	for (uint32_t i = 0; i < total->device_count; i++)
		missing |= total->device_types[i] == GW_LABEL_UNKNOWN;
	return missing;
}

/* What its tasks take, in terms of the new info. */
static void recount(struct node *node)
{
	memset(node->ports_used, 0, sizeof(node->ports_used));
	node->devices_used = 0;
	node->task_count = 0;
	node->cpu_milli_used = 0;
	node->memory_bytes_used = 0;
	for (const struct task *task = node->tasks; task; task = task->next)
		node_account(node, task, true);
}

void node_info(struct scheduler *s, struct node *node, const Godwit__NodeInfo *info)
{
	bool address_changed = strcmp(node->address, info->data_address) != 0 ||
			       node->probe_port != info->probe_port;

	if (gw_wire_size(&info->base) > INFO_BYTES_MAX) {
		/* What it said before stays: a node without info takes no tasks. */
		out_refuse_peer(s, node->id, GW_REFUSAL_OVERLOAD, 0,
				out_text(s,
					 "the node's description has %zu bytes, and at most %u are "
					 "taken; give it fewer labels or shorter ones",
					 gw_wire_size(&info->base), INFO_BYTES_MAX));
		return;
	}
	labels_unref(s, node);
	info_clear(node);
	if (!keep_bytes(s, &info->base, &node->info_bytes, &node->info_size))
		return;
	read_info(s, node, info);
	if (labels_missing(node, info))
		out_refuse_peer(s, node->id, GW_REFUSAL_OVERLOAD, 0,
				"some labels or device types of the node are too long or too many "
				"for this scheduler; jobs that ask for them will not be placed on "
				"it");
	recount(node);
	node->shrunk = node->cpu_milli_used > node->total.cpu_milli ||
		       node->memory_bytes_used > node->total.memory_bytes;
	s->maxima_stale = true;
	if (address_changed && node->state == NODE_UP)
		paths_sites_changed(s);
	node_update(s, node);
	fair_wake(s);
}

void node_telemetry(struct scheduler *s, struct node *node, const Godwit__Telemetry *telemetry)
{
	Godwit__Telemetry copy = *telemetry;

	copy.n_tasks = 0; /* per-task usage counts when the attempt ends */
	copy.tasks = NULL;
	if (gw_wire_size(&copy.base) <= INFO_BYTES_MAX)
		(void)keep_bytes(s, &copy.base, &node->telemetry_bytes, &node->telemetry_size);
}

uint16_t node_device_bits(const struct node *node, const char *uuids)
{
	uint16_t bits = 0;

	for (uint32_t i = 0; uuids && i < node->total.device_count; i++) {
		const char *at = strstr(uuids, node->device_uuids[i]);
		size_t size = strlen(node->device_uuids[i]);

		if (at && (at == uuids || at[-1] == ',') && at[size] == ',')
			bits |= (uint16_t)(1u << i);
	}
	return bits;
}

/* Which part of the ports lies in the node's range, which may have changed since they were given
 * out; returns its length. */
static uint32_t port_range(const struct node *node, uint32_t port, uint32_t count,
			   uint32_t *ret_first)
{
	uint32_t range_first = node->total.port_first;
	uint32_t range_end = range_first + node->total.port_count;
	uint32_t first = port > range_first ? port : range_first;
	uint32_t end = port + count < range_end ? port + count : range_end;

	*ret_first = first - range_first;
	return first < end ? end - first : 0;
}

uint32_t node_ports_of(const struct node *node, const struct task *task)
{
	uint32_t first;

	return port_range(node, task->port, task->port_count, &first);
}

void node_account(struct node *node, const struct task *task, bool add)
{
	const struct gw_need *need = &task->job->need;
	uint16_t devices = node_device_bits(node, task->devices);
	uint32_t first;
	uint32_t ports = port_range(node, task->port, task->port_count, &first);

	if (ports > 0)
		gw_ports_set(node->ports_used, first, ports, add);
	if (add) {
		node->task_count++;
		node->cpu_milli_used += need->cpu_milli;
		node->memory_bytes_used += need->memory_bytes;
		node->devices_used |= devices;
		return;
	}
	CHECK(node->task_count > 0);
	node->task_count--;
	node->cpu_milli_used -= need->cpu_milli;
	node->memory_bytes_used -= need->memory_bytes;
	node->devices_used &= (uint16_t)~devices;
}

bool node_fits(const struct node *node, const struct gw_need *need, uint32_t port, uint16_t devices)
{
	uint32_t first;

	if (node->cpu_milli_used + (uint64_t)need->cpu_milli > node->total.cpu_milli ||
	    node->memory_bytes_used > node->total.memory_bytes ||
	    need->memory_bytes > node->total.memory_bytes - node->memory_bytes_used ||
	    node->task_count >= GW_GRID_SLOTS_MAX)
		return false;
	if ((devices & node->devices_used) != 0 ||
	    (uint32_t)__builtin_popcount(devices) != need->device_count)
		return false;
	if (need->port_count == 0)
		return true;
	return port_range(node, port, need->port_count, &first) == need->port_count &&
	       gw_ports_free(node->ports_used, first, need->port_count);
}

void node_maxima(struct scheduler *s)
{
	if (!s->maxima_stale)
		return;
	s->maxima_stale = false;
	s->cpu_milli_max = 0;
	s->memory_bytes_max = 0;
	s->cpu_milli_total = 0;
	s->memory_bytes_total = 0;
	s->devices_total = 0;
	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		s->cpu_milli_total += node->total.cpu_milli;
		s->memory_bytes_total += node->total.memory_bytes;
		s->devices_total += node->total.device_count;
		if (node->total.cpu_milli > s->cpu_milli_max)
			s->cpu_milli_max = node->total.cpu_milli;
		if (node->total.memory_bytes > s->memory_bytes_max)
			s->memory_bytes_max = node->total.memory_bytes;
	}
}
