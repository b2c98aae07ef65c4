/* Reading this host's clocks. */
#include "transport/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define ERROR_REFRESH_US (16 * GW_US_PER_S)
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_TEXT_BYTES 36u /* 8-4-4-4-12 hexadecimal digits */

static uint64_t read_us(clockid_t id)
{
	struct timespec at = {0};

	(void)clock_gettime(id, &at); /* cannot fail: the clocks exist, the pointer is good */
	return (uint64_t)at.tv_sec * GW_US_PER_S + (uint64_t)at.tv_nsec / 1000;
}

uint64_t gw_clock_mono_us(void)
{
	return read_us(CLOCK_BOOTTIME);
}

int64_t gw_clock_wall_us(void)
{
	return (int64_t)read_us(CLOCK_REALTIME);
}

static bool parse_boot_id(const char *text, struct gw_id *ret_id)
{
	char digits[2 * GW_ID_BYTES + 1];
	size_t count = 0;

	for (size_t i = 0; i < BOOT_ID_TEXT_BYTES; i++) {
		if (text[i] == '-')
			continue;
		if (count == 2 * (size_t)GW_ID_BYTES)
			return false;
		digits[count++] = text[i];
	}
	digits[count] = '\0';
	return gw_id_parse_hex(digits, ret_id);
}

int gw_clock_init(struct gw_clock *clock)
{
	char text[BOOT_ID_TEXT_BYTES];
	int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	*clock = (struct gw_clock){.wall_error_us = UINT32_MAX};
	if (fd < 0)
		return -errno;
	size = read(fd, text, sizeof(text));
	(void)close(fd); /* only read */
	if (size != (ssize_t)sizeof(text) || !parse_boot_id(text, &clock->boot_id))
		return -EIO;
	return 0;
}

/* The kernel's own bound, kept by whatever disciplines the clock; unknown without one. */
static uint32_t wall_error_us(void)
{
	struct timex state = {0};
	int result = adjtimex(&state);

	if (result < 0 || result == TIME_ERROR || state.status & STA_UNSYNC || state.maxerror < 0 ||
	    state.maxerror >= UINT32_MAX)
		return UINT32_MAX;
	return (uint32_t)state.maxerror;
}

struct gw_now gw_clock_now(struct gw_clock *clock)
{
	struct gw_now now = {.mono_us = gw_clock_mono_us(), .wall_us = gw_clock_wall_us()};

	if (now.mono_us >= clock->error_due_us) {
		clock->wall_error_us = wall_error_us();
		clock->error_due_us = now.mono_us + ERROR_REFRESH_US;
	}
	now.wall_error_us = clock->wall_error_us;
	now.boot_id = clock->boot_id;
	return now;
}
