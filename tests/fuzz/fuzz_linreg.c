/*
 * fuzz_linreg.c: any bytes as a linear regression's model file, of this version with a checksum
 * made to fit, or of the first (text); what is read predicts, explains and looks at a cell.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "linreg.h"

enum { FILE_BYTES_MAX = 1 << 16 };

static maas_status read_text(const uint8_t *data, size_t size, struct linreg *out)
{
    maas_error error = MAAS_ERROR_INIT;
    FILE *file = fmemopen((void *)(uintptr_t)data, size, "r");
    if (!file)
        return MAAS_E_INVALID;
    maas_status status = linreg_read_old(file, out, &error);
    fclose(file);
    return status;
}

static maas_status read_binary(const uint8_t *data, size_t size, struct linreg *out)
{
    maas_error error = MAAS_ERROR_INIT;
    uint8_t *bytes = malloc(size + sizeof(uint64_t));
    if (!bytes)
        return MAAS_E_EXHAUSTED;
    uint64_t sum = checksum_of(data, size);
    memcpy(bytes, data, size);
    memcpy(bytes + size, &sum, sizeof(sum));
    maas_status status = linreg_parse(bytes, size + sizeof(sum), out, &error);
    free(bytes);
    return status;
}

static void use(const struct linreg *m)
{
    double *values = calloc((size_t)2 * m->features + m->fit.p, sizeof(*values));
    double *terms = values + m->features, *parts = terms + m->fit.p, leverage;
    if (!values)
        return;
    for (uint32_t i = 0; i < m->features; i++)
        if (linreg_read_cell(m, i, maas_text(i % 2 ? "1" : ""), &values[i]) != LINREG_CELL_OK)
            values[i] = 0;
    linreg_expand(m, values, terms);
    linreg_predict(m, terms, &leverage);
    linreg_contributions(m, terms, parts);
    if (leverage < 0 || linreg_terms(m) != m->fit.p)
        abort();
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct linreg m;
    if (size == 0 || size > FILE_BYTES_MAX)
        return 0;
    bool text = size > 6 && memcmp(data, "linreg", 6) == 0;
    if ((text ? read_text(data, size, &m) : read_binary(data, size, &m)) == MAAS_OK) {
        use(&m);
        linreg_release(&m);
    }
    return 0;
}
