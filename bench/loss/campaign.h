/*
 * A campaign: cells, each a comparison of two sides (A the single site or a control's reference, B
 * the other), run as pairs of adjacent blocks in random ABBA quads. The rules that it keeps are
 * those of README.md; a block that breaks one is void before its result is looked at.
 *
 * Life: options -> gw_campaign_open (rings, link emulator, host) -> gw_cells_run -> gw_report_json
 * and gw_report_rows -> gw_campaign_close.
 */
#ifndef GODWIT_BENCH_LOSS_CAMPAIGN_H
#define GODWIT_BENCH_LOSS_CAMPAIGN_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "bench/loss/client.h"
#include "bench/loss/host.h"
#include "bench/loss/stats.h"
#include "bench/loss/theory.h"
#include "proto/base/prng.h"

#define GW_CAMPAIGN_CELLS_MAX 48u
#define GW_CAMPAIGN_LINKS_MAX 8u
#define GW_CAMPAIGN_RTTS_MAX 16u
#define GW_CAMPAIGN_PAIRS_MAX 64u
#define GW_CAMPAIGN_CLAIM_PAIRS 10u /* fewer pairs carry no claim */
#define GW_CAMPAIGN_CLAIM_BLOCK_S 20.0
#define GW_CAMPAIGN_QUICK_AGE_S 1.0 /* of a connection whose delay fell, in a quick campaign */
#define GW_CAMPAIGN_PROMPT_MIN 8    /* tokens of a request in latency cells, uniform */
#define GW_CAMPAIGN_PROMPT_MAX 16
#define GW_CAMPAIGN_OUTPUT_MIN 16
#define GW_CAMPAIGN_OUTPUT_MAX 32
#define GW_CAMPAIGN_KM_PER_RTT_MS 100.0
#define GW_CAMPAIGN_BUDGET_PERCENT 5.0

struct gw_campaign_options {
	const char *single; /* control sockets of the rings' heads; NULL or empty: there is none */
	const char *cross;
	const char *cross_twin;  /* a second ring like `cross`, for the negative control */
	const char *single_real; /* two stages, a core each */
	const char *cross_real;
	const char *emulator; /* its control socket; absent: only what needs no delay is run */
	bool simulate;        /* no emulator: the stages' senders hold frames back; no claim */
	const char *links;    /* "a-b=0.25,b-c=0.25": each link's one-way share of R */

	const char *rtts_ms; /* "0,1,2.4,5,10,20" */
	double headline_ms;  /* which of them is claimed */
	const char *cells;   /* "0km,240km,control_null": only these; NULL or empty: all */
	bool lossy;          /* one more headline cell, with the links' own random loss */
	bool quick;          /* short blocks, few pairs, no claim */
	uint64_t budget_us;  /* quick: of the whole campaign */
	uint64_t block_us;
	uint64_t age_us; /* of a connection under load after its delay has changed */
	uint64_t pairs;
	uint64_t sweep_pairs;
	uint64_t batch; /* b; 0: what fills the memory */
	uint64_t seed;
	double load; /* of latency cells: share of the single site's decode rate */
	uint64_t ttft_limit_us;
	uint64_t tpot_limit_us;
	const char *congestion;
	const char *congestion_beside; /* one more headline cell with it; empty: none */
	const char *commit;
	const char *output; /* campaign JSON */
	const char *rows;   /* rows JSON; "-": stdout */
};

/* One ring, by its head. */
struct gw_ring_client {
	struct gw_client client; /* fd -1: there is none */
	json_t *info;
	uint32_t stages;
	uint32_t slots;
	uint32_t rows;
	bool aged;    /* warmed up at the present delay */
	double age_s; /* that it takes, under load */
	char congestion[16];
};

enum gw_metric {
	GW_METRIC_RATE, /* tokens/s */
	GW_METRIC_TTFT_MEAN,
	GW_METRIC_TTFT_P50,
	GW_METRIC_TTFT_P99,
	GW_METRIC_TPOT_MEAN,
	GW_METRIC_TPOT_P50,
	GW_METRIC_TPOT_P99,
	GW_METRIC_GOODPUT, /* requests/s within the objective */
	GW_METRIC_COUNT,
};

enum gw_cell_kind {
	GW_CELL_RATE,  /* saturated decode blocks */
	GW_CELL_SERVE, /* open-loop arrivals */
};

struct gw_side {
	struct gw_ring_client *ring;
	const char *site; /* "single", "cross" */
	uint32_t groups;
	uint32_t batch;
	double scale;  /* of the stage time; 0: unpaced */
	bool emulated; /* its traffic goes through the emulator */
};

/* What one block gave, as far as the statistics need it; the rest is in its JSON. */
struct gw_outcome {
	double metrics[GW_METRIC_COUNT]; /* NAN: not of this kind */
	double stage_s;                  /* measured */
	double rtt_idle_s;
	double rtt_bulk_s; /* idle too, by probes of a micro-batch's weight */
	double rtt_load_s;
	double carry_s;       /* what a micro-batch's weight adds to the loop's delay */
	double stages_cpu_us; /* per token, the stages' own count */
	double agents_cpu_us; /* per token, from /proc */
	double emulator_cpu_us;
	uint64_t overruns;
	uint64_t frames;
	uint64_t retransmits;
	double stages_per_core; /* the most */
	bool no_fifo;           /* some stage without real-time priority */
	bool unpinned;          /* some stage without a core of its own choice */
	bool is_void;
};

struct gw_pair {
	struct gw_outcome a;
	struct gw_outcome b;
};

struct gw_cell {
	char name[32]; /* "240km", "control_null" */
	enum gw_cell_kind kind;
	double rtt_ms; /* asked of the emulator */
	struct gw_side a;
	struct gw_side b;
	const char *congestion;
	uint32_t pairs_wanted;
	bool claims; /* may carry a claim: has as many pairs as the pilot asks for */
	double block_s;
	int weight;               /* the heaviest are left out first when a quick budget is short */
	double rate_per_s;        /* SERVE */
	double link_loss_percent; /* asked of its links at random; 0: they lose nothing */
	const char *failed;       /* why it was not run; NULL: it was */
	/* results */
	struct gw_pair *pairs; /* [GW_CAMPAIGN_PAIRS_MAX]; NULL until it runs */
	uint32_t pair_count;   /* void ones included */
	uint32_t blocks_run;
	uint32_t blocks_void;
	uint32_t compared; /* pairs whose tokens must be the same */
	uint32_t differing;
	bool emulator_unfit; /* no real-time priority or locked memory */
	json_t *blocks;
};

struct gw_campaign {
	struct gw_campaign_options options;
	struct gw_ring_client single;
	struct gw_ring_client cross;
	struct gw_ring_client cross_twin;
	struct gw_ring_client single_real;
	struct gw_ring_client cross_real;
	struct gw_accelerator accelerator;

	struct {
		char name[32];
		double share;
		json_int_t loss_ppm[2]; /* its own, each way, while a campaign sets it to 0 */
		json_int_t burst_enter_ppm[2];
	} links[GW_CAMPAIGN_LINKS_MAX];

	uint32_t link_count;
	double rtts_ms[GW_CAMPAIGN_RTTS_MAX]; /* rising */
	uint32_t rtt_count;
	double rtt_ms; /* the emulator's present state; -1: unknown */
	bool lossy;    /* and whether its links have their own loss now */
	bool links_known;
	struct gw_prng prng;
	struct gw_cell cells[GW_CAMPAIGN_CELLS_MAX];
	uint32_t cell_count;
	json_t *host;
	json_t *pilot;
	uint32_t pairs_needed; /* by the pilot; may be more than a cell can have */
	double limit_mbps;     /* up to which the emulator proved itself here; NAN: it did not */
	json_t *group_sweep;   /* m beside theory */
	json_t *other_blocks;  /* raw blocks of no cell: ageing, speed, the sweep of m */
	double planned_s;
	double began_s;
	const volatile bool *interrupted;
	char error[GW_CLIENT_ERROR_BYTES + 64];
};

/* 0; negative errno with a sentence in campaign->error. */
int gw_campaign_open(struct gw_campaign *campaign);
void gw_campaign_close(struct gw_campaign *campaign);

/* runner.c: runs one cell to its end. 0, also if the cell could not be run (cell->failed) or was
 * interrupted; negative errno: a ring is gone. */
int gw_runner_cell(struct gw_campaign *campaign, struct gw_cell *cell);
void gw_cell_deinit(struct gw_cell *cell);
/* One block; its JSON is appended to `blocks`. 0 or negative errno. */
int gw_runner_block(struct gw_campaign *campaign, const struct gw_cell *cell,
		    const struct gw_side *side, uint64_t number, json_t *blocks,
		    struct gw_outcome *ret, char *ret_checksum);
/* Sets the links' delay and ages the cell's connections under load. */
int gw_runner_prepare(struct gw_campaign *campaign, struct gw_cell *cell);
double gw_campaign_now_s(void);

/* wanlink.c: the one place that speaks to the link emulator. */
int gw_wanlink_set(struct gw_campaign *campaign, double rtt_ms, bool lossy);
/* Remembers the links' own random loss; close gives it back. 0 or negative errno. */
int gw_wanlink_open(struct gw_campaign *campaign);
void gw_wanlink_close(struct gw_campaign *campaign);
/* Of the links under way, per cent of packets, the mean of both ways. */
double gw_wanlink_own_loss_percent(const struct gw_campaign *campaign);
/* The rate that the emulator's self-test proved on this host, Mb/s; NAN: it was not run. */
double gw_wanlink_limit_mbps(void);
/* Forgets the counters. */
void gw_wanlink_reset(struct gw_campaign *campaign);
/* The counters since then, a new object (links under way: lateness, drops, CPU), and what is wrong
 * with them: appended to `reasons`. *ret_unfit: no real-time priority or no locked memory. */
json_t *gw_wanlink_read(struct gw_campaign *campaign, json_t *reasons, bool *ret_unfit);

/* cells.c: pilot, plan and all cells. 0 or negative errno with campaign->error. */
int gw_cells_run(struct gw_campaign *campaign);

/* summary.c */
const struct gw_cell *gw_campaign_cell(const struct gw_campaign *campaign, const char *name);
/* Log ratios log(B / A) of the pairs that are not void; returns how many. */
size_t gw_cell_ratios(const struct gw_cell *cell, enum gw_metric metric,
		      double ret[GW_CAMPAIGN_PAIRS_MAX]);
/* Mean of a figure over the blocks that are not void, side A or B; NAN: none. */
double gw_cell_mean(const struct gw_cell *cell, bool side_b, size_t offset);

/* The three controls that a campaign needs; put_in 0: the negative one. */
struct gw_control_cell {
	const char *name;
	const char *row;
	double put_in; /* points of stage time */
	const char *no_claim;
	const char *broken;
};

#define GW_CAMPAIGN_CONTROLS 3u
extern const struct gw_control_cell gw_control_cells[GW_CAMPAIGN_CONTROLS];
/* What a control read, points; *ret_holds: it is what was put in. */
struct gw_estimate gw_control_read(const struct gw_campaign *campaign, const struct gw_cell *cell,
				   double put_in, bool *ret_holds);
/* Why the cell carries no claim, be it for its own blocks or for the campaign's controls and
 * baseline; NULL: it may. */
const char *gw_cell_no_claim(const struct gw_campaign *campaign, const struct gw_cell *cell);
/* Packets that the emulator lost as asked, in the blocks across; *ret_asked: loss was asked for. */
uint64_t gw_cell_losses(const struct gw_cell *cell, bool *ret_asked);
/* Loss against the faster of the two baselines (plain veth; the emulator at zero delay, by way of
 * the "0km" cell's ratio), per cent, with its interval. */
struct gw_estimate gw_cell_loss(const struct gw_campaign *campaign, const struct gw_cell *cell);

/* report.c: new objects. */
json_t *gw_report_rows(const struct gw_campaign *campaign);
json_t *gw_report_json(const struct gw_campaign *campaign, const json_t *rows);

#endif
