/* gram_plan.c - from words and shapes to pairs, levels, places and factors. */
#include "distill/gram_plan.h"

#include <string.h>

#include "distill/taps.h"

/* ---- which pairs ---- */

/* wanted[a * tap_count + b], a < b. */
struct choice {
    const struct loss_shapes *shapes;
    bool *wanted;
};

static bool *choice_at(const struct choice *choice, int a, int b)
{
    return &choice->wanted[(a < b ? a : b) * choice->shapes->tap_count + (a < b ? b : a)];
}

static enum retort_status unknown_tap(const struct loss_shapes *shapes, const char *word)
{
    char known[512];
    taps_list(shapes, known, sizeof(known));
    const char *dash = strchr(word, '-');
    if (!dash)
        return fail(RETORT_INVALID,
                    "gram.pairs: \"%s\" found, all, adjacent, cross or two taps with a dash "
                    "between wanted; taps are %s",
                    word, known);
    bool first = tap_find(shapes, word, (size_t)(dash - word)) < 0;
    int length = first ? (int)(dash - word) : (int)strlen(dash + 1);
    return fail(RETORT_INVALID, "gram.pairs: %s: there is no tap \"%.*s\", taps are %s", word,
                length, first ? word : dash + 1, known);
}

/* "stem-stage1"; a tap's name may have dashes of its own. */
static enum retort_status choose_pair(const struct choice *choice, const char *word)
{
    const struct loss_shapes *shapes = choice->shapes;
    for (const char *dash = strchr(word, '-'); dash; dash = strchr(dash + 1, '-')) {
        int a = tap_find(shapes, word, (size_t)(dash - word));
        int b = tap_find(shapes, dash + 1, strlen(dash + 1));
        if (a < 0 || b < 0)
            continue;
        if (a == b)
            return fail(RETORT_INVALID, "gram.pairs: %s: a tap cannot be paired with itself", word);
        if (*choice_at(choice, a, b))
            return fail(RETORT_INVALID, "gram.pairs: %s: this pair is given twice", word);
        *choice_at(choice, a, b) = true;
        return RETORT_OK;
    }
    return unknown_tap(shapes, word);
}

static enum retort_status choose_word(const struct choice *choice, const char *word)
{
    const bool all = strcmp(word, "all") == 0;
    const bool adjacent = all || strcmp(word, "adjacent") == 0;
    const bool cross = all || strcmp(word, "cross") == 0;
    if (!adjacent && !cross)
        return choose_pair(choice, word);
    for (int a = 0; a < choice->shapes->tap_count; a++)
        for (int b = a + 1; b < choice->shapes->tap_count; b++)
            if (b == a + 1 ? adjacent : cross)
                *choice_at(choice, a, b) = true;
    return RETORT_OK;
}

static enum retort_status choose_pairs(const struct gram_settings *settings,
                                       const struct loss_shapes *shapes, struct gram_plan *plan)
{
    const size_t taps = (size_t)shapes->tap_count;
    struct choice choice = {.shapes = shapes};
    TRY(arena_take(&plan->arena, taps * taps * sizeof(bool), (void **)&choice.wanted));
    for (int i = 0; i < settings->pairs.count; i++)
        TRY(choose_word(&choice, settings->pairs.items[i]));
    for (size_t i = 0; i < taps * taps; i++)
        plan->pair_count += choice.wanted[i];
    if (!plan->pair_count)
        return fail(RETORT_INVALID,
                    "gram.pairs: %s gives no pair of the %d tap%s whose names student and teacher "
                    "share",
                    settings->pairs.count ? settings->pairs.items[0] : "an empty list",
                    shapes->tap_count, shapes->tap_count == 1 ? "" : "s");
    TRY(arena_take(&plan->arena, (size_t)plan->pair_count * sizeof(*plan->pairs),
                   (void **)&plan->pairs));
    struct gram_pair *pair = plan->pairs;
    for (int a = 0; a < shapes->tap_count; a++)
        for (int b = a + 1; b < shapes->tap_count; b++)
            if (*choice_at(&choice, a, b))
                *pair++ = (struct gram_pair){.taps = {a, b}};
    return RETORT_OK;
}

/* ---- do the shapes fit? ---- */

struct size {
    int h, w;
};

/* Of the maps that enter the pair's matrix. */
static struct size pair_size(const struct tensor *taps, const struct gram_pair *pair)
{
    const struct tensor *a = &taps[pair->taps[0]], *b = &taps[pair->taps[1]];
    return (struct size){a->h < b->h ? a->h : b->h, a->w < b->w ? a->w : b->w};
}

static enum retort_status check_division(const char *network, const struct loss_shapes *shapes,
                                         const struct tensor *taps, const struct gram_pair *pair)
{
    const struct tensor *a = &taps[pair->taps[0]], *b = &taps[pair->taps[1]];
    const struct size size = pair_size(taps, pair);
    if (a->h % size.h || a->w % size.w || b->h % size.h || b->w % size.w)
        return fail(RETORT_INVALID, "gram: the %s's taps %s (%dx%d) and %s (%dx%d) do not divide",
                    network, shapes->tap_names[pair->taps[0]], a->h, a->w,
                    shapes->tap_names[pair->taps[1]], b->h, b->w);
    return RETORT_OK;
}

static enum retort_status check_pair(const struct loss_shapes *shapes, const struct gram_pair *pair)
{
    TRY(tap_check_channels("gram", shapes, pair->taps[0]));
    TRY(tap_check_channels("gram", shapes, pair->taps[1]));
    TRY(check_division("student", shapes, shapes->student_taps, pair));
    TRY(check_division("teacher", shapes, shapes->teacher_taps, pair));
    struct size student = pair_size(shapes->student_taps, pair);
    struct size teacher = pair_size(shapes->teacher_taps, pair);
    if (student.h != teacher.h || student.w != teacher.w)
        return fail(RETORT_INVALID,
                    "gram: taps %s and %s meet at %dx%d in the student, %dx%d in "
                    "the teacher",
                    shapes->tap_names[pair->taps[0]], shapes->tap_names[pair->taps[1]], student.h,
                    student.w, teacher.h, teacher.w);
    return RETORT_OK;
}

/* ---- matrices or positions? ---- */

static int channels_of(const struct tensor *tap)
{
    return (tap->c + GRAM_LANES - 1) / GRAM_LANES * GRAM_LANES;
}

static bool same_size(const struct loss_shapes *shapes, const struct gram_pair *pair,
                      const struct gram_pair *other)
{
    struct size a = pair_size(shapes->student_taps, pair);
    struct size b = pair_size(shapes->student_taps, other);
    return a.h == b.h && a.w == b.w;
}

/* Multiply-adds of all pairs that meet at this one's size: four products per matrix, teacher's and
 * student's and two of the gradient; or three sets of dot products and two blends per map. The
 * mean of several teachers' matrices cannot be had from positions. */
static bool choose_positions(const struct gram_plan *plan, const struct loss_shapes *shapes,
                             const struct gram_pair *pair)
{
    const struct size size = pair_size(shapes->student_taps, pair);
    const double positions = (double)size.h * size.w;
    double by_matrices = 0, by_positions = 0;
    for (int i = 0; i < plan->pair_count; i++)
        if (same_size(shapes, pair, &plan->pairs[i]))
            by_matrices += 4 * positions *
                           channels_of(&shapes->student_taps[plan->pairs[i].taps[0]]) *
                           channels_of(&shapes->student_taps[plan->pairs[i].taps[1]]);
    for (int tap = 0; tap < plan->tap_count; tap++) {
        bool takes_part = false;
        for (int i = 0; i < plan->pair_count; i++)
            takes_part |= same_size(shapes, pair, &plan->pairs[i]) &&
                          (plan->pairs[i].taps[0] == tap || plan->pairs[i].taps[1] == tap);
        if (takes_part)
            by_positions += 5 * positions * positions * channels_of(&shapes->student_taps[tap]);
    }
    return !shapes->many_map_teachers && by_positions < by_matrices;
}

/* ---- levels ---- */

static int find_level(const struct gram_side *side, int tap, struct size size)
{
    for (int i = 0; i < side->level_count; i++) {
        const struct gram_level *level = &side->levels[i];
        if (level->tap == tap && level->window.h == size.h && level->window.w == size.w)
            return i;
    }
    return -1;
}

/* The last one of the tap, so the smallest, that divides; the map itself does. */
static int find_parent(const struct gram_side *side, int tap, struct size size)
{
    for (int i = side->level_count - 1; i >= 0; i--) {
        const struct gram_level *level = &side->levels[i];
        if (level->tap == tap && level->window.h % size.h == 0 && level->window.w % size.w == 0)
            return i;
    }
    return -1;
}

static bool is_by_positions(const struct gram_plan *plan, const struct tensor *taps, int tap,
                            struct size size)
{
    for (int i = 0; i < plan->pair_count; i++) {
        const struct gram_pair *pair = &plan->pairs[i];
        struct size here = pair_size(taps, pair);
        if ((pair->taps[0] == tap || pair->taps[1] == tap) && here.h == size.h && here.w == size.w)
            return pair->by_positions;
    }
    return false;
}

static void add_level(struct gram_side *side, const struct tensor *tap, int number,
                      struct size size)
{
    struct gram_level *level = &side->levels[side->level_count];
    int parent = find_parent(side, number, size);
    *level = (struct gram_level){
        .tap = number,
        .parent = parent,
        .window = {(tap->c + GRAM_LANES - 1) / GRAM_LANES, size.h, size.w, 1, 1},
    };
    if (parent >= 0) {
        level->window.kh = side->levels[parent].window.h / size.h;
        level->window.kw = side->levels[parent].window.w / size.w;
    }
    side->level_count++;
}

/* The largest size of the tap's pairs that has no level yet; {0, 0}: every one has. */
static struct size next_size(const struct gram_plan *plan, const struct gram_side *side,
                             const struct tensor *taps, int tap)
{
    struct size next = {0, 0};
    for (int i = 0; i < plan->pair_count; i++) {
        const struct gram_pair *pair = &plan->pairs[i];
        struct size size = pair_size(taps, pair);
        if ((pair->taps[0] == tap || pair->taps[1] == tap) && find_level(side, tap, size) < 0 &&
            size.h * size.w > next.h * next.w)
            next = size;
    }
    return next;
}

static size_t take(size_t *used, size_t floats)
{
    size_t place = *used;
    *used += (floats + GRAM_LANES - 1) / GRAM_LANES * GRAM_LANES;
    return place;
}

/* Panels one behind the other: of the values, and for the student what the gradient needs. */
static void place_levels(struct gram_side *side, bool gradient)
{
    for (int i = 0; i < side->level_count; i++) {
        struct gram_level *level = &side->levels[i];
        const struct gram_window *window = &level->window;
        size_t positions = (size_t)window->h * (size_t)window->w;
        size_t floats = (size_t)window->blocks * positions * GRAM_LANES;
        level->values = take(&side->scratch, floats);
        if (!gradient)
            continue;
        level->chosen = take(&side->scratch, level->parent >= 0 ? floats : 0);
        level->diff = take(&side->scratch, floats);
        if (level->by_positions) {
            level->gap = take(&side->scratch, floats);
            level->dots = take(&side->scratch, 5 * positions * positions);
        }
    }
}

static enum retort_status make_side(struct gram_plan *plan, const struct tensor *taps,
                                    bool gradient, struct gram_side *side)
{
    /* Each pair asks for at most one pooled level per tap. */
    size_t most = (size_t)plan->tap_count + 2 * (size_t)plan->pair_count;
    TRY(arena_take(&plan->arena, most * sizeof(*side->levels), (void **)&side->levels));
    for (int tap = 0; tap < plan->tap_count; tap++) {
        if (!gram_plan_uses(plan, tap))
            continue;
        add_level(side, &taps[tap], tap, (struct size){taps[tap].h, taps[tap].w});
        for (;;) {
            struct size size = next_size(plan, side, taps, tap);
            if (!size.h)
                break;
            add_level(side, &taps[tap], tap, size);
        }
    }
    for (int i = 0; i < side->level_count; i++) {
        struct gram_level *level = &side->levels[i];
        struct size size = {level->window.h, level->window.w};
        level->by_positions = is_by_positions(plan, taps, level->tap, size);
    }
    place_levels(side, gradient);
    return RETORT_OK;
}

/* ---- pairs ---- */

static void set_factors(const struct gram_plan *plan, const struct loss_shapes *shapes, int norm,
                        struct gram_pair *pair)
{
    double sizes = 0;
    for (int i = 0; i < plan->pair_count; i++)
        sizes += (double)shapes->student_taps[plan->pairs[i].taps[0]].c *
                 shapes->student_taps[plan->pairs[i].taps[1]].c;
    double size =
        (double)shapes->student_taps[pair->taps[0]].c * shapes->student_taps[pair->taps[1]].c;
    switch ((enum gram_norm)norm) {
    case GRAM_MEAN:
        pair->value_factor = 1 / (size * plan->pair_count * plan->n);
        break;
    case GRAM_SSKD:
        pair->value_factor = 0.5 / (sizes * plan->n);
        break;
    case GRAM_FROBENIUS:
        pair->value_factor = 0.5 / plan->n;
        break;
    }
    pair->diff_factor = 2 * pair->value_factor;
}

static void place_pair(struct gram_plan *plan, const struct loss_shapes *shapes,
                       struct gram_pair *pair)
{
    struct size size = pair_size(shapes->student_taps, pair);
    for (int side = 0; side < 2; side++) {
        pair->student[side] = find_level(&plan->student, pair->taps[side], size);
        pair->teacher[side] = find_level(&plan->teacher, pair->taps[side], size);
    }
    pair->positions = size.h * size.w;
    if (pair->by_positions) {
        plan->by_positions = true;
        return;
    }
    pair->matrix_floats = (size_t)plan->student.levels[pair->student[0]].window.blocks *
                          (size_t)plan->student.levels[pair->student[1]].window.blocks *
                          GRAM_LANES * GRAM_LANES;
    pair->matrix = take(&plan->kept, pair->matrix_floats);
    if (pair->matrix_floats > plan->largest_matrix)
        plan->largest_matrix = pair->matrix_floats;
    const int a = plan->student.levels[pair->student[0]].window.blocks;
    const int b = plan->student.levels[pair->student[1]].window.blocks;
    const int positions = pair->positions;
    const size_t wanted[] = {gram_pairs_count(a, positions) + gram_pairs_count(b, positions),
                             gram_spread_count(a, positions, b),
                             gram_spread_count(b, positions, a)};
    for (int i = 0; i < 3; i++)
        if (wanted[i] > plan->largest_pairs)
            plan->largest_pairs = wanted[i];
}

/* The teacher's panels that are kept, by the student's and the teacher's levels. */
static void place_kept(struct gram_plan *plan)
{
    for (int i = 0; i < plan->student.level_count; i++) {
        struct gram_level *level = &plan->student.levels[i];
        const struct gram_window *window = &level->window;
        if (!level->by_positions)
            continue;
        int teacher = find_level(&plan->teacher, level->tap, (struct size){window->h, window->w});
        level->kept = take(&plan->kept, (size_t)window->blocks * (size_t)window->h *
                                            (size_t)window->w * GRAM_LANES);
        plan->teacher.levels[teacher].kept = level->kept;
    }
}

/* Gradients come in this order: all pairs of matrices, then levels by positions, each at once, then
 * the pooled levels from the last to the first. */
static enum retort_status find_openings(struct gram_plan *plan)
{
    const struct gram_side *side = &plan->student;
    bool *open;
    TRY(arena_take(&plan->arena, (size_t)side->level_count * sizeof(*open), (void **)&open));
    for (int i = 0; i < side->level_count; i++)
        open[i] = side->levels[i].by_positions;
    for (int i = 0; i < plan->pair_count; i++)
        for (int k = 0; k < 2; k++) {
            bool *reached = &open[plan->pairs[i].student[k]];
            plan->pairs[i].opens[k] = !*reached;
            *reached = true;
        }
    for (int i = side->level_count - 1; i >= 0; i--)
        if (side->levels[i].parent >= 0) {
            bool *reached = &open[side->levels[i].parent];
            side->levels[i].opens_parent = !*reached;
            *reached = true;
        }
    return RETORT_OK;
}

enum retort_status gram_plan_make(const struct gram_settings *settings,
                                  const struct loss_shapes *shapes, struct gram_plan *plan)
{
    plan->n = shapes->n;
    plan->tap_count = shapes->tap_count;
    TRY(choose_pairs(settings, shapes, plan));
    for (int i = 0; i < plan->pair_count; i++)
        TRY(check_pair(shapes, &plan->pairs[i]));
    for (int i = 0; i < plan->pair_count; i++)
        plan->pairs[i].by_positions = choose_positions(plan, shapes, &plan->pairs[i]);
    TRY(make_side(plan, shapes->student_taps, true, &plan->student));
    TRY(make_side(plan, shapes->teacher_taps, false, &plan->teacher));
    for (int i = 0; i < plan->pair_count; i++) {
        set_factors(plan, shapes, settings->norm, &plan->pairs[i]);
        place_pair(plan, shapes, &plan->pairs[i]);
    }
    place_kept(plan);
    return find_openings(plan);
}

void gram_plan_release(struct gram_plan *plan)
{
    arena_release(&plan->arena);
    *plan = (struct gram_plan){0};
}

bool gram_plan_uses(const struct gram_plan *plan, int tap)
{
    for (int i = 0; i < plan->pair_count; i++)
        if (plan->pairs[i].taps[0] == tap || plan->pairs[i].taps[1] == tap)
            return true;
    return false;
}
