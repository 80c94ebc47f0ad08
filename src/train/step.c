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
    const bool maps_known = member->gram && has_batch(step->maps_cache, step, moment, 0);
    const bool runs = !logits_known || (member->gram && !maps_known);
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
    if (!mean || member->gram)
        tell_all(step, &(struct teacher_view){.logits = logits,
                                              .taps = teacher->taps,
                                              .share = mean ? 0 : member->share,
                                              .gram = member->gram && runs});
    if (member->gram && step->maps_cache)
        (runs ? keep_maps : recall_maps)(step, moment);
}

static void look_at_teachers(const struct train_step *step, const struct step_moment *moment)
{
    const bool mean = step->ensemble.rule == ENSEMBLE_MEAN_LOGITS && step->teacher_count > 1;
    const int count = ensemble_draw(&step->ensemble, step->teacher_count, step->maps, step->seed,
                                    moment->number, step->members);
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
                                                     .gram = true});
    }
}

/* ---- the cache ---- */

/* Halves are good to a two-thousandth; other images, views or teachers are off by much more. */
static enum retort_status check_row(const struct train_step *step, const float *live,
                                    const float *cached, int teacher, int image)
{
    double largest = 1;
    for (int c = 0; c < step->classes; c++)
        largest = fmax(largest, fabs((double)live[c]));
    for (int c = 0; c < step->classes; c++)
        if (!(fabs((double)live[c] - (double)cached[c]) <= 0.02 * largest))
            return fail(RETORT_FORMAT,
                        "teacher cache: %g found for class %d of image %d, teacher %d says %g: the "
                        "cache is another one's; remove it",
                        (double)cached[c], c, image, teacher + 1, (double)live[c]);
    return RETORT_OK;
}

enum retort_status train_step_check_cache(const struct train_step *step,
                                          const struct step_moment *moment)
{
    for (int t = 0; t < step->teacher_count; t++) {
        executor_forward(step->teachers[t].executor, moment->images, 0);
        for (int i = 0; i < step->n; i++) {
            const int image = moment->indices[i], view = moment->views[i];
            if (!cache_has(step->cache, t, image, view))
                continue;
            cache_get(step->cache, t, image, view, step->cached);
            TRY(check_row(step,
                          executor_logits(step->teachers[t].executor) +
                              (size_t)i * (size_t)step->classes,
                          step->cached, t, image));
        }
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
    const float factor = teaching > task ? (float)(task / teaching) : 1;
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
