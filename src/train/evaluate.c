/* evaluate.c - top-1 and top-5 on the test set. */
#include "train/evaluate.h"

#include <omp.h>

#include "data/loader.h"
#include "nn/engine/executor.h"
#include "train/fit.h"

/* How many classes come before the right one: of equal scores the lower number does, and all do
 * where scores are not numbers. */
static int rank_of(const float *logits, int classes, int label)
{
    int rank = 0;
    for (int c = 0; c < classes; c++)
        rank +=
            c < label ? !(logits[c] < logits[label]) : c > label && !(logits[c] <= logits[label]);
    return rank;
}

static enum retort_status run_all(struct executor *executor, struct loader *loader, int classes,
                                  struct class_count *counts, struct evaluation *result)
{
    struct evaluation found = {0};
    struct batch batch;
    long first = 0, fifth = 0;
    TRY(loader_start(loader, 0, 0));
    for (;;) {
        TRY(loader_next(loader, &batch));
        if (batch.n == 0)
            break;
        double start = omp_get_wtime();
        executor_forward(executor, batch.images, 0);
        found.seconds += omp_get_wtime() - start;
        TRY(executor_status(executor));
        for (int i = 0; i < batch.n; i++) {
            const float *logits = executor_logits(executor) + (size_t)i * (size_t)classes;
            int rank = rank_of(logits, classes, batch.labels[i]);
            first += rank < 1;
            fifth += rank < 5;
            if (counts) {
                counts[batch.labels[i]].images++;
                counts[batch.labels[i]].right += rank < 1;
            }
        }
        found.images += batch.n;
    }
    found.top1 = 100.0 * (double)first / (double)found.images;
    found.top5 = 100.0 * (double)fifth / (double)found.images;
    *result = found;
    return RETORT_OK;
}

enum retort_status evaluate_classes(const struct model *model, const struct dataset *dataset,
                                    int batch, enum precision precision, struct class_count *counts,
                                    struct evaluation *result)
{
    struct executor_options options = {
        .batch = batch, .mode = EXECUTOR_INFER, .precision = precision};
    struct loader_options loading = {
        .batch = batch, .threads = 1, .mean = model->mean, .std = model->std};
    struct executor *executor = NULL;
    struct loader *loader = NULL;
    enum retort_status status;
    TRY(fit_shapes(&model->graph, dataset));
    TRY_DONE(executor_create(&model->graph, &options, &executor));
    TRY_DONE(executor_bind(executor, NULL));
    TRY_DONE(executor_load(executor, model));
    TRY_DONE(loader_create(dataset, false, &loading, &loader));
    status = run_all(executor, loader, model->graph.classes, counts, result);
done:
    loader_destroy(loader);
    executor_destroy(executor);
    return status;
}

enum retort_status evaluate(const struct model *model, const struct dataset *dataset, int batch,
                            enum precision precision, struct evaluation *result)
{
    return evaluate_classes(model, dataset, batch, precision, NULL, result);
}

enum retort_status evaluate_val(const struct model *model, const struct dataset *dataset, int batch,
                                enum precision precision, struct evaluation *result)
{
    struct dataset held_out = *dataset;
    held_out.test = dataset->val;
    return evaluate(model, &held_out, batch, precision, result);
}
