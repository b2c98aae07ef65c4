/*
 * The lab with real namespaces: what was asked for is what packets meet, SRv6 from an unprivileged
 * socket passes a router's End SID, and nothing is left behind, also after kill -9. Delays are only
 * held from below and packets are counted exactly, so a slow machine cannot fail it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/seg6.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/wan/lab.h"
#include "bench/wan/netns.h"
#include "bench/wan/probe.h"

#define SKIPPED 77
#define DEADLINE_MS 20000
#define POLL_MS 5
#define UDP_PORT 5000
#define NOBODY 65534
#define ROUTING_TYPE_SEGMENTS 4 /* RFC 8754 */

static char lab[GW_LAB_NAME_BYTES_MAX + 1];
static char scenario_path[64];
static const char scenario[] = "name: wantest\n"
			       "sites: [{name: a, hosts: 2}, {name: b}, {name: c}]\n"
			       "links:\n"
			       "  - {between: [a, b], there: {delay: 3ms}, back: {delay: 2.5ms}}\n"
			       "  - {between: [b, c], there: {delay: 2ms}}\n"
			       "  - {between: [a, c], there: {delay: 4ms}}\n";

/* Runs a godwit-lab command line; its exit status. */
__attribute__((format(printf, 1, 2))) static int run(const char *format, ...)
{
	char command[512];
	va_list args;
	int length = snprintf(command, sizeof(command), "%s ", getenv("GODWIT_LAB_PROGRAM"));
	int status;

	va_start(args, format);
	length += vsnprintf(command + length, sizeof(command) - (size_t)length, format, args);
	va_end(args);
	assert_true(length < (int)sizeof(command));
	status = system(command); /* the test's own command line, nobody else's */
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char *address(const char *host)
{
	static char addresses[2][64];
	static unsigned int next;
	char command[256];
	char *text = addresses[next++ % 2];
	FILE *output;

	(void)snprintf(command, sizeof(command), "%s address %s %s", getenv("GODWIT_LAB_PROGRAM"),
		       lab, host);
	output = popen(command, "r");
	assert_non_null(output);
	assert_non_null(fgets(text, 64, output));
	assert_int_equal(pclose(output), 0);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static json_t *stats(bool reset)
{
	json_t *request = json_pack("{s:s, s:b}", "op", "stats", "reset", (int)reset);
	json_t *answer = gw_lab_ask(lab, request);

	json_decref(request);
	assert_non_null(answer);
	return answer;
}

static long long counter(const json_t *from, size_t link, size_t way, const char *key)
{
	const json_t *entry = json_array_get(json_object_get(from, "links"), link);
	const json_t *direction = json_array_get(json_object_get(entry, "directions"), way);
	const json_t *value = json_object_get(direction, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static int namespaces_left(void)
{
	char prefix[64];

	(void)snprintf(prefix, sizeof(prefix), "godwit.%s.", lab);
	return gw_netns_each(prefix, NULL, NULL);
}

static bool state_exists(void)
{
	char path[GW_LAB_PATH_BYTES];

	gw_lab_path(lab, ".json", path);
	return access(path, F_OK) == 0;
}

static void pause_once(void)
{
	const struct timespec time = {.tv_nsec = POLL_MS * 1000000L};

	(void)nanosleep(&time, NULL);
}

static int up(void **state)
{
	(void)state;
	return run("up %s --name %s --owner %d >/dev/null", scenario_path, lab, (int)getpid());
}

static int down(void **state)
{
	(void)state;
	(void)run("down %s 2>/dev/null", lab); /* a test may have done it */
	return namespaces_left();
}

static void pings_take_the_delay_and_are_all_counted(void **state)
{
	struct gw_probe_rtt rtt;
	json_t *seen;

	(void)state;
	assert_int_equal(gw_probe_ping(lab, "a1", address("b1"), 20, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 20);
	assert_true(rtt.p50_us >= 5500);
	assert_int_equal(gw_probe_ping(lab, "b1", address("a2"), 20, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 20);
	assert_true(rtt.p50_us >= 5500);
	seen = stats(true);
	for (size_t way = 0; way < 2; way++) {
		assert_int_equal(counter(seen, 0, way, "packets_in"), 40);
		assert_int_equal(counter(seen, 0, way, "packets_out"), 40);
		assert_int_equal(counter(seen, 0, way, "not_asked"), 0);
	}
	assert_int_equal(counter(seen, 1, 0, "packets_in"), 0);
	json_decref(seen);
}

static void a_sites_own_traffic_never_sees_the_emulator(void **state)
{
	struct gw_probe_rtt rtt;
	json_t *seen;

	(void)state;
	json_decref(stats(true));
	assert_int_equal(gw_probe_ping(lab, "a1", address("a2"), 20, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 20);
	seen = stats(true);
	for (size_t link = 0; link < 3; link++)
		assert_int_equal(counter(seen, link, 0, "packets_in") +
					 counter(seen, link, 1, "packets_in"),
				 0);
	json_decref(seen);
}

static void a_link_is_changed_while_it_runs(void **state)
{
	struct gw_probe_rtt rtt;
	json_t *seen;

	(void)state;
	assert_int_equal(run("set %s a-c delay=9ms", lab), 0);
	assert_int_equal(gw_probe_ping(lab, "a1", address("c1"), 10, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 10);
	assert_true(rtt.p50_us >= 18000);
	json_decref(stats(true));
	assert_int_equal(run("set %s a-c loss=100%% --direction back", lab), 0);
	assert_int_equal(gw_probe_ping(lab, "a1", address("c1"), 10, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 0);
	seen = stats(true);
	assert_int_equal(counter(seen, 2, 0, "packets_out"), 10);
	assert_int_equal(counter(seen, 2, 1, "packets_in"), 10);
	assert_int_equal(counter(seen, 2, 1, "dropped_loss"), 10);
	assert_int_equal(counter(seen, 2, 1, "packets_out"), 0);
	json_decref(seen);
	assert_int_equal(run("set %s a-c loss=0 delay=4ms", lab), 0);
	assert_int_equal(run("set %s a-c delay=1ms jitter=2ms 2>/dev/null", lab), 1);
	assert_int_equal(run("set %s a-c dleay=1ms 2>/dev/null", lab), 2);
	assert_int_equal(run("set %s a-x delay=1ms 2>/dev/null", lab), 1);
}

static void a_cut_stops_all_until_it_is_healed(void **state)
{
	struct gw_probe_rtt rtt;
	json_t *seen;

	(void)state;
	json_decref(stats(true));
	assert_int_equal(run("set %s b-c --cut 1h", lab), 0);
	assert_int_equal(gw_probe_ping(lab, "b1", address("c1"), 10, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 0);
	assert_int_equal(run("set %s b-c --heal", lab), 0);
	assert_int_equal(gw_probe_ping(lab, "b1", address("c1"), 10, 1000, &rtt), 0);
	assert_int_equal(rtt.received, 10);
	seen = stats(true);
	assert_int_equal(counter(seen, 1, 0, "dropped_cut"), 10);
	assert_int_equal(counter(seen, 1, 0, "packets_out"), 10);
	json_decref(seen);
}

/* 100 pings of 56 IP bytes and more at 100 kb/s fill a queue of 1500 bytes: the rest is dropped,
 * and each packet is either out, or waits, or is dropped for a cause. */
static void a_full_queue_drops_like_a_router(void **state)
{
	struct gw_probe_rtt rtt;
	json_t *seen;

	(void)state;
	assert_int_equal(run("set %s b-c rate=100kb/s queue=1500B delay=0", lab), 0);
	json_decref(stats(true));
	assert_int_equal(gw_probe_ping(lab, "b1", address("c1"), 100, 10, &rtt), 0);
	assert_in_range(rtt.received, 1, 99);
	seen = stats(true);
	assert_true(counter(seen, 1, 0, "dropped_queue") > 0);
	assert_int_equal(counter(seen, 1, 0, "packets_in"),
			 counter(seen, 1, 0, "packets_out") + counter(seen, 1, 0, "dropped_queue"));
	assert_int_equal(counter(seen, 1, 0, "packets_in"), 100);
	json_decref(seen);
	assert_int_equal(run("set %s b-c rate=0 delay=2ms", lab), 0);
}

/* One datagram over b's End SID, from a socket of a process without any privilege. */
static int send_over_segment(const char *to, const char *segment)
{
	const struct ipv6_sr_hdr header = {
		.hdrlen = 4, .type = ROUTING_TYPE_SEGMENTS, .segments_left = 1, .first_segment = 1};
	struct sockaddr_in6 target = {.sin6_family = AF_INET6, .sin6_port = htons(UDP_PORT)};
	struct in6_addr segments[2] = {0}; /* the last first; slot 0 is filled by the kernel */
	uint8_t route[sizeof(header) + sizeof(segments)];
	int fd;

	if (gw_lab_enter(lab, "a1") < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		return 1;
	fd = socket(AF_INET6, SOCK_DGRAM, 0);
	if (inet_pton(AF_INET6, segment, &segments[1]) != 1 ||
	    inet_pton(AF_INET6, to, &target.sin6_addr) != 1)
		return 2;
	memcpy(route, &header, sizeof(header));
	memcpy(route + sizeof(header), segments, sizeof(segments));
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, route, sizeof(route)) < 0)
		return 3;
	return sendto(fd, "over b", 6, 0, (const struct sockaddr *)&target, sizeof(target)) == 6
		       ? 0
		       : 4;
}

struct listener {
	int fd;
};

static int listen_here(void *context)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(UDP_PORT)};
	struct listener *listener = context;

	listener->fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return bind(listener->fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ? -errno : 0;
}

static void check_segment(const char *segment)
{
	struct listener listener;
	struct pollfd ready = {.events = POLLIN};
	char name[96];
	char text[16] = "";
	int status;
	pid_t pid;
	const char *to = address("c1");
	json_t *seen;

	json_decref(stats(true));
	(void)snprintf(name, sizeof(name), "godwit.%s.c1", lab);
	assert_int_equal(gw_netns_visit(name, listen_here, &listener), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(send_over_segment(to, segment));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ready.fd = listener.fd;
	assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
	assert_int_equal(recv(listener.fd, text, sizeof(text), 0), 6);
	assert_string_equal(text, "over b");
	(void)close(listener.fd);
	seen = stats(true);
	assert_int_equal(counter(seen, 0, 0, "packets_out"), 1); /* a to b */
	assert_int_equal(counter(seen, 1, 0, "packets_out"), 1); /* b to c */
	assert_int_equal(counter(seen, 2, 0, "packets_in"), 0);  /* not a to c */
	json_decref(seen);
}

static void a_segment_list_is_followed(void **state)
{
	(void)state;
	check_segment("fd67:6f64:7769:e002::1"); /* End: c1 sees the header */
	check_segment("fd67:6f64:7769:e002::2"); /* End with PSP: it does not */
}

static void a_command_runs_on_its_host(void **state)
{
	(void)state;
	assert_int_equal(run("exec %s a2 -- sh -c 'test $GODWIT_LAB_HOST = a2 && exit 41'", lab),
			 41);
	assert_int_equal(run("exec %s a3 -- true 2>/dev/null", lab), 1);
	assert_int_equal(run("exec %s a1 -- /no/such/program 2>/dev/null", lab), 127);
}

static void a_name_is_taken_once(void **state)
{
	(void)state;
	assert_int_equal(run("up %s --name %s 2>/dev/null", scenario_path, lab), 1);
	assert_int_equal(namespaces_left(), 8); /* the lab that is there is unharmed */
	assert_int_equal(run("exec %s a1 -- true", lab), 0);
}

static void down_ends_what_runs_there(void **state)
{
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)signal(SIGTERM, SIG_IGN); /* it takes a KILL */
		if (gw_lab_enter(lab, "b1") == 0)
			(void)pause();
		_exit(0);
	}
	assert_int_equal(run("down %s", lab), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(namespaces_left(), 0);
	assert_false(state_exists());
	assert_int_equal(run("down %s 2>/dev/null", lab), 1);
}

/* Starts "up --foreground" and returns once its state file stands: namespaces are then being made,
 * or `whole` is asked for and the lab's name is printed, which is the last step. */
static pid_t start_foreground(bool whole)
{
	int ends[2];
	char name[64];
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const char *program = getenv("GODWIT_LAB_PROGRAM");

		(void)dup2(ends[1], STDOUT_FILENO);
		(void)close(ends[0]);
		(void)close(ends[1]);
		(void)execl(program, program, "up", scenario_path, "--name", lab, "--foreground",
			    (char *)NULL);
		_exit(126);
	}
	(void)close(ends[1]);
	if (whole)
		assert_true(read(ends[0], name, sizeof(name)) > 0);
	for (int waited_ms = 0; !state_exists(); waited_ms += POLL_MS) {
		assert_true(waited_ms < DEADLINE_MS);
		pause_once();
	}
	(void)close(ends[0]);
	return pid;
}

static void kill_nine_leaves_a_stale_lab_that_down_removes(void **state)
{
	(void)state;
	for (int whole = 0; whole < 2; whole++) {
		pid_t pid = start_foreground(whole);
		json_t *seen;

		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		seen = gw_lab_state(lab);
		assert_true(json_is_true(json_object_get(seen, "stale")));
		json_decref(seen);
		assert_int_equal(run("down %s", lab), 0);
		assert_int_equal(namespaces_left(), 0);
		assert_false(state_exists());
	}
}

static void a_signal_takes_the_lab_down(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM};

	(void)state;
	for (int i = 0; i < 4; i++) {
		pid_t pid = start_foreground(i % 2);
		int status;

		assert_int_equal(kill(pid, signals[i / 2]), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(namespaces_left(), 0);
		assert_false(state_exists());
	}
}

static void without_the_right_it_says_so(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		const char *program = getenv("GODWIT_LAB_PROGRAM");

		if (!freopen("/dev/null", "w", stderr) || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(125);
		(void)execl(program, program, "up", scenario_path, "--name", lab, (char *)NULL);
		_exit(126);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 77);
	assert_false(state_exists());
}

static void write_scenario(void)
{
	FILE *file;
	int fd;

	(void)snprintf(scenario_path, sizeof(scenario_path), "/tmp/godwit-wantest-XXXXXX");
	fd = mkstemp(scenario_path);
	file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!file || fputs(scenario, file) < 0 || fchmod(fd, 0644) < 0 || fclose(file) != 0) {
		perror(scenario_path);
		exit(1);
	}
}

int main(void)
{
	const struct CMUnitTest in_lab[] = {
		cmocka_unit_test(pings_take_the_delay_and_are_all_counted),
		cmocka_unit_test(a_sites_own_traffic_never_sees_the_emulator),
		cmocka_unit_test(a_link_is_changed_while_it_runs),
		cmocka_unit_test(a_cut_stops_all_until_it_is_healed),
		cmocka_unit_test(a_full_queue_drops_like_a_router),
		cmocka_unit_test(a_segment_list_is_followed),
		cmocka_unit_test(a_command_runs_on_its_host),
		cmocka_unit_test(a_name_is_taken_once),
		cmocka_unit_test(down_ends_what_runs_there),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test_teardown(kill_nine_leaves_a_stale_lab_that_down_removes, down),
		cmocka_unit_test_teardown(a_signal_takes_the_lab_down, down),
		cmocka_unit_test_teardown(without_the_right_it_says_so, down),
	};
	int failed;

	if (!getenv("GODWIT_LAB_PROGRAM")) {
		(void)fprintf(stderr, "GODWIT_LAB_PROGRAM names no godwit-lab\n");
		return 1;
	}
	if (gw_netns_may() < 0) {
		(void)printf("skipped: no right to make network namespaces here\n");
		return SKIPPED;
	}
	(void)snprintf(lab, sizeof(lab), "wantest-%d", (int)getpid());
	write_scenario();
	failed = cmocka_run_group_tests(in_lab, up, down);
	failed += cmocka_run_group_tests(alone, NULL, NULL);
	(void)unlink(scenario_path);
	return failed;
}
