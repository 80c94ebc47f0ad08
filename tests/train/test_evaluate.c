/* test_evaluate.c - top-1 and top-5 where every rank is known: the network's logits are the pixels.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image_set.h"
#include "nn/op/op.h"
#include "retort/evaluate.h"
#include "tiny.h"
#include "train/evaluate.h"

enum { CLASSES = 6, HEIGHT = 2, WIDTH = 3 };

/* Images of six pixels, six classes, one linear layer without effect: the score of class c is pixel
 * c. */
static void open_model(struct model *model)
{
    const struct linear_attributes fc = {.out_features = CLASSES};
    struct graph graph = {0};
    int node = 0;
    assert_ok(graph_begin(&graph, "pixels", (struct shape){1, HEIGHT, WIDTH}));
    assert_ok(graph_add(&graph, OP_linear, "fc", &node, 1, &fc, &node));
    assert_ok(graph_finish(&graph));
    assert_ok(model_create(&graph, model));
    for (int c = 0; c < CLASSES; c++)
        model->values[0][c * CLASSES + c] = 1;
}

struct image {
    uint8_t pixels[CLASSES];
    int label;
};

static void open_dataset(const struct image *images, int count, struct dataset *dataset)
{
    *dataset = (struct dataset){.classes = CLASSES, .mean = {0.5f}, .std = {0.25f}};
    dataset->name = strdup("pixels");
    dataset->class_names = calloc(CLASSES, sizeof(char *));
    assert_ok(image_set_make(&dataset->train, 1, 1, HEIGHT, WIDTH));
    assert_ok(image_set_make(&dataset->test, count, 1, HEIGHT, WIDTH));
    for (int i = 0; i < count; i++) {
        memcpy(dataset->test.pixels + i * CLASSES, images[i].pixels, CLASSES);
        dataset->test.labels[i] = images[i].label;
    }
}

static struct evaluation run(const struct model *model, const struct image *images, int count,
                             int batch)
{
    struct dataset dataset;
    struct evaluation found;
    open_dataset(images, count, &dataset);
    assert_ok(evaluate(model, &dataset, batch, PRECISION_F32, &found));
    dataset_release(&dataset);
    return found;
}

static void assert_percent(double found, int right, int images)
{
    assert_true(fabs(found - 100.0 * right / images) < 1e-9);
}

/* Seven images, so that the last batch of 4 has 3, and of 5 has 2. The ranks of the labels are 0,
 * 0, 4, 5, 1, 0, 5. */
static void ranks_are_counted_in_full_and_partial_batches(void **state)
{
    static const struct image images[] = {
        {{9, 8, 7, 6, 5, 4}, 0},       {{1, 2, 3, 4, 5, 60}, 5},    {{10, 20, 30, 40, 50, 60}, 1},
        {{10, 20, 30, 40, 50, 60}, 0}, {{0, 255, 254, 0, 0, 0}, 2}, {{0, 0, 0, 200, 0, 199}, 3},
        {{1, 2, 3, 4, 5, 0}, 5},
    };
    struct model model;
    open_model(&model);
    for (int batch = 1; batch <= 9; batch++) {
        struct evaluation found = run(&model, images, 7, batch);
        assert_int_equal(found.images, 7);
        assert_percent(found.top1, 3, 7);
        assert_percent(found.top5, 5, 7);
        assert_true(found.seconds > 0);
    }
    model_release(&model);
}

/* All scores equal: the order is that of the classes, so that a dead network is not right always.
 */
static void of_equal_scores_the_lower_class_comes_first(void **state)
{
    static const struct image images[] = {{{7, 7, 7, 7, 7, 7}, 0},
                                          {{7, 7, 7, 7, 7, 7}, 4},
                                          {{7, 7, 7, 7, 7, 7}, 5},
                                          {{7, 7, 7, 7, 7, 9}, 1}};
    struct model model;
    open_model(&model);
    struct evaluation found = run(&model, images, 4, 3);
    assert_percent(found.top1, 1, 4);
    assert_percent(found.top5, 3, 4);
    model_release(&model);
}

static void scores_that_are_no_numbers_are_never_right(void **state)
{
    static const struct image images[] = {{{200, 100, 0, 0, 0, 0}, 0}, {{200, 100, 0, 0, 0, 0}, 5}};
    struct model model;
    open_model(&model);
    for (int i = 0; i < CLASSES * CLASSES; i++)
        model.values[0][i] = NAN;
    struct evaluation found = run(&model, images, 2, 2);
    assert_percent(found.top1, 0, 2);
    model_release(&model);
}

/* Class 0 scores the first pixel as normalised, class 1 nothing: 128 / 255 is above the mean or
 * not. */
static void images_are_normalised_as_the_model_says(void **state)
{
    static const struct image images[] = {{{128, 128, 128, 128, 128, 128}, 0}};
    struct model model;
    open_model(&model);
    memset(model.values[0], 0, CLASSES * CLASSES * sizeof(float));
    model.values[0][0] = 1;
    model.mean[0] = 0.4f;
    assert_percent(run(&model, images, 1, 1).top1, 1, 1);
    model.mean[0] = 0.6f;
    assert_percent(run(&model, images, 1, 1).top1, 0, 1);
    model_release(&model);
}

static void what_does_not_fit_is_refused(void **state)
{
    static const struct image images[] = {{{0}, 0}};
    struct model model;
    struct dataset dataset;
    struct evaluation found;
    open_model(&model);
    open_dataset(images, 1, &dataset);
    dataset.train.height = 5;
    assert_fails(evaluate(&model, &dataset, 1, PRECISION_F32, &found), RETORT_INVALID,
                 "pixels takes images of 1x2x3, the data set pixels has 1x5x3");
    dataset.train.height = HEIGHT;
    dataset.classes = 5;
    assert_fails(evaluate(&model, &dataset, 1, PRECISION_F32, &found), RETORT_INVALID,
                 "pixels has 6 classes, the data set pixels has 5");
    dataset.classes = CLASSES;
    dataset_release(&dataset);
    model_release(&model);
}

/* The public function, with files on both sides. */
static void a_model_file_is_evaluated_on_files(void **state)
{
    struct model model;
    struct graph graph = {0};
    struct retort_evaluation found;
    const struct retort_evaluation_options options = {.batch = 7, .threads = 1};
    char data[512];
    const char *path = support_path("model.safetensors");
    snprintf(data, sizeof(data), "fashion-mnist:%s", tiny_folder(20, 30));
    assert_ok(
        network_build("resnet:depth=8,widths=4-4-4-4", 10, (struct shape){1, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    model_initialise(&model, 1);
    assert_ok(model_save(&model, path));
    model_release(&model);
    assert_ok(retort_evaluate(path, data, &options, &found));
    assert_int_equal(found.images, 30);
    assert_true(found.top5 >= found.top1 && found.top5 <= 100 && found.images_per_second > 0);
    assert_int_equal(found.skipped, 0);
    assert_fails(retort_evaluate("/nowhere/x", data, &options, &found), RETORT_IO, "/nowhere/x");
    assert_fails(retort_evaluate(path, "fashion-mnist:/nowhere", &options, &found), RETORT_IO,
                 "/nowhere");
    assert_fails(retort_evaluate(path, "cows", &options, &found), RETORT_INVALID, "cows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_counted_in_full_and_partial_batches),
        cmocka_unit_test(of_equal_scores_the_lower_class_comes_first),
        cmocka_unit_test(scores_that_are_no_numbers_are_never_right),
        cmocka_unit_test(images_are_normalised_as_the_model_says),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_model_file_is_evaluated_on_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
