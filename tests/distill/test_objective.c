/* test_objective.c - the sum of losses: values of whole distillation steps, gradients that add up,
 * gradients that nobody gave. */
#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "distill/objective.h"

enum { TAPS = 4, CLASSES = 10 };
static const char *const tap_names[TAPS] = {"stem", "stage1", "stage2", "stage3"};

/* Settings of the losses from texts; NULL: takes no part. */
static void choose(const char *const texts[LOSS_COUNT], const void *settings[LOSS_COUNT],
                   struct arena *arena)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        settings[kind] = NULL;
        if (!texts[kind])
            continue;
        const struct setting_table *table = loss_of((enum loss_kind)kind)->settings;
        void *made = arena_get(arena, table->bytes);
        assert_non_null(made);
        assert_ok(settings_parse(table, made, table->name, texts[kind], arena));
        settings[kind] = made;
    }
}

/* The maps of one network of a case, in blocks of 8. */
static void open_taps(const struct golden *golden, const char *network, struct tensor taps[TAPS])
{
    for (int t = 0; t < TAPS; t++) {
        char name[64];
        snprintf(name, sizeof(name), "%s.tap.%s", network, tap_names[t]);
        struct golden_dims d = golden_dims(golden, name);
        taps[t] =
            (struct tensor){PRECISION_F32, d.dims[0], d.dims[1], d.dims[2], d.dims[3], 8, NULL};
        assert_ok(memory_aligned(tensor_bytes(&taps[t]), &taps[t].data));
        tensor_from_plain(golden_floats(golden, name, d), &taps[t]);
    }
}

static void close_taps(struct tensor taps[TAPS])
{
    for (int t = 0; t < TAPS; t++)
        free(taps[t].data);
}

/* A step on a golden case. */
struct rig {
    struct golden golden;
    int n;
    struct tensor student[TAPS], teacher[TAPS];
    struct gradient diffs[TAPS];
    float *diff_logits;
    struct loss_shapes shapes;
    struct arena arena;
};

static void open_rig(struct rig *rig, const char *name)
{
    memset(rig, 0, sizeof(*rig));
    golden_open(&rig->golden, name);
    open_taps(&rig->golden, "student", rig->student);
    open_taps(&rig->golden, "teacher1", rig->teacher);
    rig->n = rig->student[0].n;
    for (int t = 0; t < TAPS; t++) {
        rig->diffs[t] = (struct gradient){rig->student[t], true}; /* a lie that must not matter */
        assert_ok(memory_aligned(tensor_bytes(&rig->student[t]), &rig->diffs[t].tensor.data));
        memset(rig->diffs[t].tensor.data, 0xff, tensor_bytes(&rig->student[t]));
    }
    size_t bytes = (size_t)rig->n * CLASSES * sizeof(float);
    rig->diff_logits = test_malloc(bytes);
    memset(rig->diff_logits, 0xff, bytes);
    rig->shapes = (struct loss_shapes){.n = rig->n,
                                       .classes = CLASSES,
                                       .tap_count = TAPS,
                                       .tap_names = tap_names,
                                       .student_taps = rig->student,
                                       .teacher_taps = rig->teacher};
}

static void close_rig(struct rig *rig)
{
    close_taps(rig->student);
    close_taps(rig->teacher);
    for (int t = 0; t < TAPS; t++)
        free(rig->diffs[t].tensor.data);
    test_free(rig->diff_logits);
    arena_release(&rig->arena);
    golden_close(&rig->golden);
}

static struct objective *new_objective(struct rig *rig, const char *ce, const char *kl,
                                       const char *gram)
{
    const void *settings[LOSS_COUNT];
    struct objective *objective;
    const char *const texts[LOSS_COUNT] = {[LOSS_ce] = ce, [LOSS_kl] = kl, [LOSS_gram] = gram};
    choose(texts, settings, &rig->arena);
    assert_ok(objective_create(settings, &rig->shapes, &objective));
    return objective;
}

static struct objective_value run(struct rig *rig, struct objective *objective)
{
    const struct golden_dims dims = GOLDEN_DIMS(rig->n, CLASSES);
    const bool two = golden_has(&rig->golden, "teacher2.logits");
    objective_begin(objective);
    objective_teacher(objective,
                      &(struct teacher_view){golden_floats(&rig->golden, "teacher1.logits", dims),
                                             rig->teacher, two ? 0.25 : 1, true});
    if (two)
        objective_teacher(
            objective, &(struct teacher_view){golden_floats(&rig->golden, "teacher2.logits", dims),
                                              NULL, 0.75, false});
    const struct student_view student = {
        .logits = golden_floats(&rig->golden, "student.logits", dims),
        .labels = golden_ints(&rig->golden, "labels", GOLDEN_DIMS(rig->n)),
        .diff_logits = rig->diff_logits,
        .taps = rig->student,
        .diff_taps = rig->diffs,
    };
    return objective_student(objective, &student, 0);
}

static void check_golden(const char *name)
{
    struct rig rig;
    open_rig(&rig, name);
    struct objective *objective = new_objective(&rig, "", "", "");
    struct objective_value value = run(&rig, objective);
    golden_check_number(&rig.golden, "loss.ce", value.raw[LOSS_ce], "loss", 4);
    golden_check_number(&rig.golden, "loss.kl", value.raw[LOSS_kl], "loss", 4);
    golden_check_number(&rig.golden, "loss.gram", value.raw[LOSS_gram], "loss", 4);
    golden_check_number(&rig.golden, "loss.total", value.total, "loss", 4);
    objective_destroy(objective);
    close_rig(&rig);
}

static void values_agree_with_the_outside_implementation(void **state)
{
    check_golden("distill_one_teacher");
    check_golden("distill_two_teachers");
}

static void every_pair_agrees_with_the_outside_implementation(void **state)
{
    struct rig rig;
    open_rig(&rig, "distill_one_teacher");
    for (int a = 0; a < TAPS; a++)
        for (int b = a + 1; b < TAPS; b++) {
            char settings[64], key[64];
            snprintf(settings, sizeof(settings), "pairs=%s-%s", tap_names[a], tap_names[b]);
            snprintf(key, sizeof(key), "loss.gram.%s-%s", tap_names[a], tap_names[b]);
            struct objective *objective = new_objective(&rig, NULL, NULL, settings);
            golden_check_number(&rig.golden, key, run(&rig, objective).total, "loss", 4);
            objective_destroy(objective);
        }
    close_rig(&rig);
}

/* Gradient and value of the sum from those of the parts. */
static void it_is_the_weighted_sum_of_its_losses(void **state)
{
    static const char *const parts[][3] = {
        /* ce, kl, gram */
        {"weight=0.5", "weight=3,temperature=2", "weight=7,norm=sskd"},
        {"weight=0.5", NULL, NULL},
        {NULL, "weight=3,temperature=2", NULL},
        {NULL, NULL, "weight=7,norm=sskd"},
    };
    struct rig rig;
    open_rig(&rig, "distill_two_teachers");
    const size_t logits = (size_t)rig.n * CLASSES, map = tensor_count(&rig.student[1]);
    float *sum = test_calloc(logits, sizeof(float)), *all = test_malloc(logits * sizeof(float));
    float *map_all = test_malloc(map * sizeof(float));
    struct objective_value together = {0};
    double total = 0;
    for (int i = 0; i < 4; i++) {
        struct objective *objective = new_objective(&rig, parts[i][0], parts[i][1], parts[i][2]);
        struct objective_value value = run(&rig, objective);
        if (i == 0) {
            together = value;
            memcpy(all, rig.diff_logits, logits * sizeof(float));
            memcpy(map_all, rig.diffs[1].tensor.data, map * sizeof(float));
        } else {
            total += value.total;
            assert_true(value.raw[i - 1] == together.raw[i - 1]);
            for (size_t k = 0; k < logits; k++)
                sum[k] += rig.diff_logits[k];
        }
        objective_destroy(objective);
    }
    assert_float_equal(together.total, total, 1e-9);
    assert_float_equal(together.total,
                       0.5 * together.raw[LOSS_ce] + 3 * together.raw[LOSS_kl] +
                           7 * together.raw[LOSS_gram],
                       1e-9);
    assert_true(support_difference(sum, all, logits) < 1e-6);
    assert_memory_equal(map_all, rig.diffs[1].tensor.data, map * sizeof(float)); /* Gram's alone */
    test_free(map_all);
    test_free(all);
    test_free(sum);
    close_rig(&rig);
}

static void it_says_which_taps_and_teachers_it_needs(void **state)
{
    struct rig rig;
    open_rig(&rig, "distill_one_teacher");
    struct objective *plain = new_objective(&rig, "", NULL, NULL);
    struct objective *kd = new_objective(&rig, "", "", NULL);
    struct objective *pair = new_objective(&rig, NULL, NULL, "pairs=stem-stage2");
    assert_false(objective_needs_teacher(plain));
    assert_true(objective_needs_teacher(kd) && objective_needs_teacher(pair));
    for (int t = 0; t < TAPS; t++) {
        assert_false(objective_uses_tap(plain, t) || objective_uses_tap(kd, t));
        assert_int_equal(objective_uses_tap(pair, t), t == 0 || t == 2);
    }
    objective_destroy(plain);
    objective_destroy(kd);
    objective_destroy(pair);
    close_rig(&rig);
}

static void taps_that_are_not_used_are_not_touched(void **state)
{
    struct rig rig;
    open_rig(&rig, "distill_one_teacher");
    rig.diffs[1].tensor.data = (free(rig.diffs[1].tensor.data), NULL);
    rig.diffs[3].tensor.data = (free(rig.diffs[3].tensor.data), NULL);
    struct objective *objective = new_objective(&rig, "", "", "pairs=stem-stage2");
    run(&rig, objective);
    assert_true(rig.diffs[0].defined && rig.diffs[2].defined);
    objective_destroy(objective);
    close_rig(&rig);
}

static void a_loss_without_its_teacher_is_refused(void **state)
{
    struct arena arena = {0};
    const void *settings[LOSS_COUNT];
    struct objective *objective = NULL;
    const struct loss_shapes shapes = {.n = 2, .classes = 3};
    choose((const char *const[LOSS_COUNT]){[LOSS_ce] = "", [LOSS_kl] = ""}, settings, &arena);
    assert_fails(objective_create(settings, &shapes, &objective), RETORT_INVALID,
                 "the loss kl needs a teacher");
    assert_null(objective);
    choose((const char *const[LOSS_COUNT]){[LOSS_ce] = ""}, settings, &arena);
    assert_ok(objective_create(settings, &shapes, &objective));
    objective_destroy(objective);
    objective_destroy(NULL);
    arena_release(&arena);
}

static void every_kind_has_a_name_and_a_weight(void **state)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        assert_non_null(loss->name);
        assert_string_equal(loss->settings->rows[0].name, "weight");
        assert_int_equal(loss->settings->rows[0].offset, 0);
        assert_int_equal(loss->settings->rows[0].type, SETTING_NUMBER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_agree_with_the_outside_implementation),
        cmocka_unit_test(every_pair_agrees_with_the_outside_implementation),
        cmocka_unit_test(it_is_the_weighted_sum_of_its_losses),
        cmocka_unit_test(it_says_which_taps_and_teachers_it_needs),
        cmocka_unit_test(taps_that_are_not_used_are_not_touched),
        cmocka_unit_test(a_loss_without_its_teacher_is_refused),
        cmocka_unit_test(every_kind_has_a_name_and_a_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
