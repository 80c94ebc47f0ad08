/* recipe_check.c - budgets resolved, impossible combinations found.
 *
 * The plain student is the measure of what a teacher is worth, so it gets exactly as many epochs as
 * the distilled one: a recipe that gives them different numbers is refused, not repaired. */
#include "recipe/recipe_check.h"

#include <string.h>

static const struct {
    int epochs, schedule;
} budgets[] = {
    [BUDGET_QUICK] = {30, SCHEDULE_ONE_CYCLE},
    [BUDGET_FULL] = {200, SCHEDULE_STEP},
};

static enum retort_status resolve_train(const char *who, struct recipe_train *train)
{
    if (train->epochs == 0)
        train->epochs = budgets[train->budget].epochs;
    if (train->schedule == SCHEDULE_AUTO)
        train->schedule = budgets[train->budget].schedule;
    if (train->lr == 0)
        train->lr = train->schedule == SCHEDULE_ONE_CYCLE ? 0.2 : 0.1;
    const struct int_list *milestones = &train->milestones;
    for (int i = 1; i < milestones->count; i++)
        if (milestones->items[i] <= milestones->items[i - 1])
            return fail(RETORT_INVALID,
                        "%s.train.milestones: %d found after %d, ascending percents wanted", who,
                        milestones->items[i], milestones->items[i - 1]);
    return RETORT_OK;
}

/* Names become folders: no slash, and neither "." nor "..". */
static enum retort_status check_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t length = strlen(name);
    bool good = length > 0 && length <= 100 && strspn(name, letters) > 0;
    for (size_t i = 0; good && i < length; i++)
        good = strchr(letters, name[i]) || strchr("._-", name[i]);
    if (!good)
        return fail(RETORT_INVALID,
                    "name: %.120s found, wanted are at most 100 letters, digits, '.', '_', '-', "
                    "the first a letter or a digit",
                    length ? name : "nothing");
    return RETORT_OK;
}

static enum retort_status check_augment(const struct text_list *augment)
{
    int flips = 0;
    for (int i = 0; i < augment->count; i++)
        flips += strcmp(augment->items[i], "flip") == 0 ||
                 strcmp(augment->items[i], "alternating-flip") == 0;
    return flips < 2 ? RETORT_OK
                     : fail(RETORT_INVALID,
                            "data.augment: flip found %d times, flip or alternating-flip once "
                            "wanted",
                            flips);
}

static enum retort_status check_teacher(const struct recipe_teacher *teacher)
{
    bool network = teacher->network[0] != '\0';
    if (network && teacher->weights.count)
        return fail(RETORT_INVALID,
                    "teacher: network and weights found, one of them wanted: train it or load it");
    if (!network && !teacher->weights.count)
        return fail(RETORT_INVALID, "teacher: neither network nor weights found, one wanted");
    if (teacher->count > 1)
        return fail(RETORT_INVALID,
                    "teacher.count: %d found, but ensembles of several teachers are not supported "
                    "yet: 1 wanted",
                    teacher->count);
    if (teacher->weights.count > 1)
        return fail(RETORT_INVALID,
                    "teacher.weights: %d files found, but ensembles of several teachers are not "
                    "supported yet: 1 wanted",
                    teacher->weights.count);
    return RETORT_OK;
}

static enum retort_status check_taps(const struct text_list *taps)
{
    for (int i = 0; i < taps->count; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(taps->items[i], taps->items[j]) == 0)
                return fail(RETORT_INVALID, "distill.taps.%d: %s found again, each tap once wanted",
                            i, taps->items[i]);
    return RETORT_OK;
}

static enum retort_status check_losses(int stage, const struct recipe_losses *losses)
{
    int count = 0;
    double weights = 0;
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (losses->settings[kind]) {
            weights += *(const double *)losses->settings[kind]; /* weight is the first member */
            count++;
        }
    if (count == 0)
        return fail(RETORT_INVALID, "distill.stages.%d.losses: none found, at least one wanted",
                    stage);
    if (!(weights > 0))
        return fail(RETORT_INVALID,
                    "distill.stages.%d.losses: all weights are 0, at least one above 0 wanted",
                    stage);
    return RETORT_OK;
}

static enum retort_status check_stages(const struct group_list *stages)
{
    if (stages->count == 0)
        return fail(RETORT_INVALID, "distill.stages: none found, at least one wanted");
    if (stages->count > 1)
        return fail(RETORT_INVALID,
                    "distill.stages: %d found, but more than one stage is not supported yet: 1 "
                    "wanted",
                    stages->count);
    const struct recipe_stage *stage = stages->items;
    for (int i = 0; i < stages->count; i++)
        TRY(check_losses(i, &stage[i].losses));
    return RETORT_OK;
}

/* Either side may be given, or both, if they agree; neither: the budget's. One stage. */
static enum retort_status resolve_epochs(struct recipe *recipe)
{
    struct recipe_train *train = &recipe->student.train;
    struct recipe_stage *stage = recipe->distill.stages.items;
    if (train->epochs && stage->epochs && train->epochs != stage->epochs)
        return fail(RETORT_INVALID,
                    "distill.stages: %d epochs found, but student.train.epochs is %d: the student "
                    "without a teacher must get as many, so both the same or only one wanted",
                    stage->epochs, train->epochs);
    if (train->epochs == 0)
        train->epochs = stage->epochs;
    TRY(resolve_train("student", train));
    stage->epochs = train->epochs;
    return RETORT_OK;
}

enum retort_status recipe_check(struct recipe *recipe)
{
    TRY(check_name(recipe->name));
    TRY(check_augment(&recipe->data.augment));
    if (!recipe->data.set[0])
        return fail(RETORT_INVALID, "data.set: nothing found, the name of a data set wanted");
    if (!recipe->student.network[0])
        return fail(RETORT_INVALID, "student.network: nothing found, a network wanted");
    TRY(check_teacher(&recipe->teacher));
    TRY(check_taps(&recipe->distill.taps));
    TRY(check_stages(&recipe->distill.stages));
    TRY(resolve_train("teacher", &recipe->teacher.train));
    return resolve_epochs(recipe);
}

int recipe_student_epochs(const struct recipe *recipe)
{
    const struct recipe_stage *stages = recipe->distill.stages.items;
    int epochs = 0;
    for (int i = 0; i < recipe->distill.stages.count; i++)
        epochs += stages[i].epochs;
    return epochs;
}
