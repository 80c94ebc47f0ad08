/* file.c - read whole files; write them so that they appear whole or not at all. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum retort_status fail_system(const char *what, const char *path)
{
    return fail(RETORT_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

static enum retort_status read_stream(FILE *stream, const char *path, size_t limit,
                                      struct file_bytes *bytes)
{
    struct stat info;
    if (fstat(fileno(stream), &info))
        return fail_system("inspect", path);
    if (!S_ISREG(info.st_mode))
        return fail(RETORT_IO, "%s: not a regular file", path);
    if ((unsigned long long)info.st_size > limit)
        return fail(RETORT_FORMAT, "%s: %lld bytes, at most %zu were expected", path,
                    (long long)info.st_size, limit);
    size_t size = (size_t)info.st_size;
    unsigned char *data = malloc(size + 1);
    if (!data)
        return fail(RETORT_MEMORY, "%s: out of memory: %zu bytes were wanted", path, size);
    size_t got = fread(data, 1, size, stream);
    if (got != size) {
        free(data);
        return ferror(stream)
                   ? fail_system("read", path)
                   : fail(RETORT_IO, "%s: ended after %zu of %zu bytes", path, got, size);
    }
    data[size] = 0;
    *bytes = (struct file_bytes){data, size};
    return RETORT_OK;
}

enum retort_status file_read(const char *path, size_t limit, struct file_bytes *bytes)
{
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return fail_system("open", path);
    enum retort_status status = read_stream(stream, path, limit, bytes);
    fclose(stream);
    return status;
}

enum retort_status file_begin(const char *path, struct file_writer *writer)
{
    struct file_writer made = {0};
    size_t length = strlen(path) + 32;
    made.path = strdup(path);
    made.temporary = malloc(length);
    if (!made.path || !made.temporary) {
        file_abandon(&made);
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    }
    snprintf(made.temporary, length, "%s.%ld.tmp", path, (long)getpid());
    made.stream = fopen(made.temporary, "w+b");
    if (!made.stream) {
        enum retort_status status = fail_system("create", made.temporary);
        file_abandon(&made);
        return status;
    }
    *writer = made;
    return RETORT_OK;
}

/* The rename is on the disk only when the folder is. */
static enum retort_status sync_folder(const char *path)
{
    char *folder = strdup(path);
    if (!folder)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *(slash == folder ? slash + 1 : slash) = '\0';
    int descriptor = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (descriptor < 0)
        return fail_system("sync the folder of", path);
    int failed = fsync(descriptor);
    close(descriptor);
    /* Some file systems cannot sync a folder and say EINVAL: nothing more can be done there. */
    return failed && errno != EINVAL ? fail_system("sync the folder of", path) : RETORT_OK;
}

enum retort_status file_rename(const char *from, const char *to)
{
    if (rename(from, to))
        return fail_system("replace", to);
    return sync_folder(to);
}

/* "NAME.PID.tmp", as file_begin makes it. */
static bool is_left_over(const char *name)
{
    const char *end = strrchr(name, '.');
    if (!end || strcmp(end, ".tmp") || end == name)
        return false;
    const char *digits = end;
    while (digits > name && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    return digits < end && digits > name && digits[-1] == '.';
}

enum retort_status file_sweep(const char *folder)
{
    DIR *entries = opendir(folder);
    if (!entries)
        return errno == ENOENT ? RETORT_OK : fail_system("read the folder", folder);
    enum retort_status status = RETORT_OK;
    for (struct dirent *entry; status == RETORT_OK && (entry = readdir(entries));)
        if (is_left_over(entry->d_name)) {
            char *path = file_join(folder, entry->d_name);
            status = path ? file_remove(path) : fail(RETORT_MEMORY, "%s: out of memory", folder);
            free(path);
        }
    closedir(entries);
    return status;
}

enum retort_status file_commit(struct file_writer *writer)
{
    enum retort_status status = RETORT_OK;
    int failed = fflush(writer->stream) || ferror(writer->stream) || fsync(fileno(writer->stream));
    if (failed)
        status = fail_system("write", writer->temporary);
    if (fclose(writer->stream) && !failed)
        status = fail_system("close", writer->temporary);
    writer->stream = NULL;
    if (status == RETORT_OK && rename(writer->temporary, writer->path))
        status = fail_system("replace", writer->path);
    if (status == RETORT_OK) {
        free(writer->temporary);
        writer->temporary = NULL; /* renamed: nothing is left to remove */
        status = sync_folder(writer->path);
    }
    file_abandon(writer);
    return status;
}

void file_abandon(struct file_writer *writer)
{
    if (writer->stream)
        fclose(writer->stream);
    if (writer->temporary)
        unlink(writer->temporary);
    free(writer->temporary);
    free(writer->path);
    *writer = (struct file_writer){0};
}

enum retort_status file_write(const char *path, const void *data, size_t size)
{
    struct file_writer writer;
    TRY(file_begin(path, &writer));
    fwrite(data, 1, size, writer.stream);
    return file_commit(&writer);
}

enum retort_status file_make_folder(const char *path)
{
    char *partial = strdup(path);
    if (!partial)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    for (char *slash = partial[0] ? strchr(partial + 1, '/') : NULL; slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(partial, 0777);
        *slash = '/';
    }
    int failed = mkdir(partial, 0777) && errno != EEXIST;
    enum retort_status status = failed ? fail_system("make the folder", path) : RETORT_OK;
    free(partial);
    if (status == RETORT_OK && !file_is_folder(path))
        status = fail(RETORT_IO, "%s: is a file, a folder was wanted", path);
    return status;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

enum retort_status file_remove(const char *path)
{
    return unlink(path) && errno != ENOENT ? fail_system("remove", path) : RETORT_OK;
}

char *file_join(const char *folder, const char *name)
{
    const char *home = strncmp(folder, "~/", 2) == 0 ? getenv("HOME") : NULL;
    const char *rest = home ? folder + 1 : folder;
    size_t length = (home ? strlen(home) : 0) + strlen(rest);
    bool slash = length > 0 && name[0] && rest[strlen(rest) ? strlen(rest) - 1 : 0] != '/';
    char *path = malloc(length + strlen(name) + 2);
    if (path)
        sprintf(path, "%s%s%s%s", home ? home : "", rest, slash ? "/" : "", name);
    return path;
}
