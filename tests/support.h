/* support.h - what the tests share. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* cmocka's macro fail() would hide base/status.h's function, and its fail_msg() is made of it. */
#undef fail
#undef fail_msg
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        print_error(__VA_ARGS__);                                                                  \
        print_error("\n");                                                                         \
        _fail(__FILE__, __LINE__);                                                                 \
    } while (0)

#include "base/status.h"

/* Fails with the recorded sentence when a call did not succeed. */
#define assert_ok(expression)                                                                      \
    do {                                                                                           \
        if ((expression) != RETORT_OK)                                                             \
            fail_msg("%s: %s", #expression, retort_message());                                     \
    } while (0)

/* Fails unless the call failed with this status and its sentence holds `text`. */
#define assert_fails(expression, wanted, text)                                                     \
    support_fails((expression), (wanted), (text), #expression, __LINE__)
void support_fails(enum retort_status found, enum retort_status wanted, const char *text,
                   const char *what, int line);

/* A path below a fresh temporary folder of this test program (removed at its end). Static buffer of
 * several slots. */
const char *support_path(const char *name);

/* A path below the folder of outside reference vectors, or NULL when it is absent (then skip()). */
const char *support_golden(const char *name);

/* Largest |a[i] - b[i]|; NaN anywhere gives infinity. */
double support_difference(const float *a, const float *b, size_t count);

#endif
