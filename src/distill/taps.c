/* taps.c - see taps.h. */
#include "distill/taps.h"

#include <string.h>

/* ---- rows ---- */

size_t tap_floats(const struct tensor *map)
{
    return (size_t)map->h * (size_t)map->w * (size_t)map->c;
}

/* Where an image's numbers of a block of channels begin, and how many of them are not padding. */
static size_t block_place(const struct tensor *map, int image, int block)
{
    const size_t blocks = (size_t)(tensor_channels(map) / map->block);
    return ((size_t)image * blocks + (size_t)block) * (size_t)map->h * (size_t)map->w *
           (size_t)map->block;
}

static int block_channels(const struct tensor *map, int block)
{
    const int left = map->c - block * map->block;
    return left < map->block ? left : map->block;
}

static float number_at(const struct tensor *map, size_t place)
{
    return map->type == PRECISION_BF16 ? bf16_to_float(((const uint16_t *)map->data)[place])
                                       : ((const float *)map->data)[place];
}

static void put_number(const struct tensor *map, size_t place, float number)
{
    if (map->type == PRECISION_BF16)
        ((uint16_t *)map->data)[place] = bf16_from_float(number);
    else
        ((float *)map->data)[place] = number;
}

void tap_load(const struct tensor *map, int image, float *rows)
{
    const int positions = map->h * map->w;
    for (int b = 0; b * map->block < map->c; b++) {
        const int channels = block_channels(map, b);
        size_t place = block_place(map, image, b);
        float *row = rows + b * map->block;
        for (int p = 0; p < positions; p++, place += (size_t)map->block, row += map->c)
            for (int c = 0; c < channels; c++)
                row[c] = number_at(map, place + (size_t)c);
    }
}

void tap_add(const struct gradient *gradient, int image, const float *rows)
{
    const struct tensor *map = &gradient->tensor;
    const int positions = map->h * map->w;
    for (int b = 0; b * map->block < map->c; b++) {
        const int channels = block_channels(map, b);
        size_t place = block_place(map, image, b);
        const float *row = rows + b * map->block;
        for (int p = 0; p < positions; p++, place += (size_t)map->block, row += map->c) {
            for (int c = 0; c < channels; c++) {
                float before = gradient->defined ? number_at(map, place + (size_t)c) : 0;
                put_number(map, place + (size_t)c, before + row[c]);
            }
            for (int c = channels; c < map->block; c++)
                put_number(map, place + (size_t)c, 0);
        }
    }
}

/* ---- names ---- */

int tap_find(const struct loss_shapes *shapes, const char *name, size_t length)
{
    for (int tap = 0; tap < shapes->tap_count; tap++)
        if (strlen(shapes->tap_names[tap]) == length &&
            strncmp(shapes->tap_names[tap], name, length) == 0)
            return tap;
    return -1;
}

void taps_list(const struct loss_shapes *shapes, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int tap = 0; tap < shapes->tap_count && used < size; tap++) {
        snprintf(text + used, size - used, "%s%s", tap ? ", " : "", shapes->tap_names[tap]);
        used = strlen(text);
    }
}

static enum retort_status unknown_tap(const char *where, const struct loss_shapes *shapes,
                                      const char *name)
{
    char known[512];
    taps_list(shapes, known, sizeof(known));
    return fail(RETORT_INVALID, "%s: there is no tap \"%s\", taps are %s", where, name, known);
}

static enum retort_status check_any(const char *where, const struct loss_shapes *shapes)
{
    if (shapes->tap_count < 1)
        return fail(RETORT_INVALID,
                    "%s: no taps found that student and teacher both have, at "
                    "least one wanted",
                    where);
    return RETORT_OK;
}

enum retort_status taps_choose(const char *where, const struct text_list *names,
                               const struct loss_shapes *shapes, bool *chosen)
{
    TRY(check_any(where, shapes));
    for (int tap = 0; tap < shapes->tap_count; tap++)
        chosen[tap] = names->count == 0;
    for (int i = 0; i < names->count; i++) {
        const int tap = tap_find(shapes, names->items[i], strlen(names->items[i]));
        if (tap < 0)
            return unknown_tap(where, shapes, names->items[i]);
        if (chosen[tap])
            return fail(RETORT_INVALID, "%s: %s found again, each tap once wanted", where,
                        names->items[i]);
        chosen[tap] = true;
    }
    return RETORT_OK;
}

enum retort_status tap_choose(const char *where, const char *name, int otherwise,
                              const struct loss_shapes *shapes, int *tap)
{
    TRY(check_any(where, shapes));
    const int found = name[0] ? tap_find(shapes, name, strlen(name)) : otherwise;
    if (found < 0)
        return unknown_tap(where, shapes, name);
    *tap = found;
    return RETORT_OK;
}

/* ---- shapes ---- */

enum retort_status tap_check_channels(const char *loss, const struct loss_shapes *shapes, int tap)
{
    const int student = shapes->student_taps[tap].c, teacher = shapes->teacher_taps[tap].c;
    if (student != teacher)
        return fail(RETORT_INVALID,
                    "%s: taps %s differ: student %d, teacher %d channels; a 1x1 adapter would be "
                    "needed between them and there is none",
                    loss, shapes->tap_names[tap], student, teacher);
    return RETORT_OK;
}

enum retort_status tap_check_sizes(const char *loss, const struct loss_shapes *shapes, int tap)
{
    const struct tensor *student = &shapes->student_taps[tap];
    const struct tensor *teacher = &shapes->teacher_taps[tap];
    if (student->h != teacher->h || student->w != teacher->w)
        return fail(RETORT_INVALID,
                    "%s: taps %s differ: student %dx%d, teacher %dx%d found, equal sizes wanted",
                    loss, shapes->tap_names[tap], student->h, student->w, teacher->h, teacher->w);
    return RETORT_OK;
}

/* ---- several teachers ---- */

double teacher_mean_part(struct teacher_mean *mean, double share)
{
    mean->share += share;
    const bool first = mean->teachers++ == 0 || mean->share == 0;
    return first ? 1 : share / mean->share;
}
