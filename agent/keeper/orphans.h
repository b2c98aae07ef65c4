/*
 * Processes without a cgroup to hold them: found through /proc. A task's processes share its
 * session; those that left it (setsid) still carry the mark in their environment, and become
 * the keeper's children once their own parent is gone, since the keeper is a subreaper.
 */
#ifndef GODWIT_AGENT_KEEPER_ORPHANS_H
#define GODWIT_AGENT_KEEPER_ORPHANS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Start of the process in clock ticks after boot (field 22 of /proc/PID/stat): with the pid it
 * names one process of this boot. 0: there is none, or it is a zombie. */
uint64_t gw_orphans_start_ticks(pid_t pid);
/* CPU time of a process and of its ended, waited-for children. False: gone. */
bool gw_orphans_cpu_us(pid_t pid, uint64_t *ret_user_us, uint64_t *ret_system_us);
/* SIGKILL to every process of the session, and every one with the mark of this attempt. Gives
 * their number. */
unsigned gw_orphans_kill(pid_t session, const char *attempt);

#endif
