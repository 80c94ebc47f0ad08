/* test_fit.c - which models suit which data set, and what is said of the others. */
#include "support.h"

#include "tiny.h"
#include "train/fit.h"

struct fixture {
    struct dataset dataset;
    struct model model;
};

static void open_fixture(struct fixture *f)
{
    tiny_dataset(6, 3, &f->dataset);
    tiny_model(4, 1, &f->model);
    for (int i = 0; i < TINY_CHANNELS; i++) {
        f->model.mean[i] = f->dataset.mean[i];
        f->model.std[i] = f->dataset.std[i];
    }
}

static void close_fixture(struct fixture *f)
{
    dataset_release(&f->dataset);
    model_release(&f->model);
}

static void a_model_of_the_data_set_fits(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.model.mean[1] += 5e-4f; /* as another program may round */
    assert_ok(fit_shapes(&f.model.graph, &f.dataset));
    assert_ok(fit_normalisation(&f.model, &f.dataset));
    close_fixture(&f);
}

static void another_shape_is_named(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.dataset.train.width = 9;
    assert_fails(fit_shapes(&f.model.graph, &f.dataset), RETORT_INVALID,
                 "tiny takes images of 2x8x8, the data set tiny has 2x8x9");
    close_fixture(&f);
}

static void other_classes_are_counted(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.dataset.classes--; /* and its last name */
    char *name = f.dataset.class_names[TINY_CLASSES - 1];
    assert_fails(fit_shapes(&f.model.graph, &f.dataset), RETORT_INVALID,
                 "tiny has 3 classes, the data set tiny has 2");
    f.dataset.classes++;
    f.dataset.class_names[TINY_CLASSES - 1] = name;
    close_fixture(&f);
}

static void other_names_of_classes_are_named(void **state)
{
    static char *names[TINY_CLASSES] = {"high", "low", "middle"};
    struct fixture f;
    open_fixture(&f);
    assert_ok(fit_classes(&f.model, &f.dataset)); /* it has no names */
    f.model.class_names = names;
    assert_fails(fit_classes(&f.model, &f.dataset), RETORT_INVALID,
                 "class 1 is called low, in the data set tiny it is middle");
    f.model.class_names = f.dataset.class_names;
    assert_ok(fit_classes(&f.model, &f.dataset));
    f.model.class_names = NULL;
    close_fixture(&f);
}

static void another_normalisation_is_named(void **state)
{
    struct fixture f;
    open_fixture(&f);
    f.model.mean[0] = 0.75f;
    assert_fails(fit_normalisation(&f.model, &f.dataset), RETORT_INVALID,
                 "mean 0.7500 and deviation");
    f.model.mean[0] = f.dataset.mean[0];
    f.model.std[1] = 2;
    assert_fails(fit_normalisation(&f.model, &f.dataset), RETORT_INVALID,
                 "deviation 2.0000 in channel 1");
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_of_the_data_set_fits),
        cmocka_unit_test(another_shape_is_named),
        cmocka_unit_test(other_classes_are_counted),
        cmocka_unit_test(other_names_of_classes_are_named),
        cmocka_unit_test(another_normalisation_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
