/*
 * What else the machine did during a block: CPU time by kind from /proc/stat, and by process from
 * /proc/PID/stat. Our own processes are known by their name, "godwit-...".
 */
#ifndef GODWIT_BENCH_LOSS_HOST_H
#define GODWIT_BENCH_LOSS_HOST_H

#include <jansson.h>

/* CPU seconds since boot, summed over all cores. */
struct gw_host_snapshot {
	double wall_s; /* CLOCK_MONOTONIC */
	double user_s; /* user and nice */
	double system_s;
	double irq_s; /* hard and soft */
	double idle_s;
	double steal_s;
	double stages_s;   /* godwit-stage */
	double emulator_s; /* godwit-link */
	double agents_s;   /* godwit-agent, -keeper, -scheduler */
	double tools_s;    /* other godwit- processes */
	double kernel_s;   /* kernel threads */
	unsigned cores;
};

/* What happened between two snapshots. */
struct gw_host_delta {
	double seconds;
	double steal_percent;   /* of all cores' time */
	double foreign_percent; /* of one core: processes that are not ours, nor the kernel's */
	double user_s;          /* these five from /proc/stat, all cores together */
	double system_s;
	double irq_s;
	double idle_s;
	double steal_s;
	double stages_s;
	double emulator_s;
	double agents_s;
};

/* 0; negative errno: no /proc. */
int gw_host_snapshot(struct gw_host_snapshot *ret);
struct gw_host_delta gw_host_delta(const struct gw_host_snapshot *from,
				   const struct gw_host_snapshot *to);
json_t *gw_host_delta_json(const struct gw_host_delta *delta);
/* Kernel release and command line, CPU model, cores; a new object. */
json_t *gw_host_describe(void);

#endif
