/* failing.h - let an allocation fail. For programs of tests that meson.build links with --wrap.
 *
 * Reached are the allocations of retort's own objects and jansson's; what other libraries allocate
 * inside is not, but that they cannot begin is. In these programs fsync does nothing: thousands of
 * files are written, none of which is to last. */
#ifndef TESTS_FAILING_H
#define TESTS_FAILING_H

#include <stdbool.h>

/* From now on the allocation after n others fails, and, if the memory stays out, all later ones. n
 * below 0: none does. */
void failing_begin(long n, bool stays_out);

/* No more. Did one fail? */
bool failing_end(void);

#endif
