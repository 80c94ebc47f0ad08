/* recipe_check.c - budgets resolved, impossible combinations found.
 *
 * The plain student is the measure of what a teacher is worth, so it gets exactly as many epochs as
 * the distilled one: a recipe that gives them different numbers is refused, not repaired. */
#include "recipe/recipe_check.h"

#include <string.h>

/* Of the epochs of a preset with two stages; our choice. */
enum { FIRST_STAGE_PERCENT = 30, MOST_TEACHERS = 100 };

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
    if (teacher->count > 0 && !network && !teacher->weights.count)
        return fail(RETORT_INVALID, "teacher: neither network nor weights found, one wanted");
    if (teacher->count == 0 && (network || teacher->weights.count))
        return fail(RETORT_INVALID, "teacher.count: 0 found, but the recipe names a teacher: at "
                                    "least 1 wanted, or no teacher");
    if (teacher->weights.count > MOST_TEACHERS)
        return fail(RETORT_INVALID, "teacher.weights: %d files found, at most %d wanted",
                    teacher->weights.count, MOST_TEACHERS);
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
            const struct loss_weight *weight = losses->settings[kind]; /* it begins with that */
            weights += weight->weight + (weight->ramp == LOSS_CONSTANT ? 0 : weight->final);
            if (weight->ramp == LOSS_CONSTANT && weight->final != 0)
                return fail(RETORT_INVALID,
                            "distill.stages.%d.losses.%s.final: %g found, but the weight is "
                            "constant: ramp linear or cosine wanted",
                            stage, loss_of((enum loss_kind)kind)->name, weight->final);
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

static bool stage_needs_teacher(const struct recipe_stage *stage)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (stage->losses.settings[kind] && loss_of((enum loss_kind)kind)->needs_teacher)
            return true;
    return false;
}

bool recipe_needs_teachers(const struct recipe *recipe)
{
    const struct recipe_stage *stages = recipe->distill.stages.items;
    bool needs = recipe->distill.stages.count == 0;
    for (int i = 0; i < recipe->distill.stages.count; i++)
        needs |= stage_needs_teacher(&stages[i]);
    return needs && recipe->distill.peers == 1;
}

static enum retort_status check_distill(const struct recipe *recipe)
{
    const struct recipe_distill *distill = &recipe->distill;
    const struct recipe_stage *stages = distill->stages.items;
    if (distill->preset != PRESET_AUTO && distill->stages.count)
        return fail(RETORT_INVALID,
                    "distill.preset: found beside distill.stages, one of them wanted");
    for (int i = 0; i < distill->stages.count; i++)
        TRY(check_losses(i, &stages[i].losses));
    if (distill->peers > 1 && recipe->teacher.count > 0)
        return fail(RETORT_INVALID,
                    "distill.peers: %d found, but there are teachers too: students that teach each "
                    "other need teacher.count 0",
                    distill->peers);
    if (distill->peers > 1 && distill->generations > 1)
        return fail(RETORT_INVALID, "distill.peers: found beside generations, one of them wanted");
    if (distill->peers > 1 && distill->stages.count == 0)
        return fail(RETORT_INVALID,
                    "distill.stages: none found, but peers are: their losses wanted");
    if (recipe->teacher.count == 0 && recipe_needs_teachers(recipe))
        return fail(RETORT_INVALID,
                    "teacher.count: 0 found, but distill.stages has losses that need a teacher");
    return RETORT_OK;
}

/* Either side may be given, or both, if they agree; neither: the budget's. Stages without epochs
 * share equally what the others leave. */
static enum retort_status resolve_epochs(struct recipe *recipe)
{
    struct recipe_train *train = &recipe->student.train;
    struct recipe_stage *stages = recipe->distill.stages.items;
    const int count = recipe->distill.stages.count;
    int given = 0, open = 0;
    for (int i = 0; i < count; i++) {
        given += stages[i].epochs;
        open += stages[i].epochs == 0;
    }
    if (train->epochs == 0 && open == 0)
        train->epochs = given;
    TRY(resolve_train("student", train));
    if (open == 0 ? given != train->epochs : given + open > train->epochs)
        return fail(
            RETORT_INVALID,
            "distill.stages: %d epochs found%s, but student.train.epochs is %d: the student "
            "without a teacher must get as many, so both the same or only one wanted",
            given, open ? " and stages without" : "", train->epochs);
    for (int i = 0; i < count; i++) {
        struct recipe_stage *stage = &stages[i];
        if (stage->epochs == 0) {
            stage->epochs = (train->epochs - given) / open;
            given += stage->epochs;
            open--;
        }
        if (stage->schedule == SCHEDULE_AUTO)
            stage->schedule = train->schedule;
        if (stage->lr == 0)
            stage->lr = train->lr;
    }
    return RETORT_OK;
}

/* ---- presets ---- */

static enum retort_status add_loss(struct recipe *recipe, struct recipe_stage *stage,
                                   enum loss_kind kind, const char *settings)
{
    const struct setting_table *table = loss_of(kind)->settings;
    TRY(arena_take(&recipe->arena, table->bytes, &stage->losses.settings[kind]));
    return settings_parse(table, stage->losses.settings[kind], table->name, settings,
                          &recipe->arena);
}

enum retort_status recipe_settle(struct recipe *recipe, bool channels_differ)
{
    struct recipe_distill *distill = &recipe->distill;
    const int epochs = recipe->student.train.epochs;
    if (distill->stages.count)
        return RETORT_OK;
    if (distill->preset == PRESET_AUTO)
        distill->preset = channels_differ ? PRESET_TWO_STAGE : PRESET_JOINT;
    const bool joint = distill->preset == PRESET_JOINT, fsp = distill->preset == PRESET_FSP;
    if (!joint && epochs < 2)
        return fail(RETORT_INVALID,
                    "student.train.epochs: %d found, at least 2 wanted for two stages", epochs);
    struct recipe_stage *stages;
    TRY(arena_take(&recipe->arena, 2 * sizeof(*stages), (void **)&stages));
    const struct setting_table *table =
        settings_find(settings_find(&recipe_settings, "distill")->group, "stages")->group;
    for (int i = 0; i < 2; i++)
        TRY(settings_defaults(table, &stages[i], &recipe->arena));
    struct recipe_stage *last = &stages[joint ? 0 : 1];
    if (!joint) {
        stages[0].epochs = (epochs * FIRST_STAGE_PERCENT + 99) / 100;
        TRY(add_loss(recipe, &stages[0], LOSS_gram, fsp ? "pairs=adjacent" : ""));
    }
    TRY(add_loss(recipe, last, LOSS_ce, ""));
    if (!fsp)
        TRY(add_loss(recipe, last, LOSS_kl, ""));
    if (!fsp)
        TRY(add_loss(recipe, last, LOSS_gram, ""));
    distill->stages = (struct group_list){joint ? 1 : 2, stages};
    distill->preset = PRESET_AUTO;
    return resolve_epochs(recipe);
}

enum { CACHED_VIEWS = 8 };

enum retort_status recipe_check(struct recipe *recipe)
{
    if (recipe->distill.cache && recipe->data.views == 0)
        recipe->data.views = CACHED_VIEWS;
    if (recipe->distill.cache_maps && !recipe->distill.cache)
        return fail(RETORT_INVALID, "distill.cache_maps: on, but distill.cache is off: on wanted");
    if (recipe->distill.cache && recipe->distill.peers > 1)
        return fail(RETORT_INVALID, "distill.cache: on, but students that teach each other change: "
                                    "off wanted");
    TRY(check_name(recipe->name));
    TRY(check_augment(&recipe->data.augment));
    if (!recipe->data.set[0])
        return fail(RETORT_INVALID, "data.set: nothing found, the name of a data set wanted");
    if (!recipe->student.network[0])
        return fail(RETORT_INVALID, "student.network: nothing found, a network wanted");
    TRY(check_teacher(&recipe->teacher));
    TRY(check_taps(&recipe->distill.taps));
    TRY(check_distill(recipe));
    TRY(resolve_train("teacher", &recipe->teacher.train));
    return recipe->distill.stages.count ? resolve_epochs(recipe)
                                        : resolve_train("student", &recipe->student.train);
}
