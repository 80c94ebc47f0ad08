/* run_train.c - one part of a run in training: stage after stage, epoch after epoch, each epoch
 * written down and saved. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/evaluate.h"
#include "train/run_parts.h"
#include "train/state.h"

enum retort_status run_tell(const struct run *run, const struct retort_progress *progress)
{
    const struct retort_run_options *options = run->options;
    if (options->listener && options->listener(options->context, progress))
        return fail(RETORT_STOPPED,
                    "stopped; what finished epochs saved is kept: --resume goes on from there");
    return RETORT_OK;
}

struct listening {
    struct run *run;
    const struct part *part;
    int stage, before; /* before: epochs of earlier stages */
};

static struct retort_progress progress_of(const struct listening *listening,
                                          const struct training_report *report,
                                          enum retort_progress_kind kind)
{
    const struct part *part = listening->part;
    const int epoch = listening->before + report->epoch;
    double done = (double)epoch * (double)report->steps + (double)report->step;
    double left = (double)part->epochs * (double)report->steps - done;
    struct estimate *estimate = &listening->run->estimate;
    estimate_note(estimate, part->name, listening->stage,
                  (double)report->epoch * (double)report->steps + (double)report->step,
                  omp_get_wtime());
    return (struct retort_progress){.kind = kind,
                                    .part = part->name,
                                    .epoch = epoch + 1,
                                    .epochs = part->epochs,
                                    .step = report->step,
                                    .steps = report->steps,
                                    .loss = report->value.total,
                                    .accuracy = report->accuracy,
                                    .rate = report->rate,
                                    .images_per_second = (double)report->images / report->seconds,
                                    .waited = training_waited_percent(report),
                                    .val_top1 = report->val_top1,
                                    .remaining = left * report->seconds / (double)report->step,
                                    .run_remaining = estimate_left(estimate),
                                    .run_share = estimate_share(estimate)};
}

static enum retort_status on_step(void *context, const struct training_report *report)
{
    const struct listening *listening = context;
    struct retort_progress progress = progress_of(listening, report, RETORT_STEP);
    return run_tell(listening->run, &progress);
}

/* On the images that were held out, if any were. */
static enum retort_status validate(const struct run *run, const struct part *part, int stage,
                                   struct trainer *trainer, const struct training *training,
                                   struct training_report *report)
{
    struct evaluation evaluation;
    if (run->experiment.dataset.val.count == 0)
        return RETORT_OK;
    TRY(trainer_store(trainer));
    TRY(evaluate_val(training->models[0], &run->experiment.dataset, part->stages[stage].train.batch,
                     (enum precision)run->experiment.recipe.precision, &evaluation));
    report->val_top1 = evaluation.top1;
    return RETORT_OK;
}

static enum retort_status save_epoch(struct run *run, const struct listening *listening, int stage,
                                     struct trainer *trainer, const struct training *training,
                                     struct training_report *report)
{
    const struct part *part = listening->part;
    TRY(validate(run, part, stage, trainer, training, report));
    TRY(metrics_add_epoch(&run->metrics, part->name, stage, listening->before, part->epochs,
                          part->stages[stage].losses, report));
    TRY(state_save(run->experiment.folder, part->name, stage, report->epoch + 1, trainer,
                   training->models, training->count));
    TRY(events_add_epoch(&run->events, metrics_last(&run->metrics)));
    struct retort_progress progress = progress_of(listening, report, RETORT_EPOCH);
    return run_tell(run, &progress);
}

/* All epochs of a stage that are still to do; the models end with the trained numbers. */
static enum retort_status train_epochs(struct run *run, const struct part *part, int stage,
                                       int before, struct trainer *trainer,
                                       const struct training *training, int from)
{
    struct listening listening = {run, part, stage, before};
    for (int epoch = from; epoch < part->stages[stage].train.epochs; epoch++) {
        struct training_report report;
        TRY(trainer_epoch(trainer, epoch, on_step, &listening, &report));
        TRY(save_epoch(run, &listening, stage, trainer, training, &report));
    }
    if (!trainer_teachers_intact(trainer))
        return fail(RETORT_BACKEND, "%s: a teacher's weights changed while the student trained",
                    part->name);
    return trainer_store(trainer);
}

static enum retort_status announce_cache(const struct run *run, const struct part *part,
                                         const struct trainer *trainer)
{
    char text[512];
    const size_t bytes = trainer_cache_bytes(trainer);
    if (bytes == 0)
        return RETORT_OK;
    snprintf(text, sizeof(text), "%s: teacher cache of %.1f MB in %s/state", part->name,
             (double)bytes / 1e6, run->experiment.folder);
    struct retort_progress note = {.kind = RETORT_NOTE, .part = part->name, .text = text};
    return run_tell(run, &note);
}

/* Begin where the saved state ends; a stage begins with the optimizer at rest. */
static enum retort_status train_stage(struct run *run, const struct part *part, int stage,
                                      int before, int done, struct training *training)
{
    struct trainer *trainer = NULL;
    float **velocities[MOST_PEERS] = {0};
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < training->count && status == RETORT_OK; i++)
        status = velocity_create(&training->extended[i].graph, &velocities[i]);
    if (status == RETORT_OK && done > 0)
        status = state_load(run->experiment.folder, training->models, velocities, training->count);
    if (status == RETORT_OK)
        status = experiment_trainer(&run->experiment, part, stage, training, &trainer);
    if (status == RETORT_OK)
        status = announce_cache(run, part, trainer);
    for (int i = 0; i < training->count && status == RETORT_OK; i++)
        status = trainer_set_velocity(trainer, i, velocities[i]);
    if (status == RETORT_OK)
        status = train_epochs(run, part, stage, before, trainer, training, done);
    trainer_destroy(trainer);
    for (int i = 0; i < training->count; i++)
        velocity_destroy(velocities[i]);
    return status;
}

/* Stage after stage; networks: the part's, `peers` of them. */
static enum retort_status train_networks(struct run *run, const struct part *part,
                                         struct model *const *networks)
{
    struct training training = {0}, earlier = {0};
    int first = 0, done = 0, before = 0;
    enum retort_status status = RETORT_OK;
    if (run->options->resume)
        TRY(state_find(run->experiment.folder, part->name, &first, &done));
    if (first >= part->stage_count || done > part->stages[first].train.epochs)
        return fail(RETORT_FORMAT,
                    "%s: the saved state is of stage %d, epoch %d: not this recipe's", part->name,
                    first + 1, done);
    for (int stage = 0; stage < part->stage_count && status == RETORT_OK; stage++) {
        const int from = stage == first ? done : 0;
        if (stage == first)
            metrics_drop(&run->metrics, part->name, before + done + 1);
        if (stage >= first) {
            status = training_begin(&run->experiment, part, stage, networks,
                                    earlier.count ? &earlier : NULL, &training);
            if (status == RETORT_OK)
                status = train_stage(run, part, stage, before, from, &training);
            if (status == RETORT_OK)
                training_end(&training, networks);
            training_release(&earlier);
            earlier = training;
            training = (struct training){0};
        }
        before += part->stages[stage].train.epochs;
    }
    training_release(&earlier);
    return status;
}

/* Peers begin with weights of their own; the first one is the part's network. */
enum retort_status run_train_model(struct run *run, const struct part *part, struct model *model)
{
    struct model others[MOST_PEERS] = {0}, *networks[MOST_PEERS] = {model};
    enum retort_status status = RETORT_OK;
    for (int i = 1; i < part->peers && status == RETORT_OK; i++) {
        networks[i] = &others[i];
        status = experiment_new_model(&run->experiment, part->network,
                                      part->seed + ((uint64_t)i << 48), &others[i]);
    }
    if (status == RETORT_OK)
        status = train_networks(run, part, networks);
    for (int i = 1; i < part->peers; i++)
        model_release(&others[i]);
    return status;
}
