/* recipe_tree.h - inside recipe_yaml.c and recipe_emit.c: the tree as libyaml has it. */
#ifndef RECIPE_RECIPE_TREE_H
#define RECIPE_RECIPE_TREE_H

#include <yaml.h>

#include "recipe/recipe_yaml.h"

struct recipe_yaml {
    const char *name;
    struct file_bytes bytes;
    yaml_document_t document;
};

/* Parse the text once more, into a document that the caller may change and has to delete. */
enum retort_status recipe_tree_load(const struct recipe_yaml *yaml, yaml_document_t *document);

/* Nodes are counted from 1, the root. */
static inline const yaml_node_t *recipe_tree_node(const yaml_document_t *document, int node)
{
    return &document->nodes.start[node - 1];
}

#endif
