/* report.h - runs as a page for people, and which runs there are.
 *
 *     const char *folders[] = {"runs/demo"};
 *     char *path;
 *     if (retort_report(folders, 1, NULL, &path) == RETORT_OK)
 *         printf("%s\n", path), free(path);
 *
 * Only run folders are read; runs that are going on, were stopped or were made by earlier versions
 * give a page with what there is. */
#ifndef RETORT_REPORT_H
#define RETORT_REPORT_H

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Write one HTML file that loads nothing else. A folder of several seeds (retort/repeat.h) stands
 * for its runs. file NULL: report.html in the first folder. path [out] where it is, the caller
 * frees it; NULL: not wanted. */
RETORT_API enum retort_status retort_report(const char *const *folders, int count, const char *file,
                                            char **path);

enum retort_run_state {
    RETORT_RUN_DONE,
    RETORT_RUN_RUNNING, /* a process of this machine works on it */
    RETORT_RUN_STOPPED, /* part and epoch say where; retort run --resume goes on */
    RETORT_RUN_DAMAGED, /* what it has written cannot be read: `fault` says why */
};

struct retort_run_entry {
    char *folder, *name; /* name: the recipe's */
    char *fault;         /* a sentence; NULL unless it is damaged */
    enum retort_run_state state;
    char part[32];                     /* that was trained last; "" when nothing was yet */
    int epoch, epochs;                 /* of it; whole epochs that are done */
    double teacher, baseline, student; /* top-1 in percent; teachers: their mean; -1: unknown */
    double seconds;                    /* of training */
};

struct retort_run_list {
    int count;
    struct retort_run_entry *entries; /* sorted by folder */
};

/* The runs in a folder and in all folders below it. */
RETORT_API enum retort_status retort_list_runs(const char *folder, struct retort_run_list *list);
/* Accepts a zeroed struct. */
RETORT_API void retort_run_list_release(struct retort_run_list *list);

#ifdef __cplusplus
}
#endif
#endif
