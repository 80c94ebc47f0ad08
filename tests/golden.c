/* golden.c - cases computed by an outside implementation. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void golden_open(struct golden *golden, const char *name)
{
    char file[128];
    snprintf(file, sizeof(file), "%s.safetensors", name);
    const char *path = support_golden(file);
    if (!path)
        skip();
    assert_ok(safetensors_read(path, &golden->file));
    golden->name = name;
}

void golden_open_own(struct golden *golden, const char *name)
{
    char path[512];
    const char *root = getenv("TEST_ROOT");
    snprintf(path, sizeof(path), "%s/tests/vectors/%s.safetensors", root ? root : ".", name);
    assert_ok(safetensors_read(path, &golden->file));
    golden->name = name;
}

void golden_close(struct golden *golden)
{
    safetensors_release(&golden->file);
}

static const struct safetensor *find(const struct golden *golden, const char *tensor)
{
    const struct safetensor *found = safetensors_find(&golden->file, tensor);
    if (!found)
        fail_msg("%s: there is no tensor \"%s\"", golden->name, tensor);
    return found;
}

bool golden_has(const struct golden *golden, const char *tensor)
{
    return safetensors_find(&golden->file, tensor) != NULL;
}

struct golden_dims golden_dims(const struct golden *golden, const char *tensor)
{
    const struct safetensor *found = find(golden, tensor);
    struct golden_dims dims = {.rank = found->rank};
    for (int i = 0; i < found->rank; i++)
        dims.dims[i] = (int)found->dims[i];
    return dims;
}

size_t golden_count(const struct golden_dims *dims)
{
    size_t count = 1;
    for (int i = 0; i < dims->rank; i++)
        count *= (size_t)dims->dims[i];
    return count;
}

static const char *dims_text(const struct golden_dims *dims, char text[128])
{
    int used = snprintf(text, 128, dims->rank ? "" : "scalar");
    for (int i = 0; i < dims->rank && used < 128; i++)
        used += snprintf(text + used, 128 - (size_t)used, i ? "x%d" : "%d", dims->dims[i]);
    return text;
}

static const void *data_of(const struct golden *golden, const char *tensor,
                           enum safetensors_type type, struct golden_dims wanted)
{
    const struct safetensor *found = find(golden, tensor);
    struct golden_dims dims = golden_dims(golden, tensor);
    char found_text[128], wanted_text[128];
    if (found->type != type || memcmp(&dims, &wanted, sizeof(dims)))
        fail_msg("%s: tensor \"%s\" is %s %s, %s %s was wanted", golden->name, tensor,
                 safetensors_type_name(found->type), dims_text(&dims, found_text),
                 safetensors_type_name(type), dims_text(&wanted, wanted_text));
    return found->data;
}

const float *golden_floats(const struct golden *golden, const char *tensor,
                           struct golden_dims wanted)
{
    return data_of(golden, tensor, SAFETENSORS_F32, wanted);
}

const int32_t *golden_ints(const struct golden *golden, const char *tensor,
                           struct golden_dims wanted)
{
    return data_of(golden, tensor, SAFETENSORS_I32, wanted);
}

const char *golden_text(const struct golden *golden, const char *key)
{
    const char *text = safetensors_metadata(&golden->file, key);
    if (!text)
        fail_msg("%s: the metadata has no \"%s\"", golden->name, key);
    return text;
}

double golden_number(const struct golden *golden, const char *key)
{
    const char *text = golden_text(golden, key);
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end)
        fail_msg("%s: \"%s\" is \"%s\", a number was wanted", golden->name, key, text);
    return number;
}

double golden_tolerance(const struct golden *golden, const char *group, double multiple)
{
    char key[128];
    snprintf(key, sizeof(key), "float32_diff.%s", group);
    double rounding = multiple * golden_number(golden, key);
    snprintf(key, sizeof(key), "max_abs.%s", group);
    double least = 4 * 6e-8 * golden_number(golden, key);
    return rounding > least ? rounding : least;
}

static double largest_of_group(const struct golden *golden, const char *group)
{
    char key[128];
    snprintf(key, sizeof(key), "max_abs.%s", group);
    return golden_number(golden, key);
}

static void check_share(const struct golden *golden, const char *tensor, const float *values,
                        const char *group, double share)
{
    struct golden_dims dims = golden_dims(golden, tensor);
    const float *wanted = golden_floats(golden, tensor, dims);
    const size_t count = golden_count(&dims);
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += pow((double)values[i] - wanted[i], 2);
        size += pow((double)wanted[i], 2);
    }
    difference = sqrt(difference / (double)count);
    size = fmax(sqrt(size / (double)count), largest_of_group(golden, group) / 100);
    if (!(difference <= share * size))
        fail_msg("%s: \"%s\" in bf16 is off by %.3g of its size (root mean square), at most %.3g "
                 "wanted",
                 golden->name, tensor, difference / size, share);
}

void golden_check(const struct golden *golden, const char *tensor, const float *values,
                  const char *group, double multiple)
{
    if (multiple < 0) {
        check_share(golden, tensor, values, group, -multiple);
        return;
    }
    struct golden_dims dims = golden_dims(golden, tensor);
    const float *wanted = golden_floats(golden, tensor, dims);
    double tolerance = golden_tolerance(golden, group, multiple);
    size_t count = golden_count(&dims), outside = 0, worst = 0;
    double largest = -1;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs((double)values[i] - wanted[i]);
        outside += !(difference <= tolerance);
        if (!(difference <= largest) && !isnan(largest)) {
            largest = difference;
            worst = i;
        }
    }
    if (outside)
        fail_msg("%s: %zu of %zu numbers of \"%s\" are off by more than %.3g, the worst at %zu: "
                 "%.9g found, %.9g wanted",
                 golden->name, outside, count, tensor, tolerance, worst, values[worst],
                 wanted[worst]);
}

void golden_check_number(const struct golden *golden, const char *key, double value,
                         const char *group, double multiple)
{
    double wanted = golden_number(golden, key);
    double tolerance =
        multiple < 0 ? -multiple * fabs(wanted) : golden_tolerance(golden, group, multiple);
    if (!(fabs(value - wanted) <= tolerance))
        fail_msg("%s: \"%s\": %.9g found, %.9g wanted, within %.3g", golden->name, key, value,
                 wanted, tolerance);
}
