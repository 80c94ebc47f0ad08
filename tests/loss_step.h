/* loss_step.h - one step of one loss on plain numbers, in any layout and precision, for the tests
 * of losses.
 *
 *     struct loss_step step = {.kind = LOSS_at, .settings = "p=2", .n = 3, .classes = 5,
 *                              .tap_count = 2, .student_maps = {{3, 4, 4}, {5, 2, 2}},
 *                              .teacher_maps = {{6, 4, 4}, {5, 2, 2}}, .teacher_count = 1};
 *     loss_step_open(&step);            random logits, labels and maps; one teacher has all of it
 *     double value = loss_step_run(&step);
 *     loss_step_check_gradient(&step, 1e-4);
 *     loss_step_close(&step);
 *
 * Maps are plain (n, c, h, w). Whatever fails fails the test. */
#ifndef TESTS_LOSS_STEP_H
#define TESTS_LOSS_STEP_H

#include "support.h"

#include "distill/loss.h"

enum { LOSS_STEP_TAPS = 4, LOSS_STEP_TEACHERS = 3 };

/* Names of the taps, in order: "a", "b", "c", "d". */
extern const char *const loss_step_names[LOSS_STEP_TAPS];

struct loss_step_map {
    int c, h, w;
};

struct loss_step_teacher {
    double share;
    bool mute; /* only its logits are to be used */
    float *logits, *taps[LOSS_STEP_TAPS];
};

struct loss_step {
    enum loss_kind kind;
    const char *settings; /* as in a recipe's text */
    int n, classes, tap_count;
    struct loss_step_map student_maps[LOSS_STEP_TAPS], teacher_maps[LOSS_STEP_TAPS];
    int teacher_count;

    float *logits, *taps[LOSS_STEP_TAPS];
    int *labels;
    struct loss_step_teacher teachers[LOSS_STEP_TEACHERS];

    enum precision type;
    int block;                        /* 0: plain */
    bool defined;                     /* the gradients of taps hold `before` when the loss comes */
    float before;                     /* exact in bf16 */
    float *diff_logits;               /* [out]; the loss finds `before` there */
    float *diff_taps[LOSS_STEP_TAPS]; /* [out] */
    bool used[LOSS_STEP_TAPS]; /* [out] where the loss does not use the tap, its diff is NaN */
};

/* Numbers are of about normal distribution and exact in bf16. The first teacher's share is 1. */
void loss_step_open(struct loss_step *step);
void loss_step_close(struct loss_step *step);
void loss_step_fill(float *numbers, size_t count, uint32_t which);

size_t loss_step_count(const struct loss_step *step, const struct loss_step_map *map);

/* The value; asserts that taps that are not used are not touched and that padding is zero. */
double loss_step_run(struct loss_step *step);

/* Every number's gradient is the central difference; allowed is times the largest of them. */
void loss_step_check_gradient(struct loss_step *step, double allowed);
/* Blocks of 1, 8 and 16, both precisions, gradients added and overwritten: all say the same, up to
 * bf16's rounding of the gradient. */
void loss_step_check_layouts(struct loss_step *step);
/* One thread and three say the same, bit for bit. */
void loss_step_check_threads(struct loss_step *step);
/* Value and gradients are finite. */
void loss_step_check_finite(struct loss_step *step);

/* The loss is not made, and says this. */
void loss_step_refused(const struct loss_step *step, const char *sentence);
/* The settings are not taken, and it is said why. */
void loss_step_refused_settings(enum loss_kind kind, const char *settings, const char *sentence);

#endif
