/* The agent's invariants, checked from outside: by the tests and, after every step, by bench/sim.
 */
#ifndef GODWIT_AGENT_CORE_CHECK_H
#define GODWIT_AGENT_CORE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/step.h"

/* True: all hold. False: `ret_text` ([size]) says which one does not. */
bool gw_agent_check(const struct gw_node *node, char *ret_text, size_t size);

#endif
