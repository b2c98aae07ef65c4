/*
 * Bringing a lab up: claim the name, make the namespaces, set them up, start the emulator. Every
 * step may fail or be interrupted; then gw_lab_down takes away what is there.
 */
#include "bench/wan/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/wan/netns.h"
#include "bench/wan/params.h"
#include "bench/wan/process.h"
#include "bench/wan/topology.h"

#define LINES_BYTES_MAX (1u << 20)
#define EMULATOR_WAIT_MS 10000
#define NO_SITE UINT32_MAX

/* One namespace of the lab, as the setting-up steps see it. */
struct place {
	const struct gw_topology *topology;
	uint32_t site; /* NO_SITE: the wan namespace */
	uint32_t host; /* or GW_LAB_ROUTER */
	char name[GW_LAB_NAMESPACE_BYTES];
};

typedef int (*place_f)(const struct place *place);

static int each_place(const struct gw_topology *topology, const volatile bool *interrupted,
		      place_f work)
{
	const struct gw_scenario *scenario = topology->scenario;
	struct place place = {.topology = topology, .site = NO_SITE};
	int error;

	gw_topology_wan_namespace(topology, place.name);
	error = work(&place);
	for (uint32_t site = 0; site < scenario->sites.count; site++) {
		uint64_t hosts = gw_scenario_site(scenario, site)->hosts;

		for (uint32_t host = 0; host <= hosts && error == 0; host++) {
			place.site = site;
			place.host = host == 0 ? GW_LAB_ROUTER : host;
			gw_topology_namespace(topology, site, place.host, place.name);
			error = *interrupted ? -EINTR : work(&place);
		}
	}
	return error;
}

/* seg6_enabled on `all` and on each interface (new ones inherit `default`); no duplicate address
 * detection, which would make a new address unusable for a second. */
static int sysctls_here(void *context)
{
	static const char *const interfaces[] = {"all", "default", "lo"};

	static const struct {
		const char *name;
		const char *value;
	} settings[] = {
		{"disable_ipv6", "0"},
		{"accept_dad", "0"},
		{"accept_ra", "0"},
		{"seg6_enabled", "1"},
	};
	const struct place *place = context;
	char path[64];
	int error = 0;

	if (place->site == NO_SITE) {
		error = gw_netns_sysctl("ipv6/conf/all/disable_ipv6", "1");
		return error < 0 ? error : gw_netns_sysctl("ipv6/conf/default/disable_ipv6", "1");
	}
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < sizeof(settings) / sizeof(settings[0]) && error == 0; k++) {
			(void)snprintf(path, sizeof(path), "ipv6/conf/%s/%s", interfaces[i],
				       settings[k].name);
			error = gw_netns_sysctl(path, settings[k].value);
		}
	}
	if (error < 0)
		(void)fprintf(stderr, "godwit-lab: this kernel does not let us set %s: %s\n", path,
			      strerror(-error));
	return error;
}

static int offloads_here(void *context)
{
	const struct place *place = context;
	const struct gw_scenario *scenario = place->topology->scenario;
	char name[16];
	int error = 0;

	if (place->site != NO_SITE && place->host != GW_LAB_ROUTER)
		return gw_netns_offloads_off("eth0");
	for (uint32_t i = 0; i < scenario->links.count && error == 0; i++) {
		const uint32_t *ends = gw_scenario_link(scenario, i)->sites;

		for (uint32_t end = 0; end < 2 && error == 0; end++) {
			if (place->site != NO_SITE && ends[end] != place->site)
				continue;
			if (place->site == NO_SITE)
				(void)snprintf(name, sizeof(name), "l%u%c", i, 'a' + (int)end);
			else
				(void)snprintf(name, sizeof(name), "wan%u", i);
			error = gw_netns_offloads_off(name);
		}
	}
	if (place->site == NO_SITE)
		return error;
	for (uint32_t host = 1;
	     host <= gw_scenario_site(scenario, place->site)->hosts && error == 0; host++) {
		(void)snprintf(name, sizeof(name), "h%u", host);
		error = gw_netns_offloads_off(name);
	}
	return error;
}

static int set_sysctls(const struct place *place)
{
	struct place here = *place;

	return gw_netns_visit(place->name, sysctls_here, &here);
}

/* Forwarding last: switched on earlier, it would make each WAN end join the group of all routers
 * and report so over its link. */
static int finish_here(void *context)
{
	const struct place *place = context;
	int error = offloads_here(context);

	if (error < 0 || place->site == NO_SITE || place->host != GW_LAB_ROUTER)
		return error;
	/* Where the kernel has bridge netfilter, a site's own traffic would pass ip6tables. */
	error = gw_netns_sysctl("bridge/bridge-nf-call-ip6tables", "0");
	return error < 0 && error != -ENOENT ? error
					     : gw_netns_sysctl("ipv6/conf/all/forwarding", "1");
}

static int configure(const struct place *place)
{
	struct place here = *place;
	struct gw_buf lines;
	int error;

	gw_buf_init(&lines, LINES_BYTES_MAX);
	if (place->site == NO_SITE)
		error = gw_topology_wan(place->topology, &lines);
	else if (place->host == GW_LAB_ROUTER)
		error = gw_topology_router(place->topology, place->site, &lines);
	else
		error = gw_topology_host(place->site, place->host, &lines);
	if (error == 0 && lines.size > 0)
		error = gw_netns_ip(place->name, (const char *)lines.bytes);
	if (error == 0)
		error = gw_netns_visit(place->name, finish_here, &here);
	gw_buf_deinit(&lines);
	return error;
}

static int run_lines(const struct gw_topology *topology,
		     int (*make)(const struct gw_topology *, struct gw_buf *))
{
	struct gw_buf lines;
	int error;

	gw_buf_init(&lines, LINES_BYTES_MAX);
	error = make(topology, &lines);
	if (error == 0 && lines.size > 0)
		error = gw_netns_ip(NULL, (const char *)lines.bytes);
	gw_buf_deinit(&lines);
	return error;
}

static json_t *hosts_state(const struct gw_topology *topology, uint32_t site)
{
	json_t *hosts = json_array();

	for (uint32_t host = 1; host <= gw_scenario_site(topology->scenario, site)->hosts; host++) {
		char namespace[GW_LAB_NAMESPACE_BYTES];
		char address[GW_LAB_ADDRESS_BYTES];

		gw_topology_namespace(topology, site, host, namespace);
		gw_topology_address(site, host, address);
		(void)json_array_append_new(hosts, json_pack("{s:s, s:s, s:s}", "name",
							     strrchr(namespace, '.') + 1, "address",
							     address, "namespace", namespace));
	}
	return hosts;
}

/* Everything that a user of the lab needs to know, and what teardown needs of the owner. */
static json_t *new_state(const struct gw_topology *topology, pid_t owner)
{
	const struct gw_scenario *scenario = topology->scenario;
	json_t *sites = json_array();
	json_t *links = json_array();

	for (uint32_t site = 0; site < scenario->sites.count; site++) {
		char namespace[GW_LAB_NAMESPACE_BYTES];
		char address[GW_LAB_ADDRESS_BYTES];
		char sid[GW_LAB_ADDRESS_BYTES];
		char sid_psp[GW_LAB_ADDRESS_BYTES];

		gw_topology_namespace(topology, site, GW_LAB_ROUTER, namespace);
		gw_topology_address(site, GW_LAB_ROUTER, address);
		gw_topology_sid(site, 1, sid);
		gw_topology_sid(site, 2, sid_psp);
		(void)json_array_append_new(
			sites, json_pack("{s:s, s:o, s:{s:s, s:s, s:s, s:s}}", "name",
					 gw_scenario_site(scenario, site)->name, "hosts",
					 hosts_state(topology, site), "router", "address", address,
					 "namespace", namespace, "sid", sid, "sid_psp", sid_psp));
	}
	for (uint32_t i = 0; i < scenario->links.count; i++) {
		char name[2 * GW_SCENARIO_NAME_BYTES_MAX + 2];

		gw_topology_link_name(topology, i, name);
		(void)json_array_append_new(links, json_string(name));
	}
	return json_pack("{s:s, s:{s:i, s:I}, s:o, s:o}", "name", topology->lab, "owner", "pid",
			 (int)owner, "start", (json_int_t)gw_process_start(owner), "sites", sites,
			 "links", links);
}

/* The name is ours once the state file stands under it: link() refuses a name that exists. */
static int claim(const struct gw_topology *topology, pid_t owner)
{
	json_t *state = new_state(topology, owner);
	char path[GW_LAB_PATH_BYTES];
	char draft[GW_LAB_PATH_BYTES];
	char suffix[32];
	int error = 0;

	(void)snprintf(suffix, sizeof(suffix), ".%d.draft", (int)getpid());
	gw_lab_path(topology->lab, suffix, draft);
	gw_lab_path(topology->lab, ".json", path);
	if (mkdir(GW_LAB_FOLDER, 0700) < 0 && errno != EEXIST)
		error = -errno;
	else if (!state || json_dump_file(state, draft, JSON_INDENT(2)) < 0)
		error = -EIO;
	else if (link(draft, path) < 0)
		error = -errno;
	(void)unlink(draft); /* not there if it could not be written */
	json_decref(state);
	if (error == -EEXIST)
		(void)fprintf(stderr,
			      "godwit-lab: there is a lab '%s' already; "
			      "'godwit-lab down %s' takes it down\n",
			      topology->lab, topology->lab);
	else if (error < 0)
		(void)fprintf(stderr, "godwit-lab: %s: %s\n", path, strerror(-error));
	return error;
}

static json_t *cuts_json(const struct gw_scenario_link *link)
{
	const struct gw_scenario_cut *cuts = link->cuts.items;
	json_t *list = json_array();

	for (uint32_t i = 0; i < link->cuts.count; i++)
		(void)json_array_append_new(list, json_pack("{s:I, s:I}", "at_us",
							    (json_int_t)cuts[i].at_us, "for_us",
							    (json_int_t)cuts[i].for_us));
	return list;
}

static int write_emulator_config(const struct gw_topology *topology, const char *path)
{
	const struct gw_scenario *scenario = topology->scenario;
	char socket_path[GW_LAB_PATH_BYTES];
	json_t *links = json_array();
	json_t *config;
	int error;

	for (uint32_t i = 0; i < scenario->links.count; i++) {
		const struct gw_scenario_link *link = gw_scenario_link(scenario, i);
		char name[2 * GW_SCENARIO_NAME_BYTES_MAX + 2];
		char ports[2][16];

		gw_topology_link_name(topology, i, name);
		(void)snprintf(ports[0], sizeof(ports[0]), "l%ua", i);
		(void)snprintf(ports[1], sizeof(ports[1]), "l%ub", i);
		(void)json_array_append_new(
			links,
			json_pack("{s:s, s:[s, s], s:[o, o], s:o}", "name", name, "ports", ports[0],
				  ports[1], "params", gw_params_to_json(&link->params[0]),
				  gw_params_to_json(&link->params[1]), "cuts", cuts_json(link)));
	}
	gw_lab_path(topology->lab, ".sock", socket_path);
	config =
		json_pack("{s:s, s:I, s:I, s:o}", "socket", socket_path, "seed",
			  (json_int_t)scenario->seed, "cpu",
			  scenario->emulator_cpu == UINT32_MAX ? (json_int_t)-1
							       : (json_int_t)scenario->emulator_cpu,
			  "links", links);
	error = config && json_dump_file(config, path, JSON_INDENT(2)) == 0 ? 0 : -EIO;
	json_decref(config);
	return error;
}

/* In the child: becomes the emulator, inside the wan namespace, in a session of its own so that a
 * ^C at the terminal does not stop it before the lab is taken down. */
static void become_emulator(const struct gw_topology *topology, const char *config, int ready_fd)
{
	char name[GW_LAB_NAMESPACE_BYTES];
	char log[GW_LAB_PATH_BYTES];
	char path[PATH_MAX];
	int log_fd;
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	gw_topology_wan_namespace(topology, name);
	gw_lab_path(topology->lab, ".log", log);
	log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (setsid() < 0 || gw_netns_enter(name) < 0 || log_fd < 0 || null_fd < 0 ||
	    dup2(null_fd, STDIN_FILENO) < 0 || dup2(ready_fd, STDOUT_FILENO) < 0 ||
	    dup2(log_fd, STDERR_FILENO) < 0)
		_exit(126);
	if (gw_process_sibling("godwit-link", path, sizeof(path)) == 0)
		(void)execl(path, path, config, (char *)NULL);
	(void)execlp("godwit-link", "godwit-link", config, (char *)NULL);
	(void)fprintf(stderr, "godwit-link: %s\n", strerror(errno));
	_exit(127);
}

/* Its word "ready", or its end. */
static int await_ready(int fd, const volatile bool *interrupted)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char word[8];
	int count = poll(&ready, 1, EMULATOR_WAIT_MS);

	if (*interrupted || (count < 0 && errno == EINTR))
		return -EINTR;
	if (count <= 0)
		return -ETIMEDOUT;
	return read(fd, word, sizeof(word)) > 0 ? 0 : -ECHILD;
}

static void show_log(const char *lab)
{
	char path[GW_LAB_PATH_BYTES];
	char line[512];
	FILE *file;

	gw_lab_path(lab, ".log", path);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		(void)fputs(line, stderr);
	if (file)
		(void)fclose(file); /* only read */
}

static int start_emulator(const struct gw_topology *topology, const volatile bool *interrupted)
{
	char config[GW_LAB_PATH_BYTES];
	int ends[2];
	int error;
	pid_t pid;

	gw_lab_path(topology->lab, ".link.json", config);
	error = write_emulator_config(topology, config);
	if (error < 0)
		return error;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		become_emulator(topology, config, ends[1]);
	(void)close(ends[1]);
	error = pid < 0 ? -errno : await_ready(ends[0], interrupted);
	(void)close(ends[0]);
	show_log(topology->lab);
	return error;
}

/* What the kernel sent by itself while the interfaces came up (multicast reports) is counted by
 * now, late, since the emulator was not there yet: the lab's counts start here. */
static int forget_startup(const char *lab)
{
	json_t *request = json_pack("{s:s, s:b}", "op", "stats", "reset", 1);
	json_t *answer = gw_lab_ask(lab, request);
	int error = answer ? 0 : -EIO;

	json_decref(request);
	json_decref(answer);
	return error;
}

static int build(const struct gw_topology *topology, const volatile bool *interrupted)
{
	int error = run_lines(topology, gw_topology_namespaces);

	if (error == 0)
		error = each_place(topology, interrupted, set_sysctls);
	if (error == 0)
		error = run_lines(topology, gw_topology_wires);
	if (error == 0)
		error = each_place(topology, interrupted, configure);
	if (error == 0)
		error = start_emulator(topology, interrupted);
	if (error == 0)
		error = forget_startup(topology->lab);
	return *interrupted ? -EINTR : error;
}

int gw_lab_up(const struct gw_scenario *scenario, const char *name, pid_t owner,
	      const volatile bool *interrupted)
{
	struct gw_topology topology;
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	int error = gw_netns_may();

	if (error < 0) {
		(void)fprintf(stderr,
			      "godwit-lab: no right to make network namespaces here (%s): run it "
			      "as root\n",
			      strerror(-error));
		return -EPERM;
	}
	gw_topology_init(&topology, name, scenario);
	error = claim(&topology, owner);
	if (error < 0)
		return error;
	error = build(&topology, interrupted);
	if (error < 0) {
		(void)fprintf(stderr, "godwit-lab: bringing up lab '%s': %s\n", name,
			      strerror(-error));
		(void)sigaction(SIGINT, &ignore, NULL); /* a second ^C must not stop this */
		(void)gw_lab_down(name);
	}
	return error;
}
