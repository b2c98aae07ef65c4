/*
 * Arbitrary bytes as a lab's scenario: an error with a text, or links that the model accepts and
 * names and routes that fit where they are written.
 */
#include <stddef.h>
#include <stdint.h>

#include "bench/wan/scenario.h"
#include "bench/wan/topology.h"
#include "proto/base/check.h"

#define ARENA_BYTES_MAX (4u << 20)
#define LINES_BYTES_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_topology(const struct gw_scenario *scenario)
{
	struct gw_topology topology;
	struct gw_buf lines;

	for (uint32_t i = 0; i < scenario->links.count; i++) {
		const struct gw_scenario_link *link = gw_scenario_link(scenario, i);

		CHECK(link->sites[0] < scenario->sites.count);
		CHECK(link->sites[1] < scenario->sites.count);
		CHECK(gw_link_params_fault(&link->params[0]) == NULL);
		CHECK(gw_link_params_fault(&link->params[1]) == NULL);
	}
	gw_topology_init(&topology, scenario->name, scenario);
	gw_buf_init(&lines, LINES_BYTES_MAX);
	CHECK(gw_topology_namespaces(&topology, &lines) == 0);
	CHECK(gw_topology_wires(&topology, &lines) == 0);
	for (uint32_t site = 0; site < scenario->sites.count; site++)
		CHECK(gw_topology_router(&topology, site, &lines) == 0);
	gw_buf_deinit(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_parse_error error = {0};
	struct gw_scenario scenario;
	struct gw_arena arena;

	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (gw_scenario_parse(&scenario, &arena, (const char *)data, size, &error) < 0)
		CHECK(error.text[0] != '\0');
	else
		check_topology(&scenario);
	gw_arena_deinit(&arena);
	return 0;
}
