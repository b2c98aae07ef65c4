#include "proto/rlimit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "proto/base/check.h"

/* Once for the table and once for the sentence that lists them. */
#define NAMES(NAME)                                                                                \
	NAME("as", RLIMIT_AS)                                                                      \
	NAME("core", RLIMIT_CORE)                                                                  \
	NAME("cpu", RLIMIT_CPU)                                                                    \
	NAME("data", RLIMIT_DATA)                                                                  \
	NAME("fsize", RLIMIT_FSIZE)                                                                \
	NAME("memlock", RLIMIT_MEMLOCK)                                                            \
	NAME("msgqueue", RLIMIT_MSGQUEUE)                                                          \
	NAME("nice", RLIMIT_NICE)                                                                  \
	NAME("nofile", RLIMIT_NOFILE)                                                              \
	NAME("nproc", RLIMIT_NPROC)                                                                \
	NAME("rtprio", RLIMIT_RTPRIO)                                                              \
	NAME("rttime", RLIMIT_RTTIME)                                                              \
	NAME("sigpending", RLIMIT_SIGPENDING)                                                      \
	NAME("stack", RLIMIT_STACK)
#define ROW(name, resource) {name, resource},
#define WORD(name, resource) " " name

static const struct {
	const char *name;
	int resource;
} names[] = {NAMES(ROW)};

int gw_rlimit_find(const char *name, size_t size, const char **ret_name)
{
	for (size_t i = 0; i < GW_ARRAY_COUNT(names); i++) {
		if (strlen(names[i].name) != size || memcmp(name, names[i].name, size) != 0)
			continue;
		if (ret_name)
			*ret_name = names[i].name;
		return names[i].resource;
	}
	return -1;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *ret_error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(ret_error, GW_RLIMIT_ERROR_BYTES, format, arguments); /* cut at the size */
	va_end(arguments);
	return -EINVAL;
}

/* A number or "unlimited"; what follows it, or NULL. */
static const char *read_value(const char *text, uint64_t *ret_value)
{
	static const char unlimited[] = "unlimited";
	const char *at = text;

	*ret_value = GW_RLIMIT_UNLIMITED;
	if (strncmp(text, unlimited, sizeof(unlimited) - 1) == 0)
		return text + sizeof(unlimited) - 1;
	*ret_value = 0;
	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		/* The largest number means unlimited and has to be said so. */
		if (*ret_value > (GW_RLIMIT_UNLIMITED - 1 - digit) / 10)
			return NULL;
		*ret_value = *ret_value * 10 + digit;
	}
	return at == text ? NULL : at;
}

static bool read_values(const char *text, struct gw_rlimit *ret_limit)
{
	const char *at = read_value(text, &ret_limit->soft);

	ret_limit->hard = ret_limit->soft;
	if (at && *at == ':')
		at = read_value(at + 1, &ret_limit->hard);
	return at && *at == '\0';
}

static int parse(const char *text, struct gw_rlimit *ret_limit, char *ret_error)
{
	size_t size = strcspn(text, "=");

	ret_limit->resource = gw_rlimit_find(text, size, &ret_limit->name);
	if (ret_limit->resource < 0)
		return refuse(ret_error, "\"%.*s\" is no resource limit; there are" NAMES(WORD),
			      size > GW_NAME_BYTES_MAX ? (int)GW_NAME_BYTES_MAX : (int)size, text);
	if (text[size] != '=' || !read_values(text + size + 1, ret_limit))
		return refuse(ret_error,
			      "the resource limit \"%.63s\" is not of the form NAME=SOFT[:HARD], "
			      "each a whole number or \"unlimited\"",
			      text);
	if (ret_limit->soft > ret_limit->hard)
		return refuse(ret_error,
			      "the resource limit \"%.63s\" has a soft limit above its hard one",
			      text);
	return 0;
}

int gw_rlimits_parse(char *const *texts, size_t count, struct gw_rlimit *ret_limits,
		     char *ret_error)
{
	if (count > GW_RLIMITS_MAX)
		return refuse(ret_error, "%zu resource limits are more than the %u that are taken",
			      count, GW_RLIMITS_MAX);
	for (size_t i = 0; i < count; i++) {
		int result = parse(texts[i], &ret_limits[i], ret_error);

		if (result)
			return result;
		for (size_t j = 0; j < i; j++)
			if (ret_limits[j].resource == ret_limits[i].resource)
				return refuse(ret_error, "the resource limit %s stands there twice",
					      ret_limits[i].name);
	}
	return 0;
}
