/* eigen.c - see eigen.h: reflections bring the matrix to tridiagonal form, implicitly shifted
 * rotations make that diagonal (Golub & Van Loan, Matrix Computations, sections 8.3.1 and 8.3.3).
 * A matrix of 64 x 64 takes a tenth of the arithmetic of Jacobi's method.
 *
 * Both kinds of steps are multiplied onto `vectors` from the left, which starts as the unit matrix:
 * every operation on it works along its rows. */
#include "distill/eigen.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static double *row_of(double *matrix, int n, int row)
{
    return matrix + (size_t)row * (size_t)n;
}

static void make_unit(int n, double *matrix)
{
    memset(matrix, 0, (size_t)n * (size_t)n * sizeof(double));
    for (int i = 0; i < n; i++)
        row_of(matrix, n, i)[i] = 1;
}

/* ---- to tridiagonal form ---- */

/* The vector v of the reflection 1 - 2 v v' / v'v that makes column k zero below row k + 1, where
 * it leaves *left. Returns v'v, or 0 when there is nothing to do. */
static double reflector(int n, double *a, int k, double *v, double *left)
{
    double rest = 0;
    memset(v, 0, (size_t)n * sizeof(double));
    for (int i = k + 1; i < n; i++) {
        v[i] = row_of(a, n, i)[k];
        rest += i > k + 1 ? v[i] * v[i] : 0;
    }
    if (rest == 0)
        return 0;
    const double norm = sqrt(rest + v[k + 1] * v[k + 1]);
    *left = v[k + 1] > 0 ? -norm : norm;
    v[k + 1] -= *left;
    return rest + v[k + 1] * v[k + 1];
}

/* a becomes H a H = a - v q' - q v' in rows and columns from k + 1 on. */
static void reflect_both(int n, double *a, int k, const double *v, double vv, double *q)
{
    double along = 0;
    for (int i = k + 1; i < n; i++) {
        double sum = 0;
        for (int j = k + 1; j < n; j++)
            sum += row_of(a, n, i)[j] * v[j];
        q[i] = 2 * sum / vv;
        along += v[i] * q[i] / vv;
    }
    for (int i = k + 1; i < n; i++)
        q[i] -= along * v[i];
    for (int i = k + 1; i < n; i++)
        for (int j = k + 1; j < n; j++)
            row_of(a, n, i)[j] -= v[i] * q[j] + q[i] * v[j];
}

/* w becomes H w. */
static void reflect_rows(int n, double *w, int k, const double *v, double vv, double *sums)
{
    memset(sums, 0, (size_t)n * sizeof(double));
    for (int i = k + 1; i < n; i++)
        for (int j = 0; j < n; j++)
            sums[j] += v[i] * row_of(w, n, i)[j];
    for (int i = k + 1; i < n; i++)
        for (int j = 0; j < n; j++)
            row_of(w, n, i)[j] -= 2 / vv * v[i] * sums[j];
}

static void make_tridiagonal(int n, double *a, double *w, double *scratch)
{
    double *v = scratch, *q = scratch + n;
    for (int k = 0; k + 2 < n; k++) {
        double left, vv = reflector(n, a, k, v, &left);
        if (vv == 0)
            continue;
        reflect_both(n, a, k, v, vv, q);
        reflect_rows(n, w, k, v, vv, q);
        row_of(a, n, k + 1)[k] = left;
    }
}

/* ---- from tridiagonal to diagonal: d on the diagonal, e beside it ---- */

static void rotate_rows(int n, double *w, int k, double c, double s)
{
    double *x = row_of(w, n, k), *y = row_of(w, n, k + 1);
    for (int j = 0; j < n; j++) {
        const double was = x[j];
        x[j] = c * was + s * y[j];
        y[j] = c * y[j] - s * was;
    }
}

/* The eigenvalue of the last 2 x 2 that is nearer to its last number. */
static double shift_of(const double *d, const double *e, int last)
{
    const double half = (d[last - 1] - d[last]) / 2, beside = e[last - 1];
    const double root = half < 0 ? -hypot(half, beside) : hypot(half, beside);
    return d[last] - beside * (beside / (half + root));
}

/* One sweep of rotations over rows first..last, which no zero in e divides. */
static void sweep(int n, double *d, double *e, double *w, int first, int last)
{
    double x = d[first] - shift_of(d, e, last), z = e[first];
    for (int k = first; k < last; k++) {
        const double r = hypot(x, z), c = r > 0 ? x / r : 1, s = r > 0 ? z / r : 0;
        const double a = d[k], b = e[k], g = d[k + 1];
        if (k > first)
            e[k - 1] = r;
        d[k] = c * c * a + 2 * c * s * b + s * s * g;
        d[k + 1] = s * s * a - 2 * c * s * b + c * c * g;
        e[k] = (c * c - s * s) * b + c * s * (g - a);
        x = e[k];
        if (k + 1 < last) {
            z = s * e[k + 1];
            e[k + 1] *= c;
        }
        rotate_rows(n, w, k, c, s);
    }
}

static double largest_of(int n, const double *d, const double *e)
{
    double largest = 0;
    for (int i = 0; i < n; i++)
        largest = fmax(largest, fabs(d[i]) + (i + 1 < n ? fabs(e[i]) : 0));
    return largest;
}

/* Two or three sweeps per value are usual; the limit is for numbers that are not finite. */
static void make_diagonal(int n, double *d, double *e, double *w)
{
    const double nothing = 1e-16 * largest_of(n, d, e);
    int last = n - 1;
    for (int left = 50 * n; last > 0 && left > 0; left--) {
        if (fabs(e[last - 1]) <= nothing) {
            last--;
            continue;
        }
        int first = last - 1;
        while (first > 0 && !(fabs(e[first - 1]) <= nothing))
            first--;
        sweep(n, d, e, w, first, last);
    }
}

static void sort_descending(int n, double *values, double *vectors)
{
    for (int i = 0; i < n; i++) {
        int best = i;
        for (int j = i + 1; j < n; j++)
            best = values[j] > values[best] ? j : best;
        const double value = values[i];
        values[i] = values[best];
        values[best] = value;
        double *x = row_of(vectors, n, i), *y = row_of(vectors, n, best);
        for (int j = 0; best != i && j < n; j++) {
            const double was = x[j];
            x[j] = y[j];
            y[j] = was;
        }
    }
}

void eigen_symmetric(int n, double *matrix, double *values, double *vectors, double *scratch)
{
    double *beside = scratch + 2 * (size_t)n;
    make_unit(n, vectors);
    make_tridiagonal(n, matrix, vectors, scratch);
    for (int i = 0; i < n; i++) {
        values[i] = row_of(matrix, n, i)[i];
        beside[i] = i + 1 < n ? row_of(matrix, n, i + 1)[i] : 0;
    }
    make_diagonal(n, values, beside, vectors);
    sort_descending(n, values, vectors);
}
