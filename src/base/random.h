/* random.h - counter-based random numbers.
 *
 * A number is a pure function of (seed, purpose, a, b, index): nothing is stored and nothing
 * advances, so results depend neither on the number of threads nor on what was drawn before, and a
 * resumed run draws what the uninterrupted one would have drawn.
 * The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011): key = seed and purpose, counter = (a, b, index). */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

/* What a stream of numbers is for; streams of different purposes are independent. */
enum random_purpose {
    RANDOM_WEIGHTS = 1, /* a = parameter */
    RANDOM_SHUFFLE,     /* a = epoch */
    RANDOM_AUGMENT,     /* a = epoch, b = image */
    RANDOM_DROPOUT,     /* a = step, b = layer */
    RANDOM_ENSEMBLE,    /* a = step */
    RANDOM_TEST,
    RANDOM_VIEW,        /* a = view, b = image */
    RANDOM_VIEW_OFFSET, /* b = image */
    RANDOM_SPLIT,       /* a = class, or 0 */
    RANDOM_MIX,         /* a = epoch, b = image */
};

struct random_stream {
    uint32_t key[2], a, b;
};

struct random_stream random_stream(uint64_t seed, enum random_purpose purpose, uint32_t a,
                                   uint32_t b);

/* Four independent 32-bit numbers of counter `index`. */
void random_bits4(const struct random_stream *stream, uint64_t index, uint32_t bits[4]);

uint32_t random_bits(const struct random_stream *stream, uint64_t index);
/* Uniform in [0, limit), limit > 0; the bias is below limit / 2^64. */
uint32_t random_below(const struct random_stream *stream, uint64_t index, uint32_t limit);
/* Standard normal (Box-Muller). */
double random_normal(const struct random_stream *stream, uint64_t index);

/* The permutation of 0 .. count-1 that the stream determines (Fisher-Yates), count < 2^32. */
void random_permutation(const struct random_stream *stream, uint32_t count, uint32_t *order);

#endif
