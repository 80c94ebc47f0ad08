/* evaluate_file.c - retort/evaluate.h: a model file on a data set. */
#include "retort/evaluate.h"

#include <omp.h>

#include "train/evaluate.h"

enum retort_status retort_evaluate(const char *model, const char *data, int batch, int threads,
                                   struct retort_evaluation *result)
{
    struct model loaded = {0};
    struct dataset dataset = {0};
    struct evaluation found;
    enum retort_status status;
    omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
    TRY_DONE(model_load(model, &loaded));
    TRY_DONE(dataset_open(data, &(struct dataset_options){0}, &dataset));
    TRY_DONE(evaluate(&loaded, &dataset, batch, PRECISION_F32, &found));
    *result = (struct retort_evaluation){found.top1, found.top5, found.images,
                                         (double)found.images / found.seconds};
done:
    dataset_release(&dataset);
    model_release(&loaded);
    return status;
}
