/*
 * dense.c: the learning form is three products. The answering form is a kernel of four rows by one
 * panel of sixteen outputs: OpenBLAS packs the weights anew at each call, which costs more than the
 * product where there are few rows, and picks other kernels, with other roundings, for other
 * numbers of rows. Here every element's sum is the same chain of operations for one row or four.
 *
 * The body is compiled for three levels of the processor, of which the first call picks one.
 */
#include "dense.h"

#include <string.h>

#include "matmul.h"

enum { ROWS = 4 };

void dense_forward(float *y, const float *x, const float *w, const float *b, size_t rows,
                   size_t inputs, size_t outputs)
{
    for (size_t i = 0; b && i < rows; i++)
        memcpy(y + i * outputs, b, outputs * sizeof(*y));
    matmul(y, x, false, w, true, rows, outputs, inputs, b ? 1 : 0);
}

void dense_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                    const float *w, size_t rows, size_t inputs, size_t outputs)
{
    if (dw)
        matmul(dw, dy, true, x, false, outputs, inputs, rows, 1);
    for (size_t i = 0; db && i < rows; i++)
        for (size_t o = 0; o < outputs; o++)
            db[o] += dy[i * outputs + o];
    if (dx)
        matmul(dx, dy, false, w, false, rows, inputs, outputs, 0);
}

/* ---- packed */

size_t dense_packed_size(size_t inputs, size_t outputs)
{
    return (outputs + DENSE_PANEL - 1) / DENSE_PANEL * DENSE_PANEL * inputs;
}

void dense_pack(float *packed, const float *w, size_t inputs, size_t outputs)
{
    memset(packed, 0, dense_packed_size(inputs, outputs) * sizeof(*packed));
    for (size_t o = 0; o < outputs; o++) {
        float *panel = packed + o / DENSE_PANEL * DENSE_PANEL * inputs + o % DENSE_PANEL;
        for (size_t i = 0; i < inputs; i++)
            panel[i * DENSE_PANEL] = w[o * inputs + i];
    }
}

/* Sixteen sums side by side; a multiply and an add in one expression become one fused operation
 * wherever the target has it. */
typedef float lanes __attribute__((vector_size(DENSE_PANEL * sizeof(float))));

/* sums [ROWS][16] of rows x, x + stride ...; the caller makes rows that are not there point at one
 * that is. */
#define DENSE_KERNEL(name, target)                                                                 \
    target static void name(float sums[ROWS][DENSE_PANEL], const float *const x[ROWS],             \
                            const float *panel, size_t inputs)                                     \
    {                                                                                              \
        const lanes *w = (const lanes *)(const void *)panel;                                       \
        lanes s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };                                      \
        for (size_t i = 0; i < inputs; i++) {                                                      \
            s0 += x[0][i] * w[i];                                                                  \
            s1 += x[1][i] * w[i];                                                                  \
            s2 += x[2][i] * w[i];                                                                  \
            s3 += x[3][i] * w[i];                                                                  \
        }                                                                                          \
        memcpy(sums[0], &s0, sizeof(s0));                                                          \
        memcpy(sums[1], &s1, sizeof(s1));                                                          \
        memcpy(sums[2], &s2, sizeof(s2));                                                          \
        memcpy(sums[3], &s3, sizeof(s3));                                                          \
    }

DENSE_KERNEL(kernel_plain, )
#if defined(__x86_64__)
DENSE_KERNEL(kernel_avx2, __attribute__((target("avx2,fma"))))
DENSE_KERNEL(kernel_avx512, __attribute__((target("avx512f"))))
#endif

typedef void kernel_fn(float sums[ROWS][DENSE_PANEL], const float *const x[ROWS],
                       const float *panel, size_t inputs);

static kernel_fn *pick(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return kernel_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return kernel_avx2;
#endif
    return kernel_plain;
}

void dense_packed_forward(float *y, const float *x, const float *packed, const float *b,
                          size_t rows, size_t inputs, size_t outputs)
{
    kernel_fn *kernel = pick();
    for (size_t o = 0; o < outputs; o += DENSE_PANEL) {
        size_t width = outputs - o < DENSE_PANEL ? outputs - o : DENSE_PANEL;
        for (size_t i = 0; i < rows; i += ROWS) {
            float sums[ROWS][DENSE_PANEL];
            const float *from[ROWS];
            size_t count = rows - i < ROWS ? rows - i : ROWS;
            for (size_t r = 0; r < ROWS; r++)
                from[r] = x + (i + (r < count ? r : 0)) * inputs;
            kernel(sums, from, packed + o * inputs, inputs);
            for (size_t r = 0; r < count; r++)
                for (size_t c = 0; c < width; c++)
                    y[(i + r) * outputs + o + c] = sums[r][c] + (b ? b[o + c] : 0);
        }
    }
}
