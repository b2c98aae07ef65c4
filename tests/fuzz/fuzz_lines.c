/* Arbitrary bytes as the small text files that hold keys, regions and tickets. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "transport/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char name[GW_NAME_BYTES_MAX + 1] = "";
	uint8_t key[GW_KEY_BYTES];
	struct gw_lines lines;
	struct gw_fault fault;
	struct gw_id id;
	int64_t number;
	char text[32] = "";
	int count = 0;
	char *copy = malloc(size + 1);

	CHECK(copy);
	memcpy(copy, bytes, size);
	copy[size] = '\0';
	gw_lines_init(&lines, copy,
		      gw_lines_is(copy, "godwit-test 2") ? "godwit-test 2" : "godwit-test 1");
	gw_lines_name(&lines, "name", true, name);
	gw_lines_key(&lines, "key", key);
	gw_lines_id(&lines, "id", &id);
	gw_lines_number(&lines, "number", &number);
	do
		gw_lines_text(&lines, "text", text, sizeof(text));
	while (count++ < 8 && gw_lines_has(&lines, "text"));
	if (gw_lines_end(&lines, "file", &fault) == 0)
		CHECK(name[0] == '\0' || gw_cert_name_valid(name));
	else
		CHECK(fault.text[0] != '\0');
	free(copy);
	return 0;
}
