/* loss.h - what a loss is: one struct of this type per file in distill/, one line in LOSS_KINDS.
 *
 * A step goes: begin; for each teacher of the ensemble `teacher`, right after that teacher's
 * forward pass (its maps are gone afterwards, so a loss keeps what it needs: probabilities, Gram
 * matrices); `student`, which gives the value and adds the weighted gradients. A step does not
 * allocate. */
#ifndef DISTILL_LOSS_H
#define DISTILL_LOSS_H

#include "base/settings.h"
#include "nn/tensor.h"

#define LOSS_KINDS(X)                                                                              \
    X(ce)                                                                                          \
    X(kl)                                                                                          \
    X(gram)                                                                                        \
    X(dkd)                                                                                         \
    X(dist)                                                                                        \
    X(at)                                                                                          \
    X(hint)                                                                                        \
    X(rkd)                                                                                         \
    X(kd_svd)

enum loss_kind {
#define LOSS_ENUM(name) LOSS_##name,
    LOSS_KINDS(LOSS_ENUM)
#undef LOSS_ENUM
        LOSS_COUNT
};

/* Known when the loss is made. Taps: student and teacher agree in number and names. */
struct loss_shapes {
    int n, classes, tap_count;
    const char *const *tap_names;
    const struct tensor *student_taps,
        *teacher_taps;       /* shapes and layout; data is not looked at.
                                teacher_taps is NULL when there is no teacher */
    bool many_gram_teachers; /* a step may have more than one teacher_view with .gram */
};

/* One teacher's outputs for this batch, in inference mode. */
struct teacher_view {
    const float *logits;       /* (n, classes) */
    const struct tensor *taps; /* tap_count */
    double share;              /* its weight in the ensemble; the shares of a step sum to 1 */
    bool gram;                 /* its maps are to be used, not only its logits */
};

/* A gradient that the losses of a step add up. */
struct gradient {
    struct tensor tensor;
    bool defined; /* false: nothing is there yet, the first loss overwrites */
};

struct student_view {
    const float *logits;        /* (n, classes) */
    const int *labels;          /* (n) */
    float *diff_logits;         /* [add] (n, classes) */
    const struct tensor *taps;  /* tap_count */
    struct gradient *diff_taps; /* [add] tap_count; only those that uses_tap says */
};

struct loss {
    const char *name;
    const struct setting_table *settings; /* its struct's first member is `double weight` */
    bool needs_teacher;

    /* settings stay valid while the loss lives. Shapes that do not fit are RETORT_INVALID and name
     * the taps and their sizes. */
    enum retort_status (*create)(const void *settings, const struct loss_shapes *shapes,
                                 void **state);
    void (*destroy)(void *state); /* accepts NULL */
    /* Does the gradient reach this tap? NULL: none. */
    bool (*uses_tap)(const void *state, int tap);
    /* The pairs of taps that it compares, by number: index 0, 1, ...; false: there are no more.
     * NULL: it compares none. */
    bool (*pair)(const void *state, int index, int taps[2]);
    /* Forget the last step's teachers. NULL: nothing to forget. */
    void (*begin)(void *state);
    /* Keep what is needed of one teacher. NULL: teachers are not looked at. */
    void (*teacher)(void *state, const struct teacher_view *teacher);
    /* Return the unweighted value; add weight * gradient. */
    double (*student)(void *state, double weight, const struct student_view *student);
};

/* The loss of a kind. */
const struct loss *loss_of(enum loss_kind kind);

#endif
