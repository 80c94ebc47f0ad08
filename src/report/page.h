/* page.h - the page's source (web/) with data put in. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* The page shows what data says, see web/page.js. Errors of the stream are the caller's to find. */
enum retort_status page_write(const char *title, const json_t *data, FILE *stream);

/* For tests: what puts texts from outside where HTML, or JSON in a script, may stand. */
void page_write_text(const char *text, FILE *stream);
void page_write_json(const char *json, FILE *stream);

#endif
