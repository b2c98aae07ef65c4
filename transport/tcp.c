/* Whose a descriptor of libzmq's is, and how to end its connection all the same. */
#include "transport/tcp.h"

#include <netdb.h>
#include <string.h>

static bool peer_of(int fd, struct sockaddr_storage *ret_peer, socklen_t *ret_size)
{
	*ret_size = sizeof(*ret_peer);
	memset(ret_peer, 0, sizeof(*ret_peer));
	return fd >= 0 && getpeername(fd, (struct sockaddr *)ret_peer, ret_size) == 0;
}

void gw_tcp_take(struct gw_tcp *tcp, int fd)
{
	tcp->fd = peer_of(fd, &tcp->peer, &tcp->peer_size) ? fd : -1;
}

bool gw_tcp_stands(const struct gw_tcp *tcp)
{
	struct sockaddr_storage peer;
	socklen_t size;

	return peer_of(tcp->fd, &peer, &size) && size == tcp->peer_size &&
	       memcmp(&peer, &tcp->peer, size) == 0;
}

bool gw_tcp_is_of(int fd, const char *address)
{
	struct sockaddr_storage peer;
	char host[NI_MAXHOST];
	socklen_t size;

	return address && peer_of(fd, &peer, &size) &&
	       getnameinfo((struct sockaddr *)&peer, size, host, sizeof(host), NULL, 0,
			   NI_NUMERICHOST) == 0 &&
	       strcmp(host, address) == 0;
}

void gw_tcp_shut(int fd)
{
	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR); /* it may be gone already */
}
