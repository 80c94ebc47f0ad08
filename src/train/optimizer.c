/* optimizer.c - one pass over all parameters.
 *
 * Whether a weight ceased to be a number is found on the way: 0 times it, summed up, is 0 or not.
 */
#include "train/optimizer.h"

#include <stdlib.h>

#include "base/cpu.h"
#include "base/memory.h"

enum retort_status optimizer_create(const struct executor *executor, const struct graph *graph,
                                    const struct recipe_train *train, struct optimizer *optimizer)
{
    struct optimizer made = {.view = executor_parameters(executor),
                             .graph = graph,
                             .momentum = train->momentum,
                             .decay = train->weight_decay,
                             .nesterov = train->nesterov,
                             .decay_all = train->decay == DECAY_ALL};
    TRY(memory_aligned(made.view.count * sizeof(float), (void **)&made.velocity));
    *optimizer = made;
    return RETORT_OK;
}

void optimizer_release(struct optimizer *optimizer)
{
    free(optimizer->velocity);
    *optimizer = (struct optimizer){0};
}

struct update {
    float *w, *v;
    const float *g;
    size_t from, to;
    float lr, momentum, decay;
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
        float d = g[i] + u->decay * w[i];
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

enum { PIECE = 16384 };

bool optimizer_step(struct optimizer *optimizer, double lr)
{
    update_kernel *kernel = levels[cpu_level()];
    const struct parameter_view *view = &optimizer->view;
    bool finite = true;
#pragma omp parallel reduction(&& : finite)
    for (int s = 0; s < view->segment_count; s++) {
        const struct parameter_segment *segment = &view->segments[s];
        const size_t end = segment->offset + segment->count;
        if (optimizer->frozen && optimizer->frozen[segment->parameter])
            continue;
        const double decay = decays(optimizer, segment) ? optimizer->decay : 0;
#pragma omp for schedule(static) nowait
        for (size_t from = segment->offset; from < end; from += PIECE)
            finite &= kernel(&(struct update){view->values, optimizer->velocity, view->gradients,
                                              from, from + PIECE < end ? from + PIECE : end,
                                              (float)lr, (float)optimizer->momentum, (float)decay,
                                              optimizer->nesterov});
    }
    return finite;
}

bool optimizer_gradients_finite(const struct optimizer *optimizer)
{
    const struct parameter_view *view = &optimizer->view;
    const float *gradients = view->gradients;
    float nothing = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : nothing)
    for (size_t i = 0; i < view->count; i++)
        nothing += 0 * gradients[i];
    return nothing == 0;
}
