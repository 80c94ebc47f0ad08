/* test_exhibits.c - what a run keeps for its page is what the networks say: Gram matrices by their
 * formula, probabilities, accuracy for each class. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "data/loader.h"
#include "nn/engine/executor.h"
#include "retort/run.h"
#include "tiny.h"

enum { IMAGES = 30, CLASSES = 10 };

/* One run for all tests. */
static const char *folder;
static struct safetensors exhibits;
static json_t *summary;

static int make_run(void **state)
{
    char text[1024];
    const char *recipe = support_path("recipe.yaml");
    struct retort_run_result result;
    folder = strdup(support_path("run"));
    snprintf(
        text, sizeof(text),
        "name: tiny\nthreads: 1\n"
        "data: {set: fashion-mnist, path: %s}\n"
        "teacher: {network: \"resnet:depth=8,widths=16-16-16-24\", train: {epochs: 1, batch: 8}}\n"
        "student: {network: \"resnet:depth=8,widths=16-16-16-20\", train: {epochs: 1, batch: 8}}\n"
        "distill: {stages: [{losses: {ce: {}, gram: {pairs: [stem-stage3, stage1-stage2]}}}]}\n",
        tiny_folder(40, IMAGES));
    assert_ok(file_write(recipe, text, strlen(text)));
    assert_ok(retort_run(
        &(struct retort_run_options){.recipe = recipe, .folder = folder, .force = true}, &result));
    retort_run_release(&result);
    char *path = file_join(folder, "exhibits.safetensors"), *json = file_join(folder, "run.json");
    assert_ok(safetensors_read(path, &exhibits));
    summary = json_load_file(json, 0, NULL);
    assert_non_null(summary);
    free(path);
    free(json);
    return 0;
}

static int release_run(void **state)
{
    safetensors_release(&exhibits);
    json_decref(summary);
    free((char *)folder);
    return 0;
}

/* All test images and two maps of a network, as plain numbers. */
struct maps {
    struct tensor tensors[2];
    float *plain[2], *logits;
};

static void run_network(const char *file, const char *const taps[2], struct maps *maps)
{
    char *path = file_join(folder, file);
    struct model model;
    struct dataset dataset;
    struct loader *loader;
    struct executor *executor;
    struct batch batch;
    char set[512];
    assert_ok(model_load(path, &model));
    snprintf(set, sizeof(set), "fashion-mnist:%s", support_path("idx"));
    assert_ok(dataset_open(set, &(struct dataset_options){0}, &dataset));
    const int numbers[] = {graph_find_tap(&model.graph, taps[0]),
                           graph_find_tap(&model.graph, taps[1])};
    assert_ok(executor_create(
        &model.graph,
        &(struct executor_options){
            .batch = IMAGES, .mode = EXECUTOR_INFER, .tap_count = 2, .taps = numbers},
        &executor));
    assert_ok(executor_bind(executor, NULL));
    assert_ok(executor_load(executor, &model));
    assert_ok(
        loader_create(&dataset, false,
                      &(struct loader_options){
                          .batch = IMAGES, .threads = 1, .mean = model.mean, .std = model.std},
                      &loader));
    assert_ok(loader_start(loader, 0, 0));
    assert_ok(loader_next(loader, &batch));
    executor_forward(executor, batch.images, 0);
    for (int i = 0; i < 2; i++) {
        maps->tensors[i] = executor_tap(executor, i);
        const struct tensor *map = &maps->tensors[i];
        maps->plain[i] = calloc((size_t)map->n * map->c * map->h * map->w, sizeof(float));
        tensor_to_plain(map, maps->plain[i]);
    }
    maps->logits = calloc(IMAGES * CLASSES, sizeof(float));
    memcpy(maps->logits, executor_logits(executor), IMAGES * CLASSES * sizeof(float));
    loader_destroy(loader);
    executor_destroy(executor);
    dataset_release(&dataset);
    model_release(&model);
    free(path);
}

static void maps_release(struct maps *maps)
{
    free(maps->plain[0]);
    free(maps->plain[1]);
    free(maps->logits);
}

/* The largest of the window of (h, w) that lies over position p of a map of `side`. */
static double pooled(const struct maps *maps, int which, int image, int channel, int p, int side)
{
    const struct tensor *map = &maps->tensors[which];
    const int window = map->h / side, top = p / side * window, left = p % side * window;
    const float *plane = maps->plain[which] + ((size_t)image * map->c + channel) * map->h * map->w;
    double most = -INFINITY;
    for (int y = top; y < top + window; y++)
        for (int x = left; x < left + window; x++)
            most = fmax(most, plane[y * map->w + x]);
    return most;
}

static double gram_entry(const struct maps *maps, int i, int j)
{
    const int side = maps->tensors[1].h;
    double sum = 0;
    for (int image = 0; image < IMAGES; image++)
        for (int p = 0; p < side * side; p++)
            sum += pooled(maps, 0, image, i, p, side) * pooled(maps, 1, image, j, p, side);
    return sum / (side * side) / IMAGES;
}

static void check_gram(const char *file, const char *network)
{
    const char *const taps[] = {"stem", "stage3"};
    struct maps maps;
    char name[64];
    run_network(file, taps, &maps);
    snprintf(name, sizeof(name), "gram.stem-stage3.%s", network);
    const struct safetensor *matrix = safetensors_find(&exhibits, name);
    assert_non_null(matrix);
    assert_int_equal(matrix->dims[0], maps.tensors[0].c);
    assert_int_equal(matrix->dims[1], maps.tensors[1].c);
    for (int i = 0; i < matrix->dims[0]; i += 5)
        for (int j = 0; j < matrix->dims[1]; j++) {
            const double wanted = gram_entry(&maps, i, j);
            const double found = ((const float *)matrix->data)[i * matrix->dims[1] + j];
            assert_true(fabs(found - wanted) <= 1e-4 * (1 + fabs(wanted)));
        }
    maps_release(&maps);
}

static void gram_matrices_are_those_of_the_formula(void **state)
{
    check_gram("teacher-1.safetensors", "teacher-1");
    check_gram("student.safetensors", "student");
    assert_non_null(safetensors_find(&exhibits, "gram.stage1-stage2.student.start"));
    assert_null(safetensors_find(&exhibits, "gram.stem-stage1.student"));
}

static void probabilities_belong_to_their_images(void **state)
{
    const struct safetensor *rows = safetensors_find(&exhibits, "probabilities.student");
    const struct safetensor *indices = safetensors_find(&exhibits, "indices");
    struct maps maps;
    run_network("student.safetensors", (const char *const[]){"stem", "stage1"}, &maps);
    assert_true(rows->dims[0] >= 12);
    for (int i = 0; i < rows->dims[0]; i++) {
        const float *logits = maps.logits + ((const int32_t *)indices->data)[i] * CLASSES;
        const float *found = (const float *)rows->data + i * CLASSES;
        double sum = 0;
        for (int c = 0; c < CLASSES; c++)
            sum += exp(logits[c] - logits[0]);
        for (int c = 0; c < CLASSES; c++)
            assert_true(fabs(found[c] - exp(logits[c] - logits[0]) / sum) < 1e-4);
    }
    maps_release(&maps);
}

static void accuracy_of_classes_gives_that_of_all(void **state)
{
    const json_t *student = json_object_get(summary, "student");
    const json_t *classes = json_object_get(student, "per_class");
    double sum = 0;
    assert_int_equal(json_array_size(classes), CLASSES);
    assert_int_equal(json_array_size(json_object_get(summary, "class_names")), CLASSES);
    for (size_t c = 0; c < CLASSES; c++) /* as many images of each */
        sum += json_number_value(json_array_get(classes, c)) / CLASSES;
    assert_true(fabs(sum - json_number_value(json_object_get(student, "top1"))) < 1e-6);
}

static void times_and_machine_are_told(void **state)
{
    const json_t *machine = json_object_get(summary, "machine");
    assert_int_equal(json_integer_value(json_object_get(machine, "threads")), 1);
    assert_string_equal(json_string_value(json_object_get(machine, "precision")), "f32");
    const json_t *student = json_object_get(summary, "student");
    assert_true(json_number_value(json_object_get(student, "training_seconds")) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gram_matrices_are_those_of_the_formula),
        cmocka_unit_test(probabilities_belong_to_their_images),
        cmocka_unit_test(accuracy_of_classes_gives_that_of_all),
        cmocka_unit_test(times_and_machine_are_told),
    };
    return cmocka_run_group_tests(tests, make_run, release_run);
}
