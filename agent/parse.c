/* Line by line, field by field, without copying and without any change to the text. */
#include "agent/parse.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define SECTOR_BYTES 512u /* of /proc/diskstats, whatever the disk's own */
#define STAT_FIELDS 8u    /* user nice system idle iowait irq softirq steal */
#define DISK_FIELDS 10u   /* up to sectors written */
#define NET_FIELDS 9u     /* up to bytes sent */

static const char *skip_blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

static const char *next_line(const char *at)
{
	at = strchr(at, '\n');
	return at ? at + 1 : NULL;
}

/* A decimal number; false: none there, or it does not fit. */
static bool read_number(const char **at, uint64_t *ret_number)
{
	uint64_t number = 0;
	const char *p = skip_blanks(*at);

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*at = p;
	*ret_number = number;
	return true;
}

/* "12.34" in units of 10^-places; further digits are cut. */
static bool read_decimal(const char **at, unsigned places, uint32_t *ret_value)
{
	uint64_t value;

	if (!read_number(at, &value) || **at != '.')
		return false;
	(*at)++;
	for (unsigned i = 0; i < places; i++) {
		bool digit = **at >= '0' && **at <= '9';

		value = value > UINT32_MAX ? value
					   : value * 10 + (digit ? (uint64_t)(**at - '0') : 0);
		*at += digit;
	}
	while (**at >= '0' && **at <= '9')
		(*at)++;
	if (value > UINT32_MAX)
		return false;
	*ret_value = (uint32_t)value;
	return true;
}

bool gw_parse_stat(const char *text, struct gw_cpu_ticks *ret_ticks)
{
	uint64_t field[STAT_FIELDS];
	struct gw_cpu_ticks ticks = {0};

	if (strncmp(text, "cpu ", 4) != 0)
		return false;
	text += 4;
	for (unsigned i = 0; i < STAT_FIELDS; i++) {
		if (!read_number(&text, &field[i]) ||
		    __builtin_add_overflow(ticks.total, field[i], &ticks.total))
			return false;
	}
	ticks.busy = ticks.total - field[3] - field[4];
	ticks.steal = field[7];
	*ret_ticks = ticks;
	return true;
}

static bool read_kib(const char *text, const char *name, uint64_t *ret_bytes)
{
	size_t length = strlen(name);

	for (; text; text = next_line(text)) {
		const char *at = text + length;
		uint64_t kib;

		if (strncmp(text, name, length) != 0)
			continue;
		return read_number(&at, &kib) && strncmp(skip_blanks(at), "kB", 2) == 0 &&
		       !__builtin_mul_overflow(kib, 1024u, ret_bytes);
	}
	return false;
}

bool gw_parse_meminfo(const char *text, struct gw_memory *ret_memory)
{
	struct gw_memory memory;

	if (!read_kib(text, "MemTotal:", &memory.total_bytes) ||
	    !read_kib(text, "MemAvailable:", &memory.available_bytes))
		return false;
	*ret_memory = memory;
	return true;
}

bool gw_parse_pressure(const char *text, uint32_t *ret_some_ppm)
{
	static const char head[] = "some avg10=";
	uint32_t hundredths; /* of a percent */

	if (strncmp(text, head, sizeof(head) - 1) != 0)
		return false;
	text += sizeof(head) - 1;
	if (!read_decimal(&text, 2, &hundredths) || hundredths > 10000)
		return false;
	*ret_some_ppm = hundredths * 100;
	return true;
}

bool gw_parse_loadavg(const char *text, uint32_t *ret_load1_milli)
{
	return read_decimal(&text, 3, ret_load1_milli);
}

static size_t word_length(const char *at)
{
	return strcspn(at, " \t\n");
}

static bool starts(const char *name, size_t length, const char *prefix)
{
	return length > strlen(prefix) && strncmp(name, prefix, strlen(prefix)) == 0;
}

/* "sda1" of "sda", "nvme0n1p2" of "nvme0n1". The kernel lists a disk before its partitions. */
static bool is_partition(const char *name, size_t length, const char *disk, size_t disk_length)
{
	size_t i = disk_length;

	if (!disk || length <= disk_length || strncmp(name, disk, disk_length) != 0)
		return false;
	if (name[i] == 'p' && i + 1 < length)
		i++;
	for (; i < length; i++)
		if (name[i] < '0' || name[i] > '9')
			return false;
	return true;
}

static bool is_stacked(const char *name, size_t length)
{
	static const char *const prefixes[] = {"loop", "ram", "zram", "sr", "fd", "dm-", "md"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (starts(name, length, prefixes[i]))
			return true;
	return false;
}

static bool add_product(uint64_t *sum, uint64_t number, uint64_t factor)
{
	uint64_t product;

	return !__builtin_mul_overflow(number, factor, &product) &&
	       !__builtin_add_overflow(*sum, product, sum);
}

bool gw_parse_diskstats(const char *text, struct gw_traffic *ret_traffic)
{
	struct gw_traffic sum = {0};
	const char *disk = NULL;
	size_t disk_length = 0;

	for (; text && *text; text = next_line(text)) {
		uint64_t field[DISK_FIELDS] = {0};
		const char *at = text;
		const char *name;
		size_t length;

		if (!read_number(&at, &field[0]) || !read_number(&at, &field[1]))
			return false;
		name = skip_blanks(at);
		length = word_length(name);
		at = name + length;
		/* reads, merged, sectors read, ms, writes, merged, sectors written */
		for (unsigned i = 2; i < DISK_FIELDS - 1; i++)
			if (!read_number(&at, &field[i]))
				return false;
		if (length == 0)
			return false;
		if (is_stacked(name, length) || is_partition(name, length, disk, disk_length))
			continue;
		disk = name;
		disk_length = length;
		if (!add_product(&sum.in_bytes, field[4], SECTOR_BYTES) ||
		    !add_product(&sum.out_bytes, field[8], SECTOR_BYTES))
			return false;
	}
	*ret_traffic = sum;
	return true;
}

bool gw_parse_net_dev(const char *text, struct gw_traffic *ret_traffic)
{
	struct gw_traffic sum = {0};

	/* Two lines of headings. */
	text = next_line(text);
	text = text ? next_line(text) : NULL;
	if (!text)
		return false;
	for (; text && *text; text = next_line(text)) {
		uint64_t field[NET_FIELDS];
		const char *name = skip_blanks(text);
		size_t length = strcspn(name, ":\n");
		const char *at = name + length + 1;

		if (length == 0 || name[length] != ':')
			return false;
		for (unsigned i = 0; i < NET_FIELDS; i++)
			if (!read_number(&at, &field[i]))
				return false;
		if (length == 2 && strncmp(name, "lo", 2) == 0)
			continue;
		if (!add_product(&sum.in_bytes, field[0], 1) ||
		    !add_product(&sum.out_bytes, field[8], 1))
			return false;
	}
	*ret_traffic = sum;
	return true;
}
