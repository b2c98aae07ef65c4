/*
 * The head's control socket: a UNIX stream socket (mode 0600), one JSON object a line each way, one
 * client at a time. Requests (what may be left out has its default behind it):
 *
 *	{"op":"info"}
 *	{"op":"block","m":3,"b":30,"rounds":200 |
 *"seconds":20,"stage_time_scale":1.0,"mode":"paced"}
 *	{"op":"serve","m":3,"b":30,"rate_per_s":20,"seconds":30,"warm_s":5,"seed":1,
 *	 "prompt":[8,64],"output":[16,64],"ttft_limit_ms":500,"tpot_limit_ms":150,
 *	 "stage_time_scale":1.0,"mode":"paced"}
 *	{"op":"congestion","name":"cubic"}
 *
 * An answer holds "error", a sentence, or the result; see README.md for its fields.
 */
#ifndef GODWIT_BENCH_LOSS_ORDERS_H
#define GODWIT_BENCH_LOSS_ORDERS_H

#include "bench/loss/head.h"

/* Binds the path, replacing a socket that nobody answers. 0 and the descriptor; negative errno. */
int gw_orders_listen(const char *path, int *ret_fd);
/* Serves clients for ever. */
void gw_orders_serve(struct gw_head *head, int listen_fd);

#endif
