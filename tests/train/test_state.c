/* test_state.c - a saved state brings back every bit, is that of one part only, and when it is
 * damaged the one before it counts, or it is refused. */
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

static void save(const struct fixture *f, struct state_place place)
{
    assert_ok(state_save(f->folder, "student", &place, f->trainer, (struct model **)f->models, 1));
}

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
    assert_ok(trainer_epoch(f->trainer, 0, NULL, NULL, NULL, &report));
    assert_ok(file_make_folder(f->folder));
    save(f, (struct state_place){.stage = 2, .epochs = 1});
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
    struct state_place place;
    open_fixture(&f, "whole");
    tiny_model(WIDTH, 9, &model);
    assert_ok(velocity_create(&model.graph, &loaded));
    assert_ok(velocity_create(&model.graph, &saved));
    assert_ok(trainer_get_velocity(f.trainer, 0, saved));
    assert_ok(state_find(f.folder, "student", &place));
    assert_int_equal(place.stage, 2);
    assert_int_equal(place.epochs, 1);
    assert_int_equal(place.report.step, 0);
    assert_false(place.previous);
    assert_ok(state_load(f.folder, &place, models, &loaded, 1));
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
    struct state_place place;
    TRY(state_find(f->folder, part, &place));
    *epochs = place.epochs;
    if (*epochs == 0)
        return RETORT_OK;
    tiny_model(width, 1, &model);
    assert_ok(velocity_create(&model.graph, &velocity));
    enum retort_status status = state_load(f->folder, &place, models, &velocity, 1);
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

/* ---- damage ---- */

static struct file_bytes bytes_of(const struct fixture *f, const char *name)
{
    struct file_bytes bytes;
    char *path = file_join(f->folder, name);
    assert_ok(file_read(path, 1 << 24, &bytes));
    free(path);
    return bytes;
}

static void write_bytes(const struct fixture *f, const char *name, const void *data, size_t size)
{
    char *path = file_join(f->folder, name);
    assert_ok(file_write(path, data, size));
    free(path);
}

/* Cut at many places. */
static void a_cut_state_is_refused(void **state)
{
    struct fixture f;
    int epochs;
    open_fixture(&f, "cut");
    struct file_bytes whole = bytes_of(&f, "state/current.safetensors");
    for (size_t size = 0; size < whole.size; size += 1 + whole.size / 50) {
        write_bytes(&f, "state/current.safetensors", whole.data, size);
        assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
    }
    write_bytes(&f, "state/current.safetensors", "{}", 2);
    assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
    free(whole.data);
    close_fixture(&f);
}

/* Every byte of the header, and many of the numbers: one bit each. */
static void a_state_with_one_wrong_bit_is_refused(void **state)
{
    struct fixture f;
    int epochs;
    open_fixture(&f, "flipped");
    struct file_bytes whole = bytes_of(&f, "state/current.safetensors");
    const size_t header = 8 + (whole.data[0] | (size_t)whole.data[1] << 8);
    assert_true(header < whole.size);
    for (size_t i = 0; i < whole.size; i += i < header ? 1 : 37) {
        if (i >= 8 && i < header && whole.data[i] == ' ')
            continue; /* padding behind the header: it says nothing */
        whole.data[i] ^= (unsigned char)(1 << i % 7);
        write_bytes(&f, "state/current.safetensors", whole.data, whole.size);
        assert_fails(load(&f, "student", WIDTH, &epochs), RETORT_FORMAT, "current.safetensors");
        whole.data[i] ^= (unsigned char)(1 << i % 7);
    }
    free(whole.data);
    close_fixture(&f);
}

/* What a crash between the two renames leaves, and a damaged current state. */
static void the_previous_state_stands_in(void **state)
{
    struct fixture f;
    struct state_place place;
    open_fixture(&f, "previous");
    save(&f, (struct state_place){.stage = 2, .epochs = 2});
    assert_ok(state_find(f.folder, "student", &place));
    assert_int_equal(place.epochs, 2);
    write_bytes(&f, "state/current.safetensors", "rubbish", 7);
    assert_ok(state_find(f.folder, "student", &place));
    assert_true(place.previous);
    assert_int_equal(place.epochs, 1);
    int epochs;
    assert_ok(load(&f, "student", WIDTH, &epochs));
    char *current = file_join(f.folder, "state/current.safetensors");
    assert_ok(file_remove(current));
    assert_ok(state_find(f.folder, "student", &place));
    assert_true(place.previous);
    assert_int_equal(place.epochs, 1);
    /* The next state takes its place again. */
    save(&f, (struct state_place){.stage = 2, .epochs = 3});
    assert_ok(state_find(f.folder, "student", &place));
    assert_false(place.previous);
    assert_int_equal(place.epochs, 3);
    free(current);
    close_fixture(&f);
}

static void two_damaged_states_are_refused_with_both_names(void **state)
{
    struct fixture f;
    struct state_place place;
    open_fixture(&f, "both");
    write_bytes(&f, "state/current.safetensors", "rubbish", 7);
    write_bytes(&f, "state/previous.safetensors", "rubbish", 7);
    assert_fails(state_find(f.folder, "student", &place), RETORT_FORMAT, "current.safetensors");
    assert_non_null(strstr(retort_message(), "previous.safetensors"));
    close_fixture(&f);
}

/* ---- within an epoch ---- */

static void the_means_of_a_begun_epoch_come_back(void **state)
{
    struct fixture f;
    struct state_place place, wanted = {.stage = 1, .epochs = 4};
    open_fixture(&f, "begun");
    wanted.report = (struct training_report){.epoch = 4,
                                             .step = 7,
                                             .steps = 30,
                                             .skipped = 2,
                                             .clipped = 3,
                                             .images = 28,
                                             .measured = 3,
                                             .accuracy = 100.0 / 3,
                                             .rate = 0.1,
                                             .seconds = 1.0 / 7,
                                             .waited = 1e-9,
                                             .val_top1 = -1};
    wanted.report.value.total = 2.0 / 3;
    wanted.report.value.raw[LOSS_gram] = 1e-30;
    wanted.report.norms.taps[LOSS_ce] = 1.0 / 9;
    save(&f, wanted);
    assert_ok(state_find(f.folder, "student", &place));
    assert_memory_equal(&place.report, &wanted.report, sizeof(place.report));
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
        cmocka_unit_test(a_cut_state_is_refused),
        cmocka_unit_test(a_state_with_one_wrong_bit_is_refused),
        cmocka_unit_test(the_previous_state_stands_in),
        cmocka_unit_test(two_damaged_states_are_refused_with_both_names),
        cmocka_unit_test(the_means_of_a_begun_epoch_come_back),
        cmocka_unit_test(a_model_file_is_no_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
