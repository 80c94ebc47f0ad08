/* schedule.c - the learning rate as a function of the step. */
#include "train/schedule.h"

static double one_cycle(const struct recipe_train *train, long step, long steps)
{
    double peak = train->warmup * (double)steps;
    if ((double)step < peak)
        return train->lr * (double)(step + 1) / (peak + 1);
    return train->lr * ((double)(steps - step) / ((double)steps - peak));
}

static double stepped(const struct recipe_train *train, long step, long steps)
{
    double rate = train->lr;
    for (int i = 0; i < train->milestones.count; i++)
        if (step * 100 >= (long)train->milestones.items[i] * steps)
            rate *= train->gamma;
    return rate;
}

double schedule_rate(const struct recipe_train *train, long step, long steps)
{
    switch (train->schedule) {
    case SCHEDULE_ONE_CYCLE:
        return one_cycle(train, step, steps);
    case SCHEDULE_STEP:
        return stepped(train, step, steps);
    default:
        return train->lr;
    }
}
