/* test_optimizer.c - the update against numbers worked out by hand, and against a twin in double
 * precision on every instruction-set level. */
#include "support.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/random.h"
#include "tiny.h"
#include "train/optimizer.h"

struct fixture {
    struct model model;
    struct executor *executor;
    struct optimizer optimizer;
};

static void open_fixture(int width, const struct recipe_train *train, struct fixture *f)
{
    const struct executor_options options = {.batch = 2, .mode = EXECUTOR_TRAIN};
    tiny_model(width, 1, &f->model);
    assert_ok(executor_create(&f->model.graph, &options, &f->executor));
    assert_ok(executor_bind(f->executor, NULL));
    assert_ok(executor_load(f->executor, &f->model));
    assert_ok(optimizer_create(f->executor, &f->model.graph, train, &f->optimizer));
}

static void close_fixture(struct fixture *f)
{
    optimizer_release(&f->optimizer);
    executor_destroy(f->executor);
    model_release(&f->model);
}

/* The place of a parameter's first number in the flat arrays. */
static size_t place_of(const struct fixture *f, const char *name)
{
    const struct parameter_view *view = &f->optimizer.view;
    for (int i = 0; i < view->segment_count; i++)
        if (view->segments[i].parameter == graph_find_parameter(&f->model.graph, name))
            return view->segments[i].offset;
    fail_msg("%s has no place", name);
    return 0;
}

static void assert_near(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 2e-7 * fmax(1, fabs(wanted))))
        fail_msg("%.9g found, %.9g wanted", found, wanted);
}

/* Two steps of one number: w = 2, gradients 1 and -3, lr 0.1, momentum 0.5, decay 0.25.
 *   step 1   g = 1 + 0.25 * 2 = 1.5       v = 1.5
 *            plain w = 1.85               Nesterov w = 2 - 0.1 (1.5 + 0.75) = 1.775
 *   step 2   plain g = -3 + 0.4625 = -2.5375, v = -1.7875, w = 2.02875
 *            Nesterov g = -2.55625, v = -1.80625, w = 1.775 + 0.1 (2.55625 + 0.903125) = 2.1209375
 */
static void two_steps_are_as_worked_out_by_hand(void **state)
{
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        const struct recipe_train train = {
            .momentum = 0.5, .weight_decay = 0.25, .nesterov = nesterov, .decay = DECAY_ALL};
        struct fixture f;
        open_fixture(4, &train, &f);
        const struct parameter_view *view = &f.optimizer.view;
        const size_t at = place_of(&f, "fc.weight");
        memset(view->gradients, 0, view->count * sizeof(float));
        view->values[at] = 2;
        view->gradients[at] = 1;
        optimizer_step(&f.optimizer, 0.1, 1);
        assert_near(view->values[at], nesterov ? 1.775 : 1.85);
        view->gradients[at] = -3;
        optimizer_step(&f.optimizer, 0.1, 1);
        assert_near(f.optimizer.velocity[at], nesterov ? -1.80625 : -1.7875);
        assert_near(view->values[at], nesterov ? 2.1209375 : 2.02875);
        close_fixture(&f);
    }
}

/* Gradient 0, lr 1, no momentum: what decays halves. */
static void decay_reaches_all_parameters_or_the_weights_alone(void **state)
{
    static const struct {
        const char *name;
        bool weight;
    } rows[] = {{"conv1.weight", true}, {"conv2.weight", true}, {"fc.weight", true},
                {"bn1.weight", false},  {"bn2.bias", false},    {"fc.bias", false}};
    for (int scope = DECAY_ALL; scope <= DECAY_WEIGHTS; scope++) {
        const struct recipe_train train = {.weight_decay = 0.5, .decay = scope};
        struct fixture f;
        open_fixture(4, &train, &f);
        const struct parameter_view *view = &f.optimizer.view;
        memset(view->gradients, 0, view->count * sizeof(float));
        for (size_t i = 0; i < view->count; i++)
            view->values[i] = 1;
        optimizer_step(&f.optimizer, 1, 1);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            assert_near(view->values[place_of(&f, rows[i].name)],
                        rows[i].weight || scope == DECAY_ALL ? 0.5 : 1);
        close_fixture(&f);
    }
}

/* Numbers of the test: the same for the optimizer and its twin. */
static float draw(uint32_t step, size_t i)
{
    const struct random_stream stream = random_stream(5, RANDOM_TEST, step, 0);
    return (float)random_normal(&stream, i);
}

static void run_beside_twin(const struct recipe_train *train)
{
    struct fixture f;
    open_fixture(37, train, &f); /* more than one piece per thread, no multiple of a vector */
    const struct parameter_view *view = &f.optimizer.view;
    double *w = calloc(view->count, sizeof(*w)), *v = calloc(view->count, sizeof(*v));
    for (size_t i = 0; i < view->count; i++)
        w[i] = view->values[i];
    for (uint32_t step = 0; step < 3; step++) {
        const double lr = 0.1 / (step + 1);
        for (int s = 0; s < view->segment_count; s++) {
            const struct parameter_segment *segment = &view->segments[s];
            const bool weight =
                f.model.graph.parameters[segment->parameter].role == PARAMETER_WEIGHT;
            const double decay = train->decay == DECAY_ALL || weight ? train->weight_decay : 0;
            for (size_t i = segment->offset; i < segment->offset + segment->count; i++) {
                view->gradients[i] = draw(step, i);
                const double g = 0.75 * view->gradients[i] + decay * w[i];
                v[i] = train->momentum * v[i] + g;
                w[i] -= lr * (train->nesterov ? g + train->momentum * v[i] : v[i]);
            }
        }
        optimizer_step(&f.optimizer, lr, 0.75);
    }
    for (size_t i = 0; i < view->count; i++) {
        assert_true(fabs(view->values[i] - w[i]) <= 1e-6 * fmax(1, fabs(w[i])));
        assert_true(fabs(f.optimizer.velocity[i] - v[i]) <= 1e-6 * fmax(1, fabs(v[i])));
    }
    free(w);
    free(v);
    close_fixture(&f);
}

static void every_level_equals_the_twin(void **state)
{
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++)
        for (int options = 0; options < 8; options++) {
            const struct recipe_train train = {.momentum = options & 1 ? 0.9 : 0,
                                               .nesterov = options & 2,
                                               .decay = options & 4 ? DECAY_WEIGHTS : DECAY_ALL,
                                               .weight_decay = 0.02};
            cpu_limit((enum cpu_level)level);
            run_beside_twin(&train);
        }
}

/* The norm is that of what trains: 1e-3 everywhere, but for a parameter that does not. */
static void a_gradient_above_the_limit_is_scaled_down_to_it(void **state)
{
    const int threads = omp_get_max_threads();
    const struct recipe_train train = {.clip_norm = 0.05};
    bool frozen[64] = {0};
    struct fixture f;
    open_fixture(70, &train, &f); /* more pieces than one in the widest parameter */
    const struct parameter_view *view = &f.optimizer.view;
    const int still = graph_find_parameter(&f.model.graph, "conv1.weight");
    size_t count = 0, kept = 0; /* without the gaps between segments */
    for (int i = 0; i < view->segment_count; i++) {
        count += view->segments[i].count;
        kept += view->segments[i].parameter == still ? 0 : view->segments[i].count;
    }
    assert_true(f.model.graph.parameter_count <= 64);
    for (size_t i = 0; i < view->count; i++)
        view->gradients[i] = 1e-3f;
    const double all = optimizer_gradient_norm(&f.optimizer);
    assert_near(all, 1e-3 * sqrt((double)count));
    omp_set_num_threads(1);
    assert_true(optimizer_gradient_norm(&f.optimizer) == all);
    omp_set_num_threads(threads);
    assert_near(optimizer_scale(&f.optimizer, all), 0.05 / all);
    assert_near(optimizer_scale(&f.optimizer, 0.05), 1);
    frozen[still] = true;
    f.optimizer.frozen = frozen;
    assert_near(optimizer_gradient_norm(&f.optimizer), 1e-3 * sqrt((double)kept));
    view->gradients[place_of(&f, "fc.bias")] = NAN;
    assert_true(isnan(optimizer_gradient_norm(&f.optimizer)));
    f.optimizer.clip = 0;
    assert_near(optimizer_scale(&f.optimizer, 1e30), 1);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_steps_are_as_worked_out_by_hand),
        cmocka_unit_test(decay_reaches_all_parameters_or_the_weights_alone),
        cmocka_unit_test(every_level_equals_the_twin),
        cmocka_unit_test(a_gradient_above_the_limit_is_scaled_down_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
