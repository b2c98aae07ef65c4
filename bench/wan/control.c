/* The control socket of the emulator, both sides; protocol in control.h. */
#include "bench/wan/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "bench/wan/params.h"

#define REQUEST_BYTES_MAX 4096u
#define ANSWER_BYTES_MAX (1u << 20)

static uint64_t cpu_ns(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* Packets that the kernel dropped for a full backlog, all CPUs and all namespaces together: column
 * 2 of softnet_stat. Ours may be among them, so the count stands in the stats. */
static uint64_t softnet_dropped(void)
{
	FILE *file = fopen("/proc/net/softnet_stat", "re");
	unsigned int dropped;
	uint64_t sum = 0;

	if (!file)
		return 0;
	while (fscanf(file, "%*x %x%*[^\n]", &dropped) == 1)
		sum += dropped;
	(void)fclose(file); /* only read */
	return sum;
}

static void mark_reset(struct gw_control *control)
{
	control->since_ns = gw_mover_now_ns();
	control->cpu_ns = cpu_ns();
	control->softnet_dropped = softnet_dropped();
}

static int watch(const struct gw_control *control, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};

	return epoll_ctl(control->mover->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int address_of(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	strcpy(ret_address->sun_path, path);
	return 0;
}

int gw_control_open(struct gw_control *control, struct gw_mover *mover, const char *path)
{
	struct sockaddr_un address;
	int error = address_of(path, &address);

	*control = (struct gw_control){.mover = mover, .listen_fd = -1};
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++)
		control->client_fds[i] = -1;
	if (error < 0)
		return error;
	control->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listen_fd < 0)
		return -errno;
	(void)unlink(path); /* of an emulator that died; bind() reports anything else */
	if (bind(control->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, 0600) < 0 || listen(control->listen_fd, (int)GW_CONTROL_CLIENTS_MAX) < 0)
		error = -errno;
	if (error == 0)
		error = watch(control, control->listen_fd);
	if (error < 0)
		gw_control_close(control);
	mark_reset(control);
	return error;
}

void gw_control_close(struct gw_control *control)
{
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		if (control->client_fds[i] >= 0)
			(void)close(control->client_fds[i]);
		control->client_fds[i] = -1;
	}
	if (control->listen_fd >= 0)
		(void)close(control->listen_fd);
	control->listen_fd = -1;
}

static json_t *fault(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

/* `full`: each bucket that is not empty as [upper edge, packets]. */
static json_t *lateness_json(const struct gw_histogram *lateness, bool full)
{
	json_t *object = json_pack("{s:f, s:f, s:f, s:f}", "p50",
				   (double)gw_histogram_quantile_ns(lateness, 0.5) / 1e3, "p99",
				   (double)gw_histogram_quantile_ns(lateness, 0.99) / 1e3, "p99.9",
				   (double)gw_histogram_quantile_ns(lateness, 0.999) / 1e3, "max",
				   (double)lateness->max_ns / 1e3);
	json_t *buckets = full ? json_array() : NULL;

	for (uint32_t i = 0; full && i < GW_HISTOGRAM_BUCKETS; i++) {
		if (lateness->buckets[i] > 0)
			(void)json_array_append_new(
				buckets, json_pack("[f, i]", (double)gw_histogram_edge_ns(i) / 1e3,
						   (int)lateness->buckets[i]));
	}
	if (full)
		(void)json_object_set_new(object, "buckets", buckets);
	return object;
}

static json_t *direction_stats(const struct gw_mover_direction *direction, bool full)
{
	const struct gw_mover_counters *counters = &direction->counters;

	const struct {
		const char *key;
		uint64_t value;
	} values[] = {
		{"packets_in", counters->packets_in},
		{"bytes_in", counters->bytes_in},
		{"packets_out", counters->packets_out},
		{"bytes_out", counters->bytes_out},
		{"dropped_loss", counters->dropped_loss},
		{"dropped_queue", counters->dropped_queue},
		{"dropped_cut", counters->dropped_cut},
		{"dropped_ring", counters->dropped_ring},
		{"dropped_pool", counters->dropped_pool},
		{"dropped_oversize", counters->dropped_oversize},
		{"dropped_send", counters->dropped_send},
		{"not_asked", counters->dropped_ring + counters->dropped_pool +
				      counters->dropped_oversize + counters->dropped_send},
		{"reordered", counters->reordered},
	};

	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		(void)json_object_set_new(object, values[i].key,
					  json_integer((json_int_t)values[i].value));
	(void)json_object_set_new(object, "lateness_us", lateness_json(&counters->lateness, full));
	(void)json_object_set_new(object, "params", gw_params_to_json(&direction->link.params));
	return object;
}

static json_t *answer_stats(struct gw_control *control, const json_t *request)
{
	struct gw_mover *mover = control->mover;
	bool full = json_is_true(json_object_get(request, "buckets"));
	json_t *links = json_array();
	json_t *answer;

	gw_mover_collect(mover);
	for (uint32_t i = 0; i < mover->link_count; i++) {
		const struct gw_mover_link *link = &mover->links[i];

		(void)json_array_append_new(
			links, json_pack("{s:s, s:[o, o]}", "name", link->name, "directions",
					 direction_stats(&link->directions[0], full),
					 direction_stats(&link->directions[1], full)));
	}
	answer = json_pack("{s:o, s:i, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "links", links,
			   "pid", (int)getpid(), "fifo", control->fifo, "locked", control->locked,
			   "elapsed_us",
			   (json_int_t)((gw_mover_now_ns() - control->since_ns) / 1000), "cpu_us",
			   (json_int_t)((cpu_ns() - control->cpu_ns) / 1000), "softnet_dropped",
			   (json_int_t)(softnet_dropped() - control->softnet_dropped), "slots",
			   (json_int_t)mover->slot_count, "slots_used",
			   (json_int_t)(mover->slot_count - mover->free_count), "slots_used_max",
			   (json_int_t)(mover->slot_count - mover->free_low));
	if (json_is_true(json_object_get(request, "reset"))) {
		gw_mover_reset(mover);
		mark_reset(control);
	}
	return answer;
}

static const char *cut(struct gw_mover_direction *direction, json_int_t for_us)
{
	uint64_t now_ns = gw_mover_now_ns();

	gw_link_clear_cuts(&direction->link);
	if (for_us == 0)
		return NULL;
	if (for_us < 0 || gw_link_add_cut(&direction->link, now_ns,
					  (struct gw_link_cut){
						  .from_ns = now_ns,
						  .until_ns = now_ns + (uint64_t)for_us * 1000,
					  }) < 0)
		return "cut_for_us is not a time";
	return NULL;
}

/* All or nothing: both directions are checked before one is changed. */
static json_t *answer_set(struct gw_control *control, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "link"));
	const json_t *which = json_object_get(request, "direction");
	const json_t *cut_for = json_object_get(request, "cut_for_us");
	struct gw_mover_link *link = name ? gw_mover_find(control->mover, name) : NULL;
	struct gw_link_params params[2];
	const char *text = NULL;

	if (!link)
		return fault("no such link");
	if (which && (!json_is_integer(which) || json_integer_value(which) < 0 ||
		      json_integer_value(which) > 1))
		return fault("a direction is 0 or 1");
	for (uint32_t i = 0; i < 2 && !text; i++) {
		params[i] = link->directions[i].link.params;
		if (!which || json_integer_value(which) == (json_int_t)i)
			text = gw_params_from_json(json_object_get(request, "params"), &params[i]);
	}
	for (uint32_t i = 0; i < 2 && !text; i++) {
		gw_link_set(&link->directions[i].link, &params[i]);
		if (cut_for && (!which || json_integer_value(which) == (json_int_t)i))
			text = cut(&link->directions[i], json_integer_value(cut_for));
	}
	return text ? fault(text) : json_object();
}

static json_t *answer_to(struct gw_control *control, const char *text, size_t size)
{
	json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
	const char *op = json_string_value(json_object_get(request, "op"));
	json_t *answer;

	if (op && strcmp(op, "stats") == 0)
		answer = answer_stats(control, request);
	else if (op && strcmp(op, "set") == 0)
		answer = answer_set(control, request);
	else
		answer = fault("expected an object with \"op\" of \"stats\" or \"set\"");
	json_decref(request);
	return answer;
}

/* False: the client is gone, or does not read its answers. */
static bool serve_client(struct gw_control *control, int fd)
{
	char request[REQUEST_BYTES_MAX];
	ssize_t size = recv(fd, request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	json_t *answer;
	char *text;
	bool sent = false;

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (size <= 0)
		return false;
	answer = (size_t)size > sizeof(request) ? fault("a request is at most 4096 bytes")
						: answer_to(control, request, (size_t)size);
	text = json_dumps(answer, JSON_COMPACT);
	if (text)
		sent = send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
	free(text);
	json_decref(answer);
	return sent;
}

static void accept_client(struct gw_control *control)
{
	int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		if (control->client_fds[i] >= 0)
			continue;
		if (watch(control, fd) < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE,
							 &(int){ANSWER_BYTES_MAX}, sizeof(int)) < 0)
			break;
		control->client_fds[i] = fd;
		return;
	}
	(void)close(fd); /* too many: the client sees the end of the connection */
}

void gw_control_serve(struct gw_control *control)
{
	accept_client(control);
	for (uint32_t i = 0; i < GW_CONTROL_CLIENTS_MAX; i++) {
		if (control->client_fds[i] < 0 || serve_client(control, control->client_fds[i]))
			continue;
		(void)close(control->client_fds[i]);
		control->client_fds[i] = -1;
	}
}

static json_t *exchange(int fd, const char *request, int wait_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char *buffer = malloc(ANSWER_BYTES_MAX);
	json_t *answer = NULL;
	ssize_t size = -1;

	if (!buffer)
		return NULL;
	errno = 0;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) >= 0 && poll(&ready, 1, wait_ms) == 1)
		size = recv(fd, buffer, ANSWER_BYTES_MAX, 0);
	if (size > 0)
		answer = json_loadb(buffer, (size_t)size, 0, NULL);
	if (!answer && errno == 0)
		errno = ETIMEDOUT;
	free(buffer);
	return answer;
}

json_t *gw_control_ask(const char *path, const json_t *request, int wait_ms)
{
	struct sockaddr_un address;
	int error = address_of(path, &address);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char *text = json_dumps(request, JSON_COMPACT);
	json_t *answer = NULL;

	if (error == 0 && fd >= 0 && text &&
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		answer = exchange(fd, text, wait_ms);
	error = errno;
	free(text);
	if (fd >= 0)
		(void)close(fd);
	errno = error;
	return answer;
}
