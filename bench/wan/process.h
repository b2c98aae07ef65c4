/* Processes as the lab knows them: by pid and start time, since a pid alone is used again. */
#ifndef GODWIT_BENCH_WAN_PROCESS_H
#define GODWIT_BENCH_WAN_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Clock ticks since boot, field 22 of /proc/PID/stat; 0: no such process, or it is a zombie. */
uint64_t gw_process_start(pid_t pid);
/* The path of a program that is installed beside this one. 0; negative errno. */
int gw_process_sibling(const char *name, char *ret_path, size_t size);

#endif
