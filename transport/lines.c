/* Strict reading of small text files. Values are never printed: some are secrets. */
#include "transport/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

static bool failed(const struct gw_lines *lines)
{
	return lines->error.text[0] != '\0';
}

static char *next_line(struct gw_lines *lines)
{
	char *line = lines->at;
	char *end = strchr(line, '\n');

	lines->line++;
	if (!end)
		return NULL;
	*end = '\0';
	lines->at = end + 1;
	return line;
}

bool gw_lines_is(const char *text, const char *header)
{
	size_t size = strlen(header);

	return strncmp(text, header, size) == 0 && text[size] == '\n';
}

bool gw_lines_has(const struct gw_lines *lines, const char *word)
{
	size_t size = strlen(word);

	return !failed(lines) && strncmp(lines->at, word, size) == 0 && lines->at[size] == ' ';
}

void gw_lines_init(struct gw_lines *lines, char *text, const char *header)
{
	char *line;

	*lines = (struct gw_lines){.at = text};
	line = next_line(lines);
	if (!line || strcmp(line, header) != 0)
		gw_fault_set(&lines->error, "expected the line \"%s\"", header);
}

/* The value of the next line, which must begin with the word; NULL: the error is set. */
static const char *value_of(struct gw_lines *lines, const char *word)
{
	size_t size = strlen(word);
	char *line;

	if (failed(lines))
		return NULL;
	line = next_line(lines);
	if (!line || strncmp(line, word, size) != 0 || line[size] != ' ') {
		gw_fault_set(&lines->error, "expected a line \"%s VALUE\"", word);
		return NULL;
	}
	return line + size + 1;
}

void gw_lines_text(struct gw_lines *lines, const char *word, char *ret_text, size_t text_bytes)
{
	const char *value = value_of(lines, word);

	if (!value)
		return;
	if (strlen(value) >= text_bytes) {
		gw_fault_set(&lines->error, "\"%s\" is longer than %zu bytes", word,
			     text_bytes - 1);
		return;
	}
	memcpy(ret_text, value, strlen(value) + 1);
}

void gw_lines_name(struct gw_lines *lines, const char *word, bool may_be_empty,
		   char ret_name[GW_NAME_BYTES_MAX + 1])
{
	const char *value = value_of(lines, word);

	if (!value)
		return;
	if (may_be_empty && strcmp(value, "-") == 0) {
		ret_name[0] = '\0';
		return;
	}
	if (!gw_cert_name_valid(value)) {
		gw_fault_set(&lines->error,
			     "\"%s\" must be a name of at most %u letters, digits, '.', '_', '-'",
			     word, GW_NAME_BYTES_MAX);
		return;
	}
	memcpy(ret_name, value, strlen(value) + 1);
}

void gw_lines_key(struct gw_lines *lines, const char *word, uint8_t ret_key[GW_KEY_BYTES])
{
	const char *value = value_of(lines, word);
	uint8_t key[GW_KEY_BYTES];
	size_t size = 0;

	if (!value)
		return;
	if (strlen(value) != 2 * (size_t)GW_KEY_BYTES ||
	    sodium_hex2bin(key, sizeof(key), value, strlen(value), NULL, &size, NULL) != 0 ||
	    size != GW_KEY_BYTES)
		gw_fault_set(&lines->error, "\"%s\" must be %u hexadecimal digits", word,
			     2 * GW_KEY_BYTES);
	else
		memcpy(ret_key, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
}

void gw_lines_id(struct gw_lines *lines, const char *word, struct gw_id *ret_id)
{
	const char *value = value_of(lines, word);

	if (value && !gw_id_parse_hex(value, ret_id))
		gw_fault_set(&lines->error, "\"%s\" must be %u hexadecimal digits", word,
			     2 * GW_ID_BYTES);
}

void gw_lines_number(struct gw_lines *lines, const char *word, int64_t *ret_number)
{
	const char *value = value_of(lines, word);
	char *end;
	long long number;

	if (!value)
		return;
	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0')
		gw_fault_set(&lines->error, "\"%s\" must be a whole number", word);
	else
		*ret_number = number;
}

int gw_lines_end(struct gw_lines *lines, const char *path, struct gw_fault *fault)
{
	if (!failed(lines) && *lines->at != '\0') {
		lines->line++;
		gw_fault_set(&lines->error, "expected the file's end");
	}
	if (!failed(lines))
		return 0;
	gw_fault_set(fault, "%s:%u: %s", path, lines->line, lines->error.text);
	return -EINVAL;
}
