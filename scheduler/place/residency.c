/* Matching of ISO 3166 codes by prefix, whole parts only: "CN-G" covers nothing of "CN-GZ". */
#include "scheduler/place/residency.h"

#include <string.h>

bool gw_residency_allows(const char *const *allowed, uint32_t allowed_count, const char *place)
{
	if (allowed_count == 0)
		return true;
	for (uint32_t i = 0; i < allowed_count; i++) {
		size_t size = strlen(allowed[i]);

		if (size > 0 && strncmp(place, allowed[i], size) == 0 &&
		    (place[size] == '\0' || place[size] == '-'))
			return true;
	}
	return false;
}

static bool is_letter(char c)
{
	return c >= 'A' && c <= 'Z';
}

bool gw_residency_valid(const char *code)
{
	size_t size = strlen(code);

	if (size < 2 || size > 6 || !is_letter(code[0]) || !is_letter(code[1]))
		return false;
	if (size == 2)
		return true;
	if (code[2] != '-' || size == 3)
		return false;
	for (size_t i = 3; i < size; i++) {
		if (!is_letter(code[i]) && !(code[i] >= '0' && code[i] <= '9'))
			return false;
	}
	return true;
}
