/* test_zip.c - zip archives beyond 4 GiB: members that large, and members behind them.
 *
 * The archive is written by hand, as APPNOTE 4.3 describes zip64, stored and with a hole where the
 * large member is, so that it takes no room on the disk. */
#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/zip.h"

enum { RECORD = 12288, SMALL = 5, NAME = 8 };
static const uint64_t LARGE = (UINT64_C(4) << 30) + (1 << 20);

struct member {
    const char *name;
    uint64_t size, offset;
    uint32_t crc;
};

/* Bytes that are being put together. */
struct text {
    unsigned char bytes[512];
    size_t used;
};

static void put(struct text *text, uint64_t number, int bytes)
{
    for (int k = 0; k < bytes; k++, number >>= 8)
        text->bytes[text->used++] = (unsigned char)number;
}

static void put_name(struct text *text, const char *name)
{
    memcpy(text->bytes + text->used, name, NAME);
    text->used += NAME;
}

static uint64_t write_text(int file, const struct text *text, uint64_t offset)
{
    assert_int_equal(pwrite(file, text->bytes, text->used, (off_t)offset), text->used);
    return offset + text->used;
}

/* Version, flags, method, time, date, CRC, two sizes that the extra field has, length of the name.
 */
static void put_common(struct text *text, const struct member *member)
{
    put(text, 45, 2);
    put(text, 0, 8);
    put(text, member->crc, 4);
    put(text, UINT32_MAX, 4);
    put(text, UINT32_MAX, 4);
    put(text, NAME, 2);
}

/* A local header; gives where the content begins. */
static uint64_t write_header(int file, const struct member *member)
{
    struct text text = {0};
    put(&text, 0x04034b50, 4);
    put_common(&text, member);
    put(&text, 20, 2);
    put_name(&text, member->name);
    put(&text, 1, 2);
    put(&text, 16, 2);
    put(&text, member->size, 8);
    put(&text, member->size, 8);
    return write_text(file, &text, member->offset);
}

static void put_directory(struct text *text, const struct member *member)
{
    put(text, 0x02014b50, 4);
    put(text, 45, 2);
    put_common(text, member);
    put(text, 28, 2);
    put(text, 0, 2 + 2 + 2 + 4);
    put(text, UINT32_MAX, 4);
    put_name(text, member->name);
    put(text, 1, 2);
    put(text, 24, 2);
    put(text, member->size, 8);
    put(text, member->size, 8);
    put(text, member->offset, 8);
}

static void put_end(struct text *text, int members, uint64_t directory)
{
    uint64_t bytes = text->used;
    put(text, 0x06064b50, 4);
    put(text, 44, 8);
    put(text, 45, 2);
    put(text, 45, 2);
    put(text, 0, 8);
    put(text, (uint64_t)members, 8);
    put(text, (uint64_t)members, 8);
    put(text, bytes, 8);
    put(text, directory, 8);
    put(text, 0x07064b50, 4); /* where that begins */
    put(text, 0, 4);
    put(text, directory + bytes, 8);
    put(text, 1, 4);
    put(text, 0x06054b50, 4);
    put(text, 0, 4);
    put(text, (uint64_t)members, 2);
    put(text, (uint64_t)members, 2);
    put(text, bytes, 4);
    put(text, UINT32_MAX, 4);
    put(text, 0, 2);
}

/* A large member, of zeros but for its last record, and a small one behind it. */
static const char *write_archive(const unsigned char *record)
{
    const char *path = support_path("large.zip");
    struct member members[2] = {{"data.npy", LARGE, 0, 0},
                                {"tail.npy", SMALL, 0, 0x3610a686}}; /* the CRC-32 of "hello" */
    struct text text = {0};
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    assert_true(file >= 0);
    uint64_t end = write_header(file, &members[0]) + LARGE;
    assert_int_equal(pwrite(file, record, RECORD, (off_t)(end - RECORD)), RECORD);
    members[1].offset = end;
    end = write_header(file, &members[1]);
    assert_int_equal(pwrite(file, "hello", SMALL, (off_t)end), SMALL);
    end += SMALL;
    for (int i = 0; i < 2; i++)
        put_directory(&text, &members[i]);
    put_end(&text, 2, end);
    write_text(file, &text, end);
    close(file);
    return path;
}

static void members_of_more_than_4_gib_are_read_and_passed_over(void **state)
{
    enum { BLOCK = 1 << 20 };
    unsigned char record[RECORD], *found = malloc(BLOCK);
    struct zip *zip;
    const char *name;
    assert_non_null(found);
    for (int i = 0; i < RECORD; i++)
        record[i] = (unsigned char)(i % 251 + 1);
    const char *path = write_archive(record);

    assert_ok(zip_open(path, &zip));
    assert_ok(zip_next(zip, &name));
    assert_string_equal(name, "data.npy");
    assert_ok(zip_read(zip, found, BLOCK));
    assert_ok(zip_next(zip, &name)); /* the rest is passed over */
    assert_string_equal(name, "tail.npy");
    assert_ok(zip_read(zip, found, SMALL));
    assert_memory_equal(found, "hello", SMALL);
    assert_ok(zip_finish(zip));
    assert_ok(zip_next(zip, &name));
    assert_null(name);
    zip_close(zip);

    assert_ok(zip_open(path, &zip));
    assert_ok(zip_next(zip, &name));
    for (uint64_t read = 0; read < LARGE; read += BLOCK)
        assert_ok(zip_read(zip, found, BLOCK));
    assert_memory_equal(found + BLOCK - RECORD, record, RECORD);
    assert_fails(zip_finish(zip), RETORT_FORMAT, "CRC"); /* which says 0 */
    zip_close(zip);
    free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_more_than_4_gib_are_read_and_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
