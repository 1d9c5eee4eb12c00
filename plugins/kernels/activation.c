/*
 * activation.c: plain loops that the compiler turns into vectors. Each row and each value is
 * computed alone.
 */
#include "activation.h"

#include <math.h>

#include "dataset/random.h"

void relu(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

void relu_backward(float *dx, const float *dy, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = y[i] > 0 ? dy[i] : 0;
}

void sigmoid(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = 1 / (1 + expf(-x[i]));
}

void sigmoid_backward(float *dx, const float *dy, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = dy[i] * y[i] * (1 - y[i]);
}

void tanh_forward(float *y, const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        y[i] = tanhf(x[i]);
}

void tanh_backward(float *dx, const float *dy, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = dy[i] * (1 - y[i] * y[i]);
}

/* ---- softmax */

void softmax(float *y, const float *x, size_t rows, size_t classes)
{
    for (; rows--; x += classes, y += classes) {
        float most = -INFINITY, sum = 0;
        for (size_t c = 0; c < classes; c++)
            most = x[c] > most ? x[c] : most;
        for (size_t c = 0; c < classes; c++)
            sum += y[c] = expf(x[c] - most);
        for (size_t c = 0; c < classes; c++)
            y[c] /= sum;
    }
}

double cross_entropy(const float *p, const uint32_t *truth, size_t rows, size_t classes)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum -= log(fmax(p[i * classes + truth[i]], 1e-15));
    return sum;
}

void cross_entropy_backward(float *dx, const float *p, const uint32_t *truth, float scale,
                            size_t rows, size_t classes)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < classes; c++)
            dx[i * classes + c] = (p[i * classes + c] - (c == truth[i] ? 1 : 0)) * scale;
}

/* ---- normalisation */

void batch_norm(float *y, const float *x, const float *mean, const float *variance,
                const float *gain, const float *shift, float epsilon, size_t channels,
                size_t places)
{
    for (size_t c = 0; c < channels; c++) {
        const float scale = gain[c] / sqrtf(variance[c] + epsilon);
        const float offset = shift[c] - mean[c] * scale;
        for (size_t p = 0; p < places; p++)
            y[c * places + p] = x[c * places + p] * scale + offset;
    }
}

void batch_norm_backward(float *dx, float *dgain, float *dshift, const float *dy, const float *x,
                         const float *mean, const float *variance, const float *gain, float epsilon,
                         size_t channels, size_t places)
{
    for (size_t c = 0; c < channels; c++, dy += places, x += places, dx += places) {
        const float deviation = 1 / sqrtf(variance[c] + epsilon);
        float along = 0, sum = 0;
        for (size_t p = 0; p < places; p++) {
            along += dy[p] * (x[p] - mean[c]) * deviation;
            sum += dy[p];
            dx[p] = dy[p] * gain[c] * deviation;
        }
        if (dgain)
            dgain[c] += along;
        if (dshift)
            dshift[c] += sum;
    }
}

/* ---- dropout */

void dropout(float *y, float *mask, const float *x, float rate, uint64_t *state, size_t count)
{
    const float keep = 1 / (1 - rate);
    for (size_t i = 0; i < count; i++) {
        mask[i] = random_real(state) < rate ? 0 : keep;
        y[i] = x[i] * mask[i];
    }
}

void dropout_backward(float *dx, const float *dy, const float *mask, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dx[i] = dy[i] * mask[i];
}
