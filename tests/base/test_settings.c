/* test_settings.c - one table with every type of row, fed from text and JSON, good and bad. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings.h"

enum shape { SHAPE_ROUND, SHAPE_SQUARE };

struct inner {
    double weight;
    int step;
};
struct sample {
    int depth;
    double rate;
    bool fast;
    const char *title;
    int shape;
    struct int_list widths;
    struct text_list taps, augment;
    struct inner group;
    struct inner *option;
    struct group_list stages;
};

static const char *const shapes[] = {"round", "square", NULL};
static const char *const augmentations[] = {"flip", "crop", NULL};

static const struct setting inner_rows[] = {
    {"weight", SETTING_NUMBER, offsetof(struct inner, weight), .low = 0.5, .high = 8,
     .fallback = "1"},
    {"step", SETTING_INT, offsetof(struct inner, step), .low = 1, .high = INT32_MAX,
     .fallback = "3"},
};
static const struct setting_table inner_settings = SETTING_TABLE("inner", struct inner, inner_rows);

static const struct setting sample_rows[] = {
    {"depth", SETTING_INT, offsetof(struct sample, depth), .low = 1, .high = 99},
    {"rate", SETTING_NUMBER, offsetof(struct sample, rate), .low = 0, .high = 1, .fallback = "0.5"},
    {"fast", SETTING_FLAG, offsetof(struct sample, fast), .fallback = "true"},
    {"title", SETTING_TEXT, offsetof(struct sample, title), .fallback = "none"},
    {"shape", SETTING_CHOICE, offsetof(struct sample, shape), .choices = shapes,
     .fallback = "square"},
    {"widths", SETTING_INTS, offsetof(struct sample, widths), .low = 1, .high = 512,
     .fallback = "16,32"},
    {"taps", SETTING_TEXTS, offsetof(struct sample, taps), .fallback = ""},
    {"augment", SETTING_TEXTS, offsetof(struct sample, augment), .choices = augmentations,
     .fallback = "flip"},
    {"group", SETTING_GROUP, offsetof(struct sample, group), .group = &inner_settings},
    {"option", SETTING_OPTION, offsetof(struct sample, option), .group = &inner_settings},
    {"stages", SETTING_GROUPS, offsetof(struct sample, stages), .group = &inner_settings},
};
static const struct setting_table table = SETTING_TABLE("sample", struct sample, sample_rows);

static struct arena arena;

static int release(void **state)
{
    arena_release(&arena);
    return 0;
}

static void defaults_come_from_the_table(void **state)
{
    struct sample sample;
    memset(&sample, 0x5a, sizeof(sample));
    assert_ok(settings_defaults(&table, &sample, &arena));
    assert_int_equal(sample.depth, 0);
    assert_true(sample.rate == 0.5);
    assert_true(sample.fast);
    assert_string_equal(sample.title, "none");
    assert_int_equal(sample.shape, SHAPE_SQUARE);
    assert_int_equal(sample.widths.count, 2);
    assert_int_equal(sample.widths.items[1], 32);
    assert_int_equal(sample.taps.count, 0);
    assert_string_equal(sample.augment.items[0], "flip");
    assert_true(sample.group.weight == 1);
    assert_null(sample.option);
    assert_int_equal(sample.stages.count, 0);
}

static void a_list_may_hold_commas(void **state)
{
    struct sample sample;
    assert_ok(settings_parse(&table, &sample, "net", "widths=16,16,64,depth=8", &arena));
    assert_int_equal(sample.widths.count, 3);
    assert_int_equal(sample.widths.items[2], 64);
    assert_int_equal(sample.depth, 8);
    assert_ok(settings_parse(&table, &sample, "net",
                             " depth = 8 , taps=[a, b ,c], augment=, rate=1e-1", &arena));
    assert_int_equal(sample.taps.count, 3);
    assert_string_equal(sample.taps.items[1], "b");
    assert_int_equal(sample.augment.count, 0);
    assert_true(sample.rate == 0.1);
    assert_ok(settings_parse(&table, &sample, "net", "depth=8,widths=1-2-3,shape=round", &arena));
    assert_int_equal(sample.widths.count, 3);
    assert_int_equal(sample.widths.items[0], 1);
    assert_int_equal(sample.shape, SHAPE_ROUND);
}

static void bad_lists_of_settings_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"", "net: depth: nothing found, a whole number from 1 to 99 wanted"},
        {"depth", "net: depth found, key=value wanted"},
        {"depth=8,", "net: depth: 8, found"},
        {"=8", "key=value wanted"},
        {"depth=8,depth=9", "net: depth: given twice"},
        {"depht=8", "net: depht: unknown setting (did you mean depth?), known are depth, rate"},
        {"zzz=8", "net: zzz: unknown setting, known are depth"},
        {"depth=8x", "net: depth: 8x found"},
        {"depth=0x8", "net: depth: 0x8 found"},
        {"depth= ", "net: depth: nothing found"},
        {"depth=100", "net: depth: 100 found, a whole number from 1 to 99 wanted"},
        {"depth=99999999999999999999", "net: depth: 99999999999999999999 found"},
        {"depth=8.0", "net: depth: 8.0 found"},
        {"depth=8,rate=nan", "net: rate: nan found, a number from 0 to 1 wanted"},
        {"depth=8,rate=1e999", "net: rate: inf found"},
        {"depth=8,rate=1.5e", "net: rate: 1.5e found"},
        {"depth=8,fast=maybe", "net: fast: maybe found, true or false wanted"},
        {"depth=8,shape=oval", "net: shape: oval found, one of round, square wanted"},
        {"depth=8,widths=16,,32", "net: widths.1: nothing found"},
        {"depth=8,widths=16,513", "net: widths.1: 513 found, a whole number from 1 to 512 wanted"},
        {"depth=8,widths=[1,2", "net: widths: [1,2 found, a list of whole numbers"},
        {"depth=8,widths=]", "net: widths: ] found"},
        {"depth=8,widths=-1", "net: widths.0: -1 found"},
        {"depth=8,augment=flip,spin", "net: augment.1: spin found, one of flip, crop wanted"},
        {"depth=8,taps=a,,b", "net: taps.1: nothing found"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sample sample = {.depth = 77};
        assert_fails(settings_parse(&table, &sample, "net", rows[i][0], &arena), RETORT_INVALID,
                     rows[i][1]);
        assert_int_equal(sample.depth, 77);
    }
}

static void a_path_leads_through_groups_options_and_lists(void **state)
{
    struct sample sample;
    struct inner stages[2];
    assert_ok(settings_defaults(&table, &sample, &arena));
    for (int i = 0; i < 2; i++)
        assert_ok(settings_defaults(&inner_settings, &stages[i], &arena));
    sample.stages = (struct group_list){2, stages};
    assert_ok(settings_set(&table, &sample, "group.weight", "2", &arena));
    assert_true(sample.group.weight == 2);
    assert_ok(settings_set(&table, &sample, "stages.1.step", "7", &arena));
    assert_int_equal(stages[1].step, 7);
    assert_int_equal(stages[0].step, 3);
    assert_ok(settings_set(&table, &sample, "option.step", "5", &arena));
    assert_int_equal(sample.option->step, 5);
    assert_true(sample.option->weight == 1);
    assert_ok(settings_set(&table, &sample, "option", "off", &arena));
    assert_null(sample.option);
    assert_ok(settings_set(&table, &sample, "option", "on", &arena));
    assert_int_equal(sample.option->step, 3);
}

static void a_refused_value_changes_nothing(void **state)
{
    static const char *const rows[][3] = {
        {"group.weight", "9", "sample.group.weight: 9 found, a number from 0.5 to 8 wanted"},
        {"group.step", "0", "sample.group.step: 0 found, a whole number of at least 1 wanted"},
        {"group", "1", "sample.group: a value found"},
        {"group.", "1", "sample.group.: unknown setting, known are weight, step"},
        {"", "1", "unknown setting"},
        {"stages.0.step", "1", "sample.stages: item 0 found, but there are 0"},
        {"stages.-1.step", "1", "item -1 found"},
        {"stages.x", "1", "item x found"},
        {"stages", "1", "sample.stages: a value found"},
        {"option.step", "0", "sample.option.step: 0 found"},
        {"option", "7", "sample.option: 7 found, on, off"},
        {"depth.x", "1", "sample.depth: has no setting x inside"},
        {"widths.0", "1", "sample.widths: has no setting 0 inside"},
    };
    struct sample sample, before;
    assert_ok(settings_defaults(&table, &sample, &arena));
    before = sample;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_fails(settings_set(&table, &sample, rows[i][0], rows[i][1], &arena), RETORT_INVALID,
                     rows[i][2]);
        assert_memory_equal(&sample, &before, sizeof(sample));
    }
}

static void a_value_from_elsewhere_is_checked(void **state)
{
    struct sample sample;
    struct inner stages[1] = {{4, 0}};
    assert_ok(settings_defaults(&table, &sample, &arena));
    assert_fails(settings_check(&table, &sample, "here"), RETORT_INVALID, "here: depth: 0 found");
    sample.depth = 5;
    assert_ok(settings_check(&table, &sample, NULL));
    sample.stages = (struct group_list){1, stages};
    assert_fails(settings_check(&table, &sample, NULL), RETORT_INVALID, "stages.0.step: 0 found");
    stages[0].step = 1;
    stages[0].weight = NAN;
    assert_fails(settings_check(&table, &sample, "x"), RETORT_INVALID, "x: stages.0.weight: nan");
    stages[0].weight = 1;
    sample.option = &(struct inner){1, -1};
    assert_fails(settings_check(&table, &sample, "x"), RETORT_INVALID, "x: option.step: -1");
    sample.option = NULL;
    sample.shape = 2;
    assert_fails(settings_check(&table, &sample, "x"), RETORT_INVALID, "x: shape: choice 2 found");
    sample.shape = 0;
    sample.title = NULL;
    assert_fails(settings_check(&table, &sample, "x"), RETORT_INVALID, "x: title: nothing found");
}

static void json_gives_back_what_it_was_made_of(void **state)
{
    struct sample sample, again;
    struct inner stages[2] = {{1, 2}, {3, 4}};
    assert_ok(
        settings_parse(&table, &sample, "", "depth=8,taps=a,b,rate=0.1,title=x,fast=no", &arena));
    sample.stages = (struct group_list){2, stages};
    sample.option = &(struct inner){0.75, 11};
    json_t *object = settings_json(&table, &sample);
    assert_non_null(object);
    assert_string_equal(json_object_iter_key(json_object_iter(object)), "depth");
    assert_ok(settings_from_json(&table, &again, "file", object, &arena));
    json_t *object_again = settings_json(&table, &again);
    assert_true(json_equal(object, object_again));
    assert_true(again.rate == 0.1 && again.option->weight == 0.75 && !again.fast);
    json_decref(object_again);
    json_decref(object);
    sample.option = NULL;
    object = settings_json(&table, &sample);
    assert_null(json_object_get(object, "option"));
    json_decref(object);
}

static void hostile_json_is_refused(void **state)
{
    static const char *const rows[][2] = {
        {"[]", "file: an array found, an object with the settings of sample wanted"},
        {"{}", "file: depth: nothing found"},
        {"{\"depth\":1,\"detph\":2}", "file: detph: unknown setting (did you mean depth?)"},
        {"{\"depth\":\"8\"}", "file: depth: a string found, a whole number from 1 to 99 wanted"},
        {"{\"depth\":8.5}", "file: depth: a real number found"},
        {"{\"depth\":9223372036854775807}", "file: depth: a larger one found"},
        {"{\"depth\":0}", "file: depth: 0 found"},
        {"{\"depth\":1,\"rate\":1e300}", "file: rate: 1e+300 found"},
        {"{\"depth\":1,\"rate\":true}", "file: rate: true found"},
        {"{\"depth\":1,\"fast\":1}", "file: fast: an integer found"},
        {"{\"depth\":1,\"title\":\"a\\u0000b\"}", "file: title: a string with a zero byte"},
        {"{\"depth\":1,\"shape\":1}", "file: shape: an integer found, one of round, square"},
        {"{\"depth\":1,\"shape\":\"oval\"}", "file: shape: oval found"},
        {"{\"depth\":1,\"widths\":3}", "file: widths: an integer found"},
        {"{\"depth\":1,\"widths\":[3,[4]]}", "file: widths.1: an array found"},
        {"{\"depth\":1,\"widths\":[3,0]}", "file: widths.1: 0 found"},
        {"{\"depth\":1,\"augment\":[\"spin\"]}", "file: augment.0: spin found"},
        {"{\"depth\":1,\"taps\":[null]}", "file: taps.0: null found"},
        {"{\"depth\":1,\"group\":3}", "file: group: an integer found, an object"},
        {"{\"depth\":1,\"group\":{\"weight\":99}}", "file: group.weight: 99 found"},
        {"{\"depth\":1,\"option\":{\"x\":1}}", "file: option.x: unknown setting"},
        {"{\"depth\":1,\"option\":[]}", "file: option: an array found"},
        {"{\"depth\":1,\"stages\":{}}", "file: stages: an object found"},
        {"{\"depth\":1,\"stages\":[{},{\"step\":0}]}", "file: stages.1.step: 0 found"},
        {"{\"depth\":1,\"stages\":[3]}", "file: stages.0: an integer found"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sample sample = {.depth = 77};
        json_t *object = json_loads(rows[i][0], JSON_ALLOW_NUL, NULL);
        assert_non_null(object);
        assert_fails(settings_from_json(&table, &sample, "file", object, &arena), RETORT_FORMAT,
                     rows[i][1]);
        assert_int_equal(sample.depth, 77);
        json_decref(object);
    }
    struct sample sample;
    assert_fails(settings_from_json(&table, &sample, "file", NULL, &arena), RETORT_FORMAT,
                 "file: nothing found");
}

static void a_description_fits_its_room(void **state)
{
    char text[12];
    settings_describe(settings_find(&table, "depth"), text, sizeof(text));
    assert_string_equal(text, "a whole num");
    char whole[64];
    settings_describe(settings_find(&table, "rate"), whole, sizeof(whole));
    assert_string_equal(whole, "a number from 0 to 1");
    assert_null(settings_find(&table, "dept"));
    assert_fails(settings_unknown(RETORT_FORMAT, &table, "a.b", "dept"), RETORT_FORMAT,
                 "a.b.dept: unknown setting (did you mean depth?), known are depth, rate");
    struct setting item = settings_item(settings_find(&table, "augment"));
    settings_describe(&item, whole, sizeof(whole));
    assert_string_equal(whole, "one of flip, crop");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_table),
        cmocka_unit_test(a_list_may_hold_commas),
        cmocka_unit_test(bad_lists_of_settings_are_refused),
        cmocka_unit_test(a_path_leads_through_groups_options_and_lists),
        cmocka_unit_test(a_refused_value_changes_nothing),
        cmocka_unit_test(a_value_from_elsewhere_is_checked),
        cmocka_unit_test(json_gives_back_what_it_was_made_of),
        cmocka_unit_test(hostile_json_is_refused),
        cmocka_unit_test(a_description_fits_its_room),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
