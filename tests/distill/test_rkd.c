/* test_rkd.c - relational distillation: against the formula on embedded vectors, by hand, and in
 * every layout. */
#include "loss_step.h"

#include <math.h>
#include <string.h>

static struct loss_step new_step(const char *settings, int n, int teachers)
{
    struct loss_step step = {.kind = LOSS_rkd,
                             .settings = settings,
                             .n = n,
                             .classes = 4,
                             .tap_count = 2,
                             .student_maps = {{3, 2, 2}, {9, 2, 3}},
                             .teacher_maps = {{5, 4, 4}, {18, 1, 2}},
                             .teacher_count = teachers};
    loss_step_open(&step);
    return step;
}

/* ---- the formula, on vectors ---- */

enum { MOST = 24 };

struct embedded {
    int n, size;
    double e[MOST][MOST];
};

static struct embedded embed_tap(const struct loss_step *step, const struct loss_step_map *map,
                                 const float *plain)
{
    struct embedded embedded = {.n = step->n, .size = map->c};
    const int positions = map->h * map->w;
    for (int i = 0; i < step->n * map->c * positions; i++)
        embedded.e[i / (map->c * positions)][i / positions % map->c] +=
            (double)plain[i] / positions;
    return embedded;
}

static struct embedded embed_logits(const struct loss_step *step, const float *logits)
{
    struct embedded embedded = {.n = step->n, .size = step->classes};
    for (int i = 0; i < step->n * step->classes; i++)
        embedded.e[i / step->classes][i % step->classes] = logits[i];
    return embedded;
}

static double distance(const struct embedded *v, int i, int j)
{
    double sum = 0;
    for (int c = 0; c < v->size; c++)
        sum += pow(v->e[i][c] - v->e[j][c], 2);
    return sqrt(sum);
}

static double mean_distance(const struct embedded *v)
{
    double sum = 0;
    int count = 0;
    for (int i = 0; i < v->n; i++)
        for (int j = 0; j < i; j++) {
            sum += distance(v, i, j);
            count += distance(v, i, j) > 0;
        }
    return sum / count;
}

static double angle(const struct embedded *v, int i, int j, int k)
{
    double sum = 0;
    if (distance(v, i, j) == 0 || distance(v, k, j) == 0)
        return 0;
    for (int c = 0; c < v->size; c++)
        sum += (v->e[i][c] - v->e[j][c]) / distance(v, i, j) * (v->e[k][c] - v->e[j][c]) /
               distance(v, k, j);
    return sum;
}

static double huber(double x)
{
    return x * x <= 1 ? x * x / 2 : sqrt(x * x) - 0.5;
}

/* distance and angle parts, of a student and up to two teachers */
static void reference(const struct embedded *student, const struct embedded *teachers,
                      const double *shares, int count, double parts[2])
{
    const int n = student->n;
    parts[0] = parts[1] = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double gap = distance(student, i, j) / mean_distance(student);
            for (int m = 0; m < count; m++)
                gap -= shares[m] * distance(&teachers[m], i, j) / mean_distance(&teachers[m]);
            parts[0] += huber(gap) / (n * n);
            for (int k = 0; k < n; k++) {
                double turn = angle(student, i, j, k);
                for (int m = 0; m < count; m++)
                    turn -= shares[m] * angle(&teachers[m], i, j, k);
                parts[1] += huber(turn) / (n * n * n);
            }
        }
}

static void it_is_the_formula_of_the_paper(void **state)
{
    static const struct {
        const char *settings;
        int tap; /* -1: logits */
        double distance, angle;
    } rows[] = {
        {"", 1, 25, 50},
        {"tap=a,distance=2,angle=0", 0, 2, 0},
        {"distance=0,angle=3", 1, 0, 3},
        {"on=logits,distance=1,angle=2", -1, 1, 2},
    };
    const double all = 1;
    for (int r = 0; r < 4; r++) {
        struct loss_step step = new_step(rows[r].settings, 6, 1);
        const int tap = rows[r].tap;
        struct embedded student = embed_logits(&step, step.logits);
        struct embedded teacher = embed_logits(&step, step.teachers[0].logits);
        double parts[2];
        if (tap >= 0) {
            student = embed_tap(&step, &step.student_maps[tap], step.taps[tap]);
            teacher = embed_tap(&step, &step.teacher_maps[tap], step.teachers[0].taps[tap]);
        }
        reference(&student, &teacher, &all, 1, parts);
        const double wanted = rows[r].distance * parts[0] + rows[r].angle * parts[1];
        assert_float_equal(loss_step_run(&step) / wanted, 1, 1e-6);
        loss_step_close(&step);
    }
}

/* Student: 0, 1, 3 on a line, distances 1, 2, 3, mean 2. Teacher: 0, 2, 3: 2, 1, 3, mean 2. So two
 * of six pairs differ by +1/2, two by -1/2: 4 * 1/8 / 9. All angles are 0 or 180 degrees and the
 * same three are flat. */
static void a_value_by_hand(void **state)
{
    struct loss_step step = {.kind = LOSS_rkd,
                             .settings = "",
                             .n = 3,
                             .classes = 2,
                             .tap_count = 1,
                             .student_maps = {{1, 1, 1}},
                             .teacher_maps = {{1, 1, 1}},
                             .teacher_count = 1};
    loss_step_open(&step);
    memcpy(step.taps[0], (const float[]){0, 1, 3}, 3 * sizeof(float));
    memcpy(step.teachers[0].taps[0], (const float[]){0, 2, 3}, 3 * sizeof(float));
    assert_float_equal(loss_step_run(&step), 25 * 4.0 / 8 / 9, 1e-9);
    /* the middle one becomes another: at 1 it was 180 degrees and is 0, at 0 the reverse */
    memcpy(step.teachers[0].taps[0], (const float[]){2, 0, 4}, 3 * sizeof(float));
    step.settings = "distance=0,angle=54";
    assert_float_equal(loss_step_run(&step), 54 * 4 * 1.5 / 27, 1e-6);
    loss_step_close(&step);
}

static void several_teachers_count_by_their_shares(void **state)
{
    const double shares[] = {0.25, 0.75};
    struct loss_step step = new_step("distance=1,angle=2", 5, 2);
    struct embedded student = embed_tap(&step, &step.student_maps[1], step.taps[1]);
    struct embedded teachers[2];
    double parts[2];
    for (int m = 0; m < 2; m++) {
        step.teachers[m].share = shares[m];
        teachers[m] = embed_tap(&step, &step.teacher_maps[1], step.teachers[m].taps[1]);
    }
    reference(&student, teachers, shares, 2, parts);
    assert_float_equal(loss_step_run(&step) / (parts[0] + 2 * parts[1]), 1, 1e-6);
    /* one whose maps are not used counts in relations of logits only */
    step.teachers[1].mute = true;
    reference(&student, teachers, (const double[]){1}, 1, parts);
    assert_float_equal(loss_step_run(&step) / (parts[0] + 2 * parts[1]), 1, 1e-6);
    step.settings = "on=logits,distance=1,angle=2";
    student = embed_logits(&step, step.logits);
    for (int m = 0; m < 2; m++)
        teachers[m] = embed_logits(&step, step.teachers[m].logits);
    reference(&student, teachers, shares, 2, parts);
    assert_float_equal(loss_step_run(&step) / (parts[0] + 2 * parts[1]), 1, 1e-6);
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    static const char *const settings[] = {"", "weight=0.1,angle=0", "distance=0,tap=a",
                                           "on=logits,weight=3"};
    for (int s = 0; s < 4; s++) {
        struct loss_step step = new_step(settings[s], 5, 2);
        step.teachers[0].share = 0.25;
        step.teachers[1].share = 0.75;
        loss_step_check_gradient(&step, 3e-4);
        loss_step_close(&step);
    }
}

static void layouts_and_precisions_agree(void **state)
{
    struct loss_step step = new_step("weight=10", 4, 1);
    loss_step_check_layouts(&step);
    loss_step_close(&step);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("", 13, 1);
    loss_step_check_threads(&step);
    step.settings = "on=logits";
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

/* The same picture, moved, turned (channels swapped) and enlarged. */
static void place_turn_and_size_do_not_matter(void **state)
{
    struct loss_step step = new_step("on=logits", 6, 1);
    for (int i = 0; i < 24; i++)
        step.teachers[0].logits[i] = 4 * step.logits[i / 4 * 4 + (i + 1) % 4] + 7;
    assert_float_equal(loss_step_run(&step), 0, 1e-12);
    for (int i = 0; i < 24; i++)
        assert_float_equal(step.diff_logits[i], 0, 1e-6);
    loss_step_close(&step);
}

static void images_that_coincide_give_finite_gradients(void **state)
{
    struct loss_step step = new_step("", 5, 1);
    const size_t image = 9 * 6;
    memcpy(step.taps[1], step.taps[1] + image, image * sizeof(float));
    loss_step_check_finite(&step); /* two of them, in the student */
    memcpy(step.taps[1] + image, step.taps[1], image * sizeof(float));
    step.taps[1][0] += 1e-7f * step.taps[1][0]; /* or nearly */
    loss_step_check_finite(&step);
    memset(step.teachers[0].taps[1], 0, 2 * 36 * sizeof(float));
    loss_step_check_finite(&step);
    memset(step.taps[1], 0, 5 * image * sizeof(float)); /* all of them */
    loss_step_check_finite(&step);
    loss_step_close(&step);
    struct loss_step one = new_step("", 1, 1);
    loss_step_check_finite(&one);
    assert_true(loss_step_run(&one) == 0);
    loss_step_close(&one);
}

static void settings_and_shapes_that_do_not_fit_are_refused(void **state)
{
    struct loss_step step = {.kind = LOSS_rkd,
                             .settings = "tap=e",
                             .n = 2,
                             .classes = 3,
                             .tap_count = 2,
                             .student_maps = {{3, 8, 8}, {3, 4, 4}},
                             .teacher_maps = {{3, 8, 8}, {6, 4, 4}}};
    loss_step_refused(&step, "rkd.tap: there is no tap \"e\", taps are a, b");
    step.settings = "";
    step.tap_count = 0;
    loss_step_refused(&step, "rkd.tap: no taps found");
    loss_step_refused_settings(LOSS_rkd, "on=embedding", "one of tap, logits");
    loss_step_refused_settings(LOSS_rkd, "distance=-1", "distance: -1 found");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_formula_of_the_paper),
        cmocka_unit_test(a_value_by_hand),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(layouts_and_precisions_agree),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(place_turn_and_size_do_not_matter),
        cmocka_unit_test(images_that_coincide_give_finite_gradients),
        cmocka_unit_test(settings_and_shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
