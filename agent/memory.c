/* Four lines behind a header; read as strictly as all files of the state folder. */
#include "agent/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "transport/file.h"
#include "transport/lines.h"

#define HEADER "godwit-agent-memory 1"
#define BYTES_MAX 1024u

int gw_memory_load(const char *path, struct gw_agent_memory *ret_memory, struct gw_fault *fault)
{
	struct gw_agent_memory memory = {0};
	struct gw_lines lines;
	char text[BYTES_MAX + 1];
	size_t size;
	int64_t term = 0;
	int64_t renewed_us = 0;
	int64_t lease_us = 0;
	int r = gw_file_read(path, false, BYTES_MAX, text, &size, fault);

	if (r == -ENOENT) {
		*ret_memory = memory;
		return 0;
	}
	if (r != 0)
		return r;
	text[size] = '\0';
	gw_lines_init(&lines, text, HEADER);
	gw_lines_number(&lines, "term", &term);
	gw_lines_id(&lines, "boot", &memory.boot_id);
	gw_lines_number(&lines, "renewed-us", &renewed_us);
	gw_lines_number(&lines, "lease-us", &lease_us);
	r = gw_lines_end(&lines, path, fault);
	if (r != 0)
		return r;
	if (term < 0 || renewed_us < 0 || lease_us < 0) {
		gw_fault_set(fault, "%s: a number is negative", path);
		return -EINVAL;
	}
	memory.term = (uint64_t)term;
	memory.renewed_us = (uint64_t)renewed_us;
	memory.lease_us = (uint64_t)lease_us;
	*ret_memory = memory;
	return 0;
}

int gw_memory_save(const char *path, const struct gw_agent_memory *memory, struct gw_fault *fault)
{
	char boot[GW_ID_TEXT_BYTES];
	char text[BYTES_MAX];
	int size;

	gw_id_format_hex(memory->boot_id, boot);
	size = snprintf(text, sizeof(text),
			HEADER "\nterm %" PRIu64 "\nboot %s\nrenewed-us %" PRIu64
			       "\nlease-us %" PRIu64 "\n",
			memory->term, boot, memory->renewed_us, memory->lease_us);
	return gw_file_write(path, 0644, false, text, (size_t)size, fault);
}
