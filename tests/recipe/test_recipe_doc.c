/* test_recipe_doc.c - doc/recipe.md says of every setting what the tables say, word for word.
 *
 * What the tables say stands there between two markers. `make tables` puts it there: with
 * WRITE_TABLES in the environment this program writes the file instead of comparing it. */
#include "support.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/zoo/family.h"
#include "recipe/recipe.h"

enum { MOST_TABLES = 64 };

/* Tables in the order in which a recipe leads to them; a table may have several places. */
struct listed {
    const struct setting_table *table;
    char places[256];
};
static struct listed list[MOST_TABLES];
static int listed_count;

static void list_table(const struct setting_table *table, const char *place)
{
    for (int i = 0; i < listed_count; i++)
        if (list[i].table == table) {
            size_t used = strlen(list[i].places);
            snprintf(list[i].places + used, sizeof(list[i].places) - used, ", `%s`", place);
            return;
        }
    assert_in_range(listed_count, 0, MOST_TABLES - 1);
    list[listed_count].table = table;
    snprintf(list[listed_count++].places, sizeof(list[0].places), "`%s`", place);
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        char inside[200];
        snprintf(inside, sizeof(inside), "%s%s%s%s", place, place[0] ? "." : "", row->name,
                 row->type == SETTING_GROUPS ? ".N" : "");
        if (row->group)
            list_table(row->group, inside);
    }
}

static const char *default_of(const struct setting *row)
{
    static char text[128];
    if (row->type == SETTING_OPTION)
        return "absent";
    if (row->group)
        return "";
    if (!row->fallback)
        return "must be given";
    snprintf(text, sizeof(text), row->fallback[0] ? "`%s`" : "empty", row->fallback);
    return text;
}

static void print_rows(FILE *out, const struct setting_table *table)
{
    char accepts[512];
    fprintf(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < table->count; i++) {
        settings_describe(&table->rows[i], accepts, sizeof(accepts));
        fprintf(out, "| `%s` | %s | %s | %s |\n", table->rows[i].name, accepts,
                default_of(&table->rows[i]), table->rows[i].help);
    }
}

static char *wanted_tables(void)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    list_table(&recipe_settings, "");
    for (int i = 0; i < listed_count; i++) {
        fprintf(out, "\n### %s%s%s\n\n", list[i].table->name, i ? ": " : "",
                i ? list[i].places : "");
        print_rows(out, list[i].table);
    }
    fprintf(out, "\n## Networks\n\nWritten `family:key=value,key=value`.\n");
    for (int i = 0; network_families[i]; i++) {
        fprintf(out, "\n### %s: %s\n\n", network_families[i]->name, network_families[i]->help);
        print_rows(out, network_families[i]->settings);
    }
    fclose(out);
    return text;
}

static const char begin[] = "<!-- tables -->\n", end[] = "<!-- end of tables -->";

/* The file with the tables as they are between its markers; the caller frees it. */
static char *wanted_document(const char *document)
{
    const char *from = strstr(document, begin), *to = strstr(document, end);
    char *tables = wanted_tables(), *text;
    if (!from || !to)
        fail_msg("doc/recipe.md has lost its markers %s %s", begin, end);
    from += strlen(begin);
    if (asprintf(&text, "%.*s%s\n%s", (int)(from - document), document, tables, to) < 0)
        fail_msg("out of memory");
    free(tables);
    return text;
}

static void every_setting_is_documented_as_its_table_says(void **state)
{
    const char *root = getenv("TEST_ROOT");
    char path[512];
    struct file_bytes document;
    snprintf(path, sizeof(path), "%s/doc/recipe.md", root ? root : ".");
    assert_ok(file_read(path, 1 << 20, &document));
    char *wanted = wanted_document((const char *)document.data);
    bool right = strcmp((const char *)document.data, wanted) == 0;
    if (!right && getenv("WRITE_TABLES")) {
        assert_ok(file_write(path, wanted, strlen(wanted)));
        right = true;
    }
    free(wanted);
    free(document.data);
    if (!right)
        fail_msg("%s is not what the tables say: `make tables` puts that right", path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_is_documented_as_its_table_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
