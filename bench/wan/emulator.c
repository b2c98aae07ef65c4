/*
 * godwit-link: the emulator process of one lab, one for all its links. Reads its links from a JSON
 * file that godwit-lab wrote, opens both veth ends of each in the network namespace that it was
 * started in, prints "ready" and moves packets until it is killed. It holds nothing that outlives
 * it, so no signal is handled.
 *
 * SCHED_FIFO 50 with locked memory: at normal priority a mover is up to 11 ms late beside busy
 * processes. Without the right to it the emulator runs all the same, says so on stderr and in every
 * answer of its control socket, and a bench marks its cells as not valid.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/wan/control.h"
#include "bench/wan/params.h"
#include "proto/option.h"

#define FIFO_PRIORITY 50
#define SLOTS_DEFAULT 32768
#define SLOTS_MAX 1048576

static int complain(const char *what, const char *why)
{
	(void)fprintf(stderr, "godwit-link: %s: %s\n", what, why);
	return 1;
}

static int add_cuts(struct gw_mover_link *link, const json_t *cuts, uint64_t start_ns)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(cuts, i, entry)
	{
		json_int_t at_us = json_integer_value(json_object_get(entry, "at_us"));
		json_int_t for_us = json_integer_value(json_object_get(entry, "for_us"));
		struct gw_link_cut cut = {
			.from_ns = start_ns + (uint64_t)at_us * 1000,
			.until_ns = start_ns + (uint64_t)(at_us + for_us) * 1000,
		};

		for (uint32_t k = 0; k < 2; k++) {
			int error = gw_link_add_cut(&link->directions[k].link, start_ns, cut);

			if (error < 0)
				return error;
		}
	}
	return 0;
}

static int add_link(struct gw_mover *mover, const json_t *entry, uint64_t seed, uint64_t start_ns)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	const json_t *ports = json_object_get(entry, "ports");
	const char *port_names[2];
	struct gw_link_params params[2] = {0};
	const char *text = NULL;
	int error;

	for (size_t i = 0; i < 2 && !text; i++) {
		port_names[i] = json_string_value(json_array_get(ports, i));
		text = gw_params_from_json(json_array_get(json_object_get(entry, "params"), i),
					   &params[i]);
	}
	if (text || !name || !port_names[0] || !port_names[1])
		return complain(name ? name : "a link", text ? text : "no name or no ports");
	error = gw_mover_add(mover, name, port_names, params, seed, &text);
	if (error < 0) {
		(void)fprintf(stderr, "godwit-link: %s: %s: %s\n", name, text, strerror(-error));
		return 1;
	}
	error = add_cuts(gw_mover_find(mover, name), json_object_get(entry, "cuts"), start_ns);
	return error < 0 ? complain(name, "cuts overlap, are empty, or are too many") : 0;
}

/* Real-time priority and locked memory, as far as we may. */
static void become_punctual(struct gw_control *control, json_int_t cpu)
{
	const struct sched_param priority = {.sched_priority = FIFO_PRIORITY};
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)cpu, &cpus);
	if (cpu >= 0 && sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		(void)complain("pinning to the CPU asked for", strerror(errno));
	control->locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
	if (!control->locked)
		(void)complain("memory is not locked", strerror(errno));
	control->fifo = sched_setscheduler(0, SCHED_FIFO, &priority) == 0;
	if (!control->fifo)
		(void)complain("no SCHED_FIFO, packets will be late beside busy processes",
			       strerror(errno));
}

static int run_links(struct gw_mover *mover, struct gw_control *control, const json_t *config)
{
	const char *path = json_string_value(json_object_get(config, "socket"));
	const json_t *cpu = json_object_get(config, "cpu");
	const json_t *entry;
	uint64_t seed = (uint64_t)json_integer_value(json_object_get(config, "seed"));
	uint64_t start_ns = gw_mover_now_ns();
	size_t i;
	int error;

	json_array_foreach(json_object_get(config, "links"), i, entry)
	{
		if (add_link(mover, entry, seed + 2 * i, start_ns) != 0)
			return 1;
	}
	error = gw_control_open(control, mover, path ? path : "");
	if (error < 0)
		return complain(path ? path : "no socket given", strerror(-error));
	become_punctual(control, cpu ? json_integer_value(cpu) : -1);
	if (printf("ready\n") < 0 || fflush(stdout) != 0)
		return complain("telling that we are ready", strerror(errno));
	for (;;) {
		if (gw_mover_turn(mover))
			gw_control_serve(control);
	}
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	static struct gw_mover mover;
	struct gw_control control;
	json_error_t fault;
	json_t *config = json_load_file(operands[0], JSON_REJECT_DUPLICATES, &fault);
	json_int_t slots = json_integer_value(json_object_get(config, "slots"));
	int error;

	(void)command, (void)options, (void)operand_count; /* there are none */
	if (!config) {
		(void)fprintf(stderr, "%s:%d:%d: %s\n", operands[0], fault.line, fault.column,
			      fault.text);
		return 1;
	}
	if (slots <= 0)
		slots = SLOTS_DEFAULT;
	if (slots > SLOTS_MAX)
		return complain("slots", "above 1048576");
	error = gw_mover_open(&mover, (uint32_t)slots);
	if (error < 0)
		return complain("no memory for packets", strerror(-error));
	return run_links(&mover, &control, config);
}

static const struct gw_command commands[] = {
	{
		.name = "godwit-link",
		.summary = "emulate the WAN links of a lab",
		.operands = "CONFIG.json",
		.operands_min = 1,
		.operands_max = 1,
		.details =
			(const char *const[]){
				"Started by godwit-lab(1) inside the lab's wan namespace; it moves "
				"Ethernet frames between pairs of veth ends with the delay, rate, "
				"queue, loss, reordering and cuts asked for, and answers on the "
				"lab's control socket.",
				NULL,
			},
		.run = run,
	},
	{.name = NULL},
};

static const struct gw_program program = {
	.name = "godwit-link",
	.summary = "link emulator of the Godwit lab",
	.commands = commands,
	.exit_codes = (const char *const[]){"1 a link could not be opened",
					    "2 the command line was wrong", NULL},
	.see_also = (const char *const[]){"godwit-lab(1)", NULL},
	.section = 1,
};

int main(int argc, char **argv)
{
	return gw_program_main(&program, argc, argv);
}
