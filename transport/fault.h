/* One sentence for a person: what could not be done, with what, and why. */
#ifndef GODWIT_TRANSPORT_FAULT_H
#define GODWIT_TRANSPORT_FAULT_H

struct gw_fault {
	char text[640];
};

/* As printf; a text too long is cut. `fault` may be NULL. */
void gw_fault_set(struct gw_fault *fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
