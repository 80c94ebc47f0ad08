/* command.h - what a command is: one struct of this type per file in cli/, one line in COMMANDS. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>

#define COMMANDS(X)                                                                                \
    X(run)                                                                                         \
    X(train)                                                                                       \
    X(distill)                                                                                     \
    X(eval)                                                                                        \
    X(inspect)                                                                                     \
    X(data)                                                                                        \
    X(report)                                                                                      \
    X(list)                                                                                        \
    X(bench)

struct command {
    const char *name, *help;
    /* argv[0] is "retort NAME". Returns the exit code. */
    int (*main)(int argc, char **argv);
};

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Print "retort: " and the library's sentence to stderr; gives EXIT_FAILED. */
int report_failure(void);

/* A whole number of an option, least..most; otherwise says so and exits with EXIT_USAGE. */
struct argp_state;
int option_number(struct argp_state *state, const char *option, const char *text, int least,
                  int most);
/* The same of a number above 0. */
double option_share(struct argp_state *state, const char *option, const char *text, double most);

#endif
