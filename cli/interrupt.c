/* interrupt.c - see interrupt.h. */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

static volatile sig_atomic_t asked; /* the signal's number */

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What ends a job tends to signal the process and then its group: that is one wish. Whoever asks
 * again later has lost patience. */
static void ask(int number)
{
    enum { SAME_WISH_MS = 1000 };
    static int64_t first; /* each signal is held back while the other one is here */
    if (asked && milliseconds() - first > SAME_WISH_MS) {
        signal(number, SIG_DFL);
        raise(number);
    } else if (!asked) {
        first = milliseconds();
        asked = number;
    }
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = ask, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int interrupt_asked(void)
{
    return asked;
}
