/* training_fixture.h - a training of seconds without files: a teacher and two students of a few
 * layers, and the images that tiny.h makes. Tests change the setup between opening and training. */
#ifndef TESTS_TRAINING_FIXTURE_H
#define TESTS_TRAINING_FIXTURE_H

#include "base/memory.h"
#include "data/dataset.h"
#include "distill/loss.h"
#include "nn/model.h"
#include "recipe/recipe.h"
#include "train/trainer.h"

enum { TRAIN_IMAGES = 50, BATCH = 8, WIDTH = 6 };

struct fixture {
    struct dataset dataset;
    struct recipe_data data;
    struct recipe_train train;
    struct arena arena;
    const void *losses[LOSS_COUNT];
    struct model teacher, student, peer, *models[2];
    const struct model *teachers[2];
    struct trainer_setup setup;
};

/* One student and one teacher, with cross-entropy, KL and Gram matrices; the second student and the
 * second teacher, which is the first one again, are counted by who wants them. Close it. */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* A loss with the settings of `text`, as a recipe has them, or without any. */
void fixture_loss_with(struct fixture *f, enum loss_kind kind, const char *text);
void fixture_loss(struct fixture *f, enum loss_kind kind);

/* The report of the last epoch; the model ends up with the trained numbers. */
struct training_report fixture_train(const struct trainer_setup *setup, int epochs);

#endif
