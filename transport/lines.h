/*
 * Reads a small text file of "word value" lines after a header line, strictly: each call takes the
 * next line and says what it must be; the first thing that is not so is kept as the error. Fuzzed.
 */
#ifndef GODWIT_TRANSPORT_LINES_H
#define GODWIT_TRANSPORT_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/cert.h"
#include "transport/fault.h"

struct gw_lines {
	char *at; /* the text's rest; the text is changed while it is read */
	uint32_t line;
	struct gw_fault error; /* text[0] == 0: none yet */
};

/* Whether the text begins with this line: tells a file's forms apart. */
bool gw_lines_is(const char *text, const char *header);
void gw_lines_init(struct gw_lines *lines, char *text, const char *header);
/* Whether the next line begins with this word: for lines that may be there or not. */
bool gw_lines_has(const struct gw_lines *lines, const char *word);
void gw_lines_text(struct gw_lines *lines, const char *word, char *ret_text, size_t text_bytes);
/* A name in a certificate's sense; "-" stands for empty where that may be. */
void gw_lines_name(struct gw_lines *lines, const char *word, bool may_be_empty,
		   char ret_name[GW_NAME_BYTES_MAX + 1]);
void gw_lines_key(struct gw_lines *lines, const char *word, uint8_t ret_key[GW_KEY_BYTES]);
void gw_lines_id(struct gw_lines *lines, const char *word, struct gw_id *ret_id);
void gw_lines_number(struct gw_lines *lines, const char *word, int64_t *ret_number);
/* 0: all read, nothing left; -EINVAL with "path:line: ...". */
int gw_lines_end(struct gw_lines *lines, const char *path, struct gw_fault *fault);

#endif
