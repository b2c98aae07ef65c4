/* Arbitrary bytes as each of the texts of /proc that the agent reads. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/parse.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1); /* of its own size: a read past the end shows */
	struct gw_cpu_ticks ticks;
	struct gw_memory memory;
	struct gw_traffic traffic;
	uint32_t number;

	CHECK(text);
	memcpy(text, bytes, size);
	text[size] = '\0';
	if (gw_parse_stat(text, &ticks))
		CHECK(ticks.busy <= ticks.total);
	if (gw_parse_pressure(text, &number))
		CHECK(number <= 1000000);
	(void)gw_parse_meminfo(text, &memory);
	(void)gw_parse_diskstats(text, &traffic);
	(void)gw_parse_net_dev(text, &traffic);
	(void)gw_parse_loadavg(text, &number);
	free(text);
	return 0;
}
