/* The child's way from fork to exec. Whatever goes wrong on it is told in a sentence over a pipe
 * that exec closes. */
#include "agent/keeper/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/check.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* --- in the child --- */

__attribute__((format(printf, 2, 3), noreturn)) static void give_up(int error_fd,
								    const char *format, ...)
{
	char text[GW_LAUNCH_ERROR_BYTES];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (size > 0) /* a pipe that is not read any more means a keeper that is gone */
		(void)!write(error_fd, text,
			     (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1);
	_exit(127);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL); /* KILL and STOP refuse, and need none */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Last before the program, so that none hinders the way there; and with the rights of the task's
 * user, so that nobody raises what the host allows him at most. */
static void set_limits(const struct gw_launch *launch, int error_fd)
{
	for (size_t i = 0; i < launch->rlimit_count; i++) {
		const struct gw_rlimit *limit = &launch->rlimits[i];
		const struct rlimit value = {limit->soft, limit->hard};

		if (setrlimit((__rlimit_resource_t)limit->resource, &value))
			give_up(error_fd, "the resource limit %s cannot be set: %s", limit->name,
				strerrordesc_np(errno));
	}
}

static void become(const struct gw_launch *launch, int error_fd)
{
	const struct passwd *user;

	if (!launch->user)
		return;
	errno = 0;
	user = getpwnam(launch->user);
	if (!user)
		give_up(error_fd, "there is no user \"%s\" on this host", launch->user);
	(void)setenv("USER", user->pw_name, 1);
	(void)setenv("LOGNAME", user->pw_name, 1);
	(void)setenv("HOME", user->pw_dir, 1);
	(void)setenv("SHELL", user->pw_shell, 1);
	if (user->pw_uid == geteuid() && geteuid() != 0)
		return;
	if (geteuid() != 0)
		give_up(error_fd,
			"the keeper may not start a task as user \"%s\": it runs as uid "
			"%u, not as root",
			launch->user, geteuid());
	if (launch->work_fd >= 0 && fchown(launch->work_fd, user->pw_uid, user->pw_gid))
		give_up(error_fd, "the working folder cannot be given to user \"%s\": %s",
			launch->user, strerrordesc_np(errno));
	if (initgroups(user->pw_name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid))
		give_up(error_fd, "the rights of user \"%s\" cannot be taken: %s", launch->user,
			strerrordesc_np(errno));
}

/* The mark stands first, where the keeper looks for it, and is not the task's to choose. */
static void set_mark(const struct gw_launch *launch, int error_fd)
{
	if (clearenv() || setenv(GW_LAUNCH_MARK, launch->attempt, 1))
		give_up(error_fd, "the environment cannot be set: %s", strerrordesc_np(errno));
}

static void set_environment(const struct gw_launch *launch, int error_fd)
{
	static const char mark[] = GW_LAUNCH_MARK "=";

	for (size_t i = 0; i < launch->environment_count; i++)
		if (strncmp(launch->environment[i], mark, sizeof(mark) - 1) &&
		    putenv(launch->environment[i]))
			give_up(error_fd, "the environment cannot be set: %s",
				strerrordesc_np(errno));
	if (setenv("PATH", DEFAULT_PATH, 0))
		give_up(error_fd, "the environment cannot be set: %s", strerrordesc_np(errno));
}

static void go_to_folder(const struct gw_launch *launch, int error_fd)
{
	if (launch->working_directory && chdir(launch->working_directory))
		give_up(error_fd, "the working folder %s cannot be entered: %s",
			launch->working_directory, strerrordesc_np(errno));
}

/* stdin from /dev/null; everything but the three standard descriptors closes at exec. */
static void set_descriptors(const int *output_fds, int error_fd)
{
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(output_fds[0], 1) < 0 ||
	    dup2(output_fds[1], 2) < 0)
		give_up(error_fd, "the standard descriptors cannot be set: %s",
			strerrordesc_np(errno));
	if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC))
		give_up(error_fd, "descriptors cannot be closed: %s", strerrordesc_np(errno));
}

__attribute__((noreturn)) static void run_child(const struct gw_launch *launch, int go_fd,
						int error_fd, const int *output_fds)
{
	char go = 0;

	(void)setsid(); /* a fresh child never leads a group, so this cannot fail */
	reset_signals();
	if (read(go_fd, &go, 1) != 1 || go != 'g')
		_exit(127);
	set_descriptors(output_fds, error_fd);
	(void)umask(022);
	/* The folder is the keeper's own until it is given to the user; so are its rights. */
	if (launch->work_fd >= 0 && fchdir(launch->work_fd))
		give_up(error_fd, "the working folder cannot be entered: %s",
			strerrordesc_np(errno));
	set_mark(launch, error_fd);
	become(launch, error_fd);
	set_environment(launch, error_fd);
	go_to_folder(launch, error_fd);
	set_limits(launch, error_fd);
	(void)execvp(launch->arguments[0], launch->arguments);
	if (errno == ENOENT)
		give_up(error_fd, "%s: no such program", launch->arguments[0]);
	give_up(error_fd, "%s cannot be run: %s", launch->arguments[0], strerrordesc_np(errno));
}

/* --- in the keeper --- */

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
}

int gw_launch_fork(const struct gw_launch *launch, struct gw_launched *ret_launched)
{
	int pipes[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}; /* go, error, stdout, stderr */
	pid_t pid;

	for (size_t i = 0; i < GW_ARRAY_COUNT(pipes); i++)
		if (pipe2(pipes[i], O_CLOEXEC)) {
			int result = -errno;

			close_all(&pipes[0][0], 8);
			return result;
		}
	pid = fork();
	if (pid == 0) {
		const int outputs[2] = {pipes[2][1], pipes[3][1]};

		(void)close(pipes[0][1]); /* or the keeper's death would go unnoticed */
		run_child(launch, pipes[0][0], pipes[1][1], outputs);
	}
	if (pid < 0 || fcntl(pipes[1][0], F_SETFL, O_RDONLY | O_NONBLOCK)) {
		int result = -errno;

		close_all(&pipes[0][0], 8); /* a child sees the go pipe end, and ends */
		return result;
	}
	close_all((int[]){pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1]}, 4);
	*ret_launched = (struct gw_launched){
		.pid = pid,
		.go_fd = pipes[0][1],
		.error_fd = pipes[1][0],
		.output_fds = {pipes[2][0], pipes[3][0]},
	};
	return 0;
}

void gw_launch_go(struct gw_launched *launched, bool go)
{
	/* A child that was killed meanwhile is found by its exit; SIGPIPE is ignored. */
	if (go)
		(void)!write(launched->go_fd, "g", 1);
	(void)close(launched->go_fd);
	launched->go_fd = -1;
}

int gw_launch_outcome(int error_fd, char *ret_error)
{
	ssize_t count;

	do
		count = read(error_fd, ret_error, GW_LAUNCH_ERROR_BYTES - 1);
	while (count < 0 && errno == EINTR);
	if (count < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (count <= 0)
		return 0;
	ret_error[count] = '\0';
	return 1;
}
