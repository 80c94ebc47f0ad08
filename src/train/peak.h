/* peak.h - what the machine's multiply-add units can do: the measure for everything else. */
#ifndef TRAIN_PEAK_H
#define TRAIN_PEAK_H

/* f32 GFLOP/s of that many threads, each with independent multiply-adds from registers: the best of
 * several tries, in a tenth of a second. */
double peak_gflops(int threads);

#endif
