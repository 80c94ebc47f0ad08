/* fit.c - whether a network and a data set belong together. */
#include "train/fit.h"

#include <math.h>
#include <string.h>

enum retort_status fit_shapes(const struct graph *graph, const struct dataset *dataset)
{
    const struct image_set *set = &dataset->train;
    if (graph->input.c != set->channels || graph->input.h != set->height ||
        graph->input.w != set->width)
        return fail(RETORT_INVALID, "%s takes images of %dx%dx%d, the data set %s has %dx%dx%d",
                    graph->network, graph->input.c, graph->input.h, graph->input.w, dataset->name,
                    set->channels, set->height, set->width);
    if (graph->classes != dataset->classes)
        return fail(RETORT_INVALID, "%s has %d classes, the data set %s has %d", graph->network,
                    graph->classes, dataset->name, dataset->classes);
    return RETORT_OK;
}

enum retort_status fit_classes(const struct model *model, const struct dataset *dataset)
{
    for (int i = 0; model->class_names && i < dataset->classes; i++)
        if (strcmp(model->class_names[i], dataset->class_names[i]))
            return fail(RETORT_INVALID,
                        "class %d is called %s, in the data set %s it is %s: a model with the same "
                        "classes in the same order wanted",
                        i, model->class_names[i], dataset->name, dataset->class_names[i]);
    return RETORT_OK;
}

enum retort_status fit_normalisation(const struct model *model, const struct dataset *dataset)
{
    const double most = 1e-3; /* a quarter of a grey level: below what a network can notice */
    for (int i = 0; i < model->graph.input.c; i++)
        if (!(fabs((double)model->mean[i] - dataset->mean[i]) <= most &&
              fabs((double)model->std[i] - dataset->std[i]) <= most))
            return fail(RETORT_INVALID,
                        "made for images normalised with mean %.4f and deviation %.4f in channel "
                        "%d, those of the data set %s are %.4f and %.4f: a model trained on this "
                        "data set wanted",
                        model->mean[i], model->std[i], i, dataset->name, dataset->mean[i],
                        dataset->std[i]);
    return RETORT_OK;
}
