/* A TCP relay with faults; see the header. */
#include "tests/unit/transport_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

int test_connect_loopback(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

void test_flood(struct test_relay *relay, int server_fd)
{
	static const uint8_t header[] = {0x02, 0, 0, 0, 0, 0x40, 0, 0, 0};
	static const uint8_t zeros[64 << 10];
	const size_t all = 1u << 30;

	if (send(server_fd, header, sizeof(header), MSG_NOSIGNAL) != (ssize_t)sizeof(header))
		return;
	while (atomic_load(&relay->flooded_bytes) < all) {
		ssize_t size = send(server_fd, zeros, sizeof(zeros), MSG_NOSIGNAL);

		if (size < 0) {
			atomic_store(&relay->server_closed, true);
			return;
		}
		atomic_fetch_add(&relay->flooded_bytes, (size_t)size);
	}
}

/* False: the stream ended. */
static bool pass(int from, int to)
{
	uint8_t bytes[4096];
	ssize_t size = recv(from, bytes, sizeof(bytes), 0);

	return size > 0 && send(to, bytes, (size_t)size, MSG_NOSIGNAL) == size;
}

static void serve(struct test_relay *relay, int client, int server)
{
	unsigned cut = atomic_load(&relay->cut);

	while (!atomic_load(&relay->stop) && atomic_load(&relay->cut) == cut) {
		struct pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};

		(void)poll(fds, 2, 5); /* the time-out is how late a command is seen */
		if (fds[0].revents && !pass(client, server))
			return;
		if (fds[1].revents && !pass(server, client))
			return;
		if (atomic_load(&relay->flood)) {
			test_flood(relay, server);
			return;
		}
	}
}

static void *relay_main(void *context)
{
	struct test_relay *relay = context;

	while (!atomic_load(&relay->stop)) {
		struct pollfd listening = {relay->listen_fd, POLLIN, 0};
		int client;
		int server;

		if (poll(&listening, 1, 5) <= 0)
			continue;
		client = accept(relay->listen_fd, NULL, NULL);
		server = test_connect_loopback(relay->server_port);
		if (client >= 0 && server >= 0)
			serve(relay, client, server);
		if (client >= 0)
			(void)close(client);
		if (server >= 0)
			(void)close(server);
	}
	return NULL;
}

void test_relay_start(struct test_relay *relay, uint16_t server_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);

	*relay = (struct test_relay){.server_port = server_port};
	relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(relay->listen_fd >= 0);
	assert_int_equal(bind(relay->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(relay->listen_fd, 8), 0);
	assert_int_equal(getsockname(relay->listen_fd, (struct sockaddr *)&address, &size), 0);
	relay->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
}

void test_relay_stop(struct test_relay *relay)
{
	atomic_store(&relay->stop, true);
	assert_int_equal(pthread_join(relay->thread, NULL), 0);
	(void)close(relay->listen_fd);
}
