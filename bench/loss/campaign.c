/* Opening and closing a campaign: lists of the command line, rings, host. */
#include "bench/loss/campaign.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_WAIT_MS 60000
#define INFO_WAIT_MS 10000
#define QUICK_AGE_SHARE 10 /* of a quick budget goes at most so much into the first ageing */

static int wrong(struct gw_campaign *campaign, const char *text, const char *what)
{
	(void)snprintf(campaign->error, sizeof(campaign->error), "%s: %s", what, text);
	return -EINVAL;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static int parse_rtts(struct gw_campaign *campaign)
{
	const char *text = campaign->options.rtts_ms;
	bool headline = false;

	while (*text) {
		char *end;
		double value = strtod(text, &end);

		if (end == text || !(value >= 0 && value <= 1000) || (*end && *end != ','))
			return wrong(campaign, "each delay must be 0 to 1000 ms", text);
		if (campaign->rtt_count == GW_CAMPAIGN_RTTS_MAX)
			return wrong(campaign, "at most 16 delays", text);
		campaign->rtts_ms[campaign->rtt_count++] = value;
		headline = headline || fabs(value - campaign->options.headline_ms) < 1e-9;
		text = *end ? end + 1 : end;
	}
	qsort(campaign->rtts_ms, campaign->rtt_count, sizeof(campaign->rtts_ms[0]), compare);
	return headline ? 0
			: wrong(campaign, "the headline's delay must be among them",
				campaign->options.rtts_ms);
}

/* "a-b=0.25,b-c=0.25" */
static int parse_links(struct gw_campaign *campaign)
{
	const char *text = campaign->options.links ? campaign->options.links : "";

	while (*text) {
		const char *equals = strchr(text, '=');
		size_t length = equals ? (size_t)(equals - text) : 0;
		char *end = NULL;
		double share = equals ? strtod(equals + 1, &end) : 0;

		if (campaign->link_count == GW_CAMPAIGN_LINKS_MAX)
			return wrong(campaign, "at most 8 links", text);
		if (length == 0 || length >= sizeof(campaign->links[0].name) || end == equals + 1 ||
		    !(share > 0 && share <= 1) || (*end && *end != ','))
			return wrong(campaign, "each link must read NAME=SHARE, SHARE above 0 to 1",
				     text);
		memcpy(campaign->links[campaign->link_count].name, text, length);
		campaign->links[campaign->link_count++].share = share;
		text = *end ? end + 1 : end;
	}
	if (campaign->options.emulator && campaign->link_count == 0)
		return wrong(campaign, "an emulator needs the links that carry the ring",
			     "--links");
	return 0;
}

static uint32_t count_of(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 && value <= INT32_MAX ? (uint32_t)value : 0;
}

static int open_ring(struct gw_campaign *campaign, struct gw_ring_client *ring, const char *path)
{
	char error[GW_CLIENT_ERROR_BYTES];
	const json_t *model;

	ring->client.fd = -1;
	if (!path || !path[0])
		return 0;
	ring->age_s = campaign->options.quick ? GW_CAMPAIGN_QUICK_AGE_S
					      : (double)campaign->options.age_us * 1e-6;
	if (gw_client_open(&ring->client, path, CONNECT_WAIT_MS, error) == 0)
		ring->info = gw_client_ask(&ring->client, json_pack("{s:s}", "op", "info"),
					   INFO_WAIT_MS, error);
	if (!ring->info) {
		(void)snprintf(campaign->error, sizeof(campaign->error), "%s", error);
		return -EIO;
	}
	model = json_object_get(ring->info, "model");
	ring->stages = count_of(ring->info, "stages");
	ring->slots = count_of(model, "slots");
	ring->rows = count_of(model, "rows");
	if (ring->stages == 0 || ring->slots < ring->stages || ring->rows == 0)
		return wrong(campaign, "its head gives no sound sizes", path);
	return 0;
}

static double figure(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void read_accelerator(struct gw_campaign *campaign)
{
	const json_t *a = json_object_get(campaign->single.info, "accelerator");

	campaign->accelerator = (struct gw_accelerator){
		.flops_per_s = figure(a, "flops_per_s"),
		.flops_efficiency = figure(a, "flops_efficiency"),
		.bytes_per_s = figure(a, "bytes_per_s"),
		.bytes_efficiency = figure(a, "bytes_efficiency"),
		.memory_bytes = figure(a, "memory_bytes"),
		.overhead_s = figure(a, "overhead_s"),
		.hidden = figure(a, "hidden"),
		.ffn = figure(a, "ffn"),
		.kv_width = figure(a, "kv_width"),
		.layers_held = figure(a, "layers_held"),
		.context = figure(a, "context"),
	};
}

/* The two sides of a comparison must be the same job: same sizes, same accelerator. */
static int check_alike(struct gw_campaign *campaign, const struct gw_ring_client *a,
		       const struct gw_ring_client *b)
{
	if (!a->info || !b->info || json_equal(a->info, b->info))
		return 0;
	return wrong(campaign, "its model, stages or accelerator differ from the single site's",
		     b->client.path);
}

int gw_campaign_open(struct gw_campaign *campaign)
{
	const struct gw_campaign_options *o = &campaign->options;

	struct {
		struct gw_ring_client *ring;
		const char *path;
		const struct gw_ring_client *alike;
	} rings[] = {
		{&campaign->single, o->single, &campaign->single},
		{&campaign->cross, o->cross, &campaign->single},
		{&campaign->cross_twin, o->cross_twin, &campaign->single},
		{&campaign->single_real, o->single_real, &campaign->single_real},
		{&campaign->cross_real, o->cross_real, &campaign->single_real},
	};

	int r = 0;

	campaign->rtt_ms = -1;
	if (o->quick && campaign->options.age_us > o->budget_us / QUICK_AGE_SHARE)
		campaign->options.age_us = o->budget_us / QUICK_AGE_SHARE;
	campaign->group_sweep = json_array();
	campaign->other_blocks = json_array();
	gw_prng_init(&campaign->prng, o->seed);
	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		rings[i].ring->client.fd = -1; /* so that close() may follow any failure */
	r = parse_rtts(campaign);
	if (r == 0)
		r = parse_links(campaign);
	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]) && r == 0; i++) {
		r = open_ring(campaign, rings[i].ring, rings[i].path);
		if (r == 0)
			r = check_alike(campaign, rings[i].alike, rings[i].ring);
	}
	if (r < 0)
		return r;
	r = gw_wanlink_open(campaign);
	if (r < 0)
		return r;
	read_accelerator(campaign);
	campaign->limit_mbps = gw_wanlink_limit_mbps();
	campaign->host = gw_host_describe();
	return 0;
}

static void close_ring(struct gw_ring_client *ring)
{
	gw_client_close(&ring->client);
	json_decref(ring->info);
	ring->info = NULL;
}

void gw_campaign_close(struct gw_campaign *campaign)
{
	gw_wanlink_close(campaign);
	close_ring(&campaign->single);
	close_ring(&campaign->cross);
	close_ring(&campaign->cross_twin);
	close_ring(&campaign->single_real);
	close_ring(&campaign->cross_real);
	for (uint32_t i = 0; i < campaign->cell_count; i++)
		gw_cell_deinit(&campaign->cells[i]);
	json_decref(campaign->host);
	json_decref(campaign->pilot);
	json_decref(campaign->group_sweep);
	json_decref(campaign->other_blocks);
}
