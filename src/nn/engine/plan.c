/* plan.c - place buffers by lifetime.
 *
 * Greedy by size: the largest buffer first, each at the lowest offset where it meets no buffer that
 * is already placed and alive at the same time. For these networks the result is within a few
 * percent of the largest sum of live buffers, which no plan can beat. */
#include <stdlib.h>

#include "base/memory.h"
#include "nn/engine/builder.h"

static bool alive_together(const struct buffer *a, const struct buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static int by_size(const void *left, const void *right)
{
    const struct buffer *a = *(struct buffer *const *)left, *b = *(struct buffer *const *)right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a < b ? -1 : 1; /* equal sizes in order of creation: the plan is the same every time */
}

static int by_offset(const void *left, const void *right)
{
    const struct buffer *a = *(struct buffer *const *)left, *b = *(struct buffer *const *)right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* The lowest gap among `rivals`, which are sorted by offset. */
static size_t lowest_gap(struct buffer *const *rivals, int count, size_t bytes)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        if (rivals[i]->offset >= offset + bytes)
            break;
        size_t end = rivals[i]->offset + memory_round(rivals[i]->bytes);
        if (end > offset)
            offset = end;
    }
    return offset;
}

enum retort_status plan(struct buffer *buffers, int count, size_t *bytes)
{
    struct buffer **order = NULL, **rivals = NULL;
    enum retort_status status = memory_zeroed((size_t)count, sizeof(*order), (void **)&order);
    if (status == RETORT_OK)
        status = memory_zeroed((size_t)count, sizeof(*rivals), (void **)&rivals);
    size_t end = 0;
    int placed = 0;
    for (int i = 0; status == RETORT_OK && i < count; i++)
        if (buffers[i].region == REGION_WORKSPACE && buffers[i].first >= 0)
            order[placed++] = &buffers[i];
    if (status == RETORT_OK && placed > 0)
        qsort(order, (size_t)placed, sizeof(*order), by_size);
    for (int i = 0; i < placed; i++) {
        int rival_count = 0;
        for (int j = 0; j < i; j++)
            if (alive_together(order[i], order[j]))
                rivals[rival_count++] = order[j];
        if (rival_count > 0)
            qsort(rivals, (size_t)rival_count, sizeof(*rivals), by_offset);
        order[i]->offset = lowest_gap(rivals, rival_count, memory_round(order[i]->bytes));
        size_t last = order[i]->offset + memory_round(order[i]->bytes);
        end = last > end ? last : end;
    }
    free(order);
    free(rivals);
    if (status == RETORT_OK)
        *bytes = end;
    return status;
}
