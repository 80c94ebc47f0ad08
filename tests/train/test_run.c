/* test_run.c - held-out images, teachers from files, and the plan of a run. */
#include "tiny_run.h"
#include "support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/dataset.h"
#include "nn/model.h"
#include "retort/plan.h"
#include "tiny.h"
#include "train/evaluate.h"
#include "train/experiment.h"

/* ---- images that are held out ---- */

/* The last `val_top1` of a part. */
static double told_accuracy(const char *folder, const char *part)
{
    char *path = file_join(folder, "metrics.jsonl");
    FILE *file = fopen(path, "r");
    double told = -1;
    assert_non_null(file);
    for (json_t *line; (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(line))
        if (strcmp(json_string_value(json_object_get(line, "part")), part) == 0)
            told = json_number_value(json_object_get(line, "val_top1"));
    fclose(file);
    free(path);
    return told;
}

static void assert_normalised_like(const struct model *model, const struct dataset *dataset)
{
    assert_memory_equal(model->mean, dataset->mean, sizeof(model->mean));
    assert_memory_equal(model->std, dataset->std, sizeof(model->std));
}

/* From the beginning, also with adapters: who evaluates it before it is a file sees the right
 * images. */
static void a_new_network_is_normalised_as_the_data_is(void **state)
{
    struct experiment experiment;
    struct model student, teacher;
    struct training training = {0};
    const struct retort_run_options options = {.recipe = tiny_recipe()};
    assert_ok(experiment_open(&options, &experiment));
    assert_true(experiment.dataset.mean[0] != 0 && experiment.dataset.std[0] != 1);
    const char *network = experiment.recipe.teacher.network;
    assert_ok(experiment_new_model(&experiment, network, 1, &teacher));
    assert_normalised_like(&teacher, &experiment.dataset);
    const struct model *teachers[] = {&teacher, &teacher};
    const struct part part = experiment_student(&experiment, 0, teachers, 2);
    assert_ok(experiment_new_model(&experiment, part.network, 1, &student));
    struct model *networks[] = {&student};
    assert_ok(training_begin(&experiment, &part, 0, networks, NULL, &training));
    assert_int_equal(training.adapters, 1);
    assert_normalised_like(training.models[0], &experiment.dataset);
    training_release(&training);
    model_release(&student);
    model_release(&teacher);
    experiment_close(&experiment);
}

/* What smooth labels are worth is not the teacher's merit. */
static void the_plain_student_has_labels_as_smooth(void **state)
{
    struct experiment experiment;
    const char *const overrides[] = {"distill.stages.1.losses.ce.smoothing=0.3",
                                     "distill.stages.1.losses.ce.weight=5"};
    const struct retort_run_options options = {
        .recipe = tiny_recipe(), .overrides = overrides, .override_count = 2};
    assert_ok(experiment_open(&options, &experiment));
    const struct part plain = experiment_baseline(&experiment);
    const void *settings = plain.stages[0].losses[LOSS_ce];
    const struct setting_table *table = loss_of(LOSS_ce)->settings;
    const struct setting *smoothing = settings_find(table, "smoothing"),
                         *weight = settings_find(table, "weight");
    assert_true(*(const double *)((const char *)settings + smoothing->offset) == 0.3);
    assert_true(*(const double *)((const char *)settings + weight->offset) == 1);
    experiment_close(&experiment);
}

/* What is told after the last epoch is what the file gives: also for a student with adapters, which
 * its file no longer has. */
static void what_is_told_of_held_out_images_is_what_the_file_gives(void **state)
{
    static const char *const parts[] = {"teacher-1", "baseline", "student"};
    enum { HELD_OUT = 10 };
    char folder[256], specification[300];
    struct dataset dataset;
    snprintf(folder, sizeof(folder), "%s", support_path("held-out"));
    assert_ok(tiny_run_with(folder, "data.val=10", false));
    snprintf(specification, sizeof(specification), "fashion-mnist:%s",
             tiny_folder(TRAIN_IMAGES, TEST_IMAGES));
    assert_ok(dataset_open(specification, &(struct dataset_options){.val = HELD_OUT}, &dataset));
    for (int i = 0; i < 3; i++) {
        char name[64];
        struct model model;
        struct evaluation evaluation;
        snprintf(name, sizeof(name), "%s.safetensors", parts[i]);
        char *path = file_join(folder, name);
        assert_ok(model_load(path, &model));
        assert_true(model.mean[0] != 0 && model.std[0] != 1);
        assert_ok(evaluate_val(&model, &dataset, BATCH, PRECISION_F32, &evaluation));
        assert_int_equal(evaluation.images, HELD_OUT);
        assert_true(fabs(evaluation.top1 - told_accuracy(folder, parts[i])) < 1e-6);
        model_release(&model);
        free(path);
    }
    dataset_release(&dataset);
}

/* ---- teachers from files ---- */

/* files_of: one file, or two with a comma. */
static enum retort_status run_with_teachers(const char *folder, const char *files_of, bool force)
{
    char weights[1024];
    struct retort_run_result result;
    snprintf(weights, sizeof(weights), "teacher.weights=%s", files_of);
    const char *const overrides[] = {
        "teacher.network=", strchr(files_of, ',') ? "teacher.count=2" : "teacher.count=1", weights};
    const struct retort_run_options options = {.recipe = tiny_recipe(),
                                               .overrides = overrides,
                                               .override_count = 3,
                                               .folder = folder,
                                               .force = force};
    TRY(retort_run(&options, &result));
    assert_int_equal(result.count, PARTS);
    assert_int_equal(strncmp(files_of, result.models[0].path, strlen(result.models[0].path)), 0);
    retort_run_release(&result);
    return RETORT_OK;
}

static void teachers_from_files_teach_the_same(void **state)
{
    char folder[256], both[1024];
    char *one = file_join(tiny_whole_run(), "teacher-1.safetensors"),
         *two = file_join(tiny_whole_run(), "teacher-2.safetensors");
    snprintf(folder, sizeof(folder), "%s", support_path("given"));
    snprintf(both, sizeof(both), "%s,%s", one, two);
    assert_ok(run_with_teachers(folder, both, true));
    char *a = file_join(tiny_whole_run(), "student.safetensors"),
         *b = file_join(folder, "student.safetensors"),
         *none = file_join(folder, "teacher-1.safetensors");
    tiny_assert_equal_files(a, b);
    assert_false(file_exists(none));
    free(a);
    free(b);
    free(none);
    free(one);
    free(two);
}

/* These have seen a few images: they are at chance. */
static void a_teacher_that_knows_nothing_is_refused(void **state)
{
    char *teacher = file_join(tiny_whole_run(), "teacher-1.safetensors");
    assert_fails(run_with_teachers(support_path("ignorant"), teacher, false), RETORT_INVALID,
                 "it knows nothing that it could teach");
    assert_non_null(strstr(retort_message(), "teacher-1.safetensors: "));
    assert_non_null(strstr(retort_message(), "chance is 10.00 %"));
    free(teacher);
}

/* The run's own teacher, on images enough to say so; its file is there, and who insists goes on. */
static void an_own_teacher_that_learnt_nothing_is_refused(void **state)
{
    char path[300];
    struct retort_run_result result;
    const char *const overrides[] = {"teacher.train.lr=1e-9", "teacher.count=1", path};
    struct retort_run_options options = {.recipe = tiny_recipe(),
                                         .overrides = overrides,
                                         .override_count = 3,
                                         .folder = strdup(support_path("learnt-nothing"))};
    snprintf(path, sizeof(path), "data.path=%s", tiny_folder(30, 500));
    assert_fails(retort_run(&options, &result), RETORT_INVALID,
                 "teacher-1: 10.00 % top-1 on fashion-mnist, chance is 10.00 %: it knows nothing");
    char *teacher = file_join(options.folder, "teacher-1.safetensors");
    assert_true(file_exists(teacher));
    options.resume = options.force = true;
    assert_ok(retort_run(&options, &result));
    assert_int_equal(result.count, 3);
    retort_run_release(&result);
    free(teacher);
    free((void *)options.folder);
}

/* Half of the images are labelled as the neighbouring class's from now on. */
static void mislabel_test_images(const char *folder)
{
    enum { HEADER = 8 };
    struct file_bytes labels;
    char *path = file_join(folder, "t10k-labels-idx1-ubyte");
    assert_ok(file_read(path, 1 << 16, &labels));
    for (size_t i = HEADER; i < labels.size / 2; i++)
        labels.data[i] ^= 1;
    assert_ok(file_write(path, labels.data, labels.size));
    free(labels.data);
    free(path);
}

/* It knows its trade, its file says how well, and these test images say otherwise. */
static void a_teacher_that_falls_short_of_its_file_is_refused(void **state)
{
    char folder[256], weights[512];
    struct retort_run_result result;
    const char *const learning[] = {"teacher.count=1", "teacher.train.epochs=8"};
    const char *const teaching[] = {"teacher.network=", "teacher.count=1", weights};
    struct retort_run_options options = {.recipe = tiny_recipe(),
                                         .overrides = learning,
                                         .override_count = 2,
                                         .folder = folder,
                                         .parts = RETORT_TEACHERS};
    const char *images = tiny_folder(200, 100);
    snprintf(folder, sizeof(folder), "%s", support_path("skilled"));
    assert_ok(retort_run(&options, &result));
    assert_true(result.models[0].top1 > 90);
    snprintf(weights, sizeof(weights), "teacher.weights=%s", result.models[0].path);
    retort_run_release(&result);

    mislabel_test_images(images);
    snprintf(folder, sizeof(folder), "%s", support_path("falls-short"));
    options.overrides = teaching;
    options.override_count = 3;
    options.parts = 0;
    assert_fails(retort_run(&options, &result), RETORT_INVALID, "its file promises ");
    options.resume = options.force = true;
    assert_ok(retort_run(&options, &result));
    assert_true(result.models[0].top1 < 60);
    retort_run_release(&result);
}

/* A copy of the teacher whose classes are in another order. */
static void changed_teacher(const char *path)
{
    struct model model;
    char *teacher = file_join(tiny_whole_run(), "teacher-1.safetensors");
    assert_ok(model_load(teacher, &model));
    char *first = model.class_names[0];
    model.class_names[0] = model.class_names[1];
    model.class_names[1] = first;
    assert_ok(model_save(&model, path));
    model_release(&model);
    free(teacher);
}

static void a_teacher_with_other_classes_is_refused(void **state)
{
    char path[256];
    snprintf(path, sizeof(path), "%s", support_path("exchanged.safetensors"));
    changed_teacher(path);
    assert_fails(run_with_teachers(support_path("exchanged"), path, true), RETORT_INVALID,
                 "in the same order wanted");
}

static void assert_refused(const char *network, int classes, float mean, const char *text)
{
    struct graph graph = {0};
    struct model model;
    const char *path = support_path("odd.safetensors"), *folder = support_path("odd");
    assert_ok(network_build(network, classes, (struct shape){1, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    model.mean[0] = mean;
    assert_ok(model_save(&model, path));
    model_release(&model);
    assert_fails(run_with_teachers(folder, path, false), RETORT_INVALID, text);
    assert_non_null(strstr(retort_message(), "recipe.yaml:4: teacher.weights: "));
    assert_non_null(strstr(retort_message(), "odd.safetensors: "));
    assert_false(file_exists(folder));
}

static void a_teacher_that_does_not_fit_is_refused(void **state)
{
    assert_refused("resnet:depth=8", 7, 0, "has 7 classes, the data set fashion-mnist has 10");
    assert_refused("resnet:depth=8,input=3x32x32", 10, 0, "takes images of 3x32x32");
    assert_refused("resnet:depth=8", 10, 0.9f, "normalised with mean 0.9000");
    assert_fails(run_with_teachers(support_path("odd"), "/nowhere/t.safetensors", false), RETORT_IO,
                 "teacher.weights: /nowhere/t.safetensors");
}

/* ---- the plan ---- */

static void a_plan_tells_what_a_run_does_and_writes_nothing(void **state)
{
    struct retort_plan plan;
    const char *folder = support_path("planned");
    const struct retort_run_options options = {.recipe = tiny_recipe(), .folder = folder};
    assert_ok(retort_plan(&options, &plan));
    assert_false(file_exists(folder));
    assert_string_equal(plan.folder, folder);
    assert_string_equal(plan.teacher, "resnet:depth=8,widths=16-16-16-24");
    assert_int_equal(plan.teacher_count, 2);
    assert_int_equal(plan.adapter_count, 1);
    assert_string_equal(plan.adapters[0].tap, "stage3");
    assert_int_equal(plan.adapters[0].from, 16);
    assert_int_equal(plan.adapters[0].to, 24);
    assert_int_equal(plan.classes, 10);
    assert_int_equal(plan.pair_count, 6);
    assert_string_equal(plan.pairs[0].first, "stem");
    assert_string_equal(plan.pairs[5].second, "stage3");
    assert_int_equal(plan.part_count, PARTS + 1); /* the student has two stages */
    for (int i = 0; i < plan.part_count; i++) {
        assert_int_equal(plan.parts[i].epochs, i < PARTS - 1 ? EPOCHS : 1);
        assert_int_equal(plan.parts[i].steps, STEPS);
        assert_int_equal(plan.parts[i].batch, BATCH);
        assert_true(plan.parts[i].step_seconds > 0);
        assert_true(plan.parts[i].seconds >= plan.parts[i].step_seconds * STEPS);
    }
    char *path = file_join(tiny_whole_run(), "recipe.yaml");
    struct file_bytes recipe;
    assert_ok(file_read(path, 1 << 16, &recipe));
    assert_string_equal(plan.recipe, (const char *)recipe.data);
    free(recipe.data);
    free(path);
    retort_plan_release(&plan);
}

/* Seconds of the student in a plan with this loss beside the labels, whose teachers are cached. */
static void check_cached_plan(const char *loss, bool keeps_maps, bool rests)
{
    struct retort_plan plan;
    char recipe[512], text[1024];
    snprintf(recipe, sizeof(recipe), "%s", support_path("cached.yaml"));
    snprintf(text, sizeof(text),
             "name: cached\n"
             "threads: 1\n"
             "data: {set: fashion-mnist, path: %s, pad: 2, views: 1}\n"
             "teacher: {network: \"resnet:depth=14\", count: 2, train: {batch: %d}}\n"
             "student: {network: \"resnet:depth=8\", train: {batch: %d}}\n"
             "distill:\n"
             "  cache: on\n"
             "  cache_maps: %s\n"
             "  ensemble: {rule: random-k, k: 1}\n"
             "  stages: [{epochs: 2, losses: {ce: {}, %s: {}}}]\n",
             tiny_folder(TRAIN_IMAGES, TEST_IMAGES), BATCH, BATCH, keeps_maps ? "on" : "off", loss);
    assert_ok(file_write(recipe, text, strlen(text)));
    const struct retort_run_options options = {.recipe = recipe};
    assert_ok(retort_plan(&options, &plan));
    assert_int_equal(plan.part_count, PARTS);
    const struct retort_plan_part *plain = &plan.parts[PARTS - 2],
                                  *student = &plan.parts[PARTS - 1];
    assert_string_equal(plain->part, "baseline");
    const double teachers = fmax(student->step_seconds - plain->step_seconds, 0);
    /* one of two teachers is drawn, and in the first epoch both are asked */
    const double first = plain->step_seconds + 2 * teachers;
    const double second = rests ? plain->step_seconds : student->step_seconds;
    assert_float_equal(student->seconds, STEPS * (first + second), 1e-9);
    retort_plan_release(&plan);
}

static void a_plan_knows_when_teachers_rest(void **state)
{
    check_cached_plan("kl", false, true);
    check_cached_plan("gram", false, false);
    check_cached_plan("gram", true, true);
}

static void a_plan_tells_what_stands_in_the_way(void **state)
{
    struct retort_plan plan;
    struct retort_run_options options = {.recipe = tiny_recipe(), .folder = tiny_whole_run()};
    assert_ok(retort_plan(&options, &plan));
    assert_non_null(strstr(plan.obstacle, "holds a run already"));
    retort_plan_release(&plan);
    options.resume = true;
    assert_ok(retort_plan(&options, &plan));
    assert_null(plan.obstacle);
    retort_plan_release(&plan);
    options = (struct retort_run_options){
        .recipe = tiny_recipe(), .folder = support_path("no-teachers"), .parts = RETORT_STUDENT};
    assert_ok(retort_plan(&options, &plan));
    assert_non_null(strstr(plan.obstacle, "teacher-1.safetensors is not there"));
    retort_plan_release(&plan);
}

static void a_plan_knows_the_parts_that_are_asked_for(void **state)
{
    struct retort_plan plan;
    const struct retort_run_options options = {.recipe = tiny_recipe(), .parts = RETORT_STUDENT};
    assert_ok(retort_plan(&options, &plan));
    assert_string_equal(plan.folder, "runs/tiny");
    assert_int_equal(plan.part_count, 2);
    assert_string_equal(plan.parts[0].part, "student");
    assert_int_equal(plan.parts[1].stage, 2);
    retort_plan_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_network_is_normalised_as_the_data_is),
        cmocka_unit_test(the_plain_student_has_labels_as_smooth),
        cmocka_unit_test(what_is_told_of_held_out_images_is_what_the_file_gives),
        cmocka_unit_test(teachers_from_files_teach_the_same),
        cmocka_unit_test(a_teacher_that_knows_nothing_is_refused),
        cmocka_unit_test(an_own_teacher_that_learnt_nothing_is_refused),
        cmocka_unit_test(a_teacher_that_falls_short_of_its_file_is_refused),
        cmocka_unit_test(a_teacher_with_other_classes_is_refused),
        cmocka_unit_test(a_teacher_that_does_not_fit_is_refused),
        cmocka_unit_test(a_plan_tells_what_a_run_does_and_writes_nothing),
        cmocka_unit_test(a_plan_knows_when_teachers_rest),
        cmocka_unit_test(a_plan_tells_what_stands_in_the_way),
        cmocka_unit_test(a_plan_knows_the_parts_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
