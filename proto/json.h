/* Any message as JSON: every field by its name in the .proto (of a oneof the one that is set), job
 * ids in their text form, other bytes in hexadecimal, names of enums in lower case. */
#ifndef GODWIT_PROTO_JSON_H
#define GODWIT_PROTO_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* A new reference; NULL: no memory. */
json_t *gw_json_message(const ProtobufCMessage *message);

#endif
