/* State folders of an agent of before the journal: what it remembered stood in a file. */
#ifndef GODWIT_AGENT_UPGRADE_H
#define GODWIT_AGENT_UPGRADE_H

#include <stdint.h>

#include "agent/core/agent.h"
#include "transport/fault.h"
#include "transport/journal.h"

#define GW_UPGRADE_FILE "agent-memory"

/*
 * Makes records of the file at `path`, where there is one and the core has none yet, applies them
 * and appends them. 0, and in ret_seq the record with which the file becomes superfluous (0: there
 * was nothing to take); -EINVAL with path:line; other negative errno with a sentence.
 */
int gw_upgrade(const char *path, struct gw_node *core, struct gw_journal *journal,
	       uint64_t *ret_seq, struct gw_fault *fault);

#endif
