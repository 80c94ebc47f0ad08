/* singular.c - see singular.h.
 *
 * The way back. v[q] is an eigenvector of G = X'X to the value a[q] = s[q]^2, and when G changes,
 *
 *     dv[q] = sum over the other directions j of v[j] (v[j]' dG v[q]) / (a[q] - a[j])
 *
 * over all `columns` directions: those beyond the rank have a = 0. With dG = dX'X + X'dX and the
 * gradient g by v[q] this is
 *
 *     dL/dX = (X v[q]) w' + (X w) v[q]',     w = sum over j of f(a[q] - a[j]) v[j] (v[j]' g)
 *
 * with f(d) = 1 / d. Two equal values have no vectors of their own, and 1 / d no bound: here
 * f(d) = d / (d^2 + e^2), e = 1e-4 of the largest a. It differs from 1 / d by less than a
 * thousandth where values are further apart than 0.0032 of the largest, and is never above 5000
 * / a[0].
 *
 * With fewer rows than columns only the eigenvectors u of XX' are known. As v[j] v[j]' is
 * X'u[j] u[j]'X / a[j], for g without its part along v[q],
 *
 *     w = f(a[q]) g + X' sum over j of h[j] u[j] (u[j]' X g)
 *     h[j] = (f(a[q] - a[j]) - f(a[q])) / a[j]
 *          = (a[q]^2 - a[q] a[j] - e^2) / (((a[q] - a[j])^2 + e^2) (a[q]^2 + e^2))
 *
 * which asks for no direction of a value that is next to nothing. */
#include "distill/singular.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "distill/eigen.h"

static const double LEAST_SQUARE = 1e-10, BLUR = 1e-4;

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Scratch: of the eigenproblem, or four vectors as long as the longer side. */
static size_t scratch_doubles(int rows, int columns)
{
    const size_t longer = (size_t)(rows > columns ? rows : columns);
    return (EIGEN_SCRATCH > 4 ? EIGEN_SCRATCH : 4) * longer;
}

size_t singular_doubles(int rows, int columns, int wanted)
{
    const size_t small = (size_t)least(rows, columns);
    return small + (size_t)least(wanted, (int)small) * (size_t)columns + 2 * small * small +
           scratch_doubles(rows, columns);
}

void singular_place(struct singular *singular, int rows, int columns, int wanted, double *storage)
{
    const int small = least(rows, columns);
    *singular = (struct singular){
        .rows = rows, .columns = columns, .small = small, .wanted = least(wanted, small)};
    singular->squares = storage;
    singular->v = singular->squares + small;
    singular->vectors = singular->v + (size_t)singular->wanted * (size_t)columns;
    singular->matrix = singular->vectors + (size_t)small * (size_t)small;
    singular->scratch = singular->matrix + (size_t)small * (size_t)small;
}

static bool is_wide(const struct singular *singular)
{
    return singular->columns > singular->rows;
}

static const float *row_of(const struct singular *singular, int row)
{
    return singular->x + (size_t)row * (size_t)singular->columns;
}

/* ---- finding ---- */

/* X'X, row after row of X. */
static void multiply_columns(const struct singular *singular)
{
    const int n = singular->columns;
    for (int p = 0; p < singular->rows; p++) {
        const float *x = row_of(singular, p);
        for (int i = 0; i < n; i++) {
            double *sums = singular->matrix + (size_t)i * (size_t)n;
            const double xi = x[i];
            if (xi == 0) /* half of the numbers behind a ReLU */
                continue;
            for (int j = 0; j < n; j++)
                sums[j] += xi * x[j];
        }
    }
}

static void multiply_rows(const struct singular *singular)
{
    for (int i = 0; i < singular->rows; i++)
        for (int j = 0; j <= i; j++) {
            const float *x = row_of(singular, i), *y = row_of(singular, j);
            double sum = 0;
            for (int c = 0; c < singular->columns; c++)
                sum += (double)x[c] * y[c];
            singular->matrix[(size_t)i * (size_t)singular->rows + (size_t)j] = sum;
            singular->matrix[(size_t)j * (size_t)singular->rows + (size_t)i] = sum;
        }
}

/* out (columns) += X' in (rows) */
static void add_transposed(const struct singular *singular, const double *in, double *out)
{
    for (int p = 0; p < singular->rows; p++) {
        const float *x = row_of(singular, p);
        for (int c = 0; c < singular->columns; c++)
            out[c] += in[p] * x[c];
    }
}

static double dot(const double *a, const double *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static double *vector_of(const struct singular *singular, int q)
{
    return singular->v + (size_t)q * (size_t)singular->columns;
}

static const double *eigenvector_of(const struct singular *singular, int j)
{
    return singular->vectors + (size_t)j * (size_t)singular->small;
}

static void make_vector(const struct singular *singular, int q)
{
    double *v = vector_of(singular, q);
    const int columns = singular->columns;
    if (!is_wide(singular)) {
        memcpy(v, eigenvector_of(singular, q), (size_t)columns * sizeof(double));
        return;
    }
    memset(v, 0, (size_t)columns * sizeof(double));
    add_transposed(singular, eigenvector_of(singular, q), v);
    const double norm = sqrt(dot(v, v, columns));
    for (int c = 0; c < columns; c++)
        v[c] /= norm;
}

void singular_find(struct singular *singular, const float *x)
{
    const size_t small = (size_t)singular->small;
    singular->x = x;
    memset(singular->matrix, 0, small * small * sizeof(double));
    if (is_wide(singular))
        multiply_rows(singular);
    else
        multiply_columns(singular);
    eigen_symmetric(singular->small, singular->matrix, singular->squares, singular->vectors,
                    singular->scratch);
    /* said so that numbers that are not finite count as found, and are seen */
    const double nothing = LEAST_SQUARE * singular->squares[0];
    int found = 0;
    while (found < singular->wanted &&
           !(singular->squares[found] <= 0 || singular->squares[found] <= nothing))
        make_vector(singular, found++);
    singular->found = found;
}

/* ---- the way back ---- */

/* d / (d^2 + e^2) */
static double inverse(double d, double blur)
{
    return d / (d * d + blur * blur);
}

/* w from g, of which there is nothing along v[q]. */
static void turn_tall(const struct singular *singular, int q, double blur, const double *g,
                      double *w)
{
    for (int j = 0; j < singular->small; j++) {
        const double *v = eigenvector_of(singular, j);
        const double gap = singular->squares[q] - singular->squares[j];
        const double part = j == q ? 0 : inverse(gap, blur) * dot(v, g, singular->columns);
        for (int c = 0; c < singular->columns; c++)
            w[c] += part * v[c];
    }
}

static void turn_wide(const struct singular *singular, int q, double blur, const double *g,
                      double *w, double *xg, double *sum)
{
    const double a = singular->squares[q], e = blur * blur;
    memset(sum, 0, (size_t)singular->rows * sizeof(double));
    for (int p = 0; p < singular->rows; p++) {
        xg[p] = 0;
        for (int c = 0; c < singular->columns; c++)
            xg[p] += row_of(singular, p)[c] * g[c];
    }
    for (int j = 0; j < singular->small; j++) {
        const double *u = eigenvector_of(singular, j);
        const double b = singular->squares[j], gap = a - b;
        const double part = j == q ? 0
                                   : (a * a - a * b - e) / ((gap * gap + e) * (a * a + e)) *
                                         dot(u, xg, singular->rows);
        for (int p = 0; p < singular->rows; p++)
            sum[p] += part * u[p];
    }
    for (int c = 0; c < singular->columns; c++)
        w[c] = inverse(a, blur) * g[c];
    add_transposed(singular, sum, w);
}

void singular_back(const struct singular *singular, int q, const double *gradient, double *diff)
{
    const int columns = singular->columns;
    const size_t longer = (size_t)(singular->rows > columns ? singular->rows : columns);
    double *g = singular->scratch, *w = g + longer, *xg = w + longer, *sum = xg + longer;
    const double *v = vector_of(singular, q);
    const double blur = BLUR * singular->squares[0], along = dot(gradient, v, columns);
    for (int c = 0; c < columns; c++) {
        g[c] = gradient[c] - along * v[c];
        w[c] = 0;
    }
    if (is_wide(singular))
        turn_wide(singular, q, blur, g, w, xg, sum);
    else
        turn_tall(singular, q, blur, g, w);
    for (int p = 0; p < singular->rows; p++) {
        double xv = 0, xw = 0;
        const float *x = row_of(singular, p);
        for (int c = 0; c < columns; c++) {
            xv += x[c] * v[c];
            xw += x[c] * w[c];
        }
        for (int c = 0; c < columns; c++)
            diff[(size_t)p * (size_t)columns + (size_t)c] += xv * w[c] + xw * v[c];
    }
}
