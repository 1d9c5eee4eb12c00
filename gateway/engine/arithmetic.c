/*
 * arithmetic.c: measured with OpenBLAS 0.3.21 on an EPYC that it knows (plain convolutions of
 * ResNet-18): its own choice, Cooperlake, 62 ms; SkylakeX 54; Haswell 51; Prescott, which is what
 * an unknown processor gets, 116.
 */
#include "engine/arithmetic.h"

#include <stdlib.h>

const char *arithmetic_kernels(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

bool arithmetic_environment(void)
{
    const char *kernels = arithmetic_kernels();
    return setenv("OPENBLAS_NUM_THREADS", "1", 0) == 0 && setenv("OMP_NUM_THREADS", "1", 0) == 0 &&
           (!kernels || setenv("OPENBLAS_CORETYPE", kernels, 0) == 0);
}
