/* test_safetensors.c - what is written can be read; what is damaged is refused and does no harm. */
#include "golden.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"

/* A file in memory: length, header, size zero bytes. Released with free(). */
static unsigned char *compose(const char *header, size_t size, size_t *total)
{
    uint64_t length = strlen(header);
    *total = 8 + length + size;
    unsigned char *bytes = calloc(1, *total);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    return bytes;
}

static const float floats[6] = {1, -2, 3.5f, 0, 1e-30f, -0.0f};
static const unsigned char octets[3] = {7, 8, 255};
static const int64_t wide[1] = {INT64_MIN};

static const struct safetensor sample[] = {
    {"odd", SAFETENSORS_U8, 1, {3}, octets, 3},
    {"matrix", SAFETENSORS_F32, 2, {2, 3}, floats, 24},
    {"none", SAFETENSORS_BF16, 3, {4, 0, 2}, floats, 0},
    {"scalar", SAFETENSORS_I64, 0, {0}, wide, 8},
};
enum { SAMPLES = sizeof(sample) / sizeof(sample[0]) };

static json_t *sample_metadata(void)
{
    json_t *metadata = json_pack("{s:s, s:s}", "one", "1", "name", "caf\xc3\xa9 \"\n");
    assert_non_null(metadata);
    return metadata;
}

static struct file_bytes write_sample(const char *name)
{
    json_t *metadata = sample_metadata();
    struct file_bytes bytes;
    assert_ok(safetensors_write(support_path(name), sample, SAMPLES, metadata));
    assert_ok(file_read(support_path(name), 1 << 20, &bytes));
    json_decref(metadata);
    return bytes;
}

static void what_is_written_is_read(void **state)
{
    struct file_bytes bytes = write_sample("sample");
    uint64_t header;
    memcpy(&header, bytes.data, 8);
    assert_int_equal(header % 8, 0);
    free(bytes.data);

    struct safetensors file;
    assert_ok(safetensors_read(support_path("sample"), &file));
    assert_int_equal(file.count, SAMPLES);
    for (int i = 0; i < SAMPLES; i++) {
        const struct safetensor *found = safetensors_find(&file, sample[i].name);
        assert_non_null(found);
        assert_int_equal(found->type, sample[i].type);
        assert_int_equal(found->rank, sample[i].rank);
        assert_memory_equal(found->dims, sample[i].dims, sizeof(found->dims));
        assert_int_equal(found->bytes, sample[i].bytes);
        assert_int_equal((uintptr_t)found->data % 16, 0);
        assert_memory_equal(found->data, sample[i].data, found->bytes);
    }
    assert_string_equal(safetensors_metadata(&file, "name"), "caf\xc3\xa9 \"\n");
    assert_null(safetensors_metadata(&file, "names"));
    assert_null(safetensors_find(&file, "od"));
    safetensors_release(&file);
}

static void tensors_are_handed_out_in_the_order_of_their_bytes(void **state)
{
    static const char header[] =
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}      ";
    size_t size;
    unsigned char *bytes = compose(header, 2, &size);
    struct safetensors file;
    assert_ok(safetensors_parse("memory", bytes, size, &file));
    assert_int_equal(file.count, 3);
    assert_string_equal(file.tensors[0].name, "a");
    assert_string_equal(file.tensors[1].name, "e");
    assert_string_equal(file.tensors[2].name, "b");
    assert_int_equal(json_object_size(file.metadata), 0);
    safetensors_release(&file);
    free(bytes);
}

static void equal_content_gives_equal_bytes(void **state)
{
    struct file_bytes first = write_sample("first");
    json_t *reordered = json_pack("{s:s, s:s}", "name", "caf\xc3\xa9 \"\n", "one", "1");
    struct file_bytes second;
    assert_ok(safetensors_write(support_path("second"), sample, SAMPLES, reordered));
    assert_ok(file_read(support_path("second"), 1 << 20, &second));
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    json_decref(reordered);
    free(first.data);
    free(second.data);
}

static void a_file_without_tensors_and_metadata_is_valid(void **state)
{
    struct safetensors file;
    assert_ok(safetensors_write(support_path("empty"), NULL, 0, NULL));
    assert_ok(safetensors_read(support_path("empty"), &file));
    assert_int_equal(file.count, 0);
    safetensors_release(&file);
}

#define ENTRY(fields) "{\"t\":{" fields "}}"
#define DTYPE         "\"dtype\":\"F32\","
#define SHAPE         "\"shape\":[2,3],"
#define OFFSETS       "\"data_offsets\":[0,24]"
#define U8(name, begin, end, dim)                                                                  \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" dim "],\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t size; /* bytes that follow */
    const char *text;
} damaged[] = {
    {"", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {"{", 0, "no JSON"},
    {"{}x", 0, "no JSON"},
    {"{\"a\":\"\xff\"}", 0, "no JSON"},
    {"{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, "no JSON"},
    {"{\"a\\u0000b\":1}", 0, "no JSON"},
    {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0, "duplicate"},
    {"{" U8("a", "0", "1", "1") "," U8("a", "0", "1", "1") "}", 1, "duplicate"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"key\":1}}", 0, "__metadata__: the value of \"key\" is no text"},
    {"{\"t\":[]}", 0, "tensor \"t\": an object of"},
    {"{\"t\":null}", 0, "tensor \"t\": an object of"},
    {ENTRY(DTYPE SHAPE "\"offsets\":[0,24]"), 24, "an object of"},
    {ENTRY(DTYPE OFFSETS), 24, "an object of"},
    {ENTRY(SHAPE OFFSETS), 24, "an object of"},
    {ENTRY(DTYPE SHAPE "\"more\":1," OFFSETS), 24, "an object of"},
    {ENTRY("\"dtype\":4," SHAPE OFFSETS), 24, "dtype is no text"},
    {ENTRY("\"dtype\":\"F8_E4M3\"," SHAPE OFFSETS), 24, "dtype \"F8_E4M3\" found, F32"},
    {ENTRY(DTYPE "\"shape\":6," OFFSETS), 24, "shape is no list"},
    {ENTRY(DTYPE "\"shape\":[2,3.0]," OFFSETS), 24, "shape[1] is no whole number"},
    {ENTRY(DTYPE "\"shape\":[-2,-3]," OFFSETS), 24, "shape[0] is -2"},
    {ENTRY(DTYPE "\"shape\":[6,1,1,1,1,1,1,1,1]," OFFSETS), 24, "9 dimensions"},
    {ENTRY(DTYPE "\"shape\":[4294967296,4294967296]," OFFSETS), 24, "more than 2^64"},
    {ENTRY(DTYPE "\"shape\":[4611686018427387910]," OFFSETS), 24, "more than 2^64"},
    {ENTRY(DTYPE "\"shape\":[99999999999999999999]," OFFSETS), 24, "no JSON"},
    {ENTRY(DTYPE "\"shape\":[5]," OFFSETS), 24, "24 bytes, dtype and shape ask for 20"},
    {ENTRY(DTYPE SHAPE "\"data_offsets\":24"), 24, "two whole numbers"},
    {ENTRY(DTYPE SHAPE "\"data_offsets\":[0,12,24]"), 24, "two whole numbers"},
    {ENTRY(DTYPE SHAPE "\"data_offsets\":[0,24.0]"), 24, "two whole numbers"},
    {ENTRY(DTYPE SHAPE "\"data_offsets\":[-24,0]"), 24, "ascending pair from 0 to 24"},
    {ENTRY(DTYPE SHAPE "\"data_offsets\":[24,0]"), 24, "ascending pair from 0 to 24"},
    {ENTRY(DTYPE SHAPE OFFSETS), 23, "ascending pair from 0 to 23"},
    {ENTRY(DTYPE SHAPE OFFSETS), 25, "25 bytes behind the header, its tensors cover 24"},
    {"{}", 1, "1 bytes behind the header, its tensors cover 0"},
    {"{" U8("a", "1", "2", "1") "}", 2, "\"a\" begins at byte 1 of the data, after a hole from 0"},
    {"{" U8("a", "0", "2", "2") "," U8("b", "1", "3", "2") "}", 3,
     "\"b\" begins at byte 1 of the data, inside one that ends at 2"},
    {"{" U8("a", "0", "2", "2") "," U8("b", "0", "2", "2") "}", 2, "inside one that ends at 2"},
    {"{" U8("a", "0", "1", "1") "," U8("b", "2", "3", "1") "}", 3, "after a hole from 1"},
    {"{" U8("a", "0", "2", "2") "," U8("b", "1", "1", "0") "}", 2, "inside one that ends at 2"},
};

static void damaged_files_are_refused_with_a_reason(void **state)
{
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        size_t size;
        unsigned char *bytes = compose(damaged[i].header, damaged[i].size, &size);
        struct safetensors file = {.count = -1};
        enum retort_status status = safetensors_parse("memory", bytes, size, &file);
        free(bytes);
        if (status != RETORT_FORMAT || !strstr(retort_message(), damaged[i].text) ||
            strncmp(retort_message(), "memory: ", 8) || file.count != -1)
            fail_msg("%s: status %d, \"%s\"", damaged[i].header, status, retort_message());
    }
}

static void a_header_length_beyond_limit_or_file_is_refused(void **state)
{
    static const struct {
        uint64_t length;
        const char *text;
    } cases[] = {
        {11, "a header of 11 bytes is announced, 10 follow"},
        {100000000, "a header of 100000000 bytes is announced, 10 follow"},
        {100000001, "at most 100000000"},
        {UINT64_MAX, "at most 100000000"},
        {UINT64_MAX - 7, "at most 100000000"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size;
        unsigned char *bytes = compose("{}        ", 0, &size);
        memcpy(bytes, &cases[i].length, 8);
        struct safetensors file;
        assert_fails(safetensors_parse("memory", bytes, size, &file), RETORT_FORMAT, cases[i].text);
        free(bytes);
    }
}

static void deeply_nested_json_is_refused(void **state)
{
    enum { DEPTH = 1000000 };
    char *header = malloc(5 * DEPTH + 1);
    assert_non_null(header);
    for (int i = 0; i < DEPTH; i++)
        memcpy(header + 5 * i, "{\"a\":", 5);
    header[5 * DEPTH] = '\0';
    size_t size;
    unsigned char *bytes = compose(header, 0, &size);
    struct safetensors file;
    assert_fails(safetensors_parse("memory", bytes, size, &file), RETORT_FORMAT, "depth");
    free(bytes);
    free(header);
}

static void every_truncation_is_refused(void **state)
{
    struct file_bytes bytes = write_sample("whole");
    for (size_t size = 0; size < bytes.size; size++) {
        struct safetensors file;
        assert_fails(safetensors_parse("short", bytes.data, size, &file), RETORT_FORMAT, "short: ");
    }
    free(bytes.data);
}

/* Whatever a damaged byte makes of the header: refused, or tensors that lie inside the data. */
static void no_damaged_byte_of_the_header_does_harm(void **state)
{
    struct file_bytes bytes = write_sample("intact");
    uint64_t header;
    memcpy(&header, bytes.data, 8);
    volatile unsigned char sum = 0;
    for (size_t place = 0; place < 8 + header; place++) {
        unsigned char kept = bytes.data[place];
        for (int value = 0; value < 256; value++) {
            bytes.data[place] = (unsigned char)value;
            struct safetensors file;
            if (safetensors_parse("damaged", bytes.data, bytes.size, &file) != RETORT_OK)
                continue;
            for (int i = 0; i < file.count; i++)
                for (size_t k = 0; k < file.tensors[i].bytes; k++)
                    sum ^= ((const unsigned char *)file.tensors[i].data)[k];
            safetensors_release(&file);
        }
        bytes.data[place] = kept;
    }
    free(bytes.data);
}

static void what_could_not_be_read_again_is_not_written(void **state)
{
    const char *path = support_path("refused");
    struct safetensor twice[] = {sample[0], sample[0]};
    assert_fails(safetensors_write(path, twice, 2, NULL), RETORT_INVALID, "\"odd\": the name is");
    struct safetensor reserved = sample[0];
    reserved.name = "__metadata__";
    assert_fails(safetensors_write(path, &reserved, 1, NULL), RETORT_INVALID, "the name is taken");
    struct safetensor small = sample[0];
    small.bytes = 2;
    assert_fails(safetensors_write(path, &small, 1, NULL), RETORT_INVALID, "2 bytes given");
    struct safetensor deep = sample[0];
    deep.rank = 9;
    assert_fails(safetensors_write(path, &deep, 1, NULL), RETORT_INVALID, "9 dimensions");
    json_t *number = json_pack("{s:i}", "epochs", 3);
    assert_fails(safetensors_write(path, sample, 1, number), RETORT_INVALID, "\"epochs\"");
    json_decref(number);
    assert_false(file_exists(path));
}

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* Only jansson's allocations can be made to fail from here; when a text's fails it calls the token
 * invalid, hence RETORT_FORMAT. */
static void memory_that_runs_out_is_a_clean_failure(void **state)
{
    struct file_bytes bytes = write_sample("kept");
    json_t *metadata = sample_metadata();
    struct safetensors file;
    enum retort_status status = RETORT_MEMORY;
    for (int k = 0; status != RETORT_OK; k++) {
        json_set_alloc_funcs(failing_malloc, free);
        allocations_left = k;
        status = safetensors_write(support_path("kept"), sample, 1, metadata);
        json_set_alloc_funcs(malloc, free);
        assert_true(status == RETORT_OK || status == RETORT_MEMORY);
    }
    status = RETORT_MEMORY;
    for (int k = 0; status != RETORT_OK; k++) {
        json_set_alloc_funcs(failing_malloc, free);
        allocations_left = k;
        status = safetensors_parse("memory", bytes.data, bytes.size, &file);
        json_set_alloc_funcs(malloc, free);
        assert_true(status == RETORT_OK || status == RETORT_MEMORY || status == RETORT_FORMAT);
    }
    safetensors_release(&file);
    json_decref(metadata);
    free(bytes.data);
}

static void missing_files_are_named(void **state)
{
    struct safetensors file;
    assert_fails(safetensors_read(support_path("absent"), &file), RETORT_IO, "absent");
}

static void outside_files_are_read(void **state)
{
    const char *readme = support_golden("README.md");
    if (!readme)
        skip();
    char pattern[512];
    snprintf(pattern, sizeof(pattern), "%.*s*.safetensors", (int)(strlen(readme) - 9), readme);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct safetensors file;
        assert_ok(safetensors_read(found.gl_pathv[i], &file));
        assert_true(file.count > 0);
        safetensors_release(&file);
    }
    globfree(&found);
}

static void an_outside_case_gives_tensors_numbers_and_tolerance(void **state)
{
    struct golden golden;
    golden_open(&golden, "op_add");
    const float *a = golden_floats(&golden, "a", GOLDEN_DIMS(2, 5, 7, 9));
    const float *b = golden_floats(&golden, "b", GOLDEN_DIMS(2, 5, 7, 9));
    float sum[2 * 5 * 7 * 9];
    for (int i = 0; i < 2 * 5 * 7 * 9; i++)
        sum[i] = a[i] + b[i];
    golden_check(&golden, "y", sum, "y", 2);
    assert_string_equal(golden_text(&golden, "op"), "add");
    double largest = golden_number(&golden, "max_abs.grad");
    assert_true(golden_tolerance(&golden, "grad", 2) >= 4 * 6e-8 * largest);
    assert_false(golden_has(&golden, "c"));
    golden_close(&golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(tensors_are_handed_out_in_the_order_of_their_bytes),
        cmocka_unit_test(equal_content_gives_equal_bytes),
        cmocka_unit_test(a_file_without_tensors_and_metadata_is_valid),
        cmocka_unit_test(damaged_files_are_refused_with_a_reason),
        cmocka_unit_test(a_header_length_beyond_limit_or_file_is_refused),
        cmocka_unit_test(deeply_nested_json_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(no_damaged_byte_of_the_header_does_harm),
        cmocka_unit_test(what_could_not_be_read_again_is_not_written),
        cmocka_unit_test(memory_that_runs_out_is_a_clean_failure),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(outside_files_are_read),
        cmocka_unit_test(an_outside_case_gives_tensors_numbers_and_tolerance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
