/* test_state.c - a saved state brings back every bit, is that of one part only, and is refused when
 * it is damaged. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tiny.h"
#include "train/state.h"

enum { WIDTH = 5 };

struct fixture {
    struct dataset dataset;
    struct recipe_data data;
    struct recipe_train train;
    struct arena arena;
    const void *losses[LOSS_COUNT];
    struct model model, *models[1];
    struct trainer *trainer;
    const char *folder;
};

/* A trainer that has trained for an epoch, and its state in a folder. */
static void open_fixture(struct fixture *f, const char *name)
{
    struct training_report report;
    void *settings;
    *f = (struct fixture){
        .data = {.loader_threads = 1},
        .train = {.batch = 4, .lr = 0.1, .momentum = 0.9, .schedule = SCHEDULE_CONSTANT},
        .folder = support_path(name)};
    const struct setting_table *table = loss_of(LOSS_ce)->settings;
    assert_ok(arena_take(&f->arena, table->bytes, &settings));
    assert_ok(settings_defaults(table, settings, &f->arena));
    f->losses[LOSS_ce] = settings;
    tiny_dataset(12, 3, &f->dataset);
    tiny_model(WIDTH, 1, &f->model);
    f->models[0] = &f->model;
    const struct trainer_setup setup = {.dataset = &f->dataset,
                                        .data = &f->data,
                                        .train = &f->train,
                                        .losses = f->losses,
                                        .epochs = 2,
                                        .models = f->models,
                                        .model_count = 1};
    assert_ok(trainer_create(&setup, &f->trainer));
    assert_ok(trainer_epoch(f->trainer, 0, NULL, NULL, &report));
    assert_ok(file_make_folder(f->folder));
    assert_ok(state_save(f->folder, "student", 2, 1, f->trainer, f->models, 1));
}

static void close_fixture(struct fixture *f)
{
    trainer_destroy(f->trainer);
    model_release(&f->model);
    dataset_release(&f->dataset);
    arena_release(&f->arena);
}

static void everything_comes_back_bit_for_bit(void **state)
{
    struct fixture f;
    struct model model, *models[] = {&model};
    float **saved, **loaded;
    int stage, epochs;
    open_fixture(&f, "whole");
    tiny_model(WIDTH, 9, &model);
    assert_ok(velocity_create(&model.graph, &loaded));
    assert_ok(velocity_create(&model.graph, &saved));
    assert_ok(trainer_get_velocity(f.trainer, 0, saved));
    assert_ok(state_find(f.folder, "student", &stage, &epochs));
    assert_int_equal(stage, 2);
    assert_int_equal(epochs, 1);
    assert_ok(state_load(f.folder, models, &loaded, 1));
    tiny_assert_equal(&model, &f.model);
    int moved = 0;
    for (int i = 0; i < model.graph.parameter_count; i++) {
        assert_true(!loaded[i] == !parameter_trains(&model.graph.parameters[i]));
        if (!loaded[i])
            continue;
        const size_t count = parameter_count(&model.graph.parameters[i]);
        assert_memory_equal(saved[i], loaded[i], count * sizeof(float));
        for (size_t k = 0; k < count; k++)
            moved += saved[i][k] != 0;
    }
    assert_true(moved > 100);
    velocity_destroy(saved);
    velocity_destroy(loaded);
    model_release(&model);
    close_fixture(&f);
}

/* What is said of a file that is there in another form; the model is a fresh one. */
static enum retort_status load(const struct fixture *f, const char *part, int width, int *epochs)
{
    struct model model, *models[] = {&model};
    float **velocity;
    int stage;
    TRY(state_find(f->folder, part, &stage, epochs));
    if (*epochs == 0)
        return RETORT_OK;
    tiny_model(width, 1, &model);
    assert_ok(velocity_create(&model.graph, &velocity));
    enum retort_status status = state_load(f->folder, models, &velocity, 1);
    velocity_destroy(velocity);
    model_release(&model);
    return status;
}

static void the_state_of_another_part_is_none(void **state)
{
    struct fixture f;
    int epochs = 7;
    open_fixture(&f, "other");
    assert_ok(load(&f, "baseline", WIDTH, &epochs));
    assert_int_equal(epochs, 0);
    close_fixture(&f);
}

static void no_state_means_no_epochs(void **state)
{
    struct fixture f;
    int epochs = 7;
    open_fixture(&f, "removed");
    assert_ok(state_remove(f.folder));
    assert_ok(state_remove(f.folder)); /* twice is fine */
    assert_ok(load(&f, "student", WIDTH, &epochs));
    assert_int_equal(epochs, 0);
    close_fixture(&f);
}

static void a_state_of_another_shape_is_refused(void **state)
{
    struct fixture f;
    int epochs;
    open_fixture(&f, "shape");
    assert_fails(load(&f, "student", WIDTH + 1, &epochs), RETORT_FORMAT, "conv1.weight");
    close_fixture(&f);
}

/* Cut at many places, and each byte of the header's first kilobyte changed. */
static void a_damaged_state_is_refused(void **state)
{
    struct fixture f;
    struct file_bytes whole;
    int epochs;
    open_fixture(&f, "damaged");
    char *path = file_join(f.folder, "state/current.safetensors");
    assert_ok(file_read(path, 1 << 24, &whole));
    for (size_t size = 0; size < whole.size; size += 1 + whole.size / 50) {
        assert_ok(file_write(path, whole.data, size));
        assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
    }
    for (size_t i = 0; i < 8; i++) {
        whole.data[i] ^= 0x40;
        assert_ok(file_write(path, whole.data, whole.size));
        assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
        whole.data[i] ^= 0x40;
    }
    assert_ok(file_write(path, "{}", 2));
    assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
    free(whole.data);
    free(path);
    close_fixture(&f);
}

static void a_model_file_is_no_state(void **state)
{
    struct fixture f;
    int epochs;
    open_fixture(&f, "model");
    char *path = file_join(f.folder, "state/current.safetensors");
    assert_ok(model_save(&f.model, path));
    assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "not a saved state");
    free(path);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back_bit_for_bit),
        cmocka_unit_test(the_state_of_another_part_is_none),
        cmocka_unit_test(no_state_means_no_epochs),
        cmocka_unit_test(a_state_of_another_shape_is_refused),
        cmocka_unit_test(a_damaged_state_is_refused),
        cmocka_unit_test(a_model_file_is_no_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
