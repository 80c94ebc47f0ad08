/* memory.h - the two ways in which retort owns memory.
 *
 * memory_aligned: one block for numbers, aligned for vector loads and oneDNN.
 * arena: many small things that live and die together (a graph's nodes, a recipe's strings);
 *        grows as needed, is released as a whole, never gives single pieces back. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

#include "base/status.h"

enum { MEMORY_ALIGNMENT = 64 };

/* bytes rounded up to a multiple of MEMORY_ALIGNMENT. */
size_t memory_round(size_t bytes);

/* A zeroed block of at least 1 byte at a multiple of MEMORY_ALIGNMENT; release it with free(). */
enum retort_status memory_aligned(size_t bytes, void **block);

/* Resident bytes of the process at its largest so far. */
size_t memory_peak(void);

/* An ordinary zeroed block of count * size bytes (overflow is an error); release it with free(). */
enum retort_status memory_zeroed(size_t count, size_t size, void **block);

struct arena_block;

struct arena {
    struct arena_block *blocks; /* a zeroed struct is a valid empty arena */
};

/* Zeroed, aligned to 16 bytes, owned by the arena. NULL when memory is out: no sentence is
 * recorded, see arena_take. */
void *arena_get(struct arena *arena, size_t bytes);

/* The same with a status. */
enum retort_status arena_take(struct arena *arena, size_t bytes, void **piece);

/* A copy of text, or of its first `bytes` bytes, with a terminating zero; NULL when memory is out.
 */
char *arena_text(struct arena *arena, const char *text);
char *arena_text_n(struct arena *arena, const char *text, size_t bytes);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Releases every piece; the arena is empty again and can be used anew. */
void arena_release(struct arena *arena);

#endif
