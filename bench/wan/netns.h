/*
 * Network namespaces as `ip netns` keeps them (/run/netns), entered, filled and emptied. The
 * configuration itself goes through iproute2 in batches: one process a namespace.
 */
#ifndef GODWIT_BENCH_WAN_NETNS_H
#define GODWIT_BENCH_WAN_NETNS_H

#include <stddef.h>

/* Whether this process may make namespaces at all. 0; negative errno. */
int gw_netns_may(void);
/* Runs the lines through `ip -batch`, inside namespace `name` (NULL: our own). 0; -EIO: ip said why
 * on stderr; negative errno. */
int gw_netns_ip(const char *name, const char *lines);
/* Its interfaces go as soon as no process lives in it. 0; negative errno. */
int gw_netns_delete(const char *name);
/* Puts this process into the namespace. 0; negative errno. */
int gw_netns_enter(const char *name);
/* Enters `name`, calls `work` there and comes back. work's result, or negative errno. */
int gw_netns_visit(const char *name, int (*work)(void *context), void *context);
/* In the present namespace: one value into /proc/sys/net/PATH. 0; negative errno. */
int gw_netns_sysctl(const char *path, const char *value);
/* In the present namespace: checksum, segmentation and coalescing offloads off, so that what
 * passes is what would be on a wire: whole packets of at most the MTU. 0; negative errno. */
int gw_netns_offloads_off(const char *interface);

/* Calls `visit` for each namespace whose name begins with `prefix`. Returns how many; negative
 * errno. Deleting the one visited is allowed. */
int gw_netns_each(const char *prefix, void (*visit)(const char *name, void *context),
		  void *context);
/* Ends all processes that live in namespaces with this prefix: TERM, after `grace_ms` KILL.
 * Returns how many were left at the end, 0 as a rule. */
int gw_netns_end_processes(const char *prefix, int grace_ms);

#endif
