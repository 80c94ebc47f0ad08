/* status.h - how every fallible function of libretort reports.
 *
 * A function returns RETORT_OK or what kind of thing went wrong; the sentence that names the thing,
 * the value found and the value wanted is kept for the calling thread until its next failure.
 * The library never prints and never exits. Out-parameters are written on success only. */
#ifndef RETORT_STATUS_H
#define RETORT_STATUS_H

/* Marks what libretort exports; all else is hidden. */
#define RETORT_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum retort_status {
    RETORT_OK = 0,
    RETORT_IO,      /* the operating system refused: open, read, write, no space */
    RETORT_FORMAT,  /* a file's content is not what its format demands */
    RETORT_INVALID, /* a request makes no sense: unknown name, value out of range, shapes that do
                       not fit */
    RETORT_MEMORY,  /* an allocation failed */
    RETORT_UNSUPPORTED, /* this machine or build cannot do it */
    RETORT_BACKEND,     /* oneDNN failed */
    RETORT_STOPPED,     /* the caller's listener asked to stop */
};

/* The sentence of this thread's last failure; "" if none. Borrowed, valid until the next failure.
 */
RETORT_API const char *retort_message(void);

#ifdef __cplusplus
}
#endif
#endif
