/* support.c - what the tests share. */
#include "support.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

void support_fails(enum retort_status found, enum retort_status wanted, const char *text,
                   const char *what, int line)
{
    if (found != wanted)
        fail_msg("line %d: %s gave status %d (%s), %d was wanted", line, what, found,
                 retort_message(), wanted);
    if (!strstr(retort_message(), text))
        fail_msg("line %d: %s said \"%s\", which does not hold \"%s\"", line, what,
                 retort_message(), text);
}

static char folder[64];

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *support_path(const char *name)
{
    static char slots[8][256];
    static int next;
    if (!folder[0]) {
        strcpy(folder, "/tmp/retort-test-XXXXXX");
        if (!mkdtemp(folder))
            abort();
        atexit(remove_folder);
    }
    char *slot = slots[next++ % 8];
    snprintf(slot, sizeof(slots[0]), "%s/%s", folder, name);
    return slot;
}

const char *support_golden(const char *name)
{
    static char path[512];
    const char *root = getenv("TEST_ROOT");
    snprintf(path, sizeof(path), "%s/../shared/golden/%s", root ? root : ".", name);
    return file_exists(path) ? path : NULL;
}

double support_difference(const float *a, const float *b, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - b[i]);
        if (!(difference <= largest))
            largest = isnan(difference) ? INFINITY : difference;
    }
    return largest;
}
