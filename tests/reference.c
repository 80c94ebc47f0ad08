/* reference.c - straightforward loops in double: to be right, not fast. */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "nn/engine/onednn.h"
#include "nn/op/op.h"

static void *zeroed(size_t count, size_t size)
{
    void *block = calloc(count ? count : 1, size);
    if (!block)
        abort();
    return block;
}

size_t reference_count(const struct reference *twin, int node)
{
    const struct shape s = twin->graph->nodes[node].shape;
    return (size_t)twin->batch * (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

void reference_create(struct reference *twin, const struct model *model, int batch, bool train)
{
    const struct graph *graph = &model->graph;
    *twin =
        (struct reference){.graph = graph, .batch = batch, .train = train, .block = dnn_block()};
    twin->parameters = zeroed((size_t)graph->parameter_count, sizeof(double *));
    twin->after = zeroed((size_t)graph->parameter_count, sizeof(double *));
    twin->values = zeroed((size_t)graph->node_count, sizeof(double *));
    for (int i = 0; i < graph->parameter_count; i++) {
        size_t count = parameter_count(&graph->parameters[i]);
        twin->parameters[i] = zeroed(count, sizeof(double));
        twin->after[i] = zeroed(count, sizeof(double));
        for (size_t k = 0; k < count; k++)
            twin->parameters[i][k] = (double)model->values[i][k];
    }
    for (int i = 0; i < graph->node_count; i++)
        twin->values[i] = zeroed(reference_count(twin, i), sizeof(double));
}

void reference_release(struct reference *twin)
{
    for (int i = 0; i < twin->graph->parameter_count; i++) {
        free(twin->parameters[i]);
        free(twin->after[i]);
    }
    for (int i = 0; i < twin->graph->node_count; i++)
        free(twin->values[i]);
    free(twin->parameters);
    free(twin->after);
    free(twin->values);
}

void reference_images(struct reference *twin, const float *images)
{
    for (size_t i = 0; i < reference_count(twin, 0); i++)
        twin->values[0][i] = (double)images[i];
}

/* A decision was taken; `distance` is how far the numbers are from another one. */
static void branch(struct reference *twin, int choice, double distance)
{
    twin->branches = (twin->branches ^ (uint64_t)choice) * 0x100000001b3u;
    twin->margin = fmin(twin->margin, distance);
}

/* ---- one operator each ---- */

struct place {
    const struct node *node;
    struct shape in, out;
    const double *a, *b; /* the inputs' values */
    double *y;
    double *const *parameters; /* the node's own */
    double *const *after;
};

static void forward_input(struct reference *twin, const struct place *p)
{
}

static double convolve(const struct place *p, const double *image, int oc, int oh, int ow)
{
    const struct conv_attributes *a = p->node->attributes;
    const int depth = p->in.c / a->groups, first = oc / (p->out.c / a->groups) * depth;
    const double *w = p->parameters[0] + (size_t)oc * depth * a->kernel * a->kernel;
    double sum = a->bias ? p->parameters[1][oc] : 0;
    for (int c = first; c < first + depth; c++)
        for (int kh = 0; kh < a->kernel; kh++)
            for (int kw = 0; kw < a->kernel; kw++, w++) {
                const int h = oh * a->stride - a->pad + kh, x = ow * a->stride - a->pad + kw;
                if (h >= 0 && h < p->in.h && x >= 0 && x < p->in.w)
                    sum += *w * image[(c * p->in.h + h) * p->in.w + x];
            }
    return sum;
}

static void forward_conv(struct reference *twin, const struct place *p)
{
    double *y = p->y;
    for (int n = 0; n < twin->batch; n++)
        for (int c = 0; c < p->out.c; c++)
            for (int h = 0; h < p->out.h; h++)
                for (int w = 0; w < p->out.w; w++)
                    *y++ = convolve(p, p->a + n * p->in.c * p->in.h * p->in.w, c, h, w);
}

static void apply_norm(const struct reference_norm *norm, const double *mean, const double *var,
                       double *y)
{
    for (int n = 0; n < norm->n; n++)
        for (int c = 0; c < norm->c; c++)
            for (int i = 0; i < norm->hw; i++) {
                const int k = (n * norm->c + c) * norm->hw + i;
                y[k] = (norm->x[k] - mean[c]) / sqrt(var[c] + norm->epsilon) * norm->scale[c] +
                       norm->shift[c];
            }
}

static void norm_statistics(const struct reference_norm *norm, int c)
{
    double sum = 0, squares = 0, count = (double)norm->n * norm->hw;
    for (int n = 0; n < norm->n; n++)
        for (int i = 0; i < norm->hw; i++)
            sum += norm->x[(n * norm->c + c) * norm->hw + i];
    norm->mean[c] = sum / count;
    for (int n = 0; n < norm->n; n++)
        for (int i = 0; i < norm->hw; i++) {
            const double d = norm->x[(n * norm->c + c) * norm->hw + i] - norm->mean[c];
            squares += d * d;
        }
    norm->var[c] = squares / count;
}

void reference_norm_forward(const struct reference_norm *norm, double *y)
{
    for (int c = 0; c < norm->c; c++)
        norm_statistics(norm, c);
    apply_norm(norm, norm->mean, norm->var, y);
}

void reference_norm_backward(const struct reference_norm *norm, const double *dy, double *dx,
                             double *diff_scale, double *diff_shift)
{
    const double count = (double)norm->n * norm->hw;
    for (int c = 0; c < norm->c; c++) {
        const double inverse = 1 / sqrt(norm->var[c] + norm->epsilon);
        diff_scale[c] = diff_shift[c] = 0;
        for (int n = 0; n < norm->n; n++)
            for (int i = 0; i < norm->hw; i++) {
                const int k = (n * norm->c + c) * norm->hw + i;
                diff_shift[c] += dy[k];
                diff_scale[c] += dy[k] * (norm->x[k] - norm->mean[c]) * inverse;
            }
        for (int n = 0; n < norm->n; n++)
            for (int i = 0; i < norm->hw; i++) {
                const int k = (n * norm->c + c) * norm->hw + i;
                const double xhat = (norm->x[k] - norm->mean[c]) * inverse;
                dx[k] = norm->scale[c] * inverse *
                        (dy[k] - diff_shift[c] / count - xhat * diff_scale[c] / count);
            }
    }
}

static void forward_batch_norm(struct reference *twin, const struct place *p)
{
    const struct batch_norm_attributes *a = p->node->attributes;
    double mean[p->in.c], var[p->in.c];
    const struct reference_norm norm = {twin->batch,      p->in.c, p->in.h * p->in.w,
                                        a->epsilon,       p->a,    p->parameters[0],
                                        p->parameters[1], mean,    var};
    const double count = (double)norm.n * norm.hw, m = a->momentum;
    if (!twin->train) {
        apply_norm(&norm, p->parameters[2], p->parameters[3], p->y);
        return;
    }
    reference_norm_forward(&norm, p->y);
    for (int c = 0; c < norm.c; c++) {
        const double unbiased = count > 1 ? var[c] * count / (count - 1) : var[c];
        p->after[2][c] = (1 - m) * p->parameters[2][c] + m * mean[c];
        p->after[3][c] = (1 - m) * p->parameters[3][c] + m * unbiased;
    }
}

static void forward_relu(struct reference *twin, const struct place *p)
{
    const int count = twin->batch * p->in.c * p->in.h * p->in.w;
    for (int i = 0; i < count; i++) {
        branch(twin, p->a[i] > 0, fabs(p->a[i]));
        p->y[i] = p->a[i] > 0 ? p->a[i] : 0;
    }
}

static void forward_add(struct reference *twin, const struct place *p)
{
    const int count = twin->batch * p->in.c * p->in.h * p->in.w;
    for (int i = 0; i < count; i++)
        p->y[i] = p->a[i] + p->b[i];
}

static double largest_of(struct reference *twin, const struct place *p, const double *map, int oh,
                         int ow)
{
    const struct max_pool_attributes *a = p->node->attributes;
    double largest = -INFINITY, second = -INFINITY;
    int choice = 0;
    for (int i = 0; i < a->kernel * a->kernel; i++) {
        const int h = oh * a->stride + i / a->kernel, w = ow * a->stride + i % a->kernel;
        const double x = map[h * p->in.w + w];
        second = x > largest ? largest : fmax(second, x);
        choice = x > largest ? i : choice;
        largest = fmax(largest, x);
    }
    branch(twin, choice, largest == 0 && second == 0 ? INFINITY : largest - second);
    return largest;
}

static void forward_max_pool(struct reference *twin, const struct place *p)
{
    double *y = p->y;
    for (int i = 0; i < twin->batch * p->in.c; i++)
        for (int h = 0; h < p->out.h; h++)
            for (int w = 0; w < p->out.w; w++)
                *y++ = largest_of(twin, p, p->a + i * p->in.h * p->in.w, h, w);
}

static void forward_global_avg_pool(struct reference *twin, const struct place *p)
{
    const int hw = p->in.h * p->in.w;
    for (int i = 0; i < twin->batch * p->in.c; i++) {
        p->y[i] = 0;
        for (int k = 0; k < hw; k++)
            p->y[i] += p->a[i * hw + k] / hw;
    }
}

static void forward_linear(struct reference *twin, const struct place *p)
{
    const int features = p->in.c * p->in.h * p->in.w;
    for (int n = 0; n < twin->batch; n++)
        for (int o = 0; o < p->out.c; o++) {
            double sum = p->parameters[1][o];
            for (int i = 0; i < features; i++)
                sum += p->parameters[0][o * features + i] * p->a[n * features + i];
            p->y[n * p->out.c + o] = sum;
        }
}

static void forward_shortcut_a(struct reference *twin, const struct place *p)
{
    const struct shortcut_a_attributes *a = p->node->attributes;
    const int before = (p->out.c - p->in.c) / 2;
    double *y = p->y;
    for (int n = 0; n < twin->batch; n++)
        for (int c = 0; c < p->out.c; c++)
            for (int h = 0; h < p->out.h; h++)
                for (int w = 0; w < p->out.w; w++) {
                    const int from = c - before;
                    *y++ = from < 0 || from >= p->in.c
                               ? 0
                               : p->a[((n * p->in.c + from) * p->in.h + h * a->stride) * p->in.w +
                                      w * a->stride];
                }
}

/* Vectors that linear layers made are plain, and stay so through these; all else is blocked. */
static bool is_plain(const struct graph *graph, int node)
{
    const enum op_kind kind = graph->nodes[node].kind;
    if (kind == OP_linear)
        return true;
    return (kind == OP_relu || kind == OP_add || kind == OP_dropout) &&
           is_plain(graph, graph->nodes[node].inputs[0]);
}

static void forward_dropout(struct reference *twin, const struct place *p)
{
    const struct dropout_attributes *a = p->node->attributes;
    const int index = (int)(p->node - twin->graph->nodes);
    const int block = is_plain(twin->graph, index) ? 1 : twin->block, hw = p->in.h * p->in.w;
    const int blocks = (p->in.c + block - 1) / block;
    const struct random_stream stream =
        random_stream(twin->seed, RANDOM_DROPOUT, twin->step, (uint32_t)index);
    for (int n = 0; n < twin->batch; n++)
        for (int c = 0; c < p->in.c; c++)
            for (int i = 0; i < hw; i++) {
                const int k = (n * p->in.c + c) * hw + i;
                const uint64_t at =
                    (uint64_t)(((n * blocks + c / block) * hw + i) * block + c % block);
                uint32_t bits[4];
                random_bits4(&stream, at & ~(uint64_t)3, bits);
                const bool kept = !twin->train || bits[at & 3] / 4294967296.0 >= a->rate;
                p->y[k] = kept ? p->a[k] / (twin->train ? 1 - a->rate : 1) : 0;
            }
}

/* ---- the whole ---- */

static void (*const forwards[])(struct reference *twin, const struct place *p) = {
#define ROW(name) [OP_##name] = forward_##name,
    OP_KINDS(ROW)
#undef ROW
};

void reference_forward(struct reference *twin)
{
    twin->branches = 0xcbf29ce484222325u;
    twin->margin = INFINITY;
    for (int i = 0; i < twin->graph->node_count; i++) {
        const struct node *node = &twin->graph->nodes[i];
        const int a = node->inputs[0], b = node->inputs[node->input_count == 2];
        forwards[node->kind](twin,
                             &(struct place){.node = node,
                                             .in = twin->graph->nodes[a].shape,
                                             .out = node->shape,
                                             .a = twin->values[a],
                                             .b = twin->values[b],
                                             .y = twin->values[i],
                                             .parameters = twin->parameters + node->first_parameter,
                                             .after = twin->after + node->first_parameter});
    }
}
