/* optimizer.h - stochastic gradient descent with Nesterov momentum, weight decay and clipping.
 *
 * It sees flat arrays only (executor_parameters). With gradient g, weights w, velocity v (0 at
 * first): g += decay * w;  v = momentum * v + g;  w -= lr * (nesterov ? g + momentum * v : v)
 * (Sutskever et al. 2013 in the form that PyTorch uses.) Before that, a gradient whose norm over
 * all parameters that train is above `clip` is scaled down to it (Pascanu et al. 2013). */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "nn/engine/executor.h"
#include "recipe/recipe.h"

struct optimizer {
    struct parameter_view view;
    const struct graph *graph;
    float *velocity; /* view.count, the layout of the view; owned */
    double *squares; /* [tmp] of the gradient, piece by piece; owned */
    double momentum, decay;
    double clip; /* the highest norm of the gradient; 0: any */
    bool nesterov, decay_all;
    const bool *frozen; /* by parameter of the graph; NULL: none; borrowed */
};

/* The executor and its graph must outlive the optimizer. */
enum retort_status optimizer_create(const struct executor *executor, const struct graph *graph,
                                    const struct recipe_train *train, struct optimizer *optimizer);
/* Accepts a zeroed struct. */
void optimizer_release(struct optimizer *optimizer);

/* The Euclidean norm of the gradient that lies in the view, over all parameters that train; not
 * finite if one of its numbers is not. The same bits for any number of threads. */
double optimizer_gradient_norm(const struct optimizer *optimizer);

/* What a gradient of this norm is multiplied with: below 1 if it is to be clipped. */
double optimizer_scale(const struct optimizer *optimizer, double norm);

/* One step with `scale` times the gradients that lie in the view. Does not allocate. False: a
 * weight became infinite or no number. */
bool optimizer_step(struct optimizer *optimizer, double lr, double scale);

#endif
