/* test_random.c - the generator against its published vectors, and what is made of it. */
#include "support.h"

#include "base/random.h"

/* Random123's known-answer file (kat_vectors), philox4x32-10. */
static void philox_gives_its_published_vectors(void **state)
{
    struct random_stream zero = {{0, 0}, 0, 0};
    uint32_t bits[4];
    random_bits4(&zero, 0, bits);
    const uint32_t wanted[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(bits, wanted, sizeof(bits));
    struct random_stream ones = {{0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff};
    random_bits4(&ones, UINT64_MAX, bits);
    const uint32_t wanted_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(bits, wanted_ones, sizeof(bits));
}

static void a_permutation_holds_every_number_once(void **state)
{
    uint32_t order[1000];
    int seen[1000] = {0};
    struct random_stream stream = random_stream(1, RANDOM_SHUFFLE, 0, 0);
    random_permutation(&stream, 1000, order);
    int moved = 0;
    for (int i = 0; i < 1000; i++) {
        seen[order[i]]++;
        moved += order[i] != (uint32_t)i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 900);
}

static void normal_numbers_have_mean_0_and_variance_1(void **state)
{
    struct random_stream stream = random_stream(7, RANDOM_TEST, 0, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < 100000; i++) {
        double x = random_normal(&stream, (uint64_t)i);
        sum += x;
        squares += x * x;
    }
    assert_true(sum / 100000 < 0.02 && sum / 100000 > -0.02);
    assert_true(squares / 100000 < 1.02 && squares / 100000 > 0.98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_its_published_vectors),
        cmocka_unit_test(a_permutation_holds_every_number_once),
        cmocka_unit_test(normal_numbers_have_mean_0_and_variance_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
