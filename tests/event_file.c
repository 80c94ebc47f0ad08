/* event_file.c - event files, taken apart. */
#include "event_file.h"

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "support.h"

/* ---- checksums ---- */

uint32_t event_checksum(const void *bytes, size_t size)
{
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256 && !table[255]; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82f63b78u : table[i] >> 1;
    }
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ ((const uint8_t *)bytes)[i]) & 255];
    return ~crc;
}

/* ---- messages ---- */

/* Bytes that are still to be read. */
struct cursor {
    const uint8_t *at, *end;
};

static uint64_t little(struct cursor *cursor, int size)
{
    uint64_t number = 0;
    assert_true(cursor->end - cursor->at >= size);
    for (int i = 0; i < size; i++)
        number |= (uint64_t)*cursor->at++ << 8 * i;
    return number;
}

static uint64_t varint(struct cursor *cursor)
{
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        assert_true(cursor->at < cursor->end);
        const uint8_t byte = *cursor->at++;
        number |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return number;
    }
    fail_msg("a number of more than ten bytes");
    return 0;
}

/* One field: its number and wire type, and what it holds. */
struct field {
    int number, type;
    uint64_t bits;        /* types 0, 1, 5 */
    struct cursor inside; /* type 2 */
};

static bool next_field(struct cursor *cursor, struct field *field)
{
    if (cursor->at == cursor->end)
        return false;
    const uint64_t key = varint(cursor);
    *field = (struct field){.number = (int)(key >> 3), .type = (int)(key & 7)};
    if (field->type == 2) {
        const uint64_t size = varint(cursor);
        assert_true((uint64_t)(cursor->end - cursor->at) >= size);
        field->inside = (struct cursor){cursor->at, cursor->at + size};
        cursor->at += size;
        return true;
    }
    assert_true(field->type == 0 || field->type == 1 || field->type == 5);
    field->bits = field->type == 0   ? varint(cursor)
                  : field->type == 1 ? little(cursor, 8)
                                     : little(cursor, 4);
    return true;
}

static double as_double(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static float as_float(uint64_t bits)
{
    const uint32_t half = (uint32_t)bits;
    float number;
    memcpy(&number, &half, sizeof(number));
    return number;
}

/* A Value: tag is field 1, simple_value field 2. */
static void read_value(struct cursor inside, struct event_value *value)
{
    struct field field;
    bool tag = false, number = false;
    while (next_field(&inside, &field)) {
        if (field.number == 1 && field.type == 2) {
            snprintf(value->tag, sizeof(value->tag), "%.*s",
                     (int)(field.inside.end - field.inside.at), (const char *)field.inside.at);
            tag = true;
        } else {
            assert_true(field.number == 2 && field.type == 5);
            value->value = as_float(field.bits);
            number = true;
        }
    }
    assert_true(tag && number);
}

/* A Summary: values are field 1. */
static void read_summary(struct cursor inside, const struct event_value *moment,
                         struct event_log *log)
{
    struct field field;
    while (next_field(&inside, &field)) {
        assert_true(field.number == 1 && field.type == 2);
        assert_true(log->count < EVENT_VALUES);
        struct event_value *value = &log->values[log->count++];
        *value = *moment;
        read_value(field.inside, value);
    }
}

/* A SessionLog: status is field 1, START is 1. */
static void read_session(struct cursor inside, long step, struct event_log *log)
{
    struct field field;
    int kept = 0;
    assert_true(next_field(&inside, &field));
    assert_true(field.number == 1 && field.type == 0 && field.bits == 1);
    assert_true(inside.at == inside.end);
    for (int i = 0; i < log->count; i++)
        if (log->values[i].step < step)
            log->values[kept++] = log->values[i];
    log->count = kept;
    log->starts++;
}

/* An Event: wall_time is field 1, step 2, file_version 3, summary 5, session_log 7. The first one
 * of a file holds the version. */
static void read_event(struct cursor record, bool first, struct event_log *log)
{
    struct event_value moment = {0};
    struct field field, what = {0};
    while (next_field(&record, &field)) {
        if (field.number == 1 && field.type == 1)
            moment.wall_time = as_double(field.bits);
        else if (field.number == 2 && field.type == 0)
            moment.step = (long)field.bits;
        else if (field.type == 2 && !what.number)
            what = field;
        else
            fail_msg("field %d of wire type %d in an event", field.number, field.type);
    }
    assert_true(moment.wall_time > 1.6e9);
    assert_int_equal(first, what.number == 3);
    if (first)
        assert_memory_equal(what.inside.at, "brain.Event:2", 13);
    else if (what.number == 5)
        read_summary(what.inside, &moment, log);
    else if (what.number == 7)
        read_session(what.inside, moment.step, log);
    else
        fail_msg("field %d in an event", what.number);
}

/* ---- files ---- */

static uint32_t unmasked(uint32_t masked)
{
    const uint32_t turned = masked - 0xa282ead8u;
    return turned << 15 | turned >> 17;
}

static void read_file(const char *path, struct event_log *log)
{
    struct file_bytes bytes;
    assert_ok(file_read(path, 1 << 20, &bytes));
    struct cursor cursor = {bytes.data, bytes.data + bytes.size};
    for (bool first = true; cursor.at < cursor.end; first = false) {
        const uint8_t *start = cursor.at;
        const uint64_t size = little(&cursor, 8);
        assert_int_equal(unmasked((uint32_t)little(&cursor, 4)), event_checksum(start, 8));
        assert_true((uint64_t)(cursor.end - cursor.at) >= size);
        const struct cursor record = {cursor.at, cursor.at + size};
        cursor.at += size;
        assert_int_equal(unmasked((uint32_t)little(&cursor, 4)), event_checksum(record.at, size));
        read_event(record, first, log);
    }
    free(bytes.data);
}

void event_log_read(const char *folder, struct event_log *log)
{
    char *pattern = file_join(folder, "events.out.tfevents.*");
    glob_t found;
    *log = (struct event_log){0};
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        read_file(found.gl_pathv[i], log);
    log->files = (int)found.gl_pathc;
    globfree(&found);
    free(pattern);
}

float event_log_value(const struct event_log *log, const char *tag, long step)
{
    float value = 0;
    int times = 0;
    for (int i = 0; i < log->count; i++)
        if (log->values[i].step == step && strcmp(log->values[i].tag, tag) == 0) {
            value = log->values[i].value;
            times++;
        }
    if (times != 1)
        fail_msg("%s at step %ld: %d times, once wanted", tag, step, times);
    return value;
}

int event_log_count(const struct event_log *log, const char *tag)
{
    int times = 0;
    for (int i = 0; i < log->count; i++)
        times += strcmp(log->values[i].tag, tag) == 0;
    return times;
}
