/* test_plan.c - buffers that live at the same time never share memory, and little is wasted.
 *
 * No plan can be smaller than the largest sum of buffers that live together; for random lifetimes
 * this one takes at most FACTOR times as much. */
#include "sketch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "nn/engine/builder.h"

static const double FACTOR = 1.3;

enum { MOST = 120, STEPS = 60, ROUNDS = 300 };

static bool together(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static bool planned(const struct buffer *buffer)
{
    return buffer->region == REGION_WORKSPACE && buffer->first >= 0;
}

static size_t lower_bound(const struct buffer *buffers, int count, int steps)
{
    size_t largest = 0;
    for (int step = 0; step < steps; step++) {
        size_t sum = 0;
        for (int i = 0; i < count; i++)
            if (planned(&buffers[i]) && buffers[i].first <= step && step <= buffers[i].last)
                sum += memory_round(buffers[i].bytes);
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

static void check_plan(const struct buffer *buffers, int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        if (!planned(&buffers[i]))
            continue;
        assert_int_equal(buffers[i].offset % MEMORY_ALIGNMENT, 0);
        assert_true(buffers[i].offset + buffers[i].bytes <= bytes);
        for (int j = 0; j < i; j++)
            if (planned(&buffers[j]) && together(&buffers[i], &buffers[j]) &&
                buffers[i].offset < buffers[j].offset + buffers[j].bytes &&
                buffers[j].offset < buffers[i].offset + buffers[i].bytes)
                fail_msg("buffers %d and %d overlap", i, j);
    }
}

/* Lifetimes are short, or long, or from one step to its mirror image as between the two passes. */
static int draw_buffers(int round, struct buffer *buffers)
{
    const struct random_stream stream = random_stream(1, RANDOM_TEST, (uint32_t)round, 0);
    const int count = 1 + (int)random_below(&stream, 0, MOST);
    for (int i = 0; i < count; i++) {
        const uint64_t at = 1 + 8 * (uint64_t)i;
        const int first = (int)random_below(&stream, at, STEPS);
        const int left = STEPS - first;
        int last = first;
        switch (random_below(&stream, at + 1, 3)) {
        case 0:
            last = first + (int)random_below(&stream, at + 2, (uint32_t)(left < 4 ? left : 4));
            break;
        case 1:
            last = first + (int)random_below(&stream, at + 2, (uint32_t)left);
            break;
        default:
            last = first > STEPS / 2 ? first : STEPS - 1 - first;
        }
        const size_t bytes = 1 + (size_t)random_below(&stream, at + 3, 1u << (i % 20));
        const bool elsewhere = random_below(&stream, at + 4, 10) == 0;
        const bool unused = random_below(&stream, at + 5, 10) == 0;
        buffers[i] = (struct buffer){elsewhere ? REGION_VALUES : REGION_WORKSPACE, bytes, 12345,
                                     unused ? -1 : first, unused ? -1 : last};
    }
    return count;
}

static void buffers_that_live_together_do_not_overlap(void **state)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct buffer buffers[MOST];
        size_t bytes = 0;
        const int count = draw_buffers(round, buffers);
        assert_ok(plan(buffers, count, &bytes));
        check_plan(buffers, count, bytes);
        const size_t least = lower_bound(buffers, count, STEPS);
        if ((double)bytes > FACTOR * (double)least)
            fail_msg("round %d: %zu bytes, %zu at least", round, bytes, least);
        for (int i = 0; i < count; i++)
            if (!planned(&buffers[i]))
                assert_int_equal(buffers[i].offset, 12345);
    }
}

static void the_same_buffers_get_the_same_plan(void **state)
{
    struct buffer one[MOST], two[MOST];
    size_t bytes;
    const int count = draw_buffers(7, one);
    draw_buffers(7, two);
    assert_ok(plan(one, count, &bytes));
    assert_ok(plan(two, count, &bytes));
    for (int i = 0; i < count; i++)
        assert_int_equal(one[i].offset, two[i].offset);
}

static void nothing_needs_no_memory(void **state)
{
    struct buffer unused = {REGION_WORKSPACE, 100, 0, -1, -1};
    size_t bytes = 1;
    assert_ok(plan(&unused, 1, &bytes));
    assert_int_equal(bytes, 0);
    bytes = 1;
    assert_ok(plan(&unused, 0, &bytes));
    assert_int_equal(bytes, 0);
}

static void buffers_of_different_times_share_memory(void **state)
{
    struct buffer buffers[] = {{REGION_WORKSPACE, 1000, 0, 0, 1},
                               {REGION_WORKSPACE, 1000, 0, 2, 3},
                               {REGION_WORKSPACE, 500, 0, 4, 5},
                               {REGION_WORKSPACE, 500, 0, 5, 6}};
    size_t bytes;
    assert_ok(plan(buffers, 4, &bytes));
    assert_int_equal(bytes, 2 * memory_round(500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_that_live_together_do_not_overlap),
        cmocka_unit_test(the_same_buffers_get_the_same_plan),
        cmocka_unit_test(nothing_needs_no_memory),
        cmocka_unit_test(buffers_of_different_times_share_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
