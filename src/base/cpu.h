/* cpu.h - which vector instructions there are, and how a kernel is compiled for each of them.
 *
 * A kernel is written once with GCC's vector extensions as an always-inlined function; CPU_LEVELS
 * makes one wrapper per level, whose target attribute decides the instructions, and a table indexed
 * by cpu_level() picks one at run time. Tests walk through all levels that the machine has. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>

#if defined(__x86_64__)
#define CPU_FEATURES_plain "sse2"
#define CPU_FEATURES_avx2  "avx2,fma,f16c,bmi2"
#define CPU_FEATURES_avx512                                                                        \
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2,prefer-vector-width=512"
#define CPU_LEVELS(X)                                                                              \
    X(plain, CPU_FEATURES_plain) X(avx2, CPU_FEATURES_avx2) X(avx512, CPU_FEATURES_avx512)
#define CPU_TARGET(features) __attribute__((target(features)))
#else
#define CPU_FEATURES_plain ""
#define CPU_LEVELS(X)      X(plain, CPU_FEATURES_plain)
#define CPU_TARGET(features)
#endif

enum cpu_level {
#define CPU_ENUM(level, features) CPU_##level,
    CPU_LEVELS(CPU_ENUM)
#undef CPU_ENUM
        CPU_LEVEL_COUNT
};

/* Levels whose code may use AVX-512 BF16 where the machine has it. */
#define CPU_BF16_plain  0
#define CPU_BF16_avx2   0
#define CPU_BF16_avx512 1
/* Is the level one of them, and does the machine have it? */
bool cpu_bf16(void);
/* May the level's code use matrix units for bf16 (AMX), and does the machine have them? Asks the
 * system for leave to use them, the first time. */
bool cpu_matrix_units(void);

/* The best level of this machine, or the limit if that is lower. */
enum cpu_level cpu_level(void);
/* Use no level above this one from now on (tests). */
void cpu_limit(enum cpu_level level);
/* Do without matrix units from now on, or with them again (tests). */
void cpu_limit_matrix_units(bool without);
const char *cpu_level_name(enum cpu_level level);

/* Treat denormal numbers as zero in the calling thread and the OpenMP threads it uses; they cost a
 * hundred times more than others and mean nothing here. */
void cpu_flush_denormals(void);

#endif
