/*
 * Distances between sites, as agents measure them, and who measures: one node of each site, the
 * prober, probes the prober of each other site. The full graph, with capacity and hints, is
 * scheduler/path's work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define PROBE_SAMPLES_MIN 1u
#define RTT_CHANGE_US_MIN 100u /* less lets no plan differ */
#define TABLES_A_STEP 16u      /* each may take PEERS_MAX entries of the step's memory */

static bool pairs_grow(struct scheduler *s)
{
	uint32_t size = s->pair_sites ? s->pair_sites : 8;
	struct pair *pairs;

	while (size < s->sites.count)
		size *= 2;
	if (size == s->pair_sites)
		return true;
	pairs = calloc((size_t)size * size, sizeof(*pairs));
	if (!pairs) {
		out_failed(s, -ENOMEM);
		return false;
	}
	for (size_t i = 0; i < (size_t)size * size; i++)
		pairs[i].rtt_us = GW_GRID_RTT_UNKNOWN_US;
	for (uint32_t from = 0; from < s->pair_sites; from++)
		memcpy(&pairs[(size_t)from * size], &s->pairs[(size_t)from * s->pair_sites],
		       s->pair_sites * sizeof(*pairs));
	free(s->pairs);
	s->pairs = pairs;
	s->pair_sites = size;
	return true;
}

struct pair *pair_of(const struct scheduler *s, uint32_t from, uint32_t to)
{
	if (from >= s->pair_sites || to >= s->pair_sites)
		return NULL;
	return &s->pairs[(size_t)from * s->pair_sites + to];
}

static bool moved(uint32_t before_us, uint32_t now_us)
{
	uint32_t change_us = before_us > now_us ? before_us - now_us : now_us - before_us;

	return before_us == GW_GRID_RTT_UNKNOWN_US ||
	       (change_us > before_us / 5 && change_us > RTT_CHANGE_US_MIN);
}

void paths_report(struct scheduler *s, struct node *node, const Godwit__PathReport *report)
{
	if (!pairs_grow(s))
		return;
	for (size_t i = 0; i < report->n_paths; i++) {
		const Godwit__PathReport__Path *path = report->paths[i];
		struct gw_node_id id;
		struct node *peer = gw_wire_read_id(path->node, &id.id) ? node_find(s, id) : NULL;
		struct pair *pair;

		if (!peer || peer->site == node->site || path->samples < PROBE_SAMPLES_MIN ||
		    path->rtt_us_p50 == GW_GRID_RTT_UNKNOWN_US)
			continue;
		pair = pair_of(s, node->site->index, peer->site->index);
		if (moved(pair->rtt_us, path->rtt_us_p50))
			fair_wake(s);
		pair->rtt_us = path->rtt_us_p50;
		pair->loss_ppm = path->loss_ppm;
		pair->at_us = s->now.mono_us;
	}
}

/* The same as long as it can: a change costs every other site a new table. */
static void choose_prober(struct site *site)
{
	const struct node *prober = site->prober;

	if (prober && prober->state == NODE_UP && prober->probe_port > 0)
		return;
	site->prober = NULL;
	for (struct node *node = site->nodes; node && !site->prober; node = node->site_next) {
		if (node->state == NODE_UP && node->probe_port > 0 && node->address[0])
			site->prober = node;
	}
}

void paths_sites_changed(struct scheduler *s)
{
	if (s->peers_next > 0)
		s->peers_again = true; /* a round is under way, and may be past the change */
	else if (s->peers_timer.item.position == 0)
		timer_set(s, &s->peers_timer, s->now.mono_us + PEERS_DELAY_US);
}

/* All probers but this site's own, from the next site on, so that a cut table differs by site. */
static size_t table_of(struct scheduler *s, const struct site *site,
		       Godwit__PeerTable__Peer **ret_list, uint64_t *ret_hash)
{
	size_t count = 0;
	uint64_t hash = 1;

	for (uint32_t i = 1; i < s->sites.count && count < PEERS_MAX; i++) {
		const struct site *other = s->sites.entries[(site->index + i) % s->sites.count];
		const struct node *prober = other->prober;
		Godwit__PeerTable__Peer *peer;

		if (!prober)
			continue;
		peer = gw_arena_alloc(&s->arena, sizeof(*peer));
		if (!peer)
			break;
		godwit__peer_table__peer__init(peer);
		peer->node = gw_wire_id(&prober->id.id);
		peer->site = out_text(s, "%s", other->name);
		peer->address = out_text(s, "%s", prober->address);
		peer->probe_port = prober->probe_port;
		ret_list[count++] = peer;
		for (size_t b = 0; b < GW_ID_BYTES; b++)
			hash = (hash ^ prober->id.id.bytes[b]) * 1099511628211ull;
		for (const char *c = prober->address; *c; c++)
			hash = (hash ^ (uint8_t)*c) * 1099511628211ull;
		hash = (hash ^ prober->probe_port) * 1099511628211ull;
	}
	*ret_hash = hash;
	return count;
}

static void table_send(struct scheduler *s, struct node *node, Godwit__PeerTable__Peer **list,
		       size_t count)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__PeerTable table = GODWIT__PEER_TABLE__INIT;

	table.generation = s->peers_generation;
	table.n_peers = count;
	table.peers = list;
	body.kind_case = GODWIT__BODY__KIND_PEER_TABLE;
	body.peer_table = &table;
	out_send(s, node, &body);
}

static void round_begin(struct scheduler *s)
{
	s->peers_again = false;
	s->peers_generation++;
	for (uint32_t i = 0; i < s->sites.count; i++)
		choose_prober(s->sites.entries[i]);
}

/* A round is spread over steps: a region of a thousand sites has more tables than a step holds. */
void paths_send_tables(struct scheduler *s)
{
	Godwit__PeerTable__Peer **list =
		gw_arena_alloc(&s->arena, PEERS_MAX * sizeof(Godwit__PeerTable__Peer *));
	uint32_t made_count = 0;

	if (!list) {
		out_failed(s, -ENOMEM);
		return;
	}
	if (s->peers_next == 0)
		round_begin(s);
	while (s->peers_next < s->nodes.count && made_count < TABLES_A_STEP) {
		struct node *node = s->nodes.entries[s->peers_next++];
		uint64_t hash = 1; /* of an empty table */
		size_t count = 0;

		if (node->state != NODE_UP)
			continue;
		if (node->site->prober == node) {
			count = table_of(s, node->site, list, &hash);
			made_count++;
		}
		if (hash == node->peers_hash || (count == 0 && node->peers_hash == 0))
			continue;
		node->peers_hash = hash;
		table_send(s, node, list, count);
	}
	if (s->peers_next < s->nodes.count) {
		timer_set(s, &s->peers_timer, s->now.mono_us + 1); /* a later step */
		return;
	}
	s->peers_next = 0;
	if (s->peers_again)
		paths_sites_changed(s);
}
