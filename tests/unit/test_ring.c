/*
 * The inference ring with real processes on loopback: the tokens are the same however it is cut and
 * batched, in both modes and beside arrivals; a stranger on a stage's port is turned away; a
 * request that is wrong gets a sentence; a stage that dies ends the others with a sentence.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "bench/loss/client.h"

#define STAGES_MAX 6
#define WAIT_MS 60000

struct ring {
	int stages;
	pid_t pids[STAGES_MAX];
	uint16_t ports[STAGES_MAX];
	char folder[64];
	char control[96];
	struct gw_client client;
};

/* Ports that nobody has now: held open together, so that they differ. */
static void free_ports(struct ring *ring)
{
	int fds[STAGES_MAX];

	for (int i = 0; i < ring->stages; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof(address);

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&address, size), 0);
		assert_int_equal(getsockname(fds[i], (struct sockaddr *)&address, &size), 0);
		ring->ports[i] = ntohs(address.sin_port);
	}
	for (int i = 0; i < ring->stages; i++)
		assert_int_equal(close(fds[i]), 0);
}

static void ring_prepare(struct ring *ring, int stages)
{
	memset(ring, 0, sizeof(*ring));
	ring->stages = stages;
	ring->client.fd = -1;
	strcpy(ring->folder, "/tmp/godwit-ring-XXXXXX");
	assert_non_null(mkdtemp(ring->folder));
	(void)snprintf(ring->control, sizeof(ring->control), "%s/head", ring->folder);
	free_ports(ring);
}

static void stage_start(struct ring *ring, int index)
{
	char peers[STAGES_MAX * 32] = "";
	char text[16];
	pid_t pid;

	for (int i = 0; i < ring->stages; i++)
		(void)snprintf(peers + strlen(peers), sizeof(peers) - strlen(peers),
			       "%s127.0.0.1:%u", i ? "," : "", ring->ports[i]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0) {
		ring->pids[index] = pid;
		return;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing behind */
	(void)snprintf(text, sizeof(text), "%d", index);
	(void)setenv("GODWIT_TASK_INDEX", text, 1);
	(void)snprintf(text, sizeof(text), "%d", ring->stages);
	(void)setenv("GODWIT_TASK_COUNT", text, 1);
	(void)setenv("GODWIT_PEERS", peers, 1);
	(void)setenv("GODWIT_CONTROL", ring->control, 1);
	(void)execl(getenv("GODWIT_STAGE"), "godwit-stage", "--congestion", "cubic", "--slots",
		    "24", "--rows", "96", "--window", "24", "--overhead", "0.0001",
		    "--served-layers", "1", (char *)NULL);
	_exit(127);
}

static void ring_connect(struct ring *ring)
{
	char error[GW_CLIENT_ERROR_BYTES];

	if (gw_client_open(&ring->client, ring->control, WAIT_MS, error) < 0)
		fail_msg("%s", error);
}

static void ring_start(struct ring *ring, int stages)
{
	ring_prepare(ring, stages);
	for (int i = stages - 1; i >= 0; i--)
		stage_start(ring, i);
	ring_connect(ring);
}

static void ring_stop(struct ring *ring)
{
	gw_client_close(&ring->client);
	for (int i = 0; i < ring->stages; i++) {
		if (ring->pids[i] <= 0)
			continue;
		(void)kill(ring->pids[i], SIGKILL);
		(void)waitpid(ring->pids[i], NULL, 0);
	}
	(void)unlink(ring->control);
	(void)rmdir(ring->folder);
}

/* "checksum/tokens" of an order. */
static void ask(struct ring *ring, json_t *request, char ret[64])
{
	char error[GW_CLIENT_ERROR_BYTES];
	json_t *answer = gw_client_ask(&ring->client, request, WAIT_MS, error);

	if (!answer)
		fail_msg("%s", error);
	(void)snprintf(ret, 64, "%s/%lld", json_string_value(json_object_get(answer, "checksum")),
		       (long long)json_integer_value(json_object_get(answer, "checksum_tokens")));
	json_decref(answer);
}

static json_t *block(int m, int b, const char *mode)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:s}", "op", "block", "m", m, "b", b, "rounds", 15,
			 "mode", mode);
}

static json_t *serve(int m, int b)
{
	return json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:i, s:s}", "op", "serve", "m", m, "b", b,
			 "rate_per_s", 60.0, "seconds", 0.4, "warm_s", 0.1, "seed", 3, "mode",
			 "real");
}

static void test_tokens_do_not_depend_on_the_cut(void **state)
{
	const struct {
		int stages;
		int m;
		int b;
	} cases[] = {{1, 1, 24}, {2, 2, 12}, {2, 24, 1}, {3, 3, 8},
		     {3, 4, 6},  {4, 6, 4},  {6, 8, 3},  {6, 1, 24}};

	char expected[64] = "";
	char expected_serve[64] = "";

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring ring;
		char found[64];

		ring_start(&ring, cases[i].stages);
		ask(&ring, block(cases[i].m, cases[i].b, i % 2 ? "paced" : "real"), found);
		if (i == 0)
			strcpy(expected, found);
		assert_string_equal(found, expected);
		ask(&ring, block(cases[i].m, cases[i].b, i % 2 ? "real" : "paced"), found);
		assert_string_equal(found, expected); /* and again: nothing is left of the first */
		ask(&ring, serve(cases[i].m, cases[i].b), found);
		if (i == 0)
			strcpy(expected_serve, found);
		assert_string_equal(found, expected_serve);
		ring_stop(&ring);
	}
}

static void assert_refused(struct ring *ring, const char *request, const char *sentence)
{
	char error[GW_CLIENT_ERROR_BYTES];
	json_t *answer = gw_client_ask(&ring->client, json_loads(request, 0, NULL), WAIT_MS, error);

	assert_null(answer);
	if (!strstr(error, sentence))
		fail_msg("\"%s\" does not say \"%s\"", error, sentence);
}

static void test_wrong_requests_are_refused(void **state)
{
	struct ring ring;
	char found[64];

	(void)state;
	ring_start(&ring, 2);
	assert_refused(&ring, "{\"op\":\"dance\"}", "op must be");
	assert_refused(&ring, "[]", "an object with an op");
	assert_refused(&ring, "{\"op\":\"block\",\"m\":33,\"b\":1,\"rounds\":1}", "m and b");
	assert_refused(&ring, "{\"op\":\"block\",\"m\":2,\"b\":2}", "rounds, or seconds");
	assert_refused(&ring, "{\"op\":\"block\",\"m\":5,\"b\":5,\"rounds\":1}", "fit in memory");
	assert_refused(&ring, "{\"op\":\"block\",\"m\":1,\"b\":1,\"rounds\":-1}", "rounds must be");
	assert_refused(&ring,
		       "{\"op\":\"serve\",\"m\":1,\"b\":1,\"rate_per_s\":1e6,\"seconds\":3000}",
		       "past the limit");
	assert_refused(&ring,
		       "{\"op\":\"serve\",\"m\":1,\"b\":1,\"rate_per_s\":1,\"seconds\":9,"
		       "\"prompt\":[9,1]}",
		       "prompt and output");
	assert_refused(&ring, "{\"op\":\"congestion\",\"name\":\"magic\"}", "no such congestion");
	ask(&ring, block(2, 3, "real"), found); /* nothing of it disturbed the ring */
	ring_stop(&ring);
}

static int exit_code(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_a_dead_stage_ends_the_ring(void **state)
{
	struct ring ring;
	char found[64];

	(void)state;
	ring_start(&ring, 3);
	ask(&ring, block(3, 2, "real"), found);
	assert_int_equal(kill(ring.pids[1], SIGKILL), 0);
	assert_int_equal(exit_code(ring.pids[1]), -1);
	assert_int_equal(exit_code(ring.pids[0]), 1);
	assert_int_equal(exit_code(ring.pids[2]), 1);
	memset(ring.pids, 0, sizeof(ring.pids));
	ring_stop(&ring);
}

/* Bytes that are no hello reach the stage's port before its neighbour does. */
static void test_a_stranger_is_turned_away(void **state)
{
	static const char noise[64] = "GET / HTTP/1.1\r\n";
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ring ring;
	char found[64];
	char byte;
	int fd = -1;

	(void)state;
	ring_prepare(&ring, 2);
	address.sin_port = htons(ring.ports[1]);
	stage_start(&ring, 1);
	for (int tries = 0; tries < 600; tries++) { /* until it listens */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fd >= 0);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			break;
		assert_int_equal(close(fd), 0);
		fd = -1;
		(void)usleep(100000);
	}
	assert_true(fd >= 0);
	assert_int_equal(send(fd, noise, sizeof(noise), MSG_NOSIGNAL), sizeof(noise));
	stage_start(&ring, 0);
	ring_connect(&ring);
	ask(&ring, block(2, 2, "real"), found);
	assert_true(recv(fd, &byte, 1, 0) <= 0); /* it was shown the door */
	assert_int_equal(close(fd), 0);
	ring_stop(&ring);
}

static void test_wrong_environment_is_refused(void **state)
{
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)setenv("GODWIT_TASK_INDEX", "0", 1);
		(void)setenv("GODWIT_TASK_COUNT", "3", 1);
		(void)setenv("GODWIT_PEERS", "[::1]:7000,[::1]:7001", 1);
		(void)execl(getenv("GODWIT_STAGE"), "godwit-stage", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(exit_code(pid), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tokens_do_not_depend_on_the_cut),
		cmocka_unit_test(test_wrong_requests_are_refused),
		cmocka_unit_test(test_a_dead_stage_ends_the_ring),
		cmocka_unit_test(test_a_stranger_is_turned_away),
		cmocka_unit_test(test_wrong_environment_is_refused),
	};

	if (!getenv("GODWIT_STAGE")) {
		(void)fprintf(stderr, "GODWIT_STAGE does not name the program to test\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
