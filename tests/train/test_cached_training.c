/* test_cached_training.c - a training whose teachers are cached: it teaches what the teachers
 * would, asks them once about each view, and notices what others wrote. The file itself is tested
 * in test_teacher_cache.c. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/engine/executor.h"
#include "tiny.h"
#include "train/teacher_cache.h"
#include "train/trainer_parts.h"
#include "training_fixture.h"

static void open_cached(struct fixture *f, const char *name)
{
    char maps[64];
    fixture_open(f);
    snprintf(maps, sizeof(maps), "maps-%s", name);
    f->setup.views = 2;
    f->setup.teacher_count = 2;
    f->setup.caches = f->setup.caches_maps = true;
    f->setup.cache = strdup(support_path(name));
    f->setup.maps_cache = strdup(support_path(maps));
}

/* Every image is in every epoch. */
static void keep_all_images(struct fixture *f)
{
    f->dataset.train.count = TRAIN_IMAGES / BATCH * BATCH;
}

static void close_cached(struct fixture *f)
{
    free((void *)f->setup.cache);
    free((void *)f->setup.maps_cache);
    fixture_close(f);
}

static void a_full_cache_teaches_what_the_teachers_did(void **state)
{
    struct fixture first, second;
    open_cached(&first, "teachers.cache");
    open_cached(&second, "teachers.cache");
    fixture_train(&first.setup, 3);
    fixture_train(&second.setup, 3);
    tiny_assert_equal(&first.student, &second.student);
    close_cached(&first);
    close_cached(&second);
}

/* Teachers whose weights are gone teach all the same, once every view was seen: also those that
 * were not drawn at that time. */
static void check_not_asked_again(const struct ensemble *ensemble, const char *const names[2])
{
    struct fixture f[2];
    for (int i = 0; i < 2; i++) {
        struct trainer *trainer;
        struct training_report report;
        open_cached(&f[i], names[i]);
        f[i].teachers[1] = &f[i].peer;
        f[i].setup.ensemble = ensemble;
        keep_all_images(&f[i]);
        assert_ok(trainer_create(&f[i].setup, &trainer));
        assert_true(trainer_cache_bytes(trainer) > 4096);
        for (int epoch = 0; epoch < 4; epoch++) {
            for (int t = 0; t < 2 && i == 1 && epoch == 2; t++) {
                struct parameter_view view = executor_parameters(trainer->teachers[t].executor);
                memset(view.values, 0, view.count * sizeof(float));
            }
            assert_ok(trainer_epoch(trainer, epoch, NULL, NULL, NULL, &report));
        }
        assert_ok(trainer_store(trainer));
        trainer_destroy(trainer);
    }
    tiny_assert_equal(&f[0].student, &f[1].student);
    close_cached(&f[0]);
    close_cached(&f[1]);
}

static void teachers_are_not_asked_again(void **state)
{
    const struct ensemble drawn = {.rule = ENSEMBLE_RANDOM_K, .k = 1},
                          mean = {.rule = ENSEMBLE_MEAN};
    check_not_asked_again(&mean, (const char *const[]){"intact.cache", "gone.cache"});
    check_not_asked_again(&drawn, (const char *const[]){"intact-1.cache", "gone-1.cache"});
}

/* In place of the fixture's, which have two taps. */
static void take_network(const char *text, uint64_t seed, struct model *model)
{
    struct graph graph = {0};
    model_release(model);
    assert_ok(network_build(text, TINY_CLASSES, (struct shape){TINY_CHANNELS, TINY_SIDE, TINY_SIDE},
                            &graph));
    assert_ok(model_create(&graph, model));
    model_initialise(model, seed);
}

/* What is kept of maps is a matter of pairs and pooling: a stage with others does not find it, as
 * large as its rows may be. */
static void maps_of_other_settings_are_not_found(void **state)
{
    static const char *const settings[] = {"pairs=stem-stage1", "pairs=stage1-stage2",
                                           "pairs=stage1-stage2,pool=max"};
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        struct training_report report[2];
        for (int fresh = 0; fresh < 2; fresh++) {
            open_cached(&f, fresh ? "fresh.cache" : "used.cache");
            take_network("resnet:depth=8,widths=6-6-6-6", 1, &f.teacher);
            take_network("resnet:depth=8,widths=6-6-6-6", 2, &f.student);
            keep_all_images(&f);
            if (fresh) {
                remove(f.setup.cache);
                remove(f.setup.maps_cache);
            }
            fixture_loss_with(&f, LOSS_gram, settings[i]);
            report[fresh] = fixture_train(&f.setup, 3);
            close_cached(&f);
        }
        assert_true(report[0].value.raw[LOSS_gram] == report[1].value.raw[LOSS_gram]);
    }
}

/* Maps alone, when the logits are gone, are compared as well. */
static void maps_of_others_are_noticed_without_logits(void **state)
{
    float others[4096];
    for (int i = 0; i < 4096; i++)
        others[i] = 30 - (float)(i % 7);
    struct fixture f;
    struct trainer *trainer;
    struct training_report report;
    open_cached(&f, "alone.cache");
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_ok(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report));
    for (int image = 0; image < TRAIN_IMAGES; image++)
        for (int view = 0; view < 2; view++)
            if (cache_has(trainer->step.maps_cache, 0, image, view))
                cache_put(trainer->step.maps_cache, 0, image, view, others);
    trainer_destroy(trainer);
    remove(f.setup.cache);
    assert_ok(trainer_create(&f.setup, &trainer));
    assert_fails(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report), RETORT_FORMAT,
                 "maps-alone.cache: Gram matrix entry ");
    trainer_destroy(trainer);
    close_cached(&f);
}

/* Without a cache for maps the teacher whose maps are looked at runs in every step. */
static void logits_alone_may_be_kept(void **state)
{
    struct fixture f, without;
    struct training_report kept, live;
    open_cached(&f, "logits.cache");
    f.setup.caches_maps = false;
    kept = fixture_train(&f.setup, 3);
    fixture_open(&without);
    without.setup.views = 2;
    without.setup.teacher_count = 2;
    live = fixture_train(&without.setup, 3);
    assert_float_equal(kept.value.total, live.value.total, 0.01 * live.value.total);
    close_cached(&f);
    fixture_close(&without);
}

static void maps_that_cannot_be_kept_are_refused(void **state)
{
    struct fixture f;
    struct trainer *trainer;
    const struct ensemble any = {.rule = ENSEMBLE_MEAN, .gram_teacher = ENSEMBLE_GRAM_RANDOM};
    open_cached(&f, "refused.cache");
    f.setup.ensemble = &any;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "gram_teacher is not first");
    f.setup.ensemble = NULL;
    fixture_loss(&f, LOSS_hint);
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "for the loss gram alone");
    free((void *)f.setup.cache); /* the same before there are files */
    free((void *)f.setup.maps_cache);
    f.setup.cache = f.setup.maps_cache = NULL;
    assert_fails(trainer_create(&f.setup, &trainer), RETORT_INVALID, "for the loss gram alone");
    close_cached(&f);
}

/* Rows of the first epoch whose checksums are right and which other teachers wrote: noticed when
 * they are met again, two epochs later, by a trainer that found the cache. */
static void a_cache_of_others_is_noticed(void **state)
{
    static const char *const messages[] = {"logit", "Gram matrix entry"};
    float others[4096];
    for (int i = 0; i < 4096; i++)
        others[i] = 30 - (float)(i % 7);
    for (int maps = 0; maps < 2; maps++) {
        struct fixture f;
        struct trainer *trainer;
        struct training_report report;
        open_cached(&f, maps ? "others-maps.cache" : "others.cache");
        assert_ok(trainer_create(&f.setup, &trainer));
        assert_ok(trainer_epoch(trainer, 0, NULL, NULL, NULL, &report));
        struct teacher_cache *cache = maps ? trainer->step.maps_cache : trainer->step.cache;
        for (int image = 0; image < TRAIN_IMAGES; image++)
            for (int view = 0; view < 2; view++)
                if (cache_has(cache, !maps, image, view))
                    cache_put(cache, !maps, image, view, others);
        trainer_destroy(trainer);
        assert_ok(trainer_create(&f.setup, &trainer));
        assert_ok(trainer_epoch(trainer, 1, NULL, NULL, NULL, &report));
        assert_fails(trainer_epoch(trainer, 2, NULL, NULL, NULL, &report), RETORT_FORMAT,
                     messages[maps]);
        trainer_destroy(trainer);
        close_cached(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_cache_teaches_what_the_teachers_did),
        cmocka_unit_test(teachers_are_not_asked_again),
        cmocka_unit_test(maps_of_other_settings_are_not_found),
        cmocka_unit_test(logits_alone_may_be_kept),
        cmocka_unit_test(maps_that_cannot_be_kept_are_refused),
        cmocka_unit_test(a_cache_of_others_is_noticed),
        cmocka_unit_test(maps_of_others_are_noticed_without_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
