/* reference.c - what others have published about a pair of networks.
 *
 * Other budgets, augmentations and definitions stand behind these numbers: they say what order of
 * magnitude to expect, not what is to be met. Top-1 in percent. */
#include "report/reference.h"

#include <stdbool.h>
#include <string.h>

enum { MOST_FIGURES = 8 };

struct reference {
    const char *pair, *data, *teacher, *student, *source;
    struct {
        const char *what; /* "gain": points over the plain student */
        double value;
    } figures[MOST_FIGURES];
};

#define THESIS     "Chou, NTHU 2019; Chou, Chiu, Liao, APSIPA Trans. SIP 10(1) e18, 2021"
#define BENCHMARKS "the public tables of RepDistiller and mdistiller"

static const struct reference references[] = {
    {"ResNet-32 to ResNet-8",
     "cifar100",
     "resnet:depth=32",
     "resnet:depth=8",
     THESIS,
     {{"gain", 4.38}, {"fewer parameters", 6.11}, {"less compute", 5.27}}},
    {"VGG-11 to VGG-6",
     "cifar100",
     "vgg:depth=11",
     "vgg:depth=6",
     THESIS,
     {{"gain", 3.57}, {"fewer parameters", 2.08}, {"less compute", 3.50}}},
    {"VGG-11 to VGG-6 without batch norm",
     "cifar100",
     "vgg:depth=11,bn=false",
     "vgg:depth=6,bn=false",
     THESIS ", for the gain; else the public tables of SSKD",
     {{"gain", 3.57},
      {"teacher", 64.44},
      {"plain student", 61.37},
      {"FSP", 64.54},
      {"KD-SVD", 65.05},
      {"fewer parameters", 2.08},
      {"less compute", 3.50}}},
    {"MobileNet-16 to MobileNet-9",
     "imagenet64",
     "mobilenet:depth=16",
     "mobilenet:depth=9",
     THESIS,
     {{"gain", 3.98}, {"fewer parameters", 1.59}, {"less compute", 2.05}}},
    {"ResNet-32x4 to ResNet-8x4",
     "cifar100",
     "resnet:depth=32,widths=32-64-128-256,shortcut=B",
     "resnet:depth=8,widths=32-64-128-256,shortcut=B",
     BENCHMARKS,
     {{"teacher", 79.42},
      {"plain student", 72.50},
      {"KD", 73.33},
      {"FSP", 72.62},
      {"CRD", 75.51},
      {"DKD", 76.32}}},
    {"ResNet-56 to ResNet-20",
     "cifar100",
     "resnet:depth=56,shortcut=B",
     "resnet:depth=20,shortcut=B",
     BENCHMARKS,
     {{"teacher", 72.34}, {"plain student", 69.06}, {"KD", 70.66}, {"FSP", 69.95}, {"CRD", 71.16}}},
    {"ResNet-110 to ResNet-32",
     "cifar100",
     "resnet:depth=110,shortcut=B",
     "resnet:depth=32,shortcut=B",
     BENCHMARKS,
     {{"teacher", 74.31}, {"plain student", 71.14}, {"KD", 73.08}, {"FSP", 71.89}, {"CRD", 73.48}}},
};
enum { REFERENCES = sizeof(references) / sizeof(references[0]) };

/* Is every "key=value" of a, separated by commas, one of b's? */
static bool has_all(const char *a, const char *b)
{
    for (; *a; a += *a == ',') {
        const size_t length = strcspn(a, ",");
        bool found = false;
        for (const char *at = b; *at && !found; at += strcspn(at, ","), at += *at == ',')
            found = strcspn(at, ",") == length && strncmp(a, at, length) == 0;
        if (!found)
            return false;
        a += length;
    }
    return true;
}

/* The same specification, in whatever order its keys stand. */
static bool same_network(const char *a, const char *b)
{
    const size_t family = strcspn(a, ":");
    if (strcspn(b, ":") != family || strncmp(a, b, family))
        return false;
    a += family + (a[family] == ':');
    b += family + (b[family] == ':');
    return has_all(a, b) && has_all(b, a);
}

static const struct reference *find(const char *data, const char *teacher, const char *student)
{
    for (int i = 0; data && teacher && student && i < REFERENCES; i++)
        if (strcmp(references[i].data, data) == 0 && same_network(references[i].teacher, teacher) &&
            same_network(references[i].student, student))
            return &references[i];
    return NULL;
}

const char *reference_find(const char *data, const char *teacher, const char *student)
{
    const struct reference *found = find(data, teacher, student);
    return found ? found->pair : NULL;
}

static const struct reference *of_run(const json_t *run)
{
    const json_t *summary = json_object_get(run, "summary");
    const json_t *teacher = json_array_get(json_object_get(summary, "teachers"), 0);
    return find(json_string_value(json_object_get(run, "data")),
                json_string_value(json_object_get(teacher, "network")),
                json_string_value(json_object_get(json_object_get(summary, "student"), "network")));
}

/* runs [taken] */
static json_t *object_of(const struct reference *reference, json_t *runs)
{
    json_t *figures = json_array();
    for (int i = 0; i < MOST_FIGURES && reference->figures[i].what; i++)
        json_array_append_new(figures, json_pack("{s:s, s:f}", "what", reference->figures[i].what,
                                                 "value", reference->figures[i].value));
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "pair", reference->pair, "data", reference->data,
                     "source", reference->source, "figures", figures, "runs", runs);
}

/* Which of the page's runs are of this pair. */
static json_t *runs_of(const struct reference *reference, const json_t *runs)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(runs); i++)
        if (of_run(json_array_get(runs, i)) == reference)
            json_array_append_new(list, json_integer((json_int_t)i));
    return list;
}

enum retort_status reference_add(json_t *data)
{
    json_t *list = json_array();
    for (int i = 0; i < REFERENCES; i++) {
        json_t *runs = runs_of(&references[i], json_object_get(data, "runs"));
        if (json_array_size(runs))
            json_array_append_new(list, object_of(&references[i], runs));
        else
            json_decref(runs);
    }
    if (json_object_set_new(data, "references", list))
        return fail(RETORT_MEMORY, "out of memory for a page");
    return RETORT_OK;
}
