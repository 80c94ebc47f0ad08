/* status.c - the failure sentence of each thread.
 *
 * Names in sentences may come from archives and files of anybody: control characters, which a
 * terminal would obey, become question marks. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];

static void clean(char *sentence)
{
    for (; *sentence; sentence++)
        if ((unsigned char)*sentence < ' ' || *sentence == 0x7f)
            *sentence = '?';
}

const char *retort_message(void)
{
    return message;
}

void status_record(const char *format, ...)
{
    /* Formatted aside first: an argument may be retort_message() itself. */
    char sentence[sizeof(message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    clean(sentence);
    memcpy(message, sentence, sizeof(message));
}

enum retort_status fail_in(enum retort_status status, const char *format, ...)
{
    char sentence[sizeof(message)];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    clean(sentence);
    if (length >= 0 && (size_t)length + 2 < sizeof(sentence)) {
        memcpy(sentence + length, ": ", 2);
        size_t room = sizeof(sentence) - (size_t)length - 3;
        size_t rest = strnlen(message, room);
        memcpy(sentence + length + 2, message, rest);
        sentence[(size_t)length + 2 + rest] = '\0';
    }
    memcpy(message, sentence, sizeof(message));
    return status;
}
