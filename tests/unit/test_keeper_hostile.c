/* Clients that do not mean well, and hosts that will not: each is refused with a sentence, or with
 * the closing of its own connection, and nobody else is disturbed. */
#include <errno.h>
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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/keeper/protocol.h"
#include "proto/wire.h"
#include "tests/unit/keeper_fixture.h"

static int raw_connect(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = FIXTURE_MS / 1000};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->socket);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void raw_send(int fd, const Godwit__KeeperMessage *message)
{
	uint8_t bytes[4096];
	size_t size = gw_wire_size(&message->base);

	assert_true(size <= sizeof(bytes));
	gw_wire_encode(&message->base, bytes);
	assert_int_equal(send(fd, bytes, size, 0), size);
}

/* The refusal that comes next, or "" when the keeper closes. */
static void raw_refusal(int fd, char *ret_text, size_t text_size)
{
	static uint8_t bytes[GW_KEEPER_MESSAGE_BYTES_MAX];
	const Godwit__KeeperMessage *message;
	struct gw_arena arena;
	ssize_t count;

	gw_arena_init(&arena, GW_KEEPER_DECODE_BYTES_MAX);
	ret_text[0] = '\0';
	while ((count = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		message = gw_wire_decode(&godwit__keeper_message__descriptor, &arena, bytes,
					 (size_t)count);
		assert_non_null(message);
		if (message->kind_case != GODWIT__KEEPER_MESSAGE__KIND_REFUSAL)
			continue;
		(void)snprintf(ret_text, text_size, "%s", message->refusal->text);
		break;
	}
	if (count < 0)
		assert_int_equal(errno, ECONNRESET); /* closed with our bytes unread */
	gw_arena_deinit(&arena);
}

static void raw_hello(int fd, uint32_t version_min, uint32_t version_max)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperHello hello = GODWIT__KEEPER_HELLO__INIT;

	hello.version_min = version_min;
	hello.version_max = version_max;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_HELLO;
	message.hello = &hello;
	raw_send(fd, &message);
}

static void raw_list(int fd, uint32_t version)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperList list = GODWIT__KEEPER_LIST__INIT;

	message.version = version;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_LIST;
	message.list = &list;
	raw_send(fd, &message);
}

/* The fixture's own client, which was there before, is still served. */
static void check_undisturbed(struct fixture *f, uint64_t number)
{
	fixture_spawn(f, fixture_id(number), "true", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(number));
	assert_int_equal(f->exit_code, 0);
}

static void refuses_nonsense(void **state)
{
	static const uint8_t noise[] = {0xff, 0x01, 0x80, 0x80, 0x80};
	struct fixture *f = *state;
	char text[512];
	int fd;

	fixture_start(f);
	fd = raw_connect(f);
	assert_int_equal(send(fd, noise, sizeof(noise), 0), sizeof(noise));
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "a message of 5 bytes that is not a KeeperMessage");
	raw_list(fd, 1);
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "a client begins with a hello");
	raw_hello(fd, 1, 1);
	raw_list(fd, 9);
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "this is not the version agreed at hello");
	(void)close(fd);
	check_undisturbed(f, 1);
}

static void refuses_what_is_too_long(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[GW_KEEPER_MESSAGE_BYTES_MAX + 1000];
	char text[512];
	int fd;

	fixture_start(f);
	fd = raw_connect(f);
	raw_hello(fd, 1, 1);
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "a message of 132072 bytes; at most 131072 are allowed");
	(void)close(fd);
	check_undisturbed(f, 2);
}

static void refuses_a_protocol_of_the_future(void **state)
{
	struct fixture *f = *state;
	char text[512];
	int fd;

	fixture_start(f);
	fd = raw_connect(f);
	raw_hello(fd, 7, 9);
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "this keeper speaks versions 1 to 1 of its protocol, you 7 to 9");
	raw_refusal(fd, text, sizeof(text)); /* and closes */
	assert_string_equal(text, "");
	(void)close(fd);
	fd = raw_connect(f);
	raw_hello(fd, 1, 900); /* a newer client that still speaks the old one is welcome */
	raw_list(fd, 1);
	raw_list(fd, 2);
	raw_refusal(fd, text, sizeof(text));
	assert_string_equal(text, "this is not the version agreed at hello");
	(void)close(fd);
}

static void refuses_other_users(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	fixture_start(f);
	/* As if the socket's mode had been opened by mistake. */
	assert_int_equal(chmod(f->folder, 0711), 0);
	assert_int_equal(chmod(f->socket, 0666), 0);
	pid = fork();
	if (pid == 0) {
		char byte;
		int fd;

		if (setuid(65534))
			_exit(1);
		fd = raw_connect(f);
		if (fd < 0)
			_exit(2);
		_exit(recv(fd, &byte, 1, 0) <= 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	check_undisturbed(f, 3);
}

static void bounds_its_clients(void **state)
{
	struct fixture *f = *state;
	int fds[GW_KEEPER_CLIENTS_MAX + 2];
	char text[512];

	fixture_start(f);
	for (size_t i = 0; i < GW_KEEPER_CLIENTS_MAX + 2; i++) {
		fds[i] = raw_connect(f);
		assert_true(fds[i] >= 0);
	}
	raw_refusal(fds[GW_KEEPER_CLIENTS_MAX + 1], text, sizeof(text)); /* closed at once */
	assert_string_equal(text, "");
	check_undisturbed(f, 4);
	for (size_t i = 0; i < GW_KEEPER_CLIENTS_MAX + 2; i++)
		(void)close(fds[i]);
	fixture_connect(f); /* and there is room again */
}

/* Asks and asks, and takes no answer: it must come to wait for itself, and for itself alone. */
static void bears_a_client_that_never_reads(void **state)
{
	struct fixture *f = *state;
	struct gw_keeper_client *client = gw_keeper_client_new();
	struct gw_attempt_id id = fixture_id(5);
	char path[64];
	long rss_kib = -1;
	FILE *file;
	int result = 0;

	fixture_start(f);
	fixture_spawn(f, id, "head -c 200000 /dev/zero", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(gw_keeper_client_connect(client, f->socket), 0);
	for (uint64_t i = 1; !result && i < 1000000; i++)
		result = gw_keeper_read(client, i, &id, 1, 0, 65536, 0);
	assert_int_equal(result, -ENOBUFS); /* its own queue is full */
	for (uint64_t i = 0; i < 50; i++)
		check_undisturbed(f, 100 + i);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", f->keeper);
	file = fopen(path, "r");
	assert_non_null(file);
	while (rss_kib < 0 && fgets(path, sizeof(path), file))
		(void)sscanf(path, "VmRSS: %ld", &rss_kib);
	(void)fclose(file);
	assert_in_range(rss_kib, 1, getenv("GODWIT_SANITIZED") ? 1 << 20 : 4096);
	(void)gw_keeper_client_free(client);
}

/* A limit that cannot be held is told, and the task runs. */
static void says_what_is_not_enforced(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(6);
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;

	f->extra[0] = "--cgroup";
	f->extra[1] = "none";
	fixture_start(f);
	resources.memory_bytes = 64 << 20;
	resources.cpu_milli = 500;
	fixture_spawn(f, id, "exit 0", &resources);
	assert_string_equal(f->not_enforced, "cpu: cgroups are switched off\n"
					     "memory: cgroups are switched off\n");
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_nonsense),
		TEST(refuses_what_is_too_long),
		TEST(refuses_a_protocol_of_the_future),
		TEST(refuses_other_users),
		TEST(bounds_its_clients),
		TEST(bears_a_client_that_never_reads),
		TEST(says_what_is_not_enforced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
