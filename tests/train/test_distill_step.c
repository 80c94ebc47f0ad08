/* test_distill_step.c - one whole distillation step, put together as train/trainer.c does it:
 * teachers in inference mode, student in training mode in the same workspace, CE + KL + Gram, one
 * optimizer step. Everything that a case records is compared, on every instruction-set level.
 *
 * An outside implementation's cases (one teacher, two teachers, adapters), where they are
 * installed, and our own (tests/vectors). */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "distill/adapter.h"
#include "distill/objective.h"
#include "nn/engine/executor.h"
#include "nn/op/op.h"
#include "train/optimizer.h"

enum { MOST_TAPS = 8, MOST_TEACHERS = 2 };

struct step_case {
    const char *name;
    void (*open)(struct golden *golden, const char *name);
    void (*make_teacher)(struct graph *graph);
    void (*make_student)(struct graph *graph);
    double multiple; /* of the rounding that the case records */
    int teachers;    /* 1 or 2; the Gram matrices are the first one's */
    bool adapters;   /* the student's taps have other channels */
};

/* ---- the networks ---- */

static void outside_teacher(struct graph *graph)
{
    assert_ok(
        network_build("resnet:depth=14,widths=8-8-16-32", 10, (struct shape){3, 32, 32}, graph));
}

static void wide_teacher(struct graph *graph)
{
    assert_ok(network_build("resnet:depth=14", 10, (struct shape){3, 16, 16}, graph));
}

static void narrow_student(struct graph *graph)
{
    assert_ok(
        network_build("resnet:depth=8,widths=8-8-16-32", 10, (struct shape){3, 16, 16}, graph));
}

static void outside_student(struct graph *graph)
{
    assert_ok(
        network_build("resnet:depth=8,widths=8-8-16-32", 10, (struct shape){3, 32, 32}, graph));
}

static int add_node(struct graph *graph, enum op_kind kind, const char *name, int input,
                    const void *attributes)
{
    int node;
    assert_ok(graph_add(graph, kind, name, &input, 1, attributes, &node));
    return node;
}

static int add_conv(struct graph *graph, int number, int input, int channels, int stride)
{
    struct conv_attributes conv = {
        .out_channels = channels, .kernel = 3, .stride = stride, .pad = 1, .groups = 1};
    char name[32];
    snprintf(name, sizeof(name), "conv%d", number);
    int node = add_node(graph, OP_conv, name, input, &conv);
    snprintf(name, sizeof(name), "bn%d", number);
    return add_node(graph, OP_batch_norm, name, node, NULL);
}

/* What vectors/make_distill_step.c describes. */
static void make_own(struct graph *graph, int blocks)
{
    struct linear_attributes fc = {.out_features = 3};
    assert_ok(graph_begin(graph, "own", (struct shape){2, 8, 8}));
    int node = add_node(graph, OP_relu, "relu1", add_conv(graph, 1, 0, 5, 1), NULL);
    assert_ok(graph_tap(graph, "early", node));
    node = add_node(graph, OP_relu, "relu2", add_conv(graph, 2, node, 6, 2), NULL);
    for (int i = 0; i < blocks; i++) {
        char name[32];
        int sum, terms[] = {add_conv(graph, 3 + i, node, 6, 1), node};
        snprintf(name, sizeof(name), "add%d", 3 + i);
        assert_ok(graph_add(graph, OP_add, name, terms, 2, NULL, &sum));
        snprintf(name, sizeof(name), "relu%d", 3 + i);
        node = add_node(graph, OP_relu, name, sum, NULL);
    }
    assert_ok(graph_tap(graph, "late", node));
    add_node(graph, OP_linear, "fc", add_node(graph, OP_global_avg_pool, "pool", node, NULL), &fc);
    assert_ok(graph_finish(graph));
}

static void own_teacher(struct graph *graph)
{
    make_own(graph, 2);
}

static void own_student(struct graph *graph)
{
    make_own(graph, 1);
}

static const struct step_case cases[] = {
    {"distill_one_teacher", golden_open, outside_teacher, outside_student, 8, 1, false},
    {"distill_two_teachers", golden_open, outside_teacher, outside_student, 8, 2, false},
    {"distill_adapters", golden_open, wide_teacher, narrow_student, 16, 1, true}, /* Winograd */
    {"distill_step", golden_open_own, own_teacher, own_student, 1, 1, false},
};

/* ---- everything that a step needs ---- */

struct step {
    struct golden golden;
    double multiple;
    int teachers;
    bool adapters;
    double shares[MOST_TEACHERS];
    struct arena arena;
    const void *settings[LOSS_COUNT];
    int n, tap_count;
    const float *images;
    const int32_t *labels;
    struct model teacher_models[MOST_TEACHERS], student_model;
    struct executor *teachers_run[MOST_TEACHERS], *student;
    struct objective *objective;
    struct tensor teacher_taps[MOST_TEACHERS][MOST_TAPS], student_taps[MOST_TAPS];
    struct gradient diff_taps[MOST_TAPS];
    void *workspace;
};

static void load_values(struct step *step, const char *prefix, struct model *model)
{
    char name[256];
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *p = &model->graph.parameters[i];
        snprintf(name, sizeof(name), "%s.%s", prefix, p->name);
        struct golden_dims dims = {.rank = p->rank};
        memcpy(dims.dims, p->dims, (size_t)p->rank * sizeof(int));
        memcpy(model->values[i], golden_floats(&step->golden, name, dims),
               parameter_count(p) * sizeof(float));
    }
}

static void load_model(struct step *step, void (*make)(struct graph *), const char *prefix,
                       struct model *model)
{
    struct graph graph = {0};
    make(&graph);
    assert_ok(model_create(&graph, model));
    load_values(step, prefix, model);
}

/* The student with an adapter behind every tap. */
static void attach_adapters(struct step *step)
{
    const struct graph *student = &step->student_model.graph;
    struct adapter adapters[MOST_TAPS];
    struct model extended;
    for (int i = 0; i < student->tap_count; i++)
        adapters[i] = (struct adapter){student->taps[i].name,
                                       graph_tap_shape(&step->teacher_models[0].graph, i).c};
    assert_ok(
        adapter_attach(&step->student_model, adapters, student->tap_count, 1, NULL, &extended));
    model_release(&step->student_model);
    step->student_model = extended;
    load_values(step, "student.init", &step->student_model);
}

static void set_loss(struct step *step, enum loss_kind kind, const char *text)
{
    const struct setting_table *table = loss_of(kind)->settings;
    void *settings;
    assert_ok(arena_take(&step->arena, table->bytes, &settings));
    assert_ok(settings_parse(table, settings, table->name, text, &step->arena));
    step->settings[kind] = settings;
}

static void open_step(struct step *step, const struct step_case *which)
{
    char text[128];
    *step = (struct step){.multiple = which->multiple,
                          .teachers = which->teachers,
                          .adapters = which->adapters,
                          .shares = {1}};
    which->open(&step->golden, which->name);
    if (which->teachers == 2)
        assert_int_equal(sscanf(golden_text(&step->golden, "teacher_weights"), "%lf,%lf",
                                &step->shares[0], &step->shares[1]),
                         2);
    for (int i = 0; i < which->teachers; i++) {
        snprintf(text, sizeof(text), "teacher%d.init", i + 1);
        load_model(step, which->make_teacher, text, &step->teacher_models[i]);
    }
    load_model(step, which->make_student, "student.init", &step->student_model);
    if (which->adapters)
        attach_adapters(step);
    struct golden_dims dims = golden_dims(&step->golden, "input");
    step->n = dims.dims[0];
    step->tap_count = step->student_model.graph.tap_count;
    step->images = golden_floats(&step->golden, "input", dims);
    step->labels = golden_ints(&step->golden, "labels", GOLDEN_DIMS(step->n));
    snprintf(text, sizeof(text), "weight=%s", golden_text(&step->golden, "weight.ce"));
    set_loss(step, LOSS_ce, text);
    snprintf(text, sizeof(text), "weight=%s,temperature=%s",
             golden_text(&step->golden, "weight.kl"), golden_text(&step->golden, "temperature"));
    set_loss(step, LOSS_kl, text);
    snprintf(text, sizeof(text), "weight=%s", golden_text(&step->golden, "weight.gram"));
    set_loss(step, LOSS_gram, text);
}

static struct executor *make_executor(const struct step *step, const struct model *model,
                                      enum executor_mode mode)
{
    int taps[MOST_TAPS];
    bool diffs[MOST_TAPS];
    struct executor *executor;
    struct executor_options options = {
        .batch = step->n, .mode = mode, .taps = taps, .tap_diffs = diffs};
    for (int i = 0; i < step->tap_count; i++)
        if (objective_uses_tap(step->objective, i)) {
            diffs[options.tap_count] = true;
            taps[options.tap_count++] = i;
        }
    assert_ok(executor_create(&model->graph, &options, &executor));
    assert_ok(executor_load(executor, model));
    return executor;
}

static void make_objective(struct step *step)
{
    const char *names[MOST_TAPS];
    struct loss_shapes shapes = {.n = step->n,
                                 .classes = step->student_model.graph.classes,
                                 .tap_count = step->tap_count,
                                 .tap_names = names,
                                 .student_taps = step->student_taps,
                                 .teacher_taps = step->teacher_taps[0]};
    for (int i = 0; i < step->tap_count; i++) {
        names[i] = step->student_model.graph.taps[i].name;
        step->student_taps[i] =
            executor_layout(&step->student_model.graph, i, step->n, PRECISION_F32);
        step->teacher_taps[0][i] =
            executor_layout(&step->teacher_models[0].graph, i, step->n, PRECISION_F32);
    }
    assert_ok(objective_create(step->settings, &shapes, &step->objective));
}

/* Objective and executors for the losses that are set, in one workspace. */
static void begin_step(struct step *step)
{
    size_t bytes;
    make_objective(step);
    step->student = make_executor(step, &step->student_model, EXECUTOR_TRAIN);
    bytes = executor_workspace(step->student);
    for (int i = 0; i < step->teachers; i++) {
        step->teachers_run[i] = make_executor(step, &step->teacher_models[i], EXECUTOR_INFER);
        const size_t more = executor_workspace(step->teachers_run[i]);
        bytes = more > bytes ? more : bytes;
    }
    assert_ok(memory_aligned(bytes, &step->workspace));
    assert_ok(executor_bind(step->student, step->workspace));
    for (int i = 0; i < step->teachers; i++)
        assert_ok(executor_bind(step->teachers_run[i], step->workspace));
    for (int i = 0, used = 0; i < step->tap_count; i++)
        if (objective_uses_tap(step->objective, i)) {
            for (int t = 0; t < step->teachers; t++)
                step->teacher_taps[t][i] = executor_tap(step->teachers_run[t], used);
            step->student_taps[i] = executor_tap(step->student, used);
            step->diff_taps[i].tensor = executor_diff_tap(step->student, used++);
        }
}

static void end_step(struct step *step)
{
    for (int i = 0; i < step->teachers; i++)
        executor_destroy(step->teachers_run[i]);
    executor_destroy(step->student);
    objective_destroy(step->objective);
    free(step->workspace);
}

static void close_step(struct step *step)
{
    for (int i = 0; i < step->teachers; i++)
        model_release(&step->teacher_models[i]);
    model_release(&step->student_model);
    arena_release(&step->arena);
    golden_close(&step->golden);
}

/* ---- comparing ---- */

static void check(const struct step *step, const char *tensor, const float *values,
                  const char *group)
{
    golden_check(&step->golden, tensor, values, group, step->multiple);
}

/* who: what the tensors' names begin with. */
static void check_taps(const struct step *step, const char *who, const struct tensor *taps,
                       const char *group)
{
    char name[256];
    for (int i = 0; i < step->tap_count; i++) {
        float *plain =
            malloc((size_t)taps[i].n * taps[i].c * taps[i].h * taps[i].w * sizeof(float));
        tensor_to_plain(&taps[i], plain);
        snprintf(name, sizeof(name), "%s.%s", who, step->student_model.graph.taps[i].name);
        check(step, name, plain, group);
        free(plain);
    }
}

static void check_parameters(const struct step *step, const char *prefix, const char *group,
                             const struct model *model, bool trained_only)
{
    char name[256];
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *p = &model->graph.parameters[i];
        snprintf(name, sizeof(name), "%s.%s", prefix, p->name);
        if (parameter_trains(p) || !trained_only)
            check(step, name, model->values[i], group);
    }
}

static void check_losses(const struct step *step, const struct objective_value *value)
{
    const struct golden *golden = &step->golden;
    golden_check_number(golden, "loss.total", value->total, "loss", step->multiple);
    golden_check_number(golden, "loss.ce", value->raw[LOSS_ce], "loss", step->multiple);
    golden_check_number(golden, "loss.kl", value->raw[LOSS_kl], "loss", step->multiple);
    golden_check_number(golden, "loss.gram", value->raw[LOSS_gram], "loss", step->multiple);
}

/* ---- the step ---- */

static void teach(struct step *step)
{
    objective_begin(step->objective);
    for (int i = 0; i < step->teachers; i++) {
        char name[64];
        executor_forward(step->teachers_run[i], step->images, 0);
        assert_ok(executor_status(step->teachers_run[i]));
        struct teacher_view view = {executor_logits(step->teachers_run[i]), step->teacher_taps[i],
                                    step->shares[i], i == 0};
        snprintf(name, sizeof(name), "teacher%d.logits", i + 1);
        check(step, name, view.logits, "teacher_logits");
        if (i == 0 && step->settings[LOSS_kl]) /* all taps are used */
            check_taps(step, "teacher1.tap", step->teacher_taps[0], "teacher_taps");
        objective_teacher(step->objective, &view);
    }
}

static struct objective_value learn(struct step *step)
{
    struct student_view view = {executor_logits(step->student), step->labels,
                                executor_diff_logits(step->student), step->student_taps,
                                step->diff_taps};
    executor_forward(step->student, step->images, 0);
    return objective_student(step->objective, &view, 0);
}

static void run_step(struct step *step)
{
    const struct recipe_train train = {.momentum = golden_number(&step->golden, "momentum"),
                                       .nesterov = golden_number(&step->golden, "nesterov") != 0,
                                       .weight_decay =
                                           golden_number(&step->golden, "weight_decay")};
    struct optimizer optimizer;
    struct model gradients;
    begin_step(step);
    assert_ok(model_copy(&step->student_model, &gradients));
    assert_ok(optimizer_create(step->student, &step->student_model.graph, &train, &optimizer));
    const uint64_t hash = executor_hash(step->teachers_run[0]);

    teach(step);
    struct objective_value value = learn(step);
    check(step, "student.logits", executor_logits(step->student), "student_logits");
    check_taps(step, step->adapters ? "student.adapted" : "student.tap", step->student_taps,
               step->adapters ? "student_adapted" : "student_taps");
    check_losses(step, &value);
    executor_backward(step->student);
    assert_ok(executor_status(step->student));
    assert_ok(executor_flat_to_plain(step->student, optimizer.view.gradients, gradients.values));
    check_parameters(step, "student.grad", "student_grad", &gradients, true);
    optimizer_step(&optimizer, golden_number(&step->golden, "lr"), 1);
    assert_ok(executor_store(step->student, &step->student_model));
    check_parameters(step, "student.step1", "student_state1", &step->student_model, false);
    assert_true(executor_hash(step->teachers_run[0]) == hash);

    model_release(&gradients);
    optimizer_release(&optimizer);
    end_step(step);
}

/* Gram alone, one pair of taps after the other. */
static void run_pairs(struct step *step)
{
    const struct tap *taps = step->student_model.graph.taps;
    char text[128], key[128];
    step->settings[LOSS_ce] = step->settings[LOSS_kl] = NULL;
    for (int a = 0; a < step->tap_count; a++)
        for (int b = a + 1; b < step->tap_count; b++) {
            snprintf(text, sizeof(text), "pairs=%s-%s", taps[a].name, taps[b].name);
            snprintf(key, sizeof(key), "loss.gram.%s-%s", taps[a].name, taps[b].name);
            set_loss(step, LOSS_gram, text);
            begin_step(step);
            teach(step);
            golden_check_number(&step->golden, key, learn(step).raw[LOSS_gram], "loss",
                                step->multiple);
            end_step(step);
        }
}

static void a_distillation_step_agrees_with(void **state)
{
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++) {
        struct step step;
        cpu_limit((enum cpu_level)level);
        open_step(&step, *state);
        run_step(&step);
        close_step(&step);
    }
    struct step step;
    open_step(&step, *state);
    run_pairs(&step);
    close_step(&step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a_distillation_step_agrees_with, (void *)&cases[0]),
        cmocka_unit_test_prestate(a_distillation_step_agrees_with, (void *)&cases[1]),
        cmocka_unit_test_prestate(a_distillation_step_agrees_with, (void *)&cases[2]),
        cmocka_unit_test_prestate(a_distillation_step_agrees_with, (void *)&cases[3]),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
