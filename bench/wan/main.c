/*
 * godwit-lab: the command line of the lab. Each command is a thin shell over lab.h; what a command
 * means is said in its entry of the table at the end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/wan/lab.h"
#include "bench/wan/params.h"
#include "bench/wan/process.h"
#include "bench/wan/selftest.h"
#include "proto/base/check.h"
#include "proto/option.h"

#define EXIT_NO_RIGHT 77 /* as a skipped test */
#define SCENARIO_BYTES_MAX (256u << 10)
#define ARENA_BYTES_MAX (4u << 20)

static volatile bool interrupted;

static void note_signal(int signal)
{
	(void)signal; /* whichever of the three it is, the lab comes down */
	interrupted = true;
}

static void heed_signals(void)
{
	const struct sigaction action = {.sa_handler = note_signal};
	const struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGHUP, &action, NULL);
	(void)sigaction(SIGPIPE, &ignore,
			NULL); /* an ip that ended early is an error, not our end */
}

static int print_json(json_t *value)
{
	int error = !value || json_dumpf(value, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0;

	json_decref(value);
	return error;
}

static int read_scenario(const char *path, struct gw_scenario *scenario, struct gw_arena *arena)
{
	struct gw_parse_error fault;
	char text[768];
	char *buffer = gw_arena_alloc(arena, SCENARIO_BYTES_MAX);
	FILE *file = fopen(path, "re");
	size_t size;

	if (!file || !buffer) {
		(void)fprintf(stderr, "godwit-lab: %s: %s\n", path, strerror(errno));
		if (file)
			(void)fclose(file); /* only read */
		return -EIO;
	}
	size = fread(buffer, 1, SCENARIO_BYTES_MAX, file);
	(void)fclose(file); /* only read */
	if (size == SCENARIO_BYTES_MAX) {
		(void)fprintf(stderr, "godwit-lab: %s: above 256 KiB\n", path);
		return -EFBIG;
	}
	if (gw_scenario_parse(scenario, arena, buffer, size, &fault) < 0) {
		gw_parse_error_format(&fault, path, text, sizeof(text));
		(void)fprintf(stderr, "%s\n", text);
		return -EINVAL;
	}
	return 0;
}

struct up_options {
	const char *name;
	uint64_t owner;
	bool foreground;
};

/* Until a signal, then down. */
static int hold(const char *name)
{
	sigset_t all;
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	while (!interrupted)
		(void)sigsuspend(&none); /* ends with EINTR by definition */
	return gw_lab_down(name) == 0 ? 0 : 1;
}

static int run_up(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct up_options *options = values;
	struct gw_scenario scenario;
	struct gw_arena arena;
	const char *name;
	pid_t owner;
	int error;

	(void)command, (void)count; /* one operand, the table says so */
	gw_arena_init(&arena, ARENA_BYTES_MAX);
	heed_signals();
	error = read_scenario(operands[0], &scenario, &arena);
	if (error < 0)
		goto out;
	name = options->name ? options->name : scenario.name;
	owner = options->owner > 0    ? (pid_t)options->owner
		: options->foreground ? getpid()
				      : getppid();
	if (!gw_lab_name_is_good(name)) {
		(void)fprintf(stderr, "godwit-lab: '%s' is no name for a lab\n", name);
		error = -EINVAL;
		goto out;
	}
	error = gw_lab_up(&scenario, name, owner, &interrupted);
	if (error == 0) {
		(void)printf("%s\n", name);
		(void)fflush(
			stdout); /* who reads it in a pipe waits for it; a lost one is theirs */
	}
	if (error == 0 && options->foreground)
		error = hold(name);
out:
	gw_arena_deinit(&arena);
	return error == -EPERM ? EXIT_NO_RIGHT : error != 0;
}

struct down_options {
	bool all_stale;
};

static int run_down(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct down_options *options = values;
	int failed = 0;

	(void)command; /* not needed */
	if (options->all_stale) {
		int ended = gw_lab_down_stale();

		(void)printf("%d stale labs taken down\n", ended);
		failed |= ended < 0;
	}
	for (int i = 0; i < count; i++)
		failed |= !gw_lab_name_is_good(operands[i]) || gw_lab_down(operands[i]) < 0;
	return failed;
}

static int run_exec(const struct gw_command *command, void *values, int count, char **operands)
{
	char **argv = calloc((size_t)count - 1, sizeof(*argv)); /* operands need no NULL behind */
	int status = 1;

	(void)command, (void)values; /* there are no options */
	if (argv && gw_lab_enter(operands[0], operands[1]) == 0 &&
	    setenv("GODWIT_LAB", operands[0], 1) == 0 &&
	    setenv("GODWIT_LAB_HOST", operands[1], 1) == 0) {
		memcpy(argv, operands + 2, ((size_t)count - 2) * sizeof(*argv));
		(void)execvp(argv[0], argv);
		(void)fprintf(stderr, "godwit-lab: %s: %s\n", operands[2], strerror(errno));
		status = 127;
	}
	free(argv);
	return status;
}

struct json_options {
	bool json;
	bool reset;
	bool buckets;
};

static void print_lab(const json_t *lab)
{
	const json_t *site;
	const json_t *host;
	size_t i;
	size_t k;

	(void)printf("%s%s\n", json_string_value(json_object_get(lab, "name")),
		     json_is_true(json_object_get(lab, "stale")) ? " (stale: its owner is gone)"
								 : "");
	json_array_foreach(json_object_get(lab, "sites"), i, site)
	{
		json_array_foreach(json_object_get(site, "hosts"), k, host)(void)
			printf("  %-16s %s\n", json_string_value(json_object_get(host, "name")),
			       json_string_value(json_object_get(host, "address")));
	}
}

static int run_list(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct json_options *options = values;
	json_t *list = gw_lab_list();
	const json_t *lab;
	size_t i;

	(void)command, (void)count, (void)operands; /* it has no operands */
	if (options->json)
		return print_json(list);
	json_array_foreach(list, i, lab) print_lab(lab);
	json_decref(list);
	return 0;
}

static int run_address(const struct gw_command *command, void *values, int count, char **operands)
{
	json_t *lab = gw_lab_state(operands[0]);
	const char *address = NULL;
	const json_t *site;
	const json_t *host;
	size_t i;
	size_t k;

	(void)command, (void)values, (void)count; /* two operands, the table says so */
	json_array_foreach(json_object_get(lab, "sites"), i, site)
	{
		json_array_foreach(json_object_get(site, "hosts"), k, host)
		{
			if (strcmp(json_string_value(json_object_get(host, "name")), operands[1]) ==
			    0)
				address = json_string_value(json_object_get(host, "address"));
		}
	}
	if (address)
		(void)printf("%s\n", address);
	else
		(void)fprintf(stderr, "godwit-lab: there is no lab '%s' with a host '%s'\n",
			      operands[0], operands[1]);
	json_decref(lab);
	return !address;
}

struct set_options {
	uint64_t direction; /* 0 both, 1 there, 2 back */
	uint64_t cut_us;
	bool heal;
};

static int run_set(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct set_options *options = values;
	struct gw_parse_error fault;
	json_t *params = json_object();
	json_t *request =
		json_pack("{s:s, s:s, s:o}", "op", "set", "link", operands[1], "params", params);
	json_t *answer;
	int failed;

	(void)command; /* not needed */
	CHECK(request);
	for (int i = 2; i < count; i++) {
		if (gw_params_set_text(params, operands[i], &fault) < 0) {
			(void)fprintf(stderr, "godwit-lab: %s\n", fault.text);
			json_decref(request);
			return 2;
		}
	}
	if (options->direction > 0)
		(void)json_object_set_new(request, "direction",
					  json_integer((json_int_t)options->direction - 1));
	if (options->cut_us > 0 || options->heal)
		(void)json_object_set_new(request, "cut_for_us",
					  json_integer((json_int_t)options->cut_us));
	answer = gw_lab_ask(operands[0], request);
	failed = !answer;
	json_decref(request);
	json_decref(answer);
	return failed;
}

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void print_direction(const char *link, const char *way, const json_t *direction)
{
	const json_t *lateness = json_object_get(direction, "lateness_us");

	(void)printf("%-14s %-5s %10.0f %8.1f %7.0f %7.0f %6.0f %9.0f %7.1f %7.1f %7.1f %8.1f\n",
		     link, way, number(direction, "packets_in"),
		     number(direction, "bytes_in") / 1e6, number(direction, "dropped_loss"),
		     number(direction, "dropped_queue"), number(direction, "dropped_cut"),
		     number(direction, "not_asked"), number(lateness, "p50"),
		     number(lateness, "p99"), number(lateness, "p99.9"), number(lateness, "max"));
}

static int run_stats(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct json_options *options = values;
	json_t *request = json_pack("{s:s, s:b, s:b}", "op", "stats", "reset", (int)options->reset,
				    "buckets", (int)options->buckets);
	json_t *answer = gw_lab_ask(operands[0], request);
	const json_t *link;
	size_t i;

	(void)command, (void)count; /* one operand, the table says so */
	json_decref(request);
	if (!answer || options->json)
		return print_json(answer);
	(void)printf("%-14s %-5s %10s %8s %7s %7s %6s %9s %7s %7s %7s %8s\n", "link", "way",
		     "packets", "MB", "lost", "queue", "cut", "not asked", "p50 us", "p99 us",
		     "p99.9", "max us");
	json_array_foreach(json_object_get(answer, "links"), i, link)
	{
		const json_t *directions = json_object_get(link, "directions");
		const char *name = json_string_value(json_object_get(link, "name"));

		print_direction(name, "there", json_array_get(directions, 0));
		print_direction(name, "back", json_array_get(directions, 1));
	}
	(void)printf("over %.1f s: emulator CPU %.2f s, SCHED_FIFO %s, memory %s, packets waiting "
		     "at most %.0f of %.0f, host's backlog drops %.0f\n",
		     number(answer, "elapsed_us") / 1e6, number(answer, "cpu_us") / 1e6,
		     json_is_true(json_object_get(answer, "fifo")) ? "yes" : "NO",
		     json_is_true(json_object_get(answer, "locked")) ? "locked" : "NOT locked",
		     number(answer, "slots_used_max"), number(answer, "slots"),
		     number(answer, "softnet_dropped"));
	json_decref(answer);
	return 0;
}

struct selftest_options {
	bool quick;
	bool json;
};

static int run_selftest(const struct gw_command *command, void *values, int count, char **operands)
{
	const struct selftest_options *options = values;
	int error;

	(void)command, (void)count, (void)operands; /* it has no operands */
	heed_signals();
	error = gw_selftest(options->quick, options->json, &interrupted);
	return error == -EPERM ? EXIT_NO_RIGHT : error != 0;
}

#define VALUE(name, kind, structure, member, line)                                                 \
	.value = {.key = name,                                                                     \
		  .type = kind,                                                                    \
		  .offset = offsetof(struct structure, member),                                    \
		  .help = line}

static const struct gw_option up_table[] = {
	{VALUE("name", GW_SCHEMA_TEXT, up_options, name, "the lab's name; default: the scenario's"),
	 .argument = "NAME"},
	{VALUE("owner", GW_SCHEMA_COUNT, up_options, owner,
	       "process whose end makes the lab stale; default: the caller"),
	 .argument = "PID"},
	{VALUE("foreground", GW_SCHEMA_BOOL, up_options, foreground,
	       "stay, and take the lab down at SIGINT, SIGTERM or SIGHUP")},
	{.value = {.key = NULL}},
};

static const struct gw_option down_table[] = {
	{VALUE("all-stale", GW_SCHEMA_BOOL, down_options, all_stale,
	       "every lab whose owner is gone")},
	{.value = {.key = NULL}},
};

static const struct gw_option list_table[] = {
	{VALUE("json", GW_SCHEMA_BOOL, json_options, json, "names, addresses, SIDs as JSON")},
	{.value = {.key = NULL}},
};

static const struct gw_option stats_table[] = {
	{VALUE("json", GW_SCHEMA_BOOL, json_options, json, "as JSON, with each cause of a drop")},
	{VALUE("reset", GW_SCHEMA_BOOL, json_options, reset, "start counting anew afterwards")},
	{VALUE("buckets", GW_SCHEMA_BOOL, json_options, buckets,
	       "with --json: the whole histogram of lateness")},
	{.value = {.key = NULL}},
};

static const char *const directions[] = {"both", "there", "back", NULL};

static const struct gw_option set_table[] = {
	{.value = {.key = "direction",
		   .type = GW_SCHEMA_CHOICE,
		   .offset = offsetof(struct set_options, direction),
		   .choices = directions,
		   .fallback = "both",
		   .help = "there: as the link's name reads"},
	 .argument = "WAY"},
	{VALUE("cut", GW_SCHEMA_DURATION, set_options, cut_us, "nothing passes for so long"),
	 .argument = "TIME"},
	{VALUE("heal", GW_SCHEMA_BOOL, set_options, heal, "end all cuts")},
	{.value = {.key = NULL}},
};

static const struct gw_option selftest_table[] = {
	{VALUE("quick", GW_SCHEMA_BOOL, selftest_options, quick, "shorter, within 50 s")},
	{VALUE("json", GW_SCHEMA_BOOL, selftest_options, json, "rows of a bench as JSON")},
	{.value = {.key = NULL}},
};

static const struct gw_command commands[] = {
	{.name = "up",
	 .summary = "bring a lab up",
	 .operands = "SCENARIO.yaml",
	 .operands_min = 1,
	 .operands_max = 1,
	 .options = up_table,
	 .run = run_up,
	 .options_bytes = sizeof(struct up_options)},
	{.name = "down",
	 .summary = "take labs down, and end what runs in them",
	 .operands = "[LAB ...]",
	 .operands_max = 64,
	 .options = down_table,
	 .run = run_down,
	 .options_bytes = sizeof(struct down_options)},
	{.name = "exec",
	 .summary = "run a command on a host of a lab",
	 .operands = "LAB HOST -- COMMAND [ARGUMENT ...]",
	 .operands_min = 3,
	 .operands_max = 1024,
	 .run = run_exec},
	{.name = "list",
	 .summary = "show the labs and their hosts",
	 .options = list_table,
	 .run = run_list,
	 .options_bytes = sizeof(struct json_options)},
	{.name = "address",
	 .summary = "print a host's address",
	 .operands = "LAB HOST",
	 .operands_min = 2,
	 .operands_max = 2,
	 .run = run_address},
	{.name = "set",
	 .summary = "change an emulated link while it runs",
	 .operands = "LAB LINK [KEY=VALUE ...]",
	 .operands_min = 2,
	 .operands_max = 16,
	 .options = set_table,
	 .run = run_set,
	 .options_bytes = sizeof(struct set_options),
	 .details =
		 (const char *const[]){
			 "Keys and units are those of the scenario file: delay, jitter, rate, "
			 "queue, loss, burst_enter, burst_leave, burst_loss, reorder, "
			 "reorder_hold. What is not named stays.",
			 NULL},
	 .examples =
		 (const struct gw_example[]){
			 {"godwit-lab set three-sites a-c delay=2.4ms loss=0.01%",
			  "move c to 480 km from a"},
			 {NULL, NULL}}},
	{.name = "stats",
	 .summary = "show what the emulator did",
	 .operands = "LAB",
	 .operands_min = 1,
	 .operands_max = 1,
	 .options = stats_table,
	 .run = run_stats,
	 .options_bytes = sizeof(struct json_options)},
	{.name = "selftest",
	 .summary = "hold the emulator to what it is asked for",
	 .options = selftest_table,
	 .run = run_selftest,
	 .options_bytes = sizeof(struct selftest_options)},
	{.name = NULL},
};

static const struct gw_program program = {
	.name = "godwit-lab",
	.summary = "data centres as network namespaces, with an emulated WAN between them",
	.commands = commands,
	.exit_codes =
		(const char *const[]){"0 success", "1 failure", "2 the command line was wrong",
				      "77 no right to make network namespaces", NULL},
	.files = (const char *const[]){"/run/godwit-lab/LAB.json the lab's hosts and owner",
				       "/run/godwit-lab/LAB.sock the emulator's control socket",
				       "/run/godwit-lab/LAB.log what the emulator complained about",
				       NULL},
	.see_also = (const char *const[]){"godwit-link(1)", NULL},
	.section = 1,
};

int main(int argc, char **argv)
{
	return gw_program_main(&program, argc, argv);
}
