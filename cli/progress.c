/* progress.c - two bars, redrawn ten times a second at most; where stderr is no terminal, one line
 * per epoch.
 *
 * A bar's line is a label, the bar, and words of decreasing importance, of which as many are shown
 * as fit. All of a drawing is one write, over what was there before, so that it does not flicker.
 */
#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { WIDEST = 200, BAR = 30, SMALL_BAR = 10, SMALLEST_BAR = 3, LINE = 512 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static bool is_set(const char *variable)
{
    const char *text = getenv(variable);
    return text && *text;
}

void progress_begin(struct progress *progress, bool quiet)
{
    const bool dumb = !is_set("TERM") || strcmp(getenv("TERM"), "dumb") == 0;
    const bool live = isatty(STDERR_FILENO) && !dumb;
    *progress = (struct progress){.live = live, .colour = live && !is_set("NO_COLOR")};
    progress->quiet = quiet;
}

/* The terminal's width, or COLUMNS where that is less or the terminal does not say. */
static int columns(void)
{
    struct winsize size;
    const int wide = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
    const int wanted = is_set("COLUMNS") ? atoi(getenv("COLUMNS")) : 0;
    int least = wide > 0 && (wanted <= 0 || wide < wanted) ? wide : wanted;
    least = least > 0 ? least : 80;
    return least < WIDEST ? least : WIDEST;
}

void progress_time(double seconds, char *text, size_t size)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}

/* ---- a bar ---- */

enum { MOST_WORDS = 4 };

/* What a line says, most important words first. */
struct bar {
    char label[64], words[MOST_WORDS][40];
    double share; /* 0 to 1 */
};

/* How many of the words fit into the width beside label and bar; *rest: what is left for the bar.
 */
static int fit_words(const struct bar *bar, int width, int *rest)
{
    int words = 0;
    *rest = width - (int)strlen(bar->label) - 3; /* a space and the bar's brackets */
    for (; words < MOST_WORDS && bar->words[words][0]; words++) {
        const int more = (int)strlen(bar->words[words]) + (words ? 2 : 1);
        if (*rest - more < (words ? SMALL_BAR : SMALLEST_BAR))
            break;
        *rest -= more;
    }
    *rest = *rest < BAR ? *rest : BAR;
    return words;
}

static void print_bar(FILE *out, const struct bar *bar, int width, bool colour)
{
    int rest;
    const int words = fit_words(bar, width, &rest);
    if (rest < SMALLEST_BAR) {
        fprintf(out, "%.*s", width, bar->label);
        return;
    }
    const double share = bar->share < 0 ? 0 : bar->share > 1 ? 1 : bar->share;
    const int filled = (int)(share * rest);
    fprintf(out, "%s [%s", bar->label, colour ? "\033[32m" : "");
    for (int i = 0; i < filled; i++)
        putc('#', out);
    fputs(colour ? "\033[0m" : "", out);
    for (int i = filled; i < rest; i++)
        putc('.', out);
    putc(']', out);
    for (int i = 0; i < words; i++)
        fprintf(out, i ? "  %s" : " %s", bar->words[i]);
}

/* ---- the live lines ---- */

/* The library tells how long the part takes; the epoch has its share of the steps. */
static double epoch_left(const struct retort_progress *e)
{
    const double steps = (double)(e->steps - e->step);
    const double all = (double)(e->epochs - e->epoch) * (double)e->steps + steps;
    return all > 0 ? e->remaining * steps / all : 0;
}

static struct bar epoch_bar(const struct retort_progress *e)
{
    struct bar bar = {.share = (double)e->step / (double)e->steps};
    char left[24];
    progress_time(epoch_left(e), left, sizeof(left));
    snprintf(bar.label, sizeof(bar.label), "%s %d/%d", e->part, e->epoch, e->epochs);
    snprintf(bar.words[0], sizeof(bar.words[0]), "left %s", left);
    snprintf(bar.words[1], sizeof(bar.words[1]), "%.0f images/s", e->images_per_second);
    snprintf(bar.words[2], sizeof(bar.words[2]), "loss %.4f", e->loss);
    snprintf(bar.words[3], sizeof(bar.words[3]), "train %.2f %%", e->accuracy);
    return bar;
}

/* pad: width of the label. */
static struct bar run_bar(const struct retort_progress *e, int pad)
{
    struct bar bar = {.share = e->run_share};
    char left[24], percent[32];
    snprintf(bar.label, sizeof(bar.label), "%-*s", pad, "run");
    snprintf(percent, sizeof(percent), "%.0f %%", 100 * e->run_share);
    progress_time(e->run_remaining, left, sizeof(left));
    if (e->run_remaining >= 0)
        snprintf(bar.words[0], sizeof(bar.words[0]), "left about %s", left);
    strcpy(bar.words[e->run_remaining >= 0], percent);
    return bar;
}

static void clear_lines(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[A\033[J", stderr); /* up to the first one, and erase from there on */
    progress->shown = false;
    progress->drawn = 0;
}

static void draw(struct progress *progress, const struct retort_progress *e)
{
    char text[3 * LINE] = "";
    const double time = now();
    if (time - progress->drawn < 0.1)
        return;
    FILE *out = fmemopen(text, sizeof(text), "w");
    if (!out)
        return; /* out of memory: training goes on without a picture */
    const int width = columns() - 1;
    const struct bar epoch = epoch_bar(e),
                     run = run_bar(e, width < 60 ? 0 : (int)strlen(epoch.label));
    fputs(progress->shown ? "\r\033[A" : "\r", out);
    print_bar(out, &epoch, width, progress->colour);
    fputs("\033[K\n", out);
    print_bar(out, &run, width, progress->colour);
    fputs("\033[K", out);
    fclose(out);
    fputs(text, stderr);
    fflush(stderr);
    progress->shown = true;
    progress->drawn = time;
}

/* ---- plain lines ---- */

static void tell_epoch(const struct retort_progress *e)
{
    char left[24], run[24];
    progress_time(e->remaining, left, sizeof(left));
    progress_time(e->run_remaining, run, sizeof(run));
    fprintf(stderr, "%s %d/%d  %6.0f images/s  left %s", e->part, e->epoch, e->epochs,
            e->images_per_second, left);
    if (e->run_remaining >= 0)
        fprintf(stderr, " (run about %s)", run);
    fprintf(stderr, "  loss %.4f  train %.2f %%  waited for data %.1f %%", e->loss, e->accuracy,
            e->waited);
    if (e->val_top1 >= 0)
        fprintf(stderr, "  val %.2f %%", e->val_top1);
    fputc('\n', stderr);
}

int progress_listen(void *context, const struct retort_progress *event)
{
    struct progress *progress = context;
    if (progress->quiet)
        return 0;
    if (event->kind == RETORT_STEP) {
        if (progress->live)
            draw(progress, event);
        return 0;
    }
    clear_lines(progress);
    if (event->kind == RETORT_EPOCH)
        tell_epoch(event);
    else if (event->kind == RETORT_PART_ENDS)
        fprintf(stderr, "%s: %.2f %% of the test images\n", event->part, event->test_top1);
    else
        fprintf(stderr, "%s\n", event->text);
    return 0;
}

void progress_end(struct progress *progress)
{
    clear_lines(progress);
}
