/*
 * The link model of link.h. Pure: time comes in with the packet, chance from seeded generators.
 * Each draw happens only where its parameter is set, so that a link without jitter spends nothing.
 */
#include "bench/wan/link.h"

#include <errno.h>
#include <stddef.h>

#define NS_PER_US 1000ull
#define NS_BITS_PER_BYTE 8000000000ull /* bytes -> ns, divided by bits per second */
#define PPM 1000000ull

void gw_link_init(struct gw_link *link, const struct gw_link_params *params, uint64_t seed)
{
	*link = (struct gw_link){.params = *params};
	gw_prng_init(&link->loss, seed);
	gw_prng_init(&link->timing, ~seed);
}

void gw_link_set(struct gw_link *link, const struct gw_link_params *params)
{
	link->params = *params;
	if (params->burst_enter_ppm == 0)
		link->burst_bad = false;
}

const char *gw_link_params_fault(const struct gw_link_params *params)
{
	if (params->loss_ppm > PPM || params->burst_enter_ppm > PPM ||
	    params->burst_leave_ppm > PPM || params->burst_loss_ppm > PPM ||
	    params->reorder_ppm > PPM)
		return "a share is above 100 %";
	if (params->delay_us > GW_LINK_DELAY_US_LIMIT ||
	    params->reorder_hold_us > GW_LINK_DELAY_US_LIMIT)
		return "a delay is above 10 s";
	if (params->jitter_us > params->delay_us)
		return "the jitter is above the delay: packets would arrive before they are sent";
	if (params->burst_enter_ppm > 0 && params->burst_leave_ppm == 0)
		return "bursts begin but never end: burst_leave is 0";
	if (params->reorder_ppm > 0 && params->reorder_hold_us == 0)
		return "reorder is set but reorder_hold is 0";
	if (params->rate_bps > 0 && params->queue_bytes < 1500)
		return "the queue is below one packet of 1500 bytes";
	if (params->queue_bytes > GW_LINK_QUEUE_BYTES_LIMIT)
		return "the queue is above 1 GiB";
	return NULL;
}

int gw_link_add_cut(struct gw_link *link, uint64_t now_ns, struct gw_link_cut cut)
{
	uint32_t kept = 0;
	uint32_t at;

	if (cut.from_ns >= cut.until_ns)
		return -EINVAL;
	for (uint32_t i = 0; i < link->cut_count; i++) {
		if (link->cuts[i].from_ns < cut.until_ns && cut.from_ns < link->cuts[i].until_ns)
			return -EINVAL;
		if (link->cuts[i].until_ns > now_ns)
			link->cuts[kept++] = link->cuts[i];
	}
	link->cut_count = kept;
	if (kept == GW_LINK_CUTS_MAX)
		return -ENOSPC;
	for (at = kept; at > 0 && link->cuts[at - 1].from_ns > cut.from_ns; at--)
		link->cuts[at] = link->cuts[at - 1];
	link->cuts[at] = cut;
	link->cut_count++;
	return 0;
}

void gw_link_clear_cuts(struct gw_link *link)
{
	link->cut_count = 0;
}

bool gw_link_is_cut(const struct gw_link *link, uint64_t at_ns)
{
	for (uint32_t i = 0; i < link->cut_count && link->cuts[i].from_ns <= at_ns; i++) {
		if (at_ns < link->cuts[i].until_ns)
			return true;
	}
	return false;
}

static bool chance(struct gw_prng *prng, uint64_t ppm)
{
	return ppm > 0 && gw_prng_chance_ppm(prng, (uint32_t)ppm);
}

/* One step of the loss process: both kinds are drawn, either loses the packet. */
static bool is_lost(struct gw_link *link)
{
	const struct gw_link_params *params = &link->params;
	bool lost = chance(&link->loss, params->loss_ppm);

	if (params->burst_enter_ppm == 0)
		return lost;
	if (chance(&link->loss,
		   link->burst_bad ? params->burst_leave_ppm : params->burst_enter_ppm))
		link->burst_bad = !link->burst_bad;
	return (link->burst_bad && chance(&link->loss, params->burst_loss_ppm)) || lost;
}

static uint64_t jittered_delay_ns(struct gw_link *link)
{
	const struct gw_link_params *params = &link->params;
	uint64_t span_ns = 2 * params->jitter_us * NS_PER_US;
	uint64_t least_ns = (params->delay_us - params->jitter_us) * NS_PER_US;

	return least_ns + (span_ns > 0 ? gw_prng_below(&link->timing, span_ns + 1) : 0);
}

/* `due_ns`, or `*last_ns` if that is later: order is kept. */
static uint64_t in_order(uint64_t due_ns, uint64_t *last_ns)
{
	if (due_ns > *last_ns)
		*last_ns = due_ns;
	return *last_ns;
}

enum gw_link_verdict gw_link_admit(struct gw_link *link, uint64_t at_ns, uint32_t ip_bytes,
				   uint64_t *ret_due_ns)
{
	const struct gw_link_params *params = &link->params;
	uint64_t start_ns = in_order(at_ns, &link->last_in_ns);
	uint64_t due_ns;

	if (gw_link_is_cut(link, start_ns))
		return GW_LINK_CUT;
	if (params->rate_bps > 0) {
		if (link->wire_free_ns > start_ns) {
			uint64_t queue_ns =
				params->queue_bytes * NS_BITS_PER_BYTE / params->rate_bps;

			if (link->wire_free_ns - start_ns > queue_ns)
				return GW_LINK_QUEUE_FULL;
			start_ns = link->wire_free_ns;
		}
		start_ns += ip_bytes * NS_BITS_PER_BYTE / params->rate_bps;
		link->wire_free_ns = start_ns;
	}
	if (is_lost(link))
		return GW_LINK_LOST;
	due_ns = start_ns + jittered_delay_ns(link);
	if (chance(&link->timing, params->reorder_ppm)) {
		due_ns += params->reorder_hold_us * NS_PER_US;
		*ret_due_ns = in_order(due_ns, &link->last_hold_ns);
		return GW_LINK_HOLD;
	}
	*ret_due_ns = in_order(due_ns, &link->last_pass_ns);
	return GW_LINK_PASS;
}
