/* schedule.h - the learning rate as a function of the step. */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "recipe/recipe.h"

/* The learning rate of step `step` (0 first) of `steps`.
 *   one-cycle  rises linearly from 0 to lr over the first `warmup` of the steps, falls linearly to
 * 0 at the end (Smith and Topin 2018, without the momentum cycle) step       lr, multiplied by
 * gamma at each milestone, a percentage of the steps constant   lr */
double schedule_rate(const struct recipe_train *train, long step, long steps);

#endif
