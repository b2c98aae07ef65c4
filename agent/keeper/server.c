/* Clients, their requests and what they are told. */
#include "agent/keeper/server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/keeper/request.h"
#include "proto/base/check.h"
#include "proto/wire.h"

#define REQUESTS_A_TURN 16
#define HEARD_TURNS_MAX 64 /* more than a socket's buffer holds */

/* Both live in .bss: pages that no large message ever touched cost nothing. */
static uint8_t input[GW_KEEPER_MESSAGE_BYTES_MAX];
static uint8_t output[GW_KEEPER_MESSAGE_BYTES_MAX];
static uint8_t chunk[GW_KEEPER_READ_BYTES_MAX];

static void flush(struct gw_server_client *client);

/* --- sending --- */

static void watch(struct gw_server_client *client)
{
	uint32_t events = client->pending ? EPOLLOUT : EPOLLIN;

	if (gw_loop_change(client->server->loop, &client->source, events))
		client->broken = true;
}

/* False: the socket is full, and the message waits. */
static bool send_bytes(struct gw_server_client *client, const uint8_t *bytes, size_t size)
{
	ssize_t count = send(client->source.fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (count >= 0)
		return true;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		return false;
	client->broken = true; /* it is gone: epoll says so too */
	return true;
}

static void say(struct gw_server_client *client, Godwit__KeeperMessage *message)
{
	size_t size;

	CHECK(!client->pending);
	if (client->broken)
		return;
	message->version = client->version;
	size = gw_wire_size(&message->base);
	CHECK(size <= sizeof(output));
	gw_wire_encode(&message->base, output);
	if (send_bytes(client, output, size))
		return;
	client->pending = malloc(size);
	if (!client->pending) {
		client->broken = true;
		return;
	}
	memcpy(client->pending, output, size);
	client->pending_size = size;
	watch(client);
}

static void say_refusal(struct gw_server_client *client, uint64_t request, const char *text)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperRefusal refusal = GODWIT__KEEPER_REFUSAL__INIT;

	refusal.text = (char *)(uintptr_t)text; /* only read */
	message.request = request;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_REFUSAL;
	message.refusal = &refusal;
	say(client, &message);
}

static void say_status(struct gw_server_client *client, uint64_t request,
		       Godwit__KeeperStatus *status)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;

	message.request = request;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_STATUS;
	message.status = status;
	say(client, &message);
}

static void say_attempt(struct gw_server_client *client, uint64_t request,
			const struct gw_attempt *attempt, bool live)
{
	struct gw_attempt_status status;

	gw_attempt_status(attempt, live, &status);
	say_status(client, request, &status.status);
}

/* Of an attempt that is not here. */
static void say_state(struct gw_server_client *client, const struct gw_request *request,
		      Godwit__AttemptState state, const char *error, bool declined)
{
	Godwit__KeeperStatus status = GODWIT__KEEPER_STATUS__INIT;
	Godwit__TaskStatus task = GODWIT__TASK_STATUS__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&request->attempt, &ref);
	task.attempt = &ref;
	task.state = state;
	task.error = (char *)(uintptr_t)error; /* only read */
	task.declined = declined;
	status.task = &task;
	say_status(client, request->request, &status);
}

static void say_listed(struct gw_server_client *client, uint64_t request)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperListed listed = GODWIT__KEEPER_LISTED__INIT;

	listed.count = client->server->attempts->attempts.count;
	message.request = request;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_LISTED;
	message.listed = &listed;
	say(client, &message);
}

/* The next attempt whose last change came after `change`. */
static const struct gw_attempt *next_change(const struct gw_server_client *client, uint64_t change)
{
	const struct gw_attempt_list *changes = &client->server->attempts->changes;
	const struct gw_attempt *found = NULL;
	const struct gw_attempt *attempt;

	TAILQ_FOREACH_REVERSE(attempt, changes, gw_attempt_list, changes)
	{
		if (attempt->change <= change)
			break;
		found = attempt;
	}
	return found;
}

/* One step of a list. It is beside the changes, which are told as ever: nobody has to find an exit
 * in the answer to a question about usage. */
static void say_list(struct gw_server_client *client)
{
	const struct gw_attempt *attempt = next_change(client, client->list_change);

	if (attempt) {
		client->list_change = attempt->change;
		say_attempt(client, client->list_request, attempt, true);
		return;
	}
	client->listing = false;
	say_listed(client, client->list_request);
}

/* --- reads --- */

static void say_output(struct gw_server_client *client, uint64_t request,
		       const Godwit__LogRead *read, const struct gw_attempt *attempt)
{
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperOutput answer = GODWIT__KEEPER_OUTPUT__INIT;
	Godwit__LogData log = GODWIT__LOG_DATA__INIT;
	Godwit__AttemptRef ref;
	bool closed;
	const struct gw_output *stream = gw_attempt_output(attempt, read->stream, &closed);
	ssize_t count = gw_attempt_read(attempt, read->stream, read->offset, chunk, read->bytes_max,
					&log.offset);
	char error[128];

	if (count < 0) {
		(void)snprintf(error, sizeof(error), "the output cannot be read: %s",
			       strerrordesc_np((int)-count));
		log.error = error;
		log.offset = read->offset;
		count = 0;
	}
	gw_wire_attempt(&attempt->id, &ref);
	log.attempt = &ref;
	log.stream = read->stream;
	log.data = (ProtobufCBinaryData){(size_t)count, chunk};
	answer.log = &log;
	answer.next_offset = log.offset + (uint64_t)count;
	answer.first_kept_offset = stream->first_offset;
	answer.end_offset = stream->end_offset;
	log.end = closed && answer.next_offset >= stream->end_offset;
	message.request = request;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_OUTPUT;
	message.output = &answer;
	say(client, &message);
}

static bool worth_telling(const struct gw_attempt *attempt, uint32_t stream, uint64_t offset)
{
	bool closed;
	const struct gw_output *out = gw_attempt_output(attempt, stream, &closed);

	return closed || offset < out->end_offset;
}

static void release_waiter(struct gw_server_waiter *waiter)
{
	if (!waiter->client)
		return;
	gw_loop_cancel(waiter->client->server->loop, &waiter->timer);
	waiter->client = NULL;
}

static struct gw_server_waiter *due_waiter(const struct gw_server_client *client)
{
	struct gw_server *server = client->server;

	for (unsigned i = 0; i < GW_KEEPER_WAITERS_MAX; i++)
		if (server->waiters[i].client == client && server->waiters[i].due)
			return &server->waiters[i];
	return NULL;
}

static void answer_waiter(struct gw_server_waiter *waiter)
{
	struct gw_server_client *client = waiter->client;
	const struct gw_attempt *attempt =
		gw_attempts_find(client->server->attempts, &waiter->attempt);
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;

	read.stream = waiter->stream;
	read.offset = waiter->offset;
	read.bytes_max = waiter->bytes_max;
	release_waiter(waiter);
	if (attempt)
		say_output(client, waiter->request, &read, attempt);
	else
		say_refusal(client, waiter->request, "this attempt was forgotten");
}

static void waiter_late(struct gw_timer *timer)
{
	struct gw_server_waiter *waiter = GW_CONTAINER_OF(timer, struct gw_server_waiter, timer);

	waiter->due = true;
	flush(waiter->client);
}

static void hold_read(struct gw_server_client *client, const struct gw_request *request,
		      const Godwit__LogRead *read)
{
	struct gw_server *server = client->server;

	for (unsigned i = 0; i < GW_KEEPER_WAITERS_MAX; i++) {
		struct gw_server_waiter *waiter = &server->waiters[i];

		if (waiter->client)
			continue;
		waiter->client = client;
		waiter->attempt = request->attempt;
		waiter->request = request->request;
		waiter->offset = read->offset;
		waiter->stream = read->stream;
		waiter->bytes_max = read->bytes_max;
		waiter->due = false;
		waiter->timer.due = waiter_late;
		if (!gw_loop_set(server->loop, &waiter->timer, gw_loop_now_us() + read->wait_us))
			return;
		waiter->client = NULL;
		break;
	}
	say_refusal(client, request->request, "too many reads are held open; read without wait");
}

static void handle_read(struct gw_server_client *client, const struct gw_request *request)
{
	const Godwit__LogRead *read = request->message->read;
	const struct gw_attempt *attempt =
		gw_attempts_find(client->server->attempts, &request->attempt);

	if (!attempt)
		say_refusal(client, request->request, "this keeper knows no such attempt");
	else if (!read->wait_us || worth_telling(attempt, read->stream, read->offset))
		say_output(client, request->request, read, attempt);
	else
		hold_read(client, request, read);
}

/* --- other requests --- */

static void handle_hello(struct gw_server_client *client, const struct gw_request *request)
{
	const Godwit__KeeperHello *theirs = request->message->hello;
	struct gw_attempts *attempts = client->server->attempts;
	uint32_t highest = theirs->version_max < GW_KEEPER_VERSION_MAX ? theirs->version_max
								       : GW_KEEPER_VERSION_MAX;
	uint32_t lowest = theirs->version_min > GW_KEEPER_VERSION_MIN ? theirs->version_min
								      : GW_KEEPER_VERSION_MIN;
	Godwit__KeeperMessage message = GODWIT__KEEPER_MESSAGE__INIT;
	Godwit__KeeperHello hello = GODWIT__KEEPER_HELLO__INIT;
	struct gw_notes notes = {0};
	char text[GW_REQUEST_ERROR_BYTES];

	if (highest < lowest) {
		(void)snprintf(text, sizeof(text),
			       "this keeper speaks versions %u to %u of its protocol, you %" PRIu32
			       " to %" PRIu32,
			       GW_KEEPER_VERSION_MIN, GW_KEEPER_VERSION_MAX, theirs->version_min,
			       theirs->version_max);
		say_refusal(client, request->request, text);
		client->broken = true;
		return;
	}
	client->version = highest;
	client->change = 0; /* all that is known is told as a change, then LISTED */
	client->list_change = attempts->change_last;
	client->list_request = request->request;
	client->listing = true;
	gw_cgroup_describe(&attempts->cgroup, &notes);
	hello.version_min = GW_KEEPER_VERSION_MIN;
	hello.version_max = GW_KEEPER_VERSION_MAX;
	hello.program_version = (char *)(uintptr_t)GODWIT_VERSION; /* only read */
	hello.pid = (uint32_t)getpid();
	hello.boot_id = gw_wire_id(&attempts->boot_id);
	hello.n_not_enforced = notes.count;
	hello.not_enforced = notes.texts;
	message.request = request->request;
	message.kind_case = GODWIT__KEEPER_MESSAGE__KIND_HELLO;
	message.hello = &hello;
	say(client, &message);
	gw_notes_deinit(&notes);
}

/* What this host lacks, so that the same task may start on another. */
static bool hosts_own(int error)
{
	static const int errors[] = {ENOSPC, EDQUOT,  EROFS,  EIO,    EAGAIN,
				     ENOMEM, ENOBUFS, EMFILE, ENFILE, ESHUTDOWN};

	for (size_t i = 0; i < GW_ARRAY_COUNT(errors); i++) {
		if (error == -errors[i])
			return true;
	}
	return false;
}

static void handle_spawn(struct gw_server_client *client, const struct gw_request *request)
{
	const Godwit__TaskStart *start = request->message->spawn->start;
	struct gw_server *server = client->server;
	struct gw_attempt *attempt;
	char error[GW_ATTEMPTS_ERROR_BYTES];
	int result;

	/* The agent looked too, but may have been stopped since. */
	if (!gw_attempts_find(server->attempts, &request->attempt) &&
	    gw_leases_over(&server->leases, start->lease_us, start->lease_from_us)) {
		say_state(client, request, GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START,
			  "its lease was over when it came to be started", true);
		return;
	}
	result = gw_attempts_spawn(server->attempts, &request->attempt, request->message->spawn,
				   &attempt, error);
	if (result) {
		say_state(client, request,
			  result == -ESTALE ? GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE
					    : GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START,
			  error, hosts_own(result));
		return;
	}
	say_attempt(client, request->request, attempt, false);
	gw_leases_began(&client->server->leases);
}

static void handle_kill(struct gw_server_client *client, const struct gw_request *request)
{
	struct gw_attempts *attempts = client->server->attempts;
	const struct gw_attempt *attempt;
	char error[GW_REQUEST_ERROR_BYTES];
	int result = gw_attempts_kill(attempts, &request->attempt, request->message->kill->grace_us,
				      request->message->kill->lease_ended);

	if (result) {
		(void)snprintf(error, sizeof(error), "the kill could not be written down: %s",
			       strerrordesc_np(-result));
		say_refusal(client, request->request, error);
		return;
	}
	attempt = gw_attempts_find(attempts, &request->attempt);
	if (attempt)
		say_attempt(client, request->request, attempt, false);
	else
		say_state(client, request, GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE, "", false);
}

static void handle_acknowledge(struct gw_server_client *client, const struct gw_request *request)
{
	struct gw_attempts *attempts = client->server->attempts;
	char error[GW_REQUEST_ERROR_BYTES];
	int result = gw_attempts_acknowledge(attempts, &request->attempt,
					     request->message->acknowledge->forget);
	const struct gw_attempt *attempt = gw_attempts_find(attempts, &request->attempt);

	if (!result && attempt)
		say_attempt(client, request->request, attempt, false);
	else if (!result || result == -ENOENT)
		say_listed(client, request->request);
	else if (result == -EBUSY)
		say_refusal(client, request->request, "this attempt has not ended yet");
	else {
		(void)snprintf(error, sizeof(error),
			       "the acknowledgement could not be written down: %s",
			       strerrordesc_np(-result));
		say_refusal(client, request->request, error);
	}
}

static void handle_renew(struct gw_server_client *client, const struct gw_request *request)
{
	gw_leases_renew(&client->server->leases, request->message->renew->renewed_us);
	say_listed(client, request->request);
}

static void handle(struct gw_server_client *client, const struct gw_request *request)
{
	switch (request->kind) {
	case GW_REQUEST_HELLO:
		handle_hello(client, request);
		break;
	case GW_REQUEST_SPAWN:
		handle_spawn(client, request);
		break;
	case GW_REQUEST_KILL:
		handle_kill(client, request);
		break;
	case GW_REQUEST_READ:
		handle_read(client, request);
		break;
	case GW_REQUEST_ACKNOWLEDGE:
		handle_acknowledge(client, request);
		break;
	case GW_REQUEST_LIST:
		client->list_change = 0;
		client->list_request = request->request;
		client->listing = true;
		break;
	case GW_REQUEST_RENEW:
		handle_renew(client, request);
		break;
	}
}

static void take_datagram(struct gw_server_client *client, const uint8_t *bytes, size_t size)
{
	struct gw_arena arena;
	struct gw_request request;
	char error[GW_REQUEST_ERROR_BYTES];
	int result;

	client->busy = true;
	gw_arena_init(&arena, GW_KEEPER_DECODE_BYTES_MAX);
	result = gw_request_decode(&arena, bytes, size, &request, error);
	if (result && request.kind == GW_REQUEST_SPAWN && request.attempt.attempt)
		say_state(client, &request, GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START, error,
			  false);
	else if (result)
		say_refusal(client, request.request, error);
	else if (!client->version && request.kind != GW_REQUEST_HELLO)
		say_refusal(client, request.request, "a client begins with a hello");
	else if (request.kind != GW_REQUEST_HELLO && request.version != client->version)
		say_refusal(client, request.request, "this is not the version agreed at hello");
	else
		handle(client, &request);
	gw_arena_deinit(&arena);
	client->busy = false;
}

/* --- clients --- */

/* Says what there is to say until the socket is full. Never closes: hooks call it in the middle
 * of somebody else's turn. */
static void flush(struct gw_server_client *client)
{
	if (client->busy)
		return;
	if (client->pending && send_bytes(client, client->pending, client->pending_size)) {
		free(client->pending);
		client->pending = NULL;
		watch(client);
	}
	while (client->version && !client->pending && !client->broken) {
		const struct gw_attempt *attempt = next_change(client, client->change);
		struct gw_server_waiter *waiter = due_waiter(client);

		if (attempt) {
			client->change = attempt->change;
			say_attempt(client, 0, attempt, false);
		} else if (client->listing) {
			say_list(client);
		} else if (waiter) {
			answer_waiter(waiter);
		} else {
			return;
		}
	}
}

static void close_client(struct gw_server_client *client)
{
	struct gw_server *server = client->server;

	for (unsigned i = 0; i < GW_KEEPER_WAITERS_MAX; i++)
		if (server->waiters[i].client == client)
			release_waiter(&server->waiters[i]);
	free(client->pending);
	gw_loop_close(server->loop, &client->source);
	*client = (struct gw_server_client){.source = {.fd = -1}, .server = server};
}

/* False: nothing more to read now. */
static bool read_datagram(struct gw_server_client *client)
{
	/* MSG_TRUNC gives the true size, so what is too long is seen and refused. */
	ssize_t count = recv(client->source.fd, input, sizeof(input), MSG_DONTWAIT | MSG_TRUNC);

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (count <= 0) {
		client->broken = true;
		return false;
	}
	take_datagram(client, input, (size_t)count);
	return true;
}

/* True: there may be more to read. */
static bool serve(struct gw_server_client *client, uint32_t events)
{
	int count = 0;

	flush(client);
	for (; count < REQUESTS_A_TURN; count++) {
		if (client->pending || client->broken || !read_datagram(client))
			break;
		if (!client->pending)
			flush(client);
	}
	if (client->broken || (client->pending && (events & (EPOLLHUP | EPOLLERR)))) {
		close_client(client);
		return false;
	}
	return count == REQUESTS_A_TURN;
}

static void client_ready(struct gw_source *source, uint32_t events)
{
	(void)serve(GW_CONTAINER_OF(source, struct gw_server_client, source), events);
}

/* Hears what clients have said by now. */
static void hear(struct gw_leases *leases)
{
	struct gw_server *server = GW_CONTAINER_OF(leases, struct gw_server, leases);

	for (unsigned i = 0; i < GW_KEEPER_CLIENTS_MAX; i++) {
		int turns = HEARD_TURNS_MAX;

		while (server->clients[i].source.fd >= 0 && serve(&server->clients[i], 0) &&
		       --turns > 0)
			continue;
	}
}

static void listener_ready(struct gw_source *source, uint32_t events)
{
	struct gw_server *server = GW_CONTAINER_OF(source, struct gw_server, listener);
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid()) {
		(void)close(fd);
		return;
	}
	for (unsigned i = 0; i < GW_KEEPER_CLIENTS_MAX; i++) {
		struct gw_server_client *client = &server->clients[i];

		if (client->source.fd >= 0)
			continue;
		client->source = (struct gw_source){fd, client_ready};
		if (gw_loop_add(server->loop, &client->source, EPOLLIN))
			close_client(client);
		return;
	}
	(void)close(fd); /* no place: the client sees the end at once */
}

/* --- hooks --- */

static void attempt_moved(struct gw_attempts *set, struct gw_attempt *attempt)
{
	struct gw_server *server = set->listener;

	for (unsigned i = 0; i < GW_KEEPER_WAITERS_MAX; i++) {
		struct gw_server_waiter *waiter = &server->waiters[i];

		if (!waiter->client || !gw_attempt_id_equal(waiter->attempt, attempt->id) ||
		    !worth_telling(attempt, waiter->stream, waiter->offset))
			continue;
		waiter->due = true;
		flush(waiter->client);
	}
}

static void attempt_changed(struct gw_attempts *set, struct gw_attempt *attempt)
{
	struct gw_server *server = set->listener;

	for (unsigned i = 0; i < GW_KEEPER_CLIENTS_MAX; i++)
		if (server->clients[i].source.fd >= 0)
			flush(&server->clients[i]);
	attempt_moved(set, attempt); /* an end ends the waiting too */
}

/* --- the socket --- */

static int listen_at(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int result = 0;

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path) + 1);
	mask = umask(0177);
	/* Whoever listened there before held the lock that is ours now, and is gone. */
	if ((unlink(path) && errno != ENOENT) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) || listen(fd, 8))
		result = -errno;
	(void)umask(mask);
	if (result)
		(void)close(fd);
	else
		*ret_fd = fd;
	return result;
}

int gw_server_init(struct gw_server *server, struct gw_attempts *attempts, const char *path,
		   char *ret_error)
{
	int result = -ENAMETOOLONG;

	memset(server, 0, sizeof(*server));
	server->attempts = attempts;
	server->loop = attempts->loop;
	server->listener = (struct gw_source){-1, listener_ready};
	gw_leases_init(&server->leases, attempts, hear);
	for (unsigned i = 0; i < GW_KEEPER_CLIENTS_MAX; i++) {
		server->clients[i].source.fd = -1;
		server->clients[i].server = server;
	}
	if (strlen(path) < sizeof(server->path)) {
		memcpy(server->path, path, strlen(path) + 1);
		result = listen_at(path, &server->listener.fd);
	}
	if (!result)
		result = gw_loop_add(server->loop, &server->listener, EPOLLIN);
	if (result) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "no socket at %s: %s", path,
			       strerrordesc_np(-result));
		gw_loop_close(server->loop, &server->listener);
		return result;
	}
	attempts->listener = server;
	attempts->changed = attempt_changed;
	attempts->moved = attempt_moved;
	return 0;
}

void gw_server_deinit(struct gw_server *server)
{
	server->attempts->changed = NULL;
	server->attempts->moved = NULL;
	for (unsigned i = 0; i < GW_KEEPER_CLIENTS_MAX; i++)
		close_client(&server->clients[i]);
	gw_loop_close(server->loop, &server->listener);
	gw_leases_deinit(&server->leases);
	(void)unlink(server->path);
}
