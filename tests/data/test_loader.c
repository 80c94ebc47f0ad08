/* test_loader.c - batches against a slow twin, and their independence of threads and of history. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "data/image_set.h"
#include "data/loader.h"

enum { COUNT = 53, CHANNELS = 3, HEIGHT = 7, WIDTH = 10, IMAGE = CHANNELS * HEIGHT * WIDTH };
enum { BATCH = 8, BATCHES = 7, CROP = 4 };

/* Random pixels; the label of an image is its index, so that batches tell what they hold. */
static void make_dataset(struct dataset *dataset)
{
    struct random_stream stream = random_stream(3, RANDOM_TEST, 0, 0);
    *dataset =
        (struct dataset){.classes = COUNT, .mean = {0.5f, 0.25f, 0.4f}, .std = {0.2f, 0.3f, 0.25f}};
    dataset->name = strdup("made-up");
    dataset->class_names = calloc(COUNT, sizeof(char *));
    assert_non_null(dataset->class_names);
    assert_ok(image_set_make(&dataset->train, COUNT, CHANNELS, HEIGHT, WIDTH));
    for (int i = 0; i < COUNT * IMAGE; i++)
        dataset->train.pixels[i] = (uint8_t)random_bits(&stream, (uint64_t)i);
    for (int i = 0; i < COUNT; i++)
        dataset->train.labels[i] = i;
}

static struct loader_options usual(void)
{
    return (struct loader_options){
        .batch = BATCH, .seed = 11, .shuffle = true, .flip = true, .crop = CROP, .threads = 2};
}

static struct loader *make_loader(const struct dataset *dataset,
                                  const struct loader_options *options)
{
    struct loader *loader = NULL;
    assert_ok(loader_create(dataset, true, options, &loader));
    return loader;
}

/* All batches from number `first` on, one after the other. */
struct epoch {
    int batches, images;
    int n[BATCHES + 1];
    float pixels[(BATCHES + 1) * BATCH * IMAGE];
    int labels[(BATCHES + 1) * BATCH], indices[(BATCHES + 1) * BATCH], views[(BATCHES + 1) * BATCH];
    int others[(BATCHES + 1) * BATCH]; /* these two where images are mixed */
    float shares[(BATCHES + 1) * BATCH];
};

static struct epoch *read_epoch(struct loader *loader, int number, int first)
{
    struct epoch *epoch = calloc(1, sizeof(*epoch));
    assert_non_null(epoch);
    assert_ok(loader_start(loader, number, first));
    for (;;) {
        struct batch batch;
        assert_ok(loader_next(loader, &batch));
        if (batch.n == 0)
            break;
        assert_true(epoch->batches < BATCHES + 1);
        assert_int_equal((uintptr_t)batch.images % 64, 0);
        memcpy(epoch->pixels + epoch->batches * BATCH * IMAGE, batch.images,
               BATCH * IMAGE * sizeof(float));
        memcpy(epoch->labels + epoch->batches * BATCH, batch.labels, BATCH * sizeof(int));
        memcpy(epoch->indices + epoch->batches * BATCH, batch.indices, BATCH * sizeof(int));
        memcpy(epoch->views + epoch->batches * BATCH, batch.views, BATCH * sizeof(int));
        if (batch.others) {
            const size_t n = (size_t)batch.n;
            memcpy(epoch->others + epoch->batches * BATCH, batch.others, n * sizeof(int));
            memcpy(epoch->shares + epoch->batches * BATCH, batch.shares, n * sizeof(float));
        }
        epoch->images += batch.n;
        epoch->n[epoch->batches++] = batch.n;
    }
    return epoch;
}

static struct epoch *read_with(const struct dataset *dataset, const struct loader_options *options,
                               int number, int first)
{
    struct loader *loader = make_loader(dataset, options);
    struct epoch *epoch = read_epoch(loader, number, first);
    loader_destroy(loader);
    return epoch;
}

/* Every augmentation; with mixing, row 1, 2 and 3. */
enum { MIXINGS = 4 };
static struct loader_options mixing(int row)
{
    struct loader_options options = usual();
    options.rotation = 10;
    options.cutout = 3;
    options.jitter = 0.3;
    options.mixup = row & 1 ? 0.4 : 0;
    options.cutmix = row & 2 ? 1 : 0;
    return options;
}

/* Most images share their place with another one. */
static void check_mixed(const struct epoch *epoch, bool wanted)
{
    int mixed = 0;
    for (int i = 0; i < epoch->images; i++)
        mixed += epoch->shares[i] > 0 && epoch->shares[i] < 1;
    assert_true(wanted ? mixed > epoch->images / 2 : mixed == 0);
}

static void the_number_of_threads_does_not_matter(void **state)
{
    struct dataset dataset;
    make_dataset(&dataset);
    for (int row = 0; row < MIXINGS; row++) {
        struct loader_options options = mixing(row);
        options.threads = 1;
        struct epoch *one = read_with(&dataset, &options, 4, 0);
        check_mixed(one, row > 0);
        for (int threads = 2; threads <= 12; threads += 5) {
            options.threads = threads;
            struct epoch *more = read_with(&dataset, &options, 4, 0);
            assert_memory_equal(one, more, sizeof(*one));
            free(more);
        }
        free(one);
    }
    dataset_release(&dataset);
}

static void each_image_comes_once_an_epoch(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        options.shuffle = shuffle;
        struct epoch *epoch = read_with(&dataset, &options, 0, 0);
        int seen[COUNT] = {0}, in_place = 0;
        assert_int_equal(epoch->images, COUNT);
        for (int i = 0; i < COUNT; i++) {
            seen[epoch->labels[i]]++;
            in_place += epoch->labels[i] == i;
        }
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(seen[i], 1);
        if (shuffle)
            assert_true(in_place < COUNT / 4);
        else
            assert_int_equal(in_place, COUNT);
        free(epoch);
    }
    dataset_release(&dataset);
}

static void epochs_and_seeds_differ(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    struct loader *loader = make_loader(&dataset, &options);
    struct epoch *first = read_epoch(loader, 0, 0), *second = read_epoch(loader, 1, 0);
    struct epoch *again = read_epoch(loader, 0, 0);
    options.seed = 12;
    struct epoch *other = read_with(&dataset, &options, 0, 0);
    assert_memory_not_equal(first->labels, second->labels, sizeof(first->labels));
    assert_memory_not_equal(first->labels, other->labels, sizeof(first->labels));
    assert_memory_equal(first, again, sizeof(*first));
    loader_destroy(loader);
    free(first);
    free(second);
    free(again);
    free(other);
    dataset_release(&dataset);
}

static void augmentation_changes_with_the_epoch(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    options.shuffle = false;
    struct epoch *first = read_with(&dataset, &options, 0, 0);
    struct epoch *second = read_with(&dataset, &options, 1, 0);
    int same = 0;
    for (int i = 0; i < COUNT; i++)
        same += memcmp(first->pixels + i * IMAGE, second->pixels + i * IMAGE,
                       IMAGE * sizeof(float)) == 0;
    assert_true(same < COUNT / 4); /* one of 2 * 9 * 9 windows is expected to repeat */
    free(first);
    free(second);
    dataset_release(&dataset);
}

static void a_restarted_epoch_continues_the_same(void **state)
{
    struct dataset dataset;
    make_dataset(&dataset);
    for (int row = 0; row < MIXINGS; row++) {
        const struct loader_options options = mixing(row);
        struct epoch *whole = read_with(&dataset, &options, 2, 0);
        for (int first = 0; first <= BATCHES; first++) {
            struct epoch *rest = read_with(&dataset, &options, 2, first);
            const size_t batches = (size_t)(BATCHES - first), images = batches * BATCH;
            assert_int_equal(rest->batches, batches);
            assert_memory_equal(rest->n, whole->n + first, batches * sizeof(int));
            assert_memory_equal(rest->labels, whole->labels + first * BATCH, images * sizeof(int));
            assert_memory_equal(rest->others, whole->others + first * BATCH, images * sizeof(int));
            assert_memory_equal(rest->shares, whole->shares + first * BATCH,
                                images * sizeof(float));
            assert_memory_equal(rest->pixels, whole->pixels + first * BATCH * IMAGE,
                                images * IMAGE * sizeof(float));
            free(rest);
        }
        free(whole);
    }
    dataset_release(&dataset);
}

static void an_epoch_can_be_left_at_any_place(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    struct epoch *whole = read_with(&dataset, &options, 3, 0);
    struct loader *loader = make_loader(&dataset, &options);
    for (int taken = 0; taken <= BATCHES; taken++) {
        assert_ok(loader_start(loader, 5, 0));
        struct batch batch;
        for (int i = 0; i < taken; i++)
            assert_ok(loader_next(loader, &batch));
        struct epoch *next = read_epoch(loader, 3, 0);
        assert_memory_equal(whole, next, sizeof(*whole));
        free(next);
    }
    loader_destroy(loader);
    free(whole);
    dataset_release(&dataset);
}

/* The twin: makes the bordered image, cuts, flips, normalises. */

struct image {
    double values[CHANNELS][HEIGHT][WIDTH];
};

static int mirrored(int i, int size)
{
    if (i < 0)
        return -i;
    return i >= size ? 2 * size - 2 - i : i;
}

static struct image twin(const struct dataset *dataset, int index, int top, int left, bool flip)
{
    enum { TALL = HEIGHT + 2 * CROP, WIDE = WIDTH + 2 * CROP };
    static uint8_t bordered[CHANNELS][TALL][WIDE];
    const uint8_t *pixels = dataset->train.pixels + index * IMAGE;
    struct image result;
    for (int c = 0; c < CHANNELS; c++)
        for (int y = 0; y < TALL; y++)
            for (int x = 0; x < WIDE; x++)
                bordered[c][y][x] = pixels[(c * HEIGHT + mirrored(y - CROP, HEIGHT)) * WIDTH +
                                           mirrored(x - CROP, WIDTH)];
    for (int c = 0; c < CHANNELS; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                int from = flip ? WIDTH - 1 - x : x;
                result.values[c][y][x] =
                    (bordered[c][top + y][left + from] / 255.0 - (double)dataset->mean[c]) /
                    (double)dataset->std[c];
            }
    return result;
}

static bool is_twin(const float *found, const struct image *wanted)
{
    const double *values = &wanted->values[0][0][0];
    for (int i = 0; i < IMAGE; i++)
        if (!(fabs((double)found[i] - values[i]) < 1e-5))
            return false;
    return true;
}

/* Which window (and flip) of the image this is; with random pixels it can be only one. */
static bool find_window(const struct dataset *dataset, int index, const float *found, int window[3])
{
    for (int top = 0; top <= 2 * CROP; top++)
        for (int left = 0; left <= 2 * CROP; left++)
            for (int flip = 0; flip < 2; flip++) {
                struct image wanted = twin(dataset, index, top, left, flip);
                if (is_twin(found, &wanted)) {
                    window[0] = top;
                    window[1] = left;
                    window[2] = flip;
                    return true;
                }
            }
    return false;
}

static void augmented_images_equal_their_slow_twin(void **state)
{
    struct dataset dataset;
    make_dataset(&dataset);
    for (int mode = 0; mode < 4; mode++) {
        struct loader_options options = usual();
        options.flip = mode & 1;
        options.crop = mode & 2 ? CROP : 0;
        int tops = 0, lefts = 0, flips = 0, epochs = 10;
        struct loader *loader = make_loader(&dataset, &options);
        for (int number = 0; number < epochs; number++) {
            struct epoch *epoch = read_epoch(loader, number, 0);
            for (int i = 0; i < COUNT; i++) {
                int window[3] = {0};
                assert_true(
                    find_window(&dataset, epoch->labels[i], epoch->pixels + i * IMAGE, window));
                tops |= 1 << window[0];
                lefts |= 1 << window[1];
                flips += window[2];
            }
            free(epoch);
        }
        int wanted = options.crop ? (1 << (2 * CROP + 1)) - 1 : 1 << CROP; /* every offset */
        assert_int_equal(tops, wanted);
        assert_int_equal(lefts, wanted);
        if (options.flip)
            assert_in_range(flips, COUNT * epochs * 4 / 10, COUNT * epochs * 6 / 10);
        else
            assert_int_equal(flips, 0);
        loader_destroy(loader);
    }
    dataset_release(&dataset);
}

static void augmentation_belongs_to_the_image_not_to_its_place(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    struct epoch *shuffled = read_with(&dataset, &options, 6, 0);
    options.shuffle = false;
    options.batch = 5;
    struct loader *loader = make_loader(&dataset, &options);
    assert_ok(loader_start(loader, 6, 0));
    struct batch batch;
    for (int first = 0; first < COUNT; first += batch.n) {
        assert_ok(loader_next(loader, &batch));
        for (int i = 0; i < COUNT; i++) {
            int place = shuffled->labels[i] - first;
            if (place >= 0 && place < batch.n)
                assert_memory_equal(shuffled->pixels + i * IMAGE, batch.images + place * IMAGE,
                                    IMAGE * sizeof(float));
        }
    }
    loader_destroy(loader);
    free(shuffled);
    dataset_release(&dataset);
}

static void batches_tell_the_index_of_each_image(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    for (int i = 0; i < COUNT; i++)
        dataset.train.labels[i] = COUNT - 1 - i;
    struct epoch *epoch = read_with(&dataset, &options, 1, 0);
    for (int i = 0; i < BATCHES * BATCH; i++) {
        assert_int_equal(epoch->indices[i], i < COUNT ? COUNT - 1 - epoch->labels[i] : 0);
        assert_int_equal(epoch->views[i], 0);
    }
    free(epoch);
    dataset_release(&dataset);
}

/* The images of COUNT x views, by index and view, found in epochs first .. first + views - 1. */
static float *collect_views(const struct dataset *dataset, const struct loader_options *options,
                            int first)
{
    int views = options->views;
    float *all = calloc((size_t)(views * COUNT), IMAGE * sizeof(float));
    int *seen = calloc((size_t)(views * COUNT), sizeof(int));
    assert_non_null(all);
    assert_non_null(seen);
    struct loader *loader = make_loader(dataset, options);
    for (int number = first; number < first + views; number++) {
        struct epoch *epoch = read_epoch(loader, number, 0);
        for (int i = 0; i < COUNT; i++) {
            assert_in_range(epoch->views[i], 0, views - 1);
            int place = epoch->indices[i] * views + epoch->views[i];
            memcpy(all + place * IMAGE, epoch->pixels + i * IMAGE, IMAGE * sizeof(float));
            seen[place]++;
        }
        free(epoch);
    }
    for (int i = 0; i < views * COUNT; i++)
        assert_int_equal(seen[i], 1); /* so many epochs in a row show every view of every image */
    loader_destroy(loader);
    free(seen);
    return all;
}

static void views_come_back_and_alternate_the_mirror(void **state)
{
    static const int counts[] = {1, 2, 5};
    struct dataset dataset;
    make_dataset(&dataset);
    for (size_t row = 0; row < sizeof(counts) / sizeof(counts[0]); row++) {
        struct loader_options options = usual();
        int views = options.views = counts[row];
        float *early = collect_views(&dataset, &options, 0);
        options.threads = 3;
        float *late = collect_views(&dataset, &options, 12);
        assert_memory_equal(early, late, (size_t)(views * COUNT * IMAGE) * sizeof(float));
        int windows[2] = {0};
        for (int i = 0; i < views * COUNT; i++) {
            int window[3] = {0};
            assert_true(find_window(&dataset, i / views, early + i * IMAGE, window));
            assert_int_equal(window[2], i % views % 2);
            windows[0] |= 1 << window[0];
            windows[1] |= 1 << window[1];
        }
        assert_int_equal(windows[0], (1 << (2 * CROP + 1)) - 1);
        assert_int_equal(windows[1], (1 << (2 * CROP + 1)) - 1);
        free(early);
        free(late);
    }
    dataset_release(&dataset);
}

static void images_begin_at_different_views(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    int begins[4] = {0}, differ = 0;
    make_dataset(&dataset);
    options.views = 4;
    options.flip = false;
    options.shuffle = false;
    struct epoch *epoch = read_with(&dataset, &options, 0, 0);
    options.seed++;
    struct epoch *other = read_with(&dataset, &options, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        int window[3];
        begins[epoch->views[i]]++;
        differ += epoch->views[i] != other->views[i];
        assert_true(find_window(&dataset, i, epoch->pixels + i * IMAGE, window));
        assert_int_equal(window[2], 0); /* without flip, views are not mirrored */
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(begins[i], 4, COUNT / 2);
    assert_in_range(differ, COUNT / 2, COUNT - 1);
    free(epoch);
    free(other);
    dataset_release(&dataset);
}

static void alternating_flips_turn_every_image_over_in_every_epoch(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    int mirrored[6][COUNT] = {0}, begins = 0;
    make_dataset(&dataset);
    options.alternate = true;
    for (int number = 0; number < 6; number++) {
        struct epoch *epoch = read_with(&dataset, &options, number, 0);
        for (int i = 0; i < COUNT; i++) {
            int window[3] = {0};
            assert_true(
                find_window(&dataset, epoch->indices[i], epoch->pixels + i * IMAGE, window));
            mirrored[number][epoch->indices[i]] = window[2];
        }
        free(epoch);
    }
    for (int i = 0; i < COUNT; i++) {
        begins += mirrored[0][i];
        for (int number = 1; number < 6; number++)
            assert_int_equal(mirrored[number][i], !mirrored[number - 1][i]);
    }
    assert_in_range(begins, COUNT / 4, COUNT * 3 / 4); /* half of them at once */
    dataset_release(&dataset);
}

static void rows_say_where_images_lie(void **state)
{
    struct dataset dataset;
    struct loader_options options = {.batch = BATCH, .threads = 1};
    make_dataset(&dataset);
    struct epoch *whole = read_with(&dataset, &options, 0, 0);
    assert_ok(image_set_split(&dataset.train, COUNT, 10, 1, &dataset.val));
    struct epoch *rest = read_with(&dataset, &options, 0, 0);
    assert_int_equal(rest->images, COUNT - 10);
    for (int i = 0; i < rest->images; i++)
        assert_memory_equal(rest->pixels + i * IMAGE, whole->pixels + rest->labels[i] * IMAGE,
                            IMAGE * sizeof(float));
    free(whole);
    free(rest);
    dataset_release(&dataset);
}

static void given_mean_and_std_are_used(void **state)
{
    struct dataset dataset;
    const float mean[CHANNELS] = {0.125f, 0, 1}, std[CHANNELS] = {1, 0.5f, 2};
    struct loader_options options = {.batch = BATCH, .threads = 1, .mean = mean, .std = std};
    make_dataset(&dataset);
    struct epoch *epoch = read_with(&dataset, &options, 0, 0);
    for (int i = 0; i < COUNT * IMAGE; i++) {
        int c = i / (HEIGHT * WIDTH) % CHANNELS;
        double wanted = (dataset.train.pixels[i] / 255.0 - (double)mean[c]) / (double)std[c];
        assert_true(fabs((double)epoch->pixels[i] - wanted) < 1e-6);
    }
    free(epoch);
    dataset_release(&dataset);
}

static void the_last_batch_is_short_and_filled_with_zeros(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    struct loader *loader = make_loader(&dataset, &options);
    assert_int_equal(loader_batches(loader), BATCHES);
    for (int number = 0; number < 3; number++) { /* the slot has held full batches before */
        struct epoch *epoch = read_epoch(loader, number, 0);
        assert_int_equal(epoch->batches, BATCHES);
        for (int i = 0; i < BATCHES; i++)
            assert_int_equal(epoch->n[i], i < BATCHES - 1 ? BATCH : COUNT % BATCH);
        for (int i = COUNT * IMAGE; i < BATCHES * BATCH * IMAGE; i++)
            assert_true(epoch->pixels[i] == 0.0f);
        for (int i = COUNT; i < BATCHES * BATCH; i++)
            assert_int_equal(epoch->labels[i], 0);
        free(epoch);
    }
    loader_destroy(loader);
    dataset_release(&dataset);
}

static void drop_last_gives_full_batches_only(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    options.drop_last = true;
    struct loader *loader = make_loader(&dataset, &options);
    assert_int_equal(loader_batches(loader), BATCHES - 1);
    struct epoch *epoch = read_epoch(loader, 0, 0);
    assert_int_equal(epoch->images, (BATCHES - 1) * BATCH);
    free(epoch);
    loader_destroy(loader);
    dataset_release(&dataset);
}

static void a_batch_may_be_larger_than_the_set(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    make_dataset(&dataset);
    options.batch = 3 * COUNT;
    struct loader *loader = make_loader(&dataset, &options);
    struct batch batch;
    assert_int_equal(loader_batches(loader), 1);
    assert_ok(loader_start(loader, 0, 0));
    assert_ok(loader_next(loader, &batch));
    assert_int_equal(batch.n, COUNT);
    assert_ok(loader_next(loader, &batch));
    assert_int_equal(batch.n, 0);
    loader_destroy(loader);
    dataset_release(&dataset);
}

static void after_its_end_an_epoch_stays_over(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    struct batch batch;
    make_dataset(&dataset);
    struct loader *loader = make_loader(&dataset, &options);
    assert_ok(loader_start(loader, 0, BATCHES - 1));
    assert_ok(loader_next(loader, &batch));
    assert_int_equal(batch.n, COUNT % BATCH);
    for (int i = 0; i < 3; i++) {
        assert_ok(loader_next(loader, &batch));
        assert_int_equal(batch.n, 0);
    }
    assert_true(loader_waited(loader) >= 0);
    loader_destroy(loader);
    dataset_release(&dataset);
}

static void a_loader_can_be_destroyed_at_any_time(void **state)
{
    struct dataset dataset;
    struct batch batch;
    make_dataset(&dataset);
    for (int round = 0; round < 60; round++) {
        struct loader_options options = usual();
        options.threads = 1 + round % 4;
        struct loader *loader = make_loader(&dataset, &options);
        if (round % 3)
            assert_ok(loader_start(loader, round, round % BATCHES));
        for (int i = 0; i < round % 5 && round % 3; i++)
            assert_ok(loader_next(loader, &batch));
        loader_destroy(loader);
    }
    loader_destroy(NULL);
    dataset_release(&dataset);
}

/* What the caller holds stays as it is while the threads run into the end of the ring. */
static void a_borrowed_batch_is_left_alone(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    const struct timespec moment = {0, 2000000};
    make_dataset(&dataset);
    struct epoch *whole = read_with(&dataset, &options, 0, 0);
    struct loader *loader = make_loader(&dataset, &options);
    assert_ok(loader_start(loader, 0, 0));
    for (int i = 0; i < BATCHES; i++) {
        struct batch batch;
        assert_ok(loader_next(loader, &batch));
        nanosleep(&moment, NULL);
        assert_memory_equal(batch.images, whole->pixels + i * BATCH * IMAGE,
                            BATCH * IMAGE * sizeof(float));
    }
    loader_destroy(loader);
    free(whole);
    dataset_release(&dataset);
}

static volatile sig_atomic_t caught;
static pthread_t receiver;

static void note_signal(int number)
{
    caught = pthread_equal(pthread_self(), receiver) ? 1 : 2;
}

/* With the caller's own thread blocking it, a signal to the process waits, unless a loader thread
 * would take it. */
static void signals_go_past_the_threads(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    const struct timespec moment = {0, 20000000};
    struct sigaction action = {.sa_handler = note_signal}, before;
    sigset_t user, mask;
    make_dataset(&dataset);
    receiver = pthread_self();
    sigaction(SIGUSR1, &action, &before);
    sigemptyset(&user);
    sigaddset(&user, SIGUSR1);
    struct loader *loader = make_loader(&dataset, &options);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    assert_false(sigismember(&mask, SIGUSR1)); /* the caller's mask is as it was */
    pthread_sigmask(SIG_BLOCK, &user, NULL);
    kill(getpid(), SIGUSR1);
    nanosleep(&moment, NULL);
    assert_int_equal(caught, 0);
    pthread_sigmask(SIG_UNBLOCK, &user, NULL);
    assert_int_equal(caught, 1);
    loader_destroy(loader);
    sigaction(SIGUSR1, &before, NULL);
    dataset_release(&dataset);
}

static void impossible_options_are_refused(void **state)
{
    static const float zeros[CHANNELS] = {0}, not_a_number[CHANNELS] = {1, NAN, 1};
    static const struct {
        struct loader_options options;
        const char *text;
    } rows[] = {
        {{.batch = 0, .threads = 1}, "batch: 0 images found, 1 to"},
        {{.batch = 1, .threads = 1, .views = -1}, "views: -1 found, 0 or more wanted"},
        {{.batch = 1, .threads = 0}, "reader threads: 0 found, 1 to"},
        {{.batch = 1, .threads = 1, .crop = -1},
         "crop: -1 pixels found, 0 to 6 wanted for images of 7x10"},
        {{.batch = 1, .threads = 1, .crop = HEIGHT}, "crop: 7 pixels found, 0 to 6 wanted"},
        {{.batch = 1, .threads = 1, .std = zeros},
         "channel 0: standard deviation 0 found, more than 0 wanted"},
        {{.batch = 1, .threads = 1, .std = not_a_number},
         "channel 1: standard deviation nan found"},
        {{.batch = COUNT + 1, .threads = 1, .drop_last = true},
         "made-up: the training set holds 53 images, at least one full batch of 54"},
    };
    struct dataset dataset;
    struct loader *loader = NULL;
    make_dataset(&dataset);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_fails(loader_create(&dataset, true, &rows[i].options, &loader), RETORT_INVALID,
                     rows[i].text);
    struct loader_options good = usual();
    assert_fails(loader_create(&dataset, false, &good, &loader), RETORT_INVALID,
                 "made-up: the test set holds no images");
    assert_null(loader);
    dataset_release(&dataset);
}

static void wrong_calls_are_refused(void **state)
{
    struct dataset dataset;
    struct loader_options options = usual();
    struct batch batch;
    make_dataset(&dataset);
    struct loader *loader = make_loader(&dataset, &options);
    assert_fails(loader_next(loader, &batch), RETORT_INVALID, "loader_start was wanted");
    assert_fails(loader_start(loader, -1, 0), RETORT_INVALID, "epoch -1 found");
    assert_fails(loader_start(loader, 0, -1), RETORT_INVALID, "batch number -1 found, 0 to 7");
    assert_fails(loader_start(loader, 0, BATCHES + 1), RETORT_INVALID, "batch number 8 found");
    loader_destroy(loader);
    dataset_release(&dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_number_of_threads_does_not_matter),
        cmocka_unit_test(each_image_comes_once_an_epoch),
        cmocka_unit_test(epochs_and_seeds_differ),
        cmocka_unit_test(augmentation_changes_with_the_epoch),
        cmocka_unit_test(a_restarted_epoch_continues_the_same),
        cmocka_unit_test(an_epoch_can_be_left_at_any_place),
        cmocka_unit_test(augmented_images_equal_their_slow_twin),
        cmocka_unit_test(augmentation_belongs_to_the_image_not_to_its_place),
        cmocka_unit_test(batches_tell_the_index_of_each_image),
        cmocka_unit_test(views_come_back_and_alternate_the_mirror),
        cmocka_unit_test(images_begin_at_different_views),
        cmocka_unit_test(alternating_flips_turn_every_image_over_in_every_epoch),
        cmocka_unit_test(rows_say_where_images_lie),
        cmocka_unit_test(given_mean_and_std_are_used),
        cmocka_unit_test(the_last_batch_is_short_and_filled_with_zeros),
        cmocka_unit_test(drop_last_gives_full_batches_only),
        cmocka_unit_test(a_batch_may_be_larger_than_the_set),
        cmocka_unit_test(after_its_end_an_epoch_stays_over),
        cmocka_unit_test(a_loader_can_be_destroyed_at_any_time),
        cmocka_unit_test(a_borrowed_batch_is_left_alone),
        cmocka_unit_test(signals_go_past_the_threads),
        cmocka_unit_test(impossible_options_are_refused),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
