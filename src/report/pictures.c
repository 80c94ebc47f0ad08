/* pictures.c - exhibits.safetensors of a run for the page.
 *
 * Numbers become bytes here, so that the page stays small: a matrix has 64 x 64 squares at most.
 * All matrices of a pair share one scale, or they could not be compared: from 0 to the teacher's
 * highest, on which a student that has gone astray has no influence; that of the square root,
 * because few entries are large. */
#include "report/pictures.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"

enum { MOST_SQUARES = 64, MOST_SIDE = 1 << 16, MOST_SAMPLES = 256 };

static const char *const parts[] = {"teacher-1", "baseline", "student"};
static const char *const gram_networks[] = {"teacher-1", "student.start", "baseline", "student"};
enum {
    PARTS = sizeof(parts) / sizeof(parts[0]),
    NETWORKS = sizeof(gram_networks) / sizeof(gram_networks[0])
};

char *pictures_base64(const uint8_t *bytes, size_t count)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((count + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; text && i < count; i += 3) {
        const size_t left = count - i;
        const unsigned three = (unsigned)bytes[i] << 16 |
                               (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                               (left > 2 ? (unsigned)bytes[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    if (text)
        *to = '\0';
    return text;
}

static json_t *base64(const uint8_t *bytes, size_t count)
{
    char *text = pictures_base64(bytes, count);
    json_t *made = text ? json_string(text) : NULL;
    free(text);
    return made;
}

/* What JSON cannot say becomes 0. */
static json_t *number(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

/* ---- samples ---- */

static bool has_shape(const struct safetensor *tensor, enum safetensors_type type, int rank,
                      int64_t first)
{
    bool fits = tensor && tensor->type == type && tensor->rank == rank && tensor->dims[0] == first;
    for (int i = 0; fits && i < rank; i++)
        fits = tensor->dims[i] > 0 && tensor->dims[i] <= MOST_SIDE;
    return fits;
}

static json_t *verdict(const float *row, int64_t classes)
{
    int64_t found = 0;
    for (int64_t c = 1; c < classes; c++)
        found = row[c] > row[found] ? c : found;
    return json_pack("{s:I, s:o}", "class", (json_int_t)found, "probability", number(row[found]));
}

static json_t *verdicts(const struct safetensors *file, int64_t image, int64_t count)
{
    json_t *said = json_object();
    for (int p = 0; p < PARTS; p++) {
        char name[64];
        snprintf(name, sizeof(name), "probabilities.%s", parts[p]);
        const struct safetensor *rows = safetensors_find(file, name);
        if (has_shape(rows, SAFETENSORS_F32, 2, count))
            json_object_set_new(
                said, parts[p],
                verdict((const float *)rows->data + image * rows->dims[1], rows->dims[1]));
    }
    return said;
}

static json_t *metadata_number(const struct safetensors *file, const char *key)
{
    const char *text = safetensors_metadata(file, key);
    return json_integer(text ? atoi(text) : 0);
}

static enum retort_status add_samples(const char *path, const struct safetensors *file, json_t *run)
{
    const struct safetensor *images = safetensors_find(file, "images"),
                            *labels = safetensors_find(file, "labels"),
                            *indices = safetensors_find(file, "indices");
    if (!images)
        return RETORT_OK;
    const int64_t count = images->dims[0];
    if (!has_shape(images, SAFETENSORS_U8, 4, count) || count > MOST_SAMPLES ||
        !has_shape(labels, SAFETENSORS_I32, 1, count) ||
        !has_shape(indices, SAFETENSORS_I32, 1, count))
        return fail(RETORT_FORMAT,
                    "%s: images, labels and indices of 1 to %d images wanted, found others", path,
                    MOST_SAMPLES);
    json_t *list = json_array();
    const size_t bytes = images->bytes / (size_t)count;
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:o, s:o}", "index", ((const int32_t *)indices->data)[i],
                            "label", ((const int32_t *)labels->data)[i], "pixels",
                            base64((const uint8_t *)images->data + (size_t)i * bytes, bytes),
                            "said", verdicts(file, i, count)));
    json_object_set_new(run, "samples",
                        json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "channels",
                                  (json_int_t)images->dims[1], "height",
                                  (json_int_t)images->dims[2], "width", (json_int_t)images->dims[3],
                                  "looked_at", metadata_number(file, "looked_at"), "helped",
                                  metadata_number(file, "helped"), "hurt",
                                  metadata_number(file, "hurt"), "images", list));
    return RETORT_OK;
}

/* ---- Gram matrices ---- */

void pictures_shrink(const float *src, int rows, int columns, int most, float *dst, int shown[2])
{
    shown[0] = rows < most ? rows : most;
    shown[1] = columns < most ? columns : most;
    for (int i = 0; i < shown[0]; i++)
        for (int j = 0; j < shown[1]; j++) {
            const int top = (int)((int64_t)i * rows / shown[0]),
                      bottom = (int)((int64_t)(i + 1) * rows / shown[0]),
                      left = (int)((int64_t)j * columns / shown[1]),
                      right = (int)((int64_t)(j + 1) * columns / shown[1]);
            double sum = 0;
            for (int r = top; r < bottom; r++)
                for (int c = left; c < right; c++)
                    sum += src[(size_t)r * (size_t)columns + (size_t)c];
            dst[i * shown[1] + j] = (float)(sum / ((double)(bottom - top) * (right - left)));
        }
}

/* A matrix as it is shown. */
struct shown {
    const struct safetensor *tensor; /* NULL: there is none */
    int size[2];
    float values[MOST_SQUARES * MOST_SQUARES];
};

static double distance(const struct safetensor *a, const struct safetensor *b)
{
    const float *x = a->data, *y = b->data;
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < a->dims[0] * a->dims[1]; i++) {
        difference += pow((double)x[i] - y[i], 2);
        norm += pow(y[i], 2);
    }
    return norm > 0 ? sqrt(difference / norm) : 0;
}

static double mean_of(const struct safetensor *tensor)
{
    const int64_t count = tensor->dims[0] * tensor->dims[1];
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += ((const float *)tensor->data)[i];
    return sum / (double)count;
}

static json_t *matrix_object(const struct shown *shown, double highest,
                             const struct safetensor *teacher)
{
    const struct safetensor *tensor = shown->tensor;
    const int count = shown->size[0] * shown->size[1];
    uint8_t pixels[MOST_SQUARES * MOST_SQUARES];
    for (int i = 0; i < count; i++) {
        const double part = highest > 0 ? shown->values[i] / highest : 0;
        pixels[i] = part > 0 ? (uint8_t)(255 * sqrt(fmin(part, 1)) + 0.5) : 0;
    }
    json_t *object =
        json_pack("{s:I, s:I, s:[i, i], s:o, s:o}", "rows", (json_int_t)tensor->dims[0], "columns",
                  (json_int_t)tensor->dims[1], "shown", shown->size[0], shown->size[1], "pixels",
                  base64(pixels, (size_t)count), "mean", number(mean_of(tensor)));
    if (teacher && tensor != teacher && tensor->dims[0] == teacher->dims[0] &&
        tensor->dims[1] == teacher->dims[1])
        json_object_set_new(object, "distance", number(distance(tensor, teacher)));
    return object;
}

static void find_matrix(const struct safetensors *file, const char *pair, size_t length,
                        const char *network, struct shown *shown)
{
    char name[512];
    snprintf(name, sizeof(name), "gram.%.*s.%s", (int)length, pair, network);
    const struct safetensor *tensor = safetensors_find(file, name);
    shown->tensor =
        has_shape(tensor, SAFETENSORS_F32, 2, tensor ? tensor->dims[0] : 0) ? tensor : NULL;
    if (shown->tensor)
        pictures_shrink(tensor->data, (int)tensor->dims[0], (int)tensor->dims[1], MOST_SQUARES,
                        shown->values, shown->size);
}

static enum retort_status add_pair(const struct safetensors *file, const char *pair, size_t length,
                                   json_t *grams)
{
    struct shown *shown;
    double highest = 0;
    TRY(memory_zeroed(NETWORKS, sizeof(*shown), (void **)&shown));
    for (int n = 0; n < NETWORKS; n++) {
        find_matrix(file, pair, length, gram_networks[n], &shown[n]);
        for (int i = 0; n == 0 && shown[n].tensor && i < shown[n].size[0] * shown[n].size[1]; i++)
            highest = fmax(highest, shown[n].values[i]);
    }
    json_t *networks = json_object();
    for (int n = 0; n < NETWORKS; n++)
        if (shown[n].tensor)
            json_object_set_new(networks, gram_networks[n],
                                matrix_object(&shown[n], highest, shown[0].tensor));
    json_array_append_new(grams, json_pack("{s:s%, s:o, s:o}", "pair", pair, length, "highest",
                                           number(highest), "networks", networks));
    free(shown);
    return RETORT_OK;
}

/* Each pair has a matrix of the teacher, "gram.PAIR.teacher-1". */
static enum retort_status add_grams(const struct safetensors *file, json_t *run)
{
    static const char before[] = "gram.", after[] = ".teacher-1";
    json_t *grams = json_array();
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < file->count && status == RETORT_OK; i++) {
        const char *name = file->tensors[i].name, *pair = name + strlen(before);
        const size_t length = strlen(name), ends = strlen(after);
        if (strncmp(name, before, strlen(before)) == 0 && length > strlen(before) + ends &&
            strcmp(name + length - ends, after) == 0)
            status = add_pair(file, pair, length - strlen(before) - ends, grams);
    }
    json_object_set_new(run, "grams", grams);
    return status;
}

enum retort_status pictures_read(const char *folder, json_t *run)
{
    struct safetensors file = {0};
    char *path = file_join(folder, "exhibits.safetensors");
    enum retort_status status = path ? RETORT_OK : fail(RETORT_MEMORY, "out of memory for a page");
    if (status == RETORT_OK && file_exists(path)) {
        status = safetensors_read(path, &file);
        if (status == RETORT_OK)
            status = add_samples(path, &file, run);
        if (status == RETORT_OK)
            status = add_grams(&file, run);
        safetensors_release(&file);
    }
    free(path);
    return status;
}
