/* plan.c - retort/plan.h: the parts of a run, each tried for a few steps.
 *
 * Steps are timed rather than reckoned from multiply-accumulates: how many of those a second holds
 * differs by a factor of five between layers and by more between machines, and a step is the same
 * for a whole part. The steps are the trainer's own (trainer_epoch), stopped by their listener. */
#include "retort/plan.h"

#include <stdlib.h>
#include <string.h>

#include "train/experiment.h"

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
    enum retort_status status = trainer_epoch(trainer, 0, on_step, &timing, &report);
    if (status != RETORT_OK && !timing.enough)
        return status;
    *seconds =
        timing.steps > 1 ? (timing.last - timing.first) / (double)(timing.steps - 1) : timing.last;
    return RETORT_OK;
}

static enum retort_status add_pair(struct retort_plan *plan, const char *const names[2])
{
    struct retort_plan_pair *grown =
        realloc(plan->pairs, (size_t)(plan->pair_count + 1) * sizeof(*grown));
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory for a plan");
    plan->pairs = grown;
    struct retort_plan_pair *pair = &grown[plan->pair_count++];
    *pair = (struct retort_plan_pair){strdup(names[0]), strdup(names[1])};
    return pair->first && pair->second ? RETORT_OK
                                       : fail(RETORT_MEMORY, "out of memory for a plan");
}

static enum retort_status visit(void *context, const struct part *part, struct trainer *trainer)
{
    struct retort_plan *plan = context;
    const char *names[2];
    for (int i = 0; trainer_pair(trainer, i, names); i++)
        TRY(add_pair(plan, names));
    struct retort_plan_part made = {.part = part->name,
                                    .epochs = part->epochs,
                                    .batch = part->train->batch,
                                    .steps = trainer_steps(trainer)};
    TRY(time_steps(trainer, &made.step_seconds));
    made.seconds = made.step_seconds * (double)made.steps * made.epochs;
    plan->seconds += made.seconds;
    plan->parts[plan->part_count++] = made;
    return RETORT_OK;
}

static enum retort_status describe(const struct experiment *experiment, struct retort_plan *plan)
{
    const struct recipe *recipe = &experiment->recipe;
    const struct image_set *set = &experiment->dataset.train;
    TRY(recipe_print(recipe, &plan->recipe));
    plan->folder = strdup(experiment->folder);
    plan->teacher =
        strdup(experiment_trains_teacher(experiment) ? recipe->teacher.network
                                                     : recipe->teacher.weights.items[0]);
    plan->student = strdup(recipe->student.network);
    plan->classes = experiment->dataset.classes;
    plan->input[0] = set->channels;
    plan->input[1] = set->height;
    plan->input[2] = set->width;
    return plan->folder && plan->teacher && plan->student
               ? RETORT_OK
               : fail(RETORT_MEMORY, "out of memory for a plan");
}

enum retort_status retort_plan(const struct retort_run_options *options, struct retort_plan *plan)
{
    struct experiment experiment;
    struct retort_plan made = {0};
    enum retort_status status;
    TRY_DONE(experiment_open(options, &experiment));
    TRY_DONE(describe(&experiment, &made));
    TRY_DONE(experiment_try(&experiment, visit, &made));
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
    free(plan->pairs);
    free(plan->recipe);
    free(plan->folder);
    free(plan->teacher);
    free(plan->student);
    *plan = (struct retort_plan){0};
}
