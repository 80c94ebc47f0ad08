/* training_fixture.c - a training of seconds. */
#include "training_fixture.h"

#include "support.h"
#include "tiny.h"

void fixture_loss_with(struct fixture *f, enum loss_kind kind, const char *text)
{
    const struct setting_table *table = loss_of(kind)->settings;
    void *settings;
    assert_ok(arena_take(&f->arena, table->bytes, &settings));
    assert_ok(settings_parse(table, settings, table->name, text, &f->arena));
    f->losses[kind] = settings;
}

void fixture_loss(struct fixture *f, enum loss_kind kind)
{
    fixture_loss_with(f, kind, "");
}

void fixture_open(struct fixture *f)
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
    tiny_model(WIDTH, 3, &f->peer);
    fixture_loss(f, LOSS_ce);
    fixture_loss(f, LOSS_kl);
    fixture_loss(f, LOSS_gram);
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
    f->models[1] = &f->peer;
    f->teachers[0] = f->teachers[1] = &f->teacher;
}

void fixture_close(struct fixture *f)
{
    model_release(&f->teacher);
    model_release(&f->student);
    model_release(&f->peer);
    dataset_release(&f->dataset);
    arena_release(&f->arena);
}

struct training_report fixture_train(const struct trainer_setup *setup, int epochs)
{
    struct trainer *trainer;
    struct training_report report = {0};
    assert_ok(trainer_create(setup, &trainer));
    for (int epoch = 0; epoch < epochs; epoch++)
        assert_ok(trainer_epoch(trainer, epoch, NULL, NULL, NULL, &report));
    assert_true(trainer_teachers_intact(trainer));
    assert_ok(trainer_store(trainer));
    trainer_destroy(trainer);
    return report;
}
