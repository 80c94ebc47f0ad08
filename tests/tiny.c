/* tiny.c - a data set of a few made-up images, and networks that fit it. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/random.h"
#include "data/image_set.h"
#include "nn/op/op.h"
#include "tiny.h"

static void fill(struct image_set *set, int count, uint32_t number)
{
    const struct random_stream stream = random_stream(7, RANDOM_TEST, number, 0);
    assert_ok(image_set_make(set, count, TINY_CHANNELS, TINY_SIDE, TINY_SIDE));
    uint8_t *pixel = set->pixels;
    for (int i = 0; i < count; i++) {
        const int label = set->labels[i] = i % TINY_CLASSES;
        for (int c = 0; c < TINY_CHANNELS; c++)
            for (int y = 0; y < TINY_SIDE; y++)
                for (int x = 0; x < TINY_SIDE; x++, pixel++) {
                    bool bright = y / 3 == label && c == label % TINY_CHANNELS;
                    *pixel = (uint8_t)(random_below(&stream, (uint64_t)(pixel - set->pixels), 100) +
                                       (bright ? 120 : 20));
                }
    }
}

void tiny_dataset(int train_count, int test_count, struct dataset *dataset)
{
    static const char *const names[] = {"high", "middle", "low"};
    *dataset = (struct dataset){.classes = TINY_CLASSES};
    dataset->name = strdup("tiny");
    dataset->class_names = calloc(TINY_CLASSES, sizeof(char *));
    for (int i = 0; i < TINY_CLASSES; i++)
        dataset->class_names[i] = strdup(names[i]);
    fill(&dataset->train, train_count, 0);
    fill(&dataset->test, test_count, 1);
    image_set_measure(&dataset->train, dataset->mean, dataset->std);
}

static void put_big_endian(FILE *file, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(value >> shift & 255), file);
}

static void write_idx(const char *folder, const char *name, int count, int side)
{
    const struct random_stream stream = random_stream(7, RANDOM_TEST, 2, (uint32_t)count);
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    put_big_endian(file, side ? 0x803 : 0x801);
    put_big_endian(file, (uint32_t)count);
    for (int i = 0; side && i < 2; i++)
        put_big_endian(file, (uint32_t)side);
    for (int i = 0; i < count; i++)
        for (int p = 0; p < (side ? side * side : 1); p++) {
            const bool bright = p / (side ? 3 * side : 1) == i % 10;
            const uint32_t noise = random_below(&stream, (uint64_t)i * 1000 + (uint64_t)p, 100);
            fputc(side ? (int)noise + (bright ? 150 : 0) : i % 10, file);
        }
    assert_int_equal(fclose(file), 0);
}

const char *tiny_folder(int train_count, int test_count)
{
    const char *folder = support_path("idx");
    assert_ok(file_make_folder(folder));
    write_idx(folder, "train-images-idx3-ubyte", train_count, 28);
    write_idx(folder, "train-labels-idx1-ubyte", train_count, 0);
    write_idx(folder, "t10k-images-idx3-ubyte", test_count, 28);
    write_idx(folder, "t10k-labels-idx1-ubyte", test_count, 0);
    return folder;
}

static int add_node(struct graph *graph, enum op_kind kind, const char *name, int input,
                    const void *attributes)
{
    int node;
    assert_ok(graph_add(graph, kind, name, &input, 1, attributes, &node));
    return node;
}

void tiny_model(int width, uint64_t seed, struct model *model)
{
    struct conv_attributes conv = {
        .out_channels = width, .kernel = 3, .stride = 1, .pad = 1, .groups = 1};
    struct dropout_attributes dropout = {.rate = 0.1};
    struct linear_attributes fc = {.out_features = TINY_CLASSES};
    struct graph graph = {0};
    assert_ok(graph_begin(&graph, "tiny", (struct shape){TINY_CHANNELS, TINY_SIDE, TINY_SIDE}));
    int node = add_node(&graph, OP_conv, "conv1", 0, &conv);
    node = add_node(&graph, OP_relu, "relu1", add_node(&graph, OP_batch_norm, "bn1", node, NULL),
                    NULL);
    assert_ok(graph_tap(&graph, "early", node));
    conv.stride = 2;
    node = add_node(&graph, OP_conv, "conv2", node, &conv);
    node = add_node(&graph, OP_relu, "relu2", add_node(&graph, OP_batch_norm, "bn2", node, NULL),
                    NULL);
    assert_ok(graph_tap(&graph, "late", node));
    node = add_node(&graph, OP_dropout, "dropout", node, &dropout);
    add_node(&graph, OP_linear, "fc", node, &fc);
    assert_ok(graph_finish(&graph));
    assert_ok(model_create(&graph, model));
    model_initialise(model, seed);
}

void tiny_assert_equal(const struct model *a, const struct model *b)
{
    assert_int_equal(a->graph.parameter_count, b->graph.parameter_count);
    for (int i = 0; i < a->graph.parameter_count; i++)
        assert_memory_equal(a->values[i], b->values[i],
                            parameter_count(&a->graph.parameters[i]) * sizeof(float));
}

void tiny_assert_equal_files(const char *a, const char *b)
{
    struct file_bytes first, second;
    assert_ok(file_read(a, 1 << 26, &first));
    assert_ok(file_read(b, 1 << 26, &second));
    if (first.size != second.size || memcmp(first.data, second.data, first.size))
        fail_msg("%s and %s differ", a, b);
    free(first.data);
    free(second.data);
}

void tiny_assert_nothing_half_written(const char *folder)
{
    char *below = file_join(folder, "state");
    const char *const folders[] = {folder, below};
    for (int i = 0; i < 2; i++) {
        DIR *entries = opendir(folders[i]);
        for (struct dirent *entry; entries && (entry = readdir(entries));)
            assert_null(strstr(entry->d_name, ".tmp"));
        if (entries)
            closedir(entries);
    }
    free(below);
}
