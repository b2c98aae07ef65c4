/*
 * fork and exec of a task, in two halves: the child is made and waits; once the keeper has put it
 * into its cgroup and written its pid down durably, it is let go. A keeper that dies in between
 * takes the child along, so there is never a task that nobody knows of.
 */
#ifndef GODWIT_AGENT_KEEPER_LAUNCH_H
#define GODWIT_AGENT_KEEPER_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/rlimit.h"

#define GW_LAUNCH_ERROR_BYTES 512u
#define GW_LAUNCH_MARK                                                                             \
	"GODWIT_KEEPER_ATTEMPT" /* variable that names the attempt in the task's environment */

/* Everything is only read, during the call. */
struct gw_launch {
	const char *attempt;    /* its name */
	char *const *arguments; /* NULL-ended; [0] is the program, looked for in the task's PATH */
	char *const *environment; /* [environment_count] "NAME=value" */
	size_t environment_count;
	const char *working_directory;   /* or NULL: work_fd */
	int work_fd;                     /* given to the task's user; -1: none */
	const char *user;                /* or NULL: the keeper's */
	const struct gw_rlimit *rlimits; /* [rlimit_count] */
	size_t rlimit_count;
};

struct gw_launched {
	pid_t pid;
	int go_fd;    /* write end; gw_launch_go */
	int error_fd; /* read end, non-blocking: a sentence, or the end of file once the program
			 runs */
	int output_fds[2]; /* read ends of stdout and stderr */
};

/* 0; negative errno. The child leads a session and a process group of its own. */
int gw_launch_fork(const struct gw_launch *launch, struct gw_launched *ret_launched);
/* Lets the child go (true), or tells it to end without a trace. Closes go_fd. */
void gw_launch_go(struct gw_launched *launched, bool go);
/* What error_fd has to say: 0: the program runs; -EAGAIN: not known yet; 1: it could not be
 * started, and ret_error [GW_LAUNCH_ERROR_BYTES] says why. */
int gw_launch_outcome(int error_fd, char *ret_error);

#endif
