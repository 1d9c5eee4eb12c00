/*
 * check_load.c: the file, its table, and artifacts that are not what they should be.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_list.h"
#include "exports.h"
#include "folder.h"
#include "sample.h"

/* ---- the file */

struct names {
    size_t count, others;
    char other[EXPORT_NAME_MAX];
};

static void count_name(void *arg, const char *name)
{
    struct names *n = arg;
    n->count++;
    if (strcmp(name, "maas_plugin_entry") == 0)
        return;
    if (n->others++ == 0)
        snprintf(n->other, sizeof(n->other), "%s", name);
}

enum verdict check_exports(struct trial *t)
{
    maas_error error = MAAS_ERROR_INIT;
    struct names names = { 0 };
    if (exports_read(t->target->plugin, count_name, &names, &error))
        return failed(t, "%s", error.text);
    if (names.others)
        return failed(t, "it exports %zu symbols more, '%.60s' first: link with plugin.map",
                      names.others, names.other);
    return names.count ? VERDICT_OK : failed(t, "it does not export maas_plugin_entry");
}

typedef const maas_plugin *entry_function(uint32_t);

static enum verdict find_entry(struct trial *t, entry_function **out)
{
    union {
        void *object;
        entry_function *function;
    } symbol;
    char path[PATH_BYTES]; /* with a slash, or the loader searches for it */
    bool plain = !strchr(t->target->plugin, '/');
    snprintf(path, sizeof(path), "%s%s", plain ? "./" : "", t->target->plugin);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return failed(t, "%s", dlerror());
    symbol.object = dlsym(handle, "maas_plugin_entry");
    *out = symbol.function;
    return symbol.object ? VERDICT_OK : failed(t, "it does not export maas_plugin_entry");
}

enum verdict check_major(struct trial *t)
{
    entry_function *entry;
    enum verdict verdict = find_entry(t, &entry);
    if (verdict)
        return verdict;
    const uint32_t others[] = { MAAS_ABI_MAJOR + 1, MAAS_ABI_MAJOR + 7, 0xffff };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (entry(others[i] << 16 | MAAS_ABI_MINOR))
            return failed(t, "entry gives a table for major %u", others[i]);
    const maas_plugin *table = entry(MAAS_ABI);
    if (!table)
        return failed(t, "entry gives NULL for ABI %u.%u", MAAS_ABI_MAJOR, MAAS_ABI_MINOR);
    if (entry(MAAS_ABI + 5) != table || entry(MAAS_ABI_MAJOR << 16) != table)
        return failed(t, "entry looks at the minor version; compare the upper 16 bits only");
    return entry(MAAS_ABI) == table ? VERDICT_OK : failed(t, "entry gives another table each time");
}

enum verdict check_table(struct trial *t)
{
    entry_function *entry;
    enum verdict verdict = find_entry(t, &entry);
    if (verdict)
        return verdict;
    const maas_plugin *table = entry(MAAS_ABI);
    if (!table)
        return failed(t, "entry gives NULL for ABI %u.%u", MAAS_ABI_MAJOR, MAAS_ABI_MINOR);
    if (!MAAS_HAS(maas_plugin, table, extension) || table->size % 8 || table->size > 4096)
        return failed(t, "its size is %u; write sizeof(maas_plugin)", table->size);
    return trial_load_plugin(t); /* the real host looks at the rest */
}

/* ---- artifacts */

/* Loads from a folder; a refusal must have a text that ends. *out NULL: refused. */
static enum verdict load_from(struct trial *t, const char *root, const char *what,
                              struct engine_model **out)
{
    maas_error error = MAAS_ERROR_INIT;
    *out = NULL;
    if (trial_model(t, root, out, &error) == MAAS_OK)
        return VERDICT_OK;
    *out = NULL;
    return error.text[0] ? VERDICT_OK : failed(t, "%s: load gives an error without a text", what);
}

/* The same answer as the whole artifact's: then what is missing is not read by the plugin. */
static enum verdict answers_as_before(struct trial *t, struct engine_model *other, const char *what)
{
    char why[WHY_MAX / 2];
    const maas_signature *s = engine_signature(t->model);
    struct sample *sample = sample_new(s, trial_rows_max(t, 4), t->target->seed, t->flavour);
    struct answer a = answer_new(), b = answer_new();
    (void)ask(t->model, sample, NULL, &a);
    (void)ask(other, sample, NULL, &b);
    bool same = a.status == b.status && s->input_count == engine_signature(other)->input_count &&
                (a.status || answers_agree(&a, 0, &b, 0, a.rows, why, sizeof(why)));
    sample_free(sample);
    answer_free(&a);
    answer_free(&b);
    return same ? VERDICT_OK : failed(t, "%s: load accepts it and infer answers otherwise", what);
}

static enum verdict refuses(struct trial *t, const char *root, const char *what)
{
    struct engine_model *model;
    enum verdict verdict = load_from(t, root, what, &model);
    if (!verdict && model)
        verdict = answers_as_before(t, model, what);
    engine_model_unload(model);
    return verdict;
}

enum verdict check_no_artifact(struct trial *t)
{
    char nowhere[PATH_BYTES];
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    snprintf(nowhere, sizeof(nowhere), "%s/nowhere", t->scratch);
    verdict = refuses(t, nowhere, "a folder that does not exist");
    return verdict ? verdict : refuses(t, t->scratch, "an empty folder");
}

static enum verdict read_artifact(struct trial *t, struct folder *out)
{
    maas_error error = MAAS_ERROR_INIT;
    enum verdict verdict = trial_load(t);
    if (verdict)
        return verdict;
    if (!t->target->model)
        return skipped(t, "it needs no model, and none is given");
    return folder_read(t->target->model, out, &error) ? failed(t, "%s", error.text) : VERDICT_OK;
}

static enum verdict try_cut(struct trial *t, struct folder *f, size_t at, size_t len)
{
    char what[FOLDER_PATH_MAX + 64], dir[PATH_BYTES];
    maas_error error = MAAS_ERROR_INIT;
    size_t whole = f->files[at].len;
    snprintf(what, sizeof(what), "'%.200s' cut to %zu bytes of %zu", f->files[at].path, len, whole);
    snprintf(dir, sizeof(dir), "%s/cut", t->scratch);
    f->files[at].len = len;
    maas_status status = folder_write(f, dir, &error);
    f->files[at].len = whole;
    return status ? failed(t, "%s", error.text) : refuses(t, dir, what);
}

enum verdict check_truncated(struct trial *t)
{
    struct folder f;
    enum verdict verdict = read_artifact(t, &f);
    if (verdict)
        return verdict;
    for (size_t i = 0; i < f.count && !verdict; i++) {
        size_t len = f.files[i].len;
        const size_t cuts[] = { 0, 1, len / 4, len / 2, len - len / 4, len - 2, len - 1 };
        for (size_t c = 0; c < COUNT_OF(cuts) && !verdict; c++)
            if (cuts[c] < len)
                verdict = try_cut(t, &f, i, cuts[c]);
    }
    folder_release(&f);
    return verdict;
}

/* ---- wrong bytes: only a crash counts, since a changed weight is a weight */

static void damage(struct folder *f, uint64_t *state)
{
    static const char likely[] = "0123456789-. \n"; /* keeps a text a text, with other numbers */
    struct folder_file *file = &f->files[random_next(state) % f->count];
    size_t flips = 1 + random_next(state) % 4;
    for (size_t i = 0; i < flips && file->len; i++)
        file->data[random_next(state) % file->len] =
            random_next(state) % 2 ? likely[random_next(state) % (sizeof(likely) - 1)]
                                   : (char)random_next(state);
}

static enum verdict try_damaged(struct trial *t, const char *dir, uint64_t seed)
{
    struct engine_model *model;
    enum verdict verdict = load_from(t, dir, "a damaged file", &model);
    if (!model)
        return verdict;
    struct answer a = answer_new();
    struct sample *sample = sample_new(engine_signature(model), 1, seed, t->flavour);
    (void)ask(model, sample, NULL, &a);
    sample_free(sample);
    answer_free(&a);
    engine_model_unload(model);
    return verdict;
}

enum verdict check_damaged(struct trial *t)
{
    struct folder f;
    char dir[PATH_BYTES];
    maas_error error = MAAS_ERROR_INIT;
    uint64_t state = t->target->seed;
    enum verdict verdict = read_artifact(t, &f);
    if (verdict)
        return verdict;
    snprintf(dir, sizeof(dir), "%s/damaged", t->scratch);
    for (unsigned i = 0; i < 10 * t->target->samples && !verdict; i++) {
        folder_release(&f);
        if (folder_read(t->target->model, &f, &error))
            return failed(t, "%s", error.text);
        if (f.count == 0)
            return skipped(t, "the model has no file");
        damage(&f, &state);
        verdict = folder_write(&f, dir, &error) ? failed(t, "%s", error.text)
                                                : try_damaged(t, dir, state);
    }
    folder_release(&f);
    return verdict;
}
