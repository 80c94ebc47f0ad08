/* optimizer.c - one pass over all parameters. */
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

static inline __attribute__((always_inline)) void update_any(const struct update *u)
{
    float *restrict w = u->w, *restrict v = u->v;
    const float *restrict g = u->g;
    const float along = u->nesterov ? u->momentum : 1, direct = u->nesterov ? 1 : 0;
    for (size_t i = u->from; i < u->to; i++) {
        float d = g[i] + u->decay * w[i];
        v[i] = u->momentum * v[i] + d;
        w[i] -= u->lr * (direct * d + along * v[i]);
    }
}

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static void update_##level(const struct update *u)                        \
    {                                                                                              \
        update_any(u);                                                                             \
    }
CPU_LEVELS(DEFINE_LEVEL)

typedef void update_kernel(const struct update *u);
static update_kernel *const levels[] = {
#define LEVEL_ROW(level, features) update_##level,
    CPU_LEVELS(LEVEL_ROW)};

static bool decays(const struct optimizer *optimizer, const struct parameter_segment *segment)
{
    return optimizer->decay_all ||
           optimizer->graph->parameters[segment->parameter].role == PARAMETER_WEIGHT;
}

void optimizer_step(struct optimizer *optimizer, double lr)
{
    enum { PIECE = 16384 };
    update_kernel *kernel = levels[cpu_level()];
    const struct parameter_view *view = &optimizer->view;
#pragma omp parallel
    for (int s = 0; s < view->segment_count; s++) {
        const struct parameter_segment *segment = &view->segments[s];
        const size_t end = segment->offset + segment->count;
        if (optimizer->frozen && optimizer->frozen[segment->parameter])
            continue;
        const double decay = decays(optimizer, segment) ? optimizer->decay : 0;
#pragma omp for schedule(static) nowait
        for (size_t from = segment->offset; from < end; from += PIECE)
            kernel(&(struct update){view->values, optimizer->velocity, view->gradients, from,
                                    from + PIECE < end ? from + PIECE : end, (float)lr,
                                    (float)optimizer->momentum, (float)decay, optimizer->nesterov});
    }
}
