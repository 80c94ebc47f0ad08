/* findings.c - what a page says that no file says. */
#include "report/findings.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- models ---- */

/* The seconds of a part's epochs; 0: it was not trained here. */
static double seconds_of(const json_t *epochs, const char *part)
{
    double seconds = 0;
    size_t i;
    const json_t *line;
    json_array_foreach(epochs, i, line)
    {
        const char *name = json_string_value(json_object_get(line, "part"));
        if (name && strcmp(name, part) == 0)
            seconds += json_number_value(json_object_get(line, "seconds"));
    }
    return seconds;
}

/* What has no name or no accuracy cannot be compared. Earlier versions did not write how long
 * training took. */
static void add_model(json_t *models, const json_t *run, const json_t *model, const char *part)
{
    if (!json_is_string(json_object_get(model, "network")) ||
        !json_is_number(json_object_get(model, "top1")))
        return;
    json_t *copy = json_copy((json_t *)model);
    const double seconds = seconds_of(json_object_get(run, "epochs"), part);
    json_object_set_new(copy, "part", json_string(part));
    if (seconds > 0 && !json_object_get(copy, "training_seconds"))
        json_object_set_new(copy, "training_seconds", json_real(seconds));
    json_array_append_new(models, copy);
}

static void add_numbered(json_t *models, const json_t *run, const json_t *list, const char *kind)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        char part[32];
        snprintf(part, sizeof(part), "%s-%zu", kind, i + 1);
        add_model(models, run, json_array_get(list, i), part);
    }
}

static void add_models(json_t *run)
{
    const json_t *summary = json_object_get(run, "summary");
    json_t *models = json_array();
    add_numbered(models, run, json_object_get(summary, "teachers"), "teacher");
    add_model(models, run, json_object_get(summary, "baseline"), "baseline");
    add_numbered(models, run, json_object_get(summary, "generations"), "generation");
    add_model(models, run, json_object_get(summary, "student"), "student");
    json_object_set_new(run, "models", models);
}

/* ---- classes ---- */

struct class_change {
    size_t class;
    double plain, student;
};

/* The most helped first; of equals the one with the lower number. */
static int by_change(const void *a, const void *b)
{
    const struct class_change *x = a, *y = b;
    const double changes[] = {x->student - x->plain, y->student - y->plain};
    if (changes[0] != changes[1])
        return changes[0] < changes[1] ? 1 : -1;
    return (x->class > y->class) - (x->class < y->class);
}

static json_t *class_name(const json_t *names, size_t class)
{
    json_t *name = json_array_get(names, class);
    return json_is_string(name) ? json_incref(name) : json_sprintf("class %zu", class);
}

static enum retort_status add_classes(json_t *run)
{
    const json_t *summary = json_object_get(run, "summary");
    const json_t *plain = json_object_get(json_object_get(summary, "baseline"), "per_class");
    const json_t *student = json_object_get(json_object_get(summary, "student"), "per_class");
    const size_t classes = json_array_size(plain);
    size_t count = 0;
    if (!classes || json_array_size(student) != classes)
        return RETORT_OK;
    struct class_change *changes = calloc(classes, sizeof(*changes));
    if (!changes)
        return fail(RETORT_MEMORY, "out of memory for a page");
    for (size_t c = 0; c < classes; c++) {
        const json_t *before = json_array_get(plain, c), *after = json_array_get(student, c);
        if (json_is_number(before) && json_is_number(after))
            changes[count++] =
                (struct class_change){c, json_number_value(before), json_number_value(after)};
    }
    qsort(changes, count, sizeof(*changes), by_change);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:f, s:f, s:f}", "name",
                            class_name(json_object_get(summary, "class_names"), changes[i].class),
                            "plain", changes[i].plain, "student", changes[i].student, "change",
                            changes[i].student - changes[i].plain));
    json_object_set_new(run, "classes", list);
    free(changes);
    return RETORT_OK;
}

/* ---- losses ---- */

/* Weighted losses are not negative, but for rounding. */
static void add_shares(json_t *run)
{
    size_t i;
    json_t *epoch, *loss;
    const char *name;
    json_array_foreach(json_object_get(run, "epochs"), i, epoch)
    {
        json_t *losses = json_object_get(epoch, "losses");
        double sum = 0;
        json_object_foreach(losses, name, loss) sum +=
            fabs(json_number_value(json_object_get(loss, "weighted")));
        json_object_foreach(losses, name, loss)
        {
            const double part = fabs(json_number_value(json_object_get(loss, "weighted")));
            json_object_set_new(loss, "share", json_real(sum > 0 ? 100 * part / sum : 0));
        }
    }
}

enum retort_status findings_of_run(json_t *run)
{
    add_models(run);
    add_shares(run);
    return add_classes(run);
}

/* ---- groups ---- */

/* Are these the same recipe, but for the seed? Lines that begin with "seed: " are not looked at. */
static bool same_but_seed(const char *a, const char *b)
{
    while (*a && *b) {
        const size_t of_a = strcspn(a, "\n"), of_b = strcspn(b, "\n");
        const bool seeds = strncmp(a, "seed: ", 6) == 0 && strncmp(b, "seed: ", 6) == 0;
        if (!seeds && (of_a != of_b || strncmp(a, b, of_a)))
            return false;
        a += of_a + (a[of_a] == '\n');
        b += of_b + (b[of_b] == '\n');
    }
    return *a == *b;
}

static const char *recipe_of(const json_t *runs, size_t run)
{
    const char *text = json_string_value(json_object_get(json_array_get(runs, run), "recipe"));
    return text ? text : "";
}

double findings_teachers_top1(const json_t *summary)
{
    const json_t *teachers = json_object_get(summary, "teachers");
    double sum = 0;
    int count = 0;
    for (size_t i = 0; i < json_array_size(teachers); i++) {
        const json_t *top1 = json_object_get(json_array_get(teachers, i), "top1");
        sum += json_number_value(top1);
        count += json_is_number(top1);
    }
    return count ? sum / count : NAN;
}

/* What is compared, of one run; NAN: the run has no such figure. */
static double figure(const json_t *run, const char *what)
{
    const json_t *summary = json_object_get(run, "summary"), *found;
    if (strcmp(what, "teacher") == 0)
        return findings_teachers_top1(summary);
    if (strcmp(what, "gain") == 0)
        found = json_object_get(summary, "gain");
    else
        found = json_object_get(
            json_object_get(summary, strcmp(what, "plain") == 0 ? "baseline" : "student"), "top1");
    return json_is_number(found) ? json_number_value(found) : NAN;
}

/* Mean, and standard deviation of the sample: 0 for one. */
static void add_spread(json_t *group, const json_t *runs, const char *what)
{
    const json_t *indices = json_object_get(group, "runs");
    double sum = 0, squares = 0;
    int count = 0;
    for (int pass = 0; pass < 2; pass++) {
        const double mean = count ? sum / count : 0;
        for (size_t i = 0; i < json_array_size(indices); i++) {
            const size_t run = (size_t)json_integer_value(json_array_get(indices, i));
            const double number = figure(json_array_get(runs, run), what);
            if (isnan(number))
                continue;
            if (pass == 0) {
                sum += number;
                count++;
            } else {
                squares += pow(number - mean, 2);
            }
        }
    }
    if (count > 0)
        json_object_set_new(group, what,
                            json_pack("{s:f, s:f, s:i}", "mean", sum / count, "sd",
                                      count > 1 ? sqrt(squares / (count - 1)) : 0, "count", count));
}

enum retort_status findings_of_groups(json_t *data)
{
    static const char *const figures[] = {"teacher", "plain", "student", "gain"};
    const json_t *runs = json_object_get(data, "runs");
    json_t *groups = json_array();
    json_object_set_new(data, "groups", groups);
    for (size_t run = 0; run < json_array_size(runs); run++) {
        json_t *found = NULL, *group;
        size_t g;
        json_array_foreach(groups, g, group)
        {
            const json_t *first = json_array_get(json_object_get(group, "runs"), 0);
            if (!found && same_but_seed(recipe_of(runs, (size_t)json_integer_value(first)),
                                        recipe_of(runs, run)))
                found = group;
        }
        if (!found) {
            found = json_pack("{s:O, s:[]}", "name",
                              json_object_get(json_array_get(runs, run), "name"), "runs");
            if (json_array_append_new(groups, found))
                return fail(RETORT_MEMORY, "out of memory for a page");
        }
        json_array_append_new(json_object_get(found, "runs"), json_integer((json_int_t)run));
    }
    for (size_t g = 0; g < json_array_size(groups); g++)
        for (size_t f = 0; f < sizeof(figures) / sizeof(figures[0]); f++)
            add_spread(json_array_get(groups, g), runs, figures[f]);
    return RETORT_OK;
}
