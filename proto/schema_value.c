/*
 * Scalars of a schema: one text becomes one value, with its unit and range. All number types are
 * decimals times a unit's scale, so one table of units serves them; no floating point is involved
 * (except in REAL), so what a person wrote is what is stored.
 *
 * A fraction has at most 6 places: the largest scale is 2^40, and 10^6 * 2^40 fits 64 bits.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/schema.h"

#define PLACES_MAX 6u
#define SHOWN_MAX 60 /* bytes of a wrong text that an error repeats */

struct unit {
	const char *name;
	uint64_t scale;
};

/* How the texts of one number type look. Units go from large to small. */
struct number {
	const char *noun;
	const char *expected;
	const struct unit *units;
	uint64_t max; /* 0: any */
	uint32_t places;
};

static const struct unit units_plain[] = {{"", 1}, {NULL, 0}};
static const struct unit units_milli[] = {{"", 1000}, {NULL, 0}};
static const struct unit units_fraction[] = {{"%", 10000}, {"", 1000000}, {NULL, 0}};
static const struct unit units_duration[] = {
	{"d", 86400000000}, {"h", 3600000000}, {"min", 60000000}, {"s", 1000000},
	{"ms", 1000},       {"us", 1},         {NULL, 0},
};
static const struct unit units_bytes[] = {
	{"TiB", 1ull << 40}, {"TB", 1000000000000}, {"GiB", 1ull << 30},
	{"GB", 1000000000},  {"MiB", 1ull << 20},   {"MB", 1000000},
	{"KiB", 1ull << 10}, {"KB", 1000},          {"B", 1},
	{NULL, 0},
};
static const struct unit units_rate[] = {
	{"Tb/s", 1000000000000}, {"Gb/s", 1000000000}, {"Mb/s", 1000000},
	{"kb/s", 1000},          {"bit/s", 1},         {NULL, 0},
};

static const struct number number_count = {"whole number", "a whole number", units_plain, 0, 0};
static const struct number number_milli = {"number", "a number with at most 3 decimals",
					   units_milli, 0, 3};
static const struct number number_duration = {"duration",
					      "a duration: a number and us, ms, s, min, h or d",
					      units_duration, 0, PLACES_MAX};
static const struct number number_bytes = {
	"size", "a size: a number and B, KB, MB, GB, TB, KiB, MiB, GiB or TiB", units_bytes, 0,
	PLACES_MAX};
static const struct number number_rate = {
	"rate", "a rate: a number and bit/s, kb/s, Mb/s, Gb/s or Tb/s", units_rate, 0, PLACES_MAX};
static const struct number number_fraction = {"fraction", "a fraction, as \"0.01 %\" or \"0.0001\"",
					      units_fraction, 1000000, PLACES_MAX};

/* NULL: not a number type of this table. */
static const struct number *number_of(enum gw_schema_type type)
{
	switch (type) {
	case GW_SCHEMA_COUNT:
		return &number_count;
	case GW_SCHEMA_MILLI:
		return &number_milli;
	case GW_SCHEMA_DURATION:
		return &number_duration;
	case GW_SCHEMA_BYTES:
		return &number_bytes;
	case GW_SCHEMA_RATE:
		return &number_rate;
	case GW_SCHEMA_FRACTION:
		return &number_fraction;
	case GW_SCHEMA_TEXT:
	case GW_SCHEMA_BOOL:
	case GW_SCHEMA_CHOICE:
	case GW_SCHEMA_REAL:
	case GW_SCHEMA_MAP:
	case GW_SCHEMA_LIST:
	case GW_SCHEMA_PAIRS:
		break;
	}
	return NULL;
}

int gw_parse_error_set(struct gw_parse_error *ret_error, struct gw_mark mark, const char *format,
		       ...)
{
	va_list args;

	ret_error->mark = mark;
	va_start(args, format);
	(void)vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
	va_end(args);
	/* An error repeats what was found; it must stay one line and never steer a terminal. */
	for (char *at = ret_error->text; *at; at++) {
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	}
	return -EINVAL;
}

void gw_parse_error_format(const struct gw_parse_error *error, const char *file, char *ret_text,
			   size_t size)
{
	if (error->mark.line > 0)
		(void)snprintf(ret_text, size, "%s:%" PRIu32 ":%" PRIu32 ": %s", file,
			       error->mark.line, error->mark.column, error->text);
	else
		(void)snprintf(ret_text, size, "%s: %s", file, error->text);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits into a number; stops at the first other character. False: past 64 bits. */
static bool read_digits(const char **text, uint64_t *ret_value, uint32_t *ret_count)
{
	const char *at = *text;
	uint64_t value = 0;
	uint32_t count = 0;

	for (; is_digit(*at); at++, count++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return false;
	}
	*text = at;
	*ret_value = value;
	*ret_count = count;
	return true;
}

/* "12.5 ms" -> whole 12, fraction 5 of 10; text is left at the unit. False: not such a number. */
static bool read_decimal(const char **text, uint32_t places, uint64_t *ret_whole,
			 uint64_t *ret_fraction, uint64_t *ret_divisor)
{
	uint32_t whole_digits;
	uint32_t fraction_digits = 0;

	*ret_fraction = 0;
	*ret_divisor = 1;
	if (!read_digits(text, ret_whole, &whole_digits) || whole_digits == 0)
		return false;
	if (**text == '.') {
		(*text)++;
		if (!read_digits(text, ret_fraction, &fraction_digits) || fraction_digits == 0 ||
		    fraction_digits > places)
			return false;
	}
	for (uint32_t i = 0; i < fraction_digits; i++)
		*ret_divisor *= 10;
	while (**text == ' ')
		(*text)++;
	return true;
}

/* False: not a number of this kind, or too large, or too small for the stored unit. */
static bool read_number(const struct number *number, const char *text, uint64_t *ret_value)
{
	uint64_t whole;
	uint64_t fraction;
	uint64_t divisor;
	uint64_t value;

	if (!read_decimal(&text, number->places, &whole, &fraction, &divisor))
		return false;
	if (*text == '\0' && whole == 0 && fraction == 0) {
		*ret_value = 0;
		return true;
	}
	for (const struct unit *unit = number->units; unit->name; unit++) {
		if (strcmp(unit->name, text) != 0)
			continue;
		if (__builtin_mul_overflow(whole, unit->scale, &value) ||
		    __builtin_add_overflow(value, fraction * unit->scale / divisor, &value))
			return false;
		if (value == 0 && fraction > 0)
			return false;
		*ret_value = value;
		return true;
	}
	return false;
}

void gw_schema_format(const struct gw_schema *field, uint64_t value, char *ret_text, size_t size)
{
	const struct number *number = number_of(field->type);

	if (field->type == GW_SCHEMA_CHOICE) {
		(void)snprintf(ret_text, size, "%s", field->choices[value]);
	} else if (field->type == GW_SCHEMA_MILLI) {
		int length = snprintf(ret_text, size, "%" PRIu64 ".%03" PRIu64, value / 1000,
				      value % 1000);

		CHECK(length > 0 && (size_t)length < size);
		while (ret_text[length - 1] == '0')
			ret_text[--length] = '\0';
		if (ret_text[length - 1] == '.')
			ret_text[length - 1] = '\0';
	} else if (field->type == GW_SCHEMA_FRACTION) {
		(void)snprintf(ret_text, size, "%g %%", (double)value / 10000.0);
	} else if (!number || value == 0) {
		(void)snprintf(ret_text, size, "%" PRIu64, value);
	} else {
		const struct unit *unit = number->units;

		while (value % unit->scale != 0)
			unit++;
		(void)snprintf(ret_text, size, "%" PRIu64 "%s%s", value / unit->scale,
			       *unit->name ? " " : "", unit->name);
	}
}

static void join_choices(const char *const *choices, char *ret_text, size_t size)
{
	size_t used = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; choices[i] && used + 1 < size; i++) {
		int length = snprintf(ret_text + used, size - used, "%s%s", i > 0 ? ", " : "",
				      choices[i]);

		CHECK(length >= 0);
		used += (size_t)length;
	}
}

/* "1 s to 365 d", "at least 1", or nothing. */
static void describe_range(const struct gw_schema *field, char *ret_text, size_t size)
{
	char low[32];
	char high[32];

	ret_text[0] = '\0';
	gw_schema_format(field, field->min, low, sizeof(low));
	gw_schema_format(field, field->max, high, sizeof(high));
	if (field->max > 0)
		(void)snprintf(ret_text, size, "%s to %s", low, high);
	else if (field->min > 0)
		(void)snprintf(ret_text, size, "at least %s", low);
}

/* Types that are not in the table of numbers. */
static const char *noun_of(enum gw_schema_type type)
{
	switch (type) {
	case GW_SCHEMA_TEXT:
		return "text";
	case GW_SCHEMA_BOOL:
		return "true or false";
	case GW_SCHEMA_REAL:
		return "real number";
	case GW_SCHEMA_MAP:
		return "map";
	case GW_SCHEMA_LIST:
		return "list";
	case GW_SCHEMA_PAIRS:
		return "map, or list of NAME=value";
	case GW_SCHEMA_CHOICE:
	case GW_SCHEMA_COUNT:
	case GW_SCHEMA_MILLI:
	case GW_SCHEMA_DURATION:
	case GW_SCHEMA_BYTES:
	case GW_SCHEMA_RATE:
	case GW_SCHEMA_FRACTION:
		break;
	}
	return "value";
}

static void describe_one(const struct gw_schema *field, char *ret_text, size_t size)
{
	const struct number *number = number_of(field->type);
	char range[200];

	if (field->type == GW_SCHEMA_CHOICE) {
		join_choices(field->choices, range, sizeof(range));
		(void)snprintf(ret_text, size, "one of %s", range);
	} else if (number || field->type == GW_SCHEMA_REAL) {
		describe_range(field, range, sizeof(range));
		(void)snprintf(ret_text, size, "%s%s%s", number ? number->noun : "real number",
			       *range ? ", " : "", range);
	} else {
		(void)snprintf(ret_text, size, "%s", noun_of(field->type));
	}
}

void gw_schema_describe(const struct gw_schema *field, char *ret_text, size_t size)
{
	char item[240];

	if (field->type == GW_SCHEMA_LIST) {
		describe_one(field->item, item, sizeof(item));
		(void)snprintf(ret_text, size, "list of %s%s", item,
			       field->item->type == GW_SCHEMA_MAP ? "s" : "");
	} else {
		describe_one(field, ret_text, size);
	}
}

static int wrong(struct gw_parse_error *ret_error, const char *text, const char *expected)
{
	static const struct gw_mark none;

	return gw_parse_error_set(ret_error, none, "found \"%.*s\", expected %s", SHOWN_MAX, text,
				  expected);
}

static int out_of_range(const struct gw_schema *field, const char *text,
			struct gw_parse_error *ret_error)
{
	char range[80];

	describe_range(field, range, sizeof(range));
	return wrong(ret_error, text, range);
}

static int parse_text(const struct gw_schema *field, const char *text, struct gw_arena *arena,
		      void *ret_value, struct gw_parse_error *ret_error)
{
	static const struct gw_mark none;
	size_t length = strlen(text);
	const char *copy;

	if (length < field->min)
		return gw_parse_error_set(ret_error, none,
					  "found a text of %zu bytes, expected at least %" PRIu64,
					  length, field->min);
	if (field->max > 0 && length > field->max)
		return gw_parse_error_set(ret_error, none,
					  "found a text of %zu bytes, expected at most %" PRIu64,
					  length, field->max);
	copy = gw_arena_copy(arena, text, length + 1);
	if (!copy)
		return gw_parse_error_set(ret_error, none, "the whole is too large");
	memcpy(ret_value, &copy, sizeof(copy));
	return 0;
}

static int parse_bool(const char *text, void *ret_value, struct gw_parse_error *ret_error)
{
	bool value = strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;

	if (!value && strcmp(text, "false") != 0 && strcmp(text, "no") != 0)
		return wrong(ret_error, text, "true or false");
	memcpy(ret_value, &value, sizeof(value));
	return 0;
}

static int parse_choice(const struct gw_schema *field, const char *text, void *ret_value,
			struct gw_parse_error *ret_error)
{
	char expected[200] = "one of ";
	uint64_t value;

	for (value = 0; field->choices[value]; value++) {
		if (strcmp(field->choices[value], text) == 0) {
			memcpy(ret_value, &value, sizeof(value));
			return 0;
		}
	}
	gw_schema_describe(field, expected, sizeof(expected));
	return wrong(ret_error, text, expected);
}

static int parse_real(const struct gw_schema *field, const char *text, void *ret_value,
		      struct gw_parse_error *ret_error)
{
	char *end = NULL;
	double value;

	/* strtod also reads "nan", "inf", hexadecimal and leading spaces: none of them is meant. */
	if (*text == '\0' || strspn(text, "0123456789.eE+-") != strlen(text))
		return wrong(ret_error, text, "a number");
	value = strtod(text, &end);
	if (*end != '\0' || !isfinite(value))
		return wrong(ret_error, text, "a number");
	if ((field->min > 0 && value < (double)field->min) ||
	    (field->max > 0 && (value < (double)field->min || value > (double)field->max)))
		return out_of_range(field, text, ret_error);
	memcpy(ret_value, &value, sizeof(value));
	return 0;
}

static int parse_number(const struct gw_schema *field, const char *text, void *ret_value,
			struct gw_parse_error *ret_error)
{
	const struct number *number = number_of(field->type);
	uint64_t max = field->max > 0 ? field->max : number->max;
	uint64_t value;

	if (!read_number(number, text, &value))
		return wrong(ret_error, text, number->expected);
	if (value < field->min || (max > 0 && value > max)) {
		struct gw_schema bounded = *field;

		bounded.max = max;
		return out_of_range(&bounded, text, ret_error);
	}
	memcpy(ret_value, &value, sizeof(value));
	return 0;
}

int gw_schema_parse_value(const struct gw_schema *field, const char *text, struct gw_arena *arena,
			  void *ret_value, struct gw_parse_error *ret_error)
{
	switch (field->type) {
	case GW_SCHEMA_TEXT:
		return parse_text(field, text, arena, ret_value, ret_error);
	case GW_SCHEMA_BOOL:
		return parse_bool(text, ret_value, ret_error);
	case GW_SCHEMA_CHOICE:
		return parse_choice(field, text, ret_value, ret_error);
	case GW_SCHEMA_REAL:
		return parse_real(field, text, ret_value, ret_error);
	case GW_SCHEMA_COUNT:
	case GW_SCHEMA_MILLI:
	case GW_SCHEMA_DURATION:
	case GW_SCHEMA_BYTES:
	case GW_SCHEMA_RATE:
	case GW_SCHEMA_FRACTION:
		return parse_number(field, text, ret_value, ret_error);
	case GW_SCHEMA_MAP:
	case GW_SCHEMA_LIST:
	case GW_SCHEMA_PAIRS:
		break;
	}
	return wrong(ret_error, text, field->type == GW_SCHEMA_MAP ? "a map" : "a list");
}

void *gw_schema_list_add(struct gw_schema_list *list, size_t item_bytes, struct gw_arena *arena)
{
	uint8_t *at;

	/* Room is always the next power of two, so the count alone says when it is used up. */
	if ((list->count & (list->count - 1)) == 0) {
		size_t room = list->count > 0 ? 2 * (size_t)list->count : 1;
		void *items = gw_arena_alloc(arena, room * item_bytes);

		if (!items)
			return NULL;
		if (list->count > 0)
			memcpy(items, list->items, list->count * item_bytes);
		list->items = items;
	}
	at = (uint8_t *)list->items + list->count * item_bytes;
	memset(at, 0, item_bytes);
	list->count++;
	return at;
}

/* Levenshtein's distance, one row at a time; alike if at most a third of the known text differs. */
uint32_t gw_text_distance(const char *found, const char *known)
{
	uint32_t row[65];
	size_t found_length = strlen(found);
	size_t known_length = strlen(known);

	if (found_length > 64 || known_length > 64)
		return UINT32_MAX;
	for (uint32_t j = 0; j <= known_length; j++)
		row[j] = j;
	for (uint32_t i = 1; i <= found_length; i++) {
		uint32_t diagonal = row[0];

		row[0] = i;
		for (uint32_t j = 1; j <= known_length; j++) {
			uint32_t best = diagonal + (found[i - 1] != known[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	if (row[known_length] > 1 + known_length / 3)
		return UINT32_MAX;
	return row[known_length];
}
