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

/* The factor of a loss in the sum, and how it changes while a stage goes on. The first member of
 * every loss's settings. */
enum loss_ramp { LOSS_CONSTANT, LOSS_LINEAR, LOSS_COSINE };
struct loss_weight {
    double weight, final; /* at the first step; at the last one, where there is a ramp */
    int ramp;             /* enum loss_ramp */
};
extern const char *const loss_ramps[];
#define LOSS_WEIGHT_ROWS(type, fallback_text)                                                      \
    {"weight",                                                                                     \
     SETTING_NUMBER,                                                                               \
     offsetof(type, weight.weight),                                                                \
     .low = 0,                                                                                     \
     .high = 1e6,                                                                                  \
     .fallback = (fallback_text),                                                                  \
     .help = "factor of this loss in the sum"},                                                    \
        {"ramp",                                                                                   \
         SETTING_CHOICE,                                                                           \
         offsetof(type, weight.ramp),                                                              \
         .choices = loss_ramps,                                                                    \
         .fallback = "constant",                                                                   \
         .help = "how the weight goes to `final` while the stage goes on"},                        \
    {                                                                                              \
        "final", SETTING_NUMBER, offsetof(type, weight.final),                                     \
            .low = 0, .high = 1e6, .fallback = "0", .help = "weight at the end of a ramp"          \
    }
/* progress: from 0 at the stage's first step to 1 at its last one. */
double loss_weight_at(const struct loss_weight *weight, double progress);

/* Known when the loss is made. Taps: student and teacher agree in number and names. */
struct loss_shapes {
    int n, classes, tap_count;
    const char *const *tap_names;
    const struct tensor *student_taps,
        *teacher_taps;      /* shapes and layout; data is not looked at.
                               teacher_taps is NULL when there is no teacher */
    bool many_map_teachers; /* a step may have more than one teacher_view with .maps */
};

/* One teacher's outputs for this batch, in inference mode. */
struct teacher_view {
    const float *logits;       /* (n, classes) */
    const struct tensor *taps; /* tap_count */
    double share;              /* of its logits in the ensemble; those of a step sum to 1 */
    bool maps;                 /* its maps are to be used, not only its logits */
    double map_share;          /* of its maps; those of a step need not sum to 1. 0 of the only one
                                  counts as all */
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
    const int *others;          /* (n): second labels, of mixed images; NULL: there are none */
    const float *shares;        /* (n): of the first label, the rest is the second's */
};

struct loss {
    const char *name;
    const struct setting_table *settings; /* its struct begins with struct loss_weight */
    bool needs_teacher;
    bool same_channels; /* taps it uses have the same channels in student and teacher: where they
                           differ, adapters are wanted before them */

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
    /* What is kept of the maps of a step's one teacher, (n, *floats) in a row, to be stored and put
     * back in a later step instead of calling `teacher`; recalled says that it was put back. NULL:
     * there is no such thing. */
    float *(*kept)(void *state, size_t *floats);
    void (*recalled)(void *state);
    /* Return the unweighted value; add weight * gradient. */
    double (*student)(void *state, double weight, const struct student_view *student);
};

/* The loss of a kind. */
const struct loss *loss_of(enum loss_kind kind);

#endif
