/*
 * model.c: text.model as a whole: opened, told apart by its first bytes, and asked.
 */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/activation.h"

maas_status text_write(const char *dir, const struct text_model *m, maas_error *error)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/text.model", dir);
    FILE *file = fopen(path, "we");
    if (!file)
        return maas_fail(error, MAAS_E_UNAVAILABLE, "cannot create 'text.model': %s",
                         strerror(errno));
    maas_status status = m->network == TEXT_LSTM ? recurrent_write(file, m) : ngrams_write(file, m);
    bool bad = status || ferror(file);
    return fclose(file) || bad ? maas_fail(error, MAAS_E_UNAVAILABLE, "cannot write 'text.model'")
                               : MAAS_OK;
}

static maas_status map_file(const char *dir, struct text_model *m, maas_error *error)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof(path), "%s/text.model", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return maas_fail(error, MAAS_E_NOT_FOUND, "cannot open 'text.model': %s", strerror(errno));
    void *map = fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(ngrams_magic)
                    ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                    : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return file_damaged(error, "it cannot be mapped, or is too short");
    m->map = map;
    m->map_bytes = (size_t)st.st_size;
    return MAAS_OK;
}

static maas_status read_body(struct text_model *m, maas_error *error)
{
    if (memcmp(m->map, ngrams_magic, sizeof(ngrams_magic)) == 0)
        return ngrams_read(m, error);
    if (memcmp(m->map, recurrent_magic, sizeof(recurrent_magic)) == 0)
        return recurrent_read(m, error);
    return file_damaged(error, "it is no model of this plugin");
}

maas_status text_read(const char *dir, struct text_model *out, maas_error *error)
{
    struct text_model m;
    memset(&m, 0, sizeof(m));
    maas_status status = map_file(dir, &m, error);
    if (!status)
        status = read_body(&m, error);
    if (status)
        text_release(&m);
    else
        *out = m;
    return status;
}

void text_release(struct text_model *m)
{
    free(m->labels);
    free(m->ngrams.bias);
    free(m->recurrent.packed);
    if (m->map)
        munmap(m->map, m->map_bytes);
    memset(m, 0, sizeof(*m));
}

size_t text_scratch(const struct text_model *m, bool explaining)
{
    return m->network == TEXT_LSTM ? recurrent_scratch(m, explaining) : 0;
}

void text_scores(const struct text_model *m, maas_str text, float *scratch, float *out)
{
    if (m->network == TEXT_LSTM)
        recurrent_scores(m, text, scratch, out);
    else
        ngrams_scores(m, text, out);
    softmax(out, out, 1, m->classes);
}

void text_words(const struct text_model *m, maas_str text, uint32_t class, float *scratch,
                float *out, uint32_t count)
{
    if (m->network == TEXT_LSTM)
        recurrent_words(m, text, class, scratch, out, count);
    else
        ngrams_words(m, text, class, out, count);
}
