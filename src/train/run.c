/* run.c - from recipe to result.
 *
 * Teacher, plain student and distilled student are parts; each is trained by the same code, saved
 * whole, and never trained again once its file is there. A resumed run finds out by itself which
 * parts are done and where the current one stands. The test set is looked at once per network, at
 * the end of its training. */
#include "retort/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "nn/cost.h"
#include "train/evaluate.h"
#include "train/experiment.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/state.h"

struct run {
    const struct retort_run_options *options;
    struct experiment experiment;
    struct metrics metrics;
    struct retort_run_result result;
};

/* ---- telling the listener ---- */

static enum retort_status tell(const struct run *run, const struct retort_progress *progress)
{
    const struct retort_run_options *options = run->options;
    if (options->listener && options->listener(options->context, progress))
        return fail(RETORT_STOPPED,
                    "stopped; what finished epochs saved is kept: --resume goes on from there");
    return RETORT_OK;
}

struct listening {
    const struct run *run;
    const struct part *part;
};

static struct retort_progress progress_of(const struct part *part,
                                          const struct training_report *report,
                                          enum retort_progress_kind kind)
{
    double done = (double)report->epoch * (double)report->steps + (double)report->step;
    double left = (double)part->epochs * (double)report->steps - done;
    return (struct retort_progress){.kind = kind,
                                    .part = part->name,
                                    .epoch = report->epoch + 1,
                                    .epochs = part->epochs,
                                    .step = report->step,
                                    .steps = report->steps,
                                    .loss = report->value.total,
                                    .accuracy = report->accuracy,
                                    .rate = report->rate,
                                    .images_per_second = (double)report->images / report->seconds,
                                    .waited = training_waited_percent(report),
                                    .remaining = left * report->seconds / (double)report->step};
}

static enum retort_status on_step(void *context, const struct training_report *report)
{
    const struct listening *listening = context;
    struct retort_progress progress = progress_of(listening->part, report, RETORT_STEP);
    return tell(listening->run, &progress);
}

/* ---- training a part ---- */

static enum retort_status save_epoch(struct run *run, const struct part *part,
                                     struct trainer *trainer, struct model *model,
                                     const struct training_report *report)
{
    TRY(metrics_add_epoch(&run->metrics, part->name, part->epochs, part->losses, report));
    TRY(state_save(run->experiment.folder, part->name, report->epoch + 1, trainer, model));
    struct retort_progress progress = progress_of(part, report, RETORT_EPOCH);
    return tell(run, &progress);
}

/* All epochs that are still to do; the model ends with the trained numbers. */
static enum retort_status train_epochs(struct run *run, const struct part *part,
                                       struct model *model, struct trainer *trainer, int from)
{
    struct listening listening = {run, part};
    for (int epoch = from; epoch < part->epochs; epoch++) {
        struct training_report report;
        TRY(trainer_epoch(trainer, epoch, on_step, &listening, &report));
        TRY(save_epoch(run, part, trainer, model, &report));
    }
    if (!trainer_teacher_intact(trainer))
        return fail(RETORT_BACKEND, "%s: the teacher's weights changed while the student trained",
                    part->name);
    return trainer_store(trainer);
}

static enum retort_status train_model(struct run *run, const struct part *part, struct model *model)
{
    struct trainer *trainer = NULL;
    float **velocity = NULL;
    enum retort_status status;
    int done = 0;
    TRY_DONE(velocity_create(&model->graph, &velocity));
    if (run->options->resume)
        TRY_DONE(state_load(run->experiment.folder, part->name, model, velocity, &done));
    metrics_drop(&run->metrics, part->name, done + 1);
    TRY_DONE(experiment_trainer(&run->experiment, part, model, &trainer));
    TRY_DONE(trainer_set_velocity(trainer, velocity));
    status = train_epochs(run, part, model, trainer, done);
done:
    trainer_destroy(trainer);
    velocity_destroy(velocity);
    return status;
}

/* ---- models ---- */

/* What the user of the network must know, and where it came from. */
static enum retort_status describe_model(const struct run *run, const struct part *part,
                                         struct model *model)
{
    const struct dataset *dataset = &run->experiment.dataset;
    memcpy(model->mean, dataset->mean, sizeof(model->mean));
    memcpy(model->std, dataset->std, sizeof(model->std));
    TRY(model_name_classes(model, (const char *const *)dataset->class_names));
    json_t *provenance =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "recipe", run->experiment.recipe.name, "part",
                  part->name, "method", part->method, "dataset", dataset->name, "seed",
                  json_sprintf("%llu", (unsigned long long)part->seed), "epochs",
                  json_sprintf("%d", part->epochs));
    if (!provenance)
        return fail(RETORT_MEMORY, "out of memory for the provenance");
    json_decref(model->provenance);
    model->provenance = provenance;
    return RETORT_OK;
}

static enum retort_status note_accuracy(struct model *model, const struct evaluation *evaluation)
{
    json_t *top1 = json_sprintf("%.2f", evaluation->top1);
    if (!top1 || json_object_set_new(model->provenance, "top1", top1))
        return fail(RETORT_MEMORY, "out of memory for the provenance");
    return RETORT_OK;
}

/* ---- results ---- */

static int64_t file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
}

static enum retort_status add_result(struct run *run, const char *part, const struct model *model,
                                     const char *path, const struct evaluation *evaluation)
{
    struct retort_run_result *result = &run->result;
    struct retort_model_result *grown =
        realloc(result->models, (size_t)(result->count + 1) * sizeof(*result->models));
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory for results");
    result->models = grown;
    struct retort_model_result *made = &grown[result->count++];
    *made = (struct retort_model_result){.network = strdup(model->graph.network),
                                         .path = strdup(path),
                                         .top1 = evaluation->top1,
                                         .top5 = evaluation->top5,
                                         .parameters = cost_parameters(&model->graph),
                                         .macs = cost_macs(&model->graph),
                                         .file_bytes = file_size(path),
                                         .images_per_second =
                                             (double)evaluation->images / evaluation->seconds};
    snprintf(made->part, sizeof(made->part), "%s", part);
    return made->network && made->path ? RETORT_OK
                                       : fail(RETORT_MEMORY, "out of memory for results");
}

static enum retort_status judge(struct run *run, const char *name, const struct recipe_train *train,
                                const struct model *model, struct evaluation *evaluation)
{
    TRY(evaluate(model, &run->experiment.dataset, train->batch,
                 (enum precision)run->experiment.recipe.precision, evaluation));
    struct retort_progress progress = {
        .kind = RETORT_PART_ENDS, .part = name, .test_top1 = evaluation->top1};
    return tell(run, &progress);
}

/* ---- the parts ---- */

static char *part_path(const struct run *run, const char *name)
{
    return run_file(run->experiment.folder, name, ".safetensors");
}

static bool is_done(const struct run *run, const char *name)
{
    char *path = part_path(run, name);
    bool there = path && file_exists(path);
    free(path);
    return there;
}

/* Train a new model, evaluate it and save it; the file's presence says that the part is done. */
static enum retort_status make_part(struct run *run, const struct part *part, const char *path,
                                    struct model *model)
{
    struct evaluation evaluation;
    char text[256];
    snprintf(text, sizeof(text), "%s: %s, %d epochs of %s", part->name, part->network, part->epochs,
             run->experiment.dataset.name);
    struct retort_progress progress = {
        .kind = RETORT_PART_BEGINS, .part = part->name, .text = text, .epochs = part->epochs};
    TRY(tell(run, &progress));
    TRY(experiment_new_model(&run->experiment, part->network, part->seed, model));
    TRY(train_model(run, part, model));
    TRY(describe_model(run, part, model));
    TRY(judge(run, part->name, part->train, model, &evaluation));
    TRY(note_accuracy(model, &evaluation));
    TRY(model_save(model, path));
    TRY(state_remove(run->experiment.folder));
    return add_result(run, part->name, model, path, &evaluation);
}

static enum retort_status find_part(struct run *run, const struct part *part, const char *path,
                                    struct model *model)
{
    struct evaluation evaluation;
    TRY(model_load(path, model));
    if (strcmp(model->graph.network, part->network))
        return fail(RETORT_INVALID, "%s: holds %s, the recipe wants %s", path, model->graph.network,
                    part->network);
    TRY(judge(run, part->name, part->train, model, &evaluation));
    return add_result(run, part->name, model, path, &evaluation);
}

/* Make the part, or take what is there. *model is made on success only. */
static enum retort_status do_part(struct run *run, const struct part *part, struct model *model)
{
    struct model made = {0};
    char *path = part_path(run, part->name);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status =
        file_exists(path) ? find_part(run, part, path, &made) : make_part(run, part, path, &made);
    free(path);
    if (status == RETORT_OK)
        *model = made;
    else
        model_release(&made);
    return status;
}

static enum retort_status do_teacher(struct run *run, struct model *teacher)
{
    const struct recipe_teacher *recipe = &run->experiment.recipe.teacher;
    struct part part = experiment_teacher(&run->experiment);
    struct evaluation evaluation;
    if (experiment_trains_teacher(&run->experiment))
        return do_part(run, &part, teacher);
    TRY(experiment_load_teacher(&run->experiment, teacher));
    TRY(judge(run, part.name, part.train, teacher, &evaluation));
    return add_result(run, part.name, teacher, recipe->weights.items[0], &evaluation);
}

/* A part that was not asked for takes its place in the summary all the same when it is there. */
static enum retort_status do_student(struct run *run, const struct part *part)
{
    struct model model = {0};
    if (!experiment_asks(&run->experiment, part->bit) && !is_done(run, part->name))
        return RETORT_OK;
    enum retort_status status = do_part(run, part, &model);
    model_release(&model);
    return status;
}

static enum retort_status do_parts(struct run *run)
{
    const struct experiment *experiment = &run->experiment;
    struct model teacher = {0};
    const struct part baseline = experiment_baseline(experiment),
                      student = experiment_student(experiment, &teacher);
    enum retort_status status;
    TRY_DONE(do_teacher(run, &teacher));
    if (experiment->recipe.student.baseline)
        TRY_DONE(do_student(run, &baseline));
    TRY_DONE(do_student(run, &student));
    status = run_write_summary(experiment->folder, &experiment->recipe, &run->result);
done:
    model_release(&teacher);
    return status;
}

/* Is the teacher there, or will it be? */
static enum retort_status check_teacher(const struct run *run)
{
    const struct experiment *experiment = &run->experiment;
    if (!experiment_trains_teacher(experiment) || experiment_asks(experiment, RETORT_TEACHERS) ||
        is_done(run, "teacher-1"))
        return RETORT_OK;
    return fail(RETORT_INVALID,
                "%s: teacher-1.safetensors is not there; `retort train` makes it, and the recipe's "
                "teacher.weights names one from elsewhere",
                experiment->folder);
}

enum retort_status retort_run(const struct retort_run_options *options,
                              struct retort_run_result *result)
{
    struct run run = {.options = options};
    struct experiment *experiment = &run.experiment;
    enum retort_status status;
    TRY_DONE(experiment_open(options, experiment));
    TRY_DONE(run_check_folder(experiment->folder, &experiment->recipe, options->resume));
    TRY_DONE(check_teacher(&run));
    TRY_DONE(experiment_try(experiment, NULL, NULL));
    TRY_DONE(run_begin_folder(experiment->folder, &experiment->recipe));
    TRY_DONE(metrics_open(experiment->folder, options->resume, &run.metrics));
    TRY_DONE(do_parts(&run));
    run.result.folder = experiment->folder;
    experiment->folder = NULL;
    *result = run.result;
    run.result = (struct retort_run_result){0};
done:
    retort_run_release(&run.result);
    metrics_release(&run.metrics);
    experiment_close(experiment);
    return status;
}

void retort_run_release(struct retort_run_result *result)
{
    for (int i = 0; i < result->count; i++) {
        free(result->models[i].network);
        free(result->models[i].path);
    }
    free(result->models);
    free(result->folder);
    *result = (struct retort_run_result){0};
}
