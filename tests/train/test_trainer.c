/* test_trainer.c - the loop: it learns, it repeats bit for bit, it leaves the teacher alone, and it
 * refuses what does not fit.
 *
 * The trainer's inside is included, because one test damages the teacher behind its back. */
#include "support.h"

#include "tiny.h"
#include "train/trainer.c"

enum { TRAIN_IMAGES = 50, BATCH = 8, WIDTH = 6 };

struct fixture {
    struct dataset dataset;
    struct recipe_data data;
    struct recipe_train train;
    struct arena arena;
    const void *losses[LOSS_COUNT];
    struct model teacher, student, *models[1];
    const struct model *teachers[1];
    struct trainer_setup setup;
};

static void set_loss(struct fixture *f, enum loss_kind kind)
{
    const struct setting_table *table = loss_of(kind)->settings;
    void *settings;
    assert_ok(arena_take(&f->arena, table->bytes, &settings));
    assert_ok(settings_defaults(table, settings, &f->arena));
    f->losses[kind] = settings;
}

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){.data = {.pad = 1, .loader_threads = 1},
                          .train = {.batch = BATCH,
                                    .lr = 0.05,
                                    .momentum = 0.9,
                                    .nesterov = true,
                                    .weight_decay = 5e-4,
                                    .schedule = SCHEDULE_CONSTANT}};
    tiny_dataset(TRAIN_IMAGES, 9, &f->dataset);
    tiny_model(WIDTH, 1, &f->teacher);
    tiny_model(WIDTH, 2, &f->student);
    set_loss(f, LOSS_ce);
    set_loss(f, LOSS_kl);
    set_loss(f, LOSS_gram);
    f->setup = (struct trainer_setup){.dataset = &f->dataset,
                                      .data = &f->data,
                                      .train = &f->train,
                                      .losses = f->losses,
                                      .epochs = 4,
                                      .seed = 5,
                                      .models = f->models,
                                      .model_count = 1,
                                      .teachers = f->teachers,
                                      .teacher_count = 1};
    f->models[0] = &f->student;
    f->teachers[0] = &f->teacher;
}

static void close_fixture(struct fixture *f)
{
    model_release(&f->teacher);
    model_release(&f->student);
    dataset_release(&f->dataset);
    arena_release(&f->arena);
}

/* The report of the last epoch; the model ends up with the trained numbers. */
static struct training_report train_epochs(const struct trainer_setup *setup, int epochs)
{
    struct trainer *trainer;
    struct training_report report = {0};
    assert_ok(trainer_create(setup, &trainer));
    for (int epoch = 0; epoch < epochs; epoch++)
        assert_ok(trainer_epoch(trainer, epoch, NULL, NULL, &report));
    assert_true(trainer_teachers_intact(trainer));
    assert_ok(trainer_store(trainer));
    trainer_destroy(trainer);
    return report;
}

static void the_loss_goes_down_where_there_is_something_to_learn(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.losses[LOSS_kl] = f.losses[LOSS_gram] = NULL;
    f.setup.teacher_count = 0;
    double first = train_epochs(&f.setup, 1).value.total;
    struct training_report last = train_epochs(&f.setup, 8);
    assert_true(last.value.total < 0.5 * first);
    assert_true(last.accuracy > 80);
    assert_int_equal(last.images, TRAIN_IMAGES / BATCH * BATCH);
    close_fixture(&f);
}

static void a_student_comes_nearer_to_its_teacher(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.losses[LOSS_ce] = NULL;
    struct training_report first = train_epochs(&f.setup, 1), last = train_epochs(&f.setup, 8);
    assert_true(last.value.raw[LOSS_kl] < first.value.raw[LOSS_kl]);
    assert_true(last.value.raw[LOSS_gram] < 0.5 * first.value.raw[LOSS_gram]);
    close_fixture(&f);
}

static void students_of_equal_seeds_are_bit_equal(void **state)
{
    struct fixture a, b;
    const char *augment[] = {"flip", "crop"};
    open_fixture(&a);
    open_fixture(&b);
    a.data.augment = b.data.augment = (struct text_list){2, augment};
    b.data.loader_threads = 3;
    train_epochs(&a.setup, 2);
    train_epochs(&b.setup, 2);
    tiny_assert_equal(&a.student, &b.student);
    close_fixture(&a);
    close_fixture(&b);
}

static void students_of_different_seeds_are_not(void **state)
{
    struct fixture a, b;
    open_fixture(&a);
    open_fixture(&b);
    b.setup.seed++;
    train_epochs(&a.setup, 1);
    train_epochs(&b.setup, 1);
    assert_true(model_hash(&a.student) != model_hash(&b.student));
    close_fixture(&a);
    close_fixture(&b);
}

static void the_teacher_is_not_written_to_and_a_change_is_noticed(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    open_fixture(&f);
    const uint64_t model = model_hash(&f.teacher);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_ok(trainer_epoch(trainer, 0, NULL, NULL, &report));
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
    close_fixture(&f);
}

/* Also for the first batch, which nobody has read ahead. */
static void the_time_that_training_waits_is_told(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    open_fixture(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    for (int epoch = 0; epoch < 2; epoch++) {
        assert_ok(trainer_epoch(trainer, epoch, NULL, NULL, &report));
        assert_true(report.waited > 0);
        assert_true(report.waited < report.seconds);
        assert_true(training_waited_percent(&report) > 0);
        assert_true(training_waited_percent(&report) < 100);
    }
    trainer_destroy(trainer);
    close_fixture(&f);
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
    open_fixture(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_int_equal(trainer_steps(trainer), TRAIN_IMAGES / BATCH);
    assert_fails(trainer_epoch(trainer, 0, stop_at_three, &seen, &report), RETORT_STOPPED, "three");
    assert_int_equal(seen, 3);
    trainer_destroy(trainer);
    close_fixture(&f);
}

static void a_loss_that_is_not_finite_stops_the_epoch(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    open_fixture(&f);
    f.train.lr = 1e30;
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_fails(trainer_epoch(trainer, 0, NULL, NULL, &report), RETORT_BACKEND, "not finite");
    assert_non_null(strstr(retort_message(), "(ce "));
    assert_non_null(strstr(retort_message(), ", gram "));
    assert_null(strstr(retort_message(), "dkd")); /* takes no part */
    trainer_destroy(trainer);
    close_fixture(&f);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    const char *unknown[] = {"early", "middle"};
    struct text_list taps = {2, unknown};
    open_fixture(&f);
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
    close_fixture(&f);
}

static void pairs_are_named(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    const char *names[2];
    open_fixture(&f);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_true(trainer_pair(trainer, 0, names));
    assert_string_equal(names[0], "early");
    assert_string_equal(names[1], "late");
    assert_false(trainer_pair(trainer, 1, names));
    trainer_destroy(trainer);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_goes_down_where_there_is_something_to_learn),
        cmocka_unit_test(a_student_comes_nearer_to_its_teacher),
        cmocka_unit_test(students_of_equal_seeds_are_bit_equal),
        cmocka_unit_test(students_of_different_seeds_are_not),
        cmocka_unit_test(the_teacher_is_not_written_to_and_a_change_is_noticed),
        cmocka_unit_test(the_time_that_training_waits_is_told),
        cmocka_unit_test(a_listener_sees_every_step_and_stops_the_epoch),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_the_epoch),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(pairs_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
