/* gram_plan.c - which views of which taps the pairs need, and where they lie in scratch. */
#include "distill/gram_kernel.h"

static int blocks_of(const struct tensor *tap)
{
    return (tap->c + GRAM_TILE - 1) / GRAM_TILE;
}

static size_t take(struct gram_plan *plan, size_t numbers)
{
    size_t place = plan->scratch_numbers;
    plan->scratch_numbers += memory_round(numbers * sizeof(float)) / sizeof(float);
    return place;
}

/* The view of a tap at a height of h; made when there is none yet. */
static int view_of(struct gram_plan *plan, int tap, int h)
{
    const struct tensor *map = &plan->taps[tap];
    const int window = map->h / h;
    for (int i = 0; i < plan->view_count; i++)
        if (plan->views[i].tap == tap && plan->views[i].window == window)
            return i;
    struct gram_view *view = &plan->views[plan->view_count];
    *view = (struct gram_view){tap, window, map->h / window, map->w / window, blocks_of(map), 0, 0, 0, 0};
    view->numbers = (size_t)view->blocks * (size_t)view->h * (size_t)view->w * GRAM_TILE;
    if (window > 1) {
        view->values = take(plan, view->numbers);
        view->winners = take(plan, view->numbers);
        view->diffs = take(plan, view->numbers);
    }
    return plan->view_count++;
}

static enum retort_status add_pair(struct gram_plan *plan, const char *const *names, int first, int second)
{
    const struct tensor *a = &plan->taps[first], *b = &plan->taps[second];
    const struct tensor *large = a->h >= b->h ? a : b, *small = a->h >= b->h ? b : a;
    const int window = large->h / small->h;
    if (large->h % small->h || large->w % small->w || large->w / small->w != window)
        return fail(RETORT_INVALID,
                    "pair %s-%s: a map of %dx%d cannot be pooled to %dx%d: the sizes do not divide", names[first],
                    names[second], large->h, large->w, small->h, small->w);
    struct gram_pair *pair = &plan->pairs[plan->pair_count++];
    *pair = (struct gram_pair){view_of(plan, first, small->h), view_of(plan, second, small->h), a->c, b->c,
                               blocks_of(a), blocks_of(b), plan->matrix_numbers};
    plan->matrix_numbers += (size_t)pair->tiles_a * (size_t)pair->tiles_b * GRAM_TILE_NUMBERS;
    return RETORT_OK;
}

enum retort_status gram_plan_make(const struct tensor *taps, const char *const *names, int tap_count,
                                  const int (*pairs)[2], int pair_count, bool average, struct arena *arena,
                                  struct gram_plan *plan)
{
    struct gram_plan made = {.taps = taps, .tap_count = tap_count, .average = average};
    const size_t most_views = 2 * (size_t)pair_count;
    TRY(arena_take(arena, most_views * sizeof(*made.views), (void **)&made.views));
    TRY(arena_take(arena, (size_t)pair_count * sizeof(*made.pairs), (void **)&made.pairs));
    TRY(arena_take(arena, (size_t)tap_count * sizeof(size_t), (void **)&made.tap_copy));
    TRY(arena_take(arena, (size_t)tap_count * sizeof(size_t), (void **)&made.tap_diff));
    for (int i = 0; i < pair_count; i++)
        TRY(add_pair(&made, names, pairs[i][0], pairs[i][1]));
    for (int i = 0; i < tap_count; i++) {
        size_t numbers = (size_t)blocks_of(&taps[i]) * (size_t)taps[i].h * (size_t)taps[i].w * GRAM_TILE;
        made.tap_copy[i] = take(&made, numbers);
        made.tap_diff[i] = take(&made, numbers);
    }
    *plan = made;
    return RETORT_OK;
}
