/* CHECK: a programmer error stops the process, in release builds too. One condition each. */
#ifndef GODWIT_PROTO_BASE_CHECK_H
#define GODWIT_PROTO_BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0)) {                                           \
			(void)fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, \
				      #condition);                                                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define GW_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
