/* test_npy.c - headers of numpy's arrays, good ones and others. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "data/npy.h"

/* A header of version 1.0 around a dictionary. */
static size_t wrap(const char *dictionary, unsigned char *data)
{
    size_t length = strlen(dictionary);
    memcpy(data, "\x93NUMPY\x01\x00", 8);
    data[8] = (unsigned char)length;
    data[9] = (unsigned char)(length >> 8);
    memcpy(data + 10, dictionary, length);
    return 10 + length;
}

static enum retort_status read_text(const char *dictionary, struct npy *npy)
{
    unsigned char data[600];
    size_t size = wrap(dictionary, data), header = 0;
    TRY(npy_measure(data, &header));
    assert_int_equal(header, size);
    return npy_read(data, header, npy);
}

static void headers_that_numpy_writes_are_read(void **state)
{
    struct npy npy;
    assert_ok(
        read_text("{'descr': '|u1', 'fortran_order': False, 'shape': (10, 12288), }    \n", &npy));
    assert_int_equal(npy.kind, 'u');
    assert_int_equal(npy.bytes, 1);
    assert_int_equal(npy.rank, 2);
    assert_int_equal(npy.shape[0], 10);
    assert_int_equal(npy.shape[1], 12288);
    assert_ok(read_text("{'descr': '<i8', 'fortran_order': False, 'shape': (128116,), }\n", &npy));
    assert_int_equal(npy.kind, 'i');
    assert_int_equal(npy.bytes, 8);
    assert_false(npy.big_endian);
    assert_int_equal(npy.rank, 1);
    assert_int_equal(npy.shape[0], 128116);
    assert_ok(read_text("{'shape': (), 'descr': '>f4', 'fortran_order': False}", &npy));
    assert_int_equal(npy.rank, 0);
    assert_true(npy.big_endian);
    assert_int_equal(npy.kind, 'f');
}

static void other_headers_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "{}              ",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (10, 12288), }",
        "{'descr': '|u1', 'fortran_order': False, }",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), } x",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1.5,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,2,3,4,5), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,",
        "{'descr': '|u2', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<U8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<i3', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }",
        "'descr': '|u1', 'fortran_order': False, 'shape': (1,), ",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct npy npy = {.rank = 77};
        if (read_text(rows[i], &npy) != RETORT_FORMAT)
            fail_msg("taken: %s", rows[i]);
        assert_int_equal(npy.rank, 77);
    }
}

static void prefixes_are_checked(void **state)
{
    unsigned char data[NPY_PREFIX] = "\x93NUMPY\x01\x00\x76";
    size_t header;
    assert_ok(npy_measure(data, &header));
    assert_int_equal(header, 128);
    data[6] = 4;
    assert_fails(npy_measure(data, &header), RETORT_FORMAT, "version 4.0 of numpy's format found");
    data[6] = 2;
    data[10] = 1;
    assert_fails(npy_measure(data, &header), RETORT_FORMAT, "a header of 65666 bytes found");
    data[10] = 0;
    assert_ok(npy_measure(data, &header));
    assert_int_equal(header, 0x76 + 12);
    data[8] = data[6] = 1;
    assert_fails(npy_measure(data, &header), RETORT_FORMAT, "a header of 11 bytes found");
    data[0] = 'P';
    assert_fails(npy_measure(data, &header), RETORT_FORMAT, "no array of numpy");
}

static void whole_numbers_of_all_kinds_are_read(void **state)
{
    static const unsigned char bytes[8] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct npy npy = {.kind = 'i', .bytes = 8};
    assert_int_equal(npy_integer(&npy, bytes), -2);
    npy.bytes = 1;
    assert_int_equal(npy_integer(&npy, bytes), -2);
    npy.kind = 'u';
    assert_int_equal(npy_integer(&npy, bytes), 254);
    npy.bytes = 2;
    assert_int_equal(npy_integer(&npy, bytes), 0xfffe);
    npy.big_endian = true;
    assert_int_equal(npy_integer(&npy, bytes), 0xfeff);
    npy.bytes = 8;
    assert_int_equal(npy_integer(&npy, bytes), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_numpy_writes_are_read),
        cmocka_unit_test(other_headers_are_refused),
        cmocka_unit_test(prefixes_are_checked),
        cmocka_unit_test(whole_numbers_of_all_kinds_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
