/* The campaign's only words to the link emulator (bench/wan/control.h): delays in, counters out. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/loss/campaign.h"
#include "bench/wan/control.h"
#include "bench/wan/lab.h"
#include "proto/base/check.h"

#define ANSWER_WAIT_MS 2000
#define LATENESS_P99_US_MAX 200.0
#define LATENESS_P999_US_MAX 600.0

static json_t *ask(struct gw_campaign *campaign, json_t *request)
{
	json_t *answer = gw_control_ask(campaign->options.emulator, request, ANSWER_WAIT_MS);

	json_decref(request);
	return answer;
}

/* Without an emulator: each hop of the rings across sites is a delay line in its sender. */
static int simulate_rtt(struct gw_campaign *campaign, double rtt_ms)
{
	struct gw_ring_client *rings[] = {&campaign->cross, &campaign->cross_twin,
					  &campaign->cross_real};

	for (size_t i = 0; i < GW_ARRAY_COUNT(rings); i++) {
		char error[GW_CLIENT_ERROR_BYTES];
		json_t *answer;

		if (rings[i]->client.fd < 0)
			continue;
		answer = gw_client_ask(
			&rings[i]->client,
			json_pack("{s:s, s:I}", "op", "delay", "us",
				  (json_int_t)llround(rtt_ms * 1e3 / rings[i]->stages)),
			ANSWER_WAIT_MS, error);
		if (!answer) {
			(void)snprintf(campaign->error, sizeof(campaign->error),
				       "simulated delay: %s", error);
			return -EIO;
		}
		json_decref(answer);
	}
	campaign->rtt_ms = rtt_ms;
	return 0;
}

/* One link, each way; 0 or -EIO with the reason in campaign->error. */
static int set_link(struct gw_campaign *campaign, uint32_t index, json_int_t delay_us, bool lossy)
{
	for (int k = 0; k < 2; k++) {
		json_int_t loss = lossy ? campaign->links[index].loss_ppm[k] : 0;
		json_int_t burst = lossy ? campaign->links[index].burst_enter_ppm[k] : 0;
		json_t *params =
			json_pack("{s:I, s:I}", "loss_ppm", loss, "burst_enter_ppm", burst);
		json_t *answer;
		const char *refused;
		bool done;

		if (delay_us >= 0)
			(void)json_object_set_new(params, "delay_us", json_integer(delay_us));
		answer = ask(campaign, json_pack("{s:s, s:s, s:i, s:o}", "op", "set", "link",
						 campaign->links[index].name, "direction", k,
						 "params", params));
		refused = json_string_value(json_object_get(answer, "error"));
		done = answer && !refused;
		if (!done)
			(void)snprintf(campaign->error, sizeof(campaign->error),
				       "link %s of the emulator at %s: %s",
				       campaign->links[index].name, campaign->options.emulator,
				       refused ? refused : "no answer");
		json_decref(answer);
		if (!done)
			return -EIO;
	}
	return 0;
}

int gw_wanlink_set(struct gw_campaign *campaign, double rtt_ms, bool lossy)
{
	if (campaign->options.simulate)
		return simulate_rtt(campaign, rtt_ms);
	if (!campaign->options.emulator && rtt_ms > 0)
		return -ENOTSUP;
	for (uint32_t i = 0; campaign->options.emulator && i < campaign->link_count; i++) {
		double delay_us = rtt_ms * 1e3 * campaign->links[i].share;
		int r = set_link(campaign, i, (json_int_t)llround(delay_us), lossy);

		if (r < 0)
			return r;
	}
	campaign->rtt_ms = rtt_ms;
	campaign->lossy = lossy;
	return 0;
}

int gw_wanlink_open(struct gw_campaign *campaign)
{
	json_t *answer;
	json_t *link;
	size_t n;

	if (!campaign->options.emulator || campaign->options.simulate)
		return 0;
	answer = ask(campaign, json_pack("{s:s}", "op", "stats"));
	if (!json_is_array(json_object_get(answer, "links"))) {
		(void)snprintf(campaign->error, sizeof(campaign->error),
			       "the link emulator at %s does not answer",
			       campaign->options.emulator);
		json_decref(answer);
		return -EIO;
	}
	json_array_foreach(json_object_get(answer, "links"), n, link)
	{
		const char *name = json_string_value(json_object_get(link, "name"));
		const json_t *ways = json_object_get(link, "directions");

		for (uint32_t i = 0; name && i < campaign->link_count; i++) {
			if (strcmp(campaign->links[i].name, name) != 0)
				continue;
			for (size_t k = 0; k < 2; k++) {
				const json_t *params =
					json_object_get(json_array_get(ways, k), "params");

				campaign->links[i].loss_ppm[k] =
					json_integer_value(json_object_get(params, "loss_ppm"));
				campaign->links[i].burst_enter_ppm[k] = json_integer_value(
					json_object_get(params, "burst_enter_ppm"));
			}
		}
	}
	campaign->links_known = true;
	json_decref(answer);
	return 0;
}

void gw_wanlink_close(struct gw_campaign *campaign)
{
	for (uint32_t i = 0; campaign->links_known && i < campaign->link_count; i++)
		if (set_link(campaign, i, -1, true) < 0)
			(void)fprintf(stderr, "godwit-loss: its own loss was not given back: %s\n",
				      campaign->error);
	campaign->links_known = false;
}

double gw_wanlink_own_loss_percent(const struct gw_campaign *campaign)
{
	double sum = 0;

	for (uint32_t i = 0; i < campaign->link_count; i++)
		sum += (double)(campaign->links[i].loss_ppm[0] + campaign->links[i].loss_ppm[1]);
	return campaign->link_count ? sum / (2e4 * campaign->link_count) : 0;
}

double gw_wanlink_limit_mbps(void)
{
	json_t *rows = json_load_file(GW_LAB_FOLDER "/selftest.json", 0, NULL);
	double limit = (double)NAN;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *name = json_string_value(json_object_get(row, "name"));
		const json_t *value = json_object_get(row, "value");

		if (name && strcmp(name, "wan.limit_mbps") == 0 && json_is_number(value))
			limit = json_number_value(value);
	}
	json_decref(rows);
	return limit;
}

void gw_wanlink_reset(struct gw_campaign *campaign)
{
	if (campaign->options.emulator)
		json_decref(ask(campaign, json_pack("{s:s, s:b}", "op", "stats", "reset", 1)));
}

static bool used(const struct gw_campaign *campaign, const char *name)
{
	for (uint32_t i = 0; name && i < campaign->link_count; i++)
		if (strcmp(campaign->links[i].name, name) == 0)
			return true;
	return false;
}

static void add_reason(json_t *reasons, const char *link, const char *text, double value)
{
	char sentence[160];

	(void)snprintf(sentence, sizeof(sentence), "link %s: %s (%g)", link, text, value);
	(void)json_array_append_new(reasons, json_string(sentence));
}

static double figure(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* One direction against the rules: lateness, and drops that nobody asked for. */
static void judge(const char *link, const json_t *direction, json_t *reasons)
{
	const json_t *lateness = json_object_get(direction, "lateness_us");

	if (figure(lateness, "p99") > LATENESS_P99_US_MAX)
		add_reason(reasons, link, "lateness p99 above 200 us", figure(lateness, "p99"));
	if (figure(lateness, "p99.9") > LATENESS_P999_US_MAX)
		add_reason(reasons, link, "lateness p99.9 above 600 us", figure(lateness, "p99.9"));
	if (figure(direction, "not_asked") > 0)
		add_reason(reasons, link, "packets dropped that were not to be",
			   figure(direction, "not_asked"));
	if (figure(direction, "dropped_queue") > 0)
		add_reason(reasons, link, "its queue overflowed",
			   figure(direction, "dropped_queue"));
}

json_t *gw_wanlink_read(struct gw_campaign *campaign, json_t *reasons, bool *ret_unfit)
{
	json_t *answer;
	json_t *kept = json_array();
	size_t i;
	json_t *link;

	*ret_unfit = false;
	if (!campaign->options.emulator)
		return kept;
	answer = ask(campaign, json_pack("{s:s}", "op", "stats"));
	if (!json_is_array(json_object_get(answer, "links"))) {
		(void)json_array_append_new(reasons, json_string("the link emulator is silent"));
		json_decref(answer);
		return kept;
	}
	json_array_foreach(json_object_get(answer, "links"), i, link)
	{
		const char *name = json_string_value(json_object_get(link, "name"));
		const json_t *directions = json_object_get(link, "directions");

		if (!used(campaign, name))
			continue;
		for (size_t k = 0; k < json_array_size(directions); k++)
			judge(name, json_array_get(directions, k), reasons);
		(void)json_array_append(kept, link);
	}
	if (figure(answer, "softnet_dropped") > 0)
		add_reason(reasons, "any", "the kernel's backlog overflowed",
			   figure(answer, "softnet_dropped"));
	*ret_unfit = !json_is_true(json_object_get(answer, "fifo")) ||
		     !json_is_true(json_object_get(answer, "locked"));
	json_decref(answer);
	return kept;
}
