/* singular.h - the first right singular vectors of a map of rows, and the way back to the map.
 *
 * X (rows, columns) = sum over q of s[q] u[q] v[q]', s descending. The vectors v are found as
 * eigenvectors of X'X, or, where there are more columns than rows, by way of those of XX'. Signs
 * are whatever comes out; the same numbers give the same bits. */
#ifndef DISTILL_SINGULAR_H
#define DISTILL_SINGULAR_H

#include <stddef.h>

struct singular {
    int rows, columns, small; /* small: the lesser of the two */
    int wanted;               /* vectors that there is room for, at most small */
    int found;       /* those with a direction: s[q]^2 above 1e-10 of the largest. Of zeros: none */
    const float *x;  /* borrowed from singular_find */
    double *squares; /* (small) s[q]^2, descending */
    double *v;       /* (wanted, columns) unit vectors; those found */
    double *vectors; /* (small, small) eigenvectors of the smaller product, a row each */
    double *matrix;  /* [tmp] (small, small) */
    double *scratch; /* [tmp] */
};

/* Doubles that singular_place gives out. */
size_t singular_doubles(int rows, int columns, int wanted);
/* For maps of this shape; `wanted` is cut to `small`. The numbers lie in storage. */
void singular_place(struct singular *singular, int rows, int columns, int wanted, double *storage);

/* x (rows, columns) stays where it is until singular_back is done. */
void singular_find(struct singular *singular, const float *x);

/* diff (rows, columns) [add] becomes the gradient by x of what has `gradient` (columns) by v[q]. */
void singular_back(const struct singular *singular, int q, const double *gradient, double *diff);

#endif
