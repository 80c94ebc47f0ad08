/* objective.h - the weighted sum of losses that one stage of training minimises. */
#ifndef DISTILL_OBJECTIVE_H
#define DISTILL_OBJECTIVE_H

#include "distill/loss.h"

struct objective;

/* settings[kind]: that loss's settings, or NULL when it takes no part. The settings must outlive
 * the objective; shapes are copied. A loss that needs a teacher without teacher_taps is
 * RETORT_INVALID. */
enum retort_status objective_create(const void *const settings[LOSS_COUNT],
                                    const struct loss_shapes *shapes, struct objective **objective);
void objective_destroy(struct objective *objective);

/* Does any loss send a gradient to this tap / look at a teacher? */
bool objective_uses_tap(const struct objective *objective, int tap);
bool objective_needs_teacher(const struct objective *objective);
/* The pairs of taps that the losses compare: index 0, 1, ...; false: there are no more. */
bool objective_pair(const struct objective *objective, int index, int taps[2]);

void objective_begin(struct objective *objective);
void objective_teacher(struct objective *objective, const struct teacher_view *teacher);

/* What the losses keep of the maps of a step's one teacher (loss.h), if one loss alone looks at
 * maps and can keep them; else NULL. Put back, it is told of by objective_recalled. */
float *objective_kept(struct objective *objective, size_t *floats);
void objective_recalled(struct objective *objective);

struct objective_value {
    double total;                                 /* weighted sum */
    double raw[LOSS_COUNT], weighted[LOSS_COUNT]; /* 0 for losses that take no part */
};
/* diff_logits and the used diff_taps are overwritten (what no loss defined is zeroed). progress: of
 * the stage, from 0 to 1, for weights that change. */
struct objective_value objective_student(struct objective *objective,
                                         const struct student_view *student, double progress);

/* L2 norms of each loss's weighted gradient, at the logits and over all taps. */
struct objective_norms {
    double logits[LOSS_COUNT], taps[LOSS_COUNT];
};
/* Each loss is run alone; the gradients in `student` are worth nothing afterwards. Between
 * objective_teacher and objective_student. */
void objective_measure(struct objective *objective, const struct student_view *student,
                       double progress, struct objective_norms *norms);

/* Only some losses from now on: all; those that need no teacher (the task); those that do. */
enum objective_side { OBJECTIVE_ALL, OBJECTIVE_TASK, OBJECTIVE_TEACHING };
void objective_choose(struct objective *objective, enum objective_side side);

#endif
