/* classifier.h - classify images with a model file.
 *
 *     retort_classifier *classifier;
 *     if (retort_classifier_open("student.safetensors", 1, &classifier) != RETORT_OK) ...
 *     retort_classify(classifier, pixels, 1, probabilities);
 *     retort_classifier_close(classifier);
 *
 * Normalisation and class names come with the model file. One thread at a time per classifier. */
#ifndef RETORT_CLASSIFIER_H
#define RETORT_CLASSIFIER_H

#include <stdint.h>

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct retort_classifier retort_classifier;

/* batch: the most images that one call will classify, >= 1. */
RETORT_API enum retort_status retort_classifier_open(const char *path, int batch,
                                                     retort_classifier **classifier);
/* Accepts NULL. */
RETORT_API void retort_classifier_close(retort_classifier *classifier);

/* What it takes and gives. */
RETORT_API void retort_classifier_input(const retort_classifier *classifier, int *channels,
                                        int *height, int *width);
RETORT_API int retort_classifier_classes(const retort_classifier *classifier);
/* The name of class 0 .. classes-1; borrowed; "" when the file names none. */
RETORT_API const char *retort_classifier_class_name(const retort_classifier *classifier, int index);

/* pixels [in] (count, channels, height, width), 0 .. 255; probabilities [out] (count, classes),
 * each row sums to 1. count <= batch. */
RETORT_API enum retort_status retort_classify(retort_classifier *classifier, const uint8_t *pixels,
                                              int count, float *probabilities);

#ifdef __cplusplus
}
#endif
#endif
