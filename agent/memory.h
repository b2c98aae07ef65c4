/* The agent core's memory (gw_agent_memory) as a file of the state folder. */
#ifndef GODWIT_AGENT_MEMORY_H
#define GODWIT_AGENT_MEMORY_H

#include "agent/core/agent.h"
#include "transport/fault.h"

#define GW_MEMORY_FILE "agent-memory"

/* 0, with zeroes when there is no file; -EINVAL with path:line; other negative errno. */
int gw_memory_load(const char *path, struct gw_agent_memory *ret_memory, struct gw_fault *fault);
/* On disk when it returns. 0; negative errno with a sentence. */
int gw_memory_save(const char *path, const struct gw_agent_memory *memory, struct gw_fault *fault);

#endif
