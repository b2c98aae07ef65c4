/* The daemon as a process: a region is made once, tickets are checked, it listens, and it stops. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/check.h"

#define TEXT_BYTES 6000u
#define ARGUMENTS_MAX 16u

struct child {
	pid_t pid;
	int output; /* stdout and stderr */
	char text[TEXT_BYTES];
	size_t size;
};

static char folder[] = "/tmp/godwit-test-XXXXXX";

/* The words of `line`, with %s as the test's folder. */
static void start(struct child *child, const char *line)
{
	char *arguments[ARGUMENTS_MAX + 2] = {getenv("GODWIT_SCHEDULER")};
	char words[1024];
	char *rest = words;
	int ends[2];
	size_t n = 1;

	assert_non_null(arguments[0]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void)snprintf(words, sizeof(words), line, folder, folder);
#pragma GCC diagnostic pop
	for (char *word; (word = strsep(&rest, " ")) && n < ARGUMENTS_MAX;)
		arguments[n++] = word;
	memset(child, 0, sizeof(*child));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	child->pid = fork();
	assert_true(child->pid >= 0);
	if (child->pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		(void)dup2(ends[1], STDERR_FILENO);
		(void)execv(arguments[0], arguments);
		_exit(127);
	}
	(void)close(ends[1]);
	child->output = ends[0];
}

/* Reads until the words come, or to the end when they are NULL. */
static void hear(struct child *child, const char *words)
{
	ssize_t got = 1;

	while (got > 0 && child->size < TEXT_BYTES - 1 && !(words && strstr(child->text, words))) {
		got = read(child->output, child->text + child->size, TEXT_BYTES - 1 - child->size);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			child->size += (size_t)got;
	}
}

static int end(struct child *child)
{
	int status;

	hear(child, NULL);
	(void)close(child->output);
	assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void each_command_says_what_it_did(void **state)
{
	static const struct {
		const char *line;
		int code;
		const char *words;
	} rows[] = {
		{"run --state %s/none --listen ::1", 1, "none/keys"},
		{"init --state %s/region", 2, "--region"},
		{"init --state %s/region --region two,words", 1, "--region"},
		{"init --state %s/region --region north", 0, "Made region north"},
		{"init --state %s/region --region north", 1,
		 "region/keys"}, /* never over another */
		{"token --state %s/region --listen ::1 --role agent --ticket %s/t", 1, "--site"},
		{"token --state %s/region --listen ::1 --role king --ticket %s/t", 2, "king"},
		{"token --state %s/region --listen ::1 --role user --tenant 12 --ticket %s/t", 1,
		 "--tenant"},
		{"token --state %s/region --listen ::1 --role user --name ada --ticket %s/t", 0,
		 "for one user"},
		{"check-journal --state %s/region", 1, "region/journal"},
		{"run --state %s/region --listen ::1 --advertise ::1", 2, "without --etcd"},
		{"run --state %s/region --listen ::1 --etcd http://[::1]:1 --advertise host", 2,
		 "--advertise: found"},
		{"run --state %s/region --listen :: --etcd http://[::1]:1", 1, "give --advertise"},
		{"run --state %s/region --listen ::1 --etcd ftp://[::1]:1", 1, "ftp"},
		{"run --state %s/region --listen ::1 --etcd http://[::1]:1 --etcd-prefix a/", 1,
		 "a/"},
		{"run --state %s/region --listen ::1 --lease 1s", 2, "--lease"},
		{"run --state %s/region --listen 203.0.113.77 --port 7100", 1, "203.0.113.77"},
		{"--check-journal %s/none", 1, "none"},
		{"dump-journal %s/none", 1, "none"},
		{"dump-journal %s/none more", 2, "more"},
		{"states --state %s/region", 0, "| waiting |"},
		{"--help", 0, "init"},
		{"dance", 2, "dance"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct child child;
		int code;

		start(&child, rows[i].line);
		code = end(&child);
		if (code != rows[i].code || !strstr(child.text, rows[i].words))
			fail_msg("%s: exit %d, said: %s", rows[i].line, code, child.text);
	}
}

static void secrets_are_kept_as_secrets(void **state)
{
	struct child child;
	struct stat file;
	char path[64];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/t", folder);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 0777, 0600);
	(void)snprintf(path, sizeof(path), "%s/region/keys", folder);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 0777, 0600);
	assert_int_equal(chmod(path, 0640), 0);
	start(&child, "run --state %s/region --listen ::1");
	assert_int_equal(end(&child), 1);
	assert_non_null(strstr(child.text, "region/keys"));
	assert_int_equal(chmod(path, 0600), 0);
}

/* Some three ports in a row are free: tries until they are. */
static void it_listens_and_stops_in_order(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(signals); i++) {
		bool listens = false;

		for (unsigned attempt = 0; attempt < 20 && !listens; attempt++) {
			struct child child;
			char line[256];

			(void)snprintf(line, sizeof(line),
				       "run --state %%s/region --listen 127.0.0.1 --port %u",
				       21000 + ((unsigned)getpid() * 7 + attempt * 131) % 9000);
			start(&child, line);
			hear(&child, "listens on");
			listens = strstr(child.text, "region north listens on") != NULL;
			(void)kill(child.pid, signals[i]);
			assert_int_equal(end(&child), listens ? 0 : 1);
		}
		assert_true(listens);
	}
}

/* Every start writes at least that it leads. */
static void the_journal_can_be_looked_at(void **state)
{
	static const struct {
		const char *line;
		const char *words;
	} rows[] = {
		{"check-journal --state %s/region", "is sound"},
		{"check-journal --state %s/region --json", "\"sound\": true"},
		{"--check-journal %s/region/journal", "is sound"},
		{"dump-journal --state %s/region", "\"term_started\":{\"term\":"},
		{"--dump-journal %s/region/journal", "\"record\":{\"version\":1"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct child child;
		int code;

		start(&child, rows[i].line);
		code = end(&child);
		if (code != 0 || !strstr(child.text, rows[i].words))
			fail_msg("%s: exit %d, said: %s", rows[i].line, code, child.text);
	}
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command); /* a path of our own making */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_command_says_what_it_did),
		cmocka_unit_test(secrets_are_kept_as_secrets),
		cmocka_unit_test(it_listens_and_stops_in_order),
		cmocka_unit_test(the_journal_can_be_looked_at),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
