/* metrics.c - metrics.jsonl. */
#include "train/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

enum { LARGEST_FILE = 64 << 20 };

static enum retort_status parse_lines(struct metrics *metrics, char *text)
{
    int number = 0;
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_error_t error;
        json_t *object = json_loads(line, 0, &error);
        number++;
        if (!json_is_object(object) || json_array_append(metrics->lines, object)) {
            json_decref(object);
            return fail(RETORT_FORMAT, "%s:%d: %s found, a JSON object wanted", metrics->path,
                        number, object ? "something else" : error.text);
        }
        json_decref(object);
    }
    return RETORT_OK;
}

enum retort_status metrics_open(const char *folder, bool resume, struct metrics *metrics)
{
    struct metrics made = {file_join(folder, "metrics.jsonl"), json_array()};
    enum retort_status status = RETORT_OK;
    if (!made.path || !made.lines)
        status = fail(RETORT_MEMORY, "out of memory for metrics");
    if (status == RETORT_OK && resume && file_exists(made.path)) {
        struct file_bytes bytes;
        status = file_read(made.path, LARGEST_FILE, &bytes);
        if (status == RETORT_OK) {
            status = parse_lines(&made, (char *)bytes.data);
            free(bytes.data);
        }
    }
    if (status != RETORT_OK)
        metrics_release(&made);
    else
        *metrics = made;
    return status;
}

void metrics_release(struct metrics *metrics)
{
    free(metrics->path);
    json_decref(metrics->lines);
    *metrics = (struct metrics){0};
}

void metrics_drop(struct metrics *metrics, const char *part, int epoch)
{
    for (size_t i = json_array_size(metrics->lines); i-- > 0;) {
        const json_t *line = json_array_get(metrics->lines, i);
        const char *of = json_string_value(json_object_get(line, "part"));
        if (of && strcmp(of, part) == 0 &&
            json_integer_value(json_object_get(line, "epoch")) >= epoch)
            json_array_remove(metrics->lines, i);
    }
}

static enum retort_status write_lines(const struct metrics *metrics)
{
    struct file_writer writer;
    TRY(file_begin(metrics->path, &writer));
    for (size_t i = 0; i < json_array_size(metrics->lines); i++) {
        if (json_dumpf(json_array_get(metrics->lines, i), writer.stream,
                       JSON_COMPACT | JSON_REAL_PRECISION(9)) ||
            fputc('\n', writer.stream) == EOF) {
            const bool full = ferror(writer.stream);
            file_abandon(&writer);
            return full ? fail(RETORT_IO, "%s: cannot write", metrics->path)
                        : fail(RETORT_MEMORY, "out of memory for %s", metrics->path);
        }
    }
    return file_commit(&writer);
}

/* Every loss that takes part: its value, what it adds to the sum, and how strongly it pulls. */
static json_t *loss_values(const void *const settings[LOSS_COUNT],
                           const struct training_report *report)
{
    const struct objective_value *value = &report->value;
    json_t *losses = json_object();
    for (int kind = 0; losses && kind < LOSS_COUNT; kind++) {
        if (!settings[kind])
            continue;
        json_object_set_new(losses, loss_of(kind)->name,
                            json_pack("{s:f, s:f, s:f, s:f}", "raw", value->raw[kind], "weighted",
                                      value->weighted[kind], "gradient_logits",
                                      report->norms.logits[kind], "gradient_taps",
                                      report->norms.taps[kind]));
    }
    return losses;
}

enum retort_status metrics_add_epoch(struct metrics *metrics, const char *part, int stage,
                                     int before, int epochs, const void *const settings[LOSS_COUNT],
                                     const struct training_report *report)
{
    json_t *line =
        json_pack("{s:s, s:i, s:i, s:i, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I}",
                  "part", part, "stage", stage + 1, "epoch", before + report->epoch + 1, "epochs",
                  epochs, "loss", report->value.total, "losses", loss_values(settings, report),
                  "train_top1", report->accuracy, "rate", report->rate, "images_per_second",
                  (double)report->images / report->seconds, "seconds", report->seconds, "waited",
                  report->waited, "waited_percent", training_waited_percent(report), "skipped",
                  (json_int_t)report->skipped, "clipped", (json_int_t)report->clipped, "peak_bytes",
                  (json_int_t)memory_peak());
    if (line && report->val_top1 >= 0)
        json_object_set_new(line, "val_top1", json_real(report->val_top1));
    if (!line || json_array_append_new(metrics->lines, line))
        return fail(RETORT_MEMORY, "out of memory for metrics");
    return write_lines(metrics);
}

const json_t *metrics_last(const struct metrics *metrics)
{
    const size_t count = json_array_size(metrics->lines);
    return count ? json_array_get(metrics->lines, count - 1) : NULL;
}
