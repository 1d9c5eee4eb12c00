/*
 * arithmetic.h: the environment that libraries of products read when a plugin brings them in.
 */
#ifndef ENGINE_ARITHMETIC_H
#define ENGINE_ARITHMETIC_H

#include <stdbool.h>

/*
 * One thread each: a process runs one request at a time, and workers share the cores. And the
 * kernels of OpenBLAS by what the processor can do: a release that is older than the processor does
 * not know it and takes its oldest ones, a third to a half as fast. What the environment says
 * already stays. False: no memory. Before threads are started.
 */
bool arithmetic_environment(void);
/* OpenBLAS' name of the kernels; NULL: it may choose. */
const char *arithmetic_kernels(void);

#endif
