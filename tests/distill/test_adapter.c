/* test_adapter.c - a student with adapters computes what it computed without, its taps come out
 * with the teacher's channels, and its numbers go there and back untouched. (What a step makes of
 * adapters is in tests/train/test_distill_step.c, against an outside implementation.) */
#include "sketch.h"
#include "tiny.h"

#include <stdlib.h>
#include <string.h>

#include "distill/adapter.h"

enum { BATCH = 3, WIDTH = 5, WIDE = 19 };
static const struct adapter both[] = {{"early", WIDE}, {"late", WIDTH + 1}};

static void taps_move_behind_adapters_and_keep_their_names(void **state)
{
    struct model student, extended;
    tiny_model(WIDTH, 1, &student);
    assert_ok(adapter_attach(&student, both, 1, 7, NULL, &extended));
    assert_int_equal(extended.graph.tap_count, student.graph.tap_count);
    for (int i = 0; i < student.graph.tap_count; i++) {
        const char *name = student.graph.taps[i].name;
        const int tap = graph_find_tap(&extended.graph, name);
        assert_true(tap >= 0);
        const struct shape before = graph_tap_shape(&student.graph, i),
                           after = graph_tap_shape(&extended.graph, tap);
        assert_int_equal(after.c, strcmp(name, "early") ? before.c : WIDE);
        assert_int_equal(after.h, before.h);
    }
    const int weight = graph_find_parameter(&extended.graph, "adapter.early.conv.weight");
    assert_true(weight >= 0);
    assert_int_equal(extended.graph.parameters[weight].dims[0], WIDE);
    assert_int_equal(extended.graph.parameters[weight].dims[1], WIDTH);
    assert_true(graph_find_parameter(&extended.graph, "adapter.early.conv.bias") < 0);
    assert_true(graph_find_parameter(&extended.graph, "adapter.early.bn.weight") >= 0);
    assert_true(adapter_owns(&extended.graph.parameters[weight]));
    int own = 0;
    for (int i = 0; i < extended.graph.parameter_count; i++)
        own += adapter_owns(&extended.graph.parameters[i]);
    assert_int_equal(own, 5);
    assert_int_equal(extended.graph.parameter_count, student.graph.parameter_count + own);
    model_release(&extended);
    model_release(&student);
}

/* The logits of a model at inference, (BATCH, classes). */
static float *logits_of(const struct model *model)
{
    const size_t count = (size_t)BATCH * (size_t)model->graph.classes;
    const struct shape in = model->graph.input;
    float *images = sketch_numbers((size_t)BATCH * (size_t)(in.c * in.h * in.w), 3);
    float *logits = malloc(count * sizeof(*logits));
    struct executor *executor =
        sketch_executor(model, &(struct executor_options){.batch = BATCH, .mode = EXECUTOR_INFER});
    executor_forward(executor, images, 0);
    memcpy(logits, executor_logits(executor), count * sizeof(*logits));
    executor_destroy(executor);
    free(images);
    return logits;
}

static void the_student_computes_what_it_did(void **state)
{
    struct model student, extended;
    tiny_model(WIDTH, 1, &student);
    assert_ok(adapter_attach(&student, both, 2, 7, NULL, &extended));
    float *without = logits_of(&student), *with = logits_of(&extended);
    assert_memory_equal(without, with, sizeof(*with) * BATCH * (size_t)student.graph.classes);
    free(without);
    free(with);
    model_release(&extended);
    model_release(&student);
}

static void numbers_go_there_and_back(void **state)
{
    struct model student, extended, back;
    tiny_model(WIDTH, 1, &student);
    tiny_model(WIDTH, 2, &back);
    assert_ok(adapter_attach(&student, both, 2, 7, NULL, &extended));
    adapter_detach(&extended, &back);
    tiny_assert_equal(&student, &back);
    model_release(&extended);
    model_release(&back);
    model_release(&student);
}

/* Without adapters the extended model is the student. */
static void no_adapters_change_nothing(void **state)
{
    struct model student, extended;
    tiny_model(WIDTH, 1, &student);
    assert_ok(adapter_attach(&student, NULL, 0, 7, NULL, &extended));
    tiny_assert_equal(&student, &extended);
    model_release(&extended);
    model_release(&student);
}

static const float *adapter_weights(const struct model *model, size_t *bytes)
{
    const int weight = graph_find_parameter(&model->graph, "adapter.early.conv.weight");
    *bytes = parameter_count(&model->graph.parameters[weight]) * sizeof(float);
    return model->values[weight];
}

/* A later stage goes on with the adapters of the one before it; of another shape they are new. */
static void adapters_of_an_earlier_stage_go_on(void **state)
{
    struct model student, first, same, other, wider;
    size_t bytes;
    const struct adapter more[] = {{"early", WIDE + 1}};
    tiny_model(WIDTH, 1, &student);
    assert_ok(adapter_attach(&student, both, 1, 7, NULL, &first));
    assert_ok(adapter_attach(&student, both, 2, 8, &first, &same));
    assert_ok(adapter_attach(&student, both, 1, 8, NULL, &other));
    assert_ok(adapter_attach(&student, more, 1, 8, &first, &wider));
    const float *wanted = adapter_weights(&first, &bytes);
    assert_memory_equal(adapter_weights(&same, &bytes), wanted, bytes);
    assert_true(memcmp(adapter_weights(&other, &bytes), wanted, bytes));
    model_release(&wider);
    model_release(&other);
    model_release(&same);
    model_release(&first);
    model_release(&student);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taps_move_behind_adapters_and_keep_their_names),
        cmocka_unit_test(the_student_computes_what_it_did),
        cmocka_unit_test(numbers_go_there_and_back),
        cmocka_unit_test(no_adapters_change_nothing),
        cmocka_unit_test(adapters_of_an_earlier_stage_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
