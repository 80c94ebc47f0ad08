/* run.c - retort run: the whole experiment. */
#include "command.h"
#include "retort/run.h"
#include "run_parts.h"

static int run(int argc, char **argv)
{
    return run_parts(
        argc, argv,
        "Runs a recipe: trains the teachers that are missing, the plain student and the distilled "
        "student, evaluates them and prints the comparison.",
        RETORT_ALL_PARTS);
}

const struct command command_run = {
    "run", "runs a recipe: teacher, plain student, distilled student, comparison", run};
