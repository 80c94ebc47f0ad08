/* softmax.h - probabilities of logits that may be huge. */
#ifndef DISTILL_SOFTMAX_H
#define DISTILL_SOFTMAX_H

/* probs[i] = exp(logits[i] / temperature) / sum, in double; probs may be NULL. Returns the logarithm of
 * the sum of exp(logits[i] / temperature): log p_i = logits[i] / temperature - result. */
double softmax(const float *logits, int classes, double temperature, double *probs);

#endif
