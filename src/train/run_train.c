/* run_train.c - one part of a run in training: stage after stage, epoch after epoch, each epoch
 * written down and saved. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/evaluate.h"
#include "train/run_parts.h"
#include "train/state.h"

/* Between two states within an epoch, unless the caller says otherwise. */
static const double SAVE_MINUTES = 5;

enum retort_status run_tell(const struct run *run, const struct retort_progress *progress)
{
    const struct retort_run_options *options = run->options;
    if (options->listener && options->listener(options->context, progress))
        return fail(RETORT_STOPPED, "stopped; the same command with --resume goes on from there");
    return RETORT_OK;
}

/* A stage that goes on. */
struct listening {
    struct run *run;
    const struct part *part;
    int stage, before; /* before: epochs of earlier stages */
    struct trainer *trainer;
    const struct training *training;
    struct state_place saved; /* the last state */
    double saved_at;          /* when, in seconds */
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

/* Write down where the stage stands. */
static enum retort_status save(struct listening *listening, const struct state_place *place)
{
    TRY(state_save(listening->run->experiment.folder, listening->part->name, place,
                   listening->trainer, listening->training->models, listening->training->count));
    listening->saved = *place;
    listening->saved_at = omp_get_wtime();
    return RETORT_OK;
}

/* A run that is to stop stops with its state saved; otherwise the state is saved now and then (the
 * end of an epoch saves too). */
static enum retort_status on_step(void *context, const struct training_report *report)
{
    struct listening *listening = context;
    const double minutes = listening->run->options->save_minutes;
    const struct state_place place = {listening->stage, report->epoch, *report, false};
    const struct retort_progress progress = progress_of(listening, report, RETORT_STEP);
    const enum retort_status status = run_tell(listening->run, &progress);
    const double age = (omp_get_wtime() - listening->saved_at) / 60;
    const bool due = age >= (minutes > 0 ? minutes : SAVE_MINUTES) && report->step < report->steps;
    if (status != RETORT_STOPPED)
        return due ? save(listening, &place) : status;
    TRY(save(listening, &place));
    return fail(RETORT_STOPPED,
                "stopped in %s after step %ld of %ld of epoch %d, and saved: the same command with "
                "--resume goes on from there",
                listening->part->name, report->step, report->steps, progress.epoch);
}

/* What went wrong in an epoch did not go into the saved state: say which that is. */
static enum retort_status blame_epoch(const struct listening *listening, enum retort_status status)
{
    char sentence[512];
    const struct state_place *saved = &listening->saved;
    if (status == RETORT_OK || status == RETORT_STOPPED || status == RETORT_MEMORY)
        return status;
    snprintf(sentence, sizeof(sentence), "%s", retort_message());
    const int epochs = listening->before + saved->epochs;
    if (saved->report.step > 0)
        return fail(status, "%s: %s; the last good state is that after step %ld of epoch %d",
                    listening->part->name, sentence, saved->report.step, epochs + 1);
    if (epochs > 0)
        return fail(status, "%s: %s; the last good state is that after epoch %d",
                    listening->part->name, sentence, epochs);
    return fail(status, "%s: %s", listening->part->name, sentence);
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

static enum retort_status save_epoch(struct listening *listening, struct training_report *report)
{
    struct run *run = listening->run;
    const struct part *part = listening->part;
    const int stage = listening->stage;
    const struct state_place place = {.stage = stage, .epochs = report->epoch + 1};
    TRY(validate(run, part, stage, listening->trainer, listening->training, report));
    TRY(metrics_add_epoch(&run->metrics, part->name, stage, listening->before, part->epochs,
                          part->stages[stage].losses, report));
    TRY(save(listening, &place));
    TRY(events_add_epoch(&run->events, metrics_last(&run->metrics)));
    struct retort_progress progress = progress_of(listening, report, RETORT_EPOCH);
    return run_tell(run, &progress);
}

/* All epochs of a stage that are still to do, from where listening->saved stands; the models end
 * with the trained numbers. */
static enum retort_status train_epochs(struct listening *listening)
{
    const struct part *part = listening->part;
    const struct training_report begun = listening->saved.report;
    for (int epoch = listening->saved.epochs; epoch < part->stages[listening->stage].train.epochs;
         epoch++) {
        struct training_report report;
        /* A forced run may have other epochs; this one begins again then. */
        const bool goes_on = begun.step > 0 && epoch == begun.epoch &&
                             begun.steps == trainer_steps(listening->trainer);
        TRY(blame_epoch(listening, trainer_epoch(listening->trainer, epoch, goes_on ? &begun : NULL,
                                                 on_step, listening, &report)));
        TRY(save_epoch(listening, &report));
    }
    if (!trainer_teachers_intact(listening->trainer))
        return fail(RETORT_BACKEND, "%s: a teacher's weights changed while the student trained",
                    part->name);
    return trainer_store(listening->trainer);
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
static enum retort_status train_stage(struct run *run, const struct part *part, int before,
                                      const struct state_place *from, struct training *training)
{
    const int stage = from->stage;
    struct trainer *trainer = NULL;
    float **velocities[MOST_PEERS] = {0};
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < training->count && status == RETORT_OK; i++)
        status = velocity_create(&training->extended[i].graph, &velocities[i]);
    if (status == RETORT_OK && (from->epochs > 0 || from->report.step > 0))
        status =
            state_load(run->experiment.folder, from, training->models, velocities, training->count);
    if (status == RETORT_OK)
        status = experiment_trainer(&run->experiment, part, stage, training, &trainer);
    if (status == RETORT_OK)
        status = announce_cache(run, part, trainer);
    for (int i = 0; i < training->count && status == RETORT_OK; i++)
        status = trainer_set_velocity(trainer, i, velocities[i]);
    if (status == RETORT_OK)
        status = train_epochs(&(struct listening){run, part, stage, before, trainer, training,
                                                  *from, omp_get_wtime()});
    trainer_destroy(trainer);
    for (int i = 0; i < training->count; i++)
        velocity_destroy(velocities[i]);
    return status;
}

/* Where the part goes on. */
static enum retort_status find_place(const struct run *run, const struct part *part,
                                     struct state_place *place)
{
    char text[512];
    *place = (struct state_place){0};
    if (!run->options->resume)
        return RETORT_OK;
    TRY(state_find(run->experiment.folder, part->name, place));
    if (place->stage >= part->stage_count ||
        place->epochs > part->stages[place->stage].train.epochs ||
        (place->report.step > 0 && place->epochs == part->stages[place->stage].train.epochs))
        return fail(RETORT_FORMAT,
                    "%s: the saved state is of stage %d, epoch %d: not this recipe's", part->name,
                    place->stage + 1, place->epochs);
    if (!place->previous)
        return RETORT_OK;
    snprintf(text, sizeof(text),
             "%s: the last state is damaged or away, training goes on from the one before it",
             part->name);
    struct retort_progress note = {.kind = RETORT_NOTE, .part = part->name, .text = text};
    return run_tell(run, &note);
}

/* Stage after stage; networks: the part's, `peers` of them. */
static enum retort_status train_networks(struct run *run, const struct part *part,
                                         struct model *const *networks)
{
    struct training training = {0}, earlier = {0};
    struct state_place place;
    int before = 0;
    enum retort_status status = RETORT_OK;
    TRY(find_place(run, part, &place));
    const int first = place.stage;
    for (int stage = 0; stage < part->stage_count && status == RETORT_OK; stage++) {
        if (stage == first)
            metrics_drop(&run->metrics, part->name, before + place.epochs + 1);
        else if (stage > first)
            place = (struct state_place){.stage = stage};
        if (stage >= first) {
            status = training_begin(&run->experiment, part, stage, networks,
                                    earlier.count ? &earlier : NULL, &training);
            if (status == RETORT_OK)
                status = train_stage(run, part, before, &place, &training);
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
