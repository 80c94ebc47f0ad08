/* events.c - TensorBoard's event files.
 *
 * A file is a sequence of records: length (8 bytes), masked checksum of these 8 bytes (4), an Event
 * (events.proto), masked checksum of it (4); all numbers little-endian. The first event names the
 * version of the format. When a part's first epoch in this process is written, a session's start
 * comes before it: readers forget what earlier files say of this epoch and later ones, which is
 * what metrics_drop does to metrics.jsonl. */
#include "train/events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <events.pb-c.h>

#include "base/file.h"
#include "base/memory.h"

/* ---- records ---- */

/* CRC-32C (Castagnoli), bit by bit: a kilobyte each epoch. */
static uint32_t checksum(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* A checksum among bytes that are summed themselves is turned, and a constant added. */
static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static void put_little(uint8_t *bytes, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
}

static enum retort_status write_event(struct events *events, Retort__Event *event)
{
    enum { LENGTH = 8, SUM = 4 };
    struct timespec now;
    uint8_t *record;
    clock_gettime(CLOCK_REALTIME, &now);
    event->wall_time = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    const size_t size = retort__event__get_packed_size(event), all = LENGTH + SUM + size + SUM;
    TRY(memory_zeroed(1, all, (void **)&record));
    uint8_t *const payload = record + LENGTH + SUM;
    put_little(record, size, LENGTH);
    put_little(record + LENGTH, masked(checksum(record, LENGTH)), SUM);
    retort__event__pack(event, payload);
    put_little(payload + size, masked(checksum(payload, size)), SUM);
    const bool written = fwrite(record, 1, all, events->stream) == all && !fflush(events->stream);
    free(record);
    return written ? RETORT_OK
                   : fail(RETORT_IO, "%s: cannot write: %s", events->path, strerror(errno));
}

static enum retort_status write_version(struct events *events)
{
    Retort__Event event = RETORT__EVENT__INIT;
    event.what_case = RETORT__EVENT__WHAT_FILE_VERSION;
    event.file_version = (char *)"brain.Event:2";
    return write_event(events, &event);
}

static enum retort_status write_start(struct events *events, int epoch)
{
    Retort__Event event = RETORT__EVENT__INIT;
    Retort__SessionLog log = RETORT__SESSION_LOG__INIT;
    log.status = RETORT__SESSION_LOG__STATUS__START;
    event.step = epoch;
    event.what_case = RETORT__EVENT__WHAT_SESSION_LOG;
    event.session_log = &log;
    return write_event(events, &event);
}

/* ---- files ---- */

static void close_file(struct events *events)
{
    if (events->stream)
        fclose(events->stream);
    free(events->path);
    events->stream = NULL;
    events->path = NULL;
    events->part[0] = '\0';
}

/* A new file in the part's folder; a second one within the second gets a number behind its name,
 * so that names in order are times in order. */
static enum retort_status open_new(struct events *events, const char *part)
{
    enum { MOST = 1000 };
    char host[256] = "", name[512];
    const long long now = (long long)time(NULL);
    if (gethostname(host, sizeof(host) - 1) || !host[0])
        strcpy(host, "localhost");
    for (int i = 0; i < MOST; i++) {
        snprintf(name, sizeof(name),
                 i ? "%s/events.out.tfevents.%010lld.%s.%03d" : "%s/events.out.tfevents.%010lld.%s",
                 part, now, host, i);
        free(events->path);
        events->path = file_join(events->folder, name);
        if (!events->path)
            return fail(RETORT_MEMORY, "out of memory for events");
        events->stream = fopen(events->path, "wxe");
        if (events->stream || errno != EEXIST)
            break;
    }
    return events->stream ? RETORT_OK
                          : fail(RETORT_IO, "%s: cannot create: %s", events->path, strerror(errno));
}

/* The part's file; *fresh: it has just been made. */
static enum retort_status select_part(struct events *events, const char *part, bool *fresh)
{
    *fresh = !events->stream || strcmp(events->part, part);
    if (!*fresh)
        return RETORT_OK;
    close_file(events);
    char *below = file_join(events->folder, part);
    const enum retort_status status =
        below ? file_make_folder(below) : fail(RETORT_MEMORY, "out of memory for events");
    free(below);
    TRY(status);
    TRY(open_new(events, part));
    snprintf(events->part, sizeof(events->part), "%s", part);
    return write_version(events);
}

enum retort_status events_open(const char *folder, bool wanted, struct events *events)
{
    *events = (struct events){.folder = wanted ? file_join(folder, "events") : NULL};
    return events->folder || !wanted ? RETORT_OK : fail(RETORT_MEMORY, "out of memory for events");
}

void events_release(struct events *events)
{
    close_file(events);
    free(events->folder);
    *events = (struct events){0};
}

/* ---- what is told ---- */

static const struct {
    const char *key, *tag;
} scalars[] = {{"loss", "loss/total"},
               {"train_top1", "accuracy/train"},
               {"val_top1", "accuracy/val"},
               {"rate", "training/learning_rate"},
               {"images_per_second", "training/images_per_second"},
               {"waited_percent", "training/waited_percent"},
               {"peak_bytes", "training/peak_bytes"}};
enum { SCALARS = sizeof(scalars) / sizeof(scalars[0]) };

/* The values of one event. */
struct values {
    struct arena arena;
    Retort__Value **items;
    size_t count;
};

static enum retort_status add_value(struct values *values, const char *tag, double number)
{
    Retort__Value *value;
    if (!tag)
        return fail(RETORT_MEMORY, "out of memory for events");
    TRY(arena_take(&values->arena, sizeof(*value), (void **)&value));
    retort__value__init(value);
    value->tag = (char *)tag;
    value->value_case = RETORT__VALUE__VALUE_SIMPLE_VALUE;
    value->simple_value = (float)number;
    values->items[values->count++] = value;
    return RETORT_OK;
}

static enum retort_status add_losses(struct values *values, json_t *losses)
{
    static const char *const kinds[] = {"raw", "weighted"};
    const char *name;
    json_t *loss;
    json_object_foreach(losses, name, loss)
    {
        for (int i = 0; i < 2; i++) {
            const char *tag = arena_format(&values->arena, "loss_%s/%s", kinds[i], name);
            TRY(add_value(values, tag, json_number_value(json_object_get(loss, kinds[i]))));
        }
    }
    return RETORT_OK;
}

static enum retort_status collect(struct values *values, const json_t *line)
{
    json_t *losses = json_object_get(line, "losses");
    const size_t room = SCALARS + 2 * json_object_size(losses);
    TRY(arena_take(&values->arena, room * sizeof(*values->items), (void **)&values->items));
    for (int i = 0; i < SCALARS; i++) {
        const json_t *number = json_object_get(line, scalars[i].key);
        if (number)
            TRY(add_value(values, scalars[i].tag, json_number_value(number)));
    }
    return add_losses(values, losses);
}

static enum retort_status write_values(struct events *events, int64_t epoch, Retort__Value **items,
                                       size_t count)
{
    Retort__Event event = RETORT__EVENT__INIT;
    Retort__Summary summary = RETORT__SUMMARY__INIT;
    summary.n_value = count;
    summary.value = items;
    event.step = epoch;
    event.what_case = RETORT__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(events, &event);
}

enum retort_status events_add_epoch(struct events *events, const json_t *line)
{
    struct values values = {0};
    enum retort_status status;
    bool fresh;
    if (!events->folder)
        return RETORT_OK;
    const int epoch = (int)json_integer_value(json_object_get(line, "epoch"));
    TRY(select_part(events, json_string_value(json_object_get(line, "part")), &fresh));
    if (fresh)
        TRY(write_start(events, epoch));
    status = collect(&values, line);
    if (status == RETORT_OK)
        status = write_values(events, epoch, values.items, values.count);
    arena_release(&values.arena);
    return status;
}

/* No start of a session here: the epochs before it count. */
enum retort_status events_add_test(struct events *events, const char *part, int epochs, double top1)
{
    Retort__Value value = RETORT__VALUE__INIT, *items[] = {&value};
    bool fresh;
    if (!events->folder)
        return RETORT_OK;
    value.tag = (char *)"accuracy/test";
    value.value_case = RETORT__VALUE__VALUE_SIMPLE_VALUE;
    value.simple_value = (float)top1;
    TRY(select_part(events, part, &fresh));
    return write_values(events, epochs, items, 1);
}
