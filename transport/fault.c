/* A sentence in the caller's memory. */
#include "transport/fault.h"

#include <stdarg.h>
#include <stdio.h>

void gw_fault_set(struct gw_fault *fault, const char *format, ...)
{
	va_list args;

	if (!fault)
		return;
	va_start(args, format);
	(void)vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
}
