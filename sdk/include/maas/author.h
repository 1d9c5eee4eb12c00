/*
 * maas/author.h: small helpers for plugin authors. Header-only, NOT part of the ABI: copy or
 * ignore.
 */
#ifndef MAAS_AUTHOR_H
#define MAAS_AUTHOR_H

#include <maas/plugin.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Fills the error and gives the status back: return maas_fail(error, MAAS_E_INVALID, "row %u ...",
 * i). */
__attribute__((format(printf, 3, 4))) static inline maas_status
maas_fail(maas_error *error, maas_status status, const char *fmt, ...)
{
    if (error) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(error->text, sizeof(error->text), fmt, args);
        va_end(args);
    }
    return status;
}

/* A string literal or other NUL-terminated text as maas_str. */
static inline maas_str maas_text(const char *z)
{
    maas_str s = { z, strlen(z) };
    return s;
}

/* ---- values: MAAS_FLOAT 64, MAAS_HANDLE 128 (strings) ... */
static inline maas_dtype maas_type(uint8_t code, uint8_t bits)
{
    maas_dtype dtype = { code, bits, 1 };
    return dtype;
}

/* A port without labels; name and shape are borrowed, shape[0] is -1: the rows. */
static inline maas_port maas_port_of(const char *name, maas_dtype dtype, int32_t ndim,
                                     const int64_t *shape)
{
    maas_port port;
    memset(&port, 0, sizeof(port));
    port.name = maas_text(name);
    port.dtype = dtype;
    port.ndim = ndim;
    port.shape = shape;
    return port;
}

/* An output to emit: compact memory of the CPU; data and shape are borrowed until emit returns. */
static inline maas_named maas_output(const maas_port *port, void *data, int64_t *shape)
{
    maas_named output;
    memset(&output, 0, sizeof(output));
    output.name = port->name;
    output.tensor.data = data;
    output.tensor.device_type = 1;
    output.tensor.ndim = port->ndim;
    output.tensor.dtype = port->dtype;
    output.tensor.shape = shape;
    return output;
}

/* The end of a synchronous infer: emits the outputs and is done with the request. */
static inline maas_status maas_answer(const maas_host *host, const maas_request *request,
                                      const maas_named *outputs, uint32_t count)
{
    host->done(host, request, host->emit(host, request, outputs, count), NULL);
    return MAAS_OK;
}

/* One named FP64 scalar: progress and metrics of a job. */
static inline maas_status maas_emit_scalar(const maas_host *host, const maas_request *job,
                                           const char *name, double value)
{
    int64_t one = 1;
    maas_named scalar;
    memset(&scalar, 0, sizeof(scalar));
    scalar.name = maas_text(name);
    scalar.tensor.data = &value;
    scalar.tensor.device_type = 1;
    scalar.tensor.ndim = 1;
    scalar.tensor.dtype.code = MAAS_FLOAT;
    scalar.tensor.dtype.bits = 64;
    scalar.tensor.dtype.lanes = 1;
    scalar.tensor.shape = &one;
    return host->emit(host, job, &scalar, 1);
}

/* One of a NULL-ended list of declarations, which C++ has no literals for:
 * static const maas_option_decl *const options[] = { MAAS_OPTION("k", MAAS_OPTION_INT, "10",
 * "1..100", "items of a list"), NULL }; */
#ifndef __cplusplus
#define MAAS_OPTION(n, k, f, c, h)                                                                 \
    &(const maas_option_decl)                                                                      \
    {                                                                                              \
        .size = sizeof(maas_option_decl), .kind = (k), .name = (n), .fallback = (f),               \
        .choices = (c), .help = (h)                                                                \
    }
#endif

/* The option of that name; NULL when it was not declared. */
static inline const maas_option *maas_option_find(const maas_option *options, uint32_t count,
                                                  const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (options[i].name.len == strlen(name) &&
            memcmp(options[i].name.data, name, options[i].name.len) == 0)
            return &options[i];
    return NULL;
}

#endif
