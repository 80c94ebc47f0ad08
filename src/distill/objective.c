/* objective.c - the weighted sum of losses. */
#include "distill/objective.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct objective {
    int n, classes, tap_count;
    double weights[LOSS_COUNT];
    bool takes_part[LOSS_COUNT];
    void *states[LOSS_COUNT];
};

enum retort_status objective_create(const void *const settings[LOSS_COUNT], const struct loss_shapes *shapes,
                                    struct objective **objective)
{
    struct objective *made;
    enum retort_status status = RETORT_OK;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->n = shapes->n;
    made->classes = shapes->classes;
    made->tap_count = shapes->tap_count;
    for (int kind = 0; kind < LOSS_COUNT && status == RETORT_OK; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        if (!settings[kind])
            continue;
        made->weights[kind] = *(const double *)settings[kind]; /* the first member, by loss.h */
        if (loss->needs_teacher && !shapes->teacher_taps)
            status = fail(RETORT_INVALID, "loss %s: needs a teacher, and there is none", loss->name);
        else
            status = loss->create(settings[kind], shapes, &made->states[kind]);
        made->takes_part[kind] = status == RETORT_OK;
    }
    if (status == RETORT_OK)
        *objective = made;
    else
        objective_destroy(made);
    return status;
}

void objective_destroy(struct objective *objective)
{
    if (!objective)
        return;
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (objective->takes_part[kind])
            loss_of((enum loss_kind)kind)->destroy(objective->states[kind]);
    free(objective);
}

bool objective_uses_tap(const struct objective *objective, int tap)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        if (objective->takes_part[kind] && loss->uses_tap && loss->uses_tap(objective->states[kind], tap))
            return true;
    }
    return false;
}

bool objective_needs_teacher(const struct objective *objective)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (objective->takes_part[kind] && loss_of((enum loss_kind)kind)->needs_teacher)
            return true;
    return false;
}

bool objective_pair(const struct objective *objective, int index, int taps[2])
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        if (!objective->takes_part[kind] || !loss->pair)
            continue;
        int count = 0;
        while (count <= index && loss->pair(objective->states[kind], count, taps))
            count++;
        if (count > index)
            return true;
        index -= count;
    }
    return false;
}

void objective_begin(struct objective *objective)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        if (objective->takes_part[kind] && loss->begin)
            loss->begin(objective->states[kind]);
    }
}

void objective_teacher(struct objective *objective, const struct teacher_view *teacher)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct loss *loss = loss_of((enum loss_kind)kind);
        if (objective->takes_part[kind] && loss->teacher)
            loss->teacher(objective->states[kind], teacher);
    }
}

/* A map that a loss promised a gradient for and gave none: zero. */
static void zero_undefined(const struct objective *objective, const struct student_view *student)
{
    for (int i = 0; i < objective->tap_count; i++)
        if (objective_uses_tap(objective, i) && !student->diff_taps[i].defined)
            memset(student->diff_taps[i].tensor.data, 0, tensor_bytes(&student->diff_taps[i].tensor));
}

struct objective_value objective_student(struct objective *objective, const struct student_view *student)
{
    struct objective_value value = {0};
    memset(student->diff_logits, 0, (size_t)objective->n * (size_t)objective->classes * sizeof(float));
    for (int i = 0; i < objective->tap_count; i++)
        student->diff_taps[i].defined = false;
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        if (!objective->takes_part[kind])
            continue;
        const struct loss *loss = loss_of((enum loss_kind)kind);
        const double weight = objective->weights[kind];
        value.raw[kind] = loss->student(objective->states[kind], weight, student);
        value.total += weight * value.raw[kind];
    }
    zero_undefined(objective, student);
    return value;
}
