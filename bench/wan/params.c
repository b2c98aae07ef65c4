/* One table of a link's parameters and the loops over it; see params.h. */
#include "bench/wan/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"

#define KEY_BYTES_MAX 64u
#define QUEUE_MS_DEFAULT 5u
#define QUEUE_BYTES_LEAST (64u << 10)

#define AT(member) .offset = offsetof(struct gw_link_params, member)
#define SHARE .type = GW_SCHEMA_FRACTION, .max = 1000000
#define DELAY .type = GW_SCHEMA_DURATION, .max = GW_LINK_DELAY_US_LIMIT

const struct gw_schema gw_params_schema[GW_PARAMS_SCHEMA_ENTRIES + 1] = {
	{.key = "delay", AT(delay_us), DELAY, .help = "one way"},
	{.key = "jitter", AT(jitter_us), DELAY, .help = "uniform around the delay; order is kept"},
	{.key = "rate",
	 AT(rate_bps),
	 .type = GW_SCHEMA_RATE,
	 .help = "IP bits per second; 0: none, and no queue"},
	{.key = "queue",
	 AT(queue_bytes),
	 .type = GW_SCHEMA_BYTES,
	 .max = GW_LINK_QUEUE_BYTES_LIMIT,
	 .help = "waiting before the wire; default 5 ms of the rate, at least 64 KiB"},
	{.key = "loss", AT(loss_ppm), SHARE, .help = "independent, per packet"},
	{.key = "burst_enter",
	 AT(burst_enter_ppm),
	 SHARE,
	 .help = "Gilbert-Elliott: good to bad, per packet"},
	{.key = "burst_leave", AT(burst_leave_ppm), SHARE, .help = "bad to good, per packet"},
	{.key = "burst_loss", AT(burst_loss_ppm), SHARE, .fallback = "1", .help = "loss while bad"},
	{.key = "reorder", AT(reorder_ppm), SHARE, .help = "packets held while others pass"},
	{.key = "reorder_hold", AT(reorder_hold_us), DELAY, .help = "how long they are held"},
	{.key = NULL},
};

void gw_params_default_queue(struct gw_link_params *params)
{
	if (params->rate_bps == 0 || params->queue_bytes > 0)
		return;
	params->queue_bytes = params->rate_bps / 8 / 1000 * QUEUE_MS_DEFAULT;
	if (params->queue_bytes < QUEUE_BYTES_LEAST)
		params->queue_bytes = QUEUE_BYTES_LEAST;
	if (params->queue_bytes > GW_LINK_QUEUE_BYTES_LIMIT)
		params->queue_bytes = GW_LINK_QUEUE_BYTES_LIMIT;
}

static void json_key(const struct gw_schema *field, char ret_key[KEY_BYTES_MAX])
{
	const char *unit = field->type == GW_SCHEMA_DURATION ? "us"
			   : field->type == GW_SCHEMA_RATE   ? "bps"
			   : field->type == GW_SCHEMA_BYTES  ? "bytes"
							     : "ppm";

	(void)snprintf(ret_key, KEY_BYTES_MAX, "%s_%s", field->key, unit);
}

json_t *gw_params_to_json(const struct gw_link_params *params)
{
	json_t *object = json_object();
	char key[KEY_BYTES_MAX];

	for (const struct gw_schema *field = gw_params_schema; field->key; field++) {
		uint64_t value;

		memcpy(&value, (const char *)params + field->offset, sizeof(value));
		json_key(field, key);
		if (json_object_set_new(object, key, json_integer((json_int_t)value)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

const char *gw_params_from_json(const json_t *object, struct gw_link_params *params)
{
	char key[KEY_BYTES_MAX];

	for (const struct gw_schema *field = gw_params_schema; field->key; field++) {
		const json_t *number;
		uint64_t value;

		json_key(field, key);
		number = json_object_get(object, key);
		if (!number)
			continue;
		if (!json_is_integer(number) || json_integer_value(number) < 0)
			return "a link parameter is not a number from 0 up";
		value = (uint64_t)json_integer_value(number);
		memcpy((char *)params + field->offset, &value, sizeof(value));
	}
	gw_params_default_queue(params);
	return gw_link_params_fault(params);
}

int gw_params_set_text(json_t *object, const char *assignment, struct gw_parse_error *ret_error)
{
	const char *equals = strchr(assignment, '=');
	size_t key_bytes = equals ? (size_t)(equals - assignment) : 0;
	char key[KEY_BYTES_MAX];

	for (const struct gw_schema *field = gw_params_schema; field->key; field++) {
		uint64_t value = 0;
		int error;

		if (strlen(field->key) != key_bytes ||
		    strncmp(field->key, assignment, key_bytes) != 0)
			continue;
		error = gw_schema_parse_value(field, equals + 1, NULL, &value, ret_error);
		if (error < 0)
			return error;
		json_key(field, key);
		CHECK(json_object_set_new(object, key, json_integer((json_int_t)value)) == 0);
		return 0;
	}
	return gw_parse_error_set(ret_error, (struct gw_mark){0},
				  "'%s': expected KEY=VALUE with a KEY of delay, jitter, rate, "
				  "queue, loss, burst_enter, burst_leave, burst_loss, reorder or "
				  "reorder_hold",
				  assignment);
}
