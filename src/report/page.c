/* page.c - the page's source with data put in.
 *
 * web/ is turned into arrays by the build (web/embed.sh). page.html has marks, {{title}} and so on,
 * each of which is replaced by what belongs there. Names of recipes and classes come from outside:
 * in HTML five characters are escaped; the data stand in a script element as JSON, where a "<"
 * could end the element, so it is written as an escape. The page's script puts them in as texts. */
#include "report/page.h"

#include <stdlib.h>
#include <string.h>

#include "report/web.h"

void page_write_text(const char *text, FILE *stream)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", stream);
            break;
        case '>':
            fputs("&gt;", stream);
            break;
        case '&':
            fputs("&amp;", stream);
            break;
        case '"':
            fputs("&quot;", stream);
            break;
        case '\'':
            fputs("&#39;", stream);
            break;
        default:
            fputc(*text, stream);
        }
}

void page_write_json(const char *json, FILE *stream)
{
    for (; *json; json++)
        if (*json == '<' || *json == '>' || *json == '&')
            fprintf(stream, "\\u%04x", (unsigned)*json);
        else
            fputc(*json, stream);
}

struct filling {
    const char *title, *json;
};

static void write_mark(const char *mark, size_t length, const struct filling *filling, FILE *stream)
{
    static const struct {
        const char *mark;
        const unsigned char *bytes;
        const size_t *size;
    } files[] = {
        {"style", web_style_css, &web_style_css_size},
        {"script", web_page_js, &web_page_js_size},
        {"chart", web_chart_js, &web_chart_js_size},
    };
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strlen(files[i].mark) == length && memcmp(files[i].mark, mark, length) == 0)
            fwrite(files[i].bytes, 1, *files[i].size, stream);
    if (length == 5 && memcmp(mark, "title", 5) == 0)
        page_write_text(filling->title, stream);
    if (length == 4 && memcmp(mark, "data", 4) == 0)
        page_write_json(filling->json, stream);
}

enum retort_status page_write(const char *title, const json_t *data, FILE *stream)
{
    char *json = json_dumps(data, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    if (!json)
        return fail(RETORT_MEMORY, "out of memory for a page");
    const struct filling filling = {title, json};
    const char *at = (const char *)web_page_html;
    for (const char *open; (open = strstr(at, "{{")); at = strstr(open, "}}") + 2) {
        fwrite(at, 1, (size_t)(open - at), stream);
        write_mark(open + 2, (size_t)(strstr(open, "}}") - open) - 2, &filling, stream);
    }
    fputs(at, stream);
    free(json);
    return RETORT_OK;
}
