/* Four lines behind a header; read as strictly as all files of the state folder. */
#include "agent/upgrade.h"

#include <errno.h>
#include <string.h>

#include <agent_record.pb-c.h>

#include "proto/base/check.h"
#include "transport/file.h"
#include "transport/lines.h"

#define HEADER "godwit-agent-memory 1"
#define BYTES_MAX 1024u
#define RECORD_BYTES_MAX 256u

/* -ENOENT: there is no file, which is no fault. */
static int load(const char *path, struct gw_agent_memory *ret_memory, struct gw_fault *fault)
{
	struct gw_agent_memory memory = {0};
	struct gw_lines lines;
	char text[BYTES_MAX + 1];
	size_t size;
	int64_t term = 0;
	int64_t renewed_us = 0;
	int64_t lease_us = 0;
	int r = gw_file_read(path, false, BYTES_MAX, text, &size, fault);

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

static int put(struct gw_node *core, struct gw_journal *journal, Godwit__AgentRecord *record)
{
	uint8_t bytes[RECORD_BYTES_MAX];
	uint64_t seq = gw_node_seq(core) + 1;
	size_t size;
	int r;

	record->version = GW_AGENT_RECORD_VERSION;
	size = gw_wire_size(&record->base);
	CHECK(size <= sizeof(bytes));
	gw_wire_encode(&record->base, bytes);
	r = gw_node_apply(core, seq, bytes, size);
	return r ? r : journal->append(journal, seq, bytes, size);
}

static int put_all(struct gw_node *core, struct gw_journal *journal,
		   const struct gw_agent_memory *memory)
{
	Godwit__AgentRecord term = GODWIT__AGENT_RECORD__INIT;
	Godwit__AgentRecord lease = GODWIT__AGENT_RECORD__INIT;
	Godwit__TermSeen seen = GODWIT__TERM_SEEN__INIT;
	Godwit__LeaseRenewed renewed = GODWIT__LEASE_RENEWED__INIT;
	int r = 0;

	seen.term = memory->term;
	term.kind_case = GODWIT__AGENT_RECORD__KIND_TERM_SEEN;
	term.term_seen = &seen;
	renewed.boot_id = gw_wire_id(&memory->boot_id);
	renewed.renewed_us = memory->renewed_us;
	renewed.lease_us = memory->lease_us;
	lease.kind_case = GODWIT__AGENT_RECORD__KIND_LEASE_RENEWED;
	lease.lease_renewed = &renewed;
	if (memory->term > 0)
		r = put(core, journal, &term);
	return r ? r : put(core, journal, &lease);
}

int gw_upgrade(const char *path, struct gw_node *core, struct gw_journal *journal,
	       uint64_t *ret_seq, struct gw_fault *fault)
{
	struct gw_agent_memory memory;
	int r = load(path, &memory, fault);

	*ret_seq = 0;
	if (r == -ENOENT)
		return 0;
	/* An agent that ended before it removed the file has taken it already. */
	if (r == 0 && gw_node_seq(core) == 0) {
		r = put_all(core, journal, &memory);
		if (r != 0)
			gw_fault_set(fault, "%s cannot be taken into the journal: %s", path,
				     strerror(-r));
	}
	if (r == 0)
		*ret_seq = gw_node_seq(core);
	return r;
}
