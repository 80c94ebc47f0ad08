/* loader.c - batches made ahead by threads in a ring of buffers.
 *
 * Batch b lives in slot b % slots. A thread claims the next batch as soon as its slot is free,
 * fills it without holding the lock, and marks it ready; the caller takes batches in order and
 * gives one back with the next call. There are two slots more than threads: one that the caller
 * holds and one that waits for it while every thread works. Who fills a batch does not matter,
 * because its content is a function of (seed, epoch, batch). Everything waits on conditions,
 * nothing spins: the cores belong to the training step. */
#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/augment.h"
#include "data/image_set.h"
#include "data/mix.h"

struct slot {
    float *images;
    int *labels, *indices, *views, *others;
    float *shares;
    int n;
    bool ready;
};

struct loader {
    const struct image_set *set;
    struct loader_options options;
    struct augment augment;
    int batches;
    double waited;
    struct slot *slots;
    int slot_count;
    pthread_t *threads;
    int thread_count; /* that run */

    pthread_mutex_t mutex;
    pthread_cond_t work; /* a batch can be claimed, or quit */
    pthread_cond_t done; /* a batch is ready, or no thread is busy */
    /* Guarded by mutex; epoch and order change only while no thread is busy. */
    int epoch;
    uint32_t *order;        /* (count): the image at each place of the epoch */
    int claimed, delivered; /* the next batch for a thread, for the caller */
    int returned;           /* batches before this one have been given back */
    int busy;               /* threads that fill a slot */
    bool started, quit;
};

/* The view of an image in this epoch. */
static int find_view(const struct loader *loader, uint32_t image)
{
    uint32_t views = (uint32_t)loader->options.views;
    if (views == 0)
        return 0;
    struct random_stream stream = random_stream(loader->options.seed, RANDOM_VIEW_OFFSET, 0, image);
    uint64_t place = (uint64_t)loader->epoch + random_below(&stream, 0, views);
    return (int)(place % views);
}

/* Whether an image is mirrored in this epoch. */
static enum augment_mirror find_mirror(const struct loader *loader, uint32_t image, int view)
{
    const struct loader_options *options = &loader->options;
    if (options->views > 0)
        return view % 2 ? AUGMENT_MIRRORED : AUGMENT_PLAIN;
    if (!options->alternate)
        return AUGMENT_BY_CHANCE;
    struct random_stream stream = random_stream(options->seed, RANDOM_VIEW_OFFSET, 0, image);
    uint32_t turn = (uint32_t)loader->epoch + random_below(&stream, 1, 2);
    return turn % 2 ? AUGMENT_MIRRORED : AUGMENT_PLAIN;
}

/* One image into place i of a slot. */
static void fill_place(const struct loader *loader, struct slot *slot, int i, uint32_t image)
{
    const struct loader_options *options = &loader->options;
    size_t size = image_set_size(loader->set);
    int view = find_view(loader, image);
    struct random_stream stream =
        options->views > 0
            ? random_stream(options->seed, RANDOM_VIEW, (uint32_t)view, image)
            : random_stream(options->seed, RANDOM_AUGMENT, (uint32_t)loader->epoch, image);
    augment_image(&loader->augment, &stream, find_mirror(loader, image, view),
                  image_set_view(loader->set, image), slot->images + (size_t)i * size);
    slot->labels[i] = loader->set->labels[image];
    slot->indices[i] = (int)image;
    slot->views[i] = view;
}

/* A mapped set's memory is given back after so many images, so that it never holds much: pages
 * around each image that is read come with it. */
static void give_back(const struct loader *loader)
{
    enum { MOST = 256 * 1024 * 1024, AROUND = 128 * 1024 };
    size_t each = image_set_size(loader->set) + AROUND;
    size_t batches = MOST / each / (size_t)loader->options.batch;
    size_t period = batches > 0 ? batches : 1;
    if ((size_t)loader->claimed % period == 0)
        image_set_forget(loader->set);
}

/* The first image with the last one, and so on: the order is random already. */
static void mix_slot(const struct loader *loader, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    const struct mix mix = {loader->set->channels, loader->set->height, loader->set->width,
                            options->mixup, options->cutmix};
    const size_t size = image_set_size(loader->set);
    for (int i = 0; i < slot->n; i++) {
        slot->others[i] = slot->labels[slot->n - 1 - i];
        slot->shares[i] = 1;
    }
    for (int i = 0, j = slot->n - 1; i < j && mix_wanted(&mix); i++, j--) {
        const struct random_stream stream = random_stream(
            options->seed, RANDOM_MIX, (uint32_t)loader->epoch, (uint32_t)slot->indices[i]);
        slot->shares[i] = slot->shares[j] = mix_pair(&mix, &stream, slot->images + (size_t)i * size,
                                                     slot->images + (size_t)j * size);
    }
}

static void fill_slot(const struct loader *loader, int batch, struct slot *slot)
{
    const struct loader_options *options = &loader->options;
    size_t size = image_set_size(loader->set);
    int first = batch * options->batch, left = loader->set->count - first;
    slot->n = left < options->batch ? left : options->batch;
    for (int i = 0; i < slot->n; i++)
        image_set_prefetch(loader->set, loader->order[first + i]);
    for (int i = 0; i < slot->n; i++)
        fill_place(loader, slot, i, loader->order[first + i]);
    mix_slot(loader, slot);
    size_t rest = (size_t)(options->batch - slot->n);
    memset(slot->images + (size_t)slot->n * size, 0, rest * size * sizeof(*slot->images));
    memset(slot->labels + slot->n, 0, rest * sizeof(*slot->labels));
    memset(slot->indices + slot->n, 0, rest * sizeof(*slot->indices));
    memset(slot->views + slot->n, 0, rest * sizeof(*slot->views));
}

static bool can_claim(const struct loader *loader)
{
    return loader->claimed < loader->batches &&
           loader->claimed - loader->returned < loader->slot_count;
}

static void *run_thread(void *argument)
{
    struct loader *loader = argument;
    pthread_mutex_lock(&loader->mutex);
    while (!loader->quit) {
        if (!can_claim(loader)) {
            pthread_cond_wait(&loader->work, &loader->mutex);
            continue;
        }
        int batch = loader->claimed++;
        give_back(loader);
        struct slot *slot = &loader->slots[batch % loader->slot_count];
        loader->busy++;
        pthread_mutex_unlock(&loader->mutex);
        fill_slot(loader, batch, slot);
        pthread_mutex_lock(&loader->mutex);
        slot->ready = true;
        loader->busy--;
        pthread_cond_signal(&loader->done);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* Signals are the program's: a thread that is born with all of them blocked never gets one. */
static enum retort_status start_threads(struct loader *loader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (!error && loader->thread_count < loader->options.threads) {
        error = pthread_create(&loader->threads[loader->thread_count], NULL, run_thread, loader);
        loader->thread_count += !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? fail(RETORT_IO, "cannot start reader thread %d of %d: %s",
                        loader->thread_count + 1, loader->options.threads, strerror(error))
                 : RETORT_OK;
}

static enum retort_status make_slots(struct loader *loader)
{
    void *block;
    size_t batch = (size_t)loader->options.batch;
    size_t image = image_set_size(loader->set) * sizeof(float);
    loader->slot_count = 0;
    TRY(memory_zeroed((size_t)loader->options.threads + 2, sizeof(*loader->slots), &block));
    loader->slots = block;
    while (loader->slot_count < loader->options.threads + 2) {
        struct slot *slot = &loader->slots[loader->slot_count++];
        TRY(memory_aligned(batch * image, &block));
        slot->images = block;
        TRY(memory_zeroed(5 * batch, sizeof(*slot->labels), &block));
        slot->labels = block;
        slot->indices = slot->labels + batch;
        slot->views = slot->indices + batch;
        slot->others = slot->views + batch;
        slot->shares = (float *)(slot->others + batch);
    }
    return RETORT_OK;
}

static enum retort_status make_parts(struct loader *loader, const struct augment_options *augment)
{
    void *block;
    TRY(augment_init(&loader->augment, augment));
    TRY(memory_zeroed((size_t)loader->set->count, sizeof(*loader->order), &block));
    loader->order = block;
    TRY(memory_zeroed((size_t)loader->options.threads, sizeof(*loader->threads), &block));
    loader->threads = block;
    TRY(make_slots(loader));
    return start_threads(loader);
}

static enum retort_status check_options(const struct dataset *dataset, bool train,
                                        const struct loader_options *options)
{
    enum { THREADS = 1024, BATCH = 1 << 20 };
    const struct image_set *set = train ? &dataset->train : &dataset->test;
    const char *which = train ? "training" : "test";
    if (options->batch < 1 || options->batch > BATCH)
        return fail(RETORT_INVALID, "batch: %d images found, 1 to %d wanted", options->batch,
                    BATCH);
    if (!(options->mixup >= 0 && options->mixup <= 4 && options->cutmix >= 0 &&
          options->cutmix <= 4))
        return fail(RETORT_INVALID, "mixup, cutmix: %g and %g found, 0 to 4 wanted", options->mixup,
                    options->cutmix);
    if (options->views < 0)
        return fail(RETORT_INVALID, "views: %d found, 0 or more wanted", options->views);
    if (options->threads < 1 || options->threads > THREADS)
        return fail(RETORT_INVALID, "reader threads: %d found, 1 to %d wanted", options->threads,
                    THREADS);
    if (set->count < 1)
        return fail(RETORT_INVALID, "%s: the %s set holds no images", dataset->name, which);
    if (options->drop_last && set->count < options->batch)
        return fail(RETORT_INVALID,
                    "%s: the %s set holds %d images, at least one full batch of %d is wanted",
                    dataset->name, which, set->count, options->batch);
    return RETORT_OK;
}

enum retort_status loader_create(const struct dataset *dataset, bool train,
                                 const struct loader_options *options, struct loader **loader)
{
    TRY(check_options(dataset, train, options));
    const struct image_set *set = train ? &dataset->train : &dataset->test;
    void *block;
    TRY(memory_zeroed(1, sizeof(struct loader), &block));
    struct loader *made = block;
    made->set = set;
    made->options = *options;
    made->batches = set->count / options->batch;
    if (!options->drop_last && set->count % options->batch)
        made->batches++;
    made->claimed = made->batches; /* nothing to do before loader_start */
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->work, NULL);
    pthread_cond_init(&made->done, NULL);
    struct augment_options augment = {
        .channels = set->channels,
        .height = set->height,
        .width = set->width,
        .flip = options->flip,
        .crop = options->crop,
        .zero_border = options->zero_border,
        .rotation = options->rotation,
        .cutout = options->cutout,
        .jitter = options->jitter,
        .mean = options->mean ? options->mean : dataset->mean,
        .std = options->std ? options->std : dataset->std,
    };
    enum retort_status status = make_parts(made, &augment);
    if (status != RETORT_OK) {
        loader_destroy(made);
        return status;
    }
    *loader = made;
    return RETORT_OK;
}

void loader_destroy(struct loader *loader)
{
    if (!loader)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
    for (int i = 0; i < loader->slot_count; i++) {
        free(loader->slots[i].images);
        free(loader->slots[i].labels);
    }
    pthread_cond_destroy(&loader->done);
    pthread_cond_destroy(&loader->work);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->slots);
    free(loader->threads);
    free(loader->order);
    augment_release(&loader->augment);
    free(loader);
}

int loader_batches(const struct loader *loader)
{
    return loader->batches;
}

static void make_order(struct loader *loader)
{
    uint32_t count = (uint32_t)loader->set->count;
    if (loader->options.shuffle) {
        struct random_stream stream =
            random_stream(loader->options.seed, RANDOM_SHUFFLE, (uint32_t)loader->epoch, 0);
        random_permutation(&stream, count, loader->order);
    } else {
        for (uint32_t i = 0; i < count; i++)
            loader->order[i] = i;
    }
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

enum retort_status loader_start(struct loader *loader, int epoch, int batch)
{
    if (epoch < 0)
        return fail(RETORT_INVALID, "epoch %d found, 0 or more wanted", epoch);
    if (batch < 0 || batch > loader->batches)
        return fail(RETORT_INVALID, "batch number %d found, 0 to %d wanted", batch,
                    loader->batches);
    double start = seconds();
    pthread_mutex_lock(&loader->mutex);
    loader->claimed = loader->batches; /* no more of the epoch that runs */
    while (loader->busy > 0)
        pthread_cond_wait(&loader->done, &loader->mutex);
    for (int i = 0; i < loader->slot_count; i++)
        loader->slots[i].ready = false;
    loader->epoch = epoch;
    make_order(loader);
    loader->claimed = loader->delivered = loader->returned = batch;
    loader->started = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    loader->waited += seconds() - start;
    return RETORT_OK;
}

static void wait_for(struct loader *loader, const struct slot *slot)
{
    if (slot->ready)
        return;
    double start = seconds();
    while (!slot->ready)
        pthread_cond_wait(&loader->done, &loader->mutex);
    loader->waited += seconds() - start;
}

enum retort_status loader_next(struct loader *loader, struct batch *batch)
{
    if (!loader->started)
        return fail(RETORT_INVALID, "loader_next found no epoch, loader_start was wanted before");
    struct batch next = {0};
    pthread_mutex_lock(&loader->mutex);
    loader->returned = loader->delivered;
    pthread_cond_signal(&loader->work);
    if (loader->delivered < loader->batches) {
        struct slot *slot = &loader->slots[loader->delivered % loader->slot_count];
        wait_for(loader, slot);
        slot->ready = false;
        loader->delivered++;
        const bool mixed = loader->options.mixup > 0 || loader->options.cutmix > 0;
        next = (struct batch){slot->n,
                              slot->images,
                              slot->labels,
                              slot->indices,
                              slot->views,
                              mixed ? slot->others : NULL,
                              mixed ? slot->shares : NULL};
    }
    pthread_mutex_unlock(&loader->mutex);
    *batch = next;
    return RETORT_OK;
}

double loader_waited(const struct loader *loader)
{
    return loader->waited;
}
