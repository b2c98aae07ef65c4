/*
 * The keeper's socket from the other side. Requests wait in a list of encoded messages until the
 * socket takes them; one message is decoded at a time, into an arena that lasts until the next.
 */
#include "agent/keeper/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/keeper/protocol.h"
#include "proto/base/time.h"
#include "proto/rlimit.h"
#include "proto/wire.h"

#define QUEUE_BYTES_MAX (4u << 20)
#define HELLO_REQUEST 0u

struct message {
	STAILQ_ENTRY(message) next;
	size_t size;
	uint8_t bytes[];
};

struct gw_keeper_client {
	int fd;
	uint32_t version; /* agreed; 0: the keeper's hello is not here yet */
	bool lost;        /* to be told as GW_KEEPER_CLOSED */
	STAILQ_HEAD(message_queue, message) queue;
	size_t queue_bytes;
	struct gw_arena arena; /* of the last event */
	char error[256];
	uint8_t input[GW_KEEPER_MESSAGE_BYTES_MAX];
};

/* --- life --- */

struct gw_keeper_client *gw_keeper_client_new(void)
{
	/* calloc: pages of the input that no large message touches are never there */
	struct gw_keeper_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->fd = -1;
	STAILQ_INIT(&client->queue);
	gw_arena_init(&client->arena, GW_KEEPER_DECODE_BYTES_MAX);
	return client;
}

static void drop_queue(struct gw_keeper_client *client)
{
	struct message *message;

	while ((message = STAILQ_FIRST(&client->queue))) {
		STAILQ_REMOVE_HEAD(&client->queue, next);
		free(message);
	}
	client->queue_bytes = 0;
}

static void disconnect(struct gw_keeper_client *client)
{
	if (client->fd >= 0)
		(void)close(client->fd);
	client->fd = -1;
	client->version = 0;
	drop_queue(client);
}

struct gw_keeper_client *gw_keeper_client_free(struct gw_keeper_client *client)
{
	if (!client)
		return NULL;
	disconnect(client);
	gw_arena_deinit(&client->arena);
	free(client);
	return NULL;
}

static int open_socket(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		int result = -errno;

		(void)close(fd);
		return result;
	}
	*ret_fd = fd;
	return 0;
}

bool gw_keeper_answers(const char *socket)
{
	int fd = -1;

	if (open_socket(socket, &fd))
		return false;
	(void)close(fd);
	return true;
}

/* --- sending --- */

static void lose(struct gw_keeper_client *client, const char *why)
{
	client->lost = true;
	(void)snprintf(client->error, sizeof(client->error), "%s", why);
}

static void send_queue(struct gw_keeper_client *client)
{
	struct message *message;

	while (!client->lost && (message = STAILQ_FIRST(&client->queue))) {
		if (send(client->fd, message->bytes, message->size, MSG_NOSIGNAL | MSG_DONTWAIT) <
		    0) {
			if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
				lose(client, "the keeper closed the connection");
			return;
		}
		STAILQ_REMOVE_HEAD(&client->queue, next);
		client->queue_bytes -= message->size;
		free(message);
	}
}

static int ask(struct gw_keeper_client *client, uint64_t request,
	       Godwit__KeeperMessage *ask_message)
{
	struct message *message;
	size_t size;

	if (client->fd < 0 || client->lost)
		return -ENOTCONN;
	/* Before the keeper's hello only the lowest version can be assumed. */
	ask_message->version = client->version ? client->version : GW_KEEPER_VERSION_MIN;
	ask_message->request = request;
	if (ask_message->kind_case == GODWIT__KEEPER_MESSAGE__KIND_HELLO)
		ask_message->version = 0;
	size = gw_wire_size(&ask_message->base);
	if (size > GW_KEEPER_MESSAGE_BYTES_MAX)
		return -EMSGSIZE;
	if (client->queue_bytes + size > QUEUE_BYTES_MAX)
		return -ENOBUFS;
	message = malloc(sizeof(*message) + size);
	if (!message)
		return -ENOMEM;
	message->size = size;
	gw_wire_encode(&ask_message->base, message->bytes);
	STAILQ_INSERT_TAIL(&client->queue, message, next);
	client->queue_bytes += size;
	send_queue(client);
	return 0;
}

int gw_keeper_client_connect(struct gw_keeper_client *client, const char *socket)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperHello hello = GODWIT__KEEPER_HELLO__INIT;
	int result;

	disconnect(client);
	client->lost = false;
	result = open_socket(socket, &client->fd);
	if (result)
		return result;
	hello.version_min = GW_KEEPER_VERSION_MIN;
	hello.version_max = GW_KEEPER_VERSION_MAX;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_HELLO;
	message.hello = &hello;
	return ask(client, HELLO_REQUEST, &message);
}

int gw_keeper_client_fd(const struct gw_keeper_client *client)
{
	return client->fd;
}

bool gw_keeper_client_wants_write(const struct gw_keeper_client *client)
{
	return client->fd >= 0 && !STAILQ_EMPTY(&client->queue);
}

int gw_keeper_spawn(struct gw_keeper_client *client, uint64_t request,
		    const Godwit__KeeperSpawn *spawn)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;

	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_SPAWN;
	message.spawn = (Godwit__KeeperSpawn *)(uintptr_t)spawn; /* only read */
	return ask(client, request, &message);
}

/* -EPROTO: the start's limits are none. */
static int spawn_start(struct gw_keeper_client *client, uint64_t request,
		       const Godwit__TaskStart *start)
{
	Godwit__KeeperSpawn spawn = GODWIT__KEEPER_SPAWN__INIT;
	Godwit__KeeperRlimit rlimits[GW_RLIMITS_MAX];
	Godwit__KeeperRlimit *list[GW_RLIMITS_MAX];
	struct gw_rlimit limits[GW_RLIMITS_MAX];
	char text[GW_RLIMIT_ERROR_BYTES];

	if (gw_rlimits_parse(start->rlimits, start->n_rlimits, limits, text) < 0)
		return -EPROTO;
	for (size_t i = 0; i < start->n_rlimits; i++) {
		godwit__keeper_rlimit__init(&rlimits[i]);
		rlimits[i].name = (char *)(uintptr_t)limits[i].name; /* only read, as start */
		rlimits[i].soft = limits[i].soft;
		rlimits[i].hard = limits[i].hard;
		list[i] = &rlimits[i];
	}
	spawn.start = (Godwit__TaskStart *)(uintptr_t)start;
	spawn.rlimits = list;
	spawn.n_rlimits = start->n_rlimits;
	return gw_keeper_spawn(client, request, &spawn);
}

int gw_keeper_spawn_bytes(struct gw_keeper_client *client, uint64_t request, const uint8_t *bytes,
			  size_t size)
{
	const Godwit__TaskStart *start;
	struct gw_arena arena;
	int result = -EPROTO;

	gw_arena_init(&arena, GW_KEEPER_DECODE_BYTES_MAX);
	start = gw_wire_decode(&godwit__task_start__descriptor, &arena, bytes, size);
	if (start)
		result = spawn_start(client, request, start);
	gw_arena_deinit(&arena);
	return result;
}

int gw_keeper_kill(struct gw_keeper_client *client, uint64_t request,
		   const struct gw_attempt_id *attempt, uint64_t grace_us, bool lease_ended)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__TaskKill kill = GODWIT__TASK_KILL__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(attempt, &ref);
	kill.attempt = &ref;
	kill.grace_us = grace_us;
	kill.lease_ended = lease_ended;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_KILL;
	message.kill = &kill;
	return ask(client, request, &message);
}

int gw_keeper_read(struct gw_keeper_client *client, uint64_t request,
		   const struct gw_attempt_id *attempt, uint32_t stream, uint64_t offset,
		   uint32_t bytes_max, uint32_t wait_us)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(attempt, &ref);
	read.attempt = &ref;
	read.stream = stream;
	read.offset = offset;
	read.bytes_max = bytes_max;
	read.wait_us = wait_us;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_READ;
	message.read = &read;
	return ask(client, request, &message);
}

int gw_keeper_acknowledge(struct gw_keeper_client *client, uint64_t request,
			  const struct gw_attempt_id *attempt, bool forget)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperAcknowledge acknowledge = GODWIT__KEEPER_ACKNOWLEDGE__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(attempt, &ref);
	acknowledge.attempt = &ref;
	acknowledge.forget = forget;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_ACKNOWLEDGE;
	message.acknowledge = &acknowledge;
	return ask(client, request, &message);
}

int gw_keeper_list(struct gw_keeper_client *client, uint64_t request)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperList list = GODWIT__KEEPER_LIST__INIT;

	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_LIST;
	message.list = &list;
	return ask(client, request, &message);
}

int gw_keeper_renew(struct gw_keeper_client *client, uint64_t request, uint64_t renewed_us)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperRenew renew = GODWIT__KEEPER_RENEW__INIT;

	renew.renewed_us = renewed_us;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_RENEW;
	message.renew = &renew;
	return ask(client, request, &message);
}

/* --- events --- */

static bool take_hello(struct gw_keeper_client *client, const Godwit__KeeperMessage *message,
		       struct gw_keeper_event *event)
{
	client->version = message->version;
	event->kind = GW_KEEPER_HELLO;
	event->hello = message->hello;
	return client->version >= GW_KEEPER_VERSION_MIN && client->version <= GW_KEEPER_VERSION_MAX;
}

/* True with the kind NONE: nothing for the caller. */
static bool take_status(const Godwit__KeeperStatus *status, struct gw_keeper_event *event)
{
	const Godwit__TaskStatus *task = status->task;

	if (!task || !gw_wire_read_attempt(task->attempt, &event->attempt))
		return false;
	event->status = status;
	event->error = task->error && *task->error ? task->error : NULL;
	switch (task->state) {
	case GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING:
		event->kind = GW_KEEPER_NOTED;
		return true;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING:
		event->kind = GW_KEEPER_SPAWNED;
		event->error = NULL; /* whatever is noted there, it runs */
		return true;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START:
		event->kind = GW_KEEPER_SPAWNED;
		return true;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED:
	case GODWIT__ATTEMPT_STATE__ATTEMPT_LOST:
	case GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE:
		event->kind = GW_KEEPER_EXITED;
		return true;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN:
	case _GODWIT__ATTEMPT_STATE_IS_INT_SIZE:
		break;
	}
	return false;
}

static bool take_output(const Godwit__KeeperOutput *output, struct gw_keeper_event *event)
{
	event->kind = GW_KEEPER_OUTPUT;
	event->output = output;
	if (!output->log || !gw_wire_read_attempt(output->log->attempt, &event->attempt))
		return false;
	event->error = output->log->error && *output->log->error ? output->log->error : NULL;
	return true;
}

/* False: nonsense. */
static bool take_message(struct gw_keeper_client *client, const Godwit__KeeperMessage *message,
			 struct gw_keeper_event *event)
{
	event->request = message->request;
	switch (message->kind_case) {
	case GODWIT__KEEPER_MESSAGE__KIND_HELLO:
		return take_hello(client, message, event);
	case GODWIT__KEEPER_MESSAGE__KIND_STATUS:
		return take_status(message->status, event);
	case GODWIT__KEEPER_MESSAGE__KIND_OUTPUT:
		return take_output(message->output, event);
	case GODWIT__KEEPER_MESSAGE__KIND_LISTED:
		event->kind = GW_KEEPER_LISTED;
		return true;
	case GODWIT__KEEPER_MESSAGE__KIND_REFUSAL:
		event->kind = GW_KEEPER_REFUSED;
		event->error = message->refusal->text;
		return true;
	case GODWIT__KEEPER_MESSAGE__KIND_SPAWN:
	case GODWIT__KEEPER_MESSAGE__KIND_KILL:
	case GODWIT__KEEPER_MESSAGE__KIND_READ:
	case GODWIT__KEEPER_MESSAGE__KIND_ACKNOWLEDGE:
	case GODWIT__KEEPER_MESSAGE__KIND_RENEW:
	case GODWIT__KEEPER_MESSAGE__KIND_LIST:
	case GODWIT__KEEPER_MESSAGE__KIND__NOT_SET:
	case _GODWIT__KEEPER_MESSAGE__KIND__CASE_IS_INT_SIZE:
		break;
	}
	return false;
}

/* False: nothing came, or the connection was lost. */
static bool receive(struct gw_keeper_client *client, struct gw_keeper_event *event)
{
	const Godwit__KeeperMessage *message = NULL;
	ssize_t count =
		recv(client->fd, client->input, sizeof(client->input), MSG_DONTWAIT | MSG_TRUNC);

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (count <= 0) {
		lose(client, "the keeper closed the connection");
		return false;
	}
	if ((size_t)count <= sizeof(client->input))
		message = gw_wire_decode(&godwit__keeper_message__descriptor, &client->arena,
					 client->input, (size_t)count);
	if (message && take_message(client, message, event))
		return true;
	lose(client, "the keeper said something that is no message of its protocol");
	return false;
}

void gw_keeper_client_next(struct gw_keeper_client *client, struct gw_keeper_event *ret_event)
{
	*ret_event = (struct gw_keeper_event){.kind = GW_KEEPER_NONE};
	if (client->fd < 0)
		return;
	gw_arena_reset(&client->arena);
	send_queue(client);
	while (!client->lost && receive(client, ret_event))
		if (ret_event->kind != GW_KEEPER_NONE)
			return;
	if (!client->lost)
		return;
	disconnect(client);
	*ret_event = (struct gw_keeper_event){.kind = GW_KEEPER_CLOSED, .error = client->error};
	client->lost = false;
}
