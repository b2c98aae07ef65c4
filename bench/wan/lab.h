/*
 * A lab: a scenario brought up as namespaces and an emulator, and taken down again. What a lab
 * consists of is found by its name alone (namespaces "godwit.NAME.*", files
 * /run/godwit-lab/NAME.*), so that teardown needs no memory of how far an interrupted start had
 * come.
 *
 * Life: up claims the name by writing the state file (owner, hosts, links), builds, starts the
 * emulator; down ends every process in the namespaces, deletes them, then the files, the state
 * last. A lab whose owner (pid and start time) is gone is stale.
 */
#ifndef GODWIT_BENCH_WAN_LAB_H
#define GODWIT_BENCH_WAN_LAB_H

#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#include "bench/wan/scenario.h"

#define GW_LAB_FOLDER "/run/godwit-lab"
#define GW_LAB_PATH_BYTES 96u

/* All functions print the reason of a failure to stderr. */

/* Brings the scenario up under `name`, owned by process `owner`; what an attempt that fails or is
 * interrupted (*interrupted becomes true) has made is taken down. 0; -EPERM: no right to make
 * namespaces; -EEXIST: the name is taken; other negative errno. */
int gw_lab_up(const struct gw_scenario *scenario, const char *name, pid_t owner,
	      const volatile bool *interrupted);
/* 0; -ENOENT: nothing of that name is there; -EBUSY: processes could not be ended. */
int gw_lab_down(const char *name);
/* Takes down every lab whose owner is gone. Returns how many; negative errno. */
int gw_lab_down_stale(void);
/* An array of the states of all labs, each with "stale". NULL: out of memory. */
json_t *gw_lab_list(void);
/* One lab's state. NULL: there is none. */
json_t *gw_lab_state(const char *name);
/* Asks the lab's emulator. The answer (a new object); NULL: it does not answer, or says "error". */
json_t *gw_lab_ask(const char *name, const json_t *request);
/* Puts this process into a host of the lab ("a1", "a.router"). 0; negative errno. */
int gw_lab_enter(const char *name, const char *host);
void gw_lab_path(const char *name, const char *suffix, char ret_path[GW_LAB_PATH_BYTES]);

#endif
