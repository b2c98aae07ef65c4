/* What a Refusal's code says: a peer may act on it, where its text is for people. */
#ifndef GODWIT_PROTO_BASE_REFUSAL_H
#define GODWIT_PROTO_BASE_REFUSAL_H

enum gw_refusal {
	GW_REFUSAL_NONE = 0,
	GW_REFUSAL_PROTOCOL = 1,  /* no common version */
	GW_REFUSAL_IDENTITY = 2,  /* sender is not who the key says, or may not do this */
	GW_REFUSAL_OVERLOAD = 3,  /* too much is waiting; try later */
	GW_REFUSAL_MALFORMED = 4, /* not a message of this protocol */
	GW_REFUSAL_TERM = 5,      /* an agent's: it has heard a leader of a later term */
};

#endif
