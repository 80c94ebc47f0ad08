/* make_distill_step.c - writes distill_step.safetensors, one distillation step of two tiny
 * networks.
 *
 *     build/tests/make-distill-step tests/vectors/distill_step.safetensors
 *
 * It shares nothing with the library but the writer of the file: plain loops in double precision,
 * and gradients by central differences of the loss, so that no formula of a backward pass is
 * needed. Names and metadata are those of the outside cases (golden.h), and one test reads both.
 *
 * A network: conv1 3x3 - bn1 - relu [early] - conv2 3x3, stride 2 - bn2 - relu - blocks of (conv
 * 3x3 - bn - add - relu) [late] - global average pool - fc. The teacher has two blocks, the student
 * one. Loss: weight.ce * CE + weight.kl * T^2 KL(teacher || student) + weight.gram * mean squared
 * difference of the Gram matrices of early (max-pooled by 2) and late. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/safetensors.h"

enum {
    N = 3,
    IN = 2,
    SIDE = 8,
    EARLY = 5,
    LATE = 6,
    HALF = SIDE / 2,
    CLASSES = 3,
    MOST_BLOCKS = 2,
    MOST_ARRAYS = 32,
    MOST_TENSORS = 160,
    MOST_NUMBERS = N * EARLY * SIDE * SIDE,
};
static const double WEIGHT_CE = 0.7, WEIGHT_KL = 0.5, WEIGHT_GRAM = 3, TEMPERATURE = 2;
static const double LR = 0.1, MOMENTUM = 0.9, DECAY = 5e-4, EPSILON = 1e-5, BN_MOMENTUM = 0.1;
static const double MARGIN = 1e-3, H = 1e-5;

struct array {
    char name[40];
    int rank, dims[4], count;
    bool trains;
    double *x;
};

/* The parameters of a network in the order in which forward() meets them. */
struct net {
    int blocks, count;
    struct array arrays[MOST_ARRAYS];
};

struct maps {
    double early[MOST_NUMBERS], late[MOST_NUMBERS], logits[N * CLASSES];
    double margin; /* how far the nearest ReLU input or pooling rival is from a switch */
};

/* ---- random numbers, rounded to float ---- */

static unsigned long long random_state;

static double uniform(double low, double high)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(low + (high - low) * (double)(random_state >> 33) / 2147483648.0);
}

/* ---- making a network ---- */

static void add(struct net *net, const char *layer, const char *what, int rank, const int *dims,
                double low, double high)
{
    struct array *a = &net->arrays[net->count++];
    snprintf(a->name, sizeof(a->name), "%s.%s", layer, what);
    a->rank = rank;
    a->count = 1;
    for (int i = 0; i < rank; i++) {
        a->dims[i] = dims[i];
        a->count *= dims[i];
    }
    a->trains = !strstr(what, "running");
    a->x = malloc((size_t)a->count * sizeof(double));
    for (int i = 0; i < a->count; i++)
        a->x[i] = uniform(low, high);
}

static void add_conv(struct net *net, int number, int in, int out)
{
    char conv[16], bn[16];
    double range = sqrt(6.0 / (in * 9));
    snprintf(conv, sizeof(conv), "conv%d", number);
    snprintf(bn, sizeof(bn), "bn%d", number);
    add(net, conv, "weight", 4, (int[]){out, in, 3, 3}, -range, range);
    add(net, bn, "weight", 1, &out, 0.6, 1.4);
    add(net, bn, "bias", 1, &out, -0.4, 0.4);
    add(net, bn, "running_mean", 1, &out, -0.3, 0.3);
    add(net, bn, "running_var", 1, &out, 0.5, 1.5);
}

static void make_net(struct net *net, int blocks)
{
    *net = (struct net){.blocks = blocks};
    add_conv(net, 1, IN, EARLY);
    add_conv(net, 2, EARLY, LATE);
    for (int i = 0; i < blocks; i++)
        add_conv(net, 3 + i, LATE, LATE);
    add(net, "fc", "weight", 2, (int[]){CLASSES, LATE}, -1, 1);
    add(net, "fc", "bias", 1, (int[]){CLASSES}, -0.5, 0.5);
}

static void free_net(struct net *net)
{
    for (int i = 0; i < net->count; i++)
        free(net->arrays[i].x);
}

/* ---- forward ---- */

static void conv(const double *src, const double *w, int ic, int oc, int side, int stride,
                 double *dst)
{
    const int os = side / stride;
    for (int n = 0; n < N; n++)
        for (int o = 0; o < oc; o++)
            for (int y = 0; y < os; y++)
                for (int x = 0; x < os; x++) {
                    double sum = 0;
                    for (int i = 0; i < ic; i++)
                        for (int ky = 0; ky < 3; ky++)
                            for (int kx = 0; kx < 3; kx++) {
                                int iy = y * stride + ky - 1, ix = x * stride + kx - 1;
                                if (iy >= 0 && iy < side && ix >= 0 && ix < side)
                                    sum += src[((n * ic + i) * side + iy) * side + ix] *
                                           w[((o * ic + i) * 3 + ky) * 3 + kx];
                            }
                    dst[((n * oc + o) * os + y) * os + x] = sum;
                }
}

/* In place. bn: weight, bias, running mean, running variance. running: NULL: use the running
 * statistics; else use the batch's and write the new running ones to running[0], running[1]. */
static void batch_norm(double *map, const struct array *bn, int c, int side, double *const *running)
{
    const int plane = side * side, count = N * plane;
    for (int k = 0; k < c; k++) {
        double mean = bn[2].x[k], var = bn[3].x[k];
        if (running) {
            double sum = 0, squares = 0;
            for (int n = 0; n < N; n++)
                for (int p = 0; p < plane; p++)
                    sum += map[(n * c + k) * plane + p];
            mean = sum / count;
            for (int n = 0; n < N; n++)
                for (int p = 0; p < plane; p++)
                    squares += pow(map[(n * c + k) * plane + p] - mean, 2);
            var = squares / count;
            running[0][k] = (1 - BN_MOMENTUM) * bn[2].x[k] + BN_MOMENTUM * mean;
            running[1][k] = (1 - BN_MOMENTUM) * bn[3].x[k] + BN_MOMENTUM * squares / (count - 1);
        }
        for (int n = 0; n < N; n++)
            for (int p = 0; p < plane; p++) {
                double *v = &map[(n * c + k) * plane + p];
                *v = (*v - mean) / sqrt(var + EPSILON) * bn[0].x[k] + bn[1].x[k];
            }
    }
}

static void relu(double *map, int count, double *margin)
{
    for (int i = 0; i < count; i++) {
        *margin = fmin(*margin, fabs(map[i]));
        map[i] = fmax(map[i], 0);
    }
}

/* running: NULL: inference; else the new statistics of each batch norm, two arrays each. */
static void forward(const struct net *net, const double *images, double *const *running,
                    struct maps *maps)
{
    static double work[MOST_NUMBERS];
    const struct array *a = net->arrays, *fc = a + net->count - 2;
    const int numbers = N * LATE * HALF * HALF;
    maps->margin = INFINITY;
    conv(images, a[0].x, IN, EARLY, SIDE, 1, maps->early);
    batch_norm(maps->early, a + 1, EARLY, SIDE, running);
    relu(maps->early, N * EARLY * SIDE * SIDE, &maps->margin);
    conv(maps->early, a[5].x, EARLY, LATE, SIDE, 2, maps->late);
    batch_norm(maps->late, a + 6, LATE, HALF, running ? running + 2 : NULL);
    relu(maps->late, numbers, &maps->margin);
    for (int b = 0; b < net->blocks; b++) {
        conv(maps->late, a[10 + 5 * b].x, LATE, LATE, HALF, 1, work);
        batch_norm(work, a + 11 + 5 * b, LATE, HALF, running ? running + 4 + 2 * b : NULL);
        for (int i = 0; i < numbers; i++)
            maps->late[i] += work[i];
        relu(maps->late, numbers, &maps->margin);
    }
    for (int n = 0; n < N; n++)
        for (int c = 0; c < CLASSES; c++) {
            double sum = fc[1].x[c];
            for (int k = 0; k < LATE; k++)
                for (int p = 0; p < HALF * HALF; p++)
                    sum += fc[0].x[c * LATE + k] * maps->late[(n * LATE + k) * HALF * HALF + p] /
                           (HALF * HALF);
            maps->logits[n * CLASSES + c] = sum;
        }
}

/* ---- losses ---- */

static void log_softmax(const double *logits, double temperature, double *result)
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += exp(logits[c] / temperature);
    for (int c = 0; c < CLASSES; c++)
        result[c] = logits[c] / temperature - log(sum);
}

static double cross_entropy(const struct maps *student, const int *labels)
{
    double sum = 0, logs[CLASSES];
    for (int n = 0; n < N; n++) {
        log_softmax(student->logits + n * CLASSES, 1, logs);
        sum -= logs[labels[n]];
    }
    return sum / N;
}

static double divergence(const struct maps *student, const struct maps *teacher)
{
    double sum = 0, s[CLASSES], t[CLASSES];
    for (int n = 0; n < N; n++) {
        log_softmax(student->logits + n * CLASSES, TEMPERATURE, s);
        log_softmax(teacher->logits + n * CLASSES, TEMPERATURE, t);
        for (int c = 0; c < CLASSES; c++)
            sum += exp(t[c]) * (t[c] - s[c]);
    }
    return TEMPERATURE * TEMPERATURE * sum / N;
}

static double pooled(const double *early, int n, int i, int y, int x, double *margin)
{
    double best = -1, second = -1;
    for (int k = 0; k < 4; k++) {
        double v = early[((n * EARLY + i) * SIDE + 2 * y + k / 2) * SIDE + 2 * x + k % 2];
        second = fmax(second, fmin(best, v));
        best = fmax(best, v);
    }
    if (best > 0)
        *margin = fmin(*margin, best - second);
    return best;
}

static double gram(const struct maps *maps, int n, int i, int j, double *margin)
{
    double sum = 0;
    for (int y = 0; y < HALF; y++)
        for (int x = 0; x < HALF; x++)
            sum += pooled(maps->early, n, i, y, x, margin) *
                   maps->late[((n * LATE + j) * HALF + y) * HALF + x];
    return sum / (HALF * HALF);
}

static double gram_loss(struct maps *student, struct maps *teacher)
{
    double sum = 0;
    for (int n = 0; n < N; n++)
        for (int i = 0; i < EARLY; i++)
            for (int j = 0; j < LATE; j++)
                sum += pow(gram(student, n, i, j, &student->margin) -
                               gram(teacher, n, i, j, &teacher->margin),
                           2);
    return sum / (N * EARLY * LATE);
}

/* ---- the step ---- */

struct step {
    double images[N * IN * SIDE * SIDE];
    int labels[N];
    struct net teacher, student, gradients, after;
    struct maps teacher_maps, student_maps;
    double ce, kl, gram;
};

static double total(const struct step *s)
{
    return WEIGHT_CE * s->ce + WEIGHT_KL * s->kl + WEIGHT_GRAM * s->gram;
}

/* running: as for forward. */
static double student_loss(struct step *s, double *const *running)
{
    forward(&s->student, s->images, running, &s->student_maps);
    s->ce = cross_entropy(&s->student_maps, s->labels);
    s->kl = divergence(&s->student_maps, &s->teacher_maps);
    s->gram = gram_loss(&s->student_maps, &s->teacher_maps);
    return total(s);
}

/* Places for the new running statistics, of `net` itself. */
static void running_of(struct net *net, double **running)
{
    for (int i = 0; i < net->count; i++)
        if (!net->arrays[i].trains)
            *running++ = net->arrays[i].x;
}

static void differentiate(struct step *s)
{
    struct net dropped;
    double *running[2 * (2 + MOST_BLOCKS)];
    make_net(&dropped, 1);
    running_of(&dropped, running);
    for (int i = 0; i < s->student.count; i++)
        for (int k = 0; s->student.arrays[i].trains && k < s->student.arrays[i].count; k++) {
            double *x = &s->student.arrays[i].x[k], kept = *x;
            *x = kept + H;
            double more = student_loss(s, running);
            *x = kept - H;
            s->gradients.arrays[i].x[k] = (more - student_loss(s, running)) / (2 * H);
            *x = kept;
        }
    free_net(&dropped);
}

/* Velocity is 0 before the first step, so v = g + decay w, and Nesterov goes along that + momentum
 * v. */
static void descend(struct step *s)
{
    for (int i = 0; i < s->student.count; i++)
        for (int k = 0; s->student.arrays[i].trains && k < s->student.arrays[i].count; k++) {
            double w = s->student.arrays[i].x[k], v = s->gradients.arrays[i].x[k] + DECAY * w;
            s->after.arrays[i].x[k] = w - LR * (v + MOMENTUM * v);
        }
}

static bool try_seed(struct step *s, unsigned seed)
{
    double *running[2 * (2 + MOST_BLOCKS)];
    random_state = seed;
    for (int i = 0; i < N * IN * SIDE * SIDE; i++)
        s->images[i] = uniform(-2, 2);
    for (int n = 0; n < N; n++)
        s->labels[n] = (n * 2 + 1) % CLASSES;
    make_net(&s->teacher, 2);
    make_net(&s->student, 1);
    make_net(&s->gradients, 1);
    make_net(&s->after, 1);
    running_of(&s->after, running);
    forward(&s->teacher, s->images, NULL, &s->teacher_maps);
    student_loss(s, running);
    if (fmin(s->student_maps.margin, s->teacher_maps.margin) > MARGIN)
        return true;
    free_net(&s->teacher);
    free_net(&s->student);
    free_net(&s->gradients);
    free_net(&s->after);
    return false;
}

/* ---- the file ---- */

struct out {
    struct arena arena;
    struct safetensor tensors[MOST_TENSORS];
    int count;
    json_t *metadata;
};

static void put(struct out *out, const char *group, const char *name, int rank, const int *dims,
                const double *x)
{
    struct safetensor *t = &out->tensors[out->count++];
    char key[64];
    size_t count = 1;
    *t = (struct safetensor){
        .name = arena_text(&out->arena, name), .type = SAFETENSORS_F32, .rank = rank};
    for (int i = 0; i < rank; i++) {
        t->dims[i] = dims[i];
        count *= (size_t)dims[i];
    }
    float *values = arena_get(&out->arena, count * sizeof(float));
    snprintf(key, sizeof(key), "max_abs.%s", group);
    double largest = json_number_value(json_object_get(out->metadata, key));
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)x[i];
        largest = fmax(largest, fabs(x[i]));
    }
    json_object_set_new(out->metadata, key, json_real(largest));
    t->data = values;
    t->bytes = count * sizeof(float);
}

static void put_net(struct out *out, const char *group, const char *prefix, const struct net *net,
                    bool trained_only)
{
    char name[96];
    for (int i = 0; i < net->count; i++) {
        const struct array *a = &net->arrays[i];
        snprintf(name, sizeof(name), "%s.%s", prefix, a->name);
        if (a->trains || !trained_only)
            put(out, group, name, a->rank, a->dims, a->x);
    }
}

static void put_maps(struct out *out, const char *who, const char *name, const struct maps *maps)
{
    char group[64], tensor[64];
    snprintf(group, sizeof(group), "%s_logits", who);
    snprintf(tensor, sizeof(tensor), "%s.logits", name);
    put(out, group, tensor, 2, (int[]){N, CLASSES}, maps->logits);
    snprintf(group, sizeof(group), "%s_taps", who);
    snprintf(tensor, sizeof(tensor), "%s.tap.early", name);
    put(out, group, tensor, 4, (int[]){N, EARLY, SIDE, SIDE}, maps->early);
    snprintf(tensor, sizeof(tensor), "%s.tap.late", name);
    put(out, group, tensor, 4, (int[]){N, LATE, HALF, HALF}, maps->late);
}

static void put_number(struct out *out, const char *key, double value)
{
    json_object_set_new(out->metadata, key, json_sprintf("%.17g", value));
}

/* There is no float32 run to measure what rounding costs; sixteen roundings of the group's largest
 * number are what a sum over these few numbers may lose. */
static void finish_groups(struct out *out)
{
    const char *key;
    json_t *value;
    void *next;
    json_t *allowed = json_object();
    json_object_foreach_safe(out->metadata, next, key, value)
    {
        if (strncmp(key, "max_abs.", 8))
            continue;
        double largest = json_number_value(value);
        char name[64];
        snprintf(name, sizeof(name), "float32_diff.%s", key + 8);
        json_object_set_new(allowed, name, json_sprintf("%.3g", 16 * 6e-8 * largest));
        json_object_set_new(allowed, key, json_sprintf("%.4g", largest));
    }
    json_object_update(out->metadata, allowed);
    json_decref(allowed);
}

static void fill(struct out *out, const struct step *s)
{
    int *labels = arena_get(&out->arena, sizeof(s->labels));
    memcpy(labels, s->labels, sizeof(s->labels));
    put(out, "input", "input", 4, (int[]){N, IN, SIDE, SIDE}, s->images);
    out->tensors[out->count++] =
        (struct safetensor){"labels", SAFETENSORS_I32, 1, {N}, labels, sizeof(s->labels)};
    put_net(out, "init", "teacher1.init", &s->teacher, false);
    put_net(out, "init", "student.init", &s->student, false);
    put_maps(out, "teacher", "teacher1", &s->teacher_maps);
    put_maps(out, "student", "student", &s->student_maps);
    put_net(out, "student_grad", "student.grad", &s->gradients, true);
    put_net(out, "student_state1", "student.step1", &s->after, false);
    json_object_set_new(out->metadata, "max_abs.loss", json_real(total(s)));
    finish_groups(out);
    put_number(out, "loss.total", total(s));
    put_number(out, "loss.ce", s->ce);
    put_number(out, "loss.kl", s->kl);
    put_number(out, "loss.gram", s->gram);
    put_number(out, "loss.gram.early-late", s->gram);
    put_number(out, "weight.ce", WEIGHT_CE);
    put_number(out, "weight.kl", WEIGHT_KL);
    put_number(out, "weight.gram", WEIGHT_GRAM);
    put_number(out, "temperature", TEMPERATURE);
    put_number(out, "lr", LR);
    put_number(out, "momentum", MOMENTUM);
    put_number(out, "weight_decay", DECAY);
    put_number(out, "nesterov", 1);
}

int main(int argc, char **argv)
{
    static struct step step;
    static struct out out;
    double *running[2 * (2 + MOST_BLOCKS)];
    unsigned seed = 1;
    if (argc != 2) {
        fprintf(stderr, "usage: make-distill-step FILE\n");
        return 2;
    }
    while (!try_seed(&step, seed))
        seed++;
    differentiate(&step);
    running_of(&step.after, running);
    student_loss(&step, running); /* the values where the networks stand */
    descend(&step);
    out.metadata = json_object();
    fill(&out, &step);
    put_number(&out, "seed", seed);
    if (safetensors_write(argv[1], out.tensors, out.count, out.metadata) != RETORT_OK) {
        fprintf(stderr, "%s\n", retort_message());
        return 1;
    }
    return 0;
}
