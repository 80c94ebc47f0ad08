/* recipe_check.h - what the rows of a recipe's tables cannot say one by one. */
#ifndef RECIPE_RECIPE_CHECK_H
#define RECIPE_RECIPE_CHECK_H

#include "recipe/recipe.h"

/* Resolve what is left to the budget (0, auto) and look for combinations that cannot work. Every
 * value is in its range already. usual: what a recipe is that says nothing. RETORT_INVALID
 * "path: ...". */
enum retort_status recipe_check(struct recipe *recipe, const struct recipe *usual);

#endif
