/* test_recipe.c - recipes good and bad: what is read, what is refused and how it is said. */
#include "support.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "recipe/recipe.h"

#define DATA    "data: {set: fashion-mnist}\n"
#define TEACHER "teacher: {network: \"resnet:depth=20\"}\n"
#define STUDENT "student: {network: \"resnet:depth=8\"}\n"
#define STAGES  "distill: {stages: [{losses: {ce: {}}}]}\n"
#define GOOD    "name: x\n" DATA TEACHER STUDENT STAGES /* five lines */

static const char design[] =
    "name: resnet32-resnet8\n"
    "seed: 1\n"
    "data: {set: cifar100, path: data/cifar-100-binary, augment: [flip, crop], limit: 0}\n"
    "teacher: {network: \"resnet:depth=32\", count: 1, train: {budget: quick}}\n"
    "student: {network: \"resnet:depth=8\", train: {budget: quick}}\n"
    "distill:\n"
    "  stages:\n"
    "    - {epochs: 30, losses: {ce: {weight: 1}, kl: {weight: 1, temperature: 1}, gram: "
    "{weight: 1, pairs: all, pool: max, norm: mean}}}\n";

static const char *write_text(const char *text, size_t size)
{
    const char *path = support_path("recipe.yaml");
    assert_ok(file_write(path, text, size));
    return path;
}

static enum retort_status load(const char *text, const char *override, struct recipe *recipe)
{
    return recipe_load(write_text(text, strlen(text)), &override, override != NULL, recipe);
}

static const struct recipe_stage *stage_of(const struct recipe *recipe)
{
    return recipe->distill.stages.items;
}

/* A number of a loss, through the loss's own table. */
static double loss_number(const struct recipe *recipe, enum loss_kind kind, const char *name)
{
    const struct setting *row = settings_find(loss_of(kind)->settings, name);
    const char *settings = stage_of(recipe)->losses.settings[kind];
    assert_non_null(row);
    assert_non_null(settings);
    return *(const double *)(settings + row->offset);
}

static void the_recipe_of_the_design_is_read(void **state)
{
    struct recipe recipe;
    assert_ok(load(design, NULL, &recipe));
    assert_string_equal(recipe.name, "resnet32-resnet8");
    assert_string_equal(recipe.data.path, "data/cifar-100-binary");
    assert_int_equal(recipe.data.augment.count, 2);
    assert_string_equal(recipe.data.augment.items[1], "crop");
    assert_string_equal(recipe.teacher.network, "resnet:depth=32");
    assert_int_equal(recipe.distill.stages.count, 1);
    assert_true(loss_number(&recipe, LOSS_kl, "temperature") == 1);
    assert_non_null(stage_of(&recipe)->losses.settings[LOSS_gram]);
    assert_int_equal(recipe.student.train.epochs, 30);
    recipe_release(&recipe);
}

static void what_is_not_said_has_its_default(void **state)
{
    struct recipe recipe;
    assert_ok(load(GOOD, NULL, &recipe));
    const struct recipe_train *train = &recipe.student.train;
    assert_int_equal(recipe.seed, 1);
    assert_int_equal(recipe.threads, 0);
    assert_int_equal(recipe.precision, PRECISION_F32);
    assert_string_equal(recipe.data.path, "");
    assert_int_equal(recipe.data.augment.count, 2);
    assert_int_equal(recipe.data.pad, 4);
    assert_int_equal(recipe.data.loader_threads, 1);
    assert_int_equal(recipe.teacher.count, 1);
    assert_true(recipe.student.baseline);
    assert_int_equal(train->batch, 128);
    assert_true(train->momentum == 0.9 && train->nesterov && train->weight_decay == 5e-4);
    assert_int_equal(train->decay, DECAY_ALL);
    assert_true(train->warmup == 0.2);
    assert_null(stage_of(&recipe)->losses.settings[LOSS_kl]);
    recipe_release(&recipe);
}

static void a_budget_gives_epochs_schedule_and_rate(void **state)
{
    struct recipe recipe;
    assert_ok(load("name: x\n" DATA STAGES "teacher: {network: t, train: {budget: full}}\n"
                   "student: {network: s, train: {budget: full, schedule: one-cycle}}\n",
                   NULL, &recipe));
    const struct recipe_train *teacher = &recipe.teacher.train, *student = &recipe.student.train;
    assert_int_equal(teacher->epochs, 200);
    assert_int_equal(teacher->schedule, SCHEDULE_STEP);
    assert_true(teacher->lr == 0.1 && teacher->gamma == 0.1);
    assert_int_equal(teacher->milestones.count, 3);
    assert_int_equal(teacher->milestones.items[2], 80);
    assert_int_equal(student->epochs, 200);
    assert_int_equal(student->schedule, SCHEDULE_ONE_CYCLE);
    assert_true(student->lr == 0.2);
    assert_int_equal(recipe.student.train.epochs, 200);
    recipe_release(&recipe);
    assert_ok(load(GOOD, "student.train.lr=0.05", &recipe));
    assert_int_equal(student->epochs, 30);
    assert_int_equal(student->schedule, SCHEDULE_ONE_CYCLE);
    assert_true(student->lr == 0.05);
    recipe_release(&recipe);
}

static void the_plain_student_has_as_many_epochs(void **state)
{
    struct recipe recipe;
    assert_ok(load(GOOD, "student.train.epochs=7", &recipe));
    assert_int_equal(recipe.student.train.epochs, 7);
    recipe_release(&recipe);
    assert_ok(load(GOOD, "distill.stages.0.epochs=9", &recipe));
    assert_int_equal(recipe.student.train.epochs, 9);
    recipe_release(&recipe);
}

static void an_empty_list_is_not_the_default(void **state)
{
    struct recipe recipe;
    assert_ok(load("name: x\ndata: {set: s, augment: []}\n" TEACHER STUDENT STAGES, NULL, &recipe));
    assert_int_equal(recipe.data.augment.count, 0);
    recipe_release(&recipe);
}

static void a_single_value_is_a_list_of_one(void **state)
{
    struct recipe recipe;
    assert_ok(load("name: x\ndata: {set: s, augment: crop}\n" STUDENT STAGES
                   "teacher:\n  weights: a-\u00e9.safetensors\n",
                   NULL, &recipe));
    assert_int_equal(recipe.data.augment.count, 1);
    assert_string_equal(recipe.data.augment.items[0], "crop");
    assert_string_equal(recipe.teacher.weights.items[0], "a-\u00e9.safetensors");
    recipe_release(&recipe);
}

static void overrides_win(void **state)
{
    static const char *const overrides[] = {
        "name=other",
        "data.augment=[flip]",
        "data.augment=flip,crop",
        "data.augment=[flip]",
        "student.baseline=no",
        "distill.stages.0.losses.gram.weight=2",
        "distill.stages.0.losses.kl=on",
        "distill.stages.0.losses.ce=off",
        "teacher.train.schedule=step",
        "teacher.train.milestones=10-20",
        "data.path=/a=b,c",
    };
    struct recipe recipe;
    assert_ok(recipe_load(write_text(GOOD, strlen(GOOD)), overrides,
                          sizeof(overrides) / sizeof(overrides[0]), &recipe));
    assert_string_equal(recipe.name, "other");
    assert_int_equal(recipe.data.augment.count, 1);
    assert_false(recipe.student.baseline);
    assert_true(loss_number(&recipe, LOSS_gram, "weight") == 2);
    assert_true(loss_number(&recipe, LOSS_kl, "weight") == 1);
    assert_null(stage_of(&recipe)->losses.settings[LOSS_ce]);
    assert_int_equal(recipe.teacher.train.milestones.items[1], 20);
    assert_string_equal(recipe.data.path, "/a=b,c");
    recipe_release(&recipe);
}

static void bad_recipes_are_refused_in_one_sentence(void **state)
{
    static const struct {
        const char *text;
        enum retort_status status;
        const char *says;
    } rows[] = {
        /* the text */
        {"", RETORT_FORMAT, "recipe.yaml: empty"},
        {"# nothing\n", RETORT_FORMAT, "recipe.yaml: empty"},
        {"---\n...\n", RETORT_FORMAT, "recipe.yaml:2:1: a recipe is a mapping"},
        {"[1, 2]", RETORT_FORMAT, "recipe.yaml:1:1: a recipe is a mapping"},
        {"hello", RETORT_FORMAT, "recipe.yaml:1:1: a recipe is a mapping"},
        {"name: \"x\n", RETORT_FORMAT, "recipe.yaml:2:1: found unexpected end of stream"},
        {"name: x\n  seed: 3\n", RETORT_FORMAT, "recipe.yaml:2:7: mapping values are not allowed"},
        {"name: \x01\n", RETORT_FORMAT, "recipe.yaml: byte 6: control characters"},
        {"name: \xff\n", RETORT_FORMAT, "recipe.yaml: byte 6: invalid leading UTF-8"},
        {"name: \"a\\0b\"\n", RETORT_FORMAT, "recipe.yaml:1:7: a zero byte"},
        {GOOD "---\n" GOOD, RETORT_FORMAT, "recipe.yaml:6:1: a second document"},
        {"? [a]\n: b\n", RETORT_FORMAT, "recipe.yaml:1:3: the name of a setting was expected"},
        {"name: &a x\n", RETORT_FORMAT, "recipe.yaml:1:7: anchors and aliases"},
        {"name: *a\n", RETORT_FORMAT, "recipe.yaml:1:7: anchors and aliases"},
        {"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", RETORT_FORMAT, "recipe.yaml:1:4: anchors"},
        /* names */
        {GOOD "nmae: y\n", RETORT_FORMAT,
         "recipe.yaml:6: nmae: unknown setting (did you mean name?), known are name, seed"},
        {GOOD "ensemble: {k: 2}\n", RETORT_FORMAT, "recipe.yaml:6: ensemble: unknown setting"},
        {"name: x\n" DATA TEACHER STUDENT "distill:\n  stages:\n    - losses:\n        ce: {}\n"
         "        kl: {temprature: 4}\n",
         RETORT_FORMAT,
         "recipe.yaml:9: distill.stages.0.losses.kl.temprature: unknown setting (did you mean "
         "temperature?)"},
        {"name: x\n" DATA TEACHER STUDENT "distill:\n  stages:\n    - losses:\n        ec: {}\n",
         RETORT_FORMAT, "recipe.yaml:8: distill.stages.0.losses.ec: unknown setting"},
        {GOOD "name: y\n", RETORT_FORMAT, "recipe.yaml:6: name: given twice"},
        {"name: x\ndata:\n  set: a\n  pad: 1\n  set: b\n", RETORT_FORMAT,
         "recipe.yaml:5: data.set: given twice"},
        /* types */
        {"seed: many\n", RETORT_INVALID, "recipe.yaml:1: seed: many found, a whole number"},
        {"seed: 1.5\n", RETORT_INVALID, "seed: 1.5 found, a whole number"},
        {"seed: 99999999999\n", RETORT_INVALID, "seed: 99999999999 found"},
        {"seed: 0x10\n", RETORT_INVALID, "seed: 0x10 found"},
        {"seed: 010x\n", RETORT_INVALID, "seed: 010x found"},
        {"student: {train: {lr: 1,5}}\n", RETORT_FORMAT, "student.train.5: unknown setting"},
        {"student: {train: {lr: 1.5 %}}\n", RETORT_INVALID, "student.train.lr: 1.5 % found"},
        {"student: {baseline: flase}\n", RETORT_INVALID, "student.baseline: flase found"},
        {"seed:\n", RETORT_INVALID, "recipe.yaml:1: seed: nothing found"},
        {"seed: [1]\n", RETORT_FORMAT, "seed: a list found, a whole number"},
        {"name: {a: b}\n", RETORT_FORMAT, "name: a group of settings found, a text wanted"},
        {"data: fashion-mnist\n", RETORT_FORMAT,
         "recipe.yaml:1: data: fashion-mnist found, settings of data wanted"},
        {"data:\n  pad: x\n", RETORT_INVALID, "recipe.yaml:2: data.pad: x found"},
        {"precision: f16\n", RETORT_INVALID, "precision: f16 found, one of f32, bf16 wanted"},
        {"student: {baseline: perhaps}\n", RETORT_INVALID,
         "student.baseline: perhaps found, true or false wanted"},
        {"student: {train: {lr: high}}\n", RETORT_INVALID,
         "student.train.lr: high found, a number"},
        {"student: {train: {milestones: [1,\n x]}}\n", RETORT_INVALID,
         "recipe.yaml:2: student.train.milestones.1: x found, a whole number from 1 to 99"},
        {"distill: {stages: {epochs: 3}}\n", RETORT_FORMAT,
         "distill.stages: a group of settings found, a list of settings of stage wanted"},
        {"distill: {stages: [3]}\n", RETORT_FORMAT,
         "distill.stages.0: 3 found, settings of stage wanted"},
        {"distill: {stages: [{losses: {ce: 1}}]}\n", RETORT_FORMAT,
         "distill.stages.0.losses.ce: 1 found, settings of ce wanted"},
        {"distill: {stages: [{losses: {ce: {}}}, {losses: [ce]}]}\n", RETORT_FORMAT,
         "distill.stages.1.losses: a list found, settings of losses wanted"},
        {"distill: {taps: [a, [b]]}\n", RETORT_FORMAT, "distill.taps.1: a list found, a text"},
        /* values */
        {"{}", RETORT_INVALID, "recipe.yaml:1: name: nothing found, a text wanted"},
        {"name: x\n" DATA TEACHER STAGES, RETORT_INVALID,
         "student.network: nothing found, a text wanted"},
        {"name: x\n" DATA TEACHER "student: {network: ''}\n" STAGES, RETORT_INVALID,
         "recipe.yaml:4: student.network: nothing found, a network wanted"},
        {"name: x\n" TEACHER STUDENT STAGES, RETORT_INVALID, "data.set: nothing found"},
        {"name: a/b\n" DATA TEACHER STUDENT STAGES, RETORT_INVALID, "name: a/b found"},
        {"name: ..\n" DATA TEACHER STUDENT STAGES, RETORT_INVALID, "name: .. found"},
        {"name: ''\n" DATA TEACHER STUDENT STAGES, RETORT_INVALID, "name: nothing found"},
        {GOOD "seed: -1\n", RETORT_INVALID, "recipe.yaml:6: seed: -1 found, a whole number of at"},
        {"name: x\n" DATA TEACHER STUDENT
         "distill:\n  stages:\n    - epochs: 3\n      losses:\n        ce: {}\n        kl:\n"
         "          weight: 1\n          temperature: -1\n",
         RETORT_INVALID,
         "recipe.yaml:12: distill.stages.0.losses.kl.temperature: -1 found, a number from"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {kl: {temperature: 0}}}]}\n",
         RETORT_INVALID, "recipe.yaml:5: distill.stages.0.losses.kl.temperature: 0 found"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{epochs: -2, losses: {kl: {}}}]}\n",
         RETORT_INVALID, "distill.stages.0.epochs: -2 found, a whole number from 0 to 100000"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {kl: {weight: nan}}}]}\n",
         RETORT_INVALID, "distill.stages.0.losses.kl.weight: nan found"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {kl: {weight: 1e999}}}]}\n",
         RETORT_INVALID, "distill.stages.0.losses.kl.weight: inf found"},
        {"name: x\ndata:\n  set: x\n  augment: [flip,\n    spin]\n" TEACHER STUDENT STAGES,
         RETORT_INVALID,
         "recipe.yaml:5: data.augment.1: spin found, one of flip, alternating-flip, crop, rotate, "
         "cutout, jitter, mixup, cutmix wanted"},
        {"name: x\n" DATA TEACHER STAGES "student: {network: s, train: {warmup: 1.5}}\n",
         RETORT_INVALID, "recipe.yaml:5: student.train.warmup: 1.5 found, a number from 0 to 1"},
        {"name: x\n" DATA TEACHER STAGES "student: {network: s, train: {milestones: [30, 100]}}\n",
         RETORT_INVALID, "student.train.milestones.1: 100 found, a whole number from 1 to 99"},
        {"name: x\n" DATA STUDENT STAGES "teacher: {network: s, train: {milestones: [50, 30]}}\n",
         RETORT_INVALID, "recipe.yaml:5: teacher.train.milestones: 30 found after 50"},
        /* combinations */
        {"name: x\n" DATA STUDENT STAGES, RETORT_INVALID,
         "teacher: neither network nor weights found"},
        {"name: x\n" DATA STUDENT STAGES "teacher: {network: s, weights: [a]}\n", RETORT_INVALID,
         "recipe.yaml:5: teacher: network and weights found, one of them wanted"},
        {"name: x\n" DATA STUDENT STAGES "teacher: {network: s, count: 0}\n", RETORT_INVALID,
         "teacher.count: 0 found, but the recipe names a teacher"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\n"
         "distill: {stages: [{losses: {ce: {}, kl: {}}}]}\n",
         RETORT_INVALID, "distill.stages has losses that need a teacher"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\n", RETORT_INVALID,
         "teacher.count: 0 found"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {preset: fsp, stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.preset: found beside distill.stages"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {peers: 2, stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.peers: 2 found, but there are teachers too"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\ndistill: {peers: 2}\n", RETORT_INVALID,
         "distill.stages: none found, but peers are"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\n"
         "distill: {peers: 2, stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.peers: 2 found, but no loss of distill.stages asks"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\n"
         "distill: {generations: 3, stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.generations: 3 found, but no loss of distill.stages asks"},
        {"name: x\n" DATA TEACHER STAGES "student: {network: s, train: {milestones: [50]}}\n",
         RETORT_INVALID, "student.train.milestones: set, but the schedule is not step"},
        {"name: x\n" DATA TEACHER STAGES "student: {network: s, train: {gamma: 0.2}}\n",
         RETORT_INVALID, "student.train.gamma: set, but the schedule is not step"},
        {"name: x\n" DATA STUDENT STAGES
         "teacher: {network: s, train: {budget: full, warmup: 0.1}}\n",
         RETORT_INVALID, "teacher.train.warmup: set, but the schedule is not one-cycle"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{percent: 60, losses: {ce: {}}}, "
         "{percent: 50, losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.stages: 110 percent found in all, at most 100 wanted"},
        {"name: x\n" DATA STUDENT "teacher: {count: 0}\n"
         "distill: {peers: 2, generations: 2, stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.peers: found beside generations"},
        {"name: x\ndata: {set: mnist, augment: [mixup]}\n" TEACHER STUDENT
         "distill: {stages: [{losses: {ce: {}, dkd: {}}}]}\n",
         RETORT_INVALID, "distill.stages.0.losses.dkd: it takes the label's class apart"},
        {"name: x\ndata: {set: mnist, augment: [cutmix]}\n" TEACHER STUDENT
         "distill: {cache: on, stages: [{losses: {ce: {}, kl: {}}}]}\n",
         RETORT_INVALID, "distill.cache: on, but data.augment mixes images"},
        {"name: x\n" DATA TEACHER STUDENT
         "distill: {cache_maps: on, stages: [{losses: {ce: {}, kl: {}}}]}\n",
         RETORT_INVALID, "distill.cache_maps: on, but distill.cache is off"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {}}]}\n", RETORT_INVALID,
         "distill.stages.0.losses: none found"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {ce: {weight: 0}}}]}\n",
         RETORT_INVALID, "all weights are 0"},
        {"name: x\n" DATA TEACHER STUDENT "distill: {stages: [{losses: {ce: {final: 2}}}]}\n",
         RETORT_INVALID, "distill.stages.0.losses.ce.final: 2 found, but the weight is constant"},
        {"name: x\n" DATA TEACHER "student: {network: s, train: {epochs: 4}}\n"
         "distill: {stages: [{epochs: 4, losses: {ce: {}}}, {losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.stages: 4 epochs found and stages without"},
        {"name: x\n" DATA TEACHER STUDENT
         "distill: {taps: [stem, stage1, stem], stages: [{losses: {ce: {}}}]}\n",
         RETORT_INVALID, "distill.taps.2: stem found again"},
        {"name: x\n" DATA TEACHER "student: {network: s, train: {epochs: 20}}\n"
         "distill: {stages: [{epochs: 30, losses: {ce: {}}}]}\n",
         RETORT_INVALID,
         "recipe.yaml:5: distill.stages: 30 epochs found, but student.train.epochs is 20"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct recipe recipe = {.seed = 77};
        enum retort_status status = load(rows[i].text, NULL, &recipe);
        if (status != rows[i].status)
            print_error("of this recipe:\n%s", rows[i].text);
        assert_fails(status, rows[i].status, rows[i].says);
        assert_int_equal(recipe.seed, 77);
    }
}

static void bad_overrides_are_named(void **state)
{
    static const char *const rows[][2] = {
        {"seed", "--set seed: key.path=value wanted"},
        {"=3", "--set =3: key.path=value wanted"},
        {"sede=3", "--set sede=3: recipe.sede: unknown setting (did you mean seed?)"},
        {"seed=-3", "--set seed=-3: recipe.seed: -3 found, a whole number of at least 0 wanted"},
        {"data.augment=spin", "--set data.augment=spin: recipe.data.augment.0: spin found"},
        {"distill.stages.1.epochs=3", "item 1 found, but there are 1, counted from 0"},
        {"distill.stages.0.losses.xy.weight=3", "recipe.distill.stages.0.losses.xy: unknown"},
        {"distill.stages.0.losses.kl.temperature=0", "temperature: 0 found, a number from"},
        {"data=x", "recipe.data: a value found"},
        {"data.path=\xff", "--set data.path: the value is not UTF-8 text"},
        {"distill.stages.0.losses.ce=off", "distill.stages.0.losses: none found"},
        {"teacher.weights=a.safetensors", "teacher: network and weights found"},
        {"data.rotation=20", "data.rotation: set, but data.augment does not hold rotate"},
        {"data.cutout=4", "data.cutout: set, but data.augment does not hold cutout"},
        {"data.mixup=1", "data.mixup: set, but data.augment does not hold mixup"},
        {"data.cutmix=0.5", "data.cutmix: set, but data.augment does not hold cutmix"},
        {"data.jitter=0.5", "data.jitter: set, but data.augment does not hold jitter"},
        {"distill.ensemble.weights=dirichlet", "distill.ensemble.weights: set, but rule is not"},
    };
    struct recipe recipe;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_fails(load(GOOD, rows[i][0], &recipe), RETORT_INVALID, rows[i][1]);
}

static void repeated(const char *start, const char *unit, size_t size, enum retort_status status,
                     const char *says)
{
    char *text = malloc(size + 1);
    assert_non_null(text);
    size_t used = (size_t)snprintf(text, size, "%s", start);
    while (used + strlen(unit) < size)
        used += (size_t)snprintf(text + used, size - used, "%s", unit);
    struct recipe recipe;
    const char *path = write_text(text, used);
    assert_fails(recipe_load(path, NULL, 0, &recipe), status, says);
    free(text);
}

static void large_and_deep_rubbish_is_refused_soon(void **state)
{
    const size_t large = 250 * 1024;
    repeated("", "#\n", 1100 * 1024, RETORT_FORMAT, "bytes, at most");
    repeated("", "[", large, RETORT_FORMAT, "nested deeper");
    repeated("name: ", "{a: ", large, RETORT_FORMAT, "nested deeper");
    repeated("", "- ", large, RETORT_FORMAT, "nested deeper");
    repeated("", "? ", large, RETORT_FORMAT, "nested deeper");
    repeated("", "a:\n ", large, RETORT_FORMAT, "a: unknown setting");
    repeated("distill: {taps: [", "a,", large, RETORT_FORMAT, "did not find expected");
    repeated("", "x: y\n", large, RETORT_FORMAT, "x: unknown setting");
    repeated("name: ", "y", large, RETORT_INVALID, "data.set: nothing");
    char *list = malloc(4000);
    assert_non_null(list);
    strcpy(list, "distill: {taps: [");
    for (int i = 0; i < 1100; i++)
        strcat(list, "a, ");
    strcat(list, "a]}\n");
    struct recipe recipe;
    assert_fails(load(list, NULL, &recipe), RETORT_FORMAT,
                 "distill.taps: more than 1024 items found");
    free(list);
}

static void missing_files_are_named(void **state)
{
    struct recipe recipe;
    assert_fails(recipe_load(support_path("absent.yaml"), NULL, 0, &recipe), RETORT_IO,
                 "absent.yaml: cannot open");
    assert_fails(recipe_load("/", NULL, 0, &recipe), RETORT_IO, "/: ");
}

/* Cut and bend a good recipe everywhere: an answer, whichever, and no more. */
static void damaged_recipes_are_answered(void **state)
{
    static const char marks[] = "\x01[]{}:,\"'-?*&!%#\n\t\xff 0";
    char text[sizeof(design)];
    for (size_t i = 0; i < sizeof(design) - 1; i++) {
        struct recipe recipe;
        memcpy(text, design, sizeof(design));
        text[i] = marks[i % (sizeof(marks) - 1)];
        if (load(text, NULL, &recipe) == RETORT_OK)
            recipe_release(&recipe);
        else
            assert_non_null(strstr(retort_message(), "recipe.yaml:"));
        text[i] = '\0';
        if (load(text, NULL, &recipe) == RETORT_OK)
            recipe_release(&recipe);
    }
}

/* Stages share what is left of the student's epochs, and take schedule and rate from it. */
/* Of the budget, so that it can be another one; a number of epochs cannot. */
static void stages_may_have_a_percent_of_the_budget(void **state)
{
    static const char percent[] = "name: x\n" DATA TEACHER STUDENT
                                  "distill: {stages: [{percent: 30, losses: {gram: {}}}, {losses: "
                                  "{ce: {}}}]}\n",
                      number[] = "name: x\n" DATA TEACHER STUDENT
                                 "distill: {stages: [{epochs: 9, losses: {gram: {}}}, {epochs: 21, "
                                 "losses: {ce: {}}}]}\n";
    static const char *const budgets[] = {"quick", "full"};
    static const int first[] = {9, 60}, second[] = {21, 140};
    struct recipe recipe;
    for (int i = 0; i < 2; i++) {
        char override[64];
        snprintf(override, sizeof(override), "student.train.budget=%s", budgets[i]);
        assert_ok(load(percent, override, &recipe));
        const struct recipe_stage *stages = recipe.distill.stages.items;
        assert_int_equal(stages[0].epochs, first[i]);
        assert_int_equal(stages[0].percent, 0);
        assert_int_equal(stages[1].epochs, second[i]);
        recipe_release(&recipe);
    }
    assert_ok(load(number, NULL, &recipe));
    assert_int_equal(recipe.student.train.epochs, 30);
    recipe_release(&recipe);
    assert_fails(load(number, "student.train.budget=full", &recipe), RETORT_INVALID,
                 "30 epochs found, but student.train.budget: full means 200");
    assert_fails(load(number, "distill.stages.0.percent=30", &recipe), RETORT_INVALID,
                 "distill.stages.0.percent: found beside epochs");
    /* shares of the whole make the whole, whatever is rounded */
    static const int shares[][5] = {{30, 70, 5, 2, 3},
                                    {50, 50, 31, 16, 15},
                                    {30, 70, 15, 5, 10},
                                    {1, 99, 30, 1, 29},
                                    {99, 1, 200, 198, 2}};
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        char text[400];
        snprintf(text, sizeof(text),
                 "name: x\n" DATA TEACHER "student: {network: s, train: {epochs: %d}}\n"
                 "distill: {stages: [{percent: %d, losses: {ce: {}}}, {percent: %d, losses: {ce: "
                 "{}}}]}\n",
                 shares[i][2], shares[i][0], shares[i][1]);
        assert_ok(load(text, NULL, &recipe));
        for (int stage = 0; stage < 2; stage++)
            assert_int_equal(
                ((const struct recipe_stage *)recipe.distill.stages.items)[stage].epochs,
                shares[i][3 + stage]);
        recipe_release(&recipe);
    }
}

/* Files of teachers and their number. */
static void as_many_weights_as_teachers_are_wanted(void **state)
{
    static const char *const three[] = {"teacher.network=", "teacher.weights=a,b,c"},
                             *const two[] = {"teacher.network=", "teacher.weights=a,b,c",
                                             "teacher.count=2"};
    struct recipe recipe;
    const char *path = write_text(GOOD, strlen(GOOD));
    assert_ok(recipe_load(path, three, 2, &recipe));
    assert_int_equal(recipe.teacher.count, 3);
    recipe_release(&recipe);
    assert_fails(recipe_load(path, two, 3, &recipe), RETORT_INVALID,
                 "teacher.weights: 3 files found, but teacher.count is 2");
}

static void stages_without_epochs_share_the_rest(void **state)
{
    struct recipe recipe;
    assert_ok(
        load("name: x\n" DATA TEACHER "student: {network: s, train: {epochs: 30, lr: 0.3}}\n"
             "distill:\n"
             "  stages:\n"
             "    - {losses: {gram: {}}, lr: 0.1, schedule: constant, trains: [adapters, fc]}\n"
             "    - {epochs: 5, losses: {ce: {}}}\n"
             "    - {losses: {ce: {ramp: cosine, final: 0.5}}}\n",
             NULL, &recipe));
    const struct recipe_stage *stages = recipe.distill.stages.items;
    assert_int_equal(recipe.distill.stages.count, 3);
    assert_int_equal(stages[0].epochs, 12);
    assert_int_equal(stages[1].epochs, 5);
    assert_int_equal(stages[2].epochs, 13);
    assert_true(stages[0].lr == 0.1 && stages[1].lr == 0.3);
    assert_int_equal(stages[0].schedule, SCHEDULE_CONSTANT);
    assert_int_equal(stages[1].schedule, SCHEDULE_ONE_CYCLE);
    assert_int_equal(stages[0].trains.count, 2);
    assert_string_equal(stages[1].trains.items[0], "all");
    const struct loss_weight *weight = stages[2].losses.settings[LOSS_ce];
    assert_true(weight->weight == 1 && weight->final == 0.5);
    assert_true(loss_weight_at(weight, 0) == 1);
    assert_float_equal(loss_weight_at(weight, 0.5), 0.75, 1e-12);
    assert_float_equal(loss_weight_at(weight, 1), 0.5, 1e-12);
    recipe_release(&recipe);
}

/* What recipe_settle makes of a preset: "losses epochs" of every stage. */
static const char *settled(const char *distill, bool channels_differ)
{
    static char text[256];
    char yaml[512];
    struct recipe recipe;
    snprintf(yaml, sizeof(yaml),
             "name: x\n" DATA TEACHER "student: {network: s, train: {epochs: 10}}\n%s", distill);
    assert_ok(load(yaml, NULL, &recipe));
    assert_ok(recipe_settle(&recipe, channels_differ));
    const struct recipe_stage *stages = recipe.distill.stages.items;
    text[0] = 0;
    for (int i = 0; i < recipe.distill.stages.count; i++) {
        for (int kind = 0; kind < LOSS_COUNT; kind++)
            if (stages[i].losses.settings[kind])
                sprintf(text + strlen(text), "%s ", loss_of((enum loss_kind)kind)->name);
        sprintf(text + strlen(text), "%d;", stages[i].epochs);
    }
    recipe_release(&recipe);
    return text;
}

static void presets_make_stages(void **state)
{
    assert_string_equal(settled("", false), "ce kl gram 10;");
    assert_string_equal(settled("", true), "gram 3;ce kl gram 7;");
    assert_string_equal(settled("distill: {preset: joint}\n", true), "ce kl gram 10;");
    assert_string_equal(settled("distill: {preset: two-stage}\n", false), "gram 3;ce kl gram 7;");
    assert_string_equal(settled("distill: {preset: fsp}\n", false), "gram 3;ce 7;");
    assert_string_equal(settled("distill: {stages: [{losses: {kl: {}}}]}\n", true), "kl 10;");
}

/* A recipe that lists stages can be tried with a preset's. */
static void stages_can_be_taken_out(void **state)
{
    static const char *const overrides[] = {"distill.stages=", "distill.preset=fsp",
                                            "student.train.epochs=10"};
    struct recipe recipe;
    assert_ok(recipe_load(write_text(design, strlen(design)), overrides, 3, &recipe));
    assert_int_equal(recipe.distill.stages.count, 0);
    assert_ok(recipe_settle(&recipe, false));
    const struct recipe_stage *stages = recipe.distill.stages.items;
    assert_int_equal(recipe.distill.stages.count, 2);
    assert_int_equal(stages[0].epochs, 3);
    assert_null(stages[0].losses.settings[LOSS_ce]);
    recipe_release(&recipe);
}

static void a_printed_recipe_is_read_back_equal(void **state)
{
    static const char *const overrides[] = {
        "student.train.lr=0.1",      "student.train.weight_decay=0.00012345678901234567",
        "data.path=a: b # c",        "data.augment=",
        "teacher.network=true",      "distill.stages.0.losses.ce=off",
        "distill.taps=stem, stage3",
    };
    struct recipe recipe, again;
    char *text, *text_again;
    assert_ok(recipe_load(write_text(design, strlen(design)), overrides,
                          sizeof(overrides) / sizeof(overrides[0]), &recipe));
    assert_ok(recipe_print(&recipe, &text));
    assert_ok(load(text, NULL, &again));
    assert_ok(recipe_print(&again, &text_again));
    assert_string_equal(text, text_again);
    assert_true(again.student.train.weight_decay == recipe.student.train.weight_decay);
    assert_string_equal(again.data.path, "a: b # c");
    assert_non_null(strstr(text, "lr: 0.1\n"));
    assert_non_null(strstr(text, "taps: [stem, stage3]\n"));
    assert_non_null(strstr(text, "network: \"true\"\n"));
    assert_null(strstr(text, "schedule: auto"));
    free(text);
    free(text_again);
    recipe_release(&recipe);
    recipe_release(&again);
}

static void all_recipes_of_the_tree_load(void **state)
{
    char pattern[512];
    const char *root = getenv("TEST_ROOT");
    snprintf(pattern, sizeof(pattern), "%s/recipes/*.yaml", root ? root : ".");
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct recipe recipe;
        assert_ok(recipe_load(found.gl_pathv[i], NULL, 0, &recipe));
        const char *file = strrchr(found.gl_pathv[i], '/') + 1;
        if (strncmp(file, recipe.name, strlen(recipe.name)) || strcmp(strrchr(file, '.'), ".yaml"))
            fail_msg("%s: is called %s inside", file, recipe.name);
        recipe_release(&recipe);
    }
    globfree(&found);
}

static void check_help(const struct setting_table *table)
{
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (!row->help || !row->help[0])
            fail_msg("%s.%s has no help", table->name, row->name);
        if (row->type >= SETTING_GROUP)
            assert_non_null(row->group);
        if (row->type >= SETTING_GROUP && row->type != SETTING_OPTION)
            check_help(row->group);
    }
}

static void every_setting_has_help(void **state)
{
    check_help(&recipe_settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_recipe_of_the_design_is_read),
        cmocka_unit_test(what_is_not_said_has_its_default),
        cmocka_unit_test(a_budget_gives_epochs_schedule_and_rate),
        cmocka_unit_test(the_plain_student_has_as_many_epochs),
        cmocka_unit_test(an_empty_list_is_not_the_default),
        cmocka_unit_test(a_single_value_is_a_list_of_one),
        cmocka_unit_test(overrides_win),
        cmocka_unit_test(bad_recipes_are_refused_in_one_sentence),
        cmocka_unit_test(bad_overrides_are_named),
        cmocka_unit_test(large_and_deep_rubbish_is_refused_soon),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(damaged_recipes_are_answered),
        cmocka_unit_test(stages_may_have_a_percent_of_the_budget),
        cmocka_unit_test(as_many_weights_as_teachers_are_wanted),
        cmocka_unit_test(stages_without_epochs_share_the_rest),
        cmocka_unit_test(presets_make_stages),
        cmocka_unit_test(stages_can_be_taken_out),
        cmocka_unit_test(a_printed_recipe_is_read_back_equal),
        cmocka_unit_test(all_recipes_of_the_tree_load),
        cmocka_unit_test(every_setting_has_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
