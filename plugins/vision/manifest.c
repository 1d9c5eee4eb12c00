/*
 * manifest.c: the small text files beside model.onnx. Both are read whole, under a bound.
 */
#include "scorer.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20, WORDS_MAX = 4, LABEL_BYTES_MAX = 255 };

/* The whole file with a NUL behind it; MAAS_E_NOT_FOUND. */
static maas_status read_text(const char *root, const char *name, char **out, maas_error *error)
{
    char path[4096];
    struct stat what;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return maas_fail(error, errno == ENOENT ? MAAS_E_NOT_FOUND : MAAS_E_INTERNAL,
                         "cannot open '%s': %s", name, strerror(errno));
    char *text = NULL;
    maas_status status = MAAS_OK;
    if (fstat(fd, &what) || !S_ISREG(what.st_mode) || what.st_size > FILE_MAX)
        status =
            maas_fail(error, MAAS_E_INVALID, "'%s' is no file of at most %d bytes", name, FILE_MAX);
    else if (!(text = calloc(1, (size_t)what.st_size + 1)))
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for '%s'", name);
    else if (read(fd, text, (size_t)what.st_size) != what.st_size)
        status = maas_fail(error, MAAS_E_INTERNAL, "'%s' cannot be read", name);
    else if (memchr(text, 0, (size_t)what.st_size))
        status = maas_fail(error, MAAS_E_INVALID, "'%s' is no text: it holds a NUL", name);
    else if (what.st_size && text[what.st_size - 1] != '\n')
        status = maas_fail(error, MAAS_E_INVALID,
                           "the last line of '%s' has no end: is the file cut?", name);
    close(fd);
    if (status)
        free(text);
    else
        *out = text;
    return status;
}

/* ---- values of keys */

struct words {
    const char *word[WORDS_MAX + 1]; /* the key first */
    uint32_t count;
    uint32_t line;
};

static maas_status wrong(const struct words *w, const char *wanted, maas_error *error)
{
    return maas_fail(error, MAAS_E_INVALID, "'preprocess.txt', line %u: '%.40s' must be %s",
                     w->line, w->word[0], wanted);
}

static bool to_number(const char *word, double least, double most, double *out)
{
    char *end;
    *out = strtod(word, &end);
    return end != word && !*end && *out >= least && *out <= most;
}

static maas_status take_size(const struct words *w, uint32_t least, uint32_t *out,
                             maas_error *error)
{
    double value;
    if (w->count != 2 || !to_number(w->word[1], least, PREPARE_SIDE_MAX, &value) ||
        value != floor(value))
        return wrong(w, "a whole number of at most 4096", error);
    *out = (uint32_t)value;
    return MAAS_OK;
}

static maas_status take_choice(const struct words *w, const char *yes, const char *no, bool *out,
                               maas_error *error)
{
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "%s or %s", yes, no);
    if (w->count != 2 || (strcmp(w->word[1], yes) && strcmp(w->word[1], no)))
        return wrong(w, wanted, error);
    *out = strcmp(w->word[1], yes) == 0;
    return MAAS_OK;
}

/* One number for all channels, or three. */
static maas_status take_colours(const struct words *w, double least, float out[3],
                                maas_error *error)
{
    if (w->count != 2 && w->count != 4)
        return wrong(w, "one number or three", error);
    for (uint32_t i = 0; i < 3; i++) {
        double value;
        if (!to_number(w->word[w->count == 2 ? 1 : 1 + i], least, 1e6, &value))
            return wrong(w, least > 0 ? "above 0" : "a number", error);
        out[i] = (float)value;
    }
    return MAAS_OK;
}

static maas_status take_scale(const struct words *w, float *out, maas_error *error)
{
    double value;
    if (w->count != 2 || !to_number(w->word[1], 1e-9, 1e6, &value))
        return wrong(w, "a number above 0", error);
    *out = (float)value;
    return MAAS_OK;
}

static maas_status take_background(const struct words *w, uint8_t out[3], maas_error *error)
{
    float colours[3];
    maas_status status = take_colours(w, 0, colours, error);
    for (uint32_t i = 0; !status && i < 3; i++) {
        if (colours[i] > 255)
            return wrong(w, "0 to 255", error);
        out[i] = (uint8_t)colours[i];
    }
    return status;
}

static maas_status take_key(const struct words *w, struct prepare *p, bool *softmax,
                            maas_error *error)
{
    const char *key = w->word[0];
    if (strcmp(key, "width") == 0)
        return take_size(w, 1, &p->width, error);
    if (strcmp(key, "height") == 0)
        return take_size(w, 1, &p->height, error);
    if (strcmp(key, "resize") == 0)
        return take_size(w, 0, &p->resize, error);
    if (strcmp(key, "antialias") == 0)
        return take_choice(w, "yes", "no", &p->antialias, error);
    if (strcmp(key, "colours") == 0)
        return take_choice(w, "bgr", "rgb", &p->bgr, error);
    if (strcmp(key, "scale") == 0)
        return take_scale(w, &p->scale, error);
    if (strcmp(key, "mean") == 0)
        return take_colours(w, -1e6, p->mean, error);
    if (strcmp(key, "deviation") == 0)
        return take_colours(w, 1e-9, p->deviation, error);
    if (strcmp(key, "background") == 0)
        return take_background(w, p->background, error);
    if (strcmp(key, "softmax") == 0)
        return take_choice(w, "yes", "no", softmax, error);
    return maas_fail(error, MAAS_E_INVALID,
                     "'preprocess.txt', line %u: '%.40s' is no key; there are width, height, "
                     "resize, antialias, colours, "
                     "scale, mean, deviation, background, softmax",
                     w->line, key);
}

/* Cuts the line into words in place. */
static bool cut(char *line, struct words *w)
{
    w->count = 0;
    for (char *at = line; *at;) {
        while (isspace((unsigned char)*at))
            *at++ = 0;
        if (!*at || *at == '#')
            break;
        if (w->count > WORDS_MAX)
            return false;
        w->word[w->count++] = at;
        while (*at && !isspace((unsigned char)*at))
            at++;
    }
    return true;
}

maas_status manifest_read(const char *root, struct prepare *p, bool *softmax, maas_error *error)
{
    char *text = NULL;
    maas_error why = MAAS_ERROR_INIT;
    maas_status status = read_text(root, "preprocess.txt", &text, &why);
    if (status == MAAS_E_NOT_FOUND)
        return MAAS_OK;
    if (status)
        return maas_fail(error, status, "%s", why.text);
    struct words w = { .line = 0 };
    bool ended = false;
    for (char *line = text, *next; !status && line && !ended; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        w.line++;
        if (!cut(line, &w))
            status = maas_fail(error, MAAS_E_INVALID, "'preprocess.txt', line %u: too many words",
                               w.line);
        else if (w.count == 1 && strcmp(w.word[0], "end") == 0)
            ended = true;
        else if (w.count)
            status = take_key(&w, p, softmax, error);
    }
    if (!status && !ended)
        status = maas_fail(error, MAAS_E_INVALID,
                           "'preprocess.txt' has no last line 'end': is the file cut?");
    free(text);
    return status;
}

/* ---- labels */

static maas_status take_label(char *line, uint32_t number, maas_str *out, maas_error *error)
{
    size_t len = strlen(line);
    if (len && line[len - 1] == '\r')
        line[--len] = 0;
    if (!len || len > LABEL_BYTES_MAX)
        return maas_fail(error, MAAS_E_INVALID, "'labels.txt', line %u: a label has 1 to %d bytes",
                         number, LABEL_BYTES_MAX);
    *out = (maas_str){ line, len };
    return MAAS_OK;
}

maas_status labels_read(const char *root, uint32_t classes, maas_str **labels, char **text,
                        maas_error *error)
{
    maas_status status = read_text(root, "labels.txt", text, error);
    if (status)
        return status;
    *labels = calloc(classes, sizeof(**labels));
    if (!*labels)
        status = maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u labels", classes);
    uint32_t count = 0;
    for (char *line = *text, *next; !status && line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (count < classes)
            status = take_label(line, count + 1, &(*labels)[count], error);
        count++;
    }
    if (!status && count != classes)
        status = maas_fail(error, MAAS_E_INVALID,
                           "'labels.txt' has %u labels, the model has %u classes", count, classes);
    if (status) {
        free(*labels);
        free(*text);
        *labels = NULL;
        *text = NULL;
    }
    return status;
}
