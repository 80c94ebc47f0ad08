/* optimizer.c - one pass over all parameters.
 *
 * Whether a weight ceased to be a number is found on the way: 0 times it, summed up, is 0 or not.
 */
#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "base/memory.h"

enum { PIECE = 16384 };

static size_t pieces_of(const struct parameter_segment *segment)
{
    return (segment->count + PIECE - 1) / PIECE;
}

enum retort_status optimizer_create(const struct executor *executor, const struct graph *graph,
                                    const struct recipe_train *train, struct optimizer *optimizer)
{
    struct optimizer made = {.view = executor_parameters(executor),
                             .graph = graph,
                             .momentum = train->momentum,
                             .decay = train->weight_decay,
                             .clip = train->clip_norm,
                             .nesterov = train->nesterov,
                             .decay_all = train->decay == DECAY_ALL};
    size_t pieces = 0;
    for (int s = 0; s < made.view.segment_count; s++)
        pieces += pieces_of(&made.view.segments[s]);
    enum retort_status status;
    TRY_DONE(memory_aligned(made.view.count * sizeof(float), (void **)&made.velocity));
    TRY_DONE(memory_aligned(pieces * sizeof(double), (void **)&made.squares));
    *optimizer = made;
    return RETORT_OK;
done:
    optimizer_release(&made);
    return status;
}

void optimizer_release(struct optimizer *optimizer)
{
    free(optimizer->velocity);
    free(optimizer->squares);
    *optimizer = (struct optimizer){0};
}

static bool is_frozen(const struct optimizer *optimizer, const struct parameter_segment *segment)
{
    return optimizer->frozen && optimizer->frozen[segment->parameter];
}

static double sum_squares(const float *g, size_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += (double)g[i] * (double)g[i];
    return sum;
}

double optimizer_gradient_norm(const struct optimizer *optimizer)
{
    const struct parameter_view *view = &optimizer->view;
    double *squares = optimizer->squares;
    size_t done = 0;
    double sum = 0;
    for (int s = 0; s < view->segment_count; s++) {
        const struct parameter_segment *segment = &view->segments[s];
        const size_t pieces = is_frozen(optimizer, segment) ? 0 : pieces_of(segment);
        const float *g = view->gradients + segment->offset;
#pragma omp parallel for schedule(static) if (pieces > 1)
        for (size_t i = 0; i < pieces; i++) {
            const size_t left = segment->count - i * PIECE;
            squares[done + i] = sum_squares(g + i * PIECE, left < PIECE ? left : PIECE);
        }
        done += pieces;
    }
    for (size_t i = 0; i < done; i++)
        sum += squares[i];
    return sqrt(sum);
}

double optimizer_scale(const struct optimizer *optimizer, double norm)
{
    return optimizer->clip > 0 && norm > optimizer->clip ? optimizer->clip / norm : 1;
}

struct update {
    float *w, *v;
    const float *g;
    size_t from, to;
    float lr, scale, momentum, decay;
    bool nesterov;
};

static inline __attribute__((always_inline)) bool update_any(const struct update *u)
{
    float *restrict w = u->w, *restrict v = u->v;
    const float *restrict g = u->g;
    const float along = u->nesterov ? u->momentum : 1, direct = u->nesterov ? 1 : 0;
    float nothing = 0;
#pragma omp simd reduction(+ : nothing)
    for (size_t i = u->from; i < u->to; i++) {
        float d = u->scale * g[i] + u->decay * w[i];
        v[i] = u->momentum * v[i] + d;
        w[i] -= u->lr * (direct * d + along * v[i]);
        nothing += 0 * w[i];
    }
    return nothing == 0;
}

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static bool update_##level(const struct update *u)                        \
    {                                                                                              \
        return update_any(u);                                                                      \
    }
CPU_LEVELS(DEFINE_LEVEL)

typedef bool update_kernel(const struct update *u);
static update_kernel *const levels[] = {
#define LEVEL_ROW(level, features) update_##level,
    CPU_LEVELS(LEVEL_ROW)};

static bool decays(const struct optimizer *optimizer, const struct parameter_segment *segment)
{
    return optimizer->decay_all ||
           optimizer->graph->parameters[segment->parameter].role == PARAMETER_WEIGHT;
}

bool optimizer_step(struct optimizer *optimizer, double lr, double scale)
{
    update_kernel *kernel = levels[cpu_level()];
    const struct parameter_view *view = &optimizer->view;
    bool finite = true;
#pragma omp parallel reduction(&& : finite)
    for (int s = 0; s < view->segment_count; s++) {
        const struct parameter_segment *segment = &view->segments[s];
        const size_t end = segment->offset + segment->count;
        if (is_frozen(optimizer, segment))
            continue;
        const double decay = decays(optimizer, segment) ? optimizer->decay : 0;
#pragma omp for schedule(static) nowait
        for (size_t from = segment->offset; from < end; from += PIECE)
            finite &= kernel(&(struct update){view->values, optimizer->velocity, view->gradients,
                                              from, from + PIECE < end ? from + PIECE : end,
                                              (float)lr, (float)scale, (float)optimizer->momentum,
                                              (float)decay, optimizer->nesterov});
    }
    return finite;
}
