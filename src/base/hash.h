/* hash.h - a 64-bit fingerprint of bytes (FNV-1a), to prove that something did not change.
 * Not a defence against an adversary. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* Continue `hash` (HASH_START at first) over `size` bytes. */
static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* The same over whole words of 8 bytes, several times as fast; another value than hash_bytes. */
static inline uint64_t hash_words(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    size_t i = 0;
    for (; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x100000001b3);
        hash ^= hash >> 32; /* high bits of a word reach the low bits of the sum */
    }
    return hash_bytes(hash, bytes + i, size - i);
}

#endif
