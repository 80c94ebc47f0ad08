/* resnet.c - residual networks for small images (He et al. 2016, section 4.2).
 *
 * A 3x3 stem, three stages of basic blocks, global average pooling. Depth 6n+2 gives n blocks a
 * stage. Where a block changes the shape its shortcut is option A (every second position, zero
 * channels; no parameters) or B (1x1 convolution and batch norm). Taps: stem, stage1, stage2,
 * stage3. */
#include "nn/zoo/family.h"

struct resnet {
    struct family_common common;
    int depth;
    double width;
    struct int_list widths, blocks, strides;
    int shortcut;
};

enum { SHORTCUT_A, SHORTCUT_B };
static const char *const shortcuts[] = {"A", "B", NULL};

static const struct setting rows[] = {
    FAMILY_ROWS(resnet),
    {"depth", SETTING_INT, offsetof(struct resnet, depth), 8, 1202, "8", "layers, 6n+2"},
    {"width", SETTING_NUMBER, offsetof(struct resnet, width), 0.01, 64, "1",
     "factor of all widths"},
    {"widths", SETTING_INTS, offsetof(struct resnet, widths), 1, 8192, "16,16,32,64",
     "channels of stem and three stages"},
    {"blocks", SETTING_INTS, offsetof(struct resnet, blocks), 1, 200, "",
     "blocks of the three stages, instead of depth"},
    {"strides", SETTING_INTS, offsetof(struct resnet, strides), 1, 8, "1,2,2",
     "of the three stages"},
    {"shortcut", SETTING_CHOICE, offsetof(struct resnet, shortcut), .fallback = "A",
     .choices = shortcuts,
     .help = "where a block changes the shape: A without parameters, B with a 1x1 convolution"},
};
static const struct setting_table table = SETTING_TABLE("resnet", struct resnet, rows);

static enum retort_status add_shortcut(struct graph *graph, int stage, int block, int channels,
                                       int stride, int shortcut, int *node)
{
    const struct shape shape = graph->nodes[*node].shape;
    if (stride == 1 && shape.c == channels)
        return RETORT_OK;
    if (shortcut == SHORTCUT_A) {
        struct shortcut_a_attributes a = {channels, stride};
        return graph_add(graph, OP_shortcut_a,
                         zoo_name("stage%d.block%d.shortcut", stage, block).text, node, 1, &a,
                         node);
    }
    TRY(zoo_conv(graph, zoo_name("stage%d.block%d.shortcut.conv", stage, block), channels, 1,
                 stride, 1, false, node));
    return zoo_batch_norm(graph, zoo_name("stage%d.block%d.shortcut.bn", stage, block), node);
}

static enum retort_status add_block(struct graph *graph, int stage, int block, int channels,
                                    int stride, int shortcut, int *node)
{
    int main = *node, side = *node;
    TRY(zoo_conv(graph, zoo_name("stage%d.block%d.conv1", stage, block), channels, 3, stride, 1,
                 false, &main));
    TRY(zoo_batch_norm(graph, zoo_name("stage%d.block%d.bn1", stage, block), &main));
    TRY(zoo_relu(graph, zoo_name("stage%d.block%d.relu1", stage, block), &main));
    TRY(zoo_conv(graph, zoo_name("stage%d.block%d.conv2", stage, block), channels, 3, 1, 1, false,
                 &main));
    TRY(zoo_batch_norm(graph, zoo_name("stage%d.block%d.bn2", stage, block), &main));
    TRY(add_shortcut(graph, stage, block, channels, stride, shortcut, &side));
    TRY(graph_add(graph, OP_add, zoo_name("stage%d.block%d.add", stage, block).text,
                  (int[]){main, side}, 2, NULL, node));
    return zoo_relu(graph, zoo_name("stage%d.block%d.relu2", stage, block), node);
}

/* Blocks of each stage. */
static enum retort_status plan_blocks(const struct resnet *r, int blocks[3])
{
    if (r->blocks.count)
        TRY(zoo_count("blocks", &r->blocks, 3));
    else if ((r->depth - 2) % 6)
        return fail(RETORT_INVALID, "depth: %d found, 6n+2 (8, 14, 20, ...) wanted", r->depth);
    for (int i = 0; i < 3; i++)
        blocks[i] = r->blocks.count ? r->blocks.items[i] : (r->depth - 2) / 6;
    return RETORT_OK;
}

static enum retort_status build(const void *settings, int classes, struct graph *graph)
{
    const struct resnet *r = settings;
    int blocks[3], node = 0;
    TRY(plan_blocks(r, blocks));
    TRY(zoo_count("widths", &r->widths, 4));
    TRY(zoo_count("strides", &r->strides, 3));
    TRY(zoo_conv(graph, zoo_name("stem.conv"), zoo_width(r->widths.items[0], r->width), 3, 1, 1,
                 false, &node));
    TRY(zoo_batch_norm(graph, zoo_name("stem.bn"), &node));
    TRY(zoo_relu(graph, zoo_name("stem.relu"), &node));
    TRY(graph_tap(graph, "stem", node));
    for (int stage = 1; stage <= 3; stage++) {
        int channels = zoo_width(r->widths.items[stage], r->width);
        for (int block = 1; block <= blocks[stage - 1]; block++)
            TRY(add_block(graph, stage, block, channels,
                          block == 1 ? r->strides.items[stage - 1] : 1, r->shortcut, &node));
        TRY(graph_tap(graph, zoo_name("stage%d", stage).text, node));
    }
    return zoo_head(graph, classes, &node);
}

const struct network_family family_resnet = {
    .name = "resnet",
    .help = "residual networks for small images",
    .settings = &table,
    .build = build,
};
