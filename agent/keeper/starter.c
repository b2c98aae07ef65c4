/*
 * fork and exec of `godwit-keeper --detach`, which ends when the keeper listens, or failed and said
 * why on its standard error, a pipe. Its end is seen by a pidfd, so that nobody waits for it.
 */
#include "agent/keeper/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/client.h"
#include "proto/base/time.h"

#define START_US (10 * GW_US_PER_S)
#define RETRY_MS 20

/* godwit-keeper beside this program, as in a build folder, or NULL: look in PATH. */
static const char *find_program(char *path, size_t size)
{
	static const char *const places[] = {"godwit-keeper", "keeper/godwit-keeper"};
	ssize_t count = readlink("/proc/self/exe", path, size);
	char *slash;

	if (count <= 0 || (size_t)count >= size)
		return NULL;
	path[count] = '\0';
	slash = strrchr(path, '/');
	for (size_t i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
		size_t room = size - (size_t)(slash + 1 - path);

		if ((size_t)snprintf(slash + 1, room, "%s", places[i]) < room &&
		    access(path, X_OK) == 0)
			return path;
	}
	return NULL;
}

__attribute__((noreturn)) static void run_keeper(const struct gw_keeper_options *options,
						 int error_fd)
{
	char path[4096];
	const char *program =
		options->program ? options->program : find_program(path, sizeof(path));
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC); /* fails only on a kernel without it */
	(void)dup2(error_fd, 2);
	(void)execlp(program ? program : "godwit-keeper", "godwit-keeper", "--detach", "--state",
		     options->state, "--socket", options->socket, (char *)NULL);
	(void)!write(2, "godwit-keeper cannot be run", 27);
	_exit(127);
}

int gw_keeper_starter_begin(struct gw_keeper_starter *starter,
			    const struct gw_keeper_options *options)
{
	int pipe_fds[2];
	pid_t pid;

	*starter = (struct gw_keeper_starter){.fd = -1, .text_fd = -1};
	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0)
		run_keeper(options, pipe_fds[1]);
	(void)close(pipe_fds[1]);
	starter->text_fd = pipe_fds[0];
	starter->fd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (starter->fd < 0 || fcntl(starter->text_fd, F_SETFL, O_RDONLY | O_NONBLOCK)) {
		int result = -errno;

		starter->pid = pid < 0 ? 0 : pid;
		(void)gw_keeper_starter_end(starter);
		return result;
	}
	starter->pid = pid;
	return 0;
}

/* What it has said by now: a sentence, so the pipe holds all of it. */
static void read_text(struct gw_keeper_starter *starter)
{
	size_t used = 0;
	ssize_t count;

	do {
		count = read(starter->text_fd, starter->text + used,
			     sizeof(starter->text) - 1 - used);
		used += count > 0 ? (size_t)count : 0;
	} while (count > 0 || (count < 0 && errno == EINTR));
	while (used > 0 && starter->text[used - 1] == '\n')
		used--;
	starter->text[used] = '\0';
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

int gw_keeper_starter_end(struct gw_keeper_starter *starter)
{
	int status = 0;

	if (starter->pid == 0) {
		close_fd(&starter->text_fd);
		return -ENOTCONN;
	}
	(void)kill(starter->pid, SIGKILL); /* one that has ended keeps its exit code */
	while (waitpid(starter->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	read_text(starter);
	close_fd(&starter->fd);
	close_fd(&starter->text_fd);
	starter->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	starter->met = WIFEXITED(status) && WEXITSTATUS(status) == GW_KEEPER_EXIT_HELD;
	if (starter->text[0] == '\0')
		(void)snprintf(starter->text, sizeof(starter->text), "the keeper did not start: %s",
			       WIFSIGNALED(status) ? "it took too long" : "it gave no reason");
	return -EIO;
}

static uint64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock is always there */
	return (uint64_t)now.tv_sec * GW_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

static int left_ms(uint64_t until_us)
{
	uint64_t at_us = now_us();

	return at_us < until_us ? (int)((until_us - at_us + 999) / 1000) : 0;
}

static int start_once(const struct gw_keeper_options *options, uint64_t until_us,
		      struct gw_keeper_starter *starter)
{
	int result = gw_keeper_starter_begin(starter, options);

	if (result) {
		(void)snprintf(starter->text, sizeof(starter->text), "the keeper did not start: %s",
			       strerrordesc_np(-result));
		return result;
	}
	while (left_ms(until_us) > 0) {
		struct pollfd poll_fd = {.fd = starter->fd, .events = POLLIN};

		if (poll(&poll_fd, 1, left_ms(until_us)) > 0) /* a signal: around once more */
			break;
	}
	return gw_keeper_starter_end(starter);
}

int gw_keeper_start(const struct gw_keeper_options *options, char *ret_error, size_t error_size)
{
	uint64_t until_us =
		now_us() + (options->start_limit_us ? options->start_limit_us : START_US);
	struct gw_keeper_starter starter;
	int result;

	*ret_error = '\0';
	if (gw_keeper_answers(options->socket))
		return 0;
	result = start_once(options, until_us, &starter);
	/* Another one may just be starting, and hold the folder: it will listen in a moment. */
	while (result && starter.met && left_ms(until_us) > 0) {
		if (gw_keeper_answers(options->socket))
			return 0;
		(void)poll(NULL, 0, RETRY_MS);
	}
	if (result)
		(void)snprintf(ret_error, error_size, "%s", starter.text);
	return result;
}
