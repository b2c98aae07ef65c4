/*
 * What the words of godwit-scheduler's command line fill in (tables in main.c), and its commands.
 * Each command returns the exit code.
 */
#ifndef GODWIT_SCHEDULER_OPTIONS_H
#define GODWIT_SCHEDULER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/schema.h"

#define EXIT_USAGE 2
#define GW_JOURNAL_DIRECTORY "journal" /* of the state folder */

struct gw_command;

struct common_options {
	const char *state;
};

struct init_options {
	struct common_options common;
	const char *region;
	struct gw_mark region_mark;
};

struct run_options {
	struct common_options common;
	const char *listen;
	struct gw_mark listen_mark;
	uint64_t port;
	uint64_t unknown_after_us;
	uint64_t lost_after_us;
	uint64_t lease_us;
	uint64_t waiting_tasks_max;
	uint64_t workers;
	uint64_t snapshot_bytes;
	bool begin_anew;
	const char *etcd; /* NULL: the journal is on this machine */
	const char *advertise;
	uint64_t etcd_lease_us;
	const char *etcd_prefix;
	const char *etcd_ca;
	const char *etcd_certificate;
	const char *etcd_key;
	const char *etcd_user_file;
};

struct token_options {
	struct common_options common;
	const char *listen;
	struct gw_mark listen_mark;
	uint64_t port;
	const char *ticket;
	struct gw_mark ticket_mark;
	uint64_t role; /* index into gw_role_names */
	struct gw_mark role_mark;
	const char *site;
	const char *name;
	const char *provider;
	const char *tenant;
	uint64_t token_life_us;
	uint64_t certificate_life_us;
};

struct inspect_options {
	struct common_options common;
	bool json;
};

/* What a ticket's bearer may become; NULL-ended. */
extern const char *const gw_role_names[];

int gw_command_init(const struct gw_command *command, void *options, int operand_count,
		    char **operands);
int gw_command_token(const struct gw_command *command, void *options, int operand_count,
		     char **operands);
int gw_command_run(const struct gw_command *command, void *options, int operand_count,
		   char **operands);
int gw_command_check_journal(const struct gw_command *command, void *options, int operand_count,
			     char **operands);
int gw_command_dump_journal(const struct gw_command *command, void *options, int operand_count,
			    char **operands);

#endif
