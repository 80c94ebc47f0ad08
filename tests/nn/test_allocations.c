/* test_allocations.c - a training step allocates nothing: forward, losses, backward and optimizer,
 * of a plain network and of a student with its teacher.
 *
 * malloc and its kin are interposed by this program and handed on to the C library. While a step is
 * watched each call is noted with its caller. Callers in this program (retort is linked into it)
 * and in the OpenMP library must not appear. oneDNN builds small argument tables for every
 * primitive that it runs, and its matrix product, which linear layers use, a workspace (72 KB with
 * AVX-512): its calls and those of the C++ library are bounded in number and size, and whatever
 * they take in a step they give back in it.
 *
 * Two threads, always: GNU's OpenMP library makes a record of 2 KB anew whenever the number of
 * threads changes from one parallel region to the next, as oneDNN may do with three or more. */
#include "sketch.h"

#include <dlfcn.h>
#include <malloc.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "distill/objective.h"
#include "train/optimizer.h"

/* Of oneDNN and the C++ library: bytes of one piece, bytes in all, pieces per step of an executor.
 */
enum { LARGEST_PIECE = 1 << 20, MOST_BYTES = 4 << 20, PIECES = 6 };

/* ---- watching ---- */

enum { MOST_CALLS = 1 << 16 };

struct call {
    void *piece;
    const void *caller;
    size_t bytes;
    bool freed;
};
static struct call calls[MOST_CALLS];
static int call_count, strange_frees; /* of pieces that are older than the step */
static atomic_bool watching;

#if defined(__SANITIZE_ADDRESS__)
enum { WATCHES = 0 }; /* the sanitizer owns malloc */
#else
enum { WATCHES = 1 };
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set(&busy))
        ;
}

static void unlock(void)
{
    atomic_flag_clear(&busy);
}

static void *note(void *piece, size_t bytes, const void *caller)
{
    if (!piece || !atomic_load(&watching))
        return piece;
    lock();
    if (call_count < MOST_CALLS)
        calls[call_count++] = (struct call){piece, caller, bytes, false};
    unlock();
    return piece;
}

static void note_free(const void *piece)
{
    if (!piece || !atomic_load(&watching))
        return;
    lock();
    int i = call_count - 1;
    while (i >= 0 && (calls[i].piece != piece || calls[i].freed))
        i--;
    if (i >= 0)
        calls[i].freed = true;
    else
        strange_frees++;
    unlock();
}

/* The C library's own, which glibc exports for interposers. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *piece, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *piece);

#define INTERPOSED __attribute__((visibility("default"), noinline))
#define CALLER     __builtin_return_address(0)

INTERPOSED void *malloc(size_t bytes)
{
    return note(__libc_malloc(bytes), bytes, CALLER);
}

INTERPOSED void *calloc(size_t count, size_t size)
{
    return note(__libc_calloc(count, size), count * size, CALLER);
}

INTERPOSED void *realloc(void *piece, size_t bytes)
{
    note_free(piece);
    return note(__libc_realloc(piece, bytes), bytes, CALLER);
}

INTERPOSED void *memalign(size_t alignment, size_t bytes)
{
    return note(__libc_memalign(alignment, bytes), bytes, CALLER);
}

INTERPOSED void *aligned_alloc(size_t alignment, size_t bytes)
{
    return note(__libc_memalign(alignment, bytes), bytes, CALLER);
}

INTERPOSED int posix_memalign(void **piece, size_t alignment, size_t bytes)
{
    void *made = note(__libc_memalign(alignment, bytes), bytes, CALLER);
    if (!made)
        return 12; /* ENOMEM */
    *piece = made;
    return 0;
}

INTERPOSED void free(void *piece)
{
    note_free(piece);
    __libc_free(piece);
}
#endif

static void watch(bool on)
{
    if (on)
        call_count = strange_frees = 0;
    atomic_store(&watching, on);
}

/* The file that holds an address, without its folder. */
static const char *module_of(const void *address)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        return "nowhere";
    const char *slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}

static bool is_backend(const char *module)
{
    return strncmp(module, "libdnnl", 7) == 0 || strncmp(module, "libstdc++", 9) == 0;
}

static void check_call(const char *what, const struct call *call)
{
    const char *module = module_of(call->caller);
    if (!is_backend(module))
        fail_msg("%s: %s allocated %zu bytes", what, module, call->bytes);
    if (call->bytes > LARGEST_PIECE)
        fail_msg("%s: %s allocated %zu bytes, at most %d wanted", what, module, call->bytes,
                 LARGEST_PIECE);
    if (!call->freed)
        fail_msg("%s: %s kept %zu bytes", what, module, call->bytes);
}

/* steps: of all executors. */
static void check_calls(const char *what, int steps)
{
    size_t bytes = 0;
    assert_true(call_count < MOST_CALLS);
    for (int i = 0; i < call_count; i++) {
        check_call(what, &calls[i]);
        bytes += calls[i].bytes;
    }
    if (call_count > steps * PIECES || bytes > MOST_BYTES)
        fail_msg("%s: oneDNN allocated %d pieces, %zu bytes in %d steps", what, call_count, bytes,
                 steps);
    if (strange_frees)
        fail_msg("%s: %d older pieces were freed", what, strange_frees);
}

/* ---- a step ---- */

enum { BATCH = 4, CLASSES = 10, SIDE = 32, MOST_TAPS = 8, WARM_UP = 3, WATCHED = 3 };

struct session {
    struct model student_model, teacher_model;
    struct executor *student, *teacher; /* teacher NULL: none */
    struct objective *objective;
    struct optimizer optimizer;
    struct tensor student_taps[MOST_TAPS], teacher_taps[MOST_TAPS];
    struct gradient diff_taps[MOST_TAPS];
    struct arena arena;
    float *images;
    int labels[BATCH];
};

static void make_model(const char *network, uint64_t seed, struct model *model)
{
    struct graph graph;
    assert_ok(network_build(network, CLASSES, (struct shape){3, SIDE, SIDE}, &graph));
    assert_ok(model_create(&graph, model));
    model_initialise(model, seed);
}

static struct executor *make_executor(const struct model *model, enum executor_mode mode,
                                      bool tapped)
{
    int taps[MOST_TAPS];
    bool diffs[MOST_TAPS];
    for (int i = 0; i < MOST_TAPS; i++) {
        taps[i] = i;
        diffs[i] = mode == EXECUTOR_TRAIN;
    }
    return sketch_executor(
        model, &(struct executor_options){.batch = BATCH,
                                          .mode = mode,
                                          .tap_count = tapped ? model->graph.tap_count : 0,
                                          .taps = taps,
                                          .tap_diffs = diffs});
}

static const void *default_settings(struct session *session, enum loss_kind kind)
{
    const struct setting_table *table = loss_of(kind)->settings;
    void *settings;
    assert_ok(arena_take(&session->arena, table->bytes, &settings));
    assert_ok(settings_defaults(table, settings, &session->arena));
    return settings;
}

static void make_objective(struct session *session)
{
    const struct graph *graph = &session->student_model.graph;
    const void *settings[LOSS_COUNT] = {0};
    const char *names[MOST_TAPS];
    const bool distils = session->teacher;
    for (int i = 0; distils && i < graph->tap_count; i++) {
        names[i] = graph->taps[i].name;
        session->student_taps[i] = executor_tap(session->student, i);
        session->teacher_taps[i] = executor_tap(session->teacher, i);
        session->diff_taps[i].tensor = executor_diff_tap(session->student, i);
    }
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (distils || !loss_of((enum loss_kind)kind)->needs_teacher)
            settings[kind] = default_settings(session, (enum loss_kind)kind);
    assert_ok(objective_create(settings,
                               &(struct loss_shapes){BATCH, CLASSES, distils ? graph->tap_count : 0,
                                                     names, session->student_taps,
                                                     distils ? session->teacher_taps : NULL},
                               &session->objective));
}

static void open_session(struct session *session, const char *student, const char *teacher)
{
    const struct recipe_train train = {.momentum = 0.9, .nesterov = true, .weight_decay = 5e-4};
    *session = (struct session){.images = sketch_numbers(BATCH * 3 * SIDE * SIDE, 1)};
    make_model(student, 1, &session->student_model);
    session->student = make_executor(&session->student_model, EXECUTOR_TRAIN, teacher);
    if (teacher) {
        make_model(teacher, 2, &session->teacher_model);
        session->teacher = make_executor(&session->teacher_model, EXECUTOR_INFER, true);
    }
    make_objective(session);
    assert_ok(optimizer_create(session->student, &session->student_model.graph, &train,
                               &session->optimizer));
}

static void close_session(struct session *session)
{
    optimizer_release(&session->optimizer);
    objective_destroy(session->objective);
    executor_destroy(session->student);
    executor_destroy(session->teacher);
    model_release(&session->student_model);
    model_release(&session->teacher_model);
    arena_release(&session->arena);
    free(session->images);
}

static void run_step(struct session *session, uint32_t step)
{
    objective_begin(session->objective);
    if (session->teacher) {
        executor_forward(session->teacher, session->images, step);
        objective_teacher(session->objective,
                          &(struct teacher_view){executor_logits(session->teacher),
                                                 session->teacher_taps, 1, true});
    }
    executor_forward(session->student, session->images, step);
    objective_student(session->objective,
                      &(struct student_view){executor_logits(session->student), session->labels,
                                             executor_diff_logits(session->student),
                                             session->student_taps, session->diff_taps},
                      0);
    executor_backward(session->student);
    optimizer_step(&session->optimizer, 1e-3, 1);
}

/* ---- the tests ---- */

static const struct pair {
    const char *student, *teacher;
} pairs[] = {
    {"resnet:depth=8", NULL},
    {"vgg:depth=6,width=0.25,hidden=64,dropout=0.5", NULL},
    {"mobilenet:blocks=1-1-1-1-1,width=0.25", NULL},
    {"resnet:depth=8", "resnet:depth=14"},
    {"resnet:depth=8,shortcut=B", "resnet:depth=14,shortcut=B"},
    {"vgg:depth=6,width=0.25,hidden=64", "vgg:depth=11,width=0.25,hidden=64"},
    {"mobilenet:depth=9,width=0.25", "mobilenet:depth=16,width=0.25"},
};

static void a_step_allocates_nothing(void **state)
{
    if (!WATCHES)
        skip();
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct session session;
        char what[128];
        snprintf(what, sizeof(what), "%s%s%s", pairs[i].student, pairs[i].teacher ? " from " : "",
                 pairs[i].teacher ? pairs[i].teacher : "");
        open_session(&session, pairs[i].student, pairs[i].teacher);
        int steps = executor_step_count(session.student);
        if (session.teacher)
            steps += executor_step_count(session.teacher);
        for (uint32_t step = 0; step < WARM_UP; step++)
            run_step(&session, step);
        for (uint32_t step = 0; step < WATCHED; step++) {
            watch(true);
            run_step(&session, WARM_UP + step);
            watch(false);
            check_calls(what, steps);
        }
        assert_ok(executor_status(session.student));
        close_session(&session);
    }
}

static void the_watch_sees_what_is_allocated(void **state)
{
    if (!WATCHES)
        skip();
    void *volatile aligned;
    void *block;
    watch(true);
    void *volatile plain = malloc(10);
    free(plain);
    assert_ok(memory_aligned(100, &block));
    watch(false);
    aligned = block;
    free(aligned);
    assert_int_equal(call_count, 2);
    assert_true(calls[0].freed && !calls[1].freed);
    assert_false(is_backend(module_of(calls[0].caller)));
    assert_true(calls[1].bytes >= 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_watch_sees_what_is_allocated),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    omp_set_num_threads(2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
