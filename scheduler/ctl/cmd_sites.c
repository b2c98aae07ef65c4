/* godwit sites: the region's sites, their nodes with fresh telemetry, and the distances. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/ctl/ctl.h"

#define RETURN_US_MAX (24 * 3600 * GW_US_PER_S) /* older ones are no news */
#define RETURNS_MAX 10u
#define MATRIX_SITES_MAX 12u /* more do not fit a line; then pairs are listed */

static int compare_nodes(const void *a, const void *b)
{
	const Godwit__NodeState *left = *(Godwit__NodeState *const *)a;
	const Godwit__NodeState *right = *(Godwit__NodeState *const *)b;
	int order = strcmp(left->site, right->site);

	return order != 0 ? order : strcmp(left->name, right->name);
}

static void device_cell(struct ctl_table *table, const Godwit__NodeInfo *info)
{
	size_t usable = 0;

	for (size_t i = 0; info && i < info->n_devices; i++)
		usable += *info->devices[i]->unavailable == '\0';
	if (info && info->n_devices > 0)
		ctl_table_cell(table, "%zu of %zu %s", usable, info->n_devices,
			       info->devices[0]->type);
	else
		ctl_table_cell(table, "%s", "");
}

static void node_row(struct ctl_table *table, const Godwit__NodeState *node)
{
	const Godwit__NodeInfo *info = node->info;
	const Godwit__Telemetry *telemetry = node->telemetry;

	ctl_table_cell(table, "%s", node->site);
	ctl_table_cell(table, "%s", node->name);
	ctl_table_cell(table, "%s", node->state);
	ctl_table_cell(table, "%" PRIu32, node->tasks_running);
	ctl_table_cell(table, "%s/%" PRIu32, ctl_milli(node->cpu_milli_used).text,
		       info ? info->cpu_count : 0);
	ctl_table_cell(table, "%s", telemetry ? ctl_share(telemetry->cpu_busy_ppm).text : "");
	ctl_table_cell(table, "%s/%s", ctl_bytes(node->memory_bytes_used).text,
		       ctl_bytes(info ? info->memory_bytes : 0).text);
	ctl_table_cell(table, "%s",
		       telemetry ? ctl_bytes(telemetry->memory_available_bytes).text : "");
	ctl_table_cell(table, "%s", telemetry ? ctl_bytes(telemetry->disk_free_bytes).text : "");
	device_cell(table, info);
	ctl_table_cell(table, "%s", node->rtt_us > 0 ? ctl_duration(node->rtt_us).text : "");
	ctl_table_cell(table, "%s", ctl_duration(node->silent_us).text);
	ctl_table_cell(table, "%s", node->reason);
}

static void show_nodes(const Godwit__SitesReply *reply)
{
	static const char *const headings[] = {"SITE",  "NODE",    "STATE", "-TASKS", "-CPU",
					       "-BUSY", "-MEMORY", "-FREE", "-DISK",  "DEVICES",
					       "-RTT",  "-SILENT", "NOTE",  NULL};
	struct ctl_table table;

	ctl_table_init(&table, headings);
	for (size_t i = 0; i < reply->n_nodes; i++)
		node_row(&table, reply->nodes[i]);
	ctl_table_print(&table);
}

/* Nodes that came back lately, and whether that host was up all the time. */
static void show_returns(const Godwit__SitesReply *reply)
{
	uint32_t lines = 0;

	for (size_t i = 0; i < reply->n_nodes; i++) {
		const Godwit__NodeState *node = reply->nodes[i];

		if (node->back_us == 0 || node->back_us > RETURN_US_MAX)
			continue;
		if (lines++ == RETURNS_MAX) {
			(void)printf("Others came back too; --json holds them all.\n");
			return;
		}
		if (node->rebooted)
			(void)printf("%sThe host of %s was rebooted, and is back for %s.\n",
				     lines == 1 ? "\n" : "", node->name,
				     ctl_duration(node->back_us).text);
		else
			(void)printf("%s%s was cut off for %s, and is back for %s.\n",
				     lines == 1 ? "\n" : "", node->name,
				     ctl_duration(node->away_us).text,
				     ctl_duration(node->back_us).text);
	}
}

/* Distinct names of sites in the pairs, at most MATRIX_SITES_MAX + 1. */
static uint32_t sites_of(const Godwit__SitesReply *reply, const char **ret_names)
{
	uint32_t count = 0;

	for (size_t i = 0; i < 2 * reply->n_pairs && count <= MATRIX_SITES_MAX; i++) {
		const Godwit__SitePair *pair = reply->pairs[i / 2];
		const char *name = i % 2 == 0 ? pair->from : pair->to;
		uint32_t j = 0;

		while (j < count && strcmp(ret_names[j], name) != 0)
			j++;
		if (j == count)
			ret_names[count++] = name;
	}
	return count;
}

static const Godwit__SitePair *find_pair(const Godwit__SitesReply *reply, const char *from,
					 const char *to)
{
	for (size_t i = 0; i < reply->n_pairs; i++) {
		if (strcmp(reply->pairs[i]->from, from) == 0 &&
		    strcmp(reply->pairs[i]->to, to) == 0)
			return reply->pairs[i];
	}
	return NULL;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void show_matrix(const Godwit__SitesReply *reply, const char **names, uint32_t count)
{
	char titles[MATRIX_SITES_MAX][GW_NAME_BYTES_MAX + 2];
	const char *headings[MATRIX_SITES_MAX + 2] = {"RTT"};
	struct ctl_table table;

	qsort(names, count, sizeof(*names), compare_names);
	for (uint32_t i = 0; i < count; i++) {
		(void)snprintf(titles[i], sizeof(titles[i]), "-%s", names[i]);
		headings[i + 1] = titles[i];
	}
	ctl_table_init(&table, headings);
	for (uint32_t row = 0; row < count; row++) {
		ctl_table_cell(&table, "%s", names[row]);
		for (uint32_t column = 0; column < count; column++) {
			const Godwit__SitePair *pair = find_pair(reply, names[row], names[column]);

			if (!pair || pair->rtt_us == 0)
				ctl_table_cell(&table, "%s", row == column ? "" : "?");
			else if (pair->loss_ppm == 0)
				ctl_table_cell(&table, "%s", ctl_duration(pair->rtt_us).text);
			else
				ctl_table_cell(&table, "%s, loss %s",
					       ctl_duration(pair->rtt_us).text,
					       ctl_share(pair->loss_ppm).text);
		}
	}
	ctl_table_print(&table);
}

static void show_pairs(const Godwit__SitesReply *reply)
{
	static const char *const headings[] = {"FROM", "TO", "-RTT", "-LOSS", "-AGE", NULL};
	struct ctl_table table;

	ctl_table_init(&table, headings);
	for (size_t i = 0; i < reply->n_pairs; i++) {
		const Godwit__SitePair *pair = reply->pairs[i];

		ctl_table_cell(&table, "%s", pair->from);
		ctl_table_cell(&table, "%s", pair->to);
		ctl_table_cell(&table, "%s", ctl_duration(pair->rtt_us).text);
		ctl_table_cell(&table, "%s", ctl_share(pair->loss_ppm).text);
		ctl_table_cell(&table, "%s", ctl_duration(pair->age_us).text);
	}
	ctl_table_print(&table);
}

static int sites(struct ctl *ctl)
{
	const char *names[MATRIX_SITES_MAX + 1];
	Godwit__SitesRequest ask = GODWIT__SITES_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__SitesReply *reply;
	const Godwit__Body *body;
	uint32_t count;

	ask.with_nodes = true;
	request.kind_case = GODWIT__BODY__KIND_SITES_REQUEST;
	request.sites_request = &ask;
	body = ctl_call(ctl, &request, GODWIT__BODY__KIND_SITES_REPLY);
	if (!body)
		return 1;
	reply = body->sites_reply;
	if (ctl->options->json)
		return ctl_print_message(&reply->base);
	if (reply->records_lost > 0)
		(void)fprintf(stderr,
			      "godwit: the scheduler has lost records: %s (%" PRIu32
			      " such signs). Its disk or its journal is not to be trusted.\n",
			      reply->records_lost_text, reply->records_lost);
	if (reply->n_nodes == 0) {
		(void)printf("Region %s has no nodes yet.\n", reply->region);
		return 0;
	}
	qsort(reply->nodes, reply->n_nodes, sizeof(*reply->nodes), compare_nodes);
	show_nodes(reply);
	show_returns(reply);
	count = sites_of(reply, names);
	if (count == 0)
		return 0;
	(void)printf("\n");
	if (count <= MATRIX_SITES_MAX)
		show_matrix(reply, names, count);
	else
		show_pairs(reply);
	return 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	struct ctl ctl;
	int code = ctl_open(&ctl, options);

	(void)command;
	(void)operand_count;
	(void)operands;
	if (code == 0)
		code = sites(&ctl);
	ctl_close(&ctl);
	return code;
}

static const char *const details[] = {
	"CPU and MEMORY are what jobs have reserved, of what the node gives to tasks; BUSY, FREE "
	"and "
	"DISK are measured on the host. RTT in the table of nodes is between agent and scheduler; "
	"the "
	"matrix holds what the agents measure between their sites. NOTE says why a node that is "
	"draining takes no work.",
	NULL,
};

const struct gw_command ctl_cmd_sites = {
	.name = "sites",
	.summary = "Show sites, their nodes, and the distances between them.",
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct ctl_options),
};
