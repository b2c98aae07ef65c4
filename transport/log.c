/* Lines for a person and for a collector; written whole, so that lines of two writers do not mix.
 */
#include "transport/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 1024u

void gw_log(const char *event, const char *format, ...)
{
	char line[LINE_BYTES];
	struct timespec now;
	struct tm calendar;
	size_t length;
	va_list arguments;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
	(void)gmtime_r(&now.tv_sec, &calendar);
	length = strftime(line, sizeof(line), "time=%FT%T", &calendar);
	length += (size_t)snprintf(line + length, sizeof(line) - length, ".%03ldZ event=%.40s ",
				   now.tv_nsec / 1000000, event);
	va_start(arguments, format);
	/* Cut at the size. */
	(void)vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	length = strlen(line);
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 127)
			line[i] = '?';
	line[length++] = '\n';
	(void)!write(STDERR_FILENO, line, length); /* there is nowhere to say that it failed */
}

void gw_attempt_format(struct gw_attempt_id attempt, char ret_text[GW_ATTEMPT_TEXT_BYTES])
{
	char job[GW_ID_TEXT_BYTES];

	gw_id_format(attempt.job.id, job);
	(void)snprintf(ret_text, GW_ATTEMPT_TEXT_BYTES, "%s/%u/%u", job, attempt.task_index,
		       attempt.attempt); /* fits: 39 + 2 * 11 */
}
