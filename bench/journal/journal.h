/* The parts of godwit-journal: each is one sub-command. */
#ifndef GODWIT_BENCH_JOURNAL_JOURNAL_H
#define GODWIT_BENCH_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/schema.h"

#define JOURNAL_CLIENTS_MAX 1024u
#define JOURNAL_IN_FLIGHT_MAX 64u

struct load_options {
	const char *identities; /* folder whose folders are identities, by number from 0 */
	struct gw_mark identities_mark;
	uint64_t clients;
	uint64_t in_flight; /* of each client */
	uint64_t count;     /* submissions measured, of all clients */
	uint64_t warm;      /* before them */
	bool plain;         /* the bodies alone, to an echo server */
};

/* Submits and prints one JSON object. Returns the exit code. */
int journal_load(const struct load_options *options);

struct echo_options {
	const char *state; /* of the scheduler whose keys and identities it uses */
	struct gw_mark state_mark;
	const char *file;
	struct gw_mark file_mark;
	const char *endpoint;
	struct gw_mark endpoint_mark;
};

/* Serves until TERM. Returns the exit code. */
int journal_echo(const struct echo_options *options);

struct recover_options {
	const char *directory;
	struct gw_mark directory_mark;
	uint64_t tasks;
};

/* Writes the journal of a scheduler that ran so many tasks. Prints one JSON object, as the next
 * two do. */
int journal_make(const struct recover_options *options);
/* Makes a core from it, as a scheduler does at its start. */
int journal_recover(const struct recover_options *options);
/* Reads, checks and decodes it, without applying anything. */
int journal_read(const struct recover_options *options);

#endif
