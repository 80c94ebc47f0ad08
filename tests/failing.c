/* failing.c - where the linker sends the allocations of retort's own objects (--wrap, in
 * meson.build). */
#include "failing.h"

#include <archive.h>
#include <jansson.h>
#include <png.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long left = -1; /* allocations before the one that fails; below 0: none fails */
static atomic_bool failed;
static bool stays_out_now; /* all later ones fail as well */

static bool is_refused(void)
{
    if (atomic_load(&left) < 0 || (!stays_out_now && atomic_load(&failed)))
        return false;
    if (atomic_load(&left) > 0 && atomic_fetch_sub(&left, 1) > 0)
        return false;
    atomic_store(&failed, true);
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
struct archive *__real_archive_read_new(void);
json_t *__real_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error);
json_t *__wrap_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
struct archive *__wrap_archive_read_new(void);

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return is_refused() ? NULL : __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_refused() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return is_refused() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return is_refused() ? NULL : __real_strndup(text, size);
}

struct archive *__wrap_archive_read_new(void)
{
    return is_refused() ? NULL : __real_archive_read_new();
}

/* Thousands of files are written, none of which is to last. */
int __wrap_fsync(int file);
int __wrap_fsync(int file)
{
    return 0;
}

/* As a whole: where jansson's parser runs out of memory, it may call that a syntax error. */
json_t *__wrap_json_loadb(const char *text, size_t size, size_t flags, json_error_t *error)
{
    if (is_refused()) {
        *error = (json_error_t){0};
        return NULL;
    }
    long before = atomic_exchange(&left, -1);
    json_t *found = __real_json_loadb(text, size, flags, error);
    atomic_store(&left, before);
    return found;
}

/* As libpng says it. */
int __real_png_image_begin_read_from_memory(png_imagep image, png_const_voidp data, size_t size);
int __wrap_png_image_begin_read_from_memory(png_imagep image, png_const_voidp data, size_t size);
int __wrap_png_image_begin_read_from_memory(png_imagep image, png_const_voidp data, size_t size)
{
    if (!is_refused())
        return __real_png_image_begin_read_from_memory(image, data, size);
    image->warning_or_error = 2;
    snprintf(image->message, sizeof(image->message), "png_image_read: out of memory");
    return 0;
}

/* ---- for the tests ---- */

void failing_begin(long n, bool stays_out)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    stays_out_now = stays_out;
    atomic_store(&failed, false);
    atomic_store(&left, n);
}

bool failing_end(void)
{
    atomic_store(&left, -1);
    return atomic_load(&failed);
}
