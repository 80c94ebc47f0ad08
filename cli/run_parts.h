/* run_parts.h - what run, train and distill share: the same options, other parts of the run. */
#ifndef CLI_RUN_PARTS_H
#define CLI_RUN_PARTS_H

/* doc: argp's text. parts: of enum retort_parts. */
int run_parts(int argc, char **argv, const char *doc, unsigned parts);

#endif
