/* A counting core; see the header. */
#include "tests/unit/test_journal_fixture.h"

#include <errno.h>
#include <string.h>

#define PIECE_BYTES 4000u

size_t tally_record(uint64_t seq, uint8_t ret_bytes[TALLY_RECORD_BYTES_MAX])
{
	size_t size = 8 + seq * 2654435761u % (TALLY_RECORD_BYTES_MAX - 8);

	if (seq % 8 != 0) /* most are small */
		size = 8 + size % 200;
	memcpy(ret_bytes, &seq, 8);
	for (size_t i = 8; i < size; i++)
		ret_bytes[i] = (uint8_t)(seq + i);
	return size;
}

static uint64_t mix(uint64_t digest, uint64_t seq)
{
	return (digest ^ seq) * 0x9e3779b97f4a7c15u + (digest >> 29);
}

uint64_t tally_digest_of(uint64_t seq)
{
	uint64_t digest = 1;

	for (uint64_t i = 1; i <= seq; i++)
		digest = mix(digest, i);
	return digest;
}

static int apply(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct tally *tally = (struct tally *)node;
	uint8_t wanted[TALLY_RECORD_BYTES_MAX];

	if (seq != tally->seq + 1 || size != tally_record(seq, wanted) ||
	    memcmp(bytes, wanted, size) != 0)
		return -EPROTO;
	tally->seq = seq;
	tally->digest = mix(tally->digest, seq);
	return 0;
}

static int snapshot(const struct gw_node *node, gw_snapshot_f *piece, void *context)
{
	const struct tally *tally = (const struct tally *)node;
	uint64_t state[3] = {tally->seq, tally->digest, tally->ballast_bytes};
	int error = piece(context, (const uint8_t *)state, sizeof(state));
	uint8_t ballast[PIECE_BYTES];

	for (uint64_t at = 0; error == 0 && at < tally->ballast_bytes; at += PIECE_BYTES) {
		memset(ballast, (int)(at / PIECE_BYTES % 251), sizeof(ballast));
		error = piece(context, ballast, sizeof(ballast));
	}
	return error < 0 ? error : tally->snapshot_error;
}

static int restore(struct gw_node *node, const uint8_t *bytes, size_t size)
{
	struct tally *tally = (struct tally *)node;
	uint64_t state[3];

	if (tally->seq == 0) {
		if (size != sizeof(state))
			return -EPROTO;
		memcpy(state, bytes, sizeof(state));
		tally->seq = state[0];
		tally->digest = state[1];
		tally->ballast_bytes = state[2];
		return 0;
	}
	if (size != PIECE_BYTES || bytes[size - 1] != tally->ballast_taken / PIECE_BYTES % 251)
		return -EPROTO;
	tally->ballast_taken += size;
	return 0;
}

static uint64_t seq(const struct gw_node *node)
{
	return ((const struct tally *)node)->seq;
}

static uint64_t digest(const struct gw_node *node)
{
	return ((const struct tally *)node)->digest;
}

void tally_init(struct tally *tally, uint64_t ballast_bytes)
{
	static const struct gw_node_ops ops = {.apply = apply,
					       .snapshot = snapshot,
					       .restore = restore,
					       .seq = seq,
					       .digest = digest};

	*tally = (struct tally){.node.ops = &ops, .digest = 1, .ballast_bytes = ballast_bytes};
}
