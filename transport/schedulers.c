/* The list of a region's schedulers: endpoints checked, as message and as bytes. */
#include "transport/schedulers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LIST_BYTES_MAX (16u << 10) /* as a message; eight places are 2 KiB of text */

/* Where the port begins; NULL: not an endpoint. */
static const char *port_of(const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');

	return strncmp(endpoint, "tcp://", 6) == 0 && colon && colon > endpoint + 6 ? colon + 1
										    : NULL;
}

bool gw_endpoint_valid(const char *endpoint)
{
	const char *port = port_of(endpoint);

	if (!port || strlen(endpoint) > GW_ENDPOINT_BYTES_MAX)
		return false;
	/* It goes into a file of lines, and on a terminal. */
	for (const char *c = endpoint; *c; c++) {
		if (*c <= ' ' || *c > '~')
			return false;
	}
	return strlen(port) >= 1 && strlen(port) <= 5 && strspn(port, "0123456789") == strlen(port);
}

int gw_endpoint_with_port(const char *endpoint, uint16_t port,
			  char ret_endpoint[GW_ENDPOINT_BYTES_MAX + 1])
{
	const char *old = port_of(endpoint);
	int size;

	if (!old)
		return -EINVAL;
	size = snprintf(ret_endpoint, GW_ENDPOINT_BYTES_MAX + 1, "%.*s%u", (int)(old - endpoint),
			endpoint, port);
	return size < 0 || (size_t)size > GW_ENDPOINT_BYTES_MAX ? -EINVAL : 0;
}

const Godwit__SchedulerList *gw_schedulers_message(const struct gw_scheduler_list *list,
						   struct gw_arena *arena)
{
	Godwit__SchedulerList *message = gw_arena_alloc(arena, sizeof(*message));
	Godwit__SchedulerPlace *places = gw_arena_alloc(arena, list->count * sizeof(*places) + 1);
	struct gw_scheduler_list *copy = gw_arena_copy(arena, list, sizeof(*list));

	if (!message || !places || !copy)
		return NULL;
	*message = (Godwit__SchedulerList)GODWIT__SCHEDULER_LIST__INIT;
	message->places = gw_arena_alloc(arena, list->count * sizeof(*message->places) + 1);
	if (!message->places)
		return NULL;
	message->version = list->version;
	message->n_places = list->count;
	for (uint32_t i = 0; i < list->count; i++) {
		places[i] = (Godwit__SchedulerPlace)GODWIT__SCHEDULER_PLACE__INIT;
		places[i].state = copy->places[i].state;
		places[i].heartbeat = copy->places[i].heartbeat;
		message->places[i] = &places[i];
	}
	return message;
}

bool gw_schedulers_read(const Godwit__SchedulerList *message, struct gw_scheduler_list *ret_list)
{
	struct gw_scheduler_list list = {.version = message->version};

	if (message->n_places == 0 || message->n_places > GW_SCHEDULERS_MAX ||
	    message->version > INT64_MAX) /* region files hold no more */
		return false;
	for (size_t i = 0; i < message->n_places; i++) {
		const Godwit__SchedulerPlace *from = message->places[i];
		struct gw_scheduler_place *to = &list.places[list.count++];

		if (!gw_endpoint_valid(from->state) || !gw_endpoint_valid(from->heartbeat))
			return false;
		memcpy(to->state, from->state, strlen(from->state) + 1);
		memcpy(to->heartbeat, from->heartbeat, strlen(from->heartbeat) + 1);
	}
	*ret_list = list;
	return true;
}

int gw_schedulers_encode(const struct gw_scheduler_list *list, struct gw_buf *out)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	const Godwit__SchedulerList *message;
	Godwit__SchedulerList copy;
	struct gw_arena arena;
	uint8_t *at = NULL;

	gw_arena_init(&arena, LIST_BYTES_MAX);
	message = gw_schedulers_message(list, &arena);
	if (message) {
		copy = *message; /* protobuf-c's structs know no const */
		body.kind_case = GODWIT__BODY__KIND_SCHEDULER_LIST;
		body.scheduler_list = &copy;
		at = gw_buf_grow(out, gw_wire_body_size(&body));
	}
	if (at)
		gw_wire_encode_body(&body, at);
	gw_arena_deinit(&arena);
	return at ? 0 : -ENOMEM;
}
