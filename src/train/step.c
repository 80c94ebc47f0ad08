/* step.c - one step of training. */
#include "train/step.h"

#include <math.h>
#include <string.h>

/* ---- teachers ---- */

static void tell_all(const struct train_step *step, const struct teacher_view *view)
{
    for (int i = 0; i < step->student_count; i++)
        objective_teacher(step->students[i].objective, view);
}

static void add_logits(const struct train_step *step, const float *logits, double share, bool first)
{
    const size_t count = (size_t)step->n * (size_t)step->classes;
    for (size_t i = 0; i < count; i++)
        step->logits[i] = (first ? 0 : step->logits[i]) + (float)share * logits[i];
}

static bool has_batch(const struct teacher_cache *cache, const struct train_step *step,
                      const struct step_moment *moment, int teacher)
{
    for (int i = 0; cache && i < step->n; i++)
        if (!cache_has(cache, teacher, moment->indices[i], moment->views[i]))
            return false;
    return cache;
}

/* Rows of the batch into a cache where they are not there, and out of it: what was computed is
 * rounded as the cache's rows are, so that hit or miss the student sees the same. */
static void round_trip(struct teacher_cache *cache, const struct train_step *step,
                       const struct step_moment *moment, int teacher, const float *computed,
                       float *rows, size_t floats)
{
    for (int i = 0; i < step->n; i++) {
        const int image = moment->indices[i], view = moment->views[i];
        if (computed)
            cache_put(cache, teacher, image, view, computed + (size_t)i * floats);
        cache_get(cache, teacher, image, view, rows + (size_t)i * floats);
    }
}

/* A teacher that is not run, because the caches hold what it says: its maps, if they are wanted,
 * are put back into the losses. */
static void recall_maps(const struct train_step *step, const struct step_moment *moment)
{
    struct objective *objective = step->students[0].objective;
    size_t floats;
    float *kept = objective_kept(objective, &floats);
    round_trip(step->maps_cache, step, moment, 0, NULL, kept, floats);
    objective_recalled(objective);
}

static void keep_maps(const struct train_step *step, const struct step_moment *moment)
{
    size_t floats;
    float *kept = objective_kept(step->students[0].objective, &floats);
    round_trip(step->maps_cache, step, moment, 0, kept, kept, floats);
}

/* One teacher of the step, run unless the caches know what it says. With mean-logits it shows its
 * maps only. */
static void look_at_teacher(const struct train_step *step, const struct step_moment *moment,
                            const struct ensemble_member *member, bool mean, bool first)
{
    const struct step_teacher *teacher = &step->teachers[member->teacher];
    const bool logits_known = has_batch(step->cache, step, moment, member->teacher);
    const bool maps_known = member->maps && has_batch(step->maps_cache, step, moment, 0);
    const bool runs = !logits_known || (member->maps && !maps_known);
    const float *logits = NULL;
    if (runs) {
        executor_forward(teacher->executor, moment->images, 0);
        logits = executor_logits(teacher->executor);
    }
    if (step->cache) {
        round_trip(step->cache, step, moment, member->teacher, logits_known ? NULL : logits,
                   step->cached, (size_t)step->classes);
        logits = step->cached;
    }
    if (mean)
        add_logits(step, logits, member->share, first);
    if (!mean || member->maps)
        tell_all(step, &(struct teacher_view){.logits = logits,
                                              .taps = teacher->taps,
                                              .share = mean ? 0 : member->share,
                                              .maps = member->maps && runs,
                                              .map_share = member->share});
    if (member->maps && step->maps_cache)
        (runs ? keep_maps : recall_maps)(step, moment);
}

/* A teacher that was not drawn, for a later step that draws it: each looks at a batch the first
 * time that anybody does, or with random-k the cache would never be full. */
static void remember(const struct train_step *step, const struct step_moment *moment, int teacher)
{
    struct executor *executor = step->teachers[teacher].executor;
    if (has_batch(step->cache, step, moment, teacher))
        return;
    executor_forward(executor, moment->images, 0);
    round_trip(step->cache, step, moment, teacher, executor_logits(executor), step->cached,
               (size_t)step->classes);
}

static bool is_member(const struct train_step *step, int count, int teacher)
{
    for (int i = 0; i < count; i++)
        if (step->members[i].teacher == teacher)
            return true;
    return false;
}

static void look_at_teachers(const struct train_step *step, const struct step_moment *moment)
{
    const bool mean = step->ensemble.rule == ENSEMBLE_MEAN_LOGITS && step->teacher_count > 1;
    const int count = ensemble_draw(&step->ensemble, step->teacher_count, step->maps, step->seed,
                                    moment->number, step->members);
    for (int t = 0; step->cache && t < step->teacher_count; t++)
        if (!is_member(step, count, t))
            remember(step, moment, t);
    for (int i = 0; i < count; i++)
        look_at_teacher(step, moment, &step->members[i], mean, i == 0);
    if (mean)
        tell_all(step, &(struct teacher_view){.logits = step->logits, .share = 1});
}

/* What the others say to student number `to`. */
static void look_at_peers(const struct train_step *step, int to)
{
    for (int i = 0; i < step->student_count; i++) {
        const struct step_student *peer = &step->students[i];
        if (i != to)
            objective_teacher(step->students[to].objective,
                              &(struct teacher_view){.logits = executor_logits(peer->executor),
                                                     .taps = peer->taps,
                                                     .share = 1.0 / (step->student_count - 1),
                                                     .maps = true,
                                                     .map_share = 1.0 / (step->student_count - 1)});
    }
}

/* ---- the cache ---- */

/* Halves are good to a two-thousandth; other images, views or teachers are off by much more. */
static enum retort_status check_row(const char *path, const float *live, const float *cached,
                                    size_t count, const char *what, int teacher, int image)
{
    double largest = 1e-4; /* below that halves have few digits */
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)live[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)live[i] - (double)cached[i]) <= 0.02 * largest))
            return fail(RETORT_FORMAT,
                        "%s: %s %zu of image %d is %g, teacher %d says %g: these are not what the "
                        "teachers of this run say; remove the file",
                        path, what, i, image, (double)cached[i], teacher + 1, (double)live[i]);
    return RETORT_OK;
}

/* The rows of one teacher that a cache holds, against `live`, (n, floats). */
static enum retort_status check_rows(const struct train_step *step,
                                     const struct step_moment *moment,
                                     const struct teacher_cache *cache, const char *what,
                                     int teacher, const float *live, float *row, size_t floats,
                                     int *compared)
{
    const int place = cache == step->cache ? teacher : 0;
    for (int i = 0; i < step->n; i++) {
        const int image = moment->indices[i], view = moment->views[i];
        if (!cache_has(cache, place, image, view))
            continue;
        cache_get(cache, place, image, view, row);
        TRY(check_row(cache_path(cache), live + (size_t)i * floats, row, floats, what, teacher,
                      image));
        ++*compared;
    }
    return RETORT_OK;
}

/* The maps of the one teacher that are kept, as the first student's losses keep them. */
static enum retort_status check_maps(const struct train_step *step,
                                     const struct step_moment *moment, int teacher, int *compared)
{
    struct objective *objective = step->students[0].objective;
    size_t floats;
    objective_begin(objective);
    objective_teacher(objective, &(struct teacher_view){
                                     .logits = executor_logits(step->teachers[teacher].executor),
                                     .taps = step->teachers[teacher].taps,
                                     .share = 1,
                                     .maps = true,
                                     .map_share = 1});
    const float *live = objective_kept(objective, &floats);
    return check_rows(step, moment, step->maps_cache, "Gram matrix entry", teacher, live,
                      step->cached_maps, floats, compared);
}

enum retort_status train_step_check_cache(const struct train_step *step,
                                          const struct step_moment *moment, int *compared)
{
    *compared = 0;
    for (int t = 0; t < step->teacher_count; t++) {
        bool any = false;
        for (int i = 0; i < step->n && !any; i++)
            any = cache_has(step->cache, t, moment->indices[i], moment->views[i]) ||
                  (t == 0 && step->maps_cache &&
                   cache_has(step->maps_cache, 0, moment->indices[i], moment->views[i]));
        if (!any)
            continue;
        executor_forward(step->teachers[t].executor, moment->images, 0);
        TRY(check_rows(step, moment, step->cache, "logit", t,
                       executor_logits(step->teachers[t].executor), step->cached,
                       (size_t)step->classes, compared));
        if (t == 0 && step->maps_cache)
            TRY(check_maps(step, moment, t, compared));
    }
    return RETORT_OK;
}

/* ---- students ---- */

static struct student_view view_of(const struct step_student *student,
                                   const struct step_moment *moment)
{
    return (struct student_view){.logits = executor_logits(student->executor),
                                 .labels = moment->labels,
                                 .others = moment->others,
                                 .shares = moment->shares,
                                 .diff_logits = executor_diff_logits(student->executor),
                                 .taps = student->taps,
                                 .diff_taps = student->diff_taps};
}

static struct objective_value find_losses(const struct step_student *student,
                                          const struct step_moment *moment,
                                          enum objective_side side)
{
    const struct student_view view = view_of(student, moment);
    objective_choose(student->objective, side);
    const struct objective_value value =
        objective_student(student->objective, &view, moment->progress);
    objective_choose(student->objective, OBJECTIVE_ALL);
    return value;
}

void train_step_forward(const struct train_step *step, const struct step_moment *moment,
                        struct objective_value *values)
{
    for (int i = 0; i < step->student_count; i++)
        objective_begin(step->students[i].objective);
    if (step->teacher_count > 0)
        look_at_teachers(step, moment);
    for (int i = 0; i < step->student_count; i++)
        executor_forward(step->students[i].executor, moment->images, moment->number);
    for (int i = 0; i < step->student_count; i++) {
        look_at_peers(step, i);
        values[i] = find_losses(&step->students[i], moment, OBJECTIVE_ALL);
    }
}

void train_step_measure(const struct train_step *step, const struct step_moment *moment,
                        struct objective_norms *norms)
{
    const struct student_view view = view_of(&step->students[0], moment);
    objective_measure(step->students[0].objective, &view, moment->progress, norms);
    find_losses(&step->students[0], moment, OBJECTIVE_ALL); /* the gradients again */
}

/* ---- backward ---- */

static double norm_of(const float *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)numbers[i] * (double)numbers[i];
    return sqrt(sum);
}

/* The task's gradient by itself, then the teachers'; the latter is cut down to the former's norm
 * (Lee et al. 2018, KD-SVD, section 3.3). */
static void backward_balanced(const struct step_student *student, const struct step_moment *moment)
{
    const struct parameter_view *view = &student->optimizer->view;
    find_losses(student, moment, OBJECTIVE_TASK);
    executor_backward(student->executor);
    memcpy(student->task, view->gradients, view->count * sizeof(float));
    find_losses(student, moment, OBJECTIVE_TEACHING);
    executor_backward(student->executor);
    const double task = norm_of(student->task, view->count);
    const double teaching = norm_of(view->gradients, view->count);
    /* Where the task takes no part, as in a stage of Gram matrices alone, there is no measure. */
    const float factor = task > 0 && teaching > task ? (float)(task / teaching) : 1;
    for (size_t i = 0; i < view->count; i++)
        view->gradients[i] = student->task[i] + factor * view->gradients[i];
}

static enum step_end update_all(const struct train_step *step, double rate)
{
    bool finite = true, clipped = false;
    for (int i = 0; i < step->student_count; i++) {
        struct step_student *student = &step->students[i];
        student->scale = 1;
        if (!step->skips && student->optimizer->clip == 0)
            continue;
        const double norm = optimizer_gradient_norm(student->optimizer);
        if (step->skips && !isfinite(norm))
            return STEP_SKIPPED;
        student->scale = optimizer_scale(student->optimizer, norm);
        clipped |= student->scale < 1;
    }
    for (int i = 0; i < step->student_count; i++)
        finite &= optimizer_step(step->students[i].optimizer, rate, step->students[i].scale);
    return !finite ? STEP_BROKEN : clipped ? STEP_CLIPPED : STEP_DONE;
}

enum retort_status train_step_backward(const struct train_step *step,
                                       const struct step_moment *moment, enum step_end *end)
{
    for (int i = 0; i < step->student_count; i++) {
        struct step_student *student = &step->students[i];
        if (student->task)
            backward_balanced(student, moment);
        else
            executor_backward(student->executor);
    }
    *end = update_all(step, moment->rate);
    for (int i = 0; i < step->teacher_count; i++)
        TRY(executor_status(step->teachers[i].executor));
    for (int i = 0; i < step->student_count; i++)
        TRY(executor_status(step->students[i].executor));
    return RETORT_OK;
}
