/* bench_loader.c - retort/bench.h: how fast the loader alone is.
 *
 * Images are counted against the CPU time of the process, so that what other processes do to the
 * clock on the wall does not count, and everything that the loader costs does: its threads, the
 * order of each epoch, and this thread's share of handing batches over. Passes are whole: when the
 * time is taken, no batch is half made. */
#include "retort/bench.h"

#include <time.h>

#include "data/image_set.h"
#include "data/loader.h"

enum { CROP = 4, CUTOUT = 8 };
static const double ROTATION = 15, JITTER = 0.2, MIXUP = 0.2, CUTMIX = 1;
static const double LONG_ENOUGH = 3; /* seconds */

struct moment {
    double wall, cpu; /* seconds */
};

static double read_clock(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct moment now(void)
{
    return (struct moment){read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_PROCESS_CPUTIME_ID)};
}

static enum retort_status pass(struct loader *loader, int epoch, long *images)
{
    struct batch batch;
    TRY(loader_start(loader, epoch, 0));
    do {
        TRY(loader_next(loader, &batch));
        *images += batch.n;
    } while (batch.n > 0);
    return RETORT_OK;
}

static enum retort_status measure(struct loader *loader, int repeat,
                                  struct retort_bench_loader_result *result)
{
    const struct moment start = now();
    struct moment end = start;
    long images = 0;
    for (int i = 0; repeat > 0 ? i < repeat : end.wall - start.wall < LONG_ENOUGH; i++) {
        TRY(pass(loader, i, &images));
        end = now();
    }
    result->images = images;
    result->images_per_second = (double)images / (end.wall - start.wall);
    result->images_per_second_per_core = (double)images / (end.cpu - start.cpu);
    return RETORT_OK;
}

enum retort_status retort_bench_loader(const struct retort_bench_loader_options *options,
                                       struct retort_bench_loader_result *result)
{
    struct loader_options loading = {.batch = options->batch > 0 ? options->batch : 128,
                                     .seed = 1,
                                     .shuffle = true,
                                     .flip = true,
                                     .crop = CROP,
                                     .drop_last = true,
                                     .threads = options->threads > 0 ? options->threads : 1};
    if (options->all) {
        loading.rotation = ROTATION;
        loading.cutout = CUTOUT;
        loading.jitter = JITTER;
        loading.mixup = MIXUP;
        loading.cutmix = CUTMIX;
    }
    struct dataset dataset = {0};
    struct loader *loader = NULL;
    enum retort_status status;
    const struct moment start = now();
    TRY_DONE(
        dataset_open(options->data, &(struct dataset_options){.size = options->size}, &dataset));
    const double reading = now().cpu - start.cpu;
    TRY_DONE(loader_create(&dataset, true, &loading, &loader));
    struct retort_bench_loader_result made = {
        .batch = loading.batch,
        .threads = loading.threads,
        .read_per_second_per_core =
            dataset.train.mapped ? 0 : (dataset.train.count + dataset.test.count) / reading,
        .shape = {dataset.train.channels, dataset.train.height, dataset.train.width}};
    TRY_DONE(measure(loader, options->repeat, &made));
    *result = made;
done:
    loader_destroy(loader);
    dataset_release(&dataset);
    return status;
}
