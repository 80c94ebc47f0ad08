/* tiny_imagenet.c - Tiny-ImageNet as Stanford hands it out, unpacked or in a tar archive.
 *
 *     wnids.txt                       the classes, one a line
 *     words.txt                       their names: class, a tab, names
 *     train/CLASS/images/FILE       the level "images" may be missing
 *     val/images/FILE               with val/val_annotations.txt: file, a tab, class, ...
 *     val/CLASS/FILE                or already sorted
 *
 * The images of its test folder have no labels: val is the test set. Classes are sorted. */
#include "data/format.h"
#include "data/image_file.h"
#include "data/image_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 64, MOST_CLASSES = 100000 };

static const char classes_file[] = "wnids.txt", names_file[] = "words.txt";
static const char annotations_file[] = "val/val_annotations.txt", loose_images[] = "val/images/";

/* The texts of the set. */
struct texts {
    const struct image_tree *images;
    struct file_bytes classes, names, annotations;
};

static struct file_bytes *find_text(struct texts *texts, int file)
{
    const char *name = texts->images->tree.files[file].name;
    if (texts->images->tree.files[file].fault)
        return NULL;
    if (strcmp(name, classes_file) == 0)
        return &texts->classes;
    if (strcmp(name, names_file) == 0)
        return &texts->names;
    return strcmp(name, annotations_file) == 0 ? &texts->annotations : NULL;
}

static bool wants_text(void *context, int file)
{
    return find_text(context, file);
}

static enum retort_status take_text(void *context, int file, const struct file_bytes *bytes)
{
    struct file_bytes *text = find_text(context, file);
    if (text->data)
        return fail(RETORT_FORMAT, "%s: held more than once",
                    ((struct texts *)context)->images->tree.files[file].name);
    text->data = malloc(bytes->size + 1);
    if (!text->data)
        return fail(RETORT_MEMORY, "out of memory");
    memcpy(text->data, bytes->data, bytes->size);
    text->data[bytes->size] = 0;
    text->size = bytes->size;
    return RETORT_OK;
}

static enum retort_status pass_on(void *context, enum retort_status status)
{
    return status;
}

static void release_texts(struct texts *texts)
{
    free(texts->classes.data);
    free(texts->names.data);
    free(texts->annotations.data);
}

/* ---- texts ---- */

/* Lines of a text, without their ends; *length 0 for an empty one. NULL at the end. */
static const char *next_line(const char **place, size_t *length)
{
    const char *line = *place;
    if (!*line)
        return NULL;
    *length = strcspn(line, "\r\n");
    const char *end = line + *length;
    end += *end == '\r';
    end += *end == '\n';
    *place = end;
    return line;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum retort_status read_classes(const char *path, const struct file_bytes *text,
                                       struct dataset *dataset)
{
    if (!text->data)
        return fail(RETORT_FORMAT, "%s: %s not found", path, classes_file);
    int count = 0;
    size_t length;
    const char *line;
    for (int round = 0; round < 2; round++) {
        const char *place = (const char *)text->data;
        if (round == 1)
            TRY(dataset_make_classes(dataset, count));
        count = 0;
        while ((line = next_line(&place, &length))) {
            if (round == 1 && length > 0)
                TRY(dataset_name_class(dataset, count, line, length));
            count += length > 0;
        }
        if (count == 0 || count > MOST_CLASSES)
            return fail(RETORT_FORMAT, "%s: %s: %d classes found, 1 to %d wanted", path,
                        classes_file, count, MOST_CLASSES);
    }
    qsort(dataset->class_names, (size_t)count, sizeof(char *), compare_names);
    for (int i = 1; i < count; i++)
        if (strcmp(dataset->class_names[i - 1], dataset->class_names[i]) == 0)
            return fail(RETORT_FORMAT, "%s: %s: class \"%s\" stands there twice", path,
                        classes_file, dataset->class_names[i]);
    return RETORT_OK;
}

/* "n01443537<tab>goldfish, Carassius auratus": the names take the place of the class's, which must
 * not be needed any more. Classes that have none keep their own. */
static enum retort_status read_names(const struct file_bytes *text, struct dataset *dataset)
{
    const char *place = text->data ? (const char *)text->data : "";
    char **names = calloc((size_t)dataset->classes, sizeof(*names));
    size_t length;
    const char *line;
    if (!names)
        return fail(RETORT_MEMORY, "class names: out of memory");
    enum retort_status status = RETORT_OK;
    while ((line = next_line(&place, &length)) && status == RETORT_OK) {
        const char *tab = memchr(line, '\t', length);
        int label = tab ? image_tree_find_class(dataset, line, (size_t)(tab - line)) : -1;
        if (label < 0 || names[label])
            continue;
        status = dataset_take_name(tab + 1, length - (size_t)(tab + 1 - line), &names[label]);
    }
    for (int i = 0; i < dataset->classes; i++) {
        if (names[i] && names[i][0]) {
            free(dataset->class_names[i]);
            dataset->class_names[i] = names[i];
        } else {
            free(names[i]);
        }
    }
    free(names);
    return status;
}

/* ---- images ---- */

static enum retort_status annotate(struct image_tree *images, const char *line, size_t length,
                                   int number)
{
    const char *tab = memchr(line, '\t', length);
    size_t rest = tab ? length - (size_t)(tab + 1 - line) : 0;
    const char *end = rest ? memchr(tab + 1, '\t', rest) : NULL;
    size_t name_length = tab ? (size_t)(tab - line) : 0;
    size_t class_length = end ? (size_t)(end - tab - 1) : rest;
    int label = tab ? image_tree_find_class(images->dataset, tab + 1, class_length) : -1;
    if (label < 0)
        return fail(RETORT_FORMAT, "%s: %s: line %d: a file, a tab and a class of %s wanted",
                    images->tree.path, annotations_file, number, classes_file);
    for (int low = 0, high = images->tree.count; low < high;) { /* names are sorted */
        int middle = low + (high - low) / 2;
        const char *name = images->tree.files[middle].name;
        int order = strncmp(loose_images, name, strlen(loose_images));
        if (order == 0) {
            const char *tail = name + strlen(loose_images);
            order = strncmp(line, tail, name_length);
            if (order == 0 && tail[name_length])
                order = -1;
        }
        if (order == 0 && images->files[middle].part == IMAGE_TEST)
            return fail(RETORT_FORMAT, "%s: %s: line %d: %s%.*s stands there twice",
                        images->tree.path, annotations_file, number, loose_images, (int)name_length,
                        line);
        if (order == 0 && !images->tree.files[middle].fault) {
            images->files[middle].part = IMAGE_TEST;
            images->files[middle].label = label;
            return RETORT_OK;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return fail(RETORT_FORMAT, "%s: %s: line %d: %s%.*s not found", images->tree.path,
                annotations_file, number, loose_images, (int)name_length, line);
}

/* Every annotation has its image, and every image its annotation. */
static enum retort_status assign_loose(struct image_tree *images, const struct file_bytes *text)
{
    if (!text->data)
        return fail(RETORT_FORMAT, "%s: %s not found", images->tree.path, annotations_file);
    const char *place = (const char *)text->data, *line;
    size_t length;
    for (int number = 1; (line = next_line(&place, &length)); number++) {
        enum retort_status status = length > 0 ? annotate(images, line, length, number) : RETORT_OK;
        if (status != RETORT_OK)
            TRY(dataset_skip(images->dataset, images->options, status));
    }
    for (int i = 0; i < images->tree.count; i++) {
        const char *name = images->tree.files[i].name;
        if (strncmp(name, loose_images, strlen(loose_images)) != 0 || !image_file_is(name) ||
            images->files[i].part >= 0)
            continue;
        enum retort_status status =
            fail(RETORT_FORMAT, "%s: %s: not in %s", images->tree.path, name, annotations_file);
        TRY(dataset_skip(images->dataset, images->options, status));
    }
    return RETORT_OK;
}

static enum retort_status assign(struct image_tree *images, struct texts *texts)
{
    const struct tree_visitor visitor = {wants_text, take_text, pass_on, texts};
    TRY(tree_visit(&images->tree, &visitor));
    TRY(read_classes(images->tree.path, &texts->classes, images->dataset));
    TRY(image_tree_assign(images, "train/", IMAGE_TRAIN));
    return image_tree_has(images, loose_images) ? assign_loose(images, &texts->annotations)
                                                : image_tree_assign(images, "val/", IMAGE_TEST);
}

static enum retort_status read_tiny_imagenet(const char *path,
                                             const struct dataset_options *options,
                                             struct image_writer *writer, struct dataset *dataset)
{
    struct image_tree images;
    struct texts texts = {.images = &images};
    enum retort_status status;
    TRY_DONE(image_tree_open(&images, path, options, dataset));
    TRY_DONE(assign(&images, &texts));
    TRY_DONE(image_tree_decode(&images, options->size ? options->size : SIDE, writer));
    TRY_DONE(read_names(&texts.names, dataset)); /* last: sentences name classes as folders do */
done:
    release_texts(&texts);
    image_tree_release(&images);
    return status;
}

const struct dataset_format dataset_tiny_imagenet = {
    .name = "tiny-imagenet",
    .default_paths = {"data/tiny-imagenet-200"},
    .help = "photographs, 200 classes, 100,000 + 10,000 JPEG images of 64x64; a folder or a tar "
            "archive",
    .any_size = true,
    .read = read_tiny_imagenet,
};
