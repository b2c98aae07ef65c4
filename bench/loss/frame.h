/*
 * What stages say to each other: a 32-byte header, `rows` row records, and a payload whose size
 * follows from the kind and is checked, never trusted. Little-endian. Pure: bytes in, bytes out.
 */
#ifndef GODWIT_BENCH_LOSS_FRAME_H
#define GODWIT_BENCH_LOSS_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "bench/loss/model.h"

#define GW_FRAME_HEADER_BYTES 32u
#define GW_FRAME_STAGES_MAX 16u
#define GW_FRAME_GROUPS_MAX 32u /* micro-batches in flight */
#define GW_FRAME_STAGE_TIME_NS_MAX 60000000000ull

enum gw_frame_kind {
	GW_FRAME_HELLO = 1,      /* once, first: stamp is the configuration's digest */
	GW_FRAME_HIDDEN = 2,     /* activations: rows x hidden bfloat16 */
	GW_FRAME_TOKENS = 3,     /* last stage to head: rows x uint32_t */
	GW_FRAME_PROBE = 4,      /* around the ring at once, past computation and pacing; as heavy
				    as the activations of `rows` rows */
	GW_FRAME_RESET = 5,      /* counters to zero */
	GW_FRAME_REPORT = 6,     /* each stage appends its gw_stage_report; rows counts them */
	GW_FRAME_CONGESTION = 7, /* payload: 16 bytes, name of a congestion control */
	GW_FRAME_DELAY = 8,      /* stage_time_ns: how long each sender holds a frame back */
};

struct gw_frame_header {
	enum gw_frame_kind kind;
	uint32_t rows;          /* of a REPORT: reports so far */
	uint32_t payload_bytes; /* after the row records */
	uint32_t group;         /* micro-batch; of a HELLO: the sender's stage */
	uint64_t stage_time_ns; /* what each stage takes for it; 0: unpaced */
	uint64_t stamp;         /* the head's own; of a HELLO: the digest */
};

/* Counters of one stage since the last RESET. Travels as it is. */
struct gw_stage_report {
	uint64_t cpu_us;      /* user and system, all threads */
	uint64_t work_us;     /* of the compute thread */
	uint64_t work_us_max; /* of one frame */
	uint64_t frames;
	uint64_t rows;
	uint64_t overruns;     /* computed after the paced time */
	uint64_t late_us_max;  /* handed to the kernel after it was due */
	uint64_t service_us;   /* sum over frames: sent - max(arrived, last sent) */
	uint64_t work_over_60; /* frames whose work took more than 60 % of the stage time */
	uint64_t retransmits;
	uint64_t rtt_us; /* the kernel's smoothed RTT to the next stage */
	uint64_t rss_bytes;
	uint32_t layers;
	int32_t core;  /* -1: not pinned */
	uint32_t fifo; /* real-time priority of the I/O thread; 0: not obtained */
	uint32_t reserved;
	char congestion[16];
};

/* What a stage accepts; fixed for the ring's life. */
struct gw_frame_limits {
	uint32_t hidden;
	uint32_t rows;
	uint32_t slots;
	uint32_t stages;
};

#define GW_FRAME_ROW_BYTES 8u

void gw_frame_header_encode(const struct gw_frame_header *header, uint8_t *ret_bytes);
/* NULL, or a sentence that says what is wrong; *ret_header is then untouched. */
const char *gw_frame_header_decode(const uint8_t *bytes, const struct gw_frame_limits *limits,
				   struct gw_frame_header *ret_header);
/* Row records against the limits; NULL or a sentence. */
const char *gw_frame_rows_check(const struct gw_model_row *rows, uint32_t count,
				const struct gw_frame_limits *limits);
/* Bytes of payload that a frame of this kind and row count has. */
uint32_t gw_frame_payload_bytes(enum gw_frame_kind kind, uint32_t rows, uint32_t hidden);

#endif
