/*
 * TCP connections under libzmq, which owns their descriptors: it may close one at any time, and its
 * number may then be another connection's. So each use asks first whose it is.
 */
#ifndef GODWIT_TRANSPORT_TCP_H
#define GODWIT_TRANSPORT_TCP_H

#include <stdbool.h>
#include <sys/socket.h>

struct gw_tcp {
	int fd;                       /* -1: none known */
	struct sockaddr_storage peer; /* whose it was when it was taken */
	socklen_t peer_size;
};

/* Notes the connection that has this descriptor now; -1: none. */
void gw_tcp_take(struct gw_tcp *tcp, int fd);
/* Whether the descriptor is still that connection's. */
bool gw_tcp_stands(const struct gw_tcp *tcp);
/* Whether the descriptor is that of a connection of the host with this numeric address; NULL: no.
 * One of the same host that is shut in the right one's place connects again. */
bool gw_tcp_is_of(int fd, const char *address);
/* Ends the connection; libzmq sees it end. */
void gw_tcp_shut(int fd);

#endif
