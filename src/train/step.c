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

/* With mean-logits a teacher shows its maps only, and the mean comes last. */
static void look_at_teachers(const struct train_step *step, const struct step_moment *moment)
{
    const bool mean = step->ensemble.rule == ENSEMBLE_MEAN_LOGITS && step->teacher_count > 1;
    const int count = ensemble_draw(&step->ensemble, step->teacher_count, step->maps, step->seed,
                                    moment->number, step->members);
    for (int i = 0; i < count; i++) {
        const struct ensemble_member *member = &step->members[i];
        const struct step_teacher *teacher = &step->teachers[member->teacher];
        executor_forward(teacher->executor, moment->images, 0);
        const float *logits = executor_logits(teacher->executor);
        if (mean)
            add_logits(step, logits, member->share, i == 0);
        if (!mean || member->gram)
            tell_all(step, &(struct teacher_view){.logits = logits,
                                                  .taps = teacher->taps,
                                                  .share = mean ? 0 : member->share,
                                                  .gram = member->gram});
    }
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

/* ---- students ---- */

static struct student_view view_of(const struct step_student *student,
                                   const struct step_moment *moment)
{
    return (struct student_view){.logits = executor_logits(student->executor),
                                 .labels = moment->labels,
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

enum retort_status train_step_backward(const struct train_step *step,
                                       const struct step_moment *moment)
{
    for (int i = 0; i < step->student_count; i++) {
        struct step_student *student = &step->students[i];
        if (student->task)
            backward_balanced(student, moment);
        else
            executor_backward(student->executor);
        optimizer_step(student->optimizer, moment->rate);
    }
    for (int i = 0; i < step->teacher_count; i++)
        TRY(executor_status(step->teachers[i].executor));
    for (int i = 0; i < step->student_count; i++)
        TRY(executor_status(step->students[i].executor));
    return RETORT_OK;
}
