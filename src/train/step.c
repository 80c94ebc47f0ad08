/* step.c - one step of training. */
#include "train/step.h"

static void look_at_teacher(const struct train_step *step, const float *images)
{
    executor_forward(step->teacher, images, 0);
    struct teacher_view view = {.logits = executor_logits(step->teacher),
                                .taps = step->teacher_taps,
                                .share = 1,
                                .gram = true};
    objective_teacher(step->objective, &view);
}

struct objective_value train_step_forward(const struct train_step *step, const float *images,
                                          const int *labels, uint32_t number)
{
    struct student_view view = {.logits = executor_logits(step->student),
                                .labels = labels,
                                .diff_logits = executor_diff_logits(step->student),
                                .taps = step->student_taps,
                                .diff_taps = step->diff_taps};
    objective_begin(step->objective);
    if (step->teacher)
        look_at_teacher(step, images);
    executor_forward(step->student, images, number);
    return objective_student(step->objective, &view);
}

enum retort_status train_step_backward(const struct train_step *step, double rate)
{
    executor_backward(step->student);
    optimizer_step(step->optimizer, rate);
    if (step->teacher)
        TRY(executor_status(step->teacher));
    return executor_status(step->student);
}
