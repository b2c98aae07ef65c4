/*
 * Tables for a terminal: cells are collected, then printed with each column as wide as its widest
 * cell. The last column is not padded. States are coloured, on a terminal only.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "scheduler/ctl/ctl.h"

#define TABLE_BYTES_MAX (64u << 20)
#define CELL_BYTES_MAX 1024u
#define COLUMNS_MAX 32u
#define GAP 2

static const struct {
	const char *state;
	const char *colour;
} colours[] = {
	{"succeeded", "\033[32m"}, {"running", "\033[32m"}, {"up", "\033[32m"},
	{"ready", "\033[32m"},     {"failed", "\033[31m"},  {"lost", "\033[31m"},
	{"cancelled", "\033[33m"}, {"unknown", "\033[33m"}, {"waiting", "\033[33m"},
};

bool ctl_is_terminal(FILE *file)
{
	return isatty(fileno(file)) == 1;
}

void ctl_table_init(struct ctl_table *table, const char *const *headings)
{
	*table = (struct ctl_table){.headings = headings};
	gw_arena_init(&table->arena, TABLE_BYTES_MAX);
	while (headings[table->columns])
		table->columns++;
	CHECK(table->columns <= COLUMNS_MAX);
}

void ctl_table_cell(struct ctl_table *table, const char *format, ...)
{
	char text[CELL_BYTES_MAX];
	const char **cell;
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ctl_clean(text);
	cell = gw_schema_list_add(&table->cells, sizeof(*cell), &table->arena);
	if (cell)
		*cell = gw_arena_copy(&table->arena, text, strlen(text) + 1);
	if (!cell || !*cell)
		table->full = true;
}

static const char *colour_of(const char *cell)
{
	for (size_t i = 0; i < GW_ARRAY_COUNT(colours); i++) {
		if (strcmp(colours[i].state, cell) == 0)
			return colours[i].colour;
	}
	return NULL;
}

static void print_row(const struct ctl_table *table, const char *const *cells, const size_t *widths,
		      bool coloured)
{
	for (uint32_t i = 0; i < table->columns; i++) {
		bool right = table->headings[i][0] == '-';
		const char *cell = cells[i] + (cells == table->headings && right);
		const char *colour = coloured ? colour_of(cell) : NULL;
		size_t length = strlen(cell);
		int padding = (int)(widths[i] - length);

		if (right)
			(void)printf("%*s", padding, "");
		if (coloured && cells == table->headings)
			colour = "\033[1m";
		(void)printf("%s%s%s", colour ? colour : "", cell, colour ? "\033[0m" : "");
		if (i + 1 < table->columns)
			(void)printf("%*s", right ? GAP : padding + GAP, "");
	}
	(void)printf("\n");
}

void ctl_table_print(struct ctl_table *table)
{
	const char *const *cells = table->cells.items;
	bool coloured = ctl_is_terminal(stdout);
	size_t widths[COLUMNS_MAX] = {0};

	if (table->full) {
		(void)printf("(too much for one table; --json shows it)\n");
		gw_arena_deinit(&table->arena);
		return;
	}
	CHECK(table->cells.count % table->columns == 0);
	for (uint32_t i = 0; i < table->columns; i++)
		widths[i] = strlen(table->headings[i]) - (table->headings[i][0] == '-');
	for (uint32_t i = 0; i < table->cells.count; i++) {
		size_t length = strlen(cells[i]);

		if (length > widths[i % table->columns])
			widths[i % table->columns] = length;
	}
	print_row(table, table->headings, widths, coloured);
	for (uint32_t i = 0; i < table->cells.count; i += table->columns)
		print_row(table, cells + i, widths, coloured);
	gw_arena_deinit(&table->arena);
}
