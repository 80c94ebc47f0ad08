/* experiment.c - a recipe opened, checked and split into the parts that are trained. */
#include "train/experiment.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/fit.h"
#include "train/loading.h"

/* ---- opening ---- */

static enum retort_status open_data(struct experiment *experiment)
{
    const struct recipe_data *data = &experiment->recipe.data;
    const struct dataset_options options = loading_dataset(data, (uint64_t)experiment->recipe.seed);
    char *specification = arena_format(&experiment->recipe.arena, "%s%s%s", data->set,
                                       data->path[0] ? ":" : "", data->path);
    if (!specification)
        return fail(RETORT_MEMORY, "out of memory for a data set");
    return recipe_blame(experiment->options->recipe, "data",
                        dataset_open(specification, &options, &experiment->dataset));
}

static enum retort_status name_folder(struct experiment *experiment)
{
    const char *given = experiment->options->folder;
    if (given && !given[0])
        return fail(RETORT_INVALID, "folder of the run: nothing found, a name wanted");
    experiment->folder = given ? file_join(given, "") : file_join("runs", experiment->recipe.name);
    return experiment->folder ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
}

/* Cross-entropy, weight 1. */
static enum retort_status make_plain_losses(struct experiment *experiment)
{
    const struct setting_table *table = loss_of(LOSS_ce)->settings;
    struct arena *arena = &experiment->recipe.arena;
    void *settings;
    TRY(arena_take(arena, table->bytes, &settings));
    TRY(settings_defaults(table, settings, arena));
    experiment->plain[LOSS_ce] = settings;
    return RETORT_OK;
}

enum retort_status experiment_open(const struct retort_run_options *options,
                                   struct experiment *experiment)
{
    struct recipe *recipe = &experiment->recipe;
    *experiment = (struct experiment){.options = options};
    TRY(recipe_load(options->recipe, options->overrides, options->override_count, recipe));
    omp_set_num_threads(recipe->threads > 0 ? recipe->threads : omp_get_num_procs());
    TRY(name_folder(experiment));
    TRY(make_plain_losses(experiment));
    return open_data(experiment);
}

void experiment_close(struct experiment *experiment)
{
    dataset_release(&experiment->dataset);
    recipe_release(&experiment->recipe);
    free(experiment->folder);
    *experiment = (struct experiment){0};
}

/* ---- the parts ---- */

bool experiment_asks(const struct experiment *experiment, enum retort_parts part)
{
    const unsigned parts = experiment->options->parts;
    return parts == 0 || (parts & part);
}

bool experiment_trains_teacher(const struct experiment *experiment)
{
    return experiment->recipe.teacher.weights.count == 0;
}

struct part experiment_teacher(const struct experiment *experiment)
{
    const struct recipe *recipe = &experiment->recipe;
    return (struct part){.name = "teacher-1",
                         .network = recipe->teacher.network,
                         .bit = RETORT_TEACHERS,
                         .train = &recipe->teacher.train,
                         .losses = experiment->plain,
                         .method = "plain",
                         .epochs = recipe->teacher.train.epochs,
                         .seed = (uint64_t)recipe->seed};
}

struct part experiment_baseline(const struct experiment *experiment)
{
    const struct recipe *recipe = &experiment->recipe;
    return (struct part){.name = "baseline",
                         .network = recipe->student.network,
                         .bit = RETORT_BASELINE,
                         .train = &recipe->student.train,
                         .losses = experiment->plain,
                         .method = "plain",
                         .epochs = recipe_student_epochs(recipe),
                         .seed = (uint64_t)recipe->seed};
}

struct part experiment_student(const struct experiment *experiment, const struct model *teacher)
{
    const struct recipe *recipe = &experiment->recipe;
    const struct recipe_stage *stage = recipe->distill.stages.items;
    return (struct part){.name = "student",
                         .network = recipe->student.network,
                         .bit = RETORT_STUDENT,
                         .train = &recipe->student.train,
                         .losses = (const void *const *)stage->losses.settings,
                         .teacher = teacher,
                         .method = "distilled",
                         .epochs = stage->epochs,
                         .seed = (uint64_t)recipe->seed};
}

/* ---- models ---- */

enum retort_status experiment_new_model(const struct experiment *experiment, const char *network,
                                        uint64_t seed, struct model *model)
{
    const struct image_set *set = &experiment->dataset.train;
    struct shape input = {set->channels, set->height, set->width};
    struct graph graph = {0};
    TRY(network_build(network, experiment->dataset.classes, input, &graph));
    enum retort_status status = model_create(&graph, model);
    if (status != RETORT_OK) {
        graph_release(&graph);
        return status;
    }
    model_initialise(model, seed);
    return RETORT_OK;
}

enum retort_status experiment_load_teacher(const struct experiment *experiment, struct model *model)
{
    const char *path = experiment->recipe.teacher.weights.items[0];
    struct model loaded;
    TRY(model_load(path, &loaded));
    enum retort_status status = fit_shapes(&loaded.graph, &experiment->dataset);
    if (status == RETORT_OK)
        status = fit_normalisation(&loaded, &experiment->dataset);
    if (status != RETORT_OK) {
        model_release(&loaded);
        return fail_in(status, "%s", path);
    }
    *model = loaded;
    return RETORT_OK;
}

/* ---- trying ---- */

enum retort_status experiment_trainer(const struct experiment *experiment, const struct part *part,
                                      struct model *model, struct trainer **trainer)
{
    struct trainer_setup setup = {.dataset = &experiment->dataset,
                                  .data = &experiment->recipe.data,
                                  .train = part->train,
                                  .losses = part->losses,
                                  .taps = &experiment->recipe.distill.taps,
                                  .epochs = part->epochs,
                                  .seed = part->seed,
                                  .precision = (enum precision)experiment->recipe.precision,
                                  .model = model,
                                  .teacher = part->teacher};
    return trainer_create(&setup, trainer);
}

static enum retort_status try_part(const struct experiment *experiment, const struct part *part,
                                   struct model *model, experiment_visitor *visitor, void *context)
{
    const char *setting = part->bit == RETORT_TEACHERS   ? "teacher.train"
                          : part->bit == RETORT_BASELINE ? "student.train"
                                                         : "distill";
    struct trainer *trainer;
    TRY(recipe_blame(experiment->options->recipe, setting,
                     experiment_trainer(experiment, part, model, &trainer)));
    enum retort_status status = visitor && experiment_asks(experiment, part->bit)
                                    ? visitor(context, part, trainer)
                                    : RETORT_OK;
    trainer_destroy(trainer);
    return status;
}

static enum retort_status make_models(const struct experiment *experiment, struct model *teacher,
                                      struct model *student)
{
    const struct recipe *recipe = &experiment->recipe;
    const char *path = experiment->options->recipe;
    TRY(recipe_blame(path, "student.network",
                     experiment_new_model(experiment, recipe->student.network, 1, student)));
    if (experiment_trains_teacher(experiment))
        return recipe_blame(path, "teacher.network",
                            experiment_new_model(experiment, recipe->teacher.network, 1, teacher));
    return recipe_blame(path, "teacher.weights", experiment_load_teacher(experiment, teacher));
}

enum retort_status experiment_try(const struct experiment *experiment, experiment_visitor *visitor,
                                  void *context)
{
    struct model teacher = {0}, student = {0};
    const struct part parts[] = {experiment_teacher(experiment), experiment_baseline(experiment),
                                 experiment_student(experiment, &teacher)};
    const bool wanted[] = {experiment_trains_teacher(experiment),
                           experiment->recipe.student.baseline, true};
    enum retort_status status;
    TRY_DONE(make_models(experiment, &teacher, &student));
    for (int i = 0; i < 3; i++)
        if (wanted[i])
            TRY_DONE(
                try_part(experiment, &parts[i], i == 0 ? &teacher : &student, visitor, context));
done:
    model_release(&teacher);
    model_release(&student);
    return status;
}
