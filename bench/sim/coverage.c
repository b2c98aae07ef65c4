#include "bench/sim/coverage.h"

const char *sim_sight_name(enum sim_sight sight)
{
	static const char *const names[SIM_SAW_COUNT] = {
		[SIM_SAW_CONNECTION_BROKEN] = "connection broken",
		[SIM_SAW_MESSAGE_LOST] = "message lost",
		[SIM_SAW_PACKET_RESENT] = "packet resent",
		[SIM_SAW_PACKET_DOUBLED] = "packet doubled",
		[SIM_SAW_PACKET_OVERTAKEN] = "packet overtaken",
		[SIM_SAW_QUEUE_FULL] = "link's queue full",
		[SIM_SAW_RECORD_LOST] = "record lost before it was durable",
		[SIM_SAW_TAIL_CUT] = "journal's damaged end cut",
		[SIM_SAW_START_REFUSED] = "start refused for damage",
		[SIM_SAW_SNAPSHOT_READ] = "start from a snapshot",
		[SIM_SAW_WRITE_REFUSED] = "write refused by a full disk",
		[SIM_SAW_SYNC_FAILED] = "sync failed",
		[SIM_SAW_LOSS_REPORTED] = "loss of records reported",
		[SIM_SAW_OLD_VERSION_READ] = "another version's records read",
		[SIM_SAW_TERM_REFUSED] = "older leader refused",
		[SIM_SAW_ATTEMPT_LOST] = "attempt declared lost",
		[SIM_SAW_TASK_AGAIN] = "task run again",
		[SIM_SAW_LEASE_ENDED] = "task ended with its lease",
		[SIM_SAW_REQUEST_REPEATED] = "client repeats a request",
		[SIM_SAW_REQUEST_REFUSED] = "client's request refused",
	};

	return names[sight];
}

void sim_coverage_add(struct sim_coverage_sum *sum, const struct sim_coverage *coverage)
{
	sum->runs++;
	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
		sum->struck[i] += coverage->struck[i];
		sum->left[i] += coverage->left[i];
		sum->struck_runs[i] += coverage->struck[i] > 0;
	}
	for (unsigned i = 0; i < SIM_SAW_COUNT; i++) {
		sum->seen[i] += coverage->seen[i];
		sum->seen_runs[i] += coverage->seen[i] > 0;
	}
}
