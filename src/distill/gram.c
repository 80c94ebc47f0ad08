/* gram.c - the loss on Gram matrices of taps: how the maps of two layers go together, layer by
 * layer (FSP: Yim et al., "A Gift from Knowledge Distillation", CVPR 2017; cross-layer pairs: Chou
 * et al., APSIPA Trans. SIP 10(1) e18, 2021).
 *
 *     G[i][j] = 1 / (h w) * sum over positions p of F_a[p][i] * F_b[p][j]
 *
 * for taps a before b of one image, the larger map pooled to the smaller one's size.
 *   mean       mean over pairs of the batch mean of ||G_T - G_S||^2 / (m n)
 *   sskd       sum over pairs of the batch mean of ||G_T - G_S||^2 / 2, divided by sum(m n)
 *   frobenius  sum over pairs of the batch mean of ||G_T - G_S||^2 / 2
 *
 * One image is done from first to last by one thread, so its maps are read from memory once, all
 * its pairs find them in the cache, and its gradients are written once. The teacher's matrices, or
 * its panels where no matrices are formed (gram_positions.h), are kept from its forward pass to the
 * student's: its maps are gone by then. */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "distill/gram_plan.h"
#include "distill/gram_positions.h"

static const char *const pool_words[] = {"max", "avg", NULL};
static const char *const norm_words[] = {"mean", "sskd", "frobenius", NULL};
static const struct setting gram_rows[] = {
    LOSS_WEIGHT_ROWS(struct gram_settings, "1"),
    {"pairs", SETTING_TEXTS, offsetof(struct gram_settings, pairs), .fallback = "all",
     .help = "pairs of taps: all, adjacent, cross, or a list such as stem-stage1, stem-stage3"},
    {"pool", SETTING_CHOICE, offsetof(struct gram_settings, pool), .choices = pool_words,
     .fallback = "max", .help = "how the larger map of a pair is brought to the smaller's size"},
    {"norm", SETTING_CHOICE, offsetof(struct gram_settings, norm), .choices = norm_words,
     .fallback = "mean",
     .help = "which published definition: mean over the entries, sskd, or half "
             "the squared frobenius norm"},
};
static const struct setting_table gram_table =
    SETTING_TABLE("gram", struct gram_settings, gram_rows);

struct gram {
    struct gram_plan plan;
    enum gram_pool pool;
    const struct gram_kernels *kernels;
    int teachers;   /* seen in this step */
    double share;   /* theirs together */
    float *kept;    /* (n, plan.kept): the teacher's matrices, means by their shares, and panels */
    double *values; /* (n); summed in order, so threads do not change the sum */
    int threads;
    size_t scratch_floats; /* per thread: panels of either network, pairs, two matrices */
    float *scratch;
};

static void gram_destroy(void *state)
{
    struct gram *gram = state;
    if (!gram)
        return;
    free(gram->scratch);
    free(gram->values);
    free(gram->kept);
    gram_plan_release(&gram->plan);
    free(gram);
}

static enum retort_status make_buffers(struct gram *gram)
{
    const struct gram_plan *plan = &gram->plan;
    const size_t n = (size_t)plan->n, student = plan->student.scratch,
                 teacher = plan->teacher.scratch;
    gram->scratch_floats =
        (student > teacher ? student : teacher) + plan->largest_pairs + 2 * plan->largest_matrix;
    gram->threads = omp_get_max_threads();
    TRY(memory_zeroed(n, sizeof(double), (void **)&gram->values));
    TRY(memory_aligned(n * plan->kept * sizeof(float), (void **)&gram->kept));
    return memory_aligned((size_t)gram->threads * gram->scratch_floats * sizeof(float),
                          (void **)&gram->scratch);
}

static enum retort_status gram_create(const void *settings, const struct loss_shapes *shapes,
                                      void **state)
{
    const struct gram_settings *wanted = settings;
    enum retort_status status;
    struct gram *gram = NULL;
    TRY(memory_zeroed(1, sizeof(*gram), (void **)&gram));
    gram->pool = wanted->pool;
    gram->kernels = gram_kernels();
    TRY_DONE(gram_plan_make(wanted, shapes, &gram->plan));
    TRY_DONE(make_buffers(gram));
    *state = gram;
    return RETORT_OK;
done:
    gram_destroy(gram);
    return status;
}

static bool gram_uses_tap(const void *state, int tap)
{
    const struct gram *gram = state;
    return gram_plan_uses(&gram->plan, tap);
}

static bool gram_pair(const void *state, int index, int taps[2])
{
    const struct gram *gram = state;
    if (index >= gram->plan.pair_count)
        return false;
    taps[0] = gram->plan.pairs[index].taps[0];
    taps[1] = gram->plan.pairs[index].taps[1];
    return true;
}

static void gram_begin(void *state)
{
    struct gram *gram = state;
    gram->teachers = 0;
    gram->share = 0;
}

/* ---- one image ---- */

/* A map that is its own panel. */
static bool is_panel(const struct tensor *map)
{
    return map->type == PRECISION_F32 && map->block == GRAM_LANES;
}

static float *image_of(const struct tensor *map, int image)
{
    return (float *)map->data + tensor_count(map) / (size_t)map->n * (size_t)image;
}

/* What one thread works on. */
struct job {
    const struct gram *gram;
    const struct gram_side *side;
    const struct tensor *taps;
    struct gradient *diffs; /* the student's, by tap */
    int image;
    float *panels;
    uint32_t *pairs;
    float *matrix, *transposed;
};

static struct job new_job(const struct gram *gram, const struct gram_side *side, int image)
{
    float *scratch = gram->scratch + (size_t)omp_get_thread_num() * gram->scratch_floats;
    float *end = scratch + gram->scratch_floats;
    size_t matrix = gram->plan.largest_matrix;
    return (struct job){.gram = gram,
                        .side = side,
                        .image = image,
                        .panels = scratch,
                        .pairs = (uint32_t *)(end - 2 * matrix - gram->plan.largest_pairs),
                        .matrix = end - 2 * matrix,
                        .transposed = end - matrix};
}

/* What is kept of the teacher for this image. */
static float *kept_at(const struct job *job, size_t place)
{
    return job->gram->kept + (size_t)job->image * job->gram->plan.kept + place;
}

/* The teacher's panels by positions are made where they are kept. */
static bool is_kept(const struct job *job, const struct gram_level *level)
{
    return job->side == &job->gram->plan.teacher && level->by_positions;
}

/* Where a level's values are put; a map that is its own panel is not moved. */
static float *level_place(const struct job *job, const struct gram_level *level)
{
    return is_kept(job, level) ? kept_at(job, level->kept) : job->panels + level->values;
}

static bool stays(const struct job *job, const struct gram_level *level)
{
    return level->parent < 0 && is_panel(&job->taps[level->tap]) && !is_kept(job, level);
}

static const float *level_values(const struct job *job, int number)
{
    const struct gram_level *level = &job->side->levels[number];
    return stays(job, level) ? image_of(&job->taps[level->tap], job->image)
                             : level_place(job, level);
}

static struct gram_panel level_panel(const struct job *job, int number)
{
    const struct gram_level *level = &job->side->levels[number];
    const struct gram_window *window = &level->window;
    const bool halves = job->taps[level->tap].type == PRECISION_BF16 &&
                        (level->parent < 0 || job->gram->pool == GRAM_MAX);
    return (struct gram_panel){level_values(job, number), window->blocks, window->h * window->w,
                               halves};
}

static int32_t *level_chosen(const struct job *job, const struct gram_level *level)
{
    return (int32_t *)(job->panels + level->chosen);
}

/* Bring the maps into panels and pool them. */
static void make_levels(const struct job *job, bool gradient)
{
    const struct gram_kernels *kernels = job->gram->kernels;
    for (int i = 0; i < job->side->level_count; i++) {
        const struct gram_level *level = &job->side->levels[i];
        if (level->parent >= 0)
            kernels->pool(job->gram->pool, &level->window, level_values(job, level->parent),
                          level_place(job, level), gradient ? level_chosen(job, level) : NULL);
        else if (!stays(job, level))
            kernels->load(&job->taps[level->tap], job->image, level_place(job, level));
    }
}

/* ---- the teacher ---- */

/* target moves by `part` of the way to what this teacher says. */
static void mix(float *target, const float *matrix, size_t count, float part)
{
    for (size_t i = 0; i < count; i++)
        target[i] += part * (matrix[i] - target[i]);
}

static void teacher_image(const struct job *job, float part)
{
    const struct gram *gram = job->gram;
    make_levels(job, false);
    for (int i = 0; i < gram->plan.pair_count; i++) {
        const struct gram_pair *pair = &gram->plan.pairs[i];
        if (pair->by_positions)
            continue;
        const struct gram_panel a = level_panel(job, pair->teacher[0]);
        const struct gram_panel b = level_panel(job, pair->teacher[1]);
        float *target = kept_at(job, pair->matrix);
        float *matrix = part == 1 ? target : job->matrix;
        gram->kernels->product(&a, &b, 1 / (float)pair->positions, job->pairs, matrix);
        if (part != 1)
            mix(target, matrix, pair->matrix_floats, part);
    }
}

static void gram_teacher(void *state, const struct teacher_view *teacher)
{
    struct gram *gram = state;
    if (!teacher->maps)
        return;
    assert(!gram->teachers || !gram->plan.by_positions); /* many_map_teachers was promised */
    gram->share += teacher->map_share;
    /* The first one has all of it, also when its share is 0: then it is looked at for this only. */
    bool first = gram->teachers++ == 0 || gram->share == 0;
    float part = first ? 1 : (float)(teacher->map_share / gram->share);
#pragma omp parallel for schedule(static) num_threads(gram->threads)
    for (int image = 0; image < gram->plan.n; image++) {
        struct job job = new_job(gram, &gram->plan.teacher, image);
        job.taps = teacher->taps;
        teacher_image(&job, part);
    }
}

static float *gram_kept(void *state, size_t *floats)
{
    struct gram *gram = state;
    *floats = gram->plan.kept;
    return gram->kept;
}

static void gram_recalled(void *state)
{
    struct gram *gram = state;
    gram->teachers = 1;
    gram->share = 1;
}

/* ---- the student ---- */

/* Where a level's gradient is put together: the map itself if it is a panel, else scratch. */
static float *level_diff(const struct job *job, int number)
{
    const struct gram_level *level = &job->side->levels[number];
    const struct tensor *map = &job->diffs[level->tap].tensor;
    return level->parent < 0 && is_panel(map) ? image_of(map, job->image)
                                              : job->panels + level->diff;
}

/* Whether the first gradient to reach a level is added to what other losses put there. */
static bool starts_defined(const struct job *job, int number)
{
    const struct gram_level *level = &job->side->levels[number];
    const struct gradient *gradient = &job->diffs[level->tap];
    return level->parent < 0 && is_panel(&gradient->tensor) && gradient->defined;
}

static double matrix_pair(const struct job *job, const struct gram_pair *pair, double weight)
{
    const struct gram *gram = job->gram;
    const struct gram_kernels *kernels = gram->kernels;
    const float *target = kept_at(job, pair->matrix);
    const struct gram_panel a = level_panel(job, pair->student[0]);
    const struct gram_panel b = level_panel(job, pair->student[1]);
    const double factor = weight * pair->diff_factor / pair->positions;
    kernels->product(&a, &b, 1 / (float)pair->positions, job->pairs, job->matrix);
    double squares = kernels->difference(a.blocks, b.blocks, target, (float)factor, job->matrix,
                                         job->transposed);
    kernels->spread(&b, job->transposed, a.blocks, job->pairs, level_diff(job, pair->student[0]),
                    !pair->opens[0] || starts_defined(job, pair->student[0]));
    kernels->spread(&a, job->matrix, b.blocks, job->pairs, level_diff(job, pair->student[1]),
                    !pair->opens[1] || starts_defined(job, pair->student[1]));
    return squares * pair->value_factor;
}

static struct gram_gap level_gap(const struct job *job, int number)
{
    const struct gram_level *level = &job->side->levels[number];
    const struct gram_panel student = level_panel(job, number);
    const struct gram_panel teacher = {kept_at(job, level->kept), student.blocks, student.positions,
                                       student.halves};
    return (struct gram_gap){student, teacher, job->panels + level->gap, job->panels + level->dots};
}

static double positions_pair(const struct job *job, const struct gram_pair *pair, double weight)
{
    const struct gram_gap a = level_gap(job, pair->student[0]);
    const struct gram_gap b = level_gap(job, pair->student[1]);
    const double scale = 1 / ((double)pair->positions * pair->positions);
    double squares = gram_gap_pair(&a, &b, (float)(weight * pair->diff_factor * scale));
    return squares * pair->value_factor * scale;
}

static double positions_pairs(const struct job *job, double weight)
{
    const struct gram_plan *plan = &job->gram->plan;
    double value = 0;
    for (int i = 0; i < plan->student.level_count; i++)
        if (plan->student.levels[i].by_positions) {
            const struct gram_gap map = level_gap(job, i);
            gram_gap_open(job->gram->kernels, &map);
        }
    for (int i = 0; i < plan->pair_count; i++)
        if (plan->pairs[i].by_positions)
            value += positions_pair(job, &plan->pairs[i], weight);
    for (int i = 0; i < plan->student.level_count; i++)
        if (plan->student.levels[i].by_positions) {
            const struct gram_gap map = level_gap(job, i);
            gram_gap_close(job->gram->kernels, &map, level_diff(job, i), starts_defined(job, i));
        }
    return value;
}

/* From the pooled levels to the larger ones, and from panels to the maps. */
static void finish_diffs(const struct job *job)
{
    const struct gram_kernels *kernels = job->gram->kernels;
    for (int i = job->side->level_count - 1; i >= 0; i--) {
        const struct gram_level *level = &job->side->levels[i];
        const struct gradient *gradient = &job->diffs[level->tap];
        if (level->parent >= 0)
            kernels->unpool(job->gram->pool, &level->window, level_diff(job, i),
                            level_chosen(job, level), level_diff(job, level->parent),
                            !level->opens_parent || starts_defined(job, level->parent));
        else if (!is_panel(&gradient->tensor))
            kernels->store(level_diff(job, i), &gradient->tensor, job->image, gradient->defined);
    }
}

static double student_image(const struct job *job, double weight)
{
    const struct gram_plan *plan = &job->gram->plan;
    double value = 0;
    make_levels(job, true);
    for (int i = 0; i < plan->pair_count; i++)
        if (!plan->pairs[i].by_positions)
            value += matrix_pair(job, &plan->pairs[i], weight);
    if (plan->by_positions)
        value += positions_pairs(job, weight);
    finish_diffs(job);
    return value;
}

static double gram_student(void *state, double weight, const struct student_view *student)
{
    struct gram *gram = state;
    assert(gram->teachers > 0);
#pragma omp parallel for schedule(static) num_threads(gram->threads)
    for (int image = 0; image < gram->plan.n; image++) {
        struct job job = new_job(gram, &gram->plan.student, image);
        job.taps = student->taps;
        job.diffs = student->diff_taps;
        gram->values[image] = student_image(&job, weight);
    }
    for (int tap = 0; tap < gram->plan.tap_count; tap++)
        if (gram_plan_uses(&gram->plan, tap))
            student->diff_taps[tap].defined = true;
    double value = 0;
    for (int image = 0; image < gram->plan.n; image++)
        value += gram->values[image];
    return value;
}

const struct loss loss_gram = {
    .name = "gram",
    .settings = &gram_table,
    .needs_teacher = true,
    .same_channels = true,
    .create = gram_create,
    .destroy = gram_destroy,
    .uses_tap = gram_uses_tap,
    .pair = gram_pair,
    .begin = gram_begin,
    .teacher = gram_teacher,
    .kept = gram_kept,
    .recalled = gram_recalled,
    .student = gram_student,
};
