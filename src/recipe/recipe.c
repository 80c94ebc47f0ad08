/* recipe.c - the tables of a recipe, and how a file becomes a resolved recipe.
 *
 * Defaults, then the file, then the overrides, then the ranges of the tables, then what no single
 * row can say (recipe_check.c). Every check of the finished struct begins its sentence with the
 * path of a setting, "distill.stages.0.epochs: ..."; recipe_load puts file and line before it. */
#include "recipe/recipe_check.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recipe/recipe_schema.h"

/* No recipe is longer; libyaml's time for some kinds of rubbish grows with the square of this. */
enum { LARGEST_FILE = 256 * 1024 };

static const char *const augmentations[] = {
    "flip", "alternating-flip", "crop", "rotate", "cutout", "jitter", "mixup", "cutmix", NULL};
static const char *const borders[] = {"reflect", "zero", NULL};
static const char *const budgets[] = {"quick", "full", NULL};
static const char *const schedules[] = {"auto", "one-cycle", "step", "constant", NULL};
static const char *const decay_scopes[] = {"all", "weights", NULL};
static const char *const not_finite[] = {"stop", "skip", NULL};
static const char *const precisions[] = {"f32", "bf16", NULL};

static const struct setting data_rows[] = {
    {"set", SETTING_TEXT, offsetof(struct recipe_data, set),
     .help =
         "the data set, as `retort data list` names it: fashion-mnist, cifar100, folder, shard"},
    {"path", SETTING_TEXT, offsetof(struct recipe_data, path), .fallback = "",
     .help = "where its files are; empty: where the system keeps them"},
    {"augment", SETTING_TEXTS, offsetof(struct recipe_data, augment), .fallback = "flip,crop",
     .choices = augmentations,
     .help =
         "what is done at random to training images: flip (left and right), alternating-flip "
         "(every other epoch), crop, rotate, cutout, jitter (of colours), mixup and cutmix (with "
         "another image of the batch, and its label)"},
    {"pad", SETTING_INT, offsetof(struct recipe_data, pad), .low = 1, .high = 64, .fallback = "4",
     .help = "pixels of border that crop cuts from"},
    {"border", SETTING_CHOICE, offsetof(struct recipe_data, border), .choices = borders,
     .fallback = "reflect", .help = "what lies around an image: itself mirrored, or black"},
    {"rotation", SETTING_NUMBER, offsetof(struct recipe_data, rotation), .low = 0, .high = 180,
     .fallback = "15", .help = "degrees to either side, at most, that rotate turns by"},
    {"cutout", SETTING_INT, offsetof(struct recipe_data, cutout), .low = 1, .high = 1024,
     .fallback = "8", .help = "side of the square that cutout sets to the mean"},
    {"jitter", SETTING_NUMBER, offsetof(struct recipe_data, jitter), .low = 0, .high = 1,
     .fallback = "0.2",
     .help = "jitter multiplies brightness, contrast and saturation by 1 - this to 1 + this"},
    {"mixup", SETTING_NUMBER, offsetof(struct recipe_data, mixup), .low = 0.01, .high = 4,
     .fallback = "0.2", .help = "mixup's shares are drawn from Beta(this, this)"},
    {"cutmix", SETTING_NUMBER, offsetof(struct recipe_data, cutmix), .low = 0.01, .high = 4,
     .fallback = "1", .help = "cutmix's shares are drawn from Beta(this, this)"},
    {"val", SETTING_INT, offsetof(struct recipe_data, val), .low = 0, .high = INT_MAX,
     .fallback = "0",
     .help =
         "training images held out, to choose settings by; classes in equal shares, and the same "
         "images for every seed. Mean and deviation stay those of all training images"},
    {"size", SETTING_INT, offsetof(struct recipe_data, size), .low = 0, .high = 1024,
     .fallback = "0",
     .help = "height and width for sets of images of any size; 0: their default, 64"},
    {"held_out", SETTING_NUMBER, offsetof(struct recipe_data, held_out), .low = 0, .high = 0.9,
     .fallback = "0",
     .help =
         "share of each class's images that becomes the test set, for a folder that has neither "
         "val nor test; 0: 0.1"},
    {"skip_bad", SETTING_FLAG, offsetof(struct recipe_data, skip_bad), .fallback = "false",
     .help = "leave out, count and tell of images and records that cannot be used; false: they are "
             "errors"},
    {"limit", SETTING_INT, offsetof(struct recipe_data, limit), .low = 0, .high = INT_MAX,
     .fallback = "0", .help = "training images used of each class; 0: all"},
    {"test_limit", SETTING_INT, offsetof(struct recipe_data, test_limit), .low = 0, .high = INT_MAX,
     .fallback = "0", .help = "test images used of each class; 0: all"},
    {"views", SETTING_INT, offsetof(struct recipe_data, views), .low = 0, .high = 10000,
     .fallback = "0",
     .help = "augmentations that an image has for the student, one after the other; 0: new ones in "
             "every epoch, or 8 with distill.cache. Teachers get new ones always"},
    {"loader_threads", SETTING_INT, offsetof(struct recipe_data, loader_threads), .low = 1,
     .high = 64, .fallback = "1", .help = "threads that prepare batches ahead"},
};
static const struct setting_table data_settings =
    SETTING_TABLE("data", struct recipe_data, data_rows);

static const struct setting train_rows[] = {
    {"budget", SETTING_CHOICE, offsetof(struct recipe_train, budget), .choices = budgets,
     .fallback = "quick",
     .help =
         "quick: 30 epochs one-cycle; full: 200 epochs stepped. The settings below win over it"},
    {"epochs", SETTING_INT, offsetof(struct recipe_train, epochs), .low = 0, .high = 100000,
     .fallback = "0", .help = "0: as many as the budget says"},
    {"batch", SETTING_INT, offsetof(struct recipe_train, batch), .low = 1, .high = 65536,
     .fallback = "128", .help = "images in a training step"},
    {"lr", SETTING_NUMBER, offsetof(struct recipe_train, lr), .low = 0, .high = 1000,
     .fallback = "0",
     .help = "the highest learning rate; 0: the schedule's own, 0.2 one-cycle, 0.1 otherwise"},
    {"momentum", SETTING_NUMBER, offsetof(struct recipe_train, momentum), .low = 0, .high = 0.9999,
     .fallback = "0.9", .help = "of stochastic gradient descent"},
    {"nesterov", SETTING_FLAG, offsetof(struct recipe_train, nesterov), .fallback = "true",
     .help = "Nesterov's form of momentum"},
    {"weight_decay", SETTING_NUMBER, offsetof(struct recipe_train, weight_decay), .low = 0,
     .high = 1, .fallback = "5e-4", .help = "factor of the L2 penalty"},
    {"clip_norm", SETTING_NUMBER, offsetof(struct recipe_train, clip_norm), .low = 0, .high = 1e9,
     .fallback = "0",
     .help = "a gradient of a higher norm, over all parameters, is scaled down to it; 0: none is"},
    {"decay", SETTING_CHOICE, offsetof(struct recipe_train, decay), .choices = decay_scopes,
     .fallback = "all",
     .help = "what decays: all parameters, or the weights of convolution and linear layers only"},
    {"schedule", SETTING_CHOICE, offsetof(struct recipe_train, schedule), .choices = schedules,
     .fallback = "auto", .help = "of the learning rate; auto: the budget's"},
    {"warmup", SETTING_NUMBER, offsetof(struct recipe_train, warmup), .low = 0, .high = 1,
     .fallback = "0.2", .help = "one-cycle: share of the steps in which the rate rises from 0"},
    {"milestones", SETTING_INTS, offsetof(struct recipe_train, milestones), .low = 1, .high = 99,
     .fallback = "30,60,80",
     .help = "step: percent of the epochs after which the rate is multiplied by gamma"},
    {"gamma", SETTING_NUMBER, offsetof(struct recipe_train, gamma), .low = 0, .high = 1,
     .fallback = "0.1", .help = "step: the factor at each milestone"},
    {"not_finite", SETTING_CHOICE, offsetof(struct recipe_train, not_finite), .choices = not_finite,
     .fallback = "stop",
     .help = "a loss or gradient that is infinite or no number stops the run, or its step changes "
             "nothing and is counted; 50 in a row stop the run all the same"},
};
static const struct setting_table train_settings =
    SETTING_TABLE("train", struct recipe_train, train_rows);

static const struct setting teacher_rows[] = {
    {"network", SETTING_TEXT, offsetof(struct recipe_teacher, network), .fallback = "",
     .help = "the network to train as teacher, as in resnet:depth=32; or give weights"},
    {"count", SETTING_INT, offsetof(struct recipe_teacher, count), .low = 0, .high = 100,
     .fallback = "1",
     .help = "teachers to train, from different seeds, or of weights; 0: none, for losses that "
             "need none"},
    {"seed", SETTING_INT, offsetof(struct recipe_teacher, seed), .low = 0, .high = INT_MAX,
     .fallback = "0",
     .help =
         "of the first teacher, the next ones count up. Give it to have the same teachers for "
         "several seeds of the recipe; 0: each of those has its own, the first one's seed being "
         "the recipe's"},
    {"weights", SETTING_TEXTS, offsetof(struct recipe_teacher, weights), .fallback = "",
     .help = "model files of trained teachers, instead of training them"},
    {"train", SETTING_GROUP, offsetof(struct recipe_teacher, train), .group = &train_settings,
     .help = "how a teacher is trained"},
};
static const struct setting_table teacher_settings =
    SETTING_TABLE("teacher", struct recipe_teacher, teacher_rows);

static const struct setting student_rows[] = {
    {"network", SETTING_TEXT, offsetof(struct recipe_student, network),
     .help = "the network to distil into, as in resnet:depth=8"},
    {"baseline", SETTING_FLAG, offsetof(struct recipe_student, baseline), .fallback = "true",
     .help = "also train the student without a teacher, for as many epochs"},
    {"train", SETTING_GROUP, offsetof(struct recipe_student, train), .group = &train_settings,
     .help = "how the student is trained, with and without a teacher"},
};
static const struct setting_table student_settings =
    SETTING_TABLE("student", struct recipe_student, student_rows);

/* Not const: which table a loss has is known from loss_of only, when the program starts. */
static struct setting losses_rows[] = {
#define LOSS_ROW(label)                                                                            \
    {#label, SETTING_OPTION, offsetof(struct recipe_losses, settings[LOSS_##label]),               \
     .help = "the loss " #label "; absent: not used"},
    LOSS_KINDS(LOSS_ROW)
#undef LOSS_ROW
};
static const struct setting_table losses_settings =
    SETTING_TABLE("losses", struct recipe_losses, losses_rows);

__attribute__((constructor)) static void link_losses(void)
{
    for (int kind = 0; kind < LOSS_COUNT; kind++)
        losses_rows[kind].group = loss_of((enum loss_kind)kind)->settings;
}

static const struct setting stage_rows[] = {
    {"epochs", SETTING_INT, offsetof(struct recipe_stage, epochs), .low = 0, .high = 100000,
     .fallback = "0",
     .help = "0: an equal share of what the other stages leave of student.train.epochs"},
    {"percent", SETTING_INT, offsetof(struct recipe_stage, percent), .low = 0, .high = 99,
     .fallback = "0",
     .help = "of student.train.epochs, instead of epochs, for any budget; 0: not "
             "given"},
    {"lr", SETTING_NUMBER, offsetof(struct recipe_stage, lr), .low = 0, .high = 1000,
     .fallback = "0", .help = "the highest learning rate of this stage; 0: the student's"},
    {"schedule", SETTING_CHOICE, offsetof(struct recipe_stage, schedule), .choices = schedules,
     .fallback = "auto", .help = "of the learning rate, over this stage; auto: the student's"},
    {"trains", SETTING_TEXTS, offsetof(struct recipe_stage, trains), .fallback = "all",
     .help = "what this stage trains: all, student, adapters, or beginnings of parameter names "
             "such as stage1 or fc; the rest is frozen"},
    {"losses", SETTING_GROUP, offsetof(struct recipe_stage, losses), .group = &losses_settings,
     .help = "what is minimised: the weighted sum of these"},
};
static const struct setting_table stage_settings =
    SETTING_TABLE("stage", struct recipe_stage, stage_rows);

static const char *const presets[] = {"auto", "joint", "two-stage", "fsp", NULL};
static const char *const balances[] = {"none", "grad-norm", NULL};

static const struct setting distill_rows[] = {
    {"taps", SETTING_TEXTS, offsetof(struct recipe_distill, taps), .fallback = "",
     .help = "feature maps that are compared; empty: all that student and teacher both have"},
    {"ensemble", SETTING_GROUP, offsetof(struct recipe_distill, ensemble),
     .group = &ensemble_settings, .help = "how several teachers go together"},
    {"preset", SETTING_CHOICE, offsetof(struct recipe_distill, preset), .choices = presets,
     .fallback = "auto",
     .help = "stages by name, where none are listed: joint (ce, kl and gram together), two-stage "
             "(gram, then all), fsp (gram of adjacent taps, then ce); auto: two-stage where taps "
             "of student and teacher differ in channels, else joint"},
    {"balance", SETTING_CHOICE, offsetof(struct recipe_distill, balance), .choices = balances,
     .fallback = "none",
     .help = "grad-norm: the gradient of the losses that need a teacher is cut down to the norm of "
             "the others'; takes a second backward pass"},
    {"cache", SETTING_FLAG, offsetof(struct recipe_distill, cache), .fallback = "false",
     .help = "keep the logits of every teacher for every view of an image in a file, so that it "
             "looks at each once"},
    {"cache_maps", SETTING_FLAG, offsetof(struct recipe_distill, cache_maps), .fallback = "false",
     .help =
         "with cache: keep the teacher's Gram matrices too, else a teacher whose maps are looked "
         "at is run in every step; takes gigabytes"},
    {"peers", SETTING_INT, offsetof(struct recipe_distill, peers), .low = 1, .high = 8,
     .fallback = "1",
     .help = "students that are trained together and teach each other (mutual learning); the first "
             "one is delivered; needs teacher.count 0"},
    {"generations", SETTING_INT, offsetof(struct recipe_distill, generations), .low = 1,
     .high = 100, .fallback = "1",
     .help = "students one after the other, each taught by the one before it (born again); the "
             "last one is delivered"},
    {"stages", SETTING_GROUPS, offsetof(struct recipe_distill, stages), .group = &stage_settings,
     .help = "the parts of the distillation, one after the other; none: the preset's"},
};
static const struct setting_table distill_settings =
    SETTING_TABLE("distill", struct recipe_distill, distill_rows);

static const struct setting recipe_rows[] = {
    {"name", SETTING_TEXT, offsetof(struct recipe, name),
     .help = "of the experiment and its folder: letters, digits, '.', '_', '-'"},
    {"seed", SETTING_INT, offsetof(struct recipe, seed), .low = 0, .high = INT_MAX, .fallback = "1",
     .help = "of all that is random"},
    {"threads", SETTING_INT, offsetof(struct recipe, threads), .low = 0, .high = 1024,
     .fallback = "0", .help = "0: one for each core that may be used"},
    {"precision", SETTING_CHOICE, offsetof(struct recipe, precision), .choices = precisions,
     .fallback = "f32", .help = "of activations and arithmetic; weights are f32 always"},
    {"data", SETTING_GROUP, offsetof(struct recipe, data), .group = &data_settings,
     .help = "what is learned from"},
    {"teacher", SETTING_GROUP, offsetof(struct recipe, teacher), .group = &teacher_settings,
     .help = "who teaches"},
    {"student", SETTING_GROUP, offsetof(struct recipe, student), .group = &student_settings,
     .help = "who is taught"},
    {"distill", SETTING_GROUP, offsetof(struct recipe, distill), .group = &distill_settings,
     .help = "how"},
};
const struct setting_table recipe_settings = SETTING_TABLE("recipe", struct recipe, recipe_rows);

/* ---- load ---- */

static enum retort_status apply(const char *override, struct recipe *recipe, struct arena *arena)
{
    const char *equals = strchr(override, '=');
    if (!equals || equals == override)
        return fail(RETORT_INVALID, "--set %s: key.path=value wanted", override);
    json_t *text = json_string(override); /* refuses what is not UTF-8, and so could not be saved */
    if (!text)
        return fail(RETORT_INVALID, "--set %.*s: the value is not UTF-8 text",
                    (int)(equals - override), override);
    json_decref(text);
    char *path = arena_text_n(arena, override, (size_t)(equals - override));
    if (!path)
        return fail(RETORT_MEMORY, "--set %s: out of memory", override);
    enum retort_status status = settings_set(&recipe_settings, recipe, path, equals + 1, arena);
    return status == RETORT_OK ? RETORT_OK : fail_in(status, "--set %s", override);
}

/* Owned by arena, of which recipe->arena knows nothing yet: settings_defaults zeroes it. */
static enum retort_status make(const struct recipe_yaml *yaml, const char *const *overrides,
                               int override_count, struct recipe *recipe, struct arena *arena)
{
    struct recipe usual;
    TRY(settings_defaults(&recipe_settings, &usual, arena));
    TRY(settings_defaults(&recipe_settings, recipe, arena));
    TRY(recipe_yaml_locate(yaml, recipe_schema_read(&recipe_settings, yaml, recipe, arena)));
    for (int i = 0; i < override_count; i++)
        TRY(apply(overrides[i], recipe, arena));
    TRY(recipe_yaml_locate(yaml, settings_check(&recipe_settings, recipe, NULL)));
    return recipe_yaml_locate(yaml, recipe_check(recipe, &usual));
}

enum retort_status recipe_load(const char *path, const char *const *overrides, int override_count,
                               struct recipe *recipe)
{
    struct file_bytes bytes;
    TRY(file_read(path, LARGEST_FILE, &bytes));
    struct arena arena = {0};
    struct recipe made = {0};
    struct recipe_yaml *yaml = NULL;
    enum retort_status status = recipe_yaml_open(path, bytes, &yaml);
    if (status == RETORT_OK)
        status = make(yaml, overrides, override_count, &made, &arena);
    if (status == RETORT_OK) {
        *recipe = made;
        recipe->arena = arena;
    } else {
        arena_release(&arena);
    }
    recipe_yaml_close(yaml);
    free(bytes.data);
    return status;
}

void recipe_release(struct recipe *recipe)
{
    struct arena arena = recipe->arena;
    *recipe = (struct recipe){0};
    arena_release(&arena);
}

enum retort_status recipe_blame(const char *path, const char *setting, enum retort_status status)
{
    struct file_bytes bytes = {0};
    struct recipe_yaml *yaml = NULL;
    char sentence[1024];
    if (status == RETORT_OK || status == RETORT_MEMORY)
        return status;
    snprintf(sentence, sizeof(sentence), "%s: %s", setting, retort_message());
    if (file_read(path, LARGEST_FILE, &bytes) == RETORT_OK &&
        recipe_yaml_open(path, bytes, &yaml) == RETORT_OK) {
        status_record("%s", sentence);
        recipe_yaml_locate(yaml, status);
    } else {
        status_record("%s: %s", path, sentence);
    }
    recipe_yaml_close(yaml);
    free(bytes.data);
    return status;
}

enum retort_status recipe_print(const struct recipe *recipe, char **text)
{
    json_t *object = settings_json(&recipe_settings, recipe);
    if (!object)
        return fail(RETORT_MEMORY, "out of memory: a recipe was to be written");
    enum retort_status status = recipe_yaml_of_json(object, text);
    json_decref(object);
    return status;
}
