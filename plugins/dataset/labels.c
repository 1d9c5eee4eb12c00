/*
 * labels.c: names in one array. While they come they are looked for one by one: data has few.
 */
#include "dataset/labels.h"

#include <stdbool.h>
#include <stdlib.h>

void labels_release(struct labels *l)
{
    free(l->names);
    *l = (struct labels){ 0 };
}

static bool is_name(const char *name, maas_str wanted)
{
    return strlen(name) == wanted.len && memcmp(name, wanted.data, wanted.len) == 0;
}

static maas_status make_room(struct labels *l, uint64_t line, maas_error *error)
{
    if (l->count == LABELS_MAX)
        return maas_fail(error, MAAS_E_INVALID, "line %llu: more than %d classes",
                         (unsigned long long)line, LABELS_MAX);
    if (l->count < l->room)
        return MAAS_OK;
    const uint32_t room = l->room ? 2 * l->room : 16;
    void *names = realloc(l->names, room * sizeof(*l->names));
    if (!names)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u classes", room);
    l->names = names;
    l->room = room;
    return MAAS_OK;
}

maas_status labels_add(struct labels *l, maas_str name, uint64_t line, uint32_t *out,
                       maas_error *error)
{
    if (name.len == 0 || name.len >= LABEL_MAX || memchr(name.data, 0, name.len))
        return maas_fail(error, MAAS_E_INVALID,
                         "line %llu: a label of %llu bytes; 1 to %d, without NUL, are good",
                         (unsigned long long)line, (unsigned long long)name.len, LABEL_MAX - 1);
    for (uint32_t i = 0; i < l->count; i++)
        if (is_name(l->names[i], name)) {
            *out = i;
            return MAAS_OK;
        }
    maas_status status = make_room(l, line, error);
    if (status)
        return status;
    memset(l->names[l->count], 0, LABEL_MAX);
    memcpy(l->names[l->count], name.data, name.len);
    *out = l->count++;
    return MAAS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

maas_status labels_sort(struct labels *l, uint32_t *rows, uint64_t count, maas_error *error)
{
    struct labels old = *l;
    uint32_t *place = calloc(l->count + 1u, sizeof(*place));
    l->names = calloc(l->room + 1u, sizeof(*l->names));
    const bool good = place && l->names;
    if (good && l->count) {
        memcpy(l->names, old.names, (size_t)l->count * sizeof(*l->names));
        qsort(l->names, l->count, sizeof(*l->names), by_name);
        for (uint32_t i = 0; i < l->count; i++)
            place[i] = (uint32_t)labels_find(l->names, l->count, maas_text(old.names[i]));
        for (uint64_t i = 0; i < count; i++)
            rows[i] = place[rows[i]];
    }
    free(place);
    free(good ? old.names : l->names);
    l->names = good ? l->names : old.names;
    return good ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the classes");
}

int64_t labels_find(char (*names)[LABEL_MAX], uint32_t count, maas_str name)
{
    char key[LABEL_MAX] = "";
    if (name.len >= LABEL_MAX)
        return -1;
    memcpy(key, name.data, name.len);
    const char(*found)[LABEL_MAX] =
        count ? bsearch(key, names, count, sizeof(*names), by_name) : NULL;
    return found && strlen(key) == name.len ? found - (const char(*)[LABEL_MAX])names : -1;
}
