/* objective.c - the losses of a stage in the order of LOSS_KINDS, one after the other. */
#include "distill/objective.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct part {
    const struct loss *loss; /* NULL: takes no part */
    struct loss_weight weight;
    void *state;
};

struct objective {
    int n, classes, tap_count;
    enum objective_side side;
    struct part parts[LOSS_COUNT];
};

static enum retort_status make_part(const struct loss *loss, const void *settings,
                                    const struct loss_shapes *shapes, struct part *part)
{
    if (loss->needs_teacher && !shapes->teacher_taps)
        return fail(RETORT_INVALID, "the loss %s needs a teacher and there is none", loss->name);
    TRY(loss->create(settings, shapes, &part->state));
    part->loss = loss;
    part->weight = *(const struct loss_weight *)settings; /* the first member, see loss.h */
    return RETORT_OK;
}

enum retort_status objective_create(const void *const settings[LOSS_COUNT],
                                    const struct loss_shapes *shapes, struct objective **objective)
{
    enum retort_status status;
    struct objective *made = NULL;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->n = shapes->n;
    made->classes = shapes->classes;
    made->tap_count = shapes->tap_count;
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (settings[kind])
            TRY_DONE(make_part(loss_of(kind), settings[kind], shapes, &made->parts[kind]));
    *objective = made;
    return RETORT_OK;
done:
    objective_destroy(made);
    return status;
}

void objective_destroy(struct objective *objective)
{
    if (!objective)
        return;
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (objective->parts[kind].loss)
            objective->parts[kind].loss->destroy(objective->parts[kind].state);
    free(objective);
}

bool objective_uses_tap(const struct objective *objective, int tap)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct part *part = &objective->parts[kind];
        if (part->loss && part->loss->uses_tap && part->loss->uses_tap(part->state, tap))
            return true;
    }
    return false;
}

bool objective_needs_teacher(const struct objective *objective)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (objective->parts[kind].loss && objective->parts[kind].loss->needs_teacher)
            return true;
    return false;
}

bool objective_pair(const struct objective *objective, int index, int taps[2])
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        const struct part *part = &objective->parts[kind];
        if (!part->loss || !part->loss->pair)
            continue;
        int count = 0;
        while (count <= index && part->loss->pair(part->state, count, taps))
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
        struct part *part = &objective->parts[kind];
        if (part->loss && part->loss->begin)
            part->loss->begin(part->state);
    }
}

void objective_teacher(struct objective *objective, const struct teacher_view *teacher)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        struct part *part = &objective->parts[kind];
        if (part->loss && part->loss->teacher)
            part->loss->teacher(part->state, teacher);
    }
}

/* The only loss that looks at maps of teachers; NULL where there are several, or none. */
static struct part *map_part(struct objective *objective)
{
    struct part *found = NULL;
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        struct part *part = &objective->parts[kind];
        bool looks = false;
        for (int tap = 0; part->loss && tap < objective->tap_count; tap++)
            looks |= part->loss->uses_tap && part->loss->uses_tap(part->state, tap);
        if (looks && found)
            return NULL;
        if (looks)
            found = part;
    }
    return found;
}

float *objective_kept(struct objective *objective, size_t *floats)
{
    struct part *part = map_part(objective);
    return part && part->loss->kept ? part->loss->kept(part->state, floats) : NULL;
}

void objective_recalled(struct objective *objective)
{
    struct part *part = map_part(objective);
    part->loss->recalled(part->state);
}

static void forget_gradients(const struct objective *objective, const struct student_view *student)
{
    size_t logits = (size_t)objective->n * (size_t)objective->classes;
    memset(student->diff_logits, 0, logits * sizeof(float));
    for (int tap = 0; tap < objective->tap_count; tap++)
        if (objective_uses_tap(objective, tap))
            student->diff_taps[tap].defined = false;
}

static void zero_undefined(const struct objective *objective, const struct student_view *student)
{
    for (int tap = 0; tap < objective->tap_count; tap++)
        if (objective_uses_tap(objective, tap) && !student->diff_taps[tap].defined) {
            struct gradient *gradient = &student->diff_taps[tap];
            memset(gradient->tensor.data, 0, tensor_bytes(&gradient->tensor));
            gradient->defined = true;
        }
}

void objective_choose(struct objective *objective, enum objective_side side)
{
    objective->side = side;
}

static bool takes_part(const struct objective *objective, const struct part *part)
{
    return part->loss && (objective->side == OBJECTIVE_ALL ||
                          part->loss->needs_teacher == (objective->side == OBJECTIVE_TEACHING));
}

struct objective_value objective_student(struct objective *objective,
                                         const struct student_view *student, double progress)
{
    struct objective_value value = {0};
    forget_gradients(objective, student);
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        struct part *part = &objective->parts[kind];
        if (!takes_part(objective, part))
            continue;
        const double weight = loss_weight_at(&part->weight, progress);
        value.raw[kind] = part->loss->student(part->state, weight, student);
        value.weighted[kind] = weight * value.raw[kind];
        value.total += value.weighted[kind];
    }
    zero_undefined(objective, student);
    return value;
}

/* ---- measuring ---- */

static double tensor_squares(const struct tensor *tensor)
{
    const size_t count = tensor_count(tensor);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double x = tensor->type == PRECISION_BF16
                             ? (double)bf16_to_float(((const uint16_t *)tensor->data)[i])
                             : (double)((const float *)tensor->data)[i];
        sum += x * x;
    }
    return sum;
}

static void take_norms(const struct objective *objective, const struct student_view *student,
                       double *logits, double *taps)
{
    const size_t count = (size_t)objective->n * (size_t)objective->classes;
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)student->diff_logits[i] * (double)student->diff_logits[i];
    *logits = sqrt(sum);
    sum = 0;
    for (int tap = 0; tap < objective->tap_count; tap++)
        if (objective_uses_tap(objective, tap) && student->diff_taps[tap].defined)
            sum += tensor_squares(&student->diff_taps[tap].tensor);
    *taps = sqrt(sum);
}

void objective_measure(struct objective *objective, const struct student_view *student,
                       double progress, struct objective_norms *norms)
{
    *norms = (struct objective_norms){0};
    for (int kind = 0; kind < LOSS_COUNT; kind++) {
        struct part *part = &objective->parts[kind];
        if (!part->loss)
            continue;
        forget_gradients(objective, student);
        part->loss->student(part->state, loss_weight_at(&part->weight, progress), student);
        take_norms(objective, student, &norms->logits[kind], &norms->taps[kind]);
    }
}
