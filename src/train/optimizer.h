/* optimizer.h - stochastic gradient descent with Nesterov momentum and weight decay.
 *
 * It sees flat arrays only (executor_parameters). With gradient g, weights w, velocity v (0 at
 * first): g += decay * w;  v = momentum * v + g;  w -= lr * (nesterov ? g + momentum * v : v)
 * (Sutskever et al. 2013 in the form that PyTorch uses.) */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "nn/engine/executor.h"
#include "recipe/recipe.h"

struct optimizer {
    struct parameter_view view;
    const struct graph *graph;
    float *velocity; /* view.count, the layout of the view; owned */
    double momentum, decay;
    bool nesterov, decay_all;
    const bool *frozen; /* by parameter of the graph; NULL: none; borrowed */
};

/* The executor and its graph must outlive the optimizer. */
enum retort_status optimizer_create(const struct executor *executor, const struct graph *graph,
                                    const struct recipe_train *train, struct optimizer *optimizer);
/* Accepts a zeroed struct. */
void optimizer_release(struct optimizer *optimizer);

/* One step with the gradients that lie in the view. Does not allocate. False: a weight became
 * infinite or no number. */
bool optimizer_step(struct optimizer *optimizer, double lr);

/* Are all gradients of the view numbers? */
bool optimizer_gradients_finite(const struct optimizer *optimizer);

#endif
