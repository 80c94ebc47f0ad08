/* test_fuse.c - which nodes run together, in both modes, with and without taps.
 *
 * Units are written as "node+batch_norm+add(residual)+relu", kinds for what is fused. */
#include "sketch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/engine/builder.h"

enum { MOST_TAPS = 8 };

struct fused {
    struct graph graph;
    struct executor_options options;
    int taps[MOST_TAPS];
    struct arena arena;
    struct unit *units;
    int count;
};

static void open_fused(struct fused *f, const char *network, enum executor_mode mode, bool tapped)
{
    *f = (struct fused){.options = {.batch = 1, .mode = mode}};
    assert_ok(network_build(network, 10, (struct shape){3, 32, 32}, &f->graph));
    for (int i = 0; tapped && i < f->graph.tap_count; i++)
        f->taps[f->options.tap_count++] = i;
    f->options.taps = f->taps;
    assert_ok(fuse(&f->graph, &f->options, &f->arena, &f->units, &f->count));
}

static void close_fused(struct fused *f)
{
    arena_release(&f->arena);
    graph_release(&f->graph);
}

static void append(char *text, size_t size, const char *part)
{
    if (strlen(text) + strlen(part) >= size)
        fail_msg("no room for %s", part);
    strcat(text, part);
}

static void describe(const struct fused *f, char *text, size_t size)
{
    text[0] = '\0';
    for (int i = 0; i < f->count; i++) {
        const struct unit *u = &f->units[i];
        append(text, size, i ? " " : "");
        append(text, size, f->graph.nodes[u->node].name);
        append(text, size, u->batch_norm >= 0 ? "+batch_norm" : "");
        if (u->add >= 0) {
            append(text, size, "+add(");
            append(text, size, f->graph.nodes[u->residual].name);
            append(text, size, ")");
        }
        append(text, size, u->relu >= 0 ? "+relu" : "");
    }
}

/* The taps of these networks end their units anyway: they change nothing. */
struct expectation {
    const char *network, *trained, *inferred;
};
static const struct expectation expectations[] = {
    {"resnet:depth=8",
     "input stem.conv stem.bn+relu "
     "stage1.block1.conv1 stage1.block1.bn1+relu stage1.block1.conv2 "
     "stage1.block1.bn2+add(stem.relu)+relu "
     "stage2.block1.conv1 stage2.block1.bn1+relu stage2.block1.conv2 stage2.block1.shortcut "
     "stage2.block1.bn2+add(stage2.block1.shortcut)+relu "
     "stage3.block1.conv1 stage3.block1.bn1+relu stage3.block1.conv2 stage3.block1.shortcut "
     "stage3.block1.bn2+add(stage3.block1.shortcut)+relu pool fc",
     "input stem.conv+batch_norm+relu "
     "stage1.block1.conv1+batch_norm+relu stage1.block1.conv2+batch_norm+add(stem.relu)+relu "
     "stage2.block1.conv1+batch_norm+relu stage2.block1.shortcut "
     "stage2.block1.conv2+batch_norm+add(stage2.block1.shortcut)+relu "
     "stage3.block1.conv1+batch_norm+relu stage3.block1.shortcut "
     "stage3.block1.conv2+batch_norm+add(stage3.block1.shortcut)+relu pool fc"},
    {"resnet:depth=8,shortcut=B,blocks=1-1-1,strides=1-2-1,widths=8-8-8-8",
     "input stem.conv stem.bn+relu "
     "stage1.block1.conv1 stage1.block1.bn1+relu stage1.block1.conv2 "
     "stage1.block1.bn2+add(stem.relu)+relu "
     "stage2.block1.conv1 stage2.block1.bn1+relu stage2.block1.conv2 stage2.block1.bn2 "
     "stage2.block1.shortcut.conv stage2.block1.shortcut.bn+add(stage2.block1.bn2)+relu "
     "stage3.block1.conv1 stage3.block1.bn1+relu stage3.block1.conv2 "
     "stage3.block1.bn2+add(stage2.block1.relu2)+relu pool fc",
     "input stem.conv+batch_norm+relu "
     "stage1.block1.conv1+batch_norm+relu stage1.block1.conv2+batch_norm+add(stem.relu)+relu "
     "stage2.block1.conv1+batch_norm+relu stage2.block1.conv2+batch_norm "
     "stage2.block1.shortcut.conv+batch_norm+add(stage2.block1.bn2)+relu "
     "stage3.block1.conv1+batch_norm+relu "
     "stage3.block1.conv2+batch_norm+add(stage2.block1.relu2)+relu pool fc"},
    {"vgg:depth=6,dropout=0.5",
     "input block1.conv1 block1.bn1+relu block1.pool block2.conv1 block2.bn1+relu block2.pool "
     "block3.conv1 block3.bn1+relu block3.pool block4.conv1 block4.bn1+relu block4.pool "
     "hidden1+relu hidden1.dropout fc",
     "input block1.conv1+batch_norm+relu block1.pool block2.conv1+batch_norm+relu block2.pool "
     "block3.conv1+batch_norm+relu block3.pool block4.conv1+batch_norm+relu block4.pool "
     "hidden1+relu hidden1.dropout fc"},
    {"vgg:depth=6,bn=false",
     "input block1.conv1+relu block1.pool block2.conv1+relu block2.pool block3.conv1+relu "
     "block3.pool block4.conv1+relu block4.pool hidden1+relu fc",
     "input block1.conv1+relu block1.pool block2.conv1+relu block2.pool block3.conv1+relu "
     "block3.pool block4.conv1+relu block4.pool hidden1+relu fc"},
    {"mobilenet:blocks=1-1-1-1-1",
     "input stem.conv stem.bn+relu "
     "stage1.block1.dw stage1.block1.dw_bn+relu stage1.block1.pw stage1.block1.pw_bn+relu "
     "stage2.block1.dw stage2.block1.dw_bn+relu stage2.block1.pw stage2.block1.pw_bn+relu "
     "stage3.block1.dw stage3.block1.dw_bn+relu stage3.block1.pw stage3.block1.pw_bn+relu "
     "stage4.block1.dw stage4.block1.dw_bn+relu stage4.block1.pw stage4.block1.pw_bn+relu "
     "stage5.block1.dw stage5.block1.dw_bn+relu stage5.block1.pw stage5.block1.pw_bn+relu "
     "pool fc",
     "input stem.conv+batch_norm+relu "
     "stage1.block1.dw+batch_norm+relu stage1.block1.pw+batch_norm+relu "
     "stage2.block1.dw+batch_norm+relu stage2.block1.pw+batch_norm+relu "
     "stage3.block1.dw+batch_norm+relu stage3.block1.pw+batch_norm+relu "
     "stage4.block1.dw+batch_norm+relu stage4.block1.pw+batch_norm+relu "
     "stage5.block1.dw+batch_norm+relu stage5.block1.pw+batch_norm+relu pool fc"},
};

static void check_units(const struct fused *f, const char *what, const char *wanted)
{
    char text[4096];
    describe(f, text, sizeof(text));
    if (strcmp(text, wanted) != 0)
        fail_msg("%s:\n%s\nfound,\n%s\nwanted", what, text, wanted);
}

/* Each node is in one unit; what a unit reads was made before; nothing is inside that is wanted. */
static void check_rules(const struct fused *f)
{
    bool made[GRAPH_MOST_NODES] = {false};
    int used[GRAPH_MOST_NODES] = {0};
    for (int i = 0; i < f->count; i++) {
        const struct unit *u = &f->units[i];
        const struct node *node = &f->graph.nodes[u->node];
        const int parts[] = {u->node, u->batch_norm, u->add, u->relu};
        for (int k = 0; k < node->input_count; k++)
            assert_true(made[node->inputs[k]]);
        if (u->add >= 0)
            assert_true(made[u->residual]);
        for (int k = 0; k < 4; k++)
            if (parts[k] >= 0)
                used[parts[k]]++;
        assert_int_equal(used[u->output], 1);
        made[u->output] = true;
    }
    for (int i = 0; i < f->graph.node_count; i++)
        assert_int_equal(used[i], 1);
    for (int i = 0; i < f->options.tap_count; i++)
        assert_true(made[f->graph.taps[f->taps[i]].node]);
    assert_true(made[f->graph.node_count - 1]);
}

static void networks_fuse_as_listed(void **state)
{
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++)
        for (int way = 0; way < 4; way++) {
            const struct expectation *e = &expectations[i];
            const bool train = way & 1, tapped = way & 2;
            struct fused f;
            open_fused(&f, e->network, train ? EXECUTOR_TRAIN : EXECUTOR_INFER, tapped);
            check_units(&f, e->network, train ? e->trained : e->inferred);
            check_rules(&f);
            close_fused(&f);
        }
}

/* ---- taps inside ---- */

/* A residual block without the rest; nodes n1 to n5. */
static void make_block(struct graph *graph)
{
    const struct conv_attributes conv = {3, 3, 1, 1, 1, false};
    sketch_begin(graph, (struct shape){3, 4, 4});
    int x = sketch_batch_norm(graph, sketch_conv(graph, 0, conv));
    x = sketch_relu(graph, sketch_add(graph, 0, x));
    sketch_linear(graph, x, 2);
}

static void a_tap_keeps_its_node_apart(void **state)
{
    static const struct {
        int tap; /* 0: none */
        const char *trained, *inferred;
    } rows[] = {
        {0, "input n1 n2+add(input)+relu n5", "input n1+batch_norm+add(input)+relu n5"},
        {1, "input n1 n2+add(input)+relu n5", "input n1 n2+add(input)+relu n5"},
        {2, "input n1 n2 n3 n4 n5", "input n1+batch_norm n3 n4 n5"},
        {3, "input n1 n2+add(input) n4 n5", "input n1+batch_norm+add(input) n4 n5"},
        {4, "input n1 n2+add(input)+relu n5", "input n1+batch_norm+add(input)+relu n5"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int mode = EXECUTOR_INFER; mode <= EXECUTOR_TRAIN; mode++) {
            struct fused f = {.options = {.batch = 1, .mode = (enum executor_mode)mode}};
            make_block(&f.graph);
            if (rows[i].tap > 0)
                assert_ok(graph_tap(&f.graph, "tap", rows[i].tap));
            assert_ok(graph_finish(&f.graph));
            f.options.tap_count = f.graph.tap_count;
            f.options.taps = f.taps;
            assert_ok(fuse(&f.graph, &f.options, &f.arena, &f.units, &f.count));
            check_units(&f, "block", mode == EXECUTOR_TRAIN ? rows[i].trained : rows[i].inferred);
            check_rules(&f);
            close_fused(&f);
        }
}

/* A tap that the caller did not ask for costs nothing. */
static void a_tap_that_nobody_asked_for_fuses(void **state)
{
    struct fused f = {.options = {.batch = 1, .mode = EXECUTOR_TRAIN}};
    make_block(&f.graph);
    assert_ok(graph_tap(&f.graph, "tap", 2));
    assert_ok(graph_finish(&f.graph));
    assert_ok(fuse(&f.graph, &f.options, &f.arena, &f.units, &f.count));
    check_units(&f, "block", "input n1 n2+add(input)+relu n5");
    close_fused(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_fuse_as_listed),
        cmocka_unit_test(a_tap_keeps_its_node_apart),
        cmocka_unit_test(a_tap_that_nobody_asked_for_fuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
