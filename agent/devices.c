/*
 * Parent and child talk by one pipe: a NodeInfo and a Telemetry that hold devices only, each behind
 * its length. The child's end is the message's end.
 */
#include "agent/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/gpu.h"
#include "proto/base/buf.h"
#include "transport/clock.h"
#include "transport/log.h"
#include "transport/reactor.h"

#define ANSWER_BYTES_MAX (64u << 10)
#define DECODED_BYTES_MAX (256u << 10)
#define FIRST_READ_US (10 * GW_US_PER_S) /* a driver without persistence needs seconds */
#define HUNG_US (60 * GW_US_PER_S)

struct gw_devices {
	struct gw_reactor *reactor;
	gw_devices_changed_f *changed;
	void *context;
	struct gw_watch watch; /* the pipe; fd -1: no read is under way */
	pid_t child;           /* not yet reaped; 0: none */
	uint64_t begun_us;
	bool hung;
	struct gw_buf answer;
	struct gw_arena arena; /* of the two below */
	const Godwit__NodeInfo *info;
	const Godwit__Telemetry *figures;
};

/* --- child ---------------------------------------------------------------------------------- */

static int write_part(const ProtobufCMessage *message)
{
	uint32_t size = (uint32_t)gw_wire_size(message);
	uint8_t *bytes = malloc(size ? size : 1);
	bool good;

	if (!bytes)
		return -1;
	gw_wire_encode(message, bytes);
	good = fwrite(&size, sizeof(size), 1, stdout) == 1 &&
	       fwrite(bytes, 1, size, stdout) == size;
	free(bytes);
	return good ? 0 : -1;
}

static void print_devices(const Godwit__NodeInfo *info, const char *reason)
{
	for (size_t i = 0; i < info->n_devices; i++) {
		const Godwit__Device *device = info->devices[i];

		(void)printf("%s %s %llu MiB%s%s\n", device->uuid, device->type,
			     (unsigned long long)(device->memory_bytes >> 20),
			     device->unavailable[0] ? ", unavailable: " : "", device->unavailable);
	}
	if (info->n_devices == 0)
		(void)printf("no accelerators%s%s\n", reason ? ": " : "", reason ? reason : "");
}

int gw_devices_print(bool encoded)
{
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	Godwit__Telemetry figures = GODWIT__TELEMETRY__INIT;
	struct gw_gpus *gpus;
	uint32_t count;
	int r = 0;

	if (gw_gpus_new(GW_GPU_LIBRARY, &gpus) != 0)
		return EXIT_FAILURE;
	info.n_devices = gw_gpus_count(gpus);
	info.devices = gw_gpus_devices(gpus);
	figures.devices = gw_gpus_sample(gpus, &count);
	figures.n_devices = count;
	if (encoded)
		r = write_part(&info.base) | write_part(&figures.base);
	else
		print_devices(&info, gw_gpus_reason(gpus));
	r |= fflush(stdout);
	(void)gw_gpus_free(gpus);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- parent --------------------------------------------------------------------------------- */

/* The next part of the answer as a message; NULL: not one. */
static const void *take_part(struct gw_devices *devices, size_t *at,
			     const ProtobufCMessageDescriptor *descriptor)
{
	uint32_t size;
	const uint8_t *bytes;

	if (devices->answer.size - *at < sizeof(size))
		return NULL;
	memcpy(&size, devices->answer.bytes + *at, sizeof(size));
	*at += sizeof(size);
	if (devices->answer.size - *at < size)
		return NULL;
	bytes = devices->answer.bytes + *at;
	*at += size;
	return gw_wire_decode(descriptor, &devices->arena, bytes, size);
}

/* What came is the answer, or nothing of it counts. */
static void take_answer(struct gw_devices *devices)
{
	size_t at = 0;

	gw_arena_reset(&devices->arena);
	devices->info = take_part(devices, &at, &godwit__node_info__descriptor);
	devices->figures = take_part(devices, &at, &godwit__telemetry__descriptor);
	if (!devices->info || !devices->figures) {
		devices->info = NULL;
		devices->figures = NULL;
		gw_log("no_accelerators", "why=\"the child that reads them gave no answer\"");
	}
	devices->hung = false;
}

static void reap(struct gw_devices *devices)
{
	if (devices->child > 0 && waitpid(devices->child, NULL, WNOHANG) != 0)
		devices->child = 0;
}

/* Reads what is there. True: the child has said all. */
static bool read_pipe(struct gw_devices *devices)
{
	for (;;) {
		size_t start = devices->answer.size;
		uint8_t *room = gw_buf_grow(&devices->answer, 4096);
		ssize_t size;

		if (!room)
			return true; /* larger than any answer: it will not decode */
		size = read(devices->watch.fd, room, 4096);
		devices->answer.size = start + (size > 0 ? (size_t)size : 0);
		if (size < 0 && errno == EINTR)
			continue;
		if (size <= 0)
			return size == 0 || errno != EAGAIN;
	}
}

static void close_pipe(struct gw_devices *devices)
{
	(void)close(devices->watch.fd);
	devices->watch.fd = -1;
}

static void pipe_ready(void *context, uint32_t events)
{
	struct gw_devices *devices = context;

	(void)events; /* an error shows itself in reading */
	if (!read_pipe(devices))
		return;
	gw_reactor_unwatch(devices->reactor, &devices->watch);
	close_pipe(devices);
	take_answer(devices);
	reap(devices);
	devices->changed(devices->context);
}

/* 0 with the read under way; negative errno. */
static int start_child(struct gw_devices *devices)
{
	char program[] = "godwit-agent";
	char command[] = "accelerators";
	char option[] = "--encoded";
	char *const arguments[] = {program, command, option, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK); /* cannot fail on a fresh pipe */
	(void)sigemptyset(&none);
	r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawnattr_init(&attributes);
	if (r == 0) {
		/* The reactor's signals are blocked here; in the child they must end it. */
		(void)posix_spawnattr_setsigmask(&attributes, &none);
		(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
		r = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
		if (r == 0)
			r = posix_spawn(&devices->child, "/proc/self/exe", &actions, &attributes,
					arguments, environ);
		(void)posix_spawnattr_destroy(&attributes);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)close(ends[1]);
	if (r != 0) {
		(void)close(ends[0]);
		devices->child = 0;
		return -r;
	}
	devices->watch.fd = ends[0];
	devices->answer.size = 0;
	devices->begun_us = gw_clock_mono_us();
	return 0;
}

/* The first read: before anything else runs, so it may wait. */
static void read_first(struct gw_devices *devices)
{
	uint64_t until_us = devices->begun_us + FIRST_READ_US;

	for (;;) {
		struct pollfd ready = {.fd = devices->watch.fd, .events = POLLIN};
		uint64_t now_us = gw_clock_mono_us();

		if (now_us >= until_us) {
			gw_log("no_accelerators", "why=\"the driver does not answer\"");
			(void)kill(devices->child, SIGKILL); /* it may be beyond that */
			break;
		}
		if (poll(&ready, 1, (int)((until_us - now_us) / GW_US_PER_MS) + 1) > 0 &&
		    read_pipe(devices)) {
			take_answer(devices);
			break;
		}
	}
	close_pipe(devices);
	reap(devices);
}

int gw_devices_new(struct gw_reactor *reactor, gw_devices_changed_f *changed, void *context,
		   struct gw_devices **ret_devices)
{
	struct gw_devices *devices = calloc(1, sizeof(*devices));
	int r;

	if (!devices)
		return -ENOMEM;
	devices->reactor = reactor;
	devices->changed = changed;
	devices->context = context;
	devices->watch = (struct gw_watch){.fd = -1, .ready = pipe_ready, .context = devices};
	gw_buf_init(&devices->answer, ANSWER_BYTES_MAX);
	gw_arena_init(&devices->arena, DECODED_BYTES_MAX);
	r = start_child(devices);
	if (r != 0) {
		(void)gw_devices_free(devices);
		return r;
	}
	read_first(devices);
	*ret_devices = devices;
	return 0;
}

struct gw_devices *gw_devices_free(struct gw_devices *devices)
{
	if (!devices)
		return NULL;
	if (devices->watch.fd >= 0) {
		gw_reactor_unwatch(devices->reactor, &devices->watch);
		close_pipe(devices);
	}
	gw_buf_deinit(&devices->answer);
	gw_arena_deinit(&devices->arena);
	free(devices);
	return NULL;
}

/* A read that does not end: what was known is told as unavailable, and no other read begins. */
static void note_hung(struct gw_devices *devices)
{
	static char why[] = "the driver does not answer";

	if (devices->hung || gw_clock_mono_us() - devices->begun_us < HUNG_US)
		return;
	devices->hung = true;
	gw_log("accelerators_hung", "why=\"%s\"", why);
	for (size_t i = 0; i < devices->info->n_devices; i++)
		devices->info->devices[i]->unavailable = why;
	devices->figures = NULL;
	devices->changed(devices->context);
}

void gw_devices_read(struct gw_devices *devices)
{
	reap(devices);
	if (!devices->info || devices->info->n_devices == 0)
		return;
	if (devices->watch.fd >= 0 || devices->child > 0) {
		note_hung(devices);
		return;
	}
	if (start_child(devices) != 0)
		return; /* no room for a child now; the next sample tries again */
	if (gw_reactor_watch(devices->reactor, &devices->watch, EPOLLIN) != 0)
		close_pipe(devices);
}

Godwit__Device **gw_devices_list(struct gw_devices *devices, size_t *ret_count)
{
	*ret_count = devices->info ? devices->info->n_devices : 0;
	return devices->info ? devices->info->devices : NULL;
}

Godwit__DeviceSample **gw_devices_samples(struct gw_devices *devices, size_t *ret_count)
{
	*ret_count = devices->figures ? devices->figures->n_devices : 0;
	return devices->figures ? devices->figures->devices : NULL;
}
