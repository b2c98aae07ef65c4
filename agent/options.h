/*
 * What an operator may say to the agent: one table for the command line, --help, the man page and
 * the keys of --config's YAML file. An option on the command line goes before the file's.
 */
#ifndef GODWIT_AGENT_OPTIONS_H
#define GODWIT_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/arena.h"
#include "proto/base/limits.h"
#include "proto/option.h"

#define GW_LABELS_MAX 64u
#define GW_TASK_USERS_MAX 32u

/* Values as given, each with its mark: when parsed a word of the command line, after
 * gw_agent_options_read a place in the file or none. */
struct gw_option_text {
	const char *value; /* NULL: not given */
	struct gw_mark mark;
};

struct gw_option_number {
	uint64_t value;
	struct gw_mark mark;
};

struct gw_agent_options {
	bool check;
	struct gw_option_text config;
	struct gw_option_text state;
	struct gw_option_text scheduler;
	struct gw_option_text name;
	struct gw_option_text data_address;
	struct gw_option_text ports;
	struct gw_option_text labels;
	struct gw_option_text residency;
	struct gw_option_text keeper;
	struct gw_option_text task_user;
	struct gw_option_text task_users;
	struct gw_option_number probe_port;
	struct gw_option_number cpus;
	struct gw_option_number memory_bytes;
	struct gw_option_number telemetry_us;
	struct gw_option_number heartbeat_us;
};

extern const struct gw_option gw_agent_option_table[];

/* The same with their meaning. Texts live in the arena of the options. */
struct gw_agent_settings {
	const char *state;
	const char *scheduler; /* NULL: as the region's file says */
	const char *name;      /* NULL: as the certificate says */
	const char *data_address;
	const char *residency;
	const char *keeper; /* NULL: beside this program */
	uint32_t port_first;
	uint32_t port_count;
	uint16_t probe_port;
	uint32_t cpus; /* 0: as found */
	uint64_t memory_bytes;
	uint64_t telemetry_us;
	uint64_t heartbeat_us;
	char *labels[GW_LABELS_MAX];
	uint32_t label_count;
	char *task_user; /* NULL: the keeper's own; never that where it is root */
	char *task_users[GW_TASK_USERS_MAX];
	uint32_t task_user_count;
};

/*
 * Reads --config's file, if one is named, where the command line says nothing, and gives all values
 * their meaning. 0; -EINVAL: ret_error says what is wrong; where it has a mark, that is in
 * ret_file.
 */
int gw_agent_options_read(struct gw_agent_options *options, struct gw_arena *arena,
			  struct gw_agent_settings *ret_settings, const char **ret_file,
			  struct gw_parse_error *ret_error);

#endif
