/* status.h - record a failure where it is found.
 *
 *     if (images != header.count)
 *         return fail(RETORT_FORMAT, "%s: header promises %zu images, file holds %zu", ...);
 *     TRY(file_read(path, &bytes));            returns the callee's status when it is not RETORT_OK
 *
 * The message is per thread. Code that runs in a helper thread hands its message over with
 * retort_message() + fail() in the thread that reports it. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include "retort/status.h"

/* Record a sentence (truncated at about 1,000 bytes) and give the status, as a value that the
 * compiler sees is not RETORT_OK. */
#define fail(status, ...) (status_record(__VA_ARGS__), (status))

/* Put "prefix: " before the recorded sentence and give the status: says where, one level up. */
enum retort_status fail_in(enum retort_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void status_record(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define TRY(expression)                                                                            \
    do {                                                                                           \
        enum retort_status try_status = (expression);                                              \
        if (try_status != RETORT_OK)                                                               \
            return try_status;                                                                     \
    } while (0)

/* The same inside a function that releases what it holds at a label `done`;
 * wants a variable `enum retort_status status`. */
#define TRY_DONE(expression)                                                                       \
    do {                                                                                           \
        status = (expression);                                                                     \
        if (status != RETORT_OK)                                                                   \
            goto done;                                                                             \
    } while (0)

#endif
