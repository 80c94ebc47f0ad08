/* run.c - from recipe to result.
 *
 * Teacher, plain student and distilled student are parts; each is trained by the same code, saved
 * whole, and never trained again once its file is there. A resumed run finds out by itself which
 * parts are done and where the current one stands. The test set is looked at once per network, at
 * the end of its training. */
#include "retort/run.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "nn/cost.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/state.h"
#include "train/trainer.h"

struct run {
    const struct retort_run_options *options;
    struct recipe recipe;
    struct dataset dataset;
    struct metrics metrics;
    char *folder;
    struct retort_run_result result;
};

/* What is trained how. */
struct part {
    const char *name, *network;
    const struct recipe_train *train;
    const void *const *losses;
    const struct model *teacher;
    const char *method; /* for the provenance */
    int epochs;
    uint64_t seed;
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
    TRY(state_save(run->folder, part->name, report->epoch + 1, trainer, model));
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

static struct trainer_setup setup_of(const struct run *run, const struct part *part,
                                     struct model *model)
{
    return (struct trainer_setup){.dataset = &run->dataset,
                                  .data = &run->recipe.data,
                                  .train = part->train,
                                  .losses = part->losses,
                                  .taps = &run->recipe.distill.taps,
                                  .epochs = part->epochs,
                                  .seed = part->seed,
                                  .precision = (enum precision)run->recipe.precision,
                                  .model = model,
                                  .teacher = part->teacher};
}

static enum retort_status train_model(struct run *run, const struct part *part, struct model *model)
{
    struct trainer_setup setup = setup_of(run, part, model);
    struct trainer *trainer = NULL;
    float **velocity = NULL;
    enum retort_status status;
    int done = 0;
    TRY_DONE(velocity_create(&model->graph, &velocity));
    if (run->options->resume)
        TRY_DONE(state_load(run->folder, part->name, model, velocity, &done));
    metrics_drop(&run->metrics, part->name, done + 1);
    TRY_DONE(trainer_create(&setup, &trainer));
    TRY_DONE(trainer_set_velocity(trainer, velocity));
    status = train_epochs(run, part, model, trainer, done);
done:
    trainer_destroy(trainer);
    velocity_destroy(velocity);
    return status;
}

/* ---- models ---- */

static enum retort_status new_model(const struct run *run, const char *network, uint64_t seed,
                                    struct model *model)
{
    const struct image_set *set = &run->dataset.train;
    struct shape input = {set->channels, set->height, set->width};
    struct graph graph = {0};
    TRY(network_build(network, run->dataset.classes, input, &graph));
    enum retort_status status = model_create(&graph, model);
    if (status != RETORT_OK) {
        graph_release(&graph);
        return status;
    }
    model_initialise(model, seed);
    return RETORT_OK;
}

/* What the user of the network must know, and where it came from. */
static enum retort_status describe_model(const struct run *run, const struct part *part,
                                         struct model *model)
{
    const struct dataset *dataset = &run->dataset;
    memcpy(model->mean, dataset->mean, sizeof(model->mean));
    memcpy(model->std, dataset->std, sizeof(model->std));
    TRY(model_name_classes(model, (const char *const *)dataset->class_names));
    json_t *provenance =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "recipe", run->recipe.name, "part", part->name,
                  "method", part->method, "dataset", dataset->name, "seed",
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
    TRY(evaluate(model, &run->dataset, train->batch, (enum precision)run->recipe.precision,
                 evaluation));
    struct retort_progress progress = {
        .kind = RETORT_PART_ENDS, .part = name, .test_top1 = evaluation->top1};
    return tell(run, &progress);
}

/* ---- the parts ---- */

static bool asked(const struct run *run, enum retort_parts part)
{
    return run->options->parts == 0 || (run->options->parts & part);
}

/* Train a new model, evaluate it and save it; the file's presence says that the part is done. */
static enum retort_status make_part(struct run *run, const struct part *part, const char *path,
                                    struct model *model)
{
    struct evaluation evaluation;
    char text[256];
    snprintf(text, sizeof(text), "%s: %s, %d epochs of %s", part->name, part->network, part->epochs,
             run->dataset.name);
    struct retort_progress progress = {
        .kind = RETORT_PART_BEGINS, .part = part->name, .text = text, .epochs = part->epochs};
    TRY(tell(run, &progress));
    TRY(train_model(run, part, model));
    TRY(describe_model(run, part, model));
    TRY(judge(run, part->name, part->train, model, &evaluation));
    TRY(note_accuracy(model, &evaluation));
    TRY(model_save(model, path));
    TRY(state_remove(run->folder));
    return add_result(run, part->name, model, path, &evaluation);
}

static enum retort_status find_part(struct run *run, const struct part *part, const char *path,
                                    struct model *model)
{
    struct evaluation evaluation;
    TRY(model_load(path, model));
    TRY(judge(run, part->name, part->train, model, &evaluation));
    return add_result(run, part->name, model, path, &evaluation);
}

/* Make the part, or take what is there. *model is made on success only. */
static enum retort_status do_part(struct run *run, const struct part *part, enum retort_parts bit,
                                  struct model *model)
{
    struct model made = {0};
    char *path = run_file(run->folder, part->name, ".safetensors");
    enum retort_status status;
    if (!path)
        return fail(RETORT_MEMORY, "out of memory");
    if (file_exists(path)) {
        status = find_part(run, part, path, &made);
    } else if (!asked(run, bit)) {
        status = fail(RETORT_INVALID, "%s: not there; `retort train` makes it", path);
    } else {
        status = new_model(run, part->network, part->seed, &made);
        if (status == RETORT_OK)
            status = make_part(run, part, path, &made);
    }
    free(path);
    if (status == RETORT_OK)
        *model = made;
    else
        model_release(&made);
    return status;
}

/* Losses of a plain network: cross-entropy, weight 1. */
static enum retort_status plain_losses(struct run *run, const void *losses[LOSS_COUNT])
{
    const struct setting_table *table = loss_of(LOSS_ce)->settings;
    void *settings;
    TRY(arena_take(&run->recipe.arena, table->bytes, &settings));
    TRY(settings_defaults(table, settings, &run->recipe.arena));
    memset(losses, 0, LOSS_COUNT * sizeof(*losses));
    losses[LOSS_ce] = settings;
    return RETORT_OK;
}

static enum retort_status do_teacher(struct run *run, const void *const *plain,
                                     struct model *teacher)
{
    const struct recipe_teacher *recipe = &run->recipe.teacher;
    struct evaluation evaluation;
    if (recipe->weights.count == 0) {
        struct part part = {.name = "teacher-1",
                            .network = recipe->network,
                            .train = &recipe->train,
                            .losses = plain,
                            .method = "plain",
                            .epochs = recipe->train.epochs,
                            .seed = (uint64_t)run->recipe.seed};
        return do_part(run, &part, RETORT_TEACHERS, teacher);
    }
    TRY(model_load(recipe->weights.items[0], teacher));
    TRY(judge(run, "teacher-1", &recipe->train, teacher, &evaluation));
    return add_result(run, "teacher-1", teacher, recipe->weights.items[0], &evaluation);
}

static enum retort_status do_baseline(struct run *run, const void *const *plain)
{
    struct model model = {0};
    struct part part = {.name = "baseline",
                        .network = run->recipe.student.network,
                        .train = &run->recipe.student.train,
                        .losses = plain,
                        .method = "plain",
                        .epochs = recipe_student_epochs(&run->recipe),
                        .seed = (uint64_t)run->recipe.seed};
    enum retort_status status = do_part(run, &part, RETORT_BASELINE, &model);
    model_release(&model);
    return status;
}

static struct part student_part(const struct run *run, const struct model *teacher)
{
    const struct recipe_stage *stage = run->recipe.distill.stages.items;
    return (struct part){.name = "student",
                         .network = run->recipe.student.network,
                         .train = &run->recipe.student.train,
                         .losses = (const void *const *)stage->losses.settings,
                         .teacher = teacher,
                         .method = "distilled",
                         .epochs = stage->epochs,
                         .seed = (uint64_t)run->recipe.seed};
}

static enum retort_status do_student(struct run *run, const struct model *teacher)
{
    struct model model = {0};
    struct part part = student_part(run, teacher);
    enum retort_status status = do_part(run, &part, RETORT_STUDENT, &model);
    model_release(&model);
    return status;
}

/* Networks, losses, taps and data fit together: found out before hours of training, by making the
 * last part's trainer with an untrained teacher. */
static enum retort_status check_fit(const struct run *run)
{
    struct model student = {0}, teacher = {0};
    struct trainer *trainer = NULL;
    enum retort_status status;
    const struct recipe_teacher *recipe = &run->recipe.teacher;
    TRY_DONE(new_model(run, run->recipe.student.network, 1, &student));
    TRY_DONE(recipe->weights.count ? model_load(recipe->weights.items[0], &teacher)
                                   : new_model(run, recipe->network, 1, &teacher));
    struct part part = student_part(run, &teacher);
    struct trainer_setup setup = setup_of(run, &part, &student);
    TRY_DONE(trainer_create(&setup, &trainer));
done:
    trainer_destroy(trainer);
    model_release(&teacher);
    model_release(&student);
    return status;
}

static enum retort_status do_parts(struct run *run)
{
    struct model teacher = {0};
    const void *plain[LOSS_COUNT];
    enum retort_status status;
    TRY(plain_losses(run, plain));
    TRY_DONE(check_fit(run));
    TRY_DONE(do_teacher(run, plain, &teacher));
    if (run->recipe.student.baseline && asked(run, RETORT_BASELINE))
        TRY_DONE(do_baseline(run, plain));
    if (asked(run, RETORT_STUDENT))
        TRY_DONE(do_student(run, &teacher));
    status = run_write_summary(run->folder, &run->recipe, &run->result);
done:
    model_release(&teacher);
    return status;
}

static enum retort_status open_run(struct run *run)
{
    const struct retort_run_options *options = run->options;
    const struct recipe_data *data = &run->recipe.data;
    TRY(recipe_load(options->recipe, options->overrides, options->override_count, &run->recipe));
    omp_set_num_threads(run->recipe.threads > 0 ? run->recipe.threads : omp_get_num_procs());
    char specification[4096];
    snprintf(specification, sizeof(specification), "%s%s%s", data->set, data->path[0] ? ":" : "",
             data->path);
    struct dataset_options limits = {data->limit, data->test_limit};
    TRY(dataset_open(specification, &limits, &run->dataset));
    run->folder = options->folder ? strdup(options->folder) : file_join("runs", run->recipe.name);
    if (!run->folder)
        return fail(RETORT_MEMORY, "out of memory");
    return RETORT_OK;
}

static void close_run(struct run *run)
{
    metrics_release(&run->metrics);
    dataset_release(&run->dataset);
    recipe_release(&run->recipe);
    free(run->folder);
}

enum retort_status retort_run(const struct retort_run_options *options,
                              struct retort_run_result *result)
{
    struct run run = {.options = options};
    enum retort_status status;
    TRY_DONE(open_run(&run));
    TRY_DONE(run_prepare_folder(run.folder, &run.recipe, options->resume));
    TRY_DONE(metrics_open(run.folder, options->resume, &run.metrics));
    TRY_DONE(do_parts(&run));
    run.result.folder = run.folder;
    run.folder = NULL;
    *result = run.result;
    run.result = (struct retort_run_result){0};
done:
    retort_run_release(&run.result);
    close_run(&run);
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
