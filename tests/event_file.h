/* event_file.h - reads TensorBoard's event files, knowing nothing of retort's writer: frames, both
 * checksums and the fields of the messages are taken apart here byte by byte. */
#ifndef TESTS_EVENT_FILE_H
#define TESTS_EVENT_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { EVENT_VALUES = 1024 };

struct event_value {
    long step;
    char tag[64];
    float value;
    double wall_time;
};

/* What somebody who follows the folder knows at the end. */
struct event_log {
    struct event_value values[EVENT_VALUES];
    int count;
    int files, starts; /* event files; starts of sessions in them */
};

/* CRC-32C of so many bytes. */
uint32_t event_checksum(const void *bytes, size_t size);

/* All event files of a folder in the order of their names; a start of a session drops what was
 * known of its step and later ones. Fails the test on anything that is not as the format has it. */
void event_log_read(const char *folder, struct event_log *log);

/* The value of a tag at a step, which must be there once. */
float event_log_value(const struct event_log *log, const char *tag, long step);
/* How often a tag is there. */
int event_log_count(const struct event_log *log, const char *tag);

#endif
