/* progress.c - a bar with images/s, time left, loss and accuracy, redrawn ten times a second at
 * most; where stderr is no terminal, one line per epoch. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void progress_begin(struct progress *progress, bool quiet)
{
    *progress = (struct progress){.terminal = isatty(STDERR_FILENO), .quiet = quiet};
}

static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

void progress_time(double seconds, char *text, size_t size)
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
}

static void format_line(const struct retort_progress *e, char *line, size_t size)
{
    char left[32];
    progress_time(e->remaining, left, sizeof(left));
    snprintf(line, size, "%s %d/%d  %6.0f images/s  left %s  loss %.4f  train %.2f %%", e->part,
             e->epoch, e->epochs, e->images_per_second, left, e->loss, e->accuracy);
}

static void clear_line(const struct progress *progress)
{
    if (progress->terminal)
        fputs("\r\033[K", stderr);
}

static void draw(struct progress *progress, const struct retort_progress *e)
{
    char line[256], bar[128];
    double time = now();
    if (time - progress->drawn < 0.1)
        return;
    progress->drawn = time;
    format_line(e, line, sizeof(line));
    int width = columns() - (int)strlen(line) - 5;
    width = width > 40 ? 40 : width;
    if (width < 4) {
        fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    } else {
        int filled = (int)((double)e->step / (double)e->steps * width);
        memset(bar, '#', (size_t)filled);
        memset(bar + filled, '.', (size_t)(width - filled));
        bar[width] = '\0';
        fprintf(stderr, "\r\033[K[%s] %s", bar, line);
    }
    fflush(stderr);
}

int progress_listen(void *context, const struct retort_progress *event)
{
    struct progress *progress = context;
    char line[256];
    if (progress->quiet)
        return 0;
    switch (event->kind) {
    case RETORT_STEP:
        if (progress->terminal)
            draw(progress, event);
        return 0;
    case RETORT_EPOCH:
        clear_line(progress);
        format_line(event, line, sizeof(line));
        fprintf(stderr, "%s  waited for data %.1f %%", line, event->waited);
        if (event->val_top1 >= 0)
            fprintf(stderr, "  val %.2f %%", event->val_top1);
        fputc('\n', stderr);
        return 0;
    case RETORT_PART_ENDS:
        clear_line(progress);
        fprintf(stderr, "%s: %.2f %% of the test images\n", event->part, event->test_top1);
        return 0;
    default:
        clear_line(progress);
        fprintf(stderr, "%s\n", event->text);
        return 0;
    }
}

void progress_end(struct progress *progress)
{
    if (!progress->quiet)
        clear_line(progress);
}
