/* The head's control socket; see the header. Runs at normal priority beside the timed threads and
 * does nothing while an order is carried out. */
#include "bench/loss/orders.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "bench/loss/stats.h"
#include "proto/base/buf.h"

#define LINE_BYTES_MAX 65536u

int gw_orders_listen(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	int fd;
	int r = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode)) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			r = -EADDRINUSE; /* another head lives there */
		else
			(void)unlink(path); /* left behind; a failure shows at bind */
		(void)close(fd);
		fd = r == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	}
	if (fd < 0)
		return r < 0 ? r : -errno;
	(void)fchmod(fd, 0600); /* before bind: the path never exists with a wider mode */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static json_t *error_answer(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

/* A list's count, mean and percentiles in milliseconds; sorts it. */
static json_t *summary_ms(struct gw_samples *samples)
{
	double mean = gw_stats_mean(samples->values, samples->count);
	double p50 = gw_stats_percentile(samples->values, samples->count, 0.5);
	double p99 = gw_stats_percentile(samples->values, samples->count, 0.99);

	if (samples->count == 0)
		return json_pack("{s:i}", "count", 0);
	return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:I}", "count", (json_int_t)samples->count,
			 "mean", mean * 1e3, "p50", p50 * 1e3, "p99", p99 * 1e3, "min",
			 samples->values[0] * 1e3, "max", samples->values[samples->count - 1] * 1e3,
			 "dropped", (json_int_t)samples->dropped);
}

static json_t *report_answer(const struct gw_stage_report *report, uint64_t tokens)
{
	double frames = report->frames ? (double)report->frames : 1;

	return json_pack(
		"{s:i, s:i, s:i, s:s%, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:f}",
		"layers", (int)report->layers, "core", (int)report->core, "fifo", (int)report->fifo,
		"congestion", report->congestion, strnlen(report->congestion, 16), "frames",
		(json_int_t)report->frames, "rows", (json_int_t)report->rows, "cpu_s",
		(double)report->cpu_us * 1e-6, "cpu_us_per_token",
		tokens ? (double)report->cpu_us / (double)tokens : 0.0, "work_ms_mean",
		(double)report->work_us * 1e-3 / frames, "work_ms_max",
		(double)report->work_us_max * 1e-3, "work_over_60_percent",
		(json_int_t)report->work_over_60, "overruns", (json_int_t)report->overruns,
		"late_us_max", (json_int_t)report->late_us_max, "retransmits",
		(json_int_t)report->retransmits, "rss_bytes", (json_int_t)report->rss_bytes,
		"stage_time_ms", (double)report->service_us * 1e-3 / frames);
}

/* Fields that both workloads share. */
static json_t *result_answer(struct gw_head_result *result)
{
	json_t *stages = json_array();
	uint64_t overruns = 0;
	uint64_t frames = 0;
	uint64_t retransmits = 0;
	double cpu_s = 0;
	double service_s = 0;
	char checksum[32];

	for (uint32_t i = 0; i < result->report_count; i++) {
		const struct gw_stage_report *report = &result->reports[i];

		(void)json_array_append_new(stages, report_answer(report, result->counted_tokens));
		overruns += report->overruns;
		frames += report->frames;
		retransmits += report->retransmits;
		cpu_s += (double)report->cpu_us * 1e-6;
		service_s += (double)report->service_us * 1e-6;
	}
	(void)snprintf(checksum, sizeof(checksum), "%016llx", (unsigned long long)result->checksum);
	return json_pack(
		"{s:I, s:f, s:f, s:s, s:I, s:f, s:f, s:I, s:I, s:f, s:I, s:o, s:o, s:o, s:o}",
		"tokens", (json_int_t)result->tokens, "seconds", result->seconds, "tokens_per_s",
		result->seconds > 0 ? (double)result->tokens / result->seconds : 0.0, "checksum",
		checksum, "checksum_tokens", (json_int_t)result->checksum_tokens,
		"stage_time_ms_asked", result->stage_time_s * 1e3, "stage_time_ms",
		frames ? service_s * 1e3 / (double)frames : 0.0, "frames", (json_int_t)frames,
		"overruns", (json_int_t)overruns, "cpu_us_per_token",
		result->counted_tokens ? cpu_s * 1e6 / (double)result->counted_tokens : 0.0,
		"retransmits", (json_int_t)retransmits, "rtt_idle_ms",
		summary_ms(&result->rtt_idle_s), "rtt_bulk_ms", summary_ms(&result->rtt_bulk_s),
		"rtt_load_ms", summary_ms(&result->rtt_load_s), "stages", stages);
}

static json_t *block_answer(struct gw_head_result *result, const struct gw_block_order *order)
{
	json_t *answer = result_answer(result);

	(void)json_object_update_new(
		answer, json_pack("{s:i, s:i, s:I, s:f, s:s, s:o}", "m", (int)order->groups, "b",
				  (int)order->batch, "rounds", (json_int_t)result->rounds,
				  "stage_time_scale", order->stage_time_scale, "mode",
				  order->stage_time_scale > 0 ? "paced" : "real", "tpot_ms",
				  summary_ms(&result->loop_s)));
	return answer;
}

static json_t *serve_answer(struct gw_head_result *result, const struct gw_serve_order *order)
{
	json_t *answer = result_answer(result);
	double window_s = result->window_s > 0 ? result->window_s : 1;

	/* Tokens of measured requests belong to their window, not to the run with its edges. */
	(void)json_object_set_new(answer, "tokens_per_s",
				  json_real((double)result->tokens / window_s));
	(void)json_object_update_new(
		answer,
		json_pack("{s:i, s:i, s:s, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "m",
			  (int)order->groups, "b", (int)order->batch, "mode",
			  order->stage_time_scale > 0 ? "paced" : "real", "rate_per_s",
			  order->rate_per_s, "requests", (json_int_t)result->requests,
			  "requests_all", (json_int_t)result->requests_all, "refused",
			  (json_int_t)result->refused, "offered_tokens_per_s",
			  result->offered_tokens_per_s, "window_s", result->window_s,
			  "goodput_per_s", (double)result->good / window_s, "ttft_ms",
			  summary_ms(&result->ttft_s), "tpot_ms", summary_ms(&result->tpot_s)));
	return answer;
}

static json_t *info_answer(const struct gw_head *head)
{
	const struct gw_stage_config *config = gw_stage_config(head->stage);
	const struct gw_accelerator *a = &head->accelerator;

	return json_pack(
		"{s:i, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I}, s:{s:f, s:f, s:f, s:f, "
		"s:f, "
		"s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:i}}",
		"stages", (int)config->ring.count, "model", "hidden", (int)config->model.hidden,
		"ffn", (int)config->model.ffn, "heads", (int)config->model.heads, "kv_heads",
		(int)config->model.kv_heads, "layers", (int)config->model.layers, "window",
		(int)config->model.window, "slots", (int)config->model.slots, "rows",
		(int)config->model.rows, "seed", (json_int_t)config->model.seed, "accelerator",
		"flops_per_s", a->flops_per_s, "flops_efficiency", a->flops_efficiency,
		"bytes_per_s", a->bytes_per_s, "bytes_efficiency", a->bytes_efficiency,
		"memory_bytes", a->memory_bytes, "overhead_s", a->overhead_s, "hidden", a->hidden,
		"ffn", a->ffn, "kv_width", a->kv_width, "layers_held", a->layers_held, "context",
		a->context, "layer_weight_bytes", gw_accelerator_weight_bytes(a),
		"layer_cache_bytes", gw_accelerator_cache_bytes(a), "layer_flops_per_token",
		gw_accelerator_flops_per_token(a), "slots", (int)gw_accelerator_slots(a));
}

/* A number of the request within [min, max], or the default when it is not there. False: wrong. */
static bool number(const json_t *request, const char *key, double fallback, double min, double max,
		   double *ret)
{
	const json_t *value = json_object_get(request, key);

	*ret = value ? json_number_value(value) : fallback;
	return (!value || json_is_number(value)) && *ret >= min && *ret <= max;
}

static bool count(const json_t *request, const char *key, uint64_t fallback, uint64_t max,
		  uint64_t *ret)
{
	const json_t *value = json_object_get(request, key);

	*ret = fallback;
	if (!value)
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
	    (uint64_t)json_integer_value(value) > max)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static bool range(const json_t *request, const char *key, uint32_t *min, uint32_t *max)
{
	const json_t *value = json_object_get(request, key);
	json_int_t low;
	json_int_t high;

	if (!value)
		return true;
	low = json_integer_value(json_array_get(value, 0));
	high = json_integer_value(json_array_get(value, 1));
	if (json_array_size(value) != 2 || low < 1 || high < low || high > 1000000)
		return false;
	*min = (uint32_t)low;
	*max = (uint32_t)high;
	return true;
}

/* m, b, mode and stage_time_scale: the same for both workloads. */
static const char *read_shape(const json_t *request, uint32_t *ret_m, uint32_t *ret_b,
			      double *ret_scale)
{
	const json_t *mode = json_object_get(request, "mode");
	uint64_t m;
	uint64_t b;

	if (!count(request, "m", 1, GW_FRAME_GROUPS_MAX, &m) ||
	    !count(request, "b", 1, GW_MODEL_ROWS_MAX, &b))
		return "m and b must be whole numbers, m up to 32, b up to 512";
	if (!number(request, "stage_time_scale", 1, 0.001, 100, ret_scale))
		return "stage_time_scale must be 0.001 to 100";
	if (mode && strcmp(json_is_string(mode) ? json_string_value(mode) : "", "real") == 0)
		*ret_scale = 0;
	else if (mode && strcmp(json_is_string(mode) ? json_string_value(mode) : "", "paced") != 0)
		return "mode must be \"paced\" or \"real\"";
	*ret_m = (uint32_t)m;
	*ret_b = (uint32_t)b;
	return NULL;
}

static const char *read_block(const json_t *request, struct gw_block_order *ret)
{
	*ret = (struct gw_block_order){0};
	if (!count(request, "rounds", 0, 1000000, &ret->rounds) ||
	    !number(request, "seconds", 0, 0, GW_HEAD_SECONDS_MAX, &ret->seconds))
		return "rounds must be a whole number up to 1000000, seconds up to 3600";
	return read_shape(request, &ret->groups, &ret->batch, &ret->stage_time_scale);
}

static const char *read_serve(const json_t *request, struct gw_serve_order *ret)
{
	double ttft_ms;
	double tpot_ms;

	*ret = (struct gw_serve_order){
		.prompt_min = 8, .prompt_max = 64, .output_min = 16, .output_max = 64};
	if (!number(request, "rate_per_s", 0, 0, 1e6, &ret->rate_per_s) ||
	    !number(request, "seconds", 0, 0, GW_HEAD_SECONDS_MAX, &ret->seconds) ||
	    !number(request, "warm_s", 5, 0, GW_HEAD_SECONDS_MAX, &ret->warm_s) ||
	    !number(request, "ttft_limit_ms", 1000, 0, 1e9, &ttft_ms) ||
	    !number(request, "tpot_limit_ms", 1000, 0, 1e9, &tpot_ms))
		return "rate_per_s, seconds, warm_s and the limits must be numbers in range";
	if (!count(request, "seed", 1, INT64_MAX, &ret->seed))
		return "seed must be a whole number";
	if (!range(request, "prompt", &ret->prompt_min, &ret->prompt_max) ||
	    !range(request, "output", &ret->output_min, &ret->output_max))
		return "prompt and output must be [smallest, largest] numbers of tokens";
	ret->ttft_limit_s = ttft_ms * 1e-3;
	ret->tpot_limit_s = tpot_ms * 1e-3;
	return read_shape(request, &ret->groups, &ret->batch, &ret->stage_time_scale);
}

static const char *read_order(const json_t *request, const char *op, struct gw_head_order *ret)
{
	const char *name = json_string_value(json_object_get(request, "name"));

	memset(ret, 0, sizeof(*ret));
	if (strcmp(op, "block") == 0) {
		ret->op = GW_HEAD_BLOCK;
		return read_block(request, &ret->block);
	}
	if (strcmp(op, "serve") == 0) {
		ret->op = GW_HEAD_SERVE;
		return read_serve(request, &ret->serve);
	}
	if (strcmp(op, "delay") == 0) {
		ret->op = GW_HEAD_DELAY;
		return count(request, "us", 0, GW_FRAME_STAGE_TIME_NS_MAX / 1000, &ret->delay_us)
			       ? NULL
			       : "us must be a whole number up to 60000000";
	}
	if (strcmp(op, "congestion") != 0)
		return "op must be info, block, serve, congestion or delay";
	ret->op = GW_HEAD_CONGESTION;
	if (!name || strlen(name) >= sizeof(ret->congestion))
		return "name must be that of a congestion control";
	memcpy(ret->congestion, name, strlen(name) + 1);
	return NULL;
}

static json_t *answer_to(struct gw_head *head, const json_t *request)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	struct gw_head_order order;
	struct gw_head_result result;
	const char *wrong;
	json_t *answer = NULL;

	if (!op)
		return error_answer("a request is an object with an op");
	if (strcmp(op, "info") == 0)
		return info_answer(head);
	wrong = read_order(request, op, &order);
	if (!wrong)
		wrong = gw_head_check(head, &order);
	if (!wrong)
		wrong = gw_head_order(head, &order, &result);
	if (wrong)
		return error_answer(wrong);
	switch (order.op) {
	case GW_HEAD_BLOCK:
		answer = block_answer(&result, &order.block);
		break;
	case GW_HEAD_SERVE:
		answer = serve_answer(&result, &order.serve);
		break;
	case GW_HEAD_CONGESTION:
		answer = json_pack("{s:s}", "congestion", order.congestion);
		break;
	case GW_HEAD_DELAY:
		answer = json_pack("{s:I}", "delay_us", (json_int_t)order.delay_us);
		break;
	}
	gw_head_result_deinit(&result);
	return answer;
}

static bool send_line(int fd, const json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT);
	size_t size = text ? strlen(text) : 0;
	size_t sent = 0;

	if (!text)
		return false;
	text[size] = '\n'; /* in place of the NUL; its length is known */
	while (sent < size + 1) {
		ssize_t n = send(fd, text + sent, size + 1 - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	free(text);
	return sent == size + 1;
}

/* One line, without its end; false: the client is gone. */
static bool serve_line(struct gw_head *head, int fd, const uint8_t *line, size_t size)
{
	json_error_t fault;
	json_t *request = json_loadb((const char *)line, size, JSON_REJECT_DUPLICATES, &fault);
	json_t *answer = request ? answer_to(head, request)
				 : json_pack("{s:s+}", "error", "not JSON: ", fault.text);
	bool sent = answer && send_line(fd, answer);

	json_decref(request);
	json_decref(answer);
	return sent;
}

static void serve_client(struct gw_head *head, int fd)
{
	struct gw_buf in;
	bool alive = true;

	gw_buf_init(&in, LINE_BYTES_MAX);
	while (alive) {
		uint8_t *end = in.size ? memchr(in.bytes, '\n', in.size) : NULL;
		uint8_t bytes[4096];
		ssize_t n;

		if (end) {
			size_t size = (size_t)(end - in.bytes);

			alive = serve_line(head, fd, in.bytes, size);
			gw_buf_consume(&in, size + 1);
			continue;
		}
		n = recv(fd, bytes, sizeof(bytes), 0);
		if (n < 0 && errno == EINTR)
			continue;
		alive = n > 0;
		if (alive && gw_buf_append(&in, bytes, (size_t)n) < 0) {
			json_t *answer = error_answer("the request is longer than 65536 bytes");

			(void)send_line(fd, answer); /* the connection ends either way */
			json_decref(answer);
			alive = false;
		}
	}
	gw_buf_deinit(&in);
}

void gw_orders_serve(struct gw_head *head, int listen_fd)
{
	for (;;) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		serve_client(head, fd);
		(void)close(fd);
	}
}
