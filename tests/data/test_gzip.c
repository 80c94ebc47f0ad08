/* test_gzip.c - files of one member and of several, with zeros behind them, cut and damaged. */
#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/file.h"
#include "base/random.h"
#include "data/gzip.h"

enum { SIZE = 300000, MOST = 2 * SIZE };

static unsigned char content[SIZE], packed[MOST], unpacked[MOST];

/* Append a member of content's bytes `from` to `end`; the new size. */
static size_t pack(size_t used, size_t from, size_t end)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = content + from;
    z.avail_in = (uInt)(end - from);
    z.next_out = packed + used;
    z.avail_out = (uInt)(sizeof(packed) - used);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    used = sizeof(packed) - z.avail_out;
    deflateEnd(&z);
    return used;
}

static int make_content(void **state)
{
    struct random_stream stream = random_stream(3, RANDOM_TEST, 0, 0);
    for (int i = 0; i < SIZE; i++) /* half as large when it is packed */
        content[i] = (unsigned char)(random_bits(&stream, (uint64_t)i) & 15);
    return 0;
}

/* The first `size` bytes of packed, unpacked again: how many there are. */
static enum retort_status unpack(size_t size, size_t *got)
{
    const char *path = support_path("file.gz");
    struct gzip *gzip;
    const void *data;
    size_t more;
    assert_ok(file_write(path, packed, size));
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_ok(gzip_open(descriptor, &gzip));
    enum retort_status status;
    *got = 0;
    while ((status = gzip_read(gzip, &data, &more)) == RETORT_OK && more > 0) {
        assert_true(*got + more <= sizeof(unpacked));
        memcpy(unpacked + *got, data, more);
        *got += more;
    }
    gzip_close(gzip);
    close(descriptor);
    return status;
}

static void check_whole(size_t size)
{
    size_t got;
    assert_ok(unpack(size, &got));
    assert_int_equal(got, SIZE);
    assert_memory_equal(unpacked, content, SIZE);
}

static void any_number_of_members_is_one_file(void **state)
{
    static const int members[] = {1, 2, 7};
    for (size_t row = 0; row < 3; row++) {
        const size_t count = (size_t)members[row];
        size_t size = 0;
        for (size_t i = 0; i < count; i++)
            size = pack(size, SIZE * i / count, SIZE * (i + 1) / count);
        check_whole(size);
        memset(packed + size, 0, 70000); /* as on a tape */
        check_whole(size + 1);
        check_whole(size + 70000);
        packed[size + 69999] = 1;
        size_t got;
        assert_fails(unpack(size + 70000, &got), RETORT_FORMAT,
                     "behind the compressed data, is none of it");
    }
    const size_t size = pack(pack(0, 0, SIZE), 0, 0); /* an empty one */
    check_whole(size);
}

static void what_is_cut_or_damaged_is_refused(void **state)
{
    const size_t half = pack(0, 0, SIZE / 2), size = pack(half, SIZE / 2, SIZE);
    size_t got;
    for (size_t cut = 1; cut < size; cut += cut < 30 || cut + 30 > size ? 1 : 997)
        if (cut != half)
            assert_fails(unpack(cut, &got), RETORT_FORMAT, "truncated: ends within");
    assert_fails(unpack(half - 1, &got), RETORT_FORMAT, "truncated: ends within");
    for (size_t at = 0; at < size; at += 1009) {
        packed[at] ^= 0x10;
        const enum retort_status status = unpack(size, &got);
        packed[at] ^= 0x10;
        if (at >= 4 && at < 10) /* time and kind of system, which nothing depends on */
            continue;
        if (status != RETORT_FORMAT)
            fail_msg("byte %zu: damage was not found", at);
    }
    packed[size - 6] ^= 1; /* the last member's checksum, and the first one's */
    assert_fails(unpack(size, &got), RETORT_FORMAT, "corrupt (incorrect data check) at byte");
    packed[size - 6] ^= 1;
    packed[half - 6] ^= 1;
    assert_fails(unpack(size, &got), RETORT_FORMAT, "corrupt (incorrect data check) at byte");
    packed[half - 6] ^= 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_members_is_one_file),
        cmocka_unit_test(what_is_cut_or_damaged_is_refused),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
