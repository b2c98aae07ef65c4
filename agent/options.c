/* The table, the merge of file and command line, and what a value must be. */
#include "agent/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/check.h"
#include "proto/cert.h"
#include "transport/curve.h"
#include "transport/fault.h"
#include "transport/file.h"

#define CONFIG_BYTES_MAX (64u << 10)

#define AT(field)                                                                                  \
	.offset = offsetof(struct gw_agent_options, field.value),                                  \
	.mark_offset = offsetof(struct gw_agent_options, field.mark)

const struct gw_option gw_agent_option_table[] = {
	{.value = {.key = "config",
		   .type = GW_SCHEMA_TEXT,
		   AT(config),
		   .help = "YAML file whose keys are the names of the options below"},
	 .letter = 'c',
	 .argument = "FILE"},
	{.value = {.key = "check",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct gw_agent_options, check),
		   .help = "say whether options and file are good, and end"}},
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   AT(state),
		   .help = "folder of the node's identity (from godwit join) and of its tasks"},
	 .letter = 's',
	 .argument = "DIR"},
	{.value = {.key = "scheduler",
		   .type = GW_SCHEMA_TEXT,
		   AT(scheduler),
		   .max = GW_ENDPOINT_BYTES_MAX,
		   .help = "where the scheduler listens, tcp://ADDRESS:PORT; without it, where "
			   "it was joined"},
	 .argument = "ENDPOINT"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   AT(name),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "name that the certificate must have"},
	 .argument = "NAME"},
	{.value = {.key = "data-address",
		   .type = GW_SCHEMA_TEXT,
		   AT(data_address),
		   .help = "IP address where this node's tasks listen and its paths are probed"},
	 .argument = "ADDRESS"},
	{.value = {.key = "ports",
		   .type = GW_SCHEMA_TEXT,
		   AT(ports),
		   .help = "ports given to tasks; without it none are"},
	 .argument = "FIRST-LAST"},
	{.value = {.key = "probe-port",
		   .type = GW_SCHEMA_COUNT,
		   AT(probe_port),
		   .max = UINT16_MAX,
		   .help = "UDP port of the path reflector; 0 is any free one"},
	 .argument = "PORT"},
	{.value = {.key = "labels",
		   .type = GW_SCHEMA_TEXT,
		   AT(labels),
		   .help = "what jobs may ask for"},
	 .argument = "KEY=VALUE,..."},
	{.value = {.key = "residency",
		   .type = GW_SCHEMA_TEXT,
		   AT(residency),
		   .help = "where the node stands, ISO 3166-2"},
	 .argument = "CN-GZ"},
	{.value = {.key = "cpus",
		   .type = GW_SCHEMA_COUNT,
		   AT(cpus),
		   .max = 65536,
		   .help = "processors offered to tasks; 0 is all that this process may use"},
	 .argument = "COUNT"},
	{.value = {.key = "memory",
		   .type = GW_SCHEMA_BYTES,
		   AT(memory_bytes),
		   .help = "memory offered to tasks; 0 is all there is"},
	 .argument = "BYTES"},
	{.value = {.key = "telemetry",
		   .type = GW_SCHEMA_DURATION,
		   AT(telemetry_us),
		   .fallback = "10 s",
		   .min = 100000,
		   .max = 3600000000,
		   .help = "time between two samples of the host"},
	 .argument = "TIME"},
	{.value = {.key = "heartbeat",
		   .type = GW_SCHEMA_DURATION,
		   AT(heartbeat_us),
		   .fallback = "1 s",
		   .min = 100000,
		   .max = 60000000,
		   .help = "time between two heartbeats"},
	 .argument = "TIME"},
	{.value = {.key = "task-user",
		   .type = GW_SCHEMA_TEXT,
		   AT(task_user),
		   .min = 1,
		   .max = GW_NAME_BYTES_MAX,
		   .help = "user of tasks that name none; without it the agent's own, or nobody "
			   "where that is root"},
	 .argument = "NAME"},
	{.value = {.key = "task-users",
		   .type = GW_SCHEMA_TEXT,
		   AT(task_users),
		   .help = "users that jobs may name besides; root only if it is among them"},
	 .argument = "NAME,..."},
	{.value = {.key = "keeper",
		   .type = GW_SCHEMA_TEXT,
		   AT(keeper),
		   .help = "path of godwit-keeper; without it, beside this program"},
	 .argument = "PROGRAM"},
	{.value = {.key = NULL}},
};

static struct gw_mark mark_of(const struct gw_agent_options *options, const struct gw_schema *field)
{
	struct gw_mark mark;

	memcpy(&mark, (const uint8_t *)options + field->mark_offset, sizeof(mark));
	return mark;
}

/* Takes from the file what the command line does not say. From here on a mark is a place in the
 * file: none is left of what the command line said. */
static void merge(struct gw_agent_options *options, const struct gw_agent_options *file)
{
	for (const struct gw_option *option = gw_agent_option_table; option->value.key; option++) {
		const struct gw_schema *field = &option->value;
		size_t size =
			field->type == GW_SCHEMA_TEXT ? sizeof(const char *) : sizeof(uint64_t);
		struct gw_mark mark = {0};

		if (field->mark_offset == 0)
			continue;
		if (mark_of(options, field).line == 0 && mark_of(file, field).line != 0) {
			mark = mark_of(file, field);
			memcpy((uint8_t *)options + field->offset,
			       (const uint8_t *)file + field->offset, size);
		}
		memcpy((uint8_t *)options + field->mark_offset, &mark, sizeof(mark));
	}
}

/* The options but `config` and `check`, as the keys of a file. */
static void fill_fields(struct gw_schema *fields, size_t capacity)
{
	size_t count = 0;

	for (const struct gw_option *option = gw_agent_option_table; option->value.key; option++) {
		if (option->value.type == GW_SCHEMA_BOOL ||
		    strcmp(option->value.key, "config") == 0)
			continue;
		CHECK(count + 1 < capacity);
		fields[count++] = option->value;
	}
	fields[count] = (struct gw_schema){.key = NULL};
}

static int read_file(const struct gw_agent_options *options, struct gw_arena *arena,
		     struct gw_agent_options *ret_file, struct gw_parse_error *ret_error)
{
	struct gw_schema fields[GW_ARRAY_COUNT(gw_agent_option_table)];
	struct gw_fault fault;
	char *text = gw_arena_alloc(arena, CONFIG_BYTES_MAX);
	size_t size;

	if (!text)
		return gw_parse_error_set(ret_error, (struct gw_mark){0}, "out of memory");
	if (gw_file_read(options->config.value, false, CONFIG_BYTES_MAX, text, &size, &fault) != 0)
		return gw_parse_error_set(ret_error, (struct gw_mark){0}, "%s", fault.text);
	fill_fields(fields, GW_ARRAY_COUNT(fields));
	return gw_schema_parse(fields, ret_file, arena, text, size, ret_error);
}

static int wrong(struct gw_parse_error *ret_error, const char *key,
		 const struct gw_option_text *option, const char *expected)
{
	return gw_parse_error_set(ret_error, option->mark, "%s: found \"%.100s\", expected %s", key,
				  option->value, expected);
}

static int read_ports(const struct gw_option_text *option, struct gw_agent_settings *settings,
		      struct gw_parse_error *ret_error)
{
	char *end;
	unsigned long first = strtoul(option->value, &end, 10);
	unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : 0;

	if (*end != '\0' || first == 0 || last < first || last > UINT16_MAX)
		return wrong(ret_error, "ports", option, "FIRST-LAST within 1-65535");
	settings->port_first = (uint32_t)first;
	settings->port_count = (uint32_t)(last - first + 1);
	return 0;
}

static int read_labels(const struct gw_option_text *option, struct gw_arena *arena,
		       struct gw_agent_settings *settings, struct gw_parse_error *ret_error)
{
	char *copy = gw_arena_copy(arena, option->value, strlen(option->value) + 1);
	char *label;

	while (copy && (label = strsep(&copy, ",")) != NULL) {
		char *equals = strchr(label, '=');
		bool good = equals != NULL;

		if (good) {
			*equals = '\0';
			good = gw_cert_name_valid(label) && gw_cert_name_valid(equals + 1);
			*equals = '=';
		}
		if (!good)
			return wrong(ret_error, "labels", option,
				     "KEY=VALUE, both of letters, digits, '.', '_' and '-'");
		if (settings->label_count == GW_LABELS_MAX)
			return wrong(ret_error, "labels", option, "at most 64");
		settings->labels[settings->label_count++] = label;
	}
	return 0;
}

static int read_task_users(const struct gw_option_text *option, struct gw_arena *arena,
			   struct gw_agent_settings *settings, struct gw_parse_error *ret_error)
{
	char *copy = gw_arena_copy(arena, option->value, strlen(option->value) + 1);
	char *user;

	while (copy && (user = strsep(&copy, ",")) != NULL) {
		if (*user == '\0' || strlen(user) > GW_NAME_BYTES_MAX)
			return wrong(ret_error, "task-users", option, "NAME,...");
		if (settings->task_user_count == GW_TASK_USERS_MAX)
			return wrong(ret_error, "task-users", option, "at most 32");
		settings->task_users[settings->task_user_count++] = user;
	}
	return 0;
}

/* Whoever may submit a job must not become root on every node by leaving the user out, so root has
 * to be said twice. */
static int read_task_user(const struct gw_option_text *option, struct gw_arena *arena,
			  struct gw_agent_settings *settings, struct gw_parse_error *ret_error)
{
	const char *name = option->value ? option->value : geteuid() == 0 ? "nobody" : NULL;
	const struct passwd *user;

	if (!name)
		return 0;
	user = getpwnam(name);
	if (!user)
		return gw_parse_error_set(ret_error, option->mark,
					  "task-user: found \"%.100s\", expected a user of this "
					  "host",
					  name);
	for (uint32_t i = 0; user->pw_uid == 0; i++) {
		if (i == settings->task_user_count)
			return gw_parse_error_set(ret_error, option->mark,
						  "task-user: found \"%.100s\", which is root, "
						  "expected it in task-users as well",
						  name);
		if (!strcmp(name, settings->task_users[i]))
			break;
	}
	settings->task_user = gw_arena_copy(arena, name, strlen(name) + 1);
	return settings->task_user ? 0
				   : gw_parse_error_set(ret_error, option->mark, "out of memory");
}

/* "CN" or "CN-GZ": two capital letters, then up to three capital letters or digits. */
static bool is_residency(const char *text)
{
	static const char capitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t length = strspn(text, capitals);

	if (length != 2)
		return false;
	if (text[2] == '\0')
		return true;
	length = strspn(text + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	return text[2] == '-' && length >= 1 && length <= 3 && text[3 + length] == '\0';
}

static bool is_address(const char *text)
{
	unsigned char address[16];

	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static int check_texts(const struct gw_agent_options *options, struct gw_parse_error *ret_error)
{
	char endpoint[GW_ENDPOINT_BYTES_MAX + 1];

	if (!options->state.value)
		return gw_parse_error_set(
			ret_error, options->state.mark,
			"--state DIR is needed: the folder that godwit join made");
	if (options->scheduler.value &&
	    gw_endpoint_with_port(options->scheduler.value, 1, endpoint) != 0)
		return wrong(ret_error, "scheduler", &options->scheduler, "tcp://ADDRESS:PORT");
	if (options->name.value && !gw_cert_name_valid(options->name.value))
		return wrong(ret_error, "name", &options->name,
			     "at most 63 letters, digits, '.', '_' and '-'");
	if (options->data_address.value && !is_address(options->data_address.value))
		return wrong(ret_error, "data-address", &options->data_address,
			     "an IPv4 or IPv6 address");
	if (options->residency.value && !is_residency(options->residency.value))
		return wrong(ret_error, "residency", &options->residency,
			     "an ISO 3166-2 code like CN-GZ, or a country's two letters");
	return 0;
}

int gw_agent_options_read(struct gw_agent_options *options, struct gw_arena *arena,
			  struct gw_agent_settings *ret_settings, const char **ret_file,
			  struct gw_parse_error *ret_error)
{
	struct gw_agent_settings settings = {0};
	struct gw_agent_options file = {0};
	int r;

	*ret_file = options->config.value;
	if (options->config.value) {
		r = read_file(options, arena, &file, ret_error);
		if (r != 0)
			return r;
	}
	merge(options, &file);
	settings.state = options->state.value;
	settings.scheduler = options->scheduler.value;
	settings.name = options->name.value;
	settings.data_address = options->data_address.value;
	settings.residency = options->residency.value;
	settings.keeper = options->keeper.value;
	settings.probe_port = (uint16_t)options->probe_port.value;
	settings.cpus = (uint32_t)options->cpus.value;
	settings.memory_bytes = options->memory_bytes.value;
	settings.telemetry_us = options->telemetry_us.value;
	settings.heartbeat_us = options->heartbeat_us.value;
	r = check_texts(options, ret_error);
	if (r == 0 && options->ports.value)
		r = read_ports(&options->ports, &settings, ret_error);
	if (r == 0 && options->labels.value)
		r = read_labels(&options->labels, arena, &settings, ret_error);
	if (r == 0 && options->task_users.value)
		r = read_task_users(&options->task_users, arena, &settings, ret_error);
	if (r == 0)
		r = read_task_user(&options->task_user, arena, &settings, ret_error);
	if (r == 0)
		*ret_settings = settings;
	return r;
}
