/*
 * What is known of labs from the outside: state files, owners, teardown, the emulator's socket. The
 * building is in lab.c.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/wan/control.h"
#include "bench/wan/lab.h"
#include "bench/wan/netns.h"
#include "bench/wan/process.h"
#include "bench/wan/topology.h"

#define GRACE_MS 2000
#define PASSES_MAX 10
#define ANSWER_WAIT_MS 5000
#define STATE_SUFFIX ".json"

void gw_lab_path(const char *name, const char *suffix, char ret_path[GW_LAB_PATH_BYTES])
{
	(void)snprintf(ret_path, GW_LAB_PATH_BYTES, GW_LAB_FOLDER "/%s%s", name, suffix);
}

json_t *gw_lab_state(const char *name)
{
	char path[GW_LAB_PATH_BYTES];
	json_t *state;
	json_t *owner;
	pid_t pid;
	bool stale;

	gw_lab_path(name, STATE_SUFFIX, path);
	state = json_load_file(path, 0, NULL);
	owner = json_object_get(state, "owner");
	pid = (pid_t)json_integer_value(json_object_get(owner, "pid"));
	stale = pid <= 0 || gw_process_start(pid) !=
				    (uint64_t)json_integer_value(json_object_get(owner, "start"));
	if (state && json_object_set_new(state, "stale", json_boolean(stale)) < 0) {
		json_decref(state);
		return NULL;
	}
	return state;
}

json_t *gw_lab_list(void)
{
	DIR *folder = opendir(GW_LAB_FOLDER);
	const struct dirent *entry;
	json_t *list = json_array();

	while (folder && (entry = readdir(folder))) {
		char name[GW_LAB_NAME_BYTES_MAX + 1];
		size_t size = strcspn(entry->d_name, ".");
		json_t *state;

		if (size >= sizeof(name) || strcmp(entry->d_name + size, STATE_SUFFIX) != 0)
			continue;
		memcpy(name, entry->d_name, size);
		name[size] = '\0';
		state = gw_lab_name_is_good(name) ? gw_lab_state(name) : NULL;
		if (state)
			(void)json_array_append_new(list, state);
	}
	if (folder)
		(void)closedir(folder);
	return list;
}

static void delete_namespace(const char *name, void *context)
{
	int error = gw_netns_delete(name);

	if (error < 0) {
		(void)fprintf(stderr, "godwit-lab: deleting namespace %s: %s\n", name,
			      strerror(-error));
		*(int *)context = error;
	}
}

/* In passes, since the ip of a lab that was killed while it grew may have been in the middle of
 * making one more. Returns how many namespaces there were; negative errno. */
static int delete_namespaces(const char *prefix)
{
	int error = 0;
	int total = 0;

	for (int pass = 0; pass < PASSES_MAX; pass++) {
		int count = gw_netns_each(prefix, delete_namespace, &error);

		if (count < 0 || error < 0)
			return count < 0 ? count : error;
		if (count == 0)
			return total;
		total += count;
	}
	return -EBUSY;
}

int gw_lab_down(const char *name)
{
	/* The state last: as long as it is there, down can be asked again. */
	static const char *const suffixes[] = {".sock", ".link.json", ".log", STATE_SUFFIX};
	char prefix[GW_LAB_NAMESPACE_BYTES];
	char path[GW_LAB_PATH_BYTES];
	int count;

	(void)snprintf(prefix, sizeof(prefix), "godwit.%s.", name);
	if (gw_netns_end_processes(prefix, GRACE_MS) > 0) {
		(void)fprintf(stderr, "godwit-lab: lab %s has processes that cannot be ended\n",
			      name);
		return -EBUSY;
	}
	count = delete_namespaces(prefix);
	if (count < 0)
		return count;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		gw_lab_path(name, suffixes[i], path);
		count += unlink(path) == 0;
	}
	if (count == 0)
		(void)fprintf(stderr, "godwit-lab: there is no lab '%s'\n", name);
	return count > 0 ? 0 : -ENOENT;
}

int gw_lab_down_stale(void)
{
	json_t *list = gw_lab_list();
	const json_t *state;
	size_t i;
	int count = 0;

	json_array_foreach(list, i, state)
	{
		const char *name = json_string_value(json_object_get(state, "name"));

		if (name && gw_lab_name_is_good(name) &&
		    json_is_true(json_object_get(state, "stale")))
			count += gw_lab_down(name) == 0;
	}
	json_decref(list);
	return count;
}

json_t *gw_lab_ask(const char *name, const json_t *request)
{
	char path[GW_LAB_PATH_BYTES];
	const char *text;
	json_t *answer;

	gw_lab_path(name, ".sock", path);
	answer = gw_control_ask(path, request, ANSWER_WAIT_MS);
	if (!answer) {
		(void)fprintf(stderr, "godwit-lab: the emulator of lab '%s' does not answer: %s\n",
			      name, strerror(errno));
		return NULL;
	}
	text = json_string_value(json_object_get(answer, "error"));
	if (text) {
		(void)fprintf(stderr, "godwit-lab: %s\n", text);
		json_decref(answer);
		return NULL;
	}
	return answer;
}

int gw_lab_enter(const char *name, const char *host)
{
	char namespace[GW_LAB_NAMESPACE_BYTES];
	int error = -ENAMETOOLONG;

	if (snprintf(namespace, sizeof(namespace), "godwit.%s.%s", name, host) <
	    (int)sizeof(namespace))
		error = strchr(namespace, '/') ? -EINVAL : gw_netns_enter(namespace);
	if (error < 0)
		(void)fprintf(stderr, "godwit-lab: lab '%s', host '%s': %s\n", name, host,
			      strerror(-error));
	return error;
}
