/* evaluate_file.c - retort/evaluate.h: a model file on a data set. */
#include "retort/evaluate.h"

#include <omp.h>

#include "train/evaluate.h"
#include "train/fit.h"

enum retort_status retort_evaluate(const char *model, const char *data,
                                   const struct retort_evaluation_options *options,
                                   struct retort_evaluation *result)
{
    struct model loaded = {0};
    struct dataset dataset = {0};
    const struct dataset_options reading = {.size = options->data.size,
                                            .held_out = options->data.held_out,
                                            .skip_bad = options->data.skip_bad};
    struct evaluation found;
    enum retort_status status;
    omp_set_num_threads(options->threads > 0 ? options->threads : omp_get_num_procs());
    TRY_DONE(model_load(model, &loaded));
    TRY_DONE(dataset_open(data, &reading, &dataset));
    status = fit_shapes(&loaded.graph, &dataset);
    if (status == RETORT_OK)
        status = fit_classes(&loaded, &dataset);
    if (status != RETORT_OK) {
        fail_in(status, "%s", model);
        goto done;
    }
    TRY_DONE(evaluate(&loaded, &dataset, options->batch, PRECISION_F32, &found));
    *result = (struct retort_evaluation){found.top1, found.top5, found.images,
                                         dataset.skipped.count + dataset.left_out,
                                         (double)found.images / found.seconds};
done:
    dataset_release(&dataset);
    model_release(&loaded);
    return status;
}
