/*
 * fuzz_codec: a body into the decoder. The first byte chooses the surface and how the length of the
 * JSON part is told; the rest is the body. What is accepted must be sound.
 */
#include "codec/codec.h"

#include <stdlib.h>
#include <string.h>

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const int64_t SHAPE[] = { -1, 3 }, ROWS[] = { -1 };
static const maas_str LABELS[] = { TEXT("age"), TEXT("rooms"), TEXT("area") };
static const maas_port INPUTS[] = {
    { TEXT("x"), { MAAS_FLOAT, 64, 1 }, 2, SHAPE, LABELS, 3, 0 },
    { TEXT("text"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 },
    { TEXT("byte"), { MAAS_INT, 8, 1 }, 2, SHAPE, NULL, 0, 0 },
};
static const int64_t LISTS[] = { -1, -1 };
static const maas_port TASK_INPUTS[] = {
    { TEXT("text"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 },
    { TEXT("image"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, 0 },
    { TEXT("user"), { MAAS_HANDLE, 128, 1 }, 1, ROWS, NULL, 0, MAAS_PORT_OPTIONAL },
    { TEXT("items"), { MAAS_HANDLE, 128, 1 }, 2, LISTS, NULL, 0, MAAS_PORT_OPTIONAL },
    { TEXT("deny"), { MAAS_HANDLE, 128, 1 }, 2, LISTS, NULL, 0, MAAS_PORT_OPTIONAL },
};
static const maas_option_decl PARAMETER = { .size = sizeof(PARAMETER),
                                            .kind = MAAS_OPTION_INT,
                                            .name = "top_k" };
static const maas_option_decl *const PARAMETERS[] = { &PARAMETER, NULL };
static const maas_port OUTPUT = { TEXT("y"), { MAAS_FLOAT, 64, 1 }, 1, ROWS, NULL, 0, 0 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct engine_request *request, uint32_t max_rows)
{
    CHECK(request->rows >= 1 && request->rows <= max_rows);
    for (uint32_t i = 0; i < request->input_count; i++) {
        const maas_tensor *t = &request->inputs[i].tensor;
        CHECK(t->shape[0] == (int64_t)request->rows && (uintptr_t)t->data % 64 == 0);
        if (t->dtype.code == MAAS_FLOAT)
            for (size_t k = 0; k < (size_t)request->rows * 3; k++)
                CHECK(((const double *)t->data)[k] - ((const double *)t->data)[k] == 0);
        const maas_str *texts = t->data;
        size_t count = (size_t)request->rows * (t->ndim == 2 ? (size_t)t->shape[1] : 1);
        for (size_t k = 0; t->dtype.code == MAAS_HANDLE && k < count; k++)
            (void)hash_bytes(texts[k].data, texts[k].len); /* reads them */
    }
}

/* What is kept of a request survives the next decode. */
static void keep(struct codec *codec, struct engine_job *job, struct codec_context *context,
                 const struct engine_request *request)
{
    struct codec_context next = *context;
    struct engine_request other = { 0 };
    struct str param;
    maas_error error = MAAS_ERROR_INIT;
    if (codec_keep(context, job, request, &error) != MAAS_OK)
        return;
    next.body = STR("{\"inputs\":[{\"name\":\"other\"}],\"id\":\"a different one\"}");
    next.json_len = UINT32_MAX;
    (void)!codec_decode(codec, &next, job, &other, &param, &error);
    check(request, context->max_rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct codec *codec;
    static struct engine_job *job;
    maas_error error = MAAS_ERROR_INIT;
    if (!codec)
        CHECK(codec_new(1 << 20, &codec, &error) == MAAS_OK &&
              engine_job_new(1 << 24, &job, &error) == MAAS_OK);
    if (size < 1)
        return 0;
    static const struct {
        uint16_t surface;
        const char *task;
    } tasks[] = { { SURFACE_TEXT, "text-classification" },
                  { SURFACE_IMAGE, "image-classification" },
                  { SURFACE_RECOMMENDATION, "recommendation" } };
    const unsigned task = data[0] >> 3 & 3; /* 0: the two that take numbers */
    const maas_signature signature = { .inputs = task ? TASK_INPUTS : INPUTS,
                                       .outputs = &OUTPUT,
                                       .input_count = task          ? 5
                                                      : data[0] & 2 ? 1
                                                                    : 3,
                                       .output_count = 1,
                                       .task = task ? tasks[task - 1].task : NULL,
                                       .params = PARAMETERS };
    const uint16_t surface = task ? tasks[task - 1].surface : SURFACE_REGRESSION;
    struct codec_context context = { .surface = data[0] & 1 ? SURFACE_V2 : surface,
                                     .model = STR("houses"),
                                     .version = STR("3"),
                                     .json_len = data[0] & 4 ? data[0] : UINT32_MAX,
                                     .max_rows = 50,
                                     .signature = &signature };
    struct engine_request request = { 0 };
    struct str param;
    context.behind = data[0] & 0x20 ? 64 : 0;
    char *body = malloc(size + context.behind);
    CHECK(body != NULL);
    memcpy(body, data + 1, size - 1);
    memset(body + size - 1, '"', context.behind);
    context.body = (struct str){ body, size - 1 };
    engine_job_reset(job);
    if (codec_decode(codec, &context, job, &request, &param, &error) == MAAS_OK) {
        check(&request, context.max_rows);
        keep(codec, job, &context, &request);
    } else {
        CHECK(param.len < CODEC_PARAM_MAX && memchr(error.text, 0, sizeof(error.text)));
    }
    free(body);
    return 0;
}
