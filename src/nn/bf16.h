/* bf16.h - sixteen bf16 numbers to float and back by AVX-512's own instructions: one or two, where
 * shifts and masks take ten.
 *
 * For code of a level with CPU_BF16 on a machine with cpu_bf16() (base/cpu.h). The same numbers as
 * by tensor.h, but that denormals become zero, as they do in arithmetic (cpu_flush_denormals).
 * Assembly, because functions that are compiled for other levels share headers with those that use
 * this. */
#ifndef NN_BF16_H
#define NN_BF16_H

#include <stdint.h>

typedef float bf16_floats __attribute__((vector_size(64)));
typedef uint16_t bf16_halves __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) bf16_floats bf16_widen(bf16_halves halves)
{
    typedef uint32_t bits __attribute__((vector_size(64)));
    bits x = {0};
#if defined(__x86_64__)
    __asm__("vpmovzxwd %1, %0" : "=v"(x) : "vm"(halves));
#else
    __builtin_trap(); /* no level here has CPU_BF16 */
#endif
    return (bf16_floats)(x << 16);
}

static inline __attribute__((always_inline)) bf16_halves bf16_narrow(bf16_floats x)
{
    bf16_halves halves = {0};
#if defined(__x86_64__)
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(x));
#else
    __builtin_trap();
#endif
    return halves;
}

#endif
