/* One line on stderr for each event of note: "time=... event=spawned attempt=... pid=...". */
#ifndef GODWIT_TRANSPORT_LOG_H
#define GODWIT_TRANSPORT_LOG_H

#include "proto/base/id.h"

#define GW_ATTEMPT_TEXT_BYTES 64u

/* `format` gives the "key=value" pairs behind the event's name; a text with blanks is quoted there.
 * Control characters are shown as '?', a line too long is cut. */
void gw_log(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "region.epoch.counter/task/attempt" */
void gw_attempt_format(struct gw_attempt_id attempt, char ret_text[GW_ATTEMPT_TEXT_BYTES]);

#endif
