/* classifier.c - retort/classifier.h: a model file that classifies images. */
#include "retort/classifier.h"

#include <math.h>
#include <stdlib.h>

#include "nn/engine/executor.h"

struct retort_classifier {
    struct model model;
    struct executor *executor;
    int batch;
    float *images; /* (batch, c, h, w), normalised */
};

static size_t image_numbers(const retort_classifier *classifier)
{
    struct shape in = classifier->model.graph.input;
    return (size_t)in.c * (size_t)in.h * (size_t)in.w;
}

enum retort_status retort_classifier_open(const char *path, int batch,
                                          retort_classifier **classifier)
{
    struct retort_classifier *made = NULL;
    struct executor_options options = {.batch = batch, .mode = EXECUTOR_INFER};
    enum retort_status status;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->batch = batch;
    TRY_DONE(model_load(path, &made->model));
    TRY_DONE(executor_create(&made->model.graph, &options, &made->executor));
    TRY_DONE(executor_bind(made->executor, NULL));
    TRY_DONE(executor_load(made->executor, &made->model));
    TRY_DONE(memory_aligned((size_t)batch * image_numbers(made) * sizeof(float),
                            (void **)&made->images));
    *classifier = made;
    return RETORT_OK;
done:
    retort_classifier_close(made);
    return status;
}

void retort_classifier_close(retort_classifier *classifier)
{
    if (!classifier)
        return;
    executor_destroy(classifier->executor);
    model_release(&classifier->model);
    free(classifier->images);
    free(classifier);
}

void retort_classifier_input(const retort_classifier *classifier, int *channels, int *height,
                             int *width)
{
    struct shape in = classifier->model.graph.input;
    *channels = in.c;
    *height = in.h;
    *width = in.w;
}

int retort_classifier_classes(const retort_classifier *classifier)
{
    return classifier->model.graph.classes;
}

const char *retort_classifier_class_name(const retort_classifier *classifier, int index)
{
    char **names = classifier->model.class_names;
    return names && index >= 0 && index < classifier->model.graph.classes ? names[index] : "";
}

static void normalise(retort_classifier *classifier, const uint8_t *pixels, int count)
{
    const struct model *model = &classifier->model;
    const size_t plane = (size_t)model->graph.input.h * (size_t)model->graph.input.w;
    float *out = classifier->images;
    for (int i = 0; i < count; i++)
        for (int c = 0; c < model->graph.input.c; c++)
            for (size_t p = 0; p < plane; p++)
                *out++ = ((float)*pixels++ / 255 - model->mean[c]) / model->std[c];
}

static void softmax(const float *logits, int classes, float *probabilities)
{
    float largest = logits[0];
    double sum = 0;
    for (int c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int c = 0; c < classes; c++)
        sum += exp((double)logits[c] - largest);
    for (int c = 0; c < classes; c++)
        probabilities[c] = (float)(exp((double)logits[c] - largest) / sum);
}

enum retort_status retort_classify(retort_classifier *classifier, const uint8_t *pixels, int count,
                                   float *probabilities)
{
    const int classes = classifier->model.graph.classes;
    if (count < 1 || count > classifier->batch)
        return fail(RETORT_INVALID, "%d images found, 1 to %d wanted", count, classifier->batch);
    normalise(classifier, pixels, count);
    executor_forward(classifier->executor, classifier->images, 0);
    TRY(executor_status(classifier->executor));
    const float *logits = executor_logits(classifier->executor);
    for (int i = 0; i < count; i++)
        softmax(logits + (size_t)i * (size_t)classes, classes,
                probabilities + (size_t)i * (size_t)classes);
    return RETORT_OK;
}
