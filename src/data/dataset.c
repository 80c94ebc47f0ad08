/* dataset.c - from a specification to a data set in memory, mapped, or converted. */
#include "data/dataset.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_set.h"
#include "data/image_writer.h"
#include "data/shard.h"

#define ADDRESS(format) &dataset_##format,
const struct dataset_format *const dataset_formats[] = {DATASET_FORMATS(ADDRESS) NULL};

const struct dataset_format *dataset_find_format(const char *name, size_t length)
{
    for (int i = 0; dataset_formats[i]; i++) {
        const char *candidate = dataset_formats[i]->name;
        if (strlen(candidate) == length && strncmp(candidate, name, length) == 0)
            return dataset_formats[i];
    }
    return NULL;
}

static enum retort_status fail_unknown(const char *name, size_t length)
{
    char known[512] = "";
    for (int i = 0; dataset_formats[i]; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
                 dataset_formats[i]->name);
    }
    return fail(RETORT_INVALID, "\"%.*s\" is not a data set; known: %s", (int)length, name, known);
}

/* The format's default place: the first that is there. */
static enum retort_status find_default(const struct dataset_format *format, const char **path)
{
    const char *const *paths = format->default_paths;
    if (!paths[0])
        return fail(RETORT_INVALID, "%s has no default place: write %s:PATH", format->name,
                    format->name);
    for (int i = 0; paths[i]; i++)
        if (file_exists(paths[i])) {
            *path = paths[i];
            return RETORT_OK;
        }
    return fail(RETORT_IO, "%s: nothing at its default place %s (%s): write %s:PATH", format->name,
                paths[0], format->help, format->name);
}

/* What a specification says. */
struct source {
    const struct dataset_format *format;
    char *path; /* with a ~/ expanded */
    bool is_shard;
};

static enum retort_status find_source(const char *specification, struct source *source)
{
    size_t length = strcspn(specification, ":");
    const char *chosen = specification + length + (specification[length] == ':');
    struct source made = {.format = dataset_find_format(specification, length)};
    if (!made.format)
        return fail_unknown(specification, length);
    if (!chosen[0])
        TRY(find_default(made.format, &chosen));
    made.path = file_join(chosen, "");
    if (!made.path)
        return fail(RETORT_MEMORY, "%s: out of memory", chosen);
    made.is_shard = made.format == &dataset_shard || shard_is_there(made.path);
    *source = made;
    return RETORT_OK;
}

static enum retort_status check_number(const char *name, int number, const char *what)
{
    return number >= 0
               ? RETORT_OK
               : fail(RETORT_INVALID, "%s: %d %s found, 0 or more wanted", name, number, what);
}

/* A shard has the size and the split of the set that it was made of: open_shard compares. */
static enum retort_status check_options(const struct dataset_options *options,
                                        const struct source *source)
{
    const struct dataset_format *format = source->format;
    enum { LARGEST_SIZE = 1024 };
    static const double MOST_HELD_OUT = 0.9;
    TRY(check_number("limit", options->limit, "images per class"));
    TRY(check_number("test_limit", options->test_limit, "images per class"));
    TRY(check_number("val", options->val, "images"));
    if (options->size < 0 || options->size > LARGEST_SIZE)
        return fail(RETORT_INVALID, "size: %d pixels found, 0 to %d wanted", options->size,
                    LARGEST_SIZE);
    if (options->size > 0 && !source->is_shard && !format->any_size)
        return fail(RETORT_INVALID, "size: %d found, but the images of %s have a size of their own",
                    options->size, format->name);
    if (!(options->held_out >= 0 && options->held_out <= MOST_HELD_OUT))
        return fail(RETORT_INVALID, "held_out: %g found, 0 to %g wanted", options->held_out,
                    MOST_HELD_OUT);
    if (options->held_out > 0 && !source->is_shard && !format->may_hold_out)
        return fail(RETORT_INVALID, "held_out: %g found, but %s has test images of its own",
                    options->held_out, format->name);
    return RETORT_OK;
}

/* A shard knows which data set it was made of: the specification may say "shard" or that. */
static enum retort_status open_shard(const struct source *source,
                                     const struct dataset_options *options, struct dataset *dataset)
{
    TRY(shard_open(source->path, dataset));
    if (source->format != &dataset_shard && strcmp(dataset->name, source->format->name) != 0)
        return fail(RETORT_FORMAT, "%s: a shard of %s found, %s wanted", source->path,
                    dataset->name, source->format->name);
    if (options->size > 0 && options->size != dataset->train.height)
        return fail(RETORT_INVALID, "%s: size: %d found, the shard holds images of %d",
                    source->path, options->size, dataset->train.height);
    if (options->held_out > 0 && fabs(options->held_out - dataset->held_out) > 1e-9)
        return fail(RETORT_INVALID, "%s: held_out: %g found, the shard was made with %g",
                    source->path, options->held_out, dataset->held_out);
    return options->verify ? shard_verify(source->path, dataset) : RETORT_OK;
}

/* An output that nothing trains, or nothing tests, would spoil every figure in silence. Labels of
 * places that hold no image are negative. */
static enum retort_status check_classes(const struct dataset *dataset, const char *path,
                                        const struct image_set *set, const char *part)
{
    void *memory;
    enum retort_status status = RETORT_OK;
    TRY(memory_zeroed((size_t)dataset->classes, sizeof(bool), &memory));
    bool *seen = memory;
    for (int i = 0; i < set->count; i++)
        if (set->labels[i] >= 0)
            seen[set->labels[i]] = true;
    for (int i = 0; i < dataset->classes && status == RETORT_OK; i++)
        if (!seen[i])
            status =
                fail(RETORT_FORMAT, "%s: class \"%s\": no %s images %s", path,
                     dataset->class_names[i], part, dataset->skipped.count ? "are left" : "found");
    free(seen);
    return status;
}

static enum retort_status check_parts(const struct dataset *dataset, const char *path,
                                      const struct image_set *train, const struct image_set *test)
{
    TRY(check_classes(dataset, path, train, "training"));
    return check_classes(dataset, path, test, "test");
}

/* A set that fits into memory. */
static enum retort_status read_whole(const struct source *source,
                                     const struct dataset_options *options, struct dataset *dataset)
{
    TRY(source->format->open(source->path, options, dataset));
    return check_parts(dataset, source->path, &dataset->train, &dataset->test);
}

/* Readers of large sets give images one by one; folder NULL: into memory. */
static enum retort_status read_into(const struct source *source,
                                    const struct dataset_options *options, const char *folder,
                                    struct dataset *dataset)
{
    struct image_writer writer;
    image_writer_init(&writer, folder, folder ? options->listener : NULL);
    writer.looks = !folder && options->looks;
    enum retort_status status = source->format->read(source->path, options, &writer, dataset);
    if (status == RETORT_OK)
        status = check_parts(dataset, source->path, &writer.parts[IMAGE_TRAIN].set,
                             &writer.parts[IMAGE_TEST].set);
    if (status == RETORT_OK)
        status = image_writer_finish(&writer, dataset);
    image_writer_release(&writer);
    return status;
}

static enum retort_status open_whole(const struct source *source,
                                     const struct dataset_options *options, struct dataset *dataset)
{
    dataset->name = strdup(source->format->name);
    if (!dataset->name)
        return fail(RETORT_MEMORY, "%s: out of memory", source->path);
    if (source->is_shard)
        return open_shard(source, options, dataset);
    if (source->format->read)
        return read_into(source, options, NULL, dataset);
    return read_whole(source, options, dataset);
}

static enum retort_status select_images(const struct dataset_options *options,
                                        struct dataset *dataset)
{
    if (dataset->val.count > 0 && options->val > 0)
        return fail(RETORT_INVALID, "val: %d found, but %s has validation images of its own",
                    options->val, dataset->name);
    enum { SPLIT_SEED = 1 }; /* always the same: teachers of one seed teach students of another */
    TRY(image_set_split(&dataset->train, dataset->classes, options->val, SPLIT_SEED,
                        &dataset->val));
    const enum retort_status left =
        options->val > 0 ? check_classes(dataset, "val", &dataset->train, "training") : RETORT_OK;
    if (left == RETORT_FORMAT)
        return fail(RETORT_INVALID, "val: %d images held out leave a class without training images",
                    options->val);
    TRY(left);
    TRY(image_set_limit(&dataset->train, dataset->classes, options->limit));
    return image_set_limit(&dataset->test, dataset->classes, options->test_limit);
}

/* Why too little is left of a set: what was left out is told with the failure. */
static enum retort_status blame_skipped(const struct dataset *dataset, enum retort_status status)
{
    char sentence[512];
    if (status != RETORT_FORMAT || dataset->skipped.count == 0)
        return status;
    snprintf(sentence, sizeof(sentence), "%s", retort_message());
    return fail(status, "%s (%d left out before, the first: %s)", sentence, dataset->skipped.count,
                dataset->skipped.sentences[0]);
}

enum retort_status dataset_open(const char *specification, const struct dataset_options *options,
                                struct dataset *dataset)
{
    struct source source = {0};
    struct dataset made = {0};
    enum retort_status status;
    TRY(find_source(specification, &source));
    TRY_DONE(check_options(options, &source));
    TRY_DONE(open_whole(&source, options, &made));
    TRY_DONE(select_images(options, &made));
    *dataset = made;
    made = (struct dataset){0};
done:
    status = blame_skipped(&made, status);
    free(source.path);
    dataset_release(&made);
    return status;
}

/* ---- conversion ---- */

static enum retort_status copy_part(struct image_writer *writer, enum image_part part,
                                    const struct image_set *set)
{
    TRY(image_writer_begin(writer, part, set->count, set->channels, set->height, set->width));
    for (int i = 0; i < set->count; i++) {
        TRY(image_writer_put(writer, part, i, image_set_view(set, (size_t)i)));
        image_writer_label(writer, part, i, set->labels[i]);
    }
    return RETORT_OK;
}

/* Sets that fit into memory are read whole. Their mean and standard deviation may be those of
 * images before padding, and stay that. */
static enum retort_status copy_whole(const struct source *source,
                                     const struct dataset_options *options, const char *folder,
                                     struct dataset *dataset)
{
    struct image_writer writer;
    TRY(read_whole(source, options, dataset));
    image_writer_init(&writer, folder, options->listener);
    writer.keeps_statistics = true;
    enum retort_status status = copy_part(&writer, IMAGE_TRAIN, &dataset->train);
    if (status == RETORT_OK)
        status = copy_part(&writer, IMAGE_TEST, &dataset->test);
    if (status == RETORT_OK)
        status = image_writer_finish(&writer, dataset);
    image_writer_release(&writer);
    return status;
}

static enum retort_status convert(const struct source *source,
                                  const struct dataset_options *options, const char *folder,
                                  struct dataset *dataset)
{
    if (source->is_shard)
        return fail(RETORT_INVALID, "%s: is a shard already", source->path);
    dataset->name = strdup(source->format->name);
    if (!dataset->name)
        return fail(RETORT_MEMORY, "%s: out of memory", source->path);
    struct shard_making making;
    TRY(shard_begin(folder, &making));
    enum retort_status status = source->format->read ? read_into(source, options, folder, dataset)
                                                     : copy_whole(source, options, folder, dataset);
    (status == RETORT_OK ? shard_end : shard_abandon)(&making);
    return status;
}

enum retort_status dataset_convert(const char *specification, const struct dataset_options *options,
                                   const char *folder, struct dataset *dataset)
{
    struct source source = {0};
    struct dataset read = {0}, made = {0};
    enum retort_status status;
    TRY(find_source(specification, &source));
    TRY_DONE(check_options(options, &source));
    status = blame_skipped(&read, convert(&source, options, folder, &read));
    if (status != RETORT_OK)
        goto done;
    TRY_DONE(shard_open(folder, &made));
    made.skipped = read.skipped; /* whose sentences say more than the number in the shard */
    made.left_out = 0;
    read.skipped = (struct skip_list){0};
    *dataset = made;
    made = (struct dataset){0};
done:
    dataset_release(&read);
    dataset_release(&made);
    free(source.path);
    return status;
}

/* ---- what formats share ---- */

enum retort_status dataset_make_classes(struct dataset *dataset, int classes)
{
    void *names;
    TRY(memory_zeroed((size_t)classes, sizeof(*dataset->class_names), &names));
    dataset->class_names = names;
    dataset->classes = classes;
    return RETORT_OK;
}

/* Models, shards and pages hold names as UTF-8, and terminals obey control characters: better found
 * now than after hours of training. */
enum retort_status dataset_take_name(const char *text, size_t length, char **name)
{
    *name = strndup(text, length);
    if (!*name)
        return fail(RETORT_MEMORY, "class names: out of memory");
    bool good = json_takes(*name);
    for (const char *c = *name; *c; c++)
        good = good && (unsigned char)*c >= ' ' && *c != 0x7f;
    return good ? RETORT_OK
                : fail(RETORT_FORMAT,
                       "a class is called \"%.100s\": UTF-8 without control characters wanted",
                       *name);
}

enum retort_status dataset_name_class(struct dataset *dataset, int label, const char *text,
                                      size_t length)
{
    return dataset_take_name(text, length, &dataset->class_names[label]);
}

enum retort_status dataset_set_remark(struct dataset *dataset, const char *text)
{
    free(dataset->remark);
    dataset->remark = strdup(text);
    return dataset->remark ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
}

enum retort_status dataset_skip(struct dataset *dataset, const struct dataset_options *options,
                                enum retort_status status)
{
    struct skip_list *list = &dataset->skipped;
    if (status != RETORT_FORMAT || !options->skip_bad)
        return status;
    if ((list->count & (list->count - 1)) == 0) { /* room for the next power of two */
        size_t room = list->count ? 2 * (size_t)list->count : 1;
        char **grown = realloc(list->sentences, room * sizeof(*grown));
        if (!grown)
            return fail(RETORT_MEMORY, "list of what was skipped: out of memory");
        list->sentences = grown;
    }
    char *sentence = strdup(retort_message());
    if (!sentence)
        return fail(RETORT_MEMORY, "list of what was skipped: out of memory");
    list->sentences[list->count++] = sentence;
    return RETORT_OK;
}

bool dataset_tell_skipped(const struct dataset *dataset, char *text, size_t size)
{
    enum { NAMED = 5 };
    const struct skip_list *list = &dataset->skipped;
    size_t used = 0;
    if (dataset->left_out > 0)
        snprintf(text, size, "%s: %d record%s left out when it was converted", dataset->name,
                 dataset->left_out, dataset->left_out == 1 ? " was" : "s were");
    else if (list->count > 0)
        snprintf(text, size, "%s: %d record%s cannot be used and %s left out:", dataset->name,
                 list->count, list->count == 1 ? "" : "s", list->count == 1 ? "is" : "are");
    for (int i = 0; i < list->count && i < NAMED; i++) {
        used = strlen(text);
        snprintf(text + used, size - used, "\n  %s", list->sentences[i]);
    }
    used = list->count > NAMED ? strlen(text) : 0;
    if (used)
        snprintf(text + used, size - used, "\n  and %d more", list->count - NAMED);
    return dataset->left_out > 0 || list->count > 0;
}

void dataset_release(struct dataset *dataset)
{
    for (int i = 0; i < dataset->classes; i++)
        free(dataset->class_names[i]);
    for (int i = 0; i < dataset->skipped.count; i++)
        free(dataset->skipped.sentences[i]);
    free(dataset->class_names);
    free(dataset->skipped.sentences);
    free(dataset->name);
    free(dataset->remark);
    image_set_release(&dataset->val);
    image_set_release(&dataset->train);
    image_set_release(&dataset->test);
    *dataset = (struct dataset){0};
}
