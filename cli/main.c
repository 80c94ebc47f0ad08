/* main.c - the table of commands. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "retort/status.h"
#include "retort/version.h"

#define DECLARE(name) extern const struct command command_##name;
COMMANDS(DECLARE)

static const struct command *const commands[] = {
#define ROW(name) &command_##name,
    COMMANDS(ROW)};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

int report_failure(void)
{
    fprintf(stderr, "retort: %s\n", retort_message());
    return EXIT_FAILED;
}

int option_number(struct argp_state *state, const char *option, const char *text, int least,
                  int most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        argp_error(state, "--%s: %s found, a whole number from %d to %d wanted", option, text,
                   least, most);
    return (int)value;
}

double option_share(struct argp_state *state, const char *option, const char *text, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= most))
        argp_error(state, "--%s: %s found, a number above 0, at most %g, wanted", option, text,
                   most);
    return value;
}

static void print_help(FILE *out)
{
    fprintf(out, "Usage: retort COMMAND [ARGUMENT...]\n"
                 "Makes image classifiers small by knowledge distillation.\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->help);
    fprintf(
        out,
        "\n`retort COMMAND --help` tells the arguments of a command.\n"
        "Exit code: 0 done, 1 failed, 2 wrong usage; 130 or 143 interrupted (SIGINT, SIGTERM),\n"
        "the state saved.\n");
}

static int run_command(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts(argp_program_version);
        return EXIT_OK;
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], commands[i]->name) == 0) {
            char name[64];
            snprintf(name, sizeof(name), "retort %s", argv[1]);
            argv[1] = name;
            return commands[i]->main(argc - 1, argv + 1);
        }
    fprintf(stderr, "retort: no command %s; `retort --help` lists them\n", argv[1]);
    return EXIT_USAGE;
}

/* While OpenMP's threads wait they spin, for milliseconds by default. Where other processes want
 * the cores, the thread that is waited for does not get one meanwhile (doc/decisions, 11). A
 * shorter spin made no measurable difference on an idle machine. GNU's library reads its settings
 * before main, so the program starts itself again; where that is not possible it goes on as it is.
 */
static void spin_briefly(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") ||
        setenv("GOMP_SPINCOUNT", "10000", 1))
        return;
    execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    spin_briefly(argv);
    argp_program_version = "retort " RETORT_VERSION; /* libc's variables */
    argp_err_exit_status = EXIT_USAGE;
    int code = run_command(argc, argv);
    if ((fflush(stdout) || ferror(stdout)) && code == EXIT_OK) {
        fprintf(stderr, "retort: cannot write to stdout: %s\n", strerror(errno));
        code = EXIT_FAILED;
    }
    return code;
}
