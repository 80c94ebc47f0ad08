/* gram_reference.c - the formulas at the head of gram.c, one number after the other. */
#include "gram_reference.h"

#include <stdlib.h>

/* How a map of h x w is seen in windows of kh x kw. */
struct view {
    const struct gram_map *map;
    enum gram_pool pool;
    int h, w, kh, kw;
};

static struct view view_of(const struct gram_map *map, const struct gram_map *other,
                           enum gram_pool pool)
{
    int h = map->h < other->h ? map->h : other->h, w = map->w < other->w ? map->w : other->w;
    return (struct view){map, pool, h, w, map->h / h, map->w / w};
}

static size_t place(const struct gram_map *map, int image, int c, int y, int x)
{
    return (((size_t)image * map->c + c) * map->h + y) * map->w + x;
}

/* Of a window, the place of its largest number. */
static size_t largest(const struct view *view, int image, int c, int p)
{
    int y0 = p / view->w * view->kh, x0 = p % view->w * view->kw;
    size_t best = place(view->map, image, c, y0, x0);
    for (int y = 0; y < view->kh; y++)
        for (int x = 0; x < view->kw; x++) {
            size_t here = place(view->map, image, c, y0 + y, x0 + x);
            if (view->map->data[here] > view->map->data[best])
                best = here;
        }
    return best;
}

static double pooled(const struct view *view, int image, int c, int p)
{
    if (view->pool == GRAM_MAX)
        return view->map->data[largest(view, image, c, p)];
    double sum = 0;
    for (int y = 0; y < view->kh; y++)
        for (int x = 0; x < view->kw; x++)
            sum += view->map->data[place(view->map, image, c, p / view->w * view->kh + y,
                                         p % view->w * view->kw + x)];
    return sum / (view->kh * view->kw);
}

static void add_pooled(const struct view *view, int image, int c, int p, double diff, double *diffs)
{
    if (view->pool == GRAM_MAX) {
        diffs[largest(view, image, c, p)] += diff;
        return;
    }
    for (int y = 0; y < view->kh; y++)
        for (int x = 0; x < view->kw; x++)
            diffs[place(view->map, image, c, p / view->w * view->kh + y,
                        p % view->w * view->kw + x)] += diff / (view->kh * view->kw);
}

/* (c, h w) of an image. */
static void pool_image(const struct view *view, int image, double *out)
{
    for (int c = 0; c < view->map->c; c++)
        for (int p = 0; p < view->h * view->w; p++)
            *out++ = pooled(view, image, c, p);
}

static double entry(const double *a, const double *b, int positions, int i, int j)
{
    double sum = 0;
    for (int p = 0; p < positions; p++)
        sum += a[i * positions + p] * b[j * positions + p];
    return sum / positions;
}

struct side {
    struct view a, b;
    double *maps[2]; /* pooled, of one image */
};

static enum retort_status open_side(const struct gram_problem *problem, const struct gram_map *maps,
                                    const int pair[2], struct side *side)
{
    const struct gram_map *a = &maps[pair[0]], *b = &maps[pair[1]];
    side->a = view_of(a, b, problem->pool);
    side->b = view_of(b, a, problem->pool);
    const size_t positions = (size_t)side->a.h * (size_t)side->a.w;
    TRY(memory_zeroed((size_t)a->c * positions, sizeof(double), (void **)&side->maps[0]));
    return memory_zeroed((size_t)b->c * positions, sizeof(double), (void **)&side->maps[1]);
}

static void close_side(struct side *side)
{
    free(side->maps[0]);
    free(side->maps[1]);
}

static void pool_side(const struct side *side, int image)
{
    pool_image(&side->a, image, side->maps[0]);
    pool_image(&side->b, image, side->maps[1]);
}

/* The sum of squares of an image's matrix; its gradient times factor. */
static double pair_image(const struct side *student, const struct side *teacher, int image,
                         double factor, double *diff_a, double *diff_b)
{
    const int positions = student->a.h * student->a.w;
    const double *a = student->maps[0], *b = student->maps[1];
    double squares = 0;
    for (int i = 0; i < student->a.map->c; i++)
        for (int j = 0; j < student->b.map->c; j++) {
            double diff = entry(a, b, positions, i, j) -
                          entry(teacher->maps[0], teacher->maps[1], positions, i, j);
            squares += diff * diff;
            for (int p = 0; diff_a && p < positions; p++) {
                double slope = 2 * factor * diff / positions;
                add_pooled(&student->a, image, i, p, slope * b[j * positions + p], diff_a);
                add_pooled(&student->b, image, j, p, slope * a[i * positions + p], diff_b);
            }
        }
    return squares;
}

/* What an image's sum of squares is multiplied by. */
static double factor_of(const struct gram_problem *problem, int pair)
{
    double sizes = 0, size = 0;
    for (int i = 0; i < problem->pair_count; i++) {
        const int *taps = problem->pairs[i];
        double here = (double)problem->student[taps[0]].c * problem->student[taps[1]].c;
        sizes += here;
        size = i == pair ? here : size;
    }
    switch (problem->norm) {
    case GRAM_MEAN:
        return 1 / (size * problem->n * problem->pair_count);
    case GRAM_SSKD:
        return 1 / (2 * sizes * problem->n);
    case GRAM_FROBENIUS:
        return 1 / (2.0 * problem->n);
    }
    return 0;
}

static enum retort_status add_pair(const struct gram_problem *problem, int number,
                                   double *const *diffs, double *value)
{
    enum retort_status status = RETORT_OK;
    const int *pair = problem->pairs[number];
    const double factor = factor_of(problem, number);
    struct side student = {0}, teacher = {0};
    TRY_DONE(open_side(problem, problem->student, pair, &student));
    TRY_DONE(open_side(problem, problem->teacher, pair, &teacher));
    for (int image = 0; image < problem->n; image++) {
        pool_side(&student, image);
        pool_side(&teacher, image);
        *value += factor * pair_image(&student, &teacher, image, factor,
                                      diffs ? diffs[pair[0]] : NULL, diffs ? diffs[pair[1]] : NULL);
    }
done:
    close_side(&student);
    close_side(&teacher);
    return status;
}

enum retort_status gram_reference(const struct gram_problem *problem, double *const *diffs,
                                  double *value)
{
    double sum = 0;
    for (int i = 0; i < problem->pair_count; i++)
        TRY(add_pair(problem, i, diffs, &sum));
    *value = sum;
    return RETORT_OK;
}
