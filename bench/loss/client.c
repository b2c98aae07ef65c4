/* The client of a head's control socket; see the header. */
#include "bench/loss/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/buf.h"

#define ANSWER_BYTES_MAX (1u << 20)
#define RETRY_MS 50

int gw_client_open(struct gw_client *client, const char *path, int wait_ms, char *ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};

	client->fd = -1;
	if (strlen(path) >= sizeof(address.sun_path)) {
		(void)snprintf(ret_error, GW_CLIENT_ERROR_BYTES, "%s: path too long", path);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	memcpy(client->path, path, strlen(path) + 1);
	for (int waited_ms = 0;; waited_ms += RETRY_MS) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int r;

		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
			client->fd = fd;
			return 0;
		}
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		if ((r != -ENOENT && r != -ECONNREFUSED) || waited_ms >= wait_ms) {
			(void)snprintf(ret_error, GW_CLIENT_ERROR_BYTES, "%s: %s", path,
				       strerror(-r));
			return r;
		}
		(void)nanosleep(&pause, NULL);
	}
}

void gw_client_close(struct gw_client *client)
{
	if (client->fd >= 0)
		(void)close(client->fd);
	client->fd = -1;
}

static bool send_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		text += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* One line into `in`. NULL, or what went wrong. */
static const char *receive_line(int fd, int wait_ms, struct gw_buf *in)
{
	while (in->size == 0 || in->bytes[in->size - 1] != '\n') {
		struct pollfd item = {.fd = fd, .events = POLLIN};
		int ready = poll(&item, 1, wait_ms);
		uint8_t bytes[4096];
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return "no answer in time";
		n = ready < 0 ? -1 : recv(fd, bytes, sizeof(bytes), 0);
		if (n <= 0)
			return "the head is gone";
		if (gw_buf_append(in, bytes, (size_t)n) < 0)
			return "the answer is too long";
	}
	return NULL;
}

json_t *gw_client_ask(struct gw_client *client, json_t *request, int wait_ms, char *ret_error)
{
	char *text = json_dumps(request, JSON_COMPACT);
	const char *wrong = text ? NULL : "out of memory";
	json_t *answer = NULL;
	struct gw_buf in;

	json_decref(request);
	gw_buf_init(&in, ANSWER_BYTES_MAX);
	if (!wrong && (!send_all(client->fd, text, strlen(text)) || !send_all(client->fd, "\n", 1)))
		wrong = "the head is gone";
	if (!wrong)
		wrong = receive_line(client->fd, wait_ms, &in);
	if (!wrong) {
		answer = json_loadb((const char *)in.bytes, in.size, 0, NULL);
		wrong = json_is_object(answer) ? json_string_value(json_object_get(answer, "error"))
					       : "the answer is not a JSON object";
	}
	if (wrong) {
		(void)snprintf(ret_error, GW_CLIENT_ERROR_BYTES, "%s: %s", client->path, wrong);
		json_decref(answer);
		answer = NULL;
	}
	free(text);
	gw_buf_deinit(&in);
	return answer;
}
