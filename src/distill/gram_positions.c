/* gram_positions.c - the formulas of gram_positions.h. */
#include "distill/gram_positions.h"

#include <string.h>

/* The five matrices of a map, in the order in which they lie in dots. */
enum {
    STUDENT_STUDENT, /* S.S */
    STUDENT_GAP,     /* S.E */
    GAP_GAP,         /* E.E */
    OF_GAP,          /* sum over partners of factor * their S.S: what E is multiplied by */
    OF_TEACHER,      /* sum over partners of factor * their S.E: what T is multiplied by */
};

static float *dots_of(const struct gram_gap *map, int which)
{
    const size_t positions = (size_t)map->student.positions;
    return map->dots + (size_t)which * positions * positions;
}

static struct gram_panel gap_panel(const struct gram_gap *map)
{
    return (struct gram_panel){map->gap, map->student.blocks, map->student.positions, false};
}

void gram_gap_open(const struct gram_kernels *kernels, const struct gram_gap *map)
{
    const size_t positions = (size_t)map->student.positions;
    const size_t floats = (size_t)map->student.blocks * positions * GRAM_LANES;
    for (size_t i = 0; i < floats; i++)
        map->gap[i] = map->student.data[i] - map->teacher.data[i];
    const struct gram_panel gap = gap_panel(map);
    kernels->dots(&map->student, &map->student, dots_of(map, STUDENT_STUDENT));
    kernels->dots(&map->student, &gap, dots_of(map, STUDENT_GAP));
    kernels->dots(&gap, &gap, dots_of(map, GAP_GAP));
    memset(dots_of(map, OF_GAP), 0, 2 * positions * positions * sizeof(float));
}

static void note(const struct gram_gap *map, const struct gram_gap *partner, float factor)
{
    const size_t count = (size_t)map->student.positions * (size_t)map->student.positions;
    const float *ss = dots_of(partner, STUDENT_STUDENT), *se = dots_of(partner, STUDENT_GAP);
    float *of_gap = dots_of(map, OF_GAP), *of_teacher = dots_of(map, OF_TEACHER);
    for (size_t i = 0; i < count; i++) {
        of_gap[i] += factor * ss[i];
        of_teacher[i] += factor * se[i];
    }
}

/* With T = S - E: E.T[p][q] = S.E[q][p] - E.E[p][q], T.T = S.S - S.E - E.S + E.E. */
static double squares(const struct gram_gap *a, const struct gram_gap *b)
{
    const size_t positions = (size_t)a->student.positions;
    const float *a_ss = dots_of(a, STUDENT_STUDENT), *b_ss = dots_of(b, STUDENT_STUDENT);
    const float *a_se = dots_of(a, STUDENT_GAP), *b_se = dots_of(b, STUDENT_GAP);
    const float *a_ee = dots_of(a, GAP_GAP), *b_ee = dots_of(b, GAP_GAP);
    double sum = 0;
    for (size_t p = 0; p < positions; p++)
        for (size_t q = 0; q < positions; q++) {
            const size_t at = p * positions + q, across = q * positions + p;
            double a_et = (double)a_se[across] - a_ee[at];
            double a_tt = (double)a_ss[at] - a_se[at] - a_et;
            sum += (double)a_ee[at] * b_ss[at] + 2 * a_et * b_se[at] + a_tt * b_ee[at];
        }
    return sum;
}

double gram_gap_pair(const struct gram_gap *a, const struct gram_gap *b, float factor)
{
    note(a, b, factor);
    note(b, a, factor);
    return squares(a, b);
}

void gram_gap_close(const struct gram_kernels *kernels, const struct gram_gap *map, float *diff,
                    bool add)
{
    const struct gram_panel gap = gap_panel(map);
    kernels->blend(&gap, dots_of(map, OF_GAP), &map->teacher, dots_of(map, OF_TEACHER), diff, add);
}
