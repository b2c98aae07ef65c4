/* A few sentences, for what could not be done: "memory: why". */
#ifndef GODWIT_AGENT_KEEPER_NOTES_H
#define GODWIT_AGENT_KEEPER_NOTES_H

#include <stddef.h>

#define GW_NOTES_MAX 8u

struct gw_notes {
	char *texts[GW_NOTES_MAX];
	size_t count;
};

/* Past GW_NOTES_MAX, and without memory, the sentence is dropped: there are fewer limits than that.
 */
void gw_notes_add(struct gw_notes *notes, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void gw_notes_deinit(struct gw_notes *notes);

#endif
