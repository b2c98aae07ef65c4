/*
 * The host's accelerators, read by a short-lived child ("godwit-agent accelerators --encoded"): the
 * driver's library takes 19 MiB for itself (measured on an H200 host), and a driver that hangs must
 * hang somebody else. A host without that library has no devices and starts no children.
 */
#ifndef GODWIT_AGENT_DEVICES_H
#define GODWIT_AGENT_DEVICES_H

#include <stddef.h>

#include "proto/wire.h"

struct gw_devices;
struct gw_reactor;

typedef void gw_devices_changed_f(void *context);

/* Reads once, and waits for it up to ten seconds. `changed` is called after each later read. 0;
 * negative errno. */
int gw_devices_new(struct gw_reactor *reactor, gw_devices_changed_f *changed, void *context,
		   struct gw_devices **ret_devices);
struct gw_devices *gw_devices_free(struct gw_devices *devices);
/* Begins to read anew, if there are devices and no read is under way. A read that does not end
 * leaves them listed as unavailable. */
void gw_devices_read(struct gw_devices *devices);
/* As last read: valid until the reactor's next turn. */
Godwit__Device **gw_devices_list(struct gw_devices *devices, size_t *ret_count);
Godwit__DeviceSample **gw_devices_samples(struct gw_devices *devices, size_t *ret_count);

/* The child's side: writes the devices and their figures to stdout, for the agent or for a person.
 * Returns the exit code. */
int gw_devices_print(bool encoded);

#endif
