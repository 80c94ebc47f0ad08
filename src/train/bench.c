/* bench.c - retort/bench.h: steps of the three pairs on random data, timed one by one.
 *
 * A training step is the trainer's own (train/step.c), without its loader: what is timed is what
 * trains. */
#include "retort/bench.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "distill/objective.h"
#include "nn/cost.h"
#include "nn/engine/executor.h"
#include "train/peak.h"
#include "train/step.h"

struct pair {
    const char *name, *teacher, *student;
    int size, classes, batch;
};
static const struct pair pairs[] = {
    {"resnet", "resnet:depth=32", "resnet:depth=8", 32, 100, 128},
    {"vgg", "vgg:depth=11,bn=true", "vgg:depth=6,bn=true", 32, 100, 128},
    {"mobilenet", "mobilenet:depth=16", "mobilenet:depth=9", 64, 1000, 64},
};

enum { WARM_UP = 3, MAX_TAPS = 16 };

struct bench {
    struct pair pair;
    struct retort_bench_options options;
    enum precision precision;
    int batch;
    struct model teacher, student;
    float *images;
    int *labels;
    struct arena arena;
};

/* One mode while it is measured. */
struct session {
    struct executor *teacher, *student; /* NULL: takes no part */
    struct objective *objective;        /* NULL: forward only */
    struct optimizer optimizer;
    struct tensor teacher_taps[MAX_TAPS], student_taps[MAX_TAPS];
    struct gradient diff_taps[MAX_TAPS];
    void *workspace;
    size_t workspace_bytes;
};

/* ---- making it ---- */

static enum retort_status new_model(const struct bench *bench, const char *network, uint64_t seed,
                                    struct model *model)
{
    struct graph graph = {0};
    struct shape input = {3, bench->pair.size, bench->pair.size};
    TRY(network_build(network, bench->pair.classes, input, &graph));
    enum retort_status status = model_create(&graph, model);
    graph_release(&graph);
    TRY(status);
    model_initialise(model, seed);
    return RETORT_OK;
}

static enum retort_status open_bench(struct bench *bench)
{
    const size_t image = 3 * (size_t)bench->pair.size * (size_t)bench->pair.size;
    const struct random_stream stream = random_stream(1, RANDOM_TEST, 0, 0);
    TRY(new_model(bench, bench->pair.teacher, 1, &bench->teacher));
    TRY(new_model(bench, bench->pair.student, 2, &bench->student));
    TRY(memory_aligned((size_t)bench->batch * image * sizeof(float), (void **)&bench->images));
    TRY(memory_aligned((size_t)bench->batch * sizeof(int), (void **)&bench->labels));
    for (size_t i = 0; i < (size_t)bench->batch * image; i++)
        bench->images[i] = (float)random_normal(&stream, i);
    for (int i = 0; i < bench->batch; i++)
        bench->labels[i] = (int)random_below(&stream, (uint64_t)i, (uint32_t)bench->pair.classes);
    return RETORT_OK;
}

static void close_bench(struct bench *bench)
{
    model_release(&bench->teacher);
    model_release(&bench->student);
    free(bench->images);
    free(bench->labels);
    arena_release(&bench->arena);
}

/* All taps of both networks, with their gradients in the student. */
static enum retort_status make_executor(const struct bench *bench, const struct model *model,
                                        enum executor_mode mode, int tap_count,
                                        struct executor **executor)
{
    int taps[MAX_TAPS];
    bool diffs[MAX_TAPS];
    for (int i = 0; i < tap_count; i++) {
        taps[i] = i;
        diffs[i] = true;
    }
    struct executor_options options = {.batch = bench->batch,
                                       .mode = mode,
                                       .precision = bench->precision,
                                       .tap_count = tap_count,
                                       .taps = taps,
                                       .tap_diffs = diffs};
    TRY(executor_create(&model->graph, &options, executor));
    return executor_load(*executor, model);
}

static enum retort_status default_settings(struct bench *bench, enum loss_kind kind,
                                           const void **settings)
{
    const struct setting_table *table = loss_of(kind)->settings;
    void *made;
    TRY(arena_take(&bench->arena, table->bytes, &made));
    TRY(settings_defaults(table, made, &bench->arena));
    *settings = made;
    return RETORT_OK;
}

static enum retort_status make_objective(struct bench *bench, struct session *session,
                                         const struct graph *graph, bool distils)
{
    const void *settings[LOSS_COUNT] = {0};
    const char *names[MAX_TAPS];
    struct loss_shapes shapes = {.n = bench->batch,
                                 .classes = bench->pair.classes,
                                 .tap_count = distils ? graph->tap_count : 0,
                                 .tap_names = names,
                                 .student_taps = session->student_taps,
                                 .teacher_taps = distils ? session->teacher_taps : NULL};
    for (int i = 0; i < shapes.tap_count; i++) {
        names[i] = graph->taps[i].name;
        session->student_taps[i] = executor_layout(graph, i, bench->batch, bench->precision);
        session->teacher_taps[i] =
            executor_layout(&bench->teacher.graph, i, bench->batch, bench->precision);
    }
    TRY(default_settings(bench, LOSS_ce, &settings[LOSS_ce]));
    if (distils) {
        TRY(default_settings(bench, LOSS_kl, &settings[LOSS_kl]));
        TRY(default_settings(bench, LOSS_gram, &settings[LOSS_gram]));
    }
    return objective_create(settings, &shapes, &session->objective);
}

static enum retort_status bind(struct session *session)
{
    struct executor *const both[] = {session->teacher, session->student};
    for (int i = 0; i < 2; i++)
        if (both[i] && executor_workspace(both[i]) > session->workspace_bytes)
            session->workspace_bytes = executor_workspace(both[i]);
    TRY(memory_aligned(session->workspace_bytes, &session->workspace));
    for (int i = 0; i < 2; i++)
        if (both[i])
            TRY(executor_bind(both[i], session->workspace));
    return RETORT_OK;
}

enum mode { TRAIN_TEACHER, TRAIN_STUDENT, EVAL_TEACHER, EVAL_STUDENT, KD };
static const char *const mode_names[] = {"train-teacher", "train-student", "eval-teacher",
                                         "eval-student", "kd"};

/* In `session` the network that is trained or evaluated is the student, whichever it is. */
static enum retort_status open_session(struct bench *bench, enum mode mode, struct session *session)
{
    const struct model *model =
        mode == TRAIN_TEACHER || mode == EVAL_TEACHER ? &bench->teacher : &bench->student;
    const bool trains = mode != EVAL_TEACHER && mode != EVAL_STUDENT;
    const int taps = mode == KD ? model->graph.tap_count : 0;
    TRY(make_executor(bench, model, trains ? EXECUTOR_TRAIN : EXECUTOR_INFER, taps,
                      &session->student));
    if (mode == KD)
        TRY(make_executor(bench, &bench->teacher, EXECUTOR_INFER, taps, &session->teacher));
    TRY(bind(session));
    if (!trains)
        return RETORT_OK;
    const struct recipe_train train = {.momentum = 0.9, .nesterov = true, .weight_decay = 5e-4};
    TRY(make_objective(bench, session, &model->graph, mode == KD));
    for (int i = 0; i < taps; i++) {
        session->student_taps[i] = executor_tap(session->student, i);
        session->diff_taps[i].tensor = executor_diff_tap(session->student, i);
        session->teacher_taps[i] = executor_tap(session->teacher, i);
    }
    return optimizer_create(session->student, &model->graph, &train, &session->optimizer);
}

static void close_session(struct session *session)
{
    optimizer_release(&session->optimizer);
    objective_destroy(session->objective);
    executor_destroy(session->student);
    executor_destroy(session->teacher);
    free(session->workspace);
}

/* ---- measuring ---- */

static void step(const struct bench *bench, struct session *session)
{
    if (!session->objective) {
        executor_forward(session->student, bench->images, 0);
        return;
    }
    struct step_student student = {.executor = session->student,
                                   .objective = session->objective,
                                   .optimizer = &session->optimizer,
                                   .taps = session->student_taps,
                                   .diff_taps = session->diff_taps};
    const struct step_teacher teacher = {session->teacher, session->teacher_taps};
    struct ensemble_member member;
    const struct train_step step = {.students = &student,
                                    .teachers = &teacher,
                                    .student_count = 1,
                                    .teacher_count = session->teacher ? 1 : 0,
                                    .n = bench->batch,
                                    .classes = bench->pair.classes,
                                    .ensemble = {.rule = ENSEMBLE_MEAN},
                                    .members = &member,
                                    .maps = true};
    const struct step_moment moment = {
        .images = bench->images, .labels = bench->labels, .rate = 1e-4};
    struct objective_value value;
    train_step_forward(&step, &moment, &value);
    enum step_end end;
    train_step_backward(&step, &moment, &end);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double flops_of(const struct bench *bench, enum mode mode)
{
    double teacher = 2.0 * (double)cost_macs(&bench->teacher.graph);
    double student = 2.0 * (double)cost_macs(&bench->student.graph);
    const double of[] = {3 * teacher, 3 * student, teacher, student, teacher + 3 * student};
    return of[mode] * bench->batch;
}

static enum retort_status measure(struct bench *bench, enum mode mode, struct session *session,
                                  struct retort_bench_mode *result)
{
    const int repeat = bench->options.repeat;
    double *seconds;
    TRY(memory_zeroed((size_t)repeat, sizeof(*seconds), (void **)&seconds));
    for (int i = 0; i < WARM_UP; i++)
        step(bench, session);
    executor_profile(session->student, bench->options.profile);
    if (session->teacher)
        executor_profile(session->teacher, bench->options.profile);
    for (int i = 0; i < repeat; i++) {
        double start = omp_get_wtime();
        step(bench, session);
        seconds[i] = omp_get_wtime() - start;
    }
    qsort(seconds, (size_t)repeat, sizeof(*seconds), by_value);
    double median = seconds[repeat / 2];
    result->mode = mode_names[mode];
    result->ms = median * 1e3;
    result->least_ms = seconds[0] * 1e3;
    result->images_per_second = bench->batch / median;
    result->gflops_per_second = flops_of(bench, mode) / median * 1e-9;
    result->workspace_bytes = session->workspace_bytes;
    free(seconds);
    TRY(executor_status(session->student));
    return session->teacher ? executor_status(session->teacher) : RETORT_OK;
}

/* ---- the profile ---- */

static void print_steps(FILE *out, const char *network, const struct executor *executor,
                        double whole)
{
    for (int i = 0; i < executor_step_count(executor); i++) {
        struct executor_step s = executor_step(executor, i);
        if (s.runs == 0 || s.seconds == 0)
            continue;
        double ms = s.seconds / (double)s.runs * 1e3;
        fprintf(out, "%-8s %-44s %-26s %8.3f ms %5.1f %%", network, s.kind, s.name, ms,
                100 * ms / whole);
        if (s.flops > 0)
            fprintf(out, " %7.1f GFLOP/s", s.flops / ms * 1e-6);
        else if (s.bytes > 0)
            fprintf(out, " %7.1f GB/s", s.bytes / ms * 1e-6);
        fputc('\n', out);
    }
}

static enum retort_status print_profile(const struct session *session,
                                        struct retort_bench_mode *result)
{
    size_t size;
    FILE *out = open_memstream(&result->profile, &size);
    if (!out)
        return fail(RETORT_MEMORY, "out of memory for the profile");
    if (session->teacher)
        print_steps(out, "teacher", session->teacher, result->ms);
    print_steps(out, session->teacher ? "student" : "network", session->student, result->ms);
    return fclose(out) ? fail(RETORT_MEMORY, "out of memory for the profile") : RETORT_OK;
}

static enum retort_status run_mode(struct bench *bench, enum mode mode,
                                   struct retort_bench_mode *result)
{
    struct session session = {0};
    enum retort_status status = open_session(bench, mode, &session);
    if (status == RETORT_OK)
        status = measure(bench, mode, &session, result);
    if (status == RETORT_OK && bench->options.profile)
        status = print_profile(&session, result);
    close_session(&session);
    return status;
}

static enum retort_status find_pair(const char *name, struct pair *pair)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (strcmp(pairs[i].name, name) == 0) {
            *pair = pairs[i];
            return RETORT_OK;
        }
    return fail(RETORT_INVALID, "pair: %s found, one of resnet, vgg, mobilenet wanted", name);
}

/* NULL: all. */
static enum retort_status find_modes(const char *name, int *first, int *last)
{
    if (!name)
        return RETORT_OK;
    for (int i = 0; i < RETORT_BENCH_MODES; i++)
        if (strcmp(mode_names[i], name) == 0) {
            *first = *last = i;
            return RETORT_OK;
        }
    return fail(RETORT_INVALID,
                "mode: %s found, one of train-teacher, train-student, eval-teacher, eval-student, "
                "kd wanted",
                name);
}

enum retort_status retort_bench(const struct retort_bench_options *options,
                                struct retort_bench_result *result)
{
    struct bench bench = {.options = *options,
                          .precision = options->bf16 ? PRECISION_BF16 : PRECISION_F32};
    struct retort_bench_result made = {0};
    int first = 0, last = RETORT_BENCH_MODES - 1;
    enum retort_status status;
    TRY_DONE(find_modes(options->mode, &first, &last));
    TRY_DONE(find_pair(options->pair ? options->pair : "resnet", &bench.pair));
    bench.batch = options->batch > 0 ? options->batch : bench.pair.batch;
    bench.options.repeat = options->repeat > 0 ? options->repeat : 15;
    made.batch = bench.batch;
    made.threads = options->threads > 0 ? options->threads : omp_get_num_procs();
    omp_set_num_threads(made.threads);
    TRY_DONE(open_bench(&bench));
    made.peak_gflops_per_second = peak_gflops(made.threads);
    for (int mode = first; mode <= last; mode++)
        TRY_DONE(run_mode(&bench, (enum mode)mode, &made.modes[made.mode_count++]));
    made.peak_bytes = (long)memory_peak();
    *result = made;
    made = (struct retort_bench_result){0};
done:
    retort_bench_release(&made);
    close_bench(&bench);
    return status;
}

void retort_bench_release(struct retort_bench_result *result)
{
    for (int i = 0; i < RETORT_BENCH_MODES; i++)
        free(result->modes[i].profile);
    *result = (struct retort_bench_result){0};
}
