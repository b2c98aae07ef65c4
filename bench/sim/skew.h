/*
 * Version skew: what the version before this one knows of a message. A process of that version
 * neither sends the fields that came later nor understands them, and agrees on an older protocol.
 */
#ifndef GODWIT_BENCH_SIM_SKEW_H
#define GODWIT_BENCH_SIM_SKEW_H

#include <protobuf-c/protobuf-c.h>

/* Takes the newer fields out of the message and of all that is in it. */
void sim_skew_strip(ProtobufCMessage *message);

#endif
