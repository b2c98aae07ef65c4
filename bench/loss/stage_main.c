/*
 * godwit-stage: one pipeline stage of the reference inference job, as a task runs it. Its place
 * comes from the environment: GODWIT_TASK_INDEX (stage), GODWIT_TASK_COUNT (stages), GODWIT_PEERS
 * (addresses by stage, its own being where it listens); stage 0 is the head and opens the control
 * socket.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/loss/head.h"
#include "bench/loss/orders.h"
#include "bench/loss/pace.h"
#include "bench/loss/stage.h"
#include "proto/base/check.h"
#include "proto/option.h"

void openblas_set_num_threads(int count); /* not declared by the reference cblas.h */

struct options {
	uint64_t hidden;
	uint64_t ffn;
	uint64_t heads;
	uint64_t kv_heads;
	uint64_t layers;
	uint64_t window;
	uint64_t slots;
	uint64_t rows;
	uint64_t seed;
	bool pin;
	uint64_t core;
	const char *congestion;
	const char *control;
	uint64_t connect_us;
	uint64_t describe;
	struct gw_accelerator accelerator;
};

#define OPTION(name, kind, field, low, high, standard, word, text)                                 \
	{                                                                                          \
		.value = {.key = name,                                                             \
			  .type = GW_SCHEMA_##kind,                                                \
			  .offset = offsetof(struct options, field),                               \
			  .min = low,                                                              \
			  .max = high,                                                             \
			  .fallback = standard,                                                    \
			  .help = text},                                                           \
		.argument = word,                                                                  \
	}
#define REAL(name, field, standard, text)                                                          \
	OPTION(name, REAL, accelerator.field, 0, 0, standard, "NUMBER", text)

static const struct gw_option options_table[] = {
	OPTION("hidden", COUNT, hidden, 16, GW_MODEL_HIDDEN_MAX, "64", "N", "width of the model"),
	OPTION("ffn", COUNT, ffn, 16, 4 * GW_MODEL_HIDDEN_MAX, "192", "N",
	       "width of its gated MLP"),
	OPTION("heads", COUNT, heads, 1, 256, "4", "N", "attention heads"),
	OPTION("kv-heads", COUNT, kv_heads, 1, 256, "2", "N", "key and value heads"),
	OPTION("layers", COUNT, layers, 1, GW_MODEL_LAYERS_MAX, "12", "N",
	       "layers of the whole model"),
	OPTION("window", COUNT, window, 1, GW_MODEL_WINDOW_MAX, "64", "N",
	       "positions that attention looks back"),
	OPTION("slots", COUNT, slots, 0, GW_MODEL_SLOTS_MAX, "0", "N",
	       "sequences in memory, m times b at most; 0: what the accelerator's memory holds"),
	OPTION("rows", COUNT, rows, 1, GW_MODEL_ROWS_MAX, "256", "N",
	       "tokens of the largest batch"),
	OPTION("seed", COUNT, seed, 0, INT64_MAX, "1", "N", "of the weights"),
	OPTION("pin", BOOL, pin, 0, 0, NULL, NULL, "pin the process to --core"),
	OPTION("core", COUNT, core, 0, 4095, "0", "N", "core to pin to, with --pin"),
	OPTION("congestion", TEXT, congestion, 1, 15, "bbr", "NAME", "TCP congestion control"),
	OPTION("control", TEXT, control, 0, 107, NULL, "PATH",
	       "UNIX socket of the head's control; default: $GODWIT_CONTROL"),
	OPTION("connect-within", DURATION, connect_us, 1000, 3600000000ull, "60 s", "DURATION",
	       "how long to wait for both neighbours"),
	OPTION("describe", COUNT, describe, 1, GW_FRAME_GROUPS_MAX, NULL, "M",
	       "print as JSON what M micro-batches that fill the memory cost, and end"),
	REAL("flops", flops_per_s, "312e12", "of the accelerator stood for, per second, fp16"),
	REAL("flops-efficiency", flops_efficiency, "0.5", "share of it that is reached"),
	REAL("bandwidth", bytes_per_s, "2.04e12", "bytes per second of its memory"),
	REAL("bandwidth-efficiency", bytes_efficiency, "0.8", "share of it that is reached"),
	REAL("memory", memory_bytes, "80e9", "bytes of its memory"),
	REAL("overhead", overhead_s, "0.001", "seconds per batch besides"),
	REAL("served-hidden", hidden, "8192", "width of the model stood for (Llama-2-70B)"),
	REAL("served-ffn", ffn, "28672", "width of its MLP"),
	REAL("served-kv-width", kv_width, "1024", "width of its keys, all heads"),
	REAL("served-layers", layers_held, "27", "layers of it that a stage holds (of 80)"),
	REAL("served-context", context, "995", "mean positions of a sequence"),
	{.value = {.key = NULL}},
};

static int usage(const char *text, const char *detail)
{
	(void)fprintf(stderr, "godwit-stage: %s%s\n", text, detail);
	return 2;
}

/* A decimal of the environment, 0 to max; false: absent or malformed. */
static bool environment_number(const char *name, uint32_t max, uint32_t *ret)
{
	const char *text = getenv(name);
	char *end;
	unsigned long value;

	if (!text || text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || value > max)
		return false;
	*ret = (uint32_t)value;
	return true;
}

static uint64_t fold(uint64_t digest, uint64_t value)
{
	digest = (digest ^ value) * 0x9e3779b97f4a7c15ull;
	return digest ^ digest >> 29;
}

/* Of everything on which neighbours must agree. */
static uint64_t digest_of(const struct gw_stage_config *config)
{
	const struct gw_model_config *m = &config->model;
	const uint64_t values[] = {config->ring.count, m->hidden, m->ffn,   m->heads, m->kv_heads,
				   m->layers,          m->window, m->slots, m->rows,  m->seed};
	uint64_t digest = 0;

	for (size_t i = 0; i < GW_ARRAY_COUNT(values); i++)
		digest = fold(digest, values[i]);
	return digest;
}

static int read_place(struct gw_stage_config *config)
{
	const char *peers = getenv("GODWIT_PEERS");
	const char *wrong;

	if (!environment_number("GODWIT_TASK_COUNT", GW_FRAME_STAGES_MAX, &config->ring.count) ||
	    config->ring.count == 0)
		return usage("GODWIT_TASK_COUNT must be 1 to 16", "");
	if (!environment_number("GODWIT_TASK_INDEX", config->ring.count - 1, &config->ring.index))
		return usage("GODWIT_TASK_INDEX must be a number below GODWIT_TASK_COUNT", "");
	if (config->ring.count > config->model.layers)
		return usage("there are more stages than layers", "");
	if (!peers)
		return usage("GODWIT_PEERS must hold one [address]:port for each task", "");
	wrong = gw_ring_parse_peers(peers, config->ring.count, config->ring.peers);
	return wrong ? usage("GODWIT_PEERS: ", wrong) : 0;
}

static int read_config(const struct options *options, struct gw_stage_config *ret)
{
	const struct gw_accelerator *a = &options->accelerator;
	uint32_t slots = (uint32_t)options->slots;
	const char *wrong;
	int r;

	if (!(a->flops_per_s > 0 && a->flops_efficiency > 0 && a->flops_efficiency <= 1 &&
	      a->bytes_per_s > 0 && a->bytes_efficiency > 0 && a->bytes_efficiency <= 1 &&
	      a->memory_bytes > 0 && a->overhead_s >= 0 && a->hidden > 0 && a->ffn > 0 &&
	      a->kv_width > 0 && a->layers_held > 0 && a->context > 0))
		return usage(
			"the accelerator's figures must be positive, its efficiencies at most 1",
			"");
	if (slots == 0)
		slots = gw_accelerator_slots(a);
	if (slots == 0)
		return usage("the layers stood for do not fit the accelerator's memory", "");
	ret->model = (struct gw_model_config){
		.hidden = (uint32_t)options->hidden,
		.ffn = (uint32_t)options->ffn,
		.heads = (uint32_t)options->heads,
		.kv_heads = (uint32_t)options->kv_heads,
		.layers = (uint32_t)options->layers,
		.window = (uint32_t)options->window,
		.slots = slots < GW_MODEL_SLOTS_MAX ? slots : GW_MODEL_SLOTS_MAX,
		.rows = (uint32_t)options->rows,
		.seed = options->seed,
	};
	wrong = gw_model_config_check(&ret->model);
	if (wrong)
		return usage("", wrong);
	if (options->describe > 0)
		return 0;
	ret->core = options->pin ? (int)options->core : -1;
	ret->ring.congestion = options->congestion;
	ret->ring.deadline_us = options->connect_us;
	r = read_place(ret);
	ret->ring.digest = r == 0 ? digest_of(ret) : 0;
	return r;
}

struct control {
	struct gw_head *head;
	int fd;
};

static void *control_main(void *arg)
{
	const struct control *control = arg;

	gw_orders_serve(control->head, control->fd);
	return NULL;
}

/* Stage 0: the control socket is there before the ring is, so that a client can wait on it. */
static int run_head(struct gw_stage *stage, const struct options *options)
{
	const char *path = options->control ? options->control : getenv("GODWIT_CONTROL");
	struct control control = {.fd = -1};
	struct gw_stage_driver driver;
	pthread_t thread;
	int r;

	if (!path || !path[0])
		return usage("the head needs --control or GODWIT_CONTROL", "");
	if (gw_head_new(stage, &options->accelerator, &control.head) < 0)
		return usage("out of memory", "");
	r = gw_orders_listen(path, &control.fd);
	if (r < 0) {
		(void)fprintf(stderr, "godwit-stage: control socket %s: %s\n", path, strerror(-r));
		gw_head_free(control.head);
		return 1;
	}
	r = -pthread_create(&thread, NULL, control_main, &control);
	if (r == 0) {
		driver = gw_head_driver(control.head);
		(void)gw_stage_run(stage, &driver); /* it has said why it came back */
	}
	(void)unlink(path);
	exit(1); /* the control thread may wait on an order that can never end */
}

/* What a job spec says of a stage so that a planner can predict it. */
static int describe(const struct options *options, const struct gw_model_config *model)
{
	uint32_t batch = model->slots / (uint32_t)options->describe;
	double stage_s = gw_accelerator_stage_s(&options->accelerator, batch, batch);

	(void)printf("{\"slots\": %u, \"batch\": %u, \"stage_us\": %.0f, "
		     "\"activation_bytes\": %zu}\n",
		     model->slots, batch, stage_s * 1e6, model->hidden * sizeof(uint16_t));
	return 0;
}

static int run(const struct gw_command *command, void *data, int operand_count, char **operands)
{
	const struct options *options = data;
	struct gw_stage_config config = {0};
	struct gw_stage *stage;
	int r;

	(void)command;
	(void)operand_count;
	(void)operands;
	r = read_config(options, &config);
	if (r != 0)
		return r;
	if (options->describe > 0)
		return describe(options, &config.model);
	openblas_set_num_threads(1);
	if (gw_stage_new(&config, &stage) < 0) {
		(void)fprintf(stderr, "godwit-stage: the stage could not be set up\n");
		return 1;
	}
	if (config.ring.index == 0)
		r = run_head(stage, options);
	else
		(void)gw_stage_run(stage, NULL); /* it has said why it came back */
	gw_stage_free(stage);
	return r != 0 ? r : 1;
}

static const char *const details[] = {
	"A decoder-only transformer, cut into pipeline stages of whole layers that pass "
	"activations "
	"round a TCP ring. Each stage is one process; its place comes from GODWIT_TASK_INDEX, "
	"GODWIT_TASK_COUNT and GODWIT_PEERS. The tokens are the same however the model is cut and "
	"batched.",
	"Unpaced, a stage passes a batch on when it is computed. Paced, it does the same "
	"computation "
	"and then waits for the time that the stated accelerator would have taken.",
	NULL,
};

static const struct gw_command commands[] = {
	{.name = "godwit-stage",
	 .summary = "one pipeline stage of the reference inference job",
	 .options = options_table,
	 .details = details,
	 .run = run,
	 .options_bytes = sizeof(struct options)},
	{.name = NULL},
};

static const char *const exit_codes[] = {"1 a neighbour left, or the stage could not be set up",
					 "2 wrong options or environment", NULL};

static const struct gw_program program = {
	.name = "godwit-stage",
	.summary = "one pipeline stage of the reference inference job",
	.details = details,
	.commands = commands,
	.exit_codes = exit_codes,
	.section = 8,
};

/* OpenBLAS starts its threads when it is loaded, so one thread must be asked for before that. */
static void load_with_one_thread(char **argv)
{
	const char *threads = getenv("OPENBLAS_NUM_THREADS");

	if (threads && strcmp(threads, "1") == 0)
		return;
	if (setenv("OPENBLAS_NUM_THREADS", "1", 1) == 0)
		(void)execv("/proc/self/exe", argv); /* if it fails, one thread is set in run() */
}

int main(int argc, char **argv)
{
	load_with_one_thread(argv);
	/* After that exec the kernel calls us "exe"; CPU accounts go by this name. */
	(void)prctl(PR_SET_NAME, "godwit-stage"); /* cannot fail for a valid pointer */
	return gw_program_main(&program, argc, argv);
}
