/* trainer.c - where data, networks, losses and optimizer meet. */
#include "train/trainer.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "nn/engine/executor.h"
#include "train/fit.h"
#include "train/loading.h"
#include "train/schedule.h"
#include "train/step.h"

/* The maps of one network that the losses look at; those of unused taps have no data. */
struct tapped {
    struct executor *executor;
    struct tensor *taps;
};

struct trainer {
    struct trainer_setup setup;
    struct arena arena;
    struct loader *loader;
    struct objective *objective;
    struct optimizer optimizer;
    struct tapped student, teacher;
    struct gradient *diff_taps;
    int tap_count;
    const char **tap_names;
    int *student_tap, *teacher_tap; /* their numbers in the two graphs */
    uint64_t teacher_hash;
    void *workspace;
};

/* ---- the step ---- */

/* How many images of the batch the logits name rightly. */
static int count_right(const float *logits, int classes, const struct batch *batch)
{
    int right = 0;
    for (int i = 0; i < batch->n; i++) {
        const float *row = logits + (size_t)i * (size_t)classes;
        int best = 0;
        for (int c = 1; c < classes; c++)
            best = row[c] > row[best] ? c : best;
        right += best == batch->labels[i];
    }
    return right;
}

static enum retort_status step_once(struct trainer *trainer, const struct batch *batch, long number,
                                    double rate, struct objective_value *value, long *right)
{
    const struct train_step step = {.student = trainer->student.executor,
                                    .teacher = trainer->teacher.executor,
                                    .objective = trainer->objective,
                                    .optimizer = &trainer->optimizer,
                                    .student_taps = trainer->student.taps,
                                    .teacher_taps = trainer->teacher.taps,
                                    .diff_taps = trainer->diff_taps};
    *value = train_step_forward(&step, batch->images, batch->labels, (uint32_t)number);
    *right +=
        count_right(executor_logits(step.student), trainer->setup.model->graph.classes, batch);
    return train_step_backward(&step, rate);
}

static void add_value(struct objective_value *sum, const struct objective_value *value)
{
    sum->total += value->total;
    for (int i = 0; i < LOSS_COUNT; i++)
        sum->raw[i] += value->raw[i];
}

static struct objective_value mean_value(const struct objective_value *sum, long steps)
{
    struct objective_value mean = {sum->total / (double)steps, {0}};
    for (int i = 0; i < LOSS_COUNT; i++)
        mean.raw[i] = sum->raw[i] / (double)steps;
    return mean;
}

enum retort_status trainer_epoch(struct trainer *trainer, int epoch, training_listener *listener,
                                 void *context, struct training_report *report)
{
    const long steps = trainer_steps(trainer);
    const double start = omp_get_wtime(), waited = loader_waited(trainer->loader);
    struct training_report now = {.epoch = epoch, .steps = steps};
    struct objective_value sum = {0}, value;
    struct batch batch;
    long right = 0;
    TRY(loader_start(trainer->loader, epoch, 0));
    for (now.step = 1; now.step <= steps; now.step++) {
        const long step = (long)epoch * steps + now.step - 1;
        TRY(loader_next(trainer->loader, &batch));
        now.rate = schedule_rate(trainer->setup.train, step, trainer->setup.epochs * steps);
        TRY(step_once(trainer, &batch, step, now.rate, &value, &right));
        add_value(&sum, &value);
        if (!(value.total - value.total == 0))
            return fail(RETORT_BACKEND,
                        "the loss is not finite at step %ld of epoch %d (ce %g, kl %g, gram %g): "
                        "lower the learning rate",
                        now.step, epoch + 1, value.raw[LOSS_ce], value.raw[LOSS_kl],
                        value.raw[LOSS_gram]);
        now.images += batch.n;
        now.value = mean_value(&sum, now.step);
        now.accuracy = 100.0 * (double)right / (double)now.images;
        now.seconds = omp_get_wtime() - start;
        now.waited = loader_waited(trainer->loader) - waited;
        if (listener)
            TRY(listener(context, &now));
    }
    now.step = steps;
    *report = now;
    return RETORT_OK;
}

/* ---- making one ---- */

static enum retort_status make_loader(struct trainer *trainer)
{
    const struct recipe_data *data = trainer->setup.data;
    const struct loader_options options =
        loading_train(data, trainer->setup.train->batch, trainer->setup.seed);
    return loader_create(trainer->setup.dataset, true, &options, &trainer->loader);
}

/* Every tap named, or every one that both networks have. */
static enum retort_status choose_taps(struct trainer *trainer)
{
    const struct graph *student = &trainer->setup.model->graph;
    const struct graph *teacher = trainer->setup.teacher ? &trainer->setup.teacher->graph : NULL;
    const struct text_list *named = trainer->setup.taps;
    const int most = named && named->count ? named->count : student->tap_count;
    TRY(arena_take(&trainer->arena, (size_t)most * sizeof(char *), (void **)&trainer->tap_names));
    TRY(arena_take(&trainer->arena, (size_t)most * sizeof(int), (void **)&trainer->student_tap));
    TRY(arena_take(&trainer->arena, (size_t)most * sizeof(int), (void **)&trainer->teacher_tap));
    for (int i = 0; i < most && teacher; i++) {
        const bool asked = named && named->count;
        const char *name = asked ? named->items[i] : student->taps[i].name;
        int s = graph_find_tap(student, name), t = graph_find_tap(teacher, name);
        if (asked && (s < 0 || t < 0))
            return fail(RETORT_INVALID, "tap %s: %s has no tap of this name", name,
                        s < 0 ? student->network : teacher->network);
        if (s < 0 || t < 0)
            continue;
        trainer->tap_names[trainer->tap_count] = name;
        trainer->student_tap[trainer->tap_count] = s;
        trainer->teacher_tap[trainer->tap_count++] = t;
    }
    return RETORT_OK;
}

static enum retort_status layouts(struct trainer *trainer, const struct graph *graph,
                                  const int *numbers, struct tensor **made)
{
    const int batch = trainer->setup.train->batch;
    TRY(arena_take(&trainer->arena, (size_t)trainer->tap_count * sizeof(**made), (void **)made));
    for (int i = 0; i < trainer->tap_count; i++)
        (*made)[i] = executor_layout(graph, numbers[i], batch, trainer->setup.precision);
    return RETORT_OK;
}

static enum retort_status make_objective(struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    struct loss_shapes shapes = {.n = setup->train->batch,
                                 .classes = setup->model->graph.classes,
                                 .tap_count = trainer->tap_count,
                                 .tap_names = trainer->tap_names};
    TRY(layouts(trainer, &setup->model->graph, trainer->student_tap, &trainer->student.taps));
    if (setup->teacher)
        TRY(layouts(trainer, &setup->teacher->graph, trainer->teacher_tap, &trainer->teacher.taps));
    shapes.student_taps = trainer->student.taps;
    shapes.teacher_taps = setup->teacher ? trainer->teacher.taps : NULL;
    return objective_create(setup->losses, &shapes, &trainer->objective);
}

/* An executor that keeps the taps that the losses use; student: with their gradients. */
static enum retort_status make_executor(struct trainer *trainer, const struct model *model,
                                        const int *numbers, enum executor_mode mode,
                                        struct executor **executor)
{
    int taps[trainer->tap_count + 1];
    bool diffs[trainer->tap_count + 1];
    struct executor_options options = {.batch = trainer->setup.train->batch,
                                       .mode = mode,
                                       .precision = trainer->setup.precision,
                                       .seed = trainer->setup.seed,
                                       .taps = taps,
                                       .tap_diffs = mode == EXECUTOR_TRAIN ? diffs : NULL};
    for (int i = 0; i < trainer->tap_count; i++)
        if (objective_uses_tap(trainer->objective, i)) {
            diffs[options.tap_count] = true;
            taps[options.tap_count++] = numbers[i];
        }
    TRY(executor_create(&model->graph, &options, executor));
    return executor_load(*executor, model);
}

/* The addresses of the maps, once they are known. */
static void find_maps(struct trainer *trainer)
{
    for (int i = 0, used = 0; i < trainer->tap_count; i++) {
        if (!objective_uses_tap(trainer->objective, i))
            continue;
        trainer->student.taps[i] = executor_tap(trainer->student.executor, used);
        trainer->diff_taps[i].tensor = executor_diff_tap(trainer->student.executor, used);
        trainer->teacher.taps[i] = executor_tap(trainer->teacher.executor, used);
        used++;
    }
}

static enum retort_status make_executors(struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    TRY(make_executor(trainer, setup->model, trainer->student_tap, EXECUTOR_TRAIN,
                      &trainer->student.executor));
    size_t bytes = executor_workspace(trainer->student.executor);
    if (setup->teacher && objective_needs_teacher(trainer->objective)) {
        TRY(make_executor(trainer, setup->teacher, trainer->teacher_tap, EXECUTOR_INFER,
                          &trainer->teacher.executor));
        size_t more = executor_workspace(trainer->teacher.executor);
        bytes = more > bytes ? more : bytes;
    }
    TRY(memory_aligned(bytes, &trainer->workspace));
    TRY(executor_bind(trainer->student.executor, trainer->workspace));
    if (trainer->teacher.executor) {
        TRY(executor_bind(trainer->teacher.executor, trainer->workspace));
        trainer->teacher_hash = executor_hash(trainer->teacher.executor);
    }
    TRY(arena_take(&trainer->arena, (size_t)trainer->tap_count * sizeof(*trainer->diff_taps),
                   (void **)&trainer->diff_taps));
    find_maps(trainer);
    return optimizer_create(trainer->student.executor, &setup->model->graph, setup->train,
                            &trainer->optimizer);
}

enum retort_status trainer_create(const struct trainer_setup *setup, struct trainer **trainer)
{
    struct trainer *made = NULL;
    enum retort_status status;
    TRY(fit_shapes(&setup->model->graph, setup->dataset));
    if (setup->teacher)
        TRY(fit_shapes(&setup->teacher->graph, setup->dataset));
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->setup = *setup;
    TRY_DONE(make_loader(made));
    TRY_DONE(choose_taps(made));
    TRY_DONE(make_objective(made));
    TRY_DONE(make_executors(made));
    *trainer = made;
    return RETORT_OK;
done:
    trainer_destroy(made);
    return status;
}

void trainer_destroy(struct trainer *trainer)
{
    if (!trainer)
        return;
    loader_destroy(trainer->loader);
    optimizer_release(&trainer->optimizer);
    objective_destroy(trainer->objective);
    executor_destroy(trainer->student.executor);
    executor_destroy(trainer->teacher.executor);
    free(trainer->workspace);
    arena_release(&trainer->arena);
    free(trainer);
}

/* ---- looking at it ---- */

long trainer_steps(const struct trainer *trainer)
{
    return loader_batches(trainer->loader);
}

bool trainer_pair(const struct trainer *trainer, int index, const char *names[2])
{
    int taps[2];
    if (!objective_pair(trainer->objective, index, taps))
        return false;
    names[0] = trainer->tap_names[taps[0]];
    names[1] = trainer->tap_names[taps[1]];
    return true;
}

enum retort_status trainer_store(struct trainer *trainer)
{
    return executor_store(trainer->student.executor, trainer->setup.model);
}

enum retort_status trainer_get_velocity(const struct trainer *trainer, float *const *plain)
{
    return executor_flat_to_plain(trainer->student.executor, trainer->optimizer.velocity, plain);
}

enum retort_status trainer_set_velocity(struct trainer *trainer, float *const *plain)
{
    return executor_plain_to_flat(trainer->student.executor, plain, trainer->optimizer.velocity);
}

bool trainer_teacher_intact(const struct trainer *trainer)
{
    return !trainer->teacher.executor ||
           executor_hash(trainer->teacher.executor) == trainer->teacher_hash;
}
