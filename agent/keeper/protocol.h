/* Bounds of the keeper's socket protocol (proto/msg/keeper.proto). */
#ifndef GODWIT_AGENT_KEEPER_PROTOCOL_H
#define GODWIT_AGENT_KEEPER_PROTOCOL_H

#define GW_KEEPER_VERSION_MIN 1u
#define GW_KEEPER_VERSION_MAX 1u

/* One datagram. It must pass the kernel's default send buffer (212,992 bytes) whole. */
#define GW_KEEPER_MESSAGE_BYTES_MAX (128u << 10)
#define GW_KEEPER_DECODE_BYTES_MAX (512u << 10) /* arena for one decoded message */

#define GW_KEEPER_CLIENTS_MAX 8u
#define GW_KEEPER_WAITERS_MAX 64u    /* reads held open at once, over all clients */
#define GW_KEEPER_ATTEMPTS_MAX 4096u /* records kept, ended ones included */
#define GW_KEEPER_RUNNING_MAX 1024u  /* attempts at work at once */
#define GW_KEEPER_FENCES_MAX 8192u   /* tasks whose older attempts are refused; oldest forgotten */
#define GW_KEEPER_READ_BYTES_MAX (64u << 10)
#define GW_KEEPER_WAIT_US_MAX 60000000ull

#endif
