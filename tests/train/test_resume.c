/* test_resume.c - a run that was stopped anywhere and went on ends with the same bytes as one that
 * was not (two teachers, a student in two stages with an adapter in both); and what retort_run
 * refuses to begin or to go on with. */
#include "support.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/dataset.h"
#include "event_file.h"
#include "nn/model.h"
#include "retort/plan.h"
#include "retort/run.h"
#include "tiny.h"
#include "train/evaluate.h"
#include "train/experiment.h"

enum { EPOCHS = 2, STEPS = 3, PARTS = 4, TRAIN_IMAGES = 50, TEST_IMAGES = 20, BATCH = 16 };
/* What the listener sees of a whole run: each part begins, ends, and has epochs of steps; and of
 * each teacher it is noted how little it knows. */
enum { EVENTS = PARTS * (2 + EPOCHS * (STEPS + 1)) + 2 };

static const char *const files[] = {"teacher-1.safetensors", "teacher-2.safetensors",
                                    "baseline.safetensors",  "student.safetensors",
                                    "recipe.yaml",           "exhibits.safetensors"};

static const char *write_recipe(void)
{
    char text[1024];
    const char *path = support_path("recipe.yaml");
    snprintf(text, sizeof(text),
             "name: tiny\n"
             "threads: 1\n"
             "data: {set: fashion-mnist, path: %s, pad: 2}\n"
             "teacher: {network: \"resnet:depth=8,widths=16-16-16-24\", count: 2,\n"
             "          train: {epochs: %d, batch: %d}}\n"
             "student: {network: \"resnet:depth=8,widths=16-16-16-16\", train: {batch: %d}}\n"
             "distill:\n"
             "  ensemble: {rule: random-k, k: 1, gram_teacher: random}\n"
             "  stages:\n"
             "    - {epochs: 1, losses: {gram: {}}}\n"
             "    - {epochs: %d, losses: {ce: {}, kl: {}, gram: {ramp: linear}}}\n",
             tiny_folder(TRAIN_IMAGES, TEST_IMAGES), EPOCHS, BATCH, BATCH, EPOCHS - 1);
    assert_ok(file_write(path, text, strlen(text)));
    return path;
}

/* Stops after so many events; 0: never. */
struct stop {
    int after, seen;
    long steps;   /* of training that the listener saw */
    double share; /* of the run, as it was told last */
};

static int listen_until(void *context, const struct retort_progress *progress)
{
    struct stop *stop = context;
    assert_non_null(progress->part);
    stop->steps += progress->kind == RETORT_STEP;
    if (progress->kind == RETORT_STEP || progress->kind == RETORT_EPOCH) {
        assert_true(progress->run_share > 0 && progress->run_share <= 1);
        assert_true(progress->run_remaining >= 0 || progress->run_remaining == -1);
        stop->share = progress->run_share;
    }
    return ++stop->seen == stop->after;
}

static enum retort_status run(const char *folder, unsigned parts, bool resume, struct stop *stop)
{
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = write_recipe(),
                                               .folder = folder,
                                               .parts = parts,
                                               .resume = resume,
                                               .listener = stop ? listen_until : NULL,
                                               .context = stop};
    TRY(retort_run(&options, &result));
    assert_string_equal(result.folder, folder);
    retort_run_release(&result);
    return RETORT_OK;
}

/* Gives the steps that were done. */
static long assert_stopped(const char *folder, bool resume, int after)
{
    struct stop stop = {after, 0, 0};
    assert_fails(run(folder, 0, resume, &stop), RETORT_STOPPED, "stopped");
    assert_int_equal(stop.seen, after);
    return stop.steps;
}

/* Each epoch of each part once, in order. */
static void assert_metrics_are_whole(const char *folder)
{
    static const char *const parts[] = {"teacher-1", "teacher-2", "baseline", "student"};
    char *path = file_join(folder, "metrics.jsonl");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int part = 0; part < PARTS; part++)
        for (int epoch = 1; epoch <= EPOCHS; epoch++) {
            json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            assert_non_null(line);
            assert_string_equal(json_string_value(json_object_get(line, "part")), parts[part]);
            assert_int_equal(json_integer_value(json_object_get(line, "epoch")), epoch);
            json_decref(line);
        }
    assert_int_equal(fgetc(file), '\n');
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    free(path);
}

/* The same for those who read the event files, with the accuracy on the test set at the end. */
static void assert_events_are_whole(const char *folder)
{
    static const char *const parts[] = {"teacher-1", "teacher-2", "baseline", "student"};
    static struct event_log log;
    char *events = file_join(folder, "events");
    for (int part = 0; part < PARTS; part++) {
        char *below = file_join(events, parts[part]);
        event_log_read(below, &log);
        for (int epoch = 1; epoch <= EPOCHS; epoch++)
            event_log_value(&log, "loss/total", epoch);
        assert_int_equal(event_log_count(&log, "loss/total"), EPOCHS);
        event_log_value(&log, "accuracy/test", EPOCHS);
        free(below);
    }
    free(events);
}

/* run.json without what depends on the day: how fast it was. */
static json_t *summary_of(const char *folder)
{
    char *path = file_join(folder, "run.json");
    json_t *summary = json_load_file(path, 0, NULL);
    assert_non_null(summary);
    json_t *teachers = json_object_get(summary, "teachers");
    json_t *const models[] = {json_array_get(teachers, 0), json_array_get(teachers, 1),
                              json_object_get(summary, "baseline"),
                              json_object_get(summary, "student")};
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        json_object_del(models[i], "images_per_second");
        json_object_del(models[i], "training_seconds");
    }
    free(path);
    return summary;
}

static void assert_equal_runs(const char *a, const char *b)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *first = file_join(a, files[i]), *second = file_join(b, files[i]);
        tiny_assert_equal_files(first, second);
        free(first);
        free(second);
    }
    json_t *first = summary_of(a), *second = summary_of(b);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    assert_metrics_are_whole(b);
    assert_events_are_whole(b);
}

/* The run that nobody stopped, made once. */
static const char *whole_run(void)
{
    static char folder[256];
    struct stop never = {0, 0, 0};
    if (folder[0])
        return folder;
    snprintf(folder, sizeof(folder), "%s", support_path("whole"));
    assert_ok(run(folder, 0, false, &never));
    assert_int_equal(never.seen, EVENTS);
    assert_true(never.share == 1);
    assert_metrics_are_whole(folder);
    return folder;
}

/* ---- stopping and going on ---- */

/* And no step is done twice. */
static void a_run_stopped_after_any_event_ends_the_same(void **state)
{
    char name[32], folder[256];
    for (int after = 1; after <= EVENTS; after++) {
        struct stop rest = {0, 0, 0};
        snprintf(name, sizeof(name), "stopped-%d", after);
        snprintf(folder, sizeof(folder), "%s", support_path(name));
        const long steps = assert_stopped(folder, false, after);
        assert_ok(run(folder, 0, true, &rest));
        assert_int_equal(steps + rest.steps, PARTS * EPOCHS * STEPS);
        assert_equal_runs(whole_run(), folder);
    }
}

/* Stopped again and again, a few steps each time. */
static void a_run_stopped_many_times_ends_the_same(void **state)
{
    char folder[256];
    int runs = 0;
    snprintf(folder, sizeof(folder), "%s", support_path("halting"));
    for (enum retort_status status = RETORT_STOPPED; status == RETORT_STOPPED; runs++) {
        struct stop stop = {STEPS + PARTS + 1, 0, 0}; /* ended parts are events too */
        status = run(folder, 0, runs > 0, &stop);
        assert_true(status == RETORT_OK || status == RETORT_STOPPED);
        assert_true(runs < 60);
    }
    assert_true(runs > 3);
    assert_equal_runs(whole_run(), folder);
}

static void a_finished_run_may_be_resumed(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("again"));
    assert_ok(run(folder, 0, false, NULL));
    assert_ok(run(folder, 0, true, NULL));
    assert_equal_runs(whole_run(), folder);
}

static void training_then_distilling_is_the_whole_run(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("halves"));
    assert_ok(run(folder, RETORT_TEACHERS | RETORT_BASELINE, false, NULL));
    assert_ok(run(folder, RETORT_STUDENT, true, NULL));
    assert_equal_runs(whole_run(), folder);
    assert_ok(run(folder, RETORT_TEACHERS, true, NULL)); /* forgets nothing */
    assert_equal_runs(whole_run(), folder);
}

static void a_lost_state_costs_a_part_and_no_more(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("lost"));
    assert_stopped(folder, false, 2 + STEPS + 1);
    char *path = file_join(folder, "state/current.safetensors");
    assert_true(file_exists(path));
    assert_ok(file_remove(path));
    free(path);
    assert_ok(run(folder, 0, true, NULL));
    assert_equal_runs(whole_run(), folder);
}

static enum retort_status run_with(const char *folder, const char *override, bool resume)
{
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = write_recipe(),
                                               .overrides = &override,
                                               .override_count = 1,
                                               .folder = folder,
                                               .resume = resume};
    TRY(retort_run(&options, &result));
    retort_run_release(&result);
    return RETORT_OK;
}

/* ---- images that are held out ---- */

/* The last `val_top1` of a part. */
static double told_accuracy(const char *folder, const char *part)
{
    char *path = file_join(folder, "metrics.jsonl");
    FILE *file = fopen(path, "r");
    double told = -1;
    assert_non_null(file);
    for (json_t *line; (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(line))
        if (strcmp(json_string_value(json_object_get(line, "part")), part) == 0)
            told = json_number_value(json_object_get(line, "val_top1"));
    fclose(file);
    free(path);
    return told;
}

static void assert_normalised_like(const struct model *model, const struct dataset *dataset)
{
    assert_memory_equal(model->mean, dataset->mean, sizeof(model->mean));
    assert_memory_equal(model->std, dataset->std, sizeof(model->std));
}

/* From the beginning, also with adapters: who evaluates it before it is a file sees the right
 * images. */
static void a_new_network_is_normalised_as_the_data_is(void **state)
{
    struct experiment experiment;
    struct model student, teacher;
    struct training training = {0};
    const struct retort_run_options options = {.recipe = write_recipe()};
    assert_ok(experiment_open(&options, &experiment));
    assert_true(experiment.dataset.mean[0] != 0 && experiment.dataset.std[0] != 1);
    const char *network = experiment.recipe.teacher.network;
    assert_ok(experiment_new_model(&experiment, network, 1, &teacher));
    assert_normalised_like(&teacher, &experiment.dataset);
    const struct model *teachers[] = {&teacher, &teacher};
    const struct part part = experiment_student(&experiment, 0, teachers, 2);
    assert_ok(experiment_new_model(&experiment, part.network, 1, &student));
    struct model *networks[] = {&student};
    assert_ok(training_begin(&experiment, &part, 0, networks, NULL, &training));
    assert_int_equal(training.adapters, 1);
    assert_normalised_like(training.models[0], &experiment.dataset);
    training_release(&training);
    model_release(&student);
    model_release(&teacher);
    experiment_close(&experiment);
}

/* What is told after the last epoch is what the file gives: also for a student with adapters, which
 * its file no longer has. */
static void what_is_told_of_held_out_images_is_what_the_file_gives(void **state)
{
    static const char *const parts[] = {"teacher-1", "baseline", "student"};
    enum { HELD_OUT = 10 };
    char folder[256], specification[300];
    struct dataset dataset;
    snprintf(folder, sizeof(folder), "%s", support_path("held-out"));
    assert_ok(run_with(folder, "data.val=10", false));
    snprintf(specification, sizeof(specification), "fashion-mnist:%s",
             tiny_folder(TRAIN_IMAGES, TEST_IMAGES));
    assert_ok(dataset_open(specification, &(struct dataset_options){.val = HELD_OUT, .seed = 1},
                           &dataset));
    for (int i = 0; i < 3; i++) {
        char name[64];
        struct model model;
        struct evaluation evaluation;
        snprintf(name, sizeof(name), "%s.safetensors", parts[i]);
        char *path = file_join(folder, name);
        assert_ok(model_load(path, &model));
        assert_true(model.mean[0] != 0 && model.std[0] != 1);
        assert_ok(evaluate_val(&model, &dataset, BATCH, PRECISION_F32, &evaluation));
        assert_int_equal(evaluation.images, HELD_OUT);
        assert_true(fabs(evaluation.top1 - told_accuracy(folder, parts[i])) < 1e-6);
        model_release(&model);
        free(path);
    }
    dataset_release(&dataset);
}

/* ---- what is refused ---- */

static void a_folder_with_a_run_is_refused_without_resume(void **state)
{
    assert_fails(run(whole_run(), 0, false, NULL), RETORT_INVALID, "holds a run already");
}

static void another_recipe_is_refused_and_the_setting_named(void **state)
{
    assert_fails(run_with(whole_run(), "seed=2", true), RETORT_INVALID,
                 "the run was begun with another recipe: seed: 1 there, 2 here; --force");
    assert_fails(run_with(whole_run(), "distill.stages.1.losses.kl.temperature=9", true),
                 RETORT_INVALID, "distill.stages.1.losses.kl.temperature: 1.0 there, 9.0 here");
}

static void distilling_without_a_teacher_is_refused_and_leaves_nothing(void **state)
{
    const char *folder = support_path("teacherless");
    assert_fails(run(folder, RETORT_STUDENT, false, NULL), RETORT_INVALID,
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
    struct stop rest = {0, 0, 0};
    snprintf(folder, sizeof(folder), "%s", support_path("damaged"));
    assert_stopped(folder, false, 1 + STEPS + 1 + 2); /* saved after an epoch and after two steps */
    damage(folder, "state/current.safetensors");
    assert_ok(run(folder, 0, true, &rest));
    assert_int_equal(rest.steps, PARTS * EPOCHS * STEPS - STEPS);
    assert_equal_runs(whole_run(), folder);
}

static void two_damaged_states_are_refused(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("destroyed"));
    assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    damage(folder, "state/current.safetensors");
    damage(folder, "state/previous.safetensors");
    assert_fails(run(folder, 0, true, NULL), RETORT_FORMAT, "state/current.safetensors");
}

/* ---- other data, another recipe, and the user insists ---- */

static void other_images_are_refused(void **state)
{
    char folder[256];
    struct file_bytes images;
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = write_recipe(), .folder = folder, .resume = true};
    char *path = file_join(tiny_folder(TRAIN_IMAGES, TEST_IMAGES), "train-images-idx3-ubyte");
    snprintf(folder, sizeof(folder), "%s", support_path("other-data"));
    assert_stopped(folder, false, 1 + STEPS + 1);
    assert_ok(file_read(path, 1 << 24, &images));
    images.data[images.size / 2] ^= 1;
    assert_ok(file_write(path, images.data, images.size));
    assert_fails(retort_run(&options, &result), RETORT_INVALID,
                 "begun with other data: data.fingerprint: ");
    assert_ok(run(folder, 0, true, NULL)); /* makes its images anew */
    assert_equal_runs(whole_run(), folder);
    free(images.data);
    free(path);
}

static void who_insists_goes_on_with_another_recipe(void **state)
{
    char folder[256];
    struct retort_run_result result;
    const char *const rates[] = {"student.train.lr=0.01"};
    struct retort_run_options options = {.recipe = write_recipe(), .resume = true};
    snprintf(folder, sizeof(folder), "%s", support_path("insisted"));
    assert_stopped(folder, false,
                   2 * (2 + EPOCHS * (STEPS + 1)) + 2 + 3); /* in the plain student */
    options.folder = folder;
    options.overrides = rates;
    options.override_count = 1;
    assert_fails(retort_run(&options, &result), RETORT_INVALID, "student.train.lr: ");
    options.force = true;
    assert_ok(retort_run(&options, &result));
    retort_run_release(&result);
    char *earlier = file_join(folder, "recipe.1.yaml"),
         *first = file_join(whole_run(), "recipe.yaml"),
         *teacher = file_join(folder, "teacher-2.safetensors"),
         *kept = file_join(whole_run(), "teacher-2.safetensors");
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
    assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    const char *const rates[] = {"teacher.train.lr=1e3", "teacher.train.schedule=constant"};
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = write_recipe(),
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
    assert_fails(run(folder, 0, false, NULL), RETORT_INVALID,
                 "holds resnet:depth=8, the recipe wants resnet:depth=8,widths=16-16-16-24");
    model_release(&model);
    free(path);
}

static void folders_that_cannot_be_are_refused(void **state)
{
    const char *file = support_path("a-file");
    assert_ok(file_write(file, "x", 1));
    assert_fails(run(file, 0, false, NULL), RETORT_IO, "a folder was wanted");
    assert_fails(run("", 0, false, NULL), RETORT_INVALID, "nothing found");
}

static void assert_nothing_half_written(const char *folder)
{
    char *below = file_join(folder, "state");
    const char *const folders[] = {folder, below};
    for (int i = 0; i < 2; i++) {
        DIR *entries = opendir(folders[i]);
        for (struct dirent *entry; entries && (entry = readdir(entries));)
            assert_null(strstr(entry->d_name, ".tmp"));
        if (entries)
            closedir(entries);
    }
    free(below);
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
    struct stop *stop = context;
    if (++stop->seen == stop->after)
        limit_files(FULL);
    return 0;
}

static enum retort_status run_into_full_disk(const char *folder, int after)
{
    struct rlimit before;
    struct stop stop = {after, 0, 0};
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = write_recipe(), .folder = folder, .listener = fill_disk, .context = &stop};
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
        struct stop rest = {0, 0, 0};
        snprintf(name, sizeof(name), "full-%d", after);
        snprintf(folder, sizeof(folder), "%s", support_path(name));
        assert_fails(run_into_full_disk(folder, after), RETORT_IO, ".tmp: cannot write: ");
        assert_nothing_half_written(folder);
        assert_ok(run(folder, 0, true, &rest));
        assert_true(after < EVENTS || rest.steps == 0);
        assert_equal_runs(whole_run(), folder);
    }
}

/* Permissions mean nothing to root, so root becomes somebody else for the while. */
static enum retort_status run_as_nobody(const char *folder, bool resume)
{
    const bool root = geteuid() == 0;
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = write_recipe(), .folder = folder, .resume = resume};
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
    assert_stopped(folder, false, 1 + STEPS + 1 + 2);
    char *states = file_join(folder, "state");
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(chmod(states, 0555), 0);
    assert_fails(run_as_nobody(folder, true), RETORT_IO, "read-only/lock: cannot create: ");
    assert_int_equal(chmod(folder, 0755), 0);
    assert_int_equal(chmod(states, 0755), 0);
    assert_ok(run(folder, 0, true, NULL));
    assert_equal_runs(whole_run(), folder);
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

/* ---- teachers from files ---- */

static enum retort_status run_with_teachers(const char *folder, const char *files_of, bool force)
{
    char weights[1024];
    struct retort_run_result result;
    snprintf(weights, sizeof(weights), "teacher.weights=%s", files_of);
    const char *const overrides[] = {"teacher.network=", weights};
    const struct retort_run_options options = {.recipe = write_recipe(),
                                               .overrides = overrides,
                                               .override_count = 2,
                                               .folder = folder,
                                               .force = force};
    TRY(retort_run(&options, &result));
    assert_int_equal(result.count, PARTS);
    assert_int_equal(strncmp(files_of, result.models[0].path, strlen(result.models[0].path)), 0);
    retort_run_release(&result);
    return RETORT_OK;
}

static void teachers_from_files_teach_the_same(void **state)
{
    char folder[256], both[1024];
    char *one = file_join(whole_run(), "teacher-1.safetensors"),
         *two = file_join(whole_run(), "teacher-2.safetensors");
    snprintf(folder, sizeof(folder), "%s", support_path("given"));
    snprintf(both, sizeof(both), "%s,%s", one, two);
    assert_ok(run_with_teachers(folder, both, true));
    char *a = file_join(whole_run(), "student.safetensors"),
         *b = file_join(folder, "student.safetensors"),
         *none = file_join(folder, "teacher-1.safetensors");
    tiny_assert_equal_files(a, b);
    assert_false(file_exists(none));
    free(a);
    free(b);
    free(none);
    free(one);
    free(two);
}

/* These have seen a few images: they are at chance. */
static void a_teacher_that_knows_nothing_is_refused(void **state)
{
    char *teacher = file_join(whole_run(), "teacher-1.safetensors");
    assert_fails(run_with_teachers(support_path("ignorant"), teacher, false), RETORT_INVALID,
                 "it knows nothing that it could teach");
    assert_non_null(strstr(retort_message(), "teacher-1.safetensors: "));
    assert_non_null(strstr(retort_message(), "chance is 10.00 %"));
    free(teacher);
}

/* A copy of the teacher whose classes are in another order. */
static void changed_teacher(const char *path)
{
    struct model model;
    char *teacher = file_join(whole_run(), "teacher-1.safetensors");
    assert_ok(model_load(teacher, &model));
    char *first = model.class_names[0];
    model.class_names[0] = model.class_names[1];
    model.class_names[1] = first;
    assert_ok(model_save(&model, path));
    model_release(&model);
    free(teacher);
}

static void a_teacher_with_other_classes_is_refused(void **state)
{
    char path[256];
    snprintf(path, sizeof(path), "%s", support_path("exchanged.safetensors"));
    changed_teacher(path);
    assert_fails(run_with_teachers(support_path("exchanged"), path, true), RETORT_INVALID,
                 "in the same order wanted");
}

static void assert_refused(const char *network, int classes, float mean, const char *text)
{
    struct graph graph = {0};
    struct model model;
    const char *path = support_path("odd.safetensors"), *folder = support_path("odd");
    assert_ok(network_build(network, classes, (struct shape){1, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    model.mean[0] = mean;
    assert_ok(model_save(&model, path));
    model_release(&model);
    assert_fails(run_with_teachers(folder, path, false), RETORT_INVALID, text);
    assert_non_null(strstr(retort_message(), "recipe.yaml:4: teacher.weights: "));
    assert_non_null(strstr(retort_message(), "odd.safetensors: "));
    assert_false(file_exists(folder));
}

static void a_teacher_that_does_not_fit_is_refused(void **state)
{
    assert_refused("resnet:depth=8", 7, 0, "has 7 classes, the data set fashion-mnist has 10");
    assert_refused("resnet:depth=8,input=3x32x32", 10, 0, "takes images of 3x32x32");
    assert_refused("resnet:depth=8", 10, 0.9f, "normalised with mean 0.9000");
    assert_fails(run_with_teachers(support_path("odd"), "/nowhere/t.safetensors", false), RETORT_IO,
                 "teacher.weights: /nowhere/t.safetensors");
}

/* ---- the plan ---- */

static void a_plan_tells_what_a_run_does_and_writes_nothing(void **state)
{
    struct retort_plan plan;
    const char *folder = support_path("planned");
    const struct retort_run_options options = {.recipe = write_recipe(), .folder = folder};
    assert_ok(retort_plan(&options, &plan));
    assert_false(file_exists(folder));
    assert_string_equal(plan.folder, folder);
    assert_string_equal(plan.teacher, "resnet:depth=8,widths=16-16-16-24");
    assert_int_equal(plan.teacher_count, 2);
    assert_int_equal(plan.adapter_count, 1);
    assert_string_equal(plan.adapters[0].tap, "stage3");
    assert_int_equal(plan.adapters[0].from, 16);
    assert_int_equal(plan.adapters[0].to, 24);
    assert_int_equal(plan.classes, 10);
    assert_int_equal(plan.pair_count, 6);
    assert_string_equal(plan.pairs[0].first, "stem");
    assert_string_equal(plan.pairs[5].second, "stage3");
    assert_int_equal(plan.part_count, PARTS + 1); /* the student has two stages */
    for (int i = 0; i < plan.part_count; i++) {
        assert_int_equal(plan.parts[i].epochs, i < PARTS - 1 ? EPOCHS : 1);
        assert_int_equal(plan.parts[i].steps, STEPS);
        assert_int_equal(plan.parts[i].batch, BATCH);
        assert_true(plan.parts[i].step_seconds > 0);
        assert_true(plan.parts[i].seconds >= plan.parts[i].step_seconds * STEPS);
    }
    char *path = file_join(whole_run(), "recipe.yaml");
    struct file_bytes recipe;
    assert_ok(file_read(path, 1 << 16, &recipe));
    assert_string_equal(plan.recipe, (const char *)recipe.data);
    free(recipe.data);
    free(path);
    retort_plan_release(&plan);
}

static void a_plan_knows_the_parts_that_are_asked_for(void **state)
{
    struct retort_plan plan;
    const struct retort_run_options options = {.recipe = write_recipe(), .parts = RETORT_STUDENT};
    assert_ok(retort_plan(&options, &plan));
    assert_string_equal(plan.folder, "runs/tiny");
    assert_int_equal(plan.part_count, 2);
    assert_string_equal(plan.parts[0].part, "student");
    assert_int_equal(plan.parts[1].stage, 2);
    retort_plan_release(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_stopped_after_any_event_ends_the_same),
        cmocka_unit_test(a_run_stopped_many_times_ends_the_same),
        cmocka_unit_test(a_finished_run_may_be_resumed),
        cmocka_unit_test(training_then_distilling_is_the_whole_run),
        cmocka_unit_test(a_lost_state_costs_a_part_and_no_more),
        cmocka_unit_test(a_new_network_is_normalised_as_the_data_is),
        cmocka_unit_test(what_is_told_of_held_out_images_is_what_the_file_gives),
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
        cmocka_unit_test(teachers_from_files_teach_the_same),
        cmocka_unit_test(a_teacher_that_knows_nothing_is_refused),
        cmocka_unit_test(a_teacher_with_other_classes_is_refused),
        cmocka_unit_test(a_teacher_that_does_not_fit_is_refused),
        cmocka_unit_test(a_plan_tells_what_a_run_does_and_writes_nothing),
        cmocka_unit_test(a_plan_knows_the_parts_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
