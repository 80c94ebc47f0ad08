/* test_folder.c - sets of image files: folders and archives, Tiny-ImageNet, and what can be wrong.
 */
#include "images.h"
#include "support.h"

#include <archive.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/image_set.h"

enum { MOST = 64, SIDE = 8 };

/* The files of one set. */
struct set {
    int count;
    struct images_file files[MOST];
    char names[MOST][80];
};

static struct images_file *add(struct set *set, const char *name, struct file_bytes bytes)
{
    struct images_file *file = &set->files[set->count];
    snprintf(set->names[set->count++], sizeof(set->names[0]), "%s", name);
    *file = (struct images_file){.name = set->names[set->count - 1], .bytes = bytes};
    return file;
}

static struct file_bytes text(const char *words)
{
    return (struct file_bytes){(unsigned char *)strdup(words), strlen(words)};
}

/* Images of one shade of red for each class; green counts. */
static void add_images(struct set *set, const char *folder, int label, int count)
{
    static const char *const suffix[] = {"png", "PNG", "pNg"};
    for (int i = 0; i < count; i++) {
        char name[80];
        snprintf(name, sizeof(name), "%s/%02d.%s", folder, i, suffix[i % 3]);
        add(set, name, images_plain(SIDE + i, 50 * label, i, 7));
    }
}

/* "cat-big" is sorted behind "cat" although its files are sorted before those of "cat". */
static const char *const classes[] = {"ant", "cat", "cat-big"};

static void make_set(struct set *set, const char *root)
{
    char folder[64];
    set->count = 0;
    for (int k = 2; k >= 0; k--)
        for (int part = 0; part < 2; part++) {
            snprintf(folder, sizeof(folder), "%s%s/%s", root, part ? "val" : "train", classes[k]);
            add_images(set, folder, k, part ? 2 : 3 + k);
        }
    snprintf(folder, sizeof(folder), "%strain/ant/.hidden.png", root);
    add(set, folder, text("not an image"));
    snprintf(folder, sizeof(folder), "%strain/ant/notes.txt", root);
    add(set, folder, text("not an image"));
}

static void release(struct set *set)
{
    for (int i = 0; i < set->count; i++)
        free(set->files[i].bytes.data);
}

static const char *next_path(const char *suffix)
{
    static int number;
    char name[64];
    snprintf(name, sizeof(name), "set-%d%s", number++, suffix);
    return support_path(name);
}

static enum retort_status open_at(const char *format, const char *path,
                                  const struct dataset_options *options, struct dataset *dataset)
{
    char specification[400];
    snprintf(specification, sizeof(specification), "%s:%s", format, path);
    return dataset_open(specification, options, dataset);
}

static enum retort_status open_folder(const struct set *set, const struct dataset_options *options,
                                      struct dataset *dataset)
{
    const char *path = next_path("");
    images_write_folder(path, set->files, set->count);
    return open_at("folder", path, options, dataset);
}

static void check(const struct dataset *dataset)
{
    assert_int_equal(dataset->classes, 3);
    for (int k = 0; k < 3; k++)
        assert_string_equal(dataset->class_names[k], classes[k]);
    assert_int_equal(dataset->train.count, 3 + 4 + 5);
    assert_int_equal(dataset->test.count, 6);
    for (int part = 0; part < 2; part++) {
        const struct image_set *set = part ? &dataset->test : &dataset->train;
        int seen[3] = {0};
        assert_int_equal(set->height, 16);
        assert_int_equal(set->channels, 3);
        for (int i = 0; i < set->count; i++) {
            const uint8_t *pixels = image_set_view(set, (size_t)i);
            int label = set->labels[i];
            for (int p = 0; p < 256; p++) {
                assert_int_equal(pixels[p], 50 * label);
                assert_int_equal(pixels[256 + p], seen[label]);
                assert_int_equal(pixels[512 + p], 7);
            }
            seen[label]++;
            assert_true(i == 0 || label >= set->labels[i - 1]);
        }
    }
}

static void folders_and_archives_give_the_same_set(void **state)
{
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ};
    static const char *const roots[] = {"", "./", "my-set/", "./my-set/"};
    const struct dataset_options options = {.size = 16};
    struct set set;
    struct dataset dataset;
    make_set(&set, "");
    assert_ok(open_folder(&set, &options, &dataset));
    check(&dataset);
    dataset_release(&dataset);
    release(&set);
    for (int filter = 0; filter < 3; filter++)
        for (int root = 0; root < 4; root++) {
            const char *path = next_path(".tar");
            make_set(&set, roots[root]);
            images_write_tar(path, filters[filter], set.files, set.count);
            assert_ok(open_at("folder", path, &options, &dataset));
            check(&dataset);
            dataset_release(&dataset);
            release(&set);
        }
}

static void without_a_test_folder_one_in_ten_is_held_out(void **state)
{
    const struct dataset_options options = {.size = 8};
    for (int root = 0; root < 2; root++) {
        struct set set = {0};
        struct dataset dataset, again;
        add_images(&set, root ? "train/a" : "a", 1, 20);
        add_images(&set, root ? "train/b" : "b", 2, 3);
        const char *path = next_path("");
        images_write_folder(path, set.files, set.count);
        assert_ok(open_at("folder", path, &options, &dataset));
        assert_int_equal(dataset.test.count, 2 + 1);
        assert_int_equal(dataset.train.count, 18 + 2);
        int seen[20] = {0};
        for (int part = 0; part < 2; part++) {
            const struct image_set *images = part ? &dataset.test : &dataset.train;
            for (int i = 0; i < images->count; i++)
                if (images->labels[i] == 0)
                    seen[image_set_view(images, (size_t)i)[64]]++;
        }
        for (int i = 0; i < 20; i++)
            assert_int_equal(seen[i], 1);
        assert_ok(open_at("folder", path, &options, &again));
        assert_memory_equal(again.test.pixels, dataset.test.pixels, 3 * 192);
        dataset_release(&again);
        dataset_release(&dataset);
        release(&set);
    }
}

/* How many of the images of class `label` are in the test set, and which: by their green. */
static int find_tested(const struct dataset *dataset, int label, bool tested[32])
{
    int count = 0;
    memset(tested, 0, 32 * sizeof(*tested));
    for (int i = 0; i < dataset->test.count; i++)
        if (dataset->test.labels[i] == label) {
            tested[image_set_view(&dataset->test, (size_t)i)[64]] = true;
            count++;
        }
    return count;
}

static void the_share_that_is_held_out_is_a_setting(void **state)
{
    static const struct {
        double share;
        int tested[2]; /* of 20 and 3 images */
    } rows[] = {{0, {2, 1}}, {0.1, {2, 1}}, {0.25, {5, 1}}, {0.5, {10, 1}}, {0.9, {18, 2}}};
    struct set set = {0};
    bool before[2][32] = {0};
    const char *path = next_path("");
    add_images(&set, "a", 1, 20);
    add_images(&set, "b", 2, 3);
    images_write_folder(path, set.files, set.count);
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const struct dataset_options options = {.size = 8, .held_out = rows[row].share};
        struct dataset dataset;
        assert_ok(open_at("folder", path, &options, &dataset));
        assert_true(dataset.held_out == (row ? rows[row].share : 0.1));
        assert_int_equal(dataset.train.count + dataset.test.count, 23);
        for (int label = 0; label < 2; label++) {
            bool tested[32];
            assert_int_equal(find_tested(&dataset, label, tested), rows[row].tested[label]);
            for (int i = 0; i < 32; i++)
                assert_true(tested[i] ||
                            !before[label][i]); /* a larger share holds a smaller one */
            memcpy(before[label], tested, sizeof(tested));
        }
        dataset_release(&dataset);
    }
    const struct dataset_options much = {.held_out = 0.95}, half = {.held_out = 0.5};
    struct dataset dataset;
    assert_fails(open_at("folder", path, &much, &dataset), RETORT_INVALID,
                 "held_out: 0.95 found, 0 to 0.9 wanted");
    assert_fails(open_at("cifar10", path, &half, &dataset), RETORT_INVALID,
                 "held_out: 0.5 found, but cifar10 has test images of its own");
    for (int i = 0; i < 20; i++) /* the same below train, and beside it a test folder */
        snprintf(set.names[i], sizeof(set.names[i]), "%s/%02d.png", i < 15 ? "train/a" : "test/a",
                 i);
    for (int i = 20; i < 23; i++)
        snprintf(set.names[i], sizeof(set.names[i]), "train/b/%02d.png", i);
    path = next_path("");
    images_write_folder(path, set.files, set.count);
    assert_fails(open_at("folder", path, &half, &dataset), RETORT_INVALID,
                 "has test images of its own, in test/");
    release(&set);
}

/* What is told of a set does not depend on whether its images are kept, also where some are bad. */
static void looking_tells_what_reading_does(void **state)
{
    const struct dataset_options reads = {.size = 16, .skip_bad = true},
                                 looks = {.size = 16, .skip_bad = true, .looks = true};
    struct set set;
    struct dataset kept, seen;
    make_set(&set, "");
    add(&set, "train/ant/bad.png", text("not an image"));
    const char *path = next_path("");
    images_write_folder(path, set.files, set.count);
    assert_ok(open_at("folder", path, &reads, &kept));
    assert_ok(open_at("folder", path, &looks, &seen));
    assert_null(seen.train.pixels);
    assert_int_equal(seen.train.count, kept.train.count);
    assert_int_equal(seen.test.count, kept.test.count);
    assert_int_equal(seen.skipped.count, kept.skipped.count);
    assert_memory_equal(seen.mean, kept.mean, sizeof(kept.mean));
    assert_memory_equal(seen.std, kept.std, sizeof(kept.std));
    assert_memory_equal(seen.train.labels, kept.train.labels,
                        (size_t)kept.train.count * sizeof(*kept.train.labels));
    dataset_release(&kept);
    dataset_release(&seen);
    release(&set);
}

static void val_and_test_are_what_they_are_called(void **state)
{
    const struct dataset_options options = {.size = 8};
    struct set set = {0};
    struct dataset dataset;
    add_images(&set, "train/a", 1, 4);
    add_images(&set, "train/b", 2, 4);
    add_images(&set, "test/a", 1, 2);
    add_images(&set, "test/b", 2, 1);
    assert_ok(open_folder(&set, &options, &dataset));
    assert_int_equal(dataset.train.count, 8);
    assert_int_equal(dataset.test.count, 3);
    dataset_release(&dataset);
    add_images(&set, "val/a", 1, 3);
    add_images(&set, "val/b", 2, 2);
    assert_ok(open_folder(&set, &options, &dataset));
    assert_null(dataset.remark);
    assert_int_equal(dataset.test.count, 3);
    assert_int_equal(dataset.val.count, 5);
    char shard[200], source[300];
    struct dataset mapped;
    snprintf(shard, sizeof(shard), "%s", next_path(""));
    snprintf(source, sizeof(source), "folder:%s", next_path(""));
    images_write_folder(source + strlen("folder:"), set.files, set.count);
    assert_ok(dataset_convert(source, &options, shard, &mapped));
    dataset_release(&mapped);
    const struct dataset_options checked = {.verify = true};
    assert_ok(open_at("shard", shard, &checked, &mapped));
    assert_int_equal(mapped.val.count, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mapped.val.labels[i], dataset.val.labels[i]);
        assert_memory_equal(image_set_view(&mapped.val, (size_t)i),
                            image_set_view(&dataset.val, (size_t)i), image_set_size(&mapped.val));
    }
    dataset_release(&mapped);
    dataset_release(&dataset);
    const struct dataset_options more = {.size = 8, .val = 2}; /* a second set of that kind */
    assert_fails(open_folder(&set, &more, &dataset), RETORT_INVALID,
                 "val: 2 found, but folder has validation images of its own");
    for (int i = 0; i < set.count; i++) /* without labels */
        if (strncmp(set.names[i], "test/", 5) == 0)
            snprintf(set.names[i], sizeof(set.names[i]), "test/images/%d.png", i);
    assert_ok(open_folder(&set, &options, &dataset));
    assert_non_null(strstr(dataset.remark, "those of test have no labels"));
    assert_int_equal(dataset.val.count, 0);
    assert_int_equal(dataset.test.count, 5);
    snprintf(shard, sizeof(shard), "%s", next_path(""));
    snprintf(source, sizeof(source), "folder:%s", next_path(""));
    images_write_folder(source + strlen("folder:"), set.files, set.count);
    assert_ok(dataset_convert(source, &options, shard, &mapped)); /* opens what it has made */
    assert_string_equal(mapped.remark, dataset.remark);
    dataset_release(&mapped);
    dataset_release(&dataset);
    release(&set);
}

static void images_may_lie_deeper_and_have_the_default_size(void **state)
{
    const struct dataset_options none = {0};
    struct set set = {0};
    struct dataset dataset;
    add_images(&set, "train/a/images/more", 1, 4);
    add_images(&set, "train/b", 1, 1);
    add_images(&set, "val/a/images", 1, 2);
    add_images(&set, "val/b/images", 1, 2);
    assert_ok(open_folder(&set, &none, &dataset));
    assert_int_equal(dataset.train.height, 64);
    assert_int_equal(dataset.train.width, 64);
    dataset_release(&dataset);
    release(&set);
}

/* ---- what is wrong ---- */

/* What is done to a good set, and what is said about it. */
static const struct damage {
    const char *name, *words, *link;
    const char *message;
    int skipped;       /* with skip_bad */
    bool archive_only; /* links and names that folders do not have */
} damages[] = {
    {"train/ant/bad.png", "words", NULL, "train/ant/bad.png: neither's first bytes found", 1,
     false},
    {"train/ant/empty.jpg", "", NULL, "train/ant/empty.jpg: empty file", 1, false},
    {"val/cat/cut.jpg", "\xff\xd8\xff\xe0", NULL, "val/cat/cut.jpg: damaged JPEG", 1, false},
    {"val/dog/1.png", "words", NULL, "val/dog/1.png: class \"dog\" found, which the training set",
     1, false},
    {"train/loose.png", "words", NULL, "train/loose.png: lies in no folder of a class", 1, false},
    {"../evil.png", "words", NULL,
     "../evil.png: a name that points out of the archive found, a regular", 1, true},
    {"/evil.png", "words", NULL, "/evil.png: a name that points out", 1, true},
    {"train/ant/../1.png", "words", NULL, "train/ant/../1.png: a name that points", 1, true},
    {"train/ant/link.png", NULL, "/etc/passwd",
     "train/ant/link.png: a link or a device found, a regular file", 1, true},
    {"train/ant/00.png", "words", NULL, "train/ant/00.png: a second entry of that name found", 1,
     true},
    {"../evil.txt", "words", NULL, "../evil.txt: a name that points out", 1, true},
    {"train/dog", NULL, "../elsewhere", "train/dog: a link or a device found, a regular file", 1,
     true},
    {"test", NULL, "elsewhere", "test: a link or a device found, a regular file", 1, true},
    {"loose.png", "words", NULL, "images found at the top, only train, val and test", 1, false},
    {"more/1.webp", "words", NULL, "images found in more, only train, val and test", 1, false},
    {"train/ant/notes.lnk", NULL, "/etc/passwd", NULL, 0, true},
    {"train/ant/1.webp", "words", NULL, "train/ant/1.webp: an image of another kind", 1, false},
    {"valid/ant/1.png", "words", NULL, "images found in valid, only train, val and test", 1, false},
    {"train/yak/1.txt", "words", NULL, "class \"yak\": no images found in train/yak", 1, false},
    {"train/yak/more/1.txt", "words", NULL, "class \"yak\": no images found in", 1, false},
    {"val/yak/1.txt", "words", NULL, NULL, 0, false},
};

static void bad_files_are_errors_or_listed(void **state)
{
    for (size_t row = 0; row < sizeof(damages) / sizeof(damages[0]); row++)
        for (int archive = damages[row].archive_only; archive < 2; archive++) {
            const struct damage *damage = &damages[row];
            struct dataset_options options = {.size = 16};
            const char *path = next_path("");
            struct set set;
            struct dataset dataset;
            make_set(&set, "");
            add(&set, damage->name, text(damage->words ? damage->words : ""))->link = damage->link;
            if (archive)
                images_write_tar(path, ARCHIVE_FILTER_NONE, set.files, set.count);
            else
                images_write_folder(path, set.files, set.count);
            if (damage->message)
                assert_fails(open_at("folder", path, &options, &dataset), RETORT_FORMAT,
                             damage->message);
            options.skip_bad = true;
            assert_ok(open_at("folder", path, &options, &dataset));
            check(&dataset);
            assert_int_equal(dataset.skipped.count, damage->skipped);
            if (damage->message)
                assert_non_null(strstr(dataset.skipped.sentences[0], damage->message));
            dataset_release(&dataset);
            release(&set);
        }
}

/* The set lies in a folder of the archive; an entry that is refused does not, wherever it stands.
 */
static void refused_entries_do_not_move_the_root(void **state)
{
    static const struct images_file refused[] = {
        {.name = "../evil.png"},
        {.name = "/set/train/ant/9.png"},
        {.name = "set/train/ant/9.png", .link = "/etc/passwd"},
    };
    const struct dataset_options strict = {.size = 16}, skip = {.size = 16, .skip_bad = true};
    for (size_t row = 0; row < sizeof(refused) / sizeof(refused[0]); row++)
        for (int first = 0; first < 2; first++) {
            const char *path = next_path(".tar");
            struct images_file files[MOST + 1];
            struct set set;
            struct dataset dataset;
            make_set(&set, "set/");
            memcpy(files + first, set.files, (size_t)set.count * sizeof(files[0]));
            files[first ? 0 : set.count] = refused[row];
            images_write_tar(path, ARCHIVE_FILTER_NONE, files, set.count + 1);
            assert_fails(open_at("folder", path, &strict, &dataset), RETORT_FORMAT,
                         "found, a regular file or folder wanted");
            assert_ok(open_at("folder", path, &skip, &dataset));
            check(&dataset);
            assert_int_equal(dataset.skipped.count, 1);
            dataset_release(&dataset);
            release(&set);
        }
}

/* One good set, with something that cannot be walked in it. */
static void check_walk(const char *path, const char *message)
{
    const struct dataset_options strict = {.size = 16}, skip = {.size = 16, .skip_bad = true};
    struct dataset dataset;
    assert_fails(open_at("folder", path, &strict, &dataset), RETORT_FORMAT, message);
    assert_ok(open_at("folder", path, &skip, &dataset));
    check(&dataset);
    assert_int_equal(dataset.skipped.count, 1);
    assert_non_null(strstr(dataset.skipped.sentences[0], message));
    dataset_release(&dataset);
}

static void what_cannot_be_walked_is_an_error_or_listed(void **state)
{
    static const struct {
        const char *name, *link, *message;
    } rows[] = {
        {"train/ant/loop", "..", "train/ant/loop/: a link that leads back to "},
        {"train/ant/loop", "nowhere", "train/ant/loop: what leads nowhere: No such"},
        {"val/ant/a.png", "a.png", "val/ant/a.png: what leads nowhere: Too many"},
        {"train/ant/a.jpg", "/dev/null", "train/ant/a.jpg: a pipe, a socket or a device"},
    };
    struct set set;
    make_set(&set, "");
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        const char *path = next_path("");
        set.files[set.count] = (struct images_file){.name = rows[row].name, .link = rows[row].link};
        images_write_folder(path, set.files, set.count + 1);
        check_walk(path, rows[row].message);
    }
    const struct dataset_options strict = {.size = 16};
    struct dataset dataset;
    set.files[set.count] = (struct images_file){.name = "notes.txt", .link = "nowhere"};
    const char *path = next_path(""); /* what no image could be is nobody's concern */
    images_write_folder(path, set.files, set.count + 1);
    assert_ok(open_at("folder", path, &strict, &dataset));
    dataset_release(&dataset);
    release(&set);
}

/* Permissions do not hold root back, who becomes somebody else for that time. */
static void what_is_not_permitted_is_an_error_or_listed(void **state)
{
    enum { NOBODY = 65534 };
    struct set set;
    const char *path = next_path("");
    char inner[300];
    make_set(&set, "");
    images_write_folder(path, set.files, set.count);
    assert_int_equal(chmod(support_path(""), 0755), 0);
    bool root = geteuid() == 0;

    snprintf(inner, sizeof(inner), "%s/train/ant/more", path);
    assert_int_equal(mkdir(inner, 0), 0);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    check_walk(path, "train/ant/more/: a folder that cannot be opened: Permission");
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(rmdir(inner), 0);

    snprintf(inner, sizeof(inner), "%s/val/cat/99.png", path);
    assert_ok(file_write(inner, "words", 5));
    assert_int_equal(chmod(inner, 0), 0);
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    check_walk(path, "val/cat/99.png: cannot open: Permission");
    if (root)
        assert_int_equal(seteuid(0), 0);
    release(&set);
}

static void a_folder_elsewhere_may_be_linked(void **state)
{
    const struct dataset_options options = {.size = 16};
    struct set set, other = {0};
    struct dataset dataset;
    make_set(&set, "");
    add_images(&other, "x", 1, 2);
    const char *elsewhere = next_path("");
    images_write_folder(elsewhere, other.files, other.count);
    set.files[set.count++] = (struct images_file){.name = "train/more", .link = elsewhere};
    set.files[set.count++] = (struct images_file){.name = "val/more", .link = elsewhere};
    assert_ok(open_folder(&set, &options, &dataset));
    assert_int_equal(dataset.classes, 4);
    dataset_release(&dataset);
    set.count -= 2;
    release(&set);
    release(&other);
}

static void what_is_no_set_is_refused(void **state)
{
    const struct dataset_options none = {0};
    struct dataset dataset;
    struct set set = {0};
    const char *empty = next_path("");
    assert_ok(file_make_folder(empty));
    assert_fails(open_at("folder", empty, &none, &dataset), RETORT_FORMAT, "0 classes found");
    assert_fails(open_at("folder", support_path("nowhere"), &none, &dataset), RETORT_IO,
                 "cannot open: No such file");
    add(&set, "a/1.png", images_plain(8, 1, 2, 3));
    assert_fails(open_folder(&set, &none, &dataset), RETORT_FORMAT,
                 "1 class found, \"a\", at least 2 wanted");
    add(&set, "b/1.png", images_plain(8, 1, 2, 3));
    add(&set, "b/2.png", images_plain(8, 1, 2, 3));
    assert_fails(open_folder(&set, &none, &dataset), RETORT_FORMAT,
                 "class \"a\": 1 image found, at least 2 wanted");
    release(&set);
    const struct dataset_options size = {.size = 1025};
    assert_fails(open_at("folder", empty, &size, &dataset), RETORT_INVALID, "size: 1025");
}

/* The parts of a set that lies a folder deeper, or has no part to train, are no classes. */
static void parts_are_not_taken_for_classes(void **state)
{
    static const char *const rows[][3] = {
        {"set/train/a", "other/train/b", "a folder other/train found, but none named train"},
        {"val/a", "test/b", "a folder test found, but none named train"},
        {"Train/a", "b", "a folder Train found"},
        {"a", "b/valid", "a folder b/valid found"},
    };
    const struct dataset_options options = {.skip_bad = true};
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct set set = {0};
        struct dataset dataset;
        add_images(&set, rows[row][0], 1, 2);
        add_images(&set, rows[row][1], 2, 2);
        assert_fails(open_folder(&set, &options, &dataset), RETORT_FORMAT, rows[row][2]);
        release(&set);
    }
}

static void empty_folders_of_classes_are_errors(void **state)
{
    const struct dataset_options options = {.size = 16}, skip = {.size = 16, .skip_bad = true};
    struct set set;
    struct dataset dataset;
    const char *path = next_path("");
    char inner[300];
    make_set(&set, "");
    images_write_folder(path, set.files, set.count);
    snprintf(inner, sizeof(inner), "%s/train/yak", path);
    assert_ok(file_make_folder(inner));
    assert_fails(open_at("folder", path, &options, &dataset), RETORT_FORMAT,
                 "class \"yak\": no images found in train/yak");
    assert_ok(open_at("folder", path, &skip, &dataset));
    check(&dataset);
    assert_int_equal(dataset.skipped.count, 1);
    dataset_release(&dataset);
    release(&set);
}

static void a_cut_archive_is_refused(void **state)
{
    struct dataset_options options = {.size = 16, .skip_bad = true};
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ};
    for (int i = 0; i < 3; i++) {
        struct set set;
        struct dataset dataset;
        struct file_bytes bytes;
        const char *path = next_path(".tar");
        make_set(&set, "");
        images_write_tar(path, filters[i], set.files, set.count);
        assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
        assert_ok(file_write(path, bytes.data, bytes.size / 2));
        assert_fails(open_at("folder", path, &options, &dataset), RETORT_FORMAT, "truncated");
        if (filters[i] == ARCHIVE_FILTER_NONE)
            assert_non_null(strstr(retort_message(), ".tar: behind entry "));
        free(bytes.data);
        release(&set);
    }
}

/* Everything that is shorter than the archive with its end, which is a block of zeros at least; and
 * two archives in one file. */
static void an_archive_ends_where_it_says(void **state)
{
    enum { BLOCK = 512 };
    const struct dataset_options options = {.size = 16, .skip_bad = true};
    struct set set;
    struct dataset dataset;
    struct file_bytes bytes;
    const char *path = next_path(".tar");
    make_set(&set, "");
    images_write_tar(path, ARCHIVE_FILTER_NONE, set.files, set.count);
    assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
    size_t end = bytes.size;
    while (!bytes.data[end - 1])
        end--;
    end = (end + BLOCK - 1) / BLOCK * BLOCK;
    assert_true(end > 30 * BLOCK && end + BLOCK < bytes.size);
    for (size_t cut = BLOCK; cut <= end; cut += BLOCK) {
        assert_ok(file_write(path, bytes.data, cut));
        assert_fails(open_at("folder", path, &options, &dataset), RETORT_FORMAT, "truncated");
    }
    assert_ok(file_write(path, bytes.data, end + BLOCK));
    assert_ok(open_at("folder", path, &options, &dataset));
    check(&dataset);
    dataset_release(&dataset);
    for (int packed = 0; packed < 2; packed++) {
        struct file_writer writer;
        if (packed) {
            free(bytes.data);
            images_write_tar(path, ARCHIVE_FILTER_GZIP, set.files, set.count);
            assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
        }
        assert_ok(file_begin(path, &writer));
        for (int i = 0; i < 2; i++)
            assert_int_equal(fwrite(bytes.data, 1, bytes.size, writer.stream), bytes.size);
        assert_ok(file_commit(&writer));
        assert_fails(open_at("folder", path, &options, &dataset), RETORT_FORMAT,
                     "more found behind the archive's end, at byte ");
    }
    free(bytes.data);
    release(&set);
}

/* Such a name could not stand in a model's file, or would be obeyed by a terminal. */
static void names_that_are_no_text_are_refused(void **state)
{
    static const char *const names[] = {"train/caf\xe9/1.png", "train/a\033[2J/1.png"};
    const struct dataset_options options = {.size = 16, .skip_bad = true};
    for (int i = 0; i < 2; i++) {
        struct set set;
        struct dataset dataset;
        make_set(&set, "");
        add(&set, names[i], images_plain(SIDE, 1, 2, 3));
        assert_fails(open_folder(&set, &options, &dataset), RETORT_FORMAT,
                     "UTF-8 without control characters wanted");
        release(&set);
    }
}

/* Images of class 1 ("cat") in one part become something else. */
static void spoil_cats(struct set *set, const char *folder)
{
    for (int i = 0; i < set->count; i++)
        if (strncmp(set->names[i], folder, strlen(folder)) == 0) {
            free(set->files[i].bytes.data);
            set->files[i].bytes = text("not an image");
        }
}

static void a_class_of_which_nothing_is_left_is_left_out(void **state)
{
    static const struct {
        const char *folder, *message;
        int spoilt;
    } rows[] = {{"val/cat/", "class \"cat\": no test images are left; its 4 others go", 2},
                {"train/cat/", "class \"cat\": no training images are left; its 2 others go", 4}};
    const struct dataset_options skip = {.size = 16, .skip_bad = true};
    for (size_t row = 0; row < 2; row++) {
        struct set set;
        struct dataset dataset;
        make_set(&set, "");
        spoil_cats(&set, rows[row].folder);
        assert_ok(open_folder(&set, &skip, &dataset));
        assert_int_equal(dataset.classes, 2);
        assert_string_equal(dataset.class_names[0], "ant");
        assert_string_equal(dataset.class_names[1], "cat-big");
        assert_int_equal(dataset.train.count, 3 + 5);
        assert_int_equal(dataset.test.count, 4);
        assert_int_equal(dataset.skipped.count, rows[row].spoilt + 1);
        assert_non_null(strstr(dataset.skipped.sentences[rows[row].spoilt], rows[row].message));
        double red = 0; /* the images that went with the class do not count in the mean */
        for (int i = 0; i < dataset.train.count; i++) {
            int label = dataset.train.labels[i];
            assert_int_equal(image_set_view(&dataset.train, (size_t)i)[0], label ? 100 : 0);
            red += label ? 100 : 0;
        }
        assert_float_equal(dataset.mean[0], red / 8 / 255, 1e-6);
        dataset_release(&dataset);
        spoil_cats(&set, "train/ant/");
        assert_fails(open_folder(&set, &skip, &dataset), RETORT_FORMAT,
                     "1 class is left, \"cat-big\", at least 2 wanted");
        release(&set);
    }
}

/* ---- Tiny-ImageNet ---- */

static void make_tiny(struct set *set, bool loose)
{
    set->count = 0;
    add_images(set, "train/n2/images", 1, 4);
    add_images(set, "train/n1/images", 0, 3);
    add(set, "wnids.txt", text("n2\nn1\n"));
    add(set, "words.txt", text("n0\tnothing\nn1\tgoldfish, fish\nn3\tother\n"));
    if (loose) {
        add_images(set, "val/images", 1, 2);
        add(set, "val/val_annotations.txt",
            text("00.png\tn2\t0\t0\t1\t1\n01.PNG\tn1\t0\t0\t1\t1\n"));
    } else {
        add_images(set, "val/n1", 0, 1);
        add_images(set, "val/n2", 1, 1);
    }
    add_images(set, "test/images", 3, 2);
}

static void tiny_imagenet_is_read(void **state)
{
    const struct dataset_options options = {.size = 8};
    for (int kind = 0; kind < 4; kind++) {
        const char *path = next_path("");
        struct set set;
        struct dataset dataset;
        make_tiny(&set, kind & 1);
        if (kind & 2)
            images_write_tar(path, ARCHIVE_FILTER_NONE, set.files, set.count);
        else
            images_write_folder(path, set.files, set.count);
        assert_ok(open_at("tiny-imagenet", path, &options, &dataset));
        assert_int_equal(dataset.classes, 2);
        assert_string_equal(dataset.class_names[0], "goldfish, fish");
        assert_string_equal(dataset.class_names[1], "n2");
        assert_int_equal(dataset.train.count, 7);
        assert_int_equal(dataset.test.count, 2);
        assert_int_equal(dataset.test.labels[0], 0);
        assert_int_equal(dataset.test.labels[1], 1);
        for (int i = 0; i < 7; i++) {
            assert_int_equal(dataset.train.labels[i], i >= 3);
            assert_int_equal(dataset.train.pixels[i * 192], i >= 3 ? 50 : 0);
        }
        dataset_release(&dataset);
        release(&set);
    }
}

static const struct {
    const char *name, *words; /* the file that becomes something else; NULL: is missing */
    const char *message;
} tiny_damages[] = {
    {"wnids.txt", NULL, "wnids.txt not found"},
    {"wnids.txt", "\n", "wnids.txt: 0 classes found"},
    {"wnids.txt", "n1\nn2\nn1\n", "class \"n1\" stands there twice"},
    {"wnids.txt", "n1\nn2\nn3\n", "class \"n3\": no training images found"},
    {"wnids.txt", "n1\n", "class \"n2\" found, which the training set does not have"},
    {"val/val_annotations.txt", NULL, "val/val_annotations.txt not found"},
    {"val/val_annotations.txt", "00.png\tn2\n01.PNG\tn7\n", "val_annotations.txt: line 2: a file"},
    {"val/val_annotations.txt", "00.png\tn2\n01.PNG\tn1\n00.png\tn1\n",
     "line 3: val/images/00.png stands there twice"},
    {"val/val_annotations.txt", "00.png\n", "val_annotations.txt: line 1: a file, a tab"},
    {"val/val_annotations.txt", "00.png\tn2\n", "val/images/01.PNG: not in val/val_annotations"},
    {"val/val_annotations.txt", "00.png\tn2\n01.PNG\tn1\n02.png\tn1\n",
     "line 3: val/images/02.png not found"},
};

static void damaged_texts_are_refused(void **state)
{
    const struct dataset_options options = {.size = 8};
    for (size_t row = 0; row < sizeof(tiny_damages) / sizeof(tiny_damages[0]); row++) {
        const char *path = next_path("");
        struct set set;
        struct dataset dataset;
        make_tiny(&set, true);
        for (int i = 0; i < set.count; i++) {
            if (strcmp(set.files[i].name, tiny_damages[row].name) != 0)
                continue;
            free(set.files[i].bytes.data);
            set.files[i].bytes = text(tiny_damages[row].words ? tiny_damages[row].words : "");
            if (!tiny_damages[row].words)
                snprintf(set.names[i], sizeof(set.names[i]), "other-%d.txt", i);
        }
        images_write_folder(path, set.files, set.count);
        assert_fails(open_at("tiny-imagenet", path, &options, &dataset), RETORT_FORMAT,
                     tiny_damages[row].message);
        release(&set);
    }
}

/* Not even one class has images in both parts. */
static void nothing_left_is_an_error(void **state)
{
    const struct dataset_options skip = {.size = 8, .skip_bad = true};
    struct set set;
    struct dataset dataset;
    make_tiny(&set, false);
    for (int i = 0; i < set.count; i++)
        if (strncmp(set.names[i], "val/", 4) == 0) {
            free(set.files[i].bytes.data);
            set.files[i].bytes = text("not an image");
        }
    const char *path = next_path("");
    images_write_folder(path, set.files, set.count);
    assert_fails(open_at("tiny-imagenet", path, &skip, &dataset), RETORT_FORMAT,
                 "no class is left (4 left out before, the first: ");
    release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_and_archives_give_the_same_set),
        cmocka_unit_test(without_a_test_folder_one_in_ten_is_held_out),
        cmocka_unit_test(the_share_that_is_held_out_is_a_setting),
        cmocka_unit_test(a_class_of_which_nothing_is_left_is_left_out),
        cmocka_unit_test(looking_tells_what_reading_does),
        cmocka_unit_test(val_and_test_are_what_they_are_called),
        cmocka_unit_test(images_may_lie_deeper_and_have_the_default_size),
        cmocka_unit_test(bad_files_are_errors_or_listed),
        cmocka_unit_test(refused_entries_do_not_move_the_root),
        cmocka_unit_test(what_cannot_be_walked_is_an_error_or_listed),
        cmocka_unit_test(what_is_not_permitted_is_an_error_or_listed),
        cmocka_unit_test(parts_are_not_taken_for_classes),
        cmocka_unit_test(a_folder_elsewhere_may_be_linked),
        cmocka_unit_test(what_is_no_set_is_refused),
        cmocka_unit_test(empty_folders_of_classes_are_errors),
        cmocka_unit_test(a_cut_archive_is_refused),
        cmocka_unit_test(an_archive_ends_where_it_says),
        cmocka_unit_test(names_that_are_no_text_are_refused),
        cmocka_unit_test(tiny_imagenet_is_read),
        cmocka_unit_test(damaged_texts_are_refused),
        cmocka_unit_test(nothing_left_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
