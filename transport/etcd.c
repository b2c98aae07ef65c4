/*
 * HTTP to etcd. One libcurl easy handle a request; the multi handle keeps connections open and its
 * sockets are watched by the reactor. An endpoint is used until a request there fails or has no
 * known result; then the others that are under way there end too (a partitioned member would keep
 * them until their deadlines), all as unknown, and the next endpoint is used.
 *
 *	start: new; run: send, answers from the loop; stop: free
 */
#include "transport/etcd.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <sodium.h>

#include "proto/base/check.h"
#include "transport/clock.h"
#include "transport/etcd_json.h"
#include "transport/file.h"
#include "transport/reactor.h"

#define URL_BYTES 300u
#define REQUEST_BYTES_MAX (3u << 20) /* a record of 1 MiB in base64, and more */
#define CONNECT_MS_MAX 1000
#define AUTH_DEADLINE_MS 2000
#define USER_BYTES_MAX 512u
#define KEY_BYTES_MAX (64u << 10)
#define TOKEN_BYTES_MAX 4096u
#define CONNECTIONS_MAX 16L

struct transfer {
	struct transfer *next;
	struct gw_etcd *etcd;
	CURL *easy;
	uint64_t id;
	struct gw_etcd_asked asked;
	bool authenticates;
	bool started;
	bool ended;
	const char *why; /* ended without an answer; lives as long as this */
	uint32_t endpoint;
	uint64_t deadline_us; /* of mono */
	struct gw_buf request;
	struct gw_buf answer;
	struct curl_slist *headers;
	char curl_error[CURL_ERROR_SIZE];
};

struct endpoint {
	char url[URL_BYTES];
	bool failing; /* said so */
};

struct gw_etcd {
	struct gw_etcd_options options;
	char *ca;
	char *certificate;
	char *key;
	CURLM *multi;
	struct endpoint endpoints[GW_ETCD_ENDPOINTS_MAX];
	uint32_t endpoint_count;
	uint32_t current;
	struct transfer *transfers;
	struct gw_timer timer;                     /* libcurl's */
	struct gw_deferred settle;                 /* tells what ended */
	char credentials[2 * USER_BYTES_MAX + 64]; /* the request for a token; "": none */
	char token[TOKEN_BYTES_MAX + 32];          /* header with the token; "": none yet */
};

/* libcurl wants one global start before any other use; it is counted, and never undone. */
static int curl_once(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -EIO;
}

static void socket_ready(void *context, uint32_t events);

struct socket_watch {
	struct gw_watch watch;
	struct gw_etcd *etcd;
};

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
	struct gw_etcd *etcd = context;
	struct socket_watch *socket_watch = assigned;
	uint32_t events = 0;
	int error;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (socket_watch)
			gw_reactor_unwatch(etcd->options.reactor, &socket_watch->watch);
		free(socket_watch);
		return 0;
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EPOLLOUT;
	if (socket_watch) {
		error = gw_reactor_watch_change(etcd->options.reactor, &socket_watch->watch,
						events);
		return error < 0 ? -1 : 0;
	}
	socket_watch = calloc(1, sizeof(*socket_watch));
	if (!socket_watch)
		return -1;
	socket_watch->etcd = etcd;
	socket_watch->watch =
		(struct gw_watch){.fd = fd, .ready = socket_ready, .context = socket_watch};
	error = gw_reactor_watch(etcd->options.reactor, &socket_watch->watch, events);
	if (error < 0) {
		free(socket_watch);
		return -1;
	}
	(void)curl_multi_assign(etcd->multi, fd, socket_watch); /* the socket is known: it called */
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct gw_etcd *etcd = context;

	(void)multi;
	gw_reactor_timer_set(etcd->options.reactor, &etcd->timer,
			     timeout_ms < 0 ? GW_NEVER_US
					    : gw_clock_mono_us() + (uint64_t)timeout_ms * 1000u);
	return 0;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;

	/* Less than was given ends the transfer with CURLE_WRITE_ERROR. */
	return gw_buf_append(&transfer->answer, bytes, size * count) < 0 ? 0 : size * count;
}

/* A password goes out, a token comes in, and each request has it in a header. */
static void forget_secrets(struct transfer *transfer)
{
	for (struct curl_slist *at = transfer->headers; at; at = at->next)
		sodium_memzero(at->data, strlen(at->data));
	if (transfer->authenticates && transfer->request.bytes)
		sodium_memzero(transfer->request.bytes, transfer->request.size);
	if (transfer->authenticates && transfer->answer.bytes)
		sodium_memzero(transfer->answer.bytes, transfer->answer.size);
}

static void free_transfer(struct transfer *transfer)
{
	if (transfer->easy && transfer->started)
		(void)curl_multi_remove_handle(transfer->etcd->multi, transfer->easy);
	curl_easy_cleanup(transfer->easy);
	forget_secrets(transfer);
	curl_slist_free_all(transfer->headers);
	gw_buf_deinit(&transfer->request);
	gw_buf_deinit(&transfer->answer);
	free(transfer);
}

static void end(struct transfer *transfer, const char *why)
{
	transfer->ended = true;
	transfer->why = why;
	gw_reactor_defer(transfer->etcd->options.reactor, &transfer->etcd->settle);
}

static bool add_header(struct transfer *transfer, const char *header)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, header);

	if (list)
		transfer->headers = list;
	return list != NULL;
}

/* Options that are missing in libcurl as built would be refused here, and seen by the tests. */
static void set_options(struct transfer *transfer, const char *url, long limit_ms)
{
	struct gw_etcd *etcd = transfer->etcd;
	CURL *easy = transfer->easy;

	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* none, whatever the environment says */
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, (const char *)transfer->request.bytes);
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
			       (curl_off_t)transfer->request.size);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, limit_ms);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			       limit_ms < CONNECT_MS_MAX ? limit_ms : CONNECT_MS_MAX);
	if (etcd->ca)
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, etcd->ca);
	if (etcd->certificate)
		(void)curl_easy_setopt(easy, CURLOPT_SSLCERT, etcd->certificate);
	if (etcd->key)
		(void)curl_easy_setopt(easy, CURLOPT_SSLKEY, etcd->key);
}

static bool set_up(struct transfer *transfer, const char *path, long limit_ms)
{
	struct gw_etcd *etcd = transfer->etcd;
	char url[URL_BYTES + 40];

	transfer->endpoint = etcd->current;
	transfer->easy = curl_easy_init();
	/* Without "Expect:" a large request would wait for the server's leave. */
	if (!transfer->easy || !add_header(transfer, "Content-Type: application/json") ||
	    !add_header(transfer, "Expect:") ||
	    (etcd->token[0] != '\0' && !transfer->authenticates &&
	     !add_header(transfer, etcd->token)))
		return false;
	(void)snprintf(url, sizeof(url), "%s%s", etcd->endpoints[etcd->current].url, path);
	set_options(transfer, url, limit_ms);
	transfer->started = curl_multi_add_handle(etcd->multi, transfer->easy) == CURLM_OK;
	return transfer->started;
}

static void start(struct transfer *transfer)
{
	uint64_t now_us = gw_clock_mono_us();
	uint64_t left_us = transfer->deadline_us > now_us ? transfer->deadline_us - now_us : 0;

	if (left_us < GW_US_PER_MS)
		end(transfer, "no answer in time");
	else if (!set_up(transfer,
			 transfer->authenticates ? "/v3/auth/authenticate"
						 : gw_etcd_path(transfer->asked.kind),
			 (long)(left_us / GW_US_PER_MS)))
		end(transfer, "no memory for a request");
}

/* NULL: no memory. Put in the list. */
static struct transfer *new_transfer(struct gw_etcd *etcd, uint64_t deadline_us)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));
	struct transfer **last = &etcd->transfers;

	CHECK(transfer); /* a few hundred bytes; without them nothing could be said */
	transfer->etcd = etcd;
	transfer->deadline_us = gw_clock_mono_us() + deadline_us;
	gw_buf_init(&transfer->request, REQUEST_BYTES_MAX);
	gw_buf_init(&transfer->answer, GW_STORE_ANSWER_BYTES_MAX);
	while (*last)
		last = &(*last)->next;
	*last = transfer;
	return transfer;
}

static bool authenticating(const struct gw_etcd *etcd)
{
	const struct transfer *transfer = etcd->transfers;

	while (transfer && !transfer->authenticates)
		transfer = transfer->next;
	return transfer != NULL;
}

static void authenticate(struct gw_etcd *etcd)
{
	struct transfer *transfer = new_transfer(etcd, AUTH_DEADLINE_MS * GW_US_PER_MS);

	transfer->authenticates = true;
	if (gw_buf_append(&transfer->request, etcd->credentials, strlen(etcd->credentials)) < 0)
		end(transfer, "no memory for a request");
	else
		start(transfer);
}

void gw_etcd_send(struct gw_etcd *etcd, const struct gw_store_request *request)
{
	struct transfer *transfer = new_transfer(etcd, request->deadline_us);

	transfer->id = request->id;
	transfer->asked = (struct gw_etcd_asked){.kind = request->kind,
						 .op_count = request->op_count,
						 .else_op_count = request->else_op_count};
	if (gw_etcd_encode(request, &transfer->request) < 0) {
		end(transfer, "no memory for a request");
		return;
	}
	if (etcd->credentials[0] == '\0' || etcd->token[0] != '\0')
		start(transfer);
	else if (!authenticating(etcd))
		authenticate(etcd); /* those without a token start when it is there */
}

static void notice(struct gw_etcd *etcd, uint32_t endpoint, bool fails, const char *why)
{
	struct endpoint *at = &etcd->endpoints[endpoint];
	char text[URL_BYTES + 400];

	if (at->failing == fails)
		return;
	at->failing = fails;
	if (!etcd->options.notice)
		return;
	if (fails)
		(void)snprintf(text, sizeof(text), "etcd at %s: %s", at->url, why);
	else
		(void)snprintf(text, sizeof(text), "etcd at %s answers again", at->url);
	etcd->options.notice(etcd->options.context, text);
}

/* The endpoint failed: on to the next, with all that waits here. */
static void leave_endpoint(struct gw_etcd *etcd, uint32_t endpoint, const char *why)
{
	notice(etcd, endpoint, true, why);
	if (endpoint != etcd->current || etcd->endpoint_count == 1)
		return;
	etcd->current = (etcd->current + 1) % etcd->endpoint_count;
	for (struct transfer *transfer = etcd->transfers; transfer; transfer = transfer->next) {
		if (transfer->started && !transfer->ended && transfer->endpoint == endpoint)
			end(transfer, "its etcd member failed meanwhile");
	}
}

static void take_token(struct gw_etcd *etcd, const struct transfer *transfer)
{
	struct gw_arena arena;
	char *token = NULL;

	gw_arena_init(&arena, 2 * TOKEN_BYTES_MAX);
	if (!transfer->why)
		token = gw_etcd_decode_text((const char *)transfer->answer.bytes,
					    transfer->answer.size, "token", &arena);
	if (token && strlen(token) < TOKEN_BYTES_MAX && !strpbrk(token, "\r\n"))
		(void)snprintf(etcd->token, sizeof(etcd->token), "Authorization: %s", token);
	else
		leave_endpoint(etcd, transfer->endpoint,
			       transfer->why ? transfer->why
					     : "it gave no token: is the user in the password "
					       "file one of etcd's, and its password right?");
	if (token)
		sodium_memzero(token, strlen(token));
	gw_arena_deinit(&arena);
	for (struct transfer *other = etcd->transfers; other; other = other->next) {
		if (other->started || other->ended || other->authenticates)
			continue;
		if (etcd->token[0] != '\0')
			start(other);
		else
			end(other, "no token of etcd's");
	}
}

static void tell(struct gw_etcd *etcd, const struct transfer *transfer)
{
	struct gw_store_answer answer = {.result = GW_STORE_UNKNOWN, .text = transfer->why};
	bool unauthorised = false;
	struct gw_arena arena;
	long status = 0;

	gw_arena_init(&arena, GW_ETCD_DECODE_BYTES_MAX);
	if (!transfer->why) {
		(void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		gw_etcd_decode(&transfer->asked, status, (const char *)transfer->answer.bytes,
			       transfer->answer.size, &arena, &answer, &unauthorised);
	}
	if (unauthorised)
		etcd->token[0] = '\0';
	else if (answer.result != GW_STORE_UNKNOWN)
		notice(etcd, transfer->endpoint, false, "");
	else if (transfer->started)
		leave_endpoint(etcd, transfer->endpoint, answer.text ? answer.text : "no answer");
	etcd->options.answer(etcd->options.context, transfer->id, &answer);
	gw_arena_deinit(&arena);
}

/* Tells all that ended; answers may send more. */
static void settle(void *context)
{
	struct gw_etcd *etcd = context;
	struct transfer **at = &etcd->transfers;

	while (*at) {
		struct transfer *transfer = *at;

		if (!transfer->ended) {
			at = &transfer->next;
			continue;
		}
		*at = transfer->next;
		if (transfer->authenticates)
			take_token(etcd, transfer);
		else
			tell(etcd, transfer);
		free_transfer(transfer);
	}
}

static void take_results(struct gw_etcd *etcd)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(etcd->multi, &left))) {
		struct transfer *transfer = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		CHECK(transfer);
		if (transfer->ended)
			continue;
		if (message->data.result == CURLE_OK)
			end(transfer, NULL);
		else
			end(transfer, transfer->curl_error[0] != '\0'
					      ? transfer->curl_error
					      : curl_easy_strerror(message->data.result));
	}
}

static void act(struct gw_etcd *etcd, curl_socket_t fd, int what)
{
	int running;
	CURLMcode code = curl_multi_socket_action(etcd->multi, fd, what, &running);

	CHECK(code == CURLM_OK); /* else a handle is misused, or there is no memory */
	take_results(etcd);
}

static void socket_ready(void *context, uint32_t events)
{
	struct socket_watch *socket_watch = context;
	int what = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	act(socket_watch->etcd, socket_watch->watch.fd, what);
}

static void timer_fired(void *context)
{
	act(context, CURL_SOCKET_TIMEOUT, 0);
}

static int add_endpoint(struct gw_etcd *etcd, const char *text, size_t size, struct gw_fault *fault)
{
	struct endpoint *endpoint = &etcd->endpoints[etcd->endpoint_count];
	bool secure;
	bool plain;

	while (size > 0 && text[size - 1] == '/')
		size--;
	secure = size > 8 && strncmp(text, "https://", 8) == 0;
	plain = size > 8 && strncmp(text, "http://", 7) == 0;
	if ((!secure && !plain) || size >= sizeof(endpoint->url) ||
	    memchr(text + 8, '/', size - 8)) {
		gw_fault_set(fault,
			     "etcd: found the endpoint \"%.*s\", expected http://HOST:PORT or "
			     "https://HOST:PORT",
			     (int)(size < 100 ? size : 100), text);
		return -EINVAL;
	}
	if (plain && etcd->options.user_file) {
		gw_fault_set(fault, "etcd: a password would go over %.*s in the clear; use https",
			     (int)size, text);
		return -EINVAL;
	}
	memcpy(endpoint->url, text, size);
	endpoint->url[size] = '\0';
	etcd->endpoint_count++;
	return 0;
}

static int read_endpoints(struct gw_etcd *etcd, struct gw_fault *fault)
{
	const char *at = etcd->options.endpoints;

	do {
		const char *comma = strchr(at, ',');
		size_t size = comma ? (size_t)(comma - at) : strlen(at);
		int error;

		if (etcd->endpoint_count == GW_ETCD_ENDPOINTS_MAX) {
			gw_fault_set(fault, "etcd: more than %u endpoints", GW_ETCD_ENDPOINTS_MAX);
			return -EINVAL;
		}
		error = add_endpoint(etcd, at, size, fault);
		if (error < 0)
			return error;
		at = comma ? comma + 1 : NULL;
	} while (at);
	return 0;
}

/* A JSON string's inside; false: it has what is not printable ASCII, or no room. */
static bool escape(const char *text, size_t size, char *ret_text, size_t room)
{
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		if (text[i] < ' ' || text[i] > '~' || used + 3 > room)
			return false;
		if (text[i] == '"' || text[i] == '\\')
			ret_text[used++] = '\\';
		ret_text[used++] = text[i];
	}
	ret_text[used] = '\0';
	return true;
}

static int read_user(struct gw_etcd *etcd, struct gw_fault *fault)
{
	char text[USER_BYTES_MAX];
	char user[USER_BYTES_MAX];
	char password[USER_BYTES_MAX];
	const char *colon;
	size_t size = 0;
	int error;

	if (!etcd->options.user_file)
		return 0;
	error = gw_file_read(etcd->options.user_file, true, sizeof(text), text, &size, fault);
	if (error < 0)
		return error;
	while (size > 0 && text[size - 1] == '\n')
		size--;
	colon = memchr(text, ':', size);
	if (!colon || !escape(text, (size_t)(colon - text), user, sizeof(user)) ||
	    !escape(colon + 1, size - (size_t)(colon + 1 - text), password, sizeof(password))) {
		gw_fault_set(fault, "%s: expected one line USER:PASSWORD in printable ASCII",
			     etcd->options.user_file);
		error = -EINVAL;
	} else {
		(void)snprintf(etcd->credentials, sizeof(etcd->credentials),
			       "{\"name\":\"%s\",\"password\":\"%s\"}", user, password);
	}
	sodium_memzero(text, sizeof(text));
	sodium_memzero(password, sizeof(password));
	return error;
}

/* libcurl reads the key, with each connection; its mode is checked here, before the first. */
static int check_key(const struct gw_etcd *etcd, struct gw_fault *fault)
{
	char *text;
	size_t size;
	int error;

	if (!etcd->options.key)
		return 0;
	text = malloc(KEY_BYTES_MAX);
	if (!text)
		return -ENOMEM;
	error = gw_file_read(etcd->options.key, true, KEY_BYTES_MAX, text, &size, fault);
	sodium_memzero(text, KEY_BYTES_MAX);
	free(text);
	return error;
}

/* The files are named again with every request, so the names are kept. */
static int keep_name(const char *path, char **ret_copy)
{
	if (!path)
		return 0;
	*ret_copy = strdup(path);
	return *ret_copy ? 0 : -ENOMEM;
}

static int open_multi(struct gw_etcd *etcd)
{
	int error = curl_once();

	if (error < 0)
		return error;
	etcd->multi = curl_multi_init();
	if (!etcd->multi)
		return -ENOMEM;
	(void)curl_multi_setopt(etcd->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(etcd->multi, CURLMOPT_SOCKETDATA, etcd);
	(void)curl_multi_setopt(etcd->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	(void)curl_multi_setopt(etcd->multi, CURLMOPT_TIMERDATA, etcd);
	(void)curl_multi_setopt(etcd->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
	return 0;
}

int gw_etcd_new(const struct gw_etcd_options *options, struct gw_etcd **ret_etcd,
		struct gw_fault *fault)
{
	struct gw_etcd *etcd = calloc(1, sizeof(*etcd));
	int error;

	if (!etcd)
		return -ENOMEM;
	etcd->options = *options;
	etcd->timer.fired = timer_fired;
	etcd->timer.context = etcd;
	etcd->settle.call = settle;
	etcd->settle.context = etcd;
	error = read_endpoints(etcd, fault);
	error = error < 0 ? error : read_user(etcd, fault);
	error = error < 0 ? error : check_key(etcd, fault);
	error = error < 0 ? error : keep_name(options->ca, &etcd->ca);
	error = error < 0 ? error : keep_name(options->certificate, &etcd->certificate);
	error = error < 0 ? error : keep_name(options->key, &etcd->key);
	error = error < 0 ? error : open_multi(etcd);
	if (error < 0) {
		gw_etcd_free(etcd);
		return error;
	}
	*ret_etcd = etcd;
	return 0;
}

struct gw_etcd *gw_etcd_free(struct gw_etcd *etcd)
{
	if (!etcd)
		return NULL;
	while (etcd->transfers) {
		struct transfer *next = etcd->transfers->next;

		free_transfer(etcd->transfers);
		etcd->transfers = next;
	}
	gw_reactor_undefer(etcd->options.reactor, &etcd->settle);
	if (etcd->multi)
		(void)curl_multi_cleanup(etcd->multi);
	gw_reactor_timer_cancel(etcd->options.reactor, &etcd->timer);
	sodium_memzero(etcd->credentials, sizeof(etcd->credentials));
	sodium_memzero(etcd->token, sizeof(etcd->token));
	free(etcd->ca);
	free(etcd->certificate);
	free(etcd->key);
	free(etcd);
	return NULL;
}
