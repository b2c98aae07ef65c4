/*
 * A TCP relay in a thread, between a peer under test and its server on loopback: cuts connections
 * on demand, and puts bytes of its own into the stream to the server.
 */
#ifndef GODWIT_TESTS_UNIT_TRANSPORT_RELAY_H
#define GODWIT_TESTS_UNIT_TRANSPORT_RELAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct test_relay {
	int listen_fd;
	uint16_t port; /* to connect to */
	uint16_t server_port;
	pthread_t thread;
	atomic_bool stop;
	atomic_uint cut;           /* grows: connections made before are cut */
	atomic_bool flood;         /* inject the claim of a 1 GiB message */
	atomic_bool server_closed; /* the server hung up during the flood */
	atomic_size_t flooded_bytes;
};

void test_relay_start(struct test_relay *relay, uint16_t server_port);
void test_relay_stop(struct test_relay *relay);
/* -1: nobody there. */
int test_connect_loopback(uint16_t port);
/* A ZMTP frame header that claims 1 GiB, then as much of it as the server takes. */
void test_flood(struct test_relay *relay, int server_fd);

#endif
