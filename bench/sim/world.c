/*
 * The queue and the hash. A run is a loop: take the earliest timer, move true time to it, fire it.
 * Out of memory ends the process: a simulator has no one to report it to.
 */
#include "bench/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

#define TIMERS_MAX (4u << 20)

static const uint32_t class_bytes[SIM_PACKET_CLASSES - 1] = {256, 4096};

__extension__ typedef unsigned __int128 u128;

void sim_world_init(struct sim_world *world, uint64_t seed, FILE *transcript)
{
	*world = (struct sim_world){.transcript = transcript, .hash = seed};
	gw_heap_init(&world->queue, TIMERS_MAX);
	gw_prng_init(&world->prng, seed);
}

void sim_world_deinit(struct sim_world *world)
{
	gw_heap_deinit(&world->queue);
	for (uint32_t i = 0; i < SIM_PACKET_CLASSES; i++) {
		while (world->spare[i]) {
			struct sim_packet *packet = world->spare[i];

			world->spare[i] = packet->next;
			free(packet);
		}
	}
}

void sim_timer_init(struct sim_timer *timer, sim_fire_f *fire, void *owner)
{
	*timer = (struct sim_timer){.fire = fire, .owner = owner};
}

void sim_timer_set(struct sim_world *world, struct sim_timer *timer, uint64_t at_us)
{
	if (at_us == GW_NEVER_US) {
		sim_timer_clear(world, timer);
		return;
	}
	if (at_us < world->now_us)
		at_us = world->now_us;
	if (timer->item.position != 0 && timer->item.at_us == at_us)
		return; /* it keeps its place among equals */
	timer->item.order = ++world->order;
	CHECK(gw_heap_set(&world->queue, &timer->item, at_us) == 0);
}

void sim_timer_clear(struct sim_world *world, struct sim_timer *timer)
{
	gw_heap_remove(&world->queue, &timer->item);
}

void sim_world_run(struct sim_world *world, uint64_t until_us)
{
	while (!world->stopped) {
		struct gw_heap_item *item = gw_heap_first(&world->queue);
		struct sim_timer *timer;

		if (!item || item->at_us > until_us)
			break;
		CHECK(item->at_us >= world->now_us);
		world->now_us = item->at_us;
		world->event_count++;
		gw_heap_remove(&world->queue, item);
		timer = (struct sim_timer *)item;
		timer->fire(timer);
	}
	if (!world->stopped && world->now_us < until_us)
		world->now_us = until_us;
}

void sim_world_fail(struct sim_world *world, const char *format, ...)
{
	va_list arguments;

	if (world->fault[0])
		return;
	va_start(arguments, format);
	(void)vsnprintf(world->fault, sizeof(world->fault), format, arguments); /* cut is fine */
	va_end(arguments);
	world->stopped = true;
	sim_say(world, "check", "BROKEN %s", world->fault);
}

uint64_t sim_between(struct sim_world *world, uint64_t low, uint64_t high)
{
	if (high <= low)
		return low;
	return low + gw_prng_below(&world->prng, high - low + 1);
}

bool sim_chance_ppm(struct sim_world *world, uint64_t ppm)
{
	return ppm > 0 && gw_prng_below(&world->prng, 1000000) < ppm;
}

void sim_trace(struct sim_world *world, uint64_t word)
{
	u128 product = (u128)(world->hash ^ word ^ 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;

	world->hash = (uint64_t)product ^ (uint64_t)(product >> 64);
}

void sim_trace_bytes(struct sim_world *world, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	sim_trace(world, size);
	while (size > 0) {
		uint64_t word = 0;
		size_t part = size < sizeof(word) ? size : sizeof(word);

		memcpy(&word, at, part);
		sim_trace(world, word);
		at += part;
		size -= part;
	}
}

void sim_transcribe(struct sim_world *world, const char *who, const char *format, ...)
{
	va_list arguments;

	(void)fprintf(world->transcript, "%6llu.%06llu %-12s ", world->now_us / GW_US_PER_S,
		      world->now_us % GW_US_PER_S, who);
	va_start(arguments, format);
	(void)vfprintf(world->transcript, format, arguments); /* a transcript is best effort */
	va_end(arguments);
	(void)fputc('\n', world->transcript);
}

struct sim_packet *sim_packet_new(struct sim_world *world, const void *bytes, size_t size)
{
	struct sim_packet *packet;
	uint32_t class = 0;

	CHECK(size <= UINT32_MAX);
	while (class < SIM_PACKET_CLASSES - 1 && size > class_bytes[class])
		class ++;
	packet = world->spare[class];
	if (packet && class < SIM_PACKET_CLASSES - 1) {
		world->spare[class] = packet->next;
	} else {
		packet = malloc(sizeof(*packet) +
				(class < SIM_PACKET_CLASSES - 1 ? class_bytes[class] : size));
		CHECK(packet);
	}
	packet->next = NULL;
	packet->at_us = 0;
	packet->size = (uint32_t)size;
	packet->size_class = class;
	if (bytes && size > 0)
		memcpy(packet->bytes, bytes, size);
	return packet;
}

void sim_packet_free(struct sim_world *world, struct sim_packet *packet)
{
	if (packet->size_class == SIM_PACKET_CLASSES - 1) {
		free(packet); /* large ones are rare and of any size */
		return;
	}
	packet->next = world->spare[packet->size_class];
	world->spare[packet->size_class] = packet;
}

void sim_fifo_push(struct sim_fifo *fifo, struct sim_packet *packet)
{
	packet->next = NULL;
	if (fifo->last)
		fifo->last->next = packet;
	else
		fifo->first = packet;
	fifo->last = packet;
}

struct sim_packet *sim_fifo_pop(struct sim_fifo *fifo)
{
	struct sim_packet *packet = fifo->first;

	if (!packet)
		return NULL;
	fifo->first = packet->next;
	if (!fifo->first)
		fifo->last = NULL;
	packet->next = NULL;
	return packet;
}

void sim_fifo_drop(struct sim_world *world, struct sim_fifo *fifo)
{
	struct sim_packet *packet;

	while ((packet = sim_fifo_pop(fifo)))
		sim_packet_free(world, packet);
}

void sim_format_job(struct gw_job_id job, char *ret_text)
{
	char id[GW_ID_TEXT_BYTES];
	const char *dot;

	gw_id_format(job.id, id);
	dot = strchr(id, '.');
	(void)snprintf(ret_text, GW_ID_TEXT_BYTES, "%s", dot ? dot + 1 : id);
}

void sim_format_attempt(const struct gw_attempt_id *attempt, char *ret_text)
{
	char id[GW_ID_TEXT_BYTES];

	sim_format_job(attempt->job, id);
	(void)snprintf(ret_text, GW_ID_TEXT_BYTES + 24, "%s/%" PRIu32 "#%" PRIu32, id,
		       attempt->task_index, attempt->attempt);
}
