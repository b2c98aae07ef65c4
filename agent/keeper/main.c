/*
 * godwit-keeper: the parent of this host's tasks.
 *
 *	start:	options, one keeper a state folder, what an earlier one left, the socket
 *	run:	the loop; children, pipes, clients and deadlines wake it, nothing else does
 *	stop:	TERM or INT end the tasks (TERM, their grace, KILL), write their records down, and
 *		only then the keeper. An agent that ends stops nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/attempts.h"
#include "agent/keeper/loop.h"
#include "agent/keeper/server.h"
#include "agent/keeper/starter.h"
#include "proto/option.h"

#define LOG_BYTES_MAX (1 << 20) /* at start: a longer log begins anew */

struct options {
	const char *state;
	const char *socket;
	const char *cgroup;
	const char *cgroup_root;
	uint64_t output_total_bytes;
	uint64_t io;
	bool detach;
	struct gw_mark state_mark; /* given? */
	struct gw_mark socket_mark;
};

struct keeper {
	struct gw_loop loop;
	struct gw_attempts attempts;
	struct gw_server server;
	struct gw_source signals;
};

static struct keeper keeper;

static void signals_ready(struct gw_source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		gw_attempts_reap(&keeper.attempts);
	else if (!keeper.attempts.stopping)
		gw_attempts_stop(&keeper.attempts);
}

/* Blocked in the keeper, taken by descriptor; children set their own anew. */
static int take_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	keeper.signals = (struct gw_source){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
		.ready = signals_ready,
	};
	if (keeper.signals.fd < 0)
		return -errno;
	return gw_loop_add(&keeper.loop, &keeper.signals, EPOLLIN);
}

static int fail(const char *error)
{
	(void)fprintf(stderr, "godwit-keeper: %s\n", error);
	return 1;
}

/* Tasks' pipes and files take four descriptors each, so the soft limit of 1024 is too few. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	/* Large messages go back to the kernel when they are done with. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 10);
}

/* In the end of --detach that stays: standard descriptors away from the starter's. */
static int leave_terminal(const char *state)
{
	char path[4096];
	struct stat stat;
	int log_fd;
	int null_fd;

	if (snprintf(path, sizeof(path), "%s/keeper.log", state) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (log_fd < 0 || null_fd < 0)
		return -errno;
	if (!fstat(log_fd, &stat) && stat.st_size > LOG_BYTES_MAX)
		(void)!ftruncate(log_fd, 0);
	if (dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 || dup2(log_fd, 2) < 0)
		return -errno;
	(void)close(log_fd);
	(void)close(null_fd);
	return 0;
}

/*
 * The caller waits until the keeper listens or has failed, and takes its exit code; the keeper
 * goes on in a session of its own. Gives the pipe on which to say that it listens, or exits.
 */
static int detach(void)
{
	int ready[2];
	pid_t pid;
	char code = 1;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		(void)close(ready[1]);
		_exit(read(ready[0], &code, 1) == 1 ? code : 1);
	}
	(void)close(ready[0]);
	(void)setsid(); /* a fresh child never leads a group, so this cannot fail */
	return ready[1];
}

static int start(const struct options *options, char *ret_error)
{
	const struct gw_attempts_options attempts_options = {
		.state = options->state,
		.cgroup_root = options->cgroup_root,
		.cgroup_parent = strcmp(options->cgroup, "none") ? options->cgroup : NULL,
		.pump_mode = (enum gw_pump_mode)options->io,
		.kept_bytes_max = options->output_total_bytes,
	};
	int result = gw_loop_init(&keeper.loop);

	if (!result)
		result = take_signals();
	if (!result && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		result = -errno;
	if (result) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "cannot start: %s",
			       strerrordesc_np(-result));
		return result;
	}
	result = gw_attempts_init(&keeper.attempts, &keeper.loop, &attempts_options, ret_error);
	if (result)
		return result;
	result = gw_server_init(&keeper.server, &keeper.attempts, options->socket, ret_error);
	if (result)
		gw_attempts_deinit(&keeper.attempts);
	return result;
}

/* One that holds the folder listens soon, or ends: a caller that knows so can wait. */
static int fail_start(int result, const char *error, int ready_fd)
{
	char code = result == -EBUSY ? GW_KEEPER_EXIT_HELD : 1;

	(void)fail(error);
	if (ready_fd >= 0)
		(void)!write(ready_fd, &code, 1); /* the starter's exit code */
	return code;
}

static int run(const struct gw_command *command, void *data, int operand_count, char **operands)
{
	const struct options *options = data;
	char error[GW_ATTEMPTS_ERROR_BYTES];
	int ready_fd = options->detach ? detach() : -1;
	int result;

	(void)command;
	(void)operand_count;
	(void)operands;
	(void)umask(077);
	raise_limits();
	result = start(options, error);
	if (result)
		return fail_start(result, error, ready_fd);
	if (options->detach) {
		if (ready_fd < 0 || leave_terminal(options->state))
			return fail("cannot detach");
		(void)!write(ready_fd, "", 1); /* a starter that is gone needs no answer */
		(void)close(ready_fd);
	}
	result = gw_loop_run(&keeper.loop);
	gw_server_deinit(&keeper.server);
	gw_attempts_deinit(&keeper.attempts);
	gw_loop_deinit(&keeper.loop);
	return result ? fail(strerrordesc_np(-result)) : 0;
}

static const char *const io_choices[] = {"auto", "uring", "plain", NULL};

static const struct gw_option option_table[] = {
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct options, state),
		   .mark_offset = offsetof(struct options, state_mark),
		   .help = "folder of records and output; made if absent, closed to others",
		   .required = true,
		   .min = 1,
		   .max = 3000},
	 .letter = 's',
	 .argument = "DIR"},
	{.value = {.key = "socket",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct options, socket),
		   .mark_offset = offsetof(struct options, socket_mark),
		   .help = "UNIX socket to listen at",
		   .required = true,
		   .min = 1,
		   .max = 107},
	 .letter = 'S',
	 .argument = "PATH"},
	{.value =
		 {.key = "detach",
		  .type = GW_SCHEMA_BOOL,
		  .offset = offsetof(struct options, detach),
		  .help = "go on in the background, logging to keeper.log; return once it listens"},
	 .letter = 'd'},
	{.value =
		 {.key = "cgroup",
		  .type = GW_SCHEMA_TEXT,
		  .offset = offsetof(struct options, cgroup),
		  .help = "group, below each hierarchy's root, for those of tasks; none: no groups",
		  .fallback = "godwit",
		  .max = 200},
	 .argument = "NAME"},
	{.value = {.key = "cgroup-root",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct options, cgroup_root),
		   .help = "where control groups are mounted",
		   .fallback = GW_CGROUP_ROOT,
		   .max = 200},
	 .argument = "DIR"},
	{.value =
		 {.key = "output-total",
		  .type = GW_SCHEMA_BYTES,
		  .offset = offsetof(struct options, output_total_bytes),
		  .help = "output kept of ended tasks; past it, acknowledged ones go, oldest first",
		  .fallback = "1 GiB"},
	 .argument = "SIZE"},
	{.value = {.key = "io",
		   .type = GW_SCHEMA_CHOICE,
		   .offset = offsetof(struct options, io),
		   .help = "how output is moved; auto: io_uring, or plain where it is refused",
		   .fallback = "auto",
		   .choices = io_choices},
	 .argument = "WAY"},
	{.value = {0}},
};

static const char *const details[] = {
	"The parent of all tasks of a host. It starts them as godwit-agent(8) asks, owns their "
	"output and its rotation, and keeps exit status and usage on disk until they are "
	"acknowledged. It has no network and no policy, so the agent can end, restart and be "
	"upgraded at any time while tasks run on.",
	"Each task gets a session, a process group and a control group of its own, and when its "
	"first process ends, whatever it left behind is killed. A limit that the host refuses is "
	"reported with the reason, and the task runs without it.",
	"TERM and INT end all tasks, each with its grace, and then the keeper.",
	NULL,
};

static const struct gw_example examples[] = {
	{"godwit-keeper --state /var/lib/godwit/keeper --socket /run/godwit/keeper.sock --detach",
	 "start one by hand; the agent does this by itself"},
	{NULL, NULL},
};

static const struct gw_command commands[] = {
	{.name = "godwit-keeper",
	 .summary = "keep the tasks of a host",
	 .options = option_table,
	 .examples = examples,
	 .run = run,
	 .options_bytes = sizeof(struct options)},
	{.name = NULL},
};

static const char *const exit_codes[] = {
	"0 ended by a signal, after its tasks",
	"1 the state folder or the socket cannot be used",
	"2 usage",
	"3 another keeper holds the state folder",
	NULL,
};

static const char *const files[] = {
	"STATE/attempts/ID/record what became of an attempt",
	"STATE/attempts/ID/1.OFFSET its standard output from that byte on; 2: its standard error",
	"STATE/work/ID its working folder, when it named none",
	"STATE/keeper.log what a detached keeper had to say",
	NULL,
};

static const char *const see_also[] = {"godwit-agent(8)", "cgroups(7)", NULL};

static const struct gw_program program = {
	.name = "godwit-keeper",
	.summary = "keep the tasks of a host",
	.details = details,
	.commands = commands,
	.exit_codes = exit_codes,
	.files = files,
	.see_also = see_also,
	.section = 8,
};

int main(int argc, char **argv)
{
	return gw_program_main(&program, argc, argv);
}
