/* trainer_make.c - making a trainer: which taps losses look at, who has which memory, what is
 * frozen, and what the teachers' caches are for. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "distill/adapter.h"
#include "distill/gram_plan.h"
#include "nn/engine/executor.h"
#include "train/fit.h"
#include "train/loading.h"
#include "train/trainer_parts.h"

/* ---- data and taps ---- */

static enum retort_status make_loader(struct trainer *trainer)
{
    const struct recipe_data *data = trainer->setup.data;
    struct loader_options options =
        loading_train(data, trainer->setup.train->batch, trainer->setup.seed);
    options.views = trainer->setup.views;
    return loader_create(trainer->setup.dataset, true, &options, &trainer->loader);
}

/* Whose maps the student's are compared with: a teacher's; where there is none, a peer's. */
static const struct graph *other_graph(const struct trainer_setup *setup)
{
    return setup->teacher_count > 0 ? &setup->teachers[0]->graph
           : setup->model_count > 1 ? &setup->models[1]->graph
                                    : NULL;
}

/* Every tap named, or every one that both networks have. */
static enum retort_status choose_taps(const struct trainer_setup *setup, struct arena *arena,
                                      struct taps *taps)
{
    const struct graph *student = &setup->models[0]->graph, *teacher = other_graph(setup);
    const struct text_list *named = setup->taps;
    const bool asked = named && named->count;
    const int most = asked ? named->count : student->tap_count;
    *taps = (struct taps){0};
    TRY(arena_take(arena, (size_t)most * sizeof(char *), (void **)&taps->names));
    TRY(arena_take(arena, (size_t)most * sizeof(int), (void **)&taps->student));
    TRY(arena_take(arena, (size_t)most * sizeof(int), (void **)&taps->teacher));
    for (int i = 0; i < most && teacher; i++) {
        const char *name = asked ? named->items[i] : student->taps[i].name;
        int s = graph_find_tap(student, name), t = graph_find_tap(teacher, name);
        if (asked && (s < 0 || t < 0))
            return fail(RETORT_INVALID, "tap %s: %s has no tap of this name", name,
                        s < 0 ? student->network : teacher->network);
        if (s < 0 || t < 0)
            continue;
        taps->names[taps->count] = name;
        taps->student[taps->count] = s;
        taps->teacher[taps->count++] = t;
    }
    return RETORT_OK;
}

static enum retort_status layouts(const struct trainer_setup *setup, struct arena *arena,
                                  const struct graph *graph, const int *numbers, int count,
                                  struct tensor **made)
{
    TRY(arena_take(arena, (size_t)count * sizeof(**made), (void **)made));
    for (int i = 0; i < count; i++)
        (*made)[i] = executor_layout(graph, numbers[i], setup->train->batch, setup->precision);
    return RETORT_OK;
}

static bool many_map_teachers(const struct trainer_setup *setup)
{
    if (setup->caches_maps)
        return true; /* matrices are wanted, not the maps that stand for them with one teacher */
    return setup->teacher_count > 0
               ? setup->ensemble && ensemble_many_maps(setup->ensemble, setup->teacher_count)
               : setup->model_count > 2;
}

/* What the losses are told of the networks; their maps have no memory yet. */
static enum retort_status make_shapes(const struct trainer_setup *setup, const struct taps *taps,
                                      struct arena *arena, struct loss_shapes *shapes)
{
    const struct graph *student = &setup->models[0]->graph, *other = other_graph(setup);
    struct tensor *of_student, *of_teacher = NULL;
    TRY(layouts(setup, arena, student, taps->student, taps->count, &of_student));
    if (other)
        TRY(layouts(setup, arena, other, taps->teacher, taps->count, &of_teacher));
    *shapes = (struct loss_shapes){.n = setup->train->batch,
                                   .classes = student->classes,
                                   .tap_count = taps->count,
                                   .tap_names = taps->names,
                                   .student_taps = of_student,
                                   .teacher_taps = of_teacher,
                                   .many_map_teachers = many_map_teachers(setup)};
    return RETORT_OK;
}

/* ---- executors ---- */

/* An executor that keeps the taps that the losses use, `numbers` in its graph (NULL: none is kept);
 * student: with their gradients. which: of the students, for a dropout of its own. */
static enum retort_status make_executor(const struct trainer *trainer, const struct model *model,
                                        const int *numbers, enum executor_mode mode, int which,
                                        struct executor **executor)
{
    const struct objective *objective = trainer->students[0].objective;
    int taps[trainer->taps.count + 1];
    bool diffs[trainer->taps.count + 1];
    struct executor_options options = {.batch = trainer->setup.train->batch,
                                       .mode = mode,
                                       .precision = trainer->setup.precision,
                                       .seed = trainer->setup.seed + ((uint64_t)which << 48),
                                       .taps = taps,
                                       .tap_diffs = mode == EXECUTOR_TRAIN ? diffs : NULL,
                                       .backward_twice =
                                           mode == EXECUTOR_TRAIN && trainer->setup.balanced};
    for (int i = 0; i < trainer->taps.count && numbers; i++)
        if (objective_uses_tap(objective, i)) {
            diffs[options.tap_count] = true;
            taps[options.tap_count++] = numbers[i];
        }
    TRY(executor_create(&model->graph, &options, executor));
    return executor_load(*executor, model);
}

/* The addresses of maps, and of their gradients, once they are known. */
static enum retort_status find_maps(struct trainer *trainer, struct executor *executor,
                                    const struct tensor **taps, struct gradient **diffs)
{
    const size_t count = (size_t)trainer->taps.count;
    struct tensor *maps;
    TRY(arena_take(&trainer->arena, count * sizeof(*maps), (void **)&maps));
    if (diffs)
        TRY(arena_take(&trainer->arena, count * sizeof(**diffs), (void **)diffs));
    for (int i = 0, used = 0; i < trainer->taps.count; i++) {
        if (!objective_uses_tap(trainer->students[0].objective, i))
            continue;
        maps[i] = executor_tap(executor, used);
        if (diffs)
            (*diffs)[i].tensor = executor_diff_tap(executor, used);
        used++;
    }
    *taps = maps;
    return RETORT_OK;
}

static bool is_named(const struct parameter *parameter, const char *word)
{
    if (strcmp(word, "all") == 0)
        return true;
    if (strcmp(word, "student") == 0)
        return !adapter_owns(parameter);
    if (strcmp(word, "adapters") == 0)
        return adapter_owns(parameter);
    return strncmp(word, parameter->name, strlen(word)) == 0;
}

/* What is trained: every parameter that one of the words names. */
static enum retort_status find_frozen(struct trainer *trainer, const bool **frozen)
{
    const struct graph *graph = &trainer->setup.models[0]->graph;
    const struct text_list *moves = trainer->setup.moves;
    bool *still;
    *frozen = NULL;
    if (!moves || moves->count == 0)
        return RETORT_OK;
    TRY(arena_take(&trainer->arena, (size_t)graph->parameter_count * sizeof(*still),
                   (void **)&still));
    for (int i = 0; i < graph->parameter_count; i++)
        still[i] = true;
    for (int k = 0; k < moves->count; k++) {
        const char *word = moves->items[k];
        bool found = false;
        for (int i = 0; i < graph->parameter_count; i++) {
            if (!is_named(&graph->parameters[i], word))
                continue;
            still[i] = false;
            found = true;
        }
        if (!found && strcmp(word, "adapters"))
            return fail(RETORT_INVALID,
                        "trains: %s found, all, student, adapters or the beginning of the name of "
                        "a parameter of %s wanted",
                        word, graph->network);
    }
    for (int i = 0; i < graph->parameter_count; i++)
        if (!still[i] && graph->parameters[i].role < PARAMETER_RUNNING_MEAN) {
            *frozen = still;
            return RETORT_OK;
        }
    return fail(RETORT_INVALID,
                "trains: %s%s found, but the stage has %s: nothing would be trained",
                moves->items[0], moves->count > 1 ? ", ..." : "",
                strcmp(moves->items[0], "adapters") ? "no such parameters" : "no adapters");
}

static enum retort_status make_student(struct trainer *trainer, int which, const bool *frozen)
{
    const struct trainer_setup *setup = &trainer->setup;
    struct step_student *student = &trainer->students[which];
    student->optimizer = &trainer->optimizers[which];
    TRY(find_maps(trainer, student->executor, &student->taps, &student->diff_taps));
    TRY(optimizer_create(student->executor, &setup->models[which]->graph, setup->train,
                         student->optimizer));
    student->optimizer->frozen = frozen;
    if (setup->balanced)
        TRY(arena_take(&trainer->arena, student->optimizer->view.count * sizeof(float),
                       (void **)&student->task));
    return RETORT_OK;
}

static bool needs_teacher(const struct trainer *trainer)
{
    return objective_needs_teacher(trainer->students[0].objective);
}

/* The numbers of the taps in a teacher's graph, where its maps may be looked at, else NULL: losses
 * were told of the first one's shapes. */
static enum retort_status teacher_taps(struct trainer *trainer, int which, const int **numbers)
{
    const struct trainer_setup *setup = &trainer->setup;
    const struct graph *first = &setup->teachers[0]->graph, *graph = &setup->teachers[which]->graph;
    int *found;
    *numbers = which == 0 ? trainer->taps.teacher : NULL;
    if (which == 0 || !trainer->step.maps ||
        trainer->step.ensemble.gram_teacher == ENSEMBLE_GRAM_FIRST)
        return RETORT_OK;
    TRY(arena_take(&trainer->arena, (size_t)trainer->taps.count * sizeof(*found), (void **)&found));
    for (int i = 0; i < trainer->taps.count; i++) {
        const struct shape wanted = graph_tap_shape(first, trainer->taps.teacher[i]);
        found[i] = graph_find_tap(graph, trainer->taps.names[i]);
        struct shape shape = {0};
        if (found[i] >= 0)
            shape = graph_tap_shape(graph, found[i]);
        if (shape.c != wanted.c || shape.h != wanted.h || shape.w != wanted.w)
            return fail(RETORT_INVALID,
                        "tap %s: %s of teacher %d has %dx%dx%d, the first teacher %dx%dx%d: equal "
                        "ones wanted, or ensemble.gram_teacher: first",
                        trainer->taps.names[i], graph->network, which + 1, shape.c, shape.h,
                        shape.w, wanted.c, wanted.h, wanted.w);
    }
    *numbers = found;
    return RETORT_OK;
}

static enum retort_status make_teacher(struct trainer *trainer, int which)
{
    const int *numbers;
    TRY(teacher_taps(trainer, which, &numbers));
    TRY(make_executor(trainer, trainer->setup.teachers[which], numbers, EXECUTOR_INFER, 0,
                      &trainer->teachers[which].executor));
    trainer->step.teacher_count = which + 1;
    return RETORT_OK;
}

/* It has its memory: maps can be found. */
static enum retort_status settle_teacher(struct trainer *trainer, int which)
{
    struct step_teacher *teacher = &trainer->teachers[which];
    const bool first = trainer->step.ensemble.gram_teacher == ENSEMBLE_GRAM_FIRST;
    TRY(executor_bind(teacher->executor, trainer->workspaces[0]));
    if (which == 0 || !first)
        TRY(find_maps(trainer, teacher->executor, &teacher->taps, NULL));
    trainer->teacher_hashes[which] = executor_hash(teacher->executor);
    return RETORT_OK;
}

/* Executors that never run at the same time share memory: teachers and the first student. */
static enum retort_status make_executors(struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    const int teachers = needs_teacher(trainer) ? setup->teacher_count : 0;
    size_t bytes = 0;
    for (int i = 0; i < setup->model_count; i++)
        TRY(make_executor(trainer, setup->models[i], trainer->taps.student, EXECUTOR_TRAIN, i,
                          &trainer->students[i].executor));
    for (int i = 0; i < teachers; i++) {
        TRY(make_teacher(trainer, i));
        const size_t more = executor_workspace(trainer->teachers[i].executor);
        bytes = more > bytes ? more : bytes;
    }
    for (int i = 0; i < setup->model_count; i++) {
        const size_t own = executor_workspace(trainer->students[i].executor);
        TRY(memory_aligned(i == 0 && bytes > own ? bytes : own, &trainer->workspaces[i]));
        TRY(executor_bind(trainer->students[i].executor, trainer->workspaces[i]));
    }
    for (int i = 0; i < teachers; i++)
        TRY(settle_teacher(trainer, i));
    return RETORT_OK;
}

/* ---- the teachers' cache ---- */

enum { COMPARED = 256 }; /* rows of a cache that is found */

/* Whatever decides what a teacher says of an image's view. */
static uint64_t cache_hash(const struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    const struct dataset *dataset = setup->dataset;
    const struct image_set *set = &dataset->train;
    const int numbers[] = {set->channels, set->height,  set->width,
                           set->count,    setup->views, (int)setup->precision};
    uint64_t hash = hash_bytes(HASH_START, trainer->teacher_hashes,
                               (size_t)trainer->step.teacher_count * sizeof(uint64_t));
    hash = hash_bytes(hash, numbers, sizeof(numbers));
    hash = hash_bytes(hash, &setup->seed, sizeof(setup->seed));
    hash = hash_bytes(hash, dataset->mean, sizeof(dataset->mean));
    hash = hash_bytes(hash, set->labels, (size_t)set->count * sizeof(*set->labels));
    if (set->rows)
        hash = hash_bytes(hash, set->rows, (size_t)set->count * sizeof(*set->rows));
    return loading_hash(hash, setup->data);
}

static struct cache_key cache_key(const struct trainer *trainer)
{
    return (struct cache_key){.teachers = trainer->step.teacher_count,
                              .images = trainer->setup.dataset->train.count,
                              .views = trainer->setup.views,
                              .classes = trainer->step.classes,
                              .hash = cache_hash(trainer)};
}

/* Which matrices are kept is a matter of the loss's settings and of both networks' taps. */
static struct cache_key maps_key(const struct trainer *trainer, struct cache_key key, size_t floats)
{
    const struct gram_settings *settings = trainer->setup.losses[LOSS_gram];
    const struct graph *student = &trainer->setup.models[0]->graph;
    const char *names[2];
    key.teachers = 1;
    key.classes = (int)floats;
    key.hash = hash_bytes(key.hash, &settings->pool, sizeof(settings->pool));
    for (int i = 0; trainer_pair(trainer, i, names); i++)
        for (int side = 0; side < 2; side++)
            key.hash = hash_bytes(key.hash, names[side], strlen(names[side]) + 1);
    for (int i = 0; i < trainer->taps.count; i++) {
        const struct shape shape = graph_tap_shape(student, trainer->taps.student[i]);
        const int sizes[] = {shape.c, shape.h, shape.w};
        key.hash = hash_bytes(key.hash, sizes, sizeof(sizes));
    }
    return key;
}

/* Of the one teacher whose maps are looked at. */
static enum retort_status open_maps_cache(struct trainer *trainer)
{
    struct cache_key key = cache_key(trainer);
    size_t floats;
    bool found;
    if (!trainer->setup.caches_maps || !trainer->step.maps)
        return RETORT_OK;
    if (!objective_kept(trainer->students[0].objective, &floats))
        return fail(RETORT_INVALID, "cache_maps: on, but it is for the loss gram alone: the other "
                                    "losses on feature maps keep nothing that could be stored");
    if (trainer->step.teacher_count > 1 &&
        trainer->step.ensemble.gram_teacher != ENSEMBLE_GRAM_FIRST)
        return fail(RETORT_INVALID, "cache_maps: on, but ensemble.gram_teacher is not first");
    if (!trainer->setup.maps_cache)
        return RETORT_OK;
    key = maps_key(trainer, key, floats);
    TRY(arena_take(&trainer->arena, floats * sizeof(float), (void **)&trainer->step.cached_maps));
    TRY(cache_open(trainer->setup.maps_cache, &key, &trainer->step.maps_cache, &found));
    trainer->unchecked = found ? COMPARED : trainer->unchecked;
    return RETORT_OK;
}

static enum retort_status open_cache(struct trainer *trainer)
{
    const struct cache_key key = cache_key(trainer);
    const size_t logits = (size_t)trainer->step.n * (size_t)trainer->step.classes;
    bool found;
    if (!trainer->setup.caches || key.teachers == 0)
        return RETORT_OK;
    if (!trainer->setup.cache)
        return open_maps_cache(trainer);
    TRY(arena_take(&trainer->arena, logits * sizeof(float), (void **)&trainer->step.cached));
    TRY(cache_open(trainer->setup.cache, &key, &trainer->step.cache, &found));
    trainer->unchecked = found ? COMPARED : 0;
    return open_maps_cache(trainer);
}

bool trainer_teachers_rest(const struct trainer *trainer)
{
    return trainer->setup.caches && (!trainer->step.maps || trainer->setup.caches_maps);
}

size_t trainer_cache_bytes(const struct trainer *trainer)
{
    struct cache_key key = cache_key(trainer);
    size_t floats;
    if (!trainer->setup.caches || key.teachers == 0)
        return 0;
    const size_t logits = cache_bytes(&key);
    if (!trainer->setup.caches_maps || !trainer->step.maps)
        return logits;
    objective_kept(trainer->students[0].objective, &floats);
    key = maps_key(trainer, key, floats);
    return logits + cache_bytes(&key);
}

/* ---- making one ---- */

static enum retort_status make_places(struct trainer *trainer)
{
    const size_t students = (size_t)trainer->setup.model_count;
    const size_t teachers = (size_t)trainer->setup.teacher_count + 1;
    struct train_step *step = &trainer->step;
    const size_t logits = (size_t)step->n * (size_t)step->classes;
    struct arena *arena = &trainer->arena;
    TRY(arena_take(arena, students * sizeof(*trainer->students), (void **)&trainer->students));
    TRY(arena_take(arena, students * sizeof(*trainer->optimizers), (void **)&trainer->optimizers));
    TRY(arena_take(arena, students * sizeof(*trainer->values), (void **)&trainer->values));
    TRY(arena_take(arena, students * sizeof(*trainer->workspaces), (void **)&trainer->workspaces));
    TRY(arena_take(arena, teachers * sizeof(*trainer->teachers), (void **)&trainer->teachers));
    TRY(arena_take(arena, teachers * sizeof(uint64_t), (void **)&trainer->teacher_hashes));
    TRY(arena_take(arena, teachers * sizeof(*step->members), (void **)&step->members));
    TRY(arena_take(arena, logits * sizeof(float), (void **)&step->logits));
    step->students = trainer->students;
    step->teachers = trainer->teachers;
    return RETORT_OK;
}

static enum retort_status make_objectives(struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    struct loss_shapes shapes;
    TRY(choose_taps(setup, &trainer->arena, &trainer->taps));
    TRY(make_shapes(setup, &trainer->taps, &trainer->arena, &shapes));
    for (int i = 0; i < setup->model_count; i++)
        TRY(objective_create(setup->losses, &shapes, &trainer->students[i].objective));
    for (int i = 0; i < trainer->taps.count; i++)
        trainer->step.maps |= objective_uses_tap(trainer->students[0].objective, i);
    return RETORT_OK;
}

static enum retort_status make_statistics(struct trainer *trainer)
{
    size_t count, all = 0;
    for (int i = 0; i < trainer->setup.model_count; i++) {
        executor_statistics(trainer->students[i].executor, &count);
        all += count;
    }
    return arena_take(&trainer->arena, all * sizeof(float) + 1, (void **)&trainer->statistics);
}

enum retort_status trainer_check(const struct trainer_setup *setup)
{
    for (int i = 0; i < setup->model_count; i++)
        TRY(fit_shapes(&setup->models[i]->graph, setup->dataset));
    for (int i = 0; i < setup->teacher_count; i++)
        TRY(fit_shapes(&setup->teachers[i]->graph, setup->dataset));
    return RETORT_OK;
}

enum retort_status trainer_build(struct trainer *trainer)
{
    const struct trainer_setup *setup = &trainer->setup;
    const bool *frozen;
    trainer->step = (struct train_step){.student_count = setup->model_count,
                                        .n = setup->train->batch,
                                        .classes = setup->models[0]->graph.classes,
                                        .seed = setup->seed,
                                        .skips = setup->train->not_finite == NOT_FINITE_SKIP};
    trainer->step.ensemble =
        setup->ensemble ? *setup->ensemble : (struct ensemble){.rule = ENSEMBLE_MEAN};
    TRY(make_places(trainer));
    TRY(make_loader(trainer));
    TRY(make_objectives(trainer));
    TRY(make_executors(trainer));
    TRY(open_cache(trainer));
    TRY(find_frozen(trainer, &frozen));
    for (int i = 0; i < setup->model_count; i++)
        TRY(make_student(trainer, i, frozen));
    return trainer->step.skips ? make_statistics(trainer) : RETORT_OK;
}

/* ---- adapters ---- */

static enum retort_status probe(const struct trainer_setup *setup, struct arena *arena,
                                struct objective **objective, const char **names, int *channels,
                                int *count)
{
    const void *losses[LOSS_COUNT] = {0};
    struct taps taps;
    struct loss_shapes shapes;
    TRY(choose_taps(setup, arena, &taps));
    TRY(make_shapes(setup, &taps, arena, &shapes));
    if (!shapes.teacher_taps)
        return RETORT_OK;
    struct tensor *adapted = (struct tensor *)shapes.student_taps; /* ours, from the arena */
    bool differs[taps.count + 1];
    for (int i = 0; i < taps.count; i++) {
        differs[i] = adapted[i].c != shapes.teacher_taps[i].c;
        adapted[i].c = shapes.teacher_taps[i].c;
    }
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        if (loss_of((enum loss_kind)kind)->same_channels)
            losses[kind] = setup->losses[kind];
    TRY(objective_create(losses, &shapes, objective));
    for (int i = 0; i < taps.count; i++)
        if (differs[i] && objective_uses_tap(*objective, i)) {
            names[*count] = taps.names[i];
            channels[(*count)++] = shapes.teacher_taps[i].c;
        }
    return RETORT_OK;
}

enum retort_status trainer_adapters(const struct trainer_setup *setup, const char **names,
                                    int *channels, int *count)
{
    struct arena arena = {0};
    struct objective *objective = NULL;
    *count = 0;
    const enum retort_status status = probe(setup, &arena, &objective, names, channels, count);
    objective_destroy(objective);
    arena_release(&arena);
    return status;
}
