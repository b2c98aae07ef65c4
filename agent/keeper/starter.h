/*
 * Starting a keeper: detached from the caller (own session, no inherited descriptors, log in
 * STATE/keeper.log). Either all at once, waiting (gw_keeper_start), or from a loop that must not
 * wait:
 *
 *	begin, then end when `fd` is readable, or when it took too long
 */
#ifndef GODWIT_AGENT_KEEPER_STARTER_H
#define GODWIT_AGENT_KEEPER_STARTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gw_keeper_options {
	const char
		*program;   /* path of godwit-keeper; NULL: beside the running program, then PATH */
	const char *state;  /* folder, made if absent */
	const char *socket; /* path of the UNIX socket */
	uint64_t start_limit_us; /* how long a start may take the caller; 0: 10 s */
};

#define GW_KEEPER_EXIT_HELD 3 /* of godwit-keeper: another one holds the folder */

struct gw_keeper_starter {
	pid_t pid;   /* 0: none under way */
	int fd;      /* of the process; readable: it has ended */
	int text_fd; /* what it says */
	bool met;    /* another keeper holds the folder */
	size_t used;
	char text[512]; /* after the end: why it failed */
};

/* Starts one, though another may run: that one keeps its folder. 0; negative errno. */
int gw_keeper_starter_begin(struct gw_keeper_starter *starter,
			    const struct gw_keeper_options *options);
/* Kills it if it has not ended (not the keeper that it may have made), so this never waits. 0: a
 * keeper listens; negative errno with a sentence in `text`, and `met` if another keeper holds the
 * folder: one that ends, or is about to listen. */
int gw_keeper_starter_end(struct gw_keeper_starter *starter);

/*
 * Sees to it that a keeper answers at the socket: returns at once if one does, else starts one and
 * waits until it listens, `start_limit_us` at the most. 0; negative errno with a sentence in
 * ret_error ([error_size]).
 */
int gw_keeper_start(const struct gw_keeper_options *options, char *ret_error, size_t error_size);

#endif
