/* test_operators.c - each operator, run by the executor, against an outside implementation.
 *
 * Every op_* case of the reference vectors is looked at: `rows` covers those of network operators,
 * `elsewhere` names those that other programs test; a case that neither covers fails, and so does a
 * row without cases. A case becomes a small graph: input -> the operator, tapped -> average pool ->
 * linear. The logits' gradient is zero; the tap gets the case's gradient from its caller.
 *
 * Tolerance: MULTIPLE times what the outside float32 run lost against float64; twice that where
 * Winograd's convolution runs, which rounds about twice as much as a plain sum. Convolutions run
 * both ways. All of them run in bf16 too, where the processor has it: then a share of the numbers
 * themselves, see golden_share. */
#include "golden.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "nn/engine/onednn.h"
#include "sketch.h"

static const double SHARE = 0.01;
enum { MULTIPLE = 8, MULTIPLE_WINOGRAD = 16, MOST_CASES = 256 };

/* ---- graphs of the cases ---- */

static int whole(const struct golden *golden, const char *key)
{
    return (int)golden_number(golden, key);
}

static int make_conv(const struct golden *golden, struct graph *graph)
{
    return sketch_conv(graph, 0,
                       (struct conv_attributes){golden_dims(golden, "y").dims[1],
                                                whole(golden, "kernel"), whole(golden, "stride"),
                                                whole(golden, "pad"), whole(golden, "groups"),
                                                golden_has(golden, "bias")});
}

static int make_batch_norm(const struct golden *golden, struct graph *graph)
{
    const struct batch_norm_attributes a = {golden_number(golden, "eps"),
                                            golden_number(golden, "momentum")};
    return sketch_node(graph, OP_batch_norm, &(int){0}, &a);
}

/* The batch norm as a convolution swallows it: after an identity. */
static int make_folded_batch_norm(const struct golden *golden, struct graph *graph)
{
    const struct batch_norm_attributes a = {golden_number(golden, "eps"),
                                            golden_number(golden, "momentum")};
    const int channels = graph->input.c;
    int conv = sketch_conv(graph, 0, (struct conv_attributes){channels, 1, 1, 0, 1, false});
    return sketch_node(graph, OP_batch_norm, &conv, &a);
}

static int make_relu(const struct golden *golden, struct graph *graph)
{
    return sketch_relu(graph, 0);
}

/* The input holds a's channels, then b's; two convolutions pick one half each. */
static int make_add(const struct golden *golden, struct graph *graph)
{
    const struct conv_attributes half = {golden_dims(golden, "y").dims[1], 1, 1, 0, 1, false};
    int a = sketch_conv(graph, 0, half), b = sketch_conv(graph, 0, half);
    return sketch_add(graph, a, b);
}

static int make_max_pool(const struct golden *golden, struct graph *graph)
{
    return sketch_max_pool(graph, 0, whole(golden, "kernel"), whole(golden, "stride"));
}

static int make_global_avg_pool(const struct golden *golden, struct graph *graph)
{
    return sketch_global_avg_pool(graph, 0);
}

static int make_linear(const struct golden *golden, struct graph *graph)
{
    return sketch_linear(graph, 0, golden_dims(golden, "y").dims[1]);
}

static int make_shortcut_a(const struct golden *golden, struct graph *graph)
{
    return sketch_shortcut_a(graph, 0, golden_dims(golden, "y").dims[1], whole(golden, "stride"));
}

struct row {
    const char *op; /* in the case's metadata */
    int (*make)(const struct golden *golden, struct graph *graph);
    int (*make_folded)(const struct golden *golden, struct graph *graph); /* inference; or NULL */
    const char *input; /* the tensor that is the input; NULL: a and b, one after the other */
    bool levels;       /* run by kernels of ours: with each instruction-set level */
    bool ways;         /* by Winograd's convolution where it fits, and by all others */
};
static const struct row rows[] = {
    {"conv2d", make_conv, NULL, "x", false, true},
    {"batch_norm", make_batch_norm, make_folded_batch_norm, "x", true},
    {"relu", make_relu, NULL, "x", true},
    {"add", make_add, NULL, NULL, true},
    {"max_pool", make_max_pool, NULL, "x", false},
    {"global_avg_pool", make_global_avg_pool, NULL, "x", false},
    {"linear", make_linear, NULL, "input", false},
    {"shortcut_a", make_shortcut_a, NULL, "x", false},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const char *const elsewhere[] = {"cross_entropy", "kl", "gram", "gram_loss",
                                        "adapter_gram_loss"};

/* ---- a case ---- */

struct problem {
    struct golden golden;
    const struct row *row;
    struct model model;
    int node; /* the operator */
    bool last;
    struct shape shape; /* of the input */
    int batch;
    float *images;
    enum executor_convolutions convolutions;
    enum precision precision;
    double multiple; /* of the executor that runs */
};

static void copy_images(const struct golden *golden, const char *name, int channels_before,
                        const struct problem *problem)
{
    const struct golden_dims dims = golden_dims(golden, name);
    const float *numbers = golden_floats(golden, name, dims);
    const size_t from = golden_count(&dims) / (size_t)problem->batch;
    const size_t to =
        (size_t)problem->shape.c * (size_t)problem->shape.h * (size_t)problem->shape.w;
    const size_t at = (size_t)channels_before * (size_t)problem->shape.h * (size_t)problem->shape.w;
    for (int n = 0; n < problem->batch; n++)
        memcpy(problem->images + (size_t)n * to + at, numbers + (size_t)n * from,
               from * sizeof(float));
}

static void make_images(struct problem *problem)
{
    const char *name = problem->row->input;
    const struct golden_dims dims = golden_dims(&problem->golden, name ? name : "a");
    const int channels = dims.dims[1];
    problem->batch = dims.dims[0];
    problem->shape =
        (struct shape){name ? channels : 2 * channels, dims.rank > 2 ? dims.dims[2] : 1,
                       dims.rank > 2 ? dims.dims[3] : 1};
    problem->images = malloc(2 * golden_count(&dims) * sizeof(float));
    assert_non_null(problem->images);
    copy_images(&problem->golden, name ? name : "a", 0, problem);
    if (!name)
        copy_images(&problem->golden, "b", channels, problem);
}

/* The operator's own numbers from the file; the convolutions before it become identities. */
static void fill_model(struct problem *problem)
{
    const struct graph *graph = &problem->model.graph;
    for (int i = 0; i < graph->parameter_count; i++) {
        const struct parameter *p = &graph->parameters[i];
        const char *name = strrchr(p->name, '.') + 1;
        if (p->node == problem->node) {
            struct golden_dims dims = {.rank = p->rank};
            memcpy(dims.dims, p->dims, (size_t)p->rank * sizeof(int));
            memcpy(problem->model.values[i], golden_floats(&problem->golden, name, dims),
                   parameter_count(p) * sizeof(float));
        } else if (p->node < problem->node) {
            memset(problem->model.values[i], 0, parameter_count(p) * sizeof(float));
            const int first = p->node == 1 ? 0 : p->dims[0];
            for (int c = 0; c < p->dims[0]; c++)
                problem->model.values[i][c * p->dims[1] + first + c] = 1;
        }
    }
}

static void open_problem(struct problem *problem,
                         int (*make)(const struct golden *, struct graph *))
{
    struct graph graph;
    sketch_begin(&graph, problem->shape);
    problem->node = make(&problem->golden, &graph);
    problem->last = graph.nodes[problem->node].kind == OP_linear;
    if (!problem->last) {
        assert_ok(graph_tap(&graph, "y", problem->node));
        sketch_linear(&graph, sketch_global_avg_pool(&graph, problem->node), 2);
    }
    sketch_model(&graph, 1, &problem->model);
    fill_model(problem);
}

static struct executor *make_executor(struct problem *problem,
                                      const struct executor_options *options)
{
    struct executor *executor = sketch_executor(&problem->model, options);
    problem->multiple = problem->precision == PRECISION_BF16    ? golden_share(SHARE)
                        : sketch_has_step(executor, "winograd") ? MULTIPLE_WINOGRAD
                                                                : MULTIPLE;
    return executor;
}

static void check_output(const struct problem *problem, const struct executor *executor)
{
    if (problem->last) {
        golden_check(&problem->golden, "y", executor_logits(executor), "y", problem->multiple);
        return;
    }
    float *y = sketch_plain(executor_tap(executor, 0));
    golden_check(&problem->golden, "y", y, "y", problem->multiple);
    free(y);
}

static void give_gradient(const struct problem *problem, struct executor *executor)
{
    const struct graph *graph = &problem->model.graph;
    const struct golden_dims dims = golden_dims(&problem->golden, "grad_y");
    const float *diff = golden_floats(&problem->golden, "grad_y", dims);
    float *logits = executor_diff_logits(executor);
    memset(logits, 0, (size_t)problem->batch * (size_t)graph->classes * sizeof(float));
    if (problem->last) {
        memcpy(logits, diff, golden_count(&dims) * sizeof(float));
    } else {
        const struct tensor tap = executor_diff_tap(executor, 0);
        tensor_from_plain(diff, &tap);
    }
}

/* Rounded to bf16, the largest of a window may have an equal, and the gradient goes to that. */
static double input_multiple(const struct problem *problem)
{
    const bool pools = strcmp(problem->row->op, "max_pool") == 0;
    return problem->precision == PRECISION_BF16 && pools ? golden_share(0.2) : problem->multiple;
}

/* The gradient of the input: of one tensor, or of a and b side by side. */
static void check_input_gradient(const struct problem *problem, const struct executor *executor)
{
    const struct shape shape = problem->shape;
    const size_t image = (size_t)shape.c * (size_t)shape.h * (size_t)shape.w;
    const int parts = problem->row->input ? 1 : 2;
    char name[64];
    float *diff = sketch_plain(executor_input_diff(executor));
    float *part = malloc((size_t)problem->batch * image * sizeof(float));
    assert_non_null(part);
    for (int i = 0; i < parts; i++) {
        snprintf(name, sizeof(name), "grad_%s", parts == 1 ? problem->row->input : i ? "b" : "a");
        for (size_t n = 0; n < (size_t)problem->batch; n++)
            memcpy(part + n * image / (size_t)parts,
                   diff + n * image + (size_t)i * image / (size_t)parts,
                   image / (size_t)parts * sizeof(float));
        golden_check(&problem->golden, name, part, "grad", input_multiple(problem));
    }
    free(part);
    free(diff);
}

/* The operator's parameters: their gradients, or its statistics after the pass. */
static void check_parameters(const struct problem *problem, const struct model *found,
                             const char *format, const char *group, bool trained)
{
    char name[64];
    for (int i = 0; i < found->graph.parameter_count; i++) {
        const struct parameter *p = &found->graph.parameters[i];
        if (p->node != problem->node || parameter_trains(p) != trained)
            continue;
        snprintf(name, sizeof(name), format, strrchr(p->name, '.') + 1);
        golden_check(&problem->golden, name, found->values[i], group, problem->multiple);
    }
}

static void train(struct problem *problem)
{
    const struct executor_options options = {.batch = problem->batch,
                                             .mode = EXECUTOR_TRAIN,
                                             .tap_count = problem->last ? 0 : 1,
                                             .taps = (const int[]){0},
                                             .tap_diffs = (const bool[]){true},
                                             .input_diff = true,
                                             .convolutions = problem->convolutions,
                                             .precision = problem->precision};
    struct executor *executor = make_executor(problem, &options);
    struct model found = {.graph = problem->model.graph,
                          .values = sketch_values(&problem->model.graph)};
    executor_forward(executor, problem->images, 0);
    check_output(problem, executor);
    give_gradient(problem, executor);
    executor_backward(executor);
    assert_ok(executor_status(executor));
    check_input_gradient(problem, executor);
    assert_ok(executor_store(executor, &found));
    check_parameters(problem, &found, "%s_after", "running", false);
    assert_ok(
        executor_flat_to_plain(executor, executor_parameters(executor).gradients, found.values));
    check_parameters(problem, &found, "grad_%s", "grad", true);
    sketch_values_release(&found.graph, found.values);
    executor_destroy(executor);
}

static void infer(struct problem *problem)
{
    const struct executor_options options = {.batch = problem->batch,
                                             .mode = EXECUTOR_INFER,
                                             .tap_count = problem->last ? 0 : 1,
                                             .taps = (const int[]){0},
                                             .convolutions = problem->convolutions,
                                             .precision = problem->precision};
    struct executor *executor = make_executor(problem, &options);
    executor_forward(executor, problem->images, 0);
    assert_ok(executor_status(executor));
    check_output(problem, executor);
    executor_destroy(executor);
}

static const struct row *row_of(const char *op)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].op, op) == 0)
            return &rows[i];
    return NULL;
}

static void run_ways(struct problem *problem, bool forward, bool backward)
{
    const enum executor_convolutions last = !problem->row->ways ? CONVOLUTIONS_OWN
                                            : problem->precision == PRECISION_BF16
                                                ? CONVOLUTIONS_CHANNELS_LAST
                                                : CONVOLUTIONS_DIRECT;
    for (int way = CONVOLUTIONS_OWN; way <= (int)last; way++) {
        problem->convolutions = (enum executor_convolutions)way;
        if (backward)
            train(problem);
        if (forward)
            infer(problem);
    }
}

/* A batch norm with running statistics is run forward only: retort never trains through one, so it
 * has no gradient for it. One with batch statistics is not run for inference. */
static void an_operator_agrees_with_the_outside_implementation(void **state)
{
    const char *name = *state;
    struct problem problem = {0};
    golden_open(&problem.golden, name);
    problem.row = row_of(golden_text(&problem.golden, "op"));
    const bool norm = strcmp(problem.row->op, "batch_norm") == 0;
    const bool batch_statistics = norm && whole(&problem.golden, "training");
    make_images(&problem);
    open_problem(&problem, problem.row->make);
    const int best = (int)cpu_level();
    for (int level = problem.row->levels ? 0 : best; level <= best; level++) {
        cpu_limit((enum cpu_level)level);
        problem.precision = PRECISION_F32;
        run_ways(&problem, !batch_statistics, !norm || batch_statistics);
        problem.precision = PRECISION_BF16;
        if (dnn_has_bf16())
            run_ways(&problem, !batch_statistics, !norm || batch_statistics);
    }
    problem.precision = PRECISION_F32;
    model_release(&problem.model);
    if (problem.row->make_folded && !batch_statistics) {
        open_problem(&problem, problem.row->make_folded);
        infer(&problem);
        model_release(&problem.model);
    }
    free(problem.images);
    golden_close(&problem.golden);
}

/* ---- the cases that there are ---- */

static bool is_elsewhere(const char *op)
{
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        if (strcmp(elsewhere[i], op) == 0)
            return true;
    return false;
}

static char names[MOST_CASES][64];
static int name_count;
static char strangers[1024]; /* cases that nothing covers */
static int found[ROWS];      /* cases of a row */

static void look_at(const char *path)
{
    struct safetensors file;
    char name[64];
    snprintf(name, sizeof(name), "%s", strrchr(path, '/') + 1);
    *strrchr(name, '.') = '\0';
    if (safetensors_read(path, &file) != RETORT_OK) {
        snprintf(strangers, sizeof(strangers), "%s", retort_message());
        return;
    }
    const char *op = safetensors_metadata(&file, "op");
    const struct row *row = op ? row_of(op) : NULL;
    if (row && name_count < MOST_CASES) {
        found[row - rows]++;
        strcpy(names[name_count++], name);
    } else if (!op || !is_elsewhere(op)) {
        strncat(strangers, name, sizeof(strangers) - strlen(strangers) - 2);
        strcat(strangers, " ");
    }
    safetensors_release(&file);
}

static void every_case_has_a_row_and_every_row_a_case(void **state)
{
    if (!support_golden("README.md"))
        skip();
    if (strangers[0])
        fail_msg("no row covers: %s", strangers);
    for (int i = 0; i < ROWS; i++)
        if (found[i] == 0)
            fail_msg("row %s has no case", rows[i].op);
}

int main(void)
{
    struct CMUnitTest tests[MOST_CASES + 1] = {
        cmocka_unit_test(every_case_has_a_row_and_every_row_a_case)};
    const char *readme = support_golden("README.md");
    char pattern[512];
    glob_t paths = {0};
    if (readme) {
        snprintf(pattern, sizeof(pattern), "%.*sop_*.safetensors",
                 (int)(strrchr(readme, '/') + 1 - readme), readme);
        if (glob(pattern, 0, NULL, &paths) == 0)
            for (size_t i = 0; i < paths.gl_pathc; i++)
                look_at(paths.gl_pathv[i]);
        globfree(&paths);
    }
    for (int i = 0; i < name_count; i++)
        tests[i + 1] = (struct CMUnitTest){
            names[i], an_operator_agrees_with_the_outside_implementation, NULL, NULL, names[i]};
    return _cmocka_run_group_tests("operators", tests, (size_t)name_count + 1, NULL, NULL);
}
