/* eigen.h - eigenvalues and eigenvectors of small symmetric matrices, in double. */
#ifndef DISTILL_EIGEN_H
#define DISTILL_EIGEN_H

/* Doubles of scratch for a matrix of n x n. */
enum { EIGEN_SCRATCH = 3 };

/*   matrix  [in, destroyed] (n, n), symmetric
 *   values  [out] (n), descending
 *   vectors [out] (n, n), a unit vector per row, orthogonal to the others
 *   scratch [tmp] (EIGEN_SCRATCH * n)
 * Errors are those of a change of the matrix by its norm times a few 1e-16. The same matrix gives
 * the same bits. Numbers that are not finite give numbers that are not finite, in bounded time. */
void eigen_symmetric(int n, double *matrix, double *values, double *vectors, double *scratch);

#endif
