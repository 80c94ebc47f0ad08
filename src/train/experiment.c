/* experiment.c - a recipe opened, checked and split into the parts that are trained. */
#include "train/experiment.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "distill/adapter.h"
#include "train/fit.h"
#include "train/loading.h"
#include "train/run_folder.h"
#include "train/teacher_cache.h"

/* ---- opening ---- */

static enum retort_status open_data(struct experiment *experiment)
{
    const struct recipe_data *data = &experiment->recipe.data;
    const struct dataset_options options = loading_dataset(data);
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

/* Cross-entropy of weight 1, with labels as smooth as the distilled student's in its last stage
 * that has any: what smoothing is worth is not the teacher's merit. */
static enum retort_status make_plain_losses(struct experiment *experiment)
{
    const struct setting_table *table = loss_of(LOSS_ce)->settings;
    const struct group_list *stages = &experiment->recipe.distill.stages;
    struct arena *arena = &experiment->recipe.arena;
    void *settings;
    TRY(arena_take(arena, table->bytes, &settings));
    TRY(settings_defaults(table, settings, arena));
    const struct loss_weight weight = *(struct loss_weight *)settings; /* it begins with that */
    for (int i = 0; i < stages->count; i++) {
        const struct recipe_stage *stage = (const struct recipe_stage *)stages->items + i;
        if (stage->losses.settings[LOSS_ce])
            memcpy(settings, stage->losses.settings[LOSS_ce], table->bytes);
    }
    *(struct loss_weight *)settings = weight;
    experiment->plain[LOSS_ce] = settings;
    return RETORT_OK;
}

/* Do taps that both networks name differ in channels? */
static bool channels_differ(const struct graph *student, const struct graph *teacher)
{
    for (int i = 0; i < student->tap_count; i++) {
        const int t = graph_find_tap(teacher, student->taps[i].name);
        if (t >= 0 && graph_tap_shape(teacher, t).c != graph_tap_shape(student, i).c)
            return true;
    }
    return false;
}

/* The stages of the recipe's preset, which depend on both networks. */
static enum retort_status settle_stages(struct experiment *experiment)
{
    struct recipe *recipe = &experiment->recipe;
    const char *path = experiment->options->recipe;
    struct model teacher = {0}, student = {0};
    enum retort_status status;
    if (recipe->distill.stages.count)
        return RETORT_OK;
    TRY_DONE(recipe_blame(path, "student.network",
                          experiment_new_model(experiment, recipe->student.network, 1, &student)));
    if (experiment_trains_teachers(experiment))
        TRY_DONE(
            recipe_blame(path, "teacher.network",
                         experiment_new_model(experiment, recipe->teacher.network, 1, &teacher)));
    else
        TRY_DONE(recipe_blame(path, "teacher.weights",
                              experiment_load_teacher(experiment, 0, &teacher)));
    status = recipe_blame(path, "distill",
                          recipe_settle(recipe, channels_differ(&student.graph, &teacher.graph)));
done:
    model_release(&teacher);
    model_release(&student);
    return status;
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
    TRY(open_data(experiment));
    TRY(settle_stages(experiment));
    if (recipe->distill.stages.count > MOST_STAGES)
        return fail(RETORT_INVALID, "%s: distill.stages: %d found, at most %d wanted",
                    options->recipe, recipe->distill.stages.count, MOST_STAGES);
    return RETORT_OK;
}

void experiment_close(struct experiment *experiment)
{
    dataset_release(&experiment->dataset);
    recipe_release(&experiment->recipe);
    free(experiment->folder);
    free(experiment->cache);
    free(experiment->maps_cache);
    *experiment = (struct experiment){0};
}

enum retort_status experiment_keep_cache(struct experiment *experiment)
{
    if (!experiment->recipe.distill.cache)
        return RETORT_OK;
    char *below = file_join(experiment->folder, "state");
    experiment->cache = file_join(experiment->folder, "state/teachers.cache");
    if (experiment->recipe.distill.cache_maps)
        experiment->maps_cache = file_join(experiment->folder, "state/maps.cache");
    const enum retort_status status =
        below && experiment->cache ? file_make_folder(below) : fail(RETORT_MEMORY, "out of memory");
    free(below);
    return status;
}

/* ---- the parts ---- */

bool experiment_asks(const struct experiment *experiment, enum retort_parts part)
{
    const unsigned parts = experiment->options->parts;
    return parts == 0 || (parts & part);
}

bool experiment_trains_teachers(const struct experiment *experiment)
{
    return experiment->recipe.teacher.weights.count == 0;
}

int experiment_teachers(const struct experiment *experiment)
{
    const struct recipe_teacher *teacher = &experiment->recipe.teacher;
    return teacher->weights.count ? teacher->weights.count : teacher->count;
}

/* One stage of plain training. */
static void set_plain(const struct experiment *experiment, const struct recipe_train *train,
                      struct part *part)
{
    part->method = "plain";
    part->epochs = train->epochs;
    part->peers = part->stage_count = 1;
    part->stages[0] = (struct stage){*train, experiment->plain, NULL};
}

struct part experiment_teacher(const struct experiment *experiment, int index)
{
    const struct recipe *recipe = &experiment->recipe;
    /* Counted up from a seed of the recipe's they would be the teachers of its next seed too. */
    const uint64_t seed = recipe->teacher.seed ? (uint64_t)recipe->teacher.seed + (uint64_t)index
                                               : (uint64_t)recipe->seed + ((uint64_t)index << 40);
    struct part part = {.network = recipe->teacher.network,
                        .setting = "teacher.train",
                        .bit = RETORT_TEACHERS,
                        .seed = seed};
    snprintf(part.name, sizeof(part.name), "teacher-%d", index + 1);
    set_plain(experiment, &recipe->teacher.train, &part);
    return part;
}

struct part experiment_baseline(const struct experiment *experiment)
{
    const struct recipe *recipe = &experiment->recipe;
    struct part part = {.name = "baseline",
                        .network = recipe->student.network,
                        .setting = "student.train",
                        .bit = RETORT_BASELINE,
                        .seed = (uint64_t)recipe->seed};
    set_plain(experiment, &recipe->student.train, &part);
    return part;
}

/* Generations begin with weights of their own; the first ones are the plain student's. */
struct part experiment_student(const struct experiment *experiment, int generation,
                               const struct model *const *teachers, int count)
{
    const struct recipe *recipe = &experiment->recipe;
    const struct recipe_distill *distill = &recipe->distill;
    const struct recipe_stage *stages = distill->stages.items;
    struct part part = {.network = recipe->student.network,
                        .setting = "distill",
                        .bit = RETORT_STUDENT,
                        .method = distill->peers > 1 ? "mutual" : "distilled",
                        .epochs = recipe->student.train.epochs,
                        .seed = (uint64_t)recipe->seed + ((uint64_t)generation << 32),
                        .stage_count = distill->stages.count,
                        .peers = distill->peers,
                        .teachers = teachers,
                        .teacher_count = count,
                        .ensemble = &distill->ensemble,
                        .balanced = distill->balance == BALANCE_GRAD_NORM};
    if (generation + 1 == distill->generations)
        snprintf(part.name, sizeof(part.name), "student");
    else
        snprintf(part.name, sizeof(part.name), "generation-%d", generation + 1);
    for (int i = 0; i < part.stage_count; i++) {
        struct stage *stage = &part.stages[i];
        *stage = (struct stage){recipe->student.train,
                                (const void *const *)stages[i].losses.settings, &stages[i].trains};
        stage->train.epochs = stages[i].epochs;
        stage->train.lr = stages[i].lr;
        stage->train.schedule = stages[i].schedule;
    }
    return part;
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
    memcpy(model->mean, experiment->dataset.mean, sizeof(model->mean));
    memcpy(model->std, experiment->dataset.std, sizeof(model->std));
    return RETORT_OK;
}

enum retort_status experiment_load_teacher(const struct experiment *experiment, int index,
                                           struct model *model)
{
    const char *path = experiment->recipe.teacher.weights.items[index];
    struct model loaded;
    TRY(model_load(path, &loaded));
    enum retort_status status = fit_shapes(&loaded.graph, &experiment->dataset);
    if (status == RETORT_OK)
        status = fit_normalisation(&loaded, &experiment->dataset);
    if (status == RETORT_OK)
        status = fit_classes(&loaded, &experiment->dataset);
    if (status != RETORT_OK) {
        model_release(&loaded);
        return fail_in(status, "%s", path);
    }
    *model = loaded;
    return RETORT_OK;
}

enum retort_status experiment_find_teachers(const struct experiment *experiment)
{
    if (!experiment_trains_teachers(experiment) || experiment_asks(experiment, RETORT_TEACHERS))
        return RETORT_OK;
    for (int i = 0; i < experiment_teachers(experiment); i++) {
        const struct part part = experiment_teacher(experiment, i);
        char *path = run_file(experiment->folder, part.name, ".safetensors");
        const bool there = path && file_exists(path);
        const bool made = path;
        free(path);
        if (!made)
            return fail(RETORT_MEMORY, "out of memory");
        if (!there)
            return fail(RETORT_INVALID,
                        "%s: %s.safetensors is not there; `retort train` makes it, and the "
                        "recipe's teacher.weights names one from elsewhere",
                        experiment->folder, part.name);
    }
    return RETORT_OK;
}

/* ---- a part in training ---- */

static int epochs_before(const struct part *part, int stage)
{
    int epochs = 0;
    for (int i = 0; i < stage; i++)
        epochs += part->stages[i].train.epochs;
    return epochs;
}

static struct trainer_setup setup_of(const struct experiment *experiment, const struct part *part,
                                     int stage, struct model **models)
{
    return (struct trainer_setup){
        .dataset = &experiment->dataset,
        .data = &experiment->recipe.data,
        .train = &part->stages[stage].train,
        .losses = part->stages[stage].losses,
        .taps = &experiment->recipe.distill.taps,
        .moves = part->stages[stage].trains,
        .epochs = part->stages[stage].train.epochs,
        .epochs_before = epochs_before(part, stage),
        .seed = part->seed,
        .precision = (enum precision)experiment->recipe.precision,
        .balanced = part->balanced,
        .models = models,
        .model_count = part->peers,
        .teachers = part->teachers,
        .teacher_count = part->teacher_count,
        .ensemble = part->ensemble,
        .views = part->bit == RETORT_TEACHERS ? 0 /* teachers are to see as much as they can */
                                              : experiment->recipe.data.views,
        .caches = part->teacher_count && experiment->recipe.distill.cache,
        .caches_maps = part->teacher_count && experiment->recipe.distill.cache_maps,
        .cache = part->teacher_count ? experiment->cache : NULL,
        .maps_cache = part->teacher_count ? experiment->maps_cache : NULL};
}

enum retort_status training_begin(const struct experiment *experiment, const struct part *part,
                                  int stage, struct model *const *networks,
                                  const struct training *earlier, struct training *training)
{
    struct training made = {0};
    const int taps = networks[0]->graph.tap_count;
    const char *names[taps + 1];
    int channels[taps + 1];
    struct adapter adapters[taps + 1];
    const struct trainer_setup setup = setup_of(experiment, part, stage, (struct model **)networks);
    TRY(trainer_adapters(&setup, names, channels, &made.adapters));
    for (int i = 0; i < made.adapters; i++)
        adapters[i] = (struct adapter){names[i], channels[i]};
    for (int i = 0; i < part->peers; i++) {
        const enum retort_status status =
            adapter_attach(networks[i], adapters, made.adapters, part->seed,
                           earlier ? &earlier->extended[i] : NULL, &made.extended[i]);
        if (status != RETORT_OK) {
            training_release(&made);
            return status;
        }
        made.count = i + 1;
    }
    *training = made;
    for (int i = 0; i < training->count; i++)
        training->models[i] = &training->extended[i];
    return RETORT_OK;
}

void training_end(const struct training *training, struct model *const *networks)
{
    for (int i = 0; i < training->count; i++)
        adapter_detach(&training->extended[i], networks[i]);
}

void training_release(struct training *training)
{
    for (int i = 0; i < training->count; i++)
        model_release(&training->extended[i]);
    *training = (struct training){0};
}

enum retort_status experiment_trainer(const struct experiment *experiment, const struct part *part,
                                      int stage, struct training *training,
                                      struct trainer **trainer)
{
    const struct trainer_setup setup = setup_of(experiment, part, stage, training->models);
    return trainer_create(&setup, trainer);
}

/* ---- trying ---- */

static enum retort_status try_stage(struct experiment *experiment, const struct part *part,
                                    int stage, struct model *const *networks,
                                    experiment_visitor *visitor, void *context)
{
    struct trainer *trainer = NULL;
    struct training training = {0};
    enum retort_status status;
    TRY_DONE(training_begin(experiment, part, stage, networks, NULL, &training));
    struct trainer_setup setup = setup_of(experiment, part, stage, training.models);
    setup.rehearsal = true;
    TRY_DONE(trainer_create(&setup, &trainer));
    experiment->cache_bytes = fmax(experiment->cache_bytes, (double)trainer_cache_bytes(trainer));
done:
    status = recipe_blame(experiment->options->recipe, part->setting, status);
    if (status == RETORT_OK && visitor && experiment_asks(experiment, part->bit))
        status = visitor(context, part, stage, &training, trainer);
    trainer_destroy(trainer);
    training_release(&training);
    return status;
}

static enum retort_status try_part(struct experiment *experiment, const struct part *part,
                                   struct model *network, experiment_visitor *visitor,
                                   void *context)
{
    struct model *networks[MOST_PEERS];
    for (int i = 0; i < part->peers; i++)
        networks[i] = network;
    for (int stage = 0; stage < part->stage_count; stage++)
        TRY(try_stage(experiment, part, stage, networks, visitor, context));
    return RETORT_OK;
}

/* Models of all teachers: one new network stands for those that are trained. */
static enum retort_status make_teachers(const struct experiment *experiment, struct model *models,
                                        const struct model **teachers)
{
    const char *path = experiment->options->recipe;
    const bool trains = experiment_trains_teachers(experiment);
    for (int i = 0; i < experiment_teachers(experiment); i++) {
        teachers[i] = &models[trains ? 0 : i];
        if (!trains)
            TRY(recipe_blame(path, "teacher.weights",
                             experiment_load_teacher(experiment, i, &models[i])));
        else if (i == 0)
            TRY(recipe_blame(path, "teacher.network",
                             experiment_new_model(experiment, experiment->recipe.teacher.network, 1,
                                                  &models[0])));
    }
    return RETORT_OK;
}

static enum retort_status try_parts(struct experiment *experiment, struct model *models,
                                    const struct model *const *teachers, struct model *student,
                                    experiment_visitor *visitor, void *context)
{
    const struct recipe *recipe = &experiment->recipe;
    const int count = experiment_teachers(experiment);
    const struct model *same[] = {student};
    for (int i = 0; i < count && experiment_trains_teachers(experiment); i++) {
        const struct part part = experiment_teacher(experiment, i);
        TRY(try_part(experiment, &part, &models[0], visitor, context));
    }
    const struct part baseline = experiment_baseline(experiment);
    if (recipe->student.baseline)
        TRY(try_part(experiment, &baseline, student, visitor, context));
    for (int g = 0; g < recipe->distill.generations; g++) {
        const struct part part =
            experiment_student(experiment, g, g == 0 ? teachers : same, g == 0 ? count : 1);
        TRY(try_part(experiment, &part, student, visitor, context));
    }
    return RETORT_OK;
}

enum retort_status experiment_try(struct experiment *experiment, experiment_visitor *visitor,
                                  void *context)
{
    const int count = experiment_teachers(experiment);
    struct model *models, student = {0};
    const struct model **teachers;
    struct arena arena = {0};
    enum retort_status status;
    TRY(arena_take(&arena, (size_t)(count + 1) * sizeof(*models), (void **)&models));
    TRY_DONE(arena_take(&arena, (size_t)(count + 1) * sizeof(*teachers), (void **)&teachers));
    TRY_DONE(make_teachers(experiment, models, teachers));
    TRY_DONE(recipe_blame(
        experiment->options->recipe, "student.network",
        experiment_new_model(experiment, experiment->recipe.student.network, 1, &student)));
    TRY_DONE(try_parts(experiment, models, teachers, &student, visitor, context));
    status = cache_check_room(experiment->folder, experiment->cache_bytes);
done:
    for (int i = 0; i < count; i++)
        model_release(&models[i]);
    model_release(&student);
    arena_release(&arena);
    return status;
}
