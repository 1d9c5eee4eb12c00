/*
 * fuzz_text.c: any bytes as a model of the text classifier; where it loads, the bytes are a text as
 * well: scored and explained. And any bytes as rows of JSON, which training reads.
 */
#include "dataset/records.h"
#include "scratch.h"
#include "text.h"

enum { FILE_BYTES_MAX = 1 << 16, SCRATCH_MAX = 1 << 22, WORDS = 64 };

static void ask(const struct text_model *m, maas_str text)
{
    float words[WORDS] = { 0 };
    const size_t floats = text_scratch(m, true);
    if (floats > SCRATCH_MAX)
        return;
    float *scratch = aligned_alloc(64, file_aligned(floats * sizeof(float) + 1));
    float *p = calloc(m->classes, sizeof(*p));
    if (!scratch || !p)
        abort();
    text_scores(m, text, scratch, p);
    text_words(m, text, 0, scratch, words, WORDS);
    for (uint32_t c = 0; c < m->classes; c++)
        if (!(p[c] >= 0 && p[c] <= 1.001f))
            abort();
    free(scratch);
    free(p);
}

static void read_rows(void)
{
    static const char *const names[] = { "text", "label" };
    struct records *r = NULL;
    const maas_str *values = NULL;
    maas_error error = MAAS_ERROR_INIT;
    if (records_open(folder, "train", names, 2, &r, &error))
        return;
    while (records_next(r, &values, &error) == MAAS_OK && values)
        ;
    records_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text_model m;
    maas_error error = MAAS_ERROR_INIT;
    if (size > FILE_BYTES_MAX)
        return 0;
    if (size && data[0] == '{') {
        store("train.jsonl", data, size);
        read_rows();
        return 0;
    }
    store("text.model", data, size);
    if (text_read(folder, &m, &error))
        return 0;
    ask(&m, (maas_str){ (const char *)data, size });
    text_release(&m);
    return 0;
}
