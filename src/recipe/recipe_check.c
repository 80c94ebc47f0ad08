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

static bool augments(const struct recipe_data *data, const char *name)
{
    for (int i = 0; i < data->augment.count; i++)
        if (strcmp(data->augment.items[i], name) == 0)
            return true;
    return false;
}

static enum retort_status check_used(const struct recipe_data *data, const char *setting,
                                     bool changed, const char *name)
{
    return !changed || augments(data, name)
               ? RETORT_OK
               : fail(RETORT_INVALID,
                      "data.%s: set, but data.augment does not hold %s, whose setting it is",
                      setting, name);
}

/* A setting of what is not done at all would be read and ignored. `usual`: the defaults. */
static enum retort_status check_augment(const struct recipe_data *data,
                                        const struct recipe_data *usual)
{
    int flips = 0;
    for (int i = 0; i < data->augment.count; i++)
        flips += strcmp(data->augment.items[i], "flip") == 0 ||
                 strcmp(data->augment.items[i], "alternating-flip") == 0;
    if (flips > 1)
        return fail(RETORT_INVALID,
                    "data.augment: flip found %d times, flip or alternating-flip once wanted",
                    flips);
    TRY(check_used(data, "pad", data->pad != usual->pad, "crop"));
    TRY(check_used(data, "border", data->border != usual->border,
                   augments(data, "rotate") ? "rotate" : "crop"));
    TRY(check_used(data, "rotation", data->rotation != usual->rotation, "rotate"));
    TRY(check_used(data, "cutout", data->cutout != usual->cutout, "cutout"));
    TRY(check_used(data, "jitter", data->jitter != usual->jitter, "jitter"));
    TRY(check_used(data, "mixup", data->mixup != usual->mixup, "mixup"));
    return check_used(data, "cutmix", data->cutmix != usual->cutmix, "cutmix");
}

/* The same for the rules of ensembles. */
static enum retort_status check_ensemble(const struct ensemble *ensemble,
                                         const struct ensemble *usual)
{
    if (ensemble->k != usual->k && ensemble->rule != ENSEMBLE_RANDOM_K)
        return fail(RETORT_INVALID,
                    "distill.ensemble.k: %d found, but rule is not random-k, whose "
                    "setting it is",
                    ensemble->k);
    if (ensemble->weights != usual->weights && ensemble->rule != ENSEMBLE_RANDOM_WEIGHTS)
        return fail(RETORT_INVALID, "distill.ensemble.weights: set, but rule is not "
                                    "random-weights, whose setting it is");
    return RETORT_OK;
}

static enum retort_status check_teacher(struct recipe_teacher *teacher)
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
    if (teacher->weights.count && teacher->count > 1 && teacher->count != teacher->weights.count)
        return fail(RETORT_INVALID,
                    "teacher.weights: %d file%s found, but teacher.count is %d: as "
                    "many wanted, or no count",
                    teacher->weights.count, teacher->weights.count > 1 ? "s" : "", teacher->count);
    if (teacher->weights.count)
        teacher->count = teacher->weights.count;
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

/* Is anybody asked, a teacher, a peer or an earlier generation? Presets do. */
static bool asks_others(const struct recipe_distill *distill)
{
    const struct recipe_stage *stages = distill->stages.items;
    bool asks = distill->stages.count == 0;
    for (int i = 0; i < distill->stages.count; i++)
        asks |= stage_needs_teacher(&stages[i]);
    return asks;
}

bool recipe_needs_teachers(const struct recipe *recipe)
{
    return asks_others(&recipe->distill) && recipe->distill.peers == 1;
}

/* Networks that would be trained for nobody. */
static enum retort_status check_asked(const struct recipe *recipe)
{
    const struct recipe_distill *distill = &recipe->distill;
    if (asks_others(distill))
        return RETORT_OK;
    if (distill->peers > 1)
        return fail(RETORT_INVALID,
                    "distill.peers: %d found, but no loss of distill.stages asks another student",
                    distill->peers);
    if (distill->generations > 1)
        return fail(RETORT_INVALID,
                    "distill.generations: %d found, but no loss of distill.stages asks the one "
                    "before",
                    distill->generations);
    return RETORT_OK;
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
    TRY(check_asked(recipe));
    if (recipe->teacher.count == 0 && recipe_needs_teachers(recipe))
        return fail(RETORT_INVALID,
                    "teacher.count: 0 found, but distill.stages has losses that need a teacher");
    return RETORT_OK;
}

/* Stages that have a share of all epochs get a number, at least 1. Where they end is rounded, so
 * that shares that make 100 percent make all epochs. */
static enum retort_status resolve_percents(struct recipe *recipe)
{
    struct recipe_stage *stages = recipe->distill.stages.items;
    const int epochs = recipe->student.train.epochs;
    int percent = 0, begin = 0;
    for (int i = 0; i < recipe->distill.stages.count; i++) {
        struct recipe_stage *stage = &stages[i];
        if (stage->percent == 0)
            continue;
        if (stage->epochs > 0)
            return fail(RETORT_INVALID,
                        "distill.stages.%d.percent: found beside epochs, one of them wanted", i);
        percent += stage->percent;
        const int end = (epochs * percent + 50) / 100;
        stage->epochs = end > begin ? end - begin : 1;
        begin += stage->epochs;
        stage->percent = 0;
    }
    return percent <= 100
               ? RETORT_OK
               : fail(RETORT_INVALID, "distill.stages: %d percent found in all, at most 100 wanted",
                      percent);
}

/* Epochs that stages were given, and how many stages were given none. */
static void count_epochs(const struct recipe_distill *distill, int *given, int *open)
{
    const struct recipe_stage *stages = distill->stages.items;
    *given = *open = 0;
    for (int i = 0; i < distill->stages.count; i++) {
        *given += stages[i].epochs;
        *open += stages[i].epochs == 0;
    }
}

/* Either side may be given, or both, if they agree; neither: the budget's. Stages without epochs
 * share equally what the others leave. */
static enum retort_status resolve_epochs(struct recipe *recipe)
{
    struct recipe_train *train = &recipe->student.train;
    struct recipe_stage *stages = recipe->distill.stages.items;
    const int count = recipe->distill.stages.count;
    int given, open;
    count_epochs(&recipe->distill, &given, &open);
    /* quick is what nobody has to ask for, full is */
    if (train->epochs == 0 && open == 0 && train->budget == BUDGET_FULL &&
        given != budgets[BUDGET_FULL].epochs)
        return fail(RETORT_INVALID,
                    "distill.stages: %d epochs found, but student.train.budget: full means %d; "
                    "stages may have a percent of any budget",
                    given, budgets[BUDGET_FULL].epochs);
    if (train->epochs == 0 && open == 0)
        train->epochs = given;
    TRY(resolve_train("student", train));
    TRY(resolve_percents(recipe));
    count_epochs(&recipe->distill, &given, &open);
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

static bool equal_lists(const struct int_list *a, const struct int_list *b)
{
    return a->count == b->count &&
           memcmp(a->items, b->items, (size_t)a->count * sizeof(*a->items)) == 0;
}

/* Settings of a schedule that is not in use. usual: the defaults; schedules: those in use, one bit
 * each. */
static enum retort_status check_schedule(const char *who, const struct recipe_train *train,
                                         const struct recipe_train *usual, unsigned schedules)
{
    const char *unused = NULL, *of = NULL;
    if (!(schedules & 1u << SCHEDULE_ONE_CYCLE) && train->warmup != usual->warmup)
        unused = "warmup", of = "one-cycle";
    if (!(schedules & 1u << SCHEDULE_STEP) && train->gamma != usual->gamma)
        unused = "gamma", of = "step";
    if (!(schedules & 1u << SCHEDULE_STEP) && !equal_lists(&train->milestones, &usual->milestones))
        unused = "milestones", of = "step";
    return unused ? fail(RETORT_INVALID,
                         "%s.train.%s: set, but the schedule is not %s, whose setting it is", who,
                         unused, of)
                  : RETORT_OK;
}

static enum retort_status check_schedules(const struct recipe *recipe, const struct recipe *usual)
{
    const struct recipe_stage *stages = recipe->distill.stages.items;
    unsigned student = 1u << recipe->student.train.schedule;
    for (int i = 0; i < recipe->distill.stages.count; i++)
        student |= 1u << stages[i].schedule;
    TRY(check_schedule("student", &recipe->student.train, &usual->student.train, student));
    if (recipe->teacher.count == 0 || recipe->teacher.weights.count)
        return RETORT_OK; /* nobody trains them: such settings are for when somebody does */
    return check_schedule("teacher", &recipe->teacher.train, &usual->teacher.train,
                          1u << recipe->teacher.train.schedule);
}

enum { CACHED_VIEWS = 8 };

/* Mixed images have two labels, and are other ones in every epoch. */
static enum retort_status check_mixing(const struct recipe *recipe)
{
    const struct recipe_stage *stages = recipe->distill.stages.items;
    if (!augments(&recipe->data, "mixup") && !augments(&recipe->data, "cutmix"))
        return RETORT_OK;
    if (recipe->distill.cache)
        return fail(RETORT_INVALID, "distill.cache: on, but data.augment mixes images, which are "
                                    "new ones in every epoch: off wanted");
    for (int i = 0; i < recipe->distill.stages.count; i++)
        if (stages[i].losses.settings[LOSS_dkd])
            return fail(RETORT_INVALID,
                        "distill.stages.%d.losses.dkd: it takes the label's class apart, but "
                        "data.augment mixes images of two labels",
                        i);
    return RETORT_OK;
}

enum retort_status recipe_check(struct recipe *recipe, const struct recipe *usual)
{
    if (recipe->distill.cache && recipe->data.views == 0)
        recipe->data.views = CACHED_VIEWS;
    if (recipe->distill.cache_maps && !recipe->distill.cache)
        return fail(RETORT_INVALID, "distill.cache_maps: on, but distill.cache is off: on wanted");
    if (recipe->distill.cache && recipe->distill.peers > 1)
        return fail(RETORT_INVALID, "distill.cache: on, but students that teach each other change: "
                                    "off wanted");
    TRY(check_name(recipe->name));
    TRY(check_augment(&recipe->data, &usual->data));
    TRY(check_ensemble(&recipe->distill.ensemble, &usual->distill.ensemble));
    if (!recipe->data.set[0])
        return fail(RETORT_INVALID, "data.set: nothing found, the name of a data set wanted");
    if (!recipe->student.network[0])
        return fail(RETORT_INVALID, "student.network: nothing found, a network wanted");
    TRY(check_teacher(&recipe->teacher));
    TRY(check_taps(&recipe->distill.taps));
    TRY(check_distill(recipe));
    TRY(check_mixing(recipe));
    TRY(resolve_train("teacher", &recipe->teacher.train));
    TRY(recipe->distill.stages.count ? resolve_epochs(recipe)
                                     : resolve_train("student", &recipe->student.train));
    return check_schedules(recipe, usual);
}
