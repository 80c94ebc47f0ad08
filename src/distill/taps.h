/* taps.h - what the losses on taps share: maps as plain rows, which taps are meant, and the mean of
 * several teachers. For losses that are not in a hurry; gram.c reads its maps itself.
 *
 * One image of a map becomes h * w rows of c floats, whatever its layout and precision. A gradient
 * is made the same way and added at the end, so a number of a bf16 gradient is rounded once. */
#ifndef DISTILL_TAPS_H
#define DISTILL_TAPS_H

#include "distill/loss.h"

/* Of one image: h * w * c. */
size_t tap_floats(const struct tensor *map);
void tap_load(const struct tensor *map, int image, float *rows);
/* The rows are added to the image's gradient, or become it where none is defined yet; then padding
 * becomes zero. When all images are done the caller sets `defined`. */
void tap_add(const struct gradient *gradient, int image, const float *rows);

/* ---- names ---- */

/* The tap whose name are these `length` bytes; -1: there is none. */
int tap_find(const struct loss_shapes *shapes, const char *name, size_t length);
/* All names, with commas between, as far as they fit. */
void taps_list(const struct loss_shapes *shapes, char *text, size_t size);

/* ---- settings that name taps; `where` is the setting, as in "at.taps" ---- */

/* chosen[tap] for every tap: all of them where no names are given. At least one, none twice. */
enum retort_status taps_choose(const char *where, const struct text_list *names,
                               const struct loss_shapes *shapes, bool *chosen);
/* The tap called name, or number `otherwise` where name is empty. */
enum retort_status tap_choose(const char *where, const char *name, int otherwise,
                              const struct loss_shapes *shapes, int *tap);

/* ---- do student and teacher agree? `loss` begins the sentence ---- */

enum retort_status tap_check_channels(const char *loss, const struct loss_shapes *shapes, int tap);
enum retort_status tap_check_sizes(const char *loss, const struct loss_shapes *shapes, int tap);

/* ---- the mean of the teachers of a step whose maps are used ---- */

struct teacher_mean {
    int teachers;
    double share; /* theirs together */
};

/* One more. What is kept moves by this part of the way to what it says: kept += part * (it - kept).
 * The first one has all of it, also when its share is 0: then it is looked at for this only. */
double teacher_mean_part(struct teacher_mean *mean, double share);

#endif
