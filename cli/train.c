/* train.c - retort train: the networks of a recipe that learn without a teacher. */
#include "command.h"
#include "retort/run.h"
#include "run_parts.h"

static int run(int argc, char **argv)
{
    return run_parts(argc, argv,
                     "Trains the teachers and the plain student of a recipe, no more. `retort "
                     "distill` with the same "
                     "folder, or `retort run --resume`, goes on from there.",
                     RETORT_TEACHERS | RETORT_BASELINE);
}

const struct command command_train = {"train", "trains a recipe's teachers and plain student", run};
