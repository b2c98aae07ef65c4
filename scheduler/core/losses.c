/*
 * Signs that records were lost: by a disk that lied, or a journal put back from an old copy. A node
 * then knows of attempts or of a term that this scheduler can never have given out. Nothing can be
 * undone here (such attempts are strays, and are ended); it is put on record, so that an operator
 * sees it.
 */
#include <string.h>

#include "scheduler/core/state.h"

/* What ids of jobs say; see proto/base/id.h. */
static uint32_t field_u32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

void epoch_close(struct scheduler *s)
{
	if (s->epoch == 0)
		return;
	if (s->epoch_count == EPOCHS_MAX)
		memmove(&s->epochs[0], &s->epochs[1], (EPOCHS_MAX - 1) * sizeof(s->epochs[0]));
	else
		s->epoch_count++;
	s->epochs[s->epoch_count - 1].epoch = s->epoch;
	s->epochs[s->epoch_count - 1].next_job = s->next_job;
}

/* Is it on record that this id may have been given out? */
static bool given_out(const struct scheduler *s, struct gw_job_id job)
{
	uint32_t epoch = field_u32(job.id.bytes + 4);
	uint64_t counter = gw_id_counter(job.id);

	if (field_u32(job.id.bytes) != s->config.region_id)
		return true; /* not ours to say */
	if (epoch >= s->epoch)
		return epoch == s->epoch && counter < s->next_job;
	for (uint32_t i = s->epoch_count; i-- > 0;) {
		if (s->epochs[i].epoch == epoch)
			return counter < s->epochs[i].next_job;
		if (s->epochs[i].epoch < epoch)
			return false; /* no epoch of this number was ever on record */
	}
	return s->epoch_count == EPOCHS_MAX; /* it may be one of those forgotten */
}

static void found(struct scheduler *s, struct node *node, const char *text)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__RecordsLost lost = GODWIT__RECORDS_LOST__INIT;

	if (node->loss_told || s->records_lost >= RECORDS_LOST_MAX)
		return; /* one for each session: an inventory may hold many */
	node->loss_told = true;
	lost.node = gw_wire_id(&node->id.id);
	lost.text = unconst(text);
	record.kind_case = GODWIT__RECORD__KIND_RECORDS_LOST;
	record.records_lost = &lost;
	apply_commit(s, &record);
}

void loss_of_attempt(struct scheduler *s, struct node *node, struct gw_attempt_id attempt)
{
	const struct task *task = task_find(s, attempt);
	char id[GW_ID_TEXT_BYTES];

	if (task ? attempt.attempt <= task->attempt_last &&
			    (attempt.attempt != task->attempt || task->node == node)
		 : given_out(s, attempt.job))
		return;
	gw_id_format(attempt.job.id, id);
	found(s, node,
	      out_text(s,
		       "node %s knows attempt %u of task %u of job %s, which this scheduler has no "
		       "record of",
		       node->name, attempt.attempt, attempt.task_index, id));
}

/* The node obeys nobody of an earlier term, so this leader needs a later one: its host sees to it. */
void loss_of_term(struct scheduler *s, struct node *node, uint64_t term_seen)
{
	if (term_seen <= s->term || term_seen > TERM_SEEN_MAX)
		return;
	if (term_seen > s->term_seen)
		s->term_seen = term_seen;
	found(s, node,
	      out_text(s,
		       "node %s has heard a leader of term %llu, and this scheduler was at %llu; "
		       "what it accepted in between is lost, and a later term is begun",
		       node->name, (unsigned long long)term_seen, (unsigned long long)s->term));
}
