/*
 * A scheduler's host under more than it was sized for, on real sockets: who does not read, who
 * floods, and that others are served meanwhile, within a memory that is stated.
 *
 * The flood comes from a process of its own (this program again, with arguments), so that the
 * memory measured is the server's.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "proto/wire.h"
#include "tests/unit/transport_fixture.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/link.h"
#include "transport/zsock.h"

#define FLOODERS 64u
#define SIZED                                                                                      \
	GW_HOST_REQUESTS_PER_CLIENT_MAX /* requests under way that a client is meant to have */
#define SPEC_BYTES (2u << 10)
#define SYNC_US (20 * GW_US_PER_MS)

/* --- the flood, in a process of its own ----------------------------------------------------- */

struct flood;

struct flooder {
	struct flood *flood;
	struct gw_zsock *zsock;
	struct gw_link *link;
	struct gw_timer timer;
	uint64_t answered;
	uint64_t refused;
	uint64_t other;
};

struct flood {
	struct gw_keys *keys;
	struct gw_cert cert;
	struct gw_region region;
	struct gw_reactor *reactor;
	void *zmq;
	struct gw_watch input; /* its end ends the flood */
	struct flooder flooders[FLOODERS];
	uint32_t up_count;
	uint32_t warm_count; /* flooders that had SIZED answers; counted anew once all had */
	struct gw_buf request;
	struct gw_buf out;
	struct gw_arena envelope;
	struct gw_arena body;
};

static void flooder_flush(struct flooder *flooder)
{
	struct flood *flood = flooder->flood;
	struct gw_now now = gw_reactor_now(flood->reactor);

	flood->out.size = 0;
	while (gw_link_next(flooder->link, &now, &flood->out)) {
		(void)gw_zsock_send(flooder->zsock, NULL, flood->out.bytes, flood->out.size);
		flood->out.size = 0;
	}
	gw_reactor_timer_set(flood->reactor, &flooder->timer, gw_link_wake_us(flooder->link));
}

static void flooder_timer(void *context)
{
	struct flooder *flooder = context;
	struct gw_now now = gw_reactor_now(flooder->flood->reactor);

	gw_link_tick(flooder->link, &now);
	flooder_flush(flooder);
}

static void flooder_send(struct flooder *flooder)
{
	struct gw_now now = gw_reactor_now(flooder->flood->reactor);

	/* FULL: this side's own queue holds enough to go on with. */
	(void)gw_link_send(flooder->link, &now, 0, flooder->flood->request.bytes,
			   flooder->flood->request.size);
}

/* Once all are there: ten times what each is meant to have under way. */
static void flooder_up(struct flood *flood)
{
	if (++flood->up_count != FLOODERS)
		return;
	for (uint32_t i = 0; i < FLOODERS; i++) {
		for (uint32_t k = 0; k < 10 * SIZED; k++)
			flooder_send(&flood->flooders[i]);
		flooder_flush(&flood->flooders[i]);
	}
}

/* How fairly a client is served shows once all are under way: who began first has a start. */
static void count_answer(struct flooder *flooder)
{
	struct flood *flood = flooder->flood;

	if (++flooder->answered != SIZED || flood->warm_count == FLOODERS ||
	    ++flood->warm_count != FLOODERS)
		return;
	for (uint32_t i = 0; i < FLOODERS; i++)
		flood->flooders[i].answered = 0;
}

static void flooder_received(void *context, const struct gw_zmessage *message)
{
	struct flooder *flooder = context;
	struct flood *flood = flooder->flood;
	struct gw_now now = gw_reactor_now(flood->reactor);
	struct gw_link_delivery delivery;
	const Godwit__Body *body;

	gw_arena_reset(&flood->envelope);
	gw_arena_reset(&flood->body);
	switch (gw_link_receive(flooder->link, &now, &flood->envelope, message->bytes,
				message->size, &delivery)) {
	case GW_LINK_UP:
		flooder_up(flood);
		break;
	case GW_LINK_BODY:
		body = gw_wire_decode_body(&flood->body, delivery.body, delivery.size);
		if (body && body->kind_case == GODWIT__BODY__KIND_VERSION_REPLY)
			count_answer(flooder);
		else if (body && body->kind_case == GODWIT__BODY__KIND_REFUSAL &&
			 body->refusal->code == GW_REFUSAL_OVERLOAD)
			flooder->refused++;
		else
			flooder->other++;
		flooder_send(flooder);
		break;
	case GW_LINK_NOTHING:
		break;
	case GW_LINK_REFUSED:
	case GW_LINK_MALFORMED:
	case GW_LINK_SPOOFED:
		flooder->other++;
		break;
	}
	flooder_flush(flooder);
}

static void flooder_connection(void *context, enum gw_connection state, int fd)
{
	struct flooder *flooder = context;
	struct gw_now now = gw_reactor_now(flooder->flood->reactor);

	(void)fd;
	if (state != GW_CONNECTION_UP)
		return;
	gw_link_connected(flooder->link, &now);
	flooder_flush(flooder);
}

static void flooder_open(struct flood *flood, struct flooder *flooder)
{
	const struct gw_zsock_options options = {
		.reactor = flood->reactor,
		.zmq = flood->zmq,
		.keys = flood->keys,
		.server_key = flood->region.exchange_key,
		.endpoint = flood->region.schedulers.places[0].state,
		.received = flooder_received,
		.connection = flooder_connection,
		.context = flooder,
	};
	struct gw_link_options link = {.self = flood->keys->node,
				       .peer = gw_cert_node_id(flood->region.signing_key),
				       .client = true};
	struct gw_fault fault;

	while (link.epoch == 0)
		randombytes_buf(&link.epoch, sizeof(link.epoch));
	flooder->flood = flood;
	flooder->timer.fired = flooder_timer;
	flooder->timer.context = flooder;
	flooder->link = gw_link_new(&link);
	if (!flooder->link || gw_zsock_open(&options, &flooder->zsock, &fault) != 0)
		_exit(3);
}

static void input_ended(void *context, uint32_t events)
{
	(void)events;
	gw_reactor_stop(((struct flood *)context)->reactor);
}

static void make_request(struct flood *flood)
{
	static char name[SPEC_BYTES];
	Godwit__SubmitRequest submit = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__JobSpec spec = GODWIT__JOB_SPEC__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	uint8_t *at;

	memset(name, 'n', sizeof(name) - 1);
	spec.name = name;
	submit.spec = &spec;
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &submit;
	body.request = 1;
	gw_buf_init(&flood->request, GW_MESSAGE_BYTES_MAX);
	at = gw_buf_grow(&flood->request, gw_wire_body_size(&body));
	if (!at)
		_exit(3);
	gw_wire_encode_body(&body, at);
}

/* Floods until its standard input ends; then says what came of it. */
static int flood_main(const char *directory)
{
	static struct flood flood;
	struct gw_fault fault = {""};
	uint64_t least = UINT64_MAX;
	uint64_t most = 0;
	uint64_t refused = 0;
	uint64_t other = 0;

	if (gw_identity_load(directory, &flood.keys, &flood.region, &flood.cert, &fault) != 0 ||
	    gw_reactor_new(&flood.reactor) != 0) {
		(void)fprintf(stderr, "%s\n", fault.text);
		return 3;
	}
	flood.zmq = gw_zmq_new();
	gw_buf_init(&flood.out, GW_MESSAGE_BYTES_MAX);
	gw_arena_init(&flood.envelope, 2 * (size_t)GW_MESSAGE_BYTES_MAX);
	gw_arena_init(&flood.body, GW_DECODE_BYTES_MAX);
	make_request(&flood);
	flood.input = (struct gw_watch){.fd = 0, .ready = input_ended, .context = &flood};
	if (gw_reactor_watch(flood.reactor, &flood.input, EPOLLIN) != 0)
		return 3;
	for (uint32_t i = 0; i < FLOODERS; i++)
		flooder_open(&flood, &flood.flooders[i]);
	if (gw_reactor_run(flood.reactor) != 0)
		return 3;
	for (uint32_t i = 0; i < FLOODERS; i++) {
		const struct flooder *flooder = &flood.flooders[i];

		least = flooder->answered < least ? flooder->answered : least;
		most = flooder->answered > most ? flooder->answered : most;
		refused += flooder->refused;
		other += flooder->other;
	}
	(void)printf("%llu %llu %llu %llu\n", (unsigned long long)least, (unsigned long long)most,
		     (unsigned long long)refused, (unsigned long long)other);
	(void)fflush(stdout);
	_exit(0); /* what is under way is not waited for */
}

/* --- the server ----------------------------------------------------------------------------- */

/* A disk that makes what came durable all at once, and only when requests had to be refused for its
 * slowness: on a machine of any speed. */
struct slow_disk {
	struct gw_journal journal;
	struct test_region *region;
	struct gw_timer timer;
	uint64_t seq;
	uint64_t refused; /* by the host, when it last did */
};

static int append(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size)
{
	(void)bytes;
	(void)size;
	((struct slow_disk *)journal)->seq = seq;
	return 0;
}

static void sync_disk(void *context)
{
	struct slow_disk *disk = context;
	struct gw_reactor *reactor = disk->region->reactor;
	uint64_t refused = gw_host_counts(disk->region->host)->refused_overload;

	if (refused > disk->refused)
		gw_host_durable(disk->region->host, disk->seq);
	disk->refused = refused;
	gw_reactor_timer_set(reactor, &disk->timer, gw_reactor_now(reactor).mono_us + SYNC_US);
}

static uint32_t slow_readers_told;

static void observe(void *context, enum gw_observed what, const char *who, const char *why)
{
	(void)context;
	(void)who;
	slow_readers_told += what == GW_OBSERVED_SESSION_CLOSED &&
			     strcmp(why, "it does not read its answers") == 0;
}

struct server {
	struct test_region *region;
	struct slow_disk disk;
	struct test_identity user;
};

/* The fixture's region with another host: with the slow disk, and observed. */
static int set_up(void **state)
{
	struct server *server = calloc(1, sizeof(*server));
	struct test_region *region = test_region_new();
	struct gw_scheduler_place *place = &region->region.schedulers.places[0];
	const struct gw_host_options options = {
		.reactor = region->reactor,
		.zmq = region->zmq,
		.core = &region->core.node,
		.keys = region->keys,
		.region = &region->region,
		.identities = region->identities,
		.state_endpoint = "tcp://127.0.0.1:*",
		.heartbeat_endpoint = "tcp://127.0.0.1:*",
		.journal = &server->disk.journal,
		.term = 7,
		.observe = observe,
	};
	struct gw_fault fault;

	assert_non_null(server);
	server->region = region;
	server->disk.region = region;
	server->disk.journal.append = append;
	server->disk.timer.fired = sync_disk;
	server->disk.timer.context = &server->disk;
	gw_host_free(region->host);
	test_core_init(&region->core);
	assert_int_equal(gw_host_new(&options, &region->host, &fault), 0);
	(void)snprintf(place->state, sizeof(place->state), "tcp://127.0.0.1:%u",
		       gw_host_state_port(region->host));
	gw_host_start(region->host);
	test_identity_init(region, &server->user, "user", GODWIT__ROLE__ROLE_USER, false);
	sync_disk(&server->disk);
	slow_readers_told = 0;
	*state = server;
	return 0;
}

static int tear_down(void **state)
{
	struct server *server = *state;

	gw_reactor_timer_cancel(server->region->reactor, &server->disk.timer);
	test_identity_deinit(&server->user);
	test_region_free(server->region);
	free(server);
	return 0;
}

static void assert_serves(struct server *server)
{
	static uint32_t number;
	struct test_identity honest;
	struct test_visit visit = {.identity = &honest};
	char name[32];

	(void)snprintf(name, sizeof(name), "honest-%u", ++number);
	test_identity_init(server->region, &honest, name, GODWIT__ROLE__ROLE_USER, false);
	test_visit(server->region, &visit);
	if (visit.error < 0)
		fail_msg("%s", visit.fault.text);
	test_identity_deinit(&honest);
}

/* A peer below the session, that sends as it likes and acknowledges nothing. */
struct bare {
	struct gw_zsock *zsock;
	uint32_t ups;
	uint32_t downs;
	uint32_t welcomes;
	uint64_t epoch; /* the server's */
	uint64_t sequence;
	uint32_t bodies;
	uint32_t overloads;
};

static void bare_received(void *context, const struct gw_zmessage *message)
{
	struct bare *bare = context;
	const Godwit__Envelope *envelope;
	const Godwit__Body *body = NULL;
	struct gw_arena arena;

	gw_arena_init(&arena, 4u << 20);
	envelope = gw_wire_decode_envelope(&arena, message->bytes, message->size);
	assert_non_null(envelope);
	if (envelope->control == GODWIT__LINK_CONTROL__LINK_WELCOME) {
		bare->welcomes++;
		bare->epoch = envelope->epoch;
	}
	if (envelope->control == GODWIT__LINK_CONTROL__LINK_DATA && envelope->body.len > 0)
		body = gw_wire_decode_body(&arena, envelope->body.data, envelope->body.len);
	bare->bodies += body != NULL;
	bare->overloads += body && body->kind_case == GODWIT__BODY__KIND_REFUSAL &&
			   body->refusal->code == GW_REFUSAL_OVERLOAD;
	gw_arena_deinit(&arena);
}

static void bare_connection(void *context, enum gw_connection state, int fd)
{
	struct bare *bare = context;

	(void)fd;
	bare->ups += state == GW_CONNECTION_UP;
	bare->downs += state == GW_CONNECTION_DOWN;
}

/* False: there is no connection. */
static bool bare_send(struct bare *bare, const struct gw_node_id *self, Godwit__LinkControl control,
		      const Godwit__Body *body)
{
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;
	uint8_t content[512];
	uint8_t bytes[1024];

	envelope.sender = gw_wire_id(&self->id);
	envelope.protocol_min = 1;
	envelope.protocol_max = 1;
	envelope.epoch = 77;
	envelope.peer_epoch = bare->epoch;
	envelope.control = control;
	if (body) {
		envelope.sequence = ++bare->sequence;
		envelope.body = (ProtobufCBinaryData){gw_wire_body_size(body), content};
		assert_true(envelope.body.len <= sizeof(content));
		gw_wire_encode_body(body, content);
	}
	assert_true(gw_wire_size(&envelope.base) <= sizeof(bytes));
	gw_wire_encode(&envelope.base, bytes);
	return gw_zsock_send(bare->zsock, NULL, bytes, gw_wire_size(&envelope.base)) == 0;
}

static void bare_open(struct server *server, struct bare *bare)
{
	const struct gw_zsock_options options = {
		.reactor = server->region->reactor,
		.zmq = server->region->zmq,
		.keys = server->user.keys,
		.server_key = server->region->region.exchange_key,
		.endpoint = server->region->region.schedulers.places[0].state,
		.received = bare_received,
		.connection = bare_connection,
		.context = bare,
	};
	struct gw_fault fault;

	*bare = (struct bare){0};
	assert_int_equal(gw_zsock_open(&options, &bare->zsock, &fault), 0);
	assert_true(TEST_UNTIL(server->region, bare->ups == 1));
	assert_true(
		bare_send(bare, &server->user.keys->node, GODWIT__LINK_CONTROL__LINK_HELLO, NULL));
	assert_true(TEST_UNTIL(server->region, bare->welcomes == 1));
}

/* Its answers queue to the limit of one peer; then its session and its connection end, with a
 * reason, and what was queued is given back. */
static void a_slow_reader_loses_its_session(void **state)
{
	struct server *server = *state;
	Godwit__VersionRequest version = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	struct bare bare;

	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &version;
	server->region->core.answer_bytes = 500u << 10;
	bare_open(server, &bare);
	for (uint32_t i = 0;
	     i < 10 * GW_LINK_QUEUE_BYTES_MAX / (500u << 10) &&
	     bare_send(&bare, &server->user.keys->node, GODWIT__LINK_CONTROL__LINK_DATA, &body);
	     i++)
		test_turn(server->region);
	assert_true(TEST_UNTIL(server->region, bare.downs == 1 && slow_readers_told == 1));
	assert_int_equal(gw_host_counts(server->region->host)->slow_readers, 1);
	/* No more than the window was handed over: one message may exceed it. */
	assert_in_range(bare.bodies, 1, 3);
	server->region->core.answer_bytes = 0;
	assert_serves(server);
	gw_zsock_close(bare.zsock);
}

/* Ten times what a client may have under way: the rest is refused, each with a reason. */
static void a_flood_of_requests_is_refused_early(void **state)
{
	struct server *server = *state;
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT; /* never answered */
	Godwit__Body body = GODWIT__BODY__INIT;
	struct bare bare;

	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	body.jobs_request = &jobs;
	bare_open(server, &bare);
	for (uint32_t i = 0; i < 10 * SIZED; i++) {
		assert_true(bare_send(&bare, &server->user.keys->node,
				      GODWIT__LINK_CONTROL__LINK_DATA, &body));
		if (i % 100 == 0)
			test_turn(server->region);
	}
	/* It acknowledges nothing: it hears 256 of the refusals, and all of them are counted. */
	assert_true(
		TEST_UNTIL(server->region,
			   gw_host_counts(server->region->host)->refused_overload == 9 * SIZED));
	assert_true(TEST_UNTIL(server->region, bare.overloads == 256));
	assert_serves(server);
	gw_zsock_close(bare.zsock);
}

/* --- 64 that flood -------------------------------------------------------------------------- */

static void write_identity(struct server *server, char *ret_directory, size_t size)
{
	struct test_identity *user = &server->user;
	const char *directory = ret_directory;
	uint8_t bytes[GW_CERT_BYTES_MAX];
	char path[GW_PATH_BYTES];
	struct gw_fault fault;
	size_t cert_size;

	(void)snprintf(ret_directory, size, "%s/flood", server->region->directory);
	assert_int_equal(mkdir(directory, 0700), 0);
	assert_int_equal(gw_file_path(path, sizeof(path), directory, GW_KEYS_FILE), 0);
	user->keys = gw_keys_free(user->keys);
	assert_int_equal(gw_keys_create(path, &user->keys, &fault), 0);
	memcpy(user->cert.signing_key, user->keys->signing_key, GW_KEY_BYTES);
	memcpy(user->cert.exchange_key, user->keys->exchange_key, GW_KEY_BYTES);
	user->cert.node = user->keys->node;
	(void)snprintf(user->cert.name, sizeof(user->cert.name), "flood");
	assert_int_equal(
		gw_cert_issue(&user->cert, server->region->keys->signing_secret, bytes, &cert_size),
		0);
	assert_int_equal(gw_identities_add(server->region->identities, bytes, cert_size, &fault),
			 0);
	assert_int_equal(gw_file_path(path, sizeof(path), directory, GW_CERTIFICATE_FILE), 0);
	assert_int_equal(gw_file_write(path, 0644, false, bytes, cert_size, &fault), 0);
	assert_int_equal(gw_file_path(path, sizeof(path), directory, GW_REGION_FILE), 0);
	assert_int_equal(gw_region_save(path, &server->region->region, &fault), 0);
}

struct child {
	pid_t pid;
	int to; /* its standard input */
	int from;
};

static struct child start_flood(const char *directory)
{
	struct child child;
	int in[2];
	int out[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	child.pid = fork();
	assert_true(child.pid >= 0);
	if (child.pid == 0) {
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		for (int fd = 3; fd < 256; fd++)
			(void)close(fd);
		(void)execl("/proc/self/exe", "test_overload", "flood", directory, (char *)NULL);
		_exit(127);
	}
	(void)close(in[0]);
	(void)close(out[1]);
	child.to = in[1];
	child.from = out[0];
	return child;
}

/* VmRSS: now; VmHWM: the peak. */
static uint64_t resident_bytes(const char *what)
{
	char line[200];
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, what, strlen(what)) == 0)
			kib = strtoull(line + strlen(what) + 1, NULL, 10);
	}
	(void)fclose(file);
	return kib * 1024;
}

static void honest_calls(void *context)
{
	struct test_visit *visit = context;
	const struct gw_client_options options = {.keys = visit->identity->keys,
						  .cert = &visit->identity->cert,
						  .region = &visit->identity->region};
	Godwit__VersionRequest request = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__Body *reply;
	struct gw_client *client;

	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &request;
	visit->error = gw_client_open(&options, DEADLINE_US, &client, &visit->fault);
	for (int i = 0; i < 50 && visit->error == 0; i++)
		visit->error = gw_client_call(client, &body, DEADLINE_US, &reply, &visit->fault);
	gw_client_close(client);
}

/*
 * What the server may hold for 64 clients: 1 MiB in flight each way and 32 messages read ahead of
 * each, and what is queued to be told, here little. The rest of the process is measured before.
 */
#define MEMORY_MAX (FLOODERS * (2 * GW_LINK_WINDOW_BYTES + 32 * SPEC_BYTES))

static void many_floods_are_bounded_and_fair(void **state)
{
	struct server *server = *state;
	struct test_region *region = server->region;
	struct test_visit visit = {.error = 0};
	static struct test_identity honest;
	unsigned long long least, most, refused, other;
	uint64_t before_bytes, grown_bytes;
	char directory[300];
	char text[200] = "";
	struct child child;
	int status;

	test_identity_init(region, &honest, "honest", GODWIT__ROLE__ROLE_USER, false);
	visit.identity = &honest;
	write_identity(server, directory, sizeof(directory));
	before_bytes = resident_bytes("VmRSS");
	child = start_flood(directory);
	assert_true(TEST_UNTIL(region, region->core.seq > FLOODERS * SIZED));
	test_beside(region, honest_calls, &visit); /* in the middle of it */
	if (visit.error != 0)
		fail_msg("%s", visit.fault.text);
	assert_true(TEST_UNTIL(region, region->core.seq > 16 * FLOODERS * SIZED));
	(void)close(child.to);
	assert_true(TEST_UNTIL(region, waitpid(child.pid, &status, WNOHANG) == child.pid));
	assert_true(read(child.from, text, sizeof(text) - 1) > 0);
	(void)close(child.from);
	assert_int_equal(sscanf(text, "%llu %llu %llu %llu", &least, &most, &refused, &other), 4);
	grown_bytes = resident_bytes("VmHWM") - before_bytes;
	print_message("answers per client %llu to %llu, refused %llu; %llu KiB of %u KiB\n", least,
		      most, refused, (unsigned long long)grown_bytes / 1024, MEMORY_MAX / 1024);
	assert_int_equal(other, 0);
	assert_true(refused > 0);
	assert_true(2 * least >= most);
	if (!getenv("GODWIT_SANITIZED")) /* its memory says nothing */
		assert_true(grown_bytes <= MEMORY_MAX);
	test_identity_deinit(&honest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		/* First: a peak of memory stays a process's for good. */
		cmocka_unit_test_setup_teardown(many_floods_are_bounded_and_fair, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_slow_reader_loses_its_session, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_flood_of_requests_is_refused_early, set_up,
						tear_down),
	};

	if (argc == 3 && strcmp(argv[1], "flood") == 0)
		return flood_main(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
