/*
 * distribution.c: Student's t and Fisher's F by the regularised incomplete beta function I_x(a, b):
 *
 *     P(|T| >= t) = I_x(dof / 2, 1 / 2),      x = dof / (dof + t^2)
 *     P(F >= f)   = I_x(dof2 / 2, dof1 / 2),  x = dof2 / (dof2 + dof1 f)
 *
 * I_x is Lentz's continued fraction (Press et al., Numerical Recipes, 6.4; Abramowitz and Stegun
 * 26.5.8, 26.6.2, 26.7.1); it is given x and 1 - x, so that neither is lost beside 1. ln B(a, b) of
 * a large a is the difference of two Stirling series written without cancellation (as in DiDonato
 * and Morris, TOMS 708, 1992): of 10^8 rows lgamma(a + b) - lgamma(a) has seven digits left.
 */
#include <math.h>

#include "linreg.h"

enum { STEPS_MAX = 200000, STIRLING_FROM = 20 };

static double fraction(double a, double b, double x)
{
    double c = 1, d = 1 / fmax(1e-300, 1 - (a + b) * x / (a + 1)), h = d;
    for (int m = 1; m < STEPS_MAX; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        h *= d * c;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15)
            break;
    }
    return h;
}

/* What Stirling's formula lacks: ln G(z) - ((z - 1/2) ln z - z + ln(2 pi) / 2). */
static double stirling_rest(double z)
{
    double s = 1 / (z * z);
    return (1.0 / 12 - s * (1.0 / 360 - s * (1.0 / 1260 - s / 1680))) / z;
}

static double log_beta(double one, double other)
{
    int sign;
    double a = fmax(one, other), b = fmin(one, other);
    if (a < STIRLING_FROM)
        return lgamma_r(a, &sign) + lgamma_r(b, &sign) - lgamma_r(a + b, &sign);
    return lgamma_r(b, &sign) - (a - 0.5) * log1p(b / a) - b * log(a + b) + b + stirling_rest(a) -
           stirling_rest(a + b);
}

/* y = 1 - x */
static double incomplete_beta(double a, double b, double x, double y)
{
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    double log_x = x < 0.5 ? log(x) : log1p(-y), log_y = y < 0.5 ? log(y) : log1p(-x);
    double front = exp(a * log_x + b * log_y - log_beta(a, b));
    return x < (a + 1) / (a + b + 2) ? front * fraction(a, b, x) / a
                                     : 1 - front * fraction(b, a, y) / b;
}

double student_tail(double t, double dof)
{
    double square = t * t, sum = dof + square;
    return isinf(sum) ? 0 : incomplete_beta(dof / 2, 0.5, dof / sum, square / sum);
}

double fisher_tail(double f, double dof1, double dof2)
{
    double sum = dof2 + dof1 * f;
    return isinf(sum) ? 0 : incomplete_beta(dof2 / 2, dof1 / 2, dof2 / sum, dof1 * f / sum);
}

static double student_density(double t, double dof)
{
    return exp(-log_beta(dof / 2, 0.5) - log(dof) / 2 - (dof + 1) / 2 * log1p(t * t / dof));
}

/* Newton's method, held between two bounds that bisection narrows. */
double student_quantile(double level, double dof)
{
    double low = 0, high = 1, t = 1;
    for (int i = 0; i < 1000 && student_tail(high, dof) > 1 - level; i++)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double over = student_tail(t, dof) - (1 - level);
        *(over > 0 ? &low : &high) = t;
        double next = t + over / (2 * student_density(t, dof));
        if (!(next > low && next < high))
            next = (low + high) / 2;
        if (fabs(next - t) <= 1e-15 * next)
            return next;
        t = next;
    }
    return t;
}
