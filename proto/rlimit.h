/*
 * Resource limits as a job states them: "nofile=1024" or "core=0:unlimited", name=soft[:hard] in
 * the units of setrlimit(2). One list of names for the job spec, the scheduler, the agent and the
 * keeper.
 */
#ifndef GODWIT_PROTO_RLIMIT_H
#define GODWIT_PROTO_RLIMIT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/limits.h"

#define GW_RLIMIT_UNLIMITED UINT64_MAX
#define GW_RLIMIT_ERROR_BYTES 256u

struct gw_rlimit {
	const char *name;
	int resource; /* RLIMIT_* */
	uint64_t soft;
	uint64_t hard;
};

/* RLIMIT_* for the `size` bytes of a name such as "nofile"; ret_name, unless NULL: the name as a
 * text that stays. -1: there is none. */
int gw_rlimit_find(const char *name, size_t size, const char **ret_name);

/* 0 with ret_limits [`count`, at most GW_RLIMITS_MAX]; -EINVAL with a sentence in ret_error
 * [GW_RLIMIT_ERROR_BYTES]: too many, malformed, an unknown name, or one that stands there twice. */
int gw_rlimits_parse(char *const *texts, size_t count, struct gw_rlimit *ret_limits,
		     char *ret_error);

#endif
