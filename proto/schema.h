/*
 * YAML into structs, by tables. A schema table names each key once: its type, unit, range, default
 * and one line of help; the parser, `--check` and the man page come from it. libyaml supplies the
 * events; every value keeps its mark, so that a semantic error found later still has
 * file:line:column. No recursion: nesting is bounded by GW_SCHEMA_DEPTH_MAX. Anchors and aliases
 * are refused (a cyclic or exploding document cannot be written).
 */
#ifndef GODWIT_PROTO_SCHEMA_H
#define GODWIT_PROTO_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/arena.h"

#define GW_SCHEMA_DEPTH_MAX 8u
#define GW_SCHEMA_ITEMS_MAX 65536u /* elements of a list whose own max is 0 */

struct gw_mark {
	uint32_t line;   /* from 1; 0: the value was not given */
	uint32_t column; /* from 1 */
};

struct gw_parse_error {
	struct gw_mark mark;
	char text[512]; /* what was found and what was expected, without file:line:column */
};

enum gw_schema_type {
	GW_SCHEMA_TEXT,  /* const char * */
	GW_SCHEMA_BOOL,  /* bool */
	GW_SCHEMA_COUNT, /* uint64_t: plain integer */
	GW_SCHEMA_MILLI, /* uint64_t: decimal with up to 3 places, in thousandths ("1.5" -> 1500) */
	GW_SCHEMA_DURATION, /* uint64_t microseconds: us ms s min h d, decimals allowed; a bare 0 */
	GW_SCHEMA_BYTES,    /* uint64_t: B KB MB GB TB (powers of 1000), KiB MiB GiB TiB */
	GW_SCHEMA_RATE,     /* uint64_t bit/s: bit/s kb/s Mb/s Gb/s Tb/s */
	GW_SCHEMA_FRACTION, /* uint64_t parts per million: "0.01 %" or "0.0001" */
	GW_SCHEMA_CHOICE,   /* uint64_t: index into choices */
	GW_SCHEMA_REAL,     /* double */
	GW_SCHEMA_MAP,      /* nested struct, inline */
	GW_SCHEMA_LIST,     /* struct gw_schema_list of `item` */
	GW_SCHEMA_PAIRS,    /* struct gw_schema_list of const char *, each "NAME=value"; written as
			       a map or as a list of such texts; no name twice */
};

/* A list's elements: contiguous, in the arena; element type is the item's C type, or its struct. */
struct gw_schema_list {
	void *items;
	uint32_t count;
};

struct gw_schema {
	const char *key; /* as in the file; NULL in a list's item */
	enum gw_schema_type type;
	size_t offset;        /* of the value in the struct */
	size_t mark_offset;   /* of a struct gw_mark beside it; 0: no mark kept. A struct that keeps
				 marks therefore never has one as its first member */
	const char *help;     /* one line; NULL in a key that is gone: */
	const char *gone;     /* what to write instead, when the key is found; NULL: it is known */
	bool required;        /* the key must be there; within a map: if the map is there */
	const char *fallback; /* the default as it would be written; NULL: zero */
	uint64_t min; /* numbers: inclusive range, in the stored unit; max 0: the type's own */
	uint64_t max; /* texts: length in bytes; lists and pairs: element count */
	const char *const *choices;     /* NULL-ended */
	const struct gw_schema *fields; /* MAP: key-NULL-ended table of the nested struct */
	const struct gw_schema *item;   /* LIST: one entry describing an element (offset 0) */
	size_t item_bytes;              /* LIST: sizeof an element */
};

/*
 * Reads one document of `size` bytes into `ret_struct`, which the caller zeroed (fields as in the
 * table, which has at most 63 entries and ends with a key of NULL). An empty document is an empty
 * map. Texts and lists live in the arena. 0; -EINVAL: ret_error says where and what, ret_struct is
 * undefined. Unknown keys, doubled keys, wrong types, values out of range and a second document are
 * errors; an unknown key's message names the nearest known one.
 */
int gw_schema_parse(const struct gw_schema *fields, void *ret_struct, struct gw_arena *arena,
		    const char *text, size_t size, struct gw_parse_error *ret_error);

/* Formats "file:line:column: text" (without line and column if the mark has none). */
void gw_parse_error_format(const struct gw_parse_error *error, const char *file, char *ret_text,
			   size_t size);
/* Fills an error for a value that is wrong for a reason only its reader knows. Returns -EINVAL. */
int gw_parse_error_set(struct gw_parse_error *ret_error, struct gw_mark mark, const char *format,
		       ...) __attribute__((format(printf, 3, 4)));

/* Puts every default of the table, nested maps included, into a zeroed struct. -EINVAL: the arena
 * is full. */
int gw_schema_defaults(const struct gw_schema *fields, void *ret_struct, struct gw_arena *arena);

/* One value of one of the scalar types, from a command line; same units and ranges. 0 or -EINVAL
 * with the text in ret_error (no mark). `ret_value` as the type's C type. */
int gw_schema_parse_value(const struct gw_schema *field, const char *text, struct gw_arena *arena,
			  void *ret_value, struct gw_parse_error *ret_error);

/* A zeroed element at the end of the list; NULL: the arena is full. Earlier elements move. */
void *gw_schema_list_add(struct gw_schema_list *list, size_t item_bytes, struct gw_arena *arena);

/* Writes a value of a number type or CHOICE exactly, in the largest unit that divides it. */
void gw_schema_format(const struct gw_schema *field, uint64_t value, char *ret_text, size_t size);
/* What a value looks like: "duration, 1 s to 365 d", "one of none, pack". */
void gw_schema_describe(const struct gw_schema *field, char *ret_text, size_t size);

/* A measure of unlikeness for "did you mean": 0 equal; UINT32_MAX: not alike. */
uint32_t gw_text_distance(const char *found, const char *known);

#endif
