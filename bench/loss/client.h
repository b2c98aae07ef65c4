/*
 * The client's side of a head's control socket (orders.h): one connection, one request at a time.
 */
#ifndef GODWIT_BENCH_LOSS_CLIENT_H
#define GODWIT_BENCH_LOSS_CLIENT_H

#include <jansson.h>

#define GW_CLIENT_ERROR_BYTES 256u

struct gw_client {
	int fd;
	char path[108];
};

/* Connects, waiting up to wait_ms for the socket to be there. 0, or negative errno with a sentence
 * in ret_error[GW_CLIENT_ERROR_BYTES]. */
int gw_client_open(struct gw_client *client, const char *path, int wait_ms, char *ret_error);
void gw_client_close(struct gw_client *client);
/* The answer, a new object; NULL with a sentence: the head is gone, silent past wait_ms, or refused
 * (its own sentence). Takes over `request`. */
json_t *gw_client_ask(struct gw_client *client, json_t *request, int wait_ms, char *ret_error);

#endif
