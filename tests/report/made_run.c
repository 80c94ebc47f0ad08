/* made_run.c - made-up run folders for the tests of the report. */
#include "report/made_run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "support.h"

void made_run_write(const char *folder, const char *name, const char *text)
{
    char *path = file_join(folder, name);
    assert_ok(file_write(path, text, strlen(text)));
    free(path);
}

static json_t *student_of(double top1, double first, double second)
{
    return json_pack("{s:s, s:f, s:f, s:i, s:i, s:i, s:f, s:[f, f]}", "network", "resnet:depth=8",
                     "top1", top1, "top5", 100.0, "parameters", 100, "macs", 1000, "bytes", 400,
                     "images_per_second", 10.0, "per_class", first, second);
}

const char *made_run(const char *folder, const char *name, int seed, double plain, double student)
{
    const char *path = support_path(folder);
    char recipe[512];
    assert_ok(file_make_folder(path));
    snprintf(recipe, sizeof(recipe), "name: %s\nseed: %d\ndata:\n  set: cifar100\n", name, seed);
    made_run_write(path, "recipe.yaml", recipe);
    json_t *summary = json_pack(
        "{s:s, s:i, s:[o], s:o, s:o, s:f, s:[s, s]}", "name", name, "seed", seed, "teachers",
        json_pack("{s:s, s:f}", "network", "resnet:depth=32", "top1", 70.0), "baseline",
        student_of(plain, plain, plain), "student", student_of(student, student - 1, student + 3),
        "gain", student - plain, "class_names", "cat", HOSTILE);
    char *text = json_dumps(summary, 0);
    made_run_write(path, "run.json", text);
    free(text);
    json_decref(summary);
    return path;
}
