/*
 * Where a host's records go to last. The host appends in order and is told (gw_host_durable) how
 * far the records last; what a peer or a user is told waits for that. Two kinds: a folder of this
 * machine (transport/journal_file) and a store shared by several schedulers
 * (transport/journal_etcd).
 */
#ifndef GODWIT_TRANSPORT_JOURNAL_H
#define GODWIT_TRANSPORT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First member of every journal. */
struct gw_journal {
	/* Takes the bytes (copies) of record `seq`, one more than the last. When they last, the
	 * durable callback is called, from a later turn of the loop, never from here. 0; negative
	 * errno: the record is lost and the process must stop. */
	int (*append)(struct gw_journal *journal, uint64_t seq, const uint8_t *bytes, size_t size);
	/* NULL: it keeps up. Else one sentence why it does not (slow, full, out of reach): new
	 * work is refused with it, while what is under way goes on. May be absent. */
	const char *(*stalled)(const struct gw_journal *journal, uint64_t mono_us);
	/* False: this process is no longer the one that may write, so it may say nothing more
	 * either. Asked before each step. May be absent: always true. */
	bool (*valid)(const struct gw_journal *journal, uint64_t mono_us);
};

/* Records up to `seq` last. */
typedef void gw_journal_durable_f(void *context, uint64_t seq);
/* It cannot go on; `text` says why and what to do. The process must stop. */
typedef void gw_journal_failed_f(void *context, int error, const char *text);

#endif
