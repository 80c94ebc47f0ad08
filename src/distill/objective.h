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

struct objective_value {
    double total;           /* weighted sum */
    double raw[LOSS_COUNT]; /* unweighted; 0 for losses that take no part */
};
/* diff_logits and the used diff_taps are overwritten (what no loss defined is zeroed). */
struct objective_value objective_student(struct objective *objective,
                                         const struct student_view *student);

#endif
