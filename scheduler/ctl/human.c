/* Numbers as a person reads them: two or three digits and a unit. Exact values are in --json. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "scheduler/ctl/ctl.h"

struct ctl_text ctl_duration(uint64_t us)
{
	struct ctl_text text;
	uint64_t s = us / GW_US_PER_S;

	if (us < 1000)
		(void)snprintf(text.text, sizeof(text.text), "%" PRIu64 " us", us);
	else if (us < GW_US_PER_S)
		(void)snprintf(text.text, sizeof(text.text), "%.3g ms", (double)us / 1e3);
	else if (s < 60)
		(void)snprintf(text.text, sizeof(text.text), "%.3g s", (double)us / 1e6);
	else if (s < 3600)
		(void)snprintf(text.text, sizeof(text.text), "%" PRIu64 " min %" PRIu64 " s",
			       s / 60, s % 60);
	else if (s < 86400)
		(void)snprintf(text.text, sizeof(text.text), "%" PRIu64 " h %" PRIu64 " min",
			       s / 3600, s / 60 % 60);
	else
		(void)snprintf(text.text, sizeof(text.text), "%" PRIu64 " d %" PRIu64 " h",
			       s / 86400, s / 3600 % 24);
	return text;
}

static struct ctl_text scaled(double value, double base, const char *const *units)
{
	struct ctl_text text;

	/* At 999.5 three digits would round up to "1e+03". */
	while (value >= (base < 1024 ? 999.5 : 1023.5) && units[1]) {
		value /= base;
		units++;
	}
	(void)snprintf(text.text, sizeof(text.text), value < 1000 ? "%.3g %s" : "%.4g %s", value,
		       *units);
	return text;
}

struct ctl_text ctl_bytes(uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", NULL};

	return scaled((double)bytes, 1024, units);
}

struct ctl_text ctl_rate(uint64_t bytes_per_s)
{
	static const char *const units[] = {"B/s", "KB/s", "MB/s", "GB/s", "TB/s", NULL};

	return scaled((double)bytes_per_s, 1000, units);
}

struct ctl_text ctl_share(double ppm)
{
	struct ctl_text text;

	(void)snprintf(text.text, sizeof(text.text), "%.3g %%", ppm / 1e4);
	return text;
}

struct ctl_text ctl_milli(uint64_t milli)
{
	struct ctl_text text;

	(void)snprintf(text.text, sizeof(text.text), "%.6g", (double)milli / 1e3);
	return text;
}

struct ctl_text ctl_job_id(ProtobufCBinaryData bytes)
{
	struct ctl_text text = {"?"};
	struct gw_id id;

	if (gw_wire_read_id(bytes, &id))
		gw_id_format(id, text.text);
	return text;
}

struct ctl_text ctl_since(int64_t wall_us)
{
	struct timespec now;
	int64_t passed_us;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		now = (struct timespec){0};
	passed_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - wall_us;
	return ctl_duration(passed_us > 0 ? (uint64_t)passed_us : 0);
}

void ctl_clean(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}
