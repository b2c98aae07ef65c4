/* Scenario files: a schema table, and what a table cannot say (names known, delays sensible). */
#include "bench/wan/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/wan/params.h"

#define TIME_US_MAX (365ull * 24 * 3600 * 1000000)
#define SITE(member) .offset = offsetof(struct gw_scenario_site, member)
#define CUT(member) .offset = offsetof(struct gw_scenario_cut, member)
#define LINK(member) .offset = offsetof(struct gw_scenario_link, member)
#define TOP(member) .offset = offsetof(struct gw_scenario, member)

static const struct gw_schema site_schema[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 SITE(name),
	 .required = true,
	 .min = 1,
	 .max = GW_SCENARIO_NAME_BYTES_MAX,
	 .mark_offset = offsetof(struct gw_scenario_site, mark),
	 .help = "small letters and digits; its hosts are NAME1, NAME2 ..."},
	{.key = "hosts",
	 .type = GW_SCHEMA_COUNT,
	 SITE(hosts),
	 .fallback = "1",
	 .min = 1,
	 .max = GW_SCENARIO_HOSTS_MAX,
	 .help = "hosts of the site, each a namespace"},
	{.key = NULL},
};

static const struct gw_schema cut_schema[] = {
	{.key = "at",
	 .type = GW_SCHEMA_DURATION,
	 CUT(at_us),
	 .required = true,
	 .max = TIME_US_MAX,
	 .help = "from the start of the lab"},
	{.key = "for",
	 .type = GW_SCHEMA_DURATION,
	 CUT(for_us),
	 .required = true,
	 .max = TIME_US_MAX,
	 .help = "how long nothing passes, in both directions"},
	{.key = NULL},
};

static const struct gw_schema site_item = {.type = GW_SCHEMA_MAP, .fields = site_schema};
static const struct gw_schema cut_item = {.type = GW_SCHEMA_MAP, .fields = cut_schema};
static const struct gw_schema end_item = {
	.type = GW_SCHEMA_TEXT, .min = 1, .max = GW_SCENARIO_NAME_BYTES_MAX};

static const struct gw_schema link_schema[] = {
	{.key = "between",
	 .type = GW_SCHEMA_LIST,
	 LINK(between),
	 .required = true,
	 .min = 2,
	 .max = 2,
	 .item = &end_item,
	 .item_bytes = sizeof(const char *),
	 .mark_offset = offsetof(struct gw_scenario_link, mark),
	 .help = "two sites"},
	{.key = "there",
	 .type = GW_SCHEMA_MAP,
	 LINK(params[0]),
	 .required = true,
	 .fields = gw_params_schema,
	 .mark_offset = offsetof(struct gw_scenario_link, there_mark),
	 .help = "from the first site to the second"},
	{.key = "back",
	 .type = GW_SCHEMA_MAP,
	 LINK(params[1]),
	 .fields = gw_params_schema,
	 .mark_offset = offsetof(struct gw_scenario_link, back_mark),
	 .help = "from the second to the first; absent: as there"},
	{.key = "cuts",
	 .type = GW_SCHEMA_LIST,
	 LINK(cuts),
	 .max = GW_LINK_CUTS_MAX,
	 .item = &cut_item,
	 .item_bytes = sizeof(struct gw_scenario_cut),
	 .mark_offset = offsetof(struct gw_scenario_link, cuts_mark),
	 .help = "times at which nothing passes"},
	{.key = NULL},
};

static const struct gw_schema link_item = {.type = GW_SCHEMA_MAP, .fields = link_schema};

const struct gw_schema gw_scenario_schema[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 TOP(name),
	 .required = true,
	 .min = 1,
	 .max = GW_LAB_NAME_BYTES_MAX,
	 .mark_offset = offsetof(struct gw_scenario, name_mark),
	 .help = "the lab's name unless --name is given"},
	{.key = "seed",
	 .type = GW_SCHEMA_COUNT,
	 TOP(seed),
	 .fallback = "1",
	 .help = "of losses, jitter and reordering"},
	{.key = "emulator_cpu",
	 .type = GW_SCHEMA_COUNT,
	 TOP(emulator_cpu),
	 .max = UINT32_MAX,
	 .fallback = "4294967295",
	 .help = "pin the emulator to this CPU; default: not pinned"},
	{.key = "sites",
	 .type = GW_SCHEMA_LIST,
	 TOP(sites),
	 .required = true,
	 .min = 1,
	 .max = GW_SCENARIO_SITES_MAX,
	 .item = &site_item,
	 .item_bytes = sizeof(struct gw_scenario_site),
	 .help = "the data centres"},
	{.key = "links",
	 .type = GW_SCHEMA_LIST,
	 TOP(links),
	 .max = GW_SCENARIO_LINKS_MAX,
	 .item = &link_item,
	 .item_bytes = sizeof(struct gw_scenario_link),
	 .help = "the emulated WAN links"},
	{.key = NULL},
};

const struct gw_scenario_site *gw_scenario_site(const struct gw_scenario *scenario, uint32_t i)
{
	return (const struct gw_scenario_site *)scenario->sites.items + i;
}

const struct gw_scenario_link *gw_scenario_link(const struct gw_scenario *scenario, uint32_t i)
{
	return (const struct gw_scenario_link *)scenario->links.items + i;
}

bool gw_lab_name_is_good(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size <= GW_LAB_NAME_BYTES_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
		       size &&
	       name[0] != '-';
}

/* Names end in a letter, so that host 2 of site "a1" and host 12 of site "a" are two names. */
static int check_site(const struct gw_scenario *scenario, uint32_t i,
		      struct gw_parse_error *ret_error)
{
	const struct gw_scenario_site *site = gw_scenario_site(scenario, i);
	size_t size = strlen(site->name);

	if (strspn(site->name, "abcdefghijklmnopqrstuvwxyz0123456789") != size ||
	    (site->name[size - 1] >= '0' && site->name[size - 1] <= '9') ||
	    strcmp(site->name, "wan") == 0)
		return gw_parse_error_set(ret_error, site->mark,
					  "'%s' is no site name: expected small letters and "
					  "digits, a letter at the end, and not 'wan'",
					  site->name);
	for (uint32_t k = 0; k < i; k++) {
		if (strcmp(gw_scenario_site(scenario, k)->name, site->name) == 0)
			return gw_parse_error_set(ret_error, site->mark, "site '%s' stands twice",
						  site->name);
	}
	return 0;
}

static int find_ends(const struct gw_scenario *scenario, struct gw_scenario_link *link,
		     struct gw_parse_error *ret_error)
{
	const char *const *names = link->between.items;

	for (uint32_t end = 0; end < 2; end++) {
		uint32_t i = 0;

		while (i < scenario->sites.count &&
		       strcmp(gw_scenario_site(scenario, i)->name, names[end]) != 0)
			i++;
		if (i == scenario->sites.count)
			return gw_parse_error_set(ret_error, link->mark, "there is no site '%s'",
						  names[end]);
		link->sites[end] = i;
	}
	if (link->sites[0] == link->sites[1])
		return gw_parse_error_set(ret_error, link->mark, "a link from '%s' to itself",
					  names[0]);
	return 0;
}

static int check_cuts(const struct gw_scenario_link *link, struct gw_parse_error *ret_error)
{
	const struct gw_scenario_cut *cuts = link->cuts.items;
	struct gw_link model = {0};

	for (uint32_t i = 0; i < link->cuts.count; i++) {
		struct gw_link_cut cut = {.from_ns = cuts[i].at_us * 1000,
					  .until_ns = (cuts[i].at_us + cuts[i].for_us) * 1000};

		if (gw_link_add_cut(&model, 0, cut) < 0)
			return gw_parse_error_set(ret_error, link->cuts_mark,
						  "cut %u is empty or overlaps an earlier one",
						  i + 1);
	}
	return 0;
}

static int check_link(const struct gw_scenario *scenario, uint32_t i,
		      struct gw_parse_error *ret_error)
{
	struct gw_scenario_link *link = (struct gw_scenario_link *)scenario->links.items + i;
	int error = find_ends(scenario, link, ret_error);

	if (error < 0)
		return error;
	for (uint32_t k = 0; k < i; k++) {
		const struct gw_scenario_link *other = gw_scenario_link(scenario, k);

		if ((other->sites[0] == link->sites[0] && other->sites[1] == link->sites[1]) ||
		    (other->sites[0] == link->sites[1] && other->sites[1] == link->sites[0]))
			return gw_parse_error_set(ret_error, link->mark,
						  "these two sites have a link already");
	}
	if (link->back_mark.line == 0)
		link->params[1] = link->params[0];
	for (uint32_t k = 0; k < 2; k++) {
		const char *fault;

		gw_params_default_queue(&link->params[k]);
		fault = gw_link_params_fault(&link->params[k]);
		if (fault)
			return gw_parse_error_set(ret_error, k ? link->back_mark : link->there_mark,
						  "%s", fault);
	}
	return check_cuts(link, ret_error);
}

int gw_scenario_parse(struct gw_scenario *scenario, struct gw_arena *arena, const char *text,
		      size_t size, struct gw_parse_error *ret_error)
{
	int error;

	*scenario = (struct gw_scenario){0}; /* a key that is not given stays zero */
	error = gw_schema_parse(gw_scenario_schema, scenario, arena, text, size, ret_error);
	if (error < 0)
		return error;
	if (!gw_lab_name_is_good(scenario->name))
		return gw_parse_error_set(ret_error, scenario->name_mark,
					  "'%s' is no lab name: expected letters, digits and '-'",
					  scenario->name);
	for (uint32_t i = 0; i < scenario->sites.count && error == 0; i++)
		error = check_site(scenario, i, ret_error);
	for (uint32_t i = 0; i < scenario->links.count && error == 0; i++)
		error = check_link(scenario, i, ret_error);
	return error;
}
