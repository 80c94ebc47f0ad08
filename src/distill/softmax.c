/* softmax.c - the largest logit is taken out first, so nothing overflows. */
#include "distill/softmax.h"

#include <math.h>
#include <stddef.h>

double softmax(const float *logits, int classes, double temperature, double *probs)
{
    double largest = logits[0], sum = 0;
    for (int c = 1; c < classes; c++)
        largest = logits[c] > largest ? logits[c] : largest;
    for (int c = 0; c < classes; c++) {
        double e = exp((logits[c] - largest) / temperature);
        sum += e;
        if (probs)
            probs[c] = e;
    }
    for (int c = 0; c < classes && probs; c++)
        probs[c] /= sum;
    return largest / temperature + log(sum);
}
