/* run.c - from recipe to result.
 *
 * Teachers, plain student and distilled student are parts; each is trained by the same code, saved
 * whole, and never trained again once its file is there. A resumed run finds out by itself which
 * parts are done and where the current one stands. The test set is looked at once per network, at
 * the end of its training. */
#include "retort/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "nn/cost.h"
#include "train/evaluate.h"
#include "train/run_folder.h"
#include "train/run_parts.h"
#include "train/state.h"

/* ---- models ---- */

/* Where a network came from, but for what came out. NULL: memory is out. */
static json_t *make_provenance(const struct run *run, const struct part *part)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "recipe", run->experiment.recipe.name,
                     "part", part->name, "method", part->method, "dataset",
                     run->experiment.dataset.name, "seed",
                     json_sprintf("%llu", (unsigned long long)part->seed), "epochs",
                     json_sprintf("%d", part->epochs));
}

/* What the user of the network must know, and where it came from. */
static enum retort_status describe_model(const struct run *run, const struct part *part,
                                         struct model *model)
{
    const struct dataset *dataset = &run->experiment.dataset;
    TRY(model_name_classes(model, (const char *const *)dataset->class_names));
    json_t *provenance = make_provenance(run, part);
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
    TRY(exhibits_evaluate(&run->exhibits, &run->experiment, name, train->batch, model, evaluation));
    struct retort_progress progress = {
        .kind = RETORT_PART_ENDS, .part = name, .test_top1 = evaluation->top1};
    return run_tell(run, &progress);
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
                                    struct model *model, struct evaluation *evaluation)
{
    char text[256];
    snprintf(text, sizeof(text), "%s: %s, %d epochs of %s", part->name, part->network, part->epochs,
             run->experiment.dataset.name);
    struct retort_progress progress = {
        .kind = RETORT_PART_BEGINS, .part = part->name, .text = text, .epochs = part->epochs};
    TRY(run_tell(run, &progress));
    TRY(experiment_new_model(&run->experiment, part->network, part->seed, model));
    TRY(run_train_model(run, part, model));
    TRY(describe_model(run, part, model));
    TRY(judge(run, part->name, &part->stages[0].train, model, evaluation));
    TRY(note_accuracy(model, evaluation));
    TRY(model_save(model, path));
    TRY(events_add_test(&run->events, part->name, part->epochs, evaluation->top1));
    TRY(state_remove(run->experiment.folder));
    return add_result(run, part->name, model, path, evaluation);
}

/* Whose part is it? A file that was copied into a new folder would pass for one that this recipe
 * has trained. Files that say nothing are believed. */
static enum retort_status check_provenance(const struct run *run, const struct part *part,
                                           const char *path, const struct model *model)
{
    json_t *wanted = make_provenance(run, part), *value;
    const char *key;
    enum retort_status status = wanted ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    json_object_foreach(wanted, key, value)
    {
        const json_t *found = json_object_get(model->provenance, key);
        if (found && !json_equal(found, value) && status == RETORT_OK)
            status = fail(RETORT_INVALID,
                          "%s: made by another run: its %s is %s, %s wanted; the same command with "
                          "--resume --force takes it all the same, --out names another folder",
                          path, key, json_string_value(found), json_string_value(value));
    }
    json_decref(wanted);
    return status;
}

static enum retort_status find_part(struct run *run, const struct part *part, const char *path,
                                    struct model *model, struct evaluation *evaluation)
{
    TRY(model_load(path, model));
    if (strcmp(model->graph.network, part->network))
        return fail(RETORT_INVALID, "%s: holds %s, the recipe wants %s", path, model->graph.network,
                    part->network);
    if (!run->options->force)
        TRY(check_provenance(run, part, path, model));
    TRY(judge(run, part->name, &part->stages[0].train, model, evaluation));
    return add_result(run, part->name, model, path, evaluation);
}

/* Make the part, or take what is there. *model is made on success only. */
static enum retort_status do_part(struct run *run, const struct part *part, struct model *model,
                                  struct evaluation *evaluation)
{
    struct model made = {0};
    char *path = part_path(run, part->name);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status = file_exists(path) ? find_part(run, part, path, &made, evaluation)
                                                  : make_part(run, part, path, &made, evaluation);
    free(path);
    if (status == RETORT_OK)
        *model = made;
    else
        model_release(&made);
    return status;
}

/* ---- teachers ---- */

/* A number of the provenance, which holds texts; -1: not there. */
static double recorded(const struct model *model, const char *key)
{
    const char *text = json_string_value(json_object_get(model->provenance, key));
    char *end = NULL;
    const double number = text && *text ? strtod(text, &end) : -1;
    return end && !*end ? number : -1;
}

/* Of a share of so many images, in percent. */
static double deviation(double percent, long images)
{
    return percent > 0 && percent < 100 ? sqrt(percent * (100 - percent) / (double)images) : 0;
}

/* Who knows nothing cannot teach: at chance level, or far below what its own file promises, which
 * says that it sees other images than it was trained for. */
static enum retort_status guard_teacher(const struct run *run, const char *what,
                                        const struct model *model,
                                        const struct evaluation *evaluation)
{
    const double chance = 100.0 / model->graph.classes, promised = recorded(model, "top1");
    const double slack = 5; /* points, beside three deviations of an accuracy on so few images */
    const char *set = run->experiment.dataset.name;
    const char *made_for = json_string_value(json_object_get(model->provenance, "dataset"));
    if (run->options->force)
        return RETORT_OK;
    if (evaluation->top1 <= chance + deviation(chance, evaluation->images))
        return fail(RETORT_INVALID,
                    "%s: %.2f %% top-1 on %s, chance is %.2f %%: it knows nothing that it could "
                    "teach (the same command with --resume --force teaches all the same)",
                    what, evaluation->top1, set, chance);
    if (made_for && strcmp(made_for, set) == 0 &&
        evaluation->top1 < promised - slack - 3 * deviation(promised, evaluation->images))
        return fail(RETORT_INVALID,
                    "%s: %.2f %% top-1 on %s, its file promises %.2f %%: perhaps these are not the "
                    "images that it was trained for (the same command with --resume --force "
                    "teaches all the same)",
                    what, evaluation->top1, set, promised);
    return RETORT_OK;
}

/* The run's own teachers as well, where there are enough test images to say so; on a handful of
 * images, where a run is but a trial, it is told and no more. */
static enum retort_status guard_own_teacher(const struct run *run, const char *what,
                                            const struct model *model,
                                            const struct evaluation *evaluation)
{
    enum { ENOUGH = 500 };
    const enum retort_status status = guard_teacher(run, what, model, evaluation);
    if (status != RETORT_INVALID || evaluation->images >= ENOUGH)
        return status;
    struct retort_progress note = {.kind = RETORT_NOTE, .part = what, .text = retort_message()};
    return run_tell(run, &note);
}

/* Load the model file, or train; either way it is evaluated as the student will see it. */
static enum retort_status do_teacher(struct run *run, int index, struct model *teacher)
{
    const struct experiment *experiment = &run->experiment;
    const struct part part = experiment_teacher(experiment, index);
    struct evaluation evaluation;
    if (experiment_trains_teachers(experiment)) {
        TRY(do_part(run, &part, teacher, &evaluation));
        return guard_own_teacher(run, part.name, teacher, &evaluation);
    }
    const char *path = experiment->recipe.teacher.weights.items[index];
    TRY(experiment_load_teacher(experiment, index, teacher));
    TRY(judge(run, part.name, &part.stages[0].train, teacher, &evaluation));
    TRY(guard_teacher(run, path, teacher, &evaluation));
    return add_result(run, part.name, teacher, path, &evaluation);
}

static enum retort_status do_teachers(struct run *run, struct model *models,
                                      const struct model **teachers)
{
    for (int i = 0; i < experiment_teachers(&run->experiment); i++) {
        TRY(do_teacher(run, i, &models[i]));
        teachers[i] = &models[i];
    }
    return RETORT_OK;
}

/* ---- students ---- */

/* A part that was not asked for takes its place in the summary all the same when it is there.
 * teaches: the next generation, and is guarded as teachers are. */
static enum retort_status do_student(struct run *run, const struct part *part, bool teaches,
                                     struct model *model)
{
    struct evaluation evaluation;
    if (!experiment_asks(&run->experiment, part->bit) && !is_done(run, part->name))
        return RETORT_OK;
    TRY(do_part(run, part, model, &evaluation));
    return teaches ? guard_own_teacher(run, part->name, model, &evaluation) : RETORT_OK;
}

/* Each generation is taught by the one before it. */
static enum retort_status do_generations(struct run *run, const struct model *const *teachers)
{
    const int generations = run->experiment.recipe.distill.generations;
    struct model models[2] = {0};
    enum retort_status status = RETORT_OK;
    for (int g = 0; g < generations && status == RETORT_OK; g++) {
        struct model *model = &models[g % 2];
        const struct model *before[] = {&models[(g + 1) % 2]};
        const struct part part = g == 0 ? experiment_student(&run->experiment, g, teachers,
                                                             experiment_teachers(&run->experiment))
                                        : experiment_student(&run->experiment, g, before, 1);
        model_release(model);
        status = do_student(run, &part, g + 1 < generations, model);
        if (status == RETORT_OK && !model->values)
            break; /* not asked for */
    }
    model_release(&models[0]);
    model_release(&models[1]);
    return status;
}

/* What is kept for the report's pictures. Hours of training do not fail for want of it. */
static enum retort_status do_exhibits(struct run *run)
{
    char text[512];
    const enum retort_status status = exhibits_write(&run->experiment, &run->result);
    if (status == RETORT_OK || status == RETORT_MEMORY || status == RETORT_IO)
        return status;
    snprintf(text, sizeof(text), "the report will lack pictures: %.400s", retort_message());
    struct retort_progress note = {.kind = RETORT_NOTE, .part = "student", .text = text};
    return run_tell(run, &note);
}

/* Which images do what. */
static enum retort_status tell_images(const struct run *run)
{
    char text[512], val[64] = "", share[64] = "";
    const struct dataset *dataset = &run->experiment.dataset;
    if (dataset->val.count)
        snprintf(val, sizeof(val), ", %d to choose by", dataset->val.count);
    if (dataset->held_out > 0)
        snprintf(share, sizeof(share), ", a share of %g held out of each class", dataset->held_out);
    snprintf(text, sizeof(text), "%s: %d images to train%s, %d to test at the end%s%s%s",
             dataset->name, dataset->train.count, val, dataset->test.count, share,
             dataset->remark ? "; " : "", dataset->remark ? dataset->remark : "");
    return run_tell(run, &(struct retort_progress){.kind = RETORT_NOTE, .part = "", .text = text});
}

/* A set is never smaller without a word. */
static enum retort_status tell_skipped(const struct run *run)
{
    char text[4096];
    if (!dataset_tell_skipped(&run->experiment.dataset, text, sizeof(text)))
        return RETORT_OK;
    return run_tell(run, &(struct retort_progress){.kind = RETORT_NOTE, .part = "", .text = text});
}

static enum retort_status do_parts(struct run *run)
{
    const struct experiment *experiment = &run->experiment;
    const size_t count = (size_t)experiment_teachers(experiment) + 1;
    const struct part baseline = experiment_baseline(experiment);
    struct model *models = NULL, plain = {0};
    const struct model **teachers;
    struct arena arena = {0};
    enum retort_status status;
    TRY_DONE(arena_take(&arena, count * sizeof(*models), (void **)&models));
    TRY_DONE(arena_take(&arena, count * sizeof(*teachers), (void **)&teachers));
    TRY_DONE(tell_images(run));
    TRY_DONE(tell_skipped(run));
    TRY_DONE(do_teachers(run, models, teachers));
    if (experiment->recipe.student.baseline)
        TRY_DONE(do_student(run, &baseline, false, &plain));
    TRY_DONE(do_generations(run, teachers));
    TRY_DONE(exhibits_note_run(&run->exhibits, experiment, &run->metrics));
    TRY_DONE(do_exhibits(run));
    status = run_write_summary(experiment->folder, &experiment->recipe, &run->result,
                               run->exhibits.facts);
done:
    for (size_t i = 0; models && i + 1 < count; i++)
        model_release(&models[i]);
    model_release(&plain);
    arena_release(&arena);
    return status;
}

/* What the folder holds must have come from this recipe and these images, unless the user insists;
 * then the differences are told. */
static enum retort_status check_folder(const struct run *run)
{
    const struct experiment *experiment = &run->experiment;
    const enum retort_status status = run_check_folder(experiment->folder, &experiment->recipe,
                                                       &experiment->dataset, run->options->resume);
    if (status != RETORT_INVALID || !run->options->resume || !run->options->force)
        return status;
    struct retort_progress note = {.kind = RETORT_NOTE, .part = "run", .text = retort_message()};
    return run_tell(run, &note);
}

enum retort_status retort_run(const struct retort_run_options *options,
                              struct retort_run_result *result)
{
    struct run run = {.options = options};
    struct experiment *experiment = &run.experiment;
    enum retort_status status;
    TRY_DONE(experiment_open(options, experiment));
    TRY_DONE(check_folder(&run));
    TRY_DONE(experiment_find_teachers(experiment));
    run.estimate.folder = experiment->folder;
    TRY_DONE(experiment_try(experiment, estimate_visit, &run.estimate));
    TRY_DONE(run_make_folder(experiment->folder));
    TRY_DONE(run_lock_folder(experiment->folder, &run.lock));
    TRY_DONE(run_begin_folder(experiment->folder, &experiment->recipe, &experiment->dataset));
    TRY_DONE(experiment_keep_cache(experiment));
    TRY_DONE(metrics_open(experiment->folder, options->resume, &run.metrics));
    TRY_DONE(events_open(experiment->folder, !options->no_events, &run.events));
    TRY_DONE(do_parts(&run));
    run.result.folder = experiment->folder;
    experiment->folder = NULL;
    *result = run.result;
    run.result = (struct retort_run_result){0};
done:
    retort_run_release(&run.result);
    exhibits_release(&run.exhibits);
    events_release(&run.events);
    estimate_release(&run.estimate);
    metrics_release(&run.metrics);
    lock_release(&run.lock);
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
