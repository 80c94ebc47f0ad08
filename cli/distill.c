/* distill.c - retort distill: the student of a recipe, from teachers that are there. */
#include "command.h"
#include "retort/run.h"
#include "run_parts.h"

static int run(int argc, char **argv)
{
    return run_parts(
        argc, argv,
        "Distils the student of a recipe from teachers that are there: model files that the recipe "
        "names, or those that `retort train` wrote to the run's folder (then with --resume).",
        RETORT_STUDENT);
}

const struct command command_distill = {
    "distill", "distils a recipe's student from teachers that are there", run};
