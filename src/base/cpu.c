/* cpu.c - instruction-set level and floating-point mode. */
#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static enum cpu_level limit = CPU_LEVEL_COUNT - 1;
static bool without_matrix_units;

static enum cpu_level detect(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return CPU_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return CPU_avx2;
#endif
    return CPU_plain;
}

enum cpu_level cpu_level(void)
{
    enum cpu_level found = detect();
    return found < limit ? found : limit;
}

bool cpu_bf16(void)
{
#if defined(__x86_64__)
    return cpu_level() == CPU_avx512 && __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

#if defined(__x86_64__) && defined(__linux__)
/* Their registers are large, so that Linux saves them only for processes that asked. */
static bool get_matrix_units(void)
{
    enum { LEAF = 7, TILE = 1 << 24, BF16 = 1 << 22, REQUEST = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(LEAF, 0, &a, &b, &c, &d) && (d & TILE) && (d & BF16) &&
           syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

bool cpu_matrix_units(void)
{
    enum { UNKNOWN, NO, YES };
    static atomic_int found = UNKNOWN;
    int known = found;
    if (known == UNKNOWN)
        found = known = get_matrix_units() ? YES : NO;
    return known == YES && !without_matrix_units && cpu_level() == CPU_avx512;
}
#else
bool cpu_matrix_units(void)
{
    return false;
}
#endif

void cpu_limit_matrix_units(bool without)
{
    without_matrix_units = without;
}

void cpu_limit(enum cpu_level level)
{
    limit = level;
}

const char *cpu_level_name(enum cpu_level level)
{
    static const char *const names[] = {
#define CPU_NAME(level, features) #level,
        CPU_LEVELS(CPU_NAME)
#undef CPU_NAME
    };
    return names[level];
}

void cpu_flush_denormals(void)
{
#if defined(__x86_64__)
    enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };
#pragma omp parallel
    _mm_setcsr(_mm_getcsr() | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
#elif defined(__aarch64__)
#pragma omp parallel
    {
        unsigned long mode;
        __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
        __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1ul << 24));
    }
#endif
}
