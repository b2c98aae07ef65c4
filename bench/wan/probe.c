/*
 * Pings, TCP requests, streams, counters, busy cores: see probe.h. A child's result comes back in
 * a shared mapping, so a child that dies leaves it at "nothing received".
 */
#include "bench/wan/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "bench/wan/lab.h"
#include "bench/wan/netns.h"
#include "bench/wan/topology.h"

#define FIFO_PRIORITY 40
#define ECHO_PORT 7
#define REQUEST_BYTES 256
#define LAST_REPLY_MS 300
#define CONNECT_TRIES 100
#define TRY_PAUSE_MS 20
#define NS_PER_S 1000000000ull

struct task {
	struct in6_addr address;
	uint32_t count;
	uint32_t interval_us;
	uint32_t sent;
	uint32_t received;
	uint64_t rtt_ns[GW_PROBE_COUNT_MAX]; /* [received] */
};

typedef int (*task_f)(struct task *task);

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = {0};

	(void)clock_gettime(clock, &now); /* cannot fail for these clocks */
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void pause_ms(long ms)
{
	const struct timespec time = {.tv_nsec = ms * 1000000L};

	(void)nanosleep(&time, NULL); /* shorter after a signal: callers count tries */
}

/* A child inside the host's namespace that dies with us; 0 in the child. */
static pid_t fork_in(const char *lab, const char *host)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || gw_lab_enter(lab, host) < 0)
		_exit(126);
	return 0;
}

static pid_t start_task(const char *lab, const char *host, task_f work, struct task *task)
{
	const struct sched_param priority = {.sched_priority = FIFO_PRIORITY};
	pid_t pid = fork_in(lab, host);

	if (pid != 0)
		return pid;
	(void)sched_setscheduler(0, SCHED_FIFO, &priority); /* without it: later, not wrong */
	_exit(work(task) == 0 ? 0 : 1);
}

static int await(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int by_value(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void summarise(struct task *task, struct gw_probe_rtt *ret_rtt)
{
	uint32_t count = task->received;
	double sum = 0;

	*ret_rtt = (struct gw_probe_rtt){.sent = task->sent, .received = count};
	if (count == 0)
		return;
	qsort(task->rtt_ns, count, sizeof(task->rtt_ns[0]), by_value);
	for (uint32_t i = 0; i < count; i++)
		sum += (double)task->rtt_ns[i];
	ret_rtt->mean_us = sum / count / 1e3;
	ret_rtt->p50_us = (double)task->rtt_ns[count / 2] / 1e3;
	ret_rtt->p99_us = (double)task->rtt_ns[(uint64_t)count * 99 / 100] / 1e3;
	ret_rtt->max_us = (double)task->rtt_ns[count - 1] / 1e3;
}

static struct task *new_task(const char *address, uint32_t count, uint32_t interval_us)
{
	struct task *task = mmap(NULL, sizeof(*task), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (task == MAP_FAILED)
		return NULL;
	task->count = count < GW_PROBE_COUNT_MAX ? count : GW_PROBE_COUNT_MAX;
	task->interval_us = interval_us;
	if (inet_pton(AF_INET6, address, &task->address) == 1)
		return task;
	(void)munmap(task, sizeof(*task));
	return NULL;
}

/* One waiting reply: its payload is the time of sending, the kernel says when it came. */
static void take_reply(int fd, struct task *task)
{
	struct {
		struct icmp6_hdr header;
		uint64_t sent_ns;
	} reply;

	char control[128];
	struct iovec vector = {.iov_base = &reply, .iov_len = sizeof(reply)};
	struct msghdr message = {.msg_iov = &vector,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct timespec came;

	if (recvmsg(fd, &message, MSG_DONTWAIT) != (ssize_t)sizeof(reply) ||
	    reply.header.icmp6_id != htons((uint16_t)getpid()))
		return;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part;
	     part = CMSG_NXTHDR(&message, part)) {
		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&came, CMSG_DATA(part), sizeof(came));
		task->rtt_ns[task->received++] =
			(uint64_t)came.tv_sec * NS_PER_S + (uint64_t)came.tv_nsec - reply.sent_ns;
		return;
	}
}

static int send_ping(int fd, struct task *task)
{
	const struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = task->address};

	struct {
		struct icmp6_hdr header;
		uint64_t sent_ns;
	} request = {.header = {.icmp6_type = ICMP6_ECHO_REQUEST}};

	request.header.icmp6_id = htons((uint16_t)getpid());
	request.header.icmp6_seq = htons((uint16_t)task->sent++);
	request.sent_ns = clock_ns(CLOCK_REALTIME);
	return sendto(fd, &request, sizeof(request), 0, (const struct sockaddr *)&to, sizeof(to)) <
			       0
		       ? -errno
		       : 0;
}

static int ping_task(struct task *task)
{
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct icmp6_filter filter;
	uint64_t next_ns = clock_ns(CLOCK_MONOTONIC);
	int error = 0;

	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
	if (fd < 0 || setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &(int){8 << 20}, sizeof(int)) < 0)
		return -errno;
	while (task->received < task->count && error == 0) {
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
		uint64_t wait_ns = LAST_REPLY_MS * 1000000ull;

		if (task->sent < task->count && now_ns >= next_ns) {
			error = send_ping(fd, task);
			next_ns += task->interval_us * 1000ull;
			continue;
		}
		if (task->sent < task->count)
			wait_ns = next_ns - now_ns;
		if (ppoll(&ready, 1, &(struct timespec){.tv_nsec = (long)wait_ns}, NULL) > 0)
			take_reply(fd, task);
		else if (task->sent == task->count)
			break;
	}
	return error;
}

static int run_task(const char *lab, const char *host, task_f work, struct task *task,
		    struct gw_probe_rtt *ret_rtt)
{
	pid_t pid = start_task(lab, host, work, task);
	int error = pid < 0 ? pid : await(pid);

	summarise(task, ret_rtt);
	(void)munmap(task, sizeof(*task));
	return error;
}

int gw_probe_ping(const char *lab, const char *host, const char *address, uint32_t count,
		  uint32_t interval_us, struct gw_probe_rtt *ret_rtt)
{
	struct task *task = new_task(address, count, interval_us);

	return task ? run_task(lab, host, ping_task, task, ret_rtt) : -EINVAL;
}

static int echo_task(struct task *task)
{
	const struct sockaddr_in6 here = {
		.sin6_family = AF_INET6, .sin6_addr = task->address, .sin6_port = htons(ECHO_PORT)};
	int listen_fd = socket(AF_INET6, SOCK_STREAM, 0);
	char bytes[REQUEST_BYTES];
	ssize_t size;
	int fd;

	if (listen_fd < 0 ||
	    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(listen_fd, (const struct sockaddr *)&here, sizeof(here)) < 0 ||
	    listen(listen_fd, 1) < 0)
		return -errno;
	fd = accept(listen_fd, NULL, NULL);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
		return -errno;
	while ((size = recv(fd, bytes, sizeof(bytes), 0)) > 0) {
		if (send(fd, bytes, (size_t)size, MSG_NOSIGNAL) != size)
			return -EIO;
	}
	return 0;
}

/* The server may not listen yet. */
static int connect_to(const struct in6_addr *address)
{
	const struct sockaddr_in6 to = {
		.sin6_family = AF_INET6, .sin6_addr = *address, .sin6_port = htons(ECHO_PORT)};

	for (int i = 0; i < CONNECT_TRIES; i++) {
		int fd = socket(AF_INET6, SOCK_STREAM, 0);

		if (fd < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
			return fd;
		(void)close(fd);
		pause_ms(TRY_PAUSE_MS);
	}
	return -ETIMEDOUT;
}

static int request_task(struct task *task)
{
	char bytes[REQUEST_BYTES] = {0};
	int fd = connect_to(&task->address);

	if (fd < 0)
		return fd;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
		return -errno;
	for (task->sent = 0; task->sent < task->count; task->sent++) {
		uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

		if (send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL) != (ssize_t)sizeof(bytes) ||
		    recv(fd, bytes, sizeof(bytes), MSG_WAITALL) != (ssize_t)sizeof(bytes))
			return -EIO;
		task->rtt_ns[task->received++] = clock_ns(CLOCK_MONOTONIC) - start_ns;
	}
	return 0;
}

int gw_probe_tcp(const char *lab, const char *client, const char *server, const char *address,
		 uint32_t count, struct gw_probe_rtt *ret_rtt)
{
	struct task *task = new_task(address, count, 0);
	pid_t echo;
	int error;

	if (!task)
		return -EINVAL;
	echo = start_task(lab, server, echo_task, task);
	if (echo < 0) {
		(void)munmap(task, sizeof(*task));
		return echo;
	}
	error = run_task(lab, client, request_task, task, ret_rtt);
	gw_probe_end(&echo, 1);
	return error;
}

pid_t gw_probe_stream_server(const char *lab, const char *host)
{
	pid_t pid = fork_in(lab, host);

	if (pid != 0)
		return pid;
	if (freopen("/dev/null", "w", stdout))
		(void)execlp("iperf3", "iperf3", "-s", (char *)NULL);
	_exit(127);
}

/* The client's report, or NULL. */
static json_t *run_stream(const char *lab, const char *host, const char *address, const char *warm,
			  const char *seconds, int reverse)
{
	json_t *report;
	FILE *output;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	pid = fork_in(lab, host);
	if (pid == 0) {
		if (dup2(ends[1], STDOUT_FILENO) >= 0)
			(void)execlp("iperf3", "iperf3", "-c", address, "-J", "-O", warm, "-t",
				     seconds, reverse ? "-R" : (char *)NULL, (char *)NULL);
		_exit(127);
	}
	(void)close(ends[1]);
	output = fdopen(ends[0], "r");
	report = output ? json_loadf(output, 0, NULL) : NULL;
	if (output)
		(void)fclose(output); /* only read */
	if (pid > 0)
		(void)await(pid); /* a failure stands in the report */
	return report;
}

int gw_probe_stream(const char *lab, const char *host, const char *address, uint32_t warm_seconds,
		    uint32_t seconds, int reverse, struct gw_probe_stream *ret_stream)
{
	char numbers[2][16];
	const char *fault = "no report";
	json_t *report = NULL;
	json_t *end;
	int error = -EIO;

	(void)snprintf(numbers[0], sizeof(numbers[0]), "%u", warm_seconds);
	(void)snprintf(numbers[1], sizeof(numbers[1]), "%u", seconds);
	for (int i = 0; i < CONNECT_TRIES && fault; i++) {
		json_decref(report);
		report = run_stream(lab, host, address, numbers[0], numbers[1], reverse);
		fault = report ? json_string_value(json_object_get(report, "error")) : "no report";
		if (!report || (fault && !strstr(fault, "refused") && !strstr(fault, "busy")))
			break;
		if (fault)
			pause_ms(TRY_PAUSE_MS);
	}
	end = json_object_get(report, "end");
	if (fault) {
		(void)fprintf(stderr, "godwit-lab: iperf3: %s\n", fault);
	} else {
		ret_stream->goodput_bps = json_number_value(
			json_object_get(json_object_get(end, "sum_received"), "bits_per_second"));
		ret_stream->retransmits = (uint64_t)json_integer_value(
			json_object_get(json_object_get(end, "sum_sent"), "retransmits"));
		error = 0;
	}
	json_decref(report);
	return error;
}

struct counters_visit {
	const char *interface;
	struct gw_probe_counters counters;
};

/* /proc/net follows the namespace of the thread that reads it. */
static int read_counters(void *context)
{
	struct counters_visit *visit = context;
	char line[512];
	char path[64];
	unsigned long long value;
	size_t size = strlen(visit->interface);
	FILE *file = fopen("/proc/net/dev", "re");
	int found = 0;

	while (file && fgets(line, sizeof(line), file)) {
		const char *at = line + strspn(line, " ");

		if (strncmp(at, visit->interface, size) != 0 || at[size] != ':' ||
		    sscanf(at + size + 1, "%*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &value) != 1)
			continue;
		visit->counters.sent = value;
		found++;
	}
	if (file)
		(void)fclose(file); /* only read */
	(void)snprintf(path, sizeof(path), "/proc/net/dev_snmp6/%s", visit->interface);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Ip6InReceives %llu", &value) != 1)
			continue;
		visit->counters.received = value;
		found++;
	}
	if (file)
		(void)fclose(file); /* only read */
	return found == 2 ? 0 : -ENODATA;
}

int gw_probe_counters(const char *lab, const char *host, const char *interface,
		      struct gw_probe_counters *ret_counters)
{
	struct counters_visit visit = {.interface = interface};
	char name[GW_LAB_NAMESPACE_BYTES];
	int error;

	(void)snprintf(name, sizeof(name), "godwit.%s.%s", lab, host);
	error = gw_netns_visit(name, read_counters, &visit);
	*ret_counters = visit.counters;
	return error;
}

uint32_t gw_probe_busy_start(pid_t ret_pids[GW_PROBE_BUSY_MAX])
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t count = 0;

	for (long core = 0; core < cores && count < GW_PROBE_BUSY_MAX; core++) {
		pid_t pid = fork();
		cpu_set_t cpus;

		if (pid < 0)
			break;
		if (pid > 0) {
			ret_pids[count++] = pid;
			continue;
		}
		CPU_ZERO(&cpus);
		CPU_SET((size_t)core, &cpus);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
		    sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
			_exit(1);
		for (volatile uint64_t spin = 0;;)
			spin = spin + 1;
	}
	return count;
}

void gw_probe_end(const pid_t *pids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		(void)kill(pids[i], SIGKILL); /* ended already: reaped below all the same */
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	}
}
