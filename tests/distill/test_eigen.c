/* test_eigen.c - eigenvectors of small symmetric matrices: what they must be by definition. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "distill/eigen.h"

enum { MOST = 80 };

struct problem {
    int n;
    double matrix[MOST * MOST], values[MOST], vectors[MOST * MOST];
};

static void solve(struct problem *problem)
{
    static double copy[MOST * MOST], scratch[EIGEN_SCRATCH * MOST];
    memcpy(copy, problem->matrix, sizeof(copy));
    eigen_symmetric(problem->n, copy, problem->values, problem->vectors, scratch);
}

static double entry(const struct problem *problem, int i, int j)
{
    return problem->matrix[i * problem->n + j];
}

/* A v = lambda v, v.w = (v == w), descending. */
static void check(const struct problem *problem)
{
    const int n = problem->n;
    double norm = 1e-300;
    for (int i = 0; i < n * n; i++)
        norm = fmax(norm, fabs(problem->matrix[i]) * n);
    for (int k = 0; k < n; k++) {
        const double *v = problem->vectors + k * n;
        assert_true(k == 0 || problem->values[k] <= problem->values[k - 1]);
        for (int i = 0; i < n; i++) {
            double sum = 0, dot = 0;
            for (int j = 0; j < n; j++) {
                sum += entry(problem, i, j) * v[j];
                dot += problem->vectors[i * n + j] * v[j];
            }
            assert_true(fabs(sum - problem->values[k] * v[i]) <= 1e-13 * norm);
            assert_true(fabs(dot - (i == k)) <= 1e-13);
        }
    }
}

static void set(struct problem *problem, int i, int j, double number)
{
    problem->matrix[i * problem->n + j] = problem->matrix[j * problem->n + i] = number;
}

static void random_matrices_are_taken_apart(void **state)
{
    static const int sizes[] = {1, 2, 3, 4, 7, 16, 33, 64, 80};
    static struct problem problem;
    struct random_stream stream = random_stream(4, RANDOM_TEST, 0, 0);
    for (int s = 0; s < 9; s++) {
        problem.n = sizes[s];
        for (int i = 0; i < problem.n; i++)
            for (int j = 0; j <= i; j++)
                set(&problem, i, j, random_normal(&stream, (uint64_t)(i * MOST + j)));
        solve(&problem);
        check(&problem);
    }
}

/* Of rank r, as Gram matrices of few positions are: numbers from 1e6 down to nothing. */
static void matrices_of_low_rank_are_taken_apart(void **state)
{
    static struct problem problem;
    struct random_stream stream = random_stream(5, RANDOM_TEST, 0, 0);
    for (int rank = 0; rank <= 4; rank += 2) {
        problem.n = 40;
        for (int i = 0; i < 40; i++)
            for (int j = 0; j <= i; j++) {
                double sum = 0;
                for (int r = 0; r < rank; r++)
                    sum += pow(10, 6 - 2 * r) * random_normal(&stream, (uint64_t)(100 * r + i)) *
                           random_normal(&stream, (uint64_t)(100 * r + j));
                set(&problem, i, j, sum);
            }
        solve(&problem);
        check(&problem);
        assert_true(fabs(problem.values[rank]) <= 1e-13 * fmax(1, problem.values[0]));
    }
}

/* By hand: [[2, 1], [1, 2]] has 3 and 1; a diagonal is its own, also in equal numbers; the chain of
 * second differences has 2 - 2 cos(pi k / (n + 1)). */
static void values_by_hand(void **state)
{
    static struct problem problem = {.n = 2, .matrix = {2, 1, 1, 2}};
    solve(&problem);
    assert_float_equal(problem.values[0], 3, 1e-14);
    assert_float_equal(problem.values[1], 1, 1e-14);
    assert_float_equal(problem.vectors[0] * problem.vectors[1], 0.5, 1e-14);
    problem.n = 5;
    memset(problem.matrix, 0, sizeof(problem.matrix));
    for (int i = 0; i < 5; i++)
        set(&problem, i, i, i == 3 ? 9 : 2);
    solve(&problem);
    check(&problem);
    assert_true(problem.values[0] == 9 && problem.values[4] == 2);
    problem.n = 9;
    memset(problem.matrix, 0, sizeof(problem.matrix));
    for (int i = 0; i < 9; i++) {
        set(&problem, i, i, 2);
        if (i)
            set(&problem, i, i - 1, -1);
    }
    solve(&problem);
    check(&problem);
    for (int k = 0; k < 9; k++)
        assert_float_equal(problem.values[8 - k], 2 - 2 * cos(M_PI * (k + 1) / 10), 1e-13);
}

static void numbers_that_are_not_finite_do_not_hang(void **state)
{
    static struct problem problem = {.n = 40};
    for (int i = 0; i < 40 * 40; i++)
        problem.matrix[i] = i % 7;
    set(&problem, 3, 5, NAN);
    solve(&problem);
    assert_true(isnan(problem.values[0]) || isnan(problem.vectors[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_matrices_are_taken_apart),
        cmocka_unit_test(matrices_of_low_rank_are_taken_apart),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(numbers_that_are_not_finite_do_not_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
