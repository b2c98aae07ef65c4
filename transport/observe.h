/*
 * What a server's sockets see that an operator may want to know afterwards. They tell it and go on;
 * what becomes of it (a line of the log, a limit on lines) is the daemon's.
 */
#ifndef GODWIT_TRANSPORT_OBSERVE_H
#define GODWIT_TRANSPORT_OBSERVE_H

enum gw_observed {
	GW_OBSERVED_SESSION_OPEN,
	GW_OBSERVED_SESSION_CLOSED,
	GW_OBSERVED_KEY_REFUSED, /* at the CURVE handshake */
	GW_OBSERVED_JOINED,
	GW_OBSERVED_JOIN_REFUSED,
	GW_OBSERVED_REVOKED,
	GW_OBSERVED_KINDS,
};

/* `who`: a name of the region, or a CURVE key in hexadecimal where there is none. `why`: a
 * sentence, or empty. Both hold during the call only. */
typedef void gw_observe_f(void *context, enum gw_observed what, const char *who, const char *why);

#endif
