/* softmax.h - softmax of a row of logits. In double: a batch has few logits. */
#ifndef DISTILL_SOFTMAX_H
#define DISTILL_SOFTMAX_H

#include <math.h>

/* log(sum of exp(logits[k])); neither large nor small logits overflow. */
static inline double softmax_log_sum(const float *logits, int classes)
{
    float largest = logits[0];
    for (int k = 1; k < classes; k++)
        largest = logits[k] > largest ? logits[k] : largest;
    double sum = 0;
    for (int k = 0; k < classes; k++)
        sum += exp((double)logits[k] - largest);
    return largest + log(sum);
}

#endif
