/* test_faults.c - what a run refuses to begin or to go on with, and what it leaves when it cannot
 * go on: nothing that was finished is lost. */
#include "tiny_run.h"
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "nn/model.h"
#include "tiny.h"

/* ---- what is refused ---- */

static void a_folder_with_a_run_is_refused_without_resume(void **state)
{
    assert_fails(tiny_run(tiny_whole_run(), 0, false, NULL), RETORT_INVALID, "holds a run already");
}

static void another_recipe_is_refused_and_the_setting_named(void **state)
{
    assert_fails(tiny_run_with(tiny_whole_run(), "seed=2", true), RETORT_INVALID,
                 "the run was begun with another recipe: seed: 1 there, 2 here; --force");
    assert_fails(tiny_run_with(tiny_whole_run(), "distill.stages.1.losses.kl.temperature=9", true),
                 RETORT_INVALID, "distill.stages.1.losses.kl.temperature: 1.0 there, 9.0 here");
}

static void distilling_without_a_teacher_is_refused_and_leaves_nothing(void **state)
{
    const char *folder = support_path("teacherless");
    assert_fails(tiny_run(folder, RETORT_STUDENT, false, NULL), RETORT_INVALID,
                 "teacher-1.safetensors is not there");
    assert_false(file_exists(folder));
}

static void damage(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    assert_ok(file_write(path, "rubbish", 7));
    free(path);
}

static void a_damaged_state_costs_what_came_after_the_one_before(void **state)
{
    char folder[256];
    struct tiny_stop rest = {0, 0, 0};
    snprintf(folder, sizeof(folder), "%s", support_path("damaged"));
    tiny_assert_stopped(folder, false,
                        1 + STEPS + 1 + 2); /* saved after an epoch and after two steps */
    damage(folder, "state/current.safetensors");
    assert_ok(tiny_run(folder, 0, true, &rest));
    assert_int_equal(rest.steps, PARTS * EPOCHS * STEPS - STEPS);
    tiny_assert_equal_runs(tiny_whole_run(), folder);
}

static void two_damaged_states_are_refused(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("destroyed"));
    tiny_assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    damage(folder, "state/current.safetensors");
    damage(folder, "state/previous.safetensors");
    assert_fails(tiny_run(folder, 0, true, NULL), RETORT_FORMAT, "state/current.safetensors");
}

/* ---- other data, another recipe, and the user insists ---- */

static void other_images_are_refused(void **state)
{
    char folder[256];
    struct file_bytes images;
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = tiny_recipe(), .folder = folder, .resume = true};
    char *path = file_join(tiny_folder(TRAIN_IMAGES, TEST_IMAGES), "train-images-idx3-ubyte");
    snprintf(folder, sizeof(folder), "%s", support_path("other-data"));
    tiny_assert_stopped(folder, false, 1 + STEPS + 1);
    assert_ok(file_read(path, 1 << 24, &images));
    images.data[images.size / 2] ^= 1;
    assert_ok(file_write(path, images.data, images.size));
    assert_fails(retort_run(&options, &result), RETORT_INVALID,
                 "begun with other data: data.fingerprint: ");
    assert_ok(tiny_run(folder, 0, true, NULL)); /* makes its images anew */
    tiny_assert_equal_runs(tiny_whole_run(), folder);
    free(images.data);
    free(path);
}

static void who_insists_goes_on_with_another_recipe(void **state)
{
    char folder[256];
    struct retort_run_result result;
    const char *const rates[] = {"student.train.lr=0.01"};
    struct retort_run_options options = {.recipe = tiny_recipe(), .resume = true};
    snprintf(folder, sizeof(folder), "%s", support_path("insisted"));
    tiny_assert_stopped(folder, false,
                        2 * (2 + EPOCHS * (STEPS + 1)) + 2 + 3); /* in the plain student */
    options.folder = folder;
    options.overrides = rates;
    options.override_count = 1;
    assert_fails(retort_run(&options, &result), RETORT_INVALID, "student.train.lr: ");
    options.force = true;
    assert_ok(retort_run(&options, &result));
    retort_run_release(&result);
    char *earlier = file_join(folder, "recipe.1.yaml"),
         *first = file_join(tiny_whole_run(), "recipe.yaml"),
         *teacher = file_join(folder, "teacher-2.safetensors"),
         *kept = file_join(tiny_whole_run(), "teacher-2.safetensors");
    tiny_assert_equal_files(first, earlier);
    tiny_assert_equal_files(kept, teacher);
    free(earlier);
    free(first);
    free(teacher);
    free(kept);
}

/* ---- what is not finite ---- */

static void a_run_that_diverges_names_the_last_good_state(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("diverging"));
    tiny_assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    const char *const rates[] = {"teacher.train.lr=1e3", "teacher.train.schedule=constant"};
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = tiny_recipe(),
                                               .overrides = rates,
                                               .override_count = 2,
                                               .folder = folder,
                                               .resume = true,
                                               .force = true};
    assert_fails(retort_run(&options, &result), RETORT_BACKEND, "is not finite at step");
    assert_non_null(strstr(retort_message(), "; the last good state is that after epoch 1"));
}

static void a_model_of_another_network_in_the_folder_is_refused(void **state)
{
    struct graph graph = {0};
    struct model model;
    const char *folder = support_path("foreign");
    assert_ok(file_make_folder(folder));
    assert_ok(network_build("resnet:depth=8", 10, (struct shape){1, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    char *path = file_join(folder, "teacher-1.safetensors");
    assert_ok(model_save(&model, path));
    assert_fails(tiny_run(folder, 0, false, NULL), RETORT_INVALID,
                 "holds resnet:depth=8, the recipe wants resnet:depth=8,widths=16-16-16-24");
    model_release(&model);
    free(path);
}

static void folders_that_cannot_be_are_refused(void **state)
{
    const char *file = support_path("a-file");
    assert_ok(file_write(file, "x", 1));
    assert_fails(tiny_run(file, 0, false, NULL), RETORT_IO, "a folder was wanted");
    assert_fails(tiny_run("", 0, false, NULL), RETORT_INVALID, "nothing found");
}

/* A limit on the size of files stands for a disk that becomes full at an event. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

enum { FULL = 1000 };

static int fill_disk(void *context, const struct retort_progress *progress)
{
    struct tiny_stop *stop = context;
    if (++stop->seen == stop->after)
        limit_files(FULL);
    return 0;
}

static enum retort_status run_into_full_disk(const char *folder, int after)
{
    struct rlimit before;
    struct tiny_stop stop = {after, 0, 0};
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = tiny_recipe(), .folder = folder, .listener = fill_disk, .context = &stop};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    if (after == 0)
        limit_files(FULL);
    enum retort_status status = retort_run(&options, &result);
    limit_files(before.rlim_cur);
    if (status == RETORT_OK)
        retort_run_release(&result);
    return status;
}

/* Whenever that is: the run ends with a sentence, nothing half-written is left, what was finished
 * is there, and with room again it goes on. */
static void a_full_disk_stops_the_run_and_does_no_harm(void **state)
{
    for (int after = 0; after <= EVENTS; after += after < EVENTS - 4 ? 5 : 1) {
        char name[32], folder[256];
        struct tiny_stop rest = {0, 0, 0};
        snprintf(name, sizeof(name), "full-%d", after);
        snprintf(folder, sizeof(folder), "%s", support_path(name));
        assert_fails(run_into_full_disk(folder, after), RETORT_IO, ".tmp: cannot write: ");
        tiny_assert_nothing_half_written(folder);
        assert_ok(tiny_run(folder, 0, true, &rest));
        assert_true(after < EVENTS || rest.steps == 0);
        tiny_assert_equal_runs(tiny_whole_run(), folder);
    }
}

/* Permissions mean nothing to root, so root becomes somebody else for the while. */
static enum retort_status run_as_nobody(const char *folder, bool resume)
{
    const bool root = geteuid() == 0;
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = tiny_recipe(), .folder = folder, .resume = resume};
    if (root) {
        assert_int_equal(chmod(support_path(""), 0755), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    const enum retort_status status = retort_run(&options, &result);
    if (root)
        assert_int_equal(seteuid(0), 0);
    return status;
}

/* It becomes so in the middle of a run; what was done is still there afterwards. */
static void a_read_only_folder_stops_the_run_and_does_no_harm(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("read-only"));
    tiny_assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    char *states = file_join(folder, "state");
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(chmod(states, 0555), 0);
    assert_fails(run_as_nobody(folder, true), RETORT_IO, "read-only/lock: cannot create: ");
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(states, 0755), 0);
    assert_ok(tiny_run(folder, 0, true, NULL));
    tiny_assert_equal_runs(tiny_whole_run(), folder);
    free(states);
}

static void a_folder_that_cannot_be_made_is_refused(void **state)
{
    char folder[256], below[300];
    snprintf(folder, sizeof(folder), "%s", support_path("shut"));
    snprintf(below, sizeof(below), "%s/run", folder);
    assert_ok(file_make_folder(folder));
    assert_int_equal(chmod(folder, 0555), 0);
    assert_fails(run_as_nobody(below, false), RETORT_IO, "shut/run");
    assert_false(file_exists(below));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_with_a_run_is_refused_without_resume),
        cmocka_unit_test(another_recipe_is_refused_and_the_setting_named),
        cmocka_unit_test(distilling_without_a_teacher_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_damaged_state_costs_what_came_after_the_one_before),
        cmocka_unit_test(two_damaged_states_are_refused),
        cmocka_unit_test(other_images_are_refused),
        cmocka_unit_test(who_insists_goes_on_with_another_recipe),
        cmocka_unit_test(a_run_that_diverges_names_the_last_good_state),
        cmocka_unit_test(a_model_of_another_network_in_the_folder_is_refused),
        cmocka_unit_test(folders_that_cannot_be_are_refused),
        cmocka_unit_test(a_full_disk_stops_the_run_and_does_no_harm),
        cmocka_unit_test(a_read_only_folder_stops_the_run_and_does_no_harm),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
