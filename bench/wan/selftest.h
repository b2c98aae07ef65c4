/*
 * The lab's self-test: what the emulator was asked for against what a TCP stream, pings and the
 * kernel's own interface counters see, idle and beside busy cores.
 */
#ifndef GODWIT_BENCH_WAN_SELFTEST_H
#define GODWIT_BENCH_WAN_SELFTEST_H

#include <stdbool.h>

/* Brings up a lab of its own, measures, prints (a table, or a bench's rows as JSON) and takes the
 * lab down. The rows also go to /run/godwit-lab/selftest.json for benches that need the limit.
 * 0; -EPERM: no right to make namespaces; other negative errno: it could not be run. */
int gw_selftest(bool quick, bool json, const volatile bool *interrupted);

#endif
