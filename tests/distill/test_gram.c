/* test_gram.c - the Gram loss: against the outside implementation, against its slow twin on every
 * layout, precision and instruction-set level, and what can be known by thought. */
#include "golden.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "gram_reference.h"

enum { MAX_TAPS = 4, MAX_PAIRS = 6 };

static const char *const tap_names[MAX_TAPS] = {"a", "b", "c", "d"};
static const char *const norm_names[] = {"mean", "sskd", "frobenius"};
static const char *const pool_names[] = {"max", "avg"};
static const struct layout {
    enum precision type;
    int block;
} layouts[] = {{PRECISION_F32, 1},  {PRECISION_F32, 8},  {PRECISION_F32, 16},
               {PRECISION_BF16, 1}, {PRECISION_BF16, 8}, {PRECISION_BF16, 16}};
enum { LAYOUTS = 6 };

/* ---- a step on plain maps, in any layout ---- */

struct shape3 {
    int c, h, w;
};

struct step {
    int n, taps;
    struct shape3 shapes[MAX_TAPS];
    const char *settings;                               /* of the loss, as in a recipe's text */
    const float *student[MAX_TAPS], *teacher[MAX_TAPS]; /* plain */
    struct layout layout;
    bool matrices;         /* matrices for every pair, as for several teachers */
    bool defined;          /* the gradients hold `before` when the loss comes */
    float before;          /* exact in bf16 */
    float *diff[MAX_TAPS]; /* [out] plain, may be NULL */
};

static size_t map_count(const struct step *step, int tap)
{
    const struct shape3 *s = &step->shapes[tap];
    return (size_t)step->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
}

static struct tensor new_tensor(const struct step *step, int tap, const float *plain)
{
    const struct shape3 *s = &step->shapes[tap];
    struct tensor tensor = {step->layout.type, step->n, s->c, s->h, s->w, step->layout.block, NULL};
    assert_ok(memory_aligned(tensor_bytes(&tensor), &tensor.data));
    if (plain)
        tensor_from_plain(plain, &tensor);
    else
        memset(tensor.data, 0xff, tensor_bytes(&tensor)); /* NaN */
    return tensor;
}

static void fill_tensor(const struct tensor *tensor, float value)
{
    size_t count = (size_t)tensor->n * (size_t)tensor->c * (size_t)tensor->h * (size_t)tensor->w;
    float *plain = test_malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        plain[i] = value;
    tensor_from_plain(plain, tensor);
    test_free(plain);
}

static void assert_padding_is_zero(const struct tensor *tensor)
{
    const int channels = tensor_channels(tensor), block = tensor->block;
    const size_t positions = (size_t)tensor->h * (size_t)tensor->w, count = tensor_count(tensor);
    for (size_t i = 0; i < count; i++) {
        int c = (int)(i / ((size_t)block * positions) * (size_t)block % (size_t)channels +
                      i % (size_t)block);
        float value = tensor->type == PRECISION_BF16
                          ? bf16_to_float(((const uint16_t *)tensor->data)[i])
                          : ((const float *)tensor->data)[i];
        if (c >= tensor->c && value != 0)
            fail_msg("channel %d of %d holds %g", c, tensor->c, (double)value);
    }
}

struct rig {
    struct tensor student[MAX_TAPS], teacher[MAX_TAPS];
    struct gradient diffs[MAX_TAPS];
    struct arena arena;
    const void *settings;
    struct loss_shapes shapes;
};

static void open_rig(const struct step *step, struct rig *rig)
{
    const struct setting_table *table = loss_of(LOSS_gram)->settings;
    *rig = (struct rig){0};
    for (int t = 0; t < step->taps; t++) {
        rig->student[t] = new_tensor(step, t, step->student[t]);
        rig->teacher[t] = new_tensor(step, t, step->teacher[t]);
        rig->diffs[t] = (struct gradient){new_tensor(step, t, NULL), step->defined};
        if (step->defined)
            fill_tensor(&rig->diffs[t].tensor, step->before);
    }
    void *settings = arena_get(&rig->arena, table->bytes);
    assert_non_null(settings);
    assert_ok(settings_parse(table, settings, "gram", step->settings, &rig->arena));
    rig->settings = settings;
    rig->shapes = (struct loss_shapes){.n = step->n,
                                       .classes = 10,
                                       .tap_count = step->taps,
                                       .tap_names = tap_names,
                                       .student_taps = rig->student,
                                       .teacher_taps = rig->teacher,
                                       .many_map_teachers = step->matrices};
}

static void close_rig(const struct step *step, struct rig *rig)
{
    for (int t = 0; t < step->taps; t++) {
        free(rig->student[t].data);
        free(rig->teacher[t].data);
        free(rig->diffs[t].tensor.data);
    }
    arena_release(&rig->arena);
}

static double run(const struct step *step)
{
    const struct loss *loss = loss_of(LOSS_gram);
    struct rig rig;
    void *state;
    open_rig(step, &rig);
    assert_ok(loss->create(rig.settings, &rig.shapes, &state));
    loss->begin(state);
    loss->teacher(state,
                  &(struct teacher_view){.taps = rig.teacher, .maps = true, .map_share = 0.7});
    double value =
        loss->student(state, *(const double *)rig.settings,
                      &(struct student_view){.taps = rig.student, .diff_taps = rig.diffs});
    for (int t = 0; t < step->taps; t++) {
        if (loss->uses_tap(state, t)) {
            assert_true(rig.diffs[t].defined);
            assert_padding_is_zero(&rig.diffs[t].tensor);
        }
        if (step->diff[t])
            tensor_to_plain(&rig.diffs[t].tensor, step->diff[t]);
    }
    loss->destroy(state);
    close_rig(step, &rig);
    return value;
}

/* ---- the outside implementation ---- */

static void check_golden(const char *name, const struct layout *layout)
{
    struct golden golden;
    golden_open(&golden, name);
    const struct golden_dims a = golden_dims(&golden, "a"), b = golden_dims(&golden, "b");
    struct step step = {
        .n = a.dims[0],
        .taps = 2,
        .layout = *layout,
        .settings = "",
        .shapes = {{a.dims[1], a.dims[2], a.dims[3]}, {b.dims[1], b.dims[2], b.dims[3]}},
        .student = {golden_floats(&golden, "a", a), golden_floats(&golden, "b", b)},
        .teacher = {golden_floats(&golden, "teacher_a", a), golden_floats(&golden, "teacher_b", b)},
        .diff = {test_malloc(golden_count(&a) * sizeof(float)),
                 test_malloc(golden_count(&b) * sizeof(float))},
    };
    double value = run(&step);
    if (layout->type == PRECISION_F32) {
        golden_check_number(&golden, "loss", value, "loss", 4);
        golden_check(&golden, "grad_a", step.diff[0], "grad", 4);
        golden_check(&golden, "grad_b", step.diff[1], "grad", 4);
    } else { /* maps rounded to 8 bits; their gradients are compared with the twin below */
        assert_float_equal(value / golden_number(&golden, "loss"), 1, 0.01);
    }
    test_free(step.diff[0]);
    test_free(step.diff[1]);
    golden_close(&golden);
}

static void it_agrees_with_the_outside_implementation_in_every_layout(void **state)
{
    static const char *const names[] = {"op_gram_loss_equal_5x7", "op_gram_loss_equal_16x32",
                                        "op_gram_loss_pool2_16x33", "op_gram_loss_pool4_5x7"};
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < LAYOUTS; l++)
            check_golden(names[i], &layouts[l]);
}

/* ---- the twin ---- */

/* What is tried with every norm, pooling, layout and level. */
static const struct row {
    int n, taps;
    struct shape3 shapes[MAX_TAPS];
    const char *pairs;
    int pair_count, chosen[MAX_PAIRS][2];
} rows[] = {
    {3, 2, {{5, 4, 6}, {7, 4, 6}}, "all", 1, {{0, 1}}},
    {2, 2, {{17, 6, 10}, {33, 3, 5}}, "all", 1, {{0, 1}}},
    {2,
     4,
     {{16, 16, 16}, {16, 16, 16}, {32, 8, 8}, {64, 4, 4}},
     "all",
     6,
     {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}},
    {2, 4, {{8, 8, 8}, {9, 8, 8}, {17, 4, 4}, {33, 2, 2}}, "adjacent", 3, {{0, 1}, {1, 2}, {2, 3}}},
    {2, 4, {{8, 8, 8}, {9, 8, 8}, {17, 4, 4}, {33, 2, 2}}, "cross", 3, {{0, 2}, {0, 3}, {1, 3}}},
    {2, 4, {{8, 8, 8}, {9, 8, 8}, {17, 4, 4}, {33, 2, 2}}, "c-a,b-d", 2, {{0, 2}, {1, 3}}},
    {1,
     4,
     {{8, 8, 8}, {9, 8, 8}, {17, 4, 4}, {33, 2, 2}},
     "adjacent,a-d",
     4,
     {{0, 1}, {0, 3}, {1, 2}, {2, 3}}},
    {2, 2, {{8, 2, 2}, {5, 4, 4}}, "all", 1, {{0, 1}}}, /* the later is larger */
    {2, 3, {{3, 12, 12}, {4, 6, 6}, {5, 4, 4}}, "a-b,a-c", 2, {{0, 1}, {0, 2}}}, /* not nested */
    {3, 2, {{40, 1, 1}, {9, 1, 1}}, "all", 1, {{0, 1}}},
    {2, 2, {{4, 4, 8}, {20, 4, 4}}, "all", 1, {{0, 1}}}, /* windows of 1 x 2 */
    /* few positions, many channels: 9 and 36, 1 and 5 */
    {1, 3, {{130, 6, 6}, {144, 6, 6}, {70, 3, 3}}, "all", 3, {{0, 1}, {0, 2}, {1, 2}}},
    {2, 3, {{80, 1, 5}, {33, 1, 5}, {100, 1, 1}}, "all", 3, {{0, 1}, {0, 2}, {1, 2}}},
    {1, 3, {{2, 9, 9}, {3, 3, 3}, {7, 1, 1}}, "all", 3, {{0, 1}, {0, 2}, {1, 2}}},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Numbers that are exact in bf16 and differ within a channel of up to 256 positions, so that no
 * maximum is shared. */
static void fill_map(const struct step *step, int tap, uint32_t which, float *map)
{
    const int positions = step->shapes[tap].h * step->shapes[tap].w;
    uint32_t order[256];
    assert_true(positions <= 256);
    for (int i = 0; i < step->n * step->shapes[tap].c; i++) {
        struct random_stream stream = random_stream(5, RANDOM_TEST, which, (uint32_t)i);
        random_permutation(&stream, (uint32_t)positions, order);
        float offset = (float)(int)random_below(&stream, 1 << 20, 64) - 32;
        for (int p = 0; p < positions; p++)
            *map++ = ((float)order[p] - (float)positions / 2 + offset) / 64;
    }
}

/* A row made into a step with maps of its own. */
static struct step open_row(const struct row *row)
{
    struct step step = {.n = row->n, .taps = row->taps};
    memcpy(step.shapes, row->shapes, sizeof(step.shapes));
    for (int t = 0; t < row->taps; t++) {
        size_t bytes = map_count(&step, t) * sizeof(float);
        float *student = test_malloc(bytes), *teacher = test_malloc(bytes);
        fill_map(&step, t, 2 * (uint32_t)t, student);
        fill_map(&step, t, 2 * (uint32_t)t + 1, teacher);
        step.student[t] = student;
        step.teacher[t] = teacher;
        step.diff[t] = test_malloc(bytes);
    }
    return step;
}

static void close_row(const struct step *step)
{
    for (int t = 0; t < step->taps; t++) {
        test_free((void *)step->student[t]);
        test_free((void *)step->teacher[t]);
        test_free(step->diff[t]);
    }
}

/* The step in the twin's terms. */
struct twin {
    struct gram_problem problem;
    struct gram_map student[MAX_TAPS], teacher[MAX_TAPS];
    double *maps[2 * MAX_TAPS], *diffs[MAX_TAPS];
};

static double *widened(const float *numbers, size_t count)
{
    double *wide = test_malloc(count * sizeof(double));
    for (size_t i = 0; i < count; i++)
        wide[i] = numbers[i];
    return wide;
}

static void open_twin(const struct row *row, const struct step *step, struct twin *twin)
{
    for (int t = 0; t < row->taps; t++) {
        const struct shape3 *s = &row->shapes[t];
        double *student = twin->maps[2 * t] = widened(step->student[t], map_count(step, t));
        double *teacher = twin->maps[2 * t + 1] = widened(step->teacher[t], map_count(step, t));
        twin->student[t] = (struct gram_map){s->c, s->h, s->w, student};
        twin->teacher[t] = (struct gram_map){s->c, s->h, s->w, teacher};
        twin->diffs[t] = test_calloc(map_count(step, t), sizeof(double));
    }
    twin->problem = (struct gram_problem){.n = row->n,
                                          .pair_count = row->pair_count,
                                          .pairs = row->chosen,
                                          .student = twin->student,
                                          .teacher = twin->teacher};
}

static void close_twin(const struct row *row, struct twin *twin)
{
    for (int t = 0; t < row->taps; t++) {
        test_free(twin->maps[2 * t]);
        test_free(twin->maps[2 * t + 1]);
        test_free(twin->diffs[t]);
    }
}

static double twin_value(struct twin *twin, bool diffs)
{
    double value;
    assert_ok(gram_reference(&twin->problem, diffs ? twin->diffs : NULL, &value));
    return value;
}

/* f32: 1e-5 of the largest gradient. bf16: half a unit of the eighth bit of each number more. */
static void compare_diffs(const struct step *step, double *const *wanted, double weight,
                          const char *what)
{
    for (int t = 0; t < step->taps; t++) {
        const size_t count = map_count(step, t);
        double largest = 0;
        for (size_t i = 0; i < count; i++)
            largest = fmax(largest, fabs(weight * wanted[t][i]));
        for (size_t i = 0; i < count; i++) {
            double right = weight * wanted[t][i] + (step->defined ? (double)step->before : 0);
            double allowed = 1e-5 * (largest + fabs(right));
            if (step->layout.type == PRECISION_BF16)
                allowed += fabs(right) / 256;
            if (!(fabs(step->diff[t][i] - right) <= allowed))
                fail_msg("%s: tap %s, number %zu: %.9g found, %.9g wanted", what, tap_names[t], i,
                         (double)step->diff[t][i], right);
        }
    }
}

static void try_layouts(const struct row *row, struct step *step, struct twin *twin, double wanted)
{
    const double weight = 3;
    for (int l = 0; l < LAYOUTS; l++)
        for (int kind = 0; kind < 4; kind++) {
            if (kind / 2 && layouts[l].block != 16)
                continue; /* the layout matters in neither way */
            char what[200], settings[100];
            snprintf(settings, sizeof(settings), "weight=%g,pool=%s,norm=%s,pairs=%s", weight,
                     pool_names[twin->problem.pool], norm_names[twin->problem.norm], row->pairs);
            snprintf(what, sizeof(what), "row %d, %s, %s, block %d, %s, defined %d, matrices %d",
                     (int)(row - rows), settings, layouts[l].type ? "bf16" : "f32",
                     layouts[l].block, cpu_level_name(cpu_level()), kind % 2, kind / 2);
            step->settings = settings;
            step->layout = layouts[l];
            step->defined = kind % 2;
            step->matrices = kind / 2;
            step->before = 0.5f;
            double value = run(step);
            if (!(fabs(value - wanted) <= 1e-5 * wanted))
                fail_msg("%s: value %.9g found, %.9g wanted", what, value, wanted);
            compare_diffs(step, twin->diffs, weight, what);
        }
}

static void every_level_and_layout_agrees_with_the_twin(void **state)
{
    cpu_limit(CPU_LEVEL_COUNT - 1);
    const int best = (int)cpu_level();
    for (int r = 0; r < ROWS; r++)
        for (int kind = 0; kind < 6; kind++) {
            struct step step = open_row(&rows[r]);
            struct twin twin;
            open_twin(&rows[r], &step, &twin);
            twin.problem.norm = (enum gram_norm)(kind / 2);
            twin.problem.pool = (enum gram_pool)(kind % 2);
            const double wanted = twin_value(&twin, true);
            for (int level = 0; level <= best; level++) {
                cpu_limit((enum cpu_level)level);
                try_layouts(&rows[r], &step, &twin, wanted);
            }
            cpu_limit_matrix_units(true);
            try_layouts(&rows[r], &step, &twin, wanted);
            cpu_limit_matrix_units(false);
            close_twin(&rows[r], &twin);
            close_row(&step);
        }
}

/* Along a random direction: the twin's gradient is what its value does. */
static void check_twin(const struct row *row, enum gram_norm norm, enum gram_pool pool)
{
    const double length = 1e-5;
    struct step step = open_row(row);
    struct twin twin;
    open_twin(row, &step, &twin);
    twin.problem.norm = norm;
    twin.problem.pool = pool;
    twin_value(&twin, true);
    double slope = 0, values[2];
    for (int side = 0; side < 2; side++) {
        for (int t = 0; t < row->taps; t++)
            for (size_t i = 0; i < map_count(&step, t); i++) {
                struct random_stream stream = random_stream(6, RANDOM_TEST, (uint32_t)t, 0);
                double direction = random_normal(&stream, i);
                slope += side ? direction * twin.diffs[t][i] : 0;
                twin.maps[2 * t][i] = step.student[t][i] + (side ? length : -length) * direction;
            }
        values[side] = twin_value(&twin, false);
    }
    double found = (values[1] - values[0]) / (2 * length);
    if (!(fabs(found - slope) <= 1e-6 * (fabs(slope) + values[0])))
        fail_msg("row %d, %s, %s: slope %.9g found, gradient says %.9g", (int)(row - rows),
                 norm_names[norm], pool_names[pool], found, slope);
    close_twin(row, &twin);
    close_row(&step);
}

static void the_twins_gradient_is_the_finite_difference(void **state)
{
    for (int r = 0; r < ROWS; r++)
        for (int kind = 0; kind < 6; kind++)
            check_twin(&rows[r], (enum gram_norm)(kind / 2), (enum gram_pool)(kind % 2));
}

/* ---- known by thought ---- */

static void a_student_equal_to_its_teacher_has_no_loss(void **state)
{
    for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < LAYOUTS; l++) {
            struct step step = open_row(&rows[r]);
            char settings[100];
            snprintf(settings, sizeof(settings), "pairs=%s", rows[r].pairs);
            step.settings = settings;
            step.layout = layouts[l];
            const float *teacher[MAX_TAPS];
            for (int t = 0; t < step.taps; t++) {
                teacher[t] = step.teacher[t];
                step.teacher[t] = step.student[t];
            }
            assert_true(run(&step) == 0);
            for (int t = 0; t < step.taps; t++) {
                for (size_t i = 0; i < map_count(&step, t); i++)
                    assert_true(step.diff[t][i] == 0);
                step.teacher[t] = teacher[t];
            }
            close_row(&step);
        }
}

/* A shared maximum gives its gradient to one position of the window. */
static void of_equal_numbers_one_gets_the_gradient(void **state)
{
    float ones[16 * 8 * 8], zeros[16 * 8 * 8] = {0}, diff_a[16 * 8 * 8], diff_b[16 * 2 * 2];
    for (int i = 0; i < 16 * 8 * 8; i++)
        ones[i] = 1;
    struct step step = {.n = 1,
                        .taps = 2,
                        .shapes = {{16, 8, 8}, {16, 2, 2}},
                        .settings = "",
                        .student = {ones, ones},
                        .teacher = {zeros, zeros},
                        .layout = {PRECISION_F32, 16},
                        .diff = {diff_a, diff_b}};
    run(&step);
    for (int c = 0; c < 16; c++) {
        int found = 0;
        for (int p = 0; p < 64; p++)
            found += diff_a[c * 64 + p] != 0;
        assert_int_equal(found, 4);
        assert_true(diff_a[c * 64] != 0 && diff_a[c * 64 + 36] != 0); /* the windows' corners */
    }
}

static double run_teachers(const struct step *step, const struct teacher_view *teachers, int count)
{
    const struct loss *loss = loss_of(LOSS_gram);
    struct rig rig;
    void *state;
    open_rig(step, &rig);
    assert_ok(loss->create(rig.settings, &rig.shapes, &state));
    loss->begin(state);
    for (int i = 0; i < count; i++)
        loss->teacher(state, &teachers[i]);
    double value = loss->student(
        state, 1, &(struct student_view){.taps = rig.student, .diff_taps = rig.diffs});
    loss->destroy(state);
    close_rig(step, &rig);
    return value;
}

/* Tap a times s gives matrices times s: 0.25 * 1 + 0.75 * 3 = 2.5. */
static void several_teachers_count_by_their_shares(void **state)
{
    struct step step = open_row(&rows[0]);
    step.settings = "";
    step.matrices = true;
    step.layout = (struct layout){PRECISION_F32, 8};
    const float scales[] = {1, 3, 2.5};
    struct tensor taps[3][2];
    for (int i = 0; i < 3; i++) {
        float *scaled = test_malloc(map_count(&step, 0) * sizeof(float));
        for (size_t k = 0; k < map_count(&step, 0); k++)
            scaled[k] = scales[i] * step.teacher[0][k];
        taps[i][0] = new_tensor(&step, 0, scaled);
        taps[i][1] = new_tensor(&step, 1, step.teacher[1]);
        test_free(scaled);
    }
    const struct teacher_view two[] = {{.taps = taps[0], .maps = true, .map_share = 0.25},
                                       {.taps = taps[1], .maps = true, .map_share = 0.75},
                                       {.taps = taps[1], .maps = false, .map_share = 0.5}};
    const struct teacher_view mean[] = {{.taps = taps[2], .maps = true, .map_share = 1}};
    const struct teacher_view unshared[] = {{.taps = taps[2], .maps = true, .map_share = 0}};
    double wanted = run_teachers(&step, mean, 1);
    assert_float_equal(run_teachers(&step, two, 3) / wanted, 1, 1e-5);
    assert_true(run_teachers(&step, unshared, 1) == wanted);
    for (int i = 0; i < 6; i++)
        free(taps[i / 2][i % 2].data);
    close_row(&step);
}

static void threads_change_nothing(void **state)
{
    struct row row = rows[2];
    row.n = 7;
    struct step one = open_row(&row), three = open_row(&row);
    one.settings = three.settings = "norm=sskd";
    one.layout = three.layout = (struct layout){PRECISION_F32, 16};
    omp_set_num_threads(1);
    double a = run(&one);
    omp_set_num_threads(3);
    double b = run(&three);
    omp_set_num_threads(2);
    assert_true(a == b);
    for (int t = 0; t < row.taps; t++)
        assert_memory_equal(one.diff[t], three.diff[t], map_count(&one, t) * sizeof(float));
    close_row(&one);
    close_row(&three);
}

/* ---- refusals ---- */

static void refused(const char *settings, const struct shape3 *student,
                    const struct shape3 *teacher, const char *sentence)
{
    const struct loss *loss = loss_of(LOSS_gram);
    const char *const names[] = {"stem", "stage1", "stage2"};
    struct tensor maps[2][3];
    struct arena arena = {0};
    void *chosen = arena_get(&arena, loss->settings->bytes), *state = NULL;
    assert_non_null(chosen);
    for (int t = 0; t < 3; t++) {
        maps[0][t] =
            (struct tensor){PRECISION_F32, 2, student[t].c, student[t].h, student[t].w, 16, NULL};
        maps[1][t] =
            (struct tensor){PRECISION_F32, 2, teacher[t].c, teacher[t].h, teacher[t].w, 16, NULL};
    }
    const struct loss_shapes shapes = {.n = 2,
                                       .classes = 10,
                                       .tap_count = 3,
                                       .tap_names = names,
                                       .student_taps = maps[0],
                                       .teacher_taps = maps[1]};
    assert_ok(settings_parse(loss->settings, chosen, "gram", settings, &arena));
    assert_fails(loss->create(chosen, &shapes, &state), RETORT_INVALID, sentence);
    assert_null(state);
    arena_release(&arena);
}

static void shapes_and_pairs_that_do_not_fit_are_refused(void **state)
{
    const struct shape3 good[] = {{16, 8, 8}, {16, 8, 8}, {32, 4, 4}};
    const struct shape3 wide[] = {{16, 8, 8}, {8, 8, 8}, {32, 4, 4}};
    const struct shape3 odd[] = {{16, 8, 8}, {16, 8, 8}, {32, 3, 3}};
    const struct shape3 small[] = {{16, 4, 4}, {16, 4, 4}, {32, 2, 2}};
    refused("pairs=stem-stage9", good, good,
            "stem-stage9: there is no tap \"stage9\", taps are stem, stage1, stage2");
    refused("pairs=block1-stem", good, good, "there is no tap \"block1\"");
    refused("pairs=everything", good, good, "\"everything\" found, all, adjacent, cross or two");
    refused("pairs=stem-stem", good, good, "stem-stem: a tap cannot be paired with itself");
    refused("pairs=[stem-stage1, stage1-stem]", good, good, "this pair is given twice");
    refused("pairs=[]", good, good, "an empty list gives no pair");
    refused("", wide, good, "taps stage1 differ: student 8, teacher 16 channels");
    refused("", odd, odd, "the student's taps stem (8x8) and stage2 (3x3) do not divide");
    refused("", good, odd, "the teacher's taps stem (8x8) and stage2 (3x3) do not divide");
    refused("", good, small, "taps stem and stage1 meet at 8x8 in the student, 4x4 in the teacher");
}

/* Only what enters a matrix must fit. */
static void unused_taps_may_differ(void **state)
{
    const char *const names[] = {"stem", "stage1", "stage2"};
    struct tensor student[] = {{PRECISION_F32, 1, 8, 4, 4, 8, NULL},
                               {PRECISION_F32, 1, 8, 4, 4, 8, NULL},
                               {PRECISION_F32, 1, 9, 3, 3, 8, NULL}};
    struct tensor teacher[] = {{PRECISION_F32, 1, 8, 8, 8, 16, NULL},
                               {PRECISION_F32, 1, 8, 4, 4, 16, NULL},
                               {PRECISION_F32, 1, 7, 5, 5, 16, NULL}};
    const struct loss *loss = loss_of(LOSS_gram);
    const struct loss_shapes shapes = {.n = 1,
                                       .classes = 10,
                                       .tap_count = 3,
                                       .tap_names = names,
                                       .student_taps = student,
                                       .teacher_taps = teacher};
    struct arena arena = {0};
    void *chosen = arena_get(&arena, loss->settings->bytes), *made;
    assert_non_null(chosen);
    assert_ok(settings_parse(loss->settings, chosen, "gram", "pairs=stem-stage1", &arena));
    assert_ok(loss->create(chosen, &shapes, &made));
    assert_true(loss->uses_tap(made, 0) && loss->uses_tap(made, 1) && !loss->uses_tap(made, 2));
    loss->destroy(made);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_the_outside_implementation_in_every_layout),
        cmocka_unit_test(every_level_and_layout_agrees_with_the_twin),
        cmocka_unit_test(the_twins_gradient_is_the_finite_difference),
        cmocka_unit_test(a_student_equal_to_its_teacher_has_no_loss),
        cmocka_unit_test(of_equal_numbers_one_gets_the_gradient),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(shapes_and_pairs_that_do_not_fit_are_refused),
        cmocka_unit_test(unused_taps_may_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
