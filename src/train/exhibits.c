/* exhibits.c - what a run keeps for those who look at it.
 *
 * Everything is made when all parts are done, from model files and test images alone, so a resumed
 * run makes the same. The images are spread evenly over the test set, which may be sorted by class.
 * The student at the start is made anew: its numbers follow from the seed.
 *
 * Gram matrices are formed by the Gram loss itself, with the recipe's pairs and pooling: a network
 * is shown to it as a teacher, and what the loss keeps of a teacher are the matrices. They are of
 * the networks' own taps, without adapters, which no longer exist. */
#include "train/exhibits.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "data/loader.h"
#include "distill/gram_plan.h"
#include "distill/softmax.h"
#include "nn/engine/executor.h"
#include "train/run_folder.h"

enum {
    LOOKED_AT = 256, /* test images */
    BATCH = 32,
    MOST_BYTES = 64 << 20, /* of them as floats: large images are fewer */
    FIRST = 12,            /* images that are shown whatever networks say of them */
    MOST_CHANGED = 6,      /* and such that one student alone has right, of either kind */
    MOST_SHOWN = FIRST + 2 * MOST_CHANGED,
    MOST_TENSORS = 512,
};

/* ---- the images that are looked at ---- */

struct looked_at {
    int count;
    size_t floats; /* of one image */
    float *pixels; /* (count, floats), 0 .. 1 */
    int32_t *labels;
    int32_t *indices; /* in the test set */
};

static enum retort_status pick_images(const struct experiment *experiment, struct arena *arena,
                                      struct looked_at *images)
{
    static const float zeros[DATASET_CHANNELS], ones[DATASET_CHANNELS] = {1, 1, 1, 1};
    const struct image_set *set = &experiment->dataset.test;
    const struct loader_options options = {
        .batch = BATCH, .threads = 1, .mean = zeros, .std = ones};
    struct loader *loader = NULL;
    struct batch batch = {0};
    enum retort_status status;
    images->floats = (size_t)set->channels * (size_t)set->height * (size_t)set->width;
    const size_t fit = MOST_BYTES / sizeof(float) / images->floats;
    size_t most = fit < LOOKED_AT ? fit : LOOKED_AT;
    if (most < MOST_SHOWN)
        most = MOST_SHOWN;
    const int every = (set->count + (int)most - 1) / (int)most;
    TRY(arena_take(arena, most * images->floats * sizeof(float), (void **)&images->pixels));
    TRY(arena_take(arena, most * sizeof(int32_t), (void **)&images->labels));
    TRY(arena_take(arena, most * sizeof(int32_t), (void **)&images->indices));
    TRY(loader_create(&experiment->dataset, false, &options, &loader));
    TRY_DONE(loader_start(loader, 0, 0));
    do {
        TRY_DONE(loader_next(loader, &batch));
        for (int i = 0; i < batch.n && images->count < (int)most; i++) {
            if (batch.indices[i] % every)
                continue;
            memcpy(images->pixels + (size_t)images->count * images->floats,
                   batch.images + (size_t)i * images->floats, images->floats * sizeof(float));
            images->labels[images->count] = batch.labels[i];
            images->indices[images->count++] = batch.indices[i];
        }
    } while (batch.n > 0 && images->count < (int)most);
done:
    loader_destroy(loader);
    return status;
}

/* Images first .. first+BATCH-1 as the model wants them; zeros beyond the last. */
static void normalise(const struct looked_at *images, const struct model *model, int first,
                      float *batch)
{
    const struct shape input = model->graph.input;
    const size_t area = (size_t)input.h * (size_t)input.w;
    memset(batch, 0, BATCH * images->floats * sizeof(float));
    for (int i = 0; i < BATCH && first + i < images->count; i++) {
        const float *from = images->pixels + (size_t)(first + i) * images->floats;
        float *to = batch + (size_t)i * images->floats;
        for (size_t p = 0; p < images->floats; p++)
            to[p] = (from[p] - model->mean[p / area]) / model->std[p / area];
    }
}

static void softmax(const float *logits, int classes, float *probabilities)
{
    const double log_sum = softmax_log_sum(logits, classes);
    for (int c = 0; c < classes; c++)
        probabilities[c] = (float)exp((double)logits[c] - log_sum);
}

static int best(const float *probabilities, int classes)
{
    int found = 0;
    for (int c = 1; c < classes; c++)
        found = probabilities[c] > probabilities[found] ? c : found;
    return found;
}

/* ---- Gram matrices ---- */

/* The Gram loss of the recipe: the first stage's that has one; NULL: there is none. */
static const struct gram_settings *gram_settings(const struct experiment *experiment)
{
    const struct recipe_stage *stages = experiment->recipe.distill.stages.items;
    for (int i = 0; i < experiment->recipe.distill.stages.count; i++)
        if (stages[i].losses.settings[LOSS_gram])
            return stages[i].losses.settings[LOSS_gram];
    return NULL;
}

/* The taps that both networks have, or those of them that the recipe names. */
struct common_taps {
    int count;
    const char **names;
};

static enum retort_status find_taps(const struct experiment *experiment, const struct graph *a,
                                    const struct graph *b, struct arena *arena,
                                    struct common_taps *taps)
{
    const struct text_list *named = &experiment->recipe.distill.taps;
    const int most = named->count ? named->count : a->tap_count;
    TRY(arena_take(arena, (size_t)(most + 1) * sizeof(*taps->names), (void **)&taps->names));
    for (int i = 0; i < most; i++) {
        const char *name = named->count ? named->items[i] : a->taps[i].name;
        if (graph_find_tap(a, name) >= 0 && graph_find_tap(b, name) >= 0)
            taps->names[taps->count++] = arena_text(arena, name);
    }
    return RETORT_OK;
}

/* A network at work on the images. */
struct looking {
    const struct experiment *experiment;
    const struct looked_at *images;
    const struct common_taps *taps; /* NULL: logits only */
    const struct gram_settings *gram;
    const struct model *model;
    struct executor *executor;
    float *batch;
    void *loss; /* the Gram loss */
    struct gram_plan plan;
    struct tensor *maps;
    float *probabilities; /* (images, classes), or NULL */
    double *sums;         /* of what the loss keeps of an image */
};

static enum retort_status open_gram(struct looking *looking, struct arena *arena)
{
    const struct common_taps *taps = looking->taps;
    const struct graph *graph = &looking->model->graph;
    TRY(arena_take(arena, (size_t)taps->count * sizeof(struct tensor), (void **)&looking->maps));
    for (int i = 0; i < taps->count; i++)
        looking->maps[i] = executor_layout(graph, graph_find_tap(graph, taps->names[i]), BATCH,
                                           (enum precision)looking->experiment->recipe.precision);
    /* Many teachers: matrices are wanted, not what stands for them. */
    const struct loss_shapes shapes = {.n = BATCH,
                                       .classes = graph->classes,
                                       .tap_count = taps->count,
                                       .tap_names = taps->names,
                                       .student_taps = looking->maps,
                                       .teacher_taps = looking->maps,
                                       .many_map_teachers = true};
    TRY(gram_plan_make(looking->gram, &shapes, &looking->plan));
    TRY(loss_of(LOSS_gram)->create(looking->gram, &shapes, &looking->loss));
    return arena_take(arena, looking->plan.kept * sizeof(double), (void **)&looking->sums);
}

static enum retort_status open_network(struct looking *looking, struct arena *arena)
{
    const struct graph *graph = &looking->model->graph;
    const int taps = looking->taps ? looking->taps->count : 0;
    int numbers[taps + 1];
    const struct executor_options options = {
        .batch = BATCH,
        .mode = EXECUTOR_INFER,
        .precision = (enum precision)looking->experiment->recipe.precision,
        .tap_count = taps,
        .taps = numbers};
    for (int i = 0; i < taps; i++)
        numbers[i] = graph_find_tap(graph, looking->taps->names[i]);
    TRY(executor_create(graph, &options, &looking->executor));
    TRY(executor_bind(looking->executor, NULL));
    TRY(executor_load(looking->executor, looking->model));
    TRY(memory_aligned(BATCH * looking->images->floats * sizeof(float), (void **)&looking->batch));
    if (taps > 0)
        TRY(open_gram(looking, arena));
    for (int i = 0; i < taps; i++)
        looking->maps[i] = executor_tap(looking->executor, i);
    return RETORT_OK;
}

static void add_gram(struct looking *looking, int images)
{
    const struct loss *loss = loss_of(LOSS_gram);
    const struct teacher_view view = {.logits = executor_logits(looking->executor),
                                      .taps = looking->maps,
                                      .share = 1,
                                      .maps = true};
    size_t floats;
    loss->begin(looking->loss);
    loss->teacher(looking->loss, &view);
    const float *kept = loss->kept(looking->loss, &floats);
    for (int i = 0; i < images; i++)
        for (size_t k = 0; k < floats; k++)
            looking->sums[k] += kept[(size_t)i * floats + k] / looking->images->count;
}

static enum retort_status look(struct looking *looking)
{
    const int classes = looking->model->graph.classes, count = looking->images->count;
    for (int first = 0; first < count; first += BATCH) {
        const int n = count - first < BATCH ? count - first : BATCH;
        normalise(looking->images, looking->model, first, looking->batch);
        executor_forward(looking->executor, looking->batch, 0);
        TRY(executor_status(looking->executor));
        for (int i = 0; i < n && looking->probabilities; i++)
            softmax(executor_logits(looking->executor) + (size_t)i * (size_t)classes, classes,
                    looking->probabilities + (size_t)(first + i) * (size_t)classes);
        if (looking->loss)
            add_gram(looking, n);
    }
    return RETORT_OK;
}

static void close_network(struct looking *looking)
{
    if (looking->loss)
        loss_of(LOSS_gram)->destroy(looking->loss);
    gram_plan_release(&looking->plan);
    free(looking->batch);
    executor_destroy(looking->executor);
}

/* ---- the file ---- */

struct show {
    const struct experiment *experiment;
    struct arena arena;
    struct looked_at images;
    struct common_taps taps;
    const struct gram_settings *gram;
    float *teacher, *plain, *student; /* probabilities of all images; NULL: no such network */
    int helped, hurt; /* images that the distilled, the plain student alone has right */
    int count;
    struct safetensor tensors[MOST_TENSORS];
};

static enum retort_status add_tensor(struct show *show, const char *name,
                                     enum safetensors_type type, const int64_t *dims, int rank,
                                     void **data)
{
    static const size_t sizes[] = {
        [SAFETENSORS_F32] = 4, [SAFETENSORS_I32] = 4, [SAFETENSORS_U8] = 1};
    struct safetensor *tensor = &show->tensors[show->count];
    if (show->count == MOST_TENSORS)
        return fail(RETORT_INVALID, "exhibits: more than %d tensors", MOST_TENSORS);
    *tensor = (struct safetensor){
        .name = arena_text(&show->arena, name), .type = type, .rank = rank, .bytes = sizes[type]};
    for (int i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
        tensor->bytes *= (size_t)dims[i];
    }
    TRY(arena_take(&show->arena, tensor->bytes, data));
    tensor->data = *data;
    show->count++;
    return tensor->name ? RETORT_OK : fail(RETORT_MEMORY, "out of memory for exhibits");
}

/* Undo the kernel's order of a matrix (gram_kernel.h): 16 columns side by side. */
static enum retort_status add_matrices(struct show *show, const struct looking *looking,
                                       const char *network)
{
    for (int p = 0; p < looking->plan.pair_count; p++) {
        const struct gram_pair *pair = &looking->plan.pairs[p];
        const int rows = looking->maps[pair->taps[0]].c, columns = looking->maps[pair->taps[1]].c;
        const size_t lane = (size_t)((rows + GRAM_LANES - 1) / GRAM_LANES) * GRAM_LANES;
        const double *sums = looking->sums + pair->matrix;
        char name[256];
        float *matrix;
        snprintf(name, sizeof(name), "gram.%s-%s.%s", show->taps.names[pair->taps[0]],
                 show->taps.names[pair->taps[1]], network);
        TRY(add_tensor(show, name, SAFETENSORS_F32, (int64_t[]){rows, columns}, 2,
                       (void **)&matrix));
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                matrix[i * columns + j] =
                    (float)sums[((size_t)(j / GRAM_LANES) * lane + (size_t)i) * GRAM_LANES +
                                (size_t)(j % GRAM_LANES)];
    }
    return RETORT_OK;
}

/* probabilities [out] NULL: not wanted. */
static enum retort_status show_network(struct show *show, const char *name,
                                       const struct model *model, float **probabilities)
{
    struct looking looking = {.experiment = show->experiment,
                              .images = &show->images,
                              .taps = show->gram && show->taps.count ? &show->taps : NULL,
                              .gram = show->gram,
                              .model = model};
    const size_t numbers = (size_t)show->images.count * (size_t)model->graph.classes;
    if (probabilities)
        TRY(arena_take(&show->arena, numbers * sizeof(float), (void **)&looking.probabilities));
    enum retort_status status = open_network(&looking, &show->arena);
    if (status == RETORT_OK)
        status = look(&looking);
    if (status == RETORT_OK && looking.loss)
        status = add_matrices(show, &looking, name);
    if (status == RETORT_OK && probabilities)
        *probabilities = looking.probabilities;
    close_network(&looking);
    return status;
}

/* The model of a part, if there is one: values NULL where not. */
static enum retort_status find_model(const struct retort_run_result *result, const char *part,
                                     struct model *model)
{
    const struct retort_model_result *found = run_find_result(result, part);
    return found ? model_load(found->path, model) : RETORT_OK;
}

static enum retort_status show_start(struct show *show, const struct retort_run_result *result)
{
    struct model start = {0};
    const struct recipe *recipe = &show->experiment->recipe;
    if (!show->gram || !show->taps.count || !run_find_result(result, "student"))
        return RETORT_OK;
    const struct part part =
        experiment_student(show->experiment, recipe->distill.generations - 1, NULL, 0);
    TRY(experiment_new_model(show->experiment, part.network, part.seed, &start));
    const enum retort_status status = show_network(show, "student.start", &start, NULL);
    model_release(&start);
    return status;
}

static enum retort_status show_networks(struct show *show, const struct retort_run_result *result)
{
    struct model teacher = {0}, plain = {0}, student = {0};
    enum retort_status status;
    TRY_DONE(find_model(result, "teacher-1", &teacher));
    TRY_DONE(find_model(result, "baseline", &plain));
    TRY_DONE(find_model(result, "student", &student));
    const struct model *other = student.values ? &student : &plain;
    if (teacher.values && other->values)
        TRY_DONE(
            find_taps(show->experiment, &other->graph, &teacher.graph, &show->arena, &show->taps));
    if (teacher.values)
        TRY_DONE(show_network(show, "teacher-1", &teacher, &show->teacher));
    if (plain.values)
        TRY_DONE(show_network(show, "baseline", &plain, &show->plain));
    if (student.values)
        TRY_DONE(show_network(show, "student", &student, &show->student));
    status = show_start(show, result);
done:
    model_release(&teacher);
    model_release(&plain);
    model_release(&student);
    return status;
}

/* The first ones, and then some of those on which the students differ. */
static int choose_images(struct show *show, int chosen[MOST_SHOWN])
{
    const int classes = show->experiment->dataset.classes;
    int count = 0;
    for (int i = 0; i < show->images.count; i++) {
        const int label = show->images.labels[i];
        const size_t row = (size_t)i * (size_t)classes;
        const bool both = show->plain && show->student;
        const bool plain = both && best(show->plain + row, classes) == label;
        const bool student = both && best(show->student + row, classes) == label;
        const int earlier = plain ? show->hurt : show->helped;
        if (plain != student)
            plain ? show->hurt++ : show->helped++;
        if (i < FIRST || (plain != student && earlier < MOST_CHANGED))
            if (count < MOST_SHOWN)
                chosen[count++] = i;
    }
    return count;
}

static enum retort_status add_probabilities(struct show *show, const char *part,
                                            const float *probabilities, const int *chosen,
                                            int count)
{
    const int classes = show->experiment->dataset.classes;
    char name[64];
    float *rows;
    if (!probabilities)
        return RETORT_OK;
    snprintf(name, sizeof(name), "probabilities.%s", part);
    TRY(add_tensor(show, name, SAFETENSORS_F32, (int64_t[]){count, classes}, 2, (void **)&rows));
    for (int i = 0; i < count; i++)
        memcpy(rows + (size_t)i * (size_t)classes,
               probabilities + (size_t)chosen[i] * (size_t)classes,
               (size_t)classes * sizeof(float));
    return RETORT_OK;
}

static enum retort_status add_images(struct show *show)
{
    const struct image_set *set = &show->experiment->dataset.test;
    const size_t floats = show->images.floats;
    int chosen[MOST_SHOWN];
    const int count = choose_images(show, chosen);
    uint8_t *pixels;
    int32_t *labels, *indices;
    TRY(add_tensor(show, "images", SAFETENSORS_U8,
                   (int64_t[]){count, set->channels, set->height, set->width}, 4,
                   (void **)&pixels));
    TRY(add_tensor(show, "labels", SAFETENSORS_I32, (int64_t[]){count}, 1, (void **)&labels));
    TRY(add_tensor(show, "indices", SAFETENSORS_I32, (int64_t[]){count}, 1, (void **)&indices));
    for (int i = 0; i < count; i++) {
        const float *from = show->images.pixels + (size_t)chosen[i] * floats;
        for (size_t p = 0; p < floats; p++)
            pixels[(size_t)i * floats + p] = (uint8_t)(from[p] * 255 + 0.5f);
        labels[i] = show->images.labels[chosen[i]];
        indices[i] = show->images.indices[chosen[i]];
    }
    TRY(add_probabilities(show, "teacher-1", show->teacher, chosen, count));
    TRY(add_probabilities(show, "baseline", show->plain, chosen, count));
    return add_probabilities(show, "student", show->student, chosen, count);
}

static enum retort_status write_show(const struct show *show)
{
    char *path = run_file(show->experiment->folder, "exhibits", ".safetensors");
    json_t *metadata =
        json_pack("{s:s, s:s, s:o, s:o, s:o}", "format", "retort.exhibits", "version", "1",
                  "looked_at", json_sprintf("%d", show->images.count), "helped",
                  json_sprintf("%d", show->helped), "hurt", json_sprintf("%d", show->hurt));
    const enum retort_status status =
        path && metadata ? safetensors_write(path, show->tensors, show->count, metadata)
                         : fail(RETORT_MEMORY, "out of memory for exhibits");
    json_decref(metadata);
    free(path);
    return status;
}

static enum retort_status make_show(struct show *show, const struct retort_run_result *result)
{
    TRY(pick_images(show->experiment, &show->arena, &show->images));
    TRY(show_networks(show, result));
    TRY(add_images(show));
    return write_show(show);
}

enum retort_status exhibits_write(const struct experiment *experiment,
                                  const struct retort_run_result *result)
{
    struct show *show;
    TRY(memory_zeroed(1, sizeof(*show), (void **)&show));
    show->experiment = experiment;
    show->gram = gram_settings(experiment);
    const enum retort_status status = make_show(show, result);
    arena_release(&show->arena);
    free(show);
    return status;
}
