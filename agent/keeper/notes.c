/* Owned copies of a few sentences. */
#include "agent/keeper/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void gw_notes_add(struct gw_notes *notes, const char *format, ...)
{
	va_list arguments;
	char *text;
	int size;

	if (notes->count >= GW_NOTES_MAX)
		return;
	va_start(arguments, format);
	size = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (size >= 0)
		notes->texts[notes->count++] = text;
}

void gw_notes_deinit(struct gw_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->texts[i]);
	notes->count = 0;
}
