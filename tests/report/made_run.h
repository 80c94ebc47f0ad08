/* made_run.h - made-up run folders for the tests of the report. */
#ifndef TESTS_REPORT_MADE_RUN_H
#define TESTS_REPORT_MADE_RUN_H

/* The name of a recipe and of a class, as a hostile person would choose them. */
#define HOSTILE "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"

/* Make DIR/recipe.yaml with this name and seed, and run.json whose students have these accuracies,
 * two classes each. Static buffer of support_path. */
const char *made_run(const char *folder, const char *name, int seed, double plain, double student);

/* Write a text file into a folder. */
void made_run_write(const char *folder, const char *name, const char *text);

#endif
