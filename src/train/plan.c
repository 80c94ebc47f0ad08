/* plan.c - retort/plan.h: the parts of a run, each tried for a few steps.
 *
 * Steps are timed rather than reckoned from multiply-accumulates: how many of those a second holds
 * differs by a factor of five between layers and by more between machines, and a step is the same
 * for a whole part. The steps are the trainer's own (trainer_epoch), stopped by their listener. */
#include "retort/plan.h"

#include <stdlib.h>
#include <string.h>

#include "distill/adapter.h"
#include "train/experiment.h"
#include "train/run_folder.h"

/* The first step warms caches up and is not counted, unless it is the only one. */
enum { STEPS = 5 };
static const double ENOUGH = 2; /* seconds, once two steps are done */

struct timing {
    double first, last; /* seconds at the end of the first and of the last step */
    long steps;
    bool enough;
};

static enum retort_status on_step(void *context, const struct training_report *report)
{
    struct timing *timing = context;
    timing->last = report->seconds;
    timing->steps = report->step;
    if (report->step == 1)
        timing->first = report->seconds;
    timing->enough = report->step == STEPS || (report->step > 1 && report->seconds > ENOUGH);
    return timing->enough ? fail(RETORT_STOPPED, "timed") : RETORT_OK;
}

static enum retort_status time_steps(struct trainer *trainer, double *seconds)
{
    struct timing timing = {0};
    struct training_report report;
    enum retort_status status = trainer_epoch(trainer, 0, NULL, on_step, &timing, &report);
    if (status != RETORT_OK && !timing.enough)
        return status;
    *seconds =
        timing.steps > 1 ? (timing.last - timing.first) / (double)(timing.steps - 1) : timing.last;
    return RETORT_OK;
}

/* Room for one more at the end of a list. */
static enum retort_status grow(void **items, int count, size_t bytes)
{
    void *grown = realloc(*items, (size_t)(count + 1) * bytes);
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory for a plan");
    memset((char *)grown + (size_t)count * bytes, 0, bytes);
    *items = grown;
    return RETORT_OK;
}

static enum retort_status copied(const char *text)
{
    return text ? RETORT_OK : fail(RETORT_MEMORY, "out of memory for a plan");
}

static enum retort_status add_pair(struct retort_plan *plan, const char *const names[2])
{
    for (int i = 0; i < plan->pair_count; i++)
        if (!strcmp(plan->pairs[i].first, names[0]) && !strcmp(plan->pairs[i].second, names[1]))
            return RETORT_OK;
    TRY(grow((void **)&plan->pairs, plan->pair_count, sizeof(*plan->pairs)));
    struct retort_plan_pair *pair = &plan->pairs[plan->pair_count++];
    *pair = (struct retort_plan_pair){strdup(names[0]), strdup(names[1])};
    TRY(copied(pair->first));
    return copied(pair->second);
}

/* An adapter's tap is where it lies behind in the extended network, and the student's own width is
 * its convolution's depth. */
static enum retort_status add_adapters(struct retort_plan *plan, const struct model *extended)
{
    for (int i = 0; i < extended->graph.parameter_count; i++) {
        const struct parameter *parameter = &extended->graph.parameters[i];
        const char *end = strrchr(parameter->name, '.');
        if (!adapter_owns(parameter) || parameter->rank != 4 || !end)
            continue;
        const struct node *node = &extended->graph.nodes[parameter->node];
        const char *from = strchr(node->name, '.') + 1, *to = strrchr(node->name, '.');
        char *tap = strndup(from, (size_t)(to - from));
        TRY(copied(tap));
        bool known = false;
        for (int k = 0; k < plan->adapter_count; k++)
            known |= strcmp(plan->adapters[k].tap, tap) == 0;
        const enum retort_status status =
            known ? RETORT_OK
                  : grow((void **)&plan->adapters, plan->adapter_count, sizeof(*plan->adapters));
        if (known || status != RETORT_OK) {
            free(tap);
            TRY(status);
            continue;
        }
        plan->adapters[plan->adapter_count++] =
            (struct retort_plan_adapter){tap, parameter->dims[1], parameter->dims[0]};
    }
    return RETORT_OK;
}

struct visiting {
    struct retort_plan *plan;
    int views;           /* epochs in which a student with a cache runs its teachers */
    double student_step; /* seconds of a step without teachers; 0: not known */
};

/* The first epochs fill a cache: all teachers look at every batch, not only those that a rule
 * draws. */
static double filling_step(const struct visiting *visiting, const struct part *part,
                           const struct retort_plan_part *made)
{
    const struct ensemble *ensemble = part->ensemble;
    const int all = part->teacher_count;
    const int drawn = ensemble->rule == ENSEMBLE_RANDOM_K && ensemble->k < all ? ensemble->k : all;
    const double teachers = made->step_seconds - visiting->student_step;
    return visiting->student_step + (teachers > 0 ? teachers : 0) * all / drawn;
}

/* Once a cache is full, an epoch costs what the plain student's does, if the teachers' maps are not
 * looked at or are kept too. */
static double stage_seconds(const struct visiting *visiting, const struct part *part, int stage,
                            const struct retort_plan_part *made, bool rests)
{
    int filling = 0, before = 0;
    for (int i = 0; i < stage; i++)
        before += part->stages[i].train.epochs;
    if (visiting->views == 0 || part->teacher_count == 0 || visiting->student_step == 0)
        return (double)made->steps * made->epochs * made->step_seconds;
    filling = visiting->views > before ? visiting->views - before : 0;
    filling = filling < made->epochs ? filling : made->epochs;
    return (double)made->steps *
           (filling * filling_step(visiting, part, made) +
            (made->epochs - filling) * (rests ? visiting->student_step : made->step_seconds));
}

static enum retort_status visit(void *context, const struct part *part, int stage,
                                const struct training *training, struct trainer *trainer)
{
    struct visiting *visiting = context;
    struct retort_plan *plan = visiting->plan;
    const char *names[2];
    for (int i = 0; trainer_pair(trainer, i, names); i++)
        TRY(add_pair(plan, names));
    TRY(add_adapters(plan, &training->extended[0]));
    struct retort_plan_part made = {.stage = stage + 1,
                                    .stages = part->stage_count,
                                    .epochs = part->stages[stage].train.epochs,
                                    .batch = part->stages[stage].train.batch,
                                    .steps = trainer_steps(trainer)};
    memcpy(made.part, part->name, sizeof(made.part));
    TRY(time_steps(trainer, &made.step_seconds));
    made.seconds = stage_seconds(visiting, part, stage, &made, trainer_teachers_rest(trainer));
    if (part->bit == RETORT_BASELINE)
        visiting->student_step = made.step_seconds;
    plan->seconds += made.seconds;
    TRY(grow((void **)&plan->parts, plan->part_count, sizeof(*plan->parts)));
    plan->parts[plan->part_count++] = made;
    return RETORT_OK;
}

static enum retort_status describe(const struct experiment *experiment, struct retort_plan *plan)
{
    const struct recipe *recipe = &experiment->recipe;
    const struct image_set *set = &experiment->dataset.train;
    TRY(recipe_print(recipe, &plan->recipe));
    plan->folder = strdup(experiment->folder);
    plan->teacher_count = experiment_teachers(experiment);
    if (plan->teacher_count > 0)
        plan->teacher =
            strdup(experiment_trains_teachers(experiment) ? recipe->teacher.network
                                                          : recipe->teacher.weights.items[0]);
    plan->student = strdup(recipe->student.network);
    plan->classes = experiment->dataset.classes;
    plan->input[0] = set->channels;
    plan->input[1] = set->height;
    plan->input[2] = set->width;
    return plan->folder && (plan->teacher || plan->teacher_count == 0) && plan->student
               ? RETORT_OK
               : fail(RETORT_MEMORY, "out of memory for a plan");
}

/* What stands in the way at the place where the run would go. */
static enum retort_status find_obstacle(const struct experiment *experiment,
                                        struct retort_plan *plan)
{
    const struct retort_run_options *options = experiment->options;
    enum retort_status status = run_check_folder(experiment->folder, &experiment->recipe,
                                                 &experiment->dataset, options->resume);
    if (status == RETORT_INVALID && options->resume && options->force)
        status = RETORT_OK; /* it is told, and goes on */
    if (status == RETORT_OK)
        status = experiment_find_teachers(experiment);
    if (status == RETORT_OK || status == RETORT_MEMORY)
        return status;
    plan->obstacle = strdup(retort_message());
    return copied(plan->obstacle);
}

enum retort_status retort_plan(const struct retort_run_options *options, struct retort_plan *plan)
{
    struct experiment experiment;
    struct retort_plan made = {0};
    enum retort_status status;
    TRY_DONE(experiment_open(options, &experiment));
    TRY_DONE(describe(&experiment, &made));
    struct visiting visiting = {
        &made, experiment.recipe.distill.cache ? experiment.recipe.data.views : 0, 0};
    TRY_DONE(experiment_try(&experiment, visit, &visiting));
    made.cache_bytes = experiment.cache_bytes;
    TRY_DONE(find_obstacle(&experiment, &made));
    *plan = made;
    made = (struct retort_plan){0};
done:
    retort_plan_release(&made);
    experiment_close(&experiment);
    return status;
}

void retort_plan_release(struct retort_plan *plan)
{
    for (int i = 0; i < plan->pair_count; i++) {
        free(plan->pairs[i].first);
        free(plan->pairs[i].second);
    }
    for (int i = 0; i < plan->adapter_count; i++)
        free(plan->adapters[i].tap);
    free(plan->pairs);
    free(plan->adapters);
    free(plan->parts);
    free(plan->recipe);
    free(plan->folder);
    free(plan->teacher);
    free(plan->obstacle);
    free(plan->student);
    *plan = (struct retort_plan){0};
}
