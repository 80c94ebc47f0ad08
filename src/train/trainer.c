/* trainer.c - the loop. */
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/engine/executor.h"
#include "train/schedule.h"
#include "train/trainer_parts.h"

/* Steps of an epoch at which gradients are measured loss by loss; steps in a row that may be
 * without effect. */
enum { MEASURED = 4, MOST_SKIPPED = 50 };

/* ---- an epoch ---- */

/* How many images of the batch the logits name rightly. */
static int count_right(const float *logits, int classes, const struct batch *batch)
{
    int right = 0;
    for (int i = 0; i < batch->n; i++) {
        const float *row = logits + (size_t)i * (size_t)classes;
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = row[c] > row[best] ? c : best;
        right += best == batch->labels[i];
    }
    return right;
}

/* What an epoch adds up, of the steps that had an effect. */
struct tally {
    struct objective_value value;
    struct objective_norms norms;
    int measured;
    long right;
};

static bool is_measured(const struct training_report *report)
{
    return (report->step - 1) % ((report->steps + MEASURED - 1) / MEASURED) == 0;
}

static void add_value(struct tally *tally, const struct objective_value *value, double times)
{
    tally->value.total += times * value->total;
    for (int i = 0; i < LOSS_COUNT; i++) {
        tally->value.raw[i] += times * value->raw[i];
        tally->value.weighted[i] += times * value->weighted[i];
    }
}

static void add_norms(struct tally *tally, const struct objective_norms *norms, int times)
{
    tally->measured += times;
    for (int i = 0; i < LOSS_COUNT; i++) {
        tally->norms.logits[i] += times * norms->logits[i];
        tally->norms.taps[i] += times * norms->taps[i];
    }
}

/* Images of the steps that had an effect; all batches are equally large. */
static double counted_images(const struct training_report *report)
{
    const double done = (double)(report->step - report->skipped);
    return report->step > 0 ? (double)report->images / (double)report->step * done : 0;
}

/* The sums that led to these means. */
static struct tally tally_of(const struct training_report *report)
{
    struct tally tally = {.right = lround(report->accuracy / 100 * counted_images(report))};
    add_value(&tally, &report->value, (double)(report->step - report->skipped));
    add_norms(&tally, &report->norms, report->measured);
    return tally;
}

static void take_means(const struct tally *tally, struct training_report *report)
{
    const long done = report->step - report->skipped;
    const double steps = done > 0 ? (double)done : 1;
    const double measured = tally->measured > 0 ? tally->measured : 1;
    report->value.total = tally->value.total / steps;
    for (int i = 0; i < LOSS_COUNT; i++) {
        report->value.raw[i] = tally->value.raw[i] / steps;
        report->value.weighted[i] = tally->value.weighted[i] / steps;
        report->norms.logits[i] = tally->norms.logits[i] / measured;
        report->norms.taps[i] = tally->norms.taps[i] / measured;
    }
    report->measured = tally->measured;
    report->accuracy = done > 0 ? 100.0 * (double)tally->right / counted_images(report) : 0;
}

/* ---- what is not finite ---- */

static void keep_statistics(const struct trainer *trainer)
{
    float *kept = trainer->statistics;
    for (int i = 0; kept && i < trainer->setup.model_count; i++) {
        size_t count;
        const float *numbers = executor_statistics(trainer->students[i].executor, &count);
        memcpy(kept, numbers, count * sizeof(float));
        kept += count;
    }
}

static void restore_statistics(const struct trainer *trainer)
{
    const float *kept = trainer->statistics;
    for (int i = 0; kept && i < trainer->setup.model_count; i++) {
        size_t count;
        float *numbers = executor_statistics(trainer->students[i].executor, &count);
        memcpy(numbers, kept, count * sizeof(float));
        kept += count;
    }
}

static enum retort_status fail_infinite(const struct trainer *trainer, const char *what,
                                        const struct training_report *report,
                                        const struct objective_value *value)
{
    char text[256] = "";
    for (int i = 0; i < LOSS_COUNT; i++)
        if (trainer->setup.losses[i])
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %g",
                     text[0] ? ", " : "", loss_of((enum loss_kind)i)->name, value->raw[i]);
    return fail(
        RETORT_BACKEND,
        "%s is not finite at step %ld of epoch %d (%s): lower the learning rate, or set clip_norm",
        what, report->step, trainer->setup.epochs_before + report->epoch + 1, text);
}

/* The step changes nothing, if the recipe wants that and it does not go on for ever. */
static enum retort_status pass_over(struct trainer *trainer, const char *what,
                                    struct training_report *report,
                                    const struct objective_value *value)
{
    if (!trainer->step.skips || ++trainer->skipped >= MOST_SKIPPED)
        return fail_infinite(trainer, what, report, value);
    restore_statistics(trainer);
    report->skipped++;
    return RETORT_OK;
}

/* ---- a step ---- */

static struct step_moment moment_of(const struct trainer *trainer, const struct batch *batch,
                                    const struct training_report *report)
{
    const struct trainer_setup *setup = &trainer->setup;
    const long done = (long)report->epoch * report->steps + report->step - 1;
    const long all = (long)setup->epochs * report->steps;
    const long before = (long)setup->epochs_before * report->steps;
    return (struct step_moment){.images = batch->images,
                                .labels = batch->labels,
                                .others = batch->others,
                                .shares = batch->shares,
                                .indices = batch->indices,
                                .views = batch->views,
                                .number = (uint32_t)(before + done),
                                .progress = all > 1 ? (double)done / (double)(all - 1) : 0,
                                .rate = setup->rehearsal ? 0 : report->rate};
}

static bool statistics_finite(const struct trainer *trainer)
{
    float nothing = 0;
    for (int i = 0; i < trainer->setup.model_count; i++) {
        size_t count;
        const float *numbers = executor_statistics(trainer->students[i].executor, &count);
        for (size_t k = 0; k < count; k++)
            nothing += 0 * numbers[k];
    }
    return nothing == 0;
}

/* The student whose loss is not finite, or NULL. */
static const struct objective_value *find_infinite(const struct trainer *trainer)
{
    for (int i = 0; i < trainer->setup.model_count; i++)
        if (!isfinite(trainer->values[i].total))
            return &trainer->values[i];
    return NULL;
}

/* The second half, and what the epoch remembers of the step. */
static enum retort_status finish_step(struct trainer *trainer, const struct step_moment *moment,
                                      struct training_report *report, struct tally *tally)
{
    struct objective_norms norms;
    enum step_end end;
    const bool measured = is_measured(report);
    if (measured)
        train_step_measure(&trainer->step, moment, &norms);
    TRY(train_step_backward(&trainer->step, moment, &end));
    if (end == STEP_BROKEN)
        return fail_infinite(trainer, "a weight", report, &trainer->values[0]);
    if (end == STEP_SKIPPED)
        return pass_over(trainer, "a gradient", report, &trainer->values[0]);
    trainer->skipped = 0;
    report->clipped += end == STEP_CLIPPED;
    add_value(tally, &trainer->values[0], 1);
    if (measured)
        add_norms(tally, &norms, 1);
    return RETORT_OK;
}

/* One step; the report's step and rate are set. */
static enum retort_status step_once(struct trainer *trainer, const struct batch *batch,
                                    struct training_report *report, struct tally *tally)
{
    const struct step_moment moment = moment_of(trainer, batch, report);
    if (trainer->unchecked > 0) {
        int compared;
        TRY(train_step_check_cache(&trainer->step, &moment, &compared));
        trainer->unchecked -= compared;
    }
    keep_statistics(trainer);
    train_step_forward(&trainer->step, &moment, trainer->values);
    const struct objective_value *infinite = find_infinite(trainer);
    if (infinite)
        return pass_over(trainer, "the loss", report, infinite);
    if (!statistics_finite(trainer))
        return pass_over(trainer, "a running statistic", report, &trainer->values[0]);
    const int right = count_right(executor_logits(trainer->students[0].executor),
                                  trainer->setup.models[0]->graph.classes, batch);
    const long skipped = report->skipped;
    TRY(finish_step(trainer, &moment, report, tally));
    tally->right += report->skipped == skipped ? right : 0;
    return RETORT_OK;
}

enum retort_status trainer_epoch(struct trainer *trainer, int epoch,
                                 const struct training_report *begun, training_listener *listener,
                                 void *context, struct training_report *report)
{
    const struct trainer_setup *setup = &trainer->setup;
    const long steps = trainer_steps(trainer);
    struct training_report now = {.epoch = epoch, .steps = steps, .val_top1 = -1};
    struct tally tally = {0};
    struct batch batch;
    if (begun) {
        now = *begun;
        tally = tally_of(begun);
    }
    const double start = omp_get_wtime() - now.seconds,
                 waited = loader_waited(trainer->loader) - now.waited;
    if (now.step < steps)
        TRY(loader_start(trainer->loader, setup->epochs_before + epoch, (int)now.step));
    for (now.step++; now.step <= steps; now.step++) {
        TRY(loader_next(trainer->loader, &batch));
        now.rate = schedule_rate(setup->train, (long)epoch * steps + now.step - 1,
                                 (long)setup->epochs * steps);
        TRY(step_once(trainer, &batch, &now, &tally));
        now.images += batch.n;
        take_means(&tally, &now);
        now.seconds = omp_get_wtime() - start;
        now.waited = loader_waited(trainer->loader) - waited;
        if (listener)
            TRY(listener(context, &now));
    }
    now.step = steps;
    *report = now;
    return RETORT_OK;
}

/* ---- making one ---- */

enum retort_status trainer_create(const struct trainer_setup *setup, struct trainer **trainer)
{
    struct trainer *made = NULL;
    TRY(trainer_check(setup));
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->setup = *setup;
    const enum retort_status status = trainer_build(made);
    if (status == RETORT_OK)
        *trainer = made;
    else
        trainer_destroy(made);
    return status;
}

void trainer_destroy(struct trainer *trainer)
{
    if (!trainer)
        return;
    loader_destroy(trainer->loader);
    cache_close(trainer->step.cache);
    cache_close(trainer->step.maps_cache);
    for (int i = 0; trainer->students && i < trainer->setup.model_count; i++) {
        objective_destroy(trainer->students[i].objective);
        executor_destroy(trainer->students[i].executor);
        if (trainer->optimizers)
            optimizer_release(&trainer->optimizers[i]);
        if (trainer->workspaces)
            free(trainer->workspaces[i]);
    }
    for (int i = 0; trainer->teachers && i < trainer->setup.teacher_count; i++)
        executor_destroy(trainer->teachers[i].executor);
    arena_release(&trainer->arena);
    free(trainer);
}

/* ---- looking at it ---- */

long trainer_steps(const struct trainer *trainer)
{
    return loader_batches(trainer->loader);
}

bool trainer_pair(const struct trainer *trainer, int index, const char *names[2])
{
    int taps[2];
    if (!objective_pair(trainer->students[0].objective, index, taps))
        return false;
    names[0] = trainer->taps.names[taps[0]];
    names[1] = trainer->taps.names[taps[1]];
    return true;
}

enum retort_status trainer_store(struct trainer *trainer)
{
    for (int i = 0; i < trainer->setup.model_count; i++)
        TRY(executor_store(trainer->students[i].executor, trainer->setup.models[i]));
    return RETORT_OK;
}

enum retort_status trainer_get_velocity(const struct trainer *trainer, int which,
                                        float *const *plain)
{
    return executor_flat_to_plain(trainer->students[which].executor,
                                  trainer->optimizers[which].velocity, plain);
}

enum retort_status trainer_set_velocity(struct trainer *trainer, int which, float *const *plain)
{
    return executor_plain_to_flat(trainer->students[which].executor, plain,
                                  trainer->optimizers[which].velocity);
}

bool trainer_teachers_intact(const struct trainer *trainer)
{
    for (int i = 0; i < trainer->step.teacher_count; i++)
        if (executor_hash(trainer->teachers[i].executor) != trainer->teacher_hashes[i])
            return false;
    return true;
}
