/* test_trainer.c - the loop: it learns, it repeats bit for bit, it leaves the teacher alone, and it
 * refuses what does not fit.
 *
 * The trainer's inside is included, because one test damages the teacher behind its back. */
#include "support.h"

#include <math.h>

#include "distill/adapter.h"
#include "nn/op/op.h"
#include "tiny.h"
#include "training_fixture.h"
#include "train/trainer.c"

static void the_loss_goes_down_where_there_is_something_to_learn(void **state)
{
    struct fixture f;
    fixture_open(&f);
    f.losses[LOSS_kl] = f.losses[LOSS_gram] = NULL;
    f.setup.teacher_count = 0;
    double first = fixture_train(&f.setup, 1).value.total;
    struct training_report last = fixture_train(&f.setup, 8);
    assert_true(last.value.total < 0.5 * first);
    assert_true(last.accuracy > 80);
    assert_int_equal(last.images, TRAIN_IMAGES / BATCH * BATCH);
    fixture_close(&f);
}

static void a_student_comes_nearer_to_its_teacher(void **state)
{
    struct fixture f;
    fixture_open(&f);
    f.losses[LOSS_ce] = NULL;
    struct training_report first = fixture_train(&f.setup, 1), last = fixture_train(&f.setup, 8);
    assert_true(last.value.raw[LOSS_kl] < first.value.raw[LOSS_kl]);
    assert_true(last.value.raw[LOSS_gram] < 0.5 * first.value.raw[LOSS_gram]);
    fixture_close(&f);
}

static void students_of_equal_seeds_are_bit_equal(void **state)
{
    struct fixture a, b;
    const char *augment[] = {"flip", "crop"};
    fixture_open(&a);
    fixture_open(&b);
    a.data.augment = b.data.augment = (struct text_list){2, augment};
    b.data.loader_threads = 3;
    fixture_train(&a.setup, 2);
    fixture_train(&b.setup, 2);
    tiny_assert_equal(&a.student, &b.student);
    fixture_close(&a);
    fixture_close(&b);
}

static void students_of_different_seeds_are_not(void **state)
{
    struct fixture a, b;
    fixture_open(&a);
    fixture_open(&b);
    b.setup.seed++;
    fixture_train(&a.setup, 1);
    fixture_train(&b.setup, 1);
    assert_true(model_hash(&a.student) != model_hash(&b.student));
    fixture_close(&a);
    fixture_close(&b);
}

static void the_teacher_is_not_written_to_and_a_change_is_noticed(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    fixture_open(&f);
    const uint64_t model = model_hash(&f.teacher);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_ok(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report));
    assert_true(trainer_teachers_intact(trainer));
    assert_true(model_hash(&f.teacher) == model);
    struct parameter_view view = executor_parameters(trainer->teachers[0].executor);
    for (int i = 0; i < view.segment_count; i++) {
        float *value = &view.values[view.segments[i].offset], kept = *value;
        *value += 1e-6f + *value * 1e-6f;
        assert_false(trainer_teachers_intact(trainer));
        *value = kept;
        assert_true(trainer_teachers_intact(trainer));
    }
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* Frozen networks have no gradients, and need less memory than the same network in training. */
static void teachers_hold_nothing_for_training(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    fixture_open(&f);
    f.setup.teacher_count = 2;
    assert_ok(trainer_create(&f.setup, &trainer));
    for (int i = 0; i < 2; i++) {
        assert_null(executor_parameters(trainer->teachers[i].executor).gradients);
        assert_true(executor_workspace(trainer->teachers[i].executor) <
                    executor_workspace(trainer->students[0].executor));
    }
    assert_non_null(executor_parameters(trainer->students[0].executor).gradients);
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* As it does for each stage. */
static void a_trainer_begins_at_rest(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    fixture_open(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    for (size_t i = 0; i < trainer->optimizers[0].view.count; i++)
        assert_true(trainer->optimizers[0].velocity[i] == 0);
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* Also for the first batch, which nobody has read ahead. */
static void the_time_that_training_waits_is_told(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    fixture_open(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    for (int epoch = 0; epoch < 2; epoch++) {
        assert_ok(trainer_epoch(trainer, epoch, NULL, NULL, NULL, &report));
        assert_true(report.waited > 0);
        assert_true(report.waited < report.seconds);
        assert_true(training_waited_percent(&report) > 0);
        assert_true(training_waited_percent(&report) < 100);
    }
    trainer_destroy(trainer);
    fixture_close(&f);
}

static enum retort_status stop_at_three(void *context, const struct training_report *report)
{
    assert_int_equal(report->step, ++*(long *)context);
    assert_int_equal(report->images, report->step * BATCH);
    return report->step == 3 ? fail(RETORT_STOPPED, "three") : RETORT_OK;
}

static void a_listener_sees_every_step_and_stops_the_epoch(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    long seen = 0;
    fixture_open(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_int_equal(trainer_steps(trainer), TRAIN_IMAGES / BATCH);
    assert_fails(trainer_epoch(trainer, 0, NULL, stop_at_three, &seen, &report), RETORT_STOPPED,
                 "three");
    assert_int_equal(seen, 3);
    trainer_destroy(trainer);
    fixture_close(&f);
}

static void a_loss_that_is_not_finite_stops_the_epoch(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    fixture_open(&f);
    f.train.lr = 1e30;
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_fails(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report), RETORT_BACKEND,
                 "not finite");
    assert_non_null(strstr(retort_message(), "(ce "));
    assert_non_null(strstr(retort_message(), ", gram "));
    assert_null(strstr(retort_message(), "dkd")); /* takes no part */
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* A weight of the last layer, so that no ReLU takes it for 0. */
static float *last_weight(const struct trainer *trainer)
{
    const struct parameter_view *view = &trainer->optimizers[0].view;
    return view->values + view->segments[view->segment_count - 1].offset;
}

/* A weight is no number at the third step, and what it was again from the fourth step on. */
struct poison {
    struct trainer *trainer;
    float weight;
    uint64_t hash;
};

static enum retort_status poison_a_weight(void *context, const struct training_report *report)
{
    struct poison *poison = context;
    float *weight = last_weight(poison->trainer);
    if (report->step == 2) {
        poison->weight = *weight;
        poison->hash = executor_hash(poison->trainer->students[0].executor);
        *weight = NAN;
    } else if (report->step == 3 && isnan(*weight)) {
        assert_int_equal(report->skipped, 1);
        *weight = poison->weight;
        assert_true(executor_hash(poison->trainer->students[0].executor) == poison->hash);
    }
    return RETORT_OK;
}

/* Weights, running statistics and means are as if there had been no such step. */
static void a_step_that_is_not_finite_is_left_out_if_wanted(void **state)
{
    struct fixture f;
    struct poison poison;
    struct training_report report;
    fixture_open(&f);
    f.train.not_finite = NOT_FINITE_SKIP;
    assert_ok(trainer_create(&f.setup, &poison.trainer));
    assert_ok(trainer_epoch(poison.trainer, 0, NULL, poison_a_weight, &poison, &report));
    assert_int_equal(report.skipped, 1);
    assert_true(isfinite(report.value.total));
    trainer_destroy(poison.trainer);
    f.train.not_finite = NOT_FINITE_STOP;
    f.setup.epochs_before = 9; /* counted as everybody counts them, over all stages */
    assert_ok(trainer_create(&f.setup, &poison.trainer));
    assert_fails(trainer_epoch(poison.trainer, 0, NULL, poison_a_weight, &poison, &report),
                 RETORT_BACKEND, "the loss is not finite at step 3 of epoch 10");
    trainer_destroy(poison.trainer);
    fixture_close(&f);
}

/* All images are of class 0, and the student is sure of that: whatever step is left out, it is
 * always right. */
static void what_is_right_is_counted_of_steps_that_count(void **state)
{
    struct fixture f;
    struct poison poison;
    struct training_report report;
    fixture_open(&f);
    f.train.not_finite = NOT_FINITE_SKIP;
    f.losses[LOSS_kl] = f.losses[LOSS_gram] = NULL;
    f.setup.teacher_count = 0;
    memset(f.dataset.train.labels, 0, TRAIN_IMAGES * sizeof(int));
    const struct graph *graph = &f.student.graph;
    for (int i = 0; i < graph->parameter_count; i++)
        if (strcmp(graph->parameters[i].name, "fc.bias") == 0)
            f.student.values[i][0] = 1000;
    assert_ok(trainer_create(&f.setup, &poison.trainer));
    assert_ok(trainer_epoch(poison.trainer, 0, NULL, poison_a_weight, &poison, &report));
    assert_int_equal(report.skipped, 1);
    assert_true(report.accuracy == 100);
    trainer_destroy(poison.trainer);
    fixture_close(&f);
}

/* The loss is finite still, the new weights are not. */
static void the_last_step_of_a_diverging_run_is_noticed(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    fixture_open(&f);
    f.train.lr = 1e39; /* as a float it is infinite */
    f.train.schedule = SCHEDULE_CONSTANT;
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_fails(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report), RETORT_BACKEND,
                 "a weight is not finite at step 1 of epoch 1");
    trainer_destroy(trainer);
    fixture_close(&f);
}

static void steps_without_effect_end_some_time(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    enum retort_status status = RETORT_OK;
    fixture_open(&f);
    f.train.not_finite = NOT_FINITE_SKIP;
    assert_ok(trainer_create(&f.setup, &trainer));
    *last_weight(trainer) = NAN;
    const int epochs = MOST_SKIPPED / (TRAIN_IMAGES / BATCH) + 1;
    for (int epoch = 0; epoch < epochs && status == RETORT_OK; epoch++)
        status = trainer_epoch(trainer, epoch, NULL, NULL, NULL, &report);
    assert_fails(status, RETORT_BACKEND, "not finite");
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* How far all parameters are from where they were, and how many steps were clipped. */
static double distance_with(double clip_norm, long *clipped, uint64_t *hash)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    fixture_open(&f);
    f.train.clip_norm = clip_norm;
    f.train.schedule = SCHEDULE_CONSTANT;
    f.train.lr = 0.01;
    f.train.momentum = f.train.weight_decay = 0;
    assert_ok(trainer_create(&f.setup, &trainer));
    const struct parameter_view *view = &trainer->optimizers[0].view;
    float *before = malloc(view->count * sizeof(*before));
    double sum = 0;
    memcpy(before, view->values, view->count * sizeof(*before));
    assert_ok(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report));
    for (size_t i = 0; i < view->count; i++)
        sum += pow((double)view->values[i] - (double)before[i], 2);
    *clipped = report.clipped;
    *hash = executor_hash(trainer->students[0].executor);
    free(before);
    trainer_destroy(trainer);
    fixture_close(&f);
    return sqrt(sum);
}

static void a_clipped_step_goes_no_further_than_the_limit(void **state)
{
    const long steps = TRAIN_IMAGES / BATCH;
    long clipped;
    uint64_t free_hash, hash;
    const double far = distance_with(0, &clipped, &free_hash);
    assert_int_equal(clipped, 0);
    assert_true(far > 2 * 0.01 * 1e-3 * (double)steps);
    assert_true(distance_with(1e6, &clipped, &hash) == far);
    assert_int_equal(clipped, 0);
    assert_true(hash == free_hash);
    const double near = distance_with(1e-3, &clipped, &hash);
    assert_int_equal(clipped, steps);
    assert_true(near > 0 && near <= 1.001 * 0.01 * 1e-3 * (double)steps);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    const char *unknown[] = {"early", "middle"};
    struct text_list taps = {2, unknown};
    fixture_open(&f);
    f.setup.taps = &taps;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "tap middle");
    f.setup.taps = NULL;
    f.train.batch = TRAIN_IMAGES + 1;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "50 images");
    f.train.batch = BATCH;
    f.setup.teacher_count = 0;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "needs a teacher");
    f.setup.teacher_count = 1;
    f.dataset.train.height--;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "2x8x8");
    f.dataset.train.height++;
    model_release(&f.teacher);
    tiny_model(WIDTH + 1, 1, &f.teacher);
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "early");
    fixture_close(&f);
}

static void pairs_are_named(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    const char *names[2];
    fixture_open(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_true(trainer_pair(trainer, 0, names));
    assert_string_equal(names[0], "early");
    assert_string_equal(names[1], "late");
    assert_false(trainer_pair(trainer, 1, names));
    trainer_destroy(trainer);
    fixture_close(&f);
}

/* ---- several teachers ---- */

static uint64_t taught_by(const char *rule, int teachers)
{
    struct fixture f;
    struct ensemble ensemble;
    fixture_open(&f);
    assert_ok(settings_parse(&ensemble_settings, &ensemble, "ensemble", rule, &f.arena));
    f.setup.ensemble = &ensemble;
    f.setup.teacher_count = teachers;
    fixture_train(&f.setup, 2);
    const uint64_t hash = model_hash(&f.student);
    fixture_close(&f);
    return hash;
}

static void a_teacher_twice_teaches_what_it_teaches_once(void **state)
{
    static const char *const rules[] = {"rule=mean", "rule=mean-logits", "rule=random-k,k=1",
                                        "rule=random-k,k=2",
                                        "rule=random-k,k=1,gram_teacher=random"};
    const uint64_t once = taught_by("rule=mean", 1);
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (taught_by(rules[i], 2) != once)
            fail_msg("%s: the student is another one", rules[i]);
}

/* The first step of an epoch as far as its losses. */
static struct step_moment begin_step(struct trainer *trainer)
{
    struct batch batch;
    assert_ok(loader_start(trainer->loader, 0, 0));
    assert_ok(loader_next(trainer->loader, &batch));
    const struct step_moment moment = {.images = batch.images, .labels = batch.labels};
    train_step_forward(&trainer->step, &moment, trainer->values);
    return moment;
}

/* The value of each loss in the first step, taught by two teachers that differ. */
static struct objective_value first_values(const char *rule, int first, int second)
{
    struct fixture f;
    struct trainer *trainer;
    struct ensemble ensemble;
    const struct model *both[2];
    fixture_open(&f);
    both[0] = &f.teacher;
    both[1] = &f.peer;
    assert_ok(settings_parse(&ensemble_settings, &ensemble, "ensemble", rule, &f.arena));
    fixture_loss(&f, LOSS_at);
    f.teachers[0] = both[first];
    f.teachers[1] = both[second];
    f.setup.teacher_count = 2;
    f.setup.ensemble = &ensemble;
    assert_ok(trainer_create(&f.setup, &trainer));
    begin_step(trainer);
    const struct objective_value value = trainer->values[0];
    trainer_destroy(trainer);
    fixture_close(&f);
    return value;
}

/* Whatever is done with the logits, their maps count by halves and in any order. */
static void the_mean_of_maps_is_that_of_all_teachers(void **state)
{
    static const enum loss_kind kinds[] = {LOSS_gram, LOSS_at};
    const struct objective_value mean = first_values("rule=mean,gram_teacher=mean", 0, 1),
                                 logits = first_values("rule=mean-logits,gram_teacher=mean", 0, 1),
                                 turned = first_values("rule=mean-logits,gram_teacher=mean", 1, 0),
                                 one = first_values("rule=mean-logits,gram_teacher=first", 0, 1);
    for (int i = 0; i < 2; i++) {
        const double value = mean.raw[kinds[i]];
        assert_float_equal(logits.raw[kinds[i]], value, 1e-5 * value);
        assert_float_equal(turned.raw[kinds[i]], value, 1e-5 * value);
        assert_true(fabs(one.raw[kinds[i]] - value) > 0.01 * value);
    }
    assert_true(fabs(logits.raw[LOSS_kl] - mean.raw[LOSS_kl]) > 1e-4 * mean.raw[LOSS_kl]);
    assert_float_equal(logits.raw[LOSS_kl], turned.raw[LOSS_kl], 1e-5 * mean.raw[LOSS_kl]);
}

static void teachers_with_other_maps_are_refused_where_maps_are_looked_at(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct ensemble ensemble = {.rule = ENSEMBLE_MEAN, .gram_teacher = ENSEMBLE_GRAM_MEAN};
    struct model wide;
    fixture_open(&f);
    tiny_model(WIDTH + 2, 3, &wide);
    f.teachers[1] = &wide;
    f.setup.teacher_count = 2;
    f.setup.ensemble = &ensemble;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "gram_teacher: first");
    ensemble.gram_teacher = ENSEMBLE_GRAM_FIRST;
    assert_ok(trainer_create(&f.setup, &trainer));
    trainer_destroy(trainer);
    f.losses[LOSS_gram] = NULL;
    ensemble.gram_teacher = ENSEMBLE_GRAM_MEAN;
    assert_ok(trainer_create(&f.setup, &trainer));
    trainer_destroy(trainer);
    model_release(&wide);
    fixture_close(&f);
}

/* ---- students that teach each other ---- */

static void peers_that_are_not_listened_to_change_nothing(void **state)
{
    struct fixture alone, together;
    fixture_open(&alone);
    fixture_open(&together);
    alone.losses[LOSS_kl] = alone.losses[LOSS_gram] = together.losses[LOSS_gram] = NULL;
    fixture_loss_with(&together, LOSS_kl, "weight=0");
    alone.setup.teacher_count = together.setup.teacher_count = 0;
    together.setup.model_count = 2;
    fixture_train(&alone.setup, 2);
    fixture_train(&together.setup, 2);
    tiny_assert_equal(&alone.student, &together.student);
    fixture_close(&alone);
    fixture_close(&together);
}

static void peers_come_nearer_to_each_other(void **state)
{
    struct fixture f;
    fixture_open(&f);
    f.losses[LOSS_gram] = NULL;
    fixture_loss_with(&f, LOSS_kl, "weight=5");
    f.setup.teacher_count = 0;
    f.setup.model_count = 2;
    const uint64_t before = model_hash(&f.peer);
    const double first = fixture_train(&f.setup, 1).value.raw[LOSS_kl];
    assert_true(model_hash(&f.peer) != before);
    assert_true(fixture_train(&f.setup, 4).value.raw[LOSS_kl] < 0.7 * first);
    fixture_close(&f);
}

/* ---- weights, norms, balance ---- */

static void a_weight_follows_its_ramp(void **state)
{
    struct fixture f;
    fixture_open(&f);
    fixture_loss_with(&f, LOSS_kl, "weight=2,ramp=linear,final=0");
    const struct training_report last = fixture_train(&f.setup, f.setup.epochs);
    const double weight = last.value.weighted[LOSS_kl] / last.value.raw[LOSS_kl];
    assert_true(weight > 0.05 && weight < 0.5); /* the last of four epochs: 0.5 to 0 */
    assert_float_equal(last.value.weighted[LOSS_ce], last.value.raw[LOSS_ce], 1e-12);
    assert_true(last.norms.logits[LOSS_ce] > 0 && last.norms.logits[LOSS_kl] > 0);
    assert_true(last.norms.taps[LOSS_gram] > 0);
    assert_true(last.norms.logits[LOSS_gram] == 0 && last.norms.taps[LOSS_ce] == 0);
    fixture_close(&f);
}

static void measuring_leaves_the_gradients_as_they_were(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct objective_norms norms;
    fixture_open(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    const struct step_moment moment = begin_step(trainer);
    const struct step_student *student = &trainer->students[0];
    const size_t bytes = sizeof(float) * BATCH * TINY_CLASSES;
    const struct tensor *tap = &student->diff_taps[0].tensor;
    float *logits = memcpy(malloc(bytes), executor_diff_logits(student->executor), bytes);
    void *map = memcpy(malloc(tensor_bytes(tap)), tap->data, tensor_bytes(tap));
    train_step_measure(&trainer->step, &moment, &norms);
    assert_memory_equal(executor_diff_logits(student->executor), logits, bytes);
    assert_memory_equal(tap->data, map, tensor_bytes(tap));
    free(logits);
    free(map);
    trainer_destroy(trainer);
    fixture_close(&f);
}

static double norm_of(const float *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)numbers[i] * (double)numbers[i];
    return sqrt(sum);
}

/* The gradients of one balanced step whose teaching losses have this weight: norms of the task's
 * and of what was added to it. The two passes must add up to the gradient of an ordinary step. */
static void balanced_norms(const char *weight, double *task, double *added)
{
    struct fixture f;
    struct trainer *trainer;
    fixture_open(&f);
    fixture_loss_with(&f, LOSS_kl, weight);
    fixture_loss_with(&f, LOSS_gram, weight);
    f.setup.balanced = true;
    assert_ok(trainer_create(&f.setup, &trainer));
    struct step_moment moment = begin_step(trainer);
    enum step_end end;
    assert_ok(train_step_backward(&trainer->step, &moment, &end)); /* the rate is 0 */
    assert_int_equal(end, STEP_DONE);
    const struct parameter_view *view = &trainer->optimizers[0].view;
    float *difference = malloc(view->count * sizeof(float));
    for (size_t i = 0; i < view->count; i++)
        difference[i] = view->gradients[i] - trainer->students[0].task[i];
    *task = norm_of(trainer->students[0].task, view->count);
    *added = norm_of(difference, view->count);
    free(difference);
    trainer_destroy(trainer);
    fixture_close(&f);
}

static void strong_teaching_is_cut_down_to_the_task(void **state)
{
    double task, weak, strong, half;
    balanced_norms("weight=0.001", &task, &weak);
    balanced_norms("weight=0.002", &task, &half);
    assert_true(weak > 0 && weak < task);
    assert_float_equal(half / weak, 2, 1e-3); /* not cut */
    balanced_norms("weight=1000", &task, &strong);
    assert_float_equal(strong / task, 1, 1e-4);
}

/* Two backward passes give together what one gives. */
static void the_passes_of_a_balanced_step_add_up(void **state)
{
    struct fixture plain, balanced;
    fixture_open(&plain);
    fixture_open(&balanced);
    struct fixture *both[] = {&plain, &balanced};
    for (int i = 0; i < 2; i++) {
        fixture_loss_with(both[i], LOSS_kl, "weight=0.01");
        fixture_loss_with(both[i], LOSS_gram, "weight=0.01");
    }
    balanced.setup.balanced = true;
    fixture_train(&plain.setup, 1);
    fixture_train(&balanced.setup, 1);
    for (int i = 0; i < plain.student.graph.parameter_count; i++)
        for (size_t k = 0; k < parameter_count(&plain.student.graph.parameters[i]); k++)
            assert_float_equal(plain.student.values[i][k], balanced.student.values[i][k], 1e-4);
    fixture_close(&plain);
    fixture_close(&balanced);
}

/* A stage without the task has nothing that teaching could be cut down to. */
static void balance_leaves_a_stage_without_a_task_alone(void **state)
{
    struct fixture plain, balanced;
    fixture_open(&plain);
    fixture_open(&balanced);
    plain.losses[LOSS_ce] = balanced.losses[LOSS_ce] = NULL;
    balanced.setup.balanced = true;
    fixture_train(&plain.setup, 1);
    fixture_train(&balanced.setup, 1);
    tiny_assert_equal(&plain.student, &balanced.student);
    fixture_close(&plain);
    fixture_close(&balanced);
}

static void a_rehearsal_leaves_the_weights_alone(void **state)
{
    struct fixture f;
    fixture_open(&f);
    struct model copy;
    f.setup.rehearsal = true;
    assert_ok(model_copy(&f.student, &copy));
    fixture_train(&f.setup, 1);
    for (int i = 0; i < copy.graph.parameter_count; i++)
        if (copy.graph.parameters[i].role < PARAMETER_RUNNING_MEAN)
            assert_memory_equal(f.student.values[i], copy.values[i],
                                parameter_count(&copy.graph.parameters[i]) * sizeof(float));
    model_release(&copy);
    fixture_close(&f);
}

/* ---- views ---- */

static int add_to(struct graph *graph, enum op_kind kind, const char *name, int input,
                  const void *attributes)
{
    int node;
    assert_ok(graph_add(graph, kind, name, &input, 1, attributes, &node));
    return node;
}

/* Without batch norm and dropout, so that training and teaching say the same of an image. */
static void make_bare(uint64_t seed, struct model *model)
{
    struct conv_attributes conv = {
        .out_channels = WIDTH, .kernel = 3, .stride = 2, .pad = 1, .groups = 1};
    struct linear_attributes fc = {.out_features = TINY_CLASSES};
    struct graph graph = {0};
    assert_ok(graph_begin(&graph, "bare", (struct shape){TINY_CHANNELS, TINY_SIDE, TINY_SIDE}));
    const int relu =
        add_to(&graph, OP_relu, "relu", add_to(&graph, OP_conv, "conv", 0, &conv), NULL);
    assert_ok(graph_tap(&graph, "late", relu));
    add_to(&graph, OP_linear, "fc", relu, &fc);
    assert_ok(graph_finish(&graph));
    assert_ok(model_create(&graph, model));
    model_initialise(model, seed);
}

static enum retort_status check_agreement(void *context, const struct training_report *report)
{
    const bool *agree = context;
    assert_true(*agree ? fabs(report->value.raw[LOSS_kl]) < 1e-6
                       : report->value.raw[LOSS_kl] > 1e-3);
    return RETORT_OK;
}

/* A teacher that is the student agrees with it about every image of two epochs, whatever is done to
 * images: it looks at the same view. One that is not does not agree. */
static void teachers_see_the_students_view_of_each_image(void **state)
{
    static const char *augment[] = {"flip",   "crop",  "rotate", "cutout",
                                    "jitter", "mixup", "cutmix"};
    for (int other = 0; other < 2; other++) {
        struct fixture f;
        struct trainer *trainer;
        struct training_report report;
        bool agree = !other;
        fixture_open(&f);
        model_release(&f.teacher);
        model_release(&f.student);
        make_bare(1, &f.student);
        make_bare(1 + (uint64_t)other, &f.teacher);
        f.losses[LOSS_gram] = f.losses[LOSS_ce] = NULL;
        f.data.augment = (struct text_list){7, augment};
        f.data.rotation = 20;
        f.data.cutout = 3;
        f.data.jitter = 0.3;
        f.data.mixup = 0.4;
        f.data.cutmix = 1;
        f.setup.rehearsal = true; /* the student stays what it is */
        assert_ok(trainer_create(&f.setup, &trainer));
        for (int epoch = 0; epoch < 2; epoch++)
            assert_ok(trainer_epoch(trainer, epoch, NULL, check_agreement, &agree, &report));
        trainer_destroy(trainer);
        fixture_close(&f);
    }
}

/* ---- what is trained ---- */

static void what_is_frozen_stays(void **state)
{
    struct fixture f;
    struct model before;
    const char *words[] = {"fc", "bn2"};
    const struct text_list moves = {2, words};
    fixture_open(&f);
    assert_ok(model_copy(&f.student, &before));
    f.setup.moves = &moves;
    fixture_train(&f.setup, 1);
    for (int i = 0; i < before.graph.parameter_count; i++) {
        const struct parameter *p = &before.graph.parameters[i];
        const bool moves_too = strncmp(p->name, "fc", 2) == 0 || strncmp(p->name, "bn2", 3) == 0;
        const bool same =
            memcmp(before.values[i], f.student.values[i], parameter_count(p) * sizeof(float)) == 0;
        if (parameter_trains(p) && same == moves_too)
            fail_msg("%s %s", p->name, same ? "did not move" : "moved");
    }
    words[0] = "block7";
    struct trainer *trainer;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "trains: block7 found");
    model_release(&before);
    fixture_close(&f);
}

/* ---- adapters ---- */

static void taps_that_differ_in_channels_want_adapters(void **state)
{
    struct fixture f;
    struct model extended;
    const char *names[8];
    int channels[8], count;
    fixture_open(&f);
    assert_ok(trainer_adapters(&f.setup, names, channels, &count));
    assert_int_equal(count, 0);
    model_release(&f.teacher);
    tiny_model(WIDTH + 4, 1, &f.teacher);
    assert_ok(trainer_adapters(&f.setup, names, channels, &count));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "early");
    assert_int_equal(channels[0], WIDTH + 4);
    const struct adapter adapters[] = {{names[0], channels[0]}, {names[1], channels[1]}};
    assert_ok(adapter_attach(&f.student, adapters, 2, 1, NULL, &extended));
    f.models[0] = &extended;
    f.losses[LOSS_ce] = f.losses[LOSS_kl] = NULL;
    const double first = fixture_train(&f.setup, 1).value.raw[LOSS_gram];
    assert_true(fixture_train(&f.setup, 4).value.raw[LOSS_gram] < first);
    f.losses[LOSS_gram] = NULL;
    fixture_loss(&f, LOSS_at); /* looks at maps, but not channel by channel */
    assert_ok(trainer_adapters(&f.setup, names, channels, &count));
    assert_int_equal(count, 0);
    model_release(&extended);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_goes_down_where_there_is_something_to_learn),
        cmocka_unit_test(a_student_comes_nearer_to_its_teacher),
        cmocka_unit_test(students_of_equal_seeds_are_bit_equal),
        cmocka_unit_test(students_of_different_seeds_are_not),
        cmocka_unit_test(the_teacher_is_not_written_to_and_a_change_is_noticed),
        cmocka_unit_test(teachers_hold_nothing_for_training),
        cmocka_unit_test(a_trainer_begins_at_rest),
        cmocka_unit_test(the_time_that_training_waits_is_told),
        cmocka_unit_test(a_listener_sees_every_step_and_stops_the_epoch),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_the_epoch),
        cmocka_unit_test(a_step_that_is_not_finite_is_left_out_if_wanted),
        cmocka_unit_test(what_is_right_is_counted_of_steps_that_count),
        cmocka_unit_test(the_last_step_of_a_diverging_run_is_noticed),
        cmocka_unit_test(steps_without_effect_end_some_time),
        cmocka_unit_test(a_clipped_step_goes_no_further_than_the_limit),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(pairs_are_named),
        cmocka_unit_test(a_teacher_twice_teaches_what_it_teaches_once),
        cmocka_unit_test(the_mean_of_maps_is_that_of_all_teachers),
        cmocka_unit_test(teachers_with_other_maps_are_refused_where_maps_are_looked_at),
        cmocka_unit_test(peers_that_are_not_listened_to_change_nothing),
        cmocka_unit_test(peers_come_nearer_to_each_other),
        cmocka_unit_test(a_weight_follows_its_ramp),
        cmocka_unit_test(measuring_leaves_the_gradients_as_they_were),
        cmocka_unit_test(strong_teaching_is_cut_down_to_the_task),
        cmocka_unit_test(the_passes_of_a_balanced_step_add_up),
        cmocka_unit_test(balance_leaves_a_stage_without_a_task_alone),
        cmocka_unit_test(a_rehearsal_leaves_the_weights_alone),
        cmocka_unit_test(teachers_see_the_students_view_of_each_image),
        cmocka_unit_test(what_is_frozen_stays),
        cmocka_unit_test(taps_that_differ_in_channels_want_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
