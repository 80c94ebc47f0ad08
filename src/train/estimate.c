/* estimate.c - about how long a run still takes. */
#include "train/estimate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/cost.h"
#include "train/run_folder.h"

/* ---- the stages of a run ---- */

void estimate_release(struct estimate *estimate)
{
    free(estimate->stages);
    *estimate = (struct estimate){0};
}

enum retort_status estimate_add(struct estimate *estimate, const struct estimate_stage *stage)
{
    struct estimate_stage *grown =
        realloc(estimate->stages, (size_t)(estimate->count + 1) * sizeof(*grown));
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory for an estimate");
    estimate->stages = grown;
    grown[estimate->count++] = *stage;
    return RETORT_OK;
}

/* Teachers that are run in a step. */
static int teachers_of(const struct part *part)
{
    const struct ensemble *ensemble = part->ensemble;
    const bool some = ensemble && ensemble->rule == ENSEMBLE_RANDOM_K;
    return some && ensemble->k < part->teacher_count ? ensemble->k : part->teacher_count;
}

/* Forward is one pass over the weights, backward two: to the maps and to the weights. */
static double step_cost(const struct part *part, int stage, const struct training *training)
{
    double macs = 3.0 * training->count * (double)cost_macs(&training->extended[0].graph);
    if (part->teacher_count > 0)
        macs += teachers_of(part) * (double)cost_macs(&part->teachers[0]->graph);
    return macs * part->stages[stage].train.batch;
}

enum retort_status estimate_visit(void *context, const struct part *part, int stage,
                                  const struct training *training, struct trainer *trainer)
{
    struct estimate *estimate = context;
    struct estimate_stage made = {.stage = stage, .cost = step_cost(part, stage, training)};
    char *path = run_file(estimate->folder, part->name, ".safetensors");
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for an estimate");
    snprintf(made.part, sizeof(made.part), "%s", part->name);
    made.steps = (double)trainer_steps(trainer) * part->stages[stage].train.epochs;
    made.done = file_exists(path) ? made.steps : 0;
    free(path);
    return estimate_add(estimate, &made);
}

/* ---- what is known ---- */

static int find_stage(const struct estimate *estimate, const char *part, int stage)
{
    for (int i = 0; i < estimate->count; i++)
        if (estimate->stages[i].stage == stage && strcmp(estimate->stages[i].part, part) == 0)
            return i;
    return -1;
}

/* The first step heard of is not measured: nobody knows when it began, and it warms caches up. */
void estimate_note(struct estimate *estimate, const char *part, int stage, double done, double time)
{
    const int found = find_stage(estimate, part, stage);
    if (found < 0)
        return;
    struct estimate_stage *now = &estimate->stages[found];
    if (estimate->begun && found == estimate->now) {
        now->measured += done - now->done;
        now->seconds += time - estimate->last;
    }
    for (int i = 0; i < found; i++)
        estimate->stages[i].done = estimate->stages[i].steps;
    now->done = done;
    estimate->now = found;
    estimate->last = time;
    estimate->begun = true;
}

/* Seconds for a multiply-accumulate; 0: nothing has been measured. */
static double mean_rate(const struct estimate *estimate)
{
    double seconds = 0, cost = 0;
    for (int i = 0; i < estimate->count; i++) {
        seconds += estimate->stages[i].seconds;
        cost += estimate->stages[i].measured * estimate->stages[i].cost;
    }
    return cost > 0 ? seconds / cost : 0;
}

/* Seconds for a step of a stage, at this rate when neither it nor its like was measured. */
static double step_seconds(const struct estimate *estimate, int which, double rate)
{
    const struct estimate_stage *stage = &estimate->stages[which];
    if (stage->measured > 0)
        return stage->seconds / stage->measured;
    for (int i = estimate->count; i-- > 0;) {
        const struct estimate_stage *other = &estimate->stages[i];
        if (other->measured > 0 && other->cost == stage->cost)
            return other->seconds / other->measured;
    }
    return rate * stage->cost;
}

/* Both in seconds, or, while nothing is measured, in multiply-accumulates. */
static void add_up(const struct estimate *estimate, double *spent, double *left)
{
    const double measured = mean_rate(estimate), rate = measured > 0 ? measured : 1;
    *spent = *left = 0;
    for (int i = 0; i < estimate->count; i++) {
        const double seconds = step_seconds(estimate, i, rate);
        *spent += estimate->stages[i].done * seconds;
        *left += (estimate->stages[i].steps - estimate->stages[i].done) * seconds;
    }
}

double estimate_left(const struct estimate *estimate)
{
    double spent, left;
    add_up(estimate, &spent, &left);
    return mean_rate(estimate) > 0 || left <= 0 ? left : -1;
}

double estimate_share(const struct estimate *estimate)
{
    double spent, left;
    add_up(estimate, &spent, &left);
    return spent + left > 0 ? spent / (spent + left) : 0;
}
