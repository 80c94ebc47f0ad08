/* gram_positions.h - the Gram loss of maps with few positions and many channels, without matrices.
 *
 * With S, T the student's and teacher's panels (positions x channels) of taps a and b, and the gap
 * E = S - T, the difference of two matrices has no more rank than twice the positions, and all that
 * is wanted of it comes from dot products of positions, X.Y[p][q] = sum over c of X[p][c] Y[q][c]:
 *
 *     D          = Sa' Sb - Ta' Tb = Ea' Sb + Ta' Eb
 *     ||D||^2    = sum over p, q of Ea.Ea Sb.Sb + 2 Ea.Ta Sb.Eb + Ta.Ta Eb.Eb
 *     dSa = Sb D' = Sb.Sb Ea + Sb.Eb Ta        (and the same with a and b exchanged)
 *
 * Every term has a gap in it, so nothing cancels when the student comes close to its teacher. The
 * products belong to a map, not to a pair: many pairs cost no more than few. The teacher's panels
 * are kept instead of its matrices, which would be far larger. */
#ifndef DISTILL_GRAM_POSITIONS_H
#define DISTILL_GRAM_POSITIONS_H

#include "distill/gram_kernel.h"

/* One map of one image, at the size of the pairs. */
struct gram_gap {
    struct gram_panel student, teacher;
    float *gap;  /* [tmp] a panel */
    float *dots; /* [tmp] five matrices of positions x positions */
};

/* Make the gap and its dot products. First of all, for each map. */
void gram_gap_open(const struct gram_kernels *kernels, const struct gram_gap *map);

/* Return ||D||^2 of a pair and note its part in both gradients, times factor: half the derivative
 * of what is minimised by ||D||^2. */
double gram_gap_pair(const struct gram_gap *a, const struct gram_gap *b, float factor);

/* diff [out] or [add]: the gradient by the student's panel, of all pairs noted. */
void gram_gap_close(const struct gram_kernels *kernels, const struct gram_gap *map, float *diff,
                    bool add);

#endif
